"""How well a kernel explains a window: by what is left over, and by what should be missing in it."""

import torch
from torch import Tensor

from .latent import few_edges
from .planes import gradients, kernel_spectra, made_periodic
from .shapes import turned

_PRICE = 2e-3  # of an edge: high, so that few edges must do
_SPLIT = 100.0  # and that nothing else is left between them
_SPEAKS_LOUDER = 3  # `left_over`, which moves less
_DARK = 0.03  # of a kernel's power: below, it lets next to nothing pass


def explained(windows: Tensor, kernels: Tensor) -> Tensor:
    """(N,) the share of the energy of each window's gradients that a picture of few edges and its kernel account for.

    windows: (N, H, W) in [0, 1];  kernels: (N, side, side).  The same price of edges for every kernel: a wrong kernel
    needs more edges for the same picture, and leaves more over.  It ranks kernels of one window; whether there is
    any blur it cannot tell.
    """
    sharp = few_edges(windows, kernels, _PRICE, largest_split=_SPLIT)
    border = kernels.shape[-1] // 2 + 1
    periodic = made_periodic(sharp, kernels.shape[-1])
    grid = (periodic.shape[-2], periodic.shape[-1])
    height, width = windows.shape[-2:]
    again = torch.fft.irfft2(torch.fft.rfft2(periodic) * kernel_spectra(kernels, grid), s=grid)[..., :height, :width]
    left, whole = (_energy(planes, border) for planes in (again - windows, windows))
    return 1 - left / whole.clamp(min=1e-12)


def left_over(windows: Tensor, kernels: Tensor) -> Tensor:
    """(N,) what kernels leave unexplained of their windows, against what they leave when turned and mirrored.

    Right kernels leave .6 to .9; 1 says that any kernel of this extent would do as well.
    """
    own, *others = (1 - explained(windows, form) for form in (kernels, *turned(kernels)))
    left: Tensor = own / torch.stack(others).mean(0).clamp(min=1e-12)
    return left


def doubt(windows: Tensor, kernels: Tensor) -> float:
    """How little a photo's windows speak for their kernels, by both signs: it ranks gammas, of which each has its own.

    Of 21 shaken crops, `missing` alone takes the gamma that gains more for 19, `left_over` for 18, both for all.
    """
    return float(missing(windows, kernels).median() * left_over(windows, kernels).mean() ** _SPEAKS_LOUDER)


def _energy(planes: Tensor, border: int) -> Tensor:
    inner = planes[..., border:-border, border:-border]
    right, down = gradients(inner)
    return right[..., :-1].square().sum((-2, -1)) + down[..., :-1, :].square().sum((-2, -1))


def missing(windows: Tensor, kernels: Tensor) -> Tensor:
    """(N,) how dark a window's spectrum is where its kernel's is, against where those of the kernel turned by a quarter
    and mirrored are.

    A blur takes away what its kernel lets not pass, so right kernels have .2 to .85; 1 says that the window knows
    nothing of the kernel, as sharp windows do of theirs, and all windows of round kernels.
    """
    height, width = windows.shape[-2:]
    taper = torch.hann_window(height).to(windows)[:, None] * torch.hann_window(width).to(windows)
    right, down = (torch.fft.rfft2(plane * taper).abs().square() for plane in gradients(windows))
    grid = (height, width)
    own, *others = (
        ((right + down) * (_DARK / (kernel_spectra(form, grid).abs().square() + _DARK)).square()).sum((-2, -1))
        for form in (kernels, *turned(kernels))
    )
    lacking: Tensor = own / torch.stack(others).mean(0)
    return lacking


def roundness(kernels: Tensor) -> Tensor:
    """(N,) correlation of kernels with themselves turned by a quarter."""
    return torch.cosine_similarity(kernels.flatten(1), turned(kernels)[0].flatten(1))
