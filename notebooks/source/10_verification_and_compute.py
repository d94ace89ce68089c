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
# # 10. Verification and compute
#
# Five tries in one conversation solve far fewer hands than five fresh ones: at this size a
# failed answer weighs more than the verifier's word. We take success within a budget apart,
# measure a message in bits, and draw one training in three currencies.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Say how much of "solved within five tries" five independent tries would give.
# - Measure what a verifier's message is worth, in points and in bits.
# - Derive the paper's $\lambda$ and replace it by what a cache really costs.
# - Compare two methods at equal cost in any accounting.
# - Read the paper's growth over verification budgets with a control beside it.

# %%
from sftrl_lite import notebook

scale = notebook.setup()

# %% [markdown]
# ## Two hands, five tries
#
# A model solves an easy hand at every try with probability 0.9 and a hard one with 0.01. On
# average it solves 45.5 % at the first try. Within five tries?

# %%
easy, hard = 0.9, 0.01

def within(p: float, tries: int) -> float:
    """At least one success in independent tries of probability p."""
    return 1 - (1 - p) ** tries

mean = (easy + hard) / 2
print(f"within 5, hand by hand:      {(within(easy, 5) + within(hard, 5)) / 2:.1%}")
print(f"within 5, from the mean {mean:.3f}: {within(mean, 5):.1%}")

# %% [markdown]
# The mean knows nothing about hands, and promises far too much: whoever fails an easy hand
# gets it next time, whoever fails a hard one fails again. So the fair question to a
# verification budget is: what would *the same model* reach with as many independent tries,
# hand by hand, no verifier between them? That is pass@k of chapter 5. What success within
# $k$ tries has above it, the verifier's word has earned; what it has below, the failed
# answers in the context have cost.
#
# ### Exercise 10.1: chances or advice?
#
# Difficulty ●●○○○ · 6 minutes
#
# From the solved counts of $n$ independent samples of each hand (pass@k) and the share that
# was solved within $k$ tries *with* messages, return both and their difference in points.

# %%
from sftrl_lite.evaluate import pass_at_k


def advice(correct: list[int], n: int, k: int, solved: float) -> dict[str, float]:
    """Keys ``chances`` and ``advice``: shares in points, they add up to ``solved``."""
    raise NotImplementedError

# %%
with notebook.exercise("10.1"):
    found = advice([4, 0], 4, 2, 0.75)
    assert abs(found["chances"] - 50) < 1e-9, "pass@2 is 1 and 0 on the two hands"
    assert abs(found["advice"] - 25) < 1e-9, "75 % were solved, 50 % by chances"
    assert advice([0, 0], 4, 2, 0.0) == {"chances": 0, "advice": 0}, "nothing at all"
    assert advice([4, 4], 4, 2, 0.9)["advice"] < 0, "talk can also do harm"
    one = advice([1], 4, 2, 0.5)["chances"]
    assert abs(one - 50) < 1e-9, "one right of four: half of the pairs hold it"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `pass_at_k(c, n, k)` for each hand, then the mean.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def advice(correct: list[int], n: int, k: int, solved: float) -> dict[str, float]:
#     chances = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
#     return {"chances": 100 * chances, "advice": 100 * (solved - chances)}
# ```
#
# </details>
#
# ## What the verifier says
#
# Four verifiers judge alike and pay alike. They differ in what the model hears after a failed
# try. Here they comment on three answers to the same hand:

# %%
from sftrl_lite.cards import OOD_RULE
from sftrl_lite.general_points import (
    GeneralPoints,
    Hand,
    general_points,
    write_answer,
)
from sftrl_lite.verifier import FEEDBACK

hand = Hand(("3", "5", "6", "J"), OOD_RULE)
said = {"wrong value": write_answer(hand, "11+3+6+5"),
        "wrong numbers": write_answer(hand, "3+5+6+10"), "no formula": "{}"}
for feedback in FEEDBACK:
    for name, answer in said.items():
        judge = GeneralPoints(OOD_RULE, feedback=feedback)
        print(f"{feedback:7} {name:14} {judge.verify(hand, answer).message!r}")

# %% [markdown]
# The paper's figures show `binary`. Its released code says more: the unused numbers *under the
# current rule*, and the beginning of a correct formula. That is `leaky`: under the shifted
# rule it reads the rule out to the model.
#
# Now Init under the shifted rule, five tries with each of them, and as the reference eight
# independent samples of the same hands.

# %%
import torch
from tqdm.auto import tqdm

from sftrl_lite.evaluate import evaluate
from sftrl_lite.models import load
from sftrl_lite.rollouts import rollout
from sftrl_lite.runs import held_out, train_hands

base, tokenizer = load(scale.base)
train = train_hands(general_points("id"), scale.sft.hands, seed=0)
hands = held_out(general_points("ood-rule"), 3 * scale.eval_episodes // 5, 0, train)
limit = dict(max_new_tokens=scale.rl.max_new_tokens)
solved, played = {}, {}
for feedback in tqdm(FEEDBACK):
    task = general_points("ood-rule", feedback=feedback)
    found, played[feedback] = evaluate(base, tokenizer, task, hands, tries=5, **limit)
    solved[feedback] = found["success"]

# %%
n, some = 8, hands[: len(hands) // 2]
dice = torch.Generator(base.device).manual_seed(1)
alone = rollout(base, tokenizer, task, some, samples=n, tries=1, generator=dice,
                **limit)
right = torch.tensor([e.solved for e in alone]).reshape(-1, n).sum(1).tolist()
chances = 100 * sum(pass_at_k(c, n, 5) for c in right) / len(right)
print(f"first try {100 * sum(right) / len(right) / n:.1f} %, "
      f"five independent tries {chances:.1f} %")
for feedback, e in solved.items():
    print(f"{feedback:7} within 5 tries {100 * e.value:.1f} % "
          f"[{100 * e.low:.1f}, {100 * e.high:.1f}], "
          f"advice {100 * e.value - chances:+.1f} points")

# %% [markdown]
# Two things happen between tries: the message informs, and the failed answer stays in the
# context. The last column is their sum, and it is far below zero: who starts afresh does
# much better than who revises. What goes wrong in later tries?

# %%
for t in range(5):
    verdicts = [e.turns[t].verdict for e in played["binary"] if len(e.turns) > t]
    read = sum(v.read_right for v in verdicts) / len(verdicts)
    won = sum(v.solved for v in verdicts) / len(verdicts)
    legal = 1 - sum(v.kind == "illegal" for v in verdicts) / len(verdicts)
    print(f"try {t + 1}: {len(verdicts):3} hands, numbers read right {read:4.0%}, "
          f"legal formulas {legal:4.0%}, solved {won:4.0%}")

# %% [markdown]
# The hands that are left are the harder ones, but reading does not depend on that. In the
# base's corpus a second try is as careful as the first (chapter 2); the base has learned late
# tries less well. (A likely reason: they are rarer and stand far from the cards.) No message
# makes up for it, not even the one that reads the rule out.
#
# ## A message in bits
#
# How much *can* a message tell? At most its entropy: if messages $m$ come with shares $p_m$,
#
# $$H = -\sum_m p_m \log_2 p_m \quad \text{bits}.$$
#
# ### Exercise 10.2: bits
#
# Difficulty ●○○○○ · 4 minutes

# %%
import math


def bits(messages: list[str]) -> float:
    """Entropy of the messages in bits: ``bits(["yes", "no"])`` is 1."""
    raise NotImplementedError

# %%
with notebook.exercise("10.2"):
    assert bits(["no"] * 5) == 0, "who always says the same says nothing"
    assert abs(bits(["a", "b", "c", "d"]) - 2) < 1e-9, "four equal messages: two bits"
    assert abs(bits(["yes", "no", "no", "no"]) - 0.811) < 1e-3, "rare news"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `collections.Counter(messages).values()` are the counts.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def bits(messages: list[str]) -> float:
#     shares = [messages.count(m) / len(messages) for m in set(messages)]
#     return -sum(p * math.log2(p) for p in shares) + 0.0
# ```
#
# </details>

# %%
from collections import Counter

for feedback, episodes in played.items():
    told = Counter(e.turns[0].verdict.message for e in episodes)
    shares = [k / sum(told.values()) for k in told.values()]
    h = -sum(p * math.log2(p) for p in shares) + 0.0
    print(f"{feedback:7} {len(told):3} different messages, {h:.2f} bits")

# %% [markdown]
# Bits on offer are not bits that are used: compare the last line here with its advice above.
# The base has met the reasons in its corpus (chapter 2), hardly the leaks.
#
# ## Does the message teach?
#
# So far we only asked what a message does *while answering*. Trained with it, RL might learn
# another policy. Recorded: RL with each verifier at equal compute; shifted success at the
# *first* try, where no message has been heard yet.

# %%
import pandas as pd

from sftrl_lite import ledger, plots
from sftrl_lite.claims import claims_table, option

rows = ledger.read()
rows = rows[rows["scale"] == scale.name]
plain = (rows["experiment"] == "why") & (rows["method"] == "rl-ppo")
mode = rows[plain | (rows["experiment"] == "feedback")]
mode = mode.assign(feedback=option(mode, "feedback").replace("0", "binary"))
mode = mode[mode["metric"].isin(["success", "success@1"])]
mode = mode[mode["split"] == "ood-rule"]
lines = {}
for (feedback, metric), part in mode[mode["step"] > 0].groupby(["feedback", "metric"]):
    e = plots.over_seeds(part).iloc[0]
    lines.setdefault(feedback, {"seeds": e["seeds"]})[metric] = (
        f"{100 * e['mean']:.1f} [{100 * e['low']:.1f}, {100 * e['high']:.1f}]")
print("made by: python -m sftrl_lite sweep results/sweeps/analysis.toml --jobs 2")
pd.DataFrame(lines).T

# %% [markdown]
# ## Growth over budgets
#
# The paper's figure 10: RL on cards with 1, 3, 5 and 10 verification iterations, at equal
# compute, grows by +0.48, +2.15, +2.99 and +5.99 points of shifted success. Each policy is
# judged at its *own* budget, so a larger budget also gives more chances at the exam. Our
# recorded runs have both readings.

# %%
import matplotlib.pyplot as plt

from sftrl_lite.claims import growth
from sftrl_lite.intervals import over_seeds

BUDGETS, PAPER = (1, 3, 5, 10), (0.48, 2.15, 2.99, 5.99)
READINGS = {"own budget": "success@{}", "at one try": "success@1",
            "at ten tries": "success@10"}
grown = {name: [over_seeds(100 * growth(metric.format(b), b)(rows)) for b in BUDGETS]
         for name, metric in READINGS.items()}

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
axes[0].plot(BUDGETS, PAPER, "o-", color="#0072B2")
axes[0].set(title="paper, 11 B, one run", ylabel="OOD growth over Init, points")
for (name, values), look in zip(grown.items(), ("o-", "s--", "^:"), strict=True):
    (line,) = axes[1].plot(BUDGETS, [e.value for e in values], look, label=name)
    low, high = [e.low for e in values], [e.high for e in values]
    axes[1].fill_between(BUDGETS, low, high, alpha=0.15, lw=0, color=line.get_color())
axes[1].set(title="here, three seeds", ylim=(0, None))
axes[1].legend()
for axis in axes:
    axis.set(xlabel="tries in training", xticks=BUDGETS)
words = "; ".join(f"{name}: " + ", ".join(f"{e.value:+.1f}" for e in values)
                  for name, values in grown.items())
notebook.figure(fig, alt="Growth of shifted success over Init for 1, 3, 5, 10 tries. "
                f"Paper: +0.48, +2.15, +2.99, +5.99. Here, in points: {words}.")

# %%
claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 10].drop(columns="chapter").set_index("claim"))

# %% [markdown]
# Here the paper's order is reversed: at equal compute, more tries mean fewer updates, and at
# this size updates are what is scarce. The base is already rewarded at its first try, so
# a longer episode mostly buys more failures of the same hand.
#
# ## Three currencies
#
# Equal compute in *which* count? For $N$ parameters and $D$ tokens trained on, the paper has
# (appendix C.3)
#
# $$X_\text{RL} = 6 N D + 2 N \lambda D, \qquad \lambda = 6,$$
#
# where $\lambda$ says how many token passes sampling takes for each token trained on. Without a
# cache, every new token reads its whole prefix again, which is where a $\lambda$ of 6 comes
# from. With keys and values kept, each generated token passes once, and each is trained on
# about once.
#
# ### Exercise 10.3: your own lambda
#
# Difficulty ●●○○○ · 6 minutes
#
# An answer of $a$ tokens follows a prompt of $q$ tokens. All $q + a$ tokens are trained on once.
# How many token passes does sampling take per token trained on, without and with a cache?
# Without one, the token after $i$ earlier ones costs $i$ passes.

# %%
def lambdas(prompt: int, answer: int) -> tuple[float, float]:
    """(without a cache, with one): ``lambdas(2, 2)`` is (1.25, 1.0)."""
    raise NotImplementedError

# %%
with notebook.exercise("10.3"):
    without, cached = lambdas(2, 2)
    assert abs(without - 5 / 4) < 1e-9, "2 passes, then 3, over 4 trained tokens"
    assert abs(cached - 1.0) < 1e-9, "prompt 2, answer 2: each token passes once"
    assert lambdas(20, 40)[0] > 20, "long answers are dear without a cache"
    assert lambdas(20, 40)[1] == 1, "never with one"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Without: `sum(range(prompt, prompt + answer))` passes.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def lambdas(prompt: int, answer: int) -> tuple[float, float]:
#     trained = prompt + answer
#     return sum(range(prompt, prompt + answer)) / trained, (prompt + answer) / trained
# ```
#
# </details>
#
# ### Exercise 10.4: equal cost
#
# Difficulty ●●○○○ · 5 minutes
#
# Two curves were evaluated at different costs. Read both at the *same* cost by straight lines
# between the evaluations, at the largest cost that both have reached.

# %%
import numpy as np


def gap_at_equal_cost(
    x1: list[float], y1: list[float], x2: list[float], y2: list[float]
) -> tuple[float, float]:
    """(cost, y1 - y2 there): ([0, 2], [0, 1], [0, 1], [0, 1]) gives (1, -0.5)."""
    raise NotImplementedError

# %%
with notebook.exercise("10.4"):
    cost, gap = gap_at_equal_cost([0, 2], [0, 1], [0, 1], [0, 1])
    assert cost == 1, "the second curve ends at 1"
    assert abs(gap + 0.5) < 1e-9, "the first one is half-way up there"
    assert gap_at_equal_cost([0, 3], [0, 3], [0, 3], [0, 1]) == (3, 2), "same end"
    found = gap_at_equal_cost([0, 1], [0, 1], [0, 2], [0, 1])
    assert found == (1, 0.5), "the first curve may end first"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `np.interp(cost, x, y)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def gap_at_equal_cost(
#     x1: list[float], y1: list[float], x2: list[float], y2: list[float]
# ) -> tuple[float, float]:
#     cost = min(x1[-1], x2[-1])
#     return cost, float(np.interp(cost, x1, y1) - np.interp(cost, x2, y2))
# ```
#
# </details>
#
# ## The figure of this chapter
#
# The recorded headline (paper, figure 5): success within five tries under the trained rule
# (top) and the shifted one (bottom), against three costs. Minutes are those of one core and
# contain the evaluations on the way. Bands are 95 % intervals over seeds.

# %%
from sftrl_lite.report import recorded

head = plots.with_points(recorded("headline", "push"))
head = head[head["scale"] == scale.name]
COSTS = {"flops_paper": "TFLOP, paper's count", "flops_cache": "TFLOP, with a cache",
         "minutes": "minutes on one core"}

def line(method: str, split: str, cost: str) -> tuple[list[float], pd.DataFrame]:
    """Mean cost and success with its interval at each evaluation of a method."""
    part = head[head["method"] == method]
    shown = part[(part["metric"] == "success") & (part["split"] == split)]
    found = plots.over_seeds(shown).sort_values("point")
    if cost == "minutes":
        return shown.groupby("point")["minutes"].mean().tolist(), found
    spent = part[part["metric"] == cost].groupby("point")["value"].mean() / 1e12
    return spent.tolist(), found

# %%
fig, axes = plt.subplots(2, 3, figsize=(11, 6), sharey="row")
words = []
for row, split in zip(axes, ("id", "ood-rule"), strict=True):
    for axis, (cost, name) in zip(row, COSTS.items(), strict=True):
        lines = {m: line(m, split, cost) for m in ("rl-ppo", "sft", "sft-pushed")}
        for method, (x, y) in lines.items():
            colour, marker, dash, label = plots.LOOKS[method]
            axis.plot(x, y["mean"], color=colour, marker=marker, ls=dash, label=label)
            axis.fill_between(x, y["low"], y["high"], color=colour, alpha=0.18, lw=0)
        both = [lines[m] for m in ("rl-ppo", "sft")]
        at = min(x[-1] for x, _ in both)
        rl, sft = (np.interp(at, x, y["mean"]) for x, y in both)
        words.append((plots.NAMES[split], name, at, 100 * (rl - sft)))
        axis.set(xlabel=name if split != "id" else "", ylim=(0, 1))
        axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
    row[0].set_ylabel("trained rule" if split == "id" else "shifted rule")
axes[0][0].legend()
alt = "; ".join(f"{s}, at {x:.1f} {name}: RL - SFT {g:+.1f} points"
                for s, name, x, g in words)
notebook.figure(fig, alt="Success against cost in three currencies. " + alt)

# %%
gaps = [gap for split, _, _, gap in words if split == plots.NAMES["ood-rule"]]
notebook.show(
    f"At equal cost RL is {gaps[0]:+.1f} points ahead of SFT under the shifted rule in "
    f"the paper's count, {gaps[1]:+.1f} with a cache, {gaps[2]:+.1f} by the clock "
    "(means over the recorded seeds)."
)

# %% [markdown]
# ## A place to play
#
# Episodes of Init with the verifier that leaks, try by try. Find one where the hint is taken,
# and one where it is ignored.

# %%
from sftrl_lite.widgets import revision_viewer

long = [e for e in played["leaky"] if len(e.turns) > 2]
revision_viewer(long, tokenizer)

# %% [markdown]
# ## What it means, and what it does not
#
# A verification budget is three things at once: chances, what earlier tries do to later ones,
# and training time spent on the same hand. The paper's figure 10 shows their sum at one size.
# Taken apart at this size, the chances are good, revising throws half of them away, and the
# time spent on long episodes is missing for updates. So the paper's growth with the budget
# does not come out here: the fewer tries, the larger the growth.
#
# What this chapter does *not* show:
#
# - *That messages are useless.* A model that can read a reason may use it. Ours knows a few
#   fixed sentences, and answers late tries badly whatever they say.
# - *That the paper's growth is an artefact.* A large model that revises well gains from
#   revision; the control that tells is one evaluation at a common budget.
# - *Which currency is right.* A cache is real, sampling fills a processor badly, and the clock
#   belongs to one machine. A comparison names its own.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   section 5.5, figures 5 and 10, appendix C.3 (15 minutes).
# - Snell et al. (2024), [Scaling LLM Test-Time Compute
#   Optimally](https://arxiv.org/abs/2408.03314): revisions against independent samples
#   (25 minutes).
# - Kumar et al. (2024), [Training Language Models to Self-Correct via
#   RL](https://arxiv.org/abs/2409.12917): learning to use a second try (25 minutes).
#
# Next: [11. The window for RL](11_the_window_for_rl.ipynb).
