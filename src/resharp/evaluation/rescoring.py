"""The same restored pictures under other protocols: how far a figure moves while no pixel does."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from resharp.errors import ResharpError
from resharp.metrics import METRICS
from resharp.photo import photo_size, read_photo

from .cases import Case, Sample
from .protocols import PROTOCOLS, Protocol
from .results import Column, Result, Row
from .scoring import FigureScorer
from .sheets import found

N_PIXELS = 4_000_000  # of each result, so that the table takes seconds
N_PICTURES = 3, 20  # at least and at most, whatever their size


@dataclasses.dataclass(frozen=True)
class Definition:
    """One way to score a picture; the words say all of it."""

    words: str
    figure: str
    colour: str = "rgb"
    rounding: str = "round"
    border: int = 0

    @property
    def column(self) -> Column:
        """The figure with its unit and direction."""
        metric = METRICS[self.figure]
        return Column(self.figure, metric.unit, metric.higher_is_better)

    @property
    def scorer(self) -> FigureScorer:
        """What scores pictures so."""
        settings = {"colour": self.colour, "rounding": self.rounding, "border": self.border}
        return FigureScorer(Protocol("rescoring", 1, self.words, "pairs", (self.figure,), **settings))  # type: ignore[arg-type]


DEFINITIONS = (
    Definition("PSNR, RGB, rounded to 8 bits", "psnr"),
    Definition("PSNR, RGB, truncated to 8 bits", "psnr", rounding="truncate"),
    Definition("PSNR, RGB, not rounded", "psnr", rounding="none"),
    Definition("PSNR, RGB, 8 pixels of border left out", "psnr", border=8),
    Definition("PSNR, luma", "psnr", colour="y"),
    Definition("PSNR, luma, 8 pixels of border left out", "psnr", colour="y", border=8),
    Definition("SSIM of Wang, RGB", "ssim"),
    Definition("SSIM of Wang, luma", "ssim", colour="y"),
    Definition("SSIM of Wang, luma, 8 pixels of border left out", "ssim", colour="y", border=8),
    Definition("SSIM, zero-padded window, RGB", "ssim-zero-padded"),
    Definition("SSIM as scikit-image by default, RGB", "ssim-skimage"),
    Definition("SSIM as MATLAB on colours as a third dimension", "ssim-matlab-3d"),
)
"""What published figures of one name were measured by, roughly in the order of how usual it is."""


@dataclasses.dataclass(frozen=True)
class Rescored:
    """Means of one definition, one for each result; NaN where a picture cannot be scored so."""

    definition: Definition
    means: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Rescoring:
    """The same pictures of each result under every definition; without pictures, `problem` says why."""

    names: tuple[str, ...]
    n_shared: int
    rows: tuple[Rescored, ...]
    problem: str = ""

    @property
    def spans(self) -> tuple[tuple[str, float, Column], ...]:
        """(name, highest less lowest mean of one result, column) of PSNR and SSIM: the largest such span."""
        found = []
        for family in ("PSNR", "SSIM"):
            rows = [row for row in self.rows if row.definition.words.startswith(family)]
            means = [
                [mean for mean in result if math.isfinite(mean)]
                for result in zip(*(r.means for r in rows), strict=True)
            ]
            spans = [max(result) - min(result) for result in means if result]
            if spans:
                found.append((family, max(spans), rows[0].definition.column))
        return tuple(found)


def rescore(results: Sequence[Result], folders: Sequence[Path]) -> Rescoring:
    """Score the stored pictures of results again under all DEFINITIONS, as many as a few seconds allow.

    folders: of the results, where photos are looked for that are not where they were.
    """
    if any(_has_many_truths(result) for result in results):
        return Rescoring((), 0, (), "a picture of this protocol has several truths")
    rows = [{row.name: row for row in result.sound_rows if row.restored and row.clean} for result in results]
    shared = [name for name in rows[0] if all(name in listed for listed in rows)]
    if not shared:
        return Rescoring((), 0, (), "no restored pictures are stored beside truths; evaluate with -o")
    try:
        names = _chosen(shared, photo_size(found(rows[0][shared[0]].clean, folders[0])))
        means = [_means([listed[name] for name in names], folder) for listed, folder in zip(rows, folders, strict=True)]
    except ResharpError as error:
        return Rescoring((), len(shared), (), str(error))
    rescored = [
        Rescored(definition, tuple(row)) for definition, row in zip(DEFINITIONS, zip(*means, strict=True), strict=True)
    ]
    return Rescoring(tuple(names), len(shared), tuple(rescored))


def _has_many_truths(result: Result) -> bool:
    """Whether its protocol, named with the settings behind it in brackets, takes the best of several truths."""
    protocol = PROTOCOLS.get(result.card.protocol.partition(" (")[0])
    return protocol is not None and protocol.takes == "trajectories"


def _chosen(names: Sequence[str], size: tuple[int, int]) -> list[str]:
    """As many names as N_PIXELS allow, spread evenly."""
    fewest, most = N_PICTURES
    n = min(len(names), max(fewest, min(most, N_PIXELS // (size[0] * size[1]))))
    return [names[round((i + 0.5) * len(names) / n - 0.5)] for i in range(n)]


def _means(rows: Sequence[Row], folder: Path) -> list[float]:
    """The mean of every definition over some rows, which are read one by one."""
    sums = torch.zeros(len(DEFINITIONS), dtype=torch.float64)
    for row in rows:
        sums += torch.tensor(_figures(row, folder), dtype=torch.float64)
    return (sums / len(rows)).tolist()


def _figures(row: Row, folder: Path) -> list[float]:
    restored = read_photo(found(row.restored, folder)).image
    clean = read_photo(found(row.clean, folder)).image
    sample = Sample(Case(row.name, row.name, None, ()), restored, clean, (), (clean.shape[-2], clean.shape[-1]))
    figures = []
    for definition in DEFINITIONS:
        try:
            figures.append(definition.scorer.row(sample, restored)[0][definition.figure])
        except ResharpError:  # too small for this definition
            figures.append(math.nan)
    return figures
