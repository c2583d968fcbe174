"""Restoration as one call: image in, image out."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .degradations import (
    Blur,
    DegradationStep,
    Downscale,
    Kernel,
    Noise,
    apply_steps,
    as_kernel,
    blurred,
    edge_padded,
    without_margin,
)
from .degradations.noise import checked_seed, checked_sigma
from .device import checked_device, has_fast_bfloat16
from .errors import ArgumentError, KernelError, ResourceError, WeightsError
from .image import Picture, as_image, like_input
from .networks import DAE
from .photo import Photo
from .priors import MeanShift
from .solvers.mean_shift import OnStep, mean_shift
from .weights import DEFAULT_DAE, load_weights

PRECISIONS = ("auto", "bfloat16", "float32")


def deconvolve(
    image: Picture,
    kernel: Kernel,
    noise_sigma: float | None = None,
    *,
    prior: MeanShift | str | Path = DEFAULT_DAE,
    n_iterations: int = 300,
    seed: int = 0,
    precision: str = "auto",
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Picture:
    """Sharpen a photo whose blur kernel is known, with Deep Mean-Shift Priors.

    image: float tensor (..., C, H, W) in [0, 1], or an array (H, W[, C]), uint8, uint16 or float; C is 1 or 3.
    kernel: the picture of a point of light, (height, width), both odd: tensor, array, or what `--kernel` takes.
    noise_sigma: standard deviation on the [0, 1] scale (0.01 = 2.55 grey levels); None estimates it.
    prior: weights of a denoiser by name or file, or what `load_prior` made of them, once for many photos.

    Returns the restored image in the form of the input, the same size: pixels whose light partly came from outside
    the frame are solved for like all others.  The same seed gives the same picture.  Raises ArgumentError, KernelError,
    WeightsError or ResourceError.
    """
    degraded = as_image(image).to(checked_device(device))
    operator = Blur(as_kernel(kernel)).to(degraded.device)
    check_settings(noise_sigma, n_iterations, seed)
    check_fits(operator, degraded)
    if not isinstance(prior, MeanShift):
        prior = load_prior(prior, precision=precision, device=device)
    colour = degraded.expand(*degraded.shape[:-3], 3, -1, -1) if degraded.shape[-3] == 1 else degraded
    with _memory_named(degraded):
        restored = mean_shift(
            colour,
            operator,
            prior,
            edge_padded(colour, operator.margin),
            generator=torch.Generator().manual_seed(seed),
            noise_sigma=noise_sigma,
            n_iterations=n_iterations,
            on_step=on_step,
        )
    if not bool(torch.isfinite(restored).all()):
        raise WeightsError("the denoiser's output is not finite; try --precision float32 or other weights")
    restored = without_margin(restored, operator.margin)
    if degraded.shape[-3] == 1:
        restored = restored.mean(-3, keepdim=True)
    return like_input(restored, image)


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
    with _memory_named(photo.image):
        planes = apply_steps(steps, photo.planes)[0].clamp(0, 1)
        alpha = photo.alpha
        if alpha is not None and planes.shape[-2:] != alpha.shape:
            smaller = [step for step in steps if isinstance(step.degradation, Downscale)]
            alpha = apply_steps(smaller, alpha[None])[0][0].clamp(0, 1)
    return dataclasses.replace(photo, alpha=alpha).with_planes(planes)


def check_settings(noise_sigma: float | None, n_iterations: int, seed: int) -> None:
    """Raises ArgumentError for settings of `deconvolve` that hold for no photo."""
    if noise_sigma is not None and checked_sigma(noise_sigma) == 0:
        raise ArgumentError("noise sigma is 0; give the camera's noise, such as 0.005, or leave it out to estimate it")
    if n_iterations < 1:
        raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, 300 are usual")
    checked_seed(seed)


def check_fits(operator: Blur, image: Tensor) -> None:
    """Raises KernelError where the kernel is larger than the image."""
    (kh, kw), (height, width) = operator.kernel.shape, image.shape[-2:]
    if kh > height or kw > width:
        raise KernelError(f"the kernel ({kw}x{kh}) is larger than the photo ({width}x{height}); use a smaller kernel")


def load_prior(weights: str | Path = DEFAULT_DAE, *, precision: str = "auto", device: str = "cpu") -> MeanShift:
    """The mean-shift prior of a denoiser's weights, ready to run on images (..., 3, H, W).

    precision: "float32", "bfloat16" (within 0.05 dB, about twice as fast where the processor knows it), or "auto".
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision {precision!r}; choose {', '.join(PRECISIONS)}")
    network, card = load_weights(weights)
    if not isinstance(network, DAE) or card.noise_sigma is None or network.arguments["channels"] != 3:
        raise WeightsError(f"{card.path}: is no denoiser of RGB images ('dae' with 3 channels and a noise sigma)")
    place = checked_device(device)
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(place) else "float32"
    dtype: torch.dtype = getattr(torch, precision)
    network.requires_grad_(False).to(device=place, dtype=dtype)
    return MeanShift(functools.partial(_denoise, network.residual, dtype), card.noise_sigma)


@torch.no_grad()
def _denoise(residual: Callable[[Tensor], Tensor], dtype: torch.dtype, noisy: Tensor) -> Tensor:
    """Z + f(z), the sum in the image's own precision whatever the network's."""
    flat = noisy.reshape(-1, *noisy.shape[-3:])
    seen = flat.to(dtype=dtype, memory_format=torch.channels_last)
    return (flat + residual(seen)).reshape(noisy.shape)


@contextlib.contextmanager
def _memory_named(image: Tensor) -> Iterator[None]:
    """Turns a failed allocation into a ResourceError; torch reports those on the CPU as plain RuntimeErrors."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        height, width = image.shape[-2:]
        raise ResourceError(
            f"not enough memory on {image.device} for a photo of {width}x{height}; restore it in parts or on a larger "
            "machine"
        ) from error
