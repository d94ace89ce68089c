"""Colab and Kaggle: their own packages are enough for the course, but for trl.

``colab.txt`` holds published versions. To renew it, take the same packages from a newer
list and change the date there and in ``notebooks/build.py``.
"""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LIST = (ROOT / "tests/colab.txt").read_text()
THERE = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", LIST, re.MULTILINE)
}
NEEDED = {
    canonicalize_name(r.name): r
    for r in map(
        Requirement,
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"],
    )
}
INSTALLED = {
    canonicalize_name(r.name): r
    for r in map(Requirement, re.findall(r"'(\w[^' ]+)'$", (ROOT / "hosted.sh").read_text(), re.M))
}


def test_what_is_there_or_installed_is_all_that_is_needed():
    """JupyterLab is the one thing that a hosted notebook does not need."""
    assert NEEDED.keys() - THERE.keys() - INSTALLED.keys() == {"jupyterlab"}


def test_versions_there_are_in_the_ranges():
    for name in NEEDED.keys() & THERE.keys():
        assert NEEDED[name].specifier.contains(THERE[name]), f"{NEEDED[name]}, not {THERE[name]}"


def test_nothing_that_is_there_is_installed_again():
    assert INSTALLED.keys() == {"trl"}
    assert INSTALLED["trl"].specifier == NEEDED["trl"].specifier
    (command,) = re.findall(r"pip install.*", (ROOT / "hosted.sh").read_text())
    assert "--no-deps" in command


def test_the_date_is_the_one_that_chapters_name():
    date = re.search(r"published on\n# (\d+ \w+ \d{4})", LIST)[1]
    assert date in (ROOT / "notebooks/build.py").read_text()
