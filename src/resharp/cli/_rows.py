"""Commands over many photos: what a person hears meanwhile, how they end, and `--json`, in one form for all."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from resharp.errors import PhotoError

from ._terminal import PLACE, InterruptedRunError, complain, duration, json_option, say

if TYPE_CHECKING:
    from resharp.restorers.base import Progress
    from resharp.restorers.jobs import Job, Jobs
    from resharp.restorers.rows import Pace, Row

_LONG = 60.0  # seconds from which a person wants to be told beforehand
_NAMED = 5  # failed photos in the last line; each had a line of its own


def photos_and_out(command: Callable[..., Any]) -> Callable[..., Any]:
    """PHOTO|FOLDER... -o OUT --json, as every such command has them."""
    command = json_option(command)
    out = "A file, or a folder for several photos; those of a folder keep their places in it."
    command = click.option("-o", "--out", required=True, type=PLACE, help=out)(command)
    return click.argument("photos", nargs=-1, required=True, type=PLACE, metavar="PHOTO|FOLDER...")(command)


class Telling:
    """Tells of rows as they come and ends the command; a context, in which there is a bar.

    done: the word for what was done to the photos;  goes_on: whether the same command goes on after Ctrl-C.
    """

    def __init__(self, jobs: "Jobs", *, as_json: bool, done: str = "restored", goes_on: bool = False) -> None:
        self._jobs, self._as_json, self._done, self._goes_on = jobs, as_json, done, goes_on
        self._n_done, self._is_foretold, self._last_look = 0, False, 0.0
        self._began = time.perf_counter()
        if jobs.passed_over and not as_json:
            names = ", ".join(dict.fromkeys(path.name for path in jobs.passed_over[:3]))
            n_files = len(jobs.passed_over)
            complain(f"passed over {n_files} file{'s' * (n_files > 1)} that systems leave among photos ({names})")

    def __enter__(self) -> Self:
        import tqdm

        self._bar = tqdm.tqdm(
            total=len(self._jobs),
            desc=self._words(),
            bar_format="{percentage:3.0f}%|{bar}| {desc}",
            disable=True if self._as_json else None,
            leave=False,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.close()
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._goes_on:
            raise InterruptedRunError(
                f"interrupted; {self._n_done} of {len(self._jobs)} photos are done, the same command goes on"
            ) from None

    def on_file(self, row: "Row", pace: "Pace") -> None:
        """One more photo is done, or has failed."""
        self._n_done = pace.n_done
        if self._as_json:
            return
        if row.problem:
            with self._bar.external_write_mode():
                complain(row.problem)
        elif row.remark and not row.kept:
            with self._bar.external_write_mode():
                complain(f"{row.job.photo}: {row.remark}")
        self._foretell(row, pace)
        self._advance(float(self._n_done), pace)

    def progress_in(self, _: "Job") -> "Progress":
        """Within one photo, for methods that take long."""

        def progress(done: int, total: int) -> None:
            self._advance(self._n_done + done / total)

        return progress

    def _foretell(self, row: "Row", pace: "Pace") -> None:
        """Once, after the first photo: what the others will take, if that is long."""
        n_left = pace.n_files - pace.n_done
        if self._is_foretold or row.kept or row.problem or not n_left:
            return
        self._is_foretold = True
        if (pace.seconds_left or 0) > _LONG:
            photos = f"the other {n_left} photos" if n_left > 1 else "the other photo"
            with self._bar.external_write_mode():
                complain(f"{photos} will take about {duration(pace.seconds_left or 0)}")

    def _advance(self, n: float, pace: "Pace | None" = None) -> None:
        if self._bar.disable:
            return
        if pace is not None and time.perf_counter() - self._last_look > 1:  # it looks at the photos that are left
            self._bar.set_description_str(self._words(pace.seconds_left), refresh=False)
            self._last_look = time.perf_counter()
        self._bar.update(max(0.0, n - self._bar.n))

    def _words(self, seconds_left: float | None = None) -> str:
        if len(self._jobs) == 1:
            return self._jobs.jobs[0].photo.name
        left = f", about {duration(seconds_left)} left" if seconds_left is not None else ""
        return f"{self._n_done} of {len(self._jobs)} photos{left}"

    def end(self, rows: Sequence["Row"], *, more: Callable[["Row"], Mapping[str, Any]] = lambda row: row.facts) -> None:
        """The last line, or the JSON; `more` is what that says of each photo beside its files.

        Ends the process with the gravest exit code of its photos: 1 (failure) before 2 (user's mistake) before 0.
        """
        failed = [row for row in rows if row.problem]
        if self._as_json:
            click.echo(json.dumps(self._as_object(rows, more), allow_nan=False))
        else:
            if len(failed) < len(rows) or not rows:
                say(self._summary([row for row in rows if not row.problem]))
            self._tell_failed(rows, failed)
        codes = {row.exit_code for row in failed}
        if codes:
            sys.exit(1 if 1 in codes else 2)

    def _as_object(self, rows: Sequence["Row"], more: Callable[["Row"], Mapping[str, Any]]) -> dict[str, Any]:
        records: list[dict[str, Any]] = []
        for row in rows:
            record: dict[str, Any] = {"input": str(row.job.photo), "output": str(row.job.output)}
            if row.problem:
                record |= {"output": None, "error": row.problem}
            else:
                record |= {"seconds": round(row.seconds, 3), "kept": row.kept, **more(row)}
            records.append(record)
        return {
            "photos": records,
            "n_failed": sum(bool(row.problem) for row in rows),
            "existing": [str(job.output) for job in self._jobs.existing],
            "passed_over": [str(path) for path in self._jobs.passed_over],
        }

    def _tell_failed(self, rows: Sequence["Row"], failed: Sequence["Row"]) -> None:
        if len(rows) == 1 or not failed:
            return
        names = ", ".join(str(row.job.photo) for row in failed[:_NAMED])
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        complain(f"{len(failed)} of {len(rows)} photos failed: {names}{more}")

    def _summary(self, rows: Sequence["Row"]) -> str:
        n_kept = sum(row.kept for row in rows) + len(self._jobs.existing)
        n_new = len(rows) + len(self._jobs.existing) - n_kept
        took = duration(time.perf_counter() - self._began)
        if not n_new:
            return f"nothing to do: {_photos(n_kept)} {'is' if n_kept == 1 else 'are'} there already"
        if len(self._jobs) == 1 and not n_kept:
            return f"{rows[0].job.photo} -> {rows[0].job.output}  ({took})"
        before = f"; {n_kept} {'was' if n_kept == 1 else 'were'} there already" if n_kept else ""
        n_untouched = sum(bool(row.left_as_it_was) for row in rows if not row.kept)
        untouched = f", {n_untouched} left as {'it was' if n_untouched == 1 else 'they were'}" if n_untouched else ""
        return f"{_photos(n_new - n_untouched)} {self._done}{untouched}, in {self._place()}  ({took}){before}"

    def _place(self) -> Path:
        return self._jobs.folder or self._jobs.jobs[0].output.parent


def end_without_photos(jobs: "Jobs", *, as_json: bool) -> None:
    """Ends the process where none of the photos is there, as a run would, but before anything slow is loaded."""
    from resharp.restorers.rows import Pace, failed_row, stamp_of

    rows, pace = list["Row"](), Pace(jobs)
    for job in jobs:
        try:
            stamp_of(job.photo)
            return
        except PhotoError as error:
            rows.append(failed_row(job, error))
    with Telling(jobs, as_json=as_json) as telling:
        for row in rows:
            telling.on_file(row, pace)
    if rows:
        telling.end(rows)


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"
