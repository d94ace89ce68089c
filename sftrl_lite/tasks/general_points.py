"""GeneralPoints: 24 from four cards (Chu et al. 2025, section 4.1, appendix A).

Its methods are those of ``base.Task``, the same for every task in this course, so that training
and evaluation never ask which task they have.

A third of all hands is reserved for tests before any training hand is dealt (``reserved``), by
what the answer depends on: the numbers. Under J=Q=K=10 the hands 10 5 4 A and K 5 4 A are one
problem, so both are test hands or neither is.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from PIL import Image

from sftrl_lite.tasks.base import FEEDBACK, Verdict
from sftrl_lite.tasks.card_pictures import SUITS, Look, draw_table
from sftrl_lite.tasks.cards import DEV_RULE, ID_RULE, OOD_RULE, RANKS, Rule, deal, house_rule
from sftrl_lite.tasks.hands import PARTS, Hand, best_formula, lot, reserved_numbers, solver_formula
from sftrl_lite.tasks.prompts import Template
from sftrl_lite.tasks.solver import solutions
from sftrl_lite.tasks.verifier import FAILURE, MESSAGES, REASONS, REWARDS, verify_formula


def prompt(hand: Hand) -> str:
    """The question as every scale reads it, from the tiny model to the 11B."""
    where, cards = "", f"Cards: {json.dumps(hand.cards)}\n"
    if hand.look is not None:
        where, cards = " in the picture", ""
    return (
        f"Make {hand.target} from the cards{where}, using each card exactly once and only "
        f"the signs + - * / ( ). A counts as 1, J counts as {hand.rule.jack}, Q counts "
        f"as {hand.rule.queen} and K counts as {hand.rule.king}.\n"
        f"{cards}"
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


@dataclass(frozen=True)
class GeneralPoints:
    """GP-L, and with a look GP-VL: deal solvable hands under one rule and judge answers.

    Args:
        rule: what J, Q and K count as; announced in every prompt.
        target: number to make.
        n_cards: cards in a hand.
        dealing: ``uniform`` (the paper's: with replacement) or ``deck``.
        face: force at least one face card, as the paper does for the shifted rule.
        feedback: ``none``, ``binary`` (the paper's message), ``reason`` or ``leaky``.
        look: show the hands as pictures of this look instead of naming them (GP-VL). The
            answer has to name the cards, and misreading them costs 1.5 points.
        size: width and height of a picture, in pixels.
        part: deal ``train`` hands, one half of them (``train-1``, ``train-2``), reserved ``test``
            hands or ``all``.
        template: other words for prompt, answer and messages (``prompts``); None: those here.

    Raises:
        ValueError: unknown feedback mode, dealing or part.
    """

    rule: Rule = ID_RULE
    target: int = 24
    n_cards: int = 4
    dealing: str = "uniform"
    face: bool = False
    feedback: str = "binary"
    look: Look | None = None
    size: int = 224
    part: str = "all"
    template: Template | None = None
    over_budget: ClassVar[float] = REWARDS["over_budget"]  # what the last failed try costs
    population: ClassVar[float] = math.inf  # of test problems; there are thousands

    def __post_init__(self) -> None:
        if self.feedback not in FEEDBACK:
            raise ValueError(f"unknown feedback {self.feedback!r}; choose {', '.join(FEEDBACK)}")
        if self.dealing not in ("uniform", "deck"):
            raise ValueError(f"unknown dealing {self.dealing!r}; choose uniform or deck")
        if self.part not in PARTS:
            raise ValueError(f"unknown part {self.part!r}; choose {', '.join(PARTS)}")

    def sample(self, rng: random.Random) -> Hand:
        """Deal until the hand is of the task's part and can be solved under the rule.

        Raises:
            ValueError: no such hand in 10,000 deals (an impossible target, say).
        """
        for _ in range(10_000):
            cards = deal(rng, self.n_cards, self.dealing, self.face)
            hand = Hand(cards, self.rule, self.target)
            if self.admits(hand) and solutions(hand.numbers, self.target):
                return hand if self.look is None else self.show(hand, rng)
        raise ValueError(f"no hand of {self.n_cards} cards makes {self.target}: 10,000 deals")

    def admits(self, hand: Hand) -> bool:
        """Whether a hand is of the task's part: a training hand, a test hand, or any.

        Under a rule drawn for training (``vary``) a hand may have the numbers of a reserved one
        though its cards are not reserved: it is no training hand either.
        """
        low, high = PARTS[self.part]
        if not low <= lot(hand.cards) < high:
            return False
        numbers = tuple(sorted(hand.numbers))
        return low == 0 or numbers not in reserved_numbers(len(numbers))

    def draw(self, rng: random.Random, n: int) -> list[Hand]:
        """n hands, dealt independently of each other as in the paper."""
        return [self.sample(rng) for _ in range(n)]

    def half(self, number: int) -> GeneralPoints:
        """The task with one half of its training hands, 1 or 2; they share no numbers."""
        return replace(self, part=f"train-{number}")

    @property
    def label(self) -> str:
        """Names the stream of held-out hands: looks share it, so they show the same hands."""
        return self.rule.name

    def held_out(self, rng: random.Random, n: int) -> list[Hand]:
        """n reserved hands, no two with the same cards in the same order.

        Raises:
            ValueError: there are fewer (50,000 hands in a row were none or known).
        """
        task, misses = replace(self, part="test"), 0
        found: dict[tuple[str, ...], Hand] = {}
        while len(found) < n:
            hand = task.sample(rng)
            misses = misses + 1 if hand.cards in found else 0
            if misses == 50_000:
                raise ValueError(f"{n} test hands are too many: only {len(found)} were found")
            found.setdefault(hand.cards, hand)
        return list(found.values())

    def vary(self, rng: random.Random, hand: Hand) -> tuple[GeneralPoints, Hand]:
        """The same cards under a new random house rule, never a held-out one.

        Raises:
            ValueError: they cannot be solved under that rule, or count there as a test hand does.
        """
        hand = replace(hand, rule=house_rule(rng, common=0.0))
        if not self.admits(hand):
            raise ValueError(f"{hand.cards} are a test hand under rule {hand.rule.name}")
        best_formula(hand)
        return self, hand

    def metrics(self, hands: Sequence[Hand], episodes: Sequence[Any]) -> dict[str, tuple[int, int]]:
        """``fake``, under a shifted rule: first answers that the *trained* rule would accept.

        Of the hands that it can solve. The control of Lin et al. 2025: a model that fails here
        and there cannot calculate; one that fails there and passes here holds on to the old rule.
        """
        if self.rule == ID_RULE:
            return {}
        old = [(e, ID_RULE.values(e.problem.cards)) for e in episodes]
        old = [(e, numbers) for e, numbers in old if solutions(numbers, self.target)]
        hits = [verify_formula(e.turns[0].answer, n, self.target).solved for e, n in old]
        return {"fake": (sum(hits), len(hits))} if hits else {}

    def show(self, hand: Hand, rng: random.Random) -> Hand:
        """The same hand as a picture: suits and appearance are drawn."""
        assert self.look is not None, "a task in text shows nothing"
        suits = tuple(rng.choices(SUITS[self.look.suits], k=len(hand.cards)))
        return replace(hand, suits=suits, look=self.look, seed=rng.getrandbits(32))

    def prompt(self, hand: Hand) -> str:
        if self.template is None:
            return prompt(hand)
        return self.template.fill(cards=hand.cards, rule=hand.rule, target=hand.target)

    def picture(self, hand: Hand) -> Image.Image | None:
        if hand.look is None:
            return None
        return draw_table(hand.cards, hand.suits, hand.look, self.size, hand.seed)

    def verify(self, hand: Hand, answer: str) -> Verdict:
        seen = None if hand.look is None else hand.cards
        verdict = verify_formula(answer, hand.numbers, hand.target, self.feedback, seen)
        if self.template is None:
            return verdict
        return self.template.tell(verdict, self.feedback, REASONS, FAILURE)

    def demonstration(self, hand: Hand) -> str:
        return self.answer(hand, solver_formula(hand))

    def base_demonstration(self, hand: Hand) -> str:
        return self.answer(hand, best_formula(hand))

    def answer(self, hand: Hand, formula: str) -> str:
        """A formula as the whole answer to a hand."""
        if self.template is None or not self.template.answer:
            return write_answer(hand, formula)
        told = f"{formula}={hand.target}"
        return self.template.reply(cards=hand.cards, number=hand.numbers, formula=told)


SPLITS = {
    "train": (ID_RULE, "black"),
    "id": (ID_RULE, "black"),
    "ood-rule": (OOD_RULE, "black"),
    "dev-rule": (DEV_RULE, "black"),
    "ood-visual": (ID_RULE, "red"),
    "dev-visual": (ID_RULE, "four-colour"),
}


def general_points(
    split: str = "id", pictures: bool = False, look: Look | None = None, **options: Any
) -> GeneralPoints:
    """The paper's splits: ``train`` and ``id`` announce J=Q=K=10, ``ood-rule`` 11, 12, 13.

    All but ``train`` deal hands that are reserved for tests, the same third under every rule.
    In pictures, ``id`` shows black suits and ``ood-visual`` red ones. ``dev-rule`` and
    ``dev-visual`` (green clubs, blue diamonds) are other shifts on which settings are chosen,
    so that the reported ones are looked at once.

    Args:
        pictures: show the cards as pictures (GP-VL) instead of naming them (GP-L).
        look: how, apart from the suits.

    Raises:
        ValueError: unknown split, or a visual split of a task in text.
    """
    names = [name for name in SPLITS if pictures or "visual" not in name]
    if split not in names:
        raise ValueError(f"unknown split {split!r}; choose {', '.join(names)}")
    rule, suits = SPLITS[split]
    shown = replace(look or Look(), suits=suits) if pictures else None
    part = "train" if split == "train" else "test"
    return GeneralPoints(rule, face=rule != ID_RULE, look=shown, **{"part": part, **options})


def vocabulary(pictures: bool = False) -> list[str]:
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
        *(re.split("9[1-4]", prompt(Hand((), marks, 94, look=Look()))) if pictures else ()),
        *re.split("(?<=\\[)(?=\\])|(?==94)|94", answer),
        *MESSAGES,
        *(f'"{rank}"' for rank in RANKS),
        *(f', "{rank}"' for rank in RANKS),
        *numbers,
        *(f", {n}" for n in numbers),
        *(" [", "]", " ", *"+-*/()="),
    ]
