"""A folder of synthesised pairs, each with the recipe that makes it again.

    FOLDER/blur/000000.png  FOLDER/sharp/000000.png  FOLDER/recipes/000000.json  ...  FOLDER/manifest.json

A sample is done when its recipe stands there; the manifest comes last.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import resharp
from resharp.errors import ArgumentError, DatasetError
from resharp.files import refusals_named, written_whole
from resharp.locks import exclusive
from resharp.photo import Photo, photo_size, write_photo

from .manifest import MANIFEST, Entry, Manifest, save_manifest
from .synthesis import SampleRecipe, Synthesis
from .workers import checked_workers, in_order

BEGUN = "synthesis.json"


def write_samples(
    synthesis: Synthesis,
    folder: Path,
    *,
    count: int,
    n_workers: int = 0,
    on_sample: Callable[[int], None] | None = None,
) -> int:
    """Write samples 0 ... count - 1 of a synthesis, epoch after epoch; returns how many were there already.

    The same call goes on where it was stopped, and more may be asked for later.  The bytes of the photos do not depend
    on the number of workers.  `on_sample(number)` hears of each.  Raises DatasetError for a folder that was begun with
    another plan, seed or other photos, OutputError for what the disk refuses.
    """
    if count < 1:
        raise ArgumentError(f"{count} samples; ask for at least 1")
    checked_workers(n_workers)
    with refusals_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        _begin(synthesis, folder)
        left = [number for number in range(count) if not _recipe_file(folder, number).exists()]
        for number in in_order(functools.partial(_write, synthesis, folder), left, n_workers):
            if on_sample is not None:
                on_sample(number)
        _finish(synthesis, folder, count)
    return count - len(left)


def read_sample_recipe(path: Path) -> SampleRecipe:
    """The recipe beside a synthesised pair.  Raises RecipeError, DatasetError."""
    try:
        return SampleRecipe.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as a sample's recipe ({error})") from None


def _begin(synthesis: Synthesis, folder: Path) -> None:
    """Note what the folder is made of, or check that it is the same as before."""
    facts = {
        "format": 1,
        "resharp": resharp.__version__,
        "seed": synthesis.seed,
        "weights": list(synthesis.weights),
        "photos": [source.fingerprint() for source in synthesis.sources],
        "plan": synthesis.plan.model_dump(mode="json"),
    }
    begun = folder / BEGUN
    if not begun.exists():
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DatasetError(f"{folder}: holds other files; name a new or an empty folder")
        with written_whole(begun) as file:
            file.write((json.dumps(facts, indent=1) + "\n").encode())
        return
    try:
        before = json.loads(begun.read_text(encoding="utf-8"))
    except ValueError:
        before = {}
    differing = [name for name in facts if name != "resharp" and before.get(name) != facts[name]]
    if differing:
        raise DatasetError(
            f"{folder}: was begun otherwise ({', '.join(differing)} differ); take the same as before or another folder"
        )
    with refusals_named(folder):
        for part in folder.rglob(".resharp-*.part"):  # what a killed process was writing
            part.unlink()


def _write(synthesis: Synthesis, folder: Path, number: int) -> int:
    sample = synthesis.sample(*divmod(number, len(synthesis)))
    for kind, pixels in (("blur", sample.degraded), ("sharp", sample.clean)):
        image = pixels.float() / 255
        photo = Photo(image.expand(3, -1, -1), grey=len(image) == 1)
        write_photo(photo, folder / kind / f"{number:06d}.png", png_compression=1)
    with written_whole(_recipe_file(folder, number)) as file:
        file.write((json.dumps(sample.recipe.as_json(), indent=1) + "\n").encode())
    return number


def _recipe_file(folder: Path, number: int) -> Path:
    return folder / "recipes" / f"{number:06d}.json"


def _finish(synthesis: Synthesis, folder: Path, count: int) -> None:
    items, scales = [], set()
    for number in range(count):
        recipe = read_sample_recipe(_recipe_file(folder, number))
        degraded, clean = f"blur/{number:06d}.png", f"sharp/{number:06d}.png"
        height, width = photo_size(folder / degraded)
        scales.add(photo_size(folder / clean)[0] // height)
        group = synthesis.sources[recipe.cut.source].group(recipe.cut.number)
        items.append(Entry(degraded=degraded, clean=clean, group=group, height=height, width=width))
    manifest = Manifest(
        layout="pairs",
        paired=True,
        source=f"synthesised by resharp {resharp.__version__}",
        scale=scales.pop() if len(scales) == 1 else 1,
        counts={"": count},
        items=tuple(items),
    )
    save_manifest(manifest, folder / MANIFEST)
