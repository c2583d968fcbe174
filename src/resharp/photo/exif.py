"""EXIF blocks as bytes, for `photo`: read and patched in place, so that all else in them stays as it was.

A block begins with a TIFF header, and a TIFF file is laid out alike, so these functions take both.
"""

import struct

_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF types BYTE, SHORT, LONG


def _entries(exif: bytes) -> tuple[str, int, int]:
    """(byte order, offset of the first entry of IFD 0, number of entries); (_, 0, 0) where there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return "<", 0, 0
    start = struct.unpack_from(order + "I", exif, 4)[0]
    if start + 2 > len(exif):
        return "<", 0, 0
    count = struct.unpack_from(order + "H", exif, start)[0]
    return order, start + 2, min(count, (len(exif) - start - 2) // 12)


def _orientation_places(exif: bytes) -> list[tuple[str, int]]:
    """(struct format, offset) of each orientation value, whichever integer type it is stored in."""
    order, start, count = _entries(exif)
    places = []
    for at in range(start, start + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", exif, at)
        if tag == _ORIENTATION and kind in _INTEGERS:
            places.append((order + _INTEGERS[kind], at + 8))
    return places


def exif_orientation(exif: bytes) -> int:
    """1 to 8, as TIFF 6.0 counts them; 1 for anything else."""
    for form, place in _orientation_places(exif):
        value: int = struct.unpack_from(form, exif, place)[0]
        return value if 1 <= value <= 8 else 1
    return 1


def with_orientation_1(exif: bytes) -> bytes:
    """The same EXIF block or TIFF file with orientation 1; bytes that are neither come back as they are."""
    patched = bytearray(exif)
    for form, place in _orientation_places(exif):
        struct.pack_into(form, patched, place, 1)
    return bytes(patched)


def without_thumbnail(exif: bytes) -> bytes:
    """The same EXIF block with its thumbnail unlinked."""
    order, start, count = _entries(exif)
    patched, link = bytearray(exif), start + 12 * count
    if count and link + 4 <= len(exif):
        struct.pack_into(order + "I", patched, link, 0)
    return bytes(patched)
