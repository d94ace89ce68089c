"""Reinforcement learning on verified episodes: PPO with a value head, and GRPO.

Both methods see the same thing: a batch of episodes (``rollouts.rollout``), each a chat
with T turns, and a reward r_t for each turn. Notation: B episodes, L tokens, T turns.

    policy       pi(answer_t | prompt, earlier answers and messages)
    objective    E[ sum_t gamma^(t-1) r_t ]
    gradient     E[ sum_t A_t * grad log pi(answer_t | ...) ]

They differ in the baseline inside the advantage A_t: PPO learns it (a value head on
the last prompt token of each turn), GRPO takes the mean of the group of samples of the
same problem. The rest, ratio and clip, is shared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from sftrl_lite import adapters, distributed
from sftrl_lite.compute import picture_tokens
from sftrl_lite.models import Processor
from sftrl_lite.precision import checkpoint_layers, checkpointed, hardware, in_float32, mixed
from sftrl_lite.rollouts import ROOMS, Episode, rollout
from sftrl_lite.scales import RLSettings, stream
from sftrl_lite.verifier import Verdict
from sftrl_lite.vision import Pixels, encode, eyes, look, tokenizer_of

# --- the mathematics, on plain tensors -------------------------------------------------


def gae(
    rewards: Sequence[float], values: Sequence[float], gamma: float, lam: float
) -> tuple[list[float], list[float]]:
    """Generalised advantage estimation over the turns of one finished episode.

        delta_t = r_t + gamma V_{t+1} - V_t        (V = 0 after the last turn)
        A_t     = delta_t + gamma lam A_{t+1}

    Args:
        rewards, values: T numbers each.

    Returns:
        advantages A_t and value targets A_t + V_t, T numbers each.

    Source: Schulman et al. 2016, equations 11 to 16. An episode ends when it is solved
    or its tries are used up, and nothing leaks over that border.
    """
    advantages = [0.0] * len(rewards)
    ahead = next_value = 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_value - values[t]
        ahead = advantages[t] = delta + gamma * lam * ahead
        next_value = values[t]
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def rewards_to_go(rewards: Sequence[float], gamma: float) -> list[float]:
    """R_t = r_t + gamma R_{t+1}: what came after (and with) turn t."""
    totals, ahead = [], 0.0
    for reward in reversed(rewards):
        ahead = reward + gamma * ahead
        totals.append(ahead)
    return totals[::-1]


def group_advantages(returns: Tensor, played: Tensor, group: int, scale: bool = False) -> Tensor:
    """GRPO's baseline: each return minus the mean of its group at the same turn.

    Args:
        returns: (B, T) rewards to go; episodes of one problem stand together.
        played: (B, T) bool, whether that turn took place.
        group: samples per problem; B is a multiple of it.
        scale: also divide by the group's standard deviation (Shao et al. 2024,
            equation 2). Off by default: it overweights hands that are nearly always
            or nearly never solved (Liu et al. 2025).

    Returns:
        (B, T); zero where a group has one sample at that turn or no variance.
    """
    shape = (-1, group, returns.shape[1])
    r, m = returns.reshape(shape), played.reshape(shape).to(returns.dtype)
    count = m.sum(1, keepdim=True).clamp(min=1)
    centred = (r - (r * m).sum(1, keepdim=True) / count) * m
    if scale:
        deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
        centred = centred / (deviation + 1e-4)
    return centred.reshape(returns.shape)


def clipped_objective(logp: Tensor, old_logp: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's surrogate, elementwise; to be maximised.

        ratio = pi_new / pi_old,   min(ratio * A, clip(ratio, 1-eps, 1+eps) * A)

    The gradient vanishes once the ratio has left the interval in the direction that
    the advantage asked for. Source: Schulman et al. 2017, equation 7.
    """
    ratio = (logp - old_logp).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def kl_estimates(logp: Tensor, ref_logp: Tensor) -> dict[str, Tensor]:
    """Three estimates of KL(pi || ref) from samples of pi, elementwise.

    With r = ref/pi: k1 = -log r is unbiased but noisy, k2 = (log r)^2 / 2 is biased
    and calm, k3 = r - 1 - log r is unbiased and never negative (Schulman 2020).
    """
    log_r = ref_logp - logp
    return {"k1": -log_r, "k2": log_r.square() / 2, "k3": log_r.expm1() - log_r}


@torch.no_grad()
def departure(
    new: Tensor, old: Tensor, real: Tensor, clip: float, value_error: Tensor | None = None
) -> Tensor:
    """How far an update has gone from the policy that played, in sums over ``real`` elements.

    Args:
        new, old: log-probabilities of a turn or a token under the two, of one shape.
        value_error: squared errors of the values, of the same shape.

    Returns:
        (4,): KL(old || new) by k3 in nats, how many ratios lie outside the clip, the squared
        errors, and the number of elements.
    """
    kl = kl_estimates(old, new)["k3"][real].sum()
    outside = (((new - old).exp() - 1).abs() > clip)[real].sum()
    error = kl.new_zeros(()) if value_error is None else value_error[real].sum()
    return torch.stack([kl, outside.to(kl), error, real.sum().to(kl)])


def explained_variance(values: Tensor, targets: Tensor) -> float:
    """1 - Var(target - value) / Var(target): 1 where values foresee everything, 0 where a constant
    would do as well (or nothing varies), negative where it would do better. Both (N,).
    """
    spread = targets.var(correction=0)
    return float(1 - (targets - values).var(correction=0) / spread) if spread > 0 else 0.0


# --- from episodes to tensors ----------------------------------------------------------


@dataclass
class Batch:
    """Episodes as tensors; answers are what the policy is trained on."""

    ids: Tensor  # (B, L) tokens, right-padded
    turn: Tensor  # (B, L) turn whose answer this token belongs to, -1 elsewhere
    ask: Tensor  # (B, T) position of the last token before each answer
    old_logps: Tensor  # (B, L) log-probability when sampled, 0 elsewhere
    rewards: Tensor  # (B, T)
    played: Tensor  # (B, T) bool
    answers: Tensor  # (N,) where answer tokens stand among the B x (L - 1) predicted ones
    values: Tensor  # (B, T) what the value head foresaw, and
    advantages: Tensor  # (B, T), and
    targets: Tensor  # (B, T) of the values: 0 until they are computed
    pixels: Pixels | None = None  # the P different pictures
    picture: Tensor | None = None  # (B,) which of them an episode shows

    @property
    def pictures(self) -> int:
        """P: how many pictures there are, 0 in text."""
        return 0 if self.pixels is None else len(self.pixels["pixel_values"])

    def rows(self, index: Tensor) -> Batch:
        """These episodes only, without columns and turns that none of them needs."""
        turns = max(int(self.played[index].sum(1).max()), 1)
        width = int((self.turn[index] >= 0).any(0).nonzero().max()) + 1
        return Batch(
            self.ids[index, :width],
            self.turn[index, :width],
            self.ask[index, :turns],
            self.old_logps[index, :width],
            self.rewards[index, :turns],
            self.played[index, :turns],
            places(self.turn[index, :width]),
            self.values[index, :turns],
            self.advantages[index, :turns],
            self.targets[index, :turns],
            self.pixels,
            None if self.picture is None else self.picture[index],
        )

    def looking(self, index: Tensor) -> Batch:
        """All episodes with the pictures of these alone; the others show the first of them."""
        index = index.to(self.picture.device)
        shown, place = self.picture[index].unique(return_inverse=True)
        pixels = {name: tensor[shown] for name, tensor in self.pixels.items()}
        picture = torch.zeros_like(self.picture).index_copy(0, index, place)
        return replace(self, pixels=pixels, picture=picture)


def places(turn: Tensor) -> Tensor:
    """Where answer tokens (``turn`` >= 0) stand among the tokens that are predicted, flat: (N,)."""
    return (turn[:, 1:] >= 0).flatten().nonzero()[:, 0]  # token 0 is never predicted


def pack(episodes: Sequence[Episode], pad: int, device: torch.device | str = "cpu") -> Batch:
    """Episodes to a right-padded ``Batch`` (causal attention never sees the padding)."""
    rows, turns = len(episodes), max(len(e.turns) for e in episodes)
    width = max(len(e.ids) for e in episodes)
    ids = torch.full((rows, width), pad)
    turn = torch.full((rows, width), -1)
    ask = torch.zeros((rows, turns), dtype=torch.long)
    old_logps, rewards = torch.zeros((rows, width)), torch.zeros((rows, turns))
    played = torch.zeros((rows, turns), dtype=torch.bool)
    for i, episode in enumerate(episodes):
        ids[i, : len(episode.ids)] = torch.tensor(episode.ids)
        for t, one in enumerate(episode.turns):
            turn[i, one.start : one.end] = t
            old_logps[i, one.start : one.end] = torch.tensor(one.logps)
            ask[i, t], rewards[i, t], played[i, t] = one.start - 1, one.reward, True
    later = (torch.zeros_like(rewards) for _ in range(3))
    tensors = (ids, turn, ask, old_logps, rewards, played, places(turn), *later)
    batch = Batch(*(tensor.to(device) for tensor in tensors))
    if episodes[0].pixels is not None:
        shown = {id(e.pixels): e.pixels for e in episodes}  # samples of a problem share theirs
        names, number = episodes[0].pixels, {key: i for i, key in enumerate(shown)}
        batch.pixels = {n: torch.cat([p[n] for p in shown.values()]).to(device) for n in names}
        batch.picture = torch.tensor([number[id(e.pixels)] for e in episodes], device=device)
    return batch


class ValueHead(nn.Module):
    """V(prompt and history): an MLP on the last hidden state before an answer.

    The paper's is 4096-1024-512-1 on the same trunk; ours shrinks with the model.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden, hidden // 4),
            nn.ReLU(),
            nn.Linear(hidden // 4, hidden // 8),
            nn.ReLU(),
            nn.Linear(hidden // 8, 1),
        )

    def forward(self, states: Tensor) -> Tensor:
        """(..., hidden) -> (...)"""
        with torch.autocast(states.device.type, enabled=False):  # in float32, always
            return self.layers(states.float()).squeeze(-1)


TILE = 2**27  # logits in one piece, 512 MiB of them in float32


def log_probabilities(
    head: nn.Module, states: Tensor, words: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log softmax(head(state) / temperature)[word] and, without gradient, the entropy.

    Args:
        states: (N, hidden) final hidden states; words: (N,) the tokens that follow them.

    Returns:
        (N,) each. Many tokens go through in pieces of ``TILE`` logits, and none is kept: backward
        computes a piece again.
    """

    def piece(states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        logps = (head(states).float() / temperature).log_softmax(-1)
        with torch.no_grad():
            entropy = -(logps.exp() * logps).sum(-1)
        return logps.gather(-1, words[:, None])[:, 0], entropy

    rows = max(TILE // head.weight.shape[0], 1)
    if len(words) <= rows:
        return piece(states, words)
    cut = zip(states.split(rows), words.split(rows), strict=True)
    found = [checkpoint(piece, *both, use_reentrant=False) for both in cut]
    logps, entropies = zip(*found, strict=True)
    return torch.cat(logps), torch.cat(entropies)


@mixed
def policy(
    model: PreTrainedModel,
    batch: Batch,
    value_head: ValueHead | None = None,
    views: Tensor | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One forward pass over whole episodes; logits are made for the answers only.

    Args:
        temperature: that of sampling; the policy is softmax(logits / temperature) throughout, so
            that ratio, gradient, KL and entropy are about what was sampled.
        views: (P, V, hidden) states of the batch's pictures, encoded here if not given.

    Returns:
        log-probabilities (B, L) of the answer tokens (0 elsewhere), their entropies
        (B, L) without gradient, and values (B, T) if there is a head.
    """
    seen = {"input_ids": batch.ids}
    if batch.pixels is not None:
        views = encode(model, batch.pixels) if views is None else views
        seen = look(model, batch.ids, views, batch.pixels, batch.picture)
    states = model.model(use_cache=False, **seen).last_hidden_state
    at = batch.answers
    before, words = states[:, :-1].flatten(0, 1)[at], batch.ids[:, 1:].flatten()[at]
    found = log_probabilities(model.lm_head, before, words, temperature)
    blank = found[0].new_zeros(batch.ids[:, 1:].numel())
    logps, entropy = (blank.index_copy(0, at, part).view(len(batch.ids), -1) for part in found)
    values = None
    if value_head is not None:
        asked = batch.ask[..., None].expand(-1, -1, states.shape[-1])
        values = value_head(states.gather(1, asked))
    pad = (1, 0)  # token 0 is never predicted
    return nn.functional.pad(logps, pad), nn.functional.pad(entropy, pad), values


def per_turn(batch: Batch, tokens: Tensor) -> Tensor:
    """Sum a quantity of answer tokens (B, L) over each turn: (B, T)."""
    turns = torch.zeros_like(batch.rewards)
    return turns.scatter_add(1, batch.turn.clamp(min=0), tokens * (batch.turn >= 0))


def per_token(batch: Batch, turns: Tensor) -> Tensor:
    """Give each answer token (B, L) what its turn (B, T) has."""
    return turns.gather(1, batch.turn.clamp(min=0))


def ppo_targets(batch: Batch, values: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages, normalised over the batch, and value targets; both (B, T)."""
    advantages, targets = torch.zeros_like(values), torch.zeros_like(values)
    for i, turns in enumerate(batch.played.sum(1).tolist()):
        a, target = gae(batch.rewards[i, :turns].tolist(), values[i, :turns].tolist(), gamma, lam)
        advantages[i, :turns], targets[i, :turns] = torch.tensor(a), torch.tensor(target)
    real = distributed.gathered(advantages[batch.played])
    advantages = (advantages - real.mean()) / (real.std(correction=0) + 1e-5) * batch.played
    return advantages, targets


def ppo_loss(
    new: Tensor,
    old: Tensor,
    values: Tensor,
    advantages: Tensor,
    targets: Tensor,
    played: Tensor,
    clip: float,
    value_coef: float,
) -> Tensor:
    """PPO as in the paper: one ratio per turn (the whole answer is the action).

        L = -mean_t min(ratio_t A_t, clip(ratio_t) A_t) + c_v * mean_t (V_t - target_t)^2

    Args:
        new, old: log-probabilities of the answers, now and when they were sampled.
        played: bool, whether a turn took place; the means are over those that did.

    All tensors are (B, T). Source: Schulman et al. 2017, equation 9; the paper's code has clip
    0.1 and c_v 0.5.
    """
    gain = clipped_objective(new, old, advantages, clip)
    return (value_coef * (values - targets).square() - gain)[played].mean()


def grpo_loss(new: Tensor, old: Tensor, advantages: Tensor, answer: Tensor, clip: float) -> Tensor:
    """GRPO without a reference model: one ratio per token, with the advantage of its turn.

        L = -mean over answer tokens of min(ratio A, clip(ratio) A)

    The mean runs over all answer tokens of the batch at once, so a token weighs the
    same in a long answer as in a short one (Yu et al. 2025, section 3.3).

    Args:
        new, old: log-probabilities of the tokens, now and when they were sampled.
        answer: bool, whether a token belongs to an answer.

    All tensors are (B, L).
    """
    return -clipped_objective(new, old, advantages, clip)[answer].mean()


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


METHODS = {"rl-ppo": ppo, "rl-grpo": grpo}

# --- one step of training --------------------------------------------------------------

PART = 16  # episodes in one forward pass: bounds memory, and little padding when sorted
TOKENS = 2**14  # in one forward pass, however long an answer that never ends has become


def parts(batch: Batch, rows: Tensor) -> tuple[Tensor, ...]:
    """``rows`` in groups of episodes of similar length: at most ``PART``, and ``TOKENS`` in all."""
    last = (batch.turn >= 0).cumsum(1).argmax(1).cpu()  # position of the last answer token
    rows = rows[last[rows].argsort(stable=True)]
    sizes, start = [], 0
    for i, width in enumerate((last[rows] + 1).tolist()):
        if i - start == PART or (i > start and (i + 1 - start) * width > TOKENS):
            sizes.append(i - start)
            start = i
    return rows.split([*sizes, len(rows) - start]) if len(rows) else ()


@dataclass
class Learner:
    """Everything that changes while training, and nothing else."""

    model: PreTrainedModel
    value_head: ValueHead
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # keeps float16's gradients in range; elsewhere does nothing
    player: PreTrainedModel  # the model itself, or a whole copy of one split over processes
    step: int = 0

    @property
    def seeing(self) -> bool:
        """Whether what sees is trained as well."""
        return any(w.requires_grad for part in eyes(self.model) for w in part.parameters())

    def critic(self, settings: RLSettings) -> ValueHead | None:
        """The value head, for a method that has one."""
        return self.value_head if settings.method == "rl-ppo" else None


def new_learner(model: PreTrainedModel, settings: RLSettings, seed: int) -> Learner:
    """A fresh value head and optimizer around ``model``."""
    player = distributed.player_of(model)
    in_float32(model)
    if hardware().gpu:
        checkpoint_layers(model)
    distributed.shard(model)
    torch.manual_seed(seed)
    head = ValueHead(model.config.get_text_config().hidden_size).to(model.device)
    policy_weights = [w for w in model.parameters() if w.requires_grad]
    groups = [
        {"params": policy_weights, "lr": settings.lr},
        {"params": list(head.parameters()), "lr": settings.value_lr},
    ]
    scaler = torch.amp.GradScaler(model.device.type, enabled=hardware().format == torch.float16)
    return Learner(model, head, torch.optim.Adam(groups, eps=1e-7), scaler, player)


def play(
    learner: Learner,
    processor: Processor,
    task: Any,
    problems: Sequence[Any],
    settings: RLSettings,
    rng: random.Random,
    reward: Callable[[Verdict], float] | None = None,
    engine: Any = None,
) -> list[Episode]:
    """Episodes of some problems, sampled from the policy; each process plays its own problems."""
    s, generator = settings, torch.Generator(learner.model.device)
    generator.manual_seed(rng.getrandbits(60))
    chosen = rng.sample(list(problems), min(s.problems, len(problems)))
    player = distributed.refresh(learner.player, learner.model)
    if engine is not None:
        engine.load(player)
    with adapters.merged(player) if engine is None else nullcontext():
        episodes = rollout(
            player,
            processor,
            task,
            distributed.share(chosen),
            samples=s.samples,
            tries=s.tries,
            temperature=s.temperature,
            max_new_tokens=s.max_new_tokens,
            generator=generator,
            reward=reward,
            together=s.together,
            engine=engine,
        )
    ROOMS.pop(player, None)  # the memory of its cache is the update's now
    return episodes


@torch.no_grad()
def look_back(learner: Learner, batch: Batch, settings: RLSettings) -> tuple[float, Tensor | None]:
    """What the policy that played thinks of its episodes, from passes like those of the update.

    Fills in ``old_logps`` and, with a value head, ``values``.

    Returns:
        entropy summed over the answer tokens, in nats, and the states of the pictures, if any.
    """
    views = None if batch.pixels is None else encode(learner.model, batch.pixels)
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
    """The batch with its advantages: PPO's by GAE, with targets for the values, or GRPO's."""
    s = settings
    if s.method == "rl-ppo":
        advantages, targets = ppo_targets(batch, batch.values, s.gamma, s.lam)
        return replace(batch, advantages=advantages, targets=targets)
    returns = torch.tensor([rewards_to_go(row, s.gamma) for row in batch.rewards.tolist()])
    advantages = group_advantages(returns, batch.played.cpu(), s.samples)
    return replace(batch, advantages=advantages.to(batch.ids.device))


def minibatches(
    learner: Learner, batch: Batch, settings: RLSettings, rng: random.Random
) -> Iterator[tuple[Batch, int, list[tuple[Tensor, float]]]]:
    """``epochs`` times the episodes in a new order, cut into minibatches.

    Yields:
        the batch, with the pictures of this minibatch alone where the tower is trained; how many
        pictures are looked at; and the rows of each pass with its share of the loss. Passes
        differ in size: weighted like this, their means add up to the minibatch's mean, over all
        processes.
    """
    units = batch.played if settings.method == "rl-ppo" else batch.turn >= 0
    mine = len(batch.ids)
    first, count = distributed.place(mine)  # ours are numbers first, first + 1, ...
    few = learner.seeing and distributed.totals(n=batch.pictures)["n"] > settings.minibatch
    for _ in range(settings.epochs):
        order = torch.tensor(rng.sample(range(count), count))
        for rows in order.split(settings.minibatch):
            rows = rows[(rows >= first) & (rows < first + mine)] - first
            near = batch.looking(rows) if few and len(rows) else batch
            looked = near.pictures if len(rows) or not few else 0
            of = distributed.total(units[rows].sum())
            passes = distributed.in_step(parts(batch, rows))
            yield near, looked, [(part, w * units[part].sum() / of) for part, w in passes]


@dataclass
class Update:
    """One gradient step: its loss, the norm of its gradient, how far the policy had moved."""

    scaler: torch.amp.GradScaler
    loss: float = 0.0
    norm: float = 0.0
    moved: Tensor | float = 0.0  # (4,) sums of ``departure``
    looked: int = 0  # at pictures

    def backward(self, loss: Tensor, moved: Tensor) -> None:
        """Add the gradient of a part, and what the part tells."""
        self.scaler.scale(loss).backward()
        self.loss += loss.item()
        self.moved = self.moved + moved.cpu()


@contextmanager
def update(learner: Learner, settings: RLSettings) -> Iterator[Update]:
    """One gradient step, out of the passes that are made inside.

    Clipped is the norm of the policy's gradient. The value head, a small network of its own
    with its own rate, is left out: its errors, of a size with the rewards, would
    decide how far the policy may move.
    """
    step = Update(learner.scaler)
    yield step
    distributed.add_gradients([*learner.model.parameters(), *learner.value_head.parameters()])
    learner.scaler.unscale_(learner.optimizer)
    norm = nn.utils.clip_grad_norm_(learner.model.parameters(), settings.max_grad_norm)
    step.norm = float(distributed.whole_tensor(norm))
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)


@contextmanager
def encoded(
    model: PreTrainedModel, pixels: Pixels | None, views: Tensor | None
) -> Iterator[Tensor | None]:
    """States of pictures, encoded once for all passes that are made inside.

    The passes add up their gradients at the states; from there they go on into the tower, once.

    Args:
        views: the states, if they are known and the tower stays as it is; then nothing is encoded.
    """
    if pixels is None or views is not None:
        yield views
        return
    views = encode(model, pixels)
    shared = views.detach().requires_grad_(views.requires_grad)
    yield shared
    if shared.grad is not None:
        views.backward(shared.grad)


def rl_step(
    learner: Learner,
    processor: Processor,
    task: Any,
    problems: Sequence[Any],
    settings: RLSettings,
    seed: int,
    reward: Callable[[Verdict], float] | None = None,
    engine: Any = None,
) -> dict[str, float]:
    """Sample episodes, compute advantages, take the clipped gradient steps.

    All chance comes from ``(seed, learner.step)``, so a run that was killed and resumed
    draws the same problems and answers. Several processes deal the problems out and end with
    the same weights as one (``distributed``). An ``engine`` (``engine.Engine``) gets the weights
    before it plays.

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
        And signs of health: ``entropy`` of the policy that played (nats a token); in the last
        epoch ``kl`` to it (nats) and ``clipped``, the share outside the clip, of turns (PPO) or
        tokens (GRPO); ``grad_norm`` before it is clipped, the mean over the updates; with PPO
        ``value_loss`` and ``explained_variance`` of the values before the update.
    """
    s, shown = settings, batch.pictures
    cost = picture_tokens(learner.model) if shown else 0
    looked = sum(u.looked for u in updates)
    last = sum((u.moved for u in updates[-(len(updates) // s.epochs) :]), torch.zeros(4))
    kl, clipped, value_error, compared = last.tolist()
    paid = batch.rewards.sum(1).view(-1, s.samples)  # the samples of a problem stand together
    sums = distributed.totals(
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
    problems = distributed.totals(n=len(paid))["n"]
    of = dict.fromkeys(("success", "success_first", "reward"), problems * s.samples)
    of |= dict.fromkeys(("kl", "clipped", "value_loss"), sums.pop("compared"))
    of |= dict(signal=problems, loss=len(updates), entropy=sums.pop("said"))
    found = sums | {name: sums[name] / n for name, n in of.items()}
    found |= {"updates": len(updates), "grad_norm": sum(u.norm for u in updates) / len(updates)}
    if s.method != "rl-ppo":
        del found["value_loss"]
        return found
    foreseen, came = (distributed.gathered(x[batch.played]) for x in (batch.values, batch.targets))
    return found | {"explained_variance": explained_variance(foreseen, came)}
