"""Pixels that are lost: scratches, dust, writing over a photo."""

import torch
from torch import Tensor
from torch.nn import functional

from resharp.errors import ArgumentError

from .base import LinearDegradation


class Mask(LinearDegradation):
    """What is left of an image (..., C, H, W): lost pixels are 0 in the measurement, which is of the same size.

    lost: (H, W), true or above 1/2 where nothing is known of a pixel;  name: what messages call it.  Raises
    ArgumentError for another shape, where nothing is left, and for images of another size.
    """

    kept: Tensor
    is_exact = True

    def __init__(self, lost: Tensor, *, name: str = "the mask") -> None:
        super().__init__()
        self._name = name
        if lost.ndim != 2:
            raise ArgumentError(f"{name} has the shape {tuple(lost.shape)}; a mask is (height, width)")
        kept = (lost <= 0.5 if lost.is_floating_point() else lost == 0).float()
        if not kept.any():
            raise ArgumentError(f"{name} covers the whole photo; nothing is left to fill it from (white is filled)")
        self.register_buffer("kept", kept)

    @property
    def row_energy(self) -> float:
        """Over the whole frame."""
        return float(self.kept.mean())

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-2:] != self.kept.shape:
            height, width = self.kept.shape
            found = f"{image.shape[-1]}x{image.shape[-2]}"
            raise ArgumentError(f"{self._name} is {width}x{height}, the photo {found}; give one of the photo's size")
        return image * self.kept.to(image.dtype)

    def adjoint(self, measurement: Tensor) -> Tensor:
        return self.forward(measurement)

    def first_guess(self, measurement: Tensor) -> Tensor:
        """Lost pixels take the mean of what is known around them, of the smallest surroundings that hold any."""
        known = self.forward(measurement)
        flat, weight = known.reshape(-1, *known.shape[-3:]), self.kept.to(known.dtype)[None, None]
        guess, filled = flat, weight
        sums, counts, reach = flat, weight, 1
        while not bool(filled.all()):
            sums, counts = (_box(each, reach) for each in (sums, counts))
            new = (filled == 0) & (counts > 0)
            guess = torch.where(new, sums / counts.clamp_min(1e-12), guess)
            filled = torch.maximum(filled, new.to(filled))
            reach *= 2
        return guess.reshape(known.shape).clamp(0, 1)

    def _change_in_closed_form(self, misfit: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor:
        """Pixel by pixel."""
        weight = self.kept.to(misfit) if weight is None else weight * self.kept.to(misfit)
        return misfit * (weight / (weight + ratios)).nan_to_num(0)  # 0 / 0 has nothing to say


def _box(image: Tensor, reach: int) -> Tensor:
    """The mean over (2 reach + 1)^2 pixels, zeros beyond the frame."""
    rows = functional.avg_pool2d(image, (2 * reach + 1, 1), 1, (reach, 0))
    return functional.avg_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))
