"""What is planned against what is measured, and the 11B's numbers on fake tensors."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from trl.trainer.utils import add_fused_lm_head

from sftrl_lite import plan, rl
from sftrl_lite.models import load
from sftrl_lite.plan import (
    CONTEXT,
    GIB,
    NF4,
    Work,
    advice,
    cache_bytes,
    check,
    config_of,
    fake,
    make_plan,
    pictures_like,
    rl_batch,
    rl_loss,
    sft_loss,
    states,
    trace,
)
from sftrl_lite.precision import checkpoint_layers
from sftrl_lite.rl import ValueHead, new_learner, rl_step
from sftrl_lite.rollouts import Decoder
from sftrl_lite.scales import get_scale
from sftrl_lite.vision import encode


@pytest.fixture(scope="module", params=["gp-l", "gp-vl"])
def tiny(request):
    """A task, its shipped model with trl's head, and a pass over it: rows, tokens, pictures."""
    model, _ = load(get_scale("tiny").base_for(request.param))
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return request.param, model, (16, 60, 8 if request.param == "gp-vl" else 0)


def one_pass(model, mode, rows, width, pictures):
    """The loss of made-up rows, on real tensors."""
    ids = torch.randint(5, 20, (rows, width))
    pixels = pictures_like(model.config, pictures) if pictures else {}
    batch = rl_batch(ids, pixels, torch.arange(rows) % max(pictures, 1))
    views = encode(model, pixels) if pictures else None
    if mode == "rl":
        return rl_loss(model, ValueHead(model.config.text_config.hidden_size), batch, views)
    return sft_loss(model, batch, views)


def saved(model, work) -> int:
    """Bytes that autograd keeps for backward, each store once, weights not counted."""
    weights = {w.untyped_storage().data_ptr() for w in (*model.parameters(), *model.buffers())}
    stores = {}

    def keep(tensor):
        store = tensor.untyped_storage()
        stores[store.data_ptr()] = store.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = work()
    assert loss.requires_grad
    return sum(size for key, size in stores.items() if key not in weights)


@pytest.mark.parametrize("mode", ["sft", "rl"])
def test_activations_are_as_predicted(tiny, mode):
    task, model, shape = tiny
    with fake(config_of("tiny", task), Work(task=task, mode=mode)) as ghost:
        predicted = trace(ghost, mode, *shape)
    rows, width, pictures = shape
    seen = sum(t.nbytes for t in pictures_like(model.config, pictures).values()) if pictures else 0
    measured = saved(model, lambda: one_pass(model, mode, *shape)) - seen
    logits = rows * (width - 1) * model.lm_head.out_features * 4 if mode == "rl" else 0
    assert predicted.kept + logits == pytest.approx(measured, rel=0.1)
    assert predicted.logits >= logits and predicted.peak >= predicted.kept + predicted.logits


@pytest.mark.parametrize("mode", ["sft", "rl"])
def test_operations_are_as_predicted(tiny, mode):
    task, model, shape = tiny
    with fake(config_of("tiny", task), Work(task=task, mode=mode)) as ghost:
        predicted = trace(ghost, mode, *shape)
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")  # torch's counter leaves the CPU's own kernel out
    with FlopCounterMode(display=False) as counter:
        one_pass(model, mode, *shape).backward()
    assert predicted.text + predicted.looks == pytest.approx(counter.get_total_flops(), rel=0.1)
    assert predicted.forward * 3 == pytest.approx(predicted.text, rel=0.35)


def test_states_are_counted_exactly(tiny):
    task, model, shape = tiny
    learner = new_learner(copy.deepcopy(model), get_scale("tiny").rl, 0)
    one_pass(learner.model, "rl", *shape).backward()
    for weight in (*learner.model.parameters(), *learner.value_head.parameters()):
        weight.grad = torch.zeros_like(weight)
    learner.optimizer.step()
    weights = [*learner.model.parameters(), *learner.value_head.parameters()]
    kept = learner.optimizer.state.values()
    moments = [s[name] for s in kept for name in ("exp_avg", "exp_avg_sq")]
    with fake(config_of("tiny", task), Work(task=task, mode="rl")) as ghost:
        found = states(ghost, Work(task=task, mode="rl"))
    assert found["weights"] == sum(w.nbytes for w in weights)
    assert found["gradients"] == sum(w.grad.nbytes for w in weights)
    assert found["optimizer"] == sum(moment.nbytes for moment in moments)


def test_the_cache_holds_what_was_predicted(tiny):
    task, model, _ = tiny
    token, picture = cache_bytes(model.config, 4)
    decoder, seeing = Decoder(model, 0), task == "gp-vl"
    pixels = pictures_like(model.config, 3) if seeing else None
    with torch.no_grad():
        decoder.feed([[5] * 20] * 3, pixels)
        decoder.feed([[6] * 7] * 3)
    layers = [layer for layer in decoder.cache.layers if layer.is_initialized]
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
    assert held == 3 * (27 * token + seeing * picture)


# --- the 11B ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "vision", "trained", "gib"),
    [
        ("none", "trained", 10.67e9, 159.0),
        ("none", "frozen", 9.78e9, 147.5),
        ("lora", "frozen", 52.4e6, 20.7),
        ("qlora", "frozen", 52.4e6, 8.6),
    ],
)
def test_states_of_the_11b(adapter, vision, trained, gib):
    work = Work("full", "gp-vl", "sft", adapter, vision)
    with fake(config_of("full", "gp-vl"), work) as ghost:
        weights = [w.numel() for w in ghost.parameters() if w.requires_grad]
        assert sum(weights) == pytest.approx(trained, rel=0.002)
        assert sum(states(ghost, work).values()) / GIB == pytest.approx(gib, rel=0.02)


def test_cache_of_the_11b():
    config = config_of("full", "gp-vl")
    token, picture = cache_bytes(config, 2)
    assert token == 128 * 1024  # bytes a token
    assert picture / GIB == pytest.approx(0.2, rel=0.05)  # four tiles
    assert cache_bytes(config_of("full", "gp-vl", tiles=1), 2)[1] * 4 == picture
    assert 0.5 < NF4 < 0.52


def test_shards_and_copies():
    one, eight = (Work("tiny", "gp-l", "rl", gpus=n) for n in (1, 8))
    alone, shared = make_plan(one), make_plan(eight)
    for part in ("weights", "gradients", "optimizer"):
        assert shared.parts[part] == pytest.approx(alone.parts[part] / 8)
    assert shared.parts["copy for rollouts"] == pytest.approx(4 * alone.parameters / GIB)
    assert shared.parts["KV cache"] == pytest.approx(alone.parts["KV cache"] / 8)
    assert shared.flops == pytest.approx(alone.flops, rel=0.05)


def test_the_recorded_table_is_whole():
    plans = plan.read_table()
    wanted = {(*grid, a, t) for grid in plan.GRID for a in plan.ADAPTERS for t in (1, 4)}
    assert {(mode, batch, a, t) for mode, a, t, batch in plans} == wanted
    for (mode, adapter, tiles, batch), parts in plans.items():
        assert 8 < sum(parts.values()) < 300 and not {"KV cache", "logits"} <= parts.keys()
        if adapter != "none":
            heavier = plans[mode, plan.ADAPTERS[plan.ADAPTERS.index(adapter) - 1], tiles, batch]
            assert sum(parts.values()) < sum(heavier.values())


# --- too little memory, and bad input --------------------------------------------------


@pytest.fixture
def sizes(monkeypatch):
    """Plans whose size depends on the adapter and the batch alone."""

    def made(work):
        config_of(work.scale, work.task)
        size = {"none": 160.0, "lora": 25.0, "qlora": 11.0}[work.adapter] - CONTEXT
        return plan.Plan(work, {"weights": size + (work.tiles or 4)}, 1e12, 10, 1, 100)

    monkeypatch.setattr(plan, "make_plan", made)


@pytest.mark.parametrize(
    ("memory", "missing", "fits"),
    [
        (80, "84.0", "--adapter lora"),
        (22, "142.0", "--adapter qlora"),
        (13, "151.0", "--max-image-tiles 1 "),
    ],
)
def test_too_little_memory_is_one_line(sizes, memory, missing, fits):
    with pytest.raises(RuntimeError) as error:
        check(Work("full", adapter="none"), memory)
    line = str(error.value)
    assert f"{missing} are missing" in line and fits in line and "\n" not in line
    assert "does not fit" not in line


def test_what_fits_is_not_refused(sizes):
    check(Work("full", adapter="none"), 164.0)
    check(Work("full", adapter="none"), 0)  # a CPU
    check(Work("t4"), 1)  # of a kind of model that is not planned
    assert advice(plan.make_plan(Work("full")), 165) == ""
    assert "does not fit either" in advice(plan.make_plan(Work("full")), 4)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(mode="dream"),
        dict(adapter="glue"),
        dict(vision="shut"),
        dict(tiles=5),
        dict(gpus=0),
        dict(batch=-1),
        dict(scale="huge"),
        dict(task="chess"),
    ],
)
def test_bad_work_is_named(wrong):
    word = str(next(iter(wrong.values()))) if isinstance(next(iter(wrong.values())), str) else "1"
    with pytest.raises(ValueError, match=word):
        Work(**wrong)


# --- checkpointing ---------------------------------------------------------------------


@pytest.mark.parametrize("vision", [True, False])
def test_checkpointed_layers_keep_less_and_learn_the_same(seeing_model, vision):
    plain, sparing = (copy.deepcopy(seeing_model).train() for _ in range(2))
    kept, gradients = [], []
    for model in (plain, sparing):
        model.model.vision_model.requires_grad_(vision)
        if model is sparing:
            checkpoint_layers(model)
            checkpoint_layers(model)  # twice is once
        torch.manual_seed(0)
        kept.append(saved(model, lambda model=model: one_pass(model, "rl", 4, 30, 4)))
        torch.manual_seed(0)
        one_pass(model, "rl", 4, 30, 4).backward()
        gradients.append({n: w.grad for n, w in model.named_parameters() if w.grad is not None})
    assert kept[1] < 0.6 * kept[0]
    assert gradients[0].keys() == gradients[1].keys()
    assert any("vision_model" in name for name in gradients[0]) == vision
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_a_frozen_tower_keeps_nothing(seeing_model):
    model = copy.deepcopy(seeing_model).train()
    model.model.vision_model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(False)
    checkpoint_layers(model)
    assert not encode(model, pictures_like(model.config, 2)).requires_grad


def test_a_step_of_rl_is_the_same_with_checkpointed_layers(
    random_model, tokenizer, seven_task, hands
):
    settings = replace(get_scale("tiny").rl, problems=4, samples=2, tries=2, max_new_tokens=6)
    weights = []
    for sparing in (False, True):
        model = copy.deepcopy(random_model)
        if sparing:
            checkpoint_layers(model)
        learner = new_learner(model, settings, 0)
        assert rl_step(learner, tokenizer, seven_task, hands, settings, 0)["trained"] > 0
        assert model.training == sparing
        weights.append(torch.cat([w.detach().flatten() for w in model.parameters()]))
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize(("vision", "times"), [(True, 1 + 2), (False, 1 + 1)])
def test_a_frozen_tower_looks_once_an_update(
    fresh_seeing, processor, picture_task, shown, vision, times, monkeypatch
):
    seen = []
    monkeypatch.setattr(rl, "encode", lambda *given: seen.append(1) or encode(*given))
    for part in (fresh_seeing.model.vision_model, fresh_seeing.model.multi_modal_projector):
        part.requires_grad_(vision)
    chosen = dict(problems=4, samples=2, minibatch=4, tries=2, max_new_tokens=6)
    settings = replace(get_scale("tiny").rl, **chosen)
    learner = new_learner(fresh_seeing, settings, 0)
    rl_step(learner, processor, picture_task, shown, settings, 0)
    assert len(seen) == times  # for the values, then in the update
