"""Routes, the navigation task, its verifier, whole walks, the Gymnasium environment."""

import json
import random
import statistics
import time
import warnings
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from sftrl_lite.models.tiny import UNK, make_tokenizer
from sftrl_lite.tasks.base import FEEDBACK
from sftrl_lite.tasks.city import city_routes
from sftrl_lite.tasks.environments import NavigationEnv
from sftrl_lite.tasks.navigation import TRAIN_ROUTES, Navigation, navigation, with_words
from sftrl_lite.tasks.routes import (
    ABSOLUTE,
    CLOCK,
    DEGREES,
    DIRECTIONS,
    HELM,
    INTERSECTION,
    NO_LANDMARK,
    RELATIVE,
    Leg,
    Route,
    steps,
)
from sftrl_lite.tasks.shipped_cities import DEV, LOOKS, TRAIN, load_city
from sftrl_lite.tasks.street_answers import (
    ASK,
    FAILURE,
    NO_CROSSING,
    REASONS,
    REWARDS,
    SEEN,
    SUCCESS,
    vocabulary,
    write_answer,
)
from sftrl_lite.tasks.walks import Decision, decisions, route_success

SPLITS = ("train", "id", "ood-rule", "ood-visual", "dev-rule", "dev-visual")
ROUTE = Route(
    "Testing",
    "000",
    (0.0, 0.0),
    350.0,
    (
        Leg(10.0, (10.0, 60.0), "Star Cafe is on your right", (((5.0, 30.0), None),)),
        Leg(95.0, (60.0, 60.0), None, (((30.0, 60.0), "Moon Bank is on your left"),)),
        Leg(60.0, (90.0, 90.0), "Sun Bakery is on your left"),
    ),
)
TASK = Navigation((ROUTE,))
WRONG = write_answer(NO_LANDMARK, "", "stop()")


def play(task, decision, **changes):
    """The verdict on the right answer with some of its fields changed."""
    answer = json.loads(task.demonstration(decision)) | changes
    return task.verify(decision, json.dumps(answer))


# --- words for headings ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "word"),
    [
        (0, "north"),
        (22, "north"),
        (23, "northeast"),
        (90, "east"),
        (338, "north"),
        (337, "northwest"),
    ],
)
def test_absolute_words(heading, word):
    assert ABSOLUTE.word(123, heading) == word


@pytest.mark.parametrize(
    ("before", "after", "word", "official"),
    [
        (0, 30, "slightly right", "slightly right"),
        (0, 45, "slightly right", "slightly right"),
        (0, 46, "right", "right"),
        (90, 45, "slightly left", "slightly left"),
        (90, 44, "left", "left"),
        # round the circle, where the released code goes wrong
        (350, 10, "slightly right", "left"),
        (10, 350, "slightly left", "right"),
        (300, 30, "right", "left"),
        (90, 90, "slightly right", "slightly left"),
        (0, 180, "left", "right"),
        (180, 0, "left", "left"),
    ],
)
def test_relative_words_and_the_known_error(before, after, word, official):
    assert RELATIVE.word(before, after) == word
    assert RELATIVE.word(before, after, official=True) == official


def test_clock_words():
    assert CLOCK.word(0, 0) == CLOCK.word(10, 24.9) == "12 o'clock"
    assert CLOCK.word(350, 80) == "3 o'clock" and CLOCK.word(0, 330) == "11 o'clock"


@given(
    st.sampled_from(DIRECTIONS),
    st.floats(0, 359.9),
    st.floats(0, 359.9),
    st.integers(-2, 2),
    st.integers(-2, 2),
)
def test_whole_turns_change_nothing(directions, before, after, i, j):
    word = directions.word(before, after)
    assert word in directions.words
    margin = min(abs((after - directions.relative * before - s) % 360) for s in directions.starts)
    if 1e-6 < margin < 360 - 1e-6:
        assert directions.word(before + 360 * i, after + 360 * j) == word


def test_each_set_of_words_goes_once_round():
    for directions in DIRECTIONS:
        said = [directions.word(0, angle) for angle in np.arange(0.5, 360)]
        assert set(said) == set(directions.words)
        assert sum(a != b for a, b in zip(said, said[1:] + said[:1], strict=True)) == len(set(said))


# --- the rail ----------------------------------------------------------------------------


def test_rail_of_a_route():
    rail = steps(ROUTE)
    assert [s.move for s in rail] == ["turn", "forward", "turn", "forward", "turn", "stop"]
    assert [s.instruction for s in rail] == [0, 1, 2, 3, 4, 5]
    assert [s.heading for s in rail] == [350, 10, 10, 95, 95, 60]
    assert [s.observation for s in rail] == [
        NO_LANDMARK,
        NO_LANDMARK,
        f"Star Cafe is on your right; {INTERSECTION}",
        "Moon Bank is on your left",
        f"{NO_LANDMARK}; {INTERSECTION}",
        "Sun Bakery is on your left",
    ]
    assert [TASK.action(s) for s in rail] == [
        "turn_direction(north)",
        "forward()",
        "turn_direction(east)",
        "forward()",
        "turn_direction(northeast)",
        "stop()",
    ]
    relative = replace(TASK, actions=RELATIVE)
    turns = [relative.action(s) for s in rail if s.move == "turn"]
    assert turns == [
        "turn_direction(slightly right)",
        "turn_direction(right)",
        "turn_direction(slightly left)",
    ]


def test_prompt_has_the_papers_content():
    text = TASK.prompt(Decision(ROUTE, 2))
    assert text.splitlines() == [
        "Follow the instructions from the start to the destination. Answer with one action at a "
        "time: forward(), stop() or turn_direction(x), where x is one of north, northeast, east, "
        "southeast, south, southwest, west, northwest.",
        "1. First, turn slightly right to face north.",
        "2. Move forward until you reach next intersection where Star Cafe is on your right.",
        "3. Turn right to face east.",
        "4. Move forward until you reach next intersection.",
        "5. Turn slightly left to face northeast.",
        "6. Move forward until you reach destination where Sun Bakery is on your left.",
        "O_1: No landmarks nearby",
        "A_1: turn_direction(north)",
        "O_2: No landmarks nearby",
        "A_2: forward()",
        "O_3: Star Cafe is on your right; You observe an intersection",
        "A_3:",
        ASK.strip(),
    ]


def test_the_answer_of_either_rule_stands_in_the_same_sentence():
    for split in ("id", "ood-rule", "dev-rule"):
        task = navigation(split)
        for decision in decisions(task.routes[:40]):
            if decision.step.move == "turn":
                told = task.instructions(decision.route)[decision.step.instruction]
                word = task.action(decision.step)[len("turn_direction(") : -1]
                assert f"urn {word} to face" in told or f"to face {word}." in told


def test_pictures_take_the_place_of_the_last_observation():
    task = navigation("id", pictures=True)
    decision = Decision(task.routes[0], 3)
    text, told = task.prompt(decision), navigation("id").prompt(decision)
    assert f"\nO_4: {SEEN}\nA_4:" in text and "front and" not in told
    assert text.count("O_") == told.count("O_") == 4
    picture = task.picture(decision)
    assert picture.size == (72, 72) and navigation("id").picture(decision) is None
    assert (task.name, navigation("id").name) == ("virl-vl", "virl-l")


# --- the verifier ------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("pictures", [False, True])
def test_demonstrations_are_right(split, pictures):
    task = navigation(split, pictures=pictures)
    for decision in decisions(task.routes):
        answer = task.demonstration(decision)
        verdict = task.verify(decision, answer)
        assert verdict.solved and verdict.reward == 1 and verdict.read_right
        assert verdict.recognised is (True if pictures else None)
        assert task.base_demonstration(decision) == answer


def test_rewards_of_wrong_answers():
    here = Decision(ROUTE, 2)
    assert play(TASK, here, action="turn_direction(west)").kind == "wrong_action"
    assert play(TASK, here, action="forward()").reward == -1
    foreign = play(TASK, here, action="turn_direction(right)")
    assert (foreign.kind, foreign.reward, foreign.read_right) == ("other_words", -1, True)
    blind = play(TASK, here, action="forward()", **{"current observation": NO_LANDMARK})
    assert (blind.kind, blind.reward, blind.read_right) == ("misread", -1.5, False)
    lucky = play(TASK, here, **{"current observation": "nothing"})
    assert lucky.solved and lucky.reward == 1 and not lucky.read_right
    lost = play(TASK, here, **{"current instruction": "Turn left to face west."})
    assert lost.solved and not lost.read_right
    assert TASK.over_budget == -1


def test_what_counts_as_the_same_words():
    here = Decision(ROUTE, 2)
    for action in (" turn_direction(east) ", "turn_direction( east )", "turn_direction('east')"):
        assert play(TASK, here, action=action).solved
    for action in (
        "turn_direction(East)",
        "turn(east)",
        "east",
        "",
        3,
        None,
        ["forward()"],
        "go()",
    ):
        assert not play(TASK, here, action=action).solved
    told = {"current instruction": "3. turn right to face  EAST"}
    assert play(TASK, here, **told).read_right
    clock = with_words(TASK, CLOCK)
    assert play(clock, here, action='turn_direction("3 o\'clock")').solved


def test_pictures_are_judged_by_landmark_and_crossing():
    task = replace(TASK, look=lambda route, step: (np.zeros((32, 64, 3), np.uint8), 0.0))
    here = Decision(ROUTE, 2)
    assert play(task, here).recognised is True
    for seen in ("Star Cafe is on your right", f"Star Cafe is on your left; {INTERSECTION}", 7):
        verdict = play(task, here, **{"current observation": seen})
        assert verdict.solved and verdict.recognised is False and verdict.read_right


@pytest.mark.parametrize("mode", FEEDBACK)
def test_messages(mode):
    task, here = replace(TASK, feedback=mode), Decision(ROUTE, 2)
    right, wrong = play(task, here).message, play(task, here, action="stop()").message
    reason = REASONS["wrong_action"]
    assert (right, wrong) == {
        "none": ("", ""),
        "binary": (SUCCESS, FAILURE),
        "reason": (SUCCESS, reason),
        "leaky": (SUCCESS, f"{reason} The instruction to follow here is number 3."),
    }[mode]
    assert REWARDS.keys() >= {"over_budget", *REASONS}


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=200) | st.from_regex(r"\{\"action\": \"[a-z_]{0,16}\(.{0,30}", fullmatch=True)
)
def test_junk_is_illegal_and_harmless(text):
    verdict = TASK.verify(Decision(ROUTE, 0), text)
    assert verdict.kind in REASONS and not verdict.solved and verdict.reward < 0


def test_long_answers_take_no_time():
    began = time.perf_counter()
    for answer in ("turn_direction(" + " " * 19_000, "'" * 19_000, "{" * 19_000):
        assert TASK.verify(Decision(ROUTE, 0), json.dumps({"action": answer})).kind == "illegal"
        assert TASK.verify(Decision(ROUTE, 0), answer).kind == "illegal"
    assert time.perf_counter() - began < 1


def test_only_text_is_an_answer():
    with pytest.raises(TypeError, match="str, not int"):
        TASK.verify(Decision(ROUTE, 0), 3)


# --- the released code's errors ----------------------------------------------------------


def test_official_errors_are_repeated_on_request():
    task = replace(TASK, official=True)
    assert task.instructions(ROUTE)[0] == "First, turn left to face north."  # 350 to 10
    assert replace(task, actions=RELATIVE).action(steps(ROUTE)[0]) == "turn_direction(left)"
    assert task.observation(steps(ROUTE)[4]).startswith("No landmark nearby; ")
    assert task.observation(steps(ROUTE)[0]) == task.observation(steps(ROUTE)[1]) == NO_LANDMARK
    here = Decision(ROUTE, 2)  # it is at an intersection, and says so
    verdict = play(replace(task, feedback="reason"), here, action="forward()")
    assert (verdict.kind, verdict.reward, verdict.message) == ("misread", -1.5, NO_CROSSING)
    assert play(TASK, here, action="forward()").kind == "wrong_action"
    shown = replace(task, look=lambda route, step: None)
    assert f"O_3: {SEEN}; {INTERSECTION}\n" in shown.prompt(here)
    assert f"O_2: {SEEN}\n" in shown.prompt(Decision(ROUTE, 1))


# --- splits ------------------------------------------------------------------------------


def test_splits():
    train, home = navigation("train"), navigation("id")
    assert len(train.routes) == TRAIN_ROUTES and len(home.routes) >= 200
    assert {r.city for r in (*train.routes, *home.routes)} == {TRAIN}
    assert not set(train.routes) & set(home.routes)
    paths = {(r.start, r.legs) for r in train.routes}
    assert not paths & {(r.start, r.legs) for r in home.routes}
    assert {r.city for r in navigation("dev-visual").routes} == {DEV}
    unseen = navigation("ood-visual")
    assert len({r.city for r in unseen.routes}) == 9 and len(unseen.routes) >= 200
    assert len(decisions(unseen.routes)) >= 1000
    assert not {r.city for r in unseen.routes} & {TRAIN, DEV}
    assert navigation("ood-rule").actions == RELATIVE
    assert navigation("ood-rule").routes == navigation("dev-rule").routes == home.routes
    assert not set(navigation("dev-rule").actions.words) & set(ABSOLUTE.words + RELATIVE.words)
    with pytest.raises(ValueError, match="choose train, id"):
        navigation("moon")


def test_all_words_are_used():
    for split in ("train", "id", "ood-rule", "ood-visual"):
        task = navigation(split)
        turns = Counter(
            task.action(d.step) for d in decisions(task.routes) if d.step.move == "turn"
        )
        assert len(turns) == len(task.actions.words)
        assert max(turns.values()) < 4 * min(turns.values())


def test_a_seed_replays_the_problems():
    task = navigation("id")

    def draw(seed):
        rng = random.Random(seed)
        return [task.sample(rng) for _ in range(20)]

    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"routes": ()}, "at least one route"),
        ({"feedback": "loud"}, "choose none"),
        ({"actions": CLOCK}, "clock words"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(TASK, **wrong)


def test_other_words_for_a_corpus():
    for words in (HELM, DEGREES, CLOCK):
        task = with_words(TASK, words)
        assert task.actions == words
        told = task.instructions(ROUTE)[2]
        assert task.action(steps(ROUTE)[2])[len("turn_direction(") : -1] in told


# --- whole walks -------------------------------------------------------------------------


def played(*tries):
    """What came of a decision, one truth value a try."""
    return SimpleNamespace(
        turns=[SimpleNamespace(verdict=SimpleNamespace(solved=bool(t))) for t in tries]
    )


def test_walks_are_put_together():
    other = replace(ROUTE, name="001")
    problems = decisions([ROUTE, other])
    good, second, bad = played(1), played(0, 1), played(0, 0)
    episodes = [good, second, *[good] * 4, good, good, bad, good, bad, good]
    order = list(range(12))
    random.Random(0).shuffle(order)
    counts = route_success([problems[i] for i in order], [episodes[i] for i in order])
    assert counts == {
        "route": (1, 2),
        "decision": (10, 12),
        "per_step": (10, 15),
        "walk_per_step": (6 + 2, 7 + 4),
    }


def test_incomplete_walks_are_refused():
    problems, good = decisions([ROUTE]), played(1)
    with pytest.raises(ValueError, match="Testing, route 000: 5 of 6"):
        route_success(problems[:5], [good] * 5)
    with pytest.raises(ValueError, match="step 0 played twice"):
        route_success([*problems, problems[0]], [good] * 7)


def test_a_walk_that_is_cut_off_does_not_count():
    """The curve over temperatures takes 300 of 500 decisions, which may end amid a walk."""
    task, good, bad = navigation("id"), played(1), played(0, 0)
    problems = decisions([ROUTE, replace(ROUTE, name="001")])
    assert task.metrics(problems, [good] * 12)["route"] == (2, 2)
    for cut in (7, 11):
        counts = task.metrics(problems[:cut], [*[good] * 6, *[bad] * (cut - 6)])
        assert counts == {"route": (1, 1), "walk_per_step": (6, 6)}
    # no whole walk; not its beginning; other decisions between; one twice
    for no_walks in (problems[:5], problems[1:], problems[::2], [*problems[:6]] * 2):
        assert task.metrics(no_walks, [good] * len(no_walks)) == {}
    assert task.metrics([], []) == {}


def test_the_first_turn_hides_everything_else():
    """A policy that only lost the relative words: right wherever it need not turn."""
    task = navigation("ood-rule")
    problems = decisions(task.routes)
    episodes = [played(d.step.move != "turn", d.step.move != "turn") for d in problems]
    counts = {k: hits / n for k, (hits, n) in route_success(problems, episodes).items()}
    assert counts["walk_per_step"] == 0 and counts["per_step"] > 0.5


# --- tokens ------------------------------------------------------------------------------


def test_every_chat_round_trips_and_is_short():
    tokenizer = make_tokenizer(vocabulary())
    unknown = tokenizer.convert_tokens_to_ids(UNK)
    lengths, answers = [], []
    for city in LOOKS:
        problems = decisions(city_routes(load_city(city)))
        for words in DIRECTIONS:
            some = problems if words == ABSOLUTE else problems[::9]
            task = with_words(Navigation((problems[0].route,), feedback="leaky"), words)
            seen = replace(task, look=lambda route, step: None)
            told = [task.prompt(d) for d in some]
            said = [task.demonstration(d) for d in some]
            rest = [seen.prompt(d) for d in some] + [task.verify(d, WRONG).message for d in some]
            ids = tokenizer(told + said + rest)["input_ids"]
            assert not any(unknown in row for row in ids)
            assert tokenizer.batch_decode(ids) == told + said + rest
            if words == ABSOLUTE:
                lengths += map(len, ids[: len(told)])
                answers += map(len, ids[len(told) : len(told + said)])
    print(f"prompt tokens: median {statistics.median(lengths)}, max {max(lengths)}")
    print(f"answer tokens: median {statistics.median(answers)}, max {max(answers)}")
    assert statistics.median(lengths) <= 70 and max(lengths) <= 100 and max(answers) <= 20
    assert len(tokenizer) < 300


def test_a_direction_is_one_token_everywhere():
    tokenizer = make_tokenizer(vocabulary())
    for directions in DIRECTIONS:
        for word in directions.words:
            assert word in tokenizer.tokenize(f"Turn {word} to face {word}.")
            assert tokenizer.tokenize(f"turn_direction({word})") == ["turn_direction(", word, ")"]


# --- the environment ---------------------------------------------------------------------

IDS = ("sftrl_lite/Navigation-v0", "sftrl_lite/NavigationOOD-v0")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("pictures", [False, True])
def test_gymnasium_finds_no_fault(name, pictures):
    mode = "rgb_array" if pictures else "ansi"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(name, pictures=pictures, render_mode=mode).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_a_right_walk_reaches_the_destination(name):
    env = gym.make(name).unwrapped
    text, info = env.reset(seed=3)
    route, rewards = info["problem"].route, []
    while True:
        text, reward, terminated, truncated, info = env.step(
            env.task.demonstration(info["problem"])
        )
        rewards.append(reward)
        assert not truncated and info["kind"] == "solved"
        if terminated:
            break
        assert info["problem"].index == len(rewards) and text == env.task.prompt(info["problem"])
    assert rewards == [1.0] * len(steps(route))
    with pytest.raises(RuntimeError, match="reset"):
        env.step("")


def test_two_failures_end_the_walk():
    env = NavigationEnv()
    text, info = env.reset(seed=0)
    first = info["problem"]
    text2, reward, terminated, truncated, info = env.step(WRONG)
    assert text2 == f"{text}\n\n{WRONG}\n\n{FAILURE}"
    assert (reward, terminated, truncated, info["problem"]) == (-1, False, False, first)
    *_, truncated, info = env.step(WRONG)
    assert truncated and info["problem"] == first
    official = NavigationEnv(official=True)
    official.reset(seed=0)
    official.step(WRONG)
    *_, truncated, info = official.step(WRONG)
    assert truncated and info["problem"].index == 1  # moved on, though the walk is over


def test_a_route_can_be_chosen_and_a_seed_replays_it():
    env = NavigationEnv(task=TASK)
    assert env.reset(options={"route": 0})[1]["problem"].route == ROUTE
    env = NavigationEnv("ood-visual")
    assert env.reset(seed=5) == env.reset(seed=5) != env.reset(seed=6)
    with pytest.raises(IndexError):
        env.reset(options={"route": 10_000})


def test_odd_answers_stay_inside_the_observation_space():
    env = NavigationEnv(feedback="leaky", tries=3)
    env.reset(seed=0)
    for answer in ("", "\x00\ud800 ١٠ 🂡", "x" * 100_000):
        text, *_ = env.step(answer)
        assert text in env.observation_space


def test_render_shows_what_the_walker_sees():
    env = NavigationEnv(render_mode="rgb_array", size=56)
    assert env.render() is None
    _, info = env.reset(seed=0)
    before = env.render()
    assert before.shape == (56, 56, 3) and before.dtype == np.uint8
    env.step(env.task.demonstration(info["problem"]))
    assert (env.render() != before).any()


@pytest.mark.parametrize(
    "wrong", [{"tries": 0}, {"split": "moon"}, {"feedback": "loud"}, {"render_mode": "human"}]
)
def test_wrong_environments_are_refused(wrong):
    with pytest.raises(ValueError):
        NavigationEnv(**wrong)
