"""The control that is paid by a coin: nothing that it is paid or told depends on its answers."""

import random
from collections import Counter

import pytest
from scipy.stats import chisquare

from sftrl_lite.models.chats import end_of_turn
from sftrl_lite.runs.controls import Coin
from sftrl_lite.tasks.base import FEEDBACK
from sftrl_lite.tasks.registry import TASKS, make_task
from sftrl_lite.training import rollouts
from sftrl_lite.training.rollouts import rollout

N = 1000


def judged(task, problem, answer, seed, n=N):
    coin = Coin(task, random.Random(seed))
    return [coin.verify(problem, answer) for _ in range(n)]


@pytest.fixture(params=TASKS)
def game(request):
    """A task, one of its problems, and answers from right to senseless."""
    task = make_task(request.param, "train", "tiny")
    problem, *others = task.draw(random.Random(3), 50)
    other = next(p for p in others if not task.verify(problem, task.demonstration(p)).solved)
    answers = [task.demonstration(problem), task.demonstration(other), "", "24"]
    kinds = [task.verify(problem, answer).solved for answer in answers]
    assert kinds == [True, False, False, False]  # the real verifier tells them apart
    return task, problem, answers


def test_the_coin_does_not_read_the_answer(game):
    task, problem, answers = game
    first, *others = (judged(task, problem, answer, seed=0) for answer in answers)
    assert all(verdicts == first for verdicts in others)


def test_points_have_mean_zero(game):
    task, problem, answers = game
    for seed, answer in enumerate(answers[:2]):
        verdicts = judged(task, problem, answer, seed)
        assert {(v.solved, v.reward) for v in verdicts} == {(True, 1.0), (False, -1.0)}
        assert abs(sum(v.reward for v in verdicts)) < 3 * N**0.5  # its deviation is 1
    assert Coin.over_budget == Coin(task, random.Random()).over_budget == 0.0


@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("name", TASKS)
def test_the_coin_speaks_as_the_verifier_does(name, feedback):
    task = make_task(name, "train", "tiny", feedback=feedback)
    problem = task.sample(random.Random(0))
    said = {v.solved: v.message for v in judged(task, problem, "1+1", seed=0, n=20)}
    assert said[True] == task.verify(problem, task.demonstration(problem)).message
    assert said[False] == task.verify(problem, "").message
    assert (said[True] == said[False]) == (feedback == "none")


def test_the_problem_is_shown_as_it_is(game):
    task, problem, _ = game
    coin = Coin(task, random.Random(0))
    assert coin.prompt(problem) == task.prompt(problem)
    picture = task.picture(problem)
    assert (coin.picture(problem) is None) == (picture is None)
    assert picture is None or coin.picture(problem).tobytes() == picture.tobytes()


def test_how_long_an_episode_lasts_does_not_depend_on_the_truth(
    random_model, tokenizer, monkeypatch
):
    """Played through, by one who always answers right and one who never does."""
    task, tries, n = make_task("gp-l", "train"), 4, 256
    problem = task.sample(random.Random(0))

    def play(text, judge):
        answer = [*tokenizer(text)["input_ids"], end_of_turn(tokenizer)]

        def generate(decoder, logits, *settings):
            return [answer] * len(logits), [[0.0] * len(answer)] * len(logits)

        monkeypatch.setattr(rollouts, "generate", generate)
        return rollout(random_model, tokenizer, judge, [problem], samples=n, tries=tries)

    players = (task.demonstration(problem), "24")
    real = [Counter(len(e.turns) for e in play(text, task)) for text in players]
    assert real == [{1: n}, {tries: n}]
    for seeds in ((0, 0), (1, 2)):
        lengths = []
        for text, seed in zip(players, seeds, strict=True):
            episodes = play(text, Coin(task, random.Random(seed)))
            lengths.append(Counter(len(e.turns) for e in episodes))
            expected = [n / 2, n / 4, n / 8, n / 8]  # the last try ends it either way
            assert chisquare([lengths[-1][k] for k in (1, 2, 3, 4)], expected).pvalue > 0.01
            # nothing is paid but the coin's points: not for the last failed try either
            for episode in episodes:
                *before, last = (turn.reward for turn in episode.turns)
                assert set(before) <= {-1.0} and last == (1.0 if episode.solved else -1.0)
            total = sum(turn.reward for episode in episodes for turn in episode.turns)
            assert abs(total) < 3 * sum(len(e.turns) for e in episodes) ** 0.5
        assert (lengths[0] == lengths[1]) == (seeds[0] == seeds[1])
