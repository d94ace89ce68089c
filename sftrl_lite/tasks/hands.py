"""Hands of cards: which are reserved for tests, and the formulas that solve one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

from sftrl_lite.tasks.card_pictures import Look
from sftrl_lite.tasks.cards import DEV_RULE, ID_RULE, OOD_RULE, RANKS, Rule
from sftrl_lite.tasks.solver import solutions


@dataclass(frozen=True)
class Hand:
    """One problem: the cards on the table, the announced rule, the target.

    A hand that is shown as a picture also has suits, a look and a number that says which of
    the look's pictures it is.
    """

    cards: tuple[str, ...]
    rule: Rule = ID_RULE
    target: int = 24
    suits: tuple[str, ...] = ()
    look: Look | None = None
    seed: int = 0

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the cards count, in their order."""
        return self.rule.values(self.cards)


@lru_cache(maxsize=65536)
def _lot(numbers: tuple[int, ...]) -> float:
    return random.Random(f"reserved/{numbers}").random()


def lot(cards: Sequence[str]) -> float:
    """A number in [0, 1) that the cards have drawn by their numbers under the trained rule."""
    return _lot(tuple(sorted(ID_RULE.values(cards))))


# The lots of each part. The halves of the training hands share no numbers.
PARTS = {
    "test": (0, 1 / 3),
    "train": (1 / 3, 1),
    "train-1": (1 / 3, 2 / 3),
    "train-2": (2 / 3, 1),
    "all": (0, 1),
}


def reserved(cards: Sequence[str]) -> bool:
    """Whether these cards, in any order, are test cards under every rule, or training cards.

    Decided by their numbers under the rule that training announces, a fixed third of all, and by
    nothing else: not by scale, seed, or how many training problems there are.
    """
    return lot(cards) < PARTS["test"][1]


@lru_cache(maxsize=8)
def reserved_numbers(n_cards: int) -> frozenset[tuple[int, ...]]:
    """The numbers, sorted, of all reserved hands under the trained and the held-out rules."""
    hands = filter(reserved, combinations_with_replacement(RANKS, n_cards))
    rules = (ID_RULE, OOD_RULE, DEV_RULE)
    return frozenset(tuple(sorted(rule.values(hand))) for hand in hands for rule in rules)


def best_formula(hand: Hand) -> str:
    """The shortest solution; among equals the solver's first. Always the same one.

    Raises:
        ValueError: the hand has no solution.
    """
    found = solutions(hand.numbers, hand.target)
    if not found:
        raise ValueError(f"{hand.cards} cannot make {hand.target} under rule {hand.rule.name}")
    return min(found, key=len)


def solver_formula(hand: Hand) -> str:
    """Any one of the solver's formulas, always the same one for the same numbers.

    Demonstrations come from a program that has no reason to prefer the formula which
    the model would have written. That makes them off-policy, as the paper's are.

    Raises:
        ValueError: the hand has no solution.
    """
    best_formula(hand)  # raises if there is none
    choice = random.Random(f"solver/{sorted(hand.numbers)}/{hand.target}")
    return choice.choice(solutions(hand.numbers, hand.target))
