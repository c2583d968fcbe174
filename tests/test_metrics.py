"""Our numbers against scikit-image's."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from resharp.metrics import psnr, ssim
from tests.conftest import rand


@pytest.mark.parametrize("spread", [0.01, 0.1, 0.5])
def test_psnr_and_ssim_are_scikit_images(spread: float) -> None:
    clean = rand(2, 3, 32, 37)
    restored = (clean + spread * (rand(2, 3, 32, 37, seed=1) - 0.5)).clamp(0, 1)
    for ours_psnr, ours_ssim, a, b in zip(psnr(restored, clean), ssim(restored, clean), restored, clean, strict=True):
        assert float(ours_psnr) == pytest.approx(peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1), abs=1e-9)
        reference = np.mean(
            [
                structural_similarity(
                    x.numpy(), y.numpy(), data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
                )
                for x, y in zip(a, b, strict=True)
            ]
        )
        assert float(ours_ssim) == pytest.approx(reference, abs=1e-9)


def test_equal_images_are_perfect() -> None:
    image = rand(3, 16, 16)
    assert float(psnr(image, image)) == float("inf")
    assert float(ssim(image, image)) == pytest.approx(1)


def test_float32_input_is_summed_in_float64() -> None:
    image = rand(3, 64, 64, dtype=torch.float32)
    assert psnr(image, image + 1e-4).dtype == torch.float64
