"""The mean of a metric over many images."""

import math
from typing import Self

import torch
from torch import Tensor

from resharp.errors import ArgumentError


class Mean:
    """Mean over images, of which NaN are never part unnoticed.

    A metric is NaN where a method gave NaN.  As it stands such a value is refused; with skip_nan it is left out and
    counted in `n_skipped`.  Infinite values, such as the PSNR of equal images, make the mean infinite.
    """

    def __init__(self, *, skip_nan: bool = False) -> None:
        self.skip_nan, self.n_images, self.n_skipped, self._sum = skip_nan, 0, 0, 0.0

    def add(self, values: Tensor | float) -> Self:
        """Take the metric of one or several images.  Raises ArgumentError for NaN, and then takes none of them."""
        numbers = torch.as_tensor(values, dtype=torch.float64).reshape(-1).tolist()
        kept = [number for number in numbers if not math.isnan(number)]
        n_nan = len(numbers) - len(kept)
        if n_nan and not self.skip_nan:
            first = self.n_images + next(i for i, number in enumerate(numbers) if math.isnan(number)) + 1
            raise ArgumentError(f"the metric of image {first} is NaN; mend the image, or leave it out with skip_nan")
        self._sum = math.fsum([self._sum, *kept])
        self.n_images, self.n_skipped = self.n_images + len(kept), self.n_skipped + n_nan
        return self

    @property
    def value(self) -> float:
        """The mean so far.  Raises ArgumentError where no image was taken: the mean of none is no number."""
        if not self.n_images:
            skipped = f"; {self.n_skipped} were NaN" if self.n_skipped else ""
            raise ArgumentError(f"no image was measured, so there is no mean{skipped}")
        return self._sum / self.n_images
