"""Every measured number is a row here: ``results/ledger.csv``, one value a row.

The code that measures appends; figures, tables, README and slides only read.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
from filelock import FileLock

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


def append(rows: list[Row], path: Path = LEDGER) -> None:
    """Append rows in one locked write, so that parallel runs cannot mix their lines.

    Raises:
        ValueError: the file has other columns (a ledger of another version).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    with FileLock(f"{path}.lock"), path.open("a+", newline="") as file:
        if file.seek(0, os.SEEK_END) == 0:
            writer.writeheader()
        else:
            file.seek(0)
            if file.readline().strip().split(",") != COLUMNS:
                raise ValueError(f"{path} has other columns; it is of another version")
        writer.writerows({k: _short(v) for k, v in asdict(row).items()} for row in rows)
        file.write(text.getvalue())


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def read(path: Path = LEDGER) -> pd.DataFrame:
    """The ledger as a table; an empty one if there is none yet.

    Raises:
        ValueError: other columns than this version writes.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    table = pd.read_csv(path, dtype={"commit": str, "config_hash": str})
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{path} has other columns; it is of another version")
    return table
