"""Parts of an image, put together, against the whole; the whole's values come from SciPy."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from resharp.tiling import (
    FEATHER,
    even_sample,
    mirrored_to_multiple,
    n_tiles,
    run_in_tiles,
    run_whole,
    smallest_side,
)
from tests.conftest import rand

SIZES = [(1, 1), (3, 700), (700, 3), (107, 108), (161, 254), (230, 409)]


def box_mean(image: Tensor, reach: int) -> Tensor:
    padded = functional.pad(image, (reach,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * reach + 1, stride=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("reach", "multiple_of", "more"), [(0, 1, 0), (3, 4, 0), (5, 8, 50)])
def test_parts_give_the_whole(size: tuple[int, int], reach: int, multiple_of: int, more: int) -> None:
    image = rand(2, 3, *size)
    side = smallest_side(reach, multiple_of) + more
    parts = run_in_tiles(lambda x: box_mean(x, reach), image, side=side, halo=reach, multiple_of=multiple_of)
    whole = scipy.ndimage.uniform_filter(image.numpy(), (1, 1, 2 * reach + 1, 2 * reach + 1), mode="nearest")
    assert_close(parts, torch.from_numpy(whole))


@pytest.mark.parametrize("size", [(13, 18), (12, 17), (3, 50), (1, 1)])
def test_sizes_that_do_not_fit_are_continued_by_their_mirror_image(size: tuple[int, int]) -> None:
    image = rand(1, 3, *size)
    larger = [max(8, -(-n // 4) * 4) for n in size]
    padding = [(0, 0), (0, 0), *((0, to - n) for n, to in zip(size, larger, strict=True))]
    padded = torch.from_numpy(np.pad(image.numpy(), padding, mode="reflect"))
    assert torch.equal(mirrored_to_multiple(image, 4, least=8), padded)
    seen: list[Tensor] = []

    def doubled(whole: Tensor) -> Tensor:
        seen.append(whole)
        return whole.repeat_interleave(2, -1).repeat_interleave(2, -2)

    result = run_whole(doubled, image, multiple_of=4, scale=2)
    assert torch.equal(seen[0], padded)
    assert torch.equal(result, doubled(image))


def test_an_image_that_fits_is_not_copied() -> None:
    image = rand(1, 3, 8, 12)
    assert mirrored_to_multiple(image, 4, least=8) is image
    assert torch.equal(run_whole(lambda x: x, image), image)


@pytest.mark.parametrize("scale", [2, 3])
def test_parts_of_what_grows_give_the_whole(scale: int) -> None:
    """Box means enlarged: scaled shares sum to 1, scaled parts lie where they belong."""
    image, layout = rand(1, 3, 161, 254), {"side": smallest_side(3, 4), "halo": 3, "multiple_of": 4}

    def larger(part: Tensor) -> Tensor:
        means = box_mean(part, 3)
        rows = torch.arange(scale, dtype=means.dtype).repeat(means.shape[-2])[:, None]
        return means.repeat_interleave(scale, -1).repeat_interleave(scale, -2) * (1 + rows)

    assert n_tiles(image, **layout) > 4
    assert_close(run_in_tiles(larger, image, scale=scale, **layout), larger(image))


def test_parts_stand_on_the_networks_grid() -> None:
    """A function of the place modulo 8 gives the same in every part."""

    def grid(image: Tensor) -> Tensor:
        down, across = (torch.arange(n, dtype=image.dtype) % 8 for n in image.shape[-2:])
        return image + down[:, None] * across

    image = rand(1, 3, 200, 300)
    assert_close(run_in_tiles(grid, image, side=smallest_side(3, 8), halo=3, multiple_of=8), grid(image))


def test_no_part_is_larger_than_asked_and_each_is_told() -> None:
    sizes: list[torch.Size] = []
    told: list[int] = []

    def look(image: Tensor) -> Tensor:
        sizes.append(image.shape[-2:])
        return image

    image, layout = rand(1, 3, 250, 471), {"side": 120, "halo": 9, "multiple_of": 4}
    run_in_tiles(look, image, on_tile=lambda: told.append(1), **layout)
    assert max(max(size) for size in sizes) <= 120
    assert len(sizes) == len(told) == n_tiles(image, **layout) > 10


@pytest.mark.parametrize("at_once", [2, 3, 100])
def test_parts_of_one_size_go_together(at_once: int) -> None:
    """Each part once, none with one of another size, and all but the last of a size in full batches."""
    image, layout = rand(2, 3, 250, 471), {"side": 120, "halo": 9, "multiple_of": 4}
    given: list[torch.Size] = []

    def look(parts: Tensor) -> Tensor:
        given.append(parts.shape)
        return box_mean(parts, 9)

    assert_close(run_in_tiles(look, image, at_once=at_once, **layout), box_mean(image, 9))
    assert sum(shape[0] // 2 for shape in given) == n_tiles(image, **layout)
    assert len({shape[-2:] for shape in given}) == 4
    assert sum(shape[0] < 2 * at_once for shape in given) <= 4
    assert max(shape[0] for shape in given) == 2 * min(at_once, 12)


def test_differing_parts_pass_into_each_other() -> None:
    """Constants that grow from part to part: the steps between them are ramps as wide as the feather."""
    calls: list[int] = []

    def count(image: Tensor) -> Tensor:
        calls.append(1)
        return torch.full_like(image, len(calls))

    side = smallest_side(5)
    row = run_in_tiles(count, rand(1, 1, 1, 2 * side), side=side, halo=5)[0, 0, 0]
    steps = row.diff()
    assert float(steps.max()) <= 1 / FEATHER + 1e-6
    assert float(row[0]) == 1
    assert float(row[-1]) == len(calls)


def test_a_photo_of_one_part_is_not_copied() -> None:
    image = rand(1, 3, 20, 30)
    assert run_in_tiles(lambda x: x, image, side=30, halo=500) is image


@pytest.mark.parametrize("size", [*SIZES, (640, 480), (90, 4000)])
def test_a_sample_is_even(size: tuple[int, int]) -> None:
    """Its mean of a ramp is the ramp's middle; it reaches the borders; squares stand on the grid."""
    down, across = (torch.arange(n, dtype=torch.float64) for n in size)
    image = torch.stack([down[:, None].expand(size), across.expand(size)])[None]
    sample = even_sample(image, side=32, most=25, multiple_of=4)
    assert 1 <= len(sample) <= 25
    assert sample.shape[-2:] == tuple(min(n, 32) for n in size)
    assert not sample[:, :, 0, 0].remainder(4).any()
    for axis, n in enumerate(size):
        assert float(sample[:, axis].mean()) == pytest.approx((n - 1) / 2, abs=4)
        starts = sample[:, axis, 0, 0].unique()
        assert len(starts) == 1 or float(sample[:, axis].max()) >= n - 1 - 4


def test_small_parts_of_large_reach_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        run_in_tiles(lambda x: x, rand(1, 1, 200, 200), side=smallest_side(20) - 1, halo=20)


def test_shares_are_in_the_images_own_precision() -> None:
    image = rand(1, 3, 150, 150, dtype=torch.float32)
    result = run_in_tiles(lambda x: x, image, side=90, halo=4)
    assert result.dtype == torch.float32
    assert np.abs(result.numpy() - image.numpy()).max() < 1e-6
