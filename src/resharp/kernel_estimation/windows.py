"""The kernels of windows of one photo, which share evidence unless they contradict."""

import dataclasses
from typing import Self

import torch
from torch import Tensor

from .explaining import explained
from .pyramid import Guess, first_guess, refined, scales, shrunk
from .shapes import resampled
from .threads import side_by_side

_SEPARATE_UP_TO = 0.36  # resolution up to which windows are tried with kernels of their own as well
_MUCH_LESS = 0.85  # of what the shared kernel leaves unexplained: what one's own must leave at most
_ALIKE = 0.7  # correlation of kernels that may belong to one motion
_NO_WIDER = 0.5  # of the shared kernel's sum of squares: what one's own must have


@dataclasses.dataclass(frozen=True)
class WindowKernels:
    """What is known after some resolution of the kernels of windows (N, H, W), of up to `largest` pixels, and how much
    each window makes of the evidence of the others, (N, N)."""

    windows: Tensor
    largest: int
    closeness: Tensor
    guess: Guess

    def at(self, scale: float) -> Self:
        """The same, carried on to a resolution, 1 for that of the windows."""
        left = [one for one in scales(self.largest) if self.guess.scale < one <= scale]
        if not left:
            return self
        guess = refined(self.windows, self.guess, left, largest=self.largest, closeness=self.closeness)
        return dataclasses.replace(self, guess=guess)

    @property
    def kernels(self) -> Tensor:
        """(N, side, side) at that resolution."""
        return self.guess.kernels

    @property
    def seen(self) -> Tensor:
        """The windows at that resolution."""
        return shrunk(self.windows, self.guess.scale)


def kernels_of_windows(windows: Tensor, closeness: Tensor, largest: int) -> WindowKernels:
    """As they are found at low resolution, where each window is tried alone as well.

    closeness: (N, N) in [0, 1], how much two windows have in common, falling with their distance.
    """
    levels, closeness = scales(largest), closeness.to(windows)
    low = [scale for scale in levels if scale <= _SEPARATE_UP_TO] or levels[:1]
    start = first_guess(windows, largest, levels[0])

    def pooled() -> Guess:
        return refined(windows, start, low, largest=largest, closeness=closeness)

    if len(windows) == 1:
        return WindowKernels(windows, largest, closeness, pooled())
    with side_by_side(pooled, lambda: refined(windows, start, low, largest=largest)) as (shared, own):
        guess, joined = _chosen(windows, shared(), own(), closeness)
    return WindowKernels(windows, largest, joined, guess)


def _chosen(windows: Tensor, shared: Guess, own: Guess, closeness: Tensor) -> tuple[Guess, Tensor]:
    """Windows that a kernel of their own explains much better keep it, unless it is a mere cloud, and share only with
    windows of a like kernel."""
    level = shrunk(windows, shared.scale)
    side = max(own.kernels.shape[-1], shared.kernels.shape[-1])
    kernels = [resampled(guess.kernels, 1.0, side) for guess in (own, shared)]
    left = [1 - explained(level, one) for one in kernels]
    narrow = [one.square().sum((-2, -1)) for one in kernels]
    apart = (left[0] < _MUCH_LESS * left[1]) & (narrow[0] > _NO_WIDER * narrow[1])
    mixed = torch.where(apart[:, None, None], kernels[0], kernels[1])
    room = torch.where(apart, own.room, shared.room)
    joined = closeness * (~(apart[:, None] | apart) | (_alikeness(mixed) > _ALIKE))
    return Guess(mixed, shared.scale, room, shared.price), joined


def _alikeness(kernels: Tensor) -> Tensor:
    """(N, N) correlations of centred kernels."""
    flat = torch.nn.functional.normalize(kernels.flatten(1))
    alikeness: Tensor = flat @ flat.T
    return alikeness
