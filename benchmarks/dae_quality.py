"""Denoising quality of denoisers at 11/255, or the nearest of their levels: mean PSNR over a folder of photos.

    python benchmarks/dae_quality.py KODAK [--model NAME|FILE ...]

Float32; noise from a seeded generator, one seed per photo; output clipped to [0, 1], not rounded, no border cropped.
"""

from pathlib import Path

import click
import torch

from resharp.data.folders import photo_paths
from resharp.metrics import psnr
from resharp.photo import read_photo
from resharp.restorers import open_denoiser


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--model", "weights", multiple=True, default=["dae-sigma11"], show_default=True)
@click.option("--precision", default="float32", show_default=True)
def main(folder: Path, weights: tuple[str, ...], precision: str) -> None:
    """Print one row per set of weights."""
    paths = photo_paths(folder)
    for name in weights:
        denoise = open_denoiser(name, precision=precision)
        sigma = min(max(11 / 255, denoise.levels[0]), denoise.levels[1])
        before, after = [], []
        for index, path in enumerate(paths):
            clean = read_photo(path).image
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(index))
            noisy = clean + sigma * noise
            before.append(float(psnr(noisy, clean)))
            after.append(float(psnr(denoise(noisy, sigma).clamp(0, 1), clean)))
        mean_before, mean_after = (sum(values) / len(values) for values in (before, after))
        print(f"{name}: {len(paths)} photos, noisy {mean_before:.3f} dB, denoised {mean_after:.3f} dB ({precision})")


if __name__ == "__main__":
    main()
