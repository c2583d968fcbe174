"""MPRNet (Zamir et al. 2021, arXiv 2102.02808): three stages, on quarters, halves and the whole of a photo, each of
which gives a restored photo; what a stage saw goes on to the next.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import Shared, check_ranges, corrected, photo_mean

Levels = list[Tensor]  # features at the whole, half and quarter size of what a stage looks at


def _conv(n_in: int, n_out: int, side: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, side, padding=side // 2, bias=False)


class AttentionBlock(nn.Module):
    """x + a * conv(prelu(conv(x))), a from the means of its channels over the photo; the PReLU is the network's one."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(width, width, 3), _conv(width, width, 3)
        self.squeeze, self.excite = _conv(width, width // reduction, 1), _conv(width // reduction, width, 1)

    def forward(self, features: Tensor, slope: Tensor, shared: Shared | None) -> Tensor:
        inner = self.conv2(functional.prelu(self.conv1(features), slope))
        attention = torch.sigmoid(self.excite(torch.relu(self.squeeze(photo_mean(inner, shared)))))
        return cast(Tensor, features + attention * inner)


class Row(nn.Module):
    """Attention blocks, and convolutions before or behind them."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Tensor, slope: Tensor, shared: Shared | None) -> Tensor:
        for block in self.blocks:
            features = block(features, slope, shared) if isinstance(block, AttentionBlock) else block(features)
        return features


class Resized(nn.Module):
    """Bilinear to `factor` times the size, then a 1x1 convolution."""

    def __init__(self, n_in: int, n_out: int, factor: float) -> None:
        super().__init__()
        self.conv, self.factor = _conv(n_in, n_out, 1), factor

    def forward(self, features: Tensor) -> Tensor:
        resized = functional.interpolate(features, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return cast(Tensor, self.conv(resized))


class Encoder(nn.Module):
    """Two blocks at each of three levels; what the stage before saw there comes in by 1x1 convolutions."""

    def __init__(self, widths: Sequence[int], reduction: int, *, fuses: bool) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Row(*(AttentionBlock(width, reduction) for _ in range(2))) for width in widths)
        self.downs = nn.ModuleList(Resized(n_in, n_out, 0.5) for n_in, n_out in itertools.pairwise(widths))
        fusing = widths if fuses else ()
        self.from_encoder = nn.ModuleList(_conv(width, width, 1) for width in fusing)
        self.from_decoder = nn.ModuleList(_conv(width, width, 1) for width in fusing)

    def forward(self, features: Tensor, before: tuple[Levels, Levels] | None, *told: Any) -> Levels:
        seen: Levels = []
        for index, level in enumerate(self.levels):
            features = level(self.downs[index - 1](features) if index else features, *told)
            if before is not None:
                encoded, decoded = (one[index] for one in before)
                features = features + self.from_encoder[index](encoded) + self.from_decoder[index](decoded)
            seen.append(features)
        return seen


class Decoder(nn.Module):
    """Back from the smallest level, with what the encoder saw added through a block."""

    def __init__(self, widths: Sequence[int], reduction: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Row(*(AttentionBlock(width, reduction) for _ in range(2))) for width in widths)
        self.skips = nn.ModuleList(AttentionBlock(width, reduction) for width in widths[:-1])
        self.ups = nn.ModuleList(Resized(n_in, n_out, 2) for n_out, n_in in itertools.pairwise(widths))

    def forward(self, encoded: Levels, *told: Any) -> Levels:
        made = [self.levels[2](encoded[2], *told)]
        for index in (1, 0):
            features = self.ups[index](made[0]) + self.skips[index](encoded[index], *told)
            made.insert(0, self.levels[index](features, *told))
        return made


class OriginalResolution(nn.Module):
    """Three rows of blocks at the whole size; behind each what stage two saw at one of its levels is added."""

    def __init__(self, widths: Sequence[int], width: int, reduction: int, n_blocks: int) -> None:
        super().__init__()
        blocks = [[AttentionBlock(width, reduction) for _ in range(n_blocks)] for _ in range(3)]
        self.rows = nn.ModuleList(Row(*row, _conv(width, width, 3)) for row in blocks)
        self.encoded, self.decoded = (nn.ModuleList(_to_full(widths, level) for level in range(3)) for _ in range(2))
        self.from_encoder = nn.ModuleList(_conv(widths[0], width, 1) for _ in range(3))
        self.from_decoder = nn.ModuleList(_conv(widths[0], width, 1) for _ in range(3))

    def forward(self, features: Tensor, encoded: Levels, decoded: Levels, *told: Any) -> Tensor:
        for level, row in enumerate(self.rows):
            features = features + row(features, *told)
            features = features + self.from_encoder[level](self.encoded[level](encoded[level]))
            features = features + self.from_decoder[level](self.decoded[level](decoded[level]))
        return features


def _to_full(widths: Sequence[int], level: int) -> nn.Sequential:
    """From a level to the size and width of the first."""
    return nn.Sequential(*(Resized(widths[one], widths[one - 1], 2) for one in range(level, 0, -1)))


class Supervised(nn.Module):
    """A stage's picture (N, 3, H, W), and its features weighed by that."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.picture, self.weigh = _conv(width, width, 1), _conv(width, 3, 1), _conv(3, width, 1)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        picture = corrected(image, self.picture(features))
        weights = torch.sigmoid(self.weigh(picture.to(features.dtype)))
        return self.inner(features) * weights + features, picture


class MPRNet(nn.Module):
    """Restored photo; 20,127,073 parameters.

    image: (N, 3, H, W) in [0, 1], H and W multiples of `multiple_of`, from twice that on;  returns the same shape, not
    clipped; while it trains the pictures of all three stages, the last one's last.  Channel attention averages over
    what a stage looks at, up to the whole photo, so that parts come out differently from the whole.
    """

    scale = 1
    multiple_of = 8  # quarters of the photo are halved twice
    halo = None  # the whole photo, through the attention

    def __init__(
        self,
        *,
        width: int = 96,
        widening: int = 48,
        widening_full: int = 32,
        n_blocks: int = 8,
        reduction: int = 4,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_ranges("MPRNet", reduction=(reduction, 1, 64), width=(width, reduction, 1024), n_blocks=(n_blocks, 0, 64))
        check_ranges("MPRNet", widening=(widening, 0, 1024), widening_full=(widening_full, 0, 1024))
        widths, full = [width, width + widening, width + 2 * widening], width + widening_full
        self.shallow = nn.ModuleList(Row(_conv(3, width, 3), AttentionBlock(width, reduction)) for _ in range(3))
        self.encoders = nn.ModuleList(Encoder(widths, reduction, fuses=fuses) for fuses in (False, True))
        self.decoders = nn.ModuleList(Decoder(widths, reduction) for _ in range(2))
        self.supervised = nn.ModuleList(Supervised(width) for _ in range(2))
        self.joints = nn.ModuleList([_conv(2 * width, width, 3), _conv(2 * width, full, 3)])
        self.original = OriginalResolution(widths, full, reduction, n_blocks)
        self.tail = _conv(full, 3, 3)
        self.slope = nn.Parameter(torch.full((1,), 0.25))
        self.reach = 128 + 6 * n_blocks  # 2 for each block on the grid of its level, two stages of them, then the rows
        self.arguments: dict[str, Any] = {
            "width": width,
            "widening": widening,
            "widening_full": widening_full,
            "n_blocks": n_blocks,
            "reduction": reduction,
        }
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)

    def forward(self, image: Tensor, *, shared: Shared | None = None) -> Tensor | list[Tensor]:
        """Shared: where `image` is a part of a photo, the means of the whole; see `blocks.Shared`."""
        assert image.ndim == 4
        told, halves = (self.slope, shared), image.tensor_split(2, dim=2)
        # stage 1: each quarter is encoded alone, each half decoded
        quarters = [half.tensor_split(2, dim=3) for half in halves]
        encoded1 = [_joined([self._encoded(0, one, None, told) for one in pair], dim=3) for pair in quarters]
        decoded1 = [self.decoders[0](one, *told) for one in encoded1]
        seen1, pictures1 = zip(
            *(self.supervised[0](one[0], half) for one, half in zip(decoded1, halves, strict=True)), strict=True
        )
        # stage 2: each half is encoded alone, the whole decoded
        before = zip(halves, seen1, encoded1, decoded1, strict=True)
        encoded2 = _joined([self._encoded(1, half, seen, told, (e, d)) for half, seen, e, d in before], dim=2)
        decoded2 = self.decoders[1](encoded2, *told)
        seen2, picture2 = self.supervised[1](decoded2[0], image)
        # stage 3: the whole at its own size
        features = self.original(self._begun(2, image, seen2, told), encoded2, decoded2, *told)
        picture3 = corrected(image, self.tail(features))
        return [torch.cat(pictures1, dim=2), picture2, picture3] if self.training else picture3

    def _begun(self, stage: int, image: Tensor, seen: Tensor | None, told: tuple[Any, ...]) -> Tensor:
        """A stage's first features: of the photo, and of what the stage before saw."""
        shallow: Tensor = self.shallow[stage](image.to(self.slope.dtype), *told)
        return shallow if seen is None else self.joints[stage - 1](torch.cat([shallow, seen], dim=1))

    def _encoded(
        self,
        stage: int,
        image: Tensor,
        seen: Tensor | None,
        told: tuple[Any, ...],
        before: tuple[Levels, Levels] | None = None,
    ) -> Levels:
        return cast(Levels, self.encoders[stage](self._begun(stage, image, seen, told), before, *told))


def _joined(parts: Sequence[Levels], dim: int) -> Levels:
    """The levels of neighbouring parts, side by side."""
    join: Callable[..., Tensor] = torch.cat
    return [join(levels, dim=dim) for levels in zip(*parts, strict=True)]
