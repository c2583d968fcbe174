"""A photo and its blur, as it is undone."""

import dataclasses
from typing import Self

from torch import Tensor

from resharp.degradations import VaryingBlur
from resharp.degradations.light import to_light, to_pixels
from resharp.solvers import unclipped

from .around import mean_around

_LEAST_NOISE = 0.01  # below, kernels and denoiser are no better


@dataclasses.dataclass(frozen=True)
class Blurred:
    """A photo (3, H, W), its blur, which happened in pixel values ** gamma, and its noise; or a part of one.

    noise_left: of a photo at a smaller size than it is undone at otherwise, the share of white noise that it has left.
    """

    photo: Tensor
    operator: VaryingBlur
    gamma: float
    noise_sigma: float
    noise_left: float = 1.0

    def at(self, pixels: Tensor, rows: slice, columns: slice) -> Self:
        """The part there, of these pixels (3, h, w)."""
        height, width = self.photo.shape[-2:]
        operator = self.operator.of_part(rows, columns, (height, width))
        return dataclasses.replace(self, photo=pixels, operator=operator)

    def trust_in(self, restored: Tensor) -> Tensor:
        """(1, H, W), see `trust_in`, of a restoration with its margin, (3, H + n - 1, W + n - 1)."""
        again = to_pixels(self.operator(to_light(restored, self.gamma)), self.gamma)
        return trust_in(self.photo, again, self.noise_sigma)


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
