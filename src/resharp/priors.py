"""What a good image is: priors, as the gradient of a log density."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .device import sent
from .errors import ArgumentError

Denoiser = Callable[[Tensor, float], Tensor]
"""model(x, sigma): noisy image (..., C, H, W) in [0, 1], noise sigma on that scale -> clean estimate, the same
shape."""


def fixed_level(function: Callable[[Tensor], Tensor], sigma: float) -> Denoiser:
    """A function that takes noise of one level away, as a Denoiser; other levels raise ArgumentError."""

    def denoise(noisy: Tensor, level: float) -> Tensor:
        if not math.isclose(level, sigma, rel_tol=1e-3):
            raise ArgumentError(f"this denoiser is for noise sigma {sigma:.4f} alone, not for {level:.4f}")
        return function(noisy)

    return denoise


def at_any_level(denoiser: Callable[[Tensor], Tensor], sigma: float) -> Denoiser:
    """A denoiser that knows one level alone, `sigma`, made to serve at any: contrast goes up or down to meet it.

    Xu, Liu, Sun, Wohlberg, Kamilov 2020 (denoiser scaling).  With `dae-sigma11` on a Kodak crop: 39.0 dB at 5 grey
    levels (36.3 if asked as it is), 30.0 at 25 (23.2).  Below a hundredth of `sigma` images come back as they are.
    """

    def denoise(noisy: Tensor, level: float) -> Tensor:
        return noisy if level < sigma / 100 else denoiser(noisy * (sigma / level)) * (level / sigma)

    return denoise


class MeanShift:
    """The mean-shift prior of a denoising autoencoder (Bigdeli et al. 2017, arXiv 1709.03749, eq. 6).

    A denoiser r of Gaussian noise of `sigma` points uphill on the smoothed density of its images:
    (r(x) - x) / sigma^2 = grad log (g_sigma * p)(x).  It is only good where there is such noise, hence it is asked at
    x + eta with fresh noise eta ~ N(0, sigma^2).  sigma is on the [0, 1] scale.
    """

    def __init__(self, denoiser: Denoiser, sigma: float) -> None:
        self.denoiser = denoiser
        self.sigma = sigma

    def residual(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """X - r(x + eta), shape of `image`: the step that the denoiser would take back."""
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
        return image - self.denoiser(torch.add(image, sent(noise, image.device), alpha=self.sigma), self.sigma)

    def score(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """The mean-shift vector, a noisy estimate of the gradient of log (g_sigma * p) at `image`."""
        return self.residual(image, generator=generator) / -(self.sigma**2)
