"""resharp data pack."""

import json
from pathlib import Path

import click

from .._terminal import PLACE, InterruptedRunError, json_option, say


@click.command()
@click.argument("source", type=PLACE, metavar="SRC")
@click.option("-o", "--out", required=True, type=PLACE, help="The HDF5 file.")
@click.option("--patch", type=int, default=128, show_default=True, metavar="N", help="Pixels a side.")
@click.option("--stride", type=int, default=100, show_default=True, metavar="N", help="Pixels from patch to patch.")
@click.option("--pairs", nargs=2, metavar="A B", help="The sub-folders of degraded and of clean photos.")
@click.option(
    "--unpaired",
    is_flag=True,
    help="These sub-folders, blur and sharp if not named, are no pairs and may differ in number.",
)
@click.option("--subset", metavar="NAME", help="Of gopro: linear or gamma; of realblur: J or R.")
@click.option("--split", metavar="NAME", help="Only this part of the dataset, such as train.")
@click.option("--workers", type=int, default=0, show_default=True, metavar="N", help="Processes beside this one.")
@json_option
def pack(
    source: Path,
    out: Path,
    patch: int,
    stride: int,
    pairs: tuple[str, str] | None,
    unpaired: bool,
    subset: str | None,
    split: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Cut photos into patches and pack them for fast training.

    SRC is a folder of photos or a manifest.  Stopped, the same command goes on.
    """
    from resharp.data.folders import unpaired as unpaired_folders
    from resharp.data.layouts import open_listing

    if unpaired:
        degraded, clean = pairs or ("blur", "sharp")
        listing = unpaired_folders(source / degraded, source / clean)
    else:
        listing = open_listing(source, pairs=pairs, subset=subset)
    import tqdm

    from resharp.data.packing import pack as pack_listing
    from resharp.data.sources import one_split

    listing = one_split(listing, split, source)
    try:
        with tqdm.tqdm(
            total=len(listing.items), desc="packing", unit="photo", disable=True if as_json else None
        ) as bar:

            def on_photo(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            summary = pack_listing(listing, out, patch=patch, stride=stride, n_workers=workers, on_photo=on_photo)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; {out}.part holds what is done, the same command goes on") from None
    if as_json:
        small = [str(path) for path in summary.too_small]
        click.echo(
            json.dumps({"pack": str(out), "patches": summary.counts, "n_photos": summary.n_used, "too_small": small})
        )
        return
    counts = " and ".join(f"{count} {kind}" for kind, count in summary.counts.items())
    say(f"{out}: {counts} patches of {patch}x{patch} from {summary.n_used} {'pairs' if listing.paired else 'photos'}")
    if summary.too_small:
        say(f"{len(summary.too_small)} were smaller than a patch and left out, such as {summary.too_small[0]}")
