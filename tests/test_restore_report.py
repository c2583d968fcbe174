"""The page of photos before and after: what stands on it, what it loads, the place that it shows."""

import dataclasses
import re
import urllib.parse
from pathlib import Path

import pytest
import torch
from PIL import Image

from resharp.photo import Photo, read_photo, write_photo
from resharp.restorers.files import restore_files
from resharp.restorers.jobs import Job, plan_jobs
from resharp.restorers.report import CROP, PREVIEW, Report, most_changed
from resharp.restorers.rows import Row
from tests.restoring import Darker
from tests.test_evaluation_report import Page

NAME = 'a <b>&"quoted" photo, ä.jpg'


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Of two photos, one with a name that is no HTML, and of a broken one."""
    for name, width in ((NAME, 900), ("small.png", 20)):
        image = torch.rand(3, 40, width, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3
        write_photo(Photo(image, exif=b"MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"), tmp_path / "in" / name)
    (tmp_path / "in" / "broken.png").write_bytes(b"x")
    return restore_files(plan_jobs([tmp_path / "in"], tmp_path / "out"), Darker())


def test_every_photo_is_on_the_page_with_pictures_that_are_there(rows: list[Row], tmp_path: Path) -> None:
    report = Report(tmp_path / "pages" / "page.html", title="Garden")
    report.write(rows)
    page = Page(report.page)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 8
    assert {image["loading"] for image in images} == {"lazy"}
    for image in images:
        with Image.open(report.page.parent / urllib.parse.unquote(image["src"] or "")) as picture:
            assert max(picture.size) <= PREVIEW
            assert not picture.getexif()
            assert "before" in (image["alt"] or "") or picture.size == (
                int(image["width"] or 0),
                int(image["height"] or 0),
            )
    links = [
        attributes["href"] or "" for tag, attributes in page.tags if tag == "a" and attributes["href"] != "#problems"
    ]
    assert sorted(urllib.parse.unquote(link) for link in links) == sorted(
        f"../{folder}/{name}" for folder in ("in", "out") for name in (NAME, "small.png")
    )
    assert str(tmp_path / "in" / NAME) in page.text
    assert "b" not in {tag for tag, _ in page.tags}
    assert "2 of 3 photos restored" in page.text
    assert "is not a JPEG, PNG, TIFF or WebP image" in page.text
    assert not re.findall(r"https?:", report.page.read_text())


def test_untouched_photos_are_told_apart_and_how_they_are_shown_is_said(rows: list[Row], tmp_path: Path) -> None:
    report = Report(tmp_path / "page.html")
    told = [dataclasses.replace(rows[-1], facts={"untouched": "it is sharp"})]
    report.write([*told, dataclasses.replace(rows[0], facts={"doubtful": "look at it"}), *rows[1:-1]])
    text = Page(report.page).text
    assert "1 of 3 photos restored, 1 left as it was" in text
    assert "left as it was (it is sharp)" in text
    assert text.count("look at it") == 1
    for words in ("the whole photo, made smaller", "the whole photo, enlarged"):
        assert words in text


def test_pictures_are_made_beside_the_work_and_not_again(tmp_path: Path) -> None:
    write_photo(Photo(torch.rand(3, 30, 30)), tmp_path / "in" / "a.png")
    report = Report(tmp_path / "page.html")
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")
    rows = restore_files(jobs, Darker(), beside=report.keep)
    before = {path: path.stat().st_mtime_ns for path in report.folder.iterdir()}
    assert len(before) == 5
    report.write(rows)
    assert {path: path.stat().st_mtime_ns for path in report.folder.iterdir()} == before
    write_photo(Photo(torch.ones(3, 30, 30)), rows[0].job.output)
    report.write(rows)
    assert {path: path.stat().st_mtime_ns for path in report.folder.iterdir()} != before
    rows[0].job.output.unlink()
    report.write(rows)
    assert "0 of 1 photo restored" in Page(report.page).text


def test_an_enlarged_photo_is_shown_in_the_pixels_of_the_result(tmp_path: Path) -> None:
    image = torch.full((3, 300, 400), 0.5)
    image[:, 250:, :50] = 1
    report, job = Report(tmp_path / "page.html"), Job(tmp_path / "a.png", tmp_path / "b.png")
    larger = image.repeat_interleave(2, -1).repeat_interleave(2, -2)
    larger[:, 500:, :100] = 0
    report.keep(job, Photo(image), Photo(larger))
    before, after = (read_photo(path).image for path in sorted(report.folder.glob("*crop*.jpg"), reverse=True))
    assert before.shape == after.shape == (3, CROP, CROP)
    assert before[:, -90:, :90].min() > 0.98
    assert after[:, -90:, :90].max() < 0.02


@pytest.mark.parametrize(("top", "left"), [(0, 0), (830, 40), (500, 1200)])
def test_the_square_lies_where_the_change_is(top: int, left: int) -> None:
    before = torch.zeros(3, 900, 1400)
    after = before.clone()
    after[:, top : top + 60, left : left + 60] = 0.5
    square, change = most_changed(before, after, 100)
    assert square[0] <= top + 6
    assert square[1] <= left + 6
    assert square[2] >= top + 54
    assert square[3] >= left + 54
    assert square[2] - square[0] == square[3] - square[1] == 100
    assert change == pytest.approx(0.5 * 3600 / (900 * 1400))


@pytest.mark.parametrize("size", [(1, 1), (5, 700), (99, 100)])
def test_a_photo_smaller_than_the_square_is_shown_whole(size: tuple[int, int]) -> None:
    square, change = most_changed(torch.zeros(3, *size), torch.zeros(3, *size), 100)
    assert (square[2] - square[0], square[3] - square[1]) == (min(size[0], 100), min(size[1], 100))
    assert change == 0
