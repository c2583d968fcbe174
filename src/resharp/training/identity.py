"""Which run a folder holds: all that decides its bits."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resharp.data.sources import Source
from resharp.models import features_file, read_card

from .config import Recipe

_SAID_ONLY: dict[str, Any] = {  # what a recipe only says, or where things lie
    "weights": True,
    "stages": {"__all__": {"name", "read_every"}},
    "networks": {"__all__": {"init"}},
    "data": {"photos", "degraded", "beside", "n_workers", "kept_megabytes"},
    "features": {"weights"},
    "judge": {"every"},
    "checkpoints": True,
    "tracking": True,
    "divergence": True,
}
_HASHES = ("init", "features_file")  # files by their content, of which a hash tells people nothing


@dataclasses.dataclass(frozen=True)
class Identity:
    """values: all that decides the bits, plain;  told: those of them that are not a recipe's defaults."""

    values: dict[str, Any]
    told: dict[str, Any]

    def differences(self, theirs: Any) -> list[str]:
        """Each setting that differs from another run's, with both values.  One that the other does not know, as it came
        with a later version, does not differ where it stands at its default."""
        return _differences(theirs, self.values, self.told)


def identity_of(recipe: Recipe, sources: Sequence[Source], *, n_processes: int) -> Identity:
    """The recipe without what it only says or where things lie, the photos, the files of weights that go in, and the
    number of processes, whose sums differ."""
    begun = {name: read_card(one.init).sha256 for name, one in recipe.networks.items() if one.init}
    beside = {
        "photos": [{"n": len(source), "names": source.fingerprint()} for source in sources],
        "init": begun,
        "inputs": sorted(recipe.data.beside),
        "n_processes": n_processes,
    }
    values, told = (
        recipe.model_dump(mode="json", exclude=_SAID_ONLY, exclude_defaults=is_short) for is_short in (False, True)
    )
    return Identity(values | beside | {"features_file": _features_digest(recipe)}, told | beside)


def _features_digest(recipe: Recipe) -> str:
    """Of the file that the perceptual losses' features come from; "" without such losses."""
    if not recipe.uses_features:
        return ""
    path: Path = recipe.features.weights or features_file(recipe.features.kind)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differences(theirs: Any, ours: Any, told: Any, place: str = "") -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() == ours.keys() == {"n", "names"}:
            return _other_photos(theirs, ours, place)
        told = told if isinstance(told, dict) else {}
        compared = [key for key in sorted({*theirs, *ours}) if key in theirs or key in told]
        return [
            difference
            for key in compared
            for difference in _differences(theirs.get(key), ours.get(key), told.get(key), f"{place}.{key}".strip("."))
        ]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        told = told if isinstance(told, list) else [{}] * len(ours)
        items = enumerate(zip(theirs, ours, told, strict=True))
        return [d for index, item in items for d in _differences(*item, f"{place}.{index}")]
    if theirs != ours and place.startswith(_HASHES):
        return [f"{place}: another file of weights than then"]
    return [] if theirs == ours else [f"{place} was {theirs!r}, is {ours!r}"[:200]]


def _other_photos(theirs: dict[str, Any], ours: dict[str, Any], place: str) -> list[str]:
    """In numbers, as their names' hash tells people nothing."""
    if theirs["n"] != ours["n"]:
        return [f"{place}: {theirs['n']:,} photos then, {ours['n']:,} now"]
    return [] if theirs == ours else [f"{place}: {ours['n']:,} photos as then, but with other names"]
