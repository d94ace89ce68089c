"""GeneralPoints: make 24 from four cards (Chu et al. 2025, section 4.1, appendix A).

A task is a small object with six verbs, the same six for every task in this
course, so that training and evaluation code never asks which task it has:

    sample(rng)              a problem
    prompt(problem)          what the model is told
    picture(problem)         what it is shown, None for a task in text
    verify(problem, answer)  reward, verdict and the verifier's message
    demonstration(problem)   a correct answer from a solver, for imitation
    habit(problem)           a correct answer in the words of the base's own corpus
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import ClassVar

from sftrl_lite.cards import DEV_RULE, ID_RULE, OOD_RULE, RANKS, Rule, deal
from sftrl_lite.solver import solutions
from sftrl_lite.verifier import FEEDBACK, MESSAGES, REWARDS, Verdict, verify_formula


@dataclass(frozen=True)
class Hand:
    """One problem: the cards on the table, the announced rule, the target."""

    cards: tuple[str, ...]
    rule: Rule = ID_RULE
    target: int = 24

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the cards count, in their order."""
        return self.rule.values(self.cards)


def prompt(hand: Hand) -> str:
    """The question as every scale reads it, from the tiny model to the 11B."""
    return (
        f"Make {hand.target} from the cards, using each card exactly once and only "
        f"the signs + - * / ( ). A counts as 1, J counts as {hand.rule.jack}, Q counts "
        f"as {hand.rule.queen} and K counts as {hand.rule.king}.\n"
        f"Cards: {json.dumps(hand.cards)}\n"
        f"Answer in JSON with the keys cards, number and formula."
    )


def write_answer(hand: Hand, formula: str, numbers: tuple[int, ...] | None = None) -> str:
    """An answer in the paper's form: the cards, what they count, the formula."""
    return json.dumps(
        {
            "cards": hand.cards,
            "number": hand.numbers if numbers is None else numbers,
            "formula": f"{formula}={hand.target}",
        }
    )


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


@dataclass(frozen=True)
class GeneralPoints:
    """GP-L: deal solvable hands under one announced rule and judge answers.

    Args:
        rule: what J, Q and K count as; announced in every prompt.
        target: number to make.
        n_cards: cards in a hand.
        dealing: ``uniform`` (the paper's: with replacement) or ``deck``.
        face: force at least one face card, as the paper does for the shifted rule.
        feedback: ``none``, ``binary`` (the paper's message), ``reason`` or ``leaky``.

    Raises:
        ValueError: unknown feedback mode or dealing.
    """

    rule: Rule = ID_RULE
    target: int = 24
    n_cards: int = 4
    dealing: str = "uniform"
    face: bool = False
    feedback: str = "binary"
    name: str = "gp-l"
    over_budget: ClassVar[float] = REWARDS["over_budget"]  # what the last failed try costs

    def __post_init__(self) -> None:
        if self.feedback not in FEEDBACK:
            raise ValueError(f"unknown feedback {self.feedback!r}; choose {', '.join(FEEDBACK)}")
        if self.dealing not in ("uniform", "deck"):
            raise ValueError(f"unknown dealing {self.dealing!r}; choose uniform or deck")

    def sample(self, rng: random.Random) -> Hand:
        """Deal until the hand can be solved under the rule.

        Raises:
            ValueError: no solvable hand in 10,000 deals (an impossible target, say).
        """
        for _ in range(10_000):
            cards = deal(rng, self.n_cards, self.dealing, self.face)
            hand = Hand(cards, self.rule, self.target)
            if solutions(hand.numbers, self.target):
                return hand
        raise ValueError(f"no hand of {self.n_cards} cards makes {self.target}: 10,000 deals")

    def prompt(self, hand: Hand) -> str:
        return prompt(hand)

    def picture(self, hand: Hand) -> None:
        return None

    def verify(self, hand: Hand, answer: str) -> Verdict:
        return verify_formula(answer, hand.numbers, hand.target, self.feedback)

    def demonstration(self, hand: Hand) -> str:
        return write_answer(hand, solver_formula(hand))

    def habit(self, hand: Hand) -> str:
        return write_answer(hand, best_formula(hand))


def general_points(split: str = "id", **options: object) -> GeneralPoints:
    """The paper's splits: ``id`` announces J=Q=K=10, ``ood-rule`` 11, 12, 13.

    ``dev-rule`` is a third rule on which settings are chosen, so that the reported
    shift is looked at once.

    Raises:
        ValueError: unknown split.
    """
    if split == "id":
        return GeneralPoints(ID_RULE, **options)
    if split == "ood-rule":
        return GeneralPoints(OOD_RULE, face=True, **options)
    if split == "dev-rule":
        return GeneralPoints(DEV_RULE, face=True, **options)
    raise ValueError(f"unknown split {split!r}; choose id, ood-rule or dev-rule")


def vocabulary() -> list[str]:
    """Every piece of text that a GeneralPoints chat is made of, for the tiny tokenizer.

    The fixed sentences are cut out of ``prompt`` and ``write_answer`` themselves, so
    they cannot drift apart. Later cards and numbers of a list carry their comma,
    as words carry their leading space in larger tokenizers.
    """
    marks = Rule(91, 92, 93)
    question = prompt(Hand((), marks, 94))
    answer = write_answer(Hand((), marks, 94), "95").replace("95", "")
    numbers = [str(n) for n in range(14)] + ["24"]
    return [
        *re.split("9[1-4]|(?<=\\[)(?=\\])", question),
        *re.split("(?<=\\[)(?=\\])|(?==94)|94", answer),
        *MESSAGES,
        *(f'"{rank}"' for rank in RANKS),
        *(f', "{rank}"' for rank in RANKS),
        *numbers,
        *(f", {n}" for n in numbers),
        *(" [", "]", " ", *"+-*/()="),
    ]
