"""What a network is for and what it needs, stated once and kept in its file: who runs it asks this and guesses
nothing."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resharp.errors import ArgumentError, WeightsError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

TASKS: dict[str, str] = {
    "deblur": "a blurred photo in, a sharp one out",
    "denoise": "a photo with white noise in, without it out",
    "upscale": "a small photo in, a larger one out",
    "demosaic": "the one plane of a sensor with a Bayer filter in, a photo out",
    "inpaint": "a photo with lost pixels in, a whole one out",
    "degrade": "a sharp photo in, a realistically spoilt one out",
    "kernels": "a blurred photo in, its blur kernels out",
    "detect-blur": "a photo in, how much speaks for its having been shaken out",
}
INPUTS = ("image", "sigma", "noise", "segmentation", "undone")
"""What networks take, the photo first, in the order in which `forward` names them."""


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a network does with a photo, and what it asks for.

    task: a row of TASKS;  scale: pixels that come out per pixel and axis;  multiple_of: what both sides of the photo
    must be multiples of (who runs the network pads);  halo: pixels around a pixel that the result there depends on,
    None where it is the whole photo;  takes: some of INPUTS;  noise_sigma: the lowest and the highest noise level that
    a denoiser is good for, on the [0, 1] scale;  unrolled: the steps of half-quadratic splitting that a denoiser was
    learned within, and undoes known blur in, at the least noise (`solvers.steps_for`), None for one that learned white
    noise alone.

    Raises ArgumentError for what cannot be.
    """

    task: str
    scale: int = 1
    multiple_of: int = 1
    halo: int | None = None
    takes: tuple[str, ...] = ("image",)
    noise_sigma: tuple[float, float] | None = None
    unrolled: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or self.task not in TASKS:
            raise ArgumentError(f"task {self.task!r} is unknown; {did_you_mean(str(self.task), TASKS, things='tasks')}")
        for name, value in (("scale", self.scale), ("multiple_of", self.multiple_of)):
            if not (type(value) is int and 1 <= value <= 4096):
                raise ArgumentError(f"{name} of a contract is {value!r}; it is a whole number from 1 on")
        if not (self.halo is None or (type(self.halo) is int and 0 <= self.halo <= 1 << 20)):
            raise ArgumentError(f"halo of a contract is {self.halo!r}; it is a number of pixels, or None for all")
        if not isinstance(self.takes, tuple) or self.takes[:1] != ("image",) or not set(self.takes) <= set(INPUTS):
            raise ArgumentError(f"a network takes the image and what else of {', '.join(INPUTS)}, not {self.takes}")
        if (self.task == "denoise") != (self.noise_sigma is not None):
            raise ArgumentError("a denoiser's contract states noise_sigma, the range of its levels, and no other does")
        if self.noise_sigma is not None:
            low, high = self.noise_sigma
            if not 0 <= low <= high <= 1 or high == 0:
                raise ArgumentError(f"noise_sigma of a contract is {self.noise_sigma}; it is (low, high) within [0, 1]")

        if self.unrolled is not None and not (
            self.task == "denoise" and type(self.unrolled) is int and 1 <= self.unrolled <= 1000
        ):
            raise ArgumentError(f"unrolled of a contract is {self.unrolled!r}; of a denoiser it is a number of steps")

    def stored(self) -> dict[str, Any]:
        """As plain values that JSON holds."""
        return dataclasses.asdict(self)

    @classmethod
    def from_stored(cls, stored: object, *, name: str) -> "Contract":
        """The contract that a file `name` holds.  Raises WeightsError for one that is none."""
        if not isinstance(stored, Mapping):
            raise WeightsError(f"{name}: its card holds no contract; write it again with `save_model`")
        known = {field.name for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in stored.items() if key in known
        }
        try:
            return cls(**values)
        except (ArgumentError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{name}: its contract does not hold ({error}); write it again with `save_model`"
            ) from None


def contract_of(
    network: "nn.Module",
    task: str,
    *,
    takes: tuple[str, ...] = ("image",),
    noise_sigma: tuple[float, float] | None = None,
    unrolled: int | None = None,
) -> Contract:
    """The contract of a network that states its own scale, multiple_of and halo, as those of `resharp.networks` do.

    One that states none of them keeps sizes, takes any, and depends on the whole photo.
    """
    return Contract(
        task,
        scale=getattr(network, "scale", 1),
        multiple_of=getattr(network, "multiple_of", 1),
        halo=getattr(network, "halo", None),
        takes=getattr(network, "takes", takes),
        noise_sigma=noise_sigma,
        unrolled=unrolled,
    )
