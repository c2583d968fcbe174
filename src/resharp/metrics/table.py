"""The metrics by name, with what a reader of their figures has to know."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .alignment import psnr_up_to_shift
from .fidelity import psnr
from .naturalness import niqe
from .similarity import (
    multi_scale_ssim,
    ssim,
    ssim_matlab_2d,
    ssim_matlab_3d,
    ssim_skimage,
    ssim_zero_padded,
)
from .wavelets import complex_wavelet_ssim


@dataclass(frozen=True)
class Metric:
    """A function (restored, clean) -> (...), float64, of images (..., C, H, W) in [0, 1].

    unit: "dB" or "";  needs_truth: False for one that looks at the restored image alone and ignores the other.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    unit: str
    higher_is_better: bool
    needs_truth: bool
    summary: str


METRICS: dict[str, Metric] = {
    "psnr": Metric(psnr, "dB", True, True, "PSNR over all channels, peak 1"),
    "psnr-up-to-shift": Metric(
        psnr_up_to_shift, "dB", True, True, "PSNR at the best shift of up to 5 pixels, border of 15 left out"
    ),
    "ssim": Metric(ssim, "", True, True, "SSIM (Wang 2004): 11x11 Gaussian, valid, mean over channels"),
    "ssim-skimage": Metric(
        ssim_skimage, "", True, True, "SSIM as scikit-image's default: 7x7 uniform, valid, sample covariance"
    ),
    "ssim-matlab-2d": Metric(
        ssim_matlab_2d, "", True, True, "SSIM as MATLAB's of each channel: 11x11 Gaussian, edges repeated"
    ),
    "ssim-matlab-3d": Metric(
        ssim_matlab_3d, "", True, True, "SSIM as MATLAB's of a colour array: 11x11x11 Gaussian, edges repeated"
    ),
    "ssim-zero-padded": Metric(
        ssim_zero_padded, "", True, True, "SSIM: 11x11 Gaussian at every pixel, black beyond the frame"
    ),
    "ms-ssim": Metric(multi_scale_ssim, "", True, True, "multi-scale SSIM (Wang 2003): five scales"),
    "cw-ssim": Metric(
        complex_wavelet_ssim, "", True, True, "complex wavelet SSIM (Sampat 2009): sixth level, 16 orientations"
    ),
    "niqe": Metric(niqe, "", False, False, "NIQE (Mittal 2013) of the luma, the authors' pristine statistics"),
}
