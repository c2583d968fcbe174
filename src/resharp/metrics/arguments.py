"""What metrics take, checked at their doors, and the way from one image to a batch of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.image import checked_scale


def checked_pair(restored: Any, clean: Any, *, smallest: int = 1) -> tuple[Tensor, Tensor]:
    """Both if they are float tensors of one shape (..., C, H, W), H and W at least `smallest`, without gradients.

    They come back in float32, or in float64 where one of them is.  On CUDA always in float64, which TF32 cannot round.
    Raises ArgumentError: integers would wrap around, broadcasting would hide a mistake, and so would another scale.
    """
    first, second = checked_images(restored, smallest=smallest), checked_images(clean, smallest=smallest)
    if first.shape != second.shape:
        raise ArgumentError(
            f"a metric compares images of one shape, not {tuple(first.shape)} and {tuple(second.shape)}; "
            "crop or resize one of them first"
        )
    if first.device != second.device:
        raise ArgumentError(f"a metric compares images on one device, not {first.device} and {second.device}")
    dtype = torch.promote_types(first.dtype, second.dtype)
    return first.to(dtype), second.to(dtype)


def checked_images(images: Any, *, smallest: int = 1) -> Tensor:
    """`images` if they are a float tensor as above, and on the scale [0, 1].  Raises ArgumentError."""
    if not isinstance(images, Tensor):
        raise ArgumentError(f"a metric takes tensors (..., C, H, W) in [0, 1], not a {type(images).__name__}")
    if not images.is_floating_point():
        raise ArgumentError(f"a metric takes float images in [0, 1], not {images.dtype}; divide them by their white")
    if images.ndim < 3 or images.numel() == 0:
        raise ArgumentError(f"a metric takes images (..., C, H, W) with some pixels, not {tuple(images.shape)}")
    height, width = images.shape[-2:]
    if min(height, width) < smallest:
        raise ArgumentError(
            f"an image of {width}x{height} pixels is too small for this metric; it takes {smallest} each way and more"
        )
    at_least = torch.float64 if images.is_cuda else torch.float32
    return checked_scale(images).detach().to(torch.promote_types(images.dtype, at_least))


def for_each(measure: Callable[[Tensor, Tensor], Tensor], restored: Tensor, clean: Tensor) -> Tensor:
    """`measure` of each pair of images (C, H, W), float64 of shape (...); one at a time, which spares the cache."""
    pairs = zip(restored.reshape(-1, *restored.shape[-3:]), clean.reshape(-1, *clean.shape[-3:]), strict=True)
    with full_precision(restored):
        return torch.stack([measure(one, other).double() for one, other in pairs]).reshape(restored.shape[:-3])


def full_precision(tensor: Tensor) -> torch.autocast:
    """Autocast would send matrix products through bfloat16."""
    return torch.autocast(tensor.device.type, enabled=False)
