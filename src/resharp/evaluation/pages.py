"""What the pages have in common beside their frame: their tables, their card."""

import math
from collections.abc import Sequence

from resharp.pages import Cell, sorted_as

from .results import Card, Column
from .wording import figure, signed_figure

_FACTS = {
    "method": "method",
    "weights_sha256": "weights",
    "weights_licence": "licence of the weights",
    "data": "data",
    "data_sha256": "hash of the data",
    "n_images": "pictures",
    "resharp": "resharp",
    "commit": "commit",
    "torch": "torch",
    "device": "device",
    "precision": "precision",
    "date": "date",
}


def card_facts(card: Card) -> list[tuple[str, str]]:
    """(name, value) of what a card says, but for the protocol's text."""
    facts = [("protocol", f"{card.protocol}, version {card.protocol_version}")]
    return facts + [(words, str(getattr(card, name)) or "none") for name, words in _FACTS.items()]


def better_way(columns: Sequence[Column]) -> str:
    """Which differences of the headline column are drawn as good, "higher" or "lower"."""
    return "higher" if all(column.higher_is_better for column in columns) else "lower"


def number_cell(value: float, column: Column) -> Cell:
    """A figure, NaN for none."""
    return Cell(figure(value, column, unit=False), sorted_as(value))


def change_cell(value: float, column: Column) -> Cell:
    """A gain or a difference, in green or red."""
    is_better = value > 0 if column.higher_is_better else value < 0
    kind = "" if value == 0 or math.isnan(value) else "good" if is_better else "bad"
    return Cell(signed_figure(value, column), sorted_as(value), kind)
