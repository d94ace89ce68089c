"""What fits: the largest plan that a GPU has room for, and advice where none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sftrl_lite.planning.plan import ROLLOUT, Plan, kept_plans
from sftrl_lite.planning.work import CONTEXT, GIB, Work
from sftrl_lite.scales import ADAPTERS

FEWEST = 8  # episodes at once: below, a GPU waits for its memory most of the time


def here() -> float:
    """GiB of this machine's GPU; 0 without one."""
    import torch  # slow to import, like what makes a plan

    gpu = torch.cuda.is_available() and torch.cuda.get_device_properties(0)
    return gpu.total_memory / GIB if gpu else 0.0


def kept_or_made(work: Work) -> Plan:
    """The plan of ``work``: from results/plans.jsonl if it is kept there, else made now."""
    return kept_plans().get(work) or made(work)


def made(work: Work) -> Plan:
    """The plan of ``work``, made now; some seconds."""
    from sftrl_lite.planning.predict import make_plan  # slow to import

    return make_plan(work)


def fitting(work: Work, memory: float, plan_of: Callable[[Work], Plan] = made) -> Plan:
    """The plan with the most episodes at once that fits, or with the fewest if none does."""
    found = plan_of(work)
    chosen = work.together or (work.batch if work.mode != "sft" else 0)
    if chosen or not work.scale.memory:
        return found
    together = found.together
    while found.missing(memory) and together > FEWEST:
        # where the rest alone is too large, there is no need to try what lies between
        together = FEWEST if found.besides(ROLLOUT) + CONTEXT > memory else together // 2
        found = plan_of(replace(work, together=together))
    return found


def advice(plan: Plan, memory: float, plan_of: Callable[[Work], Plan] = made) -> str:
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
        there = fitting(replace(other, together=0), memory, plan_of)
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
    from sftrl_lite.planning.workload import UnknownModel  # slow to import

    memory = here() if memory is None else memory
    try:
        found = fitting(work, memory) if memory else None
    except UnknownModel:
        return 0
    if found and (line := advice(found, memory)):
        raise RuntimeError(line)
    return found.work.together if found else 0
