"""How much memory and compute a run takes, before a weight is loaded or a GPU is rented.

Weights, gradients, optimizer states and caches are counted. Activations are not guessed by a
formula: the functions that train and play run on *fake* tensors (torch's ``FakeTensorMode``),
which have a shape and a type but no content, and we note how many bytes of them are alive.

Layers of a kind are alike, so a model with two of each kind and one with three tell what a layer
costs, and forty cost as many times that: a plan of the 11B model takes seconds on a laptop.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache, partial

from sftrl_lite.planning.fake import few_pictures, nothing
from sftrl_lite.planning.layers import cut, depths, extrapolated
from sftrl_lite.planning.measure import frozen_heap, gathered, measured, pieces, sizes_of
from sftrl_lite.planning.plan import Plan
from sftrl_lite.planning.work import GIB, Work
from sftrl_lite.planning.workload import config_of, pixel_bytes, states_bytes
from sftrl_lite.training.forward import PART


@cache
def make_plan(work: Work) -> Plan:
    """Predict a run of ``work``: its memory at the highest moment, the operations of a step."""
    scale, n = work.scale, sizes_of(work)
    config = config_of(work.scale, work.task, work.tiles)
    layers, s = depths(config), scale.rl
    shape = layers | pieces(work, config)
    with frozen_heap():
        x = defaultdict(float, extrapolated(partial(measured, work), shape))
    pictured, on_gpu = work.pictured, scale.memory > 0
    few = few_pictures(config, PART)
    parts = {name: x[name] for name in ("weights", "gradients", "optimizer") if name in x}
    small = 2 if on_gpu else 4
    if work.sharded:
        parts = {name: part / work.gpus for name, part in parts.items()}
        parts["copy for rollouts"] = small * x["parameters"]
        start = (4 + small) * x["parameters"]  # before they are split
        parts["whole weights"] = max(start - sum(parts.values()), 0.0)
        parts["Init at hand"] = small * x["parameters"]  # lies in main memory else
    elif work.adapter == "none" and work.mode != "eval":  # with an adapter, Init is inside
        parts["Init, to compare"] = 4 * x["parameters"]

    # a rollout
    view = states_bytes(config, small)
    own = max(x["tower.looking"] - x["tower.views"], 0.0)  # of a few pictures in the tower
    own_back = max(x["tower.looking_back"] - x["tower.views"], 0.0)
    joined = view * (n.together if n.together > few else 0)  # states of all, beside their parts
    parts["KV cache"] = n.together * (n.columns * x["token"] + pictured * x["picture"])
    parts["pictures played"] = pictured * n.together * view
    highest = max(x["play.read"] + x["play.inside"], x["play.moving"], x["play.going_on"])
    looked = pictured * max(own, joined)
    highest = max(highest, looked, parts["KV cache"] + x["play.sampling"])
    parts["reading prompts"] = highest - parts["KV cache"]
    flops = (
        x["play.forward"] * n.tokens / n.prompt + pictured * n.together * x["tower.forward"] / few
    )

    # an update, and the distance from Init
    if work.mode != "eval":
        shown = n.rows if work.mode == "sft" else -(-s.problems // work.gpus)
        joined = view * (shown if shown > few else 0)
        parts["pixels"] = pictured * shown * pixel_bytes(config)
        parts["image states"] = pictured * max(n.pictures * x["tower.views"] / few, shown * view)
        head = max(x["update.scoring"], x["update.logits"], 0.0)
        parts["activations"], parts["logits"] = x["update.kept"], head
        highest = max(x["update.reading"], x["update.back"], pictured * max(own, own_back, joined))
        parts["layer"] = max(highest - x["update.kept"] - head, 0.0)
        if work.sharded:
            parts["gathered"] = gathered(nothing(cut(config, dict.fromkeys(layers, 1)), work))
        highest = max(x["far.reading"], x["far.kept"] + x["far.scoring"], pictured * own)
        parts["distance"] = pictured * PART * (view + pixel_bytes(config)) + highest
        looks = x["tower.looks"] / few
        if work.mode == "sft":
            flops = (x["update.text"] / n.rows + pictured * looks) * scale.sft.batch
        else:
            # in the rollout, for the old policy, and in the update
            once = 2 * x["update.forward"] + s.epochs * x["update.text"]
            flops = s.problems * s.samples / n.rows * once
            if pictured:  # a tower that is trained encodes a minibatch's pictures at each update
                updates = s.epochs * -(-n.episodes // s.minibatch) * n.pictures / shown
                again = updates * looks if work.tower_trained else x["tower.forward"] / few
                flops += s.problems * (2 * x["tower.forward"] / few + again)
    counts = round(x["parameters"]), round(x["trained"])
    gib = {name: size / GIB for name, size in parts.items()}
    return Plan(work, gib, flops, *counts, n.tokens, n.together)
