"""Where a figure comes from: hashes of files and folders, the commit of the code."""

import functools
import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

_NOT_READABLE = "unreadable"


def file_sha256(path: Path) -> str:
    """Of the bytes of a file; the word "unreadable" where there are none to read, which its row will explain."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return _NOT_READABLE


def files_sha256(files: Iterable[tuple[str, Path]]) -> str:
    """One hash of named files: it changes with a name, with their order and with any byte."""
    whole = hashlib.sha256()
    for name, path in files:
        whole.update(f"{name}\0{file_sha256(path)}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def path_sha256(path: Path) -> str:
    """Of a file, or of all files below a folder by their names there."""
    if not path.is_dir():
        return file_sha256(path)
    return files_sha256((p.relative_to(path).as_posix(), p) for p in sorted(path.rglob("*")) if p.is_file())


@functools.cache
def code_commit() -> str:
    """The commit of the code that runs, where it stands in a repository ("+" if files were changed since), else ""."""
    here = str(Path(__file__).parent)
    if not _git("-C", here, "ls-files", "--error-unmatch", Path(__file__).name):
        return ""  # installed inside somebody else's repository
    commit = _git("-C", here, "rev-parse", "HEAD")
    return commit + "+" if commit and _git("-C", here, "status", "--porcelain", "--", here + "/..") else commit


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
