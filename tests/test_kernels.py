import math
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
import torch
from torch.testing import assert_close

from resharp.degradations import (
    checked_kernel,
    disk_kernel,
    gaussian_kernel,
    load_kernel,
    motion_kernel,
    parse_kernel,
    write_kernel,
)
from resharp.errors import KernelError
from tests.conftest import rand, reference


@pytest.mark.parametrize("text", ["gaussian:1.6", "gaussian:0.2", "disk:3", "disk:0.4", "motion:15,30", "motion:1,0"])
def test_shapes_are_kernels(text: str) -> None:
    kernel = parse_kernel(text)
    assert kernel.dtype == torch.float32
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert float(kernel.min()) >= 0
    assert_close(float(kernel.double().sum()), 1.0, rtol=0, atol=1e-6)


def moments(kernel: torch.Tensor) -> tuple[float, float, float]:
    """(variance along x, along y up, covariance) about the centre."""
    rows, columns = kernel.shape
    y = -(torch.arange(rows).double() - rows // 2)[:, None]
    x = (torch.arange(columns).double() - columns // 2)[None, :]
    k = kernel.double()
    return float((k * x * x).sum()), float((k * y * y).sum()), float((k * x * y).sum())


def test_shapes_have_the_moments_of_the_closed_form() -> None:
    assert moments(gaussian_kernel(1.6))[:2] == pytest.approx((1.6**2, 1.6**2), rel=5e-3)
    pixel = 1 / 12  # variance that each axis gains from pixels being squares
    assert moments(disk_kernel(4))[:2] == pytest.approx((4**2 / 4 + pixel, 4**2 / 4 + pixel), rel=0.01)
    angle = math.radians(30)
    xx, yy, xy = moments(motion_kernel(15, 30))
    assert xx - yy == pytest.approx((15**2 / 12 - 1 / 12) * math.cos(2 * angle), rel=0.02)
    assert xy == pytest.approx((15**2 / 12 - 1 / 12) * math.sin(2 * angle) / 2, rel=0.02)
    assert xx + yy == pytest.approx(15**2 / 12 + 1 / 12 + 2 * pixel, rel=0.02)


def test_files_of_every_kind_give_the_same_kernel(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).integers(1, 255, (5, 7)).astype(np.float64)
    expected = torch.from_numpy(kernel / kernel.sum()).float()
    cv2.imwrite(str(tmp_path / "k.png"), kernel.astype(np.uint8))
    np.save(tmp_path / "k.npy", kernel)
    scipy.io.savemat(tmp_path / "k5.mat", {"kernel": kernel})
    with h5py.File(tmp_path / "k73.mat", "w", userblock_size=512) as file:
        file["kernel"] = kernel.T  # MATLAB writes columns first
    with (tmp_path / "k73.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, made by hand")
    for name in ("k.png", "k.npy", "k5.mat", "k73.mat"):
        assert_close(load_kernel(tmp_path / name), expected)


def test_a_kernel_that_was_written_is_read_again(tmp_path: Path) -> None:
    kernel = motion_kernel(9, 30)
    write_kernel(kernel, tmp_path / "k.png")
    assert_close(load_kernel(tmp_path / "k.png"), kernel, rtol=0, atol=1e-5)


def test_cells_hold_several_kernels(tmp_path: Path) -> None:
    cell = np.empty((2, 2), dtype=object)
    for index, place in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):  # MATLAB counts down the columns
        cell[place] = np.full((3, 2 * index + 3), 1.0)
    scipy.io.savemat(tmp_path / "c5.mat", {"kernels": cell})
    with h5py.File(tmp_path / "c73.mat", "w", userblock_size=512) as file:
        stored = file.create_dataset("kernels", (2, 2), h5py.ref_dtype)
        for index in range(4):
            file[f"#refs#/{index}"] = np.full((3, 2 * index + 3), 1.0).T
            stored[index // 2, index % 2] = file[f"#refs#/{index}"].ref
    with (tmp_path / "c73.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, made by hand")
    for name in ("c5.mat", "c73.mat"):
        for number in range(1, 5):
            assert load_kernel(f"{tmp_path / name}#{number}").shape == (3, 2 * number + 1)
        with pytest.raises(KernelError, match="holds 4 kernels"):
            load_kernel(tmp_path / name)
        with pytest.raises(KernelError, match="1 to 4"):
            load_kernel(f"{tmp_path / name}#5")


def test_published_kernels_have_their_published_sizes() -> None:
    path = reference("reference", "dmsp", "kernels.mat")
    kernels = [load_kernel(f"{path}#{number}") for number in range(1, 6)]
    assert [tuple(k.shape) for k in kernels] == [(35, 25), (29, 31), (33, 37), (31, 37), (29, 29)]
    energies = [float(k.double().square().sum()) for k in kernels]
    assert energies == pytest.approx([0.02155, 0.01755, 0.01243, 0.03117, 0.01012], abs=6e-6)


def test_matlab_7_3_kernels_are_transposed_back() -> None:
    path = reference("levin", "Levin09.mat")
    for number in (1, 2, 3):
        stored = load_kernel(f"{path}#{number}")
        drawn = load_kernel(reference("levin", "kernels", f"kernel{number}.png"))
        assert_close(stored, drawn, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((4, 5)), "must be odd"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.array([[0, 1, -0.5]]), "negative"),
        (np.array([[np.nan, 1, 1]]), "NaN"),
        (np.ones((3, 3, 3)), "one plane"),
        (np.array([["a", "b", "c"]]), "holds"),
    ],
)
def test_what_is_no_kernel_is_named(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(KernelError, match=words) as caught:
        load_kernel(tmp_path / "k.npy")
    assert "k.npy" in str(caught.value)


def test_large_numbers_do_not_overflow(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.full((3, 3), 1e308))
    assert_close(load_kernel(tmp_path / "k.npy"), torch.full((3, 3), 1 / 9))


@pytest.mark.parametrize("name", ["k.npy", "k.mat", "k.png"])
def test_files_that_are_something_else_are_named(tmp_path: Path, name: str) -> None:
    contents = [b"", b"\x93NUMPY\x01\x00v\x00{'descr'", b"PK\x03\x04 no zip", b"MATLAB 7.3 MAT-file" + b" " * 200]
    np.savez(tmp_path / "archive.npz", np.ones((3, 3)))
    for content in [*contents, (tmp_path / "archive.npz").read_bytes()]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KernelError, match=name):
            load_kernel(tmp_path / name)


def test_straight_motion_gets_no_empty_rows() -> None:
    assert motion_kernel(101, 0).shape == (1, 101)
    assert motion_kernel(101, 90).shape == (101, 1)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(KernelError, match="cannot be read"):
        load_kernel(tmp_path / "k.npy")


@pytest.mark.parametrize(
    "text",
    ["gaussian:", "gaussian:x", "gaussian:1,2", "gaussian:-1", "gaussian:nan", "gaussian:1e9", "disk:0", "motion:15",
     "motion:0,3", "motion:5,inf", "box:3", "missing.png", "."],
)  # fmt: skip
def test_misspelt_kernels_say_how_to_write_them(text: str) -> None:
    with pytest.raises(KernelError) as caught:
        parse_kernel(text)
    assert "\n" not in str(caught.value)


def test_a_kernel_that_is_normalised_stays_as_it_is() -> None:
    for seed in range(200):
        once = checked_kernel(rand(5, 7, seed=seed))
        assert torch.equal(checked_kernel(once), once)


@pytest.mark.parametrize("radius", [0.001, 0.05, 0.09])
def test_a_disk_smaller_than_the_grid_is_one_pixel(radius: float) -> None:
    kernel = disk_kernel(radius)
    assert kernel.tolist() == [[1]]
