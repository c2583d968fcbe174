"""Degradations that can be written down: kind, parameters and seed as JSON, and the same bytes when done again.

What is written down is a list of steps.  Each draws from a generator of its own seed, so that it does not depend on
what was drawn before it, nor on the process that runs it.  On another processor or library version the last bit of a
float may differ, and with it, rarely, a grey level.

The fields of a degradation are its parameters.  One whose type is annotated with a text is an option of `resharp
degrade`, too, with that text as its help.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from resharp.errors import ArgumentError, KernelError, RecipeError, WeightsError, did_you_mean
from resharp.files import reason_of, written_whole

from .arguments import checked_scene
from .compression import Jpeg
from .noise import Noise
from .optics import Defocus, GaussianBlur, KernelBlur
from .ranges import checked_seed, shortened
from .realistic import Realistic
from .sampling import Downscale, Mosaicked
from .shake import Frame, Shake
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
    "realistic": Realistic,
}
FORMAT = 1
KIND_OF = {made: kind for kind, made in DEGRADATIONS.items()}


@dataclasses.dataclass(frozen=True)
class DegradationStep:
    """One degradation and the seed of what it draws."""

    degradation: Degradation
    seed: int = 0

    def __post_init__(self) -> None:
        if not callable(self.degradation) or isinstance(self.degradation, type):
            raise ArgumentError(f"a step holds a degradation such as Noise(0.01), not {_named(self.degradation)}")
        object.__setattr__(self, "seed", checked_seed(self.seed))

    @property
    def kind(self) -> str:
        """Its name in DEGRADATIONS."""
        return KIND_OF[type(self.degradation)]

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
        known = did_you_mean(kind, DEGRADATIONS, things="kinds")
        raise RecipeError(f"{shortened(kind)!r} is no degradation; {known}")
    for name in parameters:
        if name not in parameter_names(kind):
            known = did_you_mean(name, parameter_names(kind))
            raise RecipeError(f"{kind}.{shortened(name)} is not a parameter; {known}")
    try:
        return _adapter(kind).validate_json(_as_json(kind, parameters), strict=True)
    except ValidationError as error:
        told = dict.fromkeys(_explained(kind, problem) for problem in error.errors())
        raise RecipeError("; ".join(told)) from None
    except (KernelError, WeightsError) as error:
        raise RecipeError(f"{kind}: {error}") from None


def steps_from_text(text: str) -> list[Degradation]:
    """Degradations written in one line: "shake extent=16; noise sigma=0.01; blur kernel=motion:15,30"; "" for none.

    Values are JSON where they are that, else text.  Raises RecipeError.
    """
    made = []
    for step in filter(None, map(str.strip, text.split(";"))):
        kind, *settings = step.split()
        parameters: dict[str, Any] = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise RecipeError(f"{shortened(setting)!r} in {shortened(step)!r} is no NAME=VALUE")
            try:
                parameters[name] = json.loads(value)
            except ValueError:
                parameters[name] = value
        made.append(make_degradation(kind, parameters))
    return made


def _as_json(kind: str, parameters: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(parameters), default=_plain)
    except (TypeError, ValueError, RecursionError):
        raise RecipeError(f"{kind}: parameters are numbers, texts and lists of them, as JSON holds them") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray | Tensor):
        return value.tolist()
    raise TypeError


@functools.cache
def _adapter(kind: str) -> TypeAdapter[Degradation]:
    return TypeAdapter(DEGRADATIONS[kind])


def _explained(kind: str, problem: Any) -> str:
    place = ".".join([kind, *(str(part) for part in problem["loc"][:1])])
    if place == "blur.kernel":  # of several types, each with a complaint of its own
        return f"{place}: is a text such as disk:3, the name of a file, or rows of numbers"
    return f"{place}: {in_a_sentence(problem['msg'].removeprefix('Value error, '))}"


def in_a_sentence(message: str) -> str:
    """A message without its capital, unless that begins an acronym."""
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _named(thing: Any) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"


def step_from_json(values: Any) -> DegradationStep:
    """A step from what `DegradationStep.as_json` gave.  Raises RecipeError."""
    if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
        raise RecipeError("a step is an object with kind, parameters and seed")
    unknown = sorted(set(values) - {"kind", "parameters", "seed"})
    if unknown:
        raise RecipeError(f"{unknown[0]!r} is no part of a step; it has kind, parameters and seed")
    parameters, seed = values.get("parameters", {}), values.get("seed", 0)
    if not isinstance(parameters, dict) or not isinstance(seed, int) or isinstance(seed, bool):
        raise RecipeError(f"step {values['kind']!r}: parameters is an object, seed a whole number")
    try:
        return DegradationStep(make_degradation(values["kind"], parameters), seed)
    except ArgumentError as error:
        raise RecipeError(str(error)) from None


def apply_steps(
    steps: Sequence[DegradationStep], image: Tensor, *, frame: Frame | None = None
) -> tuple[Tensor, Tensor]:
    """(degraded, clean) from a clean image (C, H, W) in [0, 1]; `frame` says which piece of a photo it is, if one.

    The clean one is the image itself, except after a shake with moving objects or brighter highlights: these belong to
    the sharp scene too.  The degraded one is float and not clipped.  Raises RecipeError if such a shake is not first,
    ArgumentError for what is no such image or no step.
    """
    for step in steps:
        if not isinstance(step, DegradationStep):
            raise ArgumentError(f"a step is a DegradationStep, such as DegradationStep(Noise()), not {_named(step)}")
    degraded = clean = checked_scene(image)
    for index, step in enumerate(steps):
        generator = torch.Generator().manual_seed(step.seed)
        if isinstance(step.degradation, Shake):
            if index and (step.degradation.n_objects or step.degradation.highlights):
                raise RecipeError(
                    "a shake with moving objects or highlights changes the sharp photo; make it the first step"
                )
            degraded, scene = step.degradation.expose(degraded, generator=generator, frame=frame)
            if step.degradation.n_objects or step.degradation.highlights:
                clean = scene
        else:
            degraded = step.degradation(degraded, generator=generator)
    return degraded, clean


def write_steps(photos: Sequence[tuple[str, Sequence[DegradationStep]]], path: str | Path) -> None:
    """Write (photo's name, its steps) for each photo as JSON.  Raises OutputError."""
    entries = [{"photo": name, "steps": [step.as_json() for step in steps]} for name, steps in photos]
    with written_whole(Path(path)) as file:
        file.write((json.dumps({"format": FORMAT, "photos": entries}, indent=1) + "\n").encode())


def read_steps(path: str | Path, photos: Sequence[str], *, kind: str) -> list[tuple[str, list[DegradationStep]]]:
    """The steps for each of `photos` by name, from a file of `write_steps`; those of a lone photo serve all.

    Raises RecipeError for what is no such plan, one whose first step is not of this kind, and a photo without one.
    """
    found: dict[str, list[DegradationStep]] = {}
    for entry in _entries(Path(path)):
        if not isinstance(entry, dict) or not isinstance(entry.get("steps"), list) or not entry["steps"]:
            raise RecipeError(f"{path}: an entry has a photo's name and its steps")
        try:
            steps = [step_from_json(step) for step in entry["steps"]]
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None
        if steps[0].kind != kind:
            raise RecipeError(f"{path}: holds a {steps[0].kind}; do it with `resharp degrade {steps[0].kind}`")
        name = str(entry.get("photo"))
        if name in found:
            raise RecipeError(f"{path}: has two plans for {shortened(name)}; keep one of them")
        found[name] = steps
    lone = next(iter(found.values())) if len(found) == 1 else None
    missing = [photo for photo in photos if lone is None and photo not in found]
    if missing:
        raise RecipeError(f"{path}: has no plan for {missing[0]}; it has {', '.join(list(found)[:5]) or 'none'}")
    return [(photo, found.get(photo) or lone or []) for photo in photos]


def _entries(path: Path) -> list[Any]:
    """What stands in a file of steps, none of it looked at yet.  Raises RecipeError for another file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such plan; --plan-out writes one") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read as a plan ({reason_of(error)})") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: cannot be read as a plan ({error})") from None
    number = values.get("format") if isinstance(values, dict) else None
    if type(number) is not int or not isinstance(values.get("photos"), list):
        raise RecipeError(f"{path}: is JSON, but no plan of degradations; --plan-out writes one")
    if number != FORMAT:
        raise RecipeError(f"{path}: has format {number}, this version reads {FORMAT}; update resharp")
    entries: list[Any] = values["photos"]
    return entries
