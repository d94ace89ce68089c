"""Supervised fine-tuning: imitation of correct answers, by trl's ``SFTTrainer``.

As in the paper: single-turn pairs of prompt and best answer, all under one frozen rule,
loss on the answer only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset, disable_progress_bars
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from sftrl_lite.files import remove, sync
from sftrl_lite.models import adapters
from sftrl_lite.models.checkpoints import check_sums, write_sums
from sftrl_lite.models.precision import checkpoint_layers, hardware, in_float32
from sftrl_lite.models.vision import Pixels
from sftrl_lite.scales import SFTSettings, in_one_pass
from sftrl_lite.training import distributed
from sftrl_lite.training.health import Healthy
from sftrl_lite.training.sft_examples import NEW, OLD, Collator, Draw, tokenized

CHECKPOINTING = NEW if hasattr(TrainingArguments, NEW) else OLD
LOGGED = 10  # steps between two lines of the log


class AtSteps(TrainerCallback):
    """Call ``hook(step)`` after the given steps (step 0 is the caller's); True ends training."""

    def __init__(self, steps: Sequence[int], hook: Callable[[int], bool | None]):
        self.steps, self.hook = steps, hook  # a range, perhaps: too many steps to write down

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step in self.steps:
            kwargs["model"].eval()
            control.should_training_stop |= bool(self.hook(state.global_step))
            kwargs["model"].train()


class Logged(TrainerCallback):
    """Call ``tell(step, figures)`` with what the trainer logs: ``loss``, ``grad_norm``."""

    def __init__(self, tell: Callable[[int, dict[str, float]], None]):
        self.tell = tell

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.tell(state.global_step, logs)


class WholeCheckpoints(TrainerCallback):
    """Move a checkpoint out of the draft folder once it is whole; then drop the one before.

    The trainer writes a checkpoint file by file into its place, and takes up a half-written one
    as if it were whole (transformers 5.23). It holds weights, optimizer, schedule, the state of
    every random generator and the position in the data, whose order follows from the seed.
    """

    def __init__(self, out: Path):
        self.out = out

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        distributed.barrier()  # each process writes its own random state
        if distributed.is_main():
            before = checkpoints(self.out)
            assert args.output_dir is not None
            draft = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_sums(draft)
            sync(draft)
            draft.rename(self.out / draft.name)
            for folder in before:
                remove(folder)


def checkpoints(trainer: Path) -> list[Path]:
    """The trainer's checkpoints, the last one last; a copy under another name is none of them."""
    found = trainer.glob("checkpoint-*")
    return sorted((p for p in found if re.fullmatch("checkpoint-[0-9]+", p.name)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step that one of the trainer's checkpoints was written after."""
    return int(checkpoint.name.split("-")[1])


def last_checkpoint(trainer: Path) -> Path | None:
    """The last of the trainer's checkpoints, if there is one."""
    return next(reversed(checkpoints(trainer)), None)


def check_checkpoint(folder: Path, steps: int) -> None:
    """Whether training can go on from one of the trainer's checkpoints; all processes agree.

    Raises:
        ValueError: it is damaged, or of a longer run; one line that names the file.
    """
    wrong, advice = "", f"delete {folder} to start this run again"
    if distributed.is_main():
        try:
            check_sums(folder, advice)
        except (OSError, ValueError) as error:
            wrong = str(error)
        if step_of(folder) > steps:
            wrong = f"{folder} is damaged: this run has {steps} steps; {advice}"
    if wrong := distributed.broadcast(wrong):
        raise ValueError(wrong)


class ResumableTrainer(SFTTrainer):
    """``SFTTrainer`` that resumes Mllama, and adapters on adapters.

    Checkpoints of Mllama name their weights as on the Hub, the live model names them
    otherwise, and the stock trainer then only warns and trains on from the wrong
    weights (seen with transformers 5.23). ``from_pretrained`` knows both names.
    """

    model: PreTrainedModel
    init: PreTrainedModel | None  # what ``PenaltyTrainer`` stays close to

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if adapters.adapter_names(self.model):
            assert output_dir is not None
            adapters.save(self.model, Path(output_dir))
        else:
            super()._save(output_dir, state_dict)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        if adapters.adapter_names(self.model):
            return adapters.load_weights(self.model, Path(resume_from_checkpoint))
        if distributed.sharding() and model is not None:  # split already, and never renamed
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        saved = type(self.model).from_pretrained(
            resume_from_checkpoint,
            dtype=torch.float32,  # its configuration names the format of the first weight alone
            trust_remote_code=False,
            use_safetensors=True,
        )
        self.model.load_state_dict(saved.state_dict())


def penalised_loss(
    logits: torch.Tensor, init_logits: torch.Tensor, labels: torch.Tensor, weight: float = 1.0
) -> torch.Tensor:
    """SFT's loss with a KL penalty towards Init on the tokens that are imitated.

        L = -log p(y_t) + weight KL(p_init || p),   mean over the answer's tokens

    At weight 1 its gradient in the logits is 2 p - onehot(y) - p_init: half of the target is Init's
    own distribution (chapter 12).

    Args:
        logits, init_logits: (B, L, V), of the model and of Init on the same tokens.
        labels: (B, L), the tokens; negative where nothing is learned.

    Returns:
        a scalar.
    """
    wanted = labels[:, 1:]
    answer = wanted >= 0
    logps = logits[:, :-1][answer].float().log_softmax(-1)
    there = init_logits[:, :-1][answer].float().log_softmax(-1)
    kl = F.kl_div(logps, there, None, None, "batchmean", True)
    return F.nll_loss(logps, wanted[answer]) + weight * kl


class PenaltyTrainer(ResumableTrainer):
    """SFT with a KL penalty towards Init (``penalised_loss``)."""

    init: PreTrainedModel

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        labels = inputs["labels"]
        seen = {k: v for k, v in inputs.items() if k != "labels"}
        first = 0  # on a GPU, no logits of what stands before all answers: they are large
        if hardware().gpu:
            first = int((labels[:, 1:] >= 0).any(0).nonzero()[0])
        seen |= {"use_cache": False, "logits_to_keep": labels.shape[1] - first}
        outputs = model(**seen)
        with torch.no_grad(), self.accelerator.autocast():  # as the trained model computes
            there = self.init(**seen).logits
        loss = penalised_loss(outputs.logits, there, labels[:, first:])
        if num_items_in_batch is not None:  # the batch comes in several passes or processes
            tokens = (labels[:, 1:] >= 0).sum()
            loss = loss * (tokens * distributed.world() / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


def between_checkpoints(steps: int) -> int:
    """Steps between the checkpoints of a training: a quarter of it.

    Where losses are logged, whole intervals of them: the trainer forgets the losses since the last
    one when it is resumed, and the first mean after that would be of fewer steps.
    """
    return steps // 4 // LOGGED * LOGGED or (LOGGED if steps >= LOGGED else max(steps // 4, 1))


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
        data: rows with ``prompt`` and ``completion`` messages, or with their tokens (``tokenized``,
            ``picture_demonstrations``).
        out: folder for trl's checkpoints; an interrupted run continues from the last.
        hook: called with the step number after each step in ``at``; ends training by True.
        save_every: steps between checkpoints, 0 for none.
        progress: show trl's progress bar.
        pixels: the pictures of ``picture_demonstrations``.
        loss: ``nll``; or ``dft``, each token's loss times its own probability, held constant
            (Wu et al. 2025, dynamic fine-tuning).
        init: stay close to this model (``PenaltyTrainer``).
        tell: called every ten steps with the step number, and mean loss and gradient norm.

    On a GPU a batch goes through in several passes (``in_one_pass``); their gradients add up to
    that of the mean over all its answer tokens. Several processes share each batch. A last batch
    of a pass over the data that is not full is filled up from its beginning then (accelerate's
    ``even_batches``), in a single one it is not.

    Raises:
        ValueError: a batch that cannot be shared evenly, or a damaged checkpoint.
        DivergedError: the weights are no finite numbers any more.
    """
    if not progress:
        disable_progress_bars()  # of trl's data preparation, a second or two
    draft = out / "draft"
    last = last_checkpoint(out) if save_every else None
    if last:
        check_checkpoint(last, steps)
    processes = distributed.world()
    if settings.batch % processes:
        raise ValueError(f"a batch of {settings.batch} cannot be shared by {processes} processes")
    if distributed.is_main():
        remove(draft)
    cosine = settings.schedule == "cosine"
    machine, mine = hardware(), settings.batch // processes
    rows = in_one_pass(mine, on_gpu=machine.gpu)
    if machine.gpu:
        checkpoint_layers(model)
    off: dict[str, Any] = {CHECKPOINTING: False}  # trl's would keep a frozen tower's activations
    config = SFTConfig(
        output_dir=str(draft),
        max_steps=steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=mine // rows,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine" if cosine else "constant_with_warmup",
        warmup_steps=max(round(0.03 * steps), 1) if cosine else 10,
        max_length=None,  # trl's 1024 would cut answers off long walks, without a word
        weight_decay=0.0,
        logging_steps=LOGGED,
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
        **off,
    )
    config._n_gpu = min(config.n_gpu, 1)  # one process, one GPU; a launcher starts several of both
    if "prompt" in data.column_names:
        data = tokenized(tokenizer, [row["prompt"] + row["completion"] for row in data])
    trainer = (PenaltyTrainer if init is not None else ResumableTrainer)(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=Collator(model, tokenizer.pad_token_id, pixels or {}),
        callbacks=[Healthy(), AtSteps(at, hook), Logged(tell), WholeCheckpoints(out)],
    )
    trainer.init = init
    in_float32(model)  # trl puts what trains beside four-bit weights into bfloat16
    trainer.remove_callback(PrinterCallback)  # without a bar it prints every log
    try:
        if last and step_of(last) == steps:  # the trainer would train one step too many
            trainer._load_from_checkpoint(str(last))
        else:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    finally:  # half a checkpoint would take the room that a full disk lacks
        if distributed.is_main():
            remove(draft)
    model.eval()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
