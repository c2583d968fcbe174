"""Photos whose blur is wide, at the size at which it is undone, and back."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

import resharp
import resharp.restorers.blind
from resharp.degradations import BlurField, blurred, uniform_field, without_margin
from resharp.demo import demo_inputs
from resharp.kernel_estimation import WIDEST
from resharp.metrics import psnr
from resharp.restorers import BlindRestorer, open_restorer
from resharp.restorers.blurred import Blurred
from resharp.restorers.smaller import at_full_size, at_half_size, at_smaller_size
from resharp.restorers.undoing import open_plain


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def wide() -> Tensor:
    """61 pixels a side, and smooth, as kernels are that were found."""
    line, spot = resharp.motion_kernel(61, 30), resharp.gaussian_kernel(2.0)
    margin = (spot.shape[0] // 2, spot.shape[1] // 2)
    smooth = functional.conv2d(line[None, None], spot[None, None], padding=margin)[0, 0]
    return smooth / smooth.sum()


def spiky() -> Tensor:
    """Held still for half of the time."""
    kernel = wide() / 2
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] += 0.5
    return kernel


def with_blur(photo: Tensor, field: BlurField, noise_sigma: float = 0.0) -> Blurred:
    return Blurred(photo, field.degradation(), field.gamma, noise_sigma)


SIDE = max(wide().shape)


@pytest.mark.parametrize(
    ("kernel", "size"),
    [
        (resharp.motion_kernel(31, 30), (70, 80)),  # narrow
        (spiky(), (300, 330)),  # lets details pass
        (functional.pad(resharp.motion_kernel(7, 20), (28, 28, 28, 28)), (300, 330)),  # narrow, in much room
        (wide(), (50, 400)),  # next to nothing is left of such a photo
    ],
)
def test_what_would_lose_by_it_stays_as_it_is(kernel: Tensor, size: tuple[int, int]) -> None:
    photo, field = torch.full((3, *size), 0.5), uniform_field(kernel, size)
    whole = with_blur(photo, field)
    assert at_smaller_size(whole) is whole


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_kernels_shrink_with_the_photo(gamma: float) -> None:
    """A shrunk blurred photo is the shrunk sharp one, blurred by the shrunk kernels."""
    sharp = demo_inputs()[0].repeat(1, 2, 2)[:, :300, :330]
    field = uniform_field(wide(), (300, 330), gamma=gamma)
    small = at_smaller_size(with_blur(blurred(sharp, wide(), gamma=gamma), field))
    assert small.operator.kernels.shape[-1] == WIDEST
    assert small.photo.shape[-2:] == (round(300 * WIDEST / SIDE), round(330 * WIDEST / SIDE))
    assert_close(small.operator.kernels.sum((-2, -1)), torch.ones(1, 1))
    margin = small.operator.margin
    inner, sharp_one = without_margin(small.photo, margin), at_smaller_size(with_blur(sharp, field)).photo
    again = small.operator(sharp_one**gamma) ** (1 / gamma)
    assert float((again - inner).square().mean()) ** 0.5 < 0.01
    assert float((without_margin(sharp_one, margin) - inner).square().mean()) ** 0.5 > 0.1


def test_a_photo_shrinks_in_light() -> None:
    stripes = (0.3 + 0.5 * (torch.arange(330) % 2)).expand(3, 300, -1)
    small = at_smaller_size(with_blur(stripes, uniform_field(wide(), (300, 330), gamma=2.2))).photo
    assert float((small**2.2).mean()) == pytest.approx(float((stripes**2.2).mean()), rel=0.01)
    in_pixels = at_smaller_size(with_blur(stripes, uniform_field(wide(), (300, 330)))).photo
    assert float((in_pixels**2.2).mean()) < 0.97 * float((stripes**2.2).mean())


def test_kernels_of_large_photos_shrink_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.restorers.smaller.LARGE", 300 * 330)
    small = at_smaller_size(with_blur(torch.full((3, 300, 330), 0.5), uniform_field(wide(), (300, 330))))
    assert small.operator.kernels.shape[-1] == 37
    assert small.photo.shape[-2:] == (round(300 * 37 / SIDE), round(330 * 37 / SIDE))


@pytest.mark.parametrize(("side", "half"), [(61, 31), (35, 17), (33, 17), (9, 5), (7, 3), (5, 3), (3, 3), (1, 1)])
def test_at_half_the_size_kernels_are_half_as_wide(side: int, half: int) -> None:
    field = uniform_field(torch.full((side, side), side**-2), (122, 244))
    small = at_half_size(with_blur(torch.full((3, 122, 244), 0.5), field, 0.05))
    assert small.operator.kernels.shape[-1] == half
    assert small.photo.shape[-2:] == (round(122 * half / side), round(244 * half / side))
    assert small.noise_sigma == pytest.approx(0.05 if half == side else 0.05 * 0.82 * half / side)


def test_noise_falls_as_a_photo_shrinks_and_what_was_cut_off_stays_cut_off() -> None:
    photo = 0.5 + 0.05 * drawn(3, 300, 330)
    photo[..., 200:] = 1.0
    small = at_smaller_size(with_blur(photo, uniform_field(wide(), (300, 330)), 0.05))
    edge = round(200 * small.photo.shape[-1] / 330)
    assert float(small.photo[..., : edge - 5].std()) == pytest.approx(small.noise_sigma, rel=0.03)
    assert bool((small.photo[..., edge + 5 :] == 1).all())


def test_details_that_were_never_blurred_come_back_and_noise_and_clipped_borders_do_not() -> None:
    fine = (torch.arange(240) % 2).float().expand(3, 200, -1).clone()
    fine[..., 120:] = 0.5
    photo, flat = 0.25 + 0.5 * fine + 0.02 * drawn(3, 200, 240), torch.full((3, 100, 120), 0.5)
    made = at_full_size(flat, flat, photo, 0.02)
    assert_close(made[..., :110], photo[..., :110], rtol=0, atol=0.01)
    assert float((made[..., 130:] - 0.5).square().mean()) ** 0.5 < 0.25 * 0.02
    photo[:, 100:] = 1.0
    made = at_full_size(flat, flat, photo, 0.02)
    assert_close(made[:, 96:], torch.full_like(made[:, 96:], 0.5))


def test_a_wide_blur_is_undone_at_a_smaller_size_and_the_photo_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = functional.interpolate(demo_inputs()[0][None], scale_factor=1.5, mode="bicubic")[0].clamp(0, 1)
    shaken = (blurred(clean, wide()) + 0.05 * drawn(*clean.shape)).clamp(0, 1)
    field = uniform_field(wide(), (clean.shape[-2], clean.shape[-1]))
    undone: list[tuple[torch.Size, float]] = []
    solve = resharp.restorers.blind.half_quadratic

    def seen(photo: Tensor, *arguments: object, **options: object) -> Tensor:
        undone.append((photo.shape[-2:], options["noise_sigma"]))
        return solve(photo, *arguments, **options)

    monkeypatch.setattr("resharp.restorers.blind.half_quadratic", seen)
    restored = open_restorer("blind", precision="float32")(shaken, blur=field)
    assert undone[0][0] == tuple(round(length * WIDEST / SIDE) for length in field.size)
    assert restored.image.shape == clean.shape
    assert restored.maps["trust"].shape == (1, *field.size)
    assert float(restored.maps["trust"].mean()) > 0.8
    assert restored.facts["noise_sigma"] == pytest.approx(0.05 * 0.82 * WIDEST / SIDE, rel=0.1)
    assert restored.maps["kernels"].shape[-1] == restored.facts["kernel"] == SIDE
    assert float(psnr(restored.image, clean) - psnr(shaken, clean)) > 2.5
    undone.clear()
    kept = open_plain("cpu", "float32")
    assert isinstance(kept, BlindRestorer)
    assert kept(shaken, blur=field).maps["undone"].shape[1:] == clean.shape[1:]
    assert undone[0][0] == clean.shape[-2:], "networks learn from photos at their own size"
