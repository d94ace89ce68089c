"""Figures that more than one chapter shows, in one house style.

Each function shows values at one decoding, the paper's unless told otherwise: rows of several
decodings are never averaged. Intervals over seeds hold the noise of seeds and of problems.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from sftrl_lite import intervals
from sftrl_lite.claims import at_decoding, best_start, compare, measured, problems
from sftrl_lite.intervals import Estimate, Tested, wilson
from sftrl_lite.rollouts import PAPER

STYLE = Path(__file__).with_name("house.mplstyle")
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
NAMES = {
    "train": "training hands, trained rule",
    "id": "fresh hands, trained rule",
    "ood-rule": "fresh hands, shifted rule",
    "ood-visual": "fresh hands, red suits",
    "dev-rule": "fresh hands, development rule",
    "dev-visual": "fresh hands, green and blue suits",
}
TEMPERATURES = {"0": 0.0, "0.3": 0.3, PAPER: 0.6, "1": 1.0}  # measured at both ends of a run
INIT, BEST = "Init", "Init at its best temperature"
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
    seed. That of several holds both sources of noise (``intervals.over_seeds``).

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
    """One share, a line a seed as ``claims.measured`` returns it, with its interval."""
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


def direction(found: Tested | None) -> int:
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
    ways = {1: "rises", -1: "falls", 0: "stays level"}
    found = {method: change(table, metric, method, split, decoding) for method in methods}
    return "; ".join(f"{LOOKS[m][3]} {ways[direction(f)]}" for m, f in found.items() if f)


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
    names = summary["method"].map({method: look[3] for method, look in LOOKS.items()})
    starts = summary[(summary["point"] == 0) & (summary["method"] == first)].assign(who=INIT)
    ends = summary.assign(who=names)[(summary["point"] == last) & (summary["point"] > 0)]
    shown = pd.concat([starts, ends])
    shown["text"] = [per_cent(*row) for row in shown[["mean", "low", "high"]].to_numpy(float)]
    wide = shown.pivot(index="who", columns=["metric", "split"], values="text")
    for metric, split in wide.columns:
        if best := best_of_init(rows, metric, split):
            way, e = best
            wide.loc[BEST, (metric, split)] = f"{per_cent(e.value, e.low, e.high)} {spoken(way)}"
    order = [INIT, BEST, *(look[3] for look in LOOKS.values())]
    return wide.loc[[who for who in order if who in wide.index]].fillna("–")


def per_cent(mean: float, low: float, high: float) -> str:
    """A share and its interval as a table shows them."""
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


# --- curves -------------------------------------------------------------------------------


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
    """Metric against training compute, one panel a split, one line a method.

    The dashed line is Init, the dotted one Init at its best temperature; numbers are per cent.

    Args:
        table: rows in the form of the ledger; bands are 95 % intervals.
        accounting: ``flops_paper`` or ``flops_cache``.
        titles: what each panel shows, in a sentence; it stands above the split's name.
    """
    table = table[table["method"].isin(methods)]
    summary = over_seeds(table[table["metric"].isin([metric, accounting])], decoding)
    cost = summary[summary["metric"] == accounting].set_index(["method", "point"])["mean"]
    with plt.style.context(STYLE):
        size = (3.9 * len(splits), 4.0)
        figure, axes = plt.subplots(1, len(splits), figsize=size, squeeze=False, sharey=True)
        for i, (axis, split) in enumerate(zip(axes[0], splits, strict=True)):
            here = summary[(summary["metric"] == metric) & (summary["split"] == split)]
            labels = []
            for method in methods:
                part = here[here["method"] == method].sort_values("point")
                if part.empty:
                    continue
                colour, marker, line, label = LOOKS[method]
                x = [cost[method, point] / 1e12 for point in part["point"]]
                axis.plot(x, part["mean"], color=colour, marker=marker, ls=line, label=label)
                axis.fill_between(x, part["low"], part["high"], color=colour, alpha=0.18, lw=0)
                labels.append((part["mean"].iloc[-1], "", colour))
            if labels:
                first = here[(here["method"] == leader(table)) & (here["point"] == 0)]
                labels += draw_init(
                    axis, first["mean"].tolist(), best_of_init(table, metric, split)
                )
            write_ends(axis, labels)
            name = NAMES.get(split, split)
            said = [textwrap.fill(titles[i], 36)] if titles else []
            axis.set_title("\n".join([*said, name]))
            axis.set(xlabel="training compute (TFLOP)", ylim=(0, 1.04))
            axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        axes[0][0].set_ylabel(ylabel)
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
    """One legend of all panels, below them."""
    drawn: dict[str, Artist] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        drawn |= dict(zip(labels, handles, strict=True))
    if drawn:
        room = 0.6 + 0.075 * max(map(len, drawn))  # inches of the widest entry
        columns = max(int(figure.get_figwidth() / room), 1)
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
        f"{who}: " + ", ".join(f"{NAMES.get(split, split)} {value}" for split, value in row.items())
        for who, row in wide.iterrows()
    ]
    first = f"On {NAMES.get(splits[-1], splits[-1])}: {said}. " if said else ""
    numbers = "Per cent solved with 95 % intervals, at the end of training: "
    return first + numbers + "; ".join(lines) + "."


# --- success against temperature ----------------------------------------------------------


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
    ylabel: str = "solved at the first try",
) -> Figure:
    """Success against sampling temperature: Init, and each method at its last step.

    Args:
        table: rows in the form of the ledger; bars are 95 % intervals.
    """
    points = by_temperature(table, metric, split, methods)
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(5.6, 4.0))
        labels = []
        for i, (who, part) in enumerate(points.groupby("who", sort=False)):
            init = ("#222222", "*", "-", INIT)
            colour, marker, line, label = init if who == INIT else LOOKS[str(who)]
            # beside each other, so that no interval hides another
            x = np.array([TEMPERATURES[way] for way in part["decoding"]]) + 0.01 * (i - 1)
            error = [part["mean"] - part["low"], part["high"] - part["mean"]]
            look = dict(color=colour, marker=marker, ls=line, label=label, lw=1.6)
            axis.errorbar(x, part["mean"], yerr=error, ms=9 if who == INIT else 6, **look)
            labels.append((part["mean"].iloc[-1], "", colour))
        write_ends(axis, labels)
        ticks = {"0": "0\ngreedy", PAPER: "0.6\ntop_p 0.9"}
        shown = [way for way in TEMPERATURES if way in set(points["decoding"])]
        axis.set_xticks([TEMPERATURES[w] for w in shown], [ticks.get(w, w) for w in shown])
        axis.set_title(NAMES.get(split, split))
        axis.set(xlabel="sampling temperature", ylabel=ylabel, ylim=(0, 1.04), xlim=(-0.06, 1.06))
        axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        legend_below(figure)
    return figure


def temperature_alt(
    table: pd.DataFrame,
    metric: str = "success@1",
    split: str = "ood-rule",
    methods: Sequence[str] = ("rl-ppo", "sft"),
) -> str:
    """The figure of ``temperature_curve`` in words: what it shows, then its numbers."""
    points = by_temperature(table, metric, split, methods)
    said, lines = [], []
    for who, part in points.groupby("who", sort=False):
        label = INIT if who == INIT else LOOKS[str(who)][3]
        ways = zip(part["decoding"], part["mean"], strict=True)
        lines.append(f"{label} " + ", ".join(f"{spoken(w)} {100 * m:.1f}" for w, m in ways))
        if who != INIT:
            up, down = (part["above"] == 1).sum(), (part["above"] == -1).sum()
            said.append(f"{label} above Init at {up} and below it at {down} of {len(part)}")
    finding = f"{'; '.join(said)} temperatures, by intervals clear of zero"
    return f"{finding}. {NAMES.get(split, split)}, per cent solved: {'; '.join(lines)}."


# --- success against recognition (paper, figure 8) ----------------------------------------

SEEN = ("id", "ood-rule", "ood-visual")


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
) -> Figure:
    """Success against recognition over a training: one panel a split, one line a method.

    A line runs from Init (the star) through the evaluations to the end, its markers growing
    on the way. Crosses are 95 % intervals of both shares, at the end and of Init.

    Args:
        table: rows in the form of the ledger, with the metric ``recognised``.
        metric: the share on the vertical axis.
    """
    points = paths(table, metric, splits, decoding)
    with plt.style.context(STYLE):
        size = (3.7 * len(splits), 3.9)
        figure, axes = plt.subplots(
            1, len(splits), figsize=size, squeeze=False, sharex=True, sharey=True
        )
        for axis, split in zip(axes[0], splits, strict=True):
            here = points.loc[split] if split in points.index else points.iloc[:0].droplevel(0)
            shown = [m for m in methods if m in here.index.get_level_values("method")]
            for method in shown:
                draw_path(axis, here.loc[method], metric, method)
            if shown:
                start = here.loc[shown].xs(0, level="point").mean()
                cross(axis, start, metric, "#222222", 0.5)
                at = start["recognised", "mean"], start[metric, "mean"]
                axis.plot(*at, "*", color="#222222", ms=13, mec="white", zorder=5, label="Init")
            axis.set_title(NAMES.get(split, split))
            axis.set_xlabel("hands recognised")
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.grid(True, axis="both")
            for line in (axis.xaxis, axis.yaxis):
                line.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        axes[0][0].set_ylabel(ylabel)
        legend_below(figure)
    return figure


def draw_path(axis, run: pd.DataFrame, metric: str, method: str) -> None:
    """One method's way through the plane; a marker is larger the later it is."""
    colour, marker, line, label = LOOKS[method]
    x, y = run["recognised", "mean"], run[metric, "mean"]
    axis.plot(x, y, color=colour, ls=line, lw=1.6)
    for i in range(1, len(run)):
        share = i / (len(run) - 1)
        look = dict(color=colour, ms=4 + 5 * share, mec="white", mew=0.6)
        axis.plot(x.iloc[i], y.iloc[i], marker, **look)
    cross(axis, run.iloc[-1], metric, colour, 0.7)
    axis.plot([], [], color=colour, marker=marker, ls=line, label=label)  # for the legend


def cross(axis, point: pd.Series, metric: str, colour: str, alpha: float) -> None:
    """Intervals of a point in both directions."""
    x, y = point["recognised"], point[metric]
    look = dict(color=colour, alpha=alpha, lw=1.2, solid_capstyle="butt")
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
            if (split, method) not in points.index.droplevel("point"):
                continue
            run, numbers, ways = points.loc[split, method], [], []
            for name, word in (("recognised", "recognises"), (metric, "solves")):
                start, end = 100 * run[name, "mean"].iloc[[0, -1]]
                way = direction(change(table, name, method, split, decoding))
                numbers.append(f"{start:.0f} to {end:.0f} %")
                ways.append(f"{word} {('about as many', 'more', 'fewer')[way]}")
            who = f"{NAMES.get(split, split)}, {LOOKS[method][3]}"
            said.append(f"{who} {' and '.join(ways)}")
            lines.append(f"{who}: recognised {numbers[0]}, solved {numbers[1]}")
    return f"{'; '.join(said)} than Init. From Init to the end: {'; '.join(lines)}."


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
    """The evaluations until ``share``; those that fall just behind it count as on it."""
    return points[points["share"] <= share + 0.05]


def moment(points: pd.DataFrame, share: float) -> Figure:
    """Curves drawn as far as ``share`` of the training, one panel a split; the rest is faint.

    Args:
        points: what ``progress`` returns.
    """
    splits = list(dict.fromkeys(points["split"]))
    with plt.style.context(STYLE):
        size = (4.2 * len(splits), 3.4)
        figure, axes = plt.subplots(1, len(splits), figsize=size, squeeze=False, sharey=True)
        for axis, split in zip(axes[0], splits, strict=True):
            for method, run in points[points["split"] == split].groupby("method", sort=False):
                colour, marker, line, label = LOOKS[str(method)]
                axis.plot(run["share"], run["mean"], color=colour, alpha=0.2, lw=1.5)
                done = upto(run, share)
                axis.plot(done["share"], done["mean"], color=colour, ls=line)
                now = done.iloc[-1]
                error = [[now["mean"] - now["low"]], [now["high"] - now["mean"]]]
                look = dict(color=colour, marker=marker, ms=9, ls=line, label=label)
                axis.errorbar(now["share"], now["mean"], yerr=error, **look)
            axis.set_title(NAMES.get(split, split))
            axis.set(xlabel="share of the training", xlim=(-0.05, 1.07), ylim=(0, 1.02))
            axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
            for way in (axis.xaxis, axis.yaxis):
                way.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        axes[0][0].set_ylabel("solved at the first try")
        axes[0][-1].legend(loc="upper left")
    return figure


def moment_words(points: pd.DataFrame, share: float) -> str:
    """The figure of ``moment`` in words."""
    said = []
    for split, part in points.groupby("split", sort=False):
        numbers = []
        for method, run in upto(part, share).groupby("method", sort=False):
            mean, low, high = 100 * run[["mean", "low", "high"]].iloc[-1]
            numbers.append(f"{LOOKS[str(method)][3]} {mean:.1f} [{low:.1f}, {high:.1f}] %")
        said.append(f"{NAMES.get(str(split), split)}: {', '.join(numbers)}")
    return f"After {100 * share:.0f} % of the training, solved at the first try. {'; '.join(said)}."


# --- memory by part (chapter 9) -----------------------------------------------------------

PARTS = {  # colour and hatch, so that neighbours differ twice
    "weights": ("#0072B2", ""),
    "gradients": ("#56B4E9", "//"),
    "optimizer": ("#CC79A7", ""),
    "Init, to compare": ("#999999", "//"),
    "copy for rollouts": ("#767676", ""),
    "whole weights": ("#B0B0B0", "//"),
    "Init at hand": ("#999999", "//"),
    "distance": ("#D5C4A1", ""),
    "KV cache": ("#009E73", ""),
    "pictures played": ("#882255", ""),
    "reading prompts": ("#8FD6BE", "//"),
    "pixels": ("#AA4499", ""),
    "image states": ("#882255", "//"),
    "activations": ("#E69F00", ""),
    "logits": ("#D55E00", "//"),
    "layer": ("#F0E442", ""),
    "gathered": ("#767676", "//"),
}


def memory_bars(plans: dict[str, dict[str, float]], gpus: dict[str, float]) -> Figure:
    """Stacked bars of memory by part, one bar a plan, and a line for each GPU.

    Args:
        plans: by label, GiB by part.
        gpus: GiB by name.
    """
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 0.55 * len(plans) + 1.9))
        places = np.arange(len(plans))[::-1]
        left = np.zeros(len(plans))
        for part, (colour, hatch) in PARTS.items():
            sizes = np.array([parts.get(part, 0.0) for parts in plans.values()])
            if sizes.any():
                look = dict(color=colour, hatch=hatch, edgecolor="white", lw=0.5, label=part)
                axis.barh(places, sizes, left=left, height=0.7, **look)
                left += sizes
        for place, total in zip(places, left, strict=True):
            axis.annotate(
                f"{total:.0f}",
                (total, place),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
                bbox=dict(boxstyle="square,pad=0.1", fc="white", ec="none"),
            )
        for i, (name, size) in enumerate(gpus.items()):
            axis.axvline(size, color="#222222", lw=1, ls=(0, (4, 3)))
            axis.annotate(
                name,
                (size, 1.0),
                (0, 3 + 11 * (i % 2)),
                fontsize=8,
                ha="center",
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
            )
        axis.set_yticks(places, plans)
        axis.set(xlabel="GiB on one GPU", xlim=(0, 1.06 * max(*left, *gpus.values())))
        axis.grid(False, axis="y")
        figure.legend(loc="outside lower center", ncols=5)
    return figure
