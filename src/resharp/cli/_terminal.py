"""What all commands share: lines for people, whatever the names in them hold, places, devices, interruptions."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from resharp.errors import DatasetError


class InterruptedRunError(Exception):
    """Ctrl-C, with a command's own words on what is left."""


class _Place(click.Path):
    """A path; an empty one, which Python takes for the working directory, is refused."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not str(value):
            self.fail("the name is empty; name a file or a folder", parameter, context)
        return super().convert(value, parameter, context)


PLACE = _Place(path_type=Path)
"""The type of every argument and option that names a file or a folder."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")
device_option: Decorator = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, mps, ... or auto: an accelerator if any."
)
precision_option: Decorator = click.option(
    "--precision",
    type=click.Choice(["auto", "bfloat16", "float32"]),
    default="auto",
    show_default=True,
    help="Of networks; auto takes bfloat16 where the processor is fast at it.",
)
network_option: Decorator = click.option(
    "--network",
    metavar="PACKAGE.MODULE:NAME",
    help="The class of a network of your own, which its weights file needs; it is imported.",
)


def complain(message: str) -> None:
    """One line on stderr, whatever the names in it hold."""
    click.echo(f"resharp: {_printable(message)}", err=True)


def say(message: str) -> None:
    """One line on stdout, whatever the names in it hold."""
    click.echo(_printable(message))


def _printable(text: str) -> str:
    """Escapes what a terminal would obey, and what is no text: the bytes of a name that is not in UTF-8."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def duration(seconds: float) -> str:
    """As people say it: 12 s, 5 min, 3 h 20 min, 4 days."""
    minutes = round(seconds / 60)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{round(hours / 24)} days"


def is_same(one: Path, other: Path) -> bool:
    """Whether two names mean one file, also by links."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def named_files(*names: str | None) -> list[Path]:
    """Those of the names that are files, such as kernels and weights; `FILE.mat#2` names FILE.mat."""
    paths = [Path(part) for name in names if name for part in (name, name.rpartition("#")[0]) if part]
    return [path for path in paths if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def check_there(*places: Path) -> None:
    """Raises DatasetError for a folder or file of photos that is not there, before anything slow is loaded."""
    for place in places:
        if not place.exists():
            raise DatasetError(f"{place}: no such folder")


def is_given(option: str) -> bool:
    """Whether the user wrote this option of the command that runs, rather than leaving it at its default."""
    return click.get_current_context().get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def is_failed_allocation(error: Exception) -> bool:
    """Whether memory ran out, wherever that was; torch is asked only where it is loaded, for only there can it fail."""
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from resharp.device import is_out_of_memory

    return is_out_of_memory(error)
