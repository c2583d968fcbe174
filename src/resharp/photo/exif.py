"""EXIF blocks as bytes, for `photo`: read and patched in place, so that all else in them stays as it was.

A block begins with a TIFF header, and a TIFF file is laid out alike, so these functions take both.  Tags go from one to
the other with their bytes as they are: a text in whatever encoding, a number of whatever type.
"""

import itertools
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ORIENTATION = 0x0112
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
_INTEROPERABILITY = 0xA005  # a pointer into the block that it came from
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>))([1-8])""")
_XMP_SIZE = re.compile(
    rb"""(<?(?:exif|tiff):(PixelXDimension|PixelYDimension|ImageWidth|ImageLength)(?:\s*=\s*["']|>))\d+"""
)
_SIZES = (0x0100, 0x0101), (0xA002, 0xA003)  # width and height, in IFD 0 and in the EXIF IFD
# TIFF's types: how many numbers of how many bytes a value has.
_NUMBERS = dict.fromkeys((1, 2, 6, 7), (1, 1)) | dict.fromkeys((3, 8), (1, 2)) | dict.fromkeys((4, 9, 11, 13), (1, 4))
_NUMBERS |= {12: (1, 8)} | dict.fromkeys((5, 10), (2, 4))  # doubles and fractions
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF types BYTE, SHORT, LONG


class Tag(NamedTuple):
    """One entry of an IFD: its number, TIFF's type, and the bytes of its values, little-endian."""

    number: int
    kind: int
    value: bytes


def tags_of(exif: bytes, at: int | None = None, *, only: Collection[int] | None = None) -> dict[int, Tag]:
    """The readable tags of the IFD at an offset, or of IFD 0, by number; `only` those, if numbers are given.

    What points out of the bytes is left out, and what would, all together, be longer than they are.
    """
    order, start, count = _entries(exif, at)
    found, room = {}, len(exif)
    for entry in range(start, start + 12 * count, 12):
        number, kind, n_values = struct.unpack_from(order + "HHI", exif, entry)
        if number == _INTEROPERABILITY or (only is not None and number not in only):
            continue
        n_parts, size = _NUMBERS.get(kind, (0, 0))
        length, place = n_parts * size * n_values, entry + 8
        if length > 4:
            place = struct.unpack_from(order + "I", exif, place)[0]
        if 0 < length <= room and place + length <= len(exif):
            room -= length
            value = np.frombuffer(exif, f"{order}u{size}", n_parts * n_values, place)
            found[number] = Tag(number, kind, value.astype(f"<u{size}").tobytes())
    return found


def tags_below(exif: bytes) -> dict[int, dict[int, Tag]]:
    """The tags of the EXIF and of the GPS IFD, where there are some."""
    first = tags_of(exif, only=(EXIF_IFD, GPS_IFD))
    pointers = {
        kind: first[kind].value for kind in (EXIF_IFD, GPS_IFD) if kind in first and first[kind].kind in (4, 13)
    }
    below = {kind: tags_of(exif, int.from_bytes(value[:4], "little")) for kind, value in pointers.items()}
    return {kind: tags for kind, tags in below.items() if tags}


def ifd_bytes(tags: Sequence[Tag], offset: int) -> bytes:
    """A little-endian IFD that stands at an even offset, its values behind it."""
    tags = sorted(tags)
    entries, values = struct.pack("<H", len(tags)), b""
    behind = offset + 2 + 12 * len(tags) + 4
    for tag in tags:
        n_parts, size = _NUMBERS[tag.kind]
        entries += struct.pack("<HHI", tag.number, tag.kind, len(tag.value) // (n_parts * size))
        if len(tag.value) <= 4:
            entries += tag.value.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", behind + len(values))
            values += tag.value + b"\0" * (len(tag.value) % 2)
    return entries + b"\0" * 4 + values


def block_of(first: Sequence[Tag], below: Mapping[int, Mapping[int, Tag]]) -> bytes:
    """An EXIF block of these tags and the IFDs below them, little-endian."""

    def head(places: Mapping[int, int]) -> bytes:
        pointers = [Tag(kind, 4, struct.pack("<I", places.get(kind, 0))) for kind in below]
        return b"II*\0\x08\0\0\0" + ifd_bytes([*first, *pointers], 8)

    places, behind = {}, b""
    for kind, tags in below.items():
        places[kind] = len(head({})) + len(behind)
        behind += ifd_bytes(list(tags.values()), places[kind])
    return head(places) + behind


def _entries(exif: bytes, at: int | None = None) -> tuple[str, int, int]:
    """(byte order, offset of the first entry, number of entries) of the IFD at an offset, or of IFD 0; (_, 0, 0) where
    there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return "<", 0, 0
    start = struct.unpack_from(order + "I", exif, 4)[0] if at is None else at
    if start + 2 > len(exif):
        return "<", 0, 0
    count = struct.unpack_from(order + "H", exif, start)[0]
    return order, start + 2, min(count, (len(exif) - start - 2) // 12)


def _places(exif: bytes, number: int, at: int | None = None) -> list[tuple[str, int]]:
    """(struct format, offset) of each value of a tag in the IFD at an offset, or in IFD 0, whichever integer type it is
    stored in."""
    order, start, count = _entries(exif, at)
    places = []
    for entry in range(start, start + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", exif, entry)
        if tag == number and kind in _INTEGERS:
            places.append((order + _INTEGERS[kind], entry + 8))
    return places


def exif_orientation(exif: bytes) -> int | None:
    """1 to 8, as TIFF 6.0 counts them, 1 for other numbers; None where the block does not tell."""
    for form, place in _places(exif, ORIENTATION):
        value: int = struct.unpack_from(form, exif, place)[0]
        return value if 1 <= value <= 8 else 1
    return None


def exif_beside(info: Mapping[str | tuple[int, int], Any]) -> bytes:
    """The EXIF block among what Pillow found beside the pixels, from its TIFF header on; empty where there is none."""
    exif: bytes = info.get("exif") or b""
    return exif.removeprefix(b"Exif\0\0")


def xmp_beside(info: Mapping[str | tuple[int, int], Any]) -> bytes:
    """The XMP packet there; empty where there is none."""
    xmp: bytes | str = info.get("xmp") or b""
    return xmp.encode() if isinstance(xmp, str) else xmp


def xmp_orientation(xmp: bytes) -> int | None:
    """The same that an XMP packet tells, which counts where EXIF is silent."""
    stated = _XMP_ORIENTATION.search(xmp)
    return int(stated[2]) if stated else None


def xmp_with_orientation_1(xmp: bytes) -> bytes:
    """The same packet with orientation 1, if it tells one."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def with_orientation_1(exif: bytes) -> bytes:
    """The same EXIF block or TIFF file with orientation 1; bytes that are neither come back as they are."""
    patched = bytearray(exif)
    for form, place in _places(exif, ORIENTATION):
        struct.pack_into(form, patched, place, 1)
    return bytes(patched)


def with_size(exif: bytes, height: int, width: int) -> bytes:
    """The same EXIF block with the size in pixels where it tells one."""
    patched, below = bytearray(exif), _places(exif, EXIF_IFD)
    ifds: list[int | None] = [None, *(struct.unpack_from(form, exif, place)[0] for form, place in below)]
    for (numbers, at), (axis, side) in itertools.product(zip(_SIZES, ifds, strict=False), enumerate((width, height))):
        for form, place in _places(exif, numbers[axis], at):
            struct.pack_into(form[0] + "HI", patched, place - 6, 4, 1)  # as a LONG, which holds every size
            struct.pack_into(form[0] + "I", patched, place, side)
    return bytes(patched)


def xmp_with_size(xmp: bytes, height: int, width: int) -> bytes:
    """The same packet with the size in pixels where it tells one."""
    sides = {b"PixelXDimension": width, b"PixelYDimension": height, b"ImageWidth": width, b"ImageLength": height}
    return _XMP_SIZE.sub(lambda found: found[1] + str(sides[found[2]]).encode(), xmp)


def without_thumbnail(exif: bytes) -> bytes:
    """The same EXIF block with its thumbnail unlinked."""
    order, start, count = _entries(exif)
    patched, link = bytearray(exif), start + 12 * count
    if count and link + 4 <= len(exif):
        struct.pack_into(order + "I", patched, link, 0)
    return bytes(patched)
