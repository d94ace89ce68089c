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
# Chu et al. (2025) report that a model fine-tuned on correct answers memorises them,
# while the same model, rewarded by a verifier for answers of its own, improves under a
# rule that it never trained on. Here both train live, from one 0.95-million-parameter
# model on the same hands. Eight recorded seeds and the controls follow below.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - State the question of "SFT Memorizes, RL Generalizes" in one card hand.
# - Run the experiment that answers it, after writing down what you expect.
# - Read its figure: training hands against fresh hands, trained rule against shifted
#   rule, one decoding, 95 % intervals.
# - Say why an untrained model at a lower temperature belongs in that figure.
# - Say what one seed shows and what it does not.

# %%
from sftrl_lite.course import notebook
scale = notebook.setup()

# %% [markdown]
# ## One hand, two rules
#
# Make 24 from four cards, using each card once, with + - * / and parentheses. A number
# card counts its number, an ace counts 1. What J, Q and K count is announced with each
# hand.

# %% tags=["two-rules"]
from sftrl_lite.tasks.cards import ID_RULE, OOD_RULE
from sftrl_lite.tasks.general_points import prompt
from sftrl_lite.tasks.hands import Hand, best_formula

cards = ("J", "2", "2", "Q")
for rule in (ID_RULE, OOD_RULE):
    hand = Hand(cards, rule)
    print(f"rule {rule.name:9} {hand.numbers}  {best_formula(hand)} = 24")

# %% [markdown]
# The cards are the same, but the numbers differ, and so does the answer. A player who
# *understands* the game reads the rule and then calculates. A player who only
# *remembers* has an answer ready for hands seen before, and none that fits a new rule.
# This is the whole prompt:

# %% tags=["prompt"]
print(prompt(Hand(cards, OOD_RULE)))

# %% [markdown]
# ## Init: the shared starting point
#
# The tiny model was pre-trained on a synthetic corpus of card games under hundreds of
# house rules (chapter 2 opens it up). Some answers in it are worked out. Others follow
# a habit, such as adding the four numbers in the order dealt, whatever the sum. The
# corpus never shows the shifted rule 11, 12, 13. Here are four of the model's answers
# to our hand, with the verifier's verdicts:

# %%
import torch

from sftrl_lite.models.loading import load
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training.rollouts import rollout

model, tokenizer = load(scale.base_for("gp-l"))
shifted, hand = general_points("ood-rule"), Hand(cards, OOD_RULE)
paper = dict(temperature=0.6, top_p=0.9)  # how the paper's evaluation samples


def four_answers(model):
    """Four samples of one try at our hand, the same at every call."""
    dice = torch.Generator(model.device).manual_seed(0)
    asked = dict(samples=4, tries=1, generator=dice)
    return rollout(model, tokenizer, shifted, [hand], **asked, **paper)

for episode in four_answers(model):
    turn = episode.turns[0]
    kind, reward = turn.verdict.kind, turn.verdict.reward
    print(f"{kind:14} reward {reward:+.0f}  {turn.answer.partition('], ')[2]}")

# %% [markdown]
# How an answer is drawn decides how good the model looks. The *temperature* divides the
# logits: below 1 it makes likely tokens likelier, and 0 always takes the likeliest
# (*greedy* decoding). *top_p* 0.9 samples only from the smallest set of tokens whose
# probabilities add up to at least 0.9. This chapter evaluates at temperature 0.6 and top_p
# 0.9. These are the defaults of the paper's model, and its released code samples with them.
# Any other decoding is named where it is used.
#
# The model may try five times, and after each failure the verifier says that the
# formula is wrong. How many of a hundred hands does Init solve?

# %% tags=["init-solves"]
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.training.evaluate import evaluate

trained = general_points("train")
asked = {"training hands": (trained, train_hands(trained, 100, seed=0))}
for name, split in [("fresh hands", "id"), ("shifted rule", "ood-rule")]:
    asked[name] = general_points(split), held_out(general_points(split), 100, seed=0)
for name, (task, hands) in asked.items():
    found, _ = evaluate(model, tokenizer, task, hands, **paper)
    first, five = (100 * found[metric].value for metric in ("success@1", "success"))
    print(f"{name:15} first try {first:3.0f} %   within five tries {five:3.0f} %")

# %% [markdown]
# *Fresh hands* come from a third of all hands that is reserved for tests: no training
# hand, whatever the seed, has the same numbers as a reserved one.
#
# ## Predict, then run
#
# Two copies of Init train on the same 300 hands, all under the rule J = Q = K = 10.
#
# - **SFT** (supervised fine-tuning) gets a correct answer to each hand, written by an
#   exact solver, and learns to make it likely.
# - **RL** (reinforcement learning, here PPO) gets no answer. It samples up to five, the
#   verifier judges each, and a right formula is rewarded.
#
# Neither sees the shifted rule. Both spend the same training compute, as the paper
# counts it. Before you run them, write down what you expect, in per cent solved within
# five tries.

# %%
predicted = {  # replace None by your numbers; Init's stand above
    "sft": {"train": None, "id": None, "ood-rule": None},
    "rl-ppo": {"train": None, "id": None, "ood-rule": None},
}

# %% [markdown]
# ## The experiment
#
# Each method runs on one core. During training both are evaluated on their training
# hands, on fresh hands under the trained rule (*in distribution*, ID) and on fresh
# hands under the shifted rule (*out of distribution*, OOD). Running this cell again
# resumes an interrupted run and reads a finished one.

# %%
from sftrl_lite.files import ROOT
from sftrl_lite.results.headline_figure import sentence
from sftrl_lite.runs.headline import headline, headline_folder

table = headline(seed=0, scale=scale, out=ROOT / "runs" / "headline")
print(sentence(table))

# %%
from sftrl_lite.results import plots
from sftrl_lite.results.names import CARDS
from sftrl_lite.results.measures import measured

for method, guesses in predicted.items():
    for split, guess in guesses.items():
        share = measured(table, "success", method, split)["value"].mean()
        said = "no prediction" if guess is None else f"predicted {guess:.0f} %"
        name = f"{plots.LOOKS[method][3]}, {CARDS[split]}"
        print(f"{name:40} {share:4.0%}   {said}")

# %% [markdown]
# ## The figure
#
# From left to right the test gets harder: the training hands, fresh hands under the
# trained rule, fresh hands under the shifted rule. The title of a panel says which
# method ends above or below Init, and "no clear change" where the 95 % interval of the
# difference includes zero. Bands are intervals over hands. The number at the end of a
# line is its last value in per cent.

# %%
splits = ("train", "id", "ood-rule")

def at_a_glance(rows, metric="success", methods=("rl-ppo", "sft")) -> None:
    """The three panels of one metric; their titles follow from the intervals."""
    tries = {"success": "within five tries", "success@1": "at the first try"}[metric]
    titles = [plots.finding(rows, metric, split, methods) for split in splits]
    look = dict(ylabel=f"solved {tries}", titles=titles, methods=methods)
    alt = plots.alt_text(rows, metric, splits, methods=methods)
    figure = plots.curves(rows, metric, splits, **look)
    notebook.figure(figure, alt=f"Hands solved {tries} against training compute. {alt}")

at_a_glance(table)

# %% [markdown]
# Three comparisons answer three questions.
#
# 1. *Does SFT memorise?* Compare its line in the first two panels. The hands differ,
#    the rule does not.
# 2. *Does a method generalise?* Compare its end with Init (dashed) in the third panel.
# 3. *Could Init have done that without training?* Compare with the dotted line, Init at
#    the best of four decodings (greedy, temperature 0.3, 0.6 with top_p 0.9, and 1).
#    Below it, a gain may be mere *sharpening*: what a lower temperature does to any
#    model.
#
# The paper's metric, within five tries, also pays for answers that vary from try to
# try. So we also look at the first try, and at the first try with greedy decoding.

# %%
at_a_glance(table, "success@1")

# %%
from sftrl_lite.results import report, tables

tables.main_table(table)

# %% [markdown]
# `numbers read` is the share of first answers that state the right four numbers,
# whatever the formula: it separates failing to read the rule from failing to calculate.
# The next table shows what the runs cost. Runs that are equal in one count of FLOPs
# differ in the other count and in their number of updates (chapter 5).

# %%
tables.cost_table(table)

# %% [markdown]
# Success rates do not show the answers themselves. What do the two fine-tuned models answer
# to our hand now?

# %%
folder = headline_folder(0, scale, ROOT / "runs" / "headline")
for method in ("sft", "rl-ppo"):
    model, tokenizer = load(folder / method / "model")
    print(plots.LOOKS[method][3])
    for episode in four_answers(model):
        turn = episode.turns[0]
        print(f"  {turn.verdict.kind:14} {turn.answer.partition('], ')[2]}")

# %% [markdown]
# ## Eight seeds
#
# One seed is an anecdote: another seed deals other training hands and samples other
# answers. These are the recorded runs of `results/ledger.csv`. Each seed is tested on a
# thousand fresh hands per rule, before and after training. Bands are 95 % intervals
# over seeds *and* hands, from a hierarchical bootstrap (chapter 5).

# %% tags=["seeds-figure"]
rows = report.recorded("headline")
for line in report.missing(["headline"], rows):
    print(line)
if len(rows):
    at_a_glance(rows)

# %%
if len(rows):
    notebook.show(sentence(rows))

# %% [markdown]
# ## Controls
#
# Each control changes one thing, so that it can rule out one other explanation.
#
# - *SFT, learning rate 1e-3*: the same SFT at a higher learning rate. Does the verdict
#   on SFT depend on its rate? (The rates of the headline were chosen on training and
#   development problems, never on the shifted rule.)
# - *SFT, own verified answers*: the same hands and the same loss, but the answers were
#   sampled from Init and accepted by the verifier. Is it fine-tuning on answers as
#   such, or on the solver's answers? (*On-policy SFT*, chapter 3.)
# - *SFT, varied rules*: the same cards with the announced rule changed from hand to
#   hand. Is it the one rule?
# - *RL, random reward*: PPO with rewards from a fair coin. Is it the verifier, or any
#   training on the model's own samples?
# - *RL (GRPO)*: another algorithm on the same rewards.

# %%
wanted = ["headline", "push", "controls", "grpo"]
everything = report.recorded(*wanted)
for line in report.missing(wanted, everything):
    print(line)
if len(everything):
    display(tables.main_table(everything))

# %% [markdown]
# The same as differences under the shifted rule, in points, paired by seed. Read the
# interval before the number: if it includes zero, the runs do not decide.

# %% tags=["gaps"]
import pandas as pd

gaps = {}
for pair, (one, other) in tables.PAIRS.items():
    parts = {"five tries": "success@5", "first try": "success@1"}
    found = {
        name: tables.gap(everything, "ood-rule", one, other, metric)
        for name, metric in parts.items()
    }
    if any(found.values()):
        gaps[pair] = {name: tables.in_words(gap) for name, gap in found.items()}
        gaps[pair]["seeds"] = max(gap.n for gap in found.values() if gap)
if gaps:
    display(pd.DataFrame(gaps).T, tables.cost_table(everything))

# %% [markdown]
# ## Exercises
#
# ### Exercise 0.1: a reader who ignores the rule
#
# Difficulty ●○○○○ · 3 minutes
#
# Imagine the extreme case, a player who never reads the announcement and counts every
# face card as 10. It is a thought experiment, not a description of our SFT model:
# chapter 3 measures how close our SFT model comes to it. Turn cards into this player's
# numbers.

# %%
def blind_numbers(cards: tuple[str, ...]) -> tuple[int, ...]:
    """What a rule-blind reader sees: ("A", "K") -> (1, 10)."""
    raise NotImplementedError

# %%
import random
from sftrl_lite.tasks.cards import RANKS, deal

with notebook.exercise("0.1"):
    said = blind_numbers(("A", "7"))
    assert isinstance(said, tuple), f"return a tuple of numbers, not {said!r}"
    assert said == (1, 7), "an ace counts 1, pips their number"
    assert blind_numbers(("J", "Q", "K")) == (10, 10, 10), "every face counts 10"
    ordered = blind_numbers(("2", "10", "Q", "5"))
    assert ordered == (2, 10, 10, 5), "a 10 counts 10, too, and order is kept"
    for seed in range(50):
        dealt = deal(random.Random(seed))
        counts = [min(1 + RANKS.index(card), 10) for card in dealt]
        assert blind_numbers(dealt) == tuple(counts), f"{dealt} count {counts}"

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
# def blind_numbers(cards: tuple[str, ...]) -> tuple[int, ...]:
#     return ID_RULE.values(cards)
# ```
#
# </details>
#
# ### Exercise 0.2: when would ignoring the rule not hurt?
#
# Difficulty ●●○○○ · 5 minutes
#
# Under the shifted rule every test hand holds a face card, so this player's numbers are
# never right. Under the *trained* rule they always are: no test under that rule can
# tell this player from one who reads. How many hands need the rule at all? Estimate the
# share of uniformly dealt hands that hold a face card.

# %%
import random
from sftrl_lite.tasks.cards import FACES, deal

def share_with_face(n: int, seed: int) -> float:
    """Share of ``n`` hands of four cards that hold J, Q or K.

    All hands come from one ``random.Random(seed)``, one ``deal`` after another.
    """
    raise NotImplementedError

# %%
with notebook.exercise("0.2"):
    exact = 1 - (10 / 13) ** 4
    found = share_with_face(5_000, seed=1)
    assert isinstance(found, float), f"return the share, not {found!r}"
    assert 0 <= found <= 1, "a share lies between 0 and 1"
    assert abs(found - exact) < 0.03, f"expected about 1 - (10/13)^4 = {exact:.3f}"
    for n, seed in [(7, 2), (12, 3), (30, 4)]:
        rng = random.Random(seed)
        hits = sum(not set(FACES).isdisjoint(deal(rng)) for _ in range(n))
        wrong = f"{n} hands of seed {seed}: {hits} of {n} hold a face card; deal them"
        assert abs(share_with_face(n, seed) - hits / n) < 1e-9, wrong

# %% [markdown]
# <details><summary>Hint</summary>
#
# `deal(rng)` gives a hand; use one `rng = random.Random(seed)` for all of them.
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
# Two shares p and q from independent hands, n and m of them, differ by p - q. The
# variances of independent shares add up, so the standard error of the difference is
# sqrt(p(1-p)/n + q(1-q)/m). Write its 95 % interval.

# %%
def difference_interval(p: float, n: int, q: float, m: int) -> tuple[float, float]:
    """95 % interval of p - q for shares of n and m hands (normal approximation)."""
    raise NotImplementedError

# %%
import numpy as np
from scipy.stats import norm

with notebook.exercise("0.3"):
    found = difference_interval(0.15, 234, 0.115, 234)
    assert np.shape(found) == (2,), f"return two numbers, low and high, not {found!r}"
    low, high = found
    assert low < high, "the lower end comes first"
    assert low < 0.035 < high, "the interval surrounds the observed difference"
    assert low < 0, "234 hands cannot tell +3.5 points from nothing (the paper's GP-L)"
    low, high = difference_interval(0.15, 20_000, 0.115, 20_000)
    assert low > 0, "20,000 hands can"
    rng = np.random.default_rng(0)
    for _ in range(20):  # unequal n and m
        n, m = rng.integers(50, 99), rng.integers(50, 5000)
        p, q = rng.uniform(0, 1, 2)
        error = np.hypot((p * (1 - p) / n) ** 0.5, (q * (1 - q) / m) ** 0.5)
        right = norm.interval(0.95, p - q, error)
        said = f"{p:.2f} of {n} minus {q:.2f} of {m}: [{right[0]:.3f}, {right[1]:.3f}]"
        assert np.allclose(difference_interval(p, n, q, m), right, atol=1e-4), said

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
# Difficulty ●●○○○ · 5 minutes
#
# The rule-blind player of exercise 0.1 calculates without a mistake, from the wrong
# numbers. What does the verifier say? Return the kind of its verdict for the answer
# that is right under the trained rule, judged under any other. (On the way you see that
# `wrong_numbers` is the verdict that would give such a player away.)

# %%
from sftrl_lite.tasks.cards import Rule
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer

def verdict_for_blind(cards: tuple[str, ...], rule: Rule) -> str:
    """Kind of verdict for the trained rule's solution of ``cards``, judged by ``rule``.

    The cards have a solution under the trained rule, ``ID_RULE``.
    """
    raise NotImplementedError

# %%
import random
from sftrl_lite.tasks.cards import house_rule

with notebook.exercise("0.4"):
    kind = verdict_for_blind(("J", "2", "2", "Q"), OOD_RULE)
    assert isinstance(kind, str), f"return the verdict's kind, a str, not {kind!r}"
    assert kind == "wrong_numbers", f"not {kind!r}: 10 is not among the cards' numbers"
    kind = verdict_for_blind(("2", "3", "4", "A"), OOD_RULE)
    assert kind == "solved", f"not {kind!r}: no face card, so both rules agree"
    rng, task = random.Random(0), GeneralPoints()
    for _ in range(30):
        dealt, rule = task.sample(rng).cards, house_rule(rng, common=0.2)
        same = ID_RULE.values(dealt) == rule.values(dealt)
        kind = "solved" if same else "wrong_numbers"
        assert verdict_for_blind(dealt, rule) == kind, f"{dealt}, {rule.name}: {kind}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `best_formula(Hand(cards, ID_RULE))`, then `write_answer`, then
# `GeneralPoints(rule).verify` of the same cards under `rule`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def verdict_for_blind(cards: tuple[str, ...], rule: Rule) -> str:
#     hand = Hand(cards, ID_RULE)
#     answer = write_answer(hand, best_formula(hand))
#     return GeneralPoints(rule).verify(Hand(cards, rule), answer).kind
# ```
#
# </details>
#
# ## A place to play
#
# Drag over the training, or press the arrow keys, and watch both rules at once. The
# recorded runs are shown if there are any, else the one that you made.

# %%
from sftrl_lite.course.calculators import training_slider

training_slider(rows if len(rows) else table)

# %% [markdown]
# ## What it means, and what it does not
#
# Check each sentence against the tables above. Where an interval includes zero, the
# answer is "not decided here".
#
# - *Memorising* is a gap between training hands and fresh hands under the *same* rule.
#   It needs no shift. Chapter 3 shows where it comes from: the solver chooses among
#   several right formulas, and which one it chose for a hand can only be
#   memorised.
# - *Off-policy demonstrations.* The solver's formulas are not the ones that Init would
#   have written. If *SFT, own verified answers* ends above *SFT*, then what is imitated
#   matters, and a claim about "SFT" as such says too much. That control uses the
#   verifier, as RL does.
# - *Sharpening against temperature.* RL makes answers more deterministic, and so does a
#   lower temperature, for free. What RL adds is its distance from *Init at its best
#   temperature*, not from Init. That temperature was picked after looking, which
#   favours Init.
# - RL was not rewarded under the shifted rule either. Where it gains there, it learned
#   something that both rules share: here, to calculate instead of following a habit.
# - This is a *model organism*: a base pre-trained on careful and habitual answers, so
#   that a laptop can show in minutes what took the paper eight large GPUs. It shows
#   that a mechanism exists and what it depends on, not how large the effect is in an
#   11B model. The paper reports +3.5 points for RL and -8.1 for SFT on this task (its
#   figure 6), the first of them within the noise of 234 episodes.
#
# ## Further reading
#
# - [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161); Chu et al. 2025: the paper (40 minutes; sections 4 and 5).
# - [RL Fine-Tuning Heals OOD Forgetting in SFT](https://arxiv.org/abs/2509.12235): the same game, another reading (30 minutes).
# - [Debunk the Myth of SFT Generalization](https://arxiv.org/abs/2510.00237): what varied prompts change (30 minutes).
# - [RL's Razor](https://arxiv.org/abs/2509.04259): distance from Init as the measure of forgetting (40 minutes).
# - [Reasoning with Sampling](https://arxiv.org/abs/2510.14901): how much of RL's gain sharper sampling gives without training (30 minutes).
#
# Next: [1. GeneralPoints: cards, rules, verifier, rewards](01_general_points.ipynb)
