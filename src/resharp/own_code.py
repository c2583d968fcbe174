"""Code of one's own, named as "package.module:Name" wherever a table's row could be named."""

import importlib
import sys
from pathlib import Path
from typing import Any

from .errors import ArgumentError


def is_own(name: str) -> bool:
    """Whether a name has the form "package.module:Name"."""
    module, colon, rest = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *rest.split(".")])


def imported(name: str) -> Any:
    """What stands under "package.module:Name", also in modules of the working directory.  Raises ArgumentError.

    Importing runs the module: only names that the user gave come here, never names that a file holds.
    """
    if not is_own(name):
        raise ArgumentError(f"{name}: is no name of code; write package.module:Name")
    module, _, rest = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    try:
        found: Any = importlib.import_module(module)
        for part in rest.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # importing runs anybody's code
        raise ArgumentError(f"{name}: cannot be imported ({told(error)})") from None
    return found


def told(error: BaseException) -> str:
    """The error's kind, and the first line of its words if it has any."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
