"""The shared Init: made once, up to a level; found by runs; RL refuses what cannot answer."""

import dataclasses
import json
import shutil

import pytest
import torch
from conftest import small_scale
from test_cli import call as call  # the command line as a fixture

from sftrl_lite import scales
from sftrl_lite.models import checkpoints, loading
from sftrl_lite.runs import checks, init, recorder, weights
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.init import first_sft, make_init, meets
from sftrl_lite.runs.run_config import Run
from sftrl_lite.scales import InitSettings, get_scale
from sftrl_lite.training import sft_examples

GOAL = InitSettings(lr=1e-3, every=2, most=6, batch=4, problems=4)
FEW = dict(problems=2, samples=2, minibatch=2, tries=2, max_new_tokens=5)
SMALL = small_scale(rl=FEW, init=GOAL)
FIELDS = dict(scale=SMALL, hands=8, steps=6)


@pytest.fixture
def levels(monkeypatch):
    """Levels that are measured one after the other, whatever the model does."""

    def set_to(*found):
        given = iter(found)
        monkeypatch.setattr(init, "level", lambda *args: next(given))

    return set_to


def at(format_error, success):
    return {"format_error": format_error, "success": success}


def test_an_init_is_made_up_to_its_level_and_kept(base, levels, tmp_path):
    levels(at(1.0, 0.0), at(0.3, 0.4), at(0.04, 0.3))
    folder, told = tmp_path / "init-tiny-gp-l", []
    report = make_init(Run("sft", base=str(base), **FIELDS), folder, GOAL, told.append)
    assert report["steps"] == 4 and report["reached"]
    assert [level["step"] for level in told] == [0, 2, 4]
    said = json.loads((folder / "init.json").read_text())
    assert (said["format_error"], said["success"], said["base"]) == (0.04, 0.3, str(base))
    assert [level["step"] for level in said["levels"]] == [0, 2, 4]
    before, after = loading.load(base)[0], loading.load(folder)[0]
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["init-tiny-gp-l"]

    def never(level):
        raise AssertionError("made again")

    assert make_init(Run("sft", base=str(base), **FIELDS), folder, GOAL, never) == said
    with pytest.raises(ValueError, match="holds an Init of other settings"):
        make_init(Run("sft", base=str(base), lr=0.5, **FIELDS), folder, GOAL)
    with pytest.raises(ValueError, match="holds an Init of other settings"):
        make_init(Run("sft", base=str(base), **FIELDS), folder, dataclasses.replace(GOAL, every=3))


def test_a_goal_that_is_not_reached_is_said(base, tmp_path):
    report = make_init(Run("sft", base=str(base), **FIELDS), tmp_path / "init", GOAL)
    assert report["steps"] == 6 and not report["reached"]
    assert "the goal was format errors under 5%, success from 25% on" in init.verdict(report)
    assert [level["step"] for level in report["levels"]] == [0, 2, 4, 6]


def test_what_is_at_the_level_already_is_kept_as_it_is(base, levels, tmp_path):
    levels(at(0.0, 0.9))
    report = make_init(Run("sft", base=str(base), **FIELDS), tmp_path / "init", GOAL)
    assert report["steps"] == 0 and "over 60%" in init.verdict(report)
    pairs = zip(*(loading.load(f)[0].parameters() for f in (base, tmp_path / "init")), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("killed_at", [2, 4, "the end"])
def test_a_making_that_was_killed_goes_on(killed_at, base, levels, tmp_path, monkeypatch):
    """Also when it was killed after the last measurement, or while the model was written."""
    found = [at(1.0, 0.0), at(0.3, 0.4), at(0.0, 0.3), at(0.0, 0.9)]
    run, folders = Run("sft", base=str(base), **FIELDS), [tmp_path / "whole", tmp_path / "cut"]
    levels(*found)
    make_init(run, folders[0], GOAL)

    class Killed(BaseException):
        pass

    def killer(level):
        if level["step"] == killed_at:
            raise Killed

    def save(*args):
        raise Killed

    levels(*found)
    with pytest.raises(Killed), monkeypatch.context() as patch:
        if killed_at == "the end":
            patch.setattr(init, "save", save)
        make_init(run, folders[1], GOAL, killer)
    assert not folders[1].exists()
    levels(*found[2 if killed_at == 2 else 3 :])
    report = make_init(run, folders[1], GOAL)
    assert report["steps"] == 4 and [level["step"] for level in report["levels"]] == [0, 2, 4]
    pairs = zip(*(loading.load(f)[0].parameters() for f in folders), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_error_that_is_kept_does_not_keep_the_folder(base, levels, tmp_path):
    """A notebook keeps the last one, and with it the variables of all that it came through."""
    levels(at(1.0, 0.0), at(0.04, 0.3))
    run, folder = Run("sft", base=str(base), **FIELDS), tmp_path / "init"

    def stop(level):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        make_init(run, folder, GOAL, stop)
    assert make_init(run, folder, GOAL)["steps"] == 2 and kept.tb


def test_the_level_is_measured_on_problems_that_are_neither_taught_nor_reported(
    base, tmp_path, monkeypatch
):
    taught, asked = [], []
    real = sft_examples.training_rows

    def keep(processor, task, problems):
        taught.extend(problems)
        return real(processor, task, problems)

    monkeypatch.setattr(init, "training_rows", keep)

    def level(run, model, processor, task, problems):
        asked.extend(problems)
        return at(1.0, 0.0)

    monkeypatch.setattr(init, "level", level)
    make_init(Run("sft", base=str(base), scale=SMALL, steps=1, hands=300), tmp_path / "init", GOAL)
    known = {tuple(sorted(hand.numbers)) for hand in taught}
    new = {tuple(sorted(hand.numbers)) for hand in asked}
    kept = recorder.held_out(Run("sft").make("id"), 300, 0)
    assert len(taught) == 300 and not known & new
    assert not (known | new) & {tuple(sorted(hand.numbers)) for hand in kept}


def test_a_level_is_few_format_errors_and_enough_success():
    assert meets(at(0.04, 0.25), GOAL)
    assert not meets(at(0.05, 0.25), GOAL)
    assert not meets(at(0.04, 0.24), GOAL)


def test_a_folder_of_something_else_is_left_alone(base, tmp_path):
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no Init"):
        make_init(Run("sft", base=str(base), **FIELDS), tmp_path / "init", GOAL)
    assert (tmp_path / "init" / "thesis.txt").read_text() == "years of work"


# --- found by runs ---------------------------------------------------------------------


def test_runs_find_the_init_that_was_made(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scales, "ROOT", tmp_path / "elsewhere")
    for scale in ("t4", "full"):
        with pytest.raises(ValueError) as error:
            Run("rl-ppo", scale=scale).filled()
        make = f"make it first: python -m sftrl_lite init --scale {scale} --task gp-l"
        assert str(error.value).endswith(make) and "\n" not in str(error.value)
    shutil.copytree(base, "runs/init-t4-gp-l")
    with pytest.raises(ValueError, match="make it first"):  # half made
        Run("sft", scale="t4").filled()
    (tmp_path / "runs/init-t4-gp-l/init.json").write_text("{}")
    assert get_scale("t4").base_for("gp-l") == "runs/init-t4-gp-l"
    for method in ("sft", "rl-ppo"):
        assert Run(method, scale="t4").filled().base == "runs/init-t4-gp-l"
    before = Run("sft", scale="t4").hash
    sums = tmp_path / "runs/init-t4-gp-l" / checkpoints.SUMS
    sums.write_text(sums.read_text().upper())
    assert Run("sft", scale="t4").hash != before  # another Init, another run
    assert Run("sft", scale="t4", base="x").filled().base == "x"
    with pytest.raises(ValueError, match="--task virl-l"):
        Run("sft", scale="t4", task="virl-l").filled()


def test_a_base_that_is_ready_stays_the_base(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, "runs/init-tiny-gp-l")
    (tmp_path / "runs/init-tiny-gp-l/init.json").write_text("{}")
    assert Run("rl-ppo").filled().base == get_scale("tiny").base_for("gp-l") == "data/tiny-gp-l"


def test_an_adapter_and_all_weights_have_rates_of_their_own():
    full = get_scale("full")
    assert first_sft(Run("sft", scale="full")).lr == full.init.lr
    assert first_sft(Run("sft", scale="full", adapter="none")).lr == full.sft.lr
    assert first_sft(Run("sft", scale="full", lr=0.5)).lr == 0.5
    assert first_sft(Run("sft", scale="full")).base == full.base
    assert first_sft(Run("sft", scale="full", base="init")).base == "tianzhechu/GP-L-Init"
    assert first_sft(Run("sft", scale=SMALL)).lr == GOAL.lr


# --- the first thing that RL asks ------------------------------------------------------

SHORT = dict(scale=SMALL)
SHORT |= dict(steps=1, hands=40, points=1, eval_episodes=2, final_episodes=2, splits=("id",))
SHORT |= dict(curve_episodes=0, pass_samples=0)


def test_rl_refuses_a_model_that_does_not_answer_in_the_format(base, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "READABLE", 0.5)
    run = Run("rl-ppo", base=str(base), **SHORT)
    with pytest.raises(RuntimeError, match=r"\(32 of 32 answers are illegal\).*--anyway") as error:
        train(run, tmp_path / "r")
    assert "\n" not in str(error.value)
    rows = train(run, tmp_path / "r", anyway=True)
    assert {row.step for row in rows} == {0, 1} and rows[0].config_hash == run.hash
    assert train(run, tmp_path / "r") == rows


def test_the_question_takes_nothing_of_a_runs_chance(base, tmp_path, monkeypatch):
    run = Run("rl-ppo", base=str(base), **SHORT | dict(steps=2))
    found = []
    for name, anyway in (("asked", False), ("unasked", True)):
        rows = train(run, tmp_path / name / "r", anyway=anyway)
        found.append([dataclasses.replace(row, minutes=0.0) for row in rows])
    assert found[0] == found[1]


def test_a_shipped_base_may_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "READABLE", 0.9)
    for task in ("gp-l", "virl-l"):
        run = Run("rl-ppo", task=task, hands=32).filled()
        model, processor = weights.load_init(run)
        judge = run.make("train")
        hands = recorder.train_hands(judge, 32, 0)
        checks.check_format(run, model, processor, judge, hands)


def test_the_command_makes_an_init_and_says_its_level(call, base, tmp_path):
    options = ["--base", str(base), "--steps", "2", "--every", "1", "--success", "0.5"]
    status, out, err = call("init", *options, "--out", "made")
    assert status == 0, err
    assert "step     0  format errors 100%, success 0%" in out
    assert "after 2 steps of SFT" in out and "success from 50% on" in out
    assert (tmp_path / "made" / "init.json").is_file()
    status, _, err = call("init", *options, "--out", "made", "--seed", "1")
    assert status == 2 and "holds an Init of other settings" in err
