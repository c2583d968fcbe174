"""resharp deconvolve."""

from pathlib import Path
from typing import Any

import click

from ._batch import named_files, photo_arguments, run_over_photos


@click.command()
@photo_arguments
@click.option(
    "--kernel",
    required=True,
    metavar="K",
    help="The blur: a PNG, .npy or .mat file (FILE.mat#2 for the second of several), or gaussian:SIGMA, disk:RADIUS, "
    "motion:LENGTH,ANGLE. It is the picture that a point of light leaves.",
)
@click.option(
    "--noise-sigma",
    type=float,
    metavar="S",
    help="Noise on the [0,1] scale (0.01 = 2.55 grey levels). Left out: estimated from the photo (noise-blind).",
)
@click.option("--iterations", type=int, default=300, show_default=True, metavar="N", help="Steps of the solver.")
@click.option("--weights", default="dae-sigma11", show_default=True, metavar="NAME|FILE", help="The denoiser.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the prior's noise.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "bfloat16", "float32"]),
    default="auto",
    show_default=True,
    help="Of the denoiser; auto takes bfloat16 where the processor is fast at it.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps, ...")
@click.option("--flip-kernel", is_flag=True, help="Turn the kernel by 180 degrees, for tools that store it so.")
def deconvolve(
    photos: tuple[Path, ...],
    out: Path,
    as_json: bool,
    kernel: str,
    noise_sigma: float | None,
    iterations: int,
    weights: str,
    seed: int,
    precision: str,
    device: str,
    flip_kernel: bool,
) -> None:
    """Sharpen photos whose blur is known (Deep Mean-Shift Priors)."""
    import tqdm

    import resharp
    from resharp.photo import check_encodable
    from resharp.restorer import check_settings

    point_spread = resharp.parse_kernel(kernel)
    point_spread = point_spread.flip(0, 1) if flip_kernel else point_spread
    check_settings(noise_sigma, iterations, seed)  # a mistake here is one mistake, not one for each photo
    prior = resharp.load_prior(weights, precision=precision, device=device)

    def work(photo_path: Path, output: Path) -> dict[str, Any]:
        photo = resharp.read_photo(photo_path)
        check_encodable(photo, output)
        with tqdm.tqdm(total=iterations, desc=photo_path.name, unit="it", disable=None, leave=False) as bar:
            last: list[float] = []

            def on_step(step: resharp.Step) -> None:
                bar.update()
                last[:] = [float(step.noise_sigma), float(step.data_weight)]

            restored = resharp.deconvolve(
                photo.planes,
                point_spread,
                noise_sigma,
                prior=prior,
                n_iterations=iterations,
                seed=seed,
                device=device,
                on_step=on_step,
            )
        resharp.write_photo(photo.with_planes(restored), output)
        return {"noise_sigma": round(last[0], 6), "data_weight": round(last[1], 6), "iterations": iterations}

    run_over_photos(photos, out, work, as_json=as_json, read=named_files(kernel, weights))
