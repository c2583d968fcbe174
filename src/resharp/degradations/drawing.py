"""What degradations draw, for whole batches; `in_batches` does them, where it may be on a GPU."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from resharp.errors import RecipeError

from .in_batches import Chain, Parts, Undone, Work, put
from .noise import Noise
from .optics import Defocus, GaussianBlur, KernelBlur
from .sampling import Downscale, Mosaicked
from .shake import Exposure, Frame, Shake
from .steps import KIND_OF, Degradation, DegradationStep
from .trajectory import TrajectoryBlur, centred_psf


class _Job(NamedTuple):
    """One step of one photo that is (C, H, W) by then."""

    step: DegradationStep
    shape: tuple[int, int, int]
    frame: Frame | None


_Jobs = list[_Job]


def drawn_together(photos: Sequence[Undone]) -> list[Chain]:
    """Everything that the steps of these photos draw, packed.  Raises RecipeError for steps that are not done so."""
    alike: dict[Any, list[int]] = {}
    for index, photo in enumerate(photos):
        kinds = tuple(_kind_of(step.degradation) for step in photo.steps)
        alike.setdefault((photo.pixels.dtype, len(photo.pixels), kinds), []).append(index)
    return [_chain(rows, [photos[row] for row in rows], kinds) for (_, _, kinds), rows in alike.items()]


def check_in_batches(degradation: Degradation) -> None:
    """Raises RecipeError for one that is done photo by photo alone."""
    _kind_of(degradation)


def _kind_of(degradation: Degradation) -> tuple[Any, ...]:
    """What has to be alike in photos that are done together: a row of `_DRAWING`, and what is told to all of them."""
    if isinstance(degradation, KernelBlur | Defocus | GaussianBlur):
        return ("blur",)
    if isinstance(degradation, TrajectoryBlur) and not degradation.published:
        return ("blur",)
    if isinstance(degradation, Shake):
        return "shake", degradation.n_objects > 0
    if isinstance(degradation, Noise):
        return ("shot noise" if degradation.photons else "noise",)
    if isinstance(degradation, Downscale):
        return "downscale", degradation.factor, degradation.method, degradation.rounding
    if isinstance(degradation, Mosaicked):
        return "mosaic", degradation.pattern, degradation.demosaic
    kind = KIND_OF[type(degradation)]
    name = f"{kind} as published" if isinstance(degradation, TrajectoryBlur) else kind
    raise RecipeError(f'{name} is not done on batches; leave it out, or take data.degrade = "loader"')


def _chain(rows: list[int], photos: list[Undone], kinds: tuple[tuple[Any, ...], ...]) -> Chain:
    sizes = torch.tensor([tuple(photo.pixels.shape[-2:]) for photo in photos])
    height, width = sizes.amax(0).tolist()
    pixels = photos[0].pixels.new_zeros(len(photos), photos[0].pixels.shape[0], height, width)
    for place, photo in zip(pixels, photos, strict=True):
        put(photo.pixels, place)
    works, shapes = [], [(photo.pixels.shape[0], *photo.pixels.shape[1:]) for photo in photos]
    for index, (kind, *told) in enumerate(kinds):
        together = zip(photos, shapes, strict=True)
        work = _DRAWING[kind]([_Job(photo.steps[index], shape, photo.frame) for photo, shape in together])
        works.append(work._replace(told=(*told, *work.told)))
        if kind == "downscale":
            shapes = [(n, h // told[0], w // told[0]) for n, h, w in shapes]
        if kind == "mosaic" and told[1] == "none":
            shapes = [(1, h, w) for _, h, w in shapes]
    return Chain(torch.tensor(rows), pixels, sizes, works)


def _drawn_blur(jobs: _Jobs) -> Work:
    kernels = [_kernel(job.step.degradation, _generator(job.step)) for job in jobs]
    down, across = (max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1))
    together = torch.zeros(len(kernels), down, across)
    for place, kernel in zip(together, kernels, strict=True):
        top, left = (down - kernel.shape[0]) // 2, (across - kernel.shape[1]) // 2
        place[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    return Work("blur", {"kernels": together} | _numbers(jobs, "gamma"))


def _kernel(degradation: Any, generator: torch.Generator) -> Tensor:
    if isinstance(degradation, TrajectoryBlur):
        return centred_psf(degradation.trajectory(generator), degradation.exposure)
    kernel: Tensor = degradation.point_spread()
    return kernel


def _drawn_noise(jobs: _Jobs) -> Work:
    fields = [torch.randn(job.shape, generator=_generator(job.step)) for job in jobs]
    return Work("noise", {"noise": _fields(fields)} | _numbers(jobs, "gamma", "sigma"))


def _drawn_shot_noise(jobs: _Jobs) -> Work:
    return Work("shot noise", {}, (tuple(job.step for job in jobs), tuple(job.shape[1:] for job in jobs)))


def _nothing_drawn(kind: str) -> Callable[[_Jobs], Work]:
    return lambda _: Work(kind, {})


def _drawn_shake(jobs: _Jobs) -> Work:
    """back: (n, views, 3, 3), from the pixels of a view to places in the continued canvas, as `grid_sample` counts
    them, and likewise for each object;  shares: (n, views), 0 for views that a photo does not have."""
    shakes: list[Any] = [job.step.degradation for job in jobs]
    drawn = [
        shake.drawn(job.shape, generator=_generator(job.step), frame=job.frame)
        for shake, job in zip(shakes, jobs, strict=True)
    ]
    height, width = (max(job.shape[axis] for job in jobs) for axis in (-2, -1))
    backs = [np.linalg.inv(one.poses) for one in drawn]
    reach = _reach(backs, height, width)
    n_views = max(len(back) for back in backs)
    shares = torch.zeros(len(drawn), n_views)
    for place, one in zip(shares, drawn, strict=True):
        place[: len(one.shares)] = torch.tensor(one.shares)
    counts = [sum(len(back) > view for back in backs) for view in range(n_views)]
    order = torch.tensor([len(back) for back in backs]).argsort(descending=True, stable=True)
    parts = {"back": _placed(backs, height + reach, width + reach, n_views), "shares": shares, "order": order}
    parts |= _numbers(jobs, "gamma")
    if any(shake.n_objects for shake in shakes):
        parts |= _drawn_objects(drawn, height, width, n_views)
    if any(shake.highlights for shake in shakes):
        parts |= _numbers(jobs, "highlights")
    if any(one.noise is not None for one in drawn):
        fields = [
            torch.zeros(job.shape) if one.noise is None else one.noise for one, job in zip(drawn, jobs, strict=True)
        ]
        inverse = torch.tensor([1 / shake.photons if shake.photons else 0.0 for shake in shakes])
        parts |= {"noise": _fields(fields), "per_photon": inverse} | _numbers(jobs, "read_noise")
    return Work("shake", parts, (reach, tuple(counts)))


def _drawn_objects(drawn: list[Exposure], height: int, width: int, n_views: int) -> Parts:
    """opacity: (n, objects, H, W), 0 where a photo has fewer;  textures: (n, objects, 2), how far away each lies."""
    n_objects = max(len(one.objects) for one in drawn)
    opacity = torch.zeros(len(drawn), n_objects, height, width)
    textures = torch.zeros(len(drawn), n_objects, 2, dtype=torch.int64)
    backs = torch.eye(3).repeat(len(drawn), n_objects, n_views, 1, 1)
    for index, one in enumerate(drawn):
        for number, thing in enumerate(one.objects):
            (rows, columns), top, left = thing.opacity.shape, thing.top, thing.left
            opacity[index, number, top : top + rows, left : left + columns] = torch.from_numpy(thing.opacity)
            textures[index, number] = torch.tensor([thing.texture_at[0] - top, thing.texture_at[1] - left])
            moved = np.tile(np.eye(3), (len(one.poses), 1, 1))
            moved[:, :2, 2] = thing.way
            backs[index, number] = _placed([np.linalg.inv(one.poses @ moved)], height, width, n_views)[0]
    return {"opacity": opacity, "textures": textures, "object_back": backs}


def _reach(backs: list[Any], height: int, width: int) -> int:
    """How far beyond a canvas, to the right and below, views look."""
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]], dtype=float)
    seen = np.concatenate(backs) @ corners
    beyond = (seen[:, :2] / seen[:, 2:]).max(axis=(0, 2)) - [width - 1, height - 1]
    return max(0, int(np.ceil(beyond.max()))) + 1


def _placed(backs: list[Any], height: int, width: int, n_views: int) -> Tensor:
    """(n, n_views, 3, 3): into places from -1 to 1 of a canvas, in single precision from double."""
    across, down = 2 / max(1, width - 1), 2 / max(1, height - 1)
    scale = np.array([[across, 0, -1], [0, down, -1], [0, 0, 1]])
    together = torch.eye(3).repeat(len(backs), n_views, 1, 1)
    for place, back in zip(together, backs, strict=True):
        place[: len(back)] = torch.from_numpy(scale @ back)
    return together


def _generator(step: DegradationStep) -> torch.Generator:
    return torch.Generator().manual_seed(step.seed)


def _numbers(jobs: _Jobs, *names: str) -> Parts:
    return {name: torch.tensor([float(getattr(job.step.degradation, name)) for job in jobs]) for name in names}


def _fields(fields: list[Tensor]) -> Tensor:
    """(n, C, H, W), each in its corner."""
    size = [max(field.shape[axis] for field in fields) for axis in (-2, -1)]
    together = torch.zeros(len(fields), fields[0].shape[0], *size)
    for place, field in zip(together, fields, strict=True):
        put(field, place)
    return together


_DRAWING: dict[str, Callable[[_Jobs], Work]] = {
    "blur": _drawn_blur,
    "shake": _drawn_shake,
    "noise": _drawn_noise,
    "shot noise": _drawn_shot_noise,
    "downscale": _nothing_drawn("downscale"),
    "mosaic": _nothing_drawn("mosaic"),
}
