"""Figures that more than one chapter shows, in one house style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t as student

STYLE = Path(__file__).with_name("house.mplstyle")
LOOKS = {  # colour, marker, line: three ways to tell methods apart
    "sft": ("#D55E00", "s", "--", "SFT"),
    "rl-ppo": ("#0072B2", "o", "-", "RL (PPO)"),
    "sft-pushed": ("#7B3294", "X", "--", "SFT, learning rate 1e-3"),
    "rl-grpo": ("#009E73", "^", "-.", "RL (GRPO)"),
    "sft-varied": ("#E69F00", "D", ":", "SFT, varied rules"),
    "sft-own": ("#CC79A7", "P", "-.", "SFT, base's own words"),
    "rl-random": ("#767676", "v", ":", "RL, random reward"),
}
NAMES = {
    "train": "training hands, trained rule",
    "id": "fresh hands, trained rule",
    "ood-rule": "fresh hands, shifted rule",
}


def with_points(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``point``: 0 for Init, 1, 2, ... for the evaluations of a run in their order.

    Runs of equal compute need different numbers of steps, so points are compared.
    """
    run = ["experiment", "method", "tries", "seed"]
    return table.assign(point=table.groupby(run)["step"].rank("dense").astype(int) - 1)


def student_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a few independent values."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


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


def alt_text(table: pd.DataFrame, metric: str = "success@1") -> str:
    """The figure of ``curves`` in words, made from the numbers that it draws."""
    wide = summary_table(table, [metric], ("train", "id", "ood-rule"))[metric]
    lines = [
        f"{who}: " + ", ".join(f"{NAMES[split]} {value} %" for split, value in row.items())
        for who, row in wide.iterrows()
    ]
    return "Share of hands solved against training compute, from Init to end. " + "; ".join(lines)
