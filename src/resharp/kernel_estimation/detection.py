"""Whether a photo looks blurred at all, by a network that has seen many that were, and many that were not."""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations.light import WHITE
from resharp.models import load_model
from resharp.networks.blur_detector import BlurDetector, pooled, seen

from .layout import laid_out
from .paper import paper_of
from .pyramid import evidence_of
from .threads import window_by_window

_MOST = 12  # windows of 256x256, those that show most
_FAR = 1  # places that light which was cut off reaches
_MOSTLY = 0.5  # of the places


def blur_logit(photo: Tensor) -> float:
    """How much speaks for a photo (3 or 1, H, W) in [0, 1] being blurred, above 0 for more likely than not; 16 pixels a
    side at least.  Of photos that are out of focus all over it is about 0, and NaN where light that the sensor cut off
    stands all over, whose border is steep whatever the blur, but for paper's, which lies around every letter."""
    planes = photo.detach().float().expand(3, -1, -1)
    layout = laid_out((planes.shape[-2], planes.shape[-1]), largest=1)  # the smallest windows
    height, width = (length - length % BlurDetector.multiple_of for length in (layout.height, layout.width))
    windows = torch.stack([layout.windows(plane)[:, :height, :width] for plane in planes], 1)
    if len(windows) > _MOST:
        windows = windows[evidence_of(windows.mean(1)).topk(_MOST).indices.sort().values]
    if float(_near_clipped(windows).float().mean()) > _MOSTLY and paper_of(windows.mean(1)) is None:
        return math.nan
    (places,) = window_by_window(lambda some: (_detector().places(seen(some)),), windows)
    return float(pooled(places.transpose(0, 1).flatten(1)[None, :, :, None]))


def _near_clipped(windows: Tensor) -> Tensor:
    """(N, h, w) places beside light that the sensor cut off."""
    clipped = (windows >= WHITE).any(1, keepdim=True).float()
    cells = functional.max_pool2d(clipped, BlurDetector.multiple_of)
    return functional.max_pool2d(cells, 2 * _FAR + 1, stride=1, padding=_FAR)[:, 0] > 0


@functools.cache
def _detector() -> BlurDetector:
    network, _ = load_model("blur-detector", task="detect-blur")
    assert isinstance(network, BlurDetector)
    return network.requires_grad_(False)
