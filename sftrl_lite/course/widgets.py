"""Things to play with. Each widget carries a still picture of itself as HTML, which
shows wherever no kernel runs (GitHub, the printed page, ``SFTRL_STATIC=1``).
"""

from __future__ import annotations

import html
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w
import torch
from IPython.display import display
from PIL import Image
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sftrl_lite.course import notebook
from sftrl_lite.tasks.base import Verdict, read_answer
from sftrl_lite.tasks.cards import parse_rule
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand, best_formula
from sftrl_lite.training.rollouts import Episode, Turn, rollout

BOX = "display:inline-block;margin:2px;padding:2px 6px;border-radius:4px;color:#1a1a1a;"
CARD = BOX + "background:#ffffff;border:1px solid #767676;font-size:150%"


def present(widget: w.Widget, still: str, words: str) -> None:
    """Show the widget where one can run, ``still`` elsewhere, ``words`` where no page is."""
    bundle: dict[str, Any] = {"text/html": still, "text/plain": words}
    if not os.environ.get("SFTRL_STATIC"):
        view = {"model_id": widget.model_id, "version_major": 2, "version_minor": 0}
        bundle["application/vnd.jupyter.widget-view+json"] = view
    display(bundle, raw=True)


def without_tags(page: str) -> str:
    """The words of a piece of HTML."""
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())


# --- a hand and its verifier -------------------------------------------------------------


def judge(task: GeneralPoints, hand: Hand, formula: str) -> Verdict:
    """The verdict on a formula typed by a person, who may or may not write ``=24``."""
    return task.verify(hand, write_answer(hand, formula.partition("=")[0].strip()))


def rule_words(hand: Hand) -> str:
    """What the faces count and what is to be made."""
    rule = hand.rule
    return f"J = {rule.jack}, Q = {rule.queen}, K = {rule.king}; make {hand.target}"


def table_html(hand: Hand, tries: Sequence[tuple[str, Verdict]]) -> str:
    """The cards, their rule and every try so far."""
    cards = "".join(f'<span style="{CARD}">{card}</span>' for card in hand.cards)
    rows = "".join(
        f"<tr><td>{i}</td><td><code>{html.escape(formula)}</code></td><td>{v.kind}</td>"
        f"<td>{v.reward:+g}</td><td>{html.escape(v.message)}</td></tr>"
        for i, (formula, v) in enumerate(tries, 1)
    )
    head = "".join(f"<th>{name}</th>" for name in ("try", "formula", "kind", "reward", "message"))
    return f"<p>{cards}</p><p>{rule_words(hand)}</p><table><tr>{head}</tr>{rows}</table>"


def verifier_table(task: GeneralPoints, seed: int = 0) -> None:
    """Deal a hand, type a formula, read verdict, reward and message; tries add up."""
    rng = random.Random(seed)
    hand = task.sample(rng)
    tries: list[tuple[str, Verdict]] = []
    values = list(map(str, hand.numbers))
    formulas = ["+".join(values), "*".join(values[:3]), best_formula(hand)]
    examples = [(formula, judge(task, hand, formula)) for formula in formulas]
    said = [f"{formula} is {v.kind}, reward {v.reward:+g}" for formula, v in examples]
    words = f"Cards {' '.join(hand.cards)}, {rule_words(hand)}. {'; '.join(said)}."
    still = table_html(hand, examples)

    page = w.HTML(table_html(hand, tries))
    box = w.Text(placeholder="(1+2+3)*4", description="Formula", continuous_update=False)
    again = w.Button(description="Deal a hand")
    solve = w.Button(description="Show a solution")

    def typed(change: dict) -> None:
        if change["new"].strip():
            tries.append((change["new"], judge(task, hand, change["new"])))
            page.value, box.value = table_html(hand, tries), ""

    def dealt(_: w.Button) -> None:
        nonlocal hand
        hand = task.sample(rng)
        tries.clear()
        page.value = table_html(hand, tries)

    def solved(_: w.Button) -> None:
        box.value = best_formula(hand)

    box.observe(typed, "value")
    again.on_click(dealt)
    solve.on_click(solved)
    present(w.VBox([page, box, w.HBox([again, solve])]), still, words)


# --- a chat as tokens --------------------------------------------------------------------


def tokens_html(pieces: Sequence[str], chances: Sequence[float | None]) -> str:
    """One box a token; a deeper orange is a less likely token, grey was given."""
    boxes = []
    for piece, p in zip(pieces, chances, strict=True):
        if p is None:
            colour, note = "#e8e8e8", "given"
        else:
            colour, note = f"hsl(35,90%,{60 + 35 * p:.0f}%)", f"probability {100 * p:.1f} %"
        text = html.escape(piece).replace("\n", "⏎").replace(" ", "·")
        boxes.append(f'<span style="{BOX}background:{colour}" title="{note}">{text}</span>')
    return f'<div style="line-height:1.9">{"".join(boxes)}</div>'


def answer_html(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, hand: Hand, temperature: float
) -> str:
    """Prompt and one answer as boxes, and what the verifier says."""
    (episode,) = rollout(
        model, tokenizer, GeneralPoints(hand.rule), [hand], tries=1, temperature=temperature
    )
    (turn,) = episode.turns
    given: list[float | None] = [None] * turn.start
    chances = given + torch.tensor(turn.logps).exp().tolist()
    boxes = tokens_html([str(tokenizer.decode([i])) for i in episode.ids], chances)
    said = f"{turn.verdict.kind}, reward {turn.verdict.reward:+g}"
    return f"{boxes}<p>{turn.start} tokens read, {turn.end - turn.start} written: {said}</p>"


def token_view(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    cards: str = "5 7 J K",
    rule: str = "10",
    temperature: float = 1.0,
) -> None:
    """Choose cards, rule and temperature; see every token and how likely it was."""
    fields = w.Text(cards, description="Cards"), w.Text(rule, description="Rule")
    slider = w.FloatSlider(temperature, min=0, max=2, step=0.1, description="Temperature")
    ask = w.Button(description="Answer")

    def answer(*_: object) -> None:
        try:
            hand = Hand(tuple(fields[0].value.upper().split()), parse_rule(fields[1].value))
            _ = hand.numbers  # complains about an unknown card
            page.value = answer_html(model, tokenizer, hand, slider.value)
        except ValueError as error:
            page.value = html.escape(str(error))

    page = w.HTML()
    answer()
    ask.on_click(answer)
    said = page.value.rpartition("<p>")[2].removesuffix("</p>")
    present(w.VBox([*fields, slider, ask, page]), page.value, f"Cards {cards}, rule {rule}: {said}")


# --- an episode, try by try --------------------------------------------------------------


def formula_of(answer: Mapping[str, Any], turn: Turn) -> str:
    """The formula of an answer as it was read; all of its text where that is none."""
    formula = answer.get("formula")
    return formula if isinstance(formula, str) else turn.answer


def episode_html(
    episode: Episode, tokenizer: PreTrainedTokenizerBase, upto: int | None = None
) -> str:
    """The first ``upto`` tries of an episode: numbers read, formula, verdict, message."""
    hand, rows = episode.problem, []
    for i, turn in enumerate(episode.turns[:upto], 1):
        answer, v = read_answer(turn.answer) or {}, turn.verdict
        read = "–" if v.read is None else ", ".join(map(str, v.read))
        right = v.read == tuple(hand.numbers)
        cells = [
            f"{i}",
            f"{html.escape(read)} ({'right' if right else 'wrong'})",
            f"<code>{html.escape(formula_of(answer, turn))}</code>",
            v.kind,
            f"{turn.reward:+g}",
            html.escape(v.message),
            f"{turn.end - turn.start}",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = ("try", "numbers read", "formula", "verdict", "reward", "message", "tokens")
    head = "".join(f"<th>{name}</th>" for name in names)
    cards = "".join(f'<span style="{CARD}">{html.escape(card)}</span>' for card in hand.cards)
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    asked = tokenizer.decode(episode.ids[: episode.turns[0].start], skip_special_tokens=True)
    return f'<p title="{html.escape(str(asked))}">{cards} {rule_words(hand)}</p>{table}'


def step_through(episodes: Sequence[Episode], page_of: Callable[..., str], still: int) -> None:
    """Choose an episode and how many of its tries to see.

    Args:
        page_of: HTML of an episode, up to a try if one is given.
        still: episodes in the still picture.

    Raises:
        ValueError: no episode to show.
    """
    if not episodes:
        raise ValueError("no episode to show")
    page = w.HTML()
    which = w.BoundedIntText(1, min=1, max=len(episodes), description="Episode")
    upto = w.IntSlider(1, min=1, max=max(len(episodes[0].turns), 1), description="Tries")

    def draw(*_: object) -> None:
        page.value = page_of(episodes[which.value - 1], upto.value)

    def turned(_: object) -> None:
        upto.value = 1
        upto.max = len(episodes[which.value - 1].turns)
        draw()

    which.observe(turned, "value")
    upto.observe(draw, "value")
    draw()
    pages = [page_of(e) for e in episodes[:still]]
    said = [", ".join(f"{t.verdict.kind} {t.reward:+g}" for t in e.turns) for e in episodes[:still]]
    words = f"Tries and rewards of {len(said)} of {len(episodes)} episodes: {'; '.join(said)}."
    present(w.VBox([w.HBox([which, upto]), page]), "<hr>".join(pages), words)


def revision_viewer(
    episodes: Sequence[Episode], tokenizer: PreTrainedTokenizerBase, still: int = 3
) -> None:
    """Step through the tries of played episodes: answer, verdict, message.

    Args:
        episodes: GeneralPoints episodes.
        tokenizer: theirs, to show the prompt (hover over the cards).
        still: episodes in the still picture.

    Raises:
        ValueError: no episode to show.
    """
    step_through(episodes, lambda e, *upto: episode_html(e, tokenizer, *upto), still)


# --- an episode about a picture, try by try ----------------------------------------------

SUIT_NAMES = {"♠": "spades", "♣": "clubs", "♥": "hearts", "♦": "diamonds"}
RANK_NAMES = {"A": "ace", "J": "jack", "Q": "queen", "K": "king"}


def picture_words(hand: Hand) -> str:
    """What a picture of a hand shows, for readers who cannot see it."""
    cards = [
        f"{RANK_NAMES.get(card, card)} of {SUIT_NAMES[suit]}"
        for card, suit in zip(hand.cards, hand.suits, strict=True)
    ]
    return f"Cards on a table: {', '.join(cards)}."


def picture_html(picture: Image.Image, alt: str, width: int = 240) -> str:
    """A picture within the page; when it is enlarged, every pixel of it is to be seen."""
    kind, data = notebook.embed(picture)
    style = f"width:{width}px;max-width:100%"
    style += ";image-rendering:pixelated" if picture.width < width else ""
    return f'<img alt="{html.escape(alt)}" src="data:{kind};base64,{data}" style="{style}">'


def seen_html(cards: Sequence[str], answer: dict) -> str:
    """The cards that an answer names, each marked right or wrong, and what it overlooked."""
    named = answer.get("cards")
    if not isinstance(named, list):
        return "no cards named"
    named = [str(card) for card in named]
    at_home = [card == there for card, there in zip(named, cards, strict=False)]
    left, boxes = Counter(cards), []
    left.subtract(card for card, home in zip(named, at_home, strict=False) if home)
    for i, card in enumerate(named):  # first come cards in their place, then any order
        right = at_home[i : i + 1] == [True]
        if not right and left[card] > 0:
            right = True
            left[card] -= 1
        line, word = ("solid", "right") if right else ("dashed", "wrong")
        style = f"{CARD};border:2px {line} #444444"
        shown = html.escape(card)
        boxes.append(f'<span style="{style}">{shown if right else f"<s>{shown}</s>"}</span>{word}')
    missed = list(left.elements())
    return " ".join(boxes) + (f"<br>overlooked: {html.escape(', '.join(missed))}" if missed else "")


def picture_episode_html(task: GeneralPoints, episode: Episode, upto: int | None = None) -> str:
    """The picture of an episode, and its first ``upto`` tries: cards read, answer, verdict."""
    hand, rows = episode.problem, []
    for i, turn in enumerate(episode.turns[:upto], 1):
        answer, v = read_answer(turn.answer) or {}, turn.verdict
        read = "–" if v.read is None else ", ".join(map(str, v.read))
        cells = [
            f"{i}",
            seen_html(hand.cards, answer),
            html.escape(read),
            f"<code>{html.escape(formula_of(answer, turn))}</code>",
            v.kind,
            f"{turn.reward:+g}",
            html.escape(v.message),
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = ("try", "cards read", "numbers", "formula", "verdict", "reward", "message")
    head = "".join(f"<th>{name}</th>" for name in names)
    picture = task.picture(hand)
    assert picture is not None  # these are episodes about pictures
    shown = picture_html(picture, picture_words(hand))
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    return f"<p>{shown}</p><p>{rule_words(hand)}</p>{table}"


def picture_viewer(task: GeneralPoints, episodes: Sequence[Episode], still: int = 3) -> None:
    """Step through episodes about pictures: what was shown, read, answered, said.

    Args:
        task: draws the pictures of the episodes' hands.
        episodes: GeneralPoints episodes; choose failing ones to learn from.
        still: episodes in the still picture.

    Raises:
        ValueError: no episode to show, or episodes without pictures.
    """
    if any(episode.problem.look is None for episode in episodes):
        raise ValueError("these hands are in text and have no picture; use revision_viewer")
    step_through(episodes, lambda e, *upto: picture_episode_html(task, e, *upto), still)
