"""Where a model comes from, in which format, and one clear line for all that can go wrong."""

import copy
import dataclasses
import json
from types import SimpleNamespace

import httpx
import pytest
import torch
from conftest import make_seeing
from huggingface_hub import errors
from safetensors import SafetensorError
from transformers import AutoConfig, MllamaForConditionalGeneration

from sftrl_lite.models import adapters, loading, precision, tiny
from sftrl_lite.models.loading import load
from sftrl_lite.models.tiny import full_config
from sftrl_lite.models.vision import encode, to_pixels
from sftrl_lite.runs.run_config import Run
from sftrl_lite.runs.weights import load_init
from sftrl_lite.scales import get_scale
from sftrl_lite.training import rl, updates

LLAMA = "meta-llama/Llama-3.2-11B-Vision-Instruct"


@pytest.fixture
def gpu(monkeypatch):
    """As if there were a GPU that nothing gets to."""
    monkeypatch.setenv(precision.PRETEND, "bf16")


# --- number formats --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "dtype"),
    [
        (None, torch.float32),
        ((9, 0), torch.bfloat16),  # H100
        ((8, 0), torch.bfloat16),  # A100
        ((7, 5), torch.float16),  # T4
        ((6, 0), torch.float32),  # P100
    ],
)
def test_the_number_format_fits_the_hardware(card, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: card)
    found, why = precision.precision()
    assert found == dtype
    assert why.startswith(str(dtype).removeprefix("torch.") + ": ") and len(why) < 100


@pytest.mark.parametrize(
    ("card", "triton", "compiled"),
    [((7, 0), True, True), ((6, 1), True, False), ((9, 0), False, False)],
)
def test_decoding_is_compiled_where_triton_can(card, triton, compiled, monkeypatch):
    """Triton makes no kernels for a P100, and is missing on Windows: torch.compile would raise."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: card)
    monkeypatch.setattr(precision, "has_triton_package", lambda: triton)
    assert (precision.hardware().compiler is not None) == compiled


def test_mixed_computes_in_it_and_gives_the_gradient_in_float32(monkeypatch, random_model):
    monkeypatch.setenv(precision.PRETEND, "bf16")
    layer = torch.nn.Linear(4, 4)
    found = precision.mixed(lambda model, x: layer(x))(random_model, torch.ones(1, 4))
    assert found.dtype == torch.bfloat16
    found.sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_a_model_in_main_memory_beside_a_gpu_computes_in_float32(monkeypatch, random_model):
    """As chapter 6's exercises do, whose right answers 16 bits would refuse."""
    monkeypatch.setenv(precision.PRETEND, "fp16")
    beside = dataclasses.replace(precision.hardware(), device=torch.device("cuda"))
    monkeypatch.setattr(precision, "hardware", lambda: beside)
    layer = torch.nn.Linear(4, 4)
    found = precision.mixed(lambda model, x: layer(x))(random_model, torch.ones(1, 4))
    assert found.dtype == torch.float32


def test_steps_of_one_in_a_million_need_float32():
    """Why what trains is float32: the same Adam steps, in both formats."""
    moved = {}
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(0)
        weight = (0.02 * torch.randn(10_000)).to(dtype).requires_grad_()
        before, adam = weight.detach().clone(), torch.optim.Adam([weight], lr=1e-6)
        for _ in range(20):
            weight.grad = torch.ones_like(weight)
            adam.step()
        moved[dtype] = (weight != before).float().mean().item()
    assert moved[torch.bfloat16] < 0.05 and moved[torch.float32] > 0.99


# --- what can go wrong -----------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("base", [LLAMA, "init"])
def test_full_scale_without_a_gpu(base):
    run = Run("rl-ppo", scale="full", base=base).filled()
    assert run.base == (LLAMA if base == LLAMA else "tianzhechu/GP-L-Init")
    with pytest.raises(RuntimeError, match=f"{run.base} needs a CUDA GPU and none was found"):
        load_init(run)


def test_the_papers_checkpoints_by_task():
    full, tiny = get_scale("full"), get_scale("tiny")
    assert full.init_for("virl-vl") == "tianzhechu/VIRL-VL-Init"
    assert tiny.init_for("virl-vl") == "data/tiny-virl-vl"
    with pytest.raises(ValueError, match="init --scale t4 --task gp-l"):
        get_scale("t4").init_for("gp-l")


def refused(kind, status, message):
    request = httpx.Request("GET", f"https://huggingface.co/{LLAMA}")
    return kind(message, response=httpx.Response(status, request=request))


HUB = [
    (refused(errors.GatedRepoError, 401, "401"), "is gated: accept its licence at https://hugg"),
    (refused(errors.RepositoryNotFoundError, 404, "404"), "is not on the Hub, or is private"),
    (refused(errors.HfHubHTTPError, 401, "Invalid credentials"), "the Hub refuses your token"),
    (errors.LocalEntryNotFoundError("offline\nmore"), "could not be downloaded: .*no network?"),
    (SafetensorError("incomplete metadata, file not fully covered"), "a weight file is cut off"),
]


@pytest.mark.parametrize(("cause", "says"), HUB, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_hub_that_does_not_give(cause, says, wrapped, gpu, monkeypatch):
    def fail(*args, **options):
        if wrapped:  # as transformers does
            raise OSError("You are trying to access a model.\nSeveral lines follow") from cause
        raise cause

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    with pytest.raises(RuntimeError, match=says) as caught:
        load(LLAMA)
    assert LLAMA in str(caught.value) and "\n" not in str(caught.value)


def test_another_kind_of_model_is_named(gpu, monkeypatch):
    monkeypatch.setattr(
        AutoConfig, "from_pretrained", lambda base, **_: SimpleNamespace(model_type="t5")
    )
    with pytest.raises(ValueError, match="is a t5 model; these can be trained: mllama, smolvlm"):
        load("google/flan")


@pytest.fixture
def downloaded(random_model, tokenizer, tmp_path):
    """A folder as from the Hub: several weight files, no sums of ours."""
    random_model.save_pretrained(tmp_path, max_shard_size="100KB")
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_downloaded_folder_is_loaded(downloaded, random_model):
    assert len(list(downloaded.glob("model-*.safetensors"))) > 1
    model, _ = load(downloaded)
    for a, b in zip(model.parameters(), random_model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_half_a_download_is_one_line(downloaded):
    last = max(downloaded.glob("model-*.safetensors"))
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{last} is cut off or damaged .*download it again"):
        load(downloaded)
    last.unlink()
    with pytest.raises(FileNotFoundError, match=f"{last} is missing; the download is not complete"):
        load(downloaded)
    (downloaded / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint here \(config.json is missing"):
        load(downloaded)


# --- the 11B, without its weights ------------------------------------------------------


def test_the_full_model_has_its_published_size():
    with torch.device("meta"):
        model = MllamaForConditionalGeneration(full_config())
    count = lambda part: sum(w.numel() for w in part.parameters()) / 1e9  # noqa: E731
    assert count(model) == pytest.approx(10.67, abs=0.01)
    assert count(model.model.vision_model) == pytest.approx(0.86, abs=0.01)
    assert count(model.lm_head) == pytest.approx(0.53, abs=0.01)
    kept = full_config().vision_config
    assert (kept.image_size, kept.max_num_tiles, kept.max_aspect_ratio_id) == (560, 4, 8)


def test_made_up_weights_at_the_size_of_a_configuration(random_model, tokenizer, tmp_path):
    random_model.config.save_pretrained(tmp_path)  # no weights
    tokenizer.save_pretrained(tmp_path)
    model, _ = load(tmp_path, "lora", dummy=True)
    assert type(model) is MllamaForConditionalGeneration
    assert [w.shape for w in random_model.lm_head.parameters()] == [model.lm_head.weight.shape]
    with pytest.raises(FileNotFoundError, match="the download is not complete"):
        load(tmp_path)


def test_the_made_up_11b_needs_nothing_from_the_hub(gpu, monkeypatch, processor):
    small = make_seeing(processor, tiles=2).config
    monkeypatch.setattr(loading, "full_config", lambda: small)
    monkeypatch.setattr(loading, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(loading, "precision", lambda: (torch.bfloat16, ""))
    run = Run("rl-ppo", scale="full", load_format="dummy").filled()
    model, made_up = load_init(run)
    assert model.dtype == torch.bfloat16 and model.model.vision_model.dtype == torch.bfloat16
    assert made_up.image_processor.max_image_tiles == 2
    assert model.config.image_token_index == made_up.tokenizer.convert_tokens_to_ids("<|image|>")
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained and all("lora" in name for name in trained)


# --- tiles -----------------------------------------------------------------------------


def test_fewer_tiles_cut_the_tables(processor, picture_task, shown, tmp_path):
    two = make_seeing(processor, tiles=2)
    eyes = tiny.make_processor(processor.tokenizer, 40, tiles=2)
    loading.save(two, eyes, tmp_path / "two")
    model, one_tile = load(tmp_path / "two", tiles=1)
    old, new = two.model.vision_model, model.model.vision_model
    for name in ("pre", "post"):
        table = getattr(old, f"{name}_tile_positional_embedding").embedding.weight
        cut = getattr(new, f"{name}_tile_positional_embedding").embedding.weight
        assert torch.equal(cut, table[[0, 1], :64])  # rows: no picture, 1 x 1; column: first tile
    pixels = to_pixels(one_tile, [picture_task.picture(hand) for hand in shown])
    assert pixels["pixel_values"].shape[2] == 1
    assert encode(model, pixels).shape == (4, 5, 32)
    assert one_tile.image_processor.max_image_tiles == 1
    loading.save(model, one_tile, tmp_path / "one")  # and it stays so
    again, _ = load(tmp_path / "one")
    assert torch.equal(encode(again, pixels), encode(model, pixels))
    with pytest.raises(ValueError, match="reads pictures of 1 to 2 tiles, not 3"):
        load(tmp_path / "two", tiles=3)


def test_an_adapter_remembers_its_tiles(processor, picture_task, shown, tmp_path):
    eyes = tiny.make_processor(processor.tokenizer, 40, tiles=2)
    loading.save(make_seeing(processor, tiles=2), eyes, tmp_path / "two")
    model, one_tile = load(tmp_path / "two", "lora", tiles=1)
    loading.save(model, one_tile, tmp_path / "run")
    there, eyes = load(tmp_path / "run")
    assert eyes.image_processor.max_image_tiles == there.config.vision_config.max_num_tiles == 1


# --- runs ------------------------------------------------------------------------------


def test_what_is_trained_decides_the_hash_and_the_default_does_not():
    plain = Run("sft")
    assert Run("sft", adapter="", vision="", max_image_tiles=0).hash == plain.hash
    others = [dict(adapter="lora"), dict(vision="frozen"), dict(max_image_tiles=1)]
    assert len({plain.hash, *(Run("sft", **fields).hash for fields in others)}) == 4


def test_float16_trains_with_scaled_gradients(
    random_model, tokenizer, seven_task, hands, monkeypatch
):
    """As on a T4: products in float16, adapters in float32, the loss scaled up and down."""
    monkeypatch.setenv(precision.PRETEND, "fp16")
    model = copy.deepcopy(random_model).to(torch.float16)
    adapters.add(model)
    few = dict(problems=4, samples=4, minibatch=8, tries=2, max_new_tokens=4, lr=1e-3)
    settings = dataclasses.replace(get_scale("tiny").rl, **few)
    learner = updates.new_learner(model, settings, 0)
    assert learner.scaler.is_enabled()
    for _ in range(4):  # the first scale is too large: a step is left out, not spoilt
        rl.rl_step(learner, tokenizer, seven_task, hands, settings, seed=0)
    trained = adapters.trained(model)
    assert {w.dtype for w in trained.values()} == {torch.float32}
    assert all(weight.isfinite().all() for weight in trained.values())
    assert any(weight.abs().max() > 0 for name, weight in trained.items() if "lora_B" in name)
    assert model.lm_head.weight.dtype == torch.float16


def test_text_keeps_its_digits_beside_a_frozen_tower_in_16_bits(
    seeing_model, processor, gpu, tmp_path
):
    half = copy.deepcopy(seeing_model).to(torch.bfloat16)
    loading.save(half, processor, tmp_path / "base")
    assert load(tmp_path / "base")[0].lm_head.weight.dtype == torch.bfloat16  # as it was
    model, _ = load(tmp_path / "base", "none", vision="frozen")
    with torch.no_grad():
        model.lm_head.weight += 1e-6 * torch.randn_like(model.lm_head.weight)
    loading.save(model, processor, tmp_path / "run")
    again, _ = load(tmp_path / "run", "none", vision="frozen")
    for (name, one), two in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one.float(), two) and one.requires_grad == two.requires_grad, name
    assert not torch.equal(model.lm_head.weight, model.lm_head.weight.bfloat16().float())


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("adapter", "dora", "unknown adapter 'dora'; choose none, lora, qlora"),
        ("vision", "shut", "unknown vision 'shut'; choose trained, frozen"),
        ("load_format", "gguf", "unknown load_format 'gguf'; choose dummy"),
        ("max_image_tiles", -1, "max_image_tiles is -1"),
    ],
)
def test_bad_choices_are_one_line(field, value, says):
    with pytest.raises(ValueError, match=says):
        Run("sft", **{field: value})


def test_an_index_is_read_for_what_it_lists(downloaded):
    index = downloaded / "model.safetensors.index.json"
    told = json.loads(index.read_text())
    told["weight_map"]["another.weight"] = "model-99999-of-99999.safetensors"
    index.write_text(json.dumps(told))
    with pytest.raises(FileNotFoundError, match="model-99999-of-99999"):
        load(downloaded)
