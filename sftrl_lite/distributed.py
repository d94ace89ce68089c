"""Several processes train one model, each on its own device, and end where one would have.

Started by ``torchrun`` or ``accelerate launch``, every process runs the same program. Three
rules make N processes take the steps of one:

    problems     are dealt out (``share``); who is dealt a problem plays it and trains on it
    chance       is drawn for the whole batch by everyone, and each uses its own rows
                 (``draw``), so what a problem meets does not depend on who plays it
    gradients    are added up. A loss is a mean over the units of a minibatch, wherever they
                 lie: each process divides by the ``total`` number and the sum is the mean

What remains is rounding: a product of matrices of another shape may differ in the last bit.
In a single process every function here returns at once what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sftrl_lite.models import device


def start() -> None:
    """Join the other processes, if a launcher started several; each takes its own GPU."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def main() -> bool:
    """Whether this is the process that writes: rows, checkpoints, models, the ledger."""
    return rank() == 0


def wait() -> None:
    """Go on when all processes have come here."""
    agreed(None)


def agreed(value: Any) -> Any:
    """What the main process says, so that all take the same branch."""
    if world() > 1:
        box = [value]
        dist.broadcast_object_list(box, device=device())
        return box[0]
    return value


def share(items: Sequence[Any]) -> Sequence[Any]:
    """This process's items: a block, so that the blocks in order of rank are the whole."""
    cuts = [len(items) * k // world() for k in (rank(), rank() + 1)]
    return items[cuts[0] : cuts[1]]


def gathered(items: Any) -> Any:
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


def total(value: Tensor) -> Tensor:
    """The sum over all processes, elementwise."""
    if world() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def totals(**numbers: float) -> dict[str, float]:
    """The sums of numbers by name; whole numbers stay whole."""
    if world() == 1:
        return numbers
    sums = total(torch.tensor(list(numbers.values()), dtype=torch.float64, device=device()))
    pairs = zip(numbers.items(), sums.tolist(), strict=True)
    return {name: type(number)(found) for (name, number), found in pairs}


def anyone(yes: Any) -> bool:
    """Whether it is so in any process."""
    return bool(yes) if world() == 1 else bool(total(torch.tensor(int(bool(yes)), device=device())))


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
            if weight.requires_grad:
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                dist.all_reduce(weight.grad)
