"""Kill commands at random moments and compare what they end with: ``python tests/kills.py``.

Each command is done once undisturbed. Then it is started, killed by SIGKILL after a random share of
the work that takes and started again, until it ends, and again from the beginning, until there were
as many kills as asked for. Work is counted in seconds of a processor, so that moments are spread
alike on a busy machine. Rows, weights, best weights and ledger have to be those of the undisturbed
run. ``run`` and ``sweep`` train in processes of their own, which have to be gone soon after their
parent is killed.

It works in a copy of the package, with its own ledger, and is resumable itself: a second call with
the same ``--folder`` goes on. The runs are as short as they can be. Imports would be most of their
time: all processes are forked from one that has made them, the workers of a command as well.
"""

import argparse
import contextlib
import csv
import hashlib
import importlib
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).resolve().parents[1]
SFT, RL = dict(batch=8, hands=8), dict(problems=2, samples=2, minibatch=2, tries=2)
SHORT = "--steps 4 --hands 8 --points 4 --eval-episodes 4 --final-episodes 4 --pass-samples 0"
SWEEP = """
[[short]]
seed = [0, 1]
method = ["sft", "rl-ppo"]
steps = 2
hands = 8
points = 2
eval_episodes = 4
final_episodes = 4
pass_samples = 0
"""
COMMANDS = {
    "rl": f"rl {SHORT} --out runs/it --record",
    "sft": f"sft {SHORT} --out runs/it --record",
    "run": "run --out runs/headline",
    "sweep": "sweep short.toml --jobs 2",
}
PATIENCE, WAIT = 20.0, 600.0  # seconds of work and of time that workers of a killed parent have
MINUTES = {"minutes", "seconds"}  # columns that may differ
INIT = ("split", "metric", "decoding", "value", "n", "low", "high")  # what is used of Init's rows
IMPORTS = ["sftrl_lite.__main__", "sftrl_lite.runs.headline", "sftrl_lite.runs.sweep"]
IMPORTS += ["sftrl_lite.results.headline_figure", "transformers.models.mllama.modeling_mllama"]


def prepare(place: Path) -> None:
    """A copy of the package, with data and a ledger of its own, imported; at a scale of its own."""
    shutil.rmtree(place / "sftrl_lite", ignore_errors=True)
    shutil.copytree(ROOT / "sftrl_lite", place / "sftrl_lite")
    for name in ("data", "pyproject.toml"):
        if not (place / name).exists():
            (place / name).symlink_to(ROOT / name)
    (place / "short.toml").write_text(SWEEP)
    os.environ |= dict(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE")
    sys.path.insert(0, str(place))
    for name in IMPORTS:
        importlib.import_module(name)
    from sftrl_lite import scales
    from sftrl_lite.files import ROOT as imported

    assert imported == place.resolve(), f"{imported} is in the way"
    tiny = scales.SCALES["tiny"]
    parts = dict(sft=replace(tiny.sft, **SFT), rl=replace(tiny.rl, **RL))
    scales.SCALES["tiny"] = replace(tiny, tflop=0.004, eval_episodes=4, **parts)
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork


def clean(place: Path) -> None:
    """Before the first start."""
    for name in ("runs", "results"):
        shutil.rmtree(place / name, ignore_errors=True)
    (place / "results").mkdir()


def start(verb: str, place: Path, said: IO[str]) -> int:
    """The command, in a group of processes of its own; returns its number."""
    if number := os.fork():
        return number
    status = 1
    try:
        os.setsid()
        os.chdir(place)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said.fileno(), 2)
        sys.argv = ["sftrl_lite", *COMMANDS[verb].split()]
        sys.modules["sftrl_lite.__main__"].main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def outcome(place: Path) -> dict[str, object]:
    """All that has to be the same, by file: tables without times, sums of weights."""
    found: dict[str, object] = {}
    for path in sorted([*place.glob("runs/**/*"), place / "results" / "ledger.csv"]):
        name = str(path.relative_to(place))
        if path.suffix == ".csv" and path.is_file():
            with path.open(newline="") as file:
                rows = [
                    {k: v for k, v in r.items() if k not in MINUTES} for r in csv.DictReader(file)
                ]
            if path.name.startswith("init-"):  # Init, by the run that was there first
                rows = [{k: row[k] for k in INIT} for row in rows]
            # two workers record in any order
            found[name] = sorted(json.dumps(row) for row in rows)
        elif path.suffix == ".safetensors" or path.name == "best.json":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def gone(group: int) -> bool:
    """Whether all processes of a group end in time; what is left is killed."""
    begun, end = work(group), time.time() + WAIT
    while work(group) < begun + PATIENCE and time.time() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


def work(group: int) -> float:
    """Seconds of a processor that the living processes of a group took."""
    taken = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(process.pid) == group:
                taken += sum(process.cpu_times()[:2])
    return taken


def until_killed(verb: str, place: Path, seconds: float) -> tuple[int, bool, float]:
    """Start the command, kill it after some work.

    Returns:
        its status, whether nobody is left, and how much work was seen.
    """
    seen = 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        number = start(verb, place, said)
        while not (ended := os.waitpid(number, os.WNOHANG))[0]:
            if (now := work(number)) >= seconds:
                os.kill(number, signal.SIGKILL)
            seen = max(seen, now)
            time.sleep(0.05)
        status = os.waitstatus_to_exitcode(ended[1])
        if status not in (0, -signal.SIGKILL):
            said.seek(0)
            raise SystemExit(f"{verb} ended with {status}: {said.read()[-2000:]}")
    return status, gone(number), seen


def trial(verb: str, folder: Path, kills: int, rng: random.Random) -> dict[str, float]:
    """Figures of one command: kills, ends, ends that differed, kills that left workers behind."""
    note, place = folder / f"{verb}.json", folder / "course"
    clean(place)
    if note.exists():
        state, want = json.loads(note.read_text())
    else:
        *_, seconds = until_killed(verb, place, math.inf)
        state, want = (
            dict(seconds=round(seconds, 1), kills=0, ends=0, differ=0, left=0),
            outcome(place),
        )
        clean(place)
    while state["kills"] < kills or not state["ends"]:
        # one that goes on takes less than the whole
        share = math.inf if state["kills"] >= kills else rng.uniform(0.05, 0.7)
        status, alone, _ = until_killed(verb, place, share * state["seconds"])
        state["left"] += not alone
        if status:
            state["kills"] += 1
        else:
            state["ends"] += 1
            found = outcome(place)
            if other := [n for n in want.keys() | found if want.get(n) != found.get(n)]:
                state["differ"] += 1
                shutil.copytree(place / "runs", folder / f"{verb}-differs-{state['ends']}")
                print(f"{verb} ended with other {', '.join(sorted(other))}", flush=True)
            clean(place)
        note.write_text(json.dumps([state, want]))
        print(verb, state, flush=True)
    return state


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", choices=[*COMMANDS, []], default=[*COMMANDS])
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--folder", type=Path, default=Path("runs/kills"))
    given = parser.parse_args()
    (given.folder / "course").mkdir(parents=True, exist_ok=True)
    prepare(given.folder.resolve() / "course")
    wrong = 0
    for verb in given.commands:
        figures = trial(verb, given.folder.resolve(), given.kills, random.Random())
        wrong += figures["differ"] + figures["left"]
    sys.exit(bool(wrong))
