"""Chunks of a PNG file, for `photo`."""

import struct
import zlib
from collections.abc import Iterator

_CARRIED = (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
_XMP = b"iTXtXML:com.adobe.xmp\0"
_MONITOR = 45455  # gAMA of sRGB and of monitors, 1/2.2
_HDR = {16: "PQ", 18: "HLG"}  # cICP's numbers of transfer functions, after ITU-T H.273


def png_chunks(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, whole chunk with length and checksum) for each sound chunk of a PNG stream, as far as it goes."""
    at = 8
    while at + 12 <= len(stream):
        length, kind = struct.unpack_from(">I4s", stream, at)
        chunk = stream[at : at + 12 + length]
        if len(chunk) == 12 + length and (
            kind == b"IDAT" or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        ):
            yield kind, chunk
        at += 12 + length


def carried_chunks(stream: bytes) -> bytes:
    """Texts but XMP, and what tells how colours are meant: chunks that go from one PNG to the next as they are."""
    return b"".join(chunk for kind, chunk in png_chunks(stream) if kind in _CARRIED and not chunk[4:].startswith(_XMP))


def colours_of_png_alone(chunks: bytes, *, has_profile: bool) -> str:
    """What such chunks say of the colours that no other format could say; nothing where they are as anywhere else."""
    found = {kind: chunk[8:-4] for kind, chunk in png_chunks(b"\0" * 8 + chunks)}
    cicp, gamma = found.get(b"cICP", b""), int.from_bytes(found.get(b"gAMA", b""), "big")
    if len(cicp) == 4 and (cicp[1] in _HDR or (not has_profile and (cicp[0] not in (1, 2) or cicp[1] == 8))):
        return f"HDR, {_HDR[cicp[1]]}" if cicp[1] in _HDR else f"colour code {cicp[0]}/{cicp[1]}"
    if gamma and not has_profile and b"sRGB" not in found and not 0.85 < gamma / _MONITOR < 1.15:
        return f"gamma {gamma / 1e5:g}"
    return ""
