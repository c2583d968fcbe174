"""How many photos a second `restore_files` restores, beside one photo after the other, in what memory, and after kills.

    python benchmarks/restore_files.py speed [--photos 20 --megapixels 12 --workers 2]
    python benchmarks/restore_files.py memory [--photos 20 --photos 60]
    python benchmarks/restore_files.py kills [--photos 400 --kills 10]

The restorer is cheap (a 3x3 mean, on this process's torch threads), so that codecs are most of the work: JPEG in, JPEG
out.  Speed: both ways in one run, in turn, the best of each counts.  Memory: the peak of a process over so many photos.
Kills: the run is killed with SIGKILL at random moments and started again; the bytes must be those of a run in peace,
and only photos that were on their way may be restored twice.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn import functional

from resharp.models import Contract
from resharp.photo import Photo, check_encodable, read_photo, write_photo
from resharp.restorers.base import Progress, Restored
from resharp.restorers.files import restore_files
from resharp.restorers.jobs import Jobs, plan_jobs
from resharp.restorers.journal import Journal
from resharp.restorers.photos import restore_photo


class Mean:
    """A restorer that takes the mean of 3x3 pixels, `seconds` later, and leaves a byte in a diary."""

    def __init__(self, *, seconds: float = 0.0, diary: Path | None = None) -> None:
        self.contract, self.accepts = Contract("deblur", halo=1), tuple[str, ...]()
        self.seconds, self.diary = seconds, diary

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """The mean."""
        del seed, progress, known
        if self.diary is not None:
            with self.diary.open("ab") as file:
                file.write(b".")
        time.sleep(self.seconds)
        return Restored(functional.avg_pool2d(image[None], 3, 1, 1)[0])


def written_photos(folder: Path, n_photos: int, megapixels: float) -> Path:
    """JPEGs with structure at all scales; few different ones under many names, but for small ones."""
    height, width = (round((megapixels * 1e6 * ratio) ** 0.5 / 64) * 64 or 64 for ratio in (3 / 4, 4 / 3))
    n_different = 2 if megapixels > 1 else n_photos
    for number in range(n_photos):
        path = folder / f"{number % 4}" / f"{number:04d}.jpg"
        if number >= n_different:
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(folder / f"{number % n_different}" / f"{number % n_different:04d}.jpg")
            continue
        generator = torch.Generator().manual_seed(number)
        image = torch.zeros(3, height, width)
        for scale in (2, 8, 64):
            coarse = torch.rand(1, 3, height // scale, width // scale, generator=generator)
            image += functional.interpolate(coarse, size=(height, width), mode="bilinear")[0] / 3
        write_photo(Photo(image), path)
    return folder


def serially(jobs: Jobs, restorer: Any) -> None:
    """One photo after the other, as `resharp deblur *.jpg` did."""
    for job in jobs:
        photo = read_photo(job.photo)
        check_encodable(photo, job.output)
        write_photo(restore_photo(photo, restorer)[0], job.output)


def journal(out: Path) -> Journal:
    """Of the runs here."""
    return Journal(out, {"restorer": "mean"})


def files(folder: Path) -> dict[str, bytes]:
    """Every photo below."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


@click.group()
def main() -> None:
    """Measure the engine for many files."""


@main.command()
@click.option("--photos", default=20, show_default=True)
@click.option("--megapixels", default=12.0, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--rounds", default=2, show_default=True)
def speed(photos: int, megapixels: float, workers: int, rounds: int) -> None:
    """Photos a second of both ways, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        inputs = written_photos(place / "in", photos, megapixels)
        serially(plan_jobs([inputs / "0"], place / "warm"), Mean())
        best = {"serial": 0.0, "engine": 0.0}
        for number in range(rounds):
            for way in best:
                jobs = plan_jobs([inputs], place / f"{way}-{number}")
                started = time.perf_counter()
                if way == "serial":
                    serially(jobs, Mean())
                else:
                    rows = restore_files(jobs, Mean(), workers=workers, journal=journal(place / f"{way}-{number}"))
                    assert not any(row.problem for row in rows)
                best[way] = max(best[way], photos / (time.perf_counter() - started))
        same = files(place / "serial-0") == files(place / "engine-0")
        print(f"{photos} JPEGs of {megapixels:g} megapixels, {torch.get_num_threads()} torch threads, photos a second")
        print(f"one after the other          {best['serial']:7.3f}")
        print(f"restore_files, {workers} workers     {best['engine']:7.3f}")
        print(f"ratio                        {best['engine'] / best['serial']:7.2f}")
        print(f"bytes                        {'   same' if same else ' DIFFER'}")
    sys.exit(0 if same else 1)


@main.command()
@click.option("--photos", default=[20, 60], multiple=True, show_default=True)
@click.option("--megapixels", default=12.0, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--alone", is_flag=True, hidden=True)
def memory(photos: tuple[int, ...], megapixels: float, workers: int, alone: bool) -> None:
    """Peak of a process of its own for each number of photos."""
    if not alone:
        for number in photos:
            words = ["memory", "--photos", str(number), "--megapixels", str(megapixels), "--workers", str(workers)]
            subprocess.run([sys.executable, __file__, *words, "--alone"], check=True)
        return
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "out")
        subprocess.run([sys.executable, __file__, "photos", f"{name}/in", str(photos[0]), str(megapixels)], check=True)
        restore_files(plan_jobs([f"{name}/in"], out), Mean(), workers=workers, journal=journal(out))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{photos[0]:3d} photos of {megapixels:g} megapixels: peak {peak:.0f} MiB", flush=True)


@main.command(hidden=True)
@click.argument("folder", type=Path)
@click.argument("photos", type=int)
@click.argument("megapixels", type=float)
def photos(folder: Path, photos: int, megapixels: float) -> None:
    """In a process of their own, whose memory does not count."""
    written_photos(folder, photos, megapixels)


@main.command()
@click.option("--photos", default=400, show_default=True)
@click.option("--kills", default=10, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def kills(photos: int, kills: int, seed: int) -> None:
    """Whether the bytes are the same; exit code 1 where not."""
    torch.set_num_threads(1)
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        inputs, out, diary = written_photos(place / "in", photos, 0.05), place / "out", place / "diary"
        if (pid := os.fork()) == 0:  # before this process has threads
            restore_files(plan_jobs([inputs], place / "whole"), Mean())
            os._exit(0)
        started = time.perf_counter()
        assert os.waitpid(pid, 0)[1] == 0
        longest, n_hits = 2 * (time.perf_counter() - started) / (kills + 1), 0
        for _ in range(kills):
            if (pid := os.fork()) == 0:
                restore_files(plan_jobs([inputs], out), Mean(diary=diary), journal=journal(out))
                os._exit(0)
            time.sleep(moments.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            n_hits += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
            n_done = len(list(out.rglob("*.jpg")))
            print(f"killed with {n_done} of {photos} photos written", flush=True)
        rows = restore_files(plan_jobs([inputs], out), Mean(diary=diary), journal=journal(out))
        left = [path for path in out.rglob("*") if path.name.endswith(".part")]
        same = files(out) == files(place / "whole") and not left and not any(row.problem for row in rows)
        n_seen = len(diary.read_bytes())
        print(
            f"{n_hits} kills, {photos} photos, {n_seen - photos} restored twice, bytes {'same' if same else 'DIFFER'}"
        )
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
