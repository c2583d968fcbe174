"""One scale from many comparisons, and which comparison would tell most about it.

Bradley and Terry (1952): P(i is chosen over j) = sigmoid(t_i - t_j).  Wins are matrices (C, C) whose entry (i, j)
counts how often condition i was chosen over j; they may be fractions.
"""

import math

import choix
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

PRIOR_WINS = 0.5
"""Added to each side of each pair (Jeffreys' prior of a share), so that what always won is not infinitely better."""

JOD = math.log(3)
"""One just-objectionable difference in log-odds: three of four choose the better one (Perez-Ortiz and Mantiuk 2017)."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


def strengths(wins: Matrix, *, start: Matrix | None = None) -> Matrix:
    """Log-odds (C,) with mean 0: the most probable ones under the prior, found by Luce spectral ranking (choix).

    start: strengths nearby, from which they are found sooner.
    """
    found: Matrix = choix.ilsr_pairwise_dense(_with_prior(wins), initial_params=start)
    centred: Matrix = found - found.mean()
    return centred


def covariance(wins: Matrix, found: Matrix) -> Matrix:
    """Laplace's approximation (C, C) around the strengths: the pseudo-inverse of the likelihood's curvature."""
    counted = _with_prior(wins)
    chance = 1 / (1 + np.exp(found[None] - found[:, None]))
    laplacian = -(counted + counted.T) * chance * (1 - chance)
    np.fill_diagonal(laplacian, 0.0)
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    return np.asarray(np.linalg.pinv(laplacian, hermitian=True), dtype=np.float64)


def information_gain(wins: Matrix) -> Matrix:
    """Bits (C, C) that the answer to each pair would tell about the strengths.

    The mutual information of answer and strengths, H(E[p]) - E[H(p)] with p = sigmoid(d), d normal as Laplace says
    (Lindley 1956; for pairs of pictures Mikhailiuk et al., ASAP, 2020), by Gauss-Hermite quadrature.
    """
    found = strengths(wins)
    spread = covariance(wins, found)
    variance = np.diag(spread)[:, None] + np.diag(spread)[None] - 2 * spread
    mean = found[:, None] - found[None]
    differences = mean[..., None] + np.sqrt(np.maximum(variance, 0))[..., None] * _NODES
    chance = 1 / (1 + np.exp(-differences))
    weights = _WEIGHTS / _WEIGHTS.sum()
    gain: Matrix = _entropy(chance @ weights) - _entropy(chance) @ weights
    np.fill_diagonal(gain, 0.0)
    return gain


def _with_prior(wins: Matrix) -> Matrix:
    counted = wins + PRIOR_WINS
    np.fill_diagonal(counted, 0.0)
    return counted


def _entropy(chance: Matrix) -> Matrix:
    """In bits, of a coin."""
    p = np.clip(chance, 1e-12, 1 - 1e-12)
    entropy: Matrix = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return entropy
