"""Whole episodes, many at a time: answer, verifier's message, answer, ... until solved.

Sequential revision (Chu et al. 2025, section 3): the input of try t is the prompt
followed by all earlier answers and verifier messages. As a chat that only ever grows,
its keys and values stay in the cache from the first token to the last, so the cost of
an episode is linear in its number of tries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch._inductor.config
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicCache, DynamicLayer, StaticLayer

from sftrl_lite import chats, distributed
from sftrl_lite.models import Processor
from sftrl_lite.precision import hardware, mixed
from sftrl_lite.verifier import Verdict
from sftrl_lite.vision import (
    Pixels,
    ask,
    crosses,
    encode,
    look,
    pictures_of,
    states_of_picture,
    to_pixels,
    tokenizer_of,
)


@dataclass
class Turn:
    """One try: tokens ``ids[start:end]`` of the episode are the model's answer."""

    start: int
    end: int
    logps: list[float]  # log-probability of each answer token when it was sampled
    answer: str
    verdict: Verdict
    reward: float


@dataclass
class Episode:
    """A problem, the whole chat as tokens, its turns, and its picture if it has one."""

    problem: Any
    ids: list[int]
    turns: list[Turn] = field(default_factory=list)
    pixels: Pixels | None = None  # one row, the same object for all samples of a problem

    @property
    def solved(self) -> bool:
        return self.turns[-1].verdict.solved


TOGETHER = 64  # episodes at once on a GPU of which nothing else is known; plans count on so many
MOST = 256  # at most: with more a token takes so much longer that little is gained
FILLED = 0.7  # of the free memory goes to rows; the rest is what a layer needs while it computes
REPLY = 48  # tokens of a verifier's message that a cache has room for; a longer one makes more


class RoomyLayer(DynamicLayer):
    """Keys and values in a buffer with room to grow, written in place.

    The stock layer concatenates, that is copies everything, at every token.
    """

    def update(self, key_states, value_states, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers, self.keys = None, key_states[..., :0, :]
            self.values = self.keys
        used, new = self.keys.shape[-2], key_states.shape[-2]
        if self.buffers is None or self.buffers[0].shape[-2] < used + new:
            room = (*key_states.shape[:2], 2 * (used + new), key_states.shape[-1])
            grown = key_states.new_empty(room), value_states.new_empty(room)
            grown[0][..., :used, :], grown[1][..., :used, :] = self.keys, self.values
            self.buffers = grown
        self.buffers[0][..., used : used + new, :] = key_states
        self.buffers[1][..., used : used + new, :] = value_states
        self.keys = self.buffers[0][..., : used + new, :]
        self.values = self.buffers[1][..., : used + new, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows only; the buffer is made anew at the next token."""
        super().batch_select_indices(indices)
        self.buffers = None

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self.buffers = None


class Decoder:
    """A batch of growing sequences and their cache.

    Rows have different lengths, so a column of the cache is real for some rows and a
    hole for others: ``mask`` (rows, columns) says which, and positions count real
    tokens only.
    """

    def __init__(self, model: PreTrainedModel, pad: int):
        self.model, self.pad = model, pad
        self.cache = DynamicCache(config=model.config)
        self.cache.layers = [RoomyLayer() for _ in self.cache.layers]
        self.mask = None
        self.tiles = None  # (rows, 1, tiles) of the pictures, 1 where a tile is not empty
        self.full = True  # whether all are

    def feed(self, rows: Sequence[Sequence[int]], pixels: Pixels | None = None) -> torch.Tensor:
        """Append tokens to each row; returns next-token logits (rows, vocabulary).

        Shorter rows are padded on the left, so the last column is real for each row
        that has any new token. Pictures are encoded here, once: afterwards the keys and
        values of their states are in the cache like those of the text.
        """
        width = max(map(len, rows), default=0)
        ids = torch.tensor([[self.pad] * (width - len(row)) + list(row) for row in rows])
        fresh = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        ids, fresh, seen = ids.to(self.model.device), fresh.to(self.model.device), {}
        if pixels is not None:
            seen = look(self.model, ids, encode(self.model, pixels), pixels)
            if crosses(self.model):
                tiles = pixels["aspect_ratio_mask"]
                self.tiles, self.full = tiles.to(ids.device), bool(tiles.all())
        return self.append(ids, fresh, **seen)

    def append(self, ids: torch.Tensor, fresh: torch.Tensor, **seen: torch.Tensor) -> torch.Tensor:
        """``feed`` for tensors: ids (rows, width) and fresh, 1 where a token is real."""
        if not len(ids):  # nothing is left to play here; other processes are not done
            words = self.model.config.get_text_config().vocab_size
            return torch.empty(0, words, device=self.model.device)
        positions = self.grow(fresh)
        # One token sees all of a cached picture unmasked; several at once would be taken for a
        # causal block, in which the first of them sees but the first of the picture's states.
        if self.tiles is not None and not seen and (ids.shape[1] > 1 or not self.full):
            everywhere = self.tiles[:, None].expand(-1, ids.shape[1], -1, -1)
            seen["cross_attention_mask"] = everywhere
        if "inputs_embeds" not in seen:
            seen["input_ids"] = ids
        out = self.call(
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            **seen,
        )
        return out.logits[:, -1].float()

    def grow(self, fresh: torch.Tensor) -> torch.Tensor:
        """Note which of the new tokens are real; returns their positions (rows, width)."""
        self.mask = fresh if self.mask is None else torch.cat([self.mask, fresh], 1)
        return (self.mask.cumsum(1) - 1).clamp(min=0)[:, -fresh.shape[1] :].contiguous()

    def call(self, **inputs: Any) -> Any:
        """The model's forward pass."""
        return self.model(**inputs)

    def take(
        self, prompts: Sequence[Sequence[int]], pixels: Pixels | None = None, times: int = 1
    ) -> torch.Tensor:
        """Begin with these prompts, each ``times`` times; returns logits (rows, vocabulary)."""
        logits = self.feed(prompts, pixels)
        if times == 1 or not prompts:
            return logits
        self.repeat(times)
        return logits.repeat_interleave(times, 0)

    def repeat(self, times: int) -> None:
        """Copy each row ``times`` times: one prompt, a group of samples."""
        self.cache.batch_repeat_interleave(times)
        self.mask = self.mask.repeat_interleave(times, 0)
        if self.tiles is not None:
            self.tiles = self.tiles.repeat_interleave(times, 0)

    def keep(self, rows: list[int]) -> None:
        """Drop all rows but these, for instance the solved episodes."""
        index = torch.tensor(rows, dtype=torch.long, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask = self.mask[index]
        if self.tiles is not None:
            self.tiles = self.tiles[index]


COMPILATIONS = 64  # of one model's step; torch's own limit of 8 is soon reached by its shapes
STEP = 256  # columns of the smallest view of a room; the next ones are twice as wide each


class LentLayer(StaticLayer):
    """Keys and values in buffers (rows, heads, columns, width) that stay where they are.

    Each row is written where it has come to: ``at`` (rows, new tokens) says in which columns. Only
    the first columns of the buffers are shown, in few different numbers, so that few shapes are
    compiled. In mixed precision keys leave the rotary embedding in float32: they are cast to
    the buffers' format, like the values.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__(max_cache_len=keys.shape[2])
        self.whole, self.views = (keys, values), {}
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

    def update(self, key_states, value_states, *args, **kwargs):
        for shown, new in ((self.keys, key_states), (self.values, value_states)):
            where = self.at[:, None, :, None].expand_as(new)
            shown.scatter_(2, where, new.to(self.dtype))
        return self.keys, self.values


@dataclass(eq=False)
class Room:
    """What decoding on a GPU needs again and again, at addresses that do not change."""

    rows: int
    columns: int
    layers: list[LentLayer | DynamicLayer]  # a layer that sees no picture has nothing to lend
    step: Callable  # a model's forward pass, compiled; not bound, so that the room dies with it


ROOMS: WeakKeyDictionary[PreTrainedModel, Room] = WeakKeyDictionary()
COMPILED: WeakKeyDictionary[PreTrainedModel, tuple[dict[str, Any], Callable]] = WeakKeyDictionary()


def across_layers(model: PreTrainedModel) -> Sequence[int]:
    """Numbers of the layers that attend to pictures beside the text; they hold no tokens."""
    return getattr(model.config.get_text_config(), "cross_attention_layers", ())


def room_for(model: PreTrainedModel, like: list[DynamicLayer], rows: int, columns: int) -> Room:
    """The model's room, made anew only where it is too small or of another shape.

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
    ROOMS.pop(model, None)  # free the old one first
    there = None
    lent = list(like)
    for i, layer in used.items():
        pair = (layer.keys, layer.values)
        lent[i] = LentLayer(*(x.new_zeros(shape(i, x), dtype=kind) for x in pair))
    ROOMS[model] = Room(rows, columns, lent, compiled(model))
    return ROOMS[model]


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
        torch._dynamo.config.recompile_limit = COMPILATIONS
        # A room that was given up for an update is at other addresses next time: graphs are
        # recorded again, which takes seconds, and must not be given up after 128 times.
        torch._inductor.config.triton.cudagraph_unexpected_rerecord_limit = 10**6

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
        free = sorted(set(range(self.rows)) - set(self.live))[: times * len(reader.mask)]
        rows = torch.tensor(free, dtype=torch.long, device=self.count.device)
        width, layers = reader.mask.shape[1], reader.cache.layers
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
                pair = old.keys, old.values
                if i not in across:
                    pair = (states.take_along_dim(first, 2) for states in pair)
                new.fill(*pair, rows)
        self.count[rows] = read.repeat_interleave(times)
        if reader.tiles is not None:
            if self.tiles is None:
                self.tiles = reader.tiles[:1].repeat(self.rows, 1, 1)
            self.tiles[rows] = reader.tiles.repeat_interleave(times, 0)
            self.full = self.full and reader.full
        reader.cache.layers = []  # their memory is free now, whoever still has the reader
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
        """The forward pass, compiled where it is for one token a row."""
        own = inputs["position_ids"]
        columns = torch.arange(self.shown, device=own.device)
        inputs["attention_mask"] = (columns <= own[..., None])[:, None]  # (rows, 1, width, shown)
        step = "input_ids" in inputs and inputs["input_ids"].shape[1] == 1
        return self.room.step(self.model, **inputs) if step else self.model(**inputs)

    def keep(self, rows: list[int]) -> None:
        """Play these of the rows only; the others are free."""
        self.play([self.live[i] for i in rows])


def cache_bytes(config: PreTrainedConfig, size: int) -> tuple[int, int]:
    """Keys and values: bytes a token, and bytes a picture.

        2 (key, value) * layers * key/value heads * head width * bytes a number

    Self-attention layers hold every token, cross-attention layers every state of the picture.

    Args:
        size: bytes a number.
    """
    text = config.get_text_config()
    width = 2 * text.num_key_value_heads * (text.hidden_size // text.num_attention_heads) * size
    across = len(getattr(text, "cross_attention_layers", ()))
    picture = across * width * states_of_picture(config) if across else 0
    return (text.num_hidden_layers - across) * width, picture


def episodes_at_once(model: PreTrainedModel, prompt: int, columns: int, episodes: int) -> int:
    """How many episodes a GPU plays at once: as many as its free memory has room for.

    A power of two, so that few shapes are compiled; at least ``TOGETHER`` and at most ``MOST`` of
    them where memory allows it; as few as leave no row idle; in all processes the same.

    Args:
        prompt: tokens of the longest one.
        columns: tokens of an episode in the cache.
        episodes: that there are to play.
    """
    rows, free = TOGETHER, hardware().free()
    if free is not None:
        there = ROOMS.get(model)  # a room from before is used again, or given up
        lent = [x for x in there.layers if isinstance(x, LentLayer)] if there else []
        free += sum(part.nbytes for layer in lent for part in layer.whole)
        token, picture = cache_bytes(model.config, hardware().format.itemsize)
        # A prompt is read into a cache of its own, with room to grow, and moved; of the next
        # token's logits and probabilities there are five copies in float32 while it is drawn.
        row = (columns + 2 * prompt) * token + 2 * picture
        row += 20 * model.config.get_text_config().vocab_size
        fit = max(int(FILLED * free / row), 1)
        while rows < min(episodes, MOST):
            rows *= 2
        while rows > fit:
            rows //= 2
    return distributed.least(rows)


def decoding_name(temperature: float, top_p: float = 1.0) -> str:
    """``0`` for greedy decoding, ``1``, ``0.6/0.9`` for temperature 0.6 with top_p 0.9.

    Raises:
        ValueError: a temperature below 0 or above 10, or a top_p outside (0, 1].
    """
    if not 0 <= temperature <= 10:
        raise ValueError(f"temperature is {temperature:g}; it has to lie between 0 and 10")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p:g}; it has to be above 0 and at most 1")
    nucleus = temperature > 0 and top_p < 1
    return f"{temperature:g}/{top_p:g}" if nucleus else f"{temperature:g}"


PAPER = decoding_name(0.6, 0.9)  # what the released evaluation samples with: Llama's own settings


def nucleus(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Probabilities (rows, vocabulary) cut to the likeliest tokens that together reach ``top_p``.

    The token that reaches it is kept, so at least one is. The rest is scaled to sum to 1.
    Source: Holtzman et al. 2020, section 3.1.
    """
    ranked, order = probs.sort(stable=True, dim=-1, descending=True)
    ranked = ranked.masked_fill(ranked.cumsum(-1) - ranked >= top_p, 0.0)
    kept = torch.zeros_like(probs).scatter(-1, order, ranked)
    return kept / kept.sum(-1, keepdim=True)


def sample_tokens(
    logits: torch.Tensor,
    temperature: float,
    generator: torch.Generator | None,
    top_p: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a row from logits (rows, vocabulary); returns tokens, log-probabilities.

    Temperature 0 takes the likeliest token. The log-probability is that of the policy which is
    sampled, softmax(logits / temperature), before ``top_p`` cuts its tail: training samples
    without a cut, and there it is the quantity that PPO's ratio is about. Greedy decoding has no
    such policy; its tokens get their log-probability at temperature 1.
    """
    if temperature == 0:
        tokens = logits.argmax(-1)
        logps = logits.log_softmax(-1)
    else:
        logps = (logits / temperature).log_softmax(-1)
        probs = logps.exp()
        tokens = distributed.draw(nucleus(probs, top_p) if top_p < 1 else probs, generator)
    return tokens, logps.gather(1, tokens[:, None])[:, 0]


def generate(
    decoder: Decoder,
    logits: torch.Tensor,
    ends: torch.Tensor,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator | None,
    top_p: float = 1.0,
) -> tuple[list[list[int]], list[list[float]]]:
    """One answer a row, up to and with the first of the tokens ``ends``; also log-probabilities.

    Afterwards the last token of each answer is NOT yet in the cache.
    """
    alive = torch.ones(len(logits), dtype=torch.long, device=logits.device)
    columns, scores, lives = [], [], []
    for step in range(max_new_tokens):
        tokens, logps = sample_tokens(logits, temperature, generator, top_p)
        columns.append(tokens)
        scores.append(logps)
        lives.append(alive)
        alive = alive * ~torch.isin(tokens, ends)
        if step + 1 == max_new_tokens or not distributed.anyone(alive.any()):
            break
        logits = decoder.append(tokens[:, None], alive[:, None])
    lengths = torch.stack(lives, 1).sum(1).tolist()
    tokens, logps = torch.stack(columns, 1).tolist(), torch.stack(scores, 1).tolist()
    cut = [(row[:n], score[:n]) for row, score, n in zip(tokens, logps, lengths, strict=True)]
    return [row for row, _ in cut], [score for _, score in cut]


@torch.inference_mode()
@mixed
def rollout(
    model: PreTrainedModel,
    processor: Processor,
    task: Any,
    problems: Sequence[Any],
    *,
    samples: int = 1,
    tries: int = 5,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 40,
    generator: torch.Generator | None = None,
    reward: Callable[[Verdict], float] | None = None,
    static: bool | None = None,
    together: int = 0,
    engine: Any = None,
) -> list[Episode]:
    """Play ``samples`` episodes of each problem, all at once if ``together`` allows it.

    Each round all live episodes answer once. Then those that go on read the verifier's message,
    and problems that wait take the rows of those that are over.

    Several processes play a batch together, each its own problems: all of them call this, also
    one that has none. They keep step with each other, token by token, to draw the same chance.

    Args:
        model: any causal model of the course; switched to eval mode.
        processor: its tokenizer with a chat template, or processor where it sees pictures.
        task: gives ``prompt(problem)``, ``picture(problem)``, ``verify(problem, answer)``.
        problems: P problems; the result has P * samples episodes, problem by problem.
        tries: verification budget; the last failed try costs one more point
            (paper, appendix A.3).
        temperature: 0 for greedy.
        top_p: sample among the likeliest tokens that together have this probability.
        max_new_tokens: longest answer, in tokens.
        generator: source of chance, so that a seed replays the batch.
        reward: replaces the verdict's own reward (for controls).
        static: a cache of fixed shape, decoding compiled on a GPU; the default there only.
        together: episodes at once; 0: all, on a GPU as many as ``episodes_at_once`` finds room
            for. With a static cache the next episode begins when another is over, otherwise
            when all are.
        engine: answers in place of the model (``engine.Engine``); text only. It has the
            model's weights, and ``generator`` chooses its seeds.

    Raises:
        ValueError: pictures for a model that reads text only or for an engine, or for some
            problems only; a temperature or top_p out of range.
    """
    decoding_name(temperature, top_p)
    model.eval()
    on_gpu = hardware().gpu
    static = on_gpu if static is None else static
    tokenizer, pad = tokenizer_of(processor), tokenizer_of(processor).pad_token_id
    eot = chats.end_of_turn(processor)
    ends = torch.tensor(chats.stop_tokens(model, eot), device=model.device)
    asked = [[ask(task, problem)] for problem in problems]
    pictures = pictures_of(asked)
    pixels = to_pixels(processor, pictures) if pictures else None
    if engine is not None and pixels:
        raise ValueError("an engine plays tasks in text; these problems have pictures")
    prompts = chats.prompts(processor, asked) if asked else []
    episodes = []
    for i, (problem, ids) in enumerate(zip(problems, prompts, strict=True)):
        shown = pixels and {name: tensor[i : i + 1] for name, tensor in pixels.items()}
        episodes += [Episode(problem, list(ids), pixels=shown) for _ in range(samples)]

    longest = max(map(len, prompts), default=0)
    columns = longest + tries * (max_new_tokens + REPLY)
    rows = together or distributed.most(len(episodes))
    if on_gpu and not together and engine is None:
        rows = episodes_at_once(model, longest, columns, rows)
    rows = max(rows, samples)
    decoder, live, begun = None, [], 0
    while distributed.anyone(live or begun < len(problems)):
        if engine is not None:  # it queues what does not fit, and remembers what it has read
            if begun == 0:
                live, begun = episodes, len(problems)
            else:
                hear(processor, live, eot)
            dice = torch.randint(2**31, (1,), generator=generator, device=model.device)
            said = [episode.ids for episode in live]
            answers, logps = engine.generate(said, max_new_tokens, temperature, top_p, int(dice))
            live = answered(live, answers, logps, tokenizer, task, tries, reward)
            continue
        logits = [read_messages(decoder, processor, live, eot)] if decoder else []
        alone = not distributed.anyone(live)
        if decoder is None or (alone and not static):
            decoder = StaticDecoder(model, pad, rows, columns) if static else Decoder(model, pad)
        if alone or static:
            new = slice(begun, begun + (rows - len(live)) // samples)
            shown = pixels and {name: tensor[new] for name, tensor in pixels.items()}
            if prompts[new] or not logits:
                logits.append(decoder.take(prompts[new], shown, samples))
            live = live + episodes[samples * new.start : samples * new.stop]
            begun = new.stop
        answers, logps = generate(
            decoder, torch.cat(logits), ends, max_new_tokens, temperature, generator, top_p
        )
        going = answered(live, answers, logps, tokenizer, task, tries, reward)
        if len(going) < len(live):
            on = set(map(id, going))
            decoder.keep([i for i, episode in enumerate(live) if id(episode) in on])
            live = going
    return episodes


def answered(
    live: Sequence[Episode],
    answers: Sequence[list[int]],
    logps: Sequence[list[float]],
    tokenizer: PreTrainedTokenizerBase,
    task: Any,
    tries: int,
    reward: Callable[[Verdict], float] | None,
) -> list[Episode]:
    """Judge an answer of each live episode; returns those that go on."""
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
    for episode, ids, score, text in zip(live, answers, logps, texts, strict=True):
        verdict = task.verify(episode.problem, text)
        points = verdict.reward if reward is None else reward(verdict)
        if len(episode.turns) + 1 == tries and not verdict.solved:
            points += task.over_budget
        start = len(episode.ids)
        episode.ids += ids
        episode.turns.append(Turn(start, start + len(ids), score, text, verdict, points))
    return [e for e in live if not e.solved and len(e.turns) < tries]


def hear(processor: Processor, live: Sequence[Episode], eot: int) -> None:
    """Put the verifier's message behind each live episode's answer."""
    _, blocks = chats.replies(processor, [e.turns[-1].verdict.message for e in live])
    for episode, block in zip(live, blocks, strict=True):
        # an answer cut off at max_new_tokens is closed for the model
        closed = episode.ids[-1] == eot
        episode.ids += block if closed else [eot, *block]


def read_messages(
    decoder: Decoder, processor: Processor, live: Sequence[Episode], eot: int
) -> torch.Tensor:
    """Tell each live episode what the verifier said; returns next-token logits."""
    hear(processor, live, eot)
    return decoder.feed([episode.ids[episode.turns[-1].end - 1 :] for episode in live])
