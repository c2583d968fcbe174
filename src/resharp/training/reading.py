"""Recipes are strict TOML, read once, with `key=value` overrides.

Unknown keys and values out of range are errors that say where they stand.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resharp.data.plan import plan_from, plan_values
from resharp.errors import RecipeError, did_you_mean
from resharp.shipped import found

from .config import OPTIMIZER_KINDS, Recipe
from .overriding import apply_override, read_toml


def load_recipe(what: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a TOML recipe, by the name of one that comes with resharp or by file, and apply overrides such as
    `stages.0.batch_size=16`.

    `data.plan` may name a TOML plan, too; a file is seen from the recipe's folder.  Raises RecipeError with one line
    per problem, each naming the key and, for a misspelt one, the nearest name.
    """
    path, values = read_toml(what)
    plan_file: Path | None = None
    # A plan in a file of its own is overridden as one in the recipe.
    for override in sorted(overrides, key=lambda override: override.startswith("data.plan.")):
        if override.startswith("data.plan."):
            plan_file = _read_plan(values, path.parent) or plan_file
        apply_override(values, override)
    plan_file = _read_plan(values, path.parent) or plan_file
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("plan"), dict):
        name, folder = (f"{path}: data.plan", Path()) if plan_file is None else (str(plan_file), plan_file.parent)
        data["plan"] = plan_from(data["plan"], name=name, folder=folder)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        # A list whose items are wrong is also reported as too short.
        said = [p for p in problems if not any(q is not p and q["loc"][: len(p["loc"])] == p["loc"] for q in problems)]
        raise RecipeError(f"{path}: " + "; ".join(_explain(problem) for problem in said)) from None


def _read_plan(values: dict[str, Any], folder: Path) -> Path | None:
    """Puts the plan that `data.plan` names in its place; returns its file."""
    data = values.get("data")
    if not (isinstance(data, dict) and isinstance(data.get("plan"), str)):
        return None
    path = found(data["plan"], "plan", folder=folder)
    data["plan"] = plan_values(path)
    return path


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of recipes as they are written, for editors."""
    schema = Recipe.model_json_schema()
    data, step = schema["$defs"]["DataRecipe"]["properties"], schema["$defs"]["StepPlan"]
    for name in ("photos", "plan"):  # one folder, and a plan in a file of its own
        data[name] = {"anyOf": [{"type": "string"}, data[name]]}
    del step["properties"]["parameters"]  # they stand beside the kind
    step["additionalProperties"] = True
    return schema


def _explain(error: Any) -> str:
    """One validation error in the user's words."""
    location = error["loc"]
    # pydantic names the kind of an optimiser between its table and its settings
    name = ".".join(str(part) for part in location if part not in OPTIMIZER_KINDS)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] != "extra_forbidden":
        return f"{name}: {message[0].lower()}{message[1:]}" if name else message  # else it names the setting itself
    return f"{name} is not a setting; {did_you_mean(str(location[-1]), _settings_at(location[:-1]))}"


def _settings_at(location: tuple[int | str, ...]) -> list[str]:
    """The settings of the table at a place of a recipe, by its JSON schema."""
    schema = Recipe.model_json_schema()
    here = schema
    for part in location:
        options = here.get("oneOf") or here.get("anyOf") or [here]
        found = [_resolved(option, schema) for option in options]
        found = [
            inner
            for option in found
            for inner in ([option] if "oneOf" not in option else [_resolved(o, schema) for o in option["oneOf"]])
        ]
        if isinstance(part, int):
            here = _resolved(found[0].get("items", {}), schema)
        elif part in OPTIMIZER_KINDS:
            here = next((o for o in found if o["properties"]["kind"].get("const") == part), {})
        else:
            here = _resolved(next((inner for option in found if (inner := _inside(option, part))), {}), schema)
    return list(here.get("properties", {}))


def _inside(table: dict[str, Any], name: str) -> dict[str, Any]:
    """What the schema says of one setting of a table, or of any entry where their names are the user's."""
    entries = [table.get("additionalProperties"), *table.get("patternProperties", {}).values()]
    setting: dict[str, Any] = table.get("properties", {}).get(name) or next(
        (entry for entry in entries if isinstance(entry, dict)), {}
    )
    return setting


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else node


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values."""
    values: dict[str, Any] = json.loads(recipe.model_dump_json())
    return values


def used(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values, without what has no part in it."""
    values: dict[str, Any] = json.loads(recipe.model_dump_json(exclude_none=True))
    if not recipe.uses_features:
        del values["features"]
    for table in (values["data"], *values["stages"], *values["networks"].values()):
        for name in [name for name, value in table.items() if value in ({}, [], "", False, 0)]:
            del table[name]
    return values
