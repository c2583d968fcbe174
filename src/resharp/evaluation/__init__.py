"""Measures restorers: named protocols, runs over datasets, result cards."""

from .results import Card, Column, Result, Row, read_result, write_result

__all__ = ["Card", "Column", "Result", "Row", "read_result", "write_result"]
