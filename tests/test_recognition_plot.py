"""Success against recognition: what is drawn, and the same in words."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import made_up_row

from sftrl_lite.results import recognition_plots
from sftrl_lite.results.intervals import over_seeds


def run(method, seed, recognised, success, split="ood-visual"):
    """Evaluations of one made-up run: recognition and success, one pair a step."""
    return [
        made_up_row(
            method,
            seed,
            i,
            value,
            split=split,
            metric=metric,
            experiment="vl-headline",
            task="gp-vl",
        )
        for metric, values in (("recognised", recognised), ("success", success))
        for i, value in enumerate(values)
    ]


@pytest.fixture
def table():
    rows = run("sft", 0, [0.7, 0.6, 0.5], [0.6, 0.5, 0.4])
    rows += run("rl-ppo", 0, [0.7, 0.95], [0.6, 0.9])
    rows += run("sft", 0, [0.9, 0.9, 0.9], [0.7, 0.7, 0.7], "id")
    return pd.DataFrame(rows)


def lines(axis):
    """The paths that are drawn: their points, by line style."""
    drawn = [line for line in axis.lines if len(line.get_xdata()) >= 2 and line.get_lw() == 1.6]
    return {line.get_ls(): (list(line.get_xdata()), list(line.get_ydata())) for line in drawn}


def test_a_line_runs_from_init_through_the_evaluations(table):
    figure = recognition_plots.recognition_path(table, splits=("id", "ood-visual"))
    known, red = figure.axes
    assert lines(red)["--"] == ([0.7, 0.6, 0.5], [0.6, 0.5, 0.4])
    assert lines(red)["-"] == ([0.7, 0.95], [0.6, 0.9])
    assert lines(known) == {"--": ([0.9] * 3, [0.7] * 3)}
    assert red.get_title(loc="left") == "fresh hands, red suits"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["SFT", "Init", "RL (PPO)"]
    plt.close(figure)


def test_the_figure_is_opaque_and_tells_methods_apart(table):
    figure = recognition_plots.recognition_path(table, splits=("ood-visual",))
    assert figure.get_facecolor()[3] == 1
    handles = [h for h in figure.axes[0].lines if not str(h.get_label()).startswith("_")]
    assert len({h.get_marker() for h in handles}) == len(handles) == 3
    assert len({h.get_color() for h in handles}) == 3
    plt.close(figure)


def test_intervals_are_drawn_inside_0_and_1(table):
    figure = recognition_plots.recognition_path(table, splits=("ood-visual",))
    ends = [x for line in figure.axes[0].lines for x in line.get_xdata()]
    assert max(ends) == 1 and min(ends) == pytest.approx(0.4)
    plt.close(figure)


def test_a_split_without_rows_is_an_empty_panel(table):
    figure = recognition_plots.recognition_path(table)
    assert [bool(lines(axis)) for axis in figure.axes] == [True, False, True]
    plt.close(figure)


def test_seeds_are_averaged_with_the_noise_of_seeds_and_problems():
    rows = run("sft", 0, [0.8, 0.4], [0.6, 0.2]) + run("sft", 1, [0.8, 0.6], [0.6, 0.4])
    points = recognition_plots.paths(pd.DataFrame(rows))
    start, end = points.loc["ood-visual", "sft", 0], points.loc["ood-visual", "sft", 1]
    want = over_seeds([0.4, 0.6], [100, 100])
    assert (end["recognised", "low"], end["recognised", "high"]) == (want.low, want.high)
    assert end["recognised", "mean"] == pytest.approx(0.5)
    assert start["recognised", "low"] < 0.78 < 0.82 < start["recognised", "high"]


def test_alt_text_begins_with_the_finding_and_says_what_is_drawn(table):
    said = recognition_plots.recognition_alt(table)
    assert said.startswith(
        "Against Init: fresh hands, trained rule, SFT recognises no clearly different number and "
        "solves no clearly different number; "
        "fresh hands, red suits, RL (PPO) recognises more and solves more; "
        "fresh hands, red suits, SFT recognises fewer and solves fewer. "
    )
    assert "fresh hands, red suits, SFT: recognised 70 to 50 %, solved 60 to 40 %" in said
    assert "fresh hands, red suits, RL (PPO): recognised 70 to 95 %, solved 60 to 90 %" in said
    assert "shifted rule" not in said


def test_other_metrics_decodings_and_controls_can_be_drawn(table):
    table["metric"] = table["metric"].replace("success", "success@1")
    greedy = table.assign(decoding="0", value=table["value"] / 2)
    both = pd.concat([table, greedy])
    said = recognition_plots.recognition_alt(both, "success@1", ("ood-visual",), ("rl-ppo",))
    assert "SFT" not in said and "solved 60 to 90 %" in said
    said = recognition_plots.recognition_alt(both, "success@1", ("ood-visual",), ("rl-ppo",), "0")
    assert "recognised 35 to 48 %, solved 30 to 45 %" in said


def test_a_table_without_recognition_is_refused(table):
    with pytest.raises(ValueError, match="no recognition"):
        recognition_plots.recognition_path(table[table["metric"] == "success"])
