"""Sampling: temperature, top-p, and one token for each row."""

from __future__ import annotations

import torch

from sftrl_lite.training import distributed


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
    """One token per row from logits (rows, vocabulary); returns tokens, log-probabilities.

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
