"""Reader of the paper's released data: V-IRL route folders and SFT files.

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

import io
import json
import math
import pickle
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sftrl_lite.navigation import Navigation, unlike
from sftrl_lite.routes import ABSOLUTE, RELATIVE, Leg, Place, Route, Step
from sftrl_lite.scales import stream

RADIUS = 20.0  # metres within which the nearest panorama stands for a place
CLEAR = 8.0  # metres that a place between two turns keeps from both
BETWEEN = 5  # places tried between two turns ...
DROP = 0.5  # ... of which this share is dropped
METRES = 111_195.0  # a degree of latitude, on a sphere of 6371 km
MARKERS = re.compile(r"^(?:<image>\n?)+|(?:\n?<image>)+$")  # of pictures, around a prompt
NOTHING = ("no landmark nearby", "no landmarks nearby", "none", "null", "")


class DataError(ValueError):
    """What is wrong with a data folder: one line that names file, route and field."""


# --- panoramas ---------------------------------------------------------------------------


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, tuples, floats and texts; whatever needs a class or a call is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it wants {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to another store")


def read_mapping(path: Path) -> dict[Place, str]:
    """``gps_pano_mapping.pkl``: (latitude, longitude) -> panorama id.

    Raises:
        FileNotFoundError: no such file.
        DataError: it holds anything but such pairs; nothing in it is executed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        found = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except Exception as error:  # a broken pickle raises almost anything
        raise DataError(f"{path}: not a plain mapping: {error}") from None
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: not a mapping with entries")
    for place, pano in found.items():
        if not (_is_place(place) and isinstance(place, tuple)):
            raise DataError(f"{path}: {place!r} is not a finite (latitude, longitude)")
        # the id becomes a file name: letters, digits, - and _ cannot leave the folder
        if not (isinstance(pano, str) and re.fullmatch(r"[\w-]{1,100}", pano)):
            raise DataError(f"{path}: {pano!r} is not a panorama id")
    return found


def _is_place(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        and all(map(math.isfinite, value))
        and abs(value[0]) <= 90
        and abs(value[1]) <= 180
    )


def metres(a: Place, b: Place) -> float:
    """Distance of two places (latitude, longitude), exact enough within a city."""
    east = (b[1] - a[1]) * math.cos(math.radians((a[0] + b[0]) / 2))
    return METRES * math.hypot(b[0] - a[0], east)


@dataclass(frozen=True)
class Panoramas:
    """Where there are photographs. ``near`` finds the one that stands for a place."""

    folder: Path
    places: tuple[Place, ...]
    ids: tuple[str, ...]

    def near(self, place: Place) -> int | None:
        """Number of the panorama at a place, or of the nearest within ``RADIUS`` metres."""
        if place in self._numbers:
            return self._numbers[place]
        north, east = (self._points - place).T
        away = METRES * np.hypot(north, east * math.cos(math.radians(place[0])))
        best = int(away.argmin())
        return best if away[best] <= RADIUS else None

    @cached_property
    def _numbers(self) -> dict[Place, int]:
        return {place: i for i, place in enumerate(self.places)}

    @cached_property
    def _points(self) -> np.ndarray:
        return np.array(self.places, float)

    def read(self, number: int) -> tuple[np.ndarray, float]:
        """The photograph, uint8 (rows, columns, 3), and its rotation in degrees.

        Raises:
            DataError: a file is missing, is no picture, or has no rotation.
        """
        path = self.folder / "street_views" / f"{self.ids[number]}.jpg"
        notes = path.with_suffix(".metadata.json")
        for file in (path, notes):
            if not file.is_file():
                raise DataError(f"{file} is missing")
        try:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: not a picture: {error}") from None
        try:
            rotation = json.loads(notes.read_text("utf-8"))["rotation"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{notes}: no field rotation") from None
        if not (isinstance(rotation, int | float) and math.isfinite(rotation)):
            raise DataError(f"{notes}: rotation is {rotation!r}, not degrees")
        return pixels, float(rotation)


# --- routes ------------------------------------------------------------------------------


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


def _get(raw: object, *keys: str) -> Any:
    """A nested field; raises ValueError with its dotted name."""
    for i, key in enumerate(keys):
        if not isinstance(raw, dict) or key not in raw:
            raise ValueError(f"{'.'.join(keys[: i + 1])} is missing")
        raw = raw[key]
    return raw


def _place(value: object, field: str) -> Place:
    if not _is_place(value):
        raise ValueError(f"{field} is {value!r}, not a finite latitude and longitude")
    return float(value[0]), float(value[1])


def _heading(block: dict[str, str], field: str) -> float:
    """The degrees of ``"91 (east)"``; the word in it is checked against them."""
    value = re.fullmatch(r"\s*(-?\d{1,4}(?:\.\d*)?)\s*\(([a-z]+)\)\s*", block.get(field, ""))
    if value is None:
        raise ValueError(f'{field} is {block.get(field)!r}, not like "91 (east)"')
    if value[2] not in ABSOLUTE.words:
        raise ValueError(f"{field} is {block[field]!r}, no compass direction")
    return float(value[1]) % 360


def _landmark(block: dict[str, str]) -> str | None:
    text = block.get("landmarks", "")
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
    raw: object, city: str, name: str, panoramas: Panoramas | None = None, seed: int = 0
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
    start = _place(_get(raw, "start_place", "relocated_geocode"), "start_place.relocated_geocode")
    listed = _get(raw, "route_results", "geocode_list")
    if not isinstance(listed, list) or not listed:
        raise ValueError("route_results.geocode_list is not a list of places")
    ends = [_place(p, f"route_results.geocode_list[{i}]") for i, p in enumerate(listed)]
    info = _get(raw, "milestone_info")
    if not isinstance(info, str):
        raise ValueError("milestone_info is not text")
    try:
        blocks = parse_milestones(info)
    except ValueError as error:
        raise ValueError(f"milestone_info: {error}") from None
    if len(blocks) != len(ends):
        raise ValueError(
            f"milestone_info has {len(blocks)} blocks for {len(ends)} places in geocode_list"
        )
    heading = raw.get("init_heading") or rng.randrange(360)
    if not isinstance(heading, int | float) or not math.isfinite(heading):
        raise ValueError(f"init_heading is {heading!r}, not degrees")
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
            way = _heading(block, "to_next_intersection_heading")
        except ValueError as error:
            raise ValueError(f"milestone_info block {i}: {error}") from None
        passed = _between(places[i], places[i + 1], panoramas, rng)
        legs.append(Leg(way, places[i + 1], _landmark(block), tuple(passed)))
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
        if number is None:
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


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None


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
    raw = _read_json(path)
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
        name = panoramas.ids[panoramas.near(place)]
        for suffix in (".jpg", ".metadata.json"):
            if not (panoramas.folder / "street_views" / f"{name}{suffix}").is_file():
                raise ValueError(f"street_views/{name}{suffix} is missing")


# --- demonstrations ------------------------------------------------------------------------


@dataclass(frozen=True)
class Demonstration:
    """A prompt, its answer, the pictures that belong to it, and its place in the file, from 0."""

    prompt: str
    answer: str
    images: tuple[Path, ...] = ()
    entry: int = 0


def read_sft_data(
    path: Path | str, skip_bad: bool = False, pictures: bool = False
) -> list[Demonstration]:
    """The released SFT data: a JSON list in the form of LLaVA.

    Each entry has ``conversations``, one human and one gpt turn, and perhaps an ``image``, a path
    or a list of paths from the file's own folder. Markers ``<image>`` around a prompt are taken
    away.

    Args:
        skip_bad: leave malformed entries out, with a warning each, instead of stopping.
        pictures: every entry must have one picture, a JPEG or PNG; else they are not looked at.

    Raises:
        FileNotFoundError: no such file.
        DataError: one line that names file, entry and field.
    """
    path = Path(path)
    raw = _read_json(path)
    if not isinstance(raw, list) or not raw:
        raise DataError(f"{path}: not a list with entries")
    found = list(_demonstrations(raw, path, skip_bad, pictures))
    if not found:
        raise DataError(f"{path}: no usable entry")
    return found


def _demonstrations(
    raw: list, path: Path, skip_bad: bool, pictures: bool
) -> Iterator[Demonstration]:
    folder = path.parent.resolve()
    for i, entry in enumerate(raw):
        try:
            turns = _get(entry, "conversations")
            if not isinstance(turns, list) or len(turns) != 2:
                raise ValueError("conversations is not a list of two turns")
            texts = []
            for j, speaker in enumerate(("human", "gpt")):
                if _get(turns[j], "from") != speaker:
                    raise ValueError(f"conversations[{j}].from is not {speaker}")
                if not isinstance(text := _get(turns[j], "value"), str) or not text.strip():
                    raise ValueError(f"conversations[{j}].value is not text")
                texts.append(text)
            images = _images(entry.get("image"), folder)
            prompt = MARKERS.sub("", texts[0])
            if (marks := texts[0].count("<image>")) not in (0, len(images)):
                raise ValueError(f"{marks} markers <image> for {len(images)} pictures")
            if pictures:
                _check_picture(images)
            yield Demonstration(prompt, texts[1], images, i)
        except ValueError as error:
            line = f"{path}, entry {i}: {error}"
            if not skip_bad:
                raise DataError(line) from None
            warnings.warn(line, stacklevel=3)


def _images(named: object, folder: Path) -> tuple[Path, ...]:
    """The files of an entry's ``image``; none of them outside the folder."""
    names = [] if named is None else named if isinstance(named, list) else [named]
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("image is not a path or a list of paths")
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder):
            raise ValueError(f"image {name!r} lies outside the file's folder")
    return tuple(folder / name for name in names)


def _check_picture(images: tuple[Path, ...]) -> None:
    """Raise ValueError unless there is one, a JPEG or PNG. Its pixels are read when needed."""
    if len(images) != 1:
        raise ValueError(f"{len(images)} pictures; a task with pictures shows one")
    name = images[0].name
    if not images[0].is_file():
        raise ValueError(f"image {name} is missing")
    try:
        with Image.open(images[0], formats=("JPEG", "PNG")) as picture:
            small = min(picture.size) < 16
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValueError(f"image {name} is no JPEG or PNG") from None
    if small:
        raise ValueError(f"image {name} is smaller than 16 x 16")
