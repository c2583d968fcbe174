"""The detector's opinion: what it finds in sharp, degraded and restored photos, against labels or against itself."""

from .boxes import Box
from .classes import COCO_CLASSES, class_name
from .detector import Detector, OnnxDetector
from .drawing import detections_drawn, with_boxes
from .labels import Labels, read_labels
from .matching import Counts, Match, match
from .opening import CaseScorer, open_detection_scorer
from .scores import DetectionScorer, average_precision, match_of

__all__ = [
    "COCO_CLASSES",
    "Box",
    "CaseScorer",
    "Counts",
    "DetectionScorer",
    "Detector",
    "Labels",
    "Match",
    "OnnxDetector",
    "average_precision",
    "class_name",
    "detections_drawn",
    "match",
    "match_of",
    "open_detection_scorer",
    "read_labels",
    "with_boxes",
]
