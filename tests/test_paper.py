"""What differs from the paper is said, and nothing else."""

from dataclasses import replace

import pytest

from sftrl_lite.runs.paper import PAPER, differences, here
from sftrl_lite.scales import SCALES, get_scale
from sftrl_lite.tasks.registry import TASKS


def table(scale="full"):
    return {row["setting"]: row for row in differences(scale)}


def test_every_setting_has_both_sides_and_a_source():
    assert here(get_scale("full"), "gp-l").keys() == PAPER.keys()
    assert all(row["source"] for row in differences())


def test_what_differs_at_full():
    rows = table()
    assert rows["RL: rate, virl-vl"]["paper"] == 1e-7
    assert rows["RL: rate, virl-vl"]["here"] == pytest.approx(1e-6)  # LoRA takes ten times as much
    differ = {name.split(",")[0] for name, row in rows.items() if row["same"] == "no"}
    assert {"trained", "RL: weight of the thoughts", "messages"} <= differ
    assert rows["RL: steps of the cosine, virl-l"]["here"] == 20
    alike = {"RL: clip", "RL: steps of the cosine", "RL: epochs", "tries", "compute"}
    alike |= {"SFT: answers per step"}
    assert not differ & (alike | {"lambda: passes per sampled token"})
    assert rows["evaluation: longest answer"]["paper"] == 256


def test_all_weights_are_trained_at_the_papers_rates():
    whole = replace(SCALES["full"], adapter="none", vision="trained")
    rows = table(whole)
    assert rows["trained"]["same"] == "yes"
    for task in TASKS:
        for family in ("SFT", "RL"):
            assert rows[f"{family}: rate, {task}"]["same"] == "yes", (family, task)


def test_a_changed_setting_is_a_difference():
    full = SCALES["full"]
    changed = replace(full, rl=replace(full.rl, clip=0.2))
    assert table(changed)["RL: clip"]["same"] == "no"
    with pytest.raises(ValueError, match="unknown scale"):
        differences("huge")
