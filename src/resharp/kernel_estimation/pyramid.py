"""The kernels of windows of one size, coarse to fine.

At each resolution, a few rounds: a picture of few edges that the kernel found so far makes of the window (Xu, Zheng,
Jia 2013; Pan, Hu, Su, Yang 2014), its strongest edges in every direction (Cho, Lee 2009), the kernel that turns these
into the window.  Windows of one photo may share what they see: each one's equations are added to its neighbours', so
that a window of sky follows the others, and one with strong edges hardly notices them (closeness).
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .fitting import fitted_kernels, seen_gradients
from .latent import edge_threshold, few_edges
from .paper import paper_of
from .planes import gradients, resized
from .shapes import centred, distance_from_middle, normalised, reach, resampled, without_islands

_STEP = 2**-0.5  # from one resolution to the next
_COARSEST = 3.5  # pixels that the largest kernel measures at the lowest resolution
_ROUNDS = 4
_FIRST_PRICE, _LEAST_PRICE = 4e-3, 1e-4  # of an edge pixel, in squared pixel values
_CHEAPER = 1.1  # by what price and edge threshold fall from round to round
_RIDGE = 2.0
_FAINTEST, _ISLAND = 0.05, 0.1  # share of the peak, of the light
_LAST_FAINTEST, _LAST_ISLAND = 0.02, 0.05  # in the last round, which keeps faint tails
_ROOM, _MORE_ROOM = 1.35, 1.5  # for a kernel at the next resolution: times as far, and pixels more
_SHARED_FIRST, _SHARED_LAST = 1.0, 0.5  # weight of a neighbour's evidence at the lowest and the highest resolution


@dataclasses.dataclass(frozen=True)
class Guess:
    """What is known of N windows after some resolution: kernels (N, side, side) at `scale`, how far they may reach
    (N,) in pixels of the windows, and the price of an edge."""

    kernels: Tensor
    scale: float
    room: Tensor
    price: float


def scales(largest: int) -> list[float]:
    """Resolutions from that where a kernel of this side is a few pixels wide up to 1."""
    found = [1.0]
    while largest * found[-1] * _STEP >= _COARSEST:
        found.append(found[-1] * _STEP)
    return found[::-1]


def first_guess(windows: Tensor, largest: int, scale: float) -> Guess:
    """Two pixels side by side: a point is a solution of its own that nothing leads away from."""
    count = len(windows)
    kernels = windows.new_zeros(count, 3, 3)
    kernels[:, 1, 1:] = 0.5
    return Guess(kernels, scale, windows.new_full((count,), largest / 2), _FIRST_PRICE)


def refined(
    windows: Tensor, guess: Guess, levels: Sequence[float], *, largest: int, closeness: Tensor | None = None
) -> Guess:
    """The guess carried through these resolutions, the last of which keeps faint tails if it is that of the windows.

    windows: (N, H, W) in [0, 1];  closeness: (N, N) in [0, 1], 1 for a window and itself or one of the
    very same blur, 0 where two do not share, None for nowhere.
    """
    paper = paper_of(windows)
    for scale in levels:
        guess = _at(scale, windows, paper, guess, largest, closeness)
    return guess


def _at(
    scale: float, windows: Tensor, paper: Tensor | None, guess: Guess, largest: int, closeness: Tensor | None
) -> Guess:
    level = shrunk(windows, scale)
    beneath = None if paper is None else shrunk(paper, scale)
    most = max(1, int(largest * scale / 2))
    radius = (guess.room * scale).ceil().clamp(1, most)
    side = 2 * int(radius.max()) + 1
    support = (distance_from_middle(side, level) <= radius[:, None, None]).to(level)
    kernels, price = resampled(guess.kernels, scale / guess.scale, side), guess.price
    pooling = None if closeness is None else _pooling(closeness, scale, largest)
    seen, threshold = seen_gradients(level), None
    for number in range(_ROUNDS):
        sharp = few_edges(level, kernels, price, paper=beneath)
        threshold = edge_threshold(sharp, 2 * radius + 1) if threshold is None else threshold / _CHEAPER
        fitted = fitted_kernels(seen, sharp, threshold=threshold, support=support, ridge=_RIDGE, pooling=pooling)
        kernels = _cleaned(fitted, last=scale == 1 and number == _ROUNDS - 1)
        price = max(price / _CHEAPER, _LEAST_PRICE)
    room = ((_ROOM * reach(kernels) + _MORE_ROOM) / scale).clamp(max=largest / 2)
    return Guess(kernels, scale, room, price)


def shrunk(windows: Tensor, scale: float) -> Tensor:
    """Windows (N, H, W) at a resolution; 8x8 pixels at least."""
    height, width = (max(8, round(length * scale)) for length in windows.shape[-2:])
    return resized(windows, (height, width)).clamp(0, 1)


def _cleaned(fitted: Tensor, *, last: bool) -> Tensor:
    if last:
        return centred(without_islands(normalised(fitted, _LAST_FAINTEST), _LAST_ISLAND), exactly=True)
    return centred(without_islands(normalised(fitted, _FAINTEST), _ISLAND))


def _pooling(closeness: Tensor, scale: float, largest: int) -> Tensor:
    """A window's own evidence, and that of what shares all with it, counts 1, that of its neighbours less and less on
    the way to the full resolution."""
    lowest = scales(largest)[0]
    remaining = math.log(scale) / math.log(lowest) if lowest < 1 else 0.0
    weight = _SHARED_FIRST**remaining * _SHARED_LAST ** (1 - remaining)
    pooling: Tensor = torch.where(closeness < 1, weight * closeness, closeness)
    return pooling


def evidence_of(windows: Tensor) -> Tensor:
    """(N,) the energy of each window's strongest edges: what its kernel can be seen by."""
    right, down = gradients(windows)
    energy = (right.square() + down.square())[..., 1:-1, 1:-1].flatten(1)
    return energy.topk(max(1, energy.shape[1] // 20), dim=1).values.sum(1)
