"""Where samples come from: photos in folders, pairs in folders, patches in packs, all alike to those who draw them.

Pixels are uint8 RGB (3, H, W), read when they are asked for; the last few photos are kept decoded.
"""

import collections
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from resharp.errors import DatasetError
from resharp.photo import photo_size, read_pixels

from .layouts import open_listing
from .packing import PackPatches

KEPT_BYTES = 2**28  # of decoded photos, for each process that reads


class Source(Protocol):
    """A sequence of clean photos, or of real pairs."""

    is_real: bool

    def __len__(self) -> int:
        """How many there are."""

    def name(self, index: int) -> str:
        """What recipes call number `index`."""

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of it, without reading its pixels where that can be known."""

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(really degraded photo or None, clean photo)."""


class PhotoFiles:
    """Clean photos, or real pairs of one size, in files."""

    def __init__(self, files: Sequence[tuple[Path | None, Path]], *, kept_bytes: int = KEPT_BYTES) -> None:
        """files: (degraded or None, clean) each, either all of them pairs or none."""
        if not files:
            raise DatasetError("no photos there; name a folder that holds some")
        self.files = list(files)
        self.is_real = files[0][0] is not None
        if any((degraded is not None) != self.is_real for degraded, _ in files):
            raise DatasetError(f"{files[0][1]}: stands among pairs and lone photos; make two sources of them")
        self._kept = _Kept(read_pixels, kept_bytes)
        self._sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """The clean file's path."""
        return str(self.files[index][1])

    def size(self, index: int) -> tuple[int, int]:
        """(height, width), from the clean file's header."""
        if index not in self._sizes:
            self._sizes[index] = photo_size(self.files[index][1])
        return self._sizes[index]

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(degraded or None, clean).  Raises PhotoError, and DatasetError for sizes that differ."""
        degraded_path, clean_path = self.files[index]
        clean = self._kept(clean_path)
        if degraded_path is None:
            return None, clean
        degraded = self._kept(degraded_path)
        if degraded.shape != clean.shape:
            sizes = " and ".join(f"{photo.shape[-1]}x{photo.shape[-2]}" for photo in (degraded, clean))
            raise DatasetError(f"{degraded_path}: its pair differs in size ({sizes}); `resharp data check` finds all")
        return degraded, clean


def open_source(place: Path) -> Source:
    """The photos or pairs of a folder, manifest or pack.  Raises DatasetError."""
    if place.suffix in (".h5", ".hdf5"):
        return PackPatches(place)
    listing = open_listing(place)
    if listing.paired:
        return PhotoFiles(listing.pairs)
    if not listing.clean:
        raise DatasetError(f"{place}: holds no clean photos to make pairs of, only degraded ones")
    return PhotoFiles([(None, path) for path in listing.clean])


class _Entry(NamedTuple):
    photo: Tensor
    n_bytes: int


class _Kept:
    """The photos read last, up to so many bytes; reading one anew is the only cost of forgetting it."""

    def __init__(self, read: Callable[[Path], Tensor], limit: int) -> None:
        self._read = read
        self._limit = limit
        self._entries: collections.OrderedDict[Path, _Entry] = collections.OrderedDict()
        self._n_bytes = 0

    def __call__(self, path: Path) -> Tensor:
        if path in self._entries:
            self._entries.move_to_end(path)
            return self._entries[path].photo
        photo = self._read(path)
        self._entries[path] = _Entry(photo, photo.nbytes)
        self._n_bytes += photo.nbytes
        while self._n_bytes > self._limit and len(self._entries) > 1:
            self._n_bytes -= self._entries.popitem(last=False)[1].n_bytes
        return photo
