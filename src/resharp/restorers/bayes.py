"""Bayesian restoration: a known degradation, a denoiser as the prior, and a solver that weighs them."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from resharp.degradations import (
    Blur,
    LinearDegradation,
    Mask,
    Mosaic,
    as_kernel,
    estimated_noise_sigma,
    without_margin,
)
from resharp.degradations.light import checked_gamma
from resharp.degradations.naming import largest_named
from resharp.degradations.ranges import checked_seed, checked_sigma
from resharp.device import free_memory
from resharp.errors import ArgumentError, KernelError, WeightsError
from resharp.image import as_image
from resharp.kernel_estimation import estimate_kernel
from resharp.kernel_estimation.view import NoBlurError
from resharp.models import DEFAULT_DENOISER, PUBLISHED_DENOISER, UNROLLED_DENOISER, Contract
from resharp.priors import MeanShift
from resharp.solvers import (
    Step,
    estimated,
    half_quadratic,
    known,
    mean_and_spread,
    mean_shift,
    steps_for,
    unclipped,
)
from resharp.solvers import halo as reach_of
from resharp.tiling import n_tiles, run_in_tiles, smallest_side

from .base import Progress, Restored, check_known, told
from .degrading import check_fits
from .memory import memory_named
from .network import NetworkDenoiser

_BYTES_PER_PIXEL = 160  # of the solver's own memory, beside that of the denoiser; measured
_NO_NOISE = 1 / 255  # what is told a solver of photos whose known pixels are kept as they are


Report = Callable[[int, Mapping[str, float | str | Tensor]], bool | None]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a solver is given: y = A x + n, where to begin, and what is known.

    measurement: (..., 3, h, w);  initial: (..., 3, H, W), the domain of A, made anew each time that it is asked for, so
    that nobody holds it longer than a solver does;  noise_sigma: None where it is to be estimated;  gamma: above 1, the
    degradation acts on linear light;  generator: of one of several samples;  report: hears (iteration, facts), which
    may be tensors, and stops the solver by returning False.
    """

    measurement: Tensor
    degradation: LinearDegradation
    noise_sigma: float | None
    seed: int
    gamma: float
    generator: torch.Generator | None  # of the noise that samples draw
    report: Report

    @property
    def initial(self) -> Tensor:
        return self.degradation.first_guess(self.measurement)

    def on_step(self, step: Step) -> bool | None:
        """What solvers call after each iteration."""
        found = {"noise_sigma": step.noise_sigma.mean(), "data_weight": step.data_weight.mean()}  # not waited for
        return self.report(step.iteration, {**found, "iterations": step.iteration})


Solver = Callable[[Problem, NetworkDenoiser, int], Tensor]
"""(problem, denoiser, n_iterations) -> image (..., 3, H, W)."""


def solve_dmsp(problem: Problem, denoiser: NetworkDenoiser, n_iterations: int) -> Tensor:
    """Deep Mean-Shift Priors as published (Bigdeli et al. 2017), with the prior at the denoiser's own or 11/255."""
    low, high = denoiser.levels
    sigma = min(max(11 / 255, low), high)
    noise = problem.noise_sigma
    weight = known(noise, sigma) if noise is not None else estimated(problem.degradation.row_energy, sigma)
    return mean_shift(
        problem.measurement,
        problem.degradation,
        MeanShift(denoiser, sigma),
        problem.initial,
        data_weight=weight,
        generator=torch.Generator().manual_seed(problem.seed),
        n_iterations=n_iterations,
        on_step=problem.on_step,
    )


def solve_half_quadratic(problem: Problem, denoiser: NetworkDenoiser, n_iterations: int) -> Tensor:
    """Half-quadratic splitting with falling noise levels; values that the sensor clipped are left out."""
    return half_quadratic(
        problem.measurement,
        problem.degradation,
        denoiser.at_any_level,
        problem.initial,
        noise_sigma=problem.noise_sigma,
        guess_sigma=problem.degradation.guess_sigma,
        weigh=unclipped,
        gamma=problem.gamma,
        n_iterations=n_iterations,
        generator=problem.generator,
        on_step=problem.on_step,
    )


SOLVERS: dict[str, tuple[Solver, int]] = {"half-quadratic": (solve_half_quadratic, 16), "dmsp": (solve_dmsp, 300)}
"""Each with its usual number of iterations, of denoisers that learned white noise alone."""
DEFAULT_SOLVER = "half-quadratic"
KERNEL_ERROR = 0.025  # what kernels that were found are wrong by, as noise (docs/decisions/0013)


def usual_denoiser(solver: str | Solver) -> str:
    """The name of the denoiser that a solver asks to undo blur if no other is named."""
    if solver in ("half-quadratic", solve_half_quadratic):
        return UNROLLED_DENOISER
    return PUBLISHED_DENOISER if solver in ("dmsp", solve_dmsp) else DEFAULT_DENOISER


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How a photo is restored: what was done to it, its noise, None where a solver estimates it, in how many steps."""

    operator: LinearDegradation
    noise_sigma: float | None
    n_iterations: int
    seed: int


@final
class BayesRestorer:
    """Restores what a known linear degradation did, blur by a kernel above all; images (..., 3, H, W) in [0, 1].

    degradation: what was done, or None to be told a kernel with each photo;  solver: a row of SOLVERS or a function as
    they are;  tile: side in pixels of the parts that photos are cut into, None for whole ones where memory allows.
    Only blur works in parts: they overlap by the kernel and by what the prior looks at, and differ from the whole by
    the little that evidence travels farther (measured: docs/decisions/0010).

    samples: so many runs that differ in noise which they draw; the image is their mean, `maps["spread"]` their standard
    deviation, which ranks errors weakly (docs/decisions/0013).

    Pixels whose light partly came from outside the frame are solved for like all others.  Raises ArgumentError for
    settings that hold for no photo.
    """

    def __init__(
        self,
        denoiser: NetworkDenoiser,
        *,
        degradation: LinearDegradation | None = None,
        solver: str | Solver = DEFAULT_SOLVER,
        n_iterations: int | None = None,
        noise_sigma: float | None = None,
        gamma: float = 1.0,
        tile: int | None = None,
        samples: int | None = None,
    ) -> None:
        if isinstance(solver, str) and solver not in SOLVERS:
            raise ArgumentError(f"solver {solver!r} is unknown; choose {', '.join(SOLVERS)}")
        self._solver, usual = SOLVERS[solver] if isinstance(solver, str) else (solver, 16)
        if denoiser.unrolled is not None and self._solver is solve_dmsp:
            raise ArgumentError(
                "this denoiser was learned within half-quadratic splitting; take another for the published iteration, "
                f"such as {PUBLISHED_DENOISER}, or leave the solver out"
            )
        is_blur = degradation is None or isinstance(degradation, Blur)
        is_known = is_blur and self._solver is solve_half_quadratic  # what a denoiser may be learned within
        self._most_steps = denoiser.unrolled if is_known and n_iterations is None else None
        self._n_iterations = usual if n_iterations is None else n_iterations
        if self._n_iterations < 1:
            usual = (denoiser.unrolled if is_known else None) or usual
            raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, {usual} are usual")
        check_noise(noise_sigma)
        if checked_gamma(gamma) != 1 and solver == "dmsp":
            raise ArgumentError(
                "the published iteration knows pixel values alone; leave gamma out, or take another solver"
            )
        if samples is not None and samples < 2:
            raise ArgumentError(f"{samples} samples; a spread needs at least 2, 8 are usual")
        self._samples = samples
        self.accepts: tuple[str, ...] = ("kernel", "noise_sigma") if degradation is None else ("noise_sigma",)
        self.denoiser, self._gamma = denoiser, gamma
        self.contract = Contract(*_task_of(degradation))
        self._degradation, self._noise_sigma, self._tile = degradation, noise_sigma, tile

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """kernel: the picture of a point of light, (height, width), both odd: tensor, array, or what `--kernel` takes;
        "estimate" finds it in the one photo, "estimate:31" with up to 31 pixels a side (`estimate_kernel`);
        noise_sigma: on the [0, 1] scale, None estimates it, at least `KERNEL_ERROR` beside a kernel that is found, or
        for a degradation that `is_exact` means none. A whole photo whose `progress` says stop is given as it is then;
        in parts there is none.

        Raises ArgumentError, KernelError, WeightsError, ResourceError or StoppedError; facts: noise_sigma, data_weight
        and iterations of the last step;  maps: kernel, of a blur, and the spread of samples.
        """
        check_known(known, self.accepts, name="this restorer")
        degraded = as_image(image).to(self.denoiser.device)
        operator = self._operator(known, degraded).to(degraded.device)
        noise_sigma = known.get("noise_sigma", self._noise_sigma)
        check_noise(noise_sigma)
        checked_seed(seed)
        if isinstance(operator, Blur):
            check_fits(operator, degraded)
        found: dict[str, float | str | Tensor] = {}
        with memory_named(degraded, degraded.device):
            plan = self._planned(degraded, operator, noise_sigma, seed, is_found=_is_found(known.get("kernel")))
            restored = self._solved(degraded, plan, progress, found)
        facts = {name: float(fact) if isinstance(fact, Tensor) else fact for name, fact in found.items()}
        if not bool(torch.isfinite(restored).all()):
            raise WeightsError("the denoiser's output is not finite; try --precision float32 or other weights")
        maps = {"kernel": operator.kernel} if isinstance(operator, Blur) else {}
        if self._samples is not None:
            restored, maps["spread"] = restored.chunk(2, -3)
        return Restored(restored.clamp(0, 1), maps, facts)

    def _operator(self, known: dict[str, Any], degraded: Tensor) -> LinearDegradation:
        if self._degradation is not None:
            return self._degradation
        if known.get("kernel") is None:
            raise KernelError("the kernel must be known; give kernel, the picture that a point of light leaves")
        largest = largest_named(known["kernel"])
        if largest is None:
            return Blur(as_kernel(known["kernel"]))
        if degraded.ndim > 3 and degraded.shape[:-3].numel() != 1:
            raise ArgumentError("a kernel is estimated of one photo at a time; give one, or name the kernel")
        photo = degraded.reshape(degraded.shape[-3:]).cpu()
        try:
            return Blur(estimate_kernel(photo, gamma=self._gamma, largest=largest or None))
        except NoBlurError as error:
            raise KernelError(f"{error}; name the kernel, such as motion:15,30, or leave the photo as it is") from None

    def _planned(
        self, degraded: Tensor, operator: LinearDegradation, noise_sigma: float | None, seed: int, *, is_found: bool
    ) -> _Plan:
        least = KERNEL_ERROR if is_found and self._solver is solve_half_quadratic else 0.0
        if noise_sigma is None and (least or self._most_steps is not None):
            noise_sigma = max(least, min(1.0, float(estimated_noise_sigma(degraded).mean())))
        if noise_sigma is None or self._most_steps is None:
            return _Plan(operator, noise_sigma, self._n_iterations, seed)
        return _Plan(operator, noise_sigma, steps_for(noise_sigma, self._most_steps), seed)

    def _solved(
        self, degraded: Tensor, plan: _Plan, progress: Progress | None, facts: dict[str, float | str | Tensor]
    ) -> Tensor:
        """Of the operator's domain, without what lies outside the frame, the spread of samples behind it; whole or in
        parts."""
        flat = degraded.reshape(-1, *degraded.shape[-3:])
        side, halo = self._parts(flat, plan.operator)
        if plan.noise_sigma is None and side < max(flat.shape[-2:]) and self._solver is solve_half_quadratic:
            of_whole = min(1.0, float(estimated_noise_sigma(flat).mean()))  # for all parts alike
            plan = dataclasses.replace(plan, noise_sigma=of_whole)
        n_parts = n_tiles(flat, side=side, halo=halo)
        part = itertools.count()

        def solve(measurement: Tensor) -> Tensor:
            before, n_runs, runs = next(part), self._samples or 1, itertools.count()

            def report(iteration: int, found: Mapping[str, float | str | Tensor]) -> bool | None:
                facts.update(found)
                run = before * n_runs + (next(runs) // plan.n_iterations)
                done, total = run * plan.n_iterations + iteration, n_parts * n_runs * plan.n_iterations
                if n_parts * n_runs > 1:
                    told(progress, done, total)
                    return None
                return None if progress is None else progress(done, total)

            return self._solver_on(measurement, plan, report)

        solved = run_in_tiles(solve, flat, side=side, halo=halo) if n_parts > 1 else solve(flat)
        return solved.reshape(*degraded.shape[:-3], *solved.shape[-3:])

    def _solver_on(self, measurement: Tensor, plan: _Plan, report: Report) -> Tensor:
        operator = plan.operator
        exact = plan.noise_sigma is None and operator.is_exact
        noise = _NO_NOISE if exact else plan.noise_sigma
        problem = Problem(measurement, operator, noise, plan.seed, self._gamma, None, report)

        def solved(generator: torch.Generator | None) -> Tensor:
            own = plan.seed if generator is None else generator.initial_seed()
            run = dataclasses.replace(problem, generator=generator, seed=own)
            image = self._solver(run, self.denoiser, plan.n_iterations)
            image = without_margin(image, operator.margin)
            return operator.solve(measurement, image, 0.0) if exact else image

        if self._samples is None:
            return solved(None)
        return torch.cat(mean_and_spread(solved, self._samples, seed=plan.seed), -3)

    def _parts(self, flat: Tensor, operator: LinearDegradation) -> tuple[int, int]:
        """(side, halo) of the parts of images (N, C, H, W)."""
        if not isinstance(operator, Blur):
            if self._tile is not None:
                raise ArgumentError("only blur is undone in parts; leave tile out")
            return max(flat.shape[-2:]), 0
        halo = reach_of((operator.kernel.shape[0], operator.kernel.shape[1]), self.denoiser.halo)
        least = smallest_side(halo)
        if self._tile is not None and self._tile < least:
            raise ArgumentError(f"tiles of {self._tile} pixels; with this kernel {least} are the least")
        if self._tile is not None:
            return self._tile, halo
        free = free_memory(flat.device)
        at_once = (free // 2 if free is not None else 4 << 30) // (_BYTES_PER_PIXEL * len(flat))
        whole = max(flat.shape[-2:])
        return (whole, halo) if flat.shape[-2] * flat.shape[-1] <= at_once else (max(least, math.isqrt(at_once)), halo)


def _is_found(kernel: Any) -> bool:
    """Whether the kernel is to be found in the photo."""
    return kernel is not None and largest_named(kernel) is not None


def _task_of(degradation: LinearDegradation | None) -> tuple[str, int]:
    """(task, scale) of undoing it."""
    for kind, task in ((Mosaic, "demosaic"), (Mask, "inpaint")):
        if isinstance(degradation, kind):
            return task, 1
    scale = 1 if degradation is None else degradation.shrinks_by
    return ("deblur" if scale == 1 else "upscale"), scale


def check_noise(noise_sigma: float | None) -> None:
    """Raises ArgumentError for a noise sigma that is none, and for 0."""
    if noise_sigma is not None and checked_sigma(noise_sigma) == 0:
        raise ArgumentError("noise sigma is 0; give the camera's noise, such as 0.005, or leave it out to estimate it")
