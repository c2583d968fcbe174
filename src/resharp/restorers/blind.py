"""A shaken photo made readable: its blur is found (`kernel_estimation`), then undone by a solver with a denoiser.

A small network that has seen photos beside what became of them may refine the result.  A photo in which no blur is
found comes back as it was.
"""

import dataclasses
import functools
from typing import Any, final

import torch
from torch import Tensor

from resharp.allocation import give_freed_memory_back
from resharp.degradations import BlurField, edge_padded, estimated_noise_sigma, without_margin
from resharp.degradations.ranges import checked_seed
from resharp.errors import ArgumentError
from resharp.image import as_image
from resharp.kernel_estimation import FoundBlur, find_blur
from resharp.models import Contract
from resharp.networks import Refiner
from resharp.solvers import Step, half_quadratic, unclipped
from resharp.tiling import n_tiles, run_at_places, smallest_side

from .base import Progress, Restored, check_known, told
from .bayes import KERNEL_ERROR
from .blurred import Blurred
from .memory import memory_named
from .network import NetworkDenoiser
from .smaller import LARGE, at_full_size, at_half_size, at_smaller_size, enlarged
from .tiled import TiledNetwork

N_ITERATIONS = 3
_BEGUN_SMALL_FROM = 2**19  # pixels of a photo of which all iterations but the last are made at half its size
TOLERANCE = 3e-2  # of the least-squares steps; 1e-2 takes 1.7 times as many iterations for the same PSNR (19 photos)
IN_DOUBT = 0.25  # `BlurField.doubt` from which on a photo is undone a second time, weakly, and both are mixed
WEAK_ERROR, WEAK_SHARE = 0.15, 0.4  # what its kernels are then taken to be wrong by, as noise, and its share
_WEAK_AT_HALF_FROM = 2**18  # pixels of a photo that is undone weakly at half its size, in a quarter of the time
DOUBTFUL = 0.6  # doubt from which on one ought to look at the result
PART = 2160  # pixels of a side: larger photos are undone in parts, for memory (docs/decisions/0013)


@final
class BlindRestorer:
    """Deblurs images (..., 3, H, W) in [0, 1] whose blur is not known, by finding it.

    gamma: blur is looked for and undone in pixel values ** gamma, None: see `find_blur`;  largest: side in pixels of
    the largest kernel that is looked for, None to find that, too;  refiner: a network that takes (photo, undone), see
    `undone`, None for the solver's result as it is;  n_iterations: of the solver, None for three, of large photos two
    at half their size and one;  keeps_undone: for training refiners, whether what these are given of a photo, undone at
    its own size, is a map; nothing is mixed then.
    """

    contract = Contract("deblur")
    accepts: tuple[str, ...] = ("blur",)

    def __init__(
        self,
        denoiser: NetworkDenoiser,
        *,
        gamma: float | None = None,
        largest: int | None = None,
        refiner: TiledNetwork | None = None,
        n_iterations: int | None = None,
        keeps_undone: bool = False,
    ) -> None:
        if n_iterations is not None and n_iterations < 1:
            raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, {N_ITERATIONS} are usual")
        self.denoiser, self._gamma, self._largest, self._n_iterations = denoiser, gamma, largest, n_iterations
        self._refiner, self._keeps_undone = refiner, keeps_undone

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """blur: a `BlurField` or `FoundBlur` that was found before, for images of one size.

        Raises ArgumentError, KernelError for the blur of another photo, ResourceError and StoppedError.  facts:
        `kernel`, the side of the kernels, `noise_sigma`, and, where little speaks for the blur, `doubtful`, that in
        words; or `untouched`, why the photo came back as it was.
        maps, of the first image: `kernels` and `trust`, see `trust_in`; and, if it is kept, `undone` (7, H, W), see
        `undone`, and of kernels in doubt `undone_weakly`.
        """
        check_known(known, self.accepts, name="blind deblurring")
        checked_seed(seed)
        photo = as_image(image).to(self.denoiser.device)
        if photo.shape[-3] != 3:
            raise ArgumentError(f"a restorer takes RGB images (..., 3, H, W), not {tuple(photo.shape)}")
        flat = photo.reshape(-1, *photo.shape[-3:])
        with memory_named(photo, photo.device):
            made = [self._restored(one, known.get("blur"), progress) for one in flat]
        whole = torch.stack([one.image for one in made]).reshape(photo.shape)
        return Restored(whole, made[0].maps, made[0].facts)

    @torch.no_grad()
    def _restored(self, photo: Tensor, known: BlurField | FoundBlur | None, progress: Progress | None) -> Restored:
        """Of one image (3, H, W)."""
        found = FoundBlur(known) if isinstance(known, BlurField) else known
        if found is None:
            found = find_blur(photo.cpu(), gamma=self._gamma, largest=self._largest)
            if _is_large(photo):
                give_freed_memory_back()  # in pieces of each thread's, where nobody else would find it
        blur = found.field
        if blur is None:
            return Restored(photo, facts={"untouched": found.reason})
        blur.check_fits(photo)
        facts: dict[str, float | str] = {"kernel": blur.kernels.shape[-1]}
        if blur.doubt >= DOUBTFUL:
            facts["doubtful"] = "little speaks for the blur that was found; look at both"
        noise = float(estimated_noise_sigma(photo))
        blurred = Blurred(photo, blur.degradation().to(photo.device), blur.gamma, noise)
        small = blurred if self._keeps_undone else at_smaller_size(blurred)
        facts["noise_sigma"] = max(KERNEL_ERROR, small.noise_sigma)
        made = self._undone(small, self._plan(small.photo, blur.doubt), progress)
        if _is_large(photo):
            give_freed_memory_back()
        if small is not blurred:
            whole, trust = at_full_size(made[:3], small.photo, photo, noise), enlarged(made[3:], blur.size).clamp(0, 1)
            made = torch.cat([whole, trust])
        maps = {"kernels": blur.kernels, "trust": made[3:4]}
        if self._keeps_undone:
            maps |= dict(zip(("undone", "undone_weakly"), torch.split(made, Refiner.n_undone), strict=False))
        return Restored(made[:3], maps, facts)

    def _plan(self, photo: Tensor, doubt: float) -> "_Plan":
        count, n_pixels = self._n_iterations or N_ITERATIONS, photo[0].numel()
        is_mixed = doubt >= IN_DOUBT
        if self._keeps_undone:
            return _Plan(count, is_mixed=is_mixed)
        n_small = count - 1 if self._n_iterations is None and n_pixels >= _BEGUN_SMALL_FROM else 0
        return _Plan(count, n_small, is_mixed=is_mixed, weak_at_half=n_pixels >= _WEAK_AT_HALF_FROM)

    def _undone(self, blurred: Blurred, plan: "_Plan", progress: Progress | None) -> Tensor:
        """(4 or, if it is kept, 7 or 14, H, W): the picture, the trust in it, what is kept of it (`undone`), twice
        where it is undone weakly as well; of a large photo in parts."""
        photo, halo = blurred.photo[None], max(blurred.operator.kernels.shape[2:]) + 2 * self.denoiser.halo
        side = max(PART, 2 * smallest_side(halo))
        steps = _Steps(progress, plan.n_iterations * (1 + plan.is_mixed) * n_tiles(photo, side=side, halo=halo))
        part = functools.partial(self._part, of=blurred, plan=plan, steps=steps)
        return run_at_places(part, photo, side=side, halo=halo)[0]

    def _part(
        self, pixels: Tensor, rows: slice, columns: slice, *, of: Blurred, plan: "_Plan", steps: "_Steps"
    ) -> Tensor:
        """(1, 4, 7 or 14, h, w) of the pixels (1, 3, h, w) there."""
        part, size = of.at(pixels[0], rows, columns), (pixels.shape[-2], pixels.shape[-1])
        if self._keeps_undone:
            errors = (KERNEL_ERROR, WEAK_ERROR) if plan.is_mixed else (KERNEL_ERROR,)
            solved = (self._solved(part, error, part.photo, plan.n_iterations, steps) for error in errors)
            return torch.cat([self._planes(part, one, steps) for one in solved])[None]
        half = at_half_size(part) if plan.wants_half else part
        begun = self._begun(half, plan, size, steps) if plan.n_small else part.photo
        restored = self._refined(part, KERNEL_ERROR, begun, plan.n_iterations - plan.n_small, steps)
        del begun
        inner = without_margin(restored, part.operator.margin)
        if plan.is_mixed:
            weakly = half if plan.weak_at_half else part
            smooth = self._refined(weakly, WEAK_ERROR, weakly.photo, plan.n_iterations, steps)
            weak = enlarged(without_margin(smooth, weakly.operator.margin), size).clamp(0, 1)
            inner.lerp_(weak, WEAK_SHARE)
        made = torch.cat([inner, part.trust_in(restored)])
        if _is_large(of.photo):
            give_freed_memory_back()  # the next part is of another size
        return made[None]

    def _begun(self, half: Blurred, plan: "_Plan", size: tuple[int, int], steps: "_Steps") -> Tensor:
        """(3, h, w): what the first iterations make of a photo at half its size."""
        smooth = self._solved(half, KERNEL_ERROR, half.photo, plan.n_iterations, steps, until=plan.n_small)
        return enlarged(without_margin(smooth, half.operator.margin), size).clamp(0, 1)

    def _refined(self, of: Blurred, error: float, begun: Tensor, n_iterations: int, steps: "_Steps") -> Tensor:
        """What `_solved` gives, refined."""
        restored = self._solved(of, error, begun, n_iterations, steps)
        if self._refiner is not None:
            refined = self._refiner(of.photo, planes=self._planes(of, restored, steps))
            without_margin(restored, of.operator.margin).copy_(refined.clamp(0, 1))
        return restored

    def _planes(self, of: Blurred, restored: Tensor, steps: "_Steps") -> Tensor:
        """(7, h, w), see `undone`, of what `_solved` gave just now."""
        inner, fitted = (without_margin(one, of.operator.margin) for one in (restored, steps.fitted()))
        return undone(inner, of.trust_in(restored), fitted.clamp(0, 1))

    def _solved(
        self, of: Blurred, error: float, begun: Tensor, n_iterations: int, steps: "_Steps", until: int | None = None
    ) -> Tensor:
        """The picture with its margin (3, h + n - 1, w + n - 1).  error: what kernels are wrong by, as noise of the
        whole photo;  begun: (3, h, w), the first guess;  until: the iteration to stop after."""
        return half_quadratic(
            of.photo,
            of.operator,
            self.denoiser.at_any_level,
            edge_padded(begun, of.operator.margin),
            noise_sigma=max(of.noise_left * error, of.noise_sigma),
            weigh=unclipped,
            gamma=of.gamma,
            n_iterations=n_iterations,
            tolerance=TOLERANCE,
            on_step=functools.partial(steps.done, last=n_iterations if until is None else until),
        ).clamp(0, 1)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How a photo is undone: the first `n_small` iterations at half its size;  is_mixed: weakly as well, at half its
    size perhaps."""

    n_iterations: int
    n_small: int = 0
    is_mixed: bool = False
    weak_at_half: bool = False

    @property
    def wants_half(self) -> bool:
        return self.n_small > 0 or (self.is_mixed and self.weak_at_half)


def _is_large(photo: Tensor) -> bool:
    return photo.shape[-2] * photo.shape[-1] >= LARGE


class _Steps:
    """Counts iterations of all parts, and tells of them."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._fitted: Tensor | None = None

    def done(self, step: Step, last: int) -> bool:
        """Whether to go on.  Raises StoppedError."""
        if step.iteration == last:
            self._fitted = step.fitted
        self._done += 1
        told(self._progress, self._done, self._total)
        return step.iteration != last

    def fitted(self) -> Tensor:
        """What the last denoising began from, once."""
        fitted, self._fitted = self._fitted, None
        assert fitted is not None
        return fitted


def undone(restored: Tensor, trust: Tensor, fitted: Tensor) -> Tensor:
    """What a refiner takes beside the photo: (7, H, W), the solver's result (3, H, W), the trust in it (1, H, W), and
    what the last denoising began from (3, H, W): noisier, and with what the denoiser took for noise."""
    return torch.cat([restored, trust.to(restored), fitted])
