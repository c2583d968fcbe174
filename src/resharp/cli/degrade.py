"""resharp degrade: a command for each kind of degradation; photos in, photos out, a plan of what was done.

Kinds, options, defaults and help come from DEGRADATIONS, where a field annotated with a text is an option.
"""

import dataclasses
import functools
import json
import time
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._groups import Group
from ._rows import Telling, end_without_photos, photos_and_out
from ._terminal import PLACE, is_given, is_same, named_files

if TYPE_CHECKING:
    from resharp.degradations import DegradationStep
    from resharp.restorers import Job, Jobs, Row

_TABLE = Path(__file__).with_name("degradations.json")


@click.group(cls=Group)
def degrade() -> None:
    """Make clean photos worse in a known way.  It can be written down and done again."""


@functools.cache
def _table() -> dict[str, Any]:
    """`described`, as `tools/write_tables.py` wrote it down: DEGRADATIONS needs torch, which is slow to load."""
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


def described() -> dict[str, Any]:
    """Of each kind the help and the options of its command, as JSON."""
    from resharp.degradations import DEGRADATIONS

    return {kind: {"help": _help_of(made), "options": _options_of(kind, made)} for kind, made in DEGRADATIONS.items()}


def _help_of(made: type) -> str:
    return " ".join((made.__doc__ or "").partition("\n\n")[0].split())


def _options_of(kind: str, made: Any) -> list[dict[str, Any]]:
    types = typing.get_type_hints(made, include_extras=True)
    defaults = {field.name: field.default for field in dataclasses.fields(made)}
    options = [
        _option_of(name, typing.get_args(types[name])[0], typing.get_args(types[name])[1], default)
        for name, default in defaults.items()
        if typing.get_origin(types[name]) is typing.Annotated
    ]
    if kind == "blur":
        options[0]["default"] = None  # there is no usual kernel
        noise = "Noise added after it, on the [0, 1] scale (0.01 = 2.55 grey levels)."
        options.insert(1, _option_of("noise_sigma", float, noise, 0.0))
    return options


def _option_of(name: str, kind: Any, text: str, default: Any) -> dict[str, Any]:
    """type: bool, float, int or str, or the list of its choices."""
    choices = list(typing.get_args(kind)) if typing.get_origin(kind) is typing.Literal else None
    parsed = next((one for one in (bool, float, int) if one in (kind, *typing.get_args(kind))), str)
    return {"name": name, "type": choices or parsed.__name__, "default": default, "help": text}


def _command(kind: str) -> click.Command:
    @click.command(kind, help=_table()[kind]["help"])
    @photos_and_out
    def command(photos: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> None:
        _run(kind, photos, out, options, as_json=as_json)

    command.params += [*(_option(**one) for one in _table()[kind]["options"]), *_ends()]
    return command


def _option(name: str, type: str | list[str], default: Any, help: str) -> click.Option:  # noqa: A002 - as JSON has them
    """A flag, a choice, a number or a text; a flag that is on by default is one that turns it off."""
    settings: dict[str, Any] = {"default": default, "show_default": default is not None, "help": help}
    if type == "bool":
        names = [f"--{'no-' if default else ''}{_dashed(name)}", name]
        return click.Option(names, is_flag=True, flag_value=not default, **settings | {"show_default": False})
    if isinstance(type, list):
        settings["type"] = click.Choice(type)
    elif type == "str":
        settings |= {"type": str, "metavar": "NAME|FILE" if name == "model" else "K"}
    else:
        settings |= {"type": {"float": float, "int": int}[type], "metavar": "N"}
    return click.Option([f"--{_dashed(name)}", name], **settings)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _ends() -> list[click.Option]:
    seed = "Seed of what is drawn; the second photo has seed + 1."
    return [
        click.Option(["--seed"], type=int, default=0, show_default=True, help=seed),
        click.Option(["--plan-out"], type=PLACE, metavar="F", help="Write down what is done, for --plan, as JSON."),
        click.Option(["--plan"], type=PLACE, metavar="F", help="Do what this plan says instead."),
    ]


def _run(kind: str, photos: Sequence[Path], out: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from resharp.degradations.naming import check_named
    from resharp.restorers import Pace, plan_jobs

    plan, plan_out = options.pop("plan"), options.pop("plan_out")
    read = [*named_files(options.get("kernel"), options.get("model")), *([plan] if plan else [])]
    jobs = plan_jobs(photos, out, read=read)
    if plan_out is not None:
        _refuse_loss(plan_out, [*photos, out, *(job.output for job in jobs), *read])
    if plan is None and "kernel" in options:
        if options["kernel"] is None:
            raise click.UsageError("Missing option '--kernel'.")
        check_named(options["kernel"])
    end_without_photos(jobs, as_json=as_json)
    from resharp.degradations import write_steps

    steps = _steps(kind, jobs, plan, options)
    pace, rows = Pace(jobs), list["Row"]()
    with Telling(jobs, as_json=as_json, done="degraded") as telling:
        try:
            for name, job in zip(steps, jobs, strict=True):
                rows.append(_degraded(job, steps[name]))
                pace.note(rows[-1])
                telling.on_file(rows[-1], pace)
        finally:
            if plan_out is not None and any(not row.problem for row in rows):  # also of what Ctrl-C cut short
                write_steps(list(steps.items()), plan_out)
    told = dict(zip(jobs, steps.values(), strict=True))
    telling.end(rows, more=lambda row: {"steps": [step.as_json() for step in told[row.job]]})


def _steps(
    kind: str, jobs: "Jobs", plan: Path | None, options: Mapping[str, Any]
) -> "dict[str, list[DegradationStep]]":
    """What is done to each photo, by its name: below the folder of the results, where there is one."""
    from resharp.degradations import DEGRADATIONS, DegradationStep, Noise, read_steps

    names = [job.photo.name if jobs.folder is None else job.output.relative_to(jobs.folder).as_posix() for job in jobs]
    if plan is not None:
        _refuse_other_options()
        return dict(read_steps(plan, names, kind=kind))
    seed, noise_sigma = options["seed"], options.get("noise_sigma", 0.0)
    own = {name: value for name, value in options.items() if name not in ("seed", "noise_sigma")}
    made: Any = DEGRADATIONS[kind]
    chain = [made(**own), *([Noise(noise_sigma)] if noise_sigma else [])]
    return {name: [DegradationStep(one, seed + index) for one in chain] for index, name in enumerate(names)}


def _degraded(job: "Job", steps: "Sequence[DegradationStep]") -> "Row":
    from resharp.photo import output_format, read_photo, write_photo
    from resharp.restorers import Row, degrade
    from resharp.restorers.rows import failed_row

    started = time.perf_counter()
    try:
        output_format(job.output)
        photo = read_photo(job.photo)
        write_photo(degrade(photo, steps), job.output)
    except Exception as error:
        return failed_row(job, error)
    height, width = photo.image.shape[-2:]
    return Row(job, seconds=time.perf_counter() - started, megapixels=height * width / 1e6)


def _refuse_loss(plan_out: Path, others: list[Path]) -> None:
    """Raises RecipeError where the plan would be written over something else, or under the name of a photo."""
    from resharp.errors import RecipeError
    from resharp.photo import SUFFIXES

    if plan_out.suffix.lower() in SUFFIXES:
        raise RecipeError(f"{plan_out}: is the name of a photo; a plan is JSON, name a .json file for it")
    if any(is_same(plan_out, other) for other in others):
        raise RecipeError(f"{plan_out}: is read or written by this command itself; name another file for the plan")


def _refuse_other_options() -> None:
    ends = ("photos", "out", "as_json", "plan", "plan_out")
    given = [name for name in click.get_current_context().params if name not in ends and is_given(name)]
    if given:
        raise click.UsageError(
            f"--plan holds every setting; leave --{_dashed(given[0])} out, or change it in the plan."
        )


for _kind in _table():
    degrade.add_command(_command(_kind))
