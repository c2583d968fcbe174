"""TIFF files with their EXIF, for `photo`: the one format whose EXIF is spread over the file's own tags."""

import io
import struct
from typing import Any

import tifffile
from numpy.typing import NDArray

from .exif import ORIENTATION, Tag, block_of, ifd_bytes, tags_below, tags_of

_PLACEHOLDER = -1  # added to the numbers of pointers for tifffile, which writes none; the order of tags stays
# Tags of the first IFD that describe the photo; all others describe how the pixels are stored.
_DESCRIPTIVE = {270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime"}
_DESCRIPTIVE |= {315: "Artist", 316: "HostComputer", 33432: "Copyright"}
_TEXTS = (1, 2, 7)  # the types that they come in: bytes, text, undefined


def exif_of_tiff(data: bytes) -> bytes | None:
    """The descriptive tags of a TIFF file as an EXIF block, or None where it has none."""
    first, below = tags_of(data, only=(*_DESCRIPTIVE, ORIENTATION)), tags_below(data)
    return block_of(list(first.values()), below) if first or below else None


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
    first, below = (tags_of(exif, only=_DESCRIPTIVE), tags_below(exif)) if exif is not None else ({}, {})
    for number in _DESCRIPTIVE:
        if number in first and first[number].kind in _TEXTS:
            text = first[number].value.rstrip(b"\0") + b"\0"
            tags.append((number, 2, len(text), text, True))
    tags.append((ORIENTATION, 3, 1, 1, True))
    tags.extend((number + _PLACEHOLDER, 4, 1, 0, True) for number in below)

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
    _append_ifds(buffer, below)
    return buffer.getvalue()


def _append_ifds(buffer: io.BytesIO, below: dict[int, dict[int, Tag]]) -> None:
    """Write each IFD behind the file's end and turn its placeholder tag into a pointer there."""
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as file:
        places = {number: file.pages.first.tags[number + _PLACEHOLDER] for number in below}
    for number, tags in below.items():
        buffer.seek(0, io.SEEK_END)
        buffer.write(b"\0" * (buffer.tell() % 2))
        offset = buffer.tell()
        buffer.write(ifd_bytes(list(tags.values()), offset))
        buffer.seek(places[number].offset)
        buffer.write(struct.pack("<H", number))
        buffer.seek(places[number].valueoffset)
        buffer.write(struct.pack("<I", offset))
