"""A plan: memory by part, compute of a step; and the plans that are kept in results/."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

from sftrl_lite.files import ROOT
from sftrl_lite.planning.work import CONTEXT, GPUS, MODES, Work
from sftrl_lite.scales import ADAPTERS, SCALES, Scale
from sftrl_lite.tasks.registry import TASKS

TABLE = ROOT / "results" / "plan.csv"
KEPT = ROOT / "results" / "plans.jsonl"

# What is never there together: a run starts, plays, updates, and looks how far it has moved.
ROLLOUT = ("pictures played", "KV cache", "reading prompts")
MOMENTS = (
    ("whole weights",),
    ROLLOUT,
    ("pixels", "image states", "activations", "logits", "layer", "gathered"),
    ("Init at hand", "distance"),
)


def at_once(parts: dict[str, float]) -> dict[str, float]:
    """The parts at the highest moment: a rollout's and an update's are never there together."""
    sizes = {group: sum(parts.get(name, 0.0) for name in group) for group in MOMENTS}
    highest = max(sizes, key=sizes.__getitem__)
    return {
        name: gib
        for name, gib in parts.items()
        if name in highest or not any(name in group for group in MOMENTS)
    }


def read_table(path: Path | None = None) -> dict[tuple[str, str, int, int], dict[str, float]]:
    """results/plan.csv: parts at the highest moment by mode, adapter, tiles and batch."""
    import pandas as pd  # slow to import

    rows = pd.read_csv(path or TABLE)
    plans: dict[tuple[str, str, int, int], dict[str, float]] = {}
    for row in rows.to_dict("records"):
        key = row["mode"], row["adapter"], row["tiles"], row["batch"]
        plans.setdefault(key, {})[row["part"]] = row["gib"]
    return {key: at_once(parts) for key, parts in plans.items()}


@dataclass(frozen=True)
class Plan:
    """GiB by part on one GPU, and operations of a step on all of them."""

    work: Work
    parts: dict[str, float]
    flops: float
    parameters: int
    trained: int
    tokens: int  # of a sequence
    together: int = 0  # episodes

    @property
    def total(self) -> float:
        """GiB at the highest moment."""
        return sum(at_once(self.parts).values())

    def besides(self, moment: tuple[str, ...]) -> float:
        """GiB at the highest of the other moments."""
        others = {name: size for name, size in self.parts.items() if name not in moment}
        return sum(at_once(others).values())

    def missing(self, memory: float) -> float:
        """GiB that a GPU of so many GiB lacks, CUDA itself counted; 0 where it fits."""
        return max(self.total + CONTEXT - memory, 0.0)

    def __str__(self) -> str:
        w = self.work
        lines = [
            f"{w.scale.name} {w.task} {w.mode}, adapter {w.adapter}, vision {w.vision}: "
            f"{self.parameters / 1e9:.2f} B parameters, {self.trained / 1e6:.1f} M trained, "
            f"sequences of {self.tokens} tokens at most, {self.together} episodes at once",
            *(f"{part:18}{size:10.3f} GiB" for part, size in self.parts.items()),
            f"{'at most at once':18}{self.total:10.3f} GiB"
            + (", on each GPU" if w.gpus > 1 else ""),
            f"{'a step computes':18}{self.flops / 1e12:10.3f} TFLOP",
        ]
        enough = [name for name, size in GPUS.items() if not self.missing(size)]
        lines.append(f"smallest GPU that fits: {enough[0] if enough else 'none of these'}")
        return "\n".join(lines)


# --- plans that are kept -----------------------------------------------------------------

# A plan takes seconds to make, most of them to import what it is made with. Those of the scales as
# they stand in the table are made once, by ``python -m sftrl_lite.planning.estimates``.


ASKED = ("task", "mode", "adapter", "vision", "gpus", "together")  # of a work, beside its scale
COUNTS = ("parameters", "trained", "tokens", "together")  # of a plan


def standard_works() -> list[Work]:
    """Works whose plans are kept: each scale's tasks and modes.

    On a GPU with each adapter, on eight with all weights split over them, and with the fewer
    episodes at once that a smaller one has room for.
    """
    works = []
    for scale in SCALES.values():
        tasks = [task for task in TASKS if scale.picture or not task.endswith("-vl")]
        adapters = ADAPTERS if scale.memory else (scale.adapter,)
        fewer = (0, 32, 16, 8) if scale.memory else (0,)
        for task, mode, adapter, together in product(tasks, MODES, adapters, fewer):
            works.append(work := Work(scale, task, mode, adapter, together=together))
            if scale.memory and (eight := replace(work, gpus=8)).sharded:
                works.append(eight)
    return works


def digest(scale: Scale) -> str:
    """Changes with every number of a scale."""
    return hashlib.sha256(repr(scale).encode()).hexdigest()[:8]


def as_line(plan: Plan) -> str:
    """A plan in a line of JSON: what was asked, and the answer with sizes to six digits."""
    asked = {name: getattr(plan.work, name) for name in ASKED}
    found = {name: getattr(plan, name) for name in COUNTS}
    found["flops"] = float(f"{plan.flops:.6g}")
    found["parts"] = {name: float(f"{size:.6g}") for name, size in plan.parts.items()}
    scale = plan.work.scale
    return json.dumps(dict(scale=scale.name, digest=digest(scale), asked=asked, found=found))


@cache
def kept_plans(path: Path = KEPT) -> dict[Work, Plan]:
    """The plans in results/plans.jsonl, without those of a scale that was changed since."""
    plans = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        kept = json.loads(line)
        scale = SCALES.get(kept["scale"])
        if scale and digest(scale) == kept["digest"]:
            work = Work(scale, **kept["asked"])
            plans[work] = Plan(work, **kept["found"])
    return plans
