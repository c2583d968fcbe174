"""The blur of a photo found from the photo alone: kernels of windows, the field of them, and when there is none."""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use

if TYPE_CHECKING:
    from .drawing import draw_field
    from .explaining import explained, missing
    from .field import FoundBlur, find_blur
    from .sharpness import sharpness
    from .single import estimate_kernel, estimate_kernels

__all__ = [
    "FoundBlur",
    "draw_field",
    "estimate_kernel",
    "estimate_kernels",
    "explained",
    "find_blur",
    "missing",
    "sharpness",
]

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
