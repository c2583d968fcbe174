"""The blur of a photo as a value and as a file."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from resharp.degradations import Blur, disk_kernel, motion_kernel
from resharp.degradations.blur_field import BlurField, read_field, uniform_field, write_field
from resharp.errors import KernelError
from resharp.kernel_estimation import draw_field
from tests.conftest import rand


def some_field(height: int = 60, width: int = 80) -> BlurField:
    kernels = rand(2, 3, 5, 5, dtype=torch.float32)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    rows, columns = torch.tensor([0.25, 0.75]).double(), torch.tensor([0.1, 0.5, 0.9]).double()
    return BlurField(kernels, rows, columns, rand(2, 3, dtype=torch.float32), (height, width), 2.2, 0.3)


def test_a_field_is_read_as_it_was_written(tmp_path: Path) -> None:
    field = some_field()
    write_field(field, tmp_path / "blur.npz")
    again = read_field(tmp_path / "blur.npz")
    for name in ("kernels", "rows", "columns", "trust"):
        assert_close(getattr(again, name), getattr(field, name))
    assert (again.size, again.gamma, again.doubt) == ((60, 80), 2.2, 0.3)
    assert_close(again.degradation()(rand(3, 64, 84)), field.degradation()(rand(3, 64, 84)))


def test_one_kernel_for_a_whole_photo() -> None:
    kernel = motion_kernel(9, 0)
    field = uniform_field(kernel, (20, 30))
    image = rand(3, 28, 38)
    assert_close(field.degradation()(image), Blur(field.kernels[0, 0])(image))
    assert float(field.kernels.sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernels": np.zeros((2, 3, 5, 5))}, "zero everywhere"),
        ({"kernels": np.full((2, 3, 5, 5), np.nan)}, "NaN"),
        ({"kernels": np.ones((2, 3, 4, 4))}, "odd"),
        ({"kernels": np.ones((2, 3, 5))}, "not \\(rows, columns, side, side\\)"),
        ({"rows": np.array([0.8, 0.2])}, "rising"),
        ({"columns": np.array([0.2, 0.8])}, "3 kernels"),
        ({"trust": np.ones((3, 2))}, "different sizes"),
        ({"gamma": np.array(7.0)}, "gamma is 7"),
        ({"version": np.array(99)}, "another version"),
        ({"trust": np.array([["a", "b", "c"], ["d", "e", "f"]])}, "no numbers"),
        ({"size": None}, "lacks size"),
        ({"doubt": np.ones(2)}, "different sizes"),
    ],
)
def test_a_file_edited_to_nonsense_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray | None], message: str
) -> None:
    path = tmp_path / "blur.npz"
    write_field(some_field(), path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(path, **arrays)
    with pytest.raises(ValueError if "gamma" in message else KernelError, match=message):
        read_field(path)


def test_kernels_of_ones_own_need_no_doubt(tmp_path: Path) -> None:
    path = tmp_path / "blur.npz"
    write_field(some_field(), path)
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file if name != "doubt"})
    assert read_field(path).doubt == 0


def an_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken", an_array()])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "blur.npz"
    path.write_bytes(content)
    with pytest.raises(KernelError, match="is no field of blur"):
        read_field(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"none\.npz: cannot be read"):
        read_field(tmp_path / "none.npz")


def test_the_field_of_another_photo_is_refused() -> None:
    with pytest.raises(KernelError, match="photo of 80x60, not 80x61; find it anew"):
        some_field().check_fits(rand(3, 61, 80))


def test_kernels_are_drawn_at_their_places() -> None:
    photo = torch.full((3, 90, 120), 0.5)
    field = uniform_field(disk_kernel(2), (90, 120))
    drawn = draw_field(photo, field)
    assert drawn.shape == photo.shape
    assert float(drawn[0, 45, 60]) > 0.9  # the kernel's middle, bright
    assert_close(drawn[:, 0, 0], photo[:, 0, 0] * 0.45)


def test_kernels_larger_than_the_photo_are_drawn_as_far_as_they_go() -> None:
    photo = rand(3, 9, 7, dtype=torch.float32)
    drawn = draw_field(photo, uniform_field(disk_kernel(20), (9, 7)))
    assert drawn.shape == photo.shape
    assert float(drawn.max()) <= 1
