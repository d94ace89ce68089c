"""What was claimed about SFT and RL, and what the recorded tiny runs say to it.

Each claim is a difference between two measured values, paired by seed, and the sign that it
should have. The verdict follows from the 95 % interval alone: it ``holds`` if the interval lies on
the claimed side of zero, it ``fails`` if it lies on the other, else it is ``open``. A second
verdict says what is left of it after Holm's correction for the number of claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sftrl_lite.results import ledger
from sftrl_lite.results.intervals import Tested, holm
from sftrl_lite.results.measures import (
    FEWEST,
    TRIES,
    Measure,
    Setting,
    best_init,
    compare,
    largest,
    option,
    times,
    value,
)


@dataclass(frozen=True)
class Claim:
    """``first`` minus ``second`` lies above ``margin`` (sign 1) or below it (sign -1).

    Args:
        source: the arXiv number of the paper.
        chapter: the chapter with the figure or table.
        margin: in points; above 0 with sign -1 it says "larger by less than that".
        since: what ``first`` and ``second`` each started from, if their growth is compared.
        unit: per cent if empty: shares become points.
    """

    says: str
    source: str
    chapter: int
    first: Measure
    second: Measure
    sign: int = 1
    margin: float = 0.0
    since: tuple[Measure, Measure] | None = None
    unit: str = ""


CHU, JIN, SHENFELD = "Chu et al. 2501.17161", "Jin et al. 2509.12235", "Shenfeld et al. 2509.04259"
CHEN, LIN, WU = "Chen et al. 2510.18874", "Lin et al. 2510.00237", "Wu et al. 2508.05629"
MUKHERJEE, YUE = "Mukherjee et al. 2505.11711", "Yue et al. 2504.13837"
OURS, ASKED = "not claimed; our control", "not claimed; our question"

BARS = {  # the paper's shifts: chapter, experiment, split, the metric of its figure
    "cards in text, rule": (5, "headline", "ood-rule", "success@5"),
    "cards in pictures, rule": (6, "vl-headline", "ood-rule", "success@5"),
    "cards in pictures, red suits": (6, "vl-headline", "ood-visual", "success@5"),
    "streets in text, rule": (7, "virl-l-headline", "ood-rule", "per_step"),
    "streets in pictures, rule": (8, "virl-vl-headline", "ood-rule", "per_step"),
    "streets in pictures, unseen cities": (8, "virl-vl-headline", "ood-visual", "route"),
}
TASKS = {  # chapter, prefix of its experiments, metric
    "cards in text": (5, "", "success@5"),
    "cards in pictures": (6, "vl-", "success@5"),
    "streets in text": (7, "virl-l-", "per_step"),
    "streets in pictures": (8, "virl-vl-", "per_step"),
}
Options = dict[str, Any]  # of ``value``, by name
NO_RISE = 5.0  # points that randomly rewarded RL may gain; fixed before it was recorded


def stages(rows: pd.DataFrame) -> list[int]:
    """How many steps of SFT came before RL, in the runs that differ by it."""
    return sorted(map(int, option(rows[rows["experiment"] == "window"], "warmup").unique()))


def over_tuned(at: str) -> Measure:
    """A measure: the longest SFT before RL, alone (``start``) or with that RL (``end``)."""

    def measure(rows: pd.DataFrame) -> pd.DataFrame:
        last = max(stages(rows), default=0)
        return value("success@1", "window", at=at, warmup=last)(rows)

    return measure


def best_early(rows: pd.DataFrame) -> pd.DataFrame:
    """A measure: of the shorter SFTs the one that solves most, picked after looking."""
    early = [value("success@1", "window", at="start", warmup=n) for n in stages(rows)[:-1]]
    return largest(*early)(rows) if early else rows.iloc[:0]


def bars(what: str, chapter: int, experiment: str, split: str, metric: str) -> list[Claim]:
    """RL and SFT against their Init under one shift."""
    rl, sft = (value(metric, experiment, m, split) for m in ("rl-ppo", "sft"))
    before, its = (value(metric, experiment, m, split, "start") for m in ("rl-ppo", "sft"))
    best = best_init(metric, experiment, split)
    return [
        Claim(f"{what}: RL ends above Init", CHU, chapter, rl, before),
        Claim(f"{what}: SFT ends below Init", CHU, chapter, sft, its, -1),
        Claim(f"{what}: RL ends above Init at its best temperature", OURS, chapter, rl, best),
    ]


def controls(what: str, chapter: int, prefix: str, metric: str) -> list[Claim]:
    """What the control runs of a task are for."""
    runs, sft = f"{prefix}controls", value(metric, f"{prefix}headline", "sft")
    end, start = (value(metric, runs, "rl-random", "id", at) for at in ("end", "start"))
    mild = f"{what}: RL with random rewards gains less than {NO_RISE:.0f} points in distribution"
    own, varied = (value(metric, runs, f"sft-{kind}") for kind in ("verified", "varied"))
    return [
        Claim(mild, OURS, chapter, end, start, -1, NO_RISE),
        Claim(f"{what}: SFT on own verified answers ends above SFT", CHEN, chapter, own, sft),
        Claim(f"{what}: SFT on varied rules ends above SFT", LIN, chapter, varied, sft),
    ]


def budgets(told: str, length: str, steps: Setting, one: Options, ten: Options) -> list[Claim]:
    """Whether ten tries teach more than one, read in two ways.

    Args:
        one, ten: settings of the runs with either budget.
    """

    def few(metric: str, at: str = "end") -> Measure:
        return value(metric, TRIES, at=at, tries=1, steps=steps, **one)

    def many(metric: str, at: str = "end") -> Measure:
        return value(metric, TRIES, at=at, tries=10, steps=steps, **ten)

    since = many("success@10", at="start"), few("success@1", at="start")
    grow = f"{told}10 tries let RL grow more than 1 at {length}"
    return [
        Claim(
            f"{grow}, each judged at its own budget",
            CHU,
            10,
            many("success@10"),
            few("success@1"),
            since=since,
        ),
        # both start from the very same first tries: their growths differ as their ends do
        Claim(f"{grow}, both judged at one try", OURS, 10, many("success@1"), few("success@1")),
    ]


LENGTHS: dict[str, Setting] = {"equal compute": 0, "equal steps": True}
PLAIN: Options = dict(base="data/tiny-gp-l", temperature=(0, 1.0))
# whose first tries are hardly ever right
HASTY: Options = dict(base="data/tiny-gp-l-hasty", temperature=0.2)
REGIMES: dict[str, tuple[Options, Options]] = {  # with one try no message is ever read
    "": (PLAIN, PLAIN | dict(feedback=(0, "binary"))),
    "hasty base, temperature 0.2, leaky messages: ": (HASTY, HASTY | dict(feedback="leaky")),
}
RL_FROM_INIT, SFT = value("success@1", "why"), value("success@1", "why", "sft")

CLAIMS = (
    Claim(
        "SFT solves more of its training hands than of fresh ones",
        CHU,
        3,
        value("success@1", "headline", "sft", "train"),
        value("success@1", "headline", "sft", "id"),
    ),
    Claim(
        "SFT's greedy answer solves fewer fresh hands than Init's, under the trained rule",
        OURS,
        3,
        value("success@1", "headline", "sft", "id", decoding="0"),
        value("success@1", "headline", "sft", "id", "start", decoding="0"),
        -1,
    ),
    *(claim for what, bar in BARS.items() for claim in bars(what, *bar)),
    *(claim for what, task in TASKS.items() for claim in controls(what, *task)),
    Claim(
        "with 16 samples Init finds more than RL",
        YUE,
        5,
        value("pass@16", "headline"),
        value("pass@16", "headline", at="start"),
        -1,
    ),
    *(
        claim
        for told, (one, ten) in REGIMES.items()
        for length, steps in LENGTHS.items()
        for claim in budgets(told, length, steps, one, ten)
    ),
    *(
        Claim(
            f"RL learns more from {what} than from binary feedback, at one try",
            ASKED,
            10,
            value("success@1", "feedback", feedback=feedback),
            RL_FROM_INIT,
        )
        for feedback, what in (("none", "no feedback"), ("reason", "a reason"), ("leaky", "a leak"))
    ),
    Claim(
        "SFT's shifted success first rises over Init",
        JIN,
        11,
        best_early,
        value("success@1", "why", at="start"),
    ),
    Claim("then it decays below that peak", JIN, 11, over_tuned("start"), best_early, -1),
    Claim(
        "RL restores what over-tuned SFT has lost", JIN, 11, over_tuned("end"), over_tuned("start")
    ),
    Claim("RL after over-tuned SFT stays behind RL", CHU, 11, over_tuned("end"), RL_FROM_INIT, -1),
    Claim(
        "RL does not beat the best early SFT checkpoint",
        JIN,
        11,
        RL_FROM_INIT,
        best_early,
        -1,
    ),
    Claim(
        "SFT in the base's own style keeps what SFT loses",
        OURS,
        12,
        value("success@1", "why", "sft-own"),
        SFT,
    ),
    Claim("DFT keeps what SFT loses", WU, 12, value("success@1", "why", "sft-dft"), SFT),
    Claim(
        "SFT, pushed, still solves by the old rule what it fails by the new one",
        LIN,
        12,
        value("fake", "why-push", "sft"),
        value("success@1", "why-push", "sft"),
    ),
    Claim(
        "RL changes fewer weights than SFT, in bfloat16",
        MUKHERJEE,
        12,
        value("changed_bf16", "why", split="train"),
        value("changed_bf16", "why", "sft", "train"),
        -1,
    ),
    Claim(
        "RL changes fewer weights than SFT, in full precision",
        OURS,
        12,
        value("changed", "why", split="train"),
        value("changed", "why", "sft", "train"),
        -1,
    ),
    Claim(
        "RL has moved less far from Init than SFT, in KL(Init || model) on the trained rule",
        SHENFELD,
        12,
        value("kl_init", "headline", split="id"),
        value("kl_init", "headline", "sft", "id"),
        -1,
        unit="nats",
    ),
)


def judge(claim: Claim, rows: pd.DataFrame) -> tuple[Tested | None, str]:
    """The difference over seeds and the verdict.

    Returns:
        ``holds``, ``fails``, ``open``, ``too few seeds`` or ``not recorded``; the p-value is that
        of a difference of ``claim.margin``.
    """
    plus, minus = [claim.first(rows)], [claim.second(rows)]
    if claim.since:
        minus.append(claim.since[0](rows))
        plus.append(claim.since[1](rows))
    factor = 1.0 if claim.unit else 100.0
    found = compare(plus, minus, claim.margin / factor)
    if not found:
        known = set.intersection(*(set(part.index) for part in [*plus, *minus]))
        return None, "too few seeds" if known else "not recorded"
    found = times(found, factor)
    if found.n < FEWEST:
        return found, "too few seeds"
    if found.low <= claim.margin <= found.high:
        return found, "open"
    return found, "holds" if np.sign(found.value - claim.margin) == claim.sign else "fails"


def p_text(p: float) -> str:
    """A p-value as a table shows it; the normal tail is not known better than that."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def claims_table(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """All claims with the measured difference, its interval, both verdicts and their p-values.

    Holm's correction is over the claims that have a verdict.
    """
    rows = ledger.read() if rows is None else rows
    claims = sorted(CLAIMS, key=lambda claim: claim.chapter)
    judged = [judge(claim, rows) for claim in claims]
    known = ("holds", "fails", "open")
    counted = {i: one.p for i, (one, verdict) in enumerate(judged) if one and verdict in known}
    corrected = dict(zip(counted, holm([*counted.values()]), strict=True))
    lines = []
    for i, (claim, (found, verdict)) in enumerate(zip(claims, judged, strict=True)):
        p, after, shown = "–", verdict, "–"
        if found:
            interval = f"[{found.low:+.1f}, {found.high:+.1f}]"
            shown = f"{found.value:+.1f} {interval} {claim.unit or 'points'}"
        if found and i in corrected:
            p, after = p_text(found.p), verdict if corrected[i] < 0.05 else "open"
        lines.append(
            {
                "claim": claim.says,
                "source": claim.source,
                "measured here": shown,
                "seeds": found.n if found else 0,
                "verdict": verdict,
                "p": p,
                "p (Holm)": p_text(corrected[i]) if i in corrected else "–",
                "after Holm": after,
                "chapter": claim.chapter,
            }
        )
    return pd.DataFrame(lines)
