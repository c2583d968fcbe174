"""TIFF files with their EXIF, for `photo`: the one format whose EXIF is spread over the file's own tags."""

import io
import struct
import warnings
from typing import Any

import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

_SUB_IFDS = (0x8769, 0x8825)  # EXIF, GPS
_PLACEHOLDER = -1  # added to their codes for tifffile, which writes no pointers to IFDs; the order of tags stays
# Tags of the first IFD that describe the photo; all others describe how the pixels are stored.
_DESCRIPTIVE = {270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime"}
_DESCRIPTIVE |= {315: "Artist", 316: "HostComputer", 33432: "Copyright"}
_ORIENTATION = 274
_INTEROPERABILITY = 0xA005


def exif_of_tiff(header: Image.Image) -> bytes | None:
    """The descriptive tags of a TIFF as an EXIF block, or None where it has none."""
    stored, exif = header.getexif(), Image.Exif()
    for tag in (*_DESCRIPTIVE, _ORIENTATION):
        if tag in stored:
            exif[tag] = stored[tag]
    for tag in _SUB_IFDS:
        if content := stored.get_ifd(tag):
            exif.get_ifd(tag).update(content)
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else None


def encode_tiff(
    pixels: NDArray[Any],
    *,
    exif: bytes | None,
    icc: bytes | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None,
) -> bytes:
    """A deflated TIFF of uint8 or uint16 pixels, (H, W) or (H, W, 2|3|4), with its metadata."""
    tags: list[tuple[int, int | str, int, Any, bool]] = []
    if icc is not None:
        tags.append((34675, 7, len(icc), icc, True))
    if xmp is not None:
        tags.append((700, 1, len(xmp), xmp, True))
    parsed = _parsed(exif) if exif is not None else Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in parsed:
            text = str(parsed[tag]).encode("utf-8", "replace") + b"\0"
            tags.append((tag, 2, len(text), text, True))
    tags.append((_ORIENTATION, 3, 1, 1, True))
    sub_ifds = {tag: content for tag in _SUB_IFDS if (content := dict(parsed.get_ifd(tag)))}
    for content in sub_ifds.values():
        content.pop(_INTEROPERABILITY, None)  # a pointer into the block that it came from
    tags.extend((tag + _PLACEHOLDER, 4, 1, 0, True) for tag in sub_ifds)

    n_channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        byteorder="<",
        photometric="rgb" if n_channels >= 3 else "minisblack",
        planarconfig="contig" if n_channels > 1 else None,
        extrasamples=["unassalpha"] if n_channels in (2, 4) else None,
        compression="adobe_deflate",
        predictor=True,
        resolution=dpi,
        resolutionunit="INCH" if dpi is not None else None,
        metadata=None,
        software=False,
        extratags=tags,
    )
    _append_ifds(buffer, sub_ifds)
    return buffer.getvalue()


def _parsed(block: bytes) -> Image.Exif:
    """An EXIF block as Pillow sees it; an unreadable one counts as empty."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif.load(block)
            for tag in _SUB_IFDS:
                TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag).update(exif.get_ifd(tag))
    except (SyntaxError, struct.error, ValueError, KeyError, TypeError, OSError, RuntimeError):
        return Image.Exif()
    return exif


def _append_ifds(buffer: io.BytesIO, sub_ifds: dict[int, dict[int, Any]]) -> None:
    """Write each IFD behind the file's end and turn its placeholder tag into a pointer there."""
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as file:
        places = {tag: file.pages.first.tags[tag + _PLACEHOLDER] for tag in sub_ifds}
    for tag, content in sub_ifds.items():
        directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag)
        directory.update(content)
        buffer.seek(0, io.SEEK_END)
        buffer.write(b"\0" * (buffer.tell() % 2))
        offset = buffer.tell()
        buffer.write(directory.tobytes(offset))
        buffer.seek(places[tag].offset)
        buffer.write(struct.pack("<H", tag))
        buffer.seek(places[tag].valueoffset)
        buffer.write(struct.pack("<I", offset))
