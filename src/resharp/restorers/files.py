"""The one engine that restores many photos: each a row, whatever happens to it; a run that was killed goes on.

Threads read the next photo and write the last ones while the restorer works; only a few photos are in memory at once.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from resharp.data.workers import checked_workers
from resharp.errors import OutputError
from resharp.files import check_writable
from resharp.parallel import in_stages, threads
from resharp.photo import Photo, check_encodable, read_photo, write_photo

from .base import Progress, Restorer
from .jobs import Job
from .journal import Journal
from .photos import restore_photo
from .rows import Pace, Row, failed_row, stamp_of

OnFile = Callable[[Row, Pace], None]
Beside = Callable[[Job, Photo, Photo], None]


def restore_files(
    jobs: Iterable[Job],
    restorer: Restorer,
    *,
    workers: int = 2,
    journal: Journal | None = None,
    seed: int = 0,
    known: Mapping[str, Any] | None = None,
    quality: int | None = None,
    on_file: OnFile | None = None,
    progress: Progress | None = None,
    progress_in: Callable[[Job], Progress] | None = None,
    beside: Beside | None = None,
) -> list[Row]:
    """Restore photos to files, and say what became of each, in their order.

    workers: threads that read and write beside the restorer; 0 does everything in turn.  journal: what is noted there
    is not done again.  seed: of each photo, so that none depends on those before it.  known: what the restorer is told
    of every photo.
    quality: of JPEG and WebP, see `write_photo`.
    on_file: sees each row in the order of the jobs, one at a time, and what the rest will take, on any thread.
    progress: (files done, files in all), False begins no more photos;  progress_in: gives the progress within a photo.
    beside: is given a job, its photo and its restoration, on any thread.

    A photo that cannot be read, restored or written is a row with a problem, and ends nothing.  Outputs are tried
    before the restorer works for them.  Ctrl-C leaves whole files, which a journal knows.
    """
    jobs = tuple(jobs)
    told = _Told(jobs, on_file, progress)
    run = _Run(restorer, told, journal, seed, known or {}, quality, progress_in, beside)
    held = contextlib.nullcontext() if journal is None else journal.held(jobs)
    with held, threads(checked_workers(workers)) as pool:
        n_behind = max(1, workers - 1)
        for _ in in_stages(run.left(jobs), run.read, run.restore, run.finish, pool=pool, n_behind=n_behind):
            pass
    return told.rows


@dataclasses.dataclass
class _State:
    """A job on its way; `row` is what is known of it so far, and has a problem where it ends early."""

    row: Row
    photo: Photo | None = None
    restored: Photo | None = None


class _Told:
    """Rows as they come, told in the order of the jobs; threads may note them."""

    def __init__(self, jobs: tuple[Job, ...], on_file: OnFile | None, progress: Progress | None) -> None:
        self._jobs, self._on_file, self._progress = jobs, on_file, progress
        self._waiting: dict[Job, Row] = {}
        self._alone = threading.RLock()
        self._pace = Pace(jobs)
        self.rows: list[Row] = []
        self.is_stopped = False

    def note(self, row: Row) -> None:
        """One more row."""
        with self._alone:
            self._waiting[row.job] = row
            while len(self.rows) < len(self._jobs) and (job := self._jobs[len(self.rows)]) in self._waiting:
                self._tell(self._waiting.pop(job))

    def _tell(self, row: Row) -> None:
        self.rows.append(row)
        self._pace.note(row)
        if self._on_file is not None:
            self._on_file(row, self._pace)
        if self._progress is not None and self._progress(len(self.rows), len(self._jobs)) is False:
            self.is_stopped = True


@dataclasses.dataclass
class _Run:
    restorer: Restorer
    told: _Told
    journal: Journal | None
    seed: int
    known: Mapping[str, Any]
    quality: int | None
    progress_in: Callable[[Job], Progress] | None
    beside: Beside | None
    writable: set[Path] = dataclasses.field(default_factory=set)  # folders that have been tried

    def left(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs that an earlier run has not done, until it is stopped."""
        for job in jobs:
            if self.told.is_stopped:
                return
            row = None if self.journal is None else self.journal.kept(job)
            if row is None:
                yield job
            else:
                self.told.note(row)

    def read(self, job: Job) -> _State:
        """The photo, if its restoration can be written."""
        try:
            if job.output.is_dir() or job.output.parent not in self.writable:
                check_writable(job.output)
                self.writable.add(job.output.parent)
            stamp = stamp_of(job.photo)
            photo = read_photo(job.photo)
            check_encodable(_scaled(photo, self.restorer.contract.scale), job.output)
        except Exception as error:
            return _State(failed_row(job, error))
        height, width = photo.image.shape[-2:]
        return _State(Row(job, megapixels=height * width / 1e6, stamp=stamp), photo)

    def restore(self, state: _State) -> _State:
        """The one stage that threads do not share."""
        if state.photo is None or self.told.is_stopped:
            return state
        job, started = state.row.job, time.perf_counter()
        progress = None if self.progress_in is None else self.progress_in(job)
        try:
            restored, made = restore_photo(state.photo, self.restorer, seed=self.seed, progress=progress, **self.known)
        except Exception as error:
            return _State(failed_row(job, error))
        row = dataclasses.replace(state.row, seconds=time.perf_counter() - started, facts=made.facts)
        return _State(row, state.photo if self.beside else None, restored)

    def finish(self, state: _State) -> None:
        """Writes what there is, and then notes it."""
        if state.restored is not None:
            self.told.note(self._written(state, state.restored))
        elif state.row.problem:
            self.told.note(state.row)

    def _written(self, state: _State, restored: Photo) -> Row:
        job = state.row.job
        try:
            write_photo(restored, job.output, quality=self.quality)
            if self.journal is not None:
                self.journal.note(state.row)
            if self.beside is not None and state.photo is not None:
                self.beside(job, state.photo, restored)
        except Exception as error:
            if isinstance(error, OutputError):  # the disk may be full: try before the next one
                self.writable.discard(job.output.parent)
            return failed_row(job, error)
        return state.row


def _scaled(photo: Photo, scale: int) -> Photo:
    """A photo of the size that its restoration will have, and its metadata, in no more memory than a pixel."""
    height, width = (scale * side for side in photo.image.shape[-2:])
    alpha = None if photo.alpha is None else photo.alpha[:1, :1].expand(height, width)
    return dataclasses.replace(photo, image=photo.image[:, :1, :1].expand(-1, height, width), alpha=alpha)
