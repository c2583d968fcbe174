"""Packs, read back: patches of many photos in one HDF5 file, at the speed of memory.  `packing` writes them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resharp.errors import DatasetError
from resharp.files import REFUSED, reason_of

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
KINDS = ("blur", "sharp")
SUFFIXES = (".h5", ".hdf5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_pack(path: Path) -> bool:
    """Whether a file is named as packs are, or is HDF5 by its first bytes."""
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


class Pack:
    """A pack, opened for reading on first use in each process, so that it can be handed to workers.

    Raises DatasetError for what is no whole pack of a format known here.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._owner = -1
        self._kept: dict[str, Any] = {}
        file = self._open()
        _check(file, self.path)
        self.patch = int(file.attrs["patch"])
        self.stride = int(file.attrs["stride"])
        self.paired = bool(file.attrs["paired"])
        self.fingerprint = str(file.attrs["fingerprint"])
        self.counts = {kind: len(file[kind]) for kind in KINDS if kind in file}

    def read(self, kind: str, index: int) -> "Tensor":
        """Patch `index` of "blur" or "sharp": uint8 (3, patch, patch)."""
        import torch

        return torch.from_numpy(self._rows(kind)[index])

    def origin(self, kind: str, index: int) -> tuple[str, int, int]:
        """(photo, top, left) of a patch."""
        number, top, left = self._rows(f"{kind}_origin")[index].tolist()
        photos = self._texts("photos")[number]
        return photos[KINDS.index(kind) if len(photos) > 1 else 0], top, left

    def group(self, kind: str, index: int) -> str:
        """The video or scene that a patch belongs to, or else the photo that it was cut from."""
        number = int(self._rows(f"{kind}_origin")[index][0])
        groups = self._texts("groups") if "groups" in self._open() else []  # packs of earlier versions have none
        return groups[number] if groups and groups[number] else self.origin(kind, index)[0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_owner": -1, "_kept": {}}

    def _rows(self, name: str) -> Any:
        file = self._open()
        if name not in self._kept:
            self._kept[name] = file[name]  # looking it up takes longer than reading a row
        return self._kept[name]

    def _texts(self, name: str) -> Any:
        file = self._open()
        if name not in self._kept:
            self._kept[name] = json.loads(file[name][()])
        return self._kept[name]

    def _open(self) -> Any:
        if self._owner != os.getpid():  # HDF5 handles do not survive a fork
            self._file, self._owner, self._kept = _opened(self.path), os.getpid(), {}
        return self._file


class PackPatches:
    """The patches of a pack as a source of samples: real pairs of a paired pack, else the sharp ones; or those of one
    half alone, "clean" or "degraded"."""

    def __init__(self, path: str | Path, half: str | None = None) -> None:
        self.pack = Pack(path)
        self.is_real = self.pack.paired and half is None
        self._kind = "blur" if half == "degraded" else "sharp"
        if self._kind not in self.pack.counts:
            raise DatasetError(f"{path}: holds no {self._kind} patches to learn from")

    def __len__(self) -> int:
        return self.pack.counts[self._kind]

    def name(self, index: int) -> str:
        """FILE#INDEX."""
        return f"{self.pack.path.name}#{index}"

    def group(self, index: int) -> str:
        """The video or scene of the photo that it was cut from, or that photo: patches of one overlap."""
        return self.pack.group(self._kind, index)

    def fingerprint(self) -> str:
        """Of what was packed."""
        return self.pack.fingerprint

    def size(self, index: int) -> tuple[int, int]:
        """(patch, patch)."""
        del index
        return self.pack.patch, self.pack.patch

    def read(self, index: int) -> "tuple[Tensor | None, Tensor]":
        """(blurred patch or None, sharp patch)."""
        return self.pack.read("blur", index) if self.is_real else None, self.pack.read(self._kind, index)


def _opened(path: Path) -> Any:
    if not path.is_file():
        what = "is a folder; name a pack in it" if path.is_dir() else "no such pack; `resharp data pack` makes one"
        raise DatasetError(f"{path}: {what}")
    try:
        file = load_h5py().File(path, "r")
    except OSError as error:
        if error.errno in REFUSED:
            raise DatasetError(f"{path}: cannot be read ({reason_of(error)})") from None
        reason = "it is cut short; copy or pack it again" if "truncated" in str(error) else "it is no HDF5 file"
        raise DatasetError(f"{path}: cannot be read as a pack: {reason}") from None
    attributes = file.attrs
    if "format" not in attributes or "patch" not in attributes or "paired" not in attributes:
        raise DatasetError(f"{path}: is an HDF5 file, but no pack of resharp; `resharp data pack` makes one")
    number = _whole(attributes["format"])
    if number is None:
        raise DatasetError(f"{path}: is no sound pack (its format is no number); pack the photos again")
    if number > FORMAT:
        raise DatasetError(f"{path}: has format {number}, this version reads up to {FORMAT}; update resharp")
    if str(attributes.get("complete")) != "True":
        raise DatasetError(f"{path}: was not finished; run `resharp data pack` again as before, it goes on")
    return file


def _check(file: Any, path: Path) -> None:
    """Raises DatasetError where a pack does not hold what its attributes promise."""
    try:
        flaw = _flaw(file)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError) as error:
        flaw = str(error).partition("\n")[0] or type(error).__name__
    if flaw:
        raise DatasetError(f"{path}: is no sound pack ({flaw}); pack the photos again")


def _flaw(file: Any) -> str:
    """What is wrong with the parts of a pack, "" if nothing is.  What cannot even be looked at raises."""
    for name, low in (("patch", 1), ("stride", 1), ("format", 1)):
        value = _whole(file.attrs[name])
        if value is None or value < low:
            return f"its {name} is no number of 1 or more"
    if not isinstance(file.attrs["fingerprint"], str):
        return "its fingerprint is no text"
    patch, kinds = int(file.attrs["patch"]), [kind for kind in KINDS if kind in file]
    photos = json.loads(file["photos"][()])
    if not isinstance(photos, list) or not all(_are_names(names) for names in photos):
        return "its photos are no list of names"
    groups = json.loads(file["groups"][()]) if "groups" in file else [""] * len(photos)
    if not isinstance(groups, list) or len(groups) != len(photos) or not all(isinstance(one, str) for one in groups):
        return "its groups are no list of names, one for each photo"
    for kind in kinds:
        rows, origins = file[kind], file[f"{kind}_origin"][()]
        if rows.dtype != np.uint8 or rows.shape != (len(rows), 3, patch, patch) or not len(rows):
            return f"{kind} holds no patches of uint8 (3, {patch}, {patch})"
        if origins.shape != (len(rows), 3) or origins.dtype.kind not in "iu" or int(origins.min()) < 0:
            return f"{kind}_origin does not tell where each patch is from"
        if int(origins[:, 0].max()) >= len(photos):
            return f"{kind}_origin names photos that are not listed"
    if not kinds:
        return "it holds neither blur nor sharp"
    if file.attrs["paired"] and (len(kinds) < 2 or len(file["blur"]) != len(file["sharp"])):
        return "it is paired, but not every patch has its counterpart"
    return ""


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _whole(value: Any) -> int | None:
    """A number as HDF5 holds it; None for what is none."""
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def load_h5py() -> Any:
    """h5py, loaded on first use; one of the extras."""
    try:
        import h5py
    except ImportError:
        raise DatasetError("packs need h5py: pip install 'resharp[pack]'") from None
    return h5py
