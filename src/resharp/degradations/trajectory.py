"""Random camera trajectories and the point spread functions that they leave (Boracchi and Foi 2012), in the form of the
DeblurGAN code: a particle of constant speed is pulled to its start, trembles, and now and then jerks back.

Lengths are in pixels.  A trajectory is an array (n, 2) of columns x (to the right) and y (down), float64.
"""

import dataclasses
import math
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from resharp.errors import ArgumentError

from .arguments import checked_image
from .blur import Blur, blurred
from .light import Gamma, checked_gamma, to_light, to_pixels
from .ranges import checked_whole

_PUBLISHED_LENGTH = 60.0  # pixels; no such path leaves the canvas of 64
EXPOSURES = (0.01, 0.1, 0.5, 1.0)  # fractions of the trajectory that the published code exposes

Points = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class TrajectoryBlur:
    """Blur by one random trajectory, everywhere alike.  The published constants are the defaults.

    n_points samples of a path;  anxiety scales pull, tremble and the chance of a jerk (the script
    that was published draws it from 0.003 to 0.01; the paper's Algorithm 1 writes p_s = 0.001 in its place).  The
    strengths of the pull to the start (centripetal), of jerks (impulsive, big shakes) and of the tremble (Gaussian) are
    drawn evenly from 0 to `pull`, `jerk` and `tremble`.
    published: the DeblurGAN script's way: black beyond the frame, and the result stretched to span [0, 1], which shifts
    it by a pixel's fraction and changes its contrast.  Otherwise the frame is mirrored at its border, brightness stays,
    and the kernel's centre of mass is its centre.
    """

    length: Annotated[float, "Of the path, in pixels."] = 60.0
    anxiety: Annotated[float, "How much the camera trembles, is pulled back and jerks; published: 0.003 to 0.01."] = (
        0.005
    )
    n_points: int = 2000
    pull: float = 0.7
    jerk: float = 0.2
    tremble: float = 10.0
    exposure: Annotated[float, "The part of the path that is seen, from its start; published: 0.1, 0.5 and 1."] = 1.0
    gamma: Gamma = 1.0
    published: Annotated[bool, "As DeblurGAN's script does it: black borders, stretched contrast."] = False

    def __post_init__(self) -> None:
        if not 0.01 <= self.length <= 1000:
            raise ArgumentError(f"length is {self.length:g}; a trajectory is 0.01 to 1000 pixels long")
        checked_whole("n_points", self.n_points, 2, 100_000)
        for name in ("anxiety", "pull", "jerk", "tremble"):
            value = getattr(self, name)
            if not 0 <= value <= 1000:
                raise ArgumentError(f"{name} is {value:g}; it must lie between 0 and 1000")
        if 0 < self.anxiety < 1e-6:  # squared, the speed that it sets would vanish
            raise ArgumentError(f"anxiety is {self.anxiety:g}; it is 0 or at least 1e-6, 0.003 to 0.01 are usual")
        if self.published and self.length > _PUBLISHED_LENGTH:
            raise ArgumentError(f"length is {self.length:g}; the published canvas holds {_PUBLISHED_LENGTH:g} pixels")
        checked_exposure(self.exposure)
        checked_gamma(self.gamma)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) in [0, 1], blurred, the same size."""
        image, points = checked_image(image), self.trajectory(generator)
        if not self.published:
            return blurred(image, centred_psf(points, self.exposure), gamma=self.gamma)
        # The script's 'same' convolution has the canvas's pixel (31, 31) as its centre; an odd kernel has (32, 32).
        kernel = functional.pad(canvas_psf(points, self.exposure), (1, 0, 1, 0)).to(image)
        reach = kernel.shape[0] // 2
        dark = to_pixels(Blur(kernel)(functional.pad(to_light(image, self.gamma), (reach,) * 4)), self.gamma)
        low, high = dark.amin(dim=(-3, -2, -1), keepdim=True), dark.amax(dim=(-3, -2, -1), keepdim=True)
        return (dark - low) / (high - low).clamp(min=1e-12)

    def trajectory(self, generator: torch.Generator) -> Points:
        """One trajectory (n_points, 2) from the origin; its length is exactly `length`."""
        n_steps, step = self.n_points - 1, self.length / (self.n_points - 1)
        pull, jerk, tremble, turn = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        jolts = torch.rand(2, n_steps, generator=generator, dtype=torch.float64)
        noise = torch.randn(2, n_steps, generator=generator, dtype=torch.float64)
        noise *= self.anxiety * self.tremble * tremble * step
        # Plain floats: each point needs the one before, and a loop over them takes half a millisecond.
        chances, reversals = jolts.tolist()
        trembles_x, trembles_y = noise.tolist()
        pull, chance = self.anxiety * self.pull * pull * step, self.jerk * jerk * self.anxiety
        speed = self.anxiety or step
        velocity_x, velocity_y = speed * math.cos(2 * math.pi * turn), speed * math.sin(2 * math.pi * turn)
        x = y = 0.0
        points = [(x, y)]
        for t in range(n_steps):
            push_x, push_y = trembles_x[t] - pull * x, trembles_y[t] - pull * y
            if chances[t] < chance:
                angle = math.pi + reversals[t] - 0.5
                cosine, sine = 2 * math.cos(angle), 2 * math.sin(angle)
                push_x += velocity_x * cosine - velocity_y * sine
                push_y += velocity_x * sine + velocity_y * cosine
            velocity_x += push_x
            velocity_y += push_y
            scale = step / math.sqrt(velocity_x * velocity_x + velocity_y * velocity_y)
            velocity_x *= scale
            velocity_y *= scale
            x += velocity_x
            y += velocity_y
            points.append((x, y))
        return np.array(points)


def exposure_weights(n_points: int, exposure: float) -> NDArray[np.float64]:
    """How long each point is exposed while the first `exposure` of a trajectory passes: (n_points,), in steps.

    As published, the point before the first step counts nothing, so the whole trajectory weighs n_points - 1.
    """
    end = checked_exposure(exposure) * n_points
    return np.clip(end - np.arange(-1.0, n_points - 1), 0.0, 1.0) * (np.arange(n_points) > 0)


def checked_exposure(exposure: float) -> float:
    """`exposure` if it is a part of a trajectory.  Raises ArgumentError."""
    if not 0 < exposure <= 1:
        raise ArgumentError(f"exposure is {exposure:g}; it is the part of the path that is seen, above 0 and up to 1")
    return exposure


def canvas_psf(points: Points, exposure: float, *, canvas: int = 64) -> Tensor:
    """The published PSF: float64 (canvas, canvas), sum = exposure (0.9995 for the whole of 2000 points).

    The bounding box of the whole trajectory stands in the middle of the canvas.  Longer exposures hold more light.
    """
    x, y = points[:, 0] - points[:, 0].min(), points[:, 1] - points[:, 1].min()
    x, y = x - x[0] % 1 + 1, y - y[0] % 1 + 1
    x, y = x + math.ceil((canvas - x.max()) / 2), y + math.ceil((canvas - y.max()) / 2)
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > canvas:
        extent = np.ptp(points, axis=0).max()
        raise ArgumentError(
            f"a trajectory {extent:.0f} pixels wide does not fit the canvas of {canvas}; take it shorter"
        )
    return torch.from_numpy(_splat(x, y, exposure_weights(len(points), exposure), canvas, canvas)) / len(points)


def centred_psf(points: Points, exposure: float = 1.0) -> Tensor:
    """A blur kernel: float32 (height, width), both odd, sum 1, its centre of mass on the central pixel."""
    weights = exposure_weights(len(points), exposure)
    seen = points[weights > 0]
    weights = weights[weights > 0]
    path = seen - weights @ seen / weights.sum()
    reach_x, reach_y = (math.floor(reach) + 1 for reach in np.abs(path).max(axis=0))
    kernel = _splat(path[:, 0] + reach_x, path[:, 1] + reach_y, weights, 2 * reach_y + 1, 2 * reach_x + 1)
    return torch.from_numpy(kernel / kernel.sum()).float()


def _splat(x: Points, y: Points, weights: Points, height: int, width: int) -> Points:
    """Each point's weight on its four neighbours, bilinearly: (height, width)."""
    left, top = np.clip(np.floor(x), 0, width - 2).astype(int), np.clip(np.floor(y), 0, height - 2).astype(int)
    right_share, low_share = x - left, y - top
    corner = top * width + left
    places = np.concatenate([corner, corner + 1, corner + width, corner + width + 1])
    shares = [
        (1 - right_share) * (1 - low_share),
        right_share * (1 - low_share),
        (1 - right_share) * low_share,
        right_share * low_share,
    ]
    mass = np.bincount(places, weights=np.concatenate([share * weights for share in shares]), minlength=height * width)
    return np.asarray(mass, dtype=np.float64).reshape(height, width)
