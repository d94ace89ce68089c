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
# # 4. RL with verification iterations
#
# Does a model that is only told right or wrong learn something that holds under another
# rule? We build PPO and GRPO from a two-answer bandit up, write one step of PPO in a
# page and check it against the package's, run PPO live on a verifier's points, and hold
# a control against it whose points are random.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` follow the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Write an episode with verifier messages as a Markov decision process over turns.
# - Derive the policy gradient on two answers and check it by finite differences.
# - Compute generalised advantages of three turns by hand.
# - Say where PPO's clip removes the gradient, and what GRPO does with a group that
#   agrees.
# - Explain why sampling and training must use the same temperature, and check it.
# - Read a whole PPO step, run it, and train the same episodes with trl's `GRPOTrainer`.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## One hand, three tries
#
# The cards are 3, 5, 6 and J, and a jack counts 10. A student tries
#
# 1. `3*5+6+10`, which is 31: legal, but not 24,
# 2. `11+3*6-5`, which is 24, but with a number that is not on the table,
# 3. `3+5+6+10`.
#
# The verifier judges each, and its message is in the chat when the next try begins.

# %% tags=["three-tries"]
from sftrl_lite.tasks.general_points import general_points, write_answer
from sftrl_lite.tasks.hands import Hand

task = general_points("train")  # the hands that are not reserved for tests
hand = Hand(("3", "5", "6", "J"))
for formula in ("3*5+6+10", "11+3*6-5", "3+5+6+10"):
    verdict = task.verify(hand, write_answer(hand, formula))
    print(f"{formula:9} {verdict.kind:14} {verdict.reward:+.0f}  {verdict.message}")

# %% [markdown] tags=["reward-to-go"]
# What was the first try worth? It earned $-1$, but it did not end the episode, and the
# fifth point came two tries later. With a discount $\gamma = 0.9$ a try (the released
# code's), the *reward to go* $R_t = r_t + \gamma R_{t+1}$ is, from the back,
#
# $$R_3 = 5, \qquad R_2 = -2 + 0.9 \cdot 5 = 2.5, \qquad R_1 = -1 + 0.9 \cdot 2.5 = 1.25.$$
#
# The tries of an episode share its final success, the earlier ones a little less.
#
# ### Exercise 4.1: rewards to go
#
# Difficulty ●○○○○ · 5 minutes
#
# Compute all $R_t$ of an episode in one pass from the back.

# %%
def to_go(rewards: list[float], gamma: float) -> list[float]:
    """R_t = r_t + gamma R_{t+1}: ``to_go([-1, 5], 0.9)`` is ``[3.5, 5]``."""
    raise NotImplementedError

# %%
with notebook.exercise("4.1"):
    assert to_go([5.0], 0.9) == [5.0], "one try is worth what it earns"
    found = to_go([-1.0, -2.0, 5.0], 0.9)
    assert len(found) == 3, "one number a try"
    assert abs(found[0] - 1.25) < 1e-9, "the first try shares the last one's success"
    assert to_go([-1.0, -2.0], 0.0) == [-1.0, -2.0], "gamma = 0 looks at no future"
    assert abs(to_go([0.0, 4.0], 0.5)[0] - 2.0) < 1e-9, "another gamma than 0.9"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through `reversed(rewards)` and keep one running number.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def to_go(rewards: list[float], gamma: float) -> list[float]:
#     totals, ahead = [], 0.0
#     for reward in reversed(rewards):
#         ahead = reward + gamma * ahead
#         totals.append(ahead)
#     return totals[::-1]
# ```
#
# </details>
#
# ## An episode is a decision process over turns
#
# Reinforcement learning needs states, actions, transitions and rewards. The paper's
# *sequential revision* (section 3) fits in one table:
#
# | | here |
# | --- | --- |
# | state $s_t$ | prompt, then all earlier answers and messages |
# | action $a_t$ | the whole answer of try $t$, a few dozen tokens |
# | transition | append $a_t$ and the verifier's message |
# | reward $r_t$ | the verifier's points; one more lost when the last try fails |
# | end | solved, or $T$ tries used: the *verification budget* |
#
# Only the policy $\pi_\theta(a_t \mid s_t)$ is random. We look for parameters that make
#
# $$J(\theta) = \mathbb{E}_{\pi_\theta}\Big[\sum_{t=1}^{T} \gamma^{t-1} r_t\Big]$$
#
# large. No correct answer appears in it, only the verifier's points.
#
# ## A rollout
#
# `rollout` plays episodes. Of 16 that the base model plays on this hand we print one of
# the longest, turn by turn.

# %%
import torch

from sftrl_lite.models.loading import load
from sftrl_lite.training.rollouts import rollout

base, tokenizer = load(scale.base_for("gp-l"))
limit = dict(max_new_tokens=scale.rl.max_new_tokens)

def dice(seed: int) -> torch.Generator:
    """A seeded random generator on the model's device."""
    return torch.Generator(base.device).manual_seed(seed)

options = dict(samples=16, tries=3, generator=dice(0))
episode = max(rollout(base, tokenizer, task, [hand], **options, **limit),
              key=lambda played: len(played.turns))
for turn in episode.turns:
    print(f"{turn.answer}\n   -> {turn.verdict.kind}, reward {turn.reward:+.0f}")

# %% [markdown]
# The whole chat is one list of tokens that only ever grows. `start` and `end` of a turn
# say which of them the model wrote; only those are actions.

# %%
print(len(episode.ids), "tokens; written by the model:")
print([(turn.start, turn.end) for turn in episode.turns])

# %% [markdown]
# Because the chat only grows, the *keys and values* of its tokens, what attention keeps
# of the past, can be kept from the first token to the last. How many token passes does
# that save? Count for a prompt of $P$ tokens, answers of $A$, messages of $M$, $T$
# tries.

# %%
def token_passes(P: int, A: int, M: int, T: int) -> dict[str, int]:
    """Tokens through the model for one episode of T failed tries."""
    starts = [P + t * (A + M) for t in range(T)]  # context length before each try
    return {
        "nothing kept": sum(s + i for s in starts for i in range(A)),
        "kept within a try": sum(s + A for s in starts),
        "kept over the episode": starts[-1] + A,
    }

for T in (1, 5, 10):
    print(T, "tries:", token_passes(P=15, A=20, M=4, T=T))

# %% [markdown] tags=["score-function"]
# With everything kept the cost of an episode is linear in its tries. The paper's
# compute formula charges sampling as if nothing were kept (chapters 5 and 10).
#
# ## The policy gradient, on two answers
#
# How does one climb $J$ if the verifier cannot be differentiated? Forget tokens: there
# are two answers, one right ($r = 5$) and one wrong ($r = -1$), and a policy with two
# logits $\theta \in \mathbb{R}^2$, $\pi = \text{softmax}(\theta)$. Then
#
# $$
# J(\theta) = \sum_a \pi_a r_a, \qquad
# \nabla J = \sum_a r_a \nabla \pi_a = \sum_a \pi_a\, r_a \nabla \log \pi_a
# = \mathbb{E}_{a \sim \pi}\big[ r_a \nabla \log \pi_a \big].
# $$
#
# The trick is $\nabla \pi = \pi \nabla \log \pi$: it turns a gradient into an average
# over samples. For softmax, $\nabla \log \pi_a = \text{onehot}(a) - \pi$, the *score*.

# %%
theta, points = torch.tensor([0.3, -0.2]), torch.tensor([5.0, -1.0])
pi = theta.softmax(0)
score = torch.eye(2) - pi  # row a: gradient of log pi_a
print("score function    ", (pi[:, None] * points[:, None] * score).sum(0))

# %% [markdown]
# Finite differences need no theory: move each logit a little and look at $J$.

# %%
def value(logits: torch.Tensor) -> torch.Tensor:
    """J of a two-answer policy."""
    return (logits.double().softmax(0) * points).sum()

moves = 1e-4 * torch.eye(2)
slopes = [(value(theta + m) - value(theta - m)).item() / 2e-4 for m in moves]
print("finite differences", torch.tensor(slopes))

# %% [markdown]
# ## A baseline keeps the mean and changes the variance
#
# In practice we have samples, not the sum, and a sample's estimate is noisy. Subtract
# any number $b$ from the reward that does not depend on the action:
#
# $$\mathbb{E}\big[(r_a - b) \nabla \log \pi_a\big] = \nabla J \quad
# \text{because} \quad \mathbb{E}[\nabla \log \pi_a] = \nabla \textstyle\sum_a \pi_a = 0.$$
#
# Pay both answers 10 points more: the task is the same, and so is the gradient. The
# variance of the samples is not. Three baselines: none, the mean reward, and the one of
# least variance, which weights each reward by its squared score.

# %% tags=["baselines"]
rng = torch.Generator().manual_seed(0)
actions = torch.multinomial(pi, 20_000, replacement=True, generator=rng)
weight = pi * score[:, 0].square()  # how much each answer adds to the variance

def sampled(pay: torch.Tensor, b: float) -> torch.Tensor:
    """Estimates of the first logit's gradient, one a sampled action."""
    return (pay[actions] - b) * score[actions][:, 0]

for pay in (points, points + 10):
    least = float((weight * pay).sum() / weight.sum())
    for name, b in (("none", 0.0), ("mean", float((pi * pay).sum())), ("least", least)):
        found = sampled(pay, b)
        print(f"points {pay.tolist()}, baseline {name:5} {b:5.2f}: "
              f"mean {found.mean():.2f}, standard deviation {found.std():.2f}")

# %% [markdown]
# The means agree: no baseline changes the gradient. Now compare the first two lines.
# With these points the mean reward does *not* reduce the noise, because 0 happens to
# lie nearer to the baseline of least variance. Compare the lines of `none` with each
# other, then the lines of `mean`: what the mean reward buys is that the noise no longer
# depends on where the verifier's scale begins. The baseline of least variance differs
# from logit to logit; PPO and GRPO content themselves with an estimate of the mean.
#
# ### Exercise 4.2: the best baseline?
#
# Difficulty ●●●○○ · 10 minutes
#
# Write the sampled estimates for a whole batch of actions. The test compares the spread
# with no baseline, and with the mean reward as a baseline.

# %%
def estimates(
    theta: torch.Tensor, actions: torch.Tensor, points: torch.Tensor, baseline: float
) -> torch.Tensor:
    """One gradient estimate a sample: (V,), (N,), (V,), float -> (N, V).

    ``estimates(zeros(2), tensor([0]), tensor([5., -1.]), 0.0)`` is ``[[2.5, -2.5]]``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.2"):
    even, pay = torch.zeros(2), torch.tensor([5.0, -1.0])
    found = estimates(even, torch.tensor([0]), pay, 0.0)
    assert found.shape == (1, 2), "one row a sample, one column a logit"
    assert torch.allclose(found, torch.tensor([[2.5, -2.5]])), "5 * ([1, 0] - [.5, .5])"
    both = torch.tensor([0, 1])
    plain, calm = estimates(even, both, pay, 0.0), estimates(even, both, pay, 2.0)
    assert torch.allclose(plain.mean(0), calm.mean(0)), "a baseline keeps the mean"
    assert calm.std(0).sum() < 1e-6 < plain.std(0).sum(), "here all the noise goes"
    skewed = torch.tensor([1.0, -0.5, 0.0, 2.0], requires_grad=True)
    drawn, pay = torch.tensor([2, 0, 3, 3, 1]), torch.tensor([5.0, -1.0, -2.0, -3.0])
    found = estimates(skewed.detach(), drawn, pay, 0.7)
    for a, row in zip(drawn, found, strict=True):
        (score_a,) = torch.autograd.grad(skewed.log_softmax(0)[a], skewed)
        true = (pay[a] - 0.7) * score_a
        assert torch.allclose(row, true, atol=1e-5), "the score is onehot(a) - softmax"

# %% [markdown] tags=["advantages"]
# <details><summary>Hint</summary>
#
# The score of the sampled actions is `torch.eye(V)[actions] - pi`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def estimates(
#     theta: torch.Tensor, actions: torch.Tensor, points: torch.Tensor, baseline: float
# ) -> torch.Tensor:
#     score = torch.eye(len(theta))[actions] - theta.softmax(0)
#     return (points[actions] - baseline)[:, None] * score
# ```
#
# </details>
#
# What is left after the baseline is called the *advantage*: how much better than
# expected. From here on the methods differ only in their baseline.
#
# ## PPO's baseline: a learned value, and GAE
#
# PPO trains a second output $V(s_t)$, the expected reward to go. One could take $A_t =
# R_t - V(s_t)$ (no bias, much noise) or only look one turn ahead (less noise, but only
# as good as $V$). Generalised advantage estimation (Schulman et al., 2016) has a dial
# $\lambda$ between the two:
#
# $$
# \delta_t = r_t + \gamma V_{t+1} - V_t, \qquad
# A_t = \delta_t + \gamma \lambda A_{t+1}, \qquad V_{T+1} = A_{T+1} = 0.
# $$
#
# The episode of the cold open, with made-up values $V = (1, 2, 3)$, $\gamma = 0.9$ and
# $\lambda = 0.95$:
#
# | turn | $r_t$ | $V_t$ | $\delta_t$ | $A_t$ |
# | --- | --- | --- | --- | --- |
# | 3 | 5 | 3 | 5 − 3 = 2 | 2 |
# | 2 | −2 | 2 | −2 + 0.9·3 − 2 = −1.3 | −1.3 + 0.855·2 = 0.41 |
# | 1 | −1 | 1 | −1 + 0.9·2 − 1 = −0.2 | −0.2 + 0.855·0.41 = 0.15055 |
#
# The second try broke the rules and still has a positive advantage: what followed was
# better than expected. `losses.gae` agrees, and also gives the targets for $V$.

# %%
from sftrl_lite.training.losses import gae

advantages, targets = gae([-1, -2, 5], [1, 2, 3], gamma=0.9, lam=0.95)
print("advantages", [round(a, 5) for a in advantages])
print("targets   ", [round(t, 5) for t in targets])

# %% [markdown]
# PPO implementations, ours too (`rl.ppo_targets`), then *normalise* the advantages of a
# batch: they subtract the batch's mean and divide by its standard deviation. That fixes
# the size of a step whatever the scale of the points. Here the three turns are the
# batch:

# %%
raw = torch.tensor(advantages)
scaled = (raw - raw.mean()) / (raw.std(correction=0) + 1e-5)
for t, (before, after) in enumerate(zip(raw.tolist(), scaled.tolist(), strict=True), 1):
    flips = "the sign flips" if before * after < 0 else ""
    print(f"turn {t}: advantage {before:+.2f}, normalised {after:+.2f} {flips}")

# %% [markdown]
# A sign can flip, because the question has changed: no longer "better than the value
# head expected?" but "better than the average turn of this batch?". Subtracting a
# constant from all advantages is one more baseline (nearly: the batch's mean contains
# each sample itself), so the expected gradient keeps its direction.
#
# ### Exercise 4.3: generalised advantages
#
# Difficulty ●●●○○ · 10 minutes
#
# Write it. The two ends of the dial are your check: $\lambda = 0$ gives $\delta_t$,
# $\lambda = 1$ gives the reward to go minus the value.

# %%
def advantages_of(
    rewards: list[float], values: list[float], gamma: float, lam: float
) -> list[float]:
    """GAE of a finished episode: ``advantages_of([5], [3], 0.9, 0.95)`` is ``[2]``."""
    raise NotImplementedError

# %%
import random

with notebook.exercise("4.3"):
    r, v = [-1.0, -2.0, 5.0], [1.0, 2.0, 3.0]
    found = advantages_of(r, v, 0.9, 0.95)
    assert abs(found[2] - 2) < 1e-9, "nothing follows the last turn: its V_{t+1} is 0"
    assert abs(found[0] - 0.15055) < 1e-9, "the table above, from the back"
    assert abs(advantages_of(r, v, 0.9, 0.0)[1] + 1.3) < 1e-9, "lambda = 0 is delta"
    assert abs(advantages_of(r, v, 0.9, 1.0)[0] - 0.25) < 1e-9, "lambda = 1 is R - V"
    draw = random.Random(0).uniform
    for turns in (1, 2, 3, 4, 5, 6):
        r, v = [draw(-3, 5) for _ in range(turns)], [draw(-3, 5) for _ in range(turns)]
        gamma, lam = draw(0, 1), draw(0, 1)
        found, true = advantages_of(r, v, gamma, lam), gae(r, v, gamma, lam)[0]
        same = all(abs(a - b) < 1e-9 for a, b in zip(found, true, strict=True))
        assert same, "any gamma, lambda and number of turns"

# %% [markdown]
# <details><summary>Hint</summary>
#
# From the back, with two running numbers: the next value and the next advantage.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def advantages_of(
#     rewards: list[float], values: list[float], gamma: float, lam: float
# ) -> list[float]:
#     found, ahead, next_value = [], 0.0, 0.0
#     for reward, value in zip(reversed(rewards), reversed(values)):
#         ahead = reward + gamma * next_value - value + gamma * lam * ahead
#         next_value = value
#         found.append(ahead)
#     return found[::-1]
# ```
#
# </details>
#
# ## Where the value comes from
#
# $V(s_t)$ is a small network on the language model's last hidden state, at the last
# token *before* answer $t$: there the model has read everything and written nothing. In
# shapes, for $B$ episodes of up to $L$ tokens and $T$ turns: states `(B, L, H)`, picked
# at `ask` `(B, T)`, values `(B, T)`. `pack` makes these tensors.

# %%
from sftrl_lite.training.forward import ValueHead, pack, per_turn, policy

batch = pack([episode], tokenizer.pad_token_id, base.device)
print("ids", tuple(batch.ids.shape), " rewards", tuple(batch.rewards.shape))
print("turn of each token:", batch.turn[0].tolist())
print("ask:", batch.ask[0].tolist())

# %% [markdown]
# `policy` is one forward pass over whole episodes. The whole answer is one action, so
# its log-probability is the *sum* over its tokens (`per_turn`). It must be what the
# rollout recorded, or the ratio of the next section would not start at 1.

# %%
head = ValueHead(base.config.get_text_config().hidden_size).to(base.device)
with torch.no_grad():
    logps, _, values = policy(base, batch, head)
print("log pi of each answer now    ", per_turn(batch, logps)[0].tolist())
print("log pi of each answer sampled", per_turn(batch, batch.old_logps)[0].tolist())
print("values of an untrained head  ", values[0].tolist())

# %% [markdown]
# ## The clip
#
# Episodes are expensive, so one batch serves several gradient steps. After the first,
# the policy is no longer the one that sampled. The ratio $\rho_t = \pi_\theta(a_t \mid
# s_t) / \pi_\text{old}(a_t \mid s_t)$ corrects for it, and PPO (Schulman et al., 2017)
# takes away the reason to move it far from 1:
#
# $$
# \max_\theta \; \mathbb{E}\Big[\min\big(\rho_t A_t,\;
# \text{clip}(\rho_t, 1-\epsilon, 1+\epsilon)\, A_t\big)\Big].
# $$

# %% tags=["clip-figure"]
import matplotlib.pyplot as plt

from sftrl_lite.training.losses import clipped_objective

clip = scale.rl.clip
ratio = torch.linspace(0.4, 1.6, 200)
fig, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharex=True)
for axis, sign in zip(axes, (1.0, -1.0), strict=True):
    old, a = torch.zeros_like(ratio), torch.full_like(ratio, sign)
    axis.plot(ratio, clipped_objective(ratio.log(), old, a, clip), label="clipped")
    axis.plot(ratio, ratio * a, ls=":", color="#767676", label="not clipped")
    axis.set(title=f"advantage {sign:+.0f}", xlabel="ratio")
    axis.axvspan(1 - clip, 1 + clip, color="#E5E5E5", zorder=0)
axes[0].legend()
axes[0].set_ylabel("objective")
notebook.figure(fig, alt="PPO's objective against the ratio: for a positive advantage "
                f"flat above {1 + clip:g}, for a negative one flat below {1 - clip:g}.")

# %% [markdown]
# The clip is one-sided each time. A good answer whose probability has risen enough is
# left alone; one whose probability *fell* is still pulled up, at any distance.
#
# *The probability of what?* The paper's PPO, and ours, has one ratio an answer: the
# product over its tokens. GRPO, as it was published, has one ratio a token, and each
# token carries the advantage of its answer. The same clip then means very different
# things:

# %%
change = torch.full((20,), 0.01)  # each of 20 tokens 1 % likelier than when sampled
for name, log_ratio in (("answer", change.sum()), ("token", change[0])):
    inside = abs(log_ratio.exp() - 1) <= clip
    print(f"ratio of the {name:6} {log_ratio.exp():.2f}: "
          f"{'inside' if inside else 'outside'} the clip range of {clip:g}")

# %% [markdown]
# With a ratio an answer, the clip limits how far whole answers move, and long answers
# reach it sooner. With a ratio a token, it limits each token, and an answer may move
# far.
#
# ### Exercise 4.4: where is there a gradient?
#
# Difficulty ●●●○○ · 8 minutes
#
# Say for a ratio, an advantage and a clip whether the objective still has a gradient.

# %%
def still_moves(ratio: float, advantage: float, clip: float) -> bool:
    """``still_moves(1.5, 1.0, 0.2)`` is False: it rose, as asked, by more than 0.2."""
    raise NotImplementedError

# %%
with notebook.exercise("4.4"):
    assert still_moves(1.0, 1.0, 0.2), "a fresh sample always counts"
    assert not still_moves(1.5, 1.0, 0.2), "good and risen enough: clipped"
    assert still_moves(0.5, 1.0, 0.2), "good but fallen: min() keeps the gradient"
    assert not still_moves(0.5, -1.0, 0.2), "bad and fallen enough: clipped"
    assert still_moves(1.5, -1.0, 0.2), "bad but risen: must come down"
    assert not still_moves(1.0, 0.0, 0.2), "no advantage, no gradient"
    draw = random.Random(0)
    for _ in range(200):
        near, bound = draw.uniform(0.3, 1.7), draw.uniform(0.05, 0.4)
        gain, old = draw.choice((-2.0, 0.5)), torch.zeros(())
        logp = torch.tensor(near).log().requires_grad_()
        clipped_objective(logp, old, old + gain, bound).backward()
        case = f"ratio {near:.2f}, advantage {gain:+}, clip {bound:.2f}"
        right = still_moves(near, gain, bound) == bool(logp.grad)
        assert right, f"autograd says otherwise: {case}"

# %% [markdown] tags=["group-baseline"]
# <details><summary>Hint</summary>
#
# Two flat pieces: right of $1 + \epsilon$ for a positive advantage, left of
# $1 - \epsilon$ for a negative one.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def still_moves(ratio: float, advantage: float, clip: float) -> bool:
#     if advantage > 0:
#         return ratio <= 1 + clip
#     return advantage < 0 and ratio >= 1 - clip
# ```
#
# </details>
#
# ## GRPO's baseline: the group
#
# A value head has to be learned. GRPO (Shao et al., 2024) does without one: sample a
# group of $G$ answers to the same hand and compare each with its group,
#
# $$A_i = \frac{R_i - \text{mean}(R_1, \dots, R_G)}{\text{std}(R_1, \dots, R_G)}.$$
#
# Liu et al. (2025, *Dr. GRPO*) drop the division: it gives the largest weight to hands
# that are nearly always or nearly never solved. We follow them. Our episodes have
# several turns, and some end early, so the mean at turn $t$ is over $P_t$, those
# episodes of the group that played it:
#
# $$A_{i,t} = R_{i,t} - \frac{1}{|P_t|} \sum_{j \in P_t} R_{j,t}, \qquad R \in
# \mathbb{R}^{B \times T}.$$
#
# Three groups of four, one turn each: one sample solves its hand, three do, all do.

# %% tags=["groups"]
from sftrl_lite.training.losses import group_advantages

returns = torch.tensor([5.0, -1, -1, -1, 5, 5, 5, -1, 5, 5, 5, 5])[:, None]
played = torch.ones_like(returns, dtype=torch.bool)
for name, scaled in (("Dr. GRPO", False), ("GRPO", True)):
    found = group_advantages(returns, played, group=4, scale=scaled)[:, 0]
    print(f"{name:8}", [round(a, 2) for a in found.tolist()])

# %% [markdown]
# Two more things differ between our GRPO and Shao et al.'s: there is no KL penalty, and
# the loss is a mean over all answer tokens of the batch (Yu et al., 2025), not first
# over each answer and then over answers.
#
# The last group teaches nothing: when all samples agree, every advantage is zero. Hands
# that are always or never solved cost sampling and give no gradient, which is why RL
# needs a base that succeeds *sometimes*. `rl_step` reports the share of the other hands
# as `signal`.
#
# ### Exercise 4.5: a group that agrees
#
# Difficulty ●●○○○ · 5 minutes
#
# Write the group's advantages for one turn, and return the share of groups without any
# signal beside them.

# %%
def grouped(returns: torch.Tensor, group: int) -> tuple[torch.Tensor, float]:
    """(B,) returns, group by group -> (B,) advantages, share of silent groups.

    ``grouped(tensor([5., -1., 5., 5.]), 2)`` is ``([3, -3, 0, 0], 0.5)``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.5"):
    found, silent = grouped(torch.tensor([5.0, -1.0, 5.0, 5.0]), 2)
    assert found.tolist() == [3.0, -3.0, 0.0, 0.0], "subtract the mean of each group"
    assert silent == 0.5, "the second group has no variance"
    mixed, silent = grouped(torch.tensor([5.0, -1.0, 2.0, 0.1, 0.1, 0.1]), 3)
    assert mixed[2] == 0 and silent == 0.5, "an average sample is no silent group"
    lucky, _ = grouped(torch.tensor([5.0, -1.0, -1.0, -1.0]), 4)
    assert lucky[0] == 4.5, "a rare success stands out"
    assert abs(float(lucky.sum())) < 1e-6, "within a group advantages sum to zero"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `returns.reshape(-1, group)` has one group a row. A silent row equals its first entry
# throughout.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def grouped(returns: torch.Tensor, group: int) -> tuple[torch.Tensor, float]:
#     rows = returns.reshape(-1, group)
#     silent = (rows == rows[:, :1]).all(1).float().mean().item()
#     return (rows - rows.mean(1, keepdim=True)).reshape(-1), silent
# ```
#
# </details>
#
# ## How far from Init? Three estimates of a KL
#
# The Kullback-Leibler divergence $\text{KL}(\pi \| \pi_0) = \mathbb{E}_\pi[\log \pi -
# \log \pi_0]$ says how far a policy has moved, in nats. Over whole answers it cannot be
# summed, only estimated from samples of $\pi$. With $r = \pi_0 / \pi$, three estimates
# are in use (Schulman, 2020): $k_1 = -\log r$, $k_2 = (\log r)^2 / 2$ and
# $k_3 = r - 1 - \log r$. Four answers, where we know the truth:

# %%
from sftrl_lite.training.losses import kl_estimates

now = torch.tensor([0.6, 0.2, 0.15, 0.05])
init = torch.tensor([0.4, 0.3, 0.2, 0.1])
drawn = torch.multinomial(now, 100_000, replacement=True, generator=rng)
print(f"exact: {(now * (now / init).log()).sum():.4f}")
for name, k in kl_estimates(now[drawn].log(), init[drawn].log()).items():
    below = (k < 0).float().mean()
    print(f"{name}: mean {k.mean():.4f}, spread {k.std():.4f}, below zero {below:.0%}")

# %% [markdown]
# $k_1$ and $k_3$ are right on average, and $k_3$ is never negative; $k_2$ has little
# variance, is nearly right for policies as close as these, and wrong for distant ones.
# The paper's PPO has no KL term at all (released code): the clip and a small learning
# rate must do. We only *measure* the KL, by $k_1$.
#
# ## One policy, one temperature
#
# Sampling at temperature $\tau$ draws from
# $\pi_\tau = \text{softmax}(\text{logits} / \tau)$. Then $\pi_\tau$ is the policy,
# everywhere: in the rollout, in the ratio, in the KL and in the entropy the logits are
# divided by the same $\tau$. What goes wrong otherwise? Give *every* answer one point,
# so that there is nothing to learn. If the samples come from $\pi_\tau$ and the score
# from $\pi_\sigma$, the expected gradient with respect to the logits is
#
# $$\mathbb{E}_{a \sim \pi_\tau}\big[\nabla \log \pi_\sigma(a)\big] =
# \frac{\pi_\tau - \pi_\sigma}{\sigma},$$
#
# and that is zero only where $\tau = \sigma$. With it goes the argument that a baseline
# does not change the gradient. The sum over four answers, exactly:

# %% tags=["temperatures"]
def drift(sampled_at: float, trained_at: float) -> torch.Tensor:
    """Expected gradient on four logits where every answer earns one point."""
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0], requires_grad=True)
    drawn = (logits.detach() / sampled_at).softmax(0)
    (drawn * (logits / trained_at).log_softmax(0)).sum().backward()
    return logits.grad

for sampled_at, trained_at in ((1.0, 1.0), (0.2, 0.2), (0.2, 1.0)):
    slope = drift(sampled_at, trained_at)
    said = "zero" if slope.abs().max() < 1e-6 else "not zero: it trains on nothing"
    print(f"sampled at {sampled_at}, trained at {trained_at}: "
          f"{[round(x, 3) for x in slope.tolist()]}, {said}")

# %% [markdown]
# A shared temperature keeps the expectation at zero, whatever it is; two temperatures
# push the policy although no answer is better than another. On the base model the same
# mistake shows in the ratio, which has to be 1 before the first update:

# %%
dealt = task.draw(random.Random(0), 8)
for tau in (1.0, 0.2):
    few = rollout(base, tokenizer, task, dealt, samples=4, tries=1, temperature=tau,
                  generator=dice(2), **limit)
    part = pack(few, tokenizer.pad_token_id, base.device)
    old = per_turn(part, part.old_logps)
    for used in sorted({tau, 1.0}):
        with torch.no_grad():
            new = per_turn(part, policy(base, part, temperature=used)[0])
        ratio = (new - old).exp()
        print(f"sampled at {tau}, log-probabilities at {used}: "
              f"ratio from {ratio.min():.3f} to {ratio.max():.3f}")

# %% [markdown]
# The released code and trl divide by the sampling temperature, too. The scale table
# says what RL samples with while it trains: 1 at `tiny` and `t4`, the paper's 0.2 at
# `full`. How a model is *evaluated* is another choice: at temperature 0.6 with `top_p`
# 0.9 unless something else is said, the decoding of the paper's evaluation.
#
# ## One step of training, as a whole
#
# Now everything has a name. A step of PPO on text:
#
# 1. Choose hands, sample whole episodes (`rollout`).
# 2. Pack them. One pass without gradients gives values and old log-probabilities; then
#    advantages and value targets (`ppo_targets`: GAE, normalised).
# 3. For each minibatch: log-probabilities now, ratio, clip, value error (`ppo_loss`),
#    one step of Adam.

# %%
from sftrl_lite.training.losses import ppo_loss
from sftrl_lite.training.rl import ppo_targets
def ppo_step(model, head, adam, hands, s, rng) -> dict[str, float]:
    """One step of PPO; ``s``: the scale's settings, ``rng`` draws hands and order."""
    chosen, draws = dice(rng.getrandbits(60)), rng.sample(hands, s.problems)
    episodes = rollout(model, tokenizer, task, draws, samples=s.samples, tries=s.tries,
                       temperature=s.temperature, generator=chosen, **limit)
    batch = pack(episodes, tokenizer.pad_token_id, model.device)
    with torch.no_grad():
        batch.old_logps, values = policy(model, batch, head, None, s.temperature)[::2]
    batch.advantages, batch.targets = ppo_targets(batch, values, s.gamma, s.lam)
    for _ in range(s.epochs):
        order = torch.tensor(rng.sample(range(len(episodes)), len(episodes)))
        for rows in order.split(s.minibatch):
            part = batch.rows(rows)  # without columns and turns that none of them needs
            logps, _, seen = policy(model, part, head, None, s.temperature)
            new, old = per_turn(part, logps), per_turn(part, part.old_logps)
            loss = ppo_loss(new, old, seen, part.advantages, part.targets, part.played,
                            s.clip, s.value_coef)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), s.max_grad_norm)
            adam.step()
            adam.zero_grad()
    error = (values - batch.targets)[batch.played].square().mean().item()
    return {"reward": batch.rewards.sum(1).mean().item(), "value_error": error}

# %% [markdown]
# The rollout has log-probabilities as well, from tokens decoded one at a time. Step 2 takes
# them from a pass like the update's instead: in 16 bits the two differ by rounding, and the
# first ratio would not be 1.
#
# The package's `rl_step` does the same, and besides it handles pictures, several
# processes, float16 and GRPO. Do both take the same step from Init? They draw from the
# same stream.

# %%
from sftrl_lite.models.adapters import restore, trained
from transformers import PreTrainedModel

student = load(scale.base_for("gp-l"), scale.adapter, vision=scale.vision)[0]
start = {name: weight.clone() for name, weight in trained(student).items()}

def at_init() -> PreTrainedModel:
    """The student as it was: one model serves all, a GPU may hold no second one."""
    restore(student, start)
    return student

def moved() -> torch.Tensor:
    """What has changed of all that trains, weights or an adapter, in one vector."""
    return torch.cat([(w - start[n]).flatten() for n, w in trained(student).items()])

# %%
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.seeds import stream
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.updates import new_learner

hands = train_hands(task, scale.sft.hands, seed=0)
ours = new_learner(at_init(), scale.rl, seed=0)
first = ppo_step(ours.model, ours.value_head, ours.optimizer, hands, scale.rl,
                 stream(0, "rl", 0))
mine = moved()
learner = new_learner(at_init(), scale.rl, seed=0)
stats = rl_step(learner, tokenizer, task, hands, scale.rl, seed=0)
its = moved()
print(f"reward an episode: ours {first['reward']:.3f}, rl_step {stats['reward']:.3f}")
print(f"the updates differ by {(mine - its).norm() / its.norm():.2%} of their length")

# %% [markdown]
# ### The package's step
#
# `rl_step` is this step for both methods, for text and for pictures, for one process and for
# many. Each line of it is a stage that you know:
#
# | name | what it does | above |
# | --- | --- | --- |
# | `stream` | all chance of this step, from the seed and the step's number | `rng` |
# | `play` | draws problems and plays episodes, each process its own | `rollout` |
# | `pack` | episodes to tensors (`tokenizer_of` knows the padding) | `pack` |
# | `look_back` | what the policy thinks of its answers: `old_logps`, values, entropy | `policy` |
# | `with_advantages` | GAE with value targets, or the group's baseline | `ppo_targets` |
# | `learner.critic` | the value head; GRPO has none | `head` |
# | `checkpointed` | whether layers compute twice to save memory; on a GPU | |
# | `minibatches` | epochs, order, and the passes that memory has room for | `order.split` |
# | `update` | one gradient step: adds up the gradients of all processes, clips, steps | `adam` |
# | `encoded` | states of the pictures, computed once for all passes of an update | |
# | `near.rows` | the episodes of a pass, without columns that none of them needs | `batch.rows` |
# | `METHODS` | the loss, PPO's or GRPO's, and how far the policy has moved | `ppo_loss` |
# | `step.backward` | adds the gradient of a pass, by its share of the minibatch | `backward` |
# | `figures` | what one debugs by | |

# %%
import inspect

code = inspect.getsource(rl_step)
print(code[code.index("    s, rng ="):])  # what stands below the docstring

# %% [markdown]
# A few more steps, to see what `rl_step` returns. `reward` is the mean sum of points of
# an episode, `success` the share solved within the budget, `answers` the tries actually
# played, `signal` the share of hands whose samples earned different points. The rest is for
# finding faults: `kl` and `clipped` say how far the policy went from the one that sampled,
# `entropy` how undecided that one was, `grad_norm` how long the gradient was before it was
# clipped, `explained_variance` how much of the returns the value head foresaw.

# %%
import pandas as pd
from tqdm.auto import tqdm

few = 3
log = [stats]
log += [rl_step(learner, tokenizer, task, hands, scale.rl, seed=0)
        for _ in tqdm(range(few - 1), unit="step")]
pd.DataFrame(log, index=range(1, few + 1)).round(3).T

# %%
error = first["value_error"]
notebook.show(
    f"A loss of {stats['loss']:.1f} in step 1 is no divergence. Before the first "
    "update every ratio is 1 and normalised advantages have mean zero, so the policy's "
    "part of the loss is zero. What is left is the value head's part, "
    f"{scale.rl.value_coef:g} times its mean squared error of {error:.1f}: an "
    f"untrained head is off by about {error ** 0.5:.1f} points."
)

# %% [markdown]
# ## A live run, with its control
#
# Half of the scale's training compute, one seed. On the other core runs the control,
# `rl-random`: the same PPO, the same hands, the same number of samples, but a fair coin
# instead of the verifier. Heads is +1 and ends the episode, tails is -1 and allows
# another try. The points have mean zero and do not depend on the answer, so whatever
# the control gains or loses does not come from the verifier. A second call of the cell
# only reads the folder.

# %%
from sftrl_lite.files import ROOT
from sftrl_lite.runs.headline import side_by_side
from sftrl_lite.runs.run_config import Run

options = dict(
    seed=0,
    scale=scale.name,
    tflop=scale.tflop / 2,
    points=4,
    eval_episodes=scale.eval_episodes // 2,
    final_episodes=scale.eval_episodes,
)
plan = {method: Run(method, **options) for method in ("rl-ppo", "rl-random")}
folder = ROOT / "runs" / "chapter-4" / plan["rl-ppo"].hash
table = side_by_side(plan, folder, "chapter-4")

# %%
from sftrl_lite.results.measures import at_decoding

watch = at_decoding(table[(table["method"] == "rl-ppo") & (table["split"] == "id")])
wide = watch.pivot_table(index="step", columns="metric", values="value")
shown = ["success", "success@1", "read", "format_error", "entropy", "kl"]
wide[shown].round(3).astype(object).fillna("")

# %% [markdown]
# Held-out hands under the trained rule, at the paper's decoding. Read it from left to
# right. Does success rise within the budget, and at the first try? Entropy and KL are
# properties of the policy at temperature 1 and are measured at both ends only. A
# falling entropy says that the policy becomes more deterministic. The KL to Init says
# how far it has moved, in nats an answer.
#
# ## The library way
#
# trl no longer ships PPO, but its `GRPOTrainer` takes a `rollout_func`, so our episodes
# can be trained with it (`trl_grpo.py`). There, one reward belongs to the whole
# episode instead of to each turn, and every try reads the chat anew. The same few steps
# of GRPO both ways, each from Init:

# %%
import time
from dataclasses import replace

from sftrl_lite.training.trl_grpo import train_with_trl

small = replace(
    scale.rl,
    method="rl-grpo",
    problems=max(scale.rl.problems // 4, 1),
    samples=max(scale.rl.samples, 4),
)
began = time.time()
learner = new_learner(at_init(), small, seed=0)
steps = [rl_step(learner, tokenizer, task, hands, small, seed=0) for _ in range(few)]
middle = time.time()
out = ROOT / "runs" / "chapter-4" / "trl"
theirs = train_with_trl(at_init(), tokenizer, task, hands, small, out, 0, few)
ours = [step["reward"] for step in steps]
end = time.time()
print(f"trl  {end - middle:5.1f} s, reward a step", [round(r, 2) for r in theirs])
print(f"ours {middle - began:5.1f} s, reward a step", [round(r, 2) for r in ours])

# %% [markdown]
# The two draw different hands and different answers. What has to agree is the first
# number: the reward of Init, before any update. By how much may two such numbers
# differ?

# %%
many = rollout(base, tokenizer, task, hands[:60], samples=small.samples,
               tries=small.tries, generator=dice(3), **limit)
earned = torch.tensor([sum(turn.reward for turn in e.turns) for e in many])
by_hand = earned.reshape(-1, small.samples).mean(1)
error = (by_hand.std() / small.problems ** 0.5).item()  # of the mean of so few hands
gap, noise = abs(theirs[0] - ours[0]), 1.96 * (2 * error ** 2) ** 0.5
notebook.show(
    f"Init earns {earned.mean():.2f} points an episode, and a mean over "
    f"{small.problems} hands has a standard error of {error:.2f}. The two first steps "
    f"differ by {gap:.2f}, {'less' if gap < noise else 'more'} than the {noise:.2f} "
    "that noise alone exceeds in one of twenty comparisons. That both learn the task "
    "is checked by the tests of this repository."
)

# %% [markdown]
# ## What a budget of tries does
#
# The paper's name for this is *verification iterations*: RL trained with a budget of 1,
# 3, 5 or 10 tries at equal compute gained 0.48, 2.15, 2.99 and 5.99 points of OOD
# success (section 5.5, figure 10). Before we believe that more tries *teach* more,
# count what they *give*. A student who solves a share $p$ of hands at each try, and
# learns nothing from failing, solves within $T$ tries
#
# $$P_T = 1 - (1 - p)^T.$$

# %%
print("p    " + "".join(f"{t:>4} tries" for t in (1, 3, 5, 10)))
for p in (0.02, 0.05, 0.10):
    print(f"{p:.2f} ", *(f"{1 - (1 - p) ** t:8.0%}" for t in (1, 3, 5, 10)))

# %% [markdown]
# A policy that improves from $p = 0.02$ to $0.05$ gains 3 points if it has one try, and
# far more if it has ten: the same learning, other arithmetic. So "more tries generalise
# better" has two readings, and they need two measurements: each policy at *its own*
# training budget (as in the paper), and all policies at *one common* budget.

# %%
from sftrl_lite.results import report, tables
from sftrl_lite.results.claims import PLAIN
from sftrl_lite.results.measures import with_settings

tried = report.recorded("tries")
tried = tried[tried["scale"] == scale.name]
tried = with_settings(tried, **PLAIN, feedback=(0, "binary"))
readings = {"at its own budget": "success@{}", "at one try": "success@1",
            "at five tries": "success@5"}

def growth(tries: int, metric: str) -> str:
    """Points of shifted success gained over Init, with a 95 % interval."""
    part, metric = tried[tried["tries"] == tries], metric.format(tries)
    return tables.in_words(tables.gap(part, "ood-rule", "rl-ppo", "init", metric))

for line in report.missing(["tries"], tried):
    notebook.show(line)
pd.DataFrame({name: {f"trained with {t}": growth(t, metric) for t in (1, 3, 5, 10)}
              for name, metric in readings.items()})

# %% [markdown]
# Rows: the budget in training. Columns: the budget in the evaluation. Points of shifted
# success gained over Init at equal compute, at the paper's decoding; a dash is not
# recorded. Chapter 10 maps the same over bases, temperatures and messages, at equal
# compute and at equal numbers of steps.
#
# ## The figure of this chapter
#
# Solved at the first try against training compute, at the paper's decoding: training
# hands, held-out hands under the trained rule, held-out hands under a rule that
# training never announced. One seed; bands are Wilson 95 % intervals over hands.

# %% tags=["run-figure"]
from sftrl_lite.results import plots

both = ("rl-ppo", "rl-random")
alt = plots.alt_text(table, methods=both)
notebook.figure(plots.curves(table, methods=both), alt=alt)

# %% tags=["moved"]
def moved(method: str, split: str, metric: str = "success@1") -> str:
    """A method's first and last value in per cent, and what the interval says."""
    kept = (table["method"] == method) & (table["split"] == split)
    part = at_decoding(table[kept & (table["metric"] == metric)]).sort_values("step")
    start, end = 100 * part["value"].iloc[[0, -1]]
    way = plots.direction(plots.change(table, metric, method, split))
    said = {1: "rose", -1: "fell", 0: "within noise"}[way]
    return f"{start:.0f} -> {end:.0f} % ({said})"

for method in both:
    notebook.show(
        f"{plots.LOOKS[method][3]}, first try: {moved(method, 'id')} under the trained "
        f"rule, {moved(method, 'ood-rule')} under the shifted one; numbers read right "
        f"there {moved(method, 'ood-rule', 'read')}. One seed: the intervals hold the "
        "noise of hands, not that of trainings."
    )
tables.cost_table(table)

# %% [markdown]
# And recorded, with several seeds, at full length. `Init at its best temperature` is a
# control without any training: whoever only lowers the temperature gets that far.

# %%
recorded = report.recorded("headline", "controls")
recorded = recorded[recorded["scale"] == scale.name]
recorded = recorded[recorded["method"].isin(both)]
for line in report.missing(["headline", "controls"], recorded):
    notebook.show(line)
if len(recorded):
    display(plots.summary_table(recorded, ["success@1", "success", "read"]))
    display(tables.cost_table(recorded))

# %% [markdown]
# ## A place to play
#
# Episodes of the trained policy under the shifted rule, try by try, sampled as in the
# evaluation. Look for three things: does it read J, Q and K as announced? Does a failed
# try change the next one? Which mistakes does it repeat? Only `formula` is judged: an
# answer that lists wrong numbers and then writes a correct formula is solved and earns
# +5.

# %%
from sftrl_lite.course.widgets import revision_viewer
from sftrl_lite.runs.recorder import held_out

trained, _ = load(folder / "rl-ppo" / "model")
shifted = general_points("ood-rule")
tests = held_out(shifted, 8, seed=0)
episodes = rollout(trained, tokenizer, shifted, tests, generator=dice(1), top_p=0.9,
                   temperature=0.6, tries=scale.rl.tries, **limit)
revision_viewer(episodes, tokenizer)

# %% [markdown]
# ## What it means, and what it does not
#
# RL never saw a correct answer that it had not written itself. It sampled, and made
# likelier what earned points. A hand with a face card is solved only by whoever uses
# the announced rule, so nothing in the reward favours forgetting it; whether the
# numbers stay right is the last figure in the sentences above. What improves, writing
# formulas that come out at 24, is of use under any rule.
#
# What this chapter does *not* show:
#
# - *That RL creates skills.* A hand that no sample ever solves gives no push towards
#   its solution. Our base holds careful behaviour under many rules (chapter 2); the
#   paper's RL failed without an SFT start, too (section 5.4, figure 9).
# - *That RL does more than a lower temperature.* Compare with the row of Init at its
#   best temperature; chapter 5 draws the whole curve.
# - *That RL cannot forget.* It keeps what it is never paid to change. Another learning
#   rate or another base may tell another story.
# - *That RL generalises better than SFT at equal cost.* That comparison needs equal
#   compute, several seeds and settings chosen elsewhere: chapter 5.
# - *That more tries teach more.* Compare the columns of the table above; chapter 10.
#
# ## Further reading
#
# - Schulman et al. (2017),
#   [Proximal Policy Optimization](https://arxiv.org/abs/1707.06347), sections 1 to 3
#   (15 minutes).
# - Schulman et al. (2016), [Generalized Advantage
#   Estimation](https://arxiv.org/abs/1506.02438), sections 2 and 3 (25 minutes).
# - Shao et al. (2024), [DeepSeekMath](https://arxiv.org/abs/2402.03300), section 4:
#   GRPO (20 minutes).
# - Liu et al. (2025), [Understanding R1-Zero-Like
#   Training](https://arxiv.org/abs/2503.20783): Dr. GRPO, and why not to divide by the
#   group's deviation (15 minutes).
# - Schulman (2020), [Approximating KL
#   Divergence](http://joschu.net/blog/kl-approx.html): k1, k2, k3 (10 minutes).
# - Chu et al. (2025), [SFT Memorizes, RL
#   Generalizes](https://arxiv.org/abs/2501.17161), sections 3 and 5.5 (15 minutes).
#
# Next: [5. OOD analysis](05_ood_analysis.ipynb).
