"""A file's header, opened by Pillow, and a word for what is no photo that is read here."""

import struct
from collections.abc import Callable
from typing import IO

from PIL import Image, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from resharp.errors import PhotoError

from .exif import tags_of

_MOST_PIXELS = 300 * 10**6  # Pillow's own door closes at 179 megapixels, and phones make photos of 200
_OPENERS: dict[bytes, Callable[[IO[bytes], str], Image.Image]] = {
    b"\xff\xd8\xff": jpeg_factory,
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
    b"GIF8": GifImageFile,
}
_OPENERS |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*"), TiffImageFile)
_RAW = "a camera's raw file; develop it into a TIFF or JPEG, and restore that"
_CONVERT = "save it as JPEG, PNG or TIFF first"
_STARTS = {
    b"\0\x05\x16\x07": "a note of macOS beside a photo (AppleDouble), not the photo; leave it out",
    b"\xff\x0a": f"a JPEG XL image; {_CONVERT}",
    b"\0\0\0\x0cJXL ": f"a JPEG XL image; {_CONVERT}",
    b"\0\0\0\x0cjP  ": f"a JPEG 2000 image; {_CONVERT}",
    b"BM": f"a BMP image; {_CONVERT}",
    b"8BPS": f"a Photoshop document; {_CONVERT}",
    b"%PDF": "a PDF; take the photo out of it first",
    b"FUJIFILM": _RAW,
    b"<": "text (HTML, SVG or XML), not an image; get the file itself",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file with `git lfs pull`",
}
_BRANDS = {b"avif": f"an AVIF image; {_CONVERT}", b"avis": f"an AVIF image; {_CONVERT}", b"crx ": _RAW}
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), f"a HEIC photo; {_CONVERT}")
_NEW_SUBFILE, _SAMPLE_FORMAT, _SUB_IFDS, _DNG_VERSION = 254, 339, 330, 50706
_REDUCED = 1


def open_header(file: IO[bytes], name: str) -> Image.Image:
    """As `Image.open`, with a limit of our own.  Raises PhotoError beyond it, UnidentifiedImageError."""
    start = file.read(4)
    file.seek(0)
    opener = _OPENERS.get(start) or _OPENERS.get(start[:3])
    if opener is None:
        raise UnidentifiedImageError("of no known kind")
    try:
        header = opener(file, "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:  # so plugins say that they cannot read it
        raise UnidentifiedImageError(str(error)) from None
    if header.width * header.height > _MOST_PIXELS:
        limit = _MOST_PIXELS // 10**6
        raise PhotoError(f"{name}: has more than {limit} megapixels, too large to be an honest photo; cut it")
    return header


def is_known(data: bytes) -> bool:
    """Whether bytes begin as those of a kind that is read here."""
    return data[:4] in _OPENERS or data[:3] in _OPENERS


def foreign_kind(data: bytes) -> str:
    """What the first bytes of a file that is not read here are of, and the way out; "" where they do not tell."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a film; save one frame as PNG and restore that")
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), "")


def odd_tiff(data: bytes) -> str:
    """Why a TIFF file is none that is read here, as its first tags say; "" where they say nothing against it.

    Of a camera's raw file the first page is a preview, as small as a stamp.
    """
    tags = tags_of(data, only=(_NEW_SUBFILE, _SAMPLE_FORMAT, _SUB_IFDS, _DNG_VERSION))
    is_preview = _NEW_SUBFILE in tags and tags[_NEW_SUBFILE].value[0] & _REDUCED and _SUB_IFDS in tags
    if _DNG_VERSION in tags or is_preview or data[8:10] == b"CR":
        return f"is {_RAW}"
    if _SAMPLE_FORMAT in tags and not set(tags[_SAMPLE_FORMAT].value) <= {0, 1}:
        return "holds signed or floating-point samples; save it with 8 or 16 bits in grey, RGB or RGBA"
    return ""
