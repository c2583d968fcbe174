"""What degradations take, checked at their doors."""

import operator
from typing import Any

import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.image import checked_scale

_SHOWN = 60  # characters of a text that a message repeats


def checked_image(image: Any, *, n_channels: tuple[int, ...] = ()) -> Tensor:
    """`image` if it is a float32 or float64 tensor (..., C, H, W).  Raises ArgumentError that says what it is."""
    if not isinstance(image, Tensor):
        raise ArgumentError(f"a degradation takes a tensor (C, H, W) in [0, 1], not a {type(image).__name__}")
    if image.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(f"a degradation takes float32 or float64 in [0, 1], not {image.dtype}; convert it first")
    if image.ndim < 3 or 0 in image.shape[-3:] or (n_channels and image.shape[-3] not in n_channels):
        channels = " or ".join(map(str, n_channels)) or "C"
        raise ArgumentError(f"a degradation takes images (..., {channels}, H, W), not {tuple(image.shape)}")
    return image


def checked_scene(image: Any) -> Tensor:
    """`image` if it is one finite image (1 or 3, H, W), on the scale [0, 1].  Raises ArgumentError that says why."""
    scene = checked_image(image, n_channels=(1, 3))
    if scene.ndim != 3:
        raise ArgumentError(f"steps are applied to one image (1 or 3, H, W), not {tuple(scene.shape)}")
    if not bool(torch.isfinite(scene.sum())) and not bool(torch.isfinite(scene).all()):  # the sum is faster
        raise ArgumentError("the image holds NaN or infinite values; its values lie in [0, 1]")
    return checked_scale(scene)


def checked_whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` if it is a whole number between two others.  Raises ArgumentError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"{name} is {shortened(str(value))}; it must be a whole number")
    if not low <= value <= high:
        raise ArgumentError(f"{name} is {shortened(str(value))}; it must lie between {low} and {high}")
    return operator.index(value)


def checked_photons(photons: float) -> float:
    """`photons` if it is a mean count at white: below a thousandth nothing is left of a picture.  Raises ArgumentError.

    0 means no shot noise.
    """
    if not (photons == 0 or 1e-3 <= photons <= 1e9):
        raise ArgumentError(f"photons is {photons:g}; it is 0 (no shot noise) or lies between 0.001 and 1e9")
    return photons


def shortened(text: str) -> str:
    """A text of the user's for a message of one line, its end left out where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
