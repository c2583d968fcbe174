"""Restoration by half-quadratic splitting: a least-squares step and a denoiser take turns while the noise level falls."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from resharp.degradations.light import checked_gamma, to_light, to_pixels
from resharp.errors import ArgumentError

from .mean_shift import OnStep, Step
from .noise_level import estimated_noise_sigma

LevelDenoiser = Callable[[Tensor, float], Tensor]
"""(noisy image (..., C, H, W), sigma on the [0, 1] scale) -> clean estimate of the same shape."""

HIGHEST = 49 / 255  # level of the first step, where a blurred photo still counts as a guess of the sharp one
LOWEST = 1 / 255  # of the last one, for photos without noise: rounding and an inexact kernel are noise, too
LAST_PER_NOISE = 1.5  # level of the last step against the photo's noise
PRIOR_WEIGHT = 0.35  # lambda: the denoiser's opinion against a photo that is as noisy
BEND = 1.0  # above 1, more of the steps stay at high levels
INJECTED = 0.5  # standard deviation of the noise that samples draw, against the level


class SolvableMap(Protocol):
    """What the solver asks of a degradation; see `resharp.degradations.LinearDegradation`."""

    def solve(
        self, measurement: Tensor, estimate: Tensor, ratio: float, *, weight: Tensor | None, tolerance: float
    ) -> Tensor: ...


@torch.no_grad()
def half_quadratic(
    measurement: Tensor,
    degradation: SolvableMap,
    denoiser: LevelDenoiser,
    initial: Tensor,
    *,
    noise_sigma: float | None = None,
    weight: Tensor | None = None,
    gamma: float = 1.0,
    n_iterations: int = 16,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Find the image behind y = A x + n by splitting prior and data (Geman and Yang 1995; Zhang et al., DPIR, 2021).

    At each of the levels s that `falling_levels` names, with n the noise of the photo,

        x <- argmin |A x - y|^2 + PRIOR_WEIGHT (n / s)^2 |x - z|^2,    z <- denoiser(x, s)

    The last z is the result.  measurement: (..., C, h, w);  initial: the first z, (..., C, H, W), the domain of A, left
    untouched;  returns that shape.  noise_sigma: from 0 to 1, one for all images of the batch, or None to estimate it.
    weight: as `degradation.solve` takes it, such as `unclipped`.  gamma: above 1, A acts on linear light, while all
    pictures, and the denoiser's, are pixel values.  generator: draws noise that the denoiser takes away again, for
    `mean_and_spread`.  `on_step` sees every iteration and stops the solver by returning False.
    Raises ArgumentError for a noise sigma or numbers of iterations that are none.
    """
    if noise_sigma is None:
        noise_sigma = float(estimated_noise_sigma(measurement, weight=weight).mean())
    levels = falling_levels(noise_sigma, n_iterations)
    light, image = to_light(measurement, checked_gamma(gamma)), initial
    for iteration, level in enumerate(levels, 1):
        ratio = PRIOR_WEIGHT * (max(noise_sigma, LOWEST) / level) ** 2
        fitted = degradation.solve(light, to_light(image, gamma), ratio, weight=weight, tolerance=0.01)
        image = _denoised(denoiser, to_pixels(fitted, gamma), level, generator)
        if on_step is not None and on_step(_step(iteration, image, ratio, noise_sigma)) is False:
            break
    return image


def falling_levels(noise_sigma: float, n_iterations: int) -> list[float]:
    """The denoiser's level at each iteration, from HIGHEST to LAST_PER_NOISE times the photo's noise, never rising."""
    if not 0 <= noise_sigma <= 1:  # also NaN
        raise ArgumentError(f"noise sigma is {noise_sigma:g}; it lies between 0 and 1, or is None to be estimated")
    if n_iterations < 1:
        raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, 16 are usual")
    last = LAST_PER_NOISE * max(noise_sigma, LOWEST)
    fall = math.log(max(HIGHEST, last) / last)
    return [last * math.exp(fall * (1 - (i / n_iterations) ** BEND)) for i in range(1, n_iterations + 1)]


def unclipped(measurement: Tensor, *, n_levels: int = 256) -> Tensor:
    """The weight that leaves clipped values out: 1, and 0 where a value of (..., C, h, w) in [0, 1] is black or white.

    n_levels: of the file that it came from.
    """
    return ((measurement > 0.5 / (n_levels - 1)) & (measurement < 1 - 0.5 / (n_levels - 1))).to(measurement)


def at_any_level(denoiser: Callable[[Tensor], Tensor], sigma: float) -> LevelDenoiser:
    """A denoiser that knows one level alone, `sigma`, made to serve at any: contrast goes up or down to meet it.

    Xu, Liu, Sun, Wohlberg, Kamilov 2020 (denoiser scaling).  With `dae-sigma11` on Kodak crops: 38.9 dB at 5 grey levels
    (36.3 if asked as it is), 31.4 at 25, 28.2 at 49.  Below a hundredth of `sigma` images come back as they are.
    """

    def denoise(noisy: Tensor, level: float) -> Tensor:
        return noisy if level < sigma / 100 else denoiser(noisy * (sigma / level)) * (level / sigma)

    return denoise


def mean_and_spread(restore: Callable[[torch.Generator], Tensor], n_samples: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per pixel over runs that differ in the noise which they draw: an image of the doubt.

    restore: such as `lambda generator: half_quadratic(..., generator=generator)`, run for the seeds from `seed` on.
    """
    if n_samples < 2:
        raise ArgumentError(f"{n_samples} samples; a spread needs at least 2, 8 are usual")
    runs = (restore(torch.Generator().manual_seed(seed + number)) for number in range(n_samples))
    mean = next(runs).clone()
    squares = torch.zeros_like(mean)
    for count, run in enumerate(runs, 2):  # Welford 1962: nothing is kept of a run but its share
        change = run - mean
        mean += change / count
        squares += change * (run - mean)
    return mean, (squares / (n_samples - 1)).sqrt()


def _denoised(denoiser: LevelDenoiser, image: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return denoiser(image, level)
    drawn = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
    return denoiser(torch.add(image, drawn.to(image.device), alpha=INJECTED * level), level * math.hypot(1, INJECTED))


def _step(iteration: int, image: Tensor, ratio: float, noise_sigma: float) -> Step:
    share, sigma = (image.new_full(image.shape[:-3], value) for value in (1 / (1 + ratio), noise_sigma))
    return Step(iteration, image, share, sigma)
