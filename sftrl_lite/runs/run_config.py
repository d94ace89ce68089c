"""A run: one method, one seed, from Init to its last step, measured on the way.

A run lives in a folder: ``config.json`` (what it is), ``rows.csv`` (what it measured),
``steps.csv`` (a row per step), ``checkpoint.pt`` or ``trainer/`` (where it is, for RL or SFT),
``best/`` (the weights of the evaluation that solved most in distribution), ``model/`` (the result;
it says "done"). ``rows.sha256``, ``steps.sha256``, ``model/SHA256SUMS`` and the end of
``checkpoint.pt`` are checksums, compared whenever a run goes on from these.
Kill it at any moment and start it again: it ends with the same numbers.

Disk: one checkpoint (weights, and Adam's two moments as large each) and the best weights;
for a moment also the draft of the next of either; at the end the last and the best weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sftrl_lite.files import digest
from sftrl_lite.models.checkpoints import SUMS, find
from sftrl_lite.models.smollm import obtain
from sftrl_lite.results.ledger import decoding_name
from sftrl_lite.scales import ADAPTERS, LAMBDA, SCALES, VISION, RLSettings, Scale, get_scale
from sftrl_lite.tasks.base import Task
from sftrl_lite.tasks.registry import budget, make_task, reported

SFT_METHODS = ("sft", "sft-varied", "sft-own", "sft-dft", "sft-kl", "sft-verified")
METHODS = (*SFT_METHODS, "rl-ppo", "rl-grpo", "rl-random")
CURVE = ((0.0, 1.0), (0.3, 1.0), (0.6, 0.9), (1.0, 1.0))  # temperature, top_p at a run's ends
CHOICES = {
    "adapter": ADAPTERS,
    "vision": VISION,
    "load_format": ("dummy",),
    "schedule": ("constant", "cosine"),
}
IMITATES = ("sft", "sft-dft", "sft-kl")  # methods for answers that come from a file
# What a scale decides and a run's own fields do not name; the recorded runs had these values, and
# where a run has others, they are part of its hash.
RECORDED = dict(
    batch=64,
    problems=24,
    samples=8,
    minibatch=64,
    epochs=1,
    clip=0.2,
    gamma=0.9,
    lam=0.95,
    value_coef=0.5,
    value_lr=1e-3,
    max_grad_norm=1.0,
    max_new_tokens=40,
)
SIZES = ("problems", "samples", "minibatch")  # of a step of RL
Progress = Callable[[float], None]  # told the share of the run that is done


def said(default: Any, words: str) -> Any:
    """A field with its line of help: the command line shows it."""
    return field(default=default, metadata={"help": words})


@dataclass(frozen=True)
class Run:
    """Everything that decides the numbers of a run; its hash names them.

    Each field is written here and nowhere else: the command line, the sweep files, the table that
    is printed before a run starts, ``config.json`` and the hash are made of these.
    """

    method: str = said(
        "",
        "sft; sft-varied (control: the rule changes from hand to hand); sft-own (control: the "
        "same hands, answered in the base's own style); sft-dft (each token's loss times its "
        "probability); sft-kl (close to Init); sft-verified (the base's own answers that the "
        "verifier accepted); rl-ppo; rl-grpo; rl-random (control: PPO with random rewards)",
    )
    seed: int = said(0, "chooses problems, order and samples")
    task: str = said("gp-l", "cards: gp-l, in pictures gp-vl; streets: virl-l, virl-vl")
    scale: Scale = said("tiny", ", ".join(SCALES))  # a name is looked up in the table
    base: str = said("", "Init: a folder, a Hub id, or init (the paper's); empty: the scale's")
    lr: float = said(0.0, "learning rate; 0: the scale's")
    steps: int = said(0, "training steps; 0: until --tflop is spent")
    tries: int = said(0, "verification budget; 0: the scale's")
    hands: int = said(0, "training problems; 0: the scale's")
    tflop: float = said(
        0.0,
        "training compute in teraflop, the paper's count, so that methods are compared at equal "
        "compute; 0: the scale's; --steps goes first",
    )
    feedback: str = said("binary", "what the verifier says: none, binary, reason or leaky")
    points: int = said(4, "evaluations after step 0, spread evenly over the length")
    eval_episodes: int = said(0, "episodes at an evaluation; 0: the scale's")
    final_episodes: int = said(0, "the same at the first and last evaluation")
    eval_tries: tuple[int, ...] = said((), "budgets to evaluate with, as 1,3,5; default: --tries")
    splits: tuple[str, ...] = said(
        (), "id, ood-rule, ood-visual, dev-rule, dev-visual; default: reported ones"
    )
    data: str = said(
        "",
        "streets: a folder of real routes, as VLN_mini; sft: a data.json whose answers are "
        "imitated, of which at most --hands are drawn, without cards that are reserved for tests",
    )
    skip_bad: bool = said(False, "leave bad entries of --data out")
    adapter: str = said("", "lora, qlora or none: all weights; empty: the scale's")
    vision: str = said("", "frozen or trained; empty: the scale's")
    max_image_tiles: int = said(0, "most tiles of a picture; 0: the model's own")
    load_format: str = said("", "dummy: random weights, for memory and speed")
    warmup: int = said(
        0,
        "rl: steps of SFT between Init and the first step; --tflop and the recorded FLOPs count "
        "what follows, distances are to Init",
    )
    warmup_lr: float = said(0.0, "learning rate of that SFT; 0: the scale's")
    pass_samples: int = said(
        16,
        "answers to each of 100 hands for pass@k, at both ends; 0: no pass@k, which halves the "
        "time that an evaluation in text takes",
    )
    eval_temperature: float = said(0.6, "of evaluations; 0: greedy")
    eval_top_p: float = said(0.9, "evaluations sample within this probability")
    curve_episodes: int = said(300, "episodes for each other temperature, at both ends")
    temperature: float = said(0.0, "rl: of sampling in training; 0: the scale's")
    fresh: bool = said(False, "rl: other problems than the warm-up's")
    prompt: str = said("", "a file of prompts (TOML), in place of the course's")
    picture: str = said("", "release: layout, size and noise of the paper's")
    schedule: str = said(
        "",
        "of the rate: constant or cosine, for RL over the scale's steps or --steps; "
        "empty: the scale's",
    )
    problems: int = said(0, "rl: problems per step; 0: the scale's")
    samples: int = said(0, "rl: episodes per problem; 0: the scale's")
    minibatch: int = said(0, "rl: episodes a gradient step; 0: the scale's")

    def __post_init__(self) -> None:
        if isinstance(self.scale, str):
            object.__setattr__(self, "scale", get_scale(self.scale))
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose {', '.join(METHODS)}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in ("", *choices):
                wrong = f"unknown {name} {getattr(self, name)!r}"
                raise ValueError(f"{wrong}; choose {', '.join(choices)}")
        if self.imitates_file:
            if self.method not in IMITATES:
                able = ", ".join(IMITATES)
                raise ValueError(
                    f"{self.data} holds answers to imitate; {able} can, not {self.method}"
                )
            if not Path(self.data).is_file():
                raise FileNotFoundError(f"{self.data} is missing")
        for split in self.splits or ("id",):
            self.make(split)
        for name, value in self.plain().items():
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{name} is {value}; it cannot be negative")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; it has to be a finite number")
        if min(self.eval_tries, default=1) < 1:
            raise ValueError(f"eval_tries holds {min(self.eval_tries)}; a budget is at least 1")
        if self.warmup and not self.method.startswith("rl"):
            raise ValueError("a warm-up is SFT before RL; give an SFT run more steps instead")
        for name in ("warmup_lr", "fresh"):
            if getattr(self, name) and not self.warmup:
                raise ValueError(f"{name} is {getattr(self, name)}, but there are no warm-up steps")
        if self.temperature and not self.method.startswith("rl"):
            raise ValueError("SFT does not sample while it trains; it has no temperature")
        if self.method.startswith("rl") and self.schedule == "cosine" and not cosine_of(self):
            raise ValueError(f"RL's cosine at {self.scale.name} is as long as a run: give --steps")
        if not self.method.startswith("rl") and any(getattr(self, name) for name in SIZES):
            raise ValueError(f"{', '.join(SIZES)} are settings of RL, not of {self.method}")
        decoding_name(self.eval_temperature, self.eval_top_p)
        decoding_name(self.temperature)

    def plain(self) -> dict[str, Any]:
        """The fields as they are written: in JSON, in a table, on a command line."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"scale": self.scale.name}

    @property
    def imitates_file(self) -> bool:
        """Whether ``data`` is a file of answers to imitate."""
        return self.data.endswith(".json")

    @property
    def folder(self) -> str:
        """The folder of real routes, if ``data`` is one."""
        return "" if self.imitates_file else self.data

    def make(self, split: str) -> Task[Any]:
        """The task of this run on a split."""
        return make_task(
            self.task,
            split,
            self.scale,
            data=self.folder,
            skip_bad=self.skip_bad,
            prompt=self.prompt,
            picture=self.picture,
            feedback=self.feedback,
        )

    def filled(self) -> Run:
        """The same run with its 0 and empty fields taken from its scale.

        The sizes of a step stay 0 where they are the scale's: ``settings_of`` has them. Adapter,
        vision and picture stay empty: they are the scale's at the time of the run.

        Raises:
            ValueError: the scale's base has to be made an Init first, and was not; or a split has
                fewer test problems than are asked for.
        """
        scale = self.scale
        family = "sft" if self.method.startswith("sft") else "rl"
        tries = self.tries or budget(self.task, scale.rl.tries)
        adapter = self.adapter or scale.adapter
        base = self.base
        if base in ("", "init"):
            random_weights = self.load_format == "dummy"  # nothing to start from is needed then
            start = scale.pretrained_for if random_weights else scale.shared_init
            base = (scale.init_for if base else start)(self.task)
        splits = self.splits or reported(self.task, self.folder)
        there = min((self.make(split).population for split in splits), default=0)
        most = int(min(scale.eval_episodes, there))
        for name in ("eval_episodes", "final_episodes"):
            if (asked := getattr(self, name)) > there:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} {asked}: {self.task} has {there} test problems")
        usual: dict[str, Any] = {n: 0 for n in SIZES if getattr(self, n) == getattr(scale.rl, n)}
        return replace(
            self,
            eval_episodes=self.eval_episodes or most,
            final_episodes=self.final_episodes or most,
            temperature=self.temperature or (scale.rl.temperature if family == "rl" else 0.0),
            base=base,
            lr=self.lr or scale.lr(self.task, family, adapter),
            tflop=0.0 if self.steps else self.tflop or scale.compute(self.task),
            schedule="" if self.schedule == scale.schedule(self.task, family) else self.schedule,
            hands=self.hands or scale.sft.hands,
            tries=tries,
            eval_tries=self.eval_tries or (tries,),
            splits=splits,
            warmup_lr=self.warmup_lr
            or (scale.lr(self.task, "sft", adapter) if self.warmup else 0.0),
            **usual,
        )

    @property
    def hash(self) -> str:
        """Eight characters that change when any deciding field, or Init itself, does."""
        run = self.filled()
        obtain(run.base)  # its sums count
        sums = (find(run.base) or Path(run.base)) / SUMS
        init = sums.read_text("utf-8", "replace") if sums.is_file() else ""  # damaged: said later
        usual = defaults()  # what is left out, so that a later field leaves old hashes alone
        decides = {
            name: value
            for name, value in run.plain().items()
            if name == "method" or (value != usual[name] and name not in SIZES)
        }
        decides |= unusual(run)
        if run.prompt:  # what it says counts, not where it lies
            decides["prompt"] = Path(run.prompt).read_text("utf-8")
        if run.imitates_file:
            decides["data"] = digest(run.data)
        elif folder := decides.pop("data", ""):
            # What it holds and its name count, of which walks are drawn; not where it lies.
            folder = Path(folder).resolve()
            decides["data"] = [folder.name, (folder / "route_infos.json").read_text("utf-8")]
        text = json.dumps(decides, sort_keys=True) + init
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def defaults() -> dict[str, Any]:
    """What a field is unless it is given, as ``Run.plain`` writes it."""
    return {field.name: field.default for field in fields(Run)}


def settings_of(run: Run) -> dict[str, Any]:
    """What decides the numbers of a filled run beside its own fields, from its scale."""
    scale = run.scale
    if run.method.startswith("sft"):
        found: dict[str, Any] = {"batch": scale.sft.batch}
        found |= {"max_new_tokens": scale.rl.max_new_tokens}
        how = run.schedule or scale.sft.schedule
        return found | ({"schedule": how} if how != "constant" else {})
    own = {field.name for field in fields(Run)} - set(SIZES)
    found = {name: v for name, v in asdict(rl_settings(run)).items() if name not in own}
    if (passes := scale.passes(run.task)) != LAMBDA:
        found["passes"] = passes
    return ({"batch": scale.sft.batch} if run.warmup else {}) | found


def unusual(run: Run) -> dict[str, Any]:
    """Those of the settings that the recorded runs did not have, or had otherwise."""
    usual = {field.name: field.default for field in fields(RLSettings)} | RECORDED
    return {name: v for name, v in settings_of(run).items() if v != usual.get(name)}


def cosine_of(run: Run) -> int:
    """Steps of RL in which the rates fall: the scale's, or the run's own where it has none."""
    how = run.schedule or run.scale.schedule(run.task, "rl")
    return 0 if how == "constant" else run.scale.cosine(run.task) or run.steps


def rl_settings(run: Run) -> RLSettings:
    """The scale's settings with this run's choices."""
    method = "rl-grpo" if run.method == "rl-grpo" else "rl-ppo"
    sizes: dict[str, Any] = {name: x for name in SIZES if (x := getattr(run, name))}
    chosen = replace(run.scale.rl, method=method, lr=run.lr, tries=run.tries)
    rl = replace(chosen, temperature=run.temperature, cosine=cosine_of(run), **sizes)
    if method == "rl-grpo" and rl.samples == 1:  # GRPO compares samples of one problem
        rl = replace(rl, samples=rl.group, problems=max(rl.problems // rl.group, 1))
    return rl


def command(run: Run, experiment: str) -> str:
    """The command line that makes this run again."""
    verb = "sft" if run.method.startswith("sft") else "rl"
    usual = defaults() | {"method": run.method}
    options = {name: value for name, value in run.plain().items() if value != usual[name]}
    words = ["python", "-m", "sftrl_lite", verb, "--method", run.method, "--experiment", experiment]
    for name, value in options.items():
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, tuple):
            words.append(",".join(map(str, value)))
        elif value is not True:  # a flag stands alone
            words.append(str(value))
    return shlex.join(words)
