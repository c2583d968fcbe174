"""The blur of a photo found from the photo alone: kernels of windows, the field of them, and when there is none."""

from .drawing import draw_field
from .explaining import explained, missing
from .field import FoundBlur, find_blur
from .sharpness import sharpness
from .single import estimate_kernel, estimate_kernels
from .view import WIDEST

__all__ = [
    "WIDEST",
    "FoundBlur",
    "draw_field",
    "estimate_kernel",
    "estimate_kernels",
    "explained",
    "find_blur",
    "missing",
    "sharpness",
]
