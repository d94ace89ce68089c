"""The passes of a run on fake tensors: an update, a rollout, pictures through the tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sftrl_lite.models.precision import mixed
from sftrl_lite.models.vision import Pixels, has_cross_attention, look
from sftrl_lite.planning.fake import Live, encode_whole, pictures_like, states_like
from sftrl_lite.training.decoding import Decoder
from sftrl_lite.training.forward import Batch, ValueHead, policy
from sftrl_lite.training.sampling import sample_tokens
from sftrl_lite.training.static_decoding import StaticDecoder, free_room


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

    def after_body(module: nn.Module, args: Any, output: Any) -> None:
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
        if learn and encoded and views is not None and shared is not None and views.requires_grad:
            views.backward(shared.grad)
    hook.remove()
    found.looking_back, found.looks = live.recent, live.flops - found.text
    return found


@mixed
def sft_loss(model: PreTrainedModel, batch: Batch, views: Tensor | None) -> Tensor:
    """trl's loss: log-probabilities in chunks, logits never whole; padded rows need a mask."""
    ids, seen = batch.ids, {"input_ids": batch.ids}
    if views is not None:
        assert batch.pixels is not None and batch.picture is not None  # where views are
        seen = look(model, ids, views, batch.pixels, batch.picture)
    rows, width = ids.shape
    mask = torch.ones(rows, 1, width, width, dtype=torch.bool, device=ids.device)
    return model(attention_mask=mask, labels=ids, fused_lm_head=True, **seen).loss


def rl_loss(model: PreTrainedModel, head: ValueHead, batch: Batch, views: Tensor | None) -> Tensor:
    """Stands for PPO's loss, whose own part is small numbers: one per turn."""
    logps, _, values = policy(model, batch, head, views)
    return logps.sum() + values.sum()


def rl_batch(ids: Tensor, pixels: Pixels, which: Tensor, answers: int = 0) -> Batch:
    """Rows of one turn that fills them, some of it answers: only shapes count here."""
    turn = torch.zeros_like(ids)
    ask = turn[:, :1]
    zeros = torch.zeros(ids.shape, device=ids.device)
    played = torch.ones_like(ask, dtype=torch.bool)
    places = torch.arange(answers or turn[:, 1:].numel(), device=ids.device)
    turns = (zeros[:, :1],) * 3  # values, advantages, targets
    shown = pixels or None, which
    return Batch(ids, turn, ask, zeros, zeros[:, :1], played, places, *turns, *shown)


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

    def before_layer(module: nn.Module, args: Any) -> None:
        live.restart()

    def after_layer(module: nn.Module, args: Any, output: Any) -> None:
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
        if pictures and has_cross_attention(model):
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
    free_room(model)
    model.train(training)
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
