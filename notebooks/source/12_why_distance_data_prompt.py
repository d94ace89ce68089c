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
# # 12. Why: distance, data, prompt
#
# Imitation forgets about as much as it moves, and it moves as far as its answers are foreign to
# the model; the same cross-entropy on the model's *own* verified answers keeps what it
# loses on a solver's. We measure the distance, change the data, the loss and the leash one at
# a time, at equal compute, and look for the old rule with a control of its own.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Compute the least distance that a gain in success costs, and see who pays more.
# - Measure how foreign a demonstration is to a model, in nats.
# - Turn a verifier into training data by rejection sampling.
# - Write the gradients of three imitation losses and say which token each one moves.
# - Tell a model that *cannot* from one that *holds on to the old rule*.
# - Read "RL changes few weights" with the number format in mind.

# %%
from sftrl_lite import notebook

scale = notebook.setup()

# %% [markdown]
# ## Five answers, by hand
#
# A model answers the hand 3, 5, 6, J (J = 10) in one of five ways. Two are right. It likes
# one of them, and hardly ever writes the other, which is the one in the textbook.

# %%
import math

init = {"3+5+6+10": 0.30, "(10-6)*(3+5)-8": 0.40, "5*6-10+3": 0.28,
        "10+6+5+3": 0.02, "3*5+10-6": 0.00}
right = {"3+5+6+10", "10+6+5+3"}
print(f"Init is right in {sum(init[a] for a in right):.0%} of its answers")

# %% [markdown]
# How far is it to a model that is always right? Distance is $\mathrm{KL}(q \| p_0) =
# \sum_a q(a) \log (q(a) / p_0(a))$, in nats; $p_0$ is Init. Two models are always right:
# one that imitates the textbook, and one that only stopped writing what is wrong.

# %%
def kl(q: dict[str, float], p: dict[str, float]) -> float:
    """KL(q || p) in nats over the same answers."""
    return sum(q[a] * math.log(q[a] / p[a]) for a in q if q[a] > 0)

textbook = {"10+6+5+3": 1.0}
mass = sum(init[a] for a in right)
selected = {a: init[a] / mass for a in right}
print(f"imitate the textbook: {kl(textbook, init):.2f} nats")
print(f"keep what was right:  {kl(selected, init):.2f} nats, -log(0.32) = "
      f"{-math.log(mass):.2f}")

# %% [markdown]
# Both are perfect on this hand. The second has moved a third as far. No model that is
# always right can be nearer: restricting $p_0$ to the right answers is the *least* that
# has to happen. That is where rewarding one's own answers leads, since answers that are
# never sampled are never paid. (Shenfeld et al., 2025, call the preference RL's razor.)
#
# ### Exercise 12.1: the least distance
#
# Difficulty ●●●○○ · 8 minutes
#
# Init is right with probability $p$. What is the least $\mathrm{KL}(q \| p_0)$ of a $q$ that is
# right with probability $s$? Within right and within wrong answers nothing needs to change,
# so only two numbers count:
#
# $$s \log \frac{s}{p} + (1 - s) \log \frac{1 - s}{1 - p}, \qquad 0 \log 0 = 0 .$$

# %%
def least_kl(p: float, s: float) -> float:
    """Nats from success p to s at the least: ``least_kl(0.5, 1.0)`` is log 2."""
    raise NotImplementedError

# %%
with notebook.exercise("12.1"):
    assert abs(least_kl(0.5, 1.0) - math.log(2)) < 1e-9, "the wrong half goes"
    assert abs(least_kl(0.32, 1.0) - 1.139) < 1e-3, "the hand above"
    assert least_kl(0.3, 0.3) == 0, "no change, no distance"
    assert least_kl(0.3, 0.1) > 0, "getting worse is a way, too"
    assert 0 < least_kl(0.5, 0.9) < least_kl(0.5, 0.99) < math.log(2), "it grows with s"
    assert abs(least_kl(0.5, 0.9) - 0.368) < 1e-3, "both terms, with their signs"
    assert abs(least_kl(0.25, 0.0) - math.log(4 / 3)) < 1e-9, "0 log 0 = 0 here, too"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Skip a term whose share is 0.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def least_kl(p: float, s: float) -> float:
#     pairs = [(s, p), (1 - s, 1 - p)]
#     return sum(new * math.log(new / old) for new, old in pairs if new > 0)
# ```
#
# </details>
#
# ## The bill
#
# The recorded runs know how far each method went for what it gained. Success at the first
# try under the *trained* rule, the least distance for that gain, and the distance that was
# measured on the model's own answers (means over seeds, all at equal compute):

# %%
import pandas as pd

from sftrl_lite import ledger, plots
from sftrl_lite.report import recorded

def least(p: float, s: float) -> float:
    """The solution of exercise 12.1, so that this cell runs without it."""
    pairs = [(s, p), (1 - s, 1 - p)]
    return sum(new * math.log(new / old) for new, old in pairs if new > 0)

runs = plots.with_points(recorded("headline", "push", "controls", "grpo"))
runs = runs[(runs["split"] == "id") & runs["metric"].isin(["success@1", "kl"])]
last = runs["point"] == runs.groupby("method")["point"].transform("max")
wide = runs[last].pivot_table(index="method", columns="metric", values="value")
start = runs[(runs["point"] == 0) & (runs["metric"] == "success@1")]["value"].mean()
wide["least kl"] = [least(start, s) for s in wide["success@1"]]
wide["wasted"] = wide["kl"] - wide["least kl"]
wide.sort_values("wasted").round(2)

# %%
rl, sft = wide.loc["rl-ppo"], wide.loc["sft"]
notebook.show(
    f"RL went {rl['kl']:.2f} nats for a gain that costs {rl['least kl']:.2f} at the "
    f"least; SFT went {sft['kl']:.2f} for one that costs {sft['least kl']:.2f}."
)

# %% [markdown]
# So most of SFT's way buys nothing on fresh hands. Where does it go?
#
# ## How foreign is an answer?
#
# A demonstration $y$ that Init writes with probability $p_0(y \mid x)$ pulls the model by
# $-\log p_0(y \mid x)$ nats if it is learned by heart. Three kinds of *right* answers
# to the same training hands: the solver's (what SFT imitates), the base's textbook (what
# `sft-own` imitates), and Init's own answers that the verifier accepted. The last ones
# come from `sft.verified`, which samples and filters:

# %%
from sftrl_lite.general_points import general_points
from sftrl_lite.models import load
from sftrl_lite.runs import train_hands
from sftrl_lite.sft import verified

task = general_points("id")
hands = train_hands(task, scale.sft.hands, seed=0)[:60]
base, tokenizer = load(scale.base)
limit = scale.rl.max_new_tokens
own, tokens = verified(base, tokenizer, task, hands, seed=0, max_new_tokens=limit)
print(f"{len(own)} of {8 * len(hands)} answers accepted, {tokens} tokens sampled")
print(f"{len({hand.cards for hand, _ in own})} of {len(hands)} hands have one")

# %%
import torch


@torch.no_grad()
def surprise(model, pairs) -> list[float]:
    """-log p(answer | prompt) of (problem, answer) pairs under the model, in nats."""
    found = []
    for hand, answer in pairs:
        chat = [{"role": "user", "content": task.prompt(hand)},
                {"role": "assistant", "content": answer}]
        coded = tokenizer.apply_chat_template(
            chat, return_assistant_tokens_mask=True, return_dict=True)
        ids = torch.tensor([coded["input_ids"]], device=model.device)
        logps = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        mine = torch.tensor(coded["assistant_masks"][1:], device=model.device)
        said = logps.gather(1, ids[0, 1:, None])[:, 0]
        found.append(-float((said * mine).sum()))
    return found

# %%
from sftrl_lite.evaluate import mean_interval

kinds = {"solver's": [(hand, task.demonstration(hand)) for hand in hands],
         "base's textbook": [(hand, task.habit(hand)) for hand in hands],
         "own, verified": own[::4]}
foreign = {name: mean_interval(surprise(base, pairs)) for name, pairs in kinds.items()}
for name, e in foreign.items():
    print(f"{name:16} {e.value:5.2f} nats an answer [{e.low:.2f}, {e.high:.2f}]")

# %% [markdown]
# ### Exercise 12.2: a verifier makes data
#
# Difficulty ●●○○○ · 6 minutes
#
# Write the filter. Given hands and some answers to each, return the pairs of a hand and an
# answer that the task's verifier calls solved. An answer that was sampled twice counts
# twice: so the data has the model's own proportions.

# %%
from sftrl_lite.general_points import GeneralPoints, Hand, write_answer


def accepted(
    task: GeneralPoints, hands: list[Hand], answers: list[list[str]]
) -> list[tuple]:
    """Pairs (hand, answer) that ``task.verify`` accepts, in their order."""
    raise NotImplementedError

# %%
with notebook.exercise("12.2"):
    one, two = Hand(("3", "5", "6", "J")), Hand(("A", "A", "A", "A"))
    good = write_answer(one, "3+5+6+10")
    bad = write_answer(one, "3+5+6*10")
    found = accepted(general_points("id"), [one, two], [[good, bad, good], ["24"]])
    assert (one, bad) not in found, "a wrong answer teaches nothing"
    assert found.count((one, good)) == 2, "an answer weighs as often as it was sampled"
    assert all(hand == one for hand, _ in found), "a hand without a right answer is out"
    found = accepted(general_points("id"), [one, one], [[good], [bad]])
    assert found == [(one, good)], "each hand is judged with its own answers"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two loops and `task.verify(hand, answer).solved`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def accepted(
#     task: GeneralPoints, hands: list[Hand], answers: list[list[str]]
# ) -> list[tuple]:
#     return [
#         (hand, answer)
#         for hand, said in zip(hands, answers, strict=True)
#         for answer in said
#         if task.verify(hand, answer).solved
#     ]
# ```
#
# </details>
#
# ## One change: whose answers
#
# Now train. Two runs side by side, one seed: the same trainer, loss, learning rate, hands
# and compute (sampling and filtering are counted). Only the answers differ.

# %%
from sftrl_lite.headline import side_by_side
from sftrl_lite.models import ROOT
from sftrl_lite.runs import Run

options = dict(scale=scale.name, tflop=scale.tflop / 6, points=1, pass_samples=0,
               final_episodes=scale.eval_episodes // 2)
plan = {method: Run(method, **options) for method in ("sft", "sft-verified")}
folder = ROOT / "runs" / "chapter-12" / plan["sft"].hash
live = plots.with_points(side_by_side(plan, folder, "chapter-12"))
shown = live[live["metric"].isin(["success@1", "greedy", "read", "kl"])]
shown = shown[shown["split"].isin(["id", "ood-rule"])]
shown.pivot_table(
    index=["method", "point"], columns=["split", "metric"], values="value").round(2)

# %%
def end(method: str, split: str, metric: str) -> float:
    """A number at the end of a live run."""
    row = (live["method"] == method) & (live["split"] == split) & (live["point"] == 1)
    return float(live.loc[row & (live["metric"] == metric), "value"].iloc[0])

a, b = ((end(m, "ood-rule", "greedy"), end(m, "id", "kl"))
        for m in ("sft", "sft-verified"))
notebook.show(
    f"On the solver's answers SFT ends {a[1]:.1f} nats from Init, and its likeliest "
    f"answers solve {100 * a[0]:.0f} % under the shifted rule; on its own verified "
    f"answers {b[1]:.1f} nats and {100 * b[0]:.0f} % (one seed)."
)

# %% [markdown]
# ## Other ways out: the loss, the leash
#
# If foreign tokens are the trouble, one can also listen to them less. Write $p$ for the model's
# distribution at one position, $y$ for the demonstrated token, $\mathbb{1}_y$ for its one-hot
# vector. SFT's gradient in the logits is $p - \mathbb{1}_y$ (chapter 3). Seen as RL it is a
# reward of $1 / p_y$ for the one token $y$: the rarer the token, the larger the pay.
#
# *Dynamic fine-tuning* (DFT; Wu et al., 2025) cancels that factor. It multiplies the loss by
# $p_y$ and holds that factor constant:
#
# $$\mathcal{L}_\text{DFT} = -\operatorname{sg}(p_y) \log p_y,
# \qquad \nabla_z = p_y\, (p - \mathbb{1}_y).$$
#
# A *leash* adds the distance to Init at that position:
#
# $$\mathcal{L}_\text{leash} = -\log p_y + \mathrm{KL}(p_0 \| p), \qquad
# \nabla_z = 2 p - \mathbb{1}_y - p_0 .$$
#
# Half of the leash's target is Init's own word.
#
# ### Exercise 12.3: three pulls
#
# Difficulty ●●●○○ · 8 minutes

# %%
def pull(z: torch.Tensor, y: int, p0: torch.Tensor, loss: str) -> torch.Tensor:
    """Gradient in the logits (V,) of ``nll``, ``dft`` or ``leash``: (V,)."""
    raise NotImplementedError

# %%
import torch.nn.functional as F

with notebook.exercise("12.3"):
    z = torch.tensor([3.0, 0.0, -1.0], requires_grad=True)
    p0, logp = torch.tensor([0.7, 0.2, 0.1]), z.log_softmax(-1)
    losses = {"nll": -logp[2], "dft": -logp[2].exp().detach() * logp[2],
              "leash": -logp[2] + F.kl_div(logp, p0, reduction="sum")}
    for name, value in losses.items():
        want = torch.autograd.grad(value, z, retain_graph=True)[0]
        found = pull(z.detach(), 2, p0, name)
        assert torch.allclose(found, want, atol=1e-5), f"autograd disagrees on {name}"
    rare = pull(torch.tensor([8.0, 0.0]), 1, torch.tensor([0.5, 0.5]), "dft")
    assert float(rare.abs().max()) < 0.01, "DFT hardly moves for a rare token"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Start from `p = z.softmax(-1)` and `onehot = F.one_hot(torch.tensor(y), len(z))`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def pull(z: torch.Tensor, y: int, p0: torch.Tensor, loss: str) -> torch.Tensor:
#     p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
#     if loss == "leash":
#         return 2 * p - onehot - p0
#     return (p - onehot) * (p[y] if loss == "dft" else 1)
# ```
#
# </details>
#
# Both are methods of this package: `sft-dft` (trl's own loss) and `sft-kl`
# (`sft.LeashedTrainer`, with that weight of 1, which was not tuned). A leash costs a forward
# pass of Init at every token; it is counted, so `sft-kl` takes fewer steps.
#
# ## All of them, at equal compute
#
# Recorded, several seeds. Left: solved within five tries under the shifted rule. Middle: what
# the likeliest answer solves there. Right: the distance from Init under the trained rule.

# %%
why = recorded("why", "why-push")
why = why[why["scale"] == scale.name]
ORDER = ["rl-ppo", "sft-verified", "sft-own", "sft-kl", "sft-dft", "sft-varied", "sft",
         "sft-pushed"]
PANELS = [("success", "ood-rule", "solved, shifted rule"),
          ("greedy", "ood-rule", "greedy, shifted rule"),
          ("kl", "id", "KL(model || Init), nats")]
summary = plots.over_seeds(why[why["metric"].isin(["success", "greedy", "kl"])])
there = [m for m in ORDER if m in set(summary["method"])]
print(f"recorded: {', '.join(there) or 'nothing'}; to make the rest:")
print("python -m sftrl_lite sweep results/sweeps/analysis.toml --jobs 2")

# %%
import matplotlib.pyplot as plt

from sftrl_lite.plots import LOOKS

def panel(axis, metric: str, split: str, title: str) -> str:
    """Ends of all methods with intervals, Init as a line; returns them in words."""
    here = summary[(summary["metric"] == metric) & (summary["split"] == split)]
    words = [f"{title}: Init {here[here['point'] == 0]['mean'].mean():.2f}"]
    axis.axvline(here[here["point"] == 0]["mean"].mean(), color="#555555", ls=":")
    for y, method in enumerate(there):
        row = here[(here["method"] == method) & (here["point"] > 0)].iloc[0]
        colour, marker, _, label = LOOKS[method]
        axis.plot([max(row["low"], 0), row["high"]], [y, y], color=colour, lw=2)
        axis.plot(row["mean"], y, marker, color=colour)
        words.append(f"{label} {row['mean']:.2f}")
    axis.set_yticks(range(len(there)), [LOOKS[m][3] for m in there])
    axis.set(title=title, ylim=(len(there) - 0.5, -0.5), xlim=(0, None))
    axis.grid(True, axis="x")
    return ", ".join(words)

# %%
if there:
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
    said = [panel(axis, *what) for axis, what in zip(axes, PANELS, strict=True)]
    alt = "All methods at equal compute, means and intervals over seeds. "
    notebook.figure(fig, alt=alt + "; ".join(said))

# %% [markdown]
# The differences that matter, by seed, with a verdict from the interval alone (chapter 13
# has the whole table):

# %%
from sftrl_lite.claims import claims_table

claims = claims_table()
with pd.option_context("display.max_colwidth", None):
    display(claims[claims["chapter"] == 12].drop(columns="chapter").set_index("claim"))

# %% [markdown]
# ## Anchored, or unable?
#
# A model that fails under the shifted rule may be unable to make 24 from 11, 12 and 13. Or it
# may hold on to the old rule. Lin et al. (2025) separate the two with a fake environment: the
# prompt says the *new* rule, but answers by the *old* one are accepted. Who is anchored
# scores there.
#
# ### Exercise 12.4: the fake judge
#
# Difficulty ●●●○○ · 10 minutes
#
# Given hands under the shifted rule and the answers to them, return the share that the
# *trained* rule would accept, among the hands that it can solve at all.

# %%
from sftrl_lite.cards import ID_RULE, OOD_RULE
from sftrl_lite.solver import solutions
from sftrl_lite.verifier import verify_formula


def fake_share(hands: list[Hand], answers: list[str]) -> float:
    """Share of answers that are right if J = Q = K = 10; hands without a solution
    under that rule are left out."""
    raise NotImplementedError

# %%
with notebook.exercise("12.4"):
    jack = Hand(("3", "5", "6", "J"), OOD_RULE)
    king = Hand(("A", "A", "J", "K"), OOD_RULE)  # 1, 1, 10, 10 cannot make 24
    old, new = write_answer(jack, "3+5+6+10"), write_answer(jack, "11+3*6-5")
    assert fake_share([jack], [old]) == 1, "right by the old rule"
    assert fake_share([jack], [new]) == 0, "right by the new rule only"
    assert fake_share([jack, jack], [old, new]) == 0.5, "a share"
    assert fake_share([jack, king], [old, "{}"]) == 1, "no old answer to A A J K"
    assert fake_share([king, jack], ["{}", old]) == 1, "each hand keeps its own answer"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `ID_RULE.values(hand.cards)` are the old numbers; `solutions(numbers, hand.target)` is empty
# if they cannot do it; `verify_formula(answer, numbers, hand.target).solved` judges.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fake_share(hands: list[Hand], answers: list[str]) -> float:
#     hits = [
#         verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
#         for hand, answer in zip(hands, answers, strict=True)
#         if solutions(ID_RULE.values(hand.cards), hand.target)
#     ]
#     return sum(hits) / len(hits)
# ```
#
# </details>
#
# The same measure is the metric `fake` in the ledger. Beside it, what the announced rule
# accepts at the first try:

# %%
fakes = plots.over_seeds(why[why["metric"].isin(["fake", "success@1", "read"])])
fakes = fakes[(fakes["split"] == "ood-rule") & (fakes["point"] > 0)]
fakes = fakes.pivot_table(index="method", columns="metric", values="mean")
(100 * fakes.reindex(there)).round(1)

# %% [markdown]
# Read the column `fake` against the 68 % that Lin et al. report for an 8 B model after
# answer-only SFT. If it stays near zero, these models did not fall back on the old rule:
# they still read, and write formulas that do not come out. At this size the *prompt* part of
# the published explanation is not what is seen; the *data* part is.
#
# ## Distance against forgetting
#
# Every recorded run on cards in text, every evaluation after Init: how far the model has gone
# (under the trained rule) and what its likeliest answers have lost under the shifted one. KL
# has a direction: $\mathrm{KL}(\pi \| p_0)$ asks how strange Init finds the model's answers,
# $\mathrm{KL}(p_0 \| \pi)$ how strange the model finds Init's, wrong ones included. The paper
# on RL's razor uses the second; ours is recorded for the runs of this chapter only.

# %%
DISTANCES = {"kl id": "KL(model || Init)", "kl_init id": "KL(Init || model)",
             "kl ood-rule": "KL(model || Init), shifted"}

def points_of(rows: pd.DataFrame) -> pd.DataFrame:
    """One evaluation a row: distances, and changes under the shifted rule in points."""
    keys = ["experiment", "method", "config_hash", "step"]
    rows = rows.assign(name=rows["metric"] + " " + rows["split"])
    wide = rows.pivot_table(index=keys, columns="name", values="value").reset_index()
    out = wide[["method", "step"]].copy()
    for metric, name in DISTANCES.items():
        out[name] = wide[metric] if metric in wide else float("nan")
    run = wide.groupby("config_hash")
    for metric, name in (("read", "reading"), ("success@1", "first try"),
                         ("greedy", "greedy")):
        now = wide[f"{metric} ood-rule"]
        out[name] = 100 * (now - run[f"{metric} ood-rule"].transform("first"))
    return out[out["step"] > 0].drop(columns="step")

kept = ["headline", "push", "controls", "grpo", "why", "why-push"]
points = points_of(recorded(*kept).query("scale == @scale.name"))
print(f"{len(points)} evaluations of {points['method'].nunique()} methods")

# %% [markdown]
# $R^2$ is the share of variance that a straight line explains, here the squared correlation.
# Shenfeld et al. report 0.96 on a toy task and 0.71 for language models.

# %%
def picture(x: str, y: str) -> tuple[plt.Figure, str]:
    """A scatter of two columns of ``points``, and its R squared in words."""
    r2 = points[x].corr(points[y]) ** 2
    rl = points[points["method"].str.startswith("rl")]
    inner = rl[x].corr(rl[y]) ** 2
    fig, axis = plt.subplots(figsize=(6.4, 4))
    for method, part in points.groupby("method"):
        colour, marker, _, label = LOOKS[method]
        axis.plot(part[x], part[y], marker, color=colour, label=label, alpha=0.8)
    names = [f"{n}, {'nats' if 'KL' in n else 'change in points'}" for n in (x, y)]
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.axhline(0, color="#555555", lw=1, ls=":")
    axis.legend(fontsize=8)
    return fig, f"{x} against {y}: R² {r2:.2f} over all, {inner:.2f} within RL"

for distance in ("KL(model || Init)", "KL(Init || model)"):
    fig, said = picture(distance, "greedy")
    notebook.figure(fig, alt=f"Scatter of all recorded evaluations. {said}.")
    notebook.show(said + ".")

# %% [markdown]
# ## A place to play
#
# Choose what is drawn against what. Does the distance under the *shifted* rule tell more than
# the one under the trained rule? Is reading told by it, or greedy success? And first-try
# success, which can also *rise* with distance?

# %%
import base64
import io

from sftrl_lite.widgets import explorer

def as_html(x: str, y: str) -> tuple[str, str]:
    """A picture for the page, with its alt text, and the sentence about it."""
    fig, said = picture(x, y)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=80)
    plt.close(fig)
    png = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="Scatter. {said}" src="data:image/png;base64,{png}">', said

explorer(points, as_html)

# %% [markdown]
# ## How many weights changed?
#
# RL is reported to leave most weights of a large model exactly as they were (Mukherjee et
# al., 2025). Those checkpoints are bfloat16: eight bits of mantissa, so a weight that
# moves by less than about 0.4 % of itself rounds back. We train in float32 and can count
# both ways.

# %%
names = ["changed", "changed_bf16"]
weights = plots.over_seeds(why[why["metric"].isin(names)])
weights = weights[weights["point"] > 0]
weights = weights.pivot_table(index="method", columns="metric", values="mean")
(100 * weights.reindex(there)).round(1)

# %% [markdown]
# Per cent of the weights that a text token passes through. Full precision hardly knows
# a weight that RL did not touch; rounding hides small steps, and RL's are smaller and
# fewer. So "sparse" is a statement about step size and number format here.
#
# ## What it means, and what it does not
#
# *Data first.* With the same loss, hands and compute, answers that the model might have
# written itself teach it without moving it far, and what it could do elsewhere stays. A
# solver's answers have to be learned by heart. "SFT memorises" is, here, a sentence about
# whose answers are imitated.
#
# *RL is one way to get such data.* It samples its own answers and filters them by reward, over
# and over. Filtering once and imitating is more than a serious opponent: at this compute it
# solves more than RL under both rules. RL still has something of its own. It moved less, and
# its likeliest answers lost little, while filtered imitation gave up some of them: it
# forgets Init's other answers, as the second KL shows.
#
# *A leash keeps, and gains nothing.* With half of its target Init's own, the model stays, and
# does not learn its training hands either. *DFT changes little here*: it moves less on the
# training hands, and its likeliest answers under the shifted rule fall like SFT's.
#
# *Pushed SFT is unable here rather than anchored.* Under the shifted rule the trained rule's
# judge accepts few of its answers, fewer than the true judge does.
#
# What this chapter does *not* show:
#
# - *That distance causes forgetting.* All methods differ in many ways, and the line runs
#   through groups. Within RL alone the same measure may explain little; it is printed.
# - *That a leash or DFT are weak or strong in general.* Each ran at one setting, untuned.
# - *That prompts do not matter.* The tiny base was bred on some two thousand announced rules. A
#   model that has seen one prompt for years has more to be anchored to.
# - *Anything about reasoning.* Lin et al. close the gap with reasoning steps in the answer.
#   The tiny base knows no such format, and teaching it one is another base; left out.
#
# ## Further reading
#
# - Shenfeld et al. (2025), [RL's Razor](https://arxiv.org/abs/2509.04259), sections 3 to 5
#   (25 minutes).
# - Chen et al. (2025), [Retaining by Doing](https://arxiv.org/abs/2510.18874): on-policy
#   data (20 minutes).
# - Wu et al. (2025), [On the Generalization of SFT: reward
#   rectification](https://arxiv.org/abs/2508.05629): DFT (20 minutes).
# - Lin et al. (2025), [Debunk the Myth of SFT
#   Generalization](https://arxiv.org/abs/2510.00237): prompts, reasoning, the fake
#   environment (20 minutes).
# - Mukherjee et al. (2025), [Reinforcement Learning Finetunes Small
#   Subnetworks](https://arxiv.org/abs/2505.11711) (15 minutes).
#
# Next: [13. Do we believe it?](13_do_we_believe_it.ipynb).
