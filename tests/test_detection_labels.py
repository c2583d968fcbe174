"""Labels: what the two formats say, and what is wrong with files that say something else."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resharp.detection import COCO_CLASSES, Box, class_name, read_labels
from resharp.errors import ArgumentError, DatasetError
from resharp.photo import Photo, write_photo

WIDTH, HEIGHT = 200, 100


def make_photos(folder: Path, *names: str) -> dict[str, Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_photo(Photo(torch.zeros(3, HEIGHT, WIDTH)), folder / name)
    return {name: folder / name for name in names}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def coco(**changes: Any) -> dict[str, Any]:
    """One photo with a dog and a crowd of people, and one with nothing."""
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 7, "file_name": "val/1.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 8, "file_name": "val/2.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [20, 10, 100, 50], "iscrowd": 0, "area": 3},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 200.4, 30], "iscrowd": 1, "segmentation": {}},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog", "supercategory": "animal"}],
    } | changes


def write_coco(folder: Path, **changes: Any) -> Path:
    return write(folder / "labels.json", json.dumps(coco(**changes)))


def annotation(**changes: Any) -> list[dict[str, Any]]:
    return [{"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10]} | changes]


# --- YOLO -------------------------------------------------------------------------------------------------------------


def test_yolo_files_hold_centres_and_sizes_as_parts_of_the_photo(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "a/1.png", "a/2.jpg", "a/3.png")
    write(tmp_path / "labels" / "1.txt", "16 0.5 0.5 0.2 0.4\n\n0 0.05 0.1 0.1 0.2000001\r\n")
    write(tmp_path / "labels" / "2.txt", "")
    labels = read_labels(tmp_path / "labels", photos)
    assert labels.boxes == {
        "a/1.png": (Box("dog", 80, 30, 120, 70), Box("person", 0, 0, 20, 20)),
        "a/2.jpg": (),
        "a/3.png": (),
    }
    (note,) = labels.notes
    assert note.endswith("taken to show no objects: a/3.png")


@pytest.mark.parametrize(
    "names", ["names: [cat, motorbike]", "nc: 2\nnames:\n  0: cat\n  1: motorbike\n", "names:\n- cat\n- motorbike\n"]
)
@pytest.mark.parametrize("place", ["data.yaml", "labels/data.yaml", "labels/val/data.yaml"])
def test_data_yaml_names_the_classes(tmp_path: Path, names: str, place: str) -> None:
    pytest.importorskip("yaml")
    photos = make_photos(tmp_path, "1.png")
    write(tmp_path / "labels" / "val" / "1.txt", "1 0.5 0.5 1 1\n0 0.5 0.5 1 1")
    write(tmp_path / place, names)
    boxes = read_labels(tmp_path / "labels" / "val", photos).boxes["1.png"]
    assert [box.label for box in boxes] == ["motorcycle", "cat"]


def test_a_list_of_classes_beside_the_labels_names_them_and_is_no_label(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "1.png")
    write(tmp_path / "labels" / "classes.txt", "\ufeffzebra finch\r\ncrow\r\n")
    write(tmp_path / "labels" / "1.txt", "0 0.5 0.5 1 1")
    assert [box.label for box in read_labels(tmp_path / "labels", photos).boxes["1.png"]] == ["zebra finch"]


def test_the_longest_fitting_path_is_a_photos_label_file(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "x/a/1.png", "x/b/1.png")
    write(tmp_path / "labels" / "a" / "1.txt", "0 0.5 0.5 1 1")
    write(tmp_path / "labels" / "b" / "1.txt", "1 0.5 0.5 1 1")
    boxes = read_labels(tmp_path / "labels", photos).boxes
    assert [boxes[name][0].label for name in photos] == ["person", "bicycle"]
    write(tmp_path / "one" / "1.txt", "0 0.5 0.5 1 1")
    with pytest.raises(DatasetError, match=r"fit two photos, x/a/1\.png and x/b/1\.png"):
        read_labels(tmp_path / "one", photos)
    with pytest.raises(DatasetError, match=r"'a/1' and 'b/1' both fit 1\.png"):
        read_labels(tmp_path / "labels", make_photos(tmp_path, "1.png"))
    for name in ("c/1.png", "aa/1.png"):  # no path is the other's end
        with pytest.raises(DatasetError, match="has labels of none of the photos"):
            read_labels(tmp_path / "labels", make_photos(tmp_path, name))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 1", "'0 0.5 0.5 1' is no box; a line is: class, centre x"),
        ("0 0.5 0.5 1 1 0.9", "is no box"),
        ("cat 0.5 0.5 1 1", "is no box"),
        ("0.5 0.5 0.5 1 1", "is no box"),
        ("0 0.5 0.5 1 x", "is no box"),
        ("80 0.5 0.5 1 1", "class 80 is unknown; the classes are 0 to 79"),
        ("-1 0.5 0.5 1 1", "class -1 is unknown"),
        ("0 1.5 0.5 1 1", "leaves the photo"),
        ("0 100 50 20 20", "leaves the photo"),
        ("0 0.5 0.5 0 1", "leaves the photo"),
        ("0 0.5 nan 1 1", "leaves the photo"),
        ("0 0.5 inf 1 1", "leaves the photo"),
        ("0 0.9 0.5 0.4 0.5", "reaches out of its photo of 200x100 pixels"),
        ("0 0.5 0.5 0.00001 0.5", "left < right"),
    ],
)
def test_a_yolo_line_that_is_no_box_is_named(tmp_path: Path, line: str, words: str) -> None:
    photos = make_photos(tmp_path, "1.png")
    file = write(tmp_path / "labels" / "1.txt", f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(DatasetError, match=words) as caught:
        read_labels(tmp_path / "labels", photos)
    assert str(caught.value).startswith(f"{file}, line 2: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("names: {", "is no YAML"),
        ("nc: 3", "names no classes"),
        ("names: []", "names no classes"),
        ("names: {a: cat}", "names no classes"),
        ("names: [1, 2]", "names no classes"),
        ("just words", "names no classes"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
    ],
)
def test_a_data_yaml_without_names_is_refused(tmp_path: Path, content: str, words: str) -> None:
    pytest.importorskip("yaml")
    photos = make_photos(tmp_path, "1.png")
    write(tmp_path / "labels" / "1.txt", "0 0.5 0.5 1 1")
    write(tmp_path / "data.yaml", content)
    with pytest.raises(DatasetError, match=words) as caught:
        read_labels(tmp_path / "labels", photos)
    assert "\n" not in str(caught.value)


# --- COCO -------------------------------------------------------------------------------------------------------------


def test_coco_files_hold_corners_sizes_and_crowds(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "1.png", "2.png")
    labels = read_labels(write_coco(tmp_path), photos)
    assert labels.notes == ()
    assert labels.boxes == {
        "1.png": (Box("dog", 20, 10, 120, 60), Box("person", 0, 0, 200, 30, is_crowd=True)),
        "2.png": (),
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "holds no labels in COCO's format .images: "),
        ({"categories": [{"id": 1}]}, r"categories.0.name"),
        ({"annotations": annotation(bbox=[0, 0, 10])}, "annotations.0.bbox"),
        ({"annotations": annotation(bbox=[0, 0, 10, float("nan")])}, "annotations.0.bbox.3"),
        ({"annotations": annotation(image_id=99)}, "annotation 5 belongs to image_id 99"),
        ({"annotations": annotation(category_id=99)}, "annotation 5 is of category_id 99"),
        ({"annotations": annotation(bbox=[-9, 0, 20, 10])}, "annotation 5: the box .* reaches out of its photo"),
        ({"annotations": annotation(bbox=[190, 0, 20, 10])}, "reaches out of its photo of 200x100 pixels"),
        ({"annotations": annotation(bbox=[0, 0, 0, 10])}, "annotation 5: .*left < right"),
        ({"annotations": annotation(bbox=[50, 50, -10, 10])}, "annotation 5: .*left < right"),
        ({"annotations": annotation(bbox=[0, 0, 1e308, 1e308])}, "reaches out of its photo"),
        ({"images": coco()["images"][:1] * 2}, "lists a photo twice"),
        ({"images": [coco()["images"][0] | {"height": 50}, coco()["images"][1]]}, "a photo of 200x50 and not 200x100"),
    ],
)
def test_a_coco_file_that_does_not_hold_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    photos = make_photos(tmp_path, "1.png", "2.png")
    with pytest.raises(DatasetError, match=words) as caught:
        read_labels(write_coco(tmp_path, **changes), photos)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b"null", b"3"])
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, content: bytes) -> None:
    photos = make_photos(tmp_path, "1.png")
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"labels\.json: ") as caught:
        read_labels(tmp_path / "labels.json", photos)
    assert "\n" not in str(caught.value)


# --- labels and photos ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_labels_of_photos_that_are_not_there_are_refused_or_noted(tmp_path: Path, kind: str) -> None:
    photos = make_photos(tmp_path, "1.png")
    place = tmp_path / "labels"
    if kind == "coco":
        place = write_coco(tmp_path)
    else:
        write(place / "1.txt", "0 0.5 0.5 1 1"), write(place / "val" / "2.txt", "0 0.5 0.5 1 1")
    with pytest.raises(DatasetError, match=r"1 of 2 labelled photos are not there \(val/2\); add them, or"):
        read_labels(place, photos)
    labels = read_labels(place, photos, strict=False)
    assert list(labels.boxes) == ["1.png"]
    assert labels.notes == (f"{place}: 1 of 2 labelled photos are not there (val/2); their labels are left out",)


def test_a_photo_that_a_coco_file_does_not_list_is_refused_or_left_out(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, *(f"{n}.png" for n in range(1, 7)))
    place = write_coco(tmp_path)
    with pytest.raises(DatasetError, match=r"does not list 3\.png, 4\.png, 5\.png and 1 more; label these photos"):
        read_labels(place, photos)
    labels = read_labels(place, photos, strict=False)
    assert list(labels.boxes) == ["1.png", "2.png"]
    assert len(labels.notes) == 1


def test_labels_of_other_photos_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "other.png")
    for strict in (True, False):
        with pytest.raises(DatasetError):
            read_labels(write_coco(tmp_path), photos, strict=strict)
    write(tmp_path / "labels" / "1.txt", "")
    with pytest.raises(DatasetError, match="has labels of none of the photos"):
        read_labels(tmp_path / "labels", photos, strict=False)


def test_places_that_hold_no_labels_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "1.png")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "bad" / "1.txt", "").write_bytes(b"\xff\xfe0 1 2 3")
    cases = {
        tmp_path / "nowhere": "is not there",
        tmp_path / "nowhere.json": "is not there",
        tmp_path / "1.png": "is neither",
        tmp_path / "empty": "holds no .txt files",
        tmp_path / "bad": "is no text in UTF-8",
    }
    for place, words in cases.items():
        with pytest.raises(DatasetError, match=words):
            read_labels(place, photos)
    with pytest.raises(ArgumentError, match="no photos"):
        read_labels(tmp_path / "empty", {})


def test_a_photo_that_cannot_be_read_does_not_keep_the_others_from_their_labels(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "1.png", "2.png")
    photos["1.png"].write_bytes(b"no photo")
    labels = read_labels(write_coco(tmp_path), photos)
    assert labels.boxes == {"2.png": ()}
    (note,) = labels.notes
    assert note.startswith(f"{photos['1.png']}: is damaged")


def test_classes_have_one_name_whoever_wrote_them() -> None:
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert [class_name(name) for name in ("tvmonitor", " Sofa", "dog", "Dog")] == ["tv", "couch", "dog", "Dog"]
    assert class_name("diningtable") in COCO_CLASSES
