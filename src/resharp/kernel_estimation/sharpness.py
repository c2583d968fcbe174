"""How sharp the sharpest edges of a photo are, direction by direction: whether there is any blur to look for.

A step of contrast c seen through a kernel k rises by at most c times the peak of k's projection across the step (Cho,
Paris, Horn, Freeman 2011 build kernels from such projections).  A photo without motion has steep steps in every
direction; a shaken one has none across its motion.  One sharp object is enough to call a photo sharp in parts.
"""

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Array = NDArray[Any]

SHARP = 0.25  # rise per pixel and contrast; of 310 sharp photos 92 % lie above, shaken and defocused ones below
SURELY_SHARP = 0.36  # lettering, whose strokes are thinner than its blur, stays as steep as .3; sharp lettering has .4
N_DIRECTIONS = 8
_RADIUS = 9  # pixels around an edge in which its contrast is taken
_LEAST_CONTRAST = 0.12
_FEWEST = 300  # pixels on edges of a direction for it to count
_AROUND_CLIPPED = np.ones((7, 7), np.uint8)
_STEEPEST = 0.995  # the quantile that stands for the steepest


def edge_rises(luma: Tensor, clipped: Tensor | None = None) -> Tensor:
    """(8,) for edges across 0, 22.5, ... degrees: how much of their contrast the steepest rise within a pixel.

    luma: (H, W) in [0, 1];  clipped: (H, W), True at values that the sensor cut off, whose borders are steep
    whatever the blur; they do not count, nor do those around them.  About .3 to .4 in sharp photos, a quarter of a
    pixel's smoothing included; NaN for directions with too few edges.
    """
    plane = luma.detach().cpu().float().numpy()
    around = np.ones((2 * _RADIUS + 1, 2 * _RADIUS + 1), np.uint8)
    contrast = cv2.dilate(plane, around) - cv2.erode(plane, around)
    rise, direction = _rises(plane)
    counts = contrast > _LEAST_CONTRAST
    if clipped is not None:
        counts &= cv2.dilate(clipped.detach().cpu().numpy().astype(np.uint8), _AROUND_CLIPPED) == 0
    share = rise[counts] / contrast[counts]
    away = [_angle_between(direction[counts], number * math.pi / N_DIRECTIONS) for number in range(N_DIRECTIONS)]
    return torch.tensor([_steepest(share[angle < math.pi / N_DIRECTIONS]) for angle in away])


def _angle_between(direction: Array, other: float) -> Array:
    """Of lines: at most a right angle."""
    return np.abs((direction - other + math.pi / 2) % math.pi - math.pi / 2)


def _rises(plane: Array) -> tuple[Array, Array]:
    """Rise per pixel, and the direction across the edge in [0, pi)."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 0.5)
    right, down = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, ksize=3) / 8 for dx in (1, 0))
    return np.hypot(right, down), np.arctan2(down, right) % np.float32(math.pi)


def _steepest(shares: Array) -> float:
    return float(np.quantile(shares, _STEEPEST)) if shares.size >= _FEWEST else math.nan


def sharpness(luma: Tensor, clipped: Tensor | None = None) -> float:
    """The steepest edges' rise across the direction in which it is least, see `edge_rises`; NaN where too few edges are
    seen."""
    rises = edge_rises(luma, clipped)
    known = rises[~rises.isnan()]
    return float(known.min()) if len(known) >= N_DIRECTIONS // 2 else math.nan


def sharpness_through(kernels: Tensor) -> Tensor:
    """(N,) the `sharpness` of perfect edges that are seen through kernels (N, side, side)."""
    side = kernels.shape[-1] + 2 * _RADIUS + 1
    axis = torch.arange(side, dtype=torch.float32) - side // 2
    angles = torch.arange(N_DIRECTIONS) * (math.pi / N_DIRECTIONS)
    away = axis * angles.cos()[:, None, None] + axis[:, None] * angles.sin()[:, None, None]
    seen = functional.conv2d((away + 0.5).clamp(0, 1)[:, None], kernels.cpu().float().flip(-2, -1)[:, None])
    return torch.tensor(
        [min(float(_rises(plane)[0].max()) for plane in planes) for planes in seen.transpose(0, 1).numpy()]
    )
