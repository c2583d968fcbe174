"""What a good image is: priors, as the gradient of a log density."""

from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor], Tensor]
"""Noisy image (..., C, H, W) in [0, 1] -> clean estimate of the same shape."""


class MeanShift:
    """The mean-shift prior of a denoising autoencoder (Bigdeli et al. 2017, arXiv 1709.03749, eq. 6).

    A denoiser r trained for Gaussian noise of `sigma` points uphill on the smoothed density of its images:
    (r(x) - x) / sigma^2 = grad log (g_sigma * p)(x).  It is only good at its own noise level, hence it is asked at
    x + eta with fresh noise eta ~ N(0, sigma^2).  sigma is on the [0, 1] scale.
    """

    def __init__(self, denoiser: Denoiser, sigma: float) -> None:
        self.denoiser = denoiser
        self.sigma = sigma

    def residual(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """X - r(x + eta), shape of `image`: the step that the denoiser would take back."""
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
        return image - self.denoiser(torch.add(image, noise.to(image.device), alpha=self.sigma))

    def score(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """The mean-shift vector, a noisy estimate of the gradient of log (g_sigma * p) at `image`."""
        return self.residual(image, generator=generator) / -(self.sigma**2)
