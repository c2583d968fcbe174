"""Noise: what the sensor adds."""

import torch
from torch import Tensor

from resharp.errors import ArgumentError


class GaussianNoise:
    """White Gaussian noise; sigma on the [0, 1] scale (0.01 = 2.55 grey levels).  The result is not clipped."""

    def __init__(self, sigma: float = 0.01) -> None:
        self.sigma = checked_sigma(sigma)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
        return image + self.sigma * noise.to(image.device)


def checked_sigma(sigma: float) -> float:
    """`sigma` if it is a noise level on the [0, 1] scale.  Raises ArgumentError."""
    if not sigma >= 0:
        raise ArgumentError(f"noise sigma is {sigma:g}; it must be 0 or above, on the [0, 1] scale")
    if sigma > 1:
        raise ArgumentError(
            f"noise sigma is {sigma:g}; it is on the [0, 1] scale: {sigma:g} levels = {sigma / 255:.4g}"
        )
    return sigma


def checked_seed(seed: int) -> int:
    """`seed` if a generator takes it.  Raises ArgumentError."""
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed is {seed}; it must lie between 0 and 2^63 - 1")
    return seed
