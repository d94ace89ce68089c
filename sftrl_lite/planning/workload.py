"""How long prompts and answers of a work are, and how large its model is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

from sftrl_lite.files import ROOT
from sftrl_lite.models.checkpoints import find
from sftrl_lite.models.smollm import FOLDER, smollm_config
from sftrl_lite.models.tiny import KINDS, LIKE_11B, LIKE_500M, full_config, small_config
from sftrl_lite.models.vision import states_of_picture, tower_of
from sftrl_lite.planning.work import Work
from sftrl_lite.scales import Scale, get_scale
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training import distributed

CHARACTERS = 3.5  # a token of Llama's tokenizer, English with JSON; an assumption
EVALUATED = 500  # episodes at once where nothing bounds them, as ``evaluate`` plays them


# --- how long, how large -----------------------------------------------------------------


class UnknownModel(ValueError):
    """A model whose numbers are not known here, so that nothing can be planned."""


def config_of(scale: Scale | str, task: str, tiles: int = 0) -> PreTrainedConfig:
    """The scale's model in numbers: from its shipped folder, or as published.

    Args:
        tiles: slots for the tiles of a picture; 0: the model's own number. Mllama's tower
            computes all its slots, empty or not.

    Raises:
        UnknownModel: a scale whose model is not known here.
    """
    base = get_scale(scale).pretrained_for(task)
    if (ROOT / base / "config.json").is_file():
        config = AutoConfig.from_pretrained(ROOT / base, trust_remote_code=False)
    elif base.startswith(LIKE_11B):
        config = full_config()
    elif base.startswith(LIKE_500M):
        config = small_config()
    elif base == FOLDER:
        config = smollm_config()
    else:
        raise UnknownModel(f"no plan for {base}: its numbers are not known here")
    if config.model_type not in KINDS:
        raise UnknownModel(f"no plan for {base}, a {config.model_type}; known: {', '.join(KINDS)}")
    if config.model_type == "mllama":
        tower = config.vision_config
        tower.max_num_tiles = min(tiles or 4, tower.max_num_tiles)
        ratios = tower.supported_aspect_ratios
        tower.supported_aspect_ratios = [r for r in ratios if r[0] * r[1] <= tower.max_num_tiles]
    return config


def states_bytes(config: PreTrainedConfig, size: int) -> int:
    """Bytes of a picture's states, of numbers of ``size`` bytes."""
    return states_of_picture(config) * config.get_text_config().hidden_size * size


def pixel_bytes(config: PreTrainedConfig) -> int:
    """Bytes of a picture as the image processor gives it; 0 where there is none."""
    if (tower := tower_of(config)) is None:
        return 0
    area = tower.image_size**2
    return 12 * area * tower.max_num_tiles if config.model_type == "mllama" else 20 * area


def lengths(scale: Scale | str, task: str) -> tuple[int, int, int]:
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
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
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
    if run.scale.memory:  # a tiny model fits anywhere
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
