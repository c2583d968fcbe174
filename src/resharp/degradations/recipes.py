"""Degradations that can be written down: kind, parameters and seed as JSON, and the same bytes when done again.

A recipe is a list of steps.  Each step draws from a generator of its own seed, so a recipe does not depend on what was
drawn before it, nor on the process that runs it.  On another processor or library version the last bit of a float may
differ, and with it, rarely, a grey level.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from resharp.errors import ArgumentError, KernelError, RecipeError, did_you_mean

from .compression import Jpeg
from .noise import Noise, checked_seed
from .optics import Defocus, GaussianBlur, KernelBlur
from .sampling import Downscale, Mosaicked
from .shake import Shake
from .trajectory import TrajectoryBlur


class Degradation(Protocol):
    """What spoils a photo: a frozen value whose fields are its parameters, JSON all of them."""

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """The spoiled form of (C, H, W) in [0, 1]; whatever is drawn comes from the generator."""


DEGRADATIONS: dict[str, type[Degradation]] = {
    "blur": KernelBlur,
    "trajectory": TrajectoryBlur,
    "shake": Shake,
    "defocus": Defocus,
    "gaussian": GaussianBlur,
    "downscale": Downscale,
    "mosaic": Mosaicked,
    "noise": Noise,
    "jpeg": Jpeg,
}
_KIND = {made: kind for kind, made in DEGRADATIONS.items()}


@dataclasses.dataclass(frozen=True)
class Step:
    """One degradation and the seed of what it draws."""

    degradation: Degradation
    seed: int = 0

    def __post_init__(self) -> None:
        checked_seed(self.seed)

    @property
    def kind(self) -> str:
        """Its name in DEGRADATIONS."""
        return _KIND[type(self.degradation)]

    def as_json(self) -> dict[str, Any]:
        """{"kind", "parameters", "seed"}; `step_from_json` is the inverse."""
        parameters = {name: getattr(self.degradation, name) for name in parameter_names(self.kind)}
        return {"kind": self.kind, "parameters": parameters, "seed": self.seed}


def parameter_names(kind: str) -> list[str]:
    """The parameters of a kind of degradation, in order."""
    return [field.name for field in dataclasses.fields(DEGRADATIONS[kind])]  # type: ignore[arg-type]  # all are


def make_degradation(kind: str, parameters: Mapping[str, Any]) -> Degradation:
    """A row of DEGRADATIONS with these parameters.

    Raises RecipeError for an unknown kind or parameter, a wrong type or a value out of range.
    """
    if kind not in DEGRADATIONS:
        raise RecipeError(f"{kind!r} is no degradation; {did_you_mean(kind, DEGRADATIONS, things='kinds')}")
    for name in parameters:
        if name not in parameter_names(kind):
            raise RecipeError(f"{kind}.{name} is not a parameter; {did_you_mean(name, parameter_names(kind))}")
    try:
        return _adapter(kind).validate_json(json.dumps(dict(parameters)), strict=True)
    except ValidationError as error:
        raise RecipeError("; ".join(_explained(kind, problem) for problem in error.errors())) from None
    except KernelError as error:
        raise RecipeError(f"{kind}: {error}") from None


@functools.cache
def _adapter(kind: str) -> TypeAdapter[Degradation]:
    return TypeAdapter(DEGRADATIONS[kind])


def _explained(kind: str, problem: Any) -> str:
    place = ".".join([kind, *(str(part) for part in problem["loc"][:1])])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"


def step_from_json(values: Any) -> Step:
    """A step from what `Step.as_json` gave.  Raises RecipeError."""
    if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
        raise RecipeError("a step is an object with kind, parameters and seed")
    unknown = sorted(set(values) - {"kind", "parameters", "seed"})
    if unknown:
        raise RecipeError(f"{unknown[0]!r} is no part of a step; it has kind, parameters and seed")
    parameters, seed = values.get("parameters", {}), values.get("seed", 0)
    if not isinstance(parameters, dict) or not isinstance(seed, int) or isinstance(seed, bool):
        raise RecipeError(f"step {values['kind']!r}: parameters is an object, seed a whole number")
    try:
        return Step(make_degradation(values["kind"], parameters), seed)
    except ArgumentError as error:
        raise RecipeError(str(error)) from None


def apply_steps(steps: Sequence[Step], image: Tensor) -> tuple[Tensor, Tensor]:
    """(degraded, clean) from a clean image (C, H, W) in [0, 1].

    The clean one is the image itself, except after a shake with moving objects or brighter highlights: these belong to
    the sharp scene too.  The degraded one is float and not clipped.  Raises RecipeError if such a shake is not first.
    """
    degraded = clean = image
    for index, step in enumerate(steps):
        generator = torch.Generator().manual_seed(step.seed)
        if isinstance(step.degradation, Shake):
            degraded, scene = step.degradation.expose(degraded, generator=generator)
            if index and (step.degradation.n_objects or step.degradation.highlights):
                raise RecipeError(
                    "a shake with moving objects or highlights changes the sharp photo; make it the first step"
                )
            clean = clean if index else scene
        else:
            degraded = step.degradation(degraded, generator=generator)
    return degraded, clean
