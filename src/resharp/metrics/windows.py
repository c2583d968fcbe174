"""Local means under a sliding window, and the similarity of two images that follows from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 32  # outputs that one matrix product makes; a strip of so many rows stays in the cache
LUMINANCE, STRUCTURE = 0.01**2, 0.03**2  # C1 and C2 of Wang et al. 2004, for images in [0, 1]


@dataclass(frozen=True)
class Window:
    """The same weights along rows and columns, and what happens at the frame.

    padding: "valid" for positions within the frame only, else every pixel's, with "replicate" or "constant" (zeros)
    beyond the frame;  through_channels: the third axis is one of space, with the same weights and its ends repeated;
    correction: what sample variances are multiplied with.
    """

    line: tuple[float, ...]
    padding: str = "valid"
    through_channels: bool = False
    correction: float = 1.0


def gaussian_line(n_taps: int, sigma: float) -> tuple[float, ...]:
    """Samples of a Gaussian around the middle tap, of sum 1."""
    distance = torch.arange(n_taps, dtype=torch.float64) - (n_taps - 1) / 2
    line = torch.exp(-0.5 * (distance / sigma) ** 2)
    return tuple((line / line.sum()).tolist())


def similarity(one: Tensor, other: Tensor, window: Window) -> Tensor:
    """Means over all positions of an image (C, H, W): luminance x structure and structure alone; (2, C), float64.

    With s = x + y and d = x - y, the terms of Wang et al. 2004 are
        luminance = (2 mx my + C1) / (mx^2 + my^2 + C1)     = 1 - 2 q,  q = md^2  / (ms^2 + md^2 + 2 C1)
        structure = (2 cov xy + C2) / (var x + var y + C2)  = 1 - 2 r,  r = var d / (var s + var d + 2 C2)
    which takes four local means, not five, and loses nothing to cancellation where x and y are close.
    """
    sums, n_positions = torch.zeros(3, one.shape[0], dtype=torch.float64, device=one.device), 0
    floor = 2 * STRUCTURE / window.correction  # instead of a factor on each variance
    for means in _moments(one, other, window):
        sum_, difference, sum_squared, difference_squared = means.unbind(1)
        sum_power, difference_power = sum_.square_(), difference.square_()
        difference_variance = difference_squared.sub_(difference_power)
        variances = sum_squared.sub_(sum_power).add_(difference_variance).add_(floor)
        unlike = difference_power.div_(sum_power.add_(difference_power).add_(2 * LUMINANCE))
        unstructured = difference_variance.div_(variances)
        for row, term in enumerate((unlike, unstructured, unlike * unstructured)):
            sums[row] += term.sum(-1).double().sum(0)
        n_positions += means.shape[0] * means.shape[-1]
    q, r, product = sums / n_positions
    return torch.stack([1 - 2 * q - 2 * r + 4 * product, 1 - 2 * r])


def filtered(stack: Tensor, line: Tensor) -> Tensor:
    """Valid correlation of (H, n, W) along H and W: (H - k, n, W - k), for k + 1 taps.

    As products with banded matrices, several times as fast as convolutions of one channel.
    """
    height, n_planes, width = stack.shape
    reach = len(line) - 1
    n_rows, n_columns = height - reach, width - reach
    band = _band(line, min(_BLOCK, max(n_rows, n_columns)))
    across = band.T.contiguous()
    result = stack.new_empty(n_rows, n_planes, n_columns)
    for top in range(0, n_rows, _BLOCK):
        n = min(_BLOCK, n_rows - top)
        lines = (band[:n, : n + reach] @ stack[top : top + n + reach].flatten(1)).view(-1, width)
        strip = result[top : top + n].view(-1, n_columns)
        for left in range(0, n_columns, _BLOCK):
            m = min(_BLOCK, n_columns - left)
            torch.mm(lines[:, left : left + m + reach], across[: m + reach, :m], out=strip[:, left : left + m])
    return result


def _moments(one: Tensor, other: Tensor, window: Window) -> Iterator[Tensor]:
    """Local means of x + y, x - y and their squares, a strip of rows at a time: (rows, 4, C, columns)."""
    reach = len(window.line) - 1
    if window.padding != "valid":
        sides = (reach // 2,) * 4
        one, other = (functional.pad(image[None], sides, mode=window.padding)[0] for image in (one, other))
    line = one.new_tensor(window.line)
    mixing = _mixing(line, one.shape[0]) if window.through_channels else None
    rows, other_rows = one.transpose(0, 1), other.transpose(0, 1)
    n_channels, height, width = one.shape
    for top in range(0, height - reach, _BLOCK):
        n = min(_BLOCK, height - reach - top) + reach
        stack = one.new_empty(n, 4, n_channels, width)
        torch.add(rows[top : top + n], other_rows[top : top + n], out=stack[:, 0])
        torch.sub(rows[top : top + n], other_rows[top : top + n], out=stack[:, 1])
        torch.mul(stack[:, :2], stack[:, :2], out=stack[:, 2:])
        means = filtered(stack.flatten(1, 2), line).view(n - reach, 4, n_channels, width - reach)
        yield means if mixing is None else torch.einsum("ij,rmjw->rmiw", mixing, means)


def _band(line: Tensor, n_outputs: int) -> Tensor:
    """(n, n + taps - 1), the weights one place further right in each row."""
    width = n_outputs + len(line) - 1
    return functional.pad(line, (0, n_outputs)).repeat(n_outputs)[: n_outputs * width].view(n_outputs, width)


def _mixing(line: Tensor, n_channels: int) -> Tensor:
    """(C, C): what the window makes of the channels when its first and last one repeat."""
    reach = len(line) // 2
    sources = (torch.arange(n_channels)[:, None] + torch.arange(-reach, reach + 1)).clamp(0, n_channels - 1)
    mixing = line.new_zeros(n_channels, n_channels)
    return mixing.scatter_add_(1, sources.to(line.device), line.expand(n_channels, -1).contiguous())
