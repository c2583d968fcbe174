"""Which objects photos show: labels in COCO's JSON or as YOLO's text files, by the names of the photos.

A photo and its labels have one path but for the suffix, or one path is the end of the other: `a/b/7.png` has the labels
of `b/7` or of `7.jpg`, or those of `train/a/b/7`.  Of several that fit, the longest does.
"""

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from resharp.data.folders import some
from resharp.errors import ArgumentError, DatasetError, PhotoError
from resharp.photo import photo_size

from .boxes import Box
from .label_files import LabelFile, key_of, read_coco, read_yolo


@dataclasses.dataclass(frozen=True)
class Labels:
    """The boxes of each photo by its name, and what a user ought to know about them, a line each."""

    boxes: Mapping[str, tuple[Box, ...]]
    notes: tuple[str, ...] = ()


def read_labels(place: str | Path, photos: Mapping[str, Path], *, strict: bool = True) -> Labels:
    """The labels of some photos.

    place: a COCO JSON file, or a folder of YOLO text files (`classes.txt` in it, or `data.yaml` in it or above it,
    names the classes; without one they are COCO's 80);  photos: their files by the names that the result takes.
    A photo without a YOLO file shows no objects, as that format has it, and is noted.  A photo that a JSON file does
    not list, and labels of photos that are not there, are errors; if not strict, such photos are left out and noted.
    A photo that cannot be read is left out and noted.  Raises DatasetError, also for unknown classes and for boxes
    outside their photo.
    """
    if not photos:
        raise ArgumentError("there are no photos to read labels of")
    place = Path(place)
    if place.is_dir():
        labelled, silence_means_empty = read_yolo(place), True
    elif place.suffix.lower() == ".json" and place.exists():
        labelled, silence_means_empty = read_coco(place), False
    else:
        reason = "is neither" if place.exists() else "is not there"
        raise DatasetError(f"{place}: {reason}; name a COCO .json file or a folder of YOLO text files")
    keys = _keys_of(place, labelled, photos)
    notes = [_extra(place, sorted(set(labelled.boxes) - set(keys.values())), len(labelled.boxes), strict)]
    silent = [name for name in photos if name not in keys]
    if silence_means_empty and silent:
        notes.append(f"{place}: without a label file, so taken to show no objects: {some(silent)}")
    elif silent:
        notes.append(_left_out(place, silent, strict))
    boxes: dict[str, tuple[Box, ...]] = dict.fromkeys(silent, ()) if silence_means_empty else {}
    for name, key in keys.items():
        try:
            boxes[name] = _boxes(labelled, key, photos[name])
        except PhotoError as error:
            notes.append(str(error))
    return Labels({name: boxes[name] for name in photos if name in boxes}, tuple(note for note in notes if note))


def checked_classes(boxes: Mapping[str, Sequence[Box]], classes: Collection[str]) -> None:
    """Raises DatasetError where labels name a class that a detector does not know: it could only ever be missed."""
    unknown = sorted({box.label for those in boxes.values() for box in those} - set(classes))
    if unknown:
        raise DatasetError(
            f"the labels name classes that the detector does not know ({some(unknown)}); leave these labels out, or "
            "take a detector that knows them"
        )


def _keys_of(place: Path, labelled: LabelFile, photos: Mapping[str, Path]) -> dict[str, str]:
    """Under which key each photo's labels are filed; photos without any are not in it."""
    by_stem = collections.defaultdict(list)
    for key in labelled.boxes:
        by_stem[PurePosixPath(key).name].append(key)
    keys: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in photos:
        own = key_of(name)
        fitting = [key for key in by_stem[PurePosixPath(own).name] if _n_common(own, key)]
        longest = max((_n_common(own, key) for key in fitting), default=0)
        best = [key for key in fitting if _n_common(own, key) == longest]
        if len(best) > 1:
            raise DatasetError(f"{place}: the labels of {best[0]!r} and {best[1]!r} both fit {name}; name them apart")
        for key in best:
            if key in owners:
                raise DatasetError(
                    f"{place}: the labels of {key!r} fit two photos, {owners[key]} and {name}; name them apart"
                )
            keys[name], owners[key] = key, name
    if not keys:
        example = next(iter(labelled.boxes), "nothing")
        raise DatasetError(f"{place}: has labels of none of the photos (of {example!r}, not of {next(iter(photos))!r})")
    return keys


def _n_common(one: str, other: str) -> int:
    """How many parts two paths share from their ends, if one of them is the other's end; else 0."""
    ours, theirs = PurePosixPath(one).parts, PurePosixPath(other).parts
    n_parts = min(len(ours), len(theirs))
    return n_parts if n_parts and ours[-n_parts:] == theirs[-n_parts:] else 0


def _boxes(labelled: LabelFile, key: str, path: Path) -> tuple[Box, ...]:
    size = photo_size(path)
    stated = labelled.sizes.get(key, size)
    if stated != size:
        shown = " and not ".join(f"{width}x{height}" for height, width in (stated, size))
        raise DatasetError(f"{path}: its labels are for a photo of {shown} pixels; take the photos that were labelled")
    return tuple(raw.on(size, are_parts=labelled.are_parts) for raw in labelled.boxes[key])


def _extra(place: Path, keys: list[str], n_labelled: int, strict: bool) -> str:
    if not keys:
        return ""
    message = f"{place}: {len(keys)} of {n_labelled} labelled photos are not there ({some(keys)})"
    if strict:
        raise DatasetError(f"{message}; add them, or take their labels out")
    return f"{message}; their labels are left out"


def _left_out(place: Path, names: list[str], strict: bool) -> str:
    message = f"{place}: does not list {some(names)}"
    if strict:
        raise DatasetError(f"{message}; label these photos, or take them out")
    return f"{message}; not judged"
