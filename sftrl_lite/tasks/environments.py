"""The tasks as Gymnasium environments: text in, text out.

Importing this module registers both sides of each rule shift in Chu et al. 2025, section
5.1: ``sftrl_lite/GeneralPoints-v0`` (J=Q=K=10) and ``sftrl_lite/GeneralPointsOOD-v0`` (11,
12, 13 with at least one face card); ``sftrl_lite/Navigation-v0`` (absolute directions) and
``sftrl_lite/NavigationOOD-v0`` (relative ones). The first of each pair deals training hands or
routes, the second reserved ones, so that what was trained on one is new in the other; settings
``part`` and ``split`` choose others. Several at once: ``gym.make_vec(name, 4)``, and
in processes of their own with ``vectorization_mode="async",
vector_kwargs={"shared_memory": False}``.
"""

from __future__ import annotations

import random
import string
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

from sftrl_lite.tasks.cards import ID_RULE, Rule, parse_rule
from sftrl_lite.tasks.general_points import GeneralPoints
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.navigation import Navigation, navigation
from sftrl_lite.tasks.routes import Route, steps
from sftrl_lite.tasks.street_view import city_look
from sftrl_lite.tasks.walks import Decision

CHARACTERS = string.printable + "×÷−"
MAX_SHOWN = 2_000  # characters of one answer that enter the conversation
MAX_PROMPT = 20_000  # characters of the question about a long walk


class Conversation(Text):
    """What has been said so far."""


@create_shared_memory.register(Conversation)
def _refused(space: Conversation, n: int = 1, ctx: Any = None) -> None:
    """Gymnasium reads a text in shared memory once, before anything was written there."""
    raise ValueError("text is not shared in memory; say vector_kwargs={'shared_memory': False}")


def shown(text: str, most: int = MAX_SHOWN) -> str:
    """What of a text enters the conversation, so that it stays inside the observation space."""
    return "".join(c if c in CHARACTERS else "?" for c in text[:most])


class GeneralPointsEnv(gym.Env[str, str]):
    """Sequential revision: the same hand until it is solved or the tries are used up.

    The observation is the conversation so far (question, answers, verifier messages),
    the action is an answer, the reward is the verdict's (training adds ``task.over_budget`` to
    that of a last failed try). Solving terminates. Using up
    the tries truncates: the budget is a limit from outside that the question does not
    announce, and the hand on the table is no more final than before. Each of the
    ``tries`` answers is judged; none is spent on a turn that cannot score.

    Args:
        rule: what J, Q and K count as, a ``Rule`` or text for ``parse_rule``.
        tries: verification budget (5 in the paper, appendix A.3).
        target, n_cards, dealing, face, feedback: as in ``GeneralPoints``.
        part: hands that are dealt: ``train``, ``test`` or ``all``, as in ``GeneralPoints``.
        render_mode: ``ansi`` makes ``render`` return the conversation.

    Raises:
        ValueError: an unknown setting, or fewer than one try.
    """

    # gymnasium declares it as if each instance had its own
    metadata: ClassVar = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        rule: Rule | str = ID_RULE,
        tries: int = 5,
        target: int = 24,
        n_cards: int = 4,
        dealing: str = "uniform",
        face: bool = False,
        feedback: str = "binary",
        part: str = "train",
        render_mode: str | None = None,
    ) -> None:
        if tries < 1:
            raise ValueError(f"an episode needs at least one try, not {tries}")
        if render_mode not in (None, "ansi"):
            raise ValueError(f"unknown render_mode {render_mode!r}; choose ansi")
        rule = parse_rule(rule) if isinstance(rule, str) else rule
        self.task = GeneralPoints(rule, target, n_cards, dealing, face, feedback, part=part)
        self.tries = tries
        self.render_mode = render_mode
        self.action_space = Text(MAX_SHOWN, min_length=0, charset=CHARACTERS)
        # A question or a message stays well below MAX_SHOWN for any hand a deck can give
        self.observation_space = Conversation(MAX_SHOWN * (2 * tries + 1), charset=CHARACTERS)
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
        self.turns += [shown(action), verdict.message] if verdict.message else [shown(action)]
        self.tries_left -= 1
        truncated = not verdict.solved and self.tries_left == 0
        info = {"kind": verdict.kind, "message": verdict.message, "problem": self.hand}
        if verdict.solved or truncated:
            self.hand = None
        return self.render(), verdict.reward, verdict.solved, truncated, info

    def render(self) -> str:
        """The conversation so far, one turn per paragraph."""
        return "\n\n".join(self.turns)


class NavigationEnv(gym.Env[str, str]):
    """A whole walk: at each step the same question until it is answered or given up.

    The observation is the conversation at the current step (question, answers, verifier
    messages). A right action moves the walker on; the right action at the destination
    terminates. Using up the tries at a step truncates: the walk is over, as in the paper. The
    reward is the verdict's; training adds ``task.over_budget`` to that of a last failed try.

    Args:
        split: of ``navigation``; ignored where ``task`` is given.
        tries: verification budget at each step (2 in the paper, appendix B.3).
        task: any navigation task, for instance of a folder of real street views.
        render_mode: ``ansi``: ``render`` returns the conversation. ``rgb_array``: the four
            views, uint8 (size, size, 3); for people also where the model gets text only.
        options: of ``navigation``: pictures, feedback, official, size.

    Raises:
        ValueError: an unknown setting, or fewer than one try.
    """

    # gymnasium declares it as if each instance had its own
    metadata: ClassVar = {"render_modes": ["ansi", "rgb_array"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        split: str = "train",
        tries: int = 2,
        task: Navigation | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if tries < 1:
            raise ValueError(f"a step needs at least one try, not {tries}")
        if render_mode not in (None, "ansi", "rgb_array"):
            raise ValueError(f"unknown render_mode {render_mode!r}; choose ansi or rgb_array")
        self.task = task or navigation(split, **options)
        self.tries = tries
        self.render_mode = render_mode
        self.action_space = Text(MAX_SHOWN, min_length=0, charset=CHARACTERS)
        self.observation_space = Conversation(
            MAX_PROMPT + MAX_SHOWN * 2 * tries, charset=CHARACTERS
        )
        self.decision: Decision | None = None  # None outside an episode
        self.turns: list[str] = []
        self.tries_left = 0
        self.last: Decision | None = None  # what is rendered, also after the end

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin a walk; the same seed gives the same one.

        ``options={"route": 3}`` begins the task's fourth route instead of a random one.

        Raises:
            IndexError: no such route.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(len(self.task.routes)))
        route = self.task.routes[(options or {}).get("route", drawn)]
        self._arrive(route, 0)
        return self._text(), {"problem": self.decision}

    def _arrive(self, route: Route, index: int) -> None:
        self.decision = self.last = Decision(route, index)
        self.turns = [shown(self.task.prompt(self.decision), MAX_PROMPT)]
        self.tries_left = self.tries

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Judge one answer and move on if it is right.

        ``info`` carries the verdict's kind and message, and the problem that is now open.

        Raises:
            RuntimeError: the walk has ended or has not begun.
            TypeError: the answer is not a str.
        """
        if self.decision is None:
            raise RuntimeError("no walk is running; call reset() first")
        here = self.decision
        verdict = self.task.verify(here, action)
        self.turns += [shown(action), verdict.message] if verdict.message else [shown(action)]
        self.tries_left -= 1
        last = here.index == len(steps(here.route)) - 1
        terminated = verdict.solved and last
        truncated = not verdict.solved and self.tries_left == 0
        # The released code moves a walker on who has failed, although the walk is over
        if not last and (verdict.solved or (truncated and self.task.official)):
            self._arrive(here.route, here.index + 1)
        info = {"kind": verdict.kind, "message": verdict.message, "problem": self.decision}
        if terminated or truncated:
            self.decision = None
        return self._text(), verdict.reward, terminated, truncated, info

    def _text(self) -> str:
        return "\n\n".join(self.turns)

    def render(self) -> str | np.ndarray | None:
        """The conversation, or what the walker sees, as ``render_mode`` says."""
        if self.render_mode != "rgb_array":
            return self._text()
        shown_task = replace(self.task, look=self.task.look or city_look)
        return None if self.last is None else np.asarray(shown_task.picture(self.last))


gym.register("sftrl_lite/GeneralPoints-v0", "sftrl_lite.tasks.environments:GeneralPointsEnv")
gym.register(
    "sftrl_lite/GeneralPointsOOD-v0",
    "sftrl_lite.tasks.environments:GeneralPointsEnv",
    kwargs={"rule": "11-12-13", "face": True, "part": "test"},
)
gym.register("sftrl_lite/Navigation-v0", "sftrl_lite.tasks.environments:NavigationEnv")
gym.register(
    "sftrl_lite/NavigationOOD-v0",
    "sftrl_lite.tasks.environments:NavigationEnv",
    kwargs={"split": "ood-rule"},
)
