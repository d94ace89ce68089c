"""What was claimed about SFT and RL, and what the recorded tiny runs say to it.

Each claim is a difference between two measured values, paired by seed, and the sign that it
should have. The verdict follows from the 95 % interval alone: it ``holds`` if the interval lies on
the claimed side of zero, it ``fails`` if it lies on the other, else it is ``open``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sftrl_lite import ledger
from sftrl_lite.intervals import Estimate, over_seeds

Measure = Callable[[pd.DataFrame], pd.Series]  # ledger rows to one value a seed


@dataclass(frozen=True)
class Claim:
    """``first`` minus ``second`` should have the sign ``sign``.

    Args:
        source: who says so; arXiv number.
        chapter: where the figure or table stands.
        unit: per cent if empty: shares become points.
    """

    says: str
    source: str
    chapter: int
    first: Measure
    second: Measure
    sign: int = 1
    unit: str = ""


def value(
    metric: str,
    experiment: str,
    method: str = "rl-ppo",
    split: str = "ood-rule",
    at: str = "end",
    **settings: int | str,
) -> Measure:
    """A measure: one metric at the ``start`` or ``end`` of runs, by seed.

    Args:
        settings: options in the runs' commands, as ``warmup=8``; absent ones count as 0.
    """

    def measure(rows: pd.DataFrame) -> pd.Series:
        wanted = (rows["experiment"] == experiment) & (rows["method"] == method)
        part = rows[wanted & (rows["metric"] == metric) & (rows["split"] == split)]
        for name, wanted_option in settings.items():
            part = part[option(part, name) == str(wanted_option)]
        ranked = part.sort_values("step").groupby("seed")["value"]
        return ranked.first() if at == "start" else ranked.last()

    return measure


def option(rows: pd.DataFrame, name: str) -> pd.Series:
    """An option in the rows' commands as text; "0" where the command does not name it."""
    return rows["command"].str.extract(rf"--{name.replace('_', '-')} (\S+)")[0].fillna("0")


def largest(*measures: Measure) -> Measure:
    """The measure with the largest mean; it was picked after looking, which favours it."""

    def measure(rows: pd.DataFrame) -> pd.Series:
        found = [one(rows) for one in measures]
        return (
            min(found, key=len) if any(s.empty for s in found) else max(found, key=pd.Series.mean)
        )

    return measure


def growth(metric: str, tries: int) -> Measure:
    """OOD growth over Init of RL that was trained with a budget of tries."""
    ends = [value(metric, "tries", at=at, tries=tries) for at in ("end", "start")]
    return lambda rows: ends[0](rows) - ends[1](rows)


NONE: Measure = lambda rows: 0.0  # noqa: E731
STAGES = (8, 32, 128)  # recorded lengths of SFT before RL
CHECKPOINTS = [value("success@1", "window", at="start", warmup=w) for w in STAGES]
INIT = value("success@1", "why", at="start")
OVERTUNED = value("success@1", "window", warmup=STAGES[-1])

CLAIMS = (
    Claim(
        "RL solves more than Init under the shifted rule",
        "Chu et al. 2501.17161",
        5,
        value("success", "headline"),
        value("success", "headline", at="start"),
    ),
    Claim(
        "SFT solves less than Init under the shifted rule",
        "Chu et al. 2501.17161",
        5,
        value("success", "headline", "sft"),
        value("success", "headline", at="start"),
        -1,
    ),
    Claim(
        "the same, SFT pushed to a rate of 1e-3",
        "Chu et al. 2501.17161",
        5,
        value("success", "push", "sft"),
        value("success", "push", "sft", at="start"),
        -1,
    ),
    Claim(
        "RL solves more than SFT at equal compute",
        "Chu et al. 2501.17161",
        5,
        value("success", "headline"),
        value("success", "headline", "sft"),
    ),
    Claim(
        "10 tries let RL grow more than 1, each at its own budget",
        "Chu et al. 2501.17161",
        10,
        growth("success@10", 10),
        growth("success@1", 1),
    ),
    Claim(
        "10 tries let RL grow more than 1, both judged at one try",
        "not claimed; our control",
        10,
        growth("success@1", 10),
        growth("success@1", 1),
    ),
    *(
        Claim(
            f"RL learns more from {what} than from a bare no, at one try",
            "not claimed; our question",
            10,
            value("success@1", "feedback", feedback=feedback),
            value("success@1", "why"),
        )
        for feedback, what in (("none", "silence"), ("reason", "a reason"), ("leaky", "a leak"))
    ),
    Claim(
        "SFT's shifted success first rises over Init",
        "Jin et al. 2509.12235",
        11,
        largest(*CHECKPOINTS),
        INIT,
    ),
    Claim(
        "then decays below its own peak",
        "Jin et al. 2509.12235",
        11,
        CHECKPOINTS[-1],
        largest(INIT, *CHECKPOINTS[:-1]),
        -1,
    ),
    Claim(
        "RL restores what over-tuned SFT has lost",
        "Jin et al. 2509.12235",
        11,
        OVERTUNED,
        CHECKPOINTS[-1],
    ),
    Claim(
        "RL after over-tuned SFT stays behind RL from Init",
        "Chu et al. 2501.17161",
        11,
        OVERTUNED,
        value("success@1", "why"),
        -1,
    ),
    Claim(
        "RL does not beat the best early SFT checkpoint",
        "Jin et al. 2509.12235",
        11,
        value("success@1", "why"),
        largest(INIT, *CHECKPOINTS),
        -1,
    ),
    Claim(
        "SFT on the model's own verified answers keeps what SFT loses",
        "Chen et al. 2510.18874",
        12,
        value("greedy", "why", "sft-verified"),
        value("greedy", "why", "sft"),
    ),
    Claim(
        "RL still solves more than it at equal compute",
        "Chu et al. 2501.17161",
        12,
        value("success", "why"),
        value("success", "why", "sft-verified"),
    ),
    Claim(
        "DFT keeps what SFT loses",
        "Wu et al. 2508.05629",
        12,
        value("greedy", "why", "sft-dft"),
        value("greedy", "why", "sft"),
    ),
    Claim(
        "a KL leash keeps what SFT loses",
        "Shenfeld et al. 2509.04259",
        12,
        value("greedy", "why", "sft-kl"),
        value("greedy", "why", "sft"),
    ),
    Claim(
        "varied rules keep what SFT loses",
        "Lin et al. 2510.00237",
        12,
        value("greedy", "controls", "sft-varied"),
        value("greedy", "headline", "sft"),
    ),
    Claim(
        "SFT, pushed, still solves by the old rule what it fails by the new one",
        "Lin et al. 2510.00237",
        12,
        value("fake", "why-push", "sft"),
        value("success@1", "why-push", "sft"),
    ),
    Claim(
        "RL changes fewer weights than SFT, in bfloat16",
        "Mukherjee et al. 2505.11711",
        12,
        value("changed_bf16", "why", split="train"),
        value("changed_bf16", "why", "sft", split="train"),
        -1,
    ),
    Claim(
        "and in full precision",
        "Mukherjee et al. 2505.11711",
        12,
        value("changed", "why", split="train"),
        value("changed", "why", "sft", split="train"),
        -1,
    ),
    Claim(
        "RL has moved less far from Init than SFT, in KL on the trained rule",
        "Shenfeld et al. 2509.04259",
        12,
        value("kl", "headline", split="id"),
        value("kl", "headline", "sft", split="id"),
        -1,
        "nats",
    ),
    Claim(
        "with 16 samples Init finds more than RL",
        "Yue et al. 2504.13837",
        5,
        value("pass@16", "headline"),
        value("pass@16", "headline", at="start"),
        -1,
    ),
)


def judge(claim: Claim, rows: pd.DataFrame) -> tuple[Estimate | None, str]:
    """The difference over seeds, and ``holds``, ``fails``, ``open`` or ``not recorded``."""
    gap = (claim.first(rows) - claim.second(rows)).dropna()
    if len(gap) < 2:
        return None, "not recorded"
    found = over_seeds(gap if claim.unit else 100 * gap)
    if found.low <= 0 <= found.high:
        return found, "open"
    return found, "holds" if np.sign(found.value) == claim.sign else "fails"


def claims_table(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """All claims with the measured difference, its interval over seeds and the verdict."""
    rows = ledger.read() if rows is None else rows
    lines = []
    for claim in CLAIMS:
        found, verdict = judge(claim, rows)
        unit = claim.unit or "points"
        shown = "–"
        if found:
            shown = f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}] {unit}"
        lines.append((claim.says, claim.source, shown, found.n if found else 0, verdict))
    columns = ["claim", "source", "measured here", "seeds", "verdict"]
    table = pd.DataFrame(lines, columns=columns)
    return table.assign(chapter=[claim.chapter for claim in CLAIMS])
