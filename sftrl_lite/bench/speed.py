"""Speed of the parts, and of trl on the same work: ``python -m sftrl_lite.bench.speed``.

Rivals run in one process, one after the other in each round, from the same weights and
with the same problems, samples, tries and answer length; a figure is the median round.
Time is CPU time of this one-threaded process, so that a busy machine disturbs it less.
"""

from __future__ import annotations

import argparse
import copy
import csv
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel, PrinterCallback
from trl import GRPOTrainer

from sftrl_lite.files import ROOT
from sftrl_lite.models.loading import load
from sftrl_lite.models.tiny import CHAT_TEMPLATE
from sftrl_lite.models.vision import Processor, tokenizer_of
from sftrl_lite.scales import RLSettings, get_scale
from sftrl_lite.tasks.base import Playable, Problem, Task, Verdict
from sftrl_lite.tasks.environments import NavigationEnv
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.tasks.shipped_cities import TRAIN, load_city
from sftrl_lite.tasks.solver import random_formula
from sftrl_lite.tasks.street_view import panorama
from sftrl_lite.tasks.verifier import FAILURE, REWARDS
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.rollouts import Episode, rollout
from sftrl_lite.training.trl_grpo import make_trainer
from sftrl_lite.training.updates import new_learner

Figure = tuple[str, float, str]  # name, value, unit


def clock(work: Callable[[], Any]) -> float:
    """CPU seconds that ``work`` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def typical(work: Callable[[], Any], rounds: int) -> float:
    """Median seconds of ``work``."""
    return statistics.median(clock(work) for _ in range(rounds))


def verifier_figures(rounds: int) -> list[Figure]:
    """Verdicts on whole, distinct answers, and new solvable hands."""
    task, rng = GeneralPoints(), random.Random(0)
    hands = [task.sample(rng) for _ in range(20_000)]
    answers = [write_answer(hand, random_formula(hand.numbers, rng)) for hand in hands]

    def verify() -> None:
        for hand, answer in zip(hands, answers, strict=True):
            task.verify(hand, answer)

    def deal() -> None:
        for _ in hands:
            task.sample(rng)

    return [
        ("verdicts on distinct answers", len(hands) / typical(verify, rounds), "1/s"),
        ("new solvable hands", len(hands) / typical(deal, rounds), "1/s"),
    ]


def navigation_figures(rounds: int) -> list[Figure]:
    """Steps of whole walks, panoramas, and pictures of four views as a model gets them."""
    env, city, task = NavigationEnv(), load_city(TRAIN), navigation(pictures=True)
    rng, steps = random.Random(0), 5_000
    spots = [rng.randrange(len(city.spots)) for _ in range(500)]
    seen = [task.sample(rng) for _ in range(500)]

    def walk() -> None:
        over = True
        for _ in range(steps):
            if over:
                _, info = env.reset(seed=0)
            answer = env.task.demonstration(info["problem"])
            _, _, over, _, info = env.step(answer)

    def render() -> None:
        for spot in spots:
            panorama(city, spot, height=64)

    def look() -> None:
        for decision in seen:
            task.picture(decision)

    return [
        ("navigation, environment steps", steps / typical(walk, rounds), "1/s"),
        ("street panoramas, 64 x 128", len(spots) / typical(render, rounds), "1/s"),
        ("pictures of four views, 72 x 72", len(seen) / typical(look, rounds), "1/s"),
    ]


# --- environment_factory: an answer has to look like a tool call -----------------------

TOOL_TEMPLATE = CHAT_TEMPLATE.replace("m['role'] +", "m['role'].replace('tool', 'user') +").replace(
    "{{ m['content']", "{{ m['content'] + (m.tool_calls | tojson if m.tool_calls else '')"
)
OPENING = "{"  # of an answer; the parser swallows it
SUBMIT = {"name": "submit", "arguments": {"answer": "{content}"}}
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "fields": {
        "tool_calls": {
            "open": OPENING,
            "close_pattern": r"<\|eot_id\|>",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": SUBMIT},
        },
        "content": {"close_pattern": r"<\|eot_id\|>", "content": "text"},
    },
}


def environment_hooks(
    task: Playable[Problem], problems: list[Problem], settings: RLSettings
) -> dict[str, Any]:
    """The verifier as trl's environment. It cannot end an episode: solved hands go on."""
    by_prompt = {task.prompt(problem): problem for problem in problems}

    class Table:
        def reset(self, prompt: list[dict[str, Any]], **row: Any) -> None:
            self.hand = by_prompt[prompt[0]["content"]]
            self.points, self.solved = 0.0, False

        def submit(self, answer: str) -> str:
            """Hand in an answer.

            Args:
                answer: the JSON answer.
            """
            verdict = task.verify(self.hand, OPENING + answer)
            if not self.solved:
                self.points += verdict.reward
            self.solved |= verdict.solved
            return verdict.message

    def reward(completions: list[Any], environments: list[Table], **_: Any) -> list[float]:
        for messages, table in zip(completions, environments, strict=True):
            for call in messages[-1].get("tool_calls") or ():  # trl does not execute the last
                table.submit(call["function"]["arguments"]["answer"])
        return [t.points + (0 if t.solved else REWARDS["over_budget"]) for t in environments]

    return {
        "environment_factory": Table,
        "reward_funcs": reward,
        "config": {
            "max_tool_calling_iterations": settings.tries - 1,
            "generation_kwargs": {"max_new_tokens": settings.max_new_tokens},
        },
    }


# --- whole steps -----------------------------------------------------------------------

TEXT = GeneralPoints()


def trl_step(trainer: GRPOTrainer) -> tuple[float, float]:
    """CPU seconds of trl's rollout and of its whole step, without its set-up."""
    stamps, generate = [], trainer._generate

    def timed(prompts: list) -> Any:
        stamps.append(time.process_time())
        result = generate(prompts)
        stamps.append(time.process_time())
        return result

    trainer._generate = timed  # type: ignore[method-assign]  # to time it
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return stamps[1] - stamps[0], time.process_time() - stamps[0]


def episode_figures(
    model: PreTrainedModel,
    processor: Processor,
    settings: RLSettings,
    rounds: int,
    task: Task[Any] = TEXT,
) -> list[Figure]:
    """Verified episodes per second, ours and trl's: one step of GRPO each."""
    s, rng = replace(settings, method="rl-grpo"), random.Random(1)
    tokenizer = tokenizer_of(processor)
    problems = [task.sample(rng) for _ in range(s.problems)]
    pictured = task.picture(problems[0]) is not None
    weights = copy.deepcopy(model.state_dict())
    tool_tokenizer = copy.deepcopy(tokenizer)
    tool_tokenizer.chat_template = TOOL_TEMPLATE
    tool_tokenizer.response_template = RESPONSE_TEMPLATE
    model.config.max_position_embeddings = tokenizer.model_max_length  # trl looks for it here

    def ours() -> tuple[float, float]:
        chance = torch.Generator(model.device).manual_seed(0)
        names = ("samples", "tries", "max_new_tokens", "temperature")
        budget = {name: getattr(s, name) for name in names}
        args = (processor, task, problems)
        play = clock(lambda: rollout(model, *args, generator=chance, **budget))
        learner = new_learner(model, s, 0)
        return play, clock(lambda: rl_step(learner, *args, s, 0))

    def trl(reader: Processor, **hooks: Any) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            return trl_step(make_trainer(model, reader, task, problems, s, folder, 0, 1, **hooks))

    ways = {"ours": ours, "trl rollout_func": lambda: trl(processor)}
    if not pictured:  # no environment for pictures: the trainer for Mllama wants a rollout
        ways["trl environment_factory"] = lambda: trl(
            tool_tokenizer, **environment_hooks(task, problems, s)
        )
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds + 1):  # the first round warms up
        for way, work in ways.items():
            model.load_state_dict(weights)
            seconds[way].append(work())
    model.load_state_dict(weights)
    figures, shown = [], "pictures: " if pictured else ""
    for part, name in enumerate((f"{shown}rollout", f"{shown}whole step")):
        own = statistics.median(row[part] for row in seconds["ours"][1:])
        for way, rows in seconds.items():
            middle = statistics.median(row[part] for row in rows[1:])
            figures.append((f"{name}, {way}", s.problems * s.samples / middle, "episodes/s"))
            if way != "ours":
                figures.append((f"{name}, ours against {way}", middle / own, "x"))
    return figures


def picture_figures(base: str, settings: RLSettings, rounds: int) -> list[Figure]:
    """``episode_figures`` of hands in pictures, from the base that sees."""
    return episode_figures(*load(base), settings, rounds, make_task("gp-vl", scale="tiny"))


class Unsolvable(GeneralPoints):
    """The same game with a verifier that always says no: every try is used."""

    def verify(self, hand: Any, answer: str) -> Verdict:
        return Verdict(False, "wrong_value", -1.0, FAILURE, None)


def tries_figures(
    model: PreTrainedModel, processor: Processor, settings: RLSettings, rounds: int
) -> list[Figure]:
    """Cost of a rollout against its tries: linear means a flat number of tokens per second."""
    task, rng, figures = Unsolvable(), random.Random(2), []
    problems = [task.sample(rng) for _ in range(settings.problems)]
    for tries in (1, 3, 5, 10):
        episodes: list[Episode] = []

        def play(tries: int = tries, episodes: list[Episode] = episodes) -> None:
            episodes[:] = rollout(model, processor, task, problems, samples=8, tries=tries)

        seconds = typical(play, rounds)
        tokens = sum(len(turn.logps) for episode in episodes for turn in episode.turns)
        figures.append((f"rollout of {tries} tries", seconds, "s"))
        figures.append((f"rollout of {tries} tries, answer tokens", tokens / seconds, "1/s"))
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Print the table; ``--record`` also writes results/bench.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=get_scale("tiny").base, help="folder of the tiny model")
    parser.add_argument(
        "--picture-base", default=get_scale("tiny").base_for("gp-vl"), help="the one that sees"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds that the median is of")
    parser.add_argument("--record", action="store_true", help="write results/bench.csv")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # one core each: the ratio does not depend on who shares better
    torch.manual_seed(0)
    model, tokenizer = load(options.base)
    figures = verifier_figures(options.rounds) + navigation_figures(options.rounds)
    figures += episode_figures(model, tokenizer, get_scale("tiny").rl, options.rounds)
    figures += picture_figures(options.picture_base, get_scale("tiny").rl, options.rounds)
    figures += tries_figures(model, tokenizer, get_scale("tiny").rl, options.rounds)
    for name, value, unit in figures:
        print(f"{name:50}{value:12,.2f} {unit}")
    if options.record:
        with (ROOT / "results" / "bench.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("name", "value", "unit"), *figures])


if __name__ == "__main__":
    main()
