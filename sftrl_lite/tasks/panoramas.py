"""The released panoramas and the files that list them, read without running what is in them."""

from __future__ import annotations

import io
import json
import math
import pickle
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sftrl_lite.tasks.routes import Place

RADIUS = 20.0  # metres within which the nearest panorama stands for a place
METRES = 111_195.0  # a degree of latitude, on a sphere of 6371 km


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
