"""How a run ends before its time: told to stop, out of memory, or left by its other processes."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, Self

import torch

from resharp.data.loading import WORKER_DIED, is_worker_death
from resharp.device import is_device_lost, is_out_of_memory
from resharp.errors import RecipeError, ResourceError

from .config import StageRecipe


class Stop:
    """The first Ctrl-C or SIGTERM asks the run to end after its step; the second ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        with contextlib.suppress(ValueError):  # signals belong to the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        del frame
        signal.signal(number, signal.default_int_handler)
        self.asked = True


def _is_left_alone(error: Exception) -> bool:
    """Whether the launcher's connections say that another process is gone; gloo does so in plain RuntimeErrors."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


@contextlib.contextmanager
def memory_named(stage: StageRecipe, index: int) -> Iterator[None]:
    """Turns an allocation that fails in a step into a ResourceError that says in how many pieces to try it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or stage.accumulate == stage.batch_size:
            raise
        pieces = min(2 * stage.accumulate, stage.batch_size)
        raise ResourceError(
            f"not enough memory for {-(-stage.batch_size // stage.accumulate)} images at once; take the batch of "
            f"{stage.batch_size} in more pieces: stages.{index}.accumulate={pieces}"
        ) from error


@contextlib.contextmanager
def ends_named() -> Iterator[None]:
    """Turns a failed allocation into a ResourceError that names the knobs; the end of a loader's worker, or of another
    process of the run, into one that says so."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and is_worker_death(
            error
        ):  # torch's signal handler raises it wherever the run is just then
            raise ResourceError(WORKER_DIED) from error
        if _is_left_alone(error):
            raise ResourceError("another process of this run has ended; its own message says why") from error
        if is_device_lost(error):
            reason = str(error).splitlines()[0]
            raise ResourceError(
                f"the GPU failed ({reason}); what was saved is intact, and the same command goes on from there"
            ) from error
        if "does not have a deterministic implementation" in str(error):
            raise RecipeError(f"deterministic: {str(error).split('. ')[0]}; leave it out") from error
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "not enough memory; raise stages.N.accumulate, or lower stages.N.batch_size or data.plan.crop"
        ) from error
