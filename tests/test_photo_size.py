from pathlib import Path

import pytest
from PIL import Image

from resharp.errors import PhotoError
from resharp.photo import photo_size, read_photo


def saved(path: Path, mode: str = "RGB", orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new(mode, (7, 5)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp"])
def test_the_size_is_that_of_the_photo_as_it_is_read(name: str, orientation: int, tmp_path: Path) -> None:
    path = saved(tmp_path / name, orientation=orientation)
    assert photo_size(path) == ((7, 5) if orientation > 4 else (5, 7))
    assert photo_size(path) == tuple(read_photo(path).image.shape[-2:])


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "I;16"])
def test_every_kind_of_pixel_has_a_size(mode: str, tmp_path: Path) -> None:
    assert photo_size(saved(tmp_path / "x.png", mode)) == (5, 7)


def test_a_turn_may_stand_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", orientation=6)
    stream = path.read_bytes()
    start = stream.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(stream[start : start + 4], "big")
    assert end < stream.index(b"IDAT")
    path.write_bytes(stream[:start] + stream[end:-12] + stream[start:end] + stream[-12:])
    assert photo_size(path) == tuple(read_photo(path).image.shape[-2:]) == (7, 5)


def test_only_the_header_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (7, 5)).save(tmp_path / "x.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.png").read_bytes()[:45])  # in the midst of the pixels
    assert photo_size(tmp_path / "cut.png") == (5, 7)
    with pytest.raises(PhotoError):
        read_photo(tmp_path / "cut.png")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", r"is empty \(0 bytes\)"), (b"hello", "is damaged, or not a JPEG"), (b"\x89PNG\r\n\x1a\n", "x.png: ")],
)
def test_what_has_no_size_is_said(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(PhotoError, match=says) as caught:
        photo_size(tmp_path / "x.png")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        photo_size(tmp_path / "x.png")
    with pytest.raises(PhotoError, match="cannot be read"):
        photo_size(tmp_path)
