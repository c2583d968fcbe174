"""Photos to files: Pillow writes 8-bit JPEG, PNG and WebP, OpenCV the pixels of 16-bit PNG, tifffile TIFF."""

import dataclasses
import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from resharp.device import is_out_of_memory
from resharp.errors import PhotoError, ResourceError
from resharp.files import written_whole

from .content import FORMATS, SUFFIXES, Photo, Pixels
from .tiff import encode_tiff

_PNG_METADATA = (b"iCCP", b"pHYs", b"eXIf", b"iTXt")


def write_photo(photo: Photo, path: str | Path, *, png_compression: int = 6) -> None:
    """Write a photo in the format of the path's suffix: whole, or not at all.

    JPEG in quality 95 without chroma subsampling, lossy WebP in quality 95; both hold 8 bits.  8-bit PNG is deflated at
    level `png_compression`, 0 to 9 (1 takes half the time of 6).  Values are clipped to [0, 1] and rounded.  Raises
    PhotoError for a suffix that is no format or a format that cannot hold the alpha plane, OutputError for what the
    disk refuses.
    """
    path = Path(path)
    data = encode_photo(photo, output_format(path), name=str(path), png_compression=png_compression)
    with written_whole(path) as file:
        file.write(data)


def check_encodable(photo: Photo, path: Path) -> None:
    """Raises PhotoError where `write_photo` would, before hours of work: tried on one pixel with all the metadata."""
    _check_size(photo, output_format(path), str(path))
    pixel = dataclasses.replace(
        photo, image=photo.image[:, :1, :1], alpha=None if photo.alpha is None else photo.alpha[:1, :1]
    )
    encode_photo(pixel, output_format(path), name=str(path))


def output_format(path: Path) -> str:
    """The format that a file's name asks for.  Raises PhotoError for a name that asks for none."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(sorted(SUFFIXES))
        raise PhotoError(f"{path}: its name does not end in a format that is written here ({known})") from None


def encode_photo(photo: Photo, format_name: str, *, name: str = "photo", png_compression: int = 6) -> bytes:
    """The bytes of a photo in one of FORMATS; see `write_photo`."""
    if photo.alpha is not None and format_name == "JPEG":
        raise PhotoError(f"{name}: JPEG cannot hold the photo's transparency; choose .png, .tif or .webp")
    _check_size(photo, format_name, name)
    depth = photo.depth if format_name in ("PNG", "TIFF") else 8
    # Few programs read grey with alpha in 16 bits; WebP has no grey at all.
    keep_grey = format_name != "WEBP" and not (depth == 16 and photo.alpha is not None)
    pixels = _quantised(photo, depth, keep_grey=keep_grey)
    icc = photo.icc
    if icc is not None and icc[16:20] in (b"GRAY", b"RGB "):
        # A profile describes its own number of channels; beside another number it would make the file invalid.
        is_grey = pixels.ndim == 2 or pixels.shape[-1] == 2
        icc = icc if (icc[16:20] == b"GRAY") == is_grey else None
    if format_name == "TIFF":
        return encode_tiff(pixels, exif=photo.exif, icc=icc, xmp=photo.xmp, dpi=photo.dpi)
    metadata: dict[str, Any] = {"exif": photo.exif, "icc_profile": icc, "dpi": photo.dpi, "xmp": photo.xmp}
    if format_name == "PNG":
        return _encode_png(pixels, metadata, png_compression)
    settings: dict[str, Any] = {k: v for k, v in metadata.items() if v is not None}
    if format_name == "JPEG":
        if "exif" in settings:
            settings["exif"] = b"Exif\0\0" + settings["exif"]
        settings |= {"quality": 95, "subsampling": 0}
    else:
        settings |= {"quality": 95, "exact": True}
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, format_name, **settings)
    except (ValueError, OSError) as error:
        if is_out_of_memory(error):
            raise ResourceError(f"{name}: not enough memory to write it; close other programs") from error
        raise PhotoError(f"{name}: cannot be written as {format_name} ({error}); choose .png or .tif") from error
    return buffer.getvalue()


def _check_size(photo: Photo, format_name: str, name: str) -> None:
    if format_name == "WEBP" and max(photo.image.shape[-2:]) > 16383:
        raise PhotoError(f"{name}: WebP ends at 16383 pixels a side; choose .png, .tif or .jpg")
    if format_name == "JPEG" and max(photo.image.shape[-2:]) > 65500:
        raise PhotoError(f"{name}: JPEG ends at 65500 pixels a side; choose .png or .tif")


def _quantised(photo: Photo, depth: int, *, keep_grey: bool) -> Pixels:
    """(H, W) or (H, W, 2|3|4) integers; grey with alpha has two channels."""
    image = photo.image.mean(0, keepdim=True) if photo.grey and keep_grey else photo.image
    if photo.alpha is not None:
        image = torch.cat([image, photo.alpha[None]])
    top = 2**depth - 1
    values = image.clamp(0, 1).mul(top).round_().permute(1, 2, 0).numpy()
    pixels = values.astype(np.uint8 if depth == 8 else np.uint16)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _encode_png(pixels: Pixels, metadata: dict[str, Any], compression: int) -> bytes:
    settings = {k: v for k, v in metadata.items() if v is not None and k != "xmp"}
    settings["compress_level"] = compression
    if metadata["xmp"] is not None:
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode("utf-8", "replace"))
        settings["pnginfo"] = text
    buffer = io.BytesIO()
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(buffer, "PNG", **settings)
        return buffer.getvalue()
    # 16 bits: OpenCV encodes the pixels; the metadata chunks are those that Pillow writes for a 1x1 stand-in.
    Image.new("L", (1, 1)).save(buffer, "PNG", **settings)
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]
    done, encoded = cv2.imencode(".png", pixels)
    assert done, "OpenCV encodes every uint16 array as PNG"
    stream = encoded.tobytes()
    chunks = b"".join(chunk for kind, chunk in _png_chunks(buffer.getvalue()) if kind in _PNG_METADATA)
    return stream[:33] + chunks + stream[33:]  # 33 = signature + IHDR


def _png_chunks(stream: bytes) -> list[tuple[bytes, bytes]]:
    """(type, whole chunk with length and checksum) for each chunk of a PNG stream."""
    chunks, at = [], 8
    while at < len(stream):
        length = struct.unpack_from(">I", stream, at)[0]
        chunks.append((stream[at + 4 : at + 8], stream[at : at + 12 + length]))
        at += 12 + length
    return chunks
