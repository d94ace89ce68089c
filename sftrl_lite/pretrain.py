"""The tiny base model: what it reads before anyone fine-tunes it.

The corpus is our stand-in for the web. Stage one is a *textbook*: solved hands under
many announced house rules. Stage two is *homework*: the same problems as chats with a
verifier, by students who always read the cards and the rule correctly but often only
guess a formula. A model of that corpus is careful in some samples and careless in
others, under every rule alike; reinforcement learning can later prefer the careful
mode. The shifted rule (J, Q, K = 11, 12, 13) and the development rule are never shown.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers import MllamaForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerFast

from sftrl_lite.cards import DEV_RULE, ID_RULE, OOD_RULE, Rule
from sftrl_lite.general_points import GeneralPoints, best_formula, vocabulary, write_answer
from sftrl_lite.models import make_tokenizer, save, tiny_config
from sftrl_lite.scales import seed_all, stream
from sftrl_lite.solver import random_formula
from sftrl_lite.verifier import FEEDBACK

Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Corpus:
    """What the base reads.

    Args:
        guess: chance that a student writes a random formula instead of a solution.
        tries: answers a student may give before the chat ends.
        common_rule: share of chats under the commonest house rule, J=Q=K=10.
        face: share of hands dealt so that they hold a face card.
    """

    guess: float = 0.0
    tries: int = 1
    common_rule: float = 0.15
    face: float = 0.5


TEXTBOOK = Corpus()
HOMEWORK = Corpus(guess=0.5, tries=5)


def house_rule(rng: random.Random, common: float) -> Rule:
    """J=Q=K=10 with chance ``common``, else any values 1..13 but the held-out rules."""
    if rng.random() < common:
        return ID_RULE
    while (rule := Rule(*(rng.randint(1, 13) for _ in range(3)))) in (OOD_RULE, DEV_RULE):
        pass
    return rule


def write_chat(corpus: Corpus, rng: random.Random) -> Chat:
    """One chat of the corpus: problem, answer, verifier's word, answer, ..."""
    task = GeneralPoints(
        rule=house_rule(rng, corpus.common_rule),
        face=rng.random() < corpus.face,
        feedback=rng.choice(("binary",) * 3 + FEEDBACK),
    )
    hand = task.sample(rng)
    chat = [{"role": "user", "content": task.prompt(hand)}]
    for _ in range(corpus.tries):
        guess = rng.random() < corpus.guess
        formula = random_formula(hand.numbers, rng) if guess else best_formula(hand)
        answer = write_answer(hand, formula)
        verdict = task.verify(hand, answer)
        chat.append({"role": "assistant", "content": answer})
        if verdict.solved:
            break
        chat.append({"role": "user", "content": verdict.message})
    return chat[: 2 * corpus.tries]


def batches(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, size: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches ``(input_ids, labels)``, both (size, length), right-padded.

    Labels are -100 outside the student's own tokens. Eight batches are written at a
    time and sorted by length, so that short chats do not carry the padding of long ones.
    """
    while True:
        encoded = tokenizer.apply_chat_template(
            [write_chat(corpus, rng) for _ in range(8 * size)],
            return_assistant_tokens_mask=True,
            return_dict=True,
        )
        rows = sorted(
            zip(encoded["input_ids"], encoded["assistant_masks"], strict=True),
            key=lambda row: len(row[0]),
        )
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(ids) for ids, _ in chunk)
            ids = torch.full((size, width), tokenizer.pad_token_id)
            labels = torch.full((size, width), -100)
            for i, (row, mask) in enumerate(chunk):
                ids[i, : len(row)] = torch.tensor(row)
                labels[i, : len(row)] = torch.where(
                    torch.tensor(mask, dtype=torch.bool), ids[i, : len(row)], -100
                )
            yield ids, labels


@dataclass(frozen=True)
class Stage:
    """A part of pre-training: what is read, for how long, how fast."""

    name: str
    corpus: Corpus
    steps: int
    lr: float
    batch: int = 128


STAGES = (
    Stage("textbook", TEXTBOOK, steps=1500, lr=2e-3),
    Stage("homework", HOMEWORK, steps=300, lr=5e-4),
)


SAVE_EVERY = 100  # steps


def learn(
    model: PreTrainedModel,
    data: Iterator[tuple[torch.Tensor, torch.Tensor]],
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    start: int = 0,
) -> Iterator[float]:
    """Next-token training; yields the loss of each step from ``start`` on.

    The learning rate warms up over 50 steps and then falls linearly to a tenth.
    Padding stands on the right, where causal attention cannot see it: no mask needed.
    """
    model.train()
    for step in range(start, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.lr * min((step + 1) / 50, 1.0) * (1 - 0.9 * step / stage.steps)
        ids, labels = next(data)
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def make_base(
    out: Path, seed: int = 0, threads: int = 2, stages: tuple[Stage, ...] = STAGES
) -> PreTrainedModel:
    """Pre-train the tiny base from nothing and save it in ``out``.

    A checkpoint beside ``out`` every ``SAVE_EVERY`` steps lets an interrupted call go on; the
    data stream is replayed up to it, so the result is the same.
    """
    torch.set_num_threads(threads)
    seed_all(seed)
    tokenizer = make_tokenizer(vocabulary())
    model = MllamaForConditionalGeneration(tiny_config(len(tokenizer)))
    path = out.with_name(out.name + ".checkpoint.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = torch.load(path, weights_only=True) if path.exists() else None
    for number, stage in enumerate(stages):
        if saved and saved["stage"] > number:
            continue
        data = batches(stage.corpus, tokenizer, stage.batch, stream(seed, stage.name))
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
        start = 0
        if saved and saved["stage"] == number:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            start = saved["step"]
            for _ in range(start):
                next(data)
        losses = learn(model, data, stage, optimizer, start)
        bar = tqdm(losses, stage.name, initial=start, total=stage.steps, unit="step")
        for step, loss in enumerate(bar, start + 1):
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if step % SAVE_EVERY == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state | {"stage": number, "step": step}, f"{path}.part")
                os.replace(f"{path}.part", path)
    save(model.eval(), tokenizer, out)
    path.unlink(missing_ok=True)
    return model
