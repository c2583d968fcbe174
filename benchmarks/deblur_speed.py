"""Seconds and peak memory of blind deblurring for each generator, beside DeblurGAN's as one writes it down first.

    python benchmarks/deblur_speed.py [--size 1280x720] [--model NAME|FILE ...] [--photo FILE] [--device cpu]

The first row is the published ResNet called plainly: float32, contiguous tensors, the whole photo.  The others run
through `open_restorer`, in each precision; without --model they are new networks whose values were shaken.  dB is
the PSNR of a row's picture against that of the same weights called plainly in float32.  Each row runs in a process of
its own; memory is that process's peak minus what imports and weights take (of a GPU: the allocator's peak).
"""

import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from torch import Tensor, nn

import resharp
from resharp.device import checked_device
from resharp.metrics import psnr
from resharp.models import contract_of
from resharp.networks import NETWORKS
from resharp.restorers import NetworkRestorer, open_restorer
from resharp.tiling import run_whole

GENERATORS = ("deblurgan", "nafnet", "unet")
PLAIN = "plain float32"


def new_weights(kind: str, folder: Path) -> Path:
    """The default network of a kind, its zeros shaken."""
    draws = torch.Generator().manual_seed(0)
    network = NETWORKS[kind](generator=draws)
    for parameter in network.parameters():
        parameter.data.add_(0.01 * torch.randn(parameter.shape, generator=draws))
    path = folder / f"{kind}.safetensors"
    card = resharp.Card(kind, cast(Any, network.arguments), contract_of(network, "deblur"))
    resharp.save_model(network, path, card)
    return path


def photo_of(size: tuple[int, int], name: str | None) -> Tensor:
    """(3, H, W): a photo repeated to that size."""
    if name is None:
        draws = torch.Generator().manual_seed(0)
        coarse = torch.rand(1, 3, size[1] // 16 + 2, size[0] // 16 + 2, generator=draws)
        return nn.functional.interpolate(coarse, size=(size[1], size[0]), mode="bicubic")[0].clamp(0, 1)
    image = resharp.read_photo(name).image
    down, across = (-(-wanted // found) for wanted, found in zip(size[::-1], image.shape[-2:], strict=True))
    return image.repeat(1, down, across)[:, : size[1], : size[0]].contiguous()


@torch.inference_mode()
def measure(weights: str, precision: str, image: Tensor, device: str, repeats: int) -> tuple[dict[str, float], Tensor]:
    """Best seconds and megabytes of a run, and its picture."""
    place = checked_device(device)
    network: Callable[[Tensor], Tensor]
    if precision == PLAIN:
        module, card = resharp.load_model(weights)
        network = functools.partial(run_whole, module.to(place), multiple_of=card.contract.multiple_of)
    else:
        restorer = open_restorer(weights, precision=precision, device=device)
        assert isinstance(restorer, NetworkRestorer)
        network = restorer.network
    network(torch.zeros(1, 3, 64, 64, device=place))
    before, seconds = fresh_peak(place), []
    for _ in range(repeats):
        started = time.perf_counter()
        restored = network(image[None].to(place)).clamp(0, 1).cpu()
        seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds), "megabytes": memory_peak(place) - before}, restored[0]


def fresh_peak(device: torch.device) -> float:
    """Forgets earlier peaks of memory; the megabytes held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")
    return memory_peak(device)


def memory_peak(device: torch.device) -> float:
    """In megabytes; of Linux's own count, since a process inherits the peak that `resource` gives."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1]) / 1024


def one_row(arguments: list[str], weights: str, precision: str, folder: Path) -> tuple[dict[str, float], Tensor]:
    """`measure` in a process of its own."""
    keep = folder / "restored.npy"
    command = [sys.executable, __file__, *arguments, "--model", weights, "--row", precision, "--keep", str(keep)]
    row: dict[str, float] = json.loads(subprocess.check_output(command))
    return row, torch.from_numpy(np.load(keep))


@click.command()
@click.option("--size", default="1280x720", show_default=True)
@click.option("--model", "weights", multiple=True, help="Left out: new networks of every kind.")
@click.option("--photo", help="Left out: smooth noise.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--row", hidden=True)
@click.option("--keep", hidden=True)
def main(
    size: str, weights: tuple[str, ...], photo: str | None, device: str, repeats: int, row: str | None, keep: str | None
) -> None:
    """Print the table."""
    width, height = map(int, size.split("x"))
    if row and keep:
        result, restored = measure(weights[0], row, photo_of((width, height), photo), device, repeats)
        np.save(keep, restored.numpy())
        print(json.dumps(result))
        return
    arguments = ["--size", size, "--device", device, "--repeats", str(repeats), *(["--photo", photo] if photo else [])]
    print(f"{size}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = one_row(arguments, str(new_weights("deblurgan", folder)), PLAIN, folder)[0]
        print_row("ResNet (11.4 M)", PLAIN, reference, reference, None)
        for file in weights or [str(new_weights(kind, folder)) for kind in GENERATORS]:
            plain, expected = one_row(arguments, file, PLAIN, folder)
            print_row(Path(file).stem, PLAIN, plain, reference, None)
            for precision in ("float32", "bfloat16"):
                found, restored = one_row(arguments, file, precision, folder)
                print_row(Path(file).stem, precision, found, reference, float(psnr(restored, expected)))


def print_row(name: str, kind: str, row: dict[str, float], reference: dict[str, float], decibels: float | None) -> None:
    ratio = reference["seconds"] / row["seconds"]
    agreement = "" if decibels is None else f"{decibels:>8.1f} dB"
    print(
        f"{name:<18}{kind:<15}{row['seconds']:>8.2f} s{ratio:>7.2f}x{row['megabytes']:>8.0f} MB{agreement}", flush=True
    )


if __name__ == "__main__":
    main()
