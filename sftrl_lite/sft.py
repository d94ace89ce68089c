"""Supervised fine-tuning: imitation of correct answers, by trl's ``SFTTrainer``.

As in the paper: single-turn pairs of prompt and best answer, all under one frozen rule,
loss on the answer only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset, disable_progress_bars
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from sftrl_lite import adapters, distributed
from sftrl_lite.chats import Chat, demonstrated
from sftrl_lite.files import remove
from sftrl_lite.models import Processor
from sftrl_lite.precision import checkpoint_layers, hardware, in_float32
from sftrl_lite.rollouts import rollout
from sftrl_lite.scales import SFTSettings, in_one_pass, stream
from sftrl_lite.vision import Pixels, ask, crosses, image_mask, open_picture, to_pixels

# transformers 5.23 has a new name for it; trl turns it on under the old one
NEW, OLD = "activation_checkpointing", "gradient_checkpointing"
CHECKPOINTING = NEW if hasattr(TrainingArguments, NEW) else OLD
KEPT = 2**30  # bytes of pixels that are kept in memory; more are made when a batch needs them


Draw = Callable[[Sequence[int]], Pixels]


def demonstrations(
    task: Any, problems: Sequence[Any], answer: Callable[[Any], str] | None = None
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
    task: Any,
    problems: Sequence[Any],
    answer: Callable[[Any], str] | None = None,
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
        return to_pixels(processor, [task.picture(problems[i]) for i in which])

    size = sum(tensor.nbytes for tensor in draw([0]).values())
    every = range(len(problems))
    return lessons(processor, chats), draw(every) if size * len(every) <= KEPT else draw


def taught(
    processor: Processor,
    task: Any,
    problems: Sequence[Any],
    answer: Callable[[Any], str] | None = None,
) -> tuple[Dataset, Pixels | Draw | None]:
    """What ``train_sft`` reads of problems: rows of tokens, and pixels where the task shows any."""
    if task.picture(problems[0]) is not None:
        return picture_demonstrations(processor, task, problems, answer)
    rows = demonstrations(task, problems, answer)
    return lessons(processor, [row["prompt"] + row["completion"] for row in rows]), None


def lessons(processor: Processor, chats: Sequence[Chat]) -> Dataset:
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
    task: Any,
    problems: Sequence[Any],
    seed: int,
    samples: int = 8,
    max_new_tokens: int = 40,
) -> tuple[list[tuple[Any, str]], int]:
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
        mine = distributed.share(problems[start : start + few])
        played = rollout(model, processor, task, mine, **asked)
        found = [(e.problem, e.turns[0].answer) for e in played if e.solved]
        pairs += distributed.gathered(found)
        tokens += sum(distributed.gathered([len(e.turns[0].logps) for e in played]))
    if not pairs:
        raise ValueError(f"none of {len(problems) * samples} answers is right: nothing to imitate")
    return pairs, tokens


@dataclass
class Collator:
    """Rows of ``chats.demonstrated``, with pictures or without, to a batch.

    trl's own collator leaves Mllama's cross-attention mask at the prompt's length (trl 1.16),
    and decodes every picture anew at every step.
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
        if seen and crosses(self.model):
            seen["cross_attention_mask"] = image_mask(ids, self.model, seen["aspect_ratio_mask"])
        return {"input_ids": ids, "attention_mask": real, "labels": labels, **seen}


class AtSteps(TrainerCallback):
    """Call ``hook(step)`` after the given steps (step 0 is the caller's); True ends training."""

    def __init__(self, steps: Sequence[int], hook: Callable[[int], bool | None]):
        self.steps, self.hook = set(steps), hook

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in self.steps:
            kwargs["model"].eval()
            control.should_training_stop |= bool(self.hook(state.global_step))
            kwargs["model"].train()


class Logged(TrainerCallback):
    """Call ``tell(step, figures)`` with what the trainer logs: ``loss``, ``grad_norm``."""

    def __init__(self, tell: Callable[[int, dict[str, float]], None]):
        self.tell = tell

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            self.tell(state.global_step, logs)


class WholeCheckpoints(TrainerCallback):
    """Move a checkpoint out of the draft folder once it is whole; then drop the one before.

    The trainer writes a checkpoint file by file into its place, and takes up a half-written one
    as if it were whole (transformers 5.23). It holds weights, optimizer, schedule, the state of
    every source of chance and the position in the data, whose order follows from the seed.
    """

    def __init__(self, out: Path):
        self.out = out

    def on_save(self, args, state, control, **kwargs):
        distributed.wait()  # each process writes its own source of chance
        if distributed.main():
            before = sorted(self.out.glob("checkpoint-*"))
            draft = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            draft.rename(self.out / draft.name)
            for folder in before:
                remove(folder)


def step_of(checkpoint: Path) -> int:
    """The step that one of the trainer's checkpoints was written after."""
    return int(checkpoint.name.split("-")[1])


class ResumableTrainer(SFTTrainer):
    """``SFTTrainer`` that resumes Mllama, and adapters on adapters.

    Checkpoints of Mllama name their weights as on the Hub, the live model names them
    otherwise, and the stock trainer then only warns and trains on from the wrong
    weights (seen with transformers 5.23). ``from_pretrained`` knows both names.
    """

    def _save(self, output_dir=None, state_dict=None):
        if adapters.worn(self.model):
            adapters.save(self.model, Path(output_dir))
        else:
            super()._save(output_dir, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        if adapters.worn(self.model):
            return adapters.load_weights(self.model, Path(resume_from_checkpoint))
        if distributed.sharding() and model is not None:  # split already, and never renamed
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        saved = type(self.model).from_pretrained(resume_from_checkpoint)
        self.model.load_state_dict(saved.state_dict())


class LeashedTrainer(ResumableTrainer):
    """SFT that also stays close to Init on the tokens that it imitates.

        L = -log p(y_t) + KL(p_init || p),   mean over the answer's tokens

    Its gradient in the logits is 2 p - onehot(y) - p_init: half of the target is Init's own.
    """

    init: PreTrainedModel

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs["labels"][:, 1:]
        answer, seen = labels >= 0, {k: v for k, v in inputs.items() if k != "labels"}
        outputs = model(**seen, use_cache=False)
        logps = outputs.logits[:, :-1][answer].float().log_softmax(-1)
        with torch.no_grad():
            logits = self.init(**seen, use_cache=False).logits[:, :-1][answer]
        leash = F.kl_div(logps, logits.float().log_softmax(-1), None, None, "batchmean", True)
        loss = F.nll_loss(logps, labels[answer]) + leash
        if num_items_in_batch is not None:  # the batch comes in several passes or processes
            loss = loss * (answer.sum() * distributed.world() / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


def train_sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Dataset,
    settings: SFTSettings,
    out: Path,
    seed: int,
    *,
    steps: int,
    hook: Callable[[int], bool | None] = lambda step: None,
    at: Sequence[int] = (),
    save_every: int = 0,
    progress: bool = True,
    pixels: Pixels | Draw | None = None,
    loss: str = "nll",
    init: PreTrainedModel | None = None,
    tell: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> list[float]:
    """Fine-tune ``model`` in place; returns the logged training losses.

    Args:
        data: rows with ``prompt`` and ``completion`` messages, or with their tokens (``lessons``,
            ``picture_demonstrations``).
        out: folder for trl's checkpoints; an interrupted run continues from the last.
        hook: called with the step number after each step in ``at``; ends training by True.
        save_every: steps between checkpoints, 0 for none.
        progress: show trl's progress bar.
        pixels: the pictures of ``picture_demonstrations``.
        loss: ``nll``; or ``dft``, each token's loss times its own probability, held constant
            (Wu et al. 2025, dynamic fine-tuning).
        init: stay close to this model (``LeashedTrainer``).
        tell: called every ten steps with the step number, and mean loss and gradient norm.

    On a GPU a batch goes through in several passes (``in_one_pass``); their gradients add up to
    that of the mean over all its answer tokens. Several processes share each batch. A last batch
    of a pass over the data that is not full is filled up from its beginning then (accelerate's
    ``even_batches``), in a single one it is not.

    Raises:
        ValueError: a batch that cannot be shared evenly.
    """
    if not progress:
        disable_progress_bars()  # of trl's data preparation, a second or two
    draft = out / "draft"
    last = max(out.glob("checkpoint-*"), key=step_of, default=None) if save_every else None
    processes = distributed.world()
    if settings.batch % processes:
        raise ValueError(f"a batch of {settings.batch} cannot be shared by {processes} processes")
    if distributed.main():
        remove(draft)
    cosine = settings.schedule == "cosine"
    machine, mine = hardware(), settings.batch // processes
    rows = in_one_pass(mine, on_gpu=machine.gpu)
    if machine.gpu:
        checkpoint_layers(model)
    config = SFTConfig(
        output_dir=str(draft),
        max_steps=steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=mine // rows,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine" if cosine else "constant_with_warmup",
        warmup_steps=max(round(0.03 * steps), 1) if cosine else 10,
        weight_decay=0.0,
        logging_steps=10,
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or steps,
        seed=seed,
        data_seed=seed,
        use_cpu=model.device.type == "cpu",
        ddp_find_unused_parameters=True,  # a task in text passes through no vision tower
        bf16=machine.format == torch.bfloat16,
        fp16=machine.format == torch.float16,
        report_to="none",
        loss_type=loss,
        remove_unused_columns=False,
        disable_tqdm=not progress,
        **{CHECKPOINTING: False},  # trl's way would keep a frozen tower's activations
    )
    config._n_gpu = min(config.n_gpu, 1)  # one process, one GPU; a launcher starts several of both
    if "prompt" in data.column_names:
        data = lessons(tokenizer, [row["prompt"] + row["completion"] for row in data])
    trainer = (LeashedTrainer if init is not None else ResumableTrainer)(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=Collator(model, tokenizer.pad_token_id, pixels or {}),
        callbacks=[AtSteps(at, hook), Logged(tell), WholeCheckpoints(out)],
    )
    trainer.init = init
    in_float32(model)  # trl puts what trains beside four-bit weights into bfloat16
    trainer.remove_callback(PrinterCallback)  # without a bar it prints every log
    if last and step_of(last) == steps:  # the trainer would train one step too many
        trainer._load_from_checkpoint(str(last))
    else:
        trainer.train(resume_from_checkpoint=last and str(last))
    model.eval()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
