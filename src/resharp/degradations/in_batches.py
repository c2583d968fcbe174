"""Degradations done on whole batches, on whatever device these lie: what was drawn is drawn apart, by `drawn_together`.

Photos whose degradations are of the same kinds make a `Chain`: they lie in the upper left corners of one canvas, each
with a size of its own, beyond which it is continued as its degradation continues it.  `done` gives what `apply_steps`
gives of each photo, to rounding: nothing is drawn there, but shot noise, whose law follows from the pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .base import LinearDegradation
from .blur import fast_length
from .mosaic import DEMOSAICKERS, Mosaic
from .resample import Resize, resize_as_matlab
from .shake import CLIPPED, Frame
from .steps import DegradationStep

Parts = dict[str, Tensor]
_WHOLE = 2.0**24  # 1 in fixed point


class Undone(NamedTuple):
    """A clean photo (C, H, W), uint8 or float32, with the steps that it shall go through, and where it lies."""

    pixels: Tensor
    steps: Sequence[DegradationStep]
    frame: Frame | None = None


class Canvas(NamedTuple):
    """Photos (N, C, H, W), of which (N, 2) rows and columns count, as they became and as they were."""

    degraded: Tensor
    clean: Tensor
    sizes: Tensor


class Work(NamedTuple):
    """One degradation of each photo of a chain: a row of `_DOING`, what was drawn, by name, and what is told."""

    kind: str
    parts: Parts
    told: tuple[Any, ...] = ()


class Chain(NamedTuple):
    """rows: (n,), the photos' places in their batch;  pixels: (n, C, H, W), uint8 or float32;  sizes: (n, 2)."""

    rows: Tensor
    pixels: Tensor
    sizes: Tensor
    works: list[Work]


def done(chain: Chain) -> Canvas:
    """The photos of a chain, float32; neither rounded nor clipped, as `apply_steps` gives them."""
    clean = chain.pixels.float() / 255 if chain.pixels.dtype == torch.uint8 else chain.pixels
    canvas = Canvas(clean, clean, chain.sizes)
    for work in chain.works:
        canvas = _DOING[work.kind](canvas, work.parts, *work.told)
    return canvas


def cut_out(images: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Of each of (N, C, H, W) the `size` pixels from its corner (N, 2) on."""
    rows, columns = (corners[:, axis, None] + torch.arange(n, device=images.device) for axis, n in enumerate(size))
    return _taken(images, rows, columns)


# --- doing ------------------------------------------------------------------------------------------------------------


def _blurred(canvas: Canvas, parts: Parts) -> Canvas:
    """By a kernel of each photo's own, through the FFT."""
    kernels, gamma = parts["kernels"], parts["gamma"]
    down, across = kernels.shape[-2:]
    light = _continued(_to_light(canvas.degraded, gamma), canvas.sizes, (down // 2,) * 2, (across // 2,) * 2, _mirrored)
    height, width = light.shape[-2:]
    grid = fast_length(height), fast_length(width)
    spectrum = torch.fft.rfft2(light, s=grid) * torch.fft.rfft2(kernels[:, None], s=grid)
    circular = torch.fft.irfft2(spectrum, s=grid)[..., down - 1 : height, across - 1 : width]
    return canvas._replace(degraded=_to_pixels(circular, gamma))


def _shaken(canvas: Canvas, parts: Parts, has_objects: bool, reach: int, counts: tuple[int, ...]) -> Canvas:
    """The mean of the views, in light; the photos with the most views first, so that those with few are done early."""
    order, back = parts["order"], parts["order"].argsort()
    parts = {name: part[order] for name, part in parts.items() if name != "order"}
    sizes, gamma = canvas.sizes[order], parts["gamma"]
    scene = _to_light(canvas.degraded[order], gamma)
    if "highlights" in parts:
        scene = _with_lamps(scene, sizes, _each(parts["highlights"]))
    seen = _continued(scene, sizes, (0, reach), (0, reach), _mirrored)
    layers = [_layer(scene, parts, number) for number in range(parts["opacity"].shape[1] if has_objects else 0)]
    places = _places(scene)
    exposed = torch.zeros_like(scene)
    for view, n in enumerate(counts):
        frame = _warped(seen[:n], parts["back"][:n, view], places, "reflection")
        for number, layer in enumerate(layers):
            frame = _over(frame, _warped(layer[:n], parts["object_back"][:n, number, view], places, "zeros"))
        exposed[:n].addcmul_(frame, _each(parts["shares"][:n, view]))
    if "noise" in parts:
        variance = exposed.clamp(min=0) * _each(parts["per_photon"]) + _each(parts["read_noise"]).square()
        exposed.addcmul_(parts["noise"], variance.sqrt())
    degraded, clean = _to_pixels(exposed.clamp(0, 1), gamma)[back], canvas.clean
    if has_objects or "highlights" in parts:
        for layer in layers:
            scene = _over(scene, layer)
        clean = _to_pixels(scene.clamp(0, 1), gamma)[back]
    return Canvas(degraded, clean, canvas.sizes)


def _warped(images: Tensor, back: Tensor, places: Tensor, border: str) -> Tensor:
    """(n, C, H, W), bilinearly, of images (n, C, H', W') at back (n, 3, 3) times the places (x, y), (2, H, W, 1).

    Not as a product of matrices, which may be in TF32 on a GPU: that knows no fractions of pixels.
    """
    by_x, by_y, one = back[:, None, None].unbind(-1)
    seen = torch.addcmul(torch.addcmul(one, places[0], by_x), places[1], by_y)
    return functional.grid_sample(images, seen[..., :2] / seen[..., 2:], padding_mode=border, align_corners=True)


def _places(image: Tensor) -> Tensor:
    """(2, H, W, 1): x and y of each pixel."""
    y, x = (torch.arange(n, device=image.device, dtype=torch.float32) for n in image.shape[-2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[..., None]


def _layer(scene: Tensor, parts: Parts, number: int) -> Tensor:
    """(n, C + 1, H, W): light times opacity and, last, the opacity of one object, where it lies in the sharp photo."""
    opacity, away = parts["opacity"][:, number, None], parts["textures"][:, number]
    rows, columns = (
        (away[:, axis, None] + torch.arange(n, device=scene.device)).clamp(0, n - 1)
        for axis, n in enumerate(scene.shape[-2:])
    )
    return torch.cat([_taken(scene, rows, columns) * opacity, opacity], dim=1)


def _over(frame: Tensor, layer: Tensor) -> Tensor:
    return torch.addcmul(layer[:, :-1], frame, 1 - layer[:, -1:])


def _with_lamps(scene: Tensor, sizes: Tensor, highlights: Tensor) -> Tensor:
    """As `shake._with_lamps`: the mean over a window of each photo's own size is a difference of running sums, of whole
    numbers, which add up alike in any order."""
    clipped = ((scene - CLIPPED) / (1 - CLIPPED)).clamp(0, 1)
    window = (sizes.amin(1) // 8).clamp(min=1)
    share, reach = clipped, min(scene.shape[-2:]) // 16 + 1
    for axis, n in ((-2, scene.shape[-2]), (-1, scene.shape[-1])):
        padding = (reach, reach) if axis == -2 else (0, 0), (reach, reach) if axis == -1 else (0, 0)
        sums = functional.pad(
            _continued(share, sizes, *padding, _repeated).mul(_WHOLE).long().cumsum(axis), _before(axis)
        )
        first = (reach - window // 2)[:, None] + torch.arange(n, device=scene.device)
        both = [_taken_along(sums, start, axis) for start in (first, first + window[:, None])]
        share = ((both[1] - both[0]) / (_WHOLE * _each(window))).float()
    return scene * (1 + highlights * clipped * (1 - 4 * share).clamp(0, 1))


def _before(axis: int) -> tuple[int, ...]:
    """One nought before all else along an axis."""
    return (1, 0) if axis == -1 else (0, 0, 1, 0)


def _noisy(canvas: Canvas, parts: Parts) -> Canvas:
    light, gamma = _to_light(canvas.degraded, parts["gamma"]), parts["gamma"]
    noisy = torch.addcmul(light, parts["noise"], _each(parts["sigma"]))
    return canvas._replace(degraded=_to_pixels(noisy, gamma))


def _with_shot_noise(
    canvas: Canvas, parts: Parts, steps: Sequence[DegradationStep], sizes: list[tuple[int, int]]
) -> Canvas:
    """Photo by photo, from a generator of the device: only on the CPU are the numbers those of the loader."""
    del parts
    degraded = torch.zeros_like(canvas.degraded)
    for place, image, step, (height, width) in zip(degraded, canvas.degraded, steps, sizes, strict=True):
        generator = torch.Generator(image.device).manual_seed(step.seed)
        put(step.degradation(image[:, :height, :width], generator=generator), place)
    return canvas._replace(degraded=degraded)


def _smaller(canvas: Canvas, parts: Parts, factor: int, method: str, rounding: bool) -> Canvas:
    del parts
    height, width = (-(-n // factor) * factor for n in canvas.degraded.shape[-2:])
    beyond = height - canvas.degraded.shape[-2], width - canvas.degraded.shape[-1]
    image = _continued(canvas.degraded, canvas.sizes, (0, beyond[0]), (0, beyond[1]), _at_the_edge)
    if rounding:
        levels = image.clamp(0, 1).mul(255).round().byte()
        smaller = resize_as_matlab(levels, 1 / factor, method=method).float() / 255
    else:
        resize: LinearDegradation = Resize(1 / factor, method=method)
        smaller = resize(image)
    return Canvas(smaller, canvas.clean, canvas.sizes // factor)


def _mosaicked(canvas: Canvas, parts: Parts, pattern: str, demosaic: str) -> Canvas:
    del parts
    reach = 2  # of the filters
    image = _continued(canvas.degraded, canvas.sizes, (0, reach), (0, reach), _mirrored)
    raw: Tensor = Mosaic(pattern)(image)
    made = raw if demosaic == "none" else DEMOSAICKERS[demosaic](raw, pattern)
    return canvas._replace(degraded=made[..., :-reach, :-reach])


_DOING: dict[str, Callable[..., Canvas]] = {
    "blur": _blurred,
    "shake": _shaken,
    "noise": _noisy,
    "shot noise": _with_shot_noise,
    "downscale": _smaller,
    "mosaic": _mosaicked,
}

# --- what they share --------------------------------------------------------------------------------------------------

_Fold = Callable[[Tensor, Tensor], Tensor]


def _continued(images: Tensor, sizes: Tensor, rows: tuple[int, int], columns: tuple[int, int], fold: _Fold) -> Tensor:
    """(N, C, H + rows, W + columns): each photo continued beyond its own size, within the canvas too."""
    places = (
        fold(torch.arange(-before, n + after, device=images.device), sizes[:, axis, None])
        for axis, (n, (before, after)) in enumerate(zip(images.shape[-2:], (rows, columns), strict=True))
    )
    return _taken(images, *places)


def _mirrored(places: Tensor, n: Tensor) -> Tensor:
    """At the edge pixels."""
    period = (2 * (n - 1)).clamp(min=1)
    places = places.remainder(period)
    return torch.minimum(places, period - places).clamp(max=n - 1)


def _repeated(places: Tensor, n: Tensor) -> Tensor:
    """Mirrored behind the edge pixels, which come twice."""
    places = places.remainder(2 * n)
    return torch.minimum(places, 2 * n - 1 - places)


def _at_the_edge(places: Tensor, n: Tensor) -> Tensor:
    return torch.minimum(places.clamp(min=0), n - 1)


def _taken(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, h, w) at rows (N, h) and columns (N, w) of each photo's own."""
    return _taken_along(_taken_along(images, rows, -2), columns, -1)


def _taken_along(images: Tensor, places: Tensor, axis: int) -> Tensor:
    shape = (*images.shape[:2], places.shape[1], images.shape[-1])
    if axis == -1:
        return images.gather(-1, places[:, None, None].expand(*images.shape[:3], -1))
    return images.gather(-2, places[:, None, :, None].expand(shape))


def put(part: Tensor, place: Tensor) -> None:
    """An image (C, h, w) into the upper left corner of a larger one."""
    place[:, : part.shape[1], : part.shape[2]] = part


def _each(numbers: Tensor) -> Tensor:
    """One for each photo."""
    return numbers[:, None, None, None]


def _to_light(image: Tensor, gamma: Tensor) -> Tensor:
    """As `light.to_light`, which leaves gamma 1 as it is."""
    return torch.where(_each(gamma) == 1, image, image.clamp(min=0).pow(_each(gamma)))


def _to_pixels(light: Tensor, gamma: Tensor) -> Tensor:
    return _to_light(light, 1 / gamma)
