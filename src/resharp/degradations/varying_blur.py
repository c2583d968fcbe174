"""Blur that changes over the frame: between the kernels of a grid of places, blended (Nagy, O'Leary 1998).

Every pixel of the measurement is what the kernel of its place makes of the image, and that kernel is the mean of those
of the four nearest places, by their distance: y = sum_i w_i (k_i * x) with weights w_i that add up to 1.  (Hirsch et
al. 2010 weigh the image in place of the measurement; there a plain wall comes out uneven where kernels change.)
"""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from resharp.errors import KernelError

from .base import LinearDegradation
from .blur import Blur, fast_length, version_of
from .kernels import gaussian_kernel, motion_kernel
from .least_squares import Map
from .margin import edge_padded

Part = tuple[int, int, slice, slice]
"""Row and column of a kernel, and where in the measurement it has a share."""


class VaryingBlur(LinearDegradation):
    """Valid blur of each channel by kernels (R, C, kh, kw), both odd: (..., H, W) -> (..., H - kh + 1, W - kw + 1).

    rows (R,) and columns (C,): the places that the kernels are of, as shares of the measurement's height and width,
    rising; None: the middles of R x C equal parts.  Beyond the outermost places kernels stay as they are there.
    Raises KernelError for an image smaller than the kernels, and for what is no such grid.
    """

    kernels: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self, kernels: Tensor | None = None, rows: Tensor | None = None, columns: Tensor | None = None
    ) -> None:
        super().__init__()
        kernels = _example() if kernels is None else kernels
        if kernels.ndim != 4 or kernels.shape[2] % 2 == 0 or kernels.shape[3] % 2 == 0 or 0 in kernels.shape:
            raise KernelError(
                f"a varying blur takes kernels (R, C, height, width), both odd, not {tuple(kernels.shape)}"
            )
        self.register_buffer("kernels", kernels)
        self.register_buffer("rows", _checked_places(rows, kernels.shape[0], "rows"))
        self.register_buffer("columns", _checked_places(columns, kernels.shape[1], "columns"))
        self._kept: tuple[tuple[object, ...], tuple[Tensor, Tensor], tuple[list[slice | None], ...]] | None = None

    @property
    def margin(self) -> tuple[int, int]:
        return self.kernels.shape[2] // 2, self.kernels.shape[3] // 2

    def first_guess(self, measurement: Tensor) -> Tensor:
        return edge_padded(measurement, self.margin)

    @property
    def row_energy(self) -> float:
        """The mean over the measurement of |sum_i w_i k_i|^2: integrals of the weights' products times the kernels'."""
        flat = self.kernels.detach().cpu().double().flatten(2)
        down, across = _mean_products(self.rows), _mean_products(self.columns)
        return float(torch.einsum("rck,sdk,rs,cd->", flat, flat, down, across))

    def forward(self, image: Tensor) -> Tensor:
        kh, kw = self.kernels.shape[2:]
        height, width = image.shape[-2] - kh + 1, image.shape[-1] - kw + 1
        if height < 1 or width < 1:
            size = f"{image.shape[-2]}x{image.shape[-1]}"
            raise KernelError(f"the kernels ({kh}x{kw}) are larger than the image ({size})")
        measurement = image.new_zeros(*image.shape[:-2], height, width)
        for part, weight in self._parts(height, width, image):
            row, column, down, right = part
            seen = image[..., down.start : down.stop + kh - 1, right.start : right.stop + kw - 1]
            grid = fast_length(seen.shape[-2]), fast_length(seen.shape[-1])
            spectrum = torch.fft.rfft2(seen, s=grid) * self._spectrum(row, column, grid, image)
            # The circular wrap reaches the first kh - 1 rows and kw - 1 columns only, which are no valid outputs.
            circular = torch.fft.irfft2(spectrum, s=grid)
            valid = circular[..., kh - 1 : seen.shape[-2], kw - 1 : seen.shape[-1]]
            measurement[..., down, right] += weight * valid
        return measurement

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Each part of the measurement, weighed, spread back: (..., h, w) -> (..., h + kh - 1, w + kw - 1)."""
        kh, kw = self.kernels.shape[2:]
        height, width = measurement.shape[-2:]
        image = measurement.new_zeros(*measurement.shape[:-2], height + kh - 1, width + kw - 1)
        for part, weight in self._parts(height, width, measurement):
            row, column, down, right = part
            placed = functional.pad(measurement[..., down, right] * weight, (kw - 1, 0, kh - 1, 0))
            grid = fast_length(placed.shape[-2]), fast_length(placed.shape[-1])
            spectrum = torch.fft.rfft2(placed, s=grid) * self._spectrum(row, column, grid, measurement).conj()
            back = torch.fft.irfft2(spectrum, s=grid)[..., : placed.shape[-2], : placed.shape[-1]]
            image[..., down.start : down.stop + kh - 1, right.start : right.stop + kw - 1] += back
        return image

    def _near_inverse(self, estimate: Tensor, ratios: Tensor, weight: Tensor | None) -> Map:
        """The exact inverse if all kernels were their mean and the image went on round the frame."""
        return Blur(self.kernels.mean((0, 1)).to(estimate), method="fft")._near_inverse(estimate, ratios, weight)

    def _parts(self, height: int, width: int, like: Tensor) -> Iterator[tuple[Part, Tensor]]:
        """Every kernel that has a share in a measurement of this size, where, and its weights there."""
        down, across = shares(self.rows.to(like), height), shares(self.columns.to(like), width)
        rows, columns = self._where(down, across)
        for (row, below), (column, right) in itertools.product(enumerate(rows), enumerate(columns)):
            if below is not None and right is not None:
                yield (row, column, below, right), down[row, below, None] * across[column, right]

    def _where(self, down: Tensor, across: Tensor) -> tuple[list[slice | None], ...]:
        """Where places have a share, kept for the next call: iterations ask for the same, and to look is to wait."""
        places = self.rows, self.columns
        key = (down.shape, across.shape, down.dtype, *map(version_of, places))
        kept = self._kept
        if kept is None or kept[0] != key or any(a is not b for a, b in zip(kept[1], places, strict=True)):
            found = tuple([_where_positive(one) for one in weights.cpu()] for weights in (down, across))
            self._kept = kept = key, places, found
        return kept[2]

    def _spectrum(self, row: int, column: int, grid: tuple[int, int], like: Tensor) -> Tensor:
        spectrum: Tensor = torch.fft.rfft2(self.kernels[row, column].to(like), s=grid)
        return spectrum


def shares(places: Tensor, length: int) -> Tensor:
    """(n, length): the weight of each of n places at each pixel of an axis, falling to 0 at the next places; sum 1."""
    pixels = (torch.arange(length, dtype=places.dtype, device=places.device) + 0.5) / length
    if len(places) == 1:
        return torch.ones_like(pixels)[None]
    after = torch.searchsorted(places, pixels).clamp(1, len(places) - 1)
    left, right = places[after - 1], places[after]
    share = ((pixels - left) / (right - left)).clamp(0, 1)
    weights = torch.zeros(len(places), length, dtype=places.dtype, device=places.device)
    return weights.scatter_(0, after[None] - 1, 1 - share[None]).scatter_add_(0, after[None], share[None])


def _where_positive(weights: Tensor) -> slice | None:
    indices = weights.nonzero()
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else None


def _mean_products(places: Tensor) -> Tensor:
    """(n, n) means over the axis of the products of two places' weights."""
    weights = shares(places.detach().cpu().double(), 4096)
    return weights @ weights.T / weights.shape[1]


def _checked_places(places: Tensor | None, count: int, name: str) -> Tensor:
    if places is None:
        return (torch.arange(count, dtype=torch.float64) + 0.5) / count
    if (
        places.shape != (count,)
        or bool((places.diff() <= 0).any())
        or not 0 <= float(places[0]) <= float(places[-1]) <= 1
    ):
        raise KernelError(
            f"{name}: the places of {count} kernels are {count} rising shares between 0 and 1, not {places}"
        )
    return places.double()


def _example() -> Tensor:
    """Two by two small kernels that differ."""
    kernels = [motion_kernel(5, 0), motion_kernel(5, 90), gaussian_kernel(0.6), motion_kernel(5, 45)]
    padded = [functional.pad(k, ((7 - k.shape[1]) // 2,) * 2 + ((7 - k.shape[0]) // 2,) * 2) for k in kernels]
    return torch.stack(padded).view(2, 2, 7, 7)
