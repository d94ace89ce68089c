"""Procedural cities: a street graph, landmarks, a style, and walks through it.

Nothing is drawn by hand: a city follows from its seed and its ``Style``, and ``street_view``
shows any place of it. A landmark has the same sign in every city and everything else
differs: that makes a city that was never trained on a *visual* shift and no other.

``python -m sftrl_lite.tasks.shipped_cities`` writes data/cities again, bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sftrl_lite.files import ROOT
from sftrl_lite.tasks.routes import Leg, Place, Route, bearing, side

DATA = ROOT / "data" / "cities"

# --- landmarks ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A landmark that every city may have: its name, its board, what is on the board."""

    name: str
    board: str  # disc, square or diamond
    colour: str
    emblem: str
    ink: str


KINDS = (
    Kind("Star Cafe", "square", "#d8142a", "star", "#ffffff"),
    Kind("Moon Bank", "disc", "#16309e", "moon", "#ffffff"),
    Kind("Cross Pharmacy", "square", "#ffffff", "cross", "#009a3d"),
    Kind("Sun Bakery", "disc", "#ffd400", "disc", "#f08000"),
    Kind("Heart Clinic", "square", "#ffffff", "heart", "#ff2f92"),
    Kind("Diamond Market", "diamond", "#7a1fb8", "diamond", "#e8c8ff"),
    Kind("Ring Cinema", "disc", "#101010", "ring", "#00d5f0"),
    Kind("Checker Diner", "square", "#f4f4f4", "checker", "#101010"),
    Kind("Arrow Station", "square", "#101010", "arrow", "#a4f000"),
    Kind("Leaf Hotel", "diamond", "#0d8a45", "bar", "#ffffff"),
)
NAMES = tuple(kind.name for kind in KINDS)


# --- how a city looks --------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """Everything about a city's look but its landmarks. Colours are ``#rrggbb``.

    Args:
        sky: at the zenith and at the horizon.
        facades: of the houses, which choose among them.
        glass: of the windows.
        panes: metres from window to window, along and up, and the share that is glass.
        road, pavement, marking: of the ground.
        heights: lowest and highest house, in metres.
        width: from the middle of a street to its houses, in metres.
        furniture: one of ``FURNITURE``.
        plant: colour of the plants along the streets.
        haze: how fast the horizon's colour swallows what is far, 0 to 1.
        noise: standard deviation of the camera's noise, in grey levels.
    """

    sky: tuple[str, str]
    facades: tuple[str, ...]
    glass: str
    panes: tuple[float, float, float]
    road: str
    pavement: str
    marking: str
    heights: tuple[float, float]
    width: float
    furniture: str
    plant: str
    haze: float
    noise: float


# --- streets and routes ------------------------------------------------------------------

SPOTS = (0.25, 0.5, 0.75)  # shares of a block where a walker may stop and look


@dataclass(frozen=True)
class City:
    """A street graph with landmarks, a style and the routes that are shipped with it.

    A *spot* is a place where a walk can be: spots 0..n-1 are the n crossings, spots n + 3e,
    n + 3e + 1 and n + 3e + 2 lie at a quarter, a half and three quarters of street e.

    Args:
        crossings: (east, north) in metres.
        streets: (crossing, crossing, name).
        landmarks: (spot, index into ``KINDS``, east, north) of its sign.
        routes: (name, heading at the start, spots in walking order). The first spot is the
            start, crossings on the way are turns, the last spot is the destination.
    """

    name: str
    seed: int
    style: Style
    crossings: tuple[Place, ...]
    streets: tuple[tuple[int, int, str], ...]
    landmarks: tuple[tuple[int, int, float, float], ...]
    routes: tuple[tuple[str, float, tuple[int, ...]], ...] = ()

    @cached_property
    def spots(self) -> tuple[Place, ...]:
        """Places of all spots."""
        middles = []
        for a, b, _ in self.streets:
            (xa, ya), (xb, yb) = self.crossings[a], self.crossings[b]
            middles += [(xa + t * (xb - xa), ya + t * (yb - ya)) for t in SPOTS]
        return (*self.crossings, *middles)

    @cached_property
    def spot_at(self) -> dict[Place, int]:
        return {place: spot for spot, place in enumerate(self.spots)}

    @cached_property
    def at_crossing(self) -> dict[int, tuple[int, ...]]:
        """Streets that meet at each crossing."""
        return {
            i: tuple(e for e, street in enumerate(self.streets) if i in street[:2])
            for i in range(len(self.crossings))
        }

    @cached_property
    def landmark_at(self) -> dict[int, tuple[int, Place]]:
        """Kind and place of the landmark at each spot that has one."""
        return {spot: (kind, (x, y)) for spot, kind, x, y in self.landmarks}

    def openings(self, spot: int) -> list[tuple[int, float, float, int]]:
        """Streets that leave a spot: number, heading, metres walked from its first end, sign.

        The sign is +1 towards the street's second end.
        """
        n, found = len(self.crossings), []
        numbers = self.at_crossing[spot] if spot < n else ((spot - n) // 3,)
        for e in numbers:
            a, b, _ = self.streets[e]
            length = math.dist(self.crossings[a], self.crossings[b])
            heading = bearing(self.crossings[a], self.crossings[b])
            walked = {a: 0.0, b: length}.get(spot, length * SPOTS[(spot - n) % 3])
            if spot != b:
                found.append((e, heading, walked, 1))
            if spot != a:
                found.append((e, (heading + 180) % 360, walked, -1))
        return found

    def seen(self, spot: int, heading: float) -> str | None:
        """What a walker facing ``heading`` sees at a spot: "Star Cafe is on your right"."""
        if spot not in self.landmark_at:
            return None
        kind, place = self.landmark_at[spot]
        return f"{NAMES[kind]} is on your {side(heading, bearing(self.spots[spot], place))}"


def make_route(city: City, name: str, heading: float, path: Sequence[int]) -> Route:
    """The walk through the spots ``path``, beginning with a look towards ``heading``."""
    legs, between, origin = [], [], path[0]
    for i, spot in enumerate(path[1:], 1):
        if spot >= len(city.crossings) and i < len(path) - 1:
            between.append(spot)
            continue
        way = bearing(city.spots[origin], city.spots[spot])
        passed = tuple((city.spots[p], city.seen(p, way)) for p in between)
        legs.append(Leg(way, city.spots[spot], city.seen(spot, way), passed))
        between, origin = [], spot
    return Route(city.name, name, city.spots[path[0]], float(heading), tuple(legs))


def city_routes(city: City, start: int = 0, stop: int | None = None) -> tuple[Route, ...]:
    """The shipped routes of a city, or a part of them.

    Raises:
        ValueError: there are none.
    """
    found = tuple(make_route(city, *route) for route in city.routes[start:stop])
    if not found:
        raise ValueError(f"{city.name} has no routes here")
    return found


def write_city(city: City, folder: Path) -> Path:
    """One JSON file, one list entry a line; returns its path."""
    parts = []
    for key, value in asdict(city).items():
        if isinstance(value, tuple) and value:
            lines = ",\n  ".join(json.dumps(item, separators=(",", ":")) for item in value)
            parts.append(f'"{key}": [\n  {lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value)}')
    path = folder / f"{city.name.lower()}.json"
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    return path


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, all the way down."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def read_city(path: Path) -> City:
    """A city from its file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: what is wrong with it, in one line that names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such city")
    try:
        raw = {key: _tuples(value) for key, value in json.loads(path.read_text("utf-8")).items()}
        style = Style(**{k: _tuples(v) for k, v in raw.pop("style").items()})
        city = City(style=style, **raw)
        places = [(float(x), float(y)) for x, y in city.crossings]
        if not all(math.isfinite(v) for place in places for v in place):
            raise ValueError("a crossing is not a finite place")
        if not city.streets or not city.routes:
            raise ValueError("no streets or no routes")
        city_routes(city)
    except Exception as error:  # whatever its fields are not
        raise ValueError(f"{path}: not a city: {error}") from None
    return city
