"""Every task has the methods that the package calls, and no verdict's kind goes undocumented."""

import ast
import inspect
import random
import re
from pathlib import Path

import pytest
from conftest import LengthTask, PictureTask, SevenTask

from sftrl_lite.runs.controls import Answered, Coin, EachItsOwn
from sftrl_lite.tasks import base, street_answers, verifier
from sftrl_lite.tasks.base import Measurable, Playable, Shown, Task, Teachable, Verdict
from sftrl_lite.tasks.registry import TASKS, make_task
from sftrl_lite.training.sft_examples import Given

PACKAGE = Path(base.__file__).parents[1]
REWARDS = {"cards": verifier.REWARDS, "streets": street_answers.REWARDS}


def asked(protocol) -> dict[str, object]:
    """What a protocol asks for, by name; inherited parts too."""
    parts = [part for part in protocol.__mro__ if part.__module__ == base.__name__]
    return {name: x for part in parts for name, x in vars(part).items() if not name.startswith("_")}


def fits(thing, protocol) -> bool:
    """Whether a task has every method, and each takes as many arguments as it will be given."""
    if not isinstance(thing, protocol):
        return False
    methods = {name: f for name, f in asked(protocol).items() if inspect.isfunction(f)}
    wanted = {name: len(inspect.signature(f).parameters) - 1 for name, f in methods.items()}
    found = {name: len(inspect.signature(getattr(thing, name)).parameters) for name in methods}
    return wanted == found


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("split", ["train", "id"])
def test_each_registered_task_is_a_task(name, split):
    assert fits(make_task(name, split, "tiny"), Task)


@pytest.mark.parametrize(
    ("thing", "protocol"),
    [
        (Coin(None, random.Random(0)), Playable),
        (EachItsOwn(), Teachable),
        (Answered(None), Teachable),
        (Given(), Teachable),
        (LengthTask(), Measurable),
        (SevenTask(), Measurable),
        (PictureTask(), Measurable),
    ],
    ids=lambda x: type(x).__name__,
)
def test_controls_and_toys_are_what_their_users_need_and_no_more(thing, protocol):
    assert fits(thing, protocol) and not fits(thing, Task)


def test_a_method_that_is_missing_or_takes_too_little_is_seen():
    class Mute:
        def prompt(self, problem):
            return ""

    class Blind(Mute):
        def picture(self):
            return None

    assert not fits(Mute(), Shown) and not fits(Blind(), Shown)


def test_every_method_of_a_task_is_called_by_somebody():
    files = [p for p in PACKAGE.rglob("*.py") if p.parent.name != "tasks"]
    trees = [ast.parse(p.read_text("utf-8")) for p in files]
    used = {n.attr for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert asked(Task).keys() <= used
    assert {"prompt", "verify", "demonstration", "metrics", "label"} <= asked(Task).keys()


def documented() -> dict[str, dict[str, float]]:
    """The table in ``Verdict``'s docstring: rewards by task and kind."""
    table = Verdict.__doc__.split("=\n")[2]
    rows = re.findall(r"^ *(\w+) +(none|[-\d.]+) +(none|[-\d.]+) {2,}\S", table, re.MULTILINE)
    found = {"cards": {}, "streets": {}}
    for kind, cards, streets in rows:
        for name, points in (("cards", cards), ("streets", streets)):
            found[name] |= {} if points == "none" else {kind: float(points)}
    return found


def test_the_kinds_and_rewards_of_each_task_are_those_of_the_table():
    assert documented() == {name: dict(rewards) for name, rewards in REWARDS.items()}
    assert all(
        {"solved", "illegal", "over_budget"} <= rewards.keys() for rewards in REWARDS.values()
    )


@pytest.mark.parametrize("name", TASKS)
def test_verdicts_have_documented_kinds_and_so_has_the_coin(name):
    task = make_task(name, "train", "tiny")
    kinds = documented()["streets" if name.startswith("virl") else "cards"].keys() - {"over_budget"}
    problems = task.draw(random.Random(3), 6)
    answers = [task.demonstration(problem) for problem in problems] + ["", "{}", "24"]
    coin = Coin(task, random.Random(0))
    found, tossed = set(), set()
    for problem in problems:
        found |= {task.verify(problem, answer).kind for answer in answers}
        tossed |= {coin.verify(problem, answer).kind for answer in answers}
    assert len(found) > 2 and found <= kinds  # others' answers are wrong in more than one way
    assert tossed == {"solved", "illegal"}
