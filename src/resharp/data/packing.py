"""Packs: patches of many photos in one HDF5 file.  `packs` reads them.

`blur` and `sharp` are uint8 RGB (N, 3, patch, patch), a chunk for each patch, uncompressed; beside each, `blur_origin`
and `sharp_origin` (N, 3) hold the photo's number, top and left.  In a paired pack row i of both belongs together; else
each has its own length, and a pack of one kind has only that.  `photos` and `groups` are JSON: the names of each photo
or pair, and the video or scene that it belongs to.  Attributes tell patch, stride, colour, layout, source and licence.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.files import REFUSED, reason_of
from resharp.locks import exclusive
from resharp.photo import photo_size, read_pixels

from .listing import Listing
from .packs import FORMAT, KINDS, SUFFIXES, load_h5py
from .packs import Pack as Pack
from .packs import PackPatches as PackPatches
from .workers import checked_workers, in_order


@dataclasses.dataclass(frozen=True)
class _Job:
    """A photo, or a pair, and the rows that its patches take."""

    number: int
    files: dict[str, Path]
    patch: int
    corners: tuple[tuple[int, int], ...]
    group: str  # the video or scene that no split may cut in two, "" for a photo of its own
    rows: dict[str, int]  # the first row in each kind


@dataclasses.dataclass(frozen=True)
class PackSummary:
    """What `pack` made: patches of each kind, photos or pairs that gave some, and those too small to."""

    counts: dict[str, int]
    n_used: int
    too_small: tuple[Path, ...]


def pack(
    listing: Listing,
    path: str | Path,
    *,
    patch: int = 128,
    stride: int = 100,
    n_workers: int = 0,
    on_photo: Callable[[int, int], None] | None = None,
) -> PackSummary:
    """Cut a sliding window over every photo of a listing and write the patches to one HDF5 file.

    The windows start at 0, stride, 2 stride, ... as long as they fit (what is left at the right and lower border stays
    out).  `on_photo(done, total)` hears of every photo.  The file has its name when it is whole; a run that was stopped
    left `path` + ".part", and the same call goes on with it.  The name ends in .h5 or .hdf5, and what it replaces is a
    pack.  Raises ArgumentError, DatasetError, PhotoError, OutputError.
    """
    path = _checked_place(Path(path))
    if listing.layout in ("side-by-side", "kohler"):
        raise DatasetError(
            f"photos of layout {listing.layout} are no pairs as they are; `resharp data prepare` cuts A|B"
        )
    if not 8 <= patch <= 8192 or not 1 <= stride <= 65536:
        raise ArgumentError(f"patch {patch}, stride {stride}: a patch has 8 to 8192 pixels a side, a stride 1 to 65536")
    checked_workers(n_workers)
    jobs, too_small = _jobs(listing, patch, stride)
    counts = {kind: sum(len(job.corners) for job in jobs if kind in job.files) for kind in KINDS}
    counts = {kind: count for kind, count in counts.items() if count}
    if not counts:
        raise DatasetError(f"no photo is as large as a patch of {patch} pixels; choose a smaller --patch")
    with exclusive(path):
        part = path.with_name(path.name + ".part")
        with _named_refusals(part):
            _check_space(part, sum(counts.values()) * 3 * patch * patch)
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


def _checked_place(path: Path) -> Path:
    """`path` if a pack may take it.  Raises ArgumentError for another name, DatasetError for another file there."""
    if path.is_dir():
        raise ArgumentError(f"{path}: is a folder; name the file of the pack, such as {path / 'train.h5'}")
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"{path}: a pack's name ends in .h5 or .hdf5; name it so")
    if path.exists() and "patch" not in _attributes(path):
        raise DatasetError(f"{path}: is there already, and no pack; choose another name")
    return path


def _check_space(part: Path, n_bytes: int) -> None:
    """Raises OutputError where the disk has no room for all patches; what an unfinished pack takes is there already."""
    taken = 0
    if part.exists():
        status = part.stat()
        taken = getattr(status, "st_blocks", status.st_size // 512) * 512
    free = shutil.disk_usage(part.parent).free
    if n_bytes - taken > free:
        raise OutputError(
            f"{part}: needs {(n_bytes - taken) / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; free some space, or choose "
            "another folder or a larger --stride"
        )


def _jobs(listing: Listing, patch: int, stride: int) -> tuple[list[_Job], tuple[Path, ...]]:
    jobs: list[_Job] = []
    too_small = []
    rows = dict.fromkeys(KINDS, 0)
    if not listing.items:
        raise DatasetError("no photos there to pack; name a folder that holds some")
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
        jobs.append(_Job(len(jobs), files, patch, corners, item.group, dict(rows)))
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
    h5py = load_h5py()
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
    if part.exists():
        begun = _attributes(part).get("fingerprint")
        if begun is None:
            raise DatasetError(f"{part}: is damaged; remove it, and the same command begins anew")
        if begun != facts["fingerprint"]:
            raise DatasetError(
                f"{part}: was begun from other photos or settings; remove it, or choose another name with -o"
            )
    else:
        with _fresh(part) as file:
            file.attrs.update(facts | {"complete": False})
            file.create_dataset("photos", data=json.dumps(names), dtype=h5py.string_dtype())
            groups = json.dumps([job.group for job in jobs])
            file.create_dataset("groups", data=groups, dtype=h5py.string_dtype())
            file.create_dataset("done", data=np.zeros(len(jobs), np.uint8))
            for kind, count in counts.items():
                _lay_out(file, kind, (count, 3, patch, patch), (1, 3, patch, patch))
                origins = [(job.number, *corner) for job in jobs if kind in job.files for corner in job.corners]
                file.create_dataset(f"{kind}_origin", data=np.array(origins, np.int32))
    with h5py.File(part, "r+") as file:
        yield file


@contextlib.contextmanager
def _fresh(part: Path) -> Iterator[Any]:
    """An HDF5 file that takes the name `part` when it is laid out, and else leaves nothing."""
    fresh = part.with_name(part.name + ".new")
    try:
        with load_h5py().File(fresh, "w") as file:
            yield file
        fresh.replace(part)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _lay_out(file: Any, name: str, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    """An uncompressed dataset whose chunks all have their place from the start, and are not filled."""
    h5py = load_h5py()
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(chunk)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(shape), properties)


def _attributes(path: Path) -> dict[str, Any]:
    """The attributes of an HDF5 file, none of what is no such file.  Raises DatasetError for one that is refused."""
    try:
        with load_h5py().File(path, "r") as file:
            return dict(file.attrs)
    except OSError as error:
        if error.errno in REFUSED:
            raise DatasetError(f"{path}: cannot be read ({reason_of(error)})") from None
        return {}
    except (RuntimeError, KeyError):
        return {}


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
        reason = reason_of(error) if isinstance(error, OSError) and error.errno else str(error).partition("\n")[0]
        if "No space left" in reason or "errno = 28" in reason:
            reason = reason_of(OSError(errno.ENOSPC, ""))
        raise OutputError(f"{part}: cannot be written ({reason}); the same command goes on with it") from error
