"""What all commands that restore photos share: their options, and the way from those to files."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resharp.errors import ArgumentError

from ._rows import Telling, end_without_photos, photos_and_out
from ._terminal import (
    PLACE,
    Decorator,
    device_option,
    is_given,
    named_files,
    network_option,
    precision_option,
)

if TYPE_CHECKING:
    from torch import Tensor

    from resharp.restorers import Jobs, Journal, Restored, Restorer

_WITH_QUALITY = (".jpg", ".jpeg", ".webp")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What every such command is told."""

    photos: tuple[Path, ...]
    out: Path
    model: str
    network: str | None
    device: str
    precision: str
    tile: int | None
    seed: int
    skip_existing: bool
    shard: str | None
    workers: int
    quality: int | None
    report: Path | None
    as_json: bool

    @property
    def of_model(self) -> dict[str, Any]:
        """How a model is opened."""
        return {"device": self.device, "precision": self.precision, "network": self.network}


def restoring(model: str, *, of: str, task: str) -> Decorator:
    """The options that commands share; the command is given them as a `Wanted`, and its own ones by keyword.

    model: the default;  of: what it is;  task: what it must be for, a row of `models.TASKS`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            wanted = Wanted(**{field.name: given.pop(field.name) for field in dataclasses.fields(Wanted)})
            _check_at_once(wanted, task, given)
            from resharp.files import without_empty_folders

            with without_empty_folders(*(given[name] for name in given if name.endswith("_out") and given[name])):
                command(wanted, **given)

        wrapped: Callable[..., Any] = run
        for option in reversed(_options(model, of)):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def _options(model: str, of: str) -> list[Decorator]:
    return [
        photos_and_out,
        click.option("--model", default=model, show_default=True, metavar="NAME|FILE", help=f"{of}, by name or file."),
        network_option,
        device_option,
        precision_option,
        click.option(
            "--tile",
            type=int,
            metavar="N",
            help="Work in parts of NxN pixels, for less memory. Left out: whole photos, large ones in parts.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn, for each photo alike."),
        click.option("--skip-existing", is_flag=True, help="Leave out photos whose result is there, whatever made it."),
        click.option("--shard", metavar="I/N", help="Do part I of N alone, such as 3/16, for many machines."),
        click.option(
            "--workers",
            type=click.IntRange(0),
            default=2,
            show_default=True,
            help="Threads that read and write beside the model.",
        ),
        click.option(
            "--quality",
            type=click.IntRange(1, 100),
            metavar="N",
            help="Of JPEG and WebP.  [default: that of the photo as it came, else 95]",
        ),
        click.option(
            "--report", type=PLACE, metavar="PAGE.html", help="Write a page with all photos before and after."
        ),
    ]


def _check_at_once(wanted: Wanted, task: str, given: Mapping[str, Any]) -> None:
    """Raises what later would be raised, too, before torch is loaded: that takes seconds."""
    from resharp.degradations.light import checked_gamma
    from resharp.degradations.naming import check_named
    from resharp.degradations.ranges import checked_seed, checked_sigma
    from resharp.models import read_card
    from resharp.own_code import is_own
    from resharp.restorers import plan_jobs
    from resharp.restorers.rows import stamp_of

    if not any(path.exists() for path in wanted.photos):
        jobs = plan_jobs(wanted.photos, wanted.out, shard=wanted.shard, skip_existing=wanted.skip_existing)
        end_without_photos(jobs, as_json=wanted.as_json)
    if wanted.model != "blind" and not is_own(wanted.model):
        read_card(wanted.model, task=task)
    if wanted.report is not None and wanted.report.suffix.lower() not in (".html", ".htm"):
        page = wanted.report
        raise ArgumentError(f"{page}: a report is written as HTML; name a file such as {page.stem or 'page'}.html")
    checked_seed(wanted.seed)
    for name, check in (("noise_sigma", checked_sigma), ("gamma", checked_gamma), ("kernel", check_named)):
        if given.get(name) is not None:
            check(given[name])
    for name in ("mask", "blur_in"):
        if given.get(name) is not None:
            stamp_of(given[name])


samples_option: Decorator = click.option(
    "--samples",
    type=int,
    metavar="N",
    help="Keep the network's dropout on, as DeblurGAN's authors test it, and take the mean of N restorations.",
)


segmentation_option: Decorator = click.option(
    "--segmentation",
    metavar="F",
    help="For models that take one: .npy (classes, height, width) of the result's size, or package.module:function.",
)


def run_network(
    command: str, wanted: Wanted, *, samples: int | None, segmentation: str | None = None, **known: Any
) -> None:
    """Restore by a model for the task that the command is named after; `known` is what it is told, if anything."""
    if samples is None and is_given("seed"):
        raise click.UsageError("--seed is of the samples; give --samples, too, or leave it out.")
    made_by: dict[str, Any] = {"command": command, "samples": samples}
    read: tuple[str, ...] = ()
    if segmentation is not None:
        from resharp.restorers.segmentation import open_segmentation

        known["segmentation"] = maps = open_segmentation(segmentation)
        made_by["segmentation"] = segmentation if callable(maps) else hashlib.sha256(maps.numpy().tobytes()).hexdigest()
        read = (segmentation,)
    known = {name: value for name, value in known.items() if value is not None}

    def open_it() -> "Restorer":
        from resharp.restorers import open_restorer

        return open_restorer(wanted.model, task=command, tile=wanted.tile, samples=samples, **wanted.of_model)

    run_restorer(wanted, open_it, made_by, known=known, read=read)


def run_restorer(
    wanted: Wanted,
    open_it: Callable[[], "Restorer"],
    made_by: Mapping[str, Any],
    *,
    known: Mapping[str, Any] | None = None,
    read: tuple[str, ...] = (),
    keep: "Mapping[str, Callable[[Tensor], None]] | None" = None,
) -> None:
    """Restore photos to files, and end the process.  Mistakes that no photo makes are told before the first one.

    made_by: what the pictures depend on beside the options that all share;  known: what the restorer is told of every
    photo;  read: other files that the command reads;  keep: what takes a map of the restored photo, by its name.
    """
    from resharp.files import without_empty_folders

    jobs = _planned(wanted, read)
    with without_empty_folders(*(job.output for job in jobs)):
        jobs.check_writable()
        from resharp.restorers import Report, restore_files
        from resharp.restorers.base import check_known

        report = None if wanted.report is None else Report(wanted.report)
        restorer = open_it() if keep is None else Keeping(open_it(), keep)
        check_known(known or {}, restorer.accepts, name=wanted.model)
        is_folder = jobs.folder is not None and (len(wanted.photos) > 1 or wanted.photos[0].is_dir())
        journal = _journal(wanted, made_by, jobs) if is_folder and len(jobs) else None
        with Telling(jobs, as_json=wanted.as_json, goes_on=journal is not None) as telling:
            rows = restore_files(
                jobs,
                restorer,
                workers=wanted.workers,
                journal=journal,
                seed=wanted.seed,
                known=known,
                quality=wanted.quality,
                on_file=telling.on_file,
                progress_in=telling.progress_in,
                beside=None if report is None else report.keep,
            )
        if report is not None:
            report.write(rows)
    telling.end(rows, more=lambda row: {"model": wanted.model, **row.facts})


def one_photo(wanted: Wanted, option: str, beside: Path | None) -> Path:
    """The only photo of a command with an option that makes sense for one, and names a file of its own for it."""
    if len(wanted.photos) != 1 or wanted.photos[0].is_dir():
        raise click.UsageError(f"{option} is of one photo; name one.")
    if beside is not None and beside.resolve() in (wanted.photos[0].resolve(), wanted.out.resolve()):
        raise click.UsageError(f"{option} {beside}: is the photo or its result; name another file.")
    return wanted.photos[0]


class Keeping:
    """A restorer whose maps are handed on."""

    def __init__(self, restorer: "Restorer", keep: "Mapping[str, Callable[[Tensor], None]]") -> None:
        self._restorer, self._keep = restorer, keep
        self.contract, self.accepts = restorer.contract, restorer.accepts

    def __call__(self, image: "Tensor", **told: Any) -> "Restored":
        restored = self._restorer(image, **told)
        for name, take in self._keep.items():
            if name in restored.maps:
                take(restored.maps[name])
        return restored


def _planned(wanted: Wanted, read: tuple[str, ...]) -> "Jobs":
    from resharp.restorers import plan_jobs

    files = named_files(wanted.model, *read)
    jobs = plan_jobs(wanted.photos, wanted.out, shard=wanted.shard, skip_existing=wanted.skip_existing, read=files)
    outputs = [job.output for job in (*jobs.jobs, *jobs.existing)]
    if wanted.quality is not None and not any(path.suffix.lower() in _WITH_QUALITY for path in outputs):
        raise click.UsageError("--quality is of JPEG and WebP, and no result is written as one; leave it out.")
    return jobs


def _journal(wanted: Wanted, made_by: Mapping[str, Any], jobs: "Jobs") -> "Journal":
    """Of all that decides what the pictures are; not of the device, which changes last bits alone."""
    import resharp
    from resharp.models import BLIND, DEFAULT_DENOISER, read_card
    from resharp.own_code import is_own
    from resharp.restorers import Journal

    weights = DEFAULT_DENOISER if wanted.model == BLIND else wanted.model
    model = weights if is_own(weights) else read_card(weights).sha256
    shared = {name: getattr(wanted, name) for name in ("precision", "tile", "seed", "quality")}
    assert jobs.folder is not None
    return Journal(jobs.folder, {"resharp": resharp.__version__, "model": model, **shared, **made_by}, shard=jobs.shard)
