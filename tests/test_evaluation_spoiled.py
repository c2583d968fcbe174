"""Clean photos spoiled by a protocol, and Levin's photos as they are published."""

from pathlib import Path

import pytest
import torch

import resharp
from resharp.data.layouts import open_listing
from resharp.degradations import Noise, Shake, steps_from_text
from resharp.errors import DatasetError, RecipeError
from tests.conftest import rand


def photo(path: Path, seed: int) -> torch.Tensor:
    image = (rand(3, 48, 64, seed=seed, dtype=torch.float32) * 255).round() / 255
    resharp.write_photo(resharp.Photo(image), path)
    return image


def test_steps_are_read_from_one_line() -> None:
    steps = steps_from_text("shake extent=12; blur kernel=motion:15,30; noise sigma=0.01;")
    assert steps[0] == Shake(extent=12)
    assert steps[2] == Noise(0.01)
    assert len(steps) == 3
    assert steps_from_text("  ") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("shakes", "did you mean 'shake'"), ("noise 0.01", "no NAME=VALUE"), ("noise sigm=1", "did you mean 'sigma'")],
)
def test_steps_that_are_none_are_named(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resharp.make_protocol("spoiled", {"steps": text})


def test_each_photo_is_spoiled_from_its_own_seed(tmp_path: Path) -> None:
    images = [photo(tmp_path / "in" / f"{n}.png", n) for n in range(2)]
    seen: list[torch.Tensor] = []

    def method(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return image

    protocol = resharp.make_protocol("spoiled", {"steps": "noise sigma=0.05", "seed": "3"})
    result = resharp.evaluate(method, tmp_path / "in", protocol, workers=0)
    assert len(result.sound_rows) == 2
    for number, image in enumerate(images):
        noisy = Noise(0.05)(image, generator=torch.Generator().manual_seed(3 + number)).clamp(0, 1)
        assert torch.equal(seen[number], noisy.mul(255).round().div(255))


def test_no_steps_leave_photos_sharp(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", 0)
    result = resharp.evaluate("identity", tmp_path / "in", resharp.make_protocol("spoiled", {"steps": ""}), workers=0)
    assert result.rows[0].figures["psnr"] == float("inf")


def test_photos_of_another_size_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", 0)
    protocol = resharp.make_protocol("spoiled", {"steps": "downscale factor=2"})
    result = resharp.evaluate("identity", tmp_path / "in", protocol, workers=0)
    assert "one size" in result.rows[0].problem


def test_levins_photos_find_their_sharp_ones(tmp_path: Path) -> None:
    for name in ("blur/im1_kernel1", "blur/im1_kernel2", "blur/im2_kernel1", "sharp/im1", "sharp/im2"):
        photo(tmp_path / f"{name}.png", len(name))
    listing = open_listing(tmp_path)
    assert listing.layout == "levin"
    found = [(item.degraded.name, item.clean.name) for item in listing.items if item.degraded and item.clean]
    assert found == [("im1_kernel1.png", "im1.png"), ("im1_kernel2.png", "im1.png"), ("im2_kernel1.png", "im2.png")]
    result = resharp.evaluate("identity", tmp_path, "levin", workers=0)
    assert [column.name for column in result.columns] == ["psnr-up-to-shift", "ssim"]
    assert len(result.sound_rows) == 3
    (tmp_path / "sharp" / "im2.png").unlink()
    with pytest.raises(DatasetError, match="lacks the sharp photos of im2_kernel1"):
        open_listing(tmp_path)
