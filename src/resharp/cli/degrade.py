"""resharp degrade: a command for each kind of degradation; photos in, photos out, a plan of what was done.

Kinds, options, defaults and help come from DEGRADATIONS, where a field annotated with a text is an option.
"""

import dataclasses
import time
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._groups import Group
from ._rows import Telling, photos_and_out
from ._terminal import PLACE, is_given, is_same, named_files

if TYPE_CHECKING:
    from resharp.degradations import DegradationStep
    from resharp.restorers import Job, Jobs, Row

_KINDS = ("blur", "trajectory", "shake", "defocus", "gaussian", "downscale", "mosaic", "noise", "jpeg", "realistic")


class _Kinds(Group):
    """A command for each kind, made when it is asked for: torch is slow to load."""

    def list_commands(self, context: click.Context) -> list[str]:
        del context
        return list(_KINDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        del context
        return _command(name) if name in _KINDS else None


@click.group(cls=_Kinds)
def degrade() -> None:
    """Make clean photos worse in a known way, which can be written down and done again."""


def _command(kind: str) -> click.Command:
    from resharp.degradations import DEGRADATIONS

    first = (DEGRADATIONS[kind].__doc__ or "").partition("\n\n")[0]

    @click.command(kind, help=" ".join(first.split()))
    @photos_and_out
    def command(photos: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> None:
        _run(kind, photos, out, options, as_json=as_json)

    command.params += [*_own_options(kind), *_ends()]
    return command


def _own_options(kind: str) -> list[click.Option]:
    from resharp.degradations import DEGRADATIONS

    made = DEGRADATIONS[kind]
    types = typing.get_type_hints(made, include_extras=True)
    defaults = {field.name: field.default for field in dataclasses.fields(made)}  # type: ignore[arg-type]  # all are
    options = [
        _option(name, typing.get_args(types[name])[0], typing.get_args(types[name])[1], default)
        for name, default in defaults.items()
        if typing.get_origin(types[name]) is typing.Annotated
    ]
    if kind == "blur":
        options[0].default, options[0].show_default = None, False  # there is no usual kernel
        noise = "Noise added after it, on the [0, 1] scale (0.01 = 2.55 grey levels)."
        options.insert(1, _option("noise_sigma", float, noise, 0.0))
    return options


def _option(name: str, kind: Any, text: str, default: Any) -> click.Option:
    """A flag, a choice, a number or a text; a flag that is on by default is one that turns it off."""
    settings: dict[str, Any] = {"default": default, "show_default": default is not None, "help": text}
    if kind is bool:
        names = [f"--{'no-' if default else ''}{_dashed(name)}", name]
        return click.Option(names, is_flag=True, flag_value=not default, **settings | {"show_default": False})
    if typing.get_origin(kind) is typing.Literal:
        settings["type"] = click.Choice(typing.get_args(kind))
    else:
        parsed = next((one for one in (float, int) if one in (kind, *typing.get_args(kind))), str)
        settings |= {"type": parsed, "metavar": "N" if parsed is not str else "NAME|FILE" if name == "model" else "K"}
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
    from resharp.degradations import write_steps
    from resharp.restorers import Pace, plan_jobs

    plan, plan_out = options.pop("plan"), options.pop("plan_out")
    read = [*named_files(options.get("kernel"), options.get("model")), *([plan] if plan else [])]
    jobs = plan_jobs(photos, out, read=read)
    if plan_out is not None:
        _refuse_loss(plan_out, [*photos, out, *(job.output for job in jobs), *read])
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
    if own.get("kernel", "") is None:
        raise click.UsageError("Missing option '--kernel'.")
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
