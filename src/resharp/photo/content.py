"""What a photo holds besides its pixels."""

import dataclasses
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from .exif import with_size, xmp_with_size
from .jpeg import JpegCoding

Pixels = NDArray[Any]  # uint8 or uint16, (H, W), (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGBA


@dataclasses.dataclass(frozen=True)
class Photo:
    """A decoded photo with everything beside its pixels.

    image: float32 RGB (3, H, W) in [0, 1], of a grey photo one plane seen three times;  alpha: float32 (H, W) or None;
    depth: 8 or 16 bits;  exif: from its TIFF header on, orientation 1;  dpi: (horizontal, vertical).

    How it came, so that it can be written alike:  jpeg: how finely a JPEG was coded;  lossless: whether a WebP was;
    iptc: captions and credits of a JPEG;  png_chunks: texts and colour codes of a PNG, as they are;  left_out: what the
    file held beside the photo and no file written here will hold, in words.
    """

    image: Tensor
    alpha: Tensor | None = None
    grey: bool = False
    depth: int = 8
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg: JpegCoding | None = None
    lossless: bool = False
    iptc: bytes | None = None
    png_chunks: bytes = b""
    left_out: tuple[str, ...] = ()

    @property
    def planes(self) -> Tensor:
        """What there is to restore: (1, H, W) of a grey photo, (3, H, W) of a colour one."""
        return self.image[:1] if self.grey else self.image

    def with_planes(self, planes: Tensor) -> "Photo":
        """The same photo around other pixels: (1, H, W), which makes it grey, or (3, H, W); the size of its alpha.

        Where its metadata tell the size, they tell the new one.
        """
        if planes.ndim != 3 or len(planes) not in (1, 3):
            raise ValueError(f"a photo has planes (1 or 3, height, width), not {tuple(planes.shape)}")
        if self.alpha is not None and planes.shape[-2:] != self.alpha.shape:
            raise ValueError(f"planes {tuple(planes.shape)} do not fit the alpha plane {tuple(self.alpha.shape)}")
        image = planes.detach().float().cpu().expand(3, -1, -1)
        (height, width), exif, xmp = image.shape[-2:], self.exif, self.xmp
        if (height, width) != self.image.shape[-2:]:
            exif = None if exif is None else with_size(exif, height, width)
            xmp = None if xmp is None else xmp_with_size(xmp, height, width)
        return dataclasses.replace(self, image=image, grey=len(planes) == 1, exif=exif, xmp=xmp)
