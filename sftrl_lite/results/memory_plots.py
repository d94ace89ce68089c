"""Figures of what a run keeps in memory."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sftrl_lite.results.plots import STYLE

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


def memory_bars(
    plans: dict[str, dict[str, float]], gpus: dict[str, float], title: str = ""
) -> Figure:
    """Stacked bars of memory by part, one bar a plan, and a line for each GPU.

    Args:
        plans: by label, GiB by part.
        gpus: GiB by name.
        title: what the bars show, in a sentence.
    """
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 0.55 * len(plans) + 1.9))
        places = np.arange(len(plans))[::-1]
        left = np.zeros(len(plans))
        for part, (colour, hatch) in PARTS.items():
            sizes = np.array([parts.get(part, 0.0) for parts in plans.values()])
            if sizes.any():
                look: dict[str, Any] = dict(color=colour, hatch=hatch, label=part)
                axis.barh(places, sizes, left=left, height=0.7, edgecolor="white", lw=0.5, **look)
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
        if title:
            axis.set_title(title, pad=30)
        axis.set(xlabel="GiB on one GPU", xlim=(0, 1.06 * max(*left, *gpus.values())))
        axis.grid(False, axis="y")
        figure.legend(loc="outside lower center", ncols=5)
    return figure
