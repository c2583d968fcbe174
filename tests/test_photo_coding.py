"""How a photo came is how it is written; what its file held besides is kept, or said."""

import dataclasses
import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, JpegImagePlugin
from PIL.PngImagePlugin import PngInfo

import resharp
from resharp.errors import ArgumentError, PhotoError
from resharp.photo import Photo, check_encodable, decode_photo, encode_photo, output_format, read_photo, write_photo
from resharp.photo.png import carried_chunks
from tests.test_photo import SRGB, png_chunk


def picture(height: int = 96, width: int = 128) -> Image.Image:
    """Edges and some grain, as in a photo."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(0.01 * x * y / (c + 3)) + 20 * ((x // 16 + y // 16) % 2) for c in range(3)]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 1))
    return Image.fromarray((np.stack(planes, -1) + grain).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def as_jpeg(**settings: object) -> bytes:
    return saved(picture(), "JPEG", **settings)


SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 30, 50, 75, 88, 95, 100])
def test_a_jpeg_is_written_as_finely_as_it_came(quality: int, subsampling: str) -> None:
    data = as_jpeg(quality=quality, subsampling=SUBSAMPLINGS[subsampling])
    photo = decode_photo(data)
    assert photo.jpeg is not None
    assert (photo.jpeg.quality, photo.jpeg.subsampling) == (quality, subsampling)
    again = encode_photo(photo, "JPEG")
    assert len(again) == pytest.approx(len(data), rel=0.05, abs=80)  # a table may be written once less
    header = Image.open(io.BytesIO(again))
    assert header.quantization[0] == Image.open(io.BytesIO(data)).quantization[0]
    assert decode_photo(again).jpeg == photo.jpeg
    assert JpegImagePlugin.get_sampling(header) == SUBSAMPLINGS[subsampling]


def test_every_quality_is_told() -> None:
    for quality in range(30, 101):
        coding = decode_photo(saved(picture(8, 8), "JPEG", quality=quality)).jpeg
        assert coding is not None
        assert coding.quality == quality


def test_tables_of_a_cameras_own_are_kept_and_the_nearest_quality_is_told() -> None:
    own = [[max(1, step + place % 2) for place, step in enumerate(table)] for table in _tables(80)]
    data = as_jpeg(qtables=own, subsampling="4:2:0")
    photo = decode_photo(data)
    assert photo.jpeg is not None
    assert abs(photo.jpeg.quality - 80) <= 3
    assert Image.open(io.BytesIO(encode_photo(photo, "JPEG"))).quantization == dict(enumerate(own))


def _tables(quality: int) -> list[list[int]]:
    return list(Image.open(io.BytesIO(as_jpeg(quality=quality))).quantization.values())


def test_a_quality_that_is_asked_for_counts(tmp_path: Path) -> None:
    photo = decode_photo(as_jpeg(quality=40, subsampling=2))
    for quality in (10, 90):
        write_photo(photo, tmp_path / "x.jpg", quality=quality)
        coding = read_photo(tmp_path / "x.jpg").jpeg
        assert coding is not None
        assert (coding.quality, coding.subsampling) == (quality, "4:2:0")
    assert len(encode_photo(photo, "WEBP", quality=10)) < len(encode_photo(photo, "WEBP"))


@pytest.mark.parametrize("quality", [0, 101, 50.0, "90", True])
def test_a_quality_is_from_1_to_100(quality: object) -> None:
    with pytest.raises(ArgumentError, match="whole number from 1 to 100"):
        encode_photo(Photo(torch.zeros(3, 2, 2)), "JPEG", quality=quality)  # type: ignore[arg-type]


def test_what_was_no_jpeg_becomes_a_fine_one() -> None:
    photo = decode_photo(saved(picture(), "PNG"))
    assert photo.jpeg is None
    coding = decode_photo(encode_photo(photo, "JPEG")).jpeg
    assert coding is not None
    assert (coding.quality, coding.subsampling) == (95, "4:4:4")


@pytest.mark.parametrize("became_grey", [True, False])
def test_grey_and_colour_jpegs_may_change_places(became_grey: bool) -> None:
    source = picture() if became_grey else picture().convert("L")
    photo = decode_photo(saved(source, "JPEG", quality=60))
    again = decode_photo(encode_photo(photo.with_planes(photo.image[:1] if became_grey else photo.image), "JPEG"))
    assert again.grey == became_grey
    assert again.jpeg is not None
    assert again.jpeg.quality == 60


def test_a_webp_without_loss_stays_so() -> None:
    photo = decode_photo(saved(picture(), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"))
    assert photo.lossless
    assert torch.equal(decode_photo(encode_photo(photo, "WEBP")).image, photo.image)
    assert not decode_photo(saved(picture(), "WEBP")).lossless
    assert not decode_photo(encode_photo(photo, "WEBP", quality=80)).lossless


# --- doors for Python -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "jpeg", "jpg", ".JPG", "png", ".tif", "TIFF", "webp"])
def test_photos_go_from_bytes_to_bytes(name: str) -> None:
    photo = resharp.decode_photo(memoryview(saved(picture(), "PNG")))
    assert resharp.decode_photo(bytearray(resharp.encode_photo(photo, name))).image.shape == photo.image.shape


def test_what_is_no_format_no_path_no_bytes_and_no_photo_is_said(tmp_path: Path) -> None:
    photo = Photo(torch.zeros(3, 2, 2))
    mistakes = {
        "did you mean 'JPEG'": lambda: encode_photo(photo, "JPGE"),
        "not a PosixPath|not a WindowsPath": lambda: encode_photo(photo, tmp_path),  # type: ignore[arg-type]
        "not a bytes; decode_photo takes bytes": lambda: read_photo(b"..."),  # type: ignore[arg-type]
        "not a str; read_photo takes a path": lambda: decode_photo("x.jpg"),  # type: ignore[arg-type]
        r"a Tensor is no Photo; .*Photo\(image\)": lambda: write_photo(photo.image, tmp_path / "x.png"),  # type: ignore[arg-type]
        "0 to 255: give x / 255": lambda: encode_photo(Photo(photo.image + 200 * torch.eye(2)), "PNG"),
        r"one image \(3, height, width\), not \(1, 3, 2, 2\)": lambda: encode_photo(Photo(photo.image[None]), "PNG"),
    }
    for words, mistake in mistakes.items():
        with pytest.raises(ArgumentError, match=words):
            mistake()


def test_text_is_a_path_too(tmp_path: Path) -> None:
    photo, path = Photo(torch.zeros(3, 2, 5)), str(tmp_path / "x.png")
    check_encodable(photo, path)
    write_photo(photo, path)
    assert output_format(path) == "PNG"
    assert tuple(read_photo(path).image.shape[1:]) == resharp.photo_size(path) == (2, 5)


# --- what stands beside the pixels ------------------------------------------------------------------------------------

GAIN_MAP = b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" dc:title="x"/>'
FILM = b'<rdf:Description GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"/>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (as_jpeg(xmp=GAIN_MAP), "without its HDR gain map"),
        (as_jpeg(xmp=FILM), "without the film of a motion photo"),
        (as_jpeg() + b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 99, "without the film of a motion photo"),
        (saved(picture(), "MPO", save_all=True, append_images=[picture()]), "without 1 further picture in the file"),
        (as_jpeg(), ""),
    ],
)
def test_what_phones_put_beside_a_photo_is_said_to_be_left_out(
    data: bytes, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = decode_photo(data)
    check_encodable(photo, tmp_path / "x.jpg")
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "resharp"):
        write_photo(photo, tmp_path / "x.jpg")
    assert [record.getMessage() for record in caplog.records] == (
        [f"{tmp_path / 'x.jpg'}: written {said}"] if said else []
    )
    assert read_photo(tmp_path / "x.jpg").left_out == ()  # its XMP claims nothing that is not there


def test_captions_and_credits_go_from_jpeg_to_jpeg() -> None:
    iptc = b"\x1c\x02\x78\x00\x05Hello"
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc
    content = b"Photoshop 3.0\0" + resource
    photo = decode_photo(as_jpeg(extra=b"\xff\xed" + struct.pack(">H", len(content) + 2) + content, exif=b"Exif\0\0"))
    assert photo.iptc == iptc
    assert decode_photo(encode_photo(photo, "JPEG")).iptc == iptc
    long = dataclasses.replace(photo, iptc=b"x" * 70000)
    assert decode_photo(encode_photo(long, "JPEG")).iptc is None


def with_chunks(*chunks: bytes) -> bytes:
    stream = saved(picture(8, 8), "PNG")
    return stream[:33] + b"".join(png_chunk(chunk) for chunk in chunks) + stream[33:]


@pytest.mark.parametrize("depth", [8, 16])
def test_texts_and_colour_codes_go_from_png_to_png(depth: int) -> None:
    text = PngInfo()
    text.add_text("parameters", "a tree\nSteps: 40")
    text.add_itxt("Title", "Žába", "cs")
    stream = saved(picture(8, 8), "PNG", pnginfo=text)
    stream = stream[:33] + png_chunk(b"gAMA" + struct.pack(">I", 100000)) + stream[33:]
    photo = dataclasses.replace(decode_photo(stream), depth=depth, xmp=b"<x/>")
    header = Image.open(io.BytesIO(encode_photo(decode_photo(encode_photo(photo, "PNG")), "PNG")))
    header.load()
    assert dict(header.text) == {"parameters": "a tree\nSteps: 40", "Title": "Žába", "XML:com.adobe.xmp": "<x/>"}
    assert header.info["gamma"] == 1


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([b"gAMA" + struct.pack(">I", 100000)], "gamma 1"),
        ([b"cICP" + bytes([9, 16, 0, 1])], "HDR, PQ"),
        ([b"cICP" + bytes([12, 13, 0, 1])], "colour code 12/13"),
        ([b"gAMA" + struct.pack(">I", 45455), b"cHRM" + bytes(32)], ""),
        ([b"sRGB\0", b"gAMA" + struct.pack(">I", 100000)], ""),
        ([b"cICP" + bytes([1, 13, 0, 1])], ""),
    ],
)
def test_colours_that_only_a_png_can_say_are_written_to_nothing_else(chunks: list[bytes], said: str) -> None:
    photo = decode_photo(with_chunks(*chunks))
    encode_photo(photo, "PNG")
    for name in ("JPEG", "TIFF", "WEBP"):
        if said:
            with pytest.raises(PhotoError, match=rf"cannot say what its colours mean \({said}\); choose .png"):
                encode_photo(photo, name)
        else:
            encode_photo(photo, name)
    if said == "gamma 1":
        encode_photo(dataclasses.replace(photo, icc=SRGB), "JPEG")


def test_a_damaged_chunk_is_not_carried_on() -> None:
    stream = with_chunks(b"tEXtComment\0hello")
    at = stream.index(b"hello")
    photo = decode_photo(saved(picture(8, 8), "PNG"))
    assert photo.png_chunks == b""
    assert carried_chunks(stream)
    assert carried_chunks(stream[:at] + b"J" + stream[at + 1 :]) == b""


def test_transparency_that_hides_nothing_does_not_stop_a_jpeg(tmp_path: Path) -> None:
    photo = decode_photo(saved(picture(8, 8).convert("RGBA"), "PNG"))
    assert photo.alpha is not None
    check_encodable(photo, tmp_path / "x.jpg")
    assert decode_photo(encode_photo(photo, "JPEG")).alpha is None
    photo.alpha[7, 7] = 0.5  # the one pixel that a check of the first would miss
    with pytest.raises(PhotoError, match="transparency"):
        check_encodable(photo, tmp_path / "x.jpg")


# --- what is no photo -------------------------------------------------------------------------------------------------


def raw_file() -> bytes:
    buffer, pixels = io.BytesIO(), np.asarray(picture(32, 32))
    with tifffile.TiffWriter(buffer) as file:
        file.write(pixels[::4, ::4], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(pixels[..., 1].astype(np.uint16), photometric="minisblack", subfiletype=0, metadata=None)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (raw_file(), "is a camera's raw file; develop it"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "is a camera's raw file; develop it"),
        (b"\0\0\0\x20ftypheic" + bytes(9), "is a HEIC photo; save it as JPEG, PNG or TIFF first"),
        (b"\0\0\0\x20ftypavif" + bytes(9), "is an AVIF image; save"),
        (b"\0\0\0\x20ftypisom" + bytes(9), "is a film; save one frame"),
        (bytes.fromhex("00051607000200004d616320"), "is a note of macOS beside a photo"),
        (b"<!DOCTYPE html>", "is text"),
    ],
)
def test_what_is_no_photo_is_called_by_its_name(data: bytes, said: str) -> None:
    with pytest.raises(PhotoError, match=f"^shot.tif: {said}"):
        decode_photo(data, name="shot.tif")


def test_floats_in_colour_are_called_so() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((4, 4, 3), np.float32), photometric="rgb", metadata=None)
    with pytest.raises(PhotoError, match="floating-point samples; save it with 8 or 16 bits"):
        decode_photo(buffer.getvalue())


def test_a_phones_200_megapixels_are_a_photo(tmp_path: Path) -> None:
    header = bytearray(saved(Image.new("L", (8, 8)), "JPEG"))
    at = header.index(b"\xff\xc0")
    struct.pack_into(">HH", header, at + 5, 12240, 16320)
    (tmp_path / "x.jpg").write_bytes(header)
    assert resharp.photo_size(tmp_path / "x.jpg") == (12240, 16320)
    struct.pack_into(">HH", header, at + 5, 60000, 60000)
    with pytest.raises(PhotoError, match="300 megapixels"):
        decode_photo(bytes(header))
