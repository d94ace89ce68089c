"""What is planned, and the sizes of GPUs; quick to import."""

from __future__ import annotations

from dataclasses import dataclass

from sftrl_lite.scales import ADAPTERS, SCALES, VISION, Scale, get_scale
from sftrl_lite.tasks.registry import TASKS

GIB = 2**30
GPUS = {"T4": 14.6, "L4": 22.0, "A100 40 GB": 39.4, "H100 80 GB": 79.2, "H200": 139.8}  # usable
# Data sheets, dense 16-bit: operations a second, bytes of memory a second.
DEVICES = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.0e12),
    "L4": (121e12, 0.3e12),
    "T4": (65e12, 0.32e12),
}
TRAINING, DECODING = 0.3, 0.2  # shares of the two that are reached; assumptions
CONTEXT = 1.0  # GiB: CUDA itself, and what the allocator cannot use; an assumption
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes per weight: 4 bits and 8-bit scales
MODES = ("sft", "rl", "eval")


@dataclass(frozen=True)
class Work:
    """What is planned. A run of ``sft`` or ``rl`` includes its evaluations.

    Args:
        adapter, vision: what is trained; empty: the scale's choice.
        tiles: parts that a picture is cut into at most; 0: as many as the model has room for.
        batch: SFT: answers in one pass; RL and eval: episodes played at once; 0: the scale's.
        gpus: processes, one for each GPU; problems and batches are dealt out among them.
        split: whether a training of all weights is split over them (FSDP2), as
            ``launch/eight_gpus_fsdp2.yaml`` asks; else each GPU holds everything.
        prompt_tokens: of a prompt, without its picture; 0: those of the task's own. The released
            checkpoints of the paper were trained on longer ones.
        answer_tokens: of an answer that is sampled; 0: the longest that the scale allows.
        together: episodes played at once, in all modes; 0: ``batch``, or what a rollout takes.
    """

    scale: Scale = SCALES["tiny"]  # a row of the table, or its name
    task: str = "gp-l"
    mode: str = "sft"
    adapter: str = ""
    vision: str = ""
    tiles: int = 0
    batch: int = 0
    gpus: int = 1
    split: bool = True
    prompt_tokens: int = 0
    answer_tokens: int = 0
    together: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", get_scale(self.scale))
        for name in ("adapter", "vision"):
            chosen = getattr(self, name) or getattr(self.scale, name)
            object.__setattr__(self, name, chosen)
        known = {"task": TASKS, "mode": MODES, "adapter": ADAPTERS, "vision": VISION}
        for name, choices in known.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose {', '.join(choices)}")
        counts = self.tiles, self.batch, self.prompt_tokens, self.answer_tokens, self.together
        if min(*counts, self.gpus - 1) < 0 or self.tiles > 4:
            raise ValueError("tiles are 1 to 4, counts are positive, and GPUs are at least 1")

    @property
    def pictured(self) -> bool:
        """Whether problems come with pictures."""
        return self.task.endswith("-vl")

    @property
    def tower_trained(self) -> bool:
        """Whether the vision tower is trained."""
        return self.vision == "trained"

    @property
    def sharded(self) -> bool:
        """Whether weights, gradients and moments are split over the GPUs."""
        return self.adapter == "none" and self.mode != "eval" and self.split and self.gpus > 1
