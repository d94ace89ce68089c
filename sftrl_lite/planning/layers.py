"""Models of few layers, and what a deep model would take, extrapolated from them."""

from __future__ import annotations

import copy
from typing import Any

from transformers import PreTrainedConfig

from sftrl_lite.models.vision import tower_of


def depths(config: PreTrainedConfig) -> dict[str, int]:
    """How many layers of each kind a model has."""
    text: Any = config.get_text_config()
    tower = tower_of(config)
    across = len(getattr(text, "cross_attention_layers", ()))
    found = {"text": text.num_hidden_layers - across}
    if tower:
        found["tower"] = tower.num_hidden_layers
    if across:
        found |= {"across": across, "overview": tower.num_global_layers}
    return found


def cut(config: PreTrainedConfig, layers: dict[str, int]) -> PreTrainedConfig:
    """The same model with other numbers of layers.

    The first layer stays one of text: cross-attention layers come right after it.
    """
    config = copy.deepcopy(config)
    text: Any = config.get_text_config()
    tower = tower_of(config)
    text.num_hidden_layers = layers["text"] + layers.get("across", 0)
    if tower:
        tower.num_hidden_layers, deep = layers["tower"], tower.num_hidden_layers
    if "across" in layers:
        text.cross_attention_layers = list(range(1, 1 + layers["across"]))
        tower.num_global_layers = layers["overview"]
        if layers["tower"] < deep:  # those that are handed on stay different ones
            handed = range(len(tower.intermediate_layers_indices))
            tower.intermediate_layers_indices = [min(i, layers["tower"] - 1) for i in handed]
    if hasattr(text, "layer_types"):
        text.layer_types = None
    return config


# Mllama's tower hands on the states of five of its layers beside the last; and with few pieces of
# logits another moment is the highest than with many.
FEW = {"tower": 6, "pieces": 4}


def extrapolated(measure: Any, layers: dict[str, float]) -> dict[str, float]:
    """What ``measure`` would find for so many layers, from a shallow model and others with
    one layer more of a kind.

    Every number is base + sum over kinds of layers * slope. That is exact for counts, and for
    bytes at a moment that is the same in a shallow and in a deep model.

    Args:
        measure: called with the layers of each kind, and with the kind that differs from the
            first call ("" in that one); returns numbers by name. Names that it leaves out do not
            depend on that kind.
    """
    few = {kind: min(number, FEW.get(kind, 2)) for kind, number in layers.items()}
    base = measure(few, "")
    found = dict(base)
    for kind, number in layers.items():
        if number > few[kind]:
            for name, value in measure(few | {kind: few[kind] + 1}, kind).items():
                found[name] += (number - few[kind]) * (value - base[name])
    return found
