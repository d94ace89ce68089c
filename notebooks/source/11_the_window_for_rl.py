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
# RL needs a start that sometimes succeeds and has not yet settled: from an untrained model
# there is nothing to reward, from an over-tuned one there is little left to choose from. We
# walk from one edge of this window to the other, with imitation's own curve beside it.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Say from a success rate how much a batch of samples can teach.
# - Show why RL from an untrained model stands still, in one step.
# - Record imitation's own curve under a shifted rule, and stop it without peeking.
# - Start RL from any checkpoint and measure what it restores.
# - Judge which measure of a checkpoint foretells what RL makes of it.

# %%
from sftrl_lite import notebook

scale = notebook.setup()

# %% [markdown]
# ## Eight samples, by hand
#
# RL compares samples of the same hand: what did better than the others becomes likelier.
# Eight answers to one hand, 1 for solved:
#
# | start | answers | mean | what can be learned |
# | --- | --- | --- | --- |
# | untrained | 0 0 0 0 0 0 0 0 | 0 | nothing: all alike |
# | careless | 0 1 0 0 1 0 0 0 | 0.25 | two answers stand out |
# | settled | 1 1 1 1 1 1 1 1 | 1 | nothing: all alike |
#
# A group teaches only if it holds *both*. With a success rate of $p$ and $G$ independent
# samples that happens with probability
#
# $$1 - p^G - (1 - p)^G .$$
#
# ### Exercise 11.1: does a group teach?
#
# Difficulty ●○○○○ · 4 minutes

# %%
def teaches(p: float, group: int) -> float:
    """Chance that a group holds a success and a failure: ``teaches(0.5, 2)`` is 0.5."""
    raise NotImplementedError

# %%
with notebook.exercise("11.1"):
    assert teaches(0.0, 8) == 0, "nothing succeeds, nothing stands out"
    assert teaches(1.0, 8) == 0, "everything succeeds, nothing stands out"
    assert abs(teaches(0.5, 2) - 0.5) < 1e-9, "two coins differ half of the time"
    assert teaches(0.01, 8) < 0.08 < 0.99 < teaches(0.5, 8), "a wide window"
    assert abs(teaches(0.2, 8) - teaches(0.8, 8)) < 1e-9, "and it is symmetric"

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
# ## The left edge: no SFT
#
# The paper tried RL on the model as it came from the hub, without an SFT start. It answered in
# prose and code instead of the form, and success stayed below half a per cent (section 5.4,
# figure 9). Our Init knows the form already, so we have to go further back: the same network
# with *random* weights. What does one batch of its answers earn?

# %%
import copy
import random

import torch

from sftrl_lite.general_points import general_points
from sftrl_lite.models import load
from sftrl_lite.rollouts import rollout
from sftrl_lite.runs import held_out, train_hands

base, tokenizer = load(scale.base)
task = general_points("id")
hands = train_hands(task, scale.sft.hands, seed=0)
limit = dict(max_new_tokens=scale.rl.max_new_tokens)

torch.manual_seed(0)
untrained = type(base)(base.config).to(base.device).eval()

def earned(model) -> torch.Tensor:
    """Rewards of one try at 24 hands, 8 samples each: (24, 8)."""
    dice = torch.Generator(model.device).manual_seed(0)
    some = random.Random(0).sample(hands, 24)
    played = rollout(model, tokenizer, task, some, samples=8, tries=1,
                     generator=dice, **limit)
    return torch.tensor([e.turns[0].reward for e in played]).reshape(24, 8)

# %%
for name, model in (("untrained", untrained), ("Init", base)):
    rewards = earned(model)
    differ = (rewards.amax(1) > rewards.amin(1)).float().mean()
    print(f"{name:10} mean reward {rewards.mean():+.2f}, "
          f"hands whose samples differ: {differ:.0%}")

# %% [markdown]
# Where all samples earn the same, every advantage is zero and so is the policy's gradient:
# not slow learning, but none. Init stands in the window: most of its hands have better
# and worse answers. Between the two lies what pre-training and a first SFT are for: the
# form of an answer, and a success now and then.
#
# ## Imitation's own curve
#
# Now to the right. We imitate the solver from Init, at the pushed rate of chapter 3, and keep
# copies on the way. How does success at the first try develop under the trained rule, the
# development rule and the shifted rule?

# %%
from sftrl_lite.evaluate import distance, evaluate

AT = (0, 4, 8, 16, 32, 64, 128)
KEPT = (0, 32, 128)
size = scale.eval_episodes // 2
problems = {split: held_out(general_points(split), size, 0, hands)
            for split in ("id", "dev-rule", "ood-rule")}

def look(model) -> dict[str, float]:
    """First-try success on three rules; reading and entropy under the shifted one."""
    found = {}
    for split, some in problems.items():
        measured, played = evaluate(model, tokenizer, general_points(split), some,
                                    tries=1, **limit)
        found[split] = measured["success"].value
        found[f"read {split}"] = measured["read"].value
    pad = tokenizer.pad_token_id
    found["entropy"] = distance(model, base, played[:150], pad)["entropy"].value
    return found

# %%
from dataclasses import replace

from tqdm.auto import tqdm

from sftrl_lite.models import ROOT
from sftrl_lite.sft import demonstrations, train_sft

student = load(scale.base)[0]
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

# %%
import pandas as pd

table = pd.DataFrame(curve).T.rename_axis("SFT steps")
table.round(3)

# %% [markdown]
# Jin et al. (2025) made this curve on the paper's own task at 11 B parameters: shifted
# success rises from 0 to 17.5 % at step 140 and then decays, to 6.9 % at step 1100. There
# the rise is mostly the *form*: at step 10 all answers are illegal, at step 50 one in twenty.
# Our Init has the form, so there is less to rise.
#
# ### Exercise 11.2: stop without peeking
#
# Difficulty ●●○○○ · 6 minutes
#
# "The best early checkpoint" is known only to who looks at the shifted rule. A fair choice uses
# another split. Return the step that the development curve would choose (the first of the
# best), and the *regret*: how many points of shifted success that choice gives away.

# %%
def chosen_by(dev: dict[int, float], ood: dict[int, float]) -> tuple[int, float]:
    """(step, regret in points): ``({0: .1, 8: .3}, {0: .2, 8: .1})`` -> (8, 10.0)."""
    raise NotImplementedError

# %%
with notebook.exercise("11.2"):
    step, regret = chosen_by({0: 0.1, 8: 0.3}, {0: 0.2, 8: 0.1})
    assert step == 8, "the development rule is best at 8"
    assert abs(regret - 10) < 1e-9, "20 % was there, 10 % was chosen"
    assert chosen_by({0: 0.3, 8: 0.3}, {0: 0.2, 8: 0.1})[0] == 0, "the first best"
    assert chosen_by({0: 0.1, 8: 0.3}, {0: 0.1, 8: 0.2})[1] == 0, "no regret"

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
    f"{100 * table['ood-rule'][by_dev]:.1f} %), the trained rule at step {by_id} "
    f"({100 * table['ood-rule'][by_id]:.1f} %); the best was step {best} "
    f"({100 * table['ood-rule'][best]:.1f} %). One seed."
)

# %% [markdown]
# ## RL from each of them
#
# From Init, a middle and a late checkpoint: eight steps of PPO each, on the same hands, with
# the scale's settings.

# %%
from sftrl_lite.rl import new_learner, rl_step

settings = scale.rl
after = {}
for start in tqdm(KEPT):
    student.load_state_dict(kept[start])
    learner = new_learner(student, settings, seed=0)
    for _ in range(8):
        rl_step(learner, tokenizer, task, hands, settings, seed=0)
    after[start] = look(student)

both = pd.DataFrame(after).T[["id", "ood-rule", "read ood-rule", "entropy"]]
sft = table.loc[list(KEPT), both.columns]
both = sft.join(both, lsuffix=" SFT", rsuffix=" then RL")
both.rename_axis("SFT steps").sort_index(axis=1).round(3)

# %% [markdown]
# ### Exercise 11.3: how much was restored?
#
# Difficulty ●●○○○ · 5 minutes
#
# "RL heals" needs a number. Of the points that SFT lost against Init, which share does RL bring
# back? 0: nothing, 1: all of it, more than 1: more than was lost. Where nothing was lost
# the question has no answer: return `nan`.

# %%
import math


def restored(init: float, sft: float, rl: float) -> float:
    """Share of a loss that RL brings back: ``restored(0.3, 0.1, 0.2)`` is 0.5."""
    raise NotImplementedError

# %%
with notebook.exercise("11.3"):
    assert abs(restored(0.3, 0.1, 0.2) - 0.5) < 1e-9, "half of the loss"
    assert abs(restored(0.3, 0.1, 0.1)) < 1e-9, "nothing came back"
    assert restored(0.3, 0.2, 0.5) > 1, "more than was lost"
    assert math.isnan(restored(0.3, 0.4, 0.5)), "no loss, no share"
    assert math.isnan(restored(0.3, 0.3, 0.5)), "no change is no loss either"
    assert restored(0.3, 0.1, 0.05) < 0, "RL can also make it worse"

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
first, late = curve[0]["ood-rule"], KEPT[-1]
lost = first - curve[late]["ood-rule"]
back = after[late]["ood-rule"] - curve[late]["ood-rule"]
notebook.show(
    f"{late} steps of SFT took {100 * lost:+.1f} points of shifted first-try success; "
    f"RL from there gave {100 * back:+.1f} back and ends at "
    f"{100 * after[late]['ood-rule']:.1f} %, RL from Init at "
    f"{100 * after[0]['ood-rule']:.1f} % (one seed)."
)

# %% [markdown]
# ## The figure of this chapter
#
# Left what Jin et al. (2025) published for the 11 B model: shifted success of SFT by
# checkpoint, and of RL that starts there. Right our recorded runs: the same two curves, over
# seeds, with 95 % intervals. The horizontal axes are training steps of SFT.

# %%
import matplotlib.pyplot as plt
import numpy as np

from sftrl_lite import ledger, plots
from sftrl_lite.claims import option

JIN_SFT = {0: 0, 90: 13.7, 140: 17.5, 200: 15.8, 300: 16.2, 400: 11.5, 500: 10.7,
           700: 10.3, 800: 6.0, 900: 5.1, 1100: 6.9, 1600: 6.8}
JIN_RL = {90: 4.3, 140: 8.5, 300: 8.1, 400: 10.3, 500: 15.4, 700: 14.1, 900: 12.4,
          1100: 16.2, 1200: 4.7, 1600: 4.7}

rows = ledger.read()
rows = rows[rows["scale"] == scale.name]
alone = (rows["experiment"] == "why") & (rows["method"] == "rl-ppo")  # RL from Init
rows = rows[alone | (rows["experiment"] == "window")]
rows = rows.assign(warmup=option(rows, "warmup").astype(int))
rows["end"] = rows["step"] > 0

# %%
def recorded(metric: str, split: str, end: bool) -> pd.DataFrame:
    """Mean and interval by SFT steps before RL; ``end``: after RL."""
    part = rows[(rows["metric"] == metric) & (rows["split"] == split)]
    lines = {}
    for warmup, some in part[part["end"] == end].groupby("warmup"):
        value = plots.over_seeds(some).iloc[0]
        lines[warmup] = value[["mean", "low", "high", "seeds"]]
    return pd.DataFrame(lines).T.astype(float)

# %%
LOOKS = {"SFT": ("#D55E00", "s", "--"), "then RL": ("#0072B2", "o", "-")}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for name, published in (("SFT", JIN_SFT), ("then RL", JIN_RL)):
    colour, marker, line = LOOKS[name]
    axes[0].plot(*zip(*published.items(), strict=True), color=colour, marker=marker,
                 ls=line, label=name)
words = []
for name, end in (("SFT", False), ("then RL", True)):
    found = recorded("success@1", "ood-rule", end)
    colour, marker, line = LOOKS[name]
    x, y = np.arange(len(found)), 100 * found
    axes[1].plot(x, y["mean"], color=colour, marker=marker, ls=line)
    axes[1].fill_between(x, y["low"], y["high"], color=colour, alpha=0.18, lw=0)
    axes[1].set_xticks(x, found.index)
    words += [f"{name} after {i}: {m:.1f} %" for i, m in y["mean"].items()]
axes[0].set(title="Jin et al. 2025, 11 B", xlabel="SFT steps", ylabel="OOD, %")
axes[1].set(title="here, first try", xlabel="SFT steps (pushed rate)", ylim=(0, None))
axes[0].legend()
notebook.figure(fig, alt="Shifted success of SFT checkpoints and of RL from them. "
                "Published: SFT rises to 17.5 % at step 140 and falls to 6.8 %; RL "
                "from there between 4.3 and 16.2 %. Here: " + "; ".join(words))

# %%
stages = rows.groupby("warmup")["seed"].nunique()
print("recorded seeds by SFT steps:", stages.to_dict())
if len(stages) < 4 or stages.min() < 3:
    print("the rest: python -m sftrl_lite sweep results/sweeps/analysis.toml --jobs 2")

later, before = (recorded("success@1", "ood-rule", e)["mean"] for e in (True, False))
told = ", ".join(f"{100 * g:+.1f} after {w}" for w, g in (later - before).items())
notebook.show(f"What RL adds to shifted first-try success, by SFT steps before it: "
              f"{told} (points, means over the recorded seeds).")

# %%
from sftrl_lite.claims import claims_table

claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 11].drop(columns="chapter").set_index("claim"))

# %% [markdown]
# ## What foretells RL's result?
#
# Whoever can pay for one RL run wants to know from which checkpoint to start. The score of
# SFT itself is a poor guide (Kang et al., 2025). Candidates that cost nothing more: entropy,
# which is what is left to choose from; reading, which RL is not paid to repair; success.
#
# ### Exercise 11.4: rank correlation
#
# Difficulty ●●●○○ · 8 minutes
#
# With so few checkpoints only the *order* deserves trust. Spearman's coefficient is the
# correlation of the ranks. Write it; equal values share the mean of their ranks.

# %%
def rank_correlation(x: list[float], y: list[float]) -> float:
    """Spearman's coefficient, -1 to 1: ``([1, 2, 3], [10, 20, 90])`` -> 1."""
    raise NotImplementedError

# %%
from scipy.stats import spearmanr

with notebook.exercise("11.4"):
    assert abs(rank_correlation([1, 2, 3], [10, 20, 90]) - 1) < 1e-9, "same order"
    assert abs(rank_correlation([1, 2, 3], [9, 2, 1]) + 1) < 1e-9, "opposite order"
    mixed = rank_correlation([2, 1, 3], [3, 1, 2])
    assert abs(mixed - 0.5) < 1e-9, "a rank is a place, not the order of argsort"
    x, y = [1.0, 1.0, 2.0, 5.0], [3.0, 1.0, 2.0, 4.0]
    want = spearmanr(x, y).statistic
    assert abs(rank_correlation(x, y) - want) < 1e-9, "equal values share a rank"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `pd.Series(x).rank()` shares ranks by itself; `.corr` correlates two series.
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

# %%
keys = ["warmup", "seed"]
before, later = (rows[rows["end"] == end] for end in (False, True))
target = later[(later["metric"] == "success@1") & (later["split"] == "ood-rule")]
target = target.set_index(keys)["value"]
foretold = {}
for metric, split in [("success@1", "id"), ("success@1", "ood-rule"),
                      ("read", "ood-rule"), ("entropy", "ood-rule"), ("kl", "id")]:
    known = before[(before["metric"] == metric) & (before["split"] == split)]
    pairs = known.set_index(keys)["value"].to_frame("x").join(target)
    foretold[f"{metric} {split}"] = pairs["x"].corr(pairs["value"], method="spearman")
print(f"{len(target)} recorded runs; Spearman with shifted success after RL:")
pd.Series(foretold).round(2)

# %% [markdown]
# ## A place to play
#
# The live checkpoints: choose what is drawn against what. When does reading begin to fall, and
# what happens to entropy before that?

# %%
import base64
import io

from sftrl_lite.widgets import explorer

live = table.rename(columns=lambda name: f"SFT: {name}").reset_index()

def as_html(x: str, y: str) -> tuple[str, str]:
    """A curve for the page, with its alt text, and a sentence about it."""
    fig, axis = plt.subplots(figsize=(6, 3.4))
    axis.plot(live[x], live[y], "o-", color="#0072B2")
    axis.set(xlabel=x, ylabel=y)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=80)
    plt.close(fig)
    png = base64.b64encode(buffer.getvalue()).decode()
    said = f"{y} goes from {live[y].iloc[0]:.2f} to {live[y].iloc[-1]:.2f}"
    return f'<img alt="Curve. {said}" src="data:image/png;base64,{png}">', said

explorer(live, as_html)

# %% [markdown]
# ## What it means, and what it does not
#
# The left edge is arithmetic: where all samples earn alike there is no gradient. The right
# edge is about what is *left*: RL chooses among the answers that a model still gives. What
# imitation has made improbable is rarely sampled, and what is not sampled is not paid.
#
# "RL heals" and "RL does not recover" (the paper's section 5.4) are less opposed than they
# sound: the first speaks of checkpoints within the window, the second of one far outside.
# Here, at the pushed rate, the window closes within a few dozen steps: RL adds less the
# longer SFT has run, down to nothing. Nor does shifted success rise before it decays. This Init
# has its form already; the first steps cost it half of its success under *both* rules, a part
# comes back, and then the shifted rule decays. (Such a dip is reported for large models, too:
# [Rethinking Generalization in Reasoning SFT](https://arxiv.org/abs/2604.06628), 2026.)
#
# What this chapter does *not* show:
#
# - *Where the window is for a large model.* Steps depend on rate, batch and model. What
#   carries over is the order of events: form, success, then loss of choice.
# - *That longer RL would not get there.* Eight steps live, a third of the headline's compute
#   recorded. A policy that reads wrongly can be repaired if right reading is ever paid.
# - *That early stopping beats RL.* The curve of SFT stands beside RL's in the figure. At 11 B
#   the best early checkpoint was level with the best RL; here look at the table.
#
# ## Further reading
#
# - Jin et al. (2025), [RL Fine-Tuning Heals OOD Forgetting in
#   SFT](https://arxiv.org/abs/2509.12235), sections 3 and 4 (25 minutes).
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   section 5.4 and figures 9, 19 and 20 (10 minutes).
# - Kang et al. (2025), [Quagmires in SFT-RL Post-Training](https://arxiv.org/abs/2510.01624):
#   what foretells RL (20 minutes).
# - [From Atomic to Composite](https://arxiv.org/abs/2512.01970) (2025): RL composes what SFT
#   has taught first (15 minutes).
#
# Next: [12. Why: distance, data, prompt](12_why_distance_data_prompt.ipynb).
