"""A verdict follows from the interval over seeds and problems, and from nothing else."""

import itertools
import tomllib

import pandas as pd
import pytest
from conftest import made_up_row
from scipy.stats import fisher_exact

from sftrl_lite.results import claims, ledger, measures, report
from sftrl_lite.results.claims import BARS, CLAIMS, Claim, claims_table, judge
from sftrl_lite.results.intervals import difference, holm, paired
from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.measures import (
    best_start,
    compare,
    costs,
    largest,
    measured,
    value,
)
from sftrl_lite.runs.run_config import command
from sftrl_lite.runs.sweep import expand

CURVE = ("0", "0.3", PAPER, "1")


def runs(method, ends, start=0.2, metric="success", **fields):
    """Two evaluations a seed."""
    same = dict(experiment="why", metric=metric, split="ood-rule", n=1000) | fields
    return [
        made_up_row(method, seed, point, share, **same)
        for seed, end in enumerate(ends)
        for point, share in enumerate((start, end))
    ]


def table(*groups):
    return pd.DataFrame([row for group in groups for row in group], columns=ledger.COLUMNS)


def claim(sign=1, **fields):
    first, second = value("success", "why"), value("success", "why", at="start")
    return Claim("x", "x", 1, **{"first": first, "second": second, "sign": sign, **fields})


# --- measures -----------------------------------------------------------------------------


def test_decodings_are_never_mixed():
    rows = table(*(runs("sft", [0.1 * i], decoding=way) for i, way in enumerate(CURVE)))
    for i, way in enumerate(CURVE):
        assert value("success", "why", "sft", decoding=way)(rows)["value"].tolist() == [0.1 * i]
    assert value("success", "why", "sft")(rows)["value"].tolist() == [0.2]  # the paper's
    assert set(measures.at_decoding(rows, "0")["decoding"]) == {"0"}


@pytest.mark.parametrize(
    ("metric", "decoding"),
    [
        ("success@5", "0"),
        ("route", "0"),
        ("kl", "1"),
        ("entropy", "1"),
        ("pass@16", "1"),
        ("flops_cache", ""),
        ("changed_bf16", ""),
        ("updates", ""),
    ],
)
def test_some_metrics_have_no_choice_of_decoding(metric, decoding):
    rows = table(*(runs("sft", [0.3], metric=metric, decoding=way) for way in ("0", "1", "")))
    assert set(measures.at_decoding(rows, "0")["decoding"]) == {decoding}
    assert measured(rows, metric, "sft", "ood-rule", decoding="0")["decoding"].tolist() == [
        decoding
    ]
    shares = decoding == "0"
    assert (measures.problems(measures.at_decoding(rows, "0")) is not None) == (
        shares or metric == "pass@16"
    )


def test_runs_are_told_apart_by_their_commands():
    rows = table(
        runs("rl-ppo", [0.3, 0.4], command="python rl --warmup 8 --seed 0"),
        runs("rl-ppo", [0.5, 0.6], command="python rl --warmup 32 --warmup-lr 0.1 --seed 0"),
        runs("rl-ppo", [0.7, 0.8], command="python rl --seed 0"),
    )
    for warmup, want in ((8, [0.3, 0.4]), (32, [0.5, 0.6]), (0, [0.7, 0.8]), ((0, 9), [0.7, 0.8])):
        found = value("success", "why", warmup=warmup)(rows)
        assert found["value"].tolist() == want and found["n"].tolist() == [1000, 1000]
    best = largest(*(value("success", "why", warmup=n) for n in (8, 0, 32)))
    assert best(rows)["value"].tolist() == [0.7, 0.8]
    assert largest(best, value("success", "why", warmup=64))(rows).empty  # one is not recorded
    assert value("success", "why", warmup_lr=True)(rows)["value"].tolist() == [0.5, 0.6]
    with pytest.raises(ValueError, match="two runs of rl-ppo share a seed"):
        value("success", "why")(rows)


def test_init_at_its_best_temperature_has_the_largest_mean():
    starts = {"0": (0.5, 0.7), "0.3": (0.65, 0.6), PAPER: (0.4, 0.4), "1": (0.1, 0.2)}
    rows = table(
        runs("rl-ppo", [0.9, 0.9], 0.9, split="id"),
        *(
            [
                made_up_row(
                    "rl-ppo",
                    seed,
                    point,
                    share,
                    experiment="why",
                    metric="success",
                    split="ood-rule",
                    decoding=way,
                    n=300,
                )
                for seed, start in enumerate(pair)
                for point, share in enumerate((start, 0.99))
            ]
            for way, pair in starts.items()
        ),
    )
    best = best_start(rows, "success", "rl-ppo", "ood-rule")
    assert best["decoding"].tolist() == ["0.3", "0.3"] and best["value"].tolist() == [0.65, 0.6]
    one = rows[rows["decoding"] == PAPER]
    assert best_start(one, "success", "rl-ppo", "ood-rule").empty  # nothing to choose from
    assert best_start(rows, "success", "sft", "ood-rule").empty
    partly = rows[(rows["decoding"] != "0.3") | (rows["seed"] == 0)]  # its mean would be 0.65
    assert "0.3" not in best_start(partly, "success", "rl-ppo", "ood-rule")["decoding"].tolist()


def test_seeds_are_paired_and_others_left_out():
    one = measured(table(runs("sft", [0.3, 0.5, 0.4])), "success", "sft", "ood-rule")
    two = measured(table(runs("rl-ppo", [0.6, 0.7])), "success", "rl-ppo", "ood-rule")
    assert compare([two], [one]) == paired([0.6, 0.7], [0.3, 0.5], [1000] * 2, [1000] * 2)
    assert compare([two.iloc[:0]], [one]) is None


def test_one_seed_keeps_the_noise_of_its_problems():
    ends = [measured(table(runs("sft", [e])), "success", "sft", "ood-rule") for e in (0.3, 0.4)]
    found, want = compare(ends[1:], ends[:1]), difference(400, 1000, 300, 1000)
    assert (found.value, found.low, found.high) == (want.value, want.low, want.high)
    assert found.n == 1 and found.p == fisher_exact([[400, 600], [300, 700]]).pvalue


# --- verdicts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "sign", "verdict"),
    [
        ([0.3, 0.31, 0.32, 0.3, 0.3], 1, "holds"),
        ([0.3, 0.31, 0.32, 0.3, 0.3], -1, "fails"),
        ([0.1, 0.11, 0.12, 0.1, 0.1], -1, "holds"),
        ([0.1, 0.2, 0.4, 0.2, 0.3], 1, "open"),
        ([0.22, 0.22, 0.22, 0.22, 0.22], 1, "holds"),
        ([0.21, 0.21, 0.21, 0.21, 0.21], 1, "open"),  # seeds agree; 1000 problems are too few
        ([0.3, 0.31, 0.32], 1, "too few seeds"),
        ([0.3], 1, "too few seeds"),
        ([], 1, "not recorded"),
    ],
)
def test_verdicts(ends, sign, verdict):
    rows = table(runs("sft", [0.1]), runs("rl-ppo", ends))
    found, said = judge(claim(sign), rows)
    assert said == verdict
    if found and found.n > 1:
        n = [1000] * len(ends)
        want = paired(ends, [0.2] * len(ends), n, n)
        assert (found.value, found.low) == pytest.approx((100 * want.value, 100 * want.low))
        assert found.p == want.p


@pytest.mark.parametrize(("gain", "verdict"), [(-0.1, "holds"), (0.02, "holds"), (0.2, "fails")])
def test_a_margin_claims_that_a_rise_is_small(gain, verdict):
    rows = table(runs("rl-ppo", [0.2 + gain] * 5))
    assert judge(claim(-1, margin=5.0), rows)[1] == verdict


def test_growth_is_compared_where_starts_differ():
    rows = table(
        runs("rl-ppo", [0.5] * 5, 0.4, command="python rl --tries 10"),
        runs("rl-ppo", [0.45] * 5, 0.1, command="python rl --tries 1"),
    )
    ends, starts = (
        [value("success", "why", at=at, tries=n) for n in (10, 1)] for at in ("end", "start")
    )
    found, verdict = judge(Claim("x", "x", 1, *ends, since=tuple(starts)), rows)
    assert found.value == pytest.approx(-25) and verdict == "fails"


def test_one_seed_of_four_values_is_too_few_and_not_unrecorded():
    """Two values of one seed have an interval over its problems, four have none."""
    rows = table(runs("rl-ppo", [0.5]), runs("sft", [0.4]))
    ends, starts = (
        [value("success", "why", method, at=at) for method in ("rl-ppo", "sft")]
        for at in ("end", "start")
    )
    grown = Claim("x", "x", 1, *ends, since=tuple(starts))
    assert judge(grown, rows) == (None, "too few seeds")
    assert judge(grown, rows[rows["method"] == "sft"]) == (None, "not recorded")


def test_nats_are_no_shares():
    rows = table(runs("rl-ppo", [3.0, 3.5, 2.5, 3.0, 3.0], 1.0, "kl", n=300))
    first, second = value("kl", "why"), value("kl", "why", at="start")
    found, verdict = judge(claim(first=first, second=second, unit="nats"), rows)
    assert found.value == pytest.approx(2.0) and verdict == "holds"


def headline(rl, sft, best):
    """Both ends of the headline's runs, and Init's greedy answers."""
    same = dict(metric="success@5", experiment="headline")
    return table(
        runs("rl-ppo", rl, **same),
        runs("sft", sft, **same),
        runs("rl-ppo", [0.9] * len(rl), best, **same, decoding="0"),
    )


def test_only_recorded_claims_count_for_holm():
    rows = headline([0.3, 0.31, 0.29, 0.3, 0.31], [0.1, 0.12, 0.1, 0.09, 0.11], 0.29)
    shown = claims_table(rows).set_index("claim")
    mine = [
        f"cards in text, rule: {end}"
        for end in (
            "RL ends above Init",
            "SFT ends below Init",
            "RL ends above Init at its best temperature",
        )
    ]
    assert shown.loc[mine, "verdict"].tolist() == ["holds", "holds", "open"]
    others = shown.drop(mine)
    assert set(others["verdict"]) == {"not recorded"} and set(others["p (Holm)"]) == {"–"}
    found = {c.says: judge(c, rows)[0].p for c in CLAIMS if c.says in mine}
    corrected = dict(zip(found, holm(list(found.values())), strict=True))
    for says in mine:
        assert shown.loc[says, "p"] == claims.p_text(found[says])
        assert shown.loc[says, "p (Holm)"] == claims.p_text(corrected[says])
        kept = shown.loc[says, "verdict"] if corrected[says] < 0.05 else "open"
        assert shown.loc[says, "after Holm"] == kept


def test_a_verdict_may_not_survive_the_correction(monkeypatch):
    ends = [0.27, 0.22, 0.29, 0.22, 0.24]
    same = [claim() for _ in range(20)]
    monkeypatch.setattr(claims, "CLAIMS", same)
    shown = claims_table(table(runs("rl-ppo", ends)))
    assert set(shown["verdict"]) == {"holds"} and set(shown["after Holm"]) == {"open"}


def test_an_empty_ledger_records_no_claim():
    shown = claims_table(table())
    assert len(shown) == len(CLAIMS) and shown["claim"].is_unique
    assert set(shown["verdict"]) == {"not recorded"} == set(shown["after Holm"])


METRICS = ("success@1", "success@5", "success@10", "per_step", "route", "fake")
OTHERS = ("kl", "kl_init", "pass@16", "changed", "changed_bf16")
UNUSED = ("sweep", "push", "grpo", "window-fresh", "window-left")  # no claim is about them


def test_every_claim_is_measured_by_the_sweeps(monkeypatch):
    """With two seeds of all runs of results/sweeps recorded, no claim stays without numbers."""
    monkeypatch.setattr(claims, "FEWEST", 2)
    ways = [(metric, way) for metric in METRICS for way in ("0", PAPER)]
    ways += [(metric, measures.decoding_of(metric)) for metric in OTHERS]
    lines = []
    tables = [tomllib.loads(path.read_text()).items() for path in report.SWEEPS.glob("*.toml")]
    runs_of = [
        (experiment, run)
        for experiment, group in itertools.chain(*tables)
        if experiment == "why-push" or not experiment.endswith(UNUSED)
        for fields in group
        for run in expand(fields | {"seed": [0, 1]})
    ]
    for experiment, run in runs_of:
        run = run.filled()
        same = dict(experiment=experiment, tries=run.tries, n=1000, config_hash=run.hash)
        same["command"] = command(run, experiment)
        lines += [
            made_up_row(
                run.method, run.seed, point, 0.5, **same, metric=metric, split=split, decoding=way
            )
            for split in ("train", *run.splits)
            for metric, way in ways
            for point in (0, 1)
        ]
    shown = claims_table(pd.DataFrame(lines))
    assert shown.loc[shown["seeds"] < 2, "claim"].tolist() == []
    assert set(shown.loc[shown["verdict"] == "holds", "claim"]) == {
        f"{task}: RL with random rewards gains less than 5 points in distribution"
        for task in claims.TASKS
    }
    assert set(shown["verdict"]) == {"open", "holds"}


def test_all_shifts_of_the_paper_are_claimed():
    assert {(bar[1], bar[2]) for bar in BARS.values()} == {
        ("headline", "ood-rule"),
        ("vl-headline", "ood-rule"),
        ("vl-headline", "ood-visual"),
        ("virl-l-headline", "ood-rule"),
        ("virl-vl-headline", "ood-rule"),
        ("virl-vl-headline", "ood-visual"),
    }


def test_costs_are_those_of_whole_runs():
    lines = []
    runs = [("sft", 0, 2e12), ("sft", 1, 4e12), ("sft", 7, 3e12), ("rl-ppo", 0, 6e12)]
    for method, seed, total in runs:
        same = dict(experiment="headline", split="train", config_hash=f"{method}{seed}")
        for point in (0, 1):
            spent = dict(flops_paper=total, flops_cache=total / 2, updates=100 * (seed + 1))
            for metric, most in spent.items():
                lines.append(made_up_row(method, seed, point, most * point, **same, metric=metric,
                                         minutes=1.0 + point + seed))  # fmt: skip
    found = costs(pd.DataFrame(lines))
    assert found.loc["sft"].tolist() == [3e12, 1.5e12, 1100 / 3, 3, 3]  # the median of minutes
    assert found.loc["rl-ppo"].tolist() == [6e12, 3e12, 100, 2, 1]
    assert costs(table()).empty
