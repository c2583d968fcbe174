"""Scene light and pixel values: a camera's response taken as a power law.

Blur and noise happen in linear light; a photo stores light ** (1 / gamma).  2.2 is usual; 1 takes pixel values for
light, as DeblurGAN's synthetic blur and GoPro's usual `blur` subset do.
"""

from typing import TYPE_CHECKING, Annotated

from resharp.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

Gamma = Annotated[float, "The camera's response: 1 takes pixel values for light, 2.2 is usual."]

WHITE = 254.5 / 255  # pixel values from here on may have been cut off: half a level of 8 bits from 1


def checked_gamma(gamma: float) -> float:
    """`gamma` if it can be a camera's.  Raises ArgumentError."""
    if not 1 <= gamma <= 5:
        raise ArgumentError(f"gamma is {gamma:g}; a camera's response lies between 1 (linear) and 5, 2.2 is usual")
    return gamma


def to_light(image: "Tensor", gamma: float) -> "Tensor":
    """Pixel values in [0, 1] to linear light in [0, 1]."""
    return image if gamma == 1 else image.clamp(min=0).pow(gamma)


def to_pixels(light: "Tensor", gamma: float) -> "Tensor":
    """Linear light to pixel values; what is brighter than 1 stays so for whoever clips it."""
    return light if gamma == 1 else light.clamp(min=0).pow(1 / gamma)
