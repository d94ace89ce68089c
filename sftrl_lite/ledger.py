"""Every measured number is a row here: ``results/ledger.csv``, one value a row.

The code that measures appends; figures, tables, README and slides only read.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
from filelock import FileLock

from sftrl_lite.files import whole
from sftrl_lite.models import ROOT

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
    decoding: str  # temperature/top_p as ``rollouts.decoding_name`` writes it; "": none is meant
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
TYPES = {f.name: {"str": str, "int": int, "float": float}[f.type] for f in fields(Row)}


def append(rows: list[Row], path: Path = LEDGER) -> None:
    """Append rows, each once however often it is asked for, under a lock.

    A run that is killed between recording and its own last note records again when it is
    resumed: lines that are there already are left out.

    Raises:
        ValueError: the file has other columns (a ledger of another version).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        read(path)  # raises if it is not ours
        old = path.read_text("utf-8") if path.exists() else ",".join(COLUMNS) + "\n"
        known = set(old.splitlines())
        new = [line for line in _lines(rows).splitlines() if line not in known]
        with whole(path) as draft:
            draft.write_text(old + "".join(f"{line}\n" for line in new), "utf-8", newline="")


def save(rows: list[Row], path: Path) -> None:
    """Write a ledger of just these rows; it appears whole or not at all."""
    with whole(path) as draft:
        draft.write_text(",".join(COLUMNS) + "\n" + _lines(rows), newline="")


def _lines(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writerows({k: _short(v) for k, v in asdict(row).items()} for row in rows)
    return text.getvalue()


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def read(path: Path = LEDGER) -> pd.DataFrame:
    """The ledger as a table, each column of its declared type; an empty one if there is none yet.

    Raises:
        ValueError: other columns than this version writes, or a value of another type.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS).astype(TYPES)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{path} is of another version: other columns; move it away")
    try:
        return table.astype(TYPES)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
