"""What became of each file, and how long the rest will take."""

import dataclasses
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

from resharp.errors import PhotoError, ResharpError
from resharp.photo import photo_size

from .jobs import Job


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of a job.

    problem: why there is no result, "" where there is one;  exit_code: of the problem, as its error has it;
    trace: where it arose, of a problem that nobody expects;  seconds: of the restorer alone;
    megapixels: of the photo;  kept: an earlier run had done it;  stamp: of the photo when it was read;
    facts: what the restorer found or did; "untouched" is why the photo came back as it was,
    "doubtful" why one ought to look at the result.
    """

    job: Job
    problem: str = ""
    exit_code: int = 0
    trace: str = ""
    seconds: float = 0.0
    megapixels: float = 0.0
    kept: bool = False
    stamp: tuple[int, int] = (0, 0)
    facts: Mapping[str, float | str] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def left_as_it_was(self) -> str:
        """Why, "" of a photo that was restored."""
        reason = self.facts.get("untouched")
        return f"left as it was ({reason})" if reason else ""

    @property
    def remark(self) -> str:
        """What whoever gave the photo ought to know: why it was left as it was, or what is doubtful; mostly ""."""
        return self.left_as_it_was or str(self.facts.get("doubtful", ""))


def failed_row(job: Job, error: Exception) -> Row:
    """What a row says of an error; whatever a photo or somebody's own network raises ends no other photo's work."""
    if isinstance(error, ResharpError):
        message = str(error)  # in one line, but for what names of files hold
        names_it = str(job.photo) in message or str(job.output) in message
        return Row(job, message if names_it else f"{job.photo}: {message}", error.exit_code)
    from resharp.device import is_out_of_memory  # torch is slow to load, and a missing photo needs none

    if is_out_of_memory(error):
        return Row(job, f"{job.photo}: not enough memory; close other programs or take a smaller photo", 1)
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return Row(job, f"{job.photo}: {message}", 1, "".join(traceback.format_exception(error)))


def stamp_of(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns.  Raises PhotoError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise PhotoError(f"{path}: no such file") from None
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from None
    return found.st_size, found.st_mtime_ns


class Pace:
    """How far a run is, and what the rest will take: by megapixels, for photos differ."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._left: dict[Job, float | None] = dict.fromkeys(jobs)
        self._began = time.perf_counter()
        self._megapixels, self._seconds = 0.0, 0.0
        self.n_files = len(self._left)

    def note(self, row: Row) -> None:
        """One more is done."""
        self._left.pop(row.job, None)
        if not row.kept:
            self._megapixels += row.megapixels
            self._seconds = time.perf_counter() - self._began

    @property
    def n_done(self) -> int:
        """Files that are done, by earlier runs, too."""
        return self.n_files - len(self._left)

    @property
    def seconds_per_megapixel(self) -> float | None:
        """Of this run until now, everything included; None before the first photo."""
        return self._seconds / self._megapixels if self._megapixels else None

    @property
    def megapixels_left(self) -> float:
        """Of all photos that are not done; asked for the first time it opens each of them for its size."""
        for job, size in self._left.items():
            if size is None:
                self._left[job] = _megapixels(job.photo)
        return sum(size or 0.0 for size in self._left.values())

    @property
    def seconds_left(self) -> float | None:
        """What the rest will take at this pace; None before the first photo."""
        pace = self.seconds_per_megapixel
        return None if pace is None else pace * self.megapixels_left


def _megapixels(photo: Path) -> float:
    try:
        height, width = photo_size(photo)
    except PhotoError:  # it will be a row, and take no time
        return 0.0
    return height * width / 1e6
