"""The image convention, stated once: float32 RGB (..., 3, H, W), values in [0, 1], sRGB unless a name says linear.

Conversion happens at two doors: `photo` for files, and here for what Python users hold in their hands.
"""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import ArgumentError

Picture = TypeVar("Picture", Tensor, NDArray[Any])

_SCALES = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def as_image(value: Tensor | NDArray[Any]) -> Tensor:
    """A float32 tensor (..., C, H, W) in [0, 1] from a float tensor of that shape, or from an array as photo libraries
    hold them: (H, W) or (H, W, C), uint8, uint16, or float in [0, 1]; C is 1 or 3.

    Raises ArgumentError for another shape or type, and for values that are not finite or clearly on another scale.
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
    low, high = float(image.min()), float(image.max())
    if not (low >= -1 and high <= 2):  # also NaN; noise may lead a little past [0, 1]
        raise ArgumentError(f"image values must lie in [0, 1]; these lie in [{low:.3g}, {high:.3g}]")
    return image


def like_input(image: Tensor, value: Picture) -> Picture:
    """`image` in the form in which `value` came to `as_image`: type, axis order, scale; integers are rounded."""
    if isinstance(value, Tensor):
        return image.to(value)
    array = np.asarray(value)
    planes = image.cpu().numpy()
    planes = planes[0] if array.ndim == 2 else np.moveaxis(planes, 0, -1)
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
