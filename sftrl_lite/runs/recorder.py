"""Evaluates a run at its steps and turns what it finds into ledger rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from filelock import FileLock
from transformers import PreTrainedModel

from sftrl_lite.files import check_summed, remove, write_summed, write_whole
from sftrl_lite.models.loading import save
from sftrl_lite.models.precision import device_name
from sftrl_lite.models.vision import Processor, to_pixels, tokenizer_of
from sftrl_lite.results import ledger
from sftrl_lite.results.intervals import Estimate, mean_interval
from sftrl_lite.results.ledger import commit, decoding_name
from sftrl_lite.runs.resume import again
from sftrl_lite.runs.run_config import CURVE, Run, command
from sftrl_lite.runs.weights import init_of
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Measurable, Problem, Shown, Task
from sftrl_lite.training import distributed
from sftrl_lite.training.compute import text_parameters
from sftrl_lite.training.evaluate import changed, distance, evaluate, pass_at_k, within
from sftrl_lite.training.rollouts import Episode

Found = dict[tuple[str, str, str], Estimate]  # by split, metric and decoding


def due(before: float, after: float, points: int) -> bool:
    """Whether a run that went from share ``before`` to ``after`` passed an evaluation."""
    return int(after * points + 1e-9) > int(before * points + 1e-9)


def train_hands(task: Task[Problem], n: int, seed: int) -> list[Problem]:
    """The fixed training problems of a seed: the same for SFT and RL."""
    return task.draw(stream(seed, "train hands"), n)


def held_out(task: Task[Problem], n: int, seed: int) -> list[Problem]:
    """At least n of the problems that are reserved for tests, whatever is trained on."""
    return task.held_out(stream(seed, "held-out hands", task.label), n)


class Recorder:
    """Evaluates a run at its steps and turns what it finds into ledger rows."""

    kept = 1  # models of the last evaluations, where more than one

    def __init__(
        self,
        run: Run,
        out: Path,
        experiment: str,
        model: PreTrainedModel,
        processor: Processor,
        train: Sequence[Any],
        together: int = 0,
    ):
        self.together = together  # episodes that fit into memory at once; 0: nothing bounds them
        self.run, self.out, self.model, self.processor = run, out, model, processor
        self.train = train
        self.rollout_model = (
            model  # what is evaluated and saved: a whole copy where ``model`` is split
        )
        self.init = init_of(run, model)
        spent = max((row.minutes for row in read_rows(out)), default=0.0)  # before it was resumed
        self.began = time.time() - 60 * spent
        self.pictured = run.make("train").picture(train[0]) is not None
        self.parameters = text_parameters(model, self.pictured)
        self.init_said: dict[str, list[Episode]] = {}  # by split: Init's own first answers
        self.main = decoding_name(run.eval_temperature, run.eval_top_p)
        # in every row; found once, since git and files are asked for it
        self.same: dict[str, Any] = dict(
            experiment=experiment,
            task=run.task,
            method=run.method,
            scale=run.scale.name,
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
        if not distributed.is_main():
            return
        earlier = write_rows(self.out, rows)
        run = self.run
        metric = f"success@{run.tries if run.tries in run.eval_tries else run.eval_tries[-1]}"
        best = ("id", metric, self.main)
        score = lambda r: r.value if (r.split, r.metric, r.decoding) == best else -1.0  # noqa: E731
        now = max(map(score, rows))
        if step > 0 and now > max((score(r) for r in earlier if 0 < r.step < step), default=-1):
            save(self.rollout_model, self.processor, self.out / "best")
            say = {"step": step, "split": "id", "metric": metric, "value": now}
            write_whole(self.out / "best.json", json.dumps(say).encode())
        if step > 0 and self.kept > 1:
            folder = self.out / "checkpoints"
            save(self.rollout_model, self.processor, folder / f"step-{step}")
            steps = sorted(int(n) for p in folder.iterdir() if (n := p.name[5:]).isdigit())
            for old in steps[: -self.kept]:
                remove(folder / f"step-{old}")

    def at(self, step: int, figures: dict[str, float], end: bool) -> list[ledger.Row]:
        """Evaluate now; returns the new rows. Ends of a run are measured more closely.

        Args:
            figures: what training itself counted, FLOPs for instance, by metric.
        """
        run = self.run
        distributed.sync_weights(self.rollout_model, self.model)
        found: Found = {("train", name, ""): Estimate(x, 1, x, x) for name, x in figures.items()}
        moved = changed(self.rollout_model, self.init, self.pictured)
        found |= {("train", name, ""): share for name, share in moved.items()}
        if step == 0 and not run.warmup:
            found |= self.init_measured()
        else:
            found |= self.measured(end)
        return [self.row(step, *name, e) for name, e in found.items()]

    def init_measured(self) -> Found:
        """``measured`` of Init, once for all runs beside this one that would measure the same."""
        run, names = self.run, ["task", "scale", "seed", "base", "hands", "feedback", "data"]
        names += ["skip_bad", "adapter", "vision", "max_image_tiles", "load_format", "splits"]
        names += ["eval_tries", "final_episodes", "pass_samples", "curve_episodes"]
        names += ["eval_temperature", "eval_top_p", "prompt", "picture"]
        same = {name: getattr(run, name) for name in names} | {"tflop": 1.0, "method": "rl-ppo"}
        if run.imitates_file:  # its problems are in no split
            same["method"] = "sft"
        path = self.out.parent / f"init-{Run(**same).hash}.csv"
        if distributed.broadcast(path.exists()):
            return {
                (r.split, r.metric, r.decoding): Estimate(r.value, r.n, r.low, r.high)
                for r in read_summed(path, f"delete {path} to measure again")
            }
        found = self.measured(end=True)
        if distributed.is_main():
            with FileLock(path.with_suffix(".lock")):  # a run beside this one may be as far
                if not path.exists():
                    rows = [self.row(0, *name, e) for name, e in found.items()]
                    write_summed(path, ledger.text(rows).encode())
        return found

    def measured(self, end: bool) -> Found:
        """All metrics of all splits, by split, metric and decoding."""
        run = self.run
        found: Found = {}
        n = run.final_episodes if end else run.eval_episodes
        trained = () if run.imitates_file else ("train",)  # a file's examples have no verifier
        for split in (*trained, *run.splits):
            task, fresh = run.make(split), split != "train"
            problems = held_out(task, n, run.seed) if fresh else self.train[:n]
            here = self.measure(split, task, problems, run.eval_tries, end)
            found |= {(split, *name): e for name, e in here.items()}
        return found

    def play(
        self,
        model: PreTrainedModel,
        task: Measurable[Problem],
        problems: Sequence[Problem],
        **options: Any,
    ) -> tuple[dict[str, Estimate], list[Episode]]:
        """``evaluate`` with the run's seed and its scale's longest answer."""
        longest = self.run.scale.rl.max_new_tokens
        options |= dict(seed=self.run.seed, max_new_tokens=longest, together=self.together)
        return evaluate(model, self.processor, task, problems, **options)

    def init_says(
        self, split: str, task: Measurable[Problem], problems: Sequence[Problem]
    ) -> list[Episode]:
        """Init's own answers to a split, sampled once: KL(Init || model) is measured on them."""
        if split not in self.init_said:
            plain = dict(tries=1, temperature=1.0, top_p=1.0)
            self.init_said[split] = self.play(self.init, task, problems, **plain)[1]
        return self.init_said[split]

    def measure(
        self,
        split: str,
        task: Measurable[Problem],
        problems: Sequence[Problem],
        budgets: tuple[int, ...],
        closely: bool,
    ) -> dict[tuple[str, str], Estimate]:
        """All metrics of one split, by metric and decoding.

        Each problem is played once with the largest budget: whether it is solved within a smaller
        one can be read from that episode. ``closely`` adds the other temperatures, the distance
        from Init and, in text, pass@k.
        """
        run, tries = self.run, max(budgets)
        play = partial(self.play, self.rollout_model, task)
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
                mine = [
                    self.looked_at(task, e)
                    for e in distributed.split_between_processes(episodes[:300])
                ]
                with distributed.on_device(self.init):
                    far = distance(self.rollout_model, self.init, mine, pad)
                    told = distributed.split_between_processes(
                        self.init_says(split, task, asked[:300])
                    )
                    told = [self.looked_at(task, e) for e in told]
                    far["kl_init"] = distance(self.init, self.rollout_model, told, pad)["kl"]
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

    def looked_at(self, task: Shown[Any], episode: Episode) -> Episode:
        """The episode with its picture, also if another process played it."""
        if episode.pixels is None and (picture := task.picture(episode.problem)) is not None:
            return replace(episode, pixels=to_pixels(self.processor, [picture]))
        return episode


def write_rows(out: Path, rows: Sequence[ledger.Row]) -> list[ledger.Row]:
    """Add a point to the run's own rows; measuring a step again replaces it.

    Returns:
        the rows before.
    """
    steps, earlier = {row.step for row in rows}, read_rows(out)
    kept = [row for row in earlier if row.step not in steps]
    write_summed(out / "rows.csv", ledger.text([*kept, *rows]).encode())
    return earlier


def read_rows(out: Path) -> list[ledger.Row]:
    """What the run in ``out`` has measured so far.

    Raises:
        ValueError: ``rows.csv`` is damaged.
    """
    return read_summed(out / "rows.csv", again(out))


def read_summed(path: Path, advice: str) -> list[ledger.Row]:
    """Rows from a file that ``write_summed`` wrote; none if there is no such file.

    Raises:
        ValueError: it is damaged; the line ends with ``advice``.
    """
    check_summed(path, advice)
    rows = cast(list[dict[str, Any]], ledger.read(path).to_dict("records"))
    return [ledger.Row(**row) for row in rows]
