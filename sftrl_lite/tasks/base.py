"""What all tasks share: what they can be asked, a verdict, and how an answer is found in a text.

A problem is whatever a task makes of it: a hand, a step of a walk. The rest of the package passes
problems on and never looks into them. What it asks of a task stands here as protocols: a class
that has the methods is such a task, without inheriting anything::

    Shown                 prompt, picture              a chat's first message
    Playable(Shown)       verify, over_budget          what a rollout needs
    Measurable(Playable)  metrics                      what an evaluation needs
    Teachable(Shown)      demonstration                what SFT needs
    Task                  all of these, and problems   what a run needs
"""

from __future__ import annotations

import json
import random
import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from PIL import Image

FEEDBACK = ("none", "binary", "reason", "leaky")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier says about one answer.

    ``kind`` is a key of the task's own ``REWARDS``. Every task has ``solved`` and ``illegal``,
    which evaluations count; the others are its own. Rewards by kind (paper, appendices A.3, B.3):

    =============  =====  =======  =========================================================
    kind           cards  streets  what is meant
    =============  =====  =======  =========================================================
    solved         5      1        the answer is right
    wrong_value    -1     none     a legal formula that makes another number
    wrong_numbers  -2     none     a formula that does not use each card exactly once
    wrong_action   none   -1       a possible action, but not the one to take here
    other_words    none   -1       a turn in words that the prompt does not offer
    misread        -1.5   -1.5     cards: others are named than the picture shows; comes on
                                   top of what the formula costs, a point at least.
                                   streets: a wrong action, and what is here was not seen
    illegal        -3     -1       no legal formula, or action, can be found in the answer
    over_budget    -1     -1       no verdict's kind: what the last failed try costs more
    =============  =====  =======  =========================================================
    """

    solved: bool
    kind: str  # see above
    reward: float
    message: str  # what the model is told
    read: tuple[int, ...] | None  # the "number" list that the answer claims, if readable
    read_right: bool = False  # whether what it claims to have read is what was there
    recognised: bool | None = None  # whether the picture was; None where there is none


# --- what a task can be asked ------------------------------------------------------------

Asked = TypeVar("Asked", contravariant=True)  # a problem that a task is only given
Problem = TypeVar("Problem")  # a problem that it also draws


@runtime_checkable
class Shown(Protocol[Asked]):
    """A task that can ask its problems."""

    def prompt(self, problem: Asked, /) -> str:
        """What the model is told: the text of the chat's first message."""

    def picture(self, problem: Asked, /) -> Image.Image | None:
        """What it is shown, the same each time; None for a task in text, and then for every one."""


@runtime_checkable
class Playable(Shown[Asked], Protocol[Asked]):
    """A task that judges answers: what ``rollout`` plays."""

    @property
    def over_budget(self) -> float:
        """Points that the last failed try costs beside its own, 0 or less."""

    def verify(self, problem: Asked, answer: str, /) -> Verdict:
        """The verdict on any text that a model may write, in bounded time.

        No text is an error: one that is no answer is ``illegal``. The shipped tasks raise
        TypeError where the answer is not a str.
        """


@runtime_checkable
class Measurable(Playable[Asked], Protocol[Asked]):
    """A task that may have figures of its own: what ``evaluate`` measures."""

    def metrics(
        self, problems: Sequence[Asked], episodes: Sequence[Any], /
    ) -> dict[str, tuple[int, int]]:
        """Figures that only this task has, as (hits, number) by metric; none: an empty dict.

        Args:
            problems: P of them, episodes: P ``rollouts.Episode``, one of each problem.
        """


@runtime_checkable
class Teachable(Shown[Asked], Protocol[Asked]):
    """A task that knows right answers: what SFT imitates."""

    def demonstration(self, problem: Asked, /) -> str:
        """A right answer, as a solver writes it; the same problem, the same answer."""


@runtime_checkable
class Task(Measurable[Problem], Teachable[Problem], Protocol[Problem]):
    """A task as runs need it: it also draws problems, and keeps those of the tests apart.

    All randomness comes from the ``rng`` that is passed in.
    """

    @property
    def label(self) -> str:
        """Names the random stream that held-out problems are drawn from."""

    @property
    def population(self) -> float:
        """How many held-out problems there are; ``math.inf``: more than are ever asked for."""

    def sample(self, rng: random.Random, /) -> Problem:
        """One problem.

        Raises:
            ValueError: there is none under these settings.
        """

    def draw(self, rng: random.Random, n: int, /) -> list[Problem]:
        """n training problems; some may be equal."""

    def held_out(self, rng: random.Random, n: int, /) -> list[Problem]:
        """At least n problems that are reserved for tests, no two equal.

        Raises:
            ValueError: there are fewer.
        """

    def half(self, number: int, /) -> Task[Problem]:
        """The task with one half of its training problems, 1 or 2; the halves share none."""

    def vary(self, rng: random.Random, problem: Problem, /) -> tuple[Task[Problem], Problem]:
        """The problem under another rule, never a held-out one, with the task of that rule.

        Raises:
            ValueError: it has no solution there, or would be a held-out problem.
        """

    def base_demonstration(self, problem: Problem, /) -> str:
        """A right answer in the words of the corpus that the base was trained on."""


# --- an answer in a text -------------------------------------------------------------------

MAX_ANSWER = 20_000  # characters; longer answers are illegal, so time stays bounded
WORK = 4 * MAX_ANSWER  # characters looked at; only an answer built to be slow needs more
CLOSED_BY = {"{": "}", "[": "]", "(": ")"}
OPENING = re.compile(r"[{\[(]")
STRING = r"""(?P<quote>["'])
    (?: [^"'\\]++ | \\. | (?!(?P=quote))["'] | (?<=\w)'(?=\w) )*+ (?P<end>(?P=quote))"""
TOKEN = re.compile(
    rf"""(?P<blank> \s+ | (?://|\#)[^\n]* | /\*(?:[^*]|\*(?!/))*+(?:\*/)? )
    | (?P<string> {STRING}? )
    | (?P<mark> [\[\]{{}}(),:] )
    | (?P<word> -?[\w.]+(?:(?<=[eE])[-+]\d+)? )""",
    re.VERBOSE | re.DOTALL,
)
# What is looked for after the place where an object cannot be read: brackets, and its strings
REST = re.compile(rf"[\[\]{{}}()] | [,;:=+]\s{{0,99}}+(?P<string>{STRING})", re.VERBOSE | re.DOTALL)
COLON = re.compile(r"\s{0,99}+:")  # bounded: what it passes over is not counted as work
GLUED = re.compile(r"[\w{\[(\\]")
SUM = re.compile(r"""[-+*/%×÷−]{1,2}\s{0,99}+["'(\d]|\.\w{1,99}+\(""")  # an expression goes on
NEXT = re.compile(r"\s{0,99}+[,}]")
ESCAPE = re.compile(r"""(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})|\\(.)|\"""", re.DOTALL)
DECODER = json.JSONDecoder(strict=False)  # a raw line break inside a string is forgiven
PYTHON = {"True": True, "False": False, "None": None}


def _whole(text: str, key: str) -> dict | None:
    """The text as JSON, where all of it is an object with the key."""
    try:
        found, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError):  # "[[[[..." exhausts the decoder, harmlessly
        return None
    return found if end == len(text) and isinstance(found, dict) and key in found else None


def _mend(escape: re.Match[str]) -> str:
    r"""As JSON spells it: ``\'`` is a quote, the backslash of ``\(`` is meant, " is no end."""
    legal, other = escape.groups()
    return legal or ('\\"' if other is None else "'" if other == "'" else f"\\\\{other}")


def _scalar(kind: str, piece: str) -> Any:
    """A string or a bare word as what it says; an unquoted rank is text."""
    if kind == "string":
        return DECODER.decode(f'"{ESCAPE.sub(_mend, piece[1:-1])}"')
    try:
        return PYTHON[piece] if piece in PYTHON else json.loads(piece)
    except ValueError:
        return piece


class Found(NamedTuple):
    """What was found where a bracket opens."""

    value: dict | list | None  # None: no object or list
    end: int  # of the value
    reach: int  # where the bracket closes, or as far as that was looked for
    strings: list[tuple[int, int]]  # where its names and scalars begin and end


def _container(text: str, start: int, inner: dict[int, Found]) -> tuple[Found, int]:
    """The object or list that opens at ``start``, and how many characters that took.

    Args:
        inner: what was found where brackets open further right. An object that is not closed
            ends after its last whole pair, unless text is glued to it or an expression goes on;
            a list that is not closed is none.
    """
    closing, at, spent = CLOSED_BY[text[start]], start + 1, 0
    names = closing == "}"
    found: list[Any] = []
    strings: list[tuple[int, int]] = []
    key, named, due, end, reach = "", (0, 0), "name" if names else "value", 0, 0
    while token := TOKEN.match(text, at):
        kind, piece, next_at = str(token.lastgroup), token[0], token.end()
        spent += len(piece)
        scalar = kind == "word" or token["end"] is not None
        if kind == "blank":
            pass
        elif piece == closing and (due in ("name", ",") or not names):
            return Found(dict(found) if names else found, next_at, next_at, strings), spent
        elif due == "name" and (COLON.match(text, next_at) if kind == "word" else scalar):
            key, due = piece if kind == "word" else str(_scalar(kind, piece)), ":"
            named = at, next_at
        elif due == piece:  # a colon or a comma
            if due == ":":
                strings.append(named)
            due = "name" if names and due == "," else "value"
        elif due == "value" and scalar:
            strings.append((at, next_at))
            found.append((key, _scalar(kind, piece)) if names else _scalar(kind, piece))
            due, end = ",", next_at
        elif due == "value" and at in inner and inner[at].value is not None:
            value, next_at, reach, _ = inner[at]
            found.append((key, value) if names else value)
            due, end = ",", next_at
        else:
            break
        at = next_at
    glued = bool(GLUED.match(text, at)) and not text[at - 1].isspace()
    if due == ",":  # "a"+"b", or "a" "b"}
        joined = token and token["end"] and NEXT.match(text, token.end())
        glued = glued or bool(joined or SUM.match(text, at))
    ended = names and found and due in ("name", ",") and not glued
    reach = max(reach, at)
    if names:
        reach, more = _rest(text, reach, inner, strings if found or due != "name" else [])
        spent += more
    return Found(dict(found) if ended else None, end, reach, strings), spent


def _rest(
    text: str, at: int, inner: dict[int, Found], strings: list[tuple[int, int]]
) -> tuple[int, int]:
    """Where an object closes that cannot be read from ``at`` on, and how many characters it took.

    What it says there is lost, but its strings are still strings: they are added.
    """
    spent = 0
    while mark := REST.search(text, at):
        spent += mark.end() - at
        at = mark.end()
        if mark["string"]:
            strings.append(mark.span("string"))
        elif mark[0] in CLOSED_BY:
            at = max(at, inner[mark.start()].reach)
        elif mark[0] == "}":
            return at, spent
    return len(text), spent + len(text) - at


def read_answer(text: str, key: str = "formula") -> dict | None:
    """The answer object in ``text``, None when there is none.

    JSON as models write it is accepted, whatever surrounds it; ``docs/answers.md`` has the
    table. Of several objects with the ``key`` the last counts that lies in no other, because
    models think aloud first and conclude last; what stands in a string of an object or a list
    is text. Linear time; text beyond ``MAX_ANSWER`` characters is not read.
    """
    if len(text) > MAX_ANSWER:
        return None
    if (whole := _whole(text.strip(), key)) is not None:
        return whole
    if key not in text and "\\u" not in text:
        return None
    found: dict[int, Found] = {}
    work = 0
    # From the right, so that what a container holds is known when it is read: no recursion
    for start in reversed([opening.start() for opening in OPENING.finditer(text)]):
        found[start], spent = _container(text, start, found)
        work += spent
        if work > WORK:
            return None
    return _last(text, key, dict(reversed(found.items())))


def _last(text: str, key: str, found: dict[int, Found]) -> dict | None:
    """The last object with the key that lies in no other and in no string."""
    starts, said = list(found), set[int]()
    answer, end, reach = None, 0, 0
    for start, (value, stop, far, strings) in found.items():
        if start in said:
            continue
        if isinstance(value, dict) and key in value and start >= end:
            answer, end = value, stop
        if text[start] == "(" and start >= reach:  # print("{...}"), or prose
            continue
        reach = max(reach, far)
        for first, last in strings:
            inside = starts[bisect(starts, first) : bisect(starts, last)]
            if GLUED.match(text, last):  # what ended it may be the quote of a name in an object
                inside = [at for at in inside if (found[at].end or found[at].reach) <= last]
            said.update(inside)
    return answer
