"""Training and held-out parts of a dataset that never share a video."""

import collections
import dataclasses

import torch

from resharp.errors import ArgumentError

from .listing import Item, Listing


def split_by_group(listing: Listing, held_out: float, *, seed: int = 0) -> tuple[Listing, Listing]:
    """(training, held out): whole groups only, drawn from the seed; items without a group are groups of their own.

    A listing with items of the published test split and others is parted as published, whatever else is asked; items
    of no split go to the training.  Otherwise held_out is a number of items, or below 1 a share of them: as many groups
    as fit into it are held out, and the smallest one where none does.  Raises ArgumentError where nothing is left.
    """
    splits = {item.split for item in listing.items}
    if "test" in splits and splits != {"test"}:
        return _parted(listing, {id(item) for item in listing.items if item.split == "test"})
    groups: dict[str | int, list[Item]] = collections.defaultdict(list)
    for number, item in enumerate(listing.items):
        groups[item.group or number].append(item)
    n_wanted = round(held_out * len(listing.items)) if held_out < 1 else held_out
    if not 0 < n_wanted < len(listing.items) or len(groups) < 2:
        whole = f"{len(listing.items)} items in {len(groups)} groups"
        raise ArgumentError(f"cannot hold {held_out} out of {whole}; hold out fewer, and whole groups only")
    drawn = list(groups.values())
    order = torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed)).tolist()
    held: list[Item] = []
    for index in order:
        if len(held) + len(drawn[index]) <= n_wanted:
            held += drawn[index]
    return _parted(listing, {id(item) for item in held or min((drawn[index] for index in order), key=len)})


def _parted(listing: Listing, held: set[int]) -> tuple[Listing, Listing]:
    """In the order of the listing."""
    parts = ([item for item in listing.items if (id(item) in held) is out] for out in (False, True))
    train, test = (dataclasses.replace(listing, items=tuple(items)) for items in parts)
    return train, test
