"""Makes a study of folders of outputs: what is shown is copied, so that it stays what it was."""

import collections
import logging
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import resharp
from resharp.data.folders import photo_paths, some
from resharp.data.layouts import open_listing
from resharp.data.listing import Item
from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.evaluation.cases import names_of
from resharp.evaluation.methods import restored_photos
from resharp.evaluation.results import RESULTS
from resharp.files import refusals_named, written_whole
from resharp.photo import encode_photo, photo_size, read_photo, screen_photo
from resharp.provenance import files_sha256
from resharp.restorers import Progress

from .definition import PICTURES, PROTOCOLS, REFERENCE, Scene, Study, write_study
from .ratings import create_ratings

MOST_TRIALS = 150  # of one rater by default: some 20 minutes, as P.910 allows a session
_REPEATED, _FEWEST_REPEATS = 0.1, 3  # of these, where they are no more than a quarter
_PNG_LEVEL = 1  # of deflate: fast, for pictures that are read once or twice
_LOG = logging.getLogger("resharp")


def new_study(
    outputs: Mapping[str, Path],
    images: Path,
    folder: Path,
    *,
    reference: Path | None = None,
    protocol: str = "acr",
    n_trials: int | None = None,
    n_repeats: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Study:
    """Make a study in a new `folder`, of the outputs (condition -> folder) for the photos of `images`.

    reference: a folder with the pictures as they should be, shown hidden among the others (P.910's ACR-HR);  n_trials:
    answers of each rater, by default all there are, up to MOST_TRIALS;  n_repeats: of these, by default a tenth.
    Outputs belong to photos by name, as `evaluate` finds them, and must be of one size for each photo.  Raises
    ArgumentError, DatasetError for missing or unequal pictures, PhotoError, OutputError; then nothing is written.
    """
    sources = dict(outputs) | ({REFERENCE: reference} if reference is not None else {})
    _check_conditions(outputs, protocol, has_reference=reference is not None)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"{folder}: is there already; name a new folder with -o, or `resharp study serve` this one")
    dataset = _dataset(images)
    names = list(dataset) or [path.relative_to(images).as_posix() for path in photo_paths(images)]
    stems = collections.Counter(str(Path(name).with_suffix("")) for name in names)
    if twins := [stem for stem, count in stems.items() if count > 1]:
        raise DatasetError(f"{images}: two images of one name cannot be told apart; take one out ({some(twins)})")
    found = _found(sources, names)
    sizes = {name: _size({condition: found[condition][name] for condition in sources}) for name in names}
    n_repeats, n_trials = _counts(protocol, len(sources), len(names), n_trials, n_repeats)
    files = [(f"{condition}/{name}", found[condition][name]) for condition in sources for name in names]
    labels = random.Random(f"{seed}/names").sample(range(len(files)), len(files))
    blinded = {key: f"{label:06}.png" for (key, _), label in zip(files, labels, strict=True)}
    scenes = [Scene(name, *sizes[name], {c: blinded[f"{c}/{name}"] for c in sources}) for name in names]
    study = Study(
        protocol=protocol,
        conditions=tuple(sources),
        sources={condition: str(place) for condition, place in sources.items()},
        scenes=tuple(scenes),
        n_trials=n_trials,
        n_repeats=n_repeats,
        seed=seed,
        sha256=files_sha256(files),
        resharp=resharp.__version__,
    )
    _write(study, {blinded[key]: path for key, path in files}, folder, progress)
    return study


def _check_conditions(outputs: Mapping[str, Path], protocol: str, *, has_reference: bool) -> None:
    if protocol not in PROTOCOLS:
        raise ArgumentError(f"{protocol!r} is no protocol of a study; they are {', '.join(PROTOCOLS)}")
    if REFERENCE in outputs:
        raise ArgumentError(f"a condition cannot be called {REFERENCE!r}; name its folder with --reference")
    if len(outputs) + has_reference < 2:
        raise ArgumentError("a study compares at least two folders, of which --reference may be one")


def _found(sources: Mapping[str, Path], names: Sequence[str]) -> dict[str, dict[str, Path]]:
    """The photo of each condition and name.  Raises DatasetError where a condition lacks one."""
    found = {}
    for condition, place in sources.items():
        if not place.is_dir():
            raise DatasetError(f"{place}: is no folder; name one with the outputs of {condition}")
        dataset = _dataset(place)
        half = "clean" if condition == REFERENCE else "degraded"
        own = {name: getattr(dataset[name], half) for name in names if name in dataset}
        found[condition] = own or restored_photos(place, names)
        if missing := [name for name in names if name not in found[condition]]:
            raise DatasetError(
                f"{place}: {len(missing)} of the {len(names)} images are missing ({some(missing)}); add them, or take "
                "them out of --images"
            )
    return found


def _dataset(place: Path) -> dict[str, Item]:
    """The pairs of a dataset in a layout that is known, such as GoPro's, by their names; none of other folders."""
    try:
        listing = None if (place / RESULTS).is_file() else open_listing(place)
    except DatasetError:
        listing = None
    return names_of(listing, place) if listing is not None and listing.paired else {}


def _size(pictures: Mapping[str, Path]) -> tuple[int, int]:
    """(height, width) of all pictures of a scene.  Raises DatasetError for one that differs from the reference or,
    where there is none, from most."""
    sizes = {condition: photo_size(path) for condition, path in pictures.items()}
    usual = sizes.get(REFERENCE) or collections.Counter(sizes.values()).most_common(1)[0][0]
    if others := [condition for condition, size in sizes.items() if size != usual]:
        model = REFERENCE if REFERENCE in sizes else next(name for name, size in sizes.items() if size == usual)
        (height, width), (tall, wide) = sizes[others[0]], usual
        raise DatasetError(
            f"{pictures[others[0]]}: is {width}x{height}, but {pictures[model]} is {wide}x{tall}; rated pictures of an "
            "image are of one size"
        )
    return usual


def _counts(
    protocol: str, n_conditions: int, n_scenes: int, n_trials: int | None, n_repeats: int | None
) -> tuple[int, int]:
    """(n_repeats, n_trials) of each rater; warns where these are fewer than asked for.  Raises ArgumentError where they
    do not go together."""
    block = n_conditions if protocol == "acr" else 1  # a rater grades an image under all conditions or not at all
    most = n_scenes * (n_conditions if protocol == "acr" else n_conditions * (n_conditions - 1) // 2)
    if n_repeats is None:
        length = min(n_trials or MOST_TRIALS, most)
        n_repeats = min(max(_FEWEST_REPEATS, round(_REPEATED * length)), length // 4)
    wanted = min(MOST_TRIALS, most + n_repeats) if n_trials is None else n_trials
    n_fresh = min(wanted - n_repeats, most) // block * block
    least = max(block, 2 * n_repeats)
    if n_repeats < 0 or n_fresh < least:
        raise ArgumentError(
            f"{wanted} trials with {n_repeats} repeats leave too few new ones: {least} at least; more --trials or "
            "fewer --repeats"
        )
    if n_trials is not None and n_fresh + n_repeats < n_trials:
        reason = "there are no more to ask" if n_fresh == most else "an image is graded under all conditions or none"
        _LOG.warning("%d trials of each rater instead of %d: %s", n_fresh + n_repeats, n_trials, reason)
    return n_repeats, n_fresh + n_repeats


def _write(study: Study, files: Mapping[str, Path], folder: Path, progress: Progress | None) -> None:
    """Into a folder of another name first, so that there is a whole study or none."""
    with refusals_named(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".resharp-study-", dir=folder.parent))
    try:
        part.chmod(0o755)
        for n, (name, path) in enumerate(sorted(files.items())):
            photo = screen_photo(read_photo(path))
            with written_whole(part / PICTURES / name) as file:
                file.write(encode_photo(photo, "PNG", png_compression=_PNG_LEVEL, name=str(path)))
            if progress is not None:
                progress(n + 1, len(files))
        create_ratings(part)
        write_study(study, part)
        with refusals_named(folder):
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
    except OutputError as error:  # of a name in the other folder, which is gone when it is read
        raise OutputError(str(error).replace(str(part), str(folder))) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
