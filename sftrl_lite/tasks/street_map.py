"""A map of a city with a route on it, for people."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

from sftrl_lite.tasks.city import City
from sftrl_lite.tasks.routes import Place, Route
from sftrl_lite.tasks.street_view import sign

# --- a map for people --------------------------------------------------------------------


def map_picture(city: City, route: Route | None = None, width: int = 720) -> Image.Image:
    """The city from above, north up, with a route if one is given. For people only.

    A ring marks the start of a route, a filled disc its end.

    The background is opaque: it reads the same on a light and on a dark page.
    """
    scale = 2  # drawn at twice the size, for smooth lines
    xs, ys = zip(*city.crossings, strict=True)
    margin = 45.0
    unit = width * scale / (max(xs) - min(xs) + 2 * margin)
    tall = round((max(ys) - min(ys) + 2 * margin) * unit)

    def at(place: Place) -> tuple[float, float]:
        return (place[0] - min(xs) + margin) * unit, (max(ys) + margin - place[1]) * unit

    picture = Image.new("RGB", (width * scale, tall), "#e9e6df")
    draw = ImageDraw.Draw(picture)
    for a, b, _ in city.streets:
        ends = [at(city.crossings[a]), at(city.crossings[b])]
        draw.line(ends, "#ffffff", width=round(15 * unit), joint="curve")
    for place in city.crossings:
        x, y = at(place)
        draw.ellipse((x - 7.5 * unit, y - 7.5 * unit, x + 7.5 * unit, y + 7.5 * unit), "#ffffff")
    corners = [] if route is None else [at(route.start), *(at(leg.end) for leg in route.legs)]
    if route is not None:
        _trace(draw, route, corners, unit)
    named: set[str] = set()
    font = ImageFont.load_default(size=12 * unit)
    for e, (_, _, name) in enumerate(city.streets):
        if name not in named:
            named.add(name)
            middle = at(city.spots[len(city.crossings) + 3 * e + 1])
            draw.text(middle, name, "#333333", font, "mm", stroke_width=5, stroke_fill="#ffffff")
    board = round(24 * unit)
    for _, kind, x, y in city.landmarks:
        icon = sign(kind, board)
        corner = tuple(round(v - board / 2) for v in at((x, y)))
        picture.paste(icon, corner, icon)
    r = 10 * unit
    for (x, y), fill in zip(corners[:1] + corners[-1:], ("#ffffff", "#d55e00"), strict=False):
        draw.ellipse((x - r, y - r, x + r, y + r), fill, "#0072b2", width=round(4 * unit))
    return picture.resize((width, tall // scale), Image.Resampling.LANCZOS)


def _trace(draw: ImageDraw.ImageDraw, route: Route, corners: list, unit: float) -> None:
    """A route in blue with an arrowhead on each leg."""
    draw.line(corners, "#0072b2", width=round(6 * unit), joint="curve")
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
        draw.polygon(points, "#0072b2")
