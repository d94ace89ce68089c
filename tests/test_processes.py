"""Processes end when they should, with one line; numbers do not depend on their threads."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import small_scale
from kills import gone, outcome
from test_distributed import launch

from sftrl_lite.files import ROOT
from sftrl_lite.models import loading
from sftrl_lite.processes import INTERRUPTED, Interrupted, interruptible, one_line
from sftrl_lite.results import ledger
from sftrl_lite.runs import sweep
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.recorder import read_rows
from sftrl_lite.runs.resume import claim, folder_of
from sftrl_lite.runs.run_config import Run

FEW = dict(problems=2, samples=2, minibatch=2, max_new_tokens=4)
FIELDS = dict(
    scale=small_scale(sft=dict(batch=4), rl=FEW),
    seed=1,
    steps=4,
    tries=1,
    hands=4,
    points=4,
    eval_episodes=2,
    final_episodes=2,
)
FIELDS |= dict(pass_samples=0, curve_episodes=2, splits=("id",))


# --- signals ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_is_one_line(number, capsys):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop, one_line():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert stop.value.code == 128 + number
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"
    assert signal.getsignal(number) == before


HOOK = """
import os, sys

left, begun = {left}, False

def count(event, args):
    global left, begun
    if event == "import":
        begun = begun or args[0] == "typer"  # the first of all that the command line needs
        left -= begun
        if begun and left == 0:
            os.kill(os.getpid(), {number})

sys.addaudithook(count)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("imports", [1, 30, 300, 1000, 2000])
def test_a_command_that_still_imports_is_interrupted_in_one_line(imports, number, tmp_path):
    """From the first second on, and in libraries that it needs later."""
    (tmp_path / "sitecustomize.py").write_text(HOOK.format(left=imports, number=int(number)))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    words = [sys.executable, "-m", "sftrl_lite", "rl", "--out", str(tmp_path / "r")]
    done = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"{INTERRUPTED}\n")
    assert not (tmp_path / "r").exists()


def test_no_except_takes_an_interrupt_for_an_error():
    with pytest.raises(Interrupted), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Exception:
            pytest.fail("taken for an error")


WAITER = """
import multiprocessing, sys, time
from sftrl_lite.processes import deaf, one_line, serve

def work():
    serve()
    print("ready", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    with one_line():
        with deaf():
            worker = multiprocessing.get_context("spawn").Process(target=work, daemon=True)
            worker.start()
        worker.join()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("all_of_them", [False, True])
def test_workers_end_with_their_parent(number, all_of_them, tmp_path):
    """Ctrl-C reaches a parent and its workers alike; other signals the parent alone."""
    (tmp_path / "waiter.py").write_text(WAITER)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "waiter.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout.readline() == "ready\n"
    (os.killpg if all_of_them else os.kill)(parent.pid, number)
    _, said = parent.communicate(timeout=60)
    assert gone(parent.pid)
    assert said == ("" if number == signal.SIGKILL else f"{INTERRUPTED}\n")


# --- busy folders ----------------------------------------------------------------------


def test_a_sweep_goes_on_past_a_busy_folder(base, tmp_path, quick_processes):
    path, record, runs = tmp_path / "s.toml", tmp_path / "l.csv", tmp_path / "runs"
    path.write_text(
        f'[[a]]\nmethod = "sft"\nseed = [0, 1]\nbase = "{base}"\nsteps = 1\nhands = 4\npoints = 1\n'
        "eval_episodes = 1\nfinal_episodes = 1\ncurve_episodes = 0\npass_samples = 0\n"
        "splits = [['id']]\n"
    )
    (_, first), (_, second) = sweep.read_sweep(path)
    taken = runs / folder_of(first, "a")
    says = rf"in use by process {os.getpid()};.* \(1 of 2 runs are recorded; the same command"
    with claim(first.filled(), taken), pytest.raises(RuntimeError, match=says):
        sweep.sweep(path, 1, record, runs)
    assert set(ledger.read(record)["config_hash"]) == {second.hash}
    assert sweep.sweep(path, 1, record, runs) == (2, 1)


# --- numbers that are none -------------------------------------------------------------


@pytest.mark.parametrize("method", ["rl-ppo", "sft", "sft-kl"])
def test_a_run_that_diverges_stops_and_keeps_what_was_good(method, base, tmp_path):
    run = Run(method, base=str(base), lr=1e30, **FIELDS)
    with pytest.raises(RuntimeError, match=r"^step [12]: the (loss|weights|logits) ") as caught:
        train(run, tmp_path / "r", anyway=True)
    assert "\n" not in str(caught.value)
    assert {row.step for row in read_rows(tmp_path / "r")} <= {0, 1}
    assert not (tmp_path / "r" / "model").exists()


def diverge(base, folder):
    for method in ("rl-ppo", "sft"):
        run = Run(method, base=str(base), lr=1e30, **FIELDS)
        with pytest.raises(RuntimeError, match=r"^step [12]: the "):
            train(run, Path(folder) / method, anyway=True)


def test_several_processes_stop_alike(base, tmp_path):
    launch(diverge, 2, str(base), str(tmp_path))


def test_a_model_that_gives_no_numbers_is_refused(fresh_model, tokenizer, tmp_path):
    with torch.no_grad():
        fresh_model.lm_head.weight.fill_(3e38)  # finite; what it computes is not
    loading.save(fresh_model, tokenizer, tmp_path / "m")
    with pytest.raises(RuntimeError, match=r"^step 0: the logits"):
        train(Run("rl-ppo", base=str(tmp_path / "m"), **FIELDS), tmp_path / "r", anyway=True)


# --- threads ---------------------------------------------------------------------------


def test_the_numbers_of_a_tiny_run_do_not_depend_on_threads(tmp_path):
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            for method in ("rl-ppo", "sft"):
                rows = train(Run(method, **FIELDS), tmp_path / f"{threads}" / method, anyway=True)
                found[threads, method] = [dataclasses.replace(row, minutes=0) for row in rows]
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    assert found[1, "sft"] == found[2, "sft"] and found[1, "rl-ppo"] == found[2, "rl-ppo"]


# --- the whole of it, by the tool that kills -------------------------------------------


def test_what_the_tool_compares(tmp_path):
    """It would see another weight, another row, and a missing file."""
    run = tmp_path / "runs" / "it" / "model"
    run.mkdir(parents=True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ledger.csv").write_text("a,minutes\n1,2\n")
    (run / "model.safetensors").write_bytes(b"x")
    want = outcome(tmp_path)
    (tmp_path / "results" / "ledger.csv").write_text("a,minutes\n1,3\n")
    assert outcome(tmp_path) == want
    (tmp_path / "results" / "ledger.csv").write_text("a,minutes\n2,2\n")
    assert outcome(tmp_path) != want
    (tmp_path / "results" / "ledger.csv").write_text("a,minutes\n1,2\n")
    (run / "model.safetensors").write_bytes(b"y")
    assert outcome(tmp_path) != want
