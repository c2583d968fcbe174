"""Files are written whole or not at all."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError

_BEGINNING, _END = ".resharp-", ".part"  # of the names of files that are being written

REFUSED = (errno.EACCES, errno.EPERM, errno.EAGAIN, errno.ENOLCK, errno.EIO)
"""Numbers of errors that say nothing of a file's content: it may be sound, and readable another time."""


@contextlib.contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turns what the disk refuses while writing `path` into an OutputError that says how to go on."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({reason_of(error)})") from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name `path` when the block ends well; else what stood there stays.

    Missing parent folders are made.  Raises OutputError for what the disk refuses.
    """
    part: Path | None = None
    try:
        with refusals_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            handle, name = tempfile.mkstemp(prefix=_BEGINNING, suffix=_END, dir=path.parent)
            part = Path(name)
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o666 & ~_umask())
            part.replace(path)
            part = None
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()


def check_writable(path: Path) -> None:
    """Tries what `written_whole` needs, before hours of work.  Raises OutputError as it does, for the same reasons."""
    with refusals_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.NamedTemporaryFile(prefix=_BEGINNING, suffix=_END, dir=path.parent) as file:
            file.write(b"\0" * 65536)  # a full disk still takes names


@contextlib.contextmanager
def without_empty_folders(*paths: Path) -> Iterator[None]:
    """Folders above `paths` that are made in this block and hold nothing when it ends are taken away again."""
    made = {folder for path in paths for folder in path.absolute().parents if not folder.exists()}
    try:
        yield
    finally:
        for folder in sorted(made, key=lambda folder: -len(folder.parts)):
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


def clear_unfinished(folder: Path, *, below: bool = True) -> None:
    """Removes what killed processes were writing in a folder, and `below` it.  Raises OutputError."""
    with refusals_named(folder):
        for part in folder.glob(f"{'**/' if below else ''}{_BEGINNING}*{_END}"):
            part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def reason_of(error: OSError) -> str:
    """What the system refused and the way out, in the user's words."""
    return {
        errno.ENOSPC: "the disk is full; free some space or choose another folder",
        errno.EACCES: "no permission there; choose a folder that you may write to",
        errno.EROFS: "a read-only disk; choose a folder that you may write to",
        errno.EISDIR: "a folder has this name; name a file",
        errno.ENOTDIR: "a file stands where a folder belongs; choose another folder",
        errno.EEXIST: "a file stands where a folder belongs; choose another folder",
    }.get(error.errno or 0, error.strerror or str(error))
