"""What several networks share: corrections added to photos, means over the photo, initial weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def corrected(image: Tensor, correction: Tensor) -> Tensor:
    """Image + correction, in the image's own precision, whatever that of the network's weights."""
    return image + correction.to(image.dtype)


Shared = Callable[[Callable[[], Tensor]], Tensor]
"""Stands between a network and what it measures on the whole of a photo: takes the measurement, returns its result or,
where the network sees a part of the photo, that of the whole.  A network measures the same things in each run."""


def photo_mean(features: Tensor, shared: Shared | None = None) -> Tensor:
    """Means over the pixels of each image (N, C, H, W), as (N, C, 1, 1); with `shared`, of all images as one photo."""
    if shared is None and not _prefers_blocks(features):
        return features.mean((-2, -1), keepdim=True)
    mean = shared(lambda: _moments(features)[0]) if shared is not None else _moments(features)[0]
    return mean.to(features.dtype)[:, None, None].expand(len(features), -1, -1, -1)


def instance_normalised(features: Tensor, shared: Shared | None = None) -> Tensor:
    """Each channel of each image (N, C, H, W) with its own mean taken off and divided by its own deviation; with
    `shared`, those of all images as one photo.

    Nothing is learned or remembered: training and inference do the same.  A map of one value becomes 0, its limit.
    """
    if shared is None and features.shape[-2] * features.shape[-1] == 1:
        return features * 0
    if shared is None and not _prefers_blocks(features):
        return functional.instance_norm(features, eps=1e-5)
    mean, variance = shared(lambda: _moments(features)) if shared is not None else _moments(features)
    return functional.batch_norm(features, mean, variance, training=False, eps=1e-5)


def channels_first_on_cpu(features: Tensor) -> Tensor:
    """The same on a processor with channels first, for networks of instance norms in training: torch's instance norm
    copies features whose channels come last to and fro.  The weights of the convolutions must lie so, too."""
    return features.contiguous() if features.device.type == "cpu" else features


def dropped(features: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Dropout: about `share` of all values set to 0, the others divided by 1 - share.  In [0, 1), in steps of 2^-16.

    torch's own takes several times longer on a processor: it spends a floating-point draw on each value.
    """
    threshold = round(share * 2**16)
    if threshold == 0:
        return features
    device = features.device if generator is None else generator.device
    words = torch.empty(-(-features.numel() // 4), dtype=torch.int64, device=device)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: features.numel()]
    kept = (bits >= threshold - 2**15).view(features.shape).to(features)
    return features * kept.mul_(2**16 / (2**16 - threshold))


def _prefers_blocks(features: Tensor) -> bool:
    """Whether `_moments` beats torch at inference.  On processors torch's instance norm and its means in bfloat16 are
    slow at features whose channels come last, and its other norms add up all pixels in float32 one by one, which is off
    by 1e-3 for some megapixels.
    """
    last = features.device.type == "cpu" and features.is_contiguous(memory_format=torch.channels_last)
    return last and len(features) == 1 and not torch.is_grad_enabled()


def _moments(features: Tensor) -> Tensor:
    """Means and variances of the channels, (2, C), float32 at least; in blocks of pixels that stay in the cache."""
    pixels = features.movedim(1, -1).flatten(0, 2)
    blocks, means, variances = torch.split(pixels, max(1, (1 << 18) // pixels.shape[1])), [], []
    for block in blocks:
        exact = block.to(torch.promote_types(block.dtype, torch.float32))
        means.append(exact.mean(0))
        variances.append((exact - means[-1]).square_().mean(0))
    within, between = torch.stack(variances), torch.stack(means)
    share = torch.tensor([len(block) for block in blocks]).to(between) / len(pixels)
    mean = share @ between
    return torch.stack([mean, share @ (within + (between - mean).square())])


def draw_normal(network: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """Convolutions from N(0, std^2), batch norm gains from N(1, std^2), biases 0 (Radford et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
            nn.init.normal_(module.weight, mean, std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def draw_uniform(network: nn.Module, generator: torch.Generator | None) -> None:
    """Convolutions as torch draws them by default, from the generator; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def check_ranges(network: str, **ranges: tuple[float, float, float]) -> None:
    """Raises ValueError for the first argument (value, low, high) of a network that lies outside its range."""
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f"{name} of a {network} lies between {low} and {high}; {value} does not")
