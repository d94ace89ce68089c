"""Colab and Kaggle: their own packages are enough for the course, but for trl, transformers and
peft, and on a GPU bitsandbytes.

``colab.txt`` and ``kaggle.txt`` hold published versions. To renew one, take the same packages
from a newer list and change the date there and in ``notebooks/build.py``.
"""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.metadata import requires, version
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
ASKED = [
    w
    for line in re.findall(r"^\t?set -- (.+)$", HOSTED, re.M)
    for w in shlex.split(line)
    if w != "$@"
]
TESTED = by_name(re.findall(r"^[^#].*$", (ROOT / "constraints.txt").read_text("utf-8"), re.M))
# Each at its tested version, if the script names no range
INSTALLED = {n: r if r.specifier else TESTED[n] for n, r in by_name(ASKED).items()}
# What a kernel may have in use before its first cell: what pandas, figures and widgets bring
HELD = "numpy pandas pyarrow torch scipy matplotlib seaborn pillow ipython ipywidgets ipykernel "
HELD += "traitlets tornado pyzmq psutil packaging python-dateutil pytz typing-extensions requests "
HELD += "urllib3 certifi jinja2 pyyaml tqdm fsspec filelock click typer httpx regex datasets"


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


def test_what_is_installed_is_in_the_ranges_of_the_project():
    for name, wanted in (NEEDED | FOUR_BITS).items():
        if name in INSTALLED:
            (pin,) = INSTALLED[name].specifier
            assert wanted.specifier.contains(pin.version)


def test_nothing_changes_that_a_kernel_may_hold():
    """pip takes nothing along, so what changes is what is named."""
    assert "pip install -q --no-deps -c tested.txt" in HOSTED
    assert not INSTALLED.keys() & set(HELD.split())


# Not met there, and not needed: trl reads no Parquet for us, and hf's command line is not used
UNMET = {("trl", "datasets"), ("trl", "pyarrow"), ("huggingface-hub", "click")}


@platform
def test_what_is_installed_finds_there_what_it_needs(platform):
    """By the requirements of the tested versions; what is there may go on using what changes."""
    found = (
        there(platform) | {name: version(name) for name in INSTALLED} | {"huggingface-hub": "1.33"}
    )
    needs = {name: list(map(Requirement, requires(name) or ())) for name in INSTALLED}
    needs["huggingface-hub"] = list(map(Requirement, HUB))
    unmet = {
        (name, canonicalize_name(r.name))
        for name, requirements in needs.items()
        for r in requirements
        if not r.marker or r.marker.evaluate({"extra": ""})
        if not r.specifier.contains(found[canonicalize_name(r.name)])
    }
    assert unmet <= UNMET
    (hub,) = (r for r in map(Requirement, ASKED) if r.name == "huggingface_hub")
    assert hub.specifier.contains("1.33.0") and not hub.specifier.contains(
        "2.0"
    )  # gradio, diffusers


HUB = ["click<9,>=8.4.2", "filelock>=3.10", "fsspec>=2023.5", "hf-xet<2,>=1.6", "httpx<1,>=0.23"]
HUB += ["packaging>=20.9", "pyyaml>=5.1", "tqdm>=4.42.1", "typing-extensions>=4.1"]  # of 1.33


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
def test_pip_is_asked_for_the_tested_versions_until_it_succeeds(gpu, tmp_path):
    """The script itself, with a pip that fails once and writes down what it is asked for."""
    (tmp_path / "course" / "sftrl_lite").mkdir(parents=True)
    for name in ("hosted.sh", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / "course")
    tools = tmp_path / "tools"
    tools.mkdir()
    python = (
        f'#!/bin/sh\nfor word; do echo "$word"; done >{tmp_path}/asked; test -e {tmp_path}/net\n'
    )
    for tool, text in (("python", python), ("nvidia-smi", f"#!/bin/sh\nexit {9 * (not gpu)}\n")):
        (tools / tool).write_text(text, "utf-8")
        (tools / tool).chmod(0o755)
    env = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    link = tmp_path / "sftrl_lite"  # where it is, the first cell does nothing more
    for works in (False, True):
        if works:
            (tmp_path / "net").touch()
        done = subprocess.run(["sh", tmp_path / "course" / "hosted.sh"], env=env)
        assert (done.returncode == 0) == link.is_dir() == works
    words = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert words[:7] == ["-m", "pip", "install", "-q", "--no-deps", "-c", "tested.txt"]
    names = by_name(words[7:]).keys()
    assert names == INSTALLED.keys() - (set() if gpu else {"bitsandbytes"})
    tested = (tmp_path / "course" / "tested.txt").read_text("utf-8")
    assert "\ntransformers==" in tested and "\nhuggingface_hub==" not in tested


@platform
def test_the_dates_are_the_ones_that_chapters_name(platform):
    date = re.search(r"\d+ [A-Z][a-z]+ \d{4}", LISTS[platform])[0]
    assert date in (ROOT / "notebooks/build.py").read_text()
