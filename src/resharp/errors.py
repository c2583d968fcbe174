"""Every error that resharp raises on purpose, as one family.

    ResharpError                exit code of the command line
    +-- PhotoError        2     a photo that cannot be read as one
    +-- KernelError       2     a blur kernel that is none
    +-- WeightsError      2     unknown, damaged or unsafe weights
    +-- RecipeError       2     a recipe, a plan or an override that does not hold
    +-- DatasetError      2     a folder, listing or pack of photos that is not what it should be
    +-- ArgumentError     2     an argument out of its range (also a ValueError)
    +-- OutputError       1     a result that could not be written
    +-- ResourceError     1     not enough memory

Each message names the thing and the way out in one line.  A broken invariant of our own is an AssertionError instead.
"""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, things: str = "settings there") -> str:
    """The second half of an error about a name that nobody knows: the nearest one, or all there are."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"the {things} are {', '.join(known) or 'none'}"


class ResharpError(Exception):
    """Base of the family; catch it to catch everything that resharp reports on purpose."""

    exit_code = 2


class PhotoError(ResharpError):
    """A photo is missing, damaged, or of a kind that resharp does not read or write."""


class KernelError(ResharpError):
    """A blur kernel is missing, malformed, or does not fit the photo."""


class WeightsError(ResharpError):
    """Weights are unknown, damaged, in an unsafe format, or for another network."""


class RecipeError(ResharpError):
    """A recipe of a training, a plan of what spoils photos, or an override on the command line, does not validate."""


class DatasetError(ResharpError):
    """A folder, listing or pack of photos is missing, incomplete, or not in the layout that was named."""


class ArgumentError(ResharpError, ValueError):
    """An argument lies outside the range that its documentation states."""


class ResourceError(ResharpError):
    """The machine has not enough memory for what was asked."""

    exit_code = 1


class OutputError(ResharpError):
    """A result could not be written; what stood there before is untouched."""

    exit_code = 1
