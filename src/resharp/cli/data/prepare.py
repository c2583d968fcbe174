"""resharp data prepare."""

import collections
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._terminal import PLACE, InterruptedRunError, check_there, json_option, say

if TYPE_CHECKING:
    from resharp.data.manifest import Manifest


@click.command()
@click.argument("layout")
@click.argument("source", type=PLACE, metavar="SRC")
@click.option("-o", "--out", required=True, type=PLACE, help="The folder that manifest.json is written to.")
@click.option("--subset", metavar="NAME", help="Of gopro: linear or gamma; of realblur: J or R.  [default: linear, J]")
@click.option(
    "--half", is_flag=True, help="Write photos of half the size (bicubic), as DeblurGAN was trained, into the folder."
)
@click.option("--pairs", nargs=2, metavar="A B", help="The sub-folders of degraded and of clean photos.")
@click.option(
    "--by",
    type=click.Choice(["name", "order"]),
    default="name",
    show_default=True,
    help="What makes two photos a pair.",
)
@click.option("--partial", is_flag=True, help="Take the dataset with other counts than the published ones.")
@click.option("--hash", "hashed", is_flag=True, help="Put the SHA-256 of each file into the manifest.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads that write photos.",
)
@json_option
def prepare(
    layout: str,
    source: Path,
    out: Path,
    subset: str | None,
    half: bool,
    pairs: tuple[str, str] | None,
    by: str,
    partial: bool,
    hashed: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Check the dataset in SRC and write its manifest.  The photos stay where they are, unless --half.

    LAYOUT is gopro, realblur, kohler, rwbi, coco, div2k, clean, pairs (two folders such as blur and sharp), or
    side-by-side (A|B in one photo, which is cut apart).

    A group is what one video, scene or burst gave; trainings hold out whole groups to judge by.
    """
    from resharp.data.layouts import row_of

    row_of(layout)
    check_there(source)
    import tqdm

    from resharp.data.manifest import MANIFEST
    from resharp.data.preparation import Settings, prepare

    settings = Settings(subset, pairs, by, half=half, allow_partial=partial, hashed=hashed)
    with tqdm.tqdm(unit="photo", disable=None, leave=False) as bar:

        def on_item(doing: str, n_done: int, n_all: int) -> None:
            if n_done == 1:
                bar.set_description(doing, refresh=False)
                bar.reset(n_all)
            bar.update(n_done - bar.n)

        try:
            manifest = prepare(layout, source, out, settings, n_workers=workers, on_item=on_item)
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; the same command goes on with what is in {out}") from None
    summary = _summary(manifest, out / MANIFEST)
    for line in [json.dumps(summary)] if as_json else _as_text(summary):
        say(line)


def _summary(manifest: "Manifest", path: Path) -> dict[str, Any]:
    sizes = collections.Counter(f"{item.width}x{item.height}" for item in manifest.items)
    return {
        "manifest": str(path),
        "layout": manifest.layout,
        "kind": "pairs" if manifest.paired else "photos",
        "n_items": len(manifest.items),
        "splits": manifest.counts,
        "n_groups": len({(item.split, item.group) for item in manifest.items if item.group}),
        "sizes": dict(sizes.most_common()),
        "scale": manifest.scale,
        "hashed": any(item.degraded_sha256 or item.clean_sha256 for item in manifest.items),
    }


def _as_text(summary: dict[str, Any]) -> list[str]:
    parts = ", ".join(f"{name} {count}" for name, count in summary["splits"].items() if name)
    groups = f", {summary['n_groups']} groups" if summary["n_groups"] else ""
    sizes = [f"{size} ({count})" for size, count in summary["sizes"].items()]
    more = f" and {len(sizes) - 4} more sizes" if len(sizes) > 4 else ""
    times = f", clean ones {summary['scale']} times as large" if summary["scale"] > 1 else ""
    return [
        f"{summary['layout']}: {summary['n_items']} {summary['kind']}{f' ({parts})' if parts else ''}{groups}",
        f"pixels: {', '.join(sizes[:4])}{more}{times}",
        f"manifest: {summary['manifest']}",
    ]
