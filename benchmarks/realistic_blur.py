"""Whether a BGAN's blur is like that of really blurred photos, and what a deblurrer gains by learning from it.

    python benchmarks/realistic_blur.py --sharp FOLDER --real FOLDER --bgan FILE [--n 200] [--features FILE]
    python benchmarks/realistic_blur.py --pairs FOLDER ... --model without.safetensors --model with.safetensors

The first compares windows of 192 pixels: of sharp photos, of what the BGAN makes of the same ones (a seed for each),
and of photos of the real domain. "to real" are distances from the real ones, of which the last row has those of one
half of them to the other. gradient: mean |difference of neighbours|, and the earth mover's distance between the
distributions of its logarithm; kernel: `kernel_estimation`'s kernel of each window, its radius (root mean square,
pixels) and how many times longer than wide it is, mean and spread, and the earth mover's distance between the
distributions of the radius; features: maximum mean discrepancy (cubic kernel) of SqueezeNet's fire9, means over the
window, x 1000. content: PSNR of what was made to its sharp photo, both at an eighth of the size, and the shift of
each colour in grey levels. The second prints PSNR and SSIM of each model on folders with blur/ and sharp/.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.nn import functional

import resharp
from resharp.data.folders import photo_paths
from resharp.degradations import Realistic
from resharp.kernel_estimation import estimate_kernels
from resharp.metrics import psnr, ssim
from resharp.models import load_features

SIDE = 192
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


@click.command()
@click.option("--sharp", type=click.Path(path_type=Path, exists=True))
@click.option("--real", type=click.Path(path_type=Path, exists=True))
@click.option("--bgan")
@click.option("--n", "count", default=200, show_default=True, help="Windows of each kind.")
@click.option("--features", type=click.Path(path_type=Path, exists=True), help="SqueezeNet's weights, if elsewhere.")
@click.option("--pairs", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--model", "models", multiple=True)
@torch.inference_mode()
def main(
    sharp: Path | None,
    real: Path | None,
    bgan: str | None,
    count: int,
    features: Path | None,
    pairs: tuple[Path, ...],
    models: tuple[str, ...],
) -> None:
    """Print a table for each question."""
    if sharp is not None and real is not None and bgan is not None:
        judge_blur(windows(sharp, count), windows(real, count), bgan, features)
    for folder in pairs:
        judge_deblurrers(folder, models)


def windows(folder: Path, count: int) -> Tensor:
    """(count, 3, SIDE, SIDE): so many windows of the photos below a folder, one a photo in turn, their places drawn."""
    draws, found = torch.Generator().manual_seed(0), list[Tensor]()
    paths = photo_paths(folder)
    for number in range(count):
        image = resharp.read_photo(paths[number % len(paths)]).image
        down, right = (int(torch.randint(side - SIDE + 1, (1,), generator=draws)) for side in image.shape[-2:])
        found.append(image[:, down : down + SIDE, right : right + SIDE])
    return torch.stack(found)


def judge_blur(sharp: Tensor, real: Tensor, bgan: str, features: Path | None) -> None:
    blur = Realistic(bgan)
    made = torch.stack([blur(one, generator=torch.Generator().manual_seed(seed)) for seed, one in enumerate(sharp)])
    look = load_features("squeezenet1.1", "fire9", weights=features)
    sets = {"real": real, "sharp": sharp, "BGAN": made, "real halves": real[1::2]}
    seen = {name: Seen(images, look) for name, images in sets.items()}
    print(f"{'':<14}{'gradient':>9}{'to real':>9}{'radius':>15}{'long':>15}{'to real':>9}{'features':>10}")
    for name, one in seen.items():
        other = Seen(real[::2], look) if name == "real halves" else seen["real"]
        distances = [mover(one.gradients, other.gradients), mover(one.radii, other.radii), mmd(one.means, other.means)]
        radius, long = (f"{float(v.mean()):.2f} +- {float(v.std()):.2f}" for v in (one.radii, one.lengths))
        print(
            f"{name:<14}{float(one.gradients.exp().mean()):>9.4f}{distances[0]:>9.3f}{radius:>15}{long:>15}"
            f"{distances[1]:>9.2f}{1000 * distances[2]:>10.2f}"
        )
    coarse = [functional.avg_pool2d(one, 8) for one in (made, sharp)]
    cast = (255 * (made - sharp).mean((0, 2, 3))).tolist()
    print(
        f"content: {float(psnr(*coarse).mean()):.2f} dB at an eighth, {float(psnr(made, sharp).mean()):.2f} dB;", end=""
    )
    print(f" colours {', '.join(f'{one:+.2f}' for one in cast)} grey levels")


class Seen:
    """What is measured of windows: log gradients, radii and lengths of kernels, means of features."""

    def __init__(self, images: Tensor, look: Callable[[Tensor], Tensor | Sequence[Tensor]]) -> None:
        luma = (images * LUMA).sum(1)
        steps = torch.cat([luma.diff(dim=1).flatten(1), luma.diff(dim=2).flatten(1)], dim=1).abs()
        self.gradients = (steps.mean(1) + 1e-4).log()
        self.radii, self.lengths = torch.stack([shape_of(estimate_kernels(one, largest=31)) for one in luma], dim=1)
        found = torch.cat([_only(look(one)) for one in torch.split(images, 8)])
        self.means = functional.normalize(found.mean((2, 3)), dim=1)


def _only(features: Tensor | Sequence[Tensor]) -> Tensor:
    return features if isinstance(features, Tensor) else features[0]


def shape_of(kernel: Tensor) -> Tensor:
    """(root mean square radius in pixels, how many times longer than wide) of a kernel (side, side) of sum 1."""
    place = torch.arange(kernel.shape[-1]) - (kernel.shape[-1] - 1) / 2
    grid, weights = torch.stack(torch.meshgrid(place, place, indexing="ij")).flatten(1), kernel.flatten()
    centred = grid - (grid @ weights)[:, None]
    width, length = torch.linalg.eigvalsh((weights * centred) @ centred.T).clamp(min=0.05).sqrt()
    return torch.stack([width.hypot(length), length / width])


def mover(one: Tensor, other: Tensor) -> float:
    """The earth mover's distance between two samples of numbers."""
    levels = torch.linspace(0, 1, 201)
    return float((one.quantile(levels) - other.quantile(levels)).abs().mean())


def mmd(one: Tensor, other: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy, under (x . y + 1)^3, of two samples (N, C) of unit length."""

    def alike(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT + 1) ** 3

    def within(x: Tensor) -> Tensor:
        found = alike(x, x)
        return (found.sum() - found.diagonal().sum()) / (len(x) * (len(x) - 1))

    return 0.0 if one is other else float(within(one) + within(other) - 2 * alike(one, other).mean())


def judge_deblurrers(folder: Path, models: Sequence[str]) -> None:
    paths = photo_paths(folder / "blur")
    photos = [
        (resharp.read_photo(path).image, resharp.read_photo(folder / "sharp" / path.name).image) for path in paths
    ]
    print(f"\n{folder} ({len(photos)} pairs){'':<10}{'PSNR':>8}{'gain':>8}{'better on':>11}{'SSIM':>9}")
    before = torch.stack([psnr(blurred, clean).mean() for blurred, clean in photos])
    kept = torch.stack([ssim(blurred, clean).mean() for blurred, clean in photos])
    print(f"{'blurred':<30}{float(before.mean()):>8.2f}{'':>19}{float(kept.mean()):>9.4f}")
    for model in models:
        restorer = resharp.open_restorer(model, task="deblur", precision="float32")
        restored = [restorer(blurred).image for blurred, _ in photos]
        each = torch.stack([psnr(one, clean).mean() for one, (_, clean) in zip(restored, photos, strict=True)])
        alike = torch.stack([ssim(one, clean).mean() for one, (_, clean) in zip(restored, photos, strict=True)])
        better = f"{int((each > before).sum())} of {len(each)}"
        gain = float((each - before).mean())
        print(f"{model[-30:]:<30}{float(each.mean()):>8.2f}{gain:>+8.2f}{better:>11}{float(alike.mean()):>9.4f}")


if __name__ == "__main__":
    main()
