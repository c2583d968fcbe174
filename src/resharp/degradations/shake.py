"""Camera shake as a camera makes it: the average of the sharp scene seen from every pose during one exposure.

The camera moves with six degrees of freedom before a flat scene, so the blur changes over the frame; objects cut out of
the photo move on their own.  Averaging happens in linear light, highlights may be brighter than white and clip only
after it (they leave streaks), the sensor's noise comes before the clipping.  GoPro's pairs (Nah et al. 2017) are
averages of real frames: its `blur_gamma` subset in light under gamma 2.2, the usual `blur` subset in pixel values.
"""

import dataclasses
import math
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resharp.errors import ArgumentError

from .arguments import checked_image
from .light import Gamma, checked_gamma, to_light, to_pixels
from .ranges import checked_photons, checked_whole

Array = NDArray[np.float64]
Picture = NDArray[np.float32]  # (H, W, C), linear light

_N_WAVES = 6  # cosines in a path: the exposure holds up to three swings
CLIPPED = 0.9  # linear light from which on a pixel may have been brighter in the scene
_MAX_FRAMES = 256
_LONGEST = 32000  # OpenCV's warps count pixels in 16 bits
_N_TIMES = 1024  # instants of the exposure at which the camera's pose is known


@dataclasses.dataclass(frozen=True)
class Frame:
    """A photo of height x width, and the piece of it that is at hand: from (top, left) on, `rows` x `columns` pixels
    (0: all of them)."""

    height: int
    width: int
    top: int = 0
    left: int = 0
    rows: int = 0
    columns: int = 0

    @property
    def centre_of_piece(self) -> tuple[float, float]:
        """(x, y) in the pixels of the piece."""
        return ((self.columns or self.width) - 1) / 2, ((self.rows or self.height) - 1) / 2


@dataclasses.dataclass(frozen=True)
class Shake:
    """Blur of a moving camera, which changes over the frame.  Moving objects, streaks and noise.

    extent: the longer side of the box around the path of the frame's centre;  roll: from end to end;  focal: focal
    length in units of the frame's longer side;  photons: their noise as Gaussian.  Objects move beside the camera's
    motion; few frames leave ghosts.
    The sharp photo is the camera's mean pose, as a trajectory's kernel has its centre of mass in its centre: a shift
    between the two photos cannot be seen in the blurred one, and would only punish who restores it.  (GoPro's sharp
    frame is the one in the middle of the exposure.)
    """

    extent: Annotated[float, "How far the picture's centre travels by turning the camera, in pixels."] = 16.0
    sway: Annotated[float, "How far it travels by moving the camera sideways, in pixels."] = 4.0
    roll: Annotated[float, "Rotation about the viewing axis, in degrees."] = 0.5
    zoom: Annotated[float, "Change of scale by moving forward (0.01 = 1 %)."] = 0.005
    focal: float = 1.2
    n_objects: Annotated[int, "Soft-edged cut-outs that move on their own."] = 0
    object_extent: Annotated[float, "How far these travel, in pixels."] = 16.0
    highlights: Annotated[float, "How many times brighter than white small clipped spots were; they leave streaks."] = (
        0.0
    )
    read_noise: Annotated[float, "Sigma in linear light on the [0, 1] scale."] = 0.0
    photons: Annotated[float, "Photons at white, for shot noise; 0: none."] = 0.0
    gamma: Gamma = 2.2
    n_frames: Annotated[int, "Frames to average; 0: one for each pixel of the way. GoPro's blur has 7 to 13."] = 0

    def __post_init__(self) -> None:
        limits = {
            "extent": (0, 500),
            "sway": (0, 500),
            "roll": (0, 45),
            "zoom": (0, 0.5),
            "focal": (0.1, 100),
            "object_extent": (0, 500),
            "highlights": (0, 1000),
            "read_noise": (0, 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ArgumentError(f"{name} is {value:g}; it must lie between {low} and {high}")
        checked_whole("n_objects", self.n_objects, 0, 20)
        checked_whole("n_frames", self.n_frames, 0, _MAX_FRAMES)
        checked_photons(self.photons)
        checked_gamma(self.gamma)

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """The blurred photo alone; see `expose`."""
        return self.expose(image, generator=generator)[0]

    def expose(self, image: Tensor, *, generator: torch.Generator, frame: Frame | None = None) -> tuple[Tensor, Tensor]:
        """(blurred, sharp) from a sharp photo (C, H, W) in [0, 1], each alike; sharp holds the moving objects too.

        frame: where in a larger photo the image lies, whose centre the camera turns about; None for a whole photo.
        """
        if checked_image(image, n_channels=(1, 3)).ndim != 3:
            raise ArgumentError(f"a shake takes one image (1 or 3, H, W), not {tuple(image.shape)}")
        drawn = self.drawn(tuple(image.shape), generator=generator, frame=frame)
        scene = np.ascontiguousarray(to_light(image.detach().float().cpu(), self.gamma).permute(1, 2, 0).numpy())
        if self.highlights:
            scene = _with_lamps(scene, self.highlights)
        cutouts = [_cut_out(scene, one) for one in drawn.objects]
        exposed = np.zeros_like(scene)
        for number, (pose, share) in enumerate(zip(drawn.poses, drawn.shares, strict=True)):
            view = _seen(scene, cutouts, pose, [one.way[number] for one in drawn.objects])
            exposed = cv2.scaleAdd(view, share, exposed).reshape(scene.shape)
        sharp = _seen(scene, cutouts, np.eye(3), [np.zeros(2)] * len(cutouts))
        light, sharp_light = (torch.from_numpy(picture).permute(2, 0, 1) for picture in (exposed, sharp))
        if drawn.noise is not None:
            light = light + drawn.noise * self._noise_sigma(light)
        blurred = to_pixels(light.clamp(0, 1), self.gamma)  # a sensor clips what it reads
        return blurred.to(image), to_pixels(sharp_light.clamp(0, 1), self.gamma).to(image)

    def drawn(self, shape: tuple[int, ...], *, generator: torch.Generator, frame: Frame | None = None) -> "Exposure":
        """All that an exposure of a photo (C, H, W) draws, none of whose pixels are needed for it."""
        height, width = shape[-2:]
        if max(height, width) > _LONGEST:
            raise ArgumentError(f"a shake takes photos of up to {_LONGEST} pixels a side, not {width}x{height}; cut it")
        poses = self._poses(frame or Frame(height, width), generator)
        ways = [smooth_path(_N_TIMES, 2, generator) * self.object_extent for _ in range(self.n_objects)]
        times, shares = self._instants(poses, ways, height, width)
        objects = tuple(_object((height, width), way[times], generator) for way in ways)
        noise = torch.randn(shape, generator=generator) if self.photons or self.read_noise else None
        return Exposure(poses[times], shares, objects, noise)

    def camera_path(self, frame: Frame, generator: torch.Generator) -> Array:
        """Where the centre of a piece of a photo is seen over the exposure: (n, 2), x and y, 0 in the sharp photo."""
        centre = np.array([*frame.centre_of_piece, 1.0])
        seen = self._poses(frame, generator) @ centre
        return np.asarray(seen[:, :2] / seen[:, 2:] - centre[:2])

    def _instants(self, poses: Array, ways: list[Array], height: int, width: int) -> tuple[list[int], list[float]]:
        """The times of the frames, and the share of the exposure that each stands for."""
        if self.n_frames:
            times = ((np.arange(self.n_frames) + 0.5) * _N_TIMES / self.n_frames).astype(int)
            shares = np.full(self.n_frames, 1 / self.n_frames)
        else:
            times, shares = _a_pixel_apart(poses, ways, height, width)
        return times.tolist(), shares.tolist()

    def _poses(self, frame: Frame, generator: torch.Generator) -> Array:
        """Homographies (_N_TIMES, 3, 3) from the pixels of the sharp piece of a photo to those of each view of it."""
        swing, sway = smooth_path(_N_TIMES, 2, generator), smooth_path(_N_TIMES, 2, generator)
        roll, zoom = smooth_path(_N_TIMES, 1, generator), smooth_path(_N_TIMES, 1, generator)
        focal = self.focal * max(frame.height, frame.width)
        x, y = (frame.width - 1) / 2 - frame.left, (frame.height - 1) / 2 - frame.top  # of the photo's centre
        to_ray = np.array([[1 / focal, 0, -x / focal], [0, 1 / focal, -y / focal], [0, 0, 1]])
        yaw, pitch = np.arctan(swing * self.extent / focal).T
        turn = _rotations(yaw, pitch, roll[:, 0] * math.radians(self.roll))
        plane = np.tile(np.eye(3), (_N_TIMES, 1, 1))  # the flat scene at distance 1, moved
        plane[:, :2, 2] = sway * self.sway / focal
        plane[:, 2, 2] += zoom[:, 0] * self.zoom
        return np.asarray(np.linalg.inv(to_ray) @ (turn @ plane) @ to_ray)

    def _noise_sigma(self, light: Tensor) -> Tensor:
        """Of the sensor's noise at each pixel."""
        shot = light.clamp(min=0) / self.photons if self.photons else torch.zeros(())
        return (shot + self.read_noise**2).sqrt()


@dataclasses.dataclass(frozen=True)
class MovingObject:
    """A cut-out that moves on its own: from (top, left) of the sharp frame on, with the texture that lies at
    `texture_at`.  opacity: float32 (h, w);  way: (n, 2), where it is in each view, x and y."""

    opacity: NDArray[np.float32]
    top: int
    left: int
    texture_at: tuple[int, int]
    way: Array


@dataclasses.dataclass(frozen=True)
class Exposure:
    """What is drawn for one shake.

    poses: homographies (n, 3, 3) from the pixels of the sharp photo to those of each view;  shares: of the exposure,
    of each, sum 1;  noise: (C, H, W) of sigma 1, or None.
    """

    poses: Array
    shares: list[float]
    objects: tuple[MovingObject, ...]
    noise: Tensor | None


def _with_lamps(scene: Picture, highlights: float) -> Picture:
    """Small clipped spots made up to 1 + highlights times as bright; a white wall or sky stays as it is."""
    clipped = np.clip((scene - CLIPPED) / (1 - CLIPPED), 0, 1)
    window = max(1, min(scene.shape[:2]) // 8)
    share = cv2.blur(clipped, (window, window), borderType=cv2.BORDER_REFLECT).reshape(scene.shape)
    return np.asarray(scene * (1 + highlights * clipped * np.clip(1 - 4 * share, 0, 1)), dtype=np.float32)


def smooth_path(n_points: int, n_axes: int, generator: torch.Generator) -> Array:
    """A random path (n_points, n_axes) about its mean, the longer side of its box 1.

    Cosines of falling strength, as in the expansion of a Brownian motion but smoother: a hand sweeps and trembles.
    """
    strengths = torch.randn(_N_WAVES, n_axes, generator=generator, dtype=torch.float64).numpy()
    waves = np.arange(1, _N_WAVES + 1)
    times = (np.arange(n_points) + 0.5) / n_points
    path = np.cos(np.pi * times[:, None] * waves) @ (strengths / waves[:, None] ** 1.7)
    return np.asarray((path - path.mean(axis=0)) / np.ptp(path, axis=0).max())


def _rotations(yaw: Array, pitch: Array, roll: Array) -> Array:
    """(n, 3, 3) rotations that move the picture by +x for yaw and +y for pitch."""
    one, nought = np.ones_like(yaw), np.zeros_like(yaw)

    def matrices(*rows: list[Array]) -> Array:
        return np.array(rows).transpose(2, 0, 1)

    about_y = matrices([np.cos(yaw), nought, np.sin(yaw)], [nought, one, nought], [-np.sin(yaw), nought, np.cos(yaw)])
    about_x = matrices(
        [one, nought, nought], [nought, np.cos(pitch), np.sin(pitch)], [nought, -np.sin(pitch), np.cos(pitch)]
    )
    about_z = matrices(
        [np.cos(roll), -np.sin(roll), nought], [np.sin(roll), np.cos(roll), nought], [nought, nought, one]
    )
    return np.asarray(about_y @ about_x @ about_z)


def _a_pixel_apart(poses: Array, ways: list[Array], height: int, width: int) -> tuple[NDArray[np.int64], Array]:
    """Times at which the corner or object that moves most has moved by a pixel more, and the share of time around each.

    Beyond _MAX_FRAMES pixels of way the frames lie further apart.
    """
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]], dtype=float)
    seen = poses @ corners
    steps = np.linalg.norm(np.diff(seen[:, :2] / seen[:, 2:], axis=0), axis=1).max(axis=1)
    own = [np.linalg.norm(np.diff(path, axis=0), axis=1) for path in ways]
    steps = steps + np.max(own, axis=0) if own else steps
    way = np.concatenate([[0.0], np.cumsum(steps)])
    n_frames = min(_MAX_FRAMES, math.ceil(way[-1]) + 1)
    frame = np.minimum((way / max(way[-1], 1e-9) * n_frames).astype(int), n_frames - 1)  # that each time belongs to
    counts = np.bincount(frame, minlength=n_frames)
    ends = np.cumsum(counts)
    taken = counts > 0
    return (ends - 1 - counts // 2)[taken], counts[taken] / len(poses)


@dataclasses.dataclass(frozen=True)
class _CutOut:
    """A piece of the scene that moves on its own, at (left, top) of the sharp frame.

    layer: (h, w, C + 1) float32, light times opacity and, last, the opacity.
    """

    layer: Picture
    left: int
    top: int


def _object(size: tuple[int, int], way: Array, generator: torch.Generator) -> MovingObject:
    """A soft-edged blob with the texture of another place of the photo."""
    height, width = size
    share, aspect, *places = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    size = (0.15 + 0.3 * share) * min(height, width)
    rows, columns = (min(n, max(1, round(size * f))) for n, f in ((height, 1.6 - aspect), (width, 0.6 + aspect)))
    top, from_top = (int(place * (height - rows + 1)) for place in places[:2])
    left, from_left = (int(place * (width - columns + 1)) for place in places[2:])
    waves = torch.randn(2, 4, generator=generator, dtype=torch.float64).numpy() * 0.12 / np.arange(2, 6)
    y = np.linspace(-1, 1, rows)[:, None] if rows > 1 else np.zeros((1, 1))
    x = np.linspace(-1, 1, columns)[None] if columns > 1 else np.zeros((1, 1))
    angle = np.arctan2(y, x)
    outline = 0.85 + sum(
        waves[0, k] * np.cos((k + 2) * angle) + waves[1, k] * np.sin((k + 2) * angle) for k in range(4)
    )
    softness = 3 / max(1.0, min(rows, columns) / 2)  # the edge takes about three pixels
    opacity = np.clip((outline - np.hypot(x, y)) / softness, 0, 1).astype(np.float32)
    return MovingObject(opacity, top, left, (from_top, from_left), way)


def _cut_out(scene: Picture, one: MovingObject) -> _CutOut:
    (rows, columns), (top, left) = one.opacity.shape, one.texture_at
    opacity = one.opacity[..., None]
    texture = scene[top : top + rows, left : left + columns]
    return _CutOut(np.concatenate([texture * opacity, opacity], axis=2), one.left, one.top)


def _seen(scene: Picture, cutouts: list[_CutOut], pose: Array, shifts: list[Array]) -> Picture:
    """One frame: scene and cut-outs, these moved by (x, y) pixels each, from one camera pose."""
    height, width = scene.shape[:2]
    frame = scene
    if not np.array_equal(pose, np.eye(3)):
        frame = _warped(scene, pose, (0, 0, width, height), cv2.BORDER_REFLECT_101)
    elif cutouts:
        frame = scene.copy()
    for cutout, (x, y) in zip(cutouts, shifts, strict=True):
        there = pose @ np.array([[1, 0, cutout.left + x], [0, 1, cutout.top + y], [0, 0, 1]])
        box = _box_of(cutout.layer, there, height, width)
        if box[2] > box[0] and box[3] > box[1]:
            layer = _warped(cutout.layer, there, box, cv2.BORDER_CONSTANT)
            under = frame[box[1] : box[3], box[0] : box[2]]
            under *= 1 - layer[..., -1:]
            under += layer[..., :-1]
    return frame


def _box_of(layer: Picture, pose: Array, height: int, width: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in the frame of what a layer can reach."""
    rows, columns = layer.shape[:2]
    corners = pose @ np.array([[-1, columns, -1, columns], [-1, -1, rows, rows], [1, 1, 1, 1]], dtype=float)
    (left, top), (right, bottom) = (f(corners[:2] / corners[2], axis=1) for f in (np.min, np.max))
    return (
        max(0, math.floor(left)),
        max(0, math.floor(top)),
        min(width, math.ceil(right) + 1),
        min(height, math.ceil(bottom) + 1),
    )


def _warped(picture: Picture, pose: Array, box: tuple[int, int, int, int], border: int) -> Picture:
    """What `box` of the frame shows of `picture` through a homography from its pixels to the frame's, bilinearly."""
    left, top, right, bottom = box
    back = np.linalg.inv(pose) @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(picture, back, (right - left, bottom - top), flags=flags, borderMode=border)
    return np.asarray(warped, dtype=np.float32).reshape(bottom - top, right - left, -1)
