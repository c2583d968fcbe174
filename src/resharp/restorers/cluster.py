"""Many photos on many machines, by Ray: each worker opens a restorer once and is given a few photos at a time.

All machines must see the photos and outputs under the same names, and have resharp installed.  A worker that dies (a
machine that goes away, a photo that takes all memory) is replaced, and its photos are done again.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from resharp.errors import ArgumentError, OutputError, ResharpError, ResourceError

from .base import Restorer
from .files import OnFile, restore_files
from .jobs import Job
from .journal import Journal
from .rows import Pace, Row

_TOGETHER = 4  # photos that a worker is given at a time, so that it reads and writes beside its work
_TRIES = 3  # of a photo whose workers die

_Part = tuple[Job, ...]


def restore_files_on_ray(
    jobs: Iterable[Job],
    how_to_open: Callable[[], Restorer],
    *,
    n_workers: int,
    gpus: float = 0.0,
    journal: Journal | None = None,
    seed: int = 0,
    known: Mapping[str, Any] | None = None,
    on_file: OnFile | None = None,
) -> list[Row]:
    """Like `restore_files`, on the cluster that RAY_ADDRESS names, or on this machine alone.

    how_to_open: opens a restorer on a worker, such as functools.partial(open_restorer, "blind-refined", device="cuda").
    n_workers: restorers in all;  gpus: that each of them takes, a share of one or several.  on_file: sees rows as they
    come, in no order; the rows that are returned are in that of the jobs.

    A photo whose workers die three times is a row with a problem.  Raises what `how_to_open` raises, ArgumentError, and
    OutputError where Ray is missing.
    """
    if n_workers < 1:
        raise ArgumentError(f"{n_workers} workers on Ray; one is the least")
    jobs = tuple(jobs)
    rows: dict[Job, Row] = {}
    pace = Pace(jobs)

    def note(row: Row) -> None:
        if journal is not None and not row.problem and not row.kept:
            journal.note(row)
        rows[row.job] = row
        pace.note(row)
        if on_file is not None:
            on_file(row, pace)

    with contextlib.nullcontext() if journal is None else journal.held(jobs):
        left = []
        for job in jobs:
            row = None if journal is None else journal.kept(job)
            if row is None:
                left.append(job)
            else:
                note(row)
        if left:
            with _crew(
                how_to_open, min(n_workers, len(left)), gpus, {"seed": seed, "known": dict(known or {})}
            ) as crew:
                for row in crew.rows(left):
                    note(row)
    return [rows[job] for job in jobs]


class _Worker:
    """What runs on another process, perhaps of another machine."""

    def open(self, how_to_open: Callable[[], Restorer]) -> None:
        """Loads weights; here, and not in the making of the worker, so that what it raises is told as it is."""
        self._restorer = how_to_open()

    def restore(self, jobs: _Part, settings: Mapping[str, Any]) -> list[Row]:
        """A row for each."""
        return restore_files(jobs, self._restorer, **settings)


@contextlib.contextmanager
def _crew(
    how_to_open: Callable[[], Restorer], n_workers: int, gpus: float, settings: dict[str, Any]
) -> Iterator["_Crew"]:
    """Workers that stop with the block, and so does a Ray that was started for it."""
    try:
        import ray
    except ImportError:
        raise OutputError("many machines need Ray: pip install 'resharp[ray]'") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    crew = _Crew(ray, how_to_open, n_workers, gpus, settings)
    try:
        crew.begin()
        yield crew
    finally:
        crew.stop()
        if is_ours:
            ray.shutdown()


@dataclasses.dataclass
class _Crew:
    ray: Any
    how_to_open: Callable[[], Restorer]
    n_workers: int
    gpus: float
    settings: dict[str, Any]
    waiting: dict[Any, tuple[Any, _Part]] = dataclasses.field(default_factory=dict)  # by what is awaited
    actors: list[Any] = dataclasses.field(default_factory=list)
    n_died: int = 0

    def begin(self) -> None:
        """Opens a restorer on each worker.  Raises what that raises."""
        for _ in range(self.n_workers):
            actor, opened = self._hire()
            self.waiting[opened] = actor, ()

    def stop(self) -> None:
        """Ends all workers at once; files are whole, whatever they were doing."""
        for actor in self.actors:
            self.ray.kill(actor)

    def _hire(self) -> tuple[Any, Any]:
        actor = self.ray.remote(_Worker).options(num_cpus=1, num_gpus=self.gpus).remote()
        self.actors.append(actor)
        return actor, actor.open.remote(self.how_to_open)

    def rows(self, jobs: Iterable[Job]) -> Iterator[Row]:
        """As they come."""
        parts, tries = _divided(list(jobs), self.n_workers), collections.Counter[Job]()
        while self.waiting:
            (done,), _ = self.ray.wait(list(self.waiting), num_returns=1)
            actor, part = self.waiting.pop(done)
            try:
                yield from self.ray.get(done) or ()
            except self.ray.exceptions.RayTaskError as error:  # raised over there
                raise error.cause if isinstance(error.cause, ResharpError) else error from None
            except self.ray.exceptions.RayActorError:
                self.actors.remove(actor)
                if not part:
                    self._note_death_in_opening()
                yield from self._again(part, parts, tries)
                if parts:
                    actor, opened = self._hire()
                    self.waiting[opened] = actor, ()
                continue
            if parts:
                part = parts.popleft()
                self.waiting[actor.restore.remote(part, self.settings)] = actor, part

    def _note_death_in_opening(self) -> None:
        self.n_died += 1
        if self.n_died >= _TRIES:
            raise ResourceError("workers on Ray die while they open the restorer; take fewer, or give them more memory")

    def _again(self, part: _Part, parts: collections.deque[_Part], tries: collections.Counter[Job]) -> Iterator[Row]:
        """Puts photos whose worker died back, one by one, so that the one that kills takes no other along."""
        tries.update(part)
        for job in part:
            if tries[job] < _TRIES:
                parts.append((job,))
            else:
                yield Row(job, f"{job.photo}: its workers died {_TRIES} times; it may take too much memory", 1)


def _divided(jobs: list[Job], n_workers: int) -> collections.deque[_Part]:
    """A few photos together, and fewer where there are few in all."""
    size = max(1, min(_TOGETHER, len(jobs) // n_workers))
    return collections.deque(tuple(jobs[start : start + size]) for start in range(0, len(jobs), size))
