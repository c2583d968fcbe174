"""resharp study: people rate the outputs of methods in a browser."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ._groups import Group
from ._terminal import PLACE, check_there, json_option, say


@contextlib.contextmanager
def _with_extra() -> Iterator[None]:
    """Says how to install what is missing."""
    from resharp.errors import ArgumentError

    try:
        yield
    except ModuleNotFoundError as error:
        raise ArgumentError(f"studies need {error.name}: pip install 'resharp[study]'") from None


@click.group(cls=Group)
def study() -> None:
    """Ask people which methods they prefer.  Mean opinion scores and preferences, blinded, in a browser."""


@study.command()
@click.argument("outputs", nargs=-1, required=True, metavar="A B [C]...")
@click.option("--images", required=True, type=PLACE, metavar="DIR", help="The photos that the outputs restore.")
@click.option("-o", "--out", required=True, type=PLACE, metavar="STUDY", help="A new folder for the study.")
@click.option("--reference", type=PLACE, metavar="DIR", help="Photos as they should be, hidden among the outputs.")
@click.option(
    "--protocol",
    type=click.Choice(["acr", "pairs"]),
    default="acr",
    show_default=True,
    help="acr: one picture at a time, graded 1 to 5; pairs: two side by side.",
)
@click.option(
    "--trials", type=click.IntRange(1), metavar="N", help="Answers of each rater.  [default: all, at most 150]"
)
@click.option(
    "--repeats", type=click.IntRange(0), metavar="N", help="How many of them repeat earlier ones.  [default: a tenth]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all orders and sides.")
@_with_extra()
def new(
    outputs: tuple[str, ...], images: Path, out: Path, trials: int | None, repeats: int | None, **options: Any
) -> None:
    """Make a study of folders of outputs.  Run folders of `resharp evaluate`, or any others.

    A, B, C: folders, or NAME=FOLDER.  Their pictures belong to those of --images by name, and must be of one size.  To
    have the degraded photos rated, too, name their folder among the outputs.  All pictures are copied, in sRGB.
    """
    named = _named(outputs)
    check_there(images, *([options["reference"]] if options["reference"] else []))
    import tqdm

    from resharp.study.creation import new_study

    with tqdm.tqdm(unit="img", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = new_study(named, images, out, n_trials=trials, n_repeats=repeats, progress=progress, **options)
    say(f"{len(made.scenes)} images, {len(made.conditions)} conditions: {', '.join(made.conditions)}")
    say(f"each rater answers {made.n_trials} times, {made.n_repeats} of them again")
    if not made.has_reference:
        say("no hidden reference (--reference): repeated trials alone tell careless raters")
    say(f"go on with: resharp study serve {out}")


def _named(outputs: tuple[str, ...]) -> dict[str, Path]:
    """Condition -> folder; a folder whose name holds "=" is taken as it is."""
    from resharp.errors import ArgumentError, DatasetError

    named: dict[str, Path] = {}
    for text in outputs:
        name, equals, place = text.partition("=")
        if Path(text).exists() or not equals:
            name, place = Path(text).resolve().name, text
        if not name or not place:
            raise ArgumentError(f"{text!r}: name a folder, or NAME=FOLDER")
        if name in named:
            raise ArgumentError(f"{place}: is the second one called {name}; name them apart, as in NAME={place}")
        if not Path(place).is_dir():
            raise DatasetError(f"{place}: is no folder; name one with the outputs of {name}")
        named[name] = Path(place)
    return named


@study.command()
@click.argument("place", type=PLACE, metavar="STUDY")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets others in the network rate.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@_with_extra()
def serve(place: Path, host: str, port: int) -> None:
    """Show the page on which people rate, until Ctrl-C.  The same command goes on later.

    Raters open the address in a browser and give a name.  Each answer is on the disk before the next picture is shown.
    """
    from resharp.study.server import served

    with served(place, host, port) as (_, run, ratings, address):
        say(f"raters open {address}")
        say("Ctrl-C ends it; what is rated stays, and the same command goes on")
        try:
            run()
        except KeyboardInterrupt:
            pass
        finally:
            say(f"{len(ratings.answers())} answers in {place}")


@study.command()
@click.argument("place", type=PLACE, metavar="STUDY")
@click.option("-o", "--out", type=PLACE, metavar="DIR", help="A folder for the report.  [default: STUDY/report]")
@click.option("--leave-out", multiple=True, metavar="RATER", help="A rater whose answers do not count; repeatable.")
@json_option
@_with_extra()
def report(place: Path, out: Path | None, leave_out: tuple[str, ...], as_json: bool) -> None:
    """What the answers say: a page, a plot and CSV.

    Mean opinion scores with intervals, agreement, a Bradley-Terry scale, careless raters.  Also while the study goes
    on.  pwcmp.csv has the columns that pwcmp takes.
    """
    from resharp.study.definition import read_study
    from resharp.study.ratings import Ratings
    from resharp.study.report import as_json as findings_as_json
    from resharp.study.report import find, summary_lines, write_report

    defined = read_study(place)
    ratings = Ratings(defined, place)
    try:
        findings = find(defined, ratings.answers(), left_out=leave_out)
    finally:
        ratings.close()
    page = write_report(findings, out or place / "report")
    if as_json:
        click.echo(json.dumps(findings_as_json(findings) | {"report": str(page)}, allow_nan=False))
        return
    for line in summary_lines(findings):
        say(line)
    say(f"report in {page}")
