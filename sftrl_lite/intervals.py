"""How sure one can be: a share, two shares compared, several seeds, many looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, fisher_exact, norm
from scipy.stats import t as student


@dataclass(frozen=True)
class Estimate:
    """A measured value, the number of observations, a 95 % interval."""

    value: float
    n: int
    low: float
    high: float


def wilson(successes: int, n: int) -> Estimate:
    """A share with its Wilson score interval (Wilson 1927).

    Raises:
        ValueError: n is 0 or successes are outside 0..n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is not a share")
    low, high = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return Estimate(successes / n, n, float(low), float(high))


def mean_interval(values: Sequence[float]) -> Estimate:
    """A mean with its normal 95 % interval; the interval of one value is that value."""
    n, mean = len(values), sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / max(n - 1, 1)
    half = float(norm.ppf(0.975)) * math.sqrt(variance / n)
    return Estimate(mean, n, mean - half, mean + half)


def difference(k1: int, n1: int, k2: int, n2: int) -> Estimate:
    """Share k1/n1 minus share k2/n2 with a 95 % interval; ``n`` is the smaller of the two.

    Newcombe 1998, method 10: each end combines the Wilson intervals of both shares.

    Raises:
        ValueError: a count is not within its number of observations.
    """
    one, two = wilson(k1, n1), wilson(k2, n2)
    gap = one.value - two.value
    down = math.hypot(one.value - one.low, two.high - two.value)
    up = math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(gap, min(n1, n2), gap - down, gap + up)


def p_value(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p of equal shares, by Fisher's exact test."""
    return float(fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several: each is the chance of *any* false alarm.

    Holm 1979: the smallest times m, the next times m - 1, ..., never falling.
    """
    m, largest, corrected = len(p_values), 0.0, [0.0] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def power(
    p1: float, p2: float, n: int, alpha: float = 0.05, seeds: int = 1, spread: float = 0.0
) -> float:
    """Chance to tell share p1 from p2 at level ``alpha`` (normal approximation).

    Args:
        n: episodes a side and seed.
        seeds: independent trainings a side.
        spread: standard deviation of the true share from seed to seed.

    Raises:
        ValueError: a share outside 0..1, no episode, no seed, or a negative spread.
    """
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1 and min(n, seeds) >= 1 and spread >= 0):
        raise ValueError(f"shares {p1} and {p2}, {n} episodes: need 0..1 and at least one episode")
    noise = math.sqrt(((p1 * (1 - p1) + p2 * (1 - p2)) / n + 2 * spread**2) / seeds)
    if noise == 0:
        return float(p1 != p2)
    z = norm.ppf(1 - alpha / 2)
    gap = abs(p1 - p2) / noise
    return float(norm.sf(z - gap) + norm.cdf(-z - gap))


def seed_spread(values: Sequence[float], n: int) -> tuple[float, float]:
    """Two sources of noise in one method's shares: between seeds, and from episodes.

    Args:
        values: one share a seed, each from n episodes.

    Returns:
        standard deviations; what the seeds differ by is what is left of their variance after
        the episodes' p (1 - p) / n, at least 0.

    Raises:
        ValueError: fewer than two seeds.
    """
    if len(values) < 2:
        raise ValueError("one seed says nothing about the next one")
    shares = np.asarray(values, float)
    episodes = float((shares * (1 - shares)).mean() / n)
    return math.sqrt(max(shares.var(ddof=1) - episodes, 0.0)), math.sqrt(episodes)


def student_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a few independent values."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean of one value a seed with Student's 95 % interval; both sources of noise are in it.

    Raises:
        ValueError: fewer than two seeds.
    """
    if len(values) < 2:
        raise ValueError("one seed has no interval over seeds")
    x = np.asarray(values, float)
    low, high = student_interval(x)
    return Estimate(float(x.mean()), len(x), float(low), float(high))
