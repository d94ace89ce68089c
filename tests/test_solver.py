"""The solver, against published counts and an independent judge."""

import random
from fractions import Fraction
from itertools import combinations_with_replacement

import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftrl_lite.tasks.solver import (
    combine,
    random_formula,
    reachable,
    solutions,
    solvable,
)
from sftrl_lite.tasks.verifier import verify_formula

HANDS = st.lists(st.integers(1, 13), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize(("highest", "hands", "possible"), [(10, 715, 566), (13, 1820, 1362)])
def test_how_many_hands_make_24(highest, hands, possible):
    every = list(combinations_with_replacement(range(1, highest + 1), 4))
    assert len(every) == hands
    assert sum(map(solvable, every)) == possible


def test_fractions_are_exact():
    assert solutions((3, 8, 8, 3)) == ("8/(3-8/3)",)
    assert solutions((1, 5, 5, 5)) and not solutions((1, 1, 1, 1))
    assert combine("/", (1, 2), (0, 1)) is None
    assert combine("/", (1, 2), (-3, 4)) == (-2, 3)


@settings(max_examples=150, deadline=None)
@given(numbers=HANDS, target=st.integers(1, 40))
def test_every_solution_is_one(numbers, target):
    for formula in solutions(numbers, target):
        assert oracle.judge(formula, numbers, target) == "solved"
        answer = '{"formula": "' + formula + '"}'
        assert verify_formula(answer, numbers, target).kind == "solved"


@settings(max_examples=100, deadline=None)
@given(formula=oracle.FORMULAS)
def test_what_a_formula_makes_the_solver_makes_too(formula):
    numbers, value = tuple(oracle.numbers_in(formula)), oracle.compute(formula)
    if len(numbers) > 4 or value is None:
        return
    # A leading minus only mirrors a value, so one of the two signs is always reachable
    values = {abs(Fraction(*pair)) for pair in reachable(numbers)}
    assert abs(value) in values
    if value.denominator == 1 and value > 0:
        assert solvable(numbers, int(value))


def test_the_order_of_the_cards_does_not_matter():
    assert solutions((10, 1, 5, 10)) == solutions([1, 5, 10, 10])


@settings(max_examples=100, deadline=None)
@given(numbers=HANDS, seed=st.integers(0, 999))
def test_a_random_formula_uses_each_number_once(numbers, seed):
    formula = random_formula(numbers, random.Random(seed))
    assert oracle.numbers_in(formula) == sorted(numbers)
    assert formula == random_formula(numbers, random.Random(seed))
