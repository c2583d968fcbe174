"""Each metric beside its oracle: the largest difference over real pairs, and images a second at 1280x720.

    python benchmarks/metrics_agreement.py BLURRED SHARP [--threads 1] [--rcan FOLDER --set5 FOLDER] [--baboon FILE]

BLURRED and SHARP are folders of photos of the same names.  Oracles: scikit-image for PSNR, Wang's SSIM and its own
default; SciPy's filters in the published formula for the other windows; torchmetrics' terms for the multi-scale SSIM;
the authors' figure for NIQE.  What no library has, tests/test_metrics_*.py compare with slow literal transcriptions.
Images a second are of float32 RGB in the cache, the best of several runs; scikit-image's are of the same float32
arrays and of uint8, as PNG files hold them.  "x" above 1: ours is faster.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage import metrics as scikit
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from resharp.image import luma
from resharp.metrics import METRICS, niqe, psnr
from resharp.photo import read_photo

Array = NDArray[Any]
Oracle = Callable[[Array, Array, float], float]
HEIGHT, WIDTH = 720, 1280
_SCIKIT: Any = scikit  # without types
_WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
_LINE = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)


def scikit_psnr(restored: Array, clean: Array, white: float) -> float:
    return float(_SCIKIT.peak_signal_noise_ratio(clean, restored, data_range=white))


def scikit_wang(restored: Array, clean: Array, white: float) -> float:
    return float(_SCIKIT.structural_similarity(clean, restored, data_range=white, channel_axis=2, **_WANG))


def scikit_default(restored: Array, clean: Array, white: float) -> float:
    return float(_SCIKIT.structural_similarity(clean, restored, data_range=white, channel_axis=2))


def windowed(axes: tuple[int, ...], mode: str) -> Oracle:
    """The published formula with SciPy's one-dimensional filters along some axes of (H, W, C)."""

    def mean(image: Array) -> Array:
        for axis in axes:
            image = ndimage.correlate1d(image, _LINE / _LINE.sum(), axis, mode=mode, cval=0)
        return image

    def oracle(restored: Array, clean: Array, white: float) -> float:
        x, y = restored.astype(np.float64) / white, clean.astype(np.float64) / white
        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        top = (2 * mx * my + 0.01**2) * (2 * cov + 0.03**2)
        return float((top / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))).mean())

    return oracle


def multi_scale(restored: Array, clean: Array, white: float) -> float:
    """From torchmetrics' terms of each channel; for sizes that halve without a rest."""
    figures = []
    for channel in range(restored.shape[2]):
        x, y = (torch.from_numpy(image[None, None, ..., channel].copy()) / white for image in (restored, clean))
        figure = 1.0
        for weight in (0.0448, 0.2856, 0.3001, 0.2363):
            terms = structural_similarity_index_measure(x, y, data_range=1.0, return_contrast_sensitivity=True)
            figure *= float(terms[1]) ** weight
            x, y = (torch.nn.functional.avg_pool2d(image, 2) for image in (x, y))
        places = structural_similarity_index_measure(x, y, data_range=1.0, return_full_image=True)[1]
        figures.append(figure * float(places[..., 5:-5, 5:-5].mean()) ** 0.1333)
    return float(np.mean(figures))


ORACLES: dict[str, Oracle] = {
    "psnr": scikit_psnr,
    "ssim": scikit_wang,
    "ssim-skimage": scikit_default,
    "ssim-matlab-2d": windowed((0, 1), "nearest"),
    "ssim-matlab-3d": windowed((0, 1, 2), "nearest"),
    "ssim-zero-padded": windowed((0, 1), "constant"),
    "ms-ssim": multi_scale,
}
TIMED = ("psnr", "ssim", "ssim-skimage")  # scikit-image's own


def levels_of(image: Tensor) -> Array:
    return (255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy()


def differences(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Print the largest one of each metric: of float64 images from rounding alone, of float32 ones from all of it."""
    print(f"{'metric':<18}{'float64':>12}{'float32':>12}   largest difference to the oracle, {len(pairs)} pairs")
    for name, oracle in ORACLES.items():
        largest = [0.0, 0.0]
        for restored, clean in pairs:
            arrays = [levels_of(image).astype(np.float64) for image in (restored, clean)]
            wanted = oracle(arrays[0], arrays[1], 255.0)
            for place, dtype in enumerate((torch.float64, torch.float32)):
                ours = [torch.from_numpy(array / 255).permute(2, 0, 1).to(dtype) for array in arrays]
                largest[place] = max(largest[place], abs(float(METRICS[name].function(ours[0], ours[1])) - wanted))
        print(f"{name:<18}{largest[0]:>12.1e}{largest[1]:>12.1e}")


def seconds(work: Callable[[], object], n_runs: int) -> float:
    """Best of the runs, in time that the processor spent on us: other work beside it does not count."""
    work()
    best = float("inf")
    for _ in range(n_runs):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def speeds() -> None:
    """Print images a second of all metrics, and of scikit-image's where it has the same one."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, HEIGHT, WIDTH, generator=generator)
    restored = (clean + 0.2 * (torch.rand(3, HEIGHT, WIDTH, generator=generator) - 0.5)).clamp(0, 1)
    floats = [image.permute(1, 2, 0).contiguous().numpy() for image in (restored, clean)]
    levels = [levels_of(image) for image in (restored, clean)]
    print(f"\n{'metric':<18}{'images/s':>12}   beside scikit-image of float32, and of uint8")
    for name, metric in METRICS.items():
        ours = seconds(functools.partial(metric.function, restored, clean), 20 if name == "psnr" else 5)
        line = f"{name:<18}{1 / ours:>12.1f}"
        if name in TIMED:
            for arrays, white in ((floats, 1.0), (levels, 255.0)):
                work = functools.partial(ORACLES[name], arrays[0], arrays[1], white)
                theirs = seconds(work, 20 if name == "psnr" else 2)
                line += f"{1 / theirs:>12.1f}{theirs / ours:>7.1f}x"
        print(line)


def rcan(outputs: Path, photos: Path) -> None:
    """Print the Y-PSNR of RCAN's published outputs for Set5."""
    names = sorted(path.name for path in outputs.glob("*_RCAN_x4.png"))
    figures = []
    for name, photo in zip(names, sorted(photos.glob("*.png")), strict=True):
        images = (luma(read_photo(path).image)[..., 4:-4, 4:-4] for path in (outputs / name, photo))
        figures.append(float(psnr(*images)))
    print(f"\nRCAN x4 on Set5, Y, 4 pixels cropped: {np.mean(figures):.3f} dB (published 32.63)")


@click.command()
@click.argument("blurred", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("sharp", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--threads", default=1, show_default=True)
@click.option("--rcan", "outputs", type=click.Path(exists=True, path_type=Path), help="RCAN's x4 outputs for Set5.")
@click.option("--baboon", type=click.Path(exists=True, path_type=Path), help="Set14's baboon, 500x480.")
@click.option("--set5", type=click.Path(exists=True, path_type=Path), help="Set5's photos, 001.png to 005.png.")
def main(
    blurred: Path, sharp: Path, threads: int, outputs: Path | None, baboon: Path | None, set5: Path | None
) -> None:
    """Print differences, then speeds."""
    torch.set_num_threads(threads)
    names = sorted(path.name for path in blurred.glob("*.png"))
    differences([(read_photo(blurred / name).image, read_photo(sharp / name).image) for name in names])
    if outputs is not None and set5 is not None:
        rcan(outputs, set5)
    if baboon is not None:
        print(f"NIQE of the baboon: {float(niqe(read_photo(baboon).image)):.7f} (with the authors' code 5.7295734)")
    speeds()


if __name__ == "__main__":
    main()
