"""Random numbers: one function seeds all sources, one gives each use a stream of its own."""

from __future__ import annotations

import random


def stream(*names: object) -> random.Random:
    """A random stream that depends only on its names: ``stream(seed, "rl", step)``.

    Streams replace hidden state: a run that resumes at step 17 asks for step 17's stream.
    """
    return random.Random("/".join(map(str, names)))


def seed_all(seed: int) -> None:
    """Seed everything that draws without a stream of its own (weights, trl)."""
    import torch
    from transformers import set_seed

    set_seed(seed)
    # On a GPU the deterministic ways copy and sort much, and a float would still differ by card.
    torch.use_deterministic_algorithms(not torch.cuda.is_available(), warn_only=True)
    # Nobody reads memory before writing it; filling it would take half of SFT's time at tiny.
    # Types do not know the module's properties.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
