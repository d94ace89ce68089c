"""The mathematics of PPO and GRPO, on plain tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
        returns: (B, T) rewards to go; episodes of one problem are adjacent.
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
