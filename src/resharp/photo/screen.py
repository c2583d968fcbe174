"""A photo as a browser shows it: what a person judges, and nothing beside it."""

import io

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from .content import Photo

MID_GREY = 0.5  # what transparent pixels lie on


def screen_photo(photo: Photo) -> Photo:
    """The same pixels in sRGB with 8 bits, transparency laid on mid-grey, without profile and metadata.

    A profile that cannot be read counts as none, as it does in browsers.
    """
    image = photo.image
    if photo.icc is not None:
        image = _in_srgb(image, photo.icc)
    if photo.alpha is not None:
        image = image * photo.alpha + MID_GREY * (1 - photo.alpha)
    return Photo(image)


def _in_srgb(image: Tensor, profile: bytes) -> Tensor:
    pixels = Image.fromarray(image.mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
    if profile[16:20] == b"GRAY":
        pixels = pixels.getchannel(0)
    try:
        shown = ImageCms.profileToProfile(
            pixels, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return image
    return torch.from_numpy(np.array(shown).astype(np.float32) / 255).permute(2, 0, 1)
