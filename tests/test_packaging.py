"""pyproject.toml, constraints.txt, environment.yml, Makefile and README say the same."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEADLINE = {"jupyterlab", "torch", "transformers", "trl", "peft", "ipywidgets", "seaborn", "nbmake"}


def by_name(lines: list[str]) -> dict[str, Requirement]:
    """Requirements under their canonical names."""
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in found}


OPTIONAL = PROJECT["optional-dependencies"]
# vLLM asks for one torch, which need not be ours: nobody installs it with these constraints
EXTRAS = [line for name, extra in OPTIONAL.items() if name != "engine" for line in extra]
RANGES = by_name(PROJECT["dependencies"]) | by_name(EXTRAS)
PINS = by_name(
    [s for s in (ROOT / "constraints.txt").read_text().splitlines() if s and s[0] != "#"]
)
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def target_lines(text: str) -> set[str]:
    """Words after ``make`` in code spans and code blocks of a Markdown text."""
    code = re.findall(r"```.*?```|`[^`]+`", text, flags=re.DOTALL)
    return {w for c in code for w in re.findall(r"(?:^|[`\s])make ([\w-]+)", c, flags=re.MULTILINE)}


def test_every_dependency_is_pinned_within_its_range():
    assert RANGES.keys() <= PINS.keys()
    for name, wanted in RANGES.items():
        (pin,) = PINS[name].specifier
        assert wanted.specifier.contains(pin.version), f"{wanted} does not admit {pin.version}"


def test_pins_are_exact_and_portable():
    for requirement in PINS.values():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(requirement.specifier)), requirement
        assert not requirement.url


def test_pins_admit_the_oldest_python_that_is_declared():
    """Of the packages that are installed here at their pinned versions."""
    (floor,) = SpecifierSet(PROJECT["requires-python"])
    here = [d for d in distributions() if d.metadata["Requires-Python"]]
    pinned = [
        d
        for d in here
        if (pin := PINS.get(canonicalize_name(d.metadata["Name"])))
        and pin.specifier.contains(d.version)
    ]
    assert len(pinned) > 100
    for d in pinned:
        wanted = SpecifierSet(d.metadata["Requires-Python"])
        assert wanted.contains(f"{floor.version}.0"), f"{d.metadata['Name']} {d.version}: {wanted}"


def test_a_copy_of_the_package_alone_says_what_is_missing(tmp_path):
    """As ``pip install .`` makes one: no command and no chapter goes on without the ledger."""
    shutil.copytree(ROOT / "sftrl_lite", tmp_path / "sftrl_lite")
    for words in (["-c", "import sftrl_lite.results.ledger"], ["-m", "sftrl_lite", "--help"]):
        command = [sys.executable, *words]
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode != 0 and done.stdout == ""
        assert "In a clone of the repository: pip install -e ." in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize("ensurepip", [True, False])
def test_setup_keeps_what_an_environment_of_uv_holds(ensurepip, tmp_path):
    """They have no pip, and some Pythons no ensurepip. Nothing is installed here."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True
    )
    (site,) = tmp_path.glob(".venv/lib/python*/site-packages")
    (site / "mine.py").touch()
    env = {name: x for name, x in os.environ.items() if name not in ("MAKEFLAGS", "PYTHONPATH")}
    env |= {"PIP_NO_INDEX": "1"}
    if not ensurepip:
        (tmp_path / "ensurepip.py").write_text("raise SystemExit(1)")
        env |= {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(["make", "setup"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and (site / "mine.py").is_file()
    assert (site / "pip").is_dir() == ensurepip
    says = "pip failed" if ensurepip else "holds packages and has no pip, which it needs: uv pip"
    assert f"setup: .venv {says}" in done.stderr or f"setup: {says}" in done.stderr


def test_ranges_are_closed():
    for requirement in by_name(PROJECT["dependencies"]).values():
        assert {s.operator for s in requirement.specifier} == {">=", "<"}, requirement


def imports(path: Path) -> set[str]:
    """Packages that a Python file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


def test_headline_packages_are_declared_and_used():
    assert RANGES.keys() >= HEADLINE
    used = set().union(*(imports(path) for path in (ROOT / "sftrl_lite").rglob("*.py")))
    assert used >= HEADLINE - {"jupyterlab", "nbmake"}  # these two run notebooks


@pytest.mark.parametrize("name", ["plots", "dot_plots", "recognition_plots"])
def test_figures_are_drawn_with_seaborn(name):
    assert "seaborn" in imports(ROOT / "sftrl_lite" / "results" / f"{name}.py")


@pytest.mark.parametrize("asked", ["--help", "rl --help", "rl --scale huge"])
def test_the_command_line_answers_without_loading_what_trains(asked):
    ask = f"import sys, runpy; sys.argv[1:] = {asked.split()}; runpy.run_module('sftrl_lite', "
    ask += "run_name='__main__', alter_sys=True)"
    code = f"import atexit, sys; atexit.register(lambda: print(*sys.modules)); {ask}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ("Usage" in done.stdout) == ("help" in asked) == (done.returncode == 0), done.stderr
    assert "runpy" in done.stdout.split()
    slow = {"torch", "transformers", "peft", "trl", "pandas", "scipy", "seaborn", "matplotlib"}
    assert not slow & set(done.stdout.split())


def test_conda_environment_agrees():
    conda = [d for d in CONDA["dependencies"] if isinstance(d, str)]
    (pip,) = (d["pip"] for d in CONDA["dependencies"] if isinstance(d, dict))
    python = next(d for d in conda if d.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert "pip" in conda
    assert {"-c constraints.txt", "-e .[test,docs]"} <= set(pip)
    named = by_name([line for line in pip if not line.startswith("-")])
    assert named.keys() == HEADLINE
    assert all(named[name] == RANGES[name] for name in named)


def test_every_import_is_declared():
    """What the package imports is in its dependencies (or comes inside one of them)."""
    bundled = {
        "huggingface_hub": "transformers",
        "tokenizers": "transformers",
        "IPython": "ipywidgets",
        "PIL": "pillow",
        "jinja2": "torch",
    }
    own = by_name(PROJECT["dependencies"] + OPTIONAL["gpu"] + OPTIONAL["engine"]).keys()
    for path in (ROOT / "sftrl_lite").rglob("*.py"):
        for name in imports(path) - sys.stdlib_module_names:
            known = canonicalize_name(bundled.get(name, name))
            assert known in own | {"sftrl-lite"}, f"{path.name} imports {name}"


@pytest.mark.parametrize("text", ["make run", "`make run`", "```\nmake lab  # open\nmake run\n```"])
def test_target_lines(text):
    assert ("run" in target_lines(text)) == ("`" in text)


def test_commands_of_the_pages_are_make_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"run", "lab"} <= target_lines((ROOT / "README.md").read_text())
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
    for page in pages:
        assert target_lines(page.read_text("utf-8")) <= targets, page


def test_make_help_lists_every_target_in_a_group():
    text = (ROOT / "Makefile").read_text("utf-8")
    lines = [line for line in text.splitlines() if re.match(r"##@ |[a-z-]+:(?!.*export)", line)]
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert [line.split(":")[0] for line in lines if "##@" not in line] == phony.split()
    at_first_group = next(n for n, line in enumerate(lines) if line.startswith("##@"))
    assert all("  ## " in line for line in lines[at_first_group:] if "##@" not in line)
    assert lines[:at_first_group] == ["help:"]


def releases() -> list[tuple[str, str]]:
    """Versions and dates of the changelog, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    return re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)


def test_the_version_is_the_newest_release_of_the_changelog():
    assert PROJECT["version"] == releases()[0][0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]


def test_the_changelog_is_in_order():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == ["[Unreleased]", *(f"[{version}] - {day}" for version, day in releases())]
    numbers = [tuple(map(int, version.split("."))) for version, _ in releases()]
    days = [date.fromisoformat(day) for _, day in releases()]
    assert numbers == sorted(set(numbers), reverse=True) and days == sorted(days, reverse=True)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_test_file_is_run():
    """CI runs make test and make browser, and they run whatever holds a test."""
    folders = [ROOT / name for name in ("notebooks", "sftrl_lite", "tests")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    holding = [p for p in files if re.search(r"^ *(async )?def test_", p.read_text(), re.MULTILINE)]
    assert holding
    assert all(p.parent == ROOT / "tests" and p.name.startswith("test_") for p in holding)
    assert {"make test", "make browser"} <= set(
        re.findall(r"make (?:test|browser)", (ROOT / ".ci" / "run").read_text())
    )
    runs = re.findall(r"-m pytest(.*)", (ROOT / "Makefile").read_text())
    assert runs[0] == " -n $(JOBS)"
    assert " -m browser -rs tests/test_browser.py tests/test_slides.py" in runs
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests"]
    chosen = "not browser and not gpu_walk"
    assert shlex.split(settings["addopts"]) == ["-q", "--strict-markers", "-m", chosen]
    marks = {"browser": {"browser", "slides"}, "gpu_walk": {"chapters_as_on_a_gpu"}}
    for mark, names in marks.items():
        marked = re.compile(rf"mark\.{mark}$", re.MULTILINE)
        found = {p.name for p in holding if marked.search(p.read_text())}
        assert found == {f"test_{name}.py" for name in names}
    assert "collect_ignore" not in (ROOT / "tests" / "conftest.py").read_text()
