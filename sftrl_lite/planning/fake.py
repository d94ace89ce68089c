"""Models on fake tensors, which have shapes and no content, and a count of the bytes alive."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from sftrl_lite.models import adapters
from sftrl_lite.models.precision import PRETEND, checkpoint_layers, hardware, in_float32, mixed
from sftrl_lite.models.vision import (
    PATCHES,
    Pixels,
    auto_class,
    encode,
    has_cross_attention,
    states_of_picture,
    tower_of,
    vision_modules,
)
from sftrl_lite.planning.work import Work

ATEN = torch.ops.aten
COSTS = flop_registry | {  # torch does not count its own attention on CPUs
    ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q.shape, k.shape, v.shape
    ),
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: (
        sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape)
    ),
}


class Live(TorchDispatchMode):
    """Counts operations, and the bytes of tensors that are made in here and still alive:
    ``now``, at most since ``restart`` (``recent``), and at most at all (``peak``).
    """

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.now = self.recent = self.peak = self.flops = 0
        self.held = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if cost := COSTS.get(function._overloadpacket):
            self.flops += cost(*args, **(kwargs or {}), out_val=out)
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                store = tensor.untyped_storage()
                if store._cdata not in self.held:  # views share a store
                    self.held.add(store._cdata)
                    self.now += store.nbytes()
                    weakref.finalize(store, self.gone, store._cdata, store.nbytes())
        self.recent = max(self.recent, self.now)
        self.peak = max(self.peak, self.now)
        return out

    def gone(self, key: int, size: int) -> None:
        """A store was freed."""
        self.held.discard(key)
        self.now -= size

    def restart(self) -> int:
        """Forget the highest value but ``peak``; returns what is alive."""
        self.recent = self.now
        return self.now


@contextmanager
def as_on_gpu(yes: bool) -> Iterator[None]:
    """Let functions that ask for the ``hardware`` compute as a GPU would, or as they are."""
    before = os.environ.get(PRETEND)
    os.environ[PRETEND] = (before or "bf16") if yes else ""
    try:
        yield
    finally:
        os.environ.pop(PRETEND)
        if before is not None:
            os.environ[PRETEND] = before


def format_of(config: PreTrainedConfig, work: Work) -> torch.dtype:
    """The number format of weights that are not trained, as ``loading.load`` keeps them."""
    whole = config.dtype in (None, torch.float32) or not work.scale.memory
    return torch.float32 if whole else torch.bfloat16


def nothing(config: PreTrainedConfig, work: Work) -> PreTrainedModel:
    """The model of ``work``, ready for training, on torch's device of no content."""
    with torch.device("meta"), no_init_weights():
        model = auto_class(config).from_config(config, dtype=format_of(config, work))
        model.tie_weights()  # undone by making it of nothing
        if work.adapter != "none":
            adapters.add(model, vision=work.tower_trained)
        elif not work.tower_trained:
            adapters.freeze_vision(model)
        if work.adapter == "none" and work.mode != "eval" and not work.sharded:
            in_float32(model)  # shards are, too, but what they gather for a pass is 16 bits wide
    return model


@contextmanager
def fake(config: PreTrainedConfig, work: Work) -> Iterator[PreTrainedModel]:
    """The model of ``work`` with adapters and checkpointing as in training, made of nothing."""
    on_gpu = work.scale.memory > 0
    model = nothing(config, work)
    with as_on_gpu(on_gpu), FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        model.tie_weights()
        for weight in model.parameters():  # gradients are counted elsewhere
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(lambda w: setattr(w, "grad", None))
        if on_gpu:
            checkpoint_layers(model)
        if work.mode == "sft":
            from trl.trainer.utils import add_fused_lm_head  # slow to import

            add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))  # as trl does
        yield model.train()


def pictures_like(config: PreTrainedConfig, number: int) -> Pixels:
    """Tensors like the image processor's, of ``number`` pictures."""
    tower = config.vision_config
    if config.model_type != "mllama":
        shape: tuple[int, ...] = number, 1, tower.image_size, tower.image_size
        return {
            "pixel_values": torch.ones(number, 1, 3, *shape[2:]),
            "pixel_attention_mask": torch.ones(shape, dtype=torch.long),
        }
    shape = number, 1, tower.max_num_tiles
    return {
        "pixel_values": torch.zeros(*shape, 3, tower.image_size, tower.image_size),
        "aspect_ratio_ids": torch.ones(number, 1, dtype=torch.long),
        "aspect_ratio_mask": torch.ones(shape, dtype=torch.long),
    }


@mixed
def encode_whole(model: PreTrainedModel, pixels: Pixels) -> Tensor:
    """``vision.encode`` without asking which pictures and patches are empty.

    SmolVLM asks, and the answer is content, which fake tensors lack.
    """
    if has_cross_attention(model):
        return encode(model, pixels)
    inner, values = model.model, pixels["pixel_values"].flatten(0, 1)
    tower = inner.vision_model
    patches = tower.embeddings.patch_embedding(values.to(model.dtype)).flatten(2).mT
    places = torch.arange(patches.shape[1], device=patches.device)
    patches = patches + tower.embeddings.position_embedding(places)
    seen = tower.post_layernorm(tower.encoder(inputs_embeds=patches).last_hidden_state)
    return inner.connector(seen)


def few_pictures(config: PreTrainedConfig, number: int) -> int:
    """How many of so many pictures ``encode`` takes at a time."""
    if (tower := tower_of(config)) is None:
        return number
    patches = (tower.image_size // tower.patch_size) ** 2 * getattr(tower, "max_num_tiles", 1)
    return min(number, max(PATCHES // patches, 1))


def states_like(model: PreTrainedModel, pictures: int) -> Tensor:
    """States of pictures as ``encode`` gives them, that want a gradient where it is wanted."""
    hidden = model.config.get_text_config().hidden_size
    trained = any(
        weight.requires_grad for part in vision_modules(model) for weight in part.parameters()
    )
    kind, shape = hardware().format, (pictures, states_of_picture(model.config), hidden)
    return torch.zeros(shape, dtype=kind, device=model.device).requires_grad_(trained)
