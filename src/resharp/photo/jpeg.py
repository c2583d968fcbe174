"""What JPEG leaves of a picture, and how a JPEG was coded."""

import dataclasses
import functools
import io
import struct

import cv2
import numpy as np
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor

from resharp.errors import ArgumentError

_IPTC = 0x0404  # its number among Photoshop's resources
SUBSAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def through_jpeg(image: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """`image` (1 or 3, H, W) in [0, 1], rounded to 8 bits, written as JPEG and read again.  Raises ArgumentError."""
    if max(image.shape[-2:]) > 65500:
        raise ArgumentError(f"JPEG ends at 65500 pixels a side; this picture is {image.shape[-1]}x{image.shape[-2]}")
    pixels = np.ascontiguousarray(image.flip(-3).clamp(0, 1).mul(255).round_().byte().permute(1, 2, 0).cpu().numpy())
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLINGS[subsampling]]
    done, stream = cv2.imencode(".jpg", pixels, settings)
    assert done, "OpenCV encodes every uint8 array of these sizes as JPEG"
    read = cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE if len(image) == 1 else cv2.IMREAD_COLOR)
    assert read is not None
    planes = torch.from_numpy(read.reshape(*read.shape[:2], -1)).permute(2, 0, 1).flip(-3)
    return planes.to(image).div(255)


Tables = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class JpegCoding:
    """How finely a JPEG was coded.

    tables: the quantisation steps of its components, 64 each; the last table is that of all further components;
    subsampling: of its colours, "4:4:4", "4:2:2" or "4:2:0".
    """

    tables: Tables
    subsampling: str

    @property
    def quality(self) -> int:
        """1 to 100 as libjpeg counts: the number whose tables are nearest, for cameras have tables of their own."""
        return min(range(1, 101), key=lambda quality: _distance(self.tables, _tables_of_quality(quality)))


def jpeg_coding(header: Image.Image) -> JpegCoding | None:
    """How an opened JPEG was coded, None of another format."""
    if not isinstance(header, JpegImagePlugin.JpegImageFile):
        return None
    tables = [tuple(header.quantization[component[3]]) for component in header.layer]
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    sampling = JpegImagePlugin.get_sampling(header)  # -1 of rare ones
    return JpegCoding(tuple(tables), {1: "4:2:2", 2: "4:2:0"}.get(sampling, "4:4:4"))


def iptc_of(header: Image.Image) -> bytes | None:
    """The captions and credits of an opened JPEG, as the IPTC has them: what agencies write."""
    resources = header.info.get("photoshop")
    iptc = resources.get(_IPTC) if isinstance(resources, dict) else None
    return iptc if isinstance(iptc, bytes) and iptc else None


def iptc_segment(iptc: bytes) -> bytes:
    """The same as a segment of a JPEG; empty where they are longer than one."""
    resource = b"8BIM" + struct.pack(">HHI", _IPTC, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    content = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content if len(content) < 65534 else b""


def _distance(tables: Tables, others: Tables) -> int:
    return sum(abs(a - b) for one, other in zip(tables, others, strict=False) for a, b in zip(one, other, strict=True))


@functools.cache
def _tables_of_quality(quality: int) -> Tables:
    buffer = io.BytesIO()
    Image.new("YCbCr", (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as header:
        coding = jpeg_coding(header)
    assert coding is not None, "Pillow wrote a JPEG"
    return coding.tables
