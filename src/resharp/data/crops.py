"""Square crops of clean photos with white noise, for denoisers: a pure function of (seed, index)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from resharp.errors import ArgumentError

from .synthesis import sample_generator


class CleanCrops:
    """Square crops of clean photos, drawn evenly over all pixels, with flips and quarter turns.

    photos: uint8 (3, H, W) each, at least `crop` pixels on either side.
    """

    def __init__(self, photos: Sequence[Tensor], crop: int) -> None:
        small = [tuple(photo.shape) for photo in photos if min(photo.shape[-2:]) < crop]
        if small:
            raise ArgumentError(
                f"{len(small)} of {len(photos)} photos are smaller than the crop of {crop} pixels, the first is "
                f"{small[0][-1]}x{small[0][-2]}; choose a smaller crop or leave them out"
            )
        self.photos = photos
        self.crop = crop
        self._ends = torch.tensor([photo.shape[-2] * photo.shape[-1] for photo in photos]).cumsum(0)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One crop, float32 (3, crop, crop) in [0, 1]."""
        pixel = torch.randint(int(self._ends[-1]), (1,), generator=generator)
        photo = self.photos[int(torch.searchsorted(self._ends, pixel, right=True))]
        height, width = photo.shape[-2:]
        top, left, turn = torch.randint(2**31, (3,), generator=generator).tolist()
        top, left = top % (height - self.crop + 1), left % (width - self.crop + 1)
        patch = photo[:, top : top + self.crop, left : left + self.crop].float().div_(255)
        patch = torch.rot90(patch, turn % 4, (-2, -1))
        return patch.flip(-1) if turn & 4 else patch


def noisy_batch(crops: CleanCrops, noise_sigma: float, *, seed: int, start: int, count: int) -> tuple[Tensor, Tensor]:
    """Samples start ... start + count - 1 of a run: (noisy, clean), each float32 (count, 3, crop, crop).

    noise_sigma is on the [0, 1] scale; the noisy crops are not clipped.
    """
    clean, noise = [], []
    for index in range(start, start + count):
        generator = sample_generator(seed, index)
        clean.append(crops.draw(generator))
        noise.append(torch.randn(clean[-1].shape, generator=generator))
    batch = torch.stack(clean)
    return batch + noise_sigma * torch.stack(noise), batch
