"""What phones put beside a photo into its file, which no restored photo keeps: named, and its mark taken away."""

import re

_GAIN_MAP = re.compile(rb'\s+hdrgm:Version\s*=\s*(?:"[^"]*"|\'[^\']*\')')
_FILM = re.compile(rb"""((?:MotionPhoto|MicroVideo)\s*=\s*["'])1(?=["'])""")
_FILM_STARTS = (b"ftypmp4", b"ftypisom", b"ftypqt  ", b"ftypavc1", b"MotionPhoto_Data")


def left_out_of(data: bytes, xmp: bytes, n_pictures: int) -> tuple[str, ...]:
    """Of a JPEG's bytes, its XMP packet and the number of pictures in it."""
    found = []
    if _GAIN_MAP.search(xmp) or b"HDRGainMap" in data:
        found.append("its HDR gain map")
    elif n_pictures > 1:
        found.append(f"{n_pictures - 1} further picture{'s' if n_pictures > 2 else ''} in the file")
    if _FILM.search(xmp) or any(start in data for start in _FILM_STARTS):
        found.append("the film of a motion photo")
    return tuple(found)


def without_marks(xmp: bytes) -> bytes:
    """The same packet, which no longer says that a gain map or a film is there; viewers would look for them."""
    return _FILM.sub(rb"\g<1>0", _GAIN_MAP.sub(b"", xmp))
