"""An evaluation run: every picture read, restored and judged; one that fails is a row of its own and ends nothing.

Threads read the next pictures and judge the last ones while the method works: codecs and torch work outside of
Python's lock, and pictures need not be copied from process to process.  Only a few pictures are in memory at once.
"""

import contextlib
import dataclasses
import datetime
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import resharp
from resharp.data.listing import Listing
from resharp.data.workers import checked_workers
from resharp.device import checked_device, is_out_of_memory
from resharp.errors import ArgumentError, OutputError, ResharpError
from resharp.files import refusals_named
from resharp.image import checked_scale
from resharp.locks import exclusive
from resharp.parallel import in_stages, threads
from resharp.photo import Photo, write_photo
from resharp.provenance import code_commit
from resharp.restorers.opening import has_no_pixels

from .cases import Case, CaseSet, Sample, Source, open_cases, read_sample
from .methods import Method, open_method
from .progress import finished_rows, note_row, refuse_other
from .protocols import Protocol, make_protocol
from .results import RESULTS, Card, Result, Row, read_result, write_result
from .scoring import Scorer, open_scorer

PROGRESS = "progress.jsonl"
WRITTEN = ("restored", "degraded", "clean")  # folders of a run's own pictures

OnRow = Callable[[Row, int, int], None]


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
    device: str = "auto",
    precision: str = "auto",
    network: str | None = None,
    samples: int | None = None,
    workers: int = 2,
    on_row: OnRow | None = None,
    say: Callable[[str], None] | None = None,
) -> Result:
    """Restore the pictures of a dataset with a method and judge them as a protocol says.

    method: weights by name or file, a built-in method ("identity", "bicubic", ...), a folder of restored pictures, or a
    callable (also as "package.module:name") that is given the image, float32 (3, H, W), and whichever of kernel,
    noise_sigma, scale and pattern its signature names and the protocol knows.
    data: a folder, manifest, pack or Listing;  protocol: a row of PROTOCOLS by name, or what `make_protocol` gave.
    device, precision, network, samples: of a model, as `open_restorer` takes them.
    out: a folder for results.json, results.csv and the restored pictures in 16 bits; a run that was stopped there goes
    on.  workers: threads that read and judge beside the method.  on_row: sees (row, number, count);  say: is told
    what the user ought to know before it begins, in lines.

    A picture that cannot be read, restored or judged is a row with a problem and without figures.  Raises ResharpError
    for what concerns all of them.
    """
    protocol = make_protocol(protocol) if isinstance(protocol, str) else protocol
    checked_device(device)
    checked_workers(workers)
    cases = open_cases(data, protocol, split=split, subset=subset, limit=limit)
    settings: dict[str, Any] = {"device": device, "precision": precision, "network": network, "samples": samples}
    opened = open_method(method, protocol, cases.dataset, match=match, **settings)
    folder = None if out is None else _checked_folder(Path(out), cases.dataset, method, data)
    run = _Run(protocol, opened, cases, open_scorer(protocol, cases.dataset), folder)
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
            self._refuse_other_results(self.out / RESULTS)
            yield finished_rows(self.out / PROGRESS, self.card, is_known=self.method.is_known)
            with refusals_named(self.out):
                (self.out / PROGRESS).unlink(missing_ok=True)

    def _refuse_other_results(self, path: Path) -> None:
        """Results of the same method, data and protocol are replaced; others took somebody's time."""
        if path.exists():
            before, own = (dataclasses.asdict(card) for card in (read_result(path).card, self.card))
            names = ("method", "data", "protocol")
            refuse_other(path, before, {name: own[name] for name in names}, "the results")

    def rows(self, finished: dict[str, Row], workers: int) -> Iterator[Row]:
        """A row for each case in their order, each written down before it is given out."""
        left = [case for case in self.cases.cases if case.file not in finished]
        with threads(workers) as pool:
            new = in_stages(left, self._read, self._restored, self._row, pool=pool, n_behind=workers)
            for case in self.cases.cases:
                if case.file in finished:
                    yield finished[case.file]
                    continue
                row = next(new)
                if self.out is not None:
                    note_row(self.out / PROGRESS, case.file, row)
                yield row

    def _read(self, case: Case) -> _Done:
        try:
            return _Done(case, read_sample(case, self.protocol))
        except Exception as error:
            return _Done(case, problem=_problem(error))

    def _restored(self, done: _Done) -> _Done:
        if done.sample is None:
            return done
        started = time.perf_counter()
        try:
            with torch.no_grad():
                restored = checked_picture(self.method.run(done.sample), done.sample.size)
        except Exception as error:
            return done._replace(problem=_problem(error))
        return done._replace(restored=restored, seconds=time.perf_counter() - started)

    def _row(self, done: _Done) -> Row:
        case, sample, restored, seconds, problem = done
        row = Row(case.name, {}, {}, seconds, problem, _path(case.degraded), _path(case.clean[0]) if case.clean else "")
        if sample is None or restored is None:
            return row
        try:
            row = dataclasses.replace(row, **self._written(sample, restored))
            figures, baseline, notes = self.scorer.row(sample, restored)
        except OutputError:  # a full disk is no picture's fault
            raise
        except Exception as error:
            return dataclasses.replace(row, problem=_problem(error))
        row = dataclasses.replace(row, figures=figures, baseline=baseline, notes=notes)
        return dataclasses.replace(row, clean=notes.get("frame", row.clean))

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
            path = self.out / kind / sample.case.file  # one of WRITTEN
            write_photo(Photo(picture, depth=16), path)
            paths[kind] = str(path)
        return paths


def checked_picture(picture: object, size: tuple[int, int]) -> Tensor:
    """`picture` as float32 on the CPU if it is a finite image (3, H, W) of that size; a grey one (1, H, W) will do.

    Raises ArgumentError.
    """
    if not isinstance(picture, Tensor) or not picture.is_floating_point() or has_no_pixels(picture):
        found = f"a {type(picture).__name__}"
        if isinstance(picture, Tensor):
            found = f"a tensor of {picture.dtype} ({picture.layout}, on {picture.device})"
        raise ArgumentError(f"the method gave {found}; wanted is a float tensor (3, H, W) in [0, 1]")
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or tuple(picture.shape[1:]) != size:
        raise ArgumentError(f"the restored picture is {tuple(picture.shape)}; wanted is (3, {size[0]}, {size[1]})")
    picture = picture.detach().float().cpu().expand(3, -1, -1)
    if not bool(torch.isfinite(picture.sum())) and not bool(torch.isfinite(picture).all()):  # the sum is faster
        raise ArgumentError("the restored picture holds NaN or infinite values")
    return checked_scale(picture)


# --- small things -----------------------------------------------------------------------------------------------------


def _checked_folder(out: Path, cases: Sequence[Case], *read: object) -> Path:
    """`out`, absolute.  Raises ArgumentError where pictures would be written among or over those that are read."""
    folders = [Path(place) for place in read if isinstance(place, str | Path) and Path(place).is_dir()]
    for place in folders:
        if out.resolve().is_relative_to(place.resolve()):
            raise ArgumentError(f"{out}: lies in {place}, whose pictures are read; name a folder elsewhere with -o")
    files = [source for case in cases for source in (case.degraded, *case.clean) if isinstance(source, Path)]
    written = [(out / kind).resolve() for kind in WRITTEN]
    for place in (*folders, *dict.fromkeys(file.parent for file in files)):
        if any(place.resolve().is_relative_to(one) for one in written):
            raise ArgumentError(
                f"{out}: pictures would be written to {place}, which are read; name a folder elsewhere with -o"
            )
    return out.absolute()


def _path(source: Source | None) -> str:
    return str(source.absolute()) if isinstance(source, Path) else ""


def _problem(error: Exception) -> str:
    """What a row says of the error; one that is not its picture's is raised on."""
    if isinstance(error, ResharpError):
        return " ".join(str(error).split())
    if not is_out_of_memory(error):
        raise error
    return "not enough memory for this picture"


def _device_name(device: str) -> str:
    place = torch.device(device)
    return f"{device} ({torch.cuda.get_device_name(place)})" if place.type == "cuda" else device
