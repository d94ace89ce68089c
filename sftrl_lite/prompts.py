"""Prompts from a file: texts with named places, written by hand or learned from examples.

The course's own prompts stand in ``general_points`` and ``navigation``. A model that was trained
in other words, a released Init for instance, should be asked in those. They come from a
TOML file:

    prompt = "Cards: [{'cards'}]. {rule}. Reach {target}."

A place may carry the quotes that each item of its list gets: ``{'cards'}`` becomes
``'A', '5', 'J'``, and ``{cards}`` becomes ``A, 5, J``. All other braces are text, so a prompt can
show JSON. ``learn`` finds the places in examples by what their answers state, and checks
that the template gives every example back letter by letter.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sftrl_lite.cards import RANKS, Rule
from sftrl_lite.files import whole
from sftrl_lite.routes import DIRECTIONS, Directions
from sftrl_lite.verifier import CLAIM, Verdict, read_answer

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
        said = {"rule": VALUES, "same": ("face",) if self.same else (), "retry": ("message",)}
        said |= {"prompt": ASKED[task]}
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
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    """Instructions, one a line with its number."""
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


# --- learning from examples ----------------------------------------------------------------

GAP, POINTS = r"([^\d\n]{1,40}?)", r"([1-9]\d?)(?!\d)"
TOGETHER = re.compile(rf"\bJ\b{GAP}\bQ\b{GAP}\bK\b{GAP}{POINTS}(?:\1{POINTS}\2{POINTS})?")
EACH = re.compile(rf"\bJ\b{GAP}{POINTS}{GAP}\bQ\b{GAP}{POINTS}{GAP}\bK\b{GAP}{POINTS}")
WALK = re.compile(r"^O_1: .*(?:\nA_\d+: .*\nO_\d+: .*)*\nA_\d+:", re.MULTILINE)
TRIED = 200  # examples from which a template is made; the most common one is checked on all

# An example's values of all places, and the texts in its prompt and its answer that say them.
Facts = tuple[dict[str, Any], dict[str, Any], dict[str, str], dict[str, str]]


def learn(examples: Sequence[Any], skip_bad: bool = False) -> tuple[Template, int]:
    """The template that examples were written with.

    What their answers state is looked for in their prompts; what remains is constant. Where the
    data announce but one rule, J, Q and K counting alike, three different values are written as
    its sentence lists the three cards.

    Args:
        examples: with ``prompt``, ``answer``, ``images`` and ``entry``, as ``read_sft_data``
            gives them.
        skip_bad: leave out examples that the template does not give back.

    Returns:
        the template, and how many examples it gives back letter by letter.

    Raises:
        ValueError: an example that states no values, or is not given back; names its entry.
    """
    drafts: Counter[tuple[str, str]] = Counter()
    wordings: Counter[tuple[str, str]] = Counter()
    orders: Counter[tuple[str, tuple[str, ...]]] = Counter()
    fault = ""
    for example in examples[:: -(-len(examples) // TRIED)]:
        try:
            asked, _, in_prompt, in_answer = facts(example)
        except ValueError as error:
            fault = fault or f"entry {example.entry}: {error}"
            continue
        prompt = marked(example.prompt, in_prompt)
        if "target" in asked:
            prompt = re.sub(rf"(?<!\d){asked['target']}(?!\d)", "{target}", prompt)
            wordings[asked["wording"]] += 1
        if "order" in asked:
            orders[asked["actions"].name, asked["order"]] += 1
        drafts[prompt, marked(example.answer, in_answer)] += 1
    if not drafts:
        raise ValueError(fault or "there are no examples")
    ((prompt, answer), _) = drafts.most_common(1)[0]
    template = Template(prompt, answer)
    if wordings:
        several = [w for w, _ in wordings.most_common() if not w[1]]  # three values are stated
        alike = [w for w, _ in wordings.most_common() if w[1]]
        rule, same = (several or alike)[0][0], alike[0][1] if alike else ""
        template = replace(template, rule=rule, same=same)
    own = {d.name: d.words for d in DIRECTIONS}
    words = {name: order for (name, order), _ in orders.most_common() if order != own[name]}
    template = replace(template, words=words)
    task = "virl-l" if orders else "gp-vl" if examples[0].images else "gp-l"
    template.check(task)
    good = 0
    for example in examples:
        if wrong := difference(template, example):
            if not skip_bad:
                raise ValueError(f"entry {example.entry}: {wrong}")
            continue
        good += 1
    return template, good


def difference(template: Template, example: Any) -> str:
    """Where the template does not give an example back; empty: it does."""
    try:
        asked, answered, *_ = facts(example)
    except ValueError as error:
        return str(error)
    pairs = {"prompt": (template.fill(**asked), example.prompt)}
    if template.answer:
        pairs["answer"] = template.reply(**answered), example.answer
    for name, (made, there) in pairs.items():
        if made != there:
            shared = zip(made, there, strict=False)
            i = next((i for i, (a, b) in enumerate(shared) if a != b), min(len(made), len(there)))
            return f"its {name} has {there[i:][:30]!r} where the template has {made[i:][:30]!r}"
    return ""


def marked(text: str, places: Mapping[str, str]) -> str:
    """The text with places instead of these pieces of it."""
    for place, piece in places.items():
        text = text.replace(piece, place)
    return text


def facts(example: Any) -> Facts:
    """What an example states.

    Raises:
        ValueError: its answer cannot be read, or its prompt does not hold what it answers to.
    """
    for key, find in (("formula", _card_facts), ("action", _street_facts)):
        if found := read_answer(example.answer, key):
            return find(example, found)
    raise ValueError("its answer holds neither a formula nor an action")


def _listed(text: str, items: Sequence[Any], name: str) -> dict[str, str]:
    """The place of a list in a text, with the quotes that it has there; none if it is not there."""
    for mark in ("'", '"', ""):
        piece = ", ".join(f"{mark}{item}{mark}" for item in items)
        if piece in text:
            return {f"{{{mark}{name}{mark}}}": piece}
    return {}


def _card_facts(example: Any, found: dict[str, Any]) -> Facts:
    cards, number, formula = (found.get(name) for name in ANSWERED["gp"])
    if not (isinstance(cards, list) and cards and set(map(str, cards)) <= set(RANKS)):
        raise ValueError("its answer does not list the cards")
    claim = CLAIM.fullmatch(formula.partition("=")[2]) if isinstance(formula, str) else None
    if claim is None:
        raise ValueError("its formula has no right-hand side")
    ranks = [str(card) for card in cards]
    stated = [s for s in statements(example.prompt) if list(s[1].values(ranks)) == number]
    if not stated:
        raise ValueError("its prompt states no rule for J, Q and K that its numbers follow")
    piece, rule, *wording = stated[0]
    shown = _listed(example.prompt, cards, "cards")
    if not (shown or example.images):
        raise ValueError("its prompt does not list the cards of its answer")
    asked = dict(cards=cards, rule=rule, target=int(claim[1]), wording=tuple(wording))
    answered = dict(cards=cards, number=number, formula=formula)
    in_answer = {"{formula}": escaped(formula)} | _listed(example.answer, cards, "cards")
    in_answer |= {"{number}": ", ".join(map(str, number))}
    return asked, answered, {"{rule}": piece} | shown, in_answer


def statements(text: str) -> Iterator[tuple[str, Rule, str, str]]:
    """Where a text says what J, Q and K count: piece, rule, and both wordings of ``Template``."""
    for found in TOGETHER.finditer(text):
        a, b, verb, jack, queen, king = found.groups()
        lead = f"J{a}Q{b}K{verb}"
        several = f"{lead}{{jack}}{a}{{queen}}{b}{{king}}"
        rule = Rule(*map(int, (jack, queen, king) if queen else (jack, jack, jack)))
        # quotes around the first card and the last value belong to the sentence
        mark = text[: found.start()][-1:]
        mark = mark if mark in "'\"" and text[found.end() :][:1] == mark else ""
        alike = "" if queen else f"{mark}{lead}{{face}}{mark}"
        yield f"{mark}{found[0]}{mark}", rule, f"{mark}{several}{mark}", alike
    for found in EACH.finditer(text):
        a, jack, b, c, queen, d, e, king = found.groups()
        said = f"J{a}{{jack}}{b}Q{c}{{queen}}{d}K{e}{{king}}"
        yield found[0], Rule(int(jack), int(queen), int(king)), said, ""


def _street_facts(example: Any, found: dict[str, Any]) -> Facts:
    said = [found.get(key) for key in ("current observation", "current instruction", "action")]
    if not all(isinstance(text, str) for text in said):
        raise ValueError("its answer has no observation, instruction or action")
    seen, instruction, action = said
    number, _, rest = instruction.partition(". ")
    bare = rest if number.isdecimal() else instruction
    told = next((lines for lines in lists(example.prompt) if bare in lines), None)
    if told is None:
        raise ValueError("its prompt does not list the instruction of its answer")
    walk = WALK.search(example.prompt)
    if walk is None:
        raise ValueError("its prompt has no observations O_1 to O_n and actions A_1 to A_n")
    lines = [line.partition(": ")[2] for line in walk[0].split("\n")]
    piece, actions, order = _offered(example.prompt)
    past = tuple(zip(lines[::2], lines[1::2], strict=True))
    asked = dict(instructions=tuple(told), actions=actions, history=past, order=order)
    answered = dict(observation=seen, instruction=bare, action=action)
    answered |= {"index": number if rest == bare else ""}
    place = "{index}. {instruction}" if rest == bare else "{instruction}"
    # the instruction first: it may name the landmark that is observed
    in_answer = {place: escaped(instruction), "{observation}": escaped(seen)}
    in_answer |= {"{action}": escaped(action)}
    marks = re.match("['\"]?", piece)[0]
    in_prompt = {"{history}": walk[0], "{instructions}": numbered(told)}
    return asked, answered, in_prompt | {f"{{{marks}actions{marks}}}": piece}, in_answer


def lists(text: str) -> list[list[str]]:
    """The numbered lists in a text, of lines that follow each other, without their numbers."""
    found: list[list[str]] = []
    current: list[str] = []
    for line in text.split("\n"):
        number, dot, rest = line.partition(". ")
        if dot and number == "1":
            current = [rest]
            found.append(current)
        elif dot and current and number == str(len(current) + 1):
            current.append(rest)
        else:
            current = []
    return found


def _offered(text: str) -> tuple[str, Directions, tuple[str, ...]]:
    """The list of words for turns in a text: its piece, whose words they are, and their order.

    Raises:
        ValueError: there is none.
    """
    for directions in DIRECTIONS:
        word = "|".join(map(re.escape, sorted(directions.words, key=len, reverse=True)))
        more = len(directions.words) - 1
        pattern = rf"""(?<!\w)(['"]?)(?:{word})\1(?:, \1(?:{word})\1){{{more}}}(?!\w)"""
        for found in re.finditer(pattern, text):
            order = tuple(part.strip(found[1]) for part in found[0].split(", "))
            if set(order) == set(directions.words):
                return found[0], directions, order
    raise ValueError("its prompt does not list the words for turns")
