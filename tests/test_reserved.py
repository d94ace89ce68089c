"""No test problem is ever trained on, whatever is trained on: every hand is looked at."""

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations_with_replacement, permutations

import pytest

from sftrl_lite.runs import execute, recorder
from sftrl_lite.runs.controls import vary_rules
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.runs.run_config import Run
from sftrl_lite.tasks import general_points as dealing
from sftrl_lite.tasks.cards import DEV_RULE, FACES, ID_RULE, OOD_RULE, RANKS, Rule
from sftrl_lite.tasks.city import city_routes
from sftrl_lite.tasks.general_points import GeneralPoints, general_points
from sftrl_lite.tasks.hands import Hand, reserved, reserved_numbers
from sftrl_lite.tasks.navigation import TRAIN_ROUTES, Navigation, navigation, unlike
from sftrl_lite.tasks.shipped_cities import TRAIN, load_city
from sftrl_lite.tasks.solver import solutions
from sftrl_lite.tasks.walks import decisions

EVERY = tuple(combinations_with_replacement(RANKS, 4))  # 1820 hands, their order aside
TESTED = {"id": 471, "ood-rule": 328, "dev-rule": 328}  # how many of them a split can show
STREETS = ("id", "ood-rule", "dev-rule", "dev-visual", "ood-visual")


def counted(cards, rule):
    """What the hand counts, whatever the order."""
    return tuple(sorted(rule.values(cards)))


def can_be_dealt(task):
    """All hands that the task can deal, their order aside."""
    return {
        cards
        for cards in EVERY
        if task.admits(Hand(cards, task.rule))
        and (not task.face or set(cards) & set(FACES))
        and solutions(task.rule.values(cards), task.target)
    }


def in_order(hands):
    return {tuple(sorted(hand.cards, key=RANKS.index)) for hand in hands}


@pytest.fixture(scope="module")
def trained():
    """Every training hand: 800,000 of them deal each of these about a thousand times."""
    return can_be_dealt(general_points("train"))


@pytest.fixture(scope="module")
def tested():
    return {split: can_be_dealt(general_points(split)) for split in TESTED}


# --- cards -----------------------------------------------------------------------------


def test_a_third_is_reserved_and_stays_it(tested):
    """Another choice of test hands would make recorded numbers incomparable."""
    assert {split: len(hands) for split, hands in tested.items()} == TESTED
    solvable = {counted(c, ID_RULE) for c in EVERY if solutions(ID_RULE.values(c), 24)}
    kept = {counted(c, ID_RULE) for c in tested["id"]}
    assert 0.3 < len(kept) / len(solvable) < 0.37
    assert reserved(("A", "2", "3", "4")) and not reserved(("A", "5", "J", "K"))


def test_what_counts_alike_is_reserved_together():
    alike = {}
    for cards in EVERY:
        alike.setdefault(counted(cards, ID_RULE), set()).add(reserved(cards))
    assert all(len(found) == 1 for found in alike.values())
    assert Counter(len(set(c) & {"10", *FACES}) > 0 for c in EVERY)[True] > 1000  # not for nothing
    for order in permutations(("10", "5", "4", "A")):
        for face in FACES:
            swapped = tuple(face if card == "10" else card for card in order)
            assert reserved(swapped) == reserved(order) == reserved(("A", "4", "5", "10"))


@pytest.mark.parametrize("split", TESTED)
def test_no_test_hand_is_a_training_hand(split, trained, tested):
    rule = general_points(split).rule
    assert tested[split] and trained
    assert not tested[split] & trained
    numbers = {counted(cards, ID_RULE) for cards in trained}
    assert not {counted(cards, rule) for cards in tested[split]} & numbers
    assert len({counted(cards, ID_RULE) for cards in tested["id"]} | numbers) == 566  # all there is


@pytest.mark.parametrize("n", [300, 10_000])
def test_the_test_hands_do_not_depend_on_how_many_are_trained_on(n, trained, tested):
    hands = train_hands(general_points("train"), n, seed=3)
    seen = in_order(hands)
    assert len(hands) == n and seen <= trained
    for split, population in tested.items():
        drawn = held_out(general_points(split), 200, seed=3)
        assert in_order(drawn) <= population and not in_order(drawn) & seen
        assert len({hand.cards for hand in drawn}) == len(drawn) == 200
    if n == 10_000:  # to leave out what was dealt would not leave a hand to test on
        assert len(seen) > 0.95 * len(trained)


def test_train_and_test_hands_follow_from_the_seed():
    train, test = general_points("train"), general_points("ood-rule")
    assert train_hands(train, 50, seed=3) == train_hands(train, 50, seed=3)
    assert train_hands(train, 50, seed=3) != train_hands(train, 50, seed=4)
    assert held_out(test, 50, 3) == held_out(test, 50, 3) != held_out(test, 50, 4)
    assert held_out(test, 50, 3) == held_out(test, 80, 3)[:50]


def test_varied_rules_never_make_a_test_hand(trained, tested, monkeypatch):
    """Every training hand under fifty house rules, 11-13-12 and 12-11-13 among them."""
    forbidden = {
        counted(cards, rule)
        for cards in EVERY
        if reserved(cards)
        for rule in (ID_RULE, OOD_RULE, DEV_RULE)
    }
    assert reserved_numbers(4) == forbidden
    every = [Rule(j, q, k) for j in range(1, 14) for q in range(1, 14) for k in range(1, 14)]
    rules = [Rule(*r) for r in permutations((11, 12, 13)) if Rule(*r) not in (OOD_RULE, DEV_RULE)]
    rules += random.Random(0).sample([r for r in every if r not in (OOD_RULE, DEV_RULE)], 46)
    task, refused, kept = general_points("train"), 0, 0
    for rule in rules:
        monkeypatch.setattr(dealing, "house_rule", lambda rng, common, rule=rule: rule)
        for cards in sorted(trained):
            try:
                judge, hand = task.vary(None, Hand(cards))
            except ValueError as error:
                refused += "test hand" in str(error)
                continue
            kept += 1
            assert (judge, hand.cards, hand.rule) == (task, cards, rule)
            assert counted(cards, rule) not in forbidden and not reserved(cards)
    assert refused > 1000 and kept > 10_000


def test_varied_rules_never_show_the_held_out_rules():
    task = general_points("train")
    hands = train_hands(task, 20, seed=0)
    varied = [hand for _, hand in vary_rules(task, hands, seed=0, n=300)]
    names = {hand.rule.name for hand in varied}
    assert len(names) > 100
    assert not names & {"11-12-13", "13-11-12"}
    assert {hand.cards for hand in varied} <= {hand.cards for hand in hands}
    assert not {counted(hand.cards, hand.rule) for hand in varied} & reserved_numbers(4)


def test_the_parts_are_told_apart():
    hands = [general_points("train").sample(random.Random(i)) for i in range(200)]
    assert not any(map(reserved, (hand.cards for hand in hands)))
    mixed = [GeneralPoints().sample(random.Random(i)) for i in range(200)]
    assert 40 < sum(map(reserved, (hand.cards for hand in mixed))) < 95
    assert general_points("id", part="all").part == "all"
    with pytest.raises(ValueError, match="unknown part 'both'; choose test, train"):
        GeneralPoints(part="both")


def test_all_test_hands_can_be_had_and_no_more(monkeypatch):
    """Of ten hands that are dealt here a few are reserved."""
    few = [hand.cards for hand in held_out(general_points("id"), 4, 0)]
    few += [hand.cards for hand in train_hands(general_points("train"), 6, 0)]
    monkeypatch.setattr(dealing, "deal", lambda rng, *how: rng.choice(few))
    task = general_points("id")
    assert {hand.cards for hand in task.held_out(random.Random(0), 4)} == set(few[:4])
    with pytest.raises(ValueError) as error:
        task.held_out(random.Random(0), 5)
    assert str(error.value) == "5 test hands are too many: only 4 were found"


def test_an_impossible_target_is_one_line():
    task = GeneralPoints(target=1000, n_cards=2, part="test")
    for ask in (task.sample, lambda rng: task.held_out(rng, 1), lambda rng: task.draw(rng, 1)):
        with pytest.raises(ValueError) as error:
            ask(random.Random(0))
        assert str(error.value) == "no hand of 2 cards makes 1000: 10,000 deals"


# --- streets ---------------------------------------------------------------------------


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("split", STREETS)
def test_no_test_walk_is_a_training_walk(split, pictures):
    train, test = navigation("train", pictures), navigation(split, pictures)
    assert len(train.routes) == TRAIN_ROUTES
    assert not set(train.routes) & set(test.routes)
    walked = {(route.city, route.start, route.legs) for route in train.routes}
    assert not walked & {(route.city, route.start, route.legs) for route in test.routes}
    known = {train.prompt(decision) for decision in decisions(train.routes)}
    absolute = replace(test, actions=train.actions, turns=train.turns)  # in the trained words
    for task in (test, absolute):
        assert not known & {task.prompt(decision) for decision in decisions(task.routes)}


def test_routes_with_known_instructions_are_left_out():
    trained = navigation("train").routes
    others = city_routes(load_city(TRAIN), TRAIN_ROUTES)
    kept = unlike(trained, others)
    told = [Navigation(trained).instructions(route) for route in trained]
    assert kept == tuple(r for r in others if Navigation(others).instructions(r) not in told)
    assert 0 < len(others) - len(kept) < 20 and navigation("id").routes == kept
    moved = replace(trained[0], name="elsewhere", start=(0.0, 0.0))
    assert unlike(trained, (moved, *kept)) == kept
    assert unlike((), others) == others


def test_test_walks_are_whole_and_all_can_be_had():
    task = navigation("id")
    every = decisions(task.routes)
    assert task.population == len(every) == len(set(every))
    some = held_out(task, 100, 0)
    assert 100 <= len(some) < 100 + 40 and len(set(some)) == len(some)
    assert set(decisions({decision.route: 0 for decision in some})) == set(some)
    assert held_out(task, 100, 0) == some != held_out(task, 100, 1)
    assert held_out(navigation("ood-rule"), 100, 0) == some  # the same walks in other words
    assert set(held_out(task, task.population, 0)) == set(every)
    with pytest.raises(ValueError) as error:
        held_out(task, task.population + 1, 0)
    said = f"{len(every) + 1} test problems are too many: {TRAIN} has {len(every)}"
    assert str(error.value) == said


def test_training_decisions_are_drawn_once_before_any_is_drawn_again():
    task = navigation("train")
    every = decisions(task.routes)
    drawn = train_hands(task, 2 * len(every) + 7, seed=0)
    assert drawn[: len(every)] != every
    assert set(drawn[: len(every)]) == set(drawn[len(every) : 2 * len(every)]) == set(every)
    assert len(set(drawn[2 * len(every) :])) == 7
    assert train_hands(task, 20, seed=0) == train_hands(task, 20, seed=0)
    assert train_hands(task, 20, seed=0) != train_hands(task, 20, seed=1)


# --- the two halves of the training problems -------------------------------------------


def test_the_halves_of_the_training_hands_share_no_numbers(trained):
    task = general_points("train")
    halves = [can_be_dealt(task.half(number)) for number in (1, 2)]
    assert halves[0] | halves[1] == trained and not halves[0] & halves[1]
    numbers = [{counted(cards, ID_RULE) for cards in half} for half in halves]
    assert not numbers[0] & numbers[1]
    assert 0.4 < len(numbers[0]) / len(numbers[0] | numbers[1]) < 0.6
    assert in_order(train_hands(task.half(2), 50, 0)) <= halves[1]


def test_the_halves_of_the_training_routes_share_no_prompt():
    task = navigation("train")
    halves = [task.half(number) for number in (1, 2)]
    told = [{half.prompt(d) for d in decisions(half.routes)} for half in halves]
    assert not told[0] & told[1] and min(map(len, told)) > 100
    assert {*halves[0].routes, *halves[1].routes} <= set(task.routes)


@pytest.mark.parametrize("task", ["gp-l", "virl-l"])
def test_fresh_problems_are_not_those_of_the_warm_up(task, tmp_path, monkeypatch):
    """What the warm-up and the first step of RL are given."""

    class Stop(Exception):
        pass

    given = {}

    def warm_up(run, out, model, processor, task, problems):
        given["warm-up"] = problems

    def rl_step(learner, processor, task, problems, *more, **options):
        given["rl"] = problems
        raise Stop

    monkeypatch.setattr(execute, "warm_up", warm_up)
    monkeypatch.setattr(execute, "rl_step", rl_step)
    monkeypatch.setattr(recorder.Recorder, "note", lambda self, *what: None)

    def problems_of(fresh):
        run = Run("rl-ppo", task=task, steps=1, warmup=1, hands=150, fresh=fresh)
        with pytest.raises(Stop):
            execute.train(run, tmp_path / str(fresh))
        assert len(given["warm-up"]) == len(given["rl"]) == 150
        key = prompt_of if task == "virl-l" else lambda hand: counted(hand.cards, hand.rule)
        return [{key(problem) for problem in given[who]} for who in ("warm-up", "rl")]

    prompt_of = navigation("train").prompt
    old, new = problems_of(fresh=True)
    assert not old & new
    again, same = problems_of(fresh=False)
    assert again == same
    if task == "virl-l":
        known = navigation("id")
        assert not new & {known.prompt(d) for d in decisions(known.routes)}
    else:
        assert not new & reserved_numbers(4)
