"""Figures that more than one chapter shows, in one house style.

Each function shows values at one decoding, the paper's unless told otherwise: rows of several
decodings are never averaged. Intervals over seeds include the noise of seeds and of problems.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.optimize import isotonic_regression

from sftrl_lite.results import intervals
from sftrl_lite.results.intervals import Estimate, Tested, wilson
from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.measures import at_decoding, best_start, compare, measured, problems
from sftrl_lite.results.names import share_name, split_name

STYLE = Path(__file__).parents[1] / "house.mplstyle"
LOOKS = {  # colour, marker, line: three ways to tell methods apart
    "sft": ("#D55E00", "s", "--", "SFT"),
    "rl-ppo": ("#0072B2", "o", "-", "RL (PPO)"),
    "sft-pushed": ("#7B3294", "X", "--", "SFT, learning rate 1e-3"),
    "rl-grpo": ("#009E73", "^", "-.", "RL (GRPO)"),
    "sft-varied": ("#E69F00", "D", ":", "SFT, varied rules"),
    "sft-own": ("#CC79A7", "P", "-.", "SFT, base model's own style"),
    "sft-verified": ("#56B4E9", "<", "-.", "SFT, own verified answers (on-policy)"),
    "sft-dft": ("#882255", ">", "--", "SFT, DFT loss"),
    "sft-kl": ("#8C6D1F", "h", "--", "SFT, KL to Init"),
    "rl-random": ("#767676", "v", ":", "RL, random reward"),
}
LABELS = {method: label for method, (*_, label) in LOOKS.items()}
TEMPERATURES = {"0": 0.0, "0.3": 0.3, PAPER: 0.6, "1": 1.0}  # measured at both ends of a run
INIT, BEST = "Init", "Init at its best temperature"
ALL = [*LOOKS.values(), ("#222222", "*", "-", INIT)]
DASHES = {"-": "", "--": (3.7, 1.6), "-.": (6.4, 1.6, 1, 1.6), ":": (1, 1.65)}
DRAWN: dict[str, dict[str, Any]] = {  # the looks in seaborn's words, by the label
    "palette": {label: colour for colour, _, _, label in ALL},
    "markers": {label: marker for _, marker, _, label in ALL},
    "dashes": {label: DASHES[line] for _, _, line, label in ALL},
}
WORSE = ("format_error", "fake")  # the more, the worse: no temperature is best


def spoken(decoding: str) -> str:
    """A decoding in a word or two."""
    return "greedy" if decoding == "0" else f"T {decoding.partition('/')[0]}"


# --- what is drawn ------------------------------------------------------------------------


def with_points(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``point``: 0 for Init, 1, 2, ... for the evaluations of a run in their order.

    Runs of equal compute need different numbers of steps, so points are compared.
    """
    run = ["experiment", "method", "tries", "seed", "config_hash"]
    return table.assign(point=table.groupby(run)["step"].rank("dense").astype(int) - 1)


def over_seeds(table: pd.DataFrame, decoding: str = PAPER) -> pd.DataFrame:
    """Mean and 95 % interval of each metric over seeds, at one decoding.

    One seed keeps the interval over its own problems (Wilson), which says nothing about the next
    seed. That of several includes both sources of noise (``intervals.over_seeds``).

    Returns:
        columns method, tries, point, split, metric, mean, low, high, seeds, n.

    Raises:
        ValueError: two runs of one seed, which are no two seeds.
    """
    keys = ["method", "tries", "point", "split", "metric"]
    rows = []
    for key, part in at_decoding(with_points(table), decoding).groupby(keys, sort=False):
        if part["seed"].duplicated().any():
            raise ValueError(f"two runs of {key[0]} share a seed; choose one of their settings")
        n = problems(part)
        mean, k = part["value"].mean(), len(part)
        low, high = part["low"].iloc[0], part["high"].iloc[0]
        if k > 1:
            found = intervals.over_seeds(part["value"], n)
            low, high = found.low, found.high
        if n is not None:
            low, high = max(low, 0.0), min(high, 1.0)
        rows.append((*key, mean, low, high, k, int(part["n"].sum())))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "seeds", "n"])


def estimate(lines: pd.DataFrame) -> Estimate:
    """One share, a line per seed as ``measures.measured`` returns it, with its interval."""
    if len(lines) > 1:
        return intervals.over_seeds(lines["value"], problems(lines))
    n = int(lines["n"].iloc[0])
    return wilson(round(n * lines["value"].iloc[0]), n)


def leader(table: pd.DataFrame) -> str:
    """The method whose runs show Init: that with the most seeds, the first of several."""
    return str(table.groupby("method", sort=False)["seed"].nunique().idxmax())


def best_of_init(table: pd.DataFrame, metric: str, split: str) -> tuple[str, Estimate] | None:
    """Init at its best temperature: which one, and the share there; None if not recorded."""
    if metric in WORSE or table.empty:
        return None
    lines = best_start(table, metric, leader(table), split)
    return (lines["decoding"].iloc[0], estimate(lines)) if len(lines) else None


def change(
    table: pd.DataFrame, metric: str, method: str, split: str, decoding: str = PAPER
) -> Tested | None:
    """End minus start of a method, paired by seed; None if it is not recorded."""
    start, end = (measured(table, metric, method, split, at, decoding) for at in ("start", "end"))
    return compare([end], [start])


def direction(found: Estimate | None) -> int:
    """1 or -1 where an interval keeps clear of zero, else 0."""
    return 0 if found is None or found.low <= 0 <= found.high else int(np.sign(found.value))


def finding(
    table: pd.DataFrame,
    metric: str,
    split: str,
    methods: Iterable[str] = ("rl-ppo", "sft"),
    decoding: str = PAPER,
) -> str:
    """Which methods end above or below their Init, by intervals clear of zero; "" if none ran."""
    ways = {1: "rises", -1: "falls", 0: "shows no clear change"}
    found = {method: change(table, metric, method, split, decoding) for method in methods}
    return "; ".join(f"{LABELS[m]} {ways[direction(f)]}" for m, f in found.items() if f)


def summary_table(
    table: pd.DataFrame,
    metrics: Sequence[str] = ("success", "read"),
    splits: Sequence[str] = ("id", "ood-rule", "dev-rule"),
    decoding: str = PAPER,
) -> pd.DataFrame:
    """Init and the last step of each method: per cent with 95 % intervals, as text.

    ``Init at its best temperature`` names the temperature, picked among all that are recorded.
    """
    rows = table[table["metric"].isin(metrics) & table["split"].isin(splits)]
    summary = over_seeds(rows, decoding)
    first = leader(rows) if len(rows) else ""
    last = summary.groupby("method")["point"].transform("max")
    names = summary["method"].map(LABELS)
    starts = summary[(summary["point"] == 0) & (summary["method"] == first)].assign(who=INIT)
    ends = summary.assign(who=names)[(summary["point"] == last) & (summary["point"] > 0)]
    shown = pd.concat([starts, ends])
    shown["text"] = [per_cent(*row) for row in shown[["mean", "low", "high"]].to_numpy(float)]
    wide = shown.pivot(index="who", columns=["metric", "split"], values="text")
    pairs: Any = wide.columns
    for metric, split in pairs:
        if best := best_of_init(rows, metric, split):
            way, e = best
            wide.loc[BEST, (metric, split)] = f"{per_cent(e.value, e.low, e.high)} {spoken(way)}"
    order = [INIT, BEST, *LABELS.values()]
    return wide.loc[[who for who in order if who in wide.index]].fillna("–")


def per_cent(mean: float, low: float, high: float) -> str:
    """A share and its interval as a table shows them."""
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


# --- curves -------------------------------------------------------------------------------


def draw_lines(
    axis: Axes, table: pd.DataFrame, x: str, **look: Any
) -> list[tuple[float, str, str]]:
    """A line for each name in ``who``, with the intervals that the table holds.

    Args:
        table: columns who, mean, low, high and ``x``.
        look: further arguments of ``seaborn.lineplot``.

    Returns:
        what ``write_ends`` shall write beside them.
    """
    given = dict(style="who", mec="auto", ax=axis) | as_given(table, x)
    sns.lineplot(**DRAWN | given | look)
    last = table.loc[table.groupby("who", sort=False)[x].idxmax()]
    return [(end, "", DRAWN["palette"][who]) for end, who in last[["mean", "who"]].to_numpy()]


def as_given(table: pd.DataFrame, x: str) -> dict[str, Any]:
    """Arguments with which seaborn draws estimates and their intervals as they are.

    It sees each estimate as three rows, whose median and whole range are mean and interval:
    nothing is resampled.
    """
    rows = table.melt([x, "who"], ["low", "mean", "high"], value_name="drawn")
    data = dict(data=rows, x=x, y="drawn", hue="who")
    return data | dict(estimator="median", errorbar=("pi", 100))


def curves(
    table: pd.DataFrame,
    metric: str = "success@1",
    splits: Sequence[str] = ("train", "id", "ood-rule"),
    methods: Sequence[str] = ("rl-ppo", "sft"),
    ylabel: str = "solved at the first try",
    accounting: str = "flops_paper",
    decoding: str = PAPER,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Metric against training compute, one panel per split, one line per method.

    The dashed line is Init, the dotted one Init at its best temperature; numbers are per cent.

    Args:
        table: rows in the form of the ledger; bands are 95 % intervals.
        accounting: ``flops_paper`` or ``flops_cache``.
        titles: what each panel shows, in a sentence; it is placed above the split's name.
    """
    table = table[table["method"].isin(methods)]
    summary = over_seeds(table[table["metric"].isin([metric, accounting])], decoding)
    cost = summary[summary["metric"] == accounting].set_index(["method", "point"])["mean"] / 1e12
    summary = summary.join(cost.rename("cost"), on=["method", "point"])
    summary = summary.assign(who=summary["method"].map(LABELS))
    summary = summary.sort_values("method", key=lambda m: m.map(list(methods).index), kind="stable")
    with plt.style.context(STYLE):
        size = (3.9 * len(splits), 4.0)
        figure, axes = plt.subplots(1, len(splits), figsize=size, squeeze=False, sharey=True)
        for i, (axis, split) in enumerate(zip(axes[0], splits, strict=True)):
            here = summary[(summary["metric"] == metric) & (summary["split"] == split)]
            labels = draw_lines(axis, here, "cost")
            if labels:
                first = here[(here["method"] == leader(table)) & (here["point"] == 0)]
                best = best_of_init(table, metric, split)
                labels += draw_init(axis, first["mean"].tolist(), best)
            write_ends(axis, labels)
            name = split_name(split, table)
            said = [textwrap.fill(titles[i], 36)] if titles else []
            axis.set_title("\n".join([*said, name]))
            axis.set(xlabel="training compute (TFLOP)", ylabel=ylabel, ylim=(0, 1.04))
            axis.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
            axis.label_outer()
        legend_below(figure)
    return figure


def draw_init(
    axis: Axes, start: Sequence[float], best: tuple[str, Estimate] | None
) -> list[tuple[float, str, str]]:
    """Lines of Init; returns what ``write_ends`` shall write beside them."""
    grey, labels = "#555555", []
    for mean in start:
        axis.axhline(mean, color=grey, lw=1.2, ls=(0, (6, 3)), label=INIT)
        labels.append((mean, f"{INIT} ", grey))
    if best:
        axis.axhline(best[1].value, color=grey, lw=1.6, ls=(0, (1, 1.5)), label=BEST)
        labels.append((best[1].value, f"{INIT}, best T ", grey))
    return labels


def write_ends(axis: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Values in per cent at the right end of lines, moved apart where they would overlap.

    Args:
        labels: height, words before the number, colour.
    """
    places = spread([height for height, _, _ in labels], 0.055, 1.0)
    for place, (height, words, colour) in zip(places, labels, strict=True):
        axis.annotate(
            f"{words}{100 * height:.0f} %",
            (1, place),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
        )


def spread(heights: Sequence[float], gap: float, top: float) -> np.ndarray:
    """Heights (k,) moved as little as possible so that all are ``gap`` apart and below ``top``."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(order))
    placed = np.empty(len(order))
    if len(order):
        # neighbours at least a gap apart: never falling once the gaps are taken out
        apart = isotonic_regression(np.asarray(heights, float)[order] - steps).x
        placed[order] = np.minimum(apart, top - steps[-1]) + steps
    return placed


def legend_below(figure: Figure) -> None:
    """One legend of all panels, below them, instead of one in each."""
    drawn: dict[str, Artist] = {}
    for axis in figure.axes:
        if legend := axis.get_legend():
            legend.remove()
        handles, labels = axis.get_legend_handles_labels()
        drawn |= dict(zip(labels, handles, strict=True))
    if drawn:
        room = 0.6 + 0.075 * max(map(len, drawn))  # inches of the widest entry
        rows = -(-len(drawn) // max(int(figure.get_figwidth() / room), 1))
        columns = -(-len(drawn) // rows)  # rows of about equal length
        figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=columns)


def alt_text(
    table: pd.DataFrame,
    metric: str = "success@1",
    splits: Sequence[str] = ("train", "id", "ood-rule"),
    decoding: str = PAPER,
    methods: Sequence[str] | None = None,
) -> str:
    """The figure of ``curves`` in words: what it shows in the last panel, then the numbers.

    Args:
        methods: those that are drawn; all if None.
    """
    table = table[table["method"].isin(methods or LOOKS)]
    said = finding(table, metric, splits[-1], LOOKS, decoding)
    wide = summary_table(table, [metric], splits, decoding)[metric]
    lines = [
        f"{who}: " + ", ".join(f"{split_name(split, table)} {v}" for split, v in row.items())
        for who, row in wide.iterrows()
    ]
    first = f"On {split_name(splits[-1], table)}: {said}. " if said else ""
    numbers = f"Per cent {share_name(metric)} with 95 % intervals, at the end of training: "
    return first + numbers + "; ".join(lines) + "."
