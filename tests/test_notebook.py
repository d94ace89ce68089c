"""The chapters' helpers: set-up, exercises, captions, figures, widgets."""

import base64
import io
import random
import re
import signal
import threading
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sftrl_lite.course import calculators, notebook, widgets
from sftrl_lite.models.tiny import make_tokenizer, tiny_config
from sftrl_lite.results import memory_plots
from sftrl_lite.runs.headline import headline_folder, headline_runs
from sftrl_lite.tasks.cards import Rule
from sftrl_lite.tasks.general_points import (
    GeneralPoints,
    general_points,
    vocabulary,
    write_answer,
)
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.registry import TASKS
from sftrl_lite.training.rollouts import Episode, Turn


@pytest.fixture
def shown(monkeypatch):
    """What ``display`` was given: (object, keyword arguments) pairs."""
    calls = []
    for module in (notebook, widgets):
        monkeypatch.setattr(module, "display", lambda thing, **kw: calls.append((thing, kw)))
    return calls


def test_setup_prints_what_a_chapter_runs_on(capsys, monkeypatch):
    monkeypatch.delenv("SFTRL_SCALE", raising=False)
    scale = notebook.setup(seed=3)
    printed = capsys.readouterr().out
    assert scale.name == "tiny"
    for word in ("torch", "transformers", "device", "float", "scale tiny", "seed 3"):
        assert word in printed
    assert len(printed.splitlines()) <= 4


def test_setup_seeds(capsys):
    notebook.setup(seed=3)
    first = random.random(), torch.rand(1).item()
    notebook.setup(seed=3)
    assert (random.random(), torch.rand(1).item()) == first


def test_setup_names_an_unknown_scale(monkeypatch):
    monkeypatch.setenv("SFTRL_SCALE", "huge")
    with pytest.raises(ValueError, match="huge"):
        notebook.setup()


def test_live_runs_take_a_share_of_their_compute(monkeypatch, capsys):
    whole = notebook.setup()
    monkeypatch.setenv("SFTRL_SHARE", "0.2")
    short = notebook.setup()
    assert "live runs at 20% of their compute" in capsys.readouterr().out
    for task in TASKS:
        assert short.compute(task) == pytest.approx(whole.compute(task) / 5)
    assert (whole.eval_episodes, short.eval_episodes) == (500, 100)
    runs = headline_runs(scale=short)
    assert all(run.filled().tflop == pytest.approx(whole.tflop / 5) for run in runs.values())
    assert headline_folder(scale=short) != headline_folder(scale=whole) == headline_folder()
    assert {run.hash for run in runs.values()}.isdisjoint(r.hash for r in headline_runs().values())


@pytest.mark.parametrize("text", ["0", "-1", "2", "nan", "much"])
def test_a_share_that_is_none_is_one_line(text, monkeypatch):
    monkeypatch.setenv("SFTRL_SHARE", text)
    with pytest.raises(ValueError, match=f"SFTRL_SHARE is '{text}'; it is a number above 0"):
        notebook.setup()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("name", ["t4", "full"])
def test_setup_of_a_scale_for_gpus_without_one_is_one_line(name, monkeypatch):
    monkeypatch.setenv("SFTRL_SCALE", name)
    with pytest.raises(RuntimeError, match=f"{name} needs a CUDA GPU and none was found"):
        notebook.setup()


def test_a_chapter_of_pictures_at_a_scale_of_text_is_one_line(monkeypatch):
    monkeypatch.setenv("SFTRL_SCALE", "small")
    with pytest.raises(RuntimeError, match="pictures, and the model of scale small reads text"):
        notebook.setup(task="gp-vl")
    assert notebook.setup(task="virl-l").name == "small"


def test_exercise_not_done(capsys):
    with notebook.exercise("1.1"):
        raise NotImplementedError
    assert capsys.readouterr().out == "Exercise 1.1: not done yet.\n"


def test_exercise_passed(capsys):
    with notebook.exercise("1.1"):
        pass
    assert capsys.readouterr().out == "Exercise 1.1: passed.\n"


@pytest.mark.parametrize("message", ["four\nlines  are one", "", None])
def test_exercise_wrong_is_one_line(capsys, message):
    with notebook.exercise("1.1"):
        raise AssertionError(*[] if message is None else [message])
    printed = capsys.readouterr().out
    assert printed.startswith("Exercise 1.1: ") and printed.count("\n") == 1
    assert ("four lines are one" if message else "a check failed") in printed


def test_exercise_lets_other_errors_out():
    with pytest.raises(ZeroDivisionError), notebook.exercise("1.1"):
        1 / 0  # noqa: B018


@pytest.fixture(autouse=True)
def interruptible():
    """As a kernel is; what runs tests in several processes ignores interrupts in them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def outcome(answer: str, check: str, seconds: float = 60.0) -> None:
    """An answer and its checks in two cells of one namespace, as in a kernel."""
    space = {"exercise": notebook.exercise, "seconds": seconds}
    exec(compile(answer, "<answer>", "exec"), space)
    body = f"with exercise('1.1', seconds):\n    {check}"
    exec(compile(body, "<check>", "exec"), space)


@pytest.mark.parametrize(
    ("returned", "check"),
    [
        ("None", "assert len(answer()) == 2"),
        ("None", "assert answer() + 1 == 2"),
        ("3.0", "assert answer().shape == (2,)"),
        ("[1]", "assert answer()[1] == 2"),
        ("(1, 2, 3)", "first, second = answer()"),
        ("{}", "assert answer()['mean'] == 2"),
        ("torch.zeros(2)", "assert torch.allclose(answer(), torch.zeros(3))"),
        ("'text'", "assert [2 * x for x in range(2)] and abs(answer()) < 1"),
    ],
)
def test_exercise_of_the_wrong_type_or_shape_is_a_sentence(capsys, returned, check):
    outcome(f"import torch\ndef answer():\n    return {returned}", check)
    printed = capsys.readouterr().out
    assert printed.startswith("Exercise 1.1: not right yet. Its type or shape")
    assert printed.count("\n") == 1


def test_an_error_inside_an_answer_is_raised_with_its_traceback():
    with pytest.raises(TypeError) as caught:
        outcome("def answer(x):\n    return None + x", "assert answer(1) == 2")
    assert caught.traceback[-1].name == "answer"


def test_an_answer_that_never_ends_is_stopped_with_a_sentence(capsys):
    began = time.time()
    outcome("def answer():\n    while True:\n        pass", "answer()", seconds=0.2)
    assert "more than 0.2 seconds" in capsys.readouterr().out
    assert time.time() - began < 20


def test_an_answer_that_calls_itself_without_end_is_a_sentence(capsys):
    outcome("def answer(n):\n    return answer(n + 1)", "answer(0)")
    assert "calls itself without end" in capsys.readouterr().out


def test_an_exercise_in_time_leaves_no_clock_behind(capsys):
    for check in ("pass", "raise NotImplementedError", "assert False"):
        outcome("", check, seconds=0.3)
    time.sleep(0.5)  # a clock that still ran would interrupt here
    assert not [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert capsys.readouterr().out.count("\n") == 3


def test_stopping_by_hand_stays_an_interruption():
    with pytest.raises(KeyboardInterrupt):
        outcome("", "raise KeyboardInterrupt")


def test_nothing_is_stopped_in_another_thread(capsys):
    slow = "import time\ndef answer():\n    time.sleep(0.4)"
    thread = threading.Thread(target=outcome, args=(slow, "answer()", 0.1))
    thread.start()
    thread.join()
    assert capsys.readouterr().out == "Exercise 1.1: passed.\n"


def test_show(shown):
    notebook.show("**7** of 9")
    assert shown[0][0].data == "**7** of 9"


def test_figure_carries_its_alt_text(shown):
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    notebook.figure(fig, alt='Success rises from 0 to 1, "all" & <more>.')
    ((bundle, options),) = shown
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert (
        'alt="Success rises from 0 to 1, &quot;all&quot; &amp; &lt;more&gt;."'
        in (bundle["text/html"])
    )
    assert options["metadata"]["image/png"]["alt"].startswith("Success rises")
    assert not plt.fignum_exists(fig.number)


def test_embed_keeps_drawings_exact_and_makes_noise_small():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    photo = noise.resize((512, 512), Image.Resampling.BICUBIC)
    drawing = Image.new("RGB", (512, 512), "white")
    drawing.paste("black", (100, 100, 200, 200))
    for picture, kind in ((drawing, "image/png"), (photo, "image/jpeg")):
        found, data = notebook.embed(picture)
        back = Image.open(io.BytesIO(base64.b64decode(data)))
        assert found == kind and back.size == picture.size
        error = np.abs(np.asarray(back.convert("RGB"), float) - np.asarray(picture, float)).mean()
        assert error == 0 if kind == "image/png" else error < 6


def test_figure_wants_a_description():
    fig = plt.figure()
    with pytest.raises(ValueError, match="alt text"):
        notebook.figure(fig, alt="a plot")
    plt.close(fig)


@pytest.mark.parametrize("formula", ["5*7-10-1", "5*7-10-1=24", " 5*7-10-1 = 24"])
def test_widget_judges_typed_formulas(formula):
    hand = Hand(("A", "5", "7", "J"))
    assert widgets.judge(GeneralPoints(), hand, formula).solved


def test_verifier_table_is_static_without_a_kernel(shown, monkeypatch):
    monkeypatch.setenv("SFTRL_STATIC", "1")
    widgets.verifier_table(GeneralPoints(feedback="reason"))
    bundle = shown[0][0]
    assert set(bundle) == {"text/html", "text/plain"}
    assert "solved" in bundle["text/html"] and "+5" in bundle["text/html"]
    assert re.match(r"Cards .* is solved, reward \+5\.$", bundle["text/plain"])


def test_verifier_table_escapes_what_is_typed():
    hand = Hand(("A", "5", "7", "J"))
    verdict = widgets.judge(GeneralPoints(), hand, "<b>")
    assert "<b>" not in widgets.table_html(hand, [("<b>", verdict)])


def test_token_view(shown, monkeypatch):
    monkeypatch.delenv("SFTRL_STATIC", raising=False)
    from transformers import MllamaForConditionalGeneration

    tokenizer = make_tokenizer(vocabulary())
    model = MllamaForConditionalGeneration(tiny_config(len(tokenizer)))
    widgets.token_view(model, tokenizer, cards="a 5 7 j", rule="7-3-12")
    bundle = shown[0][0]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "tokens read" in bundle["text/html"] and "probability" in bundle["text/html"]
    assert re.match(r"Cards a 5 7 j, rule 7-3-12: \d+ tokens read, \d+ ", bundle["text/plain"])


def test_token_view_explains_a_bad_hand(shown):
    widgets.token_view(None, None, cards="A 5 7 X")
    assert "unknown card" in shown[0][0]["text/html"]


def test_token_boxes_shade_by_chance():
    page = widgets.tokens_html(["a b", "\n"], [None, 0.5])
    assert "a·b" in page and "⏎" in page and "probability 50.0 %" in page
    assert Rule(7, 3, 12).name == "7-3-12"


@pytest.fixture
def picture_episode():
    """A hand as a picture, misread at the first try and solved at the second."""
    task = general_points("ood-visual", pictures=True, size=80)
    hand = task.show(Hand(("3", "5", "6", "J")), random.Random(0))
    wrong = replace(hand, cards=("3", "5", "9", "J"))
    texts = [write_answer(wrong, "(9+3)*10/5"), write_answer(hand, "3+5+6+10")]
    turns = []
    for text in texts:
        verdict = task.verify(hand, text)
        turns.append(Turn(0, 1, [0.0], text, verdict, verdict.reward))
    return task, Episode(hand, [0], turns)


def test_picture_viewer_is_static_without_a_kernel(shown, monkeypatch, picture_episode):
    task, episode = picture_episode
    monkeypatch.setenv("SFTRL_STATIC", "1")
    widgets.picture_viewer(task, [episode])
    page = shown[0][0]["text/html"]
    assert set(shown[0][0]) == {"text/html", "text/plain"}
    assert 'alt="Cards on a table: 3 of ' in page and "jack of " in page
    data = re.search('data:image/[a-z]+;base64,([^"]+)', page)[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (80, 80)
    assert page.count("misread") == 1 and "solved" in page and "+5" in page
    assert shown[0][0]["text/plain"].endswith("of 1 episodes: misread -3.5, solved +5.")


def test_picture_viewer_marks_cards_in_words(picture_episode):
    task, episode = picture_episode
    first = widgets.picture_episode_html(task, episode, upto=1)
    assert first.count("</span>right") == 3 and first.count("</span>wrong") == 1
    assert "<s>9</s>" in first and "overlooked: 6" in first
    assert widgets.picture_episode_html(task, episode).count("</span>right") == 7


def test_cards_named_twice_are_right_once():
    page = widgets.seen_html(("5", "5", "7"), {"cards": ["5", "5", "5"]})
    assert page.count("right") == 2 and page.count("wrong") == 1 and "overlooked: 7" in page
    assert widgets.seen_html(("5",), {"cards": "5"}) == "no cards named"
    placed = widgets.seen_html(("6", "A", "3"), {"cards": ["6", "3", "3"]})
    assert placed.index("wrong") < placed.rindex("right") and "overlooked: A" in placed
    assert "<i>" not in widgets.seen_html(("5",), {"cards": ["<i>"]})


def test_picture_viewer_moves_when_a_kernel_runs(shown, monkeypatch, picture_episode):
    task, episode = picture_episode
    monkeypatch.delenv("SFTRL_STATIC", raising=False)
    widgets.picture_viewer(task, [episode, episode])
    assert "application/vnd.jupyter.widget-view+json" in shown[0][0]


def test_picture_viewer_refuses_what_it_cannot_show(picture_episode):
    task, _ = picture_episode
    with pytest.raises(ValueError, match="no episode"):
        widgets.picture_viewer(task, [])
    with pytest.raises(ValueError, match="no picture"):
        widgets.picture_viewer(task, [Episode(Hand(("3", "5", "6", "J")), [0])])


def test_power_is_told_in_words(shown, monkeypatch):
    said = calculators.power_html(11.5, 3.5, 234, 1, 0)
    assert "seen in 20 of 100" in said and "1,585 episodes" in said
    assert "more seeds" in calculators.power_html(11.5, 3.5, 1000, 3, 3)
    monkeypatch.setenv("SFTRL_STATIC", "1")
    calculators.power_calculator()
    assert set(shown[0][0]) == {"text/html", "text/plain"} and "234" in shown[0][0]["text/html"]


def test_explorer_is_static_without_a_kernel(shown, monkeypatch):
    points = pd.DataFrame({"method": ["a", "b"], "x": [0.0, 1.0], "y": [1.0, 2.0], "z": [3.0, 0.0]})
    monkeypatch.setenv("SFTRL_STATIC", "1")
    calculators.explorer(points, lambda x, y: (f"<img alt='{x}'>", f"{y} by {x}"))
    page = shown[0][0]["text/html"]
    assert "<img alt='x'>" in page and "z by x" in page and "z by y" in page
    monkeypatch.delenv("SFTRL_STATIC")
    calculators.explorer(points, lambda x, y: ("", ""))
    assert "application/vnd.jupyter.widget-view+json" in shown[1][0]


PLANS = {
    ("sft", "none", 1, 8): {"weights": 40.0, "optimizer": 80.0},
    ("sft", "lora", 1, 8): {"weights": 20.0, "optimizer": 0.4},
    ("rl", "lora", 1, 64): {"weights": 20.0, "KV cache": 30.0},
}


def test_memory_view_is_static_without_a_kernel(shown, monkeypatch):
    monkeypatch.setenv("SFTRL_STATIC", "1")
    calculators.memory_view(PLANS, {"T4": 14.6, "H200": 139.8})
    page = shown[0][0]["text/html"]
    assert "120.0 GiB" in page and "T4 no, H200 yes" in page and "rl" not in page.split()


def test_memory_view_moves_when_a_kernel_runs(shown, monkeypatch):
    monkeypatch.delenv("SFTRL_STATIC", raising=False)
    made = []
    monkeypatch.setattr(calculators, "present", lambda widget, *still: made.append(widget))
    calculators.memory_view(PLANS, {"T4": 14.6, "H200": 139.8})
    mode, adapter, _, batch, page = made[0].children
    adapter.value = "lora"
    assert "20.4 GiB" in page.value
    mode.value = "rl"
    assert batch.value == 64 and "50.0 GiB" in page.value


def test_memory_bars_add_up():
    plans = {" ".join(key[:2]): parts for key, parts in PLANS.items()}
    fig = memory_plots.memory_bars(plans, {"T4": 14.6})
    (axis,) = fig.axes
    ends = [max(bar.get_x() + bar.get_width() for bar in bars) for bars in axis.containers]
    assert max(ends) == 120 and [t.get_text() for t in axis.get_yticklabels()] == list(plans)
    plt.close(fig)
