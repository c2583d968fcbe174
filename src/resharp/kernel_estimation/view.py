"""A photo as its blur is looked for: how large its kernels may be, its windows, and when looking is in vain."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from resharp.degradations.light import WHITE, checked_gamma, to_light
from resharp.errors import ArgumentError, KernelError
from resharp.image import FULL_RANGE_LUMA

from .detection import blur_logit
from .layout import Layout, laid_out
from .noise import smoothed
from .paper import paper_of
from .planes import resized
from .pyramid import evidence_of, first_guess, refined, scales
from .shapes import extent, odd, reach
from .sharpness import SURELY_SHARP, sharpness
from .threads import side_by_side

_OVERVIEW = 384  # pixels of the longer side in which the extent of the blur is found
_LARGEST_IN_VIEW, _SMALLEST_IN_VIEW = 31, 7  # pixels of the overview
_VIEW_IN_KERNELS = 5  # the shorter side of an overview in sides of the largest kernel that can be seen in it
_DARK = 0.9  # of the radius: light that reaches no further was not cut off
_ROOMY = 1.15  # times what is seen of a kernel
WIDEST = 51  # side of a kernel where it is found: photos with a larger blur are shrunk for that
_SMALLEST_PHOTO = 48
_LEAST_EVIDENCE = 5.0  # squared gradients of the strongest edges, all windows together
_PHOTO_IN_KERNELS = 3  # the shorter side of a photo in sides of the largest kernel that one may ask for
_LAMPS = 1e-3  # of the pixels: more that are clipped may be paper
_POINT = 1.5  # pixels: a kernel that reaches no further is none
_BLURRED, _BLURRED_PRINT = -1.5, -2.5  # of `blur_logit`: Levin's photos have up from -1.4, sharp pages up to -3.4
# the same, beyond doubt: of 250 sharp photos none had more by networks that learned from the others, and of pages that
# were softened by half a pixel none more than -2.1
_SURELY_BLURRED, _SURELY_BLURRED_PRINT = 1.5, 0.0
IS_SHARP = "the photo is sharp"


class NoBlurError(KernelError):
    """Why no blur is found in a photo, in one line."""


@dataclasses.dataclass(frozen=True)
class Overview:
    """What a whole photo shows: its edges (`sharpness`), the side of a kernel in which its blur fits, and what speaks
    for that (`blur_logit`), NaN where nothing is known."""

    steepest: float
    side: int
    logit: float = math.nan


@dataclasses.dataclass(frozen=True)
class View:
    """A photo as its blur is looked for: its plane (H, W), `shrink` times smaller, in windows (N, h, w), for kernels of
    up to `side` pixels;  overview: of the photo as it is."""

    overview: Overview
    plane: Tensor
    layout: Layout
    windows: Tensor
    side: int
    shrink: float

    @functools.cached_property
    def shows_print(self) -> bool:
        """Whether most windows are paper with strokes on it."""
        return paper_of(self.windows) is not None

    @property
    def looks_blurred(self) -> bool:
        """Beyond doubt."""
        return self.overview.logit > (_SURELY_BLURRED_PRINT if self.shows_print else _SURELY_BLURRED)

    def windows_that_show_most(self, count: int) -> "View":
        """The same with only so many windows, row by row; such that see the same only where there are no others, but
        for print, which shows the same everywhere."""
        order = evidence_of(self.windows).argsort(descending=True, stable=True).tolist()
        taken: list[int] = []
        for number in order:
            if self.shows_print or all(self.layout.are_apart(number, other) for other in taken):
                taken.append(number)
        taken += [number for number in order if number not in taken]
        taken = sorted(taken[:count])
        layout = dataclasses.replace(self.layout, only=taken)
        return dataclasses.replace(self, layout=layout, windows=self.windows[taken])

    def closeness(self, near: float, least: float) -> Tensor:
        """(N, N) of the windows, falling over a share of the photo's longer side, but over `least` pixels at least, see
        `Layout.closeness`."""
        return self.layout.closeness(max(near * max(self.plane.shape), least))


def overview(photo: Tensor, gammas: Sequence[float], largest: int | None, *, widest: bool = False) -> Overview:
    """Of a photo (3 or 1, H, W) in [0, 1].

    largest: the side of kernels;  None: found in pixel values ** the first of these gammas in which the blur is not too
    wide, or, if `widest`, in all of them.

    Raises NoBlurError where looking is in vain, KernelError for kernels that are too large for the photo.
    """
    lumas = [_luma(photo, checked_gamma(gamma)) for gamma in gammas]
    size = (photo.shape[-2], photo.shape[-1])
    if min(size) < _SMALLEST_PHOTO:
        raise NoBlurError(f"a photo of {size[1]}x{size[0]} is too small to find a blur in")

    def wanted() -> int | None:
        if largest is not None:
            return odd(largest)
        sides = (side for luma in lumas if (side := largest_kernel(luma)) is not None)
        return max(sides, default=None) if widest else next(sides, None)

    def looks() -> tuple[float, float]:
        steepest = steepest_edges(photo)
        return steepest, blur_logit(photo) if steepest <= SURELY_SHARP else -math.inf

    with side_by_side(looks, wanted) as (told, found):
        steepest, logit = told()
        if math.isnan(steepest):
            raise NoBlurError("the photo shows too few edges to find a blur from")
        if logit < _BLURRED_PRINT or (logit < _BLURRED and paper_of(_luma(photo, 1.0)[None]) is None):
            raise NoBlurError(IS_SHARP)
        if largest is not None and largest > (most := largest_in(size)):
            shown = f"a photo of {size[1]}x{size[0]}"
            raise KernelError(f"kernels of up to {largest} pixels cannot be found in {shown}; {most} is the most")
        side = found()
    if side is None:
        raise NoBlurError("the blur is wider than can be found in a photo of this size")
    return Overview(steepest, side, logit)


def viewed(photo: Tensor, gamma: float, seen: Overview) -> View:
    """A photo (3 or 1, H, W) in [0, 1] in pixel values ** gamma.  Raises NoBlurError for one of too little contrast."""
    luma = _luma(photo, gamma)
    size = (luma.shape[0], luma.shape[1])
    shrink = max(1.0, seen.side / WIDEST)
    plane = resized(luma[None], (round(size[0] / shrink), round(size[1] / shrink)))[0].clamp(0, 1)
    layout = laid_out((plane.shape[0], plane.shape[1]), min(seen.side, WIDEST))
    windows = smoothed(layout.windows(plane))
    if float(evidence_of(windows).sum()) < _LEAST_EVIDENCE:
        raise NoBlurError("the photo has too little contrast to find a blur from")
    return View(seen, plane, layout, windows, min(seen.side, WIDEST), shrink)


def largest_in(size: tuple[int, int]) -> int:
    """Side of the largest kernel that one may ask for in a photo of this size."""
    return odd(min(size) // _PHOTO_IN_KERNELS)


def steepest_edges(photo: Tensor) -> float:
    """`sharpness` of a photo (3 or 1, H, W), the borders of clipped light left out, but for paper's, which lies around
    every letter."""
    luma, clipped = _luma(photo, 1.0), (photo >= WHITE).any(0)
    steepest = sharpness(luma, clipped)
    if float(clipped.float().mean()) > _LAMPS and paper_of(luma[None]) is not None:
        steepest = max(sharpness(luma), steepest)
    return steepest


def check_reach(kernels: Tensor) -> None:
    if float(reach(kernels).median()) <= _POINT:
        raise NoBlurError("no blur was found in the photo")


def largest_kernel(luma: Tensor) -> int | None:
    """The side in which the blur of a photo (H, W) fits, seen at a resolution at which it is small; None: in none."""
    shrink = max(1.0, max(luma.shape) / _OVERVIEW)
    while True:
        view = resized(luma[None], (max(1, round(luma.shape[0] / shrink)), round(luma.shape[1] / shrink))).clamp(0, 1)
        largest = odd(min(_LARGEST_IN_VIEW, min(view.shape[-2:]) // _VIEW_IN_KERNELS))
        if largest < _SMALLEST_IN_VIEW:
            return None
        levels = scales(largest)
        seen = refined(smoothed(view), first_guess(view, largest, levels[0]), levels, largest=largest).kernels
        if float(extent(seen)) < _DARK * (largest // 2):
            return 2 * int(_ROOMY * max(1.0, float(reach(seen))) * shrink + 2) + 1
        shrink *= 1.6


def _luma(photo: Tensor, gamma: float) -> Tensor:
    if photo.ndim != 3 or photo.shape[0] not in (1, 3) or photo.numel() == 0:
        raise ArgumentError(f"blur is found in a photo (1 or 3, H, W), not {tuple(photo.shape)}")
    light = to_light(photo.detach().float(), gamma)
    return light[0] if len(light) == 1 else torch.einsum("c,chw->hw", light.new_tensor(FULL_RANGE_LUMA), light)
