"""One rule for what an image's values may be, at every door."""

import math

import pytest
import torch
from torch import Tensor

from resharp.degradations import DegradationStep, Noise, apply_steps
from resharp.errors import ArgumentError
from resharp.image import as_image, checked_scale
from resharp.metrics import niqe, psnr, ssim


def photo(height: int = 96, width: int = 192, *, floor: float = 0.0) -> Tensor:
    """Light and shade in patches, (3, H, W) from `floor` on."""
    patches = torch.rand(1, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(0))
    return floor + (1 - floor) * torch.nn.functional.interpolate(patches, size=(height, width))[0]


def noise(image: Tensor, sigma: float) -> Tensor:
    return image + sigma * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("moved", "way_back"),
    [
        (255 * photo(), r"0 to 255: give x / 255"),
        (noise(255 * photo(), 50), r"0 to 255: give x / 255"),
        (65535 * photo(), r"0 to 65535: give x / 65535"),
        (2 * photo() - 1, r"from -1 to 1: give \(x \+ 1\) / 2"),
        (2 * photo(floor=0.3) - 1, r"from -1 to 1"),
        (noise(2 * photo() - 1, 0.05), r"from -1 to 1"),
        (photo() - 0.5, r"darker than black"),
        ((photo() - 0.45) / 0.22, r"normalised"),
        (photo() - 30, r"these lie in \[-30, -29\]"),
    ],
)
def test_another_scale_is_refused_at_every_door(moved: Tensor, way_back: str) -> None:
    clean = photo()
    doors = [
        lambda: as_image(moved),
        lambda: as_image(moved.permute(1, 2, 0).numpy()),
        lambda: psnr(moved, clean),
        lambda: psnr(clean, moved),
        lambda: ssim(clean[None], moved[None]),
        lambda: niqe(moved),
        lambda: apply_steps([DegradationStep(Noise(0.01))], moved),
    ]
    for door in doors:
        with pytest.raises(ArgumentError, match=way_back) as caught:
            door()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sigma", [25 / 255, 50 / 255])
@pytest.mark.parametrize("level", [None, 0.0, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (4, 7), (96, 192), (96, 1104)])
def test_noise_is_let_through_on_black_and_white_too(sigma: float, level: float | None, size: tuple[int, int]) -> None:
    clean = photo(max(size[0], 16), max(size[1], 16))[:, : size[0], : size[1]]
    noisy = noise(clean if level is None else torch.full_like(clean, level), sigma)
    assert checked_scale(noisy) is noisy
    assert checked_scale(noisy.double()[None]).dtype == torch.float64


def test_narrow_undershoot_beside_edges_is_let_through() -> None:
    image = photo()
    image[..., ::16] = -0.4
    assert checked_scale(image) is image


def test_nan_is_refused_as_an_image_and_passes_where_figures_tell() -> None:
    image = photo()
    image[0, 3, 4] = math.nan
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        as_image(image)
    assert checked_scale(image) is image


def test_infinity_is_refused() -> None:
    image = photo()
    image[0, 3, 4] = math.inf
    for door in (as_image, checked_scale):
        with pytest.raises(ArgumentError, match="lie in"):
            door(image)
