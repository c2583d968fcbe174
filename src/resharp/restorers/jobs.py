"""Which photo goes to which file: folders mirrored, work divided, and nothing planned that would lose a file."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from resharp.data.folders import is_leftover, look_below
from resharp.errors import ArgumentError, PhotoError
from resharp.files import check_writable
from resharp.photo import SUFFIXES, output_format

_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclasses.dataclass(frozen=True)
class Job:
    """A photo and the file that its restoration goes to."""

    photo: Path
    output: Path


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, 1 to `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`3/16`.  Raises ArgumentError."""
        found = _SHARD.fullmatch(text)
        index, count = (int(number) for number in found.groups()) if found else (0, 0)
        if not 1 <= index <= count:
            raise ArgumentError(f"shard {text!r}; name one of n parts as 1/n to n/n, such as 3/16")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclasses.dataclass(frozen=True)
class Jobs:
    """What there is to do, in order.

    folder: the one that all outputs lie in, None where the output is named as a file;  existing: left out, for their
    outputs exist;  passed_over: what operating systems leave in folders.
    """

    jobs: tuple[Job, ...]
    folder: Path | None
    existing: tuple[Job, ...] = ()
    passed_over: tuple[Path, ...] = ()
    shard: Shard | None = None

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def check_writable(self) -> None:
        """Raises OutputError where the first result could not be written, for a caller who has yet to load weights."""
        if self.jobs:
            check_writable(self.jobs[0].output)


def plan_jobs(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    suffix: str | None = None,
    shard: str | Shard | None = None,
    skip_existing: bool = False,
    read: Sequence[Path] = (),
) -> Jobs:
    """A job for each photo that the inputs name or hold.

    inputs: photos, and folders with all that lies below them.  What one folder holds goes to the same places below
    `out`; several folders each go to a folder of their name there.  One photo may go to a file.
    suffix: of the outputs, such as ".png"; None keeps that of the photo.  shard: "3/16" for the third of 16 parts,
    which together are everything, as long as all find the same photos.  skip_existing: leaves out what is there.
    read: other files that the command reads.

    Raises PhotoError for what would write over a file that is read or write two results to one file, ArgumentError for
    a shard that is none.
    """
    shard = Shard.parse(shard) if isinstance(shard, str) else shard
    paths, out = [Path(one) for one in inputs], Path(out)
    is_file = _names_a_file(paths, out)
    jobs, passed_over = ([Job(paths[0], out)], list[Path]()) if is_file else _mirrored(paths, out)
    if suffix is not None:
        jobs = [Job(job.photo, job.output.with_suffix(suffix)) for job in jobs]
        output_format(Path(f"photo{suffix}"))  # says which there are
    jobs = _checked(jobs, read)
    if shard is not None:
        jobs = jobs[shard.index - 1 :: shard.count]
    existing = [job for job in jobs if job.output.exists()] if skip_existing else []  # after the division: others write
    done = {job.output for job in existing}
    jobs = [job for job in jobs if job.output not in done]
    return Jobs(tuple(jobs), None if is_file else out, tuple(existing), tuple(dict.fromkeys(passed_over)), shard)


def _names_a_file(inputs: Sequence[Path], out: Path) -> bool:
    if out.is_dir() or not out.suffix:
        return False
    if len(inputs) == 1 and not inputs[0].is_dir():
        output_format(out)  # a suffix that names no format: say which do
        return True
    if out.suffix.lower() in SUFFIXES or out.exists():
        raise PhotoError(f"{out}: several photos need a folder; name one with -o")
    return False


def _mirrored(inputs: Sequence[Path], out: Path) -> tuple[list[Job], list[Path]]:
    """The jobs of photos and folders, and what systems left among them."""
    jobs: list[Job] = []
    leftovers: list[Path] = []
    folders = [path for path in inputs if path.is_dir()]
    for path in inputs:
        if path in folders:
            if out.resolve() == path.resolve():
                raise PhotoError(f"{out}: is the folder that is read; choose another with -o")
            place = out / path.resolve().name if len(folders) > 1 else out
            photos, left = _photos_and_leftovers(path, out)
            jobs += [Job(photo, place / photo.relative_to(path)) for photo in photos]
            leftovers += left
        elif is_leftover(path.name) and (path.name.startswith("._") or path.suffix.lower() not in SUFFIXES):
            leftovers.append(path)
        else:
            jobs.append(Job(path, out / path.name))
    if not jobs:
        names = ", ".join(str(path) for path in inputs[:3])
        raise PhotoError(f"{names}: no photos there ({', '.join(sorted(SUFFIXES))}); name photos or folders of them")
    return jobs, leftovers


def _photos_and_leftovers(folder: Path, out: Path) -> tuple[list[Path], list[Path]]:
    """Without the results of an earlier run, where these go to a folder inside."""
    found, results = look_below(folder), out.resolve()
    photos = list(found.photos)
    if results.is_relative_to(folder.resolve()):
        photos = [photo for photo in photos if not photo.resolve().is_relative_to(results)]
    return photos, [path for path in found.leftovers if not path.name.startswith(".resharp-")]


def _checked(jobs: Iterable[Job], read: Sequence[Path]) -> list[Job]:
    """The jobs, each once.  Raises PhotoError."""
    places = _Places()
    jobs = list(jobs)
    photos = {places.of(job.photo) for job in jobs}
    others = {places.of(path) for path in read}
    kept: dict[Path, Job] = {}
    for job in jobs:
        place = places.of(job.output)
        if place in photos:
            raise PhotoError(f"{job.output}: is one of the photos themselves; choose another name or folder with -o")
        if place in others:
            raise PhotoError(f"{job.output}: is read by this command itself; choose another name with -o")
        first = kept.setdefault(place, job)
        if places.of(first.photo) != places.of(job.photo):
            raise PhotoError(
                f"{first.photo} and {job.photo} would both be written to {job.output}; {_way_out(first, job)}"
            )
    return list(kept.values())


def _way_out(one: Job, other: Job) -> str:
    if one.photo.parent == other.photo.parent:
        return "restore them into different folders"
    return "name the folder that holds both, whose structure is kept, or restore them one by one"


class _Places(dict[Path, Path]):
    """Where folders really are, each looked up once: there may be many files in them."""

    def __missing__(self, folder: Path) -> Path:
        self[folder] = folder.resolve()
        return self[folder]

    def of(self, path: Path) -> Path:
        """The file that a name leads to, through links."""
        return path.resolve() if path.is_symlink() else self[path.parent] / path.name
