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
# When do more tries pay? A larger budget of tries does three things at once. It gives
# the model more attempts, it puts failed answers and the verifier's messages into the
# context, and in training it spends on one hand what could have bought updates on
# others. We measure the three separately on two base models, and map where RL with
# more tries generalises better and where it does not.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Split "solved within five tries" into what five independent samples would solve and
#   what the conversation adds.
# - Measure what a verifier's message is worth, in points and in bits.
# - Read the paper's growth over verification budgets beside its controls: a common test
#   budget, equal steps, another base, temperature and message.
# - Derive the paper's $\lambda$, and replace it by the cost of sampling with a KV cache.
# - Compare two methods at equal cost under any cost measure.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## Two hands, five tries
#
# At each try, a model solves an easy hand with probability 0.9 and a hard one with
# probability 0.01. Its mean success at the first try is 45.5 %.
#
# **Predict, then run.** If 45.5 % were the probability for every hand, five independent
# tries would solve 95 %. What share do they solve of these two hands?
#
# <details><summary>Answer</summary>
#
# 52 %: the easy hand almost surely, the hard one almost never. Five tries at
# probability 0.01 solve it with probability 0.05, and $(1.00 + 0.05) / 2 = 0.52$.
#
# </details>

# %% tags=["two-hands"]
easy, hard = 0.9, 0.01

def within(p: float, tries: int) -> float:
    """At least one success in independent tries of probability p."""
    return 1 - (1 - p) ** tries

mean = (easy + hard) / 2
by_hand = (within(easy, 5) + within(hard, 5)) / 2
print(f"within 5, hand by hand:      {by_hand:.1%}")
print(f"within 5, from the mean {mean:.3f}: {within(mean, 5):.1%}")

# %%
import matplotlib.pyplot as plt

budgets = range(1, 11)
fig, axis = plt.subplots()
for name, dash, curve in (
    ("promised by the mean", "--", [within(mean, k) for k in budgets]),
    ("both hands", "-", [(within(easy, k) + within(hard, k)) / 2 for k in budgets]),
    ("hard hand", ":", [within(hard, k) for k in budgets]),
):
    axis.plot(budgets, curve, dash, marker="o", label=name)
said = (f"Within five tries the mean promises {within(mean, 5):.0%}, "
        f"the two hands give {by_hand:.0%}")
axis.set(title=said.replace(", ", ",\n"), ylim=(0, 1.03))
axis.set(xlabel="independent tries", ylabel="solved")
axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
axis.legend(loc="center right", bbox_to_anchor=(1, 0.73))
notebook.figure(fig, alt=f"{said}. Share solved against independent tries, 1 to 10.")

# %% [markdown]
# The mean promises far too much, because it ignores that tries at the same hand are
# correlated: an easy hand that was failed is solved at the next try, a hard one is
# failed again. So the right baseline for a verification budget is what *the same model*
# solves with as many independent samples of each hand and no verifier in between. That
# is pass@k of chapter 2. Where success within $k$ tries lies above it, the conversation
# helps; where it lies below, the failed answers in the context do harm.
#
# ### Exercise 10.1: attempts or advice?
#
# Difficulty ●●○○○ · 6 minutes
#
# You know how many of $n$ independent samples of each hand were right, and what share
# of hands was solved within $k$ tries *with* messages. Return what $k$ independent
# attempts would solve (the mean pass@k) and what the conversation adds, both in points.

# %%
from sftrl_lite.training.evaluate import pass_at_k


def advice(correct: list[int], n: int, k: int, solved: float) -> dict[str, float]:
    """Keys ``attempts`` and ``advice``: in points, they add up to 100 ``solved``."""
    raise NotImplementedError

# %%
import random
from itertools import combinations, pairwise

with notebook.exercise("10.1"):
    found = advice([4, 0], 4, 2, 0.75)
    keys = isinstance(found, dict) and {*found} == {"attempts", "advice"}
    assert keys, "a dictionary with the keys attempts and advice"
    assert abs(found["attempts"] - 50) < 1e-9, "pass@2 is 1 and 0 on the two hands"
    assert abs(found["advice"] - 25) < 1e-9, "75 % were solved, 50 % by attempts alone"
    assert advice([0, 0], 4, 2, 0.0) == {"attempts": 0, "advice": 0}, "nothing at all"
    assert advice([4, 4], 4, 2, 0.9)["advice"] < 0, "a conversation can also do harm"
    one = advice([1], 4, 2, 0.5)["attempts"]
    assert abs(one - 50) < 1e-9, "one right of four: half of the pairs hold it"
    for seed in range(10):
        dice = random.Random(seed)
        n, solved = dice.randint(4, 7), dice.random()
        k, counts = dice.randint(2, n), dice.choices(range(n + 1), k=5)
        picks = [min(pick) < c for c in counts for pick in combinations(range(n), k)]
        found, true = advice(list(counts), n, k, solved), 100 * sum(picks) / len(picks)
        assert abs(found["attempts"] - true) < 1e-9, f"all draws of {k} of {n}, by hand"
        assert abs(sum(found.values()) - 100 * solved) < 1e-9, "they add up to solved"
        advice(given := list(counts), n, k, solved)
        assert given == counts, "the caller's list of counts stays as it was"

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
#     alone = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
#     return {"attempts": 100 * alone, "advice": 100 * (solved - alone)}
# ```
#
# </details>
#
# ## What the verifier says
#
# Four verifiers give the same verdicts and the same rewards. They differ in the message
# after a failed try. Here are their messages on three answers to the same hand:

# %%
from sftrl_lite.tasks.base import FEEDBACK
from sftrl_lite.tasks.cards import OOD_RULE
from sftrl_lite.tasks.general_points import GeneralPoints, general_points, write_answer
from sftrl_lite.tasks.hands import Hand

hand = Hand(("3", "5", "6", "J"), OOD_RULE)
said = {"wrong value": write_answer(hand, "11+3+6+5"),
        "wrong numbers": write_answer(hand, "3+5+6+10"), "no formula": "{}"}
for feedback in FEEDBACK:
    for name, answer in said.items():
        judge = GeneralPoints(OOD_RULE, feedback=feedback)
        print(f"{feedback:7} {name:14} {judge.verify(hand, answer).message!r}")

# %% [markdown]
# The paper's figures show `binary`. Its released code reveals more: the unused numbers
# *under the current rule*, and the beginning of a correct formula. That is `leaky`:
# under the shifted rule, the message gives the rule away.
#
# ## Can the base revise?
#
# Whether more tries pay depends on how good the later ones are. So there are two bases
# (`data/`), pre-trained on the same textbook but on different homework. In the homework
# of the *main* base, careless answers are nearly as frequent at later tries as at the
# first. In that of the *hasty* base, the first answer is rarely careful and later ones
# are careful more often. Here is Init under the shifted rule, with five tries and each
# of the four verifiers, at the paper's decoding:

# %%
from tqdm.auto import tqdm

from sftrl_lite.models.loading import load
from sftrl_lite.runs.recorder import held_out
from sftrl_lite.training.evaluate import evaluate

BASES = {"main": scale.base}
if scale.name == "tiny":  # the hasty base exists at this size only
    BASES["hasty"] = f"{scale.base}-hasty"
models = {name: load(path) for name, path in BASES.items()}
hands = held_out(general_points("ood-rule"), 3 * scale.eval_episodes // 5, seed=0)
limit = dict(max_new_tokens=scale.rl.max_new_tokens)
played = {}
for name, (model, tokenizer) in models.items():
    for feedback in tqdm(FEEDBACK, desc=name):
        task = general_points("ood-rule", feedback=feedback)
        found = evaluate(model, tokenizer, task, hands, tries=5, **limit)
        played[name, feedback] = found[1]

# %%
import pandas as pd

def at_try(episodes: list, t: int) -> dict[str, str]:
    """Try t (0, 1, ...) of the hands that are unsolved until then."""
    verdicts = [e.turns[t].verdict for e in episodes if len(e.turns) > t]
    n = max(len(verdicts), 1)
    hits = {"numbers read right": sum(v.read_right for v in verdicts),
            "legal": sum(v.kind != "illegal" for v in verdicts),
            "solved": sum(v.solved for v in verdicts)}
    shares = {name: f"{h / n:.0%}" for name, h in hits.items()}
    return {"hands left": f"{len(verdicts)}"} | shares

by_try = {(name, f"try {t + 1}"): at_try(played[name, "binary"], t)
          for name in BASES for t in range(5)}
pd.DataFrame(by_try).T

# %% [markdown]
# Read each base from top to bottom. Are the numbers still read correctly at later
# tries? If not, the model cannot use another try, whatever the message says. Then
# compare `solved` at try 1 and later, with care.
#
# <details><summary>Why with care?</summary>
#
# Each line holds the hands that are still unsolved, and those are the harder ones. So
# `solved` falls from line to line even for a model whose later tries are as good as its
# first (a selection effect). Where it rises all the same, the model revises.
#
# </details>
#
# A comparison without this selection takes *independent* samples of the same hands:

# %%
import torch

from sftrl_lite.results.intervals import mean_interval
from sftrl_lite.training.rollouts import rollout

N, K = 8, 5
alone = {}
for name, (model, tokenizer) in models.items():
    dice = torch.Generator(model.device).manual_seed(1)
    episodes = rollout(model, tokenizer, general_points("ood-rule"), hands, samples=N,
                       tries=1, temperature=0.6, top_p=0.9, generator=dice, **limit)
    wins = [e.solved for e in episodes]
    alone[name] = [sum(wins[i : i + N]) for i in range(0, len(wins), N)]

# %% tags=["advice"]
from sftrl_lite.results import plots, report, tables

def gain(name: str, feedback: str):
    """Success within K tries minus K independent tries, hand by hand, in points."""
    pairs = zip(played[name, feedback], alone[name], strict=True)
    return mean_interval([100 * (e.solved - pass_at_k(c, N, K)) for e, c in pairs])

gains, lines = {(n, f): gain(n, f) for n in BASES for f in FEEDBACK}, {}
for (name, feedback), e in gains.items():
    mean = sum(pass_at_k(c, N, K) for c in alone[name]) / len(hands)
    lines[name, feedback] = {
        "first try": f"{sum(alone[name]) / len(hands) / N:.1%}",
        f"{K} independent tries": f"{mean:.1%}",
        f"within {K} tries": f"{100 * mean + e.value:.1f}%",
        "advice": tables.in_words(e),
        "": {1: "helps", -1: "harms", 0: "within noise"}[plots.direction(e)]}
pd.DataFrame(lines).T

# %%
import textwrap

said = []
for name in BASES:
    ways = [plots.direction(gains[name, feedback]) for feedback in FEEDBACK]
    better, worse = ways.count(1), ways.count(-1)
    said += [f"{name} base, better with {better} and worse with {worse} of "
             f"{len(ways)} messages"]
said = "Later tries in conversation, against independent ones: " + "; ".join(said)
fig, axis = plt.subplots(figsize=(7.5, 3.6))
for y, ((name, _), e) in enumerate(gains.items()):
    colour, mark = ("#0072B2", "o") if name == "main" else ("#D55E00", "s")
    axis.plot([e.low, e.high], [y, y], color=colour)
    axis.plot(e.value, y, mark, color=colour, ms=8)
axis.axvline(0, color="#222222", lw=0.8)
axis.set_yticks(range(len(gains)), [f"{n} base, {f}" for n, f in gains])
axis.invert_yaxis()
axis.set(xlabel=f"within {K} tries minus {K} independent tries, points")
axis.set_title(textwrap.fill(said, 72), fontsize=10)
rows = "; ".join(f"{n} {f} {tables.in_words(e)}" for (n, f), e in gains.items())
notebook.figure(fig, alt=f"{said}. Advice in points with 95 % intervals: {rows}.")

# %% [markdown] tags=["bits"]
# Two things happen between tries: the message informs, and the failed answer stays in
# the context. `advice` is their joint effect, in points, with a 95 % interval over hands.
# Compare the rows of one base to see what a message is worth; the row `none` is another
# try without any message. Compare the rows `binary` to see what the base contributes.
#
# ## A message in bits
#
# How much *can* a message say? At most its entropy, taken over the failed tries, since after
# a success no message is read. If message $m$ occurs after a failure with probability $p_m$,
#
# $$H = -\sum_m p_m \log_2 p_m \quad \text{bits}.$$
#
# ### Exercise 10.2: bits
#
# Difficulty ●○○○○ · 4 minutes
#
# Estimate the probabilities by the shares in a list of messages; return their entropy.

# %%
import math


def bits(messages: list[str]) -> float:
    """Entropy of the messages in bits: ``bits(["yes", "no"])`` is 1."""
    raise NotImplementedError

# %%
from collections import Counter

import numpy as np
from scipy.stats import entropy

with notebook.exercise("10.2"):
    number = isinstance(bits(["yes", "no"]), float | np.floating)
    assert number, "one number, neither a text nor one for each message"
    assert bits(["no"] * 5) == 0, "a message that never varies says nothing"
    assert abs(bits(["a", "b", "c", "d"]) - 2) < 1e-9, "four equal messages: two bits"
    assert abs(bits(["yes", "no", "no", "no"]) - 0.811) < 1e-3, "rare news"
    for seed in range(20):
        dice = random.Random(seed)
        heard = dice.choices("abcdefg", (5, 3, 2, 1, 1, 1, 1), k=dice.randint(5, 60))
        true = entropy(list(Counter(heard).values()), base=2)
        assert abs(bits([*heard]) - true) < 1e-9, "any messages, as often as they come"
        bits(given := list(heard))
        assert given == heard, "the caller's list of messages stays as it was"

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

# %% tags=["bits-heard"]
for (name, feedback), episodes in played.items():
    first = [e.turns[0].verdict for e in episodes]
    told = Counter(v.message for v in first if not v.solved)
    h = entropy(list(told.values()), base=2)
    print(f"{name:5} {feedback:7} {len(told):3} different messages, {h:.2f} bits")

# %% [markdown]
# Information that is offered need not be used: compare the lines of `leaky` with their
# advice above. All four verifiers occur in the pre-training corpus, `binary` most often
# (`any_feedback` in `sftrl_lite/training/corpus.py`).
#
# ## Does the message teach?
#
# So far we asked what a message does at *inference*. In training, it might lead RL to
# another policy. We use recorded runs of RL with each verifier at equal compute. We
# report success under the shifted rule at the *first* try, before any message, and
# within five tries; then the differences from the binary verifier, paired by seed, in
# points.

# %%
from sftrl_lite.results.claims import claims_table
from sftrl_lite.results.measures import compare, measured, option, times

rows = report.recorded("why", "feedback")
rows = rows[(rows["scale"] == scale.name) & (rows["method"] == "rl-ppo")]
heard = option(rows, "feedback").replace("0", "binary")
lines = {}
for feedback in FEEDBACK:
    for metric, name in (("success@1", "first try"), ("success@5", "five tries")):
        ends = [measured(rows[heard == f], metric, "rl-ppo", "ood-rule")
                for f in (feedback, "binary")]
        if len(ends[0]):
            line = lines.setdefault(feedback, {"seeds": len(ends[0])})
            line[f"{name}, %"] = f"{100 * ends[0]['value'].mean():.1f}"
            gap = compare(ends[:1], ends[1:]) if feedback != "binary" else None
            line[f"{name}, difference"] = tables.in_words(gap and times(gap, 100))
for line in report.missing(["why", "feedback"], rows):
    notebook.show(line)
pd.DataFrame(lines).T

# %% [markdown]
# An interval that includes zero does not prove that there is no difference. At the first
# try no message has been read, so any difference there was learned in training.
#
# ## When do tries pay?
#
# In the paper's figure 10, RL on cards with 1, 3, 5 and 10 verification iterations
# gains 0.48, 2.15, 2.99 and 5.99 points of success under the shifted rule, at equal
# compute. This is one run for each budget, on one base, and each policy is tested at
# its *own* budget, so that a larger budget also means more attempts in the test. We
# vary what this leaves open:
#
# | what | values | because |
# | --- | --- | --- |
# | base | main, hasty | only a model that can revise gains more from a second try than from a second sample |
# | training temperature | 1, 0.2 (the paper's) | at 0.2 samples of a hand differ less |
# | message | binary, leaky | a leak carries more information |
# | length of training | equal compute, equal steps | long episodes cost updates |
# | tested at | own budget; 1, 5, 10 tries | attempts in the test are not learning |
#
# Growth is success at the end minus success of Init, on the same held-out hands with
# the same messages, paired by seed, at the paper's decoding. With one try no message is
# ever read, so both messages share those runs. They are tested with binary messages;
# where leaky policies are tested at 5 or 10 tries, the comparison therefore starts from
# a budget of 3.

# %%
from functools import cache

from sftrl_lite.results.measures import FEWEST, TRIES

BUDGETS, PAPER_GROWTH = (1, 3, 5, 10), (0.48, 2.15, 2.99, 5.99)
READINGS = {"own budget": 0, "1 try": 1, "5 tries": 5, "10 tries": 10}
tried = report.recorded(*TRIES)
tried = tried[tried["scale"] == scale.name]
table = tables.regimes(tried) if len(tried) else tried.assign(regime="")

@cache
def runs(regime: str, tries: int) -> pd.DataFrame:
    """Rows of one budget: base, temperature, message and length are in the regime."""
    return table[(table["regime"] == regime) & (table["tries"] == tries)]

def comparable(regime: str, at: int) -> tuple[int, ...]:
    """The training budgets that were tested with the same messages."""
    return BUDGETS[1:] if "leaky" in regime and at > 1 else BUDGETS

@cache
def grown(regime: str, tries: int, at: int, split: str):
    """Points of growth over Init, judged at a budget (0: its own); None: no runs."""
    metric = f"success@{at or tries}"
    return tables.gap(runs(regime, tries), split, "rl-ppo", "init", metric)

# %% [markdown]
# ## The figure of this chapter
#
# The map follows the paper's comparison: shifted rule, each policy tested at its own
# budget. One panel for each base and temperature; bars are 95 % intervals over seeds
# and problems (over problems alone where a single seed is recorded); the grey line is the
# paper's.

# %%
PANELS = [(base, warm) for base in ("tiny-gp-l", "tiny-gp-l-hasty")
          for warm in ("T 1", "T 0.2")]
LINES = {("binary", "equal compute"): ("#0072B2", "o", "-"),
         ("binary", "equal steps"): ("#0072B2", "s", "--"),
         ("leaky", "equal compute"): ("#D55E00", "^", "-"),
         ("leaky", "equal steps"): ("#D55E00", "v", "--")}

def draw(axis, base: str, warm: str, at: int = 0, split: str = "ood-rule") -> None:
    """One panel of the map."""
    axis.plot(BUDGETS, PAPER_GROWTH, color="#999999", lw=3, alpha=0.6, label="paper")
    for i, (kind, (colour, marker, dash)) in enumerate(LINES.items()):
        regime = ", ".join((base, warm, *kind))
        found = {b: grown(regime, b, at, split) for b in comparable(regime, at)}
        found = {b: e for b, e in found.items() if e}
        x = [b + 0.12 * (i - 1.5) for b in found]  # so that no interval hides another
        error = [[abs(getattr(e, end) - e.value) for e in found.values()]
                 for end in ("low", "high")]
        axis.errorbar(x, [e.value for e in found.values()], error, color=colour,
                      marker=marker, ls=dash, label=", ".join(kind))
    axis.axhline(0, color="#222222", lw=0.8)
    name = "hasty" if base.endswith("hasty") else "main"
    axis.set(title=f"{name} base, {warm}", xticks=BUDGETS, xlabel="tries in training")

# %%
from sftrl_lite.results.intervals import holm

@cache
def rise(regime: str, at: int, split: str):
    """Growth with ten tries minus growth with the fewest; None: not recorded."""
    many, few = (runs(regime, b) for b in (10, comparable(regime, at)[0]))
    budgets = at or 10, at or 1
    end, start = ([measured(part, f"success@{b}", "rl-ppo", split, when)
                   for part, b in zip((many, few), budgets, strict=True)]
                  for when in ("end", "start"))
    since = ([], []) if at else ([start[1]], [start[0]])  # judged alike: Init cancels
    found = compare([end[0], *since[0]], [end[1], *since[1]])
    return found and times(found, 100)

# %%
def word(regime: str, at: int, split: str) -> str:
    """Whether growth rises with the budget, by the interval of last minus first."""
    found = rise(regime, at, split)
    steps = [grown(regime, b, at, split) for b in comparable(regime, at)]
    if not all(steps):
        return "not recorded"
    if not found or found.n < FEWEST:
        return "too few seeds"
    ordered = all(a.value < b.value for a, b in pairwise(steps))
    up = "rises" if ordered else "rises, not at every step"
    return up if found.low > 0 else "falls" if found.high < 0 else "within noise"

REGIMES = [", ".join((*panel, *kind)) for panel in PANELS for kind in LINES]

def words(split: str) -> pd.DataFrame:
    """A word for each regime and reading, with last minus first where recorded."""
    lines = {}
    for regime in REGIMES:
        for name, at in READINGS.items():
            found, said = rise(regime, at, split), word(regime, at, split)
            number = f" {tables.in_words(found)}" if said != "not recorded" else ""
            lines.setdefault(regime, {})[name] = said + number
    return pd.DataFrame(lines).T

# %%
def summary(split: str, at: int) -> str:
    """In how many recorded regimes growth rises with the budget, and in which."""
    said = {r: word(r, at, split) for r in REGIMES}
    said = {r: w for r, w in said.items() if w not in ("not recorded", "too few seeds")}
    if not said:
        return "too few seeds are recorded yet" if len(table) else "not recorded yet"
    found = {r: rise(r, at, split) for r in said}
    corrected = dict(zip(found, holm([e.p for e in found.values()]), strict=True))
    rises = [r for r, w in said.items() if w == "rises"]
    kept = sum(corrected[r] < 0.05 for r in rises)
    falls = sum(w == "falls" for w in said.values())
    if not rises:
        return f"rises at every step in none of {len(found)} regimes, falls in {falls}"
    return (f"rises at every step in {len(rises)} of {len(found)} regimes "
            f"({'; '.join(rises)}), {kept} of them after Holm's correction; "
            f"falls in {falls}")

# %% tags=["tries-figure"]
fig, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True, sharey=True)
for axis, panel in zip(axes.flat, PANELS, strict=True):
    draw(axis, *panel)
plots.legend_below(fig)
for row in axes:
    row[0].set_ylabel("growth over Init, points")
said = f"Growth over Init, each policy at its own budget: {summary('ood-rule', 0)}"
fig.suptitle(textwrap.fill(said, 112), fontsize=11, fontweight="bold")
shifted, known = words("ood-rule"), words("id")
alt = "; ".join(f"{regime} {said}" for regime, said in shifted["own budget"].items())
notebook.figure(fig, alt=f"{said}. Shifted rule, budgets of 1, 3, 5 and 10 tries; the "
                f"paper's growth rises. Ten tries minus one, in points: {alt}.")

# %%
for line in report.missing(TRIES, tried):
    notebook.show(line)
for split, told in (("ood-rule", "Shifted rule"), ("id", "Trained rule")):
    for name, at in READINGS.items():
        notebook.show(f"{told}, tested at {name}: {summary(split, at)}.")

# %% [markdown]
# *Rises* means that mean growth increases from each budget to the next, and that the
# interval of last minus first is clear of zero. The paper's figure corresponds to the
# line "Shifted rule, tested at own budget". Where growth rises there but not at a
# common budget, the larger budget gave more attempts, but no learning that is visible
# at equal attempts. Here are all regimes one by one:

# %%
with pd.option_context("display.max_colwidth", None):
    for told in (shifted, known):
        some = told[(told != "not recorded").any(axis=1)]
        display(some if len(some) else "Not recorded yet.")

# %% [markdown]
# Equal compute and equal steps are different controls. With more tries a step costs
# more, so equal compute means fewer updates. The next table shows the cost of training,
# as means over bases, temperatures and messages:

# %%
if len(tried):
    length = option(tried, "steps").map({"0": "equal compute"}).fillna("equal steps")
    budget = tried["tries"].map("{:2}".format)
    spent = tables.cost_table(tried.assign(method=length + ", tries " + budget))
    display(spent.rename(columns={"seeds": "runs"}))

# %% [markdown]
# These are the claims about budgets and messages, with verdicts from their intervals,
# before and after Holm's correction over all claims of the course (chapter 13):

# %%
claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 10].drop(columns="chapter").set_index("claim"))

# %% [markdown] tags=["lambda"]
# ## Three cost measures
#
# Equal compute by *which* count? For $N$ parameters and $D$ training tokens, the paper
# counts (appendix C.3)
#
# $$X_\text{RL} = 6 N D + 2 N \lambda D, \qquad \lambda = \frac{E\, d_i\, d_o}{D},$$
#
# for $E$ sampled answers of $d_o$ tokens, each after a context of $d_i$ tokens. The
# product $d_i d_o$ charges each new token for reading its whole context again, as if
# there were no KV cache. For cards the paper prints $\lambda = 6$ but not the lengths
# behind it; the value depends on them, and on how often a sampled token is trained on.
# With a KV cache, each token is processed once.
#
# ### Exercise 10.3: your own lambda
#
# Difficulty ●●○○○ · 6 minutes
#
# An answer of $a$ tokens follows a prompt of $q$ tokens. All $q + a$ tokens are trained
# on once in each epoch. How many token passes does sampling cost per training token,
# without and with a cache? Without one, the token after $i$ earlier ones costs $i$
# passes; with one, each of the $q + a$ tokens is processed once.

# %%
def lambdas(prompt: int, answer: int, epochs: int = 1) -> tuple[float, float]:
    """(without a cache, with one): ``lambdas(2, 2)`` is (1.25, 1.0)."""
    raise NotImplementedError

# %%
with notebook.exercise("10.3"):
    both = lambdas(2, 2)
    pair = isinstance(both, tuple) and len(both) == 2
    assert pair, "a pair: without a cache, and with one"
    without, cached = both
    assert abs(without - 5 / 4) < 1e-9, "2 passes, then 3, over 4 trained tokens"
    assert abs(cached - 1.0) < 1e-9, "prompt 2, answer 2: each token passes once"
    assert lambdas(20, 40)[0] > 20, "long answers are expensive without a cache"
    assert abs(lambdas(2, 2, 4)[0] - 5 / 16) < 1e-9, "four epochs train on 16 tokens"
    for seed in range(20):
        q, a, epochs = (random.Random(f"{seed}{name}").randint(1, 60) for name in "qae")
        passes = sum(q + earlier for earlier in range(a))
        without, cached = lambdas(q, a, epochs)
        told = f"prompt {q}, answer {a}, epochs {epochs}"
        assert abs(without - passes / (epochs * (q + a))) < 1e-9, told
        assert abs(cached - 1 / epochs) < 1e-9, told

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
# def lambdas(prompt: int, answer: int, epochs: int = 1) -> tuple[float, float]:
#     tokens = prompt + answer
#     without = sum(range(prompt, tokens)) / (epochs * tokens)
#     return without, tokens / (epochs * tokens)
# ```
#
# </details>
#
# For our own answers, and for lengths as a large model might have them:

# %% tags=["lambdas"]
def without_cache(q: int, a: int, epochs: int) -> float:
    """Token passes of sampling per token trained on."""
    return (a * q + a * (a - 1) / 2) / (epochs * (q + a))

firsts = [e.turns[0] for e in played["main", "binary"]]
q = round(sum(t.start for t in firsts) / len(firsts))
a = round(sum(t.end - t.start for t in firsts) / len(firsts))
for prompt, answer, epochs in ((q, a, scale.rl.epochs), (100, 50, 4), (300, 100, 4)):
    print(f"prompt {prompt:3}, answer {answer:3}, epochs {epochs}: lambda "
          f"{without_cache(prompt, answer, epochs):5.1f} without a cache, "
          f"{1 / epochs:.2f} with one")

# %% [markdown]
# So 6 belongs to one set of lengths and is not a constant of RL. The ledger has both
# counts for every run: `flops_paper` with $\lambda = 6$, so that our axis is the
# paper's, and `flops_cache` with the tokens that were actually sampled. For sampling,
# the paper's count charges RL twelve operations per parameter and training token; with
# a cache it would be two per sampled token. The paper's count is a handicap for RL.
#
# ### Exercise 10.4: equal cost
#
# Difficulty ●●○○○ · 5 minutes
#
# Two curves were evaluated at different costs. Compare them at the *same* cost, the
# largest that both have reached, by linear interpolation between the evaluations.

# %%
def gap_at_equal_cost(
    x1: list[float], y1: list[float], x2: list[float], y2: list[float]
) -> tuple[float, float]:
    """(cost, y1 - y2 there): ([0, 2], [0, 1], [0, 1], [0, 1]) gives (1, -0.5)."""
    raise NotImplementedError

# %%
with notebook.exercise("10.4"):
    both = gap_at_equal_cost([0, 2], [0, 1], [0, 1], [0, 1])
    assert isinstance(both, tuple) and len(both) == 2, "a pair: the cost, and the gap"
    cost, gap = both
    assert cost == 1, "the second curve ends at 1"
    assert abs(gap + 0.5) < 1e-9, "the first one is half-way up there"
    assert gap_at_equal_cost([0, 3], [0, 3], [0, 3], [0, 1]) == (3, 2), "same end"
    found = gap_at_equal_cost([0, 1], [0, 1], [0, 2], [0, 1])
    assert found == (1, 0.5), "the first curve may end first"
    cost, gap = gap_at_equal_cost([0, 1, 2, 6], [1, 5, 2, 0], [0, 1.5], [2, 4])
    assert cost == 1.5 and abs(gap + 0.5) < 1e-9, "from one evaluation to the next"
    cost, gap = gap_at_equal_cost([1, 2, 4, 5], [0, 4, 2, 7], [0.5, 3, 9], [3, 1, 7])
    assert cost == 5 and abs(gap - 4) < 1e-9, "curves need not start at the same cost"
    dice = np.random.default_rng(10)
    for _ in range(20):
        xs = [np.sort(dice.uniform(0, 9, dice.integers(3, 7))).tolist() for _ in "ab"]
        ys = [dice.random(len(x)).tolist() for x in xs]
        end = min(xs[0][-1], xs[1][-1])
        true = np.interp(end, xs[0], ys[0]) - np.interp(end, xs[1], ys[1])
        curves = xs[0][:], ys[0][:], xs[1][:], ys[1][:]
        cost, gap = gap_at_equal_cost(*curves)
        assert cost == end and abs(gap - true) < 1e-9, "as np.interp, for any curves"
        same = curves == (xs[0], ys[0], xs[1], ys[1])
        assert same, "the caller's curves: each stays as it was"

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
# The figure shows the recorded headline (paper, figure 5): success within five tries
# under the trained rule (top) and the shifted one (bottom), against three cost
# measures. Minutes are wall-clock on one core, evaluations included. Bands are 95 %
# intervals over seeds and problems.

# %%
from sftrl_lite.results.ledger import PAPER

head = plots.with_points(report.recorded("headline", "push"))
head = head[head["scale"] == scale.name]
COSTS = {"flops_paper": "TFLOP, paper's count", "flops_cache": "TFLOP, with a cache",
         "minutes": "minutes on one core"}

def line(method: str, split: str, cost: str) -> pd.DataFrame:
    """Mean cost and success with its interval at each evaluation of a method."""
    part = head[head["method"] == method]
    shown = part[(part["metric"] == "success@5") & (part["split"] == split)]
    spent = part[part["metric"] == cost].groupby("point")["value"].mean() / 1e12
    if cost == "minutes":
        spent = shown.groupby("point")["minutes"].mean()
    found = plots.over_seeds(shown).assign(who=plots.LABELS[method])
    return found.join(spent.rename("cost"), on="point")

# %%
def costs_figure() -> plt.Figure:
    """Success against three costs, under the trained and the shifted rule."""
    done = [m for m in ("rl-ppo", "sft", "sft-pushed") if (head["method"] == m).any()]
    fig, axes = plt.subplots(2, 3, figsize=(11, 6), sharey="row")
    for row, split in zip(axes, ("id", "ood-rule"), strict=True):
        for axis, (cost, name) in zip(row, COSTS.items(), strict=True):
            found = pd.concat([line(method, split, cost) for method in done])
            plots.draw_lines(axis, found, "cost")
            axis.set(xlabel=name if split != "id" else "", ylabel="", ylim=(0, 1.03))
            axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        row[0].set_ylabel("trained rule" if split == "id" else "shifted rule")
    plots.legend_below(fig)
    return fig

# %%
def at_cost(method: str, split: str, cost: str, x: float) -> pd.DataFrame:
    """A method's success at cost x, a line per seed, for ``measures.compare``."""
    lines = {}
    for seed, part in head[head["method"] == method].groupby("seed"):
        y = part[(part["metric"] == "success@5") & (part["split"] == split)]
        y = y[y["decoding"] == PAPER].sort_values("point")
        spent = part[part["metric"] == cost].sort_values("point")["value"] / 1e12
        at = np.interp(x, y["minutes"] if cost == "minutes" else spent, y["value"])
        lines[seed] = dict(metric="success@5", decoding=PAPER, value=at, n=y["n"].min())
    return pd.DataFrame(lines).T

def gap_at(cost: str, split: str):
    """RL minus SFT at the largest cost that every run of both has reached, and it."""
    both = head[head["method"].isin(["rl-ppo", "sft"])]
    spent = both[both["metric"] == ("flops_paper" if cost == "minutes" else cost)]
    ends = spent.groupby(["method", "seed"])
    ends = ends["minutes"].max() if cost == "minutes" else ends["value"].max() / 1e12
    sides = [at_cost(method, split, cost, ends.min()) for method in ("rl-ppo", "sft")]
    found = compare(sides[:1], sides[1:])
    return found and times(found, 100), ends.min()

# %% tags=["costs-figure"]
lost = report.missing(["headline"], head)
if not {"rl-ppo", "sft"} <= set(head["method"]):
    lost = lost or [f"Not recorded yet for both: {report.made_by(['headline'])}"]
for text in lost:
    notebook.show(text)
if not lost:
    gaps = {name: [gap_at(cost, s) for s in ("id", "ood-rule")]
            for cost, name in COSTS.items()}
    told = [f"at {x:.2f} {name} {tables.in_words(known)} under the trained rule, "
            f"{tables.in_words(new)} under the shifted one"
            for name, ((known, x), (new, _)) in gaps.items()]
    shift = [plots.direction(new) for _, (new, _) in gaps.values()]
    above = ("Under the shifted rule RL is above SFT at equal cost by "
             f"{shift.count(1)} of {len(shift)} measures, below by {shift.count(-1)}")
    fig = costs_figure()
    fig.suptitle(above, fontsize=11, fontweight="bold")
    said = "RL minus SFT, in points: " + "; ".join(told) + "."
    notebook.figure(fig, alt=f"{above}. {said}")
    notebook.show(said)
    display(tables.cost_table(head))

# %% [markdown]
# The table shows what the axes do not: how many gradient updates each method makes with
# the same compute.
#
# ## A place to play
#
# Here are episodes of the last base with the leaky verifier, try by try. Find one where
# the hint is used, and one where it is ignored.
#
# <details><summary>How to tell</summary>
#
# Used: a try lists the numbers that the message called unused, or continues the formula
# that "begins well". Ignored: the next try repeats the formula, or the misread number,
# that was just rejected.
#
# </details>

# %%
from sftrl_lite.course.widgets import revision_viewer

last = list(BASES)[-1]
long = [e for e in played[last, "leaky"] if len(e.turns) > 2]
revision_viewer(long or played[last, "leaky"], models[last][1])

# %% [markdown]
# ## What it means, and what it does not
#
# A verification budget is three things at once: more attempts, the effect of earlier
# tries on later ones, and compute spent on the same hand. The paper's figure 10 shows
# their sum, on one base. The table of Init's tries shows whether there is anything to
# gain from a second one; testing at a common budget removes the attempts; training for
# equal steps removes the compute. The lines printed above say in which regimes tries
# pay, and in which comparison.
#
# At equal compute the paper's rise does not appear here in any regime. Where growth changes
# clearly with the budget it *falls*, and most clearly on the hasty base. There ten tries of Init
# already solve four times as many hands as one, so little is left to gain. Two more
# reasons suggest themselves: longer episodes buy fewer updates (table above), and with
# more tries ahead a wrong first one costs less.
#
# The runs at equal steps tell the three apart. Every policy takes the same number of
# updates there, and growth at its own budget falls on the hasty base as much as before,
# while tested at five or ten tries all policies have grown alike: what differs is how
# much Init leaves to gain at the budget of the *test*. Tested at one try, the loss that
# came with fewer updates is gone at temperature 0.2. At temperature 1 some of it stays
# on the hasty base: trained with more tries, a policy improves its first one less, as it
# would if a mistake cost less. On the main base the interval includes zero. The paper's Init solves few hands within any budget, which may be
# what its rise needs.
#
# Compute at inference also pays without any training or verifier. Sampling from a *sharpened*
# distribution of the base model nearly matches RL on single-shot reasoning benchmarks
# (Karan and Du, 2025). So a gain over Init at one fixed decoding, here as in the paper,
# leaves open how much of it other sampling would have given; *Init at its best
# temperature* (chapter 5) is our small version of that control.
#
# What this chapter does *not* show:
#
# - *That messages are useless where they do not help.* A model that understands reasons
#   may use them. Ours knows a few fixed sentences.
# - *That the paper's growth is an artefact, or that it is not.* A large model that
#   revises well may gain from revision. One evaluation at a common budget would decide.
# - *That growth is comparable where Init differs.* An Init that solves most hands within
#   ten tries has little left to gain. The paper's Init was far from that.
# - *Anything about a single regime.* The map asks the same question many times; look at
#   how many rises survive Holm's correction, and at the number of seeds.
# - *Which cost measure is right.* Real systems have a cache, sampling uses a processor
#   less efficiently than training, and wall-clock time belongs to one machine. A
#   comparison has to name its measure.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL
#   Generalizes](https://arxiv.org/abs/2501.17161), section 5.5, figures 5 and 10,
#   appendix C.3 (15 minutes).
# - Snell et al. (2024), [Scaling LLM Test-Time Compute
#   Optimally](https://arxiv.org/abs/2408.03314): revisions against independent samples
#   (25 minutes).
# - Kumar et al. (2024), [Training Language Models to Self-Correct via
#   RL](https://arxiv.org/abs/2409.12917): learning to use a second try (25 minutes).
# - Karan and Du (2025), [Reasoning with Sampling](https://arxiv.org/abs/2510.14901):
#   what sampling alone gets out of a base model (20 minutes).
#
# Next: [11. The window for RL](11_the_window_for_rl.ipynb).
