"""What several networks share: sizes that they can halve, instance normalisation, initial weights."""

import math

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


def instance_normalised(features: Tensor) -> Tensor:
    """Each channel of each image (N, C, H, W) with its own mean taken off and divided by its own deviation.

    Nothing is learned or remembered: training and inference do the same.  A map of one value becomes 0, its limit.
    """
    if features.shape[-2] * features.shape[-1] == 1:
        return features * 0
    return functional.instance_norm(features, eps=1e-5)


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
