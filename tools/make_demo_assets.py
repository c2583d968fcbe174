"""Makes the demo's photo and camera-shake kernel as they are shipped.

    python tools/make_demo_assets.py KODAK/19.png src/resharp/assets

The kernel is one random camera trajectory after Boracchi and Foi (2012), in the form of the DeblurGAN code: a particle
that keeps its speed, is pulled to its start, trembles and now and then jerks back; the first 60 % of it are exposed.
"""

import cmath
import math
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

SEED, N_POINTS, LENGTH, ANXIETY, EXPOSED = 5, 2000, 60.0, 0.005, 0.6


def trajectory(generator: np.random.Generator) -> NDArray[np.complex128]:
    """N_POINTS positions in pixels, LENGTH pixels long in all, from the origin."""
    pull, jerk, tremble = generator.uniform(0, 0.7), generator.uniform(0, 0.2), generator.uniform(0, 10)
    velocity = cmath.rect(ANXIETY, generator.uniform(0, 2 * math.pi))
    step, points = LENGTH / (N_POINTS - 1), [0j]
    for _ in range(N_POINTS - 1):
        push = 0j
        if generator.uniform() < jerk * ANXIETY:
            push = 2 * velocity * cmath.exp(1j * (math.pi + generator.uniform() - 0.5))
        noise = generator.normal() + 1j * generator.normal()
        velocity += push + ANXIETY * (tremble * noise - pull * points[-1]) * step
        velocity *= step / abs(velocity)
        points.append(points[-1] + velocity)
    return np.array(points)


def point_spread(points: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Bilinear splat of the exposed points, cropped to them, with odd sides."""
    points = points[: int(N_POINTS * EXPOSED)]
    points = points - (points.real.min() + 1j * points.imag.min())
    kernel = np.zeros((math.ceil(points.imag.max()) + 2, math.ceil(points.real.max()) + 2))
    for point in points:
        column, row = int(point.real), int(point.imag)
        right, down = point.real - column, point.imag - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - down, down], [1 - right, right])
    kernel = kernel[kernel.sum(1) > 0][:, kernel.sum(0) > 0]
    return np.pad(kernel, [(0, 1 - side % 2) for side in kernel.shape])


@click.command()
@click.argument("kodak19", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(kodak19: Path, folder: Path) -> None:
    """Write demo-photo.png and demo-kernel.png (16 bit) into FOLDER."""
    photo = cv2.imread(str(kodak19))
    assert photo is not None
    half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "demo-photo.png"), half[36:292, 0:256])
    kernel = point_spread(trajectory(np.random.default_rng(SEED)))
    cv2.imwrite(str(folder / "demo-kernel.png"), np.rint(kernel / kernel.max() * 65535).astype(np.uint16))


if __name__ == "__main__":
    main()
