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
# A hand in a picture has to be recognised before it can be solved; we train one small
# vision-language model on black suits, by imitation and by trial and verifier, and
# measure for both, against red suits and against a shifted rule, how far recognition
# and success move together, with intervals, and with a coin-paid learner as control.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Draw a hand as a picture, and vary its look so that a *visual shift* is a family.
# - Follow a picture through Mllama: patches, tower, projector, cross-attention, mask.
# - Encode a picture once for all its samples, and show that the gradient stays the same.
# - Measure recognition by itself, and factor success into recognising and solving.
# - Judge a penalty by what it makes profitable.
# - Read SFT and RL in the plane of recognition and success.

# %%
from sftrl_lite import notebook

scale = notebook.setup(task="gp-vl")

# %% [markdown]
# ## One hand, as a picture
#
# The cards of chapter 5 again, now lying on a table. Jacks count 10. A person wants some
# pixels; the model has to do with fewer.

# %%
import random
from dataclasses import replace

import matplotlib.pyplot as plt

from sftrl_lite.general_points import Hand, general_points
from sftrl_lite.widgets import picture_words


def sheet(pictures, titles, across: int, alt: str) -> None:
    """Pictures in rows of ``across``, each under its title."""
    rows = -(-len(pictures) // across)
    size = (1.6 * across, 1.8 * rows)
    fig, axes = plt.subplots(rows, across, figsize=size, squeeze=False)
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=9, fontweight="normal")
        axis.axis("off")
    notebook.figure(fig, alt=alt)

# %%
large = general_points("id", pictures=True, size=224)
hand = large.show(Hand(("3", "5", "6", "J")), random.Random(0))
small = replace(large, size=scale.picture)
titles = [f"for you: {large.size} pixels", f"for the model: {small.size}"]
alt = "The same hand in two sizes. " + picture_words(hand)
sheet([large.picture(hand), small.picture(hand)], titles, 2, alt)

# %% [markdown]
# You see 3, 5, 6 and J, count 3, 5, 6 and 10, and write 3 + 5 + 6 + 10 = 24. Four
# students look at the same picture.

# %%
from sftrl_lite.general_points import write_answer

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
# The third student calculates well, about a hand that nobody dealt. The fourth even ends
# with the right numbers, since J and K both count 10, and has misread all the same. That
# is why *recognition* is counted on the ranks and not on the numbers. The reward of a
# misread hand gets a section of its own below.
#
# ## Cards as pictures
#
# Cards are drawn here by a short program, in any size (`pictures.py`). How they look is
# a `Look`: the suits, the deck, and how far cards stray, turn, shrink and blur. The
# *contact sheet* shows every deck in every set of suits, without grain.

# %%
from sftrl_lite.pictures import DECKS, SUITS, Look

row = Hand(("A", "7", "10", "Q"))
pictures, titles = [], []
for suits in SUITS:
    for deck in DECKS:
        there = general_points("id", pictures=True, size=160)
        there = replace(there, look=Look(suits, deck, noise=0))
        pictures.append(there.picture(there.show(row, random.Random(1))))
        titles.append(f"{suits}, {deck}")
alt = (f"A grid of {len(pictures)} pictures of the hand A, 7, 10, Q on a green table. "
       f"Rows: suits {', '.join(SUITS)}. Columns: decks {', '.join(DECKS)}.")
sheet(pictures, titles, len(DECKS), alt)

# %% [markdown]
# The remaining four settings are amounts. Each picture below turns up one of them.

# %%
calm = Look(stray=0, turn=0, zoom=0, noise=0)
louder = dict(stray=0.35, turn=30, zoom=0.4, noise=80)
looks = {"none": calm} | {
    f"{name} {value}": replace(calm, **{name: value}) for name, value in louder.items()
}
looks["as trained"] = Look()
shown = [replace(large, look=look) for look in looks.values()]
pictures = [task.picture(task.show(row, random.Random(2))) for task in shown]
alt = "The hand A, 7, 10, Q six times, with " + ", ".join(looks) + "."
sheet(pictures, list(looks), 3, alt)

# %% [markdown]
# So "another look" is not one case but a family, as "another rule" is. The paper
# reports one member, black to red suits; so do we. Another one, the green clubs and
# blue diamonds of a four-colour deck, is kept for choosing settings (`dev-visual`), so
# that the reported one is not chosen on. All five splits:

# %%
from sftrl_lite.general_points import SPLITS

for name, (rule, suits) in SPLITS.items():
    print(f"{name:11} J, Q, K = {rule.name:9} {suits:12} {' '.join(SUITS[suits])}")

# %% [markdown]
# "Shift" means: not in the *fine-tuning*. The base has seen some of everything, as large
# bases have. In its corpus the suits of a picture were drawn from this bag:

# %%
from collections import Counter

from sftrl_lite.corpus import PICTURE_HOMEWORK

print(dict(Counter(PICTURE_HOMEWORK.suits)))

# %% [markdown]
# ## How Mllama sees
#
# Llama 3.2 Vision (Mllama) is a text model with an eye attached. Its parts, in order:
#
# | part | in | out |
# | --- | --- | --- |
# | image processor | picture | pixels `(3, S, S)` |
# | vision tower | patches of the pixels | V states of its own width |
# | projector | those | V states of the text model's width |
# | cross-attention layers | L text states, V picture states | L text states |
#
# The tiny model is the same class with smaller numbers. Let one hand through, part by
# part.

# %%
from sftrl_lite.models import load
from sftrl_lite.tasks import make_task
from sftrl_lite.vision import to_pixels

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
# and the other two tensors say so. Then each tile is cut into square *patches*:

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

# %% [markdown]
# One state a patch and one for the whole picture: V states. (The tower's last dimension
# is wider than the tower, because the states of inner layers are appended.) The text
# never enters here: *the states depend on the picture alone*. Remember that for later.
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
# (Normalisation and heads are left out.) Queries come from the text, keys and values from
# the picture. The gates of our base, after its training:

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
# In the library a new model's gates are zero. Then the layer does nothing at first,
# which is kind to a text model that took months to train: the picture fades in. But look
# at the gradient. Whatever flows back into $S$ passes the first gate and carries the
# factor $\tanh(\alpha)$. We take the newborn base, set its gates, and measure how hard
# the loss of one answer pulls at the picture's states.

# %%
from sftrl_lite.pretrain import newborn
from sftrl_lite.vision import ask, encode, image_mask, tokenizer_of

fresh, own = newborn("gp-vl")
chat = [ask(task, hand), {"role": "assistant", "content": task.demonstration(hand)}]
as_tensor = dict(return_dict=False, return_tensors="pt")
ids = tokenizer_of(own).apply_chat_template([chat], **as_tensor)

def pull(gate: float) -> float:
    """Length of the gradient at the picture's states with all gates at ``gate``."""
    for name, weight in fresh.named_parameters():
        if name.endswith(("cross_attn_attn_gate", "cross_attn_mlp_gate")):
            weight.data.fill_(gate)
    shown = to_pixels(own, [task.picture(hand)])
    views = encode(fresh, shown).detach().requires_grad_()
    labels = ids.masked_fill(ids == fresh.config.image_token_index, -100)
    mask = image_mask(ids, fresh)
    inputs = dict(cross_attention_states=views, cross_attention_mask=mask)
    fresh(input_ids=ids, labels=labels, **inputs).loss.backward()
    return views.grad.norm().item()

# %%
for gate in (0.0, 0.1, 0.5):
    print(f"gates at {gate}: gradient at the picture's states {pull(gate):.2e}")

# %% [markdown]
# With closed gates the tower learns nothing until a gate has moved, and a gate is moved
# only by what the still untrained tower happens to say. A large tower has been trained
# before, on millions of captioned pictures, and says something useful at once. Ours has
# seen a few hundred batches of cards (`pretrain.learn_to_see`), so its gates start half
# open.
#
# ### Which tokens see the picture
#
# The prompt holds one image token. Text before it must not see the picture, text after it
# does; so the mask is a staircase with one step.

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
# Build it for a batch of token ids. Rows may be padded on the left, so the image token
# stands at different places, and a row without an image sees nothing.

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
    made = staircase(rows, 9)
    assert made.shape == (3, 4, 1, 1), "chats, tokens, one image, one tile"
    assert made[0, :, 0, 0].tolist() == [0, 1, 1, 1], "the image token sees it, too"
    assert made[1, :, 0, 0].tolist() == [0, 0, 1, 1], "padding comes before it"
    assert made[2].sum() == 0, "no image, nothing to see"
    twice = staircase(torch.tensor([[9, 5, 9]]), 9)
    assert int(twice.max()) == 1, "a mask holds zeros and ones only"

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
# alone, they are made once for the group, and in the cache for all tries. What that
# saves in a step's forward passes, at the scale's own numbers:

# %%
import time

from sftrl_lite.runs import train_hands

train = train_hands(task, scale.sft.hands, seed=0)
some = [task.picture(problem) for problem in train[: scale.rl.problems]]
once = to_pixels(processor, some)
each = {name: t.repeat_interleave(scale.rl.samples, 0) for name, t in once.items()}
for name, batch in (("one a hand", once), ("one a sample", each)):
    began = time.time()
    with torch.inference_mode():
        found = encode(model, batch)
    print(f"{name:13} {len(found):4} pictures {1000 * (time.time() - began):6.0f} ms")

# %% [markdown]
# In training the tower needs a gradient as well. The groups' losses $\ell_1, \dots,
# \ell_G$ share the states $S = f(\text{picture})$, and by the chain rule
#
# $$
# \frac{\partial}{\partial \theta} \sum_g \ell_g(S) =
# \frac{\partial S}{\partial \theta}^{\!\top}
# \Big( \sum_g \frac{\partial \ell_g}{\partial S} \Big).
# $$
#
# So one may run every loss backward as far as $S$, add up there, and pass the tower once.
#
# ### Exercise 6.2: share the encoding
#
# Difficulty ●●●○○ · 10 minutes
#
# Write that. Each loss has a backward pass of its own, so that its activations can be
# freed before the next; the tower has one forward and one backward pass in all.

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
    torch.manual_seed(0)
    tower, picture = torch.nn.Linear(3, 2), torch.randn(4, 3)
    other, calls = copy.deepcopy(tower), []
    tower.register_forward_hook(lambda *_: calls.append(1))
    losses = [lambda s, k=k: (s * k).square().sum() for k in (1.0, 2.0, 3.0)]
    shared_backward(tower, picture, losses)
    assert len(calls) == 1, "the tower encodes once"
    sum(loss(other(picture)) for loss in losses).backward()
    assert tower.weight.grad is not None, "the gradient has to reach the tower"
    for mine, theirs in zip(tower.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-4), "another gradient"

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
# `rl.rl_step` does this for a minibatch of many pictures.
#
# ## What the model reads
#
# Init first. It answers held-out hands on the three reported splits, in episodes of up to
# the scale's number of tries. `recognised` is the share of hands whose cards the *first*
# answer names right, in any order; `read` the same for the numbers.

# %%
import pandas as pd
from tqdm.auto import tqdm

from sftrl_lite.evaluate import evaluate
from sftrl_lite.runs import held_out

SHIFTS = ("id", "ood-rule", "ood-visual")
limit = dict(tries=scale.rl.tries, max_new_tokens=scale.rl.max_new_tokens)
tasks = {split: make_task("gp-vl", split, scale.name) for split in SHIFTS}
tests = {s: held_out(tasks[s], scale.eval_episodes // 2, 0, train) for s in SHIFTS}
found, played = {}, {}
for s in tqdm(SHIFTS):
    result = evaluate(model, processor, tasks[s], tests[s], **limit)
    found[s], played["Init", s] = result
values = {s: {m: e.value for m, e in row.items()} for s, row in found.items()}
pd.DataFrame(values).T.round(3)

# %% [markdown]
# A hand is four cards, and all four have to be right. If each is recognised with chance
# $c$, independently, the hand is with $c^4$. Which cards does Init mistake for which? Its
# answers name cards in reading order, so we can compare place by place.

# %%
from sftrl_lite.verifier import read_answer


def card_pairs(episodes) -> list[tuple[str, str]]:
    """(card on the table, card named) of first answers that name all places."""
    found = []
    for episode in episodes:
        named = (read_answer(episode.turns[0].answer) or {}).get("cards")
        if isinstance(named, list) and len(named) == len(episode.problem.cards):
            found += zip(episode.problem.cards, map(str, named), strict=True)
    return found

for s in SHIFTS:
    pairs = card_pairs(played["Init", s])
    c = sum(a == b for a, b in pairs) / len(pairs)
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    most = ", ".join(f"{a} for {b}: {n}" for (b, a), n in wrong.most_common(5))
    print(f"{s:11} cards {c:.1%}, to the fourth {c**4:.0%}, hands "
          f"{found[s]['recognised'].value:.0%}; writes {most}")

# %% [markdown]
# ### A family of shifts
#
# One number a split is a slice through a family. Init's recognition for some of its
# members, all under the trained rule, at temperature 1:

# %%
from sftrl_lite.rollouts import rollout


def recognition(model, processor, look: Look, hands: int = 150) -> float:
    """Share of hands of this look whose cards a first answer names right."""
    there = replace(make_task("gp-vl", scale=scale.name), look=look)
    rng, dice = random.Random(0), torch.Generator(model.device).manual_seed(0)
    problems = [there.sample(rng) for _ in range(hands)]
    episodes = rollout(model, processor, there, problems, tries=1, generator=dice,
                       max_new_tokens=scale.rl.max_new_tokens)
    return sum(e.turns[0].verdict.recognised for e in episodes) / hands

family = {suits: Look(suits) for suits in SUITS}
family |= {f"black, {deck}": Look(deck=deck) for deck in DECKS[1:]}
family |= {f"black, {k} {value}": Look(**{k: value}) for k, value in louder.items()}
for name, look in tqdm(family.items()):
    print(f"{name:18} {recognition(model, processor, look):4.0%}")

# %% [markdown]
# ### Exercise 6.3: a look of your own
#
# Difficulty ●●○○○ · 8 minutes
#
# Design a black look that Init reads at least 20 points worse than the trained one,
# though a person reads it with ease: grain no stronger than in training, cards turned
# by no more than 20 degrees, straying by no more than a fifth of their width.

# %%
def hard_look() -> Look:
    """A look for people and against Init; ``Look(turn=20)`` is an attempt."""
    raise NotImplementedError

# %%
from sftrl_lite.models import load
from sftrl_lite.rollouts import rollout
from sftrl_lite.scales import get_scale

with notebook.exercise("6.3"):
    look, plain, got = hard_look(), Look(), {}
    assert look.suits == "black" and look.noise <= plain.noise, "black, no more grain"
    assert look.turn <= 20 and look.stray <= 0.2, "turned or strayed too far"
    eyes = load(get_scale().base_for("gp-vl"))
    for style in (look, plain):
        there = replace(make_task("gp-vl"), look=style)
        hands = [there.sample(random.Random(i)) for i in range(100)]
        dice = torch.Generator(eyes[0].device).manual_seed(0)
        first = rollout(*eyes, there, hands, tries=1, generator=dice)
        got[style] = sum(e.turns[0].verdict.recognised for e in first)
    drop = got[plain] - got[look]
    assert drop >= 20, f"only {drop} points worse; try another deck or zoom"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Decks differ in typeface and in whether pips are there at all; `zoom` goes both ways.
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
# A misread hand is never solved, whatever its formula: so says the verifier. Hence the
# rule of products has one term here,
#
# $$P(\text{solve}) = P(\text{recognise}) \cdot P(\text{solve} \mid \text{recognise}),$$
#
# exactly, and success can change for two reasons. Each can be counted.

# %%
def factors(episodes) -> pd.Series:
    """Recognition, solving given recognition, and their product, at the first try."""
    seen = [e.turns[0].verdict for e in episodes if e.turns[0].verdict.recognised]
    solved = sum(v.solved for v in seen)
    product = dict(recognise=len(seen) / len(episodes))
    product["solve | recognise"] = solved / len(seen) if seen else float("nan")
    product["solve"] = solved / len(episodes)
    return pd.Series(product)

pd.DataFrame({s: factors(played["Init", s]) for s in SHIFTS}).T.round(3)

# %% [markdown]
# Compare the rows. A change of suits should show in the first column, a change of the
# rule in the second: that is how one reads where a shift strikes.
#
# ### Exercise 6.4: a chain of three
#
# Difficulty ●●○○○ · 7 minutes
#
# Under a shifted rule even solving has two parts: *counting* the recognised cards by the
# announced rule, and *calculating* with the numbers. Return the three factors. A verdict
# has `recognised`, `read_right` (its numbers are those of the hand) and `solved`.

# %%
from sftrl_lite.verifier import Verdict


def chain(verdicts: list[Verdict]) -> tuple[float, float, float]:
    """P(recognise), P(count | recognise), P(solve | recognise and count).

    A factor whose condition never holds is 0.
    """
    raise NotImplementedError

# %%
from sftrl_lite.verifier import Verdict

with notebook.exercise("6.4"):
    def made(recognised: bool, right: bool, solved: bool) -> Verdict:
        return Verdict(solved, "", 0.0, "", None, right, recognised)

    both = [made(True, True, True), made(True, True, False)]
    rest = [made(True, False, False), made(False, True, False)]
    a, b, c = chain(both + rest)
    assert a == 0.75, "three of four hands are recognised"
    assert abs(b - 2 / 3) < 1e-9, "two of these three are counted right"
    assert c == 0.5, "one of these two is solved"
    assert chain(rest[1:]) == (0, 0, 0), "nothing recognised, nothing to condition on"

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
# A misread hand costs 1.5 points in the paper (appendix A.3). Its text says *in addition*
# to what the formula costs; the released code pays −1.5 *instead of* the rest. That
# seems a detail. Ask what each makes profitable. The formula alone earns:

# %%
from sftrl_lite.verifier import REWARDS

for kind in ("solved", "wrong_value", "wrong_numbers", "illegal"):
    print(f"{kind:14} {REWARDS[kind]:+.1f}")

# %% [markdown]
# ### Exercise 6.5: two penalties
#
# Difficulty ●●○○○ · 8 minutes
#
# Write both. In the `paper` variant a misread hand pays −1.5 on top of its formula, and a
# formula that comes out over cards that are not there counts like a wrong value. In the
# `released` variant it pays −1.5, whatever the formula.

# %%
def misread_reward(kind: str, recognised: bool, variant: str) -> float:
    """Points of an answer: ``misread_reward("illegal", False, "paper")`` is -4.5.

    Args:
        kind: what the formula alone is, a key of ``REWARDS``.
        variant: ``paper`` or ``released``.
    """
    raise NotImplementedError

# %%
from sftrl_lite.verifier import REWARDS

with notebook.exercise("6.5"):
    for variant in ("paper", "released"):
        assert misread_reward("solved", True, variant) == 5, "read right: as before"
        assert misread_reward("illegal", True, variant) == -3, "read right: as before"
    assert misread_reward("wrong_numbers", False, "paper") == -3.5, "-2 and -1.5"
    assert misread_reward("solved", False, "paper") == -2.5, "no +5 for other cards"
    assert misread_reward("illegal", False, "released") == -1.5, "whatever the formula"
    kinds = ("solved", "wrong_value", "wrong_numbers", "illegal")
    gains = {variant: [k for k in kinds if misread_reward(k, False, variant)
             > misread_reward(k, True, variant)] for variant in ("paper", "released")}
    assert gains["paper"] == [], "misreading never pays in the paper's variant"
    assert gains["released"] == ["wrong_numbers", "illegal"], "here it is a refuge"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Nothing is paid above a wrong value: `min(REWARDS[kind], REWARDS["wrong_value"])`.
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
# Two kinds of failure get *cheaper* in the released variant when the cards are misread as
# well. Whoever solves a hand with chance $p$ and otherwise fails at price $-c$ expects
# $5p - c(1 - p)$, and is better off naming wrong cards on purpose as long as that is less
# than −1.5, that is for $p < (c - 1.5) / (c + 5)$.

# %%
for kind in ("wrong_value", "wrong_numbers", "illegal"):
    c = -REWARDS[kind]
    print(f"fails as {kind:14} refuge pays below p = {max((c - 1.5) / (c + 5), 0):.0%}")

# %% [markdown]
# For a model that mostly fails with `wrong_value` the refuge is empty. For a weak one,
# early in training, it is open, and it is a place where nothing can be learned: whoever
# names wrong cards never meets +5. Our verifier takes the paper's text at its word.
#
# ## SFT and RL from one Init
#
# As in chapter 0, in pictures: the same training hands for both, black suits, J, Q, K =
# 10, the scale's own settings, equal training compute by the paper's count. Everything
# is trained, the tower too. SFT imitates a solver's answers, one a hand, and each names
# the cards right. RL sees no answer. A second call of this cell continues or just
# reads.

# %%
from sftrl_lite.headline import side_by_side
from sftrl_lite.models import ROOT
from sftrl_lite.runs import Run

options = dict(
    task="gp-vl",
    scale=scale.name,
    points=2,
    eval_episodes=scale.eval_episodes // 5,
    final_episodes=scale.eval_episodes // 2,
)
plan = {method: Run(method, **options) for method in ("sft", "rl-ppo")}
folder = ROOT / "runs" / "chapter-6" / plan["sft"].hash
table = side_by_side(plan, folder, "chapter-6")

# %% [markdown]
# Then the controls, one on each core. `rl-random` is the same PPO on the same hands, paid
# by a coin: what it moves, the verifier did not. `sft-own` imitates the same hands in the
# words of the base's own corpus: if SFT loses and it does not, the foreign words are to
# blame and not imitation.

# %%
few = {"points": 1, "final_episodes": scale.eval_episodes // 4}
control = {m: Run(m, **options | few) for m in ("sft-own", "rl-random")}
table = pd.concat([table, side_by_side(control, folder, "chapter-6")])

# %%
from sftrl_lite import plots

plots.summary_table(table, ("success", "recognised"), SHIFTS)

# %% [markdown]
# `success` is solving within the scale's number of tries, `recognised` is the first
# answer's cards, both in per cent with 95 % intervals over hands. The rule shift is
# `ood-rule`, the visual shift `ood-visual`.
#
# Where does a change come from? With recognition $r$ and solving $s$ before (0) and after
# (1), the change of first-try success splits without a rest:
#
# $$
# r_1 s_1 - r_0 s_0 = (r_1 - r_0)\, \tfrac{s_0 + s_1}{2} +
# (s_1 - s_0)\, \tfrac{r_0 + r_1}{2}.
# $$

# %%
names = {"SFT": "sft", "RL": "rl-ppo"}
for name, method in tqdm(names.items()):
    student, _ = load(folder / method / "model")
    for s in SHIFTS:
        episodes = evaluate(student, processor, tasks[s], tests[s], **limit)[1]
        played[name, s] = episodes
products = pd.DataFrame({key: factors(episodes) for key, episodes in played.items()}).T
products.rename_axis(["model", "split"]).swaplevel().sort_index().round(3)

# %%
def parts(name: str, split: str) -> tuple[float, float]:
    """Points of first-try success gained by recognising, and by solving."""
    (r0, s0, _), (r1, s1, _) = products.loc["Init", split], products.loc[name, split]
    return 100 * (r1 - r0) * (s0 + s1) / 2, 100 * (s1 - s0) * (r0 + r1) / 2

words = {"id": "black suits", "ood-rule": "shifted rule", "ood-visual": "red suits"}
for s in SHIFTS:
    for name in ("SFT", "RL"):
        seen, solved = parts(name, s)
        print(f"{words[s]:13} {name:4} first-try success {seen + solved:+5.1f} points: "
              f"recognising {seen:+5.1f}, solving {solved:+5.1f}")

# %% [markdown]
# ## The figure of this chapter
#
# Each panel is one kind of test. To the right: more hands recognised; upwards: more
# solved within the budget. The star is Init, a line runs through the evaluations of a
# training, and markers grow on the way. Crosses are 95 % intervals, here over hands.
# This is the paper's figure 8, with intervals and controls.

# %%
order = ("rl-ppo", "sft", "sft-own", "rl-random")
alt = plots.recognition_alt(table, methods=order)
notebook.figure(plots.recognition_path(table, methods=order), alt=alt)

# %%
def ends(rows, method: str, split: str, metric: str) -> str:
    """First and last value of a method, mean over seeds, in per cent."""
    part = rows[(rows["method"] == method) & (rows["split"] == split)]
    part = plots.with_points(part[part["metric"] == metric])
    by = 100 * part.groupby("point")["value"].mean()
    return f"{by.iloc[0]:.0f} -> {by.iloc[-1]:.0f} %"

def sentence(rows) -> str:
    """The finding in words, from the numbers that are drawn."""
    found = [
        f"{plots.LOOKS[m][3]}, {words[s]}: recognised "
        f"{ends(rows, m, s, 'recognised')}, solved {ends(rows, m, s, 'success')}"
        for m in ("rl-ppo", "sft") for s in ("ood-visual", "ood-rule")
    ]
    seeds = rows["seed"].nunique()
    return "; ".join(found) + f" ({seeds} seed{'s' * (seeds > 1)})."

notebook.show(sentence(table))

# %% [markdown]
# ## The same with more seeds
#
# One seed is an anecdote. The recorded runs of `results/ledger.csv`, with intervals over
# seeds (Student's) and the controls. As for the cards in text, two learning rates of SFT
# solve all training hands, 3e-4 and 1e-3 (experiment `vl-sweep`): the scale has the first,
# and both are shown.

# %%
from sftrl_lite.report import recorded

rows = recorded("vl-headline", "vl-push", "vl-controls")
rows = rows[(rows["task"] == "gp-vl") & (rows["scale"] == scale.name)]
order = ("rl-ppo", "sft", "sft-pushed", "sft-varied", "sft-own", "rl-random")
if rows.empty:
    print("nothing recorded at this scale yet; to make it:",
          "python -m sftrl_lite sweep results/sweeps/gp-vl.toml")
else:
    alt = plots.recognition_alt(rows, methods=order)
    notebook.figure(plots.recognition_path(rows, methods=order), alt=alt)
    notebook.show(sentence(rows))
    display(plots.summary_table(rows, ("success", "recognised"), SHIFTS))

# %% [markdown]
# And the differences at the end, in points, paired within a seed: both were measured on
# the same hands. An interval that holds 0 leaves the sign open.

# %%
from sftrl_lite.report import difference

gaps = {"RL - Init": ("rl-ppo", "init"), "SFT - Init": ("sft", "init"),
        "RL - SFT": ("rl-ppo", "sft"), "SFT 1e-3 - Init": ("sft-pushed", "init")}
head = rows[rows["experiment"].isin(["vl-headline", "vl-push"])]
if head["seed"].nunique() < 2:
    print("needs two recorded seeds:")
    print("python -m sftrl_lite sweep results/sweeps/gp-vl.toml")
else:
    for s in SHIFTS:
        for name, (a, b) in gaps.items():
            mean, low, high = difference(head, s, a, b)
            print(f"{words[s]:13} {name:15} {mean:+5.1f}  [{low:+.1f}, {high:+.1f}]")

# %% [markdown]
# ## The paper's own numbers
#
# At 11 B parameters the paper reports for cards in pictures (figures 6 and 7) the success
# below, one run each. The number of episodes is not printed; the released evaluation
# scripts use 234, and not all the shares are multiples of 1/234, so they were smoothed or
# counted otherwise. Taken as counts of 234, Fisher's exact test says:

# %%
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
        print(f"{shift:13} {a:4}- {b:5} {gap:+5.1f} points, p = {p:.2g}")

# %% [markdown]
# Under the visual shift both of the paper's signs stand on firm ground. Under the rule
# shift RL's gain does not, and SFT's loss does so just barely. The paper's SFT on
# pictures, in addition, hardly learned the task at all: over learning rates and over
# which parts were tuned, no setting passed 30 % on the training distribution (its
# figure 16), while RL went from about 20 to 50 % (figure 17).
#
# ## A place to play
#
# Failures on red suits, picture by picture and try by try: hands that RL's first answer
# got wrong, misread ones first. Is the card wrong that you would have got wrong? Does the
# verifier's word help to look again, or is the same mistake repeated?

# %%
from sftrl_lite.widgets import picture_viewer

failed = [e for e in played["RL", "ood-visual"] if not e.turns[0].verdict.solved]
failed.sort(key=lambda e: e.turns[0].verdict.recognised)
if failed:
    picture_viewer(tasks["ood-visual"], failed[:12])
else:
    print("no first answer failed")

# %% [markdown]
# Count it: of the hands that were misread at the first try, how many are recognised at
# the last? A second look costs nothing: the picture's states are still in the cache.

# %%
for name in ("Init", "SFT", "RL"):
    episodes = played[name, "ood-visual"]
    missed = [e for e in episodes if not e.turns[0].verdict.recognised]
    late = sum(bool(e.turns[-1].verdict.recognised) for e in missed)
    print(f"{name:5} misread {len(missed):3} of {len(episodes)} at first, "
          f"{late} of them recognised at the last try")

# %% [markdown]
# ## What it means, and what it does not
#
# A reward for solving reaches the eye. No term of it says "look better"; but only a
# hand that is recognised can be paid 5 points, so a policy that samples several
# readings of a picture makes the right one more likely. Whether that carries over to
# other suits depends on whether the features are shared between them, and that is what
# the panels show. A demonstration names the cards right, too, but it names them for
# *these* pictures, and after some passes the hand may as well be known by its grain:
# the imitator is not paid for looking either.
#
# What this chapter does *not* show:
#
# - *That the shift is unseen.* The base saw some red and four-colour cards; a shift
#   here is one between fine-tuning and test, as for the paper's model, which has
#   certainly seen red cards before.
# - *That the same holds for every look.* The family above has members that nobody
#   tested the trained models on. Try yours.
# - *Which part of the model moved.* Everything was trained at one rate. Freezing the
#   tower, or training only the tower, is a run away for who wants to know.
# - *A law of size.* The base is a model organism: its corpus holds careful and careless
#   reading, so that there is something to select. The paper's numbers are the ones
#   above.
# - *That one seed is a result.* Read the recorded section for signs and intervals.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   sections 5.2 and 5.3: visual shift and recognition (15 minutes).
# - Llama Team (2024), [The Llama 3 Herd of Models](https://arxiv.org/abs/2407.21783),
#   section 7: an eye for a text model (25 minutes).
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
