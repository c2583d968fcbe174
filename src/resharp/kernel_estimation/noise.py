"""Noise in windows: how much there is, and what to do about it before a kernel is looked for."""

import torch
from torch import Tensor

from .planes import made_periodic

_MEDIAN_OF_NORMAL = 0.6745
_SMOOTHING = 50.0  # pixels per unit of noise: at .02 a pixel, which finds kernels best
_WIDEST = 1.5  # pixels
_NEGLIGIBLE = 0.004  # that of rounding to 8 bit is .001 to .003


def noise_sigma(windows: Tensor) -> Tensor:
    """(N,) standard deviation of white noise on [0, 1], by the median of diagonal detail (Donoho, Johnstone 1994).

    windows: (N, H, W).  A sharp texture is partly taken for noise; a blurred one is not.
    """
    detail = windows[..., 1:, 1:] - windows[..., 1:, :-1] - windows[..., :-1, 1:] + windows[..., :-1, :-1]
    return detail.abs().flatten(1).median(1).values / (2 * _MEDIAN_OF_NORMAL)


def smoothed(windows: Tensor) -> Tensor:
    """Windows as smooth as their noise asks for; those without noise stay as they are.

    A blur that comes on top of another one does not change the kernel between sharp and blurred picture, if both have
    it: the kernel of a smoothed window is that of the window.
    """
    sigma = noise_sigma(windows)
    width = (_SMOOTHING * sigma).clamp(max=_WIDEST)[:, None, None]
    if not bool((sigma > _NEGLIGIBLE).any()):
        return windows
    periodic = made_periodic(windows, 8)
    rows = torch.fft.fftfreq(periodic.shape[-2], device=windows.device)[:, None]
    columns = torch.fft.rfftfreq(periodic.shape[-1], device=windows.device)
    passed = torch.exp(-2 * (torch.pi * width).square() * (rows.square() + columns.square()))
    smooth = torch.fft.irfft2(torch.fft.rfft2(periodic) * passed, s=periodic.shape[-2:])
    smooth = smooth[..., : windows.shape[-2], : windows.shape[-1]]
    return torch.where((sigma > _NEGLIGIBLE)[:, None, None], smooth, windows)
