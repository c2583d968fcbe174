"""DMSP deblurring with several DAE weights on the same crops, kernels and noise: mean PSNR gain of each, both modes.

    python benchmarks/dmsp_quality.py PHOTOS KERNELS.mat --model dae-sigma11 --model OTHER [--crop 96]

The centre of every photo is blurred with every kernel of the file (noise 2.55 grey levels, y not rounded), restored,
rounded to uint8 and compared with the sharp centre over the region that the blurred crop shows.  Weights take turns
on each crop, so that a run cut short still compares like with like.
"""

import statistics
from pathlib import Path

import click
import torch
import tqdm

import resharp
from resharp.data.folders import photo_paths
from resharp.degradations import without_margin

NOISE_SIGMA = 2.55 / 255


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.argument("kernels")
@click.option("--model", "weights", multiple=True, required=True)
@click.option("--crop", default=96, show_default=True, help="Side of the blurred crop, in pixels.")
@click.option("--n-kernels", default=5, show_default=True)
@click.option("--n-photos", default=24, show_default=True)
@click.option("--iterations", default=300, show_default=True)
@click.option("--precision", default="auto", show_default=True)
def main(
    photos: Path,
    kernels: str,
    weights: tuple[str, ...],
    crop: int,
    n_kernels: int,
    n_photos: int,
    iterations: int,
    precision: str,
) -> None:
    """Print mean PSNR per mode and weights, and how often each set of weights is best."""
    paths = photo_paths(photos)
    chosen = [paths[round(i * (len(paths) - 1) / max(1, n_photos - 1))] for i in range(n_photos)]
    found: dict[tuple[str, str], list[float]] = {}
    before: list[float] = []
    for number in tqdm.trange(1, n_kernels + 1, unit="kernel"):
        blur = resharp.Blur(resharp.parse_kernel(f"{kernels}#{number}"))
        rows, columns = blur.margin
        crops = []
        for path in chosen:
            image = resharp.read_photo(path).image
            top = (image.shape[-2] - crop) // 2 - rows
            left = (image.shape[-1] - crop) // 2 - columns
            crops.append(image[:, top : top + crop + 2 * rows, left : left + crop + 2 * columns])
        clean = torch.stack(crops)
        inner = without_margin(clean, blur.margin)
        y = resharp.Noise(NOISE_SIGMA)(blur(clean), generator=torch.Generator().manual_seed(number))
        before += resharp.psnr(y, inner).tolist()
        for mode, sigma in (("non-blind", NOISE_SIGMA), ("noise-blind", None)):
            for name in weights:
                restored = resharp.deconvolve(
                    y, blur.kernel, sigma, n_iterations=iterations, model=name, precision=precision
                )
                rounded = (restored * 255).round() / 255
                found.setdefault((mode, name), []).extend(resharp.psnr(rounded, inner).tolist())
    print(f"{len(before)} pairs, {crop}x{crop}, blurred {statistics.mean(before):.3f} dB")
    for (mode, name), values in found.items():
        rivals = [other for (m, n), other in found.items() if m == mode and n != name]
        best = sum(all(v >= r[i] for r in rivals) for i, v in enumerate(values))
        print(f"{mode:<12}{Path(name).stem:<16}{statistics.mean(values):>8.3f} dB, best on {best} of {len(values)}")


if __name__ == "__main__":
    main()
