"""Preparing a dataset: find it, check it against what was published, write its manifest last of all.

Photos stay where they are unless their pixels must change (half size, A|B cut apart); then they are written as PNG,
each whole, and what is already there is kept, so that after a kill the same call goes on.
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resharp.errors import DatasetError, PhotoError
from resharp.files import clear_unfinished, refusals_named, written_whole
from resharp.locks import exclusive
from resharp.photo import photo_size

from .folders import is_leftover, natural, some
from .layouts import find_listing
from .listing import Item, Listing
from .manifest import MANIFEST, UNFINISHED, Entry, Manifest, load_manifest, refuse_odd_names, save_manifest
from .published import PUBLISHED_COUNTS
from .rewriting import planned, rewritten

Size = tuple[int, int]  # height, width
OnItem = Callable[[str, int, int], None]
"""Called after each photo with what is done ("checking", "writing", "hashing"), how many are done, and of how many."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to prepare.

    subset, pairs, by: as in `find_listing`;  half: write photos of half the size (bicubic);  allow_partial: take other
    counts than the published ones;  hashed: put the SHA-256 of each file into the manifest.
    """

    subset: str | None = None
    pairs: tuple[str, str] | None = None
    by: str = "name"
    half: bool = False
    allow_partial: bool = False
    hashed: bool = False


def prepare(
    layout: str,
    source: str | Path,
    destination: str | Path,
    settings: Settings | None = None,
    *,
    n_workers: int = 1,
    on_item: OnItem | None = None,
) -> Manifest:
    """Check the dataset in `source` and write `destination`/manifest.json, and photos if their pixels change.

    Raises DatasetError for missing, superfluous, unreadable or unequal photos, for a destination with something else in
    it, and where another process is writing there; OutputError for what the disk refuses.  Photos go to
    destination/SPLIT/{blur,sharp}/GROUP/NAME.png; `n_workers` threads write them.
    """
    source, destination = Path(source), Path(destination)
    settings, on_item = settings or Settings(), on_item or (lambda *_: None)
    listing = find_listing(layout, source, subset=settings.subset, pairs=settings.pairs, by=settings.by)
    refuse_odd_names(listing.items)
    if not settings.allow_partial:
        check_counts(listing, source)
    sizes, scale = checked_sizes(listing, source, on_item)
    rewrites = settings.half or layout == "side-by-side"
    if settings.half and (scale != 1 or layout == "kohler" or min(min(size) for size in sizes) < 2):
        raise DatasetError(f"{source}: half is for pairs of one size, of 2 pixels at least, and for no benchmark")
    plan = _plan(listing, source, destination) if rewrites else []
    asked = _asked(layout, source, settings)
    with refusals_named(destination):
        destination.mkdir(parents=True, exist_ok=True)
    with exclusive(destination):
        _refuse_other(destination, asked, rewrites=rewrites)
        if rewrites:
            _begin(destination, asked)
            listing = rewritten(listing, plan, half=settings.half, n_workers=n_workers, on_item=on_item)
            sizes, _ = checked_sizes(listing, destination, on_item)
        hashes = _hashes(listing, on_item) if settings.hashed else {}
        manifest = _manifest(listing, destination if rewrites else source, destination, sizes=sizes, hashes=hashes)
        manifest = manifest.model_copy(update={"scale": scale, "preparation": asked})
        save_manifest(manifest, destination / MANIFEST)
        with refusals_named(destination):
            (destination / UNFINISHED).unlink(missing_ok=True)
    return manifest


def check_counts(listing: Listing, source: Path) -> None:
    """Raises DatasetError, naming each group's count, where a published dataset has another number of photos."""
    published = PUBLISHED_COUNTS.get(listing.layout)
    if published is None:
        return
    photos = {(item.split, item.group, item.degraded) for item in listing.items}  # a frame of Koehler's is no photo
    found = collections.Counter(split for split, _, _ in photos)
    wrong = [split for split in sorted({*found, *published}) if found[split] != published.get(split, 0)]
    if not wrong:
        return
    said = [_count_in_words(split, found[split], published) for split in wrong]
    groups = collections.Counter(group for split, group, _ in photos if split in wrong and group)
    counts = [f"{group} {groups[group]}" for group in sorted(groups, key=natural)]
    held = f" ({', '.join(counts[:40])}{', ...' if len(counts) > 40 else ''})" if counts else ""
    raise DatasetError(
        f"{source}: holds other numbers of photos than published: {', '.join(said)}{held}; "
        "get the missing ones, or allow a partial set (--partial)"
    )


def _count_in_words(split: str, count: int, published: Mapping[str, int]) -> str:
    if split or "" in published:
        return f"{split} {count} of {published.get(split, 0)}".strip()
    return f"{count} in none of its parts {' and '.join(published)}, which folders or lists of these names tell"


def checked_sizes(listing: Listing, source: Path, on_item: OnItem) -> tuple[list[Size], int]:
    """(height, width) of each item's degraded photo, else of its clean one, and how many times larger the clean ones
    are, from the headers.

    Only "pairs" may have a scale other than 1, one for all.  Raises DatasetError for photos that have no readable
    header, for pairs of other sizes, and for A|B of an odd width.
    """
    sizes: dict[Path, Size] = {}
    unreadable: list[str] = []
    for number, item in enumerate(listing.items, 1):
        for path in (item.degraded, item.clean):
            if path is None or path in sizes:
                continue
            try:
                sizes[path] = photo_size(path)
            except PhotoError as error:
                unreadable.append(str(error))
        on_item("checking", number, len(listing.items))
    if unreadable:
        raise DatasetError(
            f"{source}: {len(unreadable)} unreadable ({some(unreadable)}); get them again or remove them"
        )
    if listing.layout == "side-by-side":
        odd = [str(path) for path, (_, width) in sizes.items() if width % 2]
        if odd:
            raise DatasetError(f"{source}: {len(odd)} of an odd width cannot be halves A|B ({some(odd)})")
    scale = _common_scale(listing, sizes) if listing.layout == "pairs" else 1
    unequal = [
        f"{degraded} {_text(sizes[degraded])} and {clean} {_text(sizes[clean])}"
        for degraded, clean in listing.pairs
        if sizes[clean] != (scale * sizes[degraded][0], scale * sizes[degraded][1])
    ]
    if unequal:
        expected = "one size" if scale == 1 else f"a clean photo {scale} times as large"
        raise DatasetError(f"{source}: {len(unequal)} pairs do not have {expected} ({some(unequal, 'pairs')})")
    return [sizes[item.degraded or item.clean] for item in listing.items], scale  # type: ignore[index]


def _common_scale(listing: Listing, sizes: dict[Path, Size]) -> int:
    """The whole number that most pairs agree on, at least 1."""
    scales: collections.Counter[int] = collections.Counter()
    for degraded, clean in listing.pairs:
        (height, width), large = sizes[degraded], sizes[clean]
        scale = large[0] // height
        scales[scale if scale and large == (scale * height, scale * width) else 1] += 1
    return scales.most_common(1)[0][0]


def _text(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _asked(layout: str, source: Path, settings: Settings) -> dict[str, Any]:
    """What decides a preparation, as JSON holds it."""
    asked = dataclasses.asdict(dataclasses.replace(settings, allow_partial=False, hashed=False))
    del asked["allow_partial"], asked["hashed"]
    asked["pairs"] = None if settings.pairs is None else [*settings.pairs]
    return {"layout": layout, "source": str(source.resolve()), **asked}


def _plan(listing: Listing, source: Path, destination: Path) -> list[Item]:
    """Where photos will be written; never into their own source, where they would be taken for more of it."""
    if destination.resolve().is_relative_to(source.resolve()):
        raise DatasetError(f"{destination}: lies in {source}; name a folder outside of it")
    return planned(listing, source, destination)


def _refuse_other(destination: Path, asked: dict[str, Any], *, rewrites: bool) -> None:
    """Only what the same preparation has left may be gone on with."""
    if (destination / MANIFEST).exists():
        before: object = load_manifest(destination / MANIFEST).preparation
    elif (destination / UNFINISHED).exists():
        try:
            before = json.loads((destination / UNFINISHED).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(f"{destination / UNFINISHED}: cannot be read ({error}); empty the folder") from None
    elif rewrites and any(not is_leftover(path.name) for path in destination.iterdir()):
        raise DatasetError(f"{destination}: holds other files; name a new or an empty folder")
    else:
        return
    if before != asked:
        raise DatasetError(f"{destination}: holds another preparation; name another folder, or remove that one")


def _begin(destination: Path, asked: dict[str, Any]) -> None:
    """Marks an unfinished folder, and clears away what a killed process was writing."""
    if not (destination / MANIFEST).exists():
        with written_whole(destination / UNFINISHED) as file:
            file.write(json.dumps(asked, indent=2).encode() + b"\n")
    clear_unfinished(destination)


def _hashes(listing: Listing, on_item: OnItem) -> dict[Path, str]:
    """SHA-256 of every file of the listing, in hexadecimal."""
    paths = dict.fromkeys((*listing.degraded, *listing.clean))
    hashes = {}
    for number, path in enumerate(paths, 1):
        try:
            with path.open("rb") as file:
                hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror or error}); get it again") from None
        on_item("hashing", number, len(paths))
    return hashes


def _manifest(
    listing: Listing, root: Path, destination: Path, *, sizes: Sequence[Size], hashes: dict[Path, str]
) -> Manifest:
    """Paths are told from `root`, which is told from the manifest's folder where it lies in there."""
    place, folder = root.resolve(), destination.resolve()

    def told(path: Path | None) -> str | None:
        if path is None:
            return None
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.absolute())

    def entry(item: Item, size: Size) -> Entry:
        return Entry(
            degraded=told(item.degraded),
            clean=told(item.clean),
            group=item.group,
            split=item.split,
            height=size[0],
            width=size[1],
            degraded_sha256=hashes.get(item.degraded, "") if item.degraded else "",
            clean_sha256=hashes.get(item.clean, "") if item.clean else "",
        )

    return Manifest(
        layout=listing.layout,
        paired=listing.paired,
        source=listing.source,
        licence=listing.licence,
        root=place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place),
        counts=dict(collections.Counter(item.split for item in listing.items)),
        items=tuple(entry(item, size) for item, size in zip(listing.items, sizes, strict=True)),
    )
