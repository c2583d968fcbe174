"""Where samples come from: photos in folders, pairs in folders, patches in packs, all alike to those who draw them.

Pixels are uint8 RGB (3, H, W), of deep sources float32 where a photo has 16 bits, read when they are asked for; the
last few photos are kept decoded.
"""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from resharp.errors import DatasetError
from resharp.photo import photo_size, read_pixels

from .layouts import open_listing
from .listing import Item, Listing
from .manifest import refuse_odd_names
from .packs import PackPatches, is_pack

KEPT_BYTES = 2**28  # of decoded photos, for each process that reads


class Source(Protocol):
    """A sequence of clean photos, or of real pairs."""

    is_real: bool

    def __len__(self) -> int:
        """How many there are."""

    def name(self, index: int) -> str:
        """What samples call number `index`, wherever the dataset lies."""

    def group(self, index: int) -> str:
        """The video, scene or photo that no split may cut in two."""

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of it, without reading its pixels."""

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(really degraded photo or None, clean photo)."""

    def fingerprint(self) -> str:
        """A hash that changes when a photo comes or goes."""


class PhotoFiles:
    """Clean photos, or real pairs of one size, in files; the names in samples are those below `root`.

    deep: photos of 16 bits keep their depth.
    """

    def __init__(
        self, items: Sequence[Item], root: Path = Path(), *, kept_bytes: int = KEPT_BYTES, deep: bool = False
    ) -> None:
        """items: all of them pairs, or all with a clean photo alone."""
        if not items:
            raise DatasetError("no photos there; name a folder that holds some")
        self.items = list(items)
        self.root = root
        self.is_real = items[0].is_pair
        odd = next((i for i in items if i.clean is None or i.is_pair != self.is_real), None)
        if odd is not None:
            raise DatasetError(f"{odd.name}: pairs and lone photos stand together; make two sources of them")
        refuse_odd_names(self.items)
        self._kept = _Kept(functools.partial(read_pixels, deep=deep), kept_bytes)
        self._sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.items)

    def name(self, index: int) -> str:
        """The clean file's path below the root."""
        return self._below_root(self._clean(index))

    def group(self, index: int) -> str:
        """The item's group; a photo of its own has its name."""
        return self.items[index].group or self.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width), from the clean file's header."""
        if index not in self._sizes:
            self._sizes[index] = photo_size(self._clean(index))
        return self._sizes[index]

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(degraded or None, clean).  Raises PhotoError, and DatasetError for sizes that differ."""
        clean, degraded_path = self._kept(self._clean(index)), self.items[index].degraded
        if degraded_path is None:
            return None, clean
        degraded = self._kept(degraded_path)
        if degraded.shape != clean.shape:
            sizes = " and ".join(f"{photo.shape[-1]}x{photo.shape[-2]}" for photo in (degraded, clean))
            raise DatasetError(f"{degraded_path}: its pair differs in size ({sizes}); `resharp data check` finds all")
        return degraded, clean

    def fingerprint(self) -> str:
        """Over the names, groups included: a photo that was damaged may be mended, and the work go on."""
        lines = "\n".join(self._identity(index) for index in range(len(self)))
        return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()

    def _identity(self, index: int) -> str:
        item, name = self.items[index], self.name(index)
        beside = [] if item.degraded is None else [self._below_root(item.degraded)]
        return "\t".join([name, *beside, *([item.group] if item.group else [])])

    def _below_root(self, path: Path) -> str:
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def _clean(self, index: int) -> Path:
        path = self.items[index].clean
        assert path is not None, "checked when the source was made"
        return path


def open_source(
    place: str | Path,
    *,
    split: str | None = None,
    is_split: bool = True,
    half: Literal["clean", "degraded"] | None = None,
    kept_bytes: int = KEPT_BYTES,
    deep: bool = False,
) -> Source:
    """The photos or pairs of a folder, manifest or pack.

    half: its clean or its degraded photos alone, as a source of lone photos, whether or not they are pairs; a folder of
    lone photos is what it is called.  deep: as for `PhotoFiles`.

    A dataset with several splits needs `split`: nobody shall train on its test photos unawares.  One that has none is
    refused where a split is named, or taken whole if not `is_split`.  Raises DatasetError.
    """
    place = Path(place)
    if is_pack(place):
        if split is not None and is_split:
            raise DatasetError(f"{place}: a pack has no splits; leave {split!r} out, or pack that split alone")
        return PackPatches(place, half)
    listing = open_listing(place, strict=half is None)
    if is_split or any(item.split for item in listing.items):
        listing = one_split(listing, split, place)
    if listing.layout in ("kohler", "side-by-side"):
        raise DatasetError(
            f"{place}: is of layout {listing.layout}, no training pairs; `resharp data prepare` cuts A|B"
        )
    items = _half(listing, half)
    if not items:
        raise DatasetError(
            f"{place}: holds no {half or 'clean'} photos to {'learn from' if half else 'make pairs of'}, only "
            f"{'clean' if half == 'degraded' else 'degraded'} ones"
        )
    return PhotoFiles(items, place if place.is_dir() else place.parent, kept_bytes=kept_bytes, deep=deep)


def _half(listing: Listing, half: str | None) -> Sequence[Item]:
    """The items to make a source of: as they are, or the photos of one half alone."""
    if half is None:
        return listing.items if listing.paired else [item for item in listing.items if item.clean is not None]
    if half == "degraded" and listing.degraded:
        chosen = [(item, item.degraded) for item in listing.items]
    else:
        chosen = [(item, item.clean) for item in listing.items]
    return [dataclasses.replace(item, degraded=None, clean=path) for item, path in chosen if path is not None]


def one_split(listing: Listing, split: str | None, place: Path) -> Listing:
    """The named split of a listing, or all of one that has no two; photos of no split beside others are for training.

    Raises DatasetError.
    """
    splits = {item.split for item in listing.items}
    if "" in splits and splits - {"", "train"}:
        items = (dataclasses.replace(item, split=item.split or "train") for item in listing.items)
        listing, splits = dataclasses.replace(listing, items=tuple(items)), splits - {""} | {"train"}
    if split is not None:
        return listing.only(split)
    if len(splits - {""}) > 1:
        named = " and ".join(sorted(splits - {""}))
        raise DatasetError(f"{place}: has the splits {named}; choose one: --split, or data.split of a recipe")
    return listing


class _Kept:
    """The photos read last, up to so many bytes; reading one anew is the only cost of forgetting it."""

    def __init__(self, read: Callable[[Path], Tensor], limit: int) -> None:
        self._read = read
        self._limit = limit
        self._photos: collections.OrderedDict[Path, Tensor] = collections.OrderedDict()
        self._n_bytes = 0

    def __call__(self, path: Path) -> Tensor:
        if path in self._photos:
            self._photos.move_to_end(path)
            return self._photos[path]
        photo = self._photos[path] = self._read(path)
        self._n_bytes += photo.nbytes
        while self._n_bytes > self._limit and len(self._photos) > 2:  # a pair always stays
            self._n_bytes -= self._photos.popitem(last=False)[1].nbytes
        return photo

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_photos": collections.OrderedDict(), "_n_bytes": 0}  # workers read for themselves
