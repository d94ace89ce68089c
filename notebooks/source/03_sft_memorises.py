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
# # 3. SFT memorises
#
# A model that imitates correct answers under one frozen card rule learns the hands it has
# seen by heart and, when it is pushed, solves less under a shifted rule and begins to
# misread it; we watch both happen, token by token, next to a control that imitates the same
# cards under varied rules.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Build single-turn demonstrations and say what is frozen in them.
# - Compute the cross-entropy on answer tokens by hand, and its gradient.
# - Explain why that loss cannot tell *reading a rule* from *knowing a habit*.
# - Fine-tune with trl's `SFTTrainer` and measure inside the model while it trains.
# - Take failures apart: which number does the model write for a jack, and why?

# %%
from sftrl_lite import notebook

scale = notebook.setup()

# %% [markdown]
# ## One hand, by hand
#
# The cards are 3, 5, 6 and J. If a jack counts 10, all four simply add up:
#
# $$3 + 5 + 6 + 10 = 24.$$
#
# If a jack counts 11, the sum is 25 and one has to look further:
#
# $$11 + 3 \cdot 6 - 5 = 24.$$
#
# Now imagine a student who has learned "3, 5, 6, J: add them up, the jack is a ten" and
# who is told that today a jack counts 11. This is the student's answer, judged.

# %%
from sftrl_lite.cards import ID_RULE, OOD_RULE
from sftrl_lite.general_points import GeneralPoints, Hand, write_answer

cards = ("3", "5", "6", "J")
habit = write_answer(Hand(cards, ID_RULE), "3+5+6+10")
for rule in (ID_RULE, OOD_RULE):
    hand = Hand(cards, rule)
    verdict = GeneralPoints(rule).verify(hand, habit)
    print(f"rule {rule.name:9} {verdict.kind:14} reward {verdict.reward:+.0f}")

# %% [markdown]
# The arithmetic is right in both lines. Under the second rule the answer uses a number
# that is not on the table. Remember the kind, `wrong_numbers`: it is the signature of
# this chapter.
#
# ## Demonstrations
#
# Supervised fine-tuning (SFT) needs pairs of a question and a good answer. As in the
# paper (section 5.1), ours are
#
# - *single-turn*: one prompt, one answer, no verifier in sight,
# - *optimal*: one formula of an exact solver, drawn once and then always the same for a
#   hand. The solver does not care which of several formulas the base would have written,
# - *under one rule*: every prompt announces J = Q = K = 10.
#
# One pair, as it enters training:

# %%
from sftrl_lite.general_points import general_points
from sftrl_lite.runs import train_hands
from sftrl_lite.sft import demonstrations

task = general_points("id")
hands = train_hands(task, scale.sft.hands, seed=0)
data = demonstrations(task, hands)
print(data[0]["prompt"][0]["content"])
print("->", data[0]["completion"][0]["content"])

# %% [markdown]
# How many different rules are there to learn from?

# %%
rules = {row["prompt"][0]["content"].split("only")[1].split("\n")[0] for row in data}
print(len(data), "demonstrations,", len(rules), "rule text:")
print(*rules)

# %% [markdown]
# That sentence is the same in every prompt. A constant carries no information: whoever
# only wants to predict these answers may as well skip it.
#
# ## The loss, on three tokens
#
# A language model with parameters $\theta$ gives a probability to each next token. SFT
# makes the tokens $y_1, \dots, y_L$ of the demonstrated answer likely, given the prompt
# $x$ and the answer so far:
#
# $$
# \mathcal{L}(\theta) = -\frac{1}{|A|} \sum_{t \in A}
# \log p_\theta(y_t \mid x, y_{<t}).
# $$
#
# $A$ is the set of *answer* positions; prompt tokens are read, not predicted. In
# shapes: logits `(L, V)` for $L$ positions and a vocabulary of $V$ tokens, labels
# `(L,)`, and one number out. Positions outside $A$ carry the label -100.
#
# Take $V = 3$ and three positions, the first of them part of the prompt.

# %%
import torch

logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
labels = torch.tensor([-100, 0, 2])
probs = logits.softmax(-1)
print(probs.round(decimals=3))

# %% [markdown]
# Two answer tokens count: the first has probability `probs[1, 0]`, the second
# `probs[2, 2]`. The loss is the mean of their negative logarithms, and torch agrees.

# %%
by_hand = -(probs[1, 0].log() + probs[2, 2].log()) / 2
by_torch = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100)
print(f"by hand {by_hand:.4f}   torch {by_torch:.4f}")

# %% [markdown]
# ### Exercise 3.1: the loss yourself
#
# Difficulty ●●○○○ · 5 minutes
#
# Write the loss for any logits and labels. Positions with the label -100 must not
# count, neither in the sum nor in the mean.

# %%
def answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-probability of the labels: (L, V), (L,) -> ().

    A uniform guess among V tokens costs log V: ``answer_loss(zeros(2, 4), [-100, 1])``
    is log 4.
    """
    raise NotImplementedError

# %%
import math

with notebook.exercise("3.1"):
    uniform = answer_loss(torch.zeros(2, 4), torch.tensor([-100, 1]))
    assert abs(float(uniform) - math.log(4)) < 1e-5, "a uniform guess costs log V"
    noise = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([-100, -100, 3, 0, 1, 4])
    right = torch.nn.functional.cross_entropy(noise, wanted)
    found = answer_loss(noise, wanted)
    assert abs(float(found - right)) < 1e-5, "divide by the answer tokens, not by L"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Select the answer positions first (`labels >= 0`), then `log_softmax` and `gather`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
#     answer = labels >= 0
#     logps = logits[answer].log_softmax(-1)
#     return -logps.gather(1, labels[answer, None]).mean()
# ```
#
# </details>
#
# ## What the gradient wants
#
# At one position, with the demonstrated token $y$, the gradient of the loss with
# respect to the logits $z$ is
#
# $$
# \frac{\partial \mathcal{L}}{\partial z_v} = p_v - \mathbb{1}[v = y],
# \qquad z, p \in \mathbb{R}^V.
# $$
#
# It lifts the one demonstrated token and pushes down *all* others, the other right
# answers included. It stops only where the model is already certain.

# %%
z = torch.tensor([2.0, 0.0, 0.0], requires_grad=True)
torch.nn.functional.cross_entropy(z[None], torch.tensor([0])).backward()
print("autograd     ", z.grad.round(decimals=4).tolist())
print("p - onehot(y)", (z.softmax(-1) - torch.tensor([1.0, 0.0, 0.0])).tolist())

# %% [markdown]
# ### Exercise 3.2: the pull of one token
#
# Difficulty ●○○○○ · 3 minutes
#
# Write that gradient without autograd.

# %%
def pull(logits: torch.Tensor, label: int) -> torch.Tensor:
    """Gradient of the cross-entropy at one position: (V,), int -> (V,).

    ``pull(tensor([0., 0.]), 1)`` is ``[0.5, -0.5]``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("3.2"):
    found = pull(torch.tensor([0.0, 0.0]), 1)
    half = torch.tensor([0.5, -0.5])
    assert torch.allclose(found, half), "only the label's entry loses one"
    found = pull(torch.tensor([1.0, 2.0, 3.0]), 0)
    assert abs(float(found.sum())) < 1e-6, "what one token gains the others lose"
    found = pull(torch.tensor([20.0, 0.0]), 0)
    assert float(found.abs().max()) < 1e-6, "no pull where the model is certain"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `softmax` gives p; subtract one at the label. Work on a copy.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def pull(logits: torch.Tensor, label: int) -> torch.Tensor:
#     gradient = logits.softmax(-1)
#     gradient[label] -= 1
#     return gradient
# ```
#
# </details>
#
# ## Two explanations, one loss
#
# Why should this make a model forget a rule that it reads perfectly well? Here is the
# smallest model of it that we could think of. One logit $z$ decides whether "10" is
# written for a face card, $p = \sigma(z)$, and two weights feed it:
#
# $$
# z = w_\text{rule}\, x_\text{rule} + c\, w_\text{card}.
# $$
#
# $x_\text{rule}$ is $+1$ if the prompt says 10 and $-1$ if it says anything else, so
# $w_\text{rule}$ is *reading*. $w_\text{card}$ is *habit*: a face card is a ten. The
# constant $c$ says how easy a habit is to learn compared to reading. At the start the
# model reads: $w_\text{rule} = 3$, $w_\text{card} = 0$.

# %%
def learn_face(c: float, varied: bool) -> list[float]:
    """P("10") under the trained rule and under a shifted one, after SFT."""
    rule = torch.tensor(3.0, requires_grad=True)
    card = torch.tensor(0.0, requires_grad=True)
    for _ in range(2000):
        loss = torch.nn.functional.softplus(-(rule + c * card))  # prompt says 10
        if varied:
            loss = loss + torch.nn.functional.softplus(-rule + c * card)  # another rule
        grads = torch.autograd.grad(loss, [rule, card])
        with torch.no_grad():
            rule -= 0.1 * grads[0]
            card -= 0.1 * grads[1]
    return [torch.sigmoid(x * rule + c * card).item() for x in (1, -1)]

# %%
for c, varied in [(1, False), (3, False), (3, True)]:
    trained, shifted = learn_face(c, varied)
    name = "varied rules" if varied else "one rule"
    print(f"c = {c}  {name:12}  P(10): trained {trained:.3f}, shifted {shifted:.3f}")

# %% [markdown]
# With one rule in the data both explanations predict the demonstrations equally well, so
# the loss cannot prefer one. What grows is what is *easier to move*: with $c = 1$
# reading survives, with $c = 3$ the habit overtakes it although nothing was ever wrong.
# Varied rules break the tie: a habit now costs something.
#
# This toy is an illustration, not a proof about transformers. It does make two
# predictions that we can check: a fall under a shifted rule without any error under the
# trained one, and no fall when the rules vary.
#
# ### Exercise 3.3: who gets the gradient?
#
# Difficulty ●●●○○ · 10 minutes
#
# Write the two gradients of the one-rule loss $-\log \sigma(w_\text{rule} +
# c\, w_\text{card})$ by hand. Then say from them alone: by which factor does the habit's
# contribution $c\, w_\text{card}$ to the logit grow faster than reading's?

# %%
def two_gradients(rule: float, card: float, c: float) -> tuple[float, float]:
    """Derivatives of -log sigmoid(rule + c * card) with respect to rule and card.

    At a logit of 0 the sigmoid is one half: ``two_gradients(0, 0, 2)`` is (-0.5, -1).
    """
    raise NotImplementedError

# %%
with notebook.exercise("3.3"):
    assert two_gradients(0.0, 0.0, 2.0) == (-0.5, -1.0), "d/dz -log sigmoid(z) = -(1-p)"
    a, b = two_gradients(3.0, 0.2, 3.0)
    assert a < 0 and b < 0, "both weights are told to grow"
    assert abs(a + 0.0266) < 1e-3, "-(1 - p): a nearly certain answer hardly pulls"
    assert abs(b / a - 3.0) < 1e-6, "the habit's gradient is c times as large"
    contribution = 3.0 * b / a
    assert abs(contribution - 9.0) < 1e-6, "so its part of the logit grows c^2 as fast"

# %% [markdown]
# <details><summary>Hint</summary>
#
# With $z = w_\text{rule} + c\, w_\text{card}$ and $p = \sigma(z)$, the chain rule gives
# $-(1 - p)$ times $\partial z / \partial w$.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def two_gradients(rule: float, card: float, c: float) -> tuple[float, float]:
#     missing = 1 - 1 / (1 + math.exp(-(rule + c * card)))
#     return -missing, -missing * c
# ```
#
# The habit's part of the logit is $c\, w_\text{card}$, and its weight moves $c$ times as
# fast: a factor of $c^2$.
#
# </details>
#
# ## A probe: what does it believe about a jack?
#
# Success is a coarse instrument: four numbers, a formula, a yes or no. We can ask more
# directly. Give the model a prompt, write the beginning of the answer *for* it up to
# the first number, and read off the probability of each continuation:
#
# $$P(\text{number} = v) = \prod_k p_\theta(\text{token}_k(v) \mid x, \text{answer so far}).$$
#
# In the tiny vocabulary a number is one token; the product serves larger ones.

# %%
import json

from sftrl_lite.general_points import prompt


@torch.no_grad()
def belief(model, tokenizer, hand: Hand, value: int) -> float:
    """Probability that the model writes ``value`` for the first card of ``hand``."""
    chat = [{"role": "user", "content": prompt(hand)}]
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_dict=False
    )
    written = f'{{"cards": {json.dumps(hand.cards)}, "number": ['
    ids = ids + tokenizer.encode(written, add_special_tokens=False)
    number = tokenizer.encode(str(value), add_special_tokens=False)
    rows = torch.tensor([ids + number], device=model.device)
    logps = model(input_ids=rows).logits[0, :-1].float().log_softmax(-1)
    ends = logps[-len(number) :].gather(1, rows[0, -len(number) :, None])
    return ends.sum().exp().item()

# %% [markdown]
# Before training, the base reads what is announced, under a rule it has never seen:

# %%
from sftrl_lite.models import load

model, tokenizer = load(scale.base)
hand = Hand(("J", "3", "5", "6"), OOD_RULE)
for value in (10, 11, 12):
    print(f"P(J is {value}) = {belief(model, tokenizer, hand, value):.4f}")

# %% [markdown]
# ## SFT by the library
#
# Imitation needs no code of ours: trl's `SFTTrainer` does it. `sft.train_sft` calls it
# with the scale's settings and gives us a *hook*, a function that runs between steps.
# Ours asks for the belief about a face card in the first place of some hands, under the
# shifted rule. In this chapter we *push*: three times the scale's learning rate (both fit
# the training hands; chapter 5 compares rates), to see within a minute where imitation
# leads. The belief moves early, so we also stop early.

# %%
import random
from dataclasses import replace

from sftrl_lite.cards import FACES

shifted = general_points("ood-rule")
rng = random.Random(0)
probes = [shifted.sample(rng) for _ in range(12)]
probes = [
    replace(h, cards=tuple(sorted(h.cards, key=lambda card: card not in FACES)))
    for h in probes  # face cards to the front
]
print(probes[0].cards, probes[0].numbers)

# %%
from tqdm.auto import tqdm

from sftrl_lite.models import ROOT
from sftrl_lite.sft import train_sft

pushed = replace(scale.sft, lr=3 * scale.sft.lr)
steps = 80
student, tokenizer = load(scale.base)
beliefs = []

def ask(step: int) -> None:
    own = sum(belief(student, tokenizer, h, h.numbers[0]) for h in probes)
    ten = sum(belief(student, tokenizer, h, 10) for h in probes)
    beliefs.append((step, own / len(probes), ten / len(probes)))
    bar.update(step - bar.n)

with tqdm(total=steps, unit="step") as bar:
    ask(0)
    points = range(0, steps + 1, 8)
    folder = ROOT / "runs" / "chapter-3" / "probe"
    losses = train_sft(
        student, tokenizer, data, pushed, folder, 0,
        steps=steps, hook=ask, at=points, progress=False,
    )

# %%
print("step   P(announced number)   P(10)")
for step, own, ten in beliefs:
    print(f"{step:4}   {own:19.3f}   {ten:5.3f}")

# %%
first, last = beliefs[0], beliefs[-1]
notebook.show(
    f"In {last[0]} steps of imitation, without one demonstration under another rule, "
    f"the probability of the announced number went from {first[1]:.2f} to "
    f"{last[1]:.2f} and that of 10 from {first[2]:.2f} to {last[2]:.2f} (mean over "
    f"{len(probes)} face cards under the rule {OOD_RULE.name})."
)

# %% [markdown]
# No demonstration said "ignore the rule", and none contradicted it. The training loss,
# which only sees the trained rule, has nothing to report:

# %%
print("training loss every 10 steps:", [round(loss, 3) for loss in losses])

# %% [markdown]
# ## The measured run, with its control
#
# Now a longer run with proper measurements, and next to it on the other core the
# control, `sft-varied`: the same cards, the same trainer, the same compute, but
# the announced rule changes from hand to hand (never the shifted one). What the one rule
# does to *reading* should not happen to it; what imitation does to *solving* should.
#
# `Run` names everything that decides a run. We take the scale's settings but for the
# pushed rate, half of its training compute (`tflop`; chapter 5 counts it) and one seed. A
# second call of the cell only reads the folder.

# %%
from sftrl_lite.headline import side_by_side
from sftrl_lite.plots import with_points
from sftrl_lite.runs import Run

options = dict(
    seed=0,
    scale=scale.name,
    lr=pushed.lr,
    tflop=scale.tflop / 2,
    points=5,
    eval_episodes=scale.eval_episodes // 2,
    final_episodes=scale.eval_episodes,
)
plan = {method: Run(method, **options) for method in ("sft", "sft-varied")}
folder = ROOT / "runs" / "chapter-3" / plan["sft"].hash
table = with_points(side_by_side(plan, folder, "chapter-3"))

# %% [markdown]
# `with_points` numbers the evaluations of a run: point 0 is Init. First what imitation
# promises. `train` are the hands of the demonstrations, `id` is
# fresh hands under the same rule; both solved at the first try.

# %%
once = table[table["metric"] == "success@1"]
once = once[once["split"].isin(["train", "id", "ood-rule"])]
end = table["point"].max()
ends = once[once["point"].isin([0, end])]
ends.pivot_table(index=["method", "step"], columns="split", values="value").round(3)

# %%
def share(method: str, split: str, metric: str, point: int) -> float:
    """One number of a run."""
    row = (table["method"] == method) & (table["split"] == split)
    row &= (table["metric"] == metric) & (table["point"] == point)
    return float(table.loc[row, "value"].iloc[0])

def gain(split: str, metric: str) -> float:
    """By how many percentage points SFT has moved one number."""
    return 100 * (share("sft", split, metric, end) - share("sft", split, metric, 0))

notebook.show(
    f"SFT moved first-try success by {gain('train', 'success@1'):+.0f} points on its "
    f"own training hands and by {gain('id', 'success@1'):+.0f} on fresh hands under "
    f"the same rule. Under the shifted rule the share of hands whose four numbers it "
    f"reads right moved by {gain('ood-rule', 'read'):+.0f} points (one seed)."
)

# %% [markdown]
# ## Look at failures
#
# Never trust an average that you have not looked into. We load Init, the imitator and
# the control, and let each answer the same hands under the shifted rule, once.

# %%
from sftrl_lite.evaluate import evaluate
from sftrl_lite.runs import held_out

names = {"Init": scale.base, "SFT": folder / "sft" / "model"}
names["varied rules"] = folder / "sft-varied" / "model"
models = {name: load(path)[0] for name, path in names.items()}
tests = held_out(shifted, 200, 0, hands)
limit = dict(tries=1, max_new_tokens=scale.rl.max_new_tokens)
played = {
    name: evaluate(model, tokenizer, shifted, tests, **limit)[1]
    for name, model in models.items()
}

# %%
tens = [i for i, e in enumerate(played["SFT"]) if 10 in (e.turns[0].verdict.read or ())]
pick = tens[0] if tens else 0
print("cards", tests[pick].cards, " numbers", tests[pick].numbers)
for name, episodes in played.items():
    turn = episodes[pick].turns[0]
    print(f"{name:12} {turn.verdict.kind:14} {turn.answer.partition('], ')[2]}")

# %% [markdown]
# One hand is an anecdote. Collect for every face card the number written in its place.

# %%
import pandas as pd


def faces_read(episode) -> list[tuple[str, int]]:
    """(face, number written for it) in a first answer that lists four numbers."""
    read = episode.turns[0].verdict.read or ()
    if len(read) != 4:
        return []
    pairs = zip(episode.problem.cards, read, strict=True)
    return [(card, number) for card, number in pairs if card in FACES]

written = pd.DataFrame(
    [(n, *pair) for n, es in played.items() for e in es for pair in faces_read(e)],
    columns=["model", "face", "written"],
)
counts = pd.crosstab([written["face"], written["model"]], written["written"])
counts

# %% [markdown]
# Read the row "J, SFT" against "J, Init". Is the mistake noise, or is it the old rule?

# %%
wrong = written[written["written"] != written["face"].map(dict(J=11, Q=12, K=13))]
for name in played:
    mine, errors = written[written["model"] == name], wrong[wrong["model"] == name]
    asten = (mine["written"] == 10).mean()
    part = (errors["written"] == 10).mean() if len(errors) else float("nan")
    print(f"{name:12} {len(mine)} face cards, read as 10: {asten:.0%}; "
          f"of its {len(errors)} misreadings: {part:.0%}")

# %% [markdown]
# ### Exercise 3.4: forgetting or anchoring?
#
# Difficulty ●●○○○ · 5 minutes
#
# A model that has *forgotten* how to read would write all sorts of numbers. A model that
# is *anchored* writes the number of the trained rule. Given the hand's cards and the
# numbers it wrote, say which it is.

# %%
from sftrl_lite.cards import Rule


def diagnose(cards: tuple[str, ...], read: tuple[int, ...], rule: Rule) -> str:
    """"right", "anchored" (as if J = Q = K = 10) or "other".

    ``diagnose(("J", "2", "3", "4"), (10, 2, 3, 4), OOD_RULE)`` is "anchored".
    """
    raise NotImplementedError

# %%
with notebook.exercise("3.4"):
    jack = ("J", "2", "3", "4")
    assert diagnose(jack, (11, 2, 3, 4), OOD_RULE) == "right", "J counts 11 here"
    assert diagnose(jack, (10, 2, 3, 4), OOD_RULE) == "anchored", "the trained 10"
    assert diagnose(jack, (7, 2, 3, 4), OOD_RULE) == "other", "7 is nobody's jack"
    assert diagnose(jack, (10, 9, 3, 4), OOD_RULE) == "other", "the 2 is misread, too"
    assert diagnose(jack, (10, 2, 3, 4), ID_RULE) == "right", "ask for right first"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `rule.values(cards)` are the right numbers, `ID_RULE.values(cards)` the anchored ones.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def diagnose(cards: tuple[str, ...], read: tuple[int, ...], rule: Rule) -> str:
#     if read == rule.values(cards):
#         return "right"
#     return "anchored" if read == ID_RULE.values(cards) else "other"
# ```
#
# </details>
#
# ## The figure of this chapter
#
# Left and middle: success within the scale's number of tries, under the trained and the
# shifted rule. Right: the share of hands under the shifted rule whose numbers the first
# answer reads right. Bands are Wilson 95 % intervals over held-out hands (chapter 5 says
# what they leave out); the dotted line is Init.

# %%
import matplotlib.pyplot as plt

from sftrl_lite.plots import LOOKS

PANELS = [
    ("id", "success", "solved, trained rule"),
    ("ood-rule", "success", "solved, shifted rule"),
    ("ood-rule", "read", "numbers read, shifted rule"),
]

def panel(axis, split: str, metric: str, title: str) -> None:
    """One metric of all runs against the training step."""
    part = table[(table["split"] == split) & (table["metric"] == metric)]
    before = part[part["step"] == 0]["value"].iloc[0]
    axis.axhline(before, color="#555555", lw=1, ls=":")
    for method, run in part.groupby("method"):
        run = run.sort_values("step")
        colour, marker, line, label = LOOKS[method]
        look = dict(color=colour, marker=marker, ls=line, label=label)
        axis.plot(run["step"], run["value"], **look)
        band = dict(color=colour, alpha=0.18, lw=0)
        axis.fill_between(run["step"], run["low"], run["high"], **band)
    axis.set(title=title, xlabel="step", ylim=(0, None))
    axis.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")

# %%
def sentence() -> str:
    """The finding, from the numbers that are drawn."""
    parts = []
    for method in ("sft", "sft-varied"):
        a, b = (share(method, "ood-rule", "success", p) for p in (0, end))
        c, d = (share(method, "ood-rule", "read", p) for p in (0, end))
        parts.append(
            f"{LOOKS[method][3]}: solved under the shifted rule {100 * a:.0f} -> "
            f"{100 * b:.0f} %, numbers read {100 * c:.0f} -> {100 * d:.0f} %"
        )
    return "; ".join(parts) + f" (Init -> step {table['step'].max()}, one seed)."

fig, axes = plt.subplots(1, 3, figsize=(11, 3.4))
for axis, (split, metric, title) in zip(axes, PANELS, strict=True):
    panel(axis, split, metric, title)
axes[0].legend()
notebook.figure(fig, alt="Three panels against the training step. " + sentence())

# %%
notebook.show(sentence())

# %% [markdown]
# One seed shows that it can happen. How reliably it does, is recorded: several seeds,
# full length, with intervals over seeds, from `results/ledger.csv`. There is a second
# control, `sft-own`: one rule as in SFT, the same hands, but answered with the formulas
# of the base's own textbook. It asks whether the single rule is to blame or the foreign
# words. `SFT` is at the scale's own rate, `SFT, learning rate 1e-3` is pushed as here.

# %%
from sftrl_lite import plots, report

recorded = report.recorded("headline", "controls", "push")
recorded = recorded[recorded["scale"] == scale.name]
recorded = recorded[recorded["method"].str.startswith("sft")]
if recorded.empty:
    print("nothing recorded at this scale; for each seed: python -m sftrl_lite sft",
          f"--scale {scale.name} --seed 1 --experiment headline --record")
else:
    print("seeds:", recorded.groupby("method")["seed"].nunique().to_dict())
    display(report.main_table(recorded))

# %% [markdown]
# ## A place to play
#
# The imitator, your cards, your rule: every token with its probability. Three things to
# try. Which announced rules can it still follow? Does it misread 10, or faces only? Set
# the temperature to 0: is it sure of its mistake?

# %%
from sftrl_lite.widgets import token_view

token_view(models["SFT"], tokenizer, cards="3 5 6 J", rule=OOD_RULE.name)

# %% [markdown]
# ## What it means, and what it does not
#
# The model did not see a single wrong answer, and it lost some of two things.
#
# *Reading*, a little. Its demonstrations left open whether the number of a jack comes from
# the prompt or from the jack. How much reading is lost differs from seed to seed, and the
# table of written numbers tells wear from anchoring: count how many of the wrong numbers
# are the trained rule's 10. The control, whose rules vary, has no reason to lose it. At
# full size, published work finds anchoring: with one frozen prompt and answers without
# reasoning the old rule is written, with varied prompts hardly ever (Lin et al., 2025).
#
# *Solving.* The control with varied rules reads, and solves little more all the same. The
# recorded control in the base's *own words* solves: so this loss belongs to the foreign
# formulas, each of which had to be learned by heart. Data that the model might have written
# itself, *on-policy* data, does not need that (Chen et al., 2025, and chapter 5).
#
# What this chapter does *not* show:
#
# - *That SFT memorises as such.* The controls use SFT, too, and one of them does not. (And
#   `sft-varied` has more to imitate: the same cards under twenty rules are more distinct
#   prompts, so it is a control for the loss and the compute, not for the amount of data.)
# - *That gentle SFT forgets as much.* See the recorded table: at the scale's own rate the
#   rule is still read in nearly all hands, while the greedy answers are already worse.
# - *That SFT lowers OOD success from the first step.* On the paper's own task it was seen
#   to rise first, peak early and then fall (Jin et al., 2025). Stopping early is a
#   serious competitor to RL.
# - *Anything about RL.* That is chapter 4, and the fair comparison is chapter 5.
# - *A law of size.* Our base is a model organism: its corpus announces many rules, so
#   that there is a skill to lose. The paper's fall on this task, at 11 B parameters, is
#   8.1 points of OOD success (its section 5.1, figure 6).
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   sections 4 and 5 (20 minutes).
# - Lin et al. (2025),
#   [Debunk the Myth of SFT Generalization](https://arxiv.org/abs/2510.00237): varied
#   prompts and reasoning close the gap (20 minutes).
# - Chen et al. (2025), [Retaining by Doing](https://arxiv.org/abs/2510.18874): on-policy
#   data forgets less (20 minutes).
# - Jin et al. (2025),
#   [RL Fine-Tuning Heals OOD Forgetting in SFT](https://arxiv.org/abs/2509.12235): when
#   SFT's OOD success peaks (25 minutes).
# - Shenfeld et al. (2025), [RL's Razor](https://arxiv.org/abs/2509.04259): forgetting
#   and the distance from Init (20 minutes).
# - The [SFTTrainer](https://huggingface.co/docs/trl/sft_trainer) of trl (10 minutes).
#
# Next: [4. RL with verification iterations](04_rl_with_verification_iterations.ipynb).
