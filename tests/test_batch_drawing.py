"""The drawing of packed episodes says what ``pack`` says."""

import matplotlib.pyplot as plt
import pytest
from conftest import make_episode

from sftrl_lite.course.batch_drawing import batch_drawing, spans
from sftrl_lite.training.forward import pack


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([-1, 0, 0], [("prompt", 0, 1), ("answer 1", 1, 3)]),
        (
            [-1, 0, -1, 1],
            [("prompt", 0, 1), ("answer 1", 1, 2), ("message", 2, 3), ("answer 2", 3, 4)],
        ),
        ([-1, -1, 0, -1], [("prompt", 0, 2), ("answer 1", 2, 3), ("padding", 3, 4)]),
    ],
)
def test_a_row_is_cut_where_the_writer_changes(turns, expected):
    assert spans(turns) == expected


def test_a_batch_is_drawn_with_all_its_answers_questions_and_rewards():
    batch = pack(
        [make_episode([1.0], answer_len=9), make_episode([-1.0, 5.0], answer_len=9)], pad=0
    )
    fig = batch_drawing(batch)
    left, right = fig.axes
    written = [text.get_text() for text in left.texts]
    assert [name for name in written if name.startswith("answer")] == ["answer 1"] * 2 + [
        "answer 2"
    ]
    assert [text.get_text() for text in right.texts] == ["+1", "–", "-1", "+5"]
    asked = [round(line.get_xdata()[0] - 0.5) for line in left.lines]
    assert asked == [2, *batch.ask[1].tolist()]
    plt.close(fig)
