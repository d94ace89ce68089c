"""Memory and speed of a scale on this machine's GPU, with random weights, without downloads:

    python -m sftrl_lite.bench.gpu --scale full --adapter lora --task gp-vl --max-image-tiles 1

One row a figure goes to results/gpu.csv, with the goal where there is one: for SFT the share of
the device's peak, for decoding the share of the memory's bandwidth, for a step of RL how many
times faster it is than trl's own trainer; and the largest memory that was held, beside what
``plan`` predicted. Without ``--adapter`` every one is measured whose plan fits the GPU.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sftrl_lite.bench.gpu_work import (
    Figure,
    decoding,
    filled,
    imitation,
    learning,
    playing,
    reinforcement,
)
from sftrl_lite.files import ROOT
from sftrl_lite.models import chats
from sftrl_lite.models.chats import ask
from sftrl_lite.models.loading import load
from sftrl_lite.models.precision import PRETEND, device_name, hardware
from sftrl_lite.planning.fit import fitting, here
from sftrl_lite.planning.plan import Plan
from sftrl_lite.planning.work import MODES, Work
from sftrl_lite.planning.workload import config_of, lengths, shown_as
from sftrl_lite.processes import one_line
from sftrl_lite.results.ledger import commit
from sftrl_lite.scales import ADAPTERS, Scale, get_scale
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.registry import budget, make_task
from sftrl_lite.training.rollouts import TOGETHER

TABLE = ROOT / "results" / "gpu.csv"
COLUMNS = ("name", "value", "unit", "goal", "device", "commit", "command")
GOALS = {  # at least so much
    "SFT share of peak FLOPs": 0.45,
    "decode, share of the bandwidth floor": 0.5,
    "ours against trl": 3.0,
}


def write(figures: list[Figure], command: str, path: Path) -> None:
    """Append the figures with their goals and with what made them."""
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for name, value, unit in figures:
            made = device_name(), commit(), command
            writer.writerow((name, f"{value:.6g}", unit, GOALS.get(name, ""), *made))


def plans(o: argparse.Namespace, scale: Scale, adapter: str, prompt: int = 0) -> dict[str, Plan]:
    """What is predicted for each mode that fits this GPU.

    Args:
        scale: with the settings of RL that are measured.
        prompt: tokens of the longest prompt that is played, 0: those of the real tokenizer.
    """
    found, memory = {}, here()
    for mode in MODES:
        rows = dict(batch=o.batch)
        if mode != "sft":
            rows = dict(prompt_tokens=prompt, answer_tokens=o.longest)
        work = Work(scale, o.task, mode, adapter, o.vision, o.max_image_tiles, **rows)
        plan = fitting(work, memory or float("inf"))
        if not memory or not plan.missing(memory):
            found[mode] = plan
    return found


def measure(o: argparse.Namespace, adapter: str) -> Iterator[list[Figure]]:
    """The figures of one adapter, part by part, for the modes that fit."""
    scale = get_scale(o.scale)
    chosen = dict(problems=o.problems, samples=8, method="rl-grpo", epochs=1, temperature=1.0)
    chosen |= dict(tries=budget(o.task, scale.rl.tries))
    chosen |= dict(max_new_tokens=o.longest or scale.rl.max_new_tokens)
    whole = replace(scale.rl, **chosen, minibatch=min(scale.rl.minibatch, 8 * o.problems))
    short = replace(whole, max_new_tokens=o.tokens, tries=min(whole.tries, 2))
    row = replace(scale, rl=whole)
    if not (fits := plans(o, row, adapter)):
        return
    work = Work(o.scale, o.task, MODES[0], adapter, o.vision, o.max_image_tiles, o.batch)
    ways = dict(vision=o.vision, tiles=o.max_image_tiles, dummy=True)
    model, processor = load(scale.pretrained_for(o.task), adapter, **ways)
    # random weights may come with a tokenizer of letters, whose prompts are longer
    task, rng = make_task(o.task, scale=o.scale), stream(0, "gpu bench")
    asked = [[ask(task, task.sample(rng))] for _ in range(8)]
    seen = shown_as(config_of(o.scale, o.task)) * o.task.endswith("-vl")
    prompt = max(map(len, chats.prompts(processor, asked)))
    if prompt > lengths(o.scale, o.task)[0]:
        fits = plans(o, row, adapter, prompt - seen)
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
    parser.add_argument("--scale", default="full", help="a row of the table of scales")
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
        words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]
        for figures in measure(o, adapter):  # written at once: what comes later may fail
            for name, value, unit in figures:
                goal = f"   goal {GOALS[name]:g}" if name in GOALS else ""
                print(f"{adapter:6}{name:42}{value:14,.3f} {unit}{goal}")
            write(figures, shlex.join(["python", "-m", "sftrl_lite.bench.gpu", *words]), o.out)


if __name__ == "__main__":
    with one_line():
        main()
