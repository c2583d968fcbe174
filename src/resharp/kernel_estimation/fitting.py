"""The kernels that make blurred windows of sharp ones: least squares on gradients of strong edges."""

import torch
from torch import Tensor

from .planes import Grid, gradients, kernel_spectra, kernels_of

_STEPS = 20


def fitted_kernels(
    blurred: Tensor, sharp: Tensor, *, threshold: Tensor, support: Tensor, ridge: Tensor, pooling: Tensor | None = None
) -> Tensor:
    """argmin over k of |k * grad s - grad y|^2 + ridge |k|^2 on edges above a threshold, by conjugate gradients.

    blurred, sharp: (N, H, W);  threshold, ridge: (N,);  support: (N, side, side), 1 where a kernel may lie, else 0;
    pooling: (N, N), how much each window (row) makes of the evidence of each (column); None: of its own alone.
    Returns (N, side, side), as the equations have it: of either sign.
    """
    grid = (blurred.shape[-2], blurred.shape[-1])
    power, products = _evidence(blurred, sharp, threshold, grid)
    if pooling is not None:
        power, products = _pooled(power, pooling), _pooled(products, pooling)
    return _solved(power, kernels_of(products, grid, support.shape[-1]), grid, support, ridge[:, None, None])


def _evidence(blurred: Tensor, sharp: Tensor, threshold: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """The normal equations in Fourier space: power of the edges, and their products with the blurred gradients."""
    right, down = gradients(sharp)
    edges = torch.hypot(right, down) >= threshold[:, None, None]
    edges[:, -1], edges[:, :, -1] = False, False  # these differences reach around the border
    power: Tensor | float = 0.0
    products: Tensor | float = 0.0
    for strong, seen in zip((right * edges, down * edges), gradients(blurred), strict=True):
        seen[:, -1], seen[:, :, -1] = 0, 0
        spectra = torch.fft.rfft2(strong)
        power = power + spectra.real.square() + spectra.imag.square()
        products = products + spectra.conj() * torch.fft.rfft2(seen)
    assert isinstance(power, Tensor)
    assert isinstance(products, Tensor)
    return power, products


def _pooled(spectra: Tensor, pooling: Tensor) -> Tensor:
    return (pooling.to(spectra.dtype) @ spectra.flatten(1)).view_as(spectra)


def _solved(power: Tensor, target: Tensor, grid: Grid, support: Tensor, ridge: Tensor) -> Tensor:
    side = target.shape[-1]

    def normal(kernels: Tensor) -> Tensor:
        return support * kernels_of(power * kernel_spectra(kernels, grid), grid, side) + ridge * kernels

    target, kernels = support * target, support / _sum(support)
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
