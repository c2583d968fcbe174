"""What a run is judged by: held-out photos, spoiled once as the training ones are, and the figures on them."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from resharp.degradations import Resize
from resharp.errors import RecipeError, did_you_mean
from resharp.evaluation.protocols import PROTOCOLS
from resharp.figures import Cell, contact_sheet
from resharp.image import luma
from resharp.metrics import METRICS

from .config import JudgeRecipe, Recipe
from .context import Batch, Player
from .unrolled import KnownBlur

SHOWN = 6  # samples on a sheet
SAME = 60.0  # dB in a mean, of two pictures that are the same, as of a sharp photo among degraded ones: 8 bits have 59


@dataclasses.dataclass(frozen=True)
class Scores:
    """Means over the held-out photos, of what was restored and of what it was made from ("input_NAME").

    headline: the figure whose best moment is kept, "" for none;  higher_is_better: of it;  sheet: a picture of some of
    them (3, H, W), or None.
    """

    figures: dict[str, float]
    headline: str = ""
    higher_is_better: bool = True
    sheet: Tensor | None = None

    def is_better_than(self, best: float | None) -> bool:
        """Whether the headline never was as good."""
        if not self.headline:
            return False
        value = self.figures[self.headline]
        return best is None or (value > best if self.higher_is_better else value < best)


Judge = Callable[[Mapping[str, Player]], Scores]
"""What a training asks now and then: how good the cast is."""


class PhotoJudge:
    """The default judge: one network of the cast on fixed photos, "degraded" and, where there is a truth, "clean".

    Raises RecipeError for a figure without the truth that it compares with, an unknown figure or protocol.
    """

    def __init__(self, recipe: Recipe, photos: Batch, device: torch.device) -> None:
        self.photos, self.network, self.device = photos, recipe.judged, device
        self.settings, self.headline = recipe.judge, headline_of(recipe)
        self._truth = photos.get("clean")
        _check_figures(recipe.judge, self._truth is not None)
        self._colour, self._rounding, self._border = _protocol_of(recipe)
        self._yardstick = self._figures(self._enlarged(photos["degraded"]).clamp(0, 1))

    def __call__(self, players: Mapping[str, Player]) -> Scores:
        """The means of all figures, with the yardstick beside them."""
        restored = self.restored(players[self.network])
        each = self._figures(restored)
        means = {name: _mean(values) for name, values in each.items()}
        yardstick = {f"input_{name}": _mean(values) for name, values in self._yardstick.items()}
        better = METRICS[self.headline].higher_is_better if self.headline else True
        return Scores(means | yardstick, self.headline, better, self._sheet(restored, each))

    def restored(self, player: Player) -> Tensor:
        """(N, 3, H, W) in [0, 1], float32 on the CPU; the network in eval mode."""
        made = []
        for number in range(len(self.photos["degraded"])):
            one = {name: part[number : number + 1].to(self.device) for name, part in self.photos.items()}
            made.append(player.restored(one).float().cpu())
        return torch.cat(made).clamp(0, 1)

    def _figures(self, restored: Tensor) -> dict[str, Tensor]:
        """(N,) of each."""
        seen, truth = self._seen(restored), self._seen(restored if self._truth is None else self._truth)
        return {name: METRICS[name].function(seen, truth) for name in self.settings.figures}

    def _seen(self, pictures: Tensor) -> Tensor:
        """What the protocol counts: rounded, without a border, in its colours."""
        if self._rounding in ("round", "truncate"):
            levels = pictures.clamp(0, 1) * 255
            pictures = (levels.round() if self._rounding == "round" else (levels + 1e-3).floor()) / 255
        (height, width), border = pictures.shape[-2:], self._border
        pictures = pictures[..., border : height - border, border : width - border]
        return luma(pictures) if self._colour == "y" else pictures

    def _enlarged(self, degraded: Tensor) -> Tensor:
        """As large as the truth, by bicubic interpolation."""
        if self._truth is None or self._truth.shape == degraded.shape:
            return degraded
        enlarged: Tensor = Resize(self._truth.shape[-1] / degraded.shape[-1])(degraded)
        return enlarged

    def _sheet(self, restored: Tensor, each: Mapping[str, Tensor]) -> Tensor:
        """Input, output and truth of the first samples side by side, the first figure beside the input's."""
        name = self.headline or self.settings.figures[0]
        unit = f" {METRICS[name].unit}".rstrip()
        cells = []
        for index in range(min(SHOWN, len(restored))):
            before, after = float(self._yardstick[name][index]), float(each[name][index])
            pictures = [self.photos["degraded"][index].expand(3, -1, -1), restored[index]]
            truth = [] if self._truth is None else [self._truth[index]]
            cells.append(Cell(f"{name} {after:.2f}{unit}, input {before:.2f}", (*pictures, *truth)))
        return contact_sheet(cells, n_columns=2)


class BlurJudge(PhotoJudge):
    """Of a denoiser that is learned within a solver: the held-out photos, each blurred by a known kernel of its own and
    undone as the last stage does it; of their middle, where all of them show something."""

    def __init__(self, recipe: Recipe, photos: Batch, device: torch.device) -> None:
        wanted, clean = recipe.stages[-1].unrolled, photos["clean"].to(torch.float32)
        assert wanted is not None
        self._n_iterations, count = wanted.n_iterations, len(clean)
        as_in_photos = wanted.model_copy(update={"periodic": 0.0})
        known = [KnownBlur.drawn(as_in_photos, recipe.seed + 1 + number) for number in range(count)]
        blurred = [
            one.photos(photo[None], [number]) for number, (one, photo) in enumerate(zip(known, clean, strict=True))
        ]
        self._size = tuple(min(one.shape[dim] for one in blurred) for dim in (-2, -1))
        self._blurred = list(zip(known, blurred, strict=True))
        seen = {"degraded": torch.cat([self._middle(one) for one in blurred])}
        super().__init__(recipe, seen | {"clean": self._middle(clean)}, device)

    def restored(self, player: Player) -> Tensor:
        def denoise(noisy: Tensor, level: float) -> Tensor:
            return player.restored({"degraded": noisy, "sigma": torch.full((1, 1, 1, 1), level, device=noisy.device)})

        made = (one.undone(photo.to(self.device), denoise, self._n_iterations) for one, photo in self._blurred)
        return torch.cat([self._middle(one).float().cpu() for one in made]).clamp(0, 1)

    def _middle(self, images: Tensor) -> Tensor:
        top, left = ((has - size) // 2 for has, size in zip(images.shape[-2:], self._size, strict=True))
        return images[..., top : top + self._size[0], left : left + self._size[1]]


def judge_of(recipe: Recipe, photos: Batch, device: torch.device) -> PhotoJudge:
    """The judge of a recipe that names none."""
    return (PhotoJudge if recipe.stages[-1].unrolled is None else BlurJudge)(recipe, photos, device)


def _mean(values: Tensor) -> float:
    return float(torch.where(values == math.inf, SAME, values).mean())


def headline_of(recipe: Recipe) -> str:
    """The figure that says which moment was the best; "" where nobody said so and PSNR would mislead."""
    return recipe.judge.headline or ("" if recipe.has_critics else recipe.judge.figures[0])


def shown_score(recipe: Recipe, scores: Mapping[str, float]) -> str:
    """The headline, or else the first figure, in words: "38.61 dB, input 27.30 dB, gain +11.31"; a loss is negative,
    whether more or less of the figure is better."""
    name = headline_of(recipe) or recipe.judge.figures[0]
    unit = f" {METRICS[name].unit}".rstrip()
    value, before = scores[name], scores.get(f"input_{name}", math.nan)
    label = "" if name == "psnr" else f"{name} "
    gain = value - before if METRICS[name].higher_is_better else before - value
    return f"{label}{value:.2f}{unit}, input {before:.2f}{unit}, gain {gain:+.2f}"


def _protocol_of(recipe: Recipe) -> tuple[str, str | None, int]:
    """(colours, rounding, pixels of border left out) that the judge counts by."""
    factor = recipe.data.plan.factor
    name = recipe.judge.protocol or ("sr-y" if factor > 1 else "")
    if not name:
        return "rgb", None, 0
    protocol = PROTOCOLS[name]
    return protocol.colour, protocol.rounding, factor if protocol.scale else protocol.border or 0


def _check_figures(settings: JudgeRecipe, has_truth: bool) -> None:
    for name in settings.figures:
        if name not in METRICS:
            raise RecipeError(f"judge.figures: {name!r} is no metric; {did_you_mean(name, METRICS, things='metrics')}")
        if METRICS[name].needs_truth and not has_truth:
            without = ", ".join(one for one, metric in METRICS.items() if not metric.needs_truth)
            raise RecipeError(
                f"judge.figures: {name} compares with the truth, which photos of data.degraded lack; take {without}"
            )
    if settings.headline and settings.headline not in settings.figures:
        known = did_you_mean(settings.headline, settings.figures, things="figures")
        raise RecipeError(f"judge.headline: {settings.headline!r} is none of judge.figures; {known}")
    if settings.protocol and settings.protocol not in PROTOCOLS:
        known = did_you_mean(settings.protocol, PROTOCOLS, things="protocols")
        raise RecipeError(f"judge.protocol: {settings.protocol!r} is no protocol; {known}")
