"""Every measured number is a row here: ``results/ledger.csv``, one value a row.

The code that measures appends; figures, tables, README and slides only read.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from sftrl_lite.files import ROOT, whole

if TYPE_CHECKING:
    import pandas as pd


def decoding_name(temperature: float, top_p: float = 1.0) -> str:
    """``0`` for greedy decoding, ``1``, ``0.6/0.9`` for temperature 0.6 with top_p 0.9.

    Raises:
        ValueError: a temperature below 0 or above 10, or a top_p outside (0, 1].
    """
    if not 0 <= temperature <= 10:
        raise ValueError(f"temperature is {temperature:g}; it has to lie between 0 and 10")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p:g}; it has to be above 0 and at most 1")
    nucleus = temperature > 0 and top_p < 1
    return f"{temperature:g}/{top_p:g}" if nucleus else f"{temperature:g}"


PAPER = decoding_name(0.6, 0.9)  # what the released evaluation samples with: Llama's own settings

LEDGER = ROOT / "results" / "ledger.csv"


@dataclass(frozen=True)
class Row:
    """One measured value with everything needed to measure it again."""

    experiment: str
    task: str
    method: str
    scale: str
    seed: int
    step: int
    split: str
    metric: str
    decoding: str  # temperature/top_p as ``ledger.decoding_name`` writes it; "": none is meant
    value: float
    n: int
    low: float
    high: float
    tries: int
    config_hash: str
    commit: str
    device: str
    minutes: float
    command: str


COLUMNS = [f.name for f in fields(Row)]
FOUND = ("value", "n", "low", "high", "commit", "device", "minutes", "command")
TYPES = {f.name: {"str": str, "int": int, "float": float}[str(f.type)] for f in fields(Row)}


def append(rows: list[Row], path: Path = LEDGER) -> None:
    """Append rows, each once however often it is asked for, under a lock.

    A run that is killed between recording and its own last note records again when it is
    resumed, and the same run may be done twice: what is there already is left out.

    Raises:
        ValueError: the file has other columns (a ledger of another version), or has another value
            of something that is appended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        read(path)  # raises if it is not ours
        old = path.read_bytes().decode() if path.exists() else _line(COLUMNS)
        known = dict(map(_told, filter(None, csv.reader(io.StringIO(old, newline="")))))
        asked = {_told(line)[0]: line for line in map(_record, rows)}
        for key, line in asked.items():
            if known.get(key, value := _told(line)[1]) != value:
                where = f"{line[0]}, configuration {line[COLUMNS.index('config_hash')]}"
                raise ValueError(f"{path} has other values of {where}; remove its rows first")
        new = [line for key, line in asked.items() if key not in known]
        old += "" if old.endswith("\n") else "\n"  # an editor may have dropped it
        with whole(path) as draft:
            draft.write_text(old + "".join(map(_line, new)), "utf-8", newline="")


def _told(line: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """What a line is about, and the value; no one needs to know when and where it was found."""
    about = [x for name, x in zip(COLUMNS, line, strict=True) if name not in FOUND]
    return tuple(about), line[COLUMNS.index("value")]


def text(rows: Sequence[Row]) -> str:
    """A ledger of just these rows, as it is written."""
    return "".join(map(_line, [COLUMNS, *map(_record, rows)]))


def _line(cells: Sequence[str]) -> str:
    """One line, though its cells may hold several: all kinds of breaks are quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _record(row: Row) -> list[str]:
    return [_short(value) for value in asdict(row).values()]


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read(path: Path = LEDGER) -> pd.DataFrame:
    """The ledger as a table, each column of its declared type; an empty one if there is none yet.

    Raises:
        ValueError: other columns than this version writes, or a value of another type.
    """
    import pandas as pd  # late: the command line names decodings without it

    if not path.exists():
        return pd.DataFrame(columns=COLUMNS).astype(TYPES)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        if list(table.columns) == COLUMNS:
            return table.astype(TYPES)
    except (OverflowError, ValueError) as error:  # pandas' own are of this kind
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    raise ValueError(f"{path} is of another version: other columns; move it away")


def commit() -> str:
    """Short hash of the checked-out commit, with + if files differ; "" outside git.

    The ledger may differ: recording appends to it. A repository around this folder, one that the
    environment names, or one that does not hold the package is another's.
    """
    try:
        git = ["git", "-C", str(ROOT)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        ask = partial(subprocess.run, capture_output=True, text=True, check=True, env=env)
        top = ask([*git, "rev-parse", "--show-toplevel"]).stdout.removesuffix("\n")
        if Path(top).resolve() != ROOT:
            return ""
        ask([*git, "cat-file", "-e", "HEAD:sftrl_lite/__init__.py"])
        name = ask([*git, "rev-parse", "--short=7", "HEAD"]).stdout.strip()
        where = ["--", ".", ":!results/ledger.csv"]
        changed = ask([*git, "diff", "--name-only", "HEAD", *where]).stdout
        return name + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
