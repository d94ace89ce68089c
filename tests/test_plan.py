"""What is planned against what is measured, and the 11B's numbers on fake tensors."""

import copy
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from trl.trainer.utils import add_fused_lm_head

from sftrl_lite.files import ROOT
from sftrl_lite.models import chats
from sftrl_lite.models.chats import ask
from sftrl_lite.models.loading import load
from sftrl_lite.models.precision import checkpoint_layers
from sftrl_lite.models.smollm import smollm_config
from sftrl_lite.models.tiny import small_config, tiny_config
from sftrl_lite.models.vision import encode, states_of_picture
from sftrl_lite.planning import estimates, fit, measure, plan, predict, workload
from sftrl_lite.planning.estimates import hardware_table
from sftrl_lite.planning.fake import Live, fake, pictures_like
from sftrl_lite.planning.fit import advice, check
from sftrl_lite.planning.layers import depths, extrapolated
from sftrl_lite.planning.measure import measured, sizes_of, states
from sftrl_lite.planning.passes import (
    Trace,
    glance,
    play,
    rl_batch,
    rl_loss,
    sft_loss,
    trace,
)
from sftrl_lite.planning.predict import make_plan
from sftrl_lite.planning.work import CONTEXT, GIB, GPUS, NF4, Work
from sftrl_lite.planning.workload import config_of
from sftrl_lite.scales import ADAPTERS, SCALES, get_scale
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training import forward, updates
from sftrl_lite.training.decoding import Decoder
from sftrl_lite.training.forward import ValueHead, pack, policy
from sftrl_lite.training.rl import ppo, rl_step
from sftrl_lite.training.rollouts import REPLY, rollout
from sftrl_lite.training.static_decoding import STEP, cache_bytes, free_room
from sftrl_lite.training.updates import new_learner


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
        return rl_loss(model, ValueHead(model.config.get_text_config().hidden_size), batch, views)
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
    assert token == 128 * 1024  # bytes per token
    assert picture / GIB == pytest.approx(0.2, rel=0.05)  # four tiles
    assert cache_bytes(config_of("full", "gp-vl", tiles=1), 2)[1] * 4 == picture
    assert 0.5 < NF4 < 0.52


def test_shards_and_copies():
    one, eight = (Work("tiny", "gp-l", "rl", gpus=n) for n in (1, 8))
    alone, shared = make_plan(one), make_plan(eight)
    for part in ("weights", "gradients", "optimizer"):
        assert shared.parts[part] == pytest.approx(alone.parts[part] / 8)
    assert shared.parts["copy for rollouts"] == pytest.approx(4 * alone.parameters / GIB)
    assert "Init, to compare" in alone.parts and "Init, to compare" not in shared.parts
    assert shared.flops == pytest.approx(alone.flops, rel=0.05)
    whole = make_plan(replace(eight, split=False))  # a launcher that splits nothing
    assert whole.parts["optimizer"] == alone.parts["optimizer"]


def test_all_weights_fit_on_eight_gpus_and_not_on_one():
    work = Work("full", "gp-l", "rl", "none", "trained", gpus=8)
    found = make_plan(work)
    assert not found.missing(GPUS["H100 80 GB"])
    assert found.parts["copy for rollouts"] == pytest.approx(19.9, abs=0.1)
    assert make_plan(replace(work, gpus=1)).missing(GPUS["H200"]) > 20


def test_smolvlm_is_planned():
    config = config_of("t4", "gp-vl")
    assert cache_bytes(config, 2) == (40 * 1024, 0) and states_of_picture(config) == 64
    found = make_plan(Work("t4", "gp-vl", "sft"))
    assert found.parameters - found.trained == pytest.approx(507.5e6, rel=1e-3)
    assert found.tokens - make_plan(Work("t4", "gp-l", "sft")).tokens == pytest.approx(67, abs=5)
    assert not found.missing(GPUS["T4"])


def test_a_model_of_text_is_planned():
    """Its embeddings are its head as well, and count once; it has no tower."""
    found = make_plan(Work("small", "virl-l", "eval", adapter="none"))
    assert found.parameters == 134_515_008
    assert found.parts["weights"] == 4 * 134_515_008 / 2**30
    assert not any(size for name, size in found.parts.items() if "pictures" in name)
    with pytest.raises(ValueError, match="scale small reads text only"):
        make_plan(Work("small", "gp-vl"))


def test_longer_prompts_and_answers_take_more():
    plain = Work("full", "gp-l", "eval")
    long, short = replace(plain, prompt_tokens=400), replace(plain, answer_tokens=40)
    assert make_plan(long).tokens - make_plan(plain).tokens == 400 - sizes_of(plain).prompt
    assert make_plan(short).total < make_plan(plain).total < make_plan(long).total


# --- shallow models stand for deep ones ------------------------------------------------


def middling(kind):
    """A model of medium depth, in numbers."""
    if kind == "mllama":
        config = tiny_config(200, 40)
        text, eyes = config.text_config, config.vision_config
        text.num_hidden_layers, text.cross_attention_layers = 9, [2, 4, 6]
        eyes.num_hidden_layers, eyes.num_global_layers = 9, 4
        eyes.intermediate_layers_indices, eyes.vision_output_dim = [1, 2, 4, 5, 7], 64 * 6
        return config
    if kind == "llama":
        config = smollm_config()
        config.num_hidden_layers, config.hidden_size, config.vocab_size = 5, 144, 300
        config.head_dim = 16
        return config
    config = small_config()
    text, eyes = config.text_config, config.vision_config
    text.num_hidden_layers, text.hidden_size, text.vocab_size = 5, 120, 300
    text.head_dim = 8
    eyes.num_hidden_layers, eyes.image_size = 8, 64
    return config


def forget():
    """Measure anew: the model has other numbers now."""
    for known in (measure.counted, measure.played, measure.traced):
        known.cache_clear()


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        ("mllama", ("rl", "none", "trained")),
        ("mllama", ("sft", "lora", "frozen")),
        ("smolvlm", ("rl", "lora", "frozen")),
        ("llama", ("rl", "lora", "trained")),
        ("llama", ("sft", "none", "trained")),
    ],
)
def test_an_extrapolated_model_is_the_whole_one(kind, chosen, monkeypatch):
    for module in measure, predict, workload:
        monkeypatch.setattr(module, "config_of", lambda *_: middling(kind))
    task = "gp-l" if kind == "llama" else "gp-vl"
    work = Work("t4", task, *chosen, together=4, answer_tokens=30)
    layers = depths(middling(kind))
    forget()
    found = extrapolated(partial(measured, work), layers)
    whole = measured(work, layers, "")
    forget()
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        assert found[name] == pytest.approx(value, rel=0.01, abs=4096), name


# --- the real functions stay within their parts ----------------------------------------


@pytest.fixture(scope="module", params=["gp-l", "gp-vl"])
def player(request):
    """A shipped model, its processor, its task, and problems with the longest prompt among them."""
    model, reader = load(get_scale("tiny").base_for(request.param))
    task = make_task(request.param)
    problems = [task.sample(stream(0, i)) for i in range(16)]
    prompts = chats.prompts(reader, [[ask(task, problem)] for problem in problems])
    return model, reader, task, problems, max(map(len, prompts))


def test_a_rollout_holds_what_is_planned(player):
    model, reader, task, problems, prompt = player
    tries, longest, rows = 3, 60, len(problems)
    columns = -(-(prompt + tries * (longest + REPLY)) // STEP) * STEP
    chance = torch.Generator().manual_seed(0)
    options = dict(tries=tries, max_new_tokens=longest, static=True, generator=chance)
    with Live([*model.parameters(), *model.buffers()]) as live:
        rollout(model, reader, task, problems, **options)
    free_room(model)
    pictured = task.picture(problems[0]) is not None
    with fake(model.config, Work("tiny", "gp-l", "eval")) as ghost:
        found = play(ghost, rows, prompt, columns, 12, rows * pictured)
        seen = glance(ghost, rows, learn=False) if pictured else Trace()
    token, picture = cache_bytes(model.config, 4)
    kept = rows * (columns * token + pictured * picture)
    planned = max(found.read + found.inside, found.moving, found.going_on, kept + found.sampling)
    assert kept < planned and planned + seen.views == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("learn", [True, False])
def test_an_update_and_a_distance_hold_what_is_planned(player, learn):
    model, reader, task, problems, _ = player
    chance = torch.Generator().manual_seed(0)
    episodes = rollout(model, reader, task, problems, tries=3, temperature=2.0, generator=chance)
    model = copy.deepcopy(model).train(learn)
    batch, head = pack(episodes, 0), ValueHead(model.config.text_config.hidden_size)
    for weight in (*model.parameters(), *head.parameters()):  # gradients are another part
        weight.register_post_accumulate_grad_hook(lambda w: setattr(w, "grad", None))
    known = [part for part in vars(batch).values() if isinstance(part, torch.Tensor)]
    known += [*(batch.pixels or {}).values(), *model.parameters(), *head.parameters()]
    with Live([*known, *model.buffers()]) as live, torch.set_grad_enabled(learn):
        if learn:
            logps, _, values = policy(model, batch, head)
            ppo(batch, logps, values, get_scale("tiny").rl)[0].backward()
        else:
            policy(model, batch)
    pictures = len(batch.pixels["pixel_values"]) if batch.pixels else 0
    with fake(model.config, Work("tiny", "gp-l", "rl")) as ghost:
        shape, options = (*batch.ids.shape, pictures), dict(answers=len(batch.answers))
        found = trace(ghost.train(learn), "rl", *shape, learn=learn, **options)
    assert found.peak == pytest.approx(live.peak, rel=0.1)


def test_the_recorded_table_is_whole():
    plans = plan.read_table()
    wanted = {(*grid, a, t) for grid in estimates.GRID for a in ADAPTERS for t in (1, 4)}
    assert {(mode, batch, a, t) for mode, a, t, batch in plans} == wanted
    for (mode, adapter, tiles, batch), parts in plans.items():
        assert 8 < sum(parts.values()) < 300 and not {"KV cache", "logits"} <= parts.keys()
        if adapter != "none":
            heavier = plans[mode, ADAPTERS[ADAPTERS.index(adapter) - 1], tiles, batch]
            assert sum(parts.values()) < sum(heavier.values())


# --- too little memory, and bad input --------------------------------------------------


@pytest.fixture
def sizes(monkeypatch):
    """Plans whose size depends on the adapter and the batch alone."""

    def made(work):
        config_of(work.scale, work.task)
        size = {"none": 160.0, "lora": 25.0, "qlora": 11.0}[work.adapter] - CONTEXT
        return plan.Plan(work, {"weights": size + (work.tiles or 4)}, 1e12, 10, 1, 100)

    monkeypatch.setattr(predict, "make_plan", made)


@pytest.mark.parametrize(
    ("memory", "missing", "fits"),
    [
        (80, "84.0", "--adapter lora"),
        (22, "142.0", "--adapter qlora"),
        (13, "151.0", "--max-image-tiles 1 "),  # of a task with pictures
    ],
)
def test_too_little_memory_is_one_line(sizes, memory, missing, fits):
    with pytest.raises(RuntimeError) as error:
        check(Work("full", "gp-vl", adapter="none"), memory)
    line = str(error.value)
    assert f"{missing} are missing" in line and fits in line and "\n" not in line
    assert "does not fit" not in line


def test_unknown_models_are_not_planned():
    other = replace(SCALES["t4"], base="somebody/Other-7B")
    work = Work(other, prompt_tokens=7)
    with pytest.raises(ValueError, match="no plan for somebody/Other-7B"):
        make_plan(work)
    assert check(work, 1) == 0


def test_another_error_is_not_taken_for_an_unknown_model(monkeypatch):
    def broken(*_):
        raise ValueError("a fault of the plan's own")

    monkeypatch.setattr(fit, "fitting", broken)
    with pytest.raises(ValueError, match="of the plan's own"):
        check(Work("full"), 80)


def test_long_episodes_go_through_an_update_in_few_rows():
    n = sizes_of(Work("full", "gp-l", "rl"))
    assert 1 <= n.rows < forward.PART and n.rows * n.width <= forward.TOKENS
    assert sizes_of(Work("tiny", "gp-l", "rl")).rows == forward.PART


def test_fewer_episodes_at_once_where_memory_is_short(monkeypatch):
    def made(work):
        together = work.together or 64
        return plan.Plan(work, {"weights": 8.0, "KV cache": together / 4}, 1e12, 10, 1, 9, together)

    monkeypatch.setattr(predict, "make_plan", made)
    work = Work("full", adapter="qlora")
    assert check(work, 26) == 0 and check(work, 18) == 32 and check(work, 11) == 8
    with pytest.raises(RuntimeError, match=r"needs 11\.0 GiB of 10\.0"):
        check(work, 10)


def test_the_table_of_hardware(monkeypatch, tmp_path):
    sizes = {"none": 100.0, "lora": 25.0, "qlora": 11.0}

    def made(work):
        size = sizes[work.adapter] / (work.gpus if work.sharded else 1)
        return plan.Plan(work, {"weights": size}, 1e12, 10, 1, 100, work.together or 64)

    monkeypatch.setattr(predict, "make_plan", made)
    rows = {(r["GPU"], r["scale"], r["run"]): r for r in hardware_table("gp-vl")}
    assert rows["T4", "full", "sft"]["trained"] == "qlora"
    assert rows["A100 80 GB", "full", "rl"]["trained"] == "lora"
    assert rows["H200", "full", "rl"]["trained"] == "none"
    eight, one = rows["8 x H100", "full", "sft"], rows["H100 80 GB", "full", "sft"]
    assert eight["trained"] == "none" and eight["GiB"] == 13.5
    assert one["hours"] == pytest.approx(6e19 / (0.3 * 989e12) / 3600, rel=0.05)
    assert one["hours"] / eight["hours"] == pytest.approx(8, rel=0.05)
    assert {row["marked"] for row in rows.values()} == {"planned"}
    made_up = tmp_path / "gpu.csv"
    line = "RL memory,41.5,GiB,NVIDIA H200,x,gpu_bench --scale full --adapter lora --task gp-l"
    made_up.write_text(f"name,value,unit,device,commit,command\n{line}\n")
    lora = plan.Plan(Work("full", "gp-l", "rl", "lora"), {}, 1, 1, 1, 1)
    assert estimates.seen_on_gpu(lora, "H200", made_up) == 41.5
    assert estimates.seen_on_gpu(lora, "T4", made_up) == 0


def test_planned_minutes_of_chapters(monkeypatch):
    def made(work):
        tokens = 100 if work.mode == "sft" else 200
        return plan.Plan(work, {}, 65e12 * 0.3, 5 * 10**8, 1, tokens)  # a second a step on a T4

    monkeypatch.setattr(predict, "make_plan", made)
    rows = {row["chapter"][:2]: row for row in estimates.chapter_table("t4", "T4")}
    t4 = get_scale("t4")
    steps = t4.tflop / 2 * 1e12 / (6 * t4.sft.batch * 100 * 5e8)
    assert float(rows["03"]["minutes"].replace(",", "")) == pytest.approx(2 * steps / 60, abs=1)
    assert " to " in rows["04"]["minutes"] and rows["06"]["runs"] == "2 of SFT and 2 of RL"
    assert {row["marked"] for row in rows.values()} == {"planned, not measured"}


def test_chapters_train_what_is_planned():
    shares = {1 / 2: "{} / 2", 1 / 3: "{} / 3", 1 / 6: "{} / 6", 0.4: "0.4 * {}"}
    for chapter, (task, share, *_) in estimates.CHAPTERS.items():
        source = (ROOT / "notebooks" / "source" / f"{chapter}.py").read_text("utf-8")
        whole = "scale.tflop" if task == "gp-l" else f'scale.compute("{task}")'  # others at full
        asked = re.findall(r"\btflop=([^,]+),", source)
        assert asked == ([shares[share].format(whole)] if share < 1 else []), chapter
        assert task == "gp-l" or f'task="{task}"' in source


def test_what_fits_is_not_refused(sizes):
    assert check(Work("full", adapter="none"), 165.0) == 0
    assert check(Work("full", adapter="none"), 0) == 0  # a CPU
    assert advice(make_plan(Work("full")), 165) == ""
    assert "does not fit either" in advice(make_plan(Work("full")), 4)


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


@pytest.mark.parametrize(("vision", "times"), [(True, 1 + 2), (False, 1)])
def test_a_frozen_tower_looks_once_an_update(
    fresh_seeing, processor, picture_task, shown, vision, times, monkeypatch
):
    seen = []
    for module in forward, updates:
        monkeypatch.setattr(module, "encode", lambda *given: seen.append(1) or encode(*given))
    for part in (fresh_seeing.model.vision_model, fresh_seeing.model.multi_modal_projector):
        part.requires_grad_(vision)
    chosen = dict(problems=4, samples=2, minibatch=4, tries=2, max_new_tokens=6)
    settings = replace(get_scale("tiny").rl, **chosen)
    learner = new_learner(fresh_seeing, settings, 0)
    rl_step(learner, processor, picture_task, shown, settings, 0)
    assert len(seen) == times  # for the values; a trained tower again in each update


# --- plans that are kept -----------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        Work("tiny", "gp-l", "rl"),
        Work("small", "virl-l", "sft"),
        Work("t4", "gp-vl", "rl"),
        Work("full", "gp-l", "eval", "qlora", together=16),
        Work("full", "gp-l", "rl", "none", gpus=8),
    ],
)
def test_a_kept_plan_is_what_would_be_made(work):
    """If it is not: ``python -m sftrl_lite.planning.estimates``."""
    kept, made = plan.kept_plans()[work], make_plan(work)
    assert list(kept.parts) == list(made.parts)
    assert kept.parts == pytest.approx(made.parts, rel=1e-4)
    assert kept.flops == pytest.approx(made.flops, rel=1e-4)
    assert replace(kept, parts={}, flops=0) == replace(made, parts={}, flops=0)


def test_every_scale_and_task_is_kept_as_it_stands():
    kept = plan.kept_plans()
    assert set(kept) == set(plan.standard_works())
    for work, found in kept.items():  # a prompt may have grown
        assert (sizes_of(work).tokens, sizes_of(work).together) == (found.tokens, found.together)
    assert len(set(plan.standard_works())) == 12 + 6 + 2 * (36 + 8) * 4


def test_a_plan_of_a_scale_that_was_changed_is_made_anew(tmp_path):
    work = Work("tiny", "gp-l", "sft")
    line = plan.as_line(plan.kept_plans()[work])
    older = line.replace(plan.digest(work.scale), "0" * 8)
    lines = tmp_path / "plans.jsonl"
    lines.write_text(older)
    assert plan.kept_plans(lines) == {}
    assert plan.kept_plans(tmp_path / "nowhere.jsonl") == {}
    larger = replace(work.scale, rl=replace(work.scale.rl, samples=999))
    assert plan.digest(larger) != plan.digest(work.scale)
    assert replace(work, scale=larger) not in plan.kept_plans()


def test_a_kept_plan_is_found_without_what_makes_one():
    """Most of the seconds of a plan go into imports."""
    code = (
        "import sys; from sftrl_lite.planning.fit import fitting, kept_or_made; "
        "from sftrl_lite.planning.work import Work; "
        "print(fitting(Work('full', 'gp-vl', 'rl', 'qlora'), 80, kept_or_made)); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "full gp-vl rl, adapter qlora" in done.stdout and "fits: H100 80 GB" in done.stdout
