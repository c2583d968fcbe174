"""The detector's opinion of restored photos: precision, recall and F1 of each, and with mAP of a whole set.

Source: DeblurGAN's detection benchmark (Kupyn et al. 2018).  Counts of all photos are added up before they are divided
(micro average); mAP is COCO's, over IoU 0.5 to 0.95 and at 0.5, as pycocotools has it.
"""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resharp.detection import Box, Counts, Detector, Labels, OnnxDetector, boxes_of, match_of, read_labels
from resharp.detection.detector import MOST_BOXES
from resharp.detection.labels import checked_classes
from resharp.errors import ArgumentError, DatasetError

from .cases import Case, Sample
from .protocols import Protocol
from .results import Column, Row

Truth = Mapping[str, Sequence[Box]]
Figures = dict[str, float]

VERSIONS = ("restored", "degraded", "sharp")
_COLUMNS = tuple(Column(name, "", higher_is_better=True) for name in ("precision", "recall", "f1"))


@dataclasses.dataclass(frozen=True)
class DetectionScorer:
    """Compares what a detector finds with what is there.

    detector: any callable, photo (3, H, W) in [0, 1] to boxes in its pixels;  truth: boxes by a photo's name, or None:
    what the detector finds in the sharp photo;  confidence: the least score that counts as found, the same for that
    truth;  iou: the least overlap of a match;  classes: those that the detector knows, to refuse labels of others.
    Raises ArgumentError, and DatasetError where truth names other classes.
    """

    detector: Detector
    truth: Truth | None = None
    confidence: float = 0.3
    iou: float = 0.5
    classes: Collection[str] | None = None

    def __post_init__(self) -> None:
        for name in ("confidence", "iou"):
            if not 0 < getattr(self, name) <= 1:
                raise ArgumentError(f"{name} is {getattr(self, name):g}; it lies above 0 and up to 1")
        if self.truth is not None and self.classes is not None:
            checked_classes(self.truth, self.classes)
        load_pycocotools()  # a run of hours should not end because it is missing

    @property
    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(
        self, name: str, degraded: Tensor | None, restored: Tensor, clean: Tensor | None
    ) -> tuple[Figures, Figures, dict[str, Any]]:
        """(figures of the restored photo, those of the degraded one, notes); (3, H, W) in [0, 1], clean has its size.

        The degraded photo is judged where it has that size, too.  Where nothing is there and nothing is found, all
        three figures are 1; another 0 / 0 is 0.  The notes hold all boxes, for drawing and for `totals`.  Raises
        DatasetError for a photo without truth, ArgumentError for sizes that differ and a detector that gives no boxes.
        """
        photos = {"restored": restored}
        if degraded is not None and degraded.shape[-2:] == restored.shape[-2:]:
            photos["degraded"] = degraded
        if clean is not None:
            photos["sharp"] = clean
            if clean.shape[-2:] != restored.shape[-2:]:
                sizes = " and ".join(f"{image.shape[-1]}x{image.shape[-2]}" for image in (restored, clean))
                raise ArgumentError(f"the restored and the sharp photo differ in size ({sizes})")
        found = self._found(photos)
        boxes = {"truth": self._truth_of(name, found.get("sharp")), **found}
        notes = {
            "confidence": self.confidence,
            "iou": self.iou,
            "boxes": {version: [box.as_text() for box in some] for version, some in boxes.items()},
        }
        baseline = _figures(match_of(notes, "degraded").counts) if "degraded" in photos else {}
        return _figures(match_of(notes, "restored").counts), baseline, notes

    def totals(self, rows: Sequence[Row]) -> Figures:
        """Micro precision, recall and F1, and mAP ("map", "map50"), of all sound rows, from their notes.

        Those of the degraded and of the sharp photos begin with "degraded_" and "sharp_"; they are told where every
        row has them, the sharp ones only against labels (they are their own truth otherwise).
        """
        notes = [row.notes for row in rows if not row.problem]
        figures: Figures = {}
        for version in VERSIONS:
            is_told = all(version in note["boxes"] for note in notes) and (version != "sharp" or self.truth is not None)
            if notes and is_told:
                prefix = "" if version == "restored" else f"{version}_"
                counts = sum((match_of(note, version).counts for note in notes), Counts())
                precisions = average_precision(
                    [boxes_of(note, version) for note in notes], [boxes_of(note, "truth") for note in notes]
                )
                figures |= {prefix + key: value for key, value in (_figures(counts) | precisions).items()}
        return figures

    def _found(self, photos: Mapping[str, Tensor]) -> dict[str, list[Box]]:
        """What the detector finds in each photo; one that comes twice is looked at once."""
        found: dict[str, list[Box]] = {}
        for version, image in photos.items():
            twin = next((other for other in found if torch.equal(photos[other], image)), None)
            found[version] = found[twin] if twin else _checked(self.detector(image))
        return found

    def _truth_of(self, name: str, sharp: Sequence[Box] | None) -> list[Box]:
        if self.truth is None:
            if sharp is None:
                raise DatasetError(f"{name}: has no sharp photo and no labels; bring one of them")
            return [box for box in sharp if box.score >= self.confidence]
        if name not in self.truth:
            raise DatasetError(f"{name}: has no labels; label it, or take it out")
        return list(self.truth[name])


def average_precision(detections: Sequence[Sequence[Box]], truth: Sequence[Sequence[Box]]) -> Figures:
    """COCO's mAP ("map", over IoU 0.5, 0.55 ... 0.95) and that at IoU 0.5 ("map50"), over photos one by one.

    Classes that no photo truly shows do not count, so there are no figures where nothing is there; at most 100 boxes of
    a photo do.  Raises ArgumentError where pycocotools is missing.
    """
    assert len(detections) == len(truth)
    coco, evaluation = load_pycocotools()
    labels = sorted({box.label for boxes in (*detections, *truth) for box in boxes})
    numbers = {label: number for number, label in enumerate(labels, 1)}
    if not any(not box.is_crowd for boxes in truth for box in boxes):
        return {}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress
        sets = [_as_coco(coco, boxes, numbers) for boxes in (truth, detections)]
        judge = evaluation(*sets, "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], judge.params.areaRngLbl[:1]
        judge.params.maxDets = [1, 10, MOST_BOXES]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {"map": float(judge.stats[0]), "map50": float(judge.stats[1])}


def _as_coco(coco: Any, photos: Sequence[Sequence[Box]], numbers: Mapping[str, int]) -> Any:
    """Boxes in the form of pycocotools; its numbers begin at 1, for 0 means none."""
    annotations: list[dict[str, Any]] = []
    for photo, boxes in enumerate(photos, 1):
        for box in boxes:
            width, height = box.right - box.left, box.bottom - box.top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": photo,
                    "category_id": numbers[box.label],
                    "bbox": [box.left, box.top, width, height],
                    "area": width * height,
                    "iscrowd": int(box.is_crowd),
                    "score": box.score,
                }
            )
    held = coco()
    held.dataset = {
        "images": [{"id": photo} for photo in range(1, len(photos) + 1)],
        "categories": [{"id": number} for number in numbers.values()],
        "annotations": annotations,
    }
    held.createIndex()
    return held


def load_pycocotools() -> tuple[Any, Any]:
    """(COCO, COCOeval), loaded on first use; one of the extras."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the drawing library that it loads
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise ArgumentError("mAP takes more: pip install 'resharp[detect]'") from None
    return COCO, COCOeval


def _figures(counts: Counts) -> Figures:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _checked(boxes: Any) -> list[Box]:
    """Raises ArgumentError for what a foreign detector gives instead of boxes."""
    found = list(boxes) if isinstance(boxes, Sequence) else None
    if found is None or not all(isinstance(box, Box) for box in found):
        raise ArgumentError("the detector must give a list of Box, nothing else")
    return found


# --- over a run's samples ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class CaseScorer:
    """A DetectionScorer over a run's samples;  notes: what its user ought to know about the labels, a line each."""

    scorer: DetectionScorer
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.scorer.columns

    def row(self, sample: Sample, restored: Tensor) -> tuple[Figures, Figures, dict[str, Any]]:
        """(figures, those of the degraded picture where it can be judged, notes); see `DetectionScorer.row`."""
        return self.scorer.row(sample.case.name, sample.degraded, restored, sample.clean)

    def totals(self, rows: Sequence[Row]) -> Figures:
        """Figures of the whole set; see `DetectionScorer.totals`."""
        return self.scorer.totals(rows)


def open_detection_scorer(protocol: Protocol, cases: Sequence[Case], *, strict: bool = True) -> CaseScorer:
    """The judge of these cases;  strict: as `read_labels` has it, False where the cases are a part of a dataset.

    Raises WeightsError for a file that is no detector; DatasetError for labels that do not hold, and where there are
    neither labels nor sharp photos.
    """
    labels = _labels(protocol, cases, strict=strict)
    detector = OnnxDetector(protocol.detector or "")
    truth = None if labels is None else labels.boxes
    assert protocol.confidence is not None
    assert protocol.iou is not None
    scorer = DetectionScorer(detector, truth, protocol.confidence, protocol.iou, classes=detector.classes)
    return CaseScorer(scorer, () if labels is None else labels.notes)


def _labels(protocol: Protocol, cases: Sequence[Case], *, strict: bool) -> Labels | None:
    if not protocol.labels:
        # Of photos on their own the clean one is the very photo that is restored: no truth to judge it by.
        blind = next((case.name for case in cases if not case.clean or case.clean[0] == case.degraded), None)
        if blind is not None:
            raise DatasetError(
                f"{blind}: has no sharp photo beside it; bring pairs, or labels with --set labels=FOLDER_OR_JSON"
            )
        return None
    photos = {case.name: case.clean[0] if case.clean else case.degraded for case in cases}
    files = {name: source for name, source in photos.items() if isinstance(source, Path)}
    if len(files) < len(photos):
        raise DatasetError(f"{protocol.labels}: labels belong to photos, not to the patches of a pack; name a folder")
    if len(photos) < len(cases):
        raise DatasetError(f"{protocol.labels}: two photos have one name, so that labels could not tell them apart")
    return read_labels(protocol.labels, files, strict=strict)
