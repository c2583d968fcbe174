"""How fast `resharp evaluate` judges, beside scikit-image, and what memory a long run takes.

    python benchmarks/evaluate_speed.py [--frames 24 --height 720 --width 1280 --workers 2 --long 1000]

Speed: PSNR and SSIM of RGB frames in PNG, read from disk on both sides, method `identity`; scikit-image is asked for
the same SSIM (Gaussian window of sigma 1.5).  On a busy machine look at the processor's time, which others do not
change much.  Memory: the peak of the process over one frame that is linked many times.
"""

import resource
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from resharp.evaluation import Row, evaluate
from resharp.photo import Photo, write_photo


def made_pairs(folder: Path, n_pairs: int, height: int, width: int) -> Path:
    """Frames with structure at all scales, and noisy ones, as PNG."""
    for number in range(n_pairs):
        generator = torch.Generator().manual_seed(number)
        clean = torch.zeros(3, height, width)
        for scale in (4, 16, 64):
            coarse = torch.rand(1, 3, height // scale, width // scale, generator=generator)
            clean += torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0] / 3
        noise = 0.04 * torch.randn(clean.shape, generator=generator)
        for half, image in (("sharp", clean), ("blur", clean + noise)):
            write_photo(Photo(image), folder / half / f"{number:04d}.png")
    return folder


def by_scikit_image(folder: Path) -> list[tuple[float, float]]:
    """(PSNR, SSIM) of each pair."""
    figures = []
    for path in sorted((folder / "blur").iterdir()):
        blur, sharp = (np.asarray(Image.open(folder / half / path.name)) for half in ("blur", "sharp"))
        similarity = structural_similarity(  # type: ignore[no-untyped-call]
            sharp, blur, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        figures.append((peak_signal_noise_ratio(sharp, blur), similarity))  # type: ignore[no-untyped-call]
    return figures


def peak_mib() -> float:
    """Of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def linked(folder: Path, source: Path, n_pairs: int) -> Path:
    """One pair under many names."""
    for half in ("blur", "sharp"):
        (folder / half).mkdir(parents=True)
        for number in range(n_pairs):
            (folder / half / f"{number:04d}.png").hardlink_to(source / half / "0000.png")
    return folder


@click.command()
@click.option("--frames", default=24, show_default=True)
@click.option("--height", default=720, show_default=True)
@click.option("--width", default=1280, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--long", "n_long", default=1000, show_default=True, help="Pictures of the run whose memory is watched.")
def main(frames: int, height: int, width: int, workers: int, n_long: int) -> None:
    """Print images per second of both, the ratio, the largest difference, and the memory of a long run."""
    with tempfile.TemporaryDirectory() as name:
        data = made_pairs(Path(name) / "set", frames, height, width)
        evaluate("identity", data, "deblur-rgb", limit=2, workers=workers)  # imports, caches
        by_scikit_image(linked(Path(name) / "warm", data, 1))
        started, busy = time.perf_counter(), time.process_time()
        result = evaluate("identity", data, "deblur-rgb", workers=workers)
        ours, ours_busy = frames / (time.perf_counter() - started), (time.process_time() - busy) / frames
        started, busy = time.perf_counter(), time.process_time()
        theirs_figures = by_scikit_image(data)
        theirs, theirs_busy = frames / (time.perf_counter() - started), (time.process_time() - busy) / frames
        pairs = zip(result.rows, theirs_figures, strict=True)
        psnr, ssim = np.max(
            [(abs(row.figures["psnr"] - p), abs(row.figures["ssim"] - s)) for row, (p, s) in pairs], axis=0
        )
        print(f"{frames} pairs of {width}x{height}, PSNR and SSIM, images a second")
        print(f"resharp evaluate, {workers} workers   {ours:7.2f}   {ours_busy:.3f} s of processor each")
        print(f"scikit-image                  {theirs:7.2f}   {theirs_busy:.3f} s of processor each")
        print(f"ratio                         {ours / theirs:7.2f}")
        print(f"largest difference            {psnr:.1e} dB, {ssim:.1e} (scikit-image pads, and crops 5 pixels)")
        small = made_pairs(Path(name) / "small", 1, 360, 640)
        many = linked(Path(name) / "many", small, n_long)
        peaks = {}

        def watch(_: Row, number: int, count: int) -> None:
            if number in (count // 10, count // 2, count):
                peaks[number] = peak_mib()

        evaluate("identity", many, "deblur-rgb", workers=workers, on_row=watch)
        print(
            f"{n_long} pictures of 640x360, peak memory after "
            + ", ".join(f"{n}: {m:.0f} MiB" for n, m in peaks.items())
        )


if __name__ == "__main__":
    main()
