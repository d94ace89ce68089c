"""Model, tokenizer and checkpoints of a scale.

Every scale is the same class, ``MllamaForConditionalGeneration``: the 11B model from
the Hub, or a model of about a million parameters made here from a config. Text tasks
send no image, and Mllama then skips its cross-attention layers.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from sftrl_lite.vision import IMAGE

try:
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
except ImportError:  # its name in transformers 5.0, which Kaggle has
    from transformers import MllamaImageProcessor as MllamaImageProcessorPil

BOS, EOT, PAD, UNK = (
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
    "<|unk|>",
)
USER = "<|start_header_id|>user<|end_header_id|>\n\n"
ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"

Processor = MllamaProcessor | PreTrainedTokenizerBase  # reads pictures and text, or text

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
        pictures: add the image token, behind all others as Mllama wants it: text can ask
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


def make_processor(tokenizer: PreTrainedTokenizerBase, size: int) -> MllamaProcessor:
    """The tokenizer with Mllama's own image processor, for pictures of one tile.

    Args:
        size: width and height, in pixels, that a picture is brought to.
    """
    shape = {"height": size, "width": size}
    eyes = MllamaImageProcessorPil(size=shape, max_image_tiles=1)
    return MllamaProcessor(eyes, tokenizer, chat_template=tokenizer.chat_template)


def tiny_config(vocab_size: int, picture: int = 0) -> MllamaConfig:
    """Mllama at 0.8 M parameters: width 128, 4 self-attention layers, 1 cross-attention.

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
    return MllamaConfig(
        text_config=text, vision_config=vision, image_token_index=vocab_size, pad_token_id=0
    )


# --- checkpoints -----------------------------------------------------------------------

SUMS = "SHA256SUMS"
ROOT = Path(__file__).resolve().parent.parent


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every file in ``folder`` beside them, for ``check_sums``."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in (SUMS, "README.md"))
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files]
    (folder / SUMS).write_text("".join(lines))


def check_sums(folder: Path) -> None:
    """Compare a shipped folder with its SHA256SUMS.

    Raises:
        FileNotFoundError: the folder, its sums or a listed file is missing.
        ValueError: a file is not the one that was shipped.
    """
    if not (folder / SUMS).is_file():
        raise FileNotFoundError(f"{folder}: no checkpoint here ({SUMS} is missing)")
    for line in (folder / SUMS).read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; `git checkout {folder.name}`")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(
                f"{folder / name} is damaged or changed (SHA-256 differs); "
                f"restore it with git checkout"
            )


def save(model: PreTrainedModel, processor: Processor, folder: Path) -> None:
    """Save model, processor and sums; the folder appears whole or not at all."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    model.save_pretrained(draft)
    processor.save_pretrained(draft)
    write_sums(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def load(base: str | Path) -> tuple[PreTrainedModel, Processor]:
    """Model and processor from a folder (checked against its sums) or from the Hub.

    A model of text tasks has a tokenizer for its processor.

    Args:
        base: a folder, absolute or relative to here or to the repository, or a model id.

    Raises:
        FileNotFoundError, ValueError: a shipped folder is missing or damaged.
        RuntimeError: a Hub model without a GPU, a network or the right to download it.
    """
    for folder in (Path(base), ROOT / base):
        if folder.is_dir():
            check_sums(folder)
            return _from_pretrained(folder)
    if str(base).startswith(("data/", "runs/", ".", "/")):
        raise FileNotFoundError(f"{base}: no checkpoint here; is this the whole repository?")
    if not torch.cuda.is_available():
        raise RuntimeError(f"{base} needs a CUDA GPU and none was found; try --scale tiny")
    try:
        kind = AutoConfig.from_pretrained(base).model_type
        if kind != "mllama":
            raise RuntimeError(f"{base} is a {kind} model; this edition trains Mllama models only")
        return _from_pretrained(base)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeError(
            f"{base} could not be downloaded: {reason} "
            f"(no network, or a gated model: accept its licence and run `hf auth login`)"
        ) from error


def _from_pretrained(base: str | Path) -> tuple[PreTrainedModel, Processor]:
    logging.disable_progress_bar()
    dtype, _ = precision()
    model = MllamaForConditionalGeneration.from_pretrained(base, dtype=dtype)
    blind = (Path(base) / "tokenizer.json").is_file() and not any(Path(base).glob("*processor_c*"))
    return model.to(device()), (AutoTokenizer if blind else AutoProcessor).from_pretrained(base)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision() -> tuple[torch.dtype, str]:
    """Number format and the reason for it."""
    if not torch.cuda.is_available():
        return torch.float32, "float32: a CPU is fastest and exact enough in it"
    if torch.cuda.get_device_capability() >= (8, 0):
        return torch.bfloat16, "bfloat16: this GPU computes in it natively"
    return torch.float32, "float32: this GPU has no native bfloat16"
