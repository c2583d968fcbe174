"""The two generators of Deblurring by Realistic Blurring (Zhang et al. 2020, arXiv 2004.01860): BGAN blurs sharp photos
as cameras do, DBGAN takes such blur off.

Both add a correction to the photo.  It comes from ESRGAN's dense blocks, as in the released DBGAN, or from plain ones
of five convolutions, one reading of the paper's figure 2; no norms.  Their critic is `critics.PooledCritic`.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from resharp.errors import ArgumentError

from .blocks import check_ranges, corrected, draw_normal
from .noise_maps import NOISES

_SLOPE, _SHARE = 0.2, 0.2  # of the leaky ReLUs below 0; of what a dense block adds


class DenseBlock(nn.Module):
    """x + 0.2 f(x) on (N, width, H, W): five convolutions, each of which sees the block's input and all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        widths = [growth] * 4 + [width]
        self.convs = nn.ModuleList(
            nn.Conv2d(width + index * growth, n_out, 3, padding=1) for index, n_out in enumerate(widths)
        )

    def forward(self, features: Tensor) -> Tensor:
        seen = features
        for conv in list(self.convs)[:-1]:
            seen = torch.cat([seen, functional.leaky_relu(conv(seen), _SLOPE)], dim=1)
        return cast(Tensor, features + _SHARE * self.convs[-1](seen))


class ResidualDenseBlocks(nn.Module):
    """x + 0.2 f(x) of three dense blocks (Wang et al. 2018, arXiv 1809.00219, figure 4)."""

    reach = 15

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, features + _SHARE * self.dense(features))


class FiveConvolutions(nn.Module):
    """x + f(x), with leaky ReLUs between five convolutions of one width."""

    reach = 5

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        del growth  # of dense blocks
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(5))

    def forward(self, features: Tensor) -> Tensor:
        first, *others = self.convs
        inner = first(features)
        for conv in others:
            inner = conv(functional.leaky_relu(inner, _SLOPE))
        return cast(Tensor, features + inner)


BLOCKS: dict[str, type[ResidualDenseBlocks] | type[FiveConvolutions]] = {
    "rrdb": ResidualDenseBlocks,
    "plain": FiveConvolutions,
}


class Correction(nn.Module):
    """(N, n_in, H, W) -> (N, 3, H, W): a convolution, blocks, two convolutions; with dense blocks one more behind
    them, and a skip around all that.

    halvings: how often the sides halve before the blocks, and double after them, where what was there before is added:
    each takes three quarters of the blocks' work away, where the published networks keep the size.
    """

    def __init__(self, n_in: int, width: int, n_blocks: int, growth: int, blocks: str, halvings: int) -> None:
        super().__init__()
        if blocks not in BLOCKS:
            raise ValueError(f"blocks of a (D)BGAN are {' or '.join(BLOCKS)}, not {blocks!r}")
        check_ranges("(D)BGAN", width=(width, 1, 1024), n_blocks=(n_blocks, 1, 64), growth=(growth, 1, 512))
        check_ranges("(D)BGAN", halvings=(halvings, 0, 4))
        self.head = nn.Conv2d(n_in, width, 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(halvings))
        self.blocks = nn.Sequential(*(BLOCKS[blocks](width, growth) for _ in range(n_blocks)))
        self.joint = nn.Conv2d(width, width, 3, padding=1) if blocks == "rrdb" else None
        self.ups = nn.ModuleList(nn.Conv2d(width, 4 * width, 3, padding=1) for _ in range(halvings))
        self.tail = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)])
        self.halo = _halo(halvings, n_blocks * BLOCKS[blocks].reach + (self.joint is not None))

    def forward(self, seen: Tensor) -> Tensor:
        features, larger = self.head(seen.to(self.head.weight.dtype)), list[Tensor]()
        for down in self.downs:
            larger.append(features)
            features = functional.leaky_relu(down(features), _SLOPE)
        inner = self.blocks(features)
        features = inner if self.joint is None else features + self.joint(inner)
        for up in self.ups:
            features = functional.pixel_shuffle(functional.leaky_relu(up(features), _SLOPE), 2) + larger.pop()
        return cast(Tensor, self.tail[1](functional.leaky_relu(self.tail[0](features), _SLOPE)))


def _halo(halvings: int, reach: int) -> int:
    """How far away pixels lie that a value may depend on, wherever it stands on the coarsest grid, around whose values
    the blocks reach so far."""
    farthest = 0
    for position in range(2**halvings):
        first, last = position - 2, position + 2
        for _ in range(halvings):
            first, last = first // 2 - 1, last // 2 + 1
        first, last = first - reach, last + reach
        for _ in range(halvings):
            first, last = 2 * first - 1, 2 * last + 1
        farthest = max(farthest, position - first + 1, last + 1 - position)
    return farthest


class DBGAN(nn.Module):
    """Restored photo clamp(I + f(I)); 11,588,163 parameters as released, 2,994,691 with plain blocks.

    blurred: (N, 3, H, W) in [0, 1], H and W multiples of `multiple_of`;  returns the same shape, in [0, 1].  Each value
    depends on a neighbourhood alone.  halvings: see `Correction`.
    """

    scale = 1

    def __init__(
        self,
        *,
        width: int = 64,
        n_blocks: int = 16,
        growth: int = 32,
        blocks: str = "rrdb",
        halvings: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.correction = Correction(3, width, n_blocks, growth, blocks, halvings)
        self.multiple_of, self.halo = 2**halvings, self.correction.halo
        self.arguments: dict[str, Any] = {
            "width": width,
            "n_blocks": n_blocks,
            "growth": growth,
            "blocks": blocks,
            "halvings": halvings,
        }
        draw_normal(self, 0.01, generator)

    def forward(self, blurred: Tensor) -> Tensor:
        assert blurred.ndim == 4
        return corrected(blurred, self.correction(blurred)).clamp(0, 1)


class BGAN(nn.Module):
    """Blurred photo clamp(I + f(I, noise)): one sharp photo has as many blurred ones as there is noise; 6,554,499
    parameters, 1,704,515 with plain blocks.

    sharp: (N, 3, H, W) in [0, 1], H and W multiples of `multiple_of`;  noise: (N, noise_channels, H, W) as
    `noise_maps.noise_map` draws it, a row of NOISES;  returns the photo's shape, in [0, 1].  halvings: as for
    `Correction`.
    """

    scale = 1
    task = "degrade"
    takes = ("image", "noise")

    def __init__(
        self,
        *,
        width: int = 64,
        n_blocks: int = 9,
        growth: int = 32,
        blocks: str = "rrdb",
        halvings: int = 0,
        noise: str = "tiled",
        noise_channels: int = 4,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if noise not in NOISES:
            raise ValueError(f"noise of a BGAN is one of {', '.join(NOISES)}, not {noise!r}")
        check_ranges("BGAN", noise_channels=(noise_channels, 1, 64))
        self.correction = Correction(3 + noise_channels, width, n_blocks, growth, blocks, halvings)
        self.multiple_of, self.halo = 2**halvings, self.correction.halo
        self.noise, self.noise_channels = noise, noise_channels
        self.arguments: dict[str, Any] = {
            "width": width,
            "n_blocks": n_blocks,
            "growth": growth,
            "blocks": blocks,
            "halvings": halvings,
            "noise": noise,
            "noise_channels": noise_channels,
        }
        draw_normal(self, 0.01, generator)

    def forward(self, sharp: Tensor, noise: Tensor) -> Tensor:
        """Raises ArgumentError for noise of another shape."""
        assert sharp.ndim == 4
        wanted = (len(sharp), self.noise_channels, *sharp.shape[-2:])
        if noise.shape != wanted:
            raise ArgumentError(f"noise of shape {tuple(noise.shape)}; this BGAN takes {wanted} with its photos")
        return corrected(sharp, self.correction(torch.cat([sharp, noise.to(sharp)], dim=1))).clamp(0, 1)
