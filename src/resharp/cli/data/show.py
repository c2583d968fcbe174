"""resharp data show."""

from pathlib import Path

import click


@click.command()
@click.argument("place", type=click.Path(path_type=Path), metavar="DIR|PACK")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The picture, such as sheet.png.")
@click.option("--count", type=int, default=12, show_default=True, metavar="N", help="How many samples.")
@click.option("--pairs", nargs=2, metavar="A B", help="The sub-folders of degraded and of clean photos.")
@click.option("--subset", metavar="NAME", help="Of gopro: linear or gamma; of realblur: J or R.")
def show(place: Path, out: Path, count: int, pairs: tuple[str, str] | None, subset: str | None) -> None:
    """Draw a contact sheet: pairs side by side, with the kernels of synthesised ones."""
    from resharp.photo import Photo, output_format, write_photo
    from resharp.showing import dataset_sheet

    output_format(out)
    write_photo(Photo(dataset_sheet(place, n_samples=count, pairs=pairs, subset=subset)), out)
    click.echo(f"contact sheet in {out}")
