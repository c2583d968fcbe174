"""The formats that photos come in, by their names' suffixes."""

from pathlib import Path

from resharp.errors import PhotoError

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
SUFFIXES = frozenset(FORMATS)


def output_format(path: str | Path) -> str:
    """The format that a file's name asks for.  Raises PhotoError for a name that asks for none."""
    try:
        return FORMATS[Path(path).suffix.lower()]
    except KeyError:
        known = ", ".join(sorted(SUFFIXES))
        raise PhotoError(f"{path}: its name does not end in a format that is written here ({known})") from None
