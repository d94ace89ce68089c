"""Reader of the paper's released SFT data: answers to imitate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftrl_lite.pictures import LEAST, PIXELS, SizeError, check_picture
from sftrl_lite.tasks.panoramas import DataError, is_text, read_json
from sftrl_lite.tasks.street_data import MARKERS, nested

MOST = 2**32  # bytes of a file; 800,000 examples of the released form take a quarter


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
    raw = read_json(path, MOST)
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
            turns = nested(entry, "conversations")
            if not isinstance(turns, list) or len(turns) != 2:
                raise ValueError("conversations is not a list of two turns")
            texts = []
            for j, speaker in enumerate(("human", "gpt")):
                if nested(turns[j], "from") != speaker:
                    raise ValueError(f"conversations[{j}].from is not {speaker}")
                if not is_text(text := nested(turns[j], "value")) or not text.strip():
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


def _images(named: Any, folder: Path) -> tuple[Path, ...]:
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
        check_picture(images[0])
    except SizeError:
        most = f"larger than {PIXELS // 10**6} million pixels"
        raise ValueError(f"image {name} is smaller than {LEAST} x {LEAST}, or {most}") from None
    except ValueError:
        raise ValueError(f"image {name} is no JPEG or PNG") from None
