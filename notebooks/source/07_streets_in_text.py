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
# # 7. Streets in text
#
# A small model learns to follow instructions by compass points, by supervised
# fine-tuning (SFT) and by reinforcement learning (RL) from the same Init. Under left
# and right we measure, step by step and walk by walk, which model still uses the
# prompt's action vocabulary, and how much of a drop is due to the evaluation protocol,
# with intervals. The controls are varied words, random reward and Init at its best
# temperature.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Read a walk as a teacher-forced sequence of decisions, each with one right action.
# - Turn headings into words, modulo 360 degrees, and find the error of leaving that
#   out.
# - Tell a wrong action from an action in the wrong words, and a habit from both.
# - Compute accuracy per step, per walk, and per step *of a walk that ends at its first
#   failure*, and say which of these a published number is.
# - Say what RL can unlearn under one rule that helps under another.
# - Read street data in the released format without running what is in it.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup(task="virl-l")

# %% [markdown]
# ## One crossing, by hand
#
# The map shows a walk through Alderwick, a procedural city (`city.py`), with north at
# the top. The boards are landmarks.

# %% tags=["map-figure"]
import matplotlib.pyplot as plt

from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.routes import steps
from sftrl_lite.tasks.shipped_cities import load_city
from sftrl_lite.tasks.street_map import map_picture
from sftrl_lite.tasks.walks import Decision

task = navigation("id")
route = task.routes[0]
print(*task.instructions(route), sep="\n")
fig, axis = plt.subplots(figsize=(7, 5.6))
axis.imshow(map_picture(load_city(route.city), route))
axis.axis("off")
axis.set_title(f"A route of {len(route.legs)} legs is a list of turns and moves")
alt = f"A route of {len(route.legs)} legs through {route.city}, seen from above. "
notebook.figure(fig, alt=alt + " ".join(task.instructions(route)))

# %% [markdown]
# You have reached the first crossing. What do you do? Decide before you run the cell.

# %%
index = next(i for i, s in enumerate(steps(route)) if s.move == "turn" and i > 0)
here = Decision(route, index)
print("facing", round(here.step.heading), "degrees, you see:", here.step.observation)
print("instruction:", task.instructions(route)[here.step.instruction])
print("right:      ", task.action(here.step))

# %% [markdown]
# The instruction names the direction in two kinds of words. Five walkers answer; the
# prompt asks for compass points.

# %% tags=["five-walkers"]
from sftrl_lite.tasks.street_answers import REWARDS, write_answer

seen = task.observation(here.step)
told = task.instructions(route)[here.step.instruction]
other = navigation("ood-rule").action(here.step)
walkers = {
    "picks the compass point": task.demonstration(here),
    "picks the other word": write_answer(seen, told, other),
    "walks on": write_answer(seen, told, "forward()"),
    "walks on, sees nothing": write_answer("No landmarks nearby", told, "forward()"),
    "chats": "I would turn here.",
}
for name, answer in walkers.items():
    v = task.verify(here, answer)
    print(f"{name:24} {v.kind:13} {v.reward:+.1f}  {v.message}")

# %% [markdown]
# The second walker turns into the right street and is still wrong: the prompt did not
# offer that word. Its kind, `other_words`, is a turn in words that this prompt does not
# offer, into the right street or not; below we separate the two.
#
# ## A walk is teacher-forced
#
# As in the paper's released data, a walk is a fixed sequence of places, each with one right
# action: `turn_direction(x)`, `forward()` or `stop()`. A route is a list of legs; each leg
# begins with a turn, passes some places, and ends at the next crossing or at the
# destination.

# %%
import pandas as pd

rows = [(s.move, round(s.heading), s.instruction + 1, s.observation)
        for s in steps(route)]
pd.DataFrame(rows, columns=["move", "facing", "instruction", "seen"])

# %% [markdown]
# A wrong action does not move the walker: the model is asked again, and the second
# failure ends the walk. So every step that is reached has the same history, and each
# step can be asked separately, given the right actions before it (*teacher forcing*).
# One such step is a *decision*, the unit of training here.
#
# ### Exercise 7.1: the moves of a walk
#
# Difficulty ●○○○○ · 4 minutes
#
# Given how many places each leg passes, write the moves of the walk.

# %%
def moves_of(passed: list[int]) -> list[str]:
    """Moves from start to end: ``moves_of([1])`` is turn, forward, stop.

    Args:
        passed: for each leg the number of places between its ends.
    """
    raise NotImplementedError

# %%
import random

from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.routes import Leg, Route, steps

with notebook.exercise("7.1"):
    one = moves_of([1])
    assert isinstance(one, list), "a walk is a list of moves"
    assert one == ["turn", "forward", "stop"], "one leg, one place on the way"
    two = ["turn", "turn", "forward", "forward", "stop"]
    assert moves_of([0, 2]) == two, "two legs, the second passes two places"
    for r in navigation("id").routes[:20]:
        right = [s.move for s in steps(r)]
        mine = moves_of([len(leg.between) for leg in r.legs])
        assert mine == right, f"route {r.name}: {mine} instead of {right}"
    dice, nothing = random.Random(0), ((0.0, 0.0), None)
    for _ in range(50):
        passed = [dice.randrange(5) for _ in range(dice.randint(1, 9))]
        kept, legs = [*passed], [Leg(0, (0, 0), None, (nothing,) * n) for n in passed]
        right = [s.move for s in steps(Route("", "", (0, 0), 0, tuple(legs)))]
        mine = moves_of(passed)
        assert mine == right, f"{kept}: {mine} instead of {right}"
        assert passed == kept, "the walker still needs the list: do not change it"

# %% [markdown]
# <details><summary>Hint</summary>
#
# A leg is one turn and its forwards; a single stop ends the walk.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def moves_of(passed: list[int]) -> list[str]:
#     moves = []
#     for places in passed:
#         moves += ["turn"] + ["forward"] * places
#     return moves + ["stop"]
# ```
#
# </details>
#
# ## What the model reads
#
# This is one decision as a prompt: the task and the words on offer, the instructions,
# what was seen and done so far, and what is seen now.

# %%
print(task.prompt(here))
print("->", task.demonstration(here))

# %% [markdown]
# Here is the same decision under the shifted rule. Two lines differ.

# %% tags=["two-offers"]
shifted = navigation("ood-rule")
before = task.prompt(here).splitlines()
after = shifted.prompt(here).splitlines()
for a, b in zip(before, after, strict=True):
    if a != b:
        print("trained:", a[-90:], "\nshifted:", b[-90:], "\n")
print("->", shifted.demonstration(here))

# %% [markdown] tags=["angle"]
# The action vocabulary changes, and so do the past actions. The instructions do not:
# *"Turn right to face east"* contains the right answer under both rules. So the rule
# shift of V-IRL asks for **the other word of the same sentence**. No heading has to be
# computed and no map is needed; only the action vocabulary of the prompt has to be
# read.
#
# For a person that is an easy shift. The paper reports its largest drop on it.
#
# ## Words for headings
#
# Where do the words come from? A compass word names one of eight sectors around the
# heading $h'$ of the street to take. A relative word names the angle from where the
# walker faces, $h$, to $h'$:
#
# $$\delta = (h' - h + 180) \bmod 360 - 180 \;\in [-180, 180).$$
#
# Below −45 is left, from −45 to just below 0 slightly left, from 0 to 45 slightly right,
# above that right.
# Take a walker who faces 350 degrees and wants to go to 10: twenty degrees to the
# right.

# %%
from sftrl_lite.tasks.routes import ABSOLUTE, RELATIVE

for name, released in (("round the circle", False), ("released code", True)):
    word = RELATIVE.word(350, 10, released)
    print(f"{name:17} turn {word} to face {ABSOLUTE.word(350, 10)}")

# %% [markdown]
# The released code subtracts without the modulo: 10 − 350 = −340 is "below −45". Its
# instruction sends a walker left to face north, though north lies to the right. How
# often does that happen? We check all turns of the test routes of this city:

# %%
turns = [s for r in task.routes for s in steps(r) if s.move == "turn"]
wrong = [
    s for s in turns
    if RELATIVE.word(s.heading, s.onward) != RELATIVE.word(s.heading, s.onward, True)
]
notebook.show(
    f"{len(wrong)} of {len(turns)} turns ({len(wrong) / len(turns):.0%}) get another "
    "word from the released arithmetic. Ours is the corrected one; `official=True` "
    "repeats theirs."
)

# %% [markdown]
# Does that harm a model? Instruction and verifier use the same calculation, so a model
# that copies the word is rewarded. One that computes the angle from the headings is
# marked wrong.
#
# ### Exercise 7.2: left or right?
#
# Difficulty ●●○○○ · 6 minutes
#
# Write the relative word, modulo 360 degrees. The tests try every whole degree.

# %%
def relative_word(heading: float, onward: float) -> str:
    """``relative_word(350, 10)`` is "slightly right"; so are 0 and exactly 45.

    One of left, slightly left, slightly right, right; a U-turn goes left.
    """
    raise NotImplementedError

# %%
from sftrl_lite.tasks.routes import RELATIVE

with notebook.exercise("7.2"):
    assert isinstance(relative_word(350, 10), str), "a word is a str"
    assert relative_word(350, 10) == "slightly right", "20 degrees across north"
    assert relative_word(10, 350) == "slightly left", "and back"
    assert relative_word(90, 180) == "right", "from east to south"
    for h in range(0, 360, 15):
        for onward in range(360):
            word, right = relative_word(h, onward), RELATIVE.word(h, onward)
            assert word == right, f"from {h} to {onward}: {word} instead of {right}"
    assert relative_word(720.5, 0.75) == "slightly right", "fractions, any heading"
    dice = random.Random(0)
    for _ in range(500):
        h, onward = dice.uniform(-720, 720), dice.uniform(-720, 720)
        word, right = relative_word(h, onward), RELATIVE.word(h, onward)
        assert word == right, f"from {h:.1f} to {onward:.1f}: {word} instead of {right}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `%` of Python is never negative: shift by 180, take the remainder, shift back.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def relative_word(heading: float, onward: float) -> str:
#     angle = (onward - heading + 180) % 360 - 180
#     if angle < 0:
#         return "left" if angle < -45 else "slightly left"
#     return "right" if angle > 45 else "slightly right"
# ```
#
# </details>
#
# ## Rewards
#
# As in the paper (appendix B.3): +1 for the right action, −1 for a wrong one, −1 when
# the budget of two tries at a step is used up, −1.5 for a wrong action with a wrong
# observation.

# %%
from sftrl_lite.tasks.registry import budget

tries = budget("virl-l", scale.rl.tries)
print(dict(REWARDS), "tries at a step:", tries)

# %% [markdown]
# ## Steps and walks
#
# How good is a walker? There are at least three numbers.
#
# - **per step**: of all answers to all decisions, the share that is right. Each decision
#   is asked with the right history.
# - **per walk**: the share of walks in which every step was solved within its tries.
# - **per step of the walk**: like the first, but a walk ends at its first failure, and
#   later steps are never asked. That is what the paper's evaluation does, since it
#   plays whole walks: two failures at a step end the walk.
#
# The third number needs care, because of how walks begin:

# %%
from collections import Counter

print("first moves:", dict(Counter(steps(r)[0].move for r in task.routes)))
print("all moves:  ", dict(Counter(s.move for r in task.routes for s in steps(r))))

# %% [markdown]
# The first action of *every* walk is a turn, in this city and in the paper's data
# alike. Imagine a walker that has lost only the words for turns and is perfect at
# `forward()` and `stop()`.
#
# **Predict, then run.** Write down its three numbers: per step, per step of the walk,
# and per walk. You need only the counts above.

# %% tags=["protocol"]
from types import SimpleNamespace

from sftrl_lite.tasks.walks import decisions, route_success


def act(right: bool, n: int) -> SimpleNamespace:
    """What comes of a decision: right at once, or wrong n times."""
    verdict = SimpleNamespace(solved=right)
    turn = SimpleNamespace(verdict=verdict)
    return SimpleNamespace(turns=[turn] * (1 if right else n))

walk = decisions(task.routes)
no_turns = route_success(walk, [act(d.step.move != "turn", tries) for d in walk])
for name in ("per_step", "walk_per_step", "route"):
    hits, n = no_turns[name]
    print(f"{name:14} {hits:4} of {n:4} = {hits / n:.1%}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Per step, use the counts of all moves: the walker is right at every `forward` and
# `stop` and gives two wrong answers at every turn. Both other numbers are zero, because
# the first turn ends every walk.
#
# </details>
#
# The same walker has two accuracies. The paper reports 80.8 % per step for Init, 91.8 %
# for RL and 1.3 % for SFT (section 5.1, figure 6). A walker that fails at the first
# turn cannot have more than a few per cent, whatever it can do at the other steps. So
# 1.3 % shows that turns are lost. It cannot show that anything *else* is. We measure
# both.
#
# ### Exercise 7.3: count a walk
#
# Difficulty ●●○○○ · 6 minutes
#
# Given one walk as lists of tries (True: right), count right answers and all answers up
# to the walk's end. A step may allow any number of tries.

# %%
def walk_account(walk: list[list[bool]]) -> tuple[int, int]:
    """(right answers, answers) until the first step without a right one.

    ``walk_account([[False, False], [True]])`` is (0, 2): the second step is not asked.
    """
    raise NotImplementedError

# %%
from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.walks import decisions, route_success

with notebook.exercise("7.3"):
    assert walk_account([[False, False], [True]]) == (0, 2), "over at the first step"
    assert walk_account([[True], [True]]) == (2, 2), "a perfect walk"
    assert walk_account([[False, True], [True]]) == (2, 3), "a second try is an answer"
    account = [[True], [False, False], [True], [True]]
    counted = walk_account(account)
    assert counted == (1, 3), "the failed step counts, what follows does not"
    assert len(account) == 4, "the account is still needed: do not change it"
    there = navigation("id").routes
    for seed in range(100):
        dice = random.Random(seed)
        asked = decisions([dice.choice(there)])
        account = [[False] * dice.choice((0, 0, 0, 1, 2)) + [True] for _ in asked]
        if seed % 4:
            account[dice.randrange(len(asked))] = [False] * dice.randint(1, 3)
        said = [[SimpleNamespace(solved=x) for x in tries] for tries in account]
        came = [SimpleNamespace(turns=[SimpleNamespace(verdict=v) for v in verdicts])
                for verdicts in said]
        right, mine = route_success(asked, came)["walk_per_step"], walk_account(account)
        assert mine == right, f"{account}: {right}, not {mine}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Add up each step's tries first, then leave the loop if none was right.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def walk_account(walk: list[list[bool]]) -> tuple[int, int]:
#     right = answers = 0
#     for tries in walk:
#         right, answers = right + sum(tries), answers + len(tries)
#         if not any(tries):
#             break
#     return right, answers
# ```
#
# </details>
#
# ### Exercise 7.4: what the protocol does to a skill
#
# Difficulty ●●●○○ · 10 minutes
#
# With one try at a step and probability $p_i$ of being right at step $i$, step $i$ is
# reached with probability $\prod_{j<i} p_j$. Compute the accuracy over all steps,
# $\frac{1}{n}\sum_i p_i$, and that of the walk: expected right answers over expected
# answers. When do the two agree?

# %%
def two_accuracies(moves: list[str], skill: dict[str, float]) -> tuple[float, float]:
    """(over all steps, of the walk that ends at its first failure), one try each.

    ``two_accuracies(["turn", "stop"], {"turn": 0.0, "stop": 1.0})`` is (0.5, 0).
    """
    raise NotImplementedError

# %%
from itertools import product
from math import prod

with notebook.exercise("7.4"):
    lost = dict(turn=0.0, forward=1.0, stop=1.0)
    assert two_accuracies(["turn", "stop"], lost) == (0.5, 0), "out at the first turn"
    even = dict(turn=0.5, forward=0.5, stop=0.5)
    a, b = two_accuracies(["turn", "forward", "forward", "stop"], even)
    assert abs(a - 0.5) < 1e-9 and abs(b - 0.5) < 1e-9, "equal skills: they agree"
    late = two_accuracies(["forward", "forward", "turn"], lost)
    assert abs(late[0] - late[1]) < 1e-9, "a turn at the end hides nothing"
    a, b = two_accuracies(["turn", "forward"], dict(turn=0.1, forward=0.9))
    assert abs(b - 0.19 / 1.1) < 1e-9, "right 0.1 + 0.1 * 0.9, asked 1 + 0.1"
    for seed in range(30):
        dice = random.Random(seed)
        skill = {move: round(dice.random(), 2) for move in even}
        moves = ["turn", *dice.choices(list(skill), k=dice.randint(1, 5))]
        p, right, asked = [skill[m] for m in moves], 0.0, 0.0
        for walk in product((True, False), repeat=len(p)):  # all that can come of it
            weight = prod(q if hit else 1 - q for q, hit in zip(p, walk, strict=True))
            n = (*walk, False).index(False)  # right answers before the first failure
            right, asked = right + weight * n, asked + weight * min(n + 1, len(p))
        due, mine = (sum(p) / len(p), right / asked), two_accuracies(moves, skill)
        told = f"{moves}, {skill}: over all, until the first failure {due}, not {mine}"
        assert max(abs(x - y) for x, y in zip(mine, due, strict=True)) < 1e-9, told

# %% [markdown]
# <details><summary>Hint</summary>
#
# Carry `reach`, the probability of getting here: add `reach` to the answers, `reach * p` to
# the right ones, then multiply it by `p`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def two_accuracies(moves: list[str], skill: dict[str, float]) -> tuple[float, float]:
#     reach, right, answers = 1.0, 0.0, 0.0
#     for move in moves:
#         answers += reach
#         reach *= skill[move]
#         right += reach
#     return sum(skill[m] for m in moves) / len(moves), right / answers
# ```
#
# They agree when all steps are equally hard, or when the hard ones come last. Here the
# hard one comes first.
#
# </details>
#
# ### Exercise 7.5: play a whole walk
#
# Difficulty ●●●○○ · 15 minutes
#
# So far the walks were lists. Now write the protocol with the task's own methods:
# `task.prompt(decision)` is the question at a step, `task.verify(decision, answer)`
# judges (`solved`, `reward`, `message`). The tests let the same walkers play in the
# package's environment, with other numbers of tries and other messages, and compare
# every count and every text that was read.

# %%
from collections.abc import Callable

from sftrl_lite.tasks.navigation import Navigation
from sftrl_lite.tasks.routes import Route

Walker = Callable[[str], str]  # reads the conversation at a step, returns an answer


def play_walk(
    task: Navigation, route: Route, walker: Walker, tries: int
) -> tuple[bool, int, int, float]:
    """Play a walk to its end: (arrived, right answers, answers, points).

    At each step the walker reads the prompt; at the next try the prompt, its answer
    and the verifier's message, joined by empty lines. After ``tries`` wrong answers at
    a step the walk is over, and ``task.over_budget``, which is negative, is added.
    """
    raise NotImplementedError

# %%
from functools import partial

from sftrl_lite.tasks.environments import NavigationEnv

with notebook.exercise("7.5"):
    for seed in range(40):
        most, skill = 1 + seed % 3, (0.3, 0.9, 1)[seed // 3 % 3]
        split, kind = ("id", "ood-rule")[seed % 2], ("reason", "binary")[seed // 2 % 2]
        env = NavigationEnv(split, most, feedback=kind)
        text, info = env.reset(seed=seed)
        judge, way, heard, read = env.task, info["problem"].route, [], []
        right = {judge.prompt(d): judge.demonstration(d) for d in decisions([way])}
        def say(log: list, text: str, right: dict = right, skill=skill) -> str:
            log.append(text)
            chance, bad = random.Random(text), ("Go on.", '{"action": "stop()"}')
            good = right[text.split("\n\n")[0]]
            return good if chance.random() < skill else chance.choice(bad)
        hits, points, arrived, lost = 0, 0.0, False, False
        while not arrived and not lost:
            text, reward, arrived, lost, _ = env.step(say(heard, text))
            hits, points = hits + (reward > 0), points + reward - lost  # the budget
        mine = play_walk(judge, way, partial(say, read), most)
        n, due = min(len(read), len(heard)), (arrived, hits, len(heard), points)
        assert read[:n] == heard[:n], "a try reads the prompt and what was said since"
        assert mine == due, f"at most {most} tries: {due}, not {mine}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two loops: over `decisions([route])`, and over the tries at a step. A `for` loop's `else`
# runs where no `break` was met.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def play_walk(
#     task: Navigation, route: Route, walker: Walker, tries: int
# ) -> tuple[bool, int, int, float]:
#     right, answers, points = 0, 0, 0.0
#     for decision in decisions([route]):
#         turns = [task.prompt(decision)]
#         for _ in range(tries):
#             answer = walker("\n\n".join(turns))
#             verdict = task.verify(decision, answer)
#             turns += [answer, verdict.message]
#             answers, points = answers + 1, points + verdict.reward
#             if verdict.solved:
#                 right += 1
#                 break
#         else:
#             return False, right, answers, points + task.over_budget
#     return True, right, answers, points
# ```
#
# </details>
#
# ## The base
#
# Init is a tiny model, pre-trained on a synthetic corpus of walks through two hundred
# procedural cities (`corpus.py`): first a book of correct walks, then homework by students
# with a *habit*. A student who sees a landmark on the left stops there, with the
# probabilities `careless` at the first and at the second answer; on the right less often
# (`elsewhere`, a fraction of it). Turns are asked for in five vocabularies, equally often:

# %%
from sftrl_lite.training.corpus import CITIES, STREET_HOMEWORK, WORDS

print(CITIES, "cities;", STREET_HOMEWORK)
for words in WORDS:
    print(f"{words.name:9}", ", ".join(words.words[:4]), "...")

# %% [markdown]
# So Init knows left and right, as every language model does. In *fine-tuning* only one
# vocabulary is asked for. (For the cards, by contrast, the shifted rule was left out of
# the corpus as well: [chapter 2](02_the_base_model.ipynb).)
#
# Fine-tuning uses 60 routes of Alderwick. The test routes are different, and none has
# the instructions of a training route. The same walks are tested under both rules.

# %%
from sftrl_lite.models.loading import load
from sftrl_lite.runs.recorder import held_out, train_hands

base = scale.base_for("virl-l")
train = train_hands(navigation("train"), scale.sft.hands, seed=0)
rules = {"absolute": task, "relative": shifted}
tests = held_out(task, scale.eval_episodes // 2, 0)
print(f"{len(train)} training decisions on {len({d.route for d in train})} routes")
print(f"{len(tests)} test decisions, all of {len({d.route for d in tests})} others")

# %% [markdown]
# `evaluate` plays each decision, with up to two tries. Since all steps of a walk are
# asked, it also computes the walk's measures: `route` and `walk_per_step`. `read` is
# the share of first answers that state the right instruction and observation. The paper
# samples at temperature 0.6 with top_p 0.9, and so do we. We add greedy decoding and
# plain sampling (temperature 1), so that Init can be compared at its best.

# %%
from sftrl_lite.training.evaluate import evaluate

DECODINGS = {"paper": (0.6, 0.9), "greedy": (0.0, 1.0), "T 1": (1.0, 1.0)}
limit = dict(tries=tries, max_new_tokens=scale.rl.max_new_tokens)
init, tokenizer = load(base)
found, played = {}, {}

def measure(name: str, model) -> None:
    """Ask all test decisions under both rules, at three decodings."""
    for rule, judge in rules.items():
        for way, (temperature, top_p) in DECODINGS.items():
            chosen = limit | dict(temperature=temperature, top_p=top_p)
            result = evaluate(model, tokenizer, judge, tests, **chosen)
            found[name, rule, way], played[name, rule, way] = result

def overview(*names: str) -> pd.DataFrame:
    """Right answers per step by decoding, and what else was measured, in per cent."""
    lines = {}
    for rule, name in ((rule, name) for rule in rules for name in names):
        line = {f"per step, {w}": found[name, rule, w]["per_step"] for w in DECODINGS}
        for metric in ("walk_per_step", "route", "read", "format_error"):
            line[f"{metric}, paper"] = found[name, rule, "paper"][metric]
        lines[rule, name] = {k: 100 * e.value for k, e in line.items()}
    return pd.DataFrame(lines).T.round(1)

# %%
measure("Init", init)
overview("Init")

# %% [markdown]
# ### The habit, in Init's own answers
#
# So much for the corpus. What has Init learned from it? We count first answers `stop()`
# at decisions where stopping is wrong, by what is seen there: under both rules, and in
# nine other cities.

# %% tags=["habit"]
from sftrl_lite.tasks.base import read_answer


def wrong_stops(decisions, episodes) -> dict[str, float]:
    """Share of first answers that stop where they should not, by what is seen."""
    stops = {"left": [], "right": [], "nothing": []}
    for decision, episode in zip(decisions, episodes, strict=True):
        if decision.step.move != "stop":
            said = read_answer(episode.turns[0].answer, "action") or {}
            side = (decision.step.landmark or "nothing").split()[-1]
            stops[side].append(said.get("action") == "stop()")
    rates = {side: (sum(hits), len(hits)) for side, hits in stops.items()}
    return {side: k / n if n else float("nan") for side, (k, n) in rates.items()}

away = navigation("ood-visual")
abroad = held_out(away, scale.eval_episodes // 2, 0)
there = evaluate(init, tokenizer, away, abroad, **limit)[1]
lines = {f"{rule} words": wrong_stops(tests, played["Init", rule, "paper"])
         for rule in rules}
lines["absolute words, nine cities"] = wrong_stops(abroad, there)
greedy = wrong_stops(tests, played["Init", "absolute", "greedy"])
lines["absolute words, greedy"] = greedy
(100 * pd.DataFrame(lines).T).round(1)

# %% [markdown]
# Compare the rows. A habit that is the same in every vocabulary and in every city does harm
# in all of them, so unlearning it under one rule can help under the others. The words for
# turns are different: as long as only compass points are asked for, a model that always uses
# them loses no reward.
#
# ## SFT and RL from one Init
#
# Both methods use the scale's settings with two fifths of its compute, the same
# decisions with compass points only, and equal training compute by the paper's count.
# SFT imitates the right answer of each decision; RL gets the verifier's reward and
# message. During training little is measured. Afterwards all models are evaluated
# alike.

# %%
from sftrl_lite.files import ROOT
from sftrl_lite.runs.headline import side_by_side
from sftrl_lite.runs.run_config import Run

options = dict(task="virl-l", scale=scale.name, points=1, splits=("id",))
options |= dict(tflop=0.4 * scale.compute("virl-l"), pass_samples=0)
options |= dict(final_episodes=scale.eval_episodes // 5, curve_episodes=0)
plan = {method: Run(method, **options) for method in ("sft", "rl-ppo")}
folder = ROOT / "runs" / "chapter-7" / plan["sft"].hash
first_two = side_by_side(plan, folder, "chapter-7")

# %% [markdown]
# Three more runs follow. *SFT, pushed* has ten times the learning rate at the same
# compute: does what SFT keeps or loses depend on the rate? *Varied words, pushed* is
# SFT at that rate on the same decisions, but the action vocabulary varies from one to
# the next (never the shifted one): if SFT as such destroyed the choice of words, this
# run would lose it, too. *RL, random reward* is the same PPO on the same decisions with
# a random reward of mean zero: its changes are not due to the verifier.

# %%
more = {
    "pushed": Run("sft", lr=10 * scale.sft.lr, **options),
    "varied": Run("sft-varied", lr=10 * scale.sft.lr, **options),
    "rl-random": Run("rl-random", **options),
}
found_there = side_by_side(more, folder, "chapter-7")
high = found_there["config_hash"] == more["pushed"].hash
found_there.loc[high, "method"] = "sft-pushed"
measured = pd.concat([first_two, found_there])

# %% [markdown]
# The next table shows the cost. Minutes are the wall-clock time of a run, evaluations
# included, while the other runs of its cell ran beside it on two cores. A second call
# of those cells only reads the folder. Equal FLOPs are not equal numbers of updates.

# %%
from sftrl_lite.results.tables import cost_table

cost_table(measured)

# %%
from tqdm.auto import tqdm

names = {"SFT": "sft", "RL": "rl-ppo", "SFT, pushed": "pushed"}
names |= {"varied words, pushed": "varied", "RL, random reward": "rl-random"}
for name, part in tqdm(names.items()):
    measure(name, load(folder / part / "model")[0])
overview("Init", *names)

# %%
from sftrl_lite.results.intervals import difference


def against(name: str, rule: str, metric: str, best: bool = False) -> str:
    """A model at the paper's decoding minus Init there, or at its best, in points."""
    init = {way: found["Init", rule, way][metric] for way in DECODINGS}
    other = max(init.values(), key=lambda e: e.value) if best else init["paper"]
    mine = found[name, rule, "paper"][metric]
    pairs = [(round(e.value * e.n), e.n) for e in (mine, other)]
    gap = difference(*pairs[0], *pairs[1])
    clear = "above" if gap.value > 0 else "below"
    sign = "level" if gap.low <= 0 <= gap.high else clear
    ends = f"[{100 * gap.low:+.0f}, {100 * gap.high:+.0f}]"
    return f"{100 * gap.value:+.0f} {ends} ({sign})"

for rule in rules:
    for name in names:
        said = f"{against(name, rule, 'per_step')} per step against Init, "
        said += f"{against(name, rule, 'per_step', best=True)} against Init at its best"
        print(f"{rule:8} {name:20} {said}")

# %% [markdown]
# Points with 95 % intervals over the answers of this one seed. RL is ahead of Init in the
# sense of this course only if it is ahead of Init *at its best decoding*: a gain at one
# temperature alone is sharpening.
#
# Has the habit disappeared, and where?

# %%
left = {n: {f"{rule} words": 100 * wrong_stops(tests, played[n, rule, "paper"])["left"]
            for rule in rules} for n in ("Init", *names)}
for name, row in left.items():
    said = ", ".join(f"{rule} {share:.0f} %" for rule, share in row.items())
    print(f"{name:20} stops wrongly at a landmark on the left: {said}")

# %% [markdown]
# Read each row as a pair. Only absolute words were trained. Where the second number
# follows the first, the unlearning under compass points transfers to left and right.
#
# ## The figure of this chapter
#
# The figure shows accuracy by kind of step, over all steps, and by the walk's protocol,
# at the paper's decoding. Bars are Wilson 95 % intervals over answers; they treat the
# answers of one walk as independent and say nothing about another seed. A model that
# has lost only the vocabulary drops at turns under the relative rule and nowhere else.

# %%
from sftrl_lite.results.intervals import wilson

KINDS = ("turn", "forward", "stop")

def by_kind(episodes) -> dict[str, tuple[int, int]]:
    """(right answers, answers) for each kind of step, and in both protocols."""
    counts = {}
    for kind in KINDS:
        mine = [e.turns for d, e in zip(tests, episodes, strict=True)
                if d.step.move == kind]
        right = sum(t.verdict.solved for turns in mine for t in turns)
        counts[kind] = right, sum(map(len, mine))
    whole = route_success(tests, episodes)
    counts["all steps"] = whole["per_step"]
    return counts | {"until failure": whole["walk_per_step"]}

counted = {(n, rule): by_kind(episodes)
           for (n, rule, way), episodes in played.items() if way == "paper"}

# %%
from sftrl_lite.results import plots
from sftrl_lite.results.dot_plots import draw_dots

STYLES = {"Init": ("#222222", "*")}
looks = names | {"SFT, pushed": "sft-pushed", "varied words, pushed": "sft-varied"}
STYLES |= {name: plots.LOOKS[method][:2] for name, method in looks.items()}

def panel(axis, rule: str) -> None:
    """One rule: groups are kinds of steps and protocols, dots are models."""
    found = {(kind, name): wilson(hits, n) for name in STYLES
             for kind, (hits, n) in counted[name, rule].items()}
    draw_dots(axis, found, STYLES)
    axis.axvline(2.5, color="#999999", lw=1, ls=":")
    axis.set_title(f"{rule} words")

# %% tags=["steps-figure"]
def in_words(rule: str) -> str:
    """What is drawn in one panel."""
    lines = []
    for name in STYLES:
        row = counted[name, rule].items()
        lines.append(f"{name} " + ", ".join(f"{k} {a / b:.0%}" for k, (a, b) in row))
    return f"{rule} words: " + "; ".join(lines) + ". "

fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
for axis, rule in zip(axes, rules, strict=True):
    panel(axis, rule)
axes[0].set_ylabel("right answers")
plots.legend_below(fig)
lost = ", ".join(f"{n} {against(n, 'relative', 'per_step')}" for n in names)
told = f"Under relative words, points per step against Init: {lost}. "
turns = {n: hits / of for n in STYLES for hits, of in [counted[n, "relative"]["turn"]]}
fig.suptitle(f"Lowest at turns under relative words: {min(turns, key=turns.get)}")
notebook.figure(fig, alt=told + "Right answers: " + "".join(map(in_words, rules)))

# %% [markdown]
# How much of a fall is due to the protocol? We count the same answers in both ways:

# %%
lines = {}
for name in STYLES:
    row = {k: 100 * a / b for k, (a, b) in counted[name, "relative"].items()}
    row["lost to the protocol"] = row["all steps"] - row["until failure"]
    lines[name] = row
protocol = pd.DataFrame(lines).T
worst = protocol["lost to the protocol"].idxmax()
row = protocol.loc[worst]
notebook.show(
    f"Under relative words the protocol takes most from {worst}: per step "
    f"{row['all steps']:.0f} % over all steps, {row['until failure']:.0f} % until the "
    f"first failure. At turns it is right in {row['turn']:.0f} %, at forward in "
    f"{row['forward']:.0f} % (one seed)."
)
protocol.round(1)

# %% [markdown]
# ## Which model still uses the prompt's vocabulary?
#
# Look at the first answers to turns under the relative rule. When a turn uses words that
# the prompt does not offer, are they the trained ones, and do they name the right street? A
# stop here is the habit.

# %% tags=["words"]
import json


def turn_word(decision, episode) -> tuple[str, str]:
    """(whose words the first answer uses, what is wrong with it) at a turn."""
    said = (read_answer(episode.turns[0].answer, "action") or {}).get("action", "")
    word = str(said).removeprefix("turn_direction(").removesuffix(")")
    for words, rule in ((RELATIVE, "relative"), (ABSOLUTE, "absolute")):
        if word in words.words:
            right = said == rules[rule].action(decision.step)
            return f"{words.name} words", "right street" if right else "wrong street"
    return "no such turn", said if said in ("stop()", "forward()") else "other"

used = {}
for name in STYLES:
    pairs = zip(tests, played[name, "relative", "paper"], strict=True)
    said = Counter(turn_word(d, e) for d, e in pairs if d.step.move == "turn")
    used[name] = pd.Series({key: 100 * n / said.total() for key, n in said.items()})
pd.DataFrame(used).fillna(0).sort_index().round(1)

# %% [markdown]
# Absolute words with the *right street* carry out the right instruction in the trained
# vocabulary instead of the prompt's. The paper shows one such answer of SFT,
# `turn_direction(northwest)` under the relative rule (its figure 21). Compare RL with
# RL on a random reward: a loss of both is not due to the verifier. Here is such an
# answer of SFT, or of pushed SFT, if there is one:

# %%
old = {}
for name in STYLES:
    pairs = zip(tests, played[name, "relative", "paper"], strict=True)
    old[name] = [(d, e) for d, e in pairs if d.step.move == "turn"
                 and turn_word(d, e)[0] == "absolute words"]
for d, e in (old["SFT"] + old["SFT, pushed"])[:1]:
    print("offer:", shifted.prompt(d).splitlines()[0].rpartition(" x is ")[2])
    print("told: ", shifted.instructions(d.route)[d.step.instruction])
    print("said: ", e.turns[0].answer)
print("turns in the trained words:", {name: len(pairs) for name, pairs in old.items()})

# %% [markdown]
# ## Recorded, with more seeds
#
# One seed is not a result. These are the recorded runs of `results/ledger.csv` at full
# length, with SFT at a higher rate and more controls. The intervals include the noise of
# seeds and of decisions. `Init at its best temperature` was picked after seeing the results,
# which favours Init.

# %%
from sftrl_lite.results import temperature_plots
from sftrl_lite.results.report import missing, recorded
from sftrl_lite.results.tables import STREETS, gap_table, main_table

parts = ["virl-l-headline", "virl-l-push", "virl-l-controls"]
rows = recorded(*parts)
rows = rows[rows["scale"] == scale.name]
for line in missing(parts, rows):
    print(line)
if len(rows):
    display(main_table(rows, STREETS))

# %% [markdown]
# The next table shows differences at the end, in points per step under relative words,
# paired by seed: over all steps, and until the walk's first failure. If an interval
# contains 0, the sign is open.

# %%
if parts[0] in set(rows["experiment"]):
    display(gap_table(rows, {"ood-rule": "per_step"}))
    display(gap_table(rows, {"ood-rule": "walk_per_step"}))

# %% tags=["temperature-figure"]
if parts[0] in set(rows["experiment"]):
    drawn = dict(metric="per_step", split="ood-rule", methods=("rl-ppo", "sft"))
    alt = temperature_plots.temperature_alt(rows, **drawn)
    fig = temperature_plots.temperature_curve(rows, ylabel="right per step", **drawn)
    said = plots.finding(rows, "per_step", "ood-rule", drawn["methods"])
    fig.axes[0].set_title(f"relative words: {said}", fontsize=10)
    notebook.figure(fig, alt=alt)

# %% [markdown]
# What the claims of chapter 13 say about streets in text, before and after Holm's correction
# for the number of claims, and what the runs cost:

# %%
from sftrl_lite.results.claims import claims_table

shown = ["claim", "measured here", "seeds", "verdict", "after Holm"]
if len(rows):
    claims = claims_table()
    display(claims.loc[claims["chapter"] == 7, shown].set_index("claim"))
    display(cost_table(rows))

# %% [markdown]
# ### The paper's numbers
#
# | | Init | RL | SFT |
# | --- | --- | --- | --- |
# | V-IRL-L, relative words, per step (figure 6) | 80.8 % | 91.8 % | 1.3 % |
#
# These are models of 11 B parameters, one run each, on a thousand routes of New York.
# The captions call the number per-step accuracy; the released evaluation plays 48 walks
# and ends each at its first failure, so the column *per step until the walk fails* is
# the one to compare.
#
# ## The real data
#
# The paper's routes (New York, 2.2 GB with photographs; nine cities, New York among
# them, 59 MB) are on a public hub as the data set `tianzhechu/SFTvsRL_Data`. `street_data.py` reads that format
# into the same `Route` objects. We fabricate a folder with one route to see how.

# %%
def block(number: int, heading: str, landmark: str) -> str:
    """One block of ``milestone_info``: text that looks like JSON and is not."""
    fields = dict(intersection_idx=number, landmarks=landmark, distance="80 meters",
                  human_heading=0, to_next_intersection_heading=heading)
    lines = "\n".join(f'"{key}": "{value}",' for key, value in fields.items())
    return "{\n" + lines + "\n}"

def fabricate(folder, landmark: str, blocks: int = 2) -> None:
    """Write a folder with one route of two legs in the released format."""
    ends = [[40.7007, -74.0], [40.7007, -73.999]]
    info = [block(0, "10 (north)", "No landmark nearby")]
    info += [block(1, "91 (east)", landmark)]
    entry = {
        "start_place": {"relocated_geocode": [40.7, -74.0]},
        "dest_place": {"name": "Shuka", "geocode": ends[-1]},
        "init_heading": 350,
        "route_results": {"geocode_list": ends, "landmark_list": [None, None]},
        "milestone_info": ",\n".join(info[:blocks]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "route_infos.json").write_text(json.dumps([[entry], 1]))

# %%
import tempfile
from pathlib import Path

from sftrl_lite.tasks.panoramas import DataError, read_mapping
from sftrl_lite.tasks.street_data import read_streets

place = Path(tempfile.mkdtemp()) / "nyc_fabricated"
fabricate(place, "Shuka is on your right")
streets = read_streets(place, pictures=False)
print(*streets.task("all").instructions(streets.routes[0]), sep="\n")
print("released arithmetic:",
      streets.task("all", official=True).instructions(streets.routes[0])[0])

# %% [markdown]
# The walker is the one from above, who faces 350 degrees and has to go on at 10. An error in a folder is
# reported before any training begins, in one line that names the file, the route and
# the field:

# %%
for landmark, blocks in (("Café {old} is on your right", 2), ("Shuka", 1)):
    fabricate(place, landmark, blocks)
    try:
        read_streets(place, pictures=False)
    except DataError as error:
        print(str(error).replace(str(place), place.name))

# %% [markdown]
# With pictures the folder has one more file, `gps_pano_mapping.pkl`: which photograph
# was taken where. It is a *pickle*, and a pickle is a small program. This one prints.
# It could just as well delete your files.

# %% tags=["pickle"]
import pickle


class Trap:
    """Unpickling me calls print."""

    def __reduce__(self):
        return print, ("the pickle has run a function",)

trap = place / "gps_pano_mapping.pkl"
trap.write_bytes(pickle.dumps({(40.7, -74.0): Trap()}))
pickle.loads(trap.read_bytes())
try:
    read_mapping(trap)
except DataError as error:
    print("refused:", str(error).replace(str(place), place.name))

# %% [markdown]
# ### Exercise 7.6: read a pickle, run nothing
#
# Difficulty ●●●○○ · 8 minutes
#
# An `Unpickler` asks `find_class` for every name that a pickle wants to use, before
# anything is called. Dicts, tuples, floats and texts need no name. Write a reader that
# refuses all names. The tests give it pickles that really make a folder if they are
# run. A list of forbidden modules does not stop them, and a check afterwards comes too
# late.

# %%
def plain_load(data: bytes) -> object:
    """What a pickle of plain values holds; raises ``pickle.UnpicklingError`` otherwise.

    ``plain_load(pickle.dumps({(1.0, 2.0): "a"}))`` is that dict again.
    """
    raise NotImplementedError

# %%
import os

with notebook.exercise("7.6"):
    dice, mark = random.Random(0), Path(tempfile.mkdtemp()) / "it_ran"
    code = f"__import__('os').mkdir({str(mark)!r})"
    bad = [(os.system, (f'mkdir "{mark}"',)), (os.mkdir, (str(mark),)), (eval, (code,)),
           (exec, (code,)), (Path, ("a",)), (Counter, ()), (getattr, ("a", "upper"))]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        good = {(dice.random(), -dice.random()): f"pano_{i}" for i in range(9)}
        same = plain_load(pickle.dumps(good, protocol)) == good
        assert same, "plain values come back"
        for call in bad:  # unpickling one of these calls a function
            trap = type("Trap", (), {"__reduce__": lambda _, call=call: call})()
            data = pickle.dumps(good | {(0.0, 0.0): trap}, protocol)
            name, refused = f"{call[0].__module__}.{call[0].__name__}", False
            try:
                plain_load(data)
            except pickle.UnpicklingError:
                refused = True
            assert not mark.exists(), f"{name} has run: the folder {mark.name} is there"
            assert refused, f"{name} needs a name from a module and got it"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Subclass `pickle.Unpickler`, override `find_class(self, module, name)`, and give it
# `io.BytesIO(data)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# import io
#
#
# class Plain(pickle.Unpickler):
#     """Knows no names."""
#
#     def find_class(self, module: str, name: str) -> object:
#         raise pickle.UnpicklingError(f"it wants {module}.{name}")
#
#
# def plain_load(data: bytes) -> object:
#     return Plain(io.BytesIO(data)).load()
# ```
#
# </details>
#
# With the real folder on your disk, the usual commands take it by `--data`:
#
# ```sh
# hf download tianzhechu/SFTvsRL_Data VIRL_routes/nyc_1k_routes.zip \
#     --repo-type dataset --local-dir .
# unzip VIRL_routes/nyc_1k_routes.zip
# python -m sftrl_lite rl --task virl-l --data nyc_1k_routes --scale full
# python -m sftrl_lite eval --task virl-l --data nyc_1k_routes --splits id,ood-rule \
#     --model FOLDER --scale full
# ```
#
# Training uses the first four fifths of the routes; tests use those of the rest whose
# instructions no training route has. The tiny base runs there as well, but New York's
# landmarks are unknown tokens to it. That folder is for larger models.
#
# ## A place to play
#
# Walk yourself. There is a button for each action on offer, and you have two tries at
# each step. Under the relative rule, do you read the word or look at the map? Do you
# stop at landmarks?

# %%
from sftrl_lite.course.walk_widgets import walk_viewer

walk_viewer(shifted, shifted.routes[6])

# %% [markdown]
# ## What it means, and what it does not
#
# The shift of this chapter asks for no new skill: the prompt contains the answer, in a kind
# of sentence that Init has read many times. What matters is whether a model's answer still
# depends on the *action vocabulary of the prompt*.
#
# Two things can happen to a model that is trained on compass points alone. It can unlearn a
# habit that does harm in every vocabulary; that gain can carry over, whether SFT or RL made
# it. And it can come to use compass words whatever the prompt offers; that does harm under
# relative words only. Neither objective asks for the second. SFT raises the probability of
# the demonstrated words at every turn; RL raises that of its own rewarded answers, which
# here use the same words. The tables show how much of each happened: the habit and the words
# for one seed, the totals for all recorded ones. Compare SFT with pushed SFT before saying
# what *SFT* does: an effect whose sign changes with the learning rate is an effect of the
# rate. The controls separate causes: varied words keep the supervised loss and change the
# vocabulary; the random reward keeps RL's updates and removes the verifier.
#
# Finally, consider the protocol. A walker that has lost only turns is still right at
# forward and stop, but a protocol that ends each walk at its first failure, which is
# its first step, never asks for them. A small number there does not mean that
# everything is lost.
#
# What this chapter does *not* show:
#
# - *That SFT forgets how to walk.* Look at forward and stop. A single number per step,
#   by the protocol of the walk, does not distinguish a walker that lost one kind of
#   word from one that lost everything.
# - *That SFT must lose the words.* One control is SFT, too, at the pushed rate, with varied
#   words on offer. Read its row before blaming the loss function.
# - *That another base would change that.* Three other designs were tried on the development
#   words, among them bases that rarely met other words; `docs/results.md` has the map. SFT
#   fell below Init in none of them at the rates that one would choose.
# - *That RL learns the other words.* It is never shown them. What it can gain under the
#   relative rule is what both rules share.
# - *That RL keeps the words because of its rewards.* Compare the random reward, and the
#   number of updates.
# - *A number to compare with 1.3 %.* The model, the streets and the histories differ
#   from the paper's. In our base's corpus one chat in five uses left and right; a base
#   that had seen fewer would start lower.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   section 4 and appendix B: V-IRL as a task (15 minutes).
# - Yang et al. (2024), [V-IRL: Grounding Virtual Intelligence in Real
#   Life](https://arxiv.org/abs/2402.03310): the platform, and its benchmark of following
#   instructions (20 minutes).
# - Anderson et al. (2018), [Vision-and-Language
#   Navigation](https://arxiv.org/abs/1711.07280): following instructions through
#   photographs (20 minutes).
# - Ross, Gordon, Bagnell (2011), [A Reduction of Imitation
#   Learning](https://arxiv.org/abs/1011.0686), section 2: why errors add up along a walk
#   (15 minutes).
# - Python, [Restricting globals](https://docs.python.org/3/library/pickle.html#restricting-globals)
#   in pickles (5 minutes).
#
# Next: [8. Streets in pictures](08_streets_in_pictures.ipynb).
