"""Noise: what the sensor adds."""

import dataclasses
from typing import Annotated

import torch
from torch import Tensor

from .arguments import checked_image
from .light import Gamma, checked_gamma, to_light, to_pixels
from .ranges import checked_photons, checked_sigma


@dataclasses.dataclass(frozen=True)
class Noise:
    """Read noise, white and Gaussian, and shot noise.  By that each pixel follows a Poisson law.

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
