"""Colab and Kaggle: their own packages are enough for the course, but for trl and transformers.

``colab.txt`` and ``kaggle.txt`` hold published versions. To renew one, take the same packages
from a newer list and change the date there and in ``notebooks/build.py``.
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
HOSTED = (ROOT / "hosted.sh").read_text()
LISTS = {name: (ROOT / f"tests/{name}.txt").read_text() for name in ("colab", "kaggle")}
platform = pytest.mark.parametrize("platform", LISTS)


def by_name(lines: list[str]) -> dict[str, Requirement]:
    """Requirements under their canonical names."""
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


NEEDED = by_name(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
(COMMAND,) = re.findall(r"pip install.*", HOSTED)
INSTALLED = by_name(re.findall(r"'(\w[^' ]+)'", COMMAND))


def there(name: str) -> dict[str, str]:
    """Version of each package of a platform."""
    pins = re.findall(r"^([\w.-]+)==(\S+)$", LISTS[name], re.MULTILINE)
    return {canonicalize_name(package): version for package, version in pins}


@platform
def test_what_is_there_or_installed_is_all_that_is_needed(platform):
    """JupyterLab is the one thing that a hosted notebook does not need."""
    assert NEEDED.keys() - there(platform).keys() - INSTALLED.keys() == {"jupyterlab"}


@platform
def test_versions_there_are_in_the_ranges(platform):
    versions = there(platform)
    for name in NEEDED.keys() & versions.keys() - INSTALLED.keys():
        assert NEEDED[name].specifier.contains(versions[name]), f"{NEEDED[name]}, {versions[name]}"


def test_two_packages_are_installed_and_torch_and_numpy_stay():
    assert {n: r.specifier for n, r in INSTALLED.items()} == {
        name: NEEDED[name].specifier for name in ("transformers", "trl")
    }
    assert "-c kept.txt" in COMMAND and 'in ("torch", "numpy")' in HOSTED


@platform
def test_the_dates_are_the_ones_that_chapters_name(platform):
    date = re.search(r"\d+ [A-Z][a-z]+ \d{4}", LISTS[platform])[0]
    assert date in (ROOT / "notebooks/build.py").read_text()
