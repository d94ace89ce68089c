"""Dots with intervals, side by side: who does how well at what."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from sftrl_lite.results.intervals import Estimate
from sftrl_lite.results.plots import as_given


def draw_dots(
    axis: Axes, found: dict[tuple[str, str], Estimate], looks: dict[str, tuple[str, str]]
) -> None:
    """Shares in per cent with their intervals, groups along the axis, names side by side.

    Args:
        found: by group and name.
        looks: colour and marker by name, in the order of names.
    """
    rows = [(at.replace(" ", "\n"), who, e.low, e.value, e.high) for (at, who), e in found.items()]
    table = pd.DataFrame(rows, columns=["group", "who", "low", "mean", "high"])
    colours, markers = zip(*looks.values(), strict=True)
    look = dict(palette=list(colours), markers=list(markers), linestyles="none", ms=6, mew=1)
    wide = 0.13 * (len(looks) - 1)
    given = as_given(table, "group") | dict(hue_order=list(looks), err_kws=dict(lw=1.4))
    sns.pointplot(**given, **look, dodge=wide, ax=axis)
    axis.set(xlabel="", ylabel="", ylim=(-0.04, 1.05))
    axis.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
