"""Protocols: what they say of themselves, what may be set, and how they look at a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr

from resharp.errors import ArgumentError, KernelError
from resharp.evaluation import PROTOCOLS, evaluate, make_protocol
from resharp.evaluation.scoring import FigureScorer
from tests.conftest import rand
from tests.evaluation_sets import pairs_of


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_prints_all_that_it_is(name: str) -> None:
    text = str(PROTOCOLS[name])
    assert text.startswith(f"{name}, version {PROTOCOLS[name].version}: ")
    for word in (*PROTOCOLS[name].figures, *PROTOCOLS[name].settings, PROTOCOLS[name].takes):
        assert word in text


def test_a_changed_setting_is_in_the_title_and_the_text() -> None:
    protocol = make_protocol("deblur-rgb", {"rounding": "truncate", "border": "0"})
    assert protocol.title == "deblur-rgb (rounding=truncate)"
    assert "truncate" in str(protocol)
    assert make_protocol("deblur-rgb") == PROTOCOLS["deblur-rgb"]


def test_the_border_goes_with_the_scale_unless_it_is_set() -> None:
    assert make_protocol("sr-y", {"scale": "2"}).border == 2
    assert make_protocol("sr-y", {"scale": "2", "border": "0"}).border == 0


def test_a_kernel_is_named_by_what_it_holds(tmp_path: Path) -> None:
    titles = []
    for folder, value in (("one", 1.0), ("other", 1.0), ("third", 2.0)):
        path = tmp_path / folder / "k.npy"
        path.parent.mkdir()
        kernel = np.ones((3, 5))
        kernel[1, 2] = value
        np.save(path, kernel)
        titles.append(make_protocol("dmsp", {"kernel": str(path)}).title)
    assert titles[0] == titles[1] != titles[2]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("deblur", {}, "did you mean 'deblur-rgb'"),
        ("deblur-rgb", {"roundin": "none"}, "did you mean 'rounding'"),
        ("deblur-rgb", {"scale": "2"}, "has no setting 'scale'"),
        ("deblur-rgb", {"colour": "y"}, "has no setting 'colour'"),
        ("deblur-rgb", {"rounding": "up"}, "round, truncate, none"),
        ("deblur-rgb", {"border": "-1"}, "must lie between 0 and"),
        ("deblur-rgb", {"border": "4.5"}, "a whole number"),
        ("sr-y", {"scale": "0"}, "must lie between 1 and"),
        ("denoise", {"noise_sigma": "11"}, "on the \\[0, 1\\] scale"),
        ("denoise", {"noise_sigma": "nan"}, "must be 0 or above"),
        ("denoise", {"noise_known": "perhaps"}, "true or false"),
        ("denoise", {"seed": "-1"}, "seed is -1"),
        ("demosaic", {"pattern": "RGBG"}, "must be one of RGGB"),
        ("dmsp", {}, "needs a kernel"),
        ("detection", {"confidence": "2"}, "between 0 and 1"),
        ("detection", {}, "needs a detector"),
    ],
)
def test_what_cannot_be_meant_is_one_line(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as caught:
        make_protocol(name, settings)
    assert "\n" not in str(caught.value)


def test_a_kernel_that_is_none_is_told_before_any_work() -> None:
    with pytest.raises(KernelError, match="no such kernel file"):
        make_protocol("dmsp", {"kernel": "nowhere.png"})


def test_luma_is_scikit_images() -> None:
    image = rand(3, 12, 16).float()
    seen = FigureScorer(make_protocol("sr-y", {"border": "0"}))._seen(image)
    levels = np.floor(image.numpy() * np.float32(255) + np.float32(0.5)) / 255
    expected = rgb2ycbcr(levels, channel_axis=0)[0] / 255
    assert seen.shape == (1, 12, 16)
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("rounding", "level"), [("round", 101), ("truncate", 100), ("none", 100.7)])
def test_rounding(rounding: str, level: float) -> None:
    scorer = FigureScorer(make_protocol("deblur-rgb", {"rounding": rounding}))
    assert float(scorer._seen(torch.full((3, 2, 2), 100.7 / 255)).mean()) * 255 == pytest.approx(level, abs=1e-3)


@pytest.mark.parametrize("rounding", ["round", "truncate"])
def test_rounding_keeps_all_levels(rounding: str) -> None:
    levels = torch.arange(256).float() / 255
    scorer = FigureScorer(make_protocol("deblur-rgb", {"rounding": rounding}))
    assert torch.equal(scorer._seen(levels.expand(3, 1, -1)), levels.expand(3, 1, -1))


def test_a_picture_that_is_all_border_is_a_row_without_figures(tmp_path: Path) -> None:
    data = pairs_of(tmp_path, rand(1, 3, 16, 40).float())
    result = evaluate("identity", data, make_protocol("deblur-rgb", {"border": "8"}))
    assert "nothing inside a border of 8" in result.rows[0].problem
