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
# Paid only for formulas that a verifier accepts, and given several tries at a hand, the
# same base model learns to solve hands under the trained rule while it goes on reading
# the announced one; we build PPO and GRPO from a two-answer bandit up, run PPO live,
# and hold a control against it whose reward is a coin.
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
# - Run and read a whole PPO step, and the same episodes in trl's `GRPOTrainer`.
# - Separate what a larger budget of tries *teaches* from the chances it *gives*.

# %%
from sftrl_lite import notebook

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
# The verifier judges each, and its word stands in the chat when the next try begins.

# %%
from sftrl_lite.general_points import Hand, general_points, write_answer

task = general_points("id")
hand = Hand(("3", "5", "6", "J"))
for formula in ("3*5+6+10", "11+3*6-5", "3+5+6+10"):
    verdict = task.verify(hand, write_answer(hand, formula))
    print(f"{formula:9} {verdict.kind:14} {verdict.reward:+.0f}  {verdict.message}")

# %% [markdown]
# What was the first try worth? It earned $-1$, but it did not end the episode, and the
# fifth point came two tries later. With a discount $\gamma = 0.9$ a try (the released
# code's), the *reward to go* $R_t = r_t + \gamma R_{t+1}$ is, from the back,
#
# $$R_3 = 5, \qquad R_2 = -2 + 0.9 \cdot 5 = 2.5, \qquad R_1 = -1 + 0.9 \cdot 2.5 = 1.25.$$
#
# The tries of an episode share its success, the early ones a little less.
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
# Nothing is random but the policy $\pi_\theta(a_t \mid s_t)$. We look for parameters that
# make
#
# $$J(\theta) = \mathbb{E}_{\pi_\theta}\Big[\sum_{t=1}^{T} \gamma^{t-1} r_t\Big]$$
#
# large. No correct answer appears in it: the verifier's points are all there is.
#
# ## A rollout
#
# `rollout` plays episodes. Here is one by the base model, printed turn by turn.

# %%
import torch

from sftrl_lite.models import load
from sftrl_lite.rollouts import rollout

base, tokenizer = load(scale.base)
limit = dict(max_new_tokens=scale.rl.max_new_tokens)

def dice(seed: int) -> torch.Generator:
    """A source of chance on the model's device."""
    return torch.Generator(base.device).manual_seed(seed)

(episode,) = rollout(base, tokenizer, task, [hand], tries=3, generator=dice(0), **limit)
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
# that save? Count for a prompt of $P$ tokens, answers of $A$, messages of $M$, $T$ tries.

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

# %% [markdown]
# With everything kept the cost of an episode is linear in its tries. The paper's compute
# formula charges sampling as if nothing were kept (chapter 5).
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
# ## A baseline costs nothing and calms a lot
#
# In practice we have samples, not the sum, and a sample's estimate is noisy. Subtract any
# number $b$ from the reward that does not depend on the action:
#
# $$\mathbb{E}\big[(r_a - b) \nabla \log \pi_a\big] = \nabla J \quad
# \text{because} \quad \mathbb{E}[\nabla \log \pi_a] = \nabla \textstyle\sum_a \pi_a = 0.$$
#
# Pay both answers 10 points more: the task is the same, and so is the gradient. Without
# a baseline the noise is not.

# %%
chance = torch.Generator().manual_seed(0)
actions = torch.multinomial(pi, 20_000, replacement=True, generator=chance)
for pay in (points, points + 10):
    for b in (0.0, float((pi * pay).sum())):
        samples = ((pay[actions] - b)[:, None] * score[actions])[:, 0]
        print(f"points {pay.tolist()}, baseline {b:5.2f}: "
              f"mean {samples.mean():.2f}, spread {samples.std():.2f}")

# %% [markdown]
# The mean reward is not the calmest baseline there is (the first two lines show it), but
# with it the noise no longer depends on where the verifier's scale begins.
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

# %% [markdown]
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
# expected. From here on the methods differ only in what they expect.
#
# ## PPO's expectation: a learned value, and GAE
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
# better than expected. `rl.gae` agrees, and also gives the targets for $V$.

# %%
from sftrl_lite.rl import gae

advantages, targets = gae([-1, -2, 5], [1, 2, 3], gamma=0.9, lam=0.95)
print("advantages", [round(a, 5) for a in advantages])
print("targets   ", [round(t, 5) for t in targets])

# %% [markdown]
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
with notebook.exercise("4.3"):
    r, v = [-1.0, -2.0, 5.0], [1.0, 2.0, 3.0]
    found = advantages_of(r, v, 0.9, 0.95)
    assert abs(found[2] - 2) < 1e-9, "nothing follows the last turn: its V_{t+1} is 0"
    assert abs(found[0] - 0.15055) < 1e-9, "the table above, from the back"
    assert abs(advantages_of(r, v, 0.9, 0.0)[1] + 1.3) < 1e-9, "lambda = 0 is delta"
    assert abs(advantages_of(r, v, 0.9, 1.0)[0] - 0.25) < 1e-9, "lambda = 1 is R - V"

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
# $V(s_t)$ is a small network on the language model's last hidden state, at the last token
# *before* answer $t$: there the model has read everything and written nothing. In
# shapes, for $B$ episodes of up to $L$ tokens and $T$ turns: states `(B, L, H)`, picked
# at `ask` `(B, T)`, values `(B, T)`. `pack` makes these tensors.

# %%
from sftrl_lite.rl import ValueHead, pack, per_turn, policy

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

# %%
import matplotlib.pyplot as plt

from sftrl_lite.rl import clipped_objective

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
notebook.figure(fig, alt="PPO's objective against the ratio: for a positive advantage "
                f"flat above {1 + clip:g}, for a negative one flat below {1 - clip:g}.")

# %% [markdown]
# The clip is one-sided each time. A good answer whose probability has risen enough is
# left alone; one whose probability *fell* is still pulled up, at any distance.
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

# %% [markdown]
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
# ## GRPO's expectation: the group
#
# A value head has to be learned. GRPO (Shao et al., 2024) asks the policy itself what to
# expect: sample a group of $G$ episodes of the same hand and subtract the group's mean,
#
# $$A_{i,t} = R_{i,t} - \frac{1}{G} \sum_{j=1}^{G} R_{j,t}, \qquad R \in \mathbb{R}^{B
# \times T}.$$
#
# Two groups of four, one turn each. In the first, one sample solves the hand; in the
# second, all do.

# %%
from sftrl_lite.rl import group_advantages

returns = torch.tensor([5.0, -1, -1, -1, 5, 5, 5, 5])[:, None]
played = torch.ones_like(returns, dtype=torch.bool)
print(group_advantages(returns, played, group=4)[:, 0].tolist())

# %% [markdown]
# The second group teaches nothing: when all samples agree there is no variance, and
# every advantage is zero. Hands that are always or never solved cost sampling and give
# no gradient, which is why RL needs a base that succeeds *sometimes*.
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
    lucky, _ = grouped(torch.tensor([5.0, -1.0, -1.0, -1.0]), 4)
    assert lucky[0] == 4.5, "a rare success stands out"
    assert abs(float(lucky.sum())) < 1e-6, "within a group advantages sum to zero"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `returns.reshape(-1, group)` has one group a row.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def grouped(returns: torch.Tensor, group: int) -> tuple[torch.Tensor, float]:
#     rows = returns.reshape(-1, group)
#     centred = rows - rows.mean(1, keepdim=True)
#     silent = (centred == 0).all(1).float().mean().item()
#     return centred.reshape(-1), silent
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
from sftrl_lite.rl import kl_estimates

now = torch.tensor([0.6, 0.2, 0.15, 0.05])
init = torch.tensor([0.4, 0.3, 0.2, 0.1])
drawn = torch.multinomial(now, 100_000, replacement=True, generator=chance)
print(f"exact: {(now * (now / init).log()).sum():.4f}")
for name, k in kl_estimates(now[drawn].log(), init[drawn].log()).items():
    below = (k < 0).float().mean()
    print(f"{name}: mean {k.mean():.4f}, spread {k.std():.4f}, below zero {below:.0%}")

# %% [markdown]
# $k_1$ and $k_3$ are right on average, and $k_3$ is never negative; $k_2$ is calm, nearly
# right for policies as close as these, and wrong for distant ones. The paper's PPO has no
# KL term at all (released code): the clip and a small learning rate must do. We only
# *measure* the KL, by $k_1$.
#
# ## One step of training, as a whole
#
# Now everything has a name. `rl_step` is one page; read it from top to bottom.
#
# 1. Choose hands, sample whole episodes (`rollout`).
# 2. Pack them; values and GAE (PPO), or group means (GRPO).
# 3. For each minibatch: log-probabilities now, ratio, clip, value error, one Adam step.

# %%
import inspect

from IPython.display import Code

from sftrl_lite.rl import new_learner, rl_step

source = inspect.getsource(rl_step)
top, _, body = source.partition('"""')
Code(top + "..." + body.partition('"""')[2], language="python")

# %% [markdown]
# A few steps, at the scale's settings, to see what it returns. `reward` is the mean sum
# of points of an episode, `success` the share solved within the budget, `answers` the
# tries actually played.

# %%
import pandas as pd
from tqdm.auto import tqdm

from sftrl_lite.runs import train_hands

hands = train_hands(task, scale.sft.hands, seed=0)
learner = new_learner(load(scale.base)[0], scale.rl, seed=0)
few = 3
log = [rl_step(learner, tokenizer, task, hands, scale.rl, seed=0)
       for _ in tqdm(range(few), unit="step")]
pd.DataFrame(log, index=range(1, few + 1)).round(3)

# %% [markdown]
# ## A live run, with its control
#
# Half of the scale's training compute, one seed. On the other core runs the control,
# `rl-random`: the same PPO, the same hands, the same amount of sampling, but the points
# for an answer are drawn by a coin. Whatever it gains does not come from the verifier. A
# second call of the cell only reads the folder.

# %%
from sftrl_lite.headline import side_by_side
from sftrl_lite.models import ROOT
from sftrl_lite.runs import Run

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
watch = table[(table["method"] == "rl-ppo") & (table["split"] == "id")]
wide = watch.pivot_table(index="step", columns="metric", values="value")
wide[["success", "success@1", "read", "format_error", "entropy", "kl"]].round(3)

# %% [markdown]
# Read it from left to right. Does success rise within the budget, and at the first try? A
# falling entropy says that the policy makes up its mind. The KL to Init is the price of
# the change, in nats an answer.
#
# ## The library way
#
# trl no longer ships PPO, but its `GRPOTrainer` takes a `rollout_func`, so our episodes
# can be trained with it. `library_way.py` does so in about a hundred lines. There, one
# reward belongs to the whole episode instead of to each turn, and every try reads the
# chat anew. The same few steps of GRPO both ways, each from Init:

# %%
import time
from dataclasses import replace

from sftrl_lite.library_way import train_with_trl

small = replace(
    scale.rl,
    method="rl-grpo",
    problems=max(scale.rl.problems // 4, 1),
    samples=max(scale.rl.samples, 4),
)
began = time.time()
out = ROOT / "runs" / "chapter-4" / "trl"
theirs = train_with_trl(load(scale.base)[0], tokenizer, task, hands, small, out, 0, few)
middle = time.time()
learner = new_learner(load(scale.base)[0], small, seed=0)
steps = [rl_step(learner, tokenizer, task, hands, small, seed=0) for _ in theirs]
ours = [step["reward"] for step in steps]
end = time.time()
print(f"trl  {middle - began:5.1f} s, reward a step", [round(r, 2) for r in theirs])
print(f"ours {end - middle:5.1f} s, reward a step", [round(r, 2) for r in ours])

# %% [markdown]
# Both draw other hands and other answers, and a few steps are noisy: compare sizes and
# seconds, not digits. That both learn the task is checked by the tests of this
# repository.
#
# ## What a budget of tries does
#
# The paper's title for this is *verification iterations*: RL trained with a budget of 1,
# 3, 5 or 10 tries at equal compute gained 0.48, 2.15, 2.99 and 5.99 points of OOD success
# (section 5.5, figure 10). Before we believe that more tries *teach* more, count what
# they *give*. A student who solves a share $p$ of hands at each try, and learns nothing
# from failing, solves within $T$ tries
#
# $$P_T = 1 - (1 - p)^T.$$

# %%
print("p    " + "".join(f"{t:>4} tries" for t in (1, 3, 5, 10)))
for p in (0.02, 0.05, 0.10):
    print(f"{p:.2f} ", *(f"{1 - (1 - p) ** t:8.0%}" for t in (1, 3, 5, 10)))

# %% [markdown]
# A policy that improves from $p = 0.02$ to $0.05$ gains 3 points if it has one try, and
# far more if it has ten: the same learning, other arithmetic. So there are two readings
# of "more tries generalise better", and they need two measurements: each policy at *its
# own* training budget (as in the paper), and all policies at *one common* budget.

# %%
from sftrl_lite import ledger

tried = ledger.read()
tried = tried[(tried["experiment"] == "tries") & (tried["scale"] == scale.name)]
tried = tried[(tried["method"] == "rl-ppo") & (tried["split"] == "ood-rule")]
keys = ["tries", "seed", "step"]

def growth(budget: int | None) -> pd.Series:
    """Mean gain of OOD success by training budget; None: each at its own budget."""
    metric = "success" if budget is None else f"success@{budget}"
    values = tried[tried["metric"] == metric].set_index(keys)["value"].sort_index()
    ends = values.groupby(["tries", "seed"]).agg(["first", "last"])
    return 100 * (ends["last"] - ends["first"]).groupby("tries").mean()

if tried.empty:
    print("nothing recorded at this scale; for each seed and 1, 3, 5, 10 tries:",
          "python -m sftrl_lite rl --tries 3 --eval-tries 1,3,5,10 --experiment tries",
          "--record")
else:
    gains = {"own budget": growth(None), "at 1 try": growth(1), "at 5 tries": growth(5)}
    display(pd.DataFrame(gains).round(1))

# %% [markdown]
# Rows: the budget in training. Columns: the budget in the evaluation; points of OOD
# success gained over Init, mean over seeds. Chapter 5 shows the same with intervals.
#
# ## The figure of this chapter
#
# Success under the trained rule and under the shifted one, which training never saw,
# against training compute. Bands: Wilson 95 % intervals over held-out hands.

# %%
from sftrl_lite import plots

alt = plots.alt_text(table)
notebook.figure(plots.curves(table, methods=("rl-ppo", "rl-random")), alt=alt)

# %%
def ends(method: str, split: str, metric: str = "success") -> tuple[float, float]:
    """First and last value of a run, in per cent."""
    row = (table["method"] == method) & (table["split"] == split)
    part = table[row & (table["metric"] == metric)].sort_values("step")["value"]
    return 100 * float(part.iloc[0]), 100 * float(part.iloc[-1])

words = {"rl-ppo": "paid by the verifier", "rl-random": "paid by a coin (control)"}
for method, name in words.items():
    known, new = ends(method, "id"), ends(method, "ood-rule")
    read = ends(method, "ood-rule", "read")
    notebook.show(
        f"PPO {name}: {known[0]:.0f} -> {known[1]:.0f} % under the trained rule, "
        f"{new[0]:.0f} -> {new[1]:.0f} % under the shifted one; numbers read right "
        f"there {read[0]:.0f} -> {read[1]:.0f} % (one seed)."
    )

# %% [markdown]
# And recorded, with several seeds, at full length:

# %%
recorded = ledger.read()
recorded = recorded[recorded["experiment"].isin(["headline", "controls"])]
recorded = recorded[recorded["scale"] == scale.name]
recorded = recorded[recorded["method"].isin(["rl-ppo", "rl-random"])]
if recorded.empty:
    print("nothing recorded at this scale; for each seed: python -m sftrl_lite rl",
          f"--scale {scale.name} --seed 1 --experiment headline --record")
else:
    print("seeds:", recorded.groupby("method")["seed"].nunique().to_dict())
    display(plots.summary_table(recorded))

# %% [markdown]
# ## A place to play
#
# Episodes of the trained policy under the shifted rule, try by try. Look for three
# things: does it read J, Q and K as announced? Does a failed try change the next one?
# Which mistakes does it repeat?

# %%
from sftrl_lite.runs import held_out
from sftrl_lite.widgets import revision_viewer

trained, _ = load(folder / "rl-ppo" / "model")
shifted = general_points("ood-rule")
tests = held_out(shifted, 8, 0, hands)
episodes = rollout(trained, tokenizer, shifted, tests, generator=dice(1),
                   tries=scale.rl.tries, **limit)
revision_viewer(episodes, tokenizer)

# %% [markdown]
# ## What it means, and what it does not
#
# RL never saw an answer. It sampled, and made what was paid more likely: from its own
# mixture of careful and careless answers it kept the careful ones. Reading the rule is
# part of every paid answer, so nothing pulled at it, and what improved, writing formulas
# that come out, serves any rule.
#
# What this chapter does *not* show:
#
# - *That RL creates skills.* A hand that no sample ever solves has no gradient. Our base
#   holds careful behaviour under many rules (chapter 2); the paper's RL failed without
#   an SFT start, too (section 5.4, figure 9).
# - *That RL cannot forget.* It keeps what it is never paid to change. Too large a
#   learning rate, or a base that misreads the rule as often as it guesses, would tell
#   another story.
# - *That RL generalises better than SFT at equal cost.* That comparison needs equal
#   compute, several seeds and settings chosen elsewhere: chapter 5.
# - *That more tries teach more.* See the two columns above.
#
# ## Further reading
#
# - Schulman et al. (2017),
#   [Proximal Policy Optimization](https://arxiv.org/abs/1707.06347), sections 1 to 3
#   (15 minutes).
# - Schulman et al. (2016),
#   [Generalized Advantage Estimation](https://arxiv.org/abs/1506.02438), sections 2 and 3
#   (25 minutes).
# - Shao et al. (2024), [DeepSeekMath](https://arxiv.org/abs/2402.03300), section 4: GRPO
#   (20 minutes).
# - Liu et al. (2025),
#   [Understanding R1-Zero-Like Training](https://arxiv.org/abs/2503.20783): why not to
#   divide by the group's deviation (15 minutes).
# - Schulman (2020), [Approximating KL Divergence](http://joschu.net/blog/kl-approx.html):
#   k1, k2, k3 (10 minutes).
# - Chu et al. (2025), [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161),
#   sections 3 and 5.5 (15 minutes).
#
# Next: [5. OOD analysis](05_ood_analysis.ipynb).
