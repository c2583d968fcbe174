"""How long the dataset doctor takes for a pair, and how much of it is decoding.

python benchmarks/doctor_speed.py [--pairs 40 --height 720 --width 1280]
"""

import os
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch

from resharp.data.doctor import examine
from resharp.data.listing import Item, Listing
from resharp.degradations import Blur, edge_padded, motion_kernel
from resharp.photo import Photo, read_photo, write_photo


def made_set(folder: Path, n_pairs: int, height: int, width: int) -> Listing:
    """Pairs of smooth noise under straight motion, as PNG."""
    items = []
    for index in range(n_pairs):
        generator = torch.Generator().manual_seed(index)
        coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
        clean = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0].clamp(0, 1)
        blur = Blur(motion_kernel(15, 40 * index))
        paths = folder / f"blur-{index}.png", folder / f"sharp-{index}.png"
        for path, image in zip(paths, (blur(edge_padded(clean, blur.margin)), clean), strict=True):
            write_photo(Photo(image), path)
        items.append(Item(*paths))
    return Listing(tuple(items), "pairs", paired=True)


@click.command()
@click.option("--pairs", "n_pairs", default=40, show_default=True)
@click.option("--height", default=720, show_default=True)
@click.option("--width", default=1280, show_default=True)
def main(n_pairs: int, height: int, width: int) -> None:
    """Print milliseconds per pair: decoding alone, then the whole examination with and without threads."""
    with tempfile.TemporaryDirectory() as name:
        listing = made_set(Path(name), n_pairs, height, width)
        started = time.perf_counter()
        for path in np.concatenate([listing.degraded, listing.clean]):
            read_photo(path)
        print(f"{n_pairs} pairs of {width}x{height}, milliseconds a pair")
        print(f"decoding alone  {1000 * (time.perf_counter() - started) / n_pairs:6.0f}")
        for workers in sorted({0, 1, 2, os.cpu_count() or 1}):
            started = time.perf_counter()
            findings = examine(listing, workers=workers)
            print(f"{workers:2} workers      {1000 * (time.perf_counter() - started) / n_pairs:6.0f}")
        print(f"{len(findings)} findings")


if __name__ == "__main__":
    main()
