"""The dataset doctor: every planted fault is reported with its file, and nothing is on clean sets, made or real."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
import torch
from click.testing import CliRunner, Result
from torch import Tensor
from torch.nn import functional

from resharp.cli.data.check import check
from resharp.data.doctor import CHECKS, Finding, examine
from resharp.data.listing import Item, Listing
from resharp.degradations import Blur, motion_kernel
from resharp.demo import demo_inputs
from resharp.errors import DatasetError, ResharpError
from resharp.photo import Photo, read_photo, write_photo
from tests.conftest import reference

N, SIZE, LARGE, MARGIN = 12, 112, 200, 12


def blurred(image: Tensor, length: float, angle: float, noise_sigma: float, seed: int = 0) -> Tensor:
    """`image` (3, H, W) under straight motion, its margin cut off so that all results have one size."""
    blur = Blur(motion_kernel(length, angle))
    rows, columns = MARGIN - blur.margin[0], MARGIN - blur.margin[1]
    result = blur(image)[:, rows : image.shape[1] - 2 * MARGIN + rows, columns : image.shape[2] - 2 * MARGIN + columns]
    noise = torch.randn(result.shape, generator=torch.Generator().manual_seed(seed))
    return (result + noise_sigma * noise).clamp(0, 1)


def crops() -> list[Tensor]:
    """N crops (3, SIZE + 2 MARGIN, ...): the corners of the shipped photo, in three orientations each."""
    photo, _ = demo_inputs()
    side = SIZE + 2 * MARGIN
    corners = [
        photo[:, rows, columns] for rows in (np.s_[:side], np.s_[-side:]) for columns in (np.s_[:side], np.s_[-side:])
    ]
    return [corner.rot90(turns, (1, 2)) for turns in range(N // 4) for corner in corners]


def checkered(seed: int) -> Tensor:
    """A crop of dark and bright patches, whose blur tells the light in which it was averaged."""
    coarse = torch.rand(1, 17, 17, generator=torch.Generator().manual_seed(seed)).round().expand(3, -1, -1) * 0.6 + 0.2
    return functional.interpolate(coarse[None], size=(LARGE + 2 * MARGIN,) * 2, mode="nearest")[0]


def inner(crop: Tensor) -> Tensor:
    return crop[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


@pytest.fixture(scope="session")
def clean_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """blur/ and sharp/ of N pairs, each under a motion of its own and noise of sigma 0.01."""
    root = tmp_path_factory.mktemp("clean")
    for index, crop in enumerate(crops()):
        write(root / f"sharp/{index:02}.png", inner(crop))
        write(root / f"blur/{index:02}.png", blurred(crop, 5 + index % 4 * 3, 37 * index, 0.01, index))
    return root


@pytest.fixture
def folder(clean_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean_set, tmp_path / "set"))


def write(path: Path, image: Tensor, **facts: object) -> None:
    path.parent.mkdir(exist_ok=True)
    write_photo(dataclasses.replace(Photo(image), **facts), path)


def image_of(path: Path) -> Tensor:
    return read_photo(path).image


def listing_of(folder: Path, *, groups: bool = False) -> Listing:
    """Pairs by name, halves without the other as such; the first two thirds of the names are the training split."""
    names = sorted({path.name for side in ("blur", "sharp") for path in (folder / side).iterdir()})
    items = []
    for index, name in enumerate(names):
        blur, sharp = (path if path.exists() else None for path in (folder / "blur" / name, folder / "sharp" / name))
        split = "train" if index < 2 * len(names) // 3 else "test"
        group = ("long-video" if index in (3, N - 1) else f"video-{index}") if groups else ""
        items.append(Item(blur, sharp, group, split))
    return Listing(tuple(items), "pairs", paired=True)


def shifted(image: Tensor, right: float, down: float = 0) -> Tensor:
    moved = scipy.ndimage.shift(image.numpy(), (0, down, right), order=3, mode="mirror")
    return torch.from_numpy(moved).clamp(0, 1)


def photos(folder: Path, side: str) -> list[Path]:
    return sorted((folder / side).iterdir())


def test_a_clean_set_has_no_finding(clean_set: Path) -> None:
    assert examine(listing_of(clean_set)) == []


@pytest.mark.parametrize("noise_sigma", [0.05, 0.1])
def test_noise_is_not_taken_for_detail(folder: Path, noise_sigma: float) -> None:
    for index, path in enumerate(photos(folder, "blur")):
        noise = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(index))
        write(path, (image_of(path) + noise_sigma * noise).clamp(0, 1))
    assert examine(listing_of(folder)) == []


Plant = Callable[[Path], list[Path]]


def truncated(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[5]
    path.write_bytes(path.read_bytes()[:4000])
    return [path]


def cmyk(folder: Path) -> list[Path]:
    path = photos(folder, "sharp")[5]
    PIL.Image.open(path).convert("CMYK").save(path, "TIFF")
    return [path]


def clean_photo_missing(folder: Path) -> list[Path]:
    photos(folder, "sharp")[4].unlink()
    return [photos(folder, "blur")[4]]


def blurred_photo_missing(folder: Path) -> list[Path]:
    photos(folder, "blur")[4].unlink()
    return [photos(folder, "sharp")[4]]


def cut_by_one_row(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[2]
    write(path, image_of(path)[:, 1:])
    return [path, photos(folder, "sharp")[2]]


def half_size(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[2]
    write(path, functional.avg_pool2d(image_of(path), 2))
    return [path, photos(folder, "sharp")[2]]


def other_scene(folder: Path) -> list[Path]:
    first, second = photos(folder, "blur")[:2]
    write(first, image_of(second).flip(2))
    return [first, photos(folder, "sharp")[0]]


def files_swapped(folder: Path) -> list[Path]:
    blur, sharp = photos(folder, "blur")[6], photos(folder, "sharp")[6]
    kept = blur.read_bytes()
    blur.write_bytes(sharp.read_bytes())
    sharp.write_bytes(kept)
    return [blur, sharp]


def folders_swapped(folder: Path) -> list[Path]:
    (folder / "blur").rename(folder / "x")
    (folder / "sharp").rename(folder / "blur")
    (folder / "x").rename(folder / "sharp")
    return [folder / "blur", folder / "sharp"]


def folders_swapped_with_noise(folder: Path) -> list[Path]:
    for index, path in enumerate(photos(folder, "blur")):
        noise = 0.06 * torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(index))
        write(path, (image_of(path) + noise).clamp(0, 1))
    return folders_swapped(folder)


def folders_swapped_by_size(folder: Path) -> list[Path]:
    for path in photos(folder, "sharp"):
        write(path, functional.avg_pool2d(image_of(path), 2))
    return [folder / "blur", folder / "sharp"]


def one_shifted(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[3]
    write(path, shifted(image_of(path), 13, -5))
    return [path, photos(folder, "sharp")[3]]


def all_shifted_by_half(folder: Path) -> list[Path]:
    for path in photos(folder, "blur"):
        write(path, shifted(image_of(path), 0.5))
    return [folder / "blur", folder / "sharp"]


def all_linear(folder: Path) -> list[Path]:
    for path in photos(folder, "blur"):
        write(path, image_of(path) ** 2.2)
    return [folder / "blur", folder / "sharp"]


def one_linear(folder: Path) -> list[Path]:
    path = photos(folder, "sharp")[7]
    write(path, image_of(path) ** 2.2)
    return [photos(folder, "blur")[7], path]


def one_blurred_in_linear_light(folder: Path) -> list[Path]:
    for index, path in enumerate(photos(folder, "blur")):
        crop = checkered(index)
        write(photos(folder, "sharp")[index], inner(crop))
        exponent = 2.2 if index == 8 else 1.0
        write(path, blurred(crop**exponent, 9, 37 * index, 0) ** (1 / exponent))
    return [photos(folder, "blur")[8], photos(folder, "sharp")[8]]


def black(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[1]
    write(path, torch.zeros(3, SIZE, SIZE))
    return [path]


def one_pixel(folder: Path) -> list[Path]:
    for side in ("blur", "sharp"):
        path = photos(folder, side)[1]
        write(path, image_of(path)[:, 50:51, 50:51])
    return [photos(folder, "sharp")[1]]


def sixteen_bits(folder: Path) -> list[Path]:
    path = photos(folder, "sharp")[9]
    write(path, image_of(path), depth=16)
    return [path]


def grey(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[9]
    write(path, image_of(path).mean(0).expand(3, -1, -1), grey=True)
    return [path]


def transparent(folder: Path) -> list[Path]:
    path = photos(folder, "blur")[9]
    write(path, image_of(path), alpha=torch.ones(SIZE, SIZE))
    return [path]


def same_photo_twice(folder: Path) -> list[Path]:
    for side in ("blur", "sharp"):
        shutil.copy(photos(folder, side)[0], photos(folder, side)[1])
    return [photos(folder, "blur")[1], photos(folder, "blur")[0]]


def near_duplicate_in_both_splits(folder: Path) -> list[Path]:
    for side in ("blur", "sharp"):
        earlier, later = photos(folder, side)[1], photos(folder, side)[N - 2]
        again = 0.9 * shifted(image_of(earlier), 1.3, 0.7) + 0.02
        cv2.imwrite(str(later.with_suffix(".jpg")), (again.permute(1, 2, 0).numpy()[..., ::-1] * 255).round())
        later.with_suffix(".jpg").rename(later)
    return [photos(folder, "sharp")[N - 2], photos(folder, "sharp")[1]]


def all_photos_kept(folder: Path) -> list[Path]:
    return [photos(folder, "blur")[3], photos(folder, "blur")[N - 1]]


PLANTED: list[tuple[str, Plant]] = [
    ("unreadable", truncated),
    ("unreadable", cmyk),
    ("unpaired", clean_photo_missing),
    ("unpaired", blurred_photo_missing),
    ("size", cut_by_one_row),
    ("scale", half_size),
    ("unlike", other_scene),
    ("swapped", files_swapped),
    ("swapped", folders_swapped),
    ("swapped", folders_swapped_with_noise),
    ("swapped", folders_swapped_by_size),
    ("misaligned", one_shifted),
    ("misaligned", all_shifted_by_half),
    ("gamma", all_linear),
    ("gamma", one_linear),
    ("mixed-light", one_blurred_in_linear_light),
    ("constant", black),
    ("tiny", one_pixel),
    ("depth", sixteen_bits),
    ("colour", grey),
    ("alpha", transparent),
    ("duplicate", same_photo_twice),
    ("leak", near_duplicate_in_both_splits),
    ("video", all_photos_kept),
]


def test_every_kind_of_fault_is_planted() -> None:
    assert {kind for kind, _ in PLANTED} == set(CHECKS)


@pytest.mark.parametrize(("kind", "plant"), PLANTED, ids=[f"{kind}-{plant.__name__}" for kind, plant in PLANTED])
def test_a_planted_fault_is_reported_with_its_file_and_nothing_else(folder: Path, kind: str, plant: Plant) -> None:
    files = plant(folder)
    findings = examine(listing_of(folder, groups=kind == "video"))
    assert findings
    assert {finding.kind for finding in findings} == {kind}, findings
    finding = findings[0]
    assert list(finding.files) == files
    assert str(files[0]) in finding.message
    assert "\n" not in finding.message + finding.remedy


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_wrong_pair_is_sent_to_the_photo_that_it_fits(folder: Path) -> None:
    blur = photos(folder, "blur")
    kept = blur[0].read_bytes()
    for path, source in zip(blur, [*blur[1:], None], strict=True):
        path.write_bytes(source.read_bytes() if source else kept)
    findings = [finding for finding in examine(listing_of(folder)) if finding.kind == "unlike"]
    assert len(findings) > N / 2
    named = {finding.files[0].name: finding.remedy for finding in findings if "it fits" in finding.remedy}
    assert named
    assert all(f"sharp/{(int(name[:2]) + 1) % N:02}.png" in remedy for name, remedy in named.items())


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.0), (0.0, -0.5), (6.0, -2.5)])
def test_the_shift_of_a_set_is_measured(folder: Path, right: float, down: float) -> None:
    for path in photos(folder, "blur"):
        write(path, shifted(image_of(path), right, down))
    finding = only(examine(listing_of(folder)))
    said = {where: float(value) for value, where in re.findall(r"([+-][0-9.]+) px (right|down)", finding.message)}
    assert said.get("right", 0) == pytest.approx(right, abs=0.12)
    assert said.get("down", 0) == pytest.approx(down, abs=0.12)
    assert finding.severity == ("error" if right > 1 else "warning")  # a kernel off its middle shifts as little


def test_the_exponent_of_a_set_is_measured(folder: Path) -> None:
    all_linear(folder)
    (said,) = re.findall(r"power ([0-9.]+)", only(examine(listing_of(folder))).message)
    assert float(said) == pytest.approx(2.2, rel=0.1)


def low_resolution(folder: Path, shrink: Callable[[Tensor], Tensor]) -> Listing:
    for path in photos(folder, "sharp"):
        image = image_of(path).repeat(1, 2, 2)
        write(path, image)
        write(folder / "blur" / path.name, shrink(image[None])[0].clamp(0, 1))
    return listing_of(folder)


def test_super_resolution_pairs_are_clean(folder: Path) -> None:
    listing = low_resolution(
        folder, lambda x: functional.interpolate(x, scale_factor=0.25, mode="bicubic", antialias=True)
    )
    assert examine(listing) == []


@pytest.mark.parametrize(
    ("shrink", "said"),
    [
        (lambda x: x[..., ::4, ::4], "px right"),
        (lambda x: functional.interpolate(x, scale_factor=0.25, mode="bilinear", align_corners=True), "stretched"),
    ],
    ids=["nearest", "corners"],
)
def test_wrong_resampling_of_low_resolutions_is_found(
    folder: Path, shrink: Callable[[Tensor], Tensor], said: str
) -> None:
    finding = only(examine(low_resolution(folder, shrink)))
    assert finding.kind == "misaligned"
    assert finding.severity == "error"
    assert said in finding.message


def test_workers_change_nothing(folder: Path) -> None:
    truncated(folder)
    files_swapped(folder)
    seen: list[int] = []
    alone = examine(listing_of(folder), on_item=seen.append)
    assert seen == list(range(1, N + 1))
    assert examine(listing_of(folder), workers=3) == alone
    assert len(alone) == 2


def test_a_listing_without_items_is_refused() -> None:
    with pytest.raises(DatasetError, match="empty"):
        examine(Listing((), "pairs", paired=True))


REAL = {
    "gopro-frames": (("gopro", "frames", "blur"), ("gopro", "frames", "sharp")),
    "gopro-crops": (("gopro", "crops", "blur"), ("gopro", "crops", "sharp")),
    "levin": (("levin", "blur"), ("levin", "sharp")),
    "set5": (("sr", "set5", "lr_x4"), ("sr", "set5", "hr")),
    "set14": (("sr", "set14", "lr_x4"), ("sr", "set14", "hr")),
    "bsd100": (("sr", "bsd100", "lr_x4"), ("sr", "bsd100", "hr")),
}


@pytest.mark.parametrize("name", REAL)
def test_real_pairs_are_clean(name: str) -> None:
    degraded, clean = (reference(*parts) for parts in REAL[name])
    items = []
    for path in sorted(degraded.iterdir())[:40]:
        counterpart = f"{path.stem.partition('_')[0]}.png" if name == "levin" else path.name
        items.append(Item(path, clean / counterpart))
    findings = examine(Listing(tuple(items), "pairs", paired=True), workers=2)
    assert [finding for finding in findings if finding.severity == "error"] == []
    assert {finding.kind for finding in findings} <= {"colour"}  # Set14 holds one grey photo


def run(*arguments: object) -> Result:
    return CliRunner().invoke(check, list(map(str, arguments)), catch_exceptions=True)


def test_the_command_says_that_a_clean_set_is_clean(clean_set: Path) -> None:
    result = run(clean_set, "--pairs", "blur", "sharp")
    assert result.exit_code == 0
    assert result.stdout == f"{N} pairs, nothing found\n"


def test_the_command_lists_faults_by_kind_and_ends_with_1(folder: Path) -> None:
    truncated(folder)
    for path in photos(folder, "sharp"):
        write(path, image_of(path), alpha=torch.ones(SIZE, SIZE))
    result = run(folder, "--pairs", "blur", "sharp")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("unreadable: ")
    assert str(photos(folder, "blur")[5]) in lines[1]
    assert "  ... and 2 more (--json lists all)" in lines
    assert lines[-1] == f"{N} pairs, 1 errors, {N} warnings"


def test_warnings_alone_end_with_0_and_json_holds_everything(folder: Path) -> None:
    (path,) = grey(folder)
    result = run(folder, "--pairs", "blur", "sharp", "--json", "--workers", "0")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["n_items"] == N
    assert told["counts"] == {"colour": 1}
    (finding,) = told["findings"]
    assert finding["files"] == [str(path)]
    assert set(finding) == {"kind", "files", "message", "remedy", "severity"}


@pytest.mark.parametrize("name", ["none-there", "empty"])
def test_a_folder_that_is_no_dataset_is_the_users_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / name)
    assert isinstance(result.exception, ResharpError)
    assert result.exception.exit_code == 2
    assert name in str(result.exception)
