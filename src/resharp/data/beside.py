"""Second inputs: what lies beside a photo and goes through its crop, turn and flip, such as a map of segments."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resharp.errors import DatasetError
from resharp.photo import SUFFIXES, read_pixels

from .folders import some
from .sources import Source

_ARRAYS = (".npy", ".npz")


class Beside:
    """A folder that holds for every photo of a source a picture, transparency its fourth channel, or .npy or .npz (one
    array; channels, height, width), of its name.

    Raises DatasetError where one has none.
    """

    def __init__(self, name: str, folder: Path, source: Source) -> None:
        if not folder.is_dir():
            raise DatasetError(f"data.beside.{name}: {folder}: no such folder")
        there = {
            path.relative_to(folder).with_suffix("").as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in {*SUFFIXES, *_ARRAYS}
        }
        names = [source.name(number) for number in range(len(source))]
        self._files = {photo: file for photo in names if (file := _of(photo, there)) is not None}
        if missing := [photo for photo in names if photo not in self._files]:
            raise DatasetError(
                f"data.beside.{name}: {folder}: lacks {len(missing)} of {len(names)} ({some(missing)}); each photo "
                "needs one of its name"
            )
        self._n_planes: int | None = None

    def read(self, photo: str, size: tuple[int, int]) -> Tensor:
        """(channels, height, width), uint8 or float32, of a photo of that (height, width).  Raises DatasetError."""
        path = self._files[photo]
        if path.suffix.lower() not in _ARRAYS:
            plane = read_pixels(path, deep=True, transparency=True)
        else:
            plane = torch.from_numpy(_array(path))
        if plane.ndim != 3 or tuple(plane.shape[-2:]) != size:
            raise DatasetError(f"{path}: is {tuple(plane.shape)}, and its photo wants (channels, {size[0]}, {size[1]})")
        if self._n_planes not in (None, len(plane)):
            raise DatasetError(f"{path}: has {len(plane)} planes, others have {self._n_planes}; make all alike")
        self._n_planes = len(plane)
        return plane


def _array(path: Path) -> NDArray[Any]:
    """uint8 or float32.  Raises DatasetError."""
    array = _only_array(path)
    try:
        return array if array.dtype == np.uint8 else array.astype(np.float32)
    except (TypeError, ValueError):
        raise DatasetError(f"{path}: holds {array.dtype}; numbers are wanted") from None


def _only_array(path: Path) -> NDArray[Any]:
    try:
        stored = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        with stored:
            if len(stored.files) != 1:
                raise ValueError(f"it holds {len(stored.files)} arrays, and one is wanted")
            return np.asarray(stored[stored.files[0]])
    except Exception as error:  # parsers of foreign files fail in many ways
        raise DatasetError(f"{path}: cannot be read as an array ({error})") from None


def _of(photo: str, there: dict[str, Path]) -> Path | None:
    """By the photo's path below its dataset, or that without the folder of the clean half."""
    parts: Sequence[str] = Path(photo).with_suffix("").parts
    return there.get("/".join(parts)) or there.get("/".join(parts[1:]))
