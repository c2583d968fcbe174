"""What a denoiser that is learned within a solver is given: photos blurred by known kernels, undone in a few steps of
half-quadratic splitting, from end to end (Zhang, Van Gool, Timofte 2020, USRNet, arXiv 2003.10428).

The weights are the same in all steps, and levels and weights of the data those of the solver: what is learned is a
denoiser like any other, for what least-squares steps leave, their ringing above all, in place of white noise.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from resharp.degradations import Blur, without_margin
from resharp.degradations.kernels import disk_kernel, gaussian_kernel, motion_kernel
from resharp.degradations.shake import smooth_path
from resharp.degradations.trajectory import TrajectoryBlur, centred_psf
from resharp.device import sent
from resharp.priors import Denoiser
from resharp.restorers.bayes import KERNEL_ERROR
from resharp.solvers import half_quadratic

from .config import UnrolledRecipe

_TOLERANCE = 1e-3  # of least-squares steps; what that leaves is far less than what the denoiser is off


@dataclasses.dataclass(frozen=True)
class KnownBlur:
    """What is done to all photos of a batch: the blur, the one that the solver believes in, noise and what it is told
    of it, on the [0, 1] scale."""

    blur: Blur
    believed: Blur
    sigma: float
    told: float

    @classmethod
    def drawn(cls, wanted: UnrolledRecipe, seed: int) -> "KnownBlur":
        """Another one for each seed, on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        kernel = drawn_kernel(wanted.extent, generator)
        share, chance = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        low, high = wanted.noise_sigma
        sigma = low + (high - low) * share**2
        if chance >= wanted.mistaken:
            return cls(Blur(kernel), Blur(kernel), sigma, sigma)
        return cls(Blur(kernel), Blur(mistaken(kernel, generator)), sigma, max(sigma, KERNEL_ERROR))

    @torch.no_grad()
    def photos(self, clean: Tensor, seeds: Sequence[int]) -> Tensor:
        """The blurred ones of clean photos (N, C, H, W), the noise of each from a seed of its own: (N, C, h, w)."""
        blurred: Tensor = self.blur.to(clean.device)(clean)
        drawn = [torch.randn(blurred.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return blurred + self.sigma * sent(torch.stack(drawn), clean.device)

    def undone(self, photos: Tensor, denoiser: Denoiser, n_iterations: int) -> Tensor:
        """What the solver makes of blurred photos, of the same size."""
        believed = self.believed.to(photos.device)
        made = half_quadratic(
            photos,
            believed,
            denoiser,
            believed.first_guess(photos),
            noise_sigma=self.told,
            n_iterations=n_iterations,
            tolerance=_TOLERANCE,
        )
        return without_margin(made, believed.margin)

    def seen(self, clean: Tensor) -> Tensor:
        """What of clean photos the blurred ones show."""
        return without_margin(clean, self.blur.margin)


def drawn_kernel(extent: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A blur kernel (height, width), both odd, its longer side about of this extent: four of five are the way of a
    shaken camera, half of these DeblurGAN's, the others disks, Gaussians and straight lines."""
    kind, share, free = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    size = extent[0] + (extent[1] - extent[0]) * share
    if kind < 0.8:
        trajectory = TrajectoryBlur(length=1.0, anxiety=0.01 * free).trajectory(generator)
        path = trajectory if kind < 0.4 else smooth_path(len(trajectory), 2, generator)
        return centred_psf(path * ((size - 1) / (path.max(axis=0) - path.min(axis=0)).max()))
    if kind < 0.87:
        return gaussian_kernel(size / 9)
    if kind < 0.94:
        return disk_kernel(size / 2)
    return motion_kernel(size, 180 * free)


def mistaken(kernel: Tensor, generator: torch.Generator) -> Tensor:
    """A kernel (height, width) much as it is found in a photo: softer, and each value off by a third."""
    soft = Blur(gaussian_kernel(0.6), method="direct")
    softer: Tensor = soft(functional.pad(kernel, (soft.margin[1], soft.margin[1], soft.margin[0], soft.margin[0])))
    speckled = softer * (1 + 0.3 * torch.randn(softer.shape, generator=generator)).clamp(min=0)
    return speckled / speckled.sum()
