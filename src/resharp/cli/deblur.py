"""resharp deblur."""

from pathlib import Path
from typing import Any

import click

from ._batch import named_files, photo_arguments, run_over_photos


@click.command()
@photo_arguments
@click.option("--model", default="deblur", show_default=True, metavar="NAME|FILE", help="Weights of a deblurrer.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps, ...")
@click.option(
    "--precision",
    type=click.Choice(["auto", "bfloat16", "float32"]),
    default="auto",
    show_default=True,
    help="Of the network; auto takes bfloat16 where the processor is fast at it.",
)
@click.option(
    "--tile",
    type=int,
    metavar="N",
    help="Work in parts of NxN pixels, for less memory. Left out: whole photos, large ones in parts.",
)
@click.option(
    "--samples",
    type=int,
    metavar="N",
    help="Keep the network's dropout on, as DeblurGAN's authors test it, and take the mean of N restorations.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the samples.")
def deblur(
    photos: tuple[Path, ...],
    out: Path,
    as_json: bool,
    model: str,
    device: str,
    precision: str,
    tile: int | None,
    samples: int | None,
    seed: int,
) -> None:
    """Sharpen photos of which nothing else is known."""
    import tqdm

    import resharp
    from resharp.photo import check_encodable
    from resharp.restorer import deblur as restore
    from resharp.restorer import load_deblurrer

    source = click.get_current_context().get_parameter_source("seed")
    if samples is None and source is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--seed is of the samples; give --samples, too, or leave it out.")
    deblurrer = load_deblurrer(model, device=device, precision=precision)
    deblurrer.check_tile(tile)  # a mistake here is one mistake, not one for each photo
    deblurrer.check_samples(samples, seed)

    def work(photo_path: Path, output: Path) -> dict[str, Any]:
        photo = resharp.read_photo(photo_path)
        check_encodable(photo, output)
        with tqdm.tqdm(desc=photo_path.name, unit="part", disable=None, leave=False) as bar:

            def on_tile(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            restored = restore(photo.planes, weights=deblurrer, tile=tile, samples=samples, seed=seed, on_tile=on_tile)
        resharp.write_photo(photo.with_planes(restored), output)
        return {"model": model}

    run_over_photos(photos, out, work, as_json=as_json, read=named_files(model))
