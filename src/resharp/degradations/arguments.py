"""Images that degradations take, checked at their doors."""

from typing import Any

import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.image import checked_scale


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
