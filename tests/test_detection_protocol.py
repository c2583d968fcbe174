"""The protocol `detection` from its settings: what a run of it tells, and datasets that it cannot judge."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from resharp.errors import DatasetError, WeightsError
from resharp.evaluation import evaluate, make_protocol
from resharp.evaluation.cases import Case, Patch
from resharp.evaluation.detection import open_detection_scorer
from resharp.photo import Photo, write_photo
from tests.conftest import rand
from tests.test_detection_onnx import write_model

pytest.importorskip("pycocotools")


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Sees a dog of 48 x 48 pixels in the upper left of every photo, the surer the bluer the photo is."""
    rows = np.zeros((1, 84, 85), dtype=np.float32)
    rows[..., 2:4] = -20
    rows[0, 80] = [0.75, 0.75, np.log(1.5), np.log(1.5), 1] + [0] * 80
    rows[0, 80, 5 + 16] = 1
    return write_model(tmp_path / "dog.onnx", [rows], blue=True)


def make_pairs(root: Path) -> Path:
    """Sharp photos are blue; of the blurred ones the second is as blue as they are, the other has no blue."""
    for number, blue in ((1, 0.0), (2, 1.0)):
        for folder, level in (("sharp", 1.0), ("blur", blue)):
            image = rand(3, 64, 64, seed=number, dtype=torch.float32)
            image[2] = level
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_photo(Photo(image), root / folder / f"{number}.png")
    return root


def test_a_run_without_labels_measures_against_the_sharp_photos(tmp_path: Path, detector: Path) -> None:
    result = evaluate("identity", make_pairs(tmp_path / "set"), make_protocol("detection", {"detector": str(detector)}))
    assert [row.problem for row in result.rows] == ["", ""]
    assert [row.figures["f1"] for row in result.rows] == [0, 1]
    assert (result.totals["precision"], result.totals["recall"]) == (1, 1 / 2)
    assert result.totals["map"] == pytest.approx(51 / 101)
    assert [column.name for column in result.columns] == ["precision", "recall", "f1"]


def test_a_run_with_labels_tells_what_sharp_photos_would_score(tmp_path: Path, detector: Path) -> None:
    root, labels = make_pairs(tmp_path / "set"), tmp_path / "labels"
    labels.mkdir()
    (labels / "2.txt").write_text("16 0.375 0.375 0.75 0.75\n0 0.5 0.5 1 1\n")
    settings = {"detector": str(detector), "labels": str(labels)}
    told: list[str] = []
    result = evaluate("identity", root, make_protocol("detection", settings), say=told.append)
    assert told == [f"{labels}: without a label file, so taken to show no objects: 1.png"]
    assert [(row.figures["precision"], row.figures["recall"]) for row in result.rows] == [(1, 1), (1, 1 / 2)]
    assert (result.totals["sharp_precision"], result.totals["sharp_recall"]) == (1 / 2, 1 / 2)


def test_a_dataset_that_cannot_be_judged_is_refused(tmp_path: Path, detector: Path) -> None:
    protocol, photo = make_protocol("detection", {"detector": str(detector)}), make_pairs(tmp_path) / "blur" / "1.png"
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "1.txt").write_text("16 0.5 0.5 0.5 0.5")
    (labels / "2.txt").write_text("16 0.5 0.5 0.5 0.5")
    labelled = dataclasses.replace(protocol, labels=str(labels))
    alone, itself = Case("1.png", "1.png", photo, ()), Case("1.png", "1.png", photo, (photo,))
    for case in (alone, itself):
        with pytest.raises(DatasetError, match=r"1\.png: has no sharp photo beside it"):
            open_detection_scorer(protocol, [case])
        with pytest.raises(DatasetError, match=r"1 of 2 labelled photos are not there \(2\)"):
            open_detection_scorer(labelled, [case])
        assert open_detection_scorer(labelled, [case], strict=False).notes
    patch = Patch(tmp_path / "set.h5", "blur", 0)
    with pytest.raises(DatasetError, match="not to the patches of a pack"):
        open_detection_scorer(labelled, [Case("set.h5#0", "0.png", patch, ())])
    with pytest.raises(DatasetError, match="two photos have one name"):
        open_detection_scorer(labelled, [alone, alone])
    with pytest.raises(WeightsError, match="is no ONNX file"):
        open_detection_scorer(dataclasses.replace(labelled, detector=str(photo)), [alone], strict=False)
