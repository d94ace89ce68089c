# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9. From tiny to 11B
#
# The code of chapters 1 to 8 trains Llama-3.2-11B-Vision when one flag changes; what
# decides whether it *fits* is memory, which can be predicted before a weight is loaded,
# and here we take the prediction apart, check each part against a tiny model that really
# runs, and say openly which numbers nobody has measured yet.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. No GPU and no download is needed, at any scale.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Say how many bytes of memory a weight costs while it is trained, and why it is 16.
# - Show that training in bfloat16 at a small learning rate changes almost nothing.
# - Write LoRA in ten lines, and know what QLoRA adds.
# - Compute the size of a cache of keys and values.
# - Trade compute for memory by checkpointing, and measure both sides.
# - Plan a run for the GPU that you have, and start it there.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown] tags=["adam"]
# ## One number, by hand
#
# Llama-3.2-11B-Vision has 10.67 billion parameters. To train all of them, Adam wants for
# each one the weight, its gradient and two running means, in float32:
#
# $$10.67 \cdot 10^9 \times (4 + 4 + 8)\ \text{bytes} = 171 \cdot 10^9\ \text{bytes} =
# 159\ \text{GiB}.$$
#
# The largest GPU that most people ever rent has 80. Nothing has been computed yet, no
# picture seen. That is the problem of this chapter, and all of its tricks shrink one
# factor of a product like this one.
#
# ### Exercise 9.1: bytes that wait
#
# Difficulty ●○○○○ · 4 minutes
#
# Weights that are *frozen* need no gradient and no running means, and may be stored in
# fewer bytes. Write the memory of both kinds.

# %%
def static_gib(trained: float, frozen: float = 0, frozen_bytes: float = 2) -> float:
    """GiB of weights, gradients and Adam's means: ``static_gib(2**30)`` is 16.

    What is trained is float32; a frozen weight has ``frozen_bytes``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("9.1"):
    assert static_gib(2**30) == 16, "4 + 4 + 8 bytes a weight, and a GiB is 2**30"
    assert abs(static_gib(10.67e9) - 159) < 0.5, "the whole 11B model"
    assert static_gib(0, 2**30) == 2, "frozen: the weight alone, in bfloat16"
    assert static_gib(2**30, 2**30, 0.5) == 16.5, "four bits are half a byte"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two products and one division by `2**30`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def static_gib(trained: float, frozen: float = 0, frozen_bytes: float = 2) -> float:
#     return (16 * trained + frozen_bytes * frozen) / 2**30
# ```
#
# </details>
#
# ## What changes, and what does not
#
# The model class, the prompts, the verifier, the rollout, the PPO step and the evaluation
# are the same lines of code at every scale. A row of one table changes:

# %%
from dataclasses import asdict

import pandas as pd

from sftrl_lite.scales import SCALES

rows = {}
for name, row in SCALES.items():
    sft, rl = asdict(row.sft), asdict(row.rl)
    rows[name] = {
        "base": row.base.split("/")[-1], "trained by": row.adapter,
        "vision": row.vision, "picture": row.picture,
        "SFT rate": sft["lr"], "SFT batch": sft["batch"],
        "RL rate": rl["lr"], "episodes a step": rl["problems"] * rl["samples"],
        "RL samples at temperature": rl["temperature"],
        "longest answer": rl["max_new_tokens"], "TFLOP a run": row.tflop,
    }
pd.DataFrame(rows)

# %% [markdown]
# Let us build the tiny model, train it for one step, and count the bytes instead of
# believing a formula.

# %%
import torch

from sftrl_lite.models.loading import load
from sftrl_lite.training.updates import new_learner

tiny, processor = load(SCALES["tiny"].base_for("gp-vl"))
learner = new_learner(tiny, SCALES["tiny"].rl, seed=0)
weights = [*learner.model.parameters(), *learner.value_head.parameters()]
for weight in weights:
    weight.grad = torch.zeros_like(weight)
learner.optimizer.step()
moments = [m for kept in learner.optimizer.state.values() for m in kept.values()]
counted = {
    "weights": sum(w.nbytes for w in weights),
    "gradients": sum(w.grad.nbytes for w in weights),
    "optimizer": sum(m.nbytes for m in moments if m.ndim),
}
learner.optimizer.zero_grad()
n = sum(w.numel() for w in weights)
each = ", ".join(f"{k} {v / n:.2f} bytes" for k, v in counted.items())
print(f"{n:,} weights: {each}")

# %% [markdown]
# ## Why not train in bfloat16?
#
# bfloat16 has two bytes, and GPUs compute in it at full speed. With weights, gradients
# and means in it, training would take 8 bytes a weight instead of 16. But it keeps only
# eight significant bits. Next to a number $x$, the next larger one stands at a distance of
#
# $$\Delta(x) = 2^{\lfloor \log_2 |x| \rfloor - 7},$$
#
# and a change of less than half of that is rounded away.
#
# ### Exercise 9.2: the gap
#
# Difficulty ●●○○○ · 5 minutes

# %%
def gap(x: float) -> float:
    """Distance from a positive x to the next bfloat16: ``gap(1.0)`` is 1/128."""
    raise NotImplementedError

# %%
import torch

with notebook.exercise("9.2"):
    assert gap(1.0) == 1 / 128, "seven bits stand behind the leading one"
    assert gap(1.9) == gap(1.0), "the same up to the next power of two"
    assert gap(0.02) == 2**-13, "0.02 lies between 2**-6 and 2**-5"
    x = torch.tensor(0.02, dtype=torch.bfloat16)
    assert x + 0.4 * gap(0.02) == x, "less than half a gap is lost"
    assert x + 0.6 * gap(0.02) > x, "more than half is not"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.floor(math.log2(x))` is the exponent.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# import math
#
#
# def gap(x: float) -> float:
#     return 2.0 ** (math.floor(math.log2(x)) - 7)
# ```
#
# </details>
#
# A typical weight of the 11B model is 0.02, so its gap is $1.2 \cdot 10^{-4}$. One step of
# Adam moves a weight by about the learning rate, and the paper's is $10^{-6}$. Let us
# take twenty steps from random weights along a steady gradient.

# %% tags=["bfloat16"]
def changed(lr: float, dtype: torch.dtype, steps: int = 20) -> float:
    """Share of a million weights that differ after some steps of Adam."""
    torch.manual_seed(0)
    start = (0.02 * torch.randn(1_000_000)).to(dtype)
    weight = start.clone().requires_grad_()
    adam = torch.optim.Adam([weight], lr=lr)
    weight.grad = torch.randn(len(start)).to(dtype)
    for _ in range(steps):
        adam.step()
    return (weight != start).float().mean().item()

rates = (1e-6, 1e-5, 1e-4, 1e-3)
formats = {"bfloat16": torch.bfloat16, "float32": torch.float32}
shares = {k: {f"{lr:.0e}": changed(lr, d) for lr in rates} for k, d in formats.items()}
(100 * pd.DataFrame(shares).T).round(1).rename_axis("% changed at rate", axis=1)

# %% tags=["rounded-away"]
lost = 100 * (1 - shares["bfloat16"]["1e-06"])
notebook.show(
    f"At the paper's rate {lost:.0f} % of the weights have not moved at all. The run "
    "would finish, the loss would be logged, and nothing but the smallest weights "
    "would have been trained. Whatever trains here is therefore float32, at every "
    "scale; what is frozen may be small."
)

# %% [markdown] tags=["lora"]
# ## LoRA: train a narrow detour
#
# LoRA freezes a matrix $W$ (out × in) and learns a product of two thin ones beside it,
#
# $$y = W x + \frac{\alpha}{r} B A x, \qquad A: r \times \text{in}, \quad
# B: \text{out} \times r,$$
#
# with $r = 16$ where $W$ has thousands of rows. $B$ starts at zero, so training starts
# at the base model. All of it:

# %%
from torch import nn


class LowRank(nn.Module):
    """A frozen linear layer with a trained detour of rank r."""

    def __init__(self, base: nn.Linear, r: int = 16, alpha: int = 32):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.a = nn.Parameter(torch.randn(r, base.in_features) / r)
        self.b = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)"""
        return self.base(x) + self.scale * (x @ self.a.T) @ self.b.T

# %% [markdown]
# peft is the library that we use instead. Does it compute the same? We copy our two
# matrices, with a trained-looking $B$, into a layer of peft's.

# %%
import copy

from peft import LoraConfig, inject_adapter_in_model

layer = tiny.model.language_model.layers[0].mlp.up_proj
ours = LowRank(copy.deepcopy(layer))
nn.init.normal_(ours.b)
holder = nn.ModuleDict({"up": copy.deepcopy(layer)})
inject_adapter_in_model(LoraConfig(r=16, lora_alpha=32, target_modules=["up"]), holder)
theirs = holder["up"]
theirs.lora_A["default"].weight.data = ours.a.data
theirs.lora_B["default"].weight.data = ours.b.data
x = torch.randn(5, layer.in_features)
print("same output:", torch.allclose(ours(x), theirs(x), atol=1e-4))
both = ours.base.weight + ours.scale * ours.b @ ours.a
print("same as one merged matrix:", torch.allclose(ours(x), x @ both.T, atol=1e-4))

# %% [markdown]
# ### Exercise 9.3: how many weights LoRA adds
#
# Difficulty ●●○○○ · 6 minutes
#
# Add up the weights of $A$ and $B$ over layers, and see how few of the 11B's they are.

# %%
def lora_weights(shapes: list[tuple[int, int]], r: int) -> int:
    """Trained weights for layers (out, in): ``lora_weights([(4, 3)], 2)`` is 14."""
    raise NotImplementedError

# %%
with notebook.exercise("9.3"):
    assert lora_weights([(4, 3)], 2) == 14, "A has 2 x 3, B has 4 x 2"
    assert lora_weights([(4, 3), (5, 5)], 1) == 17, "layers add up"
    h, kv, wide = 4096, 1024, 14336  # of the 11B model: width, keys, feed-forward
    layer = [(h, h), (kv, h), (kv, h), (h, h), (wide, h), (wide, h), (h, wide)]
    total = lora_weights(40 * layer, 16)
    assert total == 52_428_800, "40 layers of seven matrices"
    assert total / 10.67e9 < 0.005, "half a per cent"

# %% [markdown]
# <details><summary>Hint</summary>
#
# A layer has `r * (out + in)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def lora_weights(shapes: list[tuple[int, int]], r: int) -> int:
#     return sum(r * (rows + columns) for rows, columns in shapes)
# ```
#
# </details>
#
# ## QLoRA: freeze in four bits
#
# What is frozen need not be exact. QLoRA keeps it in *NF4*: 16 levels, placed where a
# normal distribution has equal mass between them, and one scale for each block of 64
# weights. A sketch of the idea on real weights of our tiny model:

# %% tags=["four-bits"]
from scipy.stats import norm

levels = torch.tensor(norm.ppf((torch.arange(16) + 0.5) / 16), dtype=torch.float32)
levels /= levels.abs().max()

def four_bits(weight: torch.Tensor, block: int = 64) -> torch.Tensor:
    """The weights as they come back from 4 bits with a scale a block."""
    rows = weight.reshape(-1, block)
    size = rows.abs().amax(1, keepdim=True)
    nearest = (rows[..., None] / size[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * size).reshape(weight.shape)

frozen = ours.base.weight.detach()
error = (four_bits(frozen) - frozen).norm() / frozen.norm()
bits = 4 + 8 / 64 + 32 / (64 * 256)
print(f"{bits:.3f} bits a weight; error {100 * error:.1f} % of the matrix's size")

# %% [markdown] tags=["cache"]
# bitsandbytes' levels differ a little from these (one of them is exactly zero), and its
# scales are packed into 8 bits once more: hence the 4.127. Where the base is held in
# bfloat16, LoRA needs 20.7 GiB before anything is computed, and QLoRA 8.6. Only the text
# model's layers are packed here; vision and embeddings stay as they are.
#
# ## Keys and values
#
# A rollout keeps a key and a value of each token in each layer of text:
#
# $$\text{bytes a token} = 2 \times \text{layers} \times \text{key/value heads} \times
# \text{head width} \times \text{bytes a number}.$$
#
# For 11B: $2 \cdot 32 \cdot 8 \cdot 128 \cdot 2 = 131072$, or 128 KiB *a token*. In the
# eight other layers a picture's states are kept, once for the whole episode.

# %%
from sftrl_lite.planning.workload import config_of
from sftrl_lite.training.decoding import Decoder
from sftrl_lite.training.static_decoding import cache_bytes

token, picture = cache_bytes(tiny.config, 4)
decoder = Decoder(tiny, 0)
with torch.no_grad():
    decoder.feed([[5] * 40, [6] * 40])
kept = [cell for cell in decoder.cache.layers if cell.is_initialized]
held = sum(cell.keys.nbytes + cell.values.nbytes for cell in kept)
print(f"tiny: predicted {2 * 40 * token:,} bytes for two rows, held {held:,}")
for tiles in (1, 4):
    token, picture = cache_bytes(config_of("full", "gp-vl", tiles), 2)
    print(f"11B:  {token / 1024:.0f} KiB a token, {picture / 2**20:.0f} MiB a picture, "
          f"tiles: {tiles}")

# %% [markdown]
# ### Exercise 9.4: how many episodes at once?
#
# Difficulty ●●○○○ · 5 minutes

# %%
def episodes_at_once(free_gib: float, tokens: int, token: int, picture: int = 0) -> int:
    """Whole episodes whose keys and values fit.

    ``episodes_at_once(1, 1024, 2**17)`` is 8. An episode has ``tokens`` of ``token``
    bytes each, and one picture.
    """
    raise NotImplementedError

# %%
with notebook.exercise("9.4"):
    assert episodes_at_once(1, 1024, 2**17) == 8, "1024 tokens of 128 KiB are 128 MiB"
    assert episodes_at_once(1, 1024, 2**17, 2**27) == 4, "a picture may weigh as much"
    assert episodes_at_once(0.1, 1024, 2**17) == 0, "no half episodes"
    assert episodes_at_once(55, 2690, 2**17) == 167, "an 80 GB GPU after LoRA's share"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Integer division of the free bytes by the bytes of one episode.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def episodes_at_once(free_gib: float, tokens: int, token: int, picture: int = 0) -> int:
#     return int(free_gib * 2**30 // (tokens * token + picture))
# ```
#
# </details>
#
# Speed has the same root. To write one token, a GPU reads every weight and the whole
# cache once. The bandwidth of its memory sets the floor, so rows share the reading of the
# weights, and a batch of 64 costs little more than one row.
#
# ## Activations, and how to keep fewer
#
# The backward pass needs what the forward pass computed, so autograd keeps it. How much,
# we can watch: a hook sees each tensor that is saved.

# %%
from sftrl_lite.models.precision import checkpoint_layers
from sftrl_lite.models.vision import encode
from sftrl_lite.planning.fake import Live, pictures_like
from sftrl_lite.planning.passes import rl_batch, rl_loss

ROWS, WIDTH = 16, 150
pixels = pictures_like(tiny.config, ROWS)
batch = rl_batch(torch.full((ROWS, WIDTH), 5), pixels, torch.arange(ROWS))

def measured(model) -> tuple[float, float]:
    """MiB that autograd keeps for one pass of PPO, and the GFLOP of the pass."""
    stores = {w.untyped_storage().data_ptr(): 0 for w in model.parameters()}
    def keep(tensor: torch.Tensor) -> torch.Tensor:
        store = tensor.untyped_storage()
        stores.setdefault(store.data_ptr(), store.nbytes())
        return tensor
    with Live(()) as live:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = rl_loss(model, learner.value_head, batch, encode(model, pixels))
        loss.backward()
    return sum(stores.values()) / 2**20, live.flops / 1e9

# %% [markdown]
# *Checkpointing* keeps each layer's input only, and computes the layer a second time when
# the backward pass arrives there.

# %% tags=["checkpointing"]
plain = measured(tiny)
sparing = copy.deepcopy(tiny).train()
checkpoint_layers(sparing)
less = measured(sparing)
text = f"{'':16}{'kept':>10}{'operations':>14}"
for name, (mib, gflop) in {"everything": plain, "layers' inputs": less}.items():
    text += f"\n{name:16}{mib:6.0f} MiB{gflop:8.1f} GFLOP"
print(text)
memory, work = less[0] / plain[0], less[1] / plain[1]
print(f"{memory:.0%} of the memory for {work:.0%} of the operations")
notebook.show("In theory: a third more operations (forward, forward again, and a "
              "backward worth two). What is left are the layers' inputs and the "
              "logits, which are no layer's.")

# %% [markdown]
# Two traps lie here, both found by planning and then measured. transformers 5.23 leaves
# Mllama's vision tower out, so where it is trained we wrap its layers ourselves. And when
# it switches checkpointing on, it marks the *inputs* of text and tower as needing
# gradients: a frozen tower then keeps everything, for nothing.

# %%
def tower_keeps(undo: bool) -> bool:
    """Whether pictures through a frozen tower leave something for a backward pass."""
    model = copy.deepcopy(tiny).train().requires_grad_(False)
    model.activation_checkpointing_enable({"use_reentrant": False})
    if undo:
        model.disable_input_require_grads()
    return encode(model, pixels).requires_grad

print("frozen tower keeps activations:", tower_keeps(undo=False))
print("after undoing the mark:        ", tower_keeps(undo=True))

# %% [markdown]
# ### Exercise 9.5: how often to checkpoint
#
# Difficulty ●●●○○ · 8 minutes
#
# Suppose a layer's input takes 1 unit and its inside takes `inside` units. Checkpoint
# every $k$-th layer of $L$: inputs of $L / k$ segments stay, and in the backward pass the
# $k$ layers of *one* segment are there in full. Which $k$ keeps least?

# %%
def best_segment(layers: int, inside: float) -> int:
    """The k that minimises layers / k + k * inside; only divisors of ``layers``.

    The smallest one where several tie: ``best_segment(40, 10)`` is 2.
    """
    raise NotImplementedError

# %%
with notebook.exercise("9.5"):
    assert best_segment(40, 10) == 2, "20 + 20 units; k = 1 keeps 40 + 10"
    assert best_segment(40, 40) == 1, "a heavy inside: checkpoint every layer"
    assert best_segment(64, 1) == 8, "the square root, if the inside weighs as much"
    assert best_segment(7, 1) == 1, "7 + 1 units; k = 7 keeps 1 + 7: a tie"
    assert best_segment(7, 0.5) == 7, "a light inside: one segment, 1 + 3.5 units"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `min(divisors, key=...)` returns the first of several smallest.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def best_segment(layers: int, inside: float) -> int:
#     divisors = [k for k in range(1, layers + 1) if layers % k == 0]
#     return min(divisors, key=lambda k: layers / k + k * inside)
# ```
#
# </details>
#
# A layer of 11B has an inside of about twenty times its input, and there are 40 of them:
# $k = 1$ and $k = 2$ tie, and $k = 1$ is what everybody uses.
#
# ## The plan: a step on tensors without content
#
# How are 40 layers of somebody else's code predicted? Not by a formula for each kernel.
# We run the *very functions that train* on fake tensors, which have a shape and a type and
# no content, and note how many bytes of them are alive. First where we can check it:

# %% tags=["prediction"]
from sftrl_lite.planning.fake import fake
from sftrl_lite.planning.passes import trace
from sftrl_lite.planning.workload import Work

with fake(config_of("tiny", "gp-vl"), Work("tiny", "gp-vl", "rl")) as ghost:
    found = trace(ghost, "rl", ROWS, WIDTH, ROWS)
seen = sum(t.nbytes for t in pixels.values())
logits = ROWS * (WIDTH - 1) * tiny.lm_head.out_features * 4
predicted = (found.kept + seen + logits) / 2**20
print(f"activations: predicted {predicted:.1f} MiB, kept {plain[0]:.1f} MiB, "
      f"ratio {predicted / plain[0]:.2f}")
print(f"operations of the pass: {(found.text + found.looks) / 1e9:.1f} GFLOP")

# %% [markdown]
# Then where nobody here can. The plan of one 11B step, on this CPU; nothing is downloaded:

# %%
from sftrl_lite.planning.plan import make_plan

ask = Work("full", "gp-vl", "sft", "qlora", "frozen", tiles=1, batch=8)
print(make_plan(ask))

# %% [markdown]
# The same from the command line, with a size of GPU to be judged:
#
# ```sh
# python -m sftrl_lite plan --scale full --task gp-vl --mode rl --adapter lora --memory 24
# ```
#
# A training command makes this plan before it loads anything. If the GPU is too small, it
# ends with one line: how much is missing, and what would fit.
#
# ## The figure of this chapter
#
# Plans of cards in pictures, one tile, vision frozen, evaluations included. SFT passes hold 8
# answers, and its evaluations play 8 episodes at once; RL plays 8 or 64. Dashed lines are GPUs.
# These are predictions, made by `python -m sftrl_lite.planning.fit`; what they leave out stands below.

# %% tags=["memory-figure"]
from sftrl_lite.planning.plan import read_table
from sftrl_lite.planning.workload import GPUS
from sftrl_lite.results.memory_plots import memory_bars

plans = read_table()
names = {"none": "all weights", "lora": "LoRA", "qlora": "QLoRA"}
bars = {}
for mode, size in (("sft", 8), ("rl", 8), ("rl", 64)):
    for adapter, name in names.items():
        label = f"{mode.upper()} {size}, {name}"
        bars[label] = plans[mode, adapter, 1, size]
sizes = ", ".join(f"{k} {sum(v.values()):.0f} GiB" for k, v in bars.items())
gpus = ", ".join(f"{name} {size:.0f}" for name, size in GPUS.items())
alt = f"Predicted memory of an 11B step by part. {sizes}. GPUs: {gpus}."
notebook.figure(memory_bars(bars, GPUS), alt=alt)

# %% [markdown]
# Three readings. Without an adapter the three copies that Adam wants dwarf everything
# else. With one, the frozen weights are the largest part, and four bits take most of
# it away. And RL's own part is what is in flight: the cache, which grows with the episodes
# that are played at once (a choice), or the pictures and logits of an update.
#
# ## A place to play
#
# What fits on a free Colab GPU? What do three more tiles cost? How many episodes may an
# 80 GB GPU play?

# %%
from sftrl_lite.course.calculators import memory_view

memory_view(plans, GPUS)

# %% [markdown]
# ## How to launch
#
# | where | command |
# | --- | --- |
# | this laptop | `python -m sftrl_lite rl --task gp-vl` |
# | first, at `t4` and `full` | `python -m sftrl_lite init --scale t4 --task gp-l` |
# | one GPU of 40 GB | `python -m sftrl_lite sft --scale full --adapter qlora --task gp-vl --max-image-tiles 1` |
# | one GPU of 80 GB | `python -m sftrl_lite rl --scale full --adapter lora --task gp-l` |
# | eight GPUs of 80 GB | `accelerate launch --config_file launch/eight_gpus_fsdp2.yaml -m sftrl_lite rl --scale full --adapter none` |
# | Colab, T4 | `!python -m sftrl_lite sft --scale t4` |
# | Kaggle, two T4 | `!accelerate launch --num_processes 2 -m sftrl_lite rl --scale t4` |
# | evaluation only | `python -m sftrl_lite eval --scale full --task gp-l --model init` |
#
# The order is `init`, `sft`, `rl`, `eval`. The tiny bases are an Init already. A model from
# the Hub is not: it answers in prose, no answer earns anything, and RL has nothing to select
# from. `init` fine-tunes it until less than 5 % of the answers are out of the format and a
# quarter is right, measured on training problems that it was not taught, and keeps it in
# `runs/init-SCALE-TASK`. SFT and RL both start there. `rl` first asks 32 problems and stops
# in one line where most answers have no form (`--anyway` goes on).
#
# - What a run does and takes is shown before it starts; `--price` turns hours into dollars.
#   `steps.csv` in its folder gets a row a step, `--report-to` tells a tracker the same, and
#   `--transcripts 20` writes down the same four answers every 20 steps.
# - The weights of `full` are gated: accept the licence on the Hub, then `hf auth login`.
#   `make` keeps the Hub off; write `HF_HUB_OFFLINE=0` in front of a command.
# - Only want to know whether it runs? `--load-format dummy` makes random weights of full
#   size, and `python -m sftrl_lite.bench.gpu` measures memory, speed and the share of the
#   GPU's peak that they reach, and compares a step with trl's.
# - A T4 has no bfloat16. It computes in float16, and gradients are scaled into its range.
# - Eight GPUs share weights, gradients and means, 20 GiB on each. Beside its part each holds
#   a whole copy in 16 bits to play from, another 20, and what is in flight; Init waits in
#   main memory.
#
# What fits where, by the plan, for a text task? The heaviest training that fits is named:
# `none` trains all weights. Episodes at once are halved until it fits. GiB are those of one
# GPU. Hours are the paper's compute for a run (at `t4` the scale's own) at an assumed 30 % of
# the data sheet's operations; they are *planned* until somebody measures them, and say so.

# %%
from sftrl_lite.planning.fit import hardware_table

table = pd.DataFrame(hardware_table("gp-l")).set_index(["GPU", "scale", "run"])
table["hours"] = table["hours"].map("{:g}".format, na_action="ignore").fillna("")
table

# %% [markdown]
# And the chapters? What they train at `t4`, one run after the other on one T4, takes these
# minutes by the same plan. The two ends are answers as short as a demonstration and as long
# as allowed; evaluations come on top.

# %%
from sftrl_lite.planning.fit import chapter_table

pd.DataFrame(chapter_table("t4", "T4")).set_index("chapter")

# %% [markdown]
# RL at `full` on a small GPU fails for its update: sixteen episodes of up to five answers of 512
# tokens go through in one pass. Shorter answers would fit; nobody can promise them.
#
# ## What still differs from the paper
#
# `full` is the paper's size, not the paper's run. A list made by hand would be out of date
# soon, so this one is made of the table of scales, next to the numbers of the paper and of
# its released scripts. First what differs, with the scale's own adapter:

# %%
from sftrl_lite.runs.paper import differences

beside = pd.DataFrame(differences("full")).set_index("setting")
beside = beside.map(lambda x: x if isinstance(x, str) else f"{x:g}")  # 5e-07, not 0.0
beside[beside["same"] == "no"].drop(columns="same")

# %% [markdown]
# LoRA wants rates ten times as high. `--adapter none --vision trained` trains all weights at
# the paper's. A step of RL is counted in episodes here and in turns there; an episode has
# some four of them. And what is the same:

# %%
beside[beside["same"] == "yes"].drop(columns="same")

# %% [markdown]
# What is measured does not change with the scale, either:
#
# - *Decoding.* Evaluations sample at temperature 0.6 with `top_p` 0.9: the released
#   evaluation passes no settings, so these are Llama's own. `--eval-temperature 0` is
#   greedy, `--eval-temperature 1 --eval-top-p 1` plain sampling; `eval`, `sft` and `rl`
#   know both flags. What RL samples with while it trains is another number,
#   `--temperature`.
# - *Splits.* The same third of all hands is reserved for tests at every scale and seed,
#   however many training hands are dealt. With `--data FOLDER`, a folder of real
#   streets, `eval` walks every route of it (splits `all` and `all-rule`). For a model
#   that was trained on that folder choose `--splits id,ood-rule`, the routes that
#   training leaves out.
# - *Controls.* `--method rl-random`, `sft-verified` and `sft-varied` run as above. The
#   cheapest control needs no training: Init at several temperatures.

# %%
from sftrl_lite.files import ROOT

measured_rows = ROOT / "results" / "gpu.csv"
if measured_rows.exists():
    display(pd.read_csv(measured_rows))
else:
    print("measured on a GPU: nothing yet. To measure: make gpu-bench")

# %% [markdown]
# ## What it means, and what it does not
#
# One flag is enough for the *code*. For the memory, three choices decide: what is trained,
# in how many bits the rest lies, and how much is in flight at once. Each is a factor of a
# product that fits on paper.
#
# What was measured: bytes of weights, gradients, means, cache and activations of the tiny
# models on a CPU. The plan is within 10 % of each of them, and a test keeps it there. The
# share of bfloat16 weights that change was measured above, on random weights. One
# measurement by others is near: a public notebook (see below) fine-tunes this very model in
# four bits on a T4, with other kernels and two answers at a time, and records a peak of
# 10.3 GiB.
#
# What this chapter does *not* show:
#
# - *Memory on a GPU.* The plan adds 1 GiB for CUDA, an assumption. Kernels for attention
#   differ from the CPU's, and an allocator that breaks memory into pieces can waste more.
# - *Tokens of the real tokenizer.* It is gated as well: the plan counts 3.5 characters a
#   token. Sampled answers are planned at their longest, so most runs will take less.
# - *Speed.* Operations are counted; seconds depend on the share of the peak that is reached.
# - *That the paper's result holds at 11B with LoRA.* The paper trained all weights. A
#   narrow detour may forget less, or learn less; that needs the run.
#
# ## Further reading
#
# - Hu et al. (2021), [LoRA](https://arxiv.org/abs/2106.09685), sections 4 and 7
#   (15 minutes).
# - Dettmers et al. (2023), [QLoRA](https://arxiv.org/abs/2305.14314), section 3: NF4 and
#   double quantisation (15 minutes).
# - Unsloth's [notebooks](https://github.com/unslothai/notebooks), the one called
#   Llama3.2 (11B) Vision: QLoRA on a free T4 (10 minutes).
# - Chen et al. (2016), [Training Deep Nets with Sublinear Memory
#   Cost](https://arxiv.org/abs/1604.06174): checkpointing (10 minutes).
# - Rajbhandari et al. (2020), [ZeRO](https://arxiv.org/abs/1910.02054), section 3: where
#   the 16 bytes go, and how to share them (15 minutes).
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   appendix C: the settings of `full` (10 minutes).
#
# Next: [10. Verification and compute](10_verification_and_compute.ipynb).
