"""How well a kernel explains a window: by what is left over, and by what should be missing in it."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from .latent import few_edges
from .planes import Grid, fast_grid, gradients, kernel_spectra, made_periodic
from .shapes import turned

_PRICE = 2e-3  # of an edge: high, so that few edges must do
_SPLIT = 100.0  # and that nothing else is left between them
_SPEAKS_LOUDER = 3  # `left_over`, which moves less
_DARK = 0.03  # of a kernel's power: below, it lets next to nothing pass
_NULL, _PASSES = 0.06, 0.25  # the same: nulls, which no power around exceeds, and what a window is known by
_AROUND = 5  # frequencies that a window's taper mixes
_LOWEST, _HIGHEST = 0.015, 0.3  # cycles a pixel: below lie few frequencies, above noise and JPEG
_RINGS, _SECTORS = 10, 12
_FEWEST = 8  # frequencies of a ring's sector by which it is known


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
    grid = fast_grid(windows)
    power = _power(windows, grid)
    own, *others = (
        (power * (_DARK / (kernel_spectra(form, grid).abs().square() + _DARK)).square()).sum((-2, -1))
        for form in (kernels, *turned(kernels))
    )
    usual = torch.stack(others).mean(0)
    return torch.where(usual > 0, own / usual, 1)  # a black window knows nothing


def _power(windows: Tensor, grid: Grid) -> Tensor:
    """(N, height, width // 2 + 1) of gradients, of which natural pictures have about the same at all frequencies."""
    height, width = windows.shape[-2:]
    taper = torch.hann_window(height).to(windows)[:, None] * torch.hann_window(width).to(windows)
    right, down = (torch.fft.rfft2(plane * taper, s=grid).abs().square() for plane in gradients(windows))
    power: Tensor = right.add_(down)
    return power


def power_in_nulls(windows: Tensor, kernels: Tensor) -> float:
    """What windows have at frequencies that their kernels let not pass, as a share of what sharp ones would have there.

    That is the product of a function of the frequency's length, as lenses and textures have it, and of one of its
    direction, which lines and horizons favour, fitted (logarithms, least squares) to the frequencies that pass.
    Right kernels leave .01 to .14, by what the windows' borders mix; sharp photos, whose kernels are made up by what
    they show, mostly .2 and more.  NaN where kernels have no nulls to tell by.
    """
    grid = height, width = fast_grid(windows)
    passed = kernel_spectra(kernels, grid).abs().square()
    beyond = _AROUND // 2  # in rows frequencies go on from the other end
    around = torch.cat([passed[:, -beyond:], passed, passed[:, :beyond]], 1)
    around = functional.pad(functional.max_pool2d(around, (_AROUND, 1), stride=1), (beyond, beyond))
    around = functional.max_pool2d(around, (1, _AROUND), stride=1)
    down, right = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    length, direction = torch.hypot(down, right), torch.atan2(down, right)
    ring = ((length.clamp(min=_LOWEST) / _LOWEST).log() * (_RINGS / math.log(_HIGHEST / _LOWEST))).long()
    sector = ((direction / math.pi + 0.5) * _SECTORS).long().clamp(max=_SECTORS - 1)
    cells = (ring.clamp(max=_RINGS - 1) * _SECTORS + sector).to(windows.device).expand_as(passed)
    inside = ((length >= _LOWEST) & (length < _HIGHEST)).to(windows.device)

    def summed(planes: Tensor, where: Tensor) -> Tensor:
        sums = planes.new_zeros(_RINGS * _SECTORS).index_add_(0, cells[where], planes[where])
        return sums.view(_RINGS, _SECTORS)

    power, ones = _power(windows, grid), torch.ones_like(passed)
    passing, null = inside & (passed > _PASSES), inside & (around < _NULL)
    counts = summed(ones, passing)
    seen = (summed(power, passing) / summed(passed, passing).clamp(min=1e-9)).clamp(min=1e-12).log()
    counts = counts.where(counts >= _FEWEST, 0)
    expected = _as_product(seen, counts).exp() * (counts.sum(1, keepdim=True) > 0)
    whole = float((expected * summed(ones, null)).sum())
    return float((summed(power, null) * (expected > 0)).sum()) / whole if whole > 0 else math.nan


def _as_product(logarithms: Tensor, counts: Tensor) -> Tensor:
    """(rings, sectors) the sum of one value a ring and one a sector that is nearest, each cell with its count."""
    rings, sectors = logarithms.new_zeros(len(counts), 1), logarithms.new_zeros(1, counts.shape[1])
    for _ in range(20):
        rings = (counts * (logarithms - sectors)).sum(1, keepdim=True) / (counts.sum(1, keepdim=True) + 1e-3)
        sectors = (counts * (logarithms - rings)).sum(0, keepdim=True) / (counts.sum(0, keepdim=True) + 10)
    return rings + sectors


def roundness(kernels: Tensor) -> Tensor:
    """(N,) correlation of kernels with themselves turned by a quarter."""
    return torch.cosine_similarity(kernels.flatten(1), turned(kernels)[0].flatten(1))
