"""The image convention, stated once: float32 RGB (..., 3, H, W), values in [0, 1], sRGB unless a name says linear.

Conversion happens at two doors: `photo` for files, and here for what Python users hold in their hands.  Pixels on
another scale are refused at every door by one rule, `checked_scale`.
"""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .errors import ArgumentError

Picture = TypeVar("Picture", Tensor, NDArray[Any])

FULL_RANGE_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of BT.601, black 0 and white 1."""

_SCALES = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_LOWEST, _HIGHEST = -1.5, 2.5  # black and white under noise of sigma 0.2, and none of it in a lifetime of photos beyond
_BLOCK, _MOST_BLOCKS = 8, 128  # pixels a side, blocks along a side of a large image
_TOO_DARK, _SHARE = -0.2, 0.02  # noise of sigma 0.2 moves the mean of a block by 0.025, and undershoot is narrow


def as_image(value: Tensor | NDArray[Any]) -> Tensor:
    """A float32 tensor (..., C, H, W) in [0, 1] from a float tensor of that shape, or from an array as photo libraries
    hold them: (H, W) or (H, W, C), uint8, uint16, or float in [0, 1]; C is 1 or 3.

    Raises ArgumentError for another shape or type, and for values that are not finite or on another scale.
    """
    if isinstance(value, Tensor):
        if not value.is_floating_point() or value.ndim < 3:
            found = f"{tuple(value.shape)} {value.dtype}"
            raise ArgumentError(f"an image tensor is float (..., C, H, W) in [0, 1], not {found}; arrays may be uint8")
        image = value.detach().float()
    else:
        array = np.asarray(value)
        scale = _SCALES.get(array.dtype.newbyteorder("="), 1)
        if array.ndim not in (2, 3) or (scale == 1 and array.dtype.kind != "f"):
            raise ArgumentError(f"an image array is (H, W) or (H, W, C), uint8, uint16 or float; not {_kind(array)}")
        planes = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
        image = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32) / scale)
    if image.shape[-3] not in (1, 3) or image.numel() == 0:
        shape = tuple(image.shape)
        raise ArgumentError(
            f"an image has 1 or 3 channels and some pixels; this one is {shape} (channels, height, width)"
        )
    if not bool(torch.isfinite(image.sum())) and not bool(torch.isfinite(image).all()):  # the sum is faster
        raise ArgumentError("image values must lie in [0, 1]; some of these are NaN or infinite")
    return checked_scale(image)


def checked_scale(image: Tensor) -> Tensor:
    """`image`, float (..., C, H, W), if its values can be those of a photo in [0, 1].

    Noise and sharpening lead past black and white, so [-1.5, 2.5] is let through.  What is -1 at black is known by its
    dark places: noise moves single pixels below zero, and never the mean of many; where 2 % of the blocks of 8x8 pixels
    have a mean below -0.2, black is not 0.  NaN pass.  Raises ArgumentError that names the scale and the way back.
    """
    low, high = (float(bound) for bound in torch.aminmax(image.detach()))
    if low < _LOWEST or high > _HIGHEST:
        raise ArgumentError(_out_of_range(low, high, _way_back(low, high)))
    if low < _TOO_DARK and _share_of_too_dark(image.detach()) > _SHARE:
        raise ArgumentError(
            _out_of_range(low, high, "whole areas are darker than black, as from -1 to 1: give (x + 1) / 2")
        )
    return image


def _out_of_range(low: float, high: float, way_back: str) -> str:
    return f"image values must lie in [0, 1]; these lie in [{low:.3g}, {high:.3g}]: {way_back}"


def _way_back(low: float, high: float) -> str:
    for white, most in ((255, 600), (65535, 70000)):  # beyond 255 there may be noise
        if -most / 2 < low and high < most and (high - low) > 10:
            return f"they seem to count from 0 to {white}: give x / {white}"
    if high - low <= 10:
        return "they seem to be normalised: multiply by the deviation and add the mean that were taken"
    return "give them on that scale"


def _share_of_too_dark(image: Tensor) -> float:
    """Of the blocks of 8x8 pixels, in a large image of those on a grid; 0 where an image is too small to tell."""
    height, width = image.shape[-2:]
    block = min(_BLOCK, height), min(_BLOCK, width)
    if block[0] * block[1] < _BLOCK**2 / 2:
        return 0.0
    steps = max(_BLOCK, height // _MOST_BLOCKS), max(_BLOCK, width // _MOST_BLOCKS)
    planes = image.reshape(-1, 1, height, width)
    means = functional.avg_pool2d(planes if planes.is_cuda else planes.float(), block, steps)
    return float((means < _TOO_DARK).double().mean())


def like_input(image: Tensor, value: Picture) -> Picture:
    """`image` in the form in which `value` came to `as_image`: type, axis order, scale; integers are rounded."""
    if isinstance(value, Tensor):
        return image.to(value)
    array = np.asarray(value)
    planes = image.cpu().numpy()
    planes = planes[0] if array.ndim == 2 and len(planes) == 1 else np.moveaxis(planes, 0, -1)
    if scale := _SCALES.get(array.dtype.newbyteorder("=")):
        planes = np.rint(planes.clip(0, 1) * scale)
    return np.ascontiguousarray(planes, dtype=array.dtype)


def luma(image: Tensor) -> Tensor:
    """Y of BT.601 in its limited range, (..., 3, H, W) -> (..., 1, H, W): black is 16/255, white 235/255.

    MATLAB's rgb2ycbcr, which super-resolution is measured on; not rounded.  OpenCV's YCrCb has the full range, and
    figures on it are another thing.  Raises ArgumentError for other than three channels.
    """
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ArgumentError(f"luma is of colour images (..., 3, H, W); this one is {tuple(image.shape)}")
    red, green, blue = (image[..., channel : channel + 1, :, :] for channel in range(3))
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue) / 255


def _kind(array: NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"
