"""Folders of clean photos, as uint8 tensors (3, H, W) in sRGB."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.photo import SUFFIXES, read_photo


def photo_paths(folder: Path) -> list[Path]:
    """Every photo below `folder`, recursively, in the order of the paths.  Raises ArgumentError where there is none."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise ArgumentError(f"{folder}: no photos there ({', '.join(sorted(SUFFIXES))}); name a folder that holds some")
    return paths


def load_pixels(paths: Sequence[Path]) -> Iterator[Tensor]:
    """Each photo as uint8 (3, H, W): 212 megapixels of photos take 0.64 GB."""
    for path in paths:
        yield read_photo(path).image.mul(255).round_().to(torch.uint8)


def split_holdout(paths: Sequence[Path], n_holdout: int) -> tuple[list[Path], list[Path]]:
    """(training, held-out) paths; the held-out ones lie evenly spread over the order of names."""
    if not 0 <= n_holdout < len(paths):
        raise ArgumentError(f"cannot hold {n_holdout} of {len(paths)} photos out of the training")
    held = {round((i + 0.5) * len(paths) / n_holdout - 0.5) for i in range(n_holdout)}
    return [p for i, p in enumerate(paths) if i not in held], [p for i, p in enumerate(paths) if i in held]
