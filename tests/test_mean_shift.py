"""The solver against an independent transcription of its equations in NumPy (float64), and against closed forms."""

import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import Blur, checked_kernel, gaussian_kernel
from resharp.errors import ArgumentError
from resharp.priors import MeanShift, fixed_level
from resharp.solvers import Step, estimated, known, mean_shift, until_settled
from tests.conftest import rand

SIGMA_D = 11 / 255
Array = NDArray[np.float64]


def denoise(noisy: Array) -> Array:
    """Some smooth non-linear map; the equations hold for any."""
    return np.tanh(0.9 * noisy + 0.05)


class Torch:
    """The same map for the solver under test, with the prior's noise given."""

    sigma = SIGMA_D

    def __init__(self, noises: list[Array]) -> None:
        self.noises = iter(noises)

    def residual(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        return image - torch.tanh(0.9 * (image + torch.from_numpy(next(self.noises))) + 0.05)


def transcription(
    y: Array, kernel: Array, x: Array, noises: list[Array], sigma_n: float | None
) -> tuple[Array, list[float]]:
    """Spec of Bigdeli et al. 2017 and its code, in 0..255, one image, plain loops."""
    y, x = y * 255, x * 255
    sigma_d = 11.0
    v, weights = np.zeros_like(x), []
    for noise in noises:
        forward = np.stack([scipy.signal.convolve2d(plane, kernel, mode="valid") for plane in x])
        misfit = forward - y
        data = np.stack([scipy.signal.correlate2d(plane, kernel, mode="full") for plane in misfit])
        prior = x - 255 * denoise((x + 255 * noise) / 255)
        if sigma_n is None:
            precision = y.size / ((misfit**2).sum() + y.size * 2 * sigma_d**2 * (kernel**2).sum())
        else:
            precision = 1 / (255 * sigma_n) ** 2
        w = precision / (precision + 1 / sigma_d**2)
        weights.append(w)
        v = 0.9 * v - 0.1 * (w * data + (1 - w) * prior)
        x = np.clip(x + v, 0, 255)
    return x / 255, weights


@pytest.mark.parametrize("sigma_n", [2.55 / 255, 0.05, None])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("n_iterations", [1, 5])
def test_it_follows_the_equations(sigma_n: float | None, channels: int, n_iterations: int) -> None:
    kernel = rand(5, 7)
    kernel = kernel / kernel.sum()
    y, x = rand(channels, 12, 14), rand(channels, 16, 20, seed=1)
    noises = [SIGMA_D * np.random.default_rng(i).normal(size=tuple(x.shape)) for i in range(n_iterations)]
    expected, weights = transcription(y.numpy(), kernel.numpy(), x.numpy(), noises, sigma_n)
    seen: list[Step] = []
    result = mean_shift(
        y,
        Blur(kernel),
        Torch(noises),
        x,
        generator=torch.Generator(),
        data_weight=estimated(float(kernel.square().sum()), SIGMA_D) if sigma_n is None else known(sigma_n, SIGMA_D),
        n_iterations=n_iterations,
        on_step=lambda step: seen.append(step),
    )
    assert_close(result, torch.from_numpy(expected), rtol=0, atol=1e-6)
    assert [float(step.data_weight) for step in seen] == pytest.approx(weights, abs=1e-9)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_the_noise_blind_weight_is_the_monte_carlo_expectation(n_channels: int) -> None:
    """E ||A(x + e) - y||^2 for e ~ N(0, 2 sigma_d^2) is what its closed form says (spec: with N, not M)."""
    generator = torch.Generator().manual_seed(0)
    blur = Blur(gaussian_kernel(1.2).double())
    x, y = rand(n_channels, 40, 44), rand(n_channels, 40 - 10, 44 - 10, seed=1)
    draws = []
    for _ in range(400):
        e = torch.randn(x.shape, generator=generator, dtype=torch.float64) * (2**0.5 * SIGMA_D)
        draws.append(float((blur(x + e) - y).square().sum()))
    weight, sigma = estimated(blur.row_energy, SIGMA_D)(blur(x) - y)
    expected_square = float(np.mean(draws)) / y.numel()
    assert float(sigma) ** 2 == pytest.approx(expected_square, rel=2e-3)
    assert float(weight) == pytest.approx((1 / expected_square) / (1 / expected_square + 1 / SIGMA_D**2), rel=2e-3)


def test_a_gaussian_prior_leads_to_the_wiener_solution() -> None:
    """With the posterior-mean denoiser of a Gaussian prior everything is linear: compare with the normal equations."""
    n, sigma_n, variance = 9, 0.05, 0.02
    kernel = checked_kernel(torch.tensor([[1.0, 2.0, 1.0]])).double()
    blur = Blur(kernel)
    mean = 0.5
    shrink = variance / (variance + SIGMA_D**2)
    prior = MeanShift(lambda z, _: mean + shrink * (z - mean), SIGMA_D)
    y = 0.5 + 0.1 * (rand(1, 1, n - 2) - 0.5)
    matrix = torch.stack([blur(basis.reshape(1, 1, n)).flatten() for basis in torch.eye(n, dtype=torch.float64)], 1)
    weight = SIGMA_D**2 / (SIGMA_D**2 + sigma_n**2)
    normal = weight * matrix.T @ matrix + (1 - weight) * (1 - shrink) * torch.eye(n, dtype=torch.float64)
    right = weight * matrix.T @ y.flatten() + (1 - weight) * (1 - shrink) * mean
    expected = torch.linalg.solve(normal, right)

    class Quiet(MeanShift):
        def residual(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
            return image - self.denoiser(image, self.sigma)  # the noise has mean zero, and everything is linear

    quiet = Quiet(prior.denoiser, SIGMA_D)
    start = torch.full((1, 1, n), 0.5, dtype=torch.float64)
    options = {"generator": torch.Generator(), "data_weight": known(sigma_n, SIGMA_D), "n_iterations": 4000}
    result = mean_shift(y, blur, quiet, start, **options)
    assert_close(result.flatten(), expected, rtol=0, atol=1e-9)


def test_each_image_of_a_batch_is_solved_alone() -> None:
    blur = Blur(gaussian_kernel(0.6).double())
    y, x = rand(2, 3, 10, 10), rand(2, 3, 16, 16, seed=1)
    y[1] *= 0.2

    def solve(y: Tensor, x: Tensor) -> Tensor:
        prior = Torch([np.zeros(())] * 6)
        weight = estimated(blur.row_energy, SIGMA_D)
        return mean_shift(y, blur, prior, x, generator=torch.Generator(), data_weight=weight, n_iterations=6)

    together = solve(y, x)
    for index in range(2):
        assert_close(together[index], solve(y[index], x[index]))


def test_the_seed_decides() -> None:
    blur, y, x = Blur(gaussian_kernel(0.6).double()), rand(3, 10, 10), rand(3, 16, 16, seed=1)
    prior = MeanShift(lambda z, _: 0.9 * z, SIGMA_D)

    def solve(seed: int) -> Tensor:
        draws, weight = torch.Generator().manual_seed(seed), known(0.02, SIGMA_D)
        return mean_shift(y, blur, prior, x, generator=draws, data_weight=weight, n_iterations=3)

    assert torch.equal(solve(1), solve(1))
    assert not torch.equal(solve(1), solve(2))


def test_the_score_points_to_where_the_density_grows() -> None:
    """For x ~ N(0, v) the smoothed density has gradient -x / (v + sigma^2)."""
    variance = 0.03
    prior = MeanShift(lambda z, _: z * variance / (variance + SIGMA_D**2), SIGMA_D)
    image = rand(1, 200, 200) - 0.5
    score = prior.score(image, generator=torch.Generator().manual_seed(0))
    expected = -image / (variance + SIGMA_D**2)
    # The noise enters once through the denoiser: unbiased, with known spread.
    spread = variance / (variance + SIGMA_D**2) / SIGMA_D
    assert float((score - expected).mean().abs()) < 4 * spread / 200
    assert float((score - expected).std()) == pytest.approx(spread, rel=0.02)


def test_on_step_stops_the_solver() -> None:
    blur, y, x = Blur(gaussian_kernel(0.6).double()), rand(3, 10, 10), rand(3, 16, 16, seed=1)
    prior = MeanShift(lambda z, _: z, SIGMA_D)
    steps: list[int] = []

    def on_step(step: Step) -> bool:
        steps.append(step.iteration)
        return step.iteration < 4

    kept = x.clone()
    weight = known(0.02, SIGMA_D)
    mean_shift(y, blur, prior, x, generator=torch.Generator(), data_weight=weight, on_step=on_step)
    assert steps == [1, 2, 3, 4]
    assert torch.equal(x, kept), "the initial image is the caller's"


def test_until_settled_stops_early_and_not_too_early() -> None:
    blur, y = Blur(gaussian_kernel(0.6).double()), 0.5 + 0.01 * rand(3, 10, 10)
    prior = MeanShift(lambda z, _: 0.5 + 0.5 * (z - 0.5), 1e-4)
    counts = []
    for tolerance in (1e-2, 1e-3, 0.0):
        stop, seen = until_settled(tolerance), 0

        def on_step(step: Step, stop=stop) -> bool | None:
            nonlocal seen
            seen = step.iteration
            return stop(step)

        start = torch.zeros(3, 16, 16, dtype=torch.float64)
        weight = known(0.01, 1e-4)
        mean_shift(y, blur, prior, start, generator=torch.Generator(), data_weight=weight, on_step=on_step)
        counts.append(seen)
    assert 10 < counts[0] < counts[1] < counts[2] == 300


@pytest.mark.parametrize("sigma", [0.0, -0.01, float("nan"), 2.55])
def test_noise_that_cannot_be_is_refused(sigma: float) -> None:
    with pytest.raises(ArgumentError, match="noise sigma"):
        known(sigma, SIGMA_D)


def test_no_iterations_are_refused() -> None:
    blur, start = Blur(gaussian_kernel(0.6).double()), torch.zeros(3, 16, 16, dtype=torch.float64)
    prior, weight = MeanShift(lambda z, _: z, 0.1), known(0.02, 0.1)
    with pytest.raises(ArgumentError, match="0 iterations"):
        mean_shift(rand(3, 10, 10), blur, prior, start, generator=torch.Generator(), data_weight=weight, n_iterations=0)


def test_a_function_of_one_level_takes_no_other() -> None:
    denoise = fixed_level(lambda noisy: noisy / 2, 0.1)
    assert_close(denoise(rand(3, 4, 4), 0.1), rand(3, 4, 4) / 2)
    with pytest.raises(ArgumentError, match=r"for noise sigma 0\.1000 alone, not for 0\.2000"):
        denoise(rand(3, 4, 4), 0.2)


def test_the_prior_asks_at_its_own_level() -> None:
    asked: list[float] = []
    prior = MeanShift(lambda noisy, sigma: asked.append(sigma) or noisy, 0.07)
    prior.residual(rand(3, 4, 4), generator=torch.Generator())
    assert asked == [0.07]
