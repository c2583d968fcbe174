"""Critics: networks that tell restored photos from true ones, by a number that has no bounds.

Photos (N, 3, H, W) in [0, 1] in, a map of scores (N, 1, h, w) out; higher means more like a true photo.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import channels_first_on_cpu, check_ranges, draw_normal, instance_normalised


class PatchCritic(nn.Module):
    """A score for each patch of 70 x 70 pixels (Isola et al. 2016, arXiv 1611.07004), as DeblurGAN pads it; 2,764,737
    parameters.

    image: (N, channels, H, W) in [0, 1];  returns (N, 1, h, w), 35 x 35 for 256 x 256, about H / 8 + 3.
    No sigmoid: a Wasserstein critic is not bounded.  Each image is judged by itself, as a gradient penalty needs it.
    """

    trains_channels_first_on_cpu = True

    def __init__(
        self, *, channels: int = 3, width: int = 64, n_layers: int = 3, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_ranges("patch critic", channels=(channels, 1, 64), width=(width, 1, 512), n_layers=(n_layers, 1, 8))
        widths = [width * min(2**layer, 8) for layer in range(n_layers + 1)]
        strides = [2] * n_layers + [1, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 4, stride=stride, padding=2)
            for (n_in, n_out), stride in zip(itertools.pairwise([channels, *widths, 1]), strides, strict=True)
        )
        self.arguments: dict[str, Any] = {"channels": channels, "width": width, "n_layers": n_layers}
        draw_normal(self, 0.02, generator)

    def forward(self, image: Tensor) -> Tensor:
        first, *inner, last = self.convs
        features = functional.leaky_relu(first(channels_first_on_cpu(2 * image - 1)), 0.2)
        for conv in inner:
            features = functional.leaky_relu(instance_normalised(conv(features)), 0.2)
        scores: Tensor = last(features)
        return scores


class PooledCritic(nn.Module):
    """SRGAN's discriminator (Ledig et al. 2017, arXiv 1609.04802, figure 4) with a mean over the map before its two
    dense layers, so that it takes any size; 5,213,569 parameters.

    image: (N, channels, H, W) in [0, 1];  returns (N, 1, 1, 1), a logit.  Its batch norms let images of one batch see
    each other, hence no gradient penalty; in train mode a batch needs more than one value per channel at H / 16.
    norms: False leaves them out, for games about blur: they bring a blurred batch's fine detail to the strength of a
    sharp one's.
    """

    def __init__(
        self, *, channels: int = 3, width: int = 64, norms: bool = True, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_ranges("pooled critic", channels=(channels, 1, 64), width=(width, 1, 512))
        self.trunk = _trunk(channels, width, bias=not norms, norms=norms)
        self.judge = nn.Sequential(nn.Conv2d(8 * width, 16 * width, 1), nn.LeakyReLU(0.2), nn.Conv2d(16 * width, 1, 1))
        self.arguments: dict[str, Any] = {"channels": channels, "width": width, "norms": norms}
        draw_normal(self, 0.02, generator)
        for conv in (module for module in self.modules() if isinstance(module, nn.Conv2d) and not norms):
            nn.init.kaiming_normal_(conv.weight, a=0.2, generator=generator)

    def forward(self, image: Tensor) -> Tensor:
        score: Tensor = self.judge(self.trunk(2 * image - 1).mean((-2, -1), keepdim=True))
        return score


class DenseCritic(nn.Module):
    """SRGAN's discriminator as it is published, with a dense layer over the whole map of photos of one size; 23,563,649
    parameters, 23,565,505 with a bias before each norm, too.

    image: (N, channels, size, size) in [0, 1];  returns (N, 1, 1, 1), a logit; else as `PooledCritic`.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 64,
        size: int = 96,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_ranges("dense critic", channels=(channels, 1, 64), width=(width, 1, 512), size=(size, 16, 512))
        self.size = size
        self.trunk = _trunk(channels, width, bias=bias)
        side = math.ceil(size / 16)
        self.judge = nn.Sequential(
            nn.Linear(8 * width * side**2, 16 * width), nn.LeakyReLU(0.2), nn.Linear(16 * width, 1)
        )
        self.arguments: dict[str, Any] = {"channels": channels, "width": width, "size": size, "bias": bias}
        draw_normal(self, 0.02, generator)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-2:] != (self.size, self.size):
            height, width = image.shape[-2:]
            raise ValueError(f"photos of {width}x{height}; this critic takes {self.size}x{self.size}, see its size")
        score: Tensor = self.judge(self.trunk(2 * image - 1).flatten(1))
        return score[:, :, None, None]


def _trunk(channels: int, width: int, *, bias: bool, norms: bool = True) -> nn.Sequential:
    """SRGAN's eight convolutions, every other one of stride 2."""
    widths = [width * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
    for index, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        stride = 2 if index % 2 == 0 else 1
        conv = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=bias)
        layers += [conv, *([nn.BatchNorm2d(n_out)] if norms else []), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


CRITICS: dict[str, type[nn.Module]] = {"patchgan": PatchCritic, "srgan": PooledCritic, "srgan-dense": DenseCritic}
