"""Model, tokenizer and checkpoints of a scale.

``tiny`` and ``full`` are the same class, ``MllamaForConditionalGeneration``: the 11B model
from the Hub, or a model of about a million parameters made here from a config. Text tasks
send no image, and Mllama then skips its cross-attention layers. ``t4`` is a SmolVLM2; what
differs is in ``vision.look``. ``small`` is a SmolLM2, which reads text only.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    Idefics3Processor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from sftrl_lite.files import whole
from sftrl_lite.models import adapters, chats, smollm
from sftrl_lite.models.checkpoints import (
    SUMS,
    check_shards,
    check_sums,
    find,
    fingerprint,
    read_object,
    write_sums,
)
from sftrl_lite.models.precision import device, hardware, in_float32, precision
from sftrl_lite.models.tiny import KINDS, LIKE_11B, full_config, make_processor, make_tokenizer
from sftrl_lite.models.vision import IMAGE, Processor, auto_class, limit_tiles
from sftrl_lite.processes import first_line
from sftrl_lite.scales import ADAPTERS, VISION


def load(
    base: str | Path,
    adapter: str = "",
    *,
    vision: str = "trained",
    tiles: int = 0,
    dummy: bool = False,
    seed: int = 0,
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
        seed: draws the first weights of a new adapter.

    Raises:
        FileNotFoundError, ValueError: a folder is missing, damaged or half downloaded, or its
            adapter was made for another base.
        RuntimeError: a Hub model without a GPU, a network or the right to download it; QLoRA
            without bitsandbytes.
    """
    for value, choices in ((adapter, ("", *ADAPTERS)), (vision, VISION)):
        if value not in choices:
            raise ValueError(f"{value!r}: choose {', '.join(filter(None, choices))}")
    model, processor = _read(str(base), adapter, tiles, dummy)
    chats.check_template(processor)
    if not dummy:
        check_finite(model)
    if adapter in ("lora", "qlora"):
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            adapters.add(model, vision=vision == "trained")
        return model, processor
    if adapter == "none" and adapters.adapter_names(model):
        adapters.merge(model)
        model.requires_grad_(True)
    if vision == "frozen":
        adapters.freeze_vision(model)
    if adapter == "none":
        in_float32(model)
    return model, processor


def _read(
    base: str, adapter: str, tiles: int, dummy: bool, worn: tuple[Path, ...] = ()
) -> tuple[PreTrainedModel, Processor]:
    """``load`` as saved; ``worn`` are the adapters that come after ``base``."""
    smollm.obtain(base)
    folder = find(base)
    # a download of 21 GB shows how far it is; what lies here is read in a moment
    (logging.disable_progress_bar if folder else logging.enable_progress_bar)()
    if folder is None and base.startswith(("data/", "runs/", ".", "/")):
        raise FileNotFoundError(f"{base}: no checkpoint here; is this the whole repository?")
    if folder and (folder / SUMS).is_file():
        check_sums(folder)
    if folder and (folder / adapters.FILE).is_file():
        if folder.resolve() in worn:
            raise ValueError(f"{folder} is an adapter that has itself for a base")
        return _read_adapter(base, folder, adapter, tiles, (*worn, folder.resolve()))
    if folder and not dummy:
        check_shards(folder)
    if not folder and not hardware().gpu:
        raise RuntimeError(f"{base} needs a CUDA GPU and none was found; try --scale tiny")
    try:
        made_up = dummy and not folder and base.startswith(LIKE_11B)
        place = folder or base
        with readable(place, "config.json"):
            config = full_config() if made_up else _config(place)
        if config.model_type not in KINDS:
            wrong = f"{base} is a {config.model_type} model"
            raise ValueError(f"{wrong}; these can be trained: {', '.join(KINDS)}")
        if adapter == "qlora":
            adapters.nf4(precision()[0])  # raises where it is not installed
        with readable(place, "config.json, generation_config.json or a weight file"):
            model = (_dummy if dummy else _weights)(place, config, adapter == "qlora")
        with readable(place, PROCESSOR):
            processor = _made_up_processor(model) if made_up else _processor(place, model)
    except HUB as error:
        raise RuntimeError(_why(base, error)) from error
    model.name_or_path = base
    if tiles and not isinstance(processor, PreTrainedTokenizerBase):
        limit_tiles(model, processor, tiles)
    return model, processor


HUB = (OSError, HfHubHTTPError, SafetensorError)  # what is raised where a Hub does not give
WEIGHTS = ".safetensors"
PROCESSOR = "a file of the tokenizer or the image processor"


@contextmanager
def readable(base: str | Path, files: str) -> Iterator[None]:
    """What libraries say to a damaged model, in one line that names it.

    Raises:
        ValueError: something in ``files`` cannot be read.
        OSError, HfHubHTTPError, SafetensorError: a Hub that does not give, as it says so.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each part of a library has its own; tokenizers' is bare
        if not Path(base).is_dir() and isinstance(error, HUB):
            raise
        said = first_line(error)[:200]
        if "trust_remote_code" in str(error):
            said = "it names code of its own, which is never run"
        raise ValueError(f"{base}: {files} is damaged: {said}") from error


def check_finite(model: PreTrainedModel) -> None:
    """Refuse a model that is no function of numbers any more; what it computes: ``check_health``.

    Raises:
        ValueError: a weight that is infinite or not a number; names it.
    """
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise ValueError(f"{model.name_or_path}: {name} has weights that are no finite numbers")


def _config(base: str | Path) -> PreTrainedConfig:
    return AutoConfig.from_pretrained(base, trust_remote_code=False)


def _read_adapter(
    base: str, folder: Path, adapter: str, tiles: int, worn: tuple[Path, ...]
) -> tuple[PreTrainedModel, Processor]:
    """The base that an adapter names, wearing it."""
    made_for = adapters.adapter_info(folder)
    kept = made_for["adapter"] == "qlora" and adapter != "none"  # else it is merged, in full
    with readable(folder, PROCESSOR):
        processor = _processor(folder)
    image_processor = getattr(processor, "image_processor", None)
    tiles = tiles or getattr(image_processor, "max_image_tiles", 0)
    model, _ = _read(made_for["base"], "qlora" if kept else adapter, tiles, False, worn)
    place = find(made_for["base"])
    there = fingerprint(place, WEIGHTS) if place else ""
    if there != made_for["weights"]:
        raise ValueError(
            f"{folder} is an adapter of {made_for['base']} {made_for['weights']}; "
            f"what is there now is {there or 'something else'}"
        )
    adapters.load_adapter(model, folder)
    model.name_or_path = base
    return model, processor


def _weights(base: str | Path, config: PreTrainedConfig, nf4: bool) -> PreTrainedModel:
    whole = config.dtype in (None, torch.float32)  # all digits were kept, so we keep them
    compute = precision()[0]
    loaded: Any = auto_class(config).from_pretrained(
        base,
        output_loading_info=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32 if whole else compute,
        device_map={"": device()},
        quantization_config=adapters.nf4(compute) if nf4 else None,
    )
    model, found = loaded
    if absent := sorted(found["missing_keys"]):  # they would be random numbers
        raise ValueError(f"there is no {absent[0]} in it")
    for layer in model.modules():  # a CPU may repack four-bit weights, to slightly others
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model


def _dummy(base: str | Path, config: PreTrainedConfig, nf4: bool) -> PreTrainedModel:
    """Random weights of the right size, on the device."""
    with device():
        model = auto_class(config).from_config(config, dtype=precision()[0])
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
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
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
    return f"{base} could not be downloaded: {first_line(error)} (no network? HF_HUB_OFFLINE set?)"


def _processor(base: str | Path, model: PreTrainedModel | None = None) -> Processor:
    """What reads text, and pictures where the model has a tower for them.

    SmolVLM's own processor also reads videos and wants libraries for that. Idefics3's is the
    same without.
    """
    if Path(base).is_dir() and not any(Path(base).glob("*processor_c*")):
        return AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    if model is None or model.config.model_type == "mllama":
        processor = AutoProcessor.from_pretrained(base, trust_remote_code=False)
        words = processor.tokenizer
        words.chat_template = words.chat_template or processor.chat_template
        return processor
    words, image_processor = (
        AutoTokenizer.from_pretrained(base, trust_remote_code=False),
        AutoImageProcessor.from_pretrained(base, trust_remote_code=False),
    )
    states, template = model.model.image_seq_len, words.chat_template
    processor = Idefics3Processor(
        image_processor, words, image_seq_len=states, chat_template=template
    )
    limit_tiles(model, processor, 1)
    return processor


def save(model: PreTrainedModel, processor: Processor, folder: Path) -> None:
    """Save model (or its adapter alone), processor and sums.

    The folder appears whole or not at all. Where any weight is in float32 the configuration says
    so, and all are read in it: transformers writes down the format of the first weight, which may
    be a frozen tower's.
    """
    with whole(folder) as draft:
        if adapters.adapter_names(model):
            base = find(str(model.name_or_path))
            adapters.save(model, draft, fingerprint(base, WEIGHTS) if base else "")
        else:
            model.save_pretrained(draft)
            kinds, config = {weight.dtype for weight in model.parameters()}, draft / "config.json"
            if model.dtype != torch.float32 and torch.float32 in kinds:
                told = read_object(config) | {"dtype": "float32"}
                config.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", "utf-8")
        processor.save_pretrained(draft)
        write_sums(draft)
