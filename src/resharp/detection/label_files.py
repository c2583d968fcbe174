"""The two formats of labels, each read into what it holds per photo; nothing here knows the photos themselves."""

import dataclasses
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from resharp.errors import ArgumentError, DatasetError

from .boxes import Box
from .classes import COCO_CLASSES, class_name

NAMES_FILE, NAMES_LIST = "data.yaml", "classes.txt"
_YOLO_LINE = "a line is: class, centre x, centre y, width, height, as parts of the photo"
_PROTRUSION = 1.0  # pixels that a label's rounding may lead beyond the photo


@dataclasses.dataclass(frozen=True)
class RawBox:
    """A labelled box before its photo's size is known.

    corners: left, top, right, bottom, in pixels, or as parts of the photo's sides;  place: where it stands, for errors.
    """

    label: str
    corners: tuple[float, float, float, float]
    is_crowd: bool
    place: str

    def on(self, size: tuple[int, int], *, are_parts: bool) -> Box:
        """The box, clipped to a photo of (height, width).  Raises DatasetError where it lies outside or is empty."""
        height, width = size
        sides = (width, height, width, height)
        pixels = [value * side if are_parts else value for value, side in zip(self.corners, sides, strict=True)]
        if any(not -_PROTRUSION <= value <= side + _PROTRUSION for value, side in zip(pixels, sides, strict=True)):
            shown = ", ".join(f"{value:.6g}" for value in pixels)
            raise DatasetError(
                f"{self.place}: the box ({shown}) reaches out of its photo of {width}x{height} pixels; correct it"
            )
        left, top, right, bottom = (min(max(value, 0), side) for value, side in zip(pixels, sides, strict=True))
        try:
            return Box(self.label, left, top, right, bottom, is_crowd=self.is_crowd)
        except ArgumentError as error:
            raise DatasetError(f"{self.place}: {error}; correct it") from None


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """What is labelled, by the photo's path without its suffix.

    sizes: (height, width) of the photos, where the labels tell;  are_parts: corners are parts of the photo's sides.
    """

    boxes: dict[str, tuple[RawBox, ...]]
    sizes: dict[str, tuple[int, int]]
    are_parts: bool


class _Image(BaseModel):
    id: int | str
    file_name: Annotated[str, Field(min_length=1)]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class _Annotation(BaseModel):
    id: int | str | None = None
    image_id: int | str
    category_id: int | str
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: bool = False


class _Category(BaseModel):
    id: int | str
    name: Annotated[str, Field(min_length=1)]


class _Coco(BaseModel):
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def read_coco(path: Path) -> LabelFile:
    """The labels of a COCO `instances_*.json`.  Raises DatasetError."""
    content = _coco(path)
    names = {category.id: class_name(category.name) for category in content.categories}
    keys = {image.id: key_of(image.file_name) for image in content.images}
    boxes: dict[str, list[RawBox]] = {key: [] for key in keys.values()}
    if len(boxes) < len(content.images):
        raise DatasetError(f"{path}: lists a photo twice (by its file_name or its id); name every photo once")
    for number, annotation in enumerate(content.annotations):
        place = f"{path}: annotation {number if annotation.id is None else annotation.id}"
        if annotation.image_id not in keys:
            raise DatasetError(f"{place} belongs to image_id {annotation.image_id!r}, which the file does not list")
        if annotation.category_id not in names:
            raise DatasetError(f"{place} is of category_id {annotation.category_id!r}, which the file does not list")
        left, top, width, height = annotation.bbox
        corners = (left, top, left + width, top + height)
        raw = RawBox(names[annotation.category_id], corners, annotation.iscrowd, place)
        boxes[keys[annotation.image_id]].append(raw)
    sizes = {keys[image.id]: (image.height, image.width) for image in content.images}
    return LabelFile({key: tuple(raws) for key, raws in boxes.items()}, sizes, are_parts=False)


def read_yolo(folder: Path) -> LabelFile:
    """The labels of the text files below a folder.  Raises DatasetError."""
    names = _yolo_names(folder)
    paths = [path for path in sorted(folder.rglob("*.txt")) if path.name != NAMES_LIST and path.name[0] != "."]
    if not paths:
        raise DatasetError(f"{folder}: holds no .txt files with labels; name the folder that does")
    boxes = {key_of(path.relative_to(folder).as_posix()): tuple(_yolo_boxes(path, names)) for path in paths}
    return LabelFile(boxes, {}, are_parts=True)


def key_of(name: str) -> str:
    """Under which a photo's labels are filed: its path without its suffix."""
    folder, slash, file = name.replace("\\", "/").rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0] or file}"


def _coco(path: Path) -> _Coco:
    try:
        content = json.loads(_text_of(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is no JSON, or damaged ({error}); get the file again") from None
    try:
        return _Coco.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise DatasetError(f"{path}: holds no labels in COCO's format ({place}: {first['msg']})") from None


def _yolo_boxes(path: Path, names: dict[int, str]) -> Iterator[RawBox]:
    for number, line in enumerate(_text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        place, fields = f"{path}, line {number}", line.split()
        try:
            index, x, y, width, height = int(fields[0]), *(float(field) for field in fields[1:])
        except ValueError:
            raise DatasetError(f"{place}: {line.strip()[:60]!r} is no box; {_YOLO_LINE}") from None
        if index not in names:
            raise DatasetError(
                f"{place}: class {index} is unknown; the classes are 0 to {max(names)}, unless {NAMES_LIST} or "
                f"{NAMES_FILE} says otherwise"
            )
        # A NaN fails this comparison too.
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
            raise DatasetError(f"{place}: {line.strip()[:60]!r} leaves the photo; {_YOLO_LINE}, each in [0, 1]")
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        yield RawBox(names[index], corners, is_crowd=False, place=place)


def _yolo_names(folder: Path) -> dict[int, str]:
    """Class numbers to names: of `classes.txt` in the folder, else of a `data.yaml` in it or up to two folders above,
    else COCO's."""
    if (folder / NAMES_LIST).is_file():
        lines = _text_of(folder / NAMES_LIST).splitlines()
        return _checked_names(folder / NAMES_LIST, [line for line in lines if line.strip()])
    place = folder.resolve()
    for path in (place / NAMES_FILE, place.parent / NAMES_FILE, place.parent.parent / NAMES_FILE):
        if path.is_file():
            content = _yaml(path)
            return _checked_names(path, content.get("names") if isinstance(content, dict) else None)
    return dict(enumerate(COCO_CLASSES))


def _checked_names(path: Path, names: Any) -> dict[int, str]:
    """From a list, or a mapping from numbers."""
    table = dict(enumerate(names)) if isinstance(names, list) else names
    if not (isinstance(table, dict) and table and all(type(k) is int and isinstance(v, str) for k, v in table.items())):
        raise DatasetError(f"{path}: names no classes; it needs `names:` with a list, or with numbers and names")
    return {number: class_name(name) for number, name in table.items()}


def _yaml(path: Path) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise DatasetError(f"{path}: reading it takes more: pip install 'resharp[detect]'") from None
    try:
        return yaml.safe_load(_text_of(path))
    except (yaml.YAMLError, RecursionError) as error:
        raise DatasetError(f"{path}: is no YAML ({' '.join(str(error).split())})") from None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is no text in UTF-8; get the file again") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
