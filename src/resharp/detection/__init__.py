"""A detector and its opinion: boxes of things in photos, right, wrong and missed ones against labels."""

from .boxes import Box
from .classes import COCO_CLASSES, class_name
from .detector import Detector, OnnxDetector
from .drawing import detections_drawn, with_boxes
from .labels import Labels, read_labels
from .matching import Counts, Match, boxes_of, match, match_of

__all__ = [
    "COCO_CLASSES",
    "Box",
    "Counts",
    "Detector",
    "Labels",
    "Match",
    "OnnxDetector",
    "boxes_of",
    "class_name",
    "detections_drawn",
    "match",
    "match_of",
    "read_labels",
    "with_boxes",
]
