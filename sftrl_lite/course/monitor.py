"""A training to watch: what the runs write step by step, drawn while they train.

The page is plain HTML that is renewed in its place, so it stays as it is where no kernel runs.
"""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sftrl_lite.course import notebook
from sftrl_lite.course.widgets import BOX, picture_html
from sftrl_lite.results.plots import LOOKS, STYLE, legend_below
from sftrl_lite.runs.follow import RIGHT, TAUGHT, WRONG, answers, answers_of, read_steps
from sftrl_lite.runs.headline import side_by_side
from sftrl_lite.runs.run_config import Run

EVERY = 3.0  # seconds between two pages; drawing must not take the runs' cores
CHARTS = {
    "reward": "reward per episode",
    "success": "solved within the budget",
    "kl": "KL of an update (nats)",
    "entropy": "entropy (nats per token)",
    "clipped": "share outside the clip",
    "grad_norm": "gradient norm",
    "loss": "loss of SFT",
}
MARKS = {  # sign, background, what it means
    TAUGHT: ("★", "#F5C971", "exactly what SFT is taught"),
    RIGHT: ("✓", "#BFDDF0", "another right formula"),
    WRONG: ("✗", "#E3E3E3", "wrong"),
}


def train_and_watch(runs: Mapping[str, Run], out: Path, experiment: str = "") -> pd.DataFrame:
    """``side_by_side``, with its runs drawn below the cell while they train.

    Args:
        runs: a run each by its method; run ``name`` lives in folder ``out / name``.

    Returns:
        rows of all runs in the form of the ledger.

    Raises:
        RuntimeError: a run failed; the message is its own.
    """
    folders = {name: out / name for name in runs}
    page = display(bundle(folders), raw=True, display_id=True)
    last: dict[str, Any] = {"at": time.time(), "seen": written(folders)}

    def look() -> None:
        if time.time() - last["at"] >= EVERY and written(folders) != last["seen"]:
            last.update(seen=written(folders))
            page.update(bundle(folders), raw=True)
            last.update(at=time.time())

    table = side_by_side(dict(runs), out, experiment, look=look)
    page.update(bundle(folders), raw=True)
    return table


def written(folders: Mapping[str, Path]) -> list[int]:
    """Sizes of the files that the monitor reads: whether there is anything new."""
    names = ("steps.csv", "transcripts.jsonl")
    paths = [out / name for out in folders.values() for name in names]
    return [path.stat().st_size if path.exists() else 0 for path in paths]


def bundle(folders: Mapping[str, Path]) -> dict[str, str]:
    """The monitor as a page, and in words."""
    steps = {name: found for name, out in folders.items() if len(found := read_steps(out))}
    if not steps:
        words = "No step is done yet: the runs measure Init first."
        return {"text/html": f"<p>{words}</p>", "text/plain": words}
    words = charts_words(steps)
    chart = picture_html(notebook.picture(charts(steps)), words, width=900)
    told = answers_words(folders)
    page = f"{chart}{answers_html(folders)}<p>{html.escape(told)}</p>"
    return {"text/html": page, "text/plain": f"{words} {told}".strip()}


def compare(folders: Mapping[str, Path]) -> None:
    """Show the answers of runs hand by hand, such as SFT's beside RL's.

    Args:
        folders: of runs on the same hands, by method; those that were not made yet are named.
    """
    there = {name: out for name, out in folders.items() if answers(out)}
    missing = [
        f"{LOOKS[n][3]} is not here: run its chapter first." for n in folders if n not in there
    ]
    words = " ".join([answers_words(there) if there else "", *missing]).strip()
    page = f"{answers_html(there)}<p>{html.escape(words)}</p>"
    display({"text/html": page, "text/plain": words}, raw=True)


# --- figures, step by step ---------------------------------------------------------------


def charted(steps: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, pd.Series]]:
    """What there is to draw: by column of ``steps.csv`` and run, values by step.

    RL's loss is left out: most of it is the value head's.
    """
    found: dict[str, dict[str, pd.Series]] = {}
    for column in CHARTS:
        for name, table in steps.items():
            values = table.set_index("step")[column].dropna()
            if len(values) and (column != "loss" or name.startswith("sft")):
                found.setdefault(column, {})[name] = values
    return found


def charts(steps: Mapping[str, pd.DataFrame]) -> Figure:
    """A small panel for each figure that the runs write down, a line per run.

    Args:
        steps: what ``read_steps`` returns, by method; none empty.
    """
    drawn = charted(steps)
    lengths = [table["step"].max() for table in steps.values()]
    across = min(len(drawn), 3)
    down = -(-len(drawn) // across)
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(down, across, figsize=(3.1 * across, 1.9 * down + 0.4))
        panels = list(getattr(axes, "flat", [axes]))
        for axis, (column, runs) in zip(panels, drawn.items(), strict=False):
            for name, values in runs.items():
                colour, marker, line, label = LOOKS[name]
                look: dict[str, Any] = dict(color=colour, ls=line, label=label, lw=1.5)
                often = max(len(values) // 8, 1)
                axis.plot(values, marker=marker, markevery=often, mec="white", **look)
            axis.set_title(CHARTS[column], fontsize=9)
            if max(lengths) > 4 * min(lengths):  # SFT takes many small steps, RL few large ones
                axis.set_xscale("log", base=2)
                axis.xaxis.set_major_formatter("{x:g}")
            else:
                axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.margins(y=0.15)
        for axis in panels[len(drawn) :]:
            axis.remove()
        for axis in panels[max(len(drawn) - across, 0) : len(drawn)]:  # the lowest of each column
            axis.set_xlabel("step")
        legend_below(figure)
    return figure


def charts_words(steps: Mapping[str, pd.DataFrame]) -> str:
    """The charts in words: first and newest value of each."""
    said = []
    for column, runs in charted(steps).items():
        for name, values in runs.items():
            first, now = values.iloc[[0, -1]]
            said.append(f"{LOOKS[name][3]}, {CHARTS[column]}: {first:.3g} to {now:.3g}")
    ends = [f"{LOOKS[name][3]} at step {t['step'].iloc[-1]:.0f}" for name, t in steps.items()]
    return f"Training so far, {' and '.join(ends)}. {'; '.join(said)}."


# --- the same hands, look after look -----------------------------------------------------


def answers_html(folders: Mapping[str, Path]) -> str:
    """First greedy answers to the same hands: a row per hand and run, a column per look."""
    by_run, steps = answers_of(folders)
    if not by_run:
        return ""
    heads = "".join(f'<th scope="col">{step}</th>' for step in steps)
    rows = [f'<tr><th scope="col">hand</th><th scope="col">after step</th>{heads}</tr>']
    for hand in next(iter(by_run.values())):
        for i, (name, run) in enumerate(by_run.items()):
            span = f'<th scope="row" rowspan="{len(by_run)}">{html.escape(hand)}</th>'
            row = {said.step: said for said in run.get(hand, [])}
            cells = "".join(cell(row[step]) if step in row else "<td></td>" for step in steps)
            label = html.escape(LOOKS[name][3].partition(" (")[0])
            who = f'<th scope="row" style="white-space:nowrap">{label}</th>'
            rows.append(f"<tr>{span if i == 0 else ''}{who}{cells}</tr>")
    key = " ".join(
        f'<span style="{BOX}background:{colour}">{sign}</span> {meaning}'
        for sign, colour, meaning in MARKS.values()
    )
    table = f'<table style="font-size:85%">{"".join(rows)}</table>'
    return f'<div style="overflow-x:auto">{table}</div><p>{key}</p>'


def cell(said: Any) -> str:
    """An answer in its box."""
    sign, colour, meaning = MARKS[said.mark]
    box = f"{BOX}background:{colour};white-space:nowrap"
    plain = "color:#1a1a1a;background:none"  # whatever the page's own code looks like
    shown = f'{sign}&nbsp;<code style="{plain}">{html.escape(said.formula)}</code>'
    return f'<td style="padding:1px"><span style="{box}" title="{meaning}">{shown}</span></td>'


def answers_words(folders: Mapping[str, Path]) -> str:
    """How many of the hands are answered as SFT is taught, at the first look and the newest."""
    said, hands = [], 0
    for name, out in folders.items():
        rows = list(answers(out).values())
        hands = max(hands, len(rows))
        ends = [[row[i].mark for row in rows] for i in (0, -1)]
        if rows:
            taught, right = ([m.count(mark) for m in ends] for mark in (TAUGHT, RIGHT))
            said.append(
                f"{LOOKS[name][3]}: from {taught[0]} to {taught[1]} exactly as SFT is taught, "
                f"from {right[0]} to {right[1]} right in another way"
            )
    if not said:
        return "" if not folders else "These runs wrote no answers down."
    return f"First greedy answers to {hands} training hands. {'; '.join(said)}."
