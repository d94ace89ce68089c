"""Pictures from files that strangers made: JPEG or PNG, of a bounded size, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from sftrl_lite.processes import first_line

FORMATS = ("JPEG", "PNG")  # others may start programs (EPS), or are read by code that few use
PIXELS = 40_000_000  # a panorama of 8192 x 4096 has 33.6 million, which take 100 MB
LEAST = 16  # pixels of a side


class SizeError(ValueError):
    """A picture that is smaller or larger than is allowed."""


@contextmanager
def _opened(path: str | Path | IO[bytes]) -> Iterator[Image.Image]:
    """A picture whose pixels are not read yet.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JPEG or PNG, broken, or of another size than is allowed.
    """
    if isinstance(path, str | Path) and not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no picture here")
    try:
        with Image.open(path, formats=FORMATS) as file:
            wide, high = file.size
            if min(file.size) >= LEAST and wide * high <= PIXELS:
                yield file
                return
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes its reader raise almost anything
        raise ValueError(f"{path} is no picture or is broken: {first_line(error)[:200]}") from None
    if min(wide, high) < LEAST:
        raise SizeError(f"{path} is {wide} x {high}; {LEAST} x {LEAST} is the least")
    raise SizeError(f"{path} is {wide} x {high}; {PIXELS // 10**6} million pixels are the most")


def open_picture(path: str | Path | IO[bytes]) -> Image.Image:
    """A picture from a file, as RGB.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JPEG or PNG, broken, smaller than 16 x 16 or larger than ``PIXELS``.
    """
    with _opened(path) as file:
        return file.convert("RGB")


def check_picture(path: str | Path) -> None:
    """Raise as ``open_picture`` does, from what a file says at its beginning."""
    with _opened(path):
        pass
