"""What trainings cost on which GPUs: hours, dollars, tables."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from sftrl_lite.files import ROOT
from sftrl_lite.models.precision import device_name
from sftrl_lite.planning.fake import format_of
from sftrl_lite.planning.fit import FEWEST, fitting, made
from sftrl_lite.planning.plan import KEPT, TABLE, Plan, as_line, standard_works
from sftrl_lite.planning.work import CONTEXT, DECODING, DEVICES, GPUS, NF4, TRAINING, Work
from sftrl_lite.planning.workload import config_of, lengths
from sftrl_lite.scales import ADAPTERS, RLSettings, Scale, get_scale
from sftrl_lite.tasks.registry import budget
from sftrl_lite.training.rollouts import TOGETHER


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
    "00_the_result_in_five_minutes": ("gp-l", 1.0, 1, 1),
    "03_sft_memorises": ("gp-l", 1 / 2, 2, 0),
    "04_rl_with_verification_iterations": ("gp-l", 1 / 2, 0, 2),
    "05_ood_analysis": ("gp-l", 1.0, 1, 1),
    "06_cards_in_pictures": ("gp-vl", 1 / 2, 2, 2),
    "07_streets_in_text": ("virl-l", 0.4, 3, 2),
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
                found, tflop = made(Work(scale, task, mode)), share * scale.compute(task)
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
                    found = made(work)
                    for part, size in found.parts.items():
                        key = mode, adapter, tiles, batch, part
                        rows.writerow((*key, f"{size:.4g}", f"{found.flops / 1e12:.4g}"))


def write_minutes(path: Path = MINUTES) -> None:
    """The planned minutes of the chapters at ``t4`` on a T4, which they state; one minute."""
    import pandas as pd

    rows = pd.DataFrame(chapter_table("t4", "T4"))[["chapter", "minutes"]]
    rows.to_csv(path, index=False, lineterminator="\n")


def write_plans(path: Path = KEPT) -> None:
    """The plans that the command ``plan`` answers with at once; a quarter of an hour."""
    lines = [as_line(made(work)) for work in tqdm(standard_works(), "plans")]
    path.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    write_plans()
    write_table()
    write_minutes()
