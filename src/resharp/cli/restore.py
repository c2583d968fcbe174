"""resharp deblur, denoise, upscale, deconvolve, inpaint and demosaic."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._restoring import Wanted, one_photo, restoring, run_network, run_restorer, samples_option, segmentation_option
from ._terminal import PLACE, is_given

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from resharp.degradations import LinearDegradation
    from resharp.kernel_estimation import FoundBlur
    from resharp.restorers import Restorer

_GAMMA = "Blur happens in pixel values ** G: 1 as they are, 2.2 in light, as cameras see it."
_NOISE = "Noise on the [0,1] scale (0.01 = 2.55 grey levels)."


@click.command()
@restoring(
    "blind-refined",
    of="`blind` finds the blur and undoes it, `blind-refined` refines that; or a network",
    task="deblur",
)
@samples_option
@segmentation_option
@click.option("--gamma", type=float, metavar="G", help=f"{_GAMMA} Of `blind` and `blind-refined`.  [default: found]")
@click.option(
    "--blur-out", type=PLACE, metavar="F", help="Keep the blur that was found: .npz for --blur-in, or a picture of it."
)
@click.option(
    "--blur-in", type=PLACE, metavar="F.npz", help="Undo this blur, which was found before, and perhaps edited."
)
@click.option(
    "--trust-out",
    type=PLACE,
    metavar="F.png",
    help="A grey picture of where the result agrees with the photo (white) and where it contradicts it (black).",
)
def deblur(
    wanted: Wanted,
    samples: int | None,
    segmentation: str | None,
    gamma: float | None,
    blur_out: Path | None,
    blur_in: Path | None,
    trust_out: Path | None,
) -> None:
    """Sharpen photos of which nothing else is known.  Those without blur come back as they were."""
    from resharp.models import finds_blur

    if not finds_blur(wanted.model):
        if any(option is not None for option in (gamma, blur_out, blur_in, trust_out)):
            raise click.UsageError(
                "--gamma, --blur-out, --blur-in and --trust-out are of blind deblurring; leave them or --model out."
            )
        run_network("deblur", wanted, samples=samples, segmentation=segmentation)
        return
    if samples is not None or segmentation is not None or wanted.tile is not None or is_given("seed"):
        raise click.UsageError(
            "--samples, --seed, --tile and --segmentation are of networks that look for no blur; leave them out, or "
            "name one by --model, such as dbgan."
        )
    known = {}
    if blur_in is not None or blur_out is not None:
        known["blur"] = _blur(wanted, gamma, blur_in, blur_out)

    def open_it() -> "Restorer":
        from resharp.restorers import open_restorer

        return open_restorer(wanted.model, task="deblur", gamma=gamma, **wanted.of_model)

    read = () if blur_in is None else (str(blur_in),)
    made_by = {"command": "deblur", "gamma": gamma, "blur": None if blur_in is None else blur_in.read_bytes().hex()}
    keep = None if trust_out is None else {"trust": _to_file(wanted, trust_out, "--trust-out")}
    run_restorer(wanted, open_it, made_by, known=known, read=read, keep=keep)


def _to_file(wanted: Wanted, path: Path, option: str) -> "Callable[[Tensor], None]":
    """Writes a map (1, H, W), or a kernel, of the one photo; tells before whether that can be."""
    from resharp.files import check_writable
    from resharp.photo import output_format

    one_photo(wanted, option, path)
    output_format(path)
    check_writable(path)
    from resharp.degradations import write_kernel
    from resharp.photo import Photo, write_photo

    if option == "--kernel-out":
        return lambda kernel: write_kernel(kernel, path)
    return lambda shade: write_photo(Photo(shade.cpu().expand(3, -1, -1), grey=True), path)


def _blur(wanted: Wanted, gamma: float | None, blur_in: Path | None, blur_out: Path | None) -> "FoundBlur":
    """The blur of the one photo, read or found, and kept if that is wanted."""
    place = one_photo(wanted, "--blur-out" if blur_in is None else "--blur-in", blur_out)
    from resharp.degradations import read_field, write_field
    from resharp.kernel_estimation import FoundBlur, draw_field, find_blur
    from resharp.photo import Photo, read_photo, write_photo

    photo = read_photo(place)
    found = find_blur(photo.image, gamma=gamma) if blur_in is None else FoundBlur(read_field(blur_in))
    field = found.field
    if field is not None and blur_out is not None and blur_out.suffix == ".npz":
        write_field(field, blur_out)
    elif field is not None and blur_out is not None:
        write_photo(Photo(draw_field(photo.image, field)), blur_out)
    return found


@click.command()
@restoring("denoiser", of="A denoiser", task="denoise")
@click.option("--noise-sigma", type=float, metavar="S", help=f"{_NOISE} Left out: estimated, if the model takes it.")
@samples_option
def denoise(wanted: Wanted, noise_sigma: float | None, samples: int | None) -> None:
    """Take white noise off photos."""
    run_network("denoise", wanted, samples=samples, noise_sigma=noise_sigma)


@click.command()
@restoring("upscale", of="An upscaler", task="upscale")
@samples_option
@segmentation_option
def upscale(wanted: Wanted, samples: int | None, segmentation: str | None) -> None:
    """Make small photos larger.  By the scale of the model: four times on each side by the one that comes with it."""
    run_network("upscale", wanted, samples=samples, segmentation=segmentation)


@click.command()
@restoring("denoiser-unrolled", of="The denoiser that serves as prior (of `--solver dmsp` dae-sigma11)", task="denoise")
@click.option(
    "--kernel",
    required=True,
    metavar="K",
    help="The blur: a PNG, .npy or .mat file (FILE.mat#2 for the second of several), or gaussian:SIGMA, disk:RADIUS, "
    "motion:LENGTH,ANGLE. It is the picture that a point of light leaves. `estimate` finds it in each photo, "
    "estimate:31 with up to 31 pixels.",
)
@click.option("--kernel-out", type=PLACE, metavar="K.png", help="Keep the kernel, as a picture that --kernel takes.")
@click.option(
    "--noise-sigma", type=float, metavar="S", help=f"{_NOISE} Left out: estimated from the photo (noise-blind)."
)
@click.option(
    "--solver",
    default="half-quadratic",
    show_default=True,
    metavar="NAME",
    help="half-quadratic, or dmsp, the published iteration of Deep Mean-Shift Priors.",
)
@click.option(
    "--iterations",
    type=int,
    metavar="N",
    help="Steps of the solver.  [default: 5 to 8 by the noise, 16 of other denoisers, 300 of dmsp]",
)
@click.option("--gamma", type=float, default=1.0, show_default=True, metavar="G", help=_GAMMA)
@click.option("--samples", type=int, metavar="N", help="The mean of N runs that differ in noise which they draw.")
@click.option(
    "--spread-out",
    type=PLACE,
    metavar="F.png",
    help="A picture of where the samples differ, ten times as bright: their standard deviation.",
)
@click.option("--flip-kernel", is_flag=True, help="Turn the kernel by 180 degrees, for tools that store it so.")
def deconvolve(
    wanted: Wanted,
    kernel: str,
    kernel_out: Path | None,
    noise_sigma: float | None,
    solver: str,
    iterations: int | None,
    gamma: float,
    samples: int | None,
    spread_out: Path | None,
    flip_kernel: bool,
) -> None:
    """Sharpen photos whose blur is known (Deep Mean-Shift Priors)."""
    from resharp.degradations import parse_kernel
    from resharp.degradations.naming import largest_named
    from resharp.restorers.bayes import usual_denoiser

    if not is_given("model"):
        wanted = dataclasses.replace(wanted, model=usual_denoiser(solver))
    is_found = largest_named(kernel) is not None
    if is_found and flip_kernel:
        raise click.UsageError("--flip-kernel is of kernels from files; one that is estimated is not turned.")
    spread = None if is_found else parse_kernel(kernel)
    if spread is not None and flip_kernel:
        spread = spread.flip(0, 1)

    def open_it() -> "Restorer":
        from resharp.restorers import BayesRestorer, open_denoiser

        denoiser = open_denoiser(wanted.model, **wanted.of_model)
        return BayesRestorer(
            denoiser,
            solver=solver,
            n_iterations=iterations,
            noise_sigma=noise_sigma,
            gamma=gamma,
            tile=wanted.tile,
            samples=samples,
        )

    if spread_out is not None and samples is None:
        raise click.UsageError("--spread-out is of samples; give --samples, too.")
    settings = {"noise": noise_sigma, "solver": solver, "iterations": iterations, "gamma": gamma, "samples": samples}
    made_by = {"command": "deconvolve", "kernel": kernel if spread is None else spread.tolist(), **settings}
    keep = {} if kernel_out is None else {"kernel": _to_file(wanted, kernel_out, "--kernel-out")}
    if spread_out is not None:
        write = _to_file(wanted, spread_out, "--spread-out")
        keep["spread"] = lambda spread: write(spread.mean(-3, keepdim=True).mul(10).clamp(0, 1))
    read = () if spread is None else (kernel,)
    run_restorer(wanted, open_it, made_by, known={"kernel": kernel if spread is None else spread}, read=read, keep=keep)


@click.command()
@restoring("denoiser-light", of="The denoiser that serves as prior", task="denoise")
@click.option(
    "--mask", required=True, type=PLACE, metavar="M", help="A picture of the photo's size, white where to fill."
)
@click.option("--noise-sigma", type=float, metavar="S", help=f"{_NOISE} Left out: what is not filled stays as it is.")
def inpaint(wanted: Wanted, mask: Path, noise_sigma: float | None) -> None:
    """Fill scratches, dust and writing from what is around.  By Deep Mean-Shift Priors."""
    from resharp.degradations import Mask
    from resharp.photo import read_photo

    operator = Mask(read_photo(mask).planes.mean(0), name=f"the mask {mask}")
    made_by = {"command": "inpaint", "mask": mask.read_bytes().hex(), "noise": noise_sigma}
    _undo(wanted, operator, noise_sigma, made_by, read=(str(mask),))


@click.command()
@restoring("denoiser-light", of="The denoiser that serves as prior", task="denoise")
@click.option(
    "--pattern",
    type=click.Choice(["RGGB", "BGGR", "GRBG", "GBRG"], case_sensitive=False),
    default="RGGB",
    show_default=True,
    help="The colours of the upper left pixels, in rows.",
)
@click.option("--noise-sigma", type=float, metavar="S", help=f"{_NOISE} Left out: none; samples stay as they are.")
def demosaic(wanted: Wanted, pattern: str, noise_sigma: float | None) -> None:
    """Find the colours of a sensor's Bayer mosaic.  It is a grey picture; by Deep Mean-Shift Priors."""
    from resharp.degradations import Mosaic

    made_by = {"command": "demosaic", "pattern": pattern, "noise": noise_sigma}
    _undo(wanted, Mosaic(pattern), noise_sigma, made_by)


def _undo(
    wanted: Wanted,
    degradation: "LinearDegradation",
    noise_sigma: float | None,
    made_by: dict[str, Any],
    read: tuple[str, ...] = (),
) -> None:
    if is_given("seed"):
        raise click.UsageError("nothing is drawn here; leave --seed out.")

    def open_it() -> "Restorer":
        from resharp.restorers import BayesRestorer, open_denoiser

        denoiser = open_denoiser(wanted.model, **wanted.of_model)
        return BayesRestorer(denoiser, degradation=degradation, noise_sigma=noise_sigma, tile=wanted.tile)

    run_restorer(wanted, open_it, made_by, read=read)
