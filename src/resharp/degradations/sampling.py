"""Fewer samples than the scene has: smaller photos and colour mosaics, as values that can be written down."""

import dataclasses
from typing import Annotated, Literal

import torch
from torch import Tensor

from resharp.errors import ArgumentError

from .arguments import checked_image
from .mosaic import DEMOSAICKERS, Mosaic
from .ranges import checked_whole
from .resample import Resize, resize_as_matlab


@dataclasses.dataclass(frozen=True)
class Downscale:
    """The photo `factor` times smaller, antialiased.  Its sides are multiples of the factor.

    rounding: to 8 bits after either axis.
    """

    factor: Annotated[int, "How many times smaller."] = 4
    method: Annotated[
        Literal["bicubic", "bilinear", "area"], "Bicubic is MATLAB's imresize, as published test sets are made."
    ] = "bicubic"
    rounding: Annotated[bool, "Keep fractions between the axes; published sets round to 8 bits."] = True
    cut: Annotated[bool, "Cut off what is over where the sides are no multiples of the factor, else an error."] = False

    def __post_init__(self) -> None:
        checked_whole("factor", self.factor, 1, 64)
        Resize(1 / self.factor, method=self.method)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) -> (..., C, H / factor, W / factor); bicubic weights may lead a little past [0, 1]."""
        del generator
        height, width = checked_image(image).shape[-2:]
        if min(height, width) < self.factor:
            raise ArgumentError(f"the photo ({width}x{height}) is smaller than the factor {self.factor}; take another")
        if self.cut:
            height, width = height - height % self.factor, width - width % self.factor
            image = image[..., :height, :width]
        if height % self.factor or width % self.factor:
            raise ArgumentError(
                f"the sides of {width}x{height} are no multiples of {self.factor}; cut it first (--cut does), or take "
                "another factor"
            )
        if self.rounding:
            levels = image.clamp(0, 1).mul(255).round().byte()
            return resize_as_matlab(levels, 1 / self.factor, method=self.method).to(image).div(255)
        smaller: Tensor = Resize(1 / self.factor, method=self.method)(image)
        return smaller


@dataclasses.dataclass(frozen=True)
class Mosaicked:
    """One colour a pixel, as a Bayer pattern lets through.  Demosaicked again, or one plane ("none")."""

    pattern: Annotated[Literal["RGGB", "BGGR", "GRBG", "GBRG"], "Bayer's."] = "RGGB"
    demosaic: Annotated[Literal["malvar", "bilinear", "none"], "Bring the colours back, or leave one grey plane."] = (
        "none"
    )

    def __post_init__(self) -> None:
        Mosaic(self.pattern)
        if self.demosaic not in (*DEMOSAICKERS, "none"):
            raise ArgumentError(f"demosaic is {self.demosaic!r}; choose {', '.join(DEMOSAICKERS)} or none")

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., 3, H, W) -> (..., 3, H, W), or (..., 1, H, W) if it is left as it is."""
        del generator
        if checked_image(image, n_channels=(1, 3)).shape[-3] == 1:
            raise ArgumentError("the photo is grey and has no colours for a mosaic to sample; take one in colour")
        raw: Tensor = Mosaic(self.pattern)(image)
        return raw if self.demosaic == "none" else DEMOSAICKERS[self.demosaic](raw, self.pattern)
