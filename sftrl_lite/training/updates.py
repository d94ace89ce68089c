"""A model in training: its optimizer, its rollout copy, and one update over processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sftrl_lite.models.precision import checkpoint_layers, hardware, in_float32
from sftrl_lite.models.vision import Pixels, at_once, encode, vision_modules
from sftrl_lite.scales import RLSettings
from sftrl_lite.training import distributed
from sftrl_lite.training.forward import ValueHead


@dataclass
class Learner:
    """Everything that changes while training, and nothing else."""

    model: PreTrainedModel
    value_head: ValueHead
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # keeps float16's gradients in range; elsewhere does nothing
    rollout_model: PreTrainedModel  # the model itself, or a whole copy of one split over processes
    step: int = 0

    @property
    def seeing(self) -> bool:
        """Whether what sees is trained as well."""
        return any(
            w.requires_grad for part in vision_modules(self.model) for w in part.parameters()
        )

    def set_rates(self, settings: RLSettings) -> None:
        """The rates of this step: over ``cosine`` steps they fall to zero, or they stay."""
        if not settings.cosine:
            return
        left = (1 + math.cos(math.pi * min(self.step / settings.cosine, 1))) / 2
        rates = settings.lr, settings.value_lr
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = left * rate

    def critic(self, settings: RLSettings) -> ValueHead | None:
        """The value head, for a method that has one."""
        return self.value_head if settings.method == "rl-ppo" else None


def new_learner(model: PreTrainedModel, settings: RLSettings, seed: int) -> Learner:
    """A fresh value head and optimizer around ``model``."""
    rollout_model = distributed.make_rollout_model(model)
    in_float32(model)
    if hardware().gpu:
        checkpoint_layers(model)
    distributed.shard(model)
    torch.manual_seed(seed)
    head = ValueHead(model.config.get_text_config().hidden_size).to(model.device)
    policy_weights = [w for w in model.parameters() if w.requires_grad]
    groups = [
        {"params": policy_weights, "lr": settings.lr},
        {"params": list(head.parameters()), "lr": settings.value_lr},
    ]
    scaler = torch.amp.GradScaler(model.device.type, enabled=hardware().format == torch.float16)
    return Learner(model, head, torch.optim.Adam(groups, eps=1e-7), scaler, rollout_model)


@dataclass
class Update:
    """One gradient step: its loss, the norm of its gradient, how far the policy had moved."""

    scaler: torch.amp.GradScaler
    loss: float = 0.0
    norm: float = 0.0
    moved: Tensor | float = 0.0  # (4,) sums of ``departure``
    looked: int = 0  # at pictures

    def backward(self, loss: Tensor, moved: Tensor) -> None:
        """Add the gradient of a part, and what the part tells."""
        self.scaler.scale(loss).backward()
        self.loss += loss.item()
        self.moved = self.moved + moved.cpu()


@contextmanager
def update(learner: Learner, settings: RLSettings) -> Iterator[Update]:
    """One gradient step, out of the passes that are made inside.

    Clipped is the norm of the policy's gradient. The value head, a small network of its own
    with its own rate, is left out: its errors, of a size with the rewards, would
    decide how far the policy may move.
    """
    step = Update(learner.scaler)
    yield step
    distributed.add_gradients([*learner.model.parameters(), *learner.value_head.parameters()])
    learner.scaler.unscale_(learner.optimizer)
    norm = nn.utils.clip_grad_norm_(learner.model.parameters(), settings.max_grad_norm)
    step.norm = float(distributed.whole_tensor(norm))
    learner.set_rates(settings)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)


def encode_in_step(model: PreTrainedModel, pixels: Pixels) -> Tensor:
    """``encode``, in as many passes through a split tower as any process makes.

    One that has fewer pictures takes the states of none from its last passes: they count for
    nothing, and still go backward as the passes of the others do.
    """
    if not distributed.sharding():
        return encode(model, pixels)
    numbers, found = torch.arange(len(pixels["pixel_values"])), []
    for few, weight in distributed.in_step(numbers.split(at_once(model, pixels))):
        views = encode(model, {name: tensor[few] for name, tensor in pixels.items()})
        found.append(views if weight else views[:0])
    return torch.cat(found)


@contextmanager
def encoded(
    model: PreTrainedModel, pixels: Pixels | None, views: Tensor | None
) -> Iterator[Tensor | None]:
    """States of pictures, encoded once for all passes that are made inside.

    The passes add up their gradients at the states; from there they go on into the tower, once.

    Args:
        views: the states, if they are known and the tower stays as it is; then nothing is encoded.
    """
    if pixels is None or views is not None:
        yield views
        return
    views = encode_in_step(model, pixels)
    shared = views.detach().requires_grad_(views.requires_grad)
    yield shared
    if shared.grad is not None:
        views.backward(shared.grad)
