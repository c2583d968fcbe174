"""What commands over photos share: where results go, one bad photo among many, the summary, `--json`."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from resharp.errors import PhotoError, ResharpError, ResourceError


class InterruptedRunError(Exception):
    """Ctrl-C, with a command's own words on what is left."""


Work = Callable[[Path, Path], dict[str, Any]]


class _Place(click.Path):
    """A path; an empty one, which Python takes for the working directory, is refused."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not str(value):
            self.fail("the name is empty; name a file or a folder", parameter, context)
        return super().convert(value, parameter, context)


PLACE = _Place(path_type=Path)
"""The type of every argument and option that names a file or a folder."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")


def complain(message: str) -> None:
    """One line on stderr, whatever the names in it hold."""
    click.echo(f"resharp: {_printable(message)}", err=True)


def say(message: str) -> None:
    """One line on stdout, whatever the names in it hold."""
    click.echo(_printable(message))


def _printable(text: str) -> str:
    """Escapes what a terminal would obey, and what is no text: the bytes of a name that is not in UTF-8."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def is_same(one: Path, other: Path) -> bool:
    """Whether two names mean one file, also by links."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def photo_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """PHOTO... -o OUT --json, as every such command has them."""
    command = json_option(command)
    command = click.option("-o", "--out", required=True, type=PLACE, help="A file, or a folder for several photos.")(
        command
    )
    photos = click.argument("photos", nargs=-1, required=True, type=PLACE, metavar="PHOTO...")
    return photos(command)


def named_files(*names: str | None) -> list[Path]:
    """Those of the names that are files, such as kernels and weights; `FILE.mat#2` names FILE.mat."""
    paths = [Path(part) for name in names if name for part in (name, name.rpartition("#")[0]) if part]
    return [path for path in paths if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def planned_outputs(photos: Sequence[Path], out: Path, read: Sequence[Path] = ()) -> list[Path]:
    """The file that each photo's result goes to; `read` are other files that the command reads.

    Raises PhotoError for plans that would lose something.
    """
    from resharp.photo import SUFFIXES, output_format

    if len(photos) == 1 and out.suffix.lower() in SUFFIXES and not out.is_dir():
        outputs = [out]
    elif out.is_dir() or not out.suffix:
        outputs = [out / photo.name for photo in photos]
    elif len(photos) == 1:
        output_format(out)  # a suffix that names no format: say which do
        outputs = [out]
    else:
        raise PhotoError(f"{out}: {len(photos)} photos need a folder; name one with -o")
    originals = {photo.resolve() for photo in photos}
    taken: dict[Path, Path] = {}
    for photo, output in zip(photos, outputs, strict=True):
        if output.resolve() in originals or is_same(output, photo):
            raise PhotoError(f"{output}: is one of the photos themselves; choose another name or folder with -o")
        if any(is_same(output, other) for other in read):
            raise PhotoError(f"{output}: is read by this command itself; choose another name with -o")
        if output in taken:
            raise PhotoError(f"{taken[output]} and {photo} would both be written to {output}; restore them one by one")
        taken[output] = photo
    return outputs


def run_over_photos(photos: Sequence[Path], out: Path, work: Work, *, as_json: bool, read: Sequence[Path] = ()) -> None:
    """Do `work(photo, output)` for each photo; a bad one is named and does not stop the others.  read: other files that
    the command reads.

    Ends the process with the gravest exit code of its photos: 1 (failure) before 2 (user's mistake) before 0.
    """
    records: list[dict[str, Any]] = []
    codes: list[int] = []
    for photo, output in zip(photos, planned_outputs(photos, out, read), strict=True):
        started = time.perf_counter()
        record: dict[str, Any] = {"input": str(photo), "output": str(output)}
        try:
            if photo.is_dir():
                raise PhotoError(f"{photo}: is a folder; name the photos in it, such as {photo}/*.jpg")
            record |= work(photo, output)
        except Exception as raised:
            error = _reported(raised)
            codes.append(error.exit_code)
            message = str(error) if str(photo) in str(error) else f"{photo}: {error}"
            record |= {"output": None, "error": message}
            if not as_json:
                complain(message)
        else:
            record["seconds"] = round(time.perf_counter() - started, 3)
            if not as_json:
                say(f"{photo} -> {output}  ({record['seconds']:.1f} s)")
        records.append(record)
    if as_json:
        click.echo(json.dumps({"photos": records, "n_failed": len(codes)}, allow_nan=False))
    elif codes and len(photos) > 1:
        failed = ", ".join(record["input"] for record in records if "error" in record)
        complain(f"{len(codes)} of {len(photos)} photos failed: {failed}")
    if codes:
        sys.exit(1 if 1 in codes else 2)


def is_failed_allocation(error: Exception) -> bool:
    """Whether memory ran out, wherever that was; torch is loaded only if it may have been in torch."""
    if isinstance(error, MemoryError):
        return True
    from resharp.device import is_out_of_memory

    return is_out_of_memory(error)


def _reported(error: Exception) -> ResharpError:
    """The error itself, or a failed allocation as one that can be told; others are raised on."""
    if isinstance(error, ResharpError):
        return error
    if not is_failed_allocation(error):
        raise error
    return ResourceError("not enough memory; close other programs or take a smaller photo")
