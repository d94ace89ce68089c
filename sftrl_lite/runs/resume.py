"""The folder of a run: claimed by one process, interrupted and resumed to the same numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from sftrl_lite.files import damage_in_one_line, is_sealed, seal, whole, write_whole
from sftrl_lite.models import adapters
from sftrl_lite.models.checkpoints import check_sums, find, fingerprint, read_object
from sftrl_lite.runs.run_config import Run, settings_of
from sftrl_lite.training import distributed
from sftrl_lite.training.sft import last_checkpoint

# --- the folder of a run ---------------------------------------------------------------


CHECKPOINT = "checkpoint.pt"
KEPT = ("rows.csv", "steps.csv")  # what a run has from its first step on
MADE = (*KEPT, "trainer", CHECKPOINT, "best", "checkpoints", "model")  # replaced or removed by it


class Busy(ValueError):
    """A folder that another process trains in."""


def folder_of(run: Run, experiment: str = "") -> str:
    """Name of the folder where a run lies unless another one is asked for.

    Raises:
        ValueError: a name of an experiment that leads elsewhere.
    """
    name = experiment or run.method
    if name.startswith(".") or not name.isprintable() or set(name) & set("/\\:") or len(name) > 100:
        raise ValueError(f"{name[:100]!r} is no name for an experiment; take letters, digits, -")
    return f"{name}-{run.scale.name}-seed{run.seed}-{run.hash}"


def is_done(out: Path) -> bool:
    """Whether ``out`` contains the complete result of a run.

    Raises:
        OSError, ValueError: it holds something else in its place.
    """
    if not (out / "model").exists():
        return False
    check_sums(out / "model", f"delete {out / 'model'} and start the same command again")
    return True


def check_kept(out: Path) -> None:
    """Refuse a claimed folder in which a run began and that lacks what it wrote first: rows, say.

    Raises:
        ValueError: one line that names the file.
    """
    begun = (out / "model").exists() or (out / CHECKPOINT).exists()
    if begun or last_checkpoint(out / "trainer"):
        for name in KEPT:
            if not (out / name).is_file():
                raise ValueError(f"{out / name} is missing; {again(out)}")


def again(out: Path) -> str:
    """What to do about a folder of a run that is damaged."""
    return f"delete {out} to start this run again, or choose another --out"


def check_place(out: Path) -> None:
    """Refuse a folder that no run began and that holds what a run would replace or remove.

    Raises:
        ValueError: one line that names it.
    """
    if any((out / name).exists() for name in MADE) and not (out / "config.json").exists():
        wrong = f"{out} has no config.json, so it holds something else"
        raise ValueError(f"{wrong}; choose another --out")


def claim(run: Run, out: Path) -> FileLock:
    """Make ``out`` the folder of this run; refuse the folder of another, or of something else.

    Returns:
        a held lock: until it is released no other process can train in this folder.

    Raises:
        ValueError: ``out`` holds something else, or is in use (``Busy``).
        PermissionError: it cannot be written.
    """
    lock = FileLock(out / ".lock")
    try:
        check_place(out)  # before anything is written there
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(f"{out} is in use by {holder(out)}; wait for it or stop it") from None
    except OSError as error:
        raise PermissionError(f"{out} cannot be written: {error.strerror}") from error
    with suppress(OSError):  # Windows lets nobody write there
        (out / ".lock").write_text(str(os.getpid()))
    try:
        _claim(run, out)
    except BaseException:
        lock.release()
        raise
    return lock


def holder(out: Path) -> str:
    """Which process trains in a folder, as far as it can be read."""
    with suppress(OSError, ValueError):
        return f"process {int((out / '.lock').read_text('utf-8'))}"
    return "another process"


def _claim(run: Run, out: Path) -> None:
    config, place = out / "config.json", find(run.base)
    about = {"hash": run.hash, **run.plain(), "settings": settings_of(run)}
    about |= {"weights": fingerprint(place) if place else "", "processes": distributed.world()}
    if config.exists():
        try:
            there = read_object(config)
        except ValueError as error:
            raise ValueError(f"{error}; choose another --out") from None
        mine = json.loads(json.dumps(about))
        other = [name for name in mine if differs(name, there, mine)]
        if there.get("hash") != run.hash or other:
            what = f" ({', '.join(other)})" if other else ""
            raise ValueError(f"{out} holds a run with other settings{what}; choose another --out")
        began = there.get("processes", distributed.world())
        if began != distributed.world() and not (out / "model").is_dir():
            raise ValueError(
                f"{out} was begun by {began} processes, not {distributed.world()}; "
                f"go on with {began}, or choose another --out"
            )
    else:
        write_whole(config, json.dumps(about, indent=1).encode())


def differs(name: str, there: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Whether a field of ``config.json`` is another one's, or damaged.

    A field that an older version did not write is as it is. Not looked at are the hash, which says
    nothing in words, where files lie, since the hash is of what they hold, and the number of
    processes, which does not matter to a run that is done.
    """
    if name not in there or name in ("hash", "data", "prompt", "processes"):
        return False
    if isinstance(mine[name], dict) and isinstance(there[name], dict):
        return any(differs(inner, there[name], mine[name]) for inner in mine[name])
    return bool(there[name] != mine[name])


def suspend(
    learner: Any, out: Path, trained: int, generated: int, signals: Sequence[float] = ()
) -> None:
    """Write a checkpoint from which ``resume`` goes on exactly.

    What is not in it follows from the run's seed and the step alone (``seeds.stream``): the
    order of the problems, the sampling of every answer, the order of the minibatches. Between two
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
    if not distributed.is_main():
        return
    # through a file of Python's, which says why it could not be written
    with whole(out / CHECKPOINT) as draft:
        with draft.open("wb") as file:
            torch.save(state, file)
        seal(draft)


def resume(learner: Any, out: Path, most: int = 0) -> tuple[int, int, list[float]]:
    """Load the checkpoint in ``out`` if there is one.

    Args:
        most: steps that the run has at most; 0: unknown.

    Returns:
        tokens trained and generated, and ``rl_step``'s signal since the last evaluation.

    Raises:
        ValueError: the checkpoint is damaged, or was written by a model of another base.
        OSError: it cannot be read.
        MemoryError, torch.OutOfMemoryError: there is no room for it.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return 0, 0, []
    advice = "delete it to start this run again"
    with damage_in_one_line(path, advice):
        if not distributed.broadcast(distributed.is_main() and is_sealed(path)):
            raise ValueError("it is cut off, or some bit has changed")
        # where a model is split, all processes read one large file: they share its pages
        shared = distributed.sharding()
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=shared)
        base = str(learner.model.name_or_path)
        other = state.get("base", base)
    if other != base:
        raise ValueError(f"{path} belongs to {other}, not to {base}; move it away")
    with damage_in_one_line(path, advice):
        own = adapters.trained(learner.model)
        counts = step, trained, generated = state["counts"]
        if any(type(n) is not int or n < 0 for n in counts) or 0 < most < step:
            raise ValueError(f"its counts are {counts}")
        weights = {name: distributed.split_like(t, own[name]) for name, t in state["model"].items()}
        adapters.restore(learner.model, weights)
        learner.value_head.load_state_dict(state["value_head"])
        order = [w for group in learner.optimizer.param_groups for w in group["params"]]
        for i, moments in state["optimizer"]["state"].items():
            for name, tensor in moments.items():
                moments[name] = distributed.split_like(tensor, order[i])
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.scaler.load_state_dict(state["scaler"])
        signals = [float(signal) for signal in state["signals"]]
    learner.step = step
    return trained, generated, signals
