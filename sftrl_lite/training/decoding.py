"""Decoding with a cache: rows of tokens that grow, turn by turn."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from sftrl_lite.models.vision import Pixels, encode, has_cross_attention, look
from sftrl_lite.training import distributed
from sftrl_lite.training.sampling import sample_tokens


class RoomyLayer(DynamicLayer):
    """Keys and values in a buffer with room to grow, written in place.

    The stock layer concatenates, that is copies everything, at every token.
    """

    keys: torch.Tensor
    values: torch.Tensor
    buffers: tuple[torch.Tensor, torch.Tensor] | None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
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
        """Keep these rows only; the buffer is allocated again at the next token."""
        super().batch_select_indices(indices)
        self.buffers = None

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self.buffers = None


def name_of_cache(model: PreTrainedModel) -> str:
    """What a model's forward pass calls its cache: transformers 5.24 has another name for it."""
    known = inspect.signature(type(model).forward).parameters
    return "cache" if "cache" in known else "past_key_values"


class Decoder:
    """A batch of growing sequences and their cache.

    Rows have different lengths, so a column of the cache is real for some rows and a
    hole for others: ``mask`` (rows, columns) says which, and positions count real
    tokens only.
    """

    def __init__(self, model: PreTrainedModel, pad: int):
        self.model, self.pad = model, pad
        self.cache, self.named = DynamicCache(config=model.config), name_of_cache(model)
        self.cache.layers = [RoomyLayer() for _ in self.cache.layers]
        self.mask: torch.Tensor | None = None
        # (rows, 1, tiles) of the pictures, 1 where a tile is not empty
        self.tiles: torch.Tensor | None = None
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
            if has_cross_attention(self.model):
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
            use_cache=True,
            logits_to_keep=1,
            **{self.named: self.cache},
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
        assert self.mask is not None
        self.mask = self.mask.repeat_interleave(times, 0)
        if self.tiles is not None:
            self.tiles = self.tiles.repeat_interleave(times, 0)

    def keep(self, rows: list[int]) -> None:
        """Drop all rows but these, for instance the solved episodes."""
        assert self.mask is not None
        index = torch.tensor(rows, dtype=torch.long, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask = self.mask[index]
        if self.tiles is not None:
            self.tiles = self.tiles[index]


def generate(
    decoder: Decoder,
    logits: torch.Tensor,
    ends: torch.Tensor,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator | None,
    top_p: float = 1.0,
) -> tuple[list[list[int]], list[list[float]]]:
    """One answer per row, up to and with the first of the tokens ``ends``; also log-probabilities.

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
        if step + 1 == max_new_tokens or not distributed.any_process(alive.any()):
            break
        logits = decoder.append(tokens[:, None], alive[:, None])
    lengths = torch.stack(lives, 1).sum(1).tolist()
    answers, told = torch.stack(columns, 1).tolist(), torch.stack(scores, 1).tolist()
    cut = [(row[:n], score[:n]) for row, score, n in zip(answers, told, lengths, strict=True)]
    return [row for row, _ in cut], [score for _, score in cut]
