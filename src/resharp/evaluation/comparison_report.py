"""The report of several results side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resharp.pages import Cell, head, write_page

from .comparison import Comparison, Standing
from .pages import better_way, card_facts, change_cell, number_cell
from .plots import histogram
from .rescoring import Rescored, Rescoring
from .results import Card, Column
from .wording import direction, figure, interval, p_value, signed_figure, signed_interval


def write_comparison(comparison: Comparison, rescoring: Rescoring, path: Path) -> None:
    """Write results side by side, and their pictures under other protocols, as one HTML file.  Raises OutputError."""
    headline = comparison.columns[:1]
    plots = [
        (plot, f"{column.name} of {label} less that of {comparison.labels[0]}")
        for column in headline
        for label, standing in zip(comparison.labels[1:], comparison.standings[column.name][1:], strict=True)
        if (plot := histogram(_differences(comparison.standings[column.name][0], standing)))
    ]
    write_page(
        path,
        __package__,
        "comparison.html",
        {
            "title": " · ".join(comparison.labels),
            "labels": comparison.labels,
            "card": comparison.cards[0],
            "n_shared": len(comparison.names),
            "left_out": list(comparison.left_out.items()),
            "remarks": comparison.remarks,
            "columns": [_side_by_side(column, comparison) for column in comparison.columns],
            "totals": [(name, [f"{value:.4f}" for value in values]) for name, values in comparison.totals.items()],
            "plots": plots,
            "better": better_way(headline),
            "spans": [f"{name} by {figure(span, column)}" for name, span, column in rescoring.spans],
            "rescored": [_rescored_row(row) for row in rescoring.rows],
            "rescoring_problem": rescoring.problem,
            "n_rescored": len(rescoring.names),
            "n_rescorable": rescoring.n_shared,
            "facts": _facts_of(comparison.cards),
            "table": _comparison_table(comparison),
        },
    )


def _differences(first: Standing, standing: Standing) -> list[float]:
    return [
        0.0 if ours == theirs else ours - theirs for ours, theirs in zip(standing.figures, first.figures, strict=True)
    ]


def _side_by_side(column: Column, comparison: Comparison) -> dict[str, Any]:
    rows = []
    for label, standing in zip(comparison.labels, comparison.standings[column.name], strict=True):
        own, difference = standing.summary, standing.difference
        cells = [Cell(label), Cell(figure(own.mean, column, unit=False)), Cell(interval(own, column) or "n/a")]
        cells += [Cell(figure(value, column, unit=False)) for value in (own.median, own.spread)]
        if difference is not None:
            cells += [
                change_cell(difference.summary.mean, column),
                Cell(signed_interval(difference.summary, column) or "n/a"),
                Cell(p_value(difference.p_value)),
                Cell(f"{standing.n_better} / {standing.n_worse}"),
            ]
        rows.append(cells + [Cell("")] * (9 - len(cells)))
    return {"name": column.name, "unit": column.unit, "direction": direction(column), "rows": rows}


def _rescored_row(row: Rescored) -> tuple[str, list[str]]:
    column = row.definition.column
    means = [figure(mean, column, unit=False) for mean in row.means]
    return row.definition.words, means + [signed_figure(mean - row.means[0], column) for mean in row.means[1:]]


def _facts_of(cards: Sequence[Card]) -> list[tuple[str, list[str]]]:
    told = [card_facts(card) for card in cards]
    return [(lines[0][0], [value for _, value in lines]) for lines in zip(*told, strict=True)]


def _comparison_table(comparison: Comparison) -> dict[str, Any]:
    """Every shared picture: each column's figures of all results, and their differences to the first."""
    heads, rows = [head("picture", "text")], [[Cell(name)] for name in comparison.names]
    for column in comparison.columns:
        standings = comparison.standings[column.name]
        for number, (label, standing) in enumerate(zip(comparison.labels, standings, strict=True)):
            heads += [head(f"{column.name}, {label}")] + [head("difference")] * (number > 0)
            differences = _differences(standings[0], standing)
            for cells, value, difference in zip(rows, standing.figures, differences, strict=True):
                cells += [number_cell(value, column)] + [change_cell(difference, column)] * (number > 0)
    return {"heads": heads, "rows": rows}
