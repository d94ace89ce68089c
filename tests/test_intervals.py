"""Intervals and tests against published examples, simulation and scipy."""

import numpy as np
import pytest
from scipy.stats import fisher_exact, norm, ttest_1samp

from sftrl_lite.results.intervals import (
    contrast,
    difference,
    holm,
    over_seeds,
    p_value,
    paired,
    power,
    seed_spread,
)


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


# --- means over seeds ---------------------------------------------------------------------


def half(found):
    return (found.high - found.low) / 2


def test_without_problems_it_is_students():
    values = [0.1, 0.2, 0.6]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    found = over_seeds(values)
    assert (found.value, found.n) == (pytest.approx(0.3), 3)
    assert half(found) == pytest.approx((high - low) / 2, rel=0.04)
    assert found.p == pytest.approx(ttest_1samp(values, 0).pvalue, rel=0.1)


def test_problems_noise_is_not_counted_twice():
    rng = np.random.default_rng(0)
    shares = rng.binomial(200, rng.normal(0.5, 0.08, 8)) / 200  # hold both sources
    low, high = ttest_1samp(shares, 0).confidence_interval(0.95)
    assert half(over_seeds(shares, [200] * 8)) == pytest.approx((high - low) / 2, rel=0.04)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_seeds_that_agree_by_luck_keep_the_noise_of_their_problems(share):
    noise = np.sqrt(share * (1 - share) / (3 * 400))
    found = over_seeds([share] * 3, [400] * 3)
    assert half(found) == pytest.approx(norm.ppf(0.975) * noise, rel=0.04)
    apart = paired([share + 0.2] * 3, [share + 0.2] * 3, [400] * 3, [400] * 3)
    assert apart.p == 1 and half(apart) > 0.02


def test_what_seeds_share_cancels_in_a_difference():
    one, two = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.3, 0.5, 0.7, 0.9])
    gap = paired(two, one, [2000] * 4, [2000] * 4)
    assert gap.value == pytest.approx(0.1) and half(gap) < 0.03 and gap.p < 0.001
    assert half(over_seeds(one, [2000] * 4)) > 0.3


def test_shares_stay_between_0_and_1():
    found = over_seeds([1.0] * 5, [1000] * 5)
    assert 0.999 < found.low < 1 == found.high
    assert over_seeds([0.0, 0.0, 0.9], [10] * 3).low == 0
    assert paired([1.0, 1.0, 0.1], [0.0, 0.0, 0.0], [10] * 3, [10] * 3).high == 1


def test_p_value_and_interval_agree():
    rng = np.random.default_rng(1)
    for _ in range(50):
        one, two = rng.binomial(300, rng.normal([[0.5], [0.53]], 0.02, (2, 6))) / 300
        gap = paired(two, one, [300] * 6, [300] * 6)
        assert (gap.p < 0.05) == (gap.low > 0 or gap.high < 0)
        assert contrast(np.array([two, one]), np.full((2, 6), 300), (1, -1), gap.low).p == (
            pytest.approx(0.05)
        )


def test_growth_is_a_sum_of_four():
    ends, starts = np.array([[0.5, 0.6, 0.55], [0.4, 0.41, 0.45]]), np.full((2, 3), 0.3)
    found = contrast(np.vstack([ends, starts]), np.full((4, 3), 500), (1, -1, -1, 1))
    assert found.value == pytest.approx((ends[0] - ends[1]).mean())
    level = [[0.5] * 3] * 4  # of seeds that agree by luck only the problems' noise is left
    two, four = (contrast(level[:k], np.full((k, 3), 500), [1, -1] * (k // 2)) for k in (2, 4))
    assert half(four) == pytest.approx(np.sqrt(2) * half(two), rel=0.04)


def test_the_same_data_give_the_same_interval():
    assert over_seeds([0.4, 0.5], [9, 9]) == over_seeds([0.4, 0.5], [9, 9])
    with pytest.raises(ValueError, match="one seed"):
        over_seeds([0.1], [100])


@pytest.mark.parametrize("seeds", [5, 8])
@pytest.mark.parametrize(("spread", "n"), [(0.0, 200), (0.02, 1000), (0.04, 500), (0.08, 200)])
def test_intervals_cover_what_they_promise(seeds, spread, n):
    """Seeds' true shares drawn around a mean, their problems binomial; nominal 95 %."""
    rng, counts = np.random.default_rng(0), np.full((2, seeds), n)
    means, looks = np.array([[0.5], [0.42]]), 600
    hits = np.zeros(2)
    for _ in range(looks):
        shares = rng.binomial(n, rng.normal(means, spread, (2, seeds)).clip(0, 1)) / n
        mean = contrast(shares[:1], counts[:1], [1.0], draws=100)
        gap = contrast(shares, counts, [1.0, -1.0], draws=100)
        hits += [mean.low <= 0.5 <= mean.high, gap.low <= 0.08 <= gap.high]
    assert (hits / looks >= 0.92).all() and (hits / looks <= 0.985).all()
