"""Shrinking by 4: milliseconds of a 12-megapixel photo and of a training patch, ours beside others.

    python benchmarks/resample_speed.py [--threads 1]

Float32 RGB throughout, except for Pillow, which resamples colour in uint8 only.  "x" above 1: ours is faster.
"""

import time
from collections.abc import Callable

import click
import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from resharp.degradations import Resize

SIZES = {"photo": (3000, 4000), "patch": (256, 256)}
BICUBIC, AREA = Resize(0.25), Resize(0.25, method="area")


def milliseconds(work: Callable[[], object], n_runs: int) -> float:
    """Best of the runs."""
    work()
    best = float("inf")
    for _ in range(n_runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return 1000 * best


def contenders(height: int, width: int) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """(other, ours) by the other's name."""
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    rows = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    picture = Image.fromarray((rows * 255).astype(np.uint8))
    small = (width // 4, height // 4)

    def bicubic() -> object:
        return BICUBIC(image)

    def area() -> object:
        return AREA(image)

    return {
        "torch bicubic, antialias": (
            lambda: functional.interpolate(image[None], scale_factor=0.25, mode="bicubic", antialias=True),
            bicubic,
        ),
        "Pillow BICUBIC": (lambda: picture.resize(small, Image.Resampling.BICUBIC), bicubic),
        "OpenCV INTER_AREA": (lambda: cv2.resize(rows, small, interpolation=cv2.INTER_AREA), area),
    }


@click.command()
@click.option("--threads", default=1, show_default=True)
def main(threads: int) -> None:
    """Print one row per size and contender."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    for name, (height, width) in SIZES.items():
        n_runs = 5 if name == "photo" else 50
        for other, works in contenders(height, width).items():
            theirs, ours = (milliseconds(work, n_runs) for work in works)
            times = f"{theirs:>8.2f} ms   ours {ours:>8.2f} ms{theirs / ours:>7.2f}x"
            print(f"{name} {width}x{height}  {other:<26}{times}")


if __name__ == "__main__":
    main()
