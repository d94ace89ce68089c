"""What a policy can do: success, reading, format, diversity, distance; with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from sftrl_lite.models.vision import Processor
from sftrl_lite.results.intervals import Estimate, mean_interval, wilson
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Measurable, Problem
from sftrl_lite.training.compute import text_weights
from sftrl_lite.training.distributed import all_gather, place, split_between_processes, world
from sftrl_lite.training.forward import PART, pack, policy
from sftrl_lite.training.rollouts import Episode, rollout
from sftrl_lite.training.static_decoding import free_room


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Probability that at least one of k answers is right, from ``correct`` of ``samples``.

    The unbiased estimate 1 - C(samples-correct, k) / C(samples, k) (Chen et al. 2021,
    equation 1).

    Raises:
        ValueError: k is not in 1..samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples, not {samples}")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def measure(episodes: Sequence[Episode]) -> dict[str, Estimate]:
    """Metrics of played episodes (paper, appendix C.3).

    ``success``: solved within the budget. ``success@1``: at the first try.
    ``per_step``: share of right answers, every verification step counted on its own. Its interval
    takes tries as independent; where a second one repeats the first it covers about 90 %, not 95.
    ``read``: first answers whose numbers are right. ``format_error``: illegal answers.
    ``recognised``, where there are pictures: first answers whose cards are right.
    """
    turns = [turn for episode in episodes for turn in episode.turns]
    shares = {
        "success": [e.solved for e in episodes],
        "success@1": [e.turns[0].verdict.solved for e in episodes],
        "per_step": [t.verdict.solved for t in turns],
        "read": [e.turns[0].verdict.read_right for e in episodes],
        "format_error": [t.verdict.kind == "illegal" for t in turns],
    }
    first = [e.turns[0].verdict.recognised for e in episodes]
    if None not in first:
        shares["recognised"] = [bool(right) for right in first]
    return {name: wilson(sum(hits), len(hits)) for name, hits in shares.items()}


def within(episodes: Sequence[Episode], budgets: Sequence[int]) -> dict[str, Estimate]:
    """``success@k`` for each budget k, from episodes that were played with a larger one or it.

    An episode does not know its budget, so that the first k tries are those of budget k.
    """
    solved = {k: [any(t.verdict.solved for t in e.turns[:k]) for e in episodes] for k in budgets}
    return {f"success@{k}": wilson(sum(hits), len(hits)) for k, hits in solved.items()}


def evaluate(
    model: PreTrainedModel,
    processor: Processor,
    task: Measurable[Problem],
    problems: Sequence[Problem],
    *,
    tries: int = 5,
    temperature: float = 0.6,
    top_p: float = 0.9,
    max_new_tokens: int = 40,
    seed: int = 0,
    batch: int = 500,
    together: int = 0,
    engine: Any = None,
) -> tuple[dict[str, Estimate], list[Episode]]:
    """Play each problem once and measure; the same seed gives the same episodes.

    Temperature 0.6 with top_p 0.9 is the paper's decoding: the released evaluation passes no
    settings, so that Llama's own hold.

    On a GPU ``together`` of them are played at a time; 0: as many as ``rollout`` takes. An
    ``engine`` that has the model's weights may play in its place.

    Several processes deal the problems out. All find the same metrics and get all episodes, but
    pictures stay where they were looked at: the episodes of other processes have no ``pixels``.
    """
    episodes: list[Episode] = []
    for start in range(0, len(problems), batch):
        generator = torch.Generator(model.device)
        generator.manual_seed(stream(seed, "evaluate", start).getrandbits(60))
        played = rollout(
            model,
            processor,
            task,
            split_between_processes(problems[start : start + batch]),
            tries=tries,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
            generator=generator,
            together=together,
            engine=engine,
        )
        if world() > 1:  # in all of them, also in one that has played everything
            first, _ = place(len(played))
            blind = all_gather([replace(episode, pixels=None) for episode in played])
            played = [*blind[:first], *played, *blind[first + len(played) :]]
        episodes += played
    free_room(model)  # what follows may need the memory of its cache
    own = {name: wilson(*hits) for name, hits in task.metrics(problems, episodes).items()}
    return measure(episodes) | own, episodes


@torch.no_grad()
def distance(
    model: PreTrainedModel,
    init: PreTrainedModel,
    episodes: Sequence[Episode],
    pad: int,
    batch: int = PART,
) -> dict[str, Estimate]:
    """How far ``model`` has moved, on episodes it sampled itself; each process brings its own.

    ``kl``: KL(model || init) of the first answer, in nats per answer (the k1 estimate,
    unbiased). ``entropy``: of the model's next token, mean over answer tokens, in nats.
    """
    kl: list[float] = []
    entropy: list[float] = []
    for start in range(0, len(episodes), batch):
        firsts = [
            Episode(e.problem, e.ids[: e.turns[0].end], e.turns[:1], e.pixels)
            for e in episodes[start : start + batch]
        ]
        part = pack(firsts, pad, model.device)
        logps, spread, _ = policy(model, part)
        ref, _, _ = policy(init, part)
        kl += (logps - ref).sum(1).tolist()
        entropy += (spread.sum(1) / (part.turn >= 0).sum(1)).tolist()
    return {"kl": mean_interval(all_gather(kl)), "entropy": mean_interval(all_gather(entropy))}


def changed(
    model: PreTrainedModel, init: PreTrainedModel, pictures: bool = False
) -> dict[str, Estimate]:
    """Share of the weights that differ from Init's: at all, and once rounded to bfloat16.

    Counted are the weights that the task's tokens pass through; nothing where the two models
    have other weights, as with an adapter. Source: Mukherjee et al. 2025 compare bfloat16
    checkpoints; rounding hides what moved by less than about 0.4 %.
    """
    now, then = text_weights(model, pictures), text_weights(init, pictures)
    if [w.shape for w in now] != [w.shape for w in then]:
        return {}
    moved, moved_bf16 = 0, 0
    for a, b in zip(now, then, strict=True):  # one at a time: a copy of them all may not fit
        b = b.to(a.device)  # Init may lie in main memory
        moved += int((a != b).sum())
        moved_bf16 += int((a.bfloat16() != b.bfloat16()).sum())
    n = sum(w.numel() for w in now)
    shares = {"changed": moved / n, "changed_bf16": moved_bf16 / n}
    return {name: Estimate(share, n, share, share) for name, share in shares.items()}
