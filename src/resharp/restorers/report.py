"""A page that shows every photo before and after, beside a folder of small pictures; it works without a network.

The pictures are small JPEGs without metadata, for a page may be passed on: the whole photo, and a square of the result
in its own pixels where it was changed most.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from resharp.errors import OutputError, ResharpError
from resharp.figures import fitted
from resharp.files import written_whole
from resharp.pages import check_jinja2, write_page
from resharp.photo import Photo, photo_size, read_photo, write_photo

from .jobs import Job
from .rows import Row

PREVIEW, CROP = 640, 360  # pixels of the sides that previews are fitted into, and of squares
_MAP = 512  # places along the longer side at which changes are compared
_KINDS = ("before", "after", "crop-before", "crop-after")


class Report:
    """Makes the page: `keep` is given photos as they are restored, `write` the rows when all is over.

    page: its file;  the pictures go to a folder beside it, `<page>_files`.  Raises OutputError where jinja2 is missing.
    """

    def __init__(self, page: Path, *, title: str = "Before and after") -> None:
        check_jinja2()
        self.page, self.title = page, title
        self.folder = page.with_name(f"{page.stem}_files")

    def keep(self, job: Job, before: Photo, after: Photo) -> None:
        """Makes the pictures of a photo; may be called on any thread.  Those that fail are tried again by `write`."""
        with contextlib.suppress(OutputError):
            self._make(job, before, after)

    def write(self, rows: Iterable[Row]) -> None:
        """Writes the page, and the pictures that are not there yet.  Raises OutputError."""
        rows = list(rows)
        shown, problems = [], [(str(row.job.photo), row.problem) for row in rows if row.problem]
        for row in rows:
            if row.problem:
                continue
            try:
                shown.append(self._shown(row))
            except OutputError:
                raise
            except ResharpError as error:  # a photo that went away meanwhile
                problems.append((str(row.job.photo), str(error)))
        untouched = sum(bool(one["untouched"]) for one in shown)
        context = {"title": self.title, "shown": shown, "problems": problems, "n_rows": len(rows)}
        context |= {"n_restored": len(shown) - untouched, "n_untouched": untouched}
        write_page(self.page, "resharp.restorers", "restored.html", context, script="compare.js")

    def _shown(self, row: Row) -> dict[str, Any]:
        job, facts = row.job, self._facts(row.job)
        if facts is None:
            facts = self._make(job, read_photo(job.photo), read_photo(job.output))
        pictures = {kind: self._picture(job, kind) for kind in _KINDS}
        return {
            "name": str(job.photo),
            "links": [("before", self._link(job.photo)), ("after", self._link(job.output))],
            "facts": _in_words(row, facts),
            "untouched": row.left_as_it_was,
            "resized": _resized(facts["size"]),
            "change": facts["change"],
            "pictures": {kind: self._link(path) for kind, path in pictures.items()},
            "sizes": {kind: photo_size(pictures[kind]) for kind in ("after", "crop-after")},
        }

    def _make(self, job: Job, before: Photo, after: Photo) -> dict[str, Any]:
        """The four pictures, and then what the page says of them."""
        square, change = most_changed(before.image, after.image, CROP)
        images = [
            (before, fitted(before.image, PREVIEW)),
            (after, fitted(after.image, PREVIEW)),
            (before, _cut(before.image, square, after.image)),
            (after, _cut(after.image, square, after.image)),
        ]
        for kind, (photo, image) in zip(_KINDS, images, strict=True):
            image = image.float() / 255 if image.dtype == torch.uint8 else image
            small = dataclasses.replace(photo, image=image, alpha=None, depth=8, exif=None, xmp=None, dpi=None)
            write_photo(small, self._picture(job, kind))
        facts = {"change": change, "size": list(after.image.shape[-2:])}
        with written_whole(self._place(job, "json")) as file:
            file.write(json.dumps(facts).encode())
        return facts

    def _facts(self, job: Job) -> dict[str, Any] | None:
        """Of pictures that are there and not older than the result."""
        place = self._place(job, "json")
        try:
            if place.stat().st_mtime_ns < job.output.stat().st_mtime_ns:
                return None
            facts: dict[str, Any] = json.loads(place.read_bytes())
        except (OSError, ValueError):
            return None
        return facts if all(self._picture(job, kind).exists() for kind in _KINDS) else None

    def _picture(self, job: Job, kind: str) -> Path:
        return self._place(job, f"{kind}.jpg")

    def _place(self, job: Job, ending: str) -> Path:
        name = hashlib.sha256(os.fsencode(job.output.absolute())).hexdigest()[:16]
        return self.folder / f"{name}-{ending}"

    def _link(self, path: Path) -> str:
        """From the page to a file, whatever its name holds."""
        return urllib.parse.quote(os.fsencode(os.path.relpath(path, self.page.parent)))


def most_changed(before: Tensor, after: Tensor, side: int) -> tuple[tuple[int, int, int, int], float]:
    """The square (top, left, bottom, right in pixels of `after`) of at most that side with the largest mean change, and
    the mean change of the whole photo.

    Both (3, H, W) in [0, 1]; `before` is enlarged to `after`'s size.  Places are tried on a grid, 512 along a side.
    """
    height, width = after.shape[-2:]
    plain = before.mean(0)[None, None]
    if before.shape[-2:] != after.shape[-2:]:
        plain = functional.interpolate(plain, (height, width), mode="bilinear")
    change = (after.mean(0)[None, None] - plain).abs_()
    mean = float(change.mean())
    step = max(1, max(height, width) // _MAP)
    coarse = functional.avg_pool2d(change, step, ceil_mode=True, count_include_pad=False)
    sums = _window_sums(coarse[0, 0].double(), max(1, side // step))
    row, column = divmod(int(sums.argmax()), sums.shape[-1])
    top, left = (max(0, min(place * step, size - side)) for place, size in ((row, height), (column, width)))
    return (top, left, min(top + side, height), min(left + side, width)), mean


def _window_sums(values: Tensor, side: int) -> Tensor:
    """Of all squares of at most that side in (H, W), by their upper left corners."""
    for axis in (0, 1):
        size = values.shape[axis]
        window = min(side, size)
        total = functional.pad(values.cumsum(axis), (0, 0, 1, 0) if axis == 0 else (1, 0))
        values = total.narrow(axis, window, size - window + 1) - total.narrow(axis, 0, size - window + 1)
    return values


def _cut(image: Tensor, square: tuple[int, int, int, int], after: Tensor) -> Tensor:
    """The square, which is in pixels of `after`, as large as it is there."""
    top, left, bottom, right = square
    scale = image.shape[-1] / after.shape[-1]
    rows, columns = (
        slice(int(a * scale), max(int(a * scale) + 1, round(b * scale))) for a, b in ((top, bottom), (left, right))
    )
    cut = image[:, rows, columns]
    if cut.shape[-2:] == (bottom - top, right - left):
        return cut
    return functional.interpolate(cut[None], (bottom - top, right - left), mode="nearest")[0]


def _in_words(row: Row, facts: dict[str, Any]) -> str:
    height, width = facts["size"]
    words = [f"{width}x{height}", row.left_as_it_was or f"changed by {100 * facts['change']:.2f} %"]
    doubtful = [row.remark] if row.remark and not row.left_as_it_was else []
    return " · ".join(words + ([f"{row.seconds:.1f} s"] if row.seconds else []) + doubtful)


def _resized(size: list[int]) -> str:
    """How a photo of (height, width) is shown."""
    return ", made smaller" if max(size) > PREVIEW else ", enlarged" if max(size) < PREVIEW else ""
