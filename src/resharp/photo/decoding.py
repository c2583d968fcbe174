"""Files to photos.

Pillow reads headers, metadata and 8-bit pixels and refuses damaged files; it would cut 16-bit colour down to 8 bits
without a word, so those pixels pass through OpenCV.  Paths are opened here and decoded from bytes: any name works.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from resharp.device import is_out_of_memory
from resharp.errors import ArgumentError, PhotoError, ResharpError, ResourceError

from .beside import left_out_of, without_marks
from .content import Photo, Pixels
from .exif import (
    exif_beside,
    exif_orientation,
    with_orientation_1,
    without_thumbnail,
    xmp_beside,
    xmp_orientation,
    xmp_with_orientation_1,
)
from .jpeg import iptc_of, jpeg_coding
from .opening import foreign_kind, is_known, odd_tiff, open_header
from .png import carried_chunks
from .tiff import exif_of_tiff

_READABLE = "save it with 8 or 16 bits in grey, RGB or RGBA"


def read_photo(path: str | Path) -> Photo:
    """Read a JPEG, PNG (8, 16 bit), TIFF (8, 16 bit) or WebP file; the content decides, not the name.

    Raises PhotoError for whatever is not one whole still photo in grey or RGB.
    """
    return decode_photo(_bytes_of(path), name=str(path))


def read_pixels(path: str | Path, *, deep: bool = False, transparency: bool = False) -> Tensor:
    """The upright pixels of such a file alone: uint8 RGB (3, H, W), of a colour one with its `transparency` (4, H, W);
    of one with 16 bits rounded to 8, or if `deep` float32 in [0, 1].

    For training, which wants them fast; not to be written to.  Raises PhotoError as `read_photo` does.
    """
    with _damage_named(str(path)):  # torch warns of memory that belongs to a decoder; there warnings are silent
        stored = _stored(_bytes_of(path), str(path))
        pixels = stored.pixels
        if stored.depth == 16 and deep:
            pixels = pixels.astype(np.float32) / 65535
        elif stored.depth == 16:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        planes = torch.from_numpy(pixels)
    if planes.ndim == 2:
        return planes.expand(3, -1, -1)
    planes = planes.permute(2, 0, 1)
    return planes[:1].expand(3, -1, -1) if len(planes) == 2 else planes[: 3 + transparency]


def _bytes_of(path: str | Path) -> bytes:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"read_photo takes a path, not a {type(path).__name__}; decode_photo takes bytes")
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise PhotoError(f"{path}: is a folder; name the photos in it, such as {path}/*.jpg") from None
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror or error})") from None


def decode_photo(data: bytes | bytearray | memoryview, *, name: str = "photo") -> Photo:
    """Like `read_photo`, from the bytes of a file, as an upload or a database has them.

    name: what error messages call them.  Raises PhotoError as `read_photo` does, ArgumentError for what is no bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ArgumentError(f"decode_photo takes bytes, not a {type(data).__name__}; read_photo takes a path")
    with _damage_named(name):
        return _decode(bytes(data), name)


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Turns whatever a decoder says of foreign bytes into a PhotoError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's on odd metadata and on photos from half of its limit on
            yield
    except ResharpError:
        raise
    except Image.DecompressionBombError:  # of single plugins, whatever limit is ours
        raise PhotoError(f"{name}: has too many pixels to be read in this format; save it as PNG or JPEG") from None
    except Exception as error:  # parsers of foreign bytes fail in many ways; none is ours
        if is_out_of_memory(error):
            raise ResourceError(
                f"{name}: not enough memory to read it; close other programs, or make it smaller"
            ) from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PhotoError(f"{name}: is damaged or cut short ({reason}); get the file again") from error


class _Stored(NamedTuple):
    """A file's upright pixels and what stands beside them."""

    pixels: Pixels
    depth: int
    header: Image.Image
    exif: bytes | None
    turn: int


def _stored(data: bytes, name: str) -> _Stored:
    if not data:
        raise PhotoError(f"{name}: is empty (0 bytes); get the file again")
    exif = exif_of_tiff(data)  # before it is turned
    data = with_orientation_1(data)  # decoders, which disagree on it, must find a TIFF upright
    header = _open(data, name)
    stated = xmp_orientation(xmp_beside(header.info))
    if header.format == "TIFF" and stated is not None:  # Pillow would turn its pixels, and no others
        header.info["xmp"] = xmp_with_orientation_1(xmp_beside(header.info))
    pixels, depth = _pixels(data, header, name)
    exif = exif or exif_beside(header.info) or None  # in a PNG it and XMP may stand behind the pixels
    turn = exif_orientation(exif or b"") or stated or xmp_orientation(xmp_beside(header.info)) or 1
    return _Stored(_upright(pixels, turn), depth, header, exif, turn)


def _decode(data: bytes, name: str) -> Photo:
    pixels, depth, header, exif, turn = _stored(data, name)
    xmp, jpeg = xmp_with_orientation_1(xmp_beside(header.info)), jpeg_coding(header)
    tags = _tags(header)
    dpi = header.info.get("dpi") if not tags or 282 in tags else None
    if dpi is not None:
        dpi = (float(dpi[0]), float(dpi[1])) if turn < 5 else (float(dpi[1]), float(dpi[0]))
        dpi = dpi if min(dpi) > 0 and max(dpi) < 65536 else None  # what every format can hold
    grey = pixels.ndim == 2 or pixels.shape[-1] == 2
    stored = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    values = np.ascontiguousarray(stored, dtype=np.float32)  # one copy: large photos take gigabytes
    values /= 255 if depth == 8 else 65535
    planes = torch.from_numpy(values)
    alpha = planes[-1].clone() if len(planes) in (2, 4) else None
    return Photo(
        image=planes[:1].expand(3, -1, -1) if grey else planes[:3],  # of a grey photo one plane is in memory
        alpha=alpha,
        grey=grey,
        depth=depth,
        exif=without_thumbnail(with_orientation_1(exif)) if exif else None,  # it shows the photo as it was
        icc=header.info.get("icc_profile") or None,
        xmp=without_marks(xmp) or None,
        dpi=dpi,
        jpeg=jpeg,
        lossless=header.format == "WEBP" and _is_lossless_webp(data),
        iptc=iptc_of(header) if jpeg else None,
        png_chunks=carried_chunks(data) if header.format == "PNG" else b"",
        left_out=left_out_of(data, xmp, getattr(header, "n_frames", 1)) if jpeg else (),
    )


def _open(data: bytes, name: str) -> Image.Image:
    try:
        header = open_header(io.BytesIO(data), name)
    except UnidentifiedImageError:
        if reason := odd_tiff(data):
            raise PhotoError(f"{name}: {reason}") from None
        if is_known(data):
            raise PhotoError(f"{name}: is damaged, or of a kind not read here; {_READABLE}") from None
        kind = foreign_kind(data)
        raise PhotoError(f"{name}: is {kind or 'not a JPEG, PNG, TIFF or WebP image'}") from None
    if header.format == "TIFF" and (reason := odd_tiff(data)):
        raise PhotoError(f"{name}: {reason}")
    if data.startswith((b"II+\0", b"MM\0+")):
        raise PhotoError(f"{name}: is a BigTIFF; save it as a plain TIFF of up to 4 GB")
    frames = 1 if header.format == "MPO" else getattr(header, "n_frames", 1)
    if header.format == "GIF" or frames > 1:
        if header.format == "TIFF":
            raise PhotoError(f"{name}: holds {frames} pages; save one of them as PNG and restore that")
        kind = "an animated image" if frames > 1 else "a GIF"
        raise PhotoError(f"{name}: is {kind} ({header.format}); save one frame as PNG and restore that")
    return header


def _pixels(data: bytes, header: Image.Image, name: str) -> tuple[Pixels, int]:
    """Pixels as stored (not yet upright) and their bit depth."""
    if header.mode in ("CMYK", "LAB", "F", "HSV"):
        raise PhotoError(f"{name}: holds {header.mode} pixels; convert it to RGB first")
    tags = _tags(header)
    if tags:
        bits = max(_as_tuple(tags.get(258, 8)))
    else:
        bits = data[24] if header.format == "PNG" else 8
    if bits > 8 and tags.get(284, 1) == 2:
        raise PhotoError(f"{name}: stores its 16-bit planes apart; save it with interleaved channels")
    header.load()  # also for 16 bits: says what is damaged, and reads what stands behind a PNG's pixels
    if bits <= 8:
        clear = header.info.get("transparency")
        if header.format == "PNG" and data[25] == 0 and bits in (2, 4) and isinstance(clear, int):
            header.info["transparency"] = clear * (255 // (2**bits - 1))  # Pillow stretches the pixels alone
        plain = _plain_mode(header)
        return np.asarray(header if header.mode == plain else header.convert(plain)), 8
    pixels = _decoded_by_opencv(data)
    if pixels is None or pixels.dtype != np.uint16:
        raise PhotoError(f"{name}: has samples that are neither 8 nor 16 bits; {_READABLE}")
    if header.format == "PNG" and data[25] == 4:
        pixels = pixels[..., 2:]  # grey with alpha, which OpenCV spreads over four channels
    if header.format == "PNG" and pixels.ndim == 2 and isinstance(clear := header.info.get("transparency"), int):
        pixels = np.stack([pixels, np.where(pixels == clear, 0, 65535).astype(np.uint16)], -1)
    if tags.get(262) == 0:  # white is zero
        pixels = 65535 - pixels
    if tags and pixels.ndim == 3 and pixels.shape[-1] == 4:
        pixels = _with_straight_alpha(pixels, _as_tuple(tags.get(338, 0))[0])
    return np.ascontiguousarray(pixels), 16


def _is_lossless_webp(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data) and (kind := data[at : at + 4]) != b"VP8 ":
        if kind == b"VP8L":
            return True
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


def _decoded_by_opencv(data: bytes) -> Pixels | None:
    """(H, W), (H, W, 3) RGB or (H, W, 4) RGBA as stored; None where OpenCV gives up.  Its own log stays quiet."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    finally:
        log.setLogLevel(level)
    if pixels is None or pixels.ndim == 2:
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]


def _with_straight_alpha(pixels: Pixels, kind: int) -> Pixels:
    """16-bit RGBA from a TIFF whose ExtraSamples says: 2 straight alpha, 1 premultiplied, 0 something else."""
    if kind == 0:
        return pixels[..., :3]
    if kind == 1:
        alpha = pixels[..., 3:].astype(np.float64)
        colour = np.divide(pixels[..., :3] * 65535.0, alpha, out=np.zeros(pixels[..., :3].shape), where=alpha > 0)
        return np.concatenate([np.rint(colour).clip(0, 65535).astype(np.uint16), pixels[..., 3:]], -1)
    return pixels


def _tags(header: Image.Image) -> Any:
    """The tags of an opened TIFF; empty for other formats."""
    return header.tag_v2 if header.format == "TIFF" else {}  # type: ignore[attr-defined]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _plain_mode(header: Image.Image) -> str:
    transparent = header.has_transparency_data
    grey = header.mode in ("1", "L", "LA", "La")
    return {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}[grey, transparent]


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1-8, TIFF 6.0) to (H, W[, C]) pixels."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
