"""A large or a widely blurred photo, undone at a smaller size: finer than its kernels let pass nothing comes back.

A shaken photo of 4000x3000 pixels, kernels of 75, gains 4.0 dB as it is and 4.5 dB at half its size, in a fifth of the
time (docs/decisions/0013).
"""

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations import BlurField
from resharp.degradations.light import WHITE, to_light, to_pixels
from resharp.kernel_estimation import WIDEST

from .around import mean_around

LARGE = 2**22  # pixels of a photo that people wait for, and that shows little in its finest pixels
_WIDEST_OF_LARGE = 37  # side of kernels
_SMALLEST = 48  # pixels of a side
_NEXT_TO_NOTHING = 5e-3  # of the power of what the smaller size does not hold: found kernels let up to .003 pass
_KEPT_OF_NOISE = 0.82  # times the scale: standard deviation of white noise after `_resized`, within .01 from .4 to .96
_AROUND_WHITE = 5  # pixels


def at_smaller_size(photo: Tensor, blur: BlurField, noise_sigma: float) -> tuple[Tensor, BlurField, float]:
    """A photo (3, H, W), its blur and its noise, such that no kernel is wider than 51 pixels, in a large photo than 37;
    these very objects where none is, where kernels let details pass that would be lost, and where nothing is left."""
    side, widest = blur.kernels.shape[-1], _WIDEST_OF_LARGE if blur.size[0] * blur.size[1] >= LARGE else WIDEST
    scale = widest / side
    height, width = (round(length * scale) for length in blur.size)
    if scale >= 1 or min(height, width) < _SMALLEST or _passes(blur.kernels, scale) > _NEXT_TO_NOTHING:
        return photo, blur, noise_sigma
    light = _resized(to_light(photo, blur.gamma)[None], (height, width))[0]
    small = to_pixels(light.clamp(0, 1), blur.gamma)
    small = torch.where(small > WHITE, 1, small)  # cut off, whatever was rounded
    kernels = _resized(blur.kernels, (widest, widest)).clamp(min=0)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    shrunk = dataclasses.replace(blur, kernels=kernels, size=(height, width))
    return small, shrunk, _KEPT_OF_NOISE * scale * noise_sigma


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
