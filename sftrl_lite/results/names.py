"""What figures call splits and metrics."""

from __future__ import annotations

import pandas as pd

CARDS = {
    "train": "training hands, trained rule",
    "id": "fresh hands, trained rule",
    "ood-rule": "fresh hands, shifted rule",
    "ood-visual": "fresh hands, red suits",
    "dev-rule": "fresh hands, development rule",
    "dev-visual": "fresh hands, green and blue suits",
}
STREETS = {
    "train": "training routes, trained words",
    "id": "fresh routes, trained words",
    "ood-rule": "fresh routes, relative words",
    "ood-visual": "unseen cities, trained words",
    "dev-rule": "fresh routes, development words",
    "dev-visual": "a development city, trained words",
}
SHARES = {
    "success": "solved within the budget of tries",
    "per_step": "right per step",
    "walk_per_step": "right per step until the walk fails",
    "route": "whole routes walked",
    "recognised": "recognised",
}


def split_name(split: str, table: pd.DataFrame) -> str:
    """A split of the task whose rows a table holds, in words."""
    streets = table["task"].str.startswith("virl").any()
    return (STREETS if streets else CARDS).get(split, split)


def share_name(metric: str) -> str:
    """What a share is a share of: solved, within how many tries; or what else the metric counts."""
    if metric.startswith("success@"):
        tries = metric.partition("@")[2]
        return "solved at the first try" if tries == "1" else f"solved within {tries} tries"
    return SHARES.get(metric, metric)
