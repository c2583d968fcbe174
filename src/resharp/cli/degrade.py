"""resharp degrade."""

from pathlib import Path
from typing import Any

import click

from ._batch import photo_arguments, run_over_photos


@click.group()
def degrade() -> None:
    """Make clean photos worse in a known way."""


@degrade.command()
@photo_arguments
@click.option(
    "--kernel", required=True, metavar="K", help="gaussian:1.6, disk:3, motion:15,30, or a PNG, .npy or .mat file."
)
@click.option(
    "--noise-sigma", type=float, default=0.0, metavar="S", help="Noise on the [0,1] scale (0.01 = 2.55 grey levels)."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the noise; the second photo has seed + 1."
)
def blur(photos: tuple[Path, ...], out: Path, as_json: bool, kernel: str, noise_sigma: float, seed: int) -> None:
    """Blur photos with a kernel, then add noise.  The frame keeps its size; its border sees repeated edge pixels."""
    import resharp

    point_spread = resharp.parse_kernel(kernel)
    seeds = {photo: seed + index for index, photo in enumerate(photos)}

    def work(photo_path: Path, output: Path) -> dict[str, Any]:
        resharp.output_format(output)
        photo = resharp.read_photo(photo_path)
        blurred = resharp.blur(photo.planes, point_spread, noise_sigma, seed=seeds[photo_path])
        resharp.write_photo(photo.with_planes(blurred), output)
        return {"noise_sigma": noise_sigma, "seed": seeds[photo_path]}

    run_over_photos(photos, out, work, as_json=as_json)
