"""What a sensor with a Bayer filter sees: one colour per pixel, and the classical ways back to three.

A pattern is read in rows from the upper left pixel: "RGGB" has red at (0, 0), green at (0, 1) and (1, 0), blue at
(1, 1).  Demosaicking mirrors the frame at its edge pixels without repeating them, so that colours stay in phase.  A
single row or column has nothing to mirror and stands in for its own neighbours: a colour that it lacks is guessed from
those that it has.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from resharp.errors import ArgumentError

from .base import LinearDegradation
from .margin import reflect_padded

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")

_Filter = dict[tuple[int, int], float]  # weight by (row, column) from the pixel


def _filter(divisor: float, *rows: tuple[float, ...]) -> _Filter:
    reach = len(rows) // 2
    cells = ((y - reach, x - reach, weight) for y, row in enumerate(rows) for x, weight in enumerate(row))
    return {(y, x): weight / divisor for y, x, weight in cells if weight}


def _transposed(taps: _Filter) -> _Filter:
    return {(x, y): weight for (y, x), weight in taps.items()}


_LINE = _filter(2, (0, 0, 0), (1, 0, 1), (0, 0, 0))
_BILINEAR = {  # by where the wanted colour lies next to the pixel
    "cross": _filter(4, (0, 1, 0), (1, 0, 1), (0, 1, 0)),
    "row": _LINE,
    "column": _transposed(_LINE),
    "diagonal": _filter(4, (1, 0, 1), (0, 0, 0), (1, 0, 1)),
}

_MALVAR_LINE = _filter(16, (0, 0, 1, 0, 0), (0, -2, 0, -2, 0), (-2, 8, 10, 8, -2), (0, -2, 0, -2, 0), (0, 0, 1, 0, 0))
_MALVAR = {
    "cross": _filter(8, (0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0)),
    "row": _MALVAR_LINE,
    "column": _transposed(_MALVAR_LINE),
    "diagonal": _filter(16, (0, 0, -3, 0, 0), (0, 4, 0, 4, 0), (-3, 0, 12, 0, -3), (0, 4, 0, 4, 0), (0, 0, -3, 0, 0)),
}


class Mosaic(LinearDegradation):
    """Bayer sampling: (..., 3, H, W) -> (..., 1, H, W), of any size; the adjoint leaves what was not seen at 0.

    Raises ArgumentError for an unknown pattern and for images of other than three channels.
    """

    def __init__(self, pattern: str = "RGGB") -> None:
        super().__init__()
        self.pattern = _checked_pattern(pattern)

    is_exact = True
    guess_sigma = 6 / 255  # of Malvar's filters: on three Kodak crops 38.5 dB, 36.1 from 25, 35.0 from 49

    @property
    def row_energy(self) -> float:
        return 1.0

    def forward(self, image: Tensor) -> Tensor:
        _check_channels(image, 3, "a mosaic takes RGB images")
        raw = image.new_empty(*image.shape[:-3], 1, *image.shape[-2:])
        for row, column, channel in _sites(self.pattern):
            raw[..., 0, row::2, column::2] = image[..., channel, row::2, column::2]
        return raw

    def adjoint(self, measurement: Tensor) -> Tensor:
        _check_channels(measurement, 1, "a mosaic has one plane")
        image = measurement.new_zeros(*measurement.shape[:-3], 3, *measurement.shape[-2:])
        for row, column, channel in _sites(self.pattern):
            image[..., channel, row::2, column::2] = measurement[..., 0, row::2, column::2]
        return image

    def first_guess(self, measurement: Tensor) -> Tensor:
        return demosaic_malvar(measurement, self.pattern).clamp(0, 1)

    def _change_in_closed_form(self, misfit: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor:
        """Pixel by pixel, since A A^T = 1."""
        weight = torch.ones_like(misfit) if weight is None else weight
        return self.adjoint(misfit * (weight / (weight + ratios)).nan_to_num(0))  # 0 / 0 has nothing to say


def demosaic_bilinear(raw: Tensor, pattern: str = "RGGB") -> Tensor:
    """Each missing colour as the mean of its two or four nearest samples: (..., 1, H, W) -> (..., 3, H, W)."""
    return _demosaicked(raw, pattern, _BILINEAR)


def demosaic_malvar(raw: Tensor, pattern: str = "RGGB") -> Tensor:
    """Bilinear, corrected by the curvature of the colour that the pixel has: (..., 1, H, W) -> (..., 3, H, W).

    Malvar, He and Cutler, ICASSP 2004; linear, 5x5 filters.  The result is not clipped: it may pass the raw's range.
    """
    return _demosaicked(raw, pattern, _MALVAR)


DEMOSAICKERS: dict[str, Callable[[Tensor, str], Tensor]] = {"bilinear": demosaic_bilinear, "malvar": demosaic_malvar}


def _demosaicked(raw: Tensor, pattern: str, filters: dict[str, _Filter]) -> Tensor:
    """Raises ArgumentError for an unknown pattern and for more than one plane."""
    _checked_pattern(pattern)
    _check_channels(raw, 1, "a mosaic has one plane")
    height, width = raw.shape[-2:]
    padded = reflect_padded(raw[..., 0, :, :], (2, 2))
    # Filters step by two pixels; apart, the four phases are planes in which they step by one.
    phases = {(y, x): padded[..., y::2, x::2].contiguous() for y, x in itertools.product((0, 1), repeat=2)}
    image = raw.new_empty(*raw.shape[:-3], 3, height, width)
    for row, column, seen in _sites(pattern):
        n_rows, n_columns = len(range(row, height, 2)), len(range(column, width, 2))
        for channel in range(3):
            found = raw.new_zeros(*raw.shape[:-3], n_rows, n_columns)
            taps = {(0, 0): 1.0} if channel == seen else filters[_place(pattern, row, column, channel)]
            for (y, x), weight in taps.items():
                (top, y_phase), (left, x_phase) = divmod(row + y + 2, 2), divmod(column + x + 2, 2)
                plane = phases[y_phase, x_phase]
                found.add_(plane[..., top : top + n_rows, left : left + n_columns], alpha=weight)
            image[..., channel, row::2, column::2] = found
    return image


def _place(pattern: str, row: int, column: int, channel: int) -> str:
    """Where the nearest samples of `channel` lie from the pixels at (row, column)."""
    wanted = "RGB"[channel]
    if pattern[2 * row + column] != "G":
        return "cross" if wanted == "G" else "diagonal"
    return "row" if wanted in pattern[2 * row : 2 * row + 2] else "column"


def _sites(pattern: str) -> list[tuple[int, int, int]]:
    """(row, column, channel) of the four pixels of a pattern."""
    return [(site // 2, site % 2, "RGB".index(colour)) for site, colour in enumerate(pattern)]


def _checked_pattern(pattern: str) -> str:
    if pattern not in PATTERNS:
        raise ArgumentError(f"Bayer pattern is {pattern!r}; it must be one of {', '.join(PATTERNS)}")
    return pattern


def _check_channels(image: Tensor, n_channels: int, rule: str) -> None:
    if image.ndim < 3 or image.shape[-3] != n_channels:
        raise ArgumentError(f"{rule} (..., {n_channels}, H, W), not {tuple(image.shape)}")
