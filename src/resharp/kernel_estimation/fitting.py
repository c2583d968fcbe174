"""The kernels that make blurred windows of sharp ones: least squares on gradients of strong edges."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from resharp.degradations.blur import fast_length

from .planes import Grid, fast_grid, gradients, kernel_spectra, kernels_of
from .threads import window_by_window

_STEPS = 20, 12  # under an even damping, then under one that spares bright pixels
_SPARSITY, _SOFTNESS = 0.3, 0.05  # dampings of a pixel of brightness b, as a share of the peak: .3 / (b + .05)


def fitted_kernels(
    seen: Tensor, sharp: Tensor, *, threshold: Tensor, support: Tensor, ridge: float, pooling: Tensor | None = None
) -> Tensor:
    """The k of least |k * grad s - grad y|^2 + ridge sum_i d_i k_i^2 on edges above a threshold.

    By conjugate gradients, twice: with dampings d of 1, then with small ones where the first solution is bright, for a
    kernel is a line and dark beside it.

    seen: of the blurred windows, see `seen_gradients`;  sharp: (N, H, W);  threshold: (N,);  support: (N, side, side),
    1 where a kernel may lie, else 0;  pooling: (N, N), how much each window (row) makes of the evidence of each
    (column); None: of its own alone.  Returns (N, side, side), as the equations have it: of either sign.
    """
    side = support.shape[-1]
    correlations, products = window_by_window(functools.partial(_evidence, side=side), seen, sharp, threshold)
    if pooling is not None:
        correlations, products = (torch.tensordot(pooling, planes, dims=1) for planes in (correlations, products))
    (kernels,) = window_by_window(functools.partial(_solved, ridge=ridge), correlations, products, support)
    return kernels


def seen_gradients(blurred: Tensor) -> Tensor:
    """(N, 2, height, width // 2 + 1) spectra of the gradients of windows (N, H, W), to the right and downwards, on a
    grid that FFTs are fast on."""
    planes = torch.stack([_without_last(planes) for planes in gradients(blurred)], 1)
    spectra: Tensor = torch.fft.rfft2(planes, s=fast_grid(blurred))
    return spectra


def _evidence(seen: Tensor, sharp: Tensor, threshold: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The normal equations: correlations of the edges with themselves, at all shifts between two pixels of a kernel
    (N, 2 side - 1, 2 side - 1), and with the blurred gradients (N, side, side)."""
    grid = fast_grid(sharp)
    right, down = gradients(sharp)
    edges = torch.hypot(right, down) >= threshold[:, None, None]
    edges[:, -1], edges[:, :, -1] = False, False  # these differences reach around the border
    spectra = [torch.fft.rfft2(strong * edges, s=grid) for strong in (right, down)]
    power = spectra[0].abs().square() + spectra[1].abs().square()
    together = spectra[0].conj() * seen[:, 0] + spectra[1].conj() * seen[:, 1]
    return kernels_of(power.to(together.dtype), grid, 2 * side - 1), kernels_of(together, grid, side)


def _without_last(planes: Tensor) -> Tensor:
    planes[:, -1], planes[:, :, -1] = 0, 0
    return planes


def _solved(correlations: Tensor, products: Tensor, support: Tensor, ridge: float) -> tuple[Tensor]:
    """The matrix is Toeplitz, hence a part of a circulant one that is hardly larger than two kernels."""
    side = products.shape[-1]
    length = fast_length(2 * side - 1)
    grid: Grid = (length, length)
    power = kernel_spectra(correlations, grid).real
    typical = power.mean((-2, -1), keepdim=True)
    kernels, dampings = support / _sum(support), torch.full_like(products, ridge)
    for steps in _STEPS:

        def normal(one: Tensor, dampings: Tensor = dampings) -> Tensor:
            return support * kernels_of(power * kernel_spectra(one, grid), grid, side) + dampings * one

        kernels = _by_conjugate_gradients(normal, support * products, kernels, typical + dampings, steps)
        bright = kernels.clamp(min=0) / kernels.amax((-2, -1), keepdim=True).clamp(min=1e-9)
        dampings = ridge * _SPARSITY / (bright + _SOFTNESS)
    return (kernels,)


def _by_conjugate_gradients(
    matrix: Callable[[Tensor], Tensor], target: Tensor, start: Tensor, diagonal: Tensor, steps: int
) -> Tensor:
    solution, residual = start, target - matrix(start)
    direction = residual / diagonal
    energy = _sum(residual * direction)
    for _ in range(steps):
        image = matrix(direction)
        step = energy / (_sum(direction * image) + 1e-20)
        solution, residual = solution + step * direction, residual - step * image
        scaled = residual / diagonal
        left = _sum(residual * scaled)
        direction, energy = scaled + left / (energy + 1e-20) * direction, left
    return solution


def _sum(planes: Tensor) -> Tensor:
    return planes.sum((-2, -1), keepdim=True)
