"""A verdict follows from the interval over seeds, and from nothing else."""

import pandas as pd
import pytest
from conftest import made_up_row

from sftrl_lite import ledger
from sftrl_lite.claims import CLAIMS, Claim, claims_table, judge, largest, value
from sftrl_lite.intervals import over_seeds


def runs(method, ends, start=0.2, command="x", experiment="why", metric="success"):
    """Two evaluations a seed."""
    same = dict(experiment=experiment, metric=metric, split="ood-rule", command=command)
    return [
        made_up_row(method, seed, point, share, **same)
        for seed, end in enumerate(ends)
        for point, share in enumerate((start, end))
    ]


def table(*groups):
    return pd.DataFrame([row for group in groups for row in group])


def claim(sign=1, **fields):
    first, second = value("success", "why"), value("success", "why", at="start")
    return Claim("x", "x", 1, **{"first": first, "second": second, "sign": sign, **fields})


@pytest.mark.parametrize(
    ("ends", "sign", "verdict"),
    [
        ([0.3, 0.31, 0.32], 1, "holds"),
        ([0.3, 0.31, 0.32], -1, "fails"),
        ([0.1, 0.11, 0.12], -1, "holds"),
        ([0.1, 0.2, 0.4], 1, "open"),
        ([0.3], 1, "not recorded"),
        ([], 1, "not recorded"),
    ],
)
def test_verdicts(ends, sign, verdict):
    rows = table(runs("sft", [0.1]), runs("rl-ppo", ends))
    found, said = judge(claim(sign), rows)
    assert said == verdict
    if found:
        want = over_seeds([100 * (end - 0.2) for end in ends])
        assert (found.value, found.low) == pytest.approx((want.value, want.low))


def test_runs_are_told_apart_by_their_commands():
    rows = table(
        runs("rl-ppo", [0.3, 0.4], command="python rl --warmup 8 --seed 0"),
        runs("rl-ppo", [0.5, 0.6], command="python rl --warmup 32 --warmup-lr 0.1 --seed 0"),
        runs("rl-ppo", [0.7, 0.8], command="python rl --seed 0"),
    )
    for warmup, want in ((8, [0.3, 0.4]), (32, [0.5, 0.6]), (0, [0.7, 0.8])):
        assert value("success", "why", warmup=warmup)(rows).tolist() == want
    best = largest(*(value("success", "why", warmup=n) for n in (8, 0, 32)))
    assert best(rows).tolist() == [0.7, 0.8]
    assert largest(best, value("success", "why", warmup=64))(rows).empty  # one is not recorded


def test_every_claim_can_be_measured_or_says_that_it_was_not():
    shown = claims_table()
    assert len(shown) == len(CLAIMS) and shown["claim"].is_unique
    assert set(shown["verdict"]) <= {"holds", "fails", "open", "not recorded"}
    assert (shown["seeds"] >= 3).sum() >= 6
    nothing = claims_table(ledger.read().iloc[:0])
    assert set(nothing["verdict"]) == {"not recorded"}
