"""What a folder's photos were made from and by whom, one line each, so that a killed run goes on.

A line says which photo (its path, size and time) a file was made of by which settings (their hash).  It is written
after the file, and believed only where all of that, and the size of the file, is still so.  Several processes with
shards of one division may work in one folder: each writes a journal of its own, and reads all of them when it begins.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from resharp.errors import DatasetError, PhotoError
from resharp.files import clear_unfinished, refusals_named, written_whole
from resharp.locks import exclusive, is_held

from .jobs import Job, Shard
from .rows import Row, stamp_of

_NAME, _END = ".resharp-journal", ".jsonl"
_PATIENCE = 60.0  # seconds that processes which begin together wait for each other

_Line = dict[str, Any]


class Journal:
    """The journal of a run in a folder of results.

    made_by: whatever decides what the pictures are, as JSON: the restorer, the hash of its weights, its settings, the
    seed, the version of resharp.  Results of another maker are made anew.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any], *, shard: Shard | None = None) -> None:
        self._folder, self._shard = folder, shard
        self._made_by = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / f"{_NAME}{_ending(shard)}{_END}"
        self._lines: dict[str, _Line] = {}
        self._file: BinaryIO | None = None
        self._alone = threading.Lock()

    @contextlib.contextmanager
    def held(self, jobs: Iterable[Job]) -> Iterator[None]:
        """The journal is ours for this block; what killed runs left half-written beside the outputs is removed before.

        Raises DatasetError where another process does the same part of the work, or divides it otherwise.
        """
        with contextlib.ExitStack() as until_done:
            with contextlib.ExitStack() as while_beginning:
                _wait_for_turn(while_beginning, self._folder / ".resharp-start")
                self._seize(until_done, {job.output.parent for job in jobs})
                self._begin(until_done)
            try:
                yield
            finally:
                self._file = None
                with contextlib.suppress(OSError):
                    if not self.path.stat().st_size:  # it says nothing
                        self.path.unlink()

    def _seize(self, until_done: contextlib.ExitStack, folders: Iterable[Path]) -> None:
        """Takes the lock, and clears the folders if nobody else is writing there."""
        busy = [other for other in self._all() if other != self.path and is_held(other)]
        for other in busy:
            if self._shard is None or not other.name.endswith(f"-of-{self._shard.count}{_END}"):
                raise DatasetError(
                    f"{self._folder}: another process restores another part of the work into it ({other.name}); wait "
                    "for it, or divide the work alike with --shard"
                )
        try:
            until_done.enter_context(exclusive(self.path))
        except DatasetError:
            raise DatasetError(
                f"{self._folder}: another process restores {f'shard {self._shard}' if self._shard else 'photos'} into "
                "it; wait for it, take another shard, or name another folder"
            ) from None
        for folder in () if busy else (self._folder, *folders):
            clear_unfinished(folder, below=False)

    def _begin(self, until_done: contextlib.ExitStack) -> None:
        """Reads what is known, and writes our own journal anew: its last line may have been cut short."""
        own = _latest(_lines(self.path))
        self._lines = _latest([line for path in self._all() for line in _lines(path)])
        with written_whole(self.path) as file:
            file.write("".join(json.dumps(line) + "\n" for line in own.values()).encode())
        with refusals_named(self.path):
            self._file = until_done.enter_context(self.path.open("ab"))

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob(f"{_NAME}*{_END}"))

    def kept(self, job: Job) -> Row | None:
        """The row of a job that is done, if neither it nor its maker has changed since."""
        line = self._lines.get(self._key(job))
        try:
            stamp = stamp_of(job.photo)
            if line is None or line != line | self._identity(job, stamp) or stamp_of(job.output)[0] != line["written"]:
                return None
            told = {name: line[name] for name in ("seconds", "megapixels", "facts")}
            return Row(job, **told, kept=True, stamp=stamp)
        except (PhotoError, KeyError):
            return None

    def note(self, row: Row) -> None:
        """One more is done.  Raises OutputError."""
        line = {
            "output": self._key(row.job),
            **self._identity(row.job, row.stamp),
            "written": stamp_of(row.job.output)[0],
            "seconds": round(row.seconds, 3),
            "megapixels": row.megapixels,
            "facts": dict(row.facts),
            "at": time.time(),
        }
        assert self._file is not None, "a journal is written while it is held"
        with self._alone, refusals_named(self.path):
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _identity(self, job: Job, stamp: tuple[int, int]) -> _Line:
        return {"photo": os.path.abspath(job.photo), "stamp": list(stamp), "made_by": self._made_by}  # noqa: PTH100 - links stay

    def _key(self, job: Job) -> str:
        return os.path.relpath(job.output, self._folder)


def _ending(shard: Shard | None) -> str:
    return "" if shard is None else f"-{shard.index}-of-{shard.count}"


def _wait_for_turn(until: contextlib.ExitStack, place: Path) -> None:
    """Takes a lock that others hold for moments only.  Raises DatasetError where it takes too long."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            until.enter_context(exclusive(place))
            return
        except DatasetError:
            if time.monotonic() > end:
                raise
        time.sleep(0.02)


def _latest(lines: list[_Line]) -> dict[str, _Line]:
    """The last line of each output, in the order in which they were written."""
    return {line["output"]: line for line in sorted(lines, key=lambda line: line["at"])}


def _lines(path: Path) -> list[_Line]:
    """The sound lines of a journal; none where it cannot be read, for then all is done again."""
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    return [line for text in texts if (line := _parsed(text)) is not None]


def _parsed(text: str) -> _Line | None:
    try:
        line = json.loads(text)
    except ValueError:  # cut short
        return None
    is_sound = isinstance(line, dict) and isinstance(line.get("output"), str) and isinstance(line.get("at"), float)
    return line if is_sound else None
