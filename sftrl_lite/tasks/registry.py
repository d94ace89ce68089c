"""The tasks by name, as ``--task`` and the ledger call them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sftrl_lite.scales import Scale, get_scale
from sftrl_lite.tasks.base import Task, read_answer
from sftrl_lite.tasks.card_pictures import RELEASED, RELEASED_SIZE
from sftrl_lite.tasks.cards import RANKS
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.tasks.hands import reserved
from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.panoramas import DataError
from sftrl_lite.tasks.prompts import Template, template_for
from sftrl_lite.tasks.sft_data import Demonstration, read_sft_data
from sftrl_lite.tasks.street_data import StreetFolder, read_streets
from sftrl_lite.tasks.street_view import RELEASED_SIZE as RELEASED_VIEWS
from sftrl_lite.tasks.verifier import ranks


def _tested(answer: str) -> bool:
    """Whether an answer is about cards that are reserved for tests.

    Raises:
        ValueError: a card is a list or an object, so that nobody can tell.
    """
    cards = (read_answer(answer) or {}).get("cards")
    if not isinstance(cards, list):
        return False
    if (named := ranks(cards)) is None:
        raise ValueError("cards holds a list or an object; write ranks, as in ['A', '5', 'J', 'K']")
    return set(named) <= set(RANKS) and reserved(named)


@dataclass(frozen=True)
class Entry:
    """What is to be known about a task before one is made.

    Args:
        make: ``make(split, pictures, **options)`` gives the task on a split. Every task has the
            splits ``train`` and ``id`` and the option ``feedback``; those with pictures ``size``.
        splits: that are reported; they need no training.
        most_tries: verification budget at most; 0: as many as a scale has.
        streets: a folder of real routes can take the place of what ``make`` draws from.
        release: options that make pictures as the paper's release has them.
        tested: whether an example's answer gives a problem away that is reserved for tests;
            raises ValueError where it cannot be told.
    """

    make: Callable[..., Task[Any]]
    splits: tuple[str, ...] = ("id", "ood-rule")
    most_tries: int = 0
    streets: bool = False
    release: Mapping[str, Any] = field(default_factory=dict)
    tested: Callable[[str], bool] = lambda answer: False


SEEN = ("id", "ood-rule", "ood-visual")  # reported where there are pictures
# Another task is another line here, and nothing else has to change. A task with pictures has a
# name that ends with -vl: the planner and the engine know it by that.
TASKS: dict[str, Entry] = {
    "gp-l": Entry(general_points, tested=_tested),
    "gp-vl": Entry(
        general_points, SEEN, release={"size": RELEASED_SIZE, "look": RELEASED}, tested=_tested
    ),
    "virl-l": Entry(navigation, most_tries=2, streets=True),  # two tries: paper, appendix B.3
    "virl-vl": Entry(navigation, SEEN, 2, streets=True, release={"size": RELEASED_VIEWS}),
}


read_once = lru_cache(maxsize=4)(read_streets)  # a folder of a thousand routes takes a while


def streets(folder: Path | str, pictures: bool, skip_bad: bool = False) -> StreetFolder:
    """A folder in the released format, read once."""
    return read_once(str(Path(folder).resolve()), pictures, skip_bad)


@lru_cache(maxsize=1)
def given(path: str, task: str, skip_bad: bool = False) -> tuple[list[Demonstration], int]:
    """The examples of a file of SFT data that a task may train on, and how many it may not.

    Examples of cards that are reserved for tests would make the test a memory game. With
    ``skip_bad`` malformed entries are left out, with a warning each, and not counted.

    Raises:
        FileNotFoundError: no such file.
        DataError: a malformed entry, or no example remains.
    """
    kept, left = [], 0
    for example in read_sft_data(path, skip_bad, pictures=task.endswith("-vl")):
        try:
            tested = TASKS[task].tested(example.answer)
        except ValueError as error:
            line = f"{path}, entry {example.entry}: {error}"
            if not skip_bad:
                raise DataError(line) from None
            warnings.warn(line, stacklevel=2)
            continue
        left += tested
        if not tested:
            kept.append(example)
    if not kept:
        rest = "all its cards are reserved for tests" if left else "no usable entry"
        raise DataError(f"{path}: {rest}")
    return kept, left


def make_task(
    name: str,
    split: str = "id",
    scale: Scale | str | None = None,
    data: Path | str | None = None,
    skip_bad: bool = False,
    prompt: Template | Path | str | None = None,
    picture: str = "",
    **options: Any,
) -> Task[Any]:
    """A task by its name in ``TASKS``: GeneralPoints (``gp-``) or navigation (``virl-``), in
    language (``-l``) or with vision (``-vl``).

    Args:
        split: ``train``, ``id``, ``ood-rule``, ``dev-rule``, and with pictures ``ood-visual``
            and ``dev-visual``.
        scale: sets the size of pictures; a row of the table, or its name.
        data: a folder of real routes (``street_data``) instead of the procedural cities.
        skip_bad: leave routes of that folder out that cannot be used, with a warning each.
        prompt: a template or its file, for prompts in other words (``prompts``).
        picture: ``release`` for the layout, size and noise of the paper's release.
        options: of the task, ``feedback="reason"`` for instance.

    Raises:
        ValueError: unknown task or split, pictures for a scale of text, a folder for a task
            without streets, a template that lacks a place.
        FileNotFoundError: the folder or one of its files is missing.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose {', '.join(TASKS)}")
    if data and str(data).endswith(".json"):
        raise ValueError(f"{data} holds answers to imitate, no problems; only sft trains on it")
    entry = TASKS[name]
    if data and not entry.streets:
        raise ValueError(f"a data folder holds streets; it does not serve task {name}")
    pictures = name.endswith("-vl")
    if picture not in ("", "release"):
        raise ValueError(f"unknown picture {picture!r}; choose release")
    if picture and not pictures:
        raise ValueError(f"task {name} shows no pictures, of the release's kind or another")
    if prompt:
        options["template"] = template_for(name, prompt)
    if pictures and not get_scale(scale).picture:
        wrong = f"task {name} shows pictures, and the model of scale {get_scale(scale).name}"
        raise ValueError(f"{wrong} reads text only")
    if pictures:
        usual = entry.release if picture else {"size": get_scale(scale).picture}
        options = {**usual, **options}
    if data:
        return streets(data, pictures, skip_bad).task(split, pictures, **options)
    return entry.make(split, pictures, **options)


def check_base(base: str, task: str) -> None:
    """Refuse a shipped tiny base on a task that it was not made for.

    Raises:
        ValueError: ``data/tiny-gp-vl`` on ``gp-l``, say.
    """
    made = re.search(rf"tiny-({'|'.join(TASKS)})(-[a-z]+)?/?$", str(base))
    if made and made[1] != task:
        raise ValueError(f"{base} was made for task {made[1]}, not {task}; leave the base out")


def budget(name: str, tries: int) -> int:
    """Verification budget: ``tries``, or what a task has at most."""
    most = TASKS[name].most_tries if name in TASKS else 0
    return min(tries, most) if most else tries


def reported(name: str, data: Path | str | None = None) -> tuple[str, ...]:
    """The splits that a task is reported on; other cities than a folder's are another folder."""
    splits = TASKS[name].splits if name in TASKS else Entry.splits
    return tuple(split for split in splits if not (data and split == "ood-visual"))
