"""A training recipe: strict TOML, read once, with `key=value` overrides.

Unknown keys and values out of range are errors that say where they stand; lengths are counted in images seen.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resharp.errors import RecipeError, did_you_mean

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Strict):
    """Where the clean photos come from; `n_holdout` of them, evenly spread, are kept for validation."""

    photos: Path
    crop: Positive = 56
    n_holdout: Positive = 10


class DegradationRecipe(_Strict):
    """What is done to them: white Gaussian noise, sigma on the [0, 1] scale."""

    kind: Literal["gaussian-noise"] = "gaussian-noise"
    noise_sigma: Rate


class NetworkRecipe(_Strict):
    """A row of the table of networks and its keyword arguments."""

    kind: Literal["dae"] = "dae"
    arguments: dict[str, int | float | bool] = {}


class MuonRecipe(_Strict):
    """Muon (Jordan et al. 2024) on the inner convolutions, Adam on the first and last one and on the biases."""

    kind: Literal["muon"] = "muon"
    learning_rate: Rate
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    adam_learning_rate: Rate = 1e-3


class AdamRecipe(_Strict):
    """Adam on all parameters."""

    kind: Literal["adam"]
    learning_rate: Rate


class TrainingRecipe(_Strict):
    """Length and pace; everything counts in images (crops) seen.

    The learning rate rises over `warmup_images`, then follows half a cosine down to zero at the end.
    """

    n_images: Positive
    batch_size: Positive = 32
    warmup_images: Annotated[int, Field(ge=0)] = 0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    validate_every: Positive = 16_000
    save_every: Positive = 16_000


class WeightsRecipe(_Strict):
    """What the finished weights say of themselves."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    licence: str
    training_data: str


class Recipe(_Strict):
    """One training run, whole."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: DataRecipe
    degradation: DegradationRecipe
    network: NetworkRecipe = NetworkRecipe()
    optimizer: Annotated[MuonRecipe | AdamRecipe, Field(discriminator="kind")]
    training: TrainingRecipe
    weights: WeightsRecipe


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a TOML recipe and apply overrides such as `training.batch_size=16`.

    Raises RecipeError with one line per problem, each naming the key and, for a misspelt one, the nearest name.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; the repository keeps its recipes in recipes/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as a recipe ({error})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: " + "; ".join(_explain(e["loc"], e) for e in error.errors())) from None


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `dotted.key=value`; the value is TOML, and a bare word counts as a string."""
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w]*(\.[A-Za-z_][\w]*)*", key):
        raise RecipeError(f"{override!r} is not an override; write key=value, such as training.batch_size=16")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{override!r}: {table} is a value, not a table of settings")
    values[last] = value


def _explain(location: tuple[int | str, ...], error: Any) -> str:
    """One validation error in the user's words."""
    names: list[str] = []
    candidates: list[Any] = []
    fields: dict[str, Any] = Recipe.model_fields
    for part in location[:-1]:
        if part in fields:
            names.append(str(part))
            annotation = fields[str(part)].annotation
            candidates = [m for m in (annotation, *get_args(annotation)) if hasattr(m, "model_fields")]
        else:  # the kind of a table that comes in several
            candidates = [m for m in candidates if part in get_args(m.model_fields["kind"].annotation)]
        fields = candidates[0].model_fields if candidates else {}
    name = ".".join([*names, str(location[-1])])
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}"
    return f"{name} is not a setting; {did_you_mean(str(location[-1]), fields)}"
