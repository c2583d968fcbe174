"""One photo in, one photo out; the only door to codecs.

What goes in comes out: bit depth, alpha, grey or colour, EXIF, XMP, IPTC, ICC profile and DPI, and how finely a JPEG
was coded.  The EXIF orientation is applied to the pixels and its tag set to 1.  Pixels keep the encoding of their
profile: nothing is converted.
"""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use

if TYPE_CHECKING:
    from .content import Photo
    from .decoding import decode_photo, read_photo, read_pixels
    from .encoding import check_encodable, encode_photo, write_photo
    from .formats import FORMATS, SUFFIXES, output_format
    from .jpeg import JpegCoding, through_jpeg
    from .screen import screen_photo
    from .size import photo_size

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "JpegCoding",
    "Photo",
    "check_encodable",
    "decode_photo",
    "encode_photo",
    "output_format",
    "photo_size",
    "read_photo",
    "read_pixels",
    "screen_photo",
    "through_jpeg",
    "write_photo",
]

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
