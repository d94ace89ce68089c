"""Memory and speed of a scale on this machine, with made-up weights and nothing to download:

    python -m sftrl_lite.gpu_bench --scale full --adapter lora --task gp-vl --max-image-tiles 1

One row a figure goes to results/gpu.csv: seconds, the share of the device's peak that they
are, the largest memory that was held, and beside it what ``plan`` predicted.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from sftrl_lite.library_way import make_trainer
from sftrl_lite.models import ROOT, Processor, load
from sftrl_lite.plan import (
    DEVICES,
    GIB,
    MODES,
    Live,
    Work,
    cache_bytes,
    device_name,
    lengths,
    make_plan,
    pictures_like,
    rl_batch,
    sft_loss,
)
from sftrl_lite.precision import checkpoint_layers, in_float32, mixed
from sftrl_lite.rl import new_learner, rl_step
from sftrl_lite.rollouts import Decoder, StaticDecoder
from sftrl_lite.runs import commit
from sftrl_lite.scales import RLSettings, get_scale, stream
from sftrl_lite.tasks import make_task
from sftrl_lite.vision import encode, tokenizer_of

TABLE = ROOT / "results" / "gpu.csv"
COLUMNS = ("name", "value", "unit", "device", "commit", "command")
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


def reinforcement(
    model: PreTrainedModel, processor: Processor, work: Work, settings: RLSettings, rounds: int
) -> list[Figure]:
    """A step of GRPO on whole episodes, and trl's own on the same work."""
    task, rng = make_task(work.task, scale=work.scale), stream(0, "gpu bench")
    problems = [task.sample(rng) for _ in range(settings.problems)]
    ours = partial(rl_step, new_learner(model, settings, 0), processor, task, problems, settings, 0)
    seconds, memory = steady(ours, rounds)
    found = [("RL step", seconds, "s")] + [("RL memory", memory, "GiB")] * bool(memory)
    del ours  # and its optimizer
    model.config.max_position_embeddings = tokenizer_of(processor).model_max_length  # trl asks

    def theirs() -> None:
        with tempfile.TemporaryDirectory() as folder:
            make_trainer(model, processor, task, problems, settings, folder, 0, 1).train()

    other, memory = steady(theirs, rounds)
    found += [("RL step, trl GRPOTrainer", other, "s"), ("ours against trl", other / seconds, "x")]
    return found + [("RL memory, trl GRPOTrainer", memory, "GiB")] * bool(memory)


def write(figures: list[Figure], arguments: list[str], path: Path) -> None:
    """Append the figures with what made them."""
    command = " ".join(["python -m sftrl_lite.gpu_bench", *arguments])
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for name, value, unit in figures:
            writer.writerow((name, f"{value:.6g}", unit, device_name(), commit(), command))


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and append to results/gpu.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="full", help="tiny, t4 or full")
    parser.add_argument("--task", default="gp-l", help="gp-l, gp-vl, virl-l, virl-vl")
    parser.add_argument("--adapter", default="lora", help="none, lora or qlora")
    parser.add_argument("--vision", default="frozen", help="frozen or trained")
    parser.add_argument("--max-image-tiles", type=int, default=0, help="0: the model's own")
    parser.add_argument("--batch", type=int, default=16, help="rows of a pass and of a decode")
    parser.add_argument("--problems", type=int, default=8, help="problems of a step of RL")
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=TABLE)
    o = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    scale = get_scale(o.scale)
    work = Work(o.scale, o.task, MODES[0], o.adapter, o.vision, o.max_image_tiles, o.batch)
    ways = dict(vision=o.vision, tiles=o.max_image_tiles, dummy=True)
    model, processor = load(scale.pretrained_for(o.task), o.adapter, **ways)
    chosen = dict(problems=o.problems, samples=8, max_new_tokens=o.tokens, method="rl-grpo")
    settings = replace(scale.rl, **chosen, minibatch=min(scale.rl.minibatch, 8 * o.problems))
    settings = replace(settings, tries=2, epochs=1, temperature=1.0)
    figures = decoding(model, work, o.tokens, o.rounds)
    figures += imitation(model, work, o.rounds)
    figures.append(("SFT memory, planned", make_plan(work).total, "GiB"))
    figures += reinforcement(model, processor, work, settings, o.rounds)
    for name, value, unit in figures:
        print(f"{name:42}{value:14,.3f} {unit}")
    write(figures, sys.argv[1:] if arguments is None else arguments, o.out)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, RuntimeError, OSError) as error:
        raise SystemExit(f"error: {str(error).splitlines()[0]}") from None
