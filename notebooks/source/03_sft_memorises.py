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
# A solver's answers are right, but they are not chosen from what the base model would
# write. And which of several right formulas the solver drew for a hand can only be
# memorised. We measure both, token by token. Then we fine-tune a tiny model on such
# *off-policy* answers and compare its training hands with fresh hands under the same
# rule. The control is the same fine-tuning on the base model's own verified answers to
# the same hands.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Build single-turn demonstrations, and say what is frozen in them and who wrote them.
# - Compute the cross-entropy on answer tokens by hand, and its gradient.
# - Measure how far a set of answers is from a model: nats per answer, perplexity per
#   token.
# - Split a loss into what a model can learn about the game and what is left to
#   memorise.
# - Fine-tune with trl's `SFTTrainer`, and tell memorising from forgetting in its
#   results.
# - Say what a control with on-policy answers rules out, and what it does not.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## One hand, many right answers
#
# The cards are 3, 3, 8 and K, and a king counts 10. You probably see at once that all
# four simply add up: $3 + 3 + 8 + 10 = 24$. An exact solver finds more.

# %%
from sftrl_lite.tasks.cards import ID_RULE, OOD_RULE
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.solver import solutions

hand = Hand(("3", "3", "8", "K"), ID_RULE)
for formula in solutions(hand.numbers, hand.target):
    verdict = GeneralPoints().verify(hand, write_answer(hand, formula))
    print(f"{formula:12} {verdict.kind}, reward {verdict.reward:+.0f}")

# %% [markdown]
# The verifier does not distinguish them. A writer of demonstrations has to choose one,
# and our solver chooses at random: it draws one of its formulas, always the same one
# for the same numbers.

# %% tags=["solvers-choice"]
from sftrl_lite.tasks.hands import best_formula, solver_formula

print("the solver's choice     ", solver_formula(hand))
print("the shortest, a textbook", best_formula(hand))

# %% [markdown]
# Few players would write that first. Would the base model? This chapter measures that,
# and what it costs a model to be taught in that way.
#
# ## Demonstrations
#
# Supervised fine-tuning (SFT) needs pairs of a question and a good answer. As in the
# paper (section 5.1), ours are
#
# - *single-turn*: one prompt, one answer, no verifier,
# - *correct*: one formula of an exact solver,
# - *under one rule*: every prompt announces J = Q = K = 10,
# - *off-policy*: not written by the model that learns from them.
#
# One pair, as it enters training:

# %%
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training.sft_examples import demonstrations

task = general_points("train")
hands = train_hands(task, scale.sft.hands, seed=0)
data = demonstrations(task, hands)
print(data[0]["prompt"][0]["content"])
print("->", data[0]["completion"][0]["content"])

# %%
rules = {row["prompt"][0]["content"].split("only")[1].split("\n")[0] for row in data}
print(len(data), "demonstrations,", len(rules), "text of the rule:")
print(*rules)

# %% [markdown] tags=["sft-loss"]
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
# $A$ is the set of *answer* positions; prompt tokens are read, not predicted. The
# shapes are: logits `(L, V)` for $L$ positions and a vocabulary of $V$ tokens, labels
# `(L,)`, and one number as the result. Positions outside $A$ carry the label -100.
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
# Write the loss for any logits and labels, so that a gradient can flow through it.
# Positions with the label -100 must not count, neither in the sum nor in the mean.

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
    one = torch.is_tensor(uniform) and uniform.ndim == 0
    assert one, f"return one number, a tensor of shape (), not {uniform!r}"
    assert abs(float(uniform) - math.log(4)) < 1e-5, "a uniform guess costs log V"
    dice = torch.Generator().manual_seed(0)
    for size in (3, 5, 9):  # random logits and labels, compared with torch's own
        noise = torch.randn(7, size, generator=dice).requires_grad_()
        wanted = torch.randint(size, (7,), generator=dice)
        wanted[:2] = -100
        right = torch.nn.functional.cross_entropy(noise, wanted)
        found, kept = answer_loss(noise, wanted), torch.where(wanted < 0, -100, wanted)
        assert torch.equal(wanted, kept) and (wanted[:2] < 0).all(), "labels must stay"
        gap = float((found - right).detach())
        assert abs(gap) < 1e-5, "divide by the answer tokens, not by L"
        assert torch.is_tensor(found) and found.requires_grad, "let gradients flow"
        slopes = [torch.autograd.grad(x, noise)[0] for x in (found, right)]
        assert torch.allclose(*slopes, atol=1e-6), "its gradient is not the loss's"
    huge = answer_loss(torch.tensor([[0.0, 300.0]]), torch.tensor([0]))
    assert abs(float(huge) - 300) < 1e-3, "log_softmax: log(softmax(z)) is log 0 here"

# %% [markdown] tags=["sft-gradient"]
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
# ## What the gradient does
#
# At one position, with the demonstrated token $y$, the gradient of the loss with
# respect to the logits $z$ is
#
# $$
# \frac{\partial \mathcal{L}}{\partial z_v} = p_v - \mathbb{1}[v = y],
# \qquad z, p \in \mathbb{R}^V.
# $$
#
# A step against it raises the logit of the one demonstrated token and lowers *all*
# others, including those of other right answers. The pull is $1 - p_y$: one for an
# unlikely token, zero for a certain one.

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
# Write that gradient without autograd, for a vocabulary of any size.

# %%
def pull(logits: torch.Tensor, label: int) -> torch.Tensor:
    """Gradient of the cross-entropy at one position: (V,), int -> (V,).

    ``pull(tensor([0., 0.]), 1)`` is ``[0.5, -0.5]``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("3.2"):
    found = pull(torch.tensor([0.0, 0.0]), 1)
    assert torch.is_tensor(found), f"return a tensor (V,), not {found!r}"
    half = torch.tensor([0.5, -0.5])
    assert torch.allclose(found, half), "only the label's entry loses one"
    dice = torch.Generator().manual_seed(0)
    for size in (3, 4, 8):
        noise = 2 * torch.randn(size, generator=dice)
        label = int(torch.randint(size, (), generator=dice))
        kept, leaf = noise.clone(), noise.clone().requires_grad_()
        torch.nn.functional.cross_entropy(leaf[None], torch.tensor([label])).backward()
        found = pull(noise, label)
        assert abs(float(found.sum())) < 1e-5, "what one token gains the others lose"
        assert torch.allclose(found, leaf.grad, atol=1e-5), "the others lose their p"
        assert torch.equal(noise, kept), "leave the logits as they are"

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
# ## Who writes the answers decides where the gradient points
#
# Let the answers come from any distribution $q$. Averaged over them, the gradient at a
# position is $\mathbb{E}_{y \sim q}[\,p - \text{onehot}(y)\,] = p - q$. If the model
# writes its own answers ($q = p$, *on-policy*) it is zero: the pulls cancel.

# %% tags=["pulls"]
p = torch.tensor([0.7, 0.2, 0.1])  # what the model would write
for name, q in [("its own", p), ("a solver's", torch.tensor([0.1, 0.2, 0.7]))]:
    pulls = p - torch.eye(3)  # row y: the gradient if y is demonstrated
    print(f"{name:10} answers: {[round(x, 2) for x in (q @ pulls).tolist()]}")

# %% [markdown]
# So there are two ways to move a model by answers. One is to *select* among its own, as
# a verifier does: the wrong ones are left out, $q$ is $p$ without them, and probability
# moves only from wrong answers to right ones. The other is to *replace* them by another
# writer's answers: everything in which $q$ differs from $p$ is pulled, whether it
# matters for the game or not.
#
# ## Token by token
#
# How different are they? We take three sets of right answers to the same hands,
#
# - *solver*: the demonstrations,
# - *own*: Init's own answers that the verifier accepts (`sft_examples.verified` samples
#   eight answers per hand at temperature 1 and keeps the right ones),
# - *textbook*: the shortest formula, which is the style of the base's corpus,
#
# and ask Init for the log-probability of every token.

# %%
from torch.nn.utils.rnn import pad_sequence

from sftrl_lite.models.chats import demonstrated
from sftrl_lite.models.loading import load
from sftrl_lite.tasks.general_points import prompt

init, tokenizer = load(scale.base_for("gp-l"))


def chat(hand: Hand, answer: str) -> list[dict[str, str]]:
    """The question and an answer."""
    question = {"role": "user", "content": prompt(hand)}
    return [question, {"role": "assistant", "content": answer}]

# %%
@torch.no_grad()
def answer_logps(model, pairs: list[tuple[Hand, str]]) -> list[torch.Tensor]:
    """Log-probability of each token of the answer (L,), for each (hand, answer)."""
    found = []
    for start in range(0, len(pairs), 50):
        chats = [chat(hand, answer) for hand, answer in pairs[start : start + 50]]
        rows = demonstrated(tokenizer, chats)  # input_ids; labels, -100 in the prompt
        ids, labels = (
            pad_sequence([torch.tensor(row[k]) for row in rows], True, fill)
            for k, fill in (("input_ids", 0), ("labels", -100))
        )
        ids, labels = ids.to(model.device), labels[:, 1:, None].to(model.device)
        logps = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
        picked = logps.gather(2, labels.clamp(min=0))
        found += [x[label >= 0].cpu() for x, label in zip(picked, labels, strict=True)]
    return found

# %%
from collections import Counter

from sftrl_lite.training.sft_examples import verified

limit = dict(max_new_tokens=scale.rl.max_new_tokens)
tried, _ = verified(init, tokenizer, task, [hand], seed=0, samples=64, **limit)
((own, times),) = Counter(answer for _, answer in tried).most_common(1)
print(f"{len(tried)} of 64 samples are right, {times} of them say {own.split()[-1]}")
textbook = task.base_demonstration(hand)
answers = {"solver": task.demonstration(hand), "own": own, "textbook": textbook}
logps = answer_logps(init, [(hand, answer) for answer in answers.values()])
for name, row in zip(answers, logps, strict=True):
    print(f"{name:9} {-row.sum():5.2f} nats, so a probability of {row.sum().exp():.2g}")

# %% [markdown]
# A *nat* is the unit of $-\log p$: an answer of probability $p$ costs $-\log p$ nats.
# The figure shows which tokens of the formula they are spent on. Dark boxes are tokens
# that Init would hardly have written.

# %%
import matplotlib.pyplot as plt


def formula_tokens(answer: str, row: torch.Tensor) -> tuple[list[str], list[float]]:
    """The tokens of an answer after ``"formula":`` and their probabilities."""
    (lesson,) = demonstrated(tokenizer, [chat(hand, answer)])
    pieces = [tokenizer.decode([i]) for i in lesson["labels"] if i >= 0]
    first = next(i for i in range(99) if '"formula"' in "".join(pieces[:i]))
    return pieces[first:], row.exp().tolist()[first:]

def strip(axis, name: str, pieces: list[str], chances: list[float]) -> None:
    """One answer as a row of boxes: the token, and its probability."""
    axis.imshow([chances], cmap="Blues_r", vmin=-0.3, vmax=1.1, aspect="auto")
    for x, (piece, p) in enumerate(zip(pieces, chances, strict=True)):
        colour = "black" if p > 0.5 else "white"
        short = "end" if piece.startswith("<|") else piece.strip()[:5]
        axis.text(x, 0, f"{short}\n{p:.2f}", ha="center", va="center", color=colour)
    axis.set(yticks=[0], yticklabels=[name], xticks=[])
    axis.grid(False)

# %% tags=["strips-figure"]
strips = {}
for (name, answer), row in zip(answers.items(), logps, strict=True):
    strips[name] = formula_tokens(answer, row)
fig, axes = plt.subplots(len(strips), figsize=(9, 3.4))
for axis, (name, boxes) in zip(axes, strips.items(), strict=True):
    strip(axis, name, *boxes)
worst = {name: min(zip(ps, xs, strict=True)) for name, (xs, ps) in strips.items()}
told = [f"{name}, {x.strip()} with {p:.3f}" for name, (p, x) in worst.items()]
least = min(worst, key=worst.get)
finding = f"The token least likely under Init is in the {least} answer"
fig.suptitle(finding)
words = "Boxes: formula tokens of three answers to a hand, with probabilities."
notebook.figure(fig, alt=f"{finding}. {words} The least likely token of each: "
                f"{'; '.join(told)}.")

# %% [markdown]
# One hand is an anecdote, and this one was chosen to be clear. For averages we use two
# numbers: nats per answer, and nats per token. The exponential of the latter is the
# *perplexity*, as if the model chose among that many equally likely tokens.
#
# ### Exercise 3.3: how surprising is a set of answers?
#
# Difficulty ●●○○○ · 8 minutes
#
# Answers have different lengths. Nats per answer are averaged over *answers*. The nats
# in the perplexity are averaged over *all tokens of all answers*. The perplexity gap of
# two sets is the ratio of their perplexities.

# %%
def surprise(logps: list[torch.Tensor]) -> tuple[float, float]:
    """Mean nats per answer, and perplexity per token, of answers' log-probabilities.

    Two answers of one token each with probability 1/2 and 1/8: ``(2 log 2, 4)``.
    """
    raise NotImplementedError


def perplexity_gap(off: list[torch.Tensor], own: list[torch.Tensor]) -> float:
    """Perplexity of one set of answers over that of another."""
    raise NotImplementedError

# %%
with notebook.exercise("3.3"):
    two = torch.tensor([[0.5], [0.125]]).log()
    found = surprise(list(two))
    assert isinstance(found, tuple), f"return nats and perplexity, not {found!r}"
    nats, perplexity = found
    assert abs(nats - 2 * math.log(2)) < 1e-5, "mean over answers of -sum log p"
    assert abs(perplexity - 4) < 1e-4, "exp of the mean nats per token"
    dice = torch.Generator().manual_seed(0)
    some = [-3 * torch.rand(n, generator=dice) for n in (1, 2, 9, 30)]
    many = [-torch.rand(n, generator=dice) for n in (5, 1, 1, 1, 12)]
    for rows in (some, many):
        every = torch.cat(rows)
        nats, perplexity = surprise(rows)
        assert torch.equal(every, torch.cat(rows)), "leave the log-probabilities alone"
        assert abs(nats + every.sum() / len(rows)) < 1e-4, "nats: divide by the answers"
        exact = every.mean().neg().exp()
        assert abs(perplexity - exact) < 1e-4, "perplexity: all tokens count alike"
    gap = torch.cat(many).mean() - torch.cat(some).mean()
    found = perplexity_gap(some, many)
    assert isinstance(found, float), f"return the ratio, not {found!r}"
    assert abs(found - gap.exp()) < 1e-4, "the first perplexity over the second"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.cat(logps)` holds every token once. A long answer weighs more in it than a
# short one, which is what "all tokens" means.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def surprise(logps: list[torch.Tensor]) -> tuple[float, float]:
#     every = -torch.cat(logps)
#     return (every.sum() / len(logps)).item(), every.mean().exp().item()
#
#
# def perplexity_gap(off: list[torch.Tensor], own: list[torch.Tensor]) -> float:
#     return surprise(off)[1] / surprise(own)[1]
# ```
#
# </details>
#
# Now a hundred training hands. Init does not solve all of them, and those that it
# solves may be the easy ones. So all three sets are compared on the *same* hands, those
# with at least one answer of Init's own.

# %%
import pandas as pd

ours, _ = verified(init, tokenizer, task, hands[:100], seed=0, **limit)
solved = list(dict.fromkeys(one for one, _ in ours))
sets = {
    "solver": [(one, task.demonstration(one)) for one in solved],
    "own": ours,
    "textbook": [(one, task.base_demonstration(one)) for one in solved],
}
lines = []
for name, pairs in sets.items():
    for (one, _), row in zip(pairs, answer_logps(init, pairs), strict=True):
        lift = (1 - row.exp()).sum().item()
        lines.append((name, one.cards, -row.sum().item(), len(row), lift))
columns = ["answers", "cards", "nats", "tokens", "pull"]
costs = pd.DataFrame(lines, columns=columns).groupby(["answers", "cards"]).mean()

# %% tags=["nats"]
from sftrl_lite.results.intervals import mean_interval


def in_words(values) -> str:
    """A mean and its 95 % interval over hands."""
    e = mean_interval(list(values))
    return f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"

summary = {}
for name in sets:
    part = costs.loc[name]
    each = part["nats"].sum() / part["tokens"].sum()
    same = sum(answer == task.base_demonstration(one) for one, answer in sets[name])
    summary[name] = {
        "nats per answer": in_words(part["nats"]),
        "perplexity per token": f"{math.exp(each):.3f}",
        "pull on its tokens": in_words(part["pull"]),
        "is the shortest": f"{same} of {len(sets[name])}",
    }
print(f"{len(solved)} of 100 hands have an answer of Init's own")
pd.DataFrame(summary).T

# %% [markdown]
# The *pull* is the sum of $1 - p_y$ over the tokens of an answer: how strongly the
# gradient raises them at the first step. The solver sometimes draws the shortest
# formula, too (last column), and often there is only one. Its nats are spent on the
# other hands.

# %%
def verdict(e) -> str:
    """How to say a difference with its interval."""
    if e.low <= 0 <= e.high:
        return "which this sample cannot tell from no difference"
    return "clearly " + ("more" if e.value > 0 else "less")

for name in ("solver", "textbook"):
    e = mean_interval(list(costs.loc[name]["nats"] - costs.loc["own"]["nats"]))
    notebook.show(
        f"To Init, a {name} answer costs {e.value:+.2f} nats [{e.low:+.2f}, "
        f"{e.high:+.2f}] compared with its own right answers to the same hands, "
        f"{verdict(e)}: its probability is {math.exp(-e.value):.1g} times theirs, in "
        f"the geometric mean."
    )

# %% [markdown] tags=["floor"]
# *Own* has an advantage by construction: those answers were sampled from Init. That is
# what on-policy means. The size of the gap depends on how sure the base is of its
# style. Ours was pre-trained on shortest formulas; a large language model may spread
# its probability over more styles.
#
# ## What can be learned, and what is left to memorise
#
# Suppose a model understood the game completely. For a hand with $k$ formulas it would
# still not know which one the solver drew. The solver's distribution over formulas is
# $q(f) = 1/k$, the model's is $p(f)$, and the expected loss splits into
#
# $$
# -\sum_f q(f) \log p(f) = \underbrace{-\sum_f q(f) \log q(f)}_{H(q)\, =\, \log k}
# + \underbrace{\sum_f q(f) \log \frac{q(f)}{p(f)}}_{\mathrm{KL}(q \,\|\, p)\, \ge\, 0}.
# $$
#
# The KL term can be learned: write formulas like the solver. The entropy $\log k$
# cannot, except for a hand whose answer was *seen*. It is a floor for fresh hands, on
# average over them. A loss below it on the training hands is memorised: only having
# seen the answers can bring it there.
#
# ### Exercise 3.4: the floor
#
# Difficulty ●●●○○ · 10 minutes
#
# Split the expected loss for any two distributions over the same k formulas. Some of
# the solver's probabilities may be 0 (0 log 0 counts as 0), and the model's may sum to
# less than 1, because it also writes other things.

# %%
def split_loss(q: torch.Tensor, p: torch.Tensor) -> tuple[float, float]:
    """Entropy of q and KL(q || p) in nats, for probabilities (k,) and (k,).

    ``split_loss([0.5, 0.5], [0.5, 0.25])`` is ``(log 2, 0.5 log 2)``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("3.4"):
    found = split_loss(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.25]))
    assert isinstance(found, tuple), f"return entropy and KL, not {found!r}"
    entropy, kl = found
    assert abs(entropy - math.log(2)) < 1e-5, "two equal formulas: log 2 nats"
    assert abs(kl - 0.5 * math.log(2)) < 1e-5, "KL(q || p) averages log q/p over q"
    certain = split_loss(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.2, 0.3, 0.5]))
    assert not any(map(math.isnan, certain)), "0 log 0 counts as 0"
    assert abs(certain[0]) < 1e-5, "one formula for sure: nothing to memorise"
    assert abs(certain[1] - math.log(5)) < 1e-5, "log 1/p of the one formula"
    dice = torch.Generator().manual_seed(0)
    for k in (2, 5, 11):
        q, p = torch.rand(2, k, generator=dice).log_softmax(-1).exp()
        q, p = (q**8 / (q**8).sum()), 0.7 * p
        before = q.clone(), p.clone()
        entropy, kl = split_loss(q, p)
        assert torch.equal(q, before[0]) and torch.equal(p, before[1]), "q, p must stay"
        exact = torch.distributions.Categorical(q).entropy().item()
        assert abs(entropy - exact) < 1e-4, f"the entropy of q, here {exact:.3f} nats"
        loss = -(q * p.log()).sum().item()
        assert abs(entropy + kl - loss) < 1e-4, "entropy and KL add up to the loss"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep only the entries with `q > 0`, in q and in p alike.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def split_loss(q: torch.Tensor, p: torch.Tensor) -> tuple[float, float]:
#     q, p = q[q > 0], p[q > 0]
#     return -(q * q.log()).sum().item(), (q * (q / p).log()).sum().item()
# ```
#
# </details>
#
# For our hands, we assume that a model that reads the prompt is certain of everything
# before and after the formula:

# %%
def floor(problems: list[Hand]) -> float:
    """Mean over hands of log k: nats that only a seen answer can save."""
    counts = [len(solutions(hand.numbers, hand.target)) for hand in problems]
    return sum(map(math.log, counts)) / len(counts)

def nats(model, pairs: list[tuple[Hand, str]]) -> float:
    """Mean nats per answer."""
    return -torch.cat(answer_logps(model, pairs)).sum().item() / len(pairs)

lessons = [(hand, task.demonstration(hand)) for hand in hands[:100]]
start, low = nats(init, lessons), floor(hands[:100])
print(f"Init spends {start:.2f} nats on a solver's answer to a training hand.")
print(f"{low:.2f} of them are the solver's choice among right formulas; about")
print(f"{start - low:.2f} can be saved without having seen the answer.")

# %% [markdown]
# The argument requires that nothing predicts the choice. Here this holds by
# construction: the draw is seeded by the hand's numbers, and no fresh hand shares them
# with a training hand.
#
# ## SFT with trl
#
# A trainer minimises one number per batch. Before we leave that to a library, compute
# the number from what this chapter has shown.
#
# ### Exercise 3.5: assemble the SFT loss
#
# Difficulty ●●●○○ · 15 minutes
#
# The rows are those of `demonstrated`: `input_ids`, and `labels` of the same length
# with -100 on the prompt. Rows differ in length: pad them on the right, where causal
# attention cannot see it. The logits at position $t$ predict token $t + 1$. The loss is
# the mean over *all answer tokens of the batch*. The check compares value and gradients
# with the library's on a small model with random weights.

# %%
def sft_loss(model: torch.nn.Module, rows: list[dict[str, list[int]]]) -> torch.Tensor:
    """Mean negative log-probability of a batch's answer tokens, a tensor of shape ().

    ``model(input_ids=ids).logits`` is (B, T, V) for ids (B, T).
    """
    raise NotImplementedError

# %%
from transformers import MllamaForConditionalGeneration
from sftrl_lite.models.tiny import tiny_config

with notebook.exercise("3.5"), torch.random.fork_rng():
    torch.manual_seed(0)
    tiny, grad = MllamaForConditionalGeneration(tiny_config(30)), torch.autograd.grad
    weights = tiny.get_input_embeddings().weight, tiny.get_output_embeddings().weight
    for sizes in ([(3, 2)], [(2, 5), (6, 1)], [(4, 9), (1, 2), (7, 4)]):
        batch = [torch.randint(1, 30, (a + b,)).tolist() for a, b in sizes]
        rows = [{"input_ids": ids, "labels": [-100] * a + ids[a:]}
                for ids, (a, _) in zip(batch, sizes, strict=True)]
        ids, labels = (pad_sequence([torch.tensor(r[key]) for r in rows], True, fill)
                       for key, fill in (("input_ids", 0), ("labels", -100)))
        found, right = sft_loss(tiny, rows), tiny(input_ids=ids, labels=labels).loss
        assert torch.is_tensor(found) and found.ndim == 0, f"a tensor (), not {found!r}"
        assert found.requires_grad, "let gradients flow: no torch.no_grad, no .item()"
        kept = [len(row["labels"]) for row in rows] == [a + b for a, b in sizes]
        assert kept, "pad copies: the rows that you are given must stay as they are"
        told = "position t predicts token t + 1, and only answer tokens count"
        told = told if len(rows) == 1 else "padding is no answer; tokens count alike"
        assert abs(float((found - right).detach())) < 1e-4, f"{len(rows)} rows: {told}"
        pairs = zip(grad(found, weights), grad(right, weights), strict=True)
        near = all(torch.allclose(*pair, 1e-3, 1e-5) for pair in pairs)
        assert near, "its gradient is not the library's"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `pad_sequence(..., batch_first=True, padding_value=...)`, with another value for ids
# and labels. Then `logits[:, :-1]` belongs to `labels[:, 1:]`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def sft_loss(model: torch.nn.Module, rows: list[dict[str, list[int]]]) -> torch.Tensor:
#     ids, labels = (
#         pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
#         for key, fill in (("input_ids", 0), ("labels", -100))
#     )
#     logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
#     targets = labels[:, 1:]
#     picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
#     return -picked[targets >= 0].mean()
# ```
#
# </details>
#
# Fine-tuning itself needs no code of ours: trl's `SFTTrainer` does it. `sft.train_sft`
# calls it with the scale's settings and gives us a *hook*, a function that runs between
# steps. Ours measures what an answer now costs the model, in nats, for three sets: the
# demonstrations it trains on, the solver's answers to fresh hands under the same rule,
# and *Init's own* right answers to those fresh hands, which do not enter the loss.
#
# **Predict before you run**: which of the three falls below the floor $\log k$, which
# falls but stays above it, and which rises?
#
# <details><summary>Answer</summary>
#
# The demonstrations can fall below the floor, because they were seen. The solver's
# answers to fresh hands can only approach it: the style is learned, the draw is not.
# Init's own answers become less likely, because probabilities sum to one. The run shows
# whether 80 steps are enough for the first.
#
# </details>

# %%
from sftrl_lite.runs.recorder import held_out

fresh = held_out(general_points("id"), 100, seed=0)
init_right, _ = verified(init, tokenizer, task, fresh, seed=0, samples=4, **limit)
watched = {
    "solver, training hands": lessons,
    "solver, fresh hands": [(hand, task.demonstration(hand)) for hand in fresh],
    "Init's own, fresh hands": init_right,
}
print({name: len(pairs) for name, pairs in watched.items()})

# %%
from tqdm.auto import tqdm

from sftrl_lite.files import ROOT
from sftrl_lite.training.sft import train_sft

student, tokenizer = load(scale.base_for("gp-l"), scale.adapter, vision=scale.vision)
steps, seen = 80, []

def ask(step: int) -> None:
    seen.append({"step": step} | {n: nats(student, w) for n, w in watched.items()})
    bar.update(step - bar.n)

with tqdm(total=steps, unit="step") as bar:
    ask(0)
    losses = train_sft(
        student, tokenizer, data, scale.sft, ROOT / "runs" / "chapter-3" / "probe", 0,
        steps=steps, hook=ask, at=range(0, steps + 1, 10), progress=False,
    )
student = None  # its memory is free for the runs below
curve = pd.DataFrame(seen).set_index("step")
curve.round(2)

# %% tags=["nats-figure"]
LINES = {
    "solver, training hands": ("#D55E00", "s", "-"),
    "solver, fresh hands": ("#E69F00", "D", "--"),
    "Init's own, fresh hands": ("#0072B2", "o", "-"),
}
lows = floor(hands[:100]), floor(fresh)
fig, axis = plt.subplots(figsize=(9, 3.8))
for name, (colour, marker, line) in LINES.items():
    axis.plot(curve[name], color=colour, marker=marker, ls=line, label=name)
    end = curve[name].iloc[-1]
    look = dict(textcoords="offset points", color=colour)
    axis.annotate(f"{end:.2f}", (steps, end), (6, -3), **look)
axis.axhspan(*sorted(lows), color="#555555", alpha=0.5, lw=1)
axis.annotate("floor: mean log k", (0, max(lows)), (0, 3), textcoords="offset points")
axis.set(xlabel="step of SFT", ylabel="nats per answer (log scale)", yscale="log")
axis.yaxis.set_major_formatter("{x:g}")
axis.legend(loc="upper left", bbox_to_anchor=(1.06, 1))
a, b = curve.iloc[0], curve.iloc[-1]
first, second, third = LINES
below = "below" if b[first] < lows[0] else "not below"
finding = f"The demonstrations end {below} the floor"
axis.set_title(finding)
told = "; ".join(f"{name} {a[name]:.2f} to {b[name]:.2f}" for name in LINES)
told += f"; floor {lows[0]:.2f} and {lows[1]:.2f}"
notebook.figure(fig, alt=f"{finding}. Nats per answer against steps of SFT: {told}.")

# %%
before, gap = a[second] - a[first], b[second] - b[first]
notebook.show(
    f"After {steps} steps the demonstrations cost {b[first]:.2f} nats per answer, "
    f"{below} the {lows[0]:.2f} that a model can reach without having seen them. The "
    f"same solver's answers to fresh hands cost {b[second]:.2f}: the distance between "
    f"the two sets went from {before:+.2f} to {gap:+.2f} nats, and what it grows by "
    f"is memorised. Init's own right answers to those hands, which training never "
    f"mentions, went from {a[third]:.2f} to {b[third]:.2f} nats: their probability "
    f"was multiplied by {math.exp(a[third] - b[third]):.2g}."
)

# %% [markdown]
# The trainer itself reports only the first of these, as a mean over all answer tokens,
# including those before the formula, which cost almost nothing:

# %%
print("training loss every 10 steps:", [round(loss, 3) for loss in losses])

# %% [markdown]
# ## The measured run, with its control
#
# Nats do not count solved hands. So we now make a longer run with proper measurements.
# On the other core runs the control, `sft-verified`: *on-policy SFT*. It has the same
# hands, trainer, rate and training compute. Only the answers differ: they are Init's
# own that the verifier accepted, out of eight samples per hand, each kept as often as
# it was sampled.
#
# `Run` names everything that decides a run: the scale's settings, half of its training
# compute (`tflop`; chapter 5 counts it) and one seed. A second call of the cell only
# reads the folder. Evaluations during training are sampled as in the paper, at
# temperature 0.6 and top_p 0.9. Before and after training we also decode greedily and
# at temperatures 0.3 and 1.

# %%
from sftrl_lite.course.monitor import train_and_watch
from sftrl_lite.runs.run_config import Run

options = dict(
    seed=0,
    scale=scale.name,
    tflop=scale.tflop / 2,
    points=2,
    eval_episodes=scale.eval_episodes // 2,
    curve_episodes=scale.eval_episodes * 3 // 5,
    pass_samples=0,
)
methods = ("sft", "sft-verified")
plan = {method: Run(method, **options) for method in methods}
folder = ROOT / "runs" / "chapter-3" / plan["sft"].hash
table = train_and_watch(plan, folder, "chapter-3")

# %% [markdown]
# The monitor above is updated while the runs train. Its table shows each model's greedy
# answers to the same six training hands after 0, 1, 2, 4, 8, ... steps. Follow a row
# from left to right: a star says that the answer is exactly the one that the solver
# drew for this hand. Some answers are starred at step 0 already: there the draw happens
# to be what Init writes by itself. A star that *appears* and stays is a memorised draw.
# Chapter 4 shows RL on the same hands.
#
# `train` is the hands of the demonstrations, `id` fresh hands under the same rule,
# `ood-rule` fresh hands under the shifted rule. All shares are of hands solved at the
# first try.

# %%
from sftrl_lite.results import measures, plots, report, tables

names = {"train": "training hands", "id": "fresh hands", "ood-rule": "shifted rule"}
columns = {}
for split, name in names.items():
    columns["success@1", split] = name
    columns["success@1", split, "0"] = f"{name}, greedy"
tables.main_table(table, columns)

# %% [markdown]
# *SFT memorises* is a statement about the first four columns. Init was fine-tuned on none
# of these hands; where its training hands and fresh hands differ, one lot is easier by
# luck. The gap that *opens* in training is memorised. The shift comes on top of that.

# %%
from sftrl_lite.results.measures import compare, measured


def memorised(method: str, at: str, decoding: str) -> str:
    """Training hands minus fresh hands, in points."""
    seen, new = (
        measured(table, "success@1", method, split, at, decoding)
        for split in ("train", "id")
    )
    e = compare([seen], [new])
    return f"{100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"

looks = {"0.6/0.9": "paper's decoding", "0": "greedy"}
gaps = {}
for who, method, at in [("Init", "sft", "start")] + [
    (plots.LOOKS[m][3], m, "end") for m in methods
]:
    gaps[who] = {told: memorised(method, at, way) for way, told in looks.items()}
print("training hands minus fresh hands, points solved at the first try")
pd.DataFrame(gaps).T

# %% [markdown]
# ## The figure of this chapter
#
# The title of a panel says which method ends above or below Init, and "no clear change"
# where the 95 % interval of the difference includes zero. Dashed: Init. Dotted: Init at
# the best of its four decodings, the control for mere sharpening. One seed; bands are
# intervals over hands.

# %% tags=["run-figure"]
splits = tuple(names)
titles = [plots.finding(table, "success@1", split, methods) for split in splits]
fig = plots.curves(table, splits=splits, methods=methods, titles=titles)
notebook.figure(fig, alt=plots.alt_text(table, splits=splits, methods=methods))

# %%
tables.cost_table(table)

# %% [markdown]
# If *own verified answers* ends above *SFT* on fresh hands, supervised fine-tuning as
# such is not the cause: same loss, same hands, other answers. If both end alike, the
# solver's style does not explain the result. The lines below compare them at the
# first try.

# %%
for split in ("id", "ood-rule"):
    e = tables.gap(table, split, "sft-verified", "sft", "success@1")
    clear = "clearly apart" if e.low > 0 or e.high < 0 else "not clearly apart"
    print(f"{names[split]:13} on-policy SFT - SFT: {e.value:+.1f} points "
          f"[{e.low:+.1f}, {e.high:+.1f}], {clear} (one seed)")

# %% [markdown]
# ## Look at failures
#
# Do not trust an average without looking at single answers. Init, SFT and the control
# answer the same fresh hands once, under the trained and the shifted rule. They are
# loaded one after the other: at `full`, three models would not fit on one GPU.

# %%
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.rollouts import Episode

kept = {"Init": scale.base_for("gp-l")}
kept |= {plots.LOOKS[method][3]: folder / method / "model" for method in methods}


def first_answers(model, split: str) -> list[Episode]:
    """One try at each of the same 200 held-out hands."""
    judge = general_points(split)
    tests = held_out(judge, 200, seed=0)
    return evaluate(model, tokenizer, judge, tests, tries=1, **limit)[1]

played = {
    (names[split], name): first_answers(load(where)[0], split)
    for split in ("id", "ood-rule") for name, where in kept.items()
}
kinds = {
    key: Counter(episode.turns[0].verdict.kind for episode in episodes)
    for key, episodes in played.items()
}
pd.DataFrame(kinds).T.fillna(0).astype(int)

# %% [markdown]
# `wrong_value` is a formula from the right numbers that does not make 24,
# `wrong_numbers` one from other numbers. Next come three answers to the first hand that
# Init solves and SFT does not.

# %%
pick = next(
    (i for i, (a, b) in enumerate(zip(*list(played.values())[:2], strict=True))
     if a.solved and not b.solved), 0,
)
for (rule, name), episodes in played.items():
    if rule == names["id"]:
        turn = episodes[pick].turns[0]
        print(f"{name:40} {turn.verdict.kind:14} {turn.answer.partition('], ')[2]}")

# %% [markdown]
# Whose formulas do they write? We count the right answers to fresh hands that are
# exactly the shortest formula, and those that are the solver's draw. (The draw cannot
# be predicted. It is matched by luck, or where there is only one formula.)

# %%
rows = {}
for (rule, name), episodes in played.items():
    right = [(e.problem, e.turns[0].answer) for e in episodes if e.solved]
    by = {"right": f"{len(right)} of {len(episodes)}"}
    ways = {"shortest": task.base_demonstration, "solver's": task.demonstration}
    for who, write in ways.items():
        same = sum(answer == write(hand) for hand, answer in right)
        by[who] = f"{same / max(len(right), 1):.0%}"
    rows[rule, name] = by
pd.DataFrame(rows).T

# %% [markdown]
# ## With more seeds
#
# One seed shows that it can happen. The next figure shows recorded runs of full length
# from `results/ledger.csv`, with intervals over seeds and hands. *SFT, learning rate
# 1e-3* is the same SFT at a higher rate. *Varied rules* asks whether the single rule in
# the prompts is the cause: the cards are the same, but the announced rule changes from
# hand to hand and is never the shifted one. (So its "training hands" here are cards
# that it saw under other rules.)

# %%
wanted = ["headline", "controls", "push"]
recorded = report.recorded(*wanted)
for line in report.missing(wanted, recorded):
    print(line)
recorded = recorded[recorded["scale"] == scale.name]
recorded = recorded[recorded["method"].str.startswith("sft")]
if len(recorded):
    display(tables.main_table(recorded, columns), tables.cost_table(recorded))

# %% [markdown]
# The memorisation gap over seeds, and what the control changes, paired by seed:

# %% tags=["memorised"]
def memorised_over_seeds(method: str) -> str:
    """Training hands minus fresh hands at the end, in points, over seeds."""
    ends = [measured(recorded, "success@1", method, split) for split in ("train", "id")]
    found = compare([ends[0]], [ends[1]])
    return tables.in_words(measures.times(found, 100)) if found else "–"

done = [m for m in plots.LOOKS if m in set(recorded["method"])]
for method in done:
    print(f"{plots.LOOKS[method][3]:40} {memorised_over_seeds(method)}")
for split in ("id", "ood-rule"):
    for method in done[1:]:
        apart = tables.gap(recorded, split, method, "sft", "success@1")
        name = f"{names[split]}: {plots.LOOKS[method][3]} - SFT"
        print(f"{name:54} {tables.in_words(apart)}")

# %% [markdown]
# ## Side box: does SFT anchor on the old rule?
#
# There is another explanation of SFT's failures. Every demonstration counts a face card
# as 10, so the model might stop reading the rule and go on writing 10 (Lin et al. 2025
# report it for a prompt that never changes). That is easy to check, and no conclusion
# of this chapter rests on it. Give the model a prompt under the shifted rule, write the
# answer *for* it up to the number of the jack, and read off the probability of 11 and
# of 10.

# %%
import json


@torch.no_grad()
def belief(model, hand: Hand, value: int) -> float:
    """Probability that the model writes ``value`` for the first card of ``hand``."""
    question = [{"role": "user", "content": prompt(hand)}]
    header = dict(add_generation_prompt=True, return_dict=False)
    ids = tokenizer.apply_chat_template(question, **header)
    written = f'{{"cards": {json.dumps(hand.cards)}, "number": ['
    ids = ids + tokenizer.encode(written, add_special_tokens=False)
    number = tokenizer.encode(str(value), add_special_tokens=False)
    rows = torch.tensor([ids + number], device=model.device)
    logps = model(input_ids=rows).logits[0, :-1].float().log_softmax(-1)
    ends = logps[-len(number) :].gather(1, rows[0, -len(number) :, None])
    return ends.sum().exp().item()

def beliefs(model, deals: list[Hand]) -> list[float]:
    """Mean probability of 11 and of 10."""
    return [sum(belief(model, h, v) for h in deals) / len(deals) for v in (11, 10)]

# %%
deals = held_out(general_points("ood-rule"), 300, seed=0)
jacks = [Hand(("J", *sorted(h.cards)[:3]), OOD_RULE) for h in deals if "J" in h.cards]
for name, where in kept.items():
    eleven, ten = beliefs(load(where)[0], jacks[:40])
    print(f"{name:40} P(jack is 11) = {eleven:.3f}   P(jack is 10) = {ten:.3f}")

# %% [markdown]
# And `fake`: the share of first answers under the shifted rule that would be right
# under the *old* one, of the hands that it can solve. A model that is anchored scores
# high there and low on the real test; one that can no longer calculate scores low on
# both.

# %%
def end_of(method: str, metric: str, at: str = "end") -> float:
    """A share under the shifted rule."""
    return measured(table, metric, method, "ood-rule", at)["value"].mean()

for who, method, at in [("Init", "sft", "start"), ("SFT", "sft", "end")]:
    parts = {m: end_of(method, m, at) for m in ("success@1", "read", "fake")}
    print(f"{who:5}", *(f"{name} {share:.1%}  " for name, share in parts.items()))
old, new = end_of("sft", "fake", "start"), end_of("sft", "fake")
notebook.show(
    f"In this run SFT moved `fake` by {100 * (new - old):+.1f} points, to {new:.1%}; "
    f"{1 - end_of('sft', 'read'):.1%} of its first answers state wrong numbers."
)

# %% [markdown]
# ## A place to play
#
# The fine-tuned model, your cards, your rule: every token with its probability. Try
# three things. Take the training hand below: is the solver's formula memorised? Take
# the same cards in another order, or change one of them: what is left of it? Take the
# rule 11-12-13 at temperature 0: how sure is the model of what it writes?
#
# <details><summary>What to look for</summary>
#
# A memorised formula is certain from its first token on. In another order the numbers
# are the same but the prompt is not: if the model stays certain of the same formula, it
# has memorised the numbers rather than the text. Confidence under the shifted rule does
# not mean that it is right: compare the numbers written with those announced.
#
# </details>

# %%
from sftrl_lite.course.widgets import token_view

learned = next(h for h in hands if task.demonstration(h) != task.base_demonstration(h))
print("demonstrated:", solver_formula(learned), "  shortest:", best_formula(learned))
look = dict(cards=" ".join(learned.cards), rule=ID_RULE.name, temperature=0.6)
token_view(load(kept["SFT"])[0], tokenizer, **look)

# %% [markdown]
# ## What it means, and what it does not
#
# - *Off-policy* can be measured, in the nats of the first table. They split into what
#   can be learned (write like the solver) and what cannot ($\log k$). The second part
#   can be saved on training hands only.
# - *SFT memorises* means here: training hands end above fresh hands under the same
#   rule. The table of gaps shows it; where the interval includes zero, this run does
#   not.
# - *SFT forgets* means: fresh hands, or the shifted rule, end below Init. That is
#   another statement, about other columns. The probe shows one cause: probability that
#   moves to the solver's formulas is taken from Init's own, the right ones included.
# - The *control* changes only whose answers are imitated. It is not free of the
#   verifier: it uses the same judge as RL, once, before training. And it sees fewer
#   hands (only those that Init solved) and more than one answer to some. It shows that
#   SFT's results depend on the answers. Chapters 4 and 5 compare RL, and chapter 12
#   asks why it differs.
#
# What this chapter does *not* show:
#
# - *That solvers make bad teachers in general.* Our demonstrations are the worst case:
#   a random choice among formulas, without an explanation. A solver with a fixed style,
#   or with its reasoning written out, leaves less to memorise. *Textbook* in the first
#   table is a step towards that.
# - *That SFT lowers success under a shifted rule from the first step.* On the paper's
#   own task it was seen to rise first, peak early and then fall (Jin et al., 2025).
#   Stopping early is a serious competitor to RL.
# - *A law of size.* Our base is a model organism: its corpus holds careful and habitual
#   answers under many rules. At 11 B parameters the paper's fall on this task is 8.1
#   points of success under the shifted rule (its section 5.1, figure 6).
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   sections 4 and 5 (20 minutes).
# - Chen et al. (2025), [Retaining by Doing](https://arxiv.org/abs/2510.18874): on-policy
#   data forgets less (20 minutes).
# - Shenfeld et al. (2026),
#   [Self-Distillation Enables Continual Learning](https://arxiv.org/abs/2601.19897):
#   on-policy learning from demonstrations (20 minutes).
# - Jin et al. (2025),
#   [RL Fine-Tuning Heals OOD Forgetting in SFT](https://arxiv.org/abs/2509.12235): when
#   SFT's OOD success peaks (25 minutes).
# - Lin et al. (2025),
#   [Debunk the Myth of SFT Generalization](https://arxiv.org/abs/2510.00237): anchoring,
#   varied prompts and reasoning (20 minutes).
# - The [SFTTrainer](https://huggingface.co/docs/trl/sft_trainer) of trl (10 minutes).
#
# Next: [4. RL with verification iterations](04_rl_with_verification_iterations.ipynb).
