"""Pages that people open in a browser: HTML from a template, which works without a network.

Names of photos are text, whatever they hold, and a page runs no script but its own.
"""

import base64
import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import resharp
from resharp.errors import OutputError
from resharp.files import written_whole


def check_jinja2() -> None:
    """Raises OutputError where pages cannot be made, for a caller who wants to know it before hours of work."""
    try:
        import jinja2  # noqa: F401 - an extra
    except ImportError:
        raise OutputError("reports need jinja2: pip install 'resharp[evaluate]'") from None


def write_page(path: Path, package: str, template: str, context: Mapping[str, Any], *, script: str = "sort.js") -> None:
    """Write the page that a file of a package's `templates` makes of a context, escaped where it is text.

    Templates of a package may extend those that lie here; script: one of these files, too.  Raises OutputError.
    """
    check_jinja2()
    import jinja2
    import markupsafe

    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("resharp.pages")])
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    code = loader.get_source(environment, script)[0]
    page = environment.get_template(template).render(
        context,
        version=resharp.__version__,
        script=markupsafe.Markup(code),  # our own file; the page runs nothing that has another hash
        script_sha256=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode(),
    )
    with written_whole(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))  # names of files may hold what is no text


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table: its words, the number that it is sorted by (None for text), and a class."""

    words: str
    value: str | None = None
    kind: str = ""


def head(words: str, kind: str = "number") -> dict[str, str]:
    """The head of a table's column; kind: how it is sorted, as "number" or "text"."""
    return {"words": words, "kind": kind}


def sorted_as(value: float) -> str:
    """What JavaScript reads as the same number; "" for none."""
    return "" if math.isnan(value) else str(value).replace("inf", "Infinity")
