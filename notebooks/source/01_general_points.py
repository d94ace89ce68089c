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
# # 1. GeneralPoints: cards, rules, verifier, rewards
#
# A player who reads the announced rule and a player who has memorised one rule get the
# same score under that rule. Telling them apart requires an exact verifier, a shifted
# rule, test hands with other numbers than the training hands, and a guessing player as
# the control.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells.
#
# @@BADGES@@

# %% [markdown]
# ## What you will be able to do
#
# - **Deal** a hand as the paper does, and say how that differs from a deck of cards.
# - **Decide** exactly whether a hand can make 24, and show where floating point fails.
# - **Count** how often the rule matters at all.
# - **Predict** the verdict and the reward of any answer, honest or adversarial.
# - **Explain** what each kind of feedback gives away; **compute** an episode's return.
# - **Reserve** test hands by what their answer depends on.

# %%
from sftrl_lite.course import notebook
from sftrl_lite.course.notebook import exercise, show

scale = notebook.setup()

# %% [markdown]
# ## 1.1 One hand, by hand
#
# Four cards lie on the table: **A 5 7 J**. An ace counts 1 and, tonight, a jack counts
# 10. Use each card once, with + − × ÷ and parentheses, to make 24.
#
# Take a minute before you read on.

# %% [markdown]
# One way: five times seven is 35; take off the jack's ten, then the ace.

# %%
5 * 7 - 10 - 1

# %% [markdown]
# Now the host changes the house rule: a jack counts 11. The same cards, the same goal.
# Our formula is worth

# %%
5 * 7 - 11 - 1

# %% [markdown]
# and a new one is needed:

# %%
1 + 5 + 7 + 11

# %% [markdown]
# Nothing about arithmetic changed. What changed is one number in a sentence, and
# the player must read it. This course asks which kinds of training keep a model
# reading that sentence. First we need the game itself, exact in every corner, because
# training will find the corners.

# %% [markdown]
# ## 1.2 The rule
#
# A *rule* is three numbers: what J, Q and K count. An ace counts 1, and every other
# card counts its number.

# %%
from sftrl_lite.tasks.cards import Rule

tonight = Rule(jack=10, queen=10, king=10)
tonight.values(["A", "5", "7", "J"])

# %% [markdown]
# The paper trains under one rule and tests under another. Both have a name here.

# %%
from sftrl_lite.tasks.cards import ID_RULE, OOD_RULE

print("trained:", ID_RULE)
print("shifted:", OOD_RULE)

# %% [markdown]
# **ID** means *in distribution*: problems like those of training. **OOD** means *out of
# distribution*: the same game under a rule that training never announced.
#
# There is a third rule, for development. We choose learning rates and stopping steps by
# it, so that the shifted rule is used only for reporting.

# %%
from sftrl_lite.tasks.cards import DEV_RULE

print("development:", DEV_RULE)

# %% [markdown]
# ## 1.3 Dealing
#
# The paper's code does not shuffle a deck. It draws each rank on its own, so every card
# is a face card with probability 3/13, whatever the others are. For $n$ cards
#
# $$P(\text{at least one face}) = 1 - \left(\tfrac{10}{13}\right)^{n}.$$
#
# From a deck of 52 the draws are without replacement, and the probability is
# $1 - \binom{40}{n} / \binom{52}{n}$.

# %%
from math import comb

uniform = 1 - (10 / 13) ** 4
deck = 1 - comb(40, 4) / comb(52, 4)
print(f"uniform {uniform:.4f}, deck {deck:.4f}")

# %% [markdown]
# `deal` does both. Its only source of randomness is the generator that you pass, so
# the same seed deals the same cards.

# %%
import random

from sftrl_lite.tasks.cards import deal

rng = random.Random(0)
for dealing in ("uniform", "deck"):
    print(dealing, [" ".join(deal(rng, dealing=dealing)) for _ in range(4)])

# %% [markdown]
# Check the function against the formula. With 20,000 hands the standard error of a
# share is about 0.0034, so in 19 of 20 cases the two columns differ by less than 0.007.

# %%
from sftrl_lite.tasks.cards import FACES

for dealing, expected in (("uniform", uniform), ("deck", deck)):
    rng = random.Random(0)
    hands = [deal(rng, dealing=dealing) for _ in range(20_000)]
    share = sum(any(card in FACES for card in hand) for hand in hands) / len(hands)
    print(f"{dealing:8} dealt {share:.4f}   expected {expected:.4f}")

# %% [markdown]
# We deal uniformly, like the paper. Keep the first number in mind: about a third of the
# hands hold no face card, and on those *no rule matters*.

# %% [markdown]
# ### Exercise 1.1: How large must a hand be?
#
# Difficulty ●○○○○ · 5 minutes
#
# A test hand that never shows a face card tests nothing about the rule. Return the
# smallest number of uniformly dealt cards for which at least a share `wanted` of the
# hands holds a face card.

# %%
def cards_needed(wanted: float) -> int:
    """Smallest n with P(at least one face among n uniform cards) >= wanted.

    >>> cards_needed(0.2)
    1
    """
    raise NotImplementedError


# %%
with exercise("1.1"):
    found = cards_needed(0.2)
    assert isinstance(found, int), f"return a number of cards, not {found!r}"
    assert found == 1, "one card is a face with probability 3/13, 0.23"
    assert cards_needed(0.65) == 5, "four cards give 0.6499, and that is not enough"
    assert cards_needed(0.99) == 18, "the probability of NO face shrinks by 10/13"
    for dice in map(random.Random, range(50)):
        wanted = 1 - dice.random() ** 3
        n = cards_needed(wanted)
        share = 1 - (10 / 13) ** n
        assert share >= wanted, f"{n} cards give {share:.5f}, not {wanted:.5f}"
        fewer = 1 - (10 / 13) ** (n - 1)
        told = f"{n - 1} cards give {fewer:.5f}: enough for {wanted:.5f}"
        assert fewer < wanted, told

# %% [markdown]
# <details><summary>Hint</summary>
#
# Count up from one card until the formula of this section is large enough.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def cards_needed(wanted: float) -> int:
#     n = 1
#     while 1 - (10 / 13) ** n < wanted:
#         n += 1
#     return n
# ```
#
# </details>

# %% [markdown]
# ## 1.4 An exact solver
#
# Which hands can make 24 at all? The idea fits in a sentence: *pick two numbers,
# replace them by one result, and go on until one number is left*. Four numbers become
# three, then two, then one.
#
# Start with the smallest case, two numbers.

# %%
def results(a, b):
    """Everything that two numbers can make."""
    yield from (a + b, a - b, b - a, a * b)
    if b != 0:
        yield a / b
    if a != 0:
        yield b / a


sorted(set(results(2, 3)))

# %% [markdown]
# The rest is the same step again, one number fewer each time.

# %%
from itertools import combinations


def makes(numbers, target=24):
    """Whether the numbers can be reduced to the target, two at a time."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, j in combinations(range(len(numbers)), 2):
        rest = [x for k, x in enumerate(numbers) if k not in (i, j)]
        if any(makes([*rest, r], target) for r in results(numbers[i], numbers[j])):
            return True
    return False


makes([1, 5, 7, 10]), makes([1, 1, 1, 1])

# %% [markdown]
# That looks finished. Try the hand that every player of this game knows, **3 3 8 8**.
# Its only solution passes through a fraction: 3 − 8/3 is 1/3, and 8 divided by that is
# 24.

# %% tags=["float-fails"]
makes([3, 3, 8, 8]), 8 / (3 - 8 / 3)

# %% [markdown]
# Floating point cannot represent 8/3 exactly, the error survives the division, and a
# correct answer is judged wrong. Python's fractions are exact, and `makes` works with
# them unchanged:

# %%
from fractions import Fraction

makes([Fraction(n) for n in (3, 3, 8, 8)])

# %% [markdown]
# This is not a curiosity. The code released with the paper compares a float with 24,
# so it refuses 8/(3−8/3) and 4/(1−5/6). A verifier that is wrong in rare cases teaches
# the model to avoid them.

# %% [markdown]
# Our `makes` visits the same pairs again and again. The package's solver is built from
# two better ideas.
#
# 1. **Split.** The last operation of any formula joins two groups: one card with three,
#    or two with two. Solve each group once and remember it.
# 2. **Look the partner up.** If the left group can make $a$ and the goal is $a + b = 24$,
#    then $b$ must be $24 - a$. Ask the right group's table for that one value instead of
#    trying them all. The other operations are inverted in the same way.

# %%
from sftrl_lite.tasks.solver import solutions

solutions([3, 3, 8, 8])

# %%
solutions([1, 5, 7, 10])

# %% [markdown]
# Two solvers that share no code can test each other. Compare them on hands drawn at
# random, and time them.

# %%
from time import perf_counter

rng = random.Random(0)
draws = [[rng.randint(1, 13) for _ in range(4)] for _ in range(100)]
begin = perf_counter()
slow = [makes([Fraction(n) for n in numbers]) for numbers in draws]
middle = perf_counter()
fast = [bool(solutions(numbers)) for numbers in draws]
end = perf_counter()
print("same verdict on all 100:", slow == fast)
print(f"ours {middle - begin:.2f} s, the package {end - middle:.3f} s")

# %% [markdown]
# The package is fast enough to check *every* hand. Order does not matter for solving,
# so we count multisets: of the values 1 to 10 for the rule J=Q=K=10, and of 1 to 13 for
# the rule 11, 12, 13.

# %%
from itertools import combinations_with_replacement

from sftrl_lite.tasks.solver import solvable

for highest in (10, 13):
    every = list(combinations_with_replacement(range(1, highest + 1), 4))
    good = sum(solvable(numbers) for numbers in every)
    print(f"values 1 to {highest}: {good} of {len(every)} hands make 24")

# %% [markdown]
# The dealer redraws until a hand can be solved under the announced rule. So every
# problem has an answer, and a success rate of 100 % is possible.

# %% [markdown]
# ### Exercise 1.2: Exact arithmetic without fractions
#
# Difficulty ●●○○○ · 10 minutes
#
# The package keeps a value as a pair (numerator, denominator) of whole numbers, which is
# faster than `Fraction`. Write the subtraction and division of two such pairs. The
# result is reduced and its denominator is positive; a division by zero returns `None`.
# The last check compares you with `Fraction` on 500 random pairs.

# %%
from math import gcd


def combine_pairs(op: str, a: tuple[int, int], b: tuple[int, int]) -> tuple | None:
    """Exact ``a op b`` for op "-" or "/"; pairs are (numerator, denominator).

    >>> combine_pairs("-", (3, 1), (8, 3))
    (1, 3)
    """
    raise NotImplementedError


# %%
with exercise("1.2"):
    found = combine_pairs("-", (3, 1), (8, 3))
    assert isinstance(found, tuple), f"return a pair of whole numbers, not {found!r}"
    assert found == (1, 3), "3 - 8/3 is 1/3"
    assert combine_pairs("/", (8, 1), (1, 3)) == (24, 1), "8 / (1/3) is 24, reduced"
    assert combine_pairs("/", (1, 2), (-3, 4)) == (-2, 3), "keep denominators positive"
    assert combine_pairs("/", (5, 1), (0, 1)) is None, "nothing divides by zero"
    assert combine_pairs("-", (1, 2), (1, 6)) == (1, 3), "1/2 - 1/6 is 1/3, reduced"
    for dice in map(random.Random, range(500)):
        op, a, b = dice.choice("-/"), *(
            Fraction(dice.randint(-9, 9), dice.randint(1, 9)) for _ in range(2)
        )
        exact = a - b if op == "-" else a / b if b else None
        mine = combine_pairs(op, a.as_integer_ratio(), b.as_integer_ratio())
        right = None if exact is None else exact.as_integer_ratio()
        assert mine == right, f"({a}) {op} ({b}) is {right}, not {mine}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\frac pq - \frac rs = \frac{ps - rq}{qs}$ and $\frac pq \div \frac rs = \frac{ps}{qr}$.
# Then divide both parts by their `gcd`, and mind the sign.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from math import gcd
#
#
# def combine_pairs(op: str, a: tuple[int, int], b: tuple[int, int]) -> tuple | None:
#     (p, q), (r, s) = a, b
#     n, d = (p * s - r * q, q * s) if op == "-" else (p * s, q * r)
#     if d == 0:
#         return None
#     g = gcd(n, d) if d > 0 else -gcd(n, d)
#     return n // g, d // g
# ```
#
# </details>

# %% [markdown]
# ## 1.5 How often does the rule matter?
#
# Four ranks with replacement give $13^4$ equally likely hands. That is few enough to
# look at each under both rules.

# %%
from collections import Counter
from itertools import product

from sftrl_lite.tasks.cards import RANKS

census = Counter()
for cards in product(RANKS, repeat=4):
    face = any(card in FACES for card in cards)
    both = solvable(ID_RULE.values(cards)), solvable(OOD_RULE.values(cards))
    census[face, *both] += 1
print(census.total(), "hands")

# %% [markdown]
# Among the hands with a face card, under which rules is there a solution?

# %% tags=["rule-matters"]
import pandas as pd

face_hands = sum(n for (face, _, _), n in census.items() if face)
rows = {
    "both rules": census[True, True, True],
    "only J=Q=K=10": census[True, True, False],
    "only 11, 12, 13": census[True, False, True],
    "neither": census[True, False, False],
}
shares = pd.Series(rows) / face_hands
shares.map("{:.1%}".format).to_frame("share of face-card hands")

# %% [markdown]
# Of the *solvable* hands under the trained rule, how many hold no face card? **Predict
# before you run**: more or fewer than the 35 % of 1.3, which counted all hands?
#
# <details><summary>Answer</summary>
#
# More. Rule 10 turns every face card into a ten, and hands with several tens are often
# unsolvable: of the hands without a face card 86 % can make 24, of those with two 55 %,
# with three 10 %. Keeping the solvable hands therefore removes face cards.
#
# </details>

# %% tags=["no-rule-needed"]
id_hands = sum(n for (_, id_ok, _), n in census.items() if id_ok)
no_face = census[False, True, True] / id_hands
show(
    f"**{no_face:.1%}** of the problems under the trained rule hold no face card. "
    "They can be solved without reading the rule, under any rule."
)

# %% [markdown]
# That is more than the share of 1.3, because hands without face cards are solvable more
# often. The other problems do need *a* rule, but in training it is always the same one.
# A model can memorise it. Success in training does not show whether the sentence with
# the rule was read. That is the whole difficulty, and we return to it in 1.11.

# %% [markdown]
# ## 1.6 The question and the answer
#
# A problem is a `Hand`: cards, rule, target.

# %%
from sftrl_lite.tasks.general_points import prompt
from sftrl_lite.tasks.hands import Hand

hand = Hand(("A", "5", "7", "J"), ID_RULE)
print(prompt(hand))

# %% [markdown]
# Every model of this course, from 0.95 million to 11 billion parameters, reads exactly
# this text. Under the shifted rule three numbers change and nothing else:

# %%
from dataclasses import replace

shifted = replace(hand, rule=OOD_RULE)
print(prompt(shifted).splitlines()[0])

# %% [markdown]
# The answer has three parts, as in the paper: the cards as seen, what they count, and
# the formula.

# %%
from sftrl_lite.tasks.general_points import write_answer

print(write_answer(hand, "5*7-10-1"))

# %% [markdown]
# The middle part is worth its tokens. It shows whether the rule was *read* before any
# arithmetic begins. When a model fails, `number` tells us which half of the task it
# failed: [1, 5, 7, 10] under rule 11, 12, 13 is a misread rule, not a slip in a sum.

# %% [markdown]
# ## 1.7 The verifier
#
# A `GeneralPoints` task has the four methods that all tasks of this course share:
# `sample`, `prompt`, `verify`, `demonstration`.

# %%
from sftrl_lite.tasks.general_points import GeneralPoints

task = GeneralPoints(ID_RULE)
task.verify(hand, write_answer(hand, "5*7-10-1"))

# %% [markdown]
# A verdict carries a *kind*, and the kind fixes the reward. The values are the paper's
# (appendix A.3).

# %%
from sftrl_lite.tasks.verifier import REASONS, REWARDS

pd.DataFrame({"reward": dict(REWARDS), "meaning": dict(REASONS)})

# %% [markdown]
# The kinds are ranked, and reinforcement learning follows this ranking: write something
# legal, then use the right cards, then make 24. `misread` belongs to the picture tasks
# of later chapters; `over_budget` is added by the training loop when the last try has
# failed.
#
# Each answer gets one kind. Try an honest mistake of each.

# %% tags=["verdicts"]
def judge(formula, on=hand):
    verdict = task.verify(on, write_answer(on, formula))
    print(f"{formula:22} {verdict.kind:14} {verdict.reward:+g}")


for formula in ("5*7-10-1", "5*7-10+1", "5*7-11", "5*7-(10"):
    judge(formula)

# %% [markdown]
# ### A verifier has opponents
#
# Whatever the verifier pays for, training will produce, also by accident. So before any
# model does it, *we* play the opponent. A formula is text from outside. What if it is a
# program?

# %% tags=["attacks"]
attacks = {
    "a program": "__import__('os').getcwd()",
    "a power": "9**9**9**9",
    "a comment": "24#5*7-10-1",
    "the target itself": "24",
    "two digits joined": "(5+7)*(1 0)/5",
    "zero padding": "5*7-10-01",
    "deep parentheses": "(" * 90 + "5*7-10-1" + ")" * 90,
    "very long": "1+" * 10_000 + "1",
}
for name, formula in attacks.items():
    verdict = task.verify(hand, write_answer(hand, formula))
    print(f"{name:20} {verdict.kind:14} {verdict.reward:+g}")

# %% [markdown]
# Only one of these is solved, and rightly: ninety pairs of parentheses are silly but
# legal. Nothing is ever evaluated as Python. The formula becomes tokens, the tokens a
# small postfix program, and the program runs on pairs of whole numbers.
#
# The text *around* the formula can be attacked, too.

# %%
good = write_answer(hand, "5*7-10-1")
bad = write_answer(hand, "1+5+7+10")
texts = {
    "text around it": f"Let me see ... {good} That should do.",
    "first wrong, then right": bad + " No, wait. " + good,
    "first right, then wrong": good + " Or perhaps " + bad,
    "no JSON": "5*7-10-1=24",
    "a wrong right side": good.replace("=24", "=25"),
    "an empty answer": "",
}
for name, text in texts.items():
    verdict = task.verify(hand, text)
    print(f"{name:24} {verdict.kind:14} {verdict.reward:+g}")

# %% [markdown]
# The last complete answer counts. If any right answer among many counted, listing
# guesses would pay, and training would find that out within a few steps.

# %% [markdown]
# ### Exercise 1.3: One answer of each kind
#
# Difficulty ●●○○○ · 8 minutes
#
# Play the opponent yourself. For the hand **2 3 8 K** under J=Q=K=10, return one formula
# for each of four kinds: `solved`, `wrong_value`, `wrong_numbers`, `illegal`. The
# `illegal` one must use each card exactly once, in a formula whose syntax is fine.

# %%
def one_of_each() -> dict[str, str]:
    """A formula for each kind, for the cards 2 3 8 K that count 2, 3, 8, 10.

    >>> one_of_each()["wrong_value"]
    '2+3+8+10'
    """
    raise NotImplementedError


# %%
with exercise("1.3"):
    table, mine = Hand(("2", "3", "8", "K")), one_of_each()
    assert isinstance(mine, dict), f"return a dict, kind: formula, not {mine!r}"
    for kind in ("solved", "wrong_value", "wrong_numbers", "illegal"):
        formula = mine.get(kind)
        assert isinstance(formula, str), f"{kind}: a formula as text, not {formula!r}"
        found = GeneralPoints().verify(table, write_answer(table, formula)).kind
        assert found == kind, f"{formula} is {found}; {kind} was asked for"
    digits = "".join(c if c.isdigit() else " " for c in mine["illegal"]).split()
    assert sorted(digits) == ["10", "2", "3", "8"], "illegal: use 2, 3, 8, 10 once each"
    times = write_answer(table, mine["illegal"].replace("/", "*"))
    legal = GeneralPoints().verify(table, times).kind != "illegal"
    assert legal, "illegal: its syntax must be fine; what can no formula compute?"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Which operation of school arithmetic is forbidden for one particular value? Make that
# value from three of the cards: 2 + 8 is a start.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def one_of_each() -> dict[str, str]:
#     return {
#         "solved": "2+3*10-8",
#         "wrong_value": "2+3+8+10",
#         "wrong_numbers": "3*8",
#         "illegal": "3/(2+8-10)",
#     }
# ```
#
# </details>

# %% [markdown]
# ## 1.8 What the message gives away
#
# After a wrong answer the model may try again, and it reads the verifier's message
# first. How much does that message say? Four settings, one wrong answer:

# %% tags=["messages"]
from sftrl_lite.tasks.base import FEEDBACK

for mode in FEEDBACK:
    verdict = GeneralPoints(OOD_RULE, feedback=mode).verify(
        shifted, write_answer(shifted, "5*7-10-1")
    )
    print(f"{mode:7} {verdict.message!r}")

# %% [markdown]
# - `none` says nothing; the model only sees that it is asked again.
# - `binary` is the paper's printed message: one bit.
# - `reason` names the kind of mistake.
# - `leaky` is what the released code does. It prints the numbers *under the current
#   rule* that were not used.
#
# Look at the last line. The player used 10 for the jack; the message says 11. It has
# just announced the rule that the prompt was supposed to announce. A model can then
# succeed at the second try without ever having read the rule.

# %% [markdown]
# With the right numbers and a wrong value, the same mode gives away the beginning of a
# correct formula:

# %%
leaky = GeneralPoints(OOD_RULE, feedback="leaky")
verdict = leaky.verify(shifted, write_answer(shifted, "1+5*7-11"))
print(verdict.message)

# %% [markdown]
# The reward is the same in all four settings; only the words differ. Unless a chapter
# says otherwise we use `binary`, so that success under a shifted rule can only come from
# reading the prompt.

# %% [markdown]
# ### Exercise 1.4: Read the rule from the leak
#
# Difficulty ●●●○○ · 10 minutes
#
# Write the player that cheats with the leaky message. Given the cards and the message
# that follows an answer with every face card counted as 10, return what the *only* face
# card of the hand counts; return `None` when the message does not tell.

# %%
import re


def leaked_value(cards: tuple[str, ...], message: str) -> int | None:
    """What the one face card counts, from a leaky message.

    >>> leaked_value(("A", "5", "7", "J"), "Wrong. Numbers not used: [11]")
    11
    """
    raise NotImplementedError


# %%
with exercise("1.4"):
    for dice in map(random.Random, range(60)):
        face, values = dice.choice(FACES), dice.sample([*range(1, 10), 11, 12, 13], 3)
        cards = tuple(dice.sample([face, *dice.choices(RANKS[:9], k=3)], 4))
        table = Hand(cards, Rule(*values))
        answer = write_answer(table, "+".join(map(str, ID_RULE.values(cards))))
        task_ = GeneralPoints(table.rule, feedback="leaky")
        said = task_.verify(table, answer).message
        truth, found = table.rule.value(face), leaked_value(cards, said)
        assert found == truth and isinstance(found, int), (
            f"{' '.join(cards)}: {face} counts {truth}, not {found!r}: {said!r}"
        )
    silent = "You failed this trial because your formula is incorrect."
    assert leaked_value(cards, silent) is None, "the binary message tells nothing"
    begins = silent + " It begins well: 5*7"
    assert leaked_value(cards, begins) is None, "no number is said to be unused here"
    trap = silent + " Numbers not used: [5+6]"
    assert leaked_value(cards, trap) is None, "never evaluate a text: match its digits"

# %% [markdown]
# <details><summary>Hint</summary>
#
# The numbers of the message stand after the word "used", in square brackets. All plain
# cards were used, so whatever is missing must belong to the face card.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# import re
#
#
# def leaked_value(cards: tuple[str, ...], message: str) -> int | None:
#     found = re.search(r"not used: \[(\d+)\]", message)
#     return int(found[1]) if found else None
# ```
#
# </details>

# %% [markdown] tags=["conversation"]
# ## 1.9 An episode
#
# The paper calls it *sequential revision*. The input of try $t$ is the prompt followed
# by all earlier answers and messages:
#
# $$v^{\text{in}}_t = \left[\,v^{\text{in}}_0,\; v^{\text{out}}_1, v^{\text{ver}}_1,\;
# \dots,\; v^{\text{out}}_{t-1}, v^{\text{ver}}_{t-1}\right].$$
#
# The hand does not change. The conversation grows. That makes the game an environment,
# and environments have a standard interface: Gymnasium's.

# %%
import gymnasium as gym

import sftrl_lite.tasks.environments  # importing it registers the two games

env = gym.make("sftrl_lite/GeneralPointsOOD-v0", tries=3)
conversation, info = env.reset(seed=2)
problem = info["problem"]
print(problem.cards, "under rule", problem.rule.name, "count", problem.numbers)

# %% [markdown]
# The first try reads every face card as 10, as training taught it. The second reads the
# rule but guesses. The third calculates.

# %%
from sftrl_lite.tasks.hands import best_formula

as_trained = "+".join(map(str, ID_RULE.values(problem.cards)))
guess = "+".join(map(str, problem.numbers))
tries = [
    (as_trained, ID_RULE.values(problem.cards)),
    (guess, problem.numbers),
    (best_formula(problem), problem.numbers),
]
env.reset(seed=2)  # the same hand; an episode that is over takes no further answer
for formula, read in tries:
    answer = write_answer(problem, formula, read)
    conversation, reward, solved, out_of_tries, info = env.step(answer)
    print(f"{formula:14} {info['kind']:14} {reward:+g}  solved={solved}")

# %% [markdown]
# This is what a fourth try would have read, had one been needed:

# %%
print(conversation)

# %% [markdown]
# In this environment an episode ends when the hand is solved (*terminated*) or the tries
# are used up (*truncated*). The paper allows five tries.

# %% [markdown]
# ### Exercise 1.5: Play an episode
#
# Difficulty ●●●○○ · 12 minutes
#
# Assemble the game from the task's methods. The player is any function from the
# conversation so far to an answer. The turns are joined by an empty line, and an empty
# message is no turn. Stop at the first solved try. Return the turns and the episode's
# *discounted return*
#
# $$G = \sum_{t=1}^{T} \gamma^{\,t-1} r_t,$$
#
# where a last try that fails adds `task.over_budget`, a negative number, to its own reward. This is
# what reinforcement learning will maximise in chapter 4.

# %%
from collections.abc import Callable


def play(
    task: GeneralPoints, hand: Hand, player: Callable[[str], str], tries: int,
    gamma: float = 0.9,
) -> tuple[list[str], float]:
    """Turns (prompt, answer, message, ...) and discounted return of one episode.

    Solved at once: ``[prompt, answer, "Correct solution."]`` and 5.0.
    """
    raise NotImplementedError


# %%
with exercise("1.5"):
    for dice in map(random.Random, range(60)):
        tries, gamma, mode = dice.randint(1, 5), dice.random(), dice.choice(FEEDBACK)
        name = "sftrl_lite/GeneralPointsOOD-v0"
        env = gym.make(name, tries=tries, feedback=mode).unwrapped
        text, info = env.reset(seed=dice.randrange(99))
        table, exact, seen, heard, over = info["problem"], 0.0, [], [], False
        picks = dice.choices(("1+1", "1+", best_formula(table)), k=tries)
        script = [write_answer(table, formula) for formula in picks]
        while not over:
            seen.append(text)
            text, reward, solved, out, _ = env.step(script[len(seen) - 1])
            exact += gamma ** (len(seen) - 1) * (reward - out)
            over = solved or out

        def player(read, heard=heard, script=script):
            heard.append(read)
            assert len(heard) <= len(script), "one answer a try, and `tries` at most"
            return script[len(heard) - 1]

        found = play(env.task, table, player, tries, gamma)
        assert isinstance(found, tuple), f"return turns and return, not {found!r}"
        assert heard == seen, "until it is solved, the player reads all turns so far"
        assert "\n\n".join(found[0]) == text, "prompt, then each answer and its message"
        assert abs(found[1] - exact) < 1e-9, f"{tries} tries, gamma {gamma}: {exact}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `task.prompt(hand)` opens the conversation. `task.verify(hand, answer)` has a
# `reward`, a `message` and a flag `solved`. Only an episode that leaves the loop
# unsolved pays `task.over_budget`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from collections.abc import Callable
#
#
# def play(
#     task: GeneralPoints, hand: Hand, player: Callable[[str], str], tries: int,
#     gamma: float = 0.9,
# ) -> tuple[list[str], float]:
#     turns, total = [task.prompt(hand)], 0.0
#     for t in range(tries):
#         answer = player("\n\n".join(turns))
#         verdict = task.verify(hand, answer)
#         turns += [answer, verdict.message] if verdict.message else [answer]
#         total += gamma**t * verdict.reward
#         if verdict.solved:
#             return turns, total
#     return turns, total + gamma ** (tries - 1) * task.over_budget
# ```
#
# </details>

# %% [markdown]
# ## 1.10 Which hands are new?
#
# To test a player we need hands that it was not trained on. What makes a hand new? The
# obvious answer is other cards, and it is wrong. Under the trained rule **10 5 4 A**
# and **K 5 4 A** are one problem: the same numbers, hence the same formulas. A model
# that has memorised the first solves the second.
#
# How often does that happen? Deal 300 training hands, then look at *every* hand with
# other cards and ask whether its numbers, in any order, are those of a training hand.

# %% tags=["shared-numbers"]
every = [cards for cards in product(RANKS, repeat=4) if solvable(ID_RULE.values(cards))]


def leak(trained, tests) -> float:
    """Share of test hands that have the numbers of a training hand."""
    known = {tuple(sorted(hand.numbers)) for hand in trained}
    return sum(tuple(sorted(ID_RULE.values(c))) in known for c in tests) / len(tests)


for seed in range(3):
    trained = GeneralPoints(ID_RULE).draw(random.Random(seed), 300)
    known_cards = {tuple(sorted(hand.cards)) for hand in trained}
    tests = [cards for cards in every if tuple(sorted(cards)) not in known_cards]
    print(f"seed {seed}: of {len(tests)} hands with other cards "
          f"{leak(trained, tests):.0%} have the numbers of a training hand")

# %% [markdown]
# A player that had memorised its training hands, and nothing else, would solve that share
# of such a test. The score would be read as generalisation.
#
# The remedy is to split by what the answer depends on. Here that is the numbers under the
# trained rule, in any order. `reserved` decides by them, and by nothing else, whether
# cards belong to the tests. It does so before any training hand is dealt.

# %%
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.tasks.hands import reserved

tests = [cards for cards in every if reserved(cards)]
for seed in range(3):
    trained = general_points("train").draw(random.Random(seed), 300)
    print(f"seed {seed}: of {len(tests)} reserved hands "
          f"{leak(trained, tests):.0%} have the numbers of a training hand")

# %% [markdown]
# `general_points("train")` deals hands that are not reserved; `"id"`, `"ood-rule"` and
# every other split deal reserved ones. The seed, the scale and the number of training
# hands play no part, so a test hand stays one if somebody trains on ten times as many.
#
# Under the shifted rule the same cards are reserved. Each test hand there also holds a
# face card that counts 11, 12 or 13, a number that no training hand has.
#
# What does the split look like? Of all hands that the trained rule can solve:

# %%
parts = {}
for name, wanted in (("training", False), ("reserved for tests", True)):
    part = [cards for cards in every if reserved(cards) == wanted]
    parts[name] = {
        "hands": len(part),
        "different numbers": len({tuple(sorted(ID_RULE.values(c))) for c in part}),
        "hold a face card": sum(any(c in FACES for c in h) for h in part) / len(part),
    }
pd.DataFrame(parts).T.astype({"hands": int, "different numbers": int}).round(2)

# %% [markdown]
# One limit remains. 1 4 5 10 may be reserved while 2 4 5 10 is a training hand, and what
# helps with one may help with the other. That is what generalisation within the trained
# rule means. The split excludes recall, not similarity.

# %% [markdown]
# ### Exercise 1.6: Reserve a third
#
# Difficulty ●●●○○ · 10 minutes
#
# Write such a split yourself: decide from the cards alone whether they are test cards.
# Cards that count alike under J=Q=K=10 belong together, in any order; about a third of
# all combinations of numbers is for tests, whichever numbers they hold; and the same
# cards get the same answer on every call. The check goes through every hand.

# %%
def is_test(cards: tuple[str, ...]) -> bool:
    """Whether these cards are reserved for tests.

    ``("10", "5", "4", "A")`` and ``("A", "K", "5", "4")`` get the same answer.
    """
    raise NotImplementedError


# %%
with exercise("1.6"):
    shuffler, tens = random.Random(0), dict(J="10", Q="10", K="10")
    hands = list(combinations_with_replacement(RANKS, 4))
    for cards in hands:
        turned, alike = shuffler.sample(cards, 4), [tens.get(c, c) for c in cards]
        again = {is_test(cards) for _ in range(3)}
        assert again <= {True, False}, f"return True or False, not {again.pop()!r}"
        assert len(again) == 1, f"{cards}: three calls, two answers"
        assert is_test(tuple(turned)) == is_test(cards), f"{cards} in another order"
        assert is_test(tuple(alike)) == is_test(cards), f"{alike} counts like {cards}"
    plain = [cards for cards in hands if not any(c in FACES for c in cards)]
    share = sum(map(is_test, plain)) / len(plain)
    assert 0.25 < share < 0.42, f"{share:.0%} is not about a third"
    for rank in RANKS[:10]:
        some = [cards for cards in plain if rank in cards]
        share = sum(map(is_test, some)) / len(some)
        assert 0.15 < share < 0.55, f"of the hands with a {rank}, {share:.0%} are tests"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `ID_RULE.values(cards)`, sorted, is what the answer depends on. A generator whose seed is
# that text (`random.Random(str(...))`) gives the same number on every call.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def is_test(cards: tuple[str, ...]) -> bool:
#     numbers = sorted(ID_RULE.values(cards))
#     return random.Random(f"split/{numbers}").random() < 1 / 3
# ```
#
# </details>

# %% [markdown]
# ## 1.11 What memorising a rule looks like
#
# We now have everything for an experiment without any model. Three scripted players
# (nobody is trained here, so any hand will do):
#
# - the **reader** takes the numbers from the announced rule;
# - the **memoriser** counts every face card as 10, whatever is announced;
# - the **guesser** (our control) reads the rule, then writes a random formula.
#
# The first two are perfect solvers. They differ in one thing only.

# %%
from sftrl_lite.tasks.solver import random_formula


def reader(hand):
    return best_formula(hand)


def memoriser(hand):
    found = solutions(ID_RULE.values(hand.cards), hand.target)
    return min(found, key=len) if found else str(hand.target)


def guesser(hand):
    return random_formula(hand.numbers, random.Random(str(hand)))


# %% [markdown]
# Try them on our first hand before we count anything.

# %%
for player in (reader, memoriser):
    print(player.__name__, player(hand), "|", player(shifted))

# %% [markdown]
# They play at four tables, 1000 hands each: the training rule; the same rule where
# every hand holds a face card; the shifted rule, dealt like the training hands; and the
# paper's test, the shifted rule with at least one face card forced.

# %%
tables = {
    "trained rule": GeneralPoints(ID_RULE),
    "trained rule,\nface card forced": GeneralPoints(ID_RULE, face=True),
    "shifted rule": GeneralPoints(OOD_RULE),
    "shifted rule,\nface card forced": GeneralPoints(OOD_RULE, face=True),
}

# %%
from sftrl_lite.results.intervals import wilson

N, rng = 1000, random.Random(0)
dealt = {name: [t.sample(rng) for _ in range(N)] for name, t in tables.items()}
scores = {}
for name, table in tables.items():
    for player in (reader, memoriser, guesser):
        answers = (write_answer(h, player(h)) for h in dealt[name])
        hits = sum(
            table.verify(h, a).solved for h, a in zip(dealt[name], answers, strict=True)
        )
        scores[name, player.__name__] = wilson(hits, N)

# %% [markdown]
# `wilson` gives a share and its 95 % interval. It stays sensible at 0 and 100 %, where
# the textbook interval $\hat p \pm 1.96\sqrt{\hat p(1-\hat p)/n}$ has width zero: after
# $n$ failures in $n$ tries, its upper end is about $3.84/(n + 3.84)$.

# %%
print(wilson(0, N))
print(3.84 / (N + 3.84))

# %%
import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(8.6, 3.6))
looks = {"reader": ("#0072B2", "o"), "memoriser": ("#D55E00", "s"),
         "guesser": ("#767676", "v")}
ax.set(xticks=range(len(tables)), xticklabels=tables, ylim=(-6, 114))
ax.set(ylabel="hands solved, %", title="Only the shifted rule tells the two apart")
for shift, (who, (colour, marker)) in enumerate(looks.items(), start=-1):
    found = [scores[name, who] for name in tables]
    x = [i + 0.25 * shift for i in range(len(tables))]
    y = [100 * e.value for e in found]
    bars = [[100 * (e.value - e.low) for e in found],
            [100 * (e.high - e.value) for e in found]]
    label = who + (" (control)" if who == "guesser" else "")
    ax.errorbar(x, y, bars, fmt=marker, color=colour, capsize=4, label=label)
    for place, value in zip(x, y, strict=True):
        ax.text(place, value + 6, f"{value:.0f}", ha="center")
legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["players-figure"]
def per_cent(name, who):
    e = scores[name, who]
    return f"{100 * e.value:.1f} % [{100 * e.low:.1f}, {100 * e.high:.1f}]"


trained, _, plain, forced = tables
notebook.figure(
    fig,
    alt="Hands solved by three scripted players at four tables. "
    f"Trained rule: reader {per_cent(trained, 'reader')}, memoriser "
    f"{per_cent(trained, 'memoriser')}. Shifted rule with a face card: reader "
    f"{per_cent(forced, 'reader')}, memoriser {per_cent(forced, 'memoriser')}, "
    f"guesser {per_cent(forced, 'guesser')}.",
)
show(
    "**Finding.** Under the trained rule reader and memoriser solve "
    f"{per_cent(trained, 'reader')} and {per_cent(trained, 'memoriser')}. Under the "
    "shifted rule with a face card the reader solves "
    f"{per_cent(forced, 'reader')}, the memoriser {per_cent(forced, 'memoriser')}: "
    "no more than a player who guesses "
    f"({per_cent(forced, 'guesser')})."
)

# %% [markdown]
# Two details are worth a second look.
#
# Zero is exact, not small. A face card counted as 10 is a number that is not on the
# table, so the verdict is always `wrong_numbers`, even where the sum comes out at 24. A
# perfect memoriser and a model that has learned nothing are both at 0 %.
#
# And the third table would have misled us:

# %%
show(
    f"Without forcing a face card, the memoriser still solves "
    f"**{per_cent(plain, 'memoriser')}** under the shifted rule, on the hands where no "
    "rule matters. A reader of that number alone would report partial generalisation."
)

# %% [markdown]
# ## 1.12 A place to play
#
# Deal, type a formula, read the verdict. Can you get −1, −2 and −3 on one hand? Change
# `feedback` to `"leaky"` and win a hand without knowing the rule.
#
# <details><summary>One way to get all three</summary>
#
# Take the cards' own numbers and add them up: −1, unless the sum is 24. Leave a number
# out: −2. Leave a parenthesis open: −3.
#
# </details>

# %%
from sftrl_lite.course.widgets import verifier_table

verifier_table(GeneralPoints(OOD_RULE, face=True, feedback="reason"))

# %% [markdown]
# ## What it means, and what it does not
#
# - A success rate under the trained rule says nothing about whether the rule is read.
#   The OOD rate of hands *with a face card* does.
# - 0 % OOD is what a memorised rule looks like, at any level of arithmetic skill. In the
#   paper, SFT ends at 3.4 % on this test, from 11.5 % before it (Chu et al. 2025,
#   figure 6).
# - The converse does not hold. A low OOD rate alone does not show that a rule was
#   memorised: weak arithmetic gives the same number. We therefore also record which
#   numbers the model *read*.
# - A test is only as good as its split. Ours separates training and test hands by their
#   numbers; hands that are merely similar stand on both sides.
# - Our players are scripts. Nothing here shows that any training produces either of
#   them. That is what the next chapters measure.
# - Our verifier departs from the released code on purpose, in exactness, in one verdict
#   an answer and in what the message says, so rewards and messages agree with the
#   paper's text rather than with its code.

# %% [markdown]
# ## Further reading
#
# - [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161), section 4.1 and
#   appendix A: the game, the prompt, the rewards (20 minutes)
# - [The released code](https://github.com/LeslieTrue/SFTvsRL): compare its verifier with
#   ours (15 minutes)
# - [Debunk the Myth of SFT Generalization](https://arxiv.org/abs/2510.00237): the same
#   game, with a test that announces a new rule and accepts old answers (30 minutes)
# - [Gymnasium's environment interface](https://gymnasium.farama.org/api/env/): what
#   terminated and truncated mean (10 minutes)

# %% [markdown]
# **Next:** [2. The base model](02_the_base_model.ipynb), which can do some of this
# before anyone fine-tunes it.
