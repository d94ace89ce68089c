"""What a walker sees: signs, panoramas, and the four views of a place.

Every street view is computed from the city's geometry alone, so that turning round or
walking on shows the same houses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from sftrl_lite.tasks.city import KINDS, City, Style
from sftrl_lite.tasks.routes import (
    Route,
    Step,
    bearing,
)
from sftrl_lite.tasks.shipped_cities import load_city

Box = tuple[float, float, float, float]  # left, top, right, bottom


# --- signs -------------------------------------------------------------------------------


def _draw(draw: ImageDraw.ImageDraw, shape: str, box: Box, ink: str) -> None:
    """One plain shape inside a box (left, top, right, bottom)."""
    x0, y0, x1, y1 = box
    x, y, w, h = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    if shape == "square":
        draw.rectangle(box, ink)
    elif shape == "disc":
        draw.ellipse(box, ink)
    elif shape == "ring":
        draw.ellipse(box, outline=ink, width=max(1, round(w / 4)))
    elif shape == "diamond":
        draw.polygon([(x, y0), (x1, y), (x, y1), (x0, y)], ink)
    elif shape == "bar":
        draw.rectangle((x0, y - h / 6, x1, y + h / 6), ink)
    elif shape == "cross":
        draw.rectangle((x0, y - h / 6, x1, y + h / 6), ink)
        draw.rectangle((x - w / 6, y0, x + w / 6, y1), ink)
    elif shape == "arrow":
        draw.polygon([(x, y0), (x1, y), (x0, y)], ink)
        draw.rectangle((x - w / 6, y, x + w / 6, y1), ink)
    elif shape == "heart":
        draw.ellipse((x0, y0, x, y0 + h / 2), ink)
        draw.ellipse((x, y0, x1, y0 + h / 2), ink)
        draw.polygon([(x0 + w / 30, y0 + h * 0.36), (x1 - w / 30, y0 + h * 0.36), (x, y1)], ink)
    elif shape == "checker":
        for i in range(9):
            if i % 2 == 0:
                left, top = x0 + i % 3 * w / 3, y0 + i // 3 * h / 3
                draw.rectangle((left, top, left + w / 3, top + h / 3), ink)
    elif shape == "star":
        corners = [(math.radians(36 * i), 0.5 if i % 2 == 0 else 0.21) for i in range(10)]
        draw.polygon([(x + w * r * math.sin(a), y - h * r * math.cos(a)) for a, r in corners], ink)
    else:
        raise ValueError(f"unknown shape {shape!r}")


@lru_cache(maxsize=256)
def sign(kind: int, size: int) -> Image.Image:
    """The sign of ``KINDS[kind]``, an RGBA picture of ``size`` pixels a side."""
    look, big = KINDS[kind], 16 * size
    picture = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    draw, rim = ImageDraw.Draw(picture), big * 0.03
    _draw(draw, look.board, (0, 0, big - 1, big - 1), "#3a3a3a")  # a thin dark rim
    _draw(draw, look.board, (rim, rim, big - rim, big - rim), look.colour)
    inset = big * (0.29 if look.board == "diamond" else 0.16)
    box = (inset, inset, big - inset, big - inset)
    if look.emblem == "moon":
        _draw(draw, "disc", box, look.ink)
        x, y = box[0] + big * 0.2, box[1] - rim
        _draw(draw, "disc", (x, y, x + big - 2 * inset, y + big - 2 * inset), look.colour)
    else:
        _draw(draw, look.emblem, box, look.ink)
    return picture.resize((size, size), Image.Resampling.BOX)


# --- street views ------------------------------------------------------------------------

EYE = 2.2  # metres of the camera above the ground
FAR = 140.0  # metres to which an open street is seen
SIGN_ANGLE = 34.0  # degrees that a landmark's sign covers


@lru_cache(maxsize=512)
def _rgb(colour: str) -> np.ndarray:
    return np.array(ImageColor.getrgb(colour)[:3], np.float32)


Opening = tuple[int, float, float, int]  # as in ``City.openings``


def panorama(city: City, spot: int, height: int = 64) -> np.ndarray:
    """What is round a spot: an equirectangular picture, uint8 (height, 2 * height, 3).

    Column 0 looks north and columns run clockwise; the top row looks straight up.

    Raises:
        ValueError: an odd height, which would have a row at the horizon itself.
    """
    if height < 8 or height % 2:
        raise ValueError(f"a panorama has an even height from 8, not {height}")
    style, width, openings = city.style, 2 * height, city.openings(spot)
    theta = (np.arange(width, dtype=np.float32) + 0.5) * (360 / width)
    lat = np.radians(90 - (np.arange(height, dtype=np.float32) + 0.5) * (180 / height))[:, None]
    # Unit vectors of the bearings, down every street and aside from it: (streets, width)
    off = np.radians(theta - np.array([[way] for _, way, _, _ in openings], np.float32))
    along, aside = np.cos(off), np.sin(off)

    zenith, horizon = _rgb(style.sky[0]), _rgb(style.sky[1])
    up = np.clip(lat / 1.2, 0, 1)[..., None] ** 0.7
    picture = np.broadcast_to(horizon + (zenith - horizon) * up, (height, width, 3)).copy()
    _ground(picture[height // 2 :], style, along, aside, np.tan(-lat[height // 2 :]))
    _houses(picture, city, openings, along, aside, np.tan(lat))
    for distance in (34.0, 19.0, 8.0):  # far things first
        _furnish(picture, style, openings, distance)
    picture += np.random.default_rng((city.seed, spot)).normal(0, style.noise, (height, width, 1))
    picture = picture.clip(0, 255).astype(np.uint8)
    if spot in city.landmark_at:
        kind, place = city.landmark_at[spot]
        _hang(picture, kind, bearing(city.spots[spot], place))
    return picture


def _ground(
    picture: np.ndarray, style: Style, along: np.ndarray, aside: np.ndarray, fall: np.ndarray
) -> None:
    """Road inside the streets, pavement beside it, a broken line in the middle.

    ``fall`` (rows, 1) is how far a line of sight falls on each metre.
    """
    x, y = EYE / fall * aside[:, None], EYE / fall * along[:, None]  # (streets, rows, width)
    road = ((y > -1) & (np.abs(x) < 0.62 * style.width)).any(0)
    line = ((y > 6) & (np.abs(x) < 0.35) & (y % 6 < 3)).any(0)
    picture[:] = np.where(road[..., None], _rgb(style.road), _rgb(style.pavement))
    picture[line] = _rgb(style.marking)


def _houses(
    picture: np.ndarray,
    city: City,
    openings: list[Opening],
    along: np.ndarray,
    aside: np.ndarray,
    rise: np.ndarray,
) -> None:
    """Walls with windows, in front of sky and ground.

    Streets are corridors that begin here, so along every bearing the wall stands where the
    last of them ends. A house is a piece of a street's wall, wherever it is seen from.
    ``rise`` (rows, 1) is how far a line of sight rises on each metre.
    """
    style, columns = city.style, np.arange(along.shape[1])
    reach = style.width / np.maximum(np.abs(aside), style.width / FAR)
    reach = np.where(along > 0, reach, style.width)
    last = reach.argmax(0)
    far, down, across = reach[last, columns], along[last, columns], aside[last, columns]
    street, _, start, way = (np.array(part)[last] for part in zip(*openings, strict=True))
    turn = np.arange(len(columns)) * (2 * np.pi / len(columns))
    walked = np.where(down > 0, start + way * far * down, far * turn)
    house, flank = np.floor(walked / 17).astype(np.int64), way * across > 0
    chance = (street * 7919 + house * 104729 + flank * 1299709 + city.seed * 15485863) % 9973

    palette = np.stack([_rgb(colour) for colour in style.facades])
    wall = palette[chance % len(palette)] * (0.8 + 0.2 * np.abs(across))[:, None]
    low, high = style.heights
    roof = low + (high - low) * (chance // 13 % 8) / 7
    roof = np.where(far >= FAR - 1, 0, roof)  # the open end of a street
    above = far * rise + EYE  # (rows, width): metres above the ground on the wall
    front = (above >= 0) & (above < roof)
    wide, tall, share = style.panes
    glass = front & (above > 3.2) & (far < 55) & (walked % wide < wide * share)
    glass &= above % tall < tall * 0.6
    colour = np.where(glass[..., None], _rgb(style.glass), wall)
    haze = (1 - np.exp(-far * style.haze / 40))[:, None]
    colour = colour + (_rgb(style.sky[1]) - colour) * haze
    picture[front] = colour[front]


def _furnish(picture: np.ndarray, style: Style, openings: list[Opening], distance: float) -> None:
    """Draw what stands on both sides of every street, ``distance`` metres down it."""
    if style.furniture == "none":
        return
    height, width, _ = picture.shape
    pixel = 180 / height
    aside = 0.8 * style.width
    angle = math.degrees(math.atan2(aside, distance))
    range_ = math.hypot(aside, distance)

    def row(metres: float) -> int:  # where a height above the ground is seen
        lat = math.degrees(math.atan2(metres - EYE, range_))
        return round((90 - lat) / pixel)

    plant = _rgb(style.plant) * (0.85 if distance > 15 else 1)
    shapes = {  # height of the stem; top, bottom and half width of the crown, in metres
        "trees": (3.5, 7.5, 2.6, 2.0),
        "conifers": (2.0, 10.0, 1.2, 1.6),
        "palms": (7.0, 8.6, 6.6, 2.4),
        "lamps": (5.5, 6.1, 5.0, 0.7),
        "awnings": (0.0, 3.6, 2.5, 3.2),
    }
    stem, top, bottom, half = shapes[style.furniture]
    reach = max(1, round(math.degrees(math.atan2(half, range_)) / pixel))
    first, last = row(top), max(row(bottom), row(top) + 1)
    for _, way, _, _ in openings:
        for bearing_ in (way - angle, way + angle):
            column = round((bearing_ % 360) / pixel)
            thick = max(1, round(math.degrees(0.3 / range_) / pixel))
            columns = np.arange(column, column + thick) % width
            picture[row(stem) : row(0), columns] = (60, 50, 45)
            for r in range(first, last):
                share = (r - first + 0.5) / (last - first)
                if style.furniture == "conifers":
                    part = share
                elif style.furniture == "awnings":
                    part = 1.0
                else:
                    part = math.sqrt(max(1 - (2 * share - 1) ** 2, 0))
                n = max(1, round(reach * part))
                picture[r, np.arange(column - n, column + n) % width] = plant * (1.1 - 0.35 * share)


def _hang(picture: np.ndarray, kind: int, direction: float) -> None:
    """Put a landmark's sign on its pole, the same in every city and every light."""
    height, width, _ = picture.shape
    size = max(6, round(SIGN_ANGLE * height / 180))
    board = np.asarray(sign(kind, size), np.float32)
    column = round(direction % 360 * width / 360)
    top = round(height * 0.5 - size * 0.95)
    pole = np.arange(column - max(1, size // 12), column + max(1, size // 12)) % width
    picture[top + size : round(height * 0.62), pole] = (45, 45, 45)
    columns = np.arange(column - size // 2, column - size // 2 + size) % width
    cover = board[..., 3:] / 255
    under = picture[top : top + size, columns]
    picture[top : top + size, columns] = under * (1 - cover) + board[..., :3] * cover


@lru_cache(maxsize=16)
def _rays(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude, in degrees, of each pixel of a 90-degree view."""
    ramp = (np.arange(size) + 0.5) * (2 / size) - 1
    lon = np.degrees(np.arctan(ramp))[None].repeat(size, 0)
    lat = np.degrees(np.arctan2(-ramp[:, None], np.sqrt(1 + ramp[None] ** 2)))
    return lon, lat


def view(pano: np.ndarray, heading: float, size: int, rotation: float = 0.0) -> np.ndarray:
    """A perspective view of 90 degrees towards ``heading``, uint8 (size, size, 3).

    Args:
        pano: equirectangular, uint8 (rows, 2 * rows, 3).
        heading: compass degrees.
        rotation: what the panorama's metadata say: column 0 looks to -rotation.
    """
    rows, columns, _ = pano.shape
    lon, lat = _rays(size)
    x = (lon + heading + rotation) * (columns / 360) - 0.5
    y = np.clip((90 - lat) * (rows / 180) - 0.5, 0, rows - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    left, right, y1 = x0 % columns, (x0 + 1) % columns, np.minimum(y0 + 1, rows - 1)
    upper = pano[y0, left] * (1 - fx) + pano[y0, right] * fx
    lower = pano[y1, left] * (1 - fx) + pano[y1, right] * fx
    return (upper * (1 - fy) + lower * fy + 0.5).astype(np.uint8)


# Degrees from the walker's heading of the four views, row by row. The paper's prompt says
# front, right, back, left; the released code shows back left, front left, front right,
# back right (paper-facts: a known error). Ours shows what the prompt says.
GRID = (0.0, 90.0, 180.0, 270.0)
OFFICIAL_GRID = (-135.0, -45.0, 45.0, 135.0)
CROSS = 5  # pixels between the release's views of 1200
RELEASED_SIZE = 2 * 1200 + CROSS


def four_views(
    pano: np.ndarray,
    heading: float,
    size: int = 72,
    rotation: float = 0.0,
    official: bool = False,
) -> Image.Image:
    """Four perspective views as one picture of 2 x 2, ``size`` pixels a side.

    Row by row: front and right, back and left of a walker facing ``heading``, with a thin
    black cross between them: over them, or beside them where the size is ``RELEASED_SIZE``.
    ``official`` repeats the released code's other four.

    Raises:
        ValueError: another odd size, or a tiny one.
    """
    gap = CROSS if size == RELEASED_SIZE else 0
    if size < 16 or (size - gap) % 2:
        raise ValueError(f"a picture of four views needs an even size from 16, not {size}")
    half, line = (size - gap) // 2, max(1, size // 480)
    if pano.shape[0] > 4 * half:  # a large photograph: average first, or it flickers
        small = Image.fromarray(pano).resize((8 * half, 4 * half), Image.Resampling.BOX)
        pano = np.asarray(small)
    canvas = np.zeros((size, size, 3), np.uint8)
    for i, turn in enumerate(OFFICIAL_GRID if official else GRID):
        y, x = i // 2 * (half + gap), i % 2 * (half + gap)
        canvas[y : y + half, x : x + half] = view(pano, heading + turn, half, rotation)
    if not gap:
        canvas[half - line : half + line] = 0
        canvas[:, half - line : half + line] = 0
    return Image.fromarray(canvas)


Look = Callable[[Route, Step], tuple[np.ndarray, float]]  # a panorama and its rotation


def city_look(route: Route, step: Step, height: int = 72) -> tuple[np.ndarray, float]:
    """The panorama of a step in a shipped city; column 0 looks north."""
    city = load_city(route.city)
    return panorama(city, city.spot_at[step.place], height), 0.0


def look_in(*cities: City, height: int = 72) -> Look:
    """A ``look`` for cities that are not shipped, for instance those of a base's corpus."""
    by_name = {city.name: city for city in cities}

    def look(route: Route, step: Step) -> tuple[np.ndarray, float]:
        city = by_name[route.city]
        return panorama(city, city.spot_at[step.place], height), 0.0

    return look
