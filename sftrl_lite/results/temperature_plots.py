"""Figures over temperature: what lowering it alone would give."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.measures import measured
from sftrl_lite.results.names import share_name, split_name
from sftrl_lite.results.plots import (
    INIT,
    LABELS,
    STYLE,
    TEMPERATURES,
    change,
    direction,
    draw_lines,
    estimate,
    leader,
    legend_below,
    spoken,
    write_ends,
)


def by_temperature(
    table: pd.DataFrame, metric: str, split: str, methods: Sequence[str]
) -> pd.DataFrame:
    """Init and methods at their last step, at each decoding that was recorded at both ends.

    Returns:
        columns who (a method or ``Init``), decoding, mean, low, high, seeds, and above: 1, -1 or 0
        where the difference from the same runs' Init is clear of zero, paired by seed.

    Raises:
        ValueError: nothing to show.
    """
    lines = []
    for who in (INIT, *methods):
        runs = table[table["method"].isin(methods)]
        method = who
        if who == INIT and len(runs):
            method = leader(runs)
        for decoding in TEMPERATURES:
            at = "start" if who == INIT else "end"
            part = measured(runs, metric, method, split, at, decoding)
            if part.empty:
                continue
            e = estimate(part)
            above = 0 if who == INIT else direction(change(runs, metric, who, split, decoding))
            lines.append((who, decoding, e.value, e.low, e.high, len(part), above))
    columns = ["who", "decoding", "mean", "low", "high", "seeds", "above"]
    if not lines:
        raise ValueError(f"the table holds no {metric} on {split} of {', '.join(methods)}")
    return pd.DataFrame(lines, columns=columns)


def temperature_curve(
    table: pd.DataFrame,
    metric: str = "success@1",
    split: str = "ood-rule",
    methods: Sequence[str] = ("rl-ppo", "sft"),
    ylabel: str = "",
) -> Figure:
    """Success against sampling temperature: Init, and each method at its last step.

    Args:
        table: rows in the form of the ledger; bars are 95 % intervals.
        ylabel: what is measured; if empty, the metric in words, and on which split.
    """
    points = by_temperature(table, metric, split, methods)
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(5.6, 4.0))
        # beside each other, so that no interval hides another
        aside = 0.01 * (pd.factorize(points["who"])[0] - 1)
        drawn = points.assign(
            who=points["who"].replace(LABELS), at=points["decoding"].map(TEMPERATURES) + aside
        )
        write_ends(axis, draw_lines(axis, drawn, "at", err_style="bars", lw=1.6, ms=7))
        ticks = {"0": "0\ngreedy", PAPER: "0.6\ntop_p 0.9"}
        shown = [way for way in TEMPERATURES if way in set(points["decoding"])]
        axis.set_xticks([TEMPERATURES[w] for w in shown], [ticks.get(w, w) for w in shown])
        ylabel = ylabel or f"{split_name(split, table)},\n{share_name(metric)}"
        axis.set_title("\n".join(against_init(points)))
        axis.set(xlabel="sampling temperature", ylabel=ylabel, ylim=(0, 1.04), xlim=(-0.06, 1.06))
        axis.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
        legend_below(figure)
    return figure


def against_init(points: pd.DataFrame) -> list[str]:
    """At how many temperatures a method ends above and below Init, from ``by_temperature``."""
    said = []
    for who, part in points[points["who"] != INIT].groupby("who", sort=False):
        up, down = (part["above"] == 1).sum(), (part["above"] == -1).sum()
        said.append(f"{LABELS[str(who)]} above Init at {up} and below it at {down} of {len(part)}")
    return said


def temperature_alt(
    table: pd.DataFrame,
    metric: str = "success@1",
    split: str = "ood-rule",
    methods: Sequence[str] = ("rl-ppo", "sft"),
) -> str:
    """The figure of ``temperature_curve`` in words: what it shows, then its numbers."""
    points = by_temperature(table, metric, split, methods)
    lines = []
    for who, part in points.groupby("who", sort=False):
        label = LABELS.get(str(who), INIT)
        ways = zip(part["decoding"], part["mean"], strict=True)
        lines.append(f"{label} " + ", ".join(f"{spoken(w)} {100 * m:.1f}" for w, m in ways))
    finding = f"{'; '.join(against_init(points))} temperatures, by intervals clear of zero"
    where = f"{split_name(split, table)}, per cent {share_name(metric)}"
    return f"{finding}. {where}: {'; '.join(lines)}."
