"""Photos to files: Pillow writes 8-bit JPEG, PNG and WebP, OpenCV the pixels of 16-bit PNG, tifffile TIFF."""

import dataclasses
import io
import logging
import operator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from resharp.device import is_out_of_memory
from resharp.errors import ArgumentError, PhotoError, ResourceError, did_you_mean
from resharp.files import written_whole
from resharp.image import as_image

from .content import Photo, Pixels
from .formats import FORMATS, output_format
from .jpeg import iptc_segment
from .png import colours_of_png_alone, png_chunks
from .tiff import encode_tiff

_LOG = logging.getLogger("resharp")
_ROWS = 256  # that are rounded at once
_PNG_HEAD = 33  # signature and IHDR
_PNG_METADATA = (b"iCCP", b"pHYs", b"eXIf", b"iTXt")


def write_photo(photo: Photo, path: str | Path, *, quality: int | None = None, png_compression: int = 3) -> None:
    """Write a photo in the format of the path's suffix: whole, or not at all.

    quality: 1 to 100, of JPEG and WebP, which hold 8 bits;  None writes what came as JPEG as finely as it came, what
    came as WebP without loss as such again, and everything else in quality 95 without chroma subsampling.  8-bit PNG is
    deflated at level `png_compression`, 0 to 9 (6: 3 % smaller in three times the time).  Values are clipped to [0, 1]
    and rounded.  What the photo's file held and this one does not is logged as a warning.  Raises PhotoError for a
    suffix that is no format or a format that cannot hold the photo, ArgumentError for values on another scale,
    OutputError for what the disk refuses.
    """
    path = Path(path)
    data = encode_photo(photo, output_format(path), name=str(path), quality=quality, png_compression=png_compression)
    with written_whole(path) as file:
        file.write(data)
    if photo.left_out:
        _LOG.warning("%s: written without %s", path, " and ".join(photo.left_out))


def check_encodable(photo: Photo, path: str | Path) -> None:
    """Raises PhotoError where `write_photo` would, before hours of work: tried on one pixel with all the metadata."""
    name = output_format(path)
    _check_size(photo, name, str(path))
    alpha = None if photo.alpha is None else photo.alpha.min().reshape(1, 1)
    encode_photo(dataclasses.replace(photo, image=photo.image[:, :1, :1], alpha=alpha), name, name=str(path))


def encode_photo(
    photo: Photo, format_name: str, *, quality: int | None = None, png_compression: int = 3, name: str = "photo"
) -> bytes:
    """The bytes that `write_photo` would write, for an answer to a browser or a database.

    format_name: "JPEG", "PNG", "TIFF" or "WEBP", in any case, or a suffix such as ".jpg";  name: what error messages
    call the photo.  Raises as `write_photo` does, and ArgumentError for other formats.
    """
    format_name = _checked_format(format_name)
    quality = None if quality is None else _checked_quality(quality)
    photo = _checked_photo(photo, format_name, name)
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
        data = _encode_png(pixels, metadata, png_compression)
        return data[:_PNG_HEAD] + photo.png_chunks + data[_PNG_HEAD:]
    settings: dict[str, Any] = {k: v for k, v in metadata.items() if v is not None}
    if format_name == "JPEG":
        if "exif" in settings:
            settings["exif"] = b"Exif\0\0" + settings["exif"]
        settings |= _jpeg_settings(photo, quality)
    else:
        lossless = photo.lossless and quality is None
        settings |= {"lossless": True, "exact": True} if lossless else {"quality": quality or 95, "exact": True}
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, format_name, **settings)
    except (ValueError, OSError) as error:
        if is_out_of_memory(error):
            raise ResourceError(f"{name}: not enough memory to write it; close other programs") from error
        raise PhotoError(f"{name}: cannot be written as {format_name} ({error}); choose .png or .tif") from error
    return buffer.getvalue()


def _jpeg_settings(photo: Photo, quality: int | None) -> dict[str, Any]:
    """Of Pillow's writer: the quality asked for, or that of the JPEG that the photo came as."""
    settings: dict[str, Any] = {"subsampling": photo.jpeg.subsampling if photo.jpeg else "4:4:4"}
    if photo.iptc is not None:
        settings["extra"] = iptc_segment(photo.iptc)
    if photo.jpeg and quality is None:
        return settings | {"qtables": [list(table) for table in photo.jpeg.tables]}
    return settings | {"quality": quality or 95}


def _checked_format(name: str) -> str:
    known = sorted({*FORMATS.values()})
    if not isinstance(name, str):
        raise ArgumentError(f"a format is a name such as 'JPEG' or '.jpg', not a {type(name).__name__}")
    try:
        return FORMATS[f".{name.lower().removeprefix('.')}"]
    except KeyError:
        raise ArgumentError(f"{name!r} is no format; {did_you_mean(name, known, things='formats')}") from None


def _checked_quality(quality: int) -> int:
    if isinstance(quality, bool) or not hasattr(quality, "__index__") or not 1 <= quality <= 100:
        raise ArgumentError(f"quality is {quality!r}; it must be a whole number from 1 to 100")
    return operator.index(quality)


def _checked_photo(photo: Photo, format_name: str, name: str) -> Photo:
    """`photo` with pixels on the CPU that can be written, for JPEG without an alpha plane that hides nothing."""
    if not isinstance(photo, Photo):
        raise ArgumentError(
            f"{name}: a {type(photo).__name__} is no Photo; make one of an image (3, H, W): Photo(image)"
        )
    image = as_image(photo.image).cpu()
    if image.ndim != 3:
        raise ArgumentError(f"{name}: a photo is one image (3, height, width), not {tuple(image.shape)}")
    if format_name == "JPEG" and photo.alpha is not None:
        if float(photo.alpha.min()) < 254.5 / 255:
            raise PhotoError(f"{name}: JPEG cannot hold the photo's transparency; choose .png, .tif or .webp")
        photo = dataclasses.replace(photo, alpha=None)
    odd = colours_of_png_alone(photo.png_chunks, has_profile=photo.icc is not None) if format_name != "PNG" else ""
    if odd:
        raise PhotoError(f"{name}: {format_name} cannot say what its colours mean ({odd}); choose .png")
    return dataclasses.replace(photo, image=image)


def _check_size(photo: Photo, format_name: str, name: str) -> None:
    if format_name == "WEBP" and max(photo.image.shape[-2:]) > 16383:
        raise PhotoError(f"{name}: WebP ends at 16383 pixels a side; choose .png, .tif or .jpg")
    if format_name == "JPEG" and max(photo.image.shape[-2:]) > 65500:
        raise PhotoError(f"{name}: JPEG ends at 65500 pixels a side; choose .png or .tif")


def _quantised(photo: Photo, depth: int, *, keep_grey: bool) -> Pixels:
    """(H, W) or (H, W, 2|3|4) integers; grey with alpha has two channels."""
    grey, top = photo.grey and keep_grey, 2**depth - 1
    n_channels = (1 if grey else len(photo.image)) + (photo.alpha is not None)
    pixels = np.empty((*photo.image.shape[-2:], n_channels), np.uint8 if depth == 8 else np.uint16)
    for start in range(0, len(pixels), _ROWS):  # floats of a large photo take gigabytes
        rows = slice(start, start + _ROWS)
        image = photo.image[:, rows].mean(0, keepdim=True) if grey else photo.image[:, rows]
        if photo.alpha is not None:
            image = torch.cat([image, photo.alpha[None, rows].cpu()])
        pixels[rows] = image.clamp(0, 1).mul_(top).round_().permute(1, 2, 0).numpy()
    return pixels[..., 0] if n_channels == 1 else pixels


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
    chunks = b"".join(chunk for kind, chunk in png_chunks(buffer.getvalue()) if kind in _PNG_METADATA)
    return stream[:_PNG_HEAD] + chunks + stream[_PNG_HEAD:]
