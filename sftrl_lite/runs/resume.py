"""The folder of a run: claimed by one process, interrupted and resumed to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from sftrl_lite.files import whole
from sftrl_lite.models import adapters
from sftrl_lite.models.checkpoints import find, fingerprint
from sftrl_lite.runs.run_config import Run, settings_of
from sftrl_lite.training import distributed

# --- the folder of a run ---------------------------------------------------------------


def folder_of(run: Run, experiment: str = "") -> str:
    """Name of the folder where a run lies unless another one is asked for."""
    return f"{experiment or run.method}-{run.scale.name}-seed{run.seed}-{run.hash}"


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
    about = {"hash": run.hash, **run.plain(), "settings": settings_of(run)}
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
