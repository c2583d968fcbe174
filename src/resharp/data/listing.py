"""What a dataset on disk holds, as plain values: which files belong together, and which stay on one side of a split.

Nothing here reads pixels.  `layouts` finds listings in folders; `manifest` writes and reads them as JSON.
"""

import dataclasses
from pathlib import Path

from resharp.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class Item:
    """One sample: a pair, or one half of what should be one, or a photo of an unpaired set.

    degraded, clean: the two photos, None where there is none;  group: the video, scene or burst that it comes from,
    which no split may cut in two ("" = its own);  split: "train", "test" or "" where the dataset names none.
    """

    degraded: Path | None
    clean: Path | None
    group: str = ""
    split: str = ""

    @property
    def is_pair(self) -> bool:
        return self.degraded is not None and self.clean is not None

    @property
    def name(self) -> str:
        """What messages call it: its degraded photo, else its clean one."""
        return str(self.degraded or self.clean)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The items of one dataset, in a fixed order.

    layout: the name of the layout that it was found in ("pairs", "clean", "gopro", ...);  paired: whether every item
    ought to be a pair;  source, licence: where the photos are from and what may be done with them, "" if unknown.
    """

    items: tuple[Item, ...]
    layout: str
    paired: bool
    source: str = ""
    licence: str = ""

    def only(self, split: str) -> "Listing":
        """The items of one split.  Raises DatasetError where there are none."""
        items = tuple(item for item in self.items if item.split == split)
        if not items:
            known = " and ".join(sorted({item.split for item in self.items} - {""}))
            has = f"it has {known}" if known else "it is not divided: no folder is called train, test or val"
            raise DatasetError(f"the dataset has no split {split!r}; {has}")
        return dataclasses.replace(self, items=items)

    @property
    def pairs(self) -> tuple[tuple[Path, Path], ...]:
        """(degraded, clean) of every item that has both."""
        return tuple((i.degraded, i.clean) for i in self.items if i.degraded is not None and i.clean is not None)

    @property
    def clean(self) -> tuple[Path, ...]:
        return tuple(item.clean for item in self.items if item.clean is not None)

    @property
    def degraded(self) -> tuple[Path, ...]:
        return tuple(item.degraded for item in self.items if item.degraded is not None)
