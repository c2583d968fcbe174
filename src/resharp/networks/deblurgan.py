"""The generator of DeblurGAN (Kupyn et al. 2018, arXiv 1711.07064, figure 3).

A convolutional network with residual blocks at a quarter of the photo's size; it adds a correction to the photo.
Its critic is `critics.PatchCritic`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .blocks import (
    Shared,
    channels_first_on_cpu,
    check_ranges,
    corrected,
    draw_normal,
    dropped,
    instance_normalised,
)

UPSAMPLINGS = ("deconv", "pixelshuffle", "resize")


class ResidualBlock(nn.Module):
    """x + norm(conv(dropout(relu(norm(conv(x)))))), two 3x3 convolutions on mirrored borders."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.dropout = dropout

    def forward(
        self, features: Tensor, generator: torch.Generator | None = None, shared: Shared | None = None
    ) -> Tensor:
        inner = torch.relu_(instance_normalised(self.conv1(features), shared))
        if generator is not None or self.training:
            inner = dropped(inner, self.dropout, generator)
        return features + instance_normalised(self.conv2(inner), shared)


class DeblurGAN(nn.Module):
    """Restored photo clamp(I_B + I_R): conv 7x7, 2 halvings, 9 residual blocks, 2 doublings, conv 7x7, tanh;
    11,378,179 parameters.

    blurred: (N, channels, H, W) in [0, 1], H and W multiples of `multiple_of`, from twice that on;  returns the same
    shape, in [0, 1].  The published code works on [-1, 1]: so does the inside of this network, and published weights
    give the published numbers.

    The statistics of the instance norms are those of the whole photo, also at inference, so that parts of a photo come
    out differently from the whole.  `upsampling`: "deconv" as published; "pixelshuffle" (12,483,907 parameters, as in
    the Ascend port) or "resize" (nearest neighbours, then a convolution: leaves no chequered pattern).
    """

    scale = 1
    multiple_of = 4
    halo = None  # the whole photo, through the norms
    trains_channels_first_on_cpu = True

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 64,
        n_blocks: int = 9,
        dropout: float = 0.5,
        upsampling: str = "deconv",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_ranges("DeblurGAN", channels=(channels, 1, 64), width=(width, 1, 1024), n_blocks=(n_blocks, 0, 64))
        check_ranges("DeblurGAN", dropout=(dropout, 0, 0.99))
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling of a DeblurGAN is one of {', '.join(UPSAMPLINGS)}, not {upsampling!r}")
        self.head = nn.ModuleList(
            [
                nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect"),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            ]
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * width, dropout) for _ in range(n_blocks))
        self.ups = nn.ModuleList([_doubling(upsampling, 4 * width), _doubling(upsampling, 2 * width)])
        self.tail = nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect")
        self.dropout = dropout
        self.reach = 8 * n_blocks + 20  # in pixels, beyond which only the statistics of the norms matter
        self.arguments: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "n_blocks": n_blocks,
            "dropout": dropout,
            "upsampling": upsampling,
        }
        draw_normal(self, 0.02, generator)

    def forward(
        self, blurred: Tensor, *, generator: torch.Generator | None = None, shared: Shared | None = None
    ) -> Tensor:
        """generator: draws the dropout masks, in train and eval mode alike: one of many possible restorations, as the
        paper tests; without one there is dropout in train mode only, from torch's own generator.
        shared: where `blurred` is a part of a photo, the statistics of the whole; see `blocks.Shared`.
        """
        assert blurred.ndim == 4
        features = 2 * blurred.to(self.tail.weight.dtype) - 1
        if torch.is_grad_enabled():
            features = channels_first_on_cpu(features)
        for conv in self.head:
            features = torch.relu_(instance_normalised(conv(features), shared))
        for block in self.blocks:
            features = block(features, generator, shared)
        for up in self.ups:
            features = torch.relu_(instance_normalised(up(features), shared))
        return corrected(blurred, torch.tanh(self.tail(features)) / 2).clamp(0, 1)


def _doubling(upsampling: str, n_in: int) -> nn.Module:
    """(N, n_in, h, w) -> (N, n_in / 2, 2h, 2w)."""
    n_out = n_in // 2
    if upsampling == "deconv":
        return nn.ConvTranspose2d(n_in, n_out, 3, stride=2, padding=1, output_padding=1)
    if upsampling == "pixelshuffle":
        return nn.Sequential(nn.Conv2d(n_in, 4 * n_out, 3, padding=1, bias=False), nn.PixelShuffle(2))
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="reflect"))
