"""The numbers of a plan that depend on how deep the model is."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from sftrl_lite.planning.fake import fake, few_pictures, nothing
from sftrl_lite.planning.layers import cut
from sftrl_lite.planning.passes import Played, Trace, glance, play, trace
from sftrl_lite.planning.work import NF4, Work
from sftrl_lite.planning.workload import EVALUATED, config_of, lengths, shown_as
from sftrl_lite.scales import in_one_pass
from sftrl_lite.tasks.registry import budget
from sftrl_lite.training.forward import PART, TILE, TOKENS, ValueHead
from sftrl_lite.training.rollouts import REPLY, TOGETHER
from sftrl_lite.training.static_decoding import STEP, cache_bytes


def states(model: PreTrainedModel, work: Work) -> dict[str, float]:
    """Bytes of weights, gradients and optimizer states; exact.

    What is trained is float32 with Adam's two moments: 4 + 4 + 8 bytes per weight. What is
    frozen has the model's own type, with qlora 4 bits in the text layers' matrices.
    """
    trained = frozen = 0.0
    with torch.device("meta"):
        head = ValueHead(model.config.get_text_config().hidden_size)
    if work.mode == "rl":
        trained += sum(weight.numel() for weight in head.parameters())
    layers = {id(weight) for weight in model.get_decoder().layers.parameters()}
    for weight in model.parameters():
        packed = work.adapter == "qlora" and id(weight) in layers and weight.ndim == 2
        if weight.requires_grad:
            trained += weight.numel()
        else:
            frozen += weight.numel() * (NF4 if packed else weight.element_size())
    if work.mode == "eval":  # nothing is trained then, and adapters stay float32
        own = model.dtype.itemsize if work.adapter == "none" else 4
        return {"weights": frozen + trained * own}
    return {"weights": frozen + 4 * trained, "gradients": 4 * trained, "optimizer": 8 * trained}


def gathered(model: PreTrainedModel) -> float:
    """Bytes that a pass through a model split by FSDP2 has whole at one time.

    Its embeddings and its head stay for a pass, and of its layers this one and the next, in
    16 bits; the gradient of the largest is there in 16 bits and, to be added up, in 32.
    """
    text = model.get_decoder()
    units = [text.embed_tokens, model.lm_head, text.layers[0], text.layers[-1]]
    sizes = [sum(weight.numel() for weight in unit.parameters()) for unit in units]
    return 2.0 * sum(sizes) + 6.0 * max(sizes)


@dataclass(frozen=True)
class Sizes:
    """How many of everything a ``Work`` has on one GPU."""

    prompt: int  # tokens
    message: int
    width: int  # of a sequence that is trained on
    tokens: int  # of the longest sequence
    said: int  # of these in answers
    rows: int  # sequences in one pass
    first: int  # tokens of a prompt and one sampled answer
    episodes: int  # of a step of RL
    together: int  # episodes at once
    columns: int  # tokens of an episode in the cache
    pictures: int  # different ones in an update


@cache
def sizes_of(work: Work) -> Sizes:
    """The numbers that scale, task and ``work`` ask for."""
    scale, s = work.scale, work.scale.rl
    prompt, answer, message = lengths(work.scale, work.task)
    pictured, on_gpu = work.pictured, scale.memory > 0
    if work.prompt_tokens:
        config = config_of(work.scale, work.task)
        prompt = work.prompt_tokens + pictured * shown_as(config)
    longest, tries = work.answer_tokens or s.max_new_tokens, budget(work.task, s.tries)
    problems = -(-s.problems // work.gpus)
    episodes = problems * s.samples
    if work.mode == "sft":
        rows = work.batch or in_one_pass(max(scale.sft.batch // work.gpus, 1), on_gpu)
        width, pictures = prompt + answer, rows
    else:
        width = prompt + tries * (longest + message)
        rows = max(min(PART, s.minibatch, episodes, TOKENS // width), 1)
        pictures = min(problems, s.minibatch) if work.tower_trained else problems
    asked = work.together or (work.batch if work.mode != "sft" else 0)
    if on_gpu:
        together = asked or TOGETHER
        columns = -(-(prompt + tries * (longest + REPLY)) // STEP) * STEP
    else:
        many = min(max(scale.eval_episodes, episodes if work.mode == "rl" else 0), EVALUATED)
        together, columns = asked or many, prompt + tries * (longest + message)
    tokens = width if work.mode == "sft" else prompt + tries * (longest + message)
    return Sizes(
        prompt=prompt,
        message=message,
        width=width,
        tokens=tokens,
        rows=rows,
        said=answer if work.mode == "sft" else tries * longest,
        first=prompt + longest,
        episodes=episodes,
        together=together,
        columns=columns,
        pictures=pictures * pictured,
    )


def measured(work: Work, layers: dict[str, float], kind: str) -> dict[str, float]:
    """Every number of a plan that depends on how deep the model is, or on how many answers it has.

    What different works have in common is measured once: a rollout of SFT's evaluation is one of
    RL's, and two GPUs that share nothing do what one does.

    Args:
        layers: of each kind, and ``pieces`` of logits in an update, all of them if not given.
        kind: measure only what depends on layers of this kind; empty: everything.
    """
    n, few = sizes_of(work), tuple(layers.items())
    plain = Work(work.scale, work.task, work.mode, vision=work.vision, tiles=work.tiles)
    found: dict[str, float] = {}
    if kind != PIECES:
        found |= counted(replace(plain, adapter=work.adapter), few)
    if kind in ("", "text", PIECES) or work.pictured:
        alike = replace(plain, adapter=ALIKE[work.adapter], gpus=1 + work.sharded)
        shown = min(n.pictures, n.rows)
        found |= traced(alike, few, kind, replace(n, pictures=shown, **UNTRACED))
        if kind != PIECES:
            played_as = "eval" if work.mode == "eval" else "rl"
            n = replace(n, pictures=0, **UNPLAYED)
            found |= played(replace(alike, mode=played_as), few, kind, n)
    return found


ALIKE = {"none": "none", "lora": "lora", "qlora": "lora"}  # 4 bits compute what 16 do
UNTRACED = dict.fromkeys(("tokens", "episodes", "together", "columns"), 0)
UNPLAYED = dict.fromkeys(("width", "tokens", "said", "rows", "first", "episodes"), 0)
PIECES = "pieces"


def pieces(work: Work, config: PreTrainedConfig) -> dict[str, float]:
    """Pieces of logits in an update of RL: ``log_probabilities`` takes one after the other.

    They are as alike as layers, and half of the operations of a pass on a shallow model.
    """
    n, piece = sizes_of(work), max(TILE // config.get_text_config().vocab_size, 1)
    return {PIECES: n.rows * n.said / piece} if work.mode == "rl" else {}


def named(name: str, numbers: Trace | Played) -> dict[str, float]:
    """Numbers by ``name.field``."""
    return {f"{name}.{key}": float(value) for key, value in vars(numbers).items()}


def passed(work: Work, layers: dict[str, float]) -> PreTrainedConfig:
    """A shallow model; where there are no pictures, with one of each layer that they pass."""
    few = {kind: int(n) if work.pictured or kind == "text" else 1 for kind, n in layers.items()}
    return cut(config_of(work.scale, work.task, work.tiles), few)


@cache
def counted(work: Work, layers: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Weights and what belongs to them, and the bytes of a token and a picture in the cache."""
    config = config_of(work.scale, work.task, work.tiles)
    config = cut(config, {kind: int(number) for kind, number in layers})
    model = nothing(config, work)
    weights = list(model.parameters())
    found = {name: float(size) for name, size in states(model, work).items()}
    found["parameters"] = sum(weight.numel() for weight in weights)
    found["trained"] = sum(weight.numel() for weight in weights if weight.requires_grad)
    size = torch.float32.itemsize if not work.scale.memory else 2
    found["token"], found["picture"] = cache_bytes(config, size)
    return found


@cache
def played(
    work: Work, layers: tuple[tuple[str, float], ...], kind: str, n: Sizes
) -> dict[str, float]:
    """A rollout of ``work`` on fake tensors, pictures' states given."""
    if kind not in ("", "text", "across"):
        return {}
    config, shown = passed(work, dict(layers)), n.together * work.pictured
    with fake(config, work) as model:
        found = play(model, n.together, n.prompt, n.columns, max(n.message, 2), shown)
    return named("play", found)


@cache
def traced(
    work: Work, layers: tuple[tuple[str, float], ...], kind: str, n: Sizes
) -> dict[str, float]:
    """The other passes of ``work``: the tower on its own; an update, and the distance from Init."""
    config, parts = passed(work, dict(layers)), dict(layers).get(PIECES)
    pictured, learn = work.pictured, work.mode != "eval"
    found: dict[str, float] = {}
    with fake(config, work) as model:
        if kind in ("", "tower", "overview") and pictured:
            found |= named("tower", glance(model, few_pictures(config, PART), learn))
        if kind in ("", "text", "across", PIECES) and learn:
            mode, said = "sft" if work.mode == "sft" else "rl", n.rows * n.said
            if parts is not None:
                said = round(parts * max(TILE // config.get_text_config().vocab_size, 1))
            once = partial(trace, model, encoded=False)
            found |= named("update", once(mode, n.rows, n.width, n.pictures, answers=said))
        if kind in ("", "text", "across") and learn:
            longest = PART * (n.first - n.prompt)
            far = once("rl", PART, n.first, PART * pictured, learn=False, answers=longest)
            found |= named("far", far)
    return found


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Let the garbage collector leave alone what is there already: a seventh of a plan's time.

    Passes on fake tensors make many small objects, and it would go through torch again and again.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
