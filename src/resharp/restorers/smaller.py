"""A photo whose blur is wide, at the smaller size at which its kernels were found: finer than these nothing comes back.

A shaken photo of 4000x3000 pixels, kernels of 75, gains 4.0 dB as it is and 4.5 dB at half its size, in a fifth of the
time (docs/decisions/0013).
"""

import dataclasses

from torch import Tensor
from torch.nn import functional

from resharp.degradations import BlurField
from resharp.degradations.light import to_light, to_pixels
from resharp.kernel_estimation import WIDEST

from .around import mean_around

LARGE = 2**22  # pixels of a photo that people wait for, and that shows little in its finest pixels
_WIDEST_OF_LARGE = 37  # side of kernels


def at_smaller_size(photo: Tensor, blur: BlurField) -> tuple[Tensor, BlurField]:
    """A photo (3, H, W) and its blur such that no kernel is wider than it can be found, in a large photo than 37
    pixels; the same where none is."""
    side, widest = blur.kernels.shape[-1], _WIDEST_OF_LARGE if blur.size[0] * blur.size[1] >= LARGE else WIDEST
    if side <= widest:
        return photo, blur
    height, width = (max(1, round(length * widest / side)) for length in blur.size)
    light = _resized(to_light(photo, blur.gamma), (height, width))
    kernels = _resized(blur.kernels, (widest, widest)).clamp(min=0)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    return to_pixels(light.clamp(0, 1), blur.gamma), dataclasses.replace(blur, kernels=kernels, size=(height, width))


def at_full_size(restored: Tensor, small: Tensor, photo: Tensor, noise_sigma: float) -> Tensor:
    """What was made (3, h, w) of a photo at a smaller size, `small`, at the size of the photo (3, H, W), with those of
    its details that the smaller size does not hold and that are more than noise: where it was never blurred."""
    size = (photo.shape[-2], photo.shape[-1])
    details = photo - enlarged(small, size)
    power = mean_around(details.square().mean(0, keepdim=True))
    details *= (1 - noise_sigma**2 / power.clamp(min=1e-12)).clamp(min=0)
    return details.add_(enlarged(restored, size)).clamp_(0, 1)


def enlarged(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Planes (C, h, w) at a larger size."""
    return functional.interpolate(planes[None], size, mode="bicubic", align_corners=False)[0]


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    several = planes if planes.ndim == 4 else planes[None]
    smaller = functional.interpolate(several, size, mode="bicubic", align_corners=False, antialias=True)
    return smaller if planes.ndim == 4 else smaller[0]
