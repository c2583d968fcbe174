"""What the figures of many pictures say together, and what those of two results on the same pictures say apart.

Intervals are percentile bootstraps of the mean (Efron 1979), p-values come from flipping the signs of paired
differences (Fisher 1935).  Both take the pictures as independent; frames of one video are not, and their true
intervals are wider.  Random numbers are seeded: the same figures give the same interval.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

N_DRAWS = 10_000  # resamples, or flips: 0.03 standard errors at the ends of a 95 % interval
_EXACT = 13  # pictures; up to here there are fewer sign patterns than draws
_BLOCK = 1 << 22  # numbers in memory at once


@dataclass(frozen=True)
class Summary:
    """n figures: mean, median, spread (their standard deviation), and a 95 % interval of the mean.

    A single figure has no spread and no interval, and no figures have no mean: NaN.
    """

    n: int
    mean: float
    median: float
    spread: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """How much higher some figures are than others of the same pictures.

    summary: of the differences, one a picture;  p_value: how often signs drawn at random give a mean at least as far
    from 0 (two-sided);  n_higher, n_lower, n_equal: pictures.
    """

    summary: Summary
    p_value: float
    n_higher: int
    n_lower: int
    n_equal: int


def summary(values: Sequence[float]) -> Summary:
    """Mean, median, spread, and the 95 % bootstrap interval of the mean.

    A value may be infinite, such as the PSNR of two equal pictures; the mean then is, too.
    """
    figures = torch.tensor(values, dtype=torch.float64)
    n = len(figures)
    if n == 0:
        return Summary(0, *[math.nan] * 5)
    mean, median = float(figures.mean()), float(np.median(figures.numpy()))
    if n == 1:
        return Summary(1, mean, median, math.nan, math.nan, math.nan)
    low, high = _interval(figures, torch.Generator().manual_seed(0))
    return Summary(n, mean, median, float(figures.std()), low, high)


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> PairedDifference:
    """`values` less `reference`, picture by picture; equal figures, also infinite ones, differ by 0.

    The p-value is exact for up to 13 pictures, which cannot show a difference at all when they are fewer than 6
    (2 / 2^5 > 0.05); beyond, it is from 10,000 draws and so not below 0.0001.
    """
    assert len(values) == len(reference), (len(values), len(reference))
    ours, theirs = (torch.tensor(figures, dtype=torch.float64) for figures in (values, reference))
    differences = torch.where(ours == theirs, torch.zeros_like(ours), ours - theirs)
    return PairedDifference(
        summary=summary(differences.tolist()),
        p_value=_p_value(differences, torch.Generator().manual_seed(0)),
        n_higher=int((differences > 0).sum()),
        n_lower=int((differences < 0).sum()),
        n_equal=int((differences == 0).sum()),
    )


def _interval(figures: Tensor, generator: torch.Generator) -> tuple[float, float]:
    """The 2.5 and 97.5 % points of the mean of as many figures, drawn from them with replacement."""
    n = len(figures)
    means = torch.cat([figures[torch.randint(n, (size, n), generator=generator)].mean(dim=1) for size in _blocks(n)])
    if means.isnan().any():
        return math.nan, math.nan
    ordered = means.sort().values  # no interpolation, which has no answer between infinities
    return float(ordered[round(0.025 * (N_DRAWS - 1))]), float(ordered[round(0.975 * (N_DRAWS - 1))])


def _p_value(differences: Tensor, generator: torch.Generator) -> float:
    """How often random signs give a mean as far from 0 as that of `differences`: all patterns, or draws of them."""
    n = len(differences)
    if n == 0 or not differences.isfinite().all():
        return math.nan
    observed = differences.sum().abs() - 1e-12 * differences.abs().sum()  # equal sums in another order are equal
    if n <= _EXACT:
        patterns = torch.arange(2**n)[:, None] >> torch.arange(n) & 1
        return float((((2.0 * patterns - 1).double() @ differences).abs() >= observed).double().mean())
    n_far = 0
    for size in _blocks(n):
        signs = 2 * torch.randint(2, (size, n), generator=generator).double() - 1
        n_far += int(((signs @ differences).abs() >= observed).sum())
    return (n_far + 1) / (N_DRAWS + 1)  # the pattern that was observed is one of them


def _blocks(n: int) -> Iterator[int]:
    """The draws of n numbers each, in parts that fit into memory."""
    size = max(1, _BLOCK // n)
    for start in range(0, N_DRAWS, size):
        yield min(size, N_DRAWS - start)
