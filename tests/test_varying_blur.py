"""Blur that changes over the frame, against what its parts do alone."""

import pytest
import torch
from torch.testing import assert_close

from resharp.degradations import Blur, VaryingBlur, motion_kernel
from resharp.degradations.varying_blur import shares
from resharp.errors import KernelError
from tests.conftest import rand


def some_kernels(rows: int, columns: int, side: int = 5) -> torch.Tensor:
    kernels = rand(rows, columns, side, side)
    return kernels / kernels.sum((-2, -1), keepdim=True)


def test_one_kernel_everywhere_is_a_plain_blur() -> None:
    kernel, image = motion_kernel(7, 30), rand(3, 40, 50)
    varying = VaryingBlur(kernel.expand(3, 4, *kernel.shape).clone())
    assert_close(varying(image), Blur(kernel)(image), rtol=1e-10, atol=1e-12)
    assert varying.row_energy == pytest.approx(Blur(kernel).row_energy)
    assert varying.margin == Blur(kernel).margin


def test_every_pixel_sees_the_mean_of_the_four_nearest_kernels() -> None:
    """Row by row, against kernels blended first and applied to one pixel."""
    kernels, image = some_kernels(3, 2), rand(1, 24, 29)
    degraded = VaryingBlur(kernels)(image)
    down, across = shares((torch.arange(3) + 0.5) / 3, 20), shares((torch.arange(2) + 0.5) / 2, 25)
    for row, column in ((0, 0), (7, 12), (10, 6), (19, 24), (13, 18)):
        here = torch.einsum("r,c,rcij->ij", down[:, row].double(), across[:, column].double(), kernels)
        seen = (image[0, row : row + 5, column : column + 5] * here.flip(0, 1)).sum()
        assert_close(degraded[0, row, column], seen, rtol=1e-6, atol=1e-7)


def test_a_plain_wall_stays_plain() -> None:
    assert_close(VaryingBlur(some_kernels(4, 3))(torch.full((3, 60, 60), 0.7)), torch.full((3, 56, 56), 0.7))


def test_places_may_lie_anywhere() -> None:
    """Two places close together: what lies before the first and after the second sees one kernel alone."""
    kernels, image = some_kernels(1, 2), rand(1, 20, 64)
    degraded = VaryingBlur(kernels, columns=torch.tensor([0.45, 0.55]))(image)
    assert_close(degraded[..., :27], Blur(kernels[0, 0])(image)[..., :27], rtol=1e-9, atol=1e-11)
    assert_close(degraded[..., -27:], Blur(kernels[0, 1])(image)[..., -27:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 4, 5), (0, 2, 5, 5)])
def test_what_is_no_grid_of_kernels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(KernelError, match="varying blur takes kernels"):
        VaryingBlur(torch.ones(shape))


def test_places_that_do_not_rise_are_refused() -> None:
    with pytest.raises(KernelError, match=r"rows: the places of 2 kernels"):
        VaryingBlur(some_kernels(2, 1), rows=torch.tensor([0.7, 0.2]))


def test_an_image_smaller_than_the_kernels_is_refused() -> None:
    with pytest.raises(KernelError, match=r"kernels \(5x5\) are larger than the image \(4x9\)"):
        VaryingBlur(some_kernels(2, 2))(rand(3, 4, 9))


@pytest.mark.parametrize(("rows", "columns"), [(slice(0, 9), slice(20, 40)), (slice(18, 30), slice(0, 40))])
def test_a_part_is_blurred_as_in_the_whole(rows: slice, columns: slice) -> None:
    kernels, image = some_kernels(3, 4), rand(3, 34, 44)
    varying = VaryingBlur(kernels)
    part = varying.of_part(rows, columns, (30, 40))
    seen = image[:, rows.start : rows.stop + 4, columns.start : columns.stop + 4]
    assert_close(part(seen), varying(image)[:, rows, columns], rtol=1e-9, atol=1e-11)


def test_a_part_under_one_kernel_keeps_that_one_alone() -> None:
    kernels = some_kernels(3, 4)
    part = VaryingBlur(kernels).of_part(slice(0, 4), slice(36, 40), (30, 40))
    assert torch.equal(part.kernels, kernels[:1, 3:])


def test_kernels_written_anew_are_seen() -> None:
    varying, image = VaryingBlur(some_kernels(2, 2)), rand(1, 20, 20)
    before = varying(image)
    with torch.no_grad():
        varying.kernels.mul_(2)
    assert_close(varying(image), 2 * before)
