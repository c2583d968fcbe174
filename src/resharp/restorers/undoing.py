"""Pairs beside what blind deblurring makes of them: what a network learns to refine from.

    FOLDER/blur/000000.png  FOLDER/sharp/000000.png  FOLDER/undone/000000.npy  ...  FOLDER/manifest.json

Borders of 12 pixels are left out, and the sharp photo is moved to where the undone one lies (`laying`): no network can
know that shift, and one that is asked to hedges and draws edges twice.  Of kernels in doubt there is a second pair,
000000-weakly, with what was undone weakly.  A pair is done when its array is there, which is written last; one in which
no blur is found, or whose halves do not meet, is noted in FOLDER/untouched.
"""

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import resharp
from resharp.data.manifest import MANIFEST, Entry, Manifest, save_manifest
from resharp.data.sources import Source
from resharp.data.workers import in_order
from resharp.degradations import without_margin
from resharp.errors import DatasetError
from resharp.files import clear_unfinished, refusals_named, written_whole
from resharp.locks import exclusive
from resharp.models import DEFAULT_DENOISER
from resharp.networks import Refiner
from resharp.photo import Photo, write_photo

from .blind import BlindRestorer
from .laying import BORDER, FARTHEST, laid_onto
from .opening import open_denoiser


def open_plain(device: str, precision: str) -> BlindRestorer:
    """Blind deblurring without a refiner."""
    return BlindRestorer(open_denoiser(DEFAULT_DENOISER, device=device, precision=precision), keeps_undone=True)


def undo_pairs(
    source: Source,
    folder: Path,
    open_restorer: Callable[[], BlindRestorer],
    *,
    n_workers: int = 0,
    on_pair: Callable[[], None] = lambda: None,
) -> int:
    """Write all pairs in which a blur is found; returns how many these are.  Stopped, the same call goes on.

    open_restorer: makes one without a refiner that keeps what is fitted; each process opens its own.  Raises
    DatasetError for photos without their other half, and what the restorer raises.
    """
    with refusals_named(folder):
        for name in ("blur", "sharp", "undone", "untouched"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        clear_unfinished(folder)
        entries, n_pairs = [], 0
        for found in in_order(_Undoing(source, folder, open_restorer), range(len(source)), n_workers):
            entries += found
            n_pairs += bool(found)
            on_pair()
        if not entries:
            raise DatasetError(f"{folder}: in none of the {len(source)} photos a blur was found; take shaken ones")
        made_by = f"undone by resharp {resharp.__version__}"
        counts = {"": len(entries)}
        save_manifest(
            Manifest(layout="pairs", paired=True, source=made_by, counts=counts, items=tuple(entries)),
            folder / MANIFEST,
        )
    return n_pairs


class _Undoing:
    """What a worker does with the number of a pair."""

    def __init__(self, source: Source, folder: Path, open_restorer: Callable[[], BlindRestorer]) -> None:
        self._source, self._folder, self._open = source, folder, open_restorer

    @functools.cached_property
    def _restorer(self) -> BlindRestorer:
        return self._open()

    def __call__(self, number: int) -> list[Entry]:
        name = f"{number:06d}"
        array, mark = self._folder / "undone" / f"{name}.npy", self._folder / "untouched" / name
        if mark.exists():
            return []
        if not _is_made(array) and not self._made(number, array, mark):
            return []
        height, width = (side - 2 * BORDER for side in self._source.size(number))
        group = self._source.group(number)
        return [
            Entry(
                degraded=f"blur/{one.stem}.png", clean=f"sharp/{one.stem}.png", group=group, height=height, width=width
            )
            for one in (array, _weakly(array))
            if one.exists()
        ]

    def _made(self, number: int, array: Path, mark: Path) -> bool:
        """Writes the pair and what was undone of it; False, and the reason in `mark`, where nothing was."""
        degraded, clean = self._source.read(number)
        name, least = self._source.name(number), 2 * (FARTHEST + BORDER) + 1
        if degraded is None or degraded.shape[-2:] != clean.shape[-2:]:
            raise DatasetError(f"{name}: has no degraded photo of its size; name a folder of pairs")
        if min(clean.shape[-2:]) < least:
            raise DatasetError(f"{name}: is smaller than {least} pixels; leave it out")
        blurry, sharp = ((pixels.float() / 255).expand(3, -1, -1) for pixels in (degraded, clean))
        made = self._restorer(blurry)
        laid = None if "untouched" in made.facts else laid_onto(made.image.cpu(), sharp)
        if laid is None:
            with written_whole(mark) as file:
                file.write(f"{made.facts.get('untouched', 'the halves do not meet')}\n".encode())
            return False
        margin = (BORDER, BORDER)
        for one, planes in ((_weakly(array), made.maps.get("undone_weakly")), (array, made.maps["undone"])):
            if planes is None:
                continue
            for half, image in (("blur", blurry), ("sharp", laid)):
                inner = Photo(without_margin(image, margin))
                write_photo(inner, self._folder / half / f"{one.stem}.png", png_compression=1)
            buffer = io.BytesIO()
            whole = without_margin(planes, margin).clamp(0, 1).mul(255).round()
            np.save(buffer, whole.to(torch.uint8).cpu().numpy())
            with written_whole(one) as file:
                file.write(buffer.getvalue())
        return True


def _weakly(array: Path) -> Path:
    return array.with_stem(f"{array.stem}-weakly")


def _is_made(array: Path) -> bool:
    """Whether it is there, and holds all planes; versions before wrote fewer."""
    return array.exists() and len(np.load(array, mmap_mode="r")) == Refiner.n_undone
