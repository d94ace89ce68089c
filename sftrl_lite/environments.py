"""GeneralPoints as a Gymnasium environment: text in, text out.

Importing this module registers ``sftrl_lite/GeneralPoints-v0`` (J=Q=K=10) and
``sftrl_lite/GeneralPointsOOD-v0`` (11, 12, 13 with at least one face card), the two
sides of the rule shift in Chu et al. 2025, section 5.1.
"""

from __future__ import annotations

import random
import string
from typing import Any, ClassVar

import gymnasium as gym
from gymnasium.spaces import Text

from sftrl_lite.cards import ID_RULE, Rule, parse_rule
from sftrl_lite.general_points import GeneralPoints, Hand

CHARACTERS = string.printable + "×÷−"
MAX_SHOWN = 2_000  # characters of one answer that enter the conversation


class GeneralPointsEnv(gym.Env[str, str]):
    """Sequential revision: the same hand until it is solved or the tries are used up.

    The observation is the conversation so far (question, answers, verifier messages),
    the action is an answer, the reward is the verdict's. Solving terminates. Using up
    the tries truncates: the budget is a limit from outside that the question does not
    announce, and the hand on the table is no more final than before. Each of the
    ``tries`` answers is judged; none is spent on a turn that cannot score.

    Args:
        rule: what J, Q and K count as, a ``Rule`` or text for ``parse_rule``.
        tries: verification budget (5 in the paper, appendix A.3).
        target, n_cards, dealing, face, feedback: as in ``GeneralPoints``.
        render_mode: ``ansi`` makes ``render`` return the conversation.

    Raises:
        ValueError: an unknown setting, or fewer than one try.
    """

    metadata: ClassVar = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(
        self,
        rule: Rule | str = ID_RULE,
        tries: int = 5,
        target: int = 24,
        n_cards: int = 4,
        dealing: str = "uniform",
        face: bool = False,
        feedback: str = "binary",
        render_mode: str | None = None,
    ) -> None:
        if tries < 1:
            raise ValueError(f"an episode needs at least one try, not {tries}")
        if render_mode not in (None, "ansi"):
            raise ValueError(f"unknown render_mode {render_mode!r}; choose ansi")
        rule = parse_rule(rule) if isinstance(rule, str) else rule
        self.task = GeneralPoints(rule, target, n_cards, dealing, face, feedback)
        self.tries = tries
        self.render_mode = render_mode
        self.action_space = Text(MAX_SHOWN, min_length=0, charset=CHARACTERS)
        # A question or a message stays well below MAX_SHOWN for any hand a deck can give
        self.observation_space = Text(MAX_SHOWN * (2 * tries + 1), charset=CHARACTERS)
        self.hand: Hand | None = None  # None outside an episode
        self.turns: list[str] = []
        self.tries_left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Deal a hand; the same seed deals the same hand. ``options`` is not used.

        Raises:
            ValueError: no hand can be solved under these settings.
        """
        super().reset(seed=seed)
        self.hand = self.task.sample(random.Random(int(self.np_random.integers(2**32))))
        self.turns = [self.task.prompt(self.hand)]
        self.tries_left = self.tries
        return self.render(), {"problem": self.hand}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Judge one answer; ``info`` carries the verdict's kind and message, the problem.

        Raises:
            RuntimeError: the episode has ended or has not begun.
            TypeError: the answer is not a str.
        """
        if self.hand is None:
            raise RuntimeError("no episode is running; call reset() first")
        verdict = self.task.verify(self.hand, action)
        # The whole answer was judged; what is shown must stay inside the observation space
        shown = "".join(c if c in CHARACTERS else "?" for c in action[:MAX_SHOWN])
        self.turns += [shown, verdict.message] if verdict.message else [shown]
        self.tries_left -= 1
        truncated = not verdict.solved and self.tries_left == 0
        info = {"kind": verdict.kind, "message": verdict.message, "problem": self.hand}
        if verdict.solved or truncated:
            self.hand = None
        return self.render(), verdict.reward, verdict.solved, truncated, info

    def render(self) -> str:
        """The conversation so far, one turn per paragraph."""
        return "\n\n".join(self.turns)


gym.register("sftrl_lite/GeneralPoints-v0", "sftrl_lite.environments:GeneralPointsEnv")
gym.register(
    "sftrl_lite/GeneralPointsOOD-v0",
    "sftrl_lite.environments:GeneralPointsEnv",
    kwargs={"rule": "11-12-13", "face": True},
)
