"""What a model sees: pictures to pixels, pixels to the states that text attends to.

A vision tower and a projector turn a picture into V states of the text model's width. In
Mllama some layers of the text model attend to them; in SmolVLM they are among the words. The
states depend on the picture alone, so a picture is encoded once and shared by all samples
of its group, all turns of an episode and all answer tokens of an update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Idefics3Processor,
    MllamaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sftrl_lite.models.precision import mixed

# reads pictures and text, or text
Processor = MllamaProcessor | Idefics3Processor | PreTrainedTokenizerBase
Pixels = dict[str, Tensor]  # the image processor's tensors, first dimension: pictures
IMAGE = "<|image|>"
PATCHES = 2**15  # encoded at a time
VISION_MODULES = ("vision_model", "multi_modal_projector", "connector")  # in Mllama or SmolVLM


def tower_of(config: PreTrainedConfig) -> Any:
    """The numbers of the vision tower; None for a model that reads text only."""
    return getattr(config, "vision_config", None)


def auto_class(config: PreTrainedConfig) -> Any:
    """What makes a model of its numbers: one that sees, or one that reads text only."""
    return AutoModelForImageTextToText if tower_of(config) else AutoModelForCausalLM


def vision_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The parts that only pictures pass through: vision tower and projector."""
    return [getattr(model.model, name) for name in VISION_MODULES if hasattr(model.model, name)]


def has_cross_attention(model: PreTrainedModel) -> bool:
    """Whether text attends to pictures through cross-attention; else they are in the text."""
    return hasattr(model.config.get_text_config(), "cross_attention_layers")


def states_of_picture(config: PreTrainedConfig) -> int:
    """V: how many states a picture becomes; 0 for a model that reads text only."""
    if (tower := tower_of(config)) is None:
        return 0
    patches = (tower.image_size // tower.patch_size) ** 2
    if config.model_type == "mllama":
        return (patches + 1) * tower.max_num_tiles
    return patches // config.scale_factor**2


def tokenizer_of(processor: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a processor, or the tokenizer itself where that is all there is."""
    return getattr(processor, "tokenizer", processor)


def to_pixels(processor: Any, pictures: Sequence[Image.Image]) -> Pixels:
    """Pictures as the tensors that the vision tower reads, one row per picture.

    Raises:
        ValueError: the model reads text only, or something is not an RGB picture.
    """
    image_processor = getattr(processor, "image_processor", None)
    if image_processor is None:
        raise ValueError("this model reads text only, and the task shows pictures; choose its base")
    for picture in pictures:
        if not isinstance(picture, Image.Image) or picture.mode != "RGB":
            what = getattr(picture, "mode", type(picture).__name__)
            raise ValueError(f"a picture must be a PIL image of mode RGB, not {what}")
    made = image_processor([[picture] for picture in pictures], return_tensors="pt")
    names = ("pixel_values", "pixel_attention_mask", "aspect_ratio_ids", "aspect_ratio_mask")
    return {name: made[name] for name in names if name in made}


def at_once(model: PreTrainedModel, pixels: Pixels) -> int:
    """How many such pictures pass through the tower at a time.

    So many that a layer's own memory stays small: 20 tiles of the 11B's.
    """
    patches = pixels["pixel_values"][0].numel() // 3 // model.config.vision_config.patch_size**2
    return max(PATCHES // patches, 1)


@mixed
def encode(model: PreTrainedModel, pixels: Pixels) -> Tensor:
    """Vision tower and projector: P pictures to states (P, V, hidden), some ``at_once``."""
    if len(pixels["pixel_values"]) > (few := at_once(model, pixels)):
        groups = zip(*(tensor.split(few) for tensor in pixels.values()), strict=True)
        return torch.cat([encode(model, dict(zip(pixels, g, strict=True))) for g in groups])
    inner = model.model
    pixels = {name: tensor.to(model.device) for name, tensor in pixels.items()}
    if has_cross_attention(model):
        states = inner.multi_modal_projector(inner.vision_model(**pixels).last_hidden_state)
    else:
        states = torch.stack(inner.get_image_features(**pixels).pooler_output)
    return states.reshape(len(states), -1, states.shape[-1])


def look(
    model: PreTrainedModel,
    ids: Tensor,
    views: Tensor,
    pixels: Pixels,
    which: Tensor | slice = slice(None),
) -> dict[str, Tensor]:
    """The model's inputs for texts that show pictures.

    The one place where kinds of models differ. With cross-attention the states are beside the
    text. Otherwise they are in it, in the place of the first V image tokens of each row (a
    model may say that token too, and then it is a word).

    Args:
        ids: (B, L) tokens.
        views: (P, V, hidden), the states of P pictures.
        pixels: of the same pictures.
        which: (B,) the picture of each row; row by row if not given.
    """
    views = views[which]
    if has_cross_attention(model):
        mask = image_mask(ids, model, pixels["aspect_ratio_mask"][which].to(ids.device))
        return {"input_ids": ids, "cross_attention_states": views, "cross_attention_mask": mask}
    words = model.get_input_embeddings()(ids)
    spots = ids == model.config.image_token_id
    spots &= spots.cumsum(1) <= views.shape[1]
    return {"inputs_embeds": words.masked_scatter(spots[..., None], views.to(words.dtype))}


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


def limit_tiles(model: PreTrainedModel, processor: Any, tiles: int) -> None:
    """Let a model look at pictures of at most ``tiles`` tiles: less memory, less detail.

    Mllama has position tables with a row for each shape and a column for each tile: the
    rows and columns that remain are cut out. Its tiles also attend to empty ones, of which there
    are fewer now, so a model should be evaluated with the tiles that it was trained with.
    The others get their pictures as one tile.

    Raises:
        ValueError: more tiles than the model knows.
    """
    sees, image_processor = model.config.vision_config, processor.image_processor
    known = getattr(sees, "max_num_tiles", 1)
    if not 1 <= tiles <= known:
        raise ValueError(f"{model.name_or_path} reads pictures of 1 to {known} tiles, not {tiles}")
    if model.config.model_type != "mllama":
        image_processor.do_image_splitting = False
        image_processor.size = dict(image_processor.max_image_size)
        return
    shapes = [shape for shape in sees.supported_aspect_ratios if shape[0] * shape[1] <= tiles]
    rows = [0, *(1 + sees.supported_aspect_ratios.index(shape) for shape in shapes)]
    tower = model.model.vision_model
    for table in (
        tower.gated_positional_embedding.tile_embedding,
        tower.pre_tile_positional_embedding.embedding,
        tower.post_tile_positional_embedding.embedding,
    ):
        cut = table.weight.data.unflatten(1, (known, -1))[rows, :tiles].flatten(1)
        table.weight.data = cut
        table.num_embeddings, table.embedding_dim = cut.shape
    for part in tower.modules():
        if hasattr(part, "max_num_tiles"):
            part.max_num_tiles = tiles
    sees.max_num_tiles, sees.supported_aspect_ratios = tiles, shapes
    image_processor.max_image_tiles = tiles
