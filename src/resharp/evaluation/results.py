"""What an evaluation found, as plain values: figures per picture, and the card that makes them citable.

On disk a result is `results.json` (all of it) beside `results.csv` (the table).  JSON knows no infinity, and the PSNR
of a perfect picture is one: figures that are not finite stand there as the words "inf", "-inf" and "nan".
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resharp.errors import DatasetError
from resharp.files import written_whole

FORMAT = 1
RESULTS = "results.json"


@dataclasses.dataclass(frozen=True)
class Column:
    """One figure of a protocol: its name ("psnr"), its unit ("dB", or "" for none), and which way is better."""

    name: str
    unit: str
    higher_is_better: bool


@dataclasses.dataclass(frozen=True)
class Row:
    """One picture.

    name: as in the dataset, "set/0001.png";  figures: of the restored picture by column name, empty where there is a
    problem;  baseline: the same figures of the degraded input itself, where its size allows, else empty;  seconds: of
    the method;  problem: one line why there are no figures, "" for a sound row;  degraded, clean, restored: photo paths
    for sheets and for scoring again, "" where there is none (clean: of several truths the best, by the first figure);
    notes: what a protocol adds, as JSON values.
    """

    name: str
    figures: Mapping[str, float]
    baseline: Mapping[str, float]
    seconds: float
    problem: str = ""
    degraded: str = ""
    clean: str = ""
    restored: str = ""
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Card:
    """What makes a figure citable: the protocol, the data, the method, the code and the machine; date is ISO, UTC."""

    protocol: str
    protocol_version: int
    protocol_text: str
    data: str
    data_sha256: str
    n_images: int
    method: str
    weights_sha256: str
    weights_licence: str
    resharp: str
    commit: str
    torch: str
    device: str
    precision: str
    date: str


@dataclasses.dataclass(frozen=True)
class Result:
    """An evaluation: its card, its columns, a row per picture, and figures of the whole set (mAP) in `totals`."""

    card: Card
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    totals: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def sound_rows(self) -> tuple[Row, ...]:
        """The rows that have figures; means are over these only."""
        return tuple(row for row in self.rows if not row.problem)


_ROW, _RESULT = TypeAdapter(Row), TypeAdapter(Result)


def write_result(result: Result, folder: Path) -> None:
    """`results.json` and `results.csv` in `folder`, which is made.  Raises OutputError."""
    with written_whole(folder / RESULTS) as file:
        file.write(json.dumps(result_as_json(result), indent=1, allow_nan=False).encode())
    with written_whole(folder / "results.csv") as file:
        file.write(_table(result).encode("utf-8", "backslashreplace"))


def read_result(folder_or_json: Path) -> Result:
    """What `write_result` wrote, from its folder or its JSON file.  Raises DatasetError."""
    path = folder_or_json / RESULTS if folder_or_json.is_dir() else folder_or_json
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{path}: is not there; `resharp evaluate ... -o FOLDER` writes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is no result of an evaluation ({type(error).__name__})") from error
    if isinstance(record, dict) and isinstance(record.get("format"), int) and record["format"] > FORMAT:
        raise DatasetError(f"{path}: was written by a newer resharp; update this one to read it")
    try:
        return _RESULT.validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise DatasetError(
            f"{path}: is no result of an evaluation, or a damaged one ({place}: {first['msg']})"
        ) from None


def result_as_json(result: Result) -> dict[str, Any]:
    """All of a result as JSON values."""
    return {
        "format": FORMAT,
        "card": dataclasses.asdict(result.card),
        "columns": [dataclasses.asdict(column) for column in result.columns],
        "rows": [row_as_json(row) for row in result.rows],
        "totals": _written(result.totals),
    }


def row_as_json(row: Row) -> dict[str, Any]:
    """A row as JSON values."""
    record = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return record | {
        "figures": _written(row.figures),
        "baseline": _written(row.baseline),
        "notes": dict(row.notes),
    }


def row_from_json(record: Any) -> Row:
    """The row that `row_as_json` wrote.  Raises ValueError for something else."""
    return _ROW.validate_python(record)


def _written(figures: Mapping[str, float]) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else str(value) for name, value in figures.items()}


def _table(result: Result) -> str:
    text = io.StringIO()
    names = [column.name for column in result.columns]
    writer = csv.writer(text)
    writer.writerow(["name", *names, *(f"{name}_degraded" for name in names), "seconds", "problem"])
    for row in result.rows:
        writer.writerow(
            [row.name, *_cells(row.figures, names), *_cells(row.baseline, names), f"{row.seconds:.6g}", row.problem]
        )
    return text.getvalue()


def _cells(figures: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{figures[name]:.10g}" if name in figures else "" for name in names]
