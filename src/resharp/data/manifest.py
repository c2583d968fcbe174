"""Manifests: what was found in a dataset and checked, as JSON (format 1) with one item on a line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from resharp.errors import DatasetError
from resharp.files import written_whole

from .folders import some
from .listing import Item, Listing

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"  # stands in a folder of which `prepare` has not yet written the manifest


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Strict):
    """One item: paths below the manifest's root, or absolute; the size in pixels of the degraded photo, else of the
    clean one; the checksums are "" where none were asked for."""

    degraded: str | None = None
    clean: str | None = None
    group: str = ""
    split: str = ""
    height: int
    width: int
    degraded_sha256: str = ""
    clean_sha256: str = ""

    @model_validator(mode="after")
    def _names_a_photo(self) -> "Entry":
        if self.degraded is None and self.clean is None:
            raise ValueError("it names no photo")
        return self


class Manifest(_Strict):
    """A dataset that was checked.

    root: where the photos lie, absolute or seen from the manifest's folder;  scale: how many times as wide and as high
    as the degraded photos the clean ones are;  counts: the items of each split;  preparation: what was asked for.
    """

    format: Literal[1] = 1
    layout: str
    paired: bool
    source: str = ""
    licence: str = ""
    root: str = "."
    scale: int = 1
    counts: dict[str, int]
    preparation: dict[str, Any] = {}
    items: tuple[Entry, ...]


def read_manifest(path: Path, *, strict: bool = True) -> Listing:
    """The listing that a manifest holds.  `strict`: raises DatasetError where a photo that it names is gone."""
    manifest = load_manifest(path)
    root = path.parent / manifest.root
    items = tuple(
        Item(
            None if entry.degraded is None else root / entry.degraded,
            None if entry.clean is None else root / entry.clean,
            entry.group,
            entry.split,
        )
        for entry in manifest.items
    )
    listing = Listing(items, manifest.layout, manifest.paired, manifest.source, manifest.licence)
    gone = [str(photo) for photo in (*listing.degraded, *listing.clean) if not photo.is_file()] if strict else []
    if gone:
        raise DatasetError(f"{path}: {len(gone)} of its photos are gone ({some(gone)}); prepare the dataset again")
    return listing


def refuse_odd_names(items: Iterable[Item]) -> None:
    """Raises DatasetError for a photo whose name is not in UTF-8: neither a manifest nor a sample can hold it."""
    for item in items:
        for path in (item.degraded, item.clean):
            try:
                if path is not None and not str(path).isascii():
                    str(path).encode()
            except UnicodeEncodeError:
                raise DatasetError(f"{path}: its name is not in UTF-8; rename it") from None


def load_manifest(path: Path) -> Manifest:
    """Raises DatasetError for a file that is missing, damaged, or no manifest of resharp."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is no manifest of resharp, or damaged ({error}); prepare it again") from None
    if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > 1:
        raise DatasetError(f"{path}: is of format {content['format']}, this resharp reads format 1; update resharp")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise DatasetError(f"{path}: is no manifest of resharp ({place}: {first['msg']}); prepare it again") from None


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Written whole; one item on a line, so that two versions can be compared."""
    head = json.dumps(manifest.model_dump(mode="json", exclude={"items"}), indent=2)[:-2]
    lines = ",\n".join(
        "    " + json.dumps(item.model_dump(mode="json", exclude_defaults=True)) for item in manifest.items
    )
    with written_whole(path) as file:
        file.write(f'{head},\n  "items": [\n{lines}\n  ]\n}}\n'.encode())
