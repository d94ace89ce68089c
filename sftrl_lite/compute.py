"""Training compute, in the paper's accounting and with a KV cache.

The paper (appendix C.3) counts 6 N floating-point operations for each token trained on
and 2 N for each token passed through the model while sampling, with N parameters. It
charges sampling as if every new token read its whole prefix again (no cache): for
GeneralPoints that is lambda = 6 passes for each token trained on.
"""

from __future__ import annotations

from transformers import PreTrainedModel

LAMBDA = 6.0  # the paper's ratio of sampling passes to trained tokens on GeneralPoints


def text_parameters(model: PreTrainedModel) -> int:
    """N for a task in text: parameters that a text token passes through.

    Mllama skips its vision tower, projector and cross-attention layers without image.
    """
    skipped = {id(p) for p in model.model.vision_model.parameters()}
    skipped |= {id(p) for p in model.model.multi_modal_projector.parameters()}
    text = model.model.language_model
    for index in text.cross_attention_layers:
        skipped |= {id(p) for p in text.layers[index].parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in skipped)


def flops(parameters: int, trained: int, generated: int = 0) -> dict[str, float]:
    """FLOPs of a training run so far.

    Args:
        parameters: N.
        trained: tokens through forward and backward, every epoch counted.
        generated: tokens through forward only, while sampling with a KV cache.

    Returns:
        ``flops_paper`` 6 N trained + 2 N lambda trained (the second term only where
        something was sampled) and ``flops_cache`` 6 N trained + 2 N generated.
    """
    paper = 2 * LAMBDA * trained if generated else 0
    return {
        "flops_paper": parameters * (6.0 * trained + paper),
        "flops_cache": parameters * (6.0 * trained + 2.0 * generated),
    }
