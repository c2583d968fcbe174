"""Figures as people read them: as many digits as tell results apart, ∞, and n/a for what is no number."""

import math

from .results import Column, Row
from .statistics import Summary


def figure(value: float, column: Column, *, unit: bool = True) -> str:
    """A figure of a column: "28.431 dB", "0.8104", "∞ dB", "n/a"."""
    return _worded(value, column, unit=unit)


def signed_figure(value: float, column: Column, *, unit: bool = False) -> str:
    """A difference of two figures of a column, with its sign: "+1.204", "-0.0031"."""
    text = _worded(value, column, unit=unit)
    return f"+{text}" if value > 0 and _worded(value, column, unit=False).strip("0.") else text


def gain(row: Row, column: Column) -> float:
    """How much a row's figure lies above that of the degraded input; 0 between two infinities."""
    ours, before = row.figures[column.name], row.baseline[column.name]
    return 0.0 if ours == before else ours - before


def interval(found: Summary, column: Column) -> str:
    """The interval of a mean: "27.1 to 29.6"; "" where there is none."""
    ends = (figure(value, column, unit=False) for value in (found.low, found.high))
    return "" if math.isnan(found.low) else " to ".join(ends)


def signed_interval(found: Summary, column: Column) -> str:
    """The interval of a mean difference: "-0.1 to +0.6"; "" where there is none."""
    ends = (signed_figure(value, column) for value in (found.low, found.high))
    return "" if math.isnan(found.low) else " to ".join(ends)


def direction(column: Column) -> str:
    """Which way is better, in words."""
    return "higher is better" if column.higher_is_better else "lower is better"


def p_value(value: float) -> str:
    """A p-value: "0.031", "< 0.001", "n/a"."""
    if math.isnan(value):
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _worded(value: float, column: Column, *, unit: bool) -> str:
    if math.isnan(value):
        return "n/a"
    text = f"{value:.{3 if column.unit == 'dB' else 4}f}".replace("inf", "∞")
    text = text.removeprefix("-") if not text.strip("-0.") else text  # no "-0.000"
    return f"{text} {column.unit}" if unit and column.unit else text
