"""What networks are told to draw by: one map of noise for a photo, so that the same noise makes the same picture."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from resharp.errors import ArgumentError, did_you_mean

NOISES = {
    "tiled": "one number for each channel, the same all over the photo (Zhang et al. 2020)",
    "smooth": "drawn at half the size and interpolated, as a port of theirs has it",
    "white": "drawn anew at each pixel",
}


def noise_map(kind: str, channels: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """(channels, height, width), each value from N(0, 1), less what interpolation takes off.  Raises ArgumentError."""
    if kind not in NOISES:
        raise ArgumentError(f"{kind!r} is no noise map; {did_you_mean(kind, NOISES, things='noise maps')}")
    if kind == "white":
        return torch.randn(channels, height, width, generator=generator)
    if kind == "tiled":
        return torch.randn(channels, 1, 1, generator=generator).expand(-1, height, width).contiguous()
    coarse = torch.randn(1, channels, -(-height // 2), -(-width // 2), generator=generator)
    return functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[0]


def noise_for(network: nn.Module, height: int, width: int, generator: torch.Generator) -> Tensor:
    """The map that a network which takes "noise" asks for by its `noise` and `noise_channels`; tiled in 4 channels
    where it says nothing."""
    kind, channels = str(getattr(network, "noise", "tiled")), int(getattr(network, "noise_channels", 4))
    return noise_map(kind, channels, height, width, generator)
