"""How noisy a photo is, from the photo alone."""

import torch
from torch import Tensor
from torch.nn import functional

from resharp.tiling import even_sample

BLOCK = 8  # pixels a side of the parts whose texture is compared
FLATTEST = 0.25  # share of the parts that are asked: those with the least texture
_SQUARES, _SQUARE = 64, 256  # of a photo of more than four megapixels, which are enough
NORMAL_MAD = 0.6745  # median of |n| for n ~ N(0, 1)


def estimated_noise_sigma(image: Tensor) -> Tensor:
    """Standard deviation of white noise in each image: (..., C, H, W) -> (...,), on the image's own scale.

    The median absolute deviation (Donoho and Johnstone 1994) of the second difference along both axes (Immerkaer 1996),
    which vanishes on slopes and on straight edges along the axes, over the flattest quarter of the image.  Values at or
    beyond 0 and 1 are clipped and not asked.  Within 4 % on photos blurred by kernels of 25 to 37 pixels, at noise of
    2.55 to 25 grey levels; fine texture counts as noise in sharp ones.  0 where there is nothing to ask.
    """
    if min(image.shape[-2:]) < 3:
        return image.new_zeros(image.shape[:-3])
    flat = image.reshape(-1, *image.shape[-3:])
    return torch.stack([_typical(_spread(one[None])) for one in flat]).reshape(image.shape[:-3])


def _spread(image: Tensor) -> Tensor:
    """Squares (n, C, h, w) spread over a large image (1, C, H, W); all of a smaller one."""
    large = image.shape[-2] * image.shape[-1] > _SQUARES * _SQUARE**2
    return even_sample(image, side=_SQUARE, most=_SQUARES) if large else image


def _bends(image: Tensor) -> Tensor:
    """Second differences along both axes, (..., C, H - 2, W - 2), in which white noise keeps its standard deviation."""
    rows = image[..., 2:, :] - 2 * image[..., 1:-1, :] + image[..., :-2, :]
    return (rows[..., 2:] - 2 * rows[..., 1:-1] + rows[..., :-2]) / 6


def _typical(image: Tensor) -> Tensor:
    """The noise of an image, or of squares from one, (n, C, H, W)."""
    bends, asked = _bends(image), _all_near((image > 0) & (image < 1))
    smooth = functional.avg_pool2d(image, 3, stride=1)
    change = functional.pad(smooth.diff(dim=-2).square(), (0, 0, 0, 1)) + functional.pad(smooth.diff().square(), (0, 1))
    texture = functional.avg_pool2d(change, BLOCK, stride=BLOCK, ceil_mode=True)
    texture = texture.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)[
        ..., : bends.shape[-2], : bends.shape[-1]
    ]
    if not bool(asked.any()):
        return image.new_zeros(())
    flat = asked & (texture <= _quantile(texture[asked], FLATTEST))
    return bends[flat].abs().median() / NORMAL_MAD


def _quantile(values: Tensor, share: float) -> Tensor:
    """Of any number of values (N,); `torch.quantile` refuses more than 16 million, and sorts them all."""
    rank = share * (len(values) - 1)
    below = int(rank)
    low, high = (values.kthvalue(min(place, len(values))).values for place in (below + 1, below + 2))
    return torch.lerp(low, high, rank - below)


def _all_near(kept: Tensor) -> Tensor:
    """(..., C, H, W) to (..., C, H - 2, W - 2): whether a pixel and its eight neighbours are all kept."""
    rows = kept[..., 2:, :] & kept[..., 1:-1, :] & kept[..., :-2, :]
    return rows[..., 2:] & rows[..., 1:-1] & rows[..., :-2]
