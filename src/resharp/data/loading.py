"""Batches for training: whatever sample, worker or batch comes before, sample n of a run is always the same."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resharp.errors import ResharpError

from .synthesis import Synthesis
from .workers import alone_on_one_core


class Stream(Dataset[tuple[Tensor, Tensor] | ResharpError]):
    """A run's samples by their number from its start: (degraded, clean), uint8; epoch after epoch without end.

    An error is a value here, so that a worker's reaches the user as it is.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        self.synthesis = synthesis

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | ResharpError:
        epoch, index = divmod(number, len(self.synthesis))
        try:
            sample = self.synthesis.sample(epoch, index)
        except ResharpError as error:
            return error
        return sample.degraded, sample.clean


def batches(
    synthesis: Synthesis, *, batch_size: int, start: int = 0, stop: int, n_workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples start ... stop - 1 of a run in batches of uint8 (n, 3, H, W); the last one may be smaller.

    A run that saw `start` samples goes on exactly there: nothing but that number needs to be stored.
    """
    loader = DataLoader(
        Stream(synthesis),
        batch_size=batch_size,
        sampler=range(start, stop),
        num_workers=n_workers,
        worker_init_fn=alone_on_one_core,
        multiprocessing_context="spawn" if n_workers else None,
        prefetch_factor=4 if n_workers else None,
        collate_fn=_together,
        generator=torch.Generator(),  # the loader draws a seed; it shall not take it from the global generator
    )
    for batch in loader:
        if isinstance(batch, ResharpError):
            raise batch
        yield batch


def _together(samples: Sequence[tuple[Tensor, Tensor] | ResharpError]) -> tuple[Tensor, Tensor] | ResharpError:
    """A batch of samples, or the first error among them."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for sample in samples:
        if isinstance(sample, ResharpError):
            return sample
        pairs.append(sample)
    return torch.stack([degraded for degraded, _ in pairs]), torch.stack([clean for _, clean in pairs])
