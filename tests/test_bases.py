"""The shipped bases are what the comparison needs: their mistakes are habits."""

import pytest

from sftrl_lite import models, pretrain
from sftrl_lite.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_shipped_base_errs_by_habit_and_leaves_room_to_rise_and_to_fall(task):
    found = pretrain.criteria(*models.load(f"data/tiny-{task}"), task)
    assert abs(found["greedy"] - found["sampled"]) < 0.15
    assert 0.25 <= found["sampled"] <= 0.85
    assert found["format_error"] < 0.05


def test_a_base_that_cannot_answer_is_refused_in_one_line(random_model, tokenizer):
    with pytest.raises(ValueError, match="cannot carry the comparison.*format errors 100 %"):
        pretrain.criteria(random_model, tokenizer, "gp-l", problems=5)


def test_the_hasty_base_is_refused_because_it_hardly_ever_solves_at_once():
    with pytest.raises(ValueError, match="is not within 25 to 85 %"):
        pretrain.criteria(*models.load("data/tiny-gp-l-hasty"), "gp-l", problems=200)
