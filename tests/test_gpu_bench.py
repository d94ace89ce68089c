"""The benchmark for GPUs, proved at tiny size on the CPU."""

import csv

import pytest

from sftrl_lite import gpu_bench


@pytest.mark.parametrize(("task", "adapter"), [("gp-l", "none"), ("gp-vl", "lora")])
def test_every_figure_is_measured(tmp_path, task, adapter, capsys):
    out = tmp_path / "gpu.csv"
    small = ["--scale", "tiny", "--batch", "2", "--problems", "1", "--tokens", "4", "--rounds", "1"]
    command = [*small, "--task", task, "--adapter", adapter, "--out", str(out)]
    gpu_bench.main(command)
    rows = list(csv.DictReader(out.open()))
    found = {row["name"]: float(row["value"]) for row in rows}
    wanted = {"SFT step", "SFT tokens", "RL step", "RL step, trl GRPOTrainer", "ours against trl"}
    wanted |= {"decode, dynamic cache", "decode, static cache", "SFT memory, planned"}
    assert found.keys() == wanted  # memory and shares of a peak are a GPU's
    assert all(value > 0 for value in found.values())
    assert all(row["command"].endswith(" ".join(command)) and row["device"] for row in rows)
    assert "ours against trl" in capsys.readouterr().out


def test_a_second_run_appends(tmp_path):
    for value in (1.0, 2.0):
        gpu_bench.write([("RL step", value, "s")], ["--scale", "tiny"], tmp_path / "gpu.csv")
    lines = (tmp_path / "gpu.csv").read_text().splitlines()
    assert len(lines) == 3 and lines[0] == ",".join(gpu_bench.COLUMNS)


def test_shares_are_of_the_data_sheet(monkeypatch):
    monkeypatch.setattr(gpu_bench, "device_name", lambda: "NVIDIA H200")
    assert gpu_bench.peaks() == (989e12, 4.8e12)
    monkeypatch.setattr(gpu_bench, "device_name", lambda: "a GPU of tomorrow")
    assert gpu_bench.peaks() == (0.0, 0.0)
