"""resharp train, resharp runs."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ._terminal import PLACE, InterruptedRunError, complain, device_option, json_option


@click.command()
@click.argument("recipe", metavar="NAME|FILE")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("-o", "--out", type=PLACE, help="The run folder.  [default: runs/NAME]")
@click.option("--init", metavar="NAME|FILE", help="Weights to begin from.")
@device_option
@json_option
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and what the run would take, and stop.")
def train(
    recipe: str,
    overrides: tuple[str, ...],
    out: Path | None,
    init: str | None,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Train what a recipe says.  It is a TOML file, or comes with resharp (see `resharp recipes`).

    The same command again goes on where it was stopped.  Whole groups of photos are held out to judge by: what one
    video, scene or burst gave is all trained on or all judged by.

    Several processes or machines: torchrun --nproc-per-node 2 -m resharp train ...
    """
    from resharp.training.overriding import check_at_once

    check_at_once(recipe, overrides)
    if "RANK" in os.environ:  # torch warns that no parameter is unused, as `launched` says on purpose they may be
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import tqdm

    from resharp.models import read_card

    with _extra_named():
        from resharp.training import dry_run as what_it_takes
        from resharp.training import leave_launcher, load_recipe, shown_score, train_weights, used

    resolved = load_recipe(recipe, overrides)
    if dry_run:
        click.echo(json.dumps(used(resolved), indent=2))
        _tell(what_it_takes(resolved, init=init, device=device))
        return
    out = out or Path("runs") / resolved.weights.name
    is_first = os.environ.get("RANK", "0") == "0"  # under a launcher one process speaks for all
    with tqdm.tqdm(
        total=resolved.n_images, unit="img", unit_scale=True, disable=True if as_json or not is_first else None
    ) as bar:

        def on_step(record: dict[str, Any]) -> None:
            if scores := {
                name.removeprefix("validation_"): value
                for name, value in record.items()
                if name.startswith(("validation_", "input_"))
            }:
                line = f"{record['n_seen']:>10,} images: validation {shown_score(resolved, scores)}"
                bar.write(line, file=sys.stderr)
            shown = {"loss": "loss", "critic": "critic", "learning_rate": "rate"}
            bar.set_postfix({text: f"{record[key]:.4g}" for key, text in shown.items() if key in record}, refresh=False)
            if not bar.n:  # what was seen before this command took no time of it
                bar.initial = bar.n = bar.last_print_n = record["n_seen"]
                bar.unpause()
            bar.update(record["n_seen"] - bar.n)

        try:
            path = train_weights(resolved, out, init=init, device=device, on_step=on_step, say=complain)
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; the same command goes on from its checkpoint in {out}") from None
    leave_launcher()
    if as_json and is_first:
        click.echo(json.dumps({"weights": dataclasses.asdict(read_card(path))}))
    elif is_first:
        click.echo(f"trained {resolved.weights.name} -> {path}")


@contextlib.contextmanager
def _extra_named() -> Iterator[None]:
    """Turns the lack of an extra package into a line that says which to install."""
    from resharp.errors import ArgumentError

    try:
        yield
    except ModuleNotFoundError as error:
        raise ArgumentError(f"training needs {error.name}: pip install 'resharp[train]'") from None


def _tell(taken: dict[str, Any]) -> None:
    """What a dry run measured, for people, beside the recipe on stdout."""
    sizes = ", ".join(f"{name} {count:,}" for name, count in taken["parameters"].items())
    click.echo(f"parameters: {sizes}", err=True)
    held, photos = taken["held_out"], " + ".join(f"{n:,}" for n in taken["photos"])
    of = f"{held['photos']:,} of {held['groups']:,} groups (a video, scene or burst each) held out to judge by"
    click.echo(f"photos to train on: {photos}, {of}", err=True)
    click.echo(f"a step: {taken['flops_per_step'] / 1e9:.1f} GFLOP, {taken['seconds_per_step']:.3f} s", err=True)
    drawing, reading = taken["draw_seconds"], taken["read_and_draw_seconds"]
    click.echo(f"its samples: {drawing:.3f} s in one process, {reading:.3f} s where photos are read anew", err=True)
    click.echo(f"peak memory: {taken['peak_memory'] / 2**30:.2f} GiB on {taken['device']}", err=True)
    longer = f"{taken['hours_reading']:.1f} where photos are read anew each time; validations not counted"
    click.echo(f"the whole run: about {taken['hours']:.1f} hours, {longer}", err=True)


@click.command()
@click.argument("folder", type=PLACE, default=Path("runs"), metavar="[DIR]")
@click.option("--curves", type=PLACE, metavar="PNG", help="Draw the runs' curves into one picture.")
@json_option
def runs(folder: Path, curves: Path | None, as_json: bool) -> None:
    """List the runs below DIR.  Of each its state, images seen; last, best and the input's figure."""
    with _extra_named():
        from resharp.training import draw_curves, list_runs, read_metrics

    found = list_runs(folder)
    if curves is not None:
        draw_curves([(run.name, read_metrics(run.folder)) for run in found], curves)
    if as_json:
        rows = [dataclasses.asdict(run) | {"folder": str(run.folder)} for run in found]
        click.echo(json.dumps({"runs": rows}))
        return
    click.echo(f"{'run':<28}{'state':<12}{'seen':>14}{'of':>14}  {'figure':<12}{'last':>9}{'best':>9}{'input':>9}")
    for run in found:
        shown = "".join(f"{'' if value is None else f'{value:.3f}':>9}" for value in (run.last, run.best, run.input))
        click.echo(f"{run.name:<28}{run.state:<12}{run.n_seen:>14,}{run.n_images:>14,}  {run.figure:<12}{shown}")
    if curves is not None:
        click.echo(f"curves in {curves}")
