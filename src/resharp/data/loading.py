"""Batches for training: whatever sample, worker or batch comes before, sample n of a run is always the same."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .synthesis import Synthesis
from .workers import alone_on_one_core


class Stream(Dataset[tuple[Tensor, Tensor]]):
    """A run's samples by their number from its start: (degraded, clean), uint8; epoch after epoch without end."""

    def __init__(self, synthesis: Synthesis) -> None:
        self.synthesis = synthesis

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        epoch, index = divmod(number, len(self.synthesis))
        sample = self.synthesis.sample(epoch, index)
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
        generator=torch.Generator(),  # the loader draws a seed; it shall not take it from the global generator
    )
    yield from ((degraded, clean) for degraded, clean in loader)
