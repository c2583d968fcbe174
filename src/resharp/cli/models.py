"""resharp models."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._groups import Group
from ._terminal import PLACE, json_option, network_option, say

if TYPE_CHECKING:
    from resharp.models import Card


@click.group(cls=Group)
def models() -> None:
    """List, show, import, mix and fetch models."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """The models that come with resharp."""
    from resharp.models import SHIPPED, read_card

    cards = [read_card(name) for name in SHIPPED]
    if as_json:
        click.echo(json.dumps({"models": [dataclasses.asdict(card) for card in cards]}))
        return
    for card in cards:
        noise = card.contract.noise_sigma
        levels = " to ".join(f"{255 * one:.3g}" for one in sorted(set(noise or ())))
        of = f" of sigma {levels}/255" if noise else ""
        say(f"{card.name}  {card.contract.task}{of}, {card.network}; {card.licence}; {card.quality}")


@models.command()
@click.argument("name", metavar="NAME|FILE")
@json_option
def show(name: str, as_json: bool) -> None:
    """The card of a model: what it is for, what it wants, its source."""
    from resharp.models import read_card

    card = dataclasses.asdict(read_card(name))
    if as_json:
        click.echo(json.dumps(card))
        return
    contract = card.pop("contract")
    for name in ("noise_sigma", "unrolled"):  # of some denoisers alone
        if contract[name] is None:
            del contract[name]
    for key, value in (card | contract).items():
        say(f"{key.replace('_', ' '):>14}  {'whole photo' if value is None else value}")


@models.command("import")
@click.argument("file", type=PLACE)
@click.option(
    "--as",
    "kind",
    required=True,
    metavar="KIND",
    help="What the file holds: dae (the DMSP authors' .mat), deblurgan, dbgan, sftnet or mprnet (their authors' .pth), "
    "msrresnet (BasicSR's or mmagic's), srresnet (Lornatang's), or resharp (a file of resharp 0.1).",
)
@click.option("-o", "--out", required=True, type=PLACE, help="The .safetensors file to write.")
@json_option
def import_command(file: Path, kind: str, out: Path, as_json: bool) -> None:
    """Convert foreign weights into a model.  Their licence stays that of their source."""
    from resharp.errors import WeightsError

    if not file.is_file():
        raise WeightsError(f"{file}: no such file; name the weights to import")
    from resharp.models import import_model

    card = import_model(file, kind, out)
    _tell(card, f"{file} -> {out}  ({card.network}, {card.arguments})", as_json=as_json)


@models.command()
@click.argument("files", metavar="NAME|FILE...", nargs=-1, required=True)
@click.option("-o", "--out", required=True, type=PLACE, help="The .safetensors file to write.")
@click.option("--share", "shares", type=float, multiple=True, help="Of each file, in their order.  [default: equal]")
@network_option
@json_option
def mix(files: tuple[str, ...], out: Path, shares: tuple[float, ...], network: str | None, as_json: bool) -> None:
    """Average models that were trained from the same beginning.

    All are of one network.  Between weights of pixel losses and of a GAN the mean lies between faithful and crisp; of
    several fine-tunings it is mostly better than each.  Of weights that do not come from the same ones it restores
    nothing, which cannot be seen in the files.
    """
    from resharp.models import mix_models

    card = mix_models(files, out, shares=shares, network=network)
    _tell(card, f"{out}  ({card.quality})", as_json=as_json)


@models.command()
@click.argument("kind", metavar="vgg19|vgg16|squeezenet1.1")
@json_option
def fetch(kind: str, as_json: bool) -> None:
    """Download the features that perceptual losses compare.  Checked by their hash, to where recipes find them."""
    import tqdm

    from resharp.models import features_file

    with tqdm.tqdm(unit="B", unit_scale=True, disable=True if as_json else None) as bar:

        def on_progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = features_file(kind, download=True, keras=False, on_progress=on_progress)
    say(json.dumps({"path": str(path)}) if as_json else str(path))


def _tell(card: "Card", words: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(card)))
    else:
        say(words)
