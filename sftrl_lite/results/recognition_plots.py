"""Figures of recognition against success, and of a run step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.names import CARDS, split_name
from sftrl_lite.results.plots import (
    DRAWN,
    INIT,
    LABELS,
    STYLE,
    change,
    direction,
    draw_lines,
    legend_below,
    over_seeds,
)

# --- success against recognition (paper, figure 8) ----------------------------------------

SEEN = ("id", "ood-rule", "ood-visual")
WAYS = {1: "more", -1: "fewer", 0: "no clearly different number"}


def paths(
    table: pd.DataFrame,
    metric: str = "success",
    splits: Sequence[str] = SEEN,
    decoding: str = PAPER,
) -> pd.DataFrame:
    """Success beside recognition at each evaluation, with the intervals of both.

    Returns:
        rows by split, method and point; columns ``(x, mean)``, ``(x, low)``, ... where x is
        ``metric`` or ``recognised``.

    Raises:
        ValueError: no recognition in the table, as in tasks without pictures.
    """
    wanted = table["metric"].isin([metric, "recognised"]) & table["split"].isin(splits)
    if "recognised" not in set(table.loc[wanted, "metric"]):
        raise ValueError("the table holds no recognition; only tasks with pictures measure it")
    summary = over_seeds(table[wanted], decoding)
    keys = ["split", "method", "point"]
    wide = summary.pivot_table(index=keys, columns="metric", values=["mean", "low", "high"])
    return wide.swaplevel(axis=1).dropna().sort_index()


def recognition_path(
    table: pd.DataFrame,
    metric: str = "success",
    splits: Sequence[str] = SEEN,
    methods: Sequence[str] = ("rl-ppo", "sft"),
    ylabel: str = "solved within the budget",
    decoding: str = PAPER,
    title: str = "",
) -> Figure:
    """Success against recognition over a training: one panel per split, one line per method.

    A line runs from Init (the star) through the evaluations to the end, its markers growing
    on the way. Crosses are 95 % intervals of both shares, at the end and of Init.

    Args:
        table: rows in the form of the ledger, with the metric ``recognised``.
        metric: the share on the vertical axis.
        title: what the figure shows, in a sentence; it is placed above the splits' names.
    """
    points = paths(table, metric, splits, decoding)
    with plt.style.context(STYLE):
        size = (3.7 * len(splits), 3.9)
        figure, axes = plt.subplots(
            1, len(splits), figsize=size, squeeze=False, sharex=True, sharey=True
        )
        for axis, split in zip(axes[0], splits, strict=True):
            here = points[points.index.get_level_values("split") == split].droplevel("split")
            shown = [m for m in methods if m in here.index.get_level_values("method")]
            if shown:
                runs = here.loc[shown]
                draw_paths(axis, runs, metric)
                start = runs[runs.index.get_level_values("point") == 0].mean()
                cross(axis, start, metric, "#222222", 0.5)
                at = start["recognised", "mean"], start[metric, "mean"]
                axis.plot(*at, "*", color="#222222", ms=13, mec="white", zorder=5, label=INIT)
            axis.set_title(split_name(split, table))
            axis.set(xlabel="hands recognised", ylabel=ylabel)
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.grid(True, axis="both")
            for line in (axis.xaxis, axis.yaxis):
                line.set_major_formatter(PercentFormatter(1, 0, " %"))
            axis.label_outer()
        if title:
            figure.suptitle(title)
        legend_below(figure)
    return figure


def draw_paths(axis: Axes, runs: pd.DataFrame, metric: str) -> None:
    """The methods' ways through the plane; a marker is larger the later it is."""
    means = runs.xs("mean", axis=1, level=1).reset_index()
    means["who"] = means["method"].map(LABELS)
    means["done"] = means["point"] / means.groupby("method")["point"].transform("max")
    look = dict(x="recognised", y=metric, hue="who", style="who", ax=axis)
    sns.lineplot(means, estimator=None, sort=False, lw=1.6, mec="auto", **look, **DRAWN)
    look |= dict(palette=DRAWN["palette"], markers=DRAWN["markers"], legend=False)
    later = means[means["point"] > 0]
    sns.scatterplot(later, size="done", sizes=(25, 81), size_norm=(0, 1), zorder=3, **look)
    for who, run in runs.groupby("method", sort=False):
        cross(axis, run.iloc[-1], metric, DRAWN["palette"][LABELS[str(who)]], 0.7)


def cross(axis: Axes, point: pd.Series, metric: str, colour: str, alpha: float) -> None:
    """Intervals of a point in both directions."""
    x, y = point["recognised"], point[metric]
    look: dict[str, Any] = dict(color=colour, alpha=alpha, lw=1.2, solid_capstyle="butt")
    axis.plot([x["low"], x["high"]], [y["mean"]] * 2, **look)
    axis.plot([x["mean"]] * 2, [y["low"], y["high"]], **look)


def recognition_alt(
    table: pd.DataFrame,
    metric: str = "success",
    splits: Sequence[str] = SEEN,
    methods: Sequence[str] = ("rl-ppo", "sft"),
    decoding: str = PAPER,
) -> str:
    """The figure of ``recognition_path`` in words: what moves clearly, then the numbers."""
    points = paths(table, metric, splits, decoding)
    said, lines = [], []
    for split in splits:
        for method in methods:
            if (split, method) not in points.droplevel("point").index:
                continue
            run: Any = points.loc[split, method]  # a table, by point
            numbers, ways = [], []
            for name, word in (("recognised", "recognises"), (metric, "solves")):
                start, end = 100 * run[name, "mean"].iloc[[0, -1]]
                way = direction(change(table, name, method, split, decoding))
                numbers.append(f"{start:.0f} to {end:.0f} %")
                ways.append(f"{word} {WAYS[way]}")
            who = f"{split_name(split, table)}, {LABELS[method]}"
            said.append(f"{who} {' and '.join(ways)}")
            lines.append(f"{who}: recognised {numbers[0]}, solved {numbers[1]}")
    return f"Against Init: {'; '.join(said)}. From Init to the end: {'; '.join(lines)}."


# --- a training as far as it has come -----------------------------------------------------


def progress(
    table: pd.DataFrame,
    metric: str = "success@1",
    splits: Sequence[str] = ("id", "ood-rule"),
    methods: Sequence[str] = ("rl-ppo", "sft", "sft-pushed"),
    decoding: str = PAPER,
) -> pd.DataFrame:
    """A metric at every evaluation, and the share of its training that a method had done.

    Args:
        table: rows in the form of the ledger.

    Returns:
        columns method, split, share (of the method's own compute, 0 to 1), mean, low, high,
        seeds.

    Raises:
        ValueError: nothing to show.
    """
    wanted = table["metric"].isin([metric, "flops_paper"]) & table["method"].isin(methods)
    summary = over_seeds(table[wanted], decoding)
    shown = summary[(summary["metric"] == metric) & summary["split"].isin(splits)]
    if shown.empty:
        raise ValueError(f"the table holds no {metric} of {', '.join(methods)}")
    cost = summary[summary["metric"] == "flops_paper"].set_index(["method", "point"])["mean"]
    share = cost / cost.groupby("method").transform("max")
    shown = shown.join(share.rename("share"), on=["method", "point"])
    return shown[["method", "split", "share", "mean", "low", "high", "seeds"]]


def upto(points: pd.DataFrame, share: float) -> pd.DataFrame:
    """The evaluations until ``share``; those shortly after it are included."""
    return points[points["share"] <= share + 0.05]


def moment(points: pd.DataFrame, share: float) -> Figure:
    """Curves drawn as far as ``share`` of the training, one panel per split; the rest is faint.

    Args:
        points: what ``progress`` returns.
    """
    splits = list(dict.fromkeys(points["split"]))
    points = points.assign(who=points["method"].map(LABELS))
    with plt.style.context(STYLE):
        size = (4.2 * len(splits), 3.4)
        figure, axes = plt.subplots(1, len(splits), figsize=size, squeeze=False, sharey=True)
        for axis, split in zip(axes[0], splits, strict=True):
            whole = points[points["split"] == split]
            done = upto(whole, share)
            bare = dict(markers=False, errorbar=None, legend=False)
            draw_lines(axis, whole, "share", **bare, dashes=False, alpha=0.2, lw=1.5)
            draw_lines(axis, done, "share", **bare)
            now = done.groupby("who").tail(1)
            draw_lines(axis, now, "share", err_style="bars", ms=9)
            axis.set_title(CARDS.get(split, split))
            axis.set(xlabel="share of the training", xlim=(-0.05, 1.07), ylim=(0, 1.02))
            axis.set_ylabel("solved at the first try")
            axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
            for way in (axis.xaxis, axis.yaxis):
                way.set_major_formatter(PercentFormatter(1, 0, " %"))
            axis.label_outer()
        legend_below(figure)
    return figure


def moment_words(points: pd.DataFrame, share: float) -> str:
    """The figure of ``moment`` in words."""
    said = []
    for split, part in points.groupby("split", sort=False):
        numbers = []
        for method, run in upto(part, share).groupby("method", sort=False):
            mean, low, high = 100 * run[["mean", "low", "high"]].iloc[-1]
            numbers.append(f"{LABELS[str(method)]} {mean:.1f} [{low:.1f}, {high:.1f}] %")
        said.append(f"{CARDS.get(str(split), split)}: {', '.join(numbers)}")
    return f"After {100 * share:.0f} % of the training, solved at the first try. {'; '.join(said)}."
