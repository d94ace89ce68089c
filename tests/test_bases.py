"""The shipped bases are what the comparison needs: their mistakes are habits."""

import pytest

from sftrl_lite.models import loading
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.registry import TASKS, make_task
from sftrl_lite.training import pretrain
from sftrl_lite.training.evaluate import evaluate


@pytest.mark.parametrize("task", TASKS)
def test_a_shipped_base_errs_by_habit_and_leaves_room_to_rise_and_to_fall(task):
    found = pretrain.criteria(*loading.load(f"data/tiny-{task}"), task)
    assert abs(found["greedy"] - found["sampled"]) < 0.15
    assert 0.25 <= found["sampled"] <= 0.85
    assert found["format_error"] < 0.05


def test_a_base_that_cannot_answer_is_refused_in_one_line(random_model, tokenizer):
    with pytest.raises(ValueError, match=r"cannot carry the comparison.*format errors"):
        pretrain.criteria(random_model, tokenizer, "gp-l", problems=5)


def test_the_hasty_base_seldom_solves_at_once_and_can_revise():
    model, tokenizer = loading.load("data/tiny-gp-l-hasty")
    task = make_task("gp-l")
    hands = task.held_out(stream(0, "hasty"), 200)
    _, episodes = evaluate(model, tokenizer, task, hands, tries=4)
    first, fourth = (
        [e.turns[k].verdict.solved for e in episodes if len(e.turns) > k] for k in (0, 3)
    )
    assert sum(first) / len(first) < 0.4
    assert sum(fourth) / len(fourth) > sum(first) / len(first)
