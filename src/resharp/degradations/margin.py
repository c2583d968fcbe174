"""What lies beyond the frame: images made larger or smaller by half a kernel on each side."""

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
