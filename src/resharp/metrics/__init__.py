"""How good a restored image is; pure functions of (restored, clean), and their means.

Images: float (..., C, H, W) in [0, 1], figures float64 of shape (...).  Nothing is clipped, rounded, cropped or turned
into another colour space here unless a name says so: protocols do that, and say so.
"""

from .accumulation import Mean
from .alignment import error_ratio, psnr_up_to_shift, squared_error_up_to_shift
from .fidelity import psnr
from .naturalness import Pristine, load_pristine, niqe
from .perceptual import feature_distance, load_feature_distance, load_lpips
from .similarity import (
    multi_scale_ssim,
    ssim,
    ssim_matlab_2d,
    ssim_matlab_3d,
    ssim_skimage,
    ssim_zero_padded,
)
from .table import METRICS, Metric
from .wavelets import complex_wavelet_ssim

__all__ = [
    "METRICS",
    "Mean",
    "Metric",
    "Pristine",
    "complex_wavelet_ssim",
    "error_ratio",
    "feature_distance",
    "load_feature_distance",
    "load_lpips",
    "load_pristine",
    "multi_scale_ssim",
    "niqe",
    "psnr",
    "psnr_up_to_shift",
    "squared_error_up_to_shift",
    "ssim",
    "ssim_matlab_2d",
    "ssim_matlab_3d",
    "ssim_skimage",
    "ssim_zero_padded",
]
