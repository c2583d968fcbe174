"""Datasets whose pixels change: photos of half the size, A|B cut apart, as PNG in destination/SPLIT/{blur,sharp}."""

import concurrent.futures
import contextlib
import dataclasses
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from resharp.degradations.resample import Resize
from resharp.errors import DatasetError, PhotoError
from resharp.photo import Photo, read_photo, read_pixels, write_photo

from .folders import some
from .listing import Item, Listing


def planned(listing: Listing, source: Path, destination: Path) -> list[Item]:
    """Where the photos of each item go.  Raises DatasetError where two would go to one file."""
    plan, taken = [], dict[str, str]()
    for item in listing.items:
        name = _name_below(item, source)
        degraded, clean = (destination / item.split / half / name for half in ("blur", "sharp"))
        plan.append(
            dataclasses.replace(item, degraded=item.degraded and degraded, clean=item.clean and clean),
        )
        same = unicodedata.normalize("NFC", f"{item.split}/{name}").casefold()
        if same in taken:
            raise DatasetError(f"{taken[same]} and {item.name} would both be written as {name}; rename one of them")
        taken[same] = item.name
    return plan


def rewritten(
    listing: Listing,
    plan: Sequence[Item],
    *,
    half: bool,
    n_workers: int = 1,
    on_item: Callable[[str, int, int], None],
) -> Listing:
    """The listing of the photos that were written.  Those that are there, sound and newer than their source are kept.

    Raises DatasetError that names the photos which could not be read, after all others were written, and OutputError
    at once.
    """
    cut = listing.layout == "side-by-side"
    executor = concurrent.futures.ThreadPoolExecutor(n_workers)  # codecs and torch work outside of Python's lock
    unreadable: list[str] = []
    with warnings.catch_warnings():  # Pillow's, which each thread would silence and restore for all of them
        warnings.simplefilter("ignore")
        try:
            jobs = zip(listing.items, plan, strict=True)
            futures = [executor.submit(_rewrite, item, target, half=half, cut=cut) for item, target in jobs]
            for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
                try:
                    future.result()
                except PhotoError as error:
                    unreadable.append(str(error))
                on_item("writing", number, len(futures))
        finally:
            executor.shutdown(cancel_futures=True)
    if unreadable:
        names = some(sorted(unreadable))
        raise DatasetError(f"{len(unreadable)} unreadable ({names}); get them again or remove them, then go on")
    return dataclasses.replace(listing, items=tuple(plan), layout="pairs" if cut else listing.layout)


def _name_below(item: Item, source: Path) -> Path:
    """GROUP/NAME.png; clean photos, of which each is its own group, keep their folders."""
    path = item.degraded or item.clean
    assert path is not None
    if item.degraded is None:
        return path.relative_to(source).with_suffix(".png")
    return Path(item.group) / f"{path.stem.removeprefix(f'{path.parent.name}_') or path.stem}.png"


def _rewrite(item: Item, target: Item, *, half: bool, cut: bool) -> None:
    jobs = [(s, t) for s, t in ((item.degraded, target.degraded), (item.clean, target.clean)) if s and t]
    if all(_is_newer(output, original) and _is_sound(output) for original, output in jobs):
        return
    photos = [read_photo(original) for original in dict.fromkeys(original for original, _ in jobs)]
    images = [photo.image for photo in photos]
    if cut:
        photos, images = photos * 2, list(images[0].chunk(2, -1))
    for photo, image, (_, output) in zip(photos, images, jobs, strict=True):
        changed = _halved(image) if half else image
        write_photo(Photo(changed, grey=photo.grey, depth=photo.depth, icc=photo.icc), output)


def _halved(image: Tensor) -> Tensor:
    """Bicubic and antialiased, as photos are shrunk for DeblurGAN; an odd side ends at the half rounded up."""
    smaller: Tensor = Resize(0.5)(image)
    return smaller.clamp(0, 1)


def _is_newer(output: Path, original: Path) -> bool:
    with contextlib.suppress(OSError):
        return output.stat().st_mtime >= original.stat().st_mtime
    return False


def _is_sound(output: Path) -> bool:
    try:
        read_pixels(output)
    except PhotoError:
        return False
    return True
