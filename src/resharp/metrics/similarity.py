"""Structural similarity, one function for each definition that published figures use: they differ by up to 0.1.

Images: float (..., C, H, W) in [0, 1].  All are means over the channels but where the name says otherwise, higher is
better, at most 1, float64 of shape (...).  Float32 images are filtered in float32, which moves a figure by less than
1e-5; float64 ones in float64.
"""

import torch
from torch import Tensor
from torch.nn import functional

from .arguments import checked_pair, for_each
from .windows import Window, gaussian_line, similarity

_GAUSSIAN = gaussian_line(11, 1.5)
_UNIFORM = (1 / 7,) * 7
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, from fine to coarse
_SMALLEST_MULTI_SCALE = 161  # 11 pixels are left after four halvings


def ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """Wang et al. 2004: 11x11 Gaussian window of sigma 1.5 over its valid positions, population covariance.

    scikit-image's with gaussian_weights, sigma=1.5, use_sample_covariance=False.  H and W at least 11.
    """
    return _mean_similarity(restored, clean, Window(_GAUSSIAN))


def ssim_skimage(restored: Tensor, clean: Tensor) -> Tensor:
    """scikit-image's default: 7x7 uniform window over its valid positions, sample covariance.  H and W at least 7."""
    return _mean_similarity(restored, clean, Window(_UNIFORM, correction=49 / 48))


def ssim_matlab_2d(restored: Tensor, clean: Tensor) -> Tensor:
    """MATLAB's ssim() of each channel: Wang's window at every pixel, the frame's edge repeated beyond it."""
    return _mean_similarity(restored, clean, Window(_GAUSSIAN, padding="replicate"))


def ssim_matlab_3d(restored: Tensor, clean: Tensor) -> Tensor:
    """MATLAB's ssim() of a colour array as a volume: 11x11x11 Gaussian, edges and first and last channel repeated.

    What several deblurring papers report, MPRNet's among them.  Neighbouring channels enter each mean, which raises
    the figure: never beside Wang's in one table.  Equal to MATLAB's 2-D one for a grey image.
    """
    return _mean_similarity(restored, clean, Window(_GAUSSIAN, padding="replicate", through_channels=True))


def ssim_zero_padded(restored: Tensor, clean: Tensor) -> Tensor:
    """Wang's window at every pixel, with black beyond the frame, as DeblurGAN-v2's and other PyTorch code has it."""
    return _mean_similarity(restored, clean, Window(_GAUSSIAN, padding="constant"))


@torch.no_grad()
def multi_scale_ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """Wang, Simoncelli and Bovik 2003: five scales, each the 2x2 means of the last one; H and W at least 161.

    Structure at each scale and luminance at the coarsest one, to the powers of the paper; of each channel, then the
    mean.  Odd sizes repeat the last row or column, as the authors' code does.  A negative structure counts as 0.
    """
    restored, clean = checked_pair(restored, clean, smallest=_SMALLEST_MULTI_SCALE)
    return for_each(_over_scales, restored, clean)


def _over_scales(one: Tensor, other: Tensor) -> Tensor:
    result = torch.ones((), dtype=torch.float64, device=one.device)
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            one, other = _halved(one), _halved(other)
        both, structure = similarity(one, other, Window(_GAUSSIAN))
        is_last = scale == len(_SCALE_WEIGHTS) - 1
        result = result * (both if is_last else structure).relu() ** weight
    return result.mean()


def _halved(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    even = functional.pad(image[None], (0, width % 2, 0, height % 2), mode="replicate")
    return functional.avg_pool2d(even, 2)[0]


@torch.no_grad()
def _mean_similarity(restored: Tensor, clean: Tensor, window: Window) -> Tensor:
    smallest = len(window.line) if window.padding == "valid" else 1
    restored, clean = checked_pair(restored, clean, smallest=smallest)
    return for_each(lambda one, other: similarity(one, other, window)[0].mean(), restored, clean)
