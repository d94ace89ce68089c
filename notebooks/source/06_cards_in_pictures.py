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
# # 6. Cards in pictures
#
# A hand in a picture has to be recognised before it can be solved. From one Init we
# train a small vision-language model on black suits, by supervised fine-tuning (SFT)
# and by reinforcement learning with a verifier (RL). Under red suits and under a
# shifted rule we measure how recognition and success change, with intervals. The
# controls are random reward, on-policy SFT and Init at its best temperature.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Draw a hand as a picture, and vary its look so that a *visual shift* is a family.
# - Follow a picture through Mllama: patches, tower, projector, cross-attention, mask.
# - Encode a picture once for all its samples, and show that the gradient stays the same.
# - Find a model's habits in its own answers, and say under which shifts they persist.
# - Measure recognition by itself, factor success into recognising and solving, and read
#   SFT and RL in the plane of recognition and success.
# - Judge a penalty by what it makes profitable.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup(task="gp-vl")

# %% [markdown]
# ## One hand, as a picture
#
# These are the cards of chapter 5 again, now lying on a table. Jacks count 10. The
# model gets fewer pixels than you do.

# %%
import random
import textwrap
from dataclasses import replace

import matplotlib.pyplot as plt

from sftrl_lite.course.widgets import picture_words
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.tasks.hands import Hand


def sheet(pictures, titles, across: int, finding: str, more: str = "") -> None:
    """Pictures in rows of ``across``, each under its title; the finding on top."""
    rows = -(-len(pictures) // across)
    size = (1.6 * across, 1.8 * rows)
    fig, axes = plt.subplots(rows, across, figsize=size, squeeze=False)
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=9, fontweight="normal")
        axis.axis("off")
    fig.suptitle(textwrap.fill(finding, int(11 * size[0])))
    notebook.figure(fig, alt=f"{finding}. {more}")

# %% tags=["hand-figure"]
large = general_points("id", pictures=True, size=224)
hand = large.show(Hand(("3", "5", "6", "J")), random.Random(0))
small = replace(large, size=scale.picture)
titles = [f"for you: {large.size} pixels", f"for the model: {small.size}"]
finding = "At the model's size the hand is still readable"
seen = [large.picture(hand), small.picture(hand)]
sheet(seen, titles, 2, finding, picture_words(hand))

# %% [markdown]
# You see 3, 5, 6 and J, count 3, 5, 6 and 10, and write 3 + 5 + 6 + 10 = 24. Four
# students look at the same picture.

# %%
from sftrl_lite.tasks.general_points import write_answer

nine = replace(hand, cards=("3", "5", "9", "J"))
king = replace(hand, cards=("3", "5", "6", "K"))
students = {
    "sees it, finds it": write_answer(hand, "3+5+6+10"),
    "sees it, slips": write_answer(hand, "3*5+6+10"),
    "takes the 6 for a 9": write_answer(nine, "(9+3)*10/5"),
    "takes the J for a K": write_answer(king, "3+5+6+10"),
}
for name, answer in students.items():
    v = large.verify(hand, answer)
    print(f"{name:20} {v.kind:12} {v.reward:+.1f}  cards right: {v.recognised!s:5} "
          f"numbers right: {v.read_right}")

# %% [markdown]
# The third student calculates correctly, but with another hand. The fourth even ends
# with the right numbers, since J and K both count 10, but has misread the picture, too.
# That is why *recognition* is scored on the ranks and not on the numbers. A section
# below is about the reward of a misread hand.
#
# ## Cards as pictures
#
# A short program draws the cards in any size (`card_pictures.py`). A `Look` describes
# their appearance: the suits, the deck, how far cards are shifted, rotated and scaled,
# and the noise. The *contact sheet* shows each deck in each set of suits, without
# noise.

# %% tags=["looks-figure"]
from sftrl_lite.tasks.card_pictures import DECKS, Look, SUITS

row = Hand(("A", "7", "10", "Q"))
pictures, titles = [], []
for suits in SUITS:
    for deck in DECKS:
        there = general_points("id", pictures=True, size=160)
        there = replace(there, look=Look(suits, deck, noise=0))
        pictures.append(there.picture(there.show(row, random.Random(1))))
        titles.append(f"{suits}, {deck}")
finding = "Suits change colours; decks change typeface and pips"
more = (f"A grid of {len(pictures)} pictures of the hand A, 7, 10, Q on a green table. "
        f"Rows: suits {', '.join(SUITS)}. Columns: decks {', '.join(DECKS)}.")
sheet(pictures, titles, len(DECKS), finding, more)

# %% [markdown]
# The other four settings are amounts. Four of the pictures below raise one of them
# each.

# %%
calm = Look(stray=0, turn=0, zoom=0, noise=0)
louder = dict(stray=0.35, turn=30, zoom=0.4, noise=80)
looks = {"none": calm} | {
    f"{name} {value}": replace(calm, **{name: value}) for name, value in louder.items()
}
looks["as trained"] = Look()
shown = [replace(large, look=look) for look in looks.values()]
pictures = [task.picture(task.show(row, random.Random(2))) for task in shown]
finding = "Each amount changes the picture, not the hand"
more = "The hand A, 7, 10, Q six times, with " + ", ".join(looks) + "."
sheet(pictures, list(looks), 3, finding, more)

# %% [markdown]
# So a visual shift, like a rule shift, is one member of a family. Like the paper, we
# report the shift from black to red suits. Another member, the green clubs and blue
# diamonds of a four-colour deck, is kept for choosing settings (`dev-visual`), so that
# no setting is chosen on the reported shift. A third of all hands is reserved for
# tests, by their numbers: no test hand has the numbers of a training hand.

# %%
from sftrl_lite.tasks.general_points import SPLITS

for name, (rule, suits) in SPLITS.items():
    print(f"{name:11} J, Q, K = {rule.name:9} {suits:12} {' '.join(SUITS[suits])}")

# %% [markdown]
# "Shift" means that something is not in the *fine-tuning* data. The base has seen some
# of everything, as large base models have. In its corpus the suits of a picture were
# drawn with these weights:

# %%
from collections import Counter

from sftrl_lite.training.corpus import PICTURE_HOMEWORK

print(dict(Counter(PICTURE_HOMEWORK.suits)))

# %% [markdown]
# ## How Mllama sees
#
# Llama 3.2 Vision (Mllama) is a text model with a vision tower. Its parts, in order:
#
# | part | in | out |
# | --- | --- | --- |
# | image processor | picture | pixels `(3, S, S)` |
# | vision tower | patches of the pixels | V states of its own width |
# | projector | those | V states of the text model's width |
# | cross-attention layers | L text states, V picture states | L text states |
#
# The tiny model is the same class with smaller numbers. We pass one hand through it, part
# by part.

# %%
from sftrl_lite.models.loading import load
from sftrl_lite.models.vision import to_pixels
from sftrl_lite.tasks.registry import make_task

base = scale.base_for("gp-vl")
model, processor = load(base)
task = make_task("gp-vl", scale=scale.name)
pixels = to_pixels(processor, [task.picture(hand)])
pixels = {name: tensor.to(model.device) for name, tensor in pixels.items()}
print(f"{base}: {sum(p.numel() for p in model.parameters()):,} parameters")
for name, tensor in pixels.items():
    print(f"{name:18} {tuple(tensor.shape)}")

# %% [markdown]
# The dimensions of `pixel_values` are pictures, images of a chat, *tiles*, colours,
# height and width. A large picture is cut into up to four tiles; ours always has one,
# which the other two tensors encode. Then each tile is cut into square *patches*:

# %%
import torch

side = model.config.vision_config.patch_size
tile = pixels["pixel_values"][0, 0, 0]
patches = tile.unfold(1, side, side).unfold(2, side, side)
print("colours, rows, columns, height, width:", tuple(patches.shape))

with torch.inference_mode():
    states = model.model.vision_model(**pixels).last_hidden_state
    views = model.model.multi_modal_projector(states)
print("tower:    ", tuple(states.shape))
print("projector:", tuple(views.shape))

# %% [markdown] tags=["cross-attention"]
# There is one state per patch and one for the whole picture: V states. (The tower's
# last dimension is wider than the tower, because the states of inner layers are
# appended.) The text is not used here: *the states depend on the picture alone*. We
# shall use this below.
#
# Some layers of the text model look at these states. With text states
# $h \in \mathbb{R}^{L \times d}$, picture states $S \in \mathbb{R}^{V \times d}$ and two
# learned numbers $\alpha, \beta$, the *gates*, such a layer is
#
# $$
# h \leftarrow h + \tanh(\alpha)\, \mathrm{softmax}\!\Big(\frac{(h W_q)(S W_k)^\top}
# {\sqrt{d_k}}\Big) S W_v W_o, \qquad
# h \leftarrow h + \tanh(\beta)\, \mathrm{MLP}(h).
# $$
#
# (Normalisation and heads are left out.) Queries come from the text, keys and values
# from the picture. These are the gates of our base after its training:

# %%
text = model.model.language_model
for index in text.cross_attention_layers:
    layer = text.layers[index]
    gates = layer.cross_attn_attn_gate, layer.cross_attn_mlp_gate
    opened = ", ".join(f"{gate.tanh().item():+.2f}" for gate in gates)
    print(f"layer {index} of {len(text.layers)}: tanh of the gates {opened}")

# %% [markdown]
# ### Why gates start at zero, and ours did not
#
# In the library a new model's gates are zero. The layer then does nothing at first, so
# that adding it cannot harm a text model that took months to train. But consider the
# gradient. Whatever flows back into $S$ passes the first gate and carries the factor
# $\tanh(\alpha)$. We take the base before its training, set its gates, and measure the
# gradient of one answer's loss at the picture's states.
#
# **Predict, then run.** All gates are set to 0, to 0.1 and to 0.5. What is the gradient at
# 0, and by what factor does it grow from 0.1 to 0.5?

# %%
from sftrl_lite.models.chats import ask
from sftrl_lite.models.vision import encode, image_mask, tokenizer_of
from sftrl_lite.training.pretrain import newborn

fresh, own = newborn("gp-vl")
chat = [ask(task, hand), {"role": "assistant", "content": task.demonstration(hand)}]
as_tensor = dict(return_dict=False, return_tensors="pt")
ids = tokenizer_of(own).apply_chat_template([chat], **as_tensor)

def gradient_norm(gate: float) -> float:
    """Norm of the gradient at the picture's states with all gates at ``gate``."""
    for name, weight in fresh.named_parameters():
        if name.endswith(("cross_attn_attn_gate", "cross_attn_mlp_gate")):
            weight.data.fill_(gate)
    shown = to_pixels(own, [task.picture(hand)])
    views = encode(fresh, shown).detach().float().requires_grad_()  # as its weights
    labels = ids.masked_fill(ids == fresh.config.image_token_index, -100)
    mask = image_mask(ids, fresh)
    inputs = dict(cross_attention_states=views, cross_attention_mask=mask)
    fresh(input_ids=ids, labels=labels, **inputs).loss.backward()
    return views.grad.norm().item()

# %%
for gate in (0.0, 0.1, 0.5):
    norm = gradient_norm(gate)
    print(f"gates at {gate}: gradient at the picture's states {norm:.2e}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# With closed gates the gradient is exactly zero, since $\tanh 0 = 0$ is a factor of it.
# For small $\alpha$, $\tanh \alpha \approx \alpha$, and the gradient grows about in
# proportion to the gate.
#
# </details>
#
# With closed gates the tower learns nothing until a gate has moved, and a gate moves
# only through the tower's output. A large tower has been pre-trained on millions of
# captioned pictures, and its output is useful at once. Ours has seen a few hundred
# batches of cards (`pretrain.learn_to_see`), so its gates start at 0.5.
#
# ### Which tokens see the picture
#
# The prompt holds one image token. Text before it must not see the picture, text after
# it may: the mask changes once, from 0 to 1.

# %%
tokenizer = tokenizer_of(processor)
mask = image_mask(ids.to(model.device), model)
print("ids ", tuple(ids.shape), "chats, tokens")
print("mask", tuple(mask.shape), "chats, tokens, images, tiles")
for token, sees in zip(ids[0, :5].tolist(), mask[0, :5, 0, 0].tolist(), strict=True):
    print(sees, repr(tokenizer.decode([token]))[:70])

# %% [markdown]
# ### Exercise 6.1: the mask by hand
#
# Difficulty ●●○○○ · 5 minutes
#
# Build the mask for a batch of token ids. Rows may be padded on the left, so the image
# token stands at different places. A row without an image sees nothing.

# %%
import torch


def staircase(ids: torch.Tensor, image: int) -> torch.Tensor:
    """(B, L) ids to (B, L, 1, 1): 1 from the image token on, 0 before it.

    ``staircase(tensor([[5, 9, 6]]), 9)`` holds 0, 1, 1.
    """
    raise NotImplementedError

# %%
with notebook.exercise("6.1"):
    rows = torch.tensor([[5, 9, 6, 7], [0, 0, 9, 6], [5, 6, 7, 8]])
    made = staircase(rows.clone(), 9)
    assert isinstance(made, torch.Tensor), "a mask is a tensor, as the ids are"
    assert made.shape == (3, 4, 1, 1), "chats, tokens, one image, one tile"
    assert made[0, :, 0, 0].tolist() == [0, 1, 1, 1], "the image token sees it, too"
    assert made[1, :, 0, 0].tolist() == [0, 0, 1, 1], "padding comes before it"
    assert made[2].sum() == 0, "no image, nothing to see"
    twice = staircase(torch.tensor([[9, 5, 9]]), 9)
    assert int(twice.max()) == 1, "a mask holds zeros and ones only"
    for seed in range(20):
        dice = torch.Generator().manual_seed(seed)
        height, width, image = torch.randint(2, 9, (3,), generator=dice).tolist()
        rows = torch.randint(10, (height, width), generator=dice)
        kept = rows.tolist()
        right = [[int(image in r[: i + 1]) for i in range(width)] for r in kept]
        mine = staircase(rows, image)[:, :, 0, 0].tolist()
        assert mine == right, f"{kept}, image token {image}: {mine}, not {right}"
        assert rows.tolist() == kept, "the model still needs the ids: keep them"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `(ids == image).cumsum(1)` counts the image tokens so far.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def staircase(ids: torch.Tensor, image: int) -> torch.Tensor:
#     return (ids == image).cumsum(1).clamp(max=1)[:, :, None, None]
# ```
#
# </details>
#
# ### A picture is encoded once
#
# RL samples a group of episodes of each hand, each with several tries, and then trains
# on all of them: many sequences, one picture. As its states depend on the picture
# alone, they are computed once for the group and cached for all tries. We measure what
# this saves in the forward passes of one step, with the scale's own numbers:

# %%
import time

from sftrl_lite.runs.recorder import train_hands

train = train_hands(task, scale.sft.hands, seed=0)
some = [task.picture(problem) for problem in train[: scale.rl.problems]]
once = to_pixels(processor, some)
each = {name: t.repeat_interleave(scale.rl.samples, 0) for name, t in once.items()}
for name, batch in (("one per hand", once), ("one per sample", each)):
    began = time.time()
    with torch.inference_mode():
        found = encode(model, batch)
    print(f"{name:13} {len(found):4} pictures {1000 * (time.time() - began):6.0f} ms")

# %% [markdown] tags=["one-encoding"]
# In training the tower needs a gradient as well. The groups' losses $\ell_1, \dots,
# \ell_G$ share the states $S = f(\text{picture})$, and by the chain rule
#
# $$
# \frac{\partial}{\partial \theta} \sum_g \ell_g(S) =
# \frac{\partial S}{\partial \theta}^{\!\top}
# \Big( \sum_g \frac{\partial \ell_g}{\partial S} \Big).
# $$
#
# So we can run every loss backward as far as $S$, add up the gradients there, and run
# the tower backward once.
#
# ### Exercise 6.2: share the encoding
#
# Difficulty ●●●○○ · 10 minutes
#
# Implement this. Each loss has a backward pass of its own, which frees its activations
# before the next loss is computed; the tower has only one forward and one backward
# pass.

# %%
from collections.abc import Callable

Loss = Callable[[torch.Tensor], torch.Tensor]


def shared_backward(
    tower: torch.nn.Module, picture: torch.Tensor, losses: list[Loss]
) -> None:
    """Add the gradient of the sum of ``losses`` at ``tower(picture)`` to the tower."""
    raise NotImplementedError

# %%
import copy

with notebook.exercise("6.2"):
    for n in range(1, 5):
        torch.manual_seed(n)
        tower, picture, log = torch.nn.Linear(3, n + 1), torch.randn(4, 3), []
        other = copy.deepcopy(tower)
        for one in (tower, other):  # a gradient that is there already
            one(picture).sum().backward()
        tower.register_forward_hook(lambda *_, log=log: log.append("encoded"))
        tower.weight.register_hook(lambda _, log=log: log.append("tower"))
        def loss(states: torch.Tensor, k: int, log: list) -> torch.Tensor:
            value, _ = (states - k).pow(3).sum(), log.append(f"loss {k}")
            value.register_hook(lambda _: log.append(f"backward {k}"))
            return value
        losses = [lambda s, k=k, f=loss, log=log: f(s, k, log) for k in range(n)]
        sum(loss(other(picture), k, []) for k in range(n)).backward()
        shared_backward(tower, picture, losses)
        assert log.count("encoded") == 1, "the tower encodes once"
        assert "tower" in log, "the gradient has to reach the tower"
        for a, b in zip(tower.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, rtol=1e-4), "another gradient"
        assert log.count("tower") == 1, "one backward pass through the tower"
        order = [f"{what} {k}" for k in range(n) for what in ("loss", "backward")]
        assert log[1:-1] == order, "free each loss before the next"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `detach().requires_grad_()` cuts the graph at the states and collects a gradient there;
# `states.backward(gradient)` goes on from a given gradient.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def shared_backward(
#     tower: torch.nn.Module, picture: torch.Tensor, losses: list[Loss]
# ) -> None:
#     states = tower(picture)
#     shared = states.detach().requires_grad_()
#     for loss in losses:
#         loss(shared).backward()
#     states.backward(shared.grad)
# ```
#
# </details>
#
# ### Exercise 6.3: encode once for a group
#
# Difficulty ●●●○○ · 12 minutes
#
# Do the same on the tiny model. An update of RL contains several episodes of each hand;
# `which[i]` is the number of the picture that episode $i$ looks at. `one_by_one` is
# correct, but encodes a picture again for each of its episodes. Write `group_backward`,
# which leaves the same gradient on every weight and encodes each picture once.

# %%
from sftrl_lite.models.vision import Pixels, encode, image_mask
from transformers import PreTrainedModel as Model


def episode_loss(
    model: Model, views: torch.Tensor, episode: list[torch.Tensor]
) -> torch.Tensor:
    """Mean loss of an answer; ids and labels (L,), its picture's states (V, width)."""
    ids, labels = (row[None] for row in episode)
    sees = dict(cross_attention_states=views[None].float())  # as its weights
    sees["cross_attention_mask"] = image_mask(ids, model)
    return model(input_ids=ids, labels=labels, **sees).loss

def one_by_one(model: Model, pixels: Pixels, which: list, said: list) -> None:
    """Add the gradient of the sum of the episodes' losses to the model."""
    for i, episode in zip(which, said, strict=True):
        views = encode(model, {name: part[[i]] for name, part in pixels.items()})[0]
        episode_loss(model, views, episode).backward()

def group_backward(model: Model, pixels: Pixels, which: list, said: list) -> None:
    """The same; ``encode(model, pixels)``: all P pictures' states (P, V, width)."""
    raise NotImplementedError

# %%
from sftrl_lite.models.chats import demonstrated

with notebook.exercise("6.3"):
    cards = make_task("gp-vl")
    for which in ([0, 0, 0], [1, 0, 1, 2]):
        torch.manual_seed(len(which))
        (mine, reader), log = newborn("gp-vl"), []
        theirs, tower = copy.deepcopy(mine), mine.model.vision_model
        hands = [cards.sample(random.Random(i)) for i in {*which}]
        seen = to_pixels(reader, [cards.picture(hand) for hand in hands])
        texts = (write_answer(hands[0], "8+6+4"[: 2 * k + 1]) for k in range(4))
        chats = [[ask(cards, hands[i]), dict(role="assistant", content=next(texts))]
                 for i in which]
        rows = demonstrated(reader, chats)
        said = [[torch.tensor(r[k]) for k in ("input_ids", "labels")] for r in rows]
        tower.register_forward_hook(lambda _, x, y, log=log: log.append(len(y[0])))
        tower.class_embedding.register_hook(lambda _, log=log: log.append("back"))
        one_by_one(theirs, seen, which, said)
        group_backward(mine, seen, which, said)
        assert sum(n for n in log if n != "back") == len(hands), "encode a picture once"
        assert "back" in log, "the gradient has to reach the tower"
        assert log.count("back") <= len(hands), "one backward pass a picture is enough"
        for name, weight in theirs.named_parameters():
            off = (mine.get_parameter(name).grad - weight.grad).norm()
            assert off <= 1e-3 * weight.grad.norm(), f"another gradient at {name}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `encode(model, pixels)` takes the place of the tower of exercise 6.2. Episode $i$ uses
# row `which[i]` of the states.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def group_backward(model: Model, pixels: Pixels, which: list, said: list) -> None:
#     states = encode(model, pixels)
#     shared = states.detach().requires_grad_()
#     for i, episode in zip(which, said, strict=True):
#         episode_loss(model, shared[i], episode).backward()
#     states.backward(shared.grad)
# ```
#
# A minibatch of the course's PPO does this with padded rows (`updates.encoded`).
#
# </details>
#
# ## What the model reads
#
# We start with Init, on reserved hands of the three reported splits. The paper samples
# answers at temperature 0.6 with top_p 0.9, and so do we; its metric is solving within
# five tries. We add the first try, greedy decoding and plain sampling (temperature 1):
# which of them works best depends on the model, so Init is compared at its best one.
# `recognised` is the share of first answers that name the four cards, in any order.

# %%
import pandas as pd
from tqdm.auto import tqdm

from sftrl_lite.runs.recorder import held_out
from sftrl_lite.training.evaluate import evaluate

SHIFTS = {"id": "black suits", "ood-rule": "shifted rule", "ood-visual": "red suits"}
DECODINGS = {"paper": (0.6, 0.9), "greedy": (0.0, 1.0), "T 1": (1.0, 1.0)}
tasks = {split: make_task("gp-vl", split, scale.name) for split in SHIFTS}
tests = {s: held_out(tasks[s], scale.eval_episodes * 2 // 5, 0) for s in SHIFTS}
found, played = {}, {}

def measure(name: str, student) -> None:
    """Play all test hands: the paper's decoding with all tries, the others with one."""
    for s in tqdm(SHIFTS, name):
        for way, (temperature, top_p) in DECODINGS.items():
            tries = scale.rl.tries if way == "paper" else 1
            chosen = dict(temperature=temperature, top_p=top_p, tries=tries)
            chosen["max_new_tokens"] = scale.rl.max_new_tokens
            result = evaluate(student, processor, tasks[s], tests[s], **chosen)
            found[name, s, way], played[name, s, way] = result

# %%
def overview(*names: str) -> pd.DataFrame:
    """Solved within the budget and at the first try, and recognised, in per cent."""
    lines = {}
    for name, s in ((name, s) for s in SHIFTS for name in names):
        here = {way: found[name, s, way] for way in DECODINGS}
        line = {f"{scale.rl.tries} tries, paper": here["paper"]["success"]}
        line |= {f"first try, {way}": e["success@1"] for way, e in here.items()}
        line |= {"recognised, paper": here["paper"]["recognised"]}
        lines[SHIFTS[s], name] = {k: 100 * e.value for k, e in line.items()}
    return pd.DataFrame(lines).T.round(1)

measure("Init", model)
overview("Init")

# %% [markdown]
# ### Init's habits
#
# How does Init fail? Its answers name the cards in reading order, so we can compare
# place by place. If all places were equally hard and independent, a share $c$ of
# recognised cards would give a share $c^4$ of recognised hands. Agreement of the two
# numbers does not prove this. Compare the places:

# %%
from sftrl_lite.tasks.base import read_answer


def card_pairs(episodes) -> list[list[tuple[str, str]]]:
    """For each first answer that names all places: (card on the table, card named)."""
    found = []
    for episode in episodes:
        named = (read_answer(episode.turns[0].answer) or {}).get("cards")
        if isinstance(named, list) and len(named) == len(episode.problem.cards):
            found.append(list(zip(episode.problem.cards, map(str, named), strict=True)))
    return found

for s, words in SHIFTS.items():
    hands = card_pairs(played["Init", s, "paper"])
    if not hands:
        print(f"{words:13} no answer names the cards")
        continue
    by_place = zip(*hands, strict=True)
    places = [sum(a == b for a, b in place) / len(hands) for place in by_place]
    c, whole = sum(places) / 4, sum(all(a == b for a, b in hand) for hand in hands)
    wrong = Counter(pair for hand in hands for pair in hand if pair[0] != pair[1])
    most = ", ".join(f"{b} for {a} {n}" for (a, b), n in wrong.most_common(6))
    print(f"{words:13} right by place", " ".join(f"{share:.0%}" for share in places),
          f"| cards {c:.1%}, to the fourth {c**4:.0%}, hands {whole / len(hands):.0%}")
    print(f"{'':13} writes {most}")

# %% [markdown]
# Compare the four places, then the confusions of the three splits. Init was built to
# have *habits*, as large models have: most of the time it makes the same mistake in the
# same situation, so that the most likely answer is about as good as the average one.
# They come from its corpus. Careless students take the second card for its *twin*, or,
# mostly where the first card is low, write one of three formulas with the numbers in
# reading order:

# %%
from sftrl_lite.training.corpus import HABITS, LOW, TWINS

book = PICTURE_HOMEWORK
print("twins:    ", ", ".join(f"{card} as {twin}" for card, twin in TWINS.items()))
print("formulas: ", "; ".join(HABITS))
low = book.careless[0]
print(f"careless: {low:.0%} where the first card is one of {', '.join(LOW)}, else "
      f"{low * book.elsewhere:.1%}; twin for the second card: {book.misread[0]:.0%}")

# %%
def habits(episodes) -> dict[str, float]:
    """How often a first answer follows a habit, by whether its cue is there."""
    hits = {"twin": [], "formula, low": [], "formula, other": []}
    for episode in episodes:
        answer = read_answer(episode.turns[0].answer) or {}
        (first, second, *_), cards = episode.problem.cards, answer.get("cards")
        if second in TWINS:
            said = cards[1:2] if isinstance(cards, list) else []
            hits["twin"].append(said == [TWINS[second]])
        numbers = answer.get("number")
        whole = isinstance(numbers, list) and len(numbers) == 4
        forms = [f.replace(" ", "").format(*numbers) + "=24" for f in HABITS if whole]
        wrong = not episode.turns[0].verdict.solved
        cue = "formula, low" if first in LOW else "formula, other"
        hits[cue].append(wrong and answer.get("formula") in forms)
    return {name: sum(found) / max(len(found), 1) for name, found in hits.items()}

def habit_table(*names: str) -> pd.DataFrame:
    """Habits at the first try, in per cent: a row per model, a column per split."""
    rows = {n: {(SHIFTS[s], k): 100 * v for s in SHIFTS
                for k, v in habits(played[n, s, "paper"]).items()} for n in names}
    return pd.DataFrame(rows).T.round(1)

# %%
habit_table("Init")

# %% [markdown]
# `twin` is counted over hands whose second card has a twin, `formula` separately over
# hands with a low first card and with another one. Compare the three splits. In the
# corpus carelessness does not depend on suits or rule, so the habits are shared: a
# policy that loses one of them under black suits, because it is not rewarded there, may
# lose it under red suits and under another rule as well. Whether it does is measured
# below, with the same table.
#
# ### A family of shifts
#
# A split is one member of a family. Here is Init's recognition for some other members,
# all under the trained rule and at the paper's decoding:

# %% tags=["family"]
from sftrl_lite.training.rollouts import rollout


def recognition(model, processor, look: Look, hands: int = 150) -> float:
    """Share of hands of this look whose cards a first answer names right."""
    there = replace(make_task("gp-vl", scale=scale.name), look=look)
    rng, dice = random.Random(0), torch.Generator(model.device).manual_seed(0)
    problems = [there.sample(rng) for _ in range(hands)]
    episodes = rollout(model, processor, there, problems, tries=1, generator=dice,
                       temperature=0.6, top_p=0.9,
                       max_new_tokens=scale.rl.max_new_tokens)
    return sum(e.turns[0].verdict.recognised for e in episodes) / hands

family = {suits: Look(suits) for suits in SUITS}
family |= {f"black, {deck}": Look(deck=deck) for deck in DECKS[1:]}
family |= {f"black, {k} {value}": Look(**{k: value}) for k, value in louder.items()}
for name, look in tqdm(family.items()):
    print(f"{name:18} {recognition(model, processor, look):4.0%}")

# %% [markdown]
# ### Exercise 6.4: a look of your own
#
# Difficulty ●●○○○ · 8 minutes
#
# Design a look with black suits that Init reads at least 20 points worse than the
# trained look, but that a person reads with ease: noise no stronger than in training,
# cards turned by no more than 20 degrees, shifted by no more than a fifth of their
# width, larger or smaller by no more than three tenths.

# %%
def hard_look() -> Look:
    """A look for people and against Init; ``Look(turn=20)`` is an attempt."""
    raise NotImplementedError

# %%
from sftrl_lite.models.loading import load
from sftrl_lite.scales import get_scale
from sftrl_lite.training.rollouts import rollout

with notebook.exercise("6.4"):
    look, plain, got = hard_look(), Look(), {}
    assert isinstance(look, Look), "a look is a Look, such as Look(turn=20)"
    assert look.suits == "black" and look.noise <= plain.noise, "black, no more grain"
    assert look.layout == plain.layout, "cards in two rows, as in training"
    assert look.turn <= 20 and look.stray <= 0.2, "turned or strayed too far"
    assert look.zoom <= 0.3, "too small to read for people, too"
    eyes = load(get_scale().base_for("gp-vl"))
    for style in (look, plain):
        there = replace(make_task("gp-vl"), look=style)
        hands = [there.sample(random.Random(i)) for i in range(100)]
        dice = torch.Generator(eyes[0].device).manual_seed(0)
        ways = dict(tries=1, generator=dice, temperature=0.6, top_p=0.9)
        first = rollout(*eyes, there, hands, **ways)
        got[style] = sum(e.turns[0].verdict.recognised for e in first)
    drop = got[plain] - got[look]
    assert drop >= 20, f"only {drop} points worse; try another deck or zoom"

# %% [markdown] tags=["recognise-and-solve"]
# <details><summary>Hint</summary>
#
# Decks differ in typeface and in whether they show pips at all; `zoom` works in both
# directions.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def hard_look() -> Look:
#     return Look(deck="jumbo", stray=0.2, turn=20, zoom=0.3)
# ```
#
# </details>
#
# ## Recognising times solving
#
# The verifier never counts a misread hand as solved, whatever its formula. So the law
# of total probability has only one term here:
#
# $$P(\text{solve}) = P(\text{recognise}) \cdot P(\text{solve} \mid \text{recognise}).$$
#
# This is exact. So success can change for two reasons, and each can be measured.

# %%
def factors(episodes) -> pd.Series:
    """Recognition, solving given recognition, and their product, at the first try."""
    seen = [e.turns[0].verdict for e in episodes if e.turns[0].verdict.recognised]
    solved = sum(v.solved for v in seen)
    product = dict(recognise=len(seen) / len(episodes))
    product["solve | recognise"] = solved / len(seen) if seen else float("nan")
    product["solve"] = solved / len(episodes)
    return pd.Series(product)

lines = {w: factors(played["Init", s, "paper"]) for s, w in SHIFTS.items()}
pd.DataFrame(lines).T.round(3)

# %% [markdown]
# Compare the other rows with the first. A change of suits should show in the first
# column, a change of the rule in the second: this is how to find out where a shift
# acts.
#
# ### Exercise 6.5: a chain of three
#
# Difficulty ●●○○○ · 7 minutes
#
# Under a shifted rule even solving has two parts: *counting* the recognised cards by the
# announced rule, and *calculating* with the numbers. Return the three factors. A verdict
# has `recognised`, `read_right` (its numbers are those of the hand) and `solved`.

# %%
from sftrl_lite.tasks.base import Verdict


def chain(verdicts: list[Verdict]) -> tuple[float, float, float]:
    """P(recognise), P(count | recognise), P(solve | recognise and count).

    A factor whose condition never holds is 0.
    """
    raise NotImplementedError

# %%
from sftrl_lite.tasks.base import Verdict

with notebook.exercise("6.5"):
    def made(recognised: bool, right: bool, solved: bool) -> Verdict:
        return Verdict(solved, "", 0.0, "", None, right, recognised)

    both = [made(True, True, True), made(True, True, False)]
    rest = [made(True, False, False), made(False, True, False)]
    some = both + rest
    a, b, c = chain(some)
    assert a == 0.75, "three of four hands are recognised"
    assert abs(b - 2 / 3) < 1e-9, "two of these three are counted right"
    assert c == 0.5, "one of these two is solved"
    assert some == both + rest, "the verdicts are still needed: do not change the list"
    assert chain(rest[1:]) == (0, 0, 0), "nothing recognised, nothing to condition on"
    dice = random.Random(0)
    for n in range(1, 40):
        drawn = [dice.choices((True, False), (2, 1), k=3) for _ in range(n)]
        counts = [sum(all(flags[:i]) for flags in drawn) for i in range(4)]
        mine = chain([made(*flags) for flags in drawn])
        for share, of, k in zip(mine, counts, counts[1:], strict=False):
            due = k / of if of else 0
            assert abs(share - due) < 1e-9, f"{k} of {of} are {due}, not {share}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Filter twice, and divide each length by the one before.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def chain(verdicts: list[Verdict]) -> tuple[float, float, float]:
#     seen = [v for v in verdicts if v.recognised]
#     counted = [v for v in seen if v.read_right]
#     solved = [v for v in counted if v.solved]
#     steps = [verdicts, seen, counted, solved]
#     pairs = zip(steps, steps[1:])
#     return tuple(len(b) / len(a) if a else 0.0 for a, b in pairs)
# ```
#
# </details>
#
# ## What a misread hand costs
#
# A misread hand costs 1.5 points in the paper (appendix A.3). According to its text
# this is *in addition* to what the formula costs; the released code gives −1.5 *instead
# of* the rest. It seems a detail, but the two reward different behaviour. The formula
# alone earns:

# %%
from sftrl_lite.tasks.verifier import REWARDS

for kind in ("solved", "wrong_value", "wrong_numbers", "illegal"):
    print(f"{kind:14} {REWARDS[kind]:+.1f}")

# %% [markdown]
# ### Exercise 6.6: two penalties
#
# Difficulty ●●○○○ · 8 minutes
#
# Write both. In the `paper` variant a misread hand costs 1.5 points in addition to its
# formula, and a formula that makes 24 from misread cards counts as a wrong value. In
# the `released` variant a misread hand earns −1.5, whatever the formula.

# %%
def misread_reward(kind: str, recognised: bool, variant: str) -> float:
    """Points of an answer: ``misread_reward("illegal", False, "paper")`` is -4.5.

    Args:
        kind: what the formula alone is, a key of ``REWARDS``.
        variant: ``paper`` or ``released``.
    """
    raise NotImplementedError

# %%
from sftrl_lite.tasks.verifier import REWARDS

with notebook.exercise("6.6"):
    plain = misread_reward("solved", True, "paper")
    assert isinstance(plain, float | int), f"points are a number, not {plain!r}"
    for variant in ("paper", "released"):
        assert misread_reward("solved", True, variant) == 5, "read right: as before"
        assert misread_reward("illegal", True, variant) == -3, "read right: as before"
    assert misread_reward("wrong_numbers", False, "paper") == -3.5, "-2 and -1.5"
    assert misread_reward("solved", False, "paper") == -2.5, "no +5 for other cards"
    assert misread_reward("illegal", False, "released") == -1.5, "whatever the formula"
    kinds = ("solved", "wrong_value", "wrong_numbers", "illegal")
    misread = {"paper": (-2.5, -2.5, -3.5, -4.5), "released": (-1.5,) * 4}
    for variant, due in misread.items():
        for kind, points in zip(kinds, due, strict=True):
            mine = tuple(misread_reward(kind, saw, variant) for saw in (True, False))
            told = f"{kind}, {variant}: {mine} points, read right and misread"
            assert mine == (REWARDS[kind], points), told
    gains = {variant: [k for k in kinds if misread_reward(k, False, variant)
             > misread_reward(k, True, variant)] for variant in ("paper", "released")}
    assert gains["paper"] == [], "misreading never pays in the paper's variant"
    assert gains["released"] == ["wrong_numbers", "illegal"], "here it pays for two"

# %% [markdown]
# <details><summary>Hint</summary>
#
# A misread hand earns no more than a wrong value:
# `min(REWARDS[kind], REWARDS["wrong_value"])`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def misread_reward(kind: str, recognised: bool, variant: str) -> float:
#     if recognised:
#         return REWARDS[kind]
#     if variant == "released":
#         return REWARDS["misread"]
#     return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])
# ```
#
# </details>
#
# Two kinds of failure get *cheaper* in the released variant when the cards are misread
# as well. A policy that solves a hand with probability $p$ and otherwise gets $-c$ has
# the expected reward $5p - c(1 - p)$. Naming wrong cards on purpose earns more as long
# as this is below −1.5, that is, for $p < (c - 1.5) / (c + 5)$.

# %% tags=["misreading-pays"]
for kind in ("wrong_value", "wrong_numbers", "illegal"):
    c = -REWARDS[kind]
    below = max((c - 1.5) / (c + 5), 0)
    print(f"fails as {kind:14} misreading pays below p = {below:.0%}")

# %% [markdown]
# A model that mostly fails with `wrong_value` gains nothing by misreading. A weak one can,
# early in training, and gets stuck: an answer that names wrong cards never earns +5. Our
# verifier follows the paper's text.
#
# ## SFT and RL from one Init
#
# We repeat chapter 0 with pictures. Both methods get the same training hands with black
# suits and J, Q, K = 10, and the scale's settings with half of its training compute,
# equal by the paper's count. All weights are trained, the tower's too. SFT imitates a
# solver's answers, one per hand, and each names the cards correctly. RL sees no answer.
# A second call of this cell continues the runs or reads them.

# %%
from sftrl_lite.files import ROOT
from sftrl_lite.runs.headline import side_by_side
from sftrl_lite.runs.run_config import Run

options = dict(
    task="gp-vl",
    scale=scale.name,
    tflop=scale.compute("gp-vl") / 2,
    points=2,
    eval_episodes=scale.eval_episodes // 5,
    final_episodes=scale.eval_episodes * 2 // 5,
    curve_episodes=0,  # other temperatures are measured below, for all models alike
)
plan = {method: Run(method, **options) for method in ("sft", "rl-ppo")}
folder = ROOT / "runs" / "chapter-6" / plan["sft"].hash
first_two = side_by_side(plan, folder, "chapter-6")

# %% [markdown]
# Then come two controls, one on each core. `rl-random` is the same PPO on the same
# hands with a *random reward* of mean zero (`controls.Coin`): its changes are not due
# to the verifier. `sft-verified` is *on-policy SFT*: supervised fine-tuning on those of
# Init's own answers to the training hands that the verifier accepted. It shows whether
# SFT's losses are due to off-policy demonstrations.

# %%
few = {"points": 1, "final_episodes": scale.eval_episodes // 5}
control = {m: Run(m, **options | few) for m in ("sft-verified", "rl-random")}
table = pd.concat([first_two, side_by_side(control, folder, "chapter-6")])

# %% [markdown]
# The next table shows the cost by the paper's count of FLOPs and by a count with a KV
# cache. Minutes are the wall-clock time of a run on one core, evaluations included.
# Equal FLOPs are not equal numbers of gradient updates.

# %%
from sftrl_lite.results import plots, recognition_plots, temperature_plots
from sftrl_lite.results.tables import cost_table

cost_table(table)

# %%
plots.summary_table(table, ("success", "success@1", "recognised"), SHIFTS).T

# %% [markdown]
# `success` is solving within the scale's number of tries, `success@1` at the first,
# `recognised` is the first answer's cards, all in per cent at the paper's decoding with
# 95 % intervals over hands. All of this is one seed. The same models at other decodings:

# %%
names = {"SFT": "sft", "RL": "rl-ppo"}
for name, method in names.items():
    student = None  # a GPU may hold no third model
    student, _ = load(folder / method / "model")
    measure(name, student)
overview("Init", *names)

# %%
from sftrl_lite.results.intervals import Estimate, difference


def told(mine: Estimate, other: Estimate) -> str:
    """A difference in points with its 95 % interval, and what that says of the sign."""
    counts = [(round(e.value * e.n), e.n) for e in (mine, other)]
    gap = difference(*counts[0], *counts[1])
    clear = "above" if gap.value > 0 else "below"
    sign = "level" if gap.low <= 0 <= gap.high else clear
    ends = f"[{100 * gap.low:+.0f}, {100 * gap.high:+.0f}]"
    return f"{100 * gap.value:+.0f} {ends} ({sign})"

for s, words in SHIFTS.items():
    first = {(n, way): found[n, s, way]["success@1"]
             for n in ("Init", *names) for way in DECODINGS}
    best = max(DECODINGS, key=lambda way, first=first: first["Init", way].value)
    for name in names:
        said = ", ".join(f"{way} {told(first[name, way], first['Init', best])}"
                         for way in ("paper", "greedy"))
        print(f"{words:13} {name:4} first try against Init's best ({best}): {said}")

# %% [markdown]
# Points with 95 % intervals over the hands of this one seed; Init's best decoding was
# picked after looking. A gain over Init at the same temperature that is not a gain over
# Init at its best one is *sharpening*: another temperature would have done the same.
# What happened to the habits?

# %%
habit_table("Init", *names)

# %% tags=["habits"]
for s, words in SHIFTS.items():
    for k in ("twin", "formula, low"):
        shares = {n: 100 * habits(played[n, s, "paper"])[k] for n in ("Init", *names)}
        said = ", ".join(f"{n} {share:.0f} %" for n, share in shares.items())
        print(f"{words:13} habit {k!r}: {said}")

# %% [markdown]
# Compare the splits: only black suits were trained. If the row for red suits follows
# the row for black ones, the unlearning transfers.
#
# Where does a change come from? With recognition $r$ and solving $s$ before (0) and after
# (1), the change of first-try success is the sum of two terms:
#
# $$
# r_1 s_1 - r_0 s_0 = (r_1 - r_0)\, \tfrac{s_0 + s_1}{2} +
# (s_1 - s_0)\, \tfrac{r_0 + r_1}{2}.
# $$

# %%
products = {(n, s): factors(played[n, s, "paper"])
            for n in ("Init", *names) for s in SHIFTS}

def parts(name: str, split: str) -> tuple[float, float]:
    """Points of first-try success gained by recognising, and by solving."""
    (r0, s0, _), (r1, s1, _) = products["Init", split], products[name, split]
    return 100 * (r1 - r0) * (s0 + s1) / 2, 100 * (s1 - s0) * (r0 + r1) / 2

for s, words in SHIFTS.items():
    for name in names:
        seen, solved = parts(name, s)
        print(f"{words:13} {name:4} first-try success {seen + solved:+5.1f} points: "
              f"recognising {seen:+5.1f}, solving {solved:+5.1f}")

# %% [markdown]
# ## The figure of this chapter
#
# Each panel is one split. The horizontal axis shows how many hands are recognised, the
# vertical one how many are solved within the budget. The star is Init; a line connects
# the evaluations of a run, and its markers grow with training. Crosses are 95 %
# intervals, here over the hands of one seed. This is our version of the paper's figure
# 8, with intervals and controls.

# %%
def moved(rows, *methods: str) -> str:
    """Which models moved, by intervals clear of zero; decoding as in the paper."""
    told = {"recognised": "hands recognised", "success": "solved within the budget"}
    lines = [
        f"{words}, {what}: {plots.finding(rows, metric, s, methods)}"
        for s, words in SHIFTS.items() for metric, what in told.items()
    ]
    seeds = rows["seed"].nunique()
    return ". ".join(lines) + f" ({seeds} seed{'s' * (seeds > 1)})."

order = ("rl-ppo", "sft", "sft-verified", "rl-random")
said = plots.finding(table, "success", "ood-visual", ("rl-ppo", "sft"))
title = f"Red suits, solved: {said}"
fig = recognition_plots.recognition_path(table, methods=order, title=title)
notebook.figure(fig, alt=recognition_plots.recognition_alt(table, methods=order))
notebook.show(moved(table, *order))

# %% [markdown]
# ## The same with more seeds
#
# One seed is not a result. These are the recorded runs of `results/ledger.csv`: Init,
# both methods, SFT at a higher learning rate, three controls. The intervals include the
# noise of seeds and of hands. Rates were chosen on training hands and on development
# shifts (`vl-sweep`), with one exception: that rule gives RL 1e-4, but at this rate one
# of the eight reported seeds collapsed already on its training hands. So RL runs at
# 3e-5; the runs at 1e-4 are kept as `vl-rl-push`.

# %%
from sftrl_lite.results.report import missing, recorded
from sftrl_lite.results.tables import PICTURES, gap_table, main_table

experiments = ["vl-headline", "vl-push", "vl-controls"]
rows = recorded(*experiments)
rows = rows[rows["scale"] == scale.name]
for line in missing(experiments, rows):
    print(line)
if len(rows):
    display(main_table(rows, PICTURES))

# %% tags=["seeds-figure"]
order = ("rl-ppo", "sft", "sft-pushed", "sft-varied", "sft-verified", "rl-random")
if "vl-headline" in set(rows["experiment"]):
    said = plots.finding(rows, "success", "ood-visual", ("rl-ppo", "sft"))
    fig = recognition_plots.recognition_path(
        rows, methods=order, title=f"Red suits, solved: {said}"
    )
    notebook.figure(fig, alt=recognition_plots.recognition_alt(rows, methods=order))
    notebook.show(moved(rows, *order))

# %% [markdown]
# The differences at the end, in points, paired by seed. `Init at its best temperature` was
# picked after seeing the results, which favours Init. If an interval contains 0, the sign is
# open.

# %%
if "vl-headline" in set(rows["experiment"]):
    display(gap_table(rows, {"ood-rule": "success@5", "ood-visual": "success@5"}))

# %%
if "vl-headline" in set(rows["experiment"]):
    drawn = dict(metric="success@1", split="ood-visual", methods=("rl-ppo", "sft"))
    alt = temperature_plots.temperature_alt(rows, **drawn)
    notebook.figure(temperature_plots.temperature_curve(rows, **drawn), alt=alt)

# %% [markdown]
# What the claims of chapter 13 say about cards in pictures, before and after Holm's
# correction for the number of claims, and what the runs cost:

# %%
from sftrl_lite.results.claims import claims_table

shown = ["claim", "measured here", "seeds", "verdict", "after Holm"]
if len(rows):
    claims = claims_table()
    display(claims.loc[claims["chapter"] == 6, shown].set_index("claim"))
    display(cost_table(rows))

# %% [markdown]
# ## The paper's own numbers
#
# The paper reports the success below for cards in pictures at 11 B parameters (figures
# 6 and 7), one run each. The number of episodes is not printed; the released evaluation
# scripts use 234, and not all of these are multiples of 1/234, so they were smoothed or
# counted differently. If we take them as counts of 234, Fisher's exact test gives:

# %% tags=["paper-bars"]
from scipy.stats import fisher_exact

N = 234
paper = {
    "red suits": {"Init": 23.6, "RL": 41.2, "SFT": 13.7},
    "shifted rule": {"Init": 11.2, "RL": 14.2, "SFT": 5.6},
}
for shift, bars in paper.items():
    count = {name: round(N * share / 100) for name, share in bars.items()}
    for a, b in (("RL", "Init"), ("SFT", "Init"), ("RL", "SFT")):
        grid = [[count[a], N - count[a]], [count[b], N - count[b]]]
        p = fisher_exact(grid).pvalue
        gap = bars[a] - bars[b]
        sign = "clear" if p < 0.01 else "barely clear" if p < 0.05 else "not clear"
        print(f"{shift:13} {a:4}- {b:5} {gap:+5.1f} points, p = {p:.2g}: {sign}")

# %% [markdown]
# So both of the paper's signs are clear under the visual shift; under the rule shift
# RL's gain is not, and SFT's loss barely is. Moreover, the paper's SFT on pictures
# hardly learned the task at all: over all learning rates and choices of tuned parts, no
# setting passed 30 % on the training distribution (its figure 16), while RL went from
# about 20 to 50 % (figure 17).
#
# ## A place to play
#
# Here are failures on red suits, picture by picture and try by try: hands that RL's
# first answer got wrong, misread ones first. Would you have misread the same card? Does
# the model look again after the verifier's message, or does it repeat the mistake?

# %%
from sftrl_lite.course.widgets import picture_viewer

there = played["RL", "ood-visual", "paper"]
failed = [e for e in there if not e.turns[0].verdict.solved]
failed.sort(key=lambda e: e.turns[0].verdict.recognised)
if failed:
    picture_viewer(tasks["ood-visual"], failed[:12])
else:
    print("no first answer failed")

# %% [markdown]
# We count: of the hands that were misread at the first try, how many are recognised at
# the last? This needs no second encoding, because the picture's states are in the
# cache.

# %%
for name in ("Init", *names):
    episodes = played[name, "ood-visual", "paper"]
    missed = [e for e in episodes if not e.turns[0].verdict.recognised]
    late = sum(bool(e.turns[-1].verdict.recognised) for e in missed)
    print(f"{name:5} misread {len(missed):3} of {len(episodes)} at first, "
          f"{late} of them recognised at the last try")

# %% [markdown]
# ## What it means, and what it does not
#
# The reward for solving also trains the vision tower. No term of it rewards recognition
# directly; but only a recognised hand can earn 5 points, so when a policy samples
# several readings of a picture, the right one becomes more likely. Init's misreadings
# are habits that in its corpus depend on neither suits nor rule. So RL under black
# suits can remove what does harm under red ones, without ever seeing them. Whether it
# did can be read in the tables: the habits of the live models, and RL against *Init at
# its best temperature* in the recorded ones. A gain over Init at only one temperature
# would be sharpening.
#
# A demonstration also names the cards right, but for *these* pictures, and after some epochs
# the model may recognise a hand by its noise instead: the loss does not care how. Compare
# training hands with fresh ones, black with red, and SFT with on-policy SFT, which is
# supervised too, but on answers that Init itself gives.
#
# What this chapter does *not* show:
#
# - *That the shift is unseen.* The base saw some red and four-colour cards; a shift
#   here is one between fine-tuning and test, as for the paper's model, which has
#   certainly seen red cards before.
# - *That the same holds for every look.* The trained models were not tested on most members
#   of the family above. Try yours.
# - *Which part of the model changed.* Everything was trained at one rate. Runs with a
#   frozen tower, or with only the tower trained, would show it.
# - *A law of size.* The base is a model organism: its corpus holds careful and habitual
#   answers, so that there is something to select. The paper's numbers are given above.
# - *A result from one seed.* Signs and intervals are in the recorded section.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   sections 5.2 and 5.3: visual shift and recognition (15 minutes).
# - Llama Team (2024), [The Llama 3 Herd of Models](https://arxiv.org/abs/2407.21783),
#   section 7: vision for a text model (25 minutes).
# - Alayrac et al. (2022), [Flamingo](https://arxiv.org/abs/2204.14198), section 2: gated
#   cross-attention, and why the gates start closed (20 minutes).
# - Dosovitskiy et al. (2021),
#   [An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929), section 3: patches
#   as tokens (15 minutes).
# - Radford et al. (2021), [CLIP](https://arxiv.org/abs/2103.00020), sections 1 and 2: how
#   towers learn to see (25 minutes).
# - The [Mllama](https://huggingface.co/docs/transformers/model_doc/mllama) page of
#   transformers (10 minutes).
#
# Next: [7. Streets in text](07_streets_in_text.ipynb).
