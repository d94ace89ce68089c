"""One table for all scales. ``--scale`` (or SFTRL_SCALE) picks the row; every number
that depends on size is in it, and nothing else decides anything by scale.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sftrl_lite.files import ROOT

ADAPTERS = ("none", "lora", "qlora")  # what is trained; each smaller than the one before
VISION = ("trained", "frozen")
LAMBDA = 6.0  # the paper's ratio of sampling passes to trained tokens on GeneralPoints


@dataclass(frozen=True)
class SFTSettings:
    """Settings of SFT by trl's ``SFTTrainer``."""

    lr: float
    batch: int
    hands: int  # distinct training problems
    schedule: str = "constant"  # after 10 steps of warm-up; or cosine, after 3 % of the steps


@dataclass(frozen=True)
class RLSettings:
    """Settings of RL by ``rl.rl_step``."""

    lr: float
    problems: int  # problems per step
    samples: int  # episodes per problem
    minibatch: int  # episodes per gradient step
    method: str = "rl-ppo"  # or rl-grpo, rl-reinforce
    tries: int = 5  # verification budget
    epochs: int = 1
    clip: float = 0.2
    gamma: float = 0.9
    lam: float = 0.95
    value_coef: float = 0.5
    value_lr: float = 1e-3
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    max_new_tokens: int = 40
    group: int = 8  # samples of a problem under GRPO, where ``samples`` is one
    together: int = 0  # episodes at once; 0: all, on a GPU ``rollouts.TOGETHER``
    cosine: int = 0  # steps in which the rates fall to zero along a cosine; 0: they stay


@dataclass(frozen=True)
class InitSettings:
    """The first SFT, that makes Init of a base: how it trains, and at which level it stops.

    The level is measured on fresh training problems with RL's temperature and budget.
    """

    lr: float
    every: int  # steps between two measurements
    most: int  # steps at most
    batch: int = 32
    format_error: float = 0.05  # of the answers, fewer than this
    success: tuple[float, float] = (0.25, 0.6)  # of the episodes: from here on; beyond: too much
    problems: int = 64  # in a measurement


@dataclass(frozen=True)
class Scale:
    """A row of the table.

    ``base`` is a folder of this repository or a model id of the Hub; ``memory`` the
    GiB of accelerator memory that the row is meant for (0: none); ``tflop`` the training
    compute of a run, SFT or RL alike, in teraflop of the paper's count; ``picture`` the width
    and height of a picture in pixels (0: its model reads text only); ``adapter`` and ``vision``
    what is trained (the paper trains everything, on eight GPUs); ``init`` how the shared Init is
    made of it, and ``ready`` that it is an Init already; ``inits`` the paper's checkpoint that a
    task starts from; ``rates`` the learning rates of tasks that need others than ``sft`` and
    ``rl`` have, ``computes`` their ``tflop`` likewise, ``cosines`` the steps in which RL's rates
    fall, and ``lambdas`` their ratio of sampling passes to trained tokens where it is not
    ``LAMBDA``. Rates are those for all weights: an adapter takes ``lora`` times as much (Schulman
    et al. 2025, "LoRA Without Regret", find ten for SFT and RL).
    """

    name: str
    base: str
    memory: int
    tflop: float
    sft: SFTSettings
    rl: RLSettings
    init: InitSettings
    eval_episodes: int
    picture: int
    ready: bool = False
    adapter: str = "none"  # or lora, qlora
    vision: str = "trained"  # or frozen
    inits: str = ""
    rates: tuple[tuple[str, float, float], ...] = ()  # task, SFT's and RL's rate, where others
    computes: tuple[tuple[str, float], ...] = ()  # task, teraflop, where another
    cosines: tuple[tuple[str, int], ...] = ()  # task, steps of RL, where not ``rl.cosine``
    lambdas: tuple[tuple[str, float], ...] = ()  # task, sampling passes a trained token
    lora: float = 10.0

    def lr(self, task: str, family: str, adapter: str = "none") -> float:
        """The learning rate of ``sft`` or ``rl`` on a task: the settings' own, unless named."""
        named = {name: {"sft": sft, "rl": rl} for name, sft, rl in self.rates}
        rate = named[task][family] if task in named else getattr(self, family).lr
        return rate if adapter == "none" else self.lora * rate

    def compute(self, task: str) -> float:
        """Training compute of a run on a task, in teraflop of the paper's count."""
        return dict(self.computes).get(task, self.tflop)

    def cosine(self, task: str) -> int:
        """Steps of RL in which its rates fall to zero along a cosine; 0: they stay."""
        return dict(self.cosines).get(task, self.rl.cosine)

    def schedule(self, task: str, family: str) -> str:
        """``constant`` or ``cosine``: how the rate of ``sft`` or ``rl`` goes on a task."""
        if family == "sft":
            return self.sft.schedule
        return "cosine" if self.cosine(task) else "constant"

    def passes(self, task: str) -> float:
        """Passes while sampling that the paper's count charges for each token trained on by RL."""
        return dict(self.lambdas).get(task, LAMBDA)

    def pretrained_for(self, task: str) -> str:
        """The base as it comes: tiny ones are made for one task each, large ones serve all."""
        return self.base.replace("gp-l", task)

    def init_folder(self, task: str) -> Path:
        """Where ``python -m sftrl_lite init`` keeps the Init that it makes."""
        return Path("runs") / f"init-{self.name}-{task}"

    def made_init(self, task: str) -> str:
        """The Init that was made here for a task, seen from here or the repository; else ""."""
        folder = self.init_folder(task)
        there = any((place / folder / "init.json").is_file() for place in (Path(), ROOT))
        return str(folder) if there and not self.ready else ""

    def base_for(self, task: str) -> str:
        """What a task starts from: the Init that was made of the base, or the base itself."""
        return self.made_init(task) or self.pretrained_for(task)

    def init_for(self, task: str) -> str:
        """The checkpoint after the first SFT that a task's runs start from (``--base init``): the
        paper's where there is one.

        Raises:
            ValueError: none was released of this size, and none was made.
        """
        if self.ready:
            return self.pretrained_for(task)
        if self.inits:
            return self.inits.replace("TASK", task.upper())
        return self.shared_init(task)

    def shared_init(self, task: str) -> str:
        """What SFT and RL both start from: the base where it is ready, else the Init made of it.

        Raises:
            ValueError: it was not made yet.
        """
        if self.ready or self.made_init(task):
            return self.base_for(task)
        make = f"python -m sftrl_lite init --scale {self.name} --task {task}"
        raise ValueError(f"there is no Init of {self.name} for {task}; make it first: {make}")


SCALES = {
    # Learning rates: of four (results/sweeps/rates.toml) the one that solves the most training
    # problems; among those within a point of it, the one that solves the most under the development
    # rule, by the task's metric: cards within five tries, streets per step. RL on gp-vl is the one
    # exception: 1e-4 by this rule, but there a reported seed collapsed in training (vl-rl-push).
    # SFT at 1e-3, which solves all training problems too, is recorded beside it.
    "tiny": Scale(
        name="tiny",
        base="data/tiny-gp-l",
        memory=0,
        tflop=3.0,
        sft=SFTSettings(lr=1e-4, batch=64, hands=300),
        rl=RLSettings(lr=3e-5, problems=24, samples=8, minibatch=64),
        init=InitSettings(lr=1e-3, batch=64, every=32, most=1024),
        eval_episodes=500,
        picture=80,
        rates=(("gp-vl", 1e-4, 3e-5), ("virl-l", 1e-4, 1e-4), ("virl-vl", 1e-4, 1e-4)),
        ready=True,
    ),
    # A language model that nobody made for this: SmolLM2-135M-Instruct (``models.smollm``). Sizes
    # are what one core computes in about an hour. Rates: of two the one that solves more fresh
    # training problems of streets (results/small_tried.csv).
    "small": Scale(
        name="small",
        base="runs/SmolLM2-135M-Instruct",
        memory=0,
        tflop=100.0,
        sft=SFTSettings(lr=5e-5, batch=8, hands=300),
        rl=RLSettings(lr=3e-5, problems=4, samples=4, minibatch=8, max_new_tokens=64),
        init=InitSettings(lr=1e-3, batch=8, every=8, most=96, problems=32),
        eval_episodes=100,
        picture=0,
        adapter="lora",
    ),
    "t4": Scale(
        name="t4",
        base="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        memory=15,
        tflop=50_000.0,
        sft=SFTSettings(lr=2e-5, batch=32, hands=10_000),
        rl=RLSettings(lr=2e-6, problems=8, samples=8, minibatch=8, max_new_tokens=160),
        init=InitSettings(lr=2e-4, every=25, most=500),
        eval_episodes=234,
        picture=512,
        adapter="lora",
        vision="frozen",
    ),
    # The paper's numbers (section 4, appendix C, released code): 2048 answers per update, which 512
    # episodes are at some four tries each; gradient steps of 1024 of them (128 in each of eight
    # processes), 4 epochs; SFT batches of 128; compute as figure 5 ends.
    "full": Scale(
        name="full",
        base="meta-llama/Llama-3.2-11B-Vision-Instruct",
        memory=80,
        tflop=1e7,
        sft=SFTSettings(lr=1e-6, batch=128, hands=800_000, schedule="cosine"),
        rl=RLSettings(
            lr=1e-6,
            problems=512,
            samples=1,
            minibatch=256,
            epochs=4,
            clip=0.1,
            value_lr=1e-6,
            max_grad_norm=0.01,
            temperature=0.2,
            max_new_tokens=512,
            cosine=100,
        ),
        # measured as often as the released run was saved, for as long as its GP-L Init took
        init=InitSettings(lr=1e-4, batch=128, every=20, most=400),
        eval_episodes=234,
        picture=560,
        adapter="lora",
        vision="frozen",
        inits="tianzhechu/TASK-Init",
        rates=(("gp-vl", 5e-7, 1e-6), ("virl-vl", 5e-7, 1e-7)),
        computes=(("gp-vl", 6e7), ("virl-l", 4e6), ("virl-vl", 4e7)),
        cosines=(("virl-l", 20), ("virl-vl", 20)),
        lambdas=(("virl-l", 5.1), ("virl-vl", 5.1)),
    ),
}


def get_scale(name: Scale | str | None = None) -> Scale:
    """The row ``name``, or the one that SFTRL_SCALE names, or ``tiny``; a row is what it is.

    Raises:
        ValueError: no such row.
    """
    if isinstance(name, Scale):
        return name
    name = name or os.environ.get("SFTRL_SCALE") or "tiny"
    if name not in SCALES:
        raise ValueError(f"unknown scale {name!r}; choose {', '.join(SCALES)}")
    return SCALES[name]


ROWS = 8  # at most, in one forward pass on a GPU; gradients of a batch add up over its passes


def in_one_pass(batch: int, on_gpu: bool) -> int:
    """How many rows of a batch go through the model at once.

    All of them on a CPU; on a GPU at most ``ROWS``, in passes of equal size.
    """
    most = ROWS if on_gpu else batch
    return max(rows for rows in range(1, most + 1) if batch % rows == 0)
