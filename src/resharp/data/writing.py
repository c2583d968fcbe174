"""A folder of synthesised pairs, each with what was drawn for it, which makes it again.

    FOLDER/blur/000000.png  FOLDER/sharp/000000.png  FOLDER/drawn/000000.json  ...  FOLDER/manifest.json

A sample is done when its three files are there and sound; what was drawn is written after the photos, the manifest
last.
"""

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import resharp
from resharp.errors import ArgumentError, DatasetError, PhotoError, RecipeError
from resharp.files import clear_unfinished, refusals_named, written_whole
from resharp.locks import exclusive
from resharp.photo import Photo, read_pixels, write_photo

from .folders import is_leftover
from .manifest import MANIFEST, Entry, Manifest, save_manifest
from .synthesis import Drawn, Synthesis
from .workers import checked_workers, in_order

BEGUN = "synthesis.json"
MOST = 10_000_000  # samples; more is a slip of the keyboard


class _Written(NamedTuple):
    """What the manifest tells of a sample, and whether it was there before."""

    entry: Entry
    scale: int
    was_there: bool


def write_samples(
    synthesis: Synthesis,
    folder: str | Path,
    *,
    count: int,
    n_workers: int = 0,
    on_sample: Callable[[int], None] | None = None,
) -> int:
    """Write samples 0 ... count - 1 of a synthesis, epoch after epoch; returns how many were there already.

    The same call goes on where it was stopped and mends what was damaged since; more may be asked for later, and fewer
    take nothing away.  The bytes of the photos do not depend on the number of workers.  `on_sample(number)` hears of
    each.  Raises DatasetError for a folder that was begun with another plan, seed or other photos, OutputError for what
    the disk refuses.
    """
    if not 1 <= count <= MOST:
        raise ArgumentError(f"{count} samples; ask for 1 to {MOST}")
    checked_workers(n_workers)
    folder = Path(folder)
    with refusals_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        recorded = _recorded(folder)
        _begin(synthesis, folder, is_fresh=not recorded)
        numbers = itertools.chain(range(count), (number for number in recorded if number >= count))
        written = []
        work = functools.partial(_ensure, synthesis, folder, count)
        for number, sample in enumerate(in_order(work, numbers, n_workers)):
            if sample is not None:
                written.append(sample)
            if on_sample is not None and number < count:
                on_sample(number)
        _finish(written, folder)
    return sum(sample.was_there for sample in written[:count])


def read_drawn(path: Path) -> Drawn:
    """The recipe beside a synthesised pair.  Raises RecipeError, DatasetError."""
    try:
        return Drawn.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read as what was drawn for a sample ({error})") from None


def _recorded(folder: Path) -> list[int]:
    """The numbers of the samples that are there, in order."""
    names = (path.stem for path in folder.glob("drawn/*.json"))
    return sorted(int(name) for name in names if name.isdecimal() and len(name) <= len(str(MOST)))


def _begin(synthesis: Synthesis, folder: Path, *, is_fresh: bool) -> None:
    """Note what the folder is made of, or check that it is the same as before; nothing made yet, nothing to check."""
    facts = {
        "format": 1,
        "resharp": resharp.__version__,
        "seed": synthesis.seed,
        "weights": list(synthesis.weights),
        "photos": [source.fingerprint() for source in synthesis.sources],
        "plan": synthesis.plan.model_dump(mode="json"),
    }
    begun = folder / BEGUN
    if not begun.exists() and any(not is_leftover(path.name) for path in folder.iterdir()):
        raise DatasetError(f"{folder}: holds other files; name a new or an empty folder")
    if is_fresh:
        with written_whole(begun) as file:
            file.write((json.dumps(facts, indent=1) + "\n").encode())
    else:
        _refuse_other(begun, facts)
    clear_unfinished(folder)


def _refuse_other(begun: Path, facts: dict[str, Any]) -> None:
    """Raises DatasetError where a folder was begun with other facts, or does not tell."""
    try:
        before = json.loads(begun.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        before = None
    if not isinstance(before, dict):
        raise DatasetError(f"{begun}: is damaged; name another folder, or remove this one")
    differing = [name for name in facts if name != "resharp" and before.get(name) != facts[name]]
    if differing:
        raise DatasetError(
            f"{begun.parent}: was begun otherwise ({', '.join(differing)} differ); take the same as before or another "
            "folder"
        )


def _ensure(synthesis: Synthesis, folder: Path, count: int, number: int) -> _Written | None:
    """The sample on the disk, made unless it is there and sound; None for one beyond `count` that is not."""
    there = _found(synthesis, folder, number)
    if there is not None or number >= count:
        return there
    sample = synthesis.sample(*divmod(number, len(synthesis)))
    for path, pixels in zip(_photos(folder, number), (sample.degraded, sample.clean), strict=True):
        image = pixels.float() / 255
        write_photo(Photo(image.expand(3, -1, -1), grey=len(image) == 1), path, png_compression=1)
    with written_whole(_drawn_file(folder, number)) as file:
        file.write((json.dumps(sample.drawn.as_json(), indent=1) + "\n").encode())
    return _written(synthesis, number, sample.drawn, [sample.degraded.shape, sample.clean.shape], was_there=False)


def _found(synthesis: Synthesis, folder: Path, number: int) -> _Written | None:
    """A sample that is done, None for one of which a file is missing or damaged."""
    if not _drawn_file(folder, number).exists():
        return None
    try:
        drawn = read_drawn(_drawn_file(folder, number))
        shapes = [read_pixels(path).shape for path in _photos(folder, number)]
    except (DatasetError, PhotoError, RecipeError):
        return None
    is_known = 0 <= drawn.cut.source < len(synthesis.sources)
    if not is_known or not 0 <= drawn.cut.number < len(synthesis.sources[drawn.cut.source]):
        return None
    return _written(synthesis, number, drawn, shapes, was_there=True)


def _written(
    synthesis: Synthesis, number: int, drawn: Drawn, shapes: Iterable[tuple[int, ...]], *, was_there: bool
) -> _Written:
    (height, width), (clean_height, _) = (shape[-2:] for shape in shapes)
    degraded, clean = (path.as_posix() for path in _photos(Path(), number))
    group = synthesis.sources[drawn.cut.source].group(drawn.cut.number)
    entry = Entry(degraded=degraded, clean=clean, group=group, height=height, width=width)
    return _Written(entry, clean_height // height, was_there)


def _photos(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / "blur" / f"{number:06d}.png", folder / "sharp" / f"{number:06d}.png"


def _drawn_file(folder: Path, number: int) -> Path:
    return folder / "drawn" / f"{number:06d}.json"


def _finish(written: list[_Written], folder: Path) -> None:
    scales = {sample.scale for sample in written}
    manifest = Manifest(
        layout="pairs",
        paired=True,
        source=f"synthesised by resharp {resharp.__version__}",
        scale=scales.pop() if len(scales) == 1 else 1,
        counts={"": len(written)},
        items=tuple(sample.entry for sample in written),
    )
    save_manifest(manifest, folder / MANIFEST)
