"""Deblurring with a known kernel, half-quadratic against the published mean-shift iteration: PSNR and seconds.

    python benchmarks/half_quadratic_quality.py PHOTOS KERNELS.mat [--kernel 1] [--noise 2.55] [--skip mean-shift]

Set-up as in dmsp_quality.py: the centre of every photo is blurred with every kernel, noise is added (grey levels, y not
rounded), and the restored centre, rounded to uint8, is compared over the region that the blurred crop shows.  Both
solvers ask the same denoiser, and take turns, so that a run cut short still compares like with like.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import torch
from torch import Tensor

import resharp
from resharp.data.folders import photo_paths
from resharp.degradations import Blur, without_margin
from resharp.degradations.noise_level import estimated_noise_sigma

Solve = Callable[[Tensor, Blur, float | None], Tensor]


def crops(paths: list[Path], margin: tuple[int, int], side: int) -> Iterator[Tensor]:
    """The middle of each photo, (3, side + 2 rows, side + 2 columns)."""
    for path in paths:
        image = resharp.read_photo(path).image
        top, left = ((n - side) // 2 - m for n, m in zip(image.shape[-2:], margin, strict=True))
        yield image[:, top : top + side + 2 * margin[0], left : left + side + 2 * margin[1]]


def solvers(model: str, precision: str, iterations: int | None) -> dict[str, Solve]:
    denoiser = resharp.open_denoiser(model, precision=precision)

    def splitting(y: Tensor, blur: Blur, sigma: float | None) -> Tensor:
        restored = resharp.deconvolve(y, blur.kernel, sigma, n_iterations=iterations, model=denoiser)
        assert isinstance(restored, Tensor)
        return restored

    published_denoiser = resharp.open_denoiser("dae-sigma11", precision=precision)

    def published(y: Tensor, blur: Blur, sigma: float | None) -> Tensor:
        restored = resharp.deconvolve(y, blur.kernel, sigma, model=published_denoiser, solver="dmsp")
        assert isinstance(restored, Tensor)
        return restored

    return {"half-quadratic": splitting, "mean-shift": published}


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.argument("kernels")
@click.option("--model", default="dae-sigma11", show_default=True, help="The denoiser of the half-quadratic solver.")
@click.option("--n-photos", default=6, show_default=True)
@click.option("--kernel", "numbers", multiple=True, type=int, default=(1, 2, 3, 4, 5), show_default=True)
@click.option("--noise", "noises", multiple=True, type=float, default=(2.55, 5.1, 7.65, 10.2), show_default=True)
@click.option("--mode", "modes", multiple=True, default=("non-blind", "noise-blind"), show_default=True)
@click.option("--skip", multiple=True, help="A solver not to run.")
@click.option("--crop", default=96, show_default=True, help="Side of the blurred crop, in pixels.")
@click.option(
    "--iterations", type=int, help="Of the half-quadratic solver.  [default: what the denoiser learned, or 16]"
)
@click.option("--precision", default="auto", show_default=True)
def main(
    photos: Path,
    kernels: str,
    model: str,
    n_photos: int,
    numbers: tuple[int, ...],
    noises: tuple[float, ...],
    modes: tuple[str, ...],
    skip: tuple[str, ...],
    crop: int,
    iterations: int | None,
    precision: str,
) -> None:
    """Print a row per kernel, noise, mode and solver, and the means."""
    paths = photo_paths(photos)
    chosen = [paths[round(i * (len(paths) - 1) / max(1, n_photos - 1))] for i in range(n_photos)]
    candidates = {name: solve for name, solve in solvers(model, precision, iterations).items() if name not in skip}
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for number, noise in itertools.product(numbers, noises):
        blur = resharp.Blur(resharp.parse_kernel(f"{kernels}#{number}"))
        clean = torch.stack(list(crops(chosen, blur.margin, crop)))
        inner = without_margin(clean, blur.margin)
        y = resharp.Noise(noise / 255)(blur(clean), generator=torch.Generator().manual_seed(number))
        estimates = [round(255 * sigma, 2) for sigma in estimated_noise_sigma(y).tolist()]
        print(f"kernel {number}, noise {noise:g}: found {min(estimates):g} to {max(estimates):g}", flush=True)
        for mode, (name, solve) in itertools.product(modes, candidates.items()):
            started = time.process_time()
            restored = solve(y, blur, noise / 255 if mode == "non-blind" else None)
            seconds = (time.process_time() - started) / n_photos
            values = resharp.psnr((restored.clamp(0, 1) * 255).round() / 255, inner).tolist()
            found[name].append(statistics.mean(values))
            print(f"  {mode:<12}{name:<16}{found[name][-1]:>8.3f} dB{seconds:>9.2f} s of processor", flush=True)
    for name, values in found.items():
        print(f"mean of {len(values)} cells: {name:<16}{statistics.mean(values):>8.3f} dB")


if __name__ == "__main__":
    main()
