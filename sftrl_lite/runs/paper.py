"""The paper's settings, and what a row of the scale table has in their place.

Chu et al. (2025), "SFT Memorizes, RL Generalizes", arXiv 2501.17161, and the code released with
it (github.com/LeslieTrue/SFTvsRL). Where the two differ, the code made the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sftrl_lite.runs.run_config import Run
from sftrl_lite.scales import Scale, get_scale
from sftrl_lite.tasks.registry import budget

TASKS = ("gp-l", "gp-vl", "virl-l", "virl-vl")  # the paper's; what else is registered is not here
RL, SFT = "released RL script", "released SFT script"

# Setting, the paper's value (one number, or one for each task), and its source.
# Rates are those of Adam; TFLOP are the ends of the axes, in the paper's count.
PAPER: dict[str, tuple[Any, str]] = {
    "trained": ("none, trained", "section 4: every component, at one rate"),
    "SFT: rate": ((1e-6, 5e-7, 1e-6, 5e-7), SFT),
    "SFT: schedule": ("cosine", SFT),
    "SFT: answers per step": (128, SFT),
    "RL: rate": ((1e-6, 1e-6, 1e-6, 1e-7), RL),
    "RL: rate of the value head": (1e-6, RL),
    "RL: steps of the cosine": ((100, 100, 20, 20), RL),
    "RL: played per update": ("2048 turns", RL),
    "RL: trained on per gradient step": ("1024 turns", RL + ": 128 in each of 8 processes"),
    "RL: epochs": (4, RL),
    "RL: clip": (0.1, RL),
    "RL: weight of the values": (0.5, RL),
    "RL: largest gradient": (0.01, RL),
    "RL: discount": (0.9, RL),
    "RL: lambda of GAE": (0.95, RL),
    "RL: weight of the thoughts": (0.5, "released PPO code; they come before the answer"),
    "RL: temperature": (0.2, RL),
    "RL: longest answer": (512, RL),
    "tries": ((5, 5, 2, 2), "appendices A.3 and B.3"),
    "messages": ("with hints", "released verifier; figures 11 to 14 show none"),
    "picture, pixels": (1200, "released environment of cards"),
    "evaluation: temperature": (0.6, "Llama's own; the released script sets none"),
    "evaluation: top_p": (0.9, "Llama's own; the released script sets none"),
    "evaluation: longest answer": (256, "released evaluation script"),
    "evaluation: episodes": ((234, 234, 48, 48), "released evaluation scripts"),
    "compute, TFLOP": ((1e7, 6e7, 4e6, 4e7), "figure 5"),
    "lambda: passes per sampled token": ((6.0, 6.0, 5.1, 5.1), "appendix C.3"),
}


def here(scale: Scale, task: str) -> dict[str, Any]:
    """What a scale has for each of the paper's settings, on a task and with its own adapter."""
    s, run = scale.rl, Run("rl-ppo", task=task)
    return {
        "trained": f"{scale.adapter}, {scale.vision}",
        "SFT: rate": scale.lr(task, "sft", scale.adapter),
        "SFT: schedule": scale.sft.schedule,
        "SFT: answers per step": scale.sft.batch,
        "RL: rate": scale.lr(task, "rl", scale.adapter),
        "RL: rate of the value head": s.value_lr,
        "RL: steps of the cosine": scale.cosine(task),
        "RL: played per update": f"{s.problems * s.samples} episodes",
        "RL: trained on per gradient step": f"{s.minibatch} episodes",
        "RL: epochs": s.epochs,
        "RL: clip": s.clip,
        "RL: weight of the values": s.value_coef,
        "RL: largest gradient": s.max_grad_norm,
        "RL: discount": s.gamma,
        "RL: lambda of GAE": s.lam,
        "RL: weight of the thoughts": 1.0,
        "RL: temperature": s.temperature,
        "RL: longest answer": s.max_new_tokens,
        "tries": budget(task, s.tries),
        "messages": run.feedback,
        "picture, pixels": scale.picture,
        "evaluation: temperature": run.eval_temperature,
        "evaluation: top_p": run.eval_top_p,
        "evaluation: longest answer": s.max_new_tokens,
        "evaluation: episodes": scale.eval_episodes,
        "compute, TFLOP": scale.compute(task),
        "lambda: passes per sampled token": scale.passes(task),
    }


def differences(scale: Scale | str = "full") -> list[dict[str, Any]]:
    """The paper's settings beside those of a scale, a row for each.

    A setting that is not the same for all tasks, in the paper or here, has a row for each task.

    Returns:
        rows with ``setting``, ``paper``, ``here``, ``same`` (yes or no) and ``source``.

    Raises:
        ValueError: unknown scale.
    """
    return list(_rows({task: here(get_scale(scale), task) for task in TASKS}))


def _rows(found: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, (paper, source) in PAPER.items():
        theirs = dict(
            zip(TASKS, paper if isinstance(paper, tuple) else len(TASKS) * (paper,), strict=True)
        )
        ours = {task: found[task][name] for task in TASKS}
        alike = len(set(theirs.values())) == len(set(ours.values())) == 1
        for task in TASKS[:1] if alike else TASKS:
            yield {
                "setting": name if alike else f"{name}, {task}",
                "paper": theirs[task],
                "here": ours[task],
                "same": "yes" if same(theirs[task], ours[task]) else "no",
                "source": source,
            }


def same(paper: Any, here: Any) -> bool:
    """Whether two settings agree; numbers up to rounding."""
    return paper == here if isinstance(paper, str) else math.isclose(paper, here)
