"""A large or a widely blurred photo, undone at a smaller size: finer than its kernels let pass nothing comes back; and
photos at half their size, for what needs no details.

A shaken photo of 4000x3000 pixels, kernels of 75, gains 4.0 dB as it is and 4.5 dB at half its size, in a fifth of the
time (docs/decisions/0013).
"""

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations import VaryingBlur
from resharp.degradations.light import WHITE, to_light, to_pixels
from resharp.kernel_estimation import WIDEST

from .around import mean_around
from .blurred import Blurred

LARGE = 2**22  # pixels of a photo that people wait for, and that shows little in its finest pixels
_WIDEST_OF_LARGE = 37  # side of kernels
_SMALLEST = 48  # pixels of a side
_NARROWEST = 3  # side of kernels
_NEXT_TO_NOTHING = 5e-3  # of the power of what the smaller size does not hold: found kernels let up to .003 pass
_KEPT_OF_NOISE = 0.82  # times the scale: standard deviation of white noise after `_resized`, within .01 from .4 to .96
_AROUND_WHITE = 5  # pixels


def at_smaller_size(of: Blurred) -> Blurred:
    """A photo such that no kernel is wider than 51 pixels, in a large photo than 37; the very same where none is, where
    kernels let details pass that would be lost, and where nothing is left."""
    height, width = of.photo.shape[-2:]
    widest = _WIDEST_OF_LARGE if height * width >= LARGE else WIDEST
    scale = widest / of.operator.kernels.shape[-1]
    if (
        scale >= 1
        or round(min(height, width) * scale) < _SMALLEST
        or _passes(of.operator.kernels, scale) > _NEXT_TO_NOTHING
    ):
        return of
    return _shrunk(of, widest)


def at_half_size(of: Blurred) -> Blurred:
    """A photo at about half its size, whatever its kernels let pass, with what is left of its noise."""
    side = of.operator.kernels.shape[-1]
    if side <= _NARROWEST:
        return of
    half = 2 * round((side - 2) / 4) + 1
    return dataclasses.replace(_shrunk(of, half), noise_left=_KEPT_OF_NOISE * half / side)


def _shrunk(of: Blurred, widest: int) -> Blurred:
    """A photo at the size at which its kernels are so many pixels wide, an odd number."""
    scale = widest / of.operator.kernels.shape[-1]
    height, width = (max(1, round(length * scale)) for length in of.photo.shape[-2:])
    light = _resized(to_light(of.photo, of.gamma)[None], (height, width))[0]
    small = to_pixels(light.clamp(0, 1), of.gamma)
    small = torch.where(small > WHITE, 1, small)  # cut off, whatever was rounded
    kernels = _resized(of.operator.kernels, (widest, widest)).clamp(min=0)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    operator = VaryingBlur(kernels, of.operator.rows, of.operator.columns)
    return dataclasses.replace(of, photo=small, operator=operator, noise_sigma=_KEPT_OF_NOISE * scale * of.noise_sigma)


def at_full_size(restored: Tensor, small: Tensor, photo: Tensor, noise_sigma: float) -> Tensor:
    """What was made (3, h, w) of a photo at a smaller size, `small`, at the size of the photo (3, H, W), with those of
    its details that the smaller size does not hold and that are more than noise: where it was never blurred.

    None are taken around clipped values: the border of a lamp's streak is steep whatever the blur.
    """
    size = (photo.shape[-2], photo.shape[-1])
    details = photo - enlarged(small, size)
    power = mean_around(details.square().mean(0, keepdim=True))
    cut_off = (photo >= WHITE).any(0, keepdim=True).float()
    near = functional.max_pool2d(cut_off, 2 * _AROUND_WHITE + 1, 1, _AROUND_WHITE)
    details *= (1 - noise_sigma**2 / power.clamp(min=1e-12)).clamp(min=0) * (1 - near)
    return details.add_(enlarged(restored, size)).clamp_(0, 1)


def enlarged(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Planes (C, h, w) at a larger size."""
    return functional.interpolate(planes[None], size, mode="bicubic", align_corners=False)[0]


def _passes(kernels: Tensor, scale: float) -> float:
    """The mean power of what kernels (R, C, n, n) let pass of the frequencies that a smaller size does not hold, that
    of the kernel that lets most pass."""
    length = 2 * kernels.shape[-1]
    power = torch.fft.fft2(kernels, s=(length, length)).abs().square()
    frequency = torch.fft.fftfreq(length, device=kernels.device).abs()
    is_lost = torch.maximum(frequency[:, None], frequency) >= scale / 2
    return float(power[..., is_lost].mean(-1).max())


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(planes, size, mode="bicubic", align_corners=False, antialias=True)
