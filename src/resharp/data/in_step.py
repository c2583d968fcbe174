"""Batches whose degradations are drawn by the loader and done where the training runs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from resharp.degradations import Chain, Undone, cut_out, done, drawn_together

from .synthesis import Cut, as_unit, stored_as


class DrawnSample(NamedTuple):
    """white: the noise (C, h, w) that is added last, times its level, if any;  beside: what else stands in a batch."""

    undone: Undone
    cut: Cut
    white: Tensor | None
    level: float
    beside: dict[str, Tensor]

    @property
    def degraded_shape(self) -> tuple[int, int, int]:
        """Of what becomes of it: one plane behind a mosaic that is left as it is."""
        rows, columns = (n // self.cut.factor for n in self.cut.inner[2:])
        ways = {getattr(step.degradation, "demosaic", "") for step in self.undone.steps}
        return 1 if "none" in ways else len(self.undone.pixels), rows, columns


class DrawnBatch(NamedTuple):
    """chains: of all its samples;  corners: (n, 2) in each, where the crops begin;  size: (rows, columns) of these."""

    chains: list[Chain]
    corners: list[Tensor]
    size: tuple[int, int]
    factor: int
    white: Tensor | None
    levels: Tensor
    beside: dict[str, Tensor]


def batch_of(samples: Sequence[DrawnSample]) -> DrawnBatch:
    """All that these samples draw, packed.  Raises RecipeError, and what drawing raises."""
    chains = drawn_together([sample.undone for sample in samples])
    corners = torch.tensor([sample.cut.inner[:2] for sample in samples])
    first, names = samples[0], samples[0].beside
    whites = [sample.white for sample in samples if sample.white is not None]
    return DrawnBatch(
        chains,
        [corners[chain.rows] for chain in chains],
        first.cut.inner[2:],
        first.cut.factor,
        torch.stack(whites) if whites else None,
        torch.tensor([sample.level for sample in samples]),
        {name: torch.stack([sample.beside[name] for sample in samples]) for name in names},
    )


@torch.no_grad()
def finished(drawn: DrawnBatch) -> dict[str, Tensor]:
    """The batch, made where it lies: float32, its photos on the levels of those that they were made of."""
    size, factor = drawn.size, drawn.factor
    made: dict[str, list[Tensor]] = {"degraded": [], "clean": []}
    for chain, corners in zip(drawn.chains, drawn.corners, strict=True):
        canvas = done(chain)
        small = size[0] // factor, size[1] // factor
        cuts = cut_out(canvas.degraded, corners // factor, small), cut_out(canvas.clean, corners, size)
        for name, part in zip(made, cuts, strict=True):
            made[name].append(as_unit(stored_as(chain.pixels, part)))
    order = torch.cat([chain.rows for chain in drawn.chains]).argsort()
    batch = {name: torch.cat(parts)[order] for name, parts in made.items()}
    if drawn.white is not None:
        batch["degraded"].addcmul_(drawn.white, drawn.levels[:, None, None, None])
    return batch | drawn.beside
