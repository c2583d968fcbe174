"""What can be evaluated: callables, baselines, folders of restored pictures, weights."""

import builtins
import functools
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from resharp.errors import ArgumentError, DatasetError, WeightsError
from resharp.evaluation import Protocol, Result, evaluate, make_protocol
from resharp.models import contract_of
from resharp.networks import DeblurGAN, UNet
from resharp.photo import read_photo, write_photo
from resharp.restorers import BayesRestorer, deconvolve, open_denoiser
from tests.conftest import rand
from tests.evaluation_sets import pairs_of, smooth, spoiled, written
from tests.toy_networks import SMALL, doubler, saved, shaken, small


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return pairs_of(tmp_path / "set", smooth(3, 24, 32))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, image in enumerate(smooth(2, 40, 48)):
        written(tmp_path / "photos" / f"{number}.png", image)
    return tmp_path / "photos"


def dmsp(**settings: str) -> Protocol:
    return make_protocol("dmsp", {"kernel": "motion:5,30"} | settings)


def problems(result: Result) -> list[str]:
    return [row.problem for row in result.rows]


# --- callables --------------------------------------------------------------------------------------------------------


def test_a_callable_is_told_what_its_signature_names(photos: Path) -> None:
    told: dict[str, Any] = {}

    def restore(image: Tensor, *, kernel: Tensor, noise_sigma: float, strength: float = 2.0) -> Tensor:
        told.update(kernel=kernel, noise_sigma=noise_sigma, strength=strength)
        return image

    evaluate(restore, photos, dmsp(noise_sigma="0.02"), limit=1)
    assert told["noise_sigma"] == 0.02
    assert told["strength"] == 2.0
    assert float(told["kernel"].sum()) == pytest.approx(1)

    def all_of_it(image: Tensor, **known: Any) -> Tensor:
        told["known"] = set(known)
        return image

    evaluate(all_of_it, photos, dmsp(), limit=1)
    assert told["known"] == {"kernel", "noise_sigma"}
    evaluate(all_of_it, photos, "demosaic", limit=1)
    assert told["known"] == {"pattern"}


def test_a_callable_may_not_spoil_the_input(pairs: Path) -> None:
    def in_place(image: Tensor) -> Tensor:
        return image.zero_()

    row = evaluate(in_place, pairs, "deblur-rgb", limit=1).rows[0]
    assert row.baseline["psnr"] > row.figures["psnr"]


def test_arrays_come_back_as_they_are_held(pairs: Path) -> None:
    def as_array(image: Tensor) -> np.ndarray[Any, Any]:
        return (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)

    expected = evaluate("identity", pairs, "deblur-rgb")
    assert [row.figures for row in evaluate(as_array, pairs, "deblur-rgb").rows] == [r.figures for r in expected.rows]


def test_a_callable_by_name(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_methods.py").write_text("class Half:\n    @staticmethod\n    def dark(image): return image / 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    result = evaluate("my_methods:Half.dark", pairs, "deblur-rgb", limit=1)
    assert result.card.method == "my_methods:Half.dark"
    assert len(result.card.weights_sha256) == 64  # of its source, so that a changed one does not go on with an old run
    assert not result.rows[0].problem


def test_a_network_is_told_what_its_forward_names(tmp_path: Path) -> None:
    """A module's own signature takes anything."""
    told: list[float] = []

    class Told(torch.nn.Module):
        def forward(self, image: Tensor, noise_sigma: float) -> Tensor:
            told.append(noise_sigma)
            return image

    photos = pairs_of(tmp_path, smooth(2, 24, 32)) / "sharp"
    for network in (torch.nn.Identity(), Told()):
        assert not any(row.problem for row in evaluate(network, photos, "denoise").rows)
    assert len(told) == 2


def test_no_noise_is_told_and_unknown_noise_is_not(tmp_path: Path) -> None:
    photos, told = pairs_of(tmp_path, smooth(2, 24, 32)) / "sharp", list[float]()

    def restore(image: Tensor, noise_sigma: float) -> Tensor:
        told.append(noise_sigma)
        return image

    settings = {"kernel": "disk:1", "noise_sigma": "0", "rounding": "round"}
    assert not any(row.problem for row in evaluate(restore, photos, make_protocol("dmsp", settings)).rows)
    assert told == [0.0, 0.0]
    with pytest.raises(ArgumentError, match="restore needs noise_sigma, which protocol denoise"):
        evaluate(restore, photos, make_protocol("denoise", {"noise_known": "false"}))


def test_a_limit_gives_no_photo_another_ones_picture(tmp_path: Path) -> None:
    clean = smooth(3, 24, 32)
    for name, image in zip(("a", "a_b", "c"), clean, strict=True):
        written(tmp_path / "photos" / f"{name}.png", image)
        if name != "a":
            written(tmp_path / "restored" / f"{name}.png", image)
    (row,) = evaluate(tmp_path / "restored", tmp_path / "photos", "denoise", limit=1).rows
    assert "holds no picture of that name" in row.problem


def test_numbered_twins_take_nobody_s_name(tmp_path: Path) -> None:
    for name in ("IMG-1.png", "IMG.jpg", "IMG.png"):
        written(tmp_path / "photos" / name, rand(3, 24, 32, seed=len(name)))
    evaluate("identity", tmp_path / "photos", "denoise", out=tmp_path / "run")
    assert len(list((tmp_path / "run" / "restored").iterdir())) == 3


def test_a_flat_photo_s_own_figure_is_missing_not_the_restored_one_s(tmp_path: Path) -> None:
    written(tmp_path / "photos" / "flat.png", torch.full((3, 192, 192), 0.5))
    (row,) = evaluate("identity", tmp_path / "photos", "no-reference").rows
    assert "too little texture" in row.problem
    (row,) = evaluate(lambda image: rand(*image.shape, dtype=torch.float32), tmp_path / "photos", "no-reference").rows
    assert not row.problem
    assert row.figures
    assert not row.baseline


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("my_nowhere:restore", "cannot be imported"),
        ("math:nothing", "cannot be imported"),
        ("math:pi", "is no function of an image"),
        ("identiti", "did you mean 'identity'"),
        ("wiener", "needs kernel, which protocol deblur-rgb does not tell; those that do: dmsp"),
        ("bicubic", "those that do: sr-y, sr-rgb"),
        (lambda image, prompt: image, "methods are told kernel, noise_sigma, scale, pattern, segmentation only"),
    ],
)
def test_methods_that_are_none_or_do_not_fit(pairs: Path, method: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as caught:
        evaluate(method, pairs, "deblur-rgb")
    assert "\n" not in str(caught.value)


def test_a_module_that_ends_the_process_is_none(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArgumentError, match=r"a_script:main: cannot be imported \(SystemExit: 0\)"):
        evaluate("a_script:main", pairs, "deblur-rgb")


# --- baselines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wiener", "richardson-lucy"])
def test_deconvolutions_of_scikit_image_gain(tmp_path: Path, name: str) -> None:
    photo = read_photo(str(resources.files("resharp") / "assets" / "demo-photo.png")).image
    written(tmp_path / "0.png", photo[:, 68:188, 60:190])
    row = evaluate(name, tmp_path, make_protocol("dmsp", {"kernel": "motion:9,30", "noise_sigma": "0.005"})).rows[0]
    assert row.problem == ""
    assert row.figures["psnr"] > row.baseline["psnr"] + 1


def test_non_local_means_gain(photos: Path) -> None:
    for row in evaluate("non-local-means", photos, "denoise").rows:
        assert row.figures["psnr"] > row.baseline["psnr"] + 3


def test_a_baseline_without_its_library_says_how_to_get_it(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(ArgumentError, match=r"pip install 'resharp\[evaluate\]'"):
        evaluate("wiener", photos, dmsp())


# --- folders ----------------------------------------------------------------------------------------------------------


def test_pictures_are_found_by_name_whatever_their_suffix(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "restored"
    for name, source in (("0.tif", "0"), ("sub/1.png", "1"), ("2_net_x1.png", "2")):
        written(folder / name, read_photo(pairs / "sharp" / f"{source}.png").image)
    result = evaluate(folder, pairs, "deblur-rgb")
    assert [row.figures["psnr"] for row in result.rows] == [float("inf")] * 3


def test_a_missing_picture_is_a_row_and_no_one_elses_stands_in(tmp_path: Path) -> None:
    clean = smooth(3, 24, 32)
    for name, image in zip(("a", "a_b", "c"), clean, strict=True):
        written(tmp_path / "set" / "sharp" / f"{name}.png", image)
        written(tmp_path / "set" / "blur" / f"{name}.png", spoiled(image))
    written(tmp_path / "out" / "a_b.png", clean[1])
    written(tmp_path / "out" / "c.png", clean[2])
    result = evaluate(tmp_path / "out", tmp_path / "set", "deblur-rgb")
    assert ["holds no picture of that name" in problem for problem in problems(result)] == [True, False, False]


def test_pictures_that_are_not_like_their_truth_are_rows(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "restored"
    written(folder / "0.png", rand(3, 12, 16))
    written(folder / "1.png", rand(1, 24, 32).expand(3, -1, -1), grey=True)
    (folder / "2.png").write_bytes(b"")
    told = problems(evaluate(folder, pairs, "deblur-rgb"))
    assert "wanted is (3, 24, 32)" in told[0]
    assert "is grey, unlike its truth" in told[1]
    assert "is empty" in told[2]


def test_a_folder_that_holds_nothing_of_use(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no pictures"):
        evaluate(tmp_path / "empty", pairs, "deblur-rgb")
    written(tmp_path / "other" / "x.png", rand(3, 24, 32))
    with pytest.raises(DatasetError, match="--match order"):
        evaluate(tmp_path / "other", pairs, "deblur-rgb")
    with pytest.raises(DatasetError, match="1 pictures for 3 photos"):
        evaluate(tmp_path / "other", pairs, "deblur-rgb", match="order")
    written(tmp_path / "twins" / "0.png", rand(3, 24, 32))
    written(tmp_path / "twins" / "0.tif", rand(3, 24, 32))
    with pytest.raises(DatasetError, match="two pictures of one name"):
        evaluate(tmp_path / "twins", pairs, "deblur-rgb")


def test_a_run_folder_is_a_folder_of_its_pictures(pairs: Path, tmp_path: Path) -> None:
    first = evaluate("identity", pairs, "deblur-rgb", out=tmp_path / "run")
    again = evaluate(tmp_path / "run", pairs, "deblur-rgb")
    assert [row.figures for row in again.rows] == [row.figures for row in first.rows]


# --- weights ----------------------------------------------------------------------------------------------------------


def test_a_model_that_deblurs(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    network = DeblurGAN(width=4, n_blocks=1, dropout=0.5, generator=generator).eval()
    path = saved(network, tmp_path / "tiny.safetensors", name="deblurgan", licence="CC0")
    data = pairs_of(tmp_path / "large", smooth(1, 220, 256))
    result = evaluate(path, data, "deblur-rgb", precision="float32", out=tmp_path / "run")
    assert (result.card.method, result.card.weights_licence) == ("tiny", "CC0")
    assert len(result.card.weights_sha256) == 64
    image = read_photo(data / "blur" / "0.png").image
    with torch.no_grad():
        expected = network(image[None])[0]
    torch.testing.assert_close(read_photo(result.rows[0].restored).image, expected, atol=1e-4, rtol=0)
    sampled = evaluate(path, data, "deblur-rgb", precision="float32", samples=2)
    assert sampled.rows[0].figures != result.rows[0].figures


def test_a_network_in_hand_is_judged_as_its_file_is(pairs: Path, tmp_path: Path) -> None:
    network = SMALL["unet"]()
    rows = [
        evaluate(method, pairs, "deblur-rgb", precision="float32").rows
        for method in (network, saved(network, tmp_path / "w.safetensors"), small("unet"))
    ]
    assert [row.figures for row in rows[0]] == [row.figures for row in rows[1]] == [row.figures for row in rows[2]]


@pytest.fixture
def denoiser(tmp_path: Path) -> Path:
    return saved(SMALL["dae"](), tmp_path / "dae.safetensors", "denoise", noise_sigma=(11 / 255, 11 / 255))


def test_a_denoiser_denoises_and_deconvolves(photos: Path, denoiser: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    evaluate(lambda image: seen.append(image) or image, photos, "denoise", limit=1)  # type: ignore[func-returns-value]
    model = open_denoiser(denoiser, precision="float32")
    expected = evaluate(lambda _: model(seen[0], 11 / 255).clamp(0, 1), photos, "denoise", limit=1)
    found = evaluate(denoiser, photos, "denoise", limit=1, precision="float32")
    assert found.rows[0].figures == expected.rows[0].figures

    def by_hand(image: Tensor, kernel: Tensor, noise_sigma: float) -> Tensor:
        return deconvolve(image, kernel, noise_sigma, model=model, n_iterations=3, seed=0)

    few = functools.partial(BayesRestorer, n_iterations=3)
    monkeypatch.setattr("resharp.evaluation.methods.BayesRestorer", few)
    figures = [evaluate(m, photos, dmsp(), precision="float32").rows for m in (denoiser, by_hand)]
    assert [row.figures for row in figures[0]] == [row.figures for row in figures[1]]


def test_a_denoiser_is_told_the_level_where_the_protocol_knows_it(photos: Path, tmp_path: Path) -> None:
    network = shaken(UNet(widths=[4], blocks=[1], noise_map=True, generator=torch.Generator().manual_seed(0)))
    assert contract_of(network, "denoise", noise_sigma=(0.0, 0.2)).takes == ("image", "sigma")
    path = saved(network, tmp_path / "told.safetensors", "denoise", noise_sigma=(0.0, 0.2))
    assert not any(row.problem for row in evaluate(path, photos, "denoise", limit=1).rows)
    with pytest.raises(ArgumentError, match="needs noise_sigma, which protocol denoise"):
        evaluate(path, photos, make_protocol("denoise", {"noise_known": "false"}))


def test_an_upscaler_of_ones_own(tmp_path: Path) -> None:
    own = "tests.toy_networks:Doubler"
    path = saved(doubler(), tmp_path / "own.safetensors", "upscale", name=own)
    (clean,) = smooth(1, 24, 32)
    written(tmp_path / "set" / "sharp" / "0.png", clean)
    written(tmp_path / "set" / "blur" / "0.png", clean[:, ::2, ::2])
    protocol = make_protocol("sr-rgb", {"scale": "2"})
    assert not evaluate(path, tmp_path / "set", protocol, network=own).rows[0].problem
    with pytest.raises(WeightsError, match="somebody's own"):
        evaluate(path, tmp_path / "set", protocol)
    with pytest.raises(WeightsError, match="which protocol sr-rgb does not; --set scale=2 makes it do so"):
        evaluate(path, tmp_path / "set", "sr-rgb", network=own)
    pairs = pairs_of(tmp_path / "pairs", clean[None])
    with pytest.raises(
        WeightsError, match="makes a photo 2 times as large, which protocol deblur-rgb does not; see `bicubic`"
    ):
        evaluate(path, pairs, "deblur-rgb", network=own)


@pytest.mark.parametrize("name", ["dbgan", "identity"])
def test_a_name_that_means_two_things(pairs: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        written(tmp_path / name / f"{number}.png", rand(3, 24, 32, seed=number))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=f"{name}: is a .* and stands here, too; write ./{name}"):
        evaluate(name, pairs, "deblur-rgb")
    for folder in (f"./{name}", Path(name)):
        assert evaluate(folder, pairs, "deblur-rgb", limit=1).rows[0].figures["psnr"] < 20


@pytest.mark.parametrize(
    "settings", [{"device": "cuda"}, {"precision": "bfloat16"}, {"network": "a:B"}, {"samples": 2}]
)
def test_settings_of_networks_are_refused_for_others(pairs: Path, settings: dict[str, Any]) -> None:
    for method in ("identity", pairs / "sharp", lambda image: image, "tests.test_restorers_opening:half"):
        with pytest.raises(ArgumentError, match=r"leave|'cuda' cannot be used"):
            evaluate(method, pairs, "deblur-rgb", **settings)


def test_weights_that_do_not_fit_the_protocol(pairs: Path, photos: Path, denoiser: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a denoiser, which protocols dmsp and denoise take"):
        evaluate(denoiser, pairs, "deblur-rgb")
    with pytest.raises(WeightsError, match="no such model"):
        evaluate("missing.safetensors", pairs, "deblur-rgb")
    with pytest.raises(WeightsError, match="keeps a photo's size"):
        evaluate(denoiser, pairs, "sr-y")
    with pytest.raises(ArgumentError, match="is a photo; name the folder"):
        evaluate(pairs / "blur" / "0.png", pairs, "deblur-rgb")
    write_photo(read_photo(photos / "0.png"), tmp_path / "x.png")
