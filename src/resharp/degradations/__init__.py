"""How clean images become bad: y = A x + n."""

from .base import Degradation, LinearDegradation
from .blur import Blur
from .kernels import checked_kernel, disk_kernel, gaussian_kernel, load_kernel, motion_kernel, parse_kernel
from .noise import GaussianNoise

LINEAR: dict[str, type[LinearDegradation]] = {"blur": Blur}
RANDOM: dict[str, type[GaussianNoise]] = {"gaussian-noise": GaussianNoise}

__all__ = [
    "LINEAR",
    "RANDOM",
    "Blur",
    "Degradation",
    "GaussianNoise",
    "LinearDegradation",
    "checked_kernel",
    "disk_kernel",
    "gaussian_kernel",
    "load_kernel",
    "motion_kernel",
    "parse_kernel",
]
