"""Deconvolution with a known kernel: a prior and a solver as one call."""

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from resharp.degradations import Blur, Kernel, as_kernel, edge_padded, without_margin
from resharp.degradations.noise import checked_seed, checked_sigma
from resharp.device import checked_device
from resharp.errors import ArgumentError, WeightsError
from resharp.image import Picture, as_image, like_input
from resharp.networks import DAE
from resharp.priors import MeanShift
from resharp.solvers.mean_shift import OnStep, mean_shift
from resharp.weights import DEFAULT_DAE, load_weights

from .degrading import check_fits
from .memory import memory_named
from .precision import checked_precision


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
    with memory_named(degraded, degraded.device):
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


def check_settings(noise_sigma: float | None, n_iterations: int, seed: int) -> None:
    """Raises ArgumentError for settings of `deconvolve` that hold for no photo."""
    if noise_sigma is not None and checked_sigma(noise_sigma) == 0:
        raise ArgumentError("noise sigma is 0; give the camera's noise, such as 0.005, or leave it out to estimate it")
    if n_iterations < 1:
        raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, 300 are usual")
    checked_seed(seed)


def load_prior(weights: str | Path = DEFAULT_DAE, *, precision: str = "auto", device: str = "cpu") -> MeanShift:
    """The mean-shift prior of a denoiser's weights, ready to run on images (..., 3, H, W).

    precision: "float32", "bfloat16" (within 0.05 dB, about twice as fast where the processor knows it), or "auto".
    """
    place = checked_device(device)
    dtype = checked_precision(precision, place)
    network, card = load_weights(weights)
    if not isinstance(network, DAE) or card.noise_sigma is None or network.arguments["channels"] != 3:
        raise WeightsError(f"{card.path}: is no denoiser of RGB images ('dae' with 3 channels and a noise sigma)")
    network.requires_grad_(False).to(device=place, dtype=dtype)
    return MeanShift(functools.partial(_denoise, network.residual, place, dtype), card.noise_sigma)


@torch.no_grad()
def _denoise(residual: Callable[[Tensor], Tensor], device: torch.device, dtype: torch.dtype, noisy: Tensor) -> Tensor:
    """Z + f(z), the sum in the image's own precision and on its device, whatever the network's."""
    flat = noisy.reshape(-1, *noisy.shape[-3:])
    seen = flat.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    return (flat + residual(seen).to(noisy.device)).reshape(noisy.shape)
