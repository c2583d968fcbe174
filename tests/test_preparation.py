import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from resharp.cli._terminal import InterruptedRunError
from resharp.cli.data.prepare import prepare as command
from resharp.data.layouts import find_listing, open_listing
from resharp.data.manifest import load_manifest
from resharp.data.preparation import Settings, check_counts, prepare
from resharp.errors import DatasetError, OutputError, ResharpError
from resharp.locks import exclusive
from tests.conftest import reference
from tests.test_folders import names_of, place
from tests.test_layouts import gopro, kohler, realblur

PARTIAL = Settings(allow_partial=True)


def picture(path: Path, width: int = 8, height: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def pictures(root: Path, **size: int) -> Path:
    """Real, small photos for all the empty files below `root`."""
    for seed, path in enumerate(sorted(root.rglob("*.png"))):
        picture(path, seed=seed, **size)
    return root


def pairs(root: Path, n: int = 3, **size: int) -> Path:
    place(root, *(f"{half}/{number}.png" for half in ("blur", "sharp") for number in range(n)))
    return pictures(root, **size)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_manifest_says_what_was_found(tmp_path: Path) -> None:
    source = pictures(gopro(tmp_path / "GOPRO_Large"))
    before = files_in(source)
    manifest = prepare("gopro", source, tmp_path / "out", PARTIAL)
    assert (manifest.layout, manifest.paired, manifest.scale) == ("gopro", True, 1)
    assert manifest.counts == {"train": 4, "test": 2}
    assert (manifest.items[0].width, manifest.items[0].height) == (8, 6)
    assert manifest.root == str(source)
    assert manifest.items[0].degraded == "test/GOPR0384_11_00/blur/000047.png"
    assert list(files_in(tmp_path / "out")) == ["manifest.json"]
    assert files_in(source) == before
    assert open_listing(tmp_path / "out") == open_listing(source)


def test_a_manifest_beside_the_photos_moves_with_them(tmp_path: Path) -> None:
    source = pairs(tmp_path / "here")
    assert prepare("pairs", source, source).root == "."
    source.rename(tmp_path / "there")
    listing = open_listing(tmp_path / "there")
    assert names_of(listing, tmp_path / "there")[0] == ("blur/0.png", "sharp/0.png")
    prepare("pairs", pairs(tmp_path / "all/inner"), tmp_path / "all")
    assert load_manifest(tmp_path / "all/manifest.json").root == "inner"


def test_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in")
    entry = prepare("pairs", source, tmp_path / "out", Settings(hashed=True)).items[1]
    assert entry.degraded_sha256 == hashlib.sha256((source / "blur/1.png").read_bytes()).hexdigest()
    assert entry.clean_sha256 == hashlib.sha256((source / "sharp/1.png").read_bytes()).hexdigest()


def test_the_same_call_again_changes_nothing(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in")
    for settings in (Settings(), Settings(half=True)):
        out = tmp_path / f"out{settings.half}"
        prepare("pairs", source, out, settings)
        before = files_in(out)
        prepare("pairs", source, out, settings)
        assert files_in(out) == before


def test_other_counts_than_the_published_are_named_by_sequence(tmp_path: Path) -> None:
    source = pictures(gopro(tmp_path))
    with pytest.raises(DatasetError, match=r"test 2 of 1111, train 4 of 2103 \(GOPR0372_07_00 2, GOPR0374_11_00 2, "):
        prepare("gopro", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DatasetError, match="test 4 of 48"):
        check_counts(find_listing("kohler", kohler(tmp_path / "kohler")), tmp_path)
    with pytest.raises(DatasetError, match=r"test 3 of 980, train 3 of 3758 \(scene001 3, scene002 3\)"):
        check_counts(find_listing("realblur", realblur(tmp_path / "real")), tmp_path)
    with pytest.raises(DatasetError, match="published: 2 of 3112;"):
        check_counts(find_listing("rwbi", place(tmp_path / "rwbi", "1.jpg", "2.jpg")), tmp_path)


def test_published_counts_pass(tmp_path: Path) -> None:
    for image in range(1, 5):
        for shot in range(1, 13):
            place(tmp_path, f"Blurry{image}_{shot}.png", *(f"GroundTruth{image}_{shot}_{n}.png" for n in (1, 2)))
    check_counts(find_listing("kohler", tmp_path), tmp_path)


def test_unreadable_photos_are_counted_and_nothing_is_written(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in", 5)
    (source / "blur/1.png").write_bytes(b"")
    (source / "sharp/3.png").write_bytes(b"no photo")
    with pytest.raises(DatasetError, match=r"2 unreadable \(.*blur/1.png: is empty .*, .*sharp/3.png: is damaged"):
        prepare("pairs", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_halves_of_other_sizes_are_named(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in")
    picture(source / "sharp/1.png", width=9)
    with pytest.raises(DatasetError, match=r"1 pairs do not have one size \(.*blur/1.png 8x6 and .*sharp/1.png 9x6\)"):
        prepare("pairs", source, tmp_path / "out")


def test_pairs_for_super_resolution_share_one_scale(tmp_path: Path) -> None:
    for number, (width, height) in enumerate([(3, 2), (1, 1), (5, 4)]):
        picture(tmp_path / f"in/lr_x4/{number}.png", width, height)
        picture(tmp_path / f"in/hr/{number}.png", 4 * width, 4 * height)
    assert prepare("pairs", tmp_path / "in", tmp_path / "out").scale == 4
    with pytest.raises(DatasetError, match="half is for pairs of one size"):
        prepare("pairs", tmp_path / "in", tmp_path / "half", Settings(half=True))
    picture(tmp_path / "in/hr/1.png", 2, 2)
    with pytest.raises(
        DatasetError, match=r"do not have a clean photo 4 times as large \(.*lr_x4/1.png 1x1 and .* 2x2\)"
    ):
        prepare("pairs", tmp_path / "in", tmp_path / "out")


def test_photos_of_one_pixel_are_photos_but_have_no_half(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in", width=1, height=1)
    assert prepare("pairs", source, tmp_path / "out").items[0].width == 1
    with pytest.raises(DatasetError, match="of 2 pixels at least"):
        prepare("pairs", source, tmp_path / "half", Settings(half=True))


def test_half_size_photos_are_bicubic_and_antialiased(tmp_path: Path) -> None:
    source = pictures(gopro(tmp_path / "in"), width=20, height=15)
    manifest = prepare("gopro", source, tmp_path / "out", Settings(half=True, allow_partial=True), n_workers=2)
    assert manifest.root == "."
    assert manifest.items[0].degraded == "test/blur/GOPR0384_11_00/000047.png"
    assert manifest.items[0].clean == "test/sharp/GOPR0384_11_00/000047.png"
    assert (manifest.items[0].width, manifest.items[0].height) == (10, 8)
    listing = open_listing(tmp_path / "out")
    assert [item.group for item in listing.items] == [item.group for item in open_listing(source).items]
    ours = np.asarray(Image.open(listing.pairs[0][0])).astype(int)
    whole = Image.open(source / "test/GOPR0384_11_00/blur/000047.png").crop((0, 0, 20, 14))
    theirs = np.asarray(whole.resize((10, 7), Image.Resampling.BICUBIC)).astype(int)  # Pillow: a = -0.5, antialiased
    assert np.abs(ours[2:5, 2:-2] - theirs[2:5, 2:-2]).max() <= 1  # away from borders, which differ


def test_clean_photos_at_half_size_keep_their_folders_and_depth(tmp_path: Path) -> None:
    values = np.full((4, 4), 40000, np.uint16)
    (tmp_path / "in/a").mkdir(parents=True)
    Image.fromarray(values).save(tmp_path / "in/a/x.png")
    picture(tmp_path / "in/y.jpg")
    prepare("clean", tmp_path / "in", tmp_path / "out", Settings(half=True))
    listing = open_listing(tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in listing.clean] == ["sharp/a/x.png", "sharp/y.png"]
    assert np.array_equal(np.asarray(Image.open(listing.clean[0])), values[:2, :2])


def test_side_by_side_photos_are_cut_apart(tmp_path: Path) -> None:
    whole = picture(tmp_path / "in/train/v/x.png", width=10)
    manifest = prepare("side-by-side", tmp_path / "in", tmp_path / "out")
    assert (manifest.layout, manifest.counts, manifest.items[0].width) == ("pairs", {"train": 1}, 5)
    ((degraded, clean),) = open_listing(tmp_path / "out").pairs
    assert np.array_equal(np.asarray(Image.open(degraded)), whole[:, :5])
    assert np.array_equal(np.asarray(Image.open(clean)), whole[:, 5:])
    picture(tmp_path / "in/odd.png", width=9)
    with pytest.raises(DatasetError, match=r"1 of an odd width cannot be halves A\|B \(.*odd.png\)"):
        prepare("side-by-side", tmp_path / "in", tmp_path / "other")


def test_what_was_interrupted_is_unfinished_and_goes_on(tmp_path: Path) -> None:
    source, out = pairs(tmp_path / "in", 6), tmp_path / "out"

    def stop(doing: str, n_done: int, _: int) -> None:
        if doing == "writing" and n_done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("pairs", source, out, Settings(half=True), on_item=stop)
    with pytest.raises(DatasetError, match="was not finished; run the same"):
        open_listing(out)
    done = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(done) >= 6
    (out / "blur/.resharp-killed.part").write_bytes(b"half a photo")  # what a killed process leaves
    with pytest.raises(DatasetError, match="holds another preparation"):
        prepare("clean", source, out, Settings(half=True))
    prepare("pairs", source, out, Settings(half=True))
    assert len(open_listing(out).pairs) == 6
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert sorted(files_in(out)) == sorted(
        ["manifest.json", *(f"{h}/{n}.png" for h in ("blur", "sharp") for n in range(6))]
    )


def test_a_photo_that_was_replaced_is_written_again(tmp_path: Path) -> None:
    source, out = pairs(tmp_path / "in"), tmp_path / "out"
    prepare("pairs", source, out, Settings(half=True))
    before = (out / "blur/1.png").read_bytes()
    picture(source / "blur/1.png", seed=99)
    os.utime(source / "blur/1.png", (2**32, 2**32))
    prepare("pairs", source, out, Settings(half=True))
    assert (out / "blur/1.png").read_bytes() != before


@pytest.mark.parametrize("keep", [0, 50])
def test_an_output_that_was_damaged_is_written_again(tmp_path: Path, keep: int) -> None:
    source, out = pairs(tmp_path / "in", width=16, height=16), tmp_path / "out"
    prepare("pairs", source, out, Settings(half=True))
    before = files_in(out)
    (out / "blur/1.png").write_bytes(before["blur/1.png"][:keep])
    prepare("pairs", source, out, Settings(half=True))
    assert files_in(out) == before


def test_damage_behind_a_header_does_not_stop_the_others(tmp_path: Path) -> None:
    source, out = pairs(tmp_path / "in", 4), tmp_path / "out"
    whole = (source / "blur/1.png").read_bytes()
    (source / "blur/1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"1 unreadable \(.*blur/1.png: is damaged or cut short.*then go on"):
        prepare("pairs", source, out, Settings(half=True))
    assert len(list(out.rglob("*.png"))) == 6
    assert not (out / "manifest.json").exists()
    (source / "blur/1.png").write_bytes(whole)
    assert prepare("pairs", source, out, Settings(half=True)).counts == {"": 4}


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = pairs(tmp_path / "in"), tmp_path / "out"
    n_left, real = [4], os.fsync

    def full(handle: int) -> None:
        n_left[0] -= 1
        if n_left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr("resharp.files.os.fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        prepare("pairs", source, out, Settings(half=True))
    assert len(files_in(out)) == 4
    for path in out.rglob("*.png"):
        Image.open(path).load()
    monkeypatch.undo()
    prepare("pairs", source, out, Settings(half=True))
    assert len(open_listing(out).pairs) == 3


def test_two_writers_at_once_are_told(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in")
    (tmp_path / "out").mkdir()
    with exclusive(tmp_path / "out"), pytest.raises(DatasetError, match="is being written by process"):
        prepare("pairs", source, tmp_path / "out")
    prepare("pairs", source, tmp_path / "out")


@pytest.mark.parametrize("half", [False, True])
def test_nothing_of_others_is_overwritten(half: bool, tmp_path: Path) -> None:
    source, out, settings = pairs(tmp_path / "in"), tmp_path / "out", Settings(half=half)
    out.mkdir()
    (out / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(DatasetError, match="is no manifest of resharp"):
        prepare("pairs", source, out, settings)
    assert files_in(out) == {"manifest.json": b'{"name": "an app"}'}
    (out / "manifest.json").unlink()
    prepare("pairs", source, out, settings)
    with pytest.raises(DatasetError, match="holds another preparation; name another folder"):
        prepare("pairs", source, out, Settings(half=half, by="order"))
    with pytest.raises(OutputError, match="a file stands where a folder belongs"):
        prepare("pairs", source, out / "manifest.json", settings)


def test_photos_are_written_neither_among_others_nor_into_their_source(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in")
    place(tmp_path / "out", "holiday.jpg")
    with pytest.raises(DatasetError, match="holds other files; name a new or an empty folder"):
        prepare("pairs", source, tmp_path / "out", Settings(half=True))
    for inside in (source, source / "half"):
        with pytest.raises(DatasetError, match=r"lies in .*; name a folder outside of it"):
            prepare("pairs", source, inside, Settings(half=True))


def test_two_photos_never_become_one(tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg"):
        picture(tmp_path / "in" / name)
    with pytest.raises(DatasetError, match=r"x.jpg and .*x.png would both be written as x.png"):
        prepare("clean", tmp_path / "in", tmp_path / "out", Settings(half=True))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_destination_is_said(tmp_path: Path) -> None:
    source = pairs(tmp_path / "in")
    (tmp_path / "out").mkdir(mode=0o500)
    for destination in (tmp_path / "out", tmp_path / "out/new"):
        with pytest.raises(OutputError, match="no permission there"):
            prepare("pairs", source, destination)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_command_says_what_was_prepared(tmp_path: Path) -> None:
    source = pictures(gopro(tmp_path / "in"))
    result = run("gopro", source, "-o", tmp_path / "out", "--partial", "--subset", "gamma")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "gopro: 6 pairs (test 2, train 4), 3 groups",
        "pixels: 8x6 (6)",
        f"manifest: {tmp_path / 'out/manifest.json'}",
    ]
    assert "blur_gamma" in (tmp_path / "out/manifest.json").read_text()


def test_the_command_speaks_json(tmp_path: Path) -> None:
    place(tmp_path / "in", "bad/1.png", "good/a.png")
    pictures(tmp_path / "in")
    result = run(
        "pairs", tmp_path / "in", "-o", tmp_path / "out", "--pairs", "bad", "good", "--by", "order", "--hash", "--json"
    )
    assert json.loads(result.output) == {
        "manifest": str(tmp_path / "out/manifest.json"),
        "layout": "pairs",
        "kind": "pairs",
        "n_items": 1,
        "splits": {"": 1},
        "n_groups": 0,
        "sizes": {"8x6": 1},
        "scale": 1,
        "hashed": True,
    }


def test_mistakes_of_the_command_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (("gopor", tmp_path), ("gopro", tmp_path / "nowhere"), ("clean", tmp_path)):
        result = run(*arguments, "-o", tmp_path / "out")
        assert isinstance(result.exception, ResharpError)
        assert result.exception.exit_code == 2

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resharp.data.preparation.prepare", interrupted)
    assert isinstance(run("clean", tmp_path, "-o", tmp_path / "out").exception, InterruptedRunError)


def test_real_pairs_are_prepared(tmp_path: Path) -> None:
    manifest = prepare("pairs", reference("gopro", "crops"), tmp_path / "out", Settings(half=True))
    assert len(manifest.items) == 8
    assert {(item.width, item.height) for item in manifest.items} == {(128, 128)}
    assert prepare("pairs", reference("sr", "set5"), tmp_path / "sr").scale == 4
