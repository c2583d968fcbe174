"""Photos through restorers: grey, alpha, 16 bits, a new size."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import resharp
from resharp.errors import ArgumentError
from resharp.models import contract_of
from resharp.photo import Photo
from resharp.restorers import NetworkRestorer, open_restorer, restore_photo, restore_planes
from tests.conftest import rand
from tests.toy_networks import SMALL, doubler, small


def larger() -> NetworkRestorer:
    network = doubler()
    return NetworkRestorer(network, contract_of(network, "upscale"), precision="float32")


@pytest.mark.parametrize("kind", SMALL)
def test_grey_stays_grey(kind: str) -> None:
    grey, restorer = rand(1, 20, 24, dtype=torch.float32), small(kind)
    known = {"segmentation": torch.full((8, 20, 24), 1 / 8)} if "segmentation" in restorer.accepts else {}
    colour = restorer(grey.expand(3, -1, -1), **known).image
    assert_close(restore_planes(grey, restorer, **known).image, colour.mean(0, keepdim=True))


@pytest.mark.parametrize("grey", [False, True])
def test_everything_beside_the_pixels_is_kept(grey: bool, tmp_path: Path) -> None:
    planes = rand(1 if grey else 3, 20, 24, dtype=torch.float32)
    photo = Photo(planes.expand(3, -1, -1), grey=grey, depth=16, alpha=torch.linspace(0, 1, 24).expand(20, -1))
    restored, made = restore_photo(photo, larger())
    assert restored.planes.shape == ((1 if grey else 3), 40, 48)
    assert (restored.grey, restored.depth) == (grey, 16)
    assert torch.equal(restored.planes, made.image)
    assert restored.alpha is not None
    assert restored.alpha.shape == (40, 48)
    assert_close(restored.alpha[7], torch.linspace(-1 / 92, 1 + 1 / 92, 48).clamp(0, 1), atol=0.01, rtol=0)
    resharp.write_photo(restored, tmp_path / "x.png")
    again = resharp.read_photo(tmp_path / "x.png")
    assert again.depth == 16
    assert_close(again.image, restored.image, rtol=0, atol=0.51 / 65535)


def test_alpha_of_the_same_size_is_not_touched() -> None:
    alpha = rand(20, 24, dtype=torch.float32)
    photo = Photo(rand(3, 20, 24, dtype=torch.float32), alpha=alpha)
    restored, _ = restore_photo(photo, open_restorer(lambda image: 1 - image))
    assert restored.alpha is alpha
    assert torch.equal(restored.image, 1 - photo.image)


def test_tensors_are_no_photos() -> None:
    with pytest.raises(ArgumentError, match=r"takes a Photo, .*not a Tensor; restore_planes takes tensors"):
        restore_photo(rand(3, 8, 8), small("unet"))  # type: ignore[arg-type]


def test_knowledge_and_seed_are_handed_on() -> None:
    seen: list[float] = []

    def told(image: Tensor, noise_sigma: float) -> Tensor:
        seen.append(noise_sigma)
        return image

    restore_photo(Photo(rand(3, 8, 8, dtype=torch.float32)), open_restorer(told), noise_sigma=0.25)
    assert seen == [0.25]
    photo = Photo(rand(3, 20, 24, dtype=torch.float32))
    sampled = small("deblurgan", samples=1)
    one, other = (restore_photo(photo, sampled, seed=seed)[0].image for seed in (1, 2))
    assert not torch.equal(one, other)
