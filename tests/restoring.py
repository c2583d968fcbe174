"""Cheap restorers and small photos for tests of the engine, and a program that is killed in the middle of its work.

    python -m tests.restoring FOLDER N_KILLS SEED

restores FOLDER/in to FOLDER/out again and again, killed a moment after a few more photos were begun, and then to its
end; prints how many were killed, and how many photos the restorer has seen.  It starts its victims by fork, so that
torch is imported once.
"""

import dataclasses
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resharp.errors import ResourceError
from resharp.photo import Photo, write_photo
from resharp.restorers.base import Progress, Restored
from resharp.restorers.files import restore_files
from resharp.restorers.jobs import plan_jobs
from resharp.restorers.journal import Journal


@dataclasses.dataclass(frozen=True)
class Task:
    """As much of a contract as the engine asks for."""

    task: str = "deblur"
    scale: int = 1


@dataclasses.dataclass
class Darker:
    """Halves a photo, enlarged by whole pixels; fails where a photo's first pixel is black.

    diary: a file that gets a byte for each photo.
    """

    scale: int = 1
    seconds: float = 0.0
    diary: Path | None = None
    seen: list[tuple[int, ...]] = dataclasses.field(default_factory=list)

    @property
    def contract(self) -> Any:
        return Task(scale=self.scale)

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        self.seen.append(tuple(image.shape))
        if self.diary is not None:
            with self.diary.open("ab") as file:
                file.write(b".")
        time.sleep(self.seconds)
        if not image[..., 0, 0].any():
            raise ResourceError("not enough memory on cpu for a photo; take a smaller one")
        if progress is not None:
            progress(1, 1)
        larger = image.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
        return Restored(larger * known.get("factor", 0.5))


def write_photos(folder: Path, n_photos: int, *, height: int = 24, width: int = 32) -> list[Path]:
    """Noisy photos that differ."""
    paths = []
    for number in range(n_photos):
        image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(number)) * 0.9 + 0.1
        paths.append(folder / f"{number % 3}" / f"{number:04d}.{'png' if number % 2 else 'jpg'}")
        write_photo(Photo(image), paths[-1])
    return paths


def restore(folder: Path, out: Path, diary: Path | None, seconds: float = 0.0) -> None:
    """The command that is killed."""
    jobs = plan_jobs([folder], out)
    rows = restore_files(jobs, Darker(seconds=seconds, diary=diary), journal=Journal(out, {"restorer": "darker"}))
    assert not any(row.problem for row in rows), rows


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, but for journals and what locks leave."""
    files = (path for path in folder.rglob("*") if path.is_file() and "resharp-" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def main(folder: str, n_kills: str, seed: str) -> None:
    """Kill, and go on; exit code 1 where a process failed by itself."""
    torch.set_num_threads(1)
    moments, place = random.Random(int(seed)), Path(folder)
    (diary := place / "diary").touch()
    n_hits = 0
    for _ in range(int(n_kills)):
        enough = diary.stat().st_size + moments.randint(1, 5)
        if (pid := os.fork()) == 0:
            restore(place / "in", place / "out", diary, 0.02)
            os._exit(0)
        while diary.stat().st_size < enough and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        n_hits += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    restore(place / "in", place / "out", diary)
    sys.stdout.write(f"{n_hits} {diary.stat().st_size}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
