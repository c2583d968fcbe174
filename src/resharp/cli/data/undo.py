"""resharp data undo."""

import json
from pathlib import Path

import click

from .._terminal import PLACE, InterruptedRunError, device_option, json_option, precision_option, say


@click.command()
@click.argument("pairs", type=PLACE, metavar="PAIRS")
@click.option("-o", "--out", required=True, type=PLACE, help="The folder for the pairs and what was undone of them.")
@click.option("--split", metavar="NAME", help="Of datasets with several, such as train.")
@click.option("--workers", type=int, default=0, show_default=True, metavar="N", help="Processes beside this one.")
@device_option
@precision_option
@json_option
def undo(pairs: Path, out: Path, split: str | None, workers: int, device: str, precision: str, as_json: bool) -> None:
    """Deblur the blurred halves of pairs, to train what refines that.

    PAIRS is a folder, a manifest or a pack of small photos (some 10 s each of 350x350). Pairs in which no blur is found
    are left out. Stopped, the same command goes on. Then: resharp train deblur-refine data.photos=OUT
    data.beside.undone=OUT/undone
    """
    import functools

    import tqdm

    from resharp.data.sources import open_source
    from resharp.restorers.undoing import open_plain, undo_pairs

    source = open_source(pairs, split=split)
    opened = functools.partial(open_plain, device=device, precision=precision)
    try:
        with tqdm.tqdm(total=len(source), desc="undoing", unit="pair", disable=True if as_json else None) as bar:
            n_kept = undo_pairs(source, out, opened, n_workers=workers, on_pair=lambda: bar.update() and None)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; what {out} holds is whole, the same command goes on") from None
    if as_json:
        click.echo(json.dumps({"folder": str(out), "n_pairs": n_kept, "n_left_out": len(source) - n_kept}))
        return
    say(f"{n_kept} of {len(source)} pairs in {out}; in the others no blur was found")
