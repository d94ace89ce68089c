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
# # 12. Why: distance, data, prompt
#
# Why does supervised fine-tuning (SFT) forget what reinforcement learning (RL) keeps?
# Three explanations have been proposed: SFT moves the model further from Init, its data
# are off-policy, and its prompt never varies. We change one at a time, from the same
# Init, and compare at *equal task success* instead of at the end of each run. Every
# comparison gives both counts of compute, and Init at its best temperature is the
# control without training.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Compute the least KL divergence that a gain in success requires.
# - Measure how far off-policy a demonstration is, in nats.
# - Turn a verifier into training data by rejection sampling (on-policy SFT).
# - Derive the gradients of three SFT losses, and add a KL penalty to a loss yourself.
# - Compare forgetting at matched task success, and notice when the comparison is vacuous.
# - Test whether KL predicts forgetting, in both directions, over methods and within.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## Five answers, by hand
#
# A model answers the hand 3, 5, 6, J (J = 10) in one of five ways. Two are right. It
# often gives the first of these two, and rarely the second, which is the demonstration.

# %%
import math

init = {"3+5+6+10": 0.30, "(10-6)*(3+5)-8": 0.40, "5*6-10+3": 0.28,
        "10+6+5+3": 0.02, "3*5+10-6": 0.00}
right = {"3+5+6+10", "10+6+5+3"}
print(f"Init is right with probability {sum(init[a] for a in right):.2f}")

# %% [markdown]
# How far from Init is a model that is always right? We measure
# $\mathrm{KL}(q \| p_0) = \sum_a q(a) \log (q(a) / p_0(a))$ in nats; $p_0$ is Init. Two models
# are always right: one that always gives the demonstrated answer, and one that is Init
# conditioned on being right.
#
# **Predict, then run.** Which of the two is closer to Init?
#
# <details><summary>Answer</summary>
#
# The second. Init gives the demonstrated answer with probability 0.02, so imitating it costs
# $-\log 0.02 = 3.9$ nats. A right answer of any kind has probability 0.32, so conditioning
# costs only $-\log 0.32 = 1.1$.
#
# </details>

# %% tags=["least-kl"]
def kl(q: dict[str, float], p: dict[str, float]) -> float:
    """KL(q || p) in nats over the same answers."""
    return sum(q[a] * math.log(q[a] / p[a]) for a in q if q[a] > 0)

imitated = {"10+6+5+3": 1.0}
mass = sum(init[a] for a in right)
selected = {a: init[a] / mass for a in right}
print(f"imitate the demonstration: {kl(imitated, init):.2f} nats")
print(f"keep what was right:       {kl(selected, init):.2f} nats, -log({mass:.2f}) = "
      f"{-math.log(mass):.2f}")

# %% [markdown]
# Both are perfect on this hand. The second has moved less than a third as far, and no model that
# is always right can be closer: $p_0$ conditioned on the right answers is the *minimum*.
# Rewarding sampled answers pushes towards it, because an answer that is never sampled is never
# rewarded. (Shenfeld et al., 2025, call this bias RL's razor.)
#
# ### Exercise 12.1: the least distance
#
# Difficulty ●●●○○ · 8 minutes
#
# Init is right with probability $p$. What is the least $\mathrm{KL}(q \| p_0)$ of a $q$
# that is right with probability $s$? The proportions within the right and within the
# wrong answers need not change, so only two numbers count:
#
# $$s \log \frac{s}{p} + (1 - s) \log \frac{1 - s}{1 - p}, \qquad 0 \log 0 = 0 .$$

# %%
def least_kl(p: float, s: float) -> float:
    """Nats from success p to s at the least: ``least_kl(0.5, 1.0)`` is log 2."""
    raise NotImplementedError

# %%
import random

from scipy.special import rel_entr

with notebook.exercise("12.1"):
    assert isinstance(least_kl(0.5, 0.9), float), "one number, not its two terms"
    assert abs(least_kl(0.5, 1.0) - math.log(2)) < 1e-9, "the wrong half goes"
    assert abs(least_kl(0.32, 1.0) - 1.139) < 1e-3, "the hand above"
    assert least_kl(0.3, 0.3) == 0, "no change, no distance"
    assert least_kl(0.3, 0.1) > 0, "getting worse is a way, too"
    assert 0 < least_kl(0.5, 0.9) < least_kl(0.5, 0.99) < math.log(2), "it grows with s"
    assert abs(least_kl(0.5, 0.9) - 0.368) < 1e-3, "both terms, with their signs"
    assert abs(least_kl(0.25, 0.0) - math.log(4 / 3)) < 1e-9, "0 log 0 = 0 here, too"
    dice = random.Random(12)
    for _ in range(50):
        p, s = dice.uniform(0.01, 0.99), dice.choice([0.0, 1.0, dice.random()])
        want = rel_entr(s, p) + rel_entr(1 - s, 1 - p)
        told = f"least_kl({p:.3f}, {s:.3f}) is {want:.4f}"
        assert abs(least_kl(p, s) - want) < 1e-9, told

# %% [markdown]
# <details><summary>Hint</summary>
#
# Skip a term whose share is 0.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def least_kl(p: float, s: float) -> float:
#     pairs = [(s, p), (1 - s, 1 - p)]
#     return sum(new * math.log(new / old) for new, old in pairs if new > 0)
# ```
#
# </details>
#
# ## KL spent per gain
#
# How much KL did each method spend for its gain on held-out hands under the *trained* rule?
# Success is measured here at temperature 1, like KL, so that both describe the policy that was
# trained. The least KL of a mean is also a lower bound for the mean over hands, since KL is
# convex.

# %%
import pandas as pd

from sftrl_lite.results import ledger, plots
from sftrl_lite.results.claims import claims_table
from sftrl_lite.results.measures import at_decoding, measured, option, times
from sftrl_lite.results.names import CARDS
from sftrl_lite.results.report import missing, recorded
from sftrl_lite.results.tables import cost_table, in_words, main_table

LONG = ("headline", "push", "controls", "grpo")
NAMES = (*LONG, "why", "why-push", "window")
rows = recorded(*NAMES)
rows = rows[rows["scale"] == scale.name]
for line in missing(NAMES, rows):
    notebook.show(line)

def least(p: float, s: float) -> float:
    """The solution of exercise 12.1, so that this cell runs without it."""
    pairs = [(s, p), (1 - s, 1 - p)]
    return sum(new * math.log(new / old) for new, old in pairs if new > 0)

# %% tags=["spent"]
long, spent = rows[rows["experiment"].isin(LONG)], {}
for method in (m for m in plots.LOOKS if m in set(long["method"])):
    first, last = (measured(long, "success@1", method, "id", at, "1")["value"].mean()
                   for at in ("start", "end"))
    far = measured(long, "kl", method, "id")
    e = plots.estimate(far) if len(far) > 1 else None
    interval = f" [{e.low:.2f}, {e.high:.2f}]" if e else ""
    spent[plots.LOOKS[method][3]] = {
        "Init": round(first, 2), "end": round(last, 2), "seeds": len(far),
        "least KL": round(least(first, last), 2),
        "KL": f"{far['value'].mean():.2f}{interval}",
        "KL beyond the least": round(far["value"].mean() - least(first, last), 2)}
spent = pd.DataFrame(spent).T
if len(long):
    display(spent)
    display(cost_table(long))

# %% [markdown]
# Compare `KL` with `least KL` in each line. The excess was not needed for more right
# answers to held-out hands. What was it spent on?
#
# <details><summary>Answer</summary>
#
# On changes that success does not require: *which* right answer is given (the solver's formula
# instead of the model's own), the style around it, and which wrong answer is given where the
# model still fails. A memorised answer to a training hand moves all three on hands like it.
#
# </details>
#
# ## How far off-policy is an answer?
#
# If a demonstration $y$ has probability $p_0(y \mid x)$ under Init, memorising it moves the
# model by $-\log p_0(y \mid x)$ nats. Compare three kinds of *right* answers to the same
# training hands: the solver's (the data of `sft`), answers in the base model's own style (the
# data of `sft-own`), and Init's own samples that the verifier accepted (the data of
# `sft-verified`). `sft_examples.verified` samples these at temperature 1 and filters them:

# %%
from sftrl_lite.models.loading import load
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training.sft_examples import verified

task = general_points("train")
hands = train_hands(task, scale.sft.hands, seed=0)[:60]
base, tokenizer = load(scale.base_for("gp-l"))
limit = scale.rl.max_new_tokens
own, tokens = verified(base, tokenizer, task, hands, seed=0, max_new_tokens=limit)
print(f"{len(own)} of {8 * len(hands)} answers accepted, {tokens} tokens sampled")
print(f"{len({hand.cards for hand, _ in own})} of {len(hands)} hands have one")

# %%
import torch


@torch.no_grad()
def surprise(model, pairs) -> list[float]:
    """-log p(answer | prompt) of (problem, answer) pairs under the model, in nats."""
    found = []
    for hand, answer in pairs:
        chat = [{"role": "user", "content": task.prompt(hand)},
                {"role": "assistant", "content": answer}]
        coded = tokenizer.apply_chat_template(
            chat, return_assistant_tokens_mask=True, return_dict=True)
        ids = torch.tensor([coded["input_ids"]], device=model.device)
        logps = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        mine = torch.tensor(coded["assistant_masks"][1:], device=model.device)
        said = logps.gather(1, ids[0, 1:, None])[:, 0]
        found.append(-float((said * mine).sum()))
    return found

# %% tags=["off-policy"]
from sftrl_lite.results.intervals import mean_interval

kinds = {"solver's": [(h, task.demonstration(h)) for h in hands],
         "base model's style": [(h, task.base_demonstration(h)) for h in hands],
         "own, verified": own[::4]}
foreign = {name: mean_interval(surprise(base, pairs)) for name, pairs in kinds.items()}
for name, e in foreign.items():
    print(f"{name:18} {e.value:5.2f} nats per answer [{e.low:.2f}, {e.high:.2f}]")

# %% [markdown]
# ### Exercise 12.2: a verifier makes data
#
# Difficulty ●●○○○ · 6 minutes
#
# Write the filter of rejection sampling. Given hands and several answers to each,
# return the pairs of a hand and an answer that the task's verifier accepts as solved.
# An answer that was sampled twice counts twice, so the data keep the model's own
# proportions.

# %%
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand


def accepted(
    task: GeneralPoints, hands: list[Hand], answers: list[list[str]]
) -> list[tuple]:
    """Pairs (hand, answer) that ``task.verify`` accepts, in their order."""
    raise NotImplementedError

# %%
from types import SimpleNamespace
with notebook.exercise("12.2"):
    one, two = Hand(("3", "5", "6", "J")), Hand(("A", "A", "A", "A"))
    good = write_answer(one, "3+5+6+10")
    bad = write_answer(one, "3+5+6*10")
    found = accepted(general_points("id"), [one, two], [[good, bad, good], ["24"]])
    pairs = isinstance(found, list) and all(len(pair) == 2 for pair in found)
    assert pairs, "a list of pairs, a hand and its answer"
    assert (one, bad) not in found, "a wrong answer teaches nothing"
    assert found.count((one, good)) == 2, "an answer weighs as often as it was sampled"
    assert all(hand == one for hand, _ in found), "a hand without a right answer is out"
    found = accepted(general_points("id"), [one, one], [[good], [bad]])
    assert found == [(one, good)], "each hand is judged with its own answers"
    def count(hand, answer):  # another task: how many cards are there?
        return SimpleNamespace(solved=answer == str(len(hand.cards)))
    dice = random.Random(12)
    for _ in range(20):
        deck = [Hand(("A",) * dice.randint(1, 4)) for _ in range(4)]
        said = [dice.choices("1234", k=dice.randint(0, 5)) for _ in deck]
        given = [list(answers) for answers in said]
        found = accepted(SimpleNamespace(verify=count), deck, given)
        pairs = zip(deck, said, strict=True)
        wanted = [(h, a) for h, s in pairs for a in s if count(h, a).solved]
        assert found == wanted, "the given task judges, and the order stays"
        assert given == said, "the caller's answers stay as they were"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two loops and `task.verify(hand, answer).solved`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def accepted(
#     task: GeneralPoints, hands: list[Hand], answers: list[list[str]]
# ) -> list[tuple]:
#     return [
#         (hand, answer)
#         for hand, said in zip(hands, answers, strict=True)
#         for answer in said
#         if task.verify(hand, answer).solved
#     ]
# ```
#
# </details>
#
# ## One change: whose answers
#
# Now we train two runs side by side with one seed. They have the same trainer, loss,
# learning rate, hands and training compute; only the answers differ. By the paper's
# count SFT costs 6 N per training token (N parameters); on-policy SFT costs 2 N more
# for each token that it samples, once. RL costs 12 N for sampling on top of 6 N for
# *each* training token: the paper counts as if every new token read its whole prefix
# again. With a KV cache RL, too, costs 2 N per sampled token.

# %%
from sftrl_lite.files import ROOT
from sftrl_lite.runs.headline import side_by_side
from sftrl_lite.runs.run_config import Run

options = dict(scale=scale.name, tflop=scale.tflop / 6, points=1, pass_samples=0,
               final_episodes=scale.eval_episodes // 2, curve_episodes=100,
               splits=("id", "ood-rule"), eval_tries=(1,))
plan = {method: Run(method, **options) for method in ("sft", "sft-verified")}
folder = ROOT / "runs" / "chapter-12" / plan["sft"].hash
live = plots.with_points(side_by_side(plan, folder, "chapter-12"))
WHAT = {("success@1", ledger.PAPER): "first try", ("success@1", "0"): "greedy",
        ("kl", "1"): "KL(model || Init)", ("kl_init", "1"): "KL(Init || model)"}
names = zip(live["metric"], live["decoding"], strict=True)
shown = live.assign(what=[WHAT.get(name) for name in names]).dropna(subset="what")
display(shown.pivot_table(
    index=["method", "point"], columns=["what", "split"], values="value").round(2))
cost_table(live)

# %% tags=["whose-answers"]
def told(method: str) -> str:
    """Where a live run ends, in words."""
    far = measured(live, "kl", method, "id")["value"].iloc[0]
    start, end = (measured(live, "success@1", method, "ood-rule", at)["value"].iloc[0]
                  for at in ("start", "end"))
    return (f"{far:.1f} nats from Init under the trained rule; first-try success "
            f"under the shifted rule {100 * start:.0f} -> {100 * end:.0f} %")

notebook.show(f"On the solver's answers SFT ends {told('sft')}. On its own verified "
              f"answers it ends {told('sft-verified')}. One seed.")

# %% tags=["answers-figure"]
both = ("sft", "sft-verified")
splits = ("train", "id", "ood-rule")
titles = [plots.finding(live, "success@1", split, both) for split in splits]
fig = plots.curves(live, splits=splits, methods=both, titles=titles)
notebook.figure(fig, alt=plots.alt_text(live, methods=both))

# %% [markdown] tags=["losses"]
# ## Other remedies: the loss, a KL penalty
#
# If improbable tokens are the problem, one can also reduce their weight. Let $p$ be the
# model's distribution at one position, $y$ the demonstrated token, and $\mathbb{1}_y$
# its one-hot vector. SFT's gradient in the logits is $p - \mathbb{1}_y$ (chapter 3). As
# a policy gradient, this is a reward of $1 / p_y$ for the token $y$: the rarer the
# token, the larger the reward.
#
# *Dynamic fine-tuning* (DFT; Wu et al., 2025) cancels that factor. It multiplies the loss by
# $p_y$ and treats that factor as a constant:
#
# $$\mathcal{L}_\text{DFT} = -\operatorname{sg}(p_y) \log p_y,
# \qquad \nabla_z = p_y\, (p - \mathbb{1}_y).$$
#
# A *KL penalty* adds the distance to Init at that position:
#
# $$\mathcal{L}_\text{KL} = -\log p_y + \mathrm{KL}(p_0 \| p), \qquad
# \nabla_z = 2 p - \mathbb{1}_y - p_0 .$$
#
# Its minimum lies half way between the demonstrated token and Init's own distribution.
#
# ### Exercise 12.3: three gradients
#
# Difficulty ●●●○○ · 8 minutes
#
# Write the three gradients in the logits, for any number of tokens.

# %%
def gradient(z: torch.Tensor, y: int, p0: torch.Tensor, loss: str) -> torch.Tensor:
    """Gradient in the logits (V,) of ``nll``, ``dft`` or ``kl``: (V,)."""
    raise NotImplementedError

# %%
import torch.nn.functional as F

with notebook.exercise("12.3"):
    dice = torch.Generator().manual_seed(12)
    for case in range(20):
        z = 3 * torch.randn(3 + case % 4, generator=dice)
        p0 = torch.rand(len(z), generator=dice).softmax(-1)
        y, z = int(torch.randint(len(z), (1,), generator=dice)), z.requires_grad_()
        logp = z.log_softmax(-1)
        losses = {"nll": -logp[y], "dft": -logp[y].exp().detach() * logp[y],
                  "kl": -logp[y] + F.kl_div(logp, p0, reduction="sum")}
        for name, value in losses.items():
            want = torch.autograd.grad(value, z, retain_graph=True)[0]
            found = gradient(z.detach().clone(), y, p0.clone(), name)
            vector = isinstance(found, torch.Tensor) and found.shape == z.shape
            assert vector, "one number for each logit, as a tensor"
            close = torch.allclose(found, want, atol=1e-5)
            assert close, f"autograd disagrees on {name}"
    rare = gradient(torch.tensor([8.0, 0.0]), 1, torch.tensor([0.5, 0.5]), "dft")
    assert float(rare.abs().max()) < 0.01, "DFT hardly moves for a rare token"
    z, p0 = torch.zeros(4), torch.full((4,), 0.25)
    gradient(z, 1, p0, "kl")
    assert not z.any() and (p0 == 0.25).all(), "the caller's tensors stay as they were"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Start from `p = z.softmax(-1)` and `onehot = F.one_hot(torch.tensor(y), len(z))`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def gradient(z: torch.Tensor, y: int, p0: torch.Tensor, loss: str) -> torch.Tensor:
#     p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
#     if loss == "kl":
#         return 2 * p - onehot - p0
#     return (p - onehot) * (p[y] if loss == "dft" else 1)
# ```
#
# </details>
#
# ### Exercise 12.4: assemble the KL penalty
#
# Difficulty ●●●●○ · 15 minutes
#
# Write the whole loss, as a trainer would call it. `labels` repeats `input_ids`, with
# -100 at every token that is not to be learned (prompt, padding); the logits at
# position $t$ predict token $t + 1$. Run the model and Init, and return the mean over
# the answer's tokens of
#
# $$-\log p(y_t) + \beta\, \mathrm{KL}(p_0 \| p),$$
#
# with $\beta$ the weight. Init is fixed: no gradient may reach it. The test compares values
# and gradients with the package's own loss, on small random Llamas.

# %%
def penalised(
    model: torch.nn.Module,
    init: torch.nn.Module,
    input_ids: torch.Tensor,
    labels: torch.Tensor,
    weight: float,
) -> torch.Tensor:
    """Scalar loss; ids and labels (B, L), ``model(input_ids=ids).logits`` (B, L, V)."""
    raise NotImplementedError

# %%
from transformers import LlamaConfig, LlamaForCausalLM
from sftrl_lite.training.sft import penalised_loss

TOLD = {0: "SFT alone: the mean over labels that are not -100, one position later"}
SMALL = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
             num_attention_heads=2, initializer_range=1.0)
with notebook.exercise("12.4"):
    for seed, weight in enumerate((0, 0, 1, 1, 0.3, 4)):
        torch.manual_seed(seed)
        config = LlamaConfig(vocab_size=5 + seed, **SMALL)
        model, init = LlamaForCausalLM(config), LlamaForCausalLM(config)
        ids = torch.randint(5 + seed, (1 + seed % 3, 6 + seed))
        labels = ids.masked_fill(torch.rand(ids.shape) < 0.5, -100)
        loss = penalised(model, init, ids, given := labels.clone(), weight)
        assert isinstance(loss, torch.Tensor) and loss.ndim == 0, "a scalar tensor"
        assert torch.equal(given, labels), "the caller's labels stay as they were"
        loss.backward()
        there, mine = init(ids).logits.detach(), [p.grad for p in model.parameters()]
        assert init.lm_head.weight.grad is None, "Init is fixed: without gradients"
        true = penalised_loss(model(ids).logits, there, labels, weight)
        told = TOLD.get(weight, f"add {weight} times KL(Init || model), also a mean")
        assert abs(float(loss - true)) < 1e-4, told
        pairs = zip(mine, torch.autograd.grad(true, model.parameters()), strict=True)
        close = all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)
        assert close, "the value is right, its gradient is not: what was detached?"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `logits[:, :-1]` belong to `labels[:, 1:]`. Choose the positions with `labels[:, 1:] != -100`,
# then take both means over them. For KL you need all of $p_0$ at a position, not only the
# demonstrated token.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def penalised(
#     model: torch.nn.Module,
#     init: torch.nn.Module,
#     input_ids: torch.Tensor,
#     labels: torch.Tensor,
#     weight: float,
# ) -> torch.Tensor:
#     learned = labels[:, 1:] != -100
#     logps = model(input_ids=input_ids).logits[:, :-1][learned].log_softmax(-1)
#     with torch.no_grad():
#         there = init(input_ids=input_ids).logits[:, :-1][learned].log_softmax(-1)
#     nll = F.nll_loss(logps, labels[:, 1:][learned])
#     kl = (there.exp() * (there - logps)).sum(-1).mean()
#     return nll + weight * kl
# ```
#
# </details>
#
# **Predict, then run.** We make twenty updates on 16 demonstrations, with weights 0, 1
# and 10. Which run ends with the smallest negative log-likelihood of the
# demonstrations, and which with the smallest KL from Init? What would a very large
# weight do?
#
# <details><summary>Answer</summary>
#
# Weight 0 learns the demonstrations best and moves furthest. Weight 10 stays closest to Init and
# learns least; a very large weight keeps Init and learns nothing. A penalty trades forgetting
# against learning, so it has to be compared at equal success (below).
#
# </details>

# %%
import copy

chats = [[{"role": "user", "content": task.prompt(hand)},
          {"role": "assistant", "content": answer}]
         for hand, answer in kinds["solver's"][:16]]
coded = tokenizer.apply_chat_template(
    chats, return_dict=True, return_tensors="pt", padding=True,
    return_assistant_tokens_mask=True).to(base.device)
ids, mask = coded["input_ids"], coded["attention_mask"]
own_tokens = torch.as_tensor(coded["assistant_masks"], device=base.device).bool()
labels = ids.masked_fill(~own_tokens, -100)
with torch.no_grad():
    there = base(input_ids=ids, attention_mask=mask).logits
for weight in (0.0, 1.0, 10.0) if scale.name == "tiny" else ():
    student = copy.deepcopy(base)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3)
    for _ in range(20):
        logits = student(input_ids=ids, attention_mask=mask).logits
        optimiser.zero_grad()
        penalised_loss(logits, there, labels, weight).backward()
        optimiser.step()
    with torch.no_grad():
        logits = student(input_ids=ids, attention_mask=mask).logits
    nll, both = (float(penalised_loss(logits, there, labels, w)) for w in (0.0, 1.0))
    print(f"weight {weight:4}: nll {nll:.3f}, KL {both - nll:.3f} nats per token")

# %% [markdown]
# Both are methods of this package: `sft-dft` (trl's own loss) and `sft-kl`
# (`sft.penalised_loss`, with weight 1, which was not tuned). The penalty costs a forward pass of
# Init at every token; it is counted, so `sft-kl` takes fewer steps. The third explanation, the
# *prompt*, is tested by `sft-varied`: the solver's answers again, but the rule in the prompt
# changes from hand to hand.
#
# ## All of them at equal compute
#
# These are recorded runs with several seeds and a third of the headline's compute by
# the paper's count. The first table shows per cent solved, at the paper's decoding
# unless the column says greedy. The second shows the cost of the runs by both counts,
# in updates, and in minutes.

# %%
why = rows[rows["experiment"].isin(["why", "why-push"])]
COLUMNS = {("success@1", "train"): "training hands",
           ("success@1", "id"): "trained rule",
           ("success@1", "ood-rule"): "shifted rule",
           ("success@1", "ood-rule", "0"): "shifted rule, greedy",
           ("success@5", "ood-rule"): "shifted rule, five tries"}
if len(why):
    display(main_table(why, COLUMNS))
    display(cost_table(why))

# %% [markdown]
# ## At equal success
#
# Final checkpoints do not compare forgetting fairly: a method that learned little had little
# reason to forget. Shenfeld et al. (2025) and Chen et al. (2025) compare at equal performance on
# the new task. So we treat each run as a *path* through its checkpoints, success on the task
# against success under the shifted rule, and compare two paths where their success on the task
# is equal.
#
# ### Exercise 12.5: success under the shift at equal task success
#
# Difficulty ●●○○○ · 8 minutes
#
# Given a path's success on the task and under the shifted rule, return the latter where
# the former *first* reaches a level, on the straight line between two checkpoints. For
# a path that starts at or above the level, return its value at the start; for one that
# never reaches the level, return `nan`.

# %%
def at_level(task: list[float], other: list[float], level: float) -> float:
    """``other`` where ``task`` gets to level: ``([.5, .9], [.4, .2], .7)`` -> 0.3."""
    raise NotImplementedError

# %%
import numpy as np

with notebook.exercise("12.5"):
    assert isinstance(at_level([0.5, 0.9], [0.4, 0.2], 0.7), float), "one number"
    assert abs(at_level([0.5, 0.9], [0.4, 0.2], 0.7) - 0.3) < 1e-9, "half way"
    assert abs(at_level([0.5, 0.9], [0.4, 0.2], 0.9) - 0.2) < 1e-9, "at a checkpoint"
    assert abs(at_level([0.5, 0.9], [0.4, 0.2], 0.3) - 0.4) < 1e-9, "there at its start"
    assert math.isnan(at_level([0.5, 0.6], [0.4, 0.2], 0.7)), "it never gets there"
    twice = at_level([0.5, 0.9, 0.6, 0.9], [0.4, 0.2, 0.1, 0.0], 0.7)
    assert abs(twice - 0.3) < 1e-9, "the first time counts"
    flat = at_level([0.5, 0.5, 0.9], [0.4, 0.1, 0.3], 0.7)
    assert abs(flat - 0.2) < 1e-9, "between the two checkpoints around the level"
    dice = np.random.default_rng(12)
    for _ in range(50):
        n = dice.integers(2, 8)
        rising, other = np.sort(dice.random(n)).tolist(), dice.random(n).tolist()
        level = dice.uniform(rising[0], rising[-1])
        want, given = np.interp(level, rising, other), (rising[:], other[:])
        close = abs(at_level(*given, level) - want) < 1e-9
        assert close, "a rising path: the same as np.interp"
        assert given == (rising, other), "the caller's path stays as it was"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through the checkpoints; at the first one with `task[i] >= level` the share of the way from
# `task[i - 1]` is known. Checkpoint 0 has none before it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def at_level(task: list[float], other: list[float], level: float) -> float:
#     for i, reached in enumerate(task):
#         if reached >= level:
#             if i == 0:
#                 return other[0]
#             share = (level - task[i - 1]) / (reached - task[i - 1])
#             return other[i - 1] + share * (other[i] - other[i - 1])
#     return math.nan
# ```
#
# </details>
#
# For each method we take the recorded experiment with the most checkpoints, whatever its length:
# equal success does not require equal compute. For SFT at 1e-3 these are early checkpoints,
# after 8 to 512 steps (the starts of `window` in chapter 11). Between start and end only the
# paper's decoding was measured.

# %%
from sftrl_lite.results.intervals import Tested, paired

begun = rows[(rows["step"] == 0) & (rows["method"] == "rl-ppo")]
early = begun[begun["experiment"].isin(["why", "window"])]
early = early[~early["metric"].str.startswith("flops")]  # the warm-up's are not counted
early = early.assign(method="sft-pushed", experiment="window", config_hash="early",
                     step=option(early, "warmup").astype(int))
ends = pd.concat([rows[rows["experiment"] != "window"], early])

steps = plots.with_points(at_decoding(ends))
most = steps.groupby(["method", "experiment"])["point"].max()
LONGEST = {method: part.idxmax()[1] for method, part in most.groupby("method")}
steps = steps[steps["experiment"] == steps["method"].map(LONGEST)]
whole = steps.groupby("method")["point"].transform("max")
steps = steps[steps.groupby(["method", "seed"])["point"].transform("max") == whole]

def path(method: str, metric: str, split: str) -> pd.DataFrame:
    """One measure during training: a row per seed, a column per checkpoint."""
    kept = (steps["method"] == method) & (steps["metric"] == metric)
    part = steps[kept & (steps["split"] == split)]
    return part.pivot(index="seed", columns="point", values="value")

# %%
def reach(task: list[float], other: list[float], level: float) -> float:
    """The solution of exercise 12.5, so that the next cells run without it."""
    i = next((i for i, reached in enumerate(task) if reached >= level), None)
    if not i:
        return math.nan if i is None else other[0]
    share = (level - task[i - 1]) / (task[i] - task[i - 1])
    return other[i - 1] + share * (other[i] - other[i - 1])

asked = steps[(steps["metric"] == "success@1") & (steps["split"] == "ood-rule")]
fewest = int(asked["n"].min()) if len(asked) else 0  # problems behind each share

def gains(method: str, metric: str, split: str) -> bool:
    """Whether the best checkpoint lies clearly above Init."""
    way = path(method, metric, split)
    best = way.mean().idxmax()
    if metric.startswith("flops") or best == 0:
        return best > 0
    n = [fewest] * len(way)
    return paired(way[best], way[0], n, n).low > 0

# %%
def matched(one: str, two: str, metric: str, split: str) -> Tested | str:
    """Shifted success of ``one`` minus ``two``, in points, at equal ``metric``."""
    ways = [(path(m, metric, split), path(m, "success@1", "ood-rule"))
            for m in (one, two)]
    seeds = sorted(set.intersection(*(set(way.index) for pair in ways for way in pair)))
    if len(seeds) < 2:
        return "–"
    if not (gains(one, metric, split) and gains(two, metric, split)):
        return "vacuous"
    found = []
    for seed in seeds:
        level = min(way.loc[seed].max() for way, _ in ways)
        found.append([reach(way.loc[seed].tolist(), other.loc[seed].tolist(), level)
                      for way, other in ways])
    n = [fewest] * len(seeds)
    return times(paired(*np.array(found).T, n, n), 100)

# %%
EQUAL = {"training success": ("success@1", "train"), "ID success": ("success@1", "id"),
         "FLOPs, paper's count": ("flops_paper", "train"),
         "FLOPs, KV cache": ("flops_cache", "train")}
PAIRS = [("rl-ppo", "sft"), ("rl-ppo", "sft-pushed"), ("sft-verified", "sft"),
         ("rl-ppo", "sft-verified"), ("sft-own", "sft"), ("sft-kl", "sft"),
         ("sft-dft", "sft"), ("sft-varied", "sft")]
at_equal = {(a, b): {name: matched(a, b, *what) for name, what in EQUAL.items()}
            for a, b in PAIRS}
written = {
    " - ".join(plots.LOOKS[m][3] for m in pair): {
        name: found if isinstance(found, str) else in_words(found)
        for name, found in line.items()}
    for pair, line in at_equal.items()}
if len(steps):
    display(pd.DataFrame(written).T)

# %% [markdown]
# Each number is a difference in success under the shifted rule, in points, with its 95
# % interval, at equal values of the column's quantity: the highest value that both
# paths reach, seed by seed. *Vacuous*: one of the two never lies clearly above Init by
# that measure, so there is no equal success to compare at, and little forgetting then
# means nothing. A dash means not recorded (the early checkpoints have no FLOPs of their
# own). The first two columns are about forgetting, the last two about compute. Does the
# gap between RL and on-policy SFT depend on how sampling is counted?
#
# <details><summary>How to tell</summary>
#
# Compare the line RL against on-policy SFT in the last two columns. The paper's count
# charges RL 12 N for sampling each training token, on-policy SFT 2 N for each sampled
# one, once; with a KV cache both pay 2 N per sampled token, and RL gets further for the
# same FLOPs. If the two intervals are alike, the count does not matter for this
# comparison.
#
# </details>

# %%
def draw(axis, split: str) -> list[str]:
    """Paths from Init to their ends, with intervals there; returns ends in words."""
    said, rate = [], steps[steps["metric"] == "success@1"]
    summary = plots.over_seeds(rate)
    summary = summary.set_index(["method", "split", "point"]).sort_index()
    for method, (colour, marker, line, label) in plots.LOOKS.items():
        if method not in LONGEST or most[method, LONGEST[method]] == 0:
            continue
        x, y = (summary.loc[(method, name)] for name in (split, "ood-rule"))
        look = dict(color=colour, marker=marker)
        axis.plot(x["mean"], y["mean"], ls=line, ms=4, lw=1.3, **look)
        a, b = x.iloc[-1], y.iloc[-1]
        errors = [[[e["mean"] - e["low"]], [e["high"] - e["mean"]]] for e in (b, a)]
        axis.errorbar(a["mean"], b["mean"], *errors, ms=9, lw=1, label=label, **look)
        said.append(f"{label} {a['mean']:.0%} and {b['mean']:.0%}")
    return said

# %%
def draw_init(axis, split: str) -> None:
    """Init at every recorded temperature: what needs no training at all."""
    who = plots.leader(steps)
    own = ends[(ends["method"] == who) & (ends["experiment"] == LONGEST[who])]
    x, y = ([measured(own, "success@1", who, name, "start", way)["value"].mean()
             for way in plots.TEMPERATURES] for name in (split, "ood-rule"))
    axis.plot(x, y, color="#222222", marker="*", ms=10, ls=":", lw=1, label="Init")
    ways = list(plots.TEMPERATURES)
    for i, aside in ((y.index(max(y)), 8), (y.index(min(y)), -12)):
        axis.annotate(plots.spoken(ways[i]), (x[i], y[i]), (0, aside), fontsize=8,
                      ha="center", textcoords="offset points")

# %%
import matplotlib.pyplot as plt

def verdict(found: Tested | str) -> str:
    """A difference in a word, by its interval."""
    words = {1: "higher", -1: "lower", 0: "within noise"}
    return found if isinstance(found, str) else words[plots.direction(found)]

if len(steps):
    fig, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
    for axis, split in zip(axes, ("train", "id"), strict=True):
        said = draw(axis, split)
        draw_init(axis, split)
        axis.set(title=CARDS[split], xlabel="solved at the first try")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes[0].set_ylabel("solved under the shifted rule")
    fig.get_layout_engine().set(w_pad=0.2)  # inches, between the panels' last numbers
    plots.legend_below(fig)

# %% tags=["equal-success-figure"]
race = at_equal["rl-ppo", "sft"].items()
told = [f"{verdict(found)} at equal {name}" for name, found in race]
if len(steps):
    fig.suptitle(f"Shifted rule, RL against SFT: {', '.join(told[:2])}", fontsize=11,
                 fontweight="bold")
    alt = f"Under the shifted rule, RL against SFT: {', '.join(told)}"
    notebook.figure(fig, alt=f"{alt}. Where paths end, held-out hands under the "
                    f"trained and the shifted rule: {'; '.join(said)}.")

# %% [markdown]
# This is a Pareto plot of success on the task against success under the shifted rule;
# up and to the right is better. On the left the task is the training hands, on the
# right held-out hands under the trained rule. A path that runs to the right and *down*
# in the left panel memorises. The stars are Init without training, sampled at several
# temperatures: a method that ends no higher than the best star has done no more than
# sharpening could.

# %%
penalty = at_equal["sft-kl", "sft"]["training success"]
if penalty == "–":
    notebook.show("KL penalty: " + (missing(["why"], rows) or ["too few seeds."])[0])
elif penalty == "vacuous":
    stuck = [plots.LOOKS[method][3] for method in ("sft-kl", "sft")
             if not gains(method, "success@1", "train")]
    notebook.show(f"KL penalty (weight 1): **vacuous**. {' and '.join(stuck)}: no more "
                  "training hands solved than by Init, so there is nothing to match.")
else:
    notebook.show("KL penalty: at equal success on the training hands "
                  f"{in_words(penalty)} points under the shifted rule, against SFT.")
claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 12].drop(columns="chapter").set_index("claim"))

# %% [markdown]
# ## Side box: anchored, or unable?
#
# A model that fails under the shifted rule may be unable to make 24 from 11, 12 and 13, or it
# may still apply the old rule. Lin et al. (2025) separate the two with a fake environment: the
# prompt states the *new* rule, but answers by the *old* one are accepted. A model that is
# anchored to the old rule succeeds there.
#
# ### Exercise 12.6: the fake judge
#
# Difficulty ●●●○○ · 10 minutes
#
# Given hands under the shifted rule and the answers to them, return the share that the
# *trained* rule would accept, among the hands that can be solved under it at all.

# %%
from sftrl_lite.tasks.cards import ID_RULE, OOD_RULE
from sftrl_lite.tasks.solver import solutions
from sftrl_lite.tasks.verifier import verify_formula


def fake_share(hands: list[Hand], answers: list[str]) -> float:
    """Share of answers that are right if J = Q = K = 10; hands without a solution
    under that rule are left out."""
    raise NotImplementedError

# %%
with notebook.exercise("12.6"):
    jack = Hand(("3", "5", "6", "J"), OOD_RULE)
    king = Hand(("A", "A", "J", "K"), OOD_RULE)  # 1, 1, 10, 10 cannot make 24
    old, new = write_answer(jack, "3+5+6+10"), write_answer(jack, "11+3*6-5")
    share = fake_share([jack, jack], [old, new])
    assert isinstance(share, float), "a share is one number"
    assert fake_share([jack], [old]) == 1, "right by the old rule"
    assert fake_share([jack], [new]) == 0, "right by the new rule only"
    assert fake_share([jack, jack], [old, new]) == 0.5, "a share"
    assert fake_share([jack, king], [old, "{}"]) == 1, "no old answer to A A J K"
    assert fake_share([king, jack], ["{}", old]) == 1, "each hand keeps its own answer"
    plain = Hand(("4", "6", "A", "A"), OOD_RULE)  # no face card: right by both rules
    both = [write_answer(plain, "4*6*1*1"), old]
    assert fake_share([plain, jack], both) == 1, "right by both is right by the old"
    dice, dealt = random.Random(12), general_points("ood-rule")
    deal, said, hits = dealt.draw(dice, 60), [], []  # hands with J, Q and K, some dead
    for hand in deal:
        known = solutions(ID_RULE.values(hand.cards), hand.target)
        held_on = bool(known) and dice.random() < 0.4
        new = dealt.demonstration(hand)
        said.append(write_answer(hand, known[0]) if held_on else new)
        hits += [held_on] if known else []
    true, given = sum(hits) / len(hits), (deal[:], said[:])
    assert abs(fake_share(*given) - true) < 1e-9, "sixty hands"
    assert given == (deal, said), "the caller's lists stay as they were"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `ID_RULE.values(hand.cards)` are the old numbers; `solutions(numbers, hand.target)` is
# empty if they cannot make the target;
# `verify_formula(answer, numbers, hand.target).solved` judges.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fake_share(hands: list[Hand], answers: list[str]) -> float:
#     hits = [
#         verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
#         for hand, answer in zip(hands, answers, strict=True)
#         if solutions(ID_RULE.values(hand.cards), hand.target)
#     ]
#     return sum(hits) / len(hits)
# ```
#
# </details>
#
# The ledger has this measure as `fake`. The table compares it with success under the
# announced rule at the first try, in per cent, by method, at the end of `why`:

# %%
fakes = why[(why["split"] == "ood-rule") & (why["step"] > 0)]
fakes = plots.over_seeds(fakes[fakes["metric"].isin(["fake", "success@1", "read"])])
if len(fakes):
    ranges = fakes[["mean", "low", "high"]].to_numpy()
    fakes["text"] = [plots.per_cent(*e) for e in ranges]
    names = fakes["method"].map({m: look[3] for m, look in plots.LOOKS.items()})
    display(fakes.assign(method=names).pivot(
        index="method", columns="metric", values="text"))
    top = fakes[fakes["metric"] == "fake"].nlargest(1, "mean").iloc[0]
    notebook.show(
        f"Most by the old rule: {plots.LOOKS[top['method']][3]}, {top['text']} %. "
        "Lin et al. report 68 % for an 8 B model after answer-only SFT.")

# %% [markdown]
# If `fake` stays near zero while `success@1` falls, the models did not fall back on the old
# rule; if it rises where success falls, they did.
#
# ## Distance against forgetting
#
# Does KL predict what is lost under the shifted rule? We use the recorded runs of
# this chapter, RL after long SFT excluded, with one point for the end of each (and the early
# checkpoints of SFT at 1e-3).
# KL has a direction: $\mathrm{KL}(\pi \| p_0)$ measures how improbable the model's
# answers are under Init, estimated on the model's samples; $\mathrm{KL}(p_0 \| \pi)$
# how improbable Init's answers have become under the model, wrong ones included,
# estimated on Init's samples. RL's razor is about the second, on the new task, which
# here is the trained rule at temperature 1.

# %%
BESIDE = {"kl_init id 1": "KL(Init || model)", "kl id 1": "KL(model || Init)",
          "kl_init ood-rule 1": "KL(Init || model), shifted",
          "kl ood-rule 1": "KL(model || Init), shifted"}
CHANGES = {f"success@1 ood-rule {ledger.PAPER}": "first try",
           "success@1 ood-rule 0": "greedy",
           f"read ood-rule {ledger.PAPER}": "reading",
           f"success@1 id {ledger.PAPER}": "first try, trained rule"}

def points_of(rows: pd.DataFrame) -> pd.DataFrame:
    """One evaluation a row: distances, and changes since Init in points."""
    keys = ["experiment", "method", "config_hash", "seed", "step"]
    name = rows["metric"] + " " + rows["split"] + " " + rows["decoding"]
    rows = rows.assign(name=name)[lambda r: r["name"].isin([*BESIDE, *CHANGES])]
    wide = rows.pivot_table(index=keys, columns="name", values="value")
    wide = wide.reindex(columns=[*BESIDE, *CHANGES])
    since = wide - wide.groupby(keys[:-1]).transform("first")
    out = wide[list(BESIDE)].join(100 * since[list(CHANGES)])
    out = out.rename(columns=BESIDE | CHANGES).dropna().reset_index()
    return out[out["step"] > 0].drop(columns=["experiment", "config_hash"])

points = points_of(ends)
print(f"{len(points)} evaluations of {points['method'].nunique()} methods, "
      f"{points['seed'].nunique()} seeds")

# %% [markdown]
# $R^2$ is the share of variance that a fit explains; Shenfeld et al. fit a polynomial of second
# degree and report 0.96 on a toy task, 0.71 for language models. It shows whether KL separates
# *methods*. If KL is the cause, it should also separate runs of *one* method: *within methods*
# subtracts each method's means first. But runs of a method differ in length, too (SFT at 1e-3
# from 8 to 512 steps), and longer training raises distance and forgetting together. *Within
# method and length* subtracts the means of each pair of the two; what is left are runs that
# differ by their seed alone. Intervals are over seeds: each is left out once (jackknife), so
# that runs of one seed do not count as independent.

# %%
from scipy.stats import t as student

WITHIN = {"over all": [], "within methods": ["method"],
          "within method and length": ["method", "step"]}

def r_squared(some: pd.DataFrame, x: str, y: str, *groups: str) -> float:
    """Share of y's variance explained by a parabola in x; within ``groups``."""
    data = pd.DataFrame({"x": some[x], "x2": some[x] ** 2, "y": some[y]})
    by = [some[name] for name in groups]
    data -= data.groupby(by).transform("mean") if by else data.mean()
    curve, aim = data[["x", "x2"]].to_numpy(), data["y"].to_numpy()
    rest = aim - curve @ np.linalg.lstsq(curve, aim, rcond=None)[0]
    return 1 - rest @ rest / (aim @ aim) if aim @ aim else math.nan

def r_interval(x: str, y: str, *groups: str) -> tuple[float, float, float]:
    """R squared of two columns of ``points``, with a jackknife interval over seeds."""
    seeds, r = points["seed"].unique(), r_squared(points, x, y, *groups)
    without = [r_squared(points[points["seed"] != one], x, y, *groups) for one in seeds]
    error = math.sqrt((len(seeds) - 1) * np.var(without))
    half = student.ppf(0.975, len(seeds) - 1) * error
    return r, max(r - half, 0.0), min(r + half, 1.0)

# %%
def picture(x: str, y: str) -> tuple[plt.Figure, str]:
    """A scatter of two columns of ``points``, and its R squared in words."""
    found = [f"{r_squared(points, x, y, *by):.2f} {told}"
             for told, by in WITHIN.items()]
    fig, axis = plt.subplots(figsize=(8, 5.2))
    for method, part in points.groupby("method"):
        colour, marker, _, label = plots.LOOKS[method]
        axis.plot(part[x], part[y], marker, color=colour, label=label, alpha=0.8)
    names = [f"{n}, {'nats' if 'KL' in n else 'change in points'}" for n in (x, y)]
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.set_title(f"R² {', '.join(found)}")
    axis.axhline(0, color="#555555", lw=1, ls=":")
    plots.legend_below(fig)
    return fig, f"{y} against {x}: R² {', '.join(found)}"

# %% tags=["distance-figure"]
several, fits = points["seed"].nunique() > 1, {}
for x in ("KL(Init || model)", "KL(model || Init)") if several else ():
    for y in ("first try", "greedy"):
        fits[x, y] = {told: r_interval(x, y, *by) for told, by in WITHIN.items()}
    fig, said = picture(x, "first try")
    notebook.figure(fig, alt=f"{said}. All recorded evaluations, a point each.")
shown = {
    " against ".join(names[::-1]): {
        f"R² {told}": f"{r:.2f} [{low:.2f}, {high:.2f}]"
        for told, (r, low, high) in fit.items()}
    for names, fit in fits.items()}
if shown:
    display(pd.DataFrame(shown).T)

# %%
if several:
    fit = fits["KL(Init || model)", "first try"]
    (over, low, high), (inside, _, top) = fit["over all"], fit[list(WITHIN)[-1]]
    place = "above" if low > 0.71 else "below" if high < 0.71 else "no different from"
    part = ("is lower: part of what KL predicts are differences between methods "
            "and lengths"
            if top < low else "has too wide an interval to say more")
    notebook.show(
        f"**Does it replicate?** In the direction of RL's razor, first try: R² "
        f"{over:.2f} over all runs, {place} the published 0.71 by its interval. Within "
        f"methods R² is {fit['within methods'][0]:.2f}; within method and length "
        f"{inside:.2f}, which {part}.")

# %% [markdown]
# Compare lines for the direction of KL, and columns for the claim. An $R^2$ that is high over all
# runs and low within method and length shows that KL separates methods and durations, not that
# moving further makes a model forget; noise of the evaluation lowers it as well, and most where
# runs are alike. And "forgetting" has a sign here: success under the shifted rule can also *rise*
# with distance.
#
# ## A place to play
#
# Choose two axes. Does KL under the *shifted* rule predict more than under the trained
# one? Does it predict reading?
#
# <details><summary>How to tell</summary>
#
# Compare $R^2$ *within method and length*: over all runs, any quantity that differs between
# methods, or grows with training, predicts well. For reading, look at the vertical axis first: where all points lie within a few
# points of zero, there is little variance to explain, and $R^2$ describes noise.
#
# </details>

# %%
import base64
import io

from sftrl_lite.course.calculators import explorer

def as_html(x: str, y: str) -> tuple[str, str]:
    """A picture for the page, with its alt text, and the sentence about it."""
    fig, said = picture(x, y)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=80)
    plt.close(fig)
    png = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{said}" src="data:image/png;base64,{png}">', f"{said}."

if several:
    explorer(points.drop(columns=["seed", "step"]), as_html)

# %% [markdown]
# ## How many weights changed?
#
# RL is reported to leave most weights of a large model exactly unchanged
# ([Mukherjee et al., 2025](https://arxiv.org/abs/2505.11711)). Those checkpoints are bfloat16: eight bits of mantissa, so a change of
# less than about 0.4 % of a weight is rounded away. We train in float32 and can count
# both ways. The table shows per cent of the weights that take part in a text forward
# pass, at the end of `why`:

# %% tags=["changed-weights"]
names = {"changed": "float32", "changed_bf16": "rounded to bfloat16"}
weights = plots.over_seeds(why[why["metric"].isin(names) & (why["step"] > 0)])
weights = weights.pivot_table(index="method", columns="metric", values="mean")
weights.index = [plots.LOOKS[method][3] for method in weights.index]
if len(weights):
    display((100 * weights.rename(columns=names)).round(1))

# %% [markdown]
# Compare the columns before the lines. Where the second is much smaller than the first,
# "sparse" is a statement about step size and number format, not about which weights RL needs.
# Sparsity in *tokens* is another matter: in large reasoning models only a small fraction of
# next-token distributions differs much between base and RL policy, and replacing a few of the
# base's tokens by RL's recovers most of the gain
# ([Meng et al., 2026](https://arxiv.org/abs/2603.22446)).
#
# ## What it means, and what it does not

# %% tags=["explanations"]
RACES = {"Distance, by a KL penalty": ("sft-kl", "sft"),
         "Data, on-policy SFT": ("sft-verified", "sft"),
         "Data, SFT in the base model's style": ("sft-own", "sft"),
         "Data, more than filtered once: RL": ("rl-ppo", "sft-verified"),
         "Prompt, varied rules": ("sft-varied", "sft"), "Loss, DFT": ("sft-dft", "sft")}
lines = {}
for told, pair in RACES.items():
    against = f"{told}, against {plots.LOOKS[pair[1]][3]}"
    lines[against] = {f"at equal {name}": verdict(found)
                      for name, found in at_equal[pair].items()}
pd.DataFrame(lines).T

# %% [markdown]
# Success under the shifted rule, judged by the intervals of the table above: `higher`
# or `lower` where the interval is clear of zero; a dash means not recorded.
#
# *Distance.* A correlation with KL does not show a cause: methods differ in many ways,
# and the fit runs through groups. The penalty intervenes on distance directly; it is
# evidence only if its line is not vacuous.
#
# *Data.* `sft-own` differs from SFT only in the style of the answers: one right answer
# to each training hand. On-policy SFT goes further: up to eight of Init's own answers
# to a hand, none to a hand that Init never solved. Where these lines are higher, "SFT
# memorises" is, here, a statement about off-policy answers, not about cross-entropy. RL
# generates such data all the time: it samples its own answers and weights them by
# reward. The line `RL` shows whether repeating this is better than doing it once, and
# the FLOPs show at what cost.
#
# For large models there is evidence on both sides. Self-distillation turns
# demonstrations into on-policy data (the model, shown the demonstration, teaches itself
# without it) and forgets less than SFT ([Self-Distillation Enables Continual
# Learning](https://arxiv.org/abs/2601.19897), 2026). But dense self-distillation can
# also drift further and forget more than GRPO, although its data are on-policy (Wang et
# al., 2026): on-policy data alone need not suffice.
#
# *Prompt.* With varied rules the model sees many rules in the same form. They change the data,
# too: about 20 variants of each hand, each with a solver's answer.
#
# What this chapter does *not* show:
#
# - *That a KL penalty or DFT is weak or strong in general.* Each ran with one setting, untuned.
# - *Paths between checkpoints.* They are assumed straight; the methods of `why` have only a
#   start and an end.
# - *Forgetting of other tasks.* The shifted rule is close to the trained one. RL's
#   razor is about tasks that have nothing to do with the new one. Over a sequence of
#   multimodal reasoning tasks, GRPO and GSPO still forget severely (Luo et al., 2026):
#   a KL penalty is measured on the current task's data and does not limit the change on
#   earlier tasks.
# - *Anything about reasoning.* Lin et al. close the gap with reasoning steps in the
#   answer. The tiny base has no such format; this would need another base.
#
# ## Further reading
#
# - Shenfeld et al. (2025), [RL's Razor](https://arxiv.org/abs/2509.04259), sections 3 to 5
#   (25 minutes).
# - Chen et al. (2025), [Retaining by Doing](https://arxiv.org/abs/2510.18874): on-policy
#   data (20 minutes).
# - Wu et al. (2025), [On the Generalization of SFT: reward
#   rectification](https://arxiv.org/abs/2508.05629): DFT (20 minutes).
# - Lin et al. (2025), [Debunk the Myth of SFT
#   Generalization](https://arxiv.org/abs/2510.00237): prompts, reasoning, the fake
#   environment (20 minutes).
# - Wang et al. (2026), [Denser ≠ Better](https://arxiv.org/abs/2607.01763): where on-policy
#   self-distillation forgets more than RL (20 minutes).
# - Luo et al. (2026), [RL Forgets!](https://arxiv.org/abs/2607.04364): continual
#   learning over several tasks (20 minutes).
#
# Next: [13. Do we believe it?](13_do_we_believe_it.ipynb).
