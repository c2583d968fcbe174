"""Boxes around objects: what one is, how much two overlap, and which stay of many around one object.

Coordinates are pixels of the photo, x to the right, y down: a photo reaches from (0, 0) to (width, height).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resharp.errors import ArgumentError

Corners = NDArray[np.float64]  # (n, 4): left, top, right, bottom

_CROWD = "crowd"


@dataclasses.dataclass(frozen=True)
class Box:
    """One object: its class and its corners.

    score: how sure a detector is of it, in [0, 1]; 1 for a label.  is_crowd: a label around many objects that were not
    told apart (COCO's `iscrowd`): nothing has to be found there, and what is found there is not wrong.
    Corners are kept to a hundredth of a pixel and scores to 1e-5, so that a box written down is the same box.
    Raises ArgumentError for what is no box.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0
    is_crowd: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.label, str) and self.label.strip() == self.label != "" and self.label.isprintable()):
            raise ArgumentError(f"a box has the label {self.label!r}; it is the name of a class")
        try:
            corners = [round(float(value), 2) for value in self.corners]
            score = round(float(self.score), 5)
        except (TypeError, ValueError, OverflowError):
            raise ArgumentError(f"a box of {self.label!r} has corners or a score that are no finite numbers") from None
        left, top, right, bottom = corners
        if not (all(map(math.isfinite, corners)) and left < right and top < bottom):
            shown = ", ".join(f"{value:g}" for value in corners)
            raise ArgumentError(f"a box of {self.label!r} is ({shown}); left < right and top < bottom, in pixels")
        if not 0 <= score <= 1:
            raise ArgumentError(f"a box of {self.label!r} has the score {score:g}; scores lie in [0, 1]")
        for name, value in zip(("left", "top", "right", "bottom", "score"), (*corners, score), strict=True):
            object.__setattr__(self, name, value)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom

    def as_text(self) -> str:
        """Score (or "crowd"), left, top, right, bottom, label: one line that `box_from_text` reads."""
        score = _CROWD if self.is_crowd else f"{self.score:.5f}"
        return " ".join([score, *(f"{value:.2f}" for value in self.corners), self.label])


def box_from_text(text: str) -> Box:
    """The box that `as_text` wrote.  Raises ArgumentError for something else."""
    parts = text.split(" ", 5) if isinstance(text, str) else []
    try:
        score, left, top, right, bottom, label = parts
        is_crowd = score == _CROWD
        corners = float(left), float(top), float(right), float(bottom)
        sure = 1.0 if is_crowd else float(score)
    except ValueError:
        raise ArgumentError(f"{text!r} is no box as a result holds them") from None
    return Box(label, *corners, sure, is_crowd)


def corners_of(boxes: Sequence[Box]) -> Corners:
    return np.array([box.corners for box in boxes], dtype=np.float64).reshape(-1, 4)


def areas(corners: Corners) -> NDArray[np.float64]:
    return np.asarray((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]))


def intersections(ours: Corners, theirs: Corners) -> NDArray[np.float64]:
    """The area that each of n boxes shares with each of m others: (n, m)."""
    upper_left = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    lower_right = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    return np.asarray((lower_right - upper_left).clip(min=0).prod(-1))


def overlaps(ours: Corners, theirs: Corners) -> NDArray[np.float64]:
    """Intersection over union of each of n boxes with each of m others: (n, m), in [0, 1]."""
    shared = intersections(ours, theirs)
    return np.asarray(shared / (areas(ours)[:, None] + areas(theirs)[None] - shared))


def without_doubles(corners: Corners, scores: NDArray[np.float64], *, iou: float) -> list[int]:
    """Non-maximum suppression: which boxes stay, by falling score (of equal ones the earlier first).

    A box goes when it overlaps one that stays, of a higher score, by more than `iou`.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[overlaps(corners[best : best + 1], corners[order])[0] <= iou]
    return kept
