"""Several runs side by side: at once on a CPU, in turn on a GPU."""

import queue
import threading
import time

import pytest

from sftrl_lite.models import precision
from sftrl_lite.runs import headline
from sftrl_lite.runs.run_config import Run


class Thread(threading.Thread):
    """Stands for a process: started or not, alive or not."""

    def __init__(self, target, args, daemon):
        super().__init__(target=target, args=args, daemon=daemon)

    @property
    def pid(self):
        return self.ident

    def terminate(self):
        """Threads end by themselves."""


class Context:
    """Stands for multiprocessing's."""

    Process, Queue = Thread, queue.Queue


@pytest.fixture
def noted(monkeypatch):
    """What was begun and ended, in its order; no training takes place."""
    found = []

    def train(run, out, **others):
        found.append(f"{run.method} begins")
        time.sleep(0.3)  # starting a thread may take a while
        if run.seed == 13:
            raise ValueError("bad luck")
        found.append(f"{run.method} ends")

    monkeypatch.setattr(headline, "train", train)
    monkeypatch.setattr(headline.multiprocessing, "get_context", lambda kind: Context)
    monkeypatch.setattr(headline.ledger, "read", lambda path: headline.pd.DataFrame({"at": [path]}))
    return found


RUNS = {"a": Run("sft"), "b": Run("rl-ppo"), "c": Run("rl-grpo")}


def test_a_cpu_takes_all_runs_at_once(noted, tmp_path):
    table = headline.side_by_side(RUNS, tmp_path)
    assert sorted(noted[:3]) == ["rl-grpo begins", "rl-ppo begins", "sft begins"]
    assert [path.parent.name for path in table["at"]] == ["a", "b", "c"]


def test_a_gpu_takes_them_in_turn(noted, tmp_path, monkeypatch):
    """Two runs of a large model may not fit into one card's memory."""
    monkeypatch.setenv(precision.PRETEND, "bf16")
    headline.side_by_side(RUNS, tmp_path)
    order = [f"{run.method} {what}" for run in RUNS.values() for what in ("begins", "ends")]
    assert noted == order


@pytest.mark.parametrize("pretended", ["", "bf16"])
def test_a_failed_run_is_named_and_ends_the_others(noted, tmp_path, monkeypatch, pretended):
    monkeypatch.setenv(precision.PRETEND, pretended)
    runs = {"good": Run("sft"), "bad": Run("rl-ppo", seed=13), "later": Run("rl-grpo")}
    with pytest.raises(RuntimeError, match="bad: bad luck"):
        headline.side_by_side(runs, tmp_path)
    assert ("rl-grpo begins" in noted) == (not pretended)


def test_what_cannot_begin_is_said_before_a_process_is_started(monkeypatch, tmp_path):
    monkeypatch.setattr(headline.multiprocessing, "get_context", None)
    with pytest.raises(ValueError, match="there is no Init of full for gp-l; make it first"):
        headline.headline(scale="full", out=tmp_path)
