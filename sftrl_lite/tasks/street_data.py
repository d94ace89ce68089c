"""Reader of the paper's released V-IRL route folders.

A route folder (``nyc_1k_routes``, ``VLN_mini``) holds

    route_infos.json                     the routes
    gps_pano_mapping.pkl                 {(latitude, longitude): panorama id}
    street_views/ID.jpg                  equirectangular photographs
    street_views/ID.metadata.json        {"rotation": degrees}

and becomes the same ``Route`` objects as a procedural city, so that the same task runs on
it. A pickle can run code when it is read; the one here is read by an unpickler that knows
dicts, tuples, floats and texts and refuses everything else before anything is called.
"""

from __future__ import annotations

import random
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from sftrl_lite.seeds import stream
from sftrl_lite.tasks.navigation import Navigation, unlike
from sftrl_lite.tasks.panoramas import (
    RADIUS,
    DataError,
    Panoramas,
    _is_place,
    is_angle,
    is_text,
    metres,
    read_json,
    read_mapping,
)
from sftrl_lite.tasks.routes import ABSOLUTE, RELATIVE, Leg, Place, Route, Step

CLEAR = 8.0  # metres that a place between two turns keeps from both
BETWEEN = 5  # places tried between two turns ...
DROP = 0.5  # ... of which this share is dropped
MARKERS = re.compile(r"^(?:<image>\n?)+|(?:\n?<image>)+$")  # of pictures, around a prompt
LEGS, LONGEST = 100, 200  # of a route, of a landmark's name: ten times what the released ones have
NOTHING = ("no landmark nearby", "no landmarks nearby", "none", "null", "")


def parse_milestones(text: str) -> list[dict[str, str]]:
    """The blocks of ``milestone_info``: text that looks like JSON and is not.

    Blocks end at ``}``, each line is ``"key": "value",``, lines without a colon do not
    count. A value may hold colons. A closing brace in it would cut the block in two and
    shift everything behind it; that is an error.

    Raises:
        ValueError: no blocks, a brace where none may be, a line that is no pair.
    """
    blocks: list[dict[str, str]] = []
    *parts, rest = text.split("}")
    for i, part in enumerate(parts):
        opening = part.count("{")
        if opening != 1:
            raise ValueError(f"block {i} has {opening} opening braces; is there one in a name?")
        lead, body = part.split("{")
        if lead.strip(" \n\t\r,"):
            raise ValueError(f"block {i} follows {lead.strip()[:40]!r}; is a brace in a name?")
        block = {}
        for line in body.splitlines():
            key, colon, value = line.strip().rstrip(",").partition(":")
            if colon:
                block[key.strip().strip('"')] = value.strip().strip('"')
        blocks.append(block)
    if rest.strip(" \n\t\r,") or not blocks:
        raise ValueError(f"no whole block at {rest.strip()[:40]!r}; is a brace in a name?")
    return blocks


def nested(raw: object, *keys: str) -> Any:
    """A nested field; raises ValueError with its dotted name."""
    for i, key in enumerate(keys):
        if not isinstance(raw, dict) or key not in raw:
            raise ValueError(f"{'.'.join(keys[: i + 1])} is missing")
        raw = raw[key]
    return raw


def _place(value: Any, field: str) -> Place:
    if not _is_place(value):
        raise ValueError(f"{field} is {short(value)}, not a finite latitude and longitude")
    return float(value[0]), float(value[1])


def _heading(block: dict[str, str], field: str) -> float:
    """The degrees of ``"91 (east)"``; the word may be that of a neighbouring eighth."""
    value = re.fullmatch(r"\s*(-?\d{1,4}(?:\.\d*)?)\s*\(([a-z]+)\)\s*", block.get(field, ""))
    if value is None:
        raise ValueError(f'{field} is {short(block.get(field))}, not like "91 (east)"')
    if value[2] not in ABSOLUTE.words:
        raise ValueError(f"{field} is {short(block[field])}, no compass direction")
    degrees = float(value[1]) % 360
    apart = ABSOLUTE.words.index(value[2]) - ABSOLUTE.words.index(ABSOLUTE.word(0, degrees))
    if apart % len(ABSOLUTE.words) not in (0, 1, len(ABSOLUTE.words) - 1):
        raise ValueError(f"{field} is {short(block[field])}: degrees and word differ")
    return degrees


def _landmark(block: dict[str, str]) -> str | None:
    text = block.get("landmarks", "")
    if len(text) > LONGEST or not is_text(text):
        raise ValueError(f"landmarks is {short(text)}, not a text of at most {LONGEST} letters")
    return None if text.strip().rstrip(".").lower() in NOTHING else text.strip()


def _between(
    a: Place, b: Place, panoramas: Panoramas | None, rng: random.Random
) -> list[tuple[Place, None]]:
    """Places on the way from a to b, as in the released code: ``BETWEEN`` tried, some kept."""
    if metres(a, b) <= 5:
        return []
    kept: list[tuple[Place, None]] = []
    for i in range(1, BETWEEN + 1):
        if rng.random() < DROP:
            continue
        t = i / BETWEEN
        place = (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]))
        if panoramas is not None:
            number = panoramas.near(place)
            if number is None:
                continue
            place = panoramas.places[number]
        if metres(a, place) > CLEAR and metres(place, b) > CLEAR:
            kept.append((place, None))
    return kept


def make_route(
    raw: Any, city: str, name: str, panoramas: Panoramas | None = None, seed: int = 0
) -> Route:
    """One entry of ``route_infos.json`` as a ``Route``.

    Block k of ``milestone_info`` belongs to the leg from turning point k to k + 1: its
    heading, and the landmark that is seen at its end. A heading at the start that is 0 or
    missing means "not known" there and is drawn from the seed.

    Args:
        panoramas: turning points are moved to the nearest one; None: text only, they stay.

    Raises:
        ValueError: the field that is missing or wrong.
    """
    rng = stream(seed, "street data", city, name)
    start = _place(nested(raw, "start_place", "relocated_geocode"), "start_place.relocated_geocode")
    listed = nested(raw, "route_results", "geocode_list")
    if not isinstance(listed, list) or not listed:
        raise ValueError("route_results.geocode_list is not a list of places")
    ends = [_place(p, f"route_results.geocode_list[{i}]") for i, p in enumerate(listed)]
    info = nested(raw, "milestone_info")
    if not isinstance(info, str):
        raise ValueError("milestone_info is not text")
    try:
        blocks = parse_milestones(info)
    except ValueError as error:
        raise ValueError(f"milestone_info: {error}") from None
    if len(blocks) > LEGS:
        raise ValueError(f"milestone_info has {len(blocks)} blocks; {LEGS} are the most")
    if len(blocks) != len(ends):
        raise ValueError(
            f"milestone_info has {len(blocks)} blocks for {len(ends)} places in geocode_list"
        )
    heading = raw.get("init_heading") or rng.randrange(360)
    if not is_angle(heading):
        raise ValueError(f"init_heading is {short(heading)}, not degrees")
    places = [start, *ends]
    if panoramas is not None:
        for i, place in enumerate(places):
            if (number := panoramas.near(place)) is None:
                where = f"route_results.geocode_list[{i - 1}]" if i else "start_place"
                raise ValueError(f"{where}: no panorama within {RADIUS:g} m of {place}")
            places[i] = panoramas.places[number]
    legs = []
    for i, block in enumerate(blocks):
        try:
            way, seen = _heading(block, "to_next_intersection_heading"), _landmark(block)
        except ValueError as error:
            raise ValueError(f"milestone_info block {i}: {error}") from None
        passed = _between(places[i], places[i + 1], panoramas, rng)
        legs.append(Leg(way, places[i + 1], seen, tuple(passed)))
    return Route(city, name, places[0], float(heading) % 360, tuple(legs))


@dataclass(frozen=True)
class StreetFolder:
    """A folder of real routes, read."""

    name: str
    routes: tuple[Route, ...]
    panoramas: Panoramas | None

    def look(self, route: Route, step: Step) -> tuple[np.ndarray, float]:
        """The photograph of a step and its rotation.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        number = self.panoramas.near(step.place) if self.panoramas else None
        if self.panoramas is None or number is None:
            raise DataError(f"{self.name}, route {route.name}: no panorama at {step.place}")
        return self.panoramas.read(number)

    def task(self, split: str = "id", pictures: bool = False, **options: Any) -> Navigation:
        """The same task as in a procedural city.

        ``train``: the first four fifths of the routes, absolute words. ``id`` and ``ood-rule``:
        the others, absolute and relative. ``all`` and ``all-rule``: every route of a folder that
        was not trained on, the paper's unseen cities for instance.

        Raises:
            ValueError: unknown split, pictures of a folder that was read without, or too few
                routes to train on some and to keep others.
        """
        if split not in ("train", "id", "ood-rule", "all", "all-rule"):
            raise ValueError(f"unknown split {split!r}; choose train, id, ood-rule, all, all-rule")
        if pictures and self.panoramas is None:
            raise ValueError(f"{self.name} was read without pictures")
        routes = self.routes
        if not split.startswith("all"):
            border = 4 * len(routes) // 5
            trained, kept = routes[:border], unlike(routes[:border], routes[border:])
            if not (trained and kept):
                raise ValueError(f"{self.name} has too few routes to train on some and test others")
            routes = trained if split == "train" else kept
        actions = RELATIVE if split.endswith("-rule") else ABSOLUTE
        look = self.look if pictures else None
        return Navigation(routes, actions, look=look, **options)


def read_streets(
    folder: Path | str, pictures: bool = True, skip_bad: bool = False, seed: int = 0
) -> StreetFolder:
    """All routes of a folder in the released format.

    Args:
        pictures: also read where the photographs are; every place must then have one.
        skip_bad: leave bad routes out, with a warning each, instead of stopping.
        seed: of what the data leave open (places on the way, unknown headings).

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        DataError: one line that names file, route and field.
    """
    folder = Path(folder)
    path = folder / "route_infos.json"
    raw = read_json(path)
    # [routes, their number]
    if not (isinstance(raw, list) and raw and isinstance(raw[0], list) and raw[0]):
        raise DataError(f"{path}: not a list that begins with a list of routes")
    panoramas = None
    if pictures:
        mapping = read_mapping(folder / "gps_pano_mapping.pkl")
        panoramas = Panoramas(folder, tuple(mapping), tuple(mapping.values()))
    routes = []
    for i, entry in enumerate(raw[0]):
        try:
            route = make_route(entry, folder.name, f"{i:04}", panoramas, seed)
            if panoramas is not None:
                _check_photographs(route, panoramas)
            routes.append(route)
        except ValueError as error:
            line = f"{path}, route {i}: {error}"
            if not skip_bad:
                raise DataError(line) from None
            warnings.warn(line, stacklevel=2)
    if not routes:
        raise DataError(f"{path}: no usable route")
    return StreetFolder(folder.name, tuple(routes), panoramas)


def _check_photographs(route: Route, panoramas: Panoramas) -> None:
    """Raise ValueError if a photograph of the route is not in the folder."""
    places = [route.start]
    for leg in route.legs:
        places += [*(place for place, _ in leg.between), leg.end]
    for place in places:
        number = panoramas.near(place)
        assert number is not None, "make_route moves every place to a panorama"
        name = panoramas.ids[number]
        for suffix in (".jpg", ".metadata.json"):
            if not (panoramas.folder / "street_views" / f"{name}{suffix}").is_file():
                raise ValueError(f"street_views/{name}{suffix} is missing")
