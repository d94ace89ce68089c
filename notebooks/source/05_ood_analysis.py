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
# When is a difference under a shifted rule evidence about a way of training? We split
# success into reading and solving, compare at several temperatures and by several
# measures of compute, add four controls, and compare every difference with the noise of
# seeds and problems.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Split success into *reading* and *solving what was read*, and failures by verdict.
# - Separate sharpening from learning: temperature, power distribution, pass@k.
# - State what a comparison holds equal: FLOPs in two counts, updates, wall-clock.
# - Find out whether a control is neutral, and write one that is.
# - Put an interval around a mean over seeds and problems, and correct for many claims.
# - Check whether a comparison is fair: what was chosen, on which data, and how often.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## One hand, five answers
#
# The cards are 3, 5, 6 and J, and today a jack counts 11. Five students answer.

# %% tags=["five-answers"]
from sftrl_lite.tasks.cards import OOD_RULE
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand

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
# numbers together distinguish them: the first does not read the rule, the second does
# not look for a solution, the third reads 11 but computes with 10, the fifth has lost
# the answer format. A fall of success under a shifted *rule* can have any of these
# causes. The next sections find out which.
#
# ## The three models
#
# We take the headline run of chapter 0: one Init, then SFT and RL on the same hands. If
# its folder is complete, this cell only reads it. Otherwise it trains for a few
# minutes. It is **one seed**; the recorded runs further down have more.

# %%
from sftrl_lite.files import ROOT
from sftrl_lite.models.loading import load
from sftrl_lite.runs.headline import headline, headline_folder

table = headline(seed=0, scale=scale, out=ROOT / "runs" / "headline")
folder = headline_folder(0, scale, ROOT / "runs" / "headline")
init, tokenizer = load(scale.base_for("gp-l"))
models = {"Init": scale.base_for("gp-l")}  # folders: at full, not all fit at once
models |= {"SFT": folder / "sft" / "model", "RL": folder / "rl-ppo" / "model"}

# %% [markdown]
# All three answer the same held-out hands, in episodes of up to the scale's number of
# tries, under the trained and the shifted rule. Decoding is the paper's: temperature 0.6,
# top-p 0.9 (chapter 2).

# %%
from tqdm.auto import tqdm

from sftrl_lite.runs.recorder import held_out
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training.evaluate import evaluate

limit = dict(max_new_tokens=scale.rl.max_new_tokens)
played, found = {}, {}
for key in tqdm([(m, split) for split in ("id", "ood-rule") for m in models]):
    name, split = key
    task = general_points(split)
    hands = held_out(task, scale.eval_episodes, 0)
    found[key], played[key] = evaluate(
        load(models[name])[0], tokenizer, task, hands, tries=scale.rl.tries, **limit
    )

# %% [markdown]
# All results are in one table. `success` counts an episode that is solved at any try,
# `success@1` at the first; `per_step` counts every try on its own; `read` is the share
# of first answers whose four numbers are right; `format_error` is the share of tries
# without a legal formula; `fake`, under the shifted rule, is the share of first answers
# that the *trained* rule would accept.

# %%
import pandas as pd

values = {key: {m: e.value for m, e in row.items()} for key, row in found.items()}
named = pd.DataFrame(values).T.rename_axis(["model", "rule"])
named.swaplevel().sort_index().round(3)

# %% [markdown] tags=["read-and-solve"]
# ## Reading times solving
#
# To solve at the first try one has to read, then calculate. By the rule of products
#
# $$P(\text{solve}) = P(\text{read}) \cdot P(\text{solve} \mid \text{read})
# + P(\text{solve, misread}),$$
#
# and the last term is almost zero: a formula over wrong numbers is judged
# `wrong_numbers`. So a fall of success has two possible causes, and both factors can be
# counted.

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

# %% tags=["which-factor"]
from sftrl_lite.results.intervals import difference


def moved(name: str, part: str) -> str:
    """How a factor of a model differs from Init's under the shifted rule, in words."""
    counts = []
    for who in (name, "Init"):
        readers = [e for e in played[who, "ood-rule"] if e.turns[0].verdict.read_right]
        solved = sum(e.turns[0].verdict.solved for e in readers)
        whole = len(played[who, "ood-rule"])
        counts += [len(readers), whole] if part == "read" else [solved, len(readers)]
    if not counts[1] or not counts[3]:
        return "cannot be told (nothing was read right)"
    gap = difference(*counts)
    way = "up" if gap.low > 0 else "down" if gap.high < 0 else "within noise"
    return f"{100 * gap.value:+.0f} points ({way})"


notebook.show(" ".join(
    f"**{name}** against Init under the shifted rule: reading {moved(name, 'read')}, "
    f"solving what was read {moved(name, 'solve')}." for name in ("SFT", "RL")
))

# %% [markdown]
# ## Failures by verdict
#
# The verdicts of all first answers, by model and rule, in per cent.

# %%
def kinds(episodes) -> pd.Series:
    """Share of each verdict among first answers."""
    return pd.Series([e.turns[0].verdict.kind for e in episodes]).value_counts(True)


verdicts = pd.DataFrame({key: kinds(e) for key, e in played.items()}).fillna(0).T
(100 * verdicts).rename_axis(["model", "rule"]).swaplevel().sort_index().round(1)

# %% [markdown]
# `wrong_value` means the right numbers in a formula that does not make 24. Note which
# column grows when the rule shifts. `wrong_numbers` alone does not mean *anchored*,
# that is, the trained rule's 10 in place of the announced number. For that we have to
# look at the numbers that were written.
#
# ### Exercise 5.1: count anchored answers
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
import random
from sftrl_lite.tasks.cards import ID_RULE, deal

with notebook.exercise("5.1"):
    jack, seven = Hand(("J",), OOD_RULE), Hand(("7",), OOD_RULE)
    shares = reading_shares([jack, jack, seven, jack], [(11,), (10,), (7,), None])
    assert isinstance(shares, dict), f"return a dict of shares, not {shares!r}"
    assert shares["right"] == 0.5, "J as 11 and 7 as 7 are right"
    assert shares["anchored"] == 0.25, "J as 10 under rule 11 is anchored"
    assert shares["other"] == 0.25, "no readable numbers are other"
    at_home = reading_shares([Hand(("K",), ID_RULE)], [(10,)])
    assert at_home["right"] == 1, "under the trained rule a 10 is right, not anchored"
    ten_jack = reading_shares([Hand(("10", "J"), OOD_RULE)], [(10, 9)])
    assert ten_jack["other"] == 1, "a 10 for the card 10 does not anchor: J is a 9 here"
    two = reading_shares([Hand(("J", "Q"), OOD_RULE)], [(11, 10)])
    assert two["other"] == 1, "one of two faces as 10: not as if every face were a 10"
    for dice in map(random.Random, range(20)):
        table_ = [Hand(deal(dice, face=True), OOD_RULE) for _ in range(12)]
        cut = sorted(dice.sample(range(13), 2))
        said = [h.numbers for h in table_[: cut[0]]]
        said += [ID_RULE.values(h.cards) for h in table_[cut[0] : cut[1]]]
        said += [(0, *ID_RULE.values(h.cards)[1:]) for h in table_[cut[1] :]]
        want = dict(right=cut[0], anchored=cut[1] - cut[0], other=12 - cut[1])
        mine = {k: round(12 * v) for k, v in reading_shares(table_, said).items()}
        assert mine == want, f"of 12 hands {want}, not {mine}"

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
# It is often said that RL only sharpens what a base can already do: it is right more
# often at the first sample, but solves no hand that the base could not. If so, Init
# should catch up when each model may sample $k$ times *independently* (without the
# verifier's messages) and one right answer is enough. Chapter 2 gave the unbiased
# estimate. Here we draw sixteen samples per hand from each model at temperature 1, the
# model's own distribution.

# %%
import torch

from sftrl_lite.results.ledger import PAPER
from sftrl_lite.training.rollouts import rollout

n, task = 16, general_points("ood-rule")
few = held_out(task, scale.eval_episodes // 5, 0)
right, logps = {}, {}


def sample(model, samples: int, temperature: float):
    """First answers to the hands: solved, log-probability, both (hands, samples)."""
    dice = torch.Generator(model.device).manual_seed(0)
    episodes = rollout(model, tokenizer, task, few, samples=samples, tries=1,
                       temperature=temperature, generator=dice, **limit)
    solved = torch.tensor([float(e.solved) for e in episodes])
    total = torch.tensor([sum(e.turns[0].logps) for e in episodes])
    return solved.reshape(-1, samples), total.reshape(-1, samples)


for name, where in tqdm(models.items()):
    right[name], logps[name] = sample(load(where)[0], n, temperature=1.0)

# %%
from sftrl_lite.training.evaluate import pass_at_k

ks, rows = (1, 2, 4, 8, 16), {}
for name, solved in right.items():
    each = {k: [pass_at_k(c, n, k) for c in solved.sum(1).int().tolist()] for k in ks}
    rows[name] = {f"pass@{k}": sum(p) / len(p) for k, p in each.items()}
lead = {k: 100 * (rows["RL"][f"pass@{k}"] - rows["Init"][f"pass@{k}"]) for k in ks}
notebook.show(
    f"RL's lead over Init is {lead[1]:+.0f} points with one sample and {lead[16]:+.0f} "
    "with sixteen (one seed)."
)
pd.DataFrame(rows).T.round(3)

# %% [markdown] tags=["power"]
# Compare the lines of Init and RL from left to right. Where they meet, RL only made
# existing solutions more likely. Where they stay apart, $k$ samples of Init do not
# find what RL finds; more samples might. (The recorded pass@16 of eight seeds is a claim of
# the table further down.)
#
# ## Decoding: is it only sharpening?
#
# RL makes a policy more deterministic. So does a lower temperature, and that costs
# nothing. If Init at *some* temperature did as well as RL, "RL generalises" would only
# say that RL sharpens. Karan and Du (2025, "Reasoning with Sampling") show how strong
# such a control can be. They sample whole answers from the **power distribution**
#
# $$p_\alpha(y) = \frac{p(y)^\alpha}{\sum_{y'} p(y')^\alpha}, \qquad \alpha > 1,$$
#
# of a base model, with Markov chain Monte Carlo and without a verifier, and nearly match
# RL on several benchmarks.
#
# Is this the same as temperature $1/\alpha$? Temperature raises the probability of each
# *token* to the power $\alpha$ and normalises at each step. The power distribution does
# so for the *whole answer*. Take two tokens: `a` (0.4) is always followed by `x`; `b`
# (0.6) is followed by `x`, `y` or `z`, a third each. The likeliest answer is `ax`
# (0.4). Which first token does a low temperature prefer?
#
# ### Exercise 5.2: two ways to sharpen
#
# Difficulty ●●●○○ · 12 minutes
#
# Return both distributions over answers of two tokens: the power distribution, and what
# sampling token by token at temperature $1/\alpha$ gives.

# %%
import numpy as np


def sharpen(
    first: np.ndarray, second: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """(power distribution, temperature 1 / alpha), both (V, W) and of sum 1.

    ``first`` (V,) is p(token 1); ``second`` (V, W) is p(token 2 | token 1).
    """
    raise NotImplementedError


# %%
toy = np.array([0.4, 0.6]), np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
with notebook.exercise("5.2"):
    found = sharpen(*toy, 1.0)
    assert isinstance(found, tuple), f"return two distributions, not {found!r}"
    power, cool = found
    plain = toy[0][:, None] * toy[1]
    assert np.allclose(power, plain) and np.allclose(cool, plain), "alpha 1: unchanged"
    power, cool = sharpen(*toy, 4.0)
    assert abs(power.sum() - 1) < 1e-9, "the power distribution sums to 1"
    assert abs(cool.sum() - 1) < 1e-9, "each token is normalised by itself"
    assert abs(power[0, 0] - 0.8421) < 1e-3, "ax: 0.4^4 / (0.4^4 + 3 * 0.2^4) is 0.84"
    assert abs(cool[0].sum() - 0.1649) < 1e-3, "a: 0.4^4 / (0.4^4 + 0.6^4) is 0.16"
    for seed in range(20):
        dice = np.random.default_rng(seed)
        f, s = dice.dirichlet(np.ones(3)), dice.dirichlet(np.ones(5), size=3)
        a = dice.uniform(0.5, 4)
        joint = np.exp(a * np.log(f[:, None] * s))
        given = f.copy(), s.copy()
        power, cool = sharpen(*given, a)
        assert (given[0] == f).all() and (given[1] == s).all(), "inputs must stay"
        assert np.allclose(power, joint / joint.sum()), "p(answer)^alpha over their sum"
        for i in range(3):
            token = s[i] ** a / (s[i] ** a).sum()
            assert np.allclose(cool[i] / cool[i].sum(), token), f"token 2 after {i}"
        assert np.allclose(cool.sum(1), f**a / (f**a).sum()), "token 1 at 1 / alpha"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Softmax of score / temperature is the softmax to the power 1 / temperature, normalised.
# For the first return value multiply first, then take the power and normalise over
# everything; for the second take the power and normalise along the last axis, then
# multiply.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def sharpen(
#     first: np.ndarray, second: np.ndarray, alpha: float
# ) -> tuple[np.ndarray, np.ndarray]:
#     joint = (first[:, None] * second) ** alpha
#     token = first**alpha / (first**alpha).sum()
#     after = second**alpha / (second**alpha).sum(-1, keepdims=True)
#     return joint / joint.sum(), token[:, None] * after
# ```
#
# </details>
#
# A low temperature looks one token ahead and takes `b`. The power distribution weighs
# whole answers and takes `ax`. So the two are different controls. For Init we can
# compute both. The sixteen samples above come from $p$; weighted by $p^{\alpha - 1}$
# they approximate $p_\alpha$, and in the limit they give the likeliest of the sixteen.
# No verifier is used.

# %%
def weighted(name: str, alpha: float) -> float:
    """Share solved under the power distribution: samples weigh p^(alpha - 1)."""
    weights = ((alpha - 1) * logps[name]).softmax(1)  # (hands, samples)
    return float((weights * right[name]).sum(1).mean())


lines = {}
for alpha in (1.0, 2.0, 4.0):
    cooled = sample(init, 4, 1 / alpha)[0].mean() if alpha > 1 else right["Init"].mean()
    lines[f"alpha {alpha:.0f}"] = {"Init, power distribution": weighted("Init", alpha),
                                   "Init, temperature 1 / alpha": float(cooled)}
lines["limit"] = {"Init, power distribution": weighted("Init", 1e6),
                  "Init, temperature 1 / alpha": float(sample(init, 1, 0.0)[0].mean())}
for alpha, line in zip((1.0, 2.0, 4.0, 1e6), lines.values(), strict=True):
    line["RL, power distribution"] = weighted("RL", alpha)
pd.DataFrame(lines).T.map("{:.1%}".format)

# %% [markdown]
# Compare the columns within a line, and Init's best value with RL's first. The latter
# is Karan and Du's comparison: a sharpened base against RL as it is. (One seed, and as
# many hands as in the cell of pass@k: differences of a few points are noise.) Sixteen
# samples limit the power distribution: an answer that is not among them cannot be
# chosen.
#
# Next we compare all models at four ways to decode, first for the live seed, then for
# the recorded ones.

# %%
from sftrl_lite.results import plots, report, tables, temperature_plots

drawn = temperature_plots.temperature_curve(table)
notebook.figure(drawn, alt="One live seed. " + temperature_plots.temperature_alt(table))

# %% tags=["temperature-figure"]
recorded = report.recorded("headline", "push", "controls")
for sentence in report.missing(("headline", "push", "controls"), recorded):
    notebook.show(sentence)
main = recorded[recorded["experiment"] == "headline"]
by_method = main.groupby("method")["seed"].nunique()
ready = {"sft", "rl-ppo"} <= set(by_method.index) and by_method.min() > 1
shown = main if ready else table  # what the next figures and sentences are about
seeds = int(shown.groupby("method")["seed"].nunique().min())
which = f"{seeds} recorded seed{'s' * (seeds > 1)}" if ready else "one live seed"
if ready:
    drawn = temperature_plots.temperature_curve(main)
    notebook.figure(drawn, alt=f"{which}. " + temperature_plots.temperature_alt(main))

# %% [markdown]
# Drag over the temperatures. At which temperature is RL's lead over Init largest, and
# at which is it smallest? And which temperature would you choose for Init?

# %%
from sftrl_lite.course.temperatures import temperature_slider

temperature_slider(shown)

# %% [markdown]
# The claim that survives this control is "RL ends above Init *at Init's best
# temperature*". That temperature is picked after looking, among all that are recorded
# and on the very hands that are reported. This favours Init, so RL's remaining lead is
# a cautious estimate.

# %%
def verdict(found) -> str:
    """A difference in points with its interval, and what it says."""
    if found is None:
        return "not recorded"
    way = "above" if found.low > 0 else "below" if found.high < 0 else "within noise"
    return f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}], {way}"


for a, name in (("rl-ppo", "RL"), ("sft", "SFT")):
    against = {"Init, same decoding": ("init", PAPER), "Init, greedy": ("init", "0"),
               "Init at its best temperature": ("best", PAPER)}
    for words, (b, decoding) in against.items():
        gap = tables.gap(shown, "ood-rule", a, b, "success@1", decoding)
        print(f"{name:3} against {words:29} {verdict(gap)}")
print(f"(points, first try, shifted rule; {which}; greedy: both are decoded greedily)")

# %% [markdown] tags=["compute"]
# ## Equal compute, and what is not equal
#
# "At the same step" is no comparison: a step of SFT reads some demonstrations, a step of
# RL samples hundreds of episodes first. The paper compares at equal training compute. It
# counts for $N$ parameters and $D$ tokens trained on (appendix C.3)
#
# $$X_\text{SFT} = 6 N D, \qquad X_\text{RL} = 6 N D + 2 N \lambda D, \quad \lambda = 6.$$
#
# 6 is one forward and one backward pass, 2 a forward pass. $\lambda$ says how many
# token passes sampling takes for one token trained on; its value of 6 charges as if
# each new token read its whole prefix again. With cached keys and values (chapter 4),
# every generated token passes once:
#
# $$X_\text{RL}^\text{cache} = 6 N D + 2 N D_\text{generated}.$$
#
# (Prompts and messages pass once, too. This count leaves them out; they would add a few per
# cent.)
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
from sftrl_lite.training.compute import flops

with notebook.exercise("5.3"):
    found = training_flops(1, 10, 0)
    assert isinstance(found, tuple), f"return both counts, not {found!r}"
    assert found == (60, 60), "SFT: 6 N D, nothing sampled"
    paper, cache = training_flops(2, 10, 4)
    assert paper == 360, "6 N D + 2 N * 6 D, whatever was really generated"
    assert cache == 136, "6 N D + 2 N generated"
    for dice in map(random.Random, range(20)):
        N, D, made = dice.randint(1, 99), dice.randint(1, 99), dice.choice((0, 7, 50))
        both = flops(N, D, made)
        mine = dict(zip(both, training_flops(N, D, made), strict=True))
        assert mine == both, f"N {N}, {D} trained, {made} generated: {both}"

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
# What else did they use? A *gradient update* is one step of the optimizer; minutes are
# wall-clock time on one core, including the evaluations during training.

# %% tags=["costs"]
from sftrl_lite.results.measures import costs

spent = costs(shown)
ratio = spent.loc["rl-ppo"] / spent.loc["sft"]
notebook.show(
    f"At {ratio['flops_paper']:.2f} times the compute of SFT in the paper's count, RL "
    f"took {ratio['flops_cache']:.2f} times as much with a cache, "
    f"{ratio['minutes']:.1f} times as many minutes, and "
    f"{spent.loc['rl-ppo', 'updates']:.0f} gradient updates "
    f"against SFT's {spent.loc['sft', 'updates']:.0f} ({which})."
)
tables.cost_table(shown)

# %% [markdown]
# "Equal compute" is equal in one column and unequal in the others. The paper's count
# penalises RL: with a cache the same budget would buy more of its steps. The updates
# differ in the other direction: RL spends its budget on few updates from many samples,
# SFT on many updates from few demonstrations, and an axis of TFLOP hides that. The
# clock counts what no formula does: sampling goes token by token and uses a processor
# badly. No column is *the* right one. A comparison should name its own and print the
# others.
#
# What would the comparison say in another column? For each column, we look up the SFT
# evaluation nearest to what RL had spent at its end (first try, shifted rule, the
# paper's decoding).

# %%
wanted = ("success@1", "flops_paper", "flops_cache", "updates")
means = plots.over_seeds(shown[shown["metric"].isin(wanted)])
keys = ["method", "metric", "split", "point"]
means = means.set_index(keys)["mean"].sort_index()
success = {m: means[m, "success@1", "ood-rule"] for m in ("sft", "rl-ppo")}
for count in ("flops_paper", "flops_cache", "updates"):
    budget = means["rl-ppo", count, "train"].iloc[-1]
    sft = means["sft", count, "train"]
    near = (sft - budget).abs().idxmin()
    reached = success["rl-ppo"].iloc[-1]
    print(f"{count:11}: RL spent {budget:9.3g}, solves {reached:.1%}; "
          f"SFT at {sft[near]:9.3g} solves {success['sft'][near]:.1%}")

# %% [markdown]
# ## Four controls
#
# | control | what it asks |
# | --- | --- |
# | Init at its best temperature | Does training do more than sharpen? |
# | RL with random rewards | Is it the reward, or training on one's own samples? |
# | on-policy SFT (`sft-verified`) | Is it RL, or data: own answers that were verified? |
# | SFT on varied rules | Is it SFT, or the single rule in its data? |
#
# We have seen the first. In the second, PPO runs as always, but a coin sets the reward.
# The coin has to be **neutral**: its rewards and messages must not depend on whether an
# answer is right. That is easier said than done. Here is a coin that looks neutral,
# from an earlier version of this course: every answer earns +5 or −1 by the toss of a
# coin. The episode goes on as before, until a hand is really solved or five tries are
# used up; and, as always, a last try that fails costs one more point.

# %%
def old_coin(right: bool, heads: bool, last: bool) -> tuple[float, bool]:
    """Points of a try, and whether the episode ends with it."""
    return (5.0 if heads else -1.0) - (1.0 if last and not right else 0.0), right


for right_, heads in ((True, True), (True, False), (False, True), (False, False)):
    print(f"right {right_!s:5} heads {heads!s:5}", old_coin(right_, heads, last=False))

# %% [markdown]
# The points of a try do not depend on the answer (but for that last point). Let us train
# with it. A toy is enough, and takes seconds: the policy has one number $\theta$ and
# solves each try with probability $p = 1 / (1 + e^{-\theta})$. REINFORCE with the mean
# return of a try as baseline (chapter 4) moves $\theta$.

# %%
import math

TRIES = 5


def episodes_of(p: float, coin, rng, n: int):
    """n episodes at once: points, right and played, all (n, TRIES)."""
    right, heads = rng.random((2, n, TRIES)) < np.array([p, 0.5])[:, None, None]
    points, played = np.zeros((n, TRIES)), np.zeros((n, TRIES), bool)
    alive = np.ones(n, bool)
    for t in range(TRIES):
        played[:, t] = alive
        for r in (True, False):
            for h in (True, False):
                pays, ends = coin(r, h, t == TRIES - 1)
                here = alive & (right[:, t] == r) & (heads[:, t] == h)
                points[here, t] = pays
                alive = alive & ~(here & ends)
    return points, right & played, played

# %%
def learn(coin, steps: int = 200, rate: float = 0.2, seed: int = 0) -> pd.DataFrame:
    """REINFORCE on theta: points of an episode and the probability p, step by step."""
    rng, theta, log = np.random.default_rng(seed), 0.0, []
    for _ in range(steps + 1):
        p = 1 / (1 + math.exp(-theta))
        points, right, played = episodes_of(p, coin, rng, n=256)
        log.append({"points of an episode": points.sum(1).mean(), "p(solve a try)": p,
                    "tries played": played.sum(1).mean()})
        returns = points[:, ::-1].cumsum(1)[:, ::-1]
        mean = (returns * played).sum(0) / played.sum(0).clip(min=1)
        score = (right - p) * played  # d log pi / d theta of each try
        theta += rate * ((returns - mean) * score).sum() / played.sum()
    return pd.DataFrame(log)


learn(old_coin).iloc[::50].round(2)

# %% [markdown]
# Compare the first and the last line. A reward curve like the first column looks like
# learning. Before you read on: what has the policy learned to do, and why is it
# rewarded?
#
# ### Exercise 5.4: what does this coin pay for?
#
# Difficulty ●●●○○ · 10 minutes
#
# Work it out on paper. Return the expected points of an episode under the old coin, for
# a policy that solves each try with probability `p`.

# %%
def coin_return(p: float, tries: int) -> float:
    """Expected points of an episode, old coin: ``coin_return(1.0, 5)`` is 2."""
    raise NotImplementedError


# %%
with notebook.exercise("5.4"):
    found = coin_return(1.0, 5)
    assert isinstance(found, int | float), f"return points, not {found!r}"
    assert found == 2, "solved at once: one toss, (5 - 1) / 2 points"
    assert coin_return(0.0, 1) == 1, "one failed try: one toss, a point off at the end"
    assert coin_return(0.0, 5) == 9, "never solved: five tosses, a point off at the end"
    assert abs(coin_return(0.5, 2) - 2.75) < 1e-9, "2, half the time 2 more, then -1"
    for dice in map(random.Random, range(50)):
        p, tries = dice.random(), dice.randint(1, 8)
        value = 0.0  # backwards: what an episode is worth from try t on
        for t in reversed(range(tries)):
            value = 2 + (1 - p) * (value if t < tries - 1 else -1.0)
        mine = coin_return(p, tries)
        assert abs(mine - value) < 1e-9, f"p {p:.2f}, {tries} tries: {value:.3f}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Try number $t$ (from 0) is played with probability $(1 - p)^t$, and a toss is worth
# $(5 - 1) / 2$ points. The extra point is lost with probability $(1 - p)^\text{tries}$.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def coin_return(p: float, tries: int) -> float:
#     played = sum((1 - p) ** t for t in range(tries))
#     return 2 * played - (1 - p) ** tries
# ```
#
# </details>
#
# <details><summary>Why reward rises while success falls</summary>
#
# A toss is worth +2 on average, and only a *true* solve ends the episode. A failed try
# brings more tosses: 9 points at $p = 0$, 2 points at $p = 1$. The expected return
# falls with $p$, so its gradient teaches to fail. This is reward hacking: the policy
# does what is rewarded, and we had not noticed what we rewarded. As a control it would
# have "shown" that RL without a true reward destroys the skill.
#
# </details>
#
# ### Exercise 5.5: a neutral coin
#
# Difficulty ●●●○○ · 10 minutes
#
# Write a coin that pays, and that is neutral. It decides points and end of the episode
# for a try that was `right` or not, for a toss, on the last try or an earlier one. The
# check works out all cases.

# %%
def neutral_coin(right: bool, heads: bool, last: bool) -> tuple[float, bool]:
    """Points of a try, and whether the episode ends with it, like ``old_coin``."""
    raise NotImplementedError


# %%
with notebook.exercise("5.5"):
    found = neutral_coin(True, True, False)
    assert isinstance(found, tuple), f"return points and end, not {found!r}"
    for last in (False, True):
        (paid, ended), (paid_wrong, ended_wrong) = (
            np.array([neutral_coin(r, h, last) for h in (True, False)]).mean(0)
            for r in (True, False)
        )
        when = "the last try" if last else "an earlier try"
        assert ended == ended_wrong, (
            f"{when}: a right answer ends it with probability {ended:.0%}, a wrong one "
            f"with {ended_wrong:.0%}; a failed try must not change the tosses"
        )
        assert abs(paid - paid_wrong) < 1e-9, (
            f"{when}: a right answer earns {paid:+.1f} on average, a wrong one "
            f"{paid_wrong:+.1f}"
        )
        sides = [sorted(neutral_coin(r, h, last) for h in (True, False))
                 for r in (True, False)]
        assert sides[0] == sides[1], f"{when}: the same two sides, right or wrong"
    toss = [neutral_coin(True, h, False)[0] for h in (True, False)]
    assert toss[0] != toss[1], "a coin that pays the same for both sides trains nothing"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Let the toss decide everything, the end of the episode too. What would `right` still be
# needed for?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def neutral_coin(right: bool, heads: bool, last: bool) -> tuple[float, bool]:
#     return (1.0 if heads else -1.0), heads
# ```
#
# </details>
#
# The package's `controls.Coin` is of this kind: heads is "correct", earns one point and ends
# the episode; tails is "incorrect", costs one point and allows another try. Both coins in
# the toy, five seeds each:

# %% tags=["coins"]
def package_coin(right: bool, heads: bool, last: bool) -> tuple[float, bool]:
    return (1.0 if heads else -1.0), heads


for name, coin in (("old coin", old_coin), ("neutral coin", package_coin)):
    ends = [learn(coin, seed=seed).iloc[[0, -1]] for seed in range(5)]
    start, stop = (np.array([e.iloc[i] for e in ends]) for i in (0, 1))
    print(f"{name:12} points {start[:, 0].mean():5.2f} -> {stop[:, 0].mean():5.2f}   "
          f"p(solve a try) {start[:, 1].mean():.2f} -> {stop[:, 1].mean():.2f} "
          f"({stop[:, 1].min():.2f} to {stop[:, 1].max():.2f})")

# %% [markdown]
# Neutral means: no drift *on average*. A single run still performs a random walk,
# because noise is reinforced, too; and a policy that drifts far can lose what it knew.
# So the recorded control is judged over seeds, in distribution, against a bound that
# was fixed beforehand. Here are the recorded runs with all controls, at the paper's
# decoding:

# %%
tables.main_table(recorded if len(recorded) else table)

# %% [markdown]
# The next table shows what each of them cost. On-policy SFT pays for its samples once,
# before training; RL pays at every step.

# %%
tables.cost_table(recorded if len(recorded) else table)

# %%
pairs = {
    "RL with random rewards, against Init (ID)": ("rl-random", "init", "id"),
    "on-policy SFT against SFT (OOD)": ("sft-verified", "sft", "ood-rule"),
    "SFT on varied rules against SFT (OOD)": ("sft-varied", "sft", "ood-rule"),
    "RL against on-policy SFT (OOD)": ("rl-ppo", "sft-verified", "ood-rule"),
    "RL against SFT (OOD)": ("rl-ppo", "sft", "ood-rule"),
}
for words, (a, b, split) in pairs.items():
    gap = tables.gap(recorded, split, a, b, "success@1")
    print(f"{words:42} {verdict(gap)}")
print("points, first try, paired by seed; 95 % intervals over seeds and problems")

# %% [markdown]
# Read them as follows. If random rewards gain as much as true ones, the reward explains
# nothing. If on-policy SFT keeps what SFT loses, the answers' origin matters rather
# than the loss. If varied rules keep it, the single rule does. Several can be true at
# once.
#
# ## Forgetting at matched task success
#
# SFT and RL do not end at the same success on what they were trained for. A method that
# has learned less has also moved less, and forgets less for that reason alone. A KL
# penalty that stops all learning would "prevent forgetting" perfectly. So the fair
# question compares at equal task success: *when SFT solved as many training hands as RL
# does at its end, what was left under the shifted rule?*
#
# Evaluations are few, so we interpolate both curves linearly, and read them where they
# first reach the common level. The level has to be clearly above Init, here by five
# points: where a method has learned nothing, there is nothing to match.

# %%
def reached(path: pd.DataFrame, split: str, goal: float) -> float:
    """OOD success when a curve first reaches ``goal`` on ``split``."""
    x, y = path[split].to_numpy(), path["ood-rule"].to_numpy()
    i = int((x >= goal).argmax())  # the first such evaluation; never Init
    share = (goal - x[i - 1]) / (x[i] - x[i - 1])
    return float(y[i - 1] + share * (y[i] - y[i - 1]))


def at_matched(rows: pd.DataFrame, split: str, metric: str = "success@1"):
    """OOD success where both solve alike on ``split``; a line per seed that has it."""
    part, both = plots.with_points(rows), ("sft", "rl-ppo")
    part = part[(part["metric"] == metric) & (part["decoding"] == PAPER)]
    keys = dict(index=["method", "seed", "point"], columns="split", values="value")
    wide, lines = part.pivot_table(**keys).sort_index(), {}
    for seed in sorted(set(part["seed"])):
        if any((method, seed, 0) not in wide.index for method in both):
            continue
        paths = {method: wide.loc[method, seed] for method in both}
        goal = min(path[split].max() for path in paths.values())
        if goal > 0.05 + max(path[split].iloc[0] for path in paths.values()):
            ends = {m: reached(path, split, goal) for m, path in paths.items()}
            lines[seed] = {"level": goal} | ends
    return pd.DataFrame(lines).T

# %%
from sftrl_lite.results.intervals import paired
from sftrl_lite.results.measures import times

for split in ("train", "id"):
    matched = at_matched(shown, split)
    line = f"matched on {split}: {len(matched)} of {seeds} seeds"
    if len(matched):
        level, rl, sft = matched[["level", "rl-ppo", "sft"]].mean()
        line += f" at {level:.0%} on average; shifted rule RL {rl:.1%}, SFT {sft:.1%}"
    if len(matched) > 1:
        n_each = [scale.eval_episodes] * len(matched)
        gap = paired(matched["rl-ppo"], matched["sft"], n_each, n_each)
        line += f"; RL - SFT {verdict(times(gap, 100))}"
    print(f"{line} ({which})")

# %% [markdown]
# The two lines answer two questions. Training hands can be solved by recall; held-out
# hands of the trained rule (`id`) cannot. The level is set by whichever method stops
# lower. A seed is missing from a line where one of the methods never gets five points
# above Init.
#
# ## How sure? Wilson's interval
#
# $k$ successes in $n$ episodes estimate a share $\hat p = k / n$. The interval that one
# learns first, $\hat p \pm z \sqrt{\hat p (1 - \hat p) / n}$, collapses to nothing at
# $k = 0$ and at $k = n$. Wilson (1927) asks instead for which true shares $p$ the
# observation $k$ would be no surprise, that is
# $|\hat p - p| \le z \sqrt{p (1 - p) / n}$, and solves for $p$:
#
# $$
# \frac{\hat p + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat p (1 - \hat p)}{n} +
# \frac{z^2}{4 n^2}}}{1 + \frac{z^2}{n}}, \qquad z = 1.96.
# $$
#
# ### Exercise 5.6: Wilson by hand
#
# Difficulty ●●○○○ · 6 minutes
#
# Write it. The check uses the package's version, the case where the simple interval
# fails, and Wilson's condition at both ends, for any $z$.

# %%
def wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Low and high end: ``wilson_interval(0, 10)`` is about (0, 0.28)."""
    raise NotImplementedError


# %%
from sftrl_lite.results.intervals import wilson

with notebook.exercise("5.6"):
    found = wilson_interval(0, 10)
    assert isinstance(found, tuple), f"return both ends, not {found!r}"
    low, high = found
    assert abs(low) < 1e-9, "nothing below zero"
    assert abs(high - 0.2775) < 1e-3, "ten failures do not prove a zero"
    low, high = wilson_interval(27, 234)
    right_ = wilson(27, 234)
    assert abs(low - right_.low) < 1e-4, f"low end should be {right_.low:.4f}"
    assert abs(high - right_.high) < 1e-4, f"high end should be {right_.high:.4f}"
    for dice in map(random.Random, range(50)):
        n_, z = dice.randint(5, 300), dice.uniform(0.5, 3.5)
        k = dice.randint(1, n_ - 1)
        ends = wilson_interval(k, n_, z)
        assert ends[0] < k / n_ < ends[1], f"{k} of {n_}: {k / n_:.3f} lies inside"
        for p in ends:
            gap = abs(k / n_ - p) - z * (p * (1 - p) / n_) ** 0.5
            assert abs(gap) < 1e-9, f"{k} of {n_}, z {z:.2f}: an end lies z errors away"

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
# 8 successes. Fisher's exact test asks how often two models of equal success would differ
# by as much.

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
# So for *these three models*, 234 episodes separate SFT from both others and do not
# separate RL from Init. That is not an error of the paper, but a matter of the number
# of episodes. And it is a statement about three models, not about two methods, because
# each was trained once. The section *Two levels of noise* shows how much that matters.
#
# How many episodes would it take?
#
# ### Exercise 5.7: how many episodes for 3.5 points?
#
# Difficulty ●●●○○ · 10 minutes
#
# To distinguish $p_1$ from $p_2$ at the 5 % level with 80 % power, each side needs
# about
#
# $$n = (1.96 + 0.84)^2\; \frac{p_1 (1 - p_1) + p_2 (1 - p_2)}{(p_2 - p_1)^2}$$
#
# episodes. Write it, round up, and apply it to the paper's bars.

# %%
def episodes_needed(p1: float, p2: float) -> int:
    """Episodes a side, rounded up: ``episodes_needed(0.4, 0.6)`` is 95."""
    raise NotImplementedError


# %%
with notebook.exercise("5.7"):
    found = episodes_needed(0.4, 0.6)
    assert isinstance(found, int), f"return a whole number of episodes, not {found!r}"
    assert found == 95, "7.84 * 0.48 / 0.04, rounded up"
    assert episodes_needed(0.6, 0.4) == 95, "no matter which is which"
    assert episodes_needed(0.115, 0.15) > 6 * 234, "over six times 234"
    few_, many = episodes_needed(0.1, 0.2), episodes_needed(0.1, 0.15)
    assert 3 < many / few_ < 4, "half the gap costs nearly four times as many"
    assert episodes_needed(0.05, 0.5) == 12, "each side has a variance of its own"
    for dice in map(random.Random, range(50)):
        p1, p2 = dice.uniform(0.02, 0.45), dice.uniform(0.55, 0.98)
        exact = 7.84 * sum(p * (1 - p) for p in (p1, p2)) / (p2 - p1) ** 2
        mine = episodes_needed(p1, p2)
        assert 0 <= mine - exact < 1, f"{p1:.3f} and {p2:.3f}: {exact:.2f}, rounded up"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Use `math.ceil`. The noise is in the numerator, the squared difference in the
# denominator.
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
# More episodes measure one *model* more exactly. They say nothing about the next
# training run with another seed. And a mean over a few seeds has both kinds of noise: other
# seeds would have trained other models, other problems would have given other shares.
#
# The **hierarchical bootstrap** imitates both: draw seeds with replacement, and within
# each drawn seed draw its problems again. By hand:

# %%
def by_hand(shares, episodes: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Ends of a 95 % interval of the mean share: seeds drawn again, then problems."""
    rng, shares = np.random.default_rng(seed), np.asarray(shares)
    chosen = rng.integers(len(shares), size=(draws, len(shares)))
    again = rng.binomial(episodes, shares[chosen]) / episodes
    return np.quantile(again.mean(1), [0.025, 0.975])


low, high = by_hand([0.10, 0.13, 0.15], episodes=500)
print(f"three seeds at 10, 13 and 15 %, 500 problems each: {low:.1%} to {high:.1%}")

# %% [markdown]
# Is its coverage 95 %? That means: of many intervals built this way, 95 % contain the
# true value. On simulated data we know the true value. Let a method's true success be
# 30 % on average, with a standard deviation of 4 points from seed to seed, and count.
#
# **Predict before you run**: take an interval over problems only, from one trained
# model. Does its coverage rise or fall when 234 problems become 10,000?
#
# <details><summary>Answer</summary>
#
# It falls. More problems narrow the interval around the success of *this* model, which
# is not the method's mean. The spread between seeds stays as large as it was.
#
# </details>

# %%
from scipy.stats import t as student

from sftrl_lite.results.intervals import over_seeds


def coverage(seeds: int, episodes: int, worlds: int = 300) -> dict[str, float]:
    """Share of simulated worlds whose interval contains the true 30 %, by kind."""
    rng, hits = np.random.default_rng(0), {}
    for _ in range(worlds):
        p = rng.normal(0.30, 0.04, seeds).clip(0.001, 0.999)
        share = rng.binomial(episodes, p) / episodes
        pooled = wilson(round(share.sum() * episodes), seeds * episodes)
        ends = {"problems only": (pooled.low, pooled.high)}
        if seeds > 1:
            half = student.ppf(0.975, seeds - 1) * share.std(ddof=1) / seeds**0.5
            ends["seeds only"] = share.mean() - half, share.mean() + half
            ends["both, by hand"] = by_hand(share, episodes)
            ours = over_seeds(share, [episodes] * seeds)
            ends["both, the package"] = ours.low, ours.high
        for kind, (low, high) in ends.items():
            hits[kind] = hits.get(kind, 0) + (low <= 0.30 <= high)
    return {kind: count / worlds for kind, count in hits.items()}

# %% tags=["coverage"]
sizes = [(1, 234), (1, 10_000), (3, 100), (3, 1000), (8, 1000)]
grid = {f"{s} x {e} problems": coverage(s, e) for s, e in sizes}
pd.DataFrame(grid).T.map("{:.0%}".format, na_action="ignore").fillna("none")

# %% [markdown]
# Read the columns against 95 % (with 300 worlds, one or two points are noise).
#
# - `problems only`: the more problems, the *worse*. The interval shrinks around one
#   model's value. This is the case of the paper's bars, one training each.
# - `seeds only`: Student's interval over seeds includes the problems' noise, too,
#   because it is part of the spread of the shares.
# - `both, by hand`: this has two errors. With few seeds it is too narrow, since $k$
#   values drawn from $k$ values vary too little, and its percentiles ignore Student's
#   $t$. And it counts the problems' noise twice, because the shares already contain it.
# - `both, the package`: the same idea, corrected. Shares are first shrunk towards their
#   mean by what the problems explain, and the standard error of the bootstrap goes into
#   Student's interval (`intervals.contrast` has the details).
#
# With one seed none of them helps. This is why live chapters say "one seed".
#
# ### Exercise 5.8: assemble the hierarchical bootstrap
#
# Difficulty ●●●●○ · 20 minutes
#
# Build the corrected interval of the mean of $k$ shares, one per seed, each from $n$
# problems.
#
# 1. *Split the variance.* $s^2$ is the sample variance of the shares (divided by
#    $k - 1$). Problems alone explain the mean of $p(1 - p)/n$, call it $e^2$; seeds
#    explain the fraction $b = \max(0, 1 - e^2 / s^2)$.
# 2. *Shrink.* Multiply each share's distance from the mean by $\sqrt{b\,k / (k - 1)}$.
# 3. *Resample.* `draws` times: draw $k$ of the shrunk shares with replacement, then for
#    each a new share of $n$ problems (binomial), and take their mean. The standard error
#    $\sigma$ is the standard deviation of these means.
# 4. *Interval.* The mean plus and minus $t\,\sigma$, with the 97.5 % quantile $t$ of
#    Student's distribution with $(k - 1) \max(1, k \sigma^2 / s^2)^2$ degrees of freedom.
#
# The check compares you with `over_seeds` on simulated shares.

# %%
def two_levels(
    shares: np.ndarray, episodes: int, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of shares (k,), each from ``episodes`` problems."""
    raise NotImplementedError


# %%
from scipy.stats import t as student
from sftrl_lite.results.intervals import over_seeds

with notebook.exercise("5.8"):
    dice = np.random.default_rng(0)
    cases = [(8, 40, 0.0), (3, 5000, 0.04), (5, 200, 0.05), (12, 1000, 0.03)]
    for k, n_, spread in cases * 3:  # problems' noise alone, nearly seeds' alone, both
        shares = dice.binomial(n_, dice.normal(0.5, spread, k)) / n_
        given, right_ = shares.copy(), over_seeds(shares, [n_] * k)
        found = two_levels(given, n_)
        assert np.shape(found) == (2,), f"return both ends, not {found!r}"
        assert (given == shares).all(), "leave the shares as they were"
        low, high = found
        middle, width = (low + high) / 2, right_.high - right_.low
        assert abs(middle - shares.mean()) < 1e-6, "the interval is centred on the mean"
        ratio = (high - low) / width
        told = f"{k} seeds, {n_} problems each: {ratio:.2f} times as wide as over_seeds"
        hint = "problems' noise counts once" if n_ < 500 else "mind k / (k - 1) and t"
        assert 0.92 < ratio < 1.08, f"{told}; {hint}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# One call of `rng.integers(k, size=(draws, k))` draws all seeds, one of
# `rng.binomial(episodes, p) / episodes` all problems. `student.ppf(0.975, freedom)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def two_levels(
#     shares: np.ndarray, episodes: int, draws: int = 4000, seed: int = 0
# ) -> tuple[float, float]:
#     rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
#     seen = shares.var(ddof=1)
#     b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
#     shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
#     chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
#     error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
#     freedom = (k - 1) * max(1, k * error**2 / seen) ** 2
#     half = student.ppf(0.975, freedom) * error
#     return mean - half, mean + half
# ```
#
# </details>
#
# Which noise is larger in our own runs? `seed_spread` subtracts the problems' part.

# %%
from sftrl_lite.results.intervals import seed_spread
from sftrl_lite.results.measures import measured

lines = {}
for method in shown["method"].unique():
    for split in ("id", "ood-rule"):
        ends = measured(shown, "success@1", method, split)
        if len(ends) > 1:
            seeds_, problems_ = seed_spread(ends["value"], int(ends["n"].iloc[0]))
            e = over_seeds(ends["value"], ends["n"])
            lines[method, split] = {
                "seeds": e.n, "mean": f"{e.value:.1%}",
                "95 % interval": f"{e.low:.1%} to {e.high:.1%}",
                "sd between seeds": f"{seeds_:.1%}",
                "sd from problems": f"{problems_:.1%}",
            }
if lines:
    display(pd.DataFrame(lines).T)
else:
    print("one live seed: no spread over seeds to show")

# %% [markdown]
# ## Many claims: Holm
#
# A p-value of 0.03 means that without any effect one comparison in 33 would look at least as
# clear. That is for *one* question, and this chapter asks many. Holm (1979) multiplies the smallest of $m$ p-values by $m$, the next by
# $m - 1$, and so on, never letting a later one fall below an earlier one. Here it is on
# the paper's three comparisons, step by step and with the package:

# %%
from sftrl_lite.results.intervals import holm, p_value

raw = {f"{a} against {b}": p_value(counts[a], N, counts[b], N)
       for a, b in (("RL", "Init"), ("SFT", "Init"), ("RL", "SFT"))}
steps, worst = {}, 0.0
for i, (name, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
    worst = max(worst, min(1.0, (len(raw) - i) * p))
    steps[name] = {"p": p, "times": len(raw) - i, "Holm by hand": worst}
steps = pd.DataFrame(steps).T
steps["Holm, package"] = holm(steps["p"].tolist())
steps.map("{:.2g}".format)

# %% [markdown]
# The next table has our own claims about cards in text. The correction counts all
# recorded claims of the course. The verdict follows from the interval alone; `open`
# means that it contains zero.

# %%
from sftrl_lite.results import ledger
from sftrl_lite.results.claims import claims_table

claimed = claims_table(ledger.read())
claimed = claimed[claimed["chapter"] == 5].set_index("claim")
told = ["measured here", "seeds", "verdict", "p", "p (Holm)", "after Holm"]
with pd.option_context("display.max_colwidth", None):
    display(claimed[told])

# %% [markdown]
# ## The figure of this chapter
#
# RL and SFT from one Init against compute in the paper's count, at the paper's
# decoding. Bands are 95 % intervals over seeds and problems (with one seed: over its
# problems). The dashed line is Init, the dotted one Init at its best temperature. Note
# that at equal TFLOP the two methods take very different numbers of updates.

# %% tags=["seeds-figure"]
splits = ("train", "id", "ood-rule")
titles = [plots.finding(shown, "success@1", split) for split in splits]
drawn = plots.curves(shown, splits=splits, titles=titles)
notebook.figure(drawn, alt=f"{which}. " + plots.alt_text(shown, splits=splits))
gap = tables.gap(shown, "ood-rule", "rl-ppo", "sft", "success@1")
notebook.show(f"Shifted rule, {which}: RL against SFT at the end {verdict(gap)}.")

# %% [markdown]
# The controls, and SFT at the higher rate of 1e-3 (`push`), in a figure of their own:

# %% tags=["controls-figure"]
others = ("sft-pushed", "sft-varied", "sft-verified", "rl-random")
if set(others) & set(recorded["method"]):
    titles = [plots.finding(recorded, "success@1", split, others) for split in splits]
    drawn = plots.curves(recorded, splits=splits, methods=others, titles=titles)
    said = plots.alt_text(recorded, splits=splits, methods=others)
    notebook.figure(drawn, alt="Controls. " + said)
else:
    notebook.show(" ".join(report.missing(("push", "controls"), recorded)))

# %% [markdown]
# Compare `SFT, learning rate 1e-3` with SFT of the figure above, on the training hands
# and under the shifted rule. Both rates are shown because a single one could have been
# picked to make the point.
#
# ## Is the comparison fair?
#
# A comparison of two methods is easily spoiled before it begins: by tuning one more
# than the other, or by choosing settings on the reported split. These are our rules, so
# that you can check them:
#
# 1. *Same start, same hands.* SFT and RL share Init and the training hands of a seed, and
#    no test hand has the numbers of a training hand (chapter 1).
# 2. *Same sweep.* Four learning rates each, for the same weights: 1e-5 to 3e-4 for RL, 3e-5
#    to 1e-3 for SFT.
# 3. *Chosen elsewhere.* The sweep has a seed of its own and is evaluated under the
#    trained rule and the development rule (J, Q, K = 13, 11, 12), never under the
#    reported 11, 12, 13.
# 4. *Same decoding, stated.* The paper's, with three other temperatures beside it, and
#    Init at its best one.
# 5. *Equal compute, stated.* Equal in the paper's count, with cache, updates and minutes
#    beside it.
# 6. *Controls* run like the methods they control.
#
# These rules can be checked. The experiment `sweep` in the ledger records what was
# evaluated before the settings were fixed, and on which splits. The rule takes the rate
# that solves the most *training* hands and, among those within a point of it, the one
# that solves the most under the development rule, all within five tries, the task's own
# metric. So SFT at 3e-5 is out, although it is better on the other two splits: it solves
# fewer of its training hands. The table shows the sweep:

# %%
sweep = report.recorded("sweep")
for sentence in report.missing(("sweep",), sweep):
    notebook.show(sentence)
if len(sweep):
    rates = sweep["command"].str.extract(r"--lr (\S+)")[0].astype(float)
    sweep = sweep.assign(lr=rates)
    print("seeds:", sorted(sweep["seed"].unique().tolist()))
    print("runs:", sweep["config_hash"].nunique())
    print("splits:", sorted(sweep["split"].unique()))
    late = sweep[sweep["step"] == sweep.groupby("config_hash")["step"].transform("max")]
    late = late[(late["metric"] == "success") & (late["decoding"] == PAPER)]
    keys = dict(index=["method", "lr"], columns="split", values="value")
    display(late.pivot_table(**keys).map("{:.1%}".format))
print(f"chosen: RL {scale.rl.lr:g}, SFT {scale.sft.lr:g}")

# %% [markdown]
# One thing is not in the ledger: the *base* was designed so that the effect can be seen
# at this size (chapter 2), and designing a base means looking at shifts during its
# design. That is a degree of freedom that the paper did not have. Read the tiny numbers
# as a working model of the mechanism, not as another measurement of the effect at 11 B
# parameters.
#
# ## A place to play
#
# Drag over the training steps. SFT and RL are shown side by side, under both rules. At
# which point would you have stopped SFT, and could you have known it from the trained
# rule alone?

# %%
from sftrl_lite.course.calculators import training_slider

training_slider(table)

# %% [markdown]
# Here is an answer for this seed: the evaluation that solves most under each rule. If
# both columns name the same step, the trained rule would have told you.

# %%
lines = {}
for method in ("sft", "rl-ppo"):
    part = table[(table["method"] == method) & (table["decoding"] == PAPER)]
    part = part[part["metric"] == "success@1"]
    by = part.pivot_table(index="step", columns="split", values="value")
    best = {s: (by[s].idxmax(), by[s].max()) for s in ("id", "ood-rule")}
    lines[method] = {s: f"step {best[s][0]} ({best[s][1]:.1%})" for s in best}
pd.DataFrame(lines).T.rename_axis("best evaluation by")

# %% [markdown]
# ## What it means, and what it does not
#
# One number, success, hides most of what matters: whether the rule was read, whether
# training did more than sharpen, what the comparison held equal, and whether another
# seed would agree. Each section of this chapter answers one of these questions, and its
# sentences are printed from the numbers. If they disagree with the paper's title, trust
# the numbers.
#
# What this chapter does *not* show:
#
# - *That RL raises OOD success on this task at full size.* The paper's bars leave it open,
#   as the exact test above says. (Those for red suits do not: chapter 6.)
# - *That SFT must lose.* Only one kind of demonstrations was imitated, a solver's. The
#   controls show what other data do; stopping early is another fair opponent (chapter
#   11).
# - *That temperature is all there is to sharpening.* We weighted sixteen samples; a long
#   Markov chain, as in Karan and Du, might find more in Init.
# - *That a KL explains it.* In published work less forgetting goes with a smaller
#   distance to Init (Shenfeld et al., 2025; chapter 12). That alone does not make it
#   the cause.
# - *Anything about other shifts.* Red suits in pictures are chapter 6; streets come later.
#   When more tries pay is chapter 10.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   section 5 and appendix C (20 minutes).
# - Karan and Du (2025), [Reasoning with Sampling: Your Base Model is Smarter Than You
#   Think](https://arxiv.org/abs/2510.14901): the control of this chapter (25 minutes).
# - Yue et al. (2025), [Does Reinforcement Learning Really Incentivize Reasoning
#   Capacity?](https://arxiv.org/abs/2504.13837): pass@k of base and RL (20 minutes).
# - Agarwal et al. (2021), [Deep Reinforcement Learning at the Edge of the Statistical
#   Precipice](https://arxiv.org/abs/2108.13264): few seeds, honest intervals (20 minutes).
# - Shenfeld et al. (2025), [RL's Razor](https://arxiv.org/abs/2509.04259): KL and
#   forgetting (20 minutes).
#
# Next: [6. Cards in pictures](06_cards_in_pictures.ipynb).
