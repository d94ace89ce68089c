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
    "rl-grpo": ("#009E73", "^", "-.", "RL (GRPO)"),
    "sft-varied": ("#E69F00", "D", ":", "SFT, varied rules"),
    "rl-random": ("#767676", "v", ":", "RL, random reward"),
}
NAMES = {"id": "trained rule (J = Q = K = 10)", "ood-rule": "shifted rule (11, 12, 13)"}


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval of each metric over seeds.

    One seed keeps the interval over its own episodes (Wilson). Several seeds are
    independent trainings, so the interval is Student's over the seeds' values.

    Returns:
        columns method, tries, step, split, metric, mean, low, high, seeds, n.
    """
    keys = ["method", "tries", "step", "split", "metric"]
    rows = []
    for key, part in table.groupby(keys, sort=False):
        values = part["value"].to_numpy(float)
        mean, k = values.mean(), len(values)
        if k == 1:
            low, high = part["low"].iloc[0], part["high"].iloc[0]
        else:
            half = student.ppf(0.975, k - 1) * values.std(ddof=1) / np.sqrt(k)
            low, high = mean - half, mean + half
        rows.append((*key, mean, low, high, k, int(part["n"].sum())))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "seeds", "n"])


def with_flops(table: pd.DataFrame, accounting: str = "flops_paper") -> pd.DataFrame:
    """Add a column ``flops`` to each row: the run's training compute at that step."""
    keys = ["method", "tries", "seed", "step"]
    cost = table[table["metric"] == accounting].set_index(keys)["value"]
    cost = cost[~cost.index.duplicated()]
    return table.assign(
        flops=[cost.get(k, np.nan) for k in table[keys].itertuples(index=False, name=None)]
    )


def curves(
    table: pd.DataFrame,
    metric: str = "success",
    splits: Sequence[str] = ("id", "ood-rule"),
    methods: Sequence[str] = ("rl-ppo", "sft"),
    ylabel: str = "success within 5 tries",
) -> Figure:
    """Metric against training compute, one panel a split, one line a method.

    Args:
        table: rows in the form of the ledger; bands are 95 % intervals.
    """
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(splits), figsize=(4.6 * len(splits), 3.5), squeeze=False)
        cost = with_flops(table).groupby(["method", "tries", "step"])["flops"].mean()
        summary = over_seeds(table[table["metric"] == metric])
        for axis, split in zip(axes[0], splits, strict=True):
            for method in methods:
                part = summary[(summary["method"] == method) & (summary["split"] == split)]
                part = part.sort_values("step")
                if part.empty:
                    continue
                colour, marker, line, label = LOOKS[method]
                x = [
                    cost.get(k, 0) / 1e12
                    for k in part[["method", "tries", "step"]].itertuples(index=False, name=None)
                ]
                axis.plot(x, part["mean"], color=colour, marker=marker, ls=line, label=label)
                axis.fill_between(
                    x,
                    part["low"].clip(0),
                    part["high"].clip(upper=1),
                    color=colour,
                    alpha=0.18,
                    lw=0,
                )
            start = summary[(summary["split"] == split) & (summary["step"] == 0)]["mean"].mean()
            axis.axhline(start, color="#555555", lw=1, ls=(0, (1, 2)))
            axis.annotate(
                "Init",
                (0.99, start),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                color="#555555",
            )
            axis.set(
                title=NAMES.get(split, split),
                xlabel="training compute (TFLOP, paper's count)",
                ylim=(0, None),
            )
            axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        axes[0][0].set_ylabel(ylabel)
        axes[0][0].legend(loc="best")
        figure.tight_layout()
    return figure


def summary_table(
    table: pd.DataFrame, metrics: Sequence[str] = ("success", "read")
) -> pd.DataFrame:
    """Init and the last step of each method: per cent with 95 % intervals, as text."""
    summary = over_seeds(table[table["metric"].isin(metrics)])
    last = summary.groupby("method")["step"].transform("max")
    ends = summary[(summary["step"] == last) | (summary["step"] == 0)].copy()
    ends["who"] = np.where(ends["step"] == 0, "Init", ends["method"].map(lambda m: LOOKS[m][3]))
    ends = ends[ends["split"] != "train"].drop_duplicates(["who", "split", "metric"])
    text = [
        f"{100 * r.mean:.1f} [{100 * max(r.low, 0):.1f}, {100 * min(r.high, 1):.1f}]"
        for r in ends.rename(columns={"mean": "mean_"})
        .rename(columns={"mean_": "mean"})
        .itertuples()
    ]
    ends["text"] = text
    wide = ends.pivot_table(
        index="who", columns=["metric", "split"], values="text", aggfunc="first", sort=False
    )
    order = ["Init", *[LOOKS[m][3] for m in LOOKS if LOOKS[m][3] in wide.index]]
    return wide.loc[order]


def alt_text(table: pd.DataFrame, metric: str = "success") -> str:
    """The figure in one sentence, made from the numbers it draws."""
    wide = summary_table(table, [metric])
    parts = [
        f"{who}: ID {row[(metric, 'id')]} %, OOD {row[(metric, 'ood-rule')]} %"
        for who, row in wide.iterrows()
    ]
    return f"Two panels of {metric} against training compute. " + "; ".join(parts) + "."
