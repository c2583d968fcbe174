"""Measures restorers: named protocols, runs over datasets, result cards, reports, comparisons."""

from resharp.pages import check_jinja2

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
