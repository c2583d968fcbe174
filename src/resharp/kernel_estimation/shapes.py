"""What kernels must be, whatever the equations say: not negative, in one piece, centred, of some size."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def normalised(kernels: Tensor, faintest: float) -> Tensor:
    """Kernels (N, side, side) without what lies under a share of their peaks, sum 1; a point where nothing is left."""
    kernels = kernels.clamp(min=0)
    peak = kernels.amax((-2, -1), keepdim=True)
    kernels = kernels.masked_fill(kernels < faintest * peak, 0)
    kernels = torch.where(peak > 0, kernels, points(kernels.shape, kernels))
    return kernels / kernels.sum((-2, -1), keepdim=True)


def points(shape: torch.Size, like: Tensor) -> Tensor:
    """Kernels that blur nothing."""
    kernels = like.new_zeros(shape)
    kernels[:, shape[-2] // 2, shape[-1] // 2] = 1
    return kernels


def without_islands(kernels: Tensor, share: float) -> Tensor:
    """Kernels without the separate pieces that hold less than a share of their light."""
    there = kernels.cpu().double().numpy()  # one copy for all
    islands = torch.from_numpy(np.stack([_islands(kernel, share) for kernel in there])).to(kernels.device)
    return torch.stack([kernel / kernel.sum() for kernel in kernels.masked_fill(islands, 0)])


def _islands(kernel: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    n_pieces, piece = cv2.connectedComponents((kernel > 0).astype(np.uint8), connectivity=8)
    light = np.bincount(piece.ravel(), kernel.ravel(), minlength=n_pieces)
    return np.asarray((light < min(share, float(light.max())))[piece])


def centre_of_light(kernels: Tensor) -> Tensor:
    """(N, 2): rows down and columns right of the middle."""
    side = kernels.shape[-1]
    axis = torch.arange(side, dtype=kernels.dtype, device=kernels.device) - side // 2
    return torch.stack([(kernels.sum(-1) * axis).sum(-1), (kernels.sum(-2) * axis).sum(-1)], -1)


def centred(kernels: Tensor, *, exactly: bool = False) -> Tensor:
    """Kernels moved so that their centre of light is the middle: by whole pixels, or exactly (smears a little)."""
    away = centre_of_light(kernels)
    side = kernels.shape[-1]
    places = torch.arange(side, device=kernels.device) + away.round().long()[..., None]
    rows, columns = places.remainder(side).unbind(1)
    kernels = kernels.gather(1, rows[:, :, None].expand_as(kernels)).gather(2, columns[:, None].expand_as(kernels))
    return resampled(kernels, 1.0, side, centre=away - away.round()) if exactly else kernels


def resampled(kernels: Tensor, scale: float, side: int, *, centre: Tensor | None = None) -> Tensor:
    """Kernels drawn `scale` times as large into side x side, about their middle or `centre` (N, 2): down, right."""
    n = kernels.shape[-1]
    axis = (torch.arange(side, dtype=kernels.dtype, device=kernels.device) - side // 2) / scale
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).expand(len(kernels), -1, -1, -1)
    if centre is not None:
        places = places + centre.flip(-1)[:, None, None]
    drawn = functional.grid_sample(kernels[:, None], places * (2 / n), mode="bicubic", align_corners=False)[:, 0]
    return normalised(drawn, 0.0)


def reach(kernels: Tensor, *, faintest: float = 0.02) -> Tensor:
    """(N,) how many pixels from the middle a kernel reaches, along rows or columns: what is under this share of its
    peak left out."""
    away = distance_from_middle(kernels.shape[-1], kernels)
    bright = kernels > faintest * kernels.amax((-2, -1), keepdim=True)
    return torch.where(bright, away, 0).amax((-2, -1))


def extent(kernels: Tensor, *, share: float = 0.97) -> Tensor:
    """(N,) how far from the middle, along rows or columns, a share of a kernel's light reaches."""
    away = distance_from_middle(kernels.shape[-1], kernels).long().flatten()
    rings = kernels.new_zeros(len(kernels), kernels.shape[-1] // 2 + 1).index_add_(1, away, kernels.flatten(1))
    return (rings.cumsum(1) < share).sum(1).to(kernels)


def enlarged(kernels: Tensor, scale: float) -> Tensor:
    return resampled(kernels, scale, odd(round(kernels.shape[-1] * scale) + 1)) if scale > 1 else kernels


def turned(kernels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kernels (N, side, side) turned by a quarter, mirrored, and both."""
    mirrored = kernels.transpose(-1, -2)
    return kernels.rot90(1, (-2, -1)), mirrored, mirrored.rot90(1, (-2, -1))


def trimmed(kernels: Tensor) -> Tensor:
    """Kernels (..., side, side) without rows and columns around all of them that are empty."""
    side, needed = kernels.shape[-1], max(3, 2 * int(reach(kernels.flatten(0, -3), faintest=0.0).max()) + 1)
    cut = (side - needed) // 2
    return kernels[..., cut : side - cut, cut : side - cut] if cut > 0 else kernels


def distance_from_middle(side: int, like: Tensor) -> Tensor:
    """(side, side): the larger of the distances in rows and columns."""
    axis = (torch.arange(side, dtype=like.dtype, device=like.device) - side // 2).abs()
    return torch.maximum(axis[:, None], axis)


def odd(length: int) -> int:
    """The largest odd number that is no larger."""
    return length - 1 + length % 2
