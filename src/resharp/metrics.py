"""How close a restored image is to the clean one; pure functions.

Images: float RGB (..., C, H, W) in [0, 1].  Nothing is clipped, rounded or cropped here: protocols do that, and say so.
"""

import torch
from torch import Tensor
from torch.nn import functional


def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, higher is better: 10 log10(1 / MSE) over C, H and W; shape (...)."""
    error = (restored.double() - clean.double()).square().mean(dim=(-3, -2, -1))
    return -10 * torch.log10(error)


def ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), higher is better, at most 1; shape (...).

    11x11 Gaussian window of sigma 1.5 over its valid positions, K1 = 0.01, K2 = 0.03, population covariance, mean over
    channels: scikit-image's with gaussian_weights, sigma=1.5, use_sample_covariance=False.  H and W at least 11.
    """
    x, y = restored.double(), clean.double()
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x = _smooth(x * x) - mean_x**2
    variance_y = _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    return (luminance * structure).mean(dim=(-3, -2, -1))


def _smooth(image: Tensor) -> Tensor:
    """Valid convolution with the window of `ssim`."""
    line = torch.exp(-0.5 * (torch.arange(-5, 6, dtype=image.dtype, device=image.device) / 1.5) ** 2)
    line = line / line.sum()
    planes = image.reshape(-1, 1, *image.shape[-2:])
    planes = functional.conv2d(functional.conv2d(planes, line[None, None, :, None]), line[None, None, None, :])
    return planes.reshape(*image.shape[:-2], *planes.shape[-2:])
