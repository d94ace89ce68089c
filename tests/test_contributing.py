"""The map in CONTRIBUTING.md is true: every module, and every function on the walk of a hand."""

import importlib
import inspect
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
WALK = PAGE.partition("## One hand")[2].partition("\n## ")[0]
NAMES = list(dict.fromkeys(re.findall(r"`([a-z]+\.[a-z]\w*(?:\.\w+)+)`", WALK)))


def test_the_layout_lists_every_module_once_with_the_first_sentence_it_says():
    tools = runpy.run_path(str(ROOT / "docs/layout.py"))
    (there,) = tools["BLOCK"].findall(PAGE)
    assert there == tools["layout"](), "write it again: python docs/layout.py"
    modules = sorted(p.name for p in (ROOT / "sftrl_lite").rglob("[!_]*.py"))
    listed = [line.split()[0] for line in there.splitlines()]
    assert sorted(name for name in listed if re.match(r"[a-z]\w*\.py", name)) == modules
    assert all(len(line.split()) > 3 for line in there.splitlines())  # each says something


def found(name):
    """A function, method, class or table by its dotted name below ``sftrl_lite``."""
    room, module, *inside = name.split(".")
    thing = importlib.import_module(f"sftrl_lite.{room}.{module}")
    for part in inside:
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("i", range(1, len(NAMES)))
def test_each_function_of_the_walk_exists_and_is_used_by_one_above_it(i):
    last = NAMES[i].rpartition(".")[2]
    assert found(NAMES[i]) is not None
    above = [thing for name in NAMES[:i] if callable(thing := found(name))]
    assert any(re.search(rf"\b{last}\b", inspect.getsource(thing)) for thing in above), NAMES[i]


def test_the_walk_goes_from_the_deal_to_the_ledger():
    assert {"tasks.cards.deal", "training.rl.rl_step"} < set(NAMES)
    assert len(NAMES) > 30 and NAMES[-1] == "results.ledger.append"
