"""What every restorer is.  STAND-IN: written to the interface, replaced by the real one on merging."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

Progress = Callable[[int, int], bool | None]
"""Called with (done, total); False stops."""


@dataclass(frozen=True)
class Contract:
    """What a restorer does."""

    task: str = "deblur"
    scale: int = 1


@dataclass(frozen=True)
class Restored:
    """A restored image and what is known beside it."""

    image: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, float | str] = field(default_factory=dict)


class Restorer(Protocol):
    """image (..., 3, H, W) float32 in [0, 1] -> Restored."""

    contract: Contract

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """Restore an image."""
