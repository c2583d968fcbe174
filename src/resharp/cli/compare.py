"""resharp compare."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._terminal import PLACE, json_option, say

if TYPE_CHECKING:
    from resharp.evaluation import Column, Comparison
    from resharp.evaluation.comparison import Standing
    from resharp.evaluation.rescoring import Rescoring


@click.command()
@click.argument("places", nargs=-1, required=True, type=PLACE, metavar="A B [C]...")
@click.option("-o", "--out", type=PLACE, metavar="FILE.html", help="Write the comparison as one HTML file.")
@json_option
def compare(places: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Put results of `resharp evaluate -o` side by side.

    A, B, C: run folders or their results.json.  Differences are to A, picture by picture, with a 95 % interval and the
    p-value of a permutation test.  The stored pictures are scored again under other protocols, to show how far a figure
    moves while no pixel does.
    """
    from resharp.errors import ArgumentError
    from resharp.evaluation import check_jinja2, read_result

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(
            f"{out}: a comparison is written as HTML; name a file such as {out.stem or 'compared'}.html"
        )
    if out is not None:
        check_jinja2()
    results = [read_result(place) for place in places]
    from resharp.evaluation import compare as compare_results
    from resharp.evaluation import rescore, write_comparison

    comparison = compare_results(results)
    rescoring = rescore(results, [place if place.is_dir() else place.parent for place in places])
    if out is not None:
        write_comparison(comparison, rescoring, out)
    if as_json:
        whole = {"comparison": _plain(comparison), "rescoring": _plain(rescoring), "report": out and str(out)}
        click.echo(json.dumps(whole, allow_nan=False))
        return
    _tell(comparison, rescoring)
    if out is not None:
        say("")
        say(f"comparison in {out}")


def _plain(value: Any) -> Any:
    """JSON values; numbers that JSON does not know as the words "inf", "-inf" and "nan"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _tell(comparison: "Comparison", rescoring: "Rescoring") -> None:
    """The comparison for people on stdout."""
    card, labels = comparison.cards[0], comparison.labels
    width = max(20, min(44, max(map(len, labels)) + 2))
    say(f"{card.protocol}, version {card.protocol_version}, on {card.data}: {len(comparison.names)} pictures")
    for column in comparison.columns:
        _tell_column(column, labels, comparison.standings[column.name], width)
    if comparison.totals:
        say("")
        say("the whole set")
    for name, values in comparison.totals.items():
        say(f"{name:<{width}}" + "".join(f"{value:>12.4f}" for value in values))
    _tell_rescoring(labels, rescoring)
    for name, reason in comparison.left_out.items():
        say(f"left out: {name} ({reason})")
    for remark in comparison.remarks:
        say(f"note: {remark}")


def _tell_column(column: "Column", labels: Sequence[str], standings: "Sequence[Standing]", width: int) -> None:
    from resharp.evaluation.wording import direction, figure, interval, p_value, signed_figure, signed_interval

    heads = f"{'mean':>9}  {'95 % interval':<20}{'difference':>11}  {'its interval':<22}{'p':<9}better/worse"
    say("")
    say(f"{column.name}{f' in {column.unit}' if column.unit else ''}, {direction(column)}")
    say(f"{'':<{width}}{heads}")
    for label, standing in zip(labels, standings, strict=True):
        own, difference = standing.summary, standing.difference
        line = f"{_cut(label, width)}{figure(own.mean, column, unit=False):>9}  {interval(own, column) or 'n/a':<20}"
        if difference is not None:
            line += f"{signed_figure(difference.summary.mean, column):>11}  "
            line += f"{signed_interval(difference.summary, column) or 'n/a':<22}{p_value(difference.p_value):<9}"
            line += f"{standing.n_better}/{standing.n_worse}"
        say(line.rstrip())


def _tell_rescoring(labels: Sequence[str], rescoring: "Rescoring") -> None:
    from resharp.evaluation.wording import figure

    say("")
    if rescoring.problem:
        say(f"not scored under other protocols: {rescoring.problem}")
        return
    n, total = len(rescoring.names), rescoring.n_shared
    moved = ", ".join(f"{name} moves by {figure(span, column)}" for name, span, column in rescoring.spans)
    say(f"the same pictures under other protocols ({n}{f' of {total}' if n < total else ''} pictures): {moved}")
    say((" " * 50 + "".join(f"  {_cut(label, 20)}" for label in labels)).rstrip())
    for row in rescoring.rows:
        means = (figure(mean, row.definition.column, unit=False) for mean in row.means)
        say(f"{row.definition.words:<50}" + "".join(f"  {mean:<20}" for mean in means).rstrip())


def _cut(label: str, width: int) -> str:
    """A label in a field of that width, at least one space of it free."""
    return f"{label if len(label) < width else label[: width - 2] + '…':<{width}}"
