"""resharp degrade: a command for each kind of degradation, all with the same ends: photos in, photos out, a recipe."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from resharp.errors import RecipeError

from ._batch import PLACE, is_same, named_files, photo_arguments, planned_outputs, run_over_photos

_COMMON = {"photos", "out", "as_json", "seed", "recipe", "recipe_out"}
_GAMMA = "The camera's response: 1 takes pixel values for light, 2.2 is usual."


@click.group()
def degrade() -> None:
    """Make clean photos worse in a known way, which can be written down and done again."""


def _ends(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command here has around its own options."""
    command = click.option("--recipe", type=PLACE, metavar="F", help="Do what this recipe says instead.")(command)
    command = click.option(
        "--recipe-out", type=PLACE, metavar="F", help="Write down what is done, for --recipe, as JSON."
    )(command)
    command = click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Seed of what is drawn; the second photo has seed + 1.",
    )(command)
    return photo_arguments(command)


def _number(name: str, default: float, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, type=type(default), default=default, show_default=True, metavar="N", help=text)


@degrade.command()
@_ends
@click.option("--kernel", metavar="K", help="gaussian:1.6, disk:3, motion:15,30, or a PNG, .npy or .mat file.")
@click.option(
    "--noise-sigma", type=float, default=0.0, metavar="S", help="Noise on the [0,1] scale (0.01 = 2.55 grey levels)."
)
@_number("--gamma", 1.0, _GAMMA)
def blur(kernel: str | None, noise_sigma: float, gamma: float, **ends: Any) -> None:
    """Blur photos with a kernel, then add noise."""
    from resharp.degradations import KernelBlur, Noise

    if kernel is None and ends["recipe"] is None:
        raise click.UsageError("Missing option '--kernel'.")
    blurs = [] if kernel is None else [KernelBlur(kernel, gamma)]
    _run("blur", [*blurs, *([Noise(noise_sigma)] if noise_sigma else [])], read=named_files(kernel), **ends)


@degrade.command()
@_ends
@_number("--length", 60.0, "Length of the path, in pixels.")
@_number("--anxiety", 0.005, "How much the camera trembles, is pulled back and jerks; published: 0.003 to 0.01.")
@_number("--exposure", 1.0, "The part of the path that is seen; published: 0.1, 0.5 and 1.")
@_number("--gamma", 1.0, _GAMMA)
@click.option("--published", is_flag=True, help="As DeblurGAN's script does it: black borders, stretched contrast.")
def trajectory(**options: Any) -> None:
    """Blur by one random camera trajectory, the same over the whole frame (DeblurGAN's synthetic blur)."""
    from resharp.degradations import TrajectoryBlur

    own, ends = _apart(options)
    _run("trajectory", [TrajectoryBlur(**own)], **ends)


@degrade.command()
@_ends
@_number("--extent", 16.0, "How far the picture's centre travels by turning the camera, in pixels.")
@_number("--sway", 4.0, "How far it travels by moving the camera sideways, in pixels.")
@_number("--roll", 0.5, "Rotation about the viewing axis, in degrees.")
@_number("--zoom", 0.005, "Change of scale by moving forward (0.01 = 1 %).")
@_number("--n-objects", 0, "Soft-edged cut-outs that move on their own.")
@_number("--object-extent", 16.0, "How far these travel, in pixels.")
@_number("--highlights", 0.0, "How many times brighter than white small clipped spots were; they leave streaks.")
@_number("--read-noise", 0.0, "Sigma in linear light on the [0,1] scale.")
@_number("--photons", 0.0, "Photons at white, for shot noise; 0: none.")
@_number("--gamma", 2.2, _GAMMA)
@_number("--n-frames", 0, "Frames to average; 0: one for each pixel of the way. GoPro's blur has 7 to 13.")
def shake(**options: Any) -> None:
    """Shake the camera during the exposure: blur that changes over the frame, moving objects, streaks, noise."""
    from resharp.degradations import Shake

    own, ends = _apart(options)
    _run("shake", [Shake(**own)], **ends)


@degrade.command()
@_ends
@_number("--radius", 3.0, "Of the disk that a point becomes, in pixels.")
@_number("--gamma", 2.2, _GAMMA)
def defocus(**options: Any) -> None:
    """Take photos out of focus."""
    from resharp.degradations import Defocus

    own, ends = _apart(options)
    _run("defocus", [Defocus(**own)], **ends)


@degrade.command()
@_ends
@_number("--sigma", 1.6, "Along --angle, in pixels.")
@click.option("--sigma-across", type=float, metavar="N", help="Across it.  [default: the same]")
@_number("--angle", 0.0, "In degrees, 0 to the right, counter-clockwise.")
@_number("--gamma", 1.0, _GAMMA)
def gaussian(**options: Any) -> None:
    """Blur by a Gaussian, isotropic or not."""
    from resharp.degradations import GaussianBlur

    own, ends = _apart(options)
    _run("gaussian", [GaussianBlur(**own)], **ends)


@degrade.command()
@_ends
@_number("--factor", 4, "How many times smaller.")
@click.option(
    "--method",
    type=click.Choice(["bicubic", "bilinear", "area"]),
    default="bicubic",
    show_default=True,
    help="Bicubic is MATLAB's imresize, as published test sets are made.",
)
@click.option("--cut", is_flag=True, help="Cut off what is over where the sides are no multiples of the factor.")
@click.option("--no-rounding", is_flag=True, help="Keep fractions between the axes; published sets round to 8 bits.")
def downscale(no_rounding: bool, **options: Any) -> None:
    """Make photos smaller, antialiased."""
    from resharp.degradations import Downscale

    own, ends = _apart(options)
    _run("downscale", [Downscale(eight_bit=not no_rounding, **own)], **ends)


@degrade.command()
@_ends
@click.option(
    "--pattern", type=click.Choice(["RGGB", "BGGR", "GRBG", "GBRG"]), default="RGGB", show_default=True, help="Bayer's."
)
@click.option(
    "--demosaic",
    type=click.Choice(["malvar", "bilinear", "none"]),
    default="none",
    show_default=True,
    help="Bring the colours back, or leave one grey plane.",
)
def mosaic(**options: Any) -> None:
    """See one colour a pixel, as a camera's sensor does."""
    from resharp.degradations import Mosaicked

    own, ends = _apart(options)
    _run("mosaic", [Mosaicked(**own)], **ends)


@degrade.command()
@_ends
@_number("--sigma", 0.01, "Read noise on the [0,1] scale (0.01 = 2.55 grey levels).")
@_number("--photons", 0.0, "Photons at white, for shot noise; 0: none.")
@_number("--gamma", 1.0, _GAMMA)
def noise(**options: Any) -> None:
    """Add Gaussian read noise and Poisson shot noise."""
    from resharp.degradations import Noise

    own, ends = _apart(options)
    _run("noise", [Noise(**own)], **ends)


@degrade.command()
@_ends
@_number("--quality", 75, "1 to 100, on libjpeg's scale.")
@click.option(
    "--subsampling",
    type=click.Choice(["4:4:4", "4:2:2", "4:2:0"]),
    default="4:2:0",
    show_default=True,
    help="Of the colour.",
)
def jpeg(**options: Any) -> None:
    """Compress photos as JPEG does; the output's own format adds nothing to that if it is PNG or TIFF."""
    from resharp.degradations import Jpeg

    own, ends = _apart(options)
    _run("jpeg", [Jpeg(**own)], **ends)


def _apart(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(a kind's own options, the common ones)."""
    own = {name: value for name, value in options.items() if name not in _COMMON}
    return own, {name: value for name, value in options.items() if name in _COMMON}


def _run(
    kind: str,
    degradations: list[Any],
    *,
    photos: tuple[Path, ...],
    out: Path,
    as_json: bool,
    seed: int,
    recipe: Path | None,
    recipe_out: Path | None,
    read: Sequence[Path] = (),
) -> None:
    import resharp
    from resharp.degradations import DegradationStep, read_recipes, write_recipes

    read = [*read, *([recipe] if recipe else [])]
    outputs = planned_outputs(photos, out, read)
    if recipe_out is not None:
        _refuse_loss(recipe_out, [*photos, out, *outputs, *read])
    if recipe is None:
        names = [photo.name for photo in photos]
        recipes = [(name, [DegradationStep(one, seed + i) for one in degradations]) for i, name in enumerate(names)]
    else:
        _refuse_other_options()
        recipes = read_recipes(recipe, [photo.name for photo in photos], kind=kind)
    steps = dict(zip(photos, (steps for _, steps in recipes), strict=True))
    done = list[Path]()

    def work(photo_path: Path, output: Path) -> dict[str, Any]:
        resharp.output_format(output)
        resharp.write_photo(resharp.degrade(resharp.read_photo(photo_path), steps[photo_path]), output)
        done.append(output)
        return {"steps": [step.as_json() for step in steps[photo_path]]}

    try:
        run_over_photos(photos, out, work, as_json=as_json, read=read)
    finally:
        if recipe_out is not None and done:  # also of what Ctrl-C cut short
            write_recipes(recipes, recipe_out)


def _refuse_loss(recipe_out: Path, others: list[Path]) -> None:
    """Raises RecipeError where the recipe would be written over something else, or under the name of a photo."""
    from resharp.photo import SUFFIXES

    if recipe_out.suffix.lower() in SUFFIXES:
        raise RecipeError(f"{recipe_out}: is the name of a photo; a recipe is JSON, name a .json file for it")
    if any(is_same(recipe_out, other) for other in others):
        raise RecipeError(f"{recipe_out}: is read or written by this command itself; name another file for the recipe")


def _refuse_other_options() -> None:
    context = click.get_current_context()
    given = [
        name
        for name in context.params
        if name not in _COMMON - {"seed"}
        and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        option = given[0].replace("_", "-")
        raise click.UsageError(f"--recipe holds every setting; leave --{option} out, or change it in the recipe.")
