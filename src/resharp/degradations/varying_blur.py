"""Blur that changes over the frame: between the kernels of a grid of places, blended (Nagy, O'Leary 1998).

Every pixel of the measurement is what the kernel of its place makes of the image, and that kernel is the mean of those
of the four nearest places, by their distance: y = sum_i w_i (k_i * x) with weights w_i that add up to 1.  (Hirsch et
al. 2010 weigh the image in place of the measurement; there a plain wall comes out uneven where kernels change.)
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from resharp.errors import KernelError

from .base import LinearDegradation
from .blur import fast_length, near_inverse, version_of
from .kernels import gaussian_kernel, motion_kernel
from .least_squares import Map
from .margin import edge_padded


class Strip(NamedTuple):
    """Pixels of an axis of the measurement that the same one or two places have shares in: (place, weights (n,))."""

    where: slice
    shares: tuple[tuple[int, Tensor], ...]


class Cell(NamedTuple):
    """Pixels of the measurement with the same kernels, (row, column) of each, and their weights, down and across."""

    down: Strip
    across: Strip
    grid: tuple[int, int]
    spectra: list[Tensor]

    def weights(self) -> Iterator[Tensor]:
        """(h, w) of each kernel."""
        for (_, down), (_, across) in itertools.product(self.down.shares, self.across.shares):
            yield down[:, None] * across


class VaryingBlur(LinearDegradation):
    """Valid blur of each channel by kernels (R, C, kh, kw), both odd: (..., H, W) -> (..., H - kh + 1, W - kw + 1).

    rows (R,) and columns (C,): the places that the kernels are of, as shares of the measurement's height and width,
    rising; None: the middles of R x C equal parts.  Beyond the outermost places kernels stay as they are there; places
    may also lie beyond the measurement.
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
        self._kept: tuple[tuple[object, ...], tuple[Tensor, ...], list[Cell]] | None = None

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
        measurement = image.new_empty(*image.shape[:-2], height, width)
        for cell in self._cells(height, width, image):
            down, right = cell.down.where, cell.across.where
            seen = image[..., down.start : down.stop + kh - 1, right.start : right.stop + kw - 1]
            spectrum = torch.fft.rfft2(seen, s=cell.grid)
            # A correlation with the turned kernel; its circular wrap reaches the last kh - 1 rows and kw - 1 columns
            # only, which are no valid outputs.
            made = (
                torch.fft.irfft2(spectrum * turned.conj(), s=cell.grid)[..., : weight.shape[0], : weight.shape[1]]
                * weight
                for turned, weight in zip(cell.spectra, cell.weights(), strict=True)
            )
            measurement[..., down, right] = functools.reduce(torch.add, made)
        return measurement

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Each part of the measurement, weighed, spread back: (..., h, w) -> (..., h + kh - 1, w + kw - 1)."""
        kh, kw = self.kernels.shape[2:]
        height, width = measurement.shape[-2:]
        image = measurement.new_zeros(*measurement.shape[:-2], height + kh - 1, width + kw - 1)
        for cell in self._cells(height, width, measurement):
            down, right = cell.down.where, cell.across.where
            part = measurement[..., down, right]
            spectra = (
                torch.fft.rfft2(part * weight, s=cell.grid) * turned
                for turned, weight in zip(cell.spectra, cell.weights(), strict=True)
            )
            back = torch.fft.irfft2(functools.reduce(torch.add, spectra), s=cell.grid)
            place = image[..., down.start : down.stop + kh - 1, right.start : right.stop + kw - 1]
            place += back[..., : place.shape[-2], : place.shape[-1]]
        return image

    def of_part(self, rows: slice, columns: slice, size: tuple[int, int]) -> "VaryingBlur":
        """The same blur of a part of a measurement of this (height, width), with the kernels that count there."""
        down, across = (
            _of_part(places, span, n)
            for places, span, n in zip((self.rows, self.columns), (rows, columns), size, strict=True)
        )
        return VaryingBlur(self.kernels[down[0], across[0]], down[1], across[1])

    def _near_inverse(self, estimate: Tensor, ratios: Tensor, weight: Tensor | None) -> Map:
        """The exact inverse if the mean power of all kernels were that of each and the image went on round the frame.

        (The power of their mean lacks what kernels let pass that differ: up to 1.8 times as many iterations.)
        """
        height, width = estimate.shape[-2:]
        grid = fast_length(height), fast_length(width)
        return near_inverse(self._mean_power(grid, estimate), grid, ratios, weight)

    def _mean_power(self, grid: tuple[int, int], like: Tensor) -> Tensor:
        """(H, W // 2 + 1): the kernels' mean power on this grid, the spectrum of their mean autocorrelation; about so
        where that is larger than the grid."""
        sides = [2 * side - 1 for side in self.kernels.shape[2:]]
        powers = torch.fft.rfft2(self.kernels.to(like), s=sides).abs().square().mean((0, 1))
        room = [max(0, length - side) for length, side in zip(grid, sides, strict=True)]
        middle = [side // 2 for side in sides]
        placed = torch.roll(torch.fft.irfft2(powers, s=sides), middle, (0, 1))
        placed = functional.pad(placed, (0, room[1], 0, room[0])).roll([-shift for shift in middle], (0, 1))
        power: Tensor = torch.fft.rfft2(placed, s=grid).real.clamp(min=0)
        return power

    def _cells(self, height: int, width: int, like: Tensor) -> list[Cell]:
        """The measurement cut where kernels gain or lose their share, kept for the next call: iterations ask for the
        same, and to look is to wait."""
        of = self.kernels, self.rows, self.columns
        key = (height, width, like.dtype, like.device, torch.is_inference_mode_enabled(), *map(version_of, of))
        if (
            self._kept is None
            or self._kept[0] != key
            or any(a is not b for a, b in zip(self._kept[1], of, strict=True))
        ):
            down, across = (strips(places, n, like) for places, n in ((self.rows, height), (self.columns, width)))
            cells = list(itertools.starmap(self._cell, itertools.product(down, across)))
            if self.kernels.requires_grad:
                return cells
            self._kept = key, of, cells
        return self._kept[2]

    def _cell(self, down: Strip, across: Strip) -> Cell:
        sides = zip((down, across), self.kernels.shape[2:], strict=True)
        height, width = (fast_length(strip.where.stop - strip.where.start + side - 1) for strip, side in sides)
        like = down.shares[0][1]
        turned = (
            self.kernels[row, column].to(like).flip(0, 1)
            for (row, _), (column, _) in itertools.product(down.shares, across.shares)
        )
        return Cell(down, across, (height, width), [torch.fft.rfft2(one, s=(height, width)) for one in turned])


def strips(places: Tensor, length: int, like: Tensor) -> list[Strip]:
    """An axis of the measurement, cut at the n places."""
    weights = shares(places.detach().cpu().double(), length)
    present = weights > 0
    starts = [0, *((present[:, 1:] != present[:, :-1]).any(0).nonzero().flatten() + 1).tolist(), length]
    return [
        Strip(
            slice(start, stop),
            tuple((n, weights[n, start:stop].to(like)) for n in present[:, start].nonzero().flatten().tolist()),
        )
        for start, stop in itertools.pairwise(starts)
    ]


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


def _of_part(places: Tensor, span: slice, length: int) -> tuple[slice, Tensor]:
    """Which places have shares between these pixels of an axis, and where they lie as shares of the part."""
    counts = (shares(places, length)[:, span] > 0).any(1).nonzero().flatten()
    found = slice(int(counts[0]), int(counts[-1]) + 1)
    return found, (places[found] * length - span.start) / (span.stop - span.start)


def _mean_products(places: Tensor) -> Tensor:
    """(n, n) means over the axis of the products of two places' weights."""
    weights = shares(places.detach().cpu().double(), 4096)
    return weights @ weights.T / weights.shape[1]


def _checked_places(places: Tensor | None, count: int, name: str) -> Tensor:
    if places is None:
        return (torch.arange(count, dtype=torch.float64) + 0.5) / count
    if places.shape != (count,) or not bool((places.diff() > 0).all()) or not bool(places.isfinite().all()):
        raise KernelError(f"{name}: the places of {count} kernels are {count} rising shares, not {places}")
    return places.double()


def _example() -> Tensor:
    """Two by two small kernels that differ."""
    kernels = [motion_kernel(5, 0), motion_kernel(5, 90), gaussian_kernel(0.6), motion_kernel(5, 45)]
    padded = [functional.pad(k, ((7 - k.shape[1]) // 2,) * 2 + ((7 - k.shape[0]) // 2,) * 2) for k in kernels]
    return torch.stack(padded).view(2, 2, 7, 7)
