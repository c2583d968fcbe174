"""Make degraded photographs sharp again; train, measure and trust the models that do it.

The public names, each loaded on first use: `import resharp` costs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .degradations import (
        Blur,
        GaussianNoise,
        LinearDegradation,
        disk_kernel,
        gaussian_kernel,
        load_kernel,
        motion_kernel,
        parse_kernel,
    )
    from .errors import (
        ArgumentError,
        KernelError,
        OutputError,
        PhotoError,
        RecipeError,
        ResharpError,
        WeightsError,
    )
    from .metrics import psnr, ssim
    from .networks import DAE
    from .photo import Photo, output_format, read_photo, write_photo
    from .priors import MeanShift
    from .restorer import blur, deconvolve, load_denoiser
    from .solvers import Step, mean_shift, until_settled
    from .training import load_recipe, train_weights
    from .weights import load_weights, read_card, save_weights

__version__ = "0.1.0"

_HOMES = {
    "degradations": (
        "Blur",
        "GaussianNoise",
        "LinearDegradation",
        "disk_kernel",
        "gaussian_kernel",
        "load_kernel",
        "motion_kernel",
        "parse_kernel",
    ),
    "errors": (
        "ArgumentError",
        "KernelError",
        "OutputError",
        "PhotoError",
        "RecipeError",
        "ResharpError",
        "WeightsError",
    ),
    "metrics": ("psnr", "ssim"),
    "networks": ("DAE",),
    "photo": ("Photo", "output_format", "read_photo", "write_photo"),
    "priors": ("MeanShift",),
    "restorer": ("blur", "deconvolve", "load_denoiser"),
    "solvers": ("Step", "mean_shift", "until_settled"),
    "training": ("load_recipe", "train_weights"),
    "weights": ("load_weights", "read_card", "save_weights"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DAE",
    "ArgumentError",
    "Blur",
    "GaussianNoise",
    "KernelError",
    "LinearDegradation",
    "MeanShift",
    "OutputError",
    "Photo",
    "PhotoError",
    "RecipeError",
    "ResharpError",
    "Step",
    "WeightsError",
    "blur",
    "deconvolve",
    "disk_kernel",
    "gaussian_kernel",
    "load_denoiser",
    "load_kernel",
    "load_recipe",
    "load_weights",
    "mean_shift",
    "motion_kernel",
    "output_format",
    "parse_kernel",
    "psnr",
    "read_card",
    "read_photo",
    "save_weights",
    "ssim",
    "train_weights",
    "until_settled",
    "write_photo",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'resharp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
