"""How clean images become bad: y = A x + n."""

from .base import LinearDegradation
from .blur import Blur
from .kernels import (
    Kernel,
    as_kernel,
    checked_kernel,
    disk_kernel,
    gaussian_kernel,
    load_kernel,
    motion_kernel,
    parse_kernel,
)
from .margin import edge_padded, without_margin
from .noise import GaussianNoise

LINEAR: dict[str, type[LinearDegradation]] = {"blur": Blur}
RANDOM: dict[str, type[GaussianNoise]] = {"gaussian-noise": GaussianNoise}

__all__ = [
    "LINEAR",
    "RANDOM",
    "Blur",
    "GaussianNoise",
    "Kernel",
    "LinearDegradation",
    "as_kernel",
    "checked_kernel",
    "disk_kernel",
    "edge_padded",
    "gaussian_kernel",
    "load_kernel",
    "motion_kernel",
    "parse_kernel",
    "without_margin",
]
