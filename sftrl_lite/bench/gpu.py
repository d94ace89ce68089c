"""Memory and speed of a scale on this machine's GPU, with made-up weights, nothing to download:

    python -m sftrl_lite.bench.gpu --scale full --adapter lora --task gp-vl --max-image-tiles 1

One row a figure goes to results/gpu.csv, with the goal where there is one: for SFT the share of
the device's peak, for decoding the share of the memory's bandwidth, for a step of RL how many
times faster it is than trl's own trainer; and the largest memory that was held, beside what
``plan`` predicted. Without ``--adapter`` every one is measured whose plan fits the GPU.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from sftrl_lite.files import ROOT
from sftrl_lite.models import chats
from sftrl_lite.models.chats import ask
from sftrl_lite.models.checkpoints import Processor
from sftrl_lite.models.loading import load
from sftrl_lite.models.precision import PRETEND, checkpoint_layers, hardware, in_float32, mixed
from sftrl_lite.models.vision import encode, tokenizer_of
from sftrl_lite.planning.fake import Live, pictures_like
from sftrl_lite.planning.fit import device_name, fitting, here
from sftrl_lite.planning.passes import rl_batch, sft_loss
from sftrl_lite.planning.plan import Plan
from sftrl_lite.planning.workload import (
    ADAPTERS,
    DEVICES,
    GIB,
    MODES,
    Work,
    config_of,
    lengths,
    shown_as,
)
from sftrl_lite.runs.controls import Coin, EachItsOwn
from sftrl_lite.runs.run_config import commit
from sftrl_lite.scales import RLSettings, get_scale
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Verdict
from sftrl_lite.tasks.registry import budget, make_task
from sftrl_lite.training import rollout_copy
from sftrl_lite.training.decoding import Decoder
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.rollouts import TOGETHER, rollout
from sftrl_lite.training.static_decoding import ROOMS, StaticDecoder, cache_bytes
from sftrl_lite.training.trl_grpo import make_trainer
from sftrl_lite.training.updates import new_learner

TABLE = ROOT / "results" / "gpu.csv"
COLUMNS = ("name", "value", "unit", "goal", "device", "commit", "command")
GOALS = {  # at least so much
    "SFT share of peak FLOPs": 0.45,
    "decode, share of the bandwidth floor": 0.5,
    "ours against trl": 3.0,
}
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
    """This device's operations and bytes a second by its data sheet; zeros if unknown."""
    return next((peak for name, peak in DEVICES.items() if name in device_name()), (0.0, 0.0))


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
    """Tokens a second of ``work.batch`` rows, cache static and dynamic, against the floor.

    A token of all rows needs every weight of the text model and every key and value read
    once: that many bytes over the memory's bandwidth is the shortest time there is.
    """
    prompt, rows, found = lengths(work.scale, work.task)[0], work.batch, []
    for name in ("dynamic", "static"):

        @torch.inference_mode()
        @mixed
        def decode(model: PreTrainedModel, name: str = name, spent: list | None = None) -> None:
            made = Decoder(model, 0)
            if name == "static":
                made = StaticDecoder(model, 0, rows, prompt + tokens)
            made.take([[5] * prompt] * rows)
            one = torch.full((rows, 1), 5, device=model.device)
            steps = lambda: [made.append(one, torch.ones_like(one)) for _ in range(tokens)]  # noqa: E731
            spent.append(clock(steps)[0])

        spent: list[float] = []
        for _ in range(rounds + 1):
            decode(model, spent=spent)
        speed = rows * tokens / min(spent[1:])
        found.append((f"decode, {name} cache", speed, "tokens/s"))
    if peaks()[1]:
        read = sum(w.nbytes for w in model.get_decoder().parameters()) + model.lm_head.weight.nbytes
        read += rows * (prompt + tokens / 2) * cache_bytes(model.config, 2)[0]
        floor = rows / (read / peaks()[1])
        found.append(("decode, share of the bandwidth floor", speed / floor, ""))
    return found


class ByChance(EachItsOwn):
    """Made-up weights solve nothing: each problem has a coin that says when its episode is over.

    A coin each, so that how long an episode lasts does not depend on those that are played beside
    it.
    """

    over_budget = 0.0

    def verify(self, pair: tuple[Any, Any], answer: str) -> Verdict:
        return pair[0].verify(pair[1], answer)


def playing(
    model: PreTrainedModel, processor: Processor, work: Work, settings: RLSettings, rounds: int
) -> list[Figure]:
    """Tokens a second of whole episodes, in three ways.

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
    ROOMS.pop(model, None)
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
    ROOMS.pop(model, None)
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
        print(f"trl GRPOTrainer: {str(error).splitlines()[0]}", file=sys.stderr)
        return found
    found += [("RL step, trl GRPOTrainer", other, "s"), ("ours against trl", other / seconds, "x")]
    return found + [("RL memory, trl GRPOTrainer", memory, "GiB")] * bool(memory)


def write(figures: list[Figure], command: str, path: Path) -> None:
    """Append the figures with their goals and with what made them."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for name, value, unit in figures:
            made = device_name(), commit(), command
            writer.writerow((name, f"{value:.6g}", unit, GOALS.get(name, ""), *made))


def plans(o: argparse.Namespace, adapter: str, prompt: int = 0) -> dict[str, Plan]:
    """What is predicted for each mode that fits this GPU.

    Args:
        prompt: tokens of the longest prompt that is played, 0: those of the real tokenizer.
    """
    found, memory = {}, here()
    for mode in MODES:
        rows = dict(batch=o.batch)
        if mode != "sft":
            rows = dict(prompt_tokens=prompt, answer_tokens=o.longest)
        work = Work(o.scale, o.task, mode, adapter, o.vision, o.max_image_tiles, **rows)
        plan = fitting(work, memory or float("inf"))
        if not memory or not plan.missing(memory):
            found[mode] = plan
    return found


def measure(o: argparse.Namespace, adapter: str) -> Iterator[list[Figure]]:
    """The figures of one adapter, part by part, for the modes that fit."""
    scale, fits = get_scale(o.scale), plans(o, adapter)
    if not fits:
        return
    work = Work(o.scale, o.task, MODES[0], adapter, o.vision, o.max_image_tiles, o.batch)
    ways = dict(vision=o.vision, tiles=o.max_image_tiles, dummy=True)
    model, processor = load(scale.pretrained_for(o.task), adapter, **ways)
    chosen = dict(problems=o.problems, samples=8, method="rl-grpo", epochs=1, temperature=1.0)
    chosen |= dict(tries=budget(o.task, scale.rl.tries))
    chosen |= dict(max_new_tokens=o.longest or scale.rl.max_new_tokens)
    whole = replace(scale.rl, **chosen, minibatch=min(scale.rl.minibatch, 8 * o.problems))
    short = replace(whole, max_new_tokens=o.tokens, tries=min(whole.tries, 2))
    # made-up weights may come with a tokenizer of letters, whose prompts are longer
    task, rng = make_task(o.task, scale=o.scale), stream(0, "gpu bench")
    asked = [[ask(task, task.sample(rng))] for _ in range(8)]
    seen = shown_as(config_of(o.scale, o.task)) * o.task.endswith("-vl")
    prompt = max(map(len, chats.prompts(processor, asked)))
    if prompt > lengths(o.scale, o.task)[0]:
        fits = plans(o, adapter, prompt - seen)
    yield [(f"{mode.upper()} memory, planned", plan.total, "GiB") for mode, plan in fits.items()]
    if "eval" in fits:
        together = fits["eval"].together if scale.memory else o.batch
        yield filled(model, processor, work, replace(whole, together=together))
        yield decoding(model, work, o.tokens, o.rounds)
        yield playing(model, processor, work, replace(whole, max_new_tokens=o.tokens), o.rounds)
    if "sft" in fits:
        yield imitation(model, work, o.rounds)
    if "rl" in fits:
        together = min(fits["rl"].together, TOGETHER)
        yield learning(model, processor, work, replace(whole, together=together))
        yield reinforcement(model, processor, work, replace(short, together=together), o.rounds)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and append to results/gpu.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="full", help="tiny, t4 or full")
    parser.add_argument("--task", default="gp-l", help="gp-l, gp-vl, virl-l, virl-vl")
    parser.add_argument("--adapter", default="", help="none, lora or qlora; empty: all that fit")
    parser.add_argument("--vision", default="frozen", help="frozen or trained")
    parser.add_argument("--max-image-tiles", type=int, default=0, help="0: the model's own")
    parser.add_argument("--batch", type=int, default=16, help="rows of a pass and of a decode")
    parser.add_argument("--problems", type=int, default=8, help="problems of a step of RL")
    parser.add_argument("--tokens", type=int, default=64, help="longest answer where time counts")
    parser.add_argument("--longest", type=int, default=0, help="where memory does; 0: the scale's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=TABLE)
    o = parser.parse_args(arguments)
    if not hardware().gpu:
        raise RuntimeError(f"no GPU here to measure (a trial on the CPU: {PRETEND}=bf16)")
    warnings.simplefilter("ignore")
    for adapter in [o.adapter] if o.adapter else ADAPTERS:
        options = vars(o) | {"adapter": adapter}
        del options["out"]
        words = [f"--{name.replace('_', '-')} {value}" for name, value in options.items()]
        for figures in measure(o, adapter):  # written at once: what comes later may fail
            for name, value, unit in figures:
                goal = f"   goal {GOALS[name]:g}" if name in GOALS else ""
                print(f"{adapter:6}{name:42}{value:14,.3f} {unit}{goal}")
            write(figures, " ".join(["python -m sftrl_lite.bench.gpu", *words]), o.out)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        raise SystemExit(2) from None
