"""A light U-shaped generator of plain dense convolutions, for people without a GPU.

The shape is NAFNet's (Chen et al. 2022, arXiv 2204.04676): sides halve, blocks gather at the bottom, skips add.  The
blocks are EDSR's (Lim et al. 2017, arXiv 1707.02921) in place of gated depthwise ones: processors multiply dense 3x3
convolutions in bfloat16 about five times faster (docs/decisions/0008).
"""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import check_ranges, corrected, draw_uniform


class PlainBlock(nn.Module):
    """x + conv(relu(conv(x))) on (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, features + self.conv2(torch.relu(self.conv1(features))))


class _UShape(nn.Module):
    """(N, n_seen, H, W) -> (N, channels, H, W) by `_correction`; of a new one it is 0."""

    scale = 1

    def __init__(
        self,
        n_seen: int,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        gather: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if len(widths) != len(blocks) or not 1 <= len(widths) <= 6:
            raise ValueError(f"a {name} needs as many blocks as widths, 1 to 6; not {len(blocks)} and {len(widths)}")
        check_ranges(name, channels=(channels, 1, 64), gather=(gather, 1, 8))
        for width, n_blocks in zip(widths, blocks, strict=True):
            check_ranges(name, widths=(width, 1, 4096), blocks=(n_blocks, 0, 64))
        pairs = list(itertools.pairwise(widths))
        self.gather = gather
        self.multiple_of = gather * 2 ** len(pairs)
        self.intro = nn.Conv2d(n_seen * gather**2, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(_row(n, width) for n, width in zip(blocks, widths, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(wide, wider, 2, stride=2) for wide, wider in pairs)
        self.ups = nn.ModuleList(nn.Conv2d(wider, 4 * wide, 1) for wide, wider in pairs)
        self.decoders = nn.ModuleList(_row(n, width) for n, width in zip(blocks[:-1], widths[:-1], strict=True))
        self.ending = nn.Conv2d(widths[0], channels * gather**2, 3, padding=1)
        self.halo = _halo(blocks, gather)
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator | None) -> None:
        draw_uniform(self, generator)
        for module in self.modules():
            if isinstance(module, PlainBlock):
                module.conv2.weight.data.mul_(0.1)
        nn.init.zeros_(self.ending.weight)

    def _correction(self, whole: Tensor) -> Tensor:
        features = self.intro(functional.pixel_unshuffle(whole.to(self.intro.weight.dtype), self.gather))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            skips.append(encoder(features))
            features = down(skips[-1])
        features = self.encoders[-1](features)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            features = decoder(functional.pixel_shuffle(up(features), 2) + skips.pop())
        return functional.pixel_shuffle(self.ending(features), self.gather)


class UNet(_UShape):
    """Restored photo I + f(I).  Pixels are first gathered into channels, `gather` x `gather` at a time; from level to
    level the sides halve and the width is the next of `widths`; 3,631,008 parameters.

    image: (N, channels, H, W) in [0, 1], H and W multiples of `multiple_of`;  returns the same shape, not clipped.
    noise_map: a denoiser that is told the noise level (Zhang et al. 2018, FFDNet, arXiv 1710.04026): sigma (N,) on the
    [0, 1] scale is one plane more beside the photo's.

    Each block stands once on the way down and, but for the lowest level, once on the way up.  Each value depends on a
    neighbourhood alone: large photos may be cut into tiles.  A new network returns its input.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        widths: Sequence[int] = (80, 160),
        blocks: Sequence[int] = (3, 6),
        gather: int = 4,
        noise_map: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(channels + noise_map, channels, widths, blocks, gather, generator)
        self.takes = ("image", "sigma") if noise_map else ("image",)
        self.arguments: dict[str, Any] = {
            "channels": channels,
            "widths": list(widths),
            "blocks": list(blocks),
            "gather": gather,
            "noise_map": noise_map,
        }

    def forward(self, image: Tensor, sigma: Tensor | None = None) -> Tensor:
        assert image.ndim == 4
        seen = image
        if "sigma" in self.takes:
            assert sigma is not None
            level = sigma.to(seen).reshape(-1, 1, 1, 1).expand(len(seen), 1, *seen.shape[-2:])
            seen = torch.cat([seen, level], dim=1)
        return corrected(image, self._correction(seen))


class Refiner(_UShape):
    """What blind deblurring made of a photo -> that + f; the network behind it; 3,697,276 parameters.

    image: (N, 3, H, W) in [0, 1], the photo as it was, H and W multiples of `multiple_of`;  undone: (N, 7, H, W), what
    the solver made of it, the trust in that, and what its last denoising began from;  returns (N, 3, H, W), not
    clipped.  The shape is the `UNet`'s.
    """

    takes = ("image", "undone")
    n_undone = 7  # planes

    def __init__(
        self,
        *,
        widths: Sequence[int] = (48, 96, 160),
        blocks: Sequence[int] = (1, 2, 6),
        gather: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(3 + self.n_undone, 3, widths, blocks, gather, generator)
        self.arguments: dict[str, Any] = {"widths": list(widths), "blocks": list(blocks), "gather": gather}

    def forward(self, image: Tensor, undone: Tensor) -> Tensor:
        if undone.shape[1] != self.n_undone:
            wanted = f"{self.n_undone} planes are wanted, as `resharp data undo` writes them"
            raise ValueError(f"{undone.shape[1]} planes of what was undone; {wanted}")
        return corrected(undone[:, :3], self._correction(torch.cat([image, undone], dim=1)))


def _row(n_blocks: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(PlainBlock(width) for _ in range(n_blocks)))


def _halo(blocks: Sequence[int], gather: int) -> int:
    """How far away pixels lie that a value may depend on, wherever the value stands on the coarsest grid."""
    reach = 0
    for position in range(gather * 2 ** (len(blocks) - 1)):
        first = last = position // gather
        first, last = first - 1, last + 1
        for n_blocks in blocks[:-1]:
            first, last = (first - 2 * n_blocks) // 2, (last + 2 * n_blocks) // 2
        first, last = first - 2 * blocks[-1], last + 2 * blocks[-1]
        for n_blocks in reversed(blocks[:-1]):
            first, last = 2 * first - 2 * n_blocks, 2 * last + 1 + 2 * n_blocks
        first, last = (first - 1) * gather, (last + 2) * gather - 1
        reach = max(reach, position - first, last - position)
    return reach
