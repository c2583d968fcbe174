"""A detector in ONNX: YOLOX as its authors export it, on ONNX Runtime.  The only door to ONNX Runtime.

The network sees the photo fitted into its frame's upper left corner, the rest grey (114), as BGR in 0..255, channels
first (Ge et al. 2021, YOLOX 0.1.1 and later).  It answers one row per cell of three grids (strides 8, 16, 32, row by
row): centre in cells from the cell's corner, log of the size in cells, objectness, and a score per class.
"""

import hashlib
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from resharp.errors import ArgumentError, WeightsError

from .boxes import Box, Corners, without_doubles
from .classes import COCO_CLASSES

Detector = Callable[[Tensor], Sequence[Box]]
"""What finds objects: a photo (3, H, W) in [0, 1] to its boxes, with unsure ones among them (mAP asks for those)."""

STRIDES = (8, 16, 32)
GREY = 114  # around the photo, as in training
LOWEST_SCORE = 0.01  # what YOLOX's own evaluation starts from
DOUBLES_IOU = 0.45  # what its demo takes for one object found twice
MOST_BOXES = 100  # of a photo, as COCO's evaluation counts


class OnnxDetector:
    """Finds objects in one photo: call it with a tensor (3, H, W) in [0, 1], or grey (1, H, W).

    path: an ONNX file with one input (1, 3, height, width), multiples of 32, and one output
    (1, cells, 5 + len(classes)).  lowest_score: boxes below it are not told;  n_threads: of ONNX Runtime; with one, the
    same photo gives the same boxes on the same machine.  Raises WeightsError for a file that is no such detector.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        classes: Sequence[str] = COCO_CLASSES,
        lowest_score: float = LOWEST_SCORE,
        n_threads: int = 1,
    ) -> None:
        if not 0 < lowest_score < 1:
            raise ArgumentError(f"lowest_score is {lowest_score:g}; it lies between 0 and 1")
        if n_threads < 1:
            raise ArgumentError(f"n_threads is {n_threads}; at least 1 is needed")
        self.path, self.classes = Path(path), tuple(classes)
        self.lowest_score, self.n_threads = lowest_score, n_threads
        data = _bytes_of(self.path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._session = _session(data, self.path, n_threads)
        self._input, self.height, self.width = _checked_input(self._session, self.path)
        self._answer(np.full((1, 3, self.height, self.width), GREY, dtype=np.float32))

    def __call__(self, image: Tensor) -> list[Box]:
        """The boxes of a photo, clipped to it, by falling score, at most 100.  Raises ArgumentError, WeightsError."""
        pixels = _as_pixels(image)
        seen, scale = letterboxed(pixels, self.height, self.width)
        corners, scores = decoded(self._answer(seen), self.height, self.width)
        numbers, sure = scores.argmax(1), scores.max(1)
        height, width = pixels.shape[:2]
        corners = (corners / scale).clip(0, [width, height, width, height])
        # What lies beside the photo, in the grey, is clipped to nothing.
        told = (sure >= self.lowest_score) & ((corners[:, 2:] - corners[:, :2]).min(1) >= 0.5)
        corners, numbers, sure = corners[told], numbers[told], sure[told]
        kept = []
        for number in np.unique(numbers):
            own = np.flatnonzero(numbers == number)
            kept += [int(own[i]) for i in without_doubles(corners[own], sure[own], iou=DOUBLES_IOU)]
        kept.sort(key=lambda i: (-sure[i], i))
        found = []
        for i in kept[:MOST_BOXES]:
            left, top, right, bottom = corners[i].tolist()
            found.append(Box(self.classes[numbers[i]], left, top, right, bottom, float(sure[i])))
        return found

    def _answer(self, seen: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the network says: (cells, 5 + classes).  Raises WeightsError where that is no detector's answer."""
        try:
            outputs = self._session.run(None, {self._input: seen})
        except Exception as error:  # an operator of a foreign file may fail in any way; none is ours
            raise WeightsError(f"{self.path}: does not run ({_first_line(error)}); export it again") from error
        cells = sum((self.height // stride) * (self.width // stride) for stride in STRIDES)
        expected = (1, cells, 5 + len(self.classes))
        found = [tuple(np.shape(output)) for output in outputs]
        if found != [expected]:
            shown, n_classes = ", ".join(map(str, found)), len(self.classes)
            raise WeightsError(
                f"{self.path}: is no YOLOX detector of {n_classes} classes (its output is {shown}, not {expected})"
            )
        answer = np.asarray(outputs[0][0], dtype=np.float64)
        shares = answer[:, 4:]
        if not (np.isfinite(answer).all() and shares.min() >= -1e-3 and shares.max() <= 1 + 1e-3):
            raise WeightsError(f"{self.path}: is no YOLOX detector (its scores do not lie in [0, 1])")
        if answer[:, 2:4].max() > 20:  # e^20 cells; photos have fewer pixels
            raise WeightsError(
                f"{self.path}: its boxes are no logarithms of sizes; export YOLOX without decode_in_inference"
            )
        return answer

    def __reduce__(self) -> tuple[Any, ...]:
        """ONNX Runtime's sessions do not pass between processes, so the file is read again there."""
        return _again, (self.path, self.classes, self.lowest_score, self.n_threads)


def letterboxed(pixels: NDArray[np.uint8], height: int, width: int) -> tuple[NDArray[np.float32], float]:
    """What the network sees of RGB pixels (h, w, 3): BGR (1, 3, height, width) in 0..255; and its scale."""
    rows, columns = pixels.shape[:2]
    scale = min(height / rows, width / columns)
    size = max(1, int(columns * scale)), max(1, int(rows * scale))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    canvas = np.full((height, width, 3), GREY, dtype=np.float32)
    canvas[: size[1], : size[0]] = small[..., ::-1]
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None]), scale


def decoded(answer: NDArray[np.float64], height: int, width: int) -> tuple[Corners, NDArray[np.float64]]:
    """Corners (cells, 4) in pixels of the network's frame, and class times objectness scores (cells, classes)."""
    grids = [np.mgrid[: height // stride, : width // stride][::-1].reshape(2, -1).T for stride in STRIDES]
    cells = np.concatenate(grids)
    strides = np.concatenate([np.full((len(g), 1), s) for g, s in zip(grids, STRIDES, strict=True)])
    centres = (answer[:, :2] + cells) * strides
    halves = np.exp(answer[:, 2:4]) * strides / 2
    scores = (answer[:, 4:5] * answer[:, 5:]).clip(0, 1)
    return np.concatenate([centres - halves, centres + halves], axis=1), scores


def _again(path: Path, classes: Sequence[str], lowest_score: float, n_threads: int) -> OnnxDetector:
    return OnnxDetector(path, classes=classes, lowest_score=lowest_score, n_threads=n_threads)


def _as_pixels(image: Tensor) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of 8 bits, on which detectors are trained."""
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ArgumentError(f"a detector takes one image (3, H, W) in [0, 1], not {tuple(image.shape)}")
    values = image.detach().float().cpu().numpy()
    if not np.isfinite(values).all():
        raise ArgumentError("the image holds NaN or infinite values; its values lie in [0, 1]")
    levels = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None


def _session(data: bytes, path: Path, n_threads: int) -> Any:
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # parsers of foreign bytes fail in many ways; none is ours
        raise WeightsError(f"{path}: is no ONNX file, or a damaged one ({_first_line(error)})") from error


def _checked_input(session: Any, path: Path) -> tuple[str, int, int]:
    """(name, height, width) of the one input.  Raises WeightsError."""
    inputs = session.get_inputs()
    shapes = ", ".join(f"{one.type} {one.shape}" for one in inputs) or "none"
    if len(inputs) == 1 and inputs[0].type == "tensor(float)" and len(inputs[0].shape) == 4:
        batch, channels, height, width = inputs[0].shape
        sides_fit = all(isinstance(side, int) and side > 0 and side % STRIDES[-1] == 0 for side in (height, width))
        if (not isinstance(batch, int) or batch == 1) and channels == 3 and sides_fit:
            return inputs[0].name, height, width
    raise WeightsError(
        f"{path}: is no YOLOX detector (its inputs are {shapes}; it takes one float image (1, 3, height, width), sides "
        "fixed and multiples of 32)"
    )


def _first_line(error: Exception) -> str:
    """What ONNX Runtime says, without its "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : "."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rpartition(" : ")[2].rstrip(".")


def load_onnxruntime() -> types.ModuleType:
    """ONNX Runtime, loaded on first use; one of the extras."""
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError("detection takes more: pip install 'resharp[detect]'") from None
    module: types.ModuleType = onnxruntime
    return module
