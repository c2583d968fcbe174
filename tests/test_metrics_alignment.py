"""Levin's error ratio against a search through every shift, pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.metrics import error_ratio, psnr, psnr_up_to_shift, squared_error_up_to_shift
from resharp.photo import read_photo
from tests.conftest import rand, reference


def smooth(*shape: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.avg_pool2d(rand(*shape, seed=seed), 3, stride=1, padding=1)


def searched(restored: Tensor, clean: Tensor) -> float:
    """SciPy's bilinear interpolation at each of 41 x 41 shifts."""
    height, width = clean.shape[-2:]
    rows, columns = np.mgrid[15 : height - 15, 15 : width - 15].astype(float)
    best = math.inf
    for down in np.arange(-5, 5.01, 0.25):
        for right in np.arange(-5, 5.01, 0.25):
            moved = [ndimage.map_coordinates(c.numpy(), (rows + down, columns + right), order=1) for c in restored]
            best = min(best, float(((np.stack(moved) - clean[:, 15:-15, 15:-15].numpy()) ** 2).sum()))
    return best


@pytest.mark.parametrize("size", [(40, 43), (31, 31)])
def test_the_least_error_is_that_of_a_full_search(size: tuple[int, int]) -> None:
    restored, clean = smooth(2, *size), smooth(2, *size, seed=1)
    assert float(squared_error_up_to_shift(restored, clean)) == pytest.approx(searched(restored, clean), rel=1e-12)


@pytest.mark.parametrize("shift", [(3, -5), (-4, 0), (5, 5)])
def test_a_shift_of_whole_pixels_costs_nothing(shift: tuple[int, int]) -> None:
    clean = rand(3, 50, 60)
    assert float(squared_error_up_to_shift(clean.roll(shift, dims=(1, 2)), clean)) == 0
    assert float(psnr_up_to_shift(clean.roll(shift, dims=(1, 2)), clean)) == math.inf


def test_a_quarter_of_a_pixel_is_found() -> None:
    clean = smooth(1, 60, 60)
    quarter = 0.75 * clean + 0.25 * clean.roll(1, dims=2)
    assert float(squared_error_up_to_shift(clean, quarter)) == pytest.approx(0, abs=1e-20)


def test_without_a_shift_it_is_the_psnr_of_the_inner_part() -> None:
    clean = rand(3, 64, 64)
    restored = clean + 0.01 * (rand(3, 64, 64, seed=1) - 0.5)
    inner = (slice(None), slice(15, -15), slice(15, -15))
    assert float(psnr_up_to_shift(restored, clean)) == pytest.approx(float(psnr(restored[inner], clean[inner])))


def test_the_ratio_is_of_squared_errors() -> None:
    clean = rand(2, 1, 48, 48)
    error = rand(2, 1, 48, 48, seed=1) - 0.5
    ratio = error_ratio(clean + 0.03 * error, clean, clean + 0.02 * error)
    assert ratio.tolist() == pytest.approx([2.25, 2.25])
    assert error_ratio(clean + error, clean, clean + error).tolist() == [1, 1]
    assert math.isinf(float(error_ratio(clean[0] + error[0], clean[0], clean[0])))


def test_levins_photos_lie_nearer_than_their_frames() -> None:
    """The camera saw the sharp image through a kernel that moves it a little."""
    sharp = read_photo(reference("levin", "sharp", "im1.png")).image
    blurred = read_photo(reference("levin", "blur", "im1_kernel4.png")).image
    inner = (slice(None), slice(15, -15), slice(15, -15))
    assert float(psnr_up_to_shift(blurred, sharp)) >= float(psnr(blurred[inner], sharp[inner])) - 1e-4


def test_an_image_that_is_all_border_is_too_small() -> None:
    with pytest.raises(ArgumentError, match="50x30 pixels is too small"):
        error_ratio(rand(1, 30, 50), rand(1, 30, 50), rand(1, 30, 50))
