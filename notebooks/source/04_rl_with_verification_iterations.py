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
# Does a model that only learns whether its answers are right learn something that holds
# under another rule? We start with REINFORCE on the small language model and add one
# idea at a time (a baseline, a learned value, the clip, the group) until we have PPO
# and GRPO. Each stage trains live. Then we run PPO on a verifier's rewards at full
# length, beside a control whose rewards are random.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells. @@PLANNED@@
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Write an episode with verifier messages as a Markov decision process over turns.
# - Derive the policy gradient, and write a REINFORCE loop that learns.
# - Compute generalised advantages of three turns by hand.
# - Write PPO's loss with the right gradients, and say where the clip removes them.
# - Tell GRPO, Dr. GRPO, RLOO, REINFORCE++ and DAPO apart.
# - Read a whole training step, and train the same episodes with trl's `GRPOTrainer`.

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
# The verifier judges each try, and its message is in the chat before the next one.

# %% tags=["three-tries"]
import random

import torch

from sftrl_lite.tasks.general_points import general_points, write_answer
from sftrl_lite.tasks.hands import Hand

task = general_points("train")  # the hands that are not reserved for tests
hand = Hand(("3", "5", "6", "J"))
for formula in ("3*5+6+10", "11+3*6-5", "3+5+6+10"):
    verdict = task.verify(hand, write_answer(hand, formula))
    print(f"{formula:9} {verdict.kind:14} {verdict.reward:+.0f}  {verdict.message}")

# %% [markdown] tags=["reward-to-go"]
# What was the first try worth? It earned $-1$, but it did not end the episode, and the
# reward of 5 came two tries later. With a discount of $\gamma = 0.9$ per try (as in the
# released code), the *reward to go* $R_t = r_t + \gamma R_{t+1}$ is, computed
# backwards,
#
# $$R_3 = 5, \qquad R_2 = -2 + 0.9 \cdot 5 = 2.5, \qquad R_1 = -1 + 0.9 \cdot 2.5 = 1.25.$$
#
# All tries of an episode are credited with its final success, the earlier ones a little
# less.
#
# ### Exercise 4.1: rewards to go of a batch
#
# Difficulty ●●○○○ · 6 minutes
#
# Chapter 1 asked for one episode. Now there are $B$ of them, with up to $T$ tries, as
# a table $(B, T)$; after the end of an episode its rewards are 0. Compute all $R_t$ in
# one pass over the columns, from the last to the first.

# %%
def returns_of(rewards: torch.Tensor, gamma: float) -> torch.Tensor:
    """R_t = r_t + gamma R_{t+1} of every row: (B, T) -> (B, T).

    ``returns_of(tensor([[-1., 5.]]), 0.9)`` is ``[[3.5, 5.]]``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.1"):
    table = torch.tensor([[-1.0, -2.0, 5.0], [5.0, 0.0, 0.0]])
    found = returns_of(table, 0.9)
    assert found.shape == table.shape, "one number for each try of each episode"
    tries = torch.tensor([1.25, 2.5, 5.0])
    assert torch.allclose(found[0], tries), "the first try shares the last's success"
    assert found[1].tolist() == [5, 0, 0], "after the end there is nothing to come"
    made = torch.Generator().manual_seed(0)
    for T in (1, 2, 4, 7):
        table, gamma = torch.randn(5, T, generator=made), 0.5 + T / 20
        kept, found = table.clone(), returns_of(table, gamma)
        for t in range(T):
            true = (gamma ** torch.arange(T - t) * kept[:, t:]).sum(1)
            right = torch.allclose(found[:, t], true, atol=1e-5)
            assert right, f"try {t + 1} of {T}: sum of gamma^k r_(t+k), any gamma"
        assert torch.equal(table, kept), "the rewards have changed: write into a copy"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Start from `rewards.clone()`. The last column is right already; the one before it needs
# `gamma` times the last.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def returns_of(rewards: torch.Tensor, gamma: float) -> torch.Tensor:
#     found = rewards.clone()
#     for t in reversed(range(rewards.shape[1] - 1)):
#         found[:, t] += gamma * found[:, t + 1]
#     return found
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
# | reward $r_t$ | the verifier's reward; one point less when the last try fails |
# | end | solved, or $T$ tries used: the *verification budget* |
#
# Once the hand is dealt, only the policy $\pi_\theta(a_t \mid s_t)$ is random. We look for
# parameters that maximise
#
# $$J(\theta) = \mathbb{E}_{\pi_\theta}\Big[\sum_{t=1}^{T} \gamma^{t-1} r_t\Big]$$
#
# It contains no correct answer, only the verifier's rewards.
#
# ## A rollout
#
# `rollout` samples episodes. We draw 8 hands, play each twice, and print one of the
# longest episodes, turn by turn.

# %%
from sftrl_lite.models.loading import load
from sftrl_lite.training.rollouts import rollout

base, tokenizer = load(scale.base_for("gp-l"))
limit = dict(max_new_tokens=scale.rl.max_new_tokens)

def dice(seed: int) -> torch.Generator:
    """A seeded random generator on the model's device."""
    return torch.Generator(base.device).manual_seed(seed)

dealt = task.draw(random.Random(0), 8)
options = dict(samples=2, tries=3, generator=dice(0))
episodes = rollout(base, tokenizer, task, dealt, **options, **limit)
by_length = {len(episode.turns): episode for episode in episodes}
episode = by_length[max(by_length)]
for turn in episode.turns:
    print(f"{turn.answer}\n   -> {turn.verdict.kind}, reward {turn.reward:+.0f}")

# %% [markdown]
# The whole chat is one list of tokens that only grows. So the *keys and values* of its
# tokens, which attention reads at every later token, can be cached from the first token
# to the last. How many token passes does that save? Count for a prompt of $P$ tokens,
# answers of $A$, messages of $M$, and $T$ tries.

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
# With a cache, the cost of an episode is linear in its tries. The paper's compute
# formula charges sampling as if there were no cache (chapters 5 and 10).
#
# ## Episodes as tensors: tokens and turns
#
# Training needs $B$ episodes side by side. `pack` turns them into two kinds of tensors:
# per *token*, $(B, L)$, and per *turn*, $(B, T)$. Here are episodes of different
# lengths:

# %%
from sftrl_lite.course.batch_drawing import batch_drawing
from sftrl_lite.training.forward import pack

few = [by_length[n] for n in sorted(by_length)]
batch = pack(few, tokenizer.pad_token_id, base.device)
alt = ("Only the answers are actions: each episode is a row of tokens, prompt, answer, "
       "message, answer and so on, padded on the right; a triangle before each answer "
       "marks where its value is read; at the right end, a reward for each turn.")
notebook.figure(batch_drawing(batch), alt=alt)

# %% [markdown]
# Blue is what the model wrote: its *actions*. Grey is what it was given, the prompt and
# (the narrow pieces) the verifier's messages; hatched is padding. Orange triangles mark
# the last token *before* each answer: there the model has read everything and has not
# begun its answer.
#
# | field of the batch | shape | what it holds |
# | --- | --- | --- |
# | `ids` | $(B, L)$ | the tokens |
# | `turn` | $(B, L)$ | the turn whose answer a token belongs to; $-1$ on grey and padding |
# | `old_logps` | $(B, L)$ | log-probability of each answer token when it was sampled |
# | `ask` | $(B, T)$ | position of each triangle |
# | `rewards`, `played` | $(B, T)$ | rewards, and which turns took place |
# | `advantages`, `targets` | $(B, T)$ | 0 so far; the rest of the chapter fills them in |
#
# `policy` is one forward pass over whole episodes. It returns $\log \pi$ of every
# answer token, $(B, L)$. The action is the whole answer, so its log-probability is the
# *sum* over its tokens, `per_turn`. It must agree with what was recorded while
# sampling:

# %%
from sftrl_lite.training.forward import per_turn, policy

with torch.no_grad():
    logps = policy(base, batch)[0]
print("log pi of each answer now ", per_turn(batch, logps)[-1].tolist())
print("        when it was sampled", per_turn(batch, batch.old_logps)[-1].tolist())

# %% [markdown] tags=["score-function"]
# ## The policy gradient, on two answers
#
# How can we maximise $J$ if the verifier cannot be differentiated? Ignore tokens for a
# moment. There are two answers, one right ($r = 5$) and one wrong ($r = -1$), and a
# policy with two logits $\theta \in \mathbb{R}^2$, $\pi = \text{softmax}(\theta)$. Then
#
# $$
# J(\theta) = \sum_a \pi_a r_a, \qquad
# \nabla J = \sum_a r_a \nabla \pi_a = \sum_a \pi_a\, r_a \nabla \log \pi_a
# = \mathbb{E}_{a \sim \pi}\big[ r_a \nabla \log \pi_a \big].
# $$
#
# The identity $\nabla \pi = \pi \nabla \log \pi$ turns a gradient into an average over
# samples. For softmax, $\nabla \log \pi_a = \text{onehot}(a) - \pi$, the *score*.

# %%
theta, rewards = torch.tensor([0.3, -0.2]), torch.tensor([5.0, -1.0])
pi = theta.softmax(0)
score = torch.eye(2) - pi  # row a: gradient of log pi_a
print("score function    ", (pi[:, None] * rewards[:, None] * score).sum(0))

# %% [markdown]
# We check it with finite differences: move each logit a little and look at $J$.

# %%
def value(logits: torch.Tensor) -> torch.Tensor:
    """J of a two-answer policy."""
    return (logits.double().softmax(0) * rewards).sum()

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
# Add 10 to both rewards: the task is the same, and so is the gradient. The variance of
# the samples is not. We compare three baselines: none, the mean reward, and the one of
# least variance, which weights each reward by its squared score.

# %% tags=["baselines"]
rng = torch.Generator().manual_seed(0)
actions = torch.multinomial(pi, 20_000, replacement=True, generator=rng)
weight = pi * score[:, 0].square()  # how much each answer adds to the variance

def sampled(pay: torch.Tensor, b: float) -> torch.Tensor:
    """Estimates of the first logit's gradient, one for each sampled action."""
    return (pay[actions] - b) * score[actions][:, 0]

for pay in (rewards, rewards + 10):
    least = float((weight * pay).sum() / weight.sum())
    for name, b in (("none", 0.0), ("mean", float((pi * pay).sum())), ("least", least)):
        found = sampled(pay, b)
        print(f"rewards {pay.tolist()}, baseline {name:5} {b:5.2f}: "
              f"mean {found.mean():.2f}, standard deviation {found.std():.2f}")

# %% [markdown]
# The means agree: no baseline changes the gradient. Now compare the first two lines.
# With these rewards the mean reward does *not* reduce the noise, because 0 happens to
# lie nearer to the baseline of least variance. Compare the lines of `none` with each
# other, then the lines of `mean`: with the mean reward the noise no longer depends on
# the zero of the verifier's scale. The baseline of least variance differs from logit to
# logit; PPO and GRPO use an estimate of the mean.
#
# ### Exercise 4.2: gradient estimates with a baseline
#
# Difficulty ●●●○○ · 10 minutes
#
# Write the sampled estimates for a whole batch of actions.

# %%
def estimates(
    theta: torch.Tensor, actions: torch.Tensor, rewards: torch.Tensor, baseline: float
) -> torch.Tensor:
    """One gradient estimate for each sample: (V,), (N,), (V,), float -> (N, V).

    ``estimates(zeros(2), tensor([0]), tensor([5., -1.]), 0.0)`` is ``[[2.5, -2.5]]``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.2"):
    even, pay = torch.zeros(2), torch.tensor([5.0, -1.0])
    found = estimates(even, torch.tensor([0]), pay, 0.0)
    assert found.shape == (1, 2), "one row for each sample, one column for each logit"
    assert torch.allclose(found, torch.tensor([[2.5, -2.5]])), "5 * ([1, 0] - [.5, .5])"
    both = torch.tensor([0, 1])
    plain, calm = estimates(even, both, pay, 0.0), estimates(even, both, pay, 2.0)
    assert torch.allclose(plain.mean(0), calm.mean(0)), "a baseline keeps the mean"
    assert calm.std(0).sum() < 1e-6 < plain.std(0).sum(), "here all the noise goes"
    made = torch.Generator().manual_seed(0)
    for V, N in ((3, 1), (4, 6), (7, 20)):
        skewed, pay = torch.randn(2, V, generator=made)
        drawn = torch.randint(V, (N,), generator=made)
        kept = skewed.clone(), pay.clone()
        found = estimates(skewed, drawn, pay, 0.7)
        leaf = skewed.clone().requires_grad_()
        for a, row in zip(drawn, found, strict=True):
            (score_a,) = torch.autograd.grad(leaf.log_softmax(0)[a], leaf)
            right = torch.allclose(row, (kept[1][a] - 0.7) * score_a, atol=1e-5)
            assert right, f"V = {V}: the score is onehot(a) - softmax"
        same = torch.equal(skewed, kept[0]) and torch.equal(pay, kept[1])
        assert same, "an input has changed: compute in new tensors"

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
#     theta: torch.Tensor, actions: torch.Tensor, rewards: torch.Tensor, baseline: float
# ) -> torch.Tensor:
#     score = torch.eye(len(theta))[actions] - theta.softmax(0)
#     return (rewards[actions] - baseline)[:, None] * score
# ```
#
# </details>
#
# ## REINFORCE on the language model
#
# Now we use tokens. An action is a whole answer, so REINFORCE (Williams, 1992)
# multiplies the gradient of its summed log-probability by its reward to go:
#
# $$
# \nabla J \approx \frac{1}{N} \sum_{\text{turns}} R_t \, \nabla \log \pi_\theta(a_t \mid
# s_t), \qquad \log \pi_\theta(a_t \mid s_t) = \sum_{\text{tokens of } a_t} \log
# \pi_\theta(\text{token} \mid \text{all before}).
# $$
#
# Here $N$ is the number of turns in the batch. (The exact gradient divides by the number of
# episodes, which changes only the length of the step, and has a factor $\gamma^{t-1}$,
# which hardly any implementation keeps.) The student starts from the base model; `at_init`
# resets it.

# %%
from dataclasses import replace

from transformers import PreTrainedModel

from sftrl_lite.models.adapters import restore, trained
from sftrl_lite.runs.recorder import train_hands

hands = train_hands(task, scale.sft.hands, seed=0)
student = load(scale.base_for("gp-l"), scale.adapter, vision=scale.vision)[0]
start = {name: weight.clone() for name, weight in trained(student).items()}

def at_init() -> PreTrainedModel:
    """The student as it was: one model serves all, a GPU may hold no second one."""
    restore(student, start)
    return student

groups = max(scale.rl.minibatch // 8, 1)  # hands per step, each played 8 times
trial = replace(scale.rl, method="rl-grpo", problems=groups, samples=8, tries=3,
                lr=4 * scale.rl.lr)  # few steps, so large ones

# %% [markdown]
# Every method of this chapter is the same training step with two functions left open:
# `credit` writes the batch's advantages, `loss` turns them into a number to minimise.
# First the episodes:

# %%
from sftrl_lite.scales import RLSettings
from sftrl_lite.training.forward import Batch

def play(model, tokenizer, task, hands, s: RLSettings, rng: random.Random) -> Batch:
    """Sample ``s.samples`` episodes of each of ``s.problems`` hands, and pack them."""
    chance = torch.Generator(model.device).manual_seed(rng.getrandbits(60))
    episodes = rollout(
        model, tokenizer, task, rng.sample(hands, min(s.problems, len(hands))),
        samples=s.samples, tries=s.tries, temperature=s.temperature,
        max_new_tokens=s.max_new_tokens, generator=chance,
    )
    return pack(episodes, tokenizer.pad_token_id, model.device)

# %% [markdown]
# Then the step. For REINFORCE read it with one epoch and one minibatch: play, credit,
# one forward pass, one update. (`learner` holds model, optimizer and, for PPO, a value
# head. The loop over minibatches matters from the section on the clip on. The
# gradient's norm is limited, as in all our training.)

# %%
from sftrl_lite.seeds import stream

def text_step(learner, tokenizer, task, hands, s, seed, credit, loss) -> Batch:
    """One training step on text; returns the batch that was played."""
    model, head = learner.model, learner.critic(s)
    rng = stream(seed, "rl", learner.step)
    batch = play(model, tokenizer, task, hands, s, rng)
    with torch.no_grad():  # what the policy that played thinks of its answers
        batch.old_logps, _, values = policy(model, batch, head, None, s.temperature)
    credit(batch, values, s)
    for _ in range(s.epochs):
        order = torch.tensor(rng.sample(range(len(batch.ids)), len(batch.ids)))
        for rows in order.split(s.minibatch):
            part = batch.rows(rows)
            logps, _, values = policy(model, part, head, None, s.temperature)
            loss(part, logps, values, s).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), s.max_grad_norm)
            learner.optimizer.step()
            learner.optimizer.zero_grad()
    learner.step += 1
    return batch

# %% [markdown]
# REINFORCE fills both gaps with one line each.

# %%
from sftrl_lite.training.losses import rewards_to_go

def returns(batch: Batch, s: RLSettings) -> torch.Tensor:
    """Rewards to go, (B, T)."""
    rows = [rewards_to_go(row, s.gamma) for row in batch.rewards.tolist()]
    return torch.tensor(rows, device=batch.rewards.device)

def by_return(batch: Batch, values: None, s: RLSettings) -> None:
    """Credit each turn with what came with it and after it."""
    batch.advantages = returns(batch, s)

def reinforce(part: Batch, logps: torch.Tensor, values, s: RLSettings) -> torch.Tensor:
    """Minus the mean over turns of advantage times log-probability of the answer."""
    return -(part.advantages * per_turn(part, logps))[part.played].mean()

# %%
from tqdm.auto import tqdm

from sftrl_lite.training.updates import new_learner

def solved_first() -> torch.Tensor:
    """Share of 4 first tries that solve, for each of up to 200 training hands."""
    tests = rollout(student, tokenizer, task, hands[:200], samples=4, tries=1,
                    temperature=trial.temperature, generator=dice(5), **limit)
    return torch.tensor([float(one.solved) for one in tests]).reshape(-1, 4).mean(1)

def live(name: str, credit, loss, s: RLSettings, steps: int = 10) -> None:
    """Train the student from Init; note what it then solves at its first try."""
    learner, earned = new_learner(at_init(), s, seed=0), []
    for _ in tqdm(range(steps), unit="step"):
        batch = text_step(learner, tokenizer, task, hands, s, 0, credit, loss)
        earned.append(round(batch.rewards.sum(1).mean().item(), 1))
    lived[name] = solved_first()
    print(f"{name}, mean reward of an episode by step: {earned}")
    print(f"solved at the first try: {lived['Init'].mean():.0%} before, "
          f"{lived[name].mean():.0%} after")

lived = {"Init": solved_first()}  # the student is at Init
live("REINFORCE", by_return, reinforce, trial)

# %% [markdown]
# This is a complete reinforcement learning method for a language model, without a value
# head, a clip or a reference model. The rewards of single steps are noisy, because each
# is a mean over a handful of hands.
#
# ### Exercise 4.3: a REINFORCE loop that learns
#
# Difficulty ●●●●○ · 20 minutes
#
# Write the loop yourself, on a policy so small that every check takes a moment: a table
# of logits, one row for each state. `policy(states)` gives logits $(N, A)$ for states
# $(N,)$; `verify(states, actions)` gives rewards $(N,)$, one call per step. Sample an
# action for each state *from the policy*, subtract the mean reward, and take one step
# of plain gradient ascent (`torch.optim.SGD`) on the mean over the samples.

# %%
from collections.abc import Callable

def train_reinforce(
    policy: torch.nn.Module,
    states: torch.Tensor,
    verify: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    steps: int,
    lr: float,
) -> list[float]:
    """Train ``policy`` in place; returns the mean reward of each step.

    With ``policy = torch.nn.Embedding(4, 5)`` there are 4 states and 5 actions.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.3"):
    key, states, seen = torch.tensor([3, 0, 4, 1]), torch.arange(4).repeat(32), []
    def judge(s, a):
        seen.append((s, a))
        return torch.where(a == key[s], 5.0, -1.0) + zero
    for zero in (0.0, 50.0, -50.0):
        seen.clear()
        torch.manual_seed(0)
        table = torch.nn.Embedding(4, 5, _weight=torch.zeros(4, 5))
        log = train_reinforce(table, states, judge, 120, 1.0)
        assert len(log) == len(seen) == 120, "a reward and a call of verify each step"
        asked, a = seen[0]
        assert torch.equal(asked, states), "verify is asked about the states as given"
        assert len(a) == 128 and len(a.unique()) == 5, "sample an action for each state"
        right = table.weight.softmax(1)[torch.arange(4), key].min()
        assert right > 0.8, f"rewards around {zero:g}: the right actions are not learnt"
        said = "log what the policy's own actions earn on average"
        assert abs(log[0] - zero) < 2 and log[-1] > zero + 4, said
    sure = torch.nn.Embedding(2, 3, _weight=9 * torch.eye(2, 3))
    kept, states = sure.weight.detach().clone(), torch.arange(2).repeat(50)
    seen.clear()
    train_reinforce(sure, states, lambda s, a: seen.append(a) or 3 + 0.0 * s, 1, 1.0)
    often = (seen[0] == states).float().mean()
    assert often > 0.95, "sample from the policy, not evenly"
    assert torch.allclose(sure.weight, kept, atol=1e-5), "equal rewards teach nothing"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.distributions.Categorical(logits=policy(states))` has `sample` and `log_prob`.
# The loss is minus the mean of (reward minus mean reward) times log-probability.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def train_reinforce(
#     policy: torch.nn.Module,
#     states: torch.Tensor,
#     verify: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
#     steps: int,
#     lr: float,
# ) -> list[float]:
#     optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
#     for _ in range(steps):
#         choice = torch.distributions.Categorical(logits=policy(states))
#         actions = choice.sample()
#         rewards = verify(states, actions)
#         advantages = rewards - rewards.mean()
#         optimizer.zero_grad()
#         (-advantages * choice.log_prob(actions)).mean().backward()
#         optimizer.step()
#         log.append(rewards.mean().item())
#     return log
# ```
#
# </details>
#
# ## A baseline, measured on the model
#
# Does a baseline help the language model? We cannot know its true gradient, but we can
# ask how well two estimates of it agree. Five batches are played by the same policy;
# each gives one gradient for each baseline.
#
# **Predict, then run.** Adding 10 to every return changes no optimum. What will it do to
# the agreement, without a baseline and with the batch's mean as a baseline?

# %%
def gradient(batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """REINFORCE's gradient with these advantages, as one vector."""
    student.zero_grad()
    batch.advantages = advantages
    logps = policy(student, batch, temperature=trial.temperature)[0]
    reinforce(batch, logps, None, trial).backward()
    slopes = [w.grad.flatten() for w in student.parameters() if w.grad is not None]
    return torch.nn.functional.normalize(torch.cat(slopes), dim=0)

at_init()
found = {"no baseline": [], "no baseline, + 10": [], "mean, + 10": []}
for k in range(5):
    part = play(student, tokenizer, task, hands, trial, random.Random(k))
    plain = returns(part, trial)
    mean = plain[part.played].mean()
    for name, A in zip(found, (plain, plain + 10, plain - mean), strict=True):
        found[name].append(gradient(part, A))
student.zero_grad()
for name, unit in found.items():
    cosines = torch.stack(unit) @ torch.stack(unit).T
    print(f"{name:18} mean cosine {cosines[~torch.eye(5, dtype=bool)].mean():.3f}")

# %% [markdown] tags=["advantages"]
# <details><summary>Answer</summary>
#
# Without a baseline the agreement nearly disappears: every answer, right or wrong, is
# pushed up, and the direction is decided by which answers happened to be sampled. With
# the mean subtracted, the 10 cancels exactly: the third line is the same with and
# without it. At `tiny` the first line is even above the third, as for the two answers:
# failures are the unlikely answers, with large scores, so the baseline of least
# variance lies below the mean reward. With another zero of the verifier's scale this
# would not hold.
#
# </details>
#
# What is left after the baseline is called the *advantage*: how much better than
# expected. From here on the methods differ in only three things: how they compute the
# advantage, what their ratio is a ratio of, and what keeps the policy close to the old
# one.
#
# ## PPO's baseline: a learned value, and GAE
#
# PPO trains a second output $V(s_t)$, the expected reward to go. One could take
# $A_t = R_t - V(s_t)$ (no bias, much noise) or look only one turn ahead (less noise,
# but only as good as $V$). Generalised advantage estimation (Schulman et al., 2016) has
# a parameter $\lambda$ between the two:
#
# $$
# \delta_t = r_t + \gamma V_{t+1} - V_t, \qquad
# A_t = \delta_t + \gamma \lambda A_{t+1}, \qquad V_{T+1} = A_{T+1} = 0.
# $$
#
# For the three tries of the beginning, with assumed values $V = (1, 2, 3)$,
# $\gamma = 0.9$ and $\lambda = 0.95$:
#
# | turn | $r_t$ | $V_t$ | $\delta_t$ | $A_t$ |
# | --- | --- | --- | --- | --- |
# | 3 | 5 | 3 | 5 − 3 = 2 | 2 |
# | 2 | −2 | 2 | −2 + 0.9·3 − 2 = −1.3 | −1.3 + 0.855·2 = 0.41 |
# | 1 | −1 | 1 | −1 + 0.9·2 − 1 = −0.2 | −0.2 + 0.855·0.41 = 0.15055 |
#
# The second try broke the rules, and its advantage is positive all the same: what
# followed was better than expected. `losses.gae` agrees, and also gives the targets for
# $V$.

# %%
from sftrl_lite.training.losses import gae

advantages, targets = gae([-1, -2, 5], [1, 2, 3], gamma=0.9, lam=0.95)
print("advantages", [round(a, 5) for a in advantages])
print("targets   ", [round(t, 5) for t in targets])

# %% [markdown]
# Most PPO implementations, including ours, then *normalise* the advantages of a batch:
# they subtract the batch's mean and divide by its standard deviation. Then the size of
# a step does not depend on the scale of the rewards.
#
# **Predict, then run.** Take the three turns as the whole batch. Which of the three
# advantages, 0.15, 0.41 and 2, are still positive afterwards?

# %%
raw = torch.tensor(advantages)
scaled = (raw - raw.mean()) / (raw.std(correction=0) + 1e-5)
for t, (before, after) in enumerate(zip(raw.tolist(), scaled.tolist(), strict=True), 1):
    flips = "the sign flips" if before * after < 0 else ""
    print(f"turn {t}: advantage {before:+.2f}, normalised {after:+.2f} {flips}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only the last: it alone is above the mean of the three, 0.85. The question has
# changed: no longer "better than the value head expected?" but "better than the average
# turn of this batch?". Subtracting a constant from all advantages is one more baseline
# (nearly: the batch's mean contains each sample itself), so the expected gradient keeps
# its direction.
#
# </details>
#
# ### Exercise 4.4: generalised advantages
#
# Difficulty ●●●○○ · 10 minutes
#
# Write it. Check the two extremes: $\lambda = 0$ gives $\delta_t$, $\lambda = 1$ gives
# the reward to go minus the value.

# %%
def advantages_of(
    rewards: list[float], values: list[float], gamma: float, lam: float
) -> list[float]:
    """GAE of a finished episode: ``advantages_of([5], [3], 0.9, 0.95)`` is ``[2]``."""
    raise NotImplementedError

# %%
with notebook.exercise("4.4"):
    r, v = [-1.0, -2.0, 5.0], [1.0, 2.0, 3.0]
    found = advantages_of(r, v, 0.9, 0.95)
    assert len(found) == 3, "one advantage for each turn"
    assert abs(found[2] - 2) < 1e-9, "nothing follows the last turn: its V_{t+1} is 0"
    assert abs(found[0] - 0.15055) < 1e-9, "the table above, from the back"
    assert abs(advantages_of(r, v, 0.9, 0.0)[1] + 1.3) < 1e-9, "lambda = 0 is delta"
    assert abs(advantages_of(r, v, 0.9, 1.0)[0] - 0.25) < 1e-9, "lambda = 1 is R - V"
    assert (r, v) == ([-1.0, -2.0, 5.0], [1.0, 2.0, 3.0]), "an input has changed"
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
# Go backwards and carry two numbers along: the next value and the next advantage.
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
# ### The value head, and an actor-critic that runs
#
# $V(s_t)$ is a small network on the language model's last hidden state at the triangles
# of the drawing. The shapes are: states $(B, L, H)$, picked at `ask` $(B, T)$; values
# $(B, T)$. `policy` returns the values if it is given a head. The credit is GAE; the
# loss is REINFORCE's plus the value head's squared error.

# %%
def by_gae(batch: Batch, values: torch.Tensor, s: RLSettings) -> None:
    """GAE over the turns that were played, normalised over the batch; value targets."""
    for i, turns in enumerate(batch.played.sum(1).tolist()):
        paid, foreseen = batch.rewards[i, :turns].tolist(), values[i, :turns].tolist()
        found = gae(paid, foreseen, s.gamma, s.lam)
        batch.advantages[i, :turns], batch.targets[i, :turns] = map(torch.tensor, found)
    real = batch.advantages[batch.played]
    scaled = (batch.advantages - real.mean()) / (real.std(correction=0) + 1e-5)
    batch.advantages = scaled * batch.played

def actor_critic(part: Batch, logps, values: torch.Tensor, s: RLSettings):
    """REINFORCE with GAE's advantages; the value head learns beside it."""
    error = (values - part.targets)[part.played].square().mean()
    return reinforce(part, logps, values, s) + s.value_coef * error

with_values = replace(trial, method="rl-ppo")  # then the learner has a value head
live("Actor-critic", by_gae, actor_critic, with_values)

# %% [markdown]
# ## The clip
#
# Episodes are expensive, so one batch should serve several gradient steps. After the
# first step the policy is no longer the one that sampled. The ratio
# $\rho_t = \pi_\theta(a_t \mid s_t) / \pi_\text{old}(a_t \mid s_t)$ corrects for it,
# and PPO (Schulman et al., 2017) removes the incentive to move it far from 1:
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
    above = "flat above" if sign > 0 else "flat below"
    edge = 1 + sign * clip
    axis.set(title=f"Advantage {sign:+.0f}: {above} {edge:g}", xlabel="ratio")
    axis.axvspan(1 - clip, 1 + clip, color="#E5E5E5", zorder=0)
axes[0].legend()
axes[0].set_ylabel("objective")
notebook.figure(fig, alt="The clip is one-sided: PPO's objective against the ratio is "
                f"flat above {1 + clip:g} for a positive advantage and flat below "
                f"{1 - clip:g} for a negative one.")

# %% [markdown]
# In both panels the clip is one-sided. A good answer whose probability has risen enough
# is left alone; one whose probability *fell* is still pulled up, at any distance.
#
# ### A ratio of what?
#
# PPO as Chu et al. use it, and ours, has one ratio for each *answer*: the product over
# its tokens (in their released code, the tokens before the formula enter with exponent
# 1/2). GRPO as published has one for each *token*, and every token carries the advantage
# of its answer. PPO in most libraries for language models has one for each token, too,
# each with a value and an advantage of its own. GSPO ([Zheng et
# al., 2025](https://arxiv.org/abs/2507.18071)) has one for each answer, but takes the
# geometric mean over its tokens.
#
# **Predict, then run.** We make one update on one batch and look at the ratios. What
# share of the answers is outside a clip range of 0.2, and what share of their tokens?
# And before the update?

# %%
learner = new_learner(at_init(), with_values, seed=0)
batch = text_step(learner, tokenizer, task, hands, with_values, 0, by_gae, actor_critic)
with torch.no_grad():
    now = policy(student, batch, None, None, trial.temperature)[0]
answers = (per_turn(batch, now) - per_turn(batch, batch.old_logps))[batch.played].exp()
tokens = (now - batch.old_logps)[batch.turn >= 0].exp()
for name, ratio in (("answers", answers), ("tokens", tokens)):
    outside = ((ratio - 1).abs() > clip).float().mean()
    print(f"{len(ratio):5} {name:7} from {ratio.min():.2f} to {ratio.max():.2f}, "
          f"{outside:.1%} outside {1 - clip:g} to {1 + clip:g}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Before the update every ratio is exactly 1, so with one update for each batch the clip
# does nothing: on-policy PPO is the actor-critic above. After the update, a larger
# share of the answers than of the tokens is outside: the small changes of some twenty
# tokens multiply. So the same $\epsilon$ means different things. With a ratio of
# answers, it limits how far whole answers move, and long answers reach it sooner. With
# a ratio of tokens, it limits each token, and an answer may move far.
#
# </details>
#
# ### Exercise 4.5: where is there a gradient?
#
# Difficulty ●●●○○ · 8 minutes
#
# Say for a ratio, an advantage and a clip whether the objective still has a gradient.

# %%
def still_moves(ratio: float, advantage: float, clip: float) -> bool:
    """``still_moves(1.5, 1.0, 0.2)`` is False: it rose, as asked, by more than 0.2."""
    raise NotImplementedError

# %%
with notebook.exercise("4.5"):
    assert isinstance(still_moves(1.0, 1.0, 0.2), bool), "True or False"
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

# %% [markdown]
# <details><summary>Hint</summary>
#
# The objective has two flat pieces: right of $1 + \epsilon$ for a positive advantage,
# left of $1 - \epsilon$ for a negative one.
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
# ### PPO that runs
#
# PPO takes GAE's credit and one clipped ratio for each answer. Now a batch may be used
# twice:

# %%
from sftrl_lite.training.losses import ppo_loss

def ppo(part: Batch, logps, values: torch.Tensor, s: RLSettings) -> torch.Tensor:
    """PPO's loss: a turn is an action."""
    new, old = per_turn(part, logps), per_turn(part, part.old_logps)
    return ppo_loss(new, old, values, part.advantages, part.targets, part.played,
                    s.clip, s.value_coef)

live("PPO, 2 epochs", by_gae, ppo, replace(with_values, epochs=2))

# %% [markdown]
# ### Exercise 4.6: write PPO's loss
#
# Difficulty ●●●●○ · 20 minutes
#
# With $N$ the number of turns that were played,
#
# $$
# L = \frac{1}{N} \sum_{t\ \text{played}} \Big[ c_v \,(V_t - \text{target}_t)^2 -
# \min\big(\rho_t A_t,\ \text{clip}(\rho_t, 1 - \epsilon, 1 + \epsilon)\, A_t\big) \Big].
# $$
#
# The check compares its value and its gradients, with respect to the new
# log-probabilities and the values, with the package's.

# %%
def turn_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    values: torch.Tensor,
    advantages: torch.Tensor,
    targets: torch.Tensor,
    played: torch.Tensor,
    clip: float,
    value_coef: float,
) -> torch.Tensor:
    """PPO's loss, a number; all tensors are (B, T), ``played`` is bool.

    With one turn, ratio 1, advantage 2, value 0 and target 1 it is ``value_coef - 2``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.6"):
    one, yes = torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    small = turn_loss(one, one, 0 * one, 2 * one, one, yes, 0.2, 0.5)
    assert small.shape == () and abs(float(small) + 1.5) < 1e-6, "0.5 * 1 - 2 is -1.5"
    made = torch.Generator().manual_seed(0)
    for clip_at, coef in ((0.2, 0.5), (0.05, 1.7), (0.4, 0.0)):
        old, A, goal, v, by = torch.randn(5, 6, 3, generator=made).double()
        played = torch.rand(6, 3, generator=made) < 0.7
        found = []
        for loss_of in (turn_loss, ppo_loss):
            new, foreseen = (w.clone().requires_grad_() for w in (old + 0.3 * by, v))
            given = [old.clone(), A.clone(), goal.clone(), played.clone()]
            loss = loss_of(new, given[0], foreseen, *given[1:], clip_at, coef)
            assert loss.requires_grad, "a tensor that knows where it came from"
            loss.backward()
            same = all(map(torch.equal, given, (old, A, goal, played)))
            assert same, "an input has changed: compute in new tensors"
            zero = torch.zeros_like(v)
            found.append((loss, zero if new.grad is None else new.grad,
                          zero if foreseen.grad is None else foreseen.grad))
        said = "loss", "gradient of the policy", "gradient of the values"
        for what, mine, right in zip(said, *found, strict=True):
            assert torch.allclose(mine, right), f"clip {clip_at}, c_v {coef}: {what}"

# %% [markdown] tags=["group-baseline"]
# <details><summary>Hint</summary>
#
# `ratio = (new - old).exp()`; `torch.minimum` and `Tensor.clamp` pass gradients. Index
# with `played` before you take the mean.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def turn_loss(
#     new: torch.Tensor,
#     old: torch.Tensor,
#     values: torch.Tensor,
#     advantages: torch.Tensor,
#     targets: torch.Tensor,
#     played: torch.Tensor,
#     clip: float,
#     value_coef: float,
# ) -> torch.Tensor:
#     ratio = (new - old).exp()
#     inside = ratio.clamp(1 - clip, 1 + clip)
#     gain = torch.minimum(ratio * advantages, inside * advantages)
#     error = (values - targets) ** 2
#     return (value_coef * error - gain)[played].mean()
# ```
#
# </details>
#
# ## GRPO's baseline: the group
#
# A value head has to be learned. GRPO (Shao et al., 2024, *DeepSeekMath*) does not need
# one: sample a group of $G$ answers to the same hand and compare each with its group,
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
# **Predict, then run.** Take three groups of four, with one turn each and rewards 5 and
# −1. In the first one sample solves the hand, in the second three, in the third all.
# Which sample has the largest advantage, and which group gives none?

# %% tags=["groups"]
from sftrl_lite.training.losses import group_advantages

earned = torch.tensor([5.0, -1, -1, -1, 5, 5, 5, -1, 5, 5, 5, 5])[:, None]
every = torch.ones_like(earned, dtype=torch.bool)
for name, scaled in (("Dr. GRPO", False), ("GRPO", True)):
    found = group_advantages(earned, every, group=4, scale=scaled)[:, 0]
    print(f"{name:8}", [round(a, 2) for a in found.tolist()])

# %% [markdown]
# <details><summary>Answer</summary>
#
# The single success of the first group. The single failure of the second is as far
# below its mean: a sample that differs from all others lies farthest from the group's
# mean. The last group teaches nothing: when all samples agree, every advantage is zero.
# Hands that are always or never solved cost sampling and give no gradient, which is why
# RL needs a base that succeeds *sometimes*.
#
# </details>
#
# ### Exercise 4.7: a group that agrees
#
# Difficulty ●●○○○ · 8 minutes
#
# Write the group's advantages for one turn, without the division, and return beside them
# the share of groups without any signal.

# %%
def grouped(returns: torch.Tensor, group: int) -> tuple[torch.Tensor, float]:
    """(B,) returns, group by group -> (B,) advantages, share of silent groups.

    ``grouped(tensor([5., -1., 5., 5.]), 2)`` is ``([3, -3, 0, 0], 0.5)``.
    """
    raise NotImplementedError

# %%
with notebook.exercise("4.7"):
    found, silent = grouped(torch.tensor([5.0, -1.0, 5.0, 5.0]), 2)
    assert found.tolist() == [3.0, -3.0, 0.0, 0.0], "subtract the mean of each group"
    assert silent == 0.5, "the second group has no variance"
    mixed, silent = grouped(torch.tensor([5.0, -1.0, 2.0, 0.1, 0.1, 0.1]), 3)
    assert mixed[2] == 0 and silent == 0.5, "an average sample is no silent group"
    lucky, _ = grouped(torch.tensor([5.0, -1.0, -1.0, -1.0]), 4)
    assert lucky[0] == 4.5, "a rare success stands out"
    made = torch.Generator().manual_seed(0)
    for groups_of, group in ((1, 2), (5, 3), (4, 8), (6, 1)):
        paid = torch.randint(-3, 6, (groups_of, group), generator=made).float()
        paid[0] = paid[0, 0]  # one group at least agrees
        given = paid.flatten()
        kept, (found, silent) = given.clone(), grouped(given, group)
        true = torch.cat([row - row.mean() for row in paid])
        assert torch.allclose(found, true, atol=1e-5), f"groups of {group}: own mean"
        agree = sum(len(set(row.tolist())) == 1 for row in paid) / groups_of
        assert abs(silent - agree) < 1e-6, f"groups of {group}: the share that agree"
        assert torch.equal(given, kept), "the returns have changed: use a new tensor"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `returns.reshape(-1, group)` has one group in each row. A silent row equals its first
# entry throughout.
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
# ### GRPO that runs
#
# GRPO takes the group's credit and one ratio for each token, and has no value head:

# %%
from sftrl_lite.training.forward import per_token
from sftrl_lite.training.losses import grpo_loss

def by_group(batch: Batch, values: None, s: RLSettings) -> None:
    """Return minus the mean of the samples of the same hand that played this turn."""
    batch.advantages = group_advantages(returns(batch, s), batch.played, s.samples)

def grpo(part: Batch, logps: torch.Tensor, values: None, s: RLSettings) -> torch.Tensor:
    """GRPO's loss: a token is an action, with the advantage of its turn."""
    advantages = per_token(part, part.advantages)
    return grpo_loss(logps, part.old_logps, advantages, part.turn >= 0, s.clip)

live("GRPO, 2 epochs", by_group, grpo, replace(trial, epochs=2))

# %%
import pandas as pd

from sftrl_lite.results.intervals import mean_interval

gains = {name: mean_interval((after - lived["Init"]).tolist())
         for name, after in lived.items() if name != "Init"}
above = [name for name, gain in gains.items() if gain.low > 0]
notebook.show(
    f"After 10 steps {len(above)} of {len(gains)} methods solve more than Init "
    f"({', '.join(above) or 'none'}): the 95 % interval of the gain, hand by hand, is "
    "above 0. With one seed and so few steps this says that they run; it ranks none."
)
pd.DataFrame({name: {"solved at the first try": f"{lived[name].mean():.0%}",
                     "gain over Init": f"{100 * gain.value:+.0f} points",
                     "interval": f"{100 * gain.low:+.0f} to {100 * gain.high:+.0f}"}
              for name, gain in gains.items()}).T

# %% [markdown]
# ## The family in one table
#
# All of these are policy gradient methods. They differ in five choices. $R$ is the
# reward of an answer.
#
# | | advantage | divided by | ratio | KL to a reference | clip; mean of the loss |
# | --- | --- | --- | --- | --- | --- |
# | PPO (Schulman et al., 2017) | GAE with a learned value | batch's deviation (implementations) | an action: a token in most libraries, an answer in Chu et al. (2025) | none; in RLHF a penalty in the reward | $1 \pm \epsilon$; over actions |
# | RLOO ([Ahmadian et al., 2024](https://arxiv.org/abs/2402.14740)) | $R$ − mean of the *other* samples | – | none (on-policy) | in the reward | none; over answers |
# | GRPO ([Shao et al., 2024](https://arxiv.org/abs/2402.03300)) | $R$ − group's mean | group's deviation | token | in the loss, $k_3$ | $1 \pm \epsilon$; over an answer's tokens, then over answers |
# | Dr. GRPO ([Liu et al., 2025](https://arxiv.org/abs/2503.20783)) | $R$ − group's mean | – | token | none | $1 \pm \epsilon$; sum over tokens, divided by a constant |
# | DAPO ([Yu et al., 2025](https://arxiv.org/abs/2503.14476)) | $R$ − group's mean | group's deviation; silent groups are dropped and replaced by groups of other hands | token | none | $1 - 0.2$ to $1 + 0.28$; over all tokens |
# | REINFORCE++ ([Hu et al., 2025](https://arxiv.org/abs/2501.03262)) | $R$ − batch's mean | batch's deviation | token | in the reward, token by token | $1 \pm \epsilon$; over tokens |
# | **this course, PPO** | GAE over turns | batch's deviation | answer | none | $1 \pm \epsilon$; over turns |
# | **this course, GRPO** | $R_t$ − group's mean at turn $t$ | – | token | none | $1 \pm \epsilon$; over all tokens |
#
# With one update for each batch all ratios are 1. Then the clip does nothing, and
# this course's GRPO is REINFORCE with the group's mean as its baseline, averaged over
# tokens instead of turns.
#
# ## How far from Init? Three estimates of a KL
#
# The Kullback-Leibler divergence
# $\text{KL}(\pi \| \pi_0) = \mathbb{E}_\pi[\log \pi - \log \pi_0]$ says how far a
# policy has moved, in nats. The sum over all possible answers cannot be computed, so it
# is estimated from samples of $\pi$. With $r = \pi_0 / \pi$, three estimates are in use
# (Schulman, 2020): $k_1 = -\log r$, $k_2 = (\log r)^2 / 2$ and $k_3 = r - 1 - \log r$.
# With four possible answers we know the true value:

# %%
from sftrl_lite.training.losses import kl_estimates

now = torch.tensor([0.6, 0.2, 0.15, 0.05])
init = torch.tensor([0.4, 0.3, 0.2, 0.1])
rng = torch.Generator().manual_seed(0)
drawn = torch.multinomial(now, 100_000, replacement=True, generator=rng)
print(f"exact: {(now * (now / init).log()).sum():.4f}")
for name, k in kl_estimates(now[drawn].log(), init[drawn].log()).items():
    below = (k < 0).float().mean()
    print(f"{name}: mean {k.mean():.4f}, spread {k.std():.4f}, below zero {below:.0%}")

# %% [markdown]
# $k_1$ and $k_3$ are right on average, and $k_3$ is never negative; $k_2$ has little
# variance. It is nearly right for policies as close as these, but wrong for distant
# ones. The paper's PPO has no KL term at all (released code): only the clip and a small
# learning rate keep the policy close. We *measure* the KL, by $k_1$.
#
# ## One policy, one temperature
#
# Sampling at temperature $\tau$ draws from
# $\pi_\tau = \text{softmax}(\text{logits} / \tau)$. Then $\pi_\tau$ is the policy
# everywhere: in the rollout, the ratio, the KL and the entropy, the logits are divided
# by the same $\tau$. What goes wrong otherwise? Give *every* answer a reward of 1, so
# that there is nothing to learn. If the samples come from $\pi_\tau$ and the score from
# $\pi_\sigma$, the expected gradient with respect to the logits is
#
# $$\mathbb{E}_{a \sim \pi_\tau}\big[\nabla \log \pi_\sigma(a)\big] =
# \frac{\pi_\tau - \pi_\sigma}{\sigma},$$
#
# and that is zero only where $\tau = \sigma$. Otherwise a baseline does change the
# gradient. Here is the exact sum over four answers:

# %% tags=["temperatures"]
def drift(sampled_at: float, trained_at: float) -> torch.Tensor:
    """Expected gradient on four logits where every answer earns 1."""
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
# With one shared temperature the expectation is zero, whatever the temperature is. Two
# temperatures push the policy although no answer is better than another. On the base
# model the same mistake is visible in the ratio, which has to be 1 before the first
# update:

# %%
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
# 0.9, the decoding of the paper's evaluation, unless another is named.
#
# ## The same step as the package's
#
# `text_step` with `by_gae` and `ppo` is PPO; with `by_group` and `grpo` it is GRPO.
# (Old log-probabilities come from a pass like the update's, not from the rollout, which
# decodes one token at a time: in 16 bits the two differ by rounding, and the first
# ratio would not be 1.) The package's `rl_step` does the same, and also handles
# pictures, several processes and float16. Do both take the same step from Init? We give
# them the same random stream, and two epochs of two minibatches:

# %%
from sftrl_lite.training.rl import rl_step

def taken() -> torch.Tensor:
    """What has changed of all that trains, weights or an adapter, in one vector."""
    return torch.cat([(w - start[n]).flatten() for n, w in trained(student).items()])

for method, credit, loss in (("rl-ppo", by_gae, ppo), ("rl-grpo", by_group, grpo)):
    half = max(trial.minibatch // 2, 1)
    s = replace(trial, method=method, epochs=2, minibatch=half)
    learner = new_learner(at_init(), s, seed=0)
    text_step(learner, tokenizer, task, hands, s, 0, credit, loss)
    ours = taken()
    rl_step(new_learner(at_init(), s, seed=0), tokenizer, task, hands, s, seed=0)
    apart = (ours - taken()).norm() / taken().norm().clamp(min=1e-12)
    print(f"{method}: the two updates differ by {apart:.2%} of their length")

# %% [markdown]
# Each line of `rl_step` is a stage that you have seen:
#
# | name | what it does | above |
# | --- | --- | --- |
# | `stream` | all randomness of this step, from the seed and the step's number | `stream` |
# | `play` | draws problems and plays episodes, each process its own | `play` |
# | `pack` | episodes to tensors (`tokenizer_of` knows the padding) | `pack` |
# | `look_back` | `old_logps`, values and entropy, from the policy that played | `policy` |
# | `with_advantages` | GAE with value targets, or the group's baseline | `by_gae`, `by_group` |
# | `learner.critic` | the value head; GRPO has none | `head` |
# | `checkpointed` | whether layers compute twice to save memory; on a GPU | |
# | `minibatches` | epochs, order, and the passes that memory has room for | `order.split` |
# | `update` | one gradient step: adds up the gradients of all processes, clips, steps | `optimizer.step` |
# | `encoded` | states of the pictures, computed once for all passes of an update | |
# | `near.rows` | the episodes of a pass, without columns that none of them needs | `batch.rows` |
# | `METHODS` | the loss, PPO's or GRPO's, and how far the policy has moved | `ppo`, `grpo` |
# | `step.backward` | adds the gradient of a pass, weighted by its share of the minibatch | `backward` |
# | `check_health` | stops a run whose loss, weights or logits are no longer finite | |
# | `figures` | the numbers that one debugs with | |

# %%
import inspect

code = inspect.getsource(rl_step)
print(code[code.index("    s, rng ="):])  # what stands below the docstring

# %% [markdown]
# We run three of its steps to see what it returns. `reward` is the mean sum of rewards
# of an episode, `success` the share solved within the budget, `answers` the tries
# actually played, `signal` the share of hands whose samples earned different rewards.
# `success_first` is the share solved at the first try; `generated` and `trained` count
# tokens, `updates` gradient steps. The others are for finding faults: `loss`, `value_loss`
# (the squared error of the values), `kl` and `clipped` say how far the policy went from
# the one that sampled, `entropy` how random the policy that sampled was, `grad_norm`
# the norm of the gradient before it was clipped, `explained_variance` the share of the
# returns' variance that the value head predicts.

# %%
few = 3
learner = new_learner(at_init(), scale.rl, seed=0)
log = [rl_step(learner, tokenizer, task, hands, scale.rl, seed=0)
       for _ in tqdm(range(few), unit="step")]
pd.DataFrame(log, index=range(1, few + 1)).round(3).T

# %%
error = log[0]["value_loss"]
notebook.show(
    f"A loss of {log[0]['loss']:.1f} in step 1 does not mean that training diverges. "
    "Before the first update every ratio is 1 and normalised advantages have mean "
    "zero, so the policy's part of the loss is zero. What is left is the value "
    "head's part, "
    f"{scale.rl.value_coef:g} times its mean squared error of {error:.1f}: an "
    f"untrained head is off by about {error ** 0.5:.1f}."
)

# %% [markdown]
# ## A live run, with its control
#
# We train with half of the scale's training compute and one seed. On the other core
# runs the control, `rl-random`: the same PPO, the same hands, as many samples a hand and
# the same compute, but a fair coin instead of the verifier. Heads is +1 and ends the episode,
# tails is −1 and allows another try. The rewards have mean zero and do not depend on
# the answer, so whatever the control gains or loses does not come from the verifier. If
# you run the cell again, it only reads what it stored.
#
# **Predict, then run.** What will random rewards do to the share solved at the first
# try: raise it, lower it, leave it? The figure of this chapter, below, has the answer.

# %%
from sftrl_lite.course.monitor import train_and_watch
from sftrl_lite.files import ROOT
from sftrl_lite.runs.run_config import Run

options = dict(
    seed=0,
    scale=scale.name,
    tflop=scale.tflop / 2,
    points=4,
    eval_episodes=scale.eval_episodes // 2,
    final_episodes=scale.eval_episodes,
    curve_episodes=scale.eval_episodes * 3 // 5,
    pass_samples=0,
)
plan = {method: Run(method, **options) for method in ("rl-ppo", "rl-random")}
folder = ROOT / "runs" / "chapter-4" / plan["rl-ppo"].hash
table = train_and_watch(plan, folder, "chapter-4")

# %% [markdown]
# The monitor above is updated while the runs train. The control's reward and success
# are random. Its table shows greedy answers to the same six training hands as chapter
# 3's monitor. A star marks an answer that equals the solver's draw, which SFT is taught
# and RL never sees. Both methods, hand by hand:

# %%
from sftrl_lite.course import monitor

taught = Run("sft", **options | dict(points=2, final_episodes=0))
there = ROOT / "runs" / "chapter-3" / taught.hash / "sft"
monitor.compare({"sft": there, "rl-ppo": folder / "rl-ppo"})

# %%
from sftrl_lite.results.measures import at_decoding

watch = at_decoding(table[(table["method"] == "rl-ppo") & (table["split"] == "id")])
wide = watch.pivot_table(index="step", columns="metric", values="value")
shown = ["success", "success@1", "read", "format_error", "entropy", "kl"]
wide[shown].round(3).astype(object).fillna("")

# %% [markdown]
# These are held-out hands under the trained rule, at the paper's decoding. Read the
# table from top to bottom. Does success rise within the budget, and at the first try?
# Entropy and KL are properties of the policy at temperature 1 and are measured only
# before and after training. A falling entropy says that the policy becomes more
# deterministic. The KL to Init says how far it has moved, in nats per answer.
#
# ## The library way
#
# trl no longer ships PPO, but its `GRPOTrainer` takes a `rollout_func`, so our episodes
# can be trained with it (`trl_grpo.py`). There, one reward belongs to the whole episode
# instead of to each turn, and every try processes the whole chat again. We take the
# same few steps of GRPO both ways, each from Init:

# %%
import time

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
print(f"trl  {end - middle:5.1f} s, reward per step", [round(r, 2) for r in theirs])
print(f"ours {middle - began:5.1f} s, reward per step", [round(r, 2) for r in ours])

# %% [markdown]
# The two draw different hands and different answers. Only the first number has to
# agree: the reward of Init, before any update. By how much may two such numbers differ
# by chance?

# %%
many = rollout(base, tokenizer, task, hands[:60], samples=small.samples,
               tries=small.tries, generator=dice(3), **limit)
earned = torch.tensor([sum(turn.reward for turn in e.turns) for e in many])
by_hand = earned.reshape(-1, small.samples).mean(1)
error = (by_hand.std() / small.problems ** 0.5).item()  # of the mean of so few hands
gap, noise = abs(theirs[0] - ours[0]), 1.96 * (2 * error ** 2) ** 0.5
notebook.show(
    f"Init earns {earned.mean():.2f} per episode, and a mean over "
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
# learns nothing from failures, solves within $T$ tries
#
# $$P_T = 1 - (1 - p)^T.$$

# %%
print("p    " + "".join(f"{t:>4} tries" for t in (1, 3, 5, 10)))
for p in (0.02, 0.05, 0.10):
    print(f"{p:.2f} ", *(f"{1 - (1 - p) ** t:8.0%}" for t in (1, 3, 5, 10)))

# %% [markdown]
# A policy that improves from $p = 0.02$ to $0.05$ gains 3 points if it has one try, and
# far more if it has ten: the same learning, different arithmetic. So "more tries
# generalise better" has two meanings, and they need two measurements: each policy at
# *its own* training budget (as in the paper), and all policies at *one common* budget.

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
# Rows are budgets in training, columns budgets in the evaluation. The cells show points
# of shifted success gained over Init at equal compute, at the paper's decoding; a dash
# means not recorded. Each cell is over five seeds: compare intervals before you rank the
# rows. Chapter 10 maps the same over bases, temperatures and messages, at equal compute and
# at equal numbers of steps.
#
# ## The figure of this chapter
#
# Solved at the first try against training compute, at the paper's decoding: training
# hands, held-out hands under the trained rule, held-out hands under a rule that
# training never announced. One seed; bands are Wilson 95 % intervals over hands.

# %% tags=["run-figure"]
from sftrl_lite.results import plots

both = ("rl-ppo", "rl-random")
splits = ("train", "id", "ood-rule")
titles = [plots.finding(table, "success@1", split, both) for split in splits]
alt = plots.alt_text(table, methods=both)
notebook.figure(plots.curves(table, methods=both, titles=titles), alt=alt)

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
        f"there {moved(method, 'ood-rule', 'read')}. One seed: the intervals include "
        "the noise of hands, not that between training runs."
    )
tables.cost_table(table)

# %% [markdown]
# <details><summary>Answer: what random rewards do</summary>
#
# Rewards that do not depend on the answer have an expected gradient of zero. What moves
# the policy is the noise of the estimate: at best the control stays where Init is, and
# over many steps noise tends to harm. If a control with random rewards gains clearly,
# look for the cause elsewhere than in the verifier.
#
# </details>
#
# The next table shows recorded runs of full length with several seeds.
# `Init at its best temperature` is a control without any training: it shows what a
# change of temperature alone reaches.

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
# evaluation. Ask three questions: does it read J, Q and K as announced? Does a failed
# try change the next one? Which mistakes does it repeat? Only `formula` is judged: an
# answer that lists wrong numbers and then writes a correct formula is solved and earns
# +5.

# %%
from sftrl_lite.course.widgets import revision_viewer
from sftrl_lite.runs.recorder import held_out

student = learner = None  # both hold it, and a GPU may hold no third model
trained, _ = load(folder / "rl-ppo" / "model")
shifted = general_points("ood-rule")
tests = held_out(shifted, 8, seed=0)
episodes = rollout(trained, tokenizer, shifted, tests, generator=dice(1), top_p=0.9,
                   temperature=0.6, tries=scale.rl.tries, **limit)
revision_viewer(episodes, tokenizer)

# %% [markdown]
# ## A playground: turn the knobs
#
# This is a smaller training, live, in about half a minute on one core: a tiny base that
# seldom solves a hand at its first try, 32 steps of the package's own `rl_step`, and 32
# episodes per step. Choose settings, press *Train*, and the curve grows beside that of
# the default. Predict before you press. Try four experiments:
#
# 1. Learning rate 2e-3, ten times the default's. Which of KL, entropy and format errors
#    tells you first that it goes wrong?
# 2. The same with a clip of 0.02. Does a narrow clip save it?
# 3. The reward table that pays any legal formula. What happens to the reward, and what to
#    success?
# 4. Two episodes per hand instead of eight, with GRPO. How good is a mean of two as a
#    baseline?

# %%
from sftrl_lite.course.playground_view import playground

playground()

# %% [markdown]
# Each curve is one seed and 100 hands per rule: differences below some 13 points are
# noise, and the sentence below the figure says so. SFT uses only the rate. REINFORCE
# makes one update per step and has no clip.
#
# ## What it means, and what it does not
#
# RL never saw a correct answer that the model had not written itself. It sampled, and
# became more likely to give the answers that earned rewards. A hand with a face card is
# solved only with the numbers of the announced rule. In training that rule is always
# J = Q = K = 10, so a 10 that is read and a 10 that is memorised earn the same: the
# reward favours neither reading nor forgetting. Whether the numbers are still read right
# is the last number in the sentences above. What improves, writing formulas that evaluate to 24, is useful
# under any rule.
#
# What this chapter does *not* show:
#
# - *That RL creates skills.* A hand that no sample ever solves gives no push towards
#   its solution. Our base already shows careful behaviour under many rules (chapter 2);
#   the paper's RL failed without an SFT start, too (section 5.4, figure 9).
# - *That RL does more than a lower temperature.* Compare with the row of Init at its
#   best temperature; chapter 5 draws the whole curve.
# - *That RL cannot forget.* Nothing rewarded forgetting here. Another learning rate or
#   another base may give another result.
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
