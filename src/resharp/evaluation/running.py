"""An evaluation run: every picture read, restored and judged; one that fails is a row of its own and ends nothing.

Threads read the next pictures and judge the last ones while the method works: codecs and torch work outside of
Python's lock, and pictures need not be copied from process to process.  Only a few pictures are in memory at once.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import datetime
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

import resharp
from resharp.data.listing import Listing
from resharp.data.workers import checked_workers
from resharp.device import checked_device
from resharp.errors import ArgumentError, DatasetError, ResharpError
from resharp.files import refusals_named, written_whole
from resharp.locks import exclusive
from resharp.photo import Photo, write_photo

from .cases import Case, CaseSet, Sample, Source, open_cases, read_sample
from .methods import Method, open_method
from .protocols import Protocol, make_protocol
from .provenance import code_commit
from .results import Card, Result, Row, row_as_json, row_from_json, write_result
from .scoring import Scorer, open_scorer

PROGRESS = "progress.jsonl"

OnRow = Callable[[Row, int, int], None]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class _Done(NamedTuple):
    """What is known of a case so far; without a sample or a restored picture there is a problem."""

    case: Case
    sample: Sample | None = None
    restored: Tensor | None = None
    seconds: float = 0.0
    problem: str = ""


def evaluate(
    method: str | Path | Callable[..., Any],
    data: str | Path | Listing,
    protocol: str | Protocol,
    *,
    out: str | Path | None = None,
    split: str | None = None,
    subset: str | None = None,
    match: str = "name",
    limit: int | None = None,
    device: str = "cpu",
    precision: str = "auto",
    workers: int = 2,
    on_row: OnRow | None = None,
    say: Callable[[str], None] | None = None,
) -> Result:
    """Restore the pictures of a dataset with a method and judge them as a protocol says.

    method: weights by name or file, a built-in method ("identity", "bicubic", ...), a folder of restored pictures, or a
    callable (also as "package.module:name") that is given the image, float32 (3, H, W), and whichever of kernel,
    noise_sigma, scale and pattern its signature names and the protocol knows.
    data: a folder, manifest, pack or Listing;  protocol: a row of PROTOCOLS by name, or what `make_protocol` gave.
    out: a folder for results.json, results.csv and the restored pictures in 16 bits; a run that was stopped there goes
    on.  workers: threads that read and judge beside the method.  on_row: sees (row, number, count);  say: is
    told in a line what the user ought to know before it begins.

    A picture that cannot be read, restored or judged is a row with a problem and without figures.  Raises ResharpError
    for what concerns all of them.
    """
    protocol = make_protocol(protocol) if isinstance(protocol, str) else protocol
    checked_device(device)
    checked_workers(workers)
    cases = open_cases(data, protocol, split=split, subset=subset, limit=limit)
    opened = open_method(method, protocol, cases.cases, match=match, device=device, precision=precision)
    run = _Run(
        protocol, opened, cases, open_scorer(protocol, cases.cases), None if out is None else Path(out).absolute()
    )
    if say is not None:
        for note in run.scorer.notes:
            say(note)
    with run.kept() as finished:
        rows = []
        for row in run.rows(finished, workers):
            rows.append(row)
            if on_row is not None:
                on_row(row, len(rows), len(cases.cases))
        result = Result(run.card, run.scorer.columns, tuple(rows), run.scorer.totals(rows))
        if run.out is not None:
            write_result(result, run.out)
    return result


@dataclasses.dataclass(frozen=True)
class _Run:
    protocol: Protocol
    method: Method
    cases: CaseSet
    scorer: Scorer
    out: Path | None

    @functools.cached_property
    def card(self) -> Card:
        return Card(
            protocol=self.protocol.title,
            protocol_version=self.protocol.version,
            protocol_text=str(self.protocol),
            data=self.cases.name,
            data_sha256=self.cases.sha256,
            n_images=len(self.cases.cases),
            method=self.method.name,
            weights_sha256=self.method.sha256,
            weights_licence=self.method.licence,
            resharp=resharp.__version__,
            commit=code_commit(),
            torch=torch.__version__,
            device=_device_name(self.method.device),
            precision=self.method.precision,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    @contextlib.contextmanager
    def kept(self) -> Iterator[dict[str, Row]]:
        """The rows that an earlier run of the same evaluation finished, by case; the folder is ours meanwhile.

        Raises DatasetError where the folder holds another evaluation.
        """
        if self.out is None:
            yield {}
            return
        with refusals_named(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        with exclusive(self.out):
            yield self._finished(self.out)
            with refusals_named(self.out):
                (self.out / PROGRESS).unlink(missing_ok=True)

    def rows(self, finished: dict[str, Row], workers: int) -> Iterator[Row]:
        """A row for each case in their order, each written down before it is given out."""
        left = [case for case in self.cases.cases if case.file not in finished]
        with _threads(workers) as pool:
            read = _ahead(self._read, left, pool, workers)
            new = _ahead(self._row, map(self._restored, read), pool, 2 * workers)
            for case in self.cases.cases:
                if case.file in finished:
                    yield finished[case.file]
                    continue
                row = next(new)
                if self.out is not None:
                    _append(self.out / PROGRESS, {"file": case.file, "row": row_as_json(row)})
                yield row

    def _read(self, case: Case) -> _Done:
        try:
            return _Done(case, read_sample(case, self.protocol))
        except (ResharpError, MemoryError) as error:
            return _Done(case, problem=_told(error))

    def _restored(self, done: _Done) -> _Done:
        if done.sample is None:
            return done
        started = time.perf_counter()
        try:
            with torch.no_grad():
                restored = checked_picture(self.method.run(done.sample), done.sample.size)
        except (ResharpError, MemoryError, torch.OutOfMemoryError) as error:
            return done._replace(problem=_told(error))
        return done._replace(restored=restored, seconds=time.perf_counter() - started)

    def _row(self, done: _Done) -> Row:
        case, sample, restored, seconds, problem = done
        row = Row(case.name, {}, {}, seconds, problem, _path(case.degraded), _path(case.clean[0]) if case.clean else "")
        if sample is None or restored is None:
            return row
        row = dataclasses.replace(row, **self._written(sample, restored))
        try:
            figures, baseline, notes = self.scorer.row(sample, restored)
        except (ResharpError, MemoryError) as error:
            return dataclasses.replace(row, problem=_told(error))
        return dataclasses.replace(row, figures=figures, baseline=baseline, notes=notes)

    def _written(self, sample: Sample, restored: Tensor) -> dict[str, Any]:
        """Where the pictures of a sample now lie: the restored one, and those that are no files of the dataset."""
        if self.out is None:
            return {}
        pictures = {"restored": restored}
        if self.protocol.takes == "clean" or not isinstance(sample.case.degraded, Path):
            pictures["degraded"] = sample.degraded
            if sample.clean is not None:
                pictures["clean"] = sample.clean
        paths = {}
        for kind, picture in pictures.items():
            path = self.out / kind / sample.case.file
            write_photo(Photo(picture, depth=16), path)
            paths[kind] = str(path)
        return paths

    def _finished(self, out: Path) -> dict[str, Row]:
        """The sound rows that PROGRESS holds; those with a problem are tried again."""
        identity = {k: v for k, v in dataclasses.asdict(self.card).items() if k != "date"}
        path = out / PROGRESS
        lines = [_parsed(line) for line in _lines(path)]
        before = lines[0].get("card", {}) if lines else identity
        changed = [key for key in identity if before.get(key) != identity[key]]
        if changed:
            raise DatasetError(
                f"{out}: holds an unfinished evaluation of another {changed[0].replace('_', ' ')} "
                f"({before.get(changed[0])!r}); choose another folder with -o, or remove {path.name} there"
            )
        rows = {}
        for record in lines[1:]:
            with contextlib.suppress(KeyError, TypeError, ValueError):  # a line that was cut short
                row = row_from_json(record["row"])
                if not row.problem and Path(row.restored).is_file():
                    rows[str(record["file"])] = row
        kept = [{"card": identity}, *({"file": file, "row": row_as_json(row)} for file, row in rows.items())]
        with written_whole(path) as file:
            file.write("".join(json.dumps(record) + "\n" for record in kept).encode())
        return rows


def checked_picture(picture: object, size: tuple[int, int]) -> Tensor:
    """`picture` as float32 on the CPU if it is a finite image (3, H, W) of that size; a grey one (1, H, W) will do.

    Raises ArgumentError.
    """
    if not isinstance(picture, Tensor) or not picture.is_floating_point():
        found = f"a tensor of {picture.dtype}" if isinstance(picture, Tensor) else f"a {type(picture).__name__}"
        raise ArgumentError(f"the method gave {found}; wanted is a float tensor (3, H, W) in [0, 1]")
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or tuple(picture.shape[1:]) != size:
        raise ArgumentError(f"the restored picture is {tuple(picture.shape)}; wanted is (3, {size[0]}, {size[1]})")
    picture = picture.detach().float().cpu().expand(3, -1, -1)
    if not bool(torch.isfinite(picture).all()):
        raise ArgumentError("the restored picture holds NaN or infinite values")
    return picture


# --- threads ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[concurrent.futures.Executor | None]:
    if workers == 0:
        yield None
        return
    n_threads = torch.get_num_threads()
    # One core each: several threads that all spread over all cores are slower than one.
    pool = concurrent.futures.ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)  # what threads that begin later inherit


def _ahead(
    work: Callable[[_In], _Out], things: Iterable[_In], pool: concurrent.futures.Executor | None, n_ahead: int
) -> Iterator[_Out]:
    """`work(thing)` of each thing in their order, up to `n_ahead` of them begun before they are asked for."""
    if pool is None:
        yield from map(work, things)
        return
    waiting: collections.deque[concurrent.futures.Future[_Out]] = collections.deque()
    for thing in things:
        waiting.append(pool.submit(work, thing))
        if len(waiting) > n_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# --- small things -----------------------------------------------------------------------------------------------------


def _append(path: Path, record: dict[str, Any]) -> None:
    with refusals_named(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")


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


def _path(source: Source | None) -> str:
    return str(source.absolute()) if isinstance(source, Path) else ""


def _told(error: BaseException) -> str:
    if isinstance(error, ResharpError):
        return " ".join(str(error).split())
    return "not enough memory for this picture"


def _device_name(device: str) -> str:
    place = torch.device(device)
    return f"{device} ({torch.cuda.get_device_name(place)})" if place.type == "cuda" else device
