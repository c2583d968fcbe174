"""Batches for training: whatever sample, worker or batch comes before, sample n of a run is always the same."""

import atexit
import itertools
import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from resharp.errors import ResharpError, ResourceError
from resharp.networks import noise_map

from .in_step import DrawnBatch, DrawnSample, batch_of
from .synthesis import Drawn, Synthesis, as_unit, sample_generator
from .workers import begin_beside, ctrl_c_waits, start_context

WORKER_DIED = "a worker process died (out of memory?); lower data.n_workers and run it again"
Batch = dict[str, Tensor]
Noise = tuple[str, int]
"""The map of noise that a network takes beside a photo: (a row of `networks.NOISES`, channels)."""
Levels = float | tuple[float, float]
"""The standard deviation of white noise on the [0, 1] scale, or the lowest and the highest."""
_NOISE, _MAP = 2**21, 2**21 + 1  # epochs that no sample has: noise is drawn apart from all else


class Stream(Dataset[Batch | DrawnSample | ResharpError]):
    """A run's samples by their number from its start, epoch after epoch without end: "degraded" and "clean", typed as
    in `Sample`, and what lies beside the photo.

    noise_sigma: if not 0, white noise is added to the degraded one, which is float32 then and not clipped; where
    levels are drawn, evenly, a sample's own is its "sigma", (1, 1, 1); degraded: photos that belong to none of the
    clean ones; a sample is "degraded" of them and "unpaired" of those then, each gone through in an order of its
    own; noise: a map of it, "noise", as large as the clean photo, which follows from seed and number. An error is a
    value here, so that a worker's reaches the user as it is.  in_step: samples are drawn and not made; their photos are
    clean ones then.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        *,
        noise_sigma: Levels = 0.0,
        degraded: Synthesis | None = None,
        noise: Noise | None = None,
        in_step: bool = False,
    ) -> None:
        self.synthesis = synthesis
        self.noise_sigma = noise_sigma
        self.degraded = degraded
        self.noise = noise
        self.in_step = in_step

    def __getitem__(self, number: int) -> Batch | DrawnSample | ResharpError:
        try:
            drawn = self.synthesis.draw(*divmod(number, len(self.synthesis)))
            beside = self.synthesis.beside(drawn)
            if self.noise is not None:
                draws = sample_generator(self.synthesis.seed, number, epoch=_MAP)
                beside["noise"] = noise_map(*self.noise, *drawn.cut.inner[2:], draws)
            if self.in_step:
                return self._undone(drawn, number, beside)
            return self._photos(drawn, number) | beside
        except ResharpError as error:
            return error

    def _photos(self, drawn: Drawn, number: int) -> Batch:
        degraded, clean, _ = self.synthesis.replay(drawn)
        if self.degraded is not None:
            other = self.degraded.sample(*divmod(number, len(self.degraded))).clean
            return {"degraded": other, "unpaired": clean}
        if not self.noise_sigma:
            return {"degraded": degraded, "clean": clean}
        noise, level = self._white(degraded.shape, number)
        return {"degraded": as_unit(degraded) + level * noise, "clean": clean} | self._told(level)

    def _undone(self, drawn: Drawn, number: int, beside: Batch) -> DrawnSample:
        sample = DrawnSample(self.synthesis.undone(drawn), drawn.cut, None, 0.0, beside)
        if not self.noise_sigma:
            return sample
        noise, level = self._white(sample.degraded_shape, number)
        return sample._replace(white=noise, level=level, beside=beside | self._told(level))

    def _white(self, shape: Sequence[int], number: int) -> tuple[Tensor, float]:
        """Noise of sigma 1, and its level."""
        generator = sample_generator(self.synthesis.seed, number, epoch=_NOISE)
        noise, level = torch.randn(tuple(shape), generator=generator), self.noise_sigma
        if isinstance(level, tuple):
            low, high = level
            level = low + (high - low) * float(torch.rand((), generator=generator))
        return noise, level

    def _told(self, level: float) -> Batch:
        return {"sigma": torch.full((1, 1, 1), level)} if isinstance(self.noise_sigma, tuple) else {}

    def photos(self, number: int) -> list[str]:
        """The names of the photos that a sample is made of."""
        made_of = [self.synthesis] if self.degraded is None else [self.degraded, self.synthesis]
        return [one.draw(*divmod(number, len(one))).cut.photo for one in made_of]


class _Share(Sampler[list[int]]):
    """The sample numbers of one process, step by step: every batch is dealt out in equal runs."""

    def __init__(self, numbers: range, batch_size: int, rounds: int, rank: int, n_ranks: int) -> None:
        self.numbers, self.batch_size, self.rounds = numbers, batch_size, rounds
        self.rank, self.n_ranks = rank, n_ranks

    def __iter__(self) -> Iterator[list[int]]:
        shares = (self._share(start) for start in range(0, len(self.numbers), self.batch_size))
        while step := list(itertools.chain.from_iterable(itertools.islice(shares, self.rounds))):
            yield step

    def _share(self, start: int) -> Sequence[int]:
        batch = self.numbers[start : start + self.batch_size]
        share = -(-len(batch) // self.n_ranks)
        return batch[self.rank * share : (self.rank + 1) * share]


def batches(
    synthesis: Synthesis,
    *,
    batch_size: int,
    start: int = 0,
    stop: int,
    n_workers: int = 0,
    noise_sigma: Levels = 0.0,
    degraded: Synthesis | None = None,
    noise: Noise | None = None,
    rounds: int = 1,
    rank: int = 0,
    n_ranks: int = 1,
    in_step: bool = False,
    pinned: bool = False,
) -> Iterator[Batch | DrawnBatch]:
    """Samples start ... stop - 1 of a run in batches: by name (n, channels, H, W), named and typed as in `Stream`; the
    last may be smaller.  in_step: batches are drawn and not made;  pinned: in memory that a GPU copies from by itself.

    A run that saw `start` samples goes on exactly there: nothing but that number needs to be stored.  Of several
    processes each gets its share of every batch; `rounds` batches come as one.  Raises what a sample raises, and
    ResourceError for a worker that died.
    """
    loader = DataLoader(
        Stream(synthesis, noise_sigma=noise_sigma, degraded=degraded, noise=noise, in_step=in_step),
        batch_sampler=_Share(range(start, stop), batch_size, rounds, rank, n_ranks),
        num_workers=n_workers,
        worker_init_fn=_begin_worker,
        multiprocessing_context=start_context() if n_workers else None,
        prefetch_factor=4 if n_workers else None,
        collate_fn=_drawn_together if in_step else _together,
        pin_memory=pinned,
        generator=torch.Generator(),  # the loader draws a seed; it shall not take it from the global generator
    )
    with ctrl_c_waits():
        samples = iter(loader)
    while True:
        try:
            batch = next(samples)
        except StopIteration:
            return
        except RuntimeError as error:
            if not is_worker_death(error):
                raise
            raise ResourceError(WORKER_DIED) from error
        if isinstance(batch, ResharpError):
            raise batch
        yield batch


def is_worker_death(error: RuntimeError) -> bool:
    """Whether torch tells of a worker's end; what a worker raised, it passes on in other words."""
    return "DataLoader worker (pid" in str(error)


def _begin_worker(number: int) -> None:
    """One thread; and an end without the destructors of torch's libraries, which now and then abort a process."""
    del number
    begin_beside()
    atexit.register(os._exit, 0)  # multiprocessing has sent all results by then


def _drawn_together(samples: Sequence[DrawnSample | ResharpError]) -> DrawnBatch | ResharpError:
    """The same of samples that are drawn and not made."""
    try:
        return next((one for one in samples if isinstance(one, ResharpError)), None) or batch_of(samples)  # type: ignore[arg-type]
    except ResharpError as error:
        return error


def _together(samples: Sequence[Batch | ResharpError]) -> Batch | ResharpError:
    """A batch of samples, or the first error among them."""
    sound: list[Batch] = []
    for sample in samples:
        if isinstance(sample, ResharpError):
            return sample
        sound.append(sample)
    return {name: _stacked([sample[name] for sample in sound]) for name in sound[0]}


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """As they are, or as float32 where some are deep."""
    is_mixed = len({part.dtype for part in parts}) > 1
    return torch.stack([as_unit(part) for part in parts] if is_mixed else list(parts))
