"""Restoration as one call, image in, image out; and the opposite way, for tests and demonstrations."""

from .deblurring import Deblurrer, deblur, load_deblurrer
from .deconvolution import check_settings, deconvolve, load_prior
from .degrading import blur, degrade
from .precision import PRECISIONS

__all__ = [
    "PRECISIONS",
    "Deblurrer",
    "blur",
    "check_settings",
    "deblur",
    "deconvolve",
    "degrade",
    "load_deblurrer",
    "load_prior",
]
