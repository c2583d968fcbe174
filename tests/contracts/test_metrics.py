"""What every metric promises; the table decides which are tested."""

import math

import pytest
import torch
from torch import Tensor

from resharp.errors import ArgumentError
from resharp.metrics import METRICS
from tests.conftest import rand

SIZE = (193, 200)  # large enough for all of them
ONE_SIDED = {"psnr-up-to-shift", "niqe"}  # one moves the restored image, the other looks at nothing else
WITH_TRUTH = [name for name, metric in METRICS.items() if metric.needs_truth]


def photo(*shape: int, seed: int = 0) -> Tensor:
    """Not flat, and not the same everywhere."""
    image = rand(*shape, *SIZE, seed=seed)
    smooth = torch.nn.functional.avg_pool2d(image.flatten(0, -3)[None], 9, 1, 4)[0].reshape(image.shape)
    return (0.3 * image + 2 * (smooth - 0.5) + 0.4).clamp(0, 1)


def spoiled(image: Tensor, by: float) -> Tensor:
    return (image + by * (rand(*image.shape, seed=9) - 0.5)).clamp(0, 1)


@pytest.mark.parametrize("name", WITH_TRUTH)
def test_equal_images_score_best_and_damage_lowers_the_score(name: str) -> None:
    metric, image = METRICS[name], photo(3)
    best, slight, strong = (float(metric.function(spoiled(image, by), image)) for by in (0.0, 0.1, 0.6))
    order = (best, slight, strong) if metric.higher_is_better else (strong, slight, best)
    assert list(order) == sorted(order, reverse=True)
    assert len(set(order)) == 3
    if metric.unit == "dB":
        assert best == math.inf
    else:
        assert best == pytest.approx(1 if metric.higher_is_better else 0, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ONE_SIDED])
def test_restored_and_clean_may_change_places(name: str) -> None:
    one, other = photo(3), spoiled(photo(3), 0.3)
    figure = METRICS[name].function
    assert float(figure(one, other)) == pytest.approx(float(figure(other, one)), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_batch_scores_as_its_images(name: str, n_channels: int) -> None:
    clean = photo(2, 2, n_channels)
    restored = spoiled(clean, 0.3)
    figures = METRICS[name].function(restored, clean)
    assert (figures.shape, figures.dtype) == ((2, 2), torch.float64)
    singles = zip(figures.flatten(), restored.flatten(0, 1), clean.flatten(0, 1), strict=True)
    for figure, one, other in singles:
        single = METRICS[name].function(one, other)
        assert single.shape == ()
        assert float(single) == pytest.approx(float(figure), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_grey_scores_as_three_equal_channels(name: str) -> None:
    if name == "niqe":
        pytest.skip("the luma of a colour image has the limited range, a grey image the full one")
    clean = photo(1)
    restored = spoiled(clean, 0.3)
    grey = METRICS[name].function(restored, clean)
    assert float(METRICS[name].function(restored.repeat(3, 1, 1), clean.repeat(3, 1, 1))) == pytest.approx(float(grey))


@pytest.mark.parametrize("name", METRICS)
def test_no_gradient_is_kept_and_nothing_is_written_to(name: str) -> None:
    clean = photo(3)
    restored = spoiled(clean, 0.3).requires_grad_()
    before = restored.detach().clone(), clean.clone()
    assert not METRICS[name].function(restored, clean).requires_grad
    assert torch.equal(restored, before[0])
    assert torch.equal(clean, before[1])


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_floats_and_strides_score_nearly_the_same(name: str, dtype: torch.dtype) -> None:
    clean = (photo(3) * 255).round() / 255
    restored = (spoiled(clean, 0.3) * 255).round() / 255
    rows = [image.permute(1, 2, 0).contiguous().permute(2, 0, 1).to(dtype) for image in (restored, clean)]
    with torch.autocast("cpu", torch.bfloat16):
        figure = METRICS[name].function(*rows)
    # half precision rounds the levels themselves; NIQE's shapes stand on a grid, and its levels are rounded
    tolerance = 1e-4 if dtype == torch.float32 and name != "niqe" else 0.05
    assert float(figure) == pytest.approx(float(METRICS[name].function(restored, clean)), abs=tolerance)


@pytest.mark.parametrize("name", METRICS)
def test_what_is_no_number_scores_as_none(name: str) -> None:
    broken = photo(3)
    broken[:, 96:99, 96:99] = math.nan
    assert math.isnan(float(METRICS[name].function(broken, photo(3))))


@pytest.mark.parametrize("name", WITH_TRUTH)
@pytest.mark.parametrize("shape", [(3, 200, 193), (1, 193, 200), (1, 3, 193, 200), (3, 193, 199)])
def test_images_of_two_shapes_are_no_pair(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"of one shape, not \(3, 193, 200\) and \("):
        METRICS[name].function(photo(3), rand(*shape, dtype=torch.float32))


@pytest.mark.parametrize("name", METRICS)
def test_integers_and_arrays_and_single_planes_are_refused(name: str) -> None:
    """Differences of unsigned integers wrap around, which once made a figure of 33 dB."""
    figure, image = METRICS[name].function, photo(3)
    levels = (255 * image).to(torch.uint8)
    for odd, reason in ((levels, "uint8"), (image.numpy(), "ndarray"), (image[0], r"\(193, 200\)"), (None, "NoneType")):
        with pytest.raises(ArgumentError, match=reason) as caught:
            figure(odd, image)
        assert "\n" not in str(caught.value)


def problem_of(name: str, size: tuple[int, int]) -> str:
    """Why there is no figure of a grey picture of this size, in one line; else nothing."""
    clean = rand(1, *size)
    try:
        figure = METRICS[name].function(spoiled(clean, 0.3), clean)
    except ArgumentError as error:
        return str(error)
    return "" if math.isfinite(float(figure)) else "not finite"


@pytest.mark.parametrize("name", METRICS)
def test_small_pictures_score_or_are_refused_in_a_line(name: str) -> None:
    sizes = [
        size for side in (1, 6, 7, 10, 11, 30, 31, 95, 96, 160, 161, 192, 193) for size in ((side, 400), (400, side))
    ]
    refused = [problem_of(name, size) for size in sizes]
    n_refused = len([problem for problem in refused if problem])
    assert n_refused < len(sizes)
    assert all(refused[:n_refused]), "what is large enough once stays so"
    for (height, width), problem in zip(sizes, refused[:n_refused], strict=False):
        assert f"{width}x{height} pixels is too small" in problem
    with pytest.raises(ArgumentError, match="some pixels"):
        METRICS[name].function(rand(1, 0, 400), rand(1, 0, 400))


@pytest.mark.parametrize("name", METRICS)
def test_the_table_says_what_a_figure_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.unit in ("", "dB")
    assert metric.summary
    assert len(metric.summary) < 100
    assert metric.function.__doc__
