"""What lies beyond the frame: images made larger or smaller by half a kernel on each side."""

import torch
from torch import Tensor
from torch.nn import functional


def edge_padded(image: Tensor, margin: tuple[int, int]) -> Tensor:
    """(..., C, H, W) with its edge pixels repeated outward by (rows, columns) on each side."""
    rows, columns = margin
    flat = image.reshape(-1, *image.shape[-3:])
    padded = functional.pad(flat, (columns, columns, rows, rows), mode="replicate")
    return padded.reshape(*image.shape[:-2], *padded.shape[-2:])


def without_margin(image: Tensor, margin: tuple[int, int]) -> Tensor:
    """The inverse of `edge_padded`; a margin of 0 takes nothing off."""
    rows, columns = margin
    height, width = image.shape[-2:]
    return image[..., rows : height - rows, columns : width - columns]


def reflect_padded(image: Tensor, margin: tuple[int, int]) -> Tensor:
    """(..., H, W) mirrored at its edge pixels by (rows, columns) on each side, as often as a small image needs it."""
    rows, columns = (_mirrored(size, reach, image.device) for size, reach in zip(image.shape[-2:], margin, strict=True))
    return image.index_select(-2, rows).index_select(-1, columns)


def _mirrored(size: int, reach: int, device: torch.device) -> Tensor:
    """Indices -reach ... size + reach - 1 folded back into 0 ... size - 1."""
    period = max(1, 2 * (size - 1))
    indices = torch.arange(-reach, size + reach, device=device).remainder(period)
    return torch.minimum(indices, period - indices) if size > 1 else torch.zeros_like(indices)
