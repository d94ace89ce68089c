"""The Gymnasium environment."""

import json
import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from sftrl_lite.tasks.cards import FACES, OOD_RULE, Rule
from sftrl_lite.tasks.environments import GeneralPointsEnv
from sftrl_lite.tasks.general_points import GeneralPoints
from sftrl_lite.tasks.verifier import FAILURE

IDS = ("sftrl_lite/GeneralPoints-v0", "sftrl_lite/GeneralPointsOOD-v0")
SEVERAL = ("sftrl_lite/GeneralPoints-v0", "sftrl_lite/NavigationOOD-v0")
WRONG = json.dumps({"formula": "1+1"})


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_no_fault(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(name).unwrapped)


def test_a_seed_replays_the_episode():
    env = gym.make(IDS[0])
    runs = [(env.reset(seed=seed), env.step(WRONG), env.reset()) for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] != runs[0][2]


def test_solving_terminates():
    env = GeneralPointsEnv(feedback="none")
    first, info = env.reset(seed=0)
    answer = env.task.demonstration(info["problem"])
    text, reward, terminated, truncated, info = env.step(answer)
    assert (reward, terminated, truncated, info["kind"]) == (5, True, False, "solved")
    assert text == f"{first}\n\n{answer}"
    with pytest.raises(RuntimeError, match="reset"):
        env.step(answer)


def test_the_tries_run_out():
    env = GeneralPointsEnv(tries=3)
    text, info = env.reset(seed=0)
    problem = info["problem"]
    for i in range(3):
        before = text
        text, reward, terminated, truncated, info = env.step(WRONG)
        assert (reward, terminated, truncated) == (-2, False, i == 2)
        assert text == f"{before}\n\n{WRONG}\n\n{FAILURE}"
        assert info == {"kind": "wrong_numbers", "message": FAILURE, "problem": problem}


def test_the_last_try_can_still_win():
    env = GeneralPointsEnv(tries=2)
    _, info = env.reset(seed=0)
    env.step(WRONG)
    _, reward, terminated, truncated, _ = env.step(env.task.demonstration(info["problem"]))
    assert (reward, terminated, truncated) == (5, True, False)


def test_odd_answers_stay_inside_the_observation_space():
    env = GeneralPointsEnv(feedback="leaky", n_cards=5)
    env.reset(seed=0)
    for answer in ("", "\x00\ud800 ١٠ 🂡", "x" * 100_000, "{" * 3_000, WRONG):
        text, *_ = env.step(answer)
        assert text in env.observation_space


def test_settings_reach_the_task():
    ood = gym.make(IDS[1]).unwrapped
    for seed in range(30):
        _, info = ood.reset(seed=seed)
        assert info["problem"].rule == OOD_RULE and set(info["problem"].cards) & set(FACES)
    env = gym.make(IDS[0], rule="7-3-12", target=20, n_cards=3, dealing="deck", tries=1).unwrapped
    text, info = env.reset(seed=0)
    assert info["problem"].rule == Rule(7, 3, 12) and len(info["problem"].cards) == 3
    assert text.startswith("Make 20 ") and env.render() == text


@pytest.mark.parametrize(
    "wrong", [{"tries": 0}, {"rule": "ten"}, {"feedback": "loud"}, {"render_mode": "human"}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        GeneralPointsEnv(**wrong)


@pytest.mark.parametrize("name", SEVERAL)
def test_in_processes_of_their_own_they_say_the_same(name):
    """Four turns: a wrong answer, odd letters, no answer; the next episode has begun by then."""
    answers = (WRONG, '{"formula": "2×3", "action": "forward()"}'), ("", "stop"), ("{", "}")
    seen = {}
    for mode, how in (("sync", {}), ("async", {"shared_memory": False})):
        envs = gym.make_vec(name, 2, vectorization_mode=mode, vector_kwargs=how, tries=2)
        turns = [envs.reset(seed=3), *(envs.step(pair) for pair in answers)]
        seen[mode] = [(turn[0], *(list(map(str, x)) for x in turn[1:-1])) for turn in turns]
        assert len({text for turn in turns for text in turn[0]}) == 8
        envs.close()
    assert seen["sync"] == seen["async"]


@pytest.mark.parametrize("name", SEVERAL)
def test_text_in_shared_memory_is_refused(name):
    with pytest.raises(ValueError, match=r"say vector_kwargs=\{"):
        gym.make_vec(name, 2, vectorization_mode="async")


def test_what_the_trained_side_deals_is_new_on_the_other():
    trained, shifted = (gym.make(name).unwrapped for name in IDS)
    parts = {env: GeneralPoints(part=part) for env, part in ((trained, "train"), (shifted, "test"))}
    for env, part in parts.items():
        hands = [env.reset(seed=seed)[1]["problem"] for seed in range(60)]
        assert all(part.admits(hand) for hand in hands)
    names = ("sftrl_lite/Navigation-v0", "sftrl_lite/NavigationOOD-v0")
    trained, shifted = (set(gym.make(name).unwrapped.task.routes) for name in names)
    assert trained and not trained & shifted
