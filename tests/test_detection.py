"""Boxes, matching and scores against cases that can be counted by hand, and against pycocotools."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.detection import Box, Counts, match, match_of, with_boxes
from resharp.detection.boxes import box_from_text, corners_of, overlaps, without_doubles
from resharp.detection.drawing import MISSED, RIGHT, WRONG
from resharp.errors import ArgumentError, DatasetError
from resharp.evaluation import Row
from resharp.evaluation.detection import DetectionScorer, average_precision, boxes_of
from tests.conftest import rand

PHOTO = torch.zeros(3, 40, 60)


def box(left: float, top: float, right: float, bottom: float, score: float = 1.0, label: str = "cat") -> Box:
    return Box(label, left, top, right, bottom, score)


# --- boxes ------------------------------------------------------------------------------------------------------------


def test_overlaps_are_those_of_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    starts, sizes = rand(40, 2).numpy() * 50, rand(40, 2, seed=1).numpy() * 40 + 0.1
    corners, theirs = np.concatenate([starts, starts + sizes], 1), np.concatenate([starts, sizes], 1)
    expected = mask.iou(theirs[:25], theirs[25:], [0] * 15)
    assert np.count_nonzero(expected) > 20
    np.testing.assert_allclose(overlaps(corners[:25], corners[25:]), expected, atol=1e-12)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    ours = corners_of([box(0, 0, 10, 10)])
    theirs = corners_of([box(10, 0, 20, 10), box(0, 0, 10, 10), box(0, 0, 10, 5), box(5, 5, 15, 15)])
    np.testing.assert_allclose(overlaps(ours, theirs), [[0, 1, 1 / 2, 25 / 175]], atol=1e-12)


def test_of_several_boxes_around_one_object_the_surest_stays() -> None:
    corners = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 0, 40, 10], [5, 0, 15, 10]], float)
    # Against the second: 9/11 and 9/11, far away, and 6/14.
    assert without_doubles(corners, np.array([0.5, 0.9, 0.5, 0.6, 0.3]), iou=0.45) == [1, 3, 4]
    assert without_doubles(corners, np.array([0.5, 0.9, 0.5, 0.6, 0.3]), iou=0.42) == [1, 3]
    # What was suppressed suppresses nothing: the last overlaps the first by 1/3 alone.
    chain = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [5, 0, 15, 10]], float)
    assert without_doubles(chain, np.array([0.9, 0.8, 0.7]), iou=0.5) == [0, 2]
    assert without_doubles(corners[[0, 0]], np.array([0.5, 0.5]), iou=0.45) == [0]
    assert without_doubles(np.zeros((0, 4)), np.zeros(0), iou=0.45) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"right": 0}, r"\(0, 0, 0, 10\); left < right"),
        ({"bottom": -1}, "top < bottom"),
        ({"left": math.nan}, "left < right"),
        ({"right": math.inf}, "left < right"),
        ({"right": "wide"}, "no finite numbers"),
        ({"score": 1.2}, r"score 1.2; scores lie in \[0, 1\]"),
        ({"score": math.nan}, "score nan"),
        ({"label": ""}, "name of a class"),
        ({"label": 3}, "name of a class"),
        ({"label": "a\nb"}, "name of a class"),
    ],
)
def test_what_is_no_box_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        dataclasses.replace(box(0, 0, 10, 10), **changes)  # type: ignore[arg-type]


def test_a_box_written_down_is_the_same_box() -> None:
    for one in (
        Box("traffic light", 1 / 3, 2.71828, 1e4 / 3, 99.999, 0.123456789),
        Box("crowd", 0, 0, 1, 1, is_crowd=True),
        Box("person", np.float32(0.1), np.int64(1), 3, 4, np.float32(0.7)),  # type: ignore[arg-type]
    ):
        assert box_from_text(one.as_text()) == one
    for text in ("", "0.5 1 2 3 cat", "x 1 2 3 4 cat", "0.5 3 2 1 4 cat"):
        with pytest.raises(ArgumentError):
            box_from_text(text)


# --- matching ---------------------------------------------------------------------------------------------------------


def test_the_surest_detection_chooses_first_and_an_object_is_found_once() -> None:
    truth = [box(0, 0, 10, 10)]
    worse, better = box(0, 0, 10, 9, 0.9), box(0, 0, 10, 10, 0.8)
    found = match([better, worse], truth)
    assert (found.found, found.wrong, found.missed) == ((worse,), (better,), ())


def test_a_detection_takes_the_free_object_that_it_overlaps_most() -> None:
    left, right = box(0, 0, 10, 10), box(4, 0, 14, 10)
    first, second = box(4, 0, 14, 10, 0.9), box(3, 0, 13, 10, 0.5)
    found = match([second, first], [left, right])
    assert found.found == (first, second)  # the second overlaps `right` by 9/11, which is gone, and `left` by 7/13
    assert match([second, first], [left, right], iou=0.54).wrong == (second,)


def test_classes_do_not_meet_and_the_threshold_belongs_to_a_match() -> None:
    truth = [box(0, 0, 10, 10), box(20, 0, 30, 10, label="dog")]
    detections = [box(0, 0, 10, 5), box(20, 0, 30, 10, label="cat")]
    found = match(detections, truth, iou=0.5)
    assert found.found == (detections[0],)
    assert found.wrong == (detections[1],)
    assert found.missed == (truth[1],)


def test_in_a_crowd_nothing_is_wrong_or_missed() -> None:
    crowd = Box("cat", 0, 0, 30, 30, is_crowd=True)
    inside, half_out = box(5, 5, 10, 10, 0.9), box(25, 0, 35, 10, 0.8)
    other, far = box(5, 5, 10, 10, 0.7, "dog"), box(24, 0, 44, 10, 0.6)
    found = match([inside, half_out, other, far], [crowd])
    assert found.found == ()
    assert found.wrong == (other, far)
    assert found.missed == ()


def test_precision_recall_and_f1_are_shares_of_counts() -> None:
    counts = Counts(3, 1, 2) + Counts(1, 0, 1)
    assert (counts.precision, counts.recall) == (4 / 5, 4 / 7)
    assert counts.f1 == pytest.approx(2 / (5 / 4 + 7 / 4))
    for nothing, expected in ((Counts(), (1, 1, 1)), (Counts(0, 2, 0), (0, 0, 0)), (Counts(0, 0, 2), (0, 0, 0))):
        assert (nothing.precision, nothing.recall, nothing.f1) == expected


# --- scores -----------------------------------------------------------------------------------------------------------

TRUTH = [[box(0, 0, 10, 10), box(20, 0, 30, 10)], [box(0, 0, 10, 10, label="dog")]]


def test_average_precision_is_cocos() -> None:
    """Right, wrong, right: the envelope is 1 up to recall 1/2, then 2/3, read at 0, 0.01 ... 1; no dog is found."""
    pytest.importorskip("pycocotools")
    detections = [[box(0, 0, 10, 10, 0.9), box(40, 0, 50, 10, 0.8), box(20, 0, 30, 10, 0.7)], []]
    cats = (51 + 50 * 2 / 3) / 101
    assert average_precision(detections, TRUTH) == pytest.approx({"map": cats / 2, "map50": cats / 2})
    # IoU 9/11 counts at 0.5, 0.55 ... 0.8: seven of ten thresholds.
    shifted = [[box(1, 0, 11, 10, 0.9)], []]
    assert average_precision(shifted, [[box(0, 0, 10, 10)], []]) == pytest.approx({"map": 0.7, "map50": 1})


def test_there_is_no_average_precision_where_nothing_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    assert average_precision([[box(0, 0, 1, 1)]], [[]]) == {}
    assert average_precision([], []) == {}
    assert average_precision([[]], [[box(0, 0, 1, 1)]]) == {"map": 0, "map50": 0}
    crowd = Box("cat", 0, 0, 30, 30, is_crowd=True)
    inside = [[box(0, 0, 5, 5, 0.5), box(50, 0, 60, 10, 0.4)]]
    assert average_precision(inside, [[crowd, box(50, 0, 60, 10)]]) == pytest.approx({"map": 1, "map50": 1})
    assert capfd.readouterr() == ("", "")


def found_by(photos: list[tuple[Tensor, list[Box]]]) -> DetectionScorer:
    """A scorer whose detector knows photos by heart."""

    def detector(image: Tensor) -> list[Box]:
        return next(boxes for photo, boxes in photos if torch.equal(photo, image))

    return DetectionScorer(detector)


def test_without_labels_the_sharp_photos_sure_boxes_are_the_truth() -> None:
    pytest.importorskip("pycocotools")
    sharp, degraded, restored = PHOTO, PHOTO + 0.5, PHOTO + 0.25
    scorer = found_by(
        [
            (sharp, [box(0, 0, 10, 10, 0.9), box(20, 0, 30, 10, 0.5), box(40, 0, 50, 10, 0.2)]),
            (degraded, [box(0, 0, 10, 10, 0.25)]),
            (restored, [box(0, 0, 10, 9, 0.3), box(40, 0, 50, 10, 0.6)]),
        ]
    )
    figures, baseline, notes = scorer.row("a.png", degraded, restored, sharp)
    assert figures == {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2}
    assert baseline == {"precision": 0, "recall": 0, "f1": 0}
    assert [column.name for column in scorer.columns] == list(figures)
    totals = scorer.totals([Row("a.png", figures, baseline, 0.0, notes=notes)])
    assert (totals["precision"], totals["recall"], totals["f1"]) == (1 / 2, 1 / 2, 1 / 2)
    assert totals["degraded_f1"] == 0
    assert not any(name.startswith("sharp_") for name in totals)
    # The unsure box of the degraded photo counts in mAP: recall 1/2 of one class, exactly placed.
    assert totals["degraded_map"] == pytest.approx(51 / 101)


def test_against_labels_counts_of_all_photos_are_added_before_they_are_divided() -> None:
    pytest.importorskip("pycocotools")
    truth = {"a": [box(0, 0, 10, 10)], "b": [box(0, 10 * i, 10, 10 * i + 9) for i in range(4)]}
    scorer = DetectionScorer(lambda image: [box(0, 0, 10, 10, 0.9)], truth)
    rows = []
    for name in truth:
        figures, baseline, notes = scorer.row(name, PHOTO, PHOTO + 0.5, PHOTO)
        rows.append(Row(name, figures, baseline, 0.0, notes=notes))
    assert [row.figures["recall"] for row in rows] == [1, 1 / 4]
    broken = Row("c", {}, {}, 0.0, problem="it is damaged")
    totals = scorer.totals([*rows, broken])
    assert (totals["precision"], totals["recall"]) == (1, 2 / 5)
    assert totals["sharp_recall"] == totals["degraded_recall"] == 2 / 5
    assert boxes_of(rows[1].notes, "truth") == truth["b"]
    assert scorer.totals([broken]) == {}


def test_a_photo_that_comes_twice_is_looked_at_once() -> None:
    pytest.importorskip("pycocotools")
    looks = []

    def detector(image: Tensor) -> list[Box]:
        looks.append(image)
        return []

    figures, baseline, _ = DetectionScorer(detector).row("a", PHOTO, PHOTO.clone(), PHOTO)
    assert len(looks) == 1
    assert figures == baseline == {"precision": 1, "recall": 1, "f1": 1}


def test_a_degraded_photo_of_another_size_is_no_baseline() -> None:
    pytest.importorskip("pycocotools")
    scorer = DetectionScorer(lambda image: [], {"a": []})
    _, baseline, notes = scorer.row("a", PHOTO[:, ::2, ::2], PHOTO, None)
    assert baseline == {}
    assert set(notes["boxes"]) == {"truth", "restored"}
    with pytest.raises(ArgumentError, match="differ in size"):
        scorer.row("a", PHOTO, PHOTO[:, ::2], PHOTO)


def test_a_scorer_says_what_it_lacks() -> None:
    pytest.importorskip("pycocotools")
    with pytest.raises(DatasetError, match=r"a\.png: has no labels"):
        DetectionScorer(lambda image: [], {}).row("a.png", PHOTO, PHOTO, PHOTO)
    with pytest.raises(DatasetError, match=r"a\.png: has no sharp photo and no labels"):
        DetectionScorer(lambda image: []).row("a.png", PHOTO, PHOTO, None)
    with pytest.raises(DatasetError, match=r"does not know \(cat\)"):
        DetectionScorer(lambda image: [], {"a": [box(0, 0, 1, 1)]}, classes=["dog"])
    for name in ("confidence", "iou"):
        for value in (0, -1, 1.01, math.nan):
            with pytest.raises(ArgumentError, match=name):
                DetectionScorer(lambda image: [], **{name: value})  # type: ignore[arg-type]
    for answer in (None, [[0, 0, 1, 1, 0.5]], np.zeros((1, 5)), "boxes"):
        with pytest.raises(ArgumentError, match="list of Box"):
            DetectionScorer(lambda image, answer=answer: answer).row("a", None, PHOTO, PHOTO)  # type: ignore[misc]


def test_notes_of_something_else_are_refused() -> None:
    sound = {"confidence": 0.3, "iou": 0.5, "boxes": {"truth": [], "restored": []}}
    assert match_of(sound, "restored").counts == Counts()
    broken: list[tuple[dict[str, object], str]] = [
        ({"boxes": {"restored": []}}, "no boxes of the truth photo"),
        ({"boxes": None}, "no boxes of the restored photo"),
        ({"boxes": {"truth": [], "restored": [[0, 0, 1, 1, "cat"]]}}, "no boxes of the restored photo"),
        ({"iou": None}, "no thresholds"),
    ]
    for changes, words in broken:
        with pytest.raises(DatasetError, match=words):
            match_of(sound | changes, "restored")


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_right_wrong_and_missed_are_drawn_each_in_its_colour() -> None:
    image = torch.full((3, 120, 160), 100 / 255)
    detections = [box(10, 40, 50, 80, 0.9), box(60, 40, 100, 80, 0.8)]
    truth = [box(10, 40, 50, 80), box(110, 40, 150, 80)]
    drawn = with_boxes(image, match(detections, truth))
    assert drawn.shape == image.shape
    assert_close(image, torch.full_like(image, 100 / 255))
    for x, colour in ((10, RIGHT), (60, WRONG), (110, MISSED)):
        assert_close(drawn[:, 42, x] * 255, torch.tensor(colour).float())
    assert_close(drawn[:, 60, 30], torch.full((3,), 100 / 255))
    twice = with_boxes(image.mul(255).byte(), match(detections, truth), side=320)
    assert twice.shape == (3, 240, 320)
    assert_close(twice[:, 84, 20] * 255, torch.tensor(RIGHT).float())
    assert_close(twice[:, 84, 120] * 255, torch.tensor(WRONG).float())


def test_boxes_at_the_border_and_beyond_can_be_drawn() -> None:
    for height, width in ((1, 1), (3, 200), (50, 2)):
        boxes = [box(0, 0, 1, 1), box(-5, -5, 300, 300, 0.5), box(width - 0.5, height - 0.5, width, height, 0.4)]
        drawn = with_boxes(torch.zeros(3, height, width), match(boxes, [box(-9, -9, 400, 400, label="dog")]))
        assert drawn.shape == (3, height, width)
        assert bool(drawn.any())
