"""Clean photos -> training samples that can be replayed: a pure function of (seed, epoch, index), whatever ran before.

What is drawn and what is done are apart: `Synthesis.recipe` draws, `Synthesis.replay` does, and the recipe between them
is plain values that can be stored, looked at and changed.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from resharp.degradations import DegradationStep, Resize, apply_steps, step_from_json
from resharp.degradations.noise import checked_seed
from resharp.errors import ArgumentError, DatasetError, RecipeError

from .plan import Plan
from .sources import Source, open_source

_MIX = 0x9E3779B97F4A7C15  # odd constant of the golden ratio: neighbouring indices get unrelated seeds
_CONTEXT = 4  # pixels at half size that the crop's bicubic weights reach beyond it


def sample_generator(seed: int, index: int, epoch: int = 0) -> torch.Generator:
    """The generator of sample `index` of an epoch in a run with this seed."""
    mixed = ((seed * _MIX) ^ ((epoch << 40) + index + 1)) * _MIX % 2**64
    return torch.Generator().manual_seed(mixed ^ (mixed >> 31))


@dataclasses.dataclass(frozen=True)
class Cut:
    """What is taken of which photo.

    source, number: which source of the mixture and which of its photos, `photo` being its name;  crop: (top, left,
    height, width) in the photo (at half size if `half`), without the margin;  turn: quarter turns, then the flip.
    """

    source: int
    number: int
    photo: str
    crop: tuple[int, int, int, int]
    margin: int
    half: bool
    turn: int
    flip: bool


@dataclasses.dataclass(frozen=True)
class SampleRecipe:
    """How one sample was made; `Synthesis.replay` makes the same bytes of it again."""

    cut: Cut
    steps: tuple[DegradationStep, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return {"cut": vars(self.cut), "steps": [step.as_json() for step in self.steps]}

    @classmethod
    def from_json(cls, values: Any) -> "SampleRecipe":
        """Raises RecipeError for what is no such recipe."""
        if not isinstance(values, dict) or set(values) != {"cut", "steps"} or not isinstance(values["steps"], list):
            raise RecipeError("a sample's recipe is an object with cut and steps")
        try:
            cut = _CUT.validate_json(json.dumps(values["cut"]), strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in ("cut", *problem["loc"]))
            raise RecipeError(f"a sample's recipe: {place}: {problem['msg']}") from None
        return cls(cut, tuple(step_from_json(step) for step in values["steps"]))


_CUT = TypeAdapter(Cut)


class Sample(NamedTuple):
    """uint8 RGB both, (3, h, w) and (3, H, W), of one size unless the plan downscales."""

    degraded: Tensor
    clean: Tensor
    recipe: SampleRecipe


class Synthesis:
    """Samples from a mixture of sources under one plan.

    sources: (weight, source) each; of weights 2 and 1 every third sample is the second source's, in every order of
    workers.  Each source is gone through in an order of its own, drawn anew for every pass, without repetition within
    one.  Photos of clean sources go through the plan's variants; real pairs are cut, turned and flipped only.
    Photos smaller than the crop give their turn to the next one that is large enough.
    """

    def __init__(self, sources: Sequence[tuple[int, Source]], plan: Plan, *, seed: int = 0) -> None:
        if not sources or any(weight < 1 for weight, _ in sources):
            raise ArgumentError("a mixture has at least one source, each with a weight of 1 or more")
        self.sources = [source for _, source in sources]
        self.weights = tuple(weight for weight, _ in sources)
        self.plan = plan
        self.seed = seed
        self._orders: dict[int, tuple[int, Tensor]] = {}  # of each source: its pass and that pass's order

    def __len__(self) -> int:
        """Samples in an epoch: enough for every photo of every source to be seen."""
        rounds = max(-(-len(source) // weight) for weight, source in zip(self.weights, self.sources, strict=True))
        return rounds * sum(self.weights)

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of an epoch."""
        return self.replay(self.recipe(epoch, index))

    def recipe(self, epoch: int, index: int) -> SampleRecipe:
        """What sample `index` of an epoch is made of; reads no more than a photo's header."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        which, turn_of_source = _taking_turns(self.weights, index)
        number, (height, width) = self._fitting(which, turn_of_source, epoch)
        generator = sample_generator(self.seed, index, epoch)
        down, right, turn, flip = torch.randint(2**31, (4,), generator=generator).tolist()
        rows, columns = (self.plan.crop or height), (self.plan.crop or width)
        crop = (down % (height - rows + 1), right % (width - columns + 1), rows, columns)
        is_real = self.sources[which].is_real
        variant = self.plan.variants[_taking_turns(tuple(v.weight for v in self.plan.variants), turn_of_source)[0]]
        steps = [] if is_real else [step.draw(generator) for step in variant.steps]
        cut = Cut(
            source=which,
            number=number,
            photo=self.sources[which].name(number),
            crop=crop,
            margin=0 if is_real else self.plan.margin,
            half=self.plan.half,
            turn=turn % 4 if self.plan.turns else 0,
            flip=self.plan.flips and flip % 2 == 1,
        )
        return SampleRecipe(cut, tuple(step for step in steps if step is not None))

    def replay(self, recipe: SampleRecipe) -> Sample:
        """The sample that a recipe describes.  Raises DatasetError where the source does not hold its photo."""
        cut = recipe.cut
        if cut.source not in range(len(self.sources)) or cut.number not in range(len(self.sources[cut.source])):
            raise DatasetError(f"{cut.photo}: the recipe's photo is not among these sources")
        source = self.sources[cut.source]
        if source.name(cut.number) != cut.photo:
            raise DatasetError(f"{source.name(cut.number)}: stands where the recipe means {cut.photo}")
        degraded, clean = source.read(cut.number)
        region, (top, left) = _region(clean, cut)
        if degraded is None:
            spoiled, sharp = (_eight_bits(image) for image in apply_steps(recipe.steps, region.float().div_(255)))
        else:
            spoiled, sharp = _region(degraded, cut)[0], region
        rows, columns = cut.crop[2:]
        if spoiled.shape[-2:] == sharp.shape[-2:]:
            spoiled = spoiled[:, top : top + rows, left : left + columns]
        sharp = sharp[:, top : top + rows, left : left + columns]
        return Sample(_turned(spoiled, cut), _turned(sharp, cut), recipe)

    def _fitting(self, which: int, turn: int, epoch: int) -> tuple[int, tuple[int, int]]:
        """(number, size) of the photo whose turn it is, at half size if so planned; the next one that the crop fits."""
        source, half = self.sources[which], 2 if self.plan.half else 1
        passed, place = divmod(turn, len(source))
        order = self._order(which, epoch * (len(self) // len(source) + 1) + passed)
        for step in range(len(source)):
            number = int(order[(place + step) % len(source)])
            height, width = (side // half for side in source.size(number))
            if min(height, width) >= max(1, self.plan.crop):
                return number, (height, width)
        smaller = "smaller at half size" if self.plan.half else "smaller"
        raise DatasetError(
            f"{source.name(0)} and the {len(source) - 1} beside it are {smaller} than the crop of {self.plan.crop} "
            "pixels; choose a smaller crop"
        )

    def _order(self, which: int, passed: int) -> Tensor:
        if self._orders.get(which, (-1,))[0] != passed:
            generator = sample_generator(self.seed + which + 1, passed, epoch=2**20)  # apart from those of samples
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


def _region(photo: Tensor, cut: Cut) -> tuple[Tensor, tuple[int, int]]:
    """The crop with as much of its margin as the photo has, uint8, and where the crop begins in it."""
    scale = 2 if cut.half else 1
    height, width = (side // scale for side in photo.shape[-2:])
    top, left, rows, columns = cut.crop
    if top + rows > height or left + columns > width:
        raise DatasetError(f"{cut.photo}: is {width}x{height}, smaller than when the recipe was drawn")
    beyond = cut.margin + (_CONTEXT if cut.half else 0)
    first_row, first_column = max(0, top - beyond), max(0, left - beyond)
    last_row, last_column = min(height, top + rows + beyond), min(width, left + columns + beyond)
    region = photo[:, first_row * scale : last_row * scale, first_column * scale : last_column * scale]
    if cut.half:
        region = _eight_bits(Resize(0.5)(region.float().div_(255)))
    return region.contiguous(), (top - first_row, left - first_column)


def _eight_bits(image: Tensor) -> Tensor:
    return image.mul(255).round_().clamp_(0, 255).byte()


def _turned(pixels: Tensor, cut: Cut) -> Tensor:
    turned = torch.rot90(pixels, cut.turn, (-2, -1))
    return (turned.flip(-1) if cut.flip else turned).contiguous()


def open_synthesis(places: Sequence[Path], plan: Plan, *, weights: Sequence[int] = (), seed: int = 0) -> Synthesis:
    """A synthesis from folders, manifests and packs, mixed by weights (all 1 if none are given).

    Raises DatasetError for a place without photos, ArgumentError for weights that do not fit.
    """
    if weights and len(weights) != len(places):
        raise ArgumentError(f"{len(weights)} weights for {len(places)} sources; give one for each, or none")
    if any(not 1 <= weight <= 1000 for weight in weights):
        raise ArgumentError(f"the weights are {', '.join(map(str, weights))}; each lies between 1 and 1000")
    sources = [open_source(place) for place in places]
    return Synthesis(list(zip(weights or [1] * len(sources), sources, strict=True)), plan, seed=checked_seed(seed))
