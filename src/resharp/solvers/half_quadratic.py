"""Half-quadratic splitting: a least-squares step and a denoiser take turns while the noise level falls."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from resharp.degradations.light import WHITE, checked_gamma, to_light, to_pixels
from resharp.degradations.noise_level import estimated_noise_sigma
from resharp.device import sent
from resharp.errors import ArgumentError
from resharp.priors import Denoiser

from .mean_shift import OnStep, Step

Weigh = Callable[[Tensor, Tensor], Tensor]
"""(photo, what A makes of the present image), both (..., C, h, w) -> weights of the photo's values, 0 or more, or
whether they count at all."""

# Chosen on five blurred Kodak crops at noise of 2.55 and 10.2 grey levels, with `dae-sigma11` at any level.
HIGHEST = 49 / 255  # level of the first step, where a blurred photo still counts as a guess of the sharp one
LOWEST = 1 / 255  # least noise that is believed: rounding, and kernels that are not exact
LAST_PER_NOISE = 2.5  # level of the last step against the photo's noise
PRIOR_WEIGHT = 0.25  # lambda: the denoiser's opinion against a photo that is as noisy; 0.35 loses 0.1 dB, 0.15 two
BEND = 1.5  # above 1, more of the steps stay at high levels
FEWEST_STEPS = 5  # that a denoiser is asked which was learned within the solver
INJECTED = 0.5  # standard deviation of the noise that samples draw, as a share of the level's
TOLERANCE = (
    3e-4  # of the least-squares step; 1e-3 loses 0.2 dB, 1e-2 more than one, and parts then differ from the whole
)


class SolvableMap(Protocol):
    """What the solver asks of a degradation; see `resharp.degradations.LinearDegradation`."""

    def __call__(self, image: Tensor) -> Tensor: ...
    def solve(
        self,
        measurement: Tensor,
        estimate: Tensor,
        ratio: float,
        *,
        weight: Tensor | None,
        seen: Tensor,
        tolerance: float,
    ) -> Tensor: ...


def half_quadratic(
    measurement: Tensor,
    degradation: SolvableMap,
    denoiser: Denoiser,
    initial: Tensor,
    *,
    noise_sigma: float | None = None,
    guess_sigma: float | None = None,
    weigh: Weigh | None = None,
    gamma: float = 1.0,
    n_iterations: int = 16,
    tolerance: float = TOLERANCE,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Find the image behind y = A x + n by splitting prior and data (Geman and Yang 1995; Zhang et al., DPIR, 2021).

    At each of the levels s that `falling_levels` names, with n the noise of the photo,

        x <- argmin |A x - y|^2 + PRIOR_WEIGHT (n / s)^2 |x - z|^2,    z <- denoiser(x, s)

    The last z is the result.  measurement: (..., C, h, w);  initial: the first z, (..., C, H, W), the domain of A, left
    untouched;  returns that shape.  noise_sigma: from 0 to 1, one for all images of the batch, or None to estimate it.
    guess_sigma: how far `initial` is off, the level to begin with, None for that of a blurred photo.
    weigh: what each value of the photo counts, such as `unclipped`.  gamma: above 1, A acts on linear light, while all
    pictures, and the denoiser's, are pixel values.  generator: draws noise that the denoiser takes away again, for
    `mean_and_spread`.  tolerance: of the least-squares step, see `solve`.  `on_step` sees every iteration and stops the
    solver by returning False.  Gradients pass from the result to a denoiser that has some: under `torch.no_grad()`
    nothing is kept for them.

    Raises ArgumentError for a noise sigma or numbers of iterations that are none.
    """
    if noise_sigma is None:
        noise_sigma = min(1.0, float(estimated_noise_sigma(measurement).mean()))
    levels = falling_levels(noise_sigma, n_iterations, highest=guess_sigma or HIGHEST)
    image, belief = initial, max(noise_sigma, LOWEST)
    del initial  # which may be nobody else's
    light = to_light(measurement, checked_gamma(gamma))

    def fitted(image: Tensor, ratio: float) -> Tensor:  # apart, so that what it works with is gone before the denoiser
        start = to_light(image, gamma)
        with torch.no_grad():
            seen = degradation(start)
            weight = None if weigh is None else weigh(measurement, to_pixels(seen, gamma))
        found = degradation.solve(light, start, ratio, weight=weight, seen=seen, tolerance=tolerance)
        return to_pixels(found, gamma)

    for iteration, level in enumerate(levels, 1):
        ratio = PRIOR_WEIGHT * (belief / level) ** 2
        estimate = fitted(image, ratio)
        image = _denoised(denoiser, estimate, level, iteration, generator)
        if on_step is not None and on_step(_step(iteration, image, estimate, ratio, noise_sigma)) is False:
            break
        del estimate
    return image


def falling_levels(noise_sigma: float, n_iterations: int, *, highest: float = HIGHEST) -> list[float]:
    """The denoiser's level at each iteration, from the highest to LAST_PER_NOISE times the photo's noise or as far."""
    if not 0 <= noise_sigma <= 1:  # also NaN
        raise ArgumentError(f"noise sigma is {noise_sigma:g}; it lies between 0 and 1, or is None to be estimated")
    if n_iterations < 1:
        raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, 16 are usual")
    last = min(LAST_PER_NOISE * max(noise_sigma, LOWEST), highest)
    fall = math.log(highest / last)
    steps = max(1, n_iterations - 1)
    return [last * math.exp(fall * (1 - (i / steps) ** BEND)) for i in range(steps + 1)][-n_iterations:]


def steps_for(noise_sigma: float, most: int) -> int:
    """In how many iterations levels fall as steeply as in `most` at the least noise that is believed, `LOWEST`: fewer
    at more noise, where they do not fall as far, but 5 or `most`."""
    falls = [math.log(HIGHEST / min(HIGHEST, LAST_PER_NOISE * max(sigma, LOWEST))) for sigma in (noise_sigma, LOWEST)]
    return max(min(FEWEST_STEPS, most), round(1 + (most - 1) * falls[0] / falls[1]))


def unclipped(measurement: Tensor, predicted: Tensor) -> Tensor:
    """True, but for clipped values that the present image explains, brighter than a white one, darker than a black.

    A clipped value says nothing but "at least this much", so it counts as long as the image fails it.  Two pixels
    around go with it (near synthetic lamps, 19.4 dB against 18.8 with one, 16.8 if clipped values never count, and
    15.7 if all always do).  Clipped are values within half a level of 8 bits from 0 and 1.
    """
    white, black = measurement >= WHITE, measurement <= 1 - WHITE
    explained = (white & (predicted >= measurement)) | (black & (predicted <= measurement))
    for dim in (-2, -1):
        explained = _spread(_spread(explained, dim), dim)
    return ~explained


def _spread(mask: Tensor, dim: int) -> Tensor:
    """True also one pixel before and after, along an axis."""
    wider, inside = mask.clone(), mask.shape[dim] - 1
    wider.narrow(dim, 0, inside).logical_or_(mask.narrow(dim, 1, inside))
    wider.narrow(dim, 1, inside).logical_or_(mask.narrow(dim, 0, inside))
    return wider


def mean_and_spread(
    restore: Callable[[torch.Generator], Tensor], n_samples: int, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
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


def halo(kernel_size: tuple[int, int], denoiser_halo: int) -> int:
    """Pixels around a part of a photo that make its inside that of the whole, within 1e-3.

    Twice the longer side of the kernel and four times what the denoiser sees.  With a U-net that sees about 20 pixels,
    kernels of 7x9 and 35x25, noise of 2.55 and 10.2 grey levels: at 96 pixels 0.0005 and 0.0002 remain (RMS 4e-5 and
    2e-5), at 48 0.010 and 0.002.  Parts must begin where the whole's own denoiser steps do, and be given its noise.
    """
    return 2 * max(kernel_size) + 4 * denoiser_halo


def _denoised(
    denoiser: Denoiser, image: Tensor, level: float, iteration: int, generator: torch.Generator | None
) -> Tensor:
    if generator is not None:
        drawn = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
        image = torch.add(image, sent(drawn, image.device), alpha=INJECTED * level)
    return _turned_back(denoiser(_turned(image, iteration), level), iteration)


def _turned(image: Tensor, number: int) -> Tensor:
    """One of the eight positions of a square, so that a denoiser's habits cancel over the steps (+0.14 dB)."""
    turned = torch.rot90(image, number % 4, (-2, -1))
    return turned.flip(-1) if number % 8 >= 4 else turned


def _turned_back(turned: Tensor, number: int) -> Tensor:
    return torch.rot90(turned.flip(-1) if number % 8 >= 4 else turned, -(number % 4), (-2, -1))


def _step(iteration: int, image: Tensor, estimate: Tensor, ratio: float, noise_sigma: float) -> Step:
    share, sigma = (image.new_full(image.shape[:-3], value) for value in (1 / (1 + ratio), noise_sigma))
    return Step(iteration, image, share, sigma, estimate)
