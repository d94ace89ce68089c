"""Watching a long run: its plan and cost, a row per step, answers to the same few problems.

Nothing in here changes a number of a run or enters its hash.

    OUT/steps.csv          a row per step: success, reward, loss, KL, seconds, tokens, ...
    OUT/transcripts.jsonl  every N steps the answers to the same problems, one line per look
    OUT/checkpoints/       the models of the last evaluations, where several are kept

The two files only grow. A run that was killed and goes on repeats no step in them, and a line
that was cut off by the kill is written again (``growing``).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.utils import HFValidationError, enable_progress_bars, validate_repo_id

from sftrl_lite.files import whole
from sftrl_lite.planning import estimates, fit, workload
from sftrl_lite.processes import first_line
from sftrl_lite.runs.growing import AGAIN, GrowingFile
from sftrl_lite.scales import RLSettings
from sftrl_lite.tasks.base import Shown, Teachable
from sftrl_lite.training import distributed
from sftrl_lite.training.rollouts import Episode

PROJECT = "sftrl-lite"  # under this name a tracker keeps the runs together
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": (), "wandb": ()}
COLUMNS = (
    "step",
    "success",
    "success_first",
    "reward",
    "signal",
    "loss",
    "value_loss",
    "kl",
    "clipped",
    "entropy",
    "grad_norm",
    "explained_variance",
    "tokens",  # trained on and generated
    "seconds",
)
SHOWN = 6  # problems whose answers are written down


@dataclass(frozen=True)
class Watch:
    """How a run is watched.

    Args:
        report_to: also tell ``tensorboard``, ``trackio`` or ``wandb``; empty: none.
        transcripts: steps between two looks at the same problems; 0: none.
        doubling: also look at them at steps 0, 1, 2, 4, 8, ..., where most happens early.
        checkpoints: models to keep of the last evaluations; 1: no more than the best and the last.

    Raises:
        ValueError: an unknown tracker, or an impossible number.
        RuntimeError: a tracker that is not installed.
    """

    report_to: str = ""
    transcripts: int = 0
    checkpoints: int = 1
    doubling: bool = False

    def __post_init__(self) -> None:
        if (name := self.report_to) and name not in TRACKERS:
            raise ValueError(f"unknown tracker {name!r}; choose {', '.join(TRACKERS)}")
        if name and not any(map(find_spec, TRACKERS[name] or (name,))):
            raise RuntimeError(f"--report-to {name}: it is not installed; pip install {name}")
        if self.transcripts < 0 or self.checkpoints < 1:
            raise ValueError("transcripts cannot be negative, and at least one checkpoint is kept")


# --- while it runs ---------------------------------------------------------------------


def last_step(path: Path, rows: Sequence[str]) -> int:
    """The step of the last row of ``steps.csv``; 0: it has none.

    Raises:
        ValueError: rows that are none, or out of order; names the file.
    """
    last = 0
    for row in rows[1:]:
        step, *figures = row.split(",")
        try:
            before, last = last, int(step)
            sound = before < last and len([float(x or 0) for x in figures]) == len(COLUMNS) - 1
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(f"{path} is damaged ({row[:60]!r}); {AGAIN}")
    return last


def last_look(path: Path, lines: Sequence[str]) -> int:
    """The step of the last line of ``transcripts.jsonl``; -1: it has none.

    Raises:
        ValueError: a line that is none; names the file.
    """
    try:
        steps = [json.loads(line)["step"] for line in lines]
        if any(type(step) is not int for step in steps):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged; {AGAIN}") from None
    return max(steps, default=-1)


class Log:
    """The two growing files of a run, and its tracker. Only the main process writes.

    Args:
        out: the run's folder.
        config: what the tracker is told about the run, once.

    Raises:
        ValueError: ``steps.csv`` has other columns, or what was written has changed.
        RuntimeError: the tracker does not start.
    """

    def __init__(self, out: Path, watch: Watch, config: dict[str, Any]):
        self.watch, self.tracker, self.told, self.looked = watch, None, 0, -1
        if not distributed.is_main():
            return
        path, looks = out / "steps.csv", out / "transcripts.jsonl"
        if not path.exists():
            with whole(path) as draft:
                draft.write_text(",".join(COLUMNS) + "\n", "utf-8")
        self.steps, self.looks = GrowingFile(path), GrowingFile(looks)
        if self.steps.lines[:1] != [",".join(COLUMNS)]:
            raise ValueError(f"{path} has other columns; {AGAIN}")
        self.told = last_step(path, self.steps.lines)
        self.looked = last_look(looks, self.looks.lines)
        if watch.report_to:
            self.tracker = start_tracker(watch.report_to, out, {} if self.told else config)

    def check(self, step: int) -> None:
        """Whether the rows go as far as the run has come; every step has one.

        Raises:
            ValueError: they do not.
        """
        if distributed.is_main() and self.told < step:
            raise ValueError(f"{self.steps.path} is damaged: it ends before step {step}; {AGAIN}")

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Write the row of a step, unless it is there; a figure it lacks stays empty."""
        if not distributed.is_main() or step <= self.told:
            return
        row = {"step": step} | {n: figures[n] for n in COLUMNS if n in figures}
        text = io.StringIO()
        short = {n: f"{v:.6g}" if isinstance(v, float) else v for n, v in row.items()}
        csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(short)
        self.steps.add(text.getvalue())
        self.told = step
        if self.tracker:
            self.tracker.log({n: v for n, v in row.items() if n != "step"}, step=step)

    def due(self, step: int) -> bool:
        """Whether the answers after this step are to be written down; all processes agree."""
        every = self.watch.transcripts
        on = every > 0 and step % every == 0
        on |= self.watch.doubling and step & (step - 1) == 0  # 0 and the powers of two
        return on and distributed.broadcast(step > self.looked)

    def look(self, step: int, task: Shown[Any], episodes: Sequence[Episode]) -> None:
        """Write down what was answered after a step."""
        if not distributed.is_main():
            return
        line = {"step": step, "episodes": [transcript(task, episode) for episode in episodes]}
        self.looks.add(json.dumps(line, ensure_ascii=False) + "\n")
        self.looked = step

    def close(self) -> None:
        """Let the tracker send what it still has; leave whole lines."""
        if distributed.is_main():
            self.steps.close()
            self.looks.close()
        if self.tracker:
            self.tracker.finish()


def transcript(task: Shown[Any], episode: Episode) -> dict[str, Any]:
    """An episode as text: question, answers, verdicts, and the answer that SFT is taught."""
    turns = [
        {
            "answer": turn.answer,
            "kind": turn.verdict.kind,
            "reward": turn.reward,
            "message": turn.verdict.message,
        }
        for turn in episode.turns
    ]
    taught = task.demonstration(episode.problem) if isinstance(task, Teachable) else ""
    asked = {"prompt": task.prompt(episode.problem), "demonstration": taught}
    return asked | {"solved": episode.solved, "turns": turns}


def start_tracker(name: str, out: Path, config: dict[str, Any]) -> Any:
    """A tracker of accelerate's, started; a run that goes on is continued where it can be.

    Raises:
        RuntimeError: it does not start (no login, no network), or accelerate is too old for it.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    ways = {
        "tensorboard": dict(run_name="tensorboard", logging_dir=str(out)),
        "trackio": dict(run_name=PROJECT, name=out.name, resume="allow"),
        "wandb": dict(run_name=PROJECT, name=out.name, id=out.name, resume="allow", dir=str(out)),
    }
    try:
        tracker = LOGGER_TYPE_TO_CLASS[name](**ways[name])
        tracker.start()
        if config:
            tracker.store_init_configuration({n: plain(v) for n, v in config.items()})
    except Exception as error:  # each tracker has its own
        raise RuntimeError(f"--report-to {name} does not start: {first_line(error)}") from error
    return tracker


def plain(value: Any) -> bool | int | float | str:
    """A value as trackers take it."""
    return value if isinstance(value, bool | int | float | str) else str(value)


# --- before it starts ------------------------------------------------------------------


def configuration(fields: dict[str, Any]) -> str:
    """A table of two columns: everything that decides the numbers of a run."""
    flat = {n: v for n, v in fields.items() if not isinstance(v, dict)}
    for more in (v for v in fields.values() if isinstance(v, dict)):
        flat |= more
    words = {n: ", ".join(map(str, v)) if isinstance(v, tuple) else v for n, v in flat.items()}
    return "\n".join(f"{name:18}{words[name]}" for name in words if words[name] not in ("", None))


def outlook(run: Any, settings: RLSettings | None, price: float = 0.0) -> str:
    """The plan of a run and what it will take: hours and, at a price, dollars.

    Args:
        run: a filled ``Run``; settings: those of RL, none for SFT.
        price: dollars an hour of one GPU; 0: hours only.

    Of a run on a CPU, and of a model that is not planned here, it says just that.
    """
    if not run.scale.memory:
        return "plan: a model for CPUs; the bar tells how long it takes"
    try:
        found = fit.made(workload.work_of(run, "rl" if settings else "sft"))
    except workload.UnknownModel as error:
        return f"plan: none ({error})"
    return f"{found}\n{estimates.estimate(found, run.steps, run.tflop, settings, price)}"


# --- after it --------------------------------------------------------------------------


def check_push(name: str) -> None:
    """Refuse a name that a model cannot be pushed to, before anything is trained.

    Raises:
        ValueError: no name of a repository.
        RuntimeError: nobody is logged in, or the Hub is switched off.
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ValueError(
            f"--push-to-hub {name!r} is no name on the Hub; write it as ME/NAME"
        ) from None
    if constants.HF_HUB_OFFLINE:
        raise RuntimeError("--push-to-hub: HF_HUB_OFFLINE is set; start again without it")
    if not get_token():
        raise RuntimeError("--push-to-hub: nobody is logged in; run `hf auth login`")


def push(folder: Path, name: str) -> str:
    """Upload a model's folder to a repository of the Hub, private where it is new.

    Returns:
        its address.

    Raises:
        RuntimeError: it could not be uploaded; the folder stays as it is.
    """
    enable_progress_bars()
    try:
        hub = HfApi()
        where = hub.create_repo(name, private=True, exist_ok=True)
        hub.upload_folder(repo_id=where.repo_id, folder_path=folder)
    except Exception as error:  # of the network, of the Hub, of the disk
        again = f"{first_line(error)} (the model is in {folder}; the same command tries again)"
        raise RuntimeError(f"it could not be pushed to {name}: {again}") from error
    return str(where)
