"""The blur of one photo as a value: kernels of places all over the frame, kept in a file and used again."""

import dataclasses
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resharp.errors import KernelError
from resharp.files import reason_of, written_whole

from .kernels import checked_kernel
from .light import checked_gamma
from .varying_blur import VaryingBlur

_VERSION = 1
_PARTS = ("version", "kernels", "rows", "columns", "trust", "size", "gamma")
_DOUBT = "doubt"  # a part that may be left out


@dataclasses.dataclass(frozen=True)
class BlurField:
    """The kernels of a grid of places in a photo.

    kernels: (R, C, n, n) float32, n odd, each of sum 1;  rows (R,), columns (C,): their places, as shares of the
    photo's height and width;  trust: (R, C) in [0, 1], how much of each kernel the photo says at that very place, the
    rest comes from elsewhere in it;  size: (height, width) of the photo;  gamma: the blur happens in
    pixel values ** gamma;  doubt: how little the photo speaks for the kernels, 0 of those that are known, up to .6 of
    most that are right.
    """

    kernels: Tensor
    rows: Tensor
    columns: Tensor
    trust: Tensor
    size: tuple[int, int]
    gamma: float = 1.0
    doubt: float = 0.0

    def degradation(self) -> VaryingBlur:
        """The operator, for images larger than the photo by n - 1."""
        return VaryingBlur(self.kernels, self.rows, self.columns)

    def check_fits(self, photo: Tensor) -> None:
        """Raises KernelError for a photo (..., H, W) of another size."""
        height, width = photo.shape[-2:]
        if (height, width) != self.size:
            raise KernelError(
                f"this blur was found in a photo of {self.size[1]}x{self.size[0]}, not {width}x{height}; find it anew"
            )


def uniform_field(kernel: Tensor, size: tuple[int, int], *, gamma: float = 1.0) -> BlurField:
    """One kernel (n, m) for a whole photo."""
    kernel = checked_kernel(kernel)
    side = max(kernel.shape)
    across, down = ((side - length) // 2 for length in (kernel.shape[1], kernel.shape[0]))
    square = torch.nn.functional.pad(kernel, (across, across, down, down))
    middle = torch.tensor([0.5], dtype=torch.float64)
    return BlurField(square[None, None], middle, middle, torch.ones(1, 1), size, gamma)


def write_field(field: BlurField, path: str | Path) -> None:
    """A `.npz` of plain arrays: kernels, rows, columns, trust, size, gamma, doubt, version."""
    arrays = {name: getattr(field, name).cpu().numpy() for name in ("kernels", "rows", "columns", "trust")}
    arrays |= {"size": np.array(field.size), "gamma": np.array(field.gamma), _DOUBT: np.array(field.doubt)}
    with written_whole(Path(path)) as file:
        np.savez_compressed(file, version=_VERSION, **arrays)


def read_field(path: str | Path) -> BlurField:
    """What `write_field` wrote, or an edited copy.  Raises KernelError for what is no field of blur."""
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            missing = [name for name in _PARTS if name not in file]
            arrays = {name: file[name] for name in (*_PARTS, _DOUBT) if name in file}
    except OSError as error:
        raise KernelError(f"{path}: cannot be read ({reason_of(error)}); name a file written by --blur-out") from None
    except (ValueError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        raise KernelError(f"{path}: is no field of blur; name a file written by --blur-out") from None
    if missing:
        raise KernelError(f"{path}: is no field of blur, it lacks {', '.join(missing)}; name a file of --blur-out")
    if arrays["version"].shape != () or arrays["version"] != _VERSION:
        raise KernelError(f"{path}: is of another version of resharp; find the blur anew")
    return _checked_field(arrays, str(path))


def _checked_field(arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], name: str) -> BlurField:
    numbers = {}
    for part, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise KernelError(f"{name}: {part} are no numbers; find the blur anew")
        numbers[part] = torch.from_numpy(array.astype(np.float64))
    kernels, trust, size = numbers["kernels"], numbers["trust"], numbers["size"]
    doubt = numbers.get(_DOUBT, torch.zeros(()))
    if kernels.ndim != 4 or kernels.shape[2] != kernels.shape[3] or kernels.numel() == 0:
        raise KernelError(f"{name}: its kernels are {tuple(kernels.shape)}, not (rows, columns, side, side)")
    if trust.shape != kernels.shape[:2] or size.shape != (2,) or numbers["gamma"].ndim or doubt.ndim:
        raise KernelError(f"{name}: its parts are of different sizes; find the blur anew")
    whole = [
        checked_kernel(kernel, name=f"{name}, kernel {number}")
        for number, kernel in enumerate(kernels.flatten(0, 1), 1)
    ]
    checked = torch.stack(whole).view(kernels.shape)
    try:
        VaryingBlur(checked, numbers["rows"], numbers["columns"])  # refuses places that are none
    except KernelError as error:
        raise KernelError(f"{name}: {error}") from None
    gamma = checked_gamma(float(numbers["gamma"]))
    height, width = (int(length) for length in size)
    trust = trust.nan_to_num(0).clamp(0, 1).float()
    doubt = doubt.nan_to_num(0).clamp(min=0)
    return BlurField(checked, numbers["rows"], numbers["columns"], trust, (height, width), gamma, float(doubt))
