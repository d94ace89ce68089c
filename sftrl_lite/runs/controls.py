"""Controls as tasks: a verifier that tosses a coin, rules that vary, answers that are given."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from PIL import Image

from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Problem, Shown, Task, Teachable, Verdict


@dataclass
class Coin:
    """A task with a verifier that tosses a coin instead of reading the answer (control).

    Heads: "correct", 1 point, and the episode ends. Tails: "incorrect", -1 point, another try.
    Points have mean zero, the last failed try costs nothing more, and how long an episode lasts
    does not depend on the truth: neither reward nor message carries information about answers.
    Kind and message are those of a right answer, or of an empty one.
    """

    task: Task[Any]
    rng: random.Random
    over_budget: ClassVar[float] = 0.0

    def prompt(self, problem: Any) -> str:
        return self.task.prompt(problem)

    def picture(self, problem: Any) -> Image.Image | None:
        return self.task.picture(problem)

    def verify(self, problem: Any, answer: str) -> Verdict:
        heads = self.rng.random() < 0.5
        told = self.task.verify(problem, self.task.demonstration(problem) if heads else "")
        return Verdict(heads, told.kind, 1.0 if heads else -1.0, told.message, None)


class EachItsOwn:
    """A task whose problems are pairs of a task and its problem."""

    def prompt(self, pair: tuple[Shown[Any], Any]) -> str:
        return pair[0].prompt(pair[1])

    def picture(self, pair: tuple[Shown[Any], Any]) -> Image.Image | None:
        return pair[0].picture(pair[1])

    def demonstration(self, pair: tuple[Teachable[Any], Any]) -> str:
        return pair[0].demonstration(pair[1])


@dataclass
class Answered:
    """A task whose problems are pairs of a problem and the answer that is to be imitated."""

    task: Shown[Any]

    def prompt(self, pair: tuple[Any, str]) -> str:
        return self.task.prompt(pair[0])

    def picture(self, pair: tuple[Any, str]) -> Image.Image | None:
        return self.task.picture(pair[0])

    def demonstration(self, pair: tuple[Any, str]) -> str:
        return pair[1]


def vary_rules(
    task: Task[Problem], problems: Sequence[Problem], seed: int, n: int
) -> list[tuple[Task[Problem], Problem]]:
    """The same problems under new random rules (never a held-out rule), each with its task."""
    rng = stream(seed, "varied rules")
    varied: list[tuple[Task[Problem], Problem]] = []
    while len(varied) < n:
        try:
            varied.append(task.vary(rng, rng.choice(problems)))
        except ValueError:  # not solvable under this rule
            continue
    return varied
