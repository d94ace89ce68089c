"""Killed, or out of room on the disk: a run loses nothing and ends with the same numbers.

The runs here are processes of their own and die by SIGKILL, as they would on a machine that is
switched off: no ``finally`` runs, no file is closed.
"""

import csv
import dataclasses
import errno
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path

import pytest
import torch
from conftest import forked_processes, made_up_row, small_scale

from sftrl_lite.files import full_disk_in_one_line
from sftrl_lite.models import loading
from sftrl_lite.results import ledger
from sftrl_lite.runs import execute
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.recorder import Recorder, read_rows
from sftrl_lite.runs.run_config import Run

processes = forked_processes()

FEW = dict(problems=2, samples=2, minibatch=2, max_new_tokens=5)
FIELDS = dict(scale=small_scale(sft=dict(batch=4), rl=FEW))
FIELDS |= dict(seed=1, steps=3, tries=2, hands=6, points=3, eval_episodes=2, final_episodes=2)
FIELDS |= dict(curve_episodes=2, pass_samples=2)
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


def play(run, out, record, die_at=0, largest_file=0):
    """Do the run in this process; be killed at the ``die_at``-th touch of a file in ``out``."""
    torch.set_num_threads(1)
    touched = 0

    def count(event, args):
        nonlocal touched
        if event in FILE_EVENTS and args and str(args[0]).startswith(str(out.parent)):
            touched += 1
            if touched == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    if die_at:
        sys.addaudithook(count)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    try:
        train(run, out, record=record, anyway=True)
    except OSError as error:
        (out.parent / "said").write_text(str(error))
        sys.exit(2)


def start(*args, seconds=None, **options):
    """``play`` in a process of its own, killed after some seconds; its exit status."""
    process = processes.Process(target=play, args=args, kwargs=options)
    process.start()
    process.join(seconds)
    process.kill()  # nothing happens to one that has ended
    process.join()
    return process.exitcode


def outcome(folder):
    """All that must be the same: rows but for minutes, weights, the best weights, the ledger."""
    out = folder / "run"
    rows = [dataclasses.replace(row, minutes=0.0) for row in read_rows(out)]
    weights = [(out / name / "model.safetensors").read_bytes() for name in ("model", "best")]
    recorded = [r.drop("minutes").to_dict() for _, r in ledger.read(folder / "l.csv").iterrows()]
    files = sorted(path.name for path in out.iterdir() if path.name != ".lock")
    with (out / "steps.csv").open() as file:
        steps = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    return rows, steps, weights, (out / "best.json").read_text(), recorded, files


# files that a run touches up to its first checkpoint, and some more
@pytest.mark.parametrize(("method", "touches"), [("rl-ppo", 130), ("sft", 200)])
def test_a_run_killed_at_random_moments_ends_the_same(method, touches, base, tmp_path):
    run = Run(method, base=str(base), splits=("id",), **FIELDS)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(run, whole / "run", whole / "l.csv") == 0
    want = outcome(whole)
    kept = ["config.json", "model", "rows.csv", "rows.sha256", "steps.csv", "steps.sha256"]
    assert want[-1] == ["best", "best.json", *kept]
    assert len(want[4]) == len(want[0])

    rng, ends = random.Random(method), []
    while 0 not in ends:
        ends.append(start(run, cut / "run", cut / "l.csv", die_at=rng.randint(1, touches)))
    assert set(ends) == {0, -signal.SIGKILL} and len(ends) > 2
    assert outcome(cut) == want


def test_the_weights_that_solve_most_in_distribution_are_kept(base, tmp_path, monkeypatch):
    solved = {0: 0.9, 1: 0.2, 2: 0.5, 3: 0.5}  # Init does not count, the first of equals does

    def at(self, step, *args, **options):
        of = dict(experiment="x", metric="success@2")
        values = {"id": solved[step], "ood-rule": 1.0 - solved[step]}
        return [
            made_up_row("rl", 0, 0, v, split=s, **of | {"step": step}) for s, v in values.items()
        ]

    monkeypatch.setattr(Recorder, "at", at)
    seen = {}
    monkeypatch.setattr(
        execute, "suspend", lambda learner, *args: seen.update({learner.step: copy_of(learner)})
    )
    train(Run("rl-ppo", base=str(base), **FIELDS), tmp_path)
    said = json.loads((tmp_path / "best.json").read_text())
    assert said == {"step": 2, "split": "id", "metric": "success@2", "value": 0.5}
    best = loading.load(tmp_path / "best")[0].state_dict()
    assert all(torch.equal(weight, seen[2][name]) for name, weight in best.items())
    assert not all(torch.equal(weight, seen[3][name]) for name, weight in best.items())


def copy_of(learner):
    return {name: weight.clone() for name, weight in learner.model.state_dict().items()}


@pytest.mark.parametrize("method", ["rl-ppo", "sft"])
def test_a_full_disk_is_one_line_and_loses_nothing(method, base, tmp_path):
    """No file may grow beyond 30 kB: rows can be written, weights cannot."""
    run = Run(method, base=str(base), splits=("id",), **FIELDS)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(run, cut / "run", cut / "l.csv", largest_file=30_000) == 2
    said = (cut / "said").read_text()
    assert "no room left on the disk; what was done stays" in said and "\n" not in said
    assert {row.step for row in read_rows(cut / "run")} == {0, 1}  # measured, and kept
    assert not list((cut / "run").rglob("*.part"))  # no half file takes the room that is left
    for folder in (cut, whole):
        assert start(run, folder / "run", folder / "l.csv") == 0
    assert outcome(cut) == outcome(whole)


def test_a_ledger_is_whole_when_the_disk_is_full(tmp_path, monkeypatch):
    path, of = tmp_path / "ledger.csv", dict(experiment="x", split="id", metric="success")
    ledger.append([made_up_row("sft", 0, 0, 0.5, **of)], path)
    before = path.read_bytes()

    def full(self, *args, **kwargs):
        self.write_bytes(before[: len(before) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_text", full)
        ledger.append([made_up_row("sft", 0, 1, 0.6, **of)], path)
    assert path.read_bytes() == before
    for _ in range(2):  # a resumed run records again
        ledger.append([made_up_row("sft", 0, 1, 0.6, **of)], path)
    assert len(ledger.read(path)) == 2
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == ["ledger.csv"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    ],
)
def test_other_names_of_a_full_disk(error):
    with pytest.raises(OSError, match="here: no room left"), full_disk_in_one_line(Path("here")):
        raise error


def test_other_errors_pass(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), full_disk_in_one_line(tmp_path):
        raise RuntimeError("out of memory")
