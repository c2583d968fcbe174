"""Seconds per iteration and peak memory of the DMSP solver beside a plain transcription of the method.

    python benchmarks/dmsp_speed.py PHOTO KERNEL [--model NAME|FILE] [--iterations 10]

The transcription is what a reader of the paper would write: float32, 0..255, direct convolutions, no layout or
precision tricks.  Each row runs in a process of its own; memory is that process's peak minus what imports take.
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
from resharp.degradations import edge_padded

VARIANTS = ("transcription", "resharp float32", "resharp bfloat16")


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


@torch.inference_mode()
def measure(variant: str, photo: str, kernel_name: str, weights: str, n_iterations: int) -> dict[str, float]:
    """Median seconds per iteration, and megabytes."""
    sharp, kernel = resharp.read_photo(photo).image, resharp.parse_kernel(kernel_name)
    blurred = resharp.blur(sharp, kernel, 2.55 / 255)
    network = resharp.load_model(weights)[0]
    assert isinstance(network, resharp.DAE)
    network(torch.zeros(1, 3, 64, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if variant == "transcription":
        seconds = transcription(blurred * 255, kernel, network, n_iterations, 2.55)
    else:
        times = [time.perf_counter()]
        resharp.deconvolve(
            blurred,
            kernel,
            2.55 / 255,
            n_iterations=n_iterations,
            model=weights,
            precision=variant.split()[1],
            progress=lambda *_: times.append(time.perf_counter()),
        )
        seconds = [b - a for a, b in itertools.pairwise(times[1:])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": statistics.median(seconds), "megabytes": (peak - before) / 1024}


@click.command()
@click.argument("photo")
@click.argument("kernel")
@click.option("--model", "weights", default="dae-sigma11", show_default=True)
@click.option("--iterations", default=10, show_default=True)
@click.option("--variant", hidden=True)
def main(photo: str, kernel: str, weights: str, iterations: int, variant: str | None) -> None:
    """Print one row per variant."""
    if variant:
        print(json.dumps(measure(variant, photo, kernel, weights, iterations)))
        return
    height, width = resharp.read_photo(photo).image.shape[-2:]
    print(f"{photo}: {width}x{height}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    reference = 0.0
    for name in VARIANTS:
        row = json.loads(subprocess.check_output([sys.executable, *sys.argv, "--variant", name]))
        reference = reference or row["seconds"]
        ratio = reference / row["seconds"]
        print(f"{name:<18}{row['seconds']:>8.3f} s/iteration{ratio:>7.2f}x{row['megabytes']:>8.0f} MB")


if __name__ == "__main__":
    main()
