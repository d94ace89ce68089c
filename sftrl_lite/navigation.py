"""Street navigation: follow numbered instructions (V-IRL; Chu et al. 2025, appendix B).

The task has the same verbs as ``general_points``. A problem is a *decision*: one step of a
route, with the observations and the right actions so far. A wrong action ends a walk in the
paper's protocol, so a walk succeeds exactly if every decision of its route is solved from
the right history; ``route_success`` puts decisions together again.

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

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from sftrl_lite.city import DEV, NAMES, TRAIN, UNSEEN, City, city_routes, load_city
from sftrl_lite.prompts import Template, numbered, walked
from sftrl_lite.routes import (
    ABSOLUTE,
    CLOCK,
    DIRECTIONS,
    INTERSECTION,
    NO_LANDMARK,
    RELATIVE,
    Directions,
    Route,
    Step,
    steps,
)
from sftrl_lite.street_view import four_views, panorama
from sftrl_lite.verifier import FEEDBACK, Verdict, read_answer

REWARDS = MappingProxyType(  # appendix B.3; an illegal answer is a wrong action like any other
    {
        "solved": 1.0,
        "wrong_action": -1.0,
        "other_words": -1.0,  # a turn in words that the prompt does not offer
        "over_budget": -1.0,
        "misread": -1.5,  # a wrong action, and what is here was not seen either
        "illegal": -1.0,
    }
)
SUCCESS = "Correct action."
FAILURE = "You failed this trial because your action is incorrect."
REASONS = MappingProxyType(
    {
        "solved": SUCCESS,
        "wrong_action": "The action is possible but not the one to take here.",
        "other_words": "The action uses words that are not in the list.",
        "misread": "The observation is not what is here.",
        "illegal": "The answer holds no legal action.",
    }
)
NO_CROSSING = "You are not at any intersection."  # what the released code says instead
HINT = " The instruction to follow here is number "

FORWARD, STOP, TURN = "forward()", "stop()", "turn_direction("
TASK = (
    "Follow the instructions from the start to the destination. Answer with one action at a "
    "time: forward(), stop() or turn_direction(x), where x is one of "
)
VIEWS = (
    "The image shows four views: in front of you and to your right, below them behind you and "
    "to your left.\n"
)
SEEN = "You observe an image of 4 views"
ASK = "\nAnswer in JSON with the keys current observation, current instruction and action."
ORDERS = (
    "First, turn ",
    "Turn ",
    "Move forward until you reach next intersection",
    "Move forward until you reach destination",
)
KEYS = ("current observation", "current instruction", "action")
MAX_ACTION = 100  # characters; longer ones are illegal, so that time stays bounded
ACTION = re.compile(r"(forward|stop)\(\)|turn_direction\(\s*['\"]?([\w' ]*?)['\"]?\s*\)")

Look = Callable[[Route, Step], tuple[np.ndarray, float]]  # a panorama and its rotation


@dataclass(frozen=True)
class Decision:
    """One problem: the walk of ``route`` has come, correctly, to step ``index``."""

    route: Route
    index: int

    @property
    def step(self) -> Step:
        return steps(self.route)[self.index]


def decisions(routes: Sequence[Route]) -> list[Decision]:
    """Every decision of the routes, in walking order."""
    return [Decision(route, i) for route in routes for i in range(len(steps(route)))]


def _spelled(observation: str, step: Step, official: bool) -> str:
    """The released data say "No landmark nearby" at turns and stops; ``official`` does too."""
    if official and step.instruction and step.move != "forward":
        return observation.replace(NO_LANDMARK, "No landmark nearby")
    return observation


def _same(text: object, other: str) -> bool:
    """Whether two observations or instructions say the same; case and full stops aside."""
    if not isinstance(text, str):
        return False

    def bare(words: str) -> str:
        return " ".join(words.lower().split()).strip(" .;")

    return bare(re.sub(r"^\s*\d{1,3}\.\s", "", text)) == bare(other)


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
        found, every = [], decisions(self.routes)
        while len(found) < n:
            found += rng.sample(every, min(n - len(found), len(every)))
        return found

    def half(self, number: int) -> Navigation:
        """The task with one half of its routes, 1 or 2; they share no instructions."""
        border = len(self.routes) // 2
        first, second = self.routes[:border], self.routes[border:]
        return replace(self, routes=first if number == 1 else unlike(first, second))

    def tests(self, rng: random.Random, n: int) -> list[Decision]:
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

    def extra(
        self, problems: Sequence[Decision], episodes: Sequence[Any]
    ) -> dict[str, tuple[int, int]]:
        """``route_success``, where the problems are whole walks."""
        whole = Counter(decision.route for decision in problems)
        walks = len(set(problems)) == len(problems)
        if not walks or any(n < len(steps(route)) for route, n in whole.items()):
            return {}
        figures = route_success(problems, episodes)
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
        rail = steps(decision.route)[: decision.index + 1]
        told, now = self.instructions(decision.route), self.observation(rail[-1])
        if self.look:
            now = f"{SEEN}; {INTERSECTION}" if self.official and rail[-1].intersection else SEEN
        past = [(self.observation(step), self.action(step)) for step in rail[:-1]]
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

    def habit(self, decision: Decision) -> str:
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
        # The released code's right observation lacks the intersection, so whoever reports
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
        short = isinstance(action, str) and len(action) <= MAX_ACTION
        legal = ACTION.fullmatch(action.strip()) if short else None
        if legal is None:
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


def write_answer(observation: str, instruction: str, action: str) -> str:
    """An answer in the paper's form."""
    return json.dumps(dict(zip(KEYS, (observation, instruction, action), strict=True)))


def city_look(route: Route, step: Step, height: int = 72) -> tuple[np.ndarray, float]:
    """The panorama of a step in a shipped city; column 0 looks north."""
    city = load_city(route.city)
    return panorama(city, city.spot_at[step.place], height), 0.0


def look_in(*cities: City, height: int = 72) -> Look:
    """A ``look`` for cities that are not shipped, for instance those of a base's corpus."""
    by_name = {city.name: city for city in cities}

    def look(route: Route, step: Step) -> tuple[np.ndarray, float]:
        city = by_name[route.city]
        return panorama(city, city.spot_at[step.place], height), 0.0

    return look


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


# --- whole walks -------------------------------------------------------------------------


def route_success(
    played: Sequence[Decision], episodes: Sequence[Any]
) -> dict[str, tuple[int, int]]:
    """Walks from their decisions, as (hits, number) for ``evaluate.wilson``.

    ``route``: walks of which every decision was solved within its tries. ``decision``:
    decisions so solved. ``per_step``: answers that were right, each try counted.
    ``walk_per_step``: the same over the decisions that a walk reaches which ends at its
    first failure; this is the number that the released code reports.

    Args:
        played: decisions, each step of each of their routes exactly once.
        episodes: what came of each: anything with ``turns``, which have a ``verdict``.

    Raises:
        ValueError: a route is not complete, or a step was played twice.
    """
    walks: dict[Route, dict[int, Any]] = {}
    for decision, episode in zip(played, episodes, strict=True):
        walk = walks.setdefault(decision.route, {})
        if decision.index in walk:
            raise ValueError(f"{_label(decision.route)}: step {decision.index} played twice")
        walk[decision.index] = [turn.verdict.solved for turn in episode.turns]
    counts = {name: [0, 0] for name in ("route", "decision", "per_step", "walk_per_step")}

    def add(name: str, hits: int, number: int) -> None:
        counts[name][0] += hits
        counts[name][1] += number

    for route, walk in walks.items():
        if len(walk) < len(steps(route)):
            raise ValueError(f"{_label(route)}: {len(walk)} of {len(steps(route))} steps played")
        going = True
        for index in range(len(walk)):
            tries = walk[index]
            add("decision", any(tries), 1)
            add("per_step", sum(tries), len(tries))
            if going:
                add("walk_per_step", sum(tries), len(tries))
            going = going and any(tries)
        add("route", going, 1)
    return {name: (hits, number) for name, (hits, number) in counts.items()}


def _label(route: Route) -> str:
    return f"{route.city}, route {route.name}"


# --- the tiny tokenizer ------------------------------------------------------------------

MAX_STEPS = 20  # of a route that the tiny tokenizer knows
MAX_INSTRUCTIONS = 12


def vocabulary() -> list[str]:
    """Every piece of text that a navigation chat is made of, for the tiny tokenizer.

    Fixed sentences are one piece each, so is a landmark's name and a word for a direction;
    the same word is the same piece in an instruction and in an action.
    """
    empty = write_answer("", "", "").split('""')
    orders = [f"\n{i}. {order}" for i in range(1, MAX_INSTRUCTIONS + 1) for order in ORDERS]
    first, last = '{"current observation": "', '"}'
    history = [
        piece
        for i in range(1, MAX_STEPS + 1)
        for piece in (
            f"\nO_{i}: ",
            f"\nA_{i}: {FORWARD}",
            f"\nA_{i}: {TURN}",
            f"\nA_{i}:",
        )
    ]
    middles = [f'"{part}"' for part in empty[1:-1]]
    messages = [FAILURE, *REASONS.values(), NO_CROSSING, HINT]
    words = [word for directions in DIRECTIONS for word in directions.words]
    return [
        TASK,
        VIEWS,
        SEEN,
        ASK,
        *orders,
        *ORDERS,
        *history,
        first,
        *middles,
        last,
        *messages,
        *(str(i) for i in range(1, MAX_INSTRUCTIONS + 1)),
        *words,
        *NAMES,
        " is on your left",
        " is on your right",
        NO_LANDMARK,
        "No landmark nearby",
        f"; {INTERSECTION}",
        INTERSECTION,
        " to face ",
        " where ",
        FORWARD,
        STOP,
        TURN,
        ")",
        ", ",
        ".",
        "; ",
    ]


def with_words(task: Navigation, actions: Directions) -> Navigation:
    """The same task, answered in other words; the instructions get them too.

    For a base's corpus, in which more than one rule must be announced.
    """
    place = "turns" if actions.relative else "faces"
    return replace(task, actions=actions, **{place: actions})
