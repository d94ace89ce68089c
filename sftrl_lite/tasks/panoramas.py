"""The released panoramas and the files that list them, read without running what is in them."""

from __future__ import annotations

import json
import math
import pickletools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeGuard

import numpy as np

from sftrl_lite.pictures import open_picture
from sftrl_lite.tasks.routes import Place

RADIUS = 20.0  # metres within which the nearest panorama stands for a place
METRES = 111_195.0  # a degree of latitude, on a sphere of 6371 km


class DataError(ValueError):
    """What is wrong with a data folder: one line that names file, route and field."""


MOST = 2**26  # bytes of a data file: twenty times what a thousand routes take
NUMBERS = ("FLOAT", "BINFLOAT", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1")
TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING")


# --- files -------------------------------------------------------------------------------


def read_bytes(path: Path, most: int = MOST) -> bytes:
    """A file of at most so many bytes.

    Raises:
        FileNotFoundError: no such file.
        DataError: it is larger.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    if path.stat().st_size > most:
        raise DataError(f"{path}: larger than {most >> 20} MiB")
    return path.read_bytes()


def read_json(path: Path, most: int = MOST) -> Any:
    """What a JSON file of at most so many bytes holds.

    Raises:
        FileNotFoundError: no such file.
        DataError: it is larger, or not JSON.
    """
    try:
        return json.loads(read_bytes(path, most).decode("utf-8"))
    except DataError:
        raise
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a text that can be written; half of a pair (surrogate) cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def read_mapping(path: Path) -> dict[Place, str]:
    """``gps_pano_mapping.pkl``: (latitude, longitude) -> panorama id.

    Raises:
        FileNotFoundError: no such file.
        DataError: it holds anything but such pairs; nothing in it is executed.
    """
    content = read_bytes(path)
    try:
        found = _pairs(content)
    except Exception as error:  # a broken pickle makes its reader raise almost anything
        raise DataError(f"{path}: not a plain mapping: {str(error)[:200]}") from None
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: not a mapping with entries")
    return found


def _pairs(content: bytes) -> Any:
    """The mapping of places to ids in a pickle, by a machine that can do nothing else.

    A pickle is a program for a machine with a stack. This one knows numbers, texts, pairs of
    numbers and one kind of dict, so that whatever it is told it can only build those: no call, no
    nesting, no more memory than the file has bytes.

    Raises:
        ValueError: it is told something else.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    def put(mapping: Any, items: list[Any]) -> None:
        if not isinstance(mapping, dict) or len(items) % 2:
            raise ValueError("it is no dict")
        for place, pano in zip(items[::2], items[1::2], strict=True):
            if not (_is_place(place) and isinstance(place, tuple)):
                raise ValueError(f"{short(place)} is not a finite (latitude, longitude)")
            # the id becomes a file name: letters, digits, - and _ cannot leave the folder
            if not (isinstance(pano, str) and re.fullmatch(r"[\w-]{1,100}", pano)):
                raise ValueError(f"{short(pano)} is not a panorama id")
            mapping[place] = pano

    for code, arg, _ in pickletools.genops(content):
        name = code.name
        if name in NUMBERS or name in TEXTS:
            stack.append(arg)
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("TUPLE", "TUPLE2"):
            pair = since_mark() if name == "TUPLE" else [stack.pop(), stack.pop()][::-1]
            if not _is_place(pair):
                raise ValueError(f"{short(pair)} is not a finite (latitude, longitude)")
            stack.append(tuple(pair))
        elif name in ("EMPTY_DICT", "DICT"):
            items = since_mark() if name == "DICT" else []
            stack.append({})
            put(stack[-1], items)
        elif name in ("SETITEM", "SETITEMS"):
            items = since_mark() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            put(stack[-1], items)
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[arg if isinstance(arg, int) else len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg or 0)])
        elif name not in ("PROTO", "FRAME", "STOP"):
            wanted = stack[-2:] if name == "STACK_GLOBAL" else arg
            raise ValueError(f"it wants {name} {short(wanted)}")
    (found,) = stack
    return found


# --- panoramas ---------------------------------------------------------------------------


def _is_place(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        and abs(value[0]) <= 90  # of NaN this is wrong, and of an endless int right to ask
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
        try:
            pixels = np.asarray(open_picture(path))
        except FileNotFoundError:
            raise DataError(f"{path} is missing") from None
        except ValueError as error:
            raise DataError(f"not a picture: {error}") from None
        try:
            rotation = read_json(notes, 2**20)["rotation"]
        except FileNotFoundError as error:
            raise DataError(str(error)) from None
        except (DataError, KeyError, TypeError):
            raise DataError(f"{notes}: no field rotation") from None
        if not is_angle(rotation):
            raise DataError(f"{notes}: rotation is {short(rotation)}, not degrees")
        return pixels, float(rotation)


def is_angle(value: object) -> bool:
    """Whether a value is a number of degrees: finite, and nobody turns a thousand times."""
    return isinstance(value, int | float) and abs(value) < 360_000
