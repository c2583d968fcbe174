"""Small studies for the tests."""

from collections.abc import Sequence
from pathlib import Path

from resharp.study.creation import new_study
from resharp.study.definition import REFERENCE, Scene, Study
from resharp.study.plan import Answer, Trial
from tests.evaluation_sets import photos_of, smooth


def outputs_of(folder: Path, *names: str, n_scenes: int = 4) -> dict[str, Path]:
    """A folder of pictures for each name: 0.png, 1.png, ... of 24x32."""
    return {name: photos_of(folder / name, smooth(n_scenes, 24, 32)) for name in names}


def study_of(folder: Path, protocol: str = "acr", *, n_scenes: int = 4, **settings: int) -> Study:
    """In `folder`/study, of three conditions and a reference."""
    outputs = outputs_of(folder, "soft", "<b>sharper", "sharp", n_scenes=n_scenes)
    reference = outputs.pop("sharp")
    outputs["third"] = outputs["soft"]
    return new_study(outputs, reference, folder / "study", reference=reference, protocol=protocol, **settings)


def plain_study(protocol: str = "acr", *, n_scenes: int = 4, n_trials: int = 20, n_repeats: int = 2) -> Study:
    """One without files."""
    conditions = ("soft", "<b>sharper", "third", REFERENCE)
    scenes = tuple(
        Scene(f"{n}.png", 24, 32, {c: f"{n}{i}.png" for i, c in enumerate(conditions)}) for n in range(n_scenes)
    )
    return Study(protocol, conditions, {}, scenes, n_trials, n_repeats, seed=0, sha256="", resharp="0")


def graded(grades: Sequence[Sequence[int]], conditions: Sequence[str]) -> list[Answer]:
    """Answers of a scene "0.png" from grades[rater][condition]."""
    return [
        Answer(f"r{r}", Trial(n, "0.png", (condition,)), grade)
        for r, row in enumerate(grades)
        for n, (condition, grade) in enumerate(zip(conditions, row, strict=True))
    ]
