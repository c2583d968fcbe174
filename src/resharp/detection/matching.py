"""Which detections are right: greedy one-to-one matching, as DeblurGAN's detection benchmark has it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from resharp.errors import ArgumentError, DatasetError

from .boxes import Box, areas, box_from_text, corners_of, intersections, overlaps


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many objects were found and missed, and how many detections were wrong; counts of photos add up.

    Where nothing is there and nothing was detected, the three figures are 1; any other 0 / 0 is 0.
    """

    n_found: int = 0
    n_wrong: int = 0
    n_missed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.n_found + other.n_found, self.n_wrong + other.n_wrong, self.n_missed + other.n_missed)

    @property
    def precision(self) -> float:
        """The share of the detections that is right."""
        return self._share(self.n_found, self.n_found + self.n_wrong)

    @property
    def recall(self) -> float:
        """The share of the objects that is found."""
        return self._share(self.n_found, self.n_found + self.n_missed)

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        return self._share(2 * self.n_found, 2 * self.n_found + self.n_wrong + self.n_missed)

    def _share(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return float(self.n_wrong + self.n_missed == 0)


@dataclasses.dataclass(frozen=True)
class Match:
    """The detections that are right and those that are wrong, by falling score, and the objects that were missed."""

    found: tuple[Box, ...]
    wrong: tuple[Box, ...]
    missed: tuple[Box, ...]

    @property
    def counts(self) -> Counts:
        return Counts(len(self.found), len(self.wrong), len(self.missed))


def match(detections: Sequence[Box], truth: Sequence[Box], *, iou: float = 0.5) -> Match:
    """Each detection, highest score first, takes the object of its class that it overlaps most and nobody has taken.

    iou: the least intersection over union that counts.  A detection of which at least that share lies in a crowd of its
    class, and that takes no object, is neither right nor wrong.
    """
    objects = [box for box in truth if not box.is_crowd]
    overlap, taken = overlaps(corners_of(detections), corners_of(objects)), set[int]()
    found, wrong = [], []
    for place in sorted(range(len(detections)), key=lambda place: -detections[place].score):
        box = detections[place]
        free = [i for i, rival in enumerate(objects) if rival.label == box.label and i not in taken]
        best = max(free, key=lambda i: overlap[place, i], default=None)
        if best is not None and overlap[place, best] >= iou:
            taken.add(best)
            found.append(box)
        elif not _lies_in_a_crowd(box, truth, iou):
            wrong.append(box)
    return Match(tuple(found), tuple(wrong), tuple(box for i, box in enumerate(objects) if i not in taken))


def _lies_in_a_crowd(box: Box, truth: Sequence[Box], share: float) -> bool:
    crowds = [other for other in truth if other.is_crowd and other.label == box.label]
    own = corners_of([box])
    return bool((intersections(own, corners_of(crowds)) >= share * areas(own)).any())


def boxes_of(notes: Mapping[str, Any], version: str) -> list[Box]:
    """The boxes that a row's notes hold: "truth", or what was found in the "restored", "degraded" or "sharp" photo.

    Raises DatasetError where they hold none of these, as those of a file that something else wrote.
    """
    try:
        return [box_from_text(text) for text in notes["boxes"][version]]
    except (KeyError, TypeError, ArgumentError) as error:
        raise DatasetError(f"its notes hold no boxes of the {version} photo ({error})") from None


def match_of(notes: Mapping[str, Any], version: str) -> Match:
    """Right, wrong and missed in one version of a photo, at the thresholds of its notes.  Raises DatasetError."""
    found, truth = boxes_of(notes, version), boxes_of(notes, "truth")
    try:
        confidence, iou = float(notes["confidence"]), float(notes["iou"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"its notes hold no thresholds of detection ({error})") from None
    return match([box for box in found if box.score >= confidence], truth, iou=iou)
