"""Kernels of windows, coarse to fine."""

import dataclasses

import torch
from torch import Tensor

from .fitting import fitted_kernels
from .latent import edge_threshold, few_edges
from .planes import resized
from .shapes import centred, distance_from_middle, normalised, reach, resampled, without_islands


@dataclasses.dataclass(frozen=True)
class Effort:
    rounds: int = 4
    price: float = 4e-3
    least_price: float = 1e-4
    decay: float = 1.1
    ridge: float = 2.0
    faintest: float = 0.05
    island: float = 0.1
    pool_coarse: float = 1.0
    pool_fine: float = 0.2
    last_faint: float = 0.0
    room: float = 1.35
    more: float = 1.5


def kernels_coarse_to_fine(windows: Tensor, largest: int, closeness: Tensor | None = None, s: Effort = Effort()) -> Tensor:
    n = len(windows)
    factors = [2 ** (-i / 2) for i in range(16) if largest * 2 ** (-i / 2) >= 3.5][::-1]
    price, ridge = windows.new_full((n,), s.price), windows.new_full((n,), s.ridge)
    room = windows.new_full((n,), largest / 2)
    kernels, before = None, 1.0
    for number, factor in enumerate(factors):
        sides = (room * factor).ceil().clamp(min=1, max=max(1, int(largest * factor / 2)))
        side = 2 * int(sides.max()) + 1
        support = (distance_from_middle(side, windows) <= sides[:, None, None]).to(windows)
        size = [max(8, round(length * factor)) for length in windows.shape[-2:]]
        level = resized(windows, (size[0], size[1])).clamp(0, 1)
        if kernels is None:
            kernels = windows.new_zeros(n, side, side)
            kernels[:, side // 2, side // 2 : side // 2 + 2] = 0.5
        else:
            kernels = resampled(kernels, factor / before, side)
        before = factor
        pooling = None
        if closeness is not None:
            t = number / max(1, len(factors) - 1)
            c = s.pool_coarse ** (1 - t) * s.pool_fine**t
            pooling = torch.eye(n) + c * closeness * (1 - torch.eye(n))
        threshold = None
        for i in range(s.rounds):
            sharp = few_edges(level, kernels, price)
            threshold = edge_threshold(sharp, 2 * sides + 1) if threshold is None else threshold / 1.1
            kernels = fitted_kernels(level, sharp, threshold=threshold, support=support, ridge=ridge, pooling=pooling)
            if s.last_faint and factor == 1 and i == s.rounds - 1:
                kernels = without_islands(normalised(kernels, s.last_faint), 0.02)
            else:
                kernels = centred(without_islands(normalised(kernels, s.faintest), s.island))
            price = (price / s.decay).clamp(min=s.least_price)
        room = torch.minimum(windows.new_tensor(largest / 2), (s.room * reach(kernels) + s.more) / factor)
    return kernels
