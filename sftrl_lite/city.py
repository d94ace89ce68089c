"""Procedural cities: a street graph, landmarks, a style, and walks through it.

Nothing is drawn by hand: a city follows from its seed and its ``Style``, and ``street_view``
shows any place of it. A landmark has the same sign in every city and everything else
differs: that makes a city that was never trained on a *visual* shift and no other.

``python -m sftrl_lite.city`` writes the shipped cities (data/cities) again, bit for bit.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from sftrl_lite.routes import ABSOLUTE, Leg, Place, Route, bearing, side

DATA = Path(__file__).resolve().parent.parent / "data" / "cities"

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
        plant: colour of what stands along the streets.
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


FURNITURE = ("trees", "conifers", "lamps", "palms", "awnings", "none")


def random_style(rng: random.Random) -> Style:
    """Any look, for a base's corpus; the shipped looks are not made so."""

    def colour(light: tuple[float, float], grey: float = 1.0) -> str:
        hue, strength = rng.random(), grey * rng.uniform(0.05, 0.8)
        parts = colorsys.hsv_to_rgb(hue, strength, rng.uniform(*light))
        return "#" + "".join(f"{round(255 * part):02x}" for part in parts)

    low = rng.uniform(5, 14)
    return Style(
        sky=(colour((0.1, 1)), colour((0.3, 1))),
        facades=tuple(colour((0.15, 1)) for _ in range(4)),
        glass=colour((0.1, 1)),
        panes=(rng.uniform(2.4, 6), rng.uniform(2.6, 5), rng.uniform(0.3, 0.75)),
        road=colour((0.1, 0.9), 0.3),
        pavement=colour((0.2, 0.95), 0.4),
        marking=colour((0.5, 1)),
        heights=(low, low * rng.uniform(1.5, 3)),
        width=rng.uniform(8, 12),
        furniture=rng.choice(FURNITURE),
        plant=colour((0.2, 0.9)),
        haze=rng.uniform(0, 0.8),
        noise=rng.uniform(3, 10),
    )


# --- streets and routes ------------------------------------------------------------------

SPOTS = (0.25, 0.5, 0.75)  # shares of a block where a walker may stop and look
STREETS = (
    *("Amber", "Basil", "Cedar", "Daisy", "Elm", "Fennel", "Ginger", "Hazel", "Indigo"),
    *("Jasmine", "Kelp", "Linden", "Maple", "Nettle", "Olive", "Pepper", "Quartz", "Rowan"),
    *("Saffron", "Thistle", "Umber", "Violet", "Willow", "Yarrow"),
)


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


def _well_seen(city: City, spot: int, heading: float) -> bool:
    """Whether the landmark, if any, stands clearly left or right of the walker."""
    if spot not in city.landmark_at:
        return True
    off = (bearing(city.spots[spot], city.landmark_at[spot][1]) - heading) % 180
    return 60 <= off <= 120


def _turn(rng: random.Random, before: float, options: dict[int, float]) -> int | None:
    """One of the streets (number -> heading): a turn of any kind is as likely as another."""
    kinds: dict[str, list[int]] = {}
    for street, heading in options.items():
        angle = (heading - before + 180) % 360 - 180
        if 16 <= abs(angle) <= 150 and abs(abs(angle) - 45) > 2:
            kind = f"{abs(angle) <= 45}{angle < 0}"
            kinds.setdefault(kind, []).append(street)
    return rng.choice(kinds[rng.choice(sorted(kinds))]) if kinds else None


def draw_route(city: City, rng: random.Random) -> tuple[float, tuple[int, ...]]:
    """A new walk of two or three legs: heading at the start and spots.

    It starts in the middle of a block, turns at one or two crossings, and ends in the
    middle of a block at a landmark. Each place between is a step with chance 0.7. No
    turn is straight on or back, and all landmarks of a leg are different kinds.

    Raises:
        ValueError: the city has no such walk in 10,000 tries.
    """
    n = len(city.crossings)
    for _ in range(10_000):
        street, sign_ = rng.randrange(len(city.streets)), rng.choice((1, -1))
        path, turns, ok = [n + 3 * street + 1], rng.choice((1, 2, 2)), True
        for leg in range(turns + 1):
            a, b, _ = city.streets[street]
            ahead = [n + 3 * street + k for k in (range(3) if sign_ > 0 else (2, 1, 0))]
            way = bearing(*(city.crossings[i] for i in ((a, b) if sign_ > 0 else (b, a))))
            if leg == 0:
                first, ahead = way, ahead[2:]
            goal = b if sign_ > 0 else a
            if leg == turns:
                ends = [spot for spot in ahead if spot in city.landmark_at]
                goal = rng.choice(ends) if ends else -1
                ahead = ahead[: ahead.index(goal)] if ends else ahead
            passed = [spot for spot in ahead if rng.random() < 0.7]
            kinds = [city.landmark_at[s][0] for s in (*passed, goal) if s in city.landmark_at]
            path += [*passed, goal]
            ok = goal >= 0 and len(kinds) == len(set(kinds)) and _well_seen(city, goal, way)
            if not ok or leg == turns:
                break
            leaving = {e: h for e, h, _, _ in city.openings(goal) if e != street}
            street = _turn(rng, way, leaving)
            if street is None:
                ok = False
                break
            sign_ = 1 if city.streets[street][0] == goal else -1
        if ok and len(set(path)) == len(path):
            off = rng.choice((rng.randint(16, 42), rng.randint(48, 150))) * rng.choice((1, -1))
            return float(round(first - off) % 360), tuple(path)
    raise ValueError(f"{city.name}: no route found in 10,000 tries")


def make_city(name: str, seed: int, style: Style, routes: int = 0) -> City:
    """A city that follows from its seed: a bent grid with diagonals, and its landmarks."""
    rng = random.Random(f"city/{seed}")
    columns, rows, block, turn = 6, 5, 140.0, math.radians(rng.uniform(-30, 30))
    crossings = []
    for row in range(rows):
        for column in range(columns):
            x = column * block + rng.uniform(-28, 28)
            y = row * block + rng.uniform(-28, 28)
            east, north = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn)
            crossings.append((round(east, 1), round(north + y * math.cos(turn), 1)))
    names = rng.sample(STREETS, len(STREETS))
    streets = []
    for row in range(rows):
        for column in range(columns):
            i = row * columns + column
            if column + 1 < columns and rng.random() < 0.92:
                streets.append((i, i + 1, f"{names[row]} Street"))
            if row + 1 < rows and rng.random() < 0.92:
                streets.append((i, i + columns, f"{names[rows + column]} Avenue"))
            if row + 1 < rows and column + 1 < columns and rng.random() < 0.6:
                ends = rng.choice(((i, i + columns + 1), (i + 1, i + columns)))
                lane = names[rows + columns + (row + column) % (len(names) - rows - columns)]
                streets.append((*ends, f"{lane} Lane"))
    bare = City(name, seed, style, tuple(crossings), tuple(streets), ())
    landmarks: list[tuple[int, int, float, float]] = []
    for spot, (x, y) in enumerate(bare.spots):
        ways = [heading for _, heading, _, _ in bare.openings(spot)]
        if spot < len(crossings):
            if rng.random() < 0.15 or not ways:
                continue
            # where most of those who arrive see it well, and off the roads
            angles = [
                angle
                for angle in range(0, 360, 5)
                if min(abs((angle - way + 180) % 360 - 180) for way in ways) >= 18
            ]
            if not angles:
                continue
            score = {a: sum(60 <= (a - way) % 180 <= 120 for way in ways) for a in angles}
            best = [a for a in angles if score[a] == max(score.values())]
            angle = rng.choice(best)
        elif (spot - len(crossings)) % 3 == 1 or rng.random() < 0.45:
            continue  # a walk begins at the middle spot: nothing is there
        else:
            angle = ways[0] + rng.choice((90, -90)) + rng.uniform(-20, 20)
        place = x + 10 * math.sin(math.radians(angle)), y + 10 * math.cos(math.radians(angle))
        if len(landmarks) % len(KINDS) == 0:  # every kind equally often
            deck = rng.sample(range(len(KINDS)), len(KINDS))
        landmarks.append((spot, deck.pop(), *(round(v, 1) for v in place)))
    whole = City(name, seed, style, bare.crossings, bare.streets, tuple(landmarks))
    walks: dict[tuple[int, ...], float] = {}
    often: Counter[str] = Counter()
    while len(walks) < routes:  # of eight walks the one whose directions are rarest so far
        drawn = [draw_route(whole, rng) for _ in range(8)]
        legs = [make_route(whole, "", *walk).legs for walk in drawn]
        said = [[ABSOLUTE.word(0, leg.heading) for leg in part] for part in legs]
        rarest = min(range(8), key=lambda i: sum(often[w] for w in said[i]) / len(said[i]))
        heading, path = drawn[rarest]
        if path not in walks:
            walks[path] = heading
            often.update(said[rarest])
    numbered = ((f"{i:03}", heading, path) for i, (path, heading) in enumerate(walks.items()))
    return City(name, seed, style, bare.crossings, bare.streets, whole.landmarks, tuple(numbered))


# --- shipped cities ----------------------------------------------------------------------


def _style(line: str) -> Style:
    """A style from one line of ``LOOKS``: the fields in their order, lists with commas."""
    sky, facades, glass, panes, road, pavement, marking, heights, *rest = line.split()
    width, furniture, plant, haze, noise = rest

    def numbers(text: str) -> tuple[float, ...]:
        return tuple(map(float, text.split(",")))

    def colours(text: str) -> tuple[str, ...]:
        return tuple(f"#{colour}" for colour in text.split(","))

    return Style(
        colours(sky),
        colours(facades),
        f"#{glass}",
        numbers(panes),
        f"#{road}",
        f"#{pavement}",
        f"#{marking}",
        numbers(heights),
        float(width),
        furniture,
        f"#{plant}",
        float(haze),
        float(noise),
    )


# Name, number of routes, look. The first city is trained in, the second is kept for choosing
# settings, the other nine are the visual shift that is reported. No such places exist.
LOOKS = {
    "Alderwick": (
        300,
        "4f8fd0,bcd7ee 9c5a44,b5795c,c9a27e,84604e 2f3e4e 4,3.4,.5 5b5b5e a8a39b e8e8e0 9,18 9 "
        "trees 3f7d3a .25 5",
    ),
    "Bramblegate": (
        120,
        "a9b4bd,d9dcdc 8b8f7a,a7a58e,6f7766,c2bda6 4a5648 3,3,.45 70706c 94948c f0f0f0 7,13 8 "
        "conifers 2d5a45 .5 7",
    ),
    "Coralis": (
        30,
        "1fb0e6,a6ecf7 f6a58f,fbe3b5,8fd6c9,f7c8d4 ffffff 5,4,.4 cbb894 e8dcc0 ffffff 6,12 11 "
        "palms 3fae49 .05 4",
    ),
    "Duskholm": (
        30,
        "2a1747,e8784a 4a3350,5d3f58,3c2b4a,6e4a55 ffc85c 3.5,3.2,.5 2e2836 483f50 c79a6a 12,26 9 "
        "lamps ffd98a .3 6",
    ),
    "Emberfall": (
        30,
        "d7904f,f4d9a6 c46a35,d98b4c,a9512c,e3b074 5c2c17 6,4.5,.3 b98a5c d2aa78 f2dfb8 5,10 10 "
        "none 806040 .6 6",
    ),
    "Frostmere": (
        30,
        "cfdbe6,f4f8fb 7c93a8,a9bccb,5f7388,d5dee6 33485c 4,3.2,.4 e4eaf0 f7fafc b6c4d2 8,16 10 "
        "conifers c6d8dd .45 4",
    ),
    "Glasmere": (
        30,
        "6fc1d8,e6f6f4 6fb3c4,4f93b0,9ad2d6,3a7391 d4f4ff 2.4,2.6,.75 3f4a52 8c9aa2 ffe25a 30,70 "
        "12 lamps 9aa7ad .2 4",
    ),
    "Hollowport": (
        30,
        "0a0f24,1c2846 1f2433,2a2f42,171b29,343a4f ffe9a0 3,3,.4 14161f 262b38 6a7288 14,34 9 "
        "lamps fff2b8 .15 8",
    ),
    "Ironvale": (
        30,
        "8c8577,b9ae98 6b5b4b,4e443c,83715c,3a3531 1d1a18 5,5,.6 3b3733 55504a c8a030 10,22 10 "
        "none 505050 .9 10",
    ),
    "Jadewater": (
        30,
        "b5d98f,f3f4c9 2f8f6b,58b08a,e7e3c0,1f6a55 f9f3d0 4.5,3.6,.35 7d8a70 b7c39a fbfbe0 6,11 8 "
        "trees 8cc63f .2 5",
    ),
    "Kestrelford": (
        30,
        "f29ab8,ffe6d6 f4d35e,ee964b,f95738,fdf0c4 2b3a67 3.2,3.4,.5 54506a c6b6c6 ffffff 9,15 8 "
        "awnings e0457b .2 5",
    ),
}
TRAIN, DEV = "Alderwick", "Bramblegate"
UNSEEN = tuple(name for name in LOOKS if name not in (TRAIN, DEV))


def make_shipped(name: str) -> City:
    """A shipped city, made anew."""
    routes, look = LOOKS[name]
    return make_city(name, 1 + tuple(LOOKS).index(name), _style(look), routes)


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


def _tuples(value: object) -> object:
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
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not a city: {error}") from None
    return city


@lru_cache(maxsize=32)
def load_city(name: str) -> City:
    """A shipped city by its name.

    Raises:
        ValueError: there is none of that name, or its file is damaged.
    """
    if name not in LOOKS:
        raise ValueError(f"unknown city {name!r}; choose {', '.join(LOOKS)}")
    return read_city(DATA / f"{name.lower()}.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the shipped cities."""
    parser = argparse.ArgumentParser(description="Write the shipped cities again.")
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the JSON files")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in LOOKS:
        print(write_city(make_shipped(name), options.out))


if __name__ == "__main__":
    main()
