"""How well kernels are found: against true kernels, and by what the simplest of solvers makes of them.

    python benchmarks/kernel_quality.py [--levin FOLDER] [--restored FOLDER] [--shapes CLEAN] [--shake CLEAN]
        [--sharp PHOTOS] [--pairs FOLDER ...] [--first N]

--levin: Levin's 16 photos and their kernels: similarity of kernels (correlation at the best shift, 1 is perfect), PSNR
at the best shift and error ratio against the true kernel in the same solver.  --restored: the same photos as `deblur`
restores them, with the kernels that it finds and with the true ones, believed as much, error ratios between these two,
beside `deconvolve` with `denoiser-unrolled` and the true kernels, noise estimated.  --shapes: eight
kernels on windows of 320 pixels of two clean photos, without noise, with noise .01 and .02, and through JPEG 75.
--shake: clean photos under `Shake()` (the number in the photo's name is the seed), blur in light.  --sharp: photos in
which no blur should be found, and a page of text.  --pairs: folders with blur/ and sharp/; blur in pixel values.

The solver is a Wiener filter with a gradient prior, blended between the kernels of the field: a judge, no product.
Times are seconds of this process on all its threads.
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from torch import Tensor

import resharp
from resharp.data.folders import photo_paths
from resharp.degradations import Shake, blurred, disk_kernel, gaussian_kernel, load_kernel, motion_kernel
from resharp.degradations.blur_field import BlurField, uniform_field
from resharp.degradations.compression import Jpeg
from resharp.degradations.varying_blur import shares
from resharp.kernel_estimation import estimate_kernels, find_blur
from resharp.kernel_estimation.planes import gradient_power, kernel_spectra, made_periodic
from resharp.kernel_estimation.view import steepest_edges
from resharp.metrics import error_ratio, psnr, psnr_up_to_shift

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
SIDE = 320


@click.command()
@click.option("--levin", type=click.Path(path_type=Path, exists=True))
@click.option("--restored", type=click.Path(path_type=Path, exists=True))
@click.option("--shapes", type=click.Path(path_type=Path, exists=True))
@click.option("--shake", type=click.Path(path_type=Path, exists=True))
@click.option("--sharp", type=click.Path(path_type=Path, exists=True))
@click.option("--pairs", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--first", default=1000, show_default=True, help="Take only so many photos of each folder.")
@torch.inference_mode()
def main(
    levin: Path | None,
    restored: Path | None,
    shapes: Path | None,
    shake: Path | None,
    sharp: Path | None,
    pairs: tuple[Path, ...],
    first: int,
) -> None:
    """Print a table per data set."""
    if levin is not None:
        judge_levin(levin)
    if restored is not None:
        judge_restored(restored)
    if shapes is not None:
        judge_shapes(shapes)
    if shake is not None:
        judge_fields("shake", [(path.name, *shaken(path)) for path in photo_paths(shake)[:first]], gamma=2.2)
    if sharp is not None:
        judge_sharp([(path.name, resharp.read_photo(path).image) for path in photo_paths(sharp)[:first]])
    for folder in pairs:
        paths = photo_paths(folder / "blur")[:first]
        judge_fields(str(folder), [pair(path, folder / "sharp" / path.name) for path in paths], gamma=1.0)


def levins(folder: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """(name, photo, clean photo, kernel), one plane each."""
    for number, kernel in itertools.product((1, 2), range(1, 9)):
        clean = resharp.read_photo(folder / "sharp" / f"im{number}.png").image[:1]
        photo = resharp.read_photo(folder / "blur" / f"im{number}_kernel{kernel}.png").image[:1]
        yield f"im{number} k{kernel}", photo, clean, load_kernel(f"{folder / 'Levin09.mat'}#{kernel}").rot90(2)


def judge_levin(folder: Path) -> None:
    print(f"\n{'levin':<12}{'blurred':>9}{'found':>9}{'true':>9}{'ratio':>8}{'kernel':>8}{'s':>7}")
    rows = []
    for name, photo, clean, true in levins(folder):
        began = time.process_time()
        found = estimate_kernels(photo[0], largest=27)
        seconds = time.process_time() - began
        restored, oracle = (wiener(photo, one, 0.005) for one in (found, true))
        levels = [float(psnr_up_to_shift(image, clean)) for image in (photo, restored, oracle)]
        rows.append((*levels, float(error_ratio(restored, clean, oracle)), similarity(found, true), seconds))
        print(f"{name:<12}" + values(rows[-1]))
    print(f"{'mean':<12}" + values([statistics.mean(column) for column in zip(*rows, strict=True)]))
    tell_ratios([row[3] for row in rows])


def judge_restored(folder: Path) -> None:
    print(f"\n{'restored':<12}{'blurred':>9}{'found':>9}{'true':>9}{'ratio':>8}{'known':>8}{'s':>7}")
    deblur = resharp.open_restorer("blind-refined")
    deconvolve = resharp.BayesRestorer(resharp.open_denoiser("denoiser-unrolled"))
    rows = []
    for name, grey, clean, true in levins(folder):
        photo, began = grey.expand(3, -1, -1).contiguous(), time.process_time()
        blur = find_blur(photo)
        found = deblur(photo, blur=blur).image[:1]
        seconds = time.process_time() - began
        truth = uniform_field(true.float(), (photo.shape[-2], photo.shape[-1]))
        same = deblur(photo, blur=dataclasses.replace(blur, field=truth)).image[:1]
        known = deconvolve(photo, kernel=true).image[:1]
        levels = [float(psnr_up_to_shift(image, clean)) for image in (grey, found, same)]
        ratio, best = float(error_ratio(found, clean, same)), float(psnr_up_to_shift(known, clean))
        rows.append((*levels, ratio, best, seconds))
        print(f"{name:<12}" + values(rows[-1]), flush=True)
    print(f"{'mean':<12}" + values([statistics.mean(column) for column in zip(*rows, strict=True)]))
    tell_ratios([row[3] for row in rows])


def tell_ratios(ratios: list[float]) -> None:
    print(f"error ratio <= 2: {sum(r <= 2 for r in ratios)} of 16, <= 3: {sum(r <= 3 for r in ratios)}")


def judge_shapes(folder: Path) -> None:
    """Similarity of kernels, and seconds a window, for each disturbance."""
    kernels = {
        "gaussian 1.6": gaussian_kernel(1.6),
        "disk 3": disk_kernel(3),
        "straight 15": motion_kernel(15, 30),
        "straight 25": motion_kernel(25, 110),
        **{f"shake {number}": hand_shake(number) for number in range(1, 5)},
    }
    paths = photo_paths(folder)
    scenes = [middle((resharp.read_photo(paths[place]).image * LUMA).sum(0)) for place in (3, 18)]
    print(f"\n{'shapes':<14}" + "".join(f"{name:>12}" for name in (*kernels, "mean", "s/window")))
    for name in ("clean", "noise .01", "noise .02", "JPEG 75"):
        seen = torch.stack([disturbed(blurred(scene[None], k), name)[0] for scene in scenes for k in kernels.values()])
        began = time.process_time()
        found = estimate_kernels(seen, largest=31)
        seconds = (time.process_time() - began) / len(seen)
        likeness = [similarity(one, true) for one, true in zip(found, [*kernels.values()] * 2, strict=True)]
        each = [(a + b) / 2 for a, b in zip(likeness[:8], likeness[8:], strict=True)]
        print(f"{name:<14}" + "".join(f"{v:>12.3f}" for v in (*each, statistics.mean(each), seconds)))


def judge_fields(title: str, photos: list[tuple[str, Tensor, Tensor]], *, gamma: float) -> None:
    print(f"\n{title[-30:]:<32}{'blurred':>9}{'gain':>9}{'at shift':>9}{'s':>7}{'s/Mpx':>7}  what was found")
    rows = []
    for name, photo, clean in photos:
        began = time.process_time()
        found = find_blur(photo, gamma=gamma)
        seconds = time.process_time() - began
        restored = photo if found.field is None else undone(photo, found.field)
        before, after = float(psnr(photo, clean)), float(psnr(restored, clean))
        shifted = float(psnr_up_to_shift(restored, clean)) - float(psnr_up_to_shift(photo, clean))
        rows.append((before, after - before, shifted, seconds, seconds / photo[0].numel() * 1e6))
        what = found.reason if found.field is None else f"kernels {tuple(found.field.kernels.shape)}"
        print(f"{name:<32}" + values(rows[-1]) + f"  {what}")
    print(f"{'mean':<32}" + values([statistics.mean(column) for column in zip(*rows, strict=True)]))


def judge_sharp(photos: list[tuple[str, Tensor]]) -> None:
    print(f"\n{'sharp photos':<32}{'sharpness':>10}  what was found")
    left = 0
    for name, photo in [*photos, ("a page of text", page_of_text())]:
        found = find_blur(photo)
        left += found.field is None
        print(f"{name:<32}{steepest_edges(photo):>10.3f}  {found.reason or 'a blur'}")
    print(f"left alone: {left} of {len(photos) + 1}")


def values(numbers: tuple[float, ...] | list[float]) -> str:
    return "".join(f"{number:>9.3f}" for number in numbers)


def similarity(found: Tensor, true: Tensor) -> float:
    """Correlation of two kernels at their best shift."""
    side = 2 * max(*found.shape, *true.shape)
    spectra = [torch.fft.rfft2(kernel, s=(side, side)) for kernel in (found, true)]
    products = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=(side, side))
    return float(products.max() / (found.norm() * true.norm()))


def hand_shake(seed: int) -> Tensor:
    """A point of light under Shake(extent=18) without roll and zoom."""
    point = torch.zeros(1, 45, 45)
    point[0, 22, 22] = 1
    shake = Shake(extent=18.0, sway=0.0, roll=0.0, zoom=0.0, gamma=1.0)
    kernel = shake(point, generator=torch.Generator().manual_seed(seed))[0, 7:38, 7:38]
    return kernel / kernel.sum()


def middle(luma: Tensor) -> Tensor:
    top, left = (luma.shape[0] - SIDE) // 2, (luma.shape[1] - SIDE) // 2
    return luma[top : top + SIDE, left : left + SIDE]


def disturbed(image: Tensor, how: str) -> Tensor:
    if how.startswith("noise"):
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
        image = image + float(how.split()[1]) * noise
    if how.startswith("JPEG"):
        image = Jpeg(int(how.split()[1]))(image.expand(3, -1, -1), generator=torch.Generator())[:1]
    return (image.clamp(0, 1) * 255).round() / 255


def shaken(path: Path) -> tuple[Tensor, Tensor]:
    blurred_photo, clean = Shake().expose(
        resharp.read_photo(path).image, generator=torch.Generator().manual_seed(int(path.stem))
    )
    return (blurred_photo * 255).round() / 255, clean


def pair(photo: Path, clean: Path) -> tuple[str, Tensor, Tensor]:
    return photo.name, resharp.read_photo(photo).image, resharp.read_photo(clean).image


def page_of_text() -> Tensor:
    page = np.full((512, 768), 255, np.uint8)
    for line in range(20):
        text = f"{line}. A page of text has the steepest edges that there are"
        cv2.putText(page, text, (20, 30 + 24 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 20, 1, cv2.LINE_AA)
    return torch.from_numpy(page).float().div(255).expand(3, -1, -1)


def undone(photo: Tensor, field: BlurField, strength: float = 0.03) -> Tensor:
    """Each kernel's share of the photo inverted, blended."""
    side = field.kernels.shape[-1]
    down, across = (
        shares(places, size).float() for places, size in zip((field.rows, field.columns), field.size, strict=True)
    )
    result = torch.zeros_like(photo)
    for row, rows in enumerate(down):
        for column, columns in enumerate(across):
            top, bottom = reached(rows, side)
            left, right = reached(columns, side)
            piece = wiener(photo[:, top:bottom, left:right], field.kernels[row, column], strength)
            result[:, top:bottom, left:right] += piece * rows[top:bottom, None] * columns[left:right]
    return result.clamp(0, 1)


def reached(weights: Tensor, margin: int) -> tuple[int, int]:
    used = weights.nonzero()
    return max(0, int(used[0]) - margin), min(len(weights), int(used[-1]) + 1 + margin)


def wiener(photo: Tensor, kernel: Tensor, strength: float) -> Tensor:
    """Of each channel, with a penalty on gradients; borders pass into each other."""
    periodic = made_periodic(photo, 2 * kernel.shape[-1])
    grid = (periodic.shape[-2], periodic.shape[-1])
    spectrum = kernel_spectra(kernel[None], grid)
    damping = strength * gradient_power(grid, photo) + 1e-4
    restored = torch.fft.irfft2(
        torch.fft.rfft2(periodic) * spectrum.conj() / (spectrum.abs().square() + damping), s=grid
    )
    inside: Tensor = restored[..., : photo.shape[-2], : photo.shape[-1]].clamp(0, 1)
    return inside


if __name__ == "__main__":
    main()
