"""The judge of the protocol `detection`, from its settings and the pictures of a run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from resharp.errors import DatasetError

from ..cases import Case, Sample
from ..protocols import Protocol
from ..results import Column, Row
from .detector import OnnxDetector
from .labels import Labels, read_labels
from .scores import DetectionScorer, Figures


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
