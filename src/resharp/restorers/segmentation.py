"""Segmentations for networks that take one: from a file, or from a function of the photo."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.own_code import imported, is_own

Segmentation = Tensor | Callable[[Tensor], Tensor]


def open_segmentation(what: str) -> Segmentation:
    """The maps (classes, height, width) in a .npy file, shares in [0, 1] or uint8 up to 255, or the function that
    "package.module:function" names.  Raises ArgumentError."""
    if is_own(what):
        found = imported(what)
        if not callable(found):
            raise ArgumentError(f"{what}: is no function of an image (..., 3, H, W)")
        made: Callable[[Tensor], Tensor] = found
        return made
    path = Path(what)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArgumentError(f"{path}: cannot be read as a segmentation in .npy ({error})") from None
    if array.ndim != 3 or not np.isrealobj(array) or array.dtype.kind not in "fu":
        raise ArgumentError(f"{path}: holds {array.dtype} {array.shape}; a segmentation is (classes, height, width)")
    maps = torch.from_numpy(array.astype(np.float32) / (255 if array.dtype == np.uint8 else 1))
    if not bool(torch.isfinite(maps).all()):
        raise ArgumentError(f"{path}: holds NaN or infinite values; a segmentation holds shares in [0, 1]")
    return maps
