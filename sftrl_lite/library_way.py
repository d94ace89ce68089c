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
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from sftrl_lite.rollouts import reply_tokens
from sftrl_lite.scales import RLSettings
from sftrl_lite.verifier import REWARDS

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func "may change"


def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    chats: Sequence[Sequence[int]],
    settings: RLSettings,
) -> list[list[int]]:
    """One sampled answer to each chat, cut after its end-of-turn token."""
    inputs = tokenizer.pad(
        {"input_ids": [list(chat) for chat in chats]}, padding_side="left", return_tensors="pt"
    ).to(model.device)
    with torch.no_grad():
        output = model.generate(
            **inputs,
            do_sample=True,
            temperature=settings.temperature,
            top_k=0,
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    eot, new = tokenizer.eos_token_id, output[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(eot) + 1] if eot in row else row for row in new]


def make_rollout(task: Any, problems: Sequence[Any], settings: RLSettings) -> Callable:
    """The multi-turn verifier as a ``rollout_func``; trl repeats the prompts itself."""
    by_prompt = {task.prompt(problem): problem for problem in problems}

    def play(prompts: list[list[dict[str, str]]], trainer: GRPOTrainer) -> dict[str, list]:
        tokenizer, model = trainer.processing_class, trainer.accelerator.unwrap_model(trainer.model)
        hands = [by_prompt[prompt[0]["content"]] for prompt in prompts]
        asked = tokenizer.apply_chat_template(
            prompts, add_generation_prompt=True, return_dict=False
        )
        said = [[] for _ in prompts]  # tokens after the prompt
        own = [[] for _ in prompts]  # 1: the model's token, 0: the verifier's
        points = [0.0] * len(prompts)
        live = list(range(len(prompts)))
        for attempt in range(1, settings.tries + 1):
            answers = generate_answers(model, tokenizer, [asked[i] + said[i] for i in live], settings)
            texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
            going, messages = [], []
            for i, answer, text in zip(live, answers, texts, strict=True):
                verdict = task.verify(hands[i], text)
                said[i] += answer
                own[i] += [1] * len(answer)
                points[i] += verdict.reward
                if not verdict.solved:
                    going.append(i)
                    messages.append(verdict.message)
            live = going
            if attempt == settings.tries or not live:
                break
            for i, reply in zip(live, reply_tokens(tokenizer, messages), strict=True):
                closing = [] if said[i][-1] == tokenizer.eos_token_id else [tokenizer.eos_token_id]
                said[i] += closing + reply
                own[i] += [0] * len(closing + reply)
        for i in live:
            points[i] += REWARDS["over_budget"]
        return {
            "prompt_ids": asked,
            "completion_ids": said,
            "logprobs": [[0.0] * len(row) for row in said],  # read only with vLLM
            "env_mask": own,
            "points": points,
        }

    return play


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Any,
    problems: Sequence[Any],
    settings: RLSettings,
    output_dir: str | Path,
    seed: int,
    **hooks: Any,
) -> GRPOTrainer:
    """A trainer with our settings; ``hooks`` may replace ``rollout_func``."""
    episodes = settings.problems * settings.samples
    config = GRPOConfig(
        output_dir=str(output_dir),
        seed=seed,
        learning_rate=settings.lr,
        lr_scheduler_type="constant",
        max_steps=settings.steps * settings.epochs * episodes // settings.minibatch,
        per_device_train_batch_size=settings.minibatch,
        steps_per_generation=episodes // settings.minibatch,
        num_generations=settings.samples,
        num_iterations=settings.epochs,
        epsilon=settings.clip,
        scale_rewards="none",
        max_grad_norm=settings.max_grad_norm,
        temperature=settings.temperature,
        max_completion_length=settings.tries * (settings.max_new_tokens + 16),
        bf16=model.dtype == torch.bfloat16,  # both on by default in trl
        gradient_checkpointing=False,
        use_cpu=model.device.type == "cpu",
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **hooks.pop("config", {}),
    )
    hooks = hooks or {
        "rollout_func": make_rollout(task, problems, settings),
        "reward_funcs": lambda points, **_: points,
    }
    chats = [[{"role": "user", "content": task.prompt(problem)}] for problem in problems]
    return GRPOTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": chats}),
        processing_class=tokenizer,
        **hooks,
    )


def train_with_trl(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Any,
    problems: Sequence[Any],
    settings: RLSettings,
    output_dir: str | Path,
    seed: int,
) -> list[float]:
    """Train ``model`` in place for ``settings.steps`` steps of GRPO.

    Returns:
        mean reward of an episode (the sum over its turns), one number per step.
    """
    trainer = make_trainer(model, tokenizer, task, problems, settings, output_dir, seed)
    trainer.train()
    return [log["reward"] for log in trainer.state.log_history if "reward" in log]
