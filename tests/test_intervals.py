"""Intervals and tests against published examples, simulation and scipy."""

import numpy as np
import pytest
from scipy.stats import fisher_exact, ttest_1samp

from sftrl_lite.intervals import difference, holm, over_seeds, p_value, power, seed_spread


@pytest.mark.parametrize(
    ("counts", "low", "high"),  # Newcombe 1998, table II, method 10
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((10, 10, 0, 20), 0.6791, 1.0),
    ],
)
def test_difference_is_newcombes(counts, low, high):
    found = difference(*counts)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    other = difference(*counts[2:], *counts[:2])
    assert (other.low, other.high) == pytest.approx((-high, -low), abs=1e-3)


def test_difference_refuses_impossible_counts():
    with pytest.raises(ValueError, match="not a share"):
        difference(5, 4, 1, 4)


def test_the_papers_bars():
    assert p_value(35, 234, 27, 234) == pytest.approx(0.34, abs=0.01)
    assert p_value(8, 234, 27, 234) == fisher_exact([[8, 226], [27, 207]]).pvalue


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_power_agrees_with_simulation():
    rng = np.random.default_rng(0)
    a, b = rng.binomial(400, [[0.1], [0.16]], (2, 4000)) / 400
    z = (b - a) / np.sqrt((a * (1 - a) + b * (1 - b)) / 400)
    assert power(0.1, 0.16, 400) == pytest.approx((abs(z) > 1.96).mean(), abs=0.03)
    assert power(0.2, 0.2, 50) == pytest.approx(0.05)
    assert power(0.0, 1.0, 5) == 1 and power(0.0, 0.0, 5) == 0
    assert power(0.1, 0.16, 100, seeds=4) == power(0.1, 0.16, 400)
    assert power(0.1, 0.16, 10**9, spread=0.03) == pytest.approx(0.29, abs=0.01)  # gap of sqrt 2
    with pytest.raises(ValueError, match="at least one"):
        power(0.1, 0.2, 0)


def test_seed_spread_takes_the_episodes_noise_out():
    rng = np.random.default_rng(0)
    values = rng.binomial(1000, rng.normal(0.3, 0.05, 2000).clip(0, 1)) / 1000
    between, within = seed_spread(values, 1000)
    assert between == pytest.approx(0.05, rel=0.1)
    assert within == pytest.approx(np.sqrt(0.3 * 0.7 / 1000), rel=0.05)
    assert seed_spread([0.3, 0.3, 0.3], 100)[0] == 0
    with pytest.raises(ValueError, match="one seed"):
        seed_spread([0.3], 100)


def test_over_seeds_is_students():
    values = [0.1, 0.2, 0.6]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    found = over_seeds(values)
    assert (found.value, found.n) == (pytest.approx(0.3), 3)
    assert (found.low, found.high) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="one seed"):
        over_seeds([0.1])
