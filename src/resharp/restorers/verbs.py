"""One call from picture to picture, over the restorers."""

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resharp.degradations import Kernel, Mask, Mosaic
from resharp.errors import ArgumentError
from resharp.image import Picture, as_image, like_input
from resharp.models import BEST_DENOISER, DEFAULT_DEBLUR, DEFAULT_DENOISER, DEFAULT_UPSCALER

from .base import Progress, Restorer
from .bayes import DEFAULT_SOLVER, BayesRestorer, Solver, usual_denoiser
from .network import NetworkDenoiser
from .opening import open_denoiser, open_restorer
from .photos import restore_planes

Model = str | Path | nn.Module | Restorer


def restore(
    image: Picture, restorer: Restorer, *, seed: int = 0, progress: Progress | None = None, **known: Any
) -> Picture:
    """What a restorer makes of a picture, in the form in which it came.

    image: float tensor (..., C, H, W) in [0, 1], or an array (H, W[, C]), uint8, uint16 or float; C is 1 or 3.
    known: what the restorer can be told, see its `accepts`.  Raises what the restorer raises.
    """
    return like_input(restore_planes(as_image(image), restorer, seed=seed, progress=progress, **known).image, image)


def deblur(
    image: Picture,
    *,
    model: Model = DEFAULT_DEBLUR,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    samples: int | None = None,
    gamma: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Picture:
    """Sharpen a photo of which nothing else is known.

    image: as `restore` takes it;  model: by name or file, or what `open_restorer` made of it, once for many photos; it
    then has its device and settings already.  "blind" finds the blur and undoes it (`BlindRestorer`, whose `gamma` this
    is; a photo without blur comes back as it was), "blind-refined" has a network refine that; all others are networks
    alone.  tile, samples: see `NetworkRestorer`.

    Returns the restored image in the form of the input, the same size.  The same photo, seed and parts give the same
    picture.  Raises ArgumentError, WeightsError or ResourceError.
    """
    restorer = open_restorer(
        model, device=device, precision=precision, task=_task(model, "deblur"), tile=tile, samples=samples, gamma=gamma
    )
    return restore(image, restorer, seed=seed, progress=progress)


def denoise(
    image: Picture,
    noise_sigma: float | None = None,
    *,
    model: Model = BEST_DENOISER,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    progress: Progress | None = None,
) -> Picture:
    """Take white noise off a photo.  noise_sigma: on the [0, 1] scale, None to estimate it where the model takes it;
    else as `deblur`."""
    restorer = open_restorer(model, device=device, precision=precision, task=_task(model, "denoise"), tile=tile)
    known: dict[str, Any] = {} if noise_sigma is None else {"noise_sigma": noise_sigma}
    return restore(image, restorer, progress=progress, **known)


def upscale(
    image: Picture,
    *,
    model: Model = DEFAULT_UPSCALER,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    progress: Progress | None = None,
) -> Picture:
    """Make a small photo larger, by the model's scale; else as `deblur`."""
    restorer = open_restorer(model, device=device, precision=precision, task=_task(model, "upscale"), tile=tile)
    return restore(image, restorer, progress=progress)


def deconvolve(
    image: Picture,
    kernel: Kernel,
    noise_sigma: float | None = None,
    *,
    model: str | Path | NetworkDenoiser | None = None,
    solver: str | Solver = DEFAULT_SOLVER,
    n_iterations: int | None = None,
    gamma: float = 1.0,
    tile: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Picture:
    """Sharpen a photo whose blur kernel is known, with Deep Mean-Shift Priors.

    image: as `restore` takes it;  kernel: the picture of a point of light, (height, width), both odd: tensor, array, or
    what `--kernel` takes, "estimate:31" to have it found;  noise_sigma: standard deviation on the [0, 1] scale
    (0.01 = 2.55 grey levels), None to estimate it;  model: a denoiser by name or file, or what `open_denoiser` made of
    it, once for many photos, None for "denoiser-unrolled", or "dae-sigma11" of solver "dmsp", as published;
    solver: a row of SOLVERS, or a function as they are.

    Returns the restored image in the form of the input, the same size: pixels whose light partly came from outside the
    frame are solved for like all others.  The same seed gives the same picture.  Raises ArgumentError, KernelError,
    WeightsError or ResourceError.
    """
    denoiser = open_denoiser(usual_denoiser(solver) if model is None else model, device=device, precision=precision)
    restorer = BayesRestorer(denoiser, solver=solver, n_iterations=n_iterations, gamma=gamma, tile=tile)
    return restore(image, restorer, seed=seed, progress=progress, kernel=kernel, noise_sigma=noise_sigma)


def inpaint(
    image: Picture,
    lost: Tensor | NDArray[Any],
    noise_sigma: float | None = None,
    *,
    model: str | Path | NetworkDenoiser = DEFAULT_DENOISER,
    n_iterations: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Picture:
    """Fill scratches, dust and writing from what is around them; large holes become smooth.

    lost: (H, W), true or above 1/2 where a pixel is to be filled; of integers, whatever is not 0.  noise_sigma, model:
    as in `deconvolve`.  All other pixels keep their values, unless noise is told, which is then taken off.  Raises
    ArgumentError.
    """
    denoiser = open_denoiser(model, device=device, precision=precision)
    mask = Mask(torch.as_tensor(lost))
    restorer = BayesRestorer(denoiser, degradation=mask, noise_sigma=noise_sigma, n_iterations=n_iterations)
    return restore(image, restorer, progress=progress)


def demosaic(
    image: Picture,
    pattern: str = "RGGB",
    noise_sigma: float | None = None,
    *,
    model: str | Path | NetworkDenoiser = DEFAULT_DENOISER,
    n_iterations: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Picture:
    """The colours of what a sensor with a Bayer filter saw.

    image: one plane, (..., 1, H, W) or an array (H, W), in pixel values, not in linear light; of three, as others make
    them, the sensor's samples are taken;  pattern: the colours of its upper left pixels in rows;  noise_sigma: None
    keeps the samples as they are;  else as `deconvolve`.  Returns three channels.  Raises ArgumentError.
    """
    planes = as_image(image)
    raw = planes if planes.shape[-3] == 1 else Mosaic(pattern)(planes)
    denoiser = open_denoiser(model, device=device, precision=precision)
    restorer = BayesRestorer(denoiser, degradation=Mosaic(pattern), noise_sigma=noise_sigma, n_iterations=n_iterations)
    return like_input(restore_planes(raw, restorer, progress=progress).image, image)


def _task(model: Model, task: str) -> str | None:
    """What a model must be for; checked of an opened one, too.  Raises ArgumentError."""
    contract = getattr(model, "contract", None)
    if contract is not None and contract.task != task:
        raise ArgumentError(f"the restorer is for the task {contract.task!r}, not for {task!r}")
    return task
