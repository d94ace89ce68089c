"""A run is the same whether it was interrupted or not, and refuses what would spoil it."""

import dataclasses
import json
import random
import shutil

import pytest
import torch
from conftest import make_seeing
from transformers import MllamaForConditionalGeneration

from sftrl_lite import ledger, models, runs, scales
from sftrl_lite.general_points import general_points, vocabulary
from sftrl_lite.models import make_tokenizer, tiny_config
from sftrl_lite.runs import Run, held_out, train, train_hands, vary_rules

BASE_FIELDS = dict(seed=1, steps=6, hands=6, points=2, eval_episodes=4, final_episodes=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A random tiny model in a folder of its own."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(vocabulary())
    folder = tmp_path_factory.mktemp("base") / "model"
    models.save(MllamaForConditionalGeneration(tiny_config(len(tokenizer))), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def seeing_base(processor, tmp_path_factory):
    """The same with eyes."""
    folder = tmp_path_factory.mktemp("seeing") / "model"
    models.save(make_seeing(processor), processor, folder)
    return folder


@pytest.fixture(autouse=True)
def small_scale(monkeypatch):
    """The tiny row, smaller still: what is tested here does not need skill."""
    tiny = scales.SCALES["tiny"]
    small = dataclasses.replace(
        tiny,
        picture=40,
        sft=dataclasses.replace(tiny.sft, batch=4),
        rl=dataclasses.replace(
            tiny.rl, problems=2, samples=2, minibatch=2, tries=2, max_new_tokens=6
        ),
    )
    monkeypatch.setitem(scales.SCALES, "tiny", small)


def values(rows):
    return [dataclasses.replace(row, minutes=0.0) for row in rows]


class Killed(BaseException):
    """As sudden as a signal: nothing in the package catches it."""


@pytest.mark.parametrize(
    ("method", "more"),
    [("rl-ppo", {}), ("rl-grpo", {}), ("sft", {}), ("sft-kl", {}), ("rl-ppo", {"warmup": 2})],
)
def test_a_killed_run_resumes_to_the_same_numbers(method, more, base, tmp_path):
    run = Run(method, base=str(base), **BASE_FIELDS, **more)
    whole = values(train(run, tmp_path / "whole"))

    stop = random.Random(method).randint(2, 5)

    def killer(share):
        if round(share * 6) == stop:
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "cut", progress=killer)
    assert not (tmp_path / "cut" / "model").exists()
    assert values(train(run, tmp_path / "cut")) == whole
    first, second = (models.load(tmp_path / name / "model")[0] for name in ("whole", "cut"))
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
    (first, eyes), (second, _) = (models.load(tmp_path / n / "model") for n in ("whole", "cut"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert eyes.image_processor.size["height"] == 40  # a processor comes back, not a tokenizer


def test_a_warm_up_moves_away_from_init_before_rl_begins(base, tmp_path):
    fields = {**BASE_FIELDS, "steps": 1, "points": 1, "pass_samples": 0}
    cold, warm = (
        train(Run("rl-ppo", base=str(base), warmup=n, **fields), tmp_path / f"{n}") for n in (0, 2)
    )
    start = [
        {row.metric: row.value for row in rows if row.split == "train" and row.step == 0}
        for rows in (cold, warm)
    ]
    assert start[0]["kl"] == start[0]["kl_init"] == start[0]["changed"] == 0
    assert start[1]["kl"] != 0 and start[1]["changed"] > 0.5
    assert start[1]["flops_paper"] == 0
    assert not any(row.metric.startswith("pass@") for row in cold)


def test_a_warm_up_belongs_to_rl():
    with pytest.raises(ValueError, match="SFT before RL"):
        Run("sft", warmup=2)
    with pytest.raises(ValueError, match="no warm-up steps"):
        Run("rl-ppo", warmup_lr=0.1)


def test_imitating_oneself_needs_a_right_answer(base, tmp_path):
    with pytest.raises(ValueError, match="none of 48 answers is right"):
        train(Run("sft-verified", base=str(base), **BASE_FIELDS), tmp_path / "r")


def test_training_changes_the_weights(base, tmp_path):
    train(Run("rl-ppo", base=str(base), **BASE_FIELDS), tmp_path / "r")
    before, after = models.load(base)[0], models.load(tmp_path / "r" / "model")[0]
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
    with runs.claim(run, tmp_path / "r"), pytest.raises(ValueError, match="in use"):
        train(run, tmp_path / "r")


def test_damaged_checkpoint_and_config_are_one_line(base, tmp_path):
    run = Run("rl-ppo", base=str(base), **BASE_FIELDS)
    with runs.claim(run.filled(), tmp_path / "r"):
        pass
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


def test_equal_compute_stops_at_the_limit(base, tmp_path):
    limit = 0.02
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
        models.load(copy)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        models.load(copy)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        models.load("data/not-there")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_hub_models_say_what_is_missing():
    with pytest.raises(RuntimeError, match="needs a CUDA GPU"):
        models.load("meta-llama/Llama-3.2-11B-Vision-Instruct")


def test_held_out_hands_are_held_out():
    task = general_points("id")
    train_set = train_hands(task, 50, seed=3)
    seen = {tuple(sorted(hand.cards)) for hand in train_set}
    fresh = held_out(task, 200, 3, train_set)
    assert len(fresh) == 200
    assert not seen & {tuple(sorted(hand.cards)) for hand in fresh}
    assert train_set == train_hands(task, 50, seed=3) != train_hands(task, 50, seed=4)


def test_varied_rules_never_show_the_held_out_rules():
    task = general_points("id")
    hands = train_hands(task, 20, seed=0)
    varied = [hand for _, hand in vary_rules(task, hands, seed=0, n=300)]
    names = {hand.rule.name for hand in varied}
    assert len(names) > 100
    assert not names & {"11-12-13", "13-11-12"}
    assert {hand.cards for hand in varied} <= {hand.cards for hand in hands}


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
