"""The blur of a whole photo: kernels of windows all over it, or the reason why there is none to undo.

Windows share their evidence with near ones (`pyramid`), which is how one camera's motion shows in all of them; those
that a kernel of their own explains much better, as it does moving objects, keep it.  (Poses of the camera, Whyte et al.
2010, Hirsch et al. 2011, tell more where it turns fast; in a hand's shake neighbours hardly differ, and evidence added
up needs no focal length.)
"""

import dataclasses
import math

import torch
from torch import Tensor

from resharp.degradations.blur_field import BlurField
from resharp.degradations.light import checked_gamma, to_light
from resharp.errors import ArgumentError

from .explaining import explained, gain_over_none
from .layout import Layout, laid_out
from .noise import smoothed
from .planes import resized
from .pyramid import Guess, evidence_of, first_guess, refined, scales
from .shapes import extent, odd, reach, resampled
from .sharpness import SHARP, sharpness

_OVERVIEW = 384  # pixels of the longer side in which the extent of the blur is found
_LARGEST_IN_VIEW, _SMALLEST_IN_VIEW = 31, 7  # pixels of the overview
_VIEW_IN_KERNELS = 5  # the shorter side of an overview in sides of the largest kernel that can be seen in it
_DARK = 0.9  # of the radius: light that reaches no further was not cut off
_ROOMY = 1.15  # times what is seen of a kernel
_WIDEST = 51  # side of a kernel where it is found: photos with a larger blur are shrunk for that
_SMALLEST_PHOTO = 48
_NEAR = 0.2  # of the photo's longer side: as far windows share their evidence
_SEPARATE_UP_TO = 0.5  # resolution up to which windows are tried with kernels of their own as well
_MUCH_LESS = 0.85  # of what the shared kernel leaves unexplained: what one's own must leave at most
_ALIKE = 0.7  # correlation of kernels that may belong to one motion
_NO_WIDER = 0.5  # of the shared kernel's sum of squares: what one's own must have
_LEAST_GAIN = -0.055  # of explained energy over that without a kernel; measured, see benchmarks/kernel_quality.py
_FEW = 2  # windows, whose kernel must explain more than none does; many that agree are evidence themselves
_LEAST_EVIDENCE = 12.0  # squared gradients of the strongest edges, all windows together
_PHOTO_IN_KERNELS = 3  # the shorter side of a photo in sides of the largest kernel that one may ask for
_POINT = 1.5  # pixels: a kernel that reaches no further is none
_LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class FoundBlur:
    """The blur, or None where nothing should be undone, and why, in one line.

    gains: (R, C), how much more of each window's gradients its kernel explains than no blur does (`gain_over_none`):
    about .03 and more where a kernel is right, under -.05 in sharp windows; None where no kernels were found.
    """

    field: BlurField | None
    reason: str = ""
    gains: Tensor | None = None


def find_blur(photo: Tensor, *, gamma: float = 1.0, largest: int | None = None) -> FoundBlur:
    """The blur of a photo (3 or 1, H, W) in [0, 1], looked for in pixel values ** gamma.

    largest: side of the largest kernel in pixels; None: found.  Deterministic.
    """
    luma = _luma(photo, checked_gamma(gamma))
    size = (luma.shape[0], luma.shape[1])
    if min(size) < _SMALLEST_PHOTO:
        return FoundBlur(None, f"a photo of {size[1]}x{size[0]} is too small to find a blur in")
    steepest = sharpness(_luma(photo, 1.0))
    if math.isnan(steepest):
        return FoundBlur(None, "the photo shows too few edges to find a blur from")
    if steepest > SHARP:
        return FoundBlur(None, "the photo is sharp: it has edges that no blur would leave so steep")
    wanted = largest_kernel(luma) if largest is None else odd(min(largest, min(size) // _PHOTO_IN_KERNELS))
    if wanted is None:
        return FoundBlur(None, "the blur is wider than can be found in a photo of this size")
    return _found(luma, wanted, gamma)


def _found(luma: Tensor, largest: int, gamma: float) -> FoundBlur:
    size = (luma.shape[0], luma.shape[1])
    shrink = max(1.0, largest / _WIDEST)
    plane = resized(luma[None], (round(size[0] / shrink), round(size[1] / shrink)))[0].clamp(0, 1)
    inside = min(largest, _WIDEST)
    layout = laid_out((plane.shape[0], plane.shape[1]), inside)
    windows = smoothed(layout.windows(plane))
    if float(evidence_of(windows).sum()) < _LEAST_EVIDENCE:
        return FoundBlur(None, "the photo has too little contrast to find a blur from")
    kernels = kernels_of_windows(windows, layout.closeness(_NEAR * max(plane.shape)), inside)
    if float(reach(kernels).median()) <= _POINT:
        return FoundBlur(None, "no blur was found in the photo")
    gains = gain_over_none(windows, kernels).view(len(layout.tops), len(layout.lefts))
    if float(gains.median()) < (_LEAST_GAIN if len(windows) > _FEW else 0.0):
        return FoundBlur(None, "no blur explains the photo better than none", gains)
    field = _as_field(kernels, layout, windows, plane, shrink)
    return FoundBlur(dataclasses.replace(field, size=size, gamma=gamma), gains=gains)


def _as_field(kernels: Tensor, layout: Layout, windows: Tensor, plane: Tensor, shrink: float) -> BlurField:
    if shrink > 1:
        kernels = resampled(kernels, shrink, odd(round(kernels.shape[-1] * shrink) + 1))
    size = (plane.shape[0], plane.shape[1])
    rows, columns = layout.shares(size)
    grid = (len(rows), len(columns))
    evidence = evidence_of(windows)
    trust = (evidence / (evidence + evidence.median())).view(grid)
    return BlurField(kernels.view(*grid, *kernels.shape[1:]), rows, columns, trust, size)


def kernels_of_windows(windows: Tensor, closeness: Tensor, largest: int) -> Tensor:
    """Kernels (N, side, side) of the windows (N, H, W) of one photo, which share evidence unless they contradict."""
    levels, closeness = scales(largest), closeness.to(windows)
    low = [scale for scale in levels if scale <= _SEPARATE_UP_TO] or levels[:1]
    start = first_guess(windows, largest, levels[0])
    shared = refined(windows, start, low, largest=largest, closeness=closeness)
    if len(windows) > 1:
        own = refined(windows, start, low, largest=largest)
        shared, closeness = _chosen(windows, shared, own, closeness)
    return refined(windows, shared, levels[len(low) :], largest=largest, closeness=closeness).kernels


def _chosen(windows: Tensor, shared: Guess, own: Guess, closeness: Tensor) -> tuple[Guess, Tensor]:
    """Windows that a kernel of their own explains much better keep it, unless it is a mere cloud, and share only with
    windows of a like kernel."""
    height, width = (round(length * shared.scale) for length in windows.shape[-2:])
    level = resized(windows, (height, width)).clamp(0, 1)
    side = max(own.kernels.shape[-1], shared.kernels.shape[-1])
    kernels = [resampled(guess.kernels, 1.0, side) for guess in (own, shared)]
    left = [1 - explained(level, one) for one in kernels]
    narrow = [one.square().sum((-2, -1)) for one in kernels]
    apart = (left[0] < _MUCH_LESS * left[1]) & (narrow[0] > _NO_WIDER * narrow[1])
    mixed = torch.where(apart[:, None, None], kernels[0], kernels[1])
    room = torch.where(apart, own.room, shared.room)
    joined = closeness * (~(apart[:, None] | apart) | (_alikeness(mixed) > _ALIKE))
    return Guess(mixed, shared.scale, room, shared.price), joined


def _alikeness(kernels: Tensor) -> Tensor:
    """(N, N) correlations of centred kernels."""
    flat = torch.nn.functional.normalize(kernels.flatten(1))
    alikeness: Tensor = flat @ flat.T
    return alikeness


def largest_kernel(luma: Tensor) -> int | None:
    """The side in which the blur of a photo (H, W) fits, seen at a resolution at which it is small; None: in none."""
    shrink = max(1.0, max(luma.shape) / _OVERVIEW)
    while True:
        view = resized(luma[None], (round(luma.shape[0] / shrink), round(luma.shape[1] / shrink))).clamp(0, 1)
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
    return light[0] if len(light) == 1 else torch.einsum("c,chw->hw", light.new_tensor(_LUMA), light)
