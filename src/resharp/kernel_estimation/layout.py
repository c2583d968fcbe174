"""Where in a photo windows are looked at."""

import dataclasses
import itertools
import math

import torch
from torch import Tensor

_KERNELS_IN_WINDOW = 9  # sides of a kernel in that of its window: less is too little to see
_SMALLEST, _LARGEST = 256, 397  # pixels of a side; with kernels of 51 448 of FFTs, which are fast on these
_STEP = 0.75  # between windows, in windows
_APART = 0.55  # of a window, along rows or columns: windows that show different things
_MOST_PER_AXIS = 6  # of a large photo's windows, which then lie apart: a camera's blur changes slowly


@dataclasses.dataclass(frozen=True)
class Layout:
    """Windows of `height` x `width` pixels from each of these rows and columns on, row by row; `only` those, if any."""

    height: int
    width: int
    tops: list[int]
    lefts: list[int]
    only: list[int] | None = None

    def windows(self, luma: Tensor) -> Tensor:
        """(N, height, width) of a plane (H, W)."""
        return torch.stack([luma[top : top + self.height, left : left + self.width] for top, left in self._places()])

    def closeness(self, near: float) -> Tensor:
        """(N, N): 1 for the same window, falling over a distance of `near` pixels between two windows."""
        places = torch.tensor(self._places(), dtype=torch.float32)
        apart = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")  # exactly 0 for the same
        return torch.exp(-0.5 * (apart / near).square())

    def are_apart(self, one: int, other: int) -> bool:
        """Whether two windows share less than half of their pixels."""
        (top, left), (below, right) = self._places()[one], self._places()[other]
        return abs(top - below) >= _APART * self.height or abs(left - right) >= _APART * self.width

    def shares(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The windows' middles as shares of a photo's height and width."""
        middles = (
            (torch.tensor(starts, dtype=torch.float64) + length / 2) / whole
            for starts, length, whole in ((self.tops, self.height, size[0]), (self.lefts, self.width, size[1]))
        )
        rows, columns = middles
        return rows, columns

    def _places(self) -> list[tuple[int, int]]:
        places = list(itertools.product(self.tops, self.lefts))
        return places if self.only is None else [places[number] for number in self.only]


def laid_out(size: tuple[int, int], largest: int) -> Layout:
    """Windows for kernels of up to `largest` pixels, overlapping, or apart in a large photo."""
    side = min(_LARGEST, max(_SMALLEST, _KERNELS_IN_WINDOW * largest))
    height, width = min(side, size[0]), min(side, size[1])
    return Layout(height, width, _starts(size[0], height), _starts(size[1], width))


def _starts(length: int, window: int) -> list[int]:
    count = min(_MOST_PER_AXIS, math.ceil((length - window) / (_STEP * window)) + 1)
    return [round(number * (length - window) / max(1, count - 1)) for number in range(count)]
