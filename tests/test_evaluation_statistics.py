"""Intervals and p-values against SciPy, NumPy and closed forms."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from resharp.evaluation.statistics import paired_difference, summary


def drawn(n: int, seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return (28 + 3 * torch.randn(n, generator=generator, dtype=torch.float64).exp()).tolist()


@pytest.mark.parametrize("n", [2, 5, 24, 300])
def test_mean_median_and_spread_are_numpys(n: int) -> None:
    values = drawn(n, seed=n)
    found = summary(values)
    assert (found.n, found.mean) == (n, pytest.approx(np.mean(values), rel=1e-14))
    assert found.median == pytest.approx(np.median(values), rel=1e-14)
    assert found.spread == pytest.approx(np.std(values, ddof=1), rel=1e-12)


@pytest.mark.parametrize("n", [5, 24, 300])
def test_the_interval_is_scipys_percentile_bootstrap(n: int) -> None:
    """Both draw 10,000 times; the ends of either lie within about 0.03 standard errors of the truth."""
    values = drawn(n, seed=n)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=1)
    found, error = summary(values), float(theirs.standard_error)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.15 * error)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.15 * error)


def test_the_interval_of_coin_flips_is_that_of_the_binomial() -> None:
    """Means of figures drawn from 30 zeros and 10 ones are binomial counts."""
    found = summary([0.0] * 30 + [1.0] * 10)
    ends = scipy.stats.binom(40, 0.25).ppf([0.025, 0.975]) / 40
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-12)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(3)
    sets = torch.randn(200, 40, generator=generator, dtype=torch.float64)
    held = sum(found.low <= 0 <= found.high for found in (summary(one.tolist()) for one in sets))
    assert 0.90 <= held / 200 <= 0.985


def test_the_same_figures_give_the_same_interval() -> None:
    assert summary(drawn(50, 1)) == summary(drawn(50, 1))


def test_one_figure_has_no_interval_and_none_have_no_mean() -> None:
    one, none = summary([31.5]), summary([])
    assert (one.mean, one.median, one.n) == (31.5, 31.5, 1)
    assert all(map(math.isnan, (one.low, one.high, one.spread, none.mean, none.median, none.low, none.high)))


def test_an_infinite_figure_is_not_averaged_away() -> None:
    found = summary([30.0, 31.0, math.inf])
    assert (found.mean, found.median, found.high) == (math.inf, 31.0, math.inf)
    assert math.isfinite(found.low)


def test_a_figure_that_is_no_number_leaves_no_number() -> None:
    found = summary([30.0, math.nan, 31.0])
    assert all(map(math.isnan, (found.mean, found.low, found.high)))


@pytest.mark.parametrize("n", [2, 5, 9, 13])
def test_small_sets_have_the_exact_p_value_of_scipy(n: int) -> None:
    ours, theirs = drawn(n, seed=7), drawn(n, seed=8)
    oracle = scipy.stats.permutation_test(
        (ours, theirs),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**n,
    )
    assert paired_difference(ours, theirs).p_value == pytest.approx(oracle.pvalue, abs=1e-12)


def test_large_sets_have_about_the_p_value_of_the_t_test() -> None:
    """For normal differences both test the same, and 10,000 draws are 0.005 from the exact p-value."""
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randn(400, generator=generator, dtype=torch.float64)
    for lift in (0.0, 0.08, 0.12):
        ours = theirs + lift + torch.randn(400, generator=generator, dtype=torch.float64)
        oracle = scipy.stats.ttest_rel(ours.numpy(), theirs.numpy()).pvalue
        assert paired_difference(ours.tolist(), theirs.tolist()).p_value == pytest.approx(oracle, abs=0.02)


def test_a_difference_is_counted_picture_by_picture() -> None:
    found = paired_difference([3.0, 1.0, math.inf, 5.0], [2.0, 2.0, math.inf, 1.0])
    assert (found.n_higher, found.n_lower, found.n_equal) == (2, 1, 1)
    assert found.summary.mean == 1.0


def test_equal_figures_do_not_differ() -> None:
    found = paired_difference([1.0] * 40, [1.0] * 40)
    assert (found.summary.mean, found.summary.low, found.summary.high, found.p_value) == (0, 0, 0, 1)


def test_a_difference_without_end_has_no_p_value() -> None:
    found = paired_difference([math.inf, 2.0], [1.0, 1.0])
    assert found.summary.mean == math.inf
    assert math.isnan(found.p_value)


def test_one_picture_shows_no_difference() -> None:
    found = paired_difference([31.0], [30.0])
    assert (found.summary.mean, found.p_value) == (1.0, 1.0)
