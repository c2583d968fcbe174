"""SRResNet (Ledig et al. 2017, arXiv 1609.04802, figure 4), SRGAN's generator; and the form without batch norm that
BasicSR and mmagic publish as MSRResNet.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import check_ranges, corrected
from .unet import PlainBlock

_FACTORS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # scale -> those of the pixel shuffles, one after the other


class NormalisedBlock(nn.Module):
    """x + norm(conv(prelu(norm(conv(x))))) on (N, C, H, W), batch norm."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width)
        self.prelu = nn.PReLU()
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.prelu(self.norm1(self.conv1(features)))
        return cast(Tensor, features + self.norm2(self.conv2(inner)))


class SRResNet(nn.Module):
    """The larger photo itself; 1,547,350 parameters at x4, 1,549,462 with a bias before each norm, too.

    image: (N, channels, H, W) in [0, 1], any H and W;  returns (N, channels, scale H, scale W), not clipped; scale is
    2, 3, 4 or 8.  The paper's photos come out in [-1, 1], which only moves the last bias.
    """

    multiple_of = 1

    def __init__(
        self,
        *,
        scale: int = 4,
        channels: int = 3,
        width: int = 64,
        n_blocks: int = 16,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        factors = _checked("SRResNet", scale=scale, channels=channels, width=width, n_blocks=n_blocks)
        self.scale = scale
        self.head, self.prelu = nn.Conv2d(channels, width, 9, padding=4), nn.PReLU()
        self.blocks = nn.Sequential(*(NormalisedBlock(width, bias=bias) for _ in range(n_blocks)))
        self.fuse, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width)
        self.ups = nn.ModuleList(nn.Conv2d(width, width * factor**2, 3, padding=1) for factor in factors)
        self.prelus = nn.ModuleList(nn.PReLU() for _ in factors)
        self.tail = nn.Conv2d(width, channels, 9, padding=4)
        self.halo = 4 + 2 * n_blocks + 1 + _reach(factors, 4)
        self._factors = factors
        self.arguments: dict[str, Any] = {
            "scale": scale,
            "channels": channels,
            "width": width,
            "n_blocks": n_blocks,
            "bias": bias,
        }
        _initialise(self, generator)

    def forward(self, image: Tensor) -> Tensor:
        first = self.prelu(self.head(image.to(self.head.weight.dtype)))
        features = first + self.norm(self.fuse(self.blocks(first)))
        for conv, factor, prelu in zip(self.ups, self._factors, self.prelus, strict=True):
            features = prelu(functional.pixel_shuffle(conv(features), factor))
        larger: Tensor = self.tail(features)
        return larger.to(image.dtype)


class MSRResNet(nn.Module):
    """The photo enlarged bilinearly + f(photo), without batch norm; 1,517,571 parameters at x4, as BasicSR and mmagic
    publish it, and loads their weights (`resharp models import --as msrresnet`).

    image, result and scales as of `SRResNet`.  active_ups: a leaky ReLU behind each pixel shuffle, which
    BasicSR has and mmagic has not.
    """

    multiple_of = 1

    def __init__(
        self,
        *,
        scale: int = 4,
        channels: int = 3,
        width: int = 64,
        n_blocks: int = 16,
        active_ups: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        factors = _checked("MSRResNet", scale=scale, channels=channels, width=width, n_blocks=n_blocks)
        self.scale = scale
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(width) for _ in range(n_blocks)))
        self.ups = nn.ModuleList(nn.Conv2d(width, width * factor**2, 3, padding=1) for factor in factors)
        self.fine = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, channels, 3, padding=1)
        self.halo = 1 + 2 * n_blocks + _reach(factors, 2)
        self._factors, self._active = factors, active_ups
        self.arguments: dict[str, Any] = {
            "scale": scale,
            "channels": channels,
            "width": width,
            "n_blocks": n_blocks,
            "active_ups": active_ups,
        }
        _initialise(self, generator, gain=0.1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.blocks(_leaky(self.head(image.to(self.head.weight.dtype))))
        for conv, factor in zip(self.ups, self._factors, strict=True):
            features = functional.pixel_shuffle(conv(features), factor)
            features = _leaky(features) if self._active else features
        larger = functional.interpolate(image, scale_factor=self.scale, mode="bilinear")
        return corrected(larger, self.tail(_leaky(self.fine(features))))


def _leaky(features: Tensor) -> Tensor:
    return functional.leaky_relu(features, 0.1)


def _checked(network: str, *, scale: int, **sizes: int) -> Sequence[int]:
    """The factors of a scale.  Raises ValueError."""
    if scale not in _FACTORS:
        raise ValueError(f"scale of an {network} is one of {', '.join(map(str, _FACTORS))}; {scale} is not")
    check_ranges(network, channels=(sizes["channels"], 1, 64), width=(sizes["width"], 1, 4096))
    check_ranges(network, n_blocks=(sizes["n_blocks"], 0, 64))
    return _FACTORS[scale]


def _reach(factors: Sequence[int], at_full_size: int) -> int:
    """Pixels of the small photo on each side that matter to what is made from its features: `at_full_size` pixels
    around one of the large photo, then a 3x3 convolution before each pixel shuffle."""
    reach = float(at_full_size)
    for factor in reversed(factors):
        reach = (reach + factor - 1) // factor + 1
    return int(reach)


def _initialise(network: nn.Module, generator: torch.Generator | None, *, gain: float = 1.0) -> None:
    """Convolutions as He et al. 2015 draw them, times `gain`; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            spread = gain * math.sqrt(2 / module.weight[0].numel())
            nn.init.normal_(module.weight, 0, spread, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
