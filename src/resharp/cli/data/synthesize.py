"""resharp data synthesize."""

import json
from pathlib import Path

import click

from .._terminal import PLACE, InterruptedRunError, check_there, json_option, say


@click.command()
@click.argument("clean", nargs=-1, required=True, type=PLACE, metavar="CLEAN...")
@click.option("-o", "--out", required=True, type=PLACE, help="The folder for the pairs.")
@click.option(
    "--plan",
    required=True,
    metavar="NAME|FILE",
    help="What happens to the photos: a TOML file, or one that comes with resharp, such as shake.",
)
@click.option("--count", type=int, metavar="N", help="How many pairs.  [default: as many as photos]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option("--weight", "weights", multiple=True, type=int, metavar="W", help="One for each CLEAN, such as 2 and 1.")
@click.option("--split", metavar="NAME", help="Of datasets with several, such as train.")
@click.option("--workers", type=int, default=0, show_default=True, metavar="N", help="Processes beside this one.")
@json_option
def synthesize(
    clean: tuple[Path, ...],
    out: Path,
    plan: str,
    count: int | None,
    seed: int,
    weights: tuple[int, ...],
    split: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Make pairs of clean photos, by a plan of what spoils them.

    OUT/blur and OUT/sharp hold them, OUT/drawn how each was made; the same bytes by any --workers.

    CLEAN is a folder of photos, a manifest or a pack; folders of real pairs are cut, turned and flipped only. Several
    are mixed by --weight. Stopped, the same command goes on; a larger --count adds to what is there.
    """
    from resharp.shipped import found

    found(plan, "plan")
    check_there(*clean)
    import tqdm

    from resharp.data.plan import load_plan
    from resharp.data.synthesis import open_synthesis
    from resharp.data.writing import write_samples

    synthesis = open_synthesis(clean, load_plan(plan), weights=weights, seed=seed, split=split)
    count = len(synthesis) if count is None else count
    for place in clean:
        if place.is_dir() and out.resolve().is_relative_to(place.resolve()):
            raise click.UsageError(f"{out}: lies in {place}, where its photos would be taken for more clean ones.")
    try:
        with tqdm.tqdm(total=count, desc="synthesizing", unit="pair", disable=True if as_json else None) as bar:
            n_there = write_samples(
                synthesis, out, count=count, n_workers=workers, on_sample=lambda _: bar.update() and None
            )
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; what {out} holds is whole, the same command goes on") from None
    if as_json:
        click.echo(json.dumps({"folder": str(out), "n_pairs": count, "n_already_there": n_there}))
        return
    before = f", {n_there} of them from before" if n_there else ""
    say(f"{count} pairs in {out}{before}; look at them with `resharp data show {out} -o sheet.png`")
