"""How clean images become bad: y = A x + n."""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use

if TYPE_CHECKING:
    from .base import LinearDegradation
    from .blur import Blur, blurred
    from .blur_field import BlurField, read_field, uniform_field, write_field
    from .compression import Jpeg
    from .drawing import check_in_batches, drawn_together
    from .in_batches import Chain, Undone, cut_out, done
    from .kernels import (
        Kernel,
        as_kernel,
        checked_kernel,
        disk_kernel,
        gaussian_kernel,
        load_kernel,
        motion_kernel,
        parse_kernel,
        write_kernel,
    )
    from .linear import LINEAR
    from .margin import edge_padded, reflect_padded, without_margin
    from .mask import Mask
    from .mosaic import DEMOSAICKERS, Mosaic, demosaic_bilinear, demosaic_malvar
    from .noise import Noise
    from .noise_level import estimated_noise_sigma
    from .optics import Defocus, GaussianBlur, KernelBlur
    from .realistic import Realistic
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
    from .varying_blur import VaryingBlur

__all__ = [
    "DEGRADATIONS",
    "DEMOSAICKERS",
    "LINEAR",
    "Blur",
    "BlurField",
    "Chain",
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
    "Mask",
    "Mosaic",
    "Mosaicked",
    "Noise",
    "Realistic",
    "Resize",
    "Shake",
    "TrajectoryBlur",
    "Undone",
    "VaryingBlur",
    "apply_steps",
    "as_kernel",
    "blurred",
    "centred_psf",
    "check_in_batches",
    "checked_kernel",
    "cut_out",
    "demosaic_bilinear",
    "demosaic_malvar",
    "disk_kernel",
    "done",
    "drawn_together",
    "edge_padded",
    "estimated_noise_sigma",
    "gaussian_kernel",
    "load_kernel",
    "make_degradation",
    "motion_kernel",
    "parameter_names",
    "parse_kernel",
    "read_field",
    "read_steps",
    "reflect_padded",
    "resize_as_matlab",
    "step_from_json",
    "steps_from_text",
    "uniform_field",
    "without_margin",
    "write_field",
    "write_kernel",
    "write_steps",
]

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
