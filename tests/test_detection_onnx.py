"""The ONNX door: decoding against cells that are filled by hand, and files that are no detector."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resharp.detection import OnnxDetector, read_labels
from resharp.detection.detector import decoded, letterboxed
from resharp.errors import ArgumentError, WeightsError
from resharp.evaluation import Row
from resharp.evaluation.detection import DetectionScorer
from resharp.photo import read_photo
from tests.conftest import reference

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES = ("person", "cat")
SIDE, CELLS = 64, 64 + 16 + 4
QUIET = -20.0  # a logarithm of a size


def answer(cells: dict[int, list[float]]) -> np.ndarray[Any, Any]:
    """What a network says, all of it silent but for some cells."""
    rows = np.zeros((1, CELLS, 5 + len(CLASSES)), dtype=np.float32)
    rows[..., 2:4] = QUIET
    for cell, values in cells.items():
        rows[0, cell] = values
    return rows


def write_model(
    path: Path,
    outputs: list[np.ndarray[Any, Any]],
    *,
    inputs: tuple[tuple[Any, ...], ...] = ((1, 3, SIDE, SIDE),),
    kind: int = 1,
    blue: bool = False,
) -> Path:
    """A network that says the same of every photo; with `blue`, times the mean of its blue."""
    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    nodes, told = [], []
    for number, output in enumerate(outputs):
        nodes.append(helper.make_node("Constant", [], [f"constant{number}"], value=tensor(output)))
        nodes.append(helper.make_node("Mul" if blue else "Identity", [f"constant{number}"], [f"output{number}"]))
        told.append(helper.make_tensor_value_info(f"output{number}", 1, output.shape))
    if blue:
        share = tensor(np.array([3 / 255, 0, 0], np.float32).reshape(1, 3, 1, 1))
        nodes[-1].input.append("blue")
        nodes[:0] = [
            helper.make_node("Constant", [], ["share"], value=share),
            helper.make_node("Mul", ["image0", "share"], ["shares"]),
            helper.make_node("ReduceMean", ["shares"], ["blue"], keepdims=0),
        ]
    taken = [helper.make_tensor_value_info(f"image{n}", kind, shape) for n, shape in enumerate(inputs)]
    graph = helper.make_graph(nodes, "test", taken, told)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_cells_are_decoded_by_their_grids_place_and_stride() -> None:
    log2, log3 = np.log(2), np.log(3)
    rows = answer(
        {
            8 * 2 + 5: [0.5, 0.25, log2, log3, 0.5, 1, 0.5],  # stride 8, row 2, column 5
            64 + 4 * 3 + 1: [0, 0, 0, 0, 1, 0.25, 0.5],  # stride 16, row 3, column 1
            64 + 16 + 2: [-0.5, 1, log3, 0, 1, 1, 1],  # stride 32, row 1, column 0
        }
    )
    corners, scores = decoded(rows[0].astype(np.float64), SIDE, SIDE)
    found = corners[[21, 77, 82]]
    np.testing.assert_allclose(
        found, [[36, 6, 52, 30], [8, 40, 24, 56], [-64, 48, 32, 80]], atol=1e-5
    )  # centres (44, 18), (16, 48), (-16, 64); sizes (16, 24), (16, 16), (96, 32)
    np.testing.assert_allclose(scores[[21, 77, 82]], [[0.5, 0.25], [0.25, 0.5], [1, 1]])
    wide = np.zeros((8 * 4 + 4 * 2 + 2, 6))
    centres = decoded(wide, 32, 64)[0][:, :2] + 0.5 * np.repeat([8, 16, 32], [32, 8, 2])[:, None]
    np.testing.assert_allclose(centres[[9, 32 + 5, 41]], [[8, 8], [16, 16], [32, 0]])


def test_the_network_sees_the_photo_in_the_upper_left_corner_blue_first() -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 255, 40
    seen, scale = letterboxed(pixels, SIDE, SIDE)
    assert seen.shape == (1, 3, SIDE, SIDE)
    assert seen.dtype == np.float32
    assert scale == 2
    assert [float(seen[0, plane, 31, 63]) for plane in range(3)] == [0, 40, 255]
    assert bool((seen[0, :, 32:] == 114).all())
    assert bool((seen[0, :, :32] != 114).all())
    for height, width in ((1, 500), (500, 1), (1, 1), (64, 64), (333, 111)):
        assert letterboxed(np.zeros((height, width, 3), np.uint8), SIDE, SIDE)[0].min() == 0


def test_boxes_are_those_of_the_photo_clipped_sorted_and_told_once(tmp_path: Path) -> None:
    """A photo twice as large as the frame; two boxes of one class are one object, one of another class is another."""
    rows = answer(
        {
            0: [2, 2, np.log(4), np.log(2), 0.9, 0.5, 0.1],  # (0, 8) to (32, 24)
            1: [1.125, 2, np.log(4), np.log(2), 0.9, 0.6, 0.1],  # (1, 8) to (33, 24)
            2: [0, 2, np.log(4), np.log(2), 0.5, 0.1, 0.9],  # (0, 8) to (32, 24)
            63: [0.5, 0.5, np.log(3), np.log(3), 0.04, 0.5, 0],  # beyond the right border
            62: [0, 0, 0, 0, 0.015, 0.5, 0.5],  # less sure than what is told
        }
    )
    detector = OnnxDetector(write_model(tmp_path / "m.onnx", [rows]), classes=CLASSES)
    found = detector(torch.zeros(3, 128, 128))
    expected = [
        ("person", 2, 16, 66, 48, 0.54),
        ("cat", 0, 16, 64, 48, 0.45),
        ("person", 96, 96, 128, 128, 0.02),
    ]
    for box, (label, *corners, score) in zip(found, expected, strict=True):
        assert box.label == label
        assert box.corners == pytest.approx(corners, abs=0.01)
        assert box.score == pytest.approx(score, abs=1e-5)
    # Of a photo that fills the upper half of the frame nothing is told below it.
    low = detector(torch.zeros(1, 32, 64))
    assert [box.label for box in low] == ["person", "cat"]
    assert all(box.bottom <= 32 for box in low)


def test_the_same_photo_gives_the_same_boxes_in_another_process_too(tmp_path: Path) -> None:
    rows = answer({0: [2, 2, 3, 3, 1, 0.8, 0]})
    path = write_model(tmp_path / "m.onnx", [rows], blue=True)
    detector = OnnxDetector(path, classes=CLASSES)
    blue, red = torch.zeros(3, 64, 64), torch.zeros(3, 64, 64)
    blue[2], red[0] = 0.5, 1
    assert [box.score for box in detector(blue)] == pytest.approx([0.8 * (128 / 255) ** 2], abs=1e-5)
    assert detector(red) == []
    again = pickle.loads(pickle.dumps(detector))
    assert again(blue) == detector(blue)
    assert again.sha256 == detector.sha256


def test_pictures_that_are_none_are_refused(tmp_path: Path) -> None:
    detector = OnnxDetector(write_model(tmp_path / "m.onnx", [answer({})]), classes=CLASSES)
    for shape in ((3, 0, 5), (2, 8, 8), (1, 3, 8, 8), (8, 8)):
        with pytest.raises(ArgumentError, match="a detector takes one image"):
            detector(torch.zeros(shape))
    with pytest.raises(ArgumentError, match="NaN"):
        detector(torch.full((3, 8, 8), torch.nan))
    for settings in ({"lowest_score": 0}, {"lowest_score": 1}, {"n_threads": 0}):
        with pytest.raises(ArgumentError, match=next(iter(settings))):
            OnnxDetector(tmp_path / "m.onnx", **settings)  # type: ignore[arg-type]


def test_files_that_are_no_detector_are_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sound = write_model(tmp_path / "sound.onnx", [answer({})])
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "photo.onnx").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)))
    (tmp_path / "cut.onnx").write_bytes(sound.read_bytes()[:300])
    outside, decided, nan = answer({}), answer({}), answer({})
    outside[0, 0, 4], decided[..., 2:4], nan[0, 3, 0] = 7, 200, np.nan
    cases = {
        tmp_path / "nowhere.onnx": "no such file",
        tmp_path: "cannot be read",
        tmp_path / "empty.onnx": "is no ONNX file",
        tmp_path / "photo.onnx": "is no ONNX file",
        tmp_path / "cut.onnx": "is no ONNX file",
        write_model(tmp_path / "1.onnx", [np.zeros((1, 10), np.float32)]): r"its output is \(1, 10\)",
        write_model(tmp_path / "2.onnx", [answer({}), answer({})]): r"its output is \(1, 84, 7\), \(1, 84, 7\)",
        write_model(tmp_path / "3.onnx", [answer({})], inputs=((1, 1, 64, 64),)): "its inputs are",
        write_model(tmp_path / "4.onnx", [answer({})], inputs=((1, 3, 60, 64),)): "multiples of 32",
        write_model(tmp_path / "5.onnx", [answer({})], inputs=((1, 3, "h", "w"),)): "fixed",
        write_model(tmp_path / "6.onnx", [answer({})], inputs=((1, 3, 64, 64),) * 2): "it takes one",
        write_model(tmp_path / "7.onnx", [answer({})], kind=2): r"tensor\(uint8\)",
        write_model(tmp_path / "8.onnx", [outside]): "scores do not lie",
        write_model(tmp_path / "9.onnx", [decided]): "without decode_in_inference",
        write_model(tmp_path / "10.onnx", [nan]): "scores do not lie",
    }
    for path, words in cases.items():
        with pytest.raises(WeightsError, match=words) as caught:
            OnnxDetector(path, classes=CLASSES)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(path))
    with pytest.raises(WeightsError, match="no YOLOX detector of 80 classes"):
        OnnxDetector(sound)
    assert capfd.readouterr() == ("", "")


def test_yolox_nano_on_coco128_scores_as_published() -> None:
    """Precision .704, recall .404, F1 .513 at confidence 0.3 and IoU 0.5."""
    pytest.importorskip("pycocotools")
    folder = reference("coco128")
    detector = OnnxDetector(reference("reference", "yolox_nano", "yolox_nano.onnx"))
    photos = {path.name: path for path in sorted((folder / "images").glob("*.jpg"))}
    labels = read_labels(folder / "labels", photos)
    assert sum(map(len, labels.boxes.values())) == 929
    assert [note.partition("objects: ")[2] for note in labels.notes] == ["000000000508.jpg"]
    scorer = DetectionScorer(detector, labels.boxes, classes=detector.classes)
    rows = []
    for name, path in photos.items():
        figures, baseline, notes = scorer.row(name, None, read_photo(path).image, None)
        rows.append(Row(name, figures, baseline, 0.0, notes=notes))
    totals = scorer.totals(rows)
    published = {"precision": 0.704, "recall": 0.404, "f1": 0.513}
    assert {name: totals[name] for name in published} == pytest.approx(published, abs=0.002)
