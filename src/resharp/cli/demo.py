"""resharp demo."""

import dataclasses
import json
from pathlib import Path

import click

from ._terminal import PLACE, json_option


@click.command()
@click.option(
    "-o",
    "--out",
    type=PLACE,
    default=Path("demo"),
    show_default=True,
    help="Folder for the pictures.",
)
@json_option
def demo(out: Path, as_json: bool) -> None:
    """Shake, blur and restore a shipped photo.  Prints what that gained, and leaves the pictures to look at."""
    import tqdm

    from resharp.demo import run_demo

    with tqdm.tqdm(desc="restoring", unit="it", disable=None, leave=False) as bar:
        rows = run_demo(out, progress=lambda _, __: bar.update() and None)
    if as_json:
        click.echo(json.dumps({"folder": str(out), "results": [dataclasses.asdict(row) for row in rows]}))
        return
    click.echo(f"{'':<12}{'PSNR':>10}{'best shift':>13}{'SSIM':>9}{'time':>9}")
    for row in rows:
        seconds = f"{row.seconds:.1f} s" if row.seconds is not None else ""
        at_best = f"{row.psnr_up_to_shift:.2f} dB"
        click.echo(f"{row.name:<12}{row.psnr:>7.2f} dB{at_best:>13}{row.ssim:>9.4f}{seconds:>9}")
    click.echo(f"Pictures in {out}; look at {out / 'side-by-side.png'}")
