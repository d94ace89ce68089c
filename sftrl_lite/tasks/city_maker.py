"""Making cities and routes: street graphs, landmarks, looks; the shipped ones are written here."""

from __future__ import annotations

import colorsys
import math
import random
from collections import Counter

from sftrl_lite.tasks.city import KINDS, City, Style, make_route
from sftrl_lite.tasks.routes import ABSOLUTE, bearing

FURNITURE = ("trees", "conifers", "lamps", "palms", "awnings", "none")


def random_style(rng: random.Random) -> Style:
    """A random look, for a base's corpus; the shipped looks are made otherwise."""

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


STREETS = (
    *("Amber", "Basil", "Cedar", "Daisy", "Elm", "Fennel", "Ginger", "Hazel", "Indigo"),
    *("Jasmine", "Kelp", "Linden", "Maple", "Nettle", "Olive", "Pepper", "Quartz", "Rowan"),
    *("Saffron", "Thistle", "Umber", "Violet", "Willow", "Yarrow"),
)


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
    middle of a block at a landmark. Each place between is a step with probability 0.7. No
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
            if (onward := _turn(rng, way, leaving)) is None:
                ok = False
                break
            street = onward
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
            angle: float = rng.choice(best)
        elif (spot - len(crossings)) % 3 == 1 or rng.random() < 0.45:
            continue  # a walk begins at the middle spot: nothing is there
        else:
            angle = ways[0] + rng.choice((90, -90)) + rng.uniform(-20, 20)
        east = round(x + 10 * math.sin(math.radians(angle)), 1)
        north = round(y + 10 * math.cos(math.radians(angle)), 1)
        if len(landmarks) % len(KINDS) == 0:  # every kind equally often
            deck = rng.sample(range(len(KINDS)), len(KINDS))
        landmarks.append((spot, deck.pop(), east, north))
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
