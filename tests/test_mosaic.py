import cv2
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import DEMOSAICKERS, Mosaic, demosaic_bilinear, demosaic_malvar
from resharp.degradations.mosaic import PATTERNS
from resharp.errors import ArgumentError
from resharp.metrics import psnr
from resharp.photo import read_photo
from tests.conftest import rand, reference

OPENCV = {  # OpenCV names a pattern by the pixels at (1, 1) and (1, 2)
    "RGGB": cv2.COLOR_BayerBG2RGB,
    "BGGR": cv2.COLOR_BayerRG2RGB,
    "GRBG": cv2.COLOR_BayerGB2RGB,
    "GBRG": cv2.COLOR_BayerGR2RGB,
}


def seen(pattern: str, row: int, column: int) -> int:
    return "RGB".index(pattern[2 * (row % 2) + column % 2])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1), (1, 4), (3, 1)])
def test_each_pixel_keeps_its_own_colour(pattern: str, size: tuple[int, int]) -> None:
    image = rand(2, 3, *size)
    raw = Mosaic(pattern)(image)
    back = Mosaic(pattern).adjoint(raw)
    assert raw.shape == (2, 1, *size)
    for row in range(size[0]):
        for column in range(size[1]):
            channel = seen(pattern, row, column)
            assert torch.equal(raw[:, 0, row, column], image[:, channel, row, column])
            assert torch.equal(back[:, channel, row, column], image[:, channel, row, column])
            assert int((back[:, :, row, column] != 0).sum()) == 2


@pytest.mark.parametrize("method", DEMOSAICKERS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [(9, 12), (1, 1), (2, 2), (1, 5), (4, 1), (3, 3)])
def test_samples_are_kept_and_grey_constants_reproduced(method: str, pattern: str, size: tuple[int, int]) -> None:
    raw = rand(2, 1, *size)
    image = DEMOSAICKERS[method](raw, pattern)
    assert image.shape == (2, 3, *size)
    assert torch.equal(Mosaic(pattern)(image), raw)
    assert_close(DEMOSAICKERS[method](torch.full_like(raw, 0.3), pattern), torch.full_like(image, 0.3))


@pytest.mark.parametrize("method", DEMOSAICKERS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_ramps_and_coloured_constants_are_reproduced(method: str, pattern: str) -> None:
    rows, columns = torch.arange(11, dtype=torch.float64)[:, None], torch.arange(14, dtype=torch.float64)
    ramp = (2 * rows - 3 * columns).expand(3, -1, -1)
    inner = DEMOSAICKERS[method](Mosaic(pattern)(ramp), pattern)[:, 2:-2, 2:-2]
    assert_close(inner, ramp[:, 2:-2, 2:-2])
    colour = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)[:, None, None].expand(3, 8, 9)
    assert_close(DEMOSAICKERS[method](Mosaic(pattern)(colour), pattern), colour)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bilinear_is_that_of_opencv_away_from_the_border(pattern: str) -> None:
    raw = (rand(12, 15) * 1000).round() * 4  # multiples of 4, so that OpenCV's integer means are exact
    oracle = cv2.cvtColor(raw.numpy().astype("uint16"), OPENCV[pattern])
    ours = demosaic_bilinear(raw[None], pattern).permute(1, 2, 0)
    assert_close(ours[1:-1, 1:-1], torch.from_numpy(oracle.astype("float64"))[1:-1, 1:-1])


def response(row: int, column: int, channel: int) -> Tensor:
    """The share of each pixel of an RGGB mosaic in one colour of one pixel: 5x5 around it, in 16ths."""
    impulses = torch.eye(81, dtype=torch.float64).reshape(81, 1, 9, 9)
    return (
        16
        * demosaic_malvar(impulses, "RGGB")[:, channel, row, column].reshape(9, 9)[
            row - 2 : row + 3, column - 2 : column + 3
        ]
    )


GREEN_AT_RED = [[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]
RED_AT_GREEN = [[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]
RED_AT_BLUE = [[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]


def test_malvar_has_the_published_filters() -> None:
    """Figure 2 of the paper; (4, 4) is red, (4, 3) green beside red, (3, 4) green above red, (3, 3) blue."""
    green, across, diagonal = (
        torch.tensor(taps, dtype=torch.float64) for taps in (GREEN_AT_RED, RED_AT_GREEN, RED_AT_BLUE)
    )
    assert torch.equal(response(4, 4, 1), green)
    assert torch.equal(response(3, 3, 1), green)
    assert torch.equal(response(4, 3, 0), across)
    assert torch.equal(response(3, 4, 0), across.T)
    assert torch.equal(response(3, 4, 2), across)
    assert torch.equal(response(4, 3, 2), across.T)
    assert torch.equal(response(3, 3, 0), diagonal)
    assert torch.equal(response(4, 4, 2), diagonal)


@pytest.mark.parametrize("method", DEMOSAICKERS)
def test_a_turned_photo_has_another_pattern(method: str) -> None:
    raw = rand(1, 8, 10)
    image = DEMOSAICKERS[method](raw, "RGGB")
    for pattern, axes in (("GRBG", (-1,)), ("GBRG", (-2,)), ("BGGR", (-2, -1))):
        assert_close(DEMOSAICKERS[method](raw.flip(axes), pattern), image.flip(axes))


def test_malvar_beats_bilinear_on_a_photo() -> None:
    photo = read_photo(reference("kodak24", "19.png")).image
    raw = Mosaic()(photo)
    bilinear, malvar = (float(psnr(DEMOSAICKERS[name](raw, "RGGB"), photo)) for name in ("bilinear", "malvar"))
    assert malvar > bilinear + 3


def test_gradients_reach_the_raw() -> None:
    raw = rand(1, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(demosaic_malvar, raw)


def test_what_is_no_mosaic_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'RGBG'; it must be one of RGGB, BGGR, GRBG, GBRG"):
        Mosaic("RGBG")
    with pytest.raises(ArgumentError, match="pattern"):
        demosaic_bilinear(rand(1, 4, 4), "rggb")
    with pytest.raises(ArgumentError, match="RGB images"):
        Mosaic()(rand(1, 4, 4))
    with pytest.raises(ArgumentError, match="one plane"):
        Mosaic().adjoint(rand(3, 4, 4))
    with pytest.raises(ArgumentError, match="one plane"):
        demosaic_malvar(rand(3, 4, 4))
