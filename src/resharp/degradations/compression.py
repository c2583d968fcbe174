"""Compression: what storing a photo costs it."""

import dataclasses
from typing import Annotated, Literal

import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.photo import through_jpeg

from .arguments import checked_image
from .ranges import checked_whole


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """Written as JPEG and read again."""

    quality: Annotated[int, "1 to 100, on libjpeg's scale."] = 75
    subsampling: Annotated[Literal["4:4:4", "4:2:2", "4:2:0"], "Of the colour."] = "4:2:0"

    def __post_init__(self) -> None:
        checked_whole("JPEG quality", self.quality, 1, 100)
        if self.subsampling not in ("4:4:4", "4:2:2", "4:2:0"):
            raise ArgumentError(f"JPEG subsampling is {self.subsampling!r}; choose 4:4:4, 4:2:2 or 4:2:0")

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., 1 or 3, H, W) in [0, 1]; nothing is drawn."""
        del generator
        flat = checked_image(image, n_channels=(1, 3)).reshape(-1, *image.shape[-3:])
        return torch.stack([through_jpeg(one, self.quality, self.subsampling) for one in flat]).reshape(image.shape)
