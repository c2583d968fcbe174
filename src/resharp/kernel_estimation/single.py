"""One kernel: for each window on its own, or for all of a photo."""

import torch
from torch import Tensor

from resharp.errors import ArgumentError

from .noise import smoothed
from .pyramid import first_guess, refined, scales
from .shapes import enlarged, extent, normalised, odd, resampled, trimmed
from .sharpness import SHARP
from .threads import one_thread
from .view import IS_SHARP, NoBlurError, check_reach, overview, viewed

_SIZES = (31, 51, 81, 121)  # tried in turn, until the border of the kernel is dark
_DARK = 0.9  # of the radius: light that reaches no further was not cut off
_FAINTEST = 0.02  # share of the peak of a photo's kernel
_IN_WINDOW = 3  # how many times as long as the kernel a window must be


@one_thread()
def estimate_kernels(windows: Tensor, *, largest: int | None = None) -> Tensor:
    """The kernels (N, side, side) of blurred windows (N, H, W), or (side, side) of one (H, W); grey, in [0, 1].

    largest: side of the largest kernel to look for; None: found, by a larger one as long as its border is not dark.
    The kernels are not negative, of sum 1, with their centre of light in their middle, and as large as they need to be.
    A sharp window has a kernel, too: ask `missing` and `sharpness` whether it means anything.
    """
    several = windows if windows.ndim == 3 else windows[None]
    if windows.ndim not in (2, 3) or min(several.shape) < 1:
        raise ArgumentError(f"kernels are estimated of windows (N, H, W) or one (H, W), not {tuple(windows.shape)}")
    room = odd(min(several.shape[-2:]) // _IN_WINDOW - 1)
    if room < 3:
        raise ArgumentError(f"a window of {several.shape[-1]}x{several.shape[-2]} is too small to find a kernel in")
    several = smoothed(several)
    sizes = [min(size, room) for size in (_SIZES if largest is None else (odd(largest),))]
    found = _of_size(several, sizes[0])
    for size in sizes[1:]:
        cut_off = extent(found) > _DARK * (found.shape[-1] // 2)
        if not bool(cut_off.any()) or size <= found.shape[-1]:
            break
        grown = resampled(found, 1.0, size)
        grown[cut_off] = _of_size(several[cut_off], size)
        found = grown
    return trimmed(found) if windows.ndim == 3 else trimmed(found)[0]


def _of_size(windows: Tensor, size: int) -> Tensor:
    levels = scales(size)
    found = refined(windows, first_guess(windows, size, levels[0]), levels, largest=size).kernels
    return resampled(found, 1.0, size)


@one_thread()
def estimate_kernel(photo: Tensor, *, gamma: float = 1.0, largest: int | None = None) -> Tensor:
    """One kernel (side, side) for all of a photo, as `find_blur` takes it: the evidence of its windows added up.

    Raises KernelError where there is none to be found.
    """
    view = viewed(photo, gamma, overview(photo, [gamma], largest))
    if view.overview.steepest > SHARP and not view.shows_print:
        raise NoBlurError(IS_SHARP)
    levels, alike = scales(view.side), torch.ones(len(view.windows), len(view.windows))
    start = first_guess(view.windows, view.side, levels[0])
    kernels = refined(view.windows, start, levels, largest=view.side, closeness=alike).kernels
    check_reach(kernels)
    return trimmed(enlarged(normalised(kernels.mean(0, keepdim=True), _FAINTEST), view.shrink))[0]
