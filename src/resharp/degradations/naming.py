"""What the text that `--kernel` takes names: a shape, a file, or that the kernel is to be found; without torch."""

import re
from pathlib import Path

from resharp.errors import KernelError

from .ranges import shortened

_N_NUMBERS = {"gaussian": 1, "disk": 1, "motion": 2}  # of each shape
_LEAST = 5  # pixels of the side of kernels that are found: less is no blur
SHAPE_EXAMPLES = "gaussian:1.6, disk:3, motion:15,30"


def check_named(text: str) -> None:
    """Raises KernelError, before anything slow is loaded, for a text that no kernel comes of."""
    if largest_named(text) is None and names_shape(text):
        shape_and_numbers(text)
    elif largest_named(text) is None:
        file_and_number(text)


def names_shape(text: str) -> bool:
    """Whether `text` names a shape such as `disk:3`, and no file."""
    shape, colon, _ = text.partition(":")
    return bool(colon) and shape in _N_NUMBERS


def shape_and_numbers(text: str) -> tuple[str, list[float]]:
    """("motion", [15, 30]) of "motion:15,30".  Raises KernelError."""
    shape, _, numbers = text.partition(":")
    try:
        found = [float(number) for number in numbers.split(",")]
    except ValueError:
        found = []
    if len(found) != _N_NUMBERS[shape]:
        raise KernelError(f"{shortened(text)!r}: not understood; write it like {SHAPE_EXAMPLES}")
    return shape, found


def file_and_number(text: str) -> tuple[str, str]:
    """("FILE.mat", "2") of "FILE.mat#2", which may also be the file's name.  Raises KernelError for no file."""
    try:
        path, _, number = (text, "", "") if Path(text).exists() else text.partition("#")
        what = "is a folder" if Path(path).is_dir() else "no such kernel file"
        if Path(path).is_file():
            return path, number
    except OSError as error:  # of a name that is too long, or in a folder that may not be read
        path, what = text, f"no such kernel file ({error.strerror})"
    way_out = f"name a PNG, .npy or .mat file, or a shape such as {SHAPE_EXAMPLES}"
    raise KernelError(f"{shortened(path)}: {what}; {way_out}")


def largest_named(text: object) -> int | None:
    """The largest side that `estimate` (0) or `estimate:31` asks for, None of any other kernel.  Raises KernelError."""
    if not isinstance(text, str) or text.partition(":")[0] != "estimate":
        return None
    match = re.fullmatch(r"estimate(?::(\d{1,4}))?", text)
    largest = int(match[1] or 0) if match else -1
    if text != "estimate" and (largest < _LEAST or largest % 2 == 0):
        least = f"an odd number from {_LEAST} on"
        raise KernelError(f"{text!r}: write estimate, or estimate:31 for kernels of up to 31 pixels ({least})")
    return largest
