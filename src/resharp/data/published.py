"""The layouts of published datasets, as their authors pack them; each function finds one in a folder.

Sources: the datasets' own pages (see LAYOUTS) and the readmes of code that reads them.  `strict`, as everywhere: raises
DatasetError where a photo lacks its partner; otherwise such photos are items with one half None.
"""

import dataclasses
import re
from pathlib import Path

from resharp.errors import DatasetError
from resharp.photo import SUFFIXES

from .folders import SPLITS, folders_in, natural, pairs_by_name, photos_below, regrouped, some, with_all_pairs
from .listing import Item, Listing

PUBLISHED_COUNTS = {
    "gopro": {"train": 2103, "test": 1111},
    "realblur": {"train": 3758, "test": 980},
    "rwbi": {"": 3112},
    "kohler": {"test": 48},
}
"""Degraded photos of each split, as the authors count them; of RealBlur the same for J and for R."""

_BLUR_FOLDERS = {"linear": "blur", "gamma": "blur_gamma"}
_COCO_FOLDER = re.compile(r"(train|val|test)(20\d\d)?$")
_LEVIN_SHOT = re.compile(r"im\d+_kernel\d+$")
_DIV2K_FOLDER = re.compile(r"^(?:DIV2K|Flickr2K)(?:_(train|valid))?_HR$", re.IGNORECASE)
_KOHLER_SHOT = re.compile(r"blurry(\d+)_(\d+)$", re.IGNORECASE)
_KOHLER_FRAME = re.compile(r"groundtruth(\d+)_(\d+)_(\d+)$", re.IGNORECASE)


def gopro(root: Path, *, subset: str = "linear", strict: bool = True) -> Listing:
    """GoPro (Nah et al. 2017): train|test/SEQUENCE/{blur,blur_gamma,sharp}/*.png; the group is the sequence.

    subset: "linear" (the folders `blur`) or "gamma" (`blur_gamma`).  `root` may also be one split alone.
    """
    items: list[Item] = []
    for split in [path for path in folders_in(root) if path.name in ("train", "test")] or [root]:
        for sequence in folders_in(split):
            found = {path.name for path in folders_in(sequence)}
            lacking = sorted({_BLUR_FOLDERS[subset], "sharp"} - found)
            if strict and lacking:
                has = ", ".join(sorted(found)) or "no folders"
                raise DatasetError(f"{sequence}: lacks {' and '.join(lacking)} of the {subset} subset, but has {has}")
            pairs = pairs_by_name(sequence / _BLUR_FOLDERS[subset], sequence / "sharp", strict=False)
            items += regrouped(pairs.items, group=sequence.name, split=SPLITS.get(split.name, ""))
    listing = Listing(tuple(items), "gopro", paired=True)
    return with_all_pairs(listing, root) if strict else listing


def is_gopro(root: Path) -> bool:
    splits = (path for path in folders_in(root) if path.name in ("train", "test"))
    inside = ({path.name for path in folders_in(sequence)} for split in splits for sequence in folders_in(split))
    return any("sharp" in names and names & set(_BLUR_FOLDERS.values()) for names in inside)


def realblur(root: Path, *, subset: str = "J", strict: bool = True) -> Listing:
    """RealBlur (Rim et al. 2020): RealBlur-J_.../sceneNNN/{blur/blur_N.png,gt/gt_N.png}; the group is the scene.

    subset: "J" (the camera's JPEGs) or "R" (from raw).  The split is what `RealBlur_J_train_list.txt` and
    `..._test_list.txt` beside the folder say; a photo that they do not name has none.
    """
    found = [path for path in [root, *folders_in(root)] if path.name.startswith(f"RealBlur-{subset}")]
    if not found:
        raise DatasetError(f"{root}: holds no folder RealBlur-{subset}_...; name the one that was unpacked")
    splits = {
        photo: split
        for place in (found[0], found[0].parent)
        for split in ("train", "test")
        for photo in _listed(place / f"RealBlur_{subset}_{split}_list.txt")
    }
    items: list[Item] = []
    for scene in folders_in(found[0]):
        pairs = pairs_by_name(scene / "blur", scene / "gt", strict=False)
        items += regrouped(pairs.items, group=scene.name)
    named = ("/".join(Path(item.name).parts[-3:]) for item in items)
    items = [dataclasses.replace(item, split=splits.get(name, "")) for item, name in zip(items, named, strict=True)]
    listing = Listing(tuple(items), "realblur", paired=True)
    return with_all_pairs(listing, root) if strict else listing


def is_realblur(root: Path) -> bool:
    return any(path.name.startswith(("RealBlur-J", "RealBlur-R")) for path in [root, *folders_in(root)])


def kohler(root: Path, *, strict: bool = True) -> Listing:
    """The benchmark of Koehler et al. (2012): `Blurry{I}_{T}.png` of 4 images x 12 trajectories, and 198 to 200 sharp
    frames of each, `Image{I}/Kernel{T}/GroundTruth{I}_{T}_{N}.png`; the names count, not the folders.

    One item for each frame: the items of a shot share their degraded photo, and its score is the best of theirs.  The
    group is the image.
    """
    shots: dict[tuple[int, int], Path] = {}
    frames: dict[tuple[int, int], list[Path]] = {}
    for path in photos_below(root):
        if shot := _KOHLER_SHOT.match(path.stem):
            shots[int(shot[1]), int(shot[2])] = path
        elif frame := _KOHLER_FRAME.match(path.stem):
            frames.setdefault((int(frame[1]), int(frame[2])), []).append(path)
    items: list[Item] = []
    for key in sorted({*shots, *frames}):
        truths: list[Path | None] = [*sorted(frames.get(key, []), key=lambda path: natural(path.name))]
        items += [Item(shots.get(key), truth, f"Image{key[0]}", "test") for truth in truths or [None]]
    listing = Listing(tuple(items), "kohler", paired=True)
    return with_all_pairs(listing, root) if strict else listing


def is_kohler(root: Path) -> bool:
    places = (place for place in (root, root / "BlurryImages") if place.is_dir())
    return any(_KOHLER_SHOT.match(path.stem) for place in places for path in place.iterdir())


def levin(root: Path, *, strict: bool = True) -> Listing:
    """Levin et al. 2009: blur/im1_kernel1.png, ..., each beside the sharp photo of its number, sharp/im1.png."""
    photos = photos_below(root)
    blurred = [path for path in photos if path.parent.name == "blur" and _LEVIN_SHOT.match(path.stem)]
    sharp = {path.stem: path for path in photos if path.parent.name == "sharp"}
    lone = [path.name for path in blurred if path.stem.partition("_")[0] not in sharp]
    if lone and strict:
        raise DatasetError(f"{root / 'sharp'}: lacks the sharp photos of {some(lone)}")
    items = [Item(path, sharp[stem]) for path in blurred if (stem := path.stem.partition("_")[0]) in sharp]
    return with_some(Listing(tuple(items), "levin", paired=True), root)


def is_levin(root: Path) -> bool:
    return (root / "sharp").is_dir() and any(_LEVIN_SHOT.match(path.stem) for path in (root / "blur").glob("*"))


def rwbi(root: Path, *, strict: bool = True) -> Listing:
    """RWBI (Zhang et al. 2020), or any folder of blurry photos without sharp ones; the group is the sub-folder."""
    del strict  # there is no pair to break
    items = [Item(path, None) for path in photos_below(root)]
    items = [dataclasses.replace(item, group=below(Path(item.name).parent, root)) for item in items]
    return with_some(Listing(tuple(items), "rwbi", paired=False), root)


def coco(root: Path, *, strict: bool = True) -> Listing:
    """COCO, ImageNet and their like: clean photos, flat or in folders; `labels` and `annotations` are passed over.

    A folder such as train2017 or val gives the split.
    """
    del strict
    items = []
    for path in photos_below(root, ignored=("labels", "annotations")):
        splits = (found[1] for part in path.relative_to(root).parts[:-1] if (found := _COCO_FOLDER.match(part)))
        items.append(Item(None, path, split=SPLITS.get(next(splits, ""), "")))
    return with_some(Listing(tuple(items), "coco", paired=False), root)


def is_coco(root: Path) -> bool:
    names = {path.name for path in folders_in(root)}
    return ("images" in names and bool(names & {"labels", "annotations"})) or "train2017" in names or "val2017" in names


def div2k(root: Path, *, strict: bool = True) -> Listing:
    """DIV2K and Flickr2K: the HR photos alone, `DIV2K_train_HR` and `DIV2K_valid_HR` (which is the split "test").

    The folders of LR photos are passed over: a plan's `downscale` makes the same ones anew.
    """
    del strict
    items = []
    for folder in folders_in(root):
        if found := _DIV2K_FOLDER.match(folder.name):
            items += [Item(None, path, split=SPLITS.get(found[1] or "", "")) for path in photos_below(folder)]
    return with_some(Listing(tuple(items), "div2k", paired=False), root)


def is_div2k(root: Path) -> bool:
    return any(_DIV2K_FOLDER.match(path.name) for path in folders_in(root))


def below(folder: Path, root: Path) -> str:
    """Where `folder` lies below `root`: "" for `root` itself."""
    return "" if folder == root else folder.relative_to(root).as_posix()


def with_some(listing: Listing, root: Path) -> Listing:
    """The same listing.  Raises DatasetError where it is empty."""
    if not listing.items:
        raise DatasetError(f"{root}: no photos there ({', '.join(sorted(SUFFIXES))}); name a folder that holds some")
    return listing


def _listed(path: Path) -> list[str]:
    """The degraded photos (scene/blur/name) of a RealBlur list: clean and degraded path, and perhaps more, a line."""
    if not path.is_file():
        return []
    names = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        columns = line.split()
        if columns and len(columns) < 2:
            raise DatasetError(f"{path}, line {number}: holds no two paths (clean and blurry); get the list again")
        names += ["/".join(columns[1].replace("\\", "/").split("/")[-3:])] if columns else []
    return names
