"""One photo in, one photo out; the only door to codecs.

What goes in comes out: bit depth, alpha, grey or colour, EXIF, XMP, ICC profile and DPI.  The EXIF orientation is
applied to the pixels and its tag set to 1.  Pixels keep the encoding of their profile: nothing is converted.

Pillow reads headers, metadata and 8-bit pixels and refuses damaged files; it would cut 16-bit colour down to 8 bits
without a word, so those pixels pass through OpenCV.  Paths are opened here and decoded from bytes: any name works.
"""

import dataclasses
import errno
import io
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .errors import PhotoError
from .exif import exif_orientation, with_orientation_1, without_thumbnail
from .files import written_whole
from .tiff import encode_tiff, exif_of_tiff

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
SUFFIXES = frozenset(FORMATS)

_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>))[2-8]""")
_KNOWN_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF")
_READABLE = "save it with 8 or 16 bits in grey, RGB or RGBA"
_PNG_METADATA = (b"iCCP", b"pHYs", b"eXIf", b"iTXt")

Pixels = NDArray[Any]  # uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA


@dataclasses.dataclass(frozen=True)
class Photo:
    """A decoded photo with everything beside its pixels.

    image: float32 RGB (3, H, W) in [0, 1], three equal planes for a grey photo;  alpha: float32 (H, W), or None;
    depth: 8 or 16 bits;  exif: from its TIFF header on, orientation 1;  dpi: (horizontal, vertical).
    """

    image: Tensor
    alpha: Tensor | None = None
    grey: bool = False
    depth: int = 8
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None

    @property
    def planes(self) -> Tensor:
        """What there is to restore: (1, H, W) of a grey photo, (3, H, W) of a colour one."""
        return self.image[:1] if self.grey else self.image

    def with_planes(self, planes: Tensor) -> "Photo":
        """The same photo around other pixels of the same size: (1, H, W) or (3, H, W)."""
        if planes.shape[-2:] != self.image.shape[-2:] or len(planes) not in (1, 3):
            raise ValueError(f"expected planes of {tuple(self.planes.shape)}, not {tuple(planes.shape)}")
        return dataclasses.replace(self, image=planes.detach().float().cpu().expand(3, -1, -1))


def read_photo(path: str | Path) -> Photo:
    """Read a JPEG, PNG (8, 16 bit), TIFF (8, 16 bit) or WebP file; the content decides, not the name.

    Raises PhotoError for whatever is not one whole still photo in grey or RGB.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise PhotoError(f"{path}: is a folder; name the photos in it, such as {path}/*.jpg") from None
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror or error})") from None
    return decode_photo(data, name=str(path))


def decode_photo(data: bytes, *, name: str = "photo") -> Photo:
    """Like `read_photo`, from bytes; `name` is what error messages call them."""
    if not data:
        raise PhotoError(f"{name}: is empty (0 bytes); get the file again")
    turn = exif_orientation(data)  # a TIFF file is laid out as an EXIF block is
    data = with_orientation_1(data)  # ... and decoders, which disagree on it, must find it upright
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on odd metadata and on photos from half of its limit on
        header = _open(data, name)
        exif = exif_of_tiff(header) if header.format == "TIFF" else None
        pixels, depth = _pixels(data, header, name)
        exif = exif or _exif_beside(header)  # in a PNG it may stand behind the pixels
    turn = max(turn, exif_orientation(exif or b""))
    pixels = _upright(pixels, turn)
    dpi = header.info.get("dpi") if header.format != "TIFF" or 282 in _tags(header) else None
    if dpi is not None:
        dpi = (float(dpi[0]), float(dpi[1])) if turn < 5 else (float(dpi[1]), float(dpi[0]))
        dpi = dpi if min(dpi) > 0 else None
    xmp = header.info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp

    values = torch.from_numpy(pixels.astype(np.float32) / (255 if depth == 8 else 65535))
    grey = values.ndim == 2 or values.shape[-1] == 2
    planes = values[None] if values.ndim == 2 else values.permute(2, 0, 1)
    alpha = planes[-1].clone() if len(planes) in (2, 4) else None
    image = planes[:1].expand(3, -1, -1) if grey else planes[:3]
    return Photo(
        image=image.contiguous(),
        alpha=alpha,
        grey=grey,
        depth=depth,
        exif=without_thumbnail(with_orientation_1(exif)) if exif else None,  # it shows the photo as it was
        icc=header.info.get("icc_profile") or None,
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None,
        dpi=dpi,
    )


def write_photo(photo: Photo, path: str | Path) -> None:
    """Write a photo in the format of the path's suffix: whole, or not at all.

    JPEG in quality 95 without chroma subsampling, lossy WebP in quality 95; both hold 8 bits.  Values are clipped to
    [0, 1] and rounded.  Raises PhotoError for a suffix that is no format or a format that cannot hold the alpha plane,
    OutputError for what the disk refuses.
    """
    path = Path(path)
    data = encode_photo(photo, output_format(path), name=str(path))
    with written_whole(path) as file:
        file.write(data)


def check_encodable(photo: Photo, path: Path) -> None:
    """Raises PhotoError where `write_photo` would, before hours of work: tried on one pixel with all the metadata."""
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


def encode_photo(photo: Photo, format_name: str, *, name: str = "photo") -> bytes:
    """The bytes of a photo in one of FORMATS; see `write_photo`."""
    if photo.alpha is not None and format_name == "JPEG":
        raise PhotoError(f"{name}: JPEG cannot hold the photo's transparency; choose .png, .tif or .webp")
    if format_name == "WEBP" and max(photo.image.shape[-2:]) > 16383:
        raise PhotoError(f"{name}: WebP ends at 16383 pixels a side; choose .png, .tif or .jpg")
    if format_name == "JPEG" and max(photo.image.shape[-2:]) > 65500:
        raise PhotoError(f"{name}: JPEG ends at 65500 pixels a side; choose .png or .tif")
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
        return _encode_png(pixels, metadata)
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
        raise PhotoError(f"{name}: cannot be written as {format_name} ({error}); choose .png or .tif") from error
    return buffer.getvalue()


# --- decoding ---------------------------------------------------------------------------------------------------------


def _open(data: bytes, name: str) -> Image.Image:
    try:
        header = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "TIFF", "WEBP", "GIF"))
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise PhotoError(f"{name}: has more than {limit} megapixels, too large to be an honest photo; cut it") from None
    except UnidentifiedImageError:
        if data.startswith(_KNOWN_STARTS):
            raise PhotoError(f"{name}: is damaged, or of a kind not read here; {_READABLE}") from None
        raise PhotoError(f"{name}: is not a JPEG, PNG, TIFF or WebP image") from None
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        _damaged(name, error)
    if data.startswith((b"II+\0", b"MM\0+")):
        raise PhotoError(f"{name}: is a BigTIFF; save it as a plain TIFF of up to 4 GB")
    frames = 1 if header.format == "MPO" else getattr(header, "n_frames", 1)
    if header.format == "GIF" or frames > 1:
        kind = "an animated image" if frames > 1 else "a GIF"
        raise PhotoError(f"{name}: is {kind} ({header.format}); save one frame as PNG and restore that")
    return header


def _pixels(data: bytes, header: Image.Image, name: str) -> tuple[Pixels, int]:
    """Pixels as stored (not yet upright) and their bit depth."""
    if header.mode in ("CMYK", "LAB", "F", "HSV"):
        raise PhotoError(f"{name}: holds {header.mode} pixels; convert it to RGB first")
    if header.format == "TIFF" and set(_as_tuple(_tags(header).get(339, 1))) != {1}:
        raise PhotoError(f"{name}: holds signed or floating-point samples; {_READABLE}")
    deep = _bits_per_sample(data, header) > 8
    tags = _tags(header) if header.format == "TIFF" else {}
    try:
        header.load()  # refuses truncated files, which OpenCV would fill up in silence
    except (OSError, ValueError, SyntaxError, struct.error, zlib.error, EOFError) as error:
        _damaged(name, error)
    if not deep:
        return np.asarray(header.convert(_plain_mode(header))), 8
    if tags.get(284, 1) == 2:
        raise PhotoError(f"{name}: stores its 16-bit colour planes apart; save it with interleaved channels")
    try:
        flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        _damaged(name, error)
    if pixels is None or pixels.dtype != np.uint16:
        raise PhotoError(f"{name}: has samples that are neither 8 nor 16 bits; {_READABLE}")
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]] if pixels.shape[-1] > 2 else pixels
    if header.format == "PNG" and data[25] == 4:
        pixels = pixels[..., 2:]  # grey with alpha, which OpenCV spreads over four channels
    if header.format == "PNG" and pixels.ndim == 2 and isinstance(clear := header.info.get("transparency"), int):
        pixels = np.stack([pixels, np.where(pixels == clear, 0, 65535).astype(np.uint16)], -1)
    if tags.get(262) == 0:  # white is zero
        pixels = 65535 - pixels
    if pixels.ndim == 3 and pixels.shape[-1] == 4 and tags:
        pixels = _with_straight_alpha(pixels, _as_tuple(tags.get(338, 0))[0])
    return np.ascontiguousarray(pixels), 16


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
    """The tags of an opened TIFF."""
    return header.tag_v2  # type: ignore[attr-defined]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _bits_per_sample(data: bytes, header: Image.Image) -> int:
    if header.format == "PNG":
        return data[24]
    if header.format == "TIFF":
        return int(max(_as_tuple(_tags(header).get(258, 8))))
    return 8


def _plain_mode(header: Image.Image) -> str:
    transparent = header.has_transparency_data
    grey = header.mode in ("1", "L", "LA", "La")
    return {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}[grey, transparent]


def _damaged(name: str, error: Exception) -> NoReturn:
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        reason = "out of memory"
    raise PhotoError(f"{name}: is damaged or cut short ({reason.splitlines()[0]}); get the file again") from error


def _exif_beside(header: Image.Image) -> bytes | None:
    """The EXIF block of a JPEG, PNG or WebP from its TIFF header on, or None."""
    exif: bytes = header.info.get("exif") or b""
    return exif.removeprefix(b"Exif\0\0") or None


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1-8, TIFF 6.0) to (H, W[, C]) pixels."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


# --- encoding ---------------------------------------------------------------------------------------------------------


def _quantised(photo: Photo, depth: int, *, keep_grey: bool) -> Pixels:
    """(H, W) or (H, W, 2|3|4) integers; grey with alpha has two channels."""
    image = photo.image.mean(0, keepdim=True) if photo.grey and keep_grey else photo.image
    if photo.alpha is not None:
        image = torch.cat([image, photo.alpha[None]])
    top = 2**depth - 1
    values = image.clamp(0, 1).mul(top).round_().permute(1, 2, 0).numpy()
    pixels = values.astype(np.uint8 if depth == 8 else np.uint16)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _encode_png(pixels: Pixels, metadata: dict[str, Any]) -> bytes:
    settings = {k: v for k, v in metadata.items() if v is not None and k != "xmp"}
    if metadata["xmp"] is not None:
        from PIL.PngImagePlugin import PngInfo

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
