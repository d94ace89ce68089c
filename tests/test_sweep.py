"""A sweep does what its file says, skips what is recorded, and loses nothing when it stops."""

import pytest
from conftest import made_up_row

from sftrl_lite.results import ledger, report
from sftrl_lite.runs import sweep
from sftrl_lite.runs.resume import folder_of
from sftrl_lite.runs.run_config import Run
from sftrl_lite.runs.sweep import missing, read_sweep

SHORT = """
[[short]]
seed = [0, 1]
method = "rl-ppo"
steps = 1
hands = 4
points = 1
splits = [["ood-rule"]]
final_episodes = 4
tries = 1
pass_samples = 0
curve_episodes = 2
"""


@pytest.fixture
def file(tmp_path):
    """Write a sweep file."""

    def write(text):
        path = tmp_path / "some.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def recorded(run, experiment):
    row = made_up_row(run.method, run.seed, 0, 0.5, experiment=experiment, split="id", metric="x")
    return ledger.Row(**{**vars(row), "config_hash": run.hash})


def test_lists_are_crossed_and_lists_in_lists_are_values(file):
    path = file(
        '[[a]]\nseed = [0, 1]\nmethod = ["sft", "rl-ppo"]\neval_tries = [[1, 5]]\ntflop = 1'
    )
    found = read_sweep(path)
    assert [(name, run.seed, run.method) for name, run in found] == [
        ("a", 0, "sft"),
        ("a", 0, "rl-ppo"),
        ("a", 1, "sft"),
        ("a", 1, "rl-ppo"),
    ]
    assert all(run.eval_tries == (1, 5) and type(run.tflop) is float for _, run in found)


def test_a_run_that_is_named_twice_is_done_once(file):
    assert len(read_sweep(file('[[a]]\nmethod = "sft"\n[[a]]\nmethod = ["sft", "sft-own"]'))) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[a]]\nmethod = "sft"\nsead = 1', ["[[a]]", "unknown key 'sead'", "seed"]),
        ("[[a]]\nseed = 1", ["names no method"]),
        ('[[a]]\nmethod = "dpo"', ["unknown method 'dpo'"]),
        ('[[a]]\nmethod = "sft"\nseed = "one"', ["seed is 'one'", "int"]),
        ('[[a]]\nmethod = "sft"\nskip_bad = 1', ["skip_bad is 1", "bool"]),
        ('[[a]]\nmethod = "sft"\nlr = -1.0', ["cannot be negative"]),
        ('[[a]]\nmethod = "sft"\nsplits = ["id"]', ["list in a list"]),
        ('[[a]]\nmethod = "sft"\nwarmup = 8', ["SFT before RL"]),
        ('[[a]]\nmethod = "sft"\nsplits = [["moon"]]', ["unknown split 'moon'"]),
        ('[a]\nmethod = "sft"', ["write [[a]]"]),
        ("method =", ["not TOML"]),
        ("a = " + "[" * 2_000 + "]" * 2_000, ["not TOML"]),
        ("a = " + "9" * 5_000, ["not TOML"]),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(file, text, words):
    with pytest.raises(ValueError) as caught:
        read_sweep(file(text))
    line = str(caught.value)
    assert "some.toml" in line and "\n" not in line
    assert all(word in line for word in words)


def test_the_mark_that_windows_writes_first_is_passed_over(file):
    assert len(read_sweep(file('\ufeff[[a]]\nmethod = "sft"'))) == 1


def test_recorded_runs_are_skipped(file, tmp_path):
    wanted = read_sweep(file(SHORT))
    ledger.append([recorded(wanted[0][1], "short")], tmp_path / "ledger.csv")
    assert missing(wanted, tmp_path / "ledger.csv") == wanted[1:]
    ledger.append([recorded(wanted[1][1], "another")], tmp_path / "ledger.csv")
    assert missing(wanted, tmp_path / "ledger.csv") == wanted[1:]  # under its own name


def test_runs_with_other_settings_are_not_mixed_in(file, tmp_path):
    ledger.append([recorded(Run("sft", seed=7), "short")], tmp_path / "ledger.csv")
    with pytest.raises(ValueError, match="1 runs of short with other settings"):
        missing(read_sweep(file(SHORT)), tmp_path / "ledger.csv")


def test_a_ledger_of_another_version_is_refused(file, tmp_path):
    (tmp_path / "ledger.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="another version"):
        missing(read_sweep(file(SHORT)), tmp_path / "ledger.csv")


def test_a_sweep_stops_and_goes_on(file, tmp_path, monkeypatch, quick_processes):
    path, record, runs = file(SHORT), tmp_path / "ledger.csv", tmp_path / "runs"
    wanted = read_sweep(path)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match=r"interrupted .0 of 2"):
        patch.setattr(sweep, "wait", interrupted)
        sweep.sweep(path, 1, record, runs)
    assert not record.exists()

    in_the_way = runs / folder_of(wanted[1][1], "short")
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("")
    with pytest.raises(RuntimeError, match=r"seed 1: .* cannot be written.* \(1 of 2"):
        sweep.sweep(path, 1, record, runs)
    in_the_way.unlink()

    assert sweep.sweep(path, 1, record, runs) == (2, 1)
    assert sweep.sweep(path, 1, record, runs) == (2, 0)
    assert set(ledger.read(record)["config_hash"]) == {run.hash for _, run in wanted}


def test_the_shipped_sweeps_name_every_recorded_run():
    named = {
        (experiment, run.hash)
        for path in report.SWEEPS.glob("*.toml")
        for experiment, run in read_sweep(path)
    }
    table = ledger.read()
    assert set(zip(table["experiment"], table["config_hash"], strict=True)) <= named


def test_recorded_runs_keep_their_hashes():
    """From the ledger: whoever changes what a hash is made of loses every recording."""
    recorded = set(ledger.read()["config_hash"])
    for name in ("gp-l", "gp-vl", "virl-l"):
        named = read_sweep(ledger.ROOT / "results" / "sweeps" / f"{name}.toml")
        assert {run.hash for _, run in named} <= recorded
