"""The noise of a photo, from the photo alone."""

import pytest
import torch
from torch.testing import assert_close

from resharp.degradations.noise_level import _quantile, estimated_noise_sigma
from tests.conftest import rand


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_noise_is_found_in_blurred_photos(sigma: float) -> None:
    coarse = rand(2, 3, 16, 16)
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=12, mode="bicubic")
    noisy = (
        0.5
        + 0.3 * (smooth - 0.5)
        + sigma * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    assert_close(estimated_noise_sigma(noisy), torch.full((2,), sigma, dtype=torch.float64), rtol=0.05, atol=0)
    spoilt = noisy.clone()
    spoilt[..., :100] = 1  # a clipped sky
    assert_close(estimated_noise_sigma(spoilt), torch.full((2,), sigma, dtype=torch.float64), rtol=0.08, atol=0)


def test_photos_of_many_megapixels_have_a_noise_level() -> None:
    """`torch.quantile` refuses so many values."""
    assert float(_quantile(torch.arange(16_000_001, dtype=torch.float32), 0.25)) == 4_000_000


def test_no_noise_is_found_where_there_is_nothing_to_see() -> None:
    for image in (torch.zeros(3, 40, 40), torch.ones(3, 1, 1), rand(2, 3, 2, 9), 1 + rand(3, 20, 20)):
        assert float(estimated_noise_sigma(image).max()) == 0
    slope = torch.linspace(0, 1, 40).expand(3, 40, 40)
    assert float(estimated_noise_sigma(slope)) < 1e-6
