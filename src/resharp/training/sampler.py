"""Where a run's batches come from, and the photos that it is judged by: functions of the seed and of a number."""

import collections
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from resharp.data.beside import Beside
from resharp.data.in_step import DrawnBatch, finished
from resharp.data.loading import Noise, Stream, batches
from resharp.data.plan import Plan
from resharp.data.sources import Source
from resharp.data.synthesis import Synthesis, as_unit, open_sources
from resharp.degradations import check_in_batches, make_degradation
from resharp.device import copied_ahead
from resharp.errors import ArgumentError, RecipeError, ResharpError

from .config import Recipe
from .context import Batch


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A run's samples by number.

    stream: of which a batch is made;  held_out: fixed samples of photos that are kept out of it;  n_groups: of how many
    groups these are.
    """

    stream: Stream
    held_out: Batch
    n_groups: int
    n_workers: int

    @property
    def gives(self) -> tuple[str, ...]:
        """The names in a batch."""
        paired = ("degraded", "clean") if self.stream.degraded is None else ("degraded", "unpaired")
        return *paired, *(name for name in self.held_out if name not in ("degraded", "clean"))

    @property
    def sources(self) -> list[Source]:
        """All that is read from."""
        others = [] if self.stream.degraded is None else self.stream.degraded.sources
        return [*self.stream.synthesis.sources, *others]

    def batches(
        self,
        start: int,
        stop: int,
        batch_size: int,
        device: torch.device,
        *,
        rounds: int = 1,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> Iterator[Batch]:
        """Samples start ... stop - 1 on a device: for each step `rounds` batches in one, a process's share."""
        stream = batches(
            self.stream.synthesis,
            batch_size=batch_size,
            start=start,
            stop=stop,
            n_workers=self.n_workers,
            noise_sigma=self.stream.noise_sigma,
            degraded=self.stream.degraded,
            noise=self.stream.noise,
            rounds=rounds,
            rank=rank,
            n_ranks=n_ranks,
            in_step=self.stream.in_step,
            pinned=device.type == "cuda",
        )
        for batch in copied_ahead(stream, device):
            made = finished(batch) if isinstance(batch, DrawnBatch) else batch
            yield {name: as_taken(part) for name, part in made.items()}

    def photos(self, first: int, last: int) -> list[str]:
        """The names of the photos that samples first ... last are made of, each once."""
        return list(dict.fromkeys(name for number in range(first, last + 1) for name in self.stream.photos(number)))


def as_taken(pixels: Tensor) -> Tensor:
    """Samples as the loader gives them, as a step takes them."""
    return as_unit(pixels).contiguous(memory_format=torch.channels_last)


def open_sampler(recipe: Recipe, noise: Noise | None = None) -> Sampler:
    """What a recipe trains on and is judged by, with a map of noise for each photo if that is wanted.

    A degrader that is judged is given clean photos, beside their degraded ones where these are pairs.  Raises
    DatasetError, ArgumentError, RecipeError.
    """
    data, plan = recipe.data, recipe.data.plan
    _check_data(recipe)
    kept_bytes = data.kept_megabytes * 2**20
    half: Literal["clean"] | None = None if data.degraded is None else "clean"
    clean = open_sources(data.photos, plan, split=data.split or None, half=half, kept_bytes=kept_bytes, deep=True)
    if not any(source.is_real for source in clean) and data.degraded is None and not spoils(recipe):
        raise RecipeError(
            "data: nothing is done to these clean photos, so that there is nothing to learn; give data.plan steps, a "
            "data.noise_sigma, or name pairs"
        )
    if data.degrade == "step" and any(source.is_real for source in clean):
        raise RecipeError('data.degrade: pairs are degraded already, and "step" has nothing to do; leave it out')
    beside = {name: Beside(name, folder, clean[0]) for name, folder in data.beside.items()}
    spoiled = None
    if data.degraded is not None:
        (spoiled,) = open_sources(
            [data.degraded], plan, split=data.split or None, half="degraded", kept_bytes=kept_bytes, deep=True
        )
    blurs = recipe.judged == "degrader"
    training, kept = held_out(clean if spoiled is None or blurs else [spoiled], data.n_holdout, data.n_holdout_groups)
    degraded = None
    if spoiled is not None:
        # in another order than the clean ones
        degraded = Synthesis([(1, spoiled if blurs else training[0])], plan, seed=recipe.seed + 2)
        training = training if blurs else clean
    weights = data.mix or (1,) * len(training)
    synthesis = Synthesis(list(zip(weights, training, strict=True)), plan, seed=recipe.seed, beside=beside)
    in_step = data.degrade == "step"
    stream = Stream(synthesis, noise_sigma=data.noise_sigma, degraded=degraded, noise=noise, in_step=in_step)
    photos = _fixed(kept, recipe, beside, noise)
    if degraded is not None:
        photos["degraded"] = photos.pop("clean")
    elif blurs:
        photos |= {"degraded": photos["clean"], "clean": photos["degraded"]}
    return Sampler(stream, photos, len({kept.group(number) for number in range(len(kept))}), data.n_workers)


def spoils(recipe: Recipe) -> bool:
    """Whether anything is done to clean photos."""
    return bool(recipe.data.noise_sigma) or any(variant.steps for variant in recipe.data.plan.variants)


def _check_data(recipe: Recipe) -> None:
    data, plan = recipe.data, recipe.data.plan
    if data.mix and len(data.mix) != len(data.photos):
        raise RecipeError(f"data.mix: {len(data.mix)} weights for {len(data.photos)} sources; give one for each")
    if plan.crop == 0 and any(stage.batch_size > 1 for stage in recipe.stages):
        raise RecipeError("data.plan.crop: whole photos make no batches; set a crop, or batch_size = 1")
    if data.degraded is not None and spoils(recipe):
        raise RecipeError(
            "data.degraded: these photos are degraded already, and the clean ones stay so: leave the plan's steps "
            "(variants = [{ steps = [] }]) and data.noise_sigma out"
        )
    if data.degraded is not None and data.degrade == "step":
        raise RecipeError('data.degrade: photos of data.degraded are so already; leave "step" out')
    _check_in_step(recipe)
    if data.degraded is not None and data.beside:
        raise RecipeError("data.beside: lies beside photos that are paired or spoiled here, not beside data.degraded")
    if data.beside and (len(data.photos) > 1 or plan.half):
        what = "half size, which would blend the values of a map" if plan.half else "several sources"
        raise RecipeError(f"data.beside: second inputs do not go with {what}; take one source at its size")


def _check_in_step(recipe: Recipe) -> None:
    """Raises RecipeError for steps of the plan that the loader alone can do."""
    for v, variant in enumerate(recipe.data.plan.variants if recipe.data.degrade == "step" else ()):
        for s, step in enumerate(variant.steps):
            for parameters in step.extremes():
                try:
                    check_in_batches(make_degradation(step.kind, parameters))
                except RecipeError as error:
                    raise RecipeError(f"data.plan.variants.{v}.steps.{s}: {error}") from None


def _fixed(source: Source, recipe: Recipe, beside: dict[str, Beside], noise: Noise | None) -> dict[str, Tensor]:
    """One sample of each photo of a source, in a crop of up to the judge's, stacked: float32 on the CPU."""
    plan: Plan = recipe.data.plan
    smallest = min(min(source.size(index)) for index in range(len(source))) // (2 if plan.half else 1)
    side = min(recipe.judge.crop, smallest) // plan.factor * plan.factor
    if side < 16:
        raise ArgumentError(f"{source.name(0)}: the held-out photos are too small to judge by; take larger ones")
    cut = plan.model_copy(update={"crop": side})
    synthesis = Synthesis([(1, source)], cut, seed=recipe.seed + 1, beside=beside)
    stream = Stream(synthesis, noise_sigma=recipe.data.noise_sigma, noise=noise)
    samples: list[Batch] = []
    for number in range(len(source)):
        sample = stream[number]
        if isinstance(sample, ResharpError):
            raise sample
        assert isinstance(sample, dict), "they are made here"
        samples.append({name: as_unit(part) for name, part in sample.items()})
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


# --- what is held out -------------------------------------------------------------------------------------------------


class Part:
    """Some of a source's photos, as a source of its own."""

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.source, self.numbers, self.is_real = source, list(numbers), source.is_real

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, index: int) -> str:
        """As in the whole source."""
        return self.source.name(self.numbers[index])

    def group(self, index: int) -> str:
        """As in the whole source."""
        return self.source.group(self.numbers[index])

    def size(self, index: int) -> tuple[int, int]:
        """(height, width)."""
        return self.source.size(self.numbers[index])

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(degraded or None, clean)."""
        return self.source.read(self.numbers[index])

    def fingerprint(self) -> str:
        """Of the whole source."""
        return self.source.fingerprint()


def held_out(sources: Sequence[Source], n_holdout: int, n_groups_least: int = 1) -> tuple[list[Source], Source]:
    """(training, held out): whole groups of the first source leave the training, evenly spread over their order, until
    `n_holdout` photos and `n_groups_least` groups are out; so many photos, of each group as many as of the others where
    it has them, are kept to judge by.  Of the other sources, which may be made of the same photos, groups of the same
    names leave, too.  Raises ArgumentError where nothing would be left to train on."""
    source = sources[0]
    groups: dict[str, list[int]] = {}
    for number in range(len(source)):
        groups.setdefault(source.group(number), []).append(number)
    names = list(groups)
    n_groups, out, chosen = len(names), list[int](), list[list[int]]()
    for count in range(n_groups_least, n_groups):
        chosen = [groups[names[index]] for index in _spread(n_groups, count)]
        out = [number for group in chosen for number in group]
        if len(out) >= n_holdout:
            break
    if not n_holdout <= len(out) < len(source):
        raise ArgumentError(
            f"cannot hold {n_holdout} of {len(source)} photos, and {n_groups_least} of {n_groups} groups at least, "
            "out of the training; lower data.n_holdout or data.n_holdout_groups, or bring more photos"
        )
    turns = [place for turn in range(max(map(len, chosen))) for place, group in enumerate(chosen) if turn < len(group)]
    n_each = collections.Counter(turns[:n_holdout])
    picked = sorted(chosen[place][index] for place, n in n_each.items() for index in _spread(len(chosen[place]), n))
    judging, left = {source.group(number) for number in out}, set(out)
    training = Part(source, [number for number in range(len(source)) if number not in left])
    return [training, *(_without(one, judging) for one in sources[1:])], Part(source, picked)


def _spread(n: int, count: int) -> list[int]:
    """`count` of the numbers below n, evenly."""
    return [round((i + 0.5) * n / count - 0.5) for i in range(count)]


def _without(source: Source, groups: Collection[str]) -> Source:
    kept = [number for number in range(len(source)) if source.group(number) not in groups]
    if not kept:
        raise ArgumentError(
            f"all photos like {source.name(0)} are of groups that are held out of the first source; lower "
            "data.n_holdout or data.n_holdout_groups, or leave that source out"
        )
    return Part(source, kept)
