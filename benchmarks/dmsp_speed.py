"""Seconds and peak memory of deconvolution with a known kernel, beside a plain transcription of DMSP.

    python benchmarks/dmsp_speed.py PHOTO KERNEL [--megapixels 12] [--iterations 10]

The transcription is what a reader of the paper would write: float32, 0..255, direct convolutions, no layout or
precision tricks.  Of it and of the published iteration, `--iterations` are timed, and the whole is 300 times their
median; half-quadratic splitting is timed whole, as `resharp deconvolve` does it, each denoiser with the solver whose
usual one it is.  Each row runs in a process of its own; memory is that process's peak minus what imports take.
"""

import itertools
import json
import resource
import statistics
import subprocess
import sys
import time

import click
import torch
from torch import Tensor
from torch.nn import functional

import resharp
from resharp.allocation import keep_freed_memory
from resharp.degradations import edge_padded

VARIANTS = (
    "transcription",
    "dmsp float32",
    "dmsp bfloat16",
    "half-quadratic float32",
    "half-quadratic bfloat16",
)


PUBLISHED = 300  # iterations


def transcription(y: Tensor, kernel: Tensor, network: resharp.DAE, n_iterations: int, sigma_n: float) -> list[float]:
    """Seconds of each iteration; y in 0..255."""
    kh, kw = kernel.shape
    weight, flipped = kernel.expand(3, 1, kh, kw), kernel.flip(0, 1).expand(3, 1, kh, kw)
    x = edge_padded(y[None], (kh // 2, kw // 2))
    velocity, sigma_d, seconds = torch.zeros_like(x), 11.0, []
    w = (1 / sigma_n**2) / (1 / sigma_n**2 + 1 / sigma_d**2)
    for _ in range(n_iterations):
        started = time.perf_counter()
        misfit = functional.conv2d(x, flipped, groups=3) - y
        data = functional.conv2d(misfit, weight, padding=(kh - 1, kw - 1), groups=3)
        noisy = (x + sigma_d * torch.randn(x.shape)) / 255
        velocity = 0.9 * velocity - 0.1 * (w * data + (1 - w) * (x - 255 * network(noisy)))
        x = (x + velocity).clamp(0, 255)
        seconds.append(time.perf_counter() - started)
    return seconds


def photo_of(name: str, megapixels: float | None) -> Tensor:
    """(3, H, W), repeated and cut, four to three, to so many pixels."""
    photo = resharp.read_photo(name).image
    if megapixels is None:
        return photo
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    size = (height, round(height * 4 / 3))
    times = [-(-wanted // side) for wanted, side in zip(size, photo.shape[-2:], strict=True)]
    return photo.repeat(1, *times)[:, : size[0], : size[1]]


@torch.inference_mode()
def measure(variant: str, sharp: Tensor, kernel_name: str, n_iterations: int) -> dict[str, float]:
    """Seconds of the whole, and megabytes."""
    kernel = resharp.parse_kernel(kernel_name)
    blurred = resharp.blur(sharp, kernel, 2.55 / 255)
    solver, _, precision = variant.partition(" ")
    network = resharp.load_model("dae-sigma11")[0]
    assert isinstance(network, resharp.DAE)
    network(torch.zeros(1, 3, 64, 64))
    keep_freed_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if solver == "transcription":
        seconds = PUBLISHED * statistics.median(transcription(blurred * 255, kernel, network, n_iterations, 2.55))
    else:
        times = [time.perf_counter()]
        resharp.deconvolve(
            blurred,
            kernel,
            2.55 / 255,
            solver=solver,
            n_iterations=n_iterations if solver == "dmsp" else None,
            precision=precision,
            progress=lambda *_: times.append(time.perf_counter()),
        )
        steps = [b - a for a, b in itertools.pairwise(times[1:])]
        seconds = PUBLISHED * statistics.median(steps) if solver == "dmsp" else time.perf_counter() - times[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "megabytes": (peak - before) / 1024}


@click.command()
@click.argument("photo")
@click.argument("kernel")
@click.option("--megapixels", type=float, help="Repeat the photo to that size.")
@click.option("--iterations", default=10, show_default=True, help="That are timed of 300.")
@click.option("--skip", multiple=True, type=click.Choice(VARIANTS))
@click.option("--variant", hidden=True)
def main(
    photo: str, kernel: str, megapixels: float | None, iterations: int, skip: tuple[str, ...], variant: str | None
) -> None:
    """Print one row per variant."""
    sharp = photo_of(photo, megapixels)
    if variant:
        print(json.dumps(measure(variant, sharp, kernel, iterations)))
        return
    height, width = sharp.shape[-2:]
    print(f"{photo}: {width}x{height}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    reference = 0.0
    for name in (one for one in VARIANTS if one not in skip):
        row = json.loads(subprocess.check_output([sys.executable, *sys.argv, "--variant", name]))
        reference = reference or row["seconds"]
        ratio = reference / row["seconds"]
        print(f"{name:<24}{row['seconds']:>9.1f} s{ratio:>8.1f}x{row['megabytes']:>8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
