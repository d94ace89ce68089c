"""The workflows of GitHub Actions: rights, limits, the Pythons they name, and what they call."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FLOWS = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in FILES}
JOBS = [(name, job) for name, flow in FLOWS.items() for job in flow["jobs"]]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NEWEST = "3.14"


def steps(name: str, job: str | None = None) -> list[dict]:
    """The steps of a workflow, or of one of its jobs."""
    jobs = FLOWS[name]["jobs"]
    return [step for key in ([job] if job else jobs) for step in jobs[key]["steps"]]


def commands(name: str) -> list[str]:
    return [step["run"] for step in steps(name) if "run" in step]


def events(name: str) -> dict:
    """What starts a workflow. YAML reads its key ``on`` as true."""
    return FLOWS[name][True]


def minor(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def supported() -> list[str]:
    """The Pythons of ``requires-python``, up to the newest that is tested."""
    names = [f"3.{number}" for number in range(minor(NEWEST)[1] + 1)]
    return [name for name in names if SpecifierSet(PROJECT["requires-python"]).contains(name)]


def test_there_are_workflows():
    assert FLOWS.keys() >= {"checks.yml", "pythons.yml", "site.yml", "drift.yml"}


@pytest.mark.parametrize("name", FLOWS)
def test_a_workflow_may_only_read_and_does_not_run_twice(name):
    flow = FLOWS[name]
    assert flow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in flow["jobs"].values())
    assert flow["concurrency"]["group"].startswith(flow["name"])
    assert flow["name"] == Path(name).stem


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_ends_and_pins_its_actions(name, job):
    assert 0 < FLOWS[name]["jobs"][job]["timeout-minutes"] <= 360  # GitHub's own limit
    used = [step for step in steps(name, job) if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in used)
    by_action = {step["uses"].split("@")[0]: step.get("with", {}) for step in used}
    assert by_action["actions/checkout"]["persist-credentials"] is False
    python = by_action["actions/setup-python"]
    assert python["cache"] == "pip"
    assert all((ROOT / path).is_file() for path in python["cache-dependency-path"].split())


def test_one_action_has_one_version():
    used = {step["uses"] for name in FLOWS for step in steps(name) if "uses" in step}
    assert len(used) == len({action.split("@")[0] for action in used})


def test_the_pythons_are_those_of_the_project():
    matrix = FLOWS["pythons.yml"]["jobs"]["unit"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest"] and matrix["python"] == supported()
    others = {row["os"].split("-")[0]: row["python"] for row in matrix["include"]}
    assert others.keys() == {"macos", "windows"} and set(others.values()) <= set(supported())
    prefix = "Programming Language :: Python :: "
    named = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if prefix in line]
    assert [name for name in named if "." in name] == supported()


def test_other_jobs_use_the_python_of_the_constraints():
    (pinned,) = re.findall(r"on Python (3\.\d+)", (ROOT / "constraints.txt").read_text("utf-8"))
    for name in FLOWS.keys() - {"pythons.yml"}:
        for step in steps(name):
            if "setup-python" in step.get("uses", ""):
                assert step["with"]["python-version"] == pinned


@pytest.mark.parametrize(
    ("name", "command"),
    [("checks.yml", ".ci/run"), ("site.yml", "make docs"), ("drift.yml", "make drift")],
)
def test_a_workflow_calls_what_anyone_can_call(name, command):
    assert commands(name) == [command]
    program, *target = command.split()
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert (ROOT / program).is_file() or re.search(rf"^{target[0]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("name", ["checks.yml", "pythons.yml", "site.yml"])
def test_every_push_and_pull_request_is_checked(name):
    assert events(name)["push"] == {"branches": ["main"]} and "pull_request" in events(name)


def test_drift_is_weekly_and_no_chapter_walks_elsewhere():
    (when,) = events("drift.yml")["schedule"]
    assert len(when["cron"].split()) == 5 and when["cron"].split()[2:4] == ["*", "*"]
    assert when["cron"].split()[4] in "0123456"
    assert "pull_request" not in events("drift.yml") and "push" not in events("drift.yml")
    script = (ROOT / ".ci" / "drift").read_text("utf-8")
    assert "-m gpu_walk" in script and "api_drift" in script


def test_unit_tests_need_no_make():
    install, test = commands("pythons.yml")
    assert re.fullmatch(r'python -m pip install -c constraints\.txt -e "\.\[[a-z,]+\]"', install)
    assert test.startswith("python -m pytest ") and "nbmake" not in test
