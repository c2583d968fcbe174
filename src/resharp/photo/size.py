"""How large a photo is, from its header alone."""

import os
import struct
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from resharp.errors import PhotoError

from .exif import exif_beside, exif_orientation, xmp_beside, xmp_orientation
from .opening import open_header


def photo_size(path: str | Path) -> tuple[int, int]:
    """(height, width) in pixels as `read_photo` turns the photo, without reading its pixels.

    A file that is cut short behind its header still has a size.  Raises PhotoError where no size can be read.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file, open_header(file, str(path)) as header:
                turned = _orientation(header, path) >= 5
                width, height = _stored_size(header)
    except FileNotFoundError:
        raise PhotoError(f"{path}: no such file") from None
    except PhotoError:
        raise
    except UnidentifiedImageError:
        kind = (
            "is empty (0 bytes)" if path.stat().st_size == 0 else "is damaged, or not a JPEG, PNG, TIFF or WebP image"
        )
        raise PhotoError(f"{path}: {kind}") from None
    except Exception as error:  # parsers of foreign bytes fail in many ways; none is ours
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise PhotoError(f"{path}: cannot be read ({reason})") from error
    return (width, height) if turned else (height, width)


def _stored_size(header: Image.Image) -> tuple[int, int]:
    """(width, height) before any turn, which Pillow has already made in the size of a TIFF."""
    if header.format == "TIFF":
        tags = header.tag_v2  # type: ignore[attr-defined]
        return tags[256], tags[257]
    return header.size


def _orientation(header: Image.Image, path: Path) -> int:
    """1 to 8; Pillow's own way there would decode the pixels of a PNG."""
    exif, xmp = exif_beside(header.info), xmp_beside(header.info)
    if header.format == "TIFF":
        value = header.tag_v2.get(274) or xmp_orientation(xmp) or 1  # type: ignore[attr-defined]
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    if header.format == "PNG":
        exif, xmp = exif or _chunk(path, b"eXIf"), xmp or _chunk(path, b"iTXt", b"XML:com.adobe.xmp\0")
    return exif_orientation(exif) or xmp_orientation(xmp) or 1


def _chunk(path: Path, wanted: bytes, beginning: bytes = b"") -> bytes:
    """The first such chunk of a PNG wherever it stands, the pixels stepped over; empty where there is none."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == wanted and (content := file.read(length)).startswith(beginning):
                return content
            file.seek(4 if kind == wanted else length + 4, os.SEEK_CUR)  # its checksum, too
    return b""
