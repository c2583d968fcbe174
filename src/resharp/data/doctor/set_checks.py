"""Checks of single photos and of the set as a whole."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from resharp.data.listing import Listing

from .findings import Finding, folder_of
from .records import THUMBNAIL, ItemRecord, PhotoRecord

SMALLEST_SIDE = 32  # pixels: the patch of the smallest training, and what the other checks need
NEAR_DUPLICATE = 0.9  # correlation of fine thumbnails: two exposures of one scene reach 0.98, 500 unrelated photos 0.64
BLOCK = 1024  # thumbnails compared at once: a 4 MB product
PLAIN = 1.5 / 255  # standard deviation of a fine thumbnail, below which it shows too little to be recognised


def unreadable_photos(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """What `read_photo` refused, in its words."""
    found = []
    for photo in _each_once(records):
        if photo.trouble:
            message, _, remedy = photo.trouble.partition("; ")
            found.append(Finding("unreadable", (photo.path,), message, remedy or "mend, convert or remove it"))
    return found


def constant_photos(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Photos of one level; the tiny ones are reported as such."""
    return [
        Finding(
            "constant",
            (photo.path,),
            f"{photo.path}: all its {photo.size} pixels are the same (level {float(photo.thumbnail.mean()):.2f} of 1)",
            "get or make the photo again, or remove its pair",
        )
        for photo in _readable(records)
        if photo.constant and photo.thumbnail is not None and min(photo.height, photo.width) >= SMALLEST_SIDE
    ]


def tiny_photos(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Photos with a side below SMALLEST_SIDE; of a pair its clean one, for a low resolution may be that small."""
    found = []
    for record in records:
        photo = record.clean or record.degraded
        if photo is not None and not photo.trouble and min(photo.height, photo.width) < SMALLEST_SIDE:
            message = f"{photo.path}: is only {photo.size}, below {SMALLEST_SIDE} pixels a side"
            found.append(Finding("tiny", (photo.path,), message, "remove it: no training patch fits", "warning"))
    return _without_repeats(found)


def mixed_depth(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Photos of another bit depth than most photos of their side."""

    def described(photo: PhotoRecord) -> str:
        return f"{photo.depth}-bit"

    return _minority("depth", records, described, "save it with the depth of the others, from its original")


def mixed_colour(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Grey photos among colour ones or the reverse, and grey sides of colour sets."""

    def described(photo: PhotoRecord) -> str:
        return "grey" if photo.grey else "colour"

    found = _minority("colour", records, described, "convert it to what the others are, or remove it")
    usual = [_usual(side, described) for side in _sides(records)]
    if len(set(usual) - {""}) > 1:
        folders = tuple(folder_of([photo.path for photo in side]) for side in _sides(records))
        message = f"{folders[0]}: its photos are {usual[0]}, those of {folders[1]} {usual[1]}"
        found.append(Finding("colour", folders, message, "convert one side to what the other is", "warning"))
    return found


def _minority(
    kind: str, records: Sequence[ItemRecord], described: Callable[[PhotoRecord], str], remedy: str
) -> list[Finding]:
    found = []
    for side in _sides(records):
        usual = _usual(side, described)
        n_usual = sum(described(photo) == usual for photo in side)
        for photo in side:
            if (found_as := described(photo)) != usual:
                message = f"{photo.path}: is {found_as}, {n_usual} of {len(side)} photos beside it {usual}"
                found.append(Finding(kind, (photo.path,), message, remedy, "warning"))
    return _without_repeats(found)


def _usual(photos: Sequence[PhotoRecord], described: Callable[[PhotoRecord], str]) -> str:
    counts = Counter(map(described, photos))
    return max(sorted(counts), key=lambda text: counts[text], default="")


def transparent_photos(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Photos with an alpha plane."""
    return [
        Finding(
            "alpha",
            (photo.path,),
            f"{photo.path}: has an alpha plane, which no training sees",
            "flatten it onto a background",
            "warning",
        )
        for photo in _readable(records)
        if photo.alpha
    ]


def identical_photos(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Photos of one split that are the same picture; a clean photo that several pairs share counts once."""
    known: dict[tuple[str, bytes], PhotoRecord] = {}
    found = []
    split_of = {photo.path: record.item.split for record in reversed(records) for photo in record.photos}
    for photo in _readable(records):
        if photo.constant:
            continue
        first = known.setdefault((split_of[photo.path], photo.digest), photo)
        if first is not photo:
            message = f"{photo.path}: is the same picture as {first.path}, pixel by pixel"
            remedy = "remove one of them; in a pair, make the degraded one again"
            found.append(Finding("duplicate", (photo.path, first.path), message, remedy, "warning"))
    return found


def leaks_across_splits(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Near-duplicates between splits: each photo of the later split once, with the photo that it resembles most.

    Frames of one video are left to `videos_in_two_splits`.
    """
    faces = []
    for record in records:
        photo = record.clean or record.degraded
        if photo is not None and photo.shows_something and record.item.split:
            faces.append((record, photo))
    splits = list(dict.fromkeys(record.item.split for record, _ in faces))
    thumbnails = _fine_thumbnails([photo for _, photo in faces])
    members = {s: [i for i, (record, _) in enumerate(faces) if record.item.split == s] for s in splits}
    found = []
    for later, split in enumerate(splits):
        before = [i for other in splits[:later] for i in members[other]]
        for index, twin, likeness in _nearest(thumbnails, members[split], before):
            (record, photo), (twin_record, twin_photo) = faces[index], faces[twin]
            if record.item.group and record.item.group == twin_record.item.group:
                continue
            message = (
                f"{photo.path}: of {split} shows what {twin_photo.path} of {twin_record.item.split} does "
                f"(correlation {likeness:.3f})"
            )
            found.append(Finding("leak", (photo.path, twin_photo.path), message, "keep it in one of the two splits"))
    return _without_repeats(found)


def _fine_thumbnails(photos: Sequence[PhotoRecord]) -> NDArray[np.float32]:
    """(n, 1024): thumbnails without their coarse light and shade, which many photos share; norm 1, plain ones 0."""
    fine = np.zeros((len(photos), THUMBNAIL**2), np.float32)
    for row, photo in zip(fine, photos, strict=True):
        thumbnail = np.asarray(photo.thumbnail, dtype=np.float32)
        detail = thumbnail - cv2.GaussianBlur(thumbnail, (0, 0), THUMBNAIL / 8)
        if detail.std() > PLAIN:
            row[:] = detail.ravel() / np.linalg.norm(detail)
    return fine


def _nearest(
    thumbnails: NDArray[np.float32], members: Sequence[int], others: Sequence[int]
) -> Iterator[tuple[int, int, float]]:
    """(member, the other most like it, correlation) where that is a near-duplicate."""
    if not others:
        return
    for start in range(0, len(members), BLOCK):
        block = members[start : start + BLOCK]
        best = np.full(len(block), -1.0)
        twin = np.zeros(len(block), int)
        for first in range(0, len(others), BLOCK):
            likeness = thumbnails[block] @ thumbnails[others[first : first + BLOCK]].T
            nearest = likeness.argmax(1)
            value = likeness[np.arange(len(block)), nearest]
            better = value > best
            best[better], twin[better] = value[better], first + nearest[better]
        for index, value, which in zip(block, best, twin, strict=True):
            if value > NEAR_DUPLICATE:
                yield index, others[which], float(value)


def videos_in_two_splits(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Groups that a split cuts in two."""
    groups: dict[str, dict[str, list[ItemRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.item.group and record.item.split:
            groups[record.item.group][record.item.split].append(record)
    found = []
    for group, splits in groups.items():
        if len(splits) > 1:
            counts = " and ".join(f"{split} ({len(members)})" for split, members in splits.items())
            files = tuple(members[0].photos[0].path for members in splits.values())
            message = f"{files[0]}: its video {group} has frames in {counts}"
            found.append(Finding("video", files, message, "move all frames of it into one split"))
    return found


def _sides(records: Sequence[ItemRecord]) -> list[list[PhotoRecord]]:
    """The readable degraded photos, and the readable clean ones."""
    sides = [[record.degraded for record in records], [record.clean for record in records]]
    return [[photo for photo in side if photo is not None and not photo.trouble] for side in sides]


def _readable(records: Sequence[ItemRecord]) -> list[PhotoRecord]:
    return [photo for photo in _each_once(records) if not photo.trouble]


def _each_once(records: Sequence[ItemRecord]) -> list[PhotoRecord]:
    """The photos in the order of the items; one that several items share comes once."""
    return list({photo.path: photo for record in records for photo in record.photos}.values())


def _without_repeats(found: Sequence[Finding]) -> list[Finding]:
    """The same findings, each once, as photos that several items share would bring them."""
    return list(dict.fromkeys(found))
