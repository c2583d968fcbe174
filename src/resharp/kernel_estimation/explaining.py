"""How well a kernel explains a window: what is left when the sharp picture that it leads to is blurred again."""

import torch
from torch import Tensor

from .latent import few_edges
from .planes import gradients, kernel_spectra, made_periodic
from .shapes import points

_PRICE = 2e-3  # of an edge: high, so that few edges must do
_SPLIT = 100.0  # and that nothing else is left between them


def explained(windows: Tensor, kernels: Tensor) -> Tensor:
    """(N,) the share of the energy of each window's gradients that a picture of few edges and its kernel account for.

    windows: (N, H, W) in [0, 1];  kernels: (N, side, side).  The same price of edges for every kernel: a wrong kernel
    needs more edges for the same picture, and leaves more over.
    """
    sharp = few_edges(windows, kernels, _PRICE, largest_split=_SPLIT)
    border = kernels.shape[-1] // 2 + 1
    periodic = made_periodic(sharp, kernels.shape[-1])
    grid = (periodic.shape[-2], periodic.shape[-1])
    height, width = windows.shape[-2:]
    again = torch.fft.irfft2(torch.fft.rfft2(periodic) * kernel_spectra(kernels, grid), s=grid)[..., :height, :width]
    left, whole = (_energy(planes, border) for planes in (again - windows, windows))
    return 1 - left / whole.clamp(min=1e-12)


def gain_over_none(windows: Tensor, kernels: Tensor) -> Tensor:
    """(N,) how much more a kernel explains than no blur does."""
    return explained(windows, kernels) - explained(windows, points(kernels.shape, kernels))


def _energy(planes: Tensor, border: int) -> Tensor:
    inner = planes[..., border:-border, border:-border]
    right, down = gradients(inner)
    return right[..., :-1].square().sum((-2, -1)) + down[..., :-1, :].square().sum((-2, -1))
