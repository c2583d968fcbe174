"""Checks of pairs, each held against the others of its set."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resharp.data.listing import Listing

from .findings import Finding, folder_of
from .measures import VISIBLE_GAMMA, PairMeasures
from .records import ItemRecord, PhotoRecord

Pair = tuple[PhotoRecord, PhotoRecord, PairMeasures]

MOST = 3  # measured pairs that it takes to speak of a set
UNLIKE = 0.4  # likeness: real pairs stay above 0.97, crops of 96 pixels under strong blur above 0.55
OTHER_FITS, OWN_DOES_NOT = 0.9, 0.7  # correlation of thumbnails
SWAPPED_ALONE = 0.75  # of a single pair: blur carries detail in from beyond the edge, which made it 0.8 in plain crops
SWAPPED = 0.85  # sharpness ratio: unswapped pairs with noise of sigma 0.1, JPEG 20 or no blur at all stay above 0.95
SHIFT_OF_A_SET = 0.3  # pixels, same size: a wrong half pixel is above, the real sets (0.1 to 0.7, scattered) are not
SHIFT_OF_A_SCALED_SET = 0.12  # pixels of the small photo: nearest-neighbour x2 is 0.25, correct sets are below 0.01
SHIFT_OF_A_PAIR = 0.75  # pixels, beside what the pair's own blur allows
BLUR_RADII = 3.5  # of shift are a blur's own: the centres of real and made kernels lie up to 3.4 of them off
BLUR_RADII_OF_ONE_PIXEL = 200.0  # divided by the photo's side: small photos tell shift and blur less well
SURE_LIKENESS, UNSURE_FACTOR = 0.98, 5.0  # below this likeness, a shift must exceed that many times as much
OUT_OF_LINE_GAMMA = 1.6  # exponents of real pairs spread from 0.85 to 1
OTHER_LIGHT = 0.7  # between exponents of averaging: 1 and 2.2 are to be told apart, real pairs are off by up to 0.2


def pairs_of(records: Sequence[ItemRecord], *, alike: bool = True) -> list[Pair]:
    """The measured pairs; `alike`: without those that show different scenes."""
    found = []
    for record in records:
        degraded, clean, measures = record.degraded, record.clean, record.measures
        if degraded is None or clean is None or measures is None or (alike and measures.likeness < UNLIKE):
            continue
        found.append((degraded, clean, measures))
    return found


def _folders(pairs: Sequence[Pair]) -> tuple[Path, Path]:
    return folder_of([degraded.path for degraded, _, _ in pairs]), folder_of([clean.path for _, clean, _ in pairs])


def _spread(values: NDArray[np.float64]) -> float:
    """Standard deviation as the median deviation tells it, blind to a few outliers."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def unpaired_files(listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Items of a paired listing with one photo."""
    found = []
    for record in records if listing.paired else []:
        if not record.item.is_pair:
            half, other = ("clean", "degraded") if record.item.degraded is None else ("degraded", "clean")
            message = f"{record.item.name}: is a {half} photo without a {other} one"
            remedy = f"add the {other} photo under the same name, or remove this one"
            found.append(Finding("unpaired", (record.photos[0].path,), message, remedy))
    return found


def sizes_that_do_not_fit(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Pairs of no whole scale, or of another than most; where most degraded photos are the larger ones: swapped."""
    readable = [(r.degraded, r.clean, r.scale) for r in records if r.degraded is not None and r.clean is not None]
    pairs = [(degraded, clean, scale) for degraded, clean, scale in readable if not (degraded.trouble or clean.trouble)]
    scales = Counter(scale for _, _, scale in pairs if scale is not None)
    usual = max(scales, key=lambda scale: (scales[scale], -abs(scale), scale), default=1)
    found = []
    if usual < -1:
        folders = folder_of([d.path for d, _, _ in pairs]), folder_of([c.path for _, c, _ in pairs])
        message = (
            f"{folders[0]}: its photos are {-usual} times as large as those of {folders[1]} (in {scales[usual]} pairs)"
        )
        found.append(Finding("swapped", folders, message, "swap the two folders"))
    for degraded, clean, scale in pairs:
        if scale == usual:
            continue
        message = f"{degraded.path}: is {degraded.size} and {clean.path} is {clean.size}, which is "
        if scale is None:
            wanted = f"{abs(usual)} times as large" if abs(usual) > 1 else "of the same size"
            kind, remedy = "size", f"cut or make again one of the two, so that the clean photo is {wanted}"
            message += "no whole scale"
        else:
            kind, remedy = "scale", "make the pair again with the scale of the set, or remove it"
            message += f"a scale of {_scale_text(scale)} where {scales[usual]} pairs have {_scale_text(usual)}"
        found.append(Finding(kind, (degraded.path, clean.path), message, remedy))
    return found


def _scale_text(scale: int) -> str:
    return f"{scale}" if scale > 0 else f"1/{-scale}"


def unlike_pairs(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Pairs whose photos do not show the same, and whose photo fits another pair clearly better."""
    pairs = pairs_of(records, alike=False)
    if not pairs:
        return []
    degraded_photos, clean_photos, _measures = zip(*pairs, strict=True)
    degraded, clean = (_unit_thumbnails(side) for side in (degraded_photos, clean_photos))
    found = []
    for index, (photo, counterpart, measures) in enumerate(pairs):
        own = float(clean[index] @ degraded[index])
        if own >= OWN_DOES_NOT:
            continue
        likenesses = clean @ degraded[index]
        best = int(np.argmax(likenesses))
        elsewhere = likenesses[best] > OTHER_FITS and best != index
        if not elsewhere and not measures.likeness < UNLIKE:
            continue
        message = f"{photo.path}: shows another scene than {counterpart.path} (correlation {own:.2f})"
        remedy = "pair the photos that belong together: were both folders sorted the same way?"
        if elsewhere:
            remedy = f"it fits {pairs[best][1].path} (correlation {likenesses[best]:.2f}): pair it with that one"
        found.append(Finding("unlike", (photo.path, counterpart.path), message, remedy))
    return found


def _unit_thumbnails(photos: Sequence[PhotoRecord]) -> NDArray[np.float32]:
    """(n, 1024): mean 0 and norm 1 each, so that products are correlations."""
    planes = np.stack([np.asarray(photo.thumbnail, dtype=np.float32).ravel() for photo in photos])
    planes -= planes.mean(1, keepdims=True)
    planes /= np.maximum(np.linalg.norm(planes, axis=1, keepdims=True), 1e-6)
    return planes


def swapped_pairs(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Pairs whose degraded photo has more fine detail than the clean one; one finding where that is most of the set."""
    # Of other sizes, those tell, and aliasing looks sharp.
    pairs = [p for p in pairs_of(records) if p[0].height == p[1].height and not math.isnan(p[2].sharpness)]
    swapped = [pair for pair in pairs if pair[2].sharpness < SWAPPED]
    if len(swapped) >= MOST and len(swapped) > len(pairs) / 2:
        folders = _folders(pairs)
        message = (
            f"{folders[0]}: its photos are sharper than those of {folders[1]} in {len(swapped)} of {len(pairs)} pairs "
            f"(detail {1 / np.median([m.sharpness for _, _, m in swapped]):.2f} times as strong, median)"
        )
        return [Finding("swapped", folders, message, "swap the two folders")]
    found = []
    for degraded, clean, measures in swapped:
        if measures.sharpness > SWAPPED_ALONE:
            continue
        message = f"{degraded.path}: is sharper than {clean.path} (detail {1 / measures.sharpness:.2f} times as strong)"
        found.append(Finding("swapped", (degraded.path, clean.path), message, "swap the two files"))
    return found


def misaligned_pairs(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """A shift or stretch that the whole set shares, and pairs shifted by more than their blur explains."""
    found: list[Finding] = []
    for scaled in (False, True):
        pairs = [p for p in pairs_of(records) if (p[0].height != p[1].height) == scaled]
        pairs = [pair for pair in pairs if not math.isnan(pair[2].shift[0])]
        if not pairs:
            continue
        offsets = np.array([[*measures.shift, *measures.stretch] for _, _, measures in pairs])
        least = SHIFT_OF_A_SCALED_SET if scaled else SHIFT_OF_A_SET
        shared = np.median(offsets, 0)
        if len(pairs) < MOST:
            shared[:] = 0
        error = np.array([1.25 * _spread(column) for column in offsets.T]) / math.sqrt(len(pairs))
        systematic = (np.abs(shared) > least) & (np.abs(shared) > 4 * error)
        shared[~systematic] = 0
        if systematic.any():
            found.append(_shared_offset(pairs, shared, scaled=scaled))
        found += _shifted_pairs(pairs, offsets[:, :2] - shared[:2])
    return found


def _shared_offset(pairs: Sequence[Pair], shared: NDArray[np.float64], *, scaled: bool) -> Finding:
    folders = _folders(pairs)
    blur_radius = _usual_blur(pairs)
    said = [f"{value:+.2f} px {where}" for value, where in zip(shared[:2], ("right", "down"), strict=True) if value]
    said += [
        f"stretched by {v:+.2f} px at the {e} edges"
        for v, e in zip(shared[2:], ("side", "upper and lower"), strict=True)
        if v
    ]
    message = (
        f"{folders[0]}: its photos lie against those of {folders[1]}: {', '.join(said)} (median of {len(pairs)} pairs)"
    )
    # One kernel for all photos, its centre off the middle, does that too; but no shift beyond the blur's own size.
    explained = not scaled and not shared[2:].any() and bool(np.abs(shared).max() < blur_radius)
    severity: Literal["error", "warning"] = "warning" if explained else "error"
    remedy = "resize with pixel centres aligned and cut both photos at the same place"
    if explained:
        remedy += "; fine where one kernel, off its middle, blurred them all"
    return Finding("misaligned", folders, message, remedy, severity)


def _usual_blur(pairs: Sequence[Pair]) -> float:
    radii = [measures.blur_radius for _, _, measures in pairs if not math.isnan(measures.blur_radius)]
    return float(np.median(radii)) if radii else 0.0


def _shifted_pairs(pairs: Sequence[Pair], shifts: NDArray[np.float64]) -> list[Finding]:
    found = []
    scatter = max(_spread(shifts[:, 0]), _spread(shifts[:, 1]))
    usual_blur = _usual_blur(pairs)  # a photo with little in it may hide how strongly it is blurred
    for (degraded, clean, measures), (right, down) in zip(pairs, shifts, strict=True):
        if math.isnan(measures.blur_radius):  # too little in it to tell
            continue
        radii = BLUR_RADII + BLUR_RADII_OF_ONE_PIXEL / min(degraded.height, degraded.width)
        allowed = max(SHIFT_OF_A_PAIR + radii * max(measures.blur_radius, usual_blur), 4 * scatter)
        allowed *= 1 if measures.likeness > SURE_LIKENESS else UNSURE_FACTOR
        if math.hypot(right, down) > allowed + 4 * measures.shift_error:
            message = (
                f"{degraded.path}: lies {measures.shift[0]:+.1f} px right and {measures.shift[1]:+.1f} px down of "
                f"{clean.path}, more than its blur explains ({allowed:.1f} px)"
            )
            files = degraded.path, clean.path
            remedy = "look at the two: cut both at the same place, or remove the pair, unless it is motion"
            found.append(Finding("misaligned", files, message, remedy, "warning"))
    return found


def other_gamma(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """An exponent between the levels of degraded and clean photos, of the whole set or of pairs out of line with it."""
    pairs = [pair for pair in pairs_of(records) if not math.isnan(pair[2].gamma)]
    if not pairs:
        return []
    remedy = "save both in the same encoding: one of them is linear light, the other gamma-encoded"
    logs = np.log([measures.gamma for _, _, measures in pairs])
    usual = float(np.median(logs)) if len(pairs) >= MOST else 0.0
    found = []
    if abs(usual) > math.log(VISIBLE_GAMMA):
        folders = _folders(pairs)
        message = (
            f"{folders[0]}: its levels are those of {folders[1]} to the power {math.exp(usual):.2f} "
            f"(median of {len(pairs)} pairs)"
        )
        found.append(Finding("gamma", folders, message, remedy))
    else:
        usual = 0.0
    for (degraded, clean, measures), log in zip(pairs, logs, strict=True):
        if abs(log - usual) > math.log(OUT_OF_LINE_GAMMA):
            message = f"{degraded.path}: its levels are those of {clean.path} to the power {measures.gamma:.2f}"
            found.append(Finding("gamma", (degraded.path, clean.path), message, remedy))
    return found


def mixed_light(_listing: Listing, records: list[ItemRecord]) -> list[Finding]:
    """Pairs whose blur was averaged in another light than that of most, as GoPro's `blur` and `blur_gamma` are."""
    pairs = [pair for pair in pairs_of(records) if not math.isnan(pair[2].averaging)]
    if len(pairs) < MOST:
        return []
    usual = float(np.median([measures.averaging for _, _, measures in pairs]))

    def named(exponent: float) -> str:
        return "linear light" if exponent > 1.6 else "encoded values"

    found = []
    for degraded, clean, measures in pairs:
        if abs(measures.averaging - usual) > OTHER_LIGHT and named(measures.averaging) != named(usual):
            message = (
                f"{degraded.path}: seems blurred in {named(measures.averaging)} (exponent {measures.averaging:.1f}), "
                f"most of the set in {named(usual)} ({usual:.1f})"
            )
            remedy = "take all blurred photos from one subset, such as GoPro's blur or its blur_gamma"
            found.append(Finding("mixed-light", (degraded.path, clean.path), message, remedy, "warning"))
    return found
