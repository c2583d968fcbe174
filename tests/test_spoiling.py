"""Lens blur, noise and compression against closed forms and other libraries."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import convolve
from torch.testing import assert_close

from resharp.degradations import Defocus, GaussianBlur, Jpeg, KernelBlur, Noise, reflect_padded
from resharp.degradations.kernels import gaussian_kernel
from resharp.errors import KernelError
from tests.conftest import rand


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (9, 4)])
@pytest.mark.parametrize("margin", [(0, 0), (3, 1), (12, 30)])
def test_reflection_is_numpys(size: tuple[int, int], margin: tuple[int, int]) -> None:
    image = rand(2, *size)
    rows, columns = margin
    expected = np.pad(image.numpy(), [(0, 0), (rows, rows), (columns, columns)], mode="reflect")
    assert_close(reflect_padded(image, margin), torch.from_numpy(expected))


@pytest.mark.parametrize("kernel", ["disk:2.5", "motion:9,30", ((0.0, 1.0, 2.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0))])
def test_kernel_blur_is_scipys_mirrored_convolution(kernel: object) -> None:
    blur, image = KernelBlur(kernel), rand(3, 20, 24)  # type: ignore[arg-type]
    weights = blur.point_spread().double().numpy()
    expected = np.stack([convolve(plane, weights, mode="mirror") for plane in image.numpy()])
    assert_close(blur(image, generator=generator()), torch.from_numpy(expected), atol=1e-9, rtol=0)


def test_gamma_blurs_light_and_not_pixel_values() -> None:
    image = rand(3, 24, 24)
    weights = Defocus(2.0).point_spread().double().numpy()
    light = np.stack([convolve(plane, weights, mode="mirror") for plane in image.numpy() ** 2.2])
    blurred = Defocus(2.0, gamma=2.2)(image, generator=generator())
    assert_close(blurred, torch.from_numpy(light ** (1 / 2.2)), atol=1e-7, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_an_anisotropic_gaussian_has_the_covariance_that_it_says(angle: float) -> None:
    kernel = gaussian_kernel(4.0, 1.5, angle).double()
    reach = kernel.shape[0] // 2
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    x, y = axis[None, :], -axis[:, None]  # y upward, as angles turn
    turn = np.radians(angle)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    expected = 16 * np.outer(along, along) + 2.25 * np.outer(across, across)
    covariance = [[float((kernel * a * b).sum()) for a in (x, y)] for b in (x, y)]
    np.testing.assert_allclose(covariance, expected, rtol=0.01, atol=0.02)
    assert torch.equal(GaussianBlur(4.0, 1.5, angle).point_spread(), gaussian_kernel(4.0, 1.5, angle))


def test_a_kernel_file_is_kept_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "kernel.npy"
    np.save(path, np.array([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]]))
    blur = KernelBlur(str(path))
    path.unlink()
    assert blur.kernel == ((0.0, 0.125, 0.0), (0.125, 0.5, 0.125), (0.0, 0.125, 0.0))


def test_shot_noise_is_poisson() -> None:
    image = torch.full((1, 300, 300), 0.3)
    noisy = Noise(0.0, photons=50)(image, generator=generator(1))
    assert float(noisy.mean()) == pytest.approx(0.3, rel=0.01)
    assert float(noisy.var()) == pytest.approx(0.3 / 50, rel=0.02)
    assert_close(noisy * 50, (noisy * 50).round(), atol=1e-4, rtol=0)


def test_read_noise_is_white_and_gaussian() -> None:
    noise = Noise(0.1)(torch.zeros(1, 300, 300), generator=generator(2))
    assert float(noise.std()) == pytest.approx(0.1, rel=0.01)
    assert float((noise.abs() < 0.1).float().mean()) == pytest.approx(0.6827, abs=0.006)
    assert float((noise[:, :, 1:] * noise[:, :, :-1]).mean()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [10, 75, 100])
def test_jpeg_is_what_pillow_makes_of_it(channels: int, quality: int) -> None:
    smooth = torch.nn.functional.avg_pool2d(rand(channels, 70, 70, dtype=torch.float32), 7, stride=1)
    pixels = smooth.mul(255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    expected = np.asarray(Image.open(buffer)).reshape(64, 64, channels)
    result = Jpeg(quality, "4:4:4")(smooth, generator=generator()).mul(255).round().permute(1, 2, 0).numpy()
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("kernel", [3, [1.0, 2.0], ((1.0, 2.0, 3.0), (1.0,)), (("a",),), None])
def test_what_is_no_rows_of_numbers_is_no_kernel(kernel: object) -> None:
    with pytest.raises(KernelError):
        KernelBlur(kernel)  # type: ignore[arg-type]


def test_arrays_and_tensors_are_kernels_too() -> None:
    expected = KernelBlur(((1 / 3,), (1 / 3,), (1 / 3,)))
    assert KernelBlur(np.ones((3, 1))) == KernelBlur(torch.ones(3, 1)) == expected  # type: ignore[arg-type]
