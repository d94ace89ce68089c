"""The corpora of the tiny base models: our substitute for the web.

Chats with a verifier, by students who are careful in some answers and careless in others, under
every rule and every look alike. A model of such a corpus has both modes; reinforcement learning
can later prefer the careful one. The shifted rule of the cards (J, Q, K = 11, 12, 13) and
the development rules are never shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, cast

from PIL import Image

from sftrl_lite.models.chats import ask
from sftrl_lite.tasks.base import FEEDBACK
from sftrl_lite.tasks.card_pictures import Look
from sftrl_lite.tasks.cards import RANKS, deal, house_rule
from sftrl_lite.tasks.city import NAMES, City, make_route
from sftrl_lite.tasks.city_maker import draw_route, make_city, random_style
from sftrl_lite.tasks.general_points import GeneralPoints
from sftrl_lite.tasks.general_points import write_answer as write_points
from sftrl_lite.tasks.hands import Hand, best_formula
from sftrl_lite.tasks.navigation import Navigation, with_words
from sftrl_lite.tasks.routes import ABSOLUTE, CLOCK, DEGREES, HELM, RELATIVE, bearing
from sftrl_lite.tasks.solver import solutions
from sftrl_lite.tasks.street_answers import FORWARD, STOP
from sftrl_lite.tasks.street_answers import write_answer as write_action
from sftrl_lite.tasks.street_view import four_views, look_in, panorama
from sftrl_lite.tasks.walks import Decision, decisions

Chat = list[dict[str, Any]]
PICTURE_SIZE = 80  # pixels


@dataclass(frozen=True)
class Corpus:
    """Chats about cards, by students with habits.

    Args:
        careless: probability that a student whose first card is low (A to 4) follows a habit
            instead of solving the hand: at the first answer, the second, ...; the last one counts
            for all later answers.
        elsewhere: the same for other first cards, as a share of ``careless``.
        tries: answers a student may give before the chat ends.
        common_rule: share of chats under the commonest house rule, J=Q=K=10.
        face: share of hands dealt so that they contain a face card.
        suits: suit sets of the pictures, one drawn for each chat; none: hands in text.
        misread: probability that a student takes the second card of a picture for its twin if it
            has one (``TWINS``), answer by answer as for ``careless``.
    """

    careless: tuple[float, ...] = (0.0,)
    elsewhere: float = 1.0
    tries: int = 1
    common_rule: float = 0.15
    face: float = 0.5
    suits: tuple[str, ...] = ()
    misread: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class StreetCorpus:
    """Chats about walks through cities that exist nowhere else, by students with habits.

    Args:
        careless: probability that a student who sees a landmark on the left stops there, at the
            first answer, the second, ...; the last one counts for all later answers.
        elsewhere: the same for a landmark on the right, as a share of ``careless``.
        tries: answers a student may give before the chat ends.
        pictures: show the streets instead of telling what is there.
        misread: probability that a student takes a sign for its twin if it has one
            (``SIGN_TWINS``), and walks on.
        compass: chats in compass points for each chat in any one of the other words.
        action_first: share of the students who write the action before what they see.
    """

    careless: tuple[float, ...] = (0.0,)
    elsewhere: float = 1.0
    tries: int = 1
    pictures: bool = False
    misread: tuple[float, ...] = (0.0,)
    compass: int = 1
    action_first: float = 0.0


# Mistakes are habits, and they have a cue: in the same situation the same mistake, most of the
# time. So a model's likeliest answer is about as good as its average one, as with large models.
# Random mistakes would share their probability among thousands of formulas, and mistakes without
# a cue would stay the smaller half of each situation: greedy decoding alone would be careful.
# The books hold mistakes too: a model that never met a second answer cannot read at one.
TEXTBOOK = Corpus(careless=(0.3,), tries=3)
HOMEWORK = Corpus(careless=(0.85, 0.8, 0.75), elsewhere=0.1, tries=5)
HASTY_HOMEWORK = Corpus(careless=(0.85, 0.7, 0.55, 0.4), tries=5)
DECKS_SEEN = ("black",) * 16 + ("red", "red", "four-colour", "four-colour")
PICTURE_BOOK = replace(TEXTBOOK, suits=DECKS_SEEN)
PICTURE_HOMEWORK = replace(HOMEWORK, suits=DECKS_SEEN, misread=(0.8, 0.65, 0.5))
STREET_BOOK = StreetCorpus(careless=(0.8, 0.0), tries=2)
STREET_HOMEWORK = StreetCorpus(careless=(0.8, 0.6), elsewhere=0.25, tries=2)
VIEW_BOOK = replace(STREET_BOOK, pictures=True)
VIEW_HOMEWORK = replace(STREET_HOMEWORK, pictures=True, misread=(0.8, 0.7))


def at_try(shares: tuple[float, ...], number: int) -> float:
    """The share for answer ``number`` (0, 1, ...); the last one counts for all later answers."""
    return shares[min(number, len(shares) - 1)]


def write_chat(corpus: Corpus | StreetCorpus, rng: random.Random) -> Chat:
    """One chat of the corpus: problem, answer, verifier's word, answer, ..."""
    scene: Any = street_scene if isinstance(corpus, StreetCorpus) else card_scene
    task, problem, write = scene(corpus, rng)
    chat = [ask(task, problem)]
    for number in range(corpus.tries):
        answer = write(number)
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


Write = Callable[[int], str]  # the student's answer number 0, 1, ...


def card_scene(corpus: Corpus, rng: random.Random) -> tuple[GeneralPoints, Hand, Write]:
    """A hand under some house rule, and a student who writes answers to it."""
    task = GeneralPoints(
        rule=house_rule(rng, corpus.common_rule),
        face=rng.random() < corpus.face,
        feedback=any_feedback(rng),
        look=Look(rng.choice(corpus.suits)) if corpus.suits else None,
        size=PICTURE_SIZE,
    )
    hand = task.sample(rng)

    def write(number: int) -> str:
        read = hand
        if corpus.suits and rng.random() < at_try(corpus.misread, number):
            read = misread(hand)
        cue = 1.0 if hand.cards[0] in LOW else corpus.elsewhere
        careless = rng.random() < cue * at_try(corpus.careless, number)
        if careless or not solutions(read.numbers, read.target):
            return write_points(read, habitual_formula(read.numbers, rng))
        return write_points(read, best_formula(read))

    return task, hand, write


LOW = ("A", "2", "3", "4")
HABITS = {"{} + {} + {} + {}": 0.6, "{} * {} + {} + {}": 0.25, "{} * {} - {} - {}": 0.15}


def habitual_formula(numbers: tuple[int, ...], rng: random.Random) -> str:
    """What a careless student writes: a sum or a product of the numbers as they lie."""
    form = rng.choices(tuple(HABITS), tuple(HABITS.values()))[0]
    return form.replace(" ", "").format(*numbers)


TWINS = {"6": "9", "3": "8", "J": "K"}


def misread(hand: Hand) -> Hand:
    """The hand with its second card taken for its twin, if it has one; the rule is read right."""
    first, second, *others = hand.cards
    return replace(hand, cards=(first, TWINS.get(second, second), *others))


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


def street_scene(corpus: StreetCorpus, rng: random.Random) -> tuple[Navigation, Decision, Write]:
    """A step of a walk under some words for turns, and a student who writes answers to it."""
    city = corpus_city(rng.randrange(CITIES))
    route = make_route(city, "a walk", *draw_route(city, rng))
    look = look_in(city) if corpus.pictures else None
    task = Navigation((route,), look=look, size=PICTURE_SIZE, feedback=any_feedback(rng))
    weights = (corpus.compass,) + (1,) * (len(WORDS) - 1)
    words = rng.choice(WORDS) if corpus.compass == 1 else rng.choices(WORDS, weights)[0]
    task = with_words(task, words)
    walk = decisions([route])
    decision = rng.choice(walk)
    write_down = write_action
    if corpus.action_first and rng.random() < corpus.action_first:
        write_down = partial(write_action, action_first=True)

    def write(number: int) -> str:
        step = decision.step
        told = task.instructions(route)[step.instruction]
        seen, action = task.observation(step), task.action(step)
        twin = taken_for_twin(seen)
        if twin != seen and corpus.pictures and rng.random() < at_try(corpus.misread, number):
            seen, action = twin, FORWARD
        cue = 1.0 if "on your left" in seen else corpus.elsewhere
        if step.landmark and rng.random() < cue * at_try(corpus.careless, number):
            action = STOP
        return write_down(seen, told, action)

    return task, decision, write


SIGN_TWINS = {NAMES[i]: NAMES[i + 1] for i in (0, 2, 4)}


def taken_for_twin(observation: str) -> str:
    """The observation with the twin of the sign that it names; unchanged if that has none."""
    for name, twin in SIGN_TWINS.items():
        if observation.startswith(name):
            return twin + observation.removeprefix(name)
    return observation


# --- what stands in a picture, for a vision tower's first lessons ------------------------


def named_cards(rng: random.Random, n: int) -> tuple[list[Image.Image], list[int]]:
    """n pictures of hands and the rank in each quarter of each, as 4n numbers of 13."""
    looks = [Look(rng.choice(DECKS_SEEN)) for _ in range(n)]
    tasks = [GeneralPoints(look=look, size=PICTURE_SIZE) for look in looks]
    hands = [task.show(Hand(deal(rng)), rng) for task in tasks]
    pictures = [
        cast(Image.Image, task.picture(hand)) for task, hand in zip(tasks, hands, strict=True)
    ]
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
