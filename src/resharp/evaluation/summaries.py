"""What a result says in one line a column: figures of all its pictures together, beside those of the input."""

import dataclasses

from .results import Column, Result
from .statistics import PairedDifference, Summary, paired_difference, summary


@dataclasses.dataclass(frozen=True)
class ColumnSummary:
    """A column over the sound rows that have it;  degraded, gain: of the input itself and the difference to it, where
    all of these rows have that, too, else None."""

    column: Column
    restored: Summary
    degraded: Summary | None = None
    gain: PairedDifference | None = None

    @property
    def better_worse(self) -> tuple[int, int]:
        """How many pictures are better than their input, and how many worse, by the column's direction."""
        if self.gain is None:
            return 0, 0
        numbers = self.gain.n_higher, self.gain.n_lower
        return numbers if self.column.higher_is_better else numbers[::-1]


def column_summaries(result: Result) -> tuple[ColumnSummary, ...]:
    """One for each column of a result, in their order."""
    return tuple(_summarised(column, result) for column in result.columns)


def _summarised(column: Column, result: Result) -> ColumnSummary:
    rows = [row for row in result.sound_rows if column.name in row.figures]
    restored = [row.figures[column.name] for row in rows]
    if not rows or not all(column.name in row.baseline for row in rows):
        return ColumnSummary(column, summary(restored))
    degraded = [row.baseline[column.name] for row in rows]
    return ColumnSummary(column, summary(restored), summary(degraded), paired_difference(restored, degraded))
