"""The DMSP authors' published demo with their weights: PSNR after 10 and 300 iterations, several seeds.

    python benchmarks/dmsp_parity.py WEIGHTS PHOTO KERNEL [--seeds 3] [--iterations 10 --iterations 300]

WEIGHTS come from `resharp models import DAE_sigma11.mat --as dae -o WEIGHTS`.  Protocol of the authors' code: noise of
2.55 grey levels on the valid correlation with the kernel (so the kernel enters turned by 180 degrees), y neither
clipped nor rounded; result truncated to uint8; the photo's frame, half a kernel inside on each side, is not counted.
"""

import statistics

import click
import torch
from torch import Tensor

import resharp
from resharp.degradations import edge_padded, without_margin

SIGMA = 11 / 255
OFFICIAL = {
    (10, "non-blind"): 21.15,
    (10, "noise-blind"): 19.93,
    (300, "non-blind"): 25.58,
    (300, "noise-blind"): 25.17,
}


def authors_psnr(restored: Tensor, clean: Tensor) -> float:
    """Truncation to uint8, as numpy's cast does; RGB, dB."""
    return float(resharp.psnr((restored.clamp(0, 1) * 255).floor() / 255, clean))


@click.command()
@click.argument("weights")
@click.argument("photo")
@click.argument("kernel")
@click.option("--seeds", default=3, show_default=True)
@click.option("--iterations", "checkpoints", multiple=True, type=int, default=(10, 300), show_default=True)
@click.option("--precision", default="auto", show_default=True)
def main(weights: str, photo: str, kernel: str, seeds: int, checkpoints: tuple[int, ...], precision: str) -> None:
    """Print one row per mode and number of iterations."""
    clean = resharp.read_photo(photo).image
    turned = resharp.parse_kernel(kernel).flip(0, 1)
    blur = resharp.Blur(turned)
    inner = without_margin(clean, blur.margin)
    denoiser = resharp.open_denoiser(weights, precision=precision)
    for mode, noise_sigma in (("non-blind", 2.55 / 255), ("noise-blind", None)):
        found: dict[int, list[float]] = {n: [] for n in checkpoints}
        for seed in range(seeds):
            noise = resharp.Noise(2.55 / 255)
            y = noise(blur(clean), generator=torch.Generator().manual_seed(1000 + seed))

            def on_step(step: resharp.Step, found: dict[int, list[float]] = found) -> None:
                if step.iteration in found:
                    found[step.iteration].append(authors_psnr(without_margin(step.image, blur.margin), inner))

            energy = blur.row_energy
            resharp.mean_shift(
                y,
                blur,
                resharp.MeanShift(denoiser, SIGMA),
                edge_padded(y, blur.margin),
                data_weight=resharp.known(noise_sigma, SIGMA) if noise_sigma else resharp.estimated(energy, SIGMA),
                generator=torch.Generator().manual_seed(seed),
                n_iterations=max(checkpoints),
                on_step=on_step,
            )
        for n, values in found.items():
            spread = max(values) - min(values)
            official = OFFICIAL.get((n, mode))
            against = f", official {official:.2f} ({statistics.mean(values) - official:+.3f})" if official else ""
            print(
                f"{mode:<12}{n:>4} iterations: {statistics.mean(values):.3f} dB, spread {spread:.3f}{against}",
                flush=True,
            )


if __name__ == "__main__":
    main()
