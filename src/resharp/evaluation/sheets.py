"""The worst and the best pictures of a result: whole, enlarged where the error is largest, and their error as a map.

A map shows |restored - truth|, the mean over the channels, on a scale from 0 to `top`, which all maps of a result
share; where there is no truth, |restored - input|.  Photos are read one picture at a time, and what is kept of each is
as small as it is shown.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from resharp.errors import DatasetError, PhotoError, ResourceError
from resharp.figures import fitted
from resharp.photo import Photo, read_pixels, write_photo

from .panels import SIDE_OF_BOXED, Panel, Square, crop, fitted_map, heat_map, in_a_row, stacked, whole
from .results import Column, Result, Row
from .wording import figure, gain, signed_figure

N_SHOWN = 5  # pictures on a sheet
TITLES = {"input": "input", "restored": "restored", "clean": "truth"}


@dataclasses.dataclass(frozen=True)
class Strip:
    """One picture of a sheet: its name, its figures in words, its panels; or why they are not there."""

    name: str
    figures: str
    panels: tuple[Panel, ...]
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Sheets:
    """The worst and the best pictures, worst and best first, and what they were chosen by: "gain in psnr"."""

    criterion: str
    worst: tuple[Strip, ...]
    best: tuple[Strip, ...]


def make_sheets(result: Result, folder: Path) -> Sheets:
    """What there is to see of a result; relative paths in it may also be meant from its `folder`.

    No picture is chosen twice.  A photo that is gone or damaged leaves a strip that says so.
    """
    worst, best, criterion = extremes(result)
    looks = [_look(row, result.columns, folder) for row in (*worst, *best)]
    top = _top_of_scale([look.error for look in looks if look.error is not None])
    strips = [_strip(look, top) for look in looks]
    return Sheets(criterion, tuple(strips[: len(worst)]), tuple(strips[len(worst) :]))


def write_sheet(strips: Sequence[Strip], path: Path) -> None:
    """Strips as one photo file.  Raises OutputError."""
    rows = [
        in_a_row(strip.name, " · ".join(filter(None, (strip.figures, strip.problem))), strip.panels) for strip in strips
    ]
    write_photo(Photo(stacked(rows)), path)


def extremes(result: Result, n: int = N_SHOWN) -> tuple[list[Row], list[Row], str]:
    """The worst rows (worst first), the best (best first), and what by: the gain in the first column where every sound
    row has a baseline, else its figure.  Rows without stored photos or a number there are not chosen."""
    if not result.columns:
        return [], [], ""
    column = result.columns[0]
    rows = [row for row in result.sound_rows if column.name in row.figures and row.restored]
    by_gain = bool(rows) and all(column.name in row.baseline for row in rows)
    merits = [(gain(row, column) if by_gain else row.figures[column.name], row) for row in rows]
    merits = [pair for pair in merits if not math.isnan(pair[0])]
    ranked = [row for _, row in sorted(merits, key=lambda pair: pair[0], reverse=not column.higher_is_better)]
    n_best = min(n, (len(ranked) + 1) // 2)
    n_worst = min(n, len(ranked) - n_best)
    return ranked[:n_worst], ranked[::-1][:n_best], f"gain in {column.name}" if by_gain else column.name


@dataclasses.dataclass(frozen=True)
class _Look:
    """What is kept of one picture: its panels but for the map, whose values (h, w) wait for the scale."""

    name: str
    figures: str
    panels: tuple[Panel, ...] = ()
    problem: str = ""
    error: Tensor | None = None
    error_title: str = ""
    square: Square = (0.0, 0.0, 1.0, 1.0)


def _look(row: Row, columns: Sequence[Column], folder: Path) -> _Look:
    figures = _in_words(row, columns)
    paths = {"input": row.degraded, "restored": row.restored, "clean": row.clean}
    try:
        photos = {kind: read_pixels(found(path, folder)) for kind, path in paths.items() if path}
        if isinstance(row.notes.get("boxes"), Mapping):
            return _Look(row.name, figures, _boxed_panels(photos, row))
    except (PhotoError, DatasetError, ResourceError) as error:
        return _Look(row.name, figures, problem=str(error))
    return dataclasses.replace(_enlarged(photos), name=row.name, figures=figures)


def found(path: str, folder: Path) -> Path:
    """A path of a row where its last parts are in the run folder, which may have moved since, or else as it stands."""
    plain = Path(path)
    inside = (folder.joinpath(*plain.parts[i:]) for i in range(1, len(plain.parts) - 1))
    return next((place for place in inside if place.exists()), plain)


def _in_words(row: Row, columns: Sequence[Column]) -> str:
    parts = []
    for column in columns:
        if column.name in row.figures:
            text = f"{column.name} {figure(row.figures[column.name], column)}"
            change = f" ({signed_figure(gain(row, column), column)})" if column.name in row.baseline else ""
            parts.append(text + change)
    return " · ".join(parts)


def _enlarged(photos: Mapping[str, Tensor]) -> _Look:
    """The restored photo whole, and crops of all there are where it differs most from the truth, or from the input."""
    restored = photos["restored"]
    height, width = restored.shape[-2:]
    other = "clean" if "clean" in photos else "input"
    error = None
    if other in photos and photos[other].shape == restored.shape:
        error = _difference(restored, photos[other])
    top, left, side = _worst_place(error, height, width)
    square = left / width, top / height, (left + side) / width, (top + side) / height
    panels = [Panel("restored, whole", f"{width} x {height}", whole(restored, square))]
    for kind, title in TITLES.items():
        if kind in photos:
            caption = f"{side} x {side} at {left}, {top}" if kind == "restored" else ""
            panels.append(Panel(title, caption, crop(photos[kind], square)))
    small = None if error is None else fitted_map(error)
    return _Look("", "", tuple(panels), "", small, f"|restored - {TITLES[other]}|", square)


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """|one - other| in [0, 1], the mean over the channels of uint8 photos: float (H, W)."""
    levels = torch.maximum(one, other) - torch.minimum(one, other)
    return levels.sum(0, dtype=torch.int16).float() / (255 * len(levels))


def _worst_place(error: Tensor | None, height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side of the square with the largest mean squared error; of the central one where none is known."""
    shortest = min(height, width)
    side = next((side for side in (80, 40, 20) if side <= shortest / 2), min(shortest, 20))
    if error is None:
        return (height - side) // 2, (width - side) // 2, side
    stride = max(1, side // 8)
    means = functional.avg_pool2d(error.square()[None, None], side, stride)[0, 0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return row * stride, column * stride, side


def _top_of_scale(maps: Sequence[Tensor]) -> float:
    """A round number that one in a hundred errors of all maps exceeds at most."""
    if not maps:
        return 1.0
    values = torch.cat([error.flatten() for error in maps])
    largest = float(values.kthvalue(max(1, round(0.99 * len(values)))).values)
    return next((top for top in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5) if largest <= top), 1.0)


def _strip(look: _Look, top: float) -> Strip:
    panels = look.panels
    if look.error is not None:
        heat = heat_map(look.error, top, look.square)
        panels = (panels[0], Panel(look.error_title, f"0 to {top:g} of full scale", heat), *panels[1:])
    return Strip(look.name, look.figures, panels, look.problem)


def _boxed_panels(photos: Mapping[str, Tensor], row: Row) -> tuple[Panel, ...]:
    """Input, restored and sharp photo, each with what a detector found on it.  Raises DatasetError for odd notes."""
    from resharp.detection import detections_drawn, match_of  # a room that most results never enter

    versions = {"input": "degraded", "restored": "restored", "clean": "sharp"}
    panels = []
    for kind, photo in photos.items():
        caption, image = "not judged", fitted(photo, SIDE_OF_BOXED)
        if versions[kind] in row.notes["boxes"]:
            counts = match_of(row.notes, versions[kind]).counts
            caption = f"{counts.n_found} right, {counts.n_wrong} wrong, {counts.n_missed} missed"
            drawn = detections_drawn(photo, row.notes, versions[kind], side=SIDE_OF_BOXED)
            image = drawn.mul(255).round().byte()
        panels.append(Panel("sharp" if kind == "clean" else kind, caption, image))
    return tuple(panels)
