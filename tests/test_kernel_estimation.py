"""Kernels found of blurred pictures whose kernels are known, and the pieces of the way there against closed forms."""

import dataclasses
import math
import threading

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import Blur, blurred, disk_kernel, gaussian_kernel, motion_kernel
from resharp.degradations.naming import largest_named
from resharp.errors import ArgumentError, KernelError
from resharp.kernel_estimation import (
    estimate_kernel,
    estimate_kernels,
    explained,
    find_blur,
    missing,
    sharpness,
)
from resharp.kernel_estimation.explaining import doubt, left_over, power_in_nulls, roundness
from resharp.kernel_estimation.field import _by_doubt, _candidates, _is_blur, _of_print, _overview, _seen
from resharp.kernel_estimation.fitting import fitted_kernels, seen_gradients
from resharp.kernel_estimation.latent import edge_threshold, few_edges
from resharp.kernel_estimation.layout import Layout, laid_out
from resharp.kernel_estimation.noise import noise_sigma, smoothed
from resharp.kernel_estimation.paper import paper_of
from resharp.kernel_estimation.planes import gradient_power, gradients, gradients_transposed, kernel_spectra, kernels_of
from resharp.kernel_estimation.pyramid import Guess
from resharp.kernel_estimation.shapes import (
    centre_of_light,
    centred,
    extent,
    normalised,
    reach,
    resampled,
    without_islands,
)
from resharp.kernel_estimation.sharpness import SURELY_SHARP, sharpness_through
from resharp.kernel_estimation.threads import one_thread, side_by_side, window_by_window
from resharp.kernel_estimation.view import NoBlurError, Overview, View, largest_kernel, steepest_edges, viewed
from resharp.kernel_estimation.windows import WindowKernels, kernels_of_windows
from resharp.restorers.blind import IN_DOUBT
from tests.conftest import rand


def scene(height: int, width: int, seed: int = 0, n_boxes: int = 60) -> Tensor:
    """Boxes of many sizes and greys, some turned: (H, W)."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.arange(height)[:, None].float(), torch.arange(width)[None].float()
    picture = torch.full((height, width), 0.5)
    for _ in range(n_boxes):
        cy, cx, a, b, angle, grey = torch.rand(6, generator=generator).tolist()
        down, right = y - cy * height, x - cx * width
        along = right * np.cos(3 * angle) + down * np.sin(3 * angle)
        across = down * np.cos(3 * angle) - right * np.sin(3 * angle)
        inside = (along.abs() < 4 + 24 * a) & (across.abs() < 4 + 24 * b)
        picture[inside] = 0.1 + 0.8 * grey
    return picture


def seen(picture: Tensor, kernel: Tensor, noise: float = 0.0) -> Tensor:
    image = blurred(picture[None], kernel)[0]
    return (image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def similarity(found: Tensor, true: Tensor) -> float:
    side = 2 * max(*found.shape, *true.shape)
    spectra = [torch.fft.rfft2(kernel, s=(side, side)) for kernel in (found, true)]
    products = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=(side, side))
    return float(products.max() / (found.norm() * true.norm()))


@pytest.mark.parametrize("kernel", [motion_kernel(11, 30), gaussian_kernel(1.6), disk_kernel(3)])
def test_the_kernel_of_a_blurred_window_is_found(kernel: Tensor) -> None:
    found = estimate_kernels(seen(scene(160, 160), kernel), largest=19)
    assert similarity(found, kernel) > 0.85
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    assert float(found.min()) >= 0
    assert float(centre_of_light(found[None]).abs().max()) < 0.3


def test_noise_does_not_hide_the_kernel() -> None:
    kernel = motion_kernel(11, 30)
    assert similarity(estimate_kernels(seen(scene(160, 160), kernel, noise=0.02), largest=19), kernel) > 0.7


def test_most_of_the_light_reaches_as_far_as_a_closed_form_says() -> None:
    even = torch.full((1, 21, 21), 1 / 441)
    assert float(extent(even, share=0.5)) == 7  # (2 * 7 + 1)^2 = 225 of 441
    assert float(extent(even, share=0.97)) == 10


def test_kernels_are_the_same_on_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    windows = torch.stack([seen(scene(200, 200, seed=seed), motion_kernel(9, 30), 0.01) for seed in (3, 4)])
    try:
        found, blurs = [], []
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            found.append(estimate_kernels(windows, largest=15))
            blurs.append(find_blur(windows[0][None]))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert blurs[0].field is not None
    for one in blurs[1:]:
        assert one.field is not None
        assert torch.equal(one.field.kernels, blurs[0].field.kernels)
        assert one.field.doubt == blurs[0].field.doubt


@pytest.mark.parametrize("is_within_another", [False, True])
def test_what_is_not_asked_for_is_given_up(is_within_another: bool) -> None:
    before, counted, begun = torch.get_num_threads(), [0], threading.Event()

    def counting() -> None:
        for _ in range(100_000):
            window_by_window(lambda one: (one,), torch.zeros(1, 2, 2))
            counted[0] += 1
            begun.set()

    def counting_beside() -> None:
        with side_by_side(counting, counting) as (one, _):
            one()

    def refused() -> None:
        begun.wait()
        raise KernelError("nothing to see")

    torch.set_num_threads(4)
    try:
        work = counting_beside if is_within_another else counting
        with one_thread(), pytest.raises(KernelError), side_by_side(refused, work) as (first, _):
            first()
    finally:
        torch.set_num_threads(before)
    assert 0 < counted[0] < 100_000


def test_windows_are_estimated_as_alone() -> None:
    windows = torch.stack([seen(scene(96, 96, seed), motion_kernel(7, 90 * seed)) for seed in range(2)])
    together = estimate_kernels(windows, largest=11)
    for window, kernel in zip(windows, together, strict=True):
        assert similarity(estimate_kernels(window, largest=11), kernel) > 0.99


def test_the_size_of_a_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger than the first size tried, and a small one, which comes out small."""
    monkeypatch.setattr("resharp.kernel_estimation.single._SIZES", (9, 17, 25))
    windows = torch.stack([seen(scene(128, 128, seed), motion_kernel(15 - 10 * seed, 0)) for seed in range(2)])
    found = estimate_kernels(windows)
    assert similarity(found[0], motion_kernel(15, 0)) > 0.8
    assert float(reach(found)[1]) <= 4


@pytest.mark.parametrize("shape", [(0, 50, 50), (1, 1, 50, 50), (50,)])
def test_what_is_no_window_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="kernels are estimated of windows"):
        estimate_kernels(torch.zeros(shape))


def test_a_window_too_small_for_a_kernel_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a window of 9x9 is too small"):
        estimate_kernels(torch.zeros(9, 9))


def test_a_flat_window_has_some_kernel_all_the_same() -> None:
    found = estimate_kernels(torch.full((48, 48), 0.3), largest=9)
    assert bool(found.isfinite().all())
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_windows_share_evidence_unless_they_contradict() -> None:
    """Two windows blurred across, one blurred downwards, one of next to nothing: it follows its neighbours."""
    across, down = motion_kernel(11, 0), motion_kernel(11, 90)
    windows = [seen(scene(112, 112, seed), across) for seed in range(2)]
    windows += [seen(scene(112, 112, 2), down), seen(0.5 + 0.01 * scene(112, 112, 3), across, noise=0.002)]
    kernels = kernels_of_windows(torch.stack(windows), torch.ones(4, 4), 17).at(1.0).kernels
    for kernel, true in zip(kernels, (across, across, down, across), strict=True):
        assert similarity(kernel, true) > 0.7
    alone = kernels_of_windows(windows[3][None], torch.ones(1, 1), 17).at(1.0)
    assert similarity(alone.kernels[0], across) < 0.6


def test_kernels_may_be_carried_on_later() -> None:
    """Up to .7 of the resolution and then to all of it, as at once."""
    windows = torch.stack([seen(scene(96, 96, seed), motion_kernel(9, 30)) for seed in range(2)])
    low = kernels_of_windows(windows, torch.ones(2, 2), 13)
    halfway = low.at(0.8)
    assert halfway.seen.shape == (2, 68, 68)
    assert halfway.at(0.5) is halfway, "never back"
    assert torch.equal(halfway.at(1.0).kernels, low.at(1.0).kernels)


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_a_blurred_photo_has_a_field(gamma: float) -> None:
    """A straight blur has dark lines in its spectrum in the values alone in which it happened."""
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20), gamma=gamma)
    found = find_blur(photo.expand(3, -1, -1))
    assert found.field is not None
    assert found.field.size == (150, 200)
    assert found.field.gamma == gamma
    assert found.field.doubt < 0.6
    assert min(similarity(kernel, motion_kernel(13, 20)) for kernel in found.field.kernels.flatten(0, 1)) > 0.7


def doubted(monkeypatch: pytest.MonkeyPatch, photo: Tensor, in_pixels: float, in_light: float) -> None:
    bright = float(photo.mean())
    monkeypatch.setattr(
        "resharp.kernel_estimation.field.doubt",
        lambda windows, _: in_light if float(windows.mean()) < 0.8 * bright else in_pixels,
    )


@pytest.mark.parametrize(
    ("noise", "in_light", "gamma"),
    [(0.0, 0.44, 2.2), (0.0, 0.46, 1.3), (0.0, 0.59, 1.3), (0.0, 0.61, 1.0), (0.02, 0.64, 2.2), (0.02, 0.66, 1.0)],
)
def test_the_gamma_is_that_of_less_doubt_or_between_and_light_where_noise_hides_the_difference(
    monkeypatch: pytest.MonkeyPatch, noise: float, in_light: float, gamma: float
) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20), gamma=2.2)
    photo += noise * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    doubted(monkeypatch, photo, 0.5, in_light)
    assert [candidate.gamma for candidate in _candidates(photo.clamp(0, 1), None)] == [gamma]


def test_gammas_are_told_at_a_lower_resolution_and_those_of_print_at_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of print that is too dim in light to pass for it."""
    sizes = list[int]()

    def doubted(windows: Tensor, _: Tensor) -> float:
        sizes.append(windows.shape[-1])
        return 0.04

    monkeypatch.setattr("resharp.kernel_estimation.field.doubt", doubted)
    _candidates(blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20)), None)
    assert sizes == [141, 141]
    page = 0.6 * blurred(printed_page()[None], shaken_hand())
    in_pixels, in_light = (_seen(page, gamma, Overview(0.2, 15)) for gamma in (1.0, 2.2))
    assert in_pixels.asked.shows_print
    assert not in_light.asked.shows_print
    sizes.clear()
    _candidates(page, 15)
    assert sizes[-2:] == [in_pixels.view.windows.shape[-1]] * 2


def test_the_gamma_between_is_looked_for_in_windows_of_the_likelier(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20))
    in_pixels, in_light = (_seen(photo, gamma, Overview(0.1, side)) for gamma, side in ((1.0, 15), (2.2, 21)))
    in_pixels.__dict__["doubt"], in_light.__dict__["doubt"] = 0.1, 0.11
    assert _by_doubt(photo, in_pixels, in_light).view.side == 15
    in_light.__dict__["doubt"] = 0.095
    assert _by_doubt(photo, in_pixels, in_light).view.side == 21


def test_light_alone_may_show_too_little() -> None:
    """A dark photo, darker still there."""
    photo = 0.5 * blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20))
    with pytest.raises(NoBlurError, match="too little contrast"):
        _seen(photo, 2.2, Overview(0.1, 17))
    assert [candidate.gamma for candidate in _candidates(photo, 17)] == [1.0]


def test_black_windows_know_nothing() -> None:
    """A night's sky, or the bars of a film: no division by their nothing."""
    photo = blurred(scene(256, 256, n_boxes=120)[None], motion_kernel(13, 20))
    photo = torch.cat([photo, torch.zeros(1, 256, 256)], -1)
    found = find_blur(photo, largest=17)
    assert found.missing is not None
    assert bool(found.missing.isfinite().all())
    assert float(found.missing[0, -1]) == 1
    assert np.isfinite(_seen(photo, 1.0, Overview(0.1, 17)).doubt)


def test_a_gamma_between_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20), gamma=2.2)
    doubted(monkeypatch, photo, 0.1, 0.1)
    found = find_blur(photo)
    assert found.field is not None
    assert (found.field.gamma, found.field.doubt) == (1.3, IN_DOUBT)


def test_round_kernels_hide_their_gamma(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20), gamma=2.2)
    doubted(monkeypatch, photo, 0.5, 0.62)
    assert [candidate.gamma for candidate in _candidates(photo, None)] == [1.0]
    monkeypatch.setattr("resharp.kernel_estimation.field.roundness", lambda kernels: torch.full((len(kernels),), 0.9))
    assert [candidate.gamma for candidate in _candidates(photo, None)] == [2.2]


def test_of_print_whose_kernels_are_round_in_light_light_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of focus, what pixel values tell is made up, as of page 02 of benchmarks/pages.py under a disk of 2."""
    page = blurred(0.8 * printed_page()[None], shaken_hand())
    doubted(monkeypatch, page, 0.1, 0.9)
    assert [candidate.gamma for candidate in _candidates(page, 17)] == [1.0]
    page = blurred(0.8 * printed_page()[None], disk_kernel(2), gamma=2.2)
    doubted(monkeypatch, page, 0.1, 0.9)
    assert [candidate.gamma for candidate in _candidates(page, 17)] == [2.2]


@pytest.mark.parametrize(
    ("logit", "in_nulls", "lacks", "expected"),
    [
        (1.4, 0.17, 0.5, False),
        (1.6, 0.17, 0.5, True),
        (1.6, 0.41, 0.5, False),
        (1.4, 0.04, 0.96, False),
        (1.6, 0.09, 0.96, True),  # windows of sky
        (1.6, 0.11, 0.96, False),
        (1.6, math.nan, 0.96, False),
    ],
)
def test_less_is_asked_of_kernels_of_a_photo_that_looks_blurred(
    monkeypatch: pytest.MonkeyPatch, logit: float, in_nulls: float, lacks: float, expected: bool
) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20))
    view = viewed(photo, 1.0, Overview(0.21, 17, logit))
    kernels = motion_kernel(13, 20).expand(len(view.windows), -1, -1)
    monkeypatch.setattr("resharp.kernel_estimation.field.power_in_nulls", lambda *_: in_nulls)
    assert _is_blur(view, kernels, torch.full((len(kernels),), lacks)) == expected


def test_how_wide_kernels_may_be_is_seen_in_both_gammas_of_small_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """And in light alone of larger ones; what one of them does not show the other may tell."""
    photo, sides = torch.full((3, 60, 60), 0.5), {1.0: 21, 2.2: 11}

    def looked(luma: Tensor) -> int | None:
        return sides.get(1.0 if float(luma.mean()) > 0.4 else 2.2)

    monkeypatch.setattr("resharp.kernel_estimation.view.largest_kernel", looked)
    monkeypatch.setattr("resharp.kernel_estimation.view.steepest_edges", lambda _: 0.1)
    monkeypatch.setattr("resharp.kernel_estimation.view.blur_logit", lambda _: 2.0)
    assert _overview(photo, None).side == 21
    assert _overview(photo, 15).side == 15
    monkeypatch.setattr("resharp.kernel_estimation.field._SMALL", 3599)
    assert _overview(photo, None).side == 11
    del sides[2.2]
    assert _overview(photo, None).side == 21
    monkeypatch.setattr("resharp.kernel_estimation.field._SMALL", 3600)
    assert _overview(photo, None).side == 21
    sides.clear()
    with pytest.raises(NoBlurError, match="wider than can be found"):
        _overview(photo, None)


def in_turn(monkeypatch: pytest.MonkeyPatch, first: float, wider: float) -> None:
    """What is doubted of the kernels of both gammas, and then of wider ones."""
    asked: list[int] = []

    def doubted(windows: Tensor, _: Tensor) -> float:
        asked.append(len(windows))
        return first if len(asked) <= 2 else wider

    monkeypatch.setattr("resharp.kernel_estimation.field.doubt", doubted)


@pytest.mark.parametrize(
    ("first", "wider", "times"), [(0.5, 0.4, 1.28), (0.5, 0.46, 1), (0.04, 0.02, 1), (0.9, 0.5, 1)]
)
def test_wider_kernels_are_tried_in_small_photos(
    monkeypatch: pytest.MonkeyPatch, first: float, wider: float, times: float
) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20))
    side = _overview(photo, None).side
    in_turn(monkeypatch, first, wider)
    assert _candidates(photo, None)[0].view.side == pytest.approx(times * side, abs=1)
    in_turn(monkeypatch, first, wider)
    assert _candidates(photo, side)[0].view.side == side, "no wider ones than were asked for"


def test_wider_kernels_are_tried_in_larger_photos_where_little_speaks_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resharp.kernel_estimation.field._SMALL", 0)
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20))
    sides = []
    for first in (0.32, 0.34):
        in_turn(monkeypatch, first, 0.2)
        sides.append(_candidates(photo, None)[0].view.side)
    assert sides[0] == _overview(photo, None).side < sides[1]


@pytest.mark.parametrize(
    ("first", "doubts", "expected"),
    [
        (
            0.3,
            [0.25, 0.2, 0.28],
            [0.64, 1],
        ),  # the second try leaves least doubt, and what was seen first stays behind it
        (0.3, [0.28, 0.29, 0.29], [1]),  # not clearly less
        (0.07, [0.01, 0.01, 0.01], [1]),  # beyond doubt
    ],
)
def test_narrower_kernels_are_tried_of_print(
    monkeypatch: pytest.MonkeyPatch, first: float, doubts: list[float], expected: list[float]
) -> None:
    page = blurred(printed_page()[None], shaken_hand())
    seen = _seen(page, 2.2, Overview(0.2, 25)).whole
    seen.__dict__["doubt"] = first
    monkeypatch.setattr("resharp.kernel_estimation.field.doubt", lambda *_: doubts.pop(0))
    candidates = _of_print(seen, page)
    assert [candidate.view.side for candidate in candidates] == pytest.approx([25 * share for share in expected], abs=2)
    assert [candidate.most_doubt for candidate in candidates] == ([0.3] if len(expected) == 2 else []) + [0.85]


def test_of_print_out_of_focus_nothing_narrower_is_tried() -> None:
    """Nothing can tell, as round kernels are the same when turned."""
    page = blurred(printed_page()[None], disk_kernel(3.5), gamma=2.2)
    seen = _seen(page, 2.2, Overview(0.2, 17))
    assert not seen.shows_a_motion
    assert [candidate.view.side for candidate in _of_print(seen, page)] == [17]


def test_narrower_kernels_that_are_in_doubt_in_all_windows_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = blurred(scene(150, 200, n_boxes=120)[None], motion_kernel(13, 20))
    first, second = (_seen(photo, 1.0, Overview(0.1, side)).as_candidate() for side in (15, 21))
    alone = find_blur(photo, gamma=1.0, largest=15).field
    assert alone is not None
    for most, side in ((1.01 * alone.doubt, 15), (0.99 * alone.doubt, 21)):
        tried = [dataclasses.replace(first, most_doubt=most), second]
        monkeypatch.setattr("resharp.kernel_estimation.field._candidates", lambda *_, tried=tried: list(tried))
        found = find_blur(photo)
        assert found.field is not None
        assert found.field.kernels.shape[-1] == side


@pytest.mark.parametrize(("its_doubt", "page", "is_taken"), [(0.37, 1, True), (0.39, 1, False), (0.39, 0, True)])
def test_print_in_doubt_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, its_doubt: float, page: int, is_taken: bool
) -> None:
    photo = blurred((printed_page() if page else scene(150, 200, n_boxes=120))[None], shaken_hand())
    monkeypatch.setattr("resharp.kernel_estimation.field.doubt", lambda *_: its_doubt)
    monkeypatch.setattr("resharp.kernel_estimation.field._is_blur", lambda *_: True)
    assert (find_blur(photo, gamma=1.0).field is not None) == is_taken


def test_light_is_told_by_some_windows_and_found_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.kernel_estimation.field._ASKED", 1)
    photo = blurred(scene(150, 450, n_boxes=240)[None], motion_kernel(13, 20), gamma=2.2)
    found = find_blur(photo, largest=15)
    assert found.field is not None
    assert found.field.gamma == 2.2
    assert found.field.kernels.shape[:2] == (1, 3)
    assert min(similarity(kernel, motion_kernel(13, 20)) for kernel in found.field.kernels.flatten(0, 1)) > 0.7


def test_windows_that_show_most_show_different_things() -> None:
    """Windows 50 pixels apart, of 200, see nearly the same."""
    plane = scene(300, 400)
    plane[:, :250] += 0.2 * rand(300, 250)
    layout = Layout(200, 200, [0, 100], [0, 50, 200])
    view = View(Overview(0.1, 9), plane, layout, layout.windows(plane), 9, 1.0)
    taken = [view.windows_that_show_most(count).layout.only for count in (2, 6)]
    assert taken[0] is not None
    assert layout.are_apart(*taken[0])
    assert taken[1] == list(range(6))


def test_a_wide_blur_is_found_in_a_shrunk_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.kernel_estimation.view.WIDEST", 13)
    kernel = motion_kernel(15, 20)
    found = find_blur(seen(scene(240, 260, n_boxes=160), kernel)[None], largest=23).field
    assert found is not None
    assert found.size == (240, 260)
    assert found.kernels.shape[-1] <= 25
    assert similarity(found.kernels[0, 0], kernel) > 0.7


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (torch.zeros(3, 100, 100), "too few edges"),
        (torch.full((1, 64, 300), 0.9), "too few edges"),
        (torch.zeros(3, 1, 1), "a photo of 1x1 is too small"),
        (torch.zeros(3, 5, 4000), "a photo of 4000x5 is too small"),
    ],
)
def test_photos_that_show_no_blur_get_a_reason(photo: Tensor, reason: str) -> None:
    found = find_blur(photo)
    assert found.field is None
    assert reason in found.reason


def test_what_is_no_photo_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"in a photo \(1 or 3, H, W\)"):
        find_blur(torch.zeros(2, 3, 64, 64))
    with pytest.raises(ArgumentError, match=r"in a photo \(1 or 3, H, W\)"):
        find_blur(torch.zeros(5), gamma=1.0)


def test_the_extent_of_a_blur_is_seen_at_a_low_resolution() -> None:
    found = largest_kernel(seen(scene(160, 240, n_boxes=80), motion_kernel(25, 0)))
    assert found is not None
    assert 25 <= found <= 51


def test_sharpness_tells_edges_in_every_direction() -> None:
    picture = scene(160, 160)
    sharp, shaken, soft = (
        sharpness(p) for p in (picture, seen(picture, motion_kernel(9, 0)), seen(picture, disk_kernel(3)))
    )
    assert sharp > 0.3
    assert shaken < 0.2
    assert soft < 0.22
    assert np.isnan(sharpness(torch.zeros(64, 64)))


def test_borders_of_clipped_lamps_are_no_sharp_edges() -> None:
    lamps = (10 * seen((scene(160, 160) > 0.8).float(), disk_kernel(4))).clamp(0, 1)
    shaken = torch.maximum(seen(scene(160, 160, n_boxes=120) * 0.7, motion_kernel(11, 20)), lamps)
    assert sharpness(shaken) > 0.25
    assert sharpness(shaken, shaken >= 1) < 0.2


def printed_page(height: int = 200, width: int = 300, *, paper: int = 230) -> Tensor:
    """Lines of letters on paper: (H, W)."""
    draw, page = np.random.default_rng(0), np.full((height, width), paper, np.uint8)
    for y in range(24, height - 10, 22):
        line = "".join(draw.choice(list("abcdefghijklmnopqrstuvwxyz   "), (width - 12) * 28 // 288))
        cv2.putText(page, line, (12, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 40, 1, cv2.LINE_AA)
    return torch.from_numpy(page).float() / 255


def shaken_hand() -> Tensor:
    """A hand that rests at both ends: (15, 15)."""
    kernel = torch.zeros(15, 15)
    for t in np.linspace(0, 1, 40):
        kernel[int(2 + 10 * t), int(3 + 7 * t**2)] += 7 if abs(t - 0.5) > 0.4 else 1
    return kernel / kernel.sum()


def test_shaken_lettering_is_not_called_sharp() -> None:
    """Its strokes are thinner than the blur, so that they stay steep for what contrast is left of them."""
    sharp = printed_page()[None]
    shaken = blurred(sharp, shaken_hand())
    assert sharpness(shaken[0]) > 0.25
    assert "the photo is sharp" in find_blur(sharp).reason
    assert "the photo is sharp" not in find_blur(shaken).reason


def test_print_is_told_by_its_paper_in_any_light() -> None:
    light = torch.linspace(1, 0.7, 300) * torch.linspace(0.9, 1, 200)[:, None]
    page = printed_page() * light
    windows = torch.stack([page, scene(200, 300), page.flip(0), page.flip(1), rand(200, 300)])
    paper = paper_of(windows)
    assert paper is not None
    assert paper[[1, 4]].isnan().all()
    assert float((paper[0] - 230 / 255 * light).abs().max()) < 0.03
    assert paper_of(windows[[0, 1]]) is None
    assert paper_of(page[None, :40]) is None


def test_paper_that_was_clipped_does_not_hide_how_sharp_its_letters_are() -> None:
    """Around every letter it would leave no pixel to tell by, as sharpening and JPEG leave it."""
    page = printed_page(paper=255)
    assert math.isnan(sharpness(page, page >= 1))
    assert steepest_edges(page[None]) > SURELY_SHARP
    assert "the photo is sharp" in find_blur(page[None]).reason


def test_that_a_page_is_mostly_paper_tells_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Image.new("L", (400, 300), 240)
    words = "Licensed under the Apache License, version two; you may\nnot use this file but under the terms of that\n"
    ImageDraw.Draw(drawn).text((20, 20), 5 * words, 30, ImageFont.load_default(20), spacing=8)
    page, kernel = torch.from_numpy(np.asarray(drawn).copy())[None].float() / 255, shaken_hand()
    shaken = blurred(page**2.2, kernel) ** (1 / 2.2)
    found = similarity(estimate_kernel(shaken, gamma=2.2, largest=17), kernel)
    monkeypatch.setattr("resharp.kernel_estimation.pyramid.paper_of", lambda windows: None)
    by_edges = similarity(estimate_kernel(shaken, gamma=2.2, largest=17), kernel)
    assert found > by_edges + 0.1, (found, by_edges)
    assert found > 0.7


@pytest.mark.parametrize(
    ("kernel", "is_soft"), [(gaussian_kernel(0.7), True), (gaussian_kernel(0.7), False), (motion_kernel(15, 30), False)]
)
def test_photos_without_blur_are_told_by_few_windows(
    kernel: Tensor, is_soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kernels leave steep edges, and where a photo of steep edges lacks nothing that its kernels take away."""
    looked = list[int]()

    def found(view: View) -> WindowKernels:
        n_windows, side = len(view.windows), max(kernel.shape)
        looked.append(n_windows)
        across, down = (side - kernel.shape[1]) // 2, (side - kernel.shape[0]) // 2
        square = torch.nn.functional.pad(kernel, (across, across, down, down))
        guess = Guess(square.expand(n_windows, -1, -1), 1.0, torch.ones(n_windows), 0.0)  # at all of the resolution
        return WindowKernels(view.windows, 15, torch.eye(n_windows), guess)

    picture = torch.from_numpy(cv2.GaussianBlur(scene(300, 640, 3).numpy(), (0, 0), 1.6 if is_soft else 1.0))
    monkeypatch.setattr("resharp.kernel_estimation.field._sought", found)
    assert find_blur(picture[None], largest=15).field is None
    assert looked == [4]


def test_noise_is_measured_and_the_kernel_of_smoothed_windows_is_the_same() -> None:
    image = seen(scene(128, 128), disk_kernel(2))[None]
    assert torch.equal(smoothed(image), image)
    noise = 0.03 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    assert float(noise_sigma(image + noise)) == pytest.approx(0.03, rel=0.1)
    assert float(smoothed(0.5 + noise).std()) < 0.012


def test_a_blur_leaves_its_nulls_empty_and_a_sharp_photo_does_not() -> None:
    kernel = torch.zeros(1, 15, 15)
    for t in np.linspace(0, 1, 40):
        kernel[0, int(2 + 10 * t), int(3 + 7 * t**2)] += 1
    kernel /= kernel.sum()
    sharp = scene(256, 256)
    assert power_in_nulls(seen(sharp, kernel[0])[None], kernel) < 0.1
    assert power_in_nulls(sharp[None], kernel) > 0.4
    assert np.isnan(power_in_nulls(sharp[None], torch.ones(1, 1, 1)))


def test_a_true_kernel_explains_more_than_a_wrong_one() -> None:
    window = seen(scene(128, 128), motion_kernel(11, 0))[None]
    true, wrong = (motion_kernel(11, angle) for angle in (0, 90))
    square = torch.zeros(2, 13, 13)
    square[0, 6 - true.shape[0] // 2 : 7 + true.shape[0] // 2, 6 - true.shape[1] // 2 : 7 + true.shape[1] // 2] = true
    square[1, 6 - wrong.shape[0] // 2 : 7 + wrong.shape[0] // 2, 6 - wrong.shape[1] // 2 : 7 + wrong.shape[1] // 2] = (
        wrong
    )
    shares = explained(window.expand(2, -1, -1), square)
    assert float(shares[0]) > float(shares[1]) + 0.05
    lacking = missing(window.expand(2, -1, -1), square)
    assert float(lacking[0]) < 0.5
    assert float(lacking[1]) > 2
    assert float(missing(scene(128, 128)[None], square[:1])) == pytest.approx(1, abs=0.25)
    assert float(left_over(window, square[:1])) < 0.7
    assert float(left_over(window, square[1:])) > 1.2
    assert doubt(window, square[:1]) < 0.2 < 1 < doubt(window, square[1:])


def test_round_kernels_and_the_edges_that_kernels_leave() -> None:
    """A Gaussian leaves 1 / sqrt(2 pi (1.6^2 + .5^2)) of a step, a straight blur of n pixels 1 / n."""
    round_one = gaussian_kernel(1.6)[None]
    assert float(roundness(round_one)) == pytest.approx(1)
    assert float(sharpness_through(round_one)) == pytest.approx(0.238, rel=0.1)
    straight = torch.zeros(1, 13, 13)
    straight[0, 6, 1:12] = 1 / 11
    assert float(roundness(straight)) == pytest.approx(1 / 11)
    assert float(sharpness_through(straight)) == pytest.approx(1 / 11, rel=0.02)


def test_one_kernel_for_a_photo_is_that_of_all_its_windows() -> None:
    kernel = motion_kernel(11, 30)
    photo = seen(scene(150, 300, n_boxes=140), kernel)
    found = estimate_kernel(photo.expand(3, -1, -1), largest=17)
    assert similarity(found, kernel) > 0.85
    assert found.shape[0] == found.shape[1] <= 17
    with pytest.raises(KernelError, match="the photo is sharp"):
        estimate_kernel(scene(150, 200, n_boxes=120)[None])


@pytest.mark.parametrize(
    ("text", "largest"),
    [("estimate", 0), ("estimate:31", 31), ("disk:3", None), ("k.png", None), (torch.ones(3), None)],
)
def test_kernels_that_are_to_be_estimated_are_named(text: object, largest: int | None) -> None:
    assert largest_named(text) == largest


@pytest.mark.parametrize(
    "text", ["estimate:", "estimate:2", "estimate:3", "estimate:30", "estimate:x", "estimate:31,2"]
)
def test_misspelt_estimates_are_refused(text: str) -> None:
    with pytest.raises(KernelError, match="write estimate, or estimate:31"):
        largest_named(text)


def test_fitted_kernels_solve_the_least_squares_problem() -> None:
    """Against a dense matrix of shifted gradients, solved twice: the second time bright pixels are damped less."""
    sharp, side = rand(1, 24, 20), 3
    blurred_image = torch.nn.functional.pad(Blur(rand(3, 3))(sharp), (1, 1, 1, 1))
    fitted = fitted_kernels(
        seen_gradients(blurred_image),
        sharp,
        threshold=torch.zeros(1),
        support=torch.ones(1, side, side).double(),
        ridge=0.1,
    )
    rows, target = [], []
    for edges, gradient in zip(gradients(sharp), gradients(blurred_image), strict=True):
        for planes in (edges, gradient):
            planes[:, -1], planes[:, :, -1] = 0, 0
        shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        rows.append(torch.stack([torch.roll(edges[0], shift, (0, 1)).flatten() for shift in shifts], 1))
        target.append(gradient[0].flatten())
    matrix, right = torch.cat(rows), torch.cat(target)
    first = torch.linalg.solve(matrix.T @ matrix + 0.1 * torch.eye(9), matrix.T @ right)
    dampings = 0.1 * 0.3 / (first.clamp(min=0) / first.max() + 0.05)
    expected = torch.linalg.solve(matrix.T @ matrix + torch.diag(dampings), matrix.T @ right)
    assert_close(fitted.flatten(), expected, rtol=1e-5, atol=1e-7)


def test_pooled_evidence_is_that_of_both_windows() -> None:
    sharp = rand(2, 24, 24)
    image = torch.nn.functional.pad(Blur(disk_kernel(1).double())(sharp), (1, 1, 1, 1))
    arguments = {"threshold": torch.zeros(2), "support": torch.ones(2, 3, 3).double(), "ridge": 0.1}
    seen = seen_gradients(image)
    pooled = fitted_kernels(seen, sharp, pooling=torch.ones(2, 2).double(), **arguments)
    assert_close(pooled[0], pooled[1])
    apart = fitted_kernels(seen, sharp, pooling=torch.eye(2).double(), **arguments)
    assert_close(apart, fitted_kernels(seen, sharp, **arguments))


def test_ink_is_kept_and_paper_made_even() -> None:
    """A grey stain that is not worth its price goes with the paper, strokes stay."""
    point = torch.zeros(1, 3, 3)
    point[0, 1, 1] = 1
    page = printed_page()[None]
    level = torch.full_like(page, 230 / 255)
    stained = page + 0.01 * torch.randn(page.shape, generator=torch.Generator().manual_seed(0))
    made = few_edges(stained, point, 1e-2, paper=level)
    bare = page == page.amax()
    assert float((made - level)[bare].square().mean()) < float((stained - level)[bare].square().mean()) / 50
    assert float((made - page)[page < 0.4].abs().mean()) < 0.02
    assert_close(few_edges(stained, point, 1e-2, paper=level * torch.nan), few_edges(stained, point, 1e-2))


def test_few_edges_are_kept_where_they_are_cheap() -> None:
    point = torch.zeros(1, 3, 3)
    point[0, 1, 1] = 1
    picture = scene(64, 64)[None]
    noisy = picture + 0.02 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    assert (
        float((few_edges(noisy, point, 1e-3) - picture).square().mean()) < float((noisy - picture).square().mean()) / 4
    )
    assert_close(few_edges(noisy, point, 1e-9), noisy, atol=1e-3, rtol=0)


def test_the_threshold_leaves_as_many_edges_as_a_kernel_needs() -> None:
    picture = scene(100, 100)[None]
    threshold = edge_threshold(picture, torch.tensor([9.0]))
    right, down = gradients(picture)
    assert int((torch.hypot(right, down) >= threshold).sum()) >= 4 * 100 * 9 / 2


def test_transforms_of_kernels_and_gradients_have_their_transposes() -> None:
    kernels, planes = rand(2, 5, 5), rand(2, 12, 10)
    through = torch.fft.irfft2(kernel_spectra(kernels, (12, 10)), s=(12, 10))
    assert_close((through * planes).sum(), (kernels * kernels_of(torch.fft.rfft2(planes), (12, 10), 5)).sum())
    one, two = rand(2, 12, 10, seed=1), rand(2, 12, 10, seed=2)
    right, down = gradients(planes)
    assert_close((right * one + down * two).sum(), (planes * gradients_transposed(one, two)).sum())
    again = torch.fft.irfft2(torch.fft.rfft2(planes) * gradient_power((12, 10), planes), s=(12, 10))
    assert_close(gradients_transposed(right, down), again)


def test_kernels_are_centred_exactly_and_keep_their_shape() -> None:
    kernel = torch.zeros(1, 21, 21)
    kernel[0, 4:15, 8] = torch.linspace(0.2, 1, 11)
    kernel = normalised(kernel, 0.0)
    exact = centred(kernel, exactly=True)
    assert float(centre_of_light(exact).abs().max()) < 0.1
    assert similarity(exact[0], kernel[0]) > 0.9
    assert float(centre_of_light(centred(kernel)).abs().max()) <= 0.5


def test_islands_and_faint_parts_go_but_never_all() -> None:
    kernel = torch.zeros(1, 9, 9)
    kernel[0, 4, 2:7], kernel[0, 0, 0], kernel[0, 8, 8] = 1, 0.3, 0.01
    cleaned = without_islands(normalised(kernel, 0.05), 0.1)
    assert float(cleaned[0, 0, 0]) == float(cleaned[0, 8, 8]) == 0
    assert_close(cleaned[0, 4, 2:7], torch.full((5,), 0.2))
    scattered = torch.eye(9)[None, :, :] * (torch.arange(9) % 2)
    assert float(without_islands(normalised(scattered, 0.0), 0.9).sum()) == pytest.approx(1)
    assert_close(normalised(-torch.ones(1, 3, 3), 0.05)[0, 1], torch.tensor([0.0, 1, 0]))


def test_kernels_are_drawn_larger_and_smaller() -> None:
    kernel = gaussian_kernel(2.0)[None]
    twice = resampled(kernel, 2.0, 33)
    assert similarity(twice[0], gaussian_kernel(4.0)) > 0.999
    assert float(reach(twice)) == pytest.approx(2 * float(reach(kernel)), abs=1)


@pytest.mark.parametrize("size", [(100, 900), (512, 768), (3000, 4000)])
def test_windows_cover_a_photo_from_border_to_border(size: tuple[int, int]) -> None:
    layout = laid_out(size, 31)
    windows = layout.windows(torch.zeros(size))
    assert windows.shape == (len(layout.tops) * len(layout.lefts), layout.height, layout.width)
    assert len(windows) <= 36
    assert (layout.tops[0], layout.tops[-1] + layout.height) == (0, size[0])
    assert (layout.lefts[0], layout.lefts[-1] + layout.width) == (0, size[1])
