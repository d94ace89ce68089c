"""The widget that drags over a training."""

import re

import ipywidgets as w
import pandas as pd
import pytest
from conftest import made_up_row

from sftrl_lite.course import calculators
from sftrl_lite.results import recognition_plots

END = {
    ("sft", "id"): 0.6,
    ("sft", "ood-rule"): 0.1,
    ("rl-ppo", "id"): 0.9,
    ("rl-ppo", "ood-rule"): 0.5,
}


def rows(seeds=(0, 1, 2), metric="success@1"):
    """Trainings that start at 0.3; five evaluations of RL, three of SFT."""
    found = []
    for (method, split), end in END.items():
        points = 4 if method == "rl-ppo" else 2
        for seed in seeds:
            for point in range(points + 1):
                value = 0.3 + (end - 0.3) * point / points + 0.01 * seed
                shared = dict(experiment="headline", split=split)
                found.append(made_up_row(method, seed, point, value, metric=metric, **shared))
                if split == "id":
                    cost = dict(split="train", metric="flops_paper", experiment="headline")
                    found.append(made_up_row(method, seed, point, 1e12 * point / points, **cost))
    return pd.DataFrame(found)


@pytest.fixture
def live(monkeypatch):
    """The widget instead of its display: slider, page, still picture, words."""
    made = []
    monkeypatch.setattr(calculators, "present", lambda *given: made.append(given))

    def start(table):
        calculators.training_slider(table)
        box, still, words = made[-1]
        return *box.children, still, words

    return start


def test_methods_are_compared_at_equal_shares():
    points = recognition_plots.progress(rows())
    shares = points.groupby("method")["share"].unique().map(sorted)
    assert shares["rl-ppo"] == [0, 0.25, 0.5, 0.75, 1] and shares["sft"] == [0, 0.5, 1]
    half = recognition_plots.moment_words(points, 0.75)
    assert "RL (PPO) 76.0 [" in half and "SFT 46.0 [" in half  # SFT's last one: at a half
    assert half.startswith("After 75 % of the training")


def test_slider_moves_the_figure(live):
    slider, page, *_ = live(rows())
    assert isinstance(slider, w.SelectionSlider)  # has a handle that arrow keys move
    assert [label for label, _ in slider.options] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    seen = []
    for _, mark in slider.options:
        slider.value = mark
        seen.append(page.value)
    assert len(set(seen)) == 5
    assert all("After " in re.search('<img alt="([^"]+)"', html)[1] for html in seen)
    assert "shifted rule: SFT 11.0 [" in seen[-1] and "RL (PPO) 51.0 [" in seen[-1]


def test_still_holds_the_whole_training(live):
    *_, still, words = live(rows())
    assert still.count("<tr><td>") == 5 + 3
    assert "<td>61.0 [" in still and "<td>91.0 [" in still
    assert "fresh hands, trained rule: SFT 61.0 [" in words and "RL (PPO) 91.0 [" in words


def test_one_seed_keeps_the_interval_over_its_hands(live):
    *_, words = live(rows(seeds=(0,)))
    assert "RL (PPO) 90.0 [80.0, 100.0] %" in words


def test_refuses_a_table_without_success():
    with pytest.raises(ValueError, match="holds no success@1 of rl-ppo, sft"):
        calculators.training_slider(rows(metric="read"))
