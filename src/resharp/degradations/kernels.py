"""Blur kernels: float32 (height, width), both odd, not negative, sum 1; the picture that a point of light leaves."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resharp.errors import KernelError, PhotoError
from resharp.matlab import read_mat
from resharp.photo import Photo, read_photo, write_photo

from .naming import SHAPE_EXAMPLES, file_and_number, names_shape, shape_and_numbers

Kernel = Tensor | NDArray[Any] | str | Path
"""A kernel as the Python API takes it: tensor, array, or the text that `--kernel` takes."""

_ROUNDED = 1e-6  # how far from 1 the sum of a normalised kernel may lie
_FINE = 8  # subsamples per pixel and axis for shapes with an edge


def checked_kernel(kernel: Tensor, *, name: str = "kernel") -> Tensor:
    """`kernel` normalised to sum 1, as float32.  Raises KernelError for what is no blur kernel."""
    shape = "x".join(str(n) for n in kernel.shape)
    if kernel.ndim != 2 or kernel.numel() == 0:
        raise KernelError(f"{name}: a kernel is one plane (height, width), not an array of shape ({shape})")
    if kernel.is_complex():
        raise KernelError(f"{name}: holds complex values; a kernel holds numbers of 0 and above")
    is_single = kernel.dtype == torch.float32
    kernel = kernel.detach().cpu().double()
    if not bool(torch.isfinite(kernel).all()):
        raise KernelError(f"{name}: holds NaN or infinite values; a kernel is finite, not negative, with a sum above 0")
    if bool((kernel < 0).any()):
        raise KernelError(f"{name}: holds negative values (down to {kernel.min():.3g}); set them to 0 first")
    if float(kernel.max()) <= 0:
        raise KernelError(f"{name}: is zero everywhere; a kernel has a sum above 0")
    if kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise KernelError(f"{name}: is {shape}; height and width must be odd: add a row or column of zeros")
    if is_single and abs(float(kernel.sum()) - 1) < _ROUNDED:
        return kernel.float()  # as this function gave it: doing it again would change last bits
    kernel = kernel / kernel.max()  # its sum alone might overflow
    return (kernel / kernel.sum()).float()


def gaussian_kernel(sigma: float, sigma_across: float | None = None, angle: float = 0.0) -> Tensor:
    """Gaussian, cut at 4 sigma, in pixels: isotropic, or with `sigma` along `angle` and `sigma_across` across it.

    `angle` in degrees, 0 to the right, counter-clockwise.
    """
    across = sigma if sigma_across is None else sigma_across
    for value in (sigma, across):
        if not 0 < value <= 100:
            raise KernelError(f"gaussian:{value:g}: sigma must lie above 0 and up to 100 pixels")
    if not math.isfinite(angle):
        raise KernelError(f"gaussian: the angle is {angle:g}; it is a number of degrees")
    radius = max(1, math.ceil(4 * max(sigma, across)))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    direction = math.radians(angle)
    x, y = axis[None, :], axis[:, None]
    along = x * math.cos(direction) - y * math.sin(direction)
    beside = x * math.sin(direction) + y * math.cos(direction)
    return checked_kernel(torch.exp(-0.5 * ((along / sigma) ** 2 + (beside / across) ** 2)))


def disk_kernel(radius: float) -> Tensor:
    """Defocus: a uniform disk, radius in pixels, its edge antialiased."""
    if not 0 < radius <= 200:
        raise KernelError(f"disk:{radius:g}: the radius must lie above 0 and up to 200 pixels")
    radius = max(radius, 1 / _FINE)  # less falls between the points of the grid; it is one pixel all the same
    reach = max(1, math.ceil(radius))
    y, x = _fine_grid(reach)
    return checked_kernel(_to_pixels((y**2 + x**2 <= radius**2).double()))


def motion_kernel(length: float, angle: float) -> Tensor:
    """Uniform straight motion over `length` pixels; `angle` in degrees, 0 to the right, counter-clockwise."""
    if not 1 <= length <= 500:
        raise KernelError(f"motion:{length:g},{angle:g}: the length must lie between 1 and 500 pixels")
    if not math.isfinite(angle):
        raise KernelError(f"motion:{length:g},{angle:g}: the angle is a number of degrees")
    direction = math.radians(angle)
    reach = max(1, math.ceil(length / 2))
    y, x = _fine_grid(reach)
    along = x * math.cos(direction) - y * math.sin(direction)
    across = x * math.sin(direction) + y * math.cos(direction)
    return checked_kernel(_to_pixels(((along.abs() <= length / 2) & (across.abs() <= 0.5)).double()))


def _fine_grid(reach: int) -> tuple[Tensor, Tensor]:
    n = (2 * reach + 1) * _FINE
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) / _FINE - (reach + 0.5)
    return axis[:, None], axis[None, :]


def _to_pixels(fine: Tensor) -> Tensor:
    pixels = torch.nn.functional.avg_pool2d(fine[None, None], _FINE)[0, 0]
    while len(pixels) > 1 and not pixels[[0, -1]].any():
        pixels = pixels[1:-1]
    while pixels.shape[1] > 1 and not pixels[:, [0, -1]].any():
        pixels = pixels[:, 1:-1]
    return pixels


_SHAPES: dict[str, Callable[..., Tensor]] = {"gaussian": gaussian_kernel, "disk": disk_kernel, "motion": motion_kernel}


def parse_kernel(text: str) -> Tensor:
    """A kernel from the command line: `gaussian:1.6`, `disk:3`, `motion:15,30` or a file (see `load_kernel`)."""
    if not names_shape(text):
        return load_kernel(text)
    shape, numbers = shape_and_numbers(text)
    return _SHAPES[shape](*numbers)


def load_kernel(text: str | Path) -> Tensor:
    """A kernel from an image file, `.npy`, or `.mat` of any version; `FILE.mat#2` names the second of several."""
    path, number = file_and_number(str(text))
    suffix = Path(path).suffix.lower()
    if suffix == ".mat":
        return _choose(_mat_arrays(path), number, path)
    if number:
        raise KernelError(f"{text}: only .mat files hold several kernels")
    if suffix == ".npy":
        try:
            with Path(path).open("rb") as file:
                array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # a parser of foreign bytes fails in many ways; none is ours
            raise KernelError(f"{path}: cannot be read as an .npy array ({error})") from None
        return checked_kernel(_as_tensor(array, path), name=path)
    try:
        photo = read_photo(path)
    except PhotoError as error:
        raise KernelError(
            f"{error} (a kernel is a PNG, .npy or .mat file, or a shape such as {SHAPE_EXAMPLES})"
        ) from None
    return checked_kernel(photo.image.mean(0), name=path)


def write_kernel(kernel: Tensor, path: str | Path) -> None:
    """A picture of a kernel that `load_kernel` reads: grey, of 16 bits where its format has them, its peak white."""
    shade = (kernel / kernel.max()).cpu().float().expand(3, -1, -1)
    write_photo(Photo(shade, grey=True, depth=16), path)


def as_kernel(kernel: Kernel) -> Tensor:
    """A kernel from whatever the Python API takes: tensor, array, or the text that `--kernel` takes."""
    if isinstance(kernel, str | Path):
        return parse_kernel(str(kernel))
    return checked_kernel(kernel if isinstance(kernel, Tensor) else _as_tensor(kernel, "kernel"))


def _as_tensor(array: NDArray[Any], name: str) -> Tensor:
    if array.dtype.kind not in "fiub":
        raise KernelError(f"{name}: holds {array.dtype} values; a kernel holds numbers")
    return torch.from_numpy(np.array(array, dtype=np.float64))


def _choose(arrays: list[tuple[str, NDArray[Any]]], number: str, path: str) -> Tensor:
    if not arrays:
        raise KernelError(f"{path}: holds no two-dimensional numeric array")
    if not number and len(arrays) > 1:
        raise KernelError(f"{path}: holds {len(arrays)} kernels; name one as {path}#1 ... {path}#{len(arrays)}")
    if number and (not re.fullmatch("[0-9]{1,6}", number) or not 1 <= int(number) <= len(arrays)):
        raise KernelError(f"{path}#{number}: the file holds kernels 1 to {len(arrays)}")
    name, array = arrays[int(number or 1) - 1]
    return checked_kernel(_as_tensor(array, path), name=f"{path} ({name})")


def _mat_arrays(path: str) -> list[tuple[str, NDArray[Any]]]:
    """Every two-dimensional numeric array with its name, those in cells one by one in MATLAB's order."""
    try:
        contents = read_mat(path)
    except ValueError as error:
        raise KernelError(f"{path}: {error}") from None
    found = []
    for name, value in contents.items():
        cells = list(value.ravel(order="F")) if value.dtype == object else [value]
        found += [(name, cell) for cell in cells if _is_plane(cell)]
    return found


def _is_plane(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "fiu" and value.size > 1
