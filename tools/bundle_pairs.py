"""Makes what `resharp data undo` wrote small enough to carry to a GPU, for `train_on_gpu.sh deblur-refine-gpu`.

python tools/bundle_pairs.py UNDONE BUNDLE/pairs [--megabytes 50]

Photos become JPEG of quality 95 without chroma subsampling; what was undone stays as it is, compressed.  A pair takes
0.6 MB at 328x328, where the arrays and PNGs of `data undo` take 1.1.
"""

import io
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from resharp.data.layouts import open_listing
from resharp.data.manifest import MANIFEST, Entry, Manifest, save_manifest
from resharp.errors import ResharpError
from resharp.files import written_whole
from resharp.photo import photo_size


def encoded(picture: Image.Image, **settings: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    with picture:
        picture.save(buffer, **settings)
    return buffer.getvalue()


def files_of(folder: Path, degraded: Path, clean: Path) -> dict[str, bytes]:
    """A pair's three files by their paths in the bundle."""
    jpeg = {"format": "JPEG", "quality": 95, "subsampling": 0}
    undone = io.BytesIO()
    np.savez_compressed(undone, np.load(folder / "undone" / f"{degraded.stem}.npy"))
    halves = {name: encoded(Image.open(path), **jpeg) for name, path in (("blur", degraded), ("sharp", clean))}
    paths = {f"{name}/{degraded.stem}.jpg": data for name, data in halves.items()}
    return paths | {f"undone/{degraded.stem}.npz": undone.getvalue()}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--megabytes",
    type=click.FloatRange(min=0.3),
    default=50.0,
    show_default=True,
    help="At most; pairs beyond are left out.",
)
def main(folder: Path, out: Path, megabytes: float) -> None:
    """Print how many pairs there was room for."""
    try:
        listing = open_listing(folder)
    except ResharpError as error:
        raise click.ClickException(str(error)) from None
    if not listing.paired or not (folder / "undone").is_dir():
        raise click.ClickException(
            f"{folder}: holds no pairs with undone/ beside them; name what `resharp data undo` wrote"
        )
    entries, left, pairs = [], megabytes * 1e6, listing.items
    for pair in pairs:
        assert pair.degraded is not None, "what is listed here are pairs"
        assert pair.clean is not None
        files = files_of(folder, pair.degraded, pair.clean)
        left -= sum(map(len, files.values()))
        if left < 0:
            break
        for name, data in files.items():
            with written_whole(out / name) as file:
                file.write(data)
        height, width = photo_size(pair.clean)
        degraded, clean, _ = files
        entries.append(Entry(degraded=degraded, clean=clean, group=pair.group, height=height, width=width))
    counts = {"": len(entries)}
    made = Manifest(layout="pairs", paired=True, source="bundled pairs", counts=counts, items=tuple(entries))
    save_manifest(made, out / MANIFEST)
    click.echo(f"{len(entries)} of {len(pairs)} pairs")


if __name__ == "__main__":
    main()
