"""What a denoiser that is learned within a solver is given: photos blurred by known kernels, undone in a few steps of
half-quadratic splitting, from end to end (Zhang, Van Gool, Timofte 2020, USRNet, arXiv 2003.10428).

The weights are the same in all steps, and levels and weights of the data those of the solver: what is learned is a
denoiser like any other, for what least-squares steps leave, their ringing above all, in place of white noise.
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations import Blur, LinearDegradation, without_margin
from resharp.degradations.kernels import disk_kernel, gaussian_kernel, motion_kernel
from resharp.degradations.shake import smooth_path
from resharp.degradations.trajectory import TrajectoryBlur, centred_psf
from resharp.device import sent
from resharp.errors import KernelError
from resharp.priors import Denoiser
from resharp.solvers import half_quadratic, steps_for

from .config import UnrolledRecipe

_LEAST_SIGMA = 1e-4  # of noise whose logarithm is drawn


@dataclasses.dataclass(frozen=True)
class KnownBlur:
    """What is done to all photos of a batch: the blur, and noise on the [0, 1] scale."""

    blur: LinearDegradation
    sigma: float

    @classmethod
    def drawn(cls, wanted: UnrolledRecipe, seed: int) -> "KnownBlur":
        """Another one for each seed, on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        kernel = drawn_kernel(wanted.extent, generator)
        share, chance = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        low, high = (math.log(max(sigma, _LEAST_SIGMA)) for sigma in wanted.noise_sigma)
        blur = PeriodicBlur(kernel) if chance < wanted.periodic else Blur(kernel, method="fft")
        return cls(blur, math.exp(low + (high - low) * share))

    @torch.no_grad()
    def photos(self, clean: Tensor, seeds: Sequence[int]) -> Tensor:
        """The blurred ones of clean photos (N, C, H, W), the noise of each from a seed of its own: (N, C, h, w)."""
        blurred: Tensor = self.blur.to(clean.device)(clean)
        drawn = [torch.randn(blurred.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return blurred + self.sigma * sent(torch.stack(drawn), clean.device)

    def undone(self, photos: Tensor, denoiser: Denoiser, n_iterations: int) -> Tensor:
        """What the solver makes of blurred photos, of the same size.  n_iterations: at the least noise."""
        blur = self.blur.to(photos.device)
        made = half_quadratic(
            photos,
            blur,
            denoiser,
            blur.first_guess(photos),
            noise_sigma=self.sigma,
            n_iterations=steps_for(self.sigma, n_iterations),
        )
        return without_margin(made, blur.margin)

    def seen(self, clean: Tensor) -> Tensor:
        """What of clean photos the blurred ones show."""
        return without_margin(clean, self.blur.margin)


class PeriodicBlur(LinearDegradation):
    """Blur of images (..., H, W) that go on round their frame by a kernel, both sides odd, no larger than they are.

    Raises KernelError for smaller images.
    """

    kernel: Tensor

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel)

    def first_guess(self, measurement: Tensor) -> Tensor:
        return measurement.clamp(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self._filtered(image, self._spectrum(image))

    def adjoint(self, measurement: Tensor) -> Tensor:
        return self._filtered(measurement, self._spectrum(measurement).conj())

    def _change_in_closed_form(self, misfit: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor | None:
        if weight is not None:
            return None
        spectrum = self._spectrum(misfit)
        return self._filtered(misfit, spectrum.conj() / (spectrum.abs().square() + ratios).clamp(min=1e-6))

    def _spectrum(self, like: Tensor) -> Tensor:
        (kh, kw), (height, width) = self.kernel.shape, like.shape[-2:]
        if height < kh or width < kw:
            raise KernelError(f"the kernel ({kh}x{kw}) is larger than the image ({height}x{width})")
        placed = functional.pad(self.kernel.to(like), (0, width - kw, 0, height - kh))
        spectrum: Tensor = torch.fft.rfft2(placed.roll((-(kh // 2), -(kw // 2)), (0, 1)))
        return spectrum

    def _filtered(self, images: Tensor, gain: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=(height, width))
        return filtered


def drawn_kernel(extent: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A blur kernel (height, width), both odd, its longer side about of this extent, three of four in its lower
    half: four of five are the way of a shaken camera, half of these DeblurGAN's, the others disks, Gaussians and
    straight lines."""
    kind, share, free, is_small = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    size = extent[0] + (extent[1] - extent[0]) * share * (0.5 if is_small < 0.5 else 1.0)
    if kind < 0.8:
        trajectory = TrajectoryBlur(length=1.0, anxiety=0.01 * free).trajectory(generator)
        path = trajectory if kind < 0.4 else smooth_path(len(trajectory), 2, generator)
        return centred_psf(path * ((size - 1) / (path.max(axis=0) - path.min(axis=0)).max()))
    if kind < 0.87:
        return gaussian_kernel(size / 9)
    if kind < 0.94:
        return disk_kernel(size / 2)
    return motion_kernel(size, 180 * free)
