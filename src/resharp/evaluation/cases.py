"""What is evaluated: the pictures of a dataset, by name, and how one is brought before a method."""

import collections
import dataclasses
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from resharp.data.layouts import open_listing
from resharp.data.listing import Item, Listing
from resharp.data.manifest import refuse_odd_names
from resharp.data.packs import Pack, is_pack
from resharp.data.sources import one_split
from resharp.degradations import (
    Blur,
    DegradationStep,
    Mosaic,
    Noise,
    apply_steps,
    demosaic_bilinear,
    parse_kernel,
    steps_from_text,
    without_margin,
)
from resharp.errors import ArgumentError, DatasetError
from resharp.metrics import METRICS
from resharp.photo import photo_size, read_photo
from resharp.provenance import file_sha256

from .protocols import Protocol

_pack_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Patch:
    """A patch of a pack; kind: "blur" or "sharp"."""

    pack: Path
    kind: str
    index: int


Source = Path | Patch


@dataclasses.dataclass(frozen=True)
class Case:
    """One picture to restore.

    name: as in the dataset;  file: the same as the name of a PNG, unlike any other case's;  degraded: None where it is
    made from the clean one;  clean: the truth, several frames of a trajectory, or none.
    """

    name: str
    file: str
    degraded: Source | None
    clean: tuple[Source, ...]
    number: int = 0  # its place in the dataset


@dataclasses.dataclass(frozen=True)
class CaseSet:
    """The cases of a dataset in their order, and the whole dataset that they may be the first ones of.

    sha256: over the cases' names and the bytes of their files.
    """

    name: str
    cases: tuple[Case, ...]
    sha256: str
    dataset: tuple[Case, ...]


@dataclasses.dataclass(frozen=True)
class Sample:
    """A case as a method sees it, and what it is judged by.

    degraded: float32 (3, h, w), in [0, 1] but for noise;  clean: the truth (3, H, W), None where there is none or where
    it is one of `frames`, which are read one by one;  size: (H, W) that the restored picture must have;  grey: whether
    the truth is stored as a grey photo;  kernel, noise_sigma, scale, pattern: what the protocol tells of the
    degradation, else None.
    """

    case: Case
    degraded: Tensor
    clean: Tensor | None
    frames: tuple[Source, ...]
    size: tuple[int, int]
    grey: bool = False
    kernel: Tensor | None = None
    noise_sigma: float | None = None
    scale: int | None = None
    pattern: str | None = None


# --- which there are --------------------------------------------------------------------------------------------------


def open_cases(
    data: str | Path | Listing,
    protocol: Protocol,
    *,
    split: str | None = None,
    subset: str | None = None,
    limit: int | None = None,
) -> CaseSet:
    """The cases of a folder, manifest, pack or listing that a protocol can judge; the first `limit` of them.

    Of a dataset that has several splits, the test photos are taken unless `split` says otherwise.  Raises DatasetError
    for a dataset that is empty, that lacks partners, or that is not what the protocol takes.
    """
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit is {limit}; at least one picture is needed")
    place = Path() if isinstance(data, Listing) else Path(data)
    if not isinstance(data, Listing) and is_pack(place):
        if split or subset:
            raise DatasetError(f"{place}: is a pack, which has no splits or subsets")
        return _cases_of_pack(place, protocol, limit)
    listing = data if isinstance(data, Listing) else open_listing(place, subset=subset)
    if split is None and len({item.split for item in listing.items} - {""}) > 1:
        split = "test" if any(item.split == "test" for item in listing.items) else None
    listing = one_split(listing, split, place)
    refuse_odd_names(listing.items)
    name = listing.layout if isinstance(data, Listing) else place.resolve().name
    items = _items_for(protocol, listing, name)
    dataset = tuple(_named(items, place if place.is_dir() else place.parent, protocol))
    told = [listing.layout, *([f"split {split}"] if split else []), *([f"subset {subset}"] if subset else [])]
    return CaseSet(f"{name} ({', '.join(told)})", dataset[:limit], _sha256(dataset[:limit]), dataset)


def _items_for(protocol: Protocol, listing: Listing, name: str) -> list[tuple[Item, tuple[Path, ...]]]:
    """(item, its truths) as the protocol takes them.  Raises DatasetError for a listing that has none of these."""
    found: list[tuple[Item, tuple[Path, ...]]]
    if listing.layout == "side-by-side":
        raise DatasetError(f"{name}: holds A|B in one photo; `resharp data prepare` cuts them apart")
    if (protocol.takes == "trajectories") != (listing.layout == "kohler") and protocol.takes != "clean":
        wanted = "takes Koehler's benchmark alone" if protocol.takes == "trajectories" else "does not take it"
        raise DatasetError(f"{name}: is of layout {listing.layout}; protocol {protocol.name} {wanted}")
    if protocol.takes == "trajectories":
        shots: dict[Path, list[Item]] = {}
        for item in listing.items:
            if item.degraded is not None:
                shots.setdefault(item.degraded, []).append(item)
        found = [(items[0], tuple(i.clean for i in items if i.clean is not None)) for items in shots.values()]
    elif protocol.takes == "pairs":
        found = [(item, (item.clean,)) for item in listing.items if item.degraded is not None and item.clean]
    elif protocol.takes == "clean":
        truths = dict.fromkeys(item.clean for item in listing.items if item.clean is not None)
        found = [(Item(None, path), (path,)) for path in truths]
    else:
        is_judged = not protocol.figures or any(METRICS[name].needs_truth for name in protocol.figures)
        found = [(item, (item.clean,) if is_judged and item.clean is not None else ()) for item in listing.items]
    if not found:
        held = "clean photos alone" if listing.clean else "degraded photos alone" if listing.degraded else "no photos"
        wanted = {"pairs": "pairs of a degraded and a clean photo", "clean": "clean photos"}.get(protocol.takes, "them")
        raise DatasetError(f"{name}: holds {held}; protocol {protocol.name} takes {wanted}")
    return found


def _named(items: Sequence[tuple[Item, tuple[Path, ...]]], root: Path, protocol: Protocol) -> list[Case]:
    """GROUP/NAME of a pair, else the path below the root; files that would be the same are told apart by number."""
    names = [_name(item, root) for item, _ in items]
    stems = collections.Counter(str(PurePosixPath(name).with_suffix("")).casefold() for name in names)
    taken = set(stems)
    cases = []
    for place, (name, (item, truths)) in enumerate(zip(names, items, strict=True)):
        file = stem = PurePosixPath(name).with_suffix("")
        if stems[str(stem).casefold()] > 1:
            numbered = (stem.with_name(f"{stem.name}-{number}") for number in itertools.count(place))
            file = next(one for one in numbered if str(one).casefold() not in taken)
            taken.add(str(file).casefold())
        seen = None if protocol.takes == "clean" else item.degraded or item.clean
        cases.append(Case(name, f"{file}.png", seen, truths, place))
    return cases


def names_of(listing: Listing, root: Path) -> dict[str, Item]:
    """The items of a dataset by the names that `evaluate` gives them; of one with several splits those of its test."""
    if len({item.split for item in listing.items} - {""}) > 1:
        listing = listing.only("test")
    return {_name(item, root): item for item in listing.items}


def _name(item: Item, root: Path) -> str:
    path = item.degraded or item.clean
    assert path is not None
    if item.is_pair:
        return (PurePosixPath(item.group) / path.name).as_posix()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _cases_of_pack(path: Path, protocol: Protocol, limit: int | None) -> CaseSet:
    pack = Pack(path)
    if protocol.takes == "trajectories" or (protocol.takes == "pairs" and not pack.paired):
        held = "pairs" if pack.paired else "sharp patches alone"
        raise DatasetError(f"{path}: holds {held}, which protocol {protocol.name} does not take")
    if (protocol.scale or 1) != 1:
        raise DatasetError(f"{path}: a pack's pairs have one size; protocol {protocol.name} takes folders")
    main = "blur" if "blur" in pack.counts and protocol.takes != "clean" else "sharp"
    if main not in pack.counts:
        raise DatasetError(f"{path}: holds no sharp patches for protocol {protocol.name} to spoil")
    is_judged = "sharp" in pack.counts and (pack.paired or main == "sharp")
    dataset = tuple(
        Case(
            f"{path.name}#{n}",
            f"{n:06d}.png",
            Patch(path, main, n),
            (Patch(path, "sharp", n),) if is_judged else (),
            number=n,
        )
        for n in range(pack.counts[main])
    )
    cases = dataset[:limit]
    digest = hashlib.sha256(f"{file_sha256(path)} {len(cases)}".encode()).hexdigest()
    return CaseSet(f"{path.name} (pack)", cases, digest, dataset)


def _sha256(cases: Iterable[Case]) -> str:
    whole = hashlib.sha256()
    for case in cases:
        files = [source for source in (case.degraded, *case.clean) if isinstance(source, Path)]
        whole.update("\0".join([case.name, *map(file_sha256, dict.fromkeys(files))]).encode() + b"\n")
    return whole.hexdigest()


# --- one of them ------------------------------------------------------------------------------------------------------


def read_source(source: Source) -> tuple[Tensor, bool]:
    """(float32 (3, H, W) in [0, 1], whether it is grey).  Raises PhotoError."""
    if isinstance(source, Patch):
        with _pack_lock:
            pixels = _opened(source.pack).read(source.kind, source.index)
        return pixels.float() / 255, False
    photo = read_photo(source)
    return photo.image, photo.grey


@functools.lru_cache(maxsize=4)
def _opened(path: Path) -> Pack:
    return Pack(path)


def read_sample(case: Case, protocol: Protocol) -> Sample:
    """Raises PhotoError for a damaged photo, DatasetError for a pair that is none, KernelError, ArgumentError."""
    if protocol.takes == "clean":
        image, grey = read_source(case.clean[0])
        return _SPOILERS[protocol.name](case, image, grey, protocol)
    assert case.degraded is not None
    degraded, grey = read_source(case.degraded)
    scale = protocol.scale or 1
    size = degraded.shape[-2] * scale, degraded.shape[-1] * scale
    if protocol.takes == "trajectories":
        first = case.clean[0]
        found = photo_size(first) if isinstance(first, Path) else size
        _check_sizes(degraded, found, scale)
        return Sample(case, degraded, None, case.clean, size, grey)
    if not case.clean or case.clean[0] == case.degraded:
        return Sample(case, degraded, degraded if case.clean else None, (), size, grey, scale=protocol.scale)
    clean, grey_clean = read_source(case.clean[0])
    _check_sizes(degraded, clean.shape[-2:], scale)
    if differs_in_kind(degraded, grey, clean, grey_clean):
        kinds = "is grey and its truth in colour" if grey else "is in colour and its truth grey"
        raise DatasetError(f"the degraded photo {kinds}; bring a pair of one kind")
    return Sample(case, degraded, clean, (), size, grey_clean, scale=protocol.scale)


def differs_in_kind(image: Tensor, grey: bool, other: Tensor, other_grey: bool) -> bool:
    """Whether one photo is grey and the other shows colours; a grey one that is stored as RGB shows none."""
    if grey == other_grey:
        return False
    colour = other if grey else image
    return not (torch.equal(colour[0], colour[1]) and torch.equal(colour[1], colour[2]))


def _check_sizes(degraded: Tensor, found: Sequence[int], scale: int) -> None:
    height, width = degraded.shape[-2:]
    if tuple(found) == (height * scale, width * scale):
        return
    sizes = f"{width}x{height} and {found[1]}x{found[0]}"
    if scale == 1:
        raise DatasetError(f"the degraded photo and its truth differ in size ({sizes})")
    raise DatasetError(f"the truth is not {scale} times as large as the photo ({sizes}); --set scale=N names another")


def _blurred(case: Case, image: Tensor, grey: bool, protocol: Protocol) -> Sample:
    kernel = parse_kernel(protocol.kernel or "")
    kernel = kernel.flip(0, 1) if protocol.flip_kernel else kernel
    blur = Blur(kernel)
    degraded = _with_noise(blur(image), case, protocol)
    clean = without_margin(image, blur.margin)
    sigma = protocol.noise_sigma if protocol.noise_known else None
    return Sample(case, degraded, clean, (), _size(clean), grey, kernel=kernel, noise_sigma=sigma)


def _mosaicked(case: Case, image: Tensor, grey: bool, protocol: Protocol) -> Sample:
    if grey:
        raise DatasetError("the photo is grey and has no colours for a mosaic to sample")
    assert protocol.pattern is not None
    seen = demosaic_bilinear(Mosaic(protocol.pattern)(image), protocol.pattern)
    return Sample(case, seen, image, (), _size(image), pattern=protocol.pattern)


def _noisy(case: Case, image: Tensor, grey: bool, protocol: Protocol) -> Sample:
    sigma = protocol.noise_sigma if protocol.noise_known else None
    return Sample(case, _with_noise(image, case, protocol), image, (), _size(image), grey, noise_sigma=sigma)


def _spoiled(case: Case, image: Tensor, grey: bool, protocol: Protocol) -> Sample:
    seed = (protocol.seed or 0) + case.number
    steps = [DegradationStep(one, seed) for one in steps_from_text(protocol.steps or "")]
    degraded, clean = (one.clamp(0, 1).expand(3, -1, -1) for one in apply_steps(steps, image[:1] if grey else image))
    if degraded.shape != image.shape:
        raise DatasetError("the steps change the photo's size; protocol spoiled compares photos of one size")
    return Sample(case, degraded.mul(255).round().div(255), clean, (), _size(clean), grey)


_SPOILERS = {"dmsp": _blurred, "demosaic": _mosaicked, "denoise": _noisy, "spoiled": _spoiled}


def _with_noise(image: Tensor, case: Case, protocol: Protocol) -> Tensor:
    """The noise follows from the seed and the picture's name, so that it is the same in any selection and order."""
    digest = hashlib.sha256(f"{protocol.seed}:{case.name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
    return Noise(protocol.noise_sigma or 0.0)(image, generator=generator)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
