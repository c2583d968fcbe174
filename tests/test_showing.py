"""Contact sheets: every sample is on them, with the blur that it was given."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from resharp.data.layouts import open_listing
from resharp.data.packing import pack
from resharp.data.plan import plan_from
from resharp.data.synthesis import open_synthesis
from resharp.data.writing import write_samples
from resharp.degradations import DegradationStep, Frame, Shake, apply_steps, make_degradation
from resharp.errors import ArgumentError, DatasetError
from resharp.figures import fitted
from resharp.photo import Photo, write_photo
from resharp.showing import blur_of, dataset_sheet
from tests.conftest import rand

PLAN = {"crop": 32, "variants": [{"steps": [{"kind": "trajectory", "length": 20.0}]}]}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for number in range(3):
        write_photo(Photo(rand(3, 40, 50, seed=number, dtype=torch.float32)), tmp_path / "photos" / f"{number}.png")
    write_samples(open_synthesis([tmp_path / "photos"], plan_from(PLAN)), tmp_path / "made", count=5)
    return tmp_path / "made"


def test_sheets_of_pairs_packs_and_photos(made: Path, tmp_path: Path) -> None:
    pack(open_listing(made), tmp_path / "p.h5", patch=16, stride=16)
    for place in (made, tmp_path / "p.h5", tmp_path / "photos"):
        sheet = dataset_sheet(place, n_samples=4)
        assert sheet.shape[0] == 3
        assert 0 <= float(sheet.min()) < 0.3 < 0.9 < float(sheet.max()) <= 1
    assert dataset_sheet(made, n_samples=1).shape[-1] < dataset_sheet(made, n_samples=2).shape[-1]


@pytest.mark.parametrize("kind", ["blur", "trajectory", "defocus", "gaussian"])
def test_the_drawn_kernel_is_what_a_point_became(kind: str) -> None:
    parameters = {} if kind in ("trajectory", "defocus", "gaussian") else {"kernel": "motion:9,30"}
    if kind in ("defocus",):
        parameters = {"gamma": 1.0}
    step = DegradationStep(make_degradation(kind, parameters), seed=5)
    point = torch.zeros(1, 129, 129)
    point[0, 64, 64] = 1
    kernel = blur_of(step, Frame(129, 129))
    assert kernel is not None
    rows, columns = (side // 2 for side in kernel.shape)
    spot = apply_steps([step], point)[0][0, 64 - rows : 65 + rows, 64 - columns : 65 + columns]
    assert_close(spot, kernel, atol=1e-6, rtol=0)


def test_a_shake_is_drawn_as_its_centre_saw_it() -> None:
    shake = Shake(extent=20, sway=3, roll=0, zoom=0, gamma=1)
    point = torch.zeros(1, 129, 129)
    point[0, 64, 64] = 1
    step = DegradationStep(shake, seed=2)
    spot = apply_steps([step], point)[0][0]

    def likeness(seed: int) -> float:
        kernel = blur_of(DegradationStep(shake, seed), Frame(129, 129))
        assert kernel is not None
        overlap = torch.nn.functional.conv2d(spot[None, None], kernel[None, None]).max()
        return float(overlap / (kernel.norm() * spot.norm()))

    assert likeness(2) > 0.8
    assert max(likeness(seed) for seed in (3, 4, 5)) < 0.7


def test_what_is_no_blur_has_no_kernel() -> None:
    assert blur_of(DegradationStep(make_degradation("jpeg", {})), Frame(9, 9)) is None


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        dataset_sheet(tmp_path)
    with pytest.raises(ArgumentError, match="0 samples"):
        dataset_sheet(tmp_path, n_samples=0)


@pytest.mark.parametrize("items", ["[]", '[{"height": 1, "width": 1}]'])
def test_a_manifest_of_no_photos_has_nothing_to_show(tmp_path: Path, items: str) -> None:
    text = '{"layout": "pairs", "paired": true, "counts": {}, "items": ' + items + "}"
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match=r"holds no photos to show|is no manifest of resharp"):
        dataset_sheet(str(tmp_path))


def test_a_large_photo_is_shown_as_its_parts_are_on_average(tmp_path: Path) -> None:
    """A hundred times smaller than it is, each pixel is the mean of those that it stands for."""
    ramp = torch.linspace(0, 1, 3000).expand(3, 2000, 3000)
    stripes = ramp * (torch.arange(2000) % 2)[:, None]
    small = fitted(stripes, 30).float() / 255
    assert small.shape == (3, 20, 30)
    assert_close(small[:, 10], torch.linspace(1 / 60, 59 / 60, 30).expand(3, -1) / 2, atol=0.01, rtol=0)
    assert torch.equal(fitted(stripes.mul(255).round().byte(), 30), fitted(stripes, 30))
