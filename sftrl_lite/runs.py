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
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock, Timeout
from transformers import PreTrainedModel

from sftrl_lite import adapters, distributed, ledger
from sftrl_lite.chats import unreadable
from sftrl_lite.compute import flops, picture_tokens, text_parameters
from sftrl_lite.engine import TRAINING, check_engine, open_engine
from sftrl_lite.evaluate import (
    Estimate,
    changed,
    distance,
    evaluate,
    mean_interval,
    pass_at_k,
    within,
)
from sftrl_lite.files import digest, full_disk_in_one_line, remove, whole
from sftrl_lite.models import SUMS, Processor, find, fingerprint, load, save
from sftrl_lite.plan import check, device_name, work_of
from sftrl_lite.prompts import difference, learn, off_distribution, template_for
from sftrl_lite.rl import new_learner, rl_step
from sftrl_lite.rollouts import Episode, decoding_name, rollout
from sftrl_lite.scales import ROOT, RLSettings, SFTSettings, get_scale, seed_all, stream
from sftrl_lite.sft import Given, taught, train_sft, verified
from sftrl_lite.street_data import DataError, Demonstration
from sftrl_lite.tasks import budget, check_base, given, make_task, reported
from sftrl_lite.verifier import Verdict
from sftrl_lite.vision import to_pixels, tokenizer_of
from sftrl_lite.watch import SHOWN, Log, Watch

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
READABLE = 0.5  # RL starts where at least this share of the answers has the right form
Progress = Callable[[float], None]  # told the share of the run that is done
Found = dict[tuple[str, str, str], Estimate]  # by split, metric and decoding


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


def due(before: float, after: float, points: int) -> bool:
    """Whether a run that went from share ``before`` to ``after`` passed an evaluation."""
    return int(after * points + 1e-9) > int(before * points + 1e-9)


def train_hands(task: Any, n: int, seed: int) -> list[Any]:
    """The fixed training problems of a seed: the same for SFT and RL."""
    return task.draw(stream(seed, "train hands"), n)


def held_out(task: Any, n: int, seed: int) -> list[Any]:
    """At least n of the problems that are reserved for tests, whatever is trained on."""
    return task.tests(stream(seed, "held-out hands", task.label), n)


class Recorder:
    """Evaluates a run at its steps and turns what it finds into ledger rows."""

    kept = 1  # models of the last evaluations, where more than one

    def __init__(
        self, run: Run, out: Path, experiment: str, model, processor, train, together: int = 0
    ):
        self.together = together  # episodes that fit into memory at once; 0: nothing bounds them
        self.run, self.out, self.model, self.processor = run, out, model, processor
        self.train: Sequence[Any] = train
        self.player = model  # what is evaluated and saved: a whole copy where ``model`` is split
        self.init = init_of(run, model)
        self.began = time.time()
        self.pictured = run.make("train").picture(train[0]) is not None
        self.parameters = text_parameters(model, self.pictured)
        self.init_said: dict[str, list[Any]] = {}  # by split: Init's own first answers
        self.main = decoding_name(run.eval_temperature, run.eval_top_p)
        self.same = dict(  # in every row; found once, since git and files are asked for it
            experiment=experiment,
            task=run.task,
            method=run.method,
            scale=run.scale,
            seed=run.seed,
            tries=run.tries,
            config_hash=run.hash,
            commit=commit(),
            device=device_name() + (f" x {distributed.world()}" if distributed.world() > 1 else ""),
            command=command(run, experiment),
        )

    def row(self, step: int, split: str, metric: str, decoding: str, e: Estimate) -> ledger.Row:
        return ledger.Row(
            step=step,
            split=split,
            metric=metric,
            decoding=decoding,
            value=e.value,
            n=e.n,
            low=e.low,
            high=e.high,
            minutes=(time.time() - self.began) / 60,
            **self.same,
        )

    def note(self, step: int, figures: dict[str, float], end: bool) -> None:
        """Evaluate now, write the rows, and keep the weights if they are the best so far.

        All of it comes before the checkpoint of this step. A run that is killed in between
        goes on from the checkpoint before, comes here again and finds and writes the same.
        """
        rows = self.at(step, figures, end)
        if not distributed.main():
            return
        earlier = read_rows(self.out)
        write_rows(self.out, rows)
        run = self.run
        metric = f"success@{run.tries if run.tries in run.eval_tries else run.eval_tries[-1]}"
        best = ("id", metric, self.main)
        score = lambda r: r.value if (r.split, r.metric, r.decoding) == best else -1.0  # noqa: E731
        now = max(map(score, rows))
        if step > 0 and now > max((score(r) for r in earlier if 0 < r.step < step), default=-1):
            save(self.player, self.processor, self.out / "best")
            say = {"step": step, "split": "id", "metric": metric, "value": now}
            _write(self.out / "best.json", json.dumps(say).encode())
        if step > 0 and self.kept > 1:
            folder = self.out / "checkpoints"
            save(self.player, self.processor, folder / f"step-{step}")
            steps = sorted(int(n) for p in folder.iterdir() if (n := p.name[5:]).isdigit())
            for old in steps[: -self.kept]:
                remove(folder / f"step-{old}")

    def at(self, step: int, figures: dict[str, float], end: bool) -> list[ledger.Row]:
        """Evaluate now; returns the new rows. Ends of a run are measured more closely.

        Args:
            figures: what training itself counted, FLOPs for instance, by metric.
        """
        run = self.run
        distributed.refresh(self.player, self.model)
        found: Found = {("train", name, ""): Estimate(x, 1, x, x) for name, x in figures.items()}
        moved = changed(self.player, self.init, self.pictured)
        found |= {("train", name, ""): share for name, share in moved.items()}
        if step == 0 and not run.warmup:
            found |= self.init_measured()
        else:
            found |= self.measured(end)
        return [self.row(step, *name, e) for name, e in found.items()]

    def init_measured(self) -> Found:
        """``measured`` of Init, once for all runs beside this one that would measure the same."""
        run, names = self.run, ("task", "scale", "seed", "base", "hands", "feedback", "data")
        names += ("skip_bad", "adapter", "vision", "max_image_tiles", "load_format", "splits")
        names += ("eval_tries", "final_episodes", "pass_samples", "curve_episodes")
        names += ("eval_temperature", "eval_top_p", "prompt", "picture")
        same = {name: getattr(run, name) for name in names} | {"tflop": 1.0, "method": "rl-ppo"}
        if run.imitates_file:  # its problems are in no split
            same["method"] = "sft"
        path = self.out.parent / f"init-{Run(**same).hash}.csv"
        if distributed.agreed(path.exists()):
            rows = ledger.read(path).to_dict("records")
            return {
                (r["split"], r["metric"], r["decoding"]): Estimate(
                    r["value"], r["n"], r["low"], r["high"]
                )
                for r in rows
            }
        found = self.measured(end=True)
        if distributed.main():
            ledger.save([self.row(0, *name, e) for name, e in found.items()], path)
        return found

    def measured(self, end: bool) -> Found:
        """All metrics of all splits, by split, metric and decoding."""
        run, found = self.run, {}
        n = run.final_episodes if end else run.eval_episodes
        trained = () if run.imitates_file else ("train",)  # a file's examples have no verifier
        for split in (*trained, *run.splits):
            task, fresh = run.make(split), split != "train"
            problems = held_out(task, n, run.seed) if fresh else self.train[:n]
            here = self.measure(split, task, problems, run.eval_tries, end)
            found |= {(split, *name): e for name, e in here.items()}
        return found

    def play(self, model: PreTrainedModel, task, problems, **options: Any):
        """``evaluate`` with the run's seed and its scale's longest answer."""
        longest = get_scale(self.run.scale).rl.max_new_tokens
        options |= dict(seed=self.run.seed, max_new_tokens=longest, together=self.together)
        return evaluate(model, self.processor, task, problems, **options)

    def init_says(self, split: str, task, problems) -> list[Any]:
        """Init's own answers to a split, sampled once: KL(Init || model) is measured on them."""
        if split not in self.init_said:
            plain = dict(tries=1, temperature=1.0, top_p=1.0)
            self.init_said[split] = self.play(self.init, task, problems, **plain)[1]
        return self.init_said[split]

    def measure(
        self, split: str, task, problems, budgets: tuple[int, ...], closely: bool
    ) -> dict[tuple[str, str], Estimate]:
        """All metrics of one split, by metric and decoding.

        Each problem is played once with the largest budget: whether it is solved within a smaller
        one can be read from that episode. ``closely`` adds the other temperatures, the distance
        from Init and, in text, pass@k.
        """
        run, tries = self.run, max(budgets)
        play = partial(self.play, self.player, task)
        ways = {self.main: (run.eval_temperature, run.eval_top_p)}
        if closely:
            ways |= {decoding_name(*way): way for way in CURVE if decoding_name(*way) not in ways}
        found: dict[tuple[str, str], Estimate] = {}
        for name, (temperature, top_p) in ways.items():
            asked = problems if name == self.main else problems[: run.curve_episodes]
            if not asked:
                continue
            here, episodes = play(asked, tries=tries, temperature=temperature, top_p=top_p)
            here |= within(episodes, budgets)
            found |= {(metric, name): e for metric, e in here.items()}
            if name == "1" and split != "train":
                pad = tokenizer_of(self.processor).pad_token_id
                mine = [self.looked_at(task, e) for e in distributed.share(episodes[:300])]
                with distributed.at_hand(self.init):
                    far = distance(self.player, self.init, mine, pad)
                    told = distributed.share(self.init_says(split, task, asked[:300]))
                    told = [self.looked_at(task, e) for e in told]
                    far["kl_init"] = distance(self.init, self.player, told, pad)["kl"]
                found |= {(metric, name): e for metric, e in far.items()}
        # pass@k costs as much as all the rest together: in text only
        if closely and split != "train" and not self.pictured and run.pass_samples > 0:
            samples = run.pass_samples
            again = [problem for problem in problems[:100] for _ in range(samples)]
            _, episodes = play(again, tries=1, temperature=1.0, top_p=1.0)
            wins = [e.solved for e in episodes]
            right = [sum(wins[i : i + samples]) for i in range(0, len(wins), samples)]
            for k in (k for k in (1, 4, 16) if k <= samples):
                at_k = mean_interval([pass_at_k(r, samples, k) for r in right])
                found[f"pass@{k}", "1"] = at_k
        return found

    def looked_at(self, task: Any, episode: Episode) -> Episode:
        """The episode with its picture, also if another process played it."""
        if not self.pictured or episode.pixels is not None:
            return episode
        return replace(episode, pixels=to_pixels(self.processor, [task.picture(episode.problem)]))


def train(
    run: Run,
    out: Path,
    *,
    experiment: str = "",
    progress: Progress = lambda share: None,
    record: Path | None = None,
    watch: Watch | None = None,
    anyway: bool = False,
    engine: str = "",
) -> list[ledger.Row]:
    """Do the run in folder ``out``, or continue it, or return what it found.

    Args:
        experiment: name in the ledger; the method's name if empty.
        progress: called with the share that is done, 0 to 1.
        record: ledger to append to once the run is complete.
        watch: what is written down and told on the way, beside ``steps.csv``.
        anyway: let RL begin also with a model that cannot answer in the format.
        engine: plays RL's episodes in training (``engine.ENGINES``); evaluations do not use it.
            Another source of chance, so another run with the same hash: not for the ledger.

    Raises:
        ValueError: ``out`` holds a run with another configuration, or one that another number of
            processes began.
        RuntimeError: RL was to begin with a model that cannot answer in the format.
        PermissionError: ``out`` cannot be written.
        OSError: the disk is full.

    Several processes (``distributed``) train one run; ``out`` must be a folder that all see.
    """
    run, experiment = run.filled(), experiment or run.method
    distributed.start()
    main = distributed.main()
    with claim(run, out) if main else nullcontext(), full_disk_in_one_line(out):
        if not distributed.agreed((out / "model").is_dir()):
            _train(run, out, experiment, progress, watch or Watch(), anyway, engine)
        if record and main:
            ledger.append(read_rows(out), record)
        for leftover in ("checkpoint.pt", "trainer") if main else ():
            remove(out / leftover)
    distributed.wait()
    return read_rows(out)


def _train(run, out, experiment, progress, watch, anyway, engine) -> None:
    seed_all(run.seed)
    check_base(run.base, run.task)
    if engine:
        check_engine(engine, run.task)
    mode = "sft" if run.method.startswith("sft") else "rl"
    together = check(work_of(run, mode))
    model, processor = load_init(run)
    task = run.make("train")
    if run.prompt:
        check_words(processor, run.base, map(run.make, ("train", *run.splits)))
    few = 1 if run.imitates_file else run.hands
    hands = train_hands(task.half(1) if run.fresh else task, few, run.seed)
    recorder = Recorder(run, out, experiment, model, processor, hands, together)
    if run.imitates_file:
        task, hands = Given(recorder.pictured), examples(run, processor)
    recorder.kept = watch.checkpoints
    log = Log(out, watch, asdict(run) | settings_of(run))
    parts = (run, out, model, processor, task, hands, recorder, log, progress)
    if mode == "sft":
        _train_sft(*parts)
    else:
        _train_rl(*parts, anyway, engine)
    log.close()
    distributed.refresh(recorder.player, model)
    if distributed.main():
        save(recorder.player, processor, out / "model")


def check_words(processor: Processor, base: str, tasks: Iterable[Any]) -> None:
    """Whether a model can read what tasks say in other words: a tiny one knows few.

    Raises:
        ValueError: one line that names the first letter that it has no token for.
    """
    for task in tasks:
        problem = task.sample(stream(0, "words"))
        told = task.verify(problem, "").message
        for text in (task.prompt(problem), task.demonstration(problem), told):
            if letter := unreadable(processor, text):
                raise ValueError(f"{base} cannot read this prompt: it has no token for {letter!r}")


def examples(run: Run, processor: Processor) -> list[Demonstration]:
    """The examples of a run's file that it trains on: at most ``hands``, in random order.

    Raises:
        DataError: a malformed entry, or one that the model cannot read; names it.
    """
    found, _ = given(run.data, run.task, run.skip_bad)
    found = stream(run.seed, "examples").sample(found, min(run.hands, len(found)))
    for example in found:
        for text in (example.prompt, example.answer):
            if letter := unreadable(processor, text):
                where = f"{run.data}, entry {example.entry}"
                raise DataError(f"{where}: {run.base} has no token for {letter!r}")
    return found


def remarks(run: Run) -> list[str]:
    """What should be known before a run starts, a line each."""
    run = run.filled()
    said = [off_distribution(run.base, run.prompt)]
    if run.imitates_file:
        found, reserved = given(run.data, run.task, run.skip_bad)
        if reserved:
            said += [f"{run.data}: {reserved} examples of test cards are left out"]
        task = run.make("train")
        if run.prompt:
            template = template_for(run.task, run.prompt)
        else:
            shown = [task.sample(stream(0, "remarks", i)) for i in range(8)]
            images = found[0].images if run.task.endswith("-vl") else ()
            own = [Demonstration(task.prompt(p), task.demonstration(p), images) for p in shown]
            template, _ = learn(own)
        if wrong := difference(replace(template, answer=""), found[0]):
            said += [f"{run.data} has other prompts than evaluations ask: {wrong}; see --prompt"]
    return [line for line in said if line]


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


def look(step, run, recorder, log, task, hands) -> None:
    """Write down greedy answers to the same few training problems, where it is time to."""
    if log.due(step):
        distributed.refresh(recorder.player, recorder.model)
        plain = dict(tries=run.tries, temperature=0.0, top_p=1.0)
        log.look(step, task, recorder.play(recorder.player, task, hands[:SHOWN], **plain)[1])


def _train_sft(run, out, model, processor, task, hands, recorder, log, progress) -> None:
    batch, sampled, shown = get_scale(run.scale).sft.batch, 0, (task, hands)
    schedule = run.schedule or get_scale(run.scale).sft.schedule
    leashed = run.method == "sft-kl"
    if run.method == "sft-varied":
        hands = vary_rules(task, hands, run.seed, 20 * len(hands))
        task = EachItsOwn()
    if run.method == "sft-verified":
        longest = get_scale(run.scale).rl.max_new_tokens
        ways = dict(seed=run.seed, max_new_tokens=longest)
        with distributed.at_hand(recorder.init) as init:
            hands, sampled = verified(init, processor, task, hands, **ways)
        task = Answered(task)
    answer = task.habit if run.method == "sft-own" else None
    data, pixels = taught(processor, task, hands, answer)
    tokens = sum(map(len, data["input_ids"])) / len(data)
    if pixels is not None:
        tokens += picture_tokens(model)

    budget = run.tflop * 1e12 / recorder.parameters - 2 * sampled
    steps = run.steps or max(round(budget / ((6 + 2 * leashed) * batch * tokens)), 1)

    def hook(step: int) -> None:
        clock[0] += step > 0
        progress(step / steps)
        if step == 0 or due((step - 1) / steps, step / steps, run.points):
            seen = round(step * batch * tokens)
            costs = flops(recorder.parameters, seen, read=sampled + leashed * seen)
            recorder.note(step, costs | {"updates": step}, end=step in (0, steps))
        look(step, run, recorder, log, *shown)

    def tell(step: int, figures: dict[str, float]) -> None:
        """A row for every ten steps: their means, evaluations among their seconds."""
        seconds = (time.time() - clock[1]) / max(clock[0], 1)
        clock[:] = 0, time.time()
        log.step(step, figures | {"seconds": seconds, "tokens": round(batch * tokens)})

    clock = [0, time.time()]  # steps since the last row, and when that was
    recorder.player = distributed.player_of(model)
    if not distributed.agreed(bool(read_rows(out))):
        hook(0)
    clock[1] = time.time()
    with distributed.at_hand(recorder.init) if leashed else nullcontext() as init:
        train_sft(
            model,
            tokenizer_of(processor),
            data,
            SFTSettings(run.lr, batch, run.hands, schedule),
            out / "trainer",
            run.seed,
            steps=steps,
            hook=hook,
            at=range(1, steps + 1),
            save_every=max(steps // 4, 1),
            progress=False,
            pixels=pixels,
            loss="dft" if run.method == "sft-dft" else "nll",
            init=init,
            tell=tell,
        )


@dataclass
class Coin:
    """A task with a verifier that tosses a coin instead of reading the answer (control).

    Heads: "correct", 1 point, and the episode ends. Tails: "incorrect", -1 point, another try.
    Points have mean zero, the last failed try costs nothing more, and how long an episode lasts
    does not depend on the truth: nothing that is paid or said tells answers apart.
    """

    task: Any
    rng: random.Random
    over_budget: ClassVar[float] = 0.0

    def prompt(self, problem: Any) -> str:
        return self.task.prompt(problem)

    def picture(self, problem: Any) -> Any:
        return self.task.picture(problem)

    def verify(self, problem: Any, answer: str) -> Verdict:
        heads = self.rng.random() < 0.5
        message = self.task.verify(
            problem, self.task.demonstration(problem) if heads else ""
        ).message
        kind = "solved" if heads else "wrong"
        return Verdict(heads, kind, 1.0 if heads else -1.0, message, None, False)


class EachItsOwn:
    """A task whose problems are pairs of a task and its problem."""

    def prompt(self, pair: tuple[Any, Any]) -> str:
        return pair[0].prompt(pair[1])

    def picture(self, pair: tuple[Any, Any]) -> Any:
        return pair[0].picture(pair[1])

    def demonstration(self, pair: tuple[Any, Any]) -> str:
        return pair[0].demonstration(pair[1])


@dataclass
class Answered:
    """A task whose problems are pairs of a problem and the answer that is to be imitated."""

    task: Any

    def prompt(self, pair: tuple[Any, str]) -> str:
        return self.task.prompt(pair[0])

    def picture(self, pair: tuple[Any, str]) -> Any:
        return self.task.picture(pair[0])

    def demonstration(self, pair: tuple[Any, str]) -> str:
        return pair[1]


def vary_rules(task: Any, problems: Sequence[Any], seed: int, n: int) -> list[tuple[Any, Any]]:
    """The same problems under rules drawn anew (never a held-out rule), each with its task."""
    rng, varied = stream(seed, "varied rules"), []
    while len(varied) < n:
        try:
            varied.append(task.vary(rng, rng.choice(problems)))
        except ValueError:  # not solvable under this rule
            continue
    return varied


def rl_settings(run: Run) -> RLSettings:
    """The scale's settings with this run's choices."""
    method = "rl-grpo" if run.method == "rl-grpo" else "rl-ppo"
    chosen = dict(method=method, lr=run.lr, tries=run.tries, temperature=run.temperature)
    chosen |= {name: getattr(run, name) for name in SIZES if getattr(run, name)}
    rl = replace(get_scale(run.scale).rl, **chosen)
    if method == "rl-grpo" and rl.samples == 1:  # GRPO compares samples of one problem
        rl = replace(rl, samples=rl.group, problems=max(rl.problems // rl.group, 1))
    return rl


def check_format(run: Run, model: PreTrainedModel, processor: Processor, task, hands) -> None:
    """Play 32 training problems, one try each, and refuse a model that knows no format.

    RL can make likelier what a model does sometimes. Where it never answers in the format all
    rewards are alike, and hours later it is where it began (paper, figure 9). The answers have a
    source of chance of their own, so that a run's numbers do not depend on this.

    Raises:
        RuntimeError: under ``READABLE`` of the answers have the right form.
    """
    settings, dice = rl_settings(run), torch.Generator(model.device)
    dice.manual_seed(stream(run.seed, "format").getrandbits(60))
    played = rollout(
        model,
        processor,
        task,
        distributed.share(hands[:32]),
        tries=1,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        generator=dice,
    )
    kinds = distributed.gathered([episode.turns[0].verdict.kind for episode in played])
    if (wrong := kinds.count("illegal")) > (1 - READABLE) * len(kinds):
        raise RuntimeError(
            f"{run.base} does not answer in the format ({wrong} of {len(kinds)} answers are "
            f"illegal), so that RL has nothing to select from; make an Init of it first "
            f"(python -m sftrl_lite init), or go on with --anyway"
        )


def _train_rl(
    run, out, model, processor, task, hands, recorder, log, progress, anyway, engine
) -> None:
    settings = replace(rl_settings(run), together=recorder.together)
    if (few := min(settings.problems, len(hands))) < (many := distributed.world()):
        raise ValueError(f"{few} problems a step are too few for {many} processes")
    if run.warmup and not (out / "checkpoint.pt").exists():
        warm_up(run, out, model, processor, task, hands)
    if run.fresh:
        hands = train_hands(task.half(2), run.hands, run.seed)
    begun = (out / "checkpoint.pt").exists() or read_rows(out)
    asked_for = anyway or run.load_format == "dummy"  # random weights answer nothing, as is known
    if not distributed.agreed(bool(asked_for or begun)):
        check_format(run, model, processor, task, hands)
    learner = new_learner(model, settings, run.seed)
    recorder.player = learner.player
    player = open_engine(engine, learner.player, processor, run.task, TRAINING)
    trained, generated, signals = resume(learner, out)
    updates = -(-min(settings.problems, len(hands)) * settings.samples // settings.minibatch)
    updates *= settings.epochs

    def share() -> float:
        """How much of the run is done."""
        spent = flops(recorder.parameters, trained, generated)["flops_paper"] / 1e12
        return learner.step / run.steps if run.steps else spent / run.tflop

    def note(end: bool, more: dict[str, float]) -> None:
        costs = flops(recorder.parameters, trained, generated)
        recorder.note(learner.step, costs | {"updates": updates * learner.step} | more, end)

    if learner.step == 0:
        note(end=True, more={})
        look(0, run, recorder, log, task, hands)
    while (before := share()) < 1:
        judge = task
        if run.method == "rl-random":
            # each process has a coin; so this control alone depends on their number
            judge = Coin(task, stream(run.seed, "coin", learner.step, distributed.rank()))
        began = time.time()
        stats = rl_step(learner, processor, judge, hands, settings, run.seed, engine=player)
        took = dict(seconds=time.time() - began, tokens=stats["trained"] + stats["generated"])
        log.step(learner.step, stats | took)
        trained += stats["trained"]
        generated += stats["generated"]
        signals.append(stats["signal"])
        after = share()
        progress(min(after, 1.0))
        if due(before, min(after, 1.0), run.points):
            note(after >= 1, {"signal": sum(signals) / len(signals)})
            signals.clear()
        look(learner.step, run, recorder, log, task, hands)
        if due(before, min(after, 1.0), run.points) or learner.step % 10 == 0:
            suspend(learner, out, trained, generated, signals)


def warm_up(run, out, model, processor, task, hands) -> None:
    """SFT of ``model`` in place, as the method ``sft`` does it; interrupted, it starts again."""
    data, pixels = taught(processor, task, hands)
    settings = SFTSettings(run.warmup_lr, get_scale(run.scale).sft.batch, run.hands)
    train_sft(
        model,
        tokenizer_of(processor),
        data,
        settings,
        out / "trainer",
        run.seed,
        steps=run.warmup,
        progress=False,
        pixels=pixels,
    )


# --- the folder of a run ---------------------------------------------------------------


def folder_of(run: Run, experiment: str = "") -> str:
    """Name of the folder where a run lies unless another one is asked for."""
    return f"{experiment or run.method}-{run.scale}-seed{run.seed}-{run.hash}"


def claim(run: Run, out: Path) -> FileLock:
    """Make ``out`` the folder of this run; refuse the folder of another.

    Returns:
        a held lock: until it is released no other process can train in this folder.
    """
    lock = FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{out} is in use by another process; wait for it or stop it") from None
    except OSError as error:
        raise PermissionError(f"{out} cannot be written: {error.strerror}") from error
    config, place = out / "config.json", find(run.base)
    about = {"hash": run.hash, **asdict(run), "settings": settings_of(run)}
    about |= {"weights": fingerprint(place) if place else "", "processes": distributed.world()}
    if config.exists():
        try:
            there = json.loads(config.read_text())
            hashed = there.get("hash")
        except (ValueError, AttributeError):
            raise ValueError(f"{config} is damaged; choose another --out") from None
        mine = json.loads(json.dumps(about))
        if hashed != run.hash or there.get("weights", about["weights"]) != about["weights"]:
            other = [name for name in mine if name != "hash" and there.get(name) != mine[name]]
            what = f" ({', '.join(other)})" if other else ""
            raise ValueError(f"{out} holds a run with other settings{what}; choose another --out")
        began = there.get("processes", distributed.world())
        if began != distributed.world() and not (out / "model").is_dir():
            raise ValueError(
                f"{out} was begun by {began} processes, not {distributed.world()}; "
                f"go on with {began}, or choose another --out"
            )
    else:
        _write(config, json.dumps(about, indent=1).encode())
    return lock


def _write(path: Path, data: bytes) -> None:
    with whole(path) as draft:
        draft.write_bytes(data)


def write_rows(out: Path, rows: Sequence[ledger.Row]) -> None:
    """Add a point to the run's own rows; measuring a step again replaces it."""
    steps = {row.step for row in rows}
    kept = [row for row in read_rows(out) if row.step not in steps]
    ledger.save([*kept, *rows], out / "rows.csv")


def read_rows(out: Path) -> list[ledger.Row]:
    """What the run in ``out`` has measured so far."""
    table = ledger.read(out / "rows.csv")
    return [ledger.Row(**row) for row in table.to_dict("records")]


def suspend(
    learner: Any, out: Path, trained: int, generated: int, signals: Sequence[float] = ()
) -> None:
    """Write a checkpoint from which ``resume`` goes on exactly.

    What is not in it follows from the run's seed and the step alone (``scales.stream``): the
    order of the problems, the chance of every answer, the order of the minibatches. Between two
    steps there is no rollout under way, and nothing in a step draws from a global source.
    """
    state = distributed.whole_state(
        {
            "model": adapters.trained(learner.model),
            "value_head": learner.value_head.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "counts": [learner.step, trained, generated],
            "signals": list(signals),
            "base": str(learner.model.name_or_path),
        }
    )
    if not distributed.main():
        return
    # through a file of Python's, which says why it could not be written
    with whole(out / "checkpoint.pt") as draft, draft.open("wb") as file:
        torch.save(state, file)


class ForeignCheckpoint(ValueError):
    """A checkpoint of a model that was made of another base."""


def resume(learner: Any, out: Path) -> tuple[int, int, list[float]]:
    """Load the checkpoint in ``out`` if there is one.

    Returns:
        tokens trained and generated, and ``rl_step``'s signal since the last evaluation.

    Raises:
        ValueError: the checkpoint is damaged, or was written by a model of another base.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0, 0, []
    try:
        # where a model is split, all processes read one large file: they share its pages
        shared = distributed.sharding()
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=shared)
        own, base = adapters.trained(learner.model), str(learner.model.name_or_path)
        if (other := state.get("base", base)) != base:
            raise ForeignCheckpoint(f"{path} belongs to {other}, not to {base}; move it away")
        weights = {name: distributed.split_like(t, own[name]) for name, t in state["model"].items()}
        adapters.restore(learner.model, weights)
        learner.value_head.load_state_dict(state["value_head"])
        order = [w for group in learner.optimizer.param_groups for w in group["params"]]
        for i, moments in state["optimizer"]["state"].items():
            for name, tensor in moments.items():
                moments[name] = distributed.split_like(tensor, order[i])
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.scaler.load_state_dict(state["scaler"])
        learner.step, trained, generated = state["counts"]
    except ForeignCheckpoint:
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged; delete it to start this run again") from error
    return trained, generated, state["signals"]


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
