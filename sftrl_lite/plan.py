"""How much memory and compute a run takes, before a weight is loaded or a GPU is rented.

Weights, gradients, optimizer states and caches are counted. Activations are not guessed by a
formula: the functions that train and play run on *fake* tensors (torch's ``FakeTensorMode``),
which have a shape and a type but no content, and we note how many bytes of them are alive.

Layers of a kind are alike, so a model with two of each kind and one with three tell what a layer
costs, and forty cost as many times that: a plan of the 11B model takes seconds on a laptop.
"""

from __future__ import annotations

import copy
import csv
import gc
import math
import os
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.initialization import no_init_weights

from sftrl_lite import adapters, distributed
from sftrl_lite.compute import LAMBDA
from sftrl_lite.models import (
    KINDS,
    LIKE_11B,
    LIKE_500M,
    ROOT,
    device,
    find,
    full_config,
    small_config,
)
from sftrl_lite.precision import PRETEND, checkpoint_layers, hardware, in_float32, mixed
from sftrl_lite.rl import PART, TILE, Batch, ValueHead, policy
from sftrl_lite.rollouts import (
    REPLY,
    ROOMS,
    STEP,
    TOGETHER,
    Decoder,
    StaticDecoder,
    cache_bytes,
    sample_tokens,
)
from sftrl_lite.scales import RLSettings, get_scale, in_one_pass, stream
from sftrl_lite.tasks import TASKS, budget, make_task
from sftrl_lite.vision import PATCHES, Pixels, crosses, encode, eyes, look, states_of_picture

GIB = 2**30
TABLE = ROOT / "results" / "plan.csv"
GPUS = {"T4": 14.6, "L4": 22.0, "A100 40 GB": 39.4, "H100 80 GB": 79.2, "H200": 139.8}  # usable
# Data sheets, dense 16-bit: operations a second, bytes of memory a second.
DEVICES = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.0e12),
    "L4": (121e12, 0.3e12),
    "T4": (65e12, 0.32e12),
}
TRAINING, DECODING = 0.3, 0.2  # shares of the two that are reached; assumptions
CONTEXT = 1.0  # GiB: CUDA itself, and what the allocator cannot use; an assumption
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight: 4 bits, and scales that are themselves 8-bit
CHARACTERS = 3.5  # a token of Llama's tokenizer, English with JSON; an assumption
EVALUATED = 500  # episodes at once where nothing bounds them, as ``evaluate`` plays them
MODES = ("sft", "rl", "eval")
ADAPTERS = ("none", "lora", "qlora")  # each smaller than the one before


@dataclass(frozen=True)
class Work:
    """What is planned. A run of ``sft`` or ``rl`` includes its evaluations.

    Args:
        adapter, vision: what is trained; empty: the scale's choice.
        tiles: parts that a picture is cut into at most; 0: as many as the model has room for.
        batch: SFT: answers in one pass; RL and eval: episodes played at once; 0: the scale's.
        gpus: processes, one for each GPU; problems and batches are dealt out among them.
        split: whether a training of all weights is split over them (FSDP2), as
            ``launch/eight_gpus_fsdp2.yaml`` asks; else each GPU holds everything.
        prompt_tokens: of a prompt, without its picture; 0: those of the task's own. The released
            checkpoints of the paper were trained on longer ones.
        answer_tokens: of an answer that is sampled; 0: the longest that the scale allows.
        together: episodes played at once, in all modes; 0: ``batch``, or what a rollout takes.
    """

    scale: str = "tiny"
    task: str = "gp-l"
    mode: str = "sft"
    adapter: str = ""
    vision: str = ""
    tiles: int = 0
    batch: int = 0
    gpus: int = 1
    split: bool = True
    prompt_tokens: int = 0
    answer_tokens: int = 0
    together: int = 0

    def __post_init__(self) -> None:
        for name in ("adapter", "vision"):
            chosen = getattr(self, name) or getattr(get_scale(self.scale), name)
            object.__setattr__(self, name, chosen)
        known = {"task": TASKS, "mode": MODES, "adapter": ADAPTERS, "vision": adapters.VISION}
        for name, choices in known.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose {', '.join(choices)}")
        counts = self.tiles, self.batch, self.prompt_tokens, self.answer_tokens, self.together
        if min(*counts, self.gpus - 1) < 0 or self.tiles > 4:
            raise ValueError("tiles are 1 to 4, counts are positive, and GPUs are at least 1")

    @property
    def seeing(self) -> bool:
        """Whether the vision tower is trained."""
        return self.vision == "trained"

    @property
    def sharded(self) -> bool:
        """Whether weights, gradients and moments are split over the GPUs."""
        return self.adapter == "none" and self.mode != "eval" and self.split and self.gpus > 1


# --- how long, how large -----------------------------------------------------------------


def config_of(scale: str, task: str, tiles: int = 0) -> PreTrainedConfig:
    """The scale's model in numbers: from its shipped folder, or as published.

    Args:
        tiles: slots for the tiles of a picture; 0: the model's own number. Mllama's tower
            computes all its slots, empty or not.

    Raises:
        ValueError: a scale whose model is not known here.
    """
    base = get_scale(scale).pretrained_for(task)
    if (ROOT / base / "config.json").is_file():
        config = AutoConfig.from_pretrained(ROOT / base)
    elif base.startswith(LIKE_11B):
        config = full_config()
    elif base.startswith(LIKE_500M):
        config = small_config()
    else:
        raise ValueError(f"no plan for {base}: its numbers are not known here")
    if config.model_type not in KINDS:
        raise ValueError(f"no plan for {base}, a {config.model_type}; known: {', '.join(KINDS)}")
    eyes = config.vision_config
    if config.model_type == "mllama":
        eyes.max_num_tiles = min(tiles or 4, eyes.max_num_tiles)
        ratios = eyes.supported_aspect_ratios
        eyes.supported_aspect_ratios = [r for r in ratios if r[0] * r[1] <= eyes.max_num_tiles]
    return config


def states_bytes(config: PreTrainedConfig, size: int) -> int:
    """Bytes of a picture's states, of numbers of ``size`` bytes."""
    return states_of_picture(config) * config.get_text_config().hidden_size * size


def pixel_bytes(config: PreTrainedConfig) -> int:
    """Bytes of a picture as the image processor gives it."""
    eyes = config.vision_config
    area = eyes.image_size**2
    return 12 * area * eyes.max_num_tiles if config.model_type == "mllama" else 20 * area


def lengths(scale: str, task: str) -> tuple[int, int, int]:
    """Tokens of a prompt, of a right answer and of the verifier's turn.

    Counted by the tokenizer where it is shipped, else from the number of characters. A picture
    that stands among the words counts with all its states.
    """
    judge = make_task(task, scale=scale)
    problem = judge.sample(stream(0, "plan"))
    texts = judge.prompt(problem), judge.demonstration(problem), judge.verify(problem, "{}").message
    base = get_scale(scale).pretrained_for(task)
    headers = (4, 1, 3) if find(base) else HEADERS
    counts = zip(tokens_of(texts, base), headers, strict=True)
    prompt, answer, message = (n + h for n, h in counts)
    return prompt + shown_as(config_of(scale, task)) * task.endswith("-vl"), answer, message


def tokens_of(texts: Iterable[str], base: str) -> list[int]:
    """Tokens of texts, by the tokenizer of ``base`` where it is on this disk, else estimated."""
    folder = find(base)
    if folder and (folder / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    return [math.ceil(len(text) / CHARACTERS) for text in texts]


PROMPTS = 8  # that are looked at for the longest
HEADERS = 10, 1, 9  # tokens around a prompt, an answer, a message: begin, user, end of turn, ...


def work_of(run: Any, mode: str) -> Work:
    """What is planned before a run starts: its model, its processes, its own prompts.

    Args:
        run: a filled ``Run``; mode: ``sft``, ``rl`` or ``eval``.

    Raises:
        ValueError: a model that is not planned here.
    """
    asked = 0
    if get_scale(run.scale).memory:  # a tiny model fits anywhere
        judge = run.make("train")
        texts = [judge.prompt(judge.sample(stream(0, "plan", i))) for i in range(PROMPTS)]
        asked = max(tokens_of(texts, run.base)) + HEADERS[0]
    return Work(
        run.scale,
        run.task,
        mode,
        run.adapter,
        run.vision,
        run.max_image_tiles,
        gpus=distributed.world(),
        split=distributed.sharding(),
        prompt_tokens=asked,
    )


def shown_as(config: PreTrainedConfig) -> int:
    """Tokens that a picture takes in a prompt: one, or its states between two marks and a name."""
    return 1 if config.model_type == "mllama" else states_of_picture(config) + 3


# --- models of few layers ----------------------------------------------------------------


def depths(config: PreTrainedConfig) -> dict[str, int]:
    """How many layers of each kind a model has."""
    text, eyes = config.get_text_config(), config.vision_config
    across = len(getattr(text, "cross_attention_layers", ()))
    found = {"text": text.num_hidden_layers - across, "eyes": eyes.num_hidden_layers}
    if across:
        found |= {"across": across, "overview": eyes.num_global_layers}
    return found


def cut(config: PreTrainedConfig, layers: dict[str, int]) -> PreTrainedConfig:
    """The same model with other numbers of layers.

    The first layer stays one of text: cross-attention layers come right after it.
    """
    config = copy.deepcopy(config)
    text, eyes = config.get_text_config(), config.vision_config
    text.num_hidden_layers = layers["text"] + layers.get("across", 0)
    eyes.num_hidden_layers, deep = layers["eyes"], eyes.num_hidden_layers
    if "across" in layers:
        text.cross_attention_layers = list(range(1, 1 + layers["across"]))
        eyes.num_global_layers = layers["overview"]
        if layers["eyes"] < deep:  # those that are handed on stay different ones
            handed = range(len(eyes.intermediate_layers_indices))
            eyes.intermediate_layers_indices = [min(i, layers["eyes"] - 1) for i in handed]
    if hasattr(text, "layer_types"):
        text.layer_types = None
    return config


# Mllama's tower hands on the states of five of its layers beside the last; and with few pieces of
# logits another moment is the highest than with many.
FEW = {"eyes": 6, "pieces": 4}


def extrapolated(measure: Any, layers: dict[str, float]) -> dict[str, float]:
    """What ``measure`` would find for so many layers, from a shallow model and others with
    one layer more of a kind.

    Every number is base + sum over kinds of layers * slope. That is exact for counts, and for
    bytes at a moment that is the same in a shallow and in a deep model.

    Args:
        measure: called with the layers of each kind, and with the kind that differs from the
            first call ("" in that one); returns numbers by name. Names that it leaves out do not
            depend on that kind.
    """
    few = {kind: min(number, FEW.get(kind, 2)) for kind, number in layers.items()}
    base = measure(few, "")
    found = dict(base)
    for kind, number in layers.items():
        if number > few[kind]:
            for name, value in measure(few | {kind: few[kind] + 1}, kind).items():
                found[name] += (number - few[kind]) * (value - base[name])
    return found


# --- a step on fake tensors --------------------------------------------------------------

ATEN = torch.ops.aten
COSTS = flop_registry | {  # torch does not count its own attention on CPUs
    ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q.shape, k.shape, v.shape
    ),
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: (
        sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape)
    ),
}


class Live(TorchDispatchMode):
    """Counts operations, and the bytes of tensors that are made in here and still alive:
    ``now``, at most since ``restart`` (``recent``), and at most at all (``peak``).
    """

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.now = self.recent = self.peak = self.flops = 0
        self.held = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if cost := COSTS.get(function._overloadpacket):
            self.flops += cost(*args, **(kwargs or {}), out_val=out)
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                store = tensor.untyped_storage()
                if store._cdata not in self.held:  # views share a store
                    self.held.add(store._cdata)
                    self.now += store.nbytes()
                    weakref.finalize(store, self.gone, store._cdata, store.nbytes())
        self.recent = max(self.recent, self.now)
        self.peak = max(self.peak, self.now)
        return out

    def gone(self, key: int, size: int) -> None:
        """A store was freed."""
        self.held.discard(key)
        self.now -= size

    def restart(self) -> int:
        """Forget the highest value but ``peak``; returns what is alive."""
        self.recent = self.now
        return self.now


@dataclass
class Trace:
    """What one pass holds (bytes, in the order of time) and computes (operations)."""

    looking: int = 0  # at most, while pictures are encoded
    views: int = 0  # pictures' states, and what a trained tower keeps for them
    reading: int = 0  # at most, in the text model's forward pass
    kept: int = 0  # alive between forward and backward, these included, without the logits
    scoring: int = 0  # on top of it while the loss is computed
    logits: int = 0  # and while its gradient comes back to the last states
    back: int = 0  # at most, in the text model's backward pass
    looking_back: int = 0  # and in the tower's
    forward: int = 0  # operations outside the vision tower, forward
    text: int = 0  # and in all
    looks: int = 0  # operations inside the tower

    @property
    def peak(self) -> int:
        """Bytes at the highest moment."""
        head = self.kept + max(self.scoring, self.logits)
        return max(self.looking, self.reading, head, self.back, self.looking_back)


@contextmanager
def as_on_gpu(yes: bool) -> Iterator[None]:
    """Let functions that ask for the ``hardware`` compute as a GPU would, or as they are."""
    before = os.environ.get(PRETEND)
    os.environ[PRETEND] = (before or "bf16") if yes else ""
    try:
        yield
    finally:
        os.environ.pop(PRETEND)
        if before is not None:
            os.environ[PRETEND] = before


def format_of(config: PreTrainedConfig, work: Work) -> torch.dtype:
    """The number format of weights that are not trained, as ``models.load`` keeps them."""
    whole = config.dtype in (None, torch.float32) or not get_scale(work.scale).memory
    return torch.float32 if whole else torch.bfloat16


def nothing(config: PreTrainedConfig, work: Work) -> PreTrainedModel:
    """The model of ``work``, ready for training, on torch's device of no content."""
    with torch.device("meta"), no_init_weights():
        model = AutoModelForImageTextToText.from_config(config, dtype=format_of(config, work))
        if work.adapter != "none":
            adapters.add(model, vision=work.seeing)
        elif not work.seeing:
            adapters.freeze_eyes(model)
        if work.adapter == "none" and work.mode != "eval" and not work.sharded:
            in_float32(model)  # shards are, too, but what they gather for a pass is 16 bits wide
    return model


@contextmanager
def fake(config: PreTrainedConfig, work: Work) -> Iterator[PreTrainedModel]:
    """The model of ``work`` with adapters and checkpointing as in training, made of nothing."""
    on_gpu = get_scale(work.scale).memory > 0
    model = nothing(config, work)
    with as_on_gpu(on_gpu), FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        for weight in model.parameters():  # gradients are counted elsewhere
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(lambda w: setattr(w, "grad", None))
        if on_gpu:
            checkpoint_layers(model)
        if work.mode == "sft":
            from trl.trainer.utils import add_fused_lm_head  # slow to import

            add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))  # as trl does
        yield model.train()


def pictures_like(config: PreTrainedConfig, number: int) -> Pixels:
    """Tensors like the image processor's, of ``number`` pictures."""
    eyes = config.vision_config
    if config.model_type != "mllama":
        shape = number, 1, eyes.image_size, eyes.image_size
        return {
            "pixel_values": torch.ones(number, 1, 3, *shape[2:]),
            "pixel_attention_mask": torch.ones(shape, dtype=torch.long),
        }
    shape = number, 1, eyes.max_num_tiles
    return {
        "pixel_values": torch.zeros(*shape, 3, eyes.image_size, eyes.image_size),
        "aspect_ratio_ids": torch.ones(number, 1, dtype=torch.long),
        "aspect_ratio_mask": torch.ones(shape, dtype=torch.long),
    }


@mixed
def encode_whole(model: PreTrainedModel, pixels: Pixels) -> Tensor:
    """``vision.encode`` without asking which pictures and patches are empty.

    SmolVLM asks, and the answer is content, which fake tensors lack.
    """
    if crosses(model):
        return encode(model, pixels)
    inner, values = model.model, pixels["pixel_values"].flatten(0, 1)
    tower = inner.vision_model
    patches = tower.embeddings.patch_embedding(values.to(model.dtype)).flatten(2).mT
    places = torch.arange(patches.shape[1], device=patches.device)
    patches = patches + tower.embeddings.position_embedding(places)
    seen = tower.post_layernorm(tower.encoder(inputs_embeds=patches).last_hidden_state)
    return inner.connector(seen)


def few_pictures(config: PreTrainedConfig, number: int) -> int:
    """How many of so many pictures ``encode`` takes at a time."""
    eyes = config.vision_config
    patches = (eyes.image_size // eyes.patch_size) ** 2 * getattr(eyes, "max_num_tiles", 1)
    return min(number, max(PATCHES // patches, 1))


def trace(
    model: PreTrainedModel,
    mode: str,
    rows: int,
    width: int,
    pictures: int = 0,
    learn: bool = True,
    encoded: bool = True,
    answers: int = 0,
) -> Trace:
    """One pass over ``rows`` sequences of ``width`` tokens, forward and (``learn``) backward.

    Works on a fake model inside ``fake``, and on a real one, where it measures.

    Args:
        mode: ``sft`` or ``rl``.
        pictures: different pictures among the rows; each row shows one, if there are any.
        encoded: whether these are encoded here; if not, their states are there already, and
            not counted.
        answers: tokens of answers in all rows; 0: every token but the first of each row.
    """
    found, device = Trace(), model.device
    ids = torch.zeros((rows, width), dtype=torch.long, device=device)
    pixels = pictures_like(model.config, pictures) if pictures else {}
    pixels = {name: tensor.to(device) for name, tensor in pixels.items()}
    which = torch.arange(rows, device=device) % max(pictures, 1)
    hidden = model.config.get_text_config().hidden_size
    with device:
        head = ValueHead(hidden)
    batch = rl_batch(ids, pixels, which, answers)
    known = [*model.parameters(), *model.buffers(), *head.parameters(), *pixels.values(), ids]
    known += [part for part in vars(batch).values() if isinstance(part, Tensor)]
    views = None if encoded or not pictures else states_like(model, pictures)
    live = Live(known if views is None else [*known, views])

    def after_body(module, args, output) -> None:
        found.reading, found.kept = live.recent, live.restart()
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.register_hook(after_head)

    def after_head(gradient: Tensor) -> None:
        found.logits = live.recent - found.kept
        live.restart()

    hook = model.model.register_forward_hook(after_body)
    with torch.set_grad_enabled(learn), live:
        if pictures and encoded:
            views = encode_whole(model, pixels)
        looks, found.looking, found.views = live.flops, live.recent, live.restart()
        shared = views if views is None else views.detach().requires_grad_(views.requires_grad)
        if mode == "rl":
            loss = rl_loss(model, head, batch, shared)
        else:
            loss = sft_loss(model, batch, shared)
        found.forward = live.flops - looks
        found.scoring = live.recent - found.kept
        live.restart()
        if learn:
            loss.backward()
            found.back = live.recent
        found.text = live.flops - looks
        live.restart()
        if learn and encoded and views is not None and views.requires_grad:
            views.backward(shared.grad)
    hook.remove()
    found.looking_back, found.looks = live.recent, live.flops - found.text
    return found


def states_like(model: PreTrainedModel, pictures: int) -> Tensor:
    """States of pictures as ``encode`` gives them, that want a gradient where it is wanted."""
    hidden = model.config.get_text_config().hidden_size
    trained = any(weight.requires_grad for part in eyes(model) for weight in part.parameters())
    kind, shape = hardware().format, (pictures, states_of_picture(model.config), hidden)
    return torch.zeros(shape, dtype=kind, device=model.device).requires_grad_(trained)


@mixed
def sft_loss(model: PreTrainedModel, batch: Batch, views: Tensor | None) -> Tensor:
    """trl's loss: log-probabilities in chunks, logits never whole; padded rows need a mask."""
    ids, seen = batch.ids, {"input_ids": batch.ids}
    if views is not None:
        seen = look(model, ids, views, batch.pixels, batch.picture)
    rows, width = ids.shape
    mask = torch.ones(rows, 1, width, width, dtype=torch.bool, device=ids.device)
    return model(attention_mask=mask, labels=ids, fused_lm_head=True, **seen).loss


def rl_loss(model: PreTrainedModel, head: ValueHead, batch: Batch, views: Tensor | None) -> Tensor:
    """Stands for PPO's loss, whose own part is small numbers: one a turn."""
    logps, _, values = policy(model, batch, head, views)
    return logps.sum() + values.sum()


def rl_batch(ids: Tensor, pixels: Pixels, which: Tensor, answers: int = 0) -> Batch:
    """Rows of one turn that fills them, some of it answers: only shapes count here."""
    turn = torch.zeros_like(ids)
    ask = turn[:, :1]
    zeros = torch.zeros(ids.shape, device=ids.device)
    played = torch.ones_like(ask, dtype=torch.bool)
    answers = torch.arange(answers or turn[:, 1:].numel(), device=ids.device)
    turns = (zeros[:, :1],) * 3  # values, advantages, targets
    shown = pixels or None, which
    return Batch(ids, turn, ask, zeros, zeros[:, :1], played, answers, *turns, *shown)


@dataclass
class Played:
    """What a rollout holds (bytes, cache included) and computes for its prompts."""

    read: int = 0  # when prompts are read
    inside: int = 0  # on top of it, inside the layer that takes most
    moving: int = 0  # while their keys and values move into the cache
    going_on: int = 0  # while the last messages are read
    sampling: int = 0  # while a token is drawn; without the cache
    forward: int = 0  # operations


@mixed
@torch.no_grad()
def play(
    model: PreTrainedModel, rows: int, prompt: int, columns: int, message: int, pictures: int = 0
) -> Played:
    """The highest moments of a rollout whose cache is full in the end.

    Args:
        columns: tokens of a row that the cache has room for.
        message: tokens that are read at once after a failed try.
        pictures: one for each row, whose states are there already; or none.
    """
    found, device, training = Played(), model.device, model.training
    model.eval()
    ids = torch.zeros((rows, prompt), dtype=torch.long, device=device)
    again = ids.new_zeros(rows, message)
    pixels = pictures_like(model.config, pictures) if pictures else {}
    views = states_like(model, pictures) if pictures else None
    known = [*model.parameters(), *model.buffers(), ids, again, *pixels.values()]

    def before_layer(module, args) -> None:
        live.restart()

    def after_layer(module, args, output) -> None:
        found.inside = max(found.inside, live.recent - live.now)

    hooks = []
    for layer in model.get_decoder().layers:
        hooks.append(layer.register_forward_pre_hook(before_layer))
        hooks.append(layer.register_forward_hook(after_layer))
    with Live(known if views is None else [*known, views]) as live:
        seen = {} if views is None else look(model, ids, views, pixels)
        seen.pop("input_ids", None)
        reader, decoder = Decoder(model, 0), StaticDecoder(model, 0, rows, columns)
        reader.append(ids, torch.ones_like(ids), **seen)
        found.read, found.forward = live.restart(), live.flops
        seen.clear()
        while hooks:
            hooks.pop().remove()
        if pictures and crosses(model):
            reader.tiles = pixels["aspect_ratio_mask"]
        decoder.admit(reader)
        found.moving = live.recent
        del reader
        live.restart()
        decoder.used = columns - message - 1  # one column is for what is not real
        logits = decoder.append(again, torch.ones_like(again))
        found.going_on = live.recent
        held = live.restart()
        sample_tokens(logits, 0.6, None, 0.9)
        found.sampling = live.recent - held + logits.nbytes
    ROOMS.pop(model)
    model.train(training)
    return found


# --- the plan ----------------------------------------------------------------------------

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
    highest = max(sizes, key=sizes.get)
    return {
        name: gib
        for name, gib in parts.items()
        if name in highest or not any(name in group for group in MOMENTS)
    }


def read_table(path: Path | None = None) -> dict[tuple[str, str, int, int], dict[str, float]]:
    """results/plan.csv: parts at the highest moment by mode, adapter, tiles and batch."""
    with (path or TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    plans: dict[tuple[str, str, int, int], dict[str, float]] = {}
    for row in rows:
        key = row["mode"], row["adapter"], int(row["tiles"]), int(row["batch"])
        plans.setdefault(key, {})[row["part"]] = float(row["gib"])
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
            f"{w.scale} {w.task} {w.mode}, adapter {w.adapter}, vision {w.vision}: "
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


def states(model: PreTrainedModel, work: Work) -> dict[str, float]:
    """Bytes of weights, gradients and optimizer states; exact.

    What is trained is float32 with Adam's two moments: 4 + 4 + 8 bytes a weight. What is
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
    scale, s = get_scale(work.scale), get_scale(work.scale).rl
    prompt, answer, message = lengths(work.scale, work.task)
    seeing, on_gpu = work.task.endswith("-vl"), scale.memory > 0
    if work.prompt_tokens:
        config = config_of(work.scale, work.task)
        prompt = work.prompt_tokens + seeing * shown_as(config)
    longest, tries = work.answer_tokens or s.max_new_tokens, budget(work.task, s.tries)
    problems = -(-s.problems // work.gpus)
    episodes = problems * s.samples
    if work.mode == "sft":
        rows = work.batch or in_one_pass(max(scale.sft.batch // work.gpus, 1), on_gpu)
        width, pictures = prompt + answer, rows
    else:
        rows, width = min(PART, s.minibatch, episodes), prompt + tries * (longest + message)
        pictures = min(problems, s.minibatch) if work.seeing else problems
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
        pictures=pictures * seeing,
    )


def measured(work: Work, layers: dict[str, float], kind: str) -> dict[str, float]:
    """Every number of a plan that depends on how deep the model is, or on how many answers it has.

    What different works have in common is measured once: a rollout of SFT's evaluation is one of
    RL's, and two GPUs that share nothing do what one does.

    Args:
        layers: of each kind, and ``pieces`` of logits in an update, all of them if not given.
        kind: measure only what depends on layers of this kind; empty: everything.
    """
    n, few, plain = sizes_of(work), tuple(layers.items()), Work(work.scale, work.task)
    chosen = dict(mode=work.mode, vision=work.vision, tiles=work.tiles)
    found = {}
    if kind != PIECES:
        found |= counted(replace(plain, adapter=work.adapter, **chosen), few)
    if kind in ("", "text", PIECES) or work.task.endswith("-vl"):
        alike = replace(plain, adapter=ALIKE[work.adapter], gpus=1 + work.sharded, **chosen)
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
    if not work.task.endswith("-vl"):
        layers = {kind: number if kind == "text" else 1 for kind, number in layers.items()}
    return cut(config_of(work.scale, work.task, work.tiles), layers)


@cache
def counted(work: Work, layers: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Weights and what belongs to them, and the bytes of a token and a picture in the cache."""
    config = cut(config_of(work.scale, work.task, work.tiles), dict(layers))
    model = nothing(config, work)
    weights = list(model.parameters())
    found = {name: float(size) for name, size in states(model, work).items()}
    found["parameters"] = sum(weight.numel() for weight in weights)
    found["trained"] = sum(weight.numel() for weight in weights if weight.requires_grad)
    size = torch.float32.itemsize if not get_scale(work.scale).memory else 2
    found["token"], found["picture"] = cache_bytes(config, size)
    return found


@cache
def played(
    work: Work, layers: tuple[tuple[str, float], ...], kind: str, n: Sizes
) -> dict[str, float]:
    """A rollout of ``work`` on fake tensors, pictures' states given."""
    if kind not in ("", "text", "across"):
        return {}
    config, shown = passed(work, dict(layers)), n.together * work.task.endswith("-vl")
    with fake(config, work) as model:
        found = play(model, n.together, n.prompt, n.columns, max(n.message, 2), shown)
    return named("play", found)


@cache
def traced(
    work: Work, layers: tuple[tuple[str, float], ...], kind: str, n: Sizes
) -> dict[str, float]:
    """The other passes of ``work``: eyes on their own; an update, and the distance from Init."""
    config, parts = passed(work, dict(layers)), dict(layers).get(PIECES)
    seeing, learn, found = work.task.endswith("-vl"), work.mode != "eval", {}
    with fake(config, work) as model:
        if kind in ("", "eyes", "overview") and seeing:
            found |= named("eyes", glance(model, few_pictures(config, PART), learn))
        if kind in ("", "text", "across", PIECES) and learn:
            mode, said = "sft" if work.mode == "sft" else "rl", n.rows * n.said
            if parts is not None:
                said = round(parts * max(TILE // config.get_text_config().vocab_size, 1))
            once = partial(trace, model, encoded=False)
            found |= named("update", once(mode, n.rows, n.width, n.pictures, answers=said))
        if kind in ("", "text", "across") and learn:
            longest = PART * (n.first - n.prompt)
            far = once("rl", PART, n.first, PART * seeing, learn=False, answers=longest)
            found |= named("far", far)
    return found


def glance(model: PreTrainedModel, pictures: int, learn: bool) -> Trace:
    """The pass of pictures through the tower alone."""
    found, pixels = Trace(), pictures_like(model.config, pictures)
    live = Live([*model.parameters(), *model.buffers(), *pixels.values()])
    with torch.set_grad_enabled(learn), live:
        views = encode_whole(model, pixels)
        found.looking, found.views = live.recent, live.restart()
        found.forward = live.flops
        if views.requires_grad:
            views.backward(torch.zeros_like(views))
    found.looking_back, found.looks = live.recent, live.flops
    return found


@contextmanager
def few_to_search() -> Iterator[None]:
    """Let the garbage collector leave alone what is there already: a seventh of a plan's time.

    Passes on fake tensors make many small objects, and it would go through torch again and again.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@cache
def make_plan(work: Work) -> Plan:
    """Predict a run of ``work``: its memory at the highest moment, the operations of a step."""
    scale, n = get_scale(work.scale), sizes_of(work)
    config = config_of(work.scale, work.task, work.tiles)
    layers, s = depths(config), scale.rl
    shape = layers | pieces(work, config)
    with few_to_search():
        x = defaultdict(float, extrapolated(partial(measured, work), shape))
    seeing, on_gpu = work.task.endswith("-vl"), scale.memory > 0
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
    own = max(x["eyes.looking"] - x["eyes.views"], 0.0)  # of a few pictures in the tower
    own_back = max(x["eyes.looking_back"] - x["eyes.views"], 0.0)
    joined = view * (n.together if n.together > few else 0)  # states of all, beside their parts
    parts["KV cache"] = n.together * (n.columns * x["token"] + seeing * x["picture"])
    parts["pictures played"] = seeing * n.together * view
    highest = max(x["play.read"] + x["play.inside"], x["play.moving"], x["play.going_on"])
    looked = seeing * max(own, joined)
    highest = max(highest, looked, parts["KV cache"] + x["play.sampling"])
    parts["reading prompts"] = highest - parts["KV cache"]
    flops = x["play.forward"] * n.tokens / n.prompt + seeing * n.together * x["eyes.forward"] / few

    # an update, and the distance from Init
    if work.mode != "eval":
        shown = n.rows if work.mode == "sft" else -(-s.problems // work.gpus)
        joined = view * (shown if shown > few else 0)
        parts["pixels"] = seeing * shown * pixel_bytes(config)
        parts["image states"] = seeing * max(n.pictures * x["eyes.views"] / few, shown * view)
        head = max(x["update.scoring"], x["update.logits"], 0.0)
        parts["activations"], parts["logits"] = x["update.kept"], head
        highest = max(x["update.reading"], x["update.back"], seeing * max(own, own_back, joined))
        parts["layer"] = max(highest - x["update.kept"] - head, 0.0)
        if work.sharded:
            parts["gathered"] = gathered(nothing(cut(config, dict.fromkeys(layers, 1)), work))
        highest = max(x["far.reading"], x["far.kept"] + x["far.scoring"], seeing * own)
        parts["distance"] = seeing * PART * (view + pixel_bytes(config)) + highest
        looks = x["eyes.looks"] / few
        if work.mode == "sft":
            flops = (x["update.text"] / n.rows + seeing * looks) * scale.sft.batch
        else:
            # in the rollout, for the old policy, and in the update
            once = 2 * x["update.forward"] + s.epochs * x["update.text"]
            flops = s.problems * s.samples / n.rows * once
            if seeing:  # a tower that is trained encodes a minibatch's pictures at each update
                updates = s.epochs * -(-n.episodes // s.minibatch) * n.pictures / shown
                again = updates * looks if work.seeing else x["eyes.forward"] / few
                flops += s.problems * (2 * x["eyes.forward"] / few + again)
    counts = round(x["parameters"]), round(x["trained"])
    gib = {name: size / GIB for name, size in parts.items()}
    return Plan(work, gib, flops, *counts, n.tokens, n.together)


def device_name() -> str:
    """What computes here, in a word: ``cpu`` or the GPU's name."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu as {os.environ[PRETEND]} GPU" if hardware().gpu else "cpu"


def sheet_of(gpu: str) -> tuple[float, float]:
    """Operations and bytes a second of a GPU's data sheet; zeros where it is not known."""
    return next((speeds for name, speeds in DEVICES.items() if name in gpu), (0.0, 0.0))


def duration(
    found: Plan, steps: int, tflop: float, settings: RLSettings | None, gpu: str
) -> tuple[int, list[float]]:
    """Steps of a training and its hours, at least and at most; see ``estimate``."""
    work, scale, (peak, bandwidth) = found.work, get_scale(found.work.scale), sheet_of(gpu)
    if settings:
        episodes = settings.problems * settings.samples
        share = episodes / (scale.rl.problems * scale.rl.samples)
        counted = (6 + 2 * LAMBDA) * episodes * found.tokens * settings.epochs
        groups = -(-episodes // work.gpus // TOGETHER)
        answer = lengths(work.scale, work.task)[1], settings.max_new_tokens
        size = NF4 if work.adapter == "qlora" else 2
        token = found.parameters * size / (bandwidth * DECODING)
        waits = [groups * budget(work.task, settings.tries) * n * token for n in answer]
    else:
        share, counted, waits = 1.0, 6 * scale.sft.batch * found.tokens, [0.0, 0.0]
    steps = steps or max(math.ceil(tflop * 1e12 / (found.parameters * counted)), 1)
    update = found.flops * share / (work.gpus * peak * TRAINING)
    return steps, [steps * (update + wait) / 3600 for wait in sorted(waits)]


def spanned(ends: Iterable[float], digits: int = 1) -> str:
    """Two ends in words; one where they are alike."""
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
    "06_cards_in_pictures": ("gp-vl", 1.0, 2, 2),
    "07_streets_in_text": ("virl-l", 0.4, 2, 2),
    "08_streets_in_pictures": ("virl-vl", 1 / 2, 2, 2),
    "12_why_distance_data_prompt": ("gp-l", 1 / 6, 2, 0),
}


def chapter_table(scale: str = "t4", gpu: str = "T4") -> list[dict[str, Any]]:
    """Minutes that the chapters train at a scale on one GPU, by the plan: a row a chapter.

    As ``estimate`` counts them, so without evaluations; one run after the other.
    """
    row, table = get_scale(scale), []
    for chapter, (task, share, *runs) in CHAPTERS.items():
        ends = [0.0, 0.0]
        for mode, settings, number in zip(("sft", "rl"), (None, row.rl), runs, strict=True):
            if number:
                found, tflop = make_plan(Work(scale, task, mode)), share * row.compute(task)
                hours = duration(found, 0, tflop, settings, gpu)[1]
                ends = [end + 60 * number * h for end, h in zip(ends, hours, strict=True)]
        trains = " and ".join(f"{n} of {m}" for n, m in zip(runs, ("SFT", "RL"), strict=True) if n)
        table.append(
            {
                "chapter": chapter,
                "task": task,
                "runs": trains,
                "compute of each, TFLOP": round(share * row.compute(task)),
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
    if chosen or not get_scale(work.scale).memory:
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
    if work.task.endswith("-vl"):
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
    except ValueError:  # of a model that is not planned here
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


def heaviest(scale: str, task: str, mode: str, gpus: int, memory: float) -> Plan:
    """All weights if they fit, else LoRA, else QLoRA; the last one if nothing fits."""
    for adapter in ADAPTERS:
        eyes = "trained" if adapter == "none" else "frozen"
        work = Work(scale, task, mode, adapter, eyes, gpus=gpus, split=gpus == 8)
        found = fitting(work, memory)
        if not found.missing(memory):
            break
    return found


def hardware_table(task: str = "gp-l") -> list[dict[str, Any]]:
    """What can be trained on which GPUs: a row for each, scale and kind of run.

    Hours are those of the paper's compute (at ``t4`` of the scale's own) at ``TRAINING`` of the
    data sheet; GiB are of one GPU, CUDA's own share included. A row is ``measured`` where
    results/gpu.csv has its memory, from ``gpu_bench``, else ``planned``.
    """
    rows = []
    for name, (gpus, memory, sheet) in HARDWARE.items():
        for scale in ("t4", "full") if memory < GPUS["L4"] else ("full",):
            compute = get_scale(scale).compute(task) * 1e12
            for mode in ("sft", "rl"):
                plan = heaviest(scale, task, mode, gpus, memory)
                lacks, seen = plan.missing(memory), seen_on_gpu(plan, sheet)
                rows.append(
                    {
                        "GPU": name,
                        "scale": scale,
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
    """GiB that ``gpu_bench`` measured for such work on such a GPU; 0: nobody has yet."""
    path, work = path or ROOT / "results" / "gpu.csv", plan.work
    if not path.exists():
        return 0.0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = f"--scale {work.scale}", f"--adapter {work.adapter}", f"--task {work.task}"
    return max(
        (
            float(row["value"])
            for row in rows
            if row["name"] == f"{work.mode.upper()} memory"
            and sheet in row["device"]
            and all(option in row["command"] for option in wanted)
        ),
        default=0.0,
    )


GRID = [  # mode, sequences in a pass or episodes at once
    *(("sft", batch) for batch in (1, 8)),
    *(("rl", batch) for batch in (8, 64)),
]


def write_table(path: Path = TABLE, scale: str = "full", task: str = "gp-vl") -> None:
    """The plans of a scale by mode, adapter, tiles and batch, vision frozen; two or three minutes.

    SFT's evaluations play ``FEWEST`` episodes at once.
    """
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("mode", "adapter", "tiles", "batch", "part", "gib", "tflop"))
        for mode, batch in GRID:
            for tiles in (1, 4):
                for adapter in ADAPTERS:
                    work = Work(scale, task, mode, adapter, "frozen", tiles, batch)
                    if mode == "sft":  # its evaluations can play as few as these
                        work = replace(work, together=FEWEST)
                    found = make_plan(work)
                    for part, size in found.parts.items():
                        key = mode, adapter, tiles, batch, part
                        rows.writerow((*key, f"{size:.4g}", f"{found.flops / 1e12:.4g}"))


if __name__ == "__main__":
    write_table()
