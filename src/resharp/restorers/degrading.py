"""Clean images made bad with one call."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from resharp.degradations import Blur, DegradationStep, Downscale, Kernel, Noise, apply_steps, as_kernel, blurred
from resharp.degradations.ranges import checked_seed
from resharp.errors import ArgumentError, KernelError
from resharp.image import Picture, as_image, like_input
from resharp.photo import Photo

from .memory import memory_named


def blur(image: Picture, kernel: Kernel, noise_sigma: float = 0.0, *, seed: int = 0) -> Picture:
    """Blur with a kernel and add white Gaussian noise; the size stays, the frame is mirrored at its border.

    image, kernel, noise_sigma: as `deconvolve` takes them.  Returns the form of the input; floats are not clipped.
    """
    clean = as_image(image)
    spread = as_kernel(kernel).to(clean.device)
    check_fits(Blur(spread), clean)
    generator = torch.Generator().manual_seed(checked_seed(seed))
    return like_input(Noise(noise_sigma)(blurred(clean, spread), generator=generator), image)


def degrade(photo: Photo, steps: Sequence[DegradationStep]) -> Photo:
    """A photo after some degradations, everything beside its pixels kept; its transparency shrinks with it.

    Raises RecipeError, ArgumentError (no Photo, a mosaic of a grey one, sides that a downscale does not divide),
    ResourceError.
    """
    if not isinstance(photo, Photo):
        raise ArgumentError(
            f"degrade takes a Photo, as read_photo gives it, not a {type(photo).__name__}; apply_steps takes tensors"
        )
    with memory_named(photo.image, photo.image.device):
        planes = apply_steps(steps, photo.planes)[0].clamp(0, 1)
        alpha = photo.alpha
        if alpha is not None and planes.shape[-2:] != alpha.shape:
            smaller = [step for step in steps if isinstance(step.degradation, Downscale)]
            alpha = apply_steps(smaller, alpha[None])[0][0].clamp(0, 1)
    return dataclasses.replace(photo, alpha=alpha).with_planes(planes)


def check_fits(operator: Blur, image: Tensor) -> None:
    """Raises KernelError where the kernel is larger than the image."""
    (kh, kw), (height, width) = operator.kernel.shape, image.shape[-2:]
    if kh > height or kw > width:
        raise KernelError(f"the kernel ({kw}x{kh}) is larger than the photo ({width}x{height}); use a smaller kernel")
