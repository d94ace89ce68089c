"""Things to play with. Each widget carries a still picture of itself as HTML, which
shows wherever no kernel runs (GitHub, the printed page, ``SFTRL_STATIC=1``).
"""

from __future__ import annotations

import html
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import ipywidgets as w
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from PIL import Image
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sftrl_lite import navigation, notebook, plots
from sftrl_lite.cards import parse_rule
from sftrl_lite.city import LOOKS, load_city
from sftrl_lite.environments import NavigationEnv
from sftrl_lite.general_points import GeneralPoints, Hand, best_formula, write_answer
from sftrl_lite.intervals import power
from sftrl_lite.navigation import Decision, Navigation
from sftrl_lite.plots import PARTS
from sftrl_lite.rollouts import Episode, rollout
from sftrl_lite.routes import ABSOLUTE, Leg, Route, steps
from sftrl_lite.street_view import map_picture
from sftrl_lite.verifier import Verdict, read_answer

BOX = "display:inline-block;margin:2px;padding:2px 6px;border-radius:4px;color:#1a1a1a;"
CARD = BOX + "background:#ffffff;border:1px solid #767676;font-size:150%"


def present(widget: w.Widget, still: str, words: str) -> None:
    """Show the widget where one can run, ``still`` elsewhere, ``words`` where no page is."""
    bundle = {"text/html": still, "text/plain": words}
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
    hand, tries = task.sample(rng), []
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
    for piece, chance in zip(pieces, chances, strict=True):
        if chance is None:
            colour, note = "#e8e8e8", "given"
        else:
            colour, note = f"hsl(35,90%,{60 + 35 * chance:.0f}%)", f"chance {100 * chance:.1f} %"
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
    boxes = tokens_html([tokenizer.decode([i]) for i in episode.ids], chances)
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
            f"<code>{html.escape(str(answer.get('formula', turn.answer)))}</code>",
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
    return f'<p title="{html.escape(asked)}">{cards} {rule_words(hand)}</p>{table}'


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
            f"<code>{html.escape(str(answer.get('formula', turn.answer)))}</code>",
            v.kind,
            f"{turn.reward:+g}",
            html.escape(v.message),
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = ("try", "cards read", "numbers", "formula", "verdict", "reward", "message")
    head = "".join(f"<th>{name}</th>" for name in names)
    shown = picture_html(task.picture(hand), picture_words(hand))
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    return f"<p>{shown}</p><p>{rule_words(hand)}</p>{table}"


def picture_viewer(task: Any, episodes: Sequence[Episode], still: int = 3) -> None:
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


# --- a training, step by step ------------------------------------------------------------


def training_html(points: pd.DataFrame, share: float) -> str:
    """The curves as far as ``share`` of the training, their numbers as alternative text."""
    drawn = notebook.picture(plots.moment(points, share))
    return picture_html(drawn, plots.moment_words(points, share), width=840)


def training_table(points: pd.DataFrame) -> str:
    """What the slider would show, all of it: a row an evaluation, per cent and intervals."""
    rows = []
    for method, run in points.groupby("method", sort=False):
        for share, part in run.groupby("share"):
            cells = [plots.LOOKS[str(method)][3], f"{100 * share:.0f} %"]
            for _, row in part.iterrows():
                interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
                cells.append(f"{100 * row['mean']:.1f} {interval}")
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = ["method", "of its training", *map(plots.NAMES.get, points["split"].unique())]
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def training_slider(table: pd.DataFrame) -> None:
    """Drag over a training, or press the arrow keys; SFT and RL part under both rules.

    Args:
        table: rows in the form of the ledger, of one seed or several.

    Raises:
        ValueError: no success of SFT or RL in the table.
    """
    points = plots.progress(table)
    marks = np.linspace(0, 1, points.groupby(["method", "split"]).size().max()).tolist()
    draw = cache(lambda share: training_html(points, share))  # half a second a figure
    page = w.HTML(draw(0))
    slider = w.SelectionSlider(
        options=[(f"{100 * mark:.0f} %", mark) for mark in marks], description="Training"
    )
    slider.observe(lambda change: setattr(page, "value", draw(change["new"])), "value")
    still = draw(1) + training_table(points)
    present(w.VBox([slider, page]), still, plots.moment_words(points, 1))


# --- a walk, step by step ----------------------------------------------------------------


def map_html(route: Route, index: int | None = None, width: int = 560) -> str:
    """The map with the way to step ``index`` (a ring: the start, a disc: here), or the whole.

    Routes of real folders have no map; then a sentence says so.
    """
    if route.city not in LOOKS:
        return f"<p>No map of {html.escape(route.city)}.</p>"
    rail, shown = steps(route), route
    what = f"route {route.name}, {len(route.legs)} legs, {len(rail)} steps"
    if index is not None:
        here = rail[index]
        walked = route.legs[: here.instruction // 2]
        shown = replace(route, legs=(*walked, Leg(here.heading, here.place, None)))
        facing = ABSOLUTE.word(0, here.heading)
        what = f"walked to step {index + 1} of {len(rail)}, facing {facing}"
    alt = f"Map of {route.city}: {what}."
    return picture_html(map_picture(load_city(route.city), shown, width), alt, width)


def there_html(task: Navigation, decision: Decision) -> str:
    """What is there to see at a step: in words, or as the picture of four views."""
    picture = task.picture(decision)
    if picture is None:
        return f"<p>You see: {html.escape(task.observation(decision.step))}</p>"
    alt = "Four views, front and right above back and left: " + task.observation(decision.step)
    return picture_html(picture, alt)


Tried = tuple[int, str, str, float, str]  # step, action, kind, reward, message


def walk_html(task: Navigation, decision: Decision, tries: Sequence[Tried], ending: str) -> str:
    """Instructions, map, what is seen, and every try so far; ``ending`` if the walk is over."""
    orders = "".join(f"<li>{html.escape(o)}</li>" for o in task.instructions(decision.route))
    rows = "".join(
        f"<tr><td>{step + 1}</td><td><code>{html.escape(action)}</code></td><td>{kind}</td>"
        f"<td>{reward:+g}</td><td>{html.escape(message)}</td></tr>"
        for step, action, kind, reward, message in tries
    )
    names = ("step", "action", "verdict", "reward", "message")
    head = "".join(f"<th>{name}</th>" for name in names)
    facing = ABSOLUTE.word(0, decision.step.heading)
    now = f"<p>You face {facing}.</p>{there_html(task, decision)}"
    now = f"<p><b>{ending}</b></p>" if ending else now
    place = f"<div>{map_html(decision.route, decision.index)}</div><div>{now}</div>"
    flex = "display:flex;flex-wrap:wrap;gap:1em"
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f'<ol>{orders}</ol><div style="{flex}">{place}</div>{table}'


def walk_still(task: Navigation, route: Route) -> str:
    """The whole map, and the right walk as a table: what is seen, what is done."""
    rows = []
    for i, step in enumerate(steps(route)):
        here = Decision(route, i)
        verdict = task.verify(here, task.demonstration(here))
        cells = (there_html(task, here), f"<code>{task.action(step)}</code>", verdict.kind)
        cells = (f"{i + 1}", *cells, f"{verdict.reward:+g}")
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{n}</th>" for n in ("step", "seen", "action", "verdict", "reward"))
    orders = "".join(f"<li>{html.escape(order)}</li>" for order in task.instructions(route))
    return f"{map_html(route)}<ol>{orders}</ol><table><tr>{head}</tr>{''.join(rows)}</table>"


def walk_viewer(task: Navigation, route: Route | None = None, tries: int = 2) -> None:
    """Walk a route by hand: a button for each action that the prompt offers.

    What you see and which instruction holds is taken as read right; the action is judged.
    A right action moves on, ``tries`` wrong ones at a step end the walk.

    Args:
        task: navigation, in text or in pictures.
        route: the task's first one if not given.

    Raises:
        ValueError: fewer than one try.
    """
    route = route or task.routes[0]
    env = NavigationEnv(task=replace(task, routes=(route,)), tries=tries)
    here = env.reset(seed=0)[1]["problem"]
    done: list[Tried] = []
    page = w.HTML(walk_html(task, here, done, ""))
    offered = [navigation.FORWARD, navigation.STOP]
    offered += [f"{navigation.TURN}{word})" for word in task.actions.words]
    buttons = [w.Button(description=action, layout=w.Layout(width="auto")) for action in offered]
    again = w.Button(description="Start again")

    def act(button: w.Button) -> None:
        nonlocal here
        seen = task.observation(here.step)
        told = task.instructions(route)[here.step.instruction]
        answer = navigation.write_answer(seen, told, button.description)
        _, reward, arrived, lost, info = env.step(answer)
        done.append((here.index, button.description, info["kind"], reward, info["message"]))
        here = info["problem"] or here
        for other in buttons:
            other.disabled = arrived or lost
        ending = "You have arrived." if arrived else "The walk is over." if lost else ""
        page.value = walk_html(task, here, done, ending)

    def restart(_: w.Button) -> None:
        nonlocal here
        here = env.reset(seed=0)[1]["problem"]
        done.clear()
        for other in buttons:
            other.disabled = False
        page.value = walk_html(task, here, done, "")

    for button in buttons:
        button.on_click(act)
    again.on_click(restart)
    wrap = w.Layout(flex_flow="row wrap")
    way = ", ".join(task.action(step) for step in steps(route))
    words = f"Route {route.name} in {route.city}, {len(steps(route))} steps: {way}."
    still = walk_still(task, route)
    present(w.VBox([page, w.Box(buttons, layout=wrap), again]), still, words)


# --- how many episodes it takes ----------------------------------------------------------


def power_html(share: float, gain: float, episodes: int, seeds: int, spread: float) -> str:
    """What a comparison can see: its power, and the episodes for 80 %. All in per cent."""
    p1, p2 = share / 100, min(max((share + gain) / 100, 0.0), 1.0)
    noise = dict(seeds=seeds, spread=spread / 100)
    here = power(p1, p2, episodes, **noise)
    enough = next((n for n in SIZES if power(p1, p2, n, **noise) >= 0.8), None)
    needed = f"{enough:,} episodes a seed" if enough else "no number of episodes: more seeds"
    bar = (
        f'<span style="display:inline-block;height:1em;background:#0072B2;'
        f'width:{max(300 * here, 1):.0f}px"></span>'
    )
    return (
        f"<p>{share:g} % against {100 * p2:g} %, {episodes:,} episodes, {seeds} seed(s) a side, "
        f"{spread:g} points from seed to seed</p><p>{bar} seen in {100 * here:.0f} of 100 "
        f"repetitions; for 80 of 100 it takes {needed}</p>"
    )


SIZES = [round(10 ** (i / 20)) for i in range(20, 121)]  # 10 to a million episodes


def power_calculator(share: float = 11.5, gain: float = 3.5) -> None:
    """Choose a share, a gain, episodes, seeds and their spread; see whether it would be seen."""
    wide = dict(style={"description_width": "9em"}, layout=w.Layout(width="32em"))
    fields = (
        w.FloatSlider(share, min=0.5, max=99.5, step=0.5, description="Init solves, %", **wide),
        w.FloatSlider(gain, min=-30, max=30, step=0.5, description="true gain, points", **wide),
        w.SelectionSlider(options=[50, 100, 234, 500, 1000, 2000, 5000, 20000], value=234, **wide),
        w.IntSlider(1, min=1, max=20, description="seeds a side", **wide),
        w.FloatSlider(0, min=0, max=10, step=0.5, description="spread of seeds, points", **wide),
    )
    fields[2].description = "episodes a seed"
    page = w.HTML()

    def draw(*_: object) -> None:
        page.value = power_html(*(field.value for field in fields))

    for field in fields:
        field.observe(draw, "value")
    draw()
    cases = [(234, 1, 0), (1000, 1, 0), (1000, 3, 0), (1000, 3, 3), (20000, 3, 3), (1000, 20, 3)]
    still = "<hr>".join(power_html(share, gain, *case) for case in cases)
    present(w.VBox([*fields, page]), still, without_tags(still))


# --- what goes with forgetting -----------------------------------------------------------


def explorer(points: pd.DataFrame, picture_of: Callable[[str, str], tuple[str, str]]) -> None:
    """Choose what is drawn against what.

    Args:
        points: one run a row; its number columns can be chosen.
        picture_of: names of two columns to a picture as HTML and a sentence about it.
    """
    names = list(points.select_dtypes("number").columns)
    across = w.Dropdown(options=names, value=names[0], description="across")
    up = w.Dropdown(options=names, value=names[-1], description="up")
    page = w.HTML()

    def draw(*_: object) -> None:
        page.value = "".join(picture_of(across.value, up.value))

    across.observe(draw, "value")
    up.observe(draw, "value")
    draw()
    said = [picture_of(name, names[-1])[1] for name in names[:-1]]
    still = "".join(picture_of(names[0], names[-1])) + "<hr>" + "<br>".join(said)
    present(w.VBox([w.HBox([across, up]), page]), still, " ".join(said))


# --- memory of the full model ------------------------------------------------------------


def memory_html(parts: dict[str, float], gpus: dict[str, float]) -> str:
    """One bar of memory by part, and which GPUs have room for it."""
    total, scale = sum(parts.values()), 100 / max(*gpus.values(), sum(parts.values()))
    bar = "".join(
        f'<span title="{name}: {gib:.1f} GiB" style="display:inline-block;height:22px;'
        f'width:{gib * scale:.2f}%;background:{PARTS[name][0]}"></span>'
        for name, gib in parts.items()
    )
    rows = "".join(
        f'<tr><td><span style="{BOX}background:{PARTS[name][0]}">&nbsp;</span></td>'
        f"<td>{name}</td><td>{gib:.1f} GiB</td></tr>"
        for name, gib in parts.items()
        if gib >= 0.05
    )
    room = [f"{name} {'yes' if total + 1 <= size else 'no'}" for name, size in gpus.items()]
    told = f"<p><b>{total:.1f} GiB</b>, and 1 for CUDA. Fits: {', '.join(room)}.</p>"
    return f'<div style="white-space:nowrap">{bar}</div>{told}<table>{rows}</table>'


def memory_view(
    plans: dict[tuple[str, str, int, int], dict[str, float]], gpus: dict[str, float]
) -> None:
    """Choose mode, adapter, tiles and batch; see the memory by part and what it fits on.

    Args:
        plans: GiB by part, by (mode, adapter, tiles, batch).
        gpus: GiB by name.
    """

    def choices(place: int, mode: str | None = None) -> list:
        return list(dict.fromkeys(key[place] for key in plans if mode in (None, key[0])))

    page = w.HTML()
    mode = w.ToggleButtons(options=choices(0), description="Mode")
    adapter = w.ToggleButtons(options=choices(1), description="Adapter")
    tiles = w.SelectionSlider(options=choices(2), description="Tiles")
    batch = w.SelectionSlider(options=choices(3, mode.value), description="Batch")

    def draw(*_: object) -> None:
        page.value = memory_html(plans[mode.value, adapter.value, tiles.value, batch.value], gpus)

    def changed(_: object) -> None:
        batch.options = choices(3, mode.value)
        draw()

    mode.observe(changed, "value")
    for field in (adapter, tiles, batch):
        field.observe(draw, "value")
    draw()
    shown = {key: page for key, page in plans.items() if key[2:] == next(iter(plans))[2:]}
    still = "".join(
        f"<p>{key[0]}, {key[1]}, tiles {key[2]}, batch {key[3]}</p>{memory_html(p, gpus)}"
        for key, p in shown.items()
    )
    present(w.VBox([mode, adapter, tiles, batch, page]), still, without_tags(still))
