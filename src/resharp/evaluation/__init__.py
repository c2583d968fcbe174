"""Measures restorers: named protocols, runs over datasets, result cards, comparisons."""

from .protocols import PROTOCOLS, Protocol, make_protocol
from .results import Card, Column, Result, Row, read_result, result_as_json, write_result
from .running import evaluate
from .statistics import paired_difference, summary

__all__ = [
    "PROTOCOLS",
    "Card",
    "Column",
    "Protocol",
    "Result",
    "Row",
    "evaluate",
    "make_protocol",
    "paired_difference",
    "read_result",
    "result_as_json",
    "summary",
    "write_result",
]
