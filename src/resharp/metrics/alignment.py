"""Fidelity up to a shift: blind deblurring finds kernel and image only up to a translation of both.

The search is that of Levin et al. 2009: every shift of up to 5 pixels in steps of a quarter, bilinear, over the clean
image without a border of 15 pixels.
"""

import torch
from torch import Tensor

from .arguments import checked_pair, for_each

_BORDER, _MAX_SHIFT, _STEPS = 15, 5, 4  # pixels, pixels, positions per pixel
_SMALLEST = 2 * _BORDER + 1


@torch.no_grad()
def error_ratio(restored: Tensor, clean: Tensor, restored_with_true_kernel: Tensor) -> Tensor:
    """Levin et al. 2009: squared error of a blind result over that of the same solver with the true kernel; (...).

    Lower is better; both are taken at their own best shift.  1 says that the kernel was found; up to 3 (2 in some
    papers) counts as success.  NaN where both are without error, infinite where only the second one is.
    """
    error = squared_error_up_to_shift(restored, clean)
    return error / squared_error_up_to_shift(restored_with_true_kernel, clean)


@torch.no_grad()
def psnr_up_to_shift(restored: Tensor, clean: Tensor) -> Tensor:
    """PSNR in dB of the restored image at its best shift, over the clean one without its border; shape (...)."""
    error = squared_error_up_to_shift(restored, clean)
    channels, height, width = clean.shape[-3:]
    return -10 * torch.log10(error / (channels * (height - 2 * _BORDER) * (width - 2 * _BORDER)))


@torch.no_grad()
def squared_error_up_to_shift(restored: Tensor, clean: Tensor) -> Tensor:
    """Least sum of squared differences over C, H and W of all shifts, one for all channels; shape (...), float64."""
    restored, clean = checked_pair(restored, clean, smallest=_SMALLEST)
    return for_each(_least_error, restored.double(), clean.double())


def _least_error(restored: Tensor, clean: Tensor) -> Tensor:
    """Of the errors |r|^2 - 2 <r, c> + |c|^2 at all shifts the least, then taken again without cancellation."""
    height, width = clean.shape[-2] - 2 * _BORDER, clean.shape[-1] - 2 * _BORDER
    clean = clean[:, _BORDER : _BORDER + height, _BORDER : _BORDER + width]
    near = restored[:, _BORDER - _MAX_SHIFT : _BORDER + height + _MAX_SHIFT]
    near = near[..., _BORDER - _MAX_SHIFT : _BORDER + width + _MAX_SHIFT]
    n_shifts = 2 * _MAX_SHIFT + 1
    products = torch.stack(
        [(near[:, y : y + height, x : x + width] * clean).sum() for y in range(n_shifts) for x in range(n_shifts)]
    ).view(n_shifts, n_shifts)
    lowest: tuple[float, int, int, float, float] | None = None
    for down in range(_STEPS):
        for right in range(_STEPS):
            y, x = down / _STEPS, right / _STEPS
            moved = _moved(near, y, x)
            errors = _window_sums(moved.square().sum(0), height, width) - 2 * _moved(products, y, x)
            best = int(errors.argmin())
            row, column = divmod(best, errors.shape[1])
            if lowest is None or float(errors[row, column]) < lowest[0]:
                lowest = float(errors[row, column]), row, column, y, x
    assert lowest is not None
    _, row, column, y, x = lowest
    return (_moved(near, y, x)[:, row : row + height, column : column + width] - clean).square().sum()


def _moved(values: Tensor, down: float, right: float) -> Tensor:
    """Values between the given ones, a share of a step further on; an axis with a share loses its last place."""
    if down:
        values = torch.lerp(values[..., :-1, :], values[..., 1:, :], down)
    if right:
        values = torch.lerp(values[..., :-1], values[..., 1:], right)
    return values


def _window_sums(values: Tensor, height: int, width: int) -> Tensor:
    """Sums over all windows of a size."""
    rows = values.unfold(0, height, 1).sum(-1) if height < values.shape[0] else values.sum(0, keepdim=True)
    return rows.unfold(1, width, 1).sum(-1) if width < rows.shape[1] else rows.sum(1, keepdim=True)
