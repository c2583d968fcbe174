"""Kernels do not depend on the number of threads: sums in another order would lead the alternation to other kernels.

Every sum is made by one thread; all cores are used where windows do not ask each other.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import Tensor

from resharp.parallel import Pool, threads

_Result = TypeVar("_Result")
_Other = TypeVar("_Other")
_Any = TypeVar("_Any")

_PIXELS = 65_536  # of windows at once, at most
_n_cores = ContextVar("_n_cores", default=1)
_pool: ContextVar[Pool] = ContextVar("_pool", default=None)
_ends: ContextVar[tuple[threading.Event, ...]] = ContextVar("_ends", default=())  # any of them: nobody waits any more


class _NotNeededError(Exception):
    """Nobody waits for this thread's result any more."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: of the demo's photo, one thread and two found kernels of 25 and of 29 pixels."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _on(before), torch.no_grad(), torch.autocast("cpu", enabled=False):  # as threads begin
            yield
    finally:
        torch.set_num_threads(before)


def window_by_window(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """What a function makes of tensors (N, ...) that hold something of each of N windows, the first their pixels.

    On a processor few windows at a time, which fit into its cache, on as many cores as `one_thread` found, all of which
    have as many to do; elsewhere all at once.  How many at a time changes no bit of the result.
    """
    if any(end.is_set() for end in _ends.get()):
        raise _NotNeededError
    count = len(tensors[0])
    at_once = max(1, _PIXELS // max(1, tensors[0][0].numel()))
    if tensors[0].device.type != "cpu" or count <= at_once:
        return function(*tensors)

    def some(first: int) -> tuple[Tensor, ...]:
        return function(*(tensor[first : first + at_once] for tensor in tensors))

    pool, cores = _pool.get(), _n_cores.get()
    at_once = math.ceil(count / (cores * math.ceil(count / at_once / cores)))
    starts = range(0, count, at_once)
    made = [some(first) for first in starts] if pool is None else list(pool.map(some, starts))
    return tuple(torch.cat(parts) for parts in zip(*made, strict=True))


@contextlib.contextmanager
def side_by_side(
    first: Callable[[], _Result], second: Callable[[], _Other]
) -> Iterator[tuple[Callable[[], _Result], Callable[[], _Other]]]:
    """What gives the results of two functions, or raises what they raise: each works on half of the cores from now on;
    where there is one core, when it is asked for.  After the block nothing waits for a result that was not asked for.
    """
    cores, end = _n_cores.get(), threading.Event()
    ends = *_ends.get(), end

    def on_half(function: Callable[[], _Any]) -> _Any:
        _ends.set(ends)
        with _on(cores // 2), torch.no_grad():
            return function()

    with threads(2 if cores > 1 else 0) as pool:
        try:
            if pool is None:
                yield first, second
            else:
                yield pool.submit(on_half, first).result, pool.submit(on_half, second).result
        finally:
            end.set()


@contextlib.contextmanager
def _on(cores: int) -> Iterator[None]:
    """So many cores for the windows that this thread asks for."""
    with threads(cores if cores > 1 else 0) as pool:
        tokens = _n_cores.set(cores), _pool.set(pool)
        try:
            yield
        finally:
            _n_cores.reset(tokens[0])
            _pool.reset(tokens[1])
