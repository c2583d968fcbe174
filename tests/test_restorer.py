import numpy as np
import pytest
import torch
from torch.testing import assert_close

import resharp
from resharp.demo import demo_inputs
from resharp.errors import ArgumentError, KernelError
from resharp.image import as_image, like_input
from tests.conftest import rand

KERNEL = resharp.disk_kernel(2)


def blurred_patch() -> tuple[torch.Tensor, torch.Tensor]:
    sharp = demo_inputs()[0][:, 100:196, 60:156]
    return sharp, resharp.blur(sharp, KERNEL, 0.005).clamp(0, 1)


def test_it_sharpens_with_and_without_the_noise_level() -> None:
    sharp, blurred = blurred_patch()
    before = float(resharp.psnr(blurred, sharp))
    for noise_sigma in (0.005, None):
        restored = resharp.deconvolve(blurred, KERNEL, noise_sigma, n_iterations=60)
        assert float(resharp.psnr(restored, sharp)) > before + 1.5
        assert 0 <= float(restored.min()) <= float(restored.max()) <= 1


def test_the_noise_estimate_is_near_the_truth_above_its_floor() -> None:
    sharp, _ = blurred_patch()
    kernel = resharp.gaussian_kernel(3.0)
    floor = (2 * float(kernel.square().sum())) ** 0.5 * 11 / 255
    for sigma in (0.02, 0.04):
        found: list[float] = []
        noisy = resharp.blur(sharp, kernel, sigma, seed=3)

        def on_step(step: resharp.Step, found: list[float] = found) -> None:
            found.append(float(step.noise_sigma))

        resharp.deconvolve(noisy, kernel, n_iterations=40, on_step=on_step)
        assert found[-1] == pytest.approx((sigma**2 + floor**2) ** 0.5, rel=0.1)


def test_all_forms_of_an_image_give_the_same_result() -> None:
    tensor = (blurred_patch()[1][:, :40, :44] * 255).round() / 255
    array = (tensor * 255).round().byte().permute(1, 2, 0).numpy()
    options = {"noise_sigma": 0.01, "n_iterations": 3, "precision": "float32"}
    expected = resharp.deconvolve(tensor, KERNEL, **options)
    assert_close(resharp.deconvolve(tensor[None], KERNEL, **options)[0], expected)
    assert_close(resharp.deconvolve(tensor.double(), KERNEL.numpy(), **options), expected.double())
    eight = resharp.deconvolve(array, KERNEL, **options)
    assert eight.dtype == np.uint8
    assert np.abs(eight.astype(float) / 255 - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    sixteen = resharp.deconvolve(array.astype(np.uint16) * 257, KERNEL, **options)
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 65535 - expected.permute(1, 2, 0).numpy()).max() < 2e-5


def test_odd_but_legal_arrays() -> None:
    image = (blurred_patch()[1][:, :24, :26] * 65535).round().permute(1, 2, 0).numpy().astype(np.uint16)
    kernel = np.array([[1, 2, 0], [0, 3, 0], [0, 0, 4]])
    options = {"n_iterations": 2, "precision": "float32"}
    expected = resharp.deconvolve(image, kernel, **options)
    swapped = resharp.deconvolve(image.astype(">u2"), kernel.astype(np.uint8), **options)
    assert swapped.dtype == np.dtype(">u2")
    assert (swapped == expected).all()
    mirrored = resharp.deconvolve(image[:, ::-1], kernel[:, ::-1], **options)
    assert mirrored.shape == expected.shape
    fixed = kernel.copy()
    fixed.flags.writeable = False
    assert (resharp.deconvolve(np.asfortranarray(image), fixed, **options) == expected).all()


def test_gradients_are_neither_needed_nor_kept() -> None:
    image = blurred_patch()[1][:, :24, :26].requires_grad_()
    assert not resharp.deconvolve(image, KERNEL, n_iterations=2).requires_grad


def test_a_loaded_prior_is_what_its_weights_are() -> None:
    image = blurred_patch()[1][:, :24, :26]
    prior = resharp.load_prior("dae-sigma11")
    assert torch.equal(
        resharp.deconvolve(image, KERNEL, n_iterations=2, prior=prior),
        resharp.deconvolve(image, KERNEL, n_iterations=2),
    )


def test_blur_takes_what_deconvolve_takes() -> None:
    array = np.random.default_rng(0).integers(0, 256, (24, 26, 3), np.uint8)
    blurred = resharp.blur(array, "disk:2")
    assert blurred.dtype == np.uint8
    expected = resharp.blur(torch.from_numpy(array).permute(2, 0, 1) / 255, KERNEL)
    assert np.abs(blurred / 255 - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    with pytest.raises(ArgumentError):
        resharp.blur(array.astype(float), KERNEL)


def test_grey_is_solved_as_grey() -> None:
    grey = blurred_patch()[1].mean(0, keepdim=True)[:, :40, :40]
    restored = resharp.deconvolve(grey, "disk:2", 0.01, n_iterations=3)
    assert restored.shape == grey.shape
    assert resharp.deconvolve(grey[0].numpy(), "disk:2", 0.01, n_iterations=3).shape == (40, 40)


def test_one_pixel_with_a_one_pixel_kernel() -> None:
    restored = resharp.deconvolve(torch.full((3, 1, 1), 0.5), torch.ones(1, 1), 0.01, n_iterations=2)
    assert restored.shape == (3, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"noise_sigma": -0.1}, "0 or above"),
        ({"noise_sigma": 0.0}, "leave it out"),
        ({"noise_sigma": 2.55}, r"2\.55 levels = 0\.01"),
        ({"noise_sigma": float("nan")}, "0 or above"),
        ({"n_iterations": 0}, "at least 1"),
        ({"precision": "half"}, "choose auto"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        resharp.deconvolve(rand(3, 24, 24, dtype=torch.float32), KERNEL, **arguments)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(24, 24),
        torch.zeros(4, 24, 24),
        torch.full((3, 24, 24), 255.0),
        torch.full((3, 24, 24), float("nan")),
        torch.zeros(3, 24, 24, dtype=torch.uint8),
        np.zeros((24, 24, 2), np.uint8),
        np.zeros((24, 24, 3), np.int64),
        np.zeros((0, 24, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_named(image: object) -> None:
    with pytest.raises(ArgumentError):
        resharp.deconvolve(image, KERNEL)


def test_a_kernel_larger_than_the_photo_is_named() -> None:
    with pytest.raises(KernelError, match="larger than the photo"):
        resharp.deconvolve(rand(3, 24, 4), KERNEL)


def test_images_come_back_as_they_came() -> None:
    for array in (
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        np.arange(0, 65536, 97, dtype=np.uint16)[:300].reshape(10, 10, 3),
        np.linspace(0, 1, 300, dtype=np.float64).reshape(10, 10, 3).astype(np.float32),
    ):
        again = like_input(as_image(array), array)
        assert again.dtype == array.dtype
        assert (again == array).all()
