"""Where the FFT overtakes direct convolution: milliseconds of A x and A^T y together, by kernel size.

python benchmarks/blur_paths.py [--height 512 --width 768]
"""

import time

import click
import torch

from resharp.degradations import Blur
from resharp.degradations.blur import DIRECT_TAPS


def milliseconds(blur: Blur, image: torch.Tensor) -> float:
    """Best of five."""
    blur.adjoint(blur(image))
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        blur.adjoint(blur(image))
        best = min(best, time.perf_counter() - started)
    return 1000 * best


@click.command()
@click.option("--height", default=512, show_default=True)
@click.option("--width", default=768, show_default=True)
def main(height: int, width: int) -> None:
    """Print one row per kernel size."""
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    print(f"3x{height}x{width}; kernels above {DIRECT_TAPS} taps go through the FFT")
    for size in (3, 5, 7, 9, 11, 13, 17, 25, 35):
        kernel = torch.full((size, size), 1 / size**2)
        direct, fft = (milliseconds(Blur(kernel, method=method), image) for method in ("direct", "fft"))
        print(f"{size:>3}x{size:<3} direct {direct:>8.1f} ms   fft {fft:>8.1f} ms   direct/fft {direct / fft:>6.2f}")


if __name__ == "__main__":
    main()
