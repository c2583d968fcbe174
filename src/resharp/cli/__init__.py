"""The command line: parse, call one public function, print.  Heavy imports wait until a command runs."""

import contextlib
import io
import json
import logging
import os
import sys
from typing import NoReturn

import click

import resharp
from resharp.allocation import keep_freed_memory
from resharp.errors import ResharpError
from resharp.files import reason_of

from ._groups import SectionedGroup
from ._terminal import InterruptedRunError, complain, is_failed_allocation
from .compare import compare
from .data import data
from .degrade import degrade
from .demo import demo
from .evaluate import evaluate
from .models import models
from .recipes import recipes
from .restore import deblur, deconvolve, demosaic, denoise, inpaint, upscale
from .study import study
from .train import runs, train

INTERRUPTED = 130  # the shell's convention for a process that Ctrl-C ended

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Restore": (deblur, denoise, deconvolve, upscale, inpaint, demosaic, demo),
    "Judge": (evaluate, compare, study),
    "Train": (train, runs, recipes, models),
    "Data": (data, degrade),
}


@click.group(cls=SectionedGroup, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(resharp.__version__, prog_name="resharp", message="%(prog)s %(version)s")
def cli() -> None:
    """Make degraded photographs sharp again; train, measure and trust the models that do it."""


def main() -> None:
    """Entry point.  Exit code 0, 2 for the user's mistake, 1 for a failure, 130 for Ctrl-C."""
    try:
        keep_freed_memory()
        _prepare_streams()
        logging.getLogger("resharp").addHandler(_COMPLAINTS)
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except ResharpError as error:
        _end(str(error), error.exit_code)
    except click.ClickException as error:
        _end(f"{error.format_message()} (see {_command_named()} --help)", 2)
    except InterruptedRunError as error:
        _end(str(error), INTERRUPTED)
    except (click.Abort, KeyboardInterrupt):
        _end("interrupted; what was finished is whole, nothing else was written", INTERRUPTED)
    except OSError as error:  # what no closer place has named
        _end(f"{error.filename or 'output'}: {reason_of(error)}", 1)
    except Exception as error:
        if not is_failed_allocation(error):
            raise
        _end("out of memory; close other programs or take smaller files", 1)
    sys.exit(0)


def _command_named() -> str:
    """The command that the words of this process name, "resharp data pack", as far as they name one."""
    command, named = cli, ["resharp"]
    for word in sys.argv[1:]:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        command = command.commands[word]  # type: ignore[assignment]
        named.append(word)
    return " ".join(named)


class _Complaints(logging.Handler):
    """What the library has to say, in lines like our own."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


_COMPLAINTS = _Complaints(logging.WARNING)


def _prepare_streams() -> None:
    """Output that somebody closed goes nowhere, for files opened later would get its number; names of any bytes are
    printable."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            setattr(sys, name, os.fdopen(handle, "r" if number == 0 else "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end(message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        with contextlib.suppress(OSError):
            click.echo(json.dumps({"error": message}))
    complain(message)
    sys.exit(code)
