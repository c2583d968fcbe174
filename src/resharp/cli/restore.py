"""resharp deblur, denoise, upscale and deconvolve."""

from typing import TYPE_CHECKING

import click

from ._restoring import Wanted, restoring, run_network, run_restorer, samples_option

if TYPE_CHECKING:
    from resharp.restorers import Restorer

_NOISE = "Noise on the [0,1] scale (0.01 = 2.55 grey levels)."


@click.command()
@restoring("deblur", of="A deblurrer")
@samples_option
def deblur(wanted: Wanted, samples: int | None) -> None:
    """Sharpen photos of which nothing else is known."""
    run_network("deblur", wanted, samples=samples)


@click.command()
@restoring("dae-sigma11", of="A denoiser")
@click.option("--noise-sigma", type=float, metavar="S", help=f"{_NOISE} For models that want to be told.")
@samples_option
def denoise(wanted: Wanted, noise_sigma: float | None, samples: int | None) -> None:
    """Take white noise off photos."""
    run_network("denoise", wanted, samples=samples, noise_sigma=noise_sigma)


@click.command()
@restoring(
    None, of="An upscaler", without="no upscaler comes with resharp yet; name weights of your own by --model FILE."
)
@samples_option
def upscale(wanted: Wanted, samples: int | None) -> None:
    """Make small photos larger, by the scale of the model; no such model comes with resharp yet."""
    run_network("upscale", wanted, samples=samples)


@click.command()
@restoring("dae-sigma11", of="The denoiser that serves as prior")
@click.option(
    "--kernel",
    required=True,
    metavar="K",
    help="The blur: a PNG, .npy or .mat file (FILE.mat#2 for the second of several), or gaussian:SIGMA, disk:RADIUS, "
    "motion:LENGTH,ANGLE. It is the picture that a point of light leaves.",
)
@click.option(
    "--noise-sigma", type=float, metavar="S", help=f"{_NOISE} Left out: estimated from the photo (noise-blind)."
)
@click.option("--iterations", type=int, default=300, show_default=True, metavar="N", help="Steps of the solver.")
@click.option("--flip-kernel", is_flag=True, help="Turn the kernel by 180 degrees, for tools that store it so.")
def deconvolve(wanted: Wanted, kernel: str, noise_sigma: float | None, iterations: int, flip_kernel: bool) -> None:
    """Sharpen photos whose blur is known (Deep Mean-Shift Priors)."""
    from resharp.degradations import parse_kernel

    spread = parse_kernel(kernel)
    spread = spread.flip(0, 1) if flip_kernel else spread

    def open_it() -> "Restorer":
        from resharp.restorers import BayesRestorer, open_denoiser

        denoiser = open_denoiser(wanted.model, **wanted.of_model)
        return BayesRestorer(denoiser, n_iterations=iterations, noise_sigma=noise_sigma, tile=wanted.tile)

    made_by = {"command": "deconvolve", "kernel": spread.tolist(), "noise": noise_sigma, "iterations": iterations}
    run_restorer(wanted, open_it, made_by, known={"kernel": spread}, read=(kernel,))
