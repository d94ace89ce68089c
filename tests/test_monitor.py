"""The training monitor: reads what runs write, says and draws it, and changes nothing."""

import json
import re

import pytest

from sftrl_lite.course import monitor
from sftrl_lite.runs import follow, headline
from sftrl_lite.runs.run_config import Run
from sftrl_lite.runs.watch import COLUMNS, Log, Watch, transcript
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.training.rollouts import Episode, Turn

HANDS = [Hand(("3", "3", "8", "K")), Hand(("2", "3", "4", "A"))]
TASK = GeneralPoints()
OTHER = {"3 3 8 K": "3+3+8+10", "2 3 4 A": "2*3*4*1"}  # right, not the solver's draw


def played(hand, answer):
    verdict = TASK.verify(hand, answer)
    return Episode(hand, [1, 2], [Turn(1, 2, [0.0], answer, verdict, verdict.reward)])


def right(hand):
    return write_answer(hand, OTHER[" ".join(hand.cards)])


def wrong(hand):
    return write_answer(hand, "1+1")


def write(out, rows, looks):
    """A run's files, by the package's own writer; looks: by step a function of the hand."""
    out.mkdir(parents=True, exist_ok=True)
    log = Log(out, Watch(), {})
    for step, figures in rows.items():
        log.step(step, figures)
    for step, answer in looks.items():
        log.look(step, TASK, [played(hand, answer(hand)) for hand in HANDS])


@pytest.fixture
def folders(tmp_path):
    """SFT learns its demonstrations by heart, RL learns to be right in its own way."""
    sft = {10: dict(loss=0.9, grad_norm=2.0), 20: dict(loss=0.1, grad_norm=0.5)}
    rl = {
        n: dict(loss=9.0, reward=n - 2.0, success=n / 4, kl=0.01, clipped=0.1, entropy=0.3 / n)
        | dict(grad_norm=5.0 * n)
        for n in (1, 2, 3)
    }
    write(tmp_path / "sft", sft, {0: wrong, 1: right, 2: TASK.demonstration})
    write(tmp_path / "rl-ppo", rl, {0: wrong, 1: right})
    return {name: tmp_path / name for name in ("sft", "rl-ppo")}


# --- when a look is due ----------------------------------------------------------------


def test_looks_double_and_may_be_added_to_regular_ones(tmp_path):
    log = Log(tmp_path, Watch(doubling=True), {})
    assert [n for n in range(20) if log.due(n)] == [0, 1, 2, 4, 8, 16]
    log = Log(tmp_path, Watch(transcripts=6, doubling=True), {})
    assert [n for n in range(20) if log.due(n)] == [0, 1, 2, 4, 6, 8, 12, 16, 18]
    assert not any(Log(tmp_path, Watch(), {}).due(n) for n in range(20))


def test_a_transcript_holds_what_sft_is_taught():
    said = transcript(TASK, played(HANDS[0], right(HANDS[0])))
    assert said["demonstration"] == TASK.demonstration(HANDS[0]) and said["solved"]


# --- reading while it is written -------------------------------------------------------


def test_a_half_written_line_waits(folders):
    out = folders["sft"]
    before = (out / "steps.csv").read_bytes()
    for name in ("steps.csv", "transcripts.jsonl"):
        with (out / name).open("a") as file:
            file.write("30,0.")
    assert list(follow.read_steps(out)["step"]) == [10, 20]
    assert [look["step"] for look in follow.read_looks(out)] == [0, 1, 2]
    assert (out / "steps.csv").read_bytes() == before + b"30,0."  # a reader cuts nothing off


def test_before_the_first_step_there_is_nothing(tmp_path):
    assert list(follow.read_steps(tmp_path).columns) == list(COLUMNS)
    assert follow.read_steps(tmp_path).empty and follow.read_looks(tmp_path) == []
    assert follow.latest(tmp_path) == "" and follow.answers_text({"SFT": tmp_path}) == ""
    page = monitor.bundle({"sft": tmp_path})
    assert "No step is done yet" in page["text/html"]


def test_the_newest_step_in_a_few_words(folders):
    assert follow.latest(folders["sft"]) == "step 20: loss 0.100, gradient 0.5"
    told = follow.latest(folders["rl-ppo"])  # without the loss, which is the value head's
    words = "solved 75%, KL 0.0100, clipped 10%, entropy 0.100, gradient 15.0"
    assert told == f"step 3: reward +1.00, {words}"


# --- the same hands, look after look ---------------------------------------------------


def test_marks_tell_memorised_from_right_and_wrong(folders):
    found = follow.answers(folders["sft"])
    assert list(found) == ["1: 3 3 8 K", "2: 2 3 4 A"]
    first, second, third = found["1: 3 3 8 K"]
    assert (first.step, first.formula, first.mark) == (0, "1+1", follow.WRONG)
    assert (second.formula, second.mark) == ("3+3+8+10", follow.RIGHT)
    assert (third.step, third.mark) == (2, follow.TAUGHT)


def test_a_terminal_shows_signs_in_columns(folders):
    lines = follow.answers_text({"SFT": folders["sft"], "RL": folders["rl-ppo"]}).splitlines()
    assert lines[2].split() == ["after", "step", "0", "1", "2"]
    assert lines[3].split()[-4:] == ["SFT", ".", "o", "#"]
    assert lines[4].split()[-3:] == ["RL", ".", "o"] and len(lines) == 3 + 2 * len(HANDS)
    assert all(len(line) < 100 for line in lines)


def test_a_problem_without_cards_is_numbered_and_ends_are_shown(tmp_path):
    turn = {"answer": "and so on: turn left now", "kind": "illegal", "reward": -1, "message": ""}
    look = {"step": 0, "episodes": [{"prompt": "?", "solved": False, "turns": [turn]}]}
    (tmp_path / "transcripts.jsonl").write_text(json.dumps(look) + "\n")
    ((name, (said,)),) = follow.answers(tmp_path).items()
    assert name == "problem 1" and said.formula == "so on: turn left now"


def test_a_run_that_has_not_begun_hides_no_hands(folders, tmp_path):
    said = monitor.answers_words({"sft": folders["sft"], "rl-ppo": tmp_path / "not yet"})
    assert said.startswith(f"First greedy answers to {len(HANDS)} training hands. SFT: ")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("transcripts.jsonl", "[[null]]\n"),
        ("transcripts.jsonl", '{"step": 1}\n'),
        ("transcripts.jsonl", "not json\n"),
        ("transcripts.jsonl", '{"step": 1, "episodes": [7]}\n'),
        ("steps.csv", ",".join(COLUMNS) + "\n" + ",".join(["x"] * len(COLUMNS)) + "\n"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content):
    """Of a run that has ended, too, whose files nothing else reads again."""
    (tmp_path / name).write_text(content)
    read = follow.latest if name == "steps.csv" else follow.answers
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path / name))} is damaged; delete"):
        read(tmp_path)


# --- the page --------------------------------------------------------------------------


def test_each_figure_is_a_panel_and_rls_loss_is_none(folders):
    steps = {name: follow.read_steps(out) for name, out in folders.items()}
    drawn = monitor.charted(steps)
    assert list(drawn) == [c for c in monitor.CHARTS if c in drawn] and len(drawn) == 7
    assert list(drawn["loss"]) == ["sft"] and list(drawn["reward"]) == ["rl-ppo"]
    assert list(drawn["grad_norm"]) == ["sft", "rl-ppo"]
    figure = monitor.charts(steps)
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(monitor.CHARTS.values())
    assert {axis.get_xscale() for axis in figure.axes} == {"log"}  # 20 steps against 3
    alone = monitor.charts({"rl-ppo": steps["rl-ppo"]})
    assert {axis.get_xscale() for axis in alone.axes} == {"linear"} and len(alone.axes) == 6


def test_the_page_reads_without_colours_and_pictures(folders):
    page = monitor.bundle(folders)
    table = page["text/html"]
    assert table.count("★") == 2 + 1 and table.count("✓") == 4 + 1  # and once in the key
    assert re.search('<img alt="Training so far, SFT at step 20 and RL', table)
    assert "RL (PPO), reward per episode: -1 to 1" in page["text/plain"]
    assert "SFT: from 0 to 2 exactly as SFT is taught" in page["text/plain"]
    assert "RL (PPO): from 0 to 0 exactly as SFT is taught, from 0 to 2" in page["text/plain"]


def test_runs_are_compared_hand_by_hand_and_missing_ones_are_named(folders, monkeypatch):
    pages = []
    monkeypatch.setattr(monitor, "display", lambda page, raw: pages.append(page))
    monitor.compare(folders)
    assert pages[0]["text/html"].count("<code") == len(HANDS) * (3 + 2)
    monitor.compare({"sft": folders["sft"] / "nowhere", "rl-ppo": folders["rl-ppo"]})
    assert pages[1]["text/plain"].endswith("SFT is not here: run its chapter first.")
    assert pages[1]["text/html"].count("<code") == len(HANDS) * 2


def test_answers_are_escaped(folders):
    with (folders["sft"] / "transcripts.jsonl").open("a") as file:
        bad = played(HANDS[0], '{"formula": "<script>alert(1)</script>"}')
        look = {"step": 4, "episodes": [transcript(TASK, bad)]}
        file.write(json.dumps(look) + "\n")
    page = monitor.bundle(folders)["text/html"]
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_the_page_is_renewed_while_the_runs_train(folders, monkeypatch):
    pages, out = [], folders["sft"].parent

    class Handle:
        def update(self, page, raw):
            pages.append(page)

    def shown(page, raw, display_id):
        pages.append(page)
        return Handle()

    def train(runs, out, experiment, look):
        look()  # nothing new: no page
        write(out / "sft", {30: dict(loss=0.05)}, {})
        look()
        return f"rows of {experiment}"

    monkeypatch.setattr(monitor, "display", shown)
    monkeypatch.setattr(monitor, "side_by_side", train)
    monkeypatch.setattr(monitor, "EVERY", 0.0)
    runs = {"sft": Run("sft"), "rl-ppo": Run("rl-ppo")}
    assert monitor.train_and_watch(runs, out, "a chapter") == "rows of a chapter"
    ends = ["SFT at step 30" in page["text/plain"] for page in pages]
    assert ends == [False, True, True]


def test_a_page_costs_no_more_than_a_look_every_few_seconds(folders, monkeypatch):
    pages, out = [], folders["sft"].parent
    handle = type("Handle", (), {"update": lambda self, page, raw: pages.append(page)})()
    monkeypatch.setattr(monitor, "display", lambda *_, **__: handle)
    monkeypatch.setattr(monitor, "side_by_side", lambda *_, look: [look() for _ in range(50)])
    monitor.train_and_watch({"sft": Run("sft")}, out)
    assert len(pages) == 1  # the last one


def test_runs_side_by_side_write_doubling_looks():
    assert headline.WATCH.doubling
    assert set(headline.headline_runs(3, "tiny")) == {"sft", "rl-ppo"}
    assert headline.headline_folder(3, "tiny", "x").as_posix() == "x/tiny-seed3"
