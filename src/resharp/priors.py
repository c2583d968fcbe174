"""What a good image is: priors, as the gradient of a log density."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .errors import ArgumentError

Denoiser = Callable[[Tensor, float], Tensor]
"""model(x, sigma): noisy image (..., C, H, W) in [0, 1], noise sigma on that scale -> clean estimate, the same
shape."""


def fixed_level(function: Callable[[Tensor], Tensor], sigma: float) -> Denoiser:
    """A function that takes noise of one level away, as a Denoiser; others levels raise ArgumentError."""

    def denoise(noisy: Tensor, level: float) -> Tensor:
        if not math.isclose(level, sigma, rel_tol=1e-3):
            raise ArgumentError(f"this denoiser is for noise sigma {sigma:.4f} alone, not for {level:.4f}")
        return function(noisy)

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
        return image - self.denoiser(torch.add(image, noise.to(image.device), alpha=self.sigma), self.sigma)

    def score(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """The mean-shift vector, a noisy estimate of the gradient of log (g_sigma * p) at `image`."""
        return self.residual(image, generator=generator) / -(self.sigma**2)
