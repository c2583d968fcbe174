"""Recipes of trainings and plans of what spoils photos, as they come with resharp: by name, like its models."""

import dataclasses
import re
from importlib import resources
from pathlib import Path

from .errors import RecipeError, did_you_mean

FOLDERS = {"recipe": "recipes", "plan": "recipes/data"}
"""Kind of file -> where in the package those of resharp lie."""


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A file that comes with resharp; title: its first words, which say what it is for."""

    name: str
    title: str
    path: Path


def shipped(kind: str) -> dict[str, Shipped]:
    """Those of a kind, a row of FOLDERS, by name."""
    folder = Path(str(resources.files("resharp"))) / FOLDERS[kind]
    return {path.stem: Shipped(path.stem, _title(path), path) for path in sorted(folder.glob("*.toml"))}


def found(what: str | Path, kind: str, *, folder: Path | None = None) -> Path:
    """The file that a name or a path means; `folder` is where paths are seen from, such as that of the recipe.

    Raises RecipeError for what is neither, and for a name that could mean both.
    """
    name, path = str(what), Path(what) if folder is None else folder / what
    known = shipped(kind)
    try:
        is_there = path.exists()
    except OSError:  # a name that is too long
        is_there = False
    if name in known and isinstance(what, str):
        if is_there:
            raise RecipeError(f"{name}: is a {kind} of resharp and a file here; write ./{name} for the file")
        return known[name].path
    if not is_there:
        stem = path.stem if path.stem in known else name
        hint = did_you_mean(stem, known, things=f"{kind}s of resharp")
        raise RecipeError(f"{path}: no such {kind}; {hint} (`resharp recipes` lists them)")
    return path


def _title(path: Path) -> str:
    comments = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return re.split(r"(?<!et al)\. ", next(comments, "").removeprefix("# "), maxsplit=1)[0].rstrip(".")
