"""The command line: what it prints, and one clear line for what it refuses."""

import json
import re
import subprocess
import sys
from io import BytesIO, TextIOWrapper

import pytest

from sftrl_lite import __main__
from sftrl_lite.runs import evaluation, execute
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.runs.run_config import Run, command
from sftrl_lite.tasks.general_points import general_points

# What a shell reads as something else, in a name of a folder or an experiment
ODD = [" ", "  ", "'", '"', "$HOME", "`id`", "$(id)", "*", "; id #", "&", "~", "%", "!", "é"]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run ``python -m sftrl_lite ARGS`` in an empty folder; exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args, stdin=None):
        monkeypatch.setattr(sys, "argv", ["sftrl_lite", *args])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin), "cp1252"))
        try:
            __main__.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["rl", "--scale", "huge"], "unknown scale 'huge'; choose tiny, small, t4, full"),
        (["run", "--scale", "huge"], "unknown scale 'huge'; choose tiny, small, t4, full"),
        (["sft", "--experiment", "../x"], "'../x' is no name for an experiment"),
        (["sft", "--task", "chess"], "unknown task 'chess'; choose gp-l"),
        (["rl", "--method", "dpo"], "unknown method 'dpo'"),
        (["rl", "--method", "sft"], "unknown method 'sft'; choose rl-ppo, rl-grpo, rl-random"),
        (["rl", "--feedback", "loud"], "unknown feedback 'loud'"),
        (["rl", "--lr", "-1"], "lr is -1.0"),
        (["rl", "--tries", "-2"], "tries is -2"),
        (["plan", "--mode", "dream"], "unknown mode 'dream'; choose sft, rl, eval"),
        (["plan", "--prompt-tokens", "-1"], "counts are positive"),
        (["sft", "--base", "data/missing"], "data/missing: no checkpoint here"),
        (["eval", "--splits", "tarot"], "unknown split 'tarot'"),
        (["eval", "--splits", "ood-visual"], "unknown split 'ood-visual'; choose train, id"),
        (["eval", "--task", "gp-vl", "--model", "data/tiny-gp-l"], "was made for task gp-l"),
        (["sft", "--task", "gp-l", "--base", "data/tiny-gp-vl"], "was made for task gp-vl"),
        (["eval", "--task", "chess"], "unknown task 'chess'"),
        (["rl", "--eval-tries", "one"], "eval-tries"),
        (["rl", "--eval-temperature", "11"], "temperature is 11; it has to lie between 0 and 10"),
        (["sft", "--eval-temperature", "-1"], "eval_temperature is -1.0; it cannot be negative"),
        (["sft", "--eval-top-p", "1.5"], "top_p is 1.5; it has to be above 0 and at most 1"),
        (["rl", "--eval-top-p", "0"], "top_p is 0; it has to be above 0 and at most 1"),
        (["eval", "--eval-temperature", "-1"], "temperature is -1; it has to lie between"),
        (["eval", "--eval-top-p", "0"], "top_p is 0; it has to be above 0 and at most 1"),
        (["rl", "--temperature", "12"], "temperature is 12; it has to lie between 0 and 10"),
        (["sft", "--temperature", "1"], "SFT does not sample while it trains"),
        (["rl", "--fresh"], "fresh is True, but there are no warm-up steps"),
        (["rl", "--curve-episodes", "-1"], "curve_episodes is -1; it cannot be negative"),
        (["rl", "--eval-tries", "0"], "eval_tries holds 0; a budget is at least 1"),
        (["sft", "--eval-tries", "5,-1"], "eval_tries holds -1; a budget is at least 1"),
        (["rl", "--tflop", "nan"], "tflop is nan; it has to be a finite number"),
        (["sft", "--tflop", "inf"], "tflop is inf; it has to be a finite number"),
        (["rl", "--lr", "nan"], "lr is nan; it has to be a finite number"),
        (["init", "--success", "nan"], "success and format_error are shares, 0 to 1"),
        (["eval", "--tries", "-1"], "--tries and --episodes cannot be negative"),
        (["eval", "--episodes", "-5"], "--tries and --episodes cannot be negative"),
    ],
)
def test_bad_values_are_one_line(call, args, says):
    status, _, err = call(*args)
    assert status == 2
    assert says in err
    lines = [ln for ln in err.replace("\r", "\n").splitlines() if ln and "|" not in ln]  # no bars
    assert len(lines) == 1 and lines[0].startswith("error: ")


def test_a_training_ends_with_a_table_of_what_it_measured(call):
    few = ("--final-episodes", "4", "--curve-episodes", "0", "--pass-samples", "0")
    how = ("--steps", "1", "--points", "1", "--hands", "4", *few)
    status, told, _ = call("sft", *how, "--eval-temperature", "0", "--splits", "train,ood-rule")
    assert status == 0
    table = told[told.index("success") :]
    assert "ood-rule" in table and "train" in table
    for who in ("Init", "SFT"):
        assert re.search(rf"^{who} +\S+ \[\S+, \S+\] +\S+ \[", table, re.M), table


def test_the_training_split_is_measured_on_training_hands(call, monkeypatch):
    asked = []

    def noted(model, processor, task, problems, **_):
        asked.append(problems)
        return {}, []

    monkeypatch.setattr(evaluation, "evaluate", noted)
    assert call("eval", "--splits", "train,id", "--episodes", "20")[0] == 0
    known, new = (general_points(split) for split in ("train", "id"))
    assert asked == [train_hands(known, 20, 0), held_out(new, 20, 0)]


def test_unknown_flag_and_command(call):
    assert call("rl", "--colour", "red")[0] == 2
    assert "--colour" in call("rl", "--colour", "red")[2]
    assert call("paint")[0] == 2


def test_full_scale_without_a_gpu_says_so(call):
    status, _, err = call("rl", "--scale", "full", "--base", "init")
    assert status == 2
    assert "needs a CUDA GPU" in err or "could not be downloaded" in err


def test_unwritable_output(call, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    status, _, err = call("sft", "--out", "taken")
    assert status == 2
    assert "taken cannot be written" in err
    assert (tmp_path / "taken").read_text() == "a file, not a folder"


def test_verify_judges_line_by_line(call):
    good = {"cards": ["A", "5", "J", "K"], "rule": "10"}
    lines = [
        json.dumps(good | {"answer": '{"formula": "5+10+10−1=24"}'}, ensure_ascii=False),
        "not json",
        json.dumps(good | {"answer": '{"formula": "5+11+10-2=24"}'}),
        json.dumps(good | {"rule": "11-12-13", "answer": '{"formula": "(5+11-1)*13"}'}),
    ]
    status, out, _ = call("verify", stdin="\n".join(lines).encode())
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert verdicts[0] == {
        "solved": True,
        "kind": "solved",
        "reward": 5.0,
        "message": "Correct solution.",
    }
    assert verdicts[1] == {"error": "line 2: not JSON"}
    assert [v["kind"] for v in verdicts[2:]] == ["wrong_numbers", "wrong_value"]


def test_verify_feedback_modes(call):
    line = json.dumps({"cards": ["A", "5", "J", "K"], "rule": "10", "answer": "24"})
    status, out, _ = call("verify", "--feedback", "none", stdin=line.encode())
    assert json.loads(out)["message"] == ""
    status, _, err = call("verify", "--feedback", "loud", stdin=line.encode())
    assert status == 2 and "unknown feedback" in err


def test_verify_says_that_standard_input_is_closed(call, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # so it is after <&-
    status, out, err = call("verify")
    assert status == 2 and not out and err.startswith("error: standard input is closed; give it")
    assert len(err.splitlines()) == 1


def test_a_plan_is_a_table_and_says_what_is_missing(call):
    status, out, err = call("plan", "--memory", "0.5", "--batch", "4")
    assert status == 0 and not err
    for part in ("weights", "gradients", "optimizer", "activations", "logits", "at most at once"):
        assert f"\n{part}" in out
    assert "smallest GPU that fits: T4" in out
    assert "this GPU is too small: sft with adapter none needs 1." in out.splitlines()[-1]


@pytest.mark.parametrize(
    "made",
    [
        Run("sft"),
        Run("sft", eval_temperature=1.0, eval_top_p=1.0, curve_episodes=0, pass_samples=0),
        Run("rl-grpo", warmup=2, fresh=True, temperature=0.5, splits=("id",), eval_tries=(1, 5)),
        Run("rl-random", task="virl-vl", final_episodes=7, eval_temperature=0.0),
        *(Run("sft", base=f"models/a{odd}b") for odd in ODD),
    ],
)
def test_a_recorded_command_makes_the_same_run(made, call, monkeypatch):
    """Read by a shell, whatever stands in it."""
    name = made.base.removeprefix("models/") or "tried"
    found = []

    def train(run, *args, **options):
        found.append((run, options["experiment"]))
        raise SystemExit(0)

    monkeypatch.setattr(execute, "train", train)
    tell = "python() { for word; do printf '%s\\0' \"$word\"; done; }\n"
    told = subprocess.run(
        ["sh", "-c", tell + command(made.filled(), name)], capture_output=True, check=True
    )
    assert not told.stderr
    dash_m, module, *args = told.stdout.decode().split("\0")[:-1]
    assert (dash_m, module) == ("-m", "sftrl_lite")
    assert call(*args)[0] == 0
    ((run, experiment),) = found
    assert run.filled() == made.filled() and run.hash == made.hash and experiment == name
