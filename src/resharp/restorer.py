"""Restoration as one call: image in, image out."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .degradations import Blur, GaussianNoise, checked_kernel, parse_kernel
from .degradations.noise import checked_sigma
from .errors import ArgumentError, KernelError, WeightsError
from .image import Picture, as_image, like_input
from .networks import DAE
from .priors import Denoiser, MeanShift
from .solvers.mean_shift import OnStep, mean_shift
from .weights import DEFAULT_DAE, Card, load_weights

Kernel = Tensor | NDArray[Any] | str | Path

PRECISIONS = ("auto", "bfloat16", "float32")


class Restorer(Protocol):
    """Degraded image (..., C, H, W) in [0, 1] -> restored image of the same shape."""

    def __call__(self, image: Tensor) -> Tensor: ...


def deconvolve(
    image: Picture,
    kernel: Kernel,
    noise_sigma: float | None = None,
    *,
    n_iterations: int = 300,
    weights: str | Path = DEFAULT_DAE,
    seed: int = 0,
    precision: str = "auto",
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Picture:
    """Sharpen a photo whose blur kernel is known, with Deep Mean-Shift Priors.

    image: float tensor (..., C, H, W) in [0, 1], or an array (H, W[, C]), uint8, uint16 or float; C is 1 or 3.
    kernel: the picture of a point of light, (height, width), both odd: tensor, array, or what `--kernel` takes.
    noise_sigma: standard deviation on the [0, 1] scale (0.01 = 2.55 grey levels); None estimates it.

    Returns the restored image in the form of the input, the same size: pixels whose light partly came from outside
    the frame are solved for like all others.  The same seed gives the same picture.  Raises ArgumentError, KernelError
    or WeightsError.
    """
    degraded = as_image(image).to(checked_device(device))
    blur = Blur(_as_kernel(kernel)).to(device)
    if noise_sigma is not None and checked_sigma(noise_sigma) == 0:
        raise ArgumentError("noise sigma is 0; give the camera's noise, such as 0.005, or leave it out to estimate it")
    if n_iterations < 1:
        raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, 300 are usual")
    check_fits(blur, degraded)
    denoiser, card = load_denoiser(weights, precision=precision, device=device)
    colour = degraded.expand(*degraded.shape[:-3], 3, -1, -1) if degraded.shape[-3] == 1 else degraded
    restored = mean_shift(
        colour,
        blur,
        MeanShift(denoiser, card.noise_sigma),
        edge_padded(colour, blur.margin),
        generator=torch.Generator().manual_seed(seed),
        noise_sigma=noise_sigma,
        n_iterations=n_iterations,
        on_step=on_step,
    )
    restored = without_margin(restored, blur.margin)
    if degraded.shape[-3] == 1:
        restored = restored.mean(-3, keepdim=True)
    return like_input(restored, image)


def blur(image: Tensor, kernel: Kernel, noise_sigma: float = 0.0, *, seed: int = 0) -> Tensor:
    """Blur with a kernel and add white Gaussian noise; the size stays, the border sees repeated edge pixels.

    image: (..., C, H, W) in [0, 1];  noise_sigma on that scale;  returns the same shape, not clipped.  The inverse of
    what `deconvolve` solves, but for the border.
    """
    operator = Blur(_as_kernel(kernel))
    check_fits(operator, image)
    blurred: Tensor = operator(edge_padded(image, operator.margin))
    return GaussianNoise(noise_sigma)(blurred, generator=torch.Generator().manual_seed(seed))


def check_fits(blur: Blur, image: Tensor) -> None:
    """Raises KernelError where the kernel is larger than the image."""
    (kh, kw), (height, width) = blur.kernel.shape, image.shape[-2:]
    if kh > height or kw > width:
        raise KernelError(f"the kernel ({kw}x{kh}) is larger than the photo ({width}x{height}); use a smaller kernel")


def edge_padded(image: Tensor, margin: tuple[int, int]) -> Tensor:
    """(..., C, H, W) with its edge pixels repeated outward by (rows, columns) on each side."""
    rows, columns = margin
    flat = image.reshape(-1, *image.shape[-3:])
    padded = functional.pad(flat, (columns, columns, rows, rows), mode="replicate")
    return padded.reshape(*image.shape[:-2], *padded.shape[-2:])


def without_margin(image: Tensor, margin: tuple[int, int]) -> Tensor:
    """The inverse of `edge_padded`; a margin of 0 takes nothing off."""
    rows, columns = margin
    height, width = image.shape[-2:]
    return image[..., rows : height - rows, columns : width - columns]


def load_denoiser(
    weights: str | Path = DEFAULT_DAE, *, precision: str = "auto", device: str = "cpu"
) -> tuple[Denoiser, Card]:
    """A denoiser (..., 3, H, W) -> the same shape, ready to run, and the card of its weights.

    precision: "float32", "bfloat16" (within 0.05 dB, about twice as fast where the processor knows it), or "auto".
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision {precision!r}; choose {', '.join(PRECISIONS)}")
    network, card = load_weights(weights)
    if card.network != "dae":
        raise WeightsError(f"{card.path}: is a {card.network!r}, not a denoising autoencoder ('dae')")
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(device) else "float32"
    dtype = getattr(torch, precision)
    assert isinstance(network, DAE)
    network.requires_grad_(False).to(device=device, dtype=dtype)
    return functools.partial(_denoise, network.residual, dtype), card


@torch.no_grad()
def _denoise(residual: Callable[[Tensor], Tensor], dtype: torch.dtype, noisy: Tensor) -> Tensor:
    """Z + f(z), the sum in float32 whatever the network's precision."""
    flat = noisy.reshape(-1, *noisy.shape[-3:])
    seen = flat.to(dtype=dtype, memory_format=torch.channels_last)
    return (flat + residual(seen)).reshape(noisy.shape)


def checked_device(device: str) -> torch.device:
    """The device of this name, if there is one on this machine.  Raises ArgumentError."""
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"device {device!r} is not to be had here ({reason}); 'cpu' always is") from None


def has_fast_bfloat16(device: str) -> bool:
    """Whether convolutions in bfloat16 run faster than in float32 there."""
    if torch.device(device).type != "cpu":
        return torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
    return "avx512_bf16" in _cpu_flags() or "amx_bf16" in _cpu_flags()


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """The processor's features, as Linux lists them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in text.splitlines() if line.startswith("flags") for word in line.split())


def _as_kernel(kernel: Kernel) -> Tensor:
    if isinstance(kernel, str | Path):
        return parse_kernel(str(kernel))
    tensor = kernel if isinstance(kernel, Tensor) else torch.from_numpy(kernel)
    return checked_kernel(tensor)
