"""The one pass over the files: each photo is decoded once for its item, and a small record of it stays."""

import concurrent.futures
import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from resharp.data.listing import Item
from resharp.errors import PhotoError
from resharp.photo import read_photo

from .measures import PairMeasures, measured_pair

Plane = NDArray[np.float32]

THUMBNAIL = 32  # pixels a side: 16 tell 500 unrelated photos apart a little less well, 64 a little better
CONSTANT_RANGE = 1.5 / 255  # no more than one grey level between the darkest and the brightest pixel


@dataclasses.dataclass(frozen=True)
class PhotoRecord:
    """What stays of one photo.

    trouble: what `read_photo` had to say, "" for a readable file;  digest: equal for equal luminance;  thumbnail:
    float16 (32, 32), mean of RGB in [0, 1].
    """

    path: Path
    trouble: str = ""
    height: int = 0
    width: int = 0
    depth: int = 8
    grey: bool = False
    alpha: bool = False
    constant: bool = False
    digest: bytes = b""
    thumbnail: NDArray[np.float16] | None = None

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def shows_something(self) -> bool:
        return not self.trouble and not self.constant


@dataclasses.dataclass(frozen=True)
class ItemRecord:
    """The records of an item's photos, and what was measured between the two where they are a pair that can be."""

    item: Item
    degraded: PhotoRecord | None
    clean: PhotoRecord | None
    measures: PairMeasures | None

    @property
    def photos(self) -> tuple[PhotoRecord, ...]:
        return tuple(photo for photo in (self.degraded, self.clean) if photo is not None)

    @property
    def scale(self) -> int | None:
        """Size of clean over degraded, negative for the inverse (degraded is larger); None where neither is whole."""
        if self.degraded is None or self.clean is None or self.degraded.trouble or self.clean.trouble:
            return None
        return whole_scale(self.degraded, self.clean) or -(whole_scale(self.clean, self.degraded) or 0) or None


def whole_scale(small: PhotoRecord, large: PhotoRecord) -> int | None:
    """How many times `large` is as large as `small` on both sides; None where that is no whole number."""
    scale = large.height // small.height
    return scale if scale and (large.height, large.width) == (scale * small.height, scale * small.width) else None


def read_records(
    items: Sequence[Item], *, on_item: Callable[[int], None] | None = None, workers: int = 0
) -> list[ItemRecord]:
    """One record per item, in their order, whatever the number of threads."""
    records: list[ItemRecord] = []

    def keep(record: ItemRecord) -> None:
        records.append(record)
        if on_item is not None:
            on_item(len(records))

    if not workers:
        for item in items:
            keep(read_item(item))
        return records
    # Threads, for decoders work outside the interpreter's lock.  `read_photo` silences warnings for a moment; threads
    # would restore each other's filters in a wrong order, so what held before is put back here, at the end.
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")
        try:
            for record in pool.map(read_item, items):
                keep(record)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return records


def read_item(item: Item) -> ItemRecord:
    """Decode an item's photos, measure them against each other, and keep the record."""
    degraded, degraded_plane = _read(item.degraded)
    clean, clean_plane = _read(item.clean)
    record = ItemRecord(item, degraded, clean, None)
    scale = record.scale
    if degraded_plane is None or clean_plane is None or scale is None or scale < 0:
        return record
    assert degraded is not None
    assert clean is not None
    if not (degraded.shows_something and clean.shows_something):
        return record
    return dataclasses.replace(record, measures=measured_pair(degraded_plane, clean_plane, scale))


def _read(path: Path | None) -> tuple[PhotoRecord | None, Plane | None]:
    """(record, luminance (H, W)) of a photo; no plane where it cannot be read."""
    if path is None:
        return None, None
    try:
        photo = read_photo(path)
    except PhotoError as error:
        return PhotoRecord(path, trouble=str(error)), None
    planes = photo.planes
    plane: Any = np.ascontiguousarray(planes.mean(0).numpy())
    height, width = plane.shape
    value_range = float((planes.amax((1, 2)) - planes.amin((1, 2))).max())
    thumbnail = cv2.resize(plane, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float16)
    record = PhotoRecord(
        path,
        height=height,
        width=width,
        depth=photo.depth,
        grey=photo.grey,
        alpha=photo.alpha is not None,
        constant=value_range < CONSTANT_RANGE,
        digest=hashlib.blake2b(plane, digest_size=16, salt=f"{width}x{height}".encode()[:16]).digest(),
        thumbnail=thumbnail,
    )
    return record, plane
