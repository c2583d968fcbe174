"""The kernels that make blurred windows of sharp ones: least squares on gradients of strong edges."""

import torch
from torch import Tensor

from .planes import Grid, fast_even_length, gradients, kernel_spectra, kernels_of

_STEPS = 20


def fitted_kernels(
    blurred: Tensor, sharp: Tensor, *, threshold: Tensor, support: Tensor, ridge: float, pooling: Tensor | None = None
) -> Tensor:
    """The k of least |k * grad s - grad y|^2 + ridge |k|^2 on edges above a threshold, by conjugate gradients.

    blurred, sharp: (N, H, W);  threshold: (N,);  support: (N, side, side), 1 where a kernel may lie, else 0;
    pooling: (N, N), how much each window (row) makes of the evidence of each (column); None: of its own alone.
    Returns (N, side, side), as the equations have it: of either sign.
    """
    side = support.shape[-1]
    correlations, products = _evidence(blurred, sharp, threshold, side)
    if pooling is not None:
        correlations, products = (torch.tensordot(pooling, planes, dims=1) for planes in (correlations, products))
    return _solved(correlations, products, support, ridge)


def _evidence(blurred: Tensor, sharp: Tensor, threshold: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The normal equations: correlations of the edges with themselves, at all shifts between two pixels of a kernel
    (N, 2 side - 1, 2 side - 1), and with the blurred gradients (N, side, side)."""
    grid = (blurred.shape[-2], blurred.shape[-1])
    right, down = gradients(sharp)
    edges = torch.hypot(right, down) >= threshold[:, None, None]
    edges[:, -1], edges[:, :, -1] = False, False  # these differences reach around the border
    spectra = [torch.fft.rfft2(strong * edges) for strong in (right, down)]
    seen = [torch.fft.rfft2(_without_last(planes)) for planes in gradients(blurred)]
    power = spectra[0].abs().square() + spectra[1].abs().square()
    together = spectra[0].conj() * seen[0] + spectra[1].conj() * seen[1]
    return kernels_of(power.to(together.dtype), grid, 2 * side - 1), kernels_of(together, grid, side)


def _without_last(planes: Tensor) -> Tensor:
    planes[:, -1], planes[:, :, -1] = 0, 0
    return planes


def _solved(correlations: Tensor, products: Tensor, support: Tensor, ridge: float) -> Tensor:
    """The matrix is Toeplitz, hence a part of a circulant one that is hardly larger than two kernels."""
    side = products.shape[-1]
    length = fast_even_length(2 * side - 1)
    grid: Grid = (length, length)
    power = kernel_spectra(correlations, grid).real

    def normal(kernels: Tensor) -> Tensor:
        return support * kernels_of(power * kernel_spectra(kernels, grid), grid, side) + ridge * kernels

    target, kernels = support * products, support / _sum(support)
    residual = target - normal(kernels)
    direction, energy = residual, _sum(residual.square())
    for _ in range(_STEPS):
        image = normal(direction)
        step = energy / (_sum(direction * image) + 1e-20)
        kernels, residual = kernels + step * direction, residual - step * image
        left = _sum(residual.square())
        direction, energy = residual + left / (energy + 1e-20) * direction, left
    return kernels


def _sum(planes: Tensor) -> Tensor:
    return planes.sum((-2, -1), keepdim=True)
