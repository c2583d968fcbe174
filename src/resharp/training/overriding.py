"""A recipe's file, and what the command line changes in it, before it is validated; without torch."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from resharp.errors import RecipeError
from resharp.shipped import found


def check_at_once(what: str | Path, overrides: Sequence[str]) -> None:
    """Raises RecipeError for a recipe that is not there, an override that is none, and data that are not there."""
    _, values = read_toml(what)
    for override in overrides:
        if not override.startswith("data.plan."):  # the plan may stand in a file of its own
            apply_override(values, override)
    data = values.get("data")
    if not isinstance(data, dict) or set(data) - _known_settings("DataRecipe"):
        return  # who validates the recipe says what is wrong
    for setting, place in _places(data):
        if place and not Path(place).exists():
            raise RecipeError(f"{setting}: {place}: no such folder; name yours, as in {setting}=FOLDER")


def _known_settings(table: str) -> set[str]:
    """Of a table of recipes, by their schema."""
    schema = json.loads(resources.files("resharp").joinpath("recipes/recipe.schema.json").read_text(encoding="utf-8"))
    return set(schema["$defs"][table]["properties"])


def _places(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(setting, folder or pack) of all that a recipe's `data` names."""
    photos = data.get("photos")
    places = [("photos", one) for one in (photos if isinstance(photos, list) else [photos])]
    places.append(("degraded", data.get("degraded")))
    beside = data.get("beside")
    places += [(f"beside.{name}", one) for name, one in (beside.items() if isinstance(beside, dict) else ())]
    yield from ((f"data.{setting}", place) for setting, place in places if isinstance(place, str))


def read_toml(what: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of a recipe, by name or path, and what it holds.  Raises RecipeError."""
    path = found(what, "recipe")
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as a recipe ({error})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `dotted.key=value`; the value is TOML, and a bare word counts as a string.  Numbers name list items."""
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", key):
        raise RecipeError(f"{override!r} is not an override; write key=value, such as stages.0.batch_size=16")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *tables, last = key.split(".")
    place: Any = values
    for depth, table in enumerate(tables):
        if isinstance(place, list):
            place = _list_item(place, table, override)
        elif isinstance(place, dict):
            place = place.setdefault(table, {})
        if not isinstance(place, dict | list):
            raise RecipeError(f"{override!r}: {'.'.join(tables[: depth + 1])} is a value, not a table of settings")
    if isinstance(place, list):
        _list_item(place, last, override)
        place[int(last)] = value
    else:
        place[last] = value


def _list_item(items: list[Any], number: str, override: str) -> Any:
    if not number.isdigit() or int(number) >= len(items):
        raise RecipeError(f"{override!r}: {number!r} is none of the {len(items)} items there, which count from 0")
    return items[int(number)]
