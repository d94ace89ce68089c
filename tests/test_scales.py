"""The table of scales: rates of adapters, compute of tasks, GRPO's groups."""

import math

import pytest

from sftrl_lite.models.loading import load
from sftrl_lite.planning.estimates import duration
from sftrl_lite.planning.plan import Plan
from sftrl_lite.planning.work import Work
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.runs.run_config import Run, rl_settings, settings_of
from sftrl_lite.scales import SCALES, SFTSettings
from sftrl_lite.seeds import seed_all
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training.compute import flops
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.sft import train_sft
from sftrl_lite.training.sft_examples import demonstrations


def test_an_adapter_learns_at_its_own_rate(tmp_path):
    """It memorises its hands as all weights do; at the rate of all weights it hardly moves."""
    tiny, task = SCALES["tiny"], make_task("gp-l", "train")
    hands, ended, solved = train_hands(task, 24, 0), {}, {}
    rate = tiny.lr("gp-l", "sft")
    ways = {"all": ("none", rate), "own": ("lora", tiny.lr("gp-l", "sft", "lora"))}
    for name, (adapter, lr) in (ways | {"same": ("lora", rate)}).items():
        seed_all(0)
        model, tokenizer = load("data/tiny-gp-l", adapter)
        settings = SFTSettings(lr, 24, 24)
        data = demonstrations(task, hands)
        done = tmp_path / name
        losses = train_sft(model, tokenizer, data, settings, done, 0, steps=40, progress=False)
        limit = dict(tries=1, temperature=0.0, max_new_tokens=tiny.rl.max_new_tokens)
        found, _ = evaluate(model, tokenizer, task, hands, **limit)
        ended[name], solved[name] = losses[-1], found["success@1"].value
    assert solved["all"] >= 0.95 and solved["own"] >= 0.95, solved  # of its training hands
    assert solved["same"] < 0.95 and ended["same"] > ended["all"] + 0.3, (solved, ended)
    assert abs(ended["own"] - ended["all"]) < 0.15, ended


@pytest.mark.parametrize(
    "scale, task, adapter, sft, rl",
    [
        ("tiny", "gp-l", "none", 1e-4, 3e-5),
        ("tiny", "virl-l", "none", 1e-4, 1e-4),
        ("full", "gp-l", "none", 1e-6, 1e-6),  # the paper's
        ("full", "gp-vl", "none", 5e-7, 1e-6),
        ("full", "virl-vl", "none", 5e-7, 1e-7),
        ("full", "virl-vl", "lora", 5e-6, 1e-6),
        ("t4", "gp-l", "qlora", 2e-4, 2e-5),
    ],
)
def test_rates(scale, task, adapter, sft, rl):
    row = SCALES[scale]
    assert row.lr(task, "sft", adapter) == pytest.approx(sft)
    assert row.lr(task, "rl", adapter) == pytest.approx(rl)
    options = dict(task=task, scale=scale, adapter=adapter, load_format="dummy")
    assert Run("sft", **options).filled().lr == pytest.approx(sft)
    assert Run("rl-ppo", **options).filled().lr == pytest.approx(rl)


def test_a_run_ends_with_its_tasks_compute():
    """The right end of the paper's figure 5, in FLOP."""
    ends = {"gp-l": 1e19, "gp-vl": 6e19, "virl-l": 4e18, "virl-vl": 4e19}
    for task, flop in ends.items():
        run = Run("sft", task=task, scale="full", load_format="dummy").filled()
        assert run.tflop * 1e12 == pytest.approx(flop)
        assert Run("sft", task=task).filled().tflop == 3.0


def test_sampling_is_charged_as_the_paper_charges_it():
    """Its lambda, 6 for cards and 5.1 for streets; the recorded streets at ``tiny`` have 6."""
    for scale, task, passes in (
        ("full", "gp-l", 6),
        ("full", "virl-l", 5.1),
        ("tiny", "virl-l", 6),
    ):
        found = flops(10, 100, 1, passes=SCALES[scale].passes(task))
        assert found["flops_paper"] == pytest.approx(10 * 100 * (6 + 2 * passes))
        run = Run("rl-ppo", task=task, scale=scale, load_format="dummy").filled()
        assert settings_of(run).get("passes", 6) == passes
    work, settings = Work("full", "virl-l", "rl"), SCALES["full"].rl
    made = Plan(work, {}, 1e15, 10**10, 1, 1000)
    steps = duration(made, 0, 1e6, settings, "H100")[0]
    turns = settings.problems * settings.samples * 1000 * settings.epochs
    assert steps == math.ceil(1e18 / (10**10 * (6 + 2 * 5.1) * turns))


def test_the_releases_gradient_steps():
    """2048 answers per update in gradient steps of 1024, four times over: eight steps."""
    rl = SCALES["full"].rl
    assert rl.epochs * rl.problems * rl.samples / rl.minibatch == 8


def test_grpo_has_groups_at_every_scale():
    """With one sample a problem every advantage would be zero."""
    for scale in SCALES:
        many = rl_settings(Run("rl-ppo", scale=scale, load_format="dummy").filled())
        groups = rl_settings(Run("rl-grpo", scale=scale, load_format="dummy").filled())
        assert groups.samples > 1
        assert groups.problems * groups.samples == many.problems * many.samples


def test_a_cosine_is_a_choice_that_counts(tokenizer, fresh_model, tmp_path, monkeypatch):
    assert "schedule" not in settings_of(Run("sft").filled())
    other = Run("sft", schedule="cosine")
    assert settings_of(other.filled())["schedule"] == "cosine"
    assert other.hash != Run("sft").hash == Run("sft", schedule="constant").hash
    rates, (task, told) = {}, (make_task("gp-l", "train"), [])
    data = demonstrations(task, train_hands(task, 4, 0))
    for schedule in ("constant", "cosine"):
        told.clear()
        how = SFTSettings(1e-3, 2, 4, schedule)
        options = dict(steps=30, progress=False, tell=lambda step, log: told.append(log))
        train_sft(fresh_model, tokenizer, data, how, tmp_path / schedule, 0, **options)
        rates[schedule] = [log["learning_rate"] for log in told if "learning_rate" in log]
    assert rates["constant"][-1] == pytest.approx(1e-3)
    assert rates["cosine"][-1] < 1e-5 < rates["cosine"][0] <= 1e-3
    with pytest.raises(ValueError, match="unknown schedule 'steep'; choose constant, cosine"):
        Run("sft", schedule="steep")


def test_a_cosine_of_rl_is_the_scales_or_as_long_as_the_run():
    def steps(**fields):
        return rl_settings(Run("rl-ppo", load_format="dummy", **fields).filled()).cosine

    assert steps() == steps(schedule="constant", steps=9) == 0
    assert steps(schedule="cosine", steps=9) == 9
    assert steps(scale="full") == 100 == steps(scale="full", steps=9, schedule="cosine")
    assert steps(scale="full", task="virl-vl") == 20
    assert steps(scale="full", schedule="constant") == 0
    assert Run("rl-ppo", steps=9, schedule="cosine").hash != Run("rl-ppo", steps=9).hash
    assert Run("rl-ppo", steps=9, schedule="constant").hash == Run("rl-ppo", steps=9).hash
    with pytest.raises(ValueError, match="RL's cosine at tiny is as long as a run: give --steps"):
        Run("rl-ppo", schedule="cosine")
