"""A run is the same whether it was interrupted or not, and refuses what would spoil it."""

import dataclasses
import json
import math
import os
import random
import shutil

import pytest
import torch
from conftest import make_seeing, small_scale

from sftrl_lite.models import loading
from sftrl_lite.results import intervals, ledger
from sftrl_lite.runs import execute, recorder, resume, weights
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.runs.run_config import Run
from sftrl_lite.training import rl

FEW = dict(problems=2, samples=2, minibatch=2, tries=2, max_new_tokens=6)
SMALL = small_scale(picture=40, sft=dict(batch=4), rl=FEW)
BASE_FIELDS = dict(
    scale=SMALL, seed=1, steps=6, hands=6, points=2, eval_episodes=4, final_episodes=4
)
BASE_FIELDS |= dict(curve_episodes=2, pass_samples=2)
ID = {("id", "success@2", "0.6/0.9"): intervals.Estimate(0.5, 4, 0.4, 0.6)}


@pytest.fixture(scope="module")
def seeing_base(processor, tmp_path_factory):
    """A random model with eyes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("seeing") / "model"
    loading.save(make_seeing(processor), processor, folder)
    return folder


@pytest.fixture(autouse=True)
def no_commit(monkeypatch):
    monkeypatch.setattr(recorder, "commit", lambda: "abc1234")  # somebody may commit meanwhile


def values(rows):
    return [dataclasses.replace(row, minutes=0.0) for row in rows]


class Killed(BaseException):
    """As sudden as a signal: nothing in the package catches it."""


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("rl-ppo", {}),
        ("rl-grpo", {"temperature": 0.5}),
        ("rl-random", {}),
        ("sft", {}),
        ("sft-kl", {}),
        ("rl-ppo", {"warmup": 2}),
        ("rl-grpo", {"warmup": 2, "fresh": True}),
    ],
)
def test_a_killed_run_resumes_to_the_same_numbers(method, more, base, tmp_path):
    run = Run(method, base=str(base), **BASE_FIELDS, **more)
    whole = values(train(run, tmp_path / "whole"))

    stop = random.Random(method).randint(2, 5)

    def killer(share):
        if round(share * 6) == stop:
            raise Killed

    for cached in tmp_path.glob("init-*.csv"):
        cached.unlink()  # so that Init is measured again, not read
    with pytest.raises(Killed):
        train(run, tmp_path / "cut", progress=killer)
    assert not (tmp_path / "cut" / "model").exists()
    assert values(train(run, tmp_path / "cut")) == whole
    first, second = (loading.load(tmp_path / name / "model")[0] for name in ("whole", "cut"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", ["rl-ppo", "sft"])
def test_a_killed_run_on_pictures_resumes_to_the_same_numbers(method, seeing_base, tmp_path):
    fields = {**BASE_FIELDS, "steps": 3, "points": 3, "eval_episodes": 2, "final_episodes": 2}
    run = Run(method, task="gp-vl", base=str(seeing_base), splits=("ood-visual",), **fields)
    whole = values(train(run, tmp_path / "whole"))
    assert {row.split for row in whole} == {"train", "ood-visual"}
    assert {row.step for row in whole} == {0, 1, 2, 3}

    def killer(share):
        if round(share * 3) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "cut", progress=killer)
    assert values(train(run, tmp_path / "cut")) == whole
    (first, eyes), (second, _) = (loading.load(tmp_path / n / "model") for n in ("whole", "cut"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert eyes.image_processor.size["height"] == 40  # a processor comes back, not a tokenizer


def test_a_warm_up_moves_away_from_init_before_rl_begins(base, tmp_path):
    fields = {**BASE_FIELDS, "steps": 1, "points": 1, "pass_samples": 0, "curve_episodes": 4}
    cold, warm = (
        train(Run("rl-ppo", base=str(base), warmup=n, **fields), tmp_path / f"{n}") for n in (0, 2)
    )
    start = [
        {(row.split, row.metric, row.decoding): row.value for row in rows if row.step == 0}
        for rows in (cold, warm)
    ]
    assert start[0]["id", "kl", "1"] == start[0]["id", "kl_init", "1"] == 0
    assert start[0]["train", "changed", ""] == 0
    assert start[1]["id", "kl", "1"] != 0 and start[1]["train", "changed", ""] > 0.5
    assert start[1]["train", "flops_paper", ""] == start[1]["train", "updates", ""] == 0
    assert not any(row.metric.startswith("pass@") for row in cold)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (dict(method="sft", warmup=2), "SFT before RL"),
        (dict(warmup_lr=0.1), "warmup_lr is 0.1, but there are no warm-up steps"),
        (dict(fresh=True), "fresh is True, but there are no warm-up steps"),
        (dict(method="sft", temperature=1.0), "SFT does not sample while it trains"),
        (dict(temperature=-0.5), "temperature is -0.5; it cannot be negative"),
        (dict(temperature=10.5), "temperature is 10.5; it has to lie between 0 and 10"),
        (dict(eval_temperature=11.0), "temperature is 11; it has to lie between 0 and 10"),
        (dict(eval_temperature=math.nan), "temperature is nan"),
        (dict(eval_top_p=0.0), "top_p is 0; it has to be above 0 and at most 1"),
        (dict(eval_top_p=1.01), "top_p is 1.01; it has to be above 0 and at most 1"),
        (dict(curve_episodes=-1), "curve_episodes is -1; it cannot be negative"),
    ],
)
def test_impossible_settings_are_one_line(fields, says):
    with pytest.raises(ValueError) as error:
        Run(**{"method": "rl-ppo"} | fields)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_hash_says_what_is_unusual_and_nothing_else():
    plain = Run("rl-ppo")
    for same in (dict(temperature=1.0), dict(eval_temperature=0.6), dict(seed=0, fresh=False)):
        assert Run("rl-ppo", **same).hash == plain.hash  # the scale's, or as usual
    others = [
        dict(eval_temperature=0.0),
        dict(eval_top_p=1.0),
        dict(curve_episodes=0),
        dict(temperature=0.7),
        dict(warmup=2),
        dict(warmup=2, fresh=True),
        dict(eval_episodes=7),
        dict(final_episodes=7),
    ]
    hashes = {Run("rl-ppo", **fields).hash for fields in others} | {plain.hash}
    assert len(hashes) == 1 + len(others)


def test_the_episodes_of_an_evaluation_are_the_scales_or_all_there_are():
    walks = Run("sft", task="virl-l").make("id").population
    assert Run("sft").filled().eval_episodes == Run("sft").filled().final_episodes == 500
    assert walks > 500 == Run("sft", task="virl-l").filled().eval_episodes
    wide = dict(task="virl-l", scale=small_scale(eval_episodes=10**6))
    assert Run("sft", **wide).filled().final_episodes == walks
    assert Run("sft", **wide, eval_episodes=9).filled().eval_episodes == 9
    for name in ("eval_episodes", "final_episodes"):  # said before anything is trained
        with pytest.raises(ValueError) as error:
            Run("sft", task="virl-l", **{name: walks + 1}).filled()
        says = f"--{name.replace('_', '-')} {walks + 1}: virl-l has {walks} test problems"
        assert str(error.value) == says


def test_minutes_go_on_where_a_run_is_resumed(base, tmp_path):
    run = Run("sft", base=str(base), **BASE_FIELDS | dict(steps=1, points=1, splits=("id",)))
    first = train(run, tmp_path)
    recorder.write_rows(tmp_path, [dataclasses.replace(row, minutes=60.0) for row in first])
    again = recorder_of(run, tmp_path).row(2, "id", "success", "0.6/0.9", first[0])
    assert 60 <= again.minutes < 61


def test_imitating_oneself_needs_a_right_answer(base, tmp_path):
    with pytest.raises(ValueError, match="none of 48 answers is right"):
        train(Run("sft-verified", base=str(base), **BASE_FIELDS), tmp_path / "r")


def test_training_changes_the_weights(base, tmp_path):
    train(Run("rl-ppo", base=str(base), **BASE_FIELDS), tmp_path / "r")
    before, after = loading.load(base)[0], loading.load(tmp_path / "r" / "model")[0]
    assert any(
        not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    )


def test_a_finished_run_is_read_not_repeated(base, tmp_path):
    run = Run("rl-ppo", base=str(base), **BASE_FIELDS)
    first = train(run, tmp_path / "r", record=tmp_path / "ledger.csv")

    def never(share):
        raise AssertionError("trained again")

    again = train(run, tmp_path / "r", progress=never, record=tmp_path / "ledger.csv")
    assert again == first
    assert len(ledger.read(tmp_path / "ledger.csv")) == len(first)


def test_another_configuration_is_refused_and_loses_nothing(base, tmp_path):
    train(Run("rl-ppo", base=str(base), **BASE_FIELDS), tmp_path / "r")
    rows = (tmp_path / "r" / "rows.csv").read_bytes()
    with pytest.raises(ValueError, match="other settings"):
        train(Run("rl-ppo", base=str(base), **{**BASE_FIELDS, "seed": 2}), tmp_path / "r")
    assert (tmp_path / "r" / "rows.csv").read_bytes() == rows


def test_a_folder_in_use_is_refused(base, tmp_path):
    run = Run("rl-ppo", base=str(base), **BASE_FIELDS).filled()
    busy = f"in use by process {os.getpid()};"
    with resume.claim(run, tmp_path / "r"), pytest.raises(ValueError, match=busy):
        train(run, tmp_path / "r")


def test_damaged_checkpoint_and_config_are_one_line(base, tmp_path):
    run = Run("rl-ppo", base=str(base), **BASE_FIELDS)
    train(run, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "model")
    (tmp_path / "r" / "checkpoint.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint.pt is damaged"):
        train(run, tmp_path / "r")
    (tmp_path / "r" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        train(run, tmp_path / "r")


def test_a_file_in_the_way_is_one_line(base, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="cannot be written"):
        train(Run("rl-ppo", base=str(base), **BASE_FIELDS), tmp_path / "file")


@pytest.mark.parametrize("name", resume.MADE)
def test_a_folder_of_something_else_is_left_alone(name, base, tmp_path):
    out = tmp_path / "r"
    (out / name).mkdir(parents=True)
    (out / name / "thesis.txt").write_text("years of work")
    says = r"r has no config\.json, so it holds something else; choose another --out"
    with pytest.raises(ValueError, match=says):
        train(Run("sft", base=str(base), **BASE_FIELDS), out)
    assert {*out.rglob("*")} == {out / name, out / name / "thesis.txt"}


def test_equal_compute_stops_at_the_limit(base, tmp_path):
    limit = 0.0006
    fields = {**BASE_FIELDS, "steps": 0, "tflop": limit}
    for method in ("rl-ppo", "sft"):
        rows = train(Run(method, base=str(base), **fields), tmp_path / method)
        spent = [row.value / 1e12 for row in rows if row.metric == "flops_paper"]
        assert spent == sorted(spent)
        assert len(spent) == 1 + fields["points"]
        assert spent[0] == 0
        assert 0.9 * limit <= spent[-1] < 1.5 * limit


def test_shipped_folders_are_checked(base, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="SHA-256"):
        loading.load(copy)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        loading.load(copy)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        loading.load("data/not-there")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_hub_models_say_what_is_missing():
    with pytest.raises(RuntimeError, match="needs a CUDA GPU"):
        loading.load("meta-llama/Llama-3.2-11B-Vision-Instruct")


# --- what is measured ------------------------------------------------------------------


def recorder_of(run, out):
    """A run's recorder before the first step."""
    run = run.filled()
    model, processor = weights.load_init(run)
    hands = train_hands(run.make("train"), run.hands, run.seed)
    return recorder.Recorder(run, out, "x", model, processor, hands)


def found_by(rows):
    whole = ("value", "n", "low", "high")
    return {
        (row.split, row.metric, row.decoding): tuple(getattr(row, name) for name in whole)
        for row in rows
    }


def test_every_row_says_how_it_was_decoded(base, tmp_path):
    """Ends of a run are measured at each temperature, the way between at the paper's alone."""
    more = dict(steps=2, points=2, eval_tries=(1, 2), pass_samples=4, curve_episodes=3)
    run = Run("rl-ppo", base=str(base), splits=("id",), **BASE_FIELDS | more)
    rows = train(run, tmp_path / "r")
    at = {step: found_by(row for row in rows if row.step == step) for step in (0, 1, 2)}
    assert at[0].keys() == at[2].keys() - {("train", "signal", "")}
    shares = {"success", "success@1", "success@2", "per_step", "read", "format_error"}
    for split in ("train", "id"):
        ways = {
            step: {way for where, name, way in at[step] if where == split and name in shares}
            for step in at
        }
        assert ways == {0: {"0", "0.3", "0.6/0.9", "1"}, 1: {"0.6/0.9"}, 2: ways[0]}
        for way in ways[2]:
            assert shares <= {name for where, name, w in at[2] if (where, w) == (split, way)}
            assert at[2][split, "success@1", way][1] == (4 if way == "0.6/0.9" else 3)
            assert at[2][split, "success@2", way] == at[2][split, "success", way]
    for name in ("kl", "kl_init", "entropy", "pass@1", "pass@4"):
        assert [key for key in at[2] if key[1] == name] == [("id", name, "1")]
        assert not [key for key in at[1] if key[1] == name]
    counted = {name for _, name, way in at[2] if not way}
    assert counted == {"flops_paper", "flops_cache", "changed", "changed_bf16", "updates", "signal"}
    assert [at[step]["train", "updates", ""][0] for step in at] == [0, 2, 4]
    assert "greedy" not in {row.metric for row in rows}


def test_success_within_a_budget_is_that_of_a_play_with_it(base, tmp_path):
    fields = BASE_FIELDS | dict(final_episodes=40, pass_samples=0, curve_episodes=0)
    several = Run("rl-ppo", base=str(base), splits=("id",), tries=2, eval_tries=(2, 1), **fields)
    found = recorder_of(several, tmp_path / "a").measured(end=True)
    for tries in (1, 2):
        alone = dataclasses.replace(several, eval_tries=(tries,))
        there = recorder_of(alone, tmp_path / "b").measured(end=True)
        for split in ("train", "id"):
            name = (split, f"success@{tries}", "0.6/0.9")
            assert found[name] == there[name]


def test_init_is_measured_once_for_all_runs_that_would_measure_the_same(
    base, tmp_path, monkeypatch
):
    fields = BASE_FIELDS | dict(final_episodes=20, curve_episodes=10, pass_samples=2)
    fields |= dict(steps=1, points=1, splits=("id",))
    real, asked = recorder.Recorder.measured, []

    def measured(self, end):
        asked.append((self.run.method, end))
        return real(self, end)

    monkeypatch.setattr(recorder.Recorder, "measured", measured)
    run = Run("rl-ppo", base=str(base), **fields)
    first = train(run, tmp_path / "all" / "rl")
    assert asked == [("rl-ppo", True), ("rl-ppo", True)]  # Init, and the end
    assert len(list((tmp_path / "all").glob("init-*.csv"))) == 1
    asked.clear()
    second = train(dataclasses.replace(run, method="sft"), tmp_path / "all" / "sft")
    assert asked == [("sft", True)]  # only the end
    fresh = train(dataclasses.replace(run, method="sft"), tmp_path / "alone" / "sft")
    start = [found_by(r for r in rows if r.step == 0) for rows in (first, second, fresh)]
    assert start[0] == start[1] == start[2] and len(start[0]) > 50
    assert values(second) == values(fresh)


@pytest.mark.parametrize(
    "other",
    [
        dict(seed=2),
        dict(splits=("ood-rule",)),
        dict(hands=7),
        dict(final_episodes=5),
        dict(eval_temperature=1.0),
        dict(eval_top_p=0.5),
        dict(eval_tries=(1,)),
        dict(tries=1),
        dict(curve_episodes=1),
        dict(pass_samples=0),
        dict(feedback="reason"),
        dict(base="another"),
        dict(load_format="dummy"),
        dict(adapter="lora"),
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_was_measured_of_another_init_is_not_taken(other, base, tmp_path, monkeypatch):
    if "base" in other:
        other = dict(base=str(tmp_path / "another"))
        model, tokenizer = loading.load(base)
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        loading.save(model, tokenizer, tmp_path / "another")
    asked = []

    def measured(self, end):
        asked.append(end)
        return {("id", "success", "0.6/0.9"): intervals.Estimate(0.5, len(asked), 0.4, 0.6)}

    loaded = loading.load(base)  # what it does not look at need not be made again
    for module in execute, weights:
        monkeypatch.setattr(module, "load_init", lambda run: loaded)
    monkeypatch.setattr(recorder.Recorder, "measured", measured)
    run = Run("rl-ppo", base=str(base), **BASE_FIELDS | dict(splits=("id",)))
    (tmp_path / "runs").mkdir()
    for one in (run, dataclasses.replace(run, **other), run, dataclasses.replace(run, **other)):
        recorder_of(one, tmp_path / "runs" / "r").init_measured()
    assert asked == [True, True]
    assert len(list((tmp_path / "runs").glob("init-*.csv"))) == 2
    alike = dict(steps=9, points=1, eval_episodes=3, lr=0.5, temperature=0.3)
    recorder_of(dataclasses.replace(run, **alike), tmp_path / "runs" / "r").init_measured()
    assert len(asked) == 2  # what only matters later does not matter here


def test_after_a_warm_up_nothing_is_taken_from_init(base, tmp_path):
    fields = BASE_FIELDS | dict(steps=1, points=1, pass_samples=0, splits=("id",))
    train(Run("rl-ppo", base=str(base), **fields), tmp_path / "cold")
    (cached,) = tmp_path.glob("init-*.csv")
    text = cached.read_text()
    warm = train(Run("rl-ppo", base=str(base), warmup=4, **fields), tmp_path / "warm")
    assert list(tmp_path.glob("init-*.csv")) == [cached] and cached.read_text() == text
    kl = {row.step: row.value for row in warm if (row.split, row.metric) == ("id", "kl")}
    assert kl[0] != 0


def test_signal_is_the_mean_since_the_last_evaluation(base, tmp_path, monkeypatch):
    """Also when the run was killed in between: the checkpoint of step 10 holds what came before."""
    real, taken = rl.rl_step, []

    def rl_step(learner, *args, **options):
        figures = real(learner, *args, **options)
        taken.append(learner.step)
        return figures | {"signal": learner.step / 16}

    monkeypatch.setattr(execute, "rl_step", rl_step)
    monkeypatch.setattr(recorder.Recorder, "measured", lambda self, end: dict(ID))
    run = Run("rl-ppo", base=str(base), **BASE_FIELDS | dict(steps=12, points=3))

    def killer(share):
        if round(share * 12) == 11:
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "r", progress=killer)
    rows = train(run, tmp_path / "r")
    assert taken == [*range(1, 12), 11, 12]
    signal = {row.step: row.value for row in rows if row.metric == "signal"}
    assert signal == {4: 2.5 / 16, 8: 6.5 / 16, 12: 10.5 / 16}


def test_ledger_of_another_version_is_refused(tmp_path):
    (tmp_path / "old.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="another version"):
        ledger.read(tmp_path / "old.csv")
    row = json.loads(json.dumps(dict.fromkeys(ledger.COLUMNS, 0)))
    with pytest.raises(ValueError, match="another version"):
        ledger.append([ledger.Row(**row)], tmp_path / "old.csv")


@pytest.mark.parametrize(
    ("field", "value"), [("method", "dpo"), ("task", "chess"), ("scale", "huge")]
)
def test_unknown_names_list_the_choices(field, value):
    fields = {"method": "sft", field: value}
    with pytest.raises(ValueError, match="choose"):
        Run(**fields).filled()
