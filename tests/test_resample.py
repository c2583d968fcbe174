import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from resharp.degradations import Resize, resize_as_matlab
from resharp.errors import ArgumentError
from resharp.metrics import psnr
from resharp.photo import read_photo
from tests.conftest import rand, reference

METHODS = ["bicubic", "bilinear", "area"]
SCALES = [0.25, 1 / 3, 0.37, 0.5, 0.8, 1.5, 3, 4]


def levels(path: object) -> Tensor:
    return (read_photo(str(path)).image * 255).round().to(torch.uint8)


@pytest.mark.parametrize(("test_set", "n_photos"), [("set5", 5), ("set14", 14), ("bsd100", 100)])
def test_the_published_test_sets_are_reproduced(test_set: str, n_photos: int) -> None:
    paths = sorted(reference("sr", test_set, "hr").iterdir())
    assert len(paths) == n_photos
    for path in paths:
        published = levels(reference("sr", test_set, "lr_x4", path.name))
        assert torch.equal(resize_as_matlab(levels(path), 0.25), published), path.name


def test_bicubic_enlarging_has_its_published_score() -> None:
    """Set5 x4: 28.43 dB on Y, levels rounded, 4 pixels cropped."""
    to_y = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)[:, None, None]
    found = []
    for path in sorted(reference("sr", "set5", "hr").iterdir()):
        enlarged = resize_as_matlab(levels(reference("sr", "set5", "lr_x4", path.name)), 4)
        pair = [(image.double() / 255 * to_y).sum(0, keepdim=True)[:, 4:-4, 4:-4] for image in (enlarged, levels(path))]
        found.append(float(psnr(pair[0] / 255, pair[1] / 255)))
    assert round(sum(found) / len(found), 2) == 28.43


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(10, 12), (16, 21), (33, 40)])
def test_shrinking_is_that_of_torch_away_from_the_border(mode: str, size: tuple[int, int]) -> None:
    image = rand(2, 3, 40, 48)
    oracle = functional.interpolate(image, size, mode=mode, antialias=True, align_corners=False)
    ours = Resize(size, method=mode)(image)
    assert_close(ours[..., 3:-3, 3:-3], oracle[..., 3:-3, 3:-3])


@pytest.mark.parametrize("size", [(10, 12), (17, 23), (80, 96), (100, 90)])
def test_bicubic_is_that_of_pillow_away_from_the_border(size: tuple[int, int]) -> None:
    plane = rand(40, 48, dtype=torch.float32)
    oracle = Image.fromarray(plane.numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    ours = Resize(size)(plane[None])[0]
    assert_close(ours[8:-8, 8:-8], torch.from_numpy(np.array(oracle))[8:-8, 8:-8], rtol=0, atol=1e-5)


def test_areas_are_those_of_torch_and_opencv_up_to_the_border() -> None:
    image = rand(3, 40, 48)
    assert_close(Resize(0.25, method="area")(image), functional.avg_pool2d(image, 4))
    oracle = cv2.resize(image[0].numpy(), (31, 17), interpolation=cv2.INTER_AREA)
    assert_close(Resize((17, 31), method="area")(image)[0], torch.from_numpy(oracle), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_constants_stay_constant(method: str, scale: float) -> None:
    for size in ((60, 60), (1, 7)):
        constant = Resize(scale, method=method)(torch.full((1, *size), 0.3, dtype=torch.float64))
        assert_close(constant, torch.full_like(constant, 0.3))


@pytest.mark.parametrize(("method", "scale"), [(m, s) for m in METHODS for s in SCALES if m != "area" or s < 1])
def test_ramps_stay_ramps_away_from_the_border(method: str, scale: float) -> None:
    columns = torch.arange(60, dtype=torch.float64).expand(1, 60, 60)
    ramp = Resize(scale, method=method)(columns)[0]
    centres = (torch.arange(len(ramp), dtype=torch.float64) + 0.5) / scale - 0.5
    border = max(3, round(3 * scale))
    # A kernel that is widened by a fraction samples unevenly, here and in MATLAB: a tenth of a pixel is lost.
    tolerance = 0.1 if scale in (0.37, 0.8) else 1e-9
    assert_close(ramp[:, border:-border], centres.expand_as(ramp)[:, border:-border], rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_scale_1_is_the_identity(method: str) -> None:
    image = rand(2, 5, 7)
    assert torch.equal(Resize(1, method=method)(image), image)


def test_results_have_the_sizes_of_matlab() -> None:
    image = rand(1, 100, 31)
    assert Resize(0.25)(image).shape == (1, 25, 8)
    assert Resize(1 / 3)(image).shape == (1, 34, 11)
    assert Resize(0.07)(image).shape == (1, 7, 3)
    assert Resize((5, 9))(image).shape == (1, 5, 9)
    assert Resize(0.001)(rand(1, 1, 3)).shape == (1, 1, 1)
    assert Resize(4)(rand(1, 1, 1)).shape == (1, 4, 4)


@pytest.mark.parametrize("scale", [0.25, 0.3, 2.5, (7, 40)])
def test_a_stated_image_size_makes_the_adjoint_exact_for_any_size(scale: float | tuple[int, int]) -> None:
    image = rand(2, 23, 31)
    resize = Resize(scale, image_size=(23, 31))
    measurement = rand(*resize(image).shape, seed=1)
    assert_close((resize(image) * measurement).sum(), (image * resize.adjoint(measurement)).sum(), rtol=1e-12, atol=0)
    impulses = torch.eye(23 * 31, dtype=torch.float64).reshape(-1, 1, 23, 31)
    rows = resize(impulses).flatten(1).T
    assert_close(resize.row_energy, float(rows.square().sum(1).mean()), rtol=1e-9, atol=0)


def test_gradients_are_those_of_autograd_twice() -> None:
    image = rand(1, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(Resize(0.4), image)
    assert torch.autograd.gradgradcheck(Resize(2.3, method="bilinear"), image)


def test_autocast_costs_no_precision() -> None:
    image = rand(3, 16, 16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(Resize(0.5)(image).double(), Resize(0.5)(image.double()), rtol=0, atol=1e-6)


def test_halves_and_numbers_of_any_type_are_taken() -> None:
    image = rand(3, 16, 16, dtype=torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        assert_close(Resize(0.5)(image.to(dtype)).float(), Resize(0.5)(image), rtol=0, atol=0.02)


def test_the_axis_that_shrinks_most_comes_first_in_levels() -> None:
    """imresize rounds between the axes, so their order shows."""
    image = (rand(1, 40, 40) * 255).to(torch.uint8)
    columns_first = resize_as_matlab(resize_as_matlab(image, (40, 8)), (30, 8))
    rows_first = resize_as_matlab(resize_as_matlab(image, (30, 40)), (30, 8))
    assert torch.equal(resize_as_matlab(image, (30, 8)), columns_first)
    assert not torch.equal(columns_first, rows_first)


def test_levels_are_clipped_and_halves_go_up() -> None:
    edge = torch.tensor([[[0, 0, 0, 0, 255, 255, 255, 255]]], dtype=torch.uint8).expand(1, 8, 8)
    enlarged = resize_as_matlab(edge, 2)
    assert {int(enlarged.min()), int(enlarged.max())} == {0, 255}
    assert resize_as_matlab(torch.tensor([[[1, 2]]], dtype=torch.uint8), (1, 1), method="area").item() == 2


def test_what_cannot_be_meant_is_refused_in_one_line() -> None:
    for scale in (0, -1, float("nan"), float("inf"), 1e-9, (0, 5), (4, 5, 6), (2.5, 3)):
        with pytest.raises(ArgumentError, match="scale is"):
            Resize(scale)
    with pytest.raises(ArgumentError, match="'lanczos'; it must be one of bicubic, bilinear, area"):
        Resize(0.5, method="lanczos")
    with pytest.raises(ArgumentError, match="image_size is"):
        Resize(0.5, image_size=(0, 3))
    with pytest.raises(ArgumentError, match="too large"):
        Resize(1000)(rand(1, 300, 300))
    with pytest.raises(ArgumentError, match="0x5 has no pixels"):
        Resize(0.5)(rand(1, 0, 5))
    with pytest.raises(ArgumentError, match="uint8"):
        Resize(0.5)(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ArgumentError, match="float32; Resize takes floats"):
        resize_as_matlab(torch.zeros(3, 8, 8), 0.5)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError, match="images of 2x2 end at 8x8, not 9x9"):
        Resize(4).adjoint(rand(1, 9, 9))
    with pytest.raises(ArgumentError, match="images of 23x31 end at 6x8, not 6x7"):
        Resize(0.25, image_size=(23, 31)).adjoint(rand(1, 6, 7))
    with pytest.raises(ArgumentError, match="for images of 23x31, not 24x31"):
        Resize(0.25, image_size=(23, 31))(rand(1, 24, 31))
    with pytest.raises(ArgumentError, match="give image_size"):
        Resize((6, 8)).adjoint(rand(1, 6, 8))
    with pytest.raises(ArgumentError, match="give image_size"):
        _ = Resize((6, 8)).row_energy
