"""resharp evaluate."""

import contextlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._terminal import (
    PLACE,
    InterruptedRunError,
    check_there,
    complain,
    device_option,
    json_option,
    network_option,
    precision_option,
    say,
)

if TYPE_CHECKING:
    from resharp.evaluation import Column, Result, Row

SHOWN = 24  # pictures; of more, the worst and the best are printed
_WORST, _BEST = 8, 4


def _print_protocols(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from resharp.evaluation import PROTOCOLS

        click.echo("\n\n".join(str(protocol) for protocol in PROTOCOLS.values()))
        context.exit()


@click.command()
@click.argument("what")
@click.argument("data", type=PLACE)
@click.option(
    "--protocol",
    required=True,
    metavar="NAME",
    help="no-reference, deblur-rgb, kohler, levin, spoiled, sr-y, sr-rgb, dmsp, demosaic, denoise or detection.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the protocol; repeatable.")
@click.option(
    "-o", "--out", type=PLACE, help="A folder for results, pictures and the report; without it they are lost."
)
@click.option("--split", metavar="NAME", help="Of a dataset that has several.  [default: test]")
@click.option("--subset", metavar="NAME", help="linear or gamma of GoPro, J or R of RealBlur.  [default: the first]")
@click.option(
    "--match",
    type=click.Choice(["name", "order"]),
    default="name",
    show_default=True,
    help="How restored pictures in a folder belong to the dataset's.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N pictures alone.")
@network_option
@click.option(
    "--samples", type=int, metavar="N", help="Keep the network's dropout on, and take the mean of N restorations."
)
@device_option
@precision_option
@click.option(
    "--workers", type=click.IntRange(0), default=2, show_default=True, help="Threads that read, judge and write."
)
@click.option(
    "--protocols",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_protocols,
    help="Print them, and exit.",
)
@json_option
def evaluate(
    what: str,
    data: Path,
    protocol: str,
    settings: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Restore photos and judge them by a named protocol.

    WHAT restores the photos of DATA.  WHAT: a model by name or file; identity, bicubic, wiener, richardson-lucy,
    non-local-means, bilinear or malvar; a folder of restored pictures; or package.module:callable.  DATA: a folder of
    pairs or photos, or a pack.

    A photo that fails is a row with its reason and ends nothing; the exit code is 1 then.  With -o the same command
    goes on where it was stopped.
    """
    from resharp.evaluation import check_jinja2
    from resharp.models import SHIPPED

    if out is not None:
        check_jinja2()  # a run of hours should not end because it is missing
    if str(data) in ("blind", *SHIPPED) and not data.exists():
        raise click.UsageError(f"{data}: is a model; WHAT stands before DATA: resharp evaluate {data} {what} ...")
    check_there(data)
    from resharp.evaluation import make_protocol, result_as_json, write_report

    chosen = make_protocol(protocol, _as_mapping(settings))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a method may print what it likes; stdout is the result's
            result = _with_bar(what, data, chosen, as_json=as_json, out=out, **options)
    except KeyboardInterrupt:
        kept = f"the same command goes on with {out}" if out else "name a folder with -o, and it can be gone on with"
        raise InterruptedRunError(f"interrupted; {kept}") from None
    report = write_report(result, out) if out is not None else None
    if as_json:
        record = result_as_json(result) | {"summary": _summaries(result), "report": str(report) if report else None}
        click.echo(json.dumps(record, allow_nan=False))
    else:
        _tell(result)
        if report is not None:
            say(f"report in {report}")
    if len(result.sound_rows) < len(result.rows):
        sys.exit(1)


def _with_bar(*arguments: Any, as_json: bool, **options: Any) -> "Result":
    """The evaluation, with a progress bar and a line for each picture that fails, on stderr."""
    import tqdm

    from resharp.evaluation import evaluate as run

    with tqdm.tqdm(unit="img", disable=True if as_json else None, leave=False) as bar:

        def on_row(row: "Row", number: int, count: int) -> None:
            bar.total = count
            bar.update(number - bar.n)
            if row.problem and not as_json:
                with bar.external_write_mode():
                    complain(f"{row.name}: {row.problem}")

        return run(*arguments, on_row=on_row, say=complain, **options)


def _as_mapping(settings: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--set {setting!r} is no KEY=VALUE")
        mapping[key.strip()] = value.strip()
    return mapping


def _summaries(result: "Result") -> dict[str, dict[str, Any]]:
    """Of each column: mean, median, spread and interval, and the gain over the input; infinities as in results.json,
    null for what is not there."""
    from resharp.evaluation import column_summaries

    told = {}
    for found in column_summaries(result):
        own = found.restored
        record: dict[str, Any] = {"n": own.n, "mean": own.mean, "median": own.median, "spread": own.spread}
        record |= {"low": own.low, "high": own.high}
        if found.degraded is not None and found.gain is not None:
            gain = found.gain.summary
            record |= {"input": found.degraded.mean, "gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        told[found.column.name] = {key: _plain(value) for key, value in record.items()}
    return told


def _plain(value: float) -> float | str | None:
    return None if math.isnan(value) else str(value) if math.isinf(value) else value


def _tell(result: "Result") -> None:
    card = result.card
    say(f"{card.method} on {card.data}, protocol {card.protocol}, version {card.protocol_version}")
    _tell_rows(result)
    say("")
    for line in _summary_lines(result):
        say(line)
    _tell_totals(result.totals)
    missing = len(result.rows) - len(result.sound_rows)
    if missing:
        say(f"{missing} of {len(result.rows)} pictures have no figures and are in no mean")


def _tell_rows(result: "Result") -> None:
    from resharp.evaluation.wording import figure

    rows, columns = list(result.rows), result.columns
    width = max([len(row.name) for row in rows] + [7])
    say("  ".join([f"{'picture':<{width}}", *(f"{_headed(c):>10}" for c in columns), f"{'seconds':>8}"]))
    left_out = 0
    if len(rows) > SHOWN and columns:
        sound = sorted(result.sound_rows, key=lambda row: _goodness(row, columns[0]))
        left_out = max(0, len(sound) - _WORST - _BEST)
        rows = sound[:_WORST] + sound[-_BEST:] if left_out else sound
    for number, row in enumerate(rows):
        if left_out and number == _WORST:
            say(f"... {left_out} more ...")
        cells = [f"{figure(row.figures.get(c.name, math.nan), c, unit=False):>10}" for c in columns]
        say(
            "  ".join([f"{row.name:<{width}}", *cells, f"{row.seconds:>8.2f}", *([row.problem] if row.problem else [])])
        )


def _tell_totals(totals: Mapping[str, float]) -> None:
    """Figures of the whole set, those of the degraded and of the sharp photos beside the restored ones'."""
    heads = [head for head in ("", "degraded_", "sharp_") if any(name.startswith(head) for name in totals)]
    names = [name for name in totals if not name.startswith(("degraded_", "sharp_"))]
    if names:
        say("".join([f"{'whole set':<14}", *(f"{head.rstrip('_') or 'restored':>10}" for head in heads)]))
    for name in names:
        cells = [f"{totals[head + name]:>10.4f}" if head + name in totals else f"{'-':>10}" for head in heads]
        say("".join([f"{name:<14}", *cells]))


def _goodness(row: "Row", column: "Column") -> float:
    value = row.figures.get(column.name, math.nan)
    return value if column.higher_is_better else -value


def _summary_lines(result: "Result") -> list[str]:
    from resharp.evaluation import column_summaries
    from resharp.evaluation.wording import figure, interval, signed_figure

    heads = ("mean", "median", "spread", "95 % interval", "input", "gain")
    lines = [f"{'':<14}" + "".join(f"{head:>{22 if '%' in head else 10}}" for head in heads)]
    for found in column_summaries(result):
        column, own = found.column, found.restored
        cells = [f"{figure(value, column, unit=False):>10}" for value in (own.mean, own.median, own.spread)]
        cells.append(f"{interval(own, column) or 'n/a':>22}")
        if found.degraded is not None and found.gain is not None:
            cells.append(f"{figure(found.degraded.mean, column, unit=False):>10}")
            cells.append(f"{signed_figure(found.gain.summary.mean, column):>10}")
        lines.append(f"{_headed(column):<14}" + "".join(cells))
    return lines


def _headed(column: "Column") -> str:
    return f"{column.name} {column.unit}".rstrip()
