"""Figures that more than one chapter shows, in one house style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sftrl_lite.intervals import student_interval

STYLE = Path(__file__).with_name("house.mplstyle")
LOOKS = {  # colour, marker, line: three ways to tell methods apart
    "sft": ("#D55E00", "s", "--", "SFT"),
    "rl-ppo": ("#0072B2", "o", "-", "RL (PPO)"),
    "sft-pushed": ("#7B3294", "X", "--", "SFT, learning rate 1e-3"),
    "rl-grpo": ("#009E73", "^", "-.", "RL (GRPO)"),
    "sft-varied": ("#E69F00", "D", ":", "SFT, varied rules"),
    "sft-own": ("#CC79A7", "P", "-.", "SFT, base's own words"),
    "sft-verified": ("#56B4E9", "<", "-.", "SFT, own verified answers"),
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


def with_points(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``point``: 0 for Init, 1, 2, ... for the evaluations of a run in their order.

    Runs of equal compute need different numbers of steps, so points are compared.
    """
    run = ["experiment", "method", "tries", "seed"]
    return table.assign(point=table.groupby(run)["step"].rank("dense").astype(int) - 1)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval of each metric over seeds.

    One seed keeps the interval over its own episodes (Wilson). Several seeds are
    independent trainings, so the interval is Student's over the seeds' values.

    Returns:
        columns method, tries, point, split, metric, mean, low, high, seeds, n.
    """
    keys = ["method", "tries", "point", "split", "metric"]
    rows = []
    for key, part in with_points(table).groupby(keys, sort=False):
        values = part["value"].to_numpy(float)
        mean, k = values.mean(), len(values)
        if k == 1:
            low, high = part["low"].iloc[0], part["high"].iloc[0]
        else:
            low, high = student_interval(values)
        rows.append((*key, mean, low, high, k, int(part["n"].sum())))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "seeds", "n"])


def curves(
    table: pd.DataFrame,
    metric: str = "success@1",
    splits: Sequence[str] = ("train", "id", "ood-rule"),
    methods: Sequence[str] = ("rl-ppo", "sft"),
    ylabel: str = "solved at the first try",
    accounting: str = "flops_paper",
) -> Figure:
    """Metric against training compute, one panel a split, one line a method.

    Args:
        table: rows in the form of the ledger; bands are 95 % intervals.
        accounting: ``flops_paper`` or ``flops_cache``.
    """
    summary = over_seeds(table[table["metric"].isin([metric, accounting])])
    cost = summary[summary["metric"] == accounting].set_index(["method", "point"])["mean"]
    with plt.style.context(STYLE):
        size = (3.7 * len(splits), 3.6)
        figure, axes = plt.subplots(1, len(splits), figsize=size, squeeze=False, sharey=True)
        for axis, split in zip(axes[0], splits, strict=True):
            here = summary[(summary["metric"] == metric) & (summary["split"] == split)]
            for method in methods:
                part = here[here["method"] == method].sort_values("point")
                if part.empty:
                    continue
                colour, marker, line, label = LOOKS[method]
                x = [cost[method, point] / 1e12 for point in part["point"]]
                axis.plot(x, part["mean"], color=colour, marker=marker, ls=line, label=label)
                low, high = part["low"].clip(lower=0), part["high"].clip(upper=1)
                axis.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
            start = here[here["point"] == 0]["mean"].mean()
            axis.axhline(start, color="#555555", lw=1, ls=(0, (1, 2)))
            end = dict(xy=(0.99, start), xycoords=("axes fraction", "data"))
            axis.annotate("Init", **end, ha="right", va="bottom", color="#555555")
            axis.set_title(NAMES.get(split, split))
            axis.set(xlabel="training compute (TFLOP)", ylim=(0, 1.02))
            axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        axes[0][0].set_ylabel(ylabel)
        axes[0][-1].legend(loc="upper left")  # the shifted rule leaves room
    return figure


def summary_table(
    table: pd.DataFrame,
    metrics: Sequence[str] = ("success", "read"),
    splits: Sequence[str] = ("id", "ood-rule", "dev-rule"),
) -> pd.DataFrame:
    """Init and the last step of each method: per cent with 95 % intervals, as text."""
    summary = over_seeds(table[table["metric"].isin(metrics) & table["split"].isin(splits)])
    last = summary.groupby("method")["point"].transform("max")
    ends = summary[(summary["point"] == last) | (summary["point"] == 0)].copy()
    names = ends["method"].map({method: look[3] for method, look in LOOKS.items()})
    ends["who"] = names.where(ends["point"] > 0, "Init")
    ends = ends.drop_duplicates(["who", "split", "metric"])
    ends["text"] = [
        f"{100 * mean:.1f} [{100 * max(low, 0):.1f}, {100 * min(high, 1):.1f}]"
        for mean, low, high in zip(ends["mean"], ends["low"], ends["high"], strict=True)
    ]
    wide = ends.pivot(index="who", columns=["metric", "split"], values="text")
    order = ["Init", *(look[3] for look in LOOKS.values())]
    return wide.loc[[who for who in order if who in wide.index]]


def alt_text(
    table: pd.DataFrame,
    metric: str = "success@1",
    splits: Sequence[str] = ("train", "id", "ood-rule"),
) -> str:
    """The figure of ``curves`` in words, made from the numbers that it draws."""
    wide = summary_table(table, [metric], splits)[metric]
    lines = [
        f"{who}: " + ", ".join(f"{NAMES[split]} {value} %" for split, value in row.items())
        for who, row in wide.iterrows()
    ]
    return "Share of hands solved against training compute, from Init to end. " + "; ".join(lines)


# --- success against recognition (paper, figure 8) ----------------------------------------

SEEN = ("id", "ood-rule", "ood-visual")


def paths(
    table: pd.DataFrame, metric: str = "success", splits: Sequence[str] = SEEN
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
    summary = over_seeds(table[wanted])
    summary["low"], summary["high"] = summary["low"].clip(lower=0), summary["high"].clip(upper=1)
    keys = ["split", "method", "point"]
    wide = summary.pivot_table(index=keys, columns="metric", values=["mean", "low", "high"])
    return wide.swaplevel(axis=1).dropna().sort_index()


def recognition_path(
    table: pd.DataFrame,
    metric: str = "success",
    splits: Sequence[str] = SEEN,
    methods: Sequence[str] = ("rl-ppo", "sft"),
    ylabel: str = "solved within the budget",
) -> Figure:
    """Success against recognition over a training: one panel a split, one line a method.

    A line runs from Init (the star) through the evaluations to the end, its markers growing
    on the way. Crosses are 95 % intervals of both shares, at the end and of Init.

    Args:
        table: rows in the form of the ledger, with the metric ``recognised``.
        metric: the share on the vertical axis.
    """
    points = paths(table, metric, splits)
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
        drawn: dict[str, Artist] = {}
        for axis in axes[0]:
            handles, labels = axis.get_legend_handles_labels()
            drawn |= dict(zip(labels, handles, strict=True))
        figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=len(drawn))
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
) -> str:
    """The figure of ``recognition_path`` in words, made from the numbers that it draws."""
    points, lines = paths(table, metric, splits), []
    for split in splits:
        for method in methods:
            if (split, method) not in points.index.droplevel("point"):
                continue
            run = points.loc[split, method]
            ends = [
                f"{100 * run[name, 'mean'].iloc[0]:.0f} to {100 * run[name, 'mean'].iloc[-1]:.0f} %"
                for name in ("recognised", metric)
            ]
            who = f"{NAMES.get(split, split)}, {LOOKS[method][3]}"
            lines.append(f"{who}: recognised {ends[0]}, solved {ends[1]}")
    return "Success against recognition, from Init to the end. " + "; ".join(lines) + "."


# --- a training as far as it has come -----------------------------------------------------


def progress(
    table: pd.DataFrame,
    metric: str = "success@1",
    splits: Sequence[str] = ("id", "ood-rule"),
    methods: Sequence[str] = ("rl-ppo", "sft", "sft-pushed"),
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
    summary = over_seeds(table[wanted])
    shown = summary[(summary["metric"] == metric) & summary["split"].isin(splits)]
    if shown.empty:
        raise ValueError(f"the table holds no {metric} of {', '.join(methods)}")
    cost = summary[summary["metric"] == "flops_paper"].set_index(["method", "point"])["mean"]
    share = cost / cost.groupby("method").transform("max")
    shown = shown.join(share.rename("share"), on=["method", "point"])
    shown["low"], shown["high"] = shown["low"].clip(lower=0), shown["high"].clip(upper=1)
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
    "KV cache": ("#009E73", ""),
    "reading prompts": ("#8FD6BE", "//"),
    "image states": ("#882255", "//"),
    "activations": ("#E69F00", ""),
    "logits": ("#D55E00", "//"),
    "layer": ("#F0E442", ""),
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
