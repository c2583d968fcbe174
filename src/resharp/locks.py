"""One writer at a time: a lock that dies with its process, so that none is ever left behind."""

import contextlib
import errno
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import DatasetError
from .files import refusals_named

if sys.platform == "win32":
    import msvcrt

    def _seize(handle: int, *, shared: bool = False) -> None:
        del shared  # there is no such lock
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _seize(handle: int, *, shared: bool = False) -> None:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


_HELD_ELSEWHERE = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds `path`, a folder that exists or a file that is to be written, for this block alone.

    The lock is a hidden file in the folder, or beside the file; the system frees it when the process ends, however it
    ends.  A file's missing parent folders are made.  Raises DatasetError where another block or process holds the
    path, OutputError for what the disk refuses.
    """
    place = _place(path)
    with refusals_named(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle = _held(place, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps the name of an open file
            place.unlink()
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether another block or process holds `path`; nothing is written to find out."""
    try:
        handle = os.open(_place(path), os.O_RDONLY)
    except OSError:  # a killed process leaves the file, all others take it with them
        return False
    try:
        _seize(handle, shared=True)
    except OSError as error:
        return error.errno in _HELD_ELSEWHERE
    finally:
        os.close(handle)
    return False


def holder(path: Path) -> str:
    """Who holds `path`, as far as its lock tells."""
    try:
        return _place(path).read_text(encoding="utf-8") or "another process"
    except (OSError, ValueError):
        return "another process"


def _place(path: Path) -> Path:
    return path / ".resharp-lock" if path.is_dir() else path.with_name(f".{path.name}.resharp-lock")


def _held(place: Path, path: Path) -> int:
    """A locked handle on the file that bears the name `place`: one that a last writer unlinked meanwhile is no lock."""
    while True:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _seize(handle)
            held, named = os.fstat(handle), place.stat()
            if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
                return handle
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            if error.errno in _HELD_ELSEWHERE:
                raise DatasetError(
                    f"{path}: is being written by {holder(path)}; wait for it, or name another"
                ) from None
            raise
        os.close(handle)
