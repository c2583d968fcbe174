"""One photo through a restorer.  STAND-IN: written to the interface, replaced by the real one on merging."""

import dataclasses
from typing import Any

from resharp.photo import Photo

from .base import Progress, Restorer


def restore_photo(
    photo: Photo, restorer: Restorer, *, seed: int = 0, progress: Progress | None = None, **known: Any
) -> Photo:
    """The photo restored; of one with transparency the alpha plane is kept where the size is."""
    image = restorer(photo.image, seed=seed, progress=progress, **known).image
    return dataclasses.replace(photo, image=image.detach().float().cpu())
