"""The report of one result."""

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resharp.pages import Cell, check_jinja2, head, write_page
from resharp.photo import Photo, encode_photo

from .pages import better_way, card_facts, change_cell, number_cell
from .plots import histogram
from .results import Column, Result, Row
from .sheets import Strip, make_sheets, write_sheet
from .summaries import ColumnSummary, column_summaries
from .wording import direction, figure, gain, interval, p_value, signed_figure, signed_interval


def write_report(result: Result, folder: Path) -> Path:
    """Write `report.html`, and `worst.jpg` and `best.jpg` where pictures are stored, into a run folder.

    Returns the report's path.  Raises OutputError, also where jinja2 is not installed.
    """
    check_jinja2()
    sheets = make_sheets(result, folder)
    shown = []
    for name, strips in (("worst", sheets.worst), ("best", sheets.best)):
        if strips:
            write_sheet(strips, folder / f"{name}.jpg")
            shown.append((f"The {name} by {sheets.criterion}", [_strip(strip) for strip in strips]))
    path = folder / "report.html"
    write_page(path, __package__, "report.html", _report(result) | {"sheets": shown})
    return path


def _report(result: Result) -> dict[str, Any]:
    rows, card = result.sound_rows, result.card
    columns = [_in_words(found) for found in column_summaries(result)]
    headline = result.columns[:1]
    gains = [gain(row, column) for column in headline for row in rows if _has_both(row, column)]
    values = [row.figures[column.name] for column in headline for row in rows if column.name in row.figures]
    unit = f" in {headline[0].unit}" if headline and headline[0].unit else ""
    name = headline[0].name if headline else ""
    return {
        "title": f"{card.method} on {card.data}",
        "card": card,
        "n_sound": len(rows),
        "n_rows": len(result.rows),
        "problems": [(row.name, row.problem) for row in result.rows if row.problem],
        "columns": columns,
        "has_baseline": any(column["baseline"] for column in columns),
        "facts": card_facts(card),
        "totals": _totals(result.totals),
        "total_kinds": _kinds_of_totals(result.totals),
        "plot": histogram(gains or values),
        "plot_label": f"gain in {name}{unit}" if gains else f"{name}{unit}",
        "plot_better": better_way(headline) if gains else "",
        "table": _table(result),
    }


def _in_words(found: ColumnSummary) -> dict[str, Any]:
    """A column in words; what concerns the degraded input is empty where that has no figures."""
    column, values = found.column, found.restored
    words: dict[str, Any] = {
        "name": column.name,
        "unit": column.unit,
        "direction": direction(column),
        "n": values.n,
        "mean": figure(values.mean, column),
        "interval": interval(values, column),
        "median": figure(values.median, column, unit=False),
        "spread": figure(values.spread, column, unit=False),
    }
    if found.degraded is None or found.gain is None:
        return words | dict.fromkeys(("baseline", "gain", "gain_interval", "p_value", "better_worse"), "")
    difference = found.gain
    return words | {
        "baseline": figure(found.degraded.mean, column, unit=False),
        "gain": signed_figure(difference.summary.mean, column),
        "gain_interval": signed_interval(difference.summary, column),
        "p_value": p_value(difference.p_value),
        "better_worse": " / ".join(map(str, found.better_worse)),
    }


def _has_both(row: Row, column: Column) -> bool:
    return column.name in row.figures and column.name in row.baseline


def _kinds_of_totals(totals: Mapping[str, float]) -> list[str]:
    kinds = ["restored"]
    return kinds + [kind for kind in ("degraded", "sharp") if any(name.startswith(f"{kind}_") for name in totals)]


def _totals(totals: Mapping[str, float]) -> list[tuple[str, list[str]]]:
    """A line for each figure of the set: of the restored photos, and beside it those named degraded_ and sharp_."""
    kinds = _kinds_of_totals(totals)
    names = [name for name in totals if not any(name.startswith(f"{kind}_") for kind in kinds[1:])]
    lines = []
    for name in names:
        values = [totals.get(key, math.nan) for key in (name, *(f"{kind}_{name}" for kind in kinds[1:]))]
        lines.append((name, ["" if math.isnan(value) else f"{value:.4f}" for value in values]))
    return lines


def _table(result: Result) -> dict[str, Any]:
    """Every picture, with figures, gains, and the degraded input's figures where there are any."""
    has_gain = {c.name: any(_has_both(row, c) for row in result.rows) for c in result.columns}
    heads = [head("picture", "text")]
    for column in result.columns:
        heads += [head(column.name)] + [head("gain")] * has_gain[column.name]
    rows = []
    for row in result.rows:
        cells = [Cell(row.name, kind="")]
        for column in result.columns:
            cells.append(number_cell(row.figures.get(column.name, math.nan), column))
            if has_gain[column.name]:
                cells.append(change_cell(gain(row, column) if _has_both(row, column) else math.nan, column))
        rows.append([*cells, Cell(f"{row.seconds:.2f}", str(row.seconds))])
    return {"heads": [*heads, head("seconds")], "rows": rows}


def _strip(strip: Strip) -> dict[str, Any]:
    panels = []
    for panel in strip.panels:
        data = encode_photo(Photo(panel.image.float() / 255), "WEBP")
        source = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
        height, width = panel.image.shape[-2:]
        panels.append({"source": source, "width": width, "height": height} | _words(panel.title, panel.caption))
    return {"name": strip.name, "figures": strip.figures, "problem": strip.problem, "panels": panels}


def _words(title: str, caption: str) -> dict[str, Any]:
    return {"title": title, "caption": caption}
