"""Evaluation runs: figures against other libraries, what is made here, what is written."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from resharp.data.packing import pack
from resharp.errors import DatasetError
from resharp.evaluation import evaluate, make_protocol, read_result
from resharp.photo import read_photo
from tests.conftest import rand, reference
from tests.evaluation_sets import pairs_of, photos_of, smooth, spoiled, written


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return pairs_of(tmp_path / "set", smooth(5, 24, 32))


def pixels(path: Path) -> np.ndarray:
    return (read_photo(path).image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def test_figures_are_those_of_scikit_image(pairs: Path) -> None:
    result = evaluate("identity", pairs, "deblur-rgb")
    for row in result.rows:
        blur, sharp = (pixels(pairs / half / row.name) for half in ("blur", "sharp"))
        assert row.figures["psnr"] == pytest.approx(peak_signal_noise_ratio(sharp, blur), abs=1e-5)
        expected = structural_similarity(
            sharp, blur, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert row.figures["ssim"] == pytest.approx(expected, abs=0.01)  # which pads, and crops another border
        assert row.baseline == row.figures
    assert [row.name for row in result.rows] == [f"{n}.png" for n in range(5)]


def test_levels_never_wrap_around(tmp_path: Path) -> None:
    """DeblurGAN's first figures came from a difference of uint8: 0 - 255 was 1."""
    written(tmp_path / "sharp" / "0.png", torch.zeros(3, 16, 16))
    written(tmp_path / "blur" / "0.png", torch.ones(3, 16, 16))
    assert evaluate("identity", tmp_path, "deblur-rgb").rows[0].figures["psnr"] == pytest.approx(0, abs=1e-9)


def test_too_bright_a_picture_is_clipped_not_wrapped(pairs: Path) -> None:
    over = evaluate(lambda image: image + 1.2, pairs, "deblur-rgb", limit=1).rows[0]
    white = evaluate(torch.ones_like, pairs, "deblur-rgb", limit=1).rows[0]
    assert over.figures == white.figures


def test_a_perfect_picture_has_infinite_psnr(pairs: Path, tmp_path: Path) -> None:
    result = evaluate(pairs / "sharp", pairs, "deblur-rgb", out=tmp_path / "run")
    assert all(math.isinf(row.figures["psnr"]) for row in result.rows)
    assert read_result(tmp_path / "run") == result


def test_a_truth_of_sixteen_bits_is_compared_at_eight(pairs: Path) -> None:
    before = evaluate("identity", pairs, "deblur-rgb")
    for number in range(5):
        path = pairs / "sharp" / f"{number}.png"
        written(path, (read_photo(path).image + 0.3 / 255).clamp(0, 1), depth=16)
    after = evaluate("identity", pairs, "deblur-rgb")
    assert read_photo(path).depth == 16
    assert [row.figures for row in after.rows] == [row.figures for row in before.rows]


# --- published figures ------------------------------------------------------------------------------------------------


def test_bicubic_on_set5() -> None:
    result = evaluate("bicubic", reference("sr", "set5"), "sr-y")
    assert np.mean([row.figures["psnr"] for row in result.rows]) == pytest.approx(28.43, abs=0.005)


def test_the_published_pictures_of_rcan_on_set5() -> None:
    pictures, data = reference("reference", "rcan_set5_x4"), reference("sr", "set5")
    result = evaluate(pictures, data, "sr-y", match="order")
    assert np.mean([row.figures["psnr"] for row in result.rows]) == pytest.approx(32.634, abs=0.0005)
    assert not any(row.baseline for row in result.rows)  # small pictures have no figures against large ones


def test_a_blurred_gopro_frame() -> None:
    result = evaluate("identity", reference("gopro", "frames"), "deblur-rgb", limit=1)
    assert result.rows[0].figures["psnr"] == pytest.approx(22.31, abs=0.005)


# --- what is made here ------------------------------------------------------------------------------------------------


def test_noise_has_the_level_that_the_protocol_names(tmp_path: Path) -> None:
    data = photos_of(tmp_path, torch.stack([torch.zeros(3, 96, 96), torch.ones(3, 96, 96)]))
    for row in evaluate("identity", data, make_protocol("denoise", {"noise_sigma": "0.1"})).rows:
        assert row.figures["psnr"] == pytest.approx(20, abs=0.15)  # neither clipped at black nor at white


def test_noise_depends_on_the_seed_and_the_name_alone(tmp_path: Path) -> None:
    data = photos_of(tmp_path, smooth(3, 16, 16))
    seen: dict[str, list[Tensor]] = {"all": [], "one": [], "seed": []}
    evaluate(lambda image: seen["all"].append(image) or image, data, "denoise")  # type: ignore[func-returns-value]
    (data / "1.png").unlink()
    evaluate(lambda image: seen["one"].append(image) or image, data, "denoise")  # type: ignore[func-returns-value]
    other = make_protocol("denoise", {"seed": "1"})
    evaluate(lambda image: seen["seed"].append(image) or image, data, other)  # type: ignore[func-returns-value]
    assert torch.equal(seen["all"][2], seen["one"][1])
    assert not torch.equal(seen["seed"][0], seen["one"][0])


def test_dmsp_blurs_inside_and_judges_what_the_blurred_picture_shows(tmp_path: Path) -> None:
    clean = smooth(1, 24, 32)
    data, kernel = photos_of(tmp_path / "photos", clean), tmp_path / "k.npy"
    off_centre = np.zeros((5, 3))
    off_centre[0, 2] = 1  # a point of light that lands two rows up and one column to the right
    np.save(kernel, off_centre)
    seen: list[Tensor] = []

    def shifted_back(image: Tensor, kernel: Tensor) -> Tensor:
        seen.append(image)
        assert kernel.shape == (5, 3)
        return torch.roll(image, (2, -1), (-2, -1))

    protocol = make_protocol("dmsp", {"kernel": str(kernel), "noise_sigma": "0", "border": "2"})
    row = evaluate(shifted_back, data, protocol).rows[0]
    assert row.figures["psnr"] == math.inf
    torch.testing.assert_close(seen[0], clean[0, :, 4:, :30], atol=1e-6, rtol=0)


def test_a_turned_kernel_blurs_the_other_way(tmp_path: Path) -> None:
    clean = smooth(1, 24, 32)
    data, kernel = photos_of(tmp_path / "photos", clean), tmp_path / "k.npy"
    off_centre = np.zeros((5, 3))
    off_centre[0, 2] = 1
    np.save(kernel, off_centre)
    seen: list[Tensor] = []
    protocol = make_protocol("dmsp", {"kernel": str(kernel), "noise_sigma": "0", "flip_kernel": "true"})
    evaluate(lambda image: seen.append(image) or image, data, protocol)  # type: ignore[func-returns-value]
    torch.testing.assert_close(seen[0], clean[0, :, :20, 2:], atol=1e-6, rtol=0)


def test_the_noise_is_told_unless_it_is_to_be_guessed(tmp_path: Path) -> None:
    data = photos_of(tmp_path, smooth(1, 16, 16))
    told: list[float | None] = []

    def restore(image: Tensor, noise_sigma: float | None = None) -> Tensor:
        told.append(noise_sigma)
        return image

    for known in ("true", "false"):
        evaluate(restore, data, make_protocol("denoise", {"noise_known": known, "noise_sigma": "0.03"}))
    assert told == [0.03, None]


def test_demosaicking_keeps_the_samples_and_is_judged_inside_its_border(tmp_path: Path) -> None:
    data = photos_of(tmp_path, smooth(1, 40, 44))
    rows = {name: evaluate(name, data, "demosaic").rows[0] for name in ("identity", "bilinear", "malvar")}
    assert rows["identity"].figures == rows["bilinear"].figures == rows["malvar"].baseline

    def green_from_outside(image: Tensor) -> Tensor:
        spoiled_border = torch.zeros_like(image)
        spoiled_border[:, 10:-10, 10:-10] = image[:, 10:-10, 10:-10]
        return spoiled_border

    assert evaluate(green_from_outside, data, "demosaic").rows[0].figures == rows["identity"].figures


def test_a_grey_photo_has_no_mosaic(tmp_path: Path) -> None:
    written(tmp_path / "grey.png", rand(1, 32, 32).expand(3, -1, -1), grey=True)
    assert "is grey" in evaluate("bilinear", tmp_path, "demosaic").rows[0].problem


def test_koehlers_photos_are_judged_by_the_best_frame(tmp_path: Path) -> None:
    frames = smooth(6, 24, 32)
    for shot in (1, 2):
        for number in range(3):
            name = f"GroundTruth1_{shot}_{number + 1}.png"
            written(tmp_path / "Image1" / f"Kernel{shot}" / name, frames[3 * (shot - 1) + number])
        written(tmp_path / "BlurryImages" / f"Blurry1_{shot}.png", spoiled(frames[3 * (shot - 1) + 1]))
    result = evaluate("identity", tmp_path, "kohler")
    assert [row.name for row in result.rows] == ["Image1/Blurry1_1.png", "Image1/Blurry1_2.png"]
    for shot, row in enumerate(result.rows, 1):
        photo = pixels(tmp_path / "BlurryImages" / f"Blurry1_{shot}.png")
        truths = [pixels(path) for path in sorted((tmp_path / "Image1" / f"Kernel{shot}").iterdir())]
        best = max(peak_signal_noise_ratio(truth, photo) for truth in truths)
        assert row.figures["psnr"] == pytest.approx(best, abs=1e-5)
        assert peak_signal_noise_ratio(pixels(Path(row.clean)), photo) == best  # the truth that sheets show


def test_patches_of_a_pack(pairs: Path, tmp_path: Path) -> None:
    from resharp.data.layouts import open_listing

    pack(open_listing(pairs), tmp_path / "set.h5", patch=24, stride=24)
    result = evaluate("identity", tmp_path / "set.h5", "deblur-rgb", out=tmp_path / "run")
    blur, sharp = (pixels(pairs / half / "0.png")[:, :24] for half in ("blur", "sharp"))
    assert result.rows[0].figures["psnr"] == pytest.approx(peak_signal_noise_ratio(sharp, blur), abs=1e-5)
    assert {Path(path).name for path in (result.rows[0].degraded, result.rows[0].clean)} == {"000000.png"}
    with pytest.raises(DatasetError, match="one size"):
        evaluate("bicubic", tmp_path / "set.h5", "sr-y")


# --- what is written --------------------------------------------------------------------------------------------------


def test_restored_pictures_are_written_with_16_bits(pairs: Path, tmp_path: Path) -> None:
    result = evaluate(lambda image: image * 0.5, pairs, "deblur-rgb", out=tmp_path / "run", limit=2)
    path = tmp_path / "run" / "restored" / "0.png"
    assert result.rows[0].restored == str(path)
    photo = read_photo(path)
    assert photo.depth == 16
    expected = read_photo(pairs / "blur" / "0.png").image * 0.5
    torch.testing.assert_close(photo.image, expected, atol=1 / 65535, rtol=0)
    assert not (tmp_path / "run" / "degraded").exists()  # it lies in the dataset


def test_what_was_made_here_is_written_too(tmp_path: Path) -> None:
    data = photos_of(tmp_path / "photos", smooth(1, 24, 32))
    protocol = make_protocol("dmsp", {"kernel": "motion:5,0", "noise_sigma": "0.01"})
    row = evaluate("identity", data, protocol, out=tmp_path / "run").rows[0]
    sizes = {read_photo(path).image.shape for path in (row.degraded, row.clean, row.restored)}
    assert len(sizes) == 1


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    written(tmp_path / "photos" / "a.png", rand(3, 16, 16))
    written(tmp_path / "photos" / "a.jpg", rand(3, 16, 16, seed=1))
    result = evaluate("identity", tmp_path / "photos", "denoise", out=tmp_path / "run")
    assert len({row.restored for row in result.rows}) == 2


def test_the_card_tells_one_dataset_from_another(pairs: Path) -> None:
    first = evaluate("identity", pairs, "deblur-rgb").card
    assert (first.n_images, first.method, first.protocol_version) == (5, "identity", 1)
    assert evaluate("identity", pairs, "deblur-rgb").card.data_sha256 == first.data_sha256
    assert evaluate("identity", pairs, "deblur-rgb", limit=4).card.data_sha256 != first.data_sha256
    for half in ("blur", "sharp"):
        (pairs / half / "4.png").rename(pairs / half / "5.png")
    assert evaluate("identity", pairs, "deblur-rgb").card.data_sha256 != first.data_sha256


def test_the_progress_file_is_strict_json(pairs: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def restore(image: Tensor) -> Tensor:
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read_photo(pairs / "sharp" / "0.png").image

    with pytest.raises(KeyboardInterrupt):
        evaluate(restore, pairs, "deblur-rgb", out=tmp_path / "run", workers=0)
    lines = (tmp_path / "run" / "progress.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["row"]["figures"]["psnr"] == "inf"
