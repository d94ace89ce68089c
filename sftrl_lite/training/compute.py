"""Training compute, in the paper's accounting and with a KV cache.

The paper (appendix C.3) counts 6 N floating-point operations for each token trained on
and 2 N for each token passed through the model while sampling, with N parameters. It
charges sampling as if every new token read its whole prefix again (no cache): for
GeneralPoints that is lambda = 6 passes for each token trained on, for streets 5.1.
"""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from sftrl_lite.models.vision import has_cross_attention, vision_modules
from sftrl_lite.scales import LAMBDA


def text_weights(model: PreTrainedModel, pictures: bool = False) -> list[Tensor]:
    """The weights that a text token passes through.

    Never the vision tower and projector, which only pictures pass through; and Mllama skips its
    cross-attention layers where there is no picture.
    """
    skipped = {id(p) for part in vision_modules(model) for p in part.parameters()}
    if has_cross_attention(model) and not pictures:
        text = model.get_decoder()
        for index in text.cross_attention_layers:
            skipped |= {id(p) for p in text.layers[index].parameters()}
    return [p for p in model.parameters() if id(p) not in skipped]


def text_parameters(model: PreTrainedModel, pictures: bool = False) -> int:
    """N: how many parameters a text token passes through."""
    return sum(map(size, text_weights(model, pictures)))


def size(weights: Tensor) -> int:
    """Numbers in a tensor, whatever they are packed into: bitsandbytes puts two in a byte."""
    packed = getattr(weights, "quant_state", None)
    return packed.shape.numel() if packed else weights.numel()


def picture_tokens(model: PreTrainedModel) -> int:
    """How many text tokens cost as much as encoding one picture of one tile.

    Its patches times the vision tower's parameters, over N.
    """
    sees = model.config.vision_config
    patches = (sees.image_size // sees.patch_size) ** 2
    patches += has_cross_attention(model)  # Mllama adds one for the whole picture
    through = sum(size(p) for part in vision_modules(model) for p in part.parameters())
    return round(patches * through / text_parameters(model, pictures=True))


def flops(
    parameters: int, trained: int, generated: int = 0, read: int = 0, passes: float = LAMBDA
) -> dict[str, float]:
    """FLOPs of a training run so far.

    Args:
        parameters: N.
        trained: tokens through forward and backward, every epoch counted.
        generated: tokens through forward only, while sampling with a KV cache.
        read: tokens through a frozen Init, forward only and once: 2 N each in both counts.
        passes: the paper's lambda (``Scale.passes``).

    Returns:
        ``flops_paper`` 6 N trained + 2 N lambda trained (the second term only where
        something was sampled) and ``flops_cache`` 6 N trained + 2 N generated.
    """
    paper = 2 * passes * trained if generated else 0
    both = 6.0 * trained + 2.0 * read
    return {
        "flops_paper": parameters * (both + paper),
        "flops_cache": parameters * (both + 2.0 * generated),
    }
