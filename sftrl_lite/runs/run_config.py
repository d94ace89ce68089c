"""A run: one method, one seed, from Init to its last step, measured on the way.

A run lives in a folder: ``config.json`` (what it is), ``rows.csv`` (what it measured),
``steps.csv`` (a row a step), ``checkpoint.pt`` or ``trainer/`` (where it is, for RL or SFT),
``best/`` (the weights of the evaluation that solved most in distribution), ``model/`` (the result;
it says "done").
Kill it at any moment and start it again: it ends with the same numbers.

Disk: one checkpoint (weights, and Adam's two moments as large each) and the best weights;
for a moment also the draft of the next of either; at the end the last and the best weights.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sftrl_lite.files import ROOT, digest
from sftrl_lite.models import adapters
from sftrl_lite.models.checkpoints import SUMS, Processor, find
from sftrl_lite.models.loading import load
from sftrl_lite.results.ledger import decoding_name
from sftrl_lite.scales import RLSettings, get_scale
from sftrl_lite.tasks.registry import budget, make_task, reported
from sftrl_lite.training import distributed

SFT_METHODS = ("sft", "sft-varied", "sft-own", "sft-dft", "sft-kl", "sft-verified")
METHODS = (*SFT_METHODS, "rl-ppo", "rl-grpo", "rl-random")
CURVE = ((0.0, 1.0), (0.3, 1.0), (0.6, 0.9), (1.0, 1.0))  # temperature, top_p at a run's ends
CHOICES = {
    "adapter": adapters.ADAPTERS,
    "vision": adapters.VISION,
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


@dataclass(frozen=True)
class Run:
    """Everything that decides the numbers of a run; its hash names them.

    Args:
        method: ``sft``; ``sft-varied`` (control: the rule changes from hand to hand);
            ``sft-own`` (control: the same hands, answered in the base's own words);
            ``sft-dft`` (each token's loss times its probability); ``sft-kl`` (close to Init);
            ``sft-verified`` (the base's own answers that the verifier accepted);
            ``rl-ppo``; ``rl-grpo``; ``rl-random`` (control: PPO paid at random).
        steps: length in training steps; 0: until ``tflop`` is spent.
        tflop: training compute in teraflop, paper's count, so that different methods
            can be compared at equal compute; ignored where ``steps`` is given.
        points: evaluations after step 0, spread evenly over the length.
        splits: where it is evaluated; empty: where its task is reported.
        eval_tries: verification budgets it is evaluated with; empty: its own.
        final_episodes: episodes at both ends; ``eval_episodes`` in between.
        data: folder of real routes for the tasks on streets, empty: procedural cities; or a file of
            SFT data (``data.json``) whose answers are imitated, of which at most ``hands`` are
            drawn. Examples of cards that are reserved for tests are left out.
        skip_bad: leave that folder's or file's unusable entries out instead of stopping.
        base: Init, a folder or a model of the Hub; ``init``: the paper's for this task.
        adapter: ``lora``, ``qlora`` or ``none``; empty: the scale's.
        vision: ``trained`` or ``frozen``; empty: the scale's.
        max_image_tiles: most tiles of a picture; 0: as many as the model knows.
        load_format: ``dummy`` for random weights; empty: those of Init.
        warmup: steps of SFT between Init and the first step of RL; ``tflop`` and the recorded
            FLOPs count what follows, distances are to Init.
        warmup_lr: learning rate of that SFT.
        pass_samples: answers to each of 100 hands for pass@k, at both ends; 0: no pass@k, which
            halves the time that an evaluation in text takes.
        eval_temperature, eval_top_p: what evaluations sample with; the paper's 0.6 and 0.9.
        curve_episodes: episodes at both ends for each other temperature of ``CURVE``.
        temperature: what RL samples with while it trains; 0: the scale's.
        fresh: RL trains on other problems than the warm-up did: each deals from one half.
        prompt: file of a ``prompts.Template``; empty: the course's own prompts.
        picture: ``release`` for pictures as in the paper's release; empty: the course's.
        schedule: of SFT's learning rate, ``constant`` or ``cosine``; empty: the scale's.
        problems, samples, minibatch: of a step of RL: problems, episodes of each, and episodes of
            a gradient step; 0: the scale's.
    """

    method: str
    seed: int = 0
    task: str = "gp-l"
    scale: str = "tiny"
    base: str = ""
    lr: float = 0.0
    steps: int = 0
    tries: int = 0
    hands: int = 0
    tflop: float = 0.0
    feedback: str = "binary"
    points: int = 4
    eval_episodes: int = 0
    final_episodes: int = 0
    eval_tries: tuple[int, ...] = ()
    splits: tuple[str, ...] = ()
    data: str = ""
    skip_bad: bool = False
    adapter: str = ""
    vision: str = ""
    max_image_tiles: int = 0
    load_format: str = ""
    warmup: int = 0
    warmup_lr: float = 0.0
    pass_samples: int = 16
    eval_temperature: float = 0.6
    eval_top_p: float = 0.9
    curve_episodes: int = 300
    temperature: float = 0.0
    fresh: bool = False
    prompt: str = ""
    picture: str = ""
    schedule: str = ""
    problems: int = 0
    samples: int = 0
    minibatch: int = 0

    def __post_init__(self) -> None:
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
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{name} is {value}; it cannot be negative")
        if self.warmup and not self.method.startswith("rl"):
            raise ValueError("a warm-up is SFT before RL; give an SFT run more steps instead")
        for name in ("warmup_lr", "fresh"):
            if getattr(self, name) and not self.warmup:
                raise ValueError(f"{name} is {getattr(self, name)}, but there are no warm-up steps")
        if self.temperature and not self.method.startswith("rl"):
            raise ValueError("SFT does not sample while it trains; it has no temperature")
        if not self.method.startswith("rl") and any(getattr(self, name) for name in SIZES):
            raise ValueError(f"{', '.join(SIZES)} are settings of RL, not of {self.method}")
        decoding_name(self.eval_temperature, self.eval_top_p)
        decoding_name(self.temperature)

    @property
    def imitates_file(self) -> bool:
        """Whether ``data`` is a file of answers to imitate."""
        return self.data.endswith(".json")

    @property
    def folder(self) -> str:
        """The folder of real routes, if ``data`` is one."""
        return "" if self.imitates_file else self.data

    def make(self, split: str) -> Any:
        """The task of this run on a split."""
        options = dict(data=self.folder, skip_bad=self.skip_bad, feedback=self.feedback)
        shown = dict(prompt=self.prompt, picture=self.picture)
        return make_task(self.task, split, self.scale, **options, **shown)

    def filled(self) -> Run:
        """The same run with every 0 or empty field taken from its scale.

        The sizes of a step stay 0 where they are the scale's: ``settings_of`` has them.

        Raises:
            ValueError: the scale's base has to be made an Init first, and was not.
        """
        scale = get_scale(self.scale)
        family = "sft" if self.method.startswith("sft") else "rl"
        tries = self.tries or budget(self.task, scale.rl.tries)
        adapter = self.adapter or scale.adapter
        base = self.base
        if base in ("", "init"):
            random_weights = self.load_format == "dummy"  # nothing to start from is needed then
            start = scale.pretrained_for if random_weights else scale.shared_init
            base = (scale.init_for if base else start)(self.task)
        splits = self.splits or reported(self.task, self.folder)
        most = min((self.make(split).population for split in splits), default=0)
        return replace(
            self,
            eval_episodes=self.eval_episodes or min(scale.eval_episodes, most),
            final_episodes=self.final_episodes or min(scale.eval_episodes, most),
            temperature=self.temperature or (scale.rl.temperature if family == "rl" else 0.0),
            base=base,
            lr=self.lr or scale.lr(self.task, family, adapter),
            tflop=0.0 if self.steps else self.tflop or scale.compute(self.task),
            schedule="" if self.schedule == scale.sft.schedule else self.schedule,
            hands=self.hands or scale.sft.hands,
            tries=tries,
            eval_tries=self.eval_tries or (tries,),
            splits=splits,
            warmup_lr=self.warmup_lr
            or (scale.lr(self.task, "sft", adapter) if self.warmup else 0.0),
            **{name: 0 for name in SIZES if getattr(self, name) == getattr(scale.rl, name)},
        )

    @property
    def hash(self) -> str:
        """Eight characters that change when any deciding field, or Init itself, does."""
        run = self.filled()
        sums = (find(run.base) or Path(run.base)) / SUMS
        init = sums.read_text() if sums.is_file() else ""
        fields = {n: v for n, v in asdict(run).items() if n not in SIZES}
        for name in fields.keys() - {"method"}:  # so that a later field leaves old hashes alone
            if fields[name] == getattr(Run, name):
                del fields[name]
        fields |= unusual(run)
        if run.prompt:  # what it says counts, not where it lies
            fields["prompt"] = Path(run.prompt).read_text("utf-8")
        if run.imitates_file:
            fields["data"] = digest(run.data)
        elif folder := fields.pop("data", ""):
            # What it holds and its name count, of which walks are drawn; not where it lies.
            folder = Path(folder).resolve()
            fields["data"] = [folder.name, (folder / "route_infos.json").read_text("utf-8")]
        text = json.dumps(fields, sort_keys=True) + init
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def settings_of(run: Run) -> dict[str, Any]:
    """What decides the numbers of a filled run beside its own fields, from its scale."""
    scale = get_scale(run.scale)
    if run.method.startswith("sft"):
        found = {"batch": scale.sft.batch, "max_new_tokens": scale.rl.max_new_tokens}
        how = run.schedule or scale.sft.schedule
        return found | ({"schedule": how} if how != "constant" else {})
    own = {field.name for field in fields(Run)} - set(SIZES)
    found = {name: v for name, v in asdict(rl_settings(run)).items() if name not in own}
    return ({"batch": scale.sft.batch} if run.warmup else {}) | found


def unusual(run: Run) -> dict[str, Any]:
    """Those of the settings that the recorded runs did not have, or had otherwise."""
    usual = {field.name: field.default for field in fields(RLSettings)} | RECORDED
    return {name: v for name, v in settings_of(run).items() if v != usual.get(name)}


def load_init(run: Run) -> tuple[PreTrainedModel, Processor]:
    """What a run starts from, made ready for what the run trains."""
    scale = get_scale(run.scale)
    return load(
        run.base,
        run.adapter or scale.adapter,
        vision=run.vision or scale.vision,
        tiles=run.max_image_tiles,
        dummy=run.load_format == "dummy",
    )


def init_of(run: Run, model: PreTrainedModel) -> PreTrainedModel:
    """What ``model`` was before training, to compare with: nothing has trained it yet.

    An adapter has it inside. Else it is loaded once more, or where the model will be split copied
    to main memory.
    """
    if adapters.worn(model):
        return adapters.bare(model)
    return distributed.init_of(model) if distributed.sharding() else load_init(run)[0].eval()


def rl_settings(run: Run) -> RLSettings:
    """The scale's settings with this run's choices."""
    method = "rl-grpo" if run.method == "rl-grpo" else "rl-ppo"
    chosen = dict(method=method, lr=run.lr, tries=run.tries, temperature=run.temperature)
    chosen |= {name: getattr(run, name) for name in SIZES if getattr(run, name)}
    rl = replace(get_scale(run.scale).rl, **chosen)
    if method == "rl-grpo" and rl.samples == 1:  # GRPO compares samples of one problem
        rl = replace(rl, samples=rl.group, problems=max(rl.problems // rl.group, 1))
    return rl


def commit() -> str:
    """Short hash of the checked-out commit, with + if files differ; "" outside git.

    The ledger may differ: recording appends to it.
    """
    try:
        git = ["git", "-C", str(ROOT)]
        ask = dict(capture_output=True, text=True, check=True)
        name = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], **ask).stdout.strip()
        where = ["--", ".", ":!results/ledger.csv"]
        changed = subprocess.run([*git, "diff", "--name-only", "HEAD", *where], **ask).stdout
        return name + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def command(run: Run, experiment: str) -> str:
    """The command line that makes this run again."""
    verb = "sft" if run.method.startswith("sft") else "rl"
    options = {k: v for k, v in asdict(run).items() if v != getattr(Run(run.method), k)}
    parts = [f"--{k.replace('_', '-')} {_word(v)}".strip() for k, v in options.items()]
    return " ".join(
        ["python -m sftrl_lite", verb, "--method", run.method, f"--experiment {experiment}", *parts]
    )


def _word(value: object) -> str:
    if value is True:
        return ""  # a flag stands alone
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
