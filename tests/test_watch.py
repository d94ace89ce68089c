"""A long run can be seen before and while it goes on, and none of that changes a number."""

import csv
import dataclasses
import json

import pytest
import torch
from conftest import small_scale
from test_cli import call as call  # the command line as a fixture

from sftrl_lite import scales
from sftrl_lite.models import loading, precision
from sftrl_lite.planning import estimates, plan, predict, workload
from sftrl_lite.planning.work import Work
from sftrl_lite.runs import execute, init, recorder, resume, watch
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.run_config import Run, settings_of
from sftrl_lite.runs.watch import COLUMNS, Log, Watch
from sftrl_lite.training import distributed, rl, updates
from sftrl_lite.training.losses import departure, explained_variance

FEW = dict(problems=2, samples=2, minibatch=2, tries=2, max_new_tokens=5)
FIELDS = dict(scale=small_scale(sft=dict(batch=4), rl=FEW))
FIELDS |= dict(hands=6, steps=4, points=2, eval_episodes=2, final_episodes=2, splits=("id",))
FIELDS |= dict(curve_episodes=0, pass_samples=0)


@pytest.fixture(autouse=True)
def no_commit(monkeypatch):
    monkeypatch.setattr(recorder, "commit", lambda: "abc1234")  # somebody may commit meanwhile


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


class Killed(BaseException):
    """As sudden as a signal: nothing in the package catches it."""


# --- what a step says about itself -----------------------------------------------------


def test_departure_is_worked_out_by_hand():
    old = torch.tensor([[0.0, -1.0], [-2.0, 9.0]])
    new = torch.tensor([[0.0, -1.5], [-1.9, 0.0]])
    real = torch.tensor([[True, True], [True, False]])
    error = torch.tensor([[1.0, 2.0], [3.0, 100.0]])
    kl, outside, wrong, number = departure(new, old, real, 0.2, error).tolist()
    k3 = [0.0, torch.tensor(-0.5).expm1().item() + 0.5, torch.tensor(0.1).expm1().item() - 0.1]
    assert kl == pytest.approx(sum(k3), abs=1e-6)
    assert (outside, wrong, number) == (1, 6, 3)  # exp(-0.5) = 0.61, exp(0.1) = 1.11
    assert departure(new, old, real, 0.2).tolist()[2] == 0


def test_explained_variance():
    targets = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(targets, targets) == 1
    assert explained_variance(torch.ones(3), targets) == 0
    assert explained_variance(-targets, targets) == -3
    assert explained_variance(targets, torch.ones(3)) == 0


@pytest.mark.parametrize("method", ["rl-ppo", "rl-grpo"])
def test_a_step_reports_its_health(method, fresh_model, tokenizer, length_task, hands):
    plain = dict(method=method, problems=4, samples=4, tries=2, max_new_tokens=4, epochs=2)
    settings = dataclasses.replace(scales.SCALES["tiny"].rl, minibatch=16, lr=0.0, **plain)
    learner = updates.new_learner(fresh_model, settings, 0)
    still = rl.rl_step(learner, tokenizer, length_task, hands, settings, 0)
    assert still["kl"] == pytest.approx(0, abs=1e-6) and still["clipped"] == 0
    assert 0 < still["entropy"] < torch.tensor(float(len(tokenizer))).log()
    assert still["grad_norm"] > 0
    assert ("value_loss" in still) == ("explained_variance" in still) == (method == "rl-ppo")
    for group in learner.optimizer.param_groups:
        group["lr"] = 0.05
    moved = rl.rl_step(learner, tokenizer, length_task, hands, settings, 0)
    assert moved["kl"] > 0.01 and moved["clipped"] > 0.2  # the second pass sees the first's update
    if method == "rl-ppo":  # the loss is a mean over updates of gain and value loss
        assert still["value_loss"] > 0 and still["explained_variance"] < 1


# --- files that only grow --------------------------------------------------------------


@pytest.mark.parametrize("method", ["rl-ppo", "sft"])
def test_a_killed_run_repeats_no_step(method, base, tmp_path):
    steps, end = (14, 13) if method == "rl-ppo" else (25, 19)  # just before a line of the log
    run = Run(method, base=str(base), **FIELDS | dict(steps=steps))
    seen = Watch(transcripts=5)
    train(run, tmp_path / "whole", watch=seen)

    def killer(share):
        if round(share * steps) == end:
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "cut", progress=killer, watch=seen)
    with (tmp_path / "cut" / "steps.csv").open("a") as file:
        file.write("13,0.5")  # half a row
    train(run, tmp_path / "cut", watch=seen)
    want, found = (read(tmp_path / name / "steps.csv") for name in ("whole", "cut"))
    for row in (*want, *found):
        assert float(row.pop("seconds")) > 0
    assert want == found
    at = range(1, 15) if method == "rl-ppo" else (10, 20)
    assert [int(row["step"]) for row in want] == list(at)
    filled = {name for name, value in want[-1].items() if value}
    everything = {*COLUMNS} - {"seconds"}
    imitated = {"step", "loss", "grad_norm", "entropy", "tokens"}
    assert filled == (everything if method == "rl-ppo" else imitated)
    texts = [(tmp_path / name / "transcripts.jsonl").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    looks = [json.loads(line) for line in texts[0].splitlines()]
    assert [look["step"] for look in looks] == list(range(0, steps + 1, 5))
    prompts = [[e["prompt"] for e in look["episodes"]] for look in looks]
    assert len(prompts[0]) == watch.SHOWN == 6 and all(p == prompts[0] for p in prompts)
    turn = looks[0]["episodes"][0]["turns"][0]
    assert turn.keys() == {"answer", "kind", "reward", "message"}


def test_watching_changes_no_number(base, tmp_path):
    run, rows = Run("rl-ppo", base=str(base), **FIELDS), []
    for name, seen in (("a", None), ("b", Watch(transcripts=1, checkpoints=2))):
        found = train(run, tmp_path / name / "r", watch=seen)
        rows.append([dataclasses.replace(row, minutes=0.0) for row in found])
    assert rows[0] == rows[1]
    kept = sorted(path.name for path in (tmp_path / "b" / "r" / "checkpoints").iterdir())
    assert kept == ["step-2", "step-4"]
    last = [loading.load(tmp_path / "b" / "r" / n)[0] for n in ("model", "checkpoints/step-4")]
    assert all(map(torch.equal, *(list(model.parameters()) for model in last)))
    assert not (tmp_path / "a" / "r" / "checkpoints").exists()


def test_only_the_last_checkpoints_are_kept(base, tmp_path):
    run = Run("rl-ppo", base=str(base), **FIELDS | dict(points=4))
    train(run, tmp_path / "r", watch=Watch(checkpoints=3))
    kept = {path.name for path in (tmp_path / "r" / "checkpoints").iterdir()}
    assert kept == {"step-2", "step-3", "step-4"}


def test_a_table_of_other_columns_is_left_alone(tmp_path):
    (tmp_path / "steps.csv").write_text("step,luck\n1,7\n")
    with pytest.raises(ValueError, match="other columns"):
        Log(tmp_path, Watch(), {})
    assert (tmp_path / "steps.csv").read_text() == "step,luck\n1,7\n"


# --- trackers --------------------------------------------------------------------------


def test_trackers_that_cannot_be_used_are_one_line(monkeypatch):
    with pytest.raises(ValueError, match="unknown tracker 'abacus'; choose tensorboard"):
        Watch("abacus")
    monkeypatch.setattr(watch, "find_spec", lambda name: None)
    for name in watch.TRACKERS:
        with pytest.raises(RuntimeError, match=f"not installed; pip install {name}"):
            Watch(name)


class Tracker:
    """Remembers what it is told."""

    def __init__(self, **ways):
        self.ways, self.told, self.config = ways, [], None

    def start(self):
        Tracker.last = self

    def store_init_configuration(self, values):
        self.config = values

    def log(self, values, step):
        self.told.append((step, values))

    def finish(self):
        self.told.append("done")


def test_a_tracker_is_told_every_step_once(base, tmp_path, monkeypatch):
    tracking = pytest.importorskip("accelerate.tracking")
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Tracker)
    monkeypatch.setattr(watch, "find_spec", lambda name: name == "wandb")
    run = Run("rl-ppo", base=str(base), **FIELDS)

    def killer(share):
        if share == 0.75:
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "r", watch=Watch("wandb"), progress=killer)
    first = Tracker.last
    assert first.config["lr"] == run.filled().lr and first.config["clip"] == 0.2
    assert all(isinstance(v, bool | int | float | str) for v in first.config.values())
    train(run, tmp_path / "r", watch=Watch("wandb"))
    assert [step for step, _ in first.told] == [1, 2, 3]
    assert Tracker.last.told[-1] == "done"
    assert [step for step, _ in Tracker.last.told[:-1]] == [4]
    values = first.told[0][1]
    assert values.keys() == {*COLUMNS} - {"step"} and values["seconds"] > 0


def test_a_tracker_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    class Offline(Tracker):
        def start(self):
            raise KeyError("no network\nand a long story")

    tracking = pytest.importorskip("accelerate.tracking")
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio", Offline)
    monkeypatch.setattr(watch, "find_spec", lambda name: True)
    with pytest.raises(RuntimeError, match="--report-to trackio does not start: 'no network"):
        Log(tmp_path, Watch("trackio"), {})


# --- before it starts ------------------------------------------------------------------


def test_the_configuration_comes_before_the_first_step(call, monkeypatch):
    def stop(*args, **options):
        raise ValueError("stopped here")

    monkeypatch.setattr(execute, "train", stop)
    status, out, err = call("rl", "--samples", "16", "--steps", "7", "--price", "2")
    assert status == 2 and "stopped here" in err
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if " " in line)
    assert lines["samples"] == "16" and lines["steps"] == "7" and lines["clip"] == "0.2"
    assert lines["base"] == "data/tiny-gp-l" and lines["out"].startswith("runs/rl-ppo-tiny-seed0-")
    assert lines["plan:"].startswith("a model for CPUs")


def test_an_estimate_is_hours_and_dollars():
    work = Work("full", "gp-l", "sft", gpus=2)
    found = plan.Plan(work, {}, flops=3.6e15 * 989 / 1e3, parameters=10**10, trained=1, tokens=100)
    line = estimates.estimate(found, 1000, 0.0, None, price=2.5, gpu="NVIDIA H100 80GB HBM3")
    # 3.56e15 operations a step, over 2 x 989e12 x 0.3 a second: 6 seconds
    assert "1,000 steps, 1.7 hours on 2 x NVIDIA H100 80GB HBM3, 8.3 dollars at 2.5" in line
    spent = 6 * scales.SCALES["full"].sft.batch * 100 * 1e10 / 1e12  # teraflop a step
    assert "estimate: 10 steps" in estimates.estimate(found, 0, 10 * spent, gpu="H100")
    assert "dollars" not in estimates.estimate(found, 1, 0.0, gpu="H100")
    assert "none, speeds are known of H200" in estimates.estimate(found, 1, 0.0, gpu="an abacus")


def test_an_estimate_of_rl_has_two_ends():
    s = dataclasses.replace(scales.SCALES["full"].rl, problems=64, samples=2)
    found = plan.Plan(Work("full", "gp-l", "rl"), {}, 0.0, 10**10, 1, 100)
    line = estimates.estimate(found, 100, 0.0, s, gpu="H100")
    # two groups of 64, tries x tokens, each 2e10 bytes at a fifth of 3.35e12 a second
    token = 2e10 / (0.2 * 3.35e12)
    worst = 100 * 2 * s.tries * s.max_new_tokens * token / 3600
    assert f" to {worst:,.1f} hours" in line


class Stopped(Exception):
    """Raised with the work that was to be planned."""


def stopped(work):
    raise Stopped(work)


def work_asked_for(call):
    with pytest.raises(Stopped) as error:
        call()
    return error.value.args[0]


def test_everyone_plans_the_same_run(monkeypatch, tmp_path):
    """Before it starts (``outlook``), when it starts, and when its Init is made."""
    monkeypatch.setattr(workload.distributed, "world", lambda: 8)
    monkeypatch.setattr(workload.distributed, "sharding", lambda: True)
    for module in (execute, init):
        monkeypatch.setattr(module, "check_base", lambda *given: None)
        monkeypatch.setattr(module, "check", stopped)
    monkeypatch.setattr(predict, "make_plan", stopped)
    words = tmp_path / "long.toml"
    sentence = "Reach {target}. "  # 10 characters with its number
    words.write_text(f"prompt = '''{400 * sentence}{{cards}} {{rule}}'''")
    options = dict(scale="full", base="init", adapter="none", prompt=str(words))
    run = Run("sft", **options).filled()
    works = [
        work_asked_for(lambda: watch.outlook(run, None)),
        work_asked_for(lambda: execute._train(run, tmp_path, "", None, None, False, "")),
        work_asked_for(lambda: init._make(run, tmp_path, tmp_path, None, None)),
    ]
    assert len(set(works)) == 1
    assert works[0].gpus == 8 and works[0].sharded
    assert 4000 / workload.CHARACTERS < works[0].prompt_tokens < 4600 / workload.CHARACTERS
    plain = workload.work_of(Run("sft", **options | dict(prompt="")).filled(), "sft")
    assert plain.prompt_tokens == pytest.approx(workload.lengths("full", "gp-l")[0], abs=3)


def test_prompts_are_counted_by_the_tokenizer_of_the_base(tokenizer):
    exact = workload.tokens_of(["Reach 24"], "data/tiny-gp-l")
    assert exact == [len(tokenizer("Reach 24", add_special_tokens=False)["input_ids"])]
    assert workload.tokens_of(["Reach 24"], "somebody/Model") == [3]


# --- a run's settings are its own ------------------------------------------------------


def test_the_hashes_of_recorded_runs_stay():
    assert Run("rl-ppo").hash == "6e696e26"
    assert Run("sft", seed=1, task="virl-vl").hash == "1037f744"
    rates = dict(lr=3e-5, warmup_lr=1e-4)
    assert Run("rl-grpo", task="gp-vl", temperature=0.7, warmup=2, **rates).hash == "9a28f97e"
    assert Run("rl-ppo", problems=24, samples=8, minibatch=64).hash == "6e696e26"


@pytest.mark.parametrize(
    "setting", ["problems", "samples", "minibatch", "epochs", "clip", "gamma", "lam", "value_lr"]
)
def test_every_setting_of_rl_is_in_the_hash(setting):
    other = small_scale(rl={setting: 2 * getattr(scales.get_scale("tiny").rl, setting)})
    assert Run("rl-ppo", scale=other).hash != Run("rl-ppo").hash
    assert Run("sft", scale=other).hash == Run("sft").hash
    assert settings_of(Run("rl-ppo", scale=other).filled())[setting] == getattr(other.rl, setting)


def test_a_runs_own_sizes_are_taken_and_hashed(base, tmp_path):
    run = Run("rl-ppo", base=str(base), problems=3, samples=4, minibatch=6, **FIELDS)
    assert run.hash != Run("rl-ppo", base=str(base), **FIELDS).hash
    train(run, tmp_path / "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    sizes = [config["settings"][name] for name in ("problems", "samples", "minibatch")]
    assert sizes == [3, 4, 6] and config["settings"]["lam"] == 0.95
    with pytest.raises(ValueError, match="settings of RL, not of sft"):
        Run("sft", samples=4)


# --- what would spoil a run ------------------------------------------------------------


def test_another_number_of_processes_is_refused(base, tmp_path, monkeypatch):
    run = Run("rl-ppo", base=str(base), **FIELDS).filled()
    resume.claim(run, tmp_path / "r").release()
    config = (tmp_path / "r" / "config.json").read_text()
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(ValueError, match="begun by 1 processes, not 2; go on with 1"):
        resume.claim(run, tmp_path / "r")
    assert (tmp_path / "r" / "config.json").read_text() == config


def test_another_base_is_refused(base, tmp_path):
    run = Run("rl-ppo", base=str(base), **FIELDS).filled()
    resume.claim(run, tmp_path / "r").release()
    other = dataclasses.replace(run, base="data/tiny-gp-l", lr=0.5)
    with pytest.raises(ValueError, match=r"with other settings \(base, lr, weights\)"):
        resume.claim(other, tmp_path / "r")


def test_a_checkpoint_of_another_base_is_refused_and_kept(base, tmp_path):
    learner = updates.new_learner(loading.load(base)[0], scales.SCALES["tiny"].rl, 0)
    resume.suspend(learner, tmp_path, 1, 2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    learner.model.name_or_path = "another"
    with pytest.raises(ValueError, match=f"belongs to {base}, not to another"):
        resume.resume(learner, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    learner.model.name_or_path = str(base)
    assert resume.resume(learner, tmp_path) == (1, 2, [])


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("large"), OSError(5, "I/O error")],
)
def test_a_checkpoint_that_may_be_whole_is_not_called_damaged(error, base, tmp_path, monkeypatch):
    learner = updates.new_learner(loading.load(base)[0], scales.SCALES["tiny"].rl, 0)
    resume.suspend(learner, tmp_path, 1, 2)

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(learner.value_head, "load_state_dict", fail)
    with pytest.raises(type(error)) as caught:
        resume.resume(learner, tmp_path)
    said = str(caught.value)
    assert "damaged" not in said and "delete" not in said
    assert not isinstance(error, OSError) or "checkpoint.pt cannot be read: I/O error" in said


# --- the Hub ---------------------------------------------------------------------------


def test_what_cannot_be_pushed_is_said_before_the_run(monkeypatch):
    monkeypatch.setattr(watch.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(watch, "get_token", lambda: None)
    with pytest.raises(ValueError, match="is no name on the Hub"):
        watch.check_push("me/my/model")
    with pytest.raises(RuntimeError, match="nobody is logged in"):
        watch.check_push("me/model")
    monkeypatch.setattr(watch.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RuntimeError, match="HF_HUB_OFFLINE is set"):
        watch.check_push("me/model")


def test_a_push_that_fails_leaves_the_model(base, monkeypatch):
    class Hub:
        def create_repo(self, name, **options):
            assert options["private"]
            raise OSError("no route\nto host")

    monkeypatch.setattr(watch, "HfApi", Hub)
    with pytest.raises(RuntimeError, match="could not be pushed to me/model: no route") as error:
        watch.push(base, "me/model")
    assert str(base) in str(error.value) and "\n" not in str(error.value)


def test_bars_are_shown_for_downloads_only(base, monkeypatch):
    calls = []
    for name in ("disable_progress_bar", "enable_progress_bar"):
        monkeypatch.setattr(loading.logging, name, lambda name=name: calls.append(name))
    loading.load(base)
    assert calls == ["disable_progress_bar"]
    monkeypatch.setattr(loading, "_weights", lambda *args: (_ for _ in ()).throw(OSError("off")))
    monkeypatch.setenv(precision.PRETEND, "bf16")  # without a GPU nothing is downloaded
    with pytest.raises(RuntimeError):
        loading.load("somebody/something")
    assert calls == ["disable_progress_bar", "enable_progress_bar"]
