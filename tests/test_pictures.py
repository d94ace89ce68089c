"""Drawn hands: the same by seed, readable at any size, and no two looks or ranks alike."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sftrl_lite.tasks.card_pictures import (
    DECKS,
    INK,
    SUITS,
    TABLE,
    Look,
    card_face,
    draw_table,
    pip_places,
)
from sftrl_lite.tasks.cards import PIPS, RANKS

HAND = ("A", "7", "10", "Q")
BLACK = ("♠", "♣", "♠", "♣")
CLEAN = Look(noise=0)


def grey(picture):
    return np.asarray(picture.convert("L"), dtype=float)


def coloured(look, suits, seed=0):
    """How many pixels of a clean picture are clearly red, green, blue; the table's not counted."""
    picture = draw_table(HAND, suits, replace(look, noise=0), 224, seed)
    pixels = np.asarray(picture, dtype=int)
    cards = np.abs(pixels - TABLE).sum(-1) > 60
    lead = [3 * pixels[..., i] - pixels.sum(-1) for i in range(3)]
    return [int(((channel > 120) & cards).sum()) for channel in lead]


# --- a picture is a function of its arguments --------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    cards=st.lists(st.sampled_from(RANKS), min_size=1, max_size=16),
    size=st.integers(16, 560),
    suits=st.sampled_from(sorted(SUITS)),
    deck=st.sampled_from(DECKS),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_any_hand_in_any_look_and_size_is_a_square_rgb_picture(
    cards, size, suits, deck, seed, data
):
    drawn = data.draw(st.lists(st.sampled_from(SUITS[suits]), min_size=16, max_size=16))
    arguments = tuple(cards), tuple(drawn[: len(cards)]), Look(suits, deck), size, seed
    picture = draw_table(*arguments)
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.size) == ("RGB", (size, size))
    assert picture.tobytes() == draw_table(*arguments).tobytes()


@pytest.mark.parametrize("look", [CLEAN, Look(stray=0, turn=0, zoom=0)], ids=["lie", "grain"])
def test_another_seed_is_another_picture(look):
    pictures = {draw_table(HAND, BLACK, look, 80, seed).tobytes() for seed in range(20)}
    assert len(pictures) == 20


def test_without_stray_and_noise_the_seed_changes_nothing():
    still = Look(stray=0, turn=0, zoom=0, noise=0)
    one, two = (draw_table(HAND, BLACK, still, 80, seed) for seed in (1, 2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"deck": "serif"},
        {"deck": "jumbo"},
        {"stray": 0.3},
        {"turn": 25.0},
        {"zoom": 0.3},
        {"noise": 10.0},
    ],
    ids=str,
)
def test_every_part_of_a_look_shows(change):
    base = draw_table(HAND, BLACK, CLEAN, 80, 3)
    other = draw_table(HAND, BLACK, replace(CLEAN, **change), 80, 3)
    assert np.abs(grey(base) - grey(other)).mean() > 2


@pytest.mark.parametrize("suit", INK)
@pytest.mark.parametrize("rank", RANKS)
def test_every_card_is_drawn_from_the_smallest_size_to_the_largest(rank, suit):
    for size in (16, 80, 560):
        picture = draw_table((rank,), (suit,), CLEAN, size)
        light = grey(picture)
        assert light.max() > 200  # paper
        if size > 16:
            assert light.min() < 100  # ink
            bare = draw_table((rank,), (suit,), CLEAN, size, seed=1)
            assert picture.tobytes() != bare.tobytes()


def test_cards_lie_in_reading_order_within_their_places():
    four = np.asarray(draw_table(HAND, BLACK, CLEAN, 200), dtype=int)
    for row in (0, 100):
        for column in (0, 100):
            place = four[row : row + 100, column : column + 100]
            on_card = np.abs(place - TABLE).sum(-1) > 60
            assert 0.3 < on_card.mean() < 0.8
    swapped = np.asarray(draw_table(("7", "A", "10", "Q"), BLACK, CLEAN, 200), dtype=int)
    assert (four[:100] != swapped[:100]).any()
    assert (four[110:] == swapped[110:]).all()


# --- suits and ranks ---------------------------------------------------------------------


def test_black_suits_have_no_colour_and_the_others_have_theirs():
    assert coloured(Look("black", "jumbo"), BLACK) == [0, 0, 0]
    red, green, blue = coloured(Look("red", "jumbo"), ("♥", "♦") * 2)
    assert red > 500 and green == blue == 0
    red, green, blue = coloured(Look("four-colour", "jumbo"), ("♣", "♦") * 2)
    assert red == 0 and green > 100 and blue > 200


def test_ranks_differ_more_than_the_places_of_a_card():
    """Else a picture would not say which card it shows."""
    calm = Look(stray=0, turn=1, zoom=0.02, noise=0)
    shown = {
        rank: [grey(draw_table((rank,), ("♠",), calm, 80, seed)) for seed in range(4)]
        for rank in RANKS
    }

    def distance(a, b):
        return min(np.abs(x - y).mean() for x in shown[a] for y in shown[b] if x is not y)

    for a, b in combinations(RANKS, 2):
        assert distance(a, b) > max(distance(a, a), distance(b, b)), (a, b)


def test_a_face_is_never_two_cards_even_where_it_is_small():
    for deck in DECKS:
        faces = [card_face(r, s, Look("mixed", deck)).tobytes() for r in RANKS for s in INK]
        assert len(set(faces)) == len(RANKS) * len(INK)


@pytest.mark.parametrize("rank", [rank for rank in RANKS if rank not in "JQK"])
def test_a_number_card_has_its_number_of_pips(rank):
    places = pip_places(PIPS[rank])
    assert len(places) == len(set(places)) == PIPS[rank]
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in places)
    card = np.asarray(card_face(rank, "♦", Look("red")).convert("RGB"), dtype=int)
    for across, down in places:  # the middle of each diamond is inked
        x, y = round(130 + 44 * across), round(45 + 190 * down)
        assert tuple(card[y, x]) == INK["♦"]


# --- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "suits", "size", "message"),
    [
        (("1",), ("♠",), 80, "unknown card or suit 1"),
        (("A",), ("♤",), 80, "unknown card or suit ♤"),
        ((), (), 80, "0 cards and 0 suits"),
        (("A",) * 17, ("♠",) * 17, 80, "17 cards and 17 suits; a picture has 1 to 16"),
        (("A", "2"), ("♠",), 80, "2 cards and 1 suits"),
        (("A",), ("♠",), 15, "15 pixels is too small; 16"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(cards, suits, size, message):
    with pytest.raises(ValueError, match=message) as caught:
        draw_table(cards, suits, CLEAN, size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"suits": "purple"}, "unknown suits 'purple'; choose black, red, mixed, four-colour"),
        ({"deck": "tarot"}, "unknown deck 'tarot'; choose classic, serif, jumbo"),
        ({"turn": -1}, "amounts from 0 to 90"),
        ({"noise": 300}, "amounts from 0 to 90"),
        ({"stray": float("nan")}, "amounts from 0 to 90"),
    ],
    ids=str,
)
def test_a_look_that_is_none_is_one_line(fields, message):
    with pytest.raises(ValueError, match=message):
        Look(**fields)
