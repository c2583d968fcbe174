"""A shaken photo made readable: its blur is found (`kernel_estimation`), then undone by a solver with a denoiser.

A small network that has seen photos beside what became of them may refine the result.  A photo in which no blur is
found comes back as it was.
"""

from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations import BlurField, VaryingBlur, edge_padded, without_margin
from resharp.degradations.light import to_light, to_pixels
from resharp.degradations.ranges import checked_seed
from resharp.errors import ArgumentError
from resharp.image import as_image
from resharp.kernel_estimation import FoundBlur, find_blur
from resharp.models import Contract
from resharp.solvers import Step, estimated_noise_sigma, half_quadratic, unclipped

from .base import Progress, Restored, StoppedError, check_known
from .memory import memory_named
from .network import NetworkDenoiser
from .tiled import TiledNetwork

N_ITERATIONS = 3
TOLERANCE = 1e-2  # of the least-squares steps; kernels that were found are not worth a finer one
_AROUND = 8  # pixels over which misfits are judged
_LEAST_NOISE = 0.01  # below, kernels and denoiser are no better
KERNEL_ERRORS = (0.025, 0.05)  # noise that is believed at least: what kernels that were found are wrong by
MOST_EDGES = 12.0  # times the photo's edge energy; more may be ringing, and the next error is tried
DOUBTFUL = 0.6  # of `doubt`: kernels that are believed less from the beginning (6 photos: +0.6 dB; 6 just below: -1.4)
DOUBTFUL_ERROR = 0.1  # believed of those


@final
class BlindRestorer:
    """Deblurs images (..., 3, H, W) in [0, 1] whose blur is not known, by finding it.

    gamma: blur is looked for and undone in pixel values ** gamma, None: see `find_blur`;  largest: side in pixels of
    the largest kernel that is looked for, None to find that, too;  refiner: a network that takes (photo, undone), see
    `undone`, None for the solver's result as it is.
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
        n_iterations: int = N_ITERATIONS,
    ) -> None:
        if n_iterations < 1:
            raise ArgumentError(f"{n_iterations} iterations; at least 1 is needed, {N_ITERATIONS} are usual")
        self.denoiser, self._gamma, self._largest, self._n_iterations = denoiser, gamma, largest, n_iterations
        self._refiner = refiner

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """blur: a `BlurField` or `FoundBlur` that was found before, for images of one size.

        Raises ArgumentError, KernelError for the blur of another photo, ResourceError and StoppedError.  facts:
        `kernel`, the side of the kernels, `noise_sigma`, and, where little speaks for the blur, `doubtful`, that in
        words; or `untouched`, why the photo came back as it was.
        maps, of the first image: `kernels` and `trust`, see `trust_in`.
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
        blur = found.field
        if blur is None:
            return Restored(photo, facts={"untouched": found.reason})
        blur.check_fits(photo)
        operator = blur.degradation().to(photo.device)
        facts: dict[str, float | str] = {"kernel": blur.kernels.shape[-1]}
        if found.doubt >= DOUBTFUL:
            facts["doubtful"] = "deblurred weakly, as little speaks for the blur that was found; look at both"
        noise, most = float(estimated_noise_sigma(photo)), MOST_EDGES * edge_energy(photo)
        errors = KERNEL_ERRORS if found.doubt < DOUBTFUL else (DOUBTFUL_ERROR,)
        for attempt, error in enumerate(errors):
            restored = self._solved(photo, operator, blur.gamma, max(error, noise), attempt, facts, progress)
            if edge_energy(without_margin(restored, operator.margin)) <= most:
                break
        trust = trust_in(photo, seen_through(blur, operator, restored), noise)
        if self._refiner is not None:
            inner = without_margin(restored, operator.margin)
            inner.copy_(self._refiner(photo, planes=undone(inner, trust)).clamp(0, 1))
            trust = trust_in(photo, seen_through(blur, operator, restored), noise)
        maps = {"kernels": blur.kernels, "trust": trust}
        return Restored(without_margin(restored, operator.margin), maps, facts)

    def _solved(
        self,
        photo: Tensor,
        operator: VaryingBlur,
        gamma: float,
        noise_sigma: float,
        attempt: int,
        facts: dict[str, float | str],
        progress: Progress | None,
    ) -> Tensor:
        """The picture with its margin, in [0, 1];  noise_sigma: of the photo, and what its kernels are wrong by."""
        before, last = attempt * self._n_iterations, list[Step]()

        def on_step(step: Step) -> None:
            last[:] = [step]  # read once all are done: that waits for the device
            if progress is not None and progress(before + step.iteration, before + self._n_iterations) is False:
                raise StoppedError("stopped; no picture was made")

        restored = half_quadratic(
            photo,
            operator,
            self.denoiser.at_any_level,
            edge_padded(photo, operator.margin),
            noise_sigma=noise_sigma,
            weigh=unclipped,
            gamma=gamma,
            n_iterations=self._n_iterations,
            tolerance=TOLERANCE,
            on_step=on_step,
        ).clamp(0, 1)
        facts["noise_sigma"] = float(last[0].noise_sigma)
        return restored


def seen_through(blur: BlurField, operator: VaryingBlur, restored: Tensor) -> Tensor:
    """A picture with its margin (3, H + n - 1, W + n - 1), blurred in the values in which the blur happened."""
    return to_pixels(operator(to_light(restored, blur.gamma)), blur.gamma)


def undone(restored: Tensor, trust: Tensor) -> Tensor:
    """What a refiner takes beside the photo: (4, H, W), the solver's result (3, H, W) and the trust in it (1, H, W)."""
    return torch.cat([restored, trust.to(restored)])


def edge_energy(image: Tensor) -> float:
    """Mean square of the differences between neighbours of an image (3, H, W)."""
    return float(image.diff().square().mean() + image.diff(dim=-2).square().mean())


def trust_in(photo: Tensor, again: Tensor, noise_sigma: float) -> Tensor:
    """(1, H, W) in [0, 1]: the share of the misfit that noise explains, where a restoration is blurred again.

    photo, again: (3, H, W);  noise_sigma: of the photo.  The misfit is the mean square over `_AROUND` pixels each way;
    clipped values that agree with the photo (`unclipped`) do not count.  1 where nothing contradicts, 1/4 at twice the
    noise; objects that move on their own and kernels that are wrong show as dark places, and fine texture a little,
    which denoisers smooth.
    """
    squares = ((photo - again) * unclipped(photo, again)).square().mean(0, keepdim=True)
    local = functional.avg_pool2d(squares, 2 * _AROUND + 1, 1, _AROUND, count_include_pad=False)
    noise = max(_LEAST_NOISE, noise_sigma)
    return noise**2 / local.clamp(min=noise**2)
