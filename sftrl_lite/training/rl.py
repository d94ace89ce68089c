"""Reinforcement learning on verified episodes: PPO with a value head, GRPO, and REINFORCE.

All methods see the same thing: a batch of episodes (``rollouts.rollout``), each a chat
with T turns, and a reward r_t for each turn. Notation: B episodes, L tokens, T turns.

    policy       pi(answer_t | prompt, earlier answers and messages)
    objective    E[ sum_t gamma^(t-1) r_t ]
    gradient     E[ sum_t A_t * grad log pi(answer_t | ...) ]

They differ in the baseline inside the advantage A_t: PPO learns it (a value head on
the last prompt token of each turn), GRPO takes the mean of the group of samples of the
same problem. The rest, ratio and clip, is shared. REINFORCE takes the mean of the whole batch
and has neither ratio nor clip: it is right for the first update of a batch only, so that
``minibatch`` has to contain all episodes and ``epochs`` to be 1.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sftrl_lite.models.precision import checkpointed
from sftrl_lite.models.vision import Processor, tokenizer_of
from sftrl_lite.scales import RLSettings
from sftrl_lite.seeds import stream
from sftrl_lite.tasks.base import Playable, Problem, Verdict
from sftrl_lite.training import distributed, rollout_copy
from sftrl_lite.training.compute import picture_tokens
from sftrl_lite.training.forward import Batch, pack, parts, per_token, per_turn, policy
from sftrl_lite.training.health import check_health
from sftrl_lite.training.losses import (
    departure,
    explained_variance,
    gae,
    group_advantages,
    grpo_loss,
    ppo_loss,
    rewards_to_go,
)
from sftrl_lite.training.rollouts import Episode, rollout
from sftrl_lite.training.static_decoding import free_room
from sftrl_lite.training.updates import Learner, Update, encode_in_step, encoded, update


def ppo_targets(batch: Batch, values: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages, normalised over the batch, and value targets; both (B, T)."""
    advantages, targets = torch.zeros_like(values), torch.zeros_like(values)
    for i, turns in enumerate(batch.played.sum(1).tolist()):
        a, target = gae(batch.rewards[i, :turns].tolist(), values[i, :turns].tolist(), gamma, lam)
        advantages[i, :turns], targets[i, :turns] = torch.tensor(a), torch.tensor(target)
    real = distributed.all_gather(advantages[batch.played])
    advantages = (advantages - real.mean()) / (real.std(correction=0) + 1e-5) * batch.played
    return advantages, targets


def ppo(part: Batch, logps: Tensor, values: Tensor, s: RLSettings) -> tuple[Tensor, Tensor]:
    """PPO's loss of a batch, and how far the policy has moved: a turn is an action."""
    new, old, real = per_turn(part, logps), per_turn(part, part.old_logps), part.played
    loss = ppo_loss(new, old, values, part.advantages, part.targets, real, s.clip, s.value_coef)
    return loss, departure(new, old, real, s.clip, (values - part.targets).square())


def grpo(part: Batch, logps: Tensor, values: None, s: RLSettings) -> tuple[Tensor, Tensor]:
    """GRPO's loss of a batch, and how far the policy has moved: a token is an action."""
    old, real = part.old_logps, part.turn >= 0
    loss = grpo_loss(logps, old, per_token(part, part.advantages), real, s.clip)
    return loss, departure(logps, old, real, s.clip)


def reinforce(part: Batch, logps: Tensor, values: None, s: RLSettings) -> tuple[Tensor, Tensor]:
    """REINFORCE's loss of a batch (Williams 1992): a turn is an action."""
    new, old, real = per_turn(part, logps), per_turn(part, part.old_logps), part.played
    return -(part.advantages * new)[real].mean(), departure(new, old, real, s.clip)


METHODS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "rl-ppo": ppo,
    "rl-grpo": grpo,
    "rl-reinforce": reinforce,
}


def play(
    learner: Learner,
    processor: Processor,
    task: Playable[Problem],
    problems: Sequence[Problem],
    settings: RLSettings,
    rng: random.Random,
    reward: Callable[[Verdict], float] | None = None,
    engine: Any = None,
) -> list[Episode]:
    """Episodes of some problems, sampled from the policy; each process plays its own problems."""
    s, generator = settings, torch.Generator(learner.model.device)
    generator.manual_seed(rng.getrandbits(60))
    chosen = rng.sample(list(problems), min(s.problems, len(problems)))
    rollout_model = distributed.sync_weights(learner.rollout_model, learner.model)
    if engine is not None:
        engine.load(rollout_model)
    with rollout_copy.merged(rollout_model) if engine is None else nullcontext():
        episodes = rollout(
            rollout_model,
            processor,
            task,
            distributed.split_between_processes(chosen),
            samples=s.samples,
            tries=s.tries,
            temperature=s.temperature,
            max_new_tokens=s.max_new_tokens,
            generator=generator,
            reward=reward,
            together=s.together,
            engine=engine,
        )
    free_room(rollout_model)  # the memory of its cache is the update's now
    return episodes


@torch.no_grad()
def look_back(learner: Learner, batch: Batch, settings: RLSettings) -> tuple[float, Tensor | None]:
    """What the policy that played thinks of its episodes, from passes like those of the update.

    Fills in ``old_logps`` and, with a value head, ``values``.

    Returns:
        entropy summed over the answer tokens, in nats, and the states of the pictures, if any.
    """
    views = None if batch.pixels is None else encode_in_step(learner.model, batch.pixels)
    critic, entropy = learner.critic(settings), torch.zeros(())
    for few, weight in distributed.in_step(parts(batch, torch.arange(len(batch.ids)))):
        part = batch.rows(few)
        logps, spread, values = policy(learner.model, part, critic, views, settings.temperature)
        entropy = entropy + weight * spread.sum().cpu()
        batch.old_logps[few, : logps.shape[1]] = logps
        if critic:
            batch.values[few, : values.shape[1]] = values
    return float(entropy), views


def with_advantages(batch: Batch, settings: RLSettings) -> Batch:
    """The batch with its advantages: PPO's by GAE, with targets for the values, or those of
    GRPO and REINFORCE, returns minus a mean.

    Raises:
        ValueError: REINFORCE in several processes; its mean is over the whole batch.
    """
    s = settings
    if s.method == "rl-reinforce" and distributed.world() > 1:
        raise ValueError("rl-reinforce runs in one process; train with rl-ppo or rl-grpo")
    if s.method == "rl-ppo":
        advantages, targets = ppo_targets(batch, batch.values, s.gamma, s.lam)
        return replace(batch, advantages=advantages, targets=targets)
    returns = torch.tensor([rewards_to_go(row, s.gamma) for row in batch.rewards.tolist()])
    group = s.samples if s.method == "rl-grpo" else len(returns)
    advantages = group_advantages(returns, batch.played.cpu(), group)
    return replace(batch, advantages=advantages.to(batch.ids.device))


def minibatches(
    learner: Learner, batch: Batch, settings: RLSettings, rng: random.Random
) -> Iterator[tuple[Batch, int, list[tuple[Tensor, Tensor]]]]:
    """``epochs`` times the episodes in a new order, cut into minibatches.

    Yields:
        the batch, with the pictures of this minibatch alone where the tower is trained; how many
        pictures are looked at; and the rows of each pass with its share of the loss. Passes
        differ in size: weighted like this, their means add up to the minibatch's mean, over all
        processes.
    """
    units = batch.turn >= 0 if settings.method == "rl-grpo" else batch.played
    mine = len(batch.ids)
    first, count = distributed.place(mine)  # ours are numbers first, first + 1, ...
    few = learner.seeing and distributed.all_reduce_sums(n=batch.pictures)["n"] > settings.minibatch
    for _ in range(settings.epochs):
        order = torch.tensor(rng.sample(range(count), count))
        for rows in order.split(settings.minibatch):
            rows = rows[(rows >= first) & (rows < first + mine)] - first
            shown = rows if len(rows) else torch.tensor([0])  # who is idle passes this episode
            near = batch.looking(shown) if few else batch
            looked = near.pictures if len(rows) or not few else 0
            of = distributed.all_reduce_sum(units[rows].sum())
            passes = distributed.in_step(parts(batch, rows))
            yield near, looked, [(part, w * units[part].sum() / of) for part, w in passes]


def rl_step(
    learner: Learner,
    processor: Processor,
    task: Playable[Problem],
    problems: Sequence[Problem],
    settings: RLSettings,
    seed: int,
    reward: Callable[[Verdict], float] | None = None,
    engine: Any = None,
) -> dict[str, float]:
    """Sample episodes, compute advantages, take the clipped gradient steps.

    All randomness comes from ``(seed, learner.step)``, so a run that was killed and resumed
    draws the same problems and answers. Several processes deal the problems out and end with
    the same weights as one (``distributed``). An ``engine`` (``engine.Engine``) gets the weights
    before it plays.

    Raises:
        DivergedError: losses, weights or logits are no finite numbers any more.

    Returns:
        figures of this step: see ``figures``.
    """
    s, rng = settings, stream(seed, "rl", learner.step)
    episodes = play(learner, processor, task, problems, s, rng, reward, engine)
    batch = pack(episodes, tokenizer_of(processor).pad_token_id, learner.model.device)
    entropy, views = look_back(learner, batch, s)
    batch = with_advantages(batch, s)
    critic, updates = learner.critic(s), []
    known = None if learner.seeing else views  # a frozen tower sees the same again
    learner.model.train(checkpointed(learner.model))  # its layers look at it; nothing else does
    for near, looked, passes in minibatches(learner, batch, s, rng):
        with update(learner, s) as step, encoded(learner.model, near.pixels, known) as states:
            for rows, share in passes:
                part = near.rows(rows)
                logps, _, values = policy(learner.model, part, critic, states, s.temperature)
                loss, moved = METHODS[s.method](part, logps, values, s)
                step.backward(loss * share, moved * (share > 0))
        step.looked = looked
        updates.append(step)
    learner.step += 1
    check_health(learner.model, learner.step, [step.loss for step in updates])
    return figures(learner, batch, episodes, entropy, updates, s)


def figures(
    learner: Learner,
    batch: Batch,
    episodes: Sequence[Episode],
    entropy: float,
    updates: Sequence[Update],
    settings: RLSettings,
) -> dict[str, float]:
    """What one debugs by, over all processes.

    Args:
        entropy: summed over answer tokens; updates: of all epochs.

    Returns:
        share solved (within the budget, at the first try), mean reward of an episode, ``signal``
        (share of problems whose samples differ in reward, the only ones that tell samples
        apart), loss, answers, gradient updates, tokens generated and trained on (a picture
        counts as many tokens as it costs, ``compute.picture_tokens``).
        And signs of health: ``entropy`` of the policy that played (nats per token); in the last
        epoch ``kl`` to it (nats) and ``clipped``, the share outside the clip, of turns (PPO) or
        tokens (GRPO); ``grad_norm`` before it is clipped, the mean over the updates; with PPO
        ``value_loss`` and ``explained_variance`` of the values before the update.
    """
    s, shown = settings, batch.pictures
    cost = picture_tokens(learner.model) if shown else 0
    looked = sum(u.looked for u in updates)
    last: Any = sum((u.moved for u in updates[-(len(updates) // s.epochs) :]), torch.zeros(4))
    kl, clipped, value_error, compared = last.tolist()
    paid = batch.rewards.sum(1).view(-1, s.samples)  # the samples of a problem stand together
    sums = distributed.all_reduce_sums(
        signal=int((paid != paid[:, :1]).any(1).sum()),
        success=sum(e.solved for e in episodes),
        success_first=sum(e.turns[0].verdict.solved for e in episodes),
        reward=float(batch.rewards.sum()),
        loss=sum(u.loss for u in updates),
        answers=int(batch.played.sum()),
        generated=sum(len(t.logps) for e in episodes for t in e.turns) + shown * cost,
        trained=s.epochs * sum(len(e.ids) for e in episodes) + looked * cost,
        kl=kl,
        clipped=clipped,
        entropy=entropy,
        value_loss=value_error,
        compared=compared,
        said=int((batch.turn >= 0).sum()),
    )
    problems = distributed.all_reduce_sums(n=len(paid))["n"]
    of = dict.fromkeys(("success", "success_first", "reward"), problems * s.samples)
    of |= dict.fromkeys(("kl", "clipped", "value_loss"), sums.pop("compared"))
    of |= dict(signal=problems, loss=len(updates), entropy=sums.pop("said"))
    found = sums | {name: sums[name] / n for name, n in of.items()}
    found |= {"updates": len(updates), "grad_norm": sum(u.norm for u in updates) / len(updates)}
    if s.method != "rl-ppo":
        del found["value_loss"]
        return found
    foreseen, came = (
        distributed.all_gather(x[batch.played]) for x in (batch.values, batch.targets)
    )
    return found | {"explained_variance": explained_variance(foreseen, came)}
