"""Photos in folders: which there are, which two belong together, and their pixels.

Folders are read with everything below them.  Links to files and folders are followed, a folder that is reached twice
counts once, so that links in a circle end.  What systems leave among photos is passed over (`is_leftover`), and so are
files whose suffix is of no photo; `look_below` tells which.  Suffixes may be in capitals.  Nothing here opens a photo.
"""

import collections
import dataclasses
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from resharp.errors import ArgumentError, DatasetError
from resharp.photo import SUFFIXES

from .listing import Item, Listing

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "test", "valid": "test"}
SPLITS |= {"validation": "test"}
"""Names of folders that tell a split; what is kept for validation is kept from training, and so belongs to "test"."""

_NUMBER = re.compile(r"(\d+)")


_LEFTOVERS = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini",
    "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "__macosx", "lost+found",
}  # fmt: skip


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is what a system or a program leaves among photos, and never a photo.

    All that begins with a dot (`.DS_Store`, the `._x.png` of macOS), previews (`Thumbs.db`, `@eaDir`), bins.
    """
    return name.startswith(".") or name.lower() in _LEFTOVERS


@dataclasses.dataclass(frozen=True)
class Found:
    """What lies below a folder, each in the order of the paths.

    photos: by their suffix;  others: files of other kinds;  leftovers: of systems and programs, of a folder its name
    alone.
    """

    photos: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    leftovers: tuple[Path, ...] = ()

    @property
    def passed_over(self) -> str:
        """One line for a person, such as "passed over 12 .heic, 1 .txt and 3 leftovers of the system"; "" for none."""
        kinds = collections.Counter(path.suffix.lower() or "without a suffix" for path in self.others).most_common()
        parts = [f"{count} {kind}" for kind, count in kinds[:3]]
        if rest := sum(count for _, count in kinds[3:]):
            parts.append(f"{rest} of other kinds")
        if self.leftovers:
            parts.append(f"{len(self.leftovers)} leftover{'s' * (len(self.leftovers) > 1)} of the system")
        if not parts:
            return ""
        return "passed over " + " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def photo_paths(folder: str | Path) -> list[Path]:
    """Every photo below `folder`, in the order of the paths.  Raises ArgumentError where there is none."""
    paths = photos_below(folder) if Path(folder).is_dir() else []
    if not paths:
        raise ArgumentError(f"{folder}: no photos there ({', '.join(sorted(SUFFIXES))}); name a folder that holds some")
    return paths


def photos_below(folder: str | Path, *, ignored: Collection[str] = ()) -> list[Path]:
    """Every photo below `folder`, in the order of the paths, perhaps none; `ignored` are names of folders to pass over.

    A link that leads nowhere is listed, so that reading it says so.  Raises DatasetError for no readable folder.
    """
    return list(look_below(folder, ignored=ignored).photos)


def look_below(folder: str | Path, *, ignored: Collection[str] = ()) -> Found:
    """The photos below `folder`, as `photos_below` lists them, and what was passed over."""
    photos: list[Path] = []
    others: list[Path] = []
    leftovers: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        leftovers += [Path(place, name) for name in (*folders, *names) if is_leftover(name)]
        folders[:] = sorted(name for name in folders if not is_leftover(name) and name not in ignored)
        for path in (Path(place, name) for name in names if not is_leftover(name)):
            is_photo = path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink())
            (photos if is_photo else others).append(path)
    return Found(tuple(sorted(photos)), tuple(sorted(others)), tuple(sorted(leftovers)))


def folders_in(folder: str | Path) -> list[Path]:
    """The folders right below `folder`, by name.  Raises DatasetError for what is no readable folder."""
    try:
        return sorted(path for path in Path(folder).iterdir() if path.is_dir() and not is_leftover(path.name))
    except OSError as error:
        _refuse(error)
        raise


def pairs_by_name(degraded: str | Path, clean: str | Path, *, strict: bool = True) -> Listing:
    """Two folders in which the halves of a pair have one name: the path below the folder, without its suffix.

    The name may also begin with that of its folder and an underscore (`blur/blur_7.png`, `gt/gt_7.png`).  Items are in
    natural order (2 before 10); their group is the sub-folder that they lie in.  `strict`: raises DatasetError where a
    photo has no partner or more than one; otherwise such photos are items with one half None.
    """
    degraded, clean = Path(degraded), Path(clean)
    halves = [_by_name(folder) if strict or folder.is_dir() else {} for folder in (degraded, clean)]
    items: list[Item] = []
    for name in sorted({*halves[0], *halves[1]}, key=natural):
        ours, theirs = (half.get(name, []) for half in halves)
        group = name.rpartition("/")[0]
        if len(ours) == len(theirs) == 1:
            items.append(Item(ours[0], theirs[0], group))
        else:
            items += _lone(ours, theirs, group)
    listing = Listing(tuple(items), "pairs", paired=True)
    return with_all_pairs(listing, degraded, clean) if strict else listing


def pairs_by_order(degraded: str | Path, clean: str | Path, *, strict: bool = True) -> Listing:
    """Two folders whose photos pair in natural order (2 before 10), sub-folder by sub-folder.

    Both must hold the same sub-folders with as many photos in each.  `strict`: raises DatasetError otherwise; if not
    strict, the photos of a sub-folder whose counts differ are items with one half None, for one missing photo would
    shift all that follow it.
    """
    degraded, clean = Path(degraded), Path(clean)
    halves = _by_folder(degraded), _by_folder(clean)
    items: list[Item] = []
    uneven: list[str] = []
    for group in sorted({*halves[0], *halves[1]}, key=natural):
        ours, theirs = (half.get(group, []) for half in halves)
        if len(ours) == len(theirs):
            items += [Item(*both, group) for both in zip(ours, theirs, strict=True)]
        else:
            items += _lone(ours, theirs, group)
            uneven.append(f"{group or '.'}: {len(ours)} and {len(theirs)}")
    if uneven and strict:
        raise DatasetError(
            f"{degraded} and {clean}: pairs by order need as many photos on both sides ({some(uneven, 'folders')})"
        )
    listing = Listing(tuple(items), "pairs", paired=True)
    return with_all_pairs(listing, degraded, clean) if strict else listing


def unpaired(degraded: str | Path | None = None, clean: str | Path | None = None) -> Listing:
    """Folders of degraded and of clean photos that do not belong together; one of them may be left out."""
    items = [Item(path, None, _group(path, degraded)) for path in (photos_below(degraded) if degraded else [])]
    items += [Item(None, path) for path in (photos_below(clean) if clean else [])]
    if not items:
        raise DatasetError(f"{degraded or clean}: holds no photos; name a folder that does")
    return Listing(tuple(items), "unpaired" if degraded else "clean", paired=False)


def with_all_pairs(listing: Listing, *places: Path) -> Listing:
    """The same listing.  Raises DatasetError, naming `places`, where it is empty or holds half a pair."""
    where = " and ".join(str(place) for place in places)
    if not listing.items:
        raise DatasetError(f"{where}: no photos there ({', '.join(sorted(SUFFIXES))}); name folders that hold some")
    lone = [item for item in listing.items if not item.is_pair]
    if not lone:
        return listing
    named = collections.defaultdict(list)
    for item in lone:
        named[item.degraded is None, str(Path(item.name).with_suffix(""))].append(item.name)
    twins = [" and ".join(names) for names in named.values() if len(names) > 1]
    if twins:
        raise DatasetError(f"{where}: two photos of one name cannot be told apart; keep one of {some(twins)}")
    names = some([item.name for item in lone], "photos")
    raise DatasetError(f"{where}: {len(lone)} without a partner ({names}); add or remove it, or pair by order")


def regrouped(items: Iterable[Item], *, group: str, split: str = "") -> list[Item]:
    """The items, each in `group` (and there in the group that it had) and in `split`."""
    joined = ((item, "/".join(part for part in (group, item.group) if part)) for item in items)
    return [dataclasses.replace(item, group=name, split=split) for item, name in joined]


def split_and_group(parts: Iterable[str]) -> tuple[str, str]:
    """What the names of the folders above a photo say: the split, as in SPLITS, and the group, which is all others."""
    parts = list(parts)
    split = next((SPLITS[part.lower()] for part in parts if part.lower() in SPLITS), "")
    return split, "/".join(part for part in parts if part.lower() not in SPLITS)


def natural(name: str) -> tuple[list[str | int], str]:
    """A sorting key that counts digits as numbers: frame2 comes before frame10."""
    return [int(part) if part.isdecimal() else part for part in _NUMBER.split(name)], name


def some(names: Sequence[str], of_what: str = "") -> str:
    """The first three of `names`, and how many more there are, for one line of a message."""
    more = f" and {len(names) - 3} more {of_what}".rstrip() if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _by_name(folder: Path) -> dict[str, list[Path]]:
    photos = collections.defaultdict(list)
    for path in photos_below(folder):
        name = path.stem.removeprefix(f"{folder.name}_")
        below = "/".join(part for part in (_group(path, folder), name) if part)
        photos[unicodedata.normalize("NFC", below)].append(path)  # macOS spells accents as characters of their own
    return photos


def _by_folder(folder: Path) -> dict[str, list[Path]]:
    photos = collections.defaultdict(list)
    for path in photos_below(folder):
        photos[_group(path, folder)].append(path)
    return {group: sorted(paths, key=lambda path: natural(path.name)) for group, paths in photos.items()}


def _lone(degraded: Iterable[Path], clean: Iterable[Path], group: str) -> list[Item]:
    return [*(Item(path, None, group) for path in degraded), *(Item(None, path, group) for path in clean)]


def _group(path: Path, folder: str | Path | None) -> str:
    assert folder is not None
    parent = path.relative_to(folder).parent.as_posix()
    return "" if parent == "." else parent


def _refuse(error: OSError) -> None:
    reason = {FileNotFoundError: "no such folder", NotADirectoryError: "is no folder"}.get(type(error))
    raise DatasetError(f"{error.filename}: {reason or f'cannot be read ({error.strerror})'}") from None
