"""The page on adding a task works as it stands: its blocks are run, one after the other."""

import json
import math
import random
import re
import textwrap
from pathlib import Path

import pytest

from sftrl_lite.tasks import registry
from sftrl_lite.tasks.base import Task

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")
SECTION = PAGE.partition("## How to add a task\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^   ```python\n(.*?)^   ```$", SECTION, re.DOTALL | re.MULTILINE)


@pytest.fixture
def page(monkeypatch, tmp_path):
    """What is there after the blocks were run in an empty folder."""
    monkeypatch.setattr(registry, "TASKS", dict(registry.TASKS))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(textwrap.dedent(block), "CONTRIBUTING.md", "exec"), names)
    return names


def test_the_page_takes_a_task_to_its_figures(page):
    assert len(BLOCKS) == 5
    figures = page["losses"] + list(page["figures"].values())
    figures += [x for e in page["found"].values() for x in (e.value, e.low, e.high)]
    assert len(page["losses"]) == 1 and len(page["episodes"]) == 8
    assert all(math.isfinite(x) for x in figures)
    assert page["figures"]["generated"] > 0 and page["figures"]["grad_norm"] > 0
    assert page["learner"].step == 1
    # and the task keeps what it promises
    task, rng = page["task"], random.Random(1)
    assert isinstance(task, Task) and registry.budget("digits", 5) == 5
    assert registry.reported("digits") == ("id", "ood-rule")
    for split in registry.reported("digits"):
        assert registry.make_task("digits", split).population == task.population
    with pytest.raises(ValueError, match="unknown split"):
        registry.make_task("digits", "elsewhere")
    tested = {tuple(sorted(p)) for p in task.held_out(rng, task.population)}
    halves = [{tuple(sorted(p)) for p in task.half(k).of(f"train-{k}")} for k in (1, 2)]
    assert all(halves) and tested and not tested & (halves[0] | halves[1])
    assert not halves[0] & halves[1]
    assert {tuple(sorted(p)) for p in task.draw(rng, 500)} <= halves[0] | halves[1]
    other, digits = task.vary(rng, task.sample(rng))
    for judge in (task, other):
        answers = [judge.demonstration(digits), "{}", json.dumps({"total": -1}), '{"total": true}']
        kinds = [judge.verify(digits, answer).kind for answer in answers]
        assert kinds == ["solved", "illegal", "wrong_total", "illegal"]
        assert judge.verify(digits, judge.base_demonstration(digits)).solved
