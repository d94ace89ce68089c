"""Cards, house rules and dealing for GeneralPoints.

A *rule* says what J, Q and K count as. Training always announces one rule, the
shifted evaluation announces another: that difference is the whole rule-shift
experiment (Chu et al. 2025, section 4.1).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
PIPS = {rank: i + 1 for i, rank in enumerate(RANKS[:10])}


@dataclass(frozen=True)
class Rule:
    """What the face cards count as, e.g. ``Rule(10, 10, 10)``.

    Args:
        jack, queen, king: whole numbers from 1 to 99.

    Raises:
        ValueError: a value outside 1..99.
    """

    jack: int
    queen: int
    king: int

    def __post_init__(self) -> None:
        for face, value in zip(FACES, (self.jack, self.queen, self.king), strict=True):
            if not 1 <= value <= 99:
                raise ValueError(f"{face} counts as {value}, but a card counts 1 to 99")

    def value(self, rank: str) -> int:
        """Points of one card; raises ValueError for an unknown rank."""
        if rank in PIPS:
            return PIPS[rank]
        if rank not in FACES:
            raise ValueError(f"unknown card {rank!r}; cards are {', '.join(RANKS)}")
        return (self.jack, self.queen, self.king)[FACES.index(rank)]

    def values(self, cards: Sequence[str]) -> tuple[int, ...]:
        """Points of a hand, in the order of the cards."""
        return tuple(self.value(rank) for rank in cards)

    @property
    def name(self) -> str:
        """``10``, ``11-12-13`` or ``7-3-12``: what ``parse_rule`` reads."""
        values = (self.jack, self.queen, self.king)
        return str(values[0]) if len(set(values)) == 1 else "-".join(map(str, values))


ID_RULE = Rule(10, 10, 10)  # the rule that training announces
OOD_RULE = Rule(11, 12, 13)  # the shift that is reported
DEV_RULE = Rule(13, 11, 12)  # another shift, on which settings are chosen


def parse_rule(text: str) -> Rule:
    """Read ``10``, ``11-12-13`` or ``J=7,Q=3,K=12``.

    Raises:
        ValueError: anything else, in one line that shows the accepted forms.
    """
    named = re.fullmatch(r"J=(\d{1,2}),\s*Q=(\d{1,2}),\s*K=(\d{1,2})", text, re.ASCII)
    found = named or re.fullmatch(r"(\d{1,2})(?:-(\d{1,2})-(\d{1,2}))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"unknown rule {text!r}; write 10, 11-12-13 or J=7,Q=3,K=12")
    values = [int(v) for v in found.groups() if v is not None]
    return Rule(*values) if len(values) == 3 else Rule(*values * 3)


def house_rule(rng: random.Random, common: float) -> Rule:
    """J=Q=K=10 with probability ``common``, else any values 1..13 but the held-out rules."""
    if rng.random() < common:
        return ID_RULE
    while (rule := Rule(*(rng.randint(1, 13) for _ in range(3)))) in (OOD_RULE, DEV_RULE):
        pass
    return rule


def deal(
    rng: random.Random, n_cards: int = 4, dealing: str = "uniform", face: bool = False
) -> tuple[str, ...]:
    """Deal one hand of ranks.

    Args:
        rng: the only source of randomness, so a seed replays the hand.
        n_cards: size of the hand.
        dealing: ``uniform`` draws each rank independently, as the paper's code does
            (a fifth ace is possible); ``deck`` draws from a real deck of 52.
        face: hold at least one of J, Q, K. As in the paper's code one card is
            replaced by a random face, then the hand is shuffled.

    Raises:
        ValueError: unknown ``dealing`` or a hand that a deck cannot give.
    """
    if dealing == "uniform":
        hand = rng.choices(RANKS, k=n_cards)
    elif dealing == "deck":
        if n_cards > 52:
            raise ValueError(f"a deck has 52 cards, not {n_cards}")
        hand = rng.sample(RANKS * 4, k=n_cards)
    else:
        raise ValueError(f"unknown dealing {dealing!r}; choose uniform or deck")
    if face and not any(rank in FACES for rank in hand):
        hand[0] = rng.choice(FACES)
        rng.shuffle(hand)
    return tuple(hand)
