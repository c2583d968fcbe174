"""Reports and sheets: what stands on them, that names are text, that the place shown is the worst one."""

import html.parser
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.detection import Box
from resharp.errors import OutputError
from resharp.evaluation import Result, Row, sheets, write_report
from resharp.evaluation.panels import SIDE, SIDE_OF_BOXED, crop, heat_map
from resharp.evaluation.plots import histogram
from resharp.evaluation.sheets import extremes, make_sheets
from resharp.evaluation.wording import figure, p_value, signed_figure
from resharp.figures import fitted
from resharp.photo import Photo, read_pixels, write_photo
from tests.conftest import rand
from tests.evaluation_results import NIQE, PSNR, SSIM, result, row


class Page(html.parser.HTMLParser):
    """What a browser finds in a page: its tags and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def stored_row(folder: Path, name: str, figures: Any, baseline: Any = None, *, size: int = 64, **notes: Any) -> Row:
    """A row whose restored picture has one bright error of 12 x 12 pixels at row 40, column 8."""
    clean = rand(3, size, size, seed=3, dtype=torch.float32) * 0.5
    restored = clean.clone()
    restored[:, 40:52, 8:20] += 0.4
    paths, number = {}, len(list(folder.glob("clean/*")))
    for kind, picture in (("degraded", clean.flip(-1)), ("clean", clean), ("restored", restored)):
        paths[kind] = str(folder / kind / f"{number}.png")
        write_photo(Photo(picture), paths[kind])
    return row(name, figures, baseline, **paths, notes=notes)


# --- pages ------------------------------------------------------------------------------------------------------------


def test_a_report_tells_means_gains_and_problems(tmp_path: Path) -> None:
    rows = [row("a.png", 30.0, 25.0), row("b.png", 32.0, 25.0), row("c.png", {}, problem="is empty (0 bytes)")]
    path = write_report(result(rows), tmp_path)
    text = Page(path).text
    assert path == tmp_path / "report.html"
    for words in ("31.000 dB", "+6.000", "25.000", "Pictures without figures: 1 of 3", "is empty (0 bytes)", "c" * 40):
        assert words in text
    assert "deblur-rgb, version 1: blurred and sharp photos" in text


def test_a_report_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = Page(write_report(result([stored_row(tmp_path, f"{i}", 30.0 + i, 25.0) for i in range(3)]), tmp_path))
    places = [value for _, found in page.tags for name, value in found.items() if name in ("src", "href", "srcset")]
    assert len(places) > 10
    assert all(value is not None and value.startswith(("data:image/webp;base64,", "#")) for value in places)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base", "form")]
    [policy] = [found["content"] for tag, found in page.tags if "http-equiv" in found]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


ODD = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "</td></table><h1>&amp;",
    "ä\n猫",
]


@pytest.mark.parametrize("name", ODD)
def test_names_are_text(name: str, tmp_path: Path) -> None:
    rows = [stored_row(tmp_path, f"{name}{i}", 30.0 + i, 25.0) for i in range(2)] + [row(name, {}, problem=name)]
    page = Page(write_report(result(rows, method=name, data=name, protocol_text=name, device=name), tmp_path))
    plain = Page(write_report(result(rows[:0]), tmp_path / "plain"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert [tag for tag, _ in page.tags].count("h1") == [tag for tag, _ in plain.tags].count("h1") == 1
    assert " ".join(name.split()) in page.text


def test_a_name_that_is_no_text_is_still_reported(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    rows = [stored_row(tmp_path, f"{name}{i}", 30.0) for i in range(2)]
    assert "\\udcff.png" in Page(write_report(result(rows), tmp_path)).text


def test_a_run_without_sound_pictures_has_a_report(tmp_path: Path) -> None:
    for rows in ([], [row("a", {}, problem="is damaged")]):
        assert "n/a" in Page(write_report(result(rows, columns=(PSNR, SSIM)), tmp_path)).text
    write_report(result([], columns=()), tmp_path)
    assert not list(tmp_path.glob("*.jpg"))


def test_perfect_and_odd_figures_are_shown_as_what_they_are(tmp_path: Path) -> None:
    rows = [row("a", math.inf, 30.0), row("b", 30.0, math.inf), row("c", math.inf, math.inf), row("d", math.nan, 1.0)]
    assert "∞ dB" in Page(write_report(result(rows[:1]), tmp_path)).text
    rows += [row("e", 31.0, 30.0), row("f", 33.0, 30.0)]
    assert "Not drawn, for they are infinite or no number: 3." in Page(write_report(result(rows), tmp_path)).text


def test_totals_of_the_set_stand_beside_those_of_degraded_and_sharp(tmp_path: Path) -> None:
    totals = {"f1": 0.5134, "map": 0.25, "degraded_f1": 0.3731, "sharp_f1": 0.6}
    page = Page(write_report(result([row("a", 1.0)], totals=totals), tmp_path))
    assert "restored degraded sharp f1 0.5134 0.3731 0.6000 map 0.2500" in page.text


def test_the_table_is_sorted_by_numbers(tmp_path: Path) -> None:
    page = Page(write_report(result([row("a", 9.5, 1.0), row("b", math.inf)]), tmp_path))
    values = [found["data-value"] for tag, found in page.tags if tag == "td" and "data-value" in found]
    assert values == ["9.5", "8.5", "0.25", "Infinity", "", "0.25"]


def test_without_jinja2_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(OutputError, match=r"pip install 'resharp\[evaluate\]'"):
        write_report(result([row("a", 1.0)]), tmp_path)


# --- histograms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "shift"), [(2, 0.3), (7, 0), (100, -3), (1000, 40)])
def test_bars_count_as_numpy_does_and_none_lies_on_both_sides_of_0(n: int, shift: float) -> None:
    values = (np.random.default_rng(n).normal(size=n) + shift).tolist()
    plot = histogram(values)
    assert plot is not None
    bounds = [[float(word) for word in bar.words.split(":")[0].split(" to ")] for bar in plot.bars]
    for bar, (low, high) in zip(plot.bars, bounds, strict=True):
        assert bar.count == sum(low <= value < high for value in values)
        assert low >= 0 or high <= 0
        assert bar.is_negative == (low < 0)
    assert sum(bar.count for bar in plot.bars) == n
    assert max(bar.height for bar in plot.bars) == pytest.approx(100)
    assert all(0 <= place <= 100 for place in (*plot.marks, plot.mean, *(place for place, _ in plot.ticks)))
    assert 2 <= len(plot.ticks) <= 8


@pytest.mark.parametrize("values", [[-1e-9, 1e-9], [1e9, 1e9 + 1], [0.3, 0.30001, math.inf], [1e9, 1e9 + 1e-6]])
def test_values_hardly_apart_have_a_histogram(values: list[float]) -> None:
    plot = histogram(values)
    assert plot is not None
    assert sum(bar.count for bar in plot.bars) + plot.n_left_out == len(values)


@pytest.mark.parametrize("values", [[], [0.0, 0.0, 0.0], [31.5], [31.5, math.inf], [math.inf, math.nan]])
def test_values_that_do_not_differ_have_no_histogram(values: list[float]) -> None:
    assert histogram(values) is None


def test_figures_in_words() -> None:
    assert [figure(value, PSNR) for value in (28.4306, math.inf, math.nan, -0.0001)] == [
        "28.431 dB", "∞ dB", "n/a", "0.000 dB"
    ]  # fmt: skip
    assert [signed_figure(value, SSIM) for value in (0.5, -0.5, 0.00001, -0.00001, math.inf, -math.inf)] == [
        "+0.5000", "-0.5000", "0.0000", "0.0000", "+∞", "-∞"
    ]  # fmt: skip
    assert [p_value(value) for value in (0.0004, 0.0314, math.nan)] == ["< 0.001", "0.031", "n/a"]


# --- sheets -----------------------------------------------------------------------------------------------------------


def named(values: dict[str, tuple[float, float | None]], column: Any = PSNR) -> Result:
    rows = [
        row(name, {column.name: ours}, None if before is None else {column.name: before}, restored="r.png")
        for name, (ours, before) in values.items()
    ]
    return result(rows, columns=(column,))


def chosen(made: Result, n: int = 5) -> tuple[str, str, str]:
    worst, best, criterion = extremes(made, n)
    return "".join(row.name for row in worst), "".join(row.name for row in best), criterion


def test_worst_and_best_are_by_gain_where_all_have_one() -> None:
    gains = {"a": (30.0, 29.0), "b": (20.0, 10.0), "c": (40.0, 42.0), "d": (25.0, 20.0)}
    assert chosen(named(gains)) == ("ca", "bd", "gain in psnr")
    assert chosen(named(gains | {"a": (30.0, None)})) == ("bd", "ca", "psnr")


def test_worst_and_best_follow_the_direction() -> None:
    assert chosen(named({"a": (3.0, None), "b": (9.0, None), "c": (5.0, None)}, NIQE)) == ("b", "ac", "niqe")
    assert chosen(named({"a": (3.0, 9.0), "b": (9.0, 3.0)}, NIQE)) == ("b", "a", "gain in niqe")


def test_no_picture_is_worst_and_best_at_once() -> None:
    for n in range(12):
        worst, best, _ = chosen(named({chr(97 + i): (float(i), None) for i in range(n)}))
        assert len(worst) + len(best) == min(n, 10)
        assert not set(worst) & set(best)


def test_rows_without_pictures_or_numbers_are_on_no_sheet() -> None:
    rows = [row("a", 1.0), row("b", {}, problem="x", restored="r"), row("c", math.nan, restored="r")]
    assert extremes(result([*rows, row("d", 1.0, restored="r")]))[1][0].name == "d"
    assert chosen(result(rows)) == ("", "", "psnr")


def test_the_crops_are_at_the_largest_error(tmp_path: Path) -> None:
    """64 pixels a side leave crops of 20, which are enlarged 16 times; the planted error fills 12 of them."""
    shown = make_sheets(result([stored_row(tmp_path, "a", 20.0)]), tmp_path).best[0]
    titles = [panel.title for panel in shown.panels]
    assert titles == ["restored, whole", "|restored - truth|", "input", "restored", "truth"]
    left, top = map(int, shown.panels[3].caption.split(" at ")[1].split(", "))
    assert left <= 8 < 20 <= left + 20
    assert top <= 40 < 52 <= top + 20
    for panel, kind in zip(shown.panels[2:], ("degraded", "restored", "clean"), strict=True):
        wanted = read_pixels(tmp_path / kind / "0.png")[:, top : top + 20, left : left + 20]
        assert torch.equal(panel.image[:, 8::16, 8::16], wanted)


def test_crops_of_a_smaller_input_show_the_same_place() -> None:
    large = torch.arange(64, dtype=torch.uint8).mul(4).expand(3, 64, 64)
    small = large[:, ::4, ::4]
    square = 16 / 64, 32 / 64, 32 / 64, 48 / 64
    assert torch.equal(crop(small, square)[:, 40::80, 40::80], small[:, 8:12, 4:8])
    assert torch.equal(crop(large, square)[:, 10::20, 10::20], large[:, 32:48, 16:32])


def test_the_map_is_the_error_on_its_scale(tmp_path: Path) -> None:
    """The error of 0.4 is half of the scale's 0.5 or less: bright there, black elsewhere."""
    panel = make_sheets(result([stored_row(tmp_path, "a", 20.0)]), tmp_path).best[0].panels[1]
    assert panel.caption == "0 to 0.5 of full scale"
    heat = panel.image[:, :SIDE].float().sum(0)
    assert heat[46 * 5, 14 * 5] > 250
    assert heat[10, 10] < 20


def test_a_map_grows_brighter_with_the_error() -> None:
    ramp = torch.linspace(0, 0.4, 100).expand(100, 100)
    heat = heat_map(ramp, 0.2, (0.0, 0.9, 0.1, 1.0)).float()
    light = (heat * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)[10, 1:50]
    assert bool((light.diff() > 0).all())
    assert_close(heat[:, 10, 60:99], heat[:, 10, 99:].expand(-1, 39))


def test_without_a_truth_changes_of_the_input_are_shown(tmp_path: Path) -> None:
    made = stored_row(tmp_path, "a", {"niqe": 4.0})
    blind = row("a", {"niqe": 4.0}, degraded=made.clean, restored=made.restored)
    shown = make_sheets(result([blind], columns=(NIQE,)), tmp_path).best[0]
    assert [panel.title for panel in shown.panels] == ["restored, whole", "|restored - input|", "input", "restored"]


def test_without_other_photos_the_middle_is_shown(tmp_path: Path) -> None:
    made = stored_row(tmp_path, "a", 4.0)
    shown = make_sheets(result([row("a", 4.0, restored=made.restored)]), tmp_path).best[0]
    assert [panel.title for panel in shown.panels] == ["restored, whole", "restored"]
    assert shown.panels[1].caption == "20 x 20 at 22, 22"


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (300, 12)])
def test_odd_sizes_have_sheets(size: tuple[int, int], tmp_path: Path) -> None:
    for kind in ("clean", "restored", "degraded"):
        write_photo(Photo(rand(3, *size, seed=len(kind), dtype=torch.float32)), tmp_path / f"{kind}.png")
    paths = {kind: str(tmp_path / f"{kind}.png") for kind in ("clean", "restored", "degraded")}
    write_report(result([row("a", 3.0, **paths), row("b", 4.0, **paths)]), tmp_path)
    assert read_pixels(tmp_path / "worst.jpg").shape[0] == 3


def test_photos_that_are_gone_leave_a_word(tmp_path: Path) -> None:
    rows = [stored_row(tmp_path, f"{i}", 20.0 + i) for i in range(2)]
    Path(rows[0].clean).unlink()
    text = Page(write_report(result(rows), tmp_path)).text
    assert "no such file" in text
    assert (tmp_path / "worst.jpg").is_file()


def test_only_the_pictures_shown_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stored_row(tmp_path, "a", 1.0)
    paths = {"degraded": made.degraded, "clean": made.clean, "restored": made.restored}
    opened: list[Path] = []

    def read(path: Path) -> Tensor:
        opened.append(path)
        return read_pixels(path)

    monkeypatch.setattr(sheets, "read_pixels", read)
    write_report(result([row(f"{i}", float(i), **paths) for i in range(100)]), tmp_path)
    assert len(opened) == 3 * 10


# --- what a detector found --------------------------------------------------------------------------------------------


def detected(folder: Path, **boxes: Any) -> Row:
    """Two dogs on 64 x 64 pixels, of which `boxes` says what was found."""
    dogs = [Box("dog", 4, 4, 24, 24), Box("dog", 36, 36, 60, 60)]
    texts = {version: [box.as_text() for box in found] for version, found in {"truth": dogs, **boxes}.items()}
    return stored_row(folder, "a", 0.5, boxes=texts, confidence=0.3, iou=0.5)


def test_boxes_are_drawn_on_each_version(tmp_path: Path) -> None:
    right, wrong, unsure = Box("dog", 4, 4, 24, 24, 0.9), Box("cat", 30, 4, 60, 20, 0.5), Box("cat", 30, 4, 60, 20, 0.1)
    made = detected(tmp_path, degraded=[], restored=[right, wrong, unsure], sharp=[right])
    shown = make_sheets(result([made]), tmp_path).best[0]
    assert [(panel.title, panel.caption) for panel in shown.panels] == [
        ("input", "0 right, 0 wrong, 2 missed"),
        ("restored", "1 right, 1 wrong, 1 missed"),
        ("sharp", "1 right, 0 wrong, 1 missed"),
    ]
    plain = fitted(read_pixels(made.restored), SIDE_OF_BOXED)
    changed = (shown.panels[1].image != plain).any(0)
    scale = SIDE_OF_BOXED / 64
    assert bool(changed[round(14 * scale), round(23 * scale) : round(24.5 * scale)].any())  # the right side of the dog
    assert not bool(changed[round(50 * scale), round(8 * scale) : round(30 * scale)].any())


def test_a_version_without_boxes_is_shown_plain(tmp_path: Path) -> None:
    shown = make_sheets(result([detected(tmp_path, restored=[])]), tmp_path).best[0]
    assert [panel.caption for panel in shown.panels] == ["not judged", "0 right, 0 wrong, 2 missed", "not judged"]


@pytest.mark.parametrize("boxes", [{}, {"restored": 3}, {"restored": ["x"], "truth": []}, {"restored": [], "truth": 3}])
def test_notes_that_something_else_wrote_leave_a_word(boxes: Any, tmp_path: Path) -> None:
    made = stored_row(tmp_path, "a", 0.5, boxes=boxes)
    shown = make_sheets(result([made]), tmp_path).best[0]
    assert shown.problem or [panel.caption for panel in shown.panels] == ["not judged"] * 3
