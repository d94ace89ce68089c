"""An engine that only generates, for tasks in text: ``--engine vllm``.

vLLM serves no Mllama, but a text never looks through the cross-attention layers: without them the
11B model is a Llama of 8B, which every engine serves. ``text_weights`` gives the weights
of that Llama, ``open_engine`` puts them into vLLM, and ``rollouts.rollout`` asks it for each round
of answers. The keys and values of the turns before stay in the engine's own prefix cache.

What an engine samples is the policy up to the rounding of its weights to 16 bits. RL makes up for
that: it takes the log-probabilities of the old policy from a pass of its own (``rl.look_back``).

Names of vLLM's functions are those of its versions 0.22 to 0.31 (docs.vllm.ai, and trl 1.16, which
uses the same). No test here runs vLLM.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, PreTrainedModel

from sftrl_lite.models import chats
from sftrl_lite.models.adapters import adapted
from sftrl_lite.models.precision import hardware
from sftrl_lite.models.vision import Processor
from sftrl_lite.training import distributed, rollout_copy
from sftrl_lite.training.static_decoding import across_layers

ENGINES = ("vllm",)
PLAYING, TRAINING = 0.9, 0.5  # of the memory that is free: an engine's share, alone or beside RL


class Engine(Protocol):
    """What ``rollout`` and ``rl_step`` ask of an engine."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """An answer to each prompt, with the token that ends it, and its log-probabilities.

        Args:
            temperature: 0 for greedy.
            seed: rows that are alike get different answers all the same.
        """

    def load(self, model: PreTrainedModel) -> None:
        """Go on with the weights that ``model`` has now."""


# --- a Llama out of a model that sees ----------------------------------------------------


def text_config(model: PreTrainedModel) -> LlamaConfig:
    """The ``LlamaConfig`` of a model's text part, without layers that look at pictures."""
    text = model.config.get_text_config()
    names: tuple[str, ...] = ("hidden_size", "intermediate_size", "num_attention_heads")
    names += ("num_key_value_heads", "hidden_act", "rms_norm_eps", "rope_parameters")
    names += ("max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
    return LlamaConfig(
        **{name: getattr(text, name) for name in names},
        num_hidden_layers=text.num_hidden_layers - len(across_layers(model)),
        head_dim=model.get_decoder().layers[0].self_attn.head_dim,
        vocab_size=model.lm_head.weight.shape[0],
        tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"],
    )


@torch.no_grad()
def text_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """The weights of the ``LlamaForCausalLM`` that gives a model's logits in text, one by one.

    Cross-attention layers are left aside and the others renumbered. Adapters are merged, in
    float32. Rows of the embedding beyond the vocabulary, as of Mllama's image token, are cut
    off: a text does not hold them, and the head cannot say them.

    Raises:
        ValueError: weights of four bits, which have no room for what an adapter learned.
    """
    if getattr(model, "is_loaded_in_4bit", False):
        raise ValueError("an engine needs weights of 16 bits, not of four; leave --adapter qlora")
    across, words = set(across_layers(model)), model.lm_head.weight.shape[0]
    decoder = model.get_decoder()
    kept = [i for i in range(len(decoder.layers)) if i not in across]
    number = {str(i): new for new, i in enumerate(kept)}
    adapters = adapted(decoder)
    for name, weight in decoder.named_parameters():
        if ".lora_" in name:
            continue
        parent, _, last = name.rpartition(".")
        if last == "weight" and (adapter := adapters.get(parent.removesuffix(".base_layer"))):
            deltas = [adapter.get_delta_weight(worn) for worn in adapter.active_adapters]
            weight = sum(deltas, weight.float())
        parts = name.replace(".base_layer.", ".").split(".")
        if parts[0] == "layers":
            if parts[1] not in number:
                continue
            parts[1] = str(number[parts[1]])
        weight = weight[:words] if parts[0] == "embed_tokens" else weight
        yield ".".join(["model", *parts]), weight.detach()
    yield "lm_head.weight", model.lm_head.weight.detach()


def write_text(model: PreTrainedModel, folder: Path) -> None:
    """Write ``text_config`` and ``text_weights`` to a folder, in the format of products.

    Merged weights are rounded at random (``rollout_copy.dithered``): the nearest number of 16 bits
    would often be Init's.
    """
    kind, made = hardware().format, {}
    for name, weight in text_weights(model):
        like = torch.empty(0, dtype=kind)
        chance = torch.Generator(weight.device).manual_seed(0)  # the same rounding each time
        small = weight.dtype == torch.float32 and kind != torch.float32
        weight = rollout_copy.dithered(weight, like, chance) if small else weight.to(kind)
        made[name] = weight.cpu().contiguous().clone()
    config = text_config(model)
    config.dtype = kind
    config.save_pretrained(folder)
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})


# --- vLLM --------------------------------------------------------------------------------


class VLLM:
    """vLLM on this machine's GPU, as ``Engine`` says.

    Args:
        ends: tokens that end an answer.
        share: of the free memory that its weights and its cache may take.
    """

    def __init__(self, model: PreTrainedModel, ends: list[int], share: float):
        from vllm import LLM

        self.ends = ends
        self.home = tempfile.TemporaryDirectory(prefix="sftrl-engine-")
        self.folder = Path(self.home.name)
        write_text(model, self.folder)
        free, total = torch.cuda.mem_get_info()
        self.llm = LLM(
            model=str(self.folder),
            skip_tokenizer_init=True,  # tokens go in, tokens come out
            gpu_memory_utilization=share * free / total,
            max_model_len=min(model.config.get_text_config().max_position_embeddings, 8192),
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",  # of softmax(logits / temperature)
        )

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> tuple[list[list[int]], list[list[float]]]:
        from vllm import SamplingParams

        ways: dict[str, Any] = dict(max_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
        ways |= dict(logprobs=0, stop_token_ids=self.ends, detokenize=False)  # 0: the token's own
        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        dice = [SamplingParams(**ways, seed=seed + i) for i in range(len(asked))]
        said = [o.outputs[0] for o in self.llm.generate(asked, dice, use_tqdm=False)]
        answers = [list(one.token_ids) for one in said]
        scores = [
            [found[token].logprob for token, found in zip(ids, one.logprobs, strict=True)]
            for ids, one in zip(answers, said, strict=True)
        ]
        return answers, scores

    def load(self, model: PreTrainedModel) -> None:
        write_text(model, self.folder)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(self.folder)})
        self.llm.reset_prefix_cache()  # keys and values of the weights before


def check_engine(name: str, task: str) -> None:
    """Whether an engine can play a task here, before anything is loaded.

    Raises:
        ValueError: no such engine, a task with pictures, or several processes.
        RuntimeError: vLLM is not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; choose {', '.join(ENGINES)}")
    if task.endswith("-vl"):
        raise ValueError(f"--engine {name} is for tasks in text; {task} shows pictures")
    if distributed.world() > 1:
        raise ValueError(f"--engine {name} is for one process on one GPU")
    if not find_spec("vllm"):
        raise RuntimeError("--engine vllm needs vLLM: pip install 'sftrl-lite[engine]'")


def open_engine(
    name: str, model: PreTrainedModel, processor: Processor, task: str, share: float = PLAYING
) -> Engine | None:
    """The engine ``name`` with a model's weights; None for an empty name.

    Raises:
        ValueError, RuntimeError: see ``check_engine``; weights of four bits.
    """
    if not name:
        return None
    check_engine(name, task)
    return VLLM(model, chats.stop_tokens(model, chats.end_of_turn(processor)), share)
