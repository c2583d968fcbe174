"""Planes that repeat: what the estimation of kernels computes with, many windows at once.

Planes are (N, H, W), N windows of one size; kernels (N, side, side), side odd, their middle is the place of no shift.
Spectra are those of real planes (half of the columns).
"""

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations.blur import fast_length

Grid = tuple[int, int]


def made_periodic(planes: Tensor, reach: int) -> Tensor:
    """Planes grown by at least `reach` rows and columns in which opposite borders pass into each other, to a size that
    FFTs are fast on."""
    height, width = planes.shape[-2:]
    down, right = fast_length(height + reach) - height, fast_length(width + reach) - width
    planes = torch.cat([planes, _passage(planes[..., -1:], planes[..., :1], right, -1)], -1)
    return torch.cat([planes, _passage(planes[..., -1:, :], planes[..., :1, :], down, -2)], -2)


def _passage(last: Tensor, first: Tensor, length: int, axis: int) -> Tensor:
    """From the last row (or column) of a plane to its first one, the ends left out."""
    shares = torch.arange(1, length + 1, device=last.device, dtype=last.dtype) / (length + 1)
    return torch.lerp(last, first, shares if axis == -1 else shares[:, None])


def fast_grid(planes: Tensor) -> Grid:
    """That FFTs are fast on and that planes fit in."""
    height, width = planes.shape[-2:]
    return fast_length(height), fast_length(width)


def kernel_spectra(kernels: Tensor, grid: Grid) -> Tensor:
    """Transforms on a grid of kernels whose middle lies at the origin."""
    side = kernels.shape[-1]
    placed = functional.pad(kernels, (0, grid[1] - side, 0, grid[0] - side))
    spectra: Tensor = torch.fft.rfft2(torch.roll(placed, (-(side // 2), -(side // 2)), (-2, -1)))
    return spectra


def kernels_of(spectra: Tensor, grid: Grid, side: int) -> Tensor:
    """The middle `side` x `side` around the origin of what has these spectra: the transpose of `kernel_spectra`."""
    planes = torch.fft.irfft2(spectra, s=grid)
    return torch.roll(planes, (side // 2, side // 2), (-2, -1))[..., :side, :side]


def gradients(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the right and downwards, from the last column and row to the first."""
    return torch.roll(planes, -1, -1).sub_(planes), torch.roll(planes, -1, -2).sub_(planes)


def gradients_transposed(right: Tensor, down: Tensor) -> Tensor:
    """The transpose of `gradients`."""
    return torch.roll(right, 1, -1).sub_(right).add_(torch.roll(down, 1, -2)).sub_(down)


def gradient_power(grid: Grid, like: Tensor) -> Tensor:
    """Squared magnitude of the transform of both differences together, (H, W // 2 + 1)."""
    rows = torch.fft.fftfreq(grid[0], device=like.device, dtype=like.dtype)
    columns = torch.fft.rfftfreq(grid[1], device=like.device, dtype=like.dtype)
    return 4 * (torch.sin(torch.pi * rows).square()[:, None] + torch.sin(torch.pi * columns).square())


def resized(planes: Tensor, size: Grid) -> Tensor:
    """Planes at another resolution, antialiased."""
    if planes.shape[-2:] == torch.Size(size):
        return planes
    return functional.interpolate(planes[:, None], size, mode="bilinear", antialias=True, align_corners=False)[:, 0]
