"""A shaken photo made readable: its blur is found (`kernel_estimation`), then undone by a solver with a denoiser.

A small network that has seen photos beside what became of them may refine the result.  A photo in which no blur is
found comes back as it was.
"""

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
from resharp.solvers import Step, half_quadratic, unclipped
from resharp.tiling import n_tiles, run_at_places, smallest_side

from .base import Progress, Restored, check_known, told
from .bayes import KERNEL_ERROR
from .blurred import Blurred
from .memory import memory_named
from .network import NetworkDenoiser
from .smaller import LARGE, at_full_size, at_half_size, at_smaller_size, enlarged, noise_left
from .tiled import TiledNetwork

N_ITERATIONS, N_FEWER = 3, 2
_FEWER_FROM = 2**19  # pixels; as good where kernels are found, exact ones are half a decibel behind (decisions/0013)
TOLERANCE = 3e-2  # of the least-squares steps; 1e-2 takes 1.7 times as many iterations for the same PSNR (19 photos)
IN_DOUBT = 0.25  # `BlurField.doubt` from which on a photo is undone a second time, weakly, and both are mixed
WEAK_ERROR, WEAK_SHARE = 0.15, 0.4  # what its kernels are then taken to be wrong by, as noise, and its share
_HALVED_FROM = 2**18  # pixels of a photo that is then undone at half its size, in a quarter of the time
DOUBTFUL = 0.6  # doubt from which on one ought to look at the result
PART = 2160  # pixels of a side: larger photos are undone in parts, for memory (docs/decisions/0013)


@final
class BlindRestorer:
    """Deblurs images (..., 3, H, W) in [0, 1] whose blur is not known, by finding it.

    gamma: blur is looked for and undone in pixel values ** gamma, None: see `find_blur`;  largest: side in pixels of
    the largest kernel that is looked for, None to find that, too;  refiner: a network that takes (photo, undone), see
    `undone`, None for the solver's result as it is;  n_iterations: of the solver, None for three, or two from half a
    megapixel on;  keeps_fitted: for training refiners, whether what the last denoising began from is a map;
    photos are undone at their own size then.
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
        keeps_fitted: bool = False,
    ) -> None:
        if n_iterations is not None and n_iterations < 1:
            raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, {N_ITERATIONS} are usual")
        self.denoiser, self._gamma, self._largest, self._n_iterations = denoiser, gamma, largest, n_iterations
        self._refiner, self._keeps_fitted = refiner, keeps_fitted

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """blur: a `BlurField` or `FoundBlur` that was found before, for images of one size.

        Raises ArgumentError, KernelError for the blur of another photo, ResourceError and StoppedError.  facts:
        `kernel`, the side of the kernels, `noise_sigma`, and, where little speaks for the blur, `doubtful`, that in
        words; or `untouched`, why the photo came back as it was.
        maps, of the first image: `kernels` and `trust`, see `trust_in`; and `fitted`, (3, H, W), if it is kept.
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
            facts["doubtful"] = "deblurred weakly, as little speaks for the blur that was found; look at both"
        noise = float(estimated_noise_sigma(photo))
        blurred = Blurred(photo, blur.degradation().to(photo.device), blur.gamma, noise)
        small = blurred if self._keeps_fitted else at_smaller_size(blurred)
        facts["noise_sigma"] = max(KERNEL_ERROR, small.noise_sigma)
        is_mixed = blur.doubt >= IN_DOUBT and not self._keeps_fitted
        made = self._undone(small, is_mixed=is_mixed, progress=progress)
        if _is_large(photo):
            give_freed_memory_back()
        if small is not blurred:
            whole, trust = at_full_size(made[:3], small.photo, photo, noise), enlarged(made[3:], blur.size).clamp(0, 1)
            made = torch.cat([whole, trust])
        maps = {"kernels": blur.kernels, "trust": made[3:4], **({"fitted": made[4:]} if self._keeps_fitted else {})}
        return Restored(made[:3], maps, facts)

    def _undone(self, blurred: Blurred, *, is_mixed: bool, progress: Progress | None) -> Tensor:
        """(4 or 7, H, W): the picture, the trust in it and what is kept of it; of a large photo in parts.  is_mixed:
        with what is made where kernels are believed to be wrong by more."""
        photo, halo = blurred.photo[None], max(blurred.operator.kernels.shape[2:]) + 2 * self.denoiser.halo
        side = max(PART, 2 * smallest_side(halo))
        n_steps = self._steps_for(photo)
        steps = _Steps(progress, n_steps, n_steps * (1 + is_mixed) * n_tiles(photo, side=side, halo=halo))
        part = functools.partial(self._part, of=blurred, is_mixed=is_mixed, steps=steps)
        return run_at_places(part, photo, side=side, halo=halo)[0]

    def _steps_for(self, photo: Tensor) -> int:
        if self._n_iterations is not None:
            return self._n_iterations
        return N_FEWER if photo.shape[-2] * photo.shape[-1] >= _FEWER_FROM else N_ITERATIONS

    def _part(
        self, pixels: Tensor, rows: slice, columns: slice, *, of: Blurred, is_mixed: bool, steps: "_Steps"
    ) -> Tensor:
        """(1, 4 or 7, h, w) of the pixels (1, 3, h, w) there."""
        part = of.at(pixels[0], rows, columns)
        restored, fitted = self._at_error(part, KERNEL_ERROR, steps)
        inner = without_margin(restored, part.operator.margin)
        if is_mixed:
            weak = at_half_size(part) if of.photo[0].numel() >= _HALVED_FROM else part
            error = noise_left(WEAK_ERROR, weak.photo.shape[-1] / part.photo.shape[-1])
            smooth = without_margin(self._at_error(weak, error, steps)[0], weak.operator.margin)
            inner.lerp_(enlarged(smooth, (inner.shape[-2], inner.shape[-1])).clamp(0, 1), WEAK_SHARE)
        trust = part.trust_in(restored)
        made = undone(inner, trust, fitted) if self._keeps_fitted else torch.cat([inner, trust])
        if _is_large(of.photo):
            give_freed_memory_back()  # the next part is of another size
        return made[None]

    def _at_error(self, of: Blurred, error: float, steps: "_Steps") -> tuple[Tensor, Tensor]:
        """The picture, refined, with its margin (3, h + n - 1, w + n - 1), and what the last denoising began from
        (3, h, w), where kernels are wrong by as much as this noise."""
        margin = of.operator.margin
        restored = half_quadratic(
            of.photo,
            of.operator,
            self.denoiser.at_any_level,
            edge_padded(of.photo, margin),
            noise_sigma=max(error, of.noise_sigma),
            weigh=unclipped,
            gamma=of.gamma,
            n_iterations=steps.n_iterations,
            tolerance=TOLERANCE,
            on_step=steps.done,
        ).clamp(0, 1)
        inner, fitted = without_margin(restored, margin), without_margin(steps.fitted(), margin).clamp(0, 1)
        if self._refiner is not None:
            planes = undone(inner, of.trust_in(restored), fitted)
            inner.copy_(self._refiner(of.photo, planes=planes).clamp(0, 1))
        return restored, fitted


def _is_large(photo: Tensor) -> bool:
    return photo.shape[-2] * photo.shape[-1] >= LARGE


class _Steps:
    """Counts iterations of all parts, and tells of them."""

    def __init__(self, progress: Progress | None, n_iterations: int, total: int) -> None:
        self.n_iterations, self._progress, self._total, self._done = n_iterations, progress, total, 0
        self._fitted: Tensor | None = None

    def done(self, step: Step) -> None:
        """Raises StoppedError."""
        if step.iteration == self.n_iterations:
            self._fitted = step.fitted
        self._done += 1
        told(self._progress, self._done, self._total)

    def fitted(self) -> Tensor:
        """What the last denoising began from, once."""
        fitted, self._fitted = self._fitted, None
        assert fitted is not None
        return fitted


def undone(restored: Tensor, trust: Tensor, fitted: Tensor) -> Tensor:
    """What a refiner takes beside the photo: (7, H, W), the solver's result (3, H, W), the trust in it (1, H, W), and
    what the last denoising began from (3, H, W): noisier, and with what the denoiser took for noise."""
    return torch.cat([restored, trust.to(restored), fitted])
