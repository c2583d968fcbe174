"""Photos whose blur is wide, at the size at which it is undone, and back."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

import resharp
from resharp.degradations import blurred, uniform_field, without_margin
from resharp.demo import demo_inputs
from resharp.kernel_estimation import WIDEST
from resharp.metrics import psnr
from resharp.restorers import open_restorer
from resharp.restorers.smaller import at_full_size, at_smaller_size, enlarged

WIDE = resharp.motion_kernel(69, 30)  # 61 pixels a side


def test_a_narrow_blur_leaves_a_photo_as_it_is() -> None:
    photo = torch.rand(3, 70, 80, generator=torch.Generator().manual_seed(0))
    field = uniform_field(resharp.motion_kernel(31, 30), (70, 80))
    assert at_smaller_size(photo, field) == (photo, field)


def test_kernels_shrink_with_the_photo() -> None:
    """A shrunk blurred photo is the shrunk sharp one, blurred by the shrunk kernels."""
    sharp = demo_inputs()[0].repeat(1, 2, 2)[:, :300, :330]
    field = uniform_field(WIDE, (300, 330))
    small, shrunk = at_smaller_size(blurred(sharp, WIDE), field)
    assert shrunk.kernels.shape[-1] == WIDEST
    assert shrunk.size == small.shape[-2:] == (251, 276)
    assert_close(shrunk.kernels.sum((-2, -1)), torch.ones(1, 1))
    sharp_one = at_smaller_size(sharp, field)[0]
    again = shrunk.degradation()(sharp_one)
    inner = without_margin(small, shrunk.degradation().margin)
    assert float((again - inner).square().mean()) ** 0.5 < 0.01
    assert float((without_margin(sharp_one, shrunk.degradation().margin) - inner).square().mean()) ** 0.5 > 0.1


def test_kernels_of_large_photos_shrink_further(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, field = torch.rand(3, 90, 90), uniform_field(resharp.motion_kernel(43, 30), (90, 90))
    assert at_smaller_size(photo, field)[1] is field
    monkeypatch.setattr("resharp.restorers.smaller.LARGE", 90 * 90)
    assert at_smaller_size(photo, field)[1].kernels.shape[-1] == 37


def test_details_that_were_never_blurred_come_back_and_noise_does_not() -> None:
    noise = 0.02 * torch.randn(3, 200, 240, generator=torch.Generator().manual_seed(0))
    fine = (torch.arange(240) % 2).float().expand(3, 200, -1).clone()
    fine[..., 120:] = 0.5
    photo, flat = 0.25 + 0.5 * fine + noise, torch.full((3, 100, 120), 0.5)
    made = at_full_size(flat, flat, photo, 0.02)
    assert_close(made[..., :110], photo[..., :110], rtol=0, atol=0.01)
    assert float((made[..., 130:] - 0.5).square().mean()) ** 0.5 < 0.25 * 0.02
    restored = flat + 0.1 * functional.pad(torch.ones(3, 40, 120), (0, 0, 30, 30))
    assert_close(at_full_size(restored, flat, photo, 0.02), made + enlarged(restored - flat, (200, 240)))


def test_a_wide_blur_is_undone_at_a_smaller_size_and_the_photo_keeps_its_own() -> None:
    clean = functional.interpolate(demo_inputs()[0][None], scale_factor=2, mode="bicubic")[0].clamp(0, 1)
    shaken = blurred(clean, WIDE)
    restored = open_restorer("blind", precision="float32")(shaken, blur=uniform_field(WIDE, clean.shape[-2:]))
    assert restored.image.shape == clean.shape
    assert restored.maps["trust"].shape == (1, *clean.shape[-2:])
    assert restored.maps["kernels"].shape[-1] == restored.facts["kernel"] == 61
    assert float(psnr(restored.image, clean) - psnr(shaken, clean)) > 3
