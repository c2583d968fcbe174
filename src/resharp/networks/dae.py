"""The denoising autoencoder behind the mean-shift prior (Bigdeli et al. 2017, arXiv 1709.03749, section 4).

A residual network without skips, of the DnCNN kind: r(z) = z + f(z), where f is 20 convolutions of 3x3 with ReLUs
between.  In and out: float RGB (..., 3, H, W) in [0, 1], with Gaussian noise of one fixed sigma added.
"""

import itertools
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from .blocks import check_ranges, corrected


class DAE(nn.Module):
    """Residual denoiser r(z) = z + f(z): conv + ReLU, 18 x (conv [+ batch norm] + ReLU), conv; 668,227 parameters.

    noisy: (N, channels, H, W) in [0, 1], any H and W;  returns the same shape, not clipped.

    `batch_norm` is a training-time option (affine-free, as in the authors' Caffe definition); `folded` moves it into
    the convolutions, so that deployed networks are plain.  The inner convolutions start near the identity, so that
    the signal passes the untrained network (docs/decisions/0004).
    """

    scale = 1
    multiple_of = 1

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 64,
        depth: int = 20,
        batch_norm: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_ranges("DAE", channels=(channels, 1, 64), width=(width, 1, 4096), depth=(depth, 2, 512))
        sizes = [channels, *[width] * (depth - 1), channels]
        self.convs = nn.ModuleList(nn.Conv2d(n_in, n_out, 3, padding=1) for n_in, n_out in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in range(depth - 2 if batch_norm else 0))
        self.arguments: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "depth": depth,
            "batch_norm": batch_norm,
        }
        self.halo = depth
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator | None) -> None:
        head, *inner, tail = self._layers()
        for conv in (head, *inner, tail):
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        nn.init.kaiming_normal_(head.weight, nonlinearity="relu", generator=generator)
        for conv in inner:
            spread = math.sqrt(2 / (9 * conv.in_channels))
            nn.init.zeros_(conv.weight)
            with torch.no_grad():
                conv.weight[:, :, 1, 1].fill_diagonal_(1)
                conv.weight.add_(torch.randn(conv.weight.shape, generator=generator), alpha=0.2 * spread)
        nn.init.normal_(tail.weight, std=0.1 * math.sqrt(2 / (9 * tail.in_channels)), generator=generator)

    def _layers(self) -> list[nn.Conv2d]:
        return cast("list[nn.Conv2d]", list(self.convs))

    def forward(self, noisy: Tensor) -> Tensor:
        head, *inner, tail = self._layers()
        features = torch.relu_(head(noisy.to(head.weight.dtype)))
        for index, conv in enumerate(inner):
            features = conv(features)
            if self.norms:
                features = self.norms[index](features)
            features = torch.relu_(features)
        return corrected(noisy, tail(features))

    @torch.no_grad()
    def folded(self) -> "DAE":
        """The same function in eval mode, with batch norm moved into the convolutions."""
        arguments = {key: value for key, value in self.arguments.items() if key != "batch_norm"}
        plain = DAE(**arguments)
        plain.to(self._layers()[0].weight)
        plain.convs.load_state_dict(self.convs.state_dict())
        norms = cast("list[nn.BatchNorm2d]", list(self.norms))
        for conv, norm in zip(plain._layers()[1:-1], norms, strict=False):
            assert conv.bias is not None
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = torch.rsqrt(norm.running_var + norm.eps)
            conv.weight.mul_(gain[:, None, None, None])
            conv.bias.sub_(norm.running_mean).mul_(gain)
        return plain.eval()
