"""A photo through a restorer: the one place for grey, alpha, depth and a new size."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from resharp.degradations import Resize
from resharp.errors import ArgumentError
from resharp.image import as_image
from resharp.photo import Photo

from .base import Progress, Restored, Restorer


def restore_planes(
    planes: Tensor, restorer: Restorer, *, seed: int = 0, progress: Progress | None = None, **known: Any
) -> Restored:
    """Images (..., C, H, W) in [0, 1] with one channel or three through a restorer, which sees three; grey comes back
    grey, but for a mosaic, which is one plane that holds colours.  Raises what the restorer raises."""
    image = as_image(planes)
    if image.shape[-3] == 3 and restorer.contract.task == "demosaic":
        raise ArgumentError("it is a colour picture; a mosaic is one plane of grey")
    if image.shape[-3] == 3 or restorer.contract.task == "demosaic":
        return restorer(image, seed=seed, progress=progress, **known)
    restored = restorer(image.expand(*image.shape[:-3], 3, -1, -1), seed=seed, progress=progress, **known)
    return dataclasses.replace(restored, image=restored.image.mean(-3, keepdim=True))


def restore_photo(
    photo: Photo, restorer: Restorer, *, seed: int = 0, progress: Progress | None = None, **known: Any
) -> tuple[Photo, Restored]:
    """(the photo with everything beside its pixels kept, what the restorer gave).

    Its transparency is scaled along where the restorer gives another size; 16 bits stay 16.  Raises ArgumentError for
    what is no Photo, and what the restorer raises.
    """
    if not isinstance(photo, Photo):
        raise ArgumentError(
            f"restore_photo takes a Photo, as read_photo gives it, not a {type(photo).__name__}; "
            "restore_planes takes tensors"
        )
    restored = restore_planes(photo.planes, restorer, seed=seed, progress=progress, **known)
    alpha = photo.alpha
    if alpha is not None and alpha.shape != restored.image.shape[-2:]:
        height, width = restored.image.shape[-2:]
        with torch.no_grad():
            alpha = Resize((height, width))(alpha[None])[0].clamp(0, 1)
    return dataclasses.replace(photo, alpha=alpha).with_planes(restored.image), restored
