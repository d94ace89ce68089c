"""Decoding with a cache of fixed shape, so that it can be compiled: on a GPU, a graph a token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, StaticLayer

from sftrl_lite.models.precision import hardware
from sftrl_lite.models.vision import Pixels, states_of_picture
from sftrl_lite.training.decoding import Decoder

COMPILATIONS = 64  # of one model's step; torch's own limit of 8 is soon reached by its shapes
STEP = 256  # columns of the smallest view of a room; the next ones are twice as wide each


class LentLayer(StaticLayer):
    """Keys and values in buffers (rows, heads, columns, width) that stay where they are.

    Each row is written where it has come to: ``at`` (rows, new tokens) says in which columns. Only
    the first columns of the buffers are shown, in few different numbers, so that few shapes are
    compiled. In mixed precision keys leave the rotary embedding in float32: they are cast to
    the buffers' format, like the values.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__(max_cache_len=keys.shape[2])
        self.whole = keys, values
        self.views: dict[int, tuple[torch.Tensor, ...]] = {}
        self.at = torch.zeros(len(keys), 1, dtype=torch.long, device=keys.device)
        self.device, self.dtype, self.is_initialized = keys.device, keys.dtype, True
        self.show(keys.shape[2])

    def show(self, columns: int) -> None:
        """Use the first ``columns``: the same tensors each time, as CUDA graphs want it."""
        if columns not in self.views:
            self.views[columns] = tuple(whole[:, :, :columns] for whole in self.whole)
            for view in self.views[columns]:
                torch._dynamo.mark_static_address(view)
        self.keys, self.values = self.views[columns]
        self.max_cache_len = columns

    def fill(self, keys: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> None:
        """Put keys and values into the first columns of ``rows``: each in equally many of them."""
        times = len(rows) // len(keys)
        for whole, part in zip(self.whole, (keys, values), strict=True):
            whole[rows, :, : part.shape[2]] = part.to(whole.dtype).repeat_interleave(times, 0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for shown, new in ((self.keys, key_states), (self.values, value_states)):
            where = self.at[:, None, :, None].expand_as(new)
            shown.scatter_(2, where, new.to(self.dtype))
        return self.keys, self.values


@dataclass(eq=False)
class Room:
    """What decoding on a GPU needs again and again, at addresses that do not change."""

    rows: int
    columns: int
    layers: list[Any]  # LentLayer; DynamicLayer where a layer sees no picture: nothing to lend
    step: Callable  # a model's forward pass, compiled; not bound, so that the room dies with it


ROOMS: WeakKeyDictionary[PreTrainedModel, Room] = WeakKeyDictionary()
COMPILED: WeakKeyDictionary[PreTrainedModel, tuple[dict[str, Any], Callable]] = WeakKeyDictionary()


def across_layers(model: PreTrainedModel) -> Sequence[int]:
    """Numbers of the layers that attend to pictures beside the text; they hold no tokens."""
    return getattr(model.config.get_text_config(), "cross_attention_layers", ())


def room_for(model: PreTrainedModel, like: Sequence[Any], rows: int, columns: int) -> Room:
    """The model's room, allocated again only where it is too small or of another shape.

    Args:
        like: the layers of a cache that has read a prompt; those that hold pictures keep their
            number of columns, the others get ``columns``.
    """
    across = across_layers(model)
    there, kind = ROOMS.get(model), hardware().format

    def shape(i: int, states: torch.Tensor) -> tuple[int, ...]:
        return (rows, states.shape[1], states.shape[2] if i in across else columns, states.shape[3])

    used = {i: layer for i, layer in enumerate(like) if layer.is_initialized}
    if there and there.rows == rows and there.columns >= columns:
        columns = there.columns
        known = {i: x for i, x in enumerate(there.layers) if x.is_initialized}
        fits = [known[i].whole[0].shape == shape(i, x.keys) for i, x in used.items() if i in known]
        if known.keys() == used.keys() and all(fits) and known[min(used)].dtype == kind:
            return there
    free_room(model)  # the old one first
    there = None
    lent = list(like)
    for i, layer in used.items():
        pair = (layer.keys, layer.values)
        lent[i] = LentLayer(*(x.new_zeros(shape(i, x), dtype=kind) for x in pair))
    ROOMS[model] = Room(rows, columns, lent, compiled(model))
    return ROOMS[model]


def free_room(model: PreTrainedModel) -> None:
    """Give back the memory of a model's cache, to what follows its decoding."""
    ROOMS.pop(model, None)


def compiled(model: PreTrainedModel) -> Callable:
    """The forward pass of a model's class as this machine computes it, kept for this model.

    A function may be compiled so many times (for other shapes, other formats, other models) before
    torch.compile refuses, and it counts by code object. The models of a notebook share
    one, so each model gets a copy.
    """
    how, forward = hardware().compiler, type(model).forward
    if not how:
        return forward
    options, own = COMPILED.get(model, (None, forward))
    if options != how:
        from torch._dynamo import config as dynamo  # slow to import
        from torch._inductor import config as inductor

        dynamo.recompile_limit = COMPILATIONS
        # A room that was given up for an update is at other addresses next time: graphs are
        # recorded again, which takes seconds, and must not be given up after 128 times.
        inductor.triton.cudagraph_unexpected_rerecord_limit = 10**6

        def step(model: PreTrainedModel, **inputs: Any) -> Any:
            return forward(model, **inputs)

        own = FunctionType(step.__code__.replace(), step.__globals__, closure=step.__closure__)
        own = torch.compile(own, fullgraph=True, **how)
        COMPILED[model] = how, own
    return own


class StaticDecoder(Decoder):
    """The same with a cache whose shape stays as it is, so that decoding can be compiled.

    Compiled (on a GPU: one CUDA graph a token) the model's hundreds of small kernels need no
    launches from Python. It is compiled for a shape, so there are always ``rows`` rows: those
    without an episode, or whose episode is over, are fed tokens that are not real.

    A row's token number p lies in column p, and sees the columns up to its own. So a row does not
    depend on the others, and when its episode is over it can be given to the next one (``take``):
    whatever it held before lies in columns that are written again before they are seen. What is
    not real is written to the last column that is shown, which is never seen.

    Args:
        rows: at least as many as there will be sequences at once.
        columns: tokens that a sequence is expected to have at most; more make a larger room.
    """

    def __init__(self, model: PreTrainedModel, pad: int, rows: int, columns: int):
        super().__init__(model, pad)
        self.rows, self.columns = rows, -(-columns // STEP) * STEP
        self.room: Room | None = None
        self.count = torch.zeros(rows, dtype=torch.long, device=model.device)  # tokens of each row
        self.used = 0  # columns, by the longest of the rows that are played
        self.play([])

    def play(self, live: list[int]) -> None:
        """Play the rows ``live``, in this order."""
        self.live, self.index = live, torch.tensor(live, dtype=torch.long, device=self.count.device)

    def take(
        self, prompts: Sequence[Sequence[int]], pixels: Pixels | None = None, times: int = 1
    ) -> torch.Tensor:
        """Play these prompts, too, each ``times`` times, in rows that are free.

        Returns:
            their logits alone; their rows come after those that are played already.
        """
        reader = Decoder(self.model, self.pad)  # without the many rows that are not new
        logits = reader.feed(prompts, pixels)
        if prompts:
            self.admit(reader, times)
        return logits.repeat_interleave(times, 0)

    def admit(self, reader: Decoder, times: int = 1) -> None:
        """Move what a plain decoder has read into free rows of the room, ``times`` rows each."""
        assert reader.mask is not None
        free = sorted(set(range(self.rows)) - set(self.live))[: times * len(reader.mask)]
        rows = torch.tensor(free, dtype=torch.long, device=self.count.device)
        width, layers = reader.mask.shape[1], cast(list[Any], reader.cache.layers)
        self.used = max(self.used, width)
        if self.room is None:
            self.room = room_for(self.model, layers, self.rows, max(self.columns, width + 1))
            self.cache.layers = self.room.layers
        elif width >= self.room.columns:
            self.enlarge()
        read = reader.mask.sum(1)
        # padding stands on the left: turn each row, so that its first token is in column 0
        first = (width - read)[:, None] + torch.arange(width, device=read.device)
        first, across = (first % width)[:, None, :, None], across_layers(self.model)
        for i, (old, new) in enumerate(zip(layers, self.room.layers, strict=True)):
            if old.is_initialized:
                pair: Iterable[torch.Tensor] = (old.keys, old.values)
                if i not in across:
                    pair = (states.take_along_dim(first, 2) for states in pair)
                new.fill(*pair, rows)
        self.count[rows] = read.repeat_interleave(times)
        if reader.tiles is not None:
            if self.tiles is None:
                self.tiles = reader.tiles[:1].repeat(self.rows, 1, 1)
            self.tiles[rows] = reader.tiles.repeat_interleave(times, 0)
            self.full = self.full and reader.full
        reader.cache.layers = []  # their memory is free now, even if the reader is still referenced
        self.play([*self.live, *free])

    def feed(self, rows: Sequence[Sequence[int]], pixels: Pixels | None = None) -> torch.Tensor:
        """Append tokens to each row that is played; returns their logits."""
        if rows:  # answers that ended early have taken no columns
            ends = [
                end + len(row)
                for end, row in zip(self.count[self.index].tolist(), rows, strict=True)
            ]
            self.used = max(ends) - max(map(len, rows))
        return super().feed(rows, pixels)

    def append(self, ids: torch.Tensor, fresh: torch.Tensor, **seen: torch.Tensor) -> torch.Tensor:
        """As for ``Decoder``; rows that are not played get a token that is not real."""
        if not len(ids):
            return super().append(ids, fresh, **seen)
        shape = self.rows, ids.shape[1]
        every = ids.new_full(shape, self.pad), fresh.new_zeros(shape)
        for whole, part in zip(every, (ids, fresh), strict=True):
            whole[self.index] = part
        return super().append(*every, **seen)[self.index]

    def grow(self, fresh: torch.Tensor) -> torch.Tensor:
        """As for ``Decoder``; shows as many columns of the room as it takes."""
        assert self.room is not None
        self.used += fresh.shape[1]
        if self.used >= self.room.columns:
            self.enlarge()
        positions = (self.count[:, None] + fresh.cumsum(1) - 1).clamp(min=0)
        self.count = self.count + fresh.sum(1)
        self.shown = STEP
        while self.shown <= self.used:
            self.shown *= 2
        self.shown = min(self.shown, self.room.columns)
        at, across = positions.where(fresh > 0, self.shown - 1), across_layers(self.model)
        for i, layer in enumerate(self.room.layers):
            if i not in across:
                layer.show(self.shown)
                layer.at = at
        return positions

    def enlarge(self) -> None:
        """Move into a room of twice as many columns."""
        assert self.room is not None
        across = across_layers(self.model)
        old: list[Any] = []
        for i, layer in enumerate(self.room.layers):
            kept = DynamicLayer()
            if layer.is_initialized:
                if i not in across:
                    layer.show(self.room.columns)
                kept.update(layer.keys.clone(), layer.values.clone())
            old.append(kept)
        self.columns = -(-2 * self.used // STEP) * STEP
        self.room = room_for(self.model, old, self.rows, self.columns)
        self.cache.layers = self.room.layers
        rows = torch.arange(self.rows, device=self.count.device)
        for layer, new in zip(old, self.room.layers, strict=True):
            if layer.is_initialized:
                new.fill(layer.keys, layer.values, rows)

    def call(self, **inputs: Any) -> Any:
        """The forward pass, compiled where it is for one token per row."""
        assert self.room is not None
        own = inputs["position_ids"]
        columns = torch.arange(self.shown, device=own.device)
        inputs["attention_mask"] = (columns <= own[..., None])[:, None]  # (rows, 1, width, shown)
        step = "input_ids" in inputs and inputs["input_ids"].shape[1] == 1
        return self.room.step(self.model, **inputs) if step else self.model(**inputs)

    def keep(self, rows: list[int]) -> None:
        """Play these of the rows only; the others are free."""
        self.play([self.live[i] for i in rows])


def cache_bytes(config: PreTrainedConfig, size: int) -> tuple[int, int]:
    """Keys and values: bytes per token, and bytes per picture.

        2 (key, value) * layers * key/value heads * head width * bytes per number

    Self-attention layers hold every token, cross-attention layers every state of the picture.

    Args:
        size: bytes per number.
    """
    text = config.get_text_config()
    width = 2 * text.num_key_value_heads * (text.hidden_size // text.num_attention_heads) * size
    across = len(getattr(text, "cross_attention_layers", ()))
    picture = across * width * states_of_picture(config) if across else 0
    return (text.num_hidden_layers - across) * width, picture
