"""Whole episodes, many at a time: answer, verifier's message, answer, ... until solved.

Sequential revision (Chu et al. 2025, section 3): the input of try t is the prompt
followed by all earlier answers and verifier messages. As a chat that only ever grows,
its keys and values stay in the cache from the first token to the last, so the cost of
an episode is linear in its number of tries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, StaticLayer

from sftrl_lite import chats, distributed
from sftrl_lite.models import Processor
from sftrl_lite.precision import mixed
from sftrl_lite.verifier import Verdict
from sftrl_lite.vision import (
    Pixels,
    ask,
    crosses,
    encode,
    look,
    pictures_of,
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


TOGETHER = 64  # episodes in one batch on a GPU, which bounds the memory of their cache


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
        self.mask = fresh if self.mask is None else torch.cat([self.mask, fresh], 1)
        # One token sees all of a cached picture unmasked; several at once would be taken for a
        # causal block, in which the first of them sees but the first of the picture's states.
        if self.tiles is not None and not seen and (ids.shape[1] > 1 or not self.full):
            everywhere = self.tiles[:, None].expand(-1, ids.shape[1], -1, -1)
            seen["cross_attention_mask"] = everywhere
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
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

    def call(self, **inputs: Any) -> Any:
        """The model's forward pass."""
        return self.model(**inputs)

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


class StaticDecoder(Decoder):
    """The same with a cache whose shape stays as it is, so that decoding can be compiled.

    Compiled (on a GPU: one CUDA graph a token) the model's hundreds of small kernels need no
    launches from Python. It is compiled for a shape, so rows are never dropped, only left
    alone, and the room for tokens grows in steps of ``STEP`` columns: few shapes in all.
    """

    STEP = 256

    def __init__(self, model: PreTrainedModel, pad: int, compiled: bool):
        super().__init__(model, pad)
        self.cache.layers = [StaticLayer(max_cache_len=0) for _ in self.cache.layers]
        text = model.config.get_text_config()
        across = getattr(text, "cross_attention_layers", ())
        self.growing = [layer for i, layer in enumerate(self.cache.layers) if i not in across]
        self.live = None  # rows that are still played
        self.one = torch.compile(model.forward, fullgraph=True, mode="reduce-overhead")
        self.one = self.one if compiled else model

    def append(self, ids: torch.Tensor, fresh: torch.Tensor, **seen: torch.Tensor) -> torch.Tensor:
        """As for ``Decoder``; rows that were dropped get a token that is not real."""
        if self.live is None:
            self.live = torch.arange(len(ids), device=ids.device)
        rows = len(ids) if self.mask is None else len(self.mask)
        every = ids.new_full((rows, ids.shape[1]), self.pad), fresh.new_zeros(rows, ids.shape[1])
        for whole, part in zip(every, (ids, fresh), strict=True):
            whole[self.live] = part
        used = 0 if self.mask is None else self.mask.shape[1]
        if "cross_attention_states" in seen:
            for layer in self.cache.layers:  # those that do not grow hold the pictures
                layer.max_cache_len = seen["cross_attention_states"].shape[1]
        self.make_room(used, ids.shape[1])
        return super().append(*every, **seen)[self.live]

    def make_room(self, used: int, new: int) -> None:
        """Enlarge the layers of text where ``new`` columns no longer fit."""
        columns = -(-(used + new) // self.STEP) * self.STEP
        for layer in self.growing:
            if layer.is_initialized and columns > layer.max_cache_len:
                resize(layer, len(layer.keys), columns, used)
            layer.max_cache_len = columns

    def call(self, **inputs: Any) -> Any:
        """The forward pass, compiled where it is for one token a row."""
        missing = self.growing[0].max_cache_len - self.mask.shape[1]
        inputs["attention_mask"] = torch.nn.functional.pad(self.mask, (0, missing))
        return (self.one if self.is_step(inputs) else self.model)(**inputs)

    @staticmethod
    def is_step(inputs: dict[str, Any]) -> bool:
        """Whether these are one token a row."""
        return "input_ids" in inputs and inputs["input_ids"].shape[1] == 1

    def repeat(self, times: int) -> None:
        """Copy each row ``times`` times."""
        for layer in self.cache.layers:
            if layer.is_initialized:
                resize(layer, len(layer.keys) * times, layer.max_cache_len, layer.max_cache_len)
        self.mask = self.mask.repeat_interleave(times, 0)
        if self.tiles is not None:
            self.tiles = self.tiles.repeat_interleave(times, 0)
        self.live = torch.arange(len(self.mask), device=self.mask.device)

    def keep(self, rows: list[int]) -> None:
        """Play these rows only; the others stay where they are."""
        self.live = self.live[torch.tensor(rows, device=self.live.device)]


def resize(layer: StaticLayer, rows: int, columns: int, used: int) -> None:
    """Give a static layer other room: each row copied to ``rows``, its ``used`` columns kept."""
    for name in ("keys", "values"):
        old = getattr(layer, name)
        new = old.new_zeros(rows, old.shape[1], columns, old.shape[3])
        new[:, :, :used] = old[:, :, :used].repeat_interleave(rows // len(old), 0)
        torch._dynamo.mark_static_address(new)
        setattr(layer, name, new)


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
    eot: int,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator | None,
    top_p: float = 1.0,
) -> tuple[list[list[int]], list[list[float]]]:
    """One answer a row, up to and with the end-of-turn token; also log-probabilities.

    Afterwards the last token of each answer is NOT yet in the cache.
    """
    alive = torch.ones(len(logits), dtype=torch.long, device=logits.device)
    columns, scores, lives = [], [], []
    for step in range(max_new_tokens):
        tokens, logps = sample_tokens(logits, temperature, generator, top_p)
        columns.append(tokens)
        scores.append(logps)
        lives.append(alive)
        alive = alive * (tokens != eot)
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
) -> list[Episode]:
    """Play ``samples`` episodes of each problem, all in one batch if ``together`` allows it.

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
        together: episodes in one batch; 0: ``TOGETHER`` on a GPU, elsewhere all.

    Raises:
        ValueError: pictures for a model that reads text only, or for some problems only; a
            temperature or top_p out of range.
    """
    decoding_name(temperature, top_p)
    model.eval()
    on_gpu = model.device.type == "cuda"
    few = max((together or (TOGETHER if on_gpu else len(problems) * samples)) // samples, 1)
    if len(problems) > few:
        options = dict(samples=samples, tries=tries, temperature=temperature, reward=reward)
        options |= dict(max_new_tokens=max_new_tokens, generator=generator, top_p=top_p)
        options |= dict(static=static, together=together)
        starts = range(0, len(problems), few)
        groups = [problems[i : i + few] for i in starts]
        played = [rollout(model, processor, task, g, **options) for g in groups]
        return [episode for group in played for episode in group]
    tokenizer = tokenizer_of(processor)
    eot = chats.end_of_turn(processor)
    asked = [[ask(task, problem)] for problem in problems]
    pictures = pictures_of(asked)
    pixels = to_pixels(processor, pictures) if pictures else None
    prompts = chats.prompts(processor, asked) if asked else []
    episodes = []
    for i, (problem, ids) in enumerate(zip(problems, prompts, strict=True)):
        shown = pixels and {name: tensor[i : i + 1] for name, tensor in pixels.items()}
        episodes += [Episode(problem, list(ids), pixels=shown) for _ in range(samples)]
    if on_gpu if static is None else static:
        decoder = StaticDecoder(model, tokenizer.pad_token_id, compiled=on_gpu)
    else:
        decoder = Decoder(model, tokenizer.pad_token_id)
    logits = decoder.feed(prompts, pixels)
    if samples > 1 and problems:
        decoder.repeat(samples)
        logits = logits.repeat_interleave(samples, 0)
    live = episodes
    for attempt in range(1, tries + 1):
        answers, logps = generate(
            decoder, logits, eot, max_new_tokens, temperature, generator, top_p
        )
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
        for episode, ids, score, text in zip(live, answers, logps, texts, strict=True):
            verdict = task.verify(episode.problem, text)
            points = verdict.reward if reward is None else reward(verdict)
            if attempt == tries and not verdict.solved:
                points += task.over_budget
            start = len(episode.ids)
            episode.ids += ids
            episode.turns.append(Turn(start, start + len(ids), score, text, verdict, points))
        going = [i for i, episode in enumerate(live) if not episode.solved]
        if attempt == tries or not distributed.anyone(going):
            break
        if len(going) < len(live):
            decoder.keep(going)
            live = [live[i] for i in going]
        _, blocks = chats.replies(processor, [e.turns[-1].verdict.message for e in live])
        feeds = []
        for episode, block in zip(live, blocks, strict=True):
            # an answer cut off at max_new_tokens is closed for the model
            closed = episode.ids[-1] == eot
            episode.ids += block if closed else [eot, *block]
            feeds.append(episode.ids[episode.turns[-1].end - 1 :])
        logits = decoder.feed(feeds)
    return episodes
