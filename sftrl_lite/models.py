"""Model, tokenizer and checkpoints of a scale.

Every scale is the same class, ``MllamaForConditionalGeneration``: the 11B model from
the Hub, or a model of under a million parameters made here from a config. Text tasks
send no image, and Mllama then skips its cross-attention layers.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    AutoProcessor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

BOS, EOT, PAD, UNK = (
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
    "<|unk|>",
)
USER = "<|start_header_id|>user<|end_header_id|>\n\n"
ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"

# Llama's chat form, plus the markers that let trl find the assistant's own tokens.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|eot_id|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|eot_id|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def make_tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    """A tiny tokenizer that knows ``pieces`` (whole sentences or single signs).

    Longer pieces win, so a prompt's fixed sentences cost one token each while the
    TEXT stays exactly what the 11B model reads. Decoding gives the text back letter
    by letter; a character that no piece covers becomes the unknown token.

    Args:
        pieces: texts, longest match first; duplicates are ignored.
    """
    special = [PAD, BOS, EOT, UNK, USER, ASSISTANT]
    vocab = list(dict.fromkeys(special + sorted(pieces, key=len, reverse=True)))
    longest_first = sorted(vocab, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first)) + "|[\\s\\S]"
    core = Tokenizer(WordLevel({piece: i for i, piece in enumerate(vocab)}, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.Sequence([])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        unk_token=UNK,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def tiny_config(vocab_size: int) -> MllamaConfig:
    """Mllama at 0.8 M parameters: width 128, 4 self-attention layers, 1 cross-attention.

    Four query heads share one key/value head, the 4:1 ratio of the 11B model.
    """
    text = dict(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=1,
        cross_attention_layers=[2],
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        initializer_range=0.05,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    vision = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_global_layers=1,
        attention_heads=2,
        image_size=56,
        patch_size=14,
        max_num_tiles=1,
        supported_aspect_ratios=[[1, 1]],
        intermediate_layers_indices=[0],
        vision_output_dim=64,
    )
    return MllamaConfig(
        text_config=text, vision_config=vision, image_token_index=vocab_size, pad_token_id=0
    )
