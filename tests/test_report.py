"""Pages and figure say what the ledger says."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_row

from sftrl_lite import ledger, plots, report
from sftrl_lite.runs import Run


def rows(method, tries, seed, values, experiment="headline", split="ood-rule", metric="success"):
    """Evaluations of one made-up run, steps 0, 10, 20, ..."""
    return [
        made_up_row(
            method, seed, i, value, split=split, metric=metric, experiment=experiment, tries=tries
        )
        for i, value in enumerate(values)
    ]


def test_pages_are_up_to_date():
    content, marks = report.blocks(), []
    for page in report.PAGES:
        text = page.read_text()
        assert report.fill(text, content) == text, "run: python -m sftrl_lite report"
        marks += re.findall("<!-- ([a-z-]+):begin -->", text)
    assert sorted(marks) == sorted(content)  # each stands somewhere, and once


def test_the_ledgers_page_is_up_to_date():
    assert report.LEDGER_PAGE.read_text() == report.ledger_page(), (
        "run: python -m sftrl_lite report"
    )


def test_the_ledgers_page_tells_what_was_run(monkeypatch):
    made = rows("sft", 5, 1, [0.1, 0.2]) + rows("sft", 5, 0, [0.1, 0.2, 0.3])
    words = "python -m sftrl_lite sft --seed {} --lr 0.1"
    table = pd.DataFrame(made)
    table["command"] = table["seed"].map(words.format)
    table["config_hash"] = table["seed"].map("hash{}".format)
    table["minutes"] = [1.0, 2.0, 1.0, 2.0, 4.5]
    monkeypatch.setattr(report.ledger, "read", lambda: table)
    page = report.ledger_page()
    assert "5\nmeasured values of 2 runs" in page
    assert "| `python -m sftrl_lite sft --lr 0.1` | 0, 1 | 5 | 6.5 | cpu | x |" in page


def test_every_recorded_row_is_complete():
    table = ledger.read()
    assert not table.duplicated(
        ["experiment", "method", "seed", "step", "split", "metric", "tries", "config_hash"]
    ).any()
    shares = table[
        ~table["metric"].isin(["kl", "kl_init", "entropy", "flops_paper", "flops_cache"])
    ]
    assert shares["value"].between(0, 1).all()
    assert (table["low"] <= table["value"] + 1e-6).all()
    assert (table["high"] >= table["value"] - 1e-6).all()
    assert table["command"].str.startswith("python -m sftrl_lite ").all()


def test_the_headline_has_three_seeds_and_a_thousand_episodes():
    table = ledger.read()
    for method in ("sft", "rl-ppo"):
        part = table[(table["experiment"] == "headline") & (table["method"] == method)]
        assert part["seed"].nunique() >= 3
        ends = plots.with_points(part)
        ends = ends[ends["point"].isin([0, ends["point"].max()])]
        success = ends[(ends["metric"] == "success") & (ends["split"] != "train")]
        assert (success["n"] >= 1000).all()


def test_difference_is_paired_by_seed():
    table = pd.DataFrame(
        [
            row
            for seed, (sft, rl) in enumerate([(0.1, 0.3), (0.2, 0.4), (0.3, 0.5)])
            for method, end in (("sft", sft), ("rl-ppo", rl))
            for row in rows(method, 5, seed, [0.2, end])
        ]
    )
    gap, low, high = report.difference(table, "ood-rule", "rl-ppo", "sft")
    assert gap == pytest.approx(20) and low == pytest.approx(20) and high == pytest.approx(20)
    gap, low, high = report.difference(table, "ood-rule", "sft", "init")
    assert gap == pytest.approx(0) and low < -20 and high > 20


def test_over_seeds_uses_student_for_several_and_wilson_for_one():
    one = plots.over_seeds(pd.DataFrame(rows("sft", 5, 0, [0.2, 0.4])))
    assert one["low"].tolist() == pytest.approx([0.1, 0.3])
    values = [0.1, 0.2, 0.6]
    several = pd.DataFrame([r for s, v in enumerate(values) for r in rows("sft", 5, s, [v])])
    found = plots.over_seeds(several).iloc[0]
    half = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)
    assert found["mean"] == pytest.approx(0.3)
    assert found["high"] == pytest.approx(0.3 + half, rel=1e-5)
    assert found["seeds"] == 3 and found["n"] == 300


def test_runs_of_different_length_are_compared_by_point():
    table = pd.DataFrame(rows("sft", 5, 0, [0, 0.1, 0.2]) + rows("rl-ppo", 5, 0, [0, 0.3, 0.4]))
    table.loc[table["method"] == "rl-ppo", "step"] = [0, 3, 7]
    assert plots.with_points(table)["point"].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("text", ["<!-- a:begin -->", "<!-- b:begin --><!-- b:end -->"])
def test_missing_marks_are_named(text):
    with pytest.raises(ValueError, match=r"has lost its mark|nothing is called b"):
        report.fill(text, {"a": "word"})


def test_every_recorded_command_names_its_run():
    kinds = {"int": int, "float": float, "str": str}
    table = ledger.read()
    for config_hash, part in table.groupby("config_hash"):
        words = shlex.split(part["command"].iloc[0])[4:]
        options = {k[2:].replace("-", "_"): v for k, v in zip(words[::2], words[1::2], strict=True)}
        assert options.pop("experiment") == part["experiment"].iloc[0]
        fields = {}
        for name, value in options.items():
            kind = kinds.get(Run.__dataclass_fields__[name].type)
            numbers = name == "eval_tries"
            several = tuple(int(v) if numbers else v for v in value.split(","))
            fields[name] = kind(value) if kind else several
        assert Run(**fields).hash == config_hash
