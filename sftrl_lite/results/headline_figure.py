"""The course's first figure, and the sentence below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sftrl_lite.results import plots
from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.measures import measured

# the paper's metric
SHOWN: dict[str, Any] = dict(metric="success@5", splits=("train", "id", "ood-rule"))


def figure(table: pd.DataFrame, methods: Sequence[str] = ("rl-ppo", "sft")) -> Figure:
    """The title at a glance: training hands, fresh hands, shifted rule; Init, SFT, RL."""
    titles = [plots.finding(table, SHOWN["metric"], split) for split in SHOWN["splits"]]
    label = "solved within five tries"
    return plots.curves(table, **SHOWN, methods=methods, ylabel=label, titles=titles)


def verdict(table: pd.DataFrame) -> str:
    """Who rose and who fell under the shifted rule at the first try, in one sentence."""

    def moved(method: str) -> str:
        found = plots.change(table, "success@1", method, "ood-rule")
        if found is None:
            return "was not measured"
        word = {1: "rose", -1: "fell", 0: "neither rose nor fell clearly"}[plots.direction(found)]
        low, high = 100 * found.low, 100 * found.high
        return f"{word} ({100 * found.value:+.1f} points [{low:+.1f}, {high:+.1f}])"

    over = "seeds and hands" if table["seed"].nunique() > 1 else "its hands"
    return (
        f"Under the shifted rule, at the first try, SFT {moved('sft')} and RL {moved('rl-ppo')}, "
        f"with 95 % intervals over {over}."
    )


def sentence(table: pd.DataFrame) -> str:
    """What the headline rows show, in one sentence with their numbers."""

    def ends(method: str, split: str, metric: str = "success@1", decoding: str = PAPER) -> str:
        way = [measured(table, metric, method, split, at, decoding) for at in ("start", "end")]
        if way[1].empty:
            return "not measured"
        return " -> ".join(f"{100 * lines['value'].mean():.0f}" for lines in way) + " %"

    def path(method: str) -> str:
        return (
            f"training hands {ends(method, 'train')}, fresh hands {ends(method, 'id')}, shifted "
            f"rule {ends(method, 'ood-rule')} (within five tries "
            f"{ends(method, 'ood-rule', 'success@5')}, greedy "
            f"{ends(method, 'ood-rule', decoding='0')})"
        )

    seeds = table["seed"].nunique()
    return (
        "Solved at the first try, sampled as in the paper (temperature 0.6, top_p 0.9), from the "
        f"same Init ({seeds} seed{'s' * (seeds > 1)}). SFT: {path('sft')}. RL: {path('rl-ppo')}. "
        + verdict(table)
    )
