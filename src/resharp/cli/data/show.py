"""resharp data show."""

from pathlib import Path

import click

from resharp.errors import PhotoError

from .._terminal import PLACE, check_there, is_same, say


@click.command()
@click.argument("place", type=PLACE, metavar="DIR|PACK")
@click.option("-o", "--out", required=True, type=PLACE, help="The picture, such as sheet.png.")
@click.option("--count", type=int, default=12, show_default=True, metavar="N", help="How many samples.")
@click.option("--pairs", nargs=2, metavar="A B", help="The sub-folders of degraded and of clean photos.")
@click.option("--subset", metavar="NAME", help="Of gopro: linear or gamma; of realblur: J or R.")
def show(place: Path, out: Path, count: int, pairs: tuple[str, str] | None, subset: str | None) -> None:
    """Draw a contact sheet of pairs.  They lie side by side, synthesised ones with their kernels."""
    from resharp.photo import output_format

    output_format(out)
    check_there(place)
    from resharp.photo import Photo, write_photo
    from resharp.showing import dataset_sheet

    _refuse_loss(out, place, pairs, subset)
    write_photo(Photo(dataset_sheet(place, n_samples=count, pairs=pairs, subset=subset)), out)
    say(f"contact sheet in {out}")


def _refuse_loss(out: Path, place: Path, pairs: tuple[str, str] | None, subset: str | None) -> None:
    """Raises PhotoError where the picture would be written over one of those that it shows, or become one of them."""
    from resharp.data.layouts import open_listing
    from resharp.data.packs import is_pack

    listing = None if is_pack(place) else open_listing(place, pairs=pairs, subset=subset)
    shown = [place] if listing is None else [place, *listing.degraded, *listing.clean]
    if any(is_same(out, other) for other in shown):
        raise PhotoError(f"{out}: is one of the photos themselves; choose another name with -o")
    folder, root = out.parent.resolve(), place.resolve()
    is_below = root in folder.parents or (folder == root and listing is not None and not listing.paired)
    if is_below and any(folder in photo.resolve().parents for photo in shown[1:]):
        raise PhotoError(f"{out}: would lie among the photos and be taken for one; choose another folder with -o")
