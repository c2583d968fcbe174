"""What a check reports, and the kinds of it."""

import dataclasses
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path
from typing import Literal

CHECKS: dict[str, str] = {
    "unreadable": "a file is damaged, cut short, or of a kind that is not read",
    "unpaired": "a photo has no counterpart in the other folder",
    "size": "the two photos of a pair have sizes of no whole scale",
    "scale": "a pair has another scale than most of the set",
    "unlike": "the two photos of a pair show different scenes",
    "swapped": "the degraded photo is the sharper or larger one of its pair",
    "misaligned": "the degraded photo is shifted or stretched against the clean one",
    "gamma": "the levels of the two photos differ by a power: one of them is in another encoding",
    "mixed-light": "some photos are blurred in linear light and others on encoded values",
    "constant": "a photo shows nothing: all its pixels are the same",
    "tiny": "a photo is too small to train on",
    "depth": "8 and 16 bits are mixed",
    "colour": "grey and colour photos are mixed",
    "alpha": "a photo has transparency, which no training sees",
    "duplicate": "two photos are the same picture, pixel by pixel",
    "leak": "nearly the same photo lies in two splits",
    "video": "frames of one video or scene lie in two splits",
}
"""Every kind of finding and what it means, in the order in which they are reported."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fault.

    kind: a key of CHECKS;  files: the photos concerned, or the folders where the whole set is;  message: one line that
    names them and says what was measured;  remedy: one line, the way out;  severity: an error spoils a training, a
    warning may be meant that way.
    """

    kind: str
    files: tuple[Path, ...]
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"

    def __post_init__(self) -> None:
        assert self.kind in CHECKS, self.kind


def folder_of(files: Sequence[Path]) -> Path:
    """The innermost folder that holds all of them."""
    try:
        return Path(commonpath([file.parent for file in files]))
    except ValueError:  # relative and absolute names, or two drives
        return files[0].parent
