"""A synthesis plan: strict TOML that says what is cut out of clean photos and what happens to it.

    crop = 256
    [[variants]]
    weight = 2
    steps = [
      { kind = "shake", extent = [2, 24] },
      { kind = "jpeg", quality = { choose = [75, 90] }, probability = 0.5 },
    ]

A parameter of a step is a value, a range [low, high] to draw from evenly, or a choice of values.
"""

import itertools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from resharp.degradations import DEGRADATIONS, DegradationStep, Downscale, Mosaicked, Shake, make_degradation
from resharp.degradations.kernels import load_kernel
from resharp.degradations.naming import names_shape
from resharp.degradations.steps import in_a_sentence
from resharp.errors import KernelError, RecipeError, did_you_mean
from resharp.files import reason_of
from resharp.shipped import found

_JUST_ABOVE = 1e-9  # of a range's width
_FEW = 4096  # combinations of bounds and choices


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StepPlan(_Strict):
    """One degradation with the ranges of its parameters; it happens with `probability`."""

    kind: str
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    parameters: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _parameters_stand_beside_the_kind(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "parameters" in values:
            return values
        own = {"kind", "probability"}
        rest = {name: value for name, value in values.items() if name not in own}
        return {name: value for name, value in values.items() if name in own} | {"parameters": rest}

    def draw(self, generator: torch.Generator) -> DegradationStep | None:
        """A step with drawn parameters and seed, or None where it does not happen this time."""
        happens = torch.rand(1, generator=generator).item() < self.probability
        seed = int(torch.randint(2**32, (1,), generator=generator))
        types = get_type_hints(DEGRADATIONS[self.kind])
        drawn = {name: _drawn(value, types[name] is int, generator) for name, value in self.parameters.items()}
        return DegradationStep(make_degradation(self.kind, drawn), seed) if happens else None

    def extremes(self) -> list[dict[str, Any]]:
        """Parameters that hold every bound and every choice at least once, to be tried before anything is drawn: each
        with each other where these are few.  Just above the lower bound of a range lies what only 0 may be."""
        types = get_type_hints(DEGRADATIONS[self.kind]) if self.kind in DEGRADATIONS else {}
        options = {name: _options(value) for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            if _is_range(value) and types.get(name) is not int:
                options[name].insert(1, value[0] + _JUST_ABOVE * (value[1] - value[0]))
        if math.prod(len(o) for o in options.values()) <= _FEW:
            return [dict(zip(options, chosen, strict=True)) for chosen in itertools.product(*options.values())]
        longest = max((len(o) for o in options.values()), default=1)
        return [{name: o[i % len(o)] for name, o in options.items()} for i in range(longest)]


class VariantPlan(_Strict):
    """A chain of degradations; of several variants each is taken `weight` times in a cycle."""

    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    steps: Annotated[tuple[StepPlan, ...], Field(strict=False)]

    @property
    def factor(self) -> int:
        """How many times smaller its photos become."""
        return math.prod(
            _options(step.parameters.get("factor", Downscale().factor))[0]
            for step in self.steps
            if step.kind == "downscale"
        )


class Plan(_Strict):
    """What every sample goes through, in this order: half size, crop, turns and flips, one variant's steps.

    crop: pixels a side, 0 = whole photos, cut to multiples of what downscales them;  margin: pixels around the crop
    that the steps see, so that blur and resampling bring in what really lay beyond its border;  half: photos at half
    size first, as DeblurGAN was trained.
    """

    crop: Annotated[int, Field(ge=0, le=8192)] = 256
    margin: Annotated[int, Field(ge=0, le=1024)] = 0
    half: bool = False
    flips: bool = True
    turns: bool = True
    variants: Annotated[tuple[VariantPlan, ...], Field(min_length=1, strict=False)]

    @property
    def factor(self) -> int:
        """How many times smaller the degraded photos are than the clean ones; one for all variants."""
        return self.variants[0].factor


def load_plan(path: str | Path) -> Plan:
    """Read a TOML plan, by the name of one that comes with resharp or by file.

    Raises RecipeError that names the key and, for a misspelt one, the nearest.
    """
    path = found(path, "plan")
    return plan_from(plan_values(path), name=str(path), folder=path.parent)


def plan_values(path: str | Path) -> dict[str, Any]:
    """What a TOML plan says, unchecked.  Raises RecipeError."""
    path = found(path, "plan")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read as a plan ({reason_of(error)})") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: cannot be read as a plan ({error})") from None
    except (ValueError, RecursionError) as error:  # of TOML, or of a number of some thousand digits
        raise RecipeError(f"{path}: not valid TOML: {error}") from None


def plan_from(values: Mapping[str, Any], *, name: str = "plan", folder: Path = Path()) -> Plan:
    """A plan from plain values, checked to the last bound of the last step; kernel files are seen from `folder`.

    Raises RecipeError.
    """
    try:
        plan = _with_kernels(Plan.model_validate(dict(values)), folder)
    except KernelError as error:
        raise RecipeError(f"{name}: {error}") from None
    except ValidationError as error:
        raise RecipeError(f"{name}: {'; '.join(_told(error))}") from None
    for v, variant in enumerate(plan.variants):
        for s, step in enumerate(variant.steps):
            try:
                is_small = any(before.kind == "downscale" for before in variant.steps[:s])
                _check_step(step, is_first=s == 0, is_small=is_small)
            except RecipeError as error:
                raise RecipeError(f"{name}: variants.{v}.steps.{s}: {error}") from None
        _check_colours(variant, f"{name}: variants.{v}")
    if len(set().union(*(_planes(variant) for variant in plan.variants))) > 1:
        raise RecipeError(
            f"{name}: a mosaic that is not always taken, or not always demosaicked, leaves photos of one plane and of "
            "three; batches hold one kind: set its probability to 1 and its demosaic, in all variants alike"
        )
    if any(variant.factor != plan.factor for variant in plan.variants):
        raise RecipeError(f"{name}: variants downscale by different factors; batches hold photos of one size")
    if plan.crop % plan.factor:
        raise RecipeError(f"{name}: a crop of {plan.crop} is no multiple of the factor {plan.factor}; change one")
    return plan


def _with_kernels(plan: Plan, folder: Path) -> Plan:
    """The plan with kernel files read into rows of numbers: a file that changes later changes no sample."""

    def rows(kernel: Any) -> Any:
        if isinstance(kernel, dict) and isinstance(kernel.get("choose"), list):
            return {"choose": [rows(one) for one in kernel["choose"]]}
        if not isinstance(kernel, str) or names_shape(kernel):
            return kernel
        return load_kernel(folder / kernel).tolist()

    def step(old: StepPlan) -> StepPlan:
        if old.kind != "blur" or "kernel" not in old.parameters:
            return old
        return old.model_copy(update={"parameters": old.parameters | {"kernel": rows(old.parameters["kernel"])}})

    variants = tuple(v.model_copy(update={"steps": tuple(map(step, v.steps))}) for v in plan.variants)
    return plan.model_copy(update={"variants": variants})


def _check_step(step: StepPlan, *, is_first: bool, is_small: bool) -> None:
    if step.kind == "shake" and is_small:
        raise RecipeError("a shake moves a camera in front of the whole scene; let it come before the downscale")
    for made in [make_degradation(step.kind, parameters) for parameters in step.extremes()]:
        if isinstance(made, Shake) and not is_first and (made.n_objects or made.highlights):
            raise RecipeError(
                "a shake with moving objects or highlights changes the sharp photo; make it the first step"
            )
    if step.kind == "downscale" and (step.probability < 1 or len(_options(step.parameters.get("factor", 1))) > 1):
        raise RecipeError("a downscale always happens, by one factor: batches hold photos of one size")


def _planes(variant: VariantPlan) -> set[int]:
    """How many colour planes photos may have at its end: 1 behind a mosaic that is left as it is."""
    planes = {3}
    for step in variant.steps:
        if step.kind == "mosaic":
            ways = _options(step.parameters.get("demosaic", Mosaicked().demosaic))
            chosen = {1 if way == "none" else 3 for way in ways}
            planes = chosen if step.probability == 1 else planes | chosen
    return planes


def _check_colours(variant: VariantPlan, name: str) -> None:
    """Raises RecipeError where a mosaic would sample the colours of a photo that may have none left."""
    is_grey = False
    for s, step in enumerate(variant.steps):
        if step.kind != "mosaic":
            continue
        if is_grey:
            raise RecipeError(
                f"{name}.steps.{s}: a mosaic needs colours, and one before it leaves none; set its demosaic"
            )
        is_grey = "none" in _options(step.parameters.get("demosaic", Mosaicked().demosaic))


_LACKS = {
    "missing": "is missing",
    "too_short": "is empty; it needs at least one entry",
    "model_type": "is no table of settings",
    "dict_type": "is no table of settings",
    "tuple_type": "is no list",
    "int_type": "is no whole number",
    "float_type": "is no number",
    "bool_type": "is neither true nor false",
    "string_type": "is no text",
}


def _told(error: ValidationError) -> list[str]:
    """What is wrong, once each; that a list lacks entries is left out where these are what is wrong."""
    problems = error.errors()
    places = [problem["loc"] for problem in problems]
    own = [p for p in problems if not any(p["loc"] == place[: len(p["loc"])] != place for place in places)]
    return list(dict.fromkeys(_explained(problem) for problem in own))


def _explained(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in _LACKS:
        return f"{place} {_LACKS[problem['type']]}"
    if problem["type"] != "extra_forbidden":
        return f"{place}: {in_a_sentence(problem['msg'])}"
    level = next((model for name, model in _LEVELS if name in problem["loc"]), Plan)
    return f"{place} is not a setting; {did_you_mean(str(problem['loc'][-1]), level.model_fields)}"


_LEVELS: tuple[tuple[str, type[_Strict]], ...] = (("steps", StepPlan), ("variants", VariantPlan))


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2
    return numbers and all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in value)


def _options(value: Any) -> list[Any]:
    """The values among which, or the bounds between which, a parameter is drawn.  Raises RecipeError for none."""
    if isinstance(value, dict):
        choices = value.get("choose")
        if set(value) != {"choose"} or not isinstance(choices, list) or not choices:
            raise RecipeError("a choice is written { choose = [1, 2, 3] }")
        return choices
    if _is_range(value):
        if value[0] > value[1]:
            raise RecipeError(f"the range {value} runs backwards; write [low, high]")
        return list(value)
    return [value]


def _drawn(value: Any, whole: bool, generator: torch.Generator) -> Any:
    options = _options(value)
    if isinstance(value, dict):
        return options[int(torch.randint(len(options), (1,), generator=generator))]
    if not _is_range(value):
        return value
    low, high = value
    if whole:
        return low + int(torch.randint(high - low + 1, (1,), generator=generator))
    return low + (high - low) * float(torch.rand(1, generator=generator, dtype=torch.float64))
