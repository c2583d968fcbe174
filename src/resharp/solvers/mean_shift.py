"""Deep Mean-Shift Priors: Bayesian restoration with a denoiser (Bigdeli, Jin, Favaro, Zwicker, NIPS 2017)."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from resharp.errors import ArgumentError


class LinearMap(Protocol):
    """What the solver asks of a degradation; see `resharp.degradations.LinearDegradation`."""

    def __call__(self, image: Tensor) -> Tensor: ...
    def adjoint(self, measurement: Tensor) -> Tensor: ...


class DenoisingPrior(Protocol):
    """What the solver asks of a prior; see `resharp.priors.MeanShift`."""

    sigma: float

    def residual(self, image: Tensor, *, generator: torch.Generator) -> Tensor: ...


@dataclasses.dataclass(frozen=True)
class Step:
    """The state after one iteration, as `on_step` sees it."""

    iteration: int  # counts from 1
    image: Tensor  # (..., C, H, W); the solver's own memory: clone what you keep
    data_weight: Tensor  # (...,) w_t, the share of the data term in the step
    noise_sigma: Tensor  # (...,) given, or the running estimate sqrt(1 / lambda_t), on the [0, 1] scale
    fitted: Tensor | None = None  # half-quadratic splitting: what the denoiser made `image` of, (..., C, H, W)


OnStep = Callable[[Step], bool | None]

DataWeight = Callable[[Tensor], tuple[Tensor, Tensor]]
"""The misfit A x - y, (..., C, h, w) -> (the share w of the data term in the step, the noise sigma), one each an
image."""


@torch.no_grad()
def mean_shift(
    measurement: Tensor,
    degradation: LinearMap,
    prior: DenoisingPrior,
    initial: Tensor,
    *,
    data_weight: DataWeight,
    generator: torch.Generator,
    n_iterations: int = 300,
    step_size: float = 0.1,
    momentum: float = 0.9,
    on_step: OnStep | None = None,
) -> Tensor:
    """Find the image behind y = A x + n by gradient descent with momentum on the data term and the mean-shift prior.

    With the prior's residual x - r(x + eta), every iteration takes

        G = w A^T (A x - y) + (1 - w) (x - r(x + eta)),   v <- momentum v - step_size G,   x <- clip(x + v, 0, 1)

    measurement: (..., C, h, w);  initial: (..., C, H, W), the domain of A, left untouched;  returns that shape.
    data_weight: w, `known` for non-blind and `estimated` for noise-blind restoration.  `on_step` sees every iteration
    and stops the solver by returning False.  Raises ArgumentError for no iterations.
    """
    if n_iterations < 1:
        raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, 300 are usual")
    image = initial.clone()
    velocity = torch.zeros_like(image)
    for iteration in range(1, n_iterations + 1):
        misfit = degradation(image) - measurement
        weight, sigma = data_weight(misfit)
        share = weight[..., None, None, None]
        gradient = prior.residual(image, generator=generator).mul_(1 - share)
        gradient.addcmul_(share, degradation.adjoint(misfit))
        velocity.mul_(momentum).sub_(gradient, alpha=step_size)
        image.add_(velocity).clamp_(0, 1)
        if on_step is not None and on_step(Step(iteration, image, weight, sigma)) is False:
            break
    return image


def known(noise_sigma: float, prior_sigma: float) -> DataWeight:
    """The weight of noise of a known sigma: w = (1 / s^2) / (1 / s^2 + 1 / sigma^2) with the prior's sigma.

    Raises ArgumentError for a noise sigma that is not above 0 and up to 1.
    """
    if not 0 < noise_sigma <= 1:
        raise ArgumentError(f"noise sigma is {noise_sigma:g}; it lies above 0 and up to 1; `estimated` needs none")

    def weight(misfit: Tensor) -> tuple[Tensor, Tensor]:
        sigma = misfit.new_full(misfit.shape[:-3], noise_sigma)
        return prior_sigma**2 / (prior_sigma**2 + sigma**2), sigma

    return weight


def estimated(row_energy: float, prior_sigma: float) -> DataWeight:
    """The weight of noise that is estimated on the way (eq. 12); row_energy: of the degradation.

    The precision is lambda = N / (||A x - y||^2 + N 2 sigma^2 row_energy): twice the prior's variance, as in the
    authors' code, since the denoiser smooths once more what the noise has smoothed.  The estimate thus has a floor of
    sqrt(2 row_energy) sigma_prior and wants a wide blur.
    """

    def weight(misfit: Tensor) -> tuple[Tensor, Tensor]:
        mean_square = misfit.square().mean(dim=(-3, -2, -1))
        variance = mean_square + 2 * prior_sigma**2 * row_energy
        return prior_sigma**2 / (prior_sigma**2 + variance), variance.sqrt()

    return weight


def until_settled(tolerance: float, *, every: int = 10) -> OnStep:
    """An `on_step` that stops once `every` iterations together move the image by less than `tolerance` (RMS, [0, 1]).

    The prior is random, so single steps never settle; sums of ten do.
    """
    kept: list[Tensor] = []

    def stop(step: Step) -> bool:
        if step.iteration % every:
            return True
        if step.iteration == every:
            kept.clear()  # another image begins
        moved = float((step.image - kept[0]).square().mean().sqrt()) if kept else float("inf")
        kept[:] = [step.image.clone()]
        return moved >= tolerance

    return stop
