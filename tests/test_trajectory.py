"""Random trajectories against the published algorithm, transcribed here step by step as its description reads."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from torch.testing import assert_close

from resharp.degradations.trajectory import (
    EXPOSURES,
    TrajectoryBlur,
    canvas_psf,
    centred_psf,
    exposure_weights,
)
from resharp.errors import ArgumentError
from tests.conftest import rand


def draw(seed: int, **settings: float) -> NDArray[np.float64]:
    return TrajectoryBlur(**settings).trajectory(torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def published_weights(n: int, exposures: tuple[float, ...]) -> list[NDArray[np.float64]]:
    """Each exposure's weights as the published loop adds them up, its conditions in their order."""
    total, found, before = np.zeros(n), [], 0.0
    for exposure in exposures:
        end, start = exposure * n, before * n
        for t in range(n):
            if end >= t and start < t - 1:
                total[t] += 1
            elif end >= t - 1 and start < t - 1:
                total[t] += end - (t - 1)
            elif end >= t and start < t:
                total[t] += t - start
            elif end >= t - 1 and start < t:
                total[t] += end - start
        found.append(total.copy())
        before = exposure
    return found


def published_psf(points: NDArray[np.float64], weights: NDArray[np.float64], canvas: int = 64) -> NDArray[np.float64]:
    """Centred on the canvas and splatted point by point."""
    x = points[:, 0] + 1j * points[:, 1]
    x = x - (x.real.min() + 1j * x.imag.min())
    x = x - (x[0].real % 1 + 1j * (x[0].imag % 1)) + (1 + 1j)
    x = x + (np.ceil((canvas - x.real.max()) / 2) + 1j * np.ceil((canvas - x.imag.max()) / 2))
    psf = np.zeros((canvas + 1, canvas + 1))
    for point, weight in zip(x, weights, strict=True):
        column = int(min(canvas - 1, max(1, np.floor(point.real))))
        row = int(min(canvas - 1, max(1, np.floor(point.imag))))
        for r, c in ((row, column), (row + 1, column), (row, column + 1), (row + 1, column + 1)):
            psf[r, c] += weight * max(0, 1 - abs(point.real - c)) * max(0, 1 - abs(point.imag - r))
    return psf[:canvas, :canvas] / len(points)


@pytest.mark.parametrize("n", [2, 7, 100, 2000])
def test_exposure_weights_are_the_published_ones(n: int) -> None:
    for exposure, expected in zip(EXPOSURES, published_weights(n, EXPOSURES), strict=True):
        np.testing.assert_allclose(exposure_weights(n, exposure), expected, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_canvas_psf_is_the_published_one(seed: int) -> None:
    points = draw(seed, anxiety=0.009)
    for exposure, weights in zip(EXPOSURES, published_weights(2000, EXPOSURES), strict=True):
        np.testing.assert_allclose(canvas_psf(points, exposure), published_psf(points, weights), atol=1e-12)


def test_published_facts_over_200_draws() -> None:
    extents = []
    for seed in range(200):
        points = draw(seed)
        assert points.shape == (2000, 2)
        assert np.hypot(*np.diff(points, axis=0).T).sum() == pytest.approx(60, abs=1e-9)
        extents.append(np.ptp(points, axis=0).mean())
        if seed < 20:
            sums = [float(canvas_psf(points, exposure).sum()) for exposure in EXPOSURES]
            assert sums == pytest.approx([0.01, 0.1, 0.5, 0.9995], abs=1e-9)
    assert 13 < np.mean(extents) < 17
    assert 40 < max(extents) < 50  # a path of 60 that nearly never turned


def test_the_path_follows_the_recurrence() -> None:
    """The velocity turns by pull, tremble and jerks alone: without them the path is straight."""
    points = draw(0, pull=0.0, tremble=0.0, jerk=0.0)
    steps = np.diff(points, axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-12)
    pulled = draw(0, pull=50.0, tremble=0.0, jerk=0.0, anxiety=0.01)
    assert np.hypot(*pulled.T).max() < np.hypot(*points.T).max() / 2
    jerked = draw(1, pull=0.0, tremble=0.0, jerk=100.0, anxiety=0.01)
    turns = (np.diff(jerked, axis=0)[1:] * np.diff(jerked, axis=0)[:-1]).sum(1)
    assert (turns < 0).any()


@pytest.mark.parametrize("exposure", [0.1, 1.0])
@pytest.mark.parametrize("seed", [3, 4])
def test_the_centred_kernel_moves_nothing(seed: int, exposure: float) -> None:
    kernel = centred_psf(draw(seed), exposure).double()
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in kernel.shape)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert all(side % 2 for side in kernel.shape)
    assert float((kernel.sum(1) * rows).sum()) == pytest.approx(0, abs=1e-5)
    assert float((kernel.sum(0) * columns).sum()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("side", [64, 96])
def test_the_published_way_is_scipys_same_convolution_stretched(side: int) -> None:
    blur, image = TrajectoryBlur(exposure=0.5, published=True), rand(3, side, side, seed=2)
    psf = canvas_psf(blur.trajectory(torch.Generator().manual_seed(5)), 0.5).numpy()
    before = (side - 64) // 2
    padded = np.pad(psf, [(before, side - 64 - before)] * 2)
    expected = np.stack([fftconvolve(plane, padded, "same") for plane in image.numpy()])
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    result = blur(image, generator=torch.Generator().manual_seed(5))
    assert_close(result, torch.from_numpy(expected), atol=1e-9, rtol=0)


def test_what_does_not_fit_the_canvas_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="does not fit the canvas of 64"):
        canvas_psf(draw(0, length=900.0, pull=0.0, tremble=0.0, jerk=0.0), 1.0)
