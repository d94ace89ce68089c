"""The tiny base model: what it reads before anyone fine-tunes it.

The corpus is our stand-in for the web. Stage one is a *textbook*: solved hands under
many announced house rules. Stage two is *homework*: the same problems as chats with a
verifier, by students who always read the cards and the rule correctly but often only
guess a formula. A model of that corpus is careful in some samples and careless in
others, under every rule alike; reinforcement learning can later prefer the careful
mode. The shifted rule (J, Q, K = 11, 12, 13) and the development rule are never shown.

The base for pictures grows out of the text base, as Llama 3.2 Vision grew out of Llama 3.1: a
vision tower and a cross-attention layer are added, and it reads a *picture book*, then
*picture homework* by students who sometimes misread a card.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import MllamaForConditionalGeneration, PreTrainedModel

from sftrl_lite.cards import DEV_RULE, ID_RULE, OOD_RULE, RANKS, Rule, deal
from sftrl_lite.general_points import GeneralPoints, Hand, best_formula, vocabulary, write_answer
from sftrl_lite.models import Processor, load, make_processor, make_tokenizer, save, tiny_config
from sftrl_lite.pictures import Look
from sftrl_lite.scales import seed_all, stream
from sftrl_lite.solver import random_formula, solutions
from sftrl_lite.verifier import FEEDBACK
from sftrl_lite.vision import ask, encode, image_mask, pictures_of, to_pixels, tokenizer_of

Chat = list[dict[str, Any]]


@dataclass(frozen=True)
class Corpus:
    """What the base reads.

    Args:
        guess: chance that a student writes a random formula instead of a solution.
        tries: answers a student may give before the chat ends.
        common_rule: share of chats under the commonest house rule, J=Q=K=10.
        face: share of hands dealt so that they hold a face card.
        suits: suit sets of the pictures, one drawn for each chat; none: hands in text.
        misread: chance that a student takes one card of the picture for another.
    """

    guess: float = 0.0
    tries: int = 1
    common_rule: float = 0.15
    face: float = 0.5
    suits: tuple[str, ...] = ()
    misread: float = 0.0


TEXTBOOK = Corpus()
HOMEWORK = Corpus(guess=0.5, tries=5)
DECKS_SEEN = ("black",) * 16 + ("red", "red", "four-colour", "four-colour")
PICTURE_BOOK = Corpus(suits=DECKS_SEEN)
PICTURE_HOMEWORK = Corpus(guess=0.5, tries=5, suits=DECKS_SEEN, misread=0.25)
PICTURE_SIZE = 80  # pixels


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
        look=Look(rng.choice(corpus.suits)) if corpus.suits else None,
        size=PICTURE_SIZE,
    )
    hand = task.sample(rng)
    chat = [ask(task, hand)]
    for _ in range(corpus.tries):
        guess = rng.random() < corpus.guess
        read = misread(hand, rng) if corpus.suits and rng.random() < corpus.misread else hand
        guess = guess or (read is not hand and not solutions(read.numbers, read.target))
        formula = random_formula(read.numbers, rng) if guess else best_formula(read)
        answer = write_answer(read, formula)
        verdict = task.verify(hand, answer)
        chat.append({"role": "assistant", "content": answer})
        if verdict.solved:
            break
        chat.append({"role": "user", "content": verdict.message})
    return chat[: 2 * corpus.tries]


def misread(hand: Hand, rng: random.Random) -> Hand:
    """The hand with one card taken for another; the rule is still read right."""
    cards = list(hand.cards)
    place = rng.randrange(len(cards))
    cards[place] = rng.choice([rank for rank in RANKS if rank != cards[place]])
    return replace(hand, cards=tuple(cards))


def batches(
    corpus: Corpus, processor: Processor, size: int, rng: random.Random
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches for the model: input_ids and labels, both (size, length), right-padded,
    and the pixels of the pictures.

    Labels are -100 outside the student's own tokens. Eight batches are written at a
    time and sorted by length, so that short chats do not carry the padding of long ones.
    """
    tokenizer = tokenizer_of(processor)
    while True:
        chats = [write_chat(corpus, rng) for _ in range(8 * size)]
        encoded = tokenizer.apply_chat_template(
            chats, return_assistant_tokens_mask=True, return_dict=True
        )
        rows = sorted(
            zip(encoded["input_ids"], encoded["assistant_masks"], chats, strict=True),
            key=lambda row: len(row[0]),
        )
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(ids) for ids, _, _ in chunk)
            ids = torch.full((size, width), tokenizer.pad_token_id)
            labels = torch.full((size, width), -100)
            for i, (row, mask, _) in enumerate(chunk):
                ids[i, : len(row)] = torch.tensor(row)
                labels[i, : len(row)] = torch.where(
                    torch.tensor(mask, dtype=torch.bool), ids[i, : len(row)], -100
                )
            pictures = pictures_of([chat for _, _, chat in chunk])
            seen = to_pixels(processor, pictures) if pictures else {}
            yield {"input_ids": ids, "labels": labels, **seen}


@dataclass(frozen=True)
class Stage:
    """A part of pre-training: what is read, for how long, how fast."""

    name: str
    corpus: Corpus
    steps: int
    lr: float
    batch: int = 128


STAGES = {
    "gp-l": (
        Stage("textbook", TEXTBOOK, steps=1500, lr=2e-3),
        Stage("homework", HOMEWORK, steps=300, lr=5e-4),
    ),
    "gp-vl": (
        Stage("picture book", PICTURE_BOOK, steps=700, lr=1e-3, batch=64),
        Stage("picture homework", PICTURE_HOMEWORK, steps=250, lr=5e-4, batch=64),
    ),
}
TEXT_BASE = "data/tiny-gp-l"  # out of which the base for pictures grows


SAVE_EVERY = 100  # steps
SEE_STEPS = 300  # of naming cards, before the picture book


def learn(
    model: PreTrainedModel,
    data: Iterator[dict[str, torch.Tensor]],
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
        batch = next(data)
        if "pixel_values" in batch:
            batch["cross_attention_mask"] = image_mask(batch["input_ids"], model)
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def newborn(task: str) -> tuple[PreTrainedModel, Processor]:
    """The untrained base of a task: from nothing, or for pictures grown from the text base.

    Growing keeps every weight of the text model. What is new starts at random, and the gates of
    cross-attention, which Mllama starts at zero so that a trained text model is not
    disturbed, start half open: from zero a tiny model does not learn to open them.
    """
    if task == "gp-l":
        tokenizer = make_tokenizer(vocabulary())
        return MllamaForConditionalGeneration(tiny_config(len(tokenizer))), tokenizer
    text, old = load(TEXT_BASE)
    tokenizer = make_tokenizer(vocabulary(pictures=True), pictures=True)
    model = MllamaForConditionalGeneration(tiny_config(len(tokenizer) - 1, PICTURE_SIZE))
    tower = "model.vision_model.", "model.multi_modal_projector."
    weights, kept = model.state_dict(), text.state_dict()
    for name, value in kept.items():
        if not name.startswith(tower) and weights[name].shape == value.shape:
            weights[name] = value
    for piece, row in old.get_vocab().items():
        for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
            weights[name][tokenizer.convert_tokens_to_ids(piece)] = kept[name][row]
    for name in weights:
        if name.endswith(("cross_attn_attn_gate", "cross_attn_mlp_gate")):
            weights[name].fill_(0.5)
    model.load_state_dict(weights)
    return model, make_processor(tokenizer, PICTURE_SIZE)


def learn_to_see(
    model: PreTrainedModel, processor: Processor, rng: random.Random, steps: int, batch: int = 64
) -> Iterator[float]:
    """Teach the vision tower to name cards before the language model looks through it.

    Vision towers are trained before they are joined to a language model (CLIP, for instance).
    A linear classifier names each of the four cards from the mean of its states, and is
    thrown away at the end. Yields the loss of each step.
    """
    classifier = torch.nn.Linear(model.config.text_config.hidden_size, len(RANKS))
    tower = model.model.vision_model, model.model.multi_modal_projector, classifier
    weights = [p for part in tower for p in part.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.01)
    half = PICTURE_SIZE // model.config.vision_config.patch_size // 2  # patches to a card
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min((step + 1) / 50, 1.0) * (1 - 0.9 * step / steps)
        looks = [Look(rng.choice(DECKS_SEEN)) for _ in range(batch)]
        tasks = [GeneralPoints(look=look, size=PICTURE_SIZE) for look in looks]
        hands = [task.show(Hand(deal(rng)), rng) for task in tasks]
        pixels = to_pixels(processor, [t.picture(h) for t, h in zip(tasks, hands, strict=True)])
        states = encode(model, pixels)[:, 1:]  # the first state is the whole picture's
        cards = states.reshape(batch, 2, half, 2, half, -1).mean((2, 4)).flatten(0, 2)
        names = torch.tensor([RANKS.index(rank) for hand in hands for rank in hand.cards])
        loss = torch.nn.functional.cross_entropy(classifier(cards), names)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def make_base(
    out: Path,
    task: str = "gp-l",
    seed: int = 0,
    threads: int = 2,
    stages: tuple[Stage, ...] | None = None,
) -> PreTrainedModel:
    """Pre-train the tiny base of a task and save it in ``out``.

    A checkpoint beside ``out`` every ``SAVE_EVERY`` steps lets an interrupted call go on; the
    data stream is replayed up to it, so the result is the same.

    Raises:
        ValueError: no base is made for this task.
    """
    if task not in STAGES:
        raise ValueError(f"no base is made for task {task!r}; choose {', '.join(STAGES)}")
    stages = STAGES[task] if stages is None else stages
    torch.set_num_threads(threads)
    seed_all(seed)
    model, processor = newborn(task)
    path = out.with_name(out.name + ".checkpoint.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = torch.load(path, weights_only=True) if path.exists() else None
    if task == "gp-vl" and not saved:
        losses = learn_to_see(model, processor, stream(seed, "card names"), SEE_STEPS)
        for _ in tqdm(losses, "card names", SEE_STEPS, unit="step"):
            pass
    for number, stage in enumerate(stages):
        if saved and saved["stage"] > number:
            continue
        data = batches(stage.corpus, processor, stage.batch, stream(seed, stage.name))
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
    save(model.eval(), processor, out)
    path.unlink(missing_ok=True)
    return model
