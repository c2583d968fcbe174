"""What a study is, as a plain value: it never changes once it is made."""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from resharp.errors import DatasetError
from resharp.files import written_whole

STUDY, RATINGS, PICTURES = "study.json", "ratings.db", "pictures"
FORMAT = 1
REFERENCE = "reference"
GRADES = {1: "Bad", 2: "Poor", 3: "Fair", 4: "Good", 5: "Excellent"}
"""Of absolute category rating (ITU-T P.910)."""

PROTOCOLS = {"acr": GRADES, "pairs": {1: "Left", 2: "Right"}}
"""Protocol -> the answers that it takes, in words."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """One content: its name, the size of all its pictures in pixels, and condition -> file, whose name says nothing."""

    name: str
    height: int
    width: int
    pictures: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Study:
    """protocol: a key of PROTOCOLS;  conditions: the methods, and REFERENCE last where there is a hidden one;  sources:
    condition -> the folder that it came from;  n_trials: answers that each rater gives, of which n_repeats repeat
    earlier ones;  seed: of all orders and sides;  sha256: over the files that were copied."""

    protocol: str
    conditions: tuple[str, ...]
    sources: Mapping[str, str]
    scenes: tuple[Scene, ...]
    n_trials: int
    n_repeats: int
    seed: int
    sha256: str
    resharp: str
    format: int = FORMAT

    @property
    def has_reference(self) -> bool:
        """Whether the pictures as they should be are shown among the others."""
        return REFERENCE in self.conditions

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of conditions by their numbers, the smaller first."""
        return list(itertools.combinations(range(len(self.conditions)), 2))


def write_study(study: Study, folder: Path) -> None:
    """Raises OutputError."""
    with written_whole(folder / STUDY) as file:
        file.write(json.dumps(dataclasses.asdict(study), indent=1).encode())


def read_study(folder: Path) -> Study:
    """Raises DatasetError for a folder that holds no study, or a damaged one."""
    path = folder / STUDY
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DatasetError(f"{folder}: holds no {STUDY} that can be read; `resharp study new` makes a study") from None
    try:
        study = TypeAdapter(Study).validate_json(text)
    except ValidationError as error:
        what = error.errors()[0]
        where = ".".join(map(str, what["loc"])) or "the whole"
        raise DatasetError(f"{path}: is damaged ({where}: {what['msg']}); put it back from a copy") from None
    if study.format != FORMAT or study.protocol not in PROTOCOLS:
        raise DatasetError(f"{path}: is of another version of resharp than {FORMAT}; open it with that")
    return study
