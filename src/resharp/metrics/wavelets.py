"""Similarity of the phases of a complex steerable pyramid, which small shifts and rotations hardly change."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from resharp.errors import ArgumentError

from .arguments import checked_pair, for_each

_WINDOW = 7
_NOTHING = 1e-12  # the paper's K, next to energies of images in [0, 1]: two bands without content are alike


@torch.no_grad()
def complex_wavelet_ssim(restored: Tensor, clean: Tensor, *, n_levels: int = 6, n_orientations: int = 16) -> Tensor:
    """Sampat et al. 2009, doi 10.1109/TIP.2009.2025923: CW-SSIM of the coarsest oriented bands; at most 1; (...).

    Of each channel, then the mean.  In each band 2 |sum x y*| / (sum |x|^2 + sum |y|^2) over 7x7 windows, weighted by a
    Gaussian of a quarter of the band's height around its middle, as the authors' code has it; n_levels and
    n_orientations are that code's.  The coarsest band has 7 pixels each way or more: 193 of the image for 6 levels.
    At that scale a blur of some pixels costs next to nothing.  Computed in float64.
    """
    if not (1 <= n_levels <= 12 and 1 <= n_orientations <= 64):
        raise ArgumentError(
            f"a pyramid of {n_levels} levels and {n_orientations} orientations; it has 1 to 12 and 1 to 64 of them"
        )
    smallest = (_WINDOW - 1) * 2 ** (n_levels - 1) + 1
    restored, clean = checked_pair(restored, clean, smallest=smallest)
    masks, size = _masks(clean.shape[-2:], n_levels, n_orientations, clean.device)

    def measure(one: Tensor, other: Tensor) -> Tensor:
        return _similarity(_bands(one, masks, size), _bands(other, masks, size))

    return for_each(measure, restored.double(), clean.double())


def _similarity(one: Tensor, other: Tensor) -> Tensor:
    """Of two sets of complex bands (C, orientations, h, w)."""
    product, energy = one * other.conj(), one.abs().square() + other.abs().square()
    real, imaginary, energy = (
        functional.avg_pool2d(values, _WINDOW, stride=1) for values in (product.real, product.imag, energy)
    )
    height, width = energy.shape[-2:]
    sigma = one.shape[-2] / 4
    weights = torch.outer(_bell(height, sigma), _bell(width, sigma)).to(energy)
    local = (2 * torch.hypot(real, imaginary) + _NOTHING) / (energy + _NOTHING)
    return (local * weights).sum(dim=(-2, -1)).mean()


def _bell(n: int, sigma: float) -> Tensor:
    line = torch.exp(-0.5 * ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / sigma) ** 2)
    return line / line.sum()


def _bands(image: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The oriented bands of the coarsest level: (C, H, W) -> (C, orientations, h, w), complex.

    Sampled as finely as their frequencies need: what the masks leave out of the spectrum is not transformed back.
    """
    spectrum = torch.fft.fft2(image, norm="forward")
    for dim, n in zip((-2, -1), size, strict=True):
        places = torch.tensor(_frequencies(n), device=image.device) % spectrum.shape[dim]
        spectrum = spectrum.index_select(dim, places)
    bands: Tensor = torch.fft.ifft2(spectrum[:, None] * masks, norm="forward")
    return bands


def _masks(
    image_size: torch.Size, n_levels: int, n_orientations: int, device: torch.device
) -> tuple[Tensor, tuple[int, int]]:
    """(orientations, h, w) over the low frequencies of an image of this size, and (h, w).

    Portilla and Simoncelli 2000: raised cosines over the logarithm of the radius, powers of a cosine over half of the
    angles.  The mean has no orientation and is left out.
    """
    height, width = (math.ceil(n / 2 ** (n_levels - 1)) for n in image_size)
    vertical = torch.tensor(_frequencies(height), dtype=torch.float64)[:, None] / (image_size[0] / 2)
    horizontal = torch.tensor(_frequencies(width), dtype=torch.float64) / (image_size[1] / 2)
    radius = torch.hypot(vertical, horizontal)
    octave = torch.log2(radius.clamp(min=1e-30)) + n_levels
    radial = torch.cos(math.pi / 2 * octave.clamp(-1, 0)) * torch.sin(math.pi / 2 * (octave - 1).clamp(-1, 0)).abs()
    angle = torch.atan2(vertical, horizontal)
    turned = torch.stack([torch.cos(angle - math.pi * k / n_orientations) for k in range(n_orientations)])
    angular = (turned > 0) * turned ** (n_orientations - 1)
    return (radial * angular * (radius > 0)).to(device), (height, width)


def _frequencies(n: int) -> list[int]:
    """Cycles over n samples in the order of a Fourier transform."""
    return [*range((n + 1) // 2), *range(-(n // 2), 0)]
