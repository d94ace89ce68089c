"""Prompts from a file: texts with named places, written by hand or learned from examples.

The course's own prompts stand in ``general_points`` and ``navigation``. A model that was trained
in other words, a released Init for instance, should be asked in those. They come from a
TOML file:

    prompt = "Cards: [{'cards'}]. {rule}. Reach {target}."

A place may carry the quotes that each item of its list gets: ``{'cards'}`` becomes
``'A', '5', 'J'``, and ``{cards}`` becomes ``A, 5, J``. All other braces are text, so a prompt can
show JSON. ``learn`` finds the places in examples by what their answers state, and checks
that the template gives every example back verbatim.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sftrl_lite.files import whole
from sftrl_lite.tasks.base import Verdict
from sftrl_lite.tasks.cards import Rule
from sftrl_lite.tasks.routes import DIRECTIONS

CARDS, STREETS = ("rule", "target"), ("instructions", "actions", "history")
ASKED = {"gp-l": ("cards", *CARDS), "gp-vl": CARDS, "virl-l": STREETS, "virl-vl": STREETS}
ANSWERED = {"gp": ("cards", "number", "formula"), "virl": ("observation", "instruction", "action")}
VALUES = ("jack", "queen", "king")
KINDS = (  # of verdicts; "failure" is every failure where the feedback is binary
    "failure",
    "solved",
    "wrong_value",
    "wrong_numbers",
    "misread",
    "illegal",
    "wrong_action",
    "other_words",
)
NAMES = (*ASKED["gp-l"], *STREETS, *ANSWERED["gp"][1:], *ANSWERED["virl"], *VALUES)
PLACE = re.compile(rf"""\{{(['"]?)({"|".join((*NAMES, "face", "index", "message"))})\1\}}""")
HEADER = """\
# Places: {cards} {rule} {target}, or {instructions} {actions} {history}; in an answer {cards}
# {number} {formula}, or {observation} {instruction} {action} and {index}, the instruction's number.
# {'cards'} puts quotes around each item. Other braces are text. A field may be left out.
"""


@dataclass(frozen=True)
class Template:
    """How a task asks, answers and is told, in place of the course's own words.

    Args:
        prompt: with the places of its task, ``ASKED``.
        answer: of demonstrations, with the places ``ANSWERED``; empty: the course's own.
        rule: what stands at ``{rule}``; its places are jack, queen and king.
        same: the same where all three count alike, with the place ``{face}``; empty: ``rule``.
        words: the order of the words at ``{actions}``, by the name of their ``Directions``,
            where it is not the course's.
        messages: what the verifier says, by ``KINDS``; those not named stay as they are.
        retry: the turn after a failed try, with the place ``{message}``.
    """

    prompt: str
    answer: str = ""
    rule: str = "J counts as {jack}, Q counts as {queen} and K counts as {king}"
    same: str = ""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    messages: Mapping[str, str] = field(default_factory=dict, hash=False)
    retry: str = "{message}"

    def fill(self, **values: Any) -> str:
        """The prompt.

        Args:
            values: cards (ranks), rule (a ``Rule``) and target; or instructions (texts), actions
                (``Directions``) and history: pairs of observation and action, the last ``""``.
        """
        if target := values.get("target"):
            values["target"] = str(target)
        if rule := values.get("rule"):
            values["rule"] = self.state(rule)
        if actions := values.get("actions"):
            values["actions"] = self.words.get(actions.name, actions.words)
        if told := values.get("instructions"):
            values["instructions"] = numbered(told)
        if past := values.get("history"):
            values["history"] = walked(past)
        return put(self.prompt, values)

    def reply(self, **values: Any) -> str:
        """An answer. Texts are escaped as in JSON, so that it can be read again.

        Args:
            values: cards (ranks), number (what they count), formula; or observation, instruction,
                index (the instruction's number, from 1) and action.
        """
        said = {k: v if k in ("cards", "number") else escaped(str(v)) for k, v in values.items()}
        return put(self.answer, said)

    def state(self, rule: Rule) -> str:
        """What J, Q and K count, in a sentence's part."""
        points = (rule.jack, rule.queen, rule.king)
        if self.same and len(set(points)) == 1:
            return put(self.same, {"face": str(rule.jack)})
        return put(self.rule, dict(zip(VALUES, map(str, points), strict=True)))

    def tell(
        self, verdict: Verdict, feedback: str, reasons: Mapping[str, str], failure: str
    ) -> Verdict:
        """The verdict in this template's words.

        Args:
            feedback: as in ``verifier``; with ``none`` nothing is said.
            reasons, failure: the words that it was given in; a hint behind them stays.
        """
        if feedback == "none":
            return verdict
        binary = feedback == "binary" and not verdict.solved
        usual = failure if binary else reasons[verdict.kind]
        said = verdict.message
        if said.startswith(usual):
            own = self.messages.get("failure" if binary else verdict.kind, usual)
            said = own + said.removeprefix(usual)
        if not verdict.solved:
            said = put(self.retry, {"message": said})
        return replace(verdict, message=said)

    def check(self, task: str) -> None:
        """Whether this template can serve a task.

        Raises:
            ValueError: a place is missing, or the prompt names the cards of a picture.
        """
        said: dict[str, tuple[str, ...]] = {"rule": VALUES, "same": ("face",) if self.same else ()}
        said |= {"retry": ("message",), "prompt": ASKED[task]}
        said |= {"answer": ANSWERED[task.partition("-")[0]] if self.answer else ()}
        for name, wanted in said.items():
            there = {place[2] for place in PLACE.finditer(getattr(self, name))}
            if missing := [place for place in wanted if place not in there]:
                raise ValueError(f"its {name} has no place {{{missing[0]}}}; task {task} needs it")
            if name == "prompt" and task == "gp-vl" and "cards" in there:
                raise ValueError("its prompt has a place {cards}; task gp-vl shows them")

    def write(self, path: Path) -> None:
        """Write a file that ``read`` gives back.

        Raises:
            FileExistsError: it exists; what was written by hand is not lost.
        """
        if path.exists():
            raise FileExistsError(f"{path} exists; choose another --out")
        stated = ("rule", "same") if "{rule}" in self.prompt else ()
        names = ("prompt", "answer", *stated, "retry")
        parts = [f"{name} = {quoted(getattr(self, name))}" for name in names if getattr(self, name)]
        for name in ("words", "messages"):
            if table := getattr(self, name):
                listed = [f"{k} = {quoted(v)}" for k, v in table.items()]
                parts.append("\n".join([f"\n[{name}]", *listed]))
        with whole(path) as draft:
            draft.write_text(HEADER + "\n".join(parts) + "\n", "utf-8", newline="\n")


def read(path: Path | str) -> Template:
    """A template from a TOML file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one line that names the file and what is wrong in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        raw = tomllib.loads(path.read_text("utf-8-sig"))  # Windows writes a mark first
    except (ValueError, RecursionError) as error:  # also a number or a nesting without end
        raise ValueError(f"{path} is not TOML: {error}") from None
    try:
        return _template(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _template(raw: dict[str, Any]) -> Template:
    known = [f.name for f in fields(Template)]
    if unknown := raw.keys() - set(known):
        raise ValueError(f"unknown key {min(unknown)!r}; choose {', '.join(known)}")
    if "prompt" not in raw:
        raise ValueError("it has no prompt")
    for name, value in raw.items():
        kind = dict if name in ("words", "messages") else str
        if not isinstance(value, kind):
            raise ValueError(f"{name} is {value!r}; it has to be a {kind.__name__}")
    for kind, said in raw.get("messages", {}).items():
        if kind not in KINDS or not isinstance(said, str):
            raise ValueError(f"messages.{kind} is no text for one of {', '.join(KINDS)}")
    sets = {directions.name: sorted(directions.words) for directions in DIRECTIONS}
    for name, order in raw.get("words", {}).items():
        if name not in sets or not isinstance(order, list) or sorted(map(str, order)) != sets[name]:
            wanted = ", ".join(sets.get(name, sets))
            raise ValueError(f"words.{name} does not name each of {wanted} once")
    words = {name: tuple(order) for name, order in raw.get("words", {}).items()}
    return Template(**raw | {"words": words})


def template_for(task: str, prompt: Template | Path | str) -> Template:
    """A template, or the one in a file, that can serve the task.

    Raises:
        FileNotFoundError, ValueError: see ``read`` and ``Template.check``.
    """
    template = prompt if isinstance(prompt, Template) else read(prompt)
    try:
        template.check(task)
    except ValueError as error:
        where = "this template" if prompt is template else prompt
        raise ValueError(f"{where}: {error}") from None
    return template


def off_distribution(base: str, prompt: str) -> str:
    """One line if a released Init is asked in the course's own words, else nothing.

    Args:
        base: a Hub id, or the folder of a download that still has the released name.
        prompt: the file of prompts; empty: the course's own.
    """
    if prompt or not re.search(r"^tianzhechu/|(^|/)(GP|VIRL)-V?L-Init/?$", base):
        return ""
    return (
        f"{base} was trained on other prompts than these (off-distribution); "
        "`python -m sftrl_lite prompt --from data.json` reads them from its SFT data, for --prompt"
    )


# --- texts with places ---------------------------------------------------------------------


def put(text: str, values: Mapping[str, str | Sequence[Any]]) -> str:
    """The text with these values in their places, all at once; a list's items follow commas."""

    def written(place: re.Match[str]) -> str:
        mark, name = place.groups()
        if name not in values:
            return place[0]
        value = values[name]
        items = [value] if isinstance(value, str) else value
        return ", ".join(f"{mark}{item}{mark}" for item in items)

    return PLACE.sub(written, text)


def numbered(told: Sequence[str]) -> str:
    """Instructions, one per line with its number."""
    return "\n".join(f"{i}. {text}" for i, text in enumerate(told, 1))


def walked(past: Sequence[tuple[str, str]]) -> str:
    """Observations and actions in turn; the last action is still to come."""
    lines = []
    for i, (seen, done) in enumerate(past, 1):
        lines += [f"O_{i}: {seen}", f"A_{i}: {done}" if done else f"A_{i}:"]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """A text as it stands in JSON, without the quotes around it."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def quoted(value: str | Sequence[str]) -> str:
    """A text, or a list of texts, as TOML; several lines as they are, where TOML can."""
    if not isinstance(value, str):
        return "[" + ", ".join(map(quoted, value)) + "]"
    plain = all(c.isprintable() or c == "\n" for c in value)
    if "\n" in value and plain and "'''" not in value and not value.endswith("'"):
        return f"'''\n{value}'''"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
