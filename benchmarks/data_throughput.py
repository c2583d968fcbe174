"""Training patches per second from packs, folders and synthesis, beside the usual way: whole photos read with OpenCV.

    python benchmarks/data_throughput.py PHOTOS [--workers 2] [--only TEXT]

PHOTOS are clean ones; they are stored again as 1280x720 PNG and JPEG frames, the shape of GoPro's, and packed.  A row
is one run of `--seconds` after its workers have started, one after the other.  Nothing is kept decoded, as in a dataset
that is larger than memory.  Degradations are done by the loader; or drawn by it and left to the training's step; or
drawn, and done here in batches as the step does them on a GPU.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from resharp.data.folders import photo_paths
from resharp.data.in_step import finished
from resharp.data.layouts import open_listing
from resharp.data.listing import Item, Listing
from resharp.data.loading import batches
from resharp.data.packing import Pack, PackPatches, pack
from resharp.data.plan import plan_from
from resharp.data.sources import PhotoFiles
from resharp.data.synthesis import Synthesis
from resharp.data.workers import begin_beside, start_context
from resharp.photo import read_pixels

BATCH, CROP = 16, 256
STEPS: dict[str, dict[str, Any]] = {
    "copy": {"kind": "noise", "sigma": 0.0},
    "trajectory": {"kind": "trajectory", "anxiety": {"choose": [0.003, 0.005, 0.01]}},
    "shake": {"kind": "shake", "extent": [2.0, 24.0]},
    "shake, 0 to 2 moving objects, noise": {
        "kind": "shake",
        "extent": [2.0, 24.0],
        "n_objects": [0, 2],
        "read_noise": [0.0, 0.01],
    },
}


class WholePhotos(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The usual way: read both photos whole, cut a random crop out of both."""

    def __init__(self, pairs: list[tuple[Path, Path]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        blur, sharp = (self.read(path) for path in self.pairs[number % len(self.pairs)])
        random = np.random.default_rng(number)
        top, left = random.integers(blur.shape[0] - CROP + 1), random.integers(blur.shape[1] - CROP + 1)
        return self.cut(blur, top, left), self.cut(sharp, top, left)

    @staticmethod
    def read(path: Path) -> NDArray[np.uint8]:
        photo = cv2.imread(str(path))
        assert photo is not None
        return photo.astype(np.uint8, copy=False)

    @staticmethod
    def cut(photo: NDArray[np.uint8], top: int, left: int) -> torch.Tensor:
        crop = photo[top : top + CROP, left : left + CROP, ::-1]
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))


def make_frames(photos: list[Path], folder: Path) -> None:
    """Pairs of 1280x720 frames as PNG and JPEG; the blurred ones are box-blurred, which costs a decoder as much."""
    for number, path in enumerate(photos):
        pixels = np.ascontiguousarray(read_pixels(path).permute(1, 2, 0).numpy()[..., ::-1])
        sharp = cv2.resize(pixels, (1280, 720), interpolation=cv2.INTER_AREA)
        for kind, frame in (("sharp", sharp), ("blur", cv2.blur(sharp, (9, 9)))):
            for suffix in ("png", "jpg"):
                file = folder / suffix / kind / f"{number:03d}.{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), frame)


def rate(stream: Iterator[int], seconds: float) -> float:
    """Patches per second once the first batches have come; the stream tells how many each held."""
    for _ in range(3):
        next(stream)
    started, n_patches = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        n_patches += next(stream)
    return n_patches / (time.perf_counter() - started)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.option("--n-photos", default=48, show_default=True)
@click.option("--workers", default=0, show_default=True, help="Processes; 0 is this one, with one thread.")
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--only", default="", help="Rows whose names hold this.")
def main(photos: Path, n_photos: int, workers: int, seconds: float, only: str) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    paths = photo_paths(photos)
    chosen = [paths[i * len(paths) // n_photos] for i in range(n_photos)]
    folder = Path(tempfile.mkdtemp(prefix="resharp-throughput-"))
    try:
        _measure(chosen, folder, workers, seconds, only)
    finally:
        shutil.rmtree(folder)


def _measure(photos: list[Path], folder: Path, workers: int, seconds: float, only: str) -> None:
    make_frames(photos, folder)
    frames = {suffix: open_listing(folder / suffix) for suffix in ("png", "jpg")}
    for listing, name in ((frames["png"], "pairs.h5"), (_clean(frames["png"]), "clean.h5")):
        pack(listing, folder / name, patch=320 if name == "clean.h5" else CROP, stride=128)

    def ours(place: Path, step: str = "copy", *, in_step: bool = False) -> Iterator[Any]:
        source = PackPatches(place) if place.suffix == ".h5" else PhotoFiles(open_listing(place).items, kept_bytes=0)
        synthesis = Synthesis([(1, source)], plan_from({"crop": CROP, "variants": [{"steps": [STEPS[step]]}]}))
        return batches(synthesis, batch_size=BATCH, stop=10**9, n_workers=workers, in_step=in_step)

    def counted(place: Path, step: str = "copy") -> Iterator[int]:
        return (len(batch["clean"]) for batch in ours(place, step))

    def drawn(step: str) -> Iterator[int]:
        return (BATCH for _ in ours(folder / "clean.h5", step, in_step=True))

    def done_here(step: str) -> Iterator[int]:
        return (len(finished(batch)["clean"]) for batch in ours(folder / "clean.h5", step, in_step=True))

    def usual(suffix: str) -> Iterator[int]:
        loader = DataLoader(
            WholePhotos(list(frames[suffix].pairs)),
            batch_size=BATCH,
            sampler=range(10**9),
            num_workers=workers,
            worker_init_fn=begin_beside,
            multiprocessing_context=start_context() if workers else None,
        )
        return (len(blur) for blur, _ in loader)

    def rows_alone() -> Iterator[int]:
        opened = Pack(folder / "pairs.h5")
        number = 0
        while True:
            numbers = [(number + i) * 7919 % opened.counts["sharp"] for i in range(BATCH)]
            number += BATCH
            yield len([(opened.read("blur", i), opened.read("sharp", i)) for i in numbers])

    rows: list[tuple[str, Callable[[], Iterator[int]]]] = [
        ("usual: whole PNG pairs, OpenCV", lambda: usual("png")),
        ("usual: whole JPEG pairs, OpenCV", lambda: usual("jpg")),
        ("PNG pairs, turned and flipped", lambda: counted(folder / "png")),
        ("JPEG pairs, turned and flipped", lambda: counted(folder / "jpg")),
        ("packed pairs, read alone, no loader", rows_alone),
        ("packed pairs, turned and flipped", lambda: counted(folder / "pairs.h5")),
        *((f"packed clean, {step}", lambda step=step: counted(folder / "clean.h5", step)) for step in list(STEPS)[1:]),
        *((f"packed clean, {step}: drawn", lambda step=step: drawn(step)) for step in list(STEPS)[1:]),
        *((f"packed clean, {step}: and done", lambda step=step: done_here(step)) for step in list(STEPS)[1:]),
        ("JPEG clean, trajectory", lambda: counted(folder / "jpg" / "sharp", "trajectory")),
    ]
    print(f"{workers} workers, {len(photos)} photos of 1280x720, patches of {CROP}x{CROP}")
    base = 0.0
    for name, stream in (row for row in rows if only in row[0]):
        speed = rate(stream(), seconds)
        base = base or speed
        print(f"{name:<52}{speed:>9.0f} patches/s{speed / base:>8.1f}x")


def _clean(listing: Listing) -> Listing:
    return Listing(tuple(Item(None, path) for path in listing.clean), "clean", paired=False)


if __name__ == "__main__":
    main()
