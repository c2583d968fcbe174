"""Smaller and larger images: separable resampling as MATLAB's imresize does it, with the exact transpose.

Output i lies at (i + 1/2) / scale - 1/2 of the input axis and takes a weighted mean of the pixels around there; when
shrinking, kernels are widened by 1 / scale, so that nothing aliases.  Beyond the frame the edge pixel repeats: that is
how the published super-resolution test sets were made (later versions of MATLAB mirror instead).
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resharp.errors import ArgumentError

from .base import LinearDegradation

Array = NDArray[np.float64]

_BLOCK = 16  # outputs that one matrix product makes; measured in benchmarks/resample_speed.py
_LONGEST, _LARGEST = 2**17, 2**28  # pixels per side and in all of a result that is still meant
_LONGEST_TO_DIAGONALISE = 1024  # pixels per side, where that takes a second; conjugate gradients beyond
_ROUNDING = 1e-9  # 0.07 * 100 is 7 pixels, whatever floats say


def _cubic(distance: Array, scale: float) -> Array:
    """Keys' kernel with a = -1/2, widened when shrinking."""
    x = distance * min(scale, 1)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _triangle(distance: Array, scale: float) -> Array:
    return (1 - distance * min(scale, 1)).clip(0)


def _overlap(distance: Array, scale: float) -> Array:
    """The length that a pixel shares with the 1 / scale pixels which make one output."""
    return ((1 / scale + 1) / 2 - distance).clip(0, min(1, 1 / scale))


_METHODS: dict[str, tuple[Callable[[Array, float], Array], Callable[[float], float]]] = {  # weight, reach
    "bicubic": (_cubic, lambda scale: 2 / min(scale, 1)),
    "bilinear": (_triangle, lambda scale: 1 / min(scale, 1)),
    "area": (_overlap, lambda scale: (1 / scale + 1) / 2),
}


class Resize(LinearDegradation):
    """Resampling of each channel: (..., H, W) -> (..., ceil(scale H), ceil(scale W)), any float type.

    scale: a factor between 0.001 and 1000, or the (height, width) to end at;  method: "bicubic" (a = -1/2), "bilinear"
    or "area" (the mean over each output's own area).  Several images end at the same size, so `adjoint` needs to know
    which is meant: that of `image_size` (H, W) if given, and no others are taken then; else of the largest such image,
    which at 1/4 is four times the measurement.  Raises ArgumentError for sizes that do not fit together.
    """

    is_exact = True

    def __init__(
        self,
        scale: float | tuple[int, int] = 0.25,
        *,
        method: str = "bicubic",
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.scale = _checked_scale(scale)
        self.method = _checked_method(method)
        self.image_size = image_size if image_size is None else _checked_size(image_size, "image_size")

    @property
    def row_energy(self) -> float:
        """Over all rows if `image_size` is given, else away from the borders.  ArgumentError if neither says enough."""
        if self.image_size is not None:
            vertical, horizontal = (bands for _, bands in _passes(self.image_size, self.scale, self.method))
            return vertical.row_energy * horizontal.row_energy
        if isinstance(self.scale, tuple):
            raise ArgumentError("the row energy of a resize to a fixed size needs the image's size; give image_size")
        weights = _taps(720, self.scale, self.method)[1]  # 720 holds all phases of most fractions equally often
        return float(np.square(weights).sum(1).mean()) ** 2

    def forward(self, image: Tensor) -> Tensor:
        size = _size_of(image)
        if self.image_size not in (None, size):
            raise ArgumentError(f"this resize is for images of {_text(self.image_size)}, not {_text(size)}")
        for dim, bands in _passes(size, self.scale, self.method):
            image = bands.along(image, dim)
        return image

    def adjoint(self, measurement: Tensor) -> Tensor:
        """(..., h, w) -> (..., H, W), an image of the size that the class describes."""
        size = self.image_size or self._largest_image(_size_of(measurement))
        if _size_after(size, self.scale) != _size_of(measurement):
            found = _text(_size_of(measurement))
            raise ArgumentError(f"images of {_text(size)} end at {_text(_size_after(size, self.scale))}, not {found}")
        for dim, bands in reversed(_passes(size, self.scale, self.method)):
            measurement = bands.along(measurement, dim, transposed=True)
        return measurement

    @property
    def shrinks_by(self) -> int:
        """Of what shrinks by a whole number, the same along both axes."""
        return 1 if isinstance(self.scale, tuple) else max(1, round(1 / self.scale))

    def first_guess(self, measurement: Tensor) -> Tensor:
        size = self.image_size or self._largest_image(_size_of(measurement))
        enlarged: Tensor = Resize(size)(measurement)
        return enlarged.clamp(0, 1)

    def _change_in_closed_form(self, misfit: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor | None:
        """A^T (A A^T + ratio)^-1 misfit, in the eigenvectors of A A^T, those of its rows times those of its columns."""
        size = self.image_size or self._largest_image(_size_of(misfit))
        if weight is not None or max(_size_of(misfit)) > _LONGEST_TO_DIAGONALISE:
            return None
        (rows, row_gains), (columns, column_gains) = (
            bands.eigenvectors for _, bands in sorted(_passes(size, self.scale, self.method), key=lambda axis: axis[0])
        )
        rows, columns = rows.to(misfit), columns.to(misfit)
        gains = row_gains[:, None].to(misfit) * column_gains.to(misfit) + ratios
        seen = rows.T @ misfit @ columns
        return self.adjoint(rows @ torch.where(gains > 1e-9, seen / gains, 0) @ columns.T)

    def _largest_image(self, size: tuple[int, int]) -> tuple[int, int]:
        if isinstance(self.scale, tuple):
            raise ArgumentError("the adjoint of a resize to a fixed size needs the image's size; give image_size")
        height, width = (max(1, math.floor(n / self.scale + _ROUNDING)) for n in size)
        return height, width


def resize_as_matlab(image: Tensor, scale: float | tuple[int, int], *, method: str = "bicubic") -> Tensor:
    """MATLAB's imresize of a uint8 image (..., H, W), as published test sets are made: uint8 again after either axis.

    Axes are taken as MATLAB takes them, the one that shrinks most first and rows first of two alike; half levels go up.
    `scale` and `method` as in `Resize`.  Raises ArgumentError for other types and for sizes that are none.
    """
    if image.dtype != torch.uint8:
        raise ArgumentError(f"resize_as_matlab takes uint8 images, not {image.dtype}; Resize takes floats")
    levels = image.double()
    for dim, bands in _passes(_size_of(levels), _checked_scale(scale), _checked_method(method)):
        levels = (bands.along(levels, dim).clamp(0, 255) + 0.5).floor()
    return levels.to(torch.uint8)


@dataclasses.dataclass(frozen=True)
class _Bands:
    """The matrix of one axis, as one narrow dense piece for every _BLOCK outputs.

    matrix: float64 (n_outputs, length);  starts: the input at which each piece begins.
    """

    n_inputs: int
    matrix: Tensor
    starts: tuple[int, ...]

    @property
    def row_energy(self) -> float:
        return float(self.matrix.square().sum(1).mean())

    @functools.cached_property
    def eigenvectors(self) -> tuple[Tensor, Tensor]:
        """Of M M^T: vectors as columns, (n, n), and their values (n,), float64."""
        whole = self.along(torch.eye(self.n_inputs, dtype=torch.float64), -2)
        values, vectors = torch.linalg.eigh(whole @ whole.T)
        return vectors, values.clamp(min=0)

    def along(self, values: Tensor, dim: int, *, transposed: bool = False) -> Tensor:
        """The matrix, or its transpose, times axis -2 or -1 of `values`."""
        result: Tensor = _Along.apply(values, self, dim, transposed)  # type: ignore[no-untyped-call]
        return result


class _Along(torch.autograd.Function):
    """`_Bands.along`; its gradient is its transpose, which spares autograd a full-sized copy per piece."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, bands: _Bands, dim: int, transposed: bool) -> Tensor:
        ctx.bands, ctx.dim, ctx.transposed = bands, dim, transposed
        n_outputs, length = bands.matrix.shape
        shape = list(values.shape)
        shape[dim] = bands.n_inputs if transposed else n_outputs
        result = values.new_zeros(shape)
        with torch.autocast(values.device.type, enabled=False):  # which would take products in half precision
            for block, start in enumerate(bands.starts):
                piece = bands.matrix[block * _BLOCK : (block + 1) * _BLOCK].to(values, non_blocking=True)
                source, target = (start, length), (block * _BLOCK, len(piece))
                if transposed:
                    piece, source, target = piece.T, target, source
                part = values.narrow(dim, *source)
                result.narrow(dim, *target).add_(piece @ part if dim == -2 else part @ piece.T)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.bands.along(gradients[0], ctx.dim, transposed=not ctx.transposed), None, None, None


def _passes(size: tuple[int, int], scale: float | tuple[int, int], method: str) -> list[tuple[int, _Bands]]:
    """(axis, its matrix) in the order of work: the axis that shrinks most first, rows first of two alike."""
    scales = [end / n for end, n in zip(scale, size, strict=True)] if isinstance(scale, tuple) else [scale, scale]
    axes = zip((-2, -1), scales, size, _size_after(size, scale), strict=True)
    ordered = sorted(axes, key=lambda axis: axis[1])
    return [(dim, _bands(n_inputs, n_outputs, factor, method)) for dim, factor, n_inputs, n_outputs in ordered]


@functools.lru_cache(maxsize=64)
def _bands(n_inputs: int, n_outputs: int, scale: float, method: str) -> _Bands:
    indices, weights = _taps(n_outputs, scale, method)
    indices = indices.clip(0, n_inputs - 1)
    firsts = indices[::_BLOCK, 0]
    lasts = indices[[min(row + _BLOCK, n_outputs) - 1 for row in range(0, n_outputs, _BLOCK)], -1]
    length = int((lasts - firsts).max()) + 1
    starts = np.minimum(firsts, n_inputs - length)
    rows = np.arange(n_outputs)[:, None]
    matrix = np.zeros((n_outputs, length))
    np.add.at(matrix, (rows, indices - starts[rows // _BLOCK]), weights)
    return _Bands(n_inputs, torch.from_numpy(matrix), tuple(starts.tolist()))


def _taps(n_outputs: int, scale: float, method: str) -> tuple[NDArray[np.int64], Array]:
    """The inputs that each output takes, also beyond the frame, and their weights, of sum 1: both (n_outputs, taps)."""
    weigh, reach = _METHODS[method]
    centres = (np.arange(n_outputs) + 0.5) / scale - 0.5
    firsts = np.floor(centres - reach(scale)).astype(np.int64)
    indices = firsts[:, None] + np.arange(math.ceil(2 * reach(scale)) + 2)
    weights = weigh(np.abs(centres[:, None] - indices), scale)
    return indices, weights / weights.sum(1, keepdims=True)


def _size_after(size: tuple[int, int], scale: float | tuple[int, int]) -> tuple[int, int]:
    """The size that images of `size` end at.  Raises ArgumentError for one that cannot be meant."""
    height, width = scale if isinstance(scale, tuple) else (math.ceil(scale * n - _ROUNDING) for n in size)
    if max(height, width) > _LONGEST or height * width > _LARGEST:
        raise ArgumentError(f"resized from {_text(size)} to {_text((height, width))}: too large; take a smaller scale")
    return height, width


def _size_of(image: Tensor) -> tuple[int, int]:
    if not image.is_floating_point():
        raise ArgumentError(f"a resize takes float images, not {image.dtype}; resize_as_matlab takes uint8")
    height, width = image.shape[-2:]
    if height == 0 or width == 0:
        raise ArgumentError(f"an image of {_text((height, width))} has no pixels to resize")
    return height, width


def _checked_scale(scale: float | tuple[int, int]) -> float | tuple[int, int]:
    if isinstance(scale, tuple):
        return _checked_size(scale, "scale")
    if not 0.001 <= scale <= 1000:  # also NaN
        raise ArgumentError(f"scale is {scale:g}; it must lie between 0.001 and 1000, or be a (height, width)")
    return scale


def _checked_size(size: tuple[int, int], name: str) -> tuple[int, int]:
    if len(size) != 2 or not all(isinstance(n, int) and n >= 1 for n in size):
        raise ArgumentError(f"{name} is {size}; a size is (height, width) in whole pixels, 1 or more each")
    return size


def _checked_method(method: str) -> str:
    if method not in _METHODS:
        raise ArgumentError(f"method is {method!r}; it must be one of {', '.join(_METHODS)}")
    return method


def _text(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "any size"
