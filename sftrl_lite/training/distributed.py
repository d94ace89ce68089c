"""Several processes train one model, each on its own device, and end where one would have.

Started by ``torchrun`` or ``accelerate launch``, every process runs the same program. Three
rules make N processes take the steps of one::

    problems     are dealt out (``split_between_processes``); who is dealt a problem plays
                 it and trains on it
    randomness   is drawn for the whole batch by everyone, and each uses its own rows
                 (``draw``), so what a problem meets does not depend on who plays it
    gradients    are added up. A loss is a mean over the units of a minibatch, wherever they
                 lie: each process divides by the number of all (``all_reduce_sum``), and the
                 sum is the mean

What remains is rounding: a product of matrices of another shape may differ in the last bit.
In a single process every function here returns at once what it was given.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from sftrl_lite.models.precision import device, precision
from sftrl_lite.models.vision import has_cross_attention, vision_modules


def start() -> None:
    """Join the other processes, if a launcher started several; each takes its own GPU.

    On GPUs tensors go by NCCL, and what lies in main memory (episodes, whole states) by gloo.
    Without a launcher one GPU is used, and if there are more, a line says how to use them.
    """
    tell_of_idle_gpus()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        backend = "gloo"
        if device().type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            backend = "cpu:gloo,cuda:nccl"
        patience = timedelta(hours=1)  # the others wait while one writes a large checkpoint
        dist.init_process_group(backend, timeout=patience)


@cache  # once a process
def tell_of_idle_gpus() -> None:
    """Say that a process without a launcher uses one of several GPUs, and what uses them all."""
    many = torch.cuda.device_count() if device().type == "cuda" else 0
    if many > 1 and "WORLD_SIZE" not in os.environ:
        every = f"torchrun --nproc_per_node {many} -m sftrl_lite sft (or rl) ..."
        print(f"note: one of {many} GPUs is used; for all of them: {every}", file=sys.stderr)


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the process that writes: rows, checkpoints, models, the ledger."""
    return rank() == 0


def barrier() -> None:
    """Go on when all processes have come here."""
    broadcast(None)


def broadcast(value: Any) -> Any:
    """What the main process says, so that all take the same branch."""
    if world() > 1:
        box = [value]
        dist.broadcast_object_list(box, device=device())
        return box[0]
    return value


def split_between_processes(items: Sequence[Any]) -> Sequence[Any]:
    """This process's items: a block, so that the blocks in order of rank are the whole."""
    cuts = [len(items) * k // world() for k in (rank(), rank() + 1)]
    return items[cuts[0] : cuts[1]]


def all_gather(items: Any) -> Any:
    """The items of all processes, in order of rank: of lists a list, of tensors a tensor."""
    if world() == 1:
        return items
    blocks: list[Any] = [None] * world()
    if isinstance(items, Tensor):
        dist.all_gather_object(blocks, items.cpu())
        return torch.cat(blocks).to(items.device)
    dist.all_gather_object(blocks, list(items))
    return [item for block in blocks for item in block]


def place(rows: int) -> tuple[int, int]:
    """Where this process's rows begin among all rows, and how many there are in all."""
    if world() == 1:
        return 0, rows
    mine = torch.tensor([rows], device=device())
    every = [torch.empty_like(mine) for _ in range(world())]
    dist.all_gather(every, mine)
    counts = torch.cat(every).tolist()
    return sum(counts[: rank()]), sum(counts)


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum over all processes, elementwise."""
    if world() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def all_reduce_sums(**numbers: float) -> dict[str, float]:
    """The sums of numbers by name; whole numbers stay whole."""
    if world() == 1:
        return numbers
    sums = all_reduce_sum(
        torch.tensor(list(numbers.values()), dtype=torch.float64, device=device())
    )
    pairs = zip(numbers.items(), sums.tolist(), strict=True)
    return {name: type(number)(found) for (name, number), found in pairs}


def all_reduce_max(number: int) -> int:
    """The largest of all processes' numbers."""
    return max(all_gather([number]))


def all_reduce_min(number: int) -> int:
    """The smallest of all processes' numbers."""
    return min(all_gather([number]))


def any_process(yes: Any) -> bool:
    """Whether it is so in any process."""
    if world() == 1:
        return bool(yes)
    number = torch.tensor(int(bool(yes)), device=device())
    return bool(all_reduce_sum(number))


def draw(probs: Tensor, generator: torch.Generator | None) -> Tensor:
    """One token for each row of probabilities (rows, vocabulary).

    With exponential noise E of rate 1, argmax(p / E) is token k with probability p_k: the
    race that ``torch.multinomial`` runs too. Its noise comes for all rows of the batch from
    one generator, so each process draws the noise of all and takes its rows of it.
    """
    if world() == 1:
        return torch.multinomial(probs, 1, generator=generator)[:, 0]
    first, rows = place(len(probs))
    noise = probs.new_empty(rows, probs.shape[1]).exponential_(generator=generator)
    return (probs / noise[first : first + len(probs)]).argmax(-1)


def add_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in place; no gradient counts as zero."""
    if world() > 1:
        for weight in weights:
            if weight.requires_grad and not isinstance(weight, DTensor):  # FSDP2 adds up its own
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                dist.all_reduce(weight.grad)


# --- a model that is too large for one device ------------------------------------------


def sharding() -> bool:
    """Whether the launcher asked to split the model: FSDP2, or ZeRO-3 of DeepSpeed."""
    asked = (os.environ.get(f"ACCELERATE_USE_{name}", "") for name in ("FSDP", "DEEPSPEED"))
    return world() > 1 and any(answer.lower() == "true" for answer in asked)


def make_rollout_model(model: PreTrainedModel) -> PreTrainedModel:
    """The model that plays: ``model`` itself, or a copy to be made before ``model`` is split.

    Split weights are gathered layer by layer in every forward pass. That is right for training,
    where a pass holds thousands of tokens, and hopeless for generation, where it has one per
    row. So answers are generated from a whole copy that ``sync_weights`` brings up to date. It is
    in the number format that it computes in: the copy of an 11B model takes 20 GiB of each GPU,
    not 40.
    """
    return inference_copy(model, model.device) if sharding() else model


def init_of(model: PreTrainedModel) -> PreTrainedModel:
    """Init for a model that will be split: a copy, made before anything is trained.

    It is needed at evaluations alone, so it lies in main memory: beside a rollout model's 20 GiB
    and a full cache another 20 would not fit into 80. Each process has its own; eight take
    160 GiB.
    """
    return inference_copy(model, torch.device("cpu")).eval()


def inference_copy(model: PreTrainedModel, where: torch.device) -> PreTrainedModel:
    """A copy to compute with, not to train: in the format of products, on a device.

    Weight by weight, so that no second copy in float32 is ever there.
    """
    kind = precision()[0]
    made: dict[int, Tensor] = {
        id(w): nn.Parameter(w.detach().to(where, kind, copy=True), requires_grad=False)
        for w in model.parameters()
    }
    made |= {id(b): b.detach().to(where, copy=True) for b in model.buffers()}
    return copy.deepcopy(model, made)


@contextmanager
def on_device(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """A model that lies in main memory, on the device for a while."""
    home = model.device
    if home.type == device().type:
        yield model
        return
    try:
        yield model.to(device())  # type: ignore[arg-type]  # transformers' wrapper, as if unbound
    finally:
        model.to(home)  # type: ignore[arg-type]


def sync_weights(rollout_model: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    """Give ``rollout_model`` the weights of ``model``, each gathered once, in its own format."""
    if rollout_model is not model:
        with torch.no_grad():
            theirs: Any  # a Parameter, with more methods where it is split by ZeRO-3
            for mine, theirs in zip(rollout_model.parameters(), model.parameters(), strict=True):
                if hasattr(theirs, "ds_id"):
                    theirs.all_gather()
                    mine.copy_(theirs)
                    theirs.partition()
                else:
                    mine.copy_(whole_tensor(theirs))
    return rollout_model


def shard(model: PreTrainedModel) -> None:
    """Split weights, gradients and optimizer over the processes by FSDP2, if it was asked for.

    One unit for each layer, and one for each part that ``rl`` calls on its own. Weights
    are kept in float32: in bfloat16 Adam's steps of 1e-6 would be rounded away. Gradients are
    added up and not averaged, like those of ``add_gradients``.

    Raises:
        RuntimeError: it was asked for with DeepSpeed, which has a training loop of its own, or
            for a model with an adapter, or for one whose head is its embeddings (a small one), or
            on a GPU that computes in float16: a scaler takes no split gradients beside whole ones.
    """
    if not sharding():
        return
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise RuntimeError("ZeRO-3 is for SFT; launch RL with launch/eight_gpus_fsdp2.yaml")
    if any("lora_" in name for name, _ in model.named_parameters()):
        raise RuntimeError("an adapter needs no split model; launch it with torchrun")
    text = model.get_decoder()
    if model.lm_head.weight is text.embed_tokens.weight:  # two units cannot share a weight
        raise RuntimeError(
            "the model's head is its embeddings: it cannot be split; launch it with torchrun"
        )
    if (kind := precision()[0]) == torch.float16:
        raise RuntimeError("in float16 a model cannot be split for RL; launch it with torchrun")
    mesh = init_device_mesh(model.device.type, (world(),))
    kept = MixedPrecisionPolicy(None if kind == torch.float32 else kind, torch.float32)
    parts = [m for m in model.modules() if type(m).__name__ in (model._no_split_modules or ())]
    parts += [*vision_modules(model), model.lm_head]
    if has_cross_attention(model):
        parts.append(text)
    else:  # its embeddings are looked up from outside of it
        parts += [
            part for part in (*text.layers, text.embed_tokens, text.norm) if part not in parts
        ]
    for part in parts:
        unit = fully_shard(part.float(), mesh=mesh, mp_policy=kept)
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)


def check_warmup(steps: int) -> None:
    """Refuse SFT before RL in one run of a split model: its trainer splits it, and RL would again.

    Raises:
        RuntimeError: a split model was asked for, and ``steps`` of SFT.
    """
    if steps and sharding():
        raise RuntimeError(
            "--warmup does not go with a split model; train it by sft first, and give --base that"
        )


def in_step(groups: Sequence[Tensor]) -> list[tuple[Tensor, float]]:
    """Groups of rows, each with a weight of 1, as many as any process has.

    Processes that share a split model must pass through it equally often. One that has fewer
    groups passes a row once more, at weight 0.
    """
    wanted = all_reduce_max(len(groups)) if sharding() else len(groups)
    idle = [(torch.tensor([0]), 0.0)] * (wanted - len(groups))
    return [*((group, 1.0) for group in groups), *idle]


def whole_tensor(tensor: Any) -> Any:
    """A split tensor made whole, in every process; anything else as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: Any) -> Any:
    """A state with its split tensors made whole, in the memory of the main process alone."""
    if isinstance(state, dict):
        return {name: whole_state(value) for name, value in state.items()}
    if not isinstance(state, DTensor):
        return state
    tensor = state.full_tensor()
    return tensor.cpu() if is_main() else None


def split_like(tensor: Any, weight: Tensor) -> Any:
    """``tensor``, split as ``weight`` is if they have the same shape."""
    if not isinstance(weight, DTensor) or getattr(tensor, "shape", None) != weight.shape:
        return tensor
    where = weight.device_mesh, weight.placements
    return distribute_tensor(tensor.to(weight.device), *where, src_data_rank=None)
