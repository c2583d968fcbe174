"""NIQE against the authors' figure for a known picture, and against a slow literal transcription of the paper."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, special
from scipy.io import savemat

from resharp.degradations import gaussian_kernel
from resharp.errors import ArgumentError, WeightsError
from resharp.metrics import load_pristine, niqe
from resharp.photo import read_photo
from tests.conftest import rand, reference

Array = NDArray[np.float64]


def fitted(values: Array) -> tuple[float, float, float]:
    values = values.ravel()
    left, right = (math.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes = np.arange(0.2, 10.001, 0.001)
    known = special.gamma(2 / shapes) ** 2 / (special.gamma(1 / shapes) * special.gamma(3 / shapes))
    shape = shapes[np.argmin((known - moment) ** 2)]
    scale = math.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return float(shape), left * scale, right * scale


def features(block: Array) -> list[float]:
    shape, left, right = fitted(block)
    row = [shape, (left + right) / 2]
    for down, aside in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = fitted(block * np.roll(block, (down, aside), axis=(0, 1)))
        row += [shape, (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape), left, right]
    return row


def halved(image: Array) -> Array:
    """Keys' cubic over eight pixels, mirrored at the edges, along both axes."""
    places = np.abs(np.arange(8) - 3.5) / 2
    near, far = 1.5 * places**3 - 2.5 * places**2 + 1, -0.5 * places**3 + 2.5 * places**2 - 4 * places + 2
    kernel = np.where(places <= 1, near, far) / 2
    for axis in (0, 1):
        mirrored = np.moveaxis(np.pad(image, [(3, 3) if axis == a else (0, 0) for a in (0, 1)], "symmetric"), axis, 0)
        rows = [kernel @ mirrored[2 * i : 2 * i + 8].reshape(8, -1) for i in range(image.shape[axis] // 2)]
        image = np.moveaxis(np.stack(rows), 0, axis)
    return image


def literal(levels: Array) -> float:
    """Of grey levels 0..255 whose sides are multiples of 96."""
    line = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    rows: list[list[float]] = [[] for _ in range(levels.size // 96**2)]
    for side in (96, 48):
        mean = ndimage.correlate(levels, window, mode="nearest")
        power = ndimage.correlate(levels**2, window, mode="nearest")
        normalised = (levels - mean) / (np.sqrt(np.abs(power - mean**2)) + 1)
        n_across = levels.shape[1] // side
        for number, row in enumerate(rows):
            top, left = number // n_across * side, number % n_across * side
            row += features(normalised[top : top + side, left : left + side])
        levels = halved(levels)
    matrix, pristine = np.array(rows), load_pristine()
    difference = matrix.mean(axis=0) - pristine.mean.numpy()
    spread = (pristine.covariance.numpy() + np.cov(matrix, rowvar=False)) / 2
    return float(np.sqrt(difference @ np.linalg.solve(spread, difference)))


def textured(*size: int, seed: int = 0) -> torch.Tensor:
    """Grey noise of several scales; nowhere flat, where the sign of a normalised level would hang on rounding."""
    noise = rand(1, 1, *size, seed=seed)
    for kernel in (3, 9, 27):
        noise = noise + torch.nn.functional.avg_pool2d(noise, kernel, 1, kernel // 2)
    return ((noise - noise.min()) / (noise.max() - noise.min()))[0]


def test_the_baboon_scores_as_with_the_authors_code() -> None:
    """From MATLAB, as BasicSR's documentation has it; rounding counts for the last digits in its few flat places."""
    baboon = read_photo(reference("sr", "set14", "hr", "001.png")).image
    assert float(niqe(baboon)) == pytest.approx(5.72957338, abs=1e-4)


def test_the_shipped_statistics_are_the_published_ones() -> None:
    with np.load(reference("reference", "niqe", "niqe_pris_params.npz")) as file:
        assert np.array_equal(load_pristine().mean.numpy(), file["mu_pris_param"][0])
        assert np.array_equal(load_pristine().covariance.numpy(), file["cov_pris_param"])


def test_the_figure_is_the_literal_one() -> None:
    image = textured(192, 288)
    assert float(niqe(image)) == pytest.approx(literal((255 * image[0]).round().numpy()), abs=1e-8)


def test_rounding_in_flat_places_does_not_count() -> None:
    """A level more or less everywhere changes no texture, but every rounding."""
    image = textured(192, 288).mul(200).round()
    image[:, 30:70, 40:150] = 100
    figures = [float(niqe((image + shift) / 255)) for shift in range(4)]
    assert figures == pytest.approx([figures[0]] * 4, abs=1e-9)


def test_what_is_left_of_whole_blocks_does_not_count() -> None:
    image = textured(205, 300)
    assert float(niqe(image)) == pytest.approx(float(niqe(image[:, :192, :288])), abs=1e-12)


def test_noise_and_blur_are_unnatural() -> None:
    sharp = read_photo(reference("kodak24", "5.png")).image[:, :384, :384]
    blurred = torch.nn.functional.conv2d(sharp[:, None], gaussian_kernel(2.0)[None, None], padding="same")[:, 0]
    noisy = (sharp + 0.1 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert float(niqe(sharp)) < min(float(niqe(blurred)), float(niqe(noisy)))


def test_flat_blocks_are_left_out_and_nothing_but_them_is_no_number() -> None:
    image = textured(96, 288)
    assert math.isnan(float(niqe(torch.full((1, 96, 192), 0.5))))
    image[..., :96] = 0
    assert math.isfinite(float(niqe(image)))


@pytest.mark.parametrize("size", [(96, 96), (95, 500), (96, 191)])
def test_an_image_of_one_block_has_no_spread(size: tuple[int, int]) -> None:
    with pytest.raises(ArgumentError, match=rf"{size[1]}x{size[0]} pixels is too small.*96x96"):
        niqe(rand(1, *size))


def test_other_statistics_come_from_a_file(tmp_path: Path) -> None:
    mean, covariance = np.arange(36.0), 2 * np.eye(36)
    np.savez(tmp_path / "own.npz", mu_pris_param=mean[None], cov_pris_param=covariance)
    own = load_pristine(tmp_path / "own.npz")
    assert own.mean.tolist() == mean.tolist()
    assert float(niqe(textured(96, 192), pristine=own)) > float(niqe(textured(96, 192)))


def test_files_without_statistics_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "short.npz", mu_pris_param=np.zeros(35), cov_pris_param=np.eye(36))
    np.savez(tmp_path / "broken.npz", mu_pris_param=np.full(36, np.nan), cov_pris_param=np.eye(36))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.savez(tmp_path / "objects.npz", mu_pris_param=np.array([{}]), cov_pris_param=np.eye(36))
    savemat(tmp_path / "modelparameters.mat", {"mu_prisparam": np.zeros(36)})
    for name in ("short.npz", "broken.npz", "other.npz", "objects.npz", "modelparameters.mat", "missing.npz", "."):
        with pytest.raises(WeightsError, match="no statistics for NIQE") as caught:
            load_pristine(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)
