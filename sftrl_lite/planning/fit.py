"""What fits where: the largest plan that a GPU has room for, advice, tables."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sftrl_lite.files import ROOT
from sftrl_lite.models.precision import PRETEND, device, hardware
from sftrl_lite.planning.fake import format_of
from sftrl_lite.planning.plan import ROLLOUT, TABLE, Plan, make_plan
from sftrl_lite.planning.workload import (
    CONTEXT,
    DECODING,
    DEVICES,
    GIB,
    GPUS,
    NF4,
    TRAINING,
    UnknownModel,
    Work,
    config_of,
    lengths,
)
from sftrl_lite.scales import ADAPTERS, RLSettings, Scale, get_scale
from sftrl_lite.tasks.registry import budget
from sftrl_lite.training.rollouts import TOGETHER


def device_name() -> str:
    """What computes here, in a word: ``cpu`` or the GPU's name."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu as {os.environ[PRETEND]} GPU" if hardware().gpu else "cpu"


def sheet_of(gpu: str) -> tuple[float, float]:
    """Operations and bytes per second of a GPU's data sheet; zeros where it is not known."""
    return next((speeds for name, speeds in DEVICES.items() if names(name, gpu)), (0.0, 0.0))


def names(model: str, gpu: str) -> bool:
    """Whether a GPU's full name is of this model: ``L4`` is not in "NVIDIA L40S"."""
    return bool(re.search(rf"\b{model}\b", gpu))


def duration(
    found: Plan, steps: int, tflop: float, settings: RLSettings | None, gpu: str
) -> tuple[int, list[float]]:
    """Steps of a training and its hours, at least and at most; see ``estimate``."""
    work, scale, (peak, bandwidth) = found.work, found.work.scale, sheet_of(gpu)
    if settings:
        episodes = settings.problems * settings.samples
        share = episodes / (scale.rl.problems * scale.rl.samples)
        counted = (6 + 2 * scale.passes(work.task)) * episodes * found.tokens * settings.epochs
        groups = -(-episodes // work.gpus // TOGETHER)
        answer = lengths(work.scale, work.task)[1], settings.max_new_tokens
        kind = format_of(config_of(scale, work.task), work)
        size = NF4 if work.adapter == "qlora" else kind.itemsize
        token = found.parameters * size / (bandwidth * DECODING)
        waits = [groups * budget(work.task, settings.tries) * n * token for n in answer]
    else:
        share, counted, waits = 1.0, 6 * scale.sft.batch * found.tokens, [0.0, 0.0]
    steps = steps or max(math.ceil(tflop * 1e12 / (found.parameters * counted)), 1)
    update = found.flops * share / (work.gpus * peak * TRAINING)
    return steps, [steps * (update + wait) / 3600 for wait in sorted(waits)]


def spanned(ends: Iterable[float], digits: int = 1) -> str:
    """A range in words; one number where both ends are equal."""
    return " to ".join(dict.fromkeys(f"{end:,.{digits}f}" for end in ends))


def estimate(
    found: Plan,
    steps: int,
    tflop: float,
    settings: RLSettings | None = None,
    price: float = 0.0,
    gpu: str = "",
) -> str:
    """One line on how long a training takes, and what it costs.

        training    operations of all steps / (GPUs * peak * ``TRAINING``)
        decoding    tokens one after the other * bytes of the weights / (bandwidth * ``DECODING``)

    Answers are between as long as a demonstration and as long as allowed, so there are two ends.

    Args:
        found: of a step with the scale's settings.
        steps: of the run; 0: until ``tflop`` (paper's count) is spent.
        settings: the run's own settings of RL; none for SFT.
        price: dollars an hour of one GPU; 0: no costs.
        gpu: name of the GPU; empty: this machine's.
    """
    gpus, gpu = found.work.gpus, gpu or device_name()
    if not sheet_of(gpu)[0]:
        return f"estimate: none, speeds are known of {', '.join(DEVICES)}; this is {gpu}"
    steps, ends = duration(found, steps, tflop, settings, gpu)
    cost = f", {spanned(h * price * gpus for h in ends)} dollars at {price:g} a GPU hour"
    return (
        f"estimate: {steps:,} steps, {spanned(ends)} hours on {gpus} x {gpu}"
        f"{cost if price else ''}; assumed: {TRAINING:.0%} of the peak in training, "
        f"{DECODING:.0%} of the bandwidth in decoding; evaluations come on top"
    )


# What a chapter trains: task, share of the scale's compute, runs of SFT and of RL. The others read
# what was recorded, or train for moments.
CHAPTERS = {
    "03_sft_memorises": ("gp-l", 1 / 2, 2, 0),
    "04_rl_with_verification_iterations": ("gp-l", 1 / 2, 0, 2),
    "05_ood_analysis": ("gp-l", 1.0, 1, 1),
    "06_cards_in_pictures": ("gp-vl", 1 / 2, 2, 2),
    "07_streets_in_text": ("virl-l", 0.4, 2, 2),
    "08_streets_in_pictures": ("virl-vl", 1 / 3, 2, 2),
    "12_why_distance_data_prompt": ("gp-l", 1 / 6, 2, 0),
}


MINUTES = ROOT / "results" / "chapters-t4.csv"


def chapter_table(scale: Scale | str = "t4", gpu: str = "T4") -> list[dict[str, Any]]:
    """Minutes that the chapters train at a scale on one GPU, by the plan: a row per chapter.

    As ``estimate`` counts them, so without evaluations; one run after the other.
    """
    scale, table = get_scale(scale), []
    for chapter, (task, share, *runs) in CHAPTERS.items():
        ends = [0.0, 0.0]
        for mode, settings, number in zip(("sft", "rl"), (None, scale.rl), runs, strict=True):
            if number:
                found, tflop = make_plan(Work(scale, task, mode)), share * scale.compute(task)
                hours = duration(found, 0, tflop, settings, gpu)[1]
                ends = [end + 60 * number * h for end, h in zip(ends, hours, strict=True)]
        trains = " and ".join(f"{n} of {m}" for n, m in zip(runs, ("SFT", "RL"), strict=True) if n)
        table.append(
            {
                "chapter": chapter,
                "task": task,
                "runs": trains,
                "compute of each, TFLOP": round(share * scale.compute(task)),
                "minutes": spanned(ends, 0),
                "marked": "planned, not measured",
            }
        )
    return table


def here() -> float:
    """GiB of this machine's GPU; 0 without one."""
    gpu = torch.cuda.is_available() and torch.cuda.get_device_properties(0)
    return gpu.total_memory / GIB if gpu else 0.0


def fitting(work: Work, memory: float) -> Plan:
    """The plan with the most episodes at once that fits, or with the fewest if none does."""
    found = make_plan(work)
    chosen = work.together or (work.batch if work.mode != "sft" else 0)
    if chosen or not work.scale.memory:
        return found
    together = TOGETHER
    while found.missing(memory) and together > FEWEST:
        # where the rest alone is too large, there is no need to try what lies between
        together = FEWEST if found.besides(ROLLOUT) + CONTEXT > memory else together // 2
        found = make_plan(replace(work, together=together))
    return found


FEWEST = 8  # episodes at once: below, a GPU waits for its memory most of the time


def advice(plan: Plan, memory: float) -> str:
    """One line where a GPU of ``memory`` GiB is too small: what is missing, and what fits."""
    work, lacks = plan.work, plan.missing(memory)
    if not lacks:
        return ""
    smaller = [replace(work, adapter=a, vision="frozen") for a in ADAPTERS]
    smaller = smaller[ADAPTERS.index(work.adapter) + 1 :]
    least = smaller[-1] if smaller else work
    if work.pictured:
        smaller.append(replace(least, tiles=1))
    short = f"{work.mode} with adapter {work.adapter} needs {plan.total + CONTEXT:.1f} GiB of "
    short += f"{memory:.1f}, {lacks:.1f} are missing; "
    if not smaller:
        return short + "nothing smaller is known"
    for other in smaller:
        there = fitting(replace(other, together=0), memory)
        if not there.missing(memory):
            break
    options = f"--adapter {other.adapter} --vision {other.vision}"
    if other.tiles:
        options += f" --max-image-tiles {other.tiles}"
    fails = " and does not fit either" if there.missing(memory) else ""
    return short + f"{options} needs {there.total + CONTEXT:.1f}{fails}"


def check(work: Work, memory: float | None = None) -> int:
    """Refuse work that this machine's GPU is too small for, before anything is loaded.

    Args:
        memory: GiB of the GPU; this machine's if not given. 0, a CPU, refuses nothing.

    Returns:
        how many episodes to play at once; 0 where there is room for as many as a rollout takes.

    Raises:
        RuntimeError: too little memory, with ``advice``.
    """
    memory = here() if memory is None else memory
    try:
        found = fitting(work, memory) if memory else None
    except UnknownModel:
        return 0
    if found and (line := advice(found, memory)):
        raise RuntimeError(line)
    return found.work.together if found else 0


# --- what fits where ---------------------------------------------------------------------

HARDWARE = {  # GPUs, GiB of each that can be used, data sheet; a model is split over eight
    "T4": (1, GPUS["T4"], "T4"),
    "2 x T4": (2, GPUS["T4"], "T4"),
    "L4 or A10, 24 GB": (1, GPUS["L4"], "L4"),
    "A100 80 GB": (1, GPUS["H100 80 GB"], "A100"),
    "H100 80 GB": (1, GPUS["H100 80 GB"], "H100"),
    "H200": (1, GPUS["H200"], "H200"),
    "8 x H100": (8, GPUS["H100 80 GB"], "H100"),
}


def heaviest(scale: Scale, task: str, mode: str, gpus: int, memory: float) -> Plan:
    """All weights if they fit, else LoRA, else QLoRA; the last one if nothing fits."""
    for adapter in ADAPTERS:
        tower = "trained" if adapter == "none" else "frozen"
        work = Work(scale, task, mode, adapter, tower, gpus=gpus, split=gpus == 8)
        found = fitting(work, memory)
        if not found.missing(memory):
            break
    return found


def hardware_table(task: str = "gp-l") -> list[dict[str, Any]]:
    """What can be trained on which GPUs: a row for each, scale and kind of run.

    Hours are those of the paper's compute (at ``t4`` of the scale's own) at ``TRAINING`` of the
    data sheet; GiB are of one GPU, CUDA's own share included. A row is ``measured`` where
    results/gpu.csv has its memory, from ``bench.gpu``, else ``planned``.
    """
    rows = []
    for name, (gpus, memory, sheet) in HARDWARE.items():
        for scale in map(get_scale, ("t4", "full") if memory < GPUS["L4"] else ("full",)):
            compute = scale.compute(task) * 1e12
            for mode in ("sft", "rl"):
                plan = heaviest(scale, task, mode, gpus, memory)
                lacks, seen = plan.missing(memory), seen_on_gpu(plan, sheet)
                rows.append(
                    {
                        "GPU": name,
                        "scale": scale.name,
                        "run": mode,
                        "trained": "nothing fits" if lacks else plan.work.adapter,
                        "episodes at once": plan.together,
                        "GiB": round(seen or plan.total + CONTEXT, 1),
                        "of": memory,
                        "hours": None
                        if lacks
                        else float(f"{compute / (TRAINING * gpus * DEVICES[sheet][0]) / 3600:.2g}"),
                        "marked": "measured" if seen else "planned",
                    }
                )
    return rows


def seen_on_gpu(plan: Plan, sheet: str, path: Path | None = None) -> float:
    """GiB that ``bench.gpu`` measured for such work on such a GPU; 0: not measured yet."""
    path, work = path or ROOT / "results" / "gpu.csv", plan.work
    if not path.exists():
        return 0.0
    import pandas as pd  # slow to import

    rows = pd.read_csv(path)
    rows = rows[rows["name"] == f"{work.mode.upper()} memory"]
    rows = rows[rows["device"].map(lambda device: names(sheet, device)).astype(bool)]
    for option in (
        f"--scale {work.scale.name}",
        f"--adapter {work.adapter}",
        f"--task {work.task}",
    ):
        rows = rows[rows["command"].str.contains(option, regex=False)]
    return float(rows["value"].max()) if len(rows) else 0.0


GRID = [  # mode, sequences in a pass or episodes at once
    *(("sft", batch) for batch in (1, 8)),
    *(("rl", batch) for batch in (8, 64)),
]


def write_table(path: Path = TABLE, scale: str = "full", task: str = "gp-vl") -> None:
    """The plans of a scale by mode, adapter, tiles and batch, vision frozen; two or three minutes.

    SFT's evaluations play ``FEWEST`` episodes at once.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("mode", "adapter", "tiles", "batch", "part", "gib", "tflop"))
        for mode, batch in GRID:
            for tiles in (1, 4):
                for adapter in ADAPTERS:
                    work = Work(get_scale(scale), task, mode, adapter, "frozen", tiles, batch)
                    if mode == "sft":  # its evaluations can play as few as these
                        work = replace(work, together=FEWEST)
                    found = make_plan(work)
                    for part, size in found.parts.items():
                        key = mode, adapter, tiles, batch, part
                        rows.writerow((*key, f"{size:.4g}", f"{found.flops / 1e12:.4g}"))


def write_minutes(path: Path = MINUTES) -> None:
    """The planned minutes of the chapters at ``t4`` on a T4, which they state; one minute."""
    import pandas as pd

    rows = pd.DataFrame(chapter_table("t4", "T4"))[["chapter", "minutes"]]
    rows.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    write_table()
    write_minutes()
