"""The command line: parse, call one public function, print.  Heavy imports wait until a command runs."""

import json
import sys

import click

import resharp
from resharp.errors import ResharpError

from ._batch import InterruptedRunError
from .degrade import degrade
from .demo import demo
from .restore import deconvolve
from .train import train
from .weights import weights

INTERRUPTED = 130  # the shell's convention for a process that Ctrl-C ended


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(resharp.__version__, prog_name="resharp", message="%(prog)s %(version)s")
def cli() -> None:
    """Make degraded photographs sharp again; train, measure and trust the models that do it."""


for command in (deconvolve, degrade, weights, train, demo):
    cli.add_command(command)


def main() -> None:
    """Entry point.  Exit code 0, 2 for the user's mistake, 1 for a failure, 130 for Ctrl-C."""
    try:
        code = cli.main(standalone_mode=False)
    except ResharpError as error:
        if "--json" in sys.argv:
            click.echo(json.dumps({"error": str(error)}))
        click.echo(f"resharp: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except InterruptedRunError as error:
        click.echo(f"resharp: {error}", err=True)
        sys.exit(INTERRUPTED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("resharp: interrupted; what was finished is whole, nothing else was written", err=True)
        sys.exit(INTERRUPTED)
    except MemoryError:
        click.echo("resharp: out of memory; restore a smaller photo or close other programs", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
