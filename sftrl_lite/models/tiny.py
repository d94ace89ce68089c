"""Models in numbers: the tiny class with its tokenizer, and the published sizes."""

from __future__ import annotations

import re

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    MllamaConfig,
    MllamaProcessor,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
)
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

from sftrl_lite.models.vision import IMAGE

BOS, EOT, PAD, UNK = (
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
    "<|unk|>",
)
USER = "<|start_header_id|>user<|end_header_id|>\n\n"
ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"

# Pictures become states that text attends to (mllama), tokens among its own (smolvlm, idefics3),
# or nothing (llama).
LIKE_11B = ("meta-llama/Llama-3.2-11B-Vision", "tianzhechu/")  # of one shape
LIKE_500M = ("HuggingFaceTB/SmolVLM2-500M", "HuggingFaceTB/SmolVLM-500M")  # of another
KINDS = ("mllama", "smolvlm", "idefics3", "llama")

# Llama's chat form, plus the markers that let trl find the assistant's own tokens.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|eot_id|>' }}"
    "{% endgeneration %}{% elif m['content'] is string %}{{ m['content'] + '<|eot_id|>' }}"
    "{% else %}{% for part in m['content'] %}"
    "{{ '<|image|>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{{ '<|eot_id|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def make_tokenizer(pieces: list[str], pictures: bool = False) -> PreTrainedTokenizerFast:
    """A tiny tokenizer that knows ``pieces`` (whole sentences or single signs).

    Longer pieces win, so a prompt's fixed sentences cost one token each while the
    TEXT stays exactly what the 11B model reads. Decoding gives the text back letter
    by letter; a character that no piece covers becomes the unknown token.

    Args:
        pieces: texts, longest match first; duplicates are ignored.
        pictures: add the image token, after all others as Mllama requires: text can ask
            to look, but the model can never say it.
    """
    special = [PAD, BOS, EOT, UNK, USER, ASSISTANT]
    vocab = list(dict.fromkeys(special + sorted(pieces, key=len, reverse=True)))
    vocab += [IMAGE] if pictures else []
    longest_first = sorted(vocab, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first)) + "|[\\s\\S]"
    core = Tokenizer(WordLevel({piece: i for i, piece in enumerate(vocab)}, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.Sequence([])
    return PreTrainedTokenizerFast(
        additional_special_tokens=[IMAGE] if pictures else [],
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        unk_token=UNK,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def make_processor(
    tokenizer: PreTrainedTokenizerBase, size: int, tiles: int = 1
) -> MllamaProcessor:
    """The tokenizer with Mllama's own image processor.

    Args:
        size: width and height of a tile, in pixels; a picture is brought to that.
        tiles: most tiles of a picture.
    """
    shape = {"height": size, "width": size}
    image_processor = MllamaImageProcessorPil(size=shape, max_image_tiles=tiles)
    return MllamaProcessor(image_processor, tokenizer, chat_template=tokenizer.chat_template)


def tiny_config(vocab_size: int, picture: int = 0) -> MllamaConfig:
    """Mllama at 0.95 M parameters: width 128, 4 self-attention layers, 1 cross-attention.

    Four query heads share one key/value head, the 4:1 ratio of the 11B model.

    Args:
        vocab_size: tokens, the image token not counted.
        picture: width and height of a picture in pixels, a multiple of 20; 0 for a model of
            text tasks, whose vision tower is a stub that nothing ever passes through.
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
    if picture:
        vision |= dict(
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            attention_heads=4,
            image_size=picture,
            patch_size=20,
            intermediate_layers_indices=[1],
            vision_output_dim=128,
        )
    return MllamaConfig(  # type: ignore[call-arg]  # pad_token_id is one of its other options
        text_config=text, vision_config=vision, image_token_index=vocab_size, pad_token_id=0
    )


def full_config() -> MllamaConfig:
    """Llama-3.2-11B-Vision by its published numbers: 10.67 B parameters.

    Source: config.json of meta-llama/Llama-3.2-11B-Vision-Instruct; what is not named here is
    the default of transformers' ``MllamaConfig``.
    """
    stretch = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    rope = dict(rope_type="llama3", rope_theta=500_000.0, original_max_position_embeddings=8192)
    text = dict(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=40,
        num_attention_heads=32,
        num_key_value_heads=8,
        cross_attention_layers=[3, 8, 13, 18, 23, 28, 33, 38],
        max_position_embeddings=131_072,
        rope_parameters=rope | stretch,
    )
    vision = dict(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_global_layers=8,
        attention_heads=16,
        image_size=560,
        patch_size=14,
        max_num_tiles=4,
        vision_output_dim=7680,
        intermediate_layers_indices=[3, 7, 15, 23, 30],
    )
    config = MllamaConfig(text_config=text, vision_config=vision, image_token_index=128_256)
    config.dtype = torch.bfloat16
    return config


def small_config() -> SmolVLMConfig:
    """SmolVLM2-500M by its published numbers: 0.51 B parameters, stored in float32.

    Source: config.json of HuggingFaceTB/SmolVLM2-500M-Video-Instruct (text: SmolLM2-360M,
    vision: SigLIP-B/16 at 512 pixels; the head is a matrix of its own).
    """
    text = dict(
        model_type="llama",
        vocab_size=49_280,
        hidden_size=960,
        intermediate_size=2560,
        num_hidden_layers=32,
        num_attention_heads=15,
        num_key_value_heads=5,
        max_position_embeddings=8192,
        rope_parameters=dict(rope_type="default", rope_theta=100_000.0),
    )
    vision = dict(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=512,
        patch_size=16,
    )
    config = SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=4, image_token_id=49_190
    )
    config.dtype = torch.float32
    return config
