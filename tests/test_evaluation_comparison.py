"""Results side by side, and the same pictures under other protocols."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from resharp.errors import ArgumentError, DatasetError
from resharp.evaluation import Result, compare, rescore, write_comparison, write_result
from resharp.evaluation.rescoring import Rescoring
from resharp.photo import Photo, write_photo
from tests.conftest import Run, rand
from tests.evaluation_results import NIQE, PSNR, SSIM, result, row


def plain(values: list[float], **changes: Any) -> Result:
    return result([row(f"{i}.png", value) for i, value in enumerate(values)], **changes)


# --- what may stand in one table --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": "sr-y"}, r"the protocol differs \(deblur-rgb and sr-y\)"),
        ({"protocol_version": 2}, r"the protocol's version differs \(1 and 2\)"),
        ({"data_sha256": "e" * 64}, r"the data differs \(dddddddddddd and eeeeeeeeeeee\)"),
        ({"data_sha256": ""}, r"the data differs \(dddddddddddd and unknown\)"),
        (
            {"protocol_text": "deblur-rgb, version 1: blurred and sharp photos\n  border       4"},
            r"other settings \('border       0' and 'border       4'\)",
        ),
        ({"columns": (PSNR, SSIM)}, r"other settings \('nothing' and 'ssim in no unit'\)"),
    ],
)
def test_results_that_mean_something_else_are_refused(change: dict[str, Any], words: str) -> None:
    one, other = plain([30.0, 31.0]), plain([32.0, 33.0], method="other", **change)
    with pytest.raises(ArgumentError, match=words) as caught:
        compare([one, other])
    assert "sharpener and other cannot stand in one table" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_comparison_takes_two() -> None:
    with pytest.raises(ArgumentError, match="at least two"):
        compare([plain([30.0])])


def test_results_without_a_picture_in_common_are_refused() -> None:
    with pytest.raises(DatasetError, match="no picture in common"):
        compare([result([row("a", 30)]), result([row("b", 30)])])


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"has a\.png twice"):
        compare([result([row("a.png", 30), row("a.png", 31)]), result([row("a.png", 30)])])


# --- what is compared -------------------------------------------------------------------------------------------------


def test_figures_are_those_of_the_pictures_that_all_have() -> None:
    """Rows pair by name, whatever their order, and a picture that one result lacks is in no mean."""
    one = result([row("a", 30), row("b", 20), row("c", 40), row("d", {}, problem="too small")])
    other = result([row("c", 39), row("a", 32), row("d", 99), row("e", 99)], method="other")
    found = compare([one, other])
    assert found.names == ("a", "c")
    first, second = found.standings["psnr"]
    assert (first.summary.mean, second.summary.mean) == (35.0, 35.5)
    assert second.difference is not None
    assert (second.difference.summary.mean, second.n_better, second.n_worse) == (0.5, 1, 1)
    assert found.left_out == {
        "b": "other has no such picture",
        "d": "sharpener: too small",
        "e": "sharpener has no such picture",
    }


def test_better_follows_the_columns_direction() -> None:
    rows = [row(name, {"niqe": value}) for name, value in (("a", 4.0), ("b", 5.0), ("c", 6.0))]
    lower = [row(name, {"niqe": value}) for name, value in (("a", 3.0), ("b", 4.0), ("c", 7.0))]
    found = compare([result(rows, columns=(NIQE,)), result(lower, columns=(NIQE,))]).standings["niqe"][1]
    assert (found.n_better, found.n_worse) == (2, 1)


def test_several_are_each_held_against_the_first() -> None:
    found = compare([plain([30.0, 31.0]), plain([31.0, 32.0]), plain([28.0, 29.0])])
    differences = [standing.difference for standing in found.standings["psnr"]]
    assert [one and one.summary.mean for one in differences] == [None, 1.0, -2.0]
    assert any("not corrected" in remark for remark in found.remarks)


def test_perfect_pictures_are_compared_without_a_wrong_mean() -> None:
    first, second = compare([plain([math.inf, 30.0]), plain([math.inf, 31.0])]).standings["psnr"]
    assert first.summary.mean == second.summary.mean == math.inf
    assert second.difference is not None
    assert second.difference.summary.mean == 0.5


def test_results_of_one_method_are_told_apart() -> None:
    hashes = [plain([30.0], weights_sha256=letter * 64) for letter in "ab"]
    assert compare(hashes).labels == ("sharpener [aaaaaaaa]", "sharpener [bbbbbbbb]")
    same = [plain([30.0], weights_sha256="") for _ in range(3)]
    assert compare(same).labels == ("sharpener #1", "sharpener #2", "sharpener #3")


def test_another_machine_is_remarked_upon() -> None:
    found = compare([plain([30.0]), plain([30.0], method="other", precision="bfloat16")])
    assert found.remarks[0] == "precision differs (sharpener: float32, other: bfloat16)"


def test_few_pictures_are_said_to_show_little() -> None:
    found = compare([plain([30.0] * 5), plain([35.0] * 5)])
    difference = found.standings["psnr"][1].difference
    assert difference is not None
    assert difference.p_value == 2 / 32
    assert "with 5 pictures no p-value is below 0.062" in found.remarks[0]
    assert compare([plain([30.0] * 6), plain([35.0] * 6)]).remarks == ()


def test_totals_stand_side_by_side_where_all_have_them() -> None:
    found = compare([plain([1.0], totals={"map": 0.4, "f1": 0.5}), plain([1.0], totals={"map": 0.6})])
    assert found.totals == {"map": (0.4, 0.6)}


# --- the same pictures under other protocols --------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Result:
    """Two photos and what restored them, in 16 bits."""
    rows = []
    for number in range(2):
        clean = (rand(3, 40, 56, seed=number, dtype=torch.float32) * 255).round() / 255
        restored = (clean + 0.2 * (rand(3, 40, 56, seed=9 + number, dtype=torch.float32) - 0.5)).clamp(0, 1)
        write_photo(Photo(clean), tmp_path / "data" / f"{number}.png")
        write_photo(Photo(restored, depth=16), tmp_path / "run" / "restored" / f"{number}.png")
        paths = {"clean": str(tmp_path / "data" / f"{number}.png")}
        paths["restored"] = str(tmp_path / "run" / "restored" / f"{number}.png")
        rows.append(row(f"{number}.png", 1.0, **paths))
    made = result(rows)
    write_result(made, tmp_path / "run")
    return made


def arrays(stored: Result) -> list[tuple[Any, Any]]:
    """(restored, clean), float64 (H, W, 3) in 0..255, read by OpenCV."""
    import cv2

    found = []
    for one in stored.rows:
        restored = cv2.imread(one.restored, cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float64) / 257
        found.append((restored, cv2.imread(one.clean)[..., ::-1].astype(np.float64)))
    return found


def means(rescoring: Rescoring) -> dict[str, float]:
    return {one.definition.words: one.means[0] for one in rescoring.rows}


def luma(image: Any) -> Any:
    return 16 + image @ np.array([65.481, 128.553, 24.966]) / 255


def test_every_definition_is_scikit_images_of_the_pictures_it_names(stored: Result, tmp_path: Path) -> None:
    found = means(rescore([stored], [tmp_path / "run"]))

    def psnr(prepare: Any) -> float:
        pairs = [(prepare(x), prepare(y)) for x, y in arrays(stored)]
        return float(np.mean([peak_signal_noise_ratio(y, x, data_range=255) for x, y in pairs]))

    wanted = {
        "PSNR, RGB, rounded to 8 bits": psnr(np.round),
        "PSNR, RGB, truncated to 8 bits": psnr(np.floor),
        "PSNR, RGB, not rounded": psnr(lambda x: x),
        "PSNR, RGB, 8 pixels of border left out": psnr(lambda x: np.round(x)[8:-8, 8:-8]),
        "PSNR, luma": psnr(lambda x: luma(np.round(x))),
        "PSNR, luma, 8 pixels of border left out": psnr(lambda x: luma(np.round(x)[8:-8, 8:-8])),
    }
    for words, value in wanted.items():
        assert found[words] == pytest.approx(value, abs=1e-4), words
    rounded = [(np.round(x), y) for x, y in arrays(stored)]
    skimage = [structural_similarity(y, x, data_range=255, channel_axis=2) for x, y in rounded]
    assert found["SSIM as scikit-image by default, RGB"] == pytest.approx(np.mean(skimage), abs=1e-6)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    in_luma = [structural_similarity(luma(y), luma(x), **wang) for x, y in rounded]
    assert found["SSIM of Wang, luma"] == pytest.approx(np.mean(in_luma), abs=1e-6)


def test_figures_move_while_no_pixel_does(stored: Result, tmp_path: Path) -> None:
    scored = rescore([stored], [tmp_path / "run"])
    found = means(scored)
    for family, span, _ in scored.spans:
        values = [value for words, value in found.items() if words.startswith(family)]
        assert span == max(values) - min(values)
    assert found["PSNR, RGB, truncated to 8 bits"] < found["PSNR, RGB, rounded to 8 bits"]
    assert len({round(value, 4) for words, value in found.items() if words.startswith("SSIM")}) >= 5


def test_a_run_folder_that_was_moved_still_has_its_pictures(stored: Result, tmp_path: Path) -> None:
    before = means(rescore([stored], [tmp_path / "run"]))
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert means(rescore([stored], [tmp_path / "elsewhere"])) == before


def test_a_run_folder_has_its_own_pictures_where_another_took_its_place(stored: Result, tmp_path: Path) -> None:
    before = means(rescore([stored], [tmp_path / "run"]))
    (tmp_path / "run").rename(tmp_path / "old")
    for number in range(2):
        write_photo(Photo(torch.zeros(3, 40, 56)), tmp_path / "run" / "restored" / f"{number}.png")
    assert means(rescore([stored], [tmp_path / "old"])) == before


def test_of_many_pictures_some_are_scored_again(
    stored: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(f"{i}", 1.0, clean=stored.rows[0].clean, restored=stored.rows[0].restored) for i in range(50)]
    monkeypatch.setattr("resharp.evaluation.rescoring.N_PIXELS", 5 * 40 * 56)
    found = rescore([result(rows)], [tmp_path])
    assert (found.n_shared, len(found.names), found.names[0], found.names[-1]) == (50, 5, "4", "44")


def test_pictures_that_are_not_there_are_said_not_to_be(stored: Result, tmp_path: Path) -> None:
    assert "no restored pictures are stored" in rescore([plain([30.0])], [tmp_path]).problem
    Path(stored.rows[1].restored).unlink()
    assert "no such file" in rescore([stored], [tmp_path / "run"]).problem


def test_a_picture_too_small_for_a_definition_has_no_figure_there(tmp_path: Path) -> None:
    for name in ("clean", "restored"):
        write_photo(Photo(rand(3, 9, 9, seed=len(name), dtype=torch.float32)), tmp_path / f"{name}.png")
    paths = {name: str(tmp_path / f"{name}.png") for name in ("clean", "restored")}
    found = means(rescore([result([row("a", 1.0, **paths)])], [tmp_path]))
    assert math.isnan(found["PSNR, RGB, 8 pixels of border left out"])
    assert math.isfinite(found["PSNR, RGB, rounded to 8 bits"])


def test_several_truths_of_a_picture_are_not_scored_again(stored: Result, tmp_path: Path) -> None:
    found = rescore([result(stored.rows, protocol="kohler (border=8)")], [tmp_path])
    assert (found.rows, found.problem) == ((), "a picture of this protocol has several truths")


# --- the page and the command -----------------------------------------------------------------------------------------


def test_the_page_names_what_differs(stored: Result, tmp_path: Path) -> None:
    other = result([row(one.name, 3.0) for one in stored.rows], method="<i>other</i>")
    write_comparison(compare([stored, other]), rescore([stored, other], [tmp_path] * 2), tmp_path / "c" / "page.html")
    page = (tmp_path / "c" / "page.html").read_text(encoding="utf-8")
    assert "+2.000" in page
    assert "&lt;i&gt;other&lt;/i&gt;" in page
    assert "<i>" not in page


@pytest.fixture
def folders(stored: Result, tmp_path: Path) -> list[Path]:
    for name, lift in (("a", 0.0), ("b", 2.0)):
        rows = [row(f"{i}.png", 20.0 + i + lift, clean=one.clean, restored=one.restored)
                for i, one in enumerate(stored.rows)]  # fmt: skip
        write_result(result(rows, method=name), tmp_path / name)
    return [tmp_path / "a", tmp_path / "b"]


def test_compare_prints_a_table(run: Run, folders: list[Path], tmp_path: Path) -> None:
    outcome = run("compare", *folders, "-o", tmp_path / "page.html")
    assert (outcome.code, outcome.err) == (0, "")
    assert "+2.000" in outcome.out
    assert "PSNR, luma" in outcome.out
    assert (tmp_path / "page.html").stat().st_size > 5000


def test_compare_speaks_json(run: Run, folders: list[Path]) -> None:
    record = json.loads(run("compare", folders[0] / "results.json", folders[1], "--json").out)
    second = record["comparison"]["standings"]["psnr"][1]
    assert (second["summary"]["mean"], second["difference"]["summary"]["mean"]) == (22.5, 2.0)
    assert record["comparison"]["standings"]["psnr"][0]["difference"] is None


def test_compare_refuses_in_one_line(run: Run, folders: list[Path], tmp_path: Path) -> None:
    write_result(result([row("0.png", 1.0)], protocol="sr-y"), tmp_path / "y")
    for arguments, words in [
        ((folders[0], tmp_path / "y"), "the protocol differs"),
        ((folders[0],), "at least two"),
        ((folders[0], tmp_path / "nowhere"), "is not there"),
        ((*folders, "-o", tmp_path / "page.txt"), "written as HTML"),
    ]:
        outcome = run("compare", *arguments)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert words in outcome.err
