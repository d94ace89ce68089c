"""What a model sees: pictures to pixels, pixels to the states that text attends to.

Mllama reads a picture through cross-attention: the vision tower and a projector turn it into
V states of the text model's width, and some layers of the text model attend to them. The
states depend on the picture alone, so a picture is encoded once and shared by all samples
of its group, all turns of an episode and all answer tokens of an update.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pixels = dict[str, Tensor]  # the image processor's tensors, first dimension: pictures
IMAGE = "<|image|>"
PATCHES = 2**15  # encoded at a time


def tokenizer_of(processor: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a processor, or the tokenizer itself where that is all there is."""
    return getattr(processor, "tokenizer", processor)


def open_picture(path: str | Path) -> Image.Image:
    """A picture from a file, as RGB.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, broken, or smaller than 16 x 16.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no picture here")
    try:
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no picture or is broken: {error}") from None
    if min(picture.size) < 16:
        raise ValueError(f"{path} is {picture.width} x {picture.height}; 16 x 16 is the least")
    return picture


def to_pixels(processor: Any, pictures: Sequence[Image.Image]) -> Pixels:
    """Pictures as the tensors that the vision tower reads, one row a picture.

    Raises:
        ValueError: the model reads text only, or something is not an RGB picture.
    """
    eyes = getattr(processor, "image_processor", None)
    if eyes is None:
        raise ValueError("this model reads text only, and the task shows pictures; choose its base")
    for picture in pictures:
        if not isinstance(picture, Image.Image) or picture.mode != "RGB":
            what = getattr(picture, "mode", type(picture).__name__)
            raise ValueError(f"a picture must be a PIL image of mode RGB, not {what}")
    made = eyes([[picture] for picture in pictures], return_tensors="pt")
    names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
    return {name: made[name] for name in names}


def encode(model: PreTrainedModel, pixels: Pixels) -> Tensor:
    """Vision tower and projector: P pictures to states (P, V, hidden).

    So many pictures at a time that a layer's own memory stays small: 20 tiles of the 11B's.
    """
    inner = model.model
    tiles = pixels["pixel_values"].shape[2] * inner.vision_model.num_patches
    if len(pixels["pixel_values"]) > (few := max(PATCHES // tiles, 1)):
        groups = zip(*(tensor.split(few) for tensor in pixels.values()), strict=True)
        return torch.cat([encode(model, dict(zip(pixels, g, strict=True))) for g in groups])
    pixels = {name: tensor.to(model.device) for name, tensor in pixels.items()}
    states = inner.multi_modal_projector(inner.vision_model(**pixels).last_hidden_state)
    return states.reshape(len(states), -1, states.shape[-1])


def image_mask(ids: Tensor, model: PreTrainedModel, tiles: Tensor | None = None) -> Tensor:
    """Which tiles each token is meant to see, (B, L, 1, tiles): all from the image token on.

    Mllama applies it softly: a token before the image gets the mean of all states from the
    attention (transformers 5.23), and only the layer's feed-forward part is masked out.

    Args:
        ids: (B, L) tokens.
        tiles: (B, 1, tiles), 1 where a tile is real; all one tile if not given.
    """
    after = (ids == model.config.image_token_index).cumsum(1).clamp(max=1)[:, :, None, None]
    return after if tiles is None else after * tiles[:, None]


def ask(task: Any, problem: Any) -> dict[str, Any]:
    """The first message of a chat: the prompt, after its picture where there is one."""
    text, picture = task.prompt(problem), task.picture(problem)
    if picture is None:
        return {"role": "user", "content": text}
    shown = {"type": "image", "image": picture}
    return {"role": "user", "content": [shown, {"type": "text", "text": text}]}


def pictures_of(chats: Sequence[Sequence[dict[str, Any]]]) -> list[Image.Image]:
    """The picture of each chat's first message; none at all for chats in text.

    Raises:
        ValueError: some chats have a picture and some have none.
    """
    contents = [chat[0]["content"] for chat in chats]
    found = [content[0]["image"] for content in contents if not isinstance(content, str)]
    if found and len(found) < len(chats):
        raise ValueError("some of these problems have a picture and some have none")
    return found
