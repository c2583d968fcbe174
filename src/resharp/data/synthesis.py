"""Clean photos -> training samples that can be replayed: a pure function of (seed, epoch, index), whatever ran before.

What is drawn and what is done are apart: `Synthesis.draw` draws, `Synthesis.replay` does, and what was drawn is plain
values that can be stored, looked at and changed.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from resharp.degradations import DegradationStep, Frame, Resize, Undone, apply_steps, step_from_json
from resharp.degradations.ranges import checked_seed
from resharp.errors import ArgumentError, DatasetError, RecipeError

from .beside import Beside
from .plan import Plan
from .sources import KEPT_BYTES, Source, open_source

_MIX = 0x9E3779B97F4A7C15  # odd constant of the golden ratio: neighbouring indices get unrelated seeds
_CONTEXT = 4  # pixels at half size that the crop's bicubic weights reach beyond it


def sample_generator(seed: int, index: int, epoch: int = 0) -> torch.Generator:
    """The generator of sample `index` of an epoch in a run with this seed."""
    mixed = ((seed * _MIX) ^ ((epoch << 40) + index + 1)) * _MIX % 2**64
    return torch.Generator().manual_seed(mixed ^ (mixed >> 31))


@dataclasses.dataclass(frozen=True)
class Cut:
    """What is taken of which photo.

    source, number: which source of the mixture and which of its photos, `photo` being its name and `size` its (height,
    width), at half size if `half`;  crop: (top, left, height, width) in it, without the margin, of which whole
    multiples of `factor` are taken;  turn: quarter turns, then the flip.
    """

    source: int
    number: int
    photo: str
    size: tuple[int, int]
    crop: tuple[int, int, int, int]
    margin: int
    factor: int
    half: bool
    turn: int
    flip: bool

    @property
    def taken(self) -> tuple[int, int, int, int]:
        """Pixels that are taken above, right of, below and left of the crop, as far as the photo has them."""
        (height, width), (top, left, rows, columns) = self.size, self.crop
        around = (top, width - left - columns, height - top - rows, left)
        above, right, below, before = (min(space, self.margin) // self.factor * self.factor for space in around)
        return above, right, below, before

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the crop in what is taken, turned and flipped."""
        above, _, _, left = self._turned(self.taken)
        rows, columns = self.crop[2:] if self.turn % 2 == 0 else self.crop[:1:-1]
        return above, left, rows, columns

    @property
    def frame(self) -> Frame:
        """Where in the photo that lies which is taken, both turned and flipped."""
        (height, width), (top, left, rows, columns), taken = self.size, self.crop, self.taken
        around = (top, width - left - columns, height - top - rows, left)
        above, right, below, before = self._turned(taken)
        top, _, _, left = self._turned(around)
        if self.turn % 2:
            rows, columns, height, width = columns, rows, width, height
        return Frame(height, width, top - above, left - before, rows + above + below, columns + before + right)

    def _turned(self, sides: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """What lies above, right, below and left once it is turned counter-clockwise and flipped."""
        above, right, below, left = sides[self.turn :] + sides[: self.turn]
        return (above, left, below, right) if self.flip else (above, right, below, left)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """How one sample was made; `Synthesis.replay` makes the same bytes of it again."""

    cut: Cut
    steps: tuple[DegradationStep, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return {"cut": vars(self.cut), "steps": [step.as_json() for step in self.steps]}

    @classmethod
    def from_json(cls, values: Any) -> "Drawn":
        """Raises RecipeError for what is nothing of the kind."""
        if not isinstance(values, dict) or set(values) != {"cut", "steps"} or not isinstance(values["steps"], list):
            raise RecipeError("what was drawn for a sample is an object with cut and steps")
        try:
            cut = _CUT.validate_json(json.dumps(values["cut"]), strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in ("cut", *problem["loc"]))
            raise RecipeError(f"what was drawn for a sample: {place}: {problem['msg']}") from None
        return cls(cut, tuple(step_from_json(step) for step in values["steps"]))


_CUT = TypeAdapter(Cut)


class Sample(NamedTuple):
    """RGB both, (3, h, w) and (3, H, W), of one size unless the plan downscales: uint8, of photos with 16 bits float32
    in [0, 1]."""

    degraded: Tensor
    clean: Tensor
    drawn: Drawn


class Synthesis:
    """Samples from a mixture of sources under one plan.

    sources: (weight, source) each; of weights 2 and 1 every third sample is the second source's.  Each source is gone
    through in an order of its own, drawn anew for every pass; photos smaller than the crop give their turn to the next
    one that is large enough.  Photos of clean sources go through the plan's variants, which take turns as well; real
    pairs are cut, turned and flipped only.  beside: second inputs of the photos, by name.
    """

    def __init__(
        self,
        sources: Sequence[tuple[int, Source]],
        plan: Plan,
        *,
        seed: int = 0,
        beside: Mapping[str, Beside] | None = None,
    ) -> None:
        if not sources or any(weight < 1 for weight, _ in sources):
            raise ArgumentError("a mixture has at least one source, each with a weight of 1 or more")
        self.sources = [source for _, source in sources]
        self.weights = tuple(weight for weight, _ in sources)
        self.plan = plan
        self.seed = seed
        self._beside = beside or {}
        self._orders: dict[int, tuple[int, Tensor]] = {}  # of each source: its pass and that pass's order

    def __len__(self) -> int:
        """Samples in an epoch: enough for every photo of every source to be seen."""
        rounds = max(-(-len(source) // weight) for weight, source in zip(self.weights, self.sources, strict=True))
        return rounds * sum(self.weights)

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of an epoch."""
        return self.replay(self.draw(epoch, index))

    def draw(self, epoch: int, index: int) -> Drawn:
        """What sample `index` of an epoch is made of; reads no more than a photo's header."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        which, turn = _taking_turns(self.weights, index)
        turn += epoch * (len(self) // sum(self.weights) * self.weights[which])  # turns go on over the epochs
        number, (height, width) = self._fitting(which, turn)
        generator = sample_generator(self.seed, index, epoch)
        down, right, turns, flip = torch.randint(2**31, (4,), generator=generator).tolist()
        multiple = self.plan.factor
        rows, columns = (self.plan.crop or side // multiple * multiple for side in (height, width))
        is_real = self.sources[which].is_real
        variant = self.plan.variants[_taking_turns(tuple(v.weight for v in self.plan.variants), turn)[0]]
        steps = [] if is_real else [step.draw(generator) for step in variant.steps]
        cut = Cut(
            source=which,
            number=number,
            photo=self.sources[which].name(number),
            size=(height, width),
            crop=(down % (height - rows + 1), right % (width - columns + 1), rows, columns),
            margin=0 if is_real else self.plan.margin,
            factor=multiple,
            half=self.plan.half,
            turn=turns % 4 if self.plan.turns else 0,
            flip=self.plan.flips and flip % 2 == 1,
        )
        return Drawn(cut, tuple(step for step in steps if step is not None))

    def replay(self, drawn: Drawn) -> Sample:
        """The sample that was drawn so.  Raises DatasetError where the source does not hold its photo."""
        cut, (degraded, region) = drawn.cut, self._regions(drawn.cut)
        if degraded is not None:
            return Sample(_inner(degraded, cut), _inner(region, cut), drawn)
        try:
            spoiled, sharp = apply_steps(drawn.steps, as_unit(region), frame=cut.frame)
        except (ArgumentError, RecipeError) as error:
            raise type(error)(f"{cut.photo}: {error}") from None
        spoiled, sharp = (stored_as(region, image) for image in (spoiled, sharp))
        return Sample(_inner(spoiled, cut, cut.factor), _inner(sharp, cut), drawn)

    def undone(self, drawn: Drawn) -> Undone:
        """What a sample of a clean photo is made of, for whoever does it: the pixels around its crop, and its steps."""
        return Undone(self._regions(drawn.cut)[1], drawn.steps, drawn.cut.frame)

    def _regions(self, cut: Cut) -> tuple[Tensor | None, Tensor]:
        """(degraded or None, clean): what is taken of a photo, turned and flipped."""
        if cut.source not in range(len(self.sources)) or cut.number not in range(len(self.sources[cut.source])):
            raise DatasetError(f"{cut.photo}: its photo is not among these sources")
        source = self.sources[cut.source]
        if source.name(cut.number) != cut.photo:
            raise DatasetError(f"{source.name(cut.number)}: stands where the sample means {cut.photo}")
        degraded, clean = source.read(cut.number)
        return None if degraded is None else _region(degraded, cut), _region(clean, cut)

    def beside(self, drawn: Drawn) -> dict[str, Tensor]:
        """What lies beside the photo of a sample, cut, turned and flipped as its clean half is."""
        cut = drawn.cut
        return {name: _inner(_region(one.read(cut.photo, cut.size), cut), cut) for name, one in self._beside.items()}

    def _fitting(self, which: int, turn: int) -> tuple[int, tuple[int, int]]:
        """(number, size) of the photo whose turn it is, at half size if so planned; the next one that the crop fits."""
        source, half = self.sources[which], 2 if self.plan.half else 1
        passed, place = divmod(turn, len(source))
        order = self._order(which, passed)
        for step in range(len(source)):
            number = int(order[(place + step) % len(source)])
            height, width = (side // half for side in source.size(number))
            if min(height, width) >= max(self.plan.factor, self.plan.crop):
                return number, (height, width)
        smaller = "smaller at half size" if self.plan.half else "smaller"
        raise DatasetError(
            f"{source.name(0)} and the {len(source) - 1} beside it are {smaller} than the crop of {self.plan.crop} "
            "pixels; choose a smaller crop"
        )

    def _order(self, which: int, passed: int) -> Tensor:
        if self._orders.get(which, (-1,))[0] != passed:
            generator = sample_generator(self.seed, passed, epoch=2**20 + which)  # apart from those of samples
            self._orders[which] = passed, torch.randperm(len(self.sources[which]), generator=generator)
        return self._orders[which][1]


def _taking_turns(weights: tuple[int, ...], index: int) -> tuple[int, int]:
    """(which, how many of its own came before) for number `index` of things that take turns, each `weight` times."""
    cycle, place = divmod(index, sum(weights))
    for which, weight in enumerate(weights):
        if place < weight:
            return which, cycle * weight + place
        place -= weight
    raise AssertionError("place lies within the sum of the weights")


def _inner(region: Tensor, cut: Cut, factor: int = 1) -> Tensor:
    """The crop within the region, which was made `factor` times smaller."""
    top, left, rows, columns = (side // factor for side in cut.inner)
    return region[:, top : top + rows, left : left + columns].contiguous()


def _region(photo: Tensor, cut: Cut) -> Tensor:
    """The crop with its margin, turned and flipped."""
    scale = 2 if cut.half else 1
    height, width = (side // scale for side in photo.shape[-2:])
    if (height, width) != cut.size:
        raise DatasetError(f"{cut.photo}: is {width}x{height}, not {cut.size[1]}x{cut.size[0]} as the sample says")
    (above, right, below, before), (top, left, rows, columns) = cut.taken, cut.crop
    box = (top - above, top + rows + below, left - before, left + columns + right)
    region = _halved(photo, *box) if cut.half else photo[:, box[0] : box[1], box[2] : box[3]]
    region = torch.rot90(region, cut.turn, (-2, -1))
    return (region.flip(-1) if cut.flip else region).contiguous()


def _halved(photo: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """A box of a photo at half size, as if the whole photo had been resized."""
    height, width = (side // 2 for side in photo.shape[-2:])
    first_row, first_column = max(0, top - _CONTEXT), max(0, left - _CONTEXT)
    last_row, last_column = min(height, bottom + _CONTEXT), min(width, right + _CONTEXT)
    pixels = photo[:, 2 * first_row : 2 * last_row, 2 * first_column : 2 * last_column]
    small = stored_as(photo, Resize(0.5)(as_unit(pixels)))
    return small[:, top - first_row : bottom - first_row, left - first_column : right - first_column]


def as_unit(pixels: Tensor) -> Tensor:
    """Pixels as sources and samples have them, uint8 or float32 already, as float32 in [0, 1]."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels


def stored_as(photo: Tensor, image: Tensor) -> Tensor:
    """An image in [0, 1] on the levels of the photo that it was made of, and in its type."""
    if photo.dtype == torch.uint8:
        return image.mul(255).round_().clamp_(0, 255).byte()
    return image.mul(65535).round_().clamp_(0, 65535).div_(65535)


def open_sources(
    places: Sequence[str | Path],
    plan: Plan,
    *,
    split: str | None = None,
    half: Literal["clean", "degraded"] | None = None,
    kept_bytes: int = KEPT_BYTES,
    deep: bool = False,
) -> list[Source]:
    """The sources of a mixture under a plan, each keeping so many bytes of decoded photos; `half`, `deep`: as for
    `open_source`.

    split: of the first place, and of those others that have splits.  Raises DatasetError, and RecipeError for steps
    where all places hold real pairs: these are degraded already, and go through none, nor are they made smaller.
    """
    sources = [
        open_source(place, split=split, is_split=number == 0, half=half, kept_bytes=kept_bytes, deep=deep)
        for number, place in enumerate(places)
    ]
    if all(source.is_real for source in sources) and any(variant.steps for variant in plan.variants):
        raise RecipeError(
            f"{', '.join(map(str, places))}: pairs, which are degraded already and go through no steps; leave the "
            "plan's out (variants = [{ steps = [] }]), or name clean photos"
        )
    if plan.factor > 1 and any(source.is_real for source in sources):
        raise RecipeError(
            f"{', '.join(map(str, places))}: pairs keep their size beside photos that the plan downscales, and batches "
            "hold photos of one size; take clean photos alone, or no downscale"
        )
    return sources


def open_synthesis(
    places: Sequence[str | Path],
    plan: Plan,
    *,
    weights: Sequence[int] = (),
    seed: int = 0,
    split: str | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> Synthesis:
    """A synthesis from folders, manifests and packs, mixed by weights (all 1 if none are given).

    `split`, `kept_bytes`: as for `open_sources`.  Raises DatasetError for a place without photos, ArgumentError for
    weights that do not fit, RecipeError for a plan whose steps nothing would go through.
    """
    if weights and len(weights) != len(places):
        raise ArgumentError(f"{len(places)} sources take as many weights or none, not {len(weights)}")
    if any(not 1 <= weight <= 1000 for weight in weights):
        raise ArgumentError(f"the weights are {', '.join(map(str, weights))}; each lies between 1 and 1000")
    sources = open_sources(places, plan, split=split, kept_bytes=kept_bytes)
    return Synthesis(list(zip(weights or [1] * len(sources), sources, strict=True)), plan, seed=checked_seed(seed))
