"""What SFT imitates: solved problems, tokenized, with or without pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from datasets import Dataset
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from sftrl_lite.models.chats import Chat, ask, demonstrated
from sftrl_lite.models.vision import (
    Pixels,
    Processor,
    has_cross_attention,
    image_mask,
    to_pixels,
)
from sftrl_lite.pictures import open_picture
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Playable, Problem, Teachable
from sftrl_lite.training import distributed
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.static_decoding import free_room

# transformers 5.23 has a new name for it; trl turns it on under the old one
NEW, OLD = "activation_checkpointing", "gradient_checkpointing"
KEPT = 2**30  # bytes of pixels that are kept in memory; more are made when a batch needs them


Draw = Callable[[Sequence[int]], Pixels]


def demonstrations(
    task: Teachable[Problem],
    problems: Sequence[Problem],
    answer: Callable[[Problem], str] | None = None,
) -> Dataset:
    """Prompt and correct answer of each problem, as chat messages for trl.

    Args:
        answer: writes the answer to a problem; ``task.demonstration`` if not given.
    """
    answer = answer or task.demonstration
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": task.prompt(problem)}],
                "completion": [{"role": "assistant", "content": answer(problem)}],
            }
            for problem in problems
        ]
    )


def picture_demonstrations(
    processor: Processor,
    task: Teachable[Problem],
    problems: Sequence[Problem],
    answer: Callable[[Problem], str] | None = None,
) -> tuple[Dataset, Pixels | Draw]:
    """``demonstrations`` for tasks with pictures: tokens, and pixels.

    Returns:
        rows of input_ids, labels (-100 outside the answer) and ``picture``, a row of the
        pixels, which are the second value: made once, or where they take more than ``KEPT``
        bytes a function that makes those of given rows, the same each time.
    """
    answer = answer or task.demonstration
    first = task.picture(problems[0])  # stands for all in the texts, which show none
    chats = [[ask(task, p, first), {"role": "assistant", "content": answer(p)}] for p in problems]

    def draw(which: Sequence[int]) -> Pixels:
        return to_pixels(processor, [cast(Image.Image, task.picture(problems[i])) for i in which])

    size = sum(tensor.nbytes for tensor in draw([0]).values())
    every = range(len(problems))
    return tokenized(processor, chats), draw(every) if size * len(every) <= KEPT else draw


def training_rows(
    processor: Processor,
    task: Teachable[Problem],
    problems: Sequence[Problem],
    answer: Callable[[Problem], str] | None = None,
) -> tuple[Dataset, Pixels | Draw | None]:
    """What ``train_sft`` reads of problems: rows of tokens, and pixels where the task shows any."""
    if task.picture(problems[0]) is not None:
        return picture_demonstrations(processor, task, problems, answer)
    rows = demonstrations(task, problems, answer)
    return tokenized(processor, [row["prompt"] + row["completion"] for row in rows]), None


def tokenized(processor: Processor, chats: Sequence[Chat]) -> Dataset:
    """Chats that end with an answer as rows of input_ids, labels and their number, ``picture``."""
    rows = demonstrated(processor, chats)
    return Dataset.from_list([row | {"picture": i} for i, row in enumerate(rows)])


@dataclass
class Given:
    """A task whose problems are examples with their answers, as ``read_sft_data`` gives them.

    Args:
        pictures: show the picture of each; else the examples are text.
    """

    pictures: bool = False

    def prompt(self, example: Any) -> str:
        return example.prompt

    def picture(self, example: Any) -> Image.Image | None:
        return open_picture(example.images[0]) if self.pictures else None

    def demonstration(self, example: Any) -> str:
        return example.answer


def verified(
    model: PreTrainedModel,
    processor: Processor,
    task: Playable[Problem],
    problems: Sequence[Problem],
    seed: int,
    samples: int = 8,
    max_new_tokens: int = 40,
) -> tuple[list[tuple[Problem, str]], int]:
    """Rejection sampling: what the model itself answers and the verifier accepts.

    Args:
        samples: answers drawn for each problem, at temperature 1; every accepted one is kept, so
            an answer weighs as much as the model likes it.

    Returns:
        pairs of a problem and an accepted answer, and how many tokens were generated.

    Raises:
        ValueError: no answer was accepted.
    """
    pairs, tokens, few = [], 0, 60
    for start in range(0, len(problems), few):
        dice = torch.Generator(model.device)
        dice.manual_seed(stream(seed, "verified", start).getrandbits(60))
        asked = dict(samples=samples, tries=1, max_new_tokens=max_new_tokens, generator=dice)
        mine = distributed.split_between_processes(problems[start : start + few])
        played = rollout(model, processor, task, mine, **asked)
        found = [(e.problem, e.turns[0].answer) for e in played if e.solved]
        pairs += distributed.all_gather(found)
        tokens += sum(distributed.all_gather([len(e.turns[0].logps) for e in played]))
    free_room(model)  # the memory of its cache is the training's now
    if not pairs:
        raise ValueError(f"none of {len(problems) * samples} answers is right: nothing to imitate")
    return pairs, tokens


@dataclass
class Collator:
    """Rows of ``chats.demonstrated``, with pictures or without, to a batch.

    trl's own collator leaves Mllama's cross-attention mask at the prompt's length (trl 1.16),
    and decodes every picture again at every step.
    """

    model: PreTrainedModel
    pad: int
    pixels: Pixels | Draw  # none for chats in text

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Batch of right-padded ids and labels (B, L), pixels and masks."""
        columns = [[torch.tensor(row[name]) for row in rows] for name in ("input_ids", "labels")]
        ids = pad_sequence(columns[0], batch_first=True, padding_value=self.pad)
        labels = pad_sequence(columns[1], batch_first=True, padding_value=-100)
        which = [row["picture"] for row in rows]
        if callable(self.pixels):
            seen = self.pixels(which)
        else:
            seen = {name: tensor[which] for name, tensor in self.pixels.items()}
        lengths = torch.tensor([[len(row)] for row in columns[0]])
        real = (torch.arange(ids.shape[1]) < lengths).long()
        if seen and has_cross_attention(self.model):
            seen["cross_attention_mask"] = image_mask(ids, self.model, seen["aspect_ratio_mask"])
        return {"input_ids": ids, "attention_mask": real, "labels": labels, **seen}
