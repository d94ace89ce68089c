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
# # 0. The result in five minutes
#
# Fine-tuned on correct answers under one card rule, a model learns those very hands by
# heart and gains little elsewhere; the same model trained by trial and verifier improves
# on fresh hands and under a rule that it never trained on: shown live on a
# 0.9-million-parameter model, both methods from one starting point on the same hands, with
# recorded seeds and controls below.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - State the question of "SFT Memorizes, RL Generalizes" (Chu et al., 2025) in one
#   card hand.
# - Run the experiment that answers it, and read its figure and its intervals.
# - Tell training, *in-distribution* (ID) and *out-of-distribution* (OOD) success apart,
#   and *solving* from *reading*.
# - Say what one seed shows and what it does not.

# %%
from sftrl_lite import notebook
scale = notebook.setup()

# %% [markdown]
# ## One hand, two rules
#
# Four cards, one target: make 24, each card once, with + - * / and parentheses. Pips
# count their number, an ace counts 1. What J, Q and K count is announced with each hand.

# %%
from sftrl_lite.cards import ID_RULE, OOD_RULE
from sftrl_lite.general_points import Hand, best_formula, prompt

cards = ("J", "2", "2", "Q")
for rule in (ID_RULE, OOD_RULE):
    hand = Hand(cards, rule)
    print(f"rule {rule.name:9} {hand.numbers}  {best_formula(hand)} = 24")

# %% [markdown]
# The cards are the same, the numbers are not, and so neither is the answer. Somebody
# who *understood* the game reads the rule and then calculates. Somebody who
# *memorised* "a jack is a ten" is lost as soon as the rule changes. Here is all
# that the model is told:

# %%
print(prompt(Hand(cards, OOD_RULE)))

# %% [markdown]
# ## Init: the shared starting point
#
# The tiny model has already read a corpus of card games: hands under hundreds of house
# rules, solved with care or guessed in haste (chapter 2 opens it up). It has never
# seen the shifted rule 11, 12, 13. It *can* read any announced rule, and it is sloppy.
# Here is what it answers to one hand, sampled four times, with the verifier's verdict.

# %%
from sftrl_lite.general_points import general_points
from sftrl_lite.models import load
from sftrl_lite.rollouts import rollout

model, tokenizer = load(scale.base)
task = general_points("ood-rule")
hand = Hand(cards, OOD_RULE)
for episode in rollout(model, tokenizer, task, [hand], samples=4, tries=1):
    turn = episode.turns[0]
    kind, reward = turn.verdict.kind, turn.verdict.reward
    print(f"{kind:12} reward {reward:+.0f}   {turn.answer[42:]}")

# %% [markdown]
# ## The experiment
#
# Two copies of Init train on the same hands, all under the rule J = Q = K = 10.
#
# - **SFT** (supervised fine-tuning) sees a correct answer to each hand, from a solver, and imitates it.
# - **RL** (reinforcement learning, PPO) sees no answer. It tries up to five times, the
#   verifier says after each try whether the formula is right, and solving pays.
#
# Each runs on one core. On the way both are measured on held-out hands, under the
# trained rule (ID) and under the shifted one (OOD). A second call of this cell
# continues or just reads what is there.

# %%
from sftrl_lite.headline import headline, sentence
from sftrl_lite.models import ROOT

table = headline(seed=0, out=ROOT / "runs" / "headline")
print(sentence(table))

# %% [markdown]
# ## The figure
#
# From left to right the test gets harder: the training hands themselves, fresh hands
# under the trained rule, fresh hands under the shifted rule. Horizontal: training compute,
# counted as in the paper (chapter 5 says how, and what changes if one counts otherwise).
# Bands: 95 % intervals over hands.

# %%
from sftrl_lite import plots

notebook.figure(plots.curves(table), alt=plots.alt_text(table))

# %%
plots.summary_table(table)

# %% [markdown]
# Here `success` is solving within five tries, with the verifier's word in between; `read`
# is stating the right four numbers in the first answer. The memorised hands are the
# difference between the first panel and the other two. What does the fine-tuned model
# answer to our hand now?

# %%
folder = ROOT / "runs" / "headline" / f"{scale.name}-seed0"
model, tokenizer = load(folder / "sft" / "model")
for episode in rollout(model, tokenizer, task, [hand], samples=4, tries=1):
    print(f"{episode.turns[0].verdict.kind:14} {episode.turns[0].answer}")

# %% [markdown]
# ## The same with more seeds
#
# One seed is an anecdote. These are recorded runs of `results/ledger.csv`, several seeds
# each, a thousand fresh hands at both ends. *SFT, learning rate 1e-3* is the same SFT
# pushed harder, at three times the rate; on the training hands the two tie. Three
# controls: SFT on *varied* rules, SFT on the trained rule *in the base's own words*, and
# RL that is paid by a coin.

# %%
from sftrl_lite.report import main_table, recorded

rows = recorded("headline", "push", "controls")
methods = ("rl-ppo", "sft", "sft-pushed", "sft-varied", "sft-own", "rl-random")
notebook.figure(plots.curves(rows, methods=methods), alt=plots.alt_text(rows))

# %%
main_table(rows)

# %% [markdown]
# ## Exercises
#
# ### Exercise 0.1: be the memoriser
#
# Difficulty ●○○○○ · 3 minutes
#
# Write the reader that SFT has become: it turns cards into numbers and counts every
# face card as 10, whatever the rule says.

# %%
def memorised_numbers(cards: tuple[str, ...]) -> tuple[int, ...]:
    """What a rule-blind reader sees: ("A", "K") -> (1, 10)."""
    raise NotImplementedError

# %%
with notebook.exercise("0.1"):
    assert memorised_numbers(("A", "7")) == (1, 7), "an ace counts 1, pips their number"
    assert memorised_numbers(("J", "Q", "K")) == (10, 10, 10), "every face counts 10"
    assert memorised_numbers(("2", "10", "Q", "5")) == (2, 10, 10, 5), "order is kept"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `ID_RULE.values` does it for a hand.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def memorised_numbers(cards: tuple[str, ...]) -> tuple[int, ...]:
#     return ID_RULE.values(cards)
# ```
#
# </details>
#
# ### Exercise 0.2: when does memorising not hurt?
#
# Difficulty ●●○○○ · 5 minutes
#
# Under the shifted rule every hand holds a face card, so the memoriser's numbers are
# never right. Under the *trained* rule they always are. Estimate by dealing hands how
# often the rule matters at all: the share of uniformly dealt hands with a face card.

# %%
import random
from sftrl_lite.cards import FACES, deal

def share_with_face(n: int, seed: int) -> float:
    """Share of ``n`` uniformly dealt hands of four cards that hold J, Q or K."""
    raise NotImplementedError

# %%
with notebook.exercise("0.2"):
    exact = 1 - (10 / 13) ** 4
    found = share_with_face(20_000, seed=1)
    assert 0 <= found <= 1, "a share lies between 0 and 1"
    assert abs(found - exact) < 0.02, f"expected about 1 - (10/13)^4 = {exact:.3f}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `deal(random.Random(seed))` gives a hand; use one `Random` for all of them.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def share_with_face(n: int, seed: int) -> float:
#     rng = random.Random(seed)
#     return sum(any(c in FACES for c in deal(rng)) for _ in range(n)) / n
# ```
#
# </details>
#
# ### Exercise 0.3: is the difference noise?
#
# Difficulty ●●○○○ · 5 minutes
#
# Two shares from independent hands differ by d. Their standard error is
# sqrt(p(1-p)/n + q(1-q)/m). Write the 95 % interval of the difference.

# %%
def difference_interval(p: float, n: int, q: float, m: int) -> tuple[float, float]:
    """95 % interval of p - q for shares of n and m hands (normal approximation)."""
    raise NotImplementedError

# %%
with notebook.exercise("0.3"):
    low, high = difference_interval(0.15, 234, 0.115, 234)
    assert low < 0.035 < high, "the interval surrounds the observed difference"
    assert low < 0, "234 hands cannot tell +3.5 points from nothing (the paper's GP-L)"
    low, high = difference_interval(0.15, 20_000, 0.115, 20_000)
    assert low > 0, "20,000 hands can"

# %% [markdown]
# <details><summary>Hint</summary>
#
# 1.96 standard errors to each side.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def difference_interval(p: float, n: int, q: float, m: int) -> tuple[float, float]:
#     half = 1.96 * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
#     return p - q - half, p - q + half
# ```
#
# </details>
#
# ### Exercise 0.4: read the verdicts
#
# Difficulty ●○○○○ · 3 minutes
#
# A memoriser writes a formula over the wrong numbers. Which verdict does the verifier
# give? Return its name for the answer that is right under the trained rule, judged
# under the shifted rule.

# %%
from sftrl_lite.general_points import GeneralPoints, write_answer

def verdict_for_memoriser(cards: tuple[str, ...]) -> str:
    """Kind of verdict for the ID solution of ``cards`` judged under OOD_RULE."""
    raise NotImplementedError

# %%
with notebook.exercise("0.4"):
    kind = verdict_for_memoriser(("J", "2", "2", "Q"))
    assert kind == "wrong_numbers", f"not {kind!r}: 10 is not among the cards' numbers"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `best_formula(Hand(cards, ID_RULE))`, then `write_answer`, then
# `GeneralPoints(OOD_RULE).verify`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def verdict_for_memoriser(cards: tuple[str, ...]) -> str:
#     hand = Hand(cards, ID_RULE)
#     answer = write_answer(hand, best_formula(hand))
#     return GeneralPoints(OOD_RULE).verify(Hand(cards, OOD_RULE), answer).kind
# ```
#
# </details>
#
# ## A place to play
#
# Drag over the training, or press the arrow keys: the methods part under both rules.
# These are the recorded runs; `training_slider(table)` shows the one that you made.

# %%
from sftrl_lite.widgets import training_slider

training_slider(rows)

# %% [markdown]
# ## What it means, and what it does not
#
# - SFT learned its training hands by heart, and its formulas with them. The formulas came
#   from a solver that writes any solution, not the one that the base would have written.
#   Held against that, *own words*: the same hands, the same rule, the base's own formulas,
#   and imitation generalises, even a little better than RL. What one imitates matters more
#   than that one imitates.
# - *Varied rules* alone do not bring success back: the numbers are read, the foreign
#   formulas remain. When SFT is *pushed* under one rule (the curve at 1e-3), it falls well
#   below Init under the shifted rule and begins to misread it (chapter 3).
# - RL was never paid under the shifted rule either. It keeps what it is not paid to
#   change, and what it learned, to be careful instead of guessing, serves every rule.
# - Much of RL's gain is *choosing* among answers that Init already gives now and then: see
#   the column `OOD greedy`, where Init's likeliest answer was good all along, RL keeps it
#   and SFT loses it. Chapter 2 measures what Init holds.
# - This is a *model organism*: a base bred on a corpus of careful and careless answers,
#   so that a laptop can show in minutes what the paper showed on eight large GPUs. It
#   shows that the mechanism exists and what it needs. It does not show how large the
#   effect is in an 11B model; the paper's own figures on this task are +3.5 points for RL
#   and -8.1 for SFT (its figure 6), the first within the noise of its 234 episodes.
#
# ## Further reading
#
# - [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161); Chu et al. 2025: the paper (40 minutes; sections 4 and 5).
# - [RL Fine-Tuning Heals OOD Forgetting in SFT](https://arxiv.org/abs/2509.12235): the same game, another reading (30 minutes).
# - [Debunk the Myth of SFT Generalization](https://arxiv.org/abs/2510.00237): what varied prompts change (30 minutes).
# - [RL's Razor](https://arxiv.org/abs/2509.04259): distance from Init as the measure of forgetting (40 minutes).
#
# Next: [1. GeneralPoints: cards, rules, verifier, rewards](01_general_points.ipynb)
