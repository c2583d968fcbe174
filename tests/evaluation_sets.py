"""Small datasets for the tests of evaluation."""

from pathlib import Path

import torch
from torch import Tensor

from resharp.photo import Photo, write_photo
from tests.conftest import rand


def written(path: Path, image: Tensor, *, grey: bool = False, depth: int = 8) -> Path:
    write_photo(Photo(image.float(), grey=grey, depth=depth), path)
    return path


def spoiled(clean: Tensor, seed: int = 7) -> Tensor:
    """With noise, and rounded to 8 bits."""
    noise = rand(*clean.shape, seed=seed).to(clean) - 0.5
    return ((clean + 0.2 * noise).clamp(0, 1) * 255).round() / 255


def pairs_of(folder: Path, clean: Tensor, *, clean_depth: int = 8) -> Path:
    """`folder`/{blur,sharp}/0.png ... of images (N, 3, H, W)."""
    for number, image in enumerate(clean):
        written(folder / "sharp" / f"{number}.png", image, depth=clean_depth)
        written(folder / "blur" / f"{number}.png", spoiled(image, seed=number))
    return folder


def photos_of(folder: Path, images: Tensor) -> Path:
    """`folder`/0.png ... of images (N, 3, H, W)."""
    for number, image in enumerate(images):
        written(folder / f"{number}.png", image)
    return folder


def smooth(n: int, height: int, width: int) -> Tensor:
    """Pictures without fine structure, in 8-bit levels: (n, 3, height, width)."""
    coarse = torch.nn.functional.interpolate(rand(n, 3, 4, 5), size=(height, width), mode="bicubic", align_corners=True)
    return (coarse.clamp(0, 1) * 255).round().float() / 255
