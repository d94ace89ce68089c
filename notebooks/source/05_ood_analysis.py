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
# # 5. OOD analysis
#
# Under a shifted rule the imitator solves no more than Init and its best answers are worse,
# the trial-and-verifier learner solves more; we split success into reading and solving,
# compare both at equal compute in two accountings, and say with intervals, controls and a
# power calculation what such a comparison can and cannot separate.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Split success into *reading* and *solving what was read*.
# - Classify failures by the verifier's verdict, and recognise an anchored model.
# - Compute pass@k and say what it adds to success.
# - Count training compute as the paper does, and with a cache, and see what changes.
# - Compute a Wilson interval and a sample size by hand, and test the paper's own bars.
# - Check a comparison for fairness: what was chosen, on what, how often.

# %%
from sftrl_lite import notebook

scale = notebook.setup()

# %% [markdown]
# ## One hand, five students
#
# The cards are 3, 5, 6 and J, and today a jack counts 11. Five students answer.

# %%
from sftrl_lite.cards import OOD_RULE
from sftrl_lite.general_points import GeneralPoints, Hand, write_answer

hand = Hand(("3", "5", "6", "J"), OOD_RULE)
ten = (3, 5, 6, 10)
students = {
    "sees a ten, adds it up": write_answer(hand, "3+5+6+10", ten),
    "reads 11, adds it up": write_answer(hand, "3+5+6+11"),
    "reads 11, writes 10": write_answer(hand, "3+5+6+10"),
    "reads 11, finds it": write_answer(hand, "11+3*6-5"),
    "chats": "Let me think about it.",
}
for name, answer in students.items():
    v = GeneralPoints(OOD_RULE).verify(hand, answer)
    print(f"{name:23} {v.kind:14} numbers right: {v.read == hand.numbers}")

# %% [markdown]
# Four of them fail, and "success 0" says the same about all four. The verdict and the
# numbers together tell them apart: the first cannot read the rule, the second cannot
# calculate (or did not look), the third reads and then slips back, the fifth has lost
# the form. A shift of the *rule* should hurt reading only. Whom does it hurt where?
#
# ## The three models
#
# We take the headline run of chapter 0: one Init, then SFT and RL on the same hands. If
# its folder is complete this cell only reads it, else it trains for a few minutes.

# %%
from sftrl_lite.headline import headline
from sftrl_lite.models import ROOT, load

table = headline(seed=0, scale=scale.name, out=ROOT / "runs" / "headline")
folder = ROOT / "runs" / "headline" / f"{scale.name}-seed0"
init, tokenizer = load(scale.base)
models = {"Init": init}
models["SFT"] = load(folder / "sft" / "model")[0]
models["RL"] = load(folder / "rl-ppo" / "model")[0]

# %% [markdown]
# All three answer the same held-out hands, in episodes of up to the scale's number of
# tries, under the trained and the shifted rule.

# %%
from tqdm.auto import tqdm

from sftrl_lite.evaluate import distance, evaluate
from sftrl_lite.general_points import general_points
from sftrl_lite.runs import held_out, train_hands

train = train_hands(general_points("id"), scale.sft.hands, seed=0)
limit = dict(tries=scale.rl.tries, max_new_tokens=scale.rl.max_new_tokens)
played, found = {}, {}
for key in tqdm([(m, split) for split in ("id", "ood-rule") for m in models]):
    name, split = key
    task = general_points(split)
    hands = held_out(task, scale.eval_episodes, 0, train)
    found[key], played[key] = evaluate(models[name], tokenizer, task, hands, **limit)
    some = played[key][:300]
    found[key] |= distance(models[name], init, some, tokenizer.pad_token_id)

# %% [markdown]
# One table. `success` counts an episode that is solved at any try, `success@1` at the
# first; `per_step` counts every try on its own; `read` is the share of first answers
# whose four numbers are right; `format_error` are tries without a legal formula; `kl` is
# the distance to Init in nats an answer, `entropy` is per token.

# %%
import pandas as pd

values = {key: {m: e.value for m, e in row.items()} for key, row in found.items()}
pd.DataFrame(values).T.rename_axis(["model", "rule"]).swaplevel().sort_index().round(3)

# %% [markdown]
# ## Reading times solving
#
# To solve at the first try one has to read, then calculate. By the rule of products
#
# $$P(\text{solve}) = P(\text{read}) \cdot P(\text{solve} \mid \text{read})
# + P(\text{solve, misread}),$$
#
# and the last term is next to nothing: a formula over wrong numbers is `wrong_numbers`.
# So a fall of success has two possible causes, and both factors can be counted.

# %%
def factors(episodes) -> dict[str, float]:
    """Both factors of first-try success, and their product."""
    readers = [e for e in episodes if e.turns[0].verdict.read_right]
    solved = sum(e.turns[0].verdict.solved for e in readers)
    parts = {"read": len(readers) / len(episodes)}
    parts["solve | read"] = solved / len(readers) if readers else float("nan")
    parts["product"] = solved / len(episodes)
    return parts

products = {key: factors(episodes) for key, episodes in played.items()}
named = pd.DataFrame(products).T.rename_axis(["model", "rule"])
named.swaplevel().sort_index().round(3)

# %%
a, b = products["SFT", "ood-rule"], products["RL", "ood-rule"]
notebook.show(
    f"Under the shifted rule SFT reads {100 * a['read']:.0f} % of the hands right and "
    f"RL {100 * b['read']:.0f} %. Of the hands it reads, SFT solves "
    f"{100 * a['solve | read']:.0f} % at the first try and RL "
    f"{100 * b['solve | read']:.0f} %; Init stands at "
    f"{100 * products['Init', 'ood-rule']['solve | read']:.0f} %."
)

# %% [markdown]
# ## Who fails how
#
# The verdicts of all first answers, by model and rule, in per cent.

# %%
def kinds(episodes) -> pd.Series:
    """Share of each verdict among first answers."""
    return pd.Series([e.turns[0].verdict.kind for e in episodes]).value_counts(True)

verdicts = pd.DataFrame({key: kinds(e) for key, e in played.items()}).fillna(0).T
(100 * verdicts).rename_axis(["model", "rule"]).swaplevel().sort_index().round(1)

# %% [markdown]
# `wrong_value` is honest failure: the right numbers, a formula that misses. Watch which
# column grows when the rule shifts. Does `wrong_numbers` mean *anchored*, that is, the
# trained rule's 10 in place of the announced number? Ask the first answers.
#
# ### Exercise 5.1: count the anchored
#
# Difficulty ●●○○○ · 6 minutes
#
# Given hands and the numbers written for them, return the shares of *right*, *anchored*
# (as if every face card were a 10) and *other*. A hand without a face card can only be
# right or other.

# %%
def reading_shares(
    hands: list[Hand], reads: list[tuple[int, ...] | None]
) -> dict[str, float]:
    """Shares that add up to 1, with the keys right, anchored and other.

    A single J under rule 11, 12, 13 read as ``(10,)`` is anchored.
    """
    raise NotImplementedError

# %%
from sftrl_lite.cards import ID_RULE

with notebook.exercise("5.1"):
    jack, seven = Hand(("J",), OOD_RULE), Hand(("7",), OOD_RULE)
    found_shares = reading_shares([jack, jack, seven, jack], [(11,), (10,), (7,), None])
    assert found_shares["right"] == 0.5, "J as 11 and 7 as 7 are right"
    assert found_shares["anchored"] == 0.25, "J as 10 under rule 11 is anchored"
    assert found_shares["other"] == 0.25, "no readable numbers are other"
    at_home = reading_shares([Hand(("K",), ID_RULE)], [(10,)])
    assert at_home["right"] == 1, "under the trained rule a 10 is right, not anchored"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `hand.numbers` is right, `ID_RULE.values(hand.cards)` is anchored. Test for right first.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def reading_shares(
#     hands: list[Hand], reads: list[tuple[int, ...] | None]
# ) -> dict[str, float]:
#     counts = dict(right=0, anchored=0, other=0)
#     for hand, read in zip(hands, reads, strict=True):
#         if read == hand.numbers:
#             counts["right"] += 1
#         elif read == ID_RULE.values(hand.cards):
#             counts["anchored"] += 1
#         else:
#             counts["other"] += 1
#     return {name: count / len(hands) for name, count in counts.items()}
# ```
#
# </details>
#
# The same count on the models, under the shifted rule:

# %%
for name in models:
    first = [(e.problem, e.turns[0].verdict.read) for e in played[name, "ood-rule"]]
    wrong = [(h, read) for h, read in first if read != h.numbers]
    tens = sum(read == ID_RULE.values(h.cards) for h, read in wrong)
    print(f"{name:4} misreads {len(wrong)} of {len(first)} hands, {tens} as by rule 10")

# %% [markdown]
# ## Success or diversity? pass@k
#
# RL is often said to sharpen what a base can already do: more often right at once, no
# more hands within reach. Then Init should catch up when each model may sample $k$ times
# *independently* (no verifier's word between) and one right answer is enough. From $c$
# right answers among $n$ samples of a hand, without bias (Chen et al., 2021, eq. 1),
#
# $$\text{pass@}k = 1 - \binom{n - c}{k} \Big/ \binom{n}{k}.$$
#
# ### Exercise 5.2: pass@k
#
# Difficulty ●●○○○ · 5 minutes
#
# Write it, without large factorials. Why not simply $1 - (1 - c/n)^k$? The last check
# shows how far off that is.

# %%
import math


def chance_of_one(correct: int, samples: int, k: int) -> float:
    """Chance that k samples hold a right one: ``chance_of_one(1, 4, 2)`` is 0.5."""
    raise NotImplementedError

# %%
with notebook.exercise("5.2"):
    assert chance_of_one(0, 16, 8) == 0, "nothing right, nothing to find"
    assert chance_of_one(16, 16, 1) == 1, "all right"
    assert abs(chance_of_one(1, 4, 2) - 0.5) < 1e-9, "half of the pairs hold it"
    assert chance_of_one(1, 4, 4) == 1, "all four samples hold it"
    naive = 1 - (1 - 1 / 4) ** 4
    assert chance_of_one(1, 4, 4) - naive > 0.3, "the naive one puts samples back"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.comb(n - c, k)` counts the draws without a right answer; it is 0 if k > n − c.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def chance_of_one(correct: int, samples: int, k: int) -> float:
#     return 1 - math.comb(samples - correct, k) / math.comb(samples, k)
# ```
#
# </details>

# %%
import torch

from sftrl_lite.evaluate import pass_at_k
from sftrl_lite.rollouts import rollout

n = 16
task = general_points("ood-rule")
hands = held_out(task, scale.eval_episodes // 5, 0, train)
rows = {}
for name, model in tqdm(models.items()):
    dice = torch.Generator(model.device).manual_seed(0)
    episodes = rollout(model, tokenizer, task, hands, samples=n, generator=dice,
                       **limit | {"tries": 1})
    right = torch.tensor([e.solved for e in episodes]).reshape(-1, n).sum(1).tolist()
    rows[name] = {f"pass@{k}": sum(pass_at_k(c, n, k) for c in right) / len(right)
                  for k in (1, 2, 4, 8, 16)}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# Compare the lines of Init and RL from left to right. Where they meet, RL has moved
# chances within reach; where they stay apart, it has done more than that, for this $k$.
#
# ## Equal compute
#
# "At the same step" is no comparison: a step of SFT reads some demonstrations, a step of
# RL samples hundreds of episodes first. The paper compares at equal training compute. It
# counts for $N$ parameters and $D$ tokens trained on (appendix C.3)
#
# $$X_\text{SFT} = 6 N D, \qquad X_\text{RL} = 6 N D + 2 N \lambda D, \quad \lambda = 6.$$
#
# 6 is one forward and one backward pass, 2 a forward pass. $\lambda$ says how many token
# passes sampling takes for one token trained on; its 6 charges as if each new token read
# its whole prefix again. With keys and values kept (chapter 4), every generated token
# passes once:
#
# $$X_\text{RL}^\text{cache} = 6 N D + 2 N D_\text{generated}.$$
#
# ### Exercise 5.3: count it both ways
#
# Difficulty ●●○○○ · 5 minutes
#
# Return both numbers. Training on demonstrations generates nothing, and then neither
# accounting adds anything.

# %%
def training_flops(N: int, trained: int, generated: int) -> tuple[float, float]:
    """(paper's count, count with a cache): ``training_flops(1, 10, 0)`` is (60, 60)."""
    raise NotImplementedError

# %%
from sftrl_lite.compute import flops

with notebook.exercise("5.3"):
    assert training_flops(1, 10, 0) == (60, 60), "SFT: 6 N D, nothing sampled"
    paper, cache = training_flops(2, 10, 4)
    assert paper == 360, "6 N D + 2 N * 6 D, whatever was really generated"
    assert cache == 136, "6 N D + 2 N generated"
    both = dict(flops_paper=paper, flops_cache=cache)
    assert flops(2, 10, 4) == both, "the package counts the same"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `generated == 0` is the SFT case.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def training_flops(N: int, trained: int, generated: int) -> tuple[float, float]:
#     sampling = 2 * N * 6 * trained if generated else 0
#     return 6 * N * trained + sampling, 6 * N * trained + 2 * N * generated
# ```
#
# </details>
#
# Both runs of the headline stop when the same compute is spent *in the paper's count*.
# What they cost by the other count, and in minutes (with the evaluations on the way, each
# run on one of the same two cores):

# %%
last = table[table["step"] == table.groupby("method")["step"].transform("max")]
cost = last[last["metric"].str.startswith("flops")]
cost = cost.pivot_table(index="method", columns="metric", values="value") / 1e12
cost["steps"] = last.groupby("method")["step"].max()
cost["minutes"] = last.groupby("method")["minutes"].max()
cost.round(2)

# %%
ratio = cost.loc["rl-ppo"] / cost.loc["sft"]
notebook.show(
    f"At {ratio['flops_paper']:.2f} times the compute of SFT in the paper's count, RL "
    f"cost {ratio['flops_cache']:.2f} times as much with a cache and "
    f"{ratio['minutes']:.1f} times as many minutes."
)

# %% [markdown]
# So the paper's count is hard on RL: with a cache the same compute would buy more of its
# steps. The clock counts what neither formula does: sampling goes token by token and
# fills a processor badly. No count is *the* right one; a comparison names its own.
#
# What would the figure say in the other count? Look up SFT's evaluation nearest to what
# RL spent with a cache.

# %%
success = table[(table["metric"] == "success") & (table["split"] == "ood-rule")]
success = success.set_index(["method", "step"])["value"]
for count in ("flops_paper", "flops_cache"):
    spent = table[table["metric"] == count].set_index(["method", "step"])["value"]
    budget = spent["rl-ppo"].max()
    near = (spent["sft"] - budget).abs().idxmin()
    print(f"{count}: RL {budget / 1e12:.2f} TFLOP, solved OOD "
          f"{success['rl-ppo'].iloc[-1]:.1%}; SFT {spent['sft'][near] / 1e12:.2f} "
          f"(step {near}), {success['sft'][near]:.1%}")

# %% [markdown]
# ## How sure? Wilson's interval
#
# $k$ successes in $n$ episodes estimate a share $\hat p = k / n$. The interval that one
# learns first, $\hat p \pm z \sqrt{\hat p (1 - \hat p) / n}$, collapses to nothing at
# $k = 0$, just where SFT ends up. Wilson (1927) asks instead which true shares $p$ would
# not be surprised by $k$, that is $|\hat p - p| \le z \sqrt{p (1 - p) / n}$, and solves for
# $p$:
#
# $$
# \frac{\hat p + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat p (1 - \hat p)}{n} +
# \frac{z^2}{4 n^2}}}{1 + \frac{z^2}{n}}, \qquad z = 1.96.
# $$
#
# ### Exercise 5.4: Wilson by hand
#
# Difficulty ●●○○○ · 6 minutes
#
# Write it. The tests use the package's version and the case that the simple interval
# gets wrong.

# %%
def wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Low and high end: ``wilson_interval(0, 10)`` is about (0, 0.28)."""
    raise NotImplementedError

# %%
from sftrl_lite.evaluate import wilson

with notebook.exercise("5.4"):
    low, high = wilson_interval(0, 10)
    assert abs(low) < 1e-9, "nothing below zero"
    assert abs(high - 0.2775) < 1e-3, "ten failures do not prove a zero"
    low, high = wilson_interval(27, 234)
    right = wilson(27, 234)
    assert abs(low - right.low) < 1e-4, f"low end should be {right.low:.4f}"
    assert abs(high - right.high) < 1e-4, f"high end should be {right.high:.4f}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Name the pieces: `p = k / n`, `centre = p + z * z / (2 * n)`, then the root.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
#     p, scale_ = k / n, 1 + z * z / n
#     centre = p + z * z / (2 * n)
#     half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
#     return (centre - half) / scale_, (centre + half) / scale_
# ```
#
# </details>
#
# ## The paper's own bars
#
# On this task the paper reports an OOD success of 11.5 % for Init, 15.0 % for RL and
# 3.4 % for SFT (section 5.1, figure 6): the famous +3.5 and −8.1 points. The number of
# episodes is not printed; the released evaluation scripts use 234. That makes 27, 35 and
# 8 successes. Fisher's exact test asks how often chance alone parts two such counts.

# %%
from scipy.stats import fisher_exact

N = 234
counts = {"Init": 27, "RL": 35, "SFT": 8}
for name, k in counts.items():
    e = wilson(k, N)
    print(f"{name:4} {e.value:.1%}  95 % interval {e.low:.1%} to {e.high:.1%}")
for a, b in [("RL", "Init"), ("SFT", "Init"), ("RL", "SFT")]:
    grid = [[counts[a], N - counts[a]], [counts[b], N - counts[b]]]
    print(f"{a:3} against {b:4}: p = {fisher_exact(grid).pvalue:.2g}")

# %% [markdown]
# So with one run each and 234 episodes, "SFT loses" and "RL beats SFT" stand on firm
# ground, "RL gains on Init" does not. That is no error of the paper's: it is a matter of
# the number of episodes. How many would it take?
#
# ### Exercise 5.5: how many episodes for 3.5 points?
#
# Difficulty ●●●○○ · 10 minutes
#
# To tell $p_1$ from $p_2$ at the 5 % level with 80 % power, each side needs about
#
# $$n = (1.96 + 0.84)^2\; \frac{p_1 (1 - p_1) + p_2 (1 - p_2)}{(p_2 - p_1)^2}$$
#
# episodes. Write it, round up, and apply it to the paper's bars.

# %%
def episodes_needed(p1: float, p2: float) -> int:
    """Episodes a side, rounded up: ``episodes_needed(0.4, 0.6)`` is 95."""
    raise NotImplementedError

# %%
with notebook.exercise("5.5"):
    assert episodes_needed(0.4, 0.6) == 95, "7.84 * 0.48 / 0.04, rounded up"
    assert episodes_needed(0.6, 0.4) == 95, "no matter which is which"
    assert episodes_needed(0.115, 0.15) > 6 * 234, "over six times 234"
    few, many = episodes_needed(0.1, 0.2), episodes_needed(0.1, 0.15)
    assert 3 < many / few < 4, "half the gap costs nearly four times as many"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.ceil`. The noise stands above the line, the squared difference below.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def episodes_needed(p1: float, p2: float) -> int:
#     noise = p1 * (1 - p1) + p2 * (1 - p2)
#     return math.ceil((1.96 + 0.84) ** 2 * noise / (p2 - p1) ** 2)
# ```
#
# </details>
#
# ## Two levels of noise
#
# More episodes make one *model* known more exactly. They say nothing about the next
# training with another seed. Let a method's true success be 12 % on average, with a
# standard deviation of 3 points from seed to seed. How often does a 95 % interval hold
# the 12 %?

# %%
import numpy as np
from scipy.stats import t as student


def coverage(seeds: int, episodes: int, worlds: int = 4000) -> tuple[float, float]:
    """Share of worlds whose interval holds the mean: over episodes, over seeds."""
    rng = np.random.default_rng(0)
    p = rng.normal(0.12, 0.03, (worlds, seeds)).clip(0.001, 0.999)
    share = rng.binomial(episodes, p) / episodes
    mean, total = share.mean(1), seeds * episodes
    pooled = 1.96 * np.sqrt(mean * (1 - mean) / total)
    hit = [float((abs(mean - 0.12) <= pooled).mean()), float("nan")]
    if seeds > 1:
        half = student.ppf(0.975, seeds - 1) * share.std(1, ddof=1) / math.sqrt(seeds)
        hit[1] = float((abs(mean - 0.12) <= half).mean())
    return tuple(hit)

for seeds, episodes in [(1, 234), (1, 1000), (1, 100_000), (3, 1000), (5, 1000)]:
    over_episodes, over_seeds = coverage(seeds, episodes)
    text = f"{over_seeds:.0%}" if seeds > 1 else "none"
    print(f"{seeds} x {episodes:6} episodes: interval over episodes "
          f"{over_episodes:.0%}, over seeds {text}")

# %% [markdown]
# The more episodes, the *more* misleading an interval over episodes becomes: it shrinks
# around one model's value. Intervals over seeds keep their promise, and are wide. This is
# why our recorded results show Student intervals over seeds, and why a live chapter says
# "one seed". How large the spread over seeds really is here, is in the ledger.

# %%
from sftrl_lite import ledger
from sftrl_lite.plots import with_points

recorded = ledger.read()
recorded = recorded[recorded["experiment"].isin(["headline", "controls"])]
recorded = recorded[recorded["scale"] == scale.name]
recorded = with_points(recorded)
last = recorded.groupby("method")["point"].transform("max")
ends = recorded[recorded["point"] == last]
ends = ends[(ends["metric"] == "success") & ends["split"].isin(["id", "ood-rule"])]
if ends.empty:
    print("nothing recorded at this scale; for each method and seed:",
          f"python -m sftrl_lite rl --scale {scale.name} --seed 1 --record",
          "--experiment headline")
else:
    by = ends.groupby(["method", "split"])
    noise = pd.DataFrame({"seeds": by["seed"].nunique(), "mean": by["value"].mean()})
    noise["sd over seeds"] = by["value"].std()
    variance = noise["mean"] * (1 - noise["mean"])
    noise["sd if only episodes"] = np.sqrt(variance / by["n"].mean())
    display(noise.round(3))

# %% [markdown]
# ## The figure of this chapter
#
# The recorded headline with its controls, against compute by the paper's count; bands
# are 95 % intervals over seeds. `SFT, varied rules` sees the same cards under changing
# rules, `SFT, base's own words` the same hands with the formulas of the base's textbook,
# `RL, random reward` is paid by a coin. (If nothing is recorded at this scale,
# the live seed is drawn, with intervals over its episodes and without controls.)

# %%
from sftrl_lite import plots

shown = with_points(table) if recorded.empty else recorded
order = ("rl-ppo", "sft", "sft-varied", "sft-own", "rl-random")
notebook.figure(plots.curves(shown, methods=order), alt=plots.alt_text(shown))

# %%
def final(method: str, split: str, metric: str = "success") -> np.ndarray:
    """Last value of each seed, in per cent."""
    part = shown[(shown["method"] == method) & (shown["split"] == split)]
    part = part[part["metric"] == metric]
    part = part[part["point"] == part["point"].max()]
    return 100 * part.sort_values("seed")["value"].to_numpy(float)

rl, sft = final("rl-ppo", "ood-rule"), final("sft", "ood-rule")
gap, k = rl.mean() - sft.mean(), min(len(rl), len(sft))
text = f"Under the shifted rule RL ends {gap:+.1f} points from SFT"
if k > 1:
    error = np.sqrt(rl.var(ddof=1) / len(rl) + sft.var(ddof=1) / len(sft))
    half = student.ppf(0.975, k - 1) * error
    text += f" (95 % interval {gap - half:+.1f} to {gap + half:+.1f}, {k} seeds)"
notebook.show(text + ("." if k > 1 else " (one seed: no interval over seeds)."))

# %%
display(plots.summary_table(shown))

# %% [markdown]
# ## Tries: learning or chances?
#
# Chapter 4 asked what a larger verification budget teaches. Here is the recorded answer:
# OOD growth over Init of policies trained with 1, 3, 5 or 10 tries, each evaluated at its
# own budget (the paper's way) and all at one common budget. Intervals are over seeds.

# %%
tried = ledger.read()
tried = tried[(tried["experiment"] == "tries") & (tried["scale"] == scale.name)]
tried = tried[(tried["method"] == "rl-ppo") & (tried["split"] == "ood-rule")]

def growth(budget: int | None) -> pd.Series:
    """Gain in points by training budget, as text; None: at its own budget."""
    keys = ["tries", "seed", "step"]
    metric = "success" if budget is None else f"success@{budget}"
    values = tried[tried["metric"] == metric].set_index(keys)["value"].sort_index()
    two = values.groupby(["tries", "seed"]).agg(["first", "last"])
    gain = (100 * (two["last"] - two["first"])).groupby("tries")
    half = student.ppf(0.975, gain.count() - 1) * gain.std() / gain.count() ** 0.5
    texts = [f"{m:+.1f} ± {h:.1f}" for m, h in zip(gain.mean(), half, strict=True)]
    return pd.Series(texts, index=half.index)

if tried.empty:
    print("nothing recorded at this scale; for each seed and 1, 3, 5, 10 tries:",
          "python -m sftrl_lite rl --tries 3 --eval-tries 1,3,5,10 --experiment tries",
          "--record")
else:
    display(pd.DataFrame({"own budget": growth(None)} |
                         {f"at {b} tries": growth(b) for b in (1, 5, 10)}))

# %% [markdown]
# If the first column rises and the others do not, more tries gave more chances; if the
# others rise too, the policies themselves differ.
#
# ## Is the comparison fair?
#
# A comparison of two methods is easily lost before it begins: tune one more than the
# other, or choose on the very split that is reported. Our rules, so that you can hold us
# to them:
#
# 1. *Same start, same hands.* SFT and RL share Init and the training hands of a seed.
# 2. *Same sweep.* Both were run over learning rates for the same parts of the model.
# 3. *Chosen elsewhere.* Three learning rates were judged on the *training* hands; beside
#    them stands a development rule (J, Q, K = 13, 11, 12; split `dev-rule`). RL has a
#    winner. SFT's rates tie, so the middle one and 1e-3 are both recorded (`push`). Nothing
#    was chosen on the reported 11, 12, 13.
# 4. *Equal compute, stated.* Equal in the paper's count, with the others beside it.
# 5. *Controls.* SFT on varied rules, SFT in the base's own words and randomly paid RL run
#    like the methods they control.
#
# Rules can be checked. What was looked at before the settings were fixed, and on which
# splits, is the experiment `sweep` in the ledger:

# %%
sweep = ledger.read()
sweep = sweep[(sweep["experiment"] == "sweep") & (sweep["scale"] == scale.name)]
if sweep.empty:
    print("no sweep recorded at this scale; for each method and rate:",
          "python -m sftrl_lite sft --lr 0.001 --splits id,dev-rule --experiment sweep",
          "--record")
else:
    rates = sweep["command"].str.extract(r"--lr (\S+)")[0].astype(float)
    sweep = sweep.assign(lr=rates)
    print("splits:", sorted(sweep["split"].unique()))
    print("runs:", sweep["config_hash"].nunique())
    late = sweep[sweep["step"] == sweep.groupby("config_hash")["step"].transform("max")]
    late = late[late["metric"].isin(["success", "read"])]
    keys = dict(index=["method", "lr"], columns=["metric", "split"], values="value")
    display(late.pivot_table(**keys).round(3))

# %% [markdown]
# One thing the ledger cannot hold: the *base* was bred so that the effect can be seen at
# this size (chapter 2), and whoever breeds a base looks at shifts while doing so. That is
# a degree of freedom that the paper did not have. Read the tiny numbers as a working
# model of the mechanism, not as another measurement of the effect at 11 B parameters.
#
# ## A place to play
#
# Drag over the training. SFT and RL move side by side, under both rules. At which point
# would you have stopped SFT, and could you have known from the trained rule alone?

# %%
from sftrl_lite.widgets import training_slider

training_slider(table)

# %% [markdown]
# ## What it means, and what it does not
#
# The two methods part where skill is *shared*. Reward for solving makes the base's own
# careful answers more likely, under every rule at once, and leaves reading where it was.
# Imitation of foreign formulas under one rule learns its hands by heart: fresh hands gain
# little, the likeliest answers get worse, and when it is pushed the reading suffers, too.
# One number, success, would not have shown that.
#
# What this chapter does *not* show:
#
# - *That RL raises OOD success at full size.* The paper's bars leave it open, as the
#   exact test above says.
# - *That SFT must lose.* The control in the base's own words wins: what is imitated
#   decides, not that it is imitation. Stopping early is another fair opponent.
# - *That a KL explains it.* The table shows the distance to Init along with the loss of
#   reading, at one seed. That smaller distance goes with less forgetting is a published
#   finding (Shenfeld et al., 2025); a cause is more than that.
# - *Anything about other shifts.* Red suits in pictures are chapter 6; streets come later.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   section 5 and appendix C (20 minutes).
# - Chen et al. (2021), [Evaluating Large Language Models Trained on
#   Code](https://arxiv.org/abs/2107.03374), section 2.1: pass@k (10 minutes).
# - Yue et al. (2025), [Does Reinforcement Learning Really Incentivize Reasoning
#   Capacity?](https://arxiv.org/abs/2504.13837): pass@k of base and RL (20 minutes).
# - Agarwal et al. (2021), [Deep Reinforcement Learning at the Edge of the Statistical
#   Precipice](https://arxiv.org/abs/2108.13264): few seeds, honest intervals (20 minutes).
# - Shenfeld et al. (2025), [RL's Razor](https://arxiv.org/abs/2509.04259): KL and
#   forgetting (20 minutes).
#
# Next: [6. Cards in pictures](06_cards_in_pictures.ipynb).
