import json
from pathlib import Path

import pytest

from resharp.data.layouts import LAYOUTS, find_listing, open_listing
from resharp.data.manifest import Entry, Manifest, load_manifest, save_manifest
from resharp.errors import DatasetError
from tests.conftest import reference
from tests.test_folders import names_of, place


def gopro(root: Path) -> Path:
    folders = ("blur", "blur_gamma", "sharp")
    for split, sequence in (("train", "GOPR0372_07_00"), ("train", "GOPR0374_11_00"), ("test", "GOPR0384_11_00")):
        place(root / split / sequence, "frames.csv", *(f"{folder}/{n:06}.png" for folder in folders for n in (47, 48)))
    return root


def realblur(root: Path) -> Path:
    for kind, name in (("J", "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"), ("R", "RealBlur-R_BM3D_ECC_IMCORR")):
        for scene in ("scene001", "scene002"):
            place(root / name / scene, *(f"{half}/{half}_{n}.png" for half in ("gt", "blur") for n in (1, 2, 10)))
        for split, scene in (("train", "scene001"), ("test", "scene002")):
            lines = [f"{name}/{scene}/gt/gt_{n}.png {name}/{scene}/blur/blur_{n}.png extra" for n in (1, 2, 10)]
            (root / f"RealBlur_{kind}_{split}_list.txt").write_text("\n".join(lines) + "\n\n")
    return root


def kohler(root: Path) -> Path:
    for image in (1, 2):
        for shot in (1, 12):
            place(root, f"BlurryImages/Blurry{image}_{shot}.png")
            frames = (f"GroundTruth{image}_{shot}_{n}.png" for n in (1, 2, 10))
            place(root / f"Image{image}/Kernel{shot}", *frames)
    return root


def levin(root: Path) -> Path:
    return place(root, "blur/im1_kernel1.png", "blur/im1_kernel2.png", "sharp/im1.png")


def rwbi(root: Path) -> Path:
    return place(root / "RWBI", "1/a.jpg", "1/b.jpg", "c.jpg")


def coco(root: Path) -> Path:
    return place(root, "train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg", "annotations/panoptic/1.png")


def div2k(root: Path) -> Path:
    small = (f"DIV2K_{split}_LR_bicubic/X4/0001x4.png" for split in ("train", "valid"))
    return place(root, "DIV2K_train_HR/0001.png", "DIV2K_train_HR/0002.png", "DIV2K_valid_HR/0801.png", *small)


def pairs(root: Path) -> Path:
    return place(root, "train/input/1.png", "train/target/1.png", "test/input/2.png", "test/target/2.png")


def clean(root: Path) -> Path:
    return place(root, "1.jpg", "folder/2.PNG")


MADE = {
    "gopro": gopro,
    "realblur": realblur,
    "kohler": kohler,
    "levin": levin,
    "rwbi": rwbi,
    "coco": coco,
    "div2k": div2k,
    "pairs": pairs,
    "clean": clean,
}


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"side-by-side"}))
def test_every_layout_is_recognised(name: str, tmp_path: Path) -> None:
    root = MADE[name](tmp_path)
    listing = open_listing(root)
    assert listing.layout == name
    assert listing == find_listing(name, root)
    assert listing.paired == all(item.is_pair for item in listing.items)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_that_a_folder_holds_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no photos there|holds no"):
        find_listing(name, tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        find_listing(name, tmp_path / "nowhere")


def test_the_small_photos_of_div2k_are_no_clean_ones(tmp_path: Path) -> None:
    listing = open_listing(div2k(tmp_path))
    assert [path.name for path in listing.clean] == ["0001.png", "0002.png", "0801.png"]
    assert [item.split for item in listing.items] == ["train", "train", "test"]


def test_gopro_has_two_subsets_and_keeps_sequences_together(tmp_path: Path) -> None:
    gopro(tmp_path)
    linear, gamma = open_listing(tmp_path), open_listing(tmp_path, subset="gamma")
    for listing, folder in ((linear, "blur"), (gamma, "blur_gamma")):
        assert names_of(listing, tmp_path)[0] == (
            f"test/GOPR0384_11_00/{folder}/000047.png",
            "test/GOPR0384_11_00/sharp/000047.png",
        )
        assert [(item.split, item.group) for item in listing.items] == [
            *[("test", "GOPR0384_11_00")] * 2,
            *[("train", "GOPR0372_07_00")] * 2,
            *[("train", "GOPR0374_11_00")] * 2,
        ]


def test_one_split_of_gopro_alone_can_be_named(tmp_path: Path) -> None:
    listing = find_listing("gopro", gopro(tmp_path) / "train")
    assert {item.split for item in listing.items} == {"train"}
    assert len(listing.pairs) == 4


def test_gopro_with_holes_is_refused_or_listed_as_it_is(tmp_path: Path) -> None:
    root = gopro(tmp_path)
    (root / "train/GOPR0372_07_00/sharp/000047.png").unlink()
    with pytest.raises(DatasetError, match=r"1 without a partner \(.*blur/000047.png\)"):
        open_listing(root)
    for path in (root / "train/GOPR0374_11_00/blur").iterdir():
        path.unlink()
    (root / "train/GOPR0374_11_00/blur").rmdir()
    with pytest.raises(
        DatasetError, match="GOPR0374_11_00: lacks blur of the linear subset, but has blur_gamma, sharp"
    ):
        open_listing(root)
    assert [item.is_pair for item in open_listing(root, strict=False).items].count(False) == 3


def test_realblur_takes_its_split_from_its_lists(tmp_path: Path) -> None:
    realblur(tmp_path)
    for subset in ("J", "R"):
        listing = open_listing(tmp_path, subset=subset)
        assert {(item.group, item.split) for item in listing.items} == {("scene001", "train"), ("scene002", "test")}
        assert [d.name for d, _ in listing.pairs[:3]] == ["blur_1.png", "blur_2.png", "blur_10.png"]
        assert all(f"RealBlur-{subset}" in str(d) and d.name[5:] == c.name[3:] for d, c in listing.pairs)
    folder = tmp_path / "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
    assert open_listing(folder).items == open_listing(tmp_path).items


def test_realblur_without_lists_has_no_split_and_a_broken_list_is_said(tmp_path: Path) -> None:
    realblur(tmp_path)
    for path in tmp_path.glob("*_J_*.txt"):
        path.unlink()
    assert {item.split for item in open_listing(tmp_path).items} == {""}
    (tmp_path / "RealBlur_J_test_list.txt").write_text("only_one_column\n")
    with pytest.raises(DatasetError, match=r"RealBlur_J_test_list.txt, line 1: holds no two paths"):
        open_listing(tmp_path)


def test_kohler_pairs_every_frame_with_its_shot(tmp_path: Path) -> None:
    listing = open_listing(kohler(tmp_path))
    assert len(listing.items) == 2 * 2 * 3
    assert [c.name for d, c in listing.pairs if d.name == "Blurry2_12.png"] == [
        "GroundTruth2_12_1.png",
        "GroundTruth2_12_2.png",
        "GroundTruth2_12_10.png",
    ]
    assert {item.group for item in listing.items} == {"Image1", "Image2"}
    (tmp_path / "BlurryImages/Blurry1_1.png").unlink()
    with pytest.raises(DatasetError, match="3 without a partner"):
        open_listing(tmp_path)


def test_labels_are_no_photos(tmp_path: Path) -> None:
    place(tmp_path, "images/train/1.jpg", "images/val/2.jpg", "labels/train/1.txt", "annotations/1.png")
    listing = open_listing(tmp_path)
    assert [item.split for item in listing.items] == ["train", "test"]
    assert listing.layout == "coco"


@pytest.mark.parametrize(
    "couple",
    [("blur", "sharp"), ("degraded", "clean"), ("input", "target"), ("lq", "gt"), ("lr_x4", "hr"), ("Blurry", "Clear")],
)
def test_usual_names_of_folders_make_pairs(couple: tuple[str, str], tmp_path: Path) -> None:
    place(tmp_path, *(f"{folder}/{n}.png" for folder in couple for n in (1, 2)), "readme.png")
    listing = open_listing(tmp_path)
    assert names_of(listing, tmp_path)[0] == (f"{couple[0]}/1.png", f"{couple[1]}/1.png")
    assert listing.layout == "pairs"


def test_folders_of_pairs_in_folders_give_split_and_group(tmp_path: Path) -> None:
    for at in ("train/street", "val/park", "rain"):
        place(tmp_path / at, "blur/v/1.png", "sharp/v/1.png")
    found = {(item.split, item.group) for item in find_listing("pairs", tmp_path).items}
    assert found == {("train", "street/v"), ("test", "park/v"), ("", "rain/v")}


def test_other_folders_of_pairs_are_named(tmp_path: Path) -> None:
    place(tmp_path, "bad/1.png", "good/1.png", "blur/2.png", "sharp/2.png")
    assert names_of(open_listing(tmp_path, pairs=("bad", "good")), tmp_path) == [("bad/1.png", "good/1.png")]
    with pytest.raises(
        DatasetError, match=r"no two folders \(bad and best\), but 4 photos and folders bad, blur, good"
    ):
        open_listing(tmp_path, pairs=("bad", "best"))
    with pytest.raises(DatasetError, match="cannot hold the degraded and the clean photos"):
        open_listing(tmp_path, pairs=("bad", "bad"))


def test_a_choice_between_folders_is_not_guessed(tmp_path: Path) -> None:
    place(tmp_path, "lr_x2/1.png", "lr_x4/1.png", "hr/1.png")
    with pytest.raises(DatasetError, match="holds lr_x2, lr_x4, hr; say which two"):
        open_listing(tmp_path)
    assert len(open_listing(tmp_path, pairs=("lr_x4", "hr")).pairs) == 1


@pytest.mark.parametrize("name", ["blur", "deep/Blurred", "x/blur_gamma"])
def test_blurry_photos_are_never_taken_for_clean_ones(name: str, tmp_path: Path) -> None:
    place(tmp_path, f"{name}/1.png", "shrap/1.png")
    with pytest.raises(
        DatasetError, match=r"in no layout that resharp knows, it holds 2 photos and folders .*gopro: train"
    ):
        open_listing(tmp_path)
    assert len(open_listing(tmp_path, layout="clean").clean) == 2


def test_side_by_side_is_only_taken_where_it_is_named(tmp_path: Path) -> None:
    place(tmp_path, "train/v/1.png")
    (item,) = open_listing(tmp_path, layout="side-by-side").items
    assert item.degraded == item.clean == tmp_path / "train/v/1.png"
    assert (item.split, item.group) == ("train", "v")
    assert open_listing(tmp_path).layout == "clean"


def test_choices_that_a_layout_does_not_have_are_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'gopor' is no layout; did you mean 'gopro'"):
        find_listing("gopor", tmp_path)
    with pytest.raises(DatasetError, match="gopro has no subset 'gama'; it has linear and gamma"):
        find_listing("gopro", tmp_path, subset="gama")
    with pytest.raises(DatasetError, match="clean has no subset 'linear'; it has none"):
        find_listing("clean", tmp_path, subset="linear")
    with pytest.raises(DatasetError, match="gopro says itself which photos pair"):
        find_listing("gopro", tmp_path, by="order")


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no photos there \(\.jpeg.*; name a folder that has some$"):
        open_listing(tmp_path)


def test_a_photo_or_a_pack_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    place(tmp_path, "1.PNG")
    with pytest.raises(DatasetError, match="is a photo; name its folder"):
        open_listing(tmp_path / "1.PNG")
    (tmp_path / "some.data").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DatasetError, match="is a pack of patches"):
        open_listing(tmp_path / "some.data")


def test_photos_in_no_layout_say_which_there_are(tmp_path: Path) -> None:
    place(tmp_path, "blur/1.png")
    with pytest.raises(DatasetError, match="holds 1 photos and folders blur") as caught:
        open_listing(tmp_path)
    assert all(name in str(caught.value) for name in LAYOUTS)
    assert "\n" not in str(caught.value)


def test_the_manifest_comes_before_the_folders(tmp_path: Path) -> None:
    place(tmp_path, "blur/1.png", "sharp/1.png", "blur/2.png", "sharp/2.png")
    entry = Entry(degraded="blur/1.png", clean="sharp/1.png", group="v", split="train", height=8, width=9)
    manifest = Manifest(
        layout="mine", paired=True, source="my camera", licence="CC0-1.0", counts={"train": 1}, items=(entry,)
    )
    save_manifest(manifest, tmp_path / "manifest.json")
    assert load_manifest(tmp_path / "manifest.json") == manifest
    for path in (tmp_path, tmp_path / "manifest.json"):
        listing = open_listing(path)
        assert names_of(listing, tmp_path) == [("blur/1.png", "sharp/1.png")]
        assert (listing.layout, listing.source, listing.licence) == ("mine", "my camera", "CC0-1.0")
        assert (listing.items[0].group, listing.items[0].split) == ("v", "train")
    (tmp_path / "sharp/1.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of its photos are gone \(.*sharp/1.png\)"):
        open_listing(tmp_path)
    assert len(open_listing(tmp_path, strict=False).pairs) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no manifest of resharp, or damaged"),
        ("[1, 2]", "is no manifest of resharp"),
        ("[" * 100_000, "no manifest of resharp, or damaged"),
        ("\xff\xfe", "no manifest of resharp, or damaged"),
        (json.dumps({"format": 2}), "is of format 2, this resharp reads format 1"),
        (json.dumps({"name": "an app", "icons": []}), "is no manifest of resharp"),
        (json.dumps({"layout": "x", "paired": True, "counts": {}, "items": [{"clean": 3}]}), r"items\.0\.clean: "),
    ],
)
def test_what_is_no_manifest_is_said(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match=says) as caught:
        open_listing(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "layout", "n_items"),
    [
        (("gopro", "frames"), "pairs", 3),
        (("gopro", "crops"), "pairs", 8),
        (("gopro",), "pairs", 11),
        (("sr", "set5"), "pairs", 5),
        (("sr", "bsd100"), "pairs", 100),
        (("coco128",), "coco", 128),
        (("coco128", "images"), "clean", 128),
        (("train",), "clean", 250),
        (("kodak24",), "clean", 24),
    ],
)
def test_real_folders_are_understood(parts: tuple[str, ...], layout: str, n_items: int) -> None:
    listing = open_listing(reference(*parts))
    assert (listing.layout, len(listing.items)) == (layout, n_items)
    assert all(d.parent.name in ("blur", "lr_x4") and c.parent.name in ("sharp", "hr") for d, c in listing.pairs)
