"""resharp train."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from ._batch import InterruptedRunError, json_option


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/NAME]")
@json_option
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and the network's size, and stop.")
def train(recipe: Path, overrides: tuple[str, ...], out: Path | None, as_json: bool, dry_run: bool) -> None:
    """Train what a RECIPE says; the same command again goes on where it was stopped."""
    import tqdm

    from resharp.training import build_network, load_recipe, train_weights
    from resharp.weights import read_card

    resolved = load_recipe(recipe, overrides)
    if dry_run:
        network = build_network(resolved)
        click.echo(json.dumps(resolved.model_dump(mode="json"), indent=2))
        click.echo(f"{sum(p.numel() for p in network.parameters()):,} parameters", err=True)
        return
    out = out or Path("runs") / resolved.weights.name
    with tqdm.tqdm(total=resolved.training.n_images, unit="img", unit_scale=True, disable=None) as bar:
        shown: dict[str, str] = {}

        def on_step(report: dict[str, Any]) -> None:
            shown["psnr"] = f"{report['psnr']:.2f}"
            if "validation_psnr" in report:
                shown["val"] = f"{report['validation_psnr']:.3f}"
                bar.write(f"{report['n_seen']:>10,} images: validation {shown['val']} dB")
            bar.set_postfix(shown, refresh=False)
            bar.update(report["n_seen"] - bar.n)

        try:
            path = train_weights(resolved, out, on_step=on_step)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted; the same command goes on from the last checkpoint in {out}"
            ) from None
    if as_json:
        click.echo(json.dumps({"weights": dataclasses.asdict(read_card(path))}))
        return
    click.echo(f"trained {resolved.weights.name} -> {path}")
