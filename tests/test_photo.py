"""What goes into `read_photo` comes out of `write_photo`, checked with other readers than ours."""

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from resharp.errors import OutputError, PhotoError, ResourceError
from resharp.photo import (
    Photo,
    check_encodable,
    decode_photo,
    encode_photo,
    output_format,
    photo_size,
    read_photo,
    write_photo,
)
from resharp.photo.exif import tags_of

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Z\xc3\xbcrich"/></x:xmpmeta>'
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HEIGHT, WIDTH = 19, 26


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2021:03:04 05:06:07"
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 60)
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()


def png_chunk(body: bytes) -> bytes:
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def smooth_pixels(n_channels: int, depth: int) -> np.ndarray:
    """(H, W[, C]) of the integer type; smooth, so that JPEG keeps it nearly."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [(0.5 + 0.4 * np.sin(0.12 * x * (c + 1) / 2 + 0.15 * y + c)) for c in range(n_channels)]
    pixels = np.stack(planes, -1) * (2**depth - 1)
    return (
        np.squeeze(pixels.round().astype(np.uint8 if depth == 8 else np.uint16), -1)
        if n_channels == 1
        else (pixels.round().astype(np.uint8 if depth == 8 else np.uint16))
    )


def source_bytes(
    fmt: str, depth: int, n_channels: int, orientation: int, icc: bytes | None
) -> tuple[bytes, np.ndarray]:
    """A file made without any code of ours, and its pixels as stored."""
    pixels = smooth_pixels(n_channels, depth)
    exif = exif_block(orientation)
    buffer = io.BytesIO()
    metadata = {"exif": exif, "dpi": (300, 150)} | ({"icc_profile": icc} if icc else {})
    if fmt == "TIFF":
        tags = [(274, 3, 1, orientation, True), (271, 2, 6, b"Maker\0", True), (700, 1, len(XMP), XMP, True)]
        tags += [(34675, 7, len(icc), icc, True)] if icc else []
        tifffile.imwrite(
            buffer,
            pixels,
            photometric="rgb" if n_channels >= 3 else "minisblack",
            extrasamples=["unassalpha"] if n_channels == 4 else None,
            resolution=(300, 150),
            resolutionunit="INCH",
            metadata=None,
            software=False,
            extratags=tags,
        )
    elif depth == 16:
        types = [cv2.IMAGE_METADATA_EXIF] + ([cv2.IMAGE_METADATA_ICCP] if icc else [])
        blocks = [exif.removeprefix(b"Exif\0\0")] + ([icc] if icc else [])
        order = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][:n_channels]]
        done, encoded = cv2.imencodeWithMetadata(".png", order, types, [np.frombuffer(b, np.uint8) for b in blocks])
        assert done
        stream = encoded.tobytes()
        chunk = png_chunk(b"pHYs" + struct.pack(">IIB", 11811, 5906, 1))
        chunk += png_chunk(b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + XMP)
        buffer.write(stream[:33] + chunk + stream[33:])
    elif fmt == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text, **metadata)
    elif fmt == "JPEG":
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0, xmp=XMP, **metadata)
    else:
        Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, exact=True, xmp=XMP, **metadata)
    return buffer.getvalue(), pixels


KINDS = st.one_of(
    st.tuples(st.just("JPEG"), st.just(8), st.sampled_from([1, 3])),
    st.tuples(st.just("WEBP"), st.just(8), st.sampled_from([3, 4])),
    st.tuples(st.sampled_from(["PNG", "TIFF"]), st.sampled_from([8, 16]), st.sampled_from([1, 3, 4])),
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(kind=KINDS, orientation=st.integers(1, 8), with_icc=st.booleans())
def test_what_goes_in_comes_out(kind: tuple[str, int, int], orientation: int, with_icc: bool) -> None:
    fmt, depth, n_channels = kind
    icc = SRGB if with_icc and n_channels >= 3 else None
    data, pixels = source_bytes(fmt, depth, n_channels, orientation, icc)
    photo = decode_photo(data)
    written = encode_photo(photo, fmt)
    again = decode_photo(written)

    oriented = Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH))
    exif = oriented.getexif()
    exif[274] = orientation
    places = np.asarray(ImageOps.exif_transpose(oriented))  # Pillow's own reading of the eight orientations
    expected = pixels.reshape(HEIGHT * WIDTH, -1)[places]

    stored = np.asarray(Image.open(io.BytesIO(written))) if depth == 8 else None
    if depth == 16:
        stored = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        stored = stored[..., [2, 1, 0, 3][:n_channels]] if stored.ndim == 3 else stored
        assert stored.dtype == np.uint16
    assert stored is not None
    stored = stored.reshape(*places.shape, -1)
    if fmt in ("JPEG", "WEBP"):
        assert np.abs(stored.astype(int) - expected)[..., :3].mean() <= 3
        if n_channels == 4:
            assert (stored[..., 3] == expected[..., 3]).all()
    else:
        assert (stored == expected).all()

    assert photo.grey == again.grey == (n_channels == 1)
    assert photo.depth == again.depth == depth
    assert (again.alpha is not None) == (n_channels == 4)
    assert photo.icc == again.icc == icc
    assert again.dpi == pytest.approx((300, 150) if orientation < 5 else (150, 300), abs=0.02) or fmt == "WEBP"
    assert again.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    header = Image.open(io.BytesIO(written))
    assert header.getexif()[274] == 1
    assert header.getexif()[271] == "Maker"
    if fmt != "TIFF":  # the TIFF source above has no sub-IFDs
        assert header.getexif().get_ifd(0x8769)[0x9003] == "2021:03:04 05:06:07"
        assert header.getexif().get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("target", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_crosses_formats(target: str) -> None:
    data, _ = source_bytes("JPEG", 8, 3, 1, SRGB)
    header = Image.open(io.BytesIO(encode_photo(decode_photo(data), target)))
    exif = header.getexif()
    assert exif[271] == "Maker"
    assert exif.get_ifd(0x8769)[0x9003] == "2021:03:04 05:06:07"
    assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(1 / 60)
    assert exif.get_ifd(0x8825)[1] == "N"
    assert header.info["icc_profile"] == SRGB


def test_a_stale_thumbnail_is_unlinked() -> None:
    exif = bytearray(exif_block(6).removeprefix(b"Exif\0\0"))
    count = struct.unpack_from(">H", exif, 8)[0]
    struct.pack_into(">I", exif, 10 + 12 * count, 8)  # a second IFD: the thumbnail's
    buffer = io.BytesIO()
    Image.fromarray(smooth_pixels(3, 8)).save(buffer, "JPEG", exif=b"Exif\0\0" + bytes(exif))
    photo = decode_photo(buffer.getvalue())
    assert photo.exif is not None
    assert struct.unpack_from(">I", photo.exif, 10 + 12 * count)[0] == 0
    assert len(photo.exif) == len(exif)


def test_sixteen_bit_colour_keeps_all_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (7, 9, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "in.png"), pixels[..., ::-1])
    for name in ("out.png", "out.tif"):
        write_photo(read_photo(tmp_path / "in.png"), tmp_path / name)
        assert (cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)[..., ::-1] == pixels).all()


def test_compressed_tiffs_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    cv2.imwrite(str(tmp_path / "lzw16.tif"), pixels.astype(np.uint16)[..., ::-1] * 257)
    for name in ("lzw.tif", "lzw16.tif"):
        assert ((read_photo(tmp_path / name).image * 255).round().numpy().transpose(1, 2, 0) == pixels).all()


@pytest.mark.parametrize("mode", ["P", "1", "LA", "PA"])
def test_other_pixel_modes_become_grey_or_rgb(mode: str) -> None:
    source = Image.fromarray(smooth_pixels(4, 8)).convert("RGB" if mode == "PA" else "RGBA")
    buffer = io.BytesIO()
    if mode == "LA":
        source.convert("LA").save(buffer, "PNG")
    elif mode == "PA":
        source.convert("P").save(buffer, "PNG", transparency=3)
    else:
        source.convert("RGB").convert(mode).save(buffer, "PNG")
    photo = decode_photo(buffer.getvalue())
    assert photo.grey == (mode in ("1", "LA"))
    assert (photo.alpha is not None) == (mode in ("LA", "PA"))
    reference = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    assert ((photo.image * 255).round().byte().permute(1, 2, 0).numpy() == np.asarray(reference)).all()


def test_grey_with_alpha_in_sixteen_bits_is_kept() -> None:
    data, _ = source_bytes("PNG", 16, 3, 1, None)
    photo = decode_photo(data)
    photo = dataclasses.replace(photo, grey=True, image=photo.image[:1].expand(3, -1, -1), alpha=photo.image[1])
    for fmt in ("PNG", "TIFF"):
        again = decode_photo(encode_photo(photo, fmt))
        torch.testing.assert_close(again.image, photo.image, rtol=0, atol=1e-6)
        torch.testing.assert_close(again.alpha, photo.alpha, rtol=0, atol=1e-6)


def test_paths_beyond_ascii(tmp_path: Path) -> None:
    path = tmp_path / "été 写真.png"
    write_photo(decode_photo(source_bytes("PNG", 8, 3, 1, None)[0]), path)
    assert read_photo(path).image.shape == (3, HEIGHT, WIDTH)


def test_jpeg_is_written_without_chroma_subsampling() -> None:
    photo = decode_photo(source_bytes("PNG", 8, 3, 1, None)[0])
    header = Image.open(io.BytesIO(encode_photo(photo, "JPEG")))
    assert all(layer[1:3] == (1, 1) for layer in header.layer)


def _png(n: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (n, n, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg(mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).convert(mode).save(buffer, "JPEG")
    return buffer.getvalue()


def _deep_png() -> bytes:
    noise = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), np.uint16)
    return cv2.imencode(".png", noise)[1].tobytes()


def _animation(fmt: str, n_frames: int) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(n_frames)]
    frames[0].save(buffer, fmt, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _bomb() -> bytes:
    png = bytearray(_png(8))
    struct.pack_into(">II", png, 16, 60000, 60000)
    struct.pack_into(">I", png, 29, zlib.crc32(bytes(png[12:29])))
    return bytes(png)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"not an image at all", "is not a JPEG, PNG, TIFF or WebP"),
        (_png(64)[:-4000], "damaged or cut short"),
        (_jpeg("RGB")[:-1500], "damaged or cut short"),
        (_deep_png()[:-9000], "damaged or cut short"),
        (_jpeg("CMYK"), "CMYK"),
        (_animation("GIF", 3), "animated"),
        (_animation("GIF", 1), "GIF"),
        (_animation("WEBP", 3), "animated"),
        (_animation("TIFF", 2), "holds 2 pages"),
        (_bomb(), "megapixels"),
    ],
)
def test_what_is_no_photo_is_named(data: bytes, words: str) -> None:
    with pytest.raises(PhotoError, match=words) as caught:
        decode_photo(data, name="holiday.jpg")
    assert str(caught.value).startswith("holiday.jpg: ")
    assert "\n" not in str(caught.value)


def test_one_pixel_is_a_photo() -> None:
    photo = decode_photo(_png(1))
    assert photo.image.shape == (3, 1, 1)


def test_names_that_ask_for_no_format() -> None:
    assert output_format(Path("a/B.JPG")) == "JPEG"
    with pytest.raises(PhotoError, match=r"out\.bmp"):
        output_format(Path("out.bmp"))


@pytest.mark.parametrize(("suffix", "longest"), [(".webp", 16383), (".jpg", 65500)])
def test_sides_beyond_a_format_are_known_before_the_work(suffix: str, longest: int) -> None:
    photo = Photo(torch.zeros(3, 1, 1).expand(3, 1, longest))
    check_encodable(photo, Path("a" + suffix))
    with pytest.raises(PhotoError, match=f"ends at {longest} pixels"):
        check_encodable(Photo(torch.zeros(3, 1, 1).expand(3, longest + 1, 1)), Path("a" + suffix))


@pytest.mark.parametrize(
    "failure",
    [
        cv2.error("OpenCV(4) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
        OSError("out of memory when reading image file"),
        OSError("decoder error -9"),
    ],
    ids=str,
)
def test_memory_that_does_not_suffice_to_read_is_no_damage(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def exhausted(*_: object) -> None:
        raise failure

    data = _deep_png()
    monkeypatch.setattr(cv2, "imdecode", exhausted)
    with pytest.raises(ResourceError, match="photo: not enough memory to read it"):
        decode_photo(data)


def test_jpeg_refuses_transparency() -> None:
    photo = decode_photo(source_bytes("PNG", 8, 4, 1, None)[0])
    with pytest.raises(PhotoError, match="transparency"):
        encode_photo(photo, "JPEG")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = decode_photo(_png(8))
    target = tmp_path / "kept.png"
    target.write_bytes(b"before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_photo(photo, target)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="a file stands where a folder belongs"):
        write_photo(decode_photo(_png(8)), tmp_path / "file" / "out.png")


# --- odd but legal files ----------------------------------------------------------------------------------------------


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def deep(n_channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (9, 11, n_channels), np.uint16)


def stored(image: torch.Tensor) -> np.ndarray:
    return (image * 65535).round().permute(1, 2, 0).numpy().astype(np.uint16)


def test_tiffs_whose_white_is_zero() -> None:
    grey = deep(1)[..., 0]
    assert (stored(decode_photo(tiff(65535 - grey, photometric="miniswhite")).image)[..., 0] == grey).all()
    eight = (grey >> 8).astype(np.uint8)
    photo = decode_photo(tiff(255 - eight, photometric="miniswhite"))
    assert ((photo.image[0] * 255).round().byte().numpy() == eight).all()


def test_premultiplied_alpha_is_divided_out_and_other_extra_samples_are_no_alpha() -> None:
    pixels = deep(4)
    pixels[..., 3] = np.maximum(pixels[..., 3], 20000)
    multiplied = pixels.copy()
    multiplied[..., :3] = np.rint(pixels[..., :3] * (pixels[..., 3:] / 65535))
    photo = decode_photo(tiff(multiplied, photometric="rgb", extrasamples=["assocalpha"]))
    assert np.abs(stored(photo.image).astype(int) - pixels[..., :3]).max() <= 2
    photo = decode_photo(tiff(pixels, photometric="rgb", extrasamples=["unspecified"]))
    assert photo.alpha is None
    assert (stored(photo.image) == pixels[..., :3]).all()


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_orientation_in_any_integer_type(kind: int, byteorder: str) -> None:
    pixels = deep(3)
    photo = decode_photo(
        tiff(
            pixels,
            photometric="rgb",
            byteorder=byteorder,
            extratags=[(274, kind, 1, 6, True)],
        )
    )
    assert (stored(photo.image) == np.rot90(pixels, -1)).all()


def test_exif_behind_the_pixels_of_a_png() -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth_pixels(3, 8)).save(buffer, "PNG")
    stream = buffer.getvalue()
    chunk = png_chunk(b"eXIf" + exif_block(6).removeprefix(b"Exif\0\0"))
    photo = decode_photo(stream[:-12] + chunk + stream[-12:])
    assert photo.image.shape == (3, WIDTH, HEIGHT)
    assert photo.exif is not None


def test_clear_grey_of_a_sixteen_bit_png() -> None:
    grey = deep(1)[..., 0]
    stream = cv2.imencode(".png", grey)[1].tobytes()
    chunk = png_chunk(b"tRNS" + struct.pack(">H", int(grey[2, 3])))
    photo = decode_photo(stream[:33] + chunk + stream[33:])
    assert photo.alpha is not None
    assert float(photo.alpha[2, 3]) == 0
    assert float(photo.alpha.mean()) > 0.9


def test_tiffs_without_resolution_gain_none() -> None:
    assert decode_photo(tiff(smooth_pixels(3, 8), photometric="rgb")).dpi is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_exif_goes_in_and_out_of_a_tiff(changes: list[tuple[int, int]]) -> None:
    exif = bytearray(exif_block(6).removeprefix(b"Exif\0\0"))
    for place, value in changes:
        exif[place % len(exif)] = value
    photo = dataclasses.replace(decode_photo(_png(8)), exif=bytes(exif))
    assert torch.equal(decode_photo(encode_photo(photo, "TIFF")).image, photo.image)


def test_odd_types_of_tags_cross_formats() -> None:
    """An altitude below the sea, as SRATIONAL instead of RATIONAL: -5/1, after a long text."""
    gps = [struct.pack("<HHIHH", 5, 1, 1, 1, 0), struct.pack("<HHII", 6, 10, 1, 56)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 0x8825, 4, 1, 26) + b"\0" * 4
    block += struct.pack("<H", 2) + b"".join(gps) + b"\0" * 4 + struct.pack("<ii", -5, 1)
    photo = decode_photo(encode_photo(dataclasses.replace(decode_photo(_png(8)), exif=block), "TIFF"))
    for fmt in ("TIFF", "JPEG", "PNG", "WEBP"):
        header = Image.open(io.BytesIO(encode_photo(photo, fmt)))
        assert float(header.getexif().get_ifd(0x8825)[6]) == -5


@pytest.mark.parametrize("text", ["© Zoë".encode(), "© Zoë".encode("latin-1")], ids=["utf-8", "latin-1"])
@pytest.mark.parametrize("through", [("TIFF",), ("TIFF", "TIFF"), ("TIFF", "JPEG"), ("TIFF", "PNG", "TIFF", "WEBP")])
def test_text_in_exif_keeps_its_bytes(text: bytes, through: tuple[str, ...]) -> None:
    where = {"first": text + b" wrote it", "below": text + b" took it"}
    lengths = {name: len(value) + 1 for name, value in where.items()}
    first = struct.pack("<HHHII", 2, 33432, 2, lengths["first"], 100) + struct.pack("<HHII", 0x8769, 4, 1, 200)
    block = (b"II*\0\x08\0\0\0" + first).ljust(100, b"\0") + where["first"]
    below = struct.pack("<HHHII", 1, 0xA430, 2, lengths["below"], 240)
    block = (block.ljust(200, b"\0") + below).ljust(240, b"\0") + where["below"] + b"\0"
    photo = dataclasses.replace(decode_photo(_png(8)), exif=block)
    for fmt in through:
        data = encode_photo(photo, fmt)
        assert where["first"] in data
        assert where["below"] in data
        photo = decode_photo(data)


def test_a_tiff_without_descriptive_tags_keeps_what_stands_below() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2021:03:04 05:06:07"
    buffer = io.BytesIO()
    Image.fromarray(smooth_pixels(3, 8)).save(buffer, "TIFF", exif=exif.tobytes())
    nothing_else = buffer.getvalue().replace(struct.pack("<HH", 271, 2), struct.pack("<HH", 269, 2))
    header = Image.open(io.BytesIO(encode_photo(decode_photo(nothing_else), "PNG")))
    assert 271 not in header.getexif()
    assert header.getexif().get_ifd(0x8769)[0x9003] == "2021:03:04 05:06:07"


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_that_stands_in_xmp_alone_counts(fmt: str, tmp_path: Path) -> None:
    def saved(**settings: object) -> Path:
        path = tmp_path / f"x.{fmt.lower()}"
        if fmt == "PNG":
            text = PngInfo()
            text.add_itxt("XML:com.adobe.xmp", XMP.decode())
            settings["pnginfo"] = text
        else:
            settings["xmp"] = XMP
        Image.fromarray(smooth_pixels(3, 8)).save(path, fmt, **settings)
        return path

    photo = read_photo(saved())
    assert tuple(photo.image.shape[-2:]) == photo_size(saved()) == (WIDTH, HEIGHT)
    assert photo.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    upright = exif_block(1)  # which counts before XMP
    assert tuple(read_photo(saved(exif=upright)).image.shape[-2:]) == photo_size(saved(exif=upright)) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("depth", [8, 16])
def test_an_orientation_that_stands_in_the_xmp_of_a_tiff_counts(depth: int, tmp_path: Path) -> None:
    pixels = smooth_pixels(3, depth)
    data = tiff(pixels, photometric="rgb", extratags=[(700, 1, len(XMP), XMP, True)], resolution=(300, 150))
    (tmp_path / "x.tif").write_bytes(data)
    photo = read_photo(tmp_path / "x.tif")
    assert tuple(photo.image.shape[-2:]) == photo_size(tmp_path / "x.tif") == (WIDTH, HEIGHT)
    levels = photo.image.permute(1, 2, 0).numpy() * (2**depth - 1)
    np.testing.assert_allclose(levels, np.rot90(pixels, -1), atol=0.01)
    assert photo.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')


def test_xmp_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    chunk = png_chunk(b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + XMP)
    Image.fromarray(smooth_pixels(3, 8)).save(tmp_path / "x.png")
    stream = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(stream[:-12] + png_chunk(b"iTXtComment\0\0\0\0\0x") + chunk + stream[-12:])
    assert photo_size(tmp_path / "x.png") == tuple(read_photo(tmp_path / "x.png").image.shape[-2:]) == (WIDTH, HEIGHT)


def test_tags_that_claim_more_than_the_file_holds_take_no_memory() -> None:
    entries = b"".join(struct.pack("<HHII", number, 7, 900_000, 0) for number in range(1, 60_000))
    data = (b"II*\0\x08\0\0\0" + struct.pack("<H", 59_999) + entries).ljust(1_000_000, b"\0")
    assert sum(len(tag.value) for tag in tags_of(data).values()) <= len(data)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_clear_grey_of_a_png_of_few_bits(bits: int) -> None:
    values = np.arange(2**bits)
    row = np.packbits(((values[:, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).ravel()).tobytes()
    stream = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR" + struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0))
    stream += png_chunk(b"tRNS" + struct.pack(">H", 1)) + png_chunk(b"IDAT" + zlib.compress(b"\0" + row))
    photo = decode_photo(stream + png_chunk(b"IEND"))
    assert photo.alpha is not None
    assert (photo.alpha[0] == torch.from_numpy(values != 1)).all()
    assert torch.equal(photo.image[0, 0], torch.linspace(0, 1, len(values), dtype=torch.float64).float())


def test_unreadable_exif_does_not_stop_a_tiff() -> None:
    photo = decode_photo(_png(8))
    for exif in (bytes(range(256)), b"II*\0", b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\xff\xff\0\0\xff\xff"):
        again = decode_photo(encode_photo(dataclasses.replace(photo, exif=exif), "TIFF"))
        assert torch.equal(again.image, photo.image)


def test_pointers_into_the_old_exif_block_are_dropped() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2021:03:04 05:06:07"
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    photo = dataclasses.replace(decode_photo(_png(8)), exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    header = Image.open(io.BytesIO(encode_photo(photo, "TIFF")))
    assert header.getexif().get_ifd(0x8769)[0x9003] == "2021:03:04 05:06:07"
    assert 0xA005 not in header.getexif().get_ifd(0x8769)


def test_profiles_follow_the_number_of_colours() -> None:
    grey_icc = SRGB[:16] + b"GRAY" + SRGB[20:]
    grey_alpha = dataclasses.replace(decode_photo(_png(8)), grey=True, alpha=torch.ones(8, 8))
    for icc, target, kept in ((grey_icc, "PNG", True), (SRGB, "PNG", False), (grey_icc, "WEBP", False)):
        again = decode_photo(encode_photo(dataclasses.replace(grey_alpha, icc=icc), target))
        assert (again.icc == icc) == kept


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.moveaxis(deep(3), -1, 0), photometric="rgb", planarconfig="separate"), "interleaved"),
        (tiff(deep(3), photometric="rgb", bigtiff=True), "BigTIFF"),
        (tiff(deep(3).astype(np.float32), photometric="rgb"), "save it with 8 or 16 bits"),
        (tiff(deep(1)[..., 0].astype(np.int8), photometric="minisblack"), "save it with 8 or 16 bits"),
        (tiff(deep(5), photometric="rgb"), "save it with 8 or 16 bits"),
    ],
)
def test_kinds_of_tiff_that_are_not_read_say_so(data: bytes, words: str) -> None:
    with pytest.raises(PhotoError, match=words):
        decode_photo(data)


@pytest.mark.parametrize(
    ("fmt", "depth", "n_channels"), [("JPEG", 8, 3), ("WEBP", 8, 4), ("PNG", 16, 3), ("TIFF", 16, 4)]
)
def test_damage_anywhere_is_named_or_survived(fmt: str, depth: int, n_channels: int) -> None:
    """Bytes overwritten at random places: a photo that can be written again, or one clear line."""
    data, _ = source_bytes(fmt, depth, n_channels, 6, SRGB)
    generator = np.random.default_rng(0)
    messages = []
    for _ in range(150):
        mutated = bytearray(data)
        reach = generator.choice([60, 400, len(data)])
        for place in generator.integers(0, min(reach, len(data)), generator.integers(1, 6)):
            mutated[place] = generator.integers(256)
        try:
            photo = decode_photo(bytes(mutated), name="photo")
            encode_photo(photo, "TIFF")
            encode_photo(photo, "PNG")
        except PhotoError as error:
            messages.append(str(error))
    assert messages
    assert all(message.startswith("photo: ") and "\n" not in message for message in messages)


def test_a_grey_photo_takes_the_memory_of_one_plane(tmp_path: Path) -> None:
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(tmp_path / "grey.png")
    image = read_photo(tmp_path / "grey.png").image
    assert image.shape == (3, 6, 8)
    assert image.untyped_storage().nbytes() == 6 * 8 * 4
