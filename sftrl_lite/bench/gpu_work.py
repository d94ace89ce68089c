"""What the GPU bench measures: a step of SFT, decoding, rollouts, a step of RL."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from sftrl_lite.models.precision import checkpoint_layers, device_name, in_float32, mixed
from sftrl_lite.models.vision import Processor, encode, tokenizer_of
from sftrl_lite.planning.estimates import sheet_of
from sftrl_lite.planning.fake import Live, pictures_like
from sftrl_lite.planning.passes import rl_batch, sft_loss
from sftrl_lite.planning.work import GIB, Work
from sftrl_lite.planning.workload import lengths
from sftrl_lite.processes import first_line
from sftrl_lite.runs.controls import Coin, EachItsOwn
from sftrl_lite.scales import RLSettings
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Playable, Verdict
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training import rollout_copy
from sftrl_lite.training.compute import text_weights
from sftrl_lite.training.decoding import Decoder
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.static_decoding import StaticDecoder, cache_bytes, free_room
from sftrl_lite.training.trl_grpo import make_trainer
from sftrl_lite.training.updates import new_learner

Figure = tuple[str, float, str]  # name, value, unit


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that ``work`` takes and the largest GiB held meanwhile (0 on a CPU)."""
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    work()
    if gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return seconds, torch.cuda.max_memory_allocated() / GIB if gpu else 0.0


def steady(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """``clock`` of the fastest of some rounds, after one that warms up and compiles."""
    work()
    return min(clock(work) for _ in range(rounds))


def peaks() -> tuple[float, float]:
    """This device's operations and bytes per second by its data sheet; zeros if unknown."""
    return sheet_of(device_name())


def imitation(model: PreTrainedModel, work: Work, rounds: int) -> list[Figure]:
    """A step of SFT on rows of the task's length, as trl computes it, with AdamW."""
    rows, (prompt, answer, _) = work.batch, lengths(work.scale, work.task)
    in_float32(model)
    if model.device.type == "cuda":
        checkpoint_layers(model)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-6)
    ids = torch.full((rows, prompt + answer), 5, device=model.device)
    pixels = pictures_like(model.config, rows) if work.task.endswith("-vl") else {}
    pixels = {name: tensor.to(model.device) for name, tensor in pixels.items()}
    batch = rl_batch(ids, pixels, torch.arange(rows, device=model.device))
    model.train()

    @mixed
    def forward(model: PreTrainedModel) -> torch.Tensor:
        return sft_loss(model, batch, encode(model, pixels) if pixels else None)

    def step() -> None:
        forward(model).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds, memory = steady(step, rounds)
    with Live(()) as live:
        forward(model).backward()
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    found = [("SFT step", seconds, "s"), ("SFT tokens", ids.numel() / seconds, "1/s")]
    if peaks()[0]:
        found.append(("SFT share of peak FLOPs", live.flops / seconds / peaks()[0], ""))
    return found + [("SFT memory", memory, "GiB")] * bool(memory)


def decoding(model: PreTrainedModel, work: Work, tokens: int, rounds: int) -> list[Figure]:
    """Tokens per second of ``work.batch`` rows, cache static and dynamic, against the floor.

    A token of all rows needs every weight of the text model and every key and value read
    once: that many bytes over the memory's bandwidth is the shortest time there is.
    """
    prompt, rows, found = lengths(work.scale, work.task)[0], work.batch, []
    for name in ("dynamic", "static"):

        @torch.inference_mode()
        @mixed
        def decode(model: PreTrainedModel, spent: list[float], name: str = name) -> None:
            made = Decoder(model, 0)
            if name == "static":
                made = StaticDecoder(model, 0, rows, prompt + tokens)
            made.take([[5] * prompt] * rows)
            one = torch.full((rows, 1), 5, device=model.device)
            steps = lambda: [made.append(one, torch.ones_like(one)) for _ in range(tokens)]  # noqa: E731
            spent.append(clock(steps)[0])

        spent: list[float] = []
        for _ in range(rounds + 1):
            decode(model, spent)
        speed = rows * tokens / min(spent[1:])
        found.append((f"decode, {name} cache", speed, "tokens/s"))
    if peaks()[1]:
        words: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
        read = float(sum(w.nbytes for w in text_weights(model)))
        read -= words.nbytes * (words is not model.lm_head.weight)  # one row a token, or the head
        read += rows * (prompt + tokens / 2) * cache_bytes(model.config, 2)[0]
        floor = rows / (read / peaks()[1])
        found.append(("decode, share of the bandwidth floor", speed / floor, ""))
    return found


class ByChance(EachItsOwn):
    """Random weights solve nothing, so a coin decides for each problem when its episode ends.

    A coin each, so that how long an episode lasts does not depend on those that are played beside
    it.
    """

    over_budget = 0.0

    def verify(self, pair: tuple[Playable[Any], Any], answer: str) -> Verdict:
        return pair[0].verify(pair[1], answer)


def playing(
    model: PreTrainedModel, processor: Processor, work: Work, settings: RLSettings, rounds: int
) -> list[Figure]:
    """Tokens per second of whole episodes, in three ways.

    The rows of episodes that are over are given to the next ones, as rollouts do; or they stay
    empty until the last of a group is over; or the adapters are merged into the weights, where
    memory has room for that. There are three episodes for each row.
    """
    task, rows = make_task(work.task, scale=work.scale), work.batch
    rng = stream(0, "gpu bench", "rollout")
    problems = [task.sample(rng) for _ in range(3 * rows)]
    ways = dict(tries=settings.tries, max_new_tokens=settings.max_new_tokens, static=True)

    def speed(size: int, merge: bool) -> float:
        """Of groups of ``size`` episodes, one group after the other; 0: could not be merged."""
        coins = [(Coin(task, stream("coin", i)), p) for i, p in enumerate(problems)]
        tokens = 0

        def play() -> None:
            nonlocal tokens
            for start in range(0, len(coins), size):
                few = coins[start : start + size]
                episodes = rollout(model, processor, ByChance(), few, together=rows, **ways)
                tokens += sum(len(turn.logps) for e in episodes for turn in e.turns)

        with rollout_copy.merged(model) if merge else nullcontext(True) as possible:
            return tokens / seconds if possible and (seconds := clock(play)[0]) else 0.0

    found = []
    for name, size, merge in (
        ("rollout", len(problems), False),
        ("rollout, rows not refilled", rows, False),
        ("rollout, adapters merged", len(problems), True),
    ):
        best = max([speed(size, merge) for _ in range(rounds + 1)][1:])
        found += [(name, best, "tokens/s")] * bool(best)
    free_room(model)
    return found


def filled(
    model: PreTrainedModel, processor: Processor, work: Work, settings: RLSettings
) -> list[Figure]:
    """The largest memory of an evaluation whose answers are all as long as they may be."""
    task, rng = make_task(work.task, scale=work.scale), stream(0, "gpu bench", "memory")
    problems = [task.sample(rng) for _ in range(settings.together)]
    ways = dict(tries=settings.tries, max_new_tokens=settings.max_new_tokens)
    play = partial(rollout, model, processor, task, problems, together=settings.together, **ways)
    memory = clock(play)[1]
    free_room(model)
    return [("EVAL memory", memory, "GiB")] * bool(memory)


def learning(
    model: PreTrainedModel, processor: Processor, work: Work, settings: RLSettings
) -> list[Figure]:
    """The largest memory of a step of GRPO whose answers are all as long as they may be."""
    task, rng = make_task(work.task, scale=work.scale), stream(0, "gpu bench")
    problems = [task.sample(rng) for _ in range(settings.problems)]
    learner = new_learner(model, settings, 0)
    memory = clock(lambda: rl_step(learner, processor, task, problems, settings, 0))[1]
    return [("RL memory", memory, "GiB")] * bool(memory)


def reinforcement(
    model: PreTrainedModel, processor: Processor, work: Work, settings: RLSettings, rounds: int
) -> list[Figure]:
    """A step of GRPO on whole episodes, and trl's own on the same work."""
    task, rng = make_task(work.task, scale=work.scale), stream(0, "gpu bench")
    problems = [task.sample(rng) for _ in range(settings.problems)]
    ours = partial(rl_step, new_learner(model, settings, 0), processor, task, problems, settings, 0)
    seconds, _ = steady(ours, rounds)
    found = [("RL step", seconds, "s")]
    del ours  # and its optimizer
    model.config.max_position_embeddings = tokenizer_of(processor).model_max_length  # trl asks

    def theirs() -> None:
        with tempfile.TemporaryDirectory() as folder:
            make_trainer(model, processor, task, problems, settings, folder, 0, 1).train()

    try:
        other, memory = steady(theirs, rounds)
    except RuntimeError as error:  # more memory than there is, most likely
        print(f"trl GRPOTrainer: {first_line(error)}", file=sys.stderr)
        return found
    found += [("RL step, trl GRPOTrainer", other, "s"), ("ours against trl", other / seconds, "x")]
    return found + [("RL memory, trl GRPOTrainer", memory, "GiB")] * bool(memory)
