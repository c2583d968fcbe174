"""How far the pixels are off.  Images: float (..., C, H, W) in [0, 1]."""

import numpy as np
import torch
from torch import Tensor

from .arguments import checked_pair, for_each

_PIECE = 2**16  # entries that stay in a core's cache


@torch.no_grad()
def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, higher is better: 10 log10(1 / MSE) over C, H and W; shape (...), float64.

    Infinite for equal images.  Of float32 images the differences are squared in float32, which costs less than 1e-4 dB.
    """
    restored, clean = checked_pair(restored, clean)
    n_entries = restored.shape[-3:].numel()
    return -10 * torch.log10(for_each(squared_difference, restored, clean) / n_entries)


def squared_difference(one: Tensor, other: Tensor) -> Tensor:
    """Sum of the squared differences of two tensors of one shape, a float64 scalar."""
    if one.device.type != "cpu":
        return (one - other).square().sum(dtype=torch.float64)
    # NumPy, since its calls on pieces of this size cost half of what torch's do.
    ours, theirs = one.reshape(-1).numpy(), other.reshape(-1).numpy()
    difference, total = np.empty(min(_PIECE, ours.size), ours.dtype), 0.0
    for start in range(0, ours.size, _PIECE):
        piece = ours[start : start + _PIECE]
        room = difference[: piece.size]
        with np.errstate(invalid="ignore", over="ignore"):  # as torch: the figure itself tells
            np.subtract(piece, theirs[start : start + _PIECE], out=room)
            total += float(room @ room)
    return torch.tensor(total, dtype=torch.float64)
