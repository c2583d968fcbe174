"""A look at a dataset: some of its samples on one sheet, with the blur that made them where that is known."""

from pathlib import Path

import torch
from torch import Tensor

from .data.layouts import open_listing
from .data.listing import Item
from .data.packs import KINDS, Pack, is_pack
from .data.synthesis import Drawn
from .data.writing import read_drawn
from .degradations import Defocus, DegradationStep, Frame, GaussianBlur, KernelBlur, Shake, TrajectoryBlur, centred_psf
from .errors import ArgumentError, DatasetError
from .figures import Cell, contact_sheet, fitted
from .photo import read_pixels


def dataset_sheet(
    place: str | Path, *, n_samples: int = 12, pairs: tuple[str, str] | None = None, subset: str | None = None
) -> Tensor:
    """A contact sheet (3, H, W) of samples spread evenly over a folder, manifest or pack.

    Blurred photos stand left of sharp ones; the kernel of a synthesised one, for a shake that of the central point, is
    drawn into its corner.  Raises DatasetError, PhotoError, ResourceError.
    """
    place = Path(place)
    if not 1 <= n_samples <= 200:
        raise ArgumentError(f"{n_samples} samples; a sheet holds 1 to 200")
    if is_pack(place):
        return contact_sheet(_pack_cells(Pack(place), n_samples))
    items = open_listing(place, pairs=pairs, subset=subset).items
    if not items:
        raise DatasetError(f"{place}: holds no photos to show")
    return contact_sheet([_cell(items[i]) for i in _spread(len(items), n_samples)])


def blur_of(step: DegradationStep, frame: Frame) -> Tensor | None:
    """The kernel that a step blurs the centre of a piece of a photo with, float32 (h, w); None for what is no blur."""
    one, generator = step.degradation, torch.Generator().manual_seed(step.seed)
    if isinstance(one, Shake):
        return centred_psf(one.camera_path(frame, generator))
    if isinstance(one, TrajectoryBlur):
        return centred_psf(one.trajectory(generator), one.exposure)
    if isinstance(one, KernelBlur | Defocus | GaussianBlur):
        return one.point_spread()
    return None


def _spread(n_things: int, n_wanted: int) -> list[int]:
    n_wanted = min(n_things, n_wanted)
    return [round((i + 0.5) * n_things / n_wanted - 0.5) for i in range(n_wanted)]


def _cell(item: Item) -> Cell:
    files = [file for file in (item.degraded, item.clean) if file is not None]
    pictures = tuple(fitted(read_pixels(file)) for file in files)  # no more than one is in memory as it was
    drawn = _drawn_of(item)
    if drawn is None or not drawn.steps:
        return Cell("/".join(files[0].parts[-3:]), pictures)
    kernels = (blur_of(step, drawn.cut.frame) for step in drawn.steps)
    caption = f"{files[0].name}  {', '.join(step.kind for step in drawn.steps)}"
    return Cell(caption, pictures, next((kernel for kernel in kernels if kernel is not None), None))


def _drawn_of(item: Item) -> Drawn | None:
    """What a synthesised pair was made by; None for others."""
    if item.degraded is None:
        return None
    path = item.degraded.parent.parent / "drawn" / f"{item.degraded.stem}.json"
    return read_drawn(path) if path.is_file() else None


def _pack_cells(pack: Pack, n_samples: int) -> list[Cell]:
    kinds = [kind for kind in KINDS if kind in pack.counts]
    cells = []
    for places in zip(*(_spread(pack.counts[kind], n_samples) for kind in kinds), strict=False):
        pictures = tuple(fitted(pack.read(kind, place)) for kind, place in zip(kinds, places, strict=True))
        photo, top, left = pack.origin(kinds[0], places[0])
        cells.append(Cell(f"#{places[0]}  {Path(photo).name} at {left}, {top}", pictures))
    return cells
