"""A model that reads text only, random and tiny: what serves Mllama and SmolVLM serves it."""

import json
import random

import pytest
import torch
from conftest import make_text_model

from sftrl_lite.models import loading, precision
from sftrl_lite.models.vision import to_pixels
from sftrl_lite.scales import SFTSettings, get_scale
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training.engine import text_weights
from sftrl_lite.training.forward import pack, policy
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.sft import train_sft
from sftrl_lite.training.sft_examples import training_rows


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    place = tmp_path_factory.mktemp("text") / "model"
    loading.save(make_text_model(tokenizer), tokenizer, place)
    return place


def test_it_plays_alike_with_a_cache_that_grows_and_one_that_does_not(folder):
    model, tokenizer = loading.load(folder)
    task = make_task("gp-l", "train")
    hands = [task.sample(random.Random(i)) for i in range(3)]
    how = dict(tries=2, max_new_tokens=8, temperature=0.0)
    plain = rollout(model, tokenizer, task, hands, **how)
    static = rollout(model, tokenizer, task, hands, **how, static=True)
    assert [e.ids for e in plain] == [e.ids for e in static]
    logps, entropy, _ = policy(model, pack(plain, tokenizer.pad_token_id))
    for row, episode in zip(logps, plain, strict=True):
        for turn in episode.turns:
            assert torch.allclose(row[turn.start : turn.end], torch.tensor(turn.logps), atol=1e-4)
    assert (entropy >= 0).all()


@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_it_learns_as_on_a_gpu(folder, adapter, tmp_path, monkeypatch):
    """In bfloat16 with its layers checkpointed; saved and loaded it is the same model."""
    monkeypatch.setenv(precision.PRETEND, "bf16")
    model, tokenizer = loading.load(folder, adapter)
    task = make_task("gp-l", "train")
    hands = [task.sample(random.Random(i)) for i in range(4)]
    rows, _ = training_rows(tokenizer, task, hands)
    how = SFTSettings(1e-2, batch=4, hands=4)
    losses = train_sft(model, tokenizer, rows, how, tmp_path / "t", 0, steps=20, progress=False)
    assert losses[-1] < losses[0]
    loading.save(model, tokenizer, tmp_path / "done")
    again, _ = loading.load(tmp_path / "done")
    found = dict(again.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(weight, found[name]), name


def test_an_engine_gets_its_weights_and_pictures_are_refused(folder):
    model, tokenizer = loading.load(folder)
    weights = dict(text_weights(model))
    assert torch.equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"])
    assert len(weights) == 1 + len(dict(model.named_parameters()))  # the head once more
    with pytest.raises(ValueError, match="reads text only"):
        to_pixels(tokenizer, [])
    with pytest.raises(ValueError, match="the model of scale small reads text only"):
        make_task("virl-vl", scale="small")
    assert get_scale("small").picture == 0


def test_a_model_of_another_kind_is_refused(folder, tmp_path):
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "qwen2"}))
    with pytest.raises(ValueError, match=r"is a qwen2 model; these can be trained: .*llama"):
        loading.load(tmp_path)
