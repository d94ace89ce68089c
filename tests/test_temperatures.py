"""The slider over the recorded temperatures."""

import ipywidgets as w
import pandas as pd
import pytest
from conftest import made_up_row

from sftrl_lite.course import temperatures
from sftrl_lite.results.ledger import PAPER

INIT = {"0": 0.6, "0.3": 0.55, PAPER: 0.5, "1": 0.3}  # falls with the temperature
GAINS = {"rl-ppo": 0.2, "sft": -0.2}


def rows(splits=("id", "ood-rule")):
    """Three seeds whose Init, RL and SFT lie 20 points apart at each temperature."""
    found = []
    for method, gain in GAINS.items():
        for split in splits:
            for seed in range(3):
                for decoding, start in INIT.items():
                    shared = dict(metric="success@1", experiment="headline", split=split)
                    for point, value in enumerate((start, start + gain)):
                        value += 0.01 * seed + (0.1 if split == "id" else 0.0)
                        row = dict(decoding=decoding, n=1000, **shared)
                        found.append(made_up_row(method, seed, point, value, **row))
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def made():
    """What the widget shows: rule, slider, page; still picture, words."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temperatures, "present", lambda *given: shown.append(given))
        temperatures.temperature_slider(rows())
    box, still, words = shown[0]
    return *box.children, still, words


def test_a_lead_over_init_may_be_none_over_init_at_its_best():
    found = temperatures.compared(rows(), "ood-rule", "1")
    assert list(found.index) == ["Init", "RL (PPO)", "SFT"]
    assert found.loc["Init", "solved"].startswith("31.0 [") and found.loc["Init"].iloc[1] == "–"
    assert found.loc["RL (PPO)", "against Init"].startswith("+20.0 [")
    assert found.loc["RL (PPO)", "against Init at its best"].startswith("-10.0 [")
    assert found.loc["SFT", "against Init"].startswith("-20.0 [")


def test_slider_and_rule_move_the_page(made):
    rule, slider, page, *_ = made
    assert isinstance(slider, w.SelectionSlider)  # has a handle that arrow keys move
    assert [label for label, _ in slider.options] == ["0", "0.3", "0.6", "1"]
    assert "Temperature 1, points" in page.value
    slider.value = "0"
    assert '<img alt="Greedy decoding, fresh hands, shifted rule' in page.value
    assert "61.0 [" in page.value and "81.0 [" in page.value
    rule.value = "id"
    assert "fresh hands, trained rule" in page.value and "71.0 [" in page.value


def test_still_and_words_hold_all_temperatures(made):
    *_, still, words = made
    assert still.count("RL (PPO)</th>") == len(INIT) and still.count("<img alt=") == 1
    assert words.startswith("RL (PPO) above Init at 4 and below it at 0 of 4")  # the finding
    names = ("Greedy decoding", "Temperature 0.3", "Temperature 0.6, top_p 0.9", "Temperature 1")
    assert all(f"{name}, fresh hands, shifted rule" in words for name in names)


def test_refuses_a_table_without_success():
    with pytest.raises(ValueError, match="holds no success@1 on ood-rule"):
        temperatures.temperature_slider(rows(splits=("id",)))
