"""What the ledger says about a setting: values, differences, costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from sftrl_lite.results.intervals import Tested, contrast, difference, p_value
from sftrl_lite.results.ledger import PAPER

Measure = Callable[[pd.DataFrame], pd.DataFrame]  # ledger rows to one line per seed
Setting = int | float | str | bool | tuple[int | float | str, ...]

TRIES = ("tries", "tries-steps")
NATS = ("kl", "kl_init", "entropy")
FEWEST = 5  # seeds of a verdict: with fewer, p-values far below 5 % promise too much
FEW = 30  # problems: a temperature that is measured on fewer is not compared with the others


def decoding_of(metric: str, decoding: str = PAPER) -> str:
    """What a metric is recorded with where others are at ``decoding``; some have no choice."""
    if metric in NATS or metric.startswith("pass@"):
        return "1"
    training = metric.startswith(("flops", "changed")) or metric in ("updates", "signal")
    return "" if training else decoding


def at_decoding(rows: pd.DataFrame, decoding: str = PAPER) -> pd.DataFrame:
    """Rows at one decoding, and those of metrics that have no choice of it."""
    wanted = {metric: decoding_of(metric, decoding) for metric in rows["metric"].unique()}
    return rows[rows["decoding"] == rows["metric"].map(wanted)]


def problems(rows: pd.DataFrame) -> np.ndarray | None:
    """How many problems the rows are from; None if one of them is not a share of problems."""
    other = rows["metric"].isin(NATS) | (rows["decoding"] == "")
    return None if other.any() else rows["n"].to_numpy(int)


def option(rows: pd.DataFrame, name: str) -> pd.Series:
    """An option in the rows' commands as text; "0" where the command does not name it."""
    return rows["command"].str.extract(rf"--{name.replace('_', '-')} (\S+)")[0].fillna("0")


def with_settings(rows: pd.DataFrame, **settings: Setting) -> pd.DataFrame:
    """Rows whose commands have these options.

    Args:
        settings: a value, several that will do, or True for any; absent options count as 0.
    """
    for name, wanted in settings.items():
        found = option(rows, name)
        several = wanted if isinstance(wanted, tuple) else (wanted,)
        rows = rows[(found != "0") if wanted is True else found.isin([str(one) for one in several])]
    return rows


def measured(
    rows: pd.DataFrame,
    metric: str,
    method: str,
    split: str,
    at: str = "end",
    decoding: str = PAPER,
) -> pd.DataFrame:
    """One metric at the ``start`` or ``end`` of a method's runs.

    Returns:
        columns metric, decoding, value, n; a line per seed.

    Raises:
        ValueError: two runs of one seed.
    """
    kept = (rows["method"] == method) & (rows["metric"] == metric) & (rows["split"] == split)
    part = rows[kept & (rows["decoding"] == decoding_of(metric, decoding))]
    if part.duplicated(["seed", "step"]).any():
        raise ValueError(f"two runs of {method} share a seed; choose one of their settings")
    keep: Literal["first", "last"] = "first" if at == "start" else "last"
    ends = part.sort_values("step").drop_duplicates("seed", keep=keep).set_index("seed")
    return ends[["metric", "decoding", "value", "n"]].sort_index()


def best_start(rows: pd.DataFrame, metric: str, method: str, split: str) -> pd.DataFrame:
    """Init at its best temperature: of all recorded decodings that with the largest mean.

    It is picked after looking, on the reported problems, which favours Init. A decoding that
    some of the seeds lack is left out: its mean is over other runs. So is one that was measured
    on fewer than ``FEW`` problems a seed: the best of several such means is mostly luck, and the
    few are no fair sample of the problems on which the methods are measured.

    Returns:
        as ``measured``; empty if fewer than two decodings are left.
    """
    kept = (rows["method"] == method) & (rows["metric"] == metric) & (rows["split"] == split)
    decodings = rows.loc[kept, "decoding"].unique()
    ways = [measured(rows, metric, method, split, "start", way) for way in decodings]
    most = max(map(len, ways), default=0)
    ways = [way for way in ways if len(way) == most and (way["n"] >= FEW).all()]
    best = max(ways, key=lambda way: way["value"].mean(), default=rows.iloc[:0])
    return best if len(ways) > 1 else best.iloc[:0]


def value(
    metric: str,
    experiment: str | tuple[str, ...],
    method: str = "rl-ppo",
    split: str = "ood-rule",
    at: str = "end",
    decoding: str = PAPER,
    **settings: Setting,
) -> Measure:
    """A measure: one metric at the ``start`` or ``end`` of runs; value and n, a line per seed.

    Args:
        experiment: its name, or several.
        settings: options in the runs' commands, as for ``with_settings``.
    """
    names = experiment if isinstance(experiment, tuple) else (experiment,)

    def measure(rows: pd.DataFrame) -> pd.DataFrame:
        part = with_settings(rows[rows["experiment"].isin(names)], **settings)
        return measured(part, metric, method, split, at, decoding)

    return measure


def best_init(metric: str, experiment: str, split: str = "ood-rule") -> Measure:
    """A measure: Init at its best temperature (``best_start``)."""
    return lambda rows: best_start(rows[rows["experiment"] == experiment], metric, "rl-ppo", split)


def largest(*measures: Measure) -> Measure:
    """The measure with the largest mean; it was picked after looking, which favours it."""

    def measure(rows: pd.DataFrame) -> pd.DataFrame:
        found = [one(rows) for one in measures]
        missing = any(one.empty for one in found)
        return min(found, key=len) if missing else max(found, key=lambda one: one["value"].mean())

    return measure


def compare(
    plus: Sequence[pd.DataFrame], minus: Sequence[pd.DataFrame], null: float = 0.0
) -> Tested | None:
    """The sum of some measured values minus that of others, paired by seed.

    Two values of a single seed keep an interval over its problems (Newcombe), which says nothing
    about the next seed; its p-value is Fisher's.

    Args:
        plus, minus: lines as ``measured`` returns them.
        null: difference of the null hypothesis.

    Returns:
        None where no seed has all of them, or where one seed has no interval.
    """
    parts = [*plus, *minus]
    seeds = sorted(set.intersection(*(set(part.index) for part in parts)))
    parts = [part.loc[seeds] for part in parts]
    known = [problems(part) for part in parts]
    n = None if any(one is None for one in known) else np.array(known)
    values = np.array([part["value"] for part in parts], float)
    if len(seeds) > 1:
        return contrast(values, n, [1.0] * len(plus) + [-1.0] * len(minus), null)
    if not seeds or n is None or len(parts) > 2 or not minus:
        return None
    (k1, k2), (n1, n2) = np.rint(values * n)[:, 0].astype(int).tolist(), n[:, 0].tolist()
    gap = difference(k1, n1, k2, n2)
    return Tested(gap.value, 1, gap.low, gap.high, p_value(k1, n1, k2, n2))


def times(found: Tested, factor: float) -> Tested:
    """An estimate in another unit: ``times(found, 100)`` turns shares into points."""
    ends = {name: factor * getattr(found, name) for name in ("value", "low", "high")}
    return replace(found, **ends)


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """What the runs of each method took: means over seeds, of minutes the median.

    A run beside other work takes a multiple of its time, and one such seed would move a mean.

    Returns:
        by method: ``flops_paper`` and ``flops_cache`` (training, in the paper's count and with a
        KV cache), ``updates`` (gradient updates), ``minutes`` (wall-clock of the whole run,
        evaluations included), ``seeds``.
    """
    run = ["method", "config_hash", "seed"]
    last = rows[rows["step"] == rows.groupby(run)["step"].transform("max")]
    names = ["flops_paper", "flops_cache", "updates"]
    spent = last[last["metric"].isin(names)].pivot_table("value", run, "metric")
    spent = spent.reindex(columns=names).assign(minutes=last.groupby(run)["minutes"].max())
    by_method = spent.groupby("method", sort=False)
    typical = by_method["minutes"].median()
    return by_method.mean().assign(minutes=typical, seeds=by_method.size())
