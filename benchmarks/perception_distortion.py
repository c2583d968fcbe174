"""How near the truth, and how natural: two upscalers and the mixtures between them on one plane (Blau, Michaeli 2018).

    python benchmarks/perception_distortion.py FAITHFUL NATURAL SET5 [SET14 ...] [--shares 0,.25,.5,.75,1]
        [--features SQUEEZENET] [-o tradeoff.png]

FAITHFUL and NATURAL are weights of one network, by name or file, one trained on from the other; a share of 0 is the
first, 1 the second, between them what `resharp models mix` makes.  SETs are pairs of small and large photos.  Y-PSNR is
that of `resharp evaluate --protocol sr-y`, NIQE of `--protocol no-reference`, over photos that are large enough for it;
the feature distance is squared, in SqueezeNet's features.  Means over all photos of all sets, bicubic beside them.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import torch
from matplotlib.figure import Figure
from torch import Tensor

from resharp.data.layouts import open_listing
from resharp.evaluation import evaluate
from resharp.metrics import niqe
from resharp.metrics.perceptual import load_feature_distance
from resharp.models import mix_models
from resharp.photo import read_photo

Distance = Callable[[Tensor, Tensor], Tensor]
LEAST_SIDE = 200  # NIQE takes two blocks of 96 pixels each way, beside the border


class Figures(NamedTuple):
    """Means over all photos; a figure that none of them has is NaN."""

    psnr: float
    niqe: float
    features: float


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("faithful")
@click.argument("natural")
@click.argument("sets", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--shares", default="0,.25,.5,.75,1", show_default=True)
@click.option("--features", default="squeezenet1.1", show_default=True, help="By name if fetched, or a file.")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The plot.")
def main(faithful: str, natural: str, sets: tuple[Path, ...], shares: str, features: str, out: Path | None) -> None:
    weights = features if Path(features).exists() else None
    distance = load_feature_distance("squeezenet1.1", weights=weights).function
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        for share in map(float, shares.split(",")):
            model = mixture(faithful, natural, share, Path(folder))
            found[f"{share:g}"] = judged(model, sets, Path(folder) / f"{share:g}", distance)
            click.echo(line(f"{share:g} of {natural}", found[f"{share:g}"]))
        found["bicubic"] = judged("bicubic", sets, Path(folder) / "bicubic", distance)
        click.echo(line("bicubic", found["bicubic"]))
    natural_niqe = [float(niqe(image)) for image in large_photos(sets) if min(image.shape[-2:]) >= LEAST_SIDE]
    truth = float(torch.tensor(natural_niqe).mean())
    click.echo(f"the large photos themselves: NIQE {truth:.2f}")
    if out is not None:
        drawn(found, truth, out)


def mixture(faithful: str, natural: str, share: float, folder: Path) -> str:
    if share in (0.0, 1.0):
        return natural if share else faithful
    path = folder / f"mixed-{share:g}.safetensors"
    mix_models([faithful, natural], path, shares=[1 - share, share])
    return str(path)


def judged(model: str, sets: tuple[Path, ...], folder: Path, distance: Distance) -> Figures:
    """Of all photos of these sets; `folder` takes what the model makes of them."""
    rows: list[tuple[float, float, float]] = []
    for number, pairs in enumerate(sets):
        out = folder / str(number)
        result = evaluate(model, pairs, "sr-y", out=out, precision="float32")
        if len(result.sound_rows) != len(result.rows):
            raise click.ClickException(f"{pairs}: {next(row.problem for row in result.rows if row.problem)}")
        for row in result.rows:
            image, truth = (read_photo(out / path).image for path in (row.restored, row.clean))
            natural = float(niqe(image)) if min(image.shape[-2:]) >= LEAST_SIDE else float("nan")
            rows.append((row.figures["psnr"], natural, float(distance(image, truth))))
    return Figures(*torch.tensor(rows, dtype=torch.float64).nanmean(0).tolist())


def large_photos(sets: tuple[Path, ...]) -> Iterator[Tensor]:
    for pairs in sets:
        yield from (read_photo(clean).image for _, clean in open_listing(pairs).pairs)


def line(name: str, figures: Figures) -> str:
    return f"{name}: Y-PSNR {figures.psnr:.2f} dB, NIQE {figures.niqe:.2f}, features {figures.features:.3f}"


def drawn(found: dict[str, Figures], truth: float, out: Path) -> None:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    mixed = [one for name, one in found.items() if name != "bicubic"]
    axes.plot([one.psnr for one in mixed], [one.niqe for one in mixed], "o-", label="share of the second")
    for name, one in found.items():
        axes.annotate(name, (one.psnr, one.niqe), textcoords="offset points", xytext=(7, 5))
    axes.plot(found["bicubic"].psnr, found["bicubic"].niqe, "s", color="grey")
    axes.axhline(truth, linestyle=":", color="grey", label="the large photos themselves")
    axes.set(xlabel="Y-PSNR in dB: nearer the truth to the right", ylabel="NIQE: more natural below")
    axes.legend()
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
