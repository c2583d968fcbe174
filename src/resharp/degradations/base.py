"""What happens to a clean image on its way to a photo: y = A x + n."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from resharp.errors import ArgumentError, KernelError

from .least_squares import Map, conjugate_gradients

Iterations = Callable[..., Tensor]
"""`conjugate_gradients` that knows when to end."""

PROBE_SIDES = (128, 256, 512, 1024, 2048, 4096)  # of test images; small ones are fast, large ones hold wide rows


class LinearDegradation(nn.Module):
    """A linear map A on images (..., C, H, W), with its exact transpose; `B @ A` means A first, then B."""

    is_exact: bool = False
    """Whether a measurement of unknown noise is taken as exact: one that samples the image and loses the rest."""

    guess_sigma: float | None = None
    """How far `first_guess` is off, as noise on the [0, 1] scale, where it is known to be near; else None."""

    @property
    def margin(self) -> tuple[int, int]:
        """Pixels (rows, columns) of the image on each side that lie outside the frame of the measurement."""
        return 0, 0

    @property
    def shrinks_by(self) -> int:
        """Pixels of the image, along an axis, for each of the measurement."""
        return 1

    def first_guess(self, measurement: Tensor) -> Tensor:
        """An image (..., C, H, W) in [0, 1] from which solvers begin."""
        return self.adjoint(measurement).clamp(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        """A x."""
        raise NotImplementedError

    def adjoint(self, measurement: Tensor) -> Tensor:
        """A^T y, the map with <A x, y> = <x, A^T y> for all x and y."""
        raise NotImplementedError

    @property
    def row_energy(self) -> float:
        """Mean over the measurements, away from the frame, of the squared norm of A's rows: white noise of variance v
        comes out with variance row_energy * v.  For a blur this is the sum of the squared kernel."""
        raise NotImplementedError

    def solve(
        self,
        measurement: Tensor,
        estimate: Tensor,
        ratio: float | Tensor,
        *,
        weight: Tensor | None = None,
        seen: Tensor | None = None,
        n_iterations: int = 40,
        tolerance: float = 1e-4,
    ) -> Tensor:
        """The x that minimises sum w (A x - y)^2 + ratio |x - estimate|^2, the data step of splitting methods.

        measurement: (..., c, h, w);  estimate: (..., C, H, W), the domain of A;  returns the latter's shape and type.
        ratio: 0 or more, one number or one per image (...);  0 gives a best fit near the estimate.  weight: w >= 0 of
        each measurement, broadcast to their shape, 0 for those to leave out; None for 1.  seen: A times the estimate,
        where that is known.  Closed form for mosaics and resizes without weights; else conjugate gradients from the
        estimate, up to `n_iterations` or until the gradient is `tolerance` times that at the estimate.  Half precision
        is solved in single.  Gradients pass to the estimate alone.
        """
        by = functools.partial(conjugate_gradients, n_iterations=n_iterations, tolerance=tolerance)
        if torch.is_grad_enabled() and estimate.requires_grad:
            solved: Tensor = _Solution.apply(estimate, measurement, self, ratio, weight, seen, by)  # type: ignore[no-untyped-call]
            return solved
        with torch.no_grad():
            return self._solved(measurement, estimate, ratio, weight, seen, by)

    def _solved(
        self,
        measurement: Tensor,
        estimate: Tensor,
        ratio: float | Tensor,
        weight: Tensor | None,
        seen: Tensor | None,
        by: Iterations,
    ) -> Tensor:
        """`solve`, by these iterations where there is no closed form, and without gradients."""
        exact = estimate.to(torch.promote_types(estimate.dtype, torch.float32))
        numbers = torch.as_tensor(ratio, dtype=exact.dtype)
        if not bool((numbers >= 0).all()):  # also NaN; a plain number asks no device
            raise ArgumentError(f"the ratio of a least-squares solution is {ratio}; it must be 0 or more")
        ratios = numbers.to(exact.device, non_blocking=True)[..., None, None, None]
        misfit = measurement.to(exact) - (self(exact) if seen is None else seen.to(exact))
        weight = None if weight is None else weight.to(exact)
        each = (one.shape[:-3] for one in (exact, misfit, ratios, weight) if one is not None and one.ndim > 3)
        leading = torch.broadcast_shapes(*each)  # type: ignore[no-untyped-call]
        exact, misfit = (one.expand(*leading, *one.shape[-3:]) for one in (exact, misfit))
        return (exact + self._change(exact, misfit, ratios, weight, by)).to(estimate.dtype)

    def _change(
        self,
        estimate: Tensor,
        misfit: Tensor,
        ratios: Tensor,
        weight: Tensor | None,
        conjugate_gradients: Iterations,
    ) -> Tensor:
        """(A^T w A + ratio)^-1 A^T w misfit.  ratios: (..., 1, 1, 1)."""
        target = self.adjoint(misfit if weight is None else weight * misfit)
        if target.shape != estimate.shape:
            raise ArgumentError("several sizes of images give this measurement; build the resize with image_size")
        change = self._change_in_closed_form(misfit, ratios, weight)
        if change is not None:
            return change
        return conjugate_gradients(
            lambda image: self._normal(image, ratios, weight),
            target,
            precondition=self._near_inverse(estimate, ratios, weight),
        )

    def _normal(self, image: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor:
        """(A^T w A + ratio) x."""
        seen = self(image)
        return torch.addcmul(self.adjoint(seen if weight is None else weight * seen), ratios, image)

    def _change_in_closed_form(self, misfit: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """The same where an operator knows it without iterations."""
        return None

    def _near_inverse(self, estimate: Tensor, ratios: Tensor, weight: Tensor | None) -> Map | None:  # noqa: ARG002
        """A symmetric map near (A^T w A + ratio)^-1 on images like `estimate`, where an operator knows one."""
        return None

    def __matmul__(self, first: "LinearDegradation") -> "LinearDegradation":
        return _Composition(self, first)


class _Solution(torch.autograd.Function):
    """`LinearDegradation.solve`, by the implicit function theorem: its derivative by the estimate is the symmetric map
    ratio (A^T w A + ratio)^-1, which another least-squares step with a measurement of 0 applies to a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        estimate: Tensor,
        measurement: Tensor,
        degradation: LinearDegradation,
        ratio: float | Tensor,
        weight: Tensor | None,
        seen: Tensor | None,
        by: Iterations,
    ) -> Tensor:
        ctx.degradation, ctx.ratio, ctx.weight, ctx.by = degradation, ratio, weight, by
        ctx.nothing = measurement.new_zeros(()).expand(measurement.shape)
        return degradation._solved(measurement, estimate, ratio, weight, seen, by)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pull = gradients[0].contiguous()
        return ctx.degradation._solved(ctx.nothing, pull, ctx.ratio, ctx.weight, None, ctx.by), *[None] * 6


class _Composition(LinearDegradation):
    def __init__(self, second: LinearDegradation, first: LinearDegradation) -> None:
        super().__init__()
        self.second = second
        self.first = first

    def forward(self, image: Tensor) -> Tensor:
        measurement: Tensor = self.second(self.first(image))
        return measurement

    def adjoint(self, measurement: Tensor) -> Tensor:
        return self.first.adjoint(self.second.adjoint(measurement))

    @property
    def margin(self) -> tuple[int, int]:
        rows, columns = (
            own + outer * self.first.shrinks_by
            for own, outer in zip(self.first.margin, self.second.margin, strict=True)
        )
        return rows, columns

    @property
    def shrinks_by(self) -> int:
        return self.first.shrinks_by * self.second.shrinks_by

    def first_guess(self, measurement: Tensor) -> Tensor:
        return self.first.first_guess(self.second.first_guess(measurement))

    @property
    def row_energy(self) -> float:
        """Measured: the mean over 12 x 12 rows spread over the frame of a test image, none of which touch.

        Exact where the rows repeat after 1, 2, 3, 4, 6 or 12 measurements, as those of blurs, mosaics and resizes by
        1/s and by such s do; an estimate where they do not (a resize by 0.37), and where they vary over the frame.
        Raises ArgumentError where rows reach over more than about 300 pixels or a part takes only images of one size.
        """
        for side in PROBE_SIDES:
            energy = self._energy_of_separate_rows(side)
            if energy is not None:
                return energy
        raise ArgumentError("the row energy of this composition cannot be measured: its rows are too wide")

    @torch.no_grad()
    def _energy_of_separate_rows(self, side: int) -> float | None:
        """Found on images of this side; None if they are too small for rows that do not touch."""
        try:
            probe = torch.zeros_like(self(torch.zeros(3, side, side, dtype=torch.float64)))
        except KernelError:  # of an image smaller than a kernel
            return None
        spacings = [_without_common_divisor(size // 13) for size in probe.shape[-2:]]
        if 0 in spacings:
            return None
        rows, columns = (slice(spacing, 12 * spacing + 1, spacing) for spacing in spacings)
        probe[..., rows, columns] = 1
        together = float(self.adjoint(probe).square().sum())
        signs = torch.randint(2, probe.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        apart = float(self.adjoint(probe * signs).square().sum())
        # Products of rows that touch change sign with them.
        return apart / float(probe.sum()) if math.isclose(together, apart, rel_tol=1e-6) else None


def _without_common_divisor(spacing: int) -> int:
    """The largest number up to `spacing` that shares no divisor with 12, so that steps of it meet all phases."""
    return next((n for n in range(spacing, 0, -1) if math.gcd(n, 12) == 1), 0)
