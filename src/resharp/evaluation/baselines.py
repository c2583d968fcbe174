"""Methods to compare with, as anybody would write one: a function of the image (3, H, W) and of what it wants to know.

Wiener, Richardson-Lucy and non-local means are scikit-image's, an extra.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resharp.degradations import Mosaic, Resize, demosaic_bilinear, demosaic_malvar, without_margin
from resharp.errors import ArgumentError

N_RICHARDSON_LUCY = 30  # iterations; more sharpen more and raise the noise
LAPLACIAN_VARIANCE = (
    0.01  # of photos, as the Wiener filter weighs it; the best of 0.005 to 0.08 over kernels and noises
)


def identity(image: Tensor) -> Tensor:
    """The degraded picture itself: what any method must beat."""
    return image


def bicubic(image: Tensor, scale: int) -> Tensor:
    """Enlarged as MATLAB's imresize does it, in floats."""
    larger: Tensor = Resize(float(scale))(image)
    return larger


def bilinear(image: Tensor, pattern: str) -> Tensor:
    """Bilinear demosaicking of the samples that a Bayer filter lets through."""
    return demosaic_bilinear(Mosaic(pattern)(image), pattern)


def malvar(image: Tensor, pattern: str) -> Tensor:
    """Malvar, He and Cutler's demosaicking of those samples."""
    return demosaic_malvar(Mosaic(pattern)(image), pattern)


def wiener(image: Tensor, kernel: Tensor, noise_sigma: float = 0.01) -> Tensor:
    """scikit-image's Wiener filter with its Laplacian prior, whose weight is the noise's variance over that of a
    typical photo's Laplacian."""
    restore = _scikit_image("restoration").wiener
    balance = max(noise_sigma, 1e-3) ** 2 / LAPLACIAN_VARIANCE
    return _per_plane(image, kernel, lambda plane, psf: restore(plane, psf, balance, clip=False))


def richardson_lucy(image: Tensor, kernel: Tensor) -> Tensor:
    """scikit-image's Richardson-Lucy deconvolution, 30 iterations."""
    restore = _scikit_image("restoration").richardson_lucy
    return _per_plane(image.clamp(min=0), kernel, lambda plane, psf: restore(plane, psf, num_iter=N_RICHARDSON_LUCY))


def non_local_means(image: Tensor, noise_sigma: float) -> Tensor:
    """scikit-image's fast non-local means, 5x5 patches within 6 pixels, h = 0.8 sigma."""
    denoise = _scikit_image("restoration").denoise_nl_means
    planes = np.ascontiguousarray(image.permute(1, 2, 0).double().numpy())
    restored = denoise(
        planes, patch_size=5, patch_distance=6, h=0.8 * noise_sigma, sigma=noise_sigma, fast_mode=True, channel_axis=-1
    )
    return torch.from_numpy(np.ascontiguousarray(restored)).permute(2, 0, 1).float()


BASELINES: dict[str, Callable[..., Tensor]] = {
    "identity": identity,
    "bicubic": bicubic,
    "bilinear": bilinear,
    "malvar": malvar,
    "wiener": wiener,
    "richardson-lucy": richardson_lucy,
    "non-local-means": non_local_means,
}

_SCIKIT_IMAGES = (wiener, richardson_lucy, non_local_means)


def baseline(name: str) -> Callable[..., Tensor]:
    """A row of BASELINES.  Raises ArgumentError where its library is not installed."""
    if BASELINES[name] in _SCIKIT_IMAGES:
        _scikit_image("restoration")
    return BASELINES[name]


def _per_plane(image: Tensor, kernel: Tensor, restore: Callable[[NDArray[Any], NDArray[Any]], Any]) -> Tensor:
    """Each colour apart.  FFTs see a picture that repeats itself: a frame in which its borders fade into their mean
    leaves no edges there, and is taken off again."""
    margin = 2 * kernel.shape[0], 2 * kernel.shape[1]
    psf, frame = kernel.double().numpy(), [(size, size) for size in margin]
    restored = []
    for plane in image.double().numpy():
        mean = float(np.concatenate([plane[[0, -1]].ravel(), plane[:, [0, -1]].ravel()]).mean())
        restored.append(restore(np.pad(plane, frame, mode="linear_ramp", end_values=mean), psf))
    return without_margin(torch.from_numpy(np.stack(restored)), margin).float()


def _scikit_image(part: str) -> Any:
    try:
        return importlib.import_module(f"skimage.{part}")
    except ImportError:
        raise ArgumentError("this method needs scikit-image: pip install 'resharp[evaluate]'") from None
