"""The table of layouts, and `open_listing`, which takes whatever a user has: a manifest, or a folder in one of them.

A folder's layout is recognised by the names of its folders alone, in the order of the table.  What names cannot tell
(pairs by order, A|B in one photo, a folder of blurry photos that is not called RWBI) is for the caller to say.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resharp.errors import DatasetError, did_you_mean
from resharp.photo import SUFFIXES

from .folders import folders_in, pairs_by_name, pairs_by_order, photos_below, regrouped, split_and_group, with_all_pairs
from .listing import Item, Listing
from .manifest import MANIFEST, UNFINISHED, read_manifest
from .packs import is_pack
from .published import (
    coco,
    div2k,
    gopro,
    is_coco,
    is_div2k,
    is_gopro,
    is_kohler,
    is_levin,
    is_realblur,
    kohler,
    levin,
    realblur,
    rwbi,
    with_some,
)

DEGRADED_NAMES = {"blur", "blurry", "blurred", "degraded", "input", "lq", "lr", "lr_x2", "lr_x3", "lr_x4", "noisy"}
CLEAN_NAMES = {"sharp", "clean", "clear", "target", "gt", "groundtruth", "ground_truth", "hq", "hr"}


def pairs(root: Path, *, names: tuple[str, str] | None = None, by: str = "name", strict: bool = True) -> Listing:
    """Two folders, one of degraded and one of clean photos, in `root`, else in its sub-folders and in theirs.

    names: those of the two folders, or paths; None takes one of DEGRADED_NAMES and one of CLEAN_NAMES, in capitals or
    not.  by: "name" or "order", as in `folders`.  A sub-folder that is called train, test or val gives the split, any
    other one the group.  Raises DatasetError where no two folders are found, or more than one choice.
    """
    find = {"name": pairs_by_name, "order": pairs_by_order}[by]
    couples = _couples(root, names)
    if not couples:
        wanted = " and ".join(names) if names else "one of degraded, one of clean photos"
        raise DatasetError(f"{root}: holds no two folders ({wanted}), but {_seen_in(root)}; say which two they are")
    items: list[Item] = []
    for place, degraded, clean in couples:
        split, group = split_and_group(place.relative_to(root).parts)
        # By name, what lacks its partner is told once for all folders.
        items += regrouped(find(degraded, clean, strict=strict and by == "order").items, group=group, split=split)
    listing = Listing(tuple(items), "pairs", paired=True)
    return with_all_pairs(listing, *(couples[0][1:] if len(couples) == 1 else [root])) if strict else listing


def clean(root: Path, *, strict: bool = True) -> Listing:
    """Clean photos, flat or in folders, each a group of its own.  Folders give splits."""
    del strict  # there is no pair to break
    splits = ((path, split_and_group(path.parent.relative_to(root).parts)[0]) for path in photos_below(root))
    items = tuple(Item(None, path, "", split) for path, split in splits)
    return with_some(Listing(items, "clean", paired=False), root)


def side_by_side(root: Path, *, strict: bool = True) -> Listing:
    """A|B in one photo, the format of DeblurGAN and pix2pix: A, the left half, is blurry, B is sharp.

    Both halves of an item are the same file, so it is `prepare` that makes use of them.  Folders give split and group.
    """
    del strict
    items = []
    for path in photos_below(root):
        split, group = split_and_group(path.parent.relative_to(root).parts)
        items.append(Item(path, path, group, split))
    return with_some(Listing(tuple(items), "side-by-side", paired=True), root)


@dataclasses.dataclass(frozen=True)
class Layout:
    """One row of LAYOUTS.

    find: lists a folder;  looks_like: whether a folder's names show this layout;  shape: what it looks like, in words;
    subsets: which it offers, the first by default;  source: the page that it comes from.
    """

    find: Callable[..., Listing]
    looks_like: Callable[[Path], bool]
    shape: str
    subsets: tuple[str, ...] = ()
    source: str = ""


LAYOUTS = {
    "gopro": Layout(
        gopro,
        is_gopro,
        "train|test/SEQUENCE/{blur,blur_gamma,sharp}",
        ("linear", "gamma"),
        "https://seungjunnah.github.io/Datasets/gopro",
    ),
    "realblur": Layout(
        realblur,
        is_realblur,
        "RealBlur-J_.../SCENE/{blur,gt}",
        ("J", "R"),
        "http://cg.postech.ac.kr/research/RealBlur",
    ),
    "kohler": Layout(
        kohler,
        is_kohler,
        "BlurryI_T.png and ImageI/KernelT/GroundTruthI_T_N.png",
        source="http://webdav.is.mpg.de/pixel/benchmark4camerashake",
    ),
    "levin": Layout(
        levin,
        is_levin,
        "blur/imN_kernelM.png and sharp/imN.png",
        source="https://webee.technion.ac.il/people/anat.levin/",
    ),
    "pairs": Layout(pairs, lambda root: bool(_couples(root, None)), "two folders such as blur and sharp"),
    "rwbi": Layout(
        rwbi,
        lambda root: root.name.lower() == "rwbi",
        "blurry photos in a folder RWBI",
        source="https://github.com/HDCVLab/Deblurring-by-Realistic-Blurring",
    ),
    "coco": Layout(coco, is_coco, "images beside labels, or train2017 and val2017", source="https://cocodataset.org"),
    "div2k": Layout(
        div2k,
        is_div2k,
        "DIV2K_train_HR and DIV2K_valid_HR, LR folders passed over",
        source="https://data.vision.ee.ethz.ch/cvl/DIV2K",
    ),
    "clean": Layout(clean, lambda root: _holds_clean_photos(root), "a folder of clean photos"),
    "side-by-side": Layout(side_by_side, lambda _: False, "A|B in one photo (never guessed)"),
}


def find_listing(
    layout: str,
    root: Path,
    *,
    subset: str | None = None,
    pairs: tuple[str, str] | None = None,
    by: str = "name",
    strict: bool = True,
) -> Listing:
    """What `root` holds in the named layout.  Raises DatasetError, also for a choice that the layout does not have."""
    row, choices = row_of(layout), dict[str, Any]()
    if row.subsets:
        choices["subset"] = row.subsets[0] if subset is None else subset
    if choices.get("subset", subset) not in (row.subsets or (None,)):
        offered = f"it has {' and '.join(row.subsets)}" if row.subsets else "it has none"
        raise DatasetError(f"{layout} has no subset {subset!r}; {offered}")
    if layout == "pairs":
        choices |= {"names": pairs, "by": by}
    elif pairs is not None or by != "name":
        raise DatasetError(f"{layout} says itself which photos pair; names of folders and by order belong to 'pairs'")
    try:
        listing = row.find(root, strict=strict, **choices)
    except DatasetError:
        if layout == "pairs" or not _is_otherwise(row, root):
            raise
        raise DatasetError(f"{root}: is not in layout {layout} ({row.shape}); it holds {_seen_in(root)}") from None
    return dataclasses.replace(listing, source=row.source)


def row_of(layout: str) -> Layout:
    """Of LAYOUTS.  Raises DatasetError."""
    if layout not in LAYOUTS:
        raise DatasetError(f"{layout!r} is no layout; {did_you_mean(layout, LAYOUTS, things='layouts')}")
    return LAYOUTS[layout]


def _is_otherwise(row: Layout, root: Path) -> bool:
    """Whether photos are there whose folders are not called as a layout has them."""
    return root.is_dir() and not any(map(row.looks_like, (root, root.parent))) and bool(photos_below(root))


def open_listing(
    path: str | Path,
    *,
    layout: str | None = None,
    subset: str | None = None,
    pairs: tuple[str, str] | None = None,
    strict: bool = True,
) -> Listing:
    """What a manifest, a folder with a manifest, or a folder in one of LAYOUTS holds.

    layout: None recognises it;  subset: "linear" or "gamma" of GoPro, "J" or "R" of RealBlur, None takes the first;
    pairs: the names of the two folders of pairs;  strict: raises DatasetError where a photo lacks its partner.  Raises
    DatasetError for a folder in no layout, saying what is there, and for one that `prepare` has not finished.
    """
    path = Path(path)
    if path.is_file():
        _refuse_lone_file(path)
        return read_manifest(path, strict=strict)
    if layout is None and pairs is None:
        if (path / MANIFEST).is_file():
            return read_manifest(path / MANIFEST, strict=strict)
        if (path / UNFINISHED).is_file():
            raise DatasetError(f"{path}: was not finished; run the same `resharp data prepare` again, it goes on")
        layout = next((name for name, row in LAYOUTS.items() if row.looks_like(path)), None)
        if layout is None and not photos_below(path):
            raise DatasetError(f"{path}: no photos there ({', '.join(sorted(SUFFIXES))}); name a folder that has some")
        if layout is None:
            known = "; ".join(f"{name}: {row.shape}" for name, row in LAYOUTS.items())
            raise DatasetError(f"{path}: is in no layout that resharp knows, it holds {_seen_in(path)} ({known})")
    return find_listing(layout or "pairs", path, subset=subset, pairs=pairs, strict=strict)


def _refuse_lone_file(path: Path) -> None:
    """Raises DatasetError for a file that stands where a folder or manifest belongs."""
    if path.suffix.lower() in SUFFIXES:
        raise DatasetError(f"{path}: is a photo; name its folder")
    if is_pack(path):
        raise DatasetError(f"{path}: is a pack of patches; name the folder or the manifest of its photos")


def _couples(root: Path, names: tuple[str, str] | None) -> list[tuple[Path, Path, Path]]:
    """(the folder that holds both, degraded, clean) in `root`, else in its sub-folders and in theirs."""
    found, level = [], [root]
    for _ in range(3):
        below: list[Path] = []
        for place in level:
            couple = _couple(place, names)
            found += [] if couple is None else [couple]
            below += folders_in(place) if couple is None else []
        level = below
    return found


def _couple(place: Path, names: tuple[str, str] | None) -> tuple[Path, Path, Path] | None:
    if names is not None:
        degraded, clean = place / names[0], place / names[1]
        if not (degraded.is_dir() and clean.is_dir()):
            return None
        if degraded.samefile(clean):
            raise DatasetError(f"{degraded}: cannot hold the degraded and the clean photos; name two folders")
        return place, degraded, clean
    inside = folders_in(place)
    bad = [path for path in inside if path.name.lower() in DEGRADED_NAMES]
    good = [path for path in inside if path.name.lower() in CLEAN_NAMES]
    if len(bad) > 1 or len(good) > 1:
        choices = ", ".join(path.name for path in [*bad, *good])
        raise DatasetError(f"{place}: holds {choices}; say which two make the pairs (--pairs blur sharp)")
    return (place, bad[0], good[0]) if bad and good else None


def _holds_clean_photos(root: Path) -> bool:
    """Whether photos are there, and no folder is called as those of degraded photos are."""
    folders = {part.lower() for path in photos_below(root) for part in path.relative_to(root).parts[:-1]}
    return not folders & {*DEGRADED_NAMES, "blur_gamma"} and bool(folders or photos_below(root))


def _seen_in(root: Path) -> str:
    """How many photos, and the names of some folders."""
    names = [path.name for path in folders_in(root)]
    folders = f"folders {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "no folders"
    return f"{len(photos_below(root))} photos and {folders}"
