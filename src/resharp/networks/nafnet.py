"""NAFNet (Chen et al. 2022, arXiv 2204.04676): a U-shaped network without nonlinear activations; our light generator.

Its nonlinearities are products: half of the channels times the other half.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import Shared, check_ranges, corrected, photo_mean


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel of (N, C, H, W), with gain and bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        last = features.permute(0, 2, 3, 1)
        normalised = functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, eps=1e-6)
        return normalised.permute(0, 3, 1, 2)


class NAFBlock(nn.Module):
    """The paper's figure 3c, twice x + scale * f(norm(x)): a gated depthwise convolution with channel attention, then
    a gated mix of channels.  Both scales start at 0, the block thus as the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(width), ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = nn.Conv2d(width, width, 1)
        self.conv3 = nn.Conv2d(width, width, 1)
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, features: Tensor, shared: Shared | None = None) -> Tensor:
        inner = _gated(self.conv2(self.conv1(self.norm1(features))))
        inner = inner * self.attention(photo_mean(inner, shared))
        features = features + self.beta * self.conv3(inner)
        mixed: Tensor = self.conv5(_gated(self.conv4(self.norm2(features))))
        return features + self.gamma * mixed


def _gated(features: Tensor) -> Tensor:
    """(N, 2C, H, W) -> (N, C, H, W)."""
    first, second = features.chunk(2, dim=1)
    return first * second


class NAFNet(nn.Module):
    """Restored photo I + f(I).  At each of the encoder's levels the sides halve and the channels double, from `width`.

    image: (N, channels, H, W) in [0, 1], H and W multiples of `multiple_of`;  returns the same shape, not clipped.

    The published network for GoPro has width 32, encoder_blocks (1, 1, 1, 28), middle_blocks 1 and decoder_blocks
    (1, 1, 1, 1).  Channel attention averages over the whole photo, so that parts come out differently from the whole.
    """

    scale = 1
    halo = None  # the whole photo, through the attention

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 16,
        encoder_blocks: Sequence[int] = (1, 1, 1, 14),
        middle_blocks: int = 1,
        decoder_blocks: Sequence[int] = (1, 1, 1, 1),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        n_levels = len(encoder_blocks)
        if len(decoder_blocks) != n_levels:
            raise ValueError(f"{n_levels} encoder_blocks of a NAFNet need as many decoder_blocks, not {decoder_blocks}")
        check_ranges("NAFNet", channels=(channels, 1, 64), levels=(n_levels, 0, 6))
        check_ranges("NAFNet", width=(width, 1, 4096 >> n_levels))
        for n_blocks in (*encoder_blocks, middle_blocks, *decoder_blocks):
            check_ranges("NAFNet", blocks=(n_blocks, 0, 64))
        widths = [width << level for level in range(n_levels + 1)]
        self.multiple_of = 2**n_levels
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_Row(n, c) for n, c in zip(encoder_blocks, widths, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in widths[:-1])
        self.middle = _Row(middle_blocks, widths[-1])
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * c, 4 * c, 1, bias=False), nn.PixelShuffle(2)) for c in widths[-2::-1]
        )
        self.decoders = nn.ModuleList(_Row(n, c) for n, c in zip(decoder_blocks, widths[-2::-1], strict=True))
        self.ending = nn.Conv2d(width, channels, 3, padding=1)
        self.reach = _reach(encoder_blocks, middle_blocks, decoder_blocks)
        self.arguments: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "encoder_blocks": list(encoder_blocks),
            "middle_blocks": middle_blocks,
            "decoder_blocks": list(decoder_blocks),
        }
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
                if module.bias is not None:
                    reach = 1 / math.sqrt(module.weight[0].numel())
                    nn.init.uniform_(module.bias, -reach, reach, generator=generator)

    def forward(self, image: Tensor, *, shared: Shared | None = None) -> Tensor:
        """Shared: where `image` is a part of a photo, the means of the whole; see `blocks.Shared`."""
        assert image.ndim == 4
        features = self.intro(image.to(self.intro.weight.dtype))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(features, shared))
            features = down(skips[-1])
        features = self.middle(features, shared)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(up(features) + skips.pop(), shared)
        return corrected(image, self.ending(features))


def _reach(encoder_blocks: Sequence[int], middle_blocks: int, decoder_blocks: Sequence[int]) -> int:
    """Pixels around a value beyond which only the attention's means matter to it: one for each 3x3 convolution, on the
    grid of its level, and one step of the coarsest grid for where it stands on that.
    """
    pairs = zip(encoder_blocks, reversed(decoder_blocks), strict=True)
    sides = sum((down + up) << level for level, (down, up) in enumerate(pairs))
    return 2 + sides + ((middle_blocks + 1) << len(encoder_blocks))


class _Row(nn.Sequential):
    """Blocks of one width, one after the other."""

    def __init__(self, n_blocks: int, width: int) -> None:
        super().__init__(*(NAFBlock(width) for _ in range(n_blocks)))

    def forward(self, features: Tensor, shared: Shared | None = None) -> Tensor:
        for block in self:
            features = block(features, shared)
        return features
