"""Adapters: a few million trained numbers beside billions of frozen ones.

    y = W x + (alpha / r) B (A x)        W (out, in) frozen, A (r, in), B (out, r)

LoRA (Hu et al. 2021): only A and B are trained, in float32 whatever W is stored in. B starts at
zero, so the model starts as its base, and without A and B it is its base again: Init needs no
weights of its own. QLoRA (Dettmers et al. 2023) is the same over a W of four bits per number.

A model may wear several, each trained on top of those before: only the last one trains.

peft, which is slow to import, is imported where an adapter is made.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from sftrl_lite.models.checkpoints import read_object
from sftrl_lite.models.precision import in_float32
from sftrl_lite.models.vision import VISION_MODULES, vision_modules

if TYPE_CHECKING:
    from peft import LoraConfig

RANK, ALPHA = 16, 32
FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."  # so that peft itself can read the file


def nf4(compute: torch.dtype) -> BitsAndBytesConfig:
    """Four bits per weight (normal float, scales quantised once more) for the text model alone.

    Args:
        compute: format that a weight is unpacked to when it is used.

    Raises:
        RuntimeError: bitsandbytes is not installed.
    """
    if not find_spec("bitsandbytes"):
        raise RuntimeError("--adapter qlora needs bitsandbytes: pip install 'sftrl-lite[gpu]'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=[*(f"model.{part}" for part in VISION_MODULES), "lm_head"],
    )


def trained(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights that train, by name: all of them, or an adapter's."""
    return {name: w.detach() for name, w in model.named_parameters() if w.requires_grad}


def restore(model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Put back what ``trained`` gave.

    Raises:
        ValueError: other names or other shapes.
    """
    own = trained(model)
    if {n: w.shape for n, w in own.items()} != {n: w.shape for n, w in weights.items()}:
        raise ValueError(f"these weights do not fit {model.name_or_path}")
    for name, weight in own.items():
        weight.copy_(weights[name])


def freeze_vision(model: PreTrainedModel) -> None:
    """Train the text model only."""
    for part in vision_modules(model):
        part.requires_grad_(False)


# --- on and off ------------------------------------------------------------------------


def adapter_names(model: PreTrainedModel) -> list[str]:
    """Names of the adapters that a model has, oldest first; none at all for a plain model."""
    return list(getattr(model, "peft_config", {}))


def adapted(model: nn.Module) -> dict[str, Any]:
    """The layers that have adapters, by name: peft's, around the ``base_layer`` that was there."""
    return {name: m for name, m in model.named_modules() if hasattr(m, "base_layer")}


def add(model: PreTrainedModel, vision: bool = False, config: LoraConfig | None = None) -> None:
    """Freeze a model and give it a new adapter on the linear layers of its text model.

    Args:
        vision: on those of the vision tower and projector as well.
        config: of an adapter that exists, instead.
    """
    from peft import LoraConfig

    if config is None:
        parts = [model.get_decoder(), *(vision_modules(model) if vision else [])]
        inside = {id(module) for part in parts for module in part.modules()}
        linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
        names = [n for n in linear if id(model.get_submodule(n)) in inside and ".lora_" not in n]
        names = [name.removesuffix(".base_layer") for name in names]
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=sorted(names))
    name = f"adapter{len(adapter_names(model))}"
    with warnings.catch_warnings():  # of one adapter on another
        warnings.simplefilter("ignore")
        model.add_adapter(config, adapter_name=name)
    model.set_adapter(adapter_names(model))
    for key, weight in model.named_parameters():
        weight.requires_grad_(f".{name}." in key)
    in_float32(model)


def reference_model(model: PreTrainedModel) -> PreTrainedModel:
    """The model without its last adapter: a second model on the same weights, no copy of them."""
    own, last = trained(model).keys(), adapter_names(model)[-1]
    weights = [*model.parameters(), *model.buffers()]
    twin = deepcopy(model, {id(weight): weight for weight in weights})
    for name, layer in adapted(twin).items():
        layer.delete_adapter(last)
        if not layer.active_adapters:
            twin.set_submodule(name, layer.get_base_layer())
    del twin.peft_config[last]
    for name, weight in model.named_parameters():  # peft has woken the adapters before
        weight.requires_grad_(name in own)
    return twin.eval()


def merge(model: PreTrainedModel) -> None:
    """Fold the adapters into the weights and take them off: W + (alpha / r) B A.

    The logits stay the same, up to the rounding of the weights' format: for four bits that is
    most of what was learned, so merge into a base that was loaded in full.
    """
    for name, layer in adapted(model).items():
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    model.peft_config, model._hf_peft_config_loaded = {}, False


# --- files -----------------------------------------------------------------------------


def save(model: PreTrainedModel, folder: Path, weights: str = "") -> None:
    """Write the last adapter and whose it is.

    Args:
        weights: which weights of its base it was trained on, in any words that identify them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = adapter_names(model)[-1]
    model.peft_config[name].save_pretrained(folder)
    tensors = {
        PREFIX + key.replace(f".{name}.", "."): value.cpu().contiguous()
        for key, value in trained(model).items()
    }
    kind = "qlora" if getattr(model, "is_loaded_in_4bit", False) else "lora"
    about = {"base": str(model.name_or_path), "weights": weights, "adapter": kind}
    save_file(tensors, folder / FILE, metadata={"format": "pt", **about})


def adapter_info(folder: Path) -> dict[str, str]:
    """Whose adapter lies in ``folder``: ``base``, ``weights``, ``adapter`` (lora or qlora).

    Raises:
        ValueError: the file is cut off, or was not written by ``save``.
    """
    try:
        with safe_open(folder / FILE, "pt") as file:
            found = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder / FILE} is missing, cut off or damaged: {error}") from None
    if "base" not in found:
        raise ValueError(f"{folder / FILE} does not say which base it was made for")
    return found


def read_config(folder: Path) -> LoraConfig:
    """An adapter's rank, scale and layers; nothing else in ``adapter_config.json`` is used.

    Raises:
        ValueError: one of them is missing or is none.
    """
    from peft import LoraConfig

    path = folder / "adapter_config.json"
    raw = read_object(path)
    rank, alpha, names = raw.get("r"), raw.get("lora_alpha"), raw.get("target_modules")
    sizes = all(type(n) is int and 0 < n < 10_000 for n in (rank, alpha))
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not (sizes and listed):  # a text instead of a list would be a pattern, and may never end
        raise ValueError(f"{path} is damaged: it has no r, lora_alpha and list of target_modules")
    return LoraConfig(r=raw["r"], lora_alpha=raw["lora_alpha"], target_modules=names)


def load_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Give a model the adapter that lies in ``folder``.

    Raises:
        ValueError: it was made for another model, or is damaged.
    """
    base, config = adapter_info(folder)["base"], read_config(folder)
    try:
        add(model, config=config)
        load_weights(model, folder)
    except ValueError:  # no such layers, or layers of another shape
        wrong = f"and does not fit {model.name_or_path}"
        raise ValueError(f"{folder} is an adapter of {base} {wrong}") from None


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Put the weights that lie in ``folder`` into a model's last adapter.

    Raises:
        ValueError: they have other names or shapes.
    """
    end = f".{adapter_names(model)[-1]}.weight"  # a name may hold the word elsewhere, too
    with safe_open(folder / FILE, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    restore(
        model,
        {n.removeprefix(PREFIX).removesuffix(".weight") + end: w for n, w in weights.items()},
    )


def to_nf4(model: PreTrainedModel, compute: torch.dtype) -> None:
    """Pack the text model's linear layers as ``nf4`` says, for weights made here."""
    how = nf4(compute)
    import bitsandbytes as bnb

    for name, layer in list(model.get_decoder().named_modules()):
        if isinstance(layer, nn.Linear):
            bits = dict(quant_type=how.bnb_4bit_quant_type, compress_statistics=True)
            small = bnb.nn.Linear4bit(
                layer.in_features, layer.out_features, False, compute, device="meta", **bits
            )
            small.support_avx512bf16_for_cpu = False  # see models._weights
            small.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, **bits)
            model.get_decoder().set_submodule(name, small.to(layer.weight.device))
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # torch: only tensors and modules
