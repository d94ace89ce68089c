"""Where to compute, and in which number format.

Weights lie in the format that they were saved in; products are computed in the fastest format
that the hardware has; what trains is always float32, because a step must not be lost by rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import torch
from torch.utils._triton import has_triton_package
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from sftrl_lite.scales import Scale

PRETEND = "SFTRL_PRETEND_GPU"  # bf16 or fp16: compute on the CPU as such a GPU would, for tests
FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """What a machine decides about how a model is computed; nothing else asks for a GPU.

    Args:
        device: where weights and batches lie.
        gpu: whether layers are checkpointed, caches keep their shape, and batches and groups of
            episodes go through in passes of bounded size. A CPU takes everything at once.
        format: number format of products; ``why`` says in a line how it was chosen.
        compiler: options of ``torch.compile`` for decoding; None: not compiled.
        free: asks how many bytes of memory can still be taken; it answers None where nobody
            counts them, on a CPU.
    """

    device: torch.device
    gpu: bool
    format: torch.dtype
    why: str
    compiler: dict[str, Any] | None = None
    free: Callable[[], int | None] = lambda: None


def free_on_gpu() -> int:
    """Bytes that CUDA has left, and those that torch holds and does not use."""
    idle = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return torch.cuda.mem_get_info()[0] + idle


def hardware() -> Hardware:
    """This machine: its GPU if there is one, else its CPU.

    Raises:
        ValueError: SFTRL_PRETEND_GPU names no format.
    """
    if pretended := os.environ.get(PRETEND):
        if pretended not in FORMATS:
            raise ValueError(f"{PRETEND} is {pretended!r}; choose {', '.join(FORMATS)}")
        why = f"{pretended}: on the CPU, as a GPU would compute (slow; for tests)"
        cpu, eager = torch.device("cpu"), dict(backend="eager", dynamic=False)
        return Hardware(cpu, True, FORMATS[pretended], why, eager)
    if not torch.cuda.is_available():
        why = "float32: a CPU is fastest and exact enough in it"
        return Hardware(torch.device("cpu"), False, torch.float32, why)
    generation = torch.cuda.get_device_capability()
    compiler: dict[str, Any] | None = None
    kind, why = torch.float32, "float32: this GPU has no fast smaller format"
    if generation >= (8, 0):
        kind, why = torch.bfloat16, "bfloat16: this GPU computes in it natively"
    elif generation >= (7, 0):
        why = "this GPU has no native bfloat16; gradients are scaled into float16's range"
        kind, why = torch.float16, f"float16: {why}"
    if generation >= (7, 0) and has_triton_package():  # it makes the kernels, of newer GPUs alone
        compiler = dict(mode="reduce-overhead", dynamic=False)
    return Hardware(torch.device("cuda"), True, kind, why, compiler, free_on_gpu)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return hardware().device


def device_name() -> str:
    """What computes here, in a word: ``cpu`` or the GPU's name."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu as {os.environ[PRETEND]} GPU" if hardware().gpu else "cpu"


def precision() -> tuple[torch.dtype, str]:
    """Number format of the forward pass, and the reason for it."""
    return hardware().format, hardware().why


def mixed(function: Callable) -> Callable:
    """Run ``function(model, ...)`` in the number format of ``precision``.

    Matrix products compute in it, whatever the weights are stored in; sums and softmax stay
    in float32. Backward passes belong outside. A model that lies in main memory beside a GPU is
    computed in float32, as on a machine without one.
    """

    @wraps(function)
    def inner(model: PreTrainedModel, *args: Any, **options: Any) -> Any:
        machine, where = hardware(), model.device.type
        here = where == machine.device.type and machine.format != torch.float32
        with torch.autocast(where, machine.format, enabled=here):
            return function(model, *args, **options)

    return inner


def in_float32(model: PreTrainedModel) -> None:
    """Keep what trains in float32.

    bfloat16 has eight bits: next to a weight of 0.02, a step of 1e-6 is rounded away. Of a whole
    bfloat16 model under Adam at that rate only 2 % of the weights ever change.
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Keep only each layer's input for backward and compute the layer again there.

    transformers (5.23) does so for text layers, in training mode. It leaves Mllama's vision
    tower out, whose layers are wrapped here where they are trained. And it makes the inputs
    of text and tower require gradients, for an older kind of checkpointing: then a frozen
    tower keeps all its activations, some 6 GiB for a picture of four tiles. That is undone.
    """
    older: Any = getattr(model, "gradient_checkpointing_enable", None)  # its name before 5.23
    getattr(model, "activation_checkpointing_enable", older)({"use_reentrant": False})
    model.disable_input_require_grads()
    sees = getattr(model.model, "vision_model", None)  # a model of text has none
    tower = getattr(sees, "transformer", None)
    both = (tower, sees.global_transformer) if sees and tower else ()
    for layer in (layer for part in both for layer in part.layers):
        trained = any(weight.requires_grad for weight in layer.parameters())
        if trained and not isinstance(layer.forward, partial):
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def checkpointed(model: PreTrainedModel) -> bool:
    """Whether ``checkpoint_layers`` was called on the model."""
    return any(getattr(layer, "gradient_checkpointing", False) for layer in model.modules())


@contextmanager
def threads_of(scale: Scale) -> Iterator[None]:
    """One thread for a model that is meant for CPUs: with more, sums are taken in another order.

    So the numbers of a run do not depend on how many cores a machine has, and two runs on two
    cores do not collide.
    """
    before = torch.get_num_threads()
    if not scale.memory:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
