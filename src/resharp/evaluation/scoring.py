"""How a restored picture becomes figures, as its protocol says."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, equal

from resharp.errors import ArgumentError, DatasetError
from resharp.image import luma
from resharp.metrics import METRICS

from . import protocols
from .cases import Case, Sample, Source, read_source
from .results import Column, Row

Figures = dict[str, float]


class Scorer(Protocol):
    """What a run asks of a protocol's judge; `row` may be called from several threads at once."""

    @property
    def columns(self) -> tuple[Column, ...]: ...

    def row(self, sample: Sample, restored: Tensor) -> tuple[Figures, Figures, dict[str, Any]]:
        """(figures, those of the degraded picture where it can be judged, notes)."""

    def totals(self, rows: Sequence[Row]) -> Figures:
        """Figures of the whole set besides means."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user ought to know before the run, a line each."""


@dataclasses.dataclass(frozen=True)
class FigureScorer:
    """The figures of METRICS that a protocol names."""

    protocol: protocols.Protocol
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.protocol.columns

    def row(self, sample: Sample, restored: Tensor) -> tuple[Figures, Figures, dict[str, Any]]:
        """Of several truths the notes name the best one by the first figure, as "frame".

        Raises PhotoError, and ArgumentError for pictures that are too small to be judged.
        """
        comparable = restored.shape == sample.degraded.shape
        pictures = [restored, sample.degraded] if comparable else [restored]
        if comparable and equal(restored, sample.degraded):
            pictures = [restored]
        seen, notes = [self._seen(picture) for picture in pictures], {}
        if sample.frames:
            found, frame = self._best(seen, sample.frames)
            notes = {"frame": str(frame.absolute())} if isinstance(frame, Path) else {}
        else:
            truth = None if sample.clean is None else self._seen(sample.clean, is_truth=True)
            found = [self._against(truth, seen[0])]
            try:
                found += [self._against(truth, picture) for picture in seen[1:]]
            except ArgumentError:  # the degraded picture cannot be judged, such as a flat one; the restored one can
                return found[0], {}, notes
        return found[0], dict(found[-1]) if comparable else {}, notes

    def totals(self, rows: Sequence[Row]) -> Figures:
        del rows
        return {}

    def _best(self, pictures: Sequence[Tensor], frames: Sequence[Source]) -> tuple[list[Figures], Source]:
        """Each figure of each picture at its best over all frames, and the frame that the first of all is of."""
        judged: list[list[Figures]] = []
        for frame in frames:  # one in memory at a time
            truth = self._seen(read_source(frame)[0], is_truth=True)
            judged.append([self._against(truth, picture) for picture in pictures])
        best: list[Figures] = [{} for _ in pictures]
        for name in self.protocol.figures:
            better = max if METRICS[name].higher_is_better else min
            for number, figures in enumerate(best):
                figures[name] = better(found[number][name] for found in judged)
        first = self.protocol.figures[0]
        values = [found[0][first] for found in judged]
        return best, frames[values.index(best[0][first])]

    def _against(self, truth: Tensor | None, picture: Tensor) -> Figures:
        if truth is not None and truth.shape != picture.shape:
            sizes = " and ".join(f"{image.shape[-1]}x{image.shape[-2]}" for image in (picture, truth))
            raise DatasetError(f"the picture and its truth differ in size ({sizes})")
        chosen = {name: METRICS[name] for name in self.protocol.figures}
        seen = picture if truth is None else truth  # which a metric without a truth ignores
        figures = {name: float(metric.function(picture, seen)) for name, metric in chosen.items()}
        if any(map(math.isnan, figures.values())):
            largest = float(picture.abs().max())
            if truth is None and largest <= 1:
                raise ArgumentError("the picture has too little texture to be judged without a truth")
            raise ArgumentError(f"values of up to {largest:g} cannot be judged; a picture's lie in [0, 1]")
        return figures

    def _seen(self, picture: Tensor, *, is_truth: bool = False) -> Tensor:
        """What is counted of a picture: its colours, its values after rounding, its inside.

        A truth of more than 8 bits is rounded as the restored picture is, one of 8 bits stays what it is.
        """
        rounding, border = self.protocol.rounding, self.protocol.border or 0
        if rounding != "none":
            levels = picture.clamp(0, 1).mul_(255)
            # A level that floats put a little below itself stays that level, also when it is truncated.
            picture = levels.add_(0.5 if is_truth or rounding == "round" else 1e-3).floor_().div_(255)
        height, width = picture.shape[-2:]
        if min(height, width) <= 2 * border:
            raise ArgumentError(f"a picture of {width}x{height} has nothing inside a border of {border} pixels")
        picture = picture[..., border : height - border, border : width - border]
        return luma(picture) if self.protocol.colour == "y" else picture


def open_scorer(protocol: protocols.Protocol, cases: Sequence[Case]) -> Scorer:
    """The judge of these cases under a protocol.  Raises what opening its detector and labels does."""
    if protocol.name == "detection":
        from .detection import open_detection_scorer  # its libraries are an extra of their own

        return open_detection_scorer(protocol, cases)
    return FigureScorer(protocol)
