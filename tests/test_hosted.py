"""Colab and Kaggle: their own packages are enough for the course, but for trl, transformers and
peft, and on a GPU bitsandbytes.

``colab.txt`` and ``kaggle.txt`` hold published versions. To renew one, take the same packages
from a newer list and change the date there and in ``notebooks/build.py``.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from transformers.integrations.peft import MIN_PEFT_VERSION
from transformers.utils.import_utils import ACCELERATE_MIN_VERSION, BITSANDBYTES_MIN_VERSION

ROOT = Path(__file__).parents[1]
HOSTED = (ROOT / "hosted.sh").read_text()
LISTS = {name: (ROOT / f"tests/{name}.txt").read_text() for name in ("colab", "kaggle")}
platform = pytest.mark.parametrize("platform", LISTS)


def by_name(lines: list[str]) -> dict[str, Requirement]:
    """Requirements under their canonical names."""
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = by_name(PROJECT["dependencies"])
FOUR_BITS = by_name(PROJECT["optional-dependencies"]["gpu"])
INSTALLED = by_name(re.findall(r"'(\w[^' ]+[<>=][^' ]+)'", HOSTED))


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


def test_what_is_installed_has_the_ranges_of_the_project():
    wanted = {name: NEEDED[name] for name in ("transformers", "trl", "peft")} | FOUR_BITS
    assert {name: r.specifier for name, r in INSTALLED.items()} == {
        name: r.specifier for name, r in wanted.items()
    }


@pytest.mark.parametrize(
    ("name", "lowest"),
    [
        ("accelerate", ACCELERATE_MIN_VERSION),
        ("peft", MIN_PEFT_VERSION),
        ("bitsandbytes", BITSANDBYTES_MIN_VERSION),
    ],
)
def test_the_ranges_hold_nothing_that_transformers_refuses(name, lowest):
    """transformers asks for these when an adapter is put on, not when it is installed."""
    allowed = (NEEDED | FOUR_BITS)[name].specifier
    (low,) = (Version(part.version) for part in allowed if part.operator == ">=")
    assert low >= Version(lowest)


@pytest.mark.parametrize("gpu", [True, False])
def test_torch_and_numpy_stay_and_a_gpu_gets_four_bits(gpu, tmp_path):
    """The script itself, with a pip that writes down what it is asked for."""
    (tmp_path / "course" / "sftrl_lite").mkdir(parents=True)
    shutil.copy(ROOT / "hosted.sh", tmp_path / "course")
    tools = tmp_path / "tools"
    tools.mkdir()
    asked = f'for word; do echo "$word"; done >{tmp_path}/asked'
    python = f'#!/bin/sh\ncase "$*" in "-m pip"*) {asked};; *) exec {sys.executable} "$@";; esac\n'
    for tool, text in (("python", python), ("nvidia-smi", f"#!/bin/sh\nexit {9 * (not gpu)}\n")):
        (tools / tool).write_text(text)
        (tools / tool).chmod(0o755)
    env = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["sh", tmp_path / "course" / "hosted.sh"], env=env, check=True)
    words = (tmp_path / "asked").read_text().splitlines()
    assert words[:6] == ["-m", "pip", "install", "-q", "-c", "kept.txt"]
    names = by_name(words[6:]).keys()
    assert names == {"transformers", "trl", "peft"} | ({"bitsandbytes"} if gpu else set())
    kept = (tmp_path / "course" / "kept.txt").read_text().splitlines()
    assert kept == [f"{name}=={version(name)}" for name in ("torch", "numpy")]


@platform
def test_the_dates_are_the_ones_that_chapters_name(platform):
    date = re.search(r"\d+ [A-Z][a-z]+ \d{4}", LISTS[platform])[0]
    assert date in (ROOT / "notebooks/build.py").read_text()
