"""Every task, kind of model, method, adapter and number format, computed as on a GPU.

Products are in 16 bits, caches keep their shape and decoding is compiled, layers are checkpointed,
batches and groups of episodes go through in several passes. What trains is float32.
"""

import dataclasses
import math
from importlib.util import find_spec

import pytest
import torch
from conftest import make_reader, make_seeing, make_smol, small_scale

from sftrl_lite import scales
from sftrl_lite.models import adapters, loading, precision
from sftrl_lite.models.chats import ask, pictures_of, prompts
from sftrl_lite.models.tiny import make_processor, make_tokenizer
from sftrl_lite.models.vision import encode, look, to_pixels
from sftrl_lite.runs import execute, recorder
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.recorder import held_out
from sftrl_lite.runs.run_config import Run
from sftrl_lite.tasks import general_points, street_answers
from sftrl_lite.tasks.registry import TASKS, make_task
from sftrl_lite.training import rollouts, static_decoding
from sftrl_lite.training.evaluate import evaluate

needs_bits = pytest.mark.skipif(
    not find_spec("bitsandbytes"), reason="four-bit weights need bitsandbytes"
)
PARTS = {"mllama": ("language_model", "projector"), "smolvlm": ("text_model", "connector")}
KINDS = ["none", "lora", pytest.param("qlora", marks=needs_bits)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Random models of both kinds that know the words of all four tasks, by kind and format.

    ``plain`` is stored in float32, as the tiny bases are: what a 16-bit GPU makes of it is B3.
    """
    pieces = general_points.vocabulary(pictures=True) + street_answers.vocabulary()
    reader, folder = make_reader(pieces), tmp_path_factory.mktemp("bases")
    processor = make_processor(make_tokenizer(pieces, pictures=True), 40)
    for name, model, words in (
        ("mllama", make_seeing(processor), processor),
        ("smolvlm", make_smol(reader), reader),
    ):
        loading.save(model, words, folder / f"{name}-plain")
        for kind, dtype in precision.FORMATS.items():
            loading.save(model.to(dtype), words, folder / f"{name}-{kind}")
    return folder


@pytest.fixture
def base(bases):
    """A Mllama in bfloat16."""
    return bases / "mllama-bf16"


@pytest.fixture(scope="module")
def graphs():
    """What has been compiled: a graph does not depend on task, method or run."""
    return set()


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch, request, graphs):
    """A 16-bit GPU, bfloat16 unless the test says otherwise, and runs as small as they can be.

    Compiling would take most of the time. So each graph is compiled by the first run that decodes
    with it: each class of model and of layers, with pictures and without, with weights in 32 bits
    and in 16, of which one format is compiled. Later runs with the same graph decode with what it
    was compiled from.
    """
    named = getattr(request.node, "callspec", None)
    chosen = named.params if named else {}
    kind = chosen.get("kind", "bf16")
    shown = chosen["task"].endswith("-vl") if "task" in chosen else request.node.name
    monkeypatch.setenv(precision.PRETEND, kind)
    compiled = static_decoding.compiled

    def once(model):
        layers = frozenset(type(module) for module in model.modules())
        whole = all(weight.dtype == torch.float32 for weight in model.parameters())
        graph = type(model), layers, whole, len(adapters.adapter_names(model)), shown
        if graph in graphs and model not in static_decoding.COMPILED:
            return type(model).forward
        graphs.add(graph)
        return compiled(model)

    monkeypatch.setattr(static_decoding, "compiled", once)
    monkeypatch.setattr(
        recorder, "CURVE", ((1.0, 1.0),)
    )  # where the distance from Init is measured
    monkeypatch.setattr(rollouts, "TOGETHER", 2)
    monkeypatch.setattr(
        static_decoding, "STEP", 1024
    )  # one shape a run: compiling takes the time here
    monkeypatch.setattr(scales, "ROWS", 1)


@pytest.fixture
def kept(monkeypatch):
    """The models that runs have ended with, as they were in memory."""
    found, save = [], loading.save

    def saved(model, processor, folder):
        if folder.name == "model":
            found.append(model)
        save(model, processor, folder)

    for module in execute, recorder:
        monkeypatch.setattr(module, "save", saved)
    return found


def logits(model, processor, task, problems):
    chats = [[ask(task, problem)] for problem in problems]
    ids = prompts(processor, chats)
    width = min(map(len, ids))
    ids = torch.tensor([row[:width] for row in ids])
    seen = {"input_ids": ids}
    if pictures := pictures_of(chats):
        pixels = to_pixels(processor, pictures)
        seen = look(model, ids, encode(model, pixels), pixels)
    with torch.no_grad(), torch.autocast("cpu", precision.precision()[0]):
        return model.eval()(**seen).logits.float()


def plain(model):
    """Weights by the names they have in a model without adapters; its own, no adapter's."""
    named = {n.replace(".base_layer.", "."): w for n, w in model.named_parameters()}
    return {name: weight for name, weight in named.items() if "lora_" not in name}


def small_run(method, task, base, **more):
    few = dict(problems=2, samples=2, minibatch=2, tries=2, max_new_tokens=5, lr=1e-2)
    fields = dict(scale=small_scale(picture=40, sft=dict(batch=2, lr=1e-2), rl=few))
    fields |= dict(steps=2, hands=4, points=1, eval_episodes=2, final_episodes=2, splits=("id",))
    fields |= dict(curve_episodes=1, pass_samples=0)
    return Run(method, task=task, base=str(base), **fields | more)


FORMATS = ["bf16", "fp16"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("adapter", KINDS)
@pytest.mark.parametrize("method", ["sft", "rl-ppo"])
@pytest.mark.parametrize("family", ["mllama", "smolvlm"])
@pytest.mark.parametrize("task", TASKS)
def test_train_save_load_and_evaluate(task, family, method, adapter, kind, bases, kept, tmp_path):
    base = bases / f"{family}-{kind}"
    rows = train(small_run(method, task, base, adapter=adapter), tmp_path / "run")
    (model,) = kept
    assert {row.step for row in rows} == {0, 2}
    assert all(math.isfinite(row.value) for row in rows)
    kl = {row.step: row.value for row in rows if (row.split, row.metric) == ("id", "kl")}
    assert kl[0] == 0  # Init is Init, to the last bit
    assert all(w.dtype == torch.float32 for w in adapters.trained(model).values())
    before, after = plain(loading.load(base)[0]), plain(model)
    pictured = task.endswith("-vl")
    text, bridge = PARTS[family]
    if adapter == "none":
        moved = {name for name, w in after.items() if not torch.equal(w, before[name].float())}
        assert any(f"{text}.layers.0.self_attn.q_proj" in name for name in moved)
        assert any(bridge in name for name in moved) == pictured
    else:
        seen = {n: w for n, w in adapters.trained(model).items() if "lora_B" in n}
        moved = {name for name, weight in seen.items() if weight.abs().max() > 0}
        assert any(f"{text}.layers.0.self_attn.q_proj" in name for name in moved)
        assert any(bridge in name for name in moved) == pictured
        full = [n for n, w in after.items() if w.dtype == before[n].dtype]  # not packed
        assert all(torch.equal(after[name], before[name]) for name in full)
        assert len(full) == len(after) if adapter == "lora" else 0 < len(full) < len(after)
    there, processor = loading.load(tmp_path / "run" / "model")
    judge = make_task(task, "id", "tiny")
    problems = held_out(judge, 2, 0)
    assert torch.equal(
        logits(model, processor, judge, problems), logits(there, processor, judge, problems)
    )
    found, _ = evaluate(there, processor, judge, problems, tries=2, max_new_tokens=5)
    assert found["success"].n >= 2
    small = (tmp_path / "run" / "model" / adapters.FILE).exists()
    assert small == (adapter != "none")
    assert small != (tmp_path / "run" / "model" / "model.safetensors").exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize("family", ["mllama", "smolvlm"])
@pytest.mark.parametrize("task", ["gp-l", "gp-vl"])
def test_float32_weights_play_and_learn_in_16_bits(task, family, adapter, kind, bases, tmp_path):
    """The tiny scale on any GPU from Volta on."""
    rows = train(
        small_run("rl-ppo", task, bases / f"{family}-plain", adapter=adapter), tmp_path / "run"
    )
    assert {row.step for row in rows} == {0, 2}
    assert all(math.isfinite(row.value) for row in rows)


@pytest.mark.parametrize("task", TASKS)
def test_the_coin_pays_on_every_task(task, base, kept, tmp_path):
    """A run of its own kind: an episode ends by heads alone, whoever answers."""
    rows = train(small_run("rl-random", task, base), tmp_path / "run")
    assert {row.step for row in rows} == {0, 2}
    (model,) = kept
    before = plain(loading.load(base)[0])
    assert any(not torch.equal(w, before[name].float()) for name, w in plain(model).items())
    (signal,) = (row.value for row in rows if row.metric == "signal")
    assert 0 <= signal <= 1


@pytest.mark.parametrize("adapter", KINDS[1:])
@pytest.mark.parametrize("method", ["sft", "rl-grpo"])
def test_a_killed_run_resumes_to_the_same_adapter(method, adapter, base, kept, tmp_path):
    run = small_run(method, "gp-l", base, adapter=adapter, steps=3, points=3)
    whole = train(run, tmp_path / "whole")

    class Killed(BaseException):
        pass

    def killer(share):
        if round(share * 3) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "cut", progress=killer)
    again = train(run, tmp_path / "cut")
    strip = lambda rows: [dataclasses.replace(row, minutes=0.0) for row in rows]  # noqa: E731
    assert strip(again) == strip(whole)
    one, two = (adapters.trained(model) for model in kept)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("adapter", KINDS[1:])
def test_rl_goes_on_from_an_adapter_of_sft(adapter, base, kept, tmp_path):
    """The second adapter lies on the first; Init is the model with the first alone."""
    train(small_run("sft", "gp-l", base, adapter=adapter), tmp_path / "sft")
    init = tmp_path / "sft" / "model"
    rows = train(small_run("rl-ppo", "gp-l", init, adapter=adapter), tmp_path / "rl")
    assert next(row.value for row in rows if row.metric == "kl") == 0
    first, second = kept
    assert adapters.adapter_names(second) == ["adapter0", "adapter1"]
    old = adapters.trained(first)
    assert all(torch.equal(w, second.get_parameter(name)) for name, w in old.items())
    there, processor = loading.load(tmp_path / "rl" / "model")
    task = make_task("gp-l", "id", "tiny")
    hands = held_out(task, 2, 0)
    a, b, c = (logits(m, processor, task, hands) for m in (first, second, there))
    assert torch.equal(b, c) and not torch.equal(a, b)


def test_the_vision_tower_can_be_frozen(base, kept, tmp_path):
    for adapter in ("lora", "none"):
        run = small_run("rl-grpo", "gp-vl", base, adapter=adapter, vision="frozen")
        train(run, tmp_path / adapter)
    names = [name for model in kept for name in adapters.trained(model)]
    assert names and not [n for n in names if "vision_model" in n or "projector" in n]
