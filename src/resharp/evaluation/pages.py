"""What the pages have in common: one self-contained HTML file from a template, its tables, its card.

Everything is inside, and names of photos are text, whatever they hold.
"""

import base64
import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import resharp
from resharp.errors import OutputError
from resharp.files import written_whole

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


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table: its words, the number that it is sorted by (None for text), and a class."""

    words: str
    value: str | None = None
    kind: str = ""


def check_jinja2() -> None:
    """Raises OutputError where reports cannot be made, for a caller who wants to know it before hours of work."""
    try:
        import jinja2  # noqa: F401 - an extra
    except ImportError:
        raise OutputError("reports need jinja2: pip install 'resharp[evaluate]'") from None


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> None:
    """Write the page that a file of `templates` makes of a context, escaped where it is text.  Raises OutputError."""
    check_jinja2()
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resharp.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    assert loader is not None
    script = loader.get_source(environment, "sort.js")[0]
    page = environment.get_template(template).render(
        context,
        version=resharp.__version__,
        script=markupsafe.Markup(script),  # our own file; the page runs nothing that has another hash
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with written_whole(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))  # names of files may hold what is no text


def card_facts(card: Card) -> list[tuple[str, str]]:
    """(name, value) of what a card says, but for the protocol's text."""
    facts = [("protocol", f"{card.protocol}, version {card.protocol_version}")]
    return facts + [(words, str(getattr(card, name)) or "none") for name, words in _FACTS.items()]


def better_way(columns: Sequence[Column]) -> str:
    """Which differences of the headline column are drawn as good, "higher" or "lower"."""
    return "higher" if all(column.higher_is_better for column in columns) else "lower"


def head(words: str, kind: str = "number") -> dict[str, str]:
    """The head of a table's column; kind: how it is sorted, as "number" or "text"."""
    return {"words": words, "kind": kind}


def number_cell(value: float, column: Column) -> Cell:
    """A figure, NaN for none."""
    return Cell(figure(value, column, unit=False), _sorted_as(value))


def change_cell(value: float, column: Column) -> Cell:
    """A gain or a difference, in green or red."""
    is_better = value > 0 if column.higher_is_better else value < 0
    kind = "" if value == 0 or math.isnan(value) else "good" if is_better else "bad"
    return Cell(signed_figure(value, column), _sorted_as(value), kind)


def _sorted_as(value: float) -> str:
    """What JavaScript reads as the same number; "" for none."""
    return "" if math.isnan(value) else str(value).replace("inf", "Infinity")
