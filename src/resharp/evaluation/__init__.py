"""Measures restorers: named protocols, runs over datasets, result cards, reports, comparisons."""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use
from resharp.pages import check_jinja2

if TYPE_CHECKING:
    from .comparison import Comparison, compare
    from .comparison_report import write_comparison
    from .protocols import PROTOCOLS, Protocol, make_protocol
    from .report import write_report
    from .rescoring import rescore
    from .results import Card, Column, Result, Row, read_result, result_as_json, write_result
    from .running import evaluate
    from .statistics import paired_difference, summary
    from .summaries import ColumnSummary, column_summaries

__all__ = [
    "PROTOCOLS",
    "Card",
    "Column",
    "ColumnSummary",
    "Comparison",
    "Protocol",
    "Result",
    "Row",
    "check_jinja2",
    "column_summaries",
    "compare",
    "evaluate",
    "make_protocol",
    "paired_difference",
    "read_result",
    "rescore",
    "result_as_json",
    "summary",
    "write_comparison",
    "write_report",
    "write_result",
]

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
