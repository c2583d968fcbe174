"""SFT-Net (Wang et al. 2018, arXiv 1804.02815): super-resolution that is told by maps of segments what stands where.

Spatial feature transforms scale and shift features pixel by pixel, by conditions that come from the maps.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from resharp.errors import ArgumentError

from .blocks import check_ranges, corrected, draw_normal

_CONDITIONS, _HIDDEN = 32, 128
CLASSES = ("background", "sky", "water", "grass", "mountain", "building", "plant", "animal")
"""What the eight planes of a segmentation are in the authors' weights."""


class FeatureTransform(nn.Module):
    """(N, width, H, W) -> f * (gamma + 1) + beta, or f * gamma + beta, where both come of conditions (N, 32, H, W)."""

    def __init__(self, width: int, slope: float, offset: float) -> None:
        super().__init__()
        self.scale = nn.ModuleList([nn.Conv2d(_CONDITIONS, _CONDITIONS, 1), nn.Conv2d(_CONDITIONS, width, 1)])
        self.shift = nn.ModuleList([nn.Conv2d(_CONDITIONS, _CONDITIONS, 1), nn.Conv2d(_CONDITIONS, width, 1)])
        self.slope, self.offset = slope, offset

    def forward(self, features: Tensor, conditions: Tensor) -> Tensor:
        gamma, beta = (
            last(functional.leaky_relu(first(conditions), self.slope)) for first, last in (self.scale, self.shift)
        )
        return cast(Tensor, features * (gamma + self.offset) + beta)


class TransformBlock(nn.Module):
    """x + f(x): transform, convolution, ReLU, transform, convolution; in the paper's version each ReLU stands straight
    behind its transform."""

    def __init__(self, width: int, slope: float, offset: float) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(FeatureTransform(width, slope, offset) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.rectifies_transforms = offset == 0

    def forward(self, features: Tensor, conditions: Tensor) -> Tensor:
        first, second = self.transforms
        if self.rectifies_transforms:
            inner = self.convs[0](torch.relu(first(features, conditions)))
            inner = torch.relu(second(inner, conditions))
        else:
            inner = second(torch.relu(self.convs[0](first(features, conditions))), conditions)
        return cast(Tensor, features + self.convs[1](inner))


class SFTNet(nn.Module):
    """A photo and its segmentation -> the photo 4 times as large; 1,833,763 parameters.

    image: (N, 3, H, W) in [0, 1];  segmentation: (N, n_classes, scale H, scale W), the share of each of CLASSES at
    each pixel of the result;  returns (N, 3, scale H, scale W), not clipped.

    torch_compat: the paper's version, other weights (1,612,195 parameters): f * gamma + beta, nearest neighbours in
    place of pixel shuffle.  scale: 1 is for deblurring: no enlargement, conditions at the photo's own size, and what
    comes out is added to the photo.
    """

    multiple_of = 1
    takes = ("image", "segmentation")

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 64,
        n_blocks: int = 16,
        n_classes: int = 8,
        torch_compat: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if scale not in (1, 4):
            raise ValueError(f"scale of an SFTNet is 1 or 4, not {scale}")
        check_ranges("SFTNet", width=(width, 1, 1024), n_blocks=(n_blocks, 0, 64), n_classes=(n_classes, 1, 256))
        self.scale, self.n_classes, self.torch_compat = scale, n_classes, torch_compat
        slope, offset = (0.01, 0.0) if torch_compat else (0.1, 1.0)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.conditions = _conditions(n_classes, scale)
        self.blocks = nn.ModuleList(TransformBlock(width, slope, offset) for _ in range(n_blocks))
        self.transform = FeatureTransform(width, slope, offset)
        self.joint = nn.Conv2d(width, width, 3, padding=1)
        n_doublings, grown = scale // 2, width if torch_compat else 4 * width
        self.ups = nn.ModuleList(nn.Conv2d(width, grown, 3, padding=1) for _ in range(n_doublings))
        self.tail = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)])
        self.halo = 2 * n_blocks + 4  # the convolutions behind the blocks stand on finer grids, or count in full
        self.arguments: dict[str, Any] = {
            "scale": scale,
            "width": width,
            "n_blocks": n_blocks,
            "n_classes": n_classes,
            "torch_compat": torch_compat,
        }
        draw_normal(self, 0.02, generator)
        for module in self.modules():
            if isinstance(module, FeatureTransform):  # features pass as they are before anything is learned
                nn.init.constant_(module.scale[1].get_parameter("bias"), 1 - offset)

    def forward(self, image: Tensor, segmentation: Tensor) -> Tensor:
        """Raises ArgumentError for a segmentation of another size or number of classes."""
        assert image.ndim == 4
        height, width = (self.scale * side for side in image.shape[-2:])
        if segmentation.shape != (len(image), self.n_classes, height, width):
            raise ArgumentError(
                f"a segmentation of shape {tuple(segmentation.shape)}; this SFTNet takes {self.n_classes} classes of "
                f"{width}x{height}: ({len(image)}, {self.n_classes}, {height}, {width})"
            )
        dtype = self.head.weight.dtype
        conditions = self.conditions(segmentation.to(image.device, dtype))
        first = self.head(image.to(dtype))
        features = first
        for block in self.blocks:
            features = block(features, conditions)
        features = first + self.joint(self.transform(features, conditions))
        for up in self.ups:
            features = torch.relu(self._doubled(up, features))
        made: Tensor = self.tail[1](torch.relu(self.tail[0](features)))
        return corrected(image, made) if self.scale == 1 else made.to(image.dtype)

    def _doubled(self, up: nn.Module, features: Tensor) -> Tensor:
        """(N, width, h, w) -> (N, width, 2h, 2w)."""
        if self.torch_compat:
            return cast(Tensor, up(functional.interpolate(features, scale_factor=2)))
        return functional.pixel_shuffle(up(features), 2)


def _conditions(n_classes: int, scale: int) -> nn.Sequential:
    """(N, n_classes, scale H, scale W) -> (N, 32, H, W), each from its own pixels alone but for scale 1."""
    first = nn.Conv2d(n_classes, _HIDDEN, 3, padding=1) if scale == 1 else nn.Conv2d(n_classes, _HIDDEN, scale, scale)
    layers: list[nn.Module] = [first]
    for n_out in (_HIDDEN, _HIDDEN, _HIDDEN, _CONDITIONS):
        layers += [nn.LeakyReLU(0.1), nn.Conv2d(_HIDDEN, n_out, 1)]
    return nn.Sequential(*layers)
