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
# A small model learns to walk by compass points, once by imitation and once by trial and
# verifier from the same Init; under left and right we measure, step by step and walk by
# walk, who still picks the announced words and how much of a fall the protocol adds, with
# intervals, and with imitation of varied words as control.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Read a walk as a rail of decisions, and say what is right at each of them.
# - Turn headings into words, round the circle, and find the error that not doing so makes.
# - Tell a wrong action from an action in the wrong words.
# - Compute accuracy per step, per walk, and per step *of a walk that ends at its first
#   failure*, and say which of these a published number is.
# - Read street data in the released format without running what is in it.

# %%
from sftrl_lite import notebook

scale = notebook.setup(task="virl-l")

# %% [markdown]
# ## One crossing, by hand
#
# A walk through Alderwick, a city that a short program made (`city.py`). The ring is the
# start, the disc the destination; the boards are landmarks.

# %%
import matplotlib.pyplot as plt

from sftrl_lite.city import load_city
from sftrl_lite.navigation import Decision, navigation
from sftrl_lite.routes import steps
from sftrl_lite.street_view import map_picture

task = navigation("id")
route = task.routes[0]
print(*task.instructions(route), sep="\n")
fig, axis = plt.subplots(figsize=(7, 5.6))
axis.imshow(map_picture(load_city(route.city), route))
axis.axis("off")
alt = f"Map of {route.city} with a route of {len(route.legs)} legs. "
notebook.figure(fig, alt=alt + " ".join(task.instructions(route)))

# %% [markdown]
# You have come to the first crossing. What do you do? Decide before you run the cell.

# %%
index = next(i for i, s in enumerate(steps(route)) if s.move == "turn" and i > 0)
here = Decision(route, index)
print("facing", round(here.step.heading), "degrees, you see:", here.step.observation)
print("instruction:", task.instructions(route)[here.step.instruction])
print("right:      ", task.action(here.step))

# %% [markdown]
# The instruction says it twice, in two kinds of words. Five walkers answer; the prompt
# asks for compass points.

# %%
from sftrl_lite.navigation import REWARDS, write_answer

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
# offer that word. Remember its kind, `other_words`. It is to this chapter what
# `wrong_numbers` was to [chapter 3](03_sft_memorises.ipynb).
#
# ## A route is a rail
#
# As in the paper's released data, a walk is a *rail* of places where one action is due:
# `turn_direction(x)`, `forward()` or `stop()`. A route is a list of legs; each leg begins
# with a turn, passes some places, and ends at the next crossing or at the destination.

# %%
import pandas as pd

rail = steps(route)
rows = [(s.move, round(s.heading), s.instruction + 1, s.observation) for s in rail]
pd.DataFrame(rows, columns=["move", "facing", "instruction", "seen"])

# %% [markdown]
# A wrong action moves nobody: the model is asked again, and after the second failure the
# walk is over. So the right walk is the only one, and each of its steps can be asked by
# itself, with the right history. One such step is a *decision*, our unit of training.
#
# ### Exercise 7.1: lay a rail
#
# Difficulty ●○○○○ · 4 minutes
#
# Given how many places each leg passes, write the moves of the walk.

# %%
def lay_rail(passed: list[int]) -> list[str]:
    """Moves from start to end: ``lay_rail([1])`` is turn, forward, stop.

    Args:
        passed: for each leg the number of places between its ends.
    """
    raise NotImplementedError

# %%
from sftrl_lite.navigation import navigation
from sftrl_lite.routes import steps

with notebook.exercise("7.1"):
    assert lay_rail([1]) == ["turn", "forward", "stop"], "one leg, one place on the way"
    two = ["turn", "turn", "forward", "forward", "stop"]
    assert lay_rail([0, 2]) == two, "two legs, the second passes two places"
    for walk in navigation("id").routes[:20]:
        right = [s.move for s in steps(walk)]
        mine = lay_rail([len(leg.between) for leg in walk.legs])
        assert mine == right, f"route {walk.name}: {mine} instead of {right}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# A leg is one turn and its forwards; a single stop ends it all.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def lay_rail(passed: list[int]) -> list[str]:
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
# One decision, as a prompt: the task and the words on offer, the instructions, what was
# seen and done so far, what is seen now.

# %%
print(task.prompt(here))
print("->", task.demonstration(here))

# %% [markdown]
# And the same decision under the shifted rule. Two lines differ from the above.

# %%
shifted = navigation("ood-rule")
before = task.prompt(here).splitlines()
after = shifted.prompt(here).splitlines()
for a, b in zip(before, after, strict=True):
    if a != b:
        print("trained:", a[-90:], "\nshifted:", b[-90:], "\n")
print("->", shifted.demonstration(here))

# %% [markdown]
# The offer changes, and so do the past actions. The instructions do not: *"Turn right to
# face east"* holds the right answer under both rules. The rule shift of V-IRL asks for
# **the other word of the same sentence**. No heading has to be computed, no map to be
# known; one has to look which words are on offer.
#
# That makes it an easy shift for a reader, and the paper reports its largest fall on it.
#
# ## Words for headings
#
# Where do the words come from? A compass word names one of eight sectors around the
# heading $h'$ of the street to take. A relative word names the angle from where the
# walker faces, $h$, to $h'$:
#
# $$\delta = (h' - h + 180) \bmod 360 - 180 \;\in [-180, 180).$$
#
# Below −45 is left, up to 0 slightly left, up to 45 slightly right, above that right.
# Take a walker who faces 350 degrees and wants to go at 10: twenty degrees to the right.

# %%
from sftrl_lite.routes import ABSOLUTE, RELATIVE

for name, released in (("round the circle", False), ("released code", True)):
    word = RELATIVE.word(350, 10, released)
    print(f"{name:17} turn {word} to face {ABSOLUTE.word(350, 10)}")

# %% [markdown]
# The released code subtracts and forgets the circle: 10 − 350 = −340 is "below −45". Its
# instruction sends a walker left to face north, though north lies to the right. It is no
# rare case. All turns of the routes of this city:

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
# Does that harm a model? Both the instruction and the verifier take their word from the
# same arithmetic, so whoever copies the word is paid. It harms those who think: a model
# that looks at its heading is told that it is wrong.
#
# ### Exercise 7.2: left or right?
#
# Difficulty ●●○○○ · 6 minutes
#
# Write the relative word, round the circle. The tests try every whole degree.

# %%
def relative_word(heading: float, onward: float) -> str:
    """``relative_word(350, 10)`` is "slightly right"; exactly 45 is slight, 0 is right.

    One of left, slightly left, slightly right, right; a U-turn goes left.
    """
    raise NotImplementedError

# %%
from sftrl_lite.routes import RELATIVE

with notebook.exercise("7.2"):
    assert relative_word(350, 10) == "slightly right", "20 degrees across north"
    assert relative_word(10, 350) == "slightly left", "and back"
    assert relative_word(90, 180) == "right", "from east to south"
    for h in range(0, 360, 15):
        for onward in range(360):
            word, right = relative_word(h, onward), RELATIVE.word(h, onward)
            assert word == right, f"from {h} to {onward}: {word} instead of {right}"

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
# As in the paper (appendix B.3): +1 for the right action, −1 for a wrong one, −1 when the
# budget of two tries at a step is used up, −1.5 for a wrong action of a walker who has
# not seen what is there either.

# %%
from sftrl_lite.tasks import budget

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
# - **per step of the walk**: as the first, but a walk ends at its first failure, and what
#   comes later is never asked. That is what the paper's evaluation does, since it plays
#   whole walks: a walker who fails twice at a step is out.
#
# The third number needs care, because of how walks begin:

# %%
from collections import Counter

print("first moves:", dict(Counter(steps(r)[0].move for r in task.routes)))
print("all moves:  ", dict(Counter(s.move for r in task.routes for s in steps(r))))

# %% [markdown]
# The first action of *every* walk is a turn, in this city and in the paper's data alike.
# Imagine a walker who has lost nothing but the words for turns, and is perfect at
# `forward()` and `stop()`:

# %%
from types import SimpleNamespace

from sftrl_lite.navigation import decisions, route_success


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
# One and the same walker, two accuracies. The paper reports 80.8 % per step for Init,
# 91.8 % for RL and 1.3 % for SFT (section 5.1, figure 6). A walker who is out at the first
# turn cannot have more than a few per cent, whatever it can do at the other steps. So
# the 1.3 % tells that turns are lost. It cannot tell that anything *else* is. We shall
# measure both.
#
# ### Exercise 7.3: the walk's account
#
# Difficulty ●●○○○ · 6 minutes
#
# Given one walk as lists of tries (True: right), count right answers and answers up to
# the walk's end.

# %%
def walk_account(walk: list[list[bool]]) -> tuple[int, int]:
    """(right answers, answers) until the first step without a right one.

    ``walk_account([[False, False], [True]])`` is (0, 2): the second step is not asked.
    """
    raise NotImplementedError

# %%
with notebook.exercise("7.3"):
    assert walk_account([[False, False], [True]]) == (0, 2), "over at the first step"
    assert walk_account([[True], [True]]) == (2, 2), "a perfect walk"
    assert walk_account([[False, True], [True]]) == (2, 3), "a second try is an answer"
    walk = [[True], [False, False], [True], [True]]
    assert walk_account(walk) == (1, 3), "the failed step counts, what follows does not"

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
# With one try at a step and chance $p_i$ of being right at step $i$, step $i$ is reached
# with chance $\prod_{j<i} p_j$. Compute the accuracy over all steps, $\frac{1}{n}\sum_i
# p_i$, and that of the walk: expected right answers over expected answers. When do the
# two agree?

# %%
def two_accuracies(moves: list[str], skill: dict[str, float]) -> tuple[float, float]:
    """(over all steps, of the walk that ends at its first failure), one try each.

    ``two_accuracies(["turn", "stop"], {"turn": 0.0, "stop": 1.0})`` is (0.5, 0).
    """
    raise NotImplementedError

# %%
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

# %% [markdown]
# <details><summary>Hint</summary>
#
# Carry `reach`, the chance to get here: add `reach` to the answers, `reach * p` to the
# right ones, then multiply it by `p`.
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
# ## The base
#
# Init is a tiny model that has read walks through two hundred other made cities
# (`corpus.py`): first a book of right answers, then homework in which three answers in ten
# take any action. Turns are asked for in five kinds of words, equally often:

# %%
from sftrl_lite.corpus import CITIES, STREET_HOMEWORK, WORDS

print(CITIES, "cities;", STREET_HOMEWORK)
for words in WORDS:
    print(f"{words.name:9}", ", ".join(words.words[:4]), "...")

# %% [markdown]
# So left and right are no news to Init, as they are none to any language model. What is
# news in *fine-tuning* is that only one kind is asked for. (For the cards the shifted rule
# was kept out of the corpus as well: [chapter 2](02_the_base_model.ipynb).)
#
# Fine-tuning uses 60 routes of Alderwick, tests use its other ones. The same walks are
# asked for under both rules.

# %%
from sftrl_lite.models import load
from sftrl_lite.runs import held_out, train_hands

base = scale.base_for("virl-l")
train = train_hands(navigation("train"), scale.sft.hands, seed=0)
rules = {"absolute": task, "relative": shifted}
tests = held_out(task, scale.eval_episodes, 0, train)
print(f"{len(train)} training decisions on {len({d.route for d in train})} routes")
print(f"{len(tests)} test decisions, all of {len({d.route for d in tests})} others")

# %% [markdown]
# `evaluate` plays each decision, with up to two tries. Since whole walks are asked, it
# also puts them together: `route` and `walk_per_step`.

# %%
from sftrl_lite.evaluate import evaluate

init, tokenizer = load(base)
limit = dict(tries=tries, max_new_tokens=scale.rl.max_new_tokens)
found, played = {}, {}
for rule, judge in rules.items():
    result = evaluate(init, tokenizer, judge, tests, **limit)
    found["Init", rule], played["Init", rule] = result
shown = ["per_step", "walk_per_step", "route", "read", "format_error"]
values = {key: {m: e[m].value for m in shown} for key, e in found.items()}
pd.DataFrame(values).T.round(3)

# %% [markdown]
# ## SFT and RL from one Init
#
# The scale's own settings but two fifths of its compute, the same decisions for both,
# compass points only, equal training compute by the paper's count. SFT imitates the right answer of each decision,
# RL gets nothing but the verifier's word. On the way little is measured; that comes after,
# for all models alike. A second call of the cell only reads the folder.

# %%
from sftrl_lite.headline import side_by_side
from sftrl_lite.models import ROOT
from sftrl_lite.runs import Run

options = dict(task="virl-l", scale=scale.name, points=1, splits=("id",))
options |= dict(tflop=0.4 * scale.tflop, final_episodes=scale.eval_episodes // 5)
plan = {method: Run(method, **options) for method in ("sft", "rl-ppo")}
folder = ROOT / "runs" / "chapter-7" / plan["sft"].hash
measured = side_by_side(plan, folder, "chapter-7")

# %% [markdown]
# Then, as in chapter 3, imitation that is *pushed*: three times the rate, at the same
# compute. Beside it the control, pushed just as much: the same decisions, but the words on
# offer vary from one to the next (never the shifted ones). If imitation as such destroys
# the choice of words, the control must lose it, too.

# %%
push = {
    "pushed": Run("sft", lr=3 * scale.sft.lr, **options),
    "varied": Run("sft-varied", lr=3 * scale.sft.lr, **options),
}
measured = pd.concat([measured, side_by_side(push, folder, "chapter-7")])
cost = measured[measured["metric"] == "flops_paper"].groupby("config_hash")
ends = cost[["method", "step", "value", "minutes"]].last()
ends.assign(TFLOP=ends.pop("value") / 1e12).round(2)

# %%
from tqdm.auto import tqdm

names = {"SFT": "sft", "SFT, pushed": "pushed", "varied words, pushed": "varied"}
names |= {"RL": "rl-ppo"}
for name, part in tqdm(names.items()):
    model, _ = load(folder / part / "model")
    for rule, judge in rules.items():
        result = evaluate(model, tokenizer, judge, tests, **limit)
        found[name, rule], played[name, rule] = result
values = {key: {m: e[m].value for m in shown} for key, e in found.items()}
pd.DataFrame(values).T.rename_axis(["model", "rule"]).swaplevel().sort_index().round(3)

# %%
def points(name: str, rule: str, metric: str) -> float:
    """By how many percentage points a model differs from Init."""
    return 100 * (found[name, rule][metric].value - found["Init", rule][metric].value)

parts = [
    f"{name}: {points(name, 'relative', 'per_step'):+.0f} over all steps, "
    f"{points(name, 'relative', 'walk_per_step'):+.0f} by the walk's protocol, "
    f"{points(name, 'relative', 'route'):+.0f} of whole walks"
    for name in names
]
said = "Under relative words, in points against Init (one seed). "
notebook.show(said + "; ".join(parts) + ".")

# %% [markdown]
# ## The figure of this chapter
#
# Accuracy by kind of step, then over all steps, then by the walk's protocol. Bars around
# the dots are Wilson 95 % intervals over answers (they take answers of one walk as
# independent, and say nothing about another seed). If only words are lost, a model falls
# at turns under the relative rule and nowhere else.

# %%
from sftrl_lite.evaluate import wilson

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

counted = {key: by_kind(episodes) for key, episodes in played.items()}
right = {key: {k: a / b for k, (a, b) in row.items()} for key, row in counted.items()}
pd.DataFrame(right).T.rename_axis(["model", "rule"]).swaplevel().sort_index().round(3)

# %%
from sftrl_lite.plots import LOOKS

STYLES = {"Init": ("#222222", "*")}
looks = {"SFT": "sft", "SFT, pushed": "sft-pushed", "RL": "rl-ppo"}
looks |= {"varied words, pushed": "sft-varied"}
STYLES |= {name: LOOKS[method][:2] for name, method in looks.items()}

def panel(axis, rule: str) -> None:
    """One rule: groups are kinds of steps and protocols, dots are models."""
    for i, (name, (colour, marker)) in enumerate(STYLES.items()):
        for x, (hits, n) in enumerate(counted[name, rule].values()):
            e = wilson(hits, n)
            at = x + 0.15 * (i - 2)
            axis.plot([at, at], [e.low, e.high], color=colour, lw=1.4)
            label = name if x == 0 else None
            axis.plot(at, e.value, marker, color=colour, ms=6, label=label)
    axis.axvline(2.5, color="#999999", lw=1, ls=":")
    labels = list(counted["Init", rule])
    axis.set_xticks(range(len(labels)), [s.replace(" ", "\n") for s in labels])
    axis.set(title=f"{rule} words", ylim=(-0.03, 1.03))
    axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")

# %%
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
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
notebook.figure(fig, alt="Share of right answers. " + "".join(map(in_words, rules)))

# %%
a, b = counted["SFT, pushed", "relative"], counted["Init", "relative"]
rate = {k: (100 * a[k][0] / a[k][1], 100 * b[k][0] / b[k][1]) for k in a}
notebook.show(
    f"How much is protocol? Pushed SFT under relative words: {rate['turn'][0]:.0f} % "
    f"at turns (Init {rate['turn'][1]:.0f}), {rate['forward'][0]:.0f} % at forward "
    f"(Init {rate['forward'][1]:.0f}). Over all steps {rate['all steps'][0]:.0f} %, by "
    f"the protocol of the walk {rate['until failure'][0]:.0f} % (Init "
    f"{rate['all steps'][1]:.0f} and {rate['until failure'][1]:.0f} %). From the first "
    "number to the second SFT loses "
    f"{rate['all steps'][0] - rate['until failure'][0]:.0f} "
    f"points, Init {rate['all steps'][1] - rate['until failure'][1]:.0f} (one seed)."
)

# %% [markdown]
# ## Which words does it use?
#
# Look at the first answers to turns under the relative rule. `other_words` are turns in
# words that were not on offer. Are they the trained words, and is the direction right?

# %%
import json

from sftrl_lite.verifier import read_answer

kinds = {}
for name in STYLES:
    pairs = zip(tests, played[name, "relative"], strict=True)
    first = [e.turns[0].verdict.kind for d, e in pairs if d.step.move == "turn"]
    kinds[name] = pd.Series(first).value_counts(normalize=True)
pd.DataFrame(kinds).fillna(0).T.round(3)

# %%
def turn_word(decision, episode) -> tuple[str, str]:
    """(whose words the first answer uses, what is wrong with it) at a turn."""
    said = (read_answer(episode.turns[0].answer, "action") or {}).get("action", "")
    word = str(said).removeprefix("turn_direction(").removesuffix(")")
    for words, rule in ((RELATIVE, "relative"), (ABSOLUTE, "absolute")):
        if word in words.words:
            right = said == rules[rule].action(decision.step)
            return f"{words.name} words", "right street" if right else "wrong street"
    return "no turn", "forward or stop" if said else "illegal"

used = {}
for name in STYLES:
    pairs = zip(tests, played[name, "relative"], strict=True)
    said = Counter(turn_word(d, e) for d, e in pairs if d.step.move == "turn")
    used[name] = pd.Series({key: n / said.total() for key, n in said.items()})
pd.DataFrame(used).fillna(0).sort_index().round(3)

# %% [markdown]
# Read the column of pushed SFT. Absolute words with the *right street* are the anchored
# walkers: the right leg of the right instruction, in the words that were trained. The
# paper shows one such answer, `turn_direction(northwest)` under the relative rule (its
# figure 21). Here is one of ours:

# %%
pairs = zip(tests, played["SFT, pushed", "relative"], strict=True)
anchored = [(d, e) for d, e in pairs if d.step.move == "turn"
            and turn_word(d, e)[0] == "absolute words"]
for d, e in anchored[:1]:
    print("offer:", shifted.prompt(d).splitlines()[0].rpartition(" x is ")[2])
    print("told: ", shifted.instructions(d.route)[d.step.instruction])
    print("said: ", e.turns[0].answer)
print(len(anchored), "such answers in this run")

# %% [markdown]
# ## Recorded, with more seeds
#
# One seed is an anecdote. The recorded runs, with intervals over seeds (Student's), from
# `results/ledger.csv`. `SFT, learning rate 1e-3` is the pushed rate there; the controls
# run at the scale's own rate.

# %%
from sftrl_lite.report import main_table, recorded

parts = ["virl-l-headline", "virl-l-push", "virl-l-controls"]
COLUMNS = {
    ("per_step", "id"): "absolute, all steps",
    ("per_step", "ood-rule"): "relative, all steps",
    ("walk_per_step", "ood-rule"): "relative, until failure",
    ("route", "ood-rule"): "relative, whole walks",
    ("read", "ood-rule"): "relative, instruction and place read",
}
rows = recorded(*parts)
rows = rows[rows["scale"] == scale.name]
if rows.empty:
    print("nothing recorded at this scale yet;",
          "python -m sftrl_lite sweep results/sweeps/virl-l.toml")
else:
    print("seeds:", rows.groupby("method")["seed"].nunique().to_dict())
    display(main_table(rows, COLUMNS))

# %%
from sftrl_lite.report import difference

head = rows[rows["experiment"].isin(parts[:2])]
gaps = [("RL - Init", "rl-ppo", "init"), ("SFT - Init", "sft", "init"),
        ("SFT at 1e-3 - Init", "sft-pushed", "init"), ("RL - SFT", "rl-ppo", "sft")]
for metric in ("per_step", "walk_per_step"):
    for name, a, b in gaps:
        if {a, b} - {"init"} <= set(head["method"]) and head["seed"].nunique() > 1:
            mean, low, high = difference(head, "ood-rule", a, b, metric)
            text = f"{metric:13} {name:19} {mean:+6.1f}"
            print(text, f"points [{low:+.1f}, {high:+.1f}]")

# %% [markdown]
# ### The paper's numbers beside
#
# | | Init | RL | SFT |
# | --- | --- | --- | --- |
# | V-IRL-L, relative words, per step (figure 6) | 80.8 % | 91.8 % | 1.3 % |
#
# 11 B parameters, one run each, a thousand routes of New York. The captions call the
# number per-step accuracy; the released evaluation plays 48 walks and ends each at its
# first failure, so it is the column *until failure* that compares.
#
# ## The real data
#
# The paper's routes (New York, 2.2 GB with photographs; nine other cities, 59 MB) lie on a
# public hub as the data set `tianzhechu/SFTvsRL_Data`. `street_data.py` reads that format
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

from sftrl_lite.street_data import DataError, read_mapping, read_streets

place = Path(tempfile.mkdtemp()) / "nyc_fabricated"
fabricate(place, "Shuka is on your right")
streets = read_streets(place, pictures=False)
print(*streets.task("id").instructions(streets.routes[0]), sep="\n")
print("released arithmetic:",
      streets.task("id", official=True).instructions(streets.routes[0])[0])

# %% [markdown]
# There is the walker who faces 350 and goes at 10 again. What is wrong with a folder is
# said in one line that names file, route and field, before any training begins:

# %%
for landmark, blocks in (("Café {old} is on your right", 2), ("Shuka", 1)):
    fabricate(place, landmark, blocks)
    try:
        read_streets(place, pictures=False)
    except DataError as error:
        print(str(error).replace(str(place), place.name))

# %% [markdown]
# With pictures the folder has one more file, `gps_pano_mapping.pkl`: which photograph was
# taken where. It is a *pickle*, and a pickle is a small program. Here is one that prints;
# it could as well delete your files.

# %%
import pickle


class Trap:
    """Whoever unpickles me calls print."""

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
# ### Exercise 7.5: read a pickle, run nothing
#
# Difficulty ●●●○○ · 8 minutes
#
# An `Unpickler` asks `find_class` for every name that a pickle wants to use. Dicts,
# tuples, floats and texts need none. Write a reader that refuses all names.

# %%
def plain_load(data: bytes) -> object:
    """What a pickle of plain values holds; raises ``pickle.UnpicklingError`` otherwise.

    ``plain_load(pickle.dumps({(1.0, 2.0): "a"}))`` is that dict again.
    """
    raise NotImplementedError

# %%
import pathlib
import pickle

with notebook.exercise("7.5"):
    good = {(40.7, -74.0): "pano_1", (40.8, -74.0): "pano_2"}
    assert plain_load(pickle.dumps(good)) == good, "plain values come back"
    for bad in (pathlib.PurePosixPath("a"), {(0.0, 0.0): print}, complex(1, 2)):
        try:
            plain_load(pickle.dumps(bad))
        except pickle.UnpicklingError:
            continue
        raise AssertionError(f"{bad!r} needs a name from a module and got it")

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
# With the real folder on your disk, the same commands as ever take it by `--data`:
#
# ```sh
# hf download tianzhechu/SFTvsRL_Data VIRL_routes/nyc_1k_routes.zip \
#     --repo-type dataset --local-dir .
# unzip VIRL_routes/nyc_1k_routes.zip
# python -m sftrl_lite rl --task virl-l --data nyc_1k_routes --scale full
# python -m sftrl_lite eval --task virl-l --data nyc_1k_routes --model FOLDER --scale full
# ```
#
# The first four fifths of the routes are trained on, the others tested. The tiny base can
# be pointed there as well, but knows neither New York's landmarks nor their names: to it
# they are unknown tokens. That folder is for larger models.
#
# ## A place to play
#
# Walk yourself: a button for each action on offer, two tries at each step. Under the
# relative rule, do you read the word or look at the map?

# %%
from sftrl_lite.widgets import walk_viewer

walk_viewer(shifted, shifted.routes[6])

# %% [markdown]
# ## What it means, and what it does not
#
# The shift of this chapter takes the least skill of all: the answer stands in the prompt,
# in a sentence that was read a thousand times. Whether a model makes it depends on
# whether it still asks *which words are on offer*. Imitation under one offer has no reason
# to: the offer never changes, so the compass word is always right. The verifier's word
# gives no reason either; but RL only makes likelier what the model says by itself, and
# nothing of that has to be learned by heart. The recorded table says how far this holds
# here: RL gains under both kinds of words. SFT loses under relative words at both rates.
# At the pushed rate not one walk gets past its first turn, while two answers in five, the
# forwards and the stops, are still right: the 1.3 % of the paper is what such a walker
# scores under a protocol that never asks for them.
#
# What this chapter does *not* show:
#
# - *That SFT forgets how to walk.* Look at forward and stop. A single number per step, by
#   the protocol of the walk, cannot tell a walker who lost one kind of word from one who
#   lost everything.
# - *That imitation must lose the words.* The control imitates, at the same rate, with
#   varied words on offer. Read its row before blaming the loss function.
# - *That RL learns the other words.* It is never shown them. What it gains under the
#   relative rule are shared skills: choosing the instruction, knowing when to stop.
# - *A number to hold against 1.3 %.* Another model, other streets, other histories. The
#   corpus of our base holds left and right in one chat of five; a base that knew less
#   of them would start lower.
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
