"""What several networks share: sizes that they can halve, means over the photo, initial weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def mirrored_to_multiple(image: Tensor, multiple: int, *, least: int = 1) -> Tensor:
    """(N, C, H, W) continued on the right and below by its mirror image, until both sides are multiples of `multiple`
    and not below `least`; as often as a small image needs it.
    """
    for dim in (-2, -1):
        size = image.shape[dim]
        target = math.ceil(max(size, least) / multiple) * multiple
        if target > size:
            image = image.index_select(dim, _mirrored(size, target, image.device))
    return image


def _mirrored(size: int, target: int, device: torch.device) -> Tensor:
    """Indices 0 ... target - 1 folded back into 0 ... size - 1."""
    period = max(1, 2 * (size - 1))
    indices = torch.arange(target, device=device).remainder(period)
    return torch.minimum(indices, period - indices)


Shared = Callable[[Callable[[], Tensor]], Tensor]
"""Stands between a network and what it measures on the whole of a photo: takes the measurement, returns its result or,
where the network sees a part of the photo, that of the whole.  A network measures the same things in each run."""


def photo_mean(features: Tensor, shared: Shared | None = None) -> Tensor:
    """Means over the pixels of each image (N, C, H, W), as (N, C, 1, 1); with `shared`, of all images as one photo."""
    if shared is None:
        return features.mean((-2, -1), keepdim=True)
    return shared(lambda: features.mean((0, -2, -1), keepdim=True))


def instance_normalised(features: Tensor, shared: Shared | None = None) -> Tensor:
    """Each channel of each image (N, C, H, W) with its own mean taken off and divided by its own deviation; with
    `shared`, those of all images as one photo.

    Nothing is learned or remembered: training and inference do the same.  A map of one value becomes 0, its limit.
    """
    if shared is not None:
        mean, variance = shared(lambda: _moments(features))
        return functional.batch_norm(features, mean, variance, training=False, eps=1e-5)
    if features.shape[-2] * features.shape[-1] == 1:
        return features * 0
    if len(features) == 1:  # the same numbers, without the copies that the other takes of channels that come last
        return functional.batch_norm(features, None, None, training=True, eps=1e-5)
    return functional.instance_norm(features, eps=1e-5)


def _moments(features: Tensor) -> Tensor:
    """Means and variances of the channels, (2, C), float32 at least."""
    exact = features.to(torch.promote_types(features.dtype, torch.float32))
    variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0)
    return torch.stack([mean, variance])


def draw_normal(network: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """Convolutions from N(0, std^2), batch norm gains from N(1, std^2), biases 0 (Radford et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
            nn.init.normal_(module.weight, mean, std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_ranges(network: str, **ranges: tuple[float, float, float]) -> None:
    """Raises ValueError for the first argument (value, low, high) of a network that lies outside its range."""
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f"{name} of a {network} lies between {low} and {high}; {value} does not")
