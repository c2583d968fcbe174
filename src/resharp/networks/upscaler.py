"""A light upscaler for people without a GPU: all of its work is done at the small photo's size."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import check_ranges, corrected, draw_uniform
from .unet import PlainBlock


class LightUpscaler(nn.Module):
    """The photo enlarged bilinearly + f(photo), f of EDSR's blocks (Lim et al. 2017, arXiv 1707.02921) behind one
    convolution and before another whose channels become pixels (Shi et al. 2016, arXiv 1609.05158); 694,192 parameters
    at x4.

    image: (N, channels, H, W) in [0, 1], any H and W;  returns (N, channels, scale H, scale W), not clipped.

    Three and a half times as fast as SRResNet, whose last convolutions see the large photo (docs/decisions/0014).  A
    new network enlarges bilinearly.
    """

    multiple_of = 1

    def __init__(
        self,
        *,
        scale: int = 4,
        channels: int = 3,
        width: int = 64,
        n_blocks: int = 9,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_ranges("light upscaler", scale=(scale, 1, 8), channels=(channels, 1, 64))
        check_ranges("light upscaler", width=(width, 1, 4096), n_blocks=(n_blocks, 0, 64))
        self.scale = scale
        self.halo = 2 * n_blocks + 2
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(width) for _ in range(n_blocks)))
        self.ending = nn.Conv2d(width, channels * scale**2, 3, padding=1)
        self.arguments: dict[str, Any] = {"scale": scale, "channels": channels, "width": width, "n_blocks": n_blocks}
        draw_uniform(self, generator)
        nn.init.zeros_(self.ending.weight)

    def forward(self, image: Tensor) -> Tensor:
        details = self.ending(self.blocks(self.intro(image.to(self.intro.weight.dtype))))
        larger = functional.interpolate(image, scale_factor=self.scale, mode="bilinear")
        return corrected(larger, functional.pixel_shuffle(details, self.scale))
