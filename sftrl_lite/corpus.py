"""What the tiny base models read: our stand-in for the web.

Chats with a verifier, by students who are careful in some answers and careless in others, under
every rule and every look alike. A model of such a corpus has both modes; reinforcement learning
can later prefer the careful one. The shifted rule of the cards (J, Q, K = 11, 12, 13) and
the development rules are never shown.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from PIL import Image

from sftrl_lite.cards import RANKS, deal, house_rule
from sftrl_lite.city import City, draw_route, make_city, make_route, random_style
from sftrl_lite.general_points import GeneralPoints, Hand, best_formula
from sftrl_lite.general_points import write_answer as write_points
from sftrl_lite.navigation import (
    Decision,
    Navigation,
    decisions,
    look_in,
    with_words,
)
from sftrl_lite.navigation import write_answer as write_action
from sftrl_lite.pictures import Look
from sftrl_lite.routes import ABSOLUTE, CLOCK, DEGREES, HELM, RELATIVE, bearing
from sftrl_lite.solver import random_formula, solutions
from sftrl_lite.street_view import four_views, panorama
from sftrl_lite.verifier import FEEDBACK
from sftrl_lite.vision import ask

Chat = list[dict[str, Any]]
PICTURE_SIZE = 80  # pixels


@dataclass(frozen=True)
class Corpus:
    """Chats about cards.

    Args:
        guess: chance that a student writes a random formula instead of a solution.
        tries: answers a student may give before the chat ends.
        common_rule: share of chats under the commonest house rule, J=Q=K=10.
        face: share of hands dealt so that they hold a face card.
        suits: suit sets of the pictures, one drawn for each chat; none: hands in text.
        misread: chance that a student takes one card of the picture for another.
    """

    guess: float = 0.0
    tries: int = 1
    common_rule: float = 0.15
    face: float = 0.5
    suits: tuple[str, ...] = ()
    misread: float = 0.0


@dataclass(frozen=True)
class StreetCorpus:
    """Chats about walks through cities that exist nowhere else.

    Args:
        guess: chance that a student takes any action instead of the right one.
        tries: answers a student may give before the chat ends.
        pictures: show the streets instead of telling what is there.
        misread: chance that a student misses or imagines something in the picture, and acts so.
    """

    guess: float = 0.0
    tries: int = 1
    pictures: bool = False
    misread: float = 0.0


TEXTBOOK = Corpus()
HOMEWORK = Corpus(guess=0.5, tries=5)
DECKS_SEEN = ("black",) * 16 + ("red", "red", "four-colour", "four-colour")
PICTURE_BOOK = Corpus(suits=DECKS_SEEN)
PICTURE_HOMEWORK = Corpus(guess=0.5, tries=5, suits=DECKS_SEEN, misread=0.25)
STREET_BOOK = StreetCorpus()
STREET_HOMEWORK = StreetCorpus(guess=0.3, tries=2)
VIEW_BOOK = StreetCorpus(pictures=True)
VIEW_HOMEWORK = StreetCorpus(guess=0.3, tries=2, pictures=True, misread=0.25)


def write_chat(corpus: Corpus | StreetCorpus, rng: random.Random) -> Chat:
    """One chat of the corpus: problem, answer, verifier's word, answer, ..."""
    scene = street_scene if isinstance(corpus, StreetCorpus) else card_scene
    task, problem, write = scene(corpus, rng)
    chat = [ask(task, problem)]
    for _ in range(corpus.tries):
        answer = write()
        verdict = task.verify(problem, answer)
        chat.append({"role": "assistant", "content": answer})
        if verdict.solved:
            break
        chat.append({"role": "user", "content": verdict.message})
    return chat[: 2 * corpus.tries]


def any_feedback(rng: random.Random) -> str:
    """A verifier's habit: mostly the paper's message, sometimes another."""
    return rng.choice(("binary",) * 3 + FEEDBACK)


# --- cards -------------------------------------------------------------------------------


def card_scene(corpus: Corpus, rng: random.Random) -> tuple[GeneralPoints, Hand, Callable[[], str]]:
    """A hand under some house rule, and a student who writes answers to it."""
    task = GeneralPoints(
        rule=house_rule(rng, corpus.common_rule),
        face=rng.random() < corpus.face,
        feedback=any_feedback(rng),
        look=Look(rng.choice(corpus.suits)) if corpus.suits else None,
        size=PICTURE_SIZE,
    )
    hand = task.sample(rng)

    def write() -> str:
        guess = rng.random() < corpus.guess
        read = misread(hand, rng) if corpus.suits and rng.random() < corpus.misread else hand
        guess = guess or (read is not hand and not solutions(read.numbers, read.target))
        formula = random_formula(read.numbers, rng) if guess else best_formula(read)
        return write_points(read, formula)

    return task, hand, write


def misread(hand: Hand, rng: random.Random) -> Hand:
    """The hand with one card taken for another; the rule is still read right."""
    cards = list(hand.cards)
    place = rng.randrange(len(cards))
    cards[place] = rng.choice([rank for rank in RANKS if rank != cards[place]])
    return replace(hand, cards=tuple(cards))


# --- streets -----------------------------------------------------------------------------

# All words are in the corpus, the shifted rule's and the development rule's too: a word that was
# never written cannot be answered, and left and right are no news to any language model.
WORDS = (ABSOLUTE, RELATIVE, CLOCK, DEGREES, HELM)
CITIES = 200


@lru_cache(maxsize=CITIES)
def corpus_city(number: int) -> City:
    """A city of the corpus, in a style of its own. None of the shipped ones is among them."""
    name, style = f"Corpus City {number}", random_style(random.Random(f"style/{number}"))
    return make_city(name, 100_000 + number, style)


def street_scene(
    corpus: StreetCorpus, rng: random.Random
) -> tuple[Navigation, Decision, Callable[[], str]]:
    """A step of a walk under some words for turns, and a student who writes answers to it."""
    city = corpus_city(rng.randrange(CITIES))
    route = make_route(city, "a walk", *draw_route(city, rng))
    look = look_in(city) if corpus.pictures else None
    task = Navigation((route,), look=look, size=PICTURE_SIZE, feedback=any_feedback(rng))
    task = with_words(task, rng.choice(WORDS))
    walk = decisions([route])
    decision = rng.choice(walk)

    def write() -> str:
        answer = task.demonstration(decision)
        if corpus.pictures and rng.random() < corpus.misread:
            # as if standing at another step of the same walk
            answer = task.demonstration(rng.choice(walk))
        if rng.random() < corpus.guess:
            turns = [f"turn_direction({word})" for word in task.actions.words]
            said = json.loads(answer)
            answer = write_action(
                *list(said.values())[:2], rng.choice(["forward()", "stop()", *turns])
            )
        return answer

    return task, decision, write


# --- what stands in a picture, for a vision tower's first lessons ------------------------


def named_cards(rng: random.Random, n: int) -> tuple[list[Image.Image], list[int]]:
    """n pictures of hands and the rank in each quarter of each, as 4n numbers of 13."""
    looks = [Look(rng.choice(DECKS_SEEN)) for _ in range(n)]
    tasks = [GeneralPoints(look=look, size=PICTURE_SIZE) for look in looks]
    hands = [task.show(Hand(deal(rng)), rng) for task in tasks]
    pictures = [task.picture(hand) for task, hand in zip(tasks, hands, strict=True)]
    return pictures, [RANKS.index(rank) for hand in hands for rank in hand.cards]


def named_views(rng: random.Random, n: int) -> tuple[list[Image.Image], list[int]]:
    """n pictures of four views and the sign in each, as 4n numbers: 0 is none, 1 to 10 a kind."""
    pictures, names = [], []
    for _ in range(n):
        city = corpus_city(rng.randrange(CITIES))
        spot = rng.choice(sorted(city.landmark_at)) if rng.random() < 0.8 else None
        spot = rng.randrange(len(city.spots)) if spot is None else spot
        heading = rng.uniform(0, 360)
        pictures.append(four_views(panorama(city, spot, PICTURE_SIZE), heading, PICTURE_SIZE))
        views = [0, 0, 0, 0]  # front, right, back, left
        if spot in city.landmark_at:
            kind, place = city.landmark_at[spot]
            around = (bearing(city.spots[spot], place) - heading + 45) % 360
            views[int(around // 90)] = 1 + kind
        names += views
    return pictures, names
