"""What is asked of a run before it starts: known words, an answer format, a prompt that fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from sftrl_lite.models.chats import unreadable
from sftrl_lite.models.vision import Processor
from sftrl_lite.runs.run_config import Run, rl_settings
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Playable, Problem, Task
from sftrl_lite.tasks.panoramas import DataError
from sftrl_lite.tasks.prompts import off_distribution, template_for
from sftrl_lite.tasks.registry import given
from sftrl_lite.tasks.released_prompts import difference, learn
from sftrl_lite.tasks.sft_data import Demonstration
from sftrl_lite.training import distributed
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.static_decoding import free_room

READABLE = 0.5  # RL starts where at least this share of the answers has the right form


def check_words(processor: Processor, base: str, tasks: Iterable[Task[Any]]) -> None:
    """Whether a model can read what tasks say in other words: a tiny one knows few.

    Raises:
        ValueError: one line that names the first letter that it has no token for.
    """
    for task in tasks:
        problem = task.sample(stream(0, "words"))
        told = task.verify(problem, "").message
        for text in (task.prompt(problem), task.demonstration(problem), told):
            if letter := unreadable(processor, text):
                raise ValueError(f"{base} cannot read this prompt: it has no token for {letter!r}")


def examples(run: Run, processor: Processor) -> list[Demonstration]:
    """The examples of a run's file that it trains on: at most ``hands``, in random order.

    Raises:
        DataError: a malformed entry, or one that the model cannot read; names it.
    """
    found, _ = given(run.data, run.task, run.skip_bad)
    found = stream(run.seed, "examples").sample(found, min(run.hands, len(found)))
    for example in found:
        for text in (example.prompt, example.answer):
            if letter := unreadable(processor, text):
                where = f"{run.data}, entry {example.entry}"
                raise DataError(f"{where}: {run.base} has no token for {letter!r}")
    return found


def remarks(run: Run) -> list[str]:
    """What should be known before a run starts, a line each."""
    run = run.filled()
    said = [off_distribution(run.base, run.prompt)]
    if run.imitates_file:
        found, reserved = given(run.data, run.task, run.skip_bad)
        if reserved:
            said += [f"{run.data}: {reserved} examples of test cards are left out"]
        task = run.make("train")
        if run.prompt:
            template = template_for(run.task, run.prompt)
        else:
            shown = [task.sample(stream(0, "remarks", i)) for i in range(8)]
            images = found[0].images if run.task.endswith("-vl") else ()
            own = [Demonstration(task.prompt(p), task.demonstration(p), images) for p in shown]
            template, _ = learn(own)
        if wrong := difference(replace(template, answer=""), found[0]):
            said += [f"{run.data} has other prompts than evaluations ask: {wrong}; see --prompt"]
    return [line for line in said if line]


def check_format(
    run: Run,
    model: PreTrainedModel,
    processor: Processor,
    task: Playable[Problem],
    hands: Sequence[Problem],
) -> None:
    """Play 32 training problems, one try each, and refuse a model that knows no format.

    RL can make more likely what a model does sometimes. Where it never answers in the format all
    rewards are alike, and hours later it is where it began (paper, figure 9). The answers have a
    random stream of their own, so that a run's numbers do not depend on this.

    Raises:
        RuntimeError: under ``READABLE`` of the answers have the right form.
    """
    settings, dice = rl_settings(run), torch.Generator(model.device)
    dice.manual_seed(stream(run.seed, "format").getrandbits(60))
    played = rollout(
        model,
        processor,
        task,
        distributed.split_between_processes(hands[:32]),
        tries=1,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        generator=dice,
    )
    free_room(model)  # the memory of its cache is the training's now
    kinds = distributed.all_gather([episode.turns[0].verdict.kind for episode in played])
    if (wrong := kinds.count("illegal")) > (1 - READABLE) * len(kinds):
        raise RuntimeError(
            f"{run.base} does not answer in the format ({wrong} of {len(kinds)} answers are "
            f"illegal), so that RL has nothing to select from; make an Init of it first "
            f"(python -m sftrl_lite init), or go on with --anyway"
        )
