"""The tiny base models: what they are before fine-tuning.

Stage one is a *textbook*: solved problems under many announced rules. Stage two is *homework*:
the same problems by students who are often careless (``corpus``). The bases for pictures grow
out of the text bases, as Llama 3.2 Vision grew out of Llama 3.1: a vision tower and a
cross-attention layer are added, and the two stages are read again with pictures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import MllamaForConditionalGeneration, PreTrainedModel

from sftrl_lite.files import damage_in_one_line, full_disk_in_one_line, is_sealed, seal, whole
from sftrl_lite.models.chats import pictures_of
from sftrl_lite.models.checkpoints import SUMS
from sftrl_lite.models.loading import load, save
from sftrl_lite.models.tiny import make_processor, make_tokenizer, tiny_config
from sftrl_lite.models.vision import Processor, encode, image_mask, to_pixels, tokenizer_of
from sftrl_lite.seeds import seed_all, stream
from sftrl_lite.tasks import general_points, street_answers
from sftrl_lite.tasks.cards import RANKS
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training import corpus
from sftrl_lite.training.corpus import PICTURE_SIZE, Corpus, StreetCorpus, write_chat
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.health import check_health


def batches(
    corpus: Corpus | StreetCorpus, processor: Processor, size: int, rng: random.Random
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches for the model: input_ids and labels, both (size, length), right-padded,
    and the pixels of the pictures.

    Labels are -100 outside the student's own tokens. Eight batches are written at a
    time and sorted by length, so that short chats do not carry the padding of long ones.
    """
    tokenizer = tokenizer_of(processor)
    while True:
        chats = [write_chat(corpus, rng) for _ in range(8 * size)]
        encoded: Any = tokenizer.apply_chat_template(
            chats, return_assistant_tokens_mask=True, return_dict=True
        )
        rows = sorted(
            zip(encoded["input_ids"], encoded["assistant_masks"], chats, strict=True),
            key=lambda row: len(row[0]),
        )
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            tokens = [torch.tensor(row) for row, _, _ in chunk]
            own = [torch.tensor(mask, dtype=torch.bool) for _, mask, _ in chunk]
            taught = [row.where(mask, -100) for row, mask in zip(tokens, own, strict=True)]
            ids = pad_sequence(tokens, batch_first=True, padding_value=tokenizer.pad_token_id)
            labels = pad_sequence(taught, batch_first=True, padding_value=-100)
            pictures = pictures_of([chat for _, _, chat in chunk])
            seen = to_pixels(processor, pictures) if pictures else {}
            yield {"input_ids": ids, "labels": labels, **seen}


@dataclass(frozen=True)
class Stage:
    """A part of pre-training: what is read, for how long, how fast."""

    name: str
    corpus: Corpus | StreetCorpus
    steps: int
    lr: float
    batch: int = 128


def streets(**design: Any) -> tuple[Stage, ...]:
    """Street book and street homework, with other fields of their corpora."""
    book, homework = (replace(c, **design) for c in (corpus.STREET_BOOK, corpus.STREET_HOMEWORK))
    return (
        Stage("street book", book, steps=1000, lr=2e-3, batch=64),
        Stage("street homework", homework, steps=300, lr=5e-4, batch=64),
    )


STAGES = {
    "gp-l": (
        Stage("textbook", corpus.TEXTBOOK, steps=1500, lr=2e-3),
        Stage("homework", corpus.HOMEWORK, steps=300, lr=5e-4),
    ),
    "gp-l-hasty": (  # the same textbook, other homework
        Stage("textbook", corpus.TEXTBOOK, steps=1500, lr=2e-3),
        Stage("hasty homework", corpus.HASTY_HOMEWORK, steps=300, lr=5e-4),
    ),
    "gp-vl": (
        Stage("picture book", corpus.PICTURE_BOOK, steps=700, lr=1e-3, batch=64),
        Stage("picture homework", corpus.PICTURE_HOMEWORK, steps=250, lr=5e-4, batch=64),
    ),
    "virl-l": streets(),
    # Designs that were tried, and not shipped (results/bases_tried.csv)
    "virl-l-rare": streets(compass=12),
    "virl-l-rarer": streets(compass=80),
    "virl-l-form": streets(action_first=0.9),
    "virl-vl": (
        Stage("view book", corpus.VIEW_BOOK, steps=700, lr=1e-3, batch=64),
        Stage("view homework", corpus.VIEW_HOMEWORK, steps=200, lr=5e-4, batch=64),
    ),
}
NAMES = {"gp-vl": corpus.named_cards, "virl-vl": corpus.named_views}
GROWS_FROM = {"gp-vl": "data/tiny-gp-l", "virl-vl": "data/tiny-virl-l"}

SAVE_EVERY = 100  # steps
SEE_STEPS = 300  # of naming what is in pictures, before the first stage


def learn(
    model: PreTrainedModel,
    data: Iterator[dict[str, torch.Tensor]],
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    start: int = 0,
) -> Iterator[float]:
    """Next-token training; yields the loss of each step from ``start`` on.

    The learning rate warms up over 50 steps and then falls linearly to a tenth.
    Padding is on the right, where causal attention cannot see it: no mask needed.
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
        check_health(model, step + 1, [loss.item()])
        yield loss.item()


def newborn(task: str) -> tuple[PreTrainedModel, Processor]:
    """The untrained base of a task: from scratch, or for pictures extended from the text base.

    Growing keeps every weight of the text model. What is new starts at random, and the gates of
    cross-attention, which Mllama starts at zero so that a trained text model is not
    disturbed, start half open: from zero a tiny model does not learn to open them.
    """
    if task.startswith("gp-l"):
        pieces = general_points.vocabulary()
    elif task == "gp-vl":
        pieces = general_points.vocabulary(pictures=True)
    else:
        pieces = street_answers.vocabulary(action_first=task.endswith("-form"))
    if task not in GROWS_FROM:
        tokenizer = make_tokenizer(pieces)
        return MllamaForConditionalGeneration(tiny_config(len(tokenizer))), tokenizer
    text, old = load(GROWS_FROM[task])
    tokenizer = make_tokenizer(pieces, pictures=True)
    model = MllamaForConditionalGeneration(tiny_config(len(tokenizer) - 1, PICTURE_SIZE))
    tower = "model.vision_model.", "model.multi_modal_projector."
    weights, kept = model.state_dict(), text.state_dict()
    for name, value in kept.items():
        if not name.startswith(tower) and weights[name].shape == value.shape:
            weights[name] = value
    for piece, row in tokenizer_of(old).get_vocab().items():
        for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
            weights[name][tokenizer.convert_tokens_to_ids(piece)] = kept[name][row]
    for name in weights:
        if name.endswith(("cross_attn_attn_gate", "cross_attn_mlp_gate")):
            weights[name].fill_(0.5)
    model.load_state_dict(weights)
    return model, make_processor(tokenizer, PICTURE_SIZE)


def learn_to_see(
    model: PreTrainedModel,
    processor: Processor,
    draw: Callable[[random.Random, int], tuple[list[Image.Image], list[int]]],
    rng: random.Random,
    steps: int,
    batch: int = 64,
) -> Iterator[float]:
    """Teach the vision tower names before the language model looks through it.

    Vision towers are trained before they are joined to a language model (CLIP, for instance).
    A linear classifier names what is in each quarter of a picture, a card or a view, from the
    mean of the quarter's states. It is thrown away at the end. Yields the loss of each step.

    Args:
        draw: gives n pictures and the names in their 4n quarters, in reading order.
    """
    classifier = torch.nn.Linear(model.config.text_config.hidden_size, len(RANKS))
    tower = model.model.vision_model, model.model.multi_modal_projector, classifier
    weights = [p for part in tower for p in part.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.01)
    half = PICTURE_SIZE // model.config.vision_config.patch_size // 2  # patches to a quarter
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min((step + 1) / 50, 1.0) * (1 - 0.9 * step / steps)
        pictures, names = draw(rng, batch)
        states = encode(model, to_pixels(processor, pictures))[:, 1:]  # 0: the whole picture's
        quarters = states.reshape(batch, 2, half, 2, half, -1).mean((2, 4)).flatten(0, 2)
        loss = torch.nn.functional.cross_entropy(classifier(quarters), torch.tensor(names))
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
        ValueError: no base is made for this task; ``out`` holds something else, or is in use; or
            the checkpoint is damaged, or of another task or seed.
        OSError: the disk is full, or the checkpoint cannot be read.
    """
    if task not in STAGES:
        raise ValueError(f"no base is made for task {task!r}; choose {', '.join(STAGES)}")
    if out.exists() and not (out / SUMS).is_file() and (out.is_file() or any(out.iterdir())):
        raise ValueError(f"{out} holds something else; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(out.with_name(out.name + ".lock")).acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{out} is in use by another process; wait for it or stop it") from None
    torch.set_num_threads(threads)
    with lock, full_disk_in_one_line(out):
        return _make_base(out, task, seed, STAGES[task] if stages is None else stages)


def _make_base(out: Path, task: str, seed: int, stages: tuple[Stage, ...]) -> PreTrainedModel:
    seed_all(seed)
    model, processor = newborn(task)
    path = out.with_name(out.name + ".checkpoint.pt")
    saved = read_checkpoint(path, task, seed, len(stages)) if path.exists() else None
    if task in GROWS_FROM and not saved:
        losses = learn_to_see(model, processor, NAMES[task], stream(seed, "card names"), SEE_STEPS)
        for _ in tqdm(losses, "names", SEE_STEPS, unit="step"):
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
                state: dict[str, Any] = dict(task=task, seed=seed, stage=number, step=step)
                state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                with whole(path) as draft:
                    torch.save(state, draft)
                    seal(draft)
    save(model.eval(), processor, out)
    path.unlink(missing_ok=True)
    return model


def read_checkpoint(path: Path, task: str, seed: int, stages: int) -> dict[str, Any]:
    """Where a killed ``make_base`` was.

    Raises:
        ValueError: the file is damaged, or of another task or seed.
        OSError: it cannot be read.
    """
    with damage_in_one_line(path, "delete it to start again"):
        saved: dict[str, Any] = torch.load(path, weights_only=True) if is_sealed(path) else {}
        if not 0 <= saved["stage"] < stages or saved["step"] < 0:
            raise ValueError("it is of other stages")
        its = saved.get("task", task), saved.get("seed", seed)  # an older version wrote neither
    if its != (task, seed):
        wrong = f"{path} is of --task {its[0]} --seed {its[1]}"
        raise ValueError(f"{wrong}; go on with these, or choose another --out")
    return saved


def criteria(
    model: PreTrainedModel, processor: Processor, task: str, problems: int = 300, seed: int = 0
) -> dict[str, float]:
    """What an Init has to be for the comparison to mean something, measured on ID problems.

    Its mistakes are habits: the greedy answer is about as good as the sampled one, so that lowering
    the temperature is no remedy. There is room to rise and to fall, the format is known, and a
    second try is read no worse than the first.

    Args:
        problems: test problems under the trained rule; development, not reported, splits by chance.

    Returns:
        shares: ``sampled`` (first try, the paper's decoding), ``greedy``, ``format_error``, and of
        the episodes with a second try, ``read_first`` and ``read_second``.

    Raises:
        ValueError: a criterion fails; the line names each with its measured value.
    """
    judge = make_task(task, "id", "tiny")
    asked = judge.held_out(stream(seed, "criteria"), problems)
    greedy, _ = evaluate(model, processor, judge, asked, tries=1, temperature=0, seed=seed)
    sampled, episodes = evaluate(model, processor, judge, asked, tries=2, seed=seed)
    again = [e.turns for e in episodes if len(e.turns) > 1]
    found = {
        "sampled": sampled["success@1"].value,
        "greedy": greedy["success@1"].value,
        "format_error": sampled["format_error"].value,
        "read_first": sum(first.verdict.read_right for first, _ in again) / max(len(again), 1),
        "read_second": sum(second.verdict.read_right for _, second in again) / max(len(again), 1),
    }
    noise = (2 / max(len(again), 1)) ** 0.5  # two standard errors of the difference, at most
    wrong = []
    if abs(found["greedy"] - found["sampled"]) >= 0.15:
        wrong.append(
            f"greedy {found['greedy']:.0%} and sampled {found['sampled']:.0%} differ by 15+"
        )
    if not 0.25 <= found["sampled"] <= 0.85:
        wrong.append(f"success {found['sampled']:.0%} is not within 25 to 85 %")
    if found["format_error"] >= 0.05:
        wrong.append(f"format errors {found['format_error']:.0%} are not under 5 %")
    if found["read_second"] < found["read_first"] - noise:
        said = f"{found['read_second']:.0%}, the first {found['read_first']:.0%}"
        wrong.append(f"the second try is read worse than the first ({said})")
    if wrong:
        raise ValueError(f"this base cannot carry the comparison: {'; '.join(wrong)}")
    return found
