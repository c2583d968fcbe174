"""What is wrong with a dataset before a training finds out: every fault with its file and the way out.

One pass decodes each photo and keeps a small record of it (`records`); the pixels of a pair are compared while both are
at hand (`measures`).  The checks judge these records: one photo, one pair (`pair_checks`), or the set (`set_checks`).
A pair of one set is first held against its set: motion blur of its own moves and dims a photo, a mistake in the
preparation does the same to all of them.
"""

from collections.abc import Callable

from resharp.data.listing import Listing
from resharp.errors import DatasetError

from .findings import CHECKS, Finding
from .pair_checks import (
    misaligned_pairs,
    mixed_light,
    other_gamma,
    sizes_that_do_not_fit,
    swapped_pairs,
    unlike_pairs,
    unpaired_files,
)
from .records import ItemRecord, read_records
from .set_checks import (
    constant_photos,
    identical_photos,
    leaks_across_splits,
    mixed_colour,
    mixed_depth,
    tiny_photos,
    transparent_photos,
    unreadable_photos,
    videos_in_two_splits,
)

__all__ = ["CHECKS", "Finding", "examine"]

_Check = Callable[[Listing, list[ItemRecord]], list[Finding]]
_STEPS: tuple[_Check, ...] = (
    unreadable_photos,
    unpaired_files,
    sizes_that_do_not_fit,
    unlike_pairs,
    swapped_pairs,
    misaligned_pairs,
    other_gamma,
    mixed_light,
    constant_photos,
    tiny_photos,
    mixed_depth,
    mixed_colour,
    transparent_photos,
    identical_photos,
    leaks_across_splits,
    videos_in_two_splits,
)


def examine(listing: Listing, *, on_item: Callable[[int], None] | None = None, workers: int = 0) -> list[Finding]:
    """Every fault found in a listing, in the order of CHECKS and then of its items; [] for a clean one.

    on_item: called with the number of items read so far;  workers: threads that decode, 0 = none beside the caller's.
    Neither changes the result.  Memory holds about 5 kB per photo.  Raises DatasetError for a listing without items.
    """
    if not listing.items:
        raise DatasetError("the listing is empty: there is nothing to check; name a folder that holds photos")
    records = read_records(listing.items, on_item=on_item, workers=workers)
    return [finding for check in _STEPS for finding in check(listing, records)]
