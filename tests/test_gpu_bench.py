"""The benchmark for GPUs, proved at tiny size on the CPU."""

import argparse
import csv
import subprocess
import sys
from dataclasses import replace

import pytest

from sftrl_lite import scales
from sftrl_lite.bench import gpu, gpu_work
from sftrl_lite.models import precision
from sftrl_lite.planning import estimates, plan
from sftrl_lite.planning.work import DEVICES, Work
from sftrl_lite.training import rollout_copy

SMALL = "--scale tiny --batch 2 --problems 1 --tokens 4 --longest 4 --rounds 1"


@pytest.mark.parametrize(("task", "adapter"), [("gp-l", "none"), ("gp-vl", "lora")])
def test_every_figure_is_measured(tmp_path, task, adapter, capsys, monkeypatch):
    monkeypatch.setenv(precision.PRETEND, "bf16")
    monkeypatch.setattr(gpu_work, "peaks", lambda: (1e12, 1e11))
    # as much memory as merging adapters asks for; the planned rollouts stay small
    roomy = lambda: replace(precision.hardware(), free=lambda: 2**40)  # noqa: E731
    monkeypatch.setattr(rollout_copy, "hardware", roomy)
    out = tmp_path / "gpu.csv"
    wanted = f"{SMALL} --task {task} --adapter {adapter}"
    gpu.main([*wanted.split(), "--out", str(out)])
    rows = list(csv.DictReader(out.open()))
    found = {row["name"]: float(row["value"]) for row in rows}
    names = {"SFT step", "SFT tokens", "RL step", "RL step, trl GRPOTrainer", "ours against trl"}
    names |= {"decode, dynamic cache", "decode, static cache", "rollout"}
    names |= {f"{mode} memory, planned" for mode in ("SFT", "RL", "EVAL")}
    names |= {"rollout, rows not refilled", "SFT share of peak FLOPs"}
    names |= {"decode, share of the bandwidth floor"}
    names |= {"rollout, adapters merged"} if adapter == "lora" else set()
    assert found.keys() == names  # memory is a GPU's
    assert all(value > 0 for value in found.values())
    assert {row["name"]: float(row["goal"]) for row in rows if row["goal"]} == gpu.GOALS
    assert all(row["device"] == "cpu as bf16 GPU" for row in rows)
    for row in rows:  # every option, so that the plan's table finds what was measured
        options = ("--scale tiny", f"--task {task}", f"--adapter {adapter}", "--vision frozen")
        assert all(option in row["command"] for option in options)
    assert "ours against trl" in capsys.readouterr().out


def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    command = [sys.executable, "-m", "sftrl_lite.bench.gpu", "--out", str(tmp_path / "gpu.csv")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 2 and not list(tmp_path.iterdir())
    assert told.stderr.startswith("error: no GPU here") and len(told.stderr.splitlines()) == 1


def test_what_does_not_fit_is_left_out(monkeypatch):
    """Nothing is loaded for an adapter of which no mode fits."""

    def planned(work, memory):
        assert memory == 14.6
        sizes = {"none": 170.0, "lora": 22.0, "qlora": 10.0}
        total = sizes[work.adapter] + 8 * (work.mode == "rl")
        return plan.Plan(work, {"weights": total}, 1, 1, 1, 1)

    monkeypatch.setattr(gpu, "here", lambda: 14.6)
    monkeypatch.setattr(gpu, "fitting", planned)
    options = dict(scale="full", task="gp-l", vision="frozen", max_image_tiles=0, longest=0)
    o, full = argparse.Namespace(**options, batch=2, problems=8, tokens=8), scales.get_scale("full")
    assert gpu.plans(o, full, "none") == {} == gpu.plans(o, full, "lora")
    assert gpu.plans(o, full, "qlora").keys() == {"sft", "eval"}
    assert not list(gpu.measure(o, "none"))


def test_a_failure_of_the_rival_loses_nothing(fresh_model, tokenizer, monkeypatch, capsys):
    def too_large(*args):
        raise RuntimeError("CUDA out of memory\nmore lines")

    monkeypatch.setattr(gpu_work, "make_trainer", too_large)
    settings = replace(
        scales.get_scale("tiny").rl, problems=1, samples=2, minibatch=2, method="rl-grpo"
    )
    work = Work("tiny", "gp-l")
    found = gpu_work.reinforcement(fresh_model, tokenizer, work, settings, 1)
    assert [name for name, _, _ in found] == ["RL step"]
    assert "trl GRPOTrainer: CUDA out of memory\n" in capsys.readouterr().err


def test_a_second_run_appends(tmp_path):
    for value in (1.0, 2.0):
        gpu.write([("RL step", value, "s")], "gpu_bench --scale tiny", tmp_path / "gpu.csv")
    lines = (tmp_path / "gpu.csv").read_text().splitlines()
    assert len(lines) == 3 and lines[0] == ",".join(gpu.COLUMNS)


def test_a_gpu_is_not_taken_for_another_whose_name_holds_its_own():
    known = {"NVIDIA A100-SXM4-80GB": "A100", "Tesla T4": "T4", "NVIDIA H100 80GB HBM3": "H100"}
    for name, sheet in known.items():
        assert estimates.sheet_of(name) == DEVICES[sheet]
    for other in ("NVIDIA L40S", "NVIDIA RTX A1000", "NVIDIA H2000", "cpu"):
        assert estimates.sheet_of(other) == (0.0, 0.0)


def test_shares_are_of_the_data_sheet(monkeypatch):
    monkeypatch.setattr(gpu_work, "device_name", lambda: "NVIDIA H200")
    assert gpu_work.peaks() == (989e12, 4.8e12)
    monkeypatch.setattr(gpu_work, "device_name", lambda: "a GPU of tomorrow")
    assert gpu_work.peaks() == (0.0, 0.0)
