"""Numbers that degradations take, checked at their doors; without torch."""

import operator
from typing import Any

from resharp.errors import ArgumentError

_SHOWN = 60  # characters of a text that a message repeats


def checked_whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` if it is a whole number between two others.  Raises ArgumentError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"{name} is {shortened(str(value))}; it must be a whole number")
    if not low <= value <= high:
        raise ArgumentError(f"{name} is {shortened(str(value))}; it must lie between {low} and {high}")
    return operator.index(value)


def checked_seed(seed: int) -> int:
    """`seed` if torch's generator on the CPU tells it from every other one: it uses 32 bits.  Raises ArgumentError."""
    return checked_whole("seed", seed, 0, 2**32 - 1)


def checked_sigma(sigma: float) -> float:
    """`sigma` if it is a noise level on the [0, 1] scale.  Raises ArgumentError."""
    if not sigma >= 0:
        raise ArgumentError(f"noise sigma is {sigma:g}; it must be 0 or above, on the [0, 1] scale")
    if sigma > 1:
        raise ArgumentError(
            f"noise sigma is {sigma:g}; it is on the [0, 1] scale: {sigma:g} levels = {sigma / 255:.4g}"
        )
    return sigma


def checked_photons(photons: float) -> float:
    """`photons` if it is a mean count at white: below a thousandth nothing is left of a picture.  Raises ArgumentError.

    0 means no shot noise.
    """
    if not (photons == 0 or 1e-3 <= photons <= 1e9):
        raise ArgumentError(f"photons is {photons:g}; it is 0 (no shot noise) or lies between 0.001 and 1e9")
    return photons


def shortened(text: str) -> str:
    """A text of the user's for a message of one line, its end left out where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
