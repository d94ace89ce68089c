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

from sftrl_lite.models import chats
from sftrl_lite.models.chats import ask, pictures_of
from sftrl_lite.models.precision import hardware, mixed
from sftrl_lite.models.vision import Pixels, Processor, to_pixels, tokenizer_of
from sftrl_lite.results.ledger import decoding_name
from sftrl_lite.tasks.base import Playable, Problem, Verdict
from sftrl_lite.training import distributed
from sftrl_lite.training.decoding import Decoder, generate
from sftrl_lite.training.static_decoding import ROOMS, LentLayer, StaticDecoder, cache_bytes


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


def episodes_at_once(model: PreTrainedModel, prompt: int, columns: int, episodes: int) -> int:
    """How many episodes a GPU plays at once: as many as its free memory has room for.

    A power of two, so that few shapes are compiled; where memory allows it at least ``TOGETHER``,
    and no more than ``MOST`` or than there are episodes; in all processes the same.

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
    return distributed.all_reduce_min(rows)


@torch.inference_mode()
@mixed
def rollout(
    model: PreTrainedModel,
    processor: Processor,
    task: Playable[Problem],
    problems: Sequence[Problem],
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
    one that has none. They keep step, token by token, to draw the same random numbers.

    Args:
        model: any causal model of the course; switched to eval mode.
        processor: its tokenizer with a chat template, or processor where it sees pictures.
        task: shows problems and judges answers (``tasks.base.Playable``).
        problems: P problems; the result has P * samples episodes, problem by problem.
        tries: verification budget; the last failed try costs one more point
            (paper, appendix A.3).
        temperature: 0 for greedy.
        top_p: sample among the likeliest tokens that together have this probability.
        max_new_tokens: longest answer, in tokens.
        generator: of all random numbers, so that a seed replays the batch.
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
    machine = hardware()
    on_gpu = machine.gpu and model.device.type == machine.device.type  # it may lie on the CPU
    static = on_gpu if static is None else static
    tokenizer, pad = tokenizer_of(processor), tokenizer_of(processor).pad_token_id
    eot = chats.end_of_turn(processor)
    stops = chats.stop_tokens(model, eot)
    ends = torch.tensor(stops, device=model.device)
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

    def texts(answers: list[list[int]]) -> list[str]:
        return [chats.answer_text(tokenizer, ids, stops) for ids in answers]

    longest = max(map(len, prompts), default=0)
    columns = longest + tries * (max_new_tokens + REPLY)
    rows = together or distributed.all_reduce_max(len(episodes))
    if on_gpu and not together and engine is None:
        rows = episodes_at_once(model, longest, columns, rows)
    rows = max(rows, samples)
    live: list[Episode] = []
    decoder, begun = None, 0
    while distributed.any_process(live or begun < len(problems)):
        if engine is not None:  # it queues what does not fit, and remembers what it has read
            if begun == 0:
                live, begun = episodes, len(problems)
            else:
                hear(processor, live, eot)
            dice = torch.randint(2**31, (1,), generator=generator, device=model.device)
            said = [episode.ids for episode in live]
            answers, logps = engine.generate(said, max_new_tokens, temperature, top_p, int(dice))
            live = answered(live, answers, logps, texts(answers), task, tries, reward)
            continue
        logits: list[torch.Tensor] = (
            [read_messages(decoder, processor, live, eot)] if decoder else []
        )
        alone = not distributed.any_process(live)
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
        going = answered(live, answers, logps, texts(answers), task, tries, reward)
        if len(going) < len(live):
            on = set(map(id, going))
            decoder.keep([i for i, episode in enumerate(live) if id(episode) in on])
            live = going
    return episodes


def answered(
    live: Sequence[Episode],
    answers: Sequence[list[int]],
    logps: Sequence[list[float]],
    texts: Sequence[str],
    task: Playable[Any],
    tries: int,
    reward: Callable[[Verdict], float] | None,
) -> list[Episode]:
    """Judge an answer of each live episode; returns those that go on."""
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
    """Append the verifier's message to each live episode's answer."""
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
