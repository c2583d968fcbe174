"""A small network that tells photos that were shaken during the exposure from others, sharp or out of focus."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resharp.image import FULL_RANGE_LUMA

from .blocks import check_ranges

_REACH = 15
_AROUND = 2 * _REACH + 1  # pixels of the squares whose contrast a pixel is measured by
_LEAST_CONTRAST = 0.02


class BlurDetector(nn.Module):
    """How much a photo speaks for having been shaken: a logit, above 0 for more likely than not; 496,066 parameters.

    image: (N, 3, H, W) in [0, 1], sides that are multiples of 16;  returns (N,).  Brightness in units of the contrast
    around goes through four halvings; at the end each place has a logit and a weight (attention as Ilse, Tomczak,
    Welling 2018, arXiv 1802.04712, pool a bag): places that show nothing, and an even sky, hardly count.
    """

    scale, multiple_of, halo = 1, 16, None

    def __init__(
        self,
        *,
        widths: tuple[int, ...] | list[int] = (16, 32, 48, 96),
        blocks: tuple[int, ...] | list[int] = (1, 2, 2),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_ranges("blur detector", widths=(len(widths), 4, 4), blocks=(len(blocks), 3, 3))
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), _conv(8, widths[0])]
        for (n_in, n_out), count in zip(itertools.pairwise(widths), blocks, strict=True):
            layers += [_conv(n_in, n_out, stride=2), *(_Block(n_out) for _ in range(count))]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 2, 1)
        self.arguments: dict[str, Any] = {"widths": list(widths), "blocks": list(blocks)}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        return pooled(self.places(seen(image)))

    def places(self, planes: Tensor) -> Tensor:
        """(N, 2, H / 16, W / 16): of each place its logit and the logarithm of its weight, of what is `seen`."""
        found: Tensor = self.head(self.body(planes))
        return found


def pooled(places: Tensor) -> Tensor:
    """(N,) the weighed mean of the logits at (N, 2, h, w) places."""
    logits, weights = places.flatten(2).unbind(1)
    return (logits * weights.softmax(1)).sum(1)


def seen(image: Tensor) -> Tensor:
    """(N, 2, H, W) of images (N, 3, H, W): luma less that around, in units of the contrast there, and that contrast's
    logarithm."""
    luma = torch.einsum("c,nchw->nhw", image.new_tensor(FULL_RANGE_LUMA), image)[:, None]
    centred = luma - _around(luma)
    contrast = (_around(centred.square()) + 1e-4).sqrt()
    return torch.cat([centred / (contrast + _LEAST_CONTRAST), 0.5 * contrast.log() + 1.5], 1)


def _around(planes: Tensor) -> Tensor:
    """Means over 31x31 pixels, the border mirrored; from sums in float64, at the same cost for any size."""
    around = functional.pad(planes, (_REACH,) * 4, mode="reflect").double()
    for axis in (-2, -1):
        sums = functional.pad(around.cumsum(axis), (0, 0, 1, 0) if axis == -2 else (1, 0))
        length = sums.shape[axis] - _AROUND
        around = sums.narrow(axis, _AROUND, length) - sums.narrow(axis, 0, length)
    return (around / _AROUND**2).to(planes)


def _conv(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU())


class _Block(nn.Module):
    """A residual block (He et al. 2016), which begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.norm(self.second(self.first(features))))
