"""Makes the demo's photo and camera-shake kernel as they are shipped.

    python tools/make_demo_assets.py KODAK/19.png src/resharp/assets

The kernel is the first 60 % of one random camera trajectory (resharp.TrajectoryBlur).
"""

from pathlib import Path

import click
import cv2
import numpy as np
import torch

from resharp import TrajectoryBlur
from resharp.degradations import centred_psf

SEED, EXPOSED = 10, 0.6


@click.command()
@click.argument("kodak19", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(kodak19: Path, folder: Path) -> None:
    """Write demo-photo.png and demo-kernel.png (16 bit) into FOLDER."""
    photo = cv2.imread(str(kodak19))
    assert photo is not None
    half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "demo-photo.png"), half[36:292, 0:256])
    points = TrajectoryBlur(anxiety=0.005).trajectory(torch.Generator().manual_seed(SEED))
    kernel = centred_psf(points, EXPOSED).numpy()
    cv2.imwrite(str(folder / "demo-kernel.png"), np.rint(kernel / kernel.max() * 65535).astype(np.uint16))


if __name__ == "__main__":
    main()
