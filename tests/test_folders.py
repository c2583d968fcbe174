import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resharp.data.folders import (
    Found,
    folders_in,
    look_below,
    natural,
    pairs_by_name,
    pairs_by_order,
    photo_paths,
    photos_below,
    unpaired,
)
from resharp.data.listing import Listing
from resharp.errors import ArgumentError, DatasetError
from tests.conftest import reference


def place(root: Path, *names: str) -> Path:
    """Empty files below `root`: listing reads no pixels."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names_of(listing: Listing, root: Path) -> list[tuple[str, str]]:
    return [(d.relative_to(root).as_posix(), c.relative_to(root).as_posix()) for d, c in listing.pairs]


def test_photos_are_found_in_all_folders_in_the_order_of_paths(tmp_path: Path) -> None:
    place(tmp_path, "b.png", "a/z.JPEG", "a/deep/er/y.Tiff", "notes.txt", "labels/b.txt", "noname")
    assert [p.relative_to(tmp_path).as_posix() for p in photos_below(tmp_path)] == [
        "a/deep/er/y.Tiff",
        "a/z.JPEG",
        "b.png",
    ]


def test_hidden_files_and_folders_are_not_seen(tmp_path: Path) -> None:
    place(tmp_path, "x.png", "._x.png", ".DS_Store", ".thumbnails/x.png", "__MACOSX/._x.png")
    assert photos_below(tmp_path) == photo_paths(tmp_path) == [tmp_path / "x.png"]


def test_what_systems_leave_among_photos_is_passed_over_and_told(tmp_path: Path) -> None:
    left = ["._x.png", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir/x.jpg/SYNOPHOTO_THUMB_XL.jpg"]
    left += ["$RECYCLE.BIN/$R1.jpg", "a/__MACOSX/x.png", "System Volume Information/x.png"]
    place(tmp_path, "x.png", "a/y.jpg", "a/z.HEIC", "b.heic", "notes.txt", "noname", "c.cr2", "d.mp4", *left)
    found = look_below(str(tmp_path))
    assert found.photos == (tmp_path / "a/y.jpg", tmp_path / "x.png")
    assert {path.name for path in found.others} == {"z.HEIC", "b.heic", "notes.txt", "noname", "c.cr2", "d.mp4"}
    tops = {name.replace("/__MACOSX", "__MACOSX").split("/")[0].replace("a__", "__") for name in left}
    assert {path.name for path in found.leftovers} == tops
    assert found.passed_over.startswith("passed over 2 .heic, 1 ")
    assert found.passed_over.endswith(", 2 of other kinds and 8 leftovers of the system")
    assert [path.name for path in folders_in(tmp_path)] == ["a"]


def test_what_was_passed_over_is_one_line() -> None:
    assert Found(()).passed_over == ""
    assert Found((), others=(Path("a.txt"), Path("b.txt"))).passed_over == "passed over 2 .txt"
    assert Found((), leftovers=(Path("Thumbs.db"),)).passed_over == "passed over 1 leftover of the system"
    assert Found((), (Path("a"),), (Path(".x"),)).passed_over == (
        "passed over 1 without a suffix and 1 leftover of the system"
    )


def test_text_is_a_folder_too(tmp_path: Path) -> None:
    place(tmp_path, "a/1.png", "b/1.png")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert photos_below(a) == photo_paths(a) == [tmp_path / "a/1.png"]
    assert pairs_by_name(a, b).pairs == pairs_by_order(a, b).pairs
    assert len(unpaired(a, b).items) == 2


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    place(tmp_path, "a/x.png", "b/y.png")
    (tmp_path / "a/to-b").symlink_to(tmp_path / "b")
    (tmp_path / "b/to-a").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert sorted(path.name for path in photos_below(tmp_path)) == ["x.png", "y.png"]


def test_folders_can_be_passed_over(tmp_path: Path) -> None:
    place(tmp_path, "images/x.png", "annotations/x.png")
    assert photos_below(tmp_path, ignored=("annotations",)) == [tmp_path / "images/x.png"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    place(tmp_path / "elsewhere", "one.png")
    place(tmp_path / "set", "two.png")
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/three.png").symlink_to(tmp_path / "elsewhere/one.png")
    found = [p.relative_to(tmp_path / "set").as_posix() for p in photos_below(tmp_path / "set")]
    assert found == ["linked/one.png", "three.png", "two.png"]


def test_a_link_that_leads_nowhere_is_listed_so_that_it_is_missed(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "never.png")
    assert photos_below(tmp_path) == [tmp_path / "gone.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_no_photo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert photos_below(tmp_path) == []


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    place(tmp_path, "file")
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        photos_below(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="file: is no folder"):
        photos_below(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    place(tmp_path, "closed/x.png")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(DatasetError, match=r"closed: cannot be read \(Permission denied\)"):
            photos_below(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_training_folders_without_photos_are_an_argument_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArgumentError, match="no photos there"):
            photo_paths(folder)


def test_pairs_by_name_ignore_suffixes_and_keep_folders(tmp_path: Path) -> None:
    place(tmp_path, "a/1.png", "b/1.JPG", "a/v/10.png", "b/v/10.png", "a/v/2.png", "b/v/2.png", "b/notes.txt")
    listing = pairs_by_name(tmp_path / "a", tmp_path / "b")
    assert names_of(listing, tmp_path) == [
        ("a/1.png", "b/1.JPG"),
        ("a/v/2.png", "b/v/2.png"),
        ("a/v/10.png", "b/v/10.png"),
    ]
    assert [item.group for item in listing.items] == ["", "v", "v"]
    assert listing.paired


def test_the_name_of_the_folder_before_a_name_does_not_count(tmp_path: Path) -> None:
    place(tmp_path, "blur/blur_7.png", "gt/gt_7.png", "blur/blur_.png", "gt/gt_.png")
    pairs = names_of(pairs_by_name(tmp_path / "blur", tmp_path / "gt", strict=False), tmp_path)
    assert ("blur/blur_7.png", "gt/gt_7.png") in pairs


def test_accents_pair_however_they_are_spelled(tmp_path: Path) -> None:
    place(tmp_path, "a/" + unicodedata.normalize("NFC", "été.png"), "b/" + unicodedata.normalize("NFD", "été.png"))
    assert len(pairs_by_name(tmp_path / "a", tmp_path / "b").pairs) == 1


def test_photos_without_a_partner_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    place(tmp_path, *(f"a/{i}.png" for i in range(6)), "b/0.png", "b/x.png")
    with pytest.raises(
        DatasetError, match=r"6 without a partner \(.*a/1.png, .*a/2.png, .*a/3.png and 3 more photos\)"
    ):
        pairs_by_name(tmp_path / "a", tmp_path / "b")
    items = pairs_by_name(tmp_path / "a", tmp_path / "b", strict=False).items
    assert sum(item.is_pair for item in items) == 1
    assert sum(item.clean is None for item in items) == 5
    assert [item.clean for item in items if item.degraded is None] == [tmp_path / "b/x.png"]


def test_two_photos_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    place(tmp_path, "a/x.png", "a/x.jpg", "b/x.png")
    with pytest.raises(DatasetError, match=r"cannot be told apart; keep one of .*a/x.jpg and .*a/x.png$"):
        pairs_by_name(tmp_path / "a", tmp_path / "b")
    assert [item.is_pair for item in pairs_by_name(tmp_path / "a", tmp_path / "b", strict=False).items] == [False] * 3


def test_empty_folders_hold_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for find in (pairs_by_name, pairs_by_order):
        with pytest.raises(DatasetError, match="no photos there"):
            find(tmp_path / "a", tmp_path / "b")
        assert find(tmp_path / "a", tmp_path / "b", strict=False).items == ()


def test_pairs_by_order_count_numbers_as_numbers(tmp_path: Path) -> None:
    place(tmp_path, "a/2.png", "a/10.png", "b/frame_0002.png", "b/frame_0010.png", "a/v/x.png", "b/v/y.png")
    listing = pairs_by_order(tmp_path / "a", tmp_path / "b")
    assert names_of(listing, tmp_path) == [
        ("a/2.png", "b/frame_0002.png"),
        ("a/10.png", "b/frame_0010.png"),
        ("a/v/x.png", "b/v/y.png"),
    ]


def test_pairs_by_order_need_equal_counts_in_every_folder(tmp_path: Path) -> None:
    place(
        tmp_path, "a/v/1.png", "a/v/2.png", "b/v/1.png", "a/w/1.png", "b/w/1.png", "b/w/2.png", "a/ok.png", "b/ok.png"
    )
    with pytest.raises(DatasetError, match=r"\(v: 2 and 1, w: 1 and 2\)"):
        pairs_by_order(tmp_path / "a", tmp_path / "b")
    items = pairs_by_order(tmp_path / "a", tmp_path / "b", strict=False).items
    assert [item.group for item in items if item.is_pair] == [""]
    assert len(items) == 1 + 6


def test_unpaired_folders_stand_beside_each_other(tmp_path: Path) -> None:
    place(tmp_path, "real/burst/1.png", "real/2.png", "sharp/x.png")
    listing = unpaired(tmp_path / "real", tmp_path / "sharp")
    assert len(listing.degraded) == 2
    assert listing.clean == (tmp_path / "sharp/x.png",)
    assert listing.pairs == ()
    assert {item.group for item in listing.items} == {"", "burst"}
    with pytest.raises(DatasetError, match="holds no photos"):
        unpaired(clean=place(tmp_path / "empty", "notes.txt"))


@given(st.lists(st.text(alphabet="a1290_é/", max_size=6)))
def test_natural_order_is_an_order(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)


def test_the_real_pairs_are_found() -> None:
    root = reference("gopro", "frames")
    assert [d.name for d, _ in pairs_by_name(root / "blur", root / "sharp").pairs] == ["01.png", "02.png", "03.png"]
