"""Histograms as the numbers that an SVG needs: parts of the width in percent, of the height in percent."""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Bar:
    """Values between two edges: left, width, top and height in percent, how many they are, and whether below 0."""

    left: float
    width: float
    top: float
    height: float
    count: int
    is_negative: bool
    words: str


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Bars over a line of ticks (place in percent, words), with a mark for every value and one for their mean."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[float, ...]
    mean: float
    n_left_out: int


def histogram(values: Sequence[float]) -> Histogram | None:
    """Bars between round numbers, of which 0 is one, of the finite values; None where these do not differ."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if low == high:
        return None
    n_wanted = max(6, min(24, round(1.5 * math.sqrt(len(finite)))))
    step = _round_step((high - low) / n_wanted)
    first = math.floor(low / step)
    counts = [0] * (math.floor(high / step) - first + 1)
    for value in finite:
        counts[math.floor(value / step) - first] += 1
    end = first + len(counts)

    def place(value: float) -> float:
        return 2 + 96 * (value / step - first) / (end - first)

    bars = tuple(
        Bar(
            left=place((first + i) * step),
            width=96 / len(counts),
            top=100 * (1 - count / max(counts)),
            height=100 * count / max(counts),
            count=count,
            is_negative=first + i < 0,
            words=f"{_worded((first + i) * step, step)} to {_worded((first + i + 1) * step, step)}: {count}",
        )
        for i, count in enumerate(counts)
        if count
    )
    every = next(k for k in (1, 2, 5, 10, 20, 50) if len(counts) / k <= 6)
    edges = [i for i in range(first, end + 1) if i % every == 0]
    ticks = tuple((place(i * step), _worded(i * step, step)) for i in edges)
    marks = tuple(place(value) for value in finite) if len(finite) <= 500 else ()
    return Histogram(bars, ticks, marks, place(sum(finite) / len(finite)), len(values) - len(finite))


def _round_step(step: float) -> float:
    """The next larger of 1, 2, 5, 10, 20, ... times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _worded(value: float, step: float) -> str:
    """An edge with the digits that its step has; 0 without a sign."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}" if round(value / step) else "0"
