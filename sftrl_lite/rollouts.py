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
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicCache, DynamicLayer

from sftrl_lite import distributed
from sftrl_lite.models import Processor
from sftrl_lite.verifier import Verdict
from sftrl_lite.vision import (
    Pixels,
    ask,
    encode,
    image_mask,
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
        seen = {}
        if pixels is not None:
            tiles = pixels["aspect_ratio_mask"]
            seen["cross_attention_states"] = encode(self.model, pixels)
            seen["cross_attention_mask"] = image_mask(ids, self.model, tiles).to(self.model.device)
            self.tiles, self.full = tiles.to(self.model.device), bool(tiles.all())
        return self.append(ids.to(self.model.device), fresh.to(self.model.device), **seen)

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
            seen = {"cross_attention_mask": everywhere}
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            **seen,
        )
        return out.logits[:, -1].float()

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


def sample_tokens(
    logits: torch.Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a row from logits (rows, vocabulary); returns tokens, log-probabilities.

    Temperature 0 takes the likeliest token. The log-probability returned is that of
    the untempered policy, the quantity that PPO's ratio is about.
    """
    logps = logits.log_softmax(-1)
    if temperature == 0:
        tokens = logits.argmax(-1)
    else:
        probs = (logits / temperature).softmax(-1)
        tokens = distributed.draw(probs, generator)
    return tokens, logps.gather(1, tokens[:, None])[:, 0]


def generate(
    decoder: Decoder,
    logits: torch.Tensor,
    eot: int,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator | None,
) -> tuple[list[list[int]], list[list[float]]]:
    """One answer a row, up to and with the end-of-turn token; also log-probabilities.

    Afterwards the last token of each answer is NOT yet in the cache.
    """
    alive = torch.ones(len(logits), dtype=torch.long, device=logits.device)
    columns, scores, lives = [], [], []
    for step in range(max_new_tokens):
        tokens, logps = sample_tokens(logits, temperature, generator)
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
def rollout(
    model: PreTrainedModel,
    processor: Processor,
    task: Any,
    problems: Sequence[Any],
    *,
    samples: int = 1,
    tries: int = 5,
    temperature: float = 1.0,
    max_new_tokens: int = 40,
    generator: torch.Generator | None = None,
    reward: Callable[[Verdict], float] | None = None,
) -> list[Episode]:
    """Play ``samples`` episodes of each problem, all in one batch.

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
        max_new_tokens: longest answer, in tokens.
        generator: source of chance, so that a seed replays the batch.
        reward: replaces the verdict's own reward (for controls).

    Raises:
        ValueError: pictures for a model that reads text only, or for some problems only.
    """
    model.eval()
    tokenizer = tokenizer_of(processor)
    eot = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    chats = [[ask(task, problem)] for problem in problems]
    pictures = pictures_of(chats)
    pixels = to_pixels(processor, pictures) if pictures else None
    prompts = []
    if chats:
        prompts = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, return_dict=False
        )
    episodes = []
    for i, (problem, ids) in enumerate(zip(problems, prompts, strict=True)):
        shown = pixels and {name: tensor[i : i + 1] for name, tensor in pixels.items()}
        episodes += [Episode(problem, list(ids), pixels=shown) for _ in range(samples)]
    decoder = Decoder(model, tokenizer.pad_token_id)
    logits = decoder.feed(prompts, pixels)
    if samples > 1 and problems:
        decoder.repeat(samples)
        logits = logits.repeat_interleave(samples, 0)
    live = episodes
    for attempt in range(1, tries + 1):
        answers, logps = generate(decoder, logits, eot, max_new_tokens, temperature, generator)
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
        blocks = reply_tokens(tokenizer, [e.turns[-1].verdict.message for e in live])
        feeds = []
        for episode, block in zip(live, blocks, strict=True):
            # an answer cut off at max_new_tokens is closed for the model
            closed = episode.ids[-1] == eot
            episode.ids += block if closed else [eot, *block]
            feeds.append(episode.ids[episode.turns[-1].end - 1 :])
        logits = decoder.feed(feeds)
    return episodes


def reply_tokens(tokenizer: PreTrainedTokenizerBase, messages: Sequence[str]) -> list[list[int]]:
    """The tokens between an answer and the next: the verifier's turn and the header."""
    unique = {}
    for message in dict.fromkeys(messages):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], add_generation_prompt=True, return_dict=False
        )
        unique[message] = ids[1:] if ids[0] == tokenizer.bos_token_id else ids
    return [unique[message] for message in messages]
