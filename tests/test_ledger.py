"""What was measured is read as it was written, each value of its own kind."""

import dataclasses
import math
import os
import subprocess

import pandas as pd
import pytest
from conftest import made_up_row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sftrl_lite.results import ledger, report
from sftrl_lite.runs import sweep
from sftrl_lite.runs.run_config import Run

# Every line break that str.splitlines knows, and what a spreadsheet may take for something else
BREAKS = ["a\nb", "\n", "a\r", "a\r\nb", *(f"a{c}b" for c in "\v\f\x1c\x1d\x1e\x85\u2028\u2029")]
LIKE_NUMBERS = ["null", "#N/A", "1_000", " 1 ", "=1+1", "'", '"', '""', "\ufeffa", "\t", *BREAKS]
LIKE_NUMBERS += [
    "1e5",
    "0012",
    "12",
    "-0.5",
    "nan",
    "NA",
    "None",
    "inf",
    "",
    "True",
    "a,b",
    'a "b"',
]
TEXT = [name for name, kind in ledger.TYPES.items() if kind is str]


def row(**fields):
    usual = made_up_row("sft", 0, 1, 0.5, experiment="x", split="id", metric="success@5")
    return dataclasses.replace(usual, **fields)


def save(rows, path):
    path.write_bytes(ledger.text(rows).encode())


def back(path):
    return [ledger.Row(**line) for line in ledger.read(path).to_dict("records")]


@pytest.mark.parametrize("text", LIKE_NUMBERS)
@pytest.mark.parametrize("write", ["save", "append"])
def test_text_that_looks_like_a_number_stays_text(write, text, tmp_path):
    """Alone in its column, so that nothing else tells the reader that it is text."""
    assert {"commit", "config_hash", "decoding", "command"} < set(TEXT)
    wanted = [row(seed=seed, **dict.fromkeys(TEXT, text)) for seed in (0, 1)]
    path = tmp_path / "ledger.csv"
    if write == "save":
        save(wanted, path)
    else:
        for one in wanted:
            ledger.append([one], path)
    assert back(path) == wanted
    for one in back(path):
        kinds = {name: type(value) for name, value in dataclasses.asdict(one).items()}
        assert kinds == ledger.TYPES


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ANY, min_size=3))
def test_any_text_survives(tmp_path, texts):
    path = tmp_path / "ledger.csv"
    wanted = [row(experiment=x, seed=i, command=texts[i - 1]) for i, x in enumerate(texts)]
    save(wanted[:1], path)
    ledger.append([*wanted, wanted[-1]], path)
    assert back(path) == wanted


def test_a_last_line_without_its_end_stays_a_line_of_its_own(tmp_path):
    path = tmp_path / "ledger.csv"
    save([row()], path)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    ledger.append([row(), row(seed=1)], path)
    assert back(path) == [row(), row(seed=1)]


@pytest.mark.parametrize("left", [1, 40, 90])
def test_a_row_that_is_cut_off_is_damage(left, tmp_path):
    path = tmp_path / "ledger.csv"
    save([row(), row(seed=1)], path)
    last = path.read_bytes().splitlines()[-1]
    path.write_bytes(
        path.read_bytes().removesuffix(last + b"\n") + last[: min(left, len(last) // 2)]
    )
    before = path.read_bytes()
    for use in (lambda: ledger.read(path), lambda: ledger.append([row(seed=2)], path)):
        with pytest.raises(ValueError, match="is damaged: "):
            use()
    assert path.read_bytes() == before


def test_numbers_stay_numbers(tmp_path):
    path = tmp_path / "ledger.csv"
    save([row(value=math.nan, low=-math.inf, high=1.0, minutes=3.0), row(value=2.0)], path)
    first, second = back(path)
    assert math.isnan(first.value) and first.low == -math.inf and first.high == 1.0
    assert type(first.value) is type(second.value) is float and second.value == 2.0
    assert type(first.n) is type(first.seed) is type(first.step) is int
    table = ledger.read(path)
    assert table["value"].mean() == 2.0  # a number that is missing, no text
    assert pd.api.types.is_float_dtype(table["minutes"])


def test_an_empty_ledger_has_the_same_columns_and_kinds(tmp_path):
    path = tmp_path / "ledger.csv"
    none = ledger.read(path)
    save([row()], path)
    one = ledger.read(path)
    assert len(none) == 0 and list(none.columns) == list(one.columns) == ledger.COLUMNS
    assert none.dtypes.to_dict() == one.dtypes.to_dict()


@pytest.mark.parametrize(
    ("column", "value"), [("seed", "1.5"), ("n", ""), ("value", "much"), ("n", "9" * 30)]
)
def test_a_damaged_value_is_one_line(column, value, tmp_path):
    path = tmp_path / "ledger.csv"
    save([row(), row(seed=1)], path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(ValueError) as error:
        ledger.read(path)
    assert str(error.value).startswith(f"{path} is damaged: ") and "\n" not in str(error.value)


# --- which commit ----------------------------------------------------------------------


def git(at, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(
        ["git", "-C", at, *who, *words], env=clean, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def copy(tmp_path):
    """Make a folder with a copy of the package, in a repository that holds it if ``tracked``."""

    def make(name, tracked):
        top = tmp_path.resolve() / name
        (top / "sftrl_lite").mkdir(parents=True)
        (top / "results").mkdir()
        git(top, "init", "-q")
        (top / "README").write_text(name)
        if not tracked:
            git(top, "add", ".")
        for file in ("sftrl_lite/__init__.py", "results/ledger.csv"):
            (top / file).write_text(name)
        if tracked:
            git(top, "add", ".")
        git(top, "commit", "-q", "-m", name)
        return top

    return make


def test_the_commit_is_that_of_this_repository(copy, monkeypatch):
    here, other = copy("here", True), copy("other", True)
    monkeypatch.setattr(ledger, "ROOT", here)
    name = git(here, "rev-parse", "--short=7", "HEAD")
    assert ledger.commit() == name != git(other, "rev-parse", "--short=7", "HEAD")
    for variable in ("GIT_DIR", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(variable, str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert ledger.commit() == name
    (here / "results" / "ledger.csv").write_text("a row more")
    assert ledger.commit() == name
    (here / "sftrl_lite" / "__init__.py").write_text("changed")
    assert ledger.commit() == f"{name}+"


def test_there_is_no_commit_where_the_repository_belongs_to_others(copy, tmp_path, monkeypatch):
    top, around = copy("top", False), copy("around", True)
    monkeypatch.setattr(ledger, "ROOT", top)  # beside their files, and not among them
    assert git(top, "rev-parse", "HEAD") and ledger.commit() == ""
    inner = around / "vendor"
    (inner / "sftrl_lite").mkdir(parents=True)
    (inner / "sftrl_lite" / "__init__.py").touch()
    git(around, "add", ".")
    git(around, "commit", "-q", "-m", "vendored")
    monkeypatch.setattr(ledger, "ROOT", inner)
    assert ledger.commit() == ""
    monkeypatch.setattr(ledger, "ROOT", tmp_path / "nowhere")
    assert ledger.commit() == ""


@pytest.fixture
def old(tmp_path):
    """A ledger as it was before rows said how they were decoded."""
    path = tmp_path / "ledger.csv"
    save([row(experiment="headline")], path)
    pd.read_csv(path, dtype=str).drop(columns="decoding").to_csv(path, index=False)
    return path


def test_a_ledger_without_decodings_is_refused_and_left_alone(old, monkeypatch):
    """By everything that reads one, so that old and new numbers never meet."""
    before = old.read_bytes()
    wanted = [("headline", Run("sft"))]
    monkeypatch.setattr(ledger.read, "__defaults__", (old,))
    for use in (
        lambda: ledger.read(old),
        lambda: ledger.append([row()], old),
        lambda: sweep.missing(wanted, old),
        lambda: report.recorded("headline"),
        report.blocks,
        report.ledger_page,
    ):
        with pytest.raises(ValueError) as error:
            use()
        says = f"{old} is of another version: other columns; move it away"
        assert str(error.value) == says
    assert old.read_bytes() == before


def test_a_row_is_appended_once_and_another_decoding_is_another_row(tmp_path):
    path = tmp_path / "ledger.csv"
    rows = [row(decoding=way) for way in ("0.6/0.9", "0", "1")]
    for _ in range(2):
        ledger.append(rows, path)
    found = dict(minutes=9.0, commit="other", device="other")
    again = [dataclasses.replace(one, **found) for one in rows]
    ledger.append(again, path)  # the same run, done in another folder
    assert back(path) == rows
    before = path.read_bytes()
    with pytest.raises(ValueError) as error:
        ledger.append([dataclasses.replace(rows[1], value=0.75)], path)
    where = f"{rows[1].experiment}, configuration {rows[1].config_hash}"
    assert str(error.value) == f"{path} has other values of {where}; remove its rows first"
    assert path.read_bytes() == before
