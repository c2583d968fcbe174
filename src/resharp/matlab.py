"""MATLAB files of any version, for kernels and foreign weights; needs the extra `resharp[matlab]`."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np


def read_mat(path: str | Path) -> dict[str, Any]:
    """The variables of a .mat file, in MATLAB's own shapes; cell arrays come as object arrays.

    Raises ValueError, in the user's words, for what cannot be read.  No code from the file is run.
    """
    try:
        with Path(path).open("rb") as file:
            is_hdf5 = b"MATLAB 7.3" in file.read(128)
        return _read_hdf5(path) if is_hdf5 else _read_mat5(path)
    except ImportError:
        raise ValueError("reading .mat files takes more: pip install 'resharp[matlab]'") from None
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except Exception as error:  # parsers of foreign bytes fail in many ways; none is ours
        raise ValueError(f"cannot be read as a MATLAB file ({error})") from None


def _read_mat5(path: str | Path) -> dict[str, Any]:
    contents: dict[str, Any] = importlib.import_module("scipy.io").loadmat(path)
    return {name: value for name, value in contents.items() if not name.startswith("__")}


def _read_hdf5(path: str | Path) -> dict[str, Any]:
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "r") as file:
        return {name: _hdf5_value(file, item) for name, item in file.items() if isinstance(item, h5py.Dataset)}


def _hdf5_value(file: Any, item: Any) -> Any:
    """Version 7.3 stores columns first: every array comes transposed, and so do cells."""
    value = np.asarray(item[()]).T
    if value.dtype != object:
        return value
    cells = np.empty(value.shape, dtype=object)
    for place in np.ndindex(value.shape):
        cells[place] = _hdf5_value(file, file[value[place]])
    return cells
