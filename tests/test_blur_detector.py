"""Shaken photos told from others: the network, how a photo is shown to it, and what its card claims."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import Shake, blurred, disk_kernel
from resharp.demo import demo_inputs
from resharp.errors import WeightsError
from resharp.evaluation import evaluate
from resharp.kernel_estimation import find_blur
from resharp.kernel_estimation.detection import blur_logit
from resharp.kernel_estimation.threads import one_thread
from resharp.kernel_estimation.view import NoBlurError, overview
from resharp.metrics import psnr
from resharp.models import Card, Contract, load_model, model_path, read_card, save_model
from resharp.networks import DETECTORS, BlurDetector
from resharp.networks.blur_detector import pooled, seen
from resharp.photo import Photo, read_photo, write_photo
from resharp.restorers import open_restorer
from tests.conftest import rand, reference
from tests.test_kernel_estimation import printed_page

SMALL = {"widths": [4, 4, 4, 8], "blocks": [1, 1, 1]}


def small() -> BlurDetector:
    draws = torch.Generator().manual_seed(0)
    network = BlurDetector(widths=SMALL["widths"], blocks=SMALL["blocks"], generator=draws)
    for name, value in network.named_buffers():  # as if it had seen some photos
        if "running" in name:
            value.add_(0.1 * torch.rand(value.shape, generator=draws))
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=draws))
    return network.eval().requires_grad_(False)


def shaken(photo: Tensor, extent: float, seed: int = 1) -> Tensor:
    return Shake(extent=extent)(photo, generator=torch.Generator().manual_seed(seed)).mul(255).round().div(255)


# --- the network ------------------------------------------------------------------------------------------------------


def test_places_are_weighed_by_what_they_show() -> None:
    network, image = small(), rand(2, 3, 64, 96, dtype=torch.float32)
    places = network.places(seen(image))
    assert places.shape == (2, 2, 4, 6)
    weights = places[:, 1].exp()
    assert_close(network(image), (places[:, 0] * weights).sum((1, 2)) / weights.sum((1, 2)))
    alone = places[:1]
    alone[0, 1] = -1e4
    alone[0, 1, 2, 3] = 0
    assert float(pooled(alone)) == pytest.approx(float(alone[0, 0, 2, 3]))


def test_contrast_and_brightness_hardly_count() -> None:
    """Brightness is seen in units of the contrast around."""
    image = rand(1, 3, 64, 64, dtype=torch.float32)
    bright, plain = seen(0.5 + 0.5 * image)[:, 0], seen(image)[:, 0]
    assert float(torch.corrcoef(torch.stack([bright.flatten(), plain.flatten()]))[0, 1]) > 0.999
    assert float(bright.std() / plain.std()) == pytest.approx(1, abs=0.12)
    assert torch.equal(seen(torch.full((1, 3, 32, 32), 0.3))[:, 0], torch.zeros(1, 32, 32))


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    network, path = small(), tmp_path / "d.safetensors"
    card = Card("blur-detector", network.arguments, Contract("detect-blur", multiple_of=16))
    save_model(network, path, card)
    again, _ = load_model(path, task="detect-blur")
    image = rand(1, 3, 32, 48, dtype=torch.float32)
    assert torch.equal(again(image), network(image))
    assert json.loads(json.dumps(again.arguments)) == network.arguments


def test_it_is_as_large_as_it_says() -> None:
    size = f"{sum(one.numel() for one in BlurDetector().parameters()):,} parameters"
    assert size in (BlurDetector.__doc__ or "")
    assert size in model_path("blur-detector").with_suffix(".md").read_text(encoding="utf-8")


def test_every_weight_learns() -> None:
    network = small().requires_grad_().train()
    network(rand(3, 3, 32, 32, dtype=torch.float32)).square().sum().backward()
    still = {key for key, one in network.named_parameters() if one.grad is None or not one.grad.any()}
    assert still == {"head.bias"} or not still  # the weights' bias changes nothing


def test_weights_that_tell_blur_restore_nothing(tmp_path: Path) -> None:
    for half in ("blur", "sharp"):
        (tmp_path / half).mkdir()
        write_photo(Photo(rand(3, 32, 32, dtype=torch.float32)), tmp_path / half / "one.png")
    with pytest.raises(WeightsError, match=r"for the task 'detect-blur', not for 'deblur'"):
        read_card("blur-detector", task="deblur")
    with pytest.raises(WeightsError, match="'detect-blur', which restores no photo"):
        evaluate("blur-detector", tmp_path, "deblur-rgb")
    assert DETECTORS[read_card("blur-detector").network] is BlurDetector


# --- how a photo is shown to it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(48, 48), (50, 700), (256, 300), (700, 900)])
def test_photos_of_any_size_are_shown_alike_on_any_number_of_threads(size: tuple[int, int]) -> None:
    photo = 0.9 * rand(3, *size, dtype=torch.float32)
    before, told = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with one_thread():
                told.append(blur_logit(photo))
    finally:
        torch.set_num_threads(before)
    assert told[0] == told[1]
    with one_thread():
        grey = blur_logit(photo.mean(0, keepdim=True))
        assert grey == pytest.approx(blur_logit(photo.mean(0).expand(3, -1, -1)), abs=1e-5)


def test_windows_that_show_most_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a photo with a sharp corner and mist all around, the corner."""
    sharp, _ = demo_inputs()
    photo = 0.5 + 0.01 * rand(3, 520, 1300, dtype=torch.float32)
    photo[:, :256, :256] = sharp
    monkeypatch.setattr("resharp.kernel_estimation.detection._MOST", 1)
    with one_thread():
        assert blur_logit(photo) == pytest.approx(blur_logit(sharp), abs=1e-4)


def test_nothing_is_known_where_light_was_cut_off_all_over_but_on_paper() -> None:
    """The border of a lamp is steep whatever the blur; that of paper is a letter's."""
    lamps = 0.5 * rand(3, 256, 256, dtype=torch.float32)
    lamps[:, ::32, ::32] = 1
    with one_thread():
        assert math.isnan(blur_logit(lamps))
        assert blur_logit(0.9 * lamps) < 0
        page = printed_page(256, 320, paper=255)[None]
        assert blur_logit(page) < -4
        assert blur_logit(blurred(page, disk_kernel(2))) > 2
    assert find_blur(0.2 * page).reason == "the photo is sharp"


def test_print_that_looks_blurred_is_undone_however_steep_and_round_its_kernels_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of focus, it was left alone; so it is where nothing is known."""
    sharp = printed_page(256, 320)[None]
    soft = blurred(sharp, disk_kernel(2)).mul(255).round().div(255)
    found = find_blur(soft).field
    assert found is not None
    restored = open_restorer("blind-refined")(soft.expand(3, -1, -1), blur=found).image
    assert psnr(restored, sharp.expand_as(restored)) > psnr(soft, sharp) + 2
    for logit in (math.nan, -0.1):
        monkeypatch.setattr("resharp.kernel_estimation.view.blur_logit", lambda _, logit=logit: logit)
        assert find_blur(soft).field is None


def test_a_photo_that_does_not_look_blurred_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, asked = rand(3, 64, 64), [0.1]
    monkeypatch.setattr("resharp.kernel_estimation.view.steepest_edges", lambda _: asked[0])
    monkeypatch.setattr("resharp.kernel_estimation.view.blur_logit", lambda _: -1.4)
    assert overview(photo, [1.0], 9).side == 9
    monkeypatch.setattr("resharp.kernel_estimation.view.blur_logit", lambda _: -1.6)
    with pytest.raises(NoBlurError, match="the photo is sharp"):
        overview(photo, [1.0], 9)
    assert find_blur(photo, largest=9).reason == "the photo is sharp"
    monkeypatch.setattr("resharp.kernel_estimation.view.paper_of", lambda windows: windows)
    assert overview(photo, [1.0], 9).side == 9, "print has more room"
    monkeypatch.setattr("resharp.kernel_estimation.view.blur_logit", lambda _: -2.6)
    assert find_blur(photo, largest=9).reason == "the photo is sharp"
    asked[0] = math.nan
    assert "too few edges" in find_blur(photo, largest=9).reason


# --- what the card claims ---------------------------------------------------------------------------------------------


def test_the_shipped_photo_is_sharp_and_shaken_it_is_not() -> None:
    sharp, _ = demo_inputs()
    with one_thread():
        assert blur_logit(sharp) < -2
        assert min(blur_logit(shaken(sharp, extent)) for extent in (6.0, 10.0, 20.0)) > 0


def test_the_shipped_detector_has_the_quality_of_its_card() -> None:
    """Of Kodak's photos, which it has not seen."""
    paths = [reference("kodak24", f"{number}.png") for number in (1, 7, 19, 23)]
    photos = [read_photo(path).image[:, :, :512] for path in paths]
    with one_thread():
        sharp = [blur_logit(photo) for photo in photos]
        blurry = [blur_logit(shaken(photo, 10.0)) for photo in photos]
    card = model_path("blur-detector").with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"Kodak24, sharp[^|]*\| [^|]*\| (-[\d.]+) \|", card)
    assert claimed is not None
    assert max(sharp) < float(claimed[1]) + 0.3
    assert min(blurry) > -0.5
