"""Metrics by hand and by brute force."""

from itertools import combinations

import pytest
import torch
from conftest import make_episode

from sftrl_lite.results.intervals import mean_interval, wilson
from sftrl_lite.tasks.cards import OOD_RULE
from sftrl_lite.tasks.general_points import general_points, write_answer
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.training.compute import text_weights
from sftrl_lite.training.evaluate import (
    changed,
    distance,
    evaluate,
    measure,
    pass_at_k,
    within,
)
from sftrl_lite.training.rollouts import Episode, Turn, rollout


def test_wilson_interval():
    # (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) by hand, p=0.8 n=10 z=1.96
    share = wilson(8, 10)
    assert (share.value, share.n) == (0.8, 10)
    assert share.low == pytest.approx(0.4902, abs=1e-4)
    assert share.high == pytest.approx(0.9433, abs=1e-4)
    assert wilson(0, 5).low == 0 and wilson(5, 5).high == 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError, match="not a share"):
        wilson(successes, n)


def test_mean_interval():
    mean = mean_interval([1.0, 2.0, 3.0])
    half = 1.96 / 3**0.5  # the sample deviation is 1
    assert (mean.value, mean.n) == (2.0, 3)
    assert mean.high - mean.value == pytest.approx(half, abs=1e-3)
    assert mean.value - mean.low == pytest.approx(half, abs=1e-3)
    single = mean_interval([4.0])
    assert single.low == single.value == single.high == 4.0


@pytest.mark.parametrize("samples", range(1, 7))
def test_pass_at_k_is_the_share_of_lucky_choices(samples):
    for correct in range(samples + 1):
        right = [i < correct for i in range(samples)]
        for k in range(1, samples + 1):
            choices = [any(pick) for pick in combinations(right, k)]
            assert pass_at_k(correct, samples, k) == pytest.approx(sum(choices) / len(choices))


@pytest.mark.parametrize("k", [0, 4])
def test_pass_at_k_needs_k_samples(k):
    with pytest.raises(ValueError, match="needs at least"):
        pass_at_k(1, 3, k)


def test_measure_counts_episodes_turns_and_readings():
    hand = Hand(("A", "2", "3", "J"))
    right, wrong = (1, 2, 3, 10), (1, 2, 3, 11)
    played = [
        (["solved"], right),
        (["illegal", "wrong_value", "solved"], right),
        (["wrong_value", "illegal"], wrong),
        (["illegal", "illegal"], None),
    ]
    episodes = [
        make_episode([0.0] * len(kinds), kinds=kinds, read=read, problem=hand)
        for kinds, read in played
    ]
    found = {name: (share.value, share.n) for name, share in measure(episodes).items()}
    assert found == {
        "success": (2 / 4, 4),
        "success@1": (1 / 4, 4),
        "per_step": (2 / 8, 8),
        "read": (2 / 4, 4),
        "format_error": (4 / 8, 8),
    }


def test_evaluate_replays_with_its_seed(random_model, tokenizer, length_task, hands):
    options = dict(tries=2, max_new_tokens=4, batch=3)
    runs = [
        evaluate(random_model, tokenizer, length_task, hands, seed=seed, **options)
        for seed in (0, 0, 1)
    ]
    assert [e.problem for e in runs[0][1]] == hands
    assert [e.ids for e in runs[0][1]] == [e.ids for e in runs[1][1]]
    assert [e.ids for e in runs[0][1]] != [e.ids for e in runs[2][1]]


def test_success_within_fewer_tries_by_hand():
    kinds = (["solved"], ["illegal", "solved"], ["illegal"] * 3, ["illegal", "illegal", "solved"])
    episodes = [make_episode([0.0] * len(one), kinds=one) for one in kinds]
    found = within(episodes, (3, 1, 2))
    assert list(found) == ["success@3", "success@1", "success@2"]
    assert {name: e.value for name, e in found.items()} == {
        "success@1": 1 / 4,
        "success@2": 2 / 4,
        "success@3": 3 / 4,
    }
    assert found["success@2"] == wilson(2, 4)


def test_one_play_tells_success_within_every_smaller_budget(
    random_model, tokenizer, length_task, hands
):
    options = dict(max_new_tokens=4, batch=16, seed=3)
    budgets = (1, 2, 3, 5)

    def play(tries):
        return evaluate(random_model, tokenizer, length_task, hands * 8, tries=tries, **options)

    found = within(play(5)[1], budgets)
    assert found == {f"success@{tries}": play(tries)[0]["success"] for tries in budgets}
    assert len({estimate.value for estimate in found.values()}) == 4


def test_evaluation_decodes_as_the_paper_does(random_model, tokenizer, length_task, hands):
    def ids(**way):
        options = dict(tries=2, max_new_tokens=6) | way
        games = random_model, tokenizer, length_task, hands * 4
        return [e.ids for e in evaluate(*games, **options)[1]]

    assert ids() == ids(temperature=0.6, top_p=0.9)
    assert len({str(ids(**way)) for way in ({}, dict(top_p=1.0), dict(temperature=1.0))}) == 3


def test_distance_to_itself_is_zero_and_to_another_model_is_not(
    random_model, fresh_model, tokenizer, length_task, hands
):
    chance = torch.Generator().manual_seed(0)
    episodes = rollout(
        random_model, tokenizer, length_task, hands * 16, max_new_tokens=3, generator=chance
    )
    same = distance(random_model, random_model, episodes, tokenizer.pad_token_id, batch=50)
    assert same["kl"].value == same["kl"].low == same["kl"].high == 0
    assert same["kl"].n == len(episodes) and same["entropy"].value > 0
    with torch.no_grad():
        fresh_model.lm_head.weight.zero_()  # the uniform policy
    far = distance(random_model, fresh_model, episodes, tokenizer.pad_token_id)
    assert far["kl"].low > 0
    flat = distance(fresh_model, fresh_model, episodes, tokenizer.pad_token_id)
    vocabulary = torch.tensor(float(fresh_model.lm_head.weight.shape[0]))
    assert flat["entropy"].value == pytest.approx(vocabulary.log().item(), rel=1e-5)


def test_fake_accepts_the_old_rule_under_the_new_one():
    task = general_points("ood-rule")
    jack = Hand(("3", "5", "6", "J"), OOD_RULE)
    king = Hand(("A", "A", "J", "K"), OOD_RULE)  # 1, 1, 10, 10: not to be solved
    said = {"old": (jack, "3+5+6+10"), "new": (jack, "11+3*6-5"), "none": (king, "1+1+10+10")}
    played = {
        name: Episode(hand, [], [Turn(0, 1, [0.0], write_answer(hand, formula), None, 0.0)])
        for name, (hand, formula) in said.items()
    }
    assert task.metrics([], [played["old"], played["new"], played["none"]]) == {"fake": (1, 2)}
    assert task.metrics([], [played["none"]]) == {}
    assert general_points("id").metrics([], [played["old"]]) == {}


def test_changed_weights_are_counted_before_and_after_rounding(random_model, fresh_model):
    same = changed(fresh_model, random_model)
    assert same["changed"].value == same["changed_bf16"].value == 0
    weights = text_weights(fresh_model)
    with torch.no_grad():
        weights[-1].mul_(1 + 1e-5)  # rounding hides it
        weights[0].mul_(1.5)
    found = changed(fresh_model, random_model)
    whole = sum(w.numel() for w in weights)
    assert found["changed"].n == whole
    assert found["changed_bf16"].value == pytest.approx(weights[0].numel() / whole, rel=0.05)
    both = (weights[0].numel() + weights[-1].numel()) / whole
    assert found["changed"].value == pytest.approx(both, rel=0.05)
