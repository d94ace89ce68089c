"""How much memory and compute a step takes, before a weight is loaded or a GPU is rented.

Weights, gradients and optimizer states are counted. Activations are not guessed by a
formula: the functions that train run on *fake* tensors (torch's ``FakeTensorMode``), which
have a shape and a type but no content, and we note how many bytes of them are alive. One
step of the 11B model takes seconds on a laptop that way.
"""

from __future__ import annotations

import csv
import math
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from tqdm.auto import tqdm
from transformers import AutoTokenizer, MllamaConfig, MllamaForConditionalGeneration
from transformers.initialization import no_init_weights
from trl.trainer.utils import add_fused_lm_head

from sftrl_lite import adapters
from sftrl_lite.models import ROOT, full_config
from sftrl_lite.precision import checkpoint_layers
from sftrl_lite.rl import PART, Batch, ValueHead, policy
from sftrl_lite.rollouts import TOGETHER
from sftrl_lite.scales import get_scale, stream
from sftrl_lite.sft import in_one_pass
from sftrl_lite.tasks import TASKS, budget, make_task
from sftrl_lite.vision import Pixels, encode, look

GIB = 2**30
TABLE = ROOT / "results" / "plan.csv"
GPUS = {"T4": 14.6, "L4": 22.0, "A100 40 GB": 39.4, "H100 80 GB": 79.2, "H200": 139.8}  # usable
CONTEXT = 1.0  # GiB: CUDA itself, and what the allocator cannot use; an assumption
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight: 4 bits, and scales that are themselves 8-bit
CHARACTERS = 3.5  # a token of Llama's tokenizer, English with JSON; an assumption
MODES = ("sft", "rl", "eval")
ADAPTERS = ("none", "lora", "qlora")  # each smaller than the one before


@dataclass(frozen=True)
class Work:
    """What is planned.

    Args:
        adapter, vision: what is trained; empty: the scale's choice.
        tiles: parts that a picture is cut into at most; 0: as many as the model has room for.
        batch: SFT: answers in one pass; RL and eval: episodes played at once; 0: the scale's.
        gpus: the states of a full training are sharded over them; batches are a GPU's own.
    """

    scale: str = "tiny"
    task: str = "gp-l"
    mode: str = "sft"
    adapter: str = ""
    vision: str = ""
    tiles: int = 0
    batch: int = 0
    gpus: int = 1

    def __post_init__(self) -> None:
        for name in ("adapter", "vision"):
            chosen = getattr(self, name) or getattr(get_scale(self.scale), name)
            object.__setattr__(self, name, chosen)
        known = {"task": TASKS, "mode": MODES, "adapter": ADAPTERS, "vision": adapters.VISION}
        for name, choices in known.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose {', '.join(choices)}")
        if min(self.tiles, self.batch, self.gpus - 1) < 0 or self.tiles > 4:
            raise ValueError("tiles are 1 to 4, a batch is positive, and GPUs are at least 1")

    @property
    def seeing(self) -> bool:
        """Whether the vision tower is trained."""
        return self.vision == "trained"


# --- how long, how large -----------------------------------------------------------------


def config_of(scale: str, task: str, tiles: int = 0) -> MllamaConfig:
    """The scale's model in numbers: from its shipped folder, or as published for 11B.

    Args:
        tiles: slots for the tiles of a picture; 0: the model's own number. Mllama's tower
            computes all its slots, empty or not.

    Raises:
        ValueError: a scale whose model is another architecture.
    """
    base = get_scale(scale).base_for(task)
    if (ROOT / base / "config.json").is_file():
        config = MllamaConfig.from_pretrained(ROOT / base)
    elif "Llama-3.2-11B" in base:
        config = full_config()
    else:
        raise ValueError(f"plans are made for Mllama models; {base} is none")
    eyes = config.vision_config
    eyes.max_num_tiles = min(tiles or 4, eyes.max_num_tiles)
    ratios = eyes.supported_aspect_ratios
    eyes.supported_aspect_ratios = [r for r in ratios if r[0] * r[1] <= eyes.max_num_tiles]
    return config


def lengths(scale: str, task: str) -> tuple[int, int, int]:
    """Tokens of a prompt, of a right answer and of the verifier's turn.

    Counted by the tokenizer where it is shipped, else from the number of characters.
    """
    judge = make_task(task, scale=scale)
    problem = judge.sample(stream(0, "plan"))
    texts = judge.prompt(problem), judge.demonstration(problem), judge.verify(problem, "{}").message
    folder = ROOT / get_scale(scale).base_for(task)
    if folder.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        counts = [len(tokenizer(text)["input_ids"]) for text in texts]
        headers = 4, 1, 3  # begin, user, end of turn, assistant; the image token is counted below
    else:
        counts = [math.ceil(len(text) / CHARACTERS) for text in texts]
        headers = 10, 1, 9
    prompt, answer, message = (n + h for n, h in zip(counts, headers, strict=True))
    return prompt + task.endswith("-vl"), answer, message


def cache_bytes(config: MllamaConfig, size: int) -> tuple[int, int]:
    """Keys and values: bytes a token, and bytes a picture.

        2 (key, value) * layers * key/value heads * head width * bytes a number

    Self-attention layers hold every token, cross-attention layers every patch.

    Args:
        size: bytes a number.
    """
    text, eyes = config.get_text_config(), config.vision_config
    width = 2 * text.num_key_value_heads * (text.hidden_size // text.num_attention_heads) * size
    across = len(text.cross_attention_layers)
    patches = (eyes.image_size // eyes.patch_size) ** 2 + 1
    return (text.num_hidden_layers - across) * width, across * width * patches * eyes.max_num_tiles


# --- a step on fake tensors --------------------------------------------------------------

ATEN = torch.ops.aten
COSTS = flop_registry | {  # torch does not count its own attention on CPUs
    ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q.shape, k.shape, v.shape
    ),
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: (
        sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape)
    ),
}


class Live(TorchDispatchMode):
    """Counts operations, and the bytes of tensors that are made in here and still alive:
    ``now``, at most since ``restart`` (``recent``), and at most at all (``peak``).
    """

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.now = self.recent = self.peak = self.flops = 0
        self.held = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if cost := COSTS.get(function._overloadpacket):
            self.flops += cost(*args, **(kwargs or {}), out_val=out)
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                store = tensor.untyped_storage()
                if store._cdata not in self.held:  # views share a store
                    self.held.add(store._cdata)
                    self.now += store.nbytes()
                    weakref.finalize(store, self.gone, store._cdata, store.nbytes())
        self.recent = max(self.recent, self.now)
        self.peak = max(self.peak, self.now)
        return out

    def gone(self, key: int, size: int) -> None:
        """A store was freed."""
        self.held.discard(key)
        self.now -= size

    def restart(self) -> int:
        """Forget the highest value but ``peak``; returns what is alive."""
        self.recent = self.now
        return self.now


@dataclass
class Trace:
    """What one pass holds (bytes) and computes (floating-point operations)."""

    views: int = 0  # pictures' states, and what a trained tower keeps for them
    kept: int = 0  # alive between forward and backward, these included, without the logits
    logits: int = 0  # on top of it while the loss is computed
    peak: int = 0
    forward: int = 0  # operations outside the vision tower, forward
    text: int = 0  # and in all
    looks: int = 0  # operations inside the tower


@contextmanager
def fake(config: MllamaConfig, work: Work) -> Iterator[MllamaForConditionalGeneration]:
    """The model of ``work`` with adapters and checkpointing as in training, made of nothing."""
    dtype = torch.float32 if work.scale == "tiny" else torch.bfloat16
    with torch.device("meta"), no_init_weights():
        model = MllamaForConditionalGeneration._from_config(config, dtype=dtype)
        if work.adapter != "none":
            adapters.add(model, vision=work.seeing)
        elif not work.seeing:
            adapters.freeze_eyes(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        for weight in model.parameters():  # gradients are counted elsewhere
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(lambda w: setattr(w, "grad", None))
        if work.scale != "tiny":
            checkpoint_layers(model)
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))  # as trl does
        mixed = dtype != torch.float32 and work.adapter != "none"
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            yield model.train()


def pictures_like(config: MllamaConfig, number: int) -> Pixels:
    """Tensors like the image processor's, of ``number`` pictures."""
    eyes = config.vision_config
    shape = number, 1, eyes.max_num_tiles
    return {
        "pixel_values": torch.zeros(*shape, 3, eyes.image_size, eyes.image_size),
        "aspect_ratio_ids": torch.ones(number, 1, dtype=torch.long),
        "aspect_ratio_mask": torch.ones(shape, dtype=torch.long),
    }


def trace(
    model: MllamaForConditionalGeneration,
    mode: str,
    rows: int,
    width: int,
    pictures: int = 0,
    learn: bool = True,
) -> Trace:
    """One pass over ``rows`` sequences of ``width`` tokens, forward and (``learn``) backward.

    Works on a fake model inside ``fake``, and on a real one, where it measures.

    Args:
        mode: ``sft``, ``rl``, or ``eval``: no loss and no logits.
        pictures: different pictures among the rows; each row shows one, if there are any.
    """
    found, device = Trace(), model.device
    ids = torch.zeros((rows, width), dtype=torch.long, device=device)
    pixels = pictures_like(model.config, pictures) if pictures else {}
    pixels = {name: tensor.to(device) for name, tensor in pixels.items()}
    which = torch.arange(rows, device=device) % max(pictures, 1)
    with device:
        head = ValueHead(model.config.get_text_config().hidden_size)
    live = Live((*model.parameters(), *model.buffers(), *head.parameters(), ids, *pixels.values()))

    def after_body(module, args, output) -> None:
        found.kept = live.restart()
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.register_hook(after_head)

    def after_head(gradient: Tensor) -> None:
        found.logits = live.recent - found.kept

    hook = model.model.register_forward_hook(after_body)
    with torch.set_grad_enabled(learn), live:
        views = encode(model, pixels) if pictures else None
        looks, found.views = live.flops, live.now
        shared = views if views is None else views.detach().requires_grad_(views.requires_grad)
        batch = rl_batch(ids, pixels, which)
        if mode == "rl":
            loss = rl_loss(model, head, batch, shared)
        else:
            loss = sft_loss(model, batch, shared, body_only=mode == "eval")
        found.forward = live.flops - looks
        if learn:
            loss.backward()
        else:
            after_head(loss)
        found.text = live.flops - looks
        if learn and views is not None and views.requires_grad:
            views.backward(shared.grad)
    hook.remove()
    found.peak, found.looks = live.peak, live.flops - found.text
    return found


def sft_loss(model, batch: Batch, views: Tensor | None, body_only: bool = False) -> Tensor:
    """trl's loss: log-probabilities in chunks, logits never whole; padded rows need a mask."""
    ids, seen = batch.ids, {"input_ids": batch.ids}
    if views is not None:
        seen = look(model, ids, views, batch.pixels, batch.picture)
    rows, width = ids.shape
    mask = torch.ones(rows, 1, width, width, dtype=torch.bool, device=ids.device)
    if body_only:
        return model.model(attention_mask=mask, use_cache=False, **seen).last_hidden_state
    return model(attention_mask=mask, labels=ids, fused_lm_head=True, **seen).loss


def rl_loss(model, head: ValueHead, batch: Batch, views: Tensor | None) -> Tensor:
    """Stands for PPO's loss, whose own part is small numbers: one a turn."""
    logps, _, values = policy(model, batch, head, views)
    return logps.sum() + values.sum()


def rl_batch(ids: Tensor, pixels: Pixels, which: Tensor) -> Batch:
    """Rows of one turn that fills them: only shapes count here."""
    turn = torch.zeros_like(ids)
    ask = turn[:, :1]
    zeros = torch.zeros(ids.shape, device=ids.device)
    played = torch.ones_like(ask, dtype=torch.bool)
    answers = torch.arange(turn[:, 1:].numel(), device=ids.device)
    return Batch(ids, turn, ask, zeros, zeros[:, :1], played, answers, pixels or None, which)


# --- the plan ----------------------------------------------------------------------------

ROLLOUT, UPDATE = (
    ("KV cache", "reading prompts"),
    ("image states", "activations", "logits", "layer"),
)


def at_once(parts: dict[str, float]) -> dict[str, float]:
    """The parts at the highest moment: a rollout's and an update's are never there together."""
    sizes = {group: sum(parts.get(name, 0.0) for name in group) for group in (ROLLOUT, UPDATE)}
    return {name: gib for name, gib in parts.items() if name not in min(sizes, key=sizes.get)}


def read_table(path: Path | None = None) -> dict[tuple[str, str, int, int], dict[str, float]]:
    """results/plan.csv: parts at the highest moment by mode, adapter, tiles and batch."""
    with (path or TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    plans: dict[tuple[str, str, int, int], dict[str, float]] = {}
    for row in rows:
        key = row["mode"], row["adapter"], int(row["tiles"]), int(row["batch"])
        plans.setdefault(key, {})[row["part"]] = float(row["gib"])
    return {key: at_once(parts) for key, parts in plans.items()}


@dataclass(frozen=True)
class Plan:
    """GiB by part on one GPU, and operations of a step on all of them."""

    work: Work
    parts: dict[str, float]
    flops: float
    parameters: int
    trained: int
    tokens: int  # of a sequence

    @property
    def total(self) -> float:
        """GiB at the highest moment."""
        return sum(at_once(self.parts).values())

    def missing(self, memory: float) -> float:
        """GiB that a GPU of so many GiB lacks, CUDA itself counted; 0 where it fits."""
        return max(self.total + CONTEXT - memory, 0.0)

    def __str__(self) -> str:
        w = self.work
        lines = [
            f"{w.scale} {w.task} {w.mode}, adapter {w.adapter}, vision {w.vision}: "
            f"{self.parameters / 1e9:.2f} B parameters, {self.trained / 1e6:.1f} M trained, "
            f"sequences of {self.tokens} tokens",
            *(f"{part:18}{size:10.3f} GiB" for part, size in self.parts.items()),
            f"{'at most at once':18}{self.total:10.3f} GiB"
            + (", on each GPU" if w.gpus > 1 else ""),
            f"{'a step computes':18}{self.flops / 1e12:10.3f} TFLOP",
        ]
        enough = [name for name, size in GPUS.items() if not self.missing(size)]
        lines.append(f"smallest GPU that fits: {enough[0] if enough else 'none of these'}")
        return "\n".join(lines)


def states(model: MllamaForConditionalGeneration, work: Work) -> dict[str, float]:
    """Bytes of weights, gradients and optimizer states; exact.

    What is trained is float32 with Adam's two moments: 4 + 4 + 8 bytes a weight. What is
    frozen has the model's own type, with qlora 4 bits in the text layers' matrices.
    """
    trained = frozen = 0.0
    with torch.device("meta"):
        head = ValueHead(model.config.get_text_config().hidden_size)
    if work.mode == "rl":
        trained += sum(weight.numel() for weight in head.parameters())
    for name, weight in model.named_parameters():
        packed = work.adapter == "qlora" and "language_model.layers" in name and weight.ndim == 2
        if weight.requires_grad:
            trained += weight.numel()
        else:
            frozen += weight.numel() * (NF4 if packed else weight.element_size())
    if work.mode == "eval":  # nothing is trained then, and adapters stay float32
        own = model.dtype.itemsize if work.adapter == "none" else 4
        return {"weights": frozen + trained * own}
    return {"weights": frozen + 4 * trained, "gradients": 4 * trained, "optimizer": 8 * trained}


def make_plan(work: Work) -> Plan:
    """Predict a step of ``work``."""
    scale, config = get_scale(work.scale), config_of(work.scale, work.task, work.tiles)
    prompt, answer, message = lengths(work.scale, work.task)
    s, tries = scale.rl, budget(work.task, scale.rl.tries)
    seeing = work.task.endswith("-vl")
    episodes = -(-s.problems * s.samples // work.gpus)
    with fake(config, work) as model:
        parts = states(model, work)
        weights = list(model.parameters())
        size = weights[0].element_size()
        counts = sum(w.numel() for w in weights), sum(w.numel() for w in weights if w.requires_grad)
        if work.adapter == "none" and work.mode != "eval":  # with an adapter, Init is inside
            parts["Init, to compare"] = counts[0] * size
        if work.adapter == "none" and work.gpus > 1:
            parts = {name: part / work.gpus for name, part in parts.items()}
            if work.mode != "sft":
                parts["copy for rollouts"] = counts[0] * size
        once = None
        if work.mode == "sft":
            rows = work.batch or in_one_pass(scale.sft.batch, on_gpu=scale.memory > 0)
            width = prompt + answer
            pictures = rows * seeing
            once = trace(model, "sft", rows, width, pictures)
            flops = (once.text + once.looks) * scale.sft.batch / rows
        else:
            rows, width = min(PART, s.minibatch, episodes), prompt + tries * (answer + message)
            together = work.batch or min(episodes, TOGETHER if scale.memory else episodes)
            asked = max(together // s.samples, 1)  # different problems among them
            columns = prompt + tries * (s.max_new_tokens + message)
            token, picture = cache_bytes(config, size)
            reading = trace(model, "eval", asked, prompt, asked * seeing, learn=False)
            parts["KV cache"] = together * (columns * token + seeing * picture)
            parts["reading prompts"] = reading.peak
            flops = together * reading.forward / asked * width / prompt + reading.looks
        if work.mode == "rl":
            asked_in_all = -(-s.problems // work.gpus) * seeing  # they stay through an update
            pictures = min(asked_in_all, s.minibatch)
            once = trace(model, "rl", rows, width, pictures)
            # in the rollout, for the values, and in the update
            flops = s.problems * s.samples / rows * (2 * once.forward + s.epochs * once.text)
            if seeing:  # a tower that is trained encodes a minibatch's pictures at each update
                updates = s.epochs * -(-episodes // s.minibatch) * pictures / asked_in_all
                looks = (updates if work.seeing else 1) * once.looks / pictures
                flops += s.problems * (2 * reading.looks / asked + looks)
        if once:
            shown = once.views
            if work.mode == "rl" and seeing:  # for the values there are those of all pictures
                shown = max(shown, reading.views / asked * asked_in_all)
            parts |= {"image states": shown, "activations": once.kept - once.views}
            parts["logits"] = once.logits
            parts["layer"] = max(once.peak - once.kept - once.logits, 0)
    return Plan(work, {k: v / GIB for k, v in parts.items()}, flops, *counts, width)


def here() -> float:
    """GiB of this machine's GPU; 0 without one."""
    gpu = torch.cuda.is_available() and torch.cuda.get_device_properties(0)
    return gpu.total_memory / GIB if gpu else 0.0


def advice(plan: Plan, memory: float) -> str:
    """One line where a GPU of ``memory`` GiB is too small: what is missing, and what fits."""
    work, lacks = plan.work, plan.missing(memory)
    if not lacks:
        return ""
    smaller = [replace(work, adapter=a, vision="frozen") for a in ADAPTERS]
    smaller = smaller[ADAPTERS.index(work.adapter) + 1 :]
    least = smaller[-1] if smaller else work
    smaller.append(replace(least, tiles=1))
    for other in smaller:
        needs = (there := make_plan(other)).total + CONTEXT
        if not there.missing(memory):
            break
    options = f"--adapter {other.adapter} --vision {other.vision}"
    if other.tiles:
        options += f" --max-image-tiles {other.tiles}"
    return (
        f"{work.mode} with adapter {work.adapter} needs {plan.total + CONTEXT:.1f} GiB of "
        f"{memory:.1f}, {lacks:.1f} are missing; {options} needs {needs:.1f}"
        f"{' and does not fit either' if there.missing(memory) else ''}"
    )


def check(work: Work, memory: float | None = None) -> None:
    """Refuse work that this machine's GPU is too small for, before anything is loaded.

    Args:
        memory: GiB of the GPU; this machine's if not given. 0, a CPU, refuses nothing.

    Raises:
        RuntimeError: too little memory, with ``advice``.
    """
    memory = here() if memory is None else memory
    try:
        found = make_plan(work) if memory else None
    except ValueError:  # of a model that is not planned here
        return
    if found and (line := advice(found, memory)):
        raise RuntimeError(line)


GRID = [  # mode, sequences in a pass or episodes at once
    *(("sft", batch) for batch in (1, 8)),
    *(("rl", batch) for batch in (8, 64)),
]


def write_table(path: Path = TABLE, scale: str = "full", task: str = "gp-vl") -> None:
    """The plans of a scale by mode, adapter, tiles and batch, vision frozen; some minutes."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("mode", "adapter", "tiles", "batch", "part", "gib", "tflop"))
        parts: dict[str, float] = {}
        for mode, batch in tqdm(GRID, "plans"):
            for tiles in (1, 4):
                for adapter in ADAPTERS:
                    work = Work(scale, task, mode, adapter, "frozen", tiles, batch)
                    if adapter == "qlora":  # it computes what LoRA does, on smaller weights
                        with fake(config_of(scale, task, tiles), work) as model:
                            parts |= {k: v / GIB for k, v in states(model, work).items()}
                    else:
                        found = make_plan(work)
                        parts = found.parts
                    for part, size in parts.items():
                        key = mode, adapter, tiles, batch, part
                        rows.writerow((*key, f"{size:.4g}", f"{found.flops / 1e12:.4g}"))


if __name__ == "__main__":
    write_table()
