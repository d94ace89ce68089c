"""Model, tokenizer and checkpoints of a scale.

``tiny`` and ``full`` are the same class, ``MllamaForConditionalGeneration``: the 11B model
from the Hub, or a model of about a million parameters made here from a config. Text tasks
send no image, and Mllama then skips its cross-attention layers. ``t4`` is a SmolVLM2; what
differs is in ``vision.look``.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from pathlib import Path

import torch
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    Idefics3Processor,
    MllamaConfig,
    MllamaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
)
from transformers.utils import logging

from sftrl_lite import adapters
from sftrl_lite.files import whole
from sftrl_lite.precision import device, hardware, in_float32, precision
from sftrl_lite.scales import ROOT
from sftrl_lite.vision import IMAGE, limit_tiles

try:
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
except ImportError:  # its name in transformers 5.0, which Kaggle has
    from transformers import MllamaImageProcessor as MllamaImageProcessorPil

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

# Pictures become states that text attends to (mllama), or tokens among its own (the others).
LIKE_11B = ("meta-llama/Llama-3.2-11B-Vision", "tianzhechu/")  # of one shape
LIKE_500M = ("HuggingFaceTB/SmolVLM2-500M", "HuggingFaceTB/SmolVLM-500M")  # of another
KINDS = ("mllama", "smolvlm", "idefics3")
# reads pictures and text, or text
Processor = MllamaProcessor | Idefics3Processor | PreTrainedTokenizerBase

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


def make_processor(
    tokenizer: PreTrainedTokenizerBase, size: int, tiles: int = 1
) -> MllamaProcessor:
    """The tokenizer with Mllama's own image processor.

    Args:
        size: width and height of a tile, in pixels; a picture is brought to that.
        tiles: most tiles of a picture.
    """
    shape = {"height": size, "width": size}
    eyes = MllamaImageProcessorPil(size=shape, max_image_tiles=tiles)
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


# --- checkpoints -----------------------------------------------------------------------

SUMS = "SHA256SUMS"


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


def fingerprint(folder: Path) -> str:
    """Eight characters that change with any file of a shipped folder; "" without its sums."""
    sums = folder / SUMS
    return hashlib.sha256(sums.read_bytes()).hexdigest()[:8] if sums.is_file() else ""


def check_shards(folder: Path) -> None:
    """Look at a downloaded folder before it is loaded: are all weights there, and whole?

    Raises:
        FileNotFoundError: no configuration, no weights, or one of several weight files.
        ValueError: a weight file is cut off.
    """
    index, names = folder / "model.safetensors.index.json", ["model.safetensors"]
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no checkpoint here (config.json is missing)")
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; the download is not complete")
        try:
            with safe_open(folder / name, "pt"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{folder / name} is cut off or damaged ({error}); delete it, download it again"
            ) from None


def save(model: PreTrainedModel, processor: Processor, folder: Path) -> None:
    """Save model (or its adapter alone), processor and sums.

    The folder appears whole or not at all.
    """
    with whole(folder) as draft:
        if adapters.worn(model):
            base = find(model.name_or_path)
            adapters.save(model, draft, fingerprint(base) if base else "")
        else:
            model.save_pretrained(draft)
        processor.save_pretrained(draft)
        write_sums(draft)


def find(base: str | Path) -> Path | None:
    """The folder that ``base`` names, seen from here or from the repository; None for an id."""
    return next((folder for folder in (Path(base), ROOT / base) if folder.is_dir()), None)


def load(
    base: str | Path,
    adapter: str = "",
    *,
    vision: str = "trained",
    tiles: int = 0,
    dummy: bool = False,
) -> tuple[PreTrainedModel, Processor]:
    """Model and processor from a folder (checked against its sums) or from the Hub.

    A model of text tasks has a tokenizer for its processor. A folder that holds an adapter
    loads the base that it names first.

    Args:
        base: a folder, absolute or relative to here or to the repository, or a model id.
        adapter: what is to be trained: ``lora`` or ``qlora``, a new adapter on the frozen model;
            ``none``, the weights themselves; empty, as saved.
        vision: ``frozen`` leaves the vision tower out of the training.
        tiles: most tiles of a picture; 0: as many as the model knows.
        dummy: random weights, for memory and speed without a download.

    Raises:
        FileNotFoundError, ValueError: a folder is missing, damaged or half downloaded, or its
            adapter was made for another base.
        RuntimeError: a Hub model without a GPU, a network or the right to download it; QLoRA
            without bitsandbytes.
    """
    for value, choices in ((adapter, ("", *adapters.ADAPTERS)), (vision, adapters.VISION)):
        if value not in choices:
            raise ValueError(f"{value!r}: choose {', '.join(filter(None, choices))}")
    model, processor = _read(str(base), adapter, tiles, dummy)
    if adapter in ("lora", "qlora"):
        adapters.add(model, vision=vision == "trained")
        return model, processor
    if adapter == "none" and adapters.worn(model):
        adapters.merge(model)
        model.requires_grad_(True)
    if vision == "frozen":
        adapters.freeze_eyes(model)
    if adapter == "none":
        in_float32(model)
    return model, processor


def _read(base: str, adapter: str, tiles: int, dummy: bool) -> tuple[PreTrainedModel, Processor]:
    folder = find(base)
    # a download of 21 GB shows how far it is; what lies here is read in a moment
    (logging.disable_progress_bar if folder else logging.enable_progress_bar)()
    if folder is None and base.startswith(("data/", "runs/", ".", "/")):
        raise FileNotFoundError(f"{base}: no checkpoint here; is this the whole repository?")
    if folder and (folder / SUMS).is_file():
        check_sums(folder)
    if folder and (folder / adapters.FILE).is_file():
        return _read_adapter(base, folder, adapter, tiles)
    if folder and not dummy:
        check_shards(folder)
    if not folder and not hardware().gpu:
        raise RuntimeError(f"{base} needs a CUDA GPU and none was found; try --scale tiny")
    try:
        made_up = dummy and not folder and base.startswith(LIKE_11B)
        config = full_config() if made_up else AutoConfig.from_pretrained(folder or base)
        if config.model_type not in KINDS:
            wrong = f"{base} is a {config.model_type} model"
            raise ValueError(f"{wrong}; these can be trained: {', '.join(KINDS)}")
        model = (_dummy if dummy else _weights)(folder or base, config, adapter == "qlora")
        processor = _made_up_processor(model) if made_up else _processor(folder or base, model)
    except (OSError, HfHubHTTPError, SafetensorError) as error:
        raise RuntimeError(_why(base, error)) from error
    model.name_or_path = base
    if tiles and not isinstance(processor, PreTrainedTokenizerBase):
        limit_tiles(model, processor, tiles)
    return model, processor


def _read_adapter(base: str, folder: Path, adapter: str, tiles: int):
    """The base that an adapter names, wearing it."""
    made_for = adapters.about(folder)
    kept = made_for["adapter"] == "qlora" and adapter != "none"  # else it is merged, in full
    processor = _processor(folder)
    eyes = getattr(processor, "image_processor", None)
    tiles = tiles or getattr(eyes, "max_image_tiles", 0)
    model, _ = _read(made_for["base"], "qlora" if kept else adapter, tiles, dummy=False)
    place = find(made_for["base"])
    there = fingerprint(place) if place else ""
    if there != made_for["weights"]:
        raise ValueError(
            f"{folder} is an adapter of {made_for['base']} {made_for['weights']}; "
            f"what is there now is {there or 'something else'}"
        )
    adapters.put_on(model, folder)
    model.name_or_path = base
    return model, processor


def _weights(base: str | Path, config: PreTrainedConfig, nf4: bool) -> PreTrainedModel:
    whole = config.dtype in (None, torch.float32)  # somebody kept all digits: so do we
    compute = precision()[0]
    model = AutoModelForImageTextToText.from_pretrained(
        base,
        dtype=torch.float32 if whole else compute,
        device_map={"": device()},
        quantization_config=adapters.nf4(compute) if nf4 else None,
    )
    for layer in model.modules():  # a CPU may repack four-bit weights, to slightly others
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model


def _dummy(base: str | Path, config: PreTrainedConfig, nf4: bool) -> PreTrainedModel:
    """Random weights of the right size, on the device."""
    with device():
        model = AutoModelForImageTextToText.from_config(config, dtype=precision()[0])
    if nf4:
        adapters.to_nf4(model, precision()[0])
    return model


def _made_up_processor(model: PreTrainedModel) -> Processor:
    """A token a letter, and tiles of the model's size, for weights that mean nothing."""
    tokenizer = make_tokenizer(list(string.printable), pictures=True)
    model.config.image_token_index = tokenizer.convert_tokens_to_ids(IMAGE)
    sees = model.config.vision_config
    return make_processor(tokenizer, sees.image_size, sees.max_num_tiles)


def _why(base: str, error: BaseException) -> str:
    """One line on what went wrong with a model of the Hub, and what to do."""
    chain = [error]
    while error := error.__cause__ or error.__context__:
        chain.append(error)
    told = next((e for e in chain if isinstance(e, HfHubHTTPError)), None)
    if isinstance(told, GatedRepoError):
        page = f"https://huggingface.co/{base}"
        return f"{base} is gated: accept its licence at {page}, then run `hf auth login`"
    if isinstance(told, RepositoryNotFoundError):
        return f"{base} is not on the Hub, or is private: check the name, or run `hf auth login`"
    if told is not None and told.response is not None and told.response.status_code == 401:
        return f"{base}: the Hub refuses your token; run `hf auth login` with a valid one"
    if any(isinstance(e, SafetensorError) for e in chain):
        return f"{base}: a weight file is cut off or damaged; `hf cache rm` it and start again"
    reason = str(chain[0]).strip().splitlines()[0]
    return f"{base} could not be downloaded: {reason} (no network? HF_HUB_OFFLINE set?)"


def _processor(base: str | Path, model: PreTrainedModel | None = None) -> Processor:
    """What reads text, and pictures where the model has eyes for them.

    SmolVLM's own processor also reads videos and wants libraries for that. Idefics3's is the
    same without.
    """
    if Path(base).is_dir() and not any(Path(base).glob("*processor_c*")):
        return AutoTokenizer.from_pretrained(base)
    if model is None or model.config.model_type == "mllama":
        processor = AutoProcessor.from_pretrained(base)
        words = processor.tokenizer
        words.chat_template = words.chat_template or processor.chat_template
        return processor
    words, eyes = AutoTokenizer.from_pretrained(base), AutoImageProcessor.from_pretrained(base)
    states, template = model.model.image_seq_len, words.chat_template
    processor = Idefics3Processor(eyes, words, image_seq_len=states, chat_template=template)
    limit_tiles(model, processor, 1)
    return processor
