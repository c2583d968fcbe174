"""Packs: patches of many photos in one HDF5 file, read back at the speed of memory.

`blur` and `sharp` are uint8 RGB (N, 3, patch, patch), a chunk for each patch, uncompressed; beside each, `blur_origin`
and `sharp_origin` (N, 3) hold the photo's number, top and left.  In a paired pack row i of both belongs together; else
each has its own length, and a pack of one kind has only that.  Attributes tell patch, stride, colour, layout, source,
licence and the photos' names.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.files import reason_of
from resharp.locks import exclusive
from resharp.photo import photo_size, read_pixels

from .listing import Listing
from .workers import checked_workers, in_order

FORMAT = 1
KINDS = ("blur", "sharp")


@dataclasses.dataclass(frozen=True)
class _Job:
    """A photo, or a pair, and the rows that its patches take."""

    number: int
    files: dict[str, Path]
    patch: int
    corners: tuple[tuple[int, int], ...]
    rows: dict[str, int]  # the first row in each kind


@dataclasses.dataclass(frozen=True)
class PackSummary:
    """What `pack` made: patches of each kind, photos or pairs that gave some, and those too small to."""

    counts: dict[str, int]
    n_used: int
    too_small: tuple[Path, ...]


def pack(
    listing: Listing,
    path: Path,
    *,
    patch: int = 128,
    stride: int = 100,
    n_workers: int = 0,
    on_photo: Callable[[int, int], None] | None = None,
) -> PackSummary:
    """Cut a sliding window over every photo of a listing and write the patches to one HDF5 file.

    The windows start at 0, stride, 2 stride, ... as long as they fit (what is left at the right and lower border stays
    out).  `on_photo(done, total)` hears of every photo.  The file has its name when it is whole; a run that was stopped
    left `path` + ".part", and the same call goes on with it.  Raises DatasetError, PhotoError, OutputError.
    """
    if listing.layout in ("side-by-side", "kohler"):
        raise DatasetError(
            f"photos of layout {listing.layout} are no pairs as they are; `resharp data prepare` cuts A|B"
        )
    if not 8 <= patch <= 8192 or not 1 <= stride <= 65536:
        raise ArgumentError(f"patch {patch}, stride {stride}: a patch has 8 to 8192 pixels a side, a stride 1 to 65536")
    checked_workers(n_workers)
    with exclusive(path):
        jobs, too_small = _jobs(listing, patch, stride)
        counts = {kind: sum(len(job.corners) for job in jobs if kind in job.files) for kind in KINDS}
        counts = {kind: count for kind, count in counts.items() if count}
        if not counts:
            raise DatasetError(f"no photo is as large as a patch of {patch} pixels; choose a smaller --patch")
        part = path.with_name(path.name + ".part")
        with _named_refusals(part):
            with _work_file(part, listing, jobs, counts, patch, stride) as file:
                done = file["done"][:]
                left = [job for job in jobs if not done[job.number]]
                n_done = len(jobs) - len(left)
                for job, patches in zip(left, in_order(_cut, left, n_workers), strict=True):
                    _store(file, job, patches)
                    n_done += 1
                    if on_photo is not None:
                        on_photo(n_done, len(jobs))
                file.attrs["complete"] = True
            with part.open("rb") as whole:
                os.fsync(whole.fileno())
            part.replace(path)
        return PackSummary(counts, len(jobs), too_small)


def _jobs(listing: Listing, patch: int, stride: int) -> tuple[list[_Job], tuple[Path, ...]]:
    jobs: list[_Job] = []
    too_small = []
    rows = dict.fromkeys(KINDS, 0)
    for item in listing.items:
        files = {k: p for k, p in zip(KINDS, (item.degraded, item.clean), strict=True) if p is not None}
        if listing.paired and len(files) < 2:
            raise DatasetError(f"{item.name}: has no counterpart; `resharp data check` finds all such photos")
        sizes = {photo_size(file) for file in files.values()}
        if len(sizes) > 1:
            raise DatasetError(f"{item.name}: its pair differs in size ({_as_text(sizes)}); a pack takes equal sizes")
        height, width = sizes.pop()
        corners = tuple(
            (top, left) for top in range(0, height - patch + 1, stride) for left in range(0, width - patch + 1, stride)
        )
        if not corners:
            too_small.append(item.degraded or item.clean)
            continue
        jobs.append(_Job(len(jobs), files, patch, corners, dict(rows)))
        for kind in files:
            rows[kind] += len(corners)
    return jobs, tuple(path for path in too_small if path is not None)


def _as_text(sizes: set[tuple[int, int]]) -> str:
    return " and ".join(f"{width}x{height}" for height, width in sorted(sizes))


def _cut(job: _Job) -> dict[str, Any]:
    """The patches of a job: kind -> uint8 (n, 3, patch, patch)."""
    patches = {}
    for kind, file in job.files.items():
        photo = read_pixels(file).numpy()
        if photo.shape[-2] < job.corners[-1][0] + job.patch or photo.shape[-1] < job.corners[-1][1] + job.patch:
            raise DatasetError(f"{file}: changed its size while it was packed")
        patches[kind] = np.stack([photo[:, y : y + job.patch, x : x + job.patch] for y, x in job.corners])
    return patches


@contextlib.contextmanager
def _work_file(
    part: Path, listing: Listing, jobs: list[_Job], counts: dict[str, int], patch: int, stride: int
) -> Iterator[Any]:
    """The unfinished pack, begun or gone on with.

    All of its space is laid out at the start, so nothing but patches is written later: a process killed in the middle
    leaves a file that is sound up to the last photo marked as done.
    """
    h5py = _h5py()
    names = [[str(file) for file in job.files.values()] for job in jobs]
    facts = {
        "format": FORMAT,
        "patch": patch,
        "stride": stride,
        "colour": "RGB",
        "paired": listing.paired,
        "layout": listing.layout,
        "source": listing.source,
        "licence": listing.licence,
        "fingerprint": hashlib.sha256(json.dumps([names, counts, patch, stride]).encode()).hexdigest(),
    }
    if part.exists() and _fingerprint(part) != facts["fingerprint"]:
        raise DatasetError(
            f"{part}: was begun from other photos or settings; remove it, or choose another name with -o"
        )
    if not part.exists():
        fresh = part.with_name(part.name + ".new")
        with h5py.File(fresh, "w") as file:
            file.attrs.update(facts | {"complete": False})
            file.create_dataset("photos", data=json.dumps(names), dtype=h5py.string_dtype())
            file.create_dataset("done", data=np.zeros(len(jobs), np.uint8))
            for kind, count in counts.items():
                _lay_out(file, kind, (count, 3, patch, patch), (1, 3, patch, patch))
                origins = [(job.number, *corner) for job in jobs if kind in job.files for corner in job.corners]
                file.create_dataset(f"{kind}_origin", data=np.array(origins, np.int32))
        fresh.replace(part)
    with h5py.File(part, "r+") as file:
        yield file


def _lay_out(file: Any, name: str, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    """An uncompressed dataset whose chunks all have their place from the start, and are not filled."""
    h5py = _h5py()
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(chunk)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(shape), properties)


def _fingerprint(part: Path) -> str:
    try:
        with _h5py().File(part, "r") as file:
            return str(file.attrs["fingerprint"])
    except (OSError, KeyError):
        return ""


def _store(file: Any, job: _Job, patches: dict[str, Any]) -> None:
    for kind, values in patches.items():
        file[kind][job.rows[kind] : job.rows[kind] + len(values)] = values
    file.flush()
    file["done"][job.number] = 1  # only now, and after the patches in the file
    file.flush()


@contextlib.contextmanager
def _named_refusals(part: Path) -> Iterator[None]:
    """HDF5 reports a full disk as an OSError, or as a RuntimeError when it closes."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "HDF5" not in str(error) and "write" not in str(error):
            raise
        reason = reason_of(error) if isinstance(error, OSError) and error.errno else str(error).splitlines()[0]
        raise OutputError(f"{part}: cannot be written ({reason}); the same command goes on with it") from error


class Pack:
    """A pack, opened for reading on first use in each process, so that it can be handed to workers.

    Raises DatasetError for what is no whole pack of a format known here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._owner = -1
        self._kept: dict[str, Any] = {}
        file = self._open()
        self.patch = int(file.attrs["patch"])
        self.stride = int(file.attrs["stride"])
        self.paired = bool(file.attrs["paired"])
        self.fingerprint = str(file.attrs["fingerprint"])
        self.counts = {kind: len(file[kind]) for kind in KINDS if kind in file}

    def read(self, kind: str, index: int) -> Tensor:
        """Patch `index` of "blur" or "sharp": uint8 (3, patch, patch)."""
        return torch.from_numpy(self._rows(kind)[index])

    def origin(self, kind: str, index: int) -> tuple[str, int, int]:
        """(photo, top, left) of a patch."""
        number, top, left = self._rows(f"{kind}_origin")[index].tolist()
        if "photos" not in self._kept:
            self._kept["photos"] = json.loads(self._open()["photos"][()])
        photos = self._kept["photos"][number]
        return photos[KINDS.index(kind) if len(photos) > 1 else 0], top, left

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_owner": -1, "_kept": {}}

    def _rows(self, name: str) -> Any:
        file = self._open()
        if name not in self._kept:
            self._kept[name] = file[name]  # looking it up takes longer than reading a row
        return self._kept[name]

    def _open(self) -> Any:
        if self._owner != os.getpid():  # HDF5 handles do not survive a fork
            self._file, self._owner, self._kept = _opened(self.path), os.getpid(), {}
        return self._file


class PackPatches:
    """The patches of a pack as a source of samples: real pairs of a paired pack, else the sharp ones."""

    def __init__(self, path: Path) -> None:
        self.pack = Pack(path)
        self.is_real = self.pack.paired
        if "sharp" not in self.pack.counts:
            raise DatasetError(f"{path}: holds no sharp patches to learn from")

    def __len__(self) -> int:
        return self.pack.counts["sharp"]

    def name(self, index: int) -> str:
        """FILE#INDEX."""
        return f"{self.pack.path.name}#{index}"

    def group(self, index: int) -> str:
        """The photo that it was cut from: patches of one overlap."""
        return self.pack.origin("sharp", index)[0]

    def fingerprint(self) -> str:
        """Of what was packed."""
        return self.pack.fingerprint

    def size(self, index: int) -> tuple[int, int]:
        """(patch, patch)."""
        del index
        return self.pack.patch, self.pack.patch

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(blurred patch or None, sharp patch)."""
        return self.pack.read("blur", index) if self.is_real else None, self.pack.read("sharp", index)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise DatasetError(f"{path}: no such pack; `resharp data pack` makes one")
    try:
        file = _h5py().File(path, "r")
    except OSError as error:
        reason = "it is cut short; copy or pack it again" if "truncated" in str(error) else "it is no HDF5 file"
        raise DatasetError(f"{path}: cannot be read as a pack: {reason}") from None
    attributes = file.attrs
    if "format" not in attributes or "patch" not in attributes or "paired" not in attributes:
        raise DatasetError(f"{path}: is an HDF5 file, but no pack of resharp; `resharp data pack` makes one")
    if int(attributes["format"]) > FORMAT:
        found = int(attributes["format"])
        raise DatasetError(f"{path}: has format {found}, this version reads up to {FORMAT}; update resharp")
    if not attributes.get("complete", False):
        raise DatasetError(f"{path}: was not finished; run `resharp data pack` again as before, it goes on")
    return file


def _h5py() -> Any:
    """Loaded on first use; one of the extras."""
    try:
        import h5py
    except ImportError:
        raise DatasetError("packs need h5py: pip install 'resharp[pack]'") from None
    return h5py
