"""Reading what a run has written so far (``watch``), also while it trains."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sftrl_lite.files import damage_in_one_line
from sftrl_lite.runs.growing import AGAIN, whole_lines
from sftrl_lite.runs.watch import COLUMNS
from sftrl_lite.tasks.base import read_answer

WORDS = {  # how a terminal is told of a step
    "loss": "loss {:.3f}",
    "reward": "reward {:+.2f}",
    "success": "solved {:.0%}",
    "kl": "KL {:.4f}",
    "clipped": "clipped {:.0%}",
    "entropy": "entropy {:.3f}",
    "grad_norm": "gradient {:.1f}",
}


def read_steps(out: Path, last: int = 0) -> pd.DataFrame:
    """The rows of ``steps.csv`` so far; an empty table before the first.

    Args:
        last: how many rows, the newest; 0: all.
    """
    rows = whole_lines(path := out / "steps.csv")[1:]
    with damage_in_one_line(path, AGAIN):
        found = pd.read_csv(io.StringIO("\n".join([",".join(COLUMNS), *rows[-last:]])))
        return found.apply(pd.to_numeric)


def read_looks(out: Path) -> list[dict[str, Any]]:
    """The looks of ``transcripts.jsonl`` so far, as ``watch.Log`` wrote them."""
    lines = whole_lines(path := out / "transcripts.jsonl")
    with damage_in_one_line(path, AGAIN):
        return [json.loads(line) for line in lines]


def latest(out: Path) -> str:
    """The newest row of ``steps.csv`` in a few words, for a terminal; "" before there is one."""
    steps = read_steps(out, last=1)
    if steps.empty:
        return ""
    row = steps.iloc[-1].dropna()
    if "reward" in row:
        row = row.drop("loss")  # RL's is mostly that of the value head
    words = [form.format(row[name]) for name, form in WORDS.items() if name in row]
    return f"step {row['step']:.0f}: {', '.join(words)}"


# --- the same few problems, look after look ----------------------------------------------

TAUGHT, RIGHT, WRONG = "#", "o", "."


@dataclass(frozen=True)
class Said:
    """A first answer at a look: its formula, and how it was judged."""

    step: int
    formula: str
    mark: str  # TAUGHT: exactly what SFT is taught; RIGHT: another right one; WRONG


def answers(out: Path) -> dict[str, list[Said]]:
    """First answers to each of the problems that are looked at, by the cards; look by look.

    Problems without cards are numbered. Empty before the first look.
    """
    found: dict[str, list[Said]] = {}
    looks = read_looks(out)
    with damage_in_one_line(out / "transcripts.jsonl", AGAIN):
        for look in looks:
            for number, episode in enumerate(look["episodes"], 1):
                first, taught = episode["turns"][0], episode.get("demonstration", "")
                mark = RIGHT if first["kind"] == "solved" else WRONG
                mark = TAUGHT if first["answer"] == taught else mark
                cards = (read_answer(taught) or {}).get("cards", [])
                name = f"{number}: {' '.join(cards)}" if cards else f"problem {number}"
                said = Said(int(look["step"]), short(first["answer"]), mark)
                found.setdefault(name, []).append(said)
    return found


def short(answer: str) -> str:
    """The formula of an answer without its ``=24``; of an answer without one, how it ends."""
    formula = (read_answer(answer) or {}).get("formula")
    return formula.partition("=")[0] if formula and isinstance(formula, str) else answer[-20:]


def answers_of(folders: Mapping[str, Path]) -> tuple[dict[str, dict[str, list[Said]]], list[int]]:
    """``answers`` of each run that wrote some down, and all steps at which one of them did."""
    by_run = {who: found for who, out in folders.items() if (found := answers(out))}
    steps = {said.step for run in by_run.values() for row in run.values() for said in row}
    return by_run, sorted(steps)


def answers_text(folders: Mapping[str, Path]) -> str:
    """The answers of several runs as signs, a line per run and problem: for a terminal.

    Args:
        folders: of runs, by the name that is shown.

    Returns:
        "" where no run has written an answer down.
    """
    by_run, steps = answers_of(folders)
    if not by_run:
        return ""
    lines = [
        "First greedy answers to the same training problems, after some steps:",
        f"{TAUGHT} exactly what SFT is taught, {RIGHT} another right one, {WRONG} wrong",
        f"{'after step':>38}" + "".join(f"{step:>5}" for step in steps),
    ]
    for problem in next(iter(by_run.values())):
        for who, run in by_run.items():
            marks = {said.step: said.mark for said in run.get(problem, [])}
            row = "".join(f"{marks.get(step, ''):>5}" for step in steps)
            lines.append(f"{problem:24}  {who:12}{row}".rstrip())
    return "\n".join(lines)
