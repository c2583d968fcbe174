"""resharp weights."""

import dataclasses
import json
from pathlib import Path

import click

from ._batch import PLACE, json_option, say


@click.group(invoke_without_command=True)
@click.pass_context
def weights(context: click.Context) -> None:
    """List, show, fetch, import and mix weights."""
    if context.invoked_subcommand is None:
        context.invoke(list_weights)


@weights.command("list")
@json_option
def list_weights(as_json: bool = False) -> None:
    """The weights that come with resharp."""
    from resharp.weights import SHIPPED, read_card

    cards = [read_card(name) for name in SHIPPED]
    if as_json:
        click.echo(json.dumps({"weights": [dataclasses.asdict(card) for card in cards]}))
        return
    for card in cards:
        noise = "" if card.noise_sigma is None else f", noise sigma {card.noise_sigma:.4f}"
        say(f"{card.name}  {card.network}{noise}; {card.licence}; {card.quality}")


@weights.command()
@click.argument("name", metavar="NAME|FILE")
@json_option
def show(name: str, as_json: bool) -> None:
    """The card of one set of weights."""
    from resharp.weights import read_card

    card = dataclasses.asdict(read_card(name))
    if as_json:
        click.echo(json.dumps(card))
        return
    for key, value in card.items():
        say(f"{key.replace('_', ' '):>14}  {value}")


@weights.command()
@click.argument("kind", metavar="vgg19|vgg16|squeezenet1.1")
@json_option
def fetch(kind: str, as_json: bool) -> None:
    """Download the features that perceptual losses compare, checked by their hash, to where recipes find them."""
    import tqdm

    from resharp.networks import features_file

    with tqdm.tqdm(unit="B", unit_scale=True, disable=True if as_json else None) as bar:

        def on_progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = features_file(kind, download=True, keras=False, on_progress=on_progress)
    say(json.dumps({"path": str(path)}) if as_json else str(path))


@weights.command("import")
@click.argument("file", type=PLACE)
@click.option(
    "--as",
    "kind",
    required=True,
    metavar="KIND",
    help="What the file holds: dae (the DMSP authors' .mat), deblurgan (the generator of its authors, .pth).",
)
@click.option("-o", "--out", required=True, type=PLACE, help="The .safetensors file to write.")
@json_option
def import_command(file: Path, kind: str, out: Path, as_json: bool) -> None:
    """Convert a foreign weights file into safetensors; its licence stays that of its source."""
    from resharp.importers import import_weights

    card = import_weights(file, kind, out)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(card)))
        return
    say(f"{file} -> {out}  ({card.network}, {card.arguments})")


@weights.command()
@click.argument("files", metavar="NAME|FILE...", nargs=-1, required=True)
@click.option("-o", "--out", required=True, type=PLACE, help="The .safetensors file to write.")
@click.option("--share", "shares", type=float, multiple=True, help="Of each file, in their order.  [default: equal]")
@json_option
def mix(files: tuple[str, ...], out: Path, shares: tuple[float, ...], as_json: bool) -> None:
    """Average weights of one network that were trained from the same beginning.

    Between weights of pixel losses and of a GAN the mean lies between faithful and crisp; of several fine-tunings it is
    mostly better than each.
    """
    from resharp.weights import mix_weights

    card = mix_weights(files, out, shares=shares)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(card)))
        return
    say(f"{out}  ({card.quality})")
