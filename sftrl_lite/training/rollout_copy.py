"""A copy of the model in 16 bits, with its adapter merged, that plays while the other learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sftrl_lite.models.adapters import adapted
from sftrl_lite.models.precision import hardware
from sftrl_lite.training import distributed

MERGED = 0.5  # of the free memory may go to a copy of the weights; caches need the rest


def dithered(weight: Tensor, like: Tensor, chance: torch.Generator) -> Tensor:
    """A float32 weight in the format of ``like``, rounded up or down at random: right on average.

    Two 16-bit numbers near 0.02 lie 1e-4 apart (bfloat16). A step of RL changes a merged weight by
    less, so rounding to the nearest would give back the base; like this, of a change by a tenth of
    that distance every tenth weight takes the whole. What the format can hold stays as it is.

    Source: Gupta et al. 2015, section 3.1 (stochastic rounding).
    """
    apart = torch.finfo(like.dtype).eps * torch.exp2(weight.frexp().exponent - 1.0)
    near = weight.to(like.dtype).float()
    rest = weight - near
    dice = torch.rand(weight.shape, generator=chance, device=weight.device)
    return (near + apart * rest.sign() * (dice < rest.abs() / apart)).to(like.dtype)


@contextmanager
def merged(model: PreTrainedModel) -> Iterator[bool]:
    """Play with the adapters folded into the weights, where memory has room for a copy of these.

    Without A and B two small products less are computed at every layer and token. The weights
    themselves lie aside meanwhile and come back to the last bit, also after an error. Only in 16
    bits on a GPU: a weight of four bits has no room for what was learned. Merged weights are
    rounded (``dithered``), so they play and do not measure: RL compares its update with
    log-probabilities from a pass without them (``rl.rl_step``), and evaluations do not merge.

    Yields:
        whether it is so; in all processes or in none.
    """
    layers = list(adapted(model).values())
    weights = [layer.get_base_layer().weight for layer in layers]
    free = hardware().free()
    plain = bool(weights) and all(w.dtype in (torch.bfloat16, torch.float16) for w in weights)
    fits = plain and free is not None and sum(w.nbytes for w in weights) <= MERGED * free
    if not distributed.all_reduce_min(int(fits)):
        yield False
        return
    aside: list[Tensor] = []
    try:
        with torch.no_grad():
            chance = torch.Generator(model.device).manual_seed(0)  # the same rounding each time
            for layer, weight in zip(layers, weights, strict=True):
                aside.append(weight.detach().clone())
                deltas = [layer.get_delta_weight(name) for name in layer.active_adapters]
                weight.copy_(dithered(sum(deltas, weight.float()), weight, chance))
                layer.merged_adapters.extend(layer.active_adapters)  # A and B are passed by
        yield True
    finally:
        with torch.no_grad():
            for layer, weight, own in zip(layers, weights, aside, strict=False):
                weight.copy_(own)
                layer.merged_adapters.clear()
