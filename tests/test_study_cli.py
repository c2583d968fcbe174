"""`resharp study`, and its page in a browser where there is one."""

import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from resharp.photo import Photo, encode_photo, read_photo, screen_photo
from resharp.study.creation import new_study
from resharp.study.definition import read_study
from resharp.study.ratings import Ratings
from resharp.study.scale import JOD, strengths
from tests.conftest import Run, rand
from tests.evaluation_sets import photos_of, smooth, written
from tests.study_sets import outputs_of, study_of
from tests.test_study_server import serving


def rated(folder: Path, names: tuple[str, ...]) -> None:
    """Every rater prefers conditions that come later."""
    study = read_study(folder)
    ratings = Ratings(study, folder)
    for name in names:
        number, _ = ratings.rater(ratings.add_rater(name) or "") or (0, "")
        for n in range(study.n_trials):
            trial = ratings.trial(number, n)
            assert trial is not None
            places = [study.conditions.index(condition) for condition in trial.shown]
            answer = places[0] + 1 if len(places) == 1 else 1 + int(places[1] > places[0])
            ratings.store(number, n, answer, seconds=2.0, zoom="fit")
    ratings.close()


@pytest.mark.parametrize("protocol", ["acr", "pairs"])
def test_a_study_from_folders_to_a_report(run: Run, tmp_path: Path, protocol: str) -> None:
    outputs = outputs_of(tmp_path, "a", "b", "ref", n_scenes=3)
    done = run(
        "study", "new", outputs["a"], f"<i>x$y={outputs['b']}", "--images", outputs["a"], "--reference", outputs["ref"],
        "--protocol", protocol, "-o", tmp_path / "s",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("3 images, 3 conditions: a, <i>x$y, reference\neach rater answers 11 times, 2 of them")
    none = run("study", "report", tmp_path / "s")
    assert (none.code, none.err.count("\n")) == (2, 1)
    assert "there are no answers yet; `resharp study serve` shows the page" in none.err
    rated(tmp_path / "s", ("A<script>alert(1)</script>", "Bo"))
    if protocol == "acr":
        record = json.loads(run("study", "report", tmp_path / "s", "-o", tmp_path / "r", "--json").out)
        assert [record["mos"][name]["value"] for name in ("a", "<i>x$y", "reference")] == [1, 2, 3]
        assert [record["dmos"][name]["value"] for name in ("a", "<i>x$y", "reference")] == [3, 4, 5]
        assert record["agreement"] == 1
    else:
        out = run("study", "report", tmp_path / "s", "-o", tmp_path / "r").out
        assert "22 answers, raters 2; Kendall's u 1.00\n" in out
        assert (
            "no rater is called 'Be'; did you mean 'Bo'?"
            in run("study", "report", tmp_path / "s", "--leave-out", "Be").err
        )
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<i>x" not in page
    tables = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in (tmp_path / "r").glob("*.csv")}
    assert set(tables) == {"conditions", "images", "raters", "ratings", "pwcmp"}
    assert len(tables["ratings"]) == 22
    assert list(tables["pwcmp"][0]) == ["observer", "session", "scene", "condition_A", "condition_B", "is_A_selected"]
    assert len(tables["pwcmp"]) == 2 * 9
    names, wins = ["a", "<i>x$y", "reference"], np.zeros((3, 3))
    for row in tables["pwcmp"]:
        places = names.index(row["condition_A"]), names.index(row["condition_B"])
        wins[places if row["is_A_selected"] == "1" else places[::-1]] += 1
    jod = [float(row["jod"]) for row in tables["conditions"]]
    assert jod == pytest.approx(strengths(wins) / JOD, abs=1e-4)  # what a reader of the CSV finds is what we say
    assert (tmp_path / "r" / "plot.svg").read_bytes().startswith(b"<?xml")


def test_what_no_study_is_made_of(run: Run, tmp_path: Path) -> None:
    folders = outputs_of(tmp_path, "a", "b", "lacks", "unequal", "empty", "one/b")
    a, b = folders["a"], folders["b"]
    (folders["lacks"] / "2.png").unlink()
    written(folders["unequal"] / "1.png", smooth(1, 24, 30)[0])
    for path in folders["empty"].iterdir():
        path.unlink()
    (folders["one/b"] / "3.png").write_bytes((a / "3.png").read_bytes()[:99])
    twins = photos_of(tmp_path / "twins", smooth(2, 24, 32))
    (twins / "0.png").rename(twins / "1.jpg")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in (
        ((a, folders["lacks"]), "lacks: 1 of the 4 images are missing (2.png); add them, or take them out of --images"),
        ((a, b, folders["unequal"]), f"unequal/1.png: is 30x24, but {a}/1.png is 32x24; rated pictures of an image"),
        ((folders["unequal"], b), f"b/1.png: is 32x24, but {folders['unequal']}/1.png is 30x24"),
        ((a, b, "--reference", folders["unequal"]), f"a/1.png: is 32x24, but {folders['unequal']}/1.png is 30x24"),
        ((a, folders["empty"]), "empty: holds no pictures"),
        ((a, tmp_path / "no"), "no: is no folder"),
        ((b, folders["one/b"]), "b: is the second one called b; name them apart, as in NAME="),
        ((a, f"x={folders['one/b']}"), "3.png: "),
        ((a, f"reference={b}"), "a condition cannot be called 'reference'"),
        ((a,), "a study compares at least two folders"),
        ((a, b, "--images", folders["empty"]), "no photos there"),
        ((a, b, "--images", twins), "two images of one name cannot be told apart; take one out (1)"),
        ((a, b, "-o", tmp_path / "taken"), "taken: is there already; name a new folder with -o"),
        ((a, b, "--trials", 2, "--repeats", 1), "2 trials with 1 repeats leave too few new ones: 2 at least"),
        ((a, b, "--trials", 20, "--repeats", 5), "20 trials with 5 repeats leave too few new ones: 10 at least"),
    ):
        done = run("study", "new", "--images", a, "-o", tmp_path / "s", *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert words in done.err
    assert sorted(tmp_path.rglob("*")) == before
    done = run("study", "report", a)
    assert "holds no study.json that can be read; `resharp study new` makes a study" in done.err


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (10000, "14 trials of each rater instead of 10000: there are no more to ask"),
        (9, "8 trials of each rater instead of 9: an image is graded under all conditions or none"),
    ],
)
def test_trials_that_nobody_is_asked_are_told(run: Run, tmp_path: Path, n: int, words: str) -> None:
    folders = outputs_of(tmp_path, "a", "b", "ref")
    command = ["study", "new", folders["a"], folders["b"], "--images", folders["ref"], "--reference", folders["ref"]]
    command += ["--repeats", 2, "-o", tmp_path / "s"]
    assert run(*command, "--trials", n).err == f"resharp: {words}\n"
    shutil.rmtree(tmp_path / "s")
    assert run(*command).err == ""


def test_what_the_disk_refuses_is_named_in_the_study(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = outputs_of(tmp_path, "a", "b")

    def refuse(handle: int) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr("os.fsync", refuse)
    done = run("study", "new", *folders.values(), "--images", folders["a"], "-o", tmp_path / "s")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"resharp: {tmp_path}/s/pictures/000000.png: cannot be written (File too large" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_pictures_are_written_fast(tmp_path: Path) -> None:
    study_of(tmp_path)
    content = (tmp_path / "study" / "pictures" / "000000.png").read_bytes()
    place = content.index(b"IDAT") + 4
    assert content[place : place + 2] == b"\x78\x01"  # zlib's header of its fastest level


def test_a_dataset_s_photos_are_named_as_evaluate_names_them(tmp_path: Path) -> None:
    sharp, blurred = smooth(4, 24, 32), smooth(4, 24, 32)
    gopro, ours = tmp_path / "GOPRO", tmp_path / "ours"
    for n, sequence in enumerate(("one", "two")):
        for half, photos in (("sharp", sharp), ("blur", blurred)):
            photos_of(gopro / "test" / sequence / half, photos[2 * n : 2 * n + 2])
        photos_of(ours / sequence, sharp[2 * n : 2 * n + 2])
    made = new_study({"ours": ours, "input": gopro}, gopro, tmp_path / "study", reference=gopro)
    assert [scene.name for scene in made.scenes] == ["one/0.png", "one/1.png", "two/0.png", "two/1.png"]


def test_a_missing_extra_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("resharp.study")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "choix", None)
    done = run("study", "serve", tmp_path)
    assert (done.code, done.err) == (2, "resharp: studies need choix: pip install 'resharp[study]'\n")


def test_pictures_are_shown_as_they_look() -> None:
    image = rand(3, 4, 5, dtype=torch.float32).mul(255).round() / 255
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (screen_photo(Photo(image, icc=profile)).image - image).abs().max() <= 1 / 255
    swapped = profile.replace(b"rXYZ", b"-XYZ").replace(b"bXYZ", b"rXYZ").replace(b"-XYZ", b"bXYZ")
    shown = screen_photo(Photo(image, icc=swapped))  # whose red is blue
    assert (shown.image - image.flip(0)).abs().max() <= 2 / 255
    assert (shown.icc, shown.depth) == (None, 8)
    assert torch.equal(screen_photo(Photo(image, icc=b"nonsense" * 20)).image, image)
    assert screen_photo(Photo(image, alpha=torch.zeros(4, 5))).image.unique().tolist() == [0.5]
    assert set(Image.open(io.BytesIO(encode_photo(shown, "PNG"))).info) == set()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_the_page_in_a_browser(run: Run, tmp_path: Path) -> None:
    folders = outputs_of(tmp_path, "a", "b", n_scenes=2)
    run("study", "new", *folders.values(), "--images", folders["a"], "--protocol", "pairs", "-o", tmp_path / "s")
    with serving(tmp_path / "s") as client:
        token = client.begin("Ann").rpartition("/")[2]
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
        command += ["--virtual-time-budget=20000", "--dump-dom", f"http://127.0.0.1:{client.port}/rate/{token}"]
        page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=os.environ).stdout
    total = read_study(tmp_path / "s").n_trials
    assert f">1 of {total}</span>" in page
    assert page.count(f'src="/raters/{token}/trials/0/') == 2
    assert "<b>2</b>Right" in page
    assert read_photo(tmp_path / "s" / "pictures" / "000000.png").image.shape == (3, 24, 32)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_the_report_s_tables_fit_a_usual_window(run: Run, tmp_path: Path) -> None:
    study_of(tmp_path)
    rated(tmp_path / "study", ("Ann",))
    ratings = Ratings(read_study(tmp_path / "study"), tmp_path / "study")
    number, _ = ratings.rater(ratings.add_rater("Inverted") or "") or (0, "")
    for n in range(ratings.study.n_trials):
        trial = ratings.trial(number, n)
        assert trial is not None
        answer = 5 - ratings.study.conditions.index(trial.shown[0])
        ratings.store(number, n, 1 if trial.repeats is None and answer == 2 else answer, seconds=2.0, zoom="fit")
    ratings.close()
    run("study", "report", tmp_path / "study", "-o", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "disagrees with the others" in page
    measure = "document.title = [...document.querySelectorAll('.scroll')].map((e) => e.scrollWidth - e.clientWidth)"
    (tmp_path / "measured.html").write_text(re.sub("<meta http-equiv[^>]*>", "", page) + f"<script>{measure}</script>")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    command += ["--window-size=1280,900", "--dump-dom", f"file://{tmp_path}/measured.html"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=os.environ).stdout
    assert "<title>0,0,0</title>" in seen
