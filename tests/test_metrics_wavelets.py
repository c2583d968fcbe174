"""CW-SSIM against a slow literal pyramid: masks over the whole spectrum from tables, Fourier sums at each place."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from resharp.errors import ArgumentError
from resharp.metrics import complex_wavelet_ssim
from tests.conftest import rand

Array = NDArray[np.float64]


def bands(image: Array, n_levels: int, n_orientations: int) -> list[NDArray[np.complex128]]:
    """The oriented bands of the last level, as Simoncelli's toolbox builds them, one level after the other."""
    height, width = image.shape
    centre = [math.ceil((n + 0.5) / 2) - 1 for n in (height, width)]
    vertical = (np.arange(height) - centre[0]) / (height / 2)
    horizontal = (np.arange(width) - centre[1]) / (width / 2)
    angle = np.arctan2(vertical[:, None], horizontal[None])
    with np.errstate(divide="ignore"):
        octave = np.log2(np.hypot(vertical[:, None], horizontal[None]))
    ramp = np.linspace(-1, 0, 20001)  # of the transition over one octave

    def high(values: Array, shift: int) -> Array:
        return np.interp(values, ramp - shift, np.cos(math.pi / 2 * ramp))

    def low(values: Array, shift: int) -> Array:
        return np.sqrt((1 - high(values, shift) ** 2).clip(0))

    spectrum = np.fft.fftshift(np.fft.fft2(image)) * low(octave, 0)
    for level in range(1, n_levels):
        spectrum *= low(octave, level)
    size = [height, width]
    for _ in range(n_levels - 1):
        size = [math.ceil((n - 0.5) / 2) for n in size]
    spectrum = spectrum * high(octave, n_levels)
    spectrum[centre[0], centre[1]] = 0
    # the band at the places of a grid of `size` over the image, by the sum over all frequencies
    k, m = np.arange(height) - centre[0], np.arange(width) - centre[1]
    down = np.exp(2j * math.pi * np.outer(np.arange(size[0]) / size[0], k))
    right = np.exp(2j * math.pi * np.outer(m, np.arange(size[1]) / size[1]))
    result = []
    for turn in range(n_orientations):
        turned = angle - math.pi * turn / n_orientations
        around = np.where(np.cos(turned) > 0, np.cos(turned), 0) ** (n_orientations - 1) * (np.cos(turned) > 0)
        result.append(down @ (spectrum * around) @ right)
    return result


def literal(one: Array, other: Array, n_levels: int, n_orientations: int) -> float:
    figures = []
    for x, y in zip(bands(one, n_levels, n_orientations), bands(other, n_levels, n_orientations), strict=True):
        height, width = x.shape[0] - 6, x.shape[1] - 6
        total, weights = 0.0, 0.0
        for row in range(height):
            for column in range(width):
                a, b = x[row : row + 7, column : column + 7], y[row : row + 7, column : column + 7]
                local = 2 * abs((a * b.conj()).sum()) / ((abs(a) ** 2).sum() + (abs(b) ** 2).sum())
                squared = (row - (height - 1) / 2) ** 2 + (column - (width - 1) / 2) ** 2
                weight = math.exp(-squared / (2 * (x.shape[0] / 4) ** 2))
                total, weights = total + weight * local, weights + weight
        figures.append(total / weights)
    return float(np.mean(figures))


@pytest.mark.parametrize(
    ("size", "n_levels", "n_orientations"), [((32, 48), 2, 4), ((61, 75), 3, 6), ((64, 64), 1, 2), ((200, 231), 6, 16)]
)
def test_the_figure_is_the_literal_pyramids(size: tuple[int, int], n_levels: int, n_orientations: int) -> None:
    clean, other = rand(*size), rand(*size, seed=1)
    restored = 0.7 * clean + 0.3 * other
    found = complex_wavelet_ssim(restored[None], clean[None], n_levels=n_levels, n_orientations=n_orientations)
    assert float(found) == pytest.approx(literal(restored.numpy(), clean.numpy(), n_levels, n_orientations), abs=1e-6)


def test_a_shift_of_a_pixel_hardly_counts_and_other_content_does() -> None:
    clean = torch.nn.functional.avg_pool2d(rand(1, 1, 216, 216), 5, stride=1)[0]
    shifted = clean.roll((1, 1), dims=(1, 2))
    assert float(complex_wavelet_ssim(shifted, clean)) > 0.98
    assert float(complex_wavelet_ssim(rand(1, 212, 212, seed=2), clean)) < 0.8


def test_images_without_content_are_alike() -> None:
    dark, bright = torch.full((3, 200, 200), 0.3), torch.full((3, 200, 200), 0.8)
    assert float(complex_wavelet_ssim(dark, bright)) == pytest.approx(1)


@pytest.mark.parametrize("options", [{"n_levels": 0}, {"n_orientations": 0}, {"n_levels": 99}])
def test_a_pyramid_has_levels_and_orientations(options: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="1 to 12 and 1 to 64"):
        complex_wavelet_ssim(rand(1, 64, 64), rand(1, 64, 64), **options)
