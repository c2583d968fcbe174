"""Results on disk."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import pytest

from resharp.errors import DatasetError
from resharp.evaluation.results import Card, Column, Result, Row, read_result, write_result

CARD = Card(
    "deblur-rgb", 1, "text", "frames", "00", 2, "identity", "", "", "0.1.0", "", "2.9", "cpu", "float32", "2026-01-01"
)
RESULT = Result(
    CARD,
    (Column("psnr", "dB", True), Column("niqe", "", False)),
    (
        Row("a/ü.png", {"psnr": math.inf, "niqe": 3.25}, {"psnr": 20.5}, 0.125, restored="/x/a.png", notes={"n": [1]}),
        Row("b.png", {}, {}, 0.0, problem="is damaged, truly"),
    ),
    {"map": 0.5, "worst": -math.inf},
)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "run")
    assert read_result(tmp_path / "run") == RESULT
    assert read_result(tmp_path / "run" / "results.json") == RESULT


def test_nan_survives_and_the_file_is_strict_json(tmp_path: Path) -> None:
    row = dataclasses.replace(RESULT.rows[0], figures={"psnr": math.nan})
    write_result(dataclasses.replace(RESULT, rows=(row,)), tmp_path)

    def refuse(word: str) -> float:
        raise AssertionError(word)

    json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert math.isnan(read_result(tmp_path).rows[0].figures["psnr"])


def test_the_table_has_a_line_for_each_picture(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == ["a/ü.png", "b.png"]
    assert [line["niqe"] for line in lines] == ["3.25", ""]
    assert [line["psnr_degraded"] for line in lines] == ["20.5", ""]
    assert lines[1]["problem"] == "is damaged, truly"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is not there"),
        (b"\xff\x00", "is no result"),
        (b"[1]", "damaged"),
        (b'{"format": 1, "card": {}}', "damaged"),
        (b'{"format": 9}', "newer resharp"),
        (b"[" * 100_000, "is no result"),
        (b'{"card": null, "columns": [], "rows": [], "totals": {}}', "damaged one \\(card: "),
    ],
)
def test_another_file_is_no_result(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        read_result(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("notes", None),
        ("restored", 3),
        ("figures", [1]),
        ("figures", {"psnr": "high"}),
        ("name", None),
        ("seconds", {}),
    ],
)
def test_a_row_of_other_types_is_named(tmp_path: Path, place: str, value: object) -> None:
    write_result(RESULT, tmp_path)
    record = json.loads((tmp_path / "results.json").read_text())
    record["rows"][1][place] = value
    (tmp_path / "results.json").write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=rf"damaged one \(rows\.1\.{place}") as caught:
        read_result(tmp_path)
    assert "\n" not in str(caught.value)


def test_means_are_over_sound_rows() -> None:
    assert RESULT.sound_rows == RESULT.rows[:1]
