"""A shaken photo made readable: its blur is found (`kernel_estimation`), then undone by a solver with a denoiser.

A small network that has seen photos beside what became of them may refine the result.  A photo in which no blur is
found comes back as it was.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from resharp.allocation import give_freed_memory_back
from resharp.degradations import BlurField, VaryingBlur, edge_padded, estimated_noise_sigma, without_margin
from resharp.degradations.light import to_light, to_pixels
from resharp.degradations.ranges import checked_seed
from resharp.errors import ArgumentError
from resharp.image import as_image
from resharp.kernel_estimation import FoundBlur, find_blur
from resharp.models import Contract
from resharp.solvers import Step, half_quadratic, unclipped
from resharp.tiling import n_tiles, run_at_places, smallest_side

from .around import mean_around
from .base import Progress, Restored, check_known, told
from .bayes import KERNEL_ERROR
from .memory import memory_named
from .network import NetworkDenoiser
from .smaller import LARGE, at_full_size, at_smaller_size, enlarged
from .tiled import TiledNetwork

N_ITERATIONS, N_FEWER = 3, 2
_FEWER_FROM = 2**19  # pixels; as good where kernels are found, exact ones are half a decibel behind (decisions/0013)
TOLERANCE = 3e-2  # of the least-squares steps; 1e-2 takes 1.7 times as many iterations for the same PSNR (19 photos)
_LEAST_NOISE = 0.01  # below, kernels and denoiser are no better
IN_DOUBT = 0.25  # `BlurField.doubt` from which on a photo is undone a second time, weakly, and both are mixed
WEAK_ERROR, WEAK_SHARE = 0.15, 0.4  # what its kernels are then taken to be wrong by, as noise, and its share
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
        small, field, its_noise = photo, blur, noise
        if not self._keeps_fitted:
            small, field, its_noise = at_smaller_size(photo, blur, noise)
        blurred = Blurred(small, field.degradation().to(photo.device), field.gamma, its_noise)
        facts["noise_sigma"] = max(KERNEL_ERROR, its_noise)
        is_mixed = blur.doubt >= IN_DOUBT and not self._keeps_fitted
        made = self._undone(blurred, (KERNEL_ERROR, WEAK_ERROR) if is_mixed else (KERNEL_ERROR,), progress)
        if _is_large(photo):
            give_freed_memory_back()
        if field is not blur:
            whole, trust = at_full_size(made[:3], small, photo, noise), enlarged(made[3:], blur.size).clamp(0, 1)
            made = torch.cat([whole, trust])
        maps = {"kernels": blur.kernels, "trust": made[3:4], **({"fitted": made[4:]} if self._keeps_fitted else {})}
        return Restored(made[:3], maps, facts)

    def _undone(self, blurred: "Blurred", errors: Sequence[float], progress: Progress | None) -> Tensor:
        """(4 or 7, H, W): the picture, the trust in it and what is kept of it; of a large photo in parts.  errors: what
        the kernels may be wrong by."""
        photo, halo = blurred.photo[None], max(blurred.operator.kernels.shape[2:]) + 2 * self.denoiser.halo
        side = max(PART, 2 * smallest_side(halo))
        n_steps = self._steps_for(photo)
        steps = _Steps(progress, n_steps, n_steps * len(errors) * n_tiles(photo, side=side, halo=halo))
        part = functools.partial(self._part, of=blurred, errors=errors, steps=steps)
        return run_at_places(part, photo, side=side, halo=halo)[0]

    def _steps_for(self, photo: Tensor) -> int:
        if self._n_iterations is not None:
            return self._n_iterations
        return N_FEWER if photo.shape[-2] * photo.shape[-1] >= _FEWER_FROM else N_ITERATIONS

    def _part(
        self, pixels: Tensor, rows: slice, columns: slice, *, of: "Blurred", errors: Sequence[float], steps: "_Steps"
    ) -> Tensor:
        """(1, 4 or 7, h, w) of the pixels (1, 3, h, w) there."""
        part, n_steps = of.at(pixels[0], rows, columns), self._steps_for(of.photo)
        restored, fitted = self._at_error(part, errors[0], n_steps, steps)
        for error in errors[1:]:
            restored.lerp_(self._at_error(part, error, n_steps, steps)[0], WEAK_SHARE)
        inner, trust = without_margin(restored, part.operator.margin), part.trust_in(restored)
        made = undone(inner, trust, fitted) if self._keeps_fitted else torch.cat([inner, trust])
        if _is_large(of.photo):
            give_freed_memory_back()  # the next part is of another size
        return made[None]

    def _at_error(self, of: "Blurred", error: float, n_steps: int, steps: "_Steps") -> tuple[Tensor, Tensor]:
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
            n_iterations=n_steps,
            tolerance=TOLERANCE,
            on_step=steps.done,
        ).clamp(0, 1)
        inner, fitted = without_margin(restored, margin), without_margin(steps.fitted(), margin).clamp(0, 1)
        if self._refiner is not None:
            planes = undone(inner, of.trust_in(restored), fitted)
            inner.copy_(self._refiner(of.photo, planes=planes).clamp(0, 1))
        return restored, fitted


@dataclasses.dataclass(frozen=True)
class Blurred:
    """A photo (3, H, W), its blur, which happened in pixel values ** gamma, and its noise; or a part of one."""

    photo: Tensor
    operator: VaryingBlur
    gamma: float
    noise_sigma: float

    def at(self, pixels: Tensor, rows: slice, columns: slice) -> "Blurred":
        """The part there, of these pixels (3, h, w)."""
        height, width = self.photo.shape[-2:]
        operator = self.operator.of_part(rows, columns, (height, width))
        return dataclasses.replace(self, photo=pixels, operator=operator)

    def trust_in(self, restored: Tensor) -> Tensor:
        """(1, H, W), see `trust_in`, of a restoration with its margin, (3, H + n - 1, W + n - 1)."""
        again = to_pixels(self.operator(to_light(restored, self.gamma)), self.gamma)
        return trust_in(self.photo, again, self.noise_sigma)


def _is_large(photo: Tensor) -> bool:
    return photo.shape[-2] * photo.shape[-1] >= LARGE


class _Steps:
    """Counts iterations of all parts, and tells of them."""

    def __init__(self, progress: Progress | None, n_iterations: int, total: int) -> None:
        self._progress, self._last, self._total, self._done = progress, n_iterations, total, 0
        self._fitted: Tensor | None = None

    def done(self, step: Step) -> None:
        """Raises StoppedError."""
        if step.iteration == self._last:
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


def trust_in(photo: Tensor, again: Tensor, noise_sigma: float) -> Tensor:
    """(1, H, W) in [0, 1]: the share of the misfit that noise explains, where a restoration is blurred again.

    photo, again: (3, H, W);  noise_sigma: of the photo.  The misfit is the mean square over `AROUND` pixels each way;
    clipped values that agree with the photo (`unclipped`) do not count.  1 where nothing contradicts, 1/4 at twice the
    noise; objects that move on their own and kernels that are wrong show as dark places, and fine texture a little,
    which denoisers smooth.
    """
    squares = ((photo - again) * unclipped(photo, again)).square().mean(0, keepdim=True)
    local = mean_around(squares)
    noise = max(_LEAST_NOISE, noise_sigma)
    return noise**2 / local.clamp(min=noise**2)
