"""Pages and figures say what the ledger says."""

import re
import shlex

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import made_up_row

from sftrl_lite.results import intervals, ledger, plots, report, tables, temperature_plots
from sftrl_lite.results.claims import claims_table
from sftrl_lite.results.dot_plots import draw_dots
from sftrl_lite.results.headline_figure import sentence
from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.pretrained import NAME, PREFIX, with_pretrained
from sftrl_lite.runs.run_config import Run

INIT = {"0": 0.6, "0.3": 0.58, PAPER: 0.5, "1": 0.25}
ENDS = {  # by method, at the decodings above, under the shifted rule
    "rl-ppo": (0.7, 0.69, 0.66, 0.5),
    "sft": (0.4, 0.39, 0.38, 0.3),
    "sft-verified": (0.62, 0.6, 0.58, 0.4),
}
SPLITS = ("train", "id", "ood-rule")
METRICS = ("success@1", "success@5", "success", "read")


def rows(method, tries, seed, values, experiment="headline", split="ood-rule", **fields):
    """Evaluations of one made-up run, steps 0, 10, 20, ..."""
    same = dict(metric="success", split=split, experiment=experiment, tries=tries) | fields
    return [made_up_row(method, seed, i, value, **same) for i, value in enumerate(values)]


def run(method, seed, experiment="headline", splits=SPLITS, metrics=METRICS, ends=ENDS):
    """All rows of one made-up run with three evaluations: at its ends four decodings, else one."""
    found = []
    same = dict(experiment=experiment, config_hash=f"{experiment}{method}{seed}")
    costs = {"flops_paper": 3e12, "flops_cache": 1e12, "updates": 40}
    for metric, most in costs.items():
        spent = [most * share for share in (0, 0.5, 1)]
        found += rows(method, 5, seed, spent, split="train", metric=metric, **same)
    for i, (way, start) in enumerate(INIT.items()):
        end = ends[method][i] + 0.01 * (seed % 3 - 1)
        values = {0: start, 1: (start + end) / 2, 2: end}
        found += [
            made_up_row(
                method,
                seed,
                point,
                value + 0.1 * (metric in ("success", "success@5")),
                **same,
                split=split,
                metric=metric,
                decoding=way,
                n=1000 if way == PAPER else 300,
            )
            for split in splits
            for metric in metrics
            for point, value in values.items()
            if way == PAPER or point != 1
        ]
    return found


@pytest.fixture(scope="module")
def table():
    """Six seeds of RL, SFT and SFT on its own answers."""
    names = {"rl-ppo": "headline", "sft": "headline", "sft-verified": "controls"}
    return pd.DataFrame(
        [row for m, name in names.items() for seed in range(6) for row in run(m, seed, name)]
    )


@pytest.fixture
def recorded(monkeypatch):
    """Make a table the ledger."""
    return lambda table: monkeypatch.setattr(ledger, "read", lambda *_: table.copy())


def drawn(axis):
    """Lines of a panel by the names that its legend gives to their colours and markers."""
    shown = [line for line in axis.lines if len(line.get_ydata())]
    named = {line.get_label(): line for line in axis.lines}
    return {
        label: next(
            (line for line in shown if line is one),
            next((line for line in shown if look(line) == look(one)), one),
        )
        for label, one in named.items()
        if not label.startswith("_")
    }


def look(line):
    return line.get_color(), line.get_marker(), line.get_linestyle()


@pytest.fixture
def no_bootstrap(monkeypatch):
    """Fails where seaborn would draw intervals of its own."""

    def bootstrap(*args, **kwargs):
        raise AssertionError("seaborn resamples estimates")

    monkeypatch.setattr("seaborn._statistics.bootstrap", bootstrap)


def few(text):
    return [float(number) for number in re.findall(r"[-+]?[\d.]+", text)]


# --- the recorded ledger ------------------------------------------------------------------


def test_pages_are_up_to_date():
    if ledger.read().empty:
        pytest.skip("nothing is recorded yet")
    content = report.blocks()
    for page in report.PAGES:
        text = page.read_text()
        assert report.fill(text, content) == text, "run: python -m sftrl_lite report"
    assert report.LEDGER_PAGE.read_text() == report.ledger_page(), (
        "run: python -m sftrl_lite report"
    )


def test_every_recorded_row_is_complete():
    table = ledger.read()
    assert not table.duplicated(
        ["config_hash", "experiment", "seed", "step", "split", "metric", "decoding"]
    ).any()
    shares = table[(table["decoding"] != "") & ~table["metric"].isin(["kl", "kl_init", "entropy"])]
    assert shares["value"].between(0, 1).all()
    assert (table["low"] <= table["value"] + 1e-6).all()
    assert (table["high"] >= table["value"] - 1e-6).all()
    assert table["command"].str.startswith("python -m sftrl_lite ").all()


def test_every_recorded_command_names_its_run():
    kinds = {"int": int, "float": float, "str": str, "Scale": str}
    table = ledger.read()
    for config_hash, part in table.groupby("config_hash"):
        words = shlex.split(part["command"].iloc[0])[4:]
        flags = [w for w, after in zip(words, [*words[1:], "--"], strict=True)
                 if w.startswith("--") and after.startswith("--")]  # fmt: skip
        words = [word for word in words if word not in flags]
        options = {k[2:].replace("-", "_"): v for k, v in zip(words[::2], words[1::2], strict=True)}
        assert options.pop("experiment") == part["experiment"].iloc[0]
        fields = {flag[2:].replace("-", "_"): True for flag in flags}
        for name, value in options.items():
            kind = kinds.get(Run.__dataclass_fields__[name].type)
            numbers = name == "eval_tries"
            several = tuple(int(v) if numbers else v for v in value.split(","))
            fields[name] = kind(value) if kind else several
        assert Run(**fields).hash == config_hash


# --- pages --------------------------------------------------------------------------------


def test_each_block_has_its_mark_and_each_mark_its_block(recorded, table):
    recorded(table)
    marks = [
        mark
        for page in report.PAGES
        for mark in re.findall("<!-- ([a-z-]+):begin -->", page.read_text())
    ]
    assert sorted(marks) == sorted(report.blocks())


def test_a_partly_recorded_ledger_says_what_is_missing(recorded, table):
    recorded(table[(table["method"] != "sft") & (table["seed"] < 3)])
    blocks = report.blocks()
    sweep = "`python -m sftrl_lite sweep results/sweeps/{}.toml`".format
    assert f"Not recorded yet: {sweep('gp-l')} (push, grpo)." in blocks["results"]
    rest = "(virl-l-headline, virl-l-push, virl-l-controls)."
    assert blocks["streets"] == f"Not recorded yet: {sweep('virl-l')} {rest}"
    assert blocks["tries"].startswith(f"Not recorded yet: {sweep('tries')}")
    assert "| RL (PPO) |" in blocks["results"] and "| SFT |" not in blocks["results"]
    assert "SFT was not measured" in blocks["results"]
    assert re.search(r"\| RL - Init \| \+16\.0 \[[^|]+\| 3 \|", blocks["results"])


def test_the_readmes_table_has_a_line_for_each_recorded_shift(recorded, table):
    recorded(table)
    blocks = report.blocks()
    (line,) = (row for row in blocks["short"].splitlines() if row.startswith("| cards"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == "cards in text, rule: five tries" and cells[-1] == "6"
    for name, cell in zip(report.SHORT, cells[1:-1], strict=True):
        assert f"| {name} | {cell} |" in blocks["results"]  # as on the page of all results
    assert "Not recorded yet: " in blocks["short"] and "virl-vl-headline" in blocks["short"]
    assert blocks["verdict"] in blocks["results"]
    recorded(table[table["experiment"] == "controls"])
    assert report.verdict_block().startswith("Not recorded yet: ")


def test_the_pretrained_model_has_its_own_column_of_claims(recorded):
    """By hand: RL from 0.5 to 0.66, SFT to 0.38, a random reward to 0.52; 0.6 greedily at first."""
    ends = ENDS | {"rl-random": (0.5, 0.5, 0.52, 0.5)}
    parts = {"rl-ppo": "headline", "sft": "headline", "rl-random": "controls"}
    look = dict(metrics=("per_step",), ends=ends)
    found = [
        run(method, seed, PREFIX + part, **look)
        for method, part in parts.items()
        for seed in range(3)
    ]
    table = pd.DataFrame([row for one in found for row in one])
    shown = with_pretrained(claims_table(table), table).set_index("claim")[NAME]
    told = shown[shown != "–"]
    assert {says: text.split()[0] for says, text in told.items()} == {
        "streets in text, rule: RL ends above Init": "+16.0",
        "streets in text, rule: SFT ends below Init": "-12.0",
        "streets in text, rule: RL ends above Init at its best temperature": "+6.0",
        "streets in text: RL with random rewards gains less than 5 points in distribution": "+2.0",
    }
    assert all(text.endswith(" points, 3 seeds") for text in told)
    assert set(with_pretrained(claims_table(table), table.iloc[:0])[NAME]) == {"–"}
    recorded(table)
    blocks = report.blocks()
    assert "per step): with the trained words SFT - Init -" in blocks["small-line"]
    assert "; with the relative words SFT - Init -12.0 [" in blocks["small-line"]
    assert blocks["small-line"].endswith("] points, 3 seeds.")
    assert blocks["small"].startswith("| after 16 steps each | ")
    assert "| RL - Init | " in blocks["small"] and "small.toml" in blocks["small"]
    recorded(table[table["experiment"] == f"{PREFIX}controls"])
    assert report.blocks()["small-line"].startswith("Not recorded yet: ")


def test_without_a_headline_there_is_no_figure(recorded, table):
    recorded(table[table["experiment"] == "controls"])
    blocks = report.blocks()
    assert blocks["figure"].startswith("Not recorded yet: ")
    assert "SFT, own verified answers (on-policy)" in blocks["results"]


def test_an_empty_ledger_is_refused_in_one_line(recorded):
    recorded(pd.DataFrame(columns=ledger.COLUMNS))
    with pytest.raises(ValueError, match="holds no rows yet; `python -m sftrl_lite sweep") as error:
        report.blocks()
    assert "\n" not in str(error.value)


def test_the_report_is_written(recorded, table, tmp_path, monkeypatch):
    recorded(table)
    pages = [tmp_path / page.name for page in report.PAGES]
    for page, old in zip(pages, report.PAGES, strict=True):
        page.write_text(old.read_text())
    monkeypatch.setattr(report, "PAGES", pages)
    monkeypatch.setattr(report, "LEDGER_PAGE", tmp_path / "ledger.md")
    monkeypatch.setattr(report, "FIGURE", tmp_path / "figure.svg")
    report.write_report()
    assert "| SFT - Init | RL - Init |" in pages[0].read_text()
    assert "| Init at its best temperature |" in pages[1].read_text()
    assert "## Claims" in (tmp_path / "ledger.md").read_text()
    drawn = (tmp_path / "figure.svg").read_bytes()
    report.write_report()
    assert (tmp_path / "figure.svg").read_bytes() == drawn


def test_the_ledgers_page_tells_what_was_run(recorded):
    made = rows("sft", 5, 1, [0.1, 0.2]) + rows("sft", 5, 0, [0.1, 0.2, 0.3])
    words = "python -m sftrl_lite sft --seed {} --lr 0.1"
    table = pd.DataFrame(made)
    table["command"] = table["seed"].map(words.format)
    table["config_hash"] = table["seed"].map("hash{}".format)
    table["minutes"] = [1.0, 2.0, 1.0, 2.0, 4.5]
    recorded(table)
    page = report.ledger_page()
    assert "5\nmeasured values of 2 runs" in page
    assert "| `python -m sftrl_lite sft --lr 0.1` | 0, 1 | 5 | 6.5 | cpu | x |" in page
    assert "| verdict | p | p (Holm) | after Holm | SmolLM2-135M | chapter |" in page


@pytest.mark.parametrize("text", ["<!-- a:begin -->", "<!-- b:begin --><!-- b:end -->"])
def test_missing_marks_are_named(text):
    with pytest.raises(ValueError, match=r"has lost its mark|nothing is called b"):
        report.fill(text, {"a": "word"})


# --- tables -------------------------------------------------------------------------------


def test_main_table_has_each_column_at_its_decoding(table):
    shown = tables.main_table(table)
    assert shown.index.tolist() == [
        "Init", "Init at its best temperature", "SFT", "RL (PPO)",
        "SFT, own verified answers (on-policy)",
    ]  # fmt: skip
    means = shown.map(lambda cell: few(cell)[0] if isinstance(cell, str) and cell != "–" else None)
    rl = means.loc["RL (PPO)"]
    assert (rl["OOD, first try"], rl["OOD, five tries"]) == (66, 76)
    assert rl["OOD, greedy first try"] == 70
    best = shown.loc["Init at its best temperature"]
    assert best["OOD, first try"].startswith("60.0 [") and best["OOD, first try"].endswith("greedy")
    assert best["OOD, greedy first try"] == "–"
    assert means.loc["Init", "OOD, first try"] == 50
    assert shown["seeds"].tolist() == [6] * 5


def test_gaps_are_paired_by_seed():
    table = pd.DataFrame(
        [
            row
            for seed, (sft, rl) in enumerate([(0.1, 0.3), (0.2, 0.4), (0.3, 0.5)])
            for method, end in (("sft", sft), ("rl-ppo", rl))
            for row in rows(method, 5, seed, [0.2, end], n=10**6)
        ]
    )
    found = tables.gap(table, "ood-rule", "rl-ppo", "sft", "success")
    assert found.value == pytest.approx(20) and found.high - found.low < 1 and found.n == 3
    found = tables.gap(table, "ood-rule", "sft", "init", "success")
    assert found.value == pytest.approx(0) and found.low < -20 and found.high > 20
    assert tables.gap(table, "id", "sft", "init", "success") is None
    assert tables.gap(table, "ood-rule", "sft", "best", "success") is None  # one decoding only


def test_gap_table_compares_with_init_at_its_best_temperature(table):
    shown = tables.gap_table(table, {"ood-rule": "success@5"})["shifted rule, five tries"]
    means = {name: few(cell)[0] for name, cell in shown.items()}
    assert means == {
        "RL - Init": 16,
        "RL - Init at its best temperature": 6,
        "SFT - Init": -12,
        "RL - SFT": 28,
        "SFT on own verified answers - SFT": 20,
    }
    other = tables.gap_table(table, {"ood-rule": "success@1", "id": "read"})
    assert list(other.columns) == ["shifted rule, first try", "id, read", "seeds"]


def test_cost_table(table):
    assert tables.cost_table(table).loc["RL (PPO)"].tolist() == ["3.00", "1.00", "40", "1.0", "6"]


def test_tries_are_told_apart_by_regime(recorded):
    found = []
    for base, feedback, tries, end in (
        ("tiny-gp-l", "", 1, 0.5),
        ("tiny-gp-l", "", 10, 0.4),
        ("tiny-gp-l", " --feedback leaky", 10, 0.6),
        ("tiny-gp-l-hasty", "", 10, 0.9),
    ):
        words = f"python rl --base data/{base} --tries {tries} --temperature 1.0{feedback}"
        for seed in (0, 1):
            for metric, add in (("success@1", 0.0), ("success@10", 0.05)):
                values = [0.3, end + add]
                found += rows("rl-ppo", tries, seed, values, "tries", metric=metric, command=words)
    table = pd.DataFrame(found)
    plain, leaky, hasty = (
        f"{base}, T 1, {kind}, equal compute"
        for base, kind in (
            ("tiny-gp-l", "binary"),
            ("tiny-gp-l", "leaky"),
            ("tiny-gp-l-hasty", "binary"),
        )
    )
    shown = tables.tries_table(table)
    assert list(shown.columns) == ["1 try", "10 tries", "seeds"]
    assert few(shown.loc[plain, "1 try"])[0] == 20 == few(shown.loc[leaky, "1 try"])[0]
    grown = [few(shown.loc[name, "10 tries"])[0] for name in (plain, leaky, hasty)]
    assert grown == [15, 35, 65]
    assert shown.loc[hasty, "1 try"] == "–" and shown["seeds"].tolist() == ["2"] * 3
    one = tables.tries_table(table[(table["tries"] == 1) | (table["seed"] == 0)])
    assert one.loc[plain, "seeds"] == "1 to 2" and one.loc[hasty, "seeds"] == "1"
    assert few(tables.tries_table(table, "success@1").loc[leaky, "10 tries"])[0] == 30
    costs = [
        made_up_row("rl-ppo", 0, 1, 1e12, experiment="tries", split="train", metric=metric, tries=1)
        for metric in tables.COSTS
        if metric.startswith("flops") or metric == "updates"
    ]
    recorded(pd.concat([table, pd.DataFrame(costs)]))
    said = report.tries_block()
    assert "| equal compute, tries 1 | 1.00 | 1.00 |" in said and f"| {hasty} | – |" in said
    assert "(tries-steps)." in said


# --- what is drawn ------------------------------------------------------------------------


def test_over_seeds_of_one_and_of_several():
    one = plots.over_seeds(pd.DataFrame(rows("sft", 5, 0, [0.2, 0.4])))
    assert one["low"].tolist() == pytest.approx([0.1, 0.3])  # as recorded
    values = [0.1, 0.2, 0.6]
    several = pd.DataFrame([r for s, v in enumerate(values) for r in rows("sft", 5, s, [v])])
    found = plots.over_seeds(several).iloc[0]
    want = intervals.over_seeds(values, [100] * 3)
    assert (found["mean"], found["low"], found["high"]) == (want.value, want.low, want.high)
    assert found["seeds"] == 3 and found["n"] == 300


def test_decodings_are_never_averaged():
    table = pd.DataFrame(
        [row for way, v in INIT.items() for row in rows("sft", 5, 0, [v, v], decoding=way)]
    )
    assert plots.over_seeds(table)["mean"].tolist() == [0.5, 0.5]
    assert plots.over_seeds(table, "0")["mean"].tolist() == [0.6, 0.6]
    other = table.assign(config_hash="another")
    with pytest.raises(ValueError, match="two runs of sft share a seed"):
        plots.over_seeds(pd.concat([table, other]))


def test_runs_of_different_length_are_compared_by_point():
    table = pd.DataFrame(rows("sft", 5, 0, [0, 0.1, 0.2]) + rows("rl-ppo", 5, 0, [0, 0.3, 0.4]))
    table.loc[table["method"] == "rl-ppo", "step"] = [0, 3, 7]
    assert plots.with_points(table)["point"].tolist() == [0, 1, 2, 0, 1, 2]


def test_curves_show_init_its_best_temperature_and_the_ends(table, no_bootstrap):
    figure = plots.curves(table, titles=["one finding", "another", "a third"])
    axis = figure.axes[-1]
    levels = {label: line.get_ydata() for label, line in drawn(axis).items()}
    assert levels["Init"] == pytest.approx([0.5, 0.5])
    assert levels["Init at its best temperature"] == pytest.approx([0.6, 0.6])
    assert levels["RL (PPO)"] == pytest.approx([0.5, 0.58, 0.66])  # between its ends one decoding
    assert drawn(axis)["SFT"].get_xdata() == pytest.approx([0, 1.5, 3])  # TFLOP
    assert [look(drawn(axis)[name])[:2] for name in ("RL (PPO)", "SFT")] == [
        plots.LOOKS[method][:2] for method in ("rl-ppo", "sft")
    ]
    written = [text.get_text() for text in axis.texts]
    assert sorted(written) == ["38 %", "66 %", "Init 50 %", "Init, best T 60 %"]
    assert axis.get_title(loc="left") == "a third\nfresh hands, shifted rule"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["RL (PPO)", "SFT", "Init", "Init at its best temperature"]
    assert figure.get_facecolor()[3] == 1
    plt.close(figure)


def test_bands_are_the_intervals_of_the_table(table, no_bootstrap):
    figure = plots.curves(table, splits=("ood-rule",))
    summary = plots.over_seeds(table[table["metric"] == "success@1"])
    summary = summary[summary["split"] == "ood-rule"].set_index(["method", "point"])
    for band, method in zip(figure.axes[0].collections, ("rl-ppo", "sft"), strict=True):
        x, y = band.get_paths()[0].vertices.T
        for point, cost in enumerate((0, 1.5, 3)):
            ends = sorted(y[np.isclose(x, cost)])
            want = summary.loc[(method, point), ["low", "high"]]
            assert [ends[0], ends[-1]] == pytest.approx(want.tolist())
    plt.close(figure)


def test_dots_stand_side_by_side_with_their_intervals(no_bootstrap):
    looks = {"Init": ("#222222", "*"), "RL": ("#0072B2", "o"), "SFT": ("#D55E00", "s")}
    shares = [(at, who) for who in looks for at in ("home", "unseen cities")]
    found = {key: intervals.wilson(10 + 10 * i, 100) for i, key in enumerate(shares)}
    figure, axis = plt.subplots()
    draw_dots(axis, found, looks)
    dots = drawn(axis)
    assert [look(line)[:2] for line in dots.values()] == list(looks.values())
    assert dots["RL"].get_ydata() == pytest.approx([0.3, 0.4])
    assert dots["SFT"].get_xdata() == pytest.approx([0.13, 1.13])
    want = sorted(found.values(), key=lambda e: e.low)
    bars = {tuple(line.get_ydata()) for line in axis.lines if len(set(line.get_xdata())) == 1}
    assert np.array(sorted(bars)) == pytest.approx(np.array([(e.low, e.high) for e in want]))
    assert [t.get_text() for t in axis.get_xticklabels()] == ["home", "unseen\ncities"]
    plt.close(figure)


@pytest.mark.parametrize("heights", [[0.5, 0.5, 0.5], [1.0, 0.99, 0.98, 0.2], [0.3], []])
def test_numbers_at_line_ends_do_not_overlap(heights):
    placed = plots.spread(heights, 0.05, 1.0)
    assert (np.diff(np.sort(placed)) > 0.0499).all() and (placed <= 1).all()
    assert np.argsort(placed, kind="stable").tolist() == np.argsort(heights, kind="stable").tolist()
    if heights:
        assert abs(placed - heights).max() <= 0.1


def test_alt_text_begins_with_the_finding(table):
    said = plots.alt_text(table, methods=("rl-ppo", "sft"))
    assert said.startswith("On fresh hands, shifted rule: SFT falls; RL (PPO) rises. Per cent")
    assert "Per cent solved at the first try with 95 % intervals" in said
    assert "RL (PPO): training hands, trained rule 66.0 [" in said
    assert "Init at its best temperature: " in said and "own verified" not in said
    assert plots.finding(table, "success@1", "ood-rule") == "RL (PPO) rises; SFT falls"
    same = table.assign(value=0.5)
    assert (
        plots.finding(same, "success@1", "id")
        == "RL (PPO) shows no clear change; SFT shows no clear change"
    )


def test_streets_are_named_as_streets(table):
    streets = table.assign(task="virl-l", metric=table["metric"].replace("success@1", "per_step"))
    said = plots.alt_text(streets, "per_step", ("id", "ood-rule"), methods=("rl-ppo", "sft"))
    assert said.startswith("On fresh routes, relative words: SFT falls; RL (PPO) rises. Per cent")
    assert "Per cent right per step with 95 %" in said and "hands" not in said
    figure = plots.curves(streets, "per_step", ("id", "ood-rule"))
    assert figure.axes[0].get_title(loc="left") == "fresh routes, trained words"
    plt.close(figure)
    told = temperature_plots.temperature_alt(streets, "per_step")
    assert ". fresh routes, relative words, per cent right per step: Init" in told


def test_temperature_curve(table, no_bootstrap):
    figure = temperature_plots.temperature_curve(table)
    (axis,) = figure.axes
    found = drawn(axis)
    assert list(found) == ["Init", "RL (PPO)", "SFT"]
    assert found["Init"].get_ydata() == pytest.approx(list(INIT.values()))
    assert found["SFT"].get_ydata() == pytest.approx(ENDS["sft"])
    assert len({line.get_marker() for line in found.values()}) == 3
    methods = ("rl-ppo", "sft")
    points = temperature_plots.by_temperature(table, "success@1", "ood-rule", methods)
    for bars, (_, part) in zip(axis.containers, points.groupby("who", sort=False), strict=True):
        ends = [bar[:, 1] for bar in bars.lines[2][0].get_segments()]
        assert np.array(ends) == pytest.approx(part[["low", "high"]].to_numpy())
    assert axis.get_xticks().tolist() == [0, 0.3, 0.6, 1]
    assert axis.get_xticklabels()[2].get_text() == "0.6\ntop_p 0.9"
    plt.close(figure)


def test_temperature_alt_begins_with_the_finding(table):
    said = temperature_plots.temperature_alt(table)
    assert said.startswith(
        "RL (PPO) above Init at 4 and below it at 0 of 4; "
        "SFT above Init at 1 and below it at 3 of 4 temperatures"
    )
    assert "Init greedy 60.0, T 0.3 58.0, T 0.6 50.0, T 1 25.0" in said
    with pytest.raises(ValueError, match="holds no success@1 on id of rl-grpo"):
        temperature_plots.temperature_alt(table, split="id", methods=("rl-grpo",))


# --- the sentence -------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 6])
def test_sentence_says_who_rose_and_who_fell(table, seeds):
    said = sentence(table[table["seed"] < seeds])
    assert f"({seeds} seed{'s' * (seeds > 1)})" in said
    end, five, greedy = (37, 47, 39) if seeds == 1 else (38, 48, 40)
    assert f"shifted rule 50 -> {end} % (within five tries 60 -> {five} %, greedy 60 -> " in said
    assert f"{greedy} %)" in said
    assert re.search(r"SFT fell \(-1[23]\.0 points \[-", said)
    assert re.search(r"RL rose \(\+1[56]\.0 points \[\+", said)


def test_sentence_claims_no_more_than_the_rows_show(table):
    part = table[(table["method"] == "sft") & (table["metric"] == "success@1")]
    level = part.assign(value=part["value"].mean())
    said = sentence(level)
    assert "SFT neither rose nor fell clearly (+0.0 points [" in said
    assert "RL was not measured" in said and "within five tries not measured" in said
