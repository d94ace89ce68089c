"""A run: one method, one seed, from Init to its last step, measured on the way.

A run lives in a folder: ``config.json`` (what it is), ``rows.csv`` (what it measured),
``checkpoint.pt`` (where it is), ``model/`` (the result; its presence says "done").
Kill it at any moment and start it again: it ends with the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from sftrl_lite import ledger
from sftrl_lite.compute import flops, text_parameters
from sftrl_lite.evaluate import Estimate, distance, evaluate
from sftrl_lite.general_points import GeneralPoints, Hand, general_points
from sftrl_lite.models import ROOT, device, load, save
from sftrl_lite.pretrain import house_rule
from sftrl_lite.rl import new_learner, rl_step
from sftrl_lite.scales import RLSettings, SFTSettings, get_scale, seed_all, stream
from sftrl_lite.sft import demonstrations, train_sft

TASKS = ("gp-l",)  # gp-vl, virl-l and virl-vl join as their chapters do
METHODS = ("sft", "sft-varied", "rl-ppo", "rl-grpo", "rl-random")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """Everything that decides the numbers of a run; its hash names them.

    Args:
        method: ``sft``; ``sft-varied`` (control: the rule changes from hand to hand);
            ``rl-ppo``; ``rl-grpo``; ``rl-random`` (control: PPO paid at random).
        tflop: stop as soon as the training compute (paper's count) reaches this many
            teraflop, for comparisons at equal compute; 0 for no limit.
        points: number of evaluations after step 0, spread evenly over the steps; a run
            with a ``tflop`` limit is measured at its two ends only.
        splits: where it is evaluated.
        final_episodes: episodes at the last point, ``eval_episodes`` elsewhere.
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
    eval_episodes: int = 300
    final_episodes: int = 300
    eval_tries: tuple[int, ...] = ()
    splits: tuple[str, ...] = ("id", "ood-rule")

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose {', '.join(METHODS)}")
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; choose {', '.join(TASKS)}")

    def filled(self) -> Run:
        """The same run with every 0 or empty field taken from its scale."""
        scale = get_scale(self.scale)
        part = scale.sft if self.method.startswith("sft") else scale.rl
        tries = self.tries or scale.rl.tries
        return replace(
            self,
            base=self.base or scale.base,
            lr=self.lr or part.lr,
            steps=self.steps or part.steps,
            hands=self.hands or scale.sft.hands,
            tries=tries,
            eval_tries=self.eval_tries or (tries,),
        )

    @property
    def hash(self) -> str:
        """Eight characters that change when any deciding field does."""
        text = json.dumps(asdict(self.filled()), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def eval_steps(self) -> list[int]:
        """Steps at which the run is evaluated: 0, then ``points`` more."""
        steps = self.filled().steps
        if self.tflop:
            return [0, steps]
        return sorted({round(steps * i / self.points) for i in range(self.points + 1)})


def train_hands(task: GeneralPoints, n: int, seed: int) -> list[Hand]:
    """The fixed training problems of a seed: the same for SFT and RL."""
    rng = stream(seed, "train hands")
    return [task.sample(rng) for _ in range(n)]


def held_out(task: GeneralPoints, n: int, seed: int, train: Sequence[Hand]) -> list[Hand]:
    """Fresh hands whose cards, in any order, are not among the training hands."""
    rng = stream(seed, "held-out hands", task.rule.name)
    seen = {tuple(sorted(hand.cards)) for hand in train}
    hands: list[Hand] = []
    while len(hands) < n:
        hand = task.sample(rng)
        if tuple(sorted(hand.cards)) not in seen:
            hands.append(hand)
    return hands


class Recorder:
    """Evaluates a run at its steps and turns what it finds into ledger rows."""

    def __init__(self, run: Run, experiment: str, model, tokenizer, train: Sequence[Hand]):
        self.run, self.experiment = run, experiment
        self.model, self.tokenizer, self.train = model, tokenizer, train
        self.init = load(run.base)[0].eval()
        self.began, self.rows = time.time(), []
        self.parameters = text_parameters(model)

    def row(self, step: int, split: str, metric: str, e: Estimate) -> ledger.Row:
        run = self.run
        return ledger.Row(
            experiment=self.experiment,
            task=run.task,
            method=run.method,
            scale=run.scale,
            seed=run.seed,
            step=step,
            split=split,
            metric=metric,
            value=e.value,
            n=e.n,
            low=e.low,
            high=e.high,
            tries=run.tries,
            config_hash=run.hash,
            commit=commit(),
            device=device_name(),
            minutes=(time.time() - self.began) / 60,
            command=command(run, self.experiment),
        )

    def at(self, step: int, trained: int, generated: int) -> list[ledger.Row]:
        """Evaluate now; returns the new rows."""
        run, new = self.run, []
        for metric, value in flops(self.parameters, trained, generated).items():
            new.append(self.row(step, "train", metric, Estimate(value, 1, value, value)))
        ends = step in (0, run.steps) or run.tflop
        episodes_here = run.final_episodes if ends else run.eval_episodes
        for split in (*run.splits, "train"):
            task = general_points("id" if split == "train" else split, feedback=run.feedback)
            hands = self.train[:episodes_here]
            if split != "train":
                hands = held_out(task, episodes_here, run.seed, self.train)
            for tries in run.eval_tries if split != "train" else (1,):
                found, episodes = evaluate(
                    self.model, self.tokenizer, task, hands, tries=tries, seed=run.seed
                )
                if tries == run.tries and split != "train":
                    pad = self.tokenizer.pad_token_id
                    found |= distance(self.model, self.init, episodes[:300], pad)
                elif split != "train":
                    found = {f"success@{tries}": found["success"]}
                new += [self.row(step, split, name, value) for name, value in found.items()]
        self.rows += new
        return new


def train(
    run: Run,
    out: Path,
    *,
    experiment: str = "",
    progress: Progress = lambda done, total: None,
    record: Path | None = None,
) -> list[ledger.Row]:
    """Do the run in folder ``out``, or continue it, or return what it found.

    Args:
        experiment: name in the ledger; the method's name if empty.
        progress: called with (steps done, steps in all).
        record: ledger to append to once the run is complete.

    Raises:
        ValueError: ``out`` holds a run with another configuration.
        PermissionError: ``out`` cannot be written.
    """
    run, experiment = run.filled(), experiment or run.method
    with claim(run, out):
        if not (out / "model").is_dir():
            _train(run, out, experiment, progress, record)
    return read_rows(out)


def _train(run, out, experiment, progress, record) -> None:
    seed_all(run.seed)
    model, tokenizer = load(run.base)
    task = general_points("id", feedback=run.feedback)
    hands = train_hands(task, run.hands, run.seed)
    recorder = Recorder(run, experiment, model, tokenizer, hands)
    go = _train_sft if run.method.startswith("sft") else _train_rl
    go(run, out, model, tokenizer, task, hands, recorder, progress)
    if record:
        ledger.append(read_rows(out), record)
    save(model, tokenizer, out / "model")
    (out / "checkpoint.pt").unlink(missing_ok=True)


def _train_sft(run, out, model, tokenizer, task, hands, recorder, progress) -> None:
    settings = SFTSettings(run.lr, run.steps, get_scale(run.scale).sft.batch, run.hands)
    data = demonstrations(task, hands)
    if run.method == "sft-varied":
        data = demonstrations(task, vary_rules(hands, run.seed, settings.steps * settings.batch))
    tokens = sum(
        len(tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False))
        for row in data.select(range(min(len(data), 300)))
    ) / min(len(data), 300)

    def hook(step: int) -> None:
        progress(step, run.steps)
        if step in run.eval_steps():
            write_rows(out, recorder.at(step, round(step * settings.batch * tokens), 0))

    done = {row.step for row in read_rows(out)}
    if 0 not in done:
        hook(0)
    train_sft(
        model,
        tokenizer,
        data,
        settings,
        out / "trainer",
        run.seed,
        hook=hook,
        at=range(1, run.steps + 1),
        save_every=max(run.steps // 4, 1),
        progress=False,
    )


def vary_rules(hands: Sequence[Hand], seed: int, n: int) -> list[Hand]:
    """The same cards under house rules drawn anew (never a held-out rule)."""
    rng, varied = stream(seed, "varied rules"), []
    while len(varied) < min(n, 20 * len(hands)):
        hand = replace(rng.choice(hands), rule=house_rule(rng, common=0.0))
        try:
            GeneralPoints(hand.rule).demonstration(hand)
        except ValueError:  # not solvable under this rule
            continue
        varied.append(hand)
    return varied


def rl_settings(run: Run) -> RLSettings:
    """The scale's settings with this run's choices."""
    method = "rl-grpo" if run.method == "rl-grpo" else "rl-ppo"
    chosen = dict(method=method, lr=run.lr, steps=run.steps, tries=run.tries)
    return replace(get_scale(run.scale).rl, **chosen)


def _train_rl(run, out, model, tokenizer, task, hands, recorder, progress) -> None:
    settings = rl_settings(run)
    learner = new_learner(model, settings, run.seed)
    trained, generated = resume(learner, out)
    evals = run.eval_steps()
    if learner.step == 0:
        write_rows(out, recorder.at(0, 0, 0))

    def finished() -> bool:
        spent = flops(recorder.parameters, trained, generated)["flops_paper"] / 1e12
        return learner.step >= run.steps or 0 < run.tflop <= spent

    while not finished():
        reward = None
        if run.method == "rl-random":  # paid like a solver, but by a coin
            coin = stream(run.seed, "coin", learner.step)
            reward = lambda verdict, coin=coin: 5.0 if coin.random() < 0.5 else -1.0  # noqa: E731
        stats = rl_step(learner, tokenizer, task, hands, settings, run.seed, reward)
        trained += stats["trained"]
        generated += stats["generated"]
        progress(learner.step, run.steps)
        if learner.step in evals or finished():
            write_rows(out, recorder.at(learner.step, trained, generated))
        if learner.step in evals or learner.step % 10 == 0:
            suspend(learner, out, trained, generated)


# --- the folder of a run ---------------------------------------------------------------


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
    config = out / "config.json"
    if config.exists():
        try:
            there = json.loads(config.read_text()).get("hash")
        except (ValueError, AttributeError):
            raise ValueError(f"{config} is damaged; choose another --out") from None
        if there != run.hash:
            raise ValueError(f"{out} holds a run with other settings; choose another --out")
    else:
        _write(config, json.dumps({"hash": run.hash, **asdict(run)}, indent=1).encode())
    return lock


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: write beside, then rename."""
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(data)
    os.replace(draft, path)


def write_rows(out: Path, rows: Sequence[ledger.Row]) -> None:
    """Add a point to the run's own rows; measuring a step again replaces it."""
    steps = {row.step for row in rows}
    kept = [row for row in read_rows(out) if row.step not in steps]
    draft = out / "rows.csv.part"
    draft.unlink(missing_ok=True)
    ledger.append([*kept, *rows], draft)
    os.replace(draft, out / "rows.csv")


def read_rows(out: Path) -> list[ledger.Row]:
    """What the run in ``out`` has measured so far."""
    table = ledger.read(out / "rows.csv")
    return [ledger.Row(**row) for row in table.to_dict("records")]


def suspend(learner: Any, out: Path, trained: int, generated: int) -> None:
    """Write a checkpoint from which ``resume`` goes on exactly."""
    state = {
        "model": learner.model.state_dict(),
        "value_head": learner.value_head.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "counts": [learner.step, trained, generated],
    }
    draft = out / "checkpoint.pt.part"
    torch.save(state, draft)
    os.replace(draft, out / "checkpoint.pt")


def resume(learner: Any, out: Path) -> tuple[int, int]:
    """Load the checkpoint in ``out`` if there is one; tokens trained and generated."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0, 0
    try:
        state = torch.load(path, weights_only=True, map_location=learner.model.device)
        learner.model.load_state_dict(state["model"])
        learner.value_head.load_state_dict(state["value_head"])
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.step, trained, generated = state["counts"]
    except Exception as error:
        raise ValueError(f"{path} is damaged; delete it to start this run again") from error
    return trained, generated


def commit() -> str:
    """Short hash of the checked-out commit, with + if files differ; "" outside git."""
    try:
        git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=7"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def device_name() -> str:
    """What computed it, in a word: ``cpu`` or the GPU's name."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "cpu"


def command(run: Run, experiment: str) -> str:
    """The command line that makes this run again."""
    verb = "sft" if run.method.startswith("sft") else "rl"
    options = {k: v for k, v in asdict(run).items() if v != getattr(Run(run.method), k)}
    parts = [f"--{k.replace('_', '-')} {_word(v)}" for k, v in options.items()]
    return " ".join(
        ["python -m sftrl_lite", verb, "--method", run.method, f"--experiment {experiment}", *parts]
    )


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
