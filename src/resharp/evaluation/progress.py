"""What a run has finished, in a file beside its results until it ends: the card, then a line for each row."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resharp.errors import DatasetError
from resharp.files import refusals_named, written_whole

from .results import Card, Row, row_as_json, row_from_json


def finished_rows(path: Path, card: Card, *, is_known: bool = True) -> dict[str, Row]:
    """The sound rows of an earlier run of the same evaluation, by their files; those with a problem are tried again, as
    are all where the card does not tell the method from others (not `is_known`).

    The file is left with these alone, or begun.  Raises DatasetError where it is another evaluation's.
    """
    identity = {key: value for key, value in dataclasses.asdict(card).items() if key != "date"}
    records = [_parsed(line) for line in _lines(path)]
    before = records[0].get("card") if records else identity
    if not isinstance(before, dict):
        raise DatasetError(f"{path}: is damaged; remove it to begin the evaluation anew")
    refuse_other(path, before, identity, "an unfinished evaluation")
    rows = {}
    for record in records[1:] if is_known else []:
        with contextlib.suppress(KeyError, ValueError):  # a line that was cut short
            row = row_from_json(record["row"])
            if not row.problem and Path(row.restored).is_file():
                rows[str(record["file"])] = row
    kept = [{"card": identity}, *(_record(file, row) for file, row in rows.items())]
    with written_whole(path) as file:
        file.write("".join(json.dumps(record, allow_nan=False) + "\n" for record in kept).encode())
    return rows


def refuse_other(path: Path, before: Mapping[str, Any], own: Mapping[str, Any], held: str) -> None:
    """Raises DatasetError where a folder's file tells another thing than one's own card."""
    for name, value in own.items():
        if before.get(name) != value:
            raise DatasetError(
                f"{path.parent}: holds {held} of another {name.replace('_', ' ')} ({before.get(name)!r}); choose "
                f"another folder with -o, or remove {path.name} there"
            )


def note_row(path: Path, file: str, row: Row) -> None:
    """One more line."""
    with refusals_named(path), path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(_record(file, row), allow_nan=False) + "\n")


def _record(file: str, row: Row) -> dict[str, Any]:
    return {"file": file, "row": row_as_json(row)}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None


def _parsed(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
