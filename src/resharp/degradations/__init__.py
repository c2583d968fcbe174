"""How clean images become bad: y = A x + n."""

from .base import LinearDegradation
from .blur import Blur, blurred
from .compression import Jpeg
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
from .margin import edge_padded, reflect_padded, without_margin
from .mosaic import DEMOSAICKERS, Mosaic, demosaic_bilinear, demosaic_malvar
from .noise import Noise
from .optics import Defocus, GaussianBlur, KernelBlur
from .resample import Resize, resize_as_matlab
from .sampling import Downscale, Mosaicked
from .shake import Frame, Shake
from .steps import (
    DEGRADATIONS,
    Degradation,
    DegradationStep,
    apply_steps,
    make_degradation,
    parameter_names,
    read_steps,
    step_from_json,
    steps_from_text,
    write_steps,
)
from .trajectory import TrajectoryBlur, centred_psf

LINEAR: dict[str, type[LinearDegradation]] = {"blur": Blur, "mosaic": Mosaic, "resize": Resize}

__all__ = [
    "DEGRADATIONS",
    "DEMOSAICKERS",
    "LINEAR",
    "Blur",
    "Defocus",
    "Degradation",
    "DegradationStep",
    "Downscale",
    "Frame",
    "GaussianBlur",
    "Jpeg",
    "Kernel",
    "KernelBlur",
    "LinearDegradation",
    "Mosaic",
    "Mosaicked",
    "Noise",
    "Resize",
    "Shake",
    "TrajectoryBlur",
    "apply_steps",
    "as_kernel",
    "blurred",
    "centred_psf",
    "checked_kernel",
    "demosaic_bilinear",
    "demosaic_malvar",
    "disk_kernel",
    "edge_padded",
    "gaussian_kernel",
    "load_kernel",
    "make_degradation",
    "motion_kernel",
    "parameter_names",
    "parse_kernel",
    "read_steps",
    "reflect_padded",
    "resize_as_matlab",
    "step_from_json",
    "steps_from_text",
    "without_margin",
    "write_steps",
]
