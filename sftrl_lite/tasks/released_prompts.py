"""Learning a template from the released SFT data, so that it need not be copied."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sftrl_lite.tasks import street_answers, verifier
from sftrl_lite.tasks.base import read_answer
from sftrl_lite.tasks.cards import RANKS, Rule
from sftrl_lite.tasks.prompts import ANSWERED, KINDS, Template, escaped, numbered
from sftrl_lite.tasks.routes import DIRECTIONS, Directions
from sftrl_lite.tasks.sft_data import read_sft_data
from sftrl_lite.tasks.verifier import CLAIM, ranks

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
        the template, and how many examples it gives back verbatim.

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
    said: list[Any] = [found.get(name) for name in ANSWERED["gp"]]
    cards, number, formula = said
    if not ((known := ranks(cards)) and set(known) <= set(RANKS)):
        raise ValueError("its answer does not list the cards")
    claim = CLAIM.fullmatch(formula.partition("=")[2]) if isinstance(formula, str) else None
    if claim is None:
        raise ValueError("its formula has no right-hand side")
    told = [str(card) for card in cards]
    stated = [s for s in statements(example.prompt) if list(s[1].values(told)) == number]
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
    keys = ("current observation", "current instruction", "action")
    said: list[Any] = [found.get(key) for key in keys]
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
    marks = piece[0] if piece[0] in "'\"" else ""
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


def write_prompts(source: Path, out: Path, skip_bad: bool = False) -> tuple[int, int]:
    """Learn the prompts of a file of released SFT data and write them to a template's file.

    The task's own messages are written, too, to be edited.

    Returns:
        how many examples the template gives back verbatim, and of how many.

    Raises:
        ValueError: no template gives an example back; ``DataError`` for a malformed row.
    """
    examples = read_sft_data(source, skip_bad)
    try:
        template, good = learn(examples, skip_bad)
    except ValueError as error:
        raise ValueError(f"{source}, {error}") from None
    spoken = street_answers if "{history}" in template.prompt else verifier
    said = {"failure": spoken.FAILURE, **spoken.REASONS}
    messages = {kind: text for kind, text in said.items() if kind in KINDS}
    replace(template, messages=messages).write(out)
    return good, len(examples)
