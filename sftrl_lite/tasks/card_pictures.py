"""Hands as pictures: cards on a table, drawn here, in any size.

How a picture looks is a ``Look``: suits, deck, and how far cards stray. Training shows one
look and the shifted evaluation another, so a *visual shift* is a family of settings, as
a rule shift is a family of rules. A picture is a function of its arguments alone.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sftrl_lite.tasks.cards import FACES, PIPS, RANKS

SUITS = {"black": "♠♣", "red": "♥♦", "mixed": "♠♣♥♦", "four-colour": "♣♦"}
DECKS = ("classic", "serif", "jumbo")
LAYOUTS = ("square", "row")
Ink = tuple[int, int, int]  # red, green and blue, from 0 to 255
INK = {"♠": (25, 25, 30), "♣": (25, 25, 30), "♥": (200, 25, 40), "♦": (200, 25, 40)}
FOUR_COLOUR = {"♣": (0, 120, 60), "♦": (20, 70, 200)}  # as in four-colour decks
TABLE = (38, 92, 66)
WIDTH, HEIGHT = 200, 280  # of a card, in its own units


@dataclass(frozen=True)
class Look:
    """How hands are shown.

    Args:
        suits: ``black`` (♠ ♣), ``red`` (♥ ♦), ``mixed``, or ``four-colour``: the green clubs
            and blue diamonds of a four-colour deck.
        deck: ``classic`` (index and pips), ``serif`` (the same in another typeface) or
            ``jumbo`` (a large index alone).
        stray: how far a card lies from its place at most, as a share of the card's width.
        turn: how far it is turned at most, in degrees.
        zoom: how much larger or smaller it is at most, as a share.
        noise: standard deviation of the grain, of 255 grey levels.
        layout: ``square`` (rows as long as there are rows) or ``row`` (one row).

    Raises:
        ValueError: an unknown suit set, deck or layout, or a negative amount.
    """

    suits: str = "black"
    deck: str = "classic"
    stray: float = 0.08
    turn: float = 5.0
    zoom: float = 0.06
    noise: float = 40.0
    layout: str = "square"

    def __post_init__(self) -> None:
        if self.suits not in SUITS:
            raise ValueError(f"unknown suits {self.suits!r}; choose {', '.join(SUITS)}")
        if self.deck not in DECKS:
            raise ValueError(f"unknown deck {self.deck!r}; choose {', '.join(DECKS)}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r}; choose {', '.join(LAYOUTS)}")
        if not all(0 <= x < 90 for x in (self.stray, self.turn, self.zoom, self.noise)):
            raise ValueError("stray, turn, zoom and noise are amounts from 0 to 90")

    def ink(self, suit: str) -> Ink:
        """The colour of a suit."""
        return FOUR_COLOUR[suit] if self.suits == "four-colour" else INK[suit]


# The pictures of the paper's release: one row of clean cards, 1200 pixels a side.
RELEASED = Look(stray=0, turn=0, zoom=0, noise=0, layout="row")
RELEASED_SIZE = 1200


def draw_suit(draw: ImageDraw.ImageDraw, suit: str, x: float, y: float, r: float, ink: Ink) -> None:
    """A suit's symbol around (x, y), about 2r wide and high."""

    def disc(dx: float, dy: float, radius: float) -> None:
        cx, cy, radius = x + dx * r, y + dy * r, radius * r
        draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=ink)

    def shape(*points: tuple[float, float]) -> None:
        draw.polygon([(x + dx * r, y + dy * r) for dx, dy in points], fill=ink)

    stem = ((-0.4, 1.0), (0.4, 1.0), (0.0, 0.0))
    if suit == "♦":
        shape((0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0))
    elif suit == "♥":
        disc(-0.46, -0.4, 0.5)
        disc(0.46, -0.4, 0.5)
        shape((-0.93, -0.22), (0.93, -0.22), (0, 1.05))
    elif suit == "♠":
        disc(-0.46, 0.25, 0.5)
        disc(0.46, 0.25, 0.5)
        shape((-0.93, 0.07), (0.93, 0.07), (0, -1.1))
        shape(*stem)
    else:
        disc(0, -0.52, 0.46)
        disc(-0.5, 0.22, 0.46)
        disc(0.5, 0.22, 0.46)
        shape(*stem)


@lru_cache(maxsize=16)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A typeface that comes with matplotlib, hence is the same on every machine."""
    import matplotlib  # late: it is slow to import, and only pictures need it

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}-Bold.ttf"), size)


def pip_places(count: int) -> list[tuple[float, float]]:
    """Where the pips of a number card stand: two columns, then the middle, from 0 to 1."""
    column = count // 2 if count > 3 else 0
    rows = [i / max(column - 1, 1) for i in range(column)]
    places = [(side, row) for side in (0.0, 1.0) for row in rows]
    middle = count - len(places)
    return places + [(0.5, (i + 0.5) / max(middle, column - 1)) for i in range(middle)]


@lru_cache(maxsize=512)
def card_face(rank: str, suit: str, look: Look) -> Image.Image:
    """One card, upright, 200 x 280, transparent outside its round corners."""
    card = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    draw, ink = ImageDraw.Draw(card), look.ink(suit)
    box = (1, 1, WIDTH - 2, HEIGHT - 2)
    draw.rounded_rectangle(box, 18, fill=(250, 249, 245), outline=(120, 120, 120), width=3)
    typeface = font("DejaVuSerif" if look.deck == "serif" else "DejaVuSans", 150)
    large = look.deck == "jumbo"
    letter = Image.new("L", (320, 190))
    ImageDraw.Draw(letter).text((160, 95), rank, 255, typeface, anchor="mm")
    letter = letter.crop(letter.getbbox())
    wide, high = (170, 150) if large else (96, 112)
    letter = letter.resize((min(wide, letter.width * high // letter.height), high))
    left, top = ((WIDTH - letter.width) // 2, 18) if large else (14, 18)
    card.paste(Image.new("RGBA", letter.size, (*ink, 255)), (left, top), letter)
    if large:
        draw_suit(draw, suit, WIDTH / 2, 222, 42, ink)
        return card
    draw_suit(draw, suit, 52, 176, 34, ink)
    if rank in FACES:
        draw.rectangle((118, 22, 184, 258), fill=(236, 214, 150), outline=ink, width=5)
        points = {"J": 1, "Q": 3, "K": 5}[rank]  # of the crown
        for i in range(points):
            x = 151 + (i - (points - 1) / 2) * 48 / points
            draw.polygon([(x - 9, 120), (x + 9, 120), (x, 70)], fill=ink)
        draw.rectangle((127, 118, 175, 136), fill=ink)
        draw_suit(draw, suit, 151, 195, 24, ink)
    else:
        for across, down in pip_places(PIPS[rank]):
            draw_suit(draw, suit, 130 + 44 * across, 45 + 190 * down, 17, ink)
    return card


@lru_cache(maxsize=512)
def small_face(rank: str, suit: str, look: Look, height: int) -> Image.Image:
    """A card at nearly its final height: shrinking the large one each time would be slow."""
    shape = (max(round(height * WIDTH / HEIGHT), 1), max(height, 1))
    return card_face(rank, suit, look).resize(shape, Image.Resampling.LANCZOS)


def draw_table(
    cards: tuple[str, ...], suits: tuple[str, ...], look: Look, size: int = 224, seed: int = 0
) -> Image.Image:
    """A hand on a table: a square picture, cards in reading order, as the look lays them out.

    Args:
        cards: 1 to 16 ranks.
        suits: one suit a card.
        size: width and height in pixels, at least 16.
        seed: which of the look's pictures of this hand.

    Raises:
        ValueError: unknown rank or suit, no or too many cards, or too small a size.
    """
    if not 1 <= len(cards) <= 16 or len(cards) != len(suits):
        raise ValueError(
            f"{len(cards)} cards and {len(suits)} suits; a picture has 1 to 16 of each"
        )
    if unknown := (set(cards) - set(RANKS)) | (set(suits) - set(INK)):
        raise ValueError(f"unknown card or suit {', '.join(sorted(unknown))}")
    if size < 16:
        raise ValueError(f"a picture of {size} pixels is too small; 16 is the least")
    rng = random.Random(f"table/{seed}")
    row = look.layout == "row"
    across = len(cards) if row else math.ceil(math.sqrt(len(cards)))
    place = size / across  # a square in which a card lies; a row's may be higher than it
    tall = min((1.2 if row else 0.92) * place, 0.92 * size)
    table = Image.new("RGB", (size, size), TABLE)
    for i, (rank, suit) in enumerate(zip(cards, suits, strict=True)):
        height = round(tall * (1 + rng.uniform(-look.zoom, look.zoom)))
        card = small_face(rank, suit, look, height)
        stray = look.stray * card.width
        card = card.rotate(
            rng.uniform(-look.turn, look.turn), Image.Resampling.BICUBIC, expand=True
        )
        x = (i % across + 0.5) * place + rng.uniform(-stray, stray)
        y = (size / 2 if row else (i // across + 0.5) * place) + rng.uniform(-stray, stray)
        table.paste(card, (round(x - card.width / 2), round(y - card.height / 2)), card)
    if not look.noise:
        return table
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0, look.noise, (size, size, 1))
    return Image.fromarray(np.clip(np.asarray(table) + grain, 0, 255).astype(np.uint8))
