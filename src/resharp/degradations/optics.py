"""Blur by the lens, as values that can be written down: a kernel that is known, defocus, a Gaussian.

The frame keeps its size and is mirrored at its border; gamma other than 1 blurs linear light.  Nothing is drawn.
"""

import dataclasses
from typing import Annotated

import torch
from torch import Tensor

from resharp.errors import KernelError

from .arguments import checked_image
from .blur import blurred
from .kernels import as_kernel, disk_kernel, gaussian_kernel
from .light import Gamma, checked_gamma
from .naming import names_shape

Rows = tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class KernelBlur:
    """Blur by one kernel.  `gaussian:1.6`, `disk:3`, `motion:15,30`, a file, or its rows of numbers, both sides odd.

    A file is read here, once, and kept as rows: what was written down does not change with the file.
    """

    kernel: Annotated[str | Rows, "gaussian:1.6, disk:3, motion:15,30, or a PNG, .npy or .mat file."] = "motion:15,30"
    gamma: Gamma = 1.0

    def __post_init__(self) -> None:
        checked_gamma(self.gamma)
        kernel = self.point_spread()
        if not (isinstance(self.kernel, str) and names_shape(self.kernel)):
            object.__setattr__(self, "kernel", tuple(tuple(row) for row in kernel.tolist()))

    def point_spread(self) -> Tensor:
        """The kernel (height, width).  Raises KernelError."""
        if isinstance(self.kernel, str):
            return as_kernel(self.kernel)
        try:
            kernel = torch.as_tensor(self.kernel)
        except (TypeError, ValueError, RuntimeError):
            raise KernelError("kernel: is no rows of numbers, all of one length") from None
        return as_kernel(kernel)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) in [0, 1], blurred, the same size."""
        del generator
        return blurred(checked_image(image), self.point_spread(), gamma=self.gamma)


@dataclasses.dataclass(frozen=True)
class Defocus:
    """A lens out of focus: light spread over a disk.  By default in linear light."""

    radius: Annotated[float, "Of the disk that a point becomes, in pixels."] = 3.0
    gamma: Gamma = 2.2

    def __post_init__(self) -> None:
        checked_gamma(self.gamma)
        self.point_spread()

    def point_spread(self) -> Tensor:
        """The kernel (height, width).  Raises KernelError."""
        return disk_kernel(self.radius)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) in [0, 1], blurred, the same size."""
        del generator
        return blurred(checked_image(image), self.point_spread(), gamma=self.gamma)


@dataclasses.dataclass(frozen=True)
class GaussianBlur:
    """Blur by a Gaussian, isotropic or not."""

    sigma: Annotated[float, "Along the angle, in pixels."] = 1.6
    sigma_across: Annotated[float | None, "Across it.  [default: the same]"] = None
    angle: Annotated[float, "In degrees, 0 to the right, counter-clockwise."] = 0.0
    gamma: Gamma = 1.0

    def __post_init__(self) -> None:
        checked_gamma(self.gamma)
        self.point_spread()

    def point_spread(self) -> Tensor:
        """The kernel (height, width).  Raises KernelError."""
        return gaussian_kernel(self.sigma, self.sigma_across, self.angle)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) in [0, 1], blurred, the same size."""
        del generator
        return blurred(checked_image(image), self.point_spread(), gamma=self.gamma)
