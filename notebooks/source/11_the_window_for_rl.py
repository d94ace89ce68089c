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
# # 11. The window for RL
#
# RL learns from differences in reward between answers to the same problem. So it needs an
# initial policy that sometimes succeeds and sometimes fails. We start RL on both sides of
# this window: from networks that hardly know the answer format, and from models that have
# memorised their demonstrations. The controls are supervised fine-tuning (SFT) alone, and RL
# on fresh hands instead of the memorised ones.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Compute from a success rate the probability that a group of samples carries a signal.
# - Measure how many groups differ in reward, before spending compute on RL.
# - Record SFT's own curve under a shifted rule, and choose a checkpoint without looking at it.
# - Distinguish an exhausted training set from a policy that no longer explores.
# - Judge which measurement of a checkpoint predicts the result of RL from there.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown] tags=["group-teaches"]
# ## Eight samples, by hand
#
# RL compares samples of the same hand: answers that earned more than the others become
# more probable. Here are three starts, with eight answers to one hand each; 1 means
# solved:
#
# | start | answers | mean | what can be learned |
# | --- | --- | --- | --- |
# | cannot solve it | 0 0 0 0 0 0 0 0 | 0 | nothing: all alike |
# | solves it sometimes | 0 1 0 0 1 0 0 0 | 0.25 | two answers stand out |
# | always solves it | 1 1 1 1 1 1 1 1 | 1 | nothing: all alike |
#
# A group teaches only if it contains *both* a success and a failure. If each sample
# succeeds with probability $p$, independently, a group of $G$ does so with probability
#
# $$1 - p^G - (1 - p)^G .$$
#
# Here $p$ is the success probability of one hand. The mean over hands is not enough: if half
# of the hands are always solved and the other half never, mean success is 0.5 and no group
# teaches.
#
# ### Exercise 11.1: does a group teach?
#
# Difficulty ●○○○○ · 4 minutes
#
# Write this probability as a function of $p$ and $G$.

# %%
def teaches(p: float, group: int) -> float:
    """Probability of a success and a failure in a group: ``teaches(0.5, 2)`` is 0.5."""
    raise NotImplementedError

# %%
import random
from itertools import product

with notebook.exercise("11.1"):
    number = isinstance(teaches(0.5, 2), float)
    assert number, "a probability is one number, not yes or no, and not a text"
    assert teaches(0.0, 8) == 0, "nothing succeeds, nothing stands out"
    assert teaches(1.0, 8) == 0, "everything succeeds, nothing stands out"
    assert abs(teaches(0.5, 2) - 0.5) < 1e-9, "two coins differ half of the time"
    assert teaches(0.01, 8) < 0.08 < 0.99 < teaches(0.5, 8), "a wide window"
    dice = random.Random(11)
    for _ in range(20):
        p, group = dice.random(), dice.randint(1, 6)
        counted = 0.0  # over all outcomes, one by one
        for wins in map(sum, product((0, 1), repeat=group)):
            counted += p**wins * (1 - p) ** (group - wins) * (0 < wins < group)
        told = f"p = {p:.2f}, {group} samples: all outcomes counted give {counted:.4f}"
        assert abs(teaches(p, group) - counted) < 1e-9, told

# %% [markdown]
# <details><summary>Hint</summary>
#
# All succeed: `p ** group`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def teaches(p: float, group: int) -> float:
#     return 1 - p**group - (1 - p) ** group
# ```
#
# </details>
#
# **Predict, then run.** One policy solves every hand with probability 0.5. Another has the
# same mean success, but solves half of the hands with probability 0.98 and the others with
# 0.02. Eight samples per hand: how many of their groups teach?
#
# <details><summary>Answer</summary>
#
# 99 % of the first policy's groups, 15 % of the second's. SFT that memorises moves hands from
# the middle to the edges, and takes the signal away from RL even where mean success rises.
#
# </details>

# %%
import matplotlib.pyplot as plt
import numpy as np

def differs(p, group: int = 8):
    """The solution of exercise 11.1, so that this cell runs without it."""
    return 1 - p**group - (1 - p) ** group

print(f"all hands at 0.5: {differs(0.5):.0%}, half at 0.98 and half at 0.02: "
      f"{(differs(0.98) + differs(0.02)) / 2:.0%}")
grid = np.linspace(0, 1, 501)
inside = grid[differs(grid) > 0.5]
said = (f"Eight samples are more likely than not to teach for p from {inside[0]:.2f} "
        f"to {inside[-1]:.2f}")
fig, axis = plt.subplots()
for group, dash in ((2, ":"), (8, "-"), (32, "--")):
    axis.plot(grid, differs(grid, group), dash, label=f"{group} samples")
axis.set(xlabel="probability p that a sample succeeds", ylabel="groups that teach")
axis.set_title(said.replace(" teach", "\nteach"))
axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
axis.legend(loc="lower center")
wider = "The window is wider for 8 samples than for 2, and for 32 than for 8."
notebook.figure(fig, alt=f"{said}. {wider}")

# %% [markdown]
# ## The left edge: no SFT
#
# The paper also ran RL on the model as released, without a first SFT. It answered with
# program code instead of the JSON format, and success stayed between 0 and 0.4 % at all
# three learning rates (section 5.4, figure 9). Our Init already knows the format, so we
# have to go further back, to the same network with *random* weights. What reward does
# one batch of its answers get, sampled at temperature 1 as in RL training?

# %%
import copy

import torch

from sftrl_lite.models.loading import load
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training.rollouts import rollout

base, tokenizer = load(scale.base_for("gp-l"))
task = general_points("train")
hands = train_hands(task.half(1), scale.sft.hands, seed=0)
limit = dict(max_new_tokens=scale.rl.max_new_tokens)

# %% tags=["left-edge"]
def earned(model) -> torch.Tensor:
    """Rewards of one try at 24 training hands, 8 samples each: (24, 8)."""
    dice = torch.Generator(model.device).manual_seed(0)
    some = random.Random(0).sample(hands, 24)
    played = rollout(model, tokenizer, task, some, samples=8, tries=1,
                     temperature=1.0, generator=dice, **limit)
    return torch.tensor([e.turns[0].reward for e in played]).reshape(24, 8)

def signal(rewards: torch.Tensor) -> float:
    """Share of groups in which the samples differ in reward."""
    return (rewards.amax(1) > rewards.amin(1)).float().mean().item()

torch.manual_seed(0)
random_weights = type(base)(base.config).to(base.device, base.dtype).eval()
at_edge = {"random weights": earned(random_weights), "Init": earned(base)}
random_weights = None  # two models more would be too much for a card at full
for name, rewards in at_edge.items():
    print(f"{name:15} mean reward {rewards.mean():+.2f}, "
          f"groups that differ in reward: {signal(rewards):.0%}")

# %% [markdown]
# Where all samples of a hand earn the same reward, GRPO's advantages are zero and so is its
# gradient: no learning at all. PPO's baseline is learned. Its error moves the policy even then,
# but with one try it is the same for all answers to a hand and favours none of them.
#
# A signal does not require a solved hand. An illegal answer earns -3, wrong numbers -2,
# a wrong value -1 (and one point less when no try is left), so a model that never
# solves a hand can still learn the format.
#
# ## SFT's own curve
#
# Now we turn to the right edge. From Init we run SFT on the solver's answers, at the
# higher learning rate of chapter 3, and keep checkpoints. Success at the first try is
# measured on the training hands, and on held-out hands under the trained, the
# development and the shifted rule, with the paper's decoding (temperature 0.6, top_p
# 0.9). Entropy and signal describe what RL would sample from that checkpoint:
# temperature 1, training hands.

# %%
from sftrl_lite.training.evaluate import distance, evaluate

AT = (0, 4, 8, 16, 32, 64, 128)
KEPT = (0, 128)
size = scale.eval_episodes // 2
problems = {split: held_out(general_points(split), size, seed=0)
            for split in ("id", "dev-rule", "ood-rule")}
problems["train"] = hands[:size]
plain = dict(tries=1, temperature=1.0, top_p=1.0)

def look(model) -> dict[str, float]:
    """What a checkpoint can do, and what RL would sample from it."""
    found = {}
    for split, some in problems.items():
        asked = general_points(split)
        measured, _ = evaluate(model, tokenizer, asked, some, tries=1, **limit)
        found[split] = measured["success"].value
        if split == "ood-rule":
            found["read ood-rule"] = measured["read"].value
    _, played = evaluate(model, tokenizer, task, hands[:150], **plain, **limit)
    far = distance(model, base, played, tokenizer.pad_token_id)
    return found | {"entropy": far["entropy"].value, "signal": signal(earned(model))}

# %%
from dataclasses import replace

from tqdm.auto import tqdm

from sftrl_lite.files import ROOT
from sftrl_lite.training.sft import train_sft
from sftrl_lite.training.sft_examples import demonstrations

student = load(scale.base_for("gp-l"), scale.adapter, vision=scale.vision)[0]
curve, kept = {}, {}

def keep(step: int) -> None:
    curve[step] = look(student)
    if step in KEPT:
        kept[step] = copy.deepcopy(student.state_dict())
    bar.update(step - bar.n)

with tqdm(total=AT[-1], unit="step") as bar:
    keep(0)
    pushed = replace(scale.sft, lr=1e-3 if scale.name == "tiny" else 3 * scale.sft.lr)
    train_sft(student, tokenizer, demonstrations(task, hands), pushed,
              ROOT / "runs" / "chapter-11", 0, steps=AT[-1], hook=keep, at=AT,
              progress=False)

# %% tags=["sft-curve"]
import pandas as pd

table = pd.DataFrame(curve).T.rename_axis("SFT steps")
table[["train", "id", "dev-rule", "ood-rule", "read ood-rule", "entropy",
       "signal"]].round(2)

# %% [markdown]
# Read the columns in pairs. `train` against `id` shows memorisation: the same rule, hands from
# the training set against held-out ones. `id` against `ood-rule` shows the cost of the shift.
# `signal` is what RL would have to work with if it continued on the training hands.
#
# Jin et al. (2025) recorded this curve on the paper's own task with 11 B parameters:
# success under the shifted rule rises from 0 to 17.5 % at step 140, then decays, to 6.9
# % at step 1100. Much of that rise is the *format*: at step 10 all answers are illegal,
# at step 50 fewer than one in twenty. Our Init starts with the format, so that part of
# the rise happened before step 0.
#
# ### Exercise 11.2: early stopping without the test split
#
# Difficulty ●●○○○ · 6 minutes
#
# "The best early checkpoint" is known only after looking at the shifted rule. A fair choice
# uses another split. Return the step that the development curve selects (the first of the
# best), and the *regret*: how many points of success under the shifted rule this choice loses
# against the best step.

# %%
def chosen_by(dev: dict[int, float], ood: dict[int, float]) -> tuple[int, float]:
    """(step, regret in points): ``({0: .1, 8: .3}, {0: .2, 8: .1})`` -> (8, 10.0)."""
    raise NotImplementedError

# %%
with notebook.exercise("11.2"):
    pair = chosen_by({0: 0.1, 8: 0.3}, {0: 0.2, 8: 0.1})
    assert isinstance(pair, tuple) and len(pair) == 2, "a pair: a step, and its regret"
    step, regret = pair
    assert step == 8, "the development rule is best at 8"
    assert abs(regret - 10) < 1e-9, "20 % was there, 10 % was chosen"
    assert chosen_by({0: 0.3, 8: 0.3}, {0: 0.2, 8: 0.1})[0] == 0, "the first best"
    assert chosen_by({0: 0.1, 8: 0.3}, {0: 0.1, 8: 0.2})[1] == 0, "no regret"
    dice = random.Random(11)
    for _ in range(50):
        steps = sorted(dice.sample(range(200), 5))
        dev, ood = ({s: dice.randint(0, 9) / 9 for s in steps} for _ in "ab")
        step, regret = chosen_by(given := dict(dev), dict(ood))
        assert given == dev, "the caller's curves stay as they were"
        told = f"dev {list(dev.values())}, shifted {list(ood.values())}: "
        earlier = [dev[s] for s in steps if s < step]
        assert step in dev and dev[step] == max(dev.values()), told + "best on dev"
        assert max(earlier, default=-1) < dev[step], told + "the first of the best"
        reached = max(ood[s] for s in steps)
        assert abs(ood[step] + regret / 100 - reached) < 1e-9, told + "wrong regret"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `max(dev, key=dev.get)` returns the first of equals.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def chosen_by(dev: dict[int, float], ood: dict[int, float]) -> tuple[int, float]:
#     step = max(dev, key=dev.get)
#     return step, 100 * (max(ood.values()) - ood[step])
# ```
#
# </details>

# %%
by_dev, by_id = table["dev-rule"].idxmax(), table["id"].idxmax()
best = table["ood-rule"].idxmax()
notebook.show(
    f"The development rule would stop SFT at step {by_dev} (shifted success "
    f"{table['ood-rule'][by_dev]:.1%}), the trained rule on held-out hands at step "
    f"{by_id} ({table['ood-rule'][by_id]:.1%}); the best was step {best} "
    f"({table['ood-rule'][best]:.1%}). One seed, {size} hands per split."
)

# %% [markdown]
# ## RL from the first and the last checkpoint
#
# We run eight steps of PPO from Init and from the last checkpoint, with the scale's
# settings, on the hands of SFT. From the last checkpoint we run it once more on *fresh*
# training hands, which share no numbers with those of SFT. This is the control: if RL gains
# more there, the training set was exhausted. If it gains as little, look at the signal
# first: where rewards still differ, either the policy is the obstacle or eight steps are
# too few.

# %% tags=["rl-from-both"]
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.updates import new_learner

fresh = train_hands(task.half(2), scale.sft.hands, seed=0)
plan = {f"{start}, same hands": (start, hands) for start in KEPT}
plan[f"{KEPT[-1]}, fresh hands"] = (KEPT[-1], fresh)
after = {}
for name, (start, some) in tqdm(plan.items()):
    student.load_state_dict(kept[start])
    learner = new_learner(student, scale.rl, seed=0)
    differed = 0.0
    for _ in range(8):
        stats = rl_step(learner, tokenizer, task, some, scale.rl, seed=0)
        differed += stats["signal"] / 8
    after[name] = look(student) | {"signal": differed}

shown = ["train", "id", "ood-rule"]
both = {name: table.loc[start, shown] for name, (start, _) in plan.items()}
both = pd.concat({"SFT alone": pd.DataFrame(both).T,
                  "then RL": pd.DataFrame(after).T[[*shown, "signal"]]}, axis=1)
both.rename_axis("SFT steps, RL on").astype(float).round(2)

# %% [markdown]
# The last column is the mean over RL's steps of the share of groups that differed in reward,
# over all tries of an episode. `train` means the hands of SFT, in every row.
#
# ### Exercise 11.3: how much was restored?
#
# Difficulty ●●○○○ · 5 minutes
#
# "RL heals" needs a number. What share of the points that SFT lost against Init does RL
# recover? 0 means nothing, 1 all of it, more than 1 more than was lost. Where nothing
# was lost, there is no answer: return `nan`.

# %%
import math


def restored(init: float, sft: float, rl: float) -> float:
    """Share of a loss that RL brings back: ``restored(0.3, 0.1, 0.2)`` is 0.5."""
    raise NotImplementedError

# %%
with notebook.exercise("11.3"):
    assert isinstance(restored(0.3, 0.1, 0.2), float), "one number, not a text"
    assert abs(restored(0.3, 0.1, 0.2) - 0.5) < 1e-9, "half of the loss"
    assert abs(restored(0.3, 0.1, 0.1)) < 1e-9, "nothing came back"
    assert restored(0.3, 0.2, 0.5) > 1, "more than was lost"
    assert math.isnan(restored(0.3, 0.4, 0.5)), "no loss, no share"
    assert math.isnan(restored(0.3, 0.3, 0.5)), "no change is no loss either"
    assert restored(0.3, 0.1, 0.05) < 0, "RL can also make it worse"
    dice = random.Random(11)
    for _ in range(50):
        init, sft, rl = (dice.randint(0, 20) / 20 for _ in "abc")
        share, told = restored(init, sft, rl), f"restored({init}, {sft}, {rl})"
        assert math.isnan(share) == (sft >= init), f"{told}: was anything lost?"
        if sft < init:  # go that share of the way back, and you stand where RL ended
            assert abs(sft + share * (init - sft) - rl) < 1e-9, f"{told}: wrong share"

# %% [markdown]
# <details><summary>Hint</summary>
#
# The loss is `init - sft`; what came back is `rl - sft`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def restored(init: float, sft: float, rl: float) -> float:
#     lost = init - sft
#     return (rl - sft) / lost if lost > 0 else math.nan
# ```
#
# </details>

# %%
late, ood = KEPT[-1], "ood-rule"
change = 100 * (curve[late][ood] - curve[0][ood])
same, other = (100 * (after[f"{late}, {kind} hands"][ood] - curve[late][ood])
               for kind in ("same", "fresh"))
first = 100 * (after["0, same hands"][ood] - curve[0][ood])
notebook.show(
    f"{late} steps of SFT changed first-try success under the shifted rule by "
    f"{change:+.1f} points. RL from there changed it by {same:+.1f} on the same hands "
    f"and by {other:+.1f} on fresh ones, RL from Init by "
    f"{first:+.1f}. One seed, {size} hands."
)

# %% [markdown]
# ## The recorded runs
#
# This is the same comparison over several seeds and with more compute (a third of the
# headline's):
#
# - `why`: RL from Init; `window`: RL after 8, 32, 128 and 512 steps of SFT from Init, on the
#   hands of SFT;
# - `window-fresh`: SFT of 32 and 512 steps on one half of the training hands, then RL on the
#   other half, which shares no numbers with it;
# - `window-left`: the left edge. SFT of 32, 128 and 512 steps from *random* weights, then RL.

# %%
from sftrl_lite.results import ledger, plots
from sftrl_lite.results.names import CARDS
from sftrl_lite.results.claims import claims_table
from sftrl_lite.results.measures import compare, option, times, value
from sftrl_lite.results.report import missing, recorded
from sftrl_lite.results.tables import cost_table, in_words

NAMES = ("why", "window", "window-fresh", "window-left")
STEPS = (0, 8, 32, 128, 512)
rows = recorded(*NAMES)
rows = rows[(rows["method"] == "rl-ppo") & (rows["scale"] == scale.name)]
for line in missing(NAMES, rows):
    notebook.show(line)

def by_seed(metric, split, name, steps, at) -> pd.DataFrame:
    """One line per seed, before RL (``start``) or after it (``end``)."""
    if name == "why" or (name, steps) == ("window", 0):
        name, steps = "why", 0
    return value(metric, name, split=split, at=at, warmup=steps)(rows)

# %%
def means(metric, split, name, at) -> pd.DataFrame:
    """Mean and 95 % interval by SFT steps; one seed has no interval."""
    found = {}
    for steps in STEPS:
        if len(part := by_seed(metric, split, name, steps, at)):
            e = plots.estimate(part) if len(part) > 1 else None
            ends = (e.low, e.high) if e else (math.nan, math.nan)
            found[steps] = (part["value"].mean(), *ends)
    return pd.DataFrame(found, index=["mean", "low", "high"]).T

# %%
ADDS = {"RL, same hands": "window", "RL, fresh hands": "window-fresh",
        "RL, from random weights": "window-left"}

def differences(split: str) -> pd.DataFrame:
    """What RL adds to first-try success, in points, paired by seed."""
    lines = {}
    for steps in STEPS:
        def part(name, at, steps=steps):
            return by_seed("success@1", split, name, steps, at)
        sums = {k: ([(name, "end")], [(name, "start")]) for k, name in ADDS.items()}
        sums["gain, fresh - same"] = ([("window-fresh", "end"), ("window", "start")],
                                      [("window", "end"), ("window-fresh", "start")])
        if steps:
            sums["RL - RL from Init"] = ([("window", "end")], [("why", "end")])
        lines[steps] = {}
        for told, sides in sums.items():
            found = compare(*([part(*one) for one in side] for side in sides))
            lines[steps][told] = in_words(found and times(found, 100))
    return pd.DataFrame(lines).T.fillna("–").rename_axis("SFT steps")

print(f"seeds: {rows.groupby('experiment')['seed'].nunique().to_dict()}")
for split in ("id", "ood-rule") if len(rows) else ():
    notebook.show(f"{CARDS[split]}, change in points")
    display(differences(split))

# %% [markdown]
# In each column a positive number means more: success after RL than before, success than with
# RL from Init, or gain on fresh hands than on the same ones. Where an interval includes zero,
# the recorded seeds do not decide. Read `gain, fresh - same` before you conclude that RL cannot
# learn from a checkpoint: on memorised hands there may be nothing left to reward. And compare
# the two tables: what recovers under the trained rule need not recover under the shifted one.
#
# ## Both edges in one figure
#
# The left panel shows what Jin et al. (2025) published for the 11 B model. The middle
# one shows our recorded runs and the left edge from random weights. (In the left panel
# colours mark SFT and RL only: the paper's environment deals hands at random.) The right
# one shows the share of groups that differed in reward during RL. All axes count steps of SFT before RL, linear up to the second tick and logarithmic
# beyond; 0 is no SFT. Bars are 95 % intervals over seeds and problems.

# %%
JIN_SFT = {0: 0, 90: 13.7, 140: 17.5, 200: 15.8, 300: 16.2, 400: 11.5, 500: 10.7,
           700: 10.3, 800: 6.0, 900: 5.1, 1100: 6.9, 1600: 6.8}
JIN_RL = {90: 4.3, 140: 8.5, 300: 8.1, 400: 10.3, 500: 15.4, 700: 14.1, 900: 12.4,
          1100: 16.2, 1200: 4.7, 1600: 4.7}
RED, BLUE, GREEN = "#D55E00", "#0072B2", "#009E73"
SERIES = {  # experiment, at, colour, marker, line, filling
    "SFT alone": ("window", "start", RED, "s", "--", RED),
    "then RL, same hands": ("window", "end", BLUE, "o", "-", BLUE),
    "then RL, fresh hands": ("window-fresh", "end", GREEN, "^", "-.", GREEN),
    "SFT from random weights": ("window-left", "start", RED, "s", ":", "white"),
    "then RL, from random weights": ("window-left", "end", BLUE, "o", ":", "white"),
}

def draw(axis, metric: str, split: str) -> str:
    """All series that are recorded, moved apart a little; returns them in words."""
    said = []
    for i, (name, (run, at, colour, mark, line, fill)) in enumerate(SERIES.items()):
        y = means(metric, split, run, at)
        if len(y) and (metric, at) != ("signal", "start"):  # only RL has a signal
            look = dict(color=colour, marker=mark, ls=line, mfc=fill, lw=1.5)
            error = [y["mean"] - y["low"], y["high"] - y["mean"]]
            x = y.index * 1.05 ** (i - 1)
            axis.errorbar(x, y["mean"], yerr=error, label=name, **look)
            said += [f"{name}, {n} steps: {m:.0%}" for n, m in y["mean"].items()]
    return "; ".join(said) or "not recorded yet"

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 4.4))
for published, name in ((JIN_SFT, "SFT alone"), (JIN_RL, "then RL, same hands")):
    _, _, colour, mark, line, _ = SERIES[name]
    y = [percent / 100 for percent in published.values()]
    axes[0].plot(list(published), y, color=colour, marker=mark, ls=line)
solved = draw(axes[1], "success@1", "ood-rule")
shares = draw(axes[2], "signal", "train")
best = plots.best_of_init(rows[rows["experiment"] == "why"], "success@1", "ood-rule")
plots.draw_init(axes[1], [], best)
titles = ("Jin et al. 2025, 11 B", "here: shifted rule", "here: signal during RL")
ticks = ((0, 90, 300, 1600), STEPS, STEPS)
for axis, title, marks in zip(axes, titles, ticks, strict=True):
    axis.set_xscale("symlog", linthresh=marks[1], linscale=0.5)
    axis.set_xticks(marks, map(str, marks))
    axis.set_xticks([], minor=True)
    room = -marks[1] / 4, 1.4 * marks[-1]
    axis.set(title=title, xlabel="SFT steps before RL", ylim=(0, None), xlim=room)
    axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
axes[0].set_ylabel("solved at the first try")
axes[2].set(ylabel="groups that differ in reward", ylim=(0, 1.03))
plots.legend_below(fig)

# %% tags=["window-figure"]
ways = {"gains": [], "loses": [], "stays within noise": []}
for steps in STEPS:
    end, start = (by_seed("success@1", "ood-rule", "window", steps, at)
                  for at in ("end", "start"))
    if found := compare([end], [start]):
        way = {1: "gains", -1: "loses", 0: "stays within noise"}[plots.direction(found)]
        ways[way].append(str(steps))
told = [f"{way} after {', '.join(steps)}" for way, steps in ways.items() if steps]
said = f"Shifted rule, RL on the same hands: {'; '.join(told) or 'not recorded yet'}"
said += " steps of SFT" if told else ""
fig.suptitle(said, fontsize=11, fontweight="bold")
alt = "; ".join(f"after {steps} steps of SFT {text}" for steps, text
                in differences("ood-rule")["RL, same hands"].items())
notebook.figure(fig, alt=f"{said}. Change by RL on the same hands, in points: {alt}. "
                f"Success: {solved}. Signal: {shares}. Published: SFT rises to 17.5 % "
                "at step 140, then falls to 6.8 %.")

# %% [markdown]
# The dotted grey line is a control without any training: Init at its best temperature.
# The next table shows the compute of these runs, without the SFT before them:

# %%
kinds = {"why": "RL from Init", **{name: kind for kind, name in ADDS.items()}}
if len(rows):
    spent = cost_table(rows.assign(method=rows["experiment"].map(kinds)))
    display(spent.rename(columns={"seeds": "runs"}))
claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 11].drop(columns="chapter").set_index("claim"))

# %% [markdown]
# ## What predicts RL's result?
#
# With compute for a single RL run, from which checkpoint should it start? Kang et al.
# (2025) report for large models that SFT's own score is a poor guide. Is it here? Other
# predictors can also be measured before any RL: entropy, which bounds how much there is
# to select from; success and reading under either rule; the KL divergence from Init.
#
# ### Exercise 11.4: rank correlation
#
# Difficulty ●●●○○ · 8 minutes
#
# With so few checkpoints we trust only the *order*. Spearman's coefficient is the
# correlation of the ranks. Write it. Equal values get the mean of their ranks.

# %%
def rank_correlation(x: list[float], y: list[float]) -> float:
    """Spearman's coefficient, -1 to 1: ``([1, 2, 3], [10, 20, 90])`` -> 1."""
    raise NotImplementedError

# %%
from scipy.stats import spearmanr

with notebook.exercise("11.4"):
    number = isinstance(rank_correlation([1, 2, 3], [1, 2, 3]), float | np.floating)
    assert number, "one number, without a p-value"
    assert abs(rank_correlation([1, 2, 3], [10, 20, 90]) - 1) < 1e-9, "same order"
    assert abs(rank_correlation([1, 2, 3], [9, 2, 1]) + 1) < 1e-9, "opposite order"
    mixed = rank_correlation([2, 1, 3], [3, 1, 2])
    assert abs(mixed - 0.5) < 1e-9, "a rank is a place, not the order of argsort"
    x, y = [1.0, 1.0, 2.0, 5.0], [3.0, 1.0, 2.0, 4.0]
    want = spearmanr(x, y).statistic
    assert abs(rank_correlation(x, y) - want) < 1e-9, "equal values share a rank"
    dice = random.Random(11)
    for _ in range(20):
        n = dice.randint(6, 15)
        x, y = ([dice.randint(-4, 4) / 7 for _ in range(n)] for _ in "xy")
        want, given = spearmanr(x, y).statistic, (x[:], y[:])
        told = f"scipy finds {want:.3f} for {x} and {y}"
        assert abs(rank_correlation(x, y) - want) < 1e-9, told
        assert given == (x, y), "the caller's lists stay in their order"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `pd.Series(x).rank()` gives equal values their mean rank; `.corr` correlates two
# series.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def rank_correlation(x: list[float], y: list[float]) -> float:
#     return pd.Series(x).rank().corr(pd.Series(y).rank())
# ```
#
# </details>
#
# The next table uses the recorded runs with RL on the same hands. `all` is over all
# runs, `within` after subtracting each checkpoint's mean, so that only runs from the
# same number of SFT steps are compared. The first column has few independent points,
# one for each number of steps: anything that changes monotonically with SFT correlates
# there.

# %% tags=["predictors"]
part = rows[rows["experiment"].isin(["why", "window"])]
part = part.assign(steps=option(part, "warmup").astype(int))
at = part.groupby("config_hash")["step"]
ends = {"x": part[part["step"] == at.transform("min")],
        "y": part[part["step"] == at.transform("max")]}

def pick(end: str, metric: str, split: str, decoding: str = ledger.PAPER) -> pd.Series:
    """One number per run, by SFT steps and seed."""
    some, wanted = ends[end], {"metric": metric, "split": split, "decoding": decoding}
    kept = (some[list(wanted)] == pd.Series(wanted)).all(axis=1)
    return some[kept].set_index(["steps", "seed"])["value"].rename(end)

predicted = {}
for measure in [("success@1", "id"), ("success@1", "ood-rule"), ("read", "ood-rule"),
                ("entropy", "id", "1"), ("kl", "id", "1")]:
    pairs = pick("x", *measure).to_frame().join(pick("y", "success@1", "ood-rule"))
    inside = pairs - pairs.groupby("steps").transform("mean")
    both = [p["x"].corr(p["y"], method="spearman") for p in (pairs, inside)]
    predicted[" ".join(measure[:2])] = both
print(f"{part['config_hash'].nunique()} runs, {part['steps'].nunique()} checkpoints")
pd.DataFrame(predicted, index=["all", "within"]).T.round(2)

# %% [markdown]
# ## A place to play
#
# Choose two axes for the live checkpoints. Which measurement changes first, and which
# one moves together with signal?
#
# <details><summary>Answer</summary>
#
# Draw each column against `SFT steps`. Signal has to follow success on the *training*
# hands: as $p$ of a hand approaches 1, $1 - p^G - (1 - p)^G$ approaches 0 (exercise
# 11.1). Entropy measures the same loss of variety, so it moves with signal, too. Success on
# held-out hands and reading need not.
#
# </details>

# %%
import base64
import io

from sftrl_lite.course.calculators import explorer

live = table.rename(columns=lambda name: f"SFT: {name}").reset_index()

def as_html(x: str, y: str) -> tuple[str, str]:
    """A curve for the page, with its alt text, and a sentence about it."""
    rank = spearmanr(live[x], live[y]).statistic
    said = f"{y} against {x}: rank correlation {rank:+.2f}, {len(live)} checkpoints."
    fig, axis = plt.subplots(figsize=(6, 3.4))
    axis.plot(live[x], live[y], "o-", color="#0072B2")
    axis.set(xlabel=x, ylabel=y, title=f"rank correlation {rank:+.2f}")
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=80)
    plt.close(fig)
    png = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{said}" src="data:image/png;base64,{png}">', said

explorer(live, as_html)

# %% [markdown]
# ## What it means, and what it does not
#
# At random weights the left edge is arithmetic: where all samples of a problem earn the same
# reward, no answer is favoured. After 128 steps of SFT from random weights four fifths of the
# groups differ in reward, and still nothing is gained: they differ among failures (format,
# numbers). A signal is necessary, not sufficient.
#
# The right edge has two possible causes with different remedies. If the *training set* is
# exhausted, because the memorised hands are always solved, fresh hands reopen the window. If
# the *policy* is, the answers that SFT has made improbable are rarely sampled, and fresh hands
# do not help. The right panel confirms the first half: on the same hands almost no group
# differs in reward, on fresh ones over nine in ten do. Yet RL gains little there, too. That is
# no proof of the second cause: episodes on fresh hands fail more often and are longer, so that
# equal compute buys 12 updates instead of 24 to 30 (the cost table has the means). These runs
# do not separate a policy that resists from one that was trained too briefly.
#
# "RL heals" (Jin et al.) and "RL does not recover" (the paper's section 5.4) contradict each
# other less than they seem to: the first is about checkpoints within the window, the second
# about one far outside, with success per step below 1 %. The tables show where our checkpoints
# lie between the two. (A dip at the first steps of SFT is reported for large models, too:
# [Rethinking Generalization in Reasoning SFT](https://arxiv.org/abs/2604.06628), 2026.)
#
# What this chapter does *not* show:
#
# - *Where the window is for a large model.* Steps depend on learning rate, batch and model. What
#   may transfer is the measurement: signal and success, before spending compute on RL.
# - *A left edge like the paper's.* Its base model knows language and arithmetic and lacks the
#   format; ours, with random weights, lacks everything.
# - *That longer RL would not recover more.* The live run has eight steps, the
#   recordings a third of the headline's compute. A rare answer becomes more probable
#   once it is sampled and rewarded.
# - *That early stopping replaces RL.* SFT's curve is beside RL's in the figure, but its
#   best step is selected on the shifted rule itself; exercise 11.2 shows what a fair
#   choice costs.
#
# ## Further reading
#
# - Jin et al. (2025), [RL Fine-Tuning Heals OOD Forgetting in
#   SFT](https://arxiv.org/abs/2509.12235), sections 3 and 4 (25 minutes).
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   section 5.4 and figures 9, 19 and 20 (10 minutes).
# - Kang et al. (2025), [Quagmires in SFT-RL Post-Training](https://arxiv.org/abs/2510.01624):
#   what predicts RL's result (20 minutes).
# - [From Atomic to Composite](https://arxiv.org/abs/2512.01970) (2025): RL composes what SFT
#   has taught first (15 minutes).
#
# Next: [12. Why: distance, data, prompt](12_why_distance_data_prompt.ipynb).
