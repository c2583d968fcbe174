"""One call from picture to picture: forms of images, and what each verb asks of its model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import resharp
from resharp.errors import ArgumentError, WeightsError
from resharp.image import as_image, like_input
from resharp.networks import UNet
from tests.conftest import rand
from tests.toy_networks import SMALL, doubler, saved, shaken, small

KERNEL = resharp.disk_kernel(2)


def test_all_forms_of_an_image_give_the_same_result() -> None:
    tensor = (rand(3, 40, 44, dtype=torch.float32) * 255).round() / 255
    array = (tensor * 255).round().byte().permute(1, 2, 0).numpy()
    restorer = small("unet")
    expected = resharp.deblur(tensor, model=restorer)
    assert torch.equal(expected, restorer(tensor).image)
    assert torch.equal(resharp.deblur(torch.stack([tensor, tensor.flip(-1)]), model=restorer)[0], expected)
    assert_close(resharp.deblur(tensor.double(), model=restorer), expected.double())
    eight, sixteen = (resharp.deblur(a, model=restorer) for a in (array, array.astype(np.uint16) * 257))
    assert (eight.dtype, sixteen.dtype) == (np.uint8, np.uint16)
    assert np.abs(eight / 255 - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    assert np.abs(sixteen / 65535 - expected.permute(1, 2, 0).numpy()).max() < 2e-5
    assert resharp.deblur(array[..., 0], model=restorer).shape == (40, 44)


def test_gradients_are_neither_needed_nor_kept() -> None:
    image = rand(3, 20, 24, dtype=torch.float32).requires_grad_()
    restorers = (small("deblurgan"), lambda x: 2 * x)
    assert not any(resharp.deblur(image, model=restorer).requires_grad for restorer in restorers)
    assert not resharp.deconvolve(image, KERNEL, n_iterations=1).requires_grad


def test_a_denoiser_is_told_its_level(tmp_path: Path) -> None:
    network = shaken(UNet(widths=[4], blocks=[1], noise_map=True, generator=torch.Generator().manual_seed(1)))
    path = saved(network, tmp_path / "d.safetensors", "denoise", noise_sigma=(0.0, 0.2))
    image = rand(3, 24, 28, dtype=torch.float32)
    expected = network(image[None], torch.tensor([0.1]))[0].clamp(0, 1)
    assert_close(resharp.denoise(image, 0.1, model=path, precision="float32"), expected)
    assert resharp.denoise(image, model=path).shape == image.shape
    fixed = saved(SMALL["dae"](), tmp_path / "f.safetensors", "denoise", noise_sigma=(0.04, 0.04))
    with pytest.raises(ArgumentError, match="cannot be told noise_sigma"):
        resharp.denoise(image, 0.1, model=fixed)
    assert resharp.denoise(image, model=fixed).shape == image.shape


def test_upscale_makes_a_photo_larger(tmp_path: Path) -> None:
    path = saved(doubler(), tmp_path / "u.safetensors", "upscale", name="tests.toy_networks:Doubler")
    array = (rand(21, 30, 3) * 255).round().byte().numpy()
    larger = resharp.upscale(array, model=resharp.open_restorer(path, network="tests.toy_networks:Doubler"))
    assert (larger.shape, larger.dtype) == ((42, 60, 3), np.uint8)
    with pytest.raises(WeightsError, match="of somebody's own"):
        resharp.upscale(array, model=path)


@pytest.mark.parametrize("verb", [resharp.denoise, resharp.upscale])
def test_a_verb_takes_models_of_its_task_alone(verb: Any, tmp_path: Path) -> None:
    image = rand(3, 16, 16, dtype=torch.float32)
    with pytest.raises(WeightsError, match="is for the task 'deblur', not for"):
        verb(image, model=saved(SMALL["unet"](), tmp_path / "w.safetensors"))
    with pytest.raises(ArgumentError, match="is for the task 'deblur', not for"):
        verb(image, model=small("unet"))


NO_IMAGES = [
    torch.zeros(24, 24),
    torch.zeros(4, 24, 24),
    torch.full((3, 24, 24), 255.0),
    torch.full((3, 24, 24), float("nan")),
    torch.zeros(3, 24, 24, dtype=torch.uint8),
    np.zeros((24, 24, 4), np.uint8),
    np.zeros((24, 24, 3), np.int64),
    np.zeros((0, 24, 3), np.uint8),
]


@pytest.mark.parametrize("image", NO_IMAGES)
def test_what_is_no_image_is_named(image: Any) -> None:
    with pytest.raises(ArgumentError):
        resharp.deblur(image, model=small("unet"))
    with pytest.raises(ArgumentError):
        resharp.deconvolve(image, KERNEL)


def test_blur_takes_what_deconvolve_takes() -> None:
    array = np.random.default_rng(0).integers(0, 256, (24, 26, 3), np.uint8)
    blurred = resharp.blur(array, "disk:2")
    assert blurred.dtype == np.uint8
    expected = resharp.blur(torch.from_numpy(array).permute(2, 0, 1) / 255, KERNEL)
    assert np.abs(blurred / 255 - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    with pytest.raises(ArgumentError):
        resharp.blur(array.astype(float), KERNEL)


def test_images_come_back_as_they_came() -> None:
    for array in (
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        np.arange(0, 65536, 97, dtype=np.uint16)[:300].reshape(10, 10, 3),
        np.linspace(0, 1, 300, dtype=np.float64).reshape(10, 10, 3).astype(np.float32),
    ):
        again = like_input(as_image(array), array)
        assert again.dtype == array.dtype
        assert (again == array).all()
