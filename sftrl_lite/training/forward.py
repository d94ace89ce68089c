"""Episodes as tensors, and one forward pass of the policy over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from sftrl_lite.models.precision import mixed
from sftrl_lite.models.vision import Pixels, encode, look
from sftrl_lite.training import distributed
from sftrl_lite.training.rollouts import Episode

# --- from episodes to tensors ----------------------------------------------------------


@dataclass
class Batch:
    """Episodes as tensors; answers are what the policy is trained on."""

    ids: Tensor  # (B, L) tokens, right-padded
    turn: Tensor  # (B, L) turn whose answer this token belongs to, -1 elsewhere
    ask: Tensor  # (B, T) position of the last token before each answer
    old_logps: Tensor  # (B, L) log-probability when sampled, 0 elsewhere
    rewards: Tensor  # (B, T)
    played: Tensor  # (B, T) bool
    answers: Tensor  # (N,) where answer tokens stand among the B x (L - 1) predicted ones
    values: Tensor  # (B, T) what the value head foresaw, and
    advantages: Tensor  # (B, T), and
    targets: Tensor  # (B, T) of the values: 0 until they are computed
    pixels: Pixels | None = None  # the P different pictures
    picture: Tensor | None = None  # (B,) which of them an episode shows

    @property
    def pictures(self) -> int:
        """P: how many pictures there are, 0 in text."""
        return 0 if self.pixels is None else len(self.pixels["pixel_values"])

    def rows(self, index: Tensor) -> Batch:
        """These episodes only, without columns and turns that none of them needs."""
        turns = max(int(self.played[index].sum(1).max()), 1)
        width = int((self.turn[index] >= 0).any(0).nonzero().max()) + 1
        return Batch(
            self.ids[index, :width],
            self.turn[index, :width],
            self.ask[index, :turns],
            self.old_logps[index, :width],
            self.rewards[index, :turns],
            self.played[index, :turns],
            places(self.turn[index, :width]),
            self.values[index, :turns],
            self.advantages[index, :turns],
            self.targets[index, :turns],
            self.pixels,
            None if self.picture is None else self.picture[index],
        )

    def looking(self, index: Tensor) -> Batch:
        """All episodes with the pictures of these alone; the others show the first of them."""
        assert self.pixels is not None and self.picture is not None
        index = index.to(self.picture.device)
        shown, place = self.picture[index].unique(return_inverse=True)
        pixels = {name: tensor[shown] for name, tensor in self.pixels.items()}
        picture = torch.zeros_like(self.picture).index_copy(0, index, place)
        return replace(self, pixels=pixels, picture=picture)


def places(turn: Tensor) -> Tensor:
    """Where answer tokens (``turn`` >= 0) stand among the tokens that are predicted, flat: (N,)."""
    return (turn[:, 1:] >= 0).flatten().nonzero()[:, 0]  # token 0 is never predicted


def pack(episodes: Sequence[Episode], pad: int, device: torch.device | str = "cpu") -> Batch:
    """Episodes to a right-padded ``Batch`` (causal attention never sees the padding)."""
    rows, turns = len(episodes), max(len(e.turns) for e in episodes)
    tokens = [torch.tensor(episode.ids) for episode in episodes]
    ids = pad_sequence(tokens, batch_first=True, padding_value=pad)
    turn, old_logps = torch.full_like(ids, -1), torch.zeros(ids.shape)
    ask, rewards = torch.zeros((rows, turns), dtype=torch.long), torch.zeros((rows, turns))
    played = torch.zeros((rows, turns), dtype=torch.bool)
    for i, episode in enumerate(episodes):
        for t, one in enumerate(episode.turns):
            turn[i, one.start : one.end] = t
            old_logps[i, one.start : one.end] = torch.tensor(one.logps)
            ask[i, t], rewards[i, t], played[i, t] = one.start - 1, one.reward, True
    later = (torch.zeros_like(rewards) for _ in range(3))
    tensors: tuple[Any, ...] = (ids, turn, ask, old_logps, rewards, played, places(turn), *later)
    batch = Batch(*(tensor.to(device) for tensor in tensors))
    if episodes[0].pixels is not None:
        # samples of a problem share theirs
        shown: dict[int, Any] = {id(e.pixels): e.pixels for e in episodes}
        names, number = episodes[0].pixels, {key: i for i, key in enumerate(shown)}
        batch.pixels = {n: torch.cat([p[n] for p in shown.values()]).to(device) for n in names}
        batch.picture = torch.tensor([number[id(e.pixels)] for e in episodes], device=device)
    return batch


class ValueHead(nn.Module):
    """V(prompt and history): an MLP on the last hidden state before an answer.

    The paper's is 4096-1024-512-1 on the same trunk; ours shrinks with the model.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden, hidden // 4),
            nn.ReLU(),
            nn.Linear(hidden // 4, hidden // 8),
            nn.ReLU(),
            nn.Linear(hidden // 8, 1),
        )

    def forward(self, states: Tensor) -> Tensor:
        """(..., hidden) -> (...)"""
        with torch.autocast(states.device.type, enabled=False):  # in float32, always
            return self.layers(states.float()).squeeze(-1)


TILE = 2**27  # logits in one piece, 512 MiB of them in float32


def log_probabilities(
    head: nn.Linear, states: Tensor, words: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log softmax(head(state) / temperature)[word] and, without gradient, the entropy.

    Args:
        states: (N, hidden) final hidden states; words: (N,) the tokens that follow them.

    Returns:
        (N,) each. Many tokens go through in pieces of ``TILE`` logits, and none is kept: backward
        computes a piece again. A head that is split over processes is gathered for each piece, so
        that all need equally many: the last ones may be empty.
    """

    def piece(states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        logps = (head(states).float() / temperature).log_softmax(-1)
        with torch.no_grad():
            entropy = -(logps.exp() * logps).sum(-1)
        return logps.gather(-1, words[:, None])[:, 0], entropy

    rows = max(TILE // head.weight.shape[0], 1)
    pieces = -(-len(words) // rows)
    if isinstance(head, FSDPModule):
        pieces = distributed.all_reduce_max(pieces)
    if pieces <= 1:
        return piece(states, words)
    sizes = [min(max(len(words) - start, 0), rows) for start in range(0, pieces * rows, rows)]
    cut = zip(states.split(sizes), words.split(sizes), strict=True)
    found = [checkpoint(piece, *both, use_reentrant=False) for both in cut]
    logps, entropies = zip(*found, strict=True)
    return torch.cat(logps), torch.cat(entropies)


@mixed
def policy(
    model: PreTrainedModel,
    batch: Batch,
    value_head: ValueHead | None = None,
    views: Tensor | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One forward pass over whole episodes; logits are made for the answers only.

    Args:
        temperature: that of sampling; the policy is softmax(logits / temperature) throughout, so
            that ratio, gradient, KL and entropy are about what was sampled.
        views: (P, V, hidden) states of the batch's pictures, encoded here if not given.

    Returns:
        log-probabilities (B, L) of the answer tokens (0 elsewhere), their entropies
        (B, L) without gradient, and values (B, T) if there is a head.
    """
    seen = {"input_ids": batch.ids}
    if batch.pixels is not None:
        assert batch.picture is not None
        views = encode(model, batch.pixels) if views is None else views
        seen = look(model, batch.ids, views, batch.pixels, batch.picture)
    states = model.model(use_cache=False, **seen).last_hidden_state
    at = batch.answers
    before, words = states[:, :-1].flatten(0, 1)[at], batch.ids[:, 1:].flatten()[at]
    found = log_probabilities(model.lm_head, before, words, temperature)
    blank = found[0].new_zeros(batch.ids[:, 1:].numel())
    logps, entropy = (blank.index_copy(0, at, part).view(len(batch.ids), -1) for part in found)
    values = None
    if value_head is not None:
        asked = batch.ask[..., None].expand(-1, -1, states.shape[-1])
        values = value_head(states.gather(1, asked))
    pad = (1, 0)  # token 0 is never predicted
    return nn.functional.pad(logps, pad), nn.functional.pad(entropy, pad), values


def per_turn(batch: Batch, tokens: Tensor) -> Tensor:
    """Sum a quantity of answer tokens (B, L) over each turn: (B, T)."""
    turns = torch.zeros_like(batch.rewards)
    return turns.scatter_add(1, batch.turn.clamp(min=0), tokens * (batch.turn >= 0))


def per_token(batch: Batch, turns: Tensor) -> Tensor:
    """Give each answer token (B, L) what its turn (B, T) has."""
    return turns.gather(1, batch.turn.clamp(min=0))


# --- one step of training --------------------------------------------------------------

PART = 16  # episodes in one forward pass: bounds memory, and little padding when sorted
TOKENS = 2**14  # in one forward pass, however long an answer that never ends has become


def parts(batch: Batch, rows: Tensor) -> tuple[Tensor, ...]:
    """``rows`` in groups of episodes of similar length: at most ``PART``, and ``TOKENS`` in all."""
    last = (batch.turn >= 0).cumsum(1).argmax(1).cpu()  # position of the last answer token
    rows = rows[last[rows].argsort(stable=True)]
    sizes, start = [], 0
    for i, width in enumerate((last[rows] + 1).tolist()):
        if i - start == PART or (i > start and (i + 1 - start) * width > TOKENS):
            sizes.append(i - start)
            start = i
    return rows.split([*sizes, len(rows) - start]) if len(rows) else ()
