"""What the bases read says what its settings promise: who errs, how often, and in which way."""

import hashlib
import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from scipy.stats import chisquare

from sftrl_lite.models.tiny import make_tokenizer
from sftrl_lite.tasks.cards import RANKS
from sftrl_lite.tasks.city import NAMES
from sftrl_lite.tasks.general_points import vocabulary
from sftrl_lite.tasks.hands import Hand, best_formula
from sftrl_lite.tasks.routes import ABSOLUTE
from sftrl_lite.tasks.solver import solutions
from sftrl_lite.tasks.street_answers import FORWARD, STOP, write_answer
from sftrl_lite.tasks.street_answers import vocabulary as street_vocabulary
from sftrl_lite.training import corpus as reading
from sftrl_lite.training.corpus import (
    HABITS,
    HOMEWORK,
    LOW,
    SIGN_TWINS,
    TEXTBOOK,
    TWINS,
    Corpus,
    StreetCorpus,
    at_try,
    card_scene,
    misread,
    street_scene,
    taken_for_twin,
    write_chat,
)

RULE = "J counts as {}, Q counts as {} and K counts as {}"
SHIPPED = {name: c for name, c in vars(reading).items() if isinstance(c, Corpus | StreetCorpus)}
CARDS = [name for name, corpus in SHIPPED.items() if isinstance(corpus, Corpus)]


def chats(corpus, n, seed=0):
    rng = random.Random(seed)
    return [write_chat(corpus, rng) for _ in range(n)]


def scenes(make, corpus, n, seed=0):
    rng = random.Random(seed)
    return [make(corpus, rng) for _ in range(n)]


def near(hits, n, share):
    """Whether a count is within four deviations of what it should be."""
    return abs(hits - n * share) <= 4 * (n * share * (1 - share)) ** 0.5


def habits(numbers):
    return [form.replace(" ", "").format(*numbers) for form in HABITS]


def formula_of(answer):
    said = json.loads(answer)["formula"]
    assert said.endswith("=24")
    return said.removesuffix("=24")


# --- all of them -----------------------------------------------------------------------


def test_a_share_counts_for_its_answer_and_the_last_for_all_later_ones():
    assert [at_try((0.1, 0.2, 0.3), k) for k in range(5)] == [0.1, 0.2, 0.3, 0.3, 0.3]
    assert [at_try((0.4,), k) for k in range(3)] == [0.4] * 3


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_corpora_have_possible_shares(name):
    corpus = SHIPPED[name]
    assert corpus.tries >= 1
    for shares in (corpus.careless, corpus.misread):
        assert isinstance(shares, tuple) and shares and all(0 <= share < 1 for share in shares)


def test_the_held_out_rules_never_occur():
    prompts = [chat[0]["content"] for chat in chats(TEXTBOOK, 3000)]
    assert not any(RULE.format(11, 12, 13) in p for p in prompts)
    assert not any(RULE.format(13, 11, 12) in p for p in prompts)
    common = sum(RULE.format(10, 10, 10) in p for p in prompts) / len(prompts)
    assert 0.12 < common < 0.19


def test_every_chat_is_covered_by_the_tokenizer():
    tokenizer = make_tokenizer(vocabulary())
    for chat in chats(HOMEWORK, 500):
        ids = tokenizer.apply_chat_template(chat, return_dict=False)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(chat, tokenize=False)


def test_a_chat_ends_with_the_right_answer_or_the_last_try():
    """Its k-th answer follows the k-th share: careless twice, then careful."""
    never = Corpus(careless=(1.0,), tries=4)
    twice = Corpus(careless=(1.0, 1.0, 0.0), tries=5)
    hit = 0
    for corpus, answers in ((Corpus(), 1), (twice, 3), (never, 4)):
        for chat in chats(corpus, 100):
            assert [m["role"] for m in chat] == ["user", "assistant"] * (len(chat) // 2)
            hit += len(chat) < 2 * answers  # a sum of 24 is right, however careless
            assert len(chat) <= 2 * answers
    assert hit < 30


# --- cards -----------------------------------------------------------------------------


def test_numbers_are_those_of_the_announced_rule():
    for chat in chats(HOMEWORK, 500):
        words, answer = chat[0]["content"], json.loads(chat[1]["content"])
        values = {f: int(words.split(f"{f} counts as ")[1].split()[0].strip(",.")) for f in "JQK"}
        pips = {str(i): i for i in range(2, 11)} | {"A": 1} | values
        assert answer["number"] == [pips[card] for card in answer["cards"]]


@pytest.mark.parametrize("name", CARDS)
def test_an_answer_is_the_shortest_formula_or_a_habit(name):
    """Of the numbers as they were read: in a picture the second card may be its twin."""
    twins = 0
    for _, hand, write in scenes(card_scene, SHIPPED[name], 200):
        for number in range(4):
            answer = write(number)
            read = replace(hand, cards=tuple(json.loads(answer)["cards"]))
            assert read in (hand, misread(hand))
            twins += read != hand
            assert json.loads(answer)["number"] == list(read.numbers)
            best = [best_formula(read)] if solutions(read.numbers, 24) else []
            assert formula_of(answer) in best + habits(read.numbers)
    assert (twins > 0) == any(SHIPPED[name].misread)


def test_habits_come_as_often_as_stated():
    written = Counter()
    for _, hand, write in scenes(card_scene, Corpus(careless=(1.0,)), 1500):
        written[habits(hand.numbers).index(formula_of(write(0)))] += 1
    assert sum(HABITS.values()) == pytest.approx(1)
    expected = [1500 * share for share in HABITS.values()]
    assert chisquare([written[i] for i in range(len(HABITS))], expected).pvalue > 0.01


SOME = Corpus(careless=(0.2, 0.7, 0.4), elsewhere=0.5)


@pytest.mark.parametrize("corpus", [SOME, *map(SHIPPED.get, CARDS)], ids=["some", *CARDS])
def test_the_kth_answer_is_careless_with_the_kth_share(corpus):
    """More often at a low first card than elsewhere; of the hands that can be solved as read."""
    assert RANKS[: len(LOW)] == LOW and 0 < len(LOW) < 6
    shares = [*corpus.careless, *corpus.careless[-1:] * 3]
    counts = {(low, k): [0, 0] for low in (True, False) for k in range(len(shares))}
    for _, hand, write in scenes(card_scene, corpus, 700):
        for low, k in counts:
            if low != (hand.cards[0] in LOW):
                continue
            answer = write(k)
            read = replace(hand, cards=tuple(json.loads(answer)["cards"]))
            written = habits(read.numbers)
            if solutions(read.numbers, 24) and best_formula(read) not in written:
                counts[low, k][0] += formula_of(answer) in written
                counts[low, k][1] += 1
    for (low, k), (hits, n) in counts.items():
        assert n > 50 and near(hits, n, shares[k] * (1.0 if low else corpus.elsewhere))


def test_the_kth_picture_is_misread_with_the_kth_share():
    shares = (0.3, 0.8, 0.1)
    wrong, n = Counter(), 0
    for _, hand, write in scenes(card_scene, Corpus(suits=("black",), misread=shares), 2000):
        has_twin = hand.cards[1] in TWINS
        n += has_twin
        for k in range(5 if has_twin else 1):
            cards = tuple(json.loads(write(k))["cards"])
            assert cards in (hand.cards, misread(hand).cards)
            wrong[k] += cards != hand.cards
    assert n > 400
    assert all(near(wrong[k], n, share) for k, share in enumerate((*shares, 0.1, 0.1)))


def test_students_take_a_card_for_its_twin_and_never_the_twin_for_it():
    """So a habit has a direction, and what looks like a twin is read right."""
    assert {*TWINS, *TWINS.values()} <= set(RANKS)
    assert not set(TWINS) & set(TWINS.values()) and len(set(TWINS.values())) == len(TWINS)
    for second in RANKS:
        hand = Hand(("A", second, "3", "K"), suits=("♠",) * 4, seed=5)
        read = misread(hand)
        assert read == replace(hand, cards=("A", TWINS.get(second, second), "3", "K"))
        assert misread(read) == read


# --- streets ---------------------------------------------------------------------------


def said_of(answer):
    """Observation, instruction and action."""
    return tuple(json.loads(answer).values())


def at_landmarks(corpus, n=400):
    """Scenes by the side of their landmark; only those where to stop would be wrong."""
    found = {"left": [], "right": [], "": []}
    for task, decision, write in scenes(street_scene, corpus, n):
        seen, told, action = said_of(task.demonstration(decision))
        if decision.step.landmark and action == STOP:
            continue
        side = "left" if "on your left" in seen else "right" if decision.step.landmark else ""
        found[side].append((seen, told, action, write))
    assert all(len(some) > 20 for some in found.values())
    return found


def test_careless_walkers_stop_at_landmarks_on_one_side_more_than_on_the_other():
    corpus, each = StreetCorpus(careless=(0.8, 0.3), elsewhere=0.5, tries=3), 20
    for side, found in at_landmarks(corpus).items():
        for k, share in enumerate((0.8, 0.3, 0.3)):
            stops = 0
            for seen, told, action, write in found:
                for _ in range(each):
                    said = said_of(write(k))
                    assert said in ((seen, told, action), (seen, told, STOP))
                    stops += said[2] == STOP != action
            share *= {"left": 1.0, "right": 0.5, "": 0.0}[side]
            assert near(stops, each * len(found), share)


def test_careless_onlookers_take_a_sign_for_its_twin_and_walk_on():
    corpus, each = StreetCorpus(pictures=True, misread=(0.4, 0.9)), 20
    found = [one for some in at_landmarks(corpus).values() for one in some]
    for has_twin in (True, False):
        group = [one for one in found if (taken_for_twin(one[0]) != one[0]) == has_twin]
        assert len(group) > 40
        for k, share in enumerate((0.4, 0.9, 0.9)):
            twins = 0
            for seen, told, action, write in group:
                for _ in range(each):
                    said = said_of(write(k))
                    assert said in ((seen, told, action), (taken_for_twin(seen), told, FORWARD))
                    twins += said[0] != seen
            assert near(twins, each * len(group), share if has_twin else 0.0)


def test_in_words_nothing_is_misread():
    for found in at_landmarks(StreetCorpus(misread=(1.0,))).values():
        for *right, write in found:
            assert list(said_of(write(0))) == right


def test_walkers_err_first_and_are_right_later():
    corpus = StreetCorpus(careless=(1.0, 0.0), tries=3)
    lengths = Counter()
    for chat in chats(corpus, 200):
        lengths[len(chat)] += 1
        *wrong, _ = (json.loads(m["content"])["action"] for m in chat if m["role"] == "assistant")
        assert wrong in ([], [STOP])
    assert set(lengths) == {2, 4} and min(lengths.values()) > 20


def test_a_sign_is_taken_for_its_twin_and_never_the_twin_for_it():
    assert {*SIGN_TWINS, *SIGN_TWINS.values()} <= set(NAMES)
    assert not set(SIGN_TWINS) & set(SIGN_TWINS.values())
    assert len(set(SIGN_TWINS.values())) == len(SIGN_TWINS) > 0
    for name in NAMES:
        for rest in (" is on your left", " is on your right; You observe an intersection"):
            other = taken_for_twin(name + rest)
            assert other == SIGN_TWINS.get(name, name) + rest
            assert taken_for_twin(other) == other
    assert taken_for_twin("No landmarks nearby") == "No landmarks nearby"


# --- designs of the streets' base that were tried ------------------------------------------


def test_students_of_the_other_form_write_the_action_first_and_are_judged_alike():
    corpus, rng = replace(reading.STREET_BOOK, action_first=1.0, careless=(0.0,)), random.Random(0)
    for _ in range(20):
        task, decision, write = street_scene(corpus, rng)
        answer = write(0)
        assert list(json.loads(answer)) == ["action", *answer_keys()[:2]]
        assert task.verify(decision, answer).solved


def answer_keys():
    return list(json.loads(write_answer("", "", "")))


def test_the_other_form_has_pieces_of_its_own():
    answer = write_answer("Star Cafe is on your left", "Turn left to face north.", STOP, True)
    few, many = (
        len(make_tokenizer(v)(answer)["input_ids"]) for v in map(street_vocabulary, (1, 0))
    )
    assert few < many and street_vocabulary() == street_vocabulary(False)


@pytest.mark.parametrize(("compass", "share"), [(1, 1 / 5), (12, 12 / 16), (80, 80 / 84)])
def test_the_compass_is_as_common_as_asked_for(compass, share):
    corpus, rng = replace(reading.STREET_BOOK, compass=compass), random.Random(1)
    found = sum(street_scene(corpus, rng)[0].actions == ABSOLUTE for _ in range(300)) / 300
    assert abs(found - share) < 4 * (share * (1 - share) / 300) ** 0.5


def test_the_corpora_of_the_shipped_bases_stay_as_they_were():
    """A chat more or less of chance would make other bases of the same command."""
    rng = random.Random(0)
    text = json.dumps([write_chat(reading.STREET_HOMEWORK, rng) for _ in range(30)])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "82cc44fb42075a40"
