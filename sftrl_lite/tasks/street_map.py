"""A map of a city with a route on it, for people."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

from sftrl_lite.tasks.city import City
from sftrl_lite.tasks.routes import Place, Route
from sftrl_lite.tasks.street_view import sign

BLUE, ORANGE, INK = "#0072b2", "#d55e00", "#333333"
AROUND = 70.0  # metres that are shown around a route
WIDEST = 1.7  # width of a map against its height, at most; and the other way round


def map_picture(
    city: City, route: Route | None = None, width: int = 720, around: Route | None = None
) -> Image.Image:
    """The city from above, north up; with a route only its surroundings. For people only.

    A ring marks the start of a route, a filled disc its end; a legend below explains this, and an
    arrow points north. The background is opaque: it reads the same on a light and on a dark page.

    Args:
        width: in pixels.
        around: the route whose surroundings are shown; ``route`` if not given. A walk that is
            drawn step by step stays on one map.
    """
    scale = 2  # drawn at twice the size, for smooth lines
    x0, x1, y0, y1 = _window(city, around or route)
    unit = width * scale / (x1 - x0)
    tall, strip = round((y1 - y0) * unit), (0 if route is None else 56)

    def at(place: Place) -> tuple[float, float]:
        return (place[0] - x0) * unit, (y1 - place[1]) * unit

    def inside(x: float, y: float, wide: float, high: float) -> bool:
        return wide < x < width * scale - wide and high < y < tall - high

    picture = Image.new("RGB", (width * scale, tall + strip), "#e9e6df")
    draw = ImageDraw.Draw(picture)
    for a, b, _ in city.streets:
        ends = [at(city.crossings[a]), at(city.crossings[b])]
        draw.line(ends, "#ffffff", width=round(15 * unit), joint="curve")
    for place in city.crossings:
        x, y = at(place)
        draw.ellipse((x - 7.5 * unit, y - 7.5 * unit, x + 7.5 * unit, y + 7.5 * unit), "#ffffff")
    corners = [] if route is None else [at(route.start), *(at(leg.end) for leg in route.legs)]
    if route is not None:
        _trace(draw, route, corners, min(unit, 3.0))
    board = round(min(24 * unit, 72))
    for _, kind, x, y in city.landmarks:
        icon = sign(kind, board)
        left, top = at((x, y))
        if inside(left, top, board / 2, board / 2):  # whole, or not at all
            corner = round(left - board / 2), round(top - board / 2)
            picture.paste(icon, corner, icon)
    named: set[str] = set()
    font = ImageFont.load_default(size=min(12 * unit, 26))
    for e, (_, _, name) in enumerate(city.streets):
        x, y = at(city.spots[len(city.crossings) + 3 * e + 1])
        free = all(math.dist((x, y), end) > 100 for end in corners[:1] + corners[-1:])
        if name not in named and free and inside(x, y, font.getlength(name) / 2 + 8, 20):
            named.add(name)
            draw.text((x, y), name, INK, font, "mm", stroke_width=5, stroke_fill="#ffffff")
    r = min(10 * unit, 22)
    for (x, y), fill in zip(corners[:1] + corners[-1:], ("#ffffff", ORANGE), strict=False):
        _mark(draw, x, y, r, fill)
    _north(draw, width * scale - 44, 60)
    if route is not None:
        _legend(draw, width * scale, tall, strip)
    size = (width, (tall + strip) // scale)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _window(city: City, route: Route | None) -> tuple[float, float, float, float]:
    """What a map shows, in metres: west, east, south, north."""
    places = city.crossings if route is None else (route.start, *(g.end for g in route.legs))
    margin = 45.0 if route is None else AROUND
    xs, ys = zip(*places, strict=True)
    x0, x1, y0, y1 = min(xs) - margin, max(xs) + margin, min(ys) - margin, max(ys) + margin
    if route is not None:  # neither a ribbon nor a column
        wider = max((y1 - y0) / WIDEST - (x1 - x0), 0) / 2
        taller = max((x1 - x0) / WIDEST - (y1 - y0), 0) / 2
        x0, x1, y0, y1 = x0 - wider, x1 + wider, y0 - taller, y1 + taller
    return x0, x1, y0, y1


def _mark(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: str) -> None:
    """A ring (white) or a disc."""
    draw.ellipse((x - r, y - r, x + r, y + r), fill, BLUE, width=round(0.4 * r))


def _north(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """An arrow that points north."""
    draw.ellipse((x - 36, y - 46, x + 36, y + 46), "#ffffff", INK, width=2)
    draw.polygon([(x, y - 38), (x - 14, y), (x + 14, y)], INK)
    draw.text((x, y + 18), "N", INK, ImageFont.load_default(size=28), "mm")


def _legend(draw: ImageDraw.ImageDraw, wide: int, top: int, high: int) -> None:
    """What the marks of a route mean, in a strip below the map."""
    draw.rectangle((0, top, wide, top + high), "#ffffff")
    font, x, y = ImageFont.load_default(size=26), 40.0, top + high / 2
    for name in ("start", "route", "end"):
        if name == "route":
            draw.line([(x - 24, y), (x + 24, y)], BLUE, width=12)
        else:
            _mark(draw, x, y, 18, ORANGE if name == "end" else "#ffffff")
        draw.text((x + 36, y), name, INK, font, "lm")
        x += 36 + font.getlength(name) + 70


def _trace(draw: ImageDraw.ImageDraw, route: Route, corners: list, unit: float) -> None:
    """A route in blue with an arrowhead on each leg."""
    draw.line(corners, BLUE, width=round(6 * unit), joint="curve")
    r = 11 * unit
    for leg, (x0, y0), (x1, y1) in zip(route.legs, corners, corners[1:], strict=False):
        x, y, a = (x0 + x1) / 2, (y0 + y1) / 2, math.radians(leg.heading)
        tips = ((1, 0), (-0.8, 0.8), (-0.8, -0.8))  # forward and sideways
        points = [
            (
                x + r * (f * math.sin(a) + s * math.cos(a)),
                y - r * (f * math.cos(a) - s * math.sin(a)),
            )
            for f, s in tips
        ]
        draw.polygon(points, BLUE)
