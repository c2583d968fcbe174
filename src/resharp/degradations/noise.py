"""Noise: what the sensor adds."""

import dataclasses
from typing import Annotated

import torch
from torch import Tensor

from resharp.errors import ArgumentError

from .arguments import checked_image, checked_photons, checked_whole
from .light import Gamma, checked_gamma, to_light, to_pixels


@dataclasses.dataclass(frozen=True)
class Noise:
    """Read noise, white and Gaussian, and shot noise, by which each pixel follows a Poisson law.

    gamma: other than 1, both happen in linear light, as in a camera, which reads nothing below black; the result is not
    clipped otherwise.
    """

    sigma: Annotated[float, "Of the read noise, on the [0, 1] scale (0.01 = 2.55 grey levels)."] = 0.01
    photons: Annotated[float, "At white, in the mean, for shot noise; 0: none."] = 0.0
    gamma: Gamma = 1.0

    def __post_init__(self) -> None:
        checked_sigma(self.sigma)
        checked_photons(self.photons)
        checked_gamma(self.gamma)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) with noise; drawn on the generator's device."""
        light = to_light(checked_image(image), self.gamma)
        if self.photons:
            counts = (light.clamp(min=0) * self.photons).to(generator.device)
            light = torch.poisson(counts, generator=generator).to(image) / self.photons
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
        return to_pixels(light + self.sigma * noise.to(image.device), self.gamma)


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
    """`seed` if torch's generator on the CPU tells it from every other one: it uses 32 bits.  Raises ArgumentError."""
    return checked_whole("seed", seed, 0, 2**32 - 1)
