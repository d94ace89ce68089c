"""The library way: the same episodes, trained by trl's ``GRPOTrainer``.

What this course does in ``rollouts`` and ``rl``, written as a user of trl would: plain
``generate`` for each turn, which reads the whole chat anew at every try, and one reward
per episode. It is here to be compared with our loop, in its curves and in its speed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from sftrl_lite.rollouts import reply_tokens
from sftrl_lite.scales import RLSettings

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func "may change"


def make_rollout(task: Any, problems: Sequence[Any], settings: RLSettings) -> Callable:
    """The multi-turn verifier as a ``rollout_func``; trl repeats the prompts itself."""
    by_prompt = {task.prompt(problem): problem for problem in problems}

    @torch.no_grad()
    def play(prompts: list[list[dict[str, str]]], trainer: GRPOTrainer) -> dict[str, list]:
        tokenizer, model = trainer.processing_class, trainer.accelerator.unwrap_model(trainer.model)
        eot, limit = tokenizer.eos_token_id, settings.max_new_tokens
        asked = tokenizer.apply_chat_template(prompts, add_generation_prompt=True)["input_ids"]
        said = [[] for _ in prompts]  # tokens after the prompt
        own = [[] for _ in prompts]  # 1: the model's token, 0: the verifier's
        points = [0.0] * len(prompts)
        live = list(range(len(prompts)))
        for attempt in range(1, settings.tries + 1):
            chats = {"input_ids": [asked[i] + said[i] for i in live]}
            batch = tokenizer.pad(chats, padding_side="left", return_tensors="pt").to(model.device)
            chance = dict(do_sample=True, temperature=settings.temperature, top_k=0)
            ends = dict(eos_token_id=eot, pad_token_id=tokenizer.pad_token_id)
            output = model.generate(**batch, **chance, **ends, max_new_tokens=limit)
            answers = output[:, batch["input_ids"].shape[1] :].tolist()
            answers = [row[: row.index(eot) + 1] if eot in row else row for row in answers]
            texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
            going = {}
            for i, answer, text in zip(live, answers, texts, strict=True):
                verdict = task.verify(by_prompt[prompts[i][0]["content"]], text)
                said[i] += answer
                own[i] += [1] * len(answer)
                points[i] += verdict.reward
                if not verdict.solved:
                    going[i] = verdict.message
            live = list(going)
            if attempt == settings.tries or not live:
                break
            for i, reply in zip(live, reply_tokens(tokenizer, going.values()), strict=True):
                block = reply if said[i][-1] == eot else [eot, *reply]
                said[i] += block
                own[i] += [0] * len(block)
        for i in live:
            points[i] += task.over_budget
        unused = [[0.0] * len(row) for row in said]  # trl reads it only with vLLM
        turns = {"prompt_ids": asked, "completion_ids": said, "logprobs": unused}
        return turns | {"env_mask": own, "points": points}

    return play


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Any,
    problems: Sequence[Any],
    settings: RLSettings,
    output_dir: str | Path,
    seed: int,
    steps: int,
    config: dict[str, Any] | None = None,
    **hooks: Any,
) -> GRPOTrainer:
    """A trainer with our settings; other ``hooks`` may replace ``rollout_func``."""
    episodes = settings.problems * settings.samples
    size = min(settings.minibatch, episodes)
    parts = episodes // size
    arguments = dict(
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
        activation_checkpointing=False,
        use_cpu=model.device.type == "cpu",
        logging_steps=1,
    )
    quiet = dict(save_strategy="no", report_to=[], disable_tqdm=True)
    play = make_rollout(task, problems, settings)
    chats = [[{"role": "user", "content": task.prompt(problem)}] for problem in problems]
    trainer = GRPOTrainer(
        model,
        args=GRPOConfig(str(output_dir), seed=seed, **arguments, **quiet, **(config or {})),
        train_dataset=Dataset.from_dict({"prompt": chats}),
        processing_class=tokenizer,
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
