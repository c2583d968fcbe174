"""What blind deblurring wins: mean PSNR and SSIM over the blurred input, under the protocol deblur-rgb.

    python benchmarks/deblur_quality.py [--pairs FOLDER ...] [--shake CLEAN ...] [--levin FOLDER] [--weights FILE ...]

--pairs: folders of really blurred and sharp photos.  --shake: folders of clean photos, shaken here (`Shake()`, the
photo's number being the seed, rounded to 8 bits), and also given to the network as they are: sharp photos must stay
sharp.  --levin: Levin's 16 photos (blur/im1_kernel1.png ..., sharp/im1.png, im2.png); PSNR at the best shift, since
their kernels are not centred.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch import Tensor

from resharp.data.folders import photo_paths
from resharp.data.layouts import open_listing
from resharp.degradations import Shake
from resharp.metrics import psnr, psnr_up_to_shift, ssim
from resharp.photo import read_photo
from resharp.restorers import Deblurrer, deblur, load_deblurrer

Pair = tuple[Tensor, Tensor]


@dataclasses.dataclass
class Row:
    """Sums over the pictures of one set."""

    n: int = 0
    figures: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def add(self, *figures: float) -> None:
        self.n += 1
        self.figures = tuple(a + b for a, b in zip(self.figures, figures, strict=True))

    def __str__(self) -> str:
        before, after, ssim_before, ssim_after = (figure / self.n for figure in self.figures)
        return (
            f"{self.n:>4}{before:>9.3f}{after:>9.3f}{after - before:>+8.3f} dB"
            f"{ssim_before:>9.4f}{ssim_after:>9.4f}{ssim_after - ssim_before:>+9.4f}"
        )


@click.command()
@click.option("--pairs", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--shake", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--levin", type=click.Path(path_type=Path, exists=True))
@click.option("--weights", multiple=True, default=["deblur"], show_default=True)
@click.option("--precision", default="auto", show_default=True)
def main(
    pairs: tuple[Path, ...], shake: tuple[Path, ...], levin: Path | None, weights: tuple[str, ...], precision: str
) -> None:
    """Print one table per set of weights."""
    for name in weights:
        network = load_deblurrer(name, precision=precision)
        print(f"{name}, {network.dtype}\n{'':<34}   n  blurred restored    gain             SSIM")
        for folder in pairs:
            print(f"{'/'.join(folder.parts[-2:]):<34}{judged(network, real_pairs(folder))}")
        for folder in shake:
            print(f"{folder.name + ', shaken':<34}{judged(network, shaken(folder))}")
            print(f"{folder.name + ', sharp':<34}{kept(network, folder)}")
        if levin is not None:
            print(f"{'levin, up to shift':<34}{judged_up_to_shift(network, levin)}")


def rounded(image: Tensor) -> Tensor:
    return image.clamp(0, 1).mul(255).round().div(255)


def real_pairs(folder: Path) -> Iterator[Pair]:
    for degraded, clean in open_listing(folder).pairs:
        yield read_photo(degraded).image, read_photo(clean).image


def shaken(folder: Path) -> Iterator[Pair]:
    for number, path in enumerate(photo_paths(folder)):
        clean = read_photo(path).image
        yield rounded(Shake()(clean, generator=torch.Generator().manual_seed(number))), clean


def judged(network: Deblurrer, pairs: Iterator[Pair]) -> Row:
    row = Row()
    for degraded, clean in pairs:
        restored = rounded(deblur(degraded, weights=network))
        row.add(*(float(m(image, clean)) for m in (psnr, ssim) for image in (degraded, restored)))
    return row


def kept(network: Deblurrer, folder: Path) -> str:
    """How close sharp photos stay to themselves."""
    images = [read_photo(path).image for path in photo_paths(folder)]
    found = [float(psnr(rounded(deblur(image, weights=network)), image)) for image in images]
    return f"{len(found):>4}  output within {sum(found) / len(found):.2f} dB of the input, least {min(found):.2f}"


def judged_up_to_shift(network: Deblurrer, folder: Path) -> Row:
    row = Row()
    for path in photo_paths(folder / "blur"):
        degraded = read_photo(path).image
        clean = read_photo(folder / "sharp" / f"{path.stem.split('_')[0]}.png").image
        restored = rounded(deblur(degraded, weights=network))
        images = (degraded, restored)
        row.add(*(float(psnr_up_to_shift(i, clean)) for i in images), *(float(ssim(i, clean)) for i in images))
    return row


if __name__ == "__main__":
    main()
