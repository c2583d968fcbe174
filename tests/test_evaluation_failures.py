"""Evaluation runs that meet bad pictures, bad methods and stops: failures are rows, and the table stays the same."""

import dataclasses
import functools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resharp.errors import ArgumentError, DatasetError
from resharp.evaluation import Result, Row, evaluate, make_protocol, read_result
from resharp.metrics import METRICS
from tests.conftest import rand
from tests.evaluation_sets import pairs_of, photos_of, smooth, written


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return pairs_of(tmp_path / "set", smooth(5, 24, 32))


def timeless(result: Result) -> tuple[Row, ...]:
    return tuple(dataclasses.replace(row, seconds=0.0, restored="", degraded="", clean="") for row in result.rows)


# --- failures ---------------------------------------------------------------------------------------------------------


def broken_at(number: int, result: object) -> object:
    calls = iter(range(100))

    def restore(image: Tensor) -> object:
        if next(calls) != number:
            return image
        if isinstance(result, BaseException):
            raise result
        return result(image) if callable(result) else result

    return restore


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda image: image * math.nan, "NaN or infinite"),
        (lambda image: image / 0, "NaN or infinite"),
        (lambda image: image[..., :-1], "(3, 24, 31); wanted is (3, 24, 32)"),
        (lambda image: image[None], "(1, 3, 24, 32); wanted is (3, 24, 32)"),
        (lambda image: image.byte(), "torch.uint8"),
        (None, "NoneType"),
        (ValueError("two\nlines"), "ValueError: two"),
        (MemoryError(), "not enough memory"),
        (SystemExit(0), "SystemExit: 0"),
        (Tensor.to_sparse, "torch.sparse_coo"),
        (lambda image: image.to("meta"), "on meta"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_method_that_fails_at_one_picture(pairs: Path, answer: object, words: str, workers: int) -> None:
    expected = evaluate("identity", pairs, "deblur-rgb")
    result = evaluate(broken_at(2, answer), pairs, "deblur-rgb", workers=workers)  # type: ignore[arg-type]
    assert words in result.rows[2].problem
    assert "\n" not in result.rows[2].problem
    assert not result.rows[2].figures
    assert [row.figures for row in result.sound_rows] == [row.figures for row in expected.rows if row.name != "2.png"]


def test_values_beyond_all_measure_are_a_row(pairs: Path) -> None:
    row = evaluate(lambda image: image + 1e30, pairs / "sharp", "denoise", limit=1).rows[0]
    assert "these lie in [1e+30, 1e+30]" in row.problem
    assert not row.figures


def test_damaged_missing_and_unequal_photos_are_rows(pairs: Path) -> None:
    (pairs / "blur" / "0.png").write_bytes(b"no photo")
    (pairs / "sharp" / "1.png").write_bytes((pairs / "sharp" / "1.png").read_bytes()[:200])
    written(pairs / "sharp" / "2.png", rand(3, 24, 30))
    written(pairs / "sharp" / "3.png", rand(1, 24, 32).expand(3, -1, -1), grey=True)
    result = evaluate("identity", pairs, "deblur-rgb")
    words = [
        "is not a JPEG",
        "damaged or cut short",
        "differ in size (32x24 and 30x24)",
        "in colour and its truth grey",
        "",
    ]
    for row, expected in zip(result.rows, words, strict=True):
        assert expected in row.problem
    assert [row.name for row in result.sound_rows] == ["4.png"]


def test_a_scale_that_does_not_fit_is_told(tmp_path: Path) -> None:
    written(tmp_path / "hr" / "0.png", rand(3, 48, 48))
    written(tmp_path / "lr" / "0.png", rand(3, 24, 24))
    assert "not 4 times as large" in evaluate("bicubic", tmp_path, "sr-y").rows[0].problem
    assert not evaluate("bicubic", tmp_path, make_protocol("sr-y", {"scale": "2"})).rows[0].problem


def test_datasets_that_no_mean_could_be_trusted_on(pairs: Path, tmp_path: Path) -> None:
    (pairs / "sharp" / "4.png").unlink()
    with pytest.raises(DatasetError, match="1 without a partner"):
        evaluate("identity", pairs, "deblur-rgb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no photos there"):
        evaluate("identity", tmp_path / "empty", "deblur-rgb")
    with pytest.raises(DatasetError, match="no such folder"):
        evaluate("identity", tmp_path / "nowhere", "deblur-rgb")
    with pytest.raises(DatasetError, match="holds clean photos alone; protocol deblur-rgb takes pairs"):
        evaluate("identity", photos_of(tmp_path / "photos", smooth(1, 16, 16)), "deblur-rgb")
    with pytest.raises(DatasetError, match="takes Koehler's benchmark alone"):
        evaluate("identity", tmp_path / "photos", "kohler")


def test_results_do_not_go_among_what_is_read(pairs: Path) -> None:
    for method, out in (("identity", pairs / "run"), (pairs / "sharp", pairs / "sharp")):
        with pytest.raises(ArgumentError, match="whose pictures are read"):
            evaluate(method, pairs, "deblur-rgb", out=out)
        assert not (pairs / "run").exists()


def test_pictures_are_not_written_over_those_that_are_read(tmp_path: Path) -> None:
    """A run's own folders are `restored`, `degraded` and `clean`."""
    photos_of(tmp_path / "photos" / "clean", smooth(2, 24, 32))
    photos_of(tmp_path / "theirs" / "restored", smooth(2, 24, 32))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    clean = tmp_path / "photos" / "clean"
    for method, out in (("identity", tmp_path / "photos"), (tmp_path / "theirs" / "restored", tmp_path / "theirs")):
        with pytest.raises(ArgumentError, match="which are read"):
            evaluate(method, clean, "denoise", out=out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_settings_that_hold_for_no_picture(pairs: Path) -> None:
    for mistake in ({"limit": 0}, {"workers": -1}, {"device": "abacus"}):
        with pytest.raises(ArgumentError):
            evaluate("identity", pairs, "deblur-rgb", **mistake)  # type: ignore[arg-type]


# --- going on ---------------------------------------------------------------------------------------------------------


CALLS: list[int] = []
STOP_AT = 3


def stopped_once(image: Tensor) -> Tensor:
    """A method that is known by this file, and its calls."""
    CALLS.append(0)
    if len(CALLS) == STOP_AT:
        raise KeyboardInterrupt
    return image * 0.9


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_killed_ends_at_the_same_table(pairs: Path, tmp_path: Path, workers: int) -> None:
    CALLS.clear()

    def run(out: Path) -> Result:
        return evaluate(stopped_once, pairs, "deblur-rgb", out=out, workers=workers)

    with pytest.raises(KeyboardInterrupt):
        evaluate(stopped_once, pairs, "deblur-rgb", out=tmp_path / "run", workers=0)
    progress = tmp_path / "run" / "progress.jsonl"
    assert len(progress.read_text().splitlines()) == 1 + 2
    with progress.open("a") as file:
        file.write('{"file": "2.png", "row": {"name": "2.p')  # killed while it wrote
    result, n_before = run(tmp_path / "run"), len(CALLS)
    assert n_before == STOP_AT + 3
    whole = run(tmp_path / "whole")
    assert timeless(result) == timeless(whole)
    assert not progress.exists()
    assert read_result(tmp_path / "run") == result


def weakened(image: Tensor, *, by: float, stop: bool) -> Tensor:
    CALLS.append(0)
    if stop and len(CALLS) == STOP_AT:
        raise KeyboardInterrupt
    return image * by


class Weakening(torch.nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(by))

    def forward(self, image: Tensor) -> Tensor:
        CALLS.append(0)
        if len(CALLS) == 2 + 2:
            raise KeyboardInterrupt
        return image * self.by


def test_a_method_that_cannot_be_told_from_others_begins_anew(pairs: Path, tmp_path: Path) -> None:
    """Two partials of one function look alike; one table shall not hold rows of both."""
    CALLS.clear()
    one = functools.partial(weakened, by=0.9, stop=True)
    with pytest.raises(KeyboardInterrupt):
        evaluate(one, pairs, "deblur-rgb", out=tmp_path / "run", workers=0)
    other = functools.partial(weakened, by=0.5, stop=False)
    result = evaluate(other, pairs, "deblur-rgb", out=tmp_path / "run", workers=0)
    assert timeless(result) == timeless(evaluate(other, pairs, "deblur-rgb"))


def test_a_network_is_known_by_its_weights(pairs: Path, tmp_path: Path) -> None:
    CALLS.clear()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Weakening(0.9), pairs, "deblur-rgb", out=tmp_path / "run", workers=0)
    with pytest.raises(DatasetError, match="unfinished evaluation of another weights sha256"):
        evaluate(Weakening(0.5), pairs, "deblur-rgb", out=tmp_path / "run")
    result = evaluate(Weakening(0.9), pairs, "deblur-rgb", out=tmp_path / "run", workers=0)
    assert len(CALLS) == (2 + 2) + 2 + (2 + 4)  # each evaluation looks at the network twice when it opens it
    assert not any(row.problem for row in result.rows)


def test_memory_that_runs_out_at_one_picture_is_its_row(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever that is; torch says so on the CPU by a plain RuntimeError."""
    calls = iter(range(100))

    def exhausted(*_: object, **__: object) -> tuple[Tensor, bool]:
        if next(calls) == 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")
        return torch.tensor(30.0), False

    metric = dataclasses.replace(METRICS["psnr"], function=lambda *_: exhausted()[0])
    monkeypatch.setitem(METRICS, "psnr", metric)
    rows = evaluate(torch.zeros_like, pairs, "deblur-rgb", workers=0).rows
    assert [bool(row.problem) for row in rows].count(True) == 1
    assert next(row.problem for row in rows if row.problem) == "not enough memory for this picture"


def test_another_evaluation_does_not_go_on_with_this_one(pairs: Path, tmp_path: Path) -> None:
    def stop(image: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(stop, pairs, "deblur-rgb", out=tmp_path / "run")
    with pytest.raises(DatasetError, match="unfinished evaluation of another method"):
        evaluate("identity", pairs, "deblur-rgb", out=tmp_path / "run")
    with pytest.raises(DatasetError, match="unfinished evaluation of another protocol"):
        evaluate(stop, pairs, make_protocol("deblur-rgb", {"border": "1"}), out=tmp_path / "run")
    written(pairs / "blur" / "0.png", rand(3, 24, 32))
    with pytest.raises(DatasetError, match="unfinished evaluation of another data sha256"):
        evaluate(stop, pairs, "deblur-rgb", out=tmp_path / "run")


@pytest.mark.parametrize("first_line", [b"\xff", b'{"card": 3}', b"{}"])
def test_a_damaged_progress_file_is_named(pairs: Path, tmp_path: Path, first_line: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "progress.jsonl").write_bytes(first_line + b"\n")
    with pytest.raises(DatasetError, match=r"progress\.jsonl: is damaged; remove it"):
        evaluate("identity", pairs, "deblur-rgb", out=tmp_path / "run")


def test_results_of_another_method_stay(pairs: Path, tmp_path: Path) -> None:
    before = evaluate("identity", pairs, "deblur-rgb", out=tmp_path / "run", limit=1)
    with pytest.raises(DatasetError, match=r"holds the results of another method \('identity'\)"):
        evaluate(torch.zeros_like, pairs, "deblur-rgb", out=tmp_path / "run")
    assert read_result(tmp_path / "run") == before
    assert len(evaluate("identity", pairs, "deblur-rgb", out=tmp_path / "run").rows) == 5


def test_the_number_of_workers_changes_nothing(pairs: Path) -> None:
    results = [evaluate("identity", pairs, "deblur-rgb", workers=workers) for workers in (0, 1, 3)]
    assert timeless(results[0]) == timeless(results[1]) == timeless(results[2])
