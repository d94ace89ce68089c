"""The tasks by name, as ``--task`` and the ledger call them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from sftrl_lite.general_points import general_points
from sftrl_lite.navigation import navigation
from sftrl_lite.scales import get_scale
from sftrl_lite.street_data import StreetFolder, read_streets

TASKS = ("gp-l", "gp-vl", "virl-l", "virl-vl")


read_once = lru_cache(maxsize=4)(read_streets)  # a folder of a thousand routes takes a while


def streets(folder: Path | str, pictures: bool, skip_bad: bool = False) -> StreetFolder:
    """A folder in the released format, read once."""
    return read_once(str(Path(folder).resolve()), pictures, skip_bad)


def make_task(
    name: str,
    split: str = "id",
    scale: str | None = None,
    data: Path | str | None = None,
    skip_bad: bool = False,
    **options: Any,
) -> Any:
    """A task by its name: GeneralPoints (``gp-``) or navigation (``virl-``), in language
    (``-l``) or with vision (``-vl``).

    Args:
        split: ``train``, ``id``, ``ood-rule``, ``dev-rule``, and with pictures ``ood-visual``
            and ``dev-visual``.
        scale: sets the size of pictures.
        data: a folder of real routes (``street_data``) instead of the procedural cities.
        skip_bad: leave routes of that folder out that cannot be used, with a warning each.
        options: of the task, ``feedback="reason"`` for instance.

    Raises:
        ValueError: unknown task or split, or a folder for a task without streets.
        FileNotFoundError: the folder or one of its files is missing.
    """
    if data and not name.startswith("virl"):
        raise ValueError(f"a data folder holds streets; it does not serve task {name}")
    if name == "gp-l":
        return general_points(split, **options)
    if name == "gp-vl":
        size = get_scale(scale).picture
        return general_points(split, pictures=True, size=size, **options)
    if name in ("virl-l", "virl-vl"):
        pictures = name == "virl-vl"
        size = {"size": get_scale(scale).picture} if pictures else {}
        if data:
            return streets(data, pictures, skip_bad).task(split, pictures, **size, **options)
        return navigation(split, pictures, **size, **options)
    raise ValueError(f"unknown task {name!r}; choose {', '.join(TASKS)}")


def check_base(base: str, task: str) -> None:
    """Refuse a shipped tiny base on a task that it was not bred for.

    Raises:
        ValueError: ``data/tiny-gp-vl`` on ``gp-l``, say.
    """
    bred = re.search(rf"tiny-({'|'.join(TASKS)})(-[a-z]+)?/?$", str(base))
    if bred and bred[1] != task:
        raise ValueError(f"{base} was made for task {bred[1]}, not {task}; leave the base out")


def budget(name: str, tries: int) -> int:
    """Verification budget: ``tries`` for cards, at most two for streets (paper, appendix B.3)."""
    return min(tries, 2) if name.startswith("virl") else tries


def reported(name: str, data: Path | str | None = None) -> tuple[str, ...]:
    """The splits that a task is reported on; other cities than a folder's are another folder."""
    visual = name.endswith("-vl") and not data
    return ("id", "ood-rule", "ood-visual") if visual else ("id", "ood-rule")
