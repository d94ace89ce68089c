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
# When do more tries pay? A budget of tries gives a model more attempts, shows it its
# own failures, and takes training time away from other hands. We take the three apart
# on two base models, and map where RL with more tries generalises better and where it
# does not.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Say how much of "solved within five tries" five independent tries would give.
# - Measure what a verifier's message is worth, in points and in bits.
# - Read the paper's growth over verification budgets with controls beside it: a common
#   budget, equal steps, another base, temperature and message.
# - Derive the paper's $\lambda$ and replace it by what a cache really costs.
# - Compare two methods at equal cost by any cost measure.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## Two hands, five tries
#
# A model solves an easy hand at every try with probability 0.9 and a hard one with
# 0.01. On average it solves 45.5 % at the first try. Within five tries?

# %% tags=["two-hands"]
easy, hard = 0.9, 0.01

def within(p: float, tries: int) -> float:
    """At least one success in independent tries of probability p."""
    return 1 - (1 - p) ** tries

mean = (easy + hard) / 2
print(f"within 5, hand by hand:      {(within(easy, 5) + within(hard, 5)) / 2:.1%}")
print(f"within 5, from the mean {mean:.3f}: {within(mean, 5):.1%}")

# %% [markdown]
# The mean knows nothing about hands and promises far too much: whoever fails an easy
# hand solves it at the next try, whoever fails a hard one fails again. So the fair
# question to a verification budget is: what would *the same model* reach with as many
# independent tries, hand by hand, no verifier between them? That is pass@k of chapter
# 2. Where success within $k$ tries lies above it, the verifier's message has helped;
# where it lies below, the failed answers in the context have done harm.
#
# ### Exercise 10.1: attempts or advice?
#
# Difficulty ●●○○○ · 6 minutes
#
# From the solved counts of $n$ independent samples of each hand (pass@k) and the share
# that was solved within $k$ tries *with* messages, return both and their difference in
# points.

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
    assert abs(found["attempts"] - 50) < 1e-9, "pass@2 is 1 and 0 on the two hands"
    assert abs(found["advice"] - 25) < 1e-9, "75 % were solved, 50 % by attempts alone"
    assert advice([0, 0], 4, 2, 0.0) == {"attempts": 0, "advice": 0}, "nothing at all"
    assert advice([4, 4], 4, 2, 0.9)["advice"] < 0, "a conversation can also do harm"
    one = advice([1], 4, 2, 0.5)["attempts"]
    assert abs(one - 50) < 1e-9, "one right of four: half of the pairs hold it"
    counts = [random.Random(i).randint(0, 6) for i in range(7)]
    picks = [min(pick) < c for c in counts for pick in combinations(range(6), 3)]
    found, true = advice(counts, 6, 3, 0.4), 100 * sum(picks) / len(picks)
    assert abs(found["attempts"] - true) < 1e-9, "all draws of 3 of 6, hand by hand"
    assert abs(sum(found.values()) - 40) < 1e-9, "the two add up to what was solved"

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
# Four verifiers judge alike and pay alike. They differ in what the model hears after a
# failed try. Here they comment on three answers to the same hand:

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
# The paper's figures show `binary`. Its released code says more: the unused numbers
# *under the current rule*, and the beginning of a correct formula. That is `leaky`:
# under the shifted rule it tells the model the rule.
#
# ## Can the base revise?
#
# Whether tries pay must depend on what later tries are like. So there are two bases
# (`data/`). They have read the same textbook. In the homework of the *main* base
# careless answers are nearly as frequent at later tries as at the first. In that of the
# *hasty* base the first answer is hardly ever careful, later ones more often. Init
# under the shifted rule, five tries, with each verifier, at the paper's decoding:

# %%
from tqdm.auto import tqdm

from sftrl_lite.models.loading import load
from sftrl_lite.runs.recorder import held_out
from sftrl_lite.training.evaluate import evaluate

BASES = {"main": scale.base}
if scale.name == "tiny":  # the hasty base is bred at this size only
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
# Read each base from top to bottom. Are the numbers still read at later tries? If not,
# a model cannot use another try, whatever it is told. Then compare `solved` at try 1
# and later, with care: the hands that are left are the harder ones. A comparison
# without that flaw takes *independent* tries at the very same hands:

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
def judged(name: str, feedback: str) -> dict[str, str]:
    """Success within K tries, K independent tries, and their difference by hand."""
    pairs = zip(played[name, feedback], alone[name], strict=True)
    gain = mean_interval([100 * (e.solved - pass_at_k(c, N, K)) for e, c in pairs])
    way = "helps" if gain.low > 0 else "harms" if gain.high < 0 else "within noise"
    mean = sum(pass_at_k(c, N, K) for c in alone[name]) / len(hands)
    return {"first try": f"{sum(alone[name]) / len(hands) / N:.1%}",
            f"{K} independent tries": f"{mean:.1%}",
            f"within {K} tries": f"{100 * mean + gain.value:.1f}%",
            "advice": f"{gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]", "": way}

pd.DataFrame({(n, f): judged(n, f) for n in BASES for f in FEEDBACK}).T

# %% [markdown] tags=["bits"]
# Two things happen between tries: the message informs, and the failed answer stays in
# the context. `advice` is their sum, in points, with a 95 % interval over hands.
# Compare the rows of one base for what a message is worth; the row `none` says what
# another try is worth without any. Compare the rows `binary` for what the base is
# worth.
#
# ## A message in bits
#
# How much *can* a message tell? At most its entropy: if messages $m$ come with shares
# $p_m$,
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
from collections import Counter

from scipy.stats import entropy

with notebook.exercise("10.2"):
    assert bits(["no"] * 5) == 0, "who always says the same says nothing"
    assert abs(bits(["a", "b", "c", "d"]) - 2) < 1e-9, "four equal messages: two bits"
    assert abs(bits(["yes", "no", "no", "no"]) - 0.811) < 1e-3, "rare news"
    for seed in range(20):
        heard = random.Random(seed).choices("abcde", (5, 3, 2, 1, 1), k=30)
        true = entropy(list(Counter(heard).values()), base=2)
        assert abs(bits(heard) - true) < 1e-9, "any messages, as often as they come"

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
    told = Counter(e.turns[0].verdict.message for e in episodes)
    h = entropy(list(told.values()), base=2)
    print(f"{name:5} {feedback:7} {len(told):3} different messages, {h:.2f} bits")

# %% [markdown]
# Bits on offer are not bits that are used: compare the lines of `leaky` with their
# advice above. The bases have met all four verifiers in their corpus, `binary` most
# often (chapter 2).
#
# ## Does the message teach?
#
# So far we only asked what a message does *while answering*. Trained with it, RL might
# learn another policy. Recorded: RL with each verifier at equal compute. The first
# column is shifted success at the *first* try, where no message has been heard yet, the
# second within five tries; the others are differences from the binary verifier, paired
# by seed, in points.

# %%
from sftrl_lite.results import report, tables
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
# An interval that includes zero is no proof of "no difference". With a first-try
# success as judge, a message can only have taught through training.
#
# ## When do tries pay?
#
# The paper's figure 10: RL on cards with 1, 3, 5 and 10 verification iterations, at
# equal compute, grows by +0.48, +2.15, +2.99 and +5.99 points of shifted success. It is
# one run a budget, on one base, and each policy is judged at its *own* budget, so a
# larger budget also gives more attempts in the test. We vary what that leaves open:
#
# | what | values | because |
# | --- | --- | --- |
# | base | main, hasty | only who revises can gain from a second try |
# | training temperature | 1, 0.2 (the paper's) | at 0.2 samples of a hand differ less |
# | message | binary, leaky | a leak gives something to learn from |
# | length of training | equal compute, equal steps | long episodes take updates away |
# | judged at | own budget; 1, 5, 10 tries | attempts in the test are not learning |
#
# Growth is success at the end minus success of Init, on the same held-out hands with
# the same messages, paired by seed, at the paper's decoding. With one try no message is
# ever read, so both messages share those runs. They are tested with binary messages:
# where leaky policies are judged at 5 or 10 tries, the comparison therefore begins with
# 3.

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
# The map, in the paper's reading: shifted rule, each policy judged at its own budget.
# One panel for each base and temperature; bars are 95 % intervals over seeds and
# problems; the grey line is the paper's.

# %%
import matplotlib.pyplot as plt

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
    if not found or not all(steps):
        return "not recorded"
    if found.n < FEWEST:
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
        return "not recorded yet"
    found = {r: rise(r, at, split) for r in said}
    corrected = dict(zip(found, holm([e.p for e in found.values()]), strict=True))
    rises = [r for r, w in said.items() if w == "rises"]
    kept = sum(corrected[r] < 0.05 for r in rises)
    falls = sum(w == "falls" for w in said.values())
    where = f" ({'; '.join(rises)})" if rises else ""
    return (f"rises at every step in {len(rises)} of {len(found)} regimes{where}, "
            f"{kept} of them after Holm's correction; falls in {falls}")

# %% tags=["tries-figure"]
fig, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True, sharey=True)
for axis, panel in zip(axes.flat, PANELS, strict=True):
    draw(axis, *panel)
axes[0, 0].legend(fontsize=8)
for row in axes:
    row[0].set_ylabel("growth over Init, points")
shifted, known = words("ood-rule"), words("id")
alt = "; ".join(f"{regime} {said}" for regime, said in shifted["own budget"].items())
notebook.figure(fig, alt="Growth of shifted success over Init for 1, 3, 5, 10 tries, "
                f"each at its own budget, {summary('ood-rule', 0)}. The paper's rises. "
                f"Ten tries minus one, in points: {alt}.")

# %%
for line in report.missing(TRIES, tried):
    notebook.show(line)
for split, told in (("ood-rule", "Shifted rule"), ("id", "Trained rule")):
    for name, at in READINGS.items():
        notebook.show(f"{told}, judged at {name}: {summary(split, at)}.")

# %% [markdown]
# *Rises* means: the mean growth rises from each budget to the next, and the interval of
# last minus first is clear of zero. The paper's figure is the line "Shifted rule,
# judged at own budget". Where it rises there and does not at a common budget, the
# larger budget gave attempts and taught nothing that shows at equal attempts. All
# readings, regime by regime:

# %%
with pd.option_context("display.max_colwidth", None):
    for told in (shifted, known):
        some = told[(told != "not recorded").any(axis=1)]
        display(some if len(some) else "Not recorded yet.")

# %% [markdown]
# Equal compute and equal steps differ in what the training took. With more tries a step
# costs more, so equal compute means fewer updates. Means over bases, temperatures and
# messages:

# %%
if len(tried):
    length = option(tried, "steps").map({"0": "equal compute"}).fillna("equal steps")
    budget = tried["tries"].map("{:2}".format)
    display(tables.cost_table(tried.assign(method=length + ", tries " + budget)))

# %% [markdown]
# The claims that this repository keeps about budgets and messages, with verdicts from
# their intervals, before and after Holm's correction over all claims (chapter 13):

# %%
claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 10].drop(columns="chapter").set_index("claim"))

# %% [markdown] tags=["lambda"]
# ## Three cost measures
#
# Equal compute in *which* count? For $N$ parameters and $D$ tokens trained on, the
# paper has (appendix C.3)
#
# $$X_\text{RL} = 6 N D + 2 N \lambda D, \qquad \lambda = \frac{E\, d_i\, d_o}{D},$$
#
# for $E$ sampled answers of $d_o$ tokens, each after a context of $d_i$ tokens. The
# product $d_i d_o$ lets each new token read its whole context again, as if there were
# no cache. For cards the paper prints $\lambda = 6$, but not the lengths behind it;
# what you get depends on them, and on how often a sampled token is trained on. With
# keys and values kept, each token passes once.
#
# ### Exercise 10.3: your own lambda
#
# Difficulty ●●○○○ · 6 minutes
#
# An answer of $a$ tokens follows a prompt of $q$ tokens. All $q + a$ tokens are trained
# on once in each epoch. How many token passes does sampling take per token trained on,
# without and with a cache? Without one, the token after $i$ earlier ones costs $i$
# passes.

# %%
def lambdas(prompt: int, answer: int, epochs: int = 1) -> tuple[float, float]:
    """(without a cache, with one): ``lambdas(2, 2)`` is (1.25, 1.0)."""
    raise NotImplementedError

# %%
with notebook.exercise("10.3"):
    without, cached = lambdas(2, 2)
    assert abs(without - 5 / 4) < 1e-9, "2 passes, then 3, over 4 trained tokens"
    assert abs(cached - 1.0) < 1e-9, "prompt 2, answer 2: each token passes once"
    assert lambdas(20, 40)[0] > 20, "long answers are expensive without a cache"
    assert abs(lambdas(2, 2, 4)[0] - 5 / 16) < 1e-9, "four epochs train on 16 tokens"
    for seed in range(20):
        q, a, epochs = (random.Random(f"{seed}{name}").randint(1, 60) for name in "qae")
        context, passes = q, 0
        for _ in range(a):
            passes, context = passes + context, context + 1
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
# So 6 is one number for one set of lengths, no property of RL. The ledger has both
# counts for every run: `flops_paper` with $\lambda = 6$, so that our axis is the
# paper's, and `flops_cache` with the tokens that were really sampled. The paper's count
# charges RL twelve operations a parameter for each token trained on, where a cache
# takes two for each token sampled: it is hard on RL.
#
# ### Exercise 10.4: equal cost
#
# Difficulty ●●○○○ · 5 minutes
#
# Two curves were evaluated at different costs. Read both at the *same* cost by straight
# lines between the evaluations, at the largest cost that both have reached.

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
    cost, gap = gap_at_equal_cost([0, 1, 2, 6], [1, 5, 2, 0], [0, 1.5], [2, 4])
    assert cost == 1.5 and abs(gap + 0.5) < 1e-9, "from one evaluation to the next"
    cost, gap = gap_at_equal_cost([1, 2, 4, 5], [0, 4, 2, 7], [0.5, 3, 9], [3, 1, 7])
    assert cost == 5 and abs(gap - 4) < 1e-9, "curves need not start at the same cost"

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
# The recorded headline (paper, figure 5): success within five tries under the trained
# rule (top) and the shifted one (bottom), against three costs. Minutes are those of one
# core and contain the evaluations on the way. Bands are 95 % intervals over seeds and
# problems.

# %%
from sftrl_lite.results import plots
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
            axis.set(xlabel=name if split != "id" else "", ylabel="", ylim=(0, 1))
            axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        row[0].set_ylabel("trained rule" if split == "id" else "shifted rule")
    plots.legend_below(fig)
    return fig

# %%
def at_cost(method: str, split: str, cost: str, x: float) -> pd.DataFrame:
    """A method's success at cost x, a line a seed, as ``measures.compare`` takes it."""
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
    said = "RL minus SFT, in points: " + "; ".join(told) + "."
    notebook.figure(costs_figure(), alt=f"Success against three cost measures. {said}")
    notebook.show(said)
    display(tables.cost_table(head))

# %% [markdown]
# The table says what the axes hide: how many gradient updates stand behind the same
# TFLOP.
#
# ## A place to play
#
# Episodes of the last base with the verifier that leaks, try by try. Find one where the
# hint is used, and one where it is ignored.

# %%
from sftrl_lite.course.widgets import revision_viewer

last = list(BASES)[-1]
long = [e for e in played[last, "leaky"] if len(e.turns) > 2]
revision_viewer(long or played[last, "leaky"], models[last][1])

# %% [markdown]
# ## What it means, and what it does not
#
# A verification budget is three things at once: more attempts, what earlier tries do to
# later ones, and training time spent on the same hand. The paper's figure 10 shows
# their sum on one base. The table of Init's tries says whether there is anything to
# gain from a second one, the common budgets take the attempts out, and equal steps take
# the training time out. The printed lines above say where tries paid, and by which
# reading.
#
# What this chapter does *not* show:
#
# - *That messages are useless where they do not help.* A model that can read a reason
#   may use it. Ours knows a few fixed sentences.
# - *That the paper's growth is an artefact, or that it is not.* A large model that
#   revises well may gain from revision. The control that tells is one evaluation at a
#   common budget.
# - *That growth is comparable where Init differs.* Points are hard to gain for an Init
#   that already solves most hands within ten tries. The paper's Init was far from that.
# - *Anything about one regime alone.* The map asks the same question many times; look
#   at how many rises survive Holm's correction, and at the seeds.
# - *Which cost measure is right.* A cache is real, sampling uses a processor badly, and
#   wall-clock time belongs to one machine. A comparison names its own.
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
#
# Next: [11. The window for RL](11_the_window_for_rl.ipynb).
