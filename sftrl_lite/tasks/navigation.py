"""Street navigation: follow numbered instructions (V-IRL; Chu et al. 2025, appendix B).

The task has the methods of ``base.Task``, as ``general_points`` has. A problem is a *decision*:
one step of a route, with the observations and the right actions so far. A wrong action ends a
walk in the paper's protocol, so a walk succeeds exactly if every decision of its route is solved
from the right history; ``route_success`` puts decisions together again.

Every turn is announced with two words, as in the released data: "Turn slightly right to
face northeast." Training asks for the absolute word, ``turn_direction(northeast)``. The
shifted rule asks for the other word of the same sentence, ``turn_direction(slightly
right)``, and the prompt names the words that count. The rule shift is to pick the other
word; no heading has to be computed.

The released code's known errors are right here, each in one place. ``official=True``
repeats them where a comparison needs it:

    differences of headings not taken round the circle    ``routes.Directions.word``
    "No landmark nearby" beside "No landmarks nearby"     ``_spelled``
    intersections left out of the right observation       ``Navigation.verify``
    the four views in another order than announced        ``street_view.four_views``
    a failed walker is moved on, though the walk is over  ``environments.NavigationEnv``

The last one counts: the first action of a walk is always a turn, so a policy that has only
lost the words for turns is never asked anything else. ``route_success`` measures accuracy
both over all decisions and over those that such a walk reaches.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from PIL import Image

from sftrl_lite.tasks.base import FEEDBACK, Verdict, read_answer
from sftrl_lite.tasks.city import city_routes
from sftrl_lite.tasks.prompts import Template, numbered, walked
from sftrl_lite.tasks.routes import (
    ABSOLUTE,
    CLOCK,
    DIRECTIONS,
    INTERSECTION,
    RELATIVE,
    Directions,
    Route,
    Step,
    steps,
)
from sftrl_lite.tasks.shipped_cities import DEV, TRAIN, UNSEEN, load_city
from sftrl_lite.tasks.street_answers import (
    ACTION,
    ASK,
    FAILURE,
    FORWARD,
    HINT,
    MAX_ACTION,
    NO_CROSSING,
    ORDERS,
    REASONS,
    REWARDS,
    SEEN,
    STOP,
    SUCCESS,
    TASK,
    TURN,
    VIEWS,
    _same,
    _spelled,
    write_answer,
)
from sftrl_lite.tasks.street_view import Look, city_look, four_views
from sftrl_lite.tasks.walks import Decision, decisions, route_success, whole_walks


@dataclass(frozen=True)
class Navigation:
    """V-IRL-L, and V-IRL-VL where ``look`` shows what there is to see.

    Args:
        routes: to draw decisions from.
        actions: the words that a turn is answered with; ``turns`` or ``faces``.
        turns, faces: the relative and the absolute words of the instructions.
        look: gives the panorama of a step; None: the observation is told in words.
        size: pixels a side of the picture of four views.
        feedback: ``none``, ``binary``, ``reason`` or ``leaky``, as in ``verifier``.
        official: repeat the released code's known errors (see the top of this file).
        template: other words for prompt, answer and messages (``prompts``); None: those here.

    Raises:
        ValueError: no routes, an unknown feedback mode, words that no instruction has.
    """

    routes: tuple[Route, ...]
    actions: Directions = ABSOLUTE
    turns: Directions = RELATIVE
    faces: Directions = ABSOLUTE
    look: Look | None = None
    size: int = 72
    feedback: str = "binary"
    official: bool = False
    template: Template | None = None
    over_budget: ClassVar[float] = REWARDS["over_budget"]

    def __post_init__(self) -> None:
        if not self.routes:
            raise ValueError("a navigation task needs at least one route")
        if self.feedback not in FEEDBACK:
            raise ValueError(f"unknown feedback {self.feedback!r}; choose {', '.join(FEEDBACK)}")
        if self.actions not in (self.turns, self.faces):
            raise ValueError(
                f"actions in {self.actions.name} words, but the instructions have "
                f"{self.turns.name} and {self.faces.name} ones"
            )

    @property
    def name(self) -> str:
        return "virl-l" if self.look is None else "virl-vl"

    def sample(self, rng: random.Random) -> Decision:
        """Any step of any route."""
        route = rng.choice(self.routes)
        return Decision(route, rng.randrange(len(steps(route))))

    @property
    def population(self) -> int:
        """How many test problems there are."""
        return len(decisions(self.routes))

    @property
    def label(self) -> str:
        """Names the stream of held-out walks: the same walks under each rule."""
        return self.routes[0].city

    def draw(self, rng: random.Random, n: int) -> list[Decision]:
        """n decisions: all of the routes once, in random order, then all of them again."""
        found: list[Decision] = []
        every = decisions(self.routes)
        while len(found) < n:
            found += rng.sample(every, min(n - len(found), len(every)))
        return found

    def half(self, number: int) -> Navigation:
        """The task with one half of its routes, 1 or 2; they share no instructions."""
        border = len(self.routes) // 2
        first, second = self.routes[:border], self.routes[border:]
        return replace(self, routes=first if number == 1 else unlike(first, second))

    def held_out(self, rng: random.Random, n: int) -> list[Decision]:
        """Every decision of one route after the other, in random order, until there are n.

        Raises:
            ValueError: the routes have fewer.
        """
        found: list[Decision] = []
        for route in rng.sample(self.routes, len(self.routes)):
            if len(found) >= n:
                break
            found += decisions([route])
        if len(found) < n:
            raise ValueError(f"{n} test problems are too many: {self.label} has {len(found)}")
        return found

    def vary(self, rng: random.Random, decision: Decision) -> tuple[Navigation, Decision]:
        """The same decision in other words for turns, never in held-out ones."""
        others = [words for words in DIRECTIONS if words not in (RELATIVE, CLOCK)]
        return with_words(self, rng.choice(others)), decision

    def metrics(
        self, problems: Sequence[Decision], episodes: Sequence[Any]
    ) -> dict[str, tuple[int, int]]:
        """``route_success`` of whole walks; the last may be cut off, and does not count."""
        if not (n := whole_walks(problems)):
            return {}
        figures = route_success(problems[:n], episodes[:n])
        return {name: figures[name] for name in ("route", "walk_per_step")}

    def instructions(self, route: Route) -> tuple[str, ...]:
        """Two sentences a leg: turn, then move forward."""
        found, before = [], route.heading
        for i, leg in enumerate(route.legs):
            turn = self.turns.word(before, leg.heading, self.official)
            face = self.faces.word(before, leg.heading, self.official)
            last = i == len(route.legs) - 1
            seen = f" where {leg.landmark}" if leg.landmark else ""
            if last and not seen and self.official:
                seen = " where No landmark nearby"
            found += [f"{ORDERS[i > 0]}{turn} to face {face}.", f"{ORDERS[2 + last]}{seen}."]
            before = leg.heading
        return tuple(found)

    def action(self, step: Step) -> str:
        """The right action of a step."""
        if step.move != "turn":
            return FORWARD if step.move == "forward" else STOP
        return f"{TURN}{self.actions.word(step.heading, step.onward, self.official)})"

    def prompt(self, decision: Decision) -> str:
        """Instructions and history, as every scale reads them.

        With pictures the last observation is left to be seen. The released code tells in
        words whether it is an intersection; ``official`` does too.
        """
        taken = steps(decision.route)[: decision.index + 1]
        told, now = self.instructions(decision.route), self.observation(taken[-1])
        if self.look:
            now = f"{SEEN}; {INTERSECTION}" if self.official and taken[-1].intersection else SEEN
        past = [(self.observation(step), self.action(step)) for step in taken[:-1]]
        history = [*past, (now, "")]
        if self.template is not None:
            return self.template.fill(instructions=told, actions=self.actions, history=history)
        offered = TASK + ", ".join(self.actions.words) + "."
        text = "\n".join([offered, numbered(told), walked(history)]) + ASK
        return VIEWS + text if self.look else text

    def observation(self, step: Step) -> str:
        """What is seen at a step, in words."""
        return _spelled(step.observation, step, self.official)

    def picture(self, decision: Decision) -> Image.Image | None:
        """The four views of the walker who has just arrived."""
        if self.look is None:
            return None
        pano, rotation = self.look(decision.route, decision.step)
        return four_views(pano, decision.step.heading, self.size, rotation, self.official)

    def demonstration(self, decision: Decision) -> str:
        """The one right answer."""
        step = decision.step
        told = self.instructions(decision.route)[step.instruction]
        seen, action = self.observation(step), self.action(step)
        if self.template is None or not self.template.answer:
            return write_answer(seen, told, action)
        number = str(step.instruction + 1)
        return self.template.reply(observation=seen, instruction=told, index=number, action=action)

    def base_demonstration(self, decision: Decision) -> str:
        """As ``demonstration``: there is only one right answer."""
        return self.demonstration(decision)

    def verify(self, decision: Decision, answer: str) -> Verdict:
        """Judge an answer (JSON with the key ``action``).

        As in the released code the action alone decides; what the answer claims to see
        matters only for the price of a wrong one. ``read_right``: it names the right
        instruction and, where that is told in words, the right observation.
        ``recognised``: in a picture it saw the right landmark, and whether streets cross.

        Raises:
            TypeError: the answer is not a str.
        """
        if not isinstance(answer, str):
            raise TypeError(f"an answer is a str, not {type(answer).__name__}")
        found = read_answer(answer, "action") or {}
        step = decision.step
        told = self.instructions(decision.route)[step.instruction]
        seen = found.get("current observation")
        saw = _same(seen, self.observation(step))
        kind = self._judge(found.get("action"), step)
        # The released code's right observation lacks the intersection, so a model that reports
        # one and errs is told that there is none; nothing else is compared there.
        claims = isinstance(seen, str) and "intersection" in seen
        misread = claims if self.official else not saw
        if kind in ("wrong_action", "other_words") and misread:
            kind = "misread"
        follows = _same(found.get("current instruction"), told)
        read_right = follows and (saw or self.look is not None)
        message = self._message(kind, step)
        solved, recognised = kind == "solved", saw if self.look else None
        verdict = Verdict(solved, kind, REWARDS[kind], message, None, read_right, recognised)
        if self.template is None:
            return verdict
        return self.template.tell(verdict, self.feedback, REASONS, FAILURE)

    def _judge(self, action: object, step: Step) -> str:
        if not isinstance(action, str) or len(action) > MAX_ACTION:
            return "illegal"
        if (legal := ACTION.fullmatch(" ".join(action.split()))) is None:
            return "illegal"
        word = legal[2] if legal[1] is None else None
        plain = f"{legal[1]}()" if legal[1] else f"{TURN}{word})"
        if plain == self.action(step):
            return "solved"
        return "wrong_action" if legal[1] or word in self.actions.words else "other_words"

    def _message(self, kind: str, step: Step) -> str:
        if self.feedback == "none":
            return ""
        if self.feedback == "binary":
            return SUCCESS if kind == "solved" else FAILURE
        reason = NO_CROSSING if self.official and kind == "misread" else REASONS[kind]
        if self.feedback == "leaky" and kind != "solved":
            return f"{reason}{HINT}{step.instruction + 1}."
        return reason


TRAIN_ROUTES = 60  # of the training city; its other routes are never trained on


def navigation(split: str = "id", pictures: bool = False, **options: Any) -> Navigation:
    """The paper's splits, on the shipped cities.

    ``train``: the training routes of the training city, absolute words. ``id``: other
    routes of that city, none with the instructions of a training route. ``ood-rule``: these,
    relative words. ``ood-visual``: the nine unseen cities, absolute words. Settings are chosen
    on ``dev-rule`` (clock words, in the instructions too) and ``dev-visual`` (a city of its own).

    Raises:
        ValueError: unknown split.
    """
    if pictures:
        options = {"look": city_look} | options
    trained = city_routes(load_city(TRAIN), 0, TRAIN_ROUTES)
    if split == "train":
        return Navigation(trained, **options)
    home = unlike(trained, city_routes(load_city(TRAIN), TRAIN_ROUTES))
    if split == "id":
        return Navigation(home, **options)
    if split == "ood-rule":
        return Navigation(home, actions=RELATIVE, **options)
    if split == "dev-rule":
        return Navigation(home, actions=CLOCK, turns=CLOCK, **options)
    if split == "dev-visual":
        return Navigation(city_routes(load_city(DEV)), **options)
    if split == "ood-visual":
        routes = [route for name in UNSEEN for route in city_routes(load_city(name))]
        return Navigation(tuple(routes), **options)
    raise ValueError(
        f"unknown split {split!r}; choose train, id, ood-rule, ood-visual, dev-rule or dev-visual"
    )


def unlike(trained: Sequence[Route], routes: Sequence[Route]) -> tuple[Route, ...]:
    """Those routes whose instructions no trained route has, word for word."""
    told = lambda route: Navigation((route,)).instructions(route)  # noqa: E731
    known = {told(route) for route in trained}
    return tuple(route for route in routes if told(route) not in known)


def with_words(task: Navigation, actions: Directions) -> Navigation:
    """The same task, answered in other words; the instructions get them too.

    For a base's corpus, in which more than one rule must be announced.
    """
    turns, faces = (actions, task.faces) if actions.relative else (task.turns, actions)
    return replace(task, actions=actions, turns=turns, faces=faces)
