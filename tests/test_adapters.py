"""An adapter is nothing at first, is all that trains, and goes back on its own base only."""

import copy
import json
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import MllamaForConditionalGeneration

from sftrl_lite.models import adapters, checkpoints, loading, precision
from sftrl_lite.scales import get_scale
from sftrl_lite.training import forward, rl, rollout_copy, rollouts, updates
from sftrl_lite.training.compute import text_parameters

IDS = torch.arange(6, 36)[None]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def disturb(model, size=0.1):
    """As if it had been trained."""
    chance = torch.Generator().manual_seed(0)
    for weight in adapters.trained(model).values():
        weight.normal_(0, size, generator=chance)


@pytest.fixture
def base(random_model, tokenizer, tmp_path):
    loading.save(random_model, tokenizer, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def worn(base):
    """A model with an adapter that does something."""
    model, _ = loading.load(base, "lora")
    disturb(model)
    return model


def test_a_new_adapter_changes_nothing_and_is_all_that_trains(base, random_model):
    model, _ = loading.load(base, "lora", vision="frozen")
    assert torch.equal(logits(model), logits(random_model))
    names = list(adapters.trained(model))
    assert names and all(".lora_" in name and "language_model" in name for name in names)
    layers = {name.split(".lora_")[0] for name in names}
    assert len(layers) == 3 * 7 and len(names) == 2 * len(layers)  # q k v o, gate up down


def test_a_new_adapter_is_the_seeds_whatever_was_drawn_before(base):
    """A cell that is run again starts as it did, and takes no random number from others."""

    def new(seed):
        model, _ = loading.load(base, "lora", seed=seed)
        return {name: weight.clone() for name, weight in adapters.trained(model).items()}

    first, state = new(0), torch.get_rng_state()
    torch.rand(7)
    again, other = new(0), new(1)
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert not all(torch.equal(weight, other[name]) for name, weight in first.items())
    torch.set_rng_state(state)
    new(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_with_eyes_there_are_adapters_on_them_too(seeing_model):
    model = copy.deepcopy(seeing_model)
    adapters.add(model, vision=True)
    names = " ".join(adapters.trained(model))
    assert "vision_model.transformer" in names and "multi_modal_projector" in names


def test_what_trains_is_float32_whatever_the_base_is(random_model):
    model = copy.deepcopy(random_model).to(torch.bfloat16)
    adapters.add(model)
    assert {w.dtype for w in adapters.trained(model).values()} == {torch.float32}
    assert model.lm_head.weight.dtype == torch.bfloat16


def test_bare_is_init_on_the_same_weights(worn, random_model):
    init = adapters.reference_model(worn)
    assert torch.equal(logits(init), logits(random_model))
    assert not torch.equal(logits(worn), logits(random_model))
    assert init.lm_head.weight is worn.lm_head.weight
    shared = {id(weight) for weight in worn.parameters()}
    assert all(id(weight) in shared for weight in init.parameters())
    assert not adapters.adapter_names(init)


def test_merged_and_unmerged_agree(worn):
    apart = logits(worn)
    adapters.merge(worn)
    assert (logits(worn) - apart).abs().max() < 1e-4
    assert not adapters.adapter_names(worn) and type(
        worn.model.language_model.layers[0].mlp.up_proj
    ) is (torch.nn.Linear)


def test_a_saved_adapter_gives_the_same_logits(worn, tokenizer, tmp_path):
    loading.save(worn, tokenizer, tmp_path / "run")
    there, _ = loading.load(tmp_path / "run")
    assert torch.equal(logits(there), logits(worn))
    assert not (tmp_path / "run" / "model.safetensors").exists()
    merged, _ = loading.load(tmp_path / "run", "none")  # to train all weights from here
    assert not adapters.adapter_names(merged) and all(w.requires_grad for w in merged.parameters())
    assert (logits(merged) - logits(worn)).abs().max() < 1e-4


def test_an_adapter_on_an_adapter(worn, tokenizer, tmp_path):
    loading.save(worn, tokenizer, tmp_path / "first")
    model, _ = loading.load(tmp_path / "first", "lora")
    assert torch.equal(logits(model), logits(worn))
    assert all(".adapter1." in name for name in adapters.trained(model))
    disturb(model, 0.05)
    loading.save(model, tokenizer, tmp_path / "second")
    there, _ = loading.load(tmp_path / "second")
    assert torch.equal(logits(there), logits(model))
    init = adapters.reference_model(model)
    assert torch.equal(logits(init), logits(worn))
    assert all(".adapter1." in name for name in adapters.trained(model))  # the first still sleeps
    adapters.merge(model)
    assert (logits(model) - logits(there)).abs().max() < 1e-4


def test_peft_reads_it(worn, tokenizer, base, tmp_path):
    loading.save(worn, tokenizer, tmp_path / "run")
    theirs = PeftModel.from_pretrained(loading.load(base)[0], tmp_path / "run")
    assert torch.equal(logits(theirs), logits(worn))


def test_what_a_library_writes_about_itself_makes_no_other_base(worn, tokenizer, base, tmp_path):
    loading.save(worn, tokenizer, tmp_path / "run")
    config = base / "config.json"
    told = json.loads(config.read_text()) | {"transformers_version": "99.0"}
    config.write_text(json.dumps(told))
    checkpoints.write_sums(base)
    assert torch.equal(logits(loading.load(tmp_path / "run")[0]), logits(worn))


def test_another_base_is_refused(worn, tokenizer, random_model, base, tmp_path):
    loading.save(worn, tokenizer, tmp_path / "run")
    config = copy.deepcopy(random_model.config)
    config.text_config.hidden_size, config.text_config.head_dim = 64, 16
    wider = MllamaForConditionalGeneration(config)
    wider.name_or_path = "a-wider-model"
    with pytest.raises(ValueError, match=f"is an adapter of {base} and does not fit a-wider-model"):
        adapters.load_adapter(wider, tmp_path / "run")
    other = copy.deepcopy(random_model)
    with torch.no_grad():
        other.lm_head.weight += 1
    loading.save(other, tokenizer, base)  # in the place of the true one
    with pytest.raises(ValueError, match=f"is an adapter of {base} .*what is there now is"):
        loading.load(tmp_path / "run")


def test_a_damaged_adapter_is_one_line(worn, tokenizer, tmp_path):
    loading.save(worn, tokenizer, tmp_path / "run")
    file = tmp_path / "run" / adapters.FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="SHA-256"):
        loading.load(tmp_path / "run")
    checkpoints.write_sums(tmp_path / "run")  # cut off before the sums were written
    with pytest.raises(ValueError, match=r"adapter_model.safetensors is missing, cut off or"):
        loading.load(tmp_path / "run")


def test_unknown_words_list_the_choices(base):
    with pytest.raises(ValueError, match="choose none, lora, qlora"):
        loading.load(base, "dora")
    with pytest.raises(ValueError, match="choose trained, frozen"):
        loading.load(base, vision="closed")


def test_qlora_without_its_library_says_what_to_install(base, monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"needs bitsandbytes: pip install 'sftrl-lite\[gpu\]'"):
        loading.load(base, "qlora")


@pytest.mark.skipif(not find_spec("bitsandbytes"), reason="four-bit weights need bitsandbytes")
def test_four_bits_for_the_text_model_alone(base, tokenizer, random_model, tmp_path):
    model, _ = loading.load(base, "qlora", vision="frozen")
    weights = {name: type(weight).__name__ for name, weight in model.named_parameters()}
    packed = {name for name, kind in weights.items() if kind == "Params4bit"}
    assert len(packed) == 21 and all("language_model" in name for name in packed)
    assert text_parameters(model) == text_parameters(loading.load(base, "lora", vision="frozen")[0])
    disturb(model)
    init = adapters.reference_model(model)
    assert init.model.language_model.layers[0].self_attn.q_proj.weight is (
        model.model.language_model.layers[0].self_attn.q_proj.weight
    )
    assert (logits(init) - logits(random_model)).abs().max() > 0  # four bits are not thirty-two
    ours = copy.deepcopy(random_model)  # packed in memory, as made-up weights are
    adapters.to_nf4(ours, torch.float32)
    assert torch.equal(logits(ours.eval()), logits(init))
    loading.save(model, tokenizer, tmp_path / "run")
    there, _ = loading.load(tmp_path / "run")
    assert torch.equal(logits(there), logits(model))


# --- merged for a rollout ---------------------------------------------------------------


def gpu_with(monkeypatch, free):
    """A 16-bit GPU, pretended, with so many bytes free."""
    monkeypatch.setenv(precision.PRETEND, "bf16")
    answer = replace(precision.hardware(), compiler=None, free=lambda: free)
    monkeypatch.setattr(rollout_copy, "hardware", lambda: answer)


def half(random_model, kind=torch.bfloat16):
    """A model in 16 bits, an adapter on another."""
    model = copy.deepcopy(random_model).to(kind)
    for _ in range(2):
        adapters.add(model)
        disturb(model, 0.02)
    return model.eval()


def adapted(model):
    return [m for m in model.modules() if isinstance(m, BaseTunerLayer)]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_merged_weights_play_alike_and_come_back_to_the_last_bit(random_model, monkeypatch, kind):
    model = half(random_model, kind)
    before, apart = copy.deepcopy(model.state_dict()), logits(model).float().log_softmax(-1)
    base = logits(adapters.reference_model(adapters.reference_model(model))).float().log_softmax(-1)
    gpu_with(monkeypatch, 10**9)
    with rollout_copy.merged(model) as yes:
        assert yes
        joined = logits(model).float().log_softmax(-1)
        for layer in adapted(model):  # A and B are not computed with
            layer.lora_A.requires_grad_(False)
            [part.weight.fill_(float("nan")) for part in layer.lora_A.values()]
        assert torch.equal(logits(model).float().log_softmax(-1), joined)
        for name, weight in model.state_dict().items():
            if ".lora_A." in name:
                weight.copy_(before[name])
    assert (joined - apart).abs().mean() < (base - apart).abs().mean() / 5
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(model).float().log_softmax(-1), apart)
    assert not any(layer.merged for layer in adapted(model))


def test_weights_come_back_after_an_error(random_model, monkeypatch):
    model = half(random_model)
    before = copy.deepcopy(model.state_dict())
    gpu_with(monkeypatch, 10**9)
    with pytest.raises(KeyboardInterrupt), rollout_copy.merged(model):
        raise KeyboardInterrupt
    broken, calls = adapted(model)[4], []
    monkeypatch.setattr(broken, "get_delta_weight", lambda name: calls.append(name) or 1 / 0)
    with pytest.raises(ZeroDivisionError), rollout_copy.merged(model):
        pass  # an error in the middle of merging
    assert calls and all(torch.equal(w, before[n]) for n, w in model.state_dict().items())
    assert not any(layer.merged for layer in adapted(model))


def test_weights_are_merged_only_where_a_copy_fits(random_model, monkeypatch):
    model = half(random_model)
    copy_of = sum(layer.get_base_layer().weight.nbytes for layer in adapted(model))
    for free, fits in ((2 * copy_of, True), (2 * copy_of - 2, False), (None, False)):
        gpu_with(monkeypatch, free)
        with rollout_copy.merged(model) as yes:
            assert yes is fits
    gpu_with(monkeypatch, 10**9)
    for other in (copy.deepcopy(random_model), half(random_model, torch.float32)):
        with rollout_copy.merged(other) as yes:
            assert not yes  # nothing to merge, or not in 16 bits


def test_small_changes_survive_rounding_on_average():
    chance = torch.Generator().manual_seed(0)
    weight = (0.02 * torch.randn(200_000, generator=chance)).bfloat16()
    assert torch.equal(rollout_copy.dithered(weight.float(), weight, chance), weight)
    change = 1e-6
    assert ((weight.float() + change).bfloat16() != weight).float().mean() < 0.05
    moved = rollout_copy.dithered(weight.float() + change, weight, chance).float() - weight.float()
    assert moved.mean().item() == pytest.approx(change, rel=0.2)


def test_a_step_of_rl_plays_merged_and_trains_unmerged(
    random_model, tokenizer, seven_task, hands, monkeypatch
):
    model = half(random_model)
    gpu_with(monkeypatch, 10**9)
    seen, rollout, policy = [], rollouts.rollout, forward.policy

    def noted(name, function):
        def inner(model, *args, **options):
            seen.append((name, any(layer.merged for layer in adapted(model))))
            return function(model, *args, **options)

        return inner

    monkeypatch.setattr(rl, "rollout", noted("rollout", rollout))
    monkeypatch.setattr(rl, "policy", noted("policy", policy))
    settings = replace(
        get_scale("tiny").rl, problems=2, samples=2, minibatch=4, tries=2, max_new_tokens=4
    )
    frozen = [layer.get_base_layer().weight.clone() for layer in adapted(model)]
    learner = updates.new_learner(model, settings, 0)
    rl.rl_step(learner, tokenizer, seven_task, hands, settings, 0)
    assert set(seen) == {("rollout", True), ("policy", False)}
    now = [layer.get_base_layer().weight for layer in adapted(model)]
    assert all(torch.equal(a, b) for a, b in zip(frozen, now, strict=True))
