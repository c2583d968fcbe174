"""What every restorer is: an image in, an image out, whatever is behind it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from resharp.errors import ArgumentError, ResharpError, did_you_mean
from resharp.models import Contract

Progress = Callable[[int, int], bool | None]
"""Hears of (done, total), of parts, iterations or files alike; False stops."""


class StoppedError(ResharpError):
    """A caller's `progress` stopped a restoration before there was a picture."""

    exit_code = 130


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a restorer makes of an image.

    image: (..., 3, H, W), float32 in [0, 1];  maps: pictures beside it, by name ("kernel", "spread", "trust");
    facts: what was found or done, by name ("noise_sigma", "iterations").
    """

    image: Tensor
    maps: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, float | str] = dataclasses.field(default_factory=dict)


class Restorer(Protocol):
    """Images (..., 3, H, W) in [0, 1] -> `Restored`, of `contract.scale` times the size.

    accepts: what it can be told of the degradation by keyword, such as kernel and noise_sigma.  The same image, seed
    and knowledge give the same picture.
    """

    contract: Contract
    accepts: tuple[str, ...]

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored: ...


def check_known(known: Mapping[str, object], accepts: tuple[str, ...], *, name: str) -> None:
    """Raises ArgumentError for something that a restorer is told and would not use."""
    for key in known:
        if key not in accepts:
            hint = did_you_mean(key, accepts, things="things that it can be told")
            raise ArgumentError(f"{name} cannot be told {key}; {hint}")


def told(progress: Progress | None, done: int, total: int) -> None:
    """Tell of a part that is done.  Raises StoppedError where that stops the work."""
    if progress is not None and progress(done, total) is False and done < total:
        raise StoppedError("stopped; no picture was made")
