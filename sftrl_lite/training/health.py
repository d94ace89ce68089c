"""Training that has diverged stops at once: nothing that follows a NaN is worth its time.

Checked after every step and before anything of the step is written, so that the last checkpoint
is the last good one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments

from sftrl_lite.models.adapters import trained
from sftrl_lite.models.precision import mixed
from sftrl_lite.training import distributed


class DivergedError(RuntimeError):
    """Losses, weights or logits are no finite numbers any more; since ``step``."""

    step = 0


@mixed
@torch.no_grad()
def _logits(model: PreTrainedModel) -> torch.Tensor:
    """Of a text that says nothing: the first tokens of the vocabulary."""
    ids = torch.arange(8, device=model.device)[None]
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits


def check_health(model: PreTrainedModel, step: int, losses: Iterable[float] = ()) -> None:
    """Whether the losses of a step, and the weights and logits after it, are finite.

    All processes stop where one of them has to.

    Raises:
        DivergedError: one line that names the step.
    """
    mine: list[Any] = [getattr(w, "_local_tensor", w) for w in trained(model).values()]
    looks: dict[str, Any] = {
        "loss": lambda: all(map(math.isfinite, losses)),
        "weights": lambda: all(bool(w.isfinite().all()) for w in mine),
        "logits": lambda: bool(_logits(model).isfinite().all()),
    }
    if step == 0:  # ``loading.load`` has looked at all of them
        del looks["weights"]
    if distributed.sharding():  # a pass of a split model is a matter of its trainer
        del looks["logits"]
    for name, look in looks.items():
        if distributed.any_process(not look()):
            error = DivergedError(
                f"step {step}: the {name} held a number that is not finite; "
                f"take a smaller --lr. What was saved before this step is kept"
            )
            error.step = step
            raise error


class Healthy(TrainerCallback):
    """``check_health`` after every step of a trainer; stands before the callbacks that save."""

    def on_step_end(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model = kwargs["model"]
        model.eval()
        check_health(model, state.global_step)
        model.train()
