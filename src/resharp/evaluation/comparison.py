"""Results side by side: the same protocol, the same data, the same pictures, and what their differences show."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from resharp.errors import ArgumentError, DatasetError

from .results import Card, Column, Result, Row
from .statistics import PairedDifference, Summary, paired_difference, summary
from .wording import p_value

_MUST_AGREE = {"protocol": "the protocol", "protocol_version": "the protocol's version", "data_sha256": "the data"}
_BETTER_AGREE = ("resharp", "commit", "torch", "device", "precision")


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where one result stands in one column.

    figures: of the pictures that all results have, in their order;  difference: to the first result, None for the first
    itself;  n_better, n_worse: pictures, by the column's direction.
    """

    figures: tuple[float, ...]
    summary: Summary
    difference: PairedDifference | None
    n_better: int
    n_worse: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Results side by side, in the order in which they came; differences are to the first.

    names: the pictures that all have figures of;  left_out: those that some have not, and why;  standings: of each
    column, a row per result;  totals: figures of whole sets, which are over all pictures of a result;  remarks: what
    else differs and might matter, one line each.
    """

    labels: tuple[str, ...]
    cards: tuple[Card, ...]
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, str]
    standings: Mapping[str, tuple[Standing, ...]]
    totals: Mapping[str, tuple[float, ...]]
    remarks: tuple[str, ...]


def compare(results: Sequence[Result]) -> Comparison:
    """Put results with one protocol and one dataset side by side.

    Means, intervals and differences are over the pictures that every result has figures of.  Raises ArgumentError for
    results that cannot stand in one table, DatasetError for those that share no picture.
    """
    if len(results) < 2:
        raise ArgumentError("a comparison takes at least two results; name another one")
    labels = labels_of(results)
    _refuse_different(results, labels)
    rows = [_by_name(result, label) for result, label in zip(results, labels, strict=True)]
    columns = results[0].columns
    names = [row.name for row in results[0].rows if all(_is_sound(row.name, found, columns) for found in rows)]
    if not names:
        raise DatasetError("these results have figures of no picture in common; evaluate them again")
    standings = {column.name: tuple(_standings(column, names, rows)) for column in columns}
    totals = {
        name: tuple(result.totals[name] for result in results)
        for name in results[0].totals
        if all(name in result.totals for result in results)
    }
    cards = tuple(result.card for result in results)
    left_out = _left_out(rows, labels, set(names))
    return Comparison(
        labels, cards, columns, tuple(names), left_out, standings, totals, _remarks(results, labels, len(names))
    )


def labels_of(results: Sequence[Result]) -> tuple[str, ...]:
    """The methods' names; where two are the same, with what tells their weights apart, else with a number."""
    labels = [result.card.method for result in results]
    hashes = [f" [{digest[:8]}]" if (digest := result.card.weights_sha256) else "" for result in results]
    for tail in (hashes, [f" #{i + 1}" for i in range(len(labels))]):
        counts = collections.Counter(labels)
        if max(counts.values()) == 1:
            break
        labels = [label + end if counts[label] > 1 else label for label, end in zip(labels, tail, strict=True)]
    return tuple(labels)


def _refuse_different(results: Sequence[Result], labels: Sequence[str]) -> None:
    first = results[0]
    for result, label in zip(results[1:], labels[1:], strict=True):
        for name, words in _MUST_AGREE.items():
            one, other = getattr(first.card, name), getattr(result.card, name)
            if one != other:
                raise ArgumentError(
                    f"{labels[0]} and {label} cannot stand in one table: {words} differs "
                    f"({_short(one)} and {_short(other)}); evaluate one of them again as the other was"
                )
        if first.card.protocol_text != result.card.protocol_text or first.columns != result.columns:
            one, other = _first_difference(_definition(first), _definition(result))
            raise ArgumentError(
                f"{labels[0]} and {label} cannot stand in one table: their protocols {first.card.protocol} have other "
                f"settings ({one!r} and {other!r}); evaluate one of them again as the other was"
            )


def _short(value: object) -> str:
    """A hash by its beginning, names as they are."""
    text = str(value)
    return text[:12] if len(text) == 64 else text or "unknown"


def _definition(result: Result) -> list[str]:
    lines = result.card.protocol_text.splitlines()
    return [*map(str.strip, lines), *(f"{column.name} in {column.unit or 'no unit'}" for column in result.columns)]


def _first_difference(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    length = max(len(one), len(other))
    padded = ([*lines, *["nothing"] * (length - len(lines))] for lines in (one, other))
    return next(((mine, theirs) for mine, theirs in zip(*padded, strict=True) if mine != theirs), ("", ""))


def _by_name(result: Result, label: str) -> dict[str, Row]:
    rows = {row.name: row for row in result.rows}
    if len(rows) < len(result.rows):
        twice = collections.Counter(row.name for row in result.rows).most_common(1)[0][0]
        raise DatasetError(f"the result of {label} has {twice} twice, so its pictures cannot be told apart")
    return rows


def _is_sound(name: str, rows: Mapping[str, Row], columns: Sequence[Column]) -> bool:
    return name in rows and not rows[name].problem and all(column.name in rows[name].figures for column in columns)


def _standings(column: Column, names: Sequence[str], rows: Sequence[Mapping[str, Row]]) -> list[Standing]:
    figures = [tuple(found[name].figures[column.name] for name in names) for found in rows]
    first = Standing(figures[0], summary(figures[0]), None, 0, 0)
    return [first, *(_standing(column, values, figures[0]) for values in figures[1:])]


def _standing(column: Column, values: tuple[float, ...], reference: Sequence[float]) -> Standing:
    difference = paired_difference(values, reference)
    n_better, n_worse = difference.n_higher, difference.n_lower
    if not column.higher_is_better:
        n_better, n_worse = n_worse, n_better
    return Standing(values, summary(values), difference, n_better, n_worse)


def _left_out(rows: Sequence[Mapping[str, Row]], labels: Sequence[str], names: set[str]) -> dict[str, str]:
    """Why pictures that some result lists are in no mean."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(name for listed in rows for name in listed if name not in names):
        reasons = []
        for listed, label in zip(rows, labels, strict=True):
            if name not in listed:
                reasons.append(f"{label} has no such picture")
            elif listed[name].problem or not listed[name].figures:
                reasons.append(f"{label}: {listed[name].problem or 'no figures'}")
        found[name] = "; ".join(reasons) or "a figure is missing"
    return found


def _remarks(results: Sequence[Result], labels: Sequence[str], n_pictures: int) -> tuple[str, ...]:
    remarks = []
    for name in _BETTER_AGREE:
        values = [getattr(result.card, name) for result in results]
        if len(set(values)) > 1:
            told = ", ".join(f"{label}: {value or 'unknown'}" for label, value in zip(labels, values, strict=True))
            remarks.append(f"{name} differs ({told})")
    if n_pictures < 6:
        least = p_value(2 / 2**n_pictures if n_pictures > 1 else 1.0)
        remarks.append(f"with {n_pictures} pictures no p-value is below {least}, however large the difference")
    if len(results) > 2:
        remarks.append(f"{len(results) - 1} results are tested against the first; p-values are not corrected for that")
    if results[0].totals:
        remarks.append("figures of the whole set are over all pictures of each result")
    return tuple(remarks)
