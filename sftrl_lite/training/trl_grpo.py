"""The library way: the same episodes, trained by trl's ``GRPOTrainer``.

What this course does in ``rollouts`` and ``rl``, written as a user of trl would: plain
``generate`` for each turn, which reads the whole chat again at every try, and one reward
per episode. It is here to be compared with our loop, in its curves and in its speed.
Pictures need ``MllamaGRPOTrainer``, because trl 1.16 does not know Mllama's tensors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from sftrl_lite.models.chats import answer_text, ask, pictures_of, replies
from sftrl_lite.models.vision import Processor, image_mask, to_pixels, tokenizer_of
from sftrl_lite.scales import RLSettings
from sftrl_lite.tasks.base import Playable, Problem
from sftrl_lite.training.sft import CHECKPOINTING

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func "may change"


def question(message: dict[str, Any]) -> tuple[str, bytes]:
    """What tells problems apart: the text, and the picture where there is one."""
    content = message["content"]
    if isinstance(content, str):
        return content, b""
    return content[1]["text"], content[0]["image"].tobytes()


def make_rollout(
    task: Playable[Problem], problems: Sequence[Problem], settings: RLSettings
) -> Callable:
    """The multi-turn verifier as a ``rollout_func``; trl repeats the prompts itself."""
    by_question = {question(ask(task, problem)): problem for problem in problems}

    @torch.no_grad()
    def play(prompts: list[list[dict[str, Any]]], trainer: GRPOTrainer) -> dict[str, list]:
        processor, model = trainer.processing_class, trainer.accelerator.unwrap_model(trainer.model)
        tokenizer, pictures = tokenizer_of(processor), pictures_of(prompts)
        eot, limit = tokenizer.eos_token_id, settings.max_new_tokens
        pixels = to_pixels(processor, pictures) if pictures else {}
        hands = [by_question[question(chat[0])] for chat in prompts]
        read: Any = tokenizer.apply_chat_template(prompts, add_generation_prompt=True)
        asked = read["input_ids"]
        said: list[list[int]] = [[] for _ in prompts]  # tokens after the prompt
        own: list[list[int]] = [[] for _ in prompts]  # 1: the model's token, 0: the verifier's
        points = [0.0] * len(prompts)
        live = list(range(len(prompts)))
        for attempt in range(1, settings.tries + 1):
            chats = {"input_ids": [asked[i] + said[i] for i in live]}
            batch = tokenizer.pad(chats, padding_side="left", return_tensors="pt").to(model.device)
            if pixels:
                batch |= {name: tensor[live].to(model.device) for name, tensor in pixels.items()}
                tiles = batch["aspect_ratio_mask"]
                batch["cross_attention_mask"] = image_mask(batch["input_ids"], model, tiles)
            chance = dict(do_sample=True, temperature=settings.temperature, top_k=0)
            ends = dict(eos_token_id=eot, pad_token_id=tokenizer.pad_token_id)
            output = model.generate(**batch, **chance, **ends, max_new_tokens=limit)
            answers = output[:, batch["input_ids"].shape[1] :].tolist()
            answers = [row[: row.index(eot) + 1] if eot in row else row for row in answers]
            texts = [answer_text(tokenizer, row, (eot,)) for row in answers]
            going = {}
            for i, answer, text in zip(live, answers, texts, strict=True):
                verdict = task.verify(hands[i], text)
                said[i] += answer
                own[i] += [1] * len(answer)
                points[i] += verdict.reward
                if not verdict.solved:
                    going[i] = verdict.message
            live = list(going)
            if attempt == settings.tries or not live:
                break
            _, blocks = replies(processor, list(going.values()))
            for i, reply in zip(live, blocks, strict=True):
                block = reply if said[i][-1] == eot else [eot, *reply]
                said[i] += block
                own[i] += [0] * len(block)
        for i in live:
            points[i] += task.over_budget
        unused = [[0.0] * len(row) for row in said]  # trl reads it only with vLLM
        turns: dict[str, list] = {"prompt_ids": asked, "completion_ids": said, "logprobs": unused}
        shown = {name: list(pixels[name]) for name in TILES if pixels}
        return turns | shown | {"env_mask": own, "points": points}

    return play


TILES = ("aspect_ratio_ids", "aspect_ratio_mask")


class MllamaGRPOTrainer(GRPOTrainer):
    """``GRPOTrainer`` for Mllama with a picture in each prompt.

    Stock trl 1.16 passes on the tensors that it has a list of. Mllama's tile tensors are not
    on it, and its cross-attention mask is made for prompts without answers or padding.
    """

    tiles: dict[str, Tensor]  # of the batch in hand

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        # the rollout's further columns were put into the rows
        return output | {name: torch.stack([row[name] for row in inputs]) for name in TILES}

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
        self.tiles = {name: inputs[name] for name in TILES}
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **given: Any,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Log-probabilities and entropies of the last ``logits_to_keep`` tokens, each (B, that)."""
        tiles = given if TILES[0] in given else self.tiles  # while sampling, trl does pass them on
        whole = dict(input_ids=input_ids, attention_mask=attention_mask)
        whole |= {"pixel_values": given["pixel_values"]} | {name: tiles[name] for name in TILES}
        inner = self.accelerator.unwrap_model(model)
        whole["cross_attention_mask"] = image_mask(input_ids, inner, tiles["aspect_ratio_mask"])
        labels = input_ids.masked_fill(attention_mask == 0, -100)
        labels[:, :-logits_to_keep] = -100
        whole["labels"] = labels
        found = []
        for rows in torch.arange(len(input_ids)).split(batch_size or len(input_ids)):
            part = {name: tensor[rows] for name, tensor in whole.items()}
            with self.accelerator.autocast():
                found.append(model(**part, fused_lm_head=True))
        logps, entropies = (
            torch.cat([getattr(out, name)[:, -logits_to_keep:] for out in found])
            for name in ("log_probs", "entropy")
        )
        return logps, entropies if compute_entropy else None, None


def make_trainer(
    model: PreTrainedModel,
    processor: Processor,
    task: Playable[Problem],
    problems: Sequence[Problem],
    settings: RLSettings,
    output_dir: str | Path,
    seed: int,
    steps: int,
    config: dict[str, Any] | None = None,
    **hooks: Any,
) -> GRPOTrainer:
    """A trainer with our settings; other ``hooks`` may replace ``rollout_func``.

    Args:
        processor: the tokenizer, or the processor where the task shows pictures.
    """
    episodes = settings.problems * settings.samples
    size = min(settings.minibatch, episodes)
    parts = episodes // size
    arguments: dict[str, Any] = dict(
        max_steps=steps * settings.epochs * parts,
        per_device_train_batch_size=size,
        steps_per_generation=parts,
        num_generations=settings.samples,
        num_iterations=settings.epochs,
        learning_rate=settings.lr,
        lr_scheduler_type="constant",
        epsilon=settings.clip,
        max_grad_norm=settings.max_grad_norm,
        scale_rewards="none",
        temperature=settings.temperature,
        max_completion_length=settings.tries * (settings.max_new_tokens + 16),
        bf16=model.dtype == torch.bfloat16,  # trl's default is on, on a CPU as well
        use_cpu=model.device.type == "cpu",
        logging_steps=1,
    )
    arguments[CHECKPOINTING] = False
    quiet: dict[str, Any] = dict(save_strategy="no", report_to=[], disable_tqdm=True)
    play = make_rollout(task, problems, settings)
    chats = [[{"role": "user", "content": task.prompt(problem)}] for problem in problems]
    pictures = pictures_of([[ask(task, problem)] for problem in problems])
    columns = {"prompt": chats} | ({"image": pictures} if pictures else {})
    args = GRPOConfig(str(output_dir), seed=seed, **arguments, **quiet, **(config or {}))
    args._n_gpu = min(args.n_gpu, 1)  # as for SFT: one process, one GPU
    trainer = (MllamaGRPOTrainer if pictures else GRPOTrainer)(
        model,
        args=args,
        train_dataset=Dataset.from_dict(columns),
        processing_class=processor,
        **(hooks or dict(rollout_func=play, reward_funcs=lambda points, **_: points)),
    )
    trainer.remove_callback(PrinterCallback)  # without a bar it prints every log
    return trainer


def train_with_trl(*args: Any) -> list[float]:
    """Train a model in place; arguments as for ``make_trainer``.

    Returns:
        mean reward of an episode (the sum over its turns), one number per step.
    """
    trainer = make_trainer(*args)
    trainer.train()
    return [log["reward"] for log in trainer.state.log_history if "reward" in log]
