"""Rules and dealing."""

import random
from collections import Counter

import pytest

from sftrl_lite.tasks.cards import (
    FACES,
    ID_RULE,
    OOD_RULE,
    RANKS,
    Rule,
    deal,
    parse_rule,
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("10", ID_RULE),
        ("11-12-13", OOD_RULE),
        ("J=7,Q=3,K=12", Rule(7, 3, 12)),
        ("J=7, Q=3, K=12", Rule(7, 3, 12)),
    ],
)
def test_parse_rule(text, rule):
    assert parse_rule(text) == rule
    assert parse_rule(rule.name) == rule


@pytest.mark.parametrize(
    "text", ["", "ten", "10-11", "0", "100", "11-12-13-14", "Q=1,J=2,K=3", "10\n", "١٠", "-5"]
)
def test_parse_rule_says_what_is_wrong(text):
    with pytest.raises(ValueError) as error:
        parse_rule(text)
    assert len(str(error.value).splitlines()) == 1


def test_values_follow_the_rule():
    assert ID_RULE.values(["A", "10", "J", "Q", "K"]) == (1, 10, 10, 10, 10)
    assert OOD_RULE.values(("2", "J", "Q", "K")) == (2, 11, 12, 13)
    with pytest.raises(ValueError, match="unknown card '1'"):
        ID_RULE.value("1")


@pytest.mark.parametrize("dealing", ["uniform", "deck"])
def test_a_seed_replays_the_deal(dealing):
    def hands(seed):
        rng = random.Random(seed)
        return [deal(rng, dealing=dealing) for _ in range(20)]

    assert hands(1) == hands(1) != hands(2)


def test_a_deck_has_four_of_each_and_uniform_dealing_does_not_care():
    whole = deal(random.Random(0), 52, "deck")
    assert Counter(whole) == dict.fromkeys(RANKS, 4)
    uniform = deal(random.Random(0), 5_000)
    counts = Counter(uniform)
    # 385 expected of each rank, standard deviation 19
    assert set(counts) == set(RANKS) and all(290 < n < 480 for n in counts.values())


@pytest.mark.parametrize("dealing", ["uniform", "deck"])
def test_face_forces_a_face_card_anywhere_in_the_hand(dealing):
    rng = random.Random(0)
    hands = [deal(rng, dealing=dealing, face=True) for _ in range(500)]
    assert all(set(hand) & set(FACES) for hand in hands)
    assert {i for hand in hands for i, rank in enumerate(hand) if rank in FACES} == {0, 1, 2, 3}
    assert not all(set(deal(rng, dealing=dealing)) & set(FACES) for _ in range(500))


def test_impossible_deals_are_refused():
    with pytest.raises(ValueError, match="52"):
        deal(random.Random(0), 53, "deck")
    with pytest.raises(ValueError, match="choose uniform or deck"):
        deal(random.Random(0), dealing="poker")
