"""Work done ahead of its turn on threads, in order: codecs and torch work outside of Python's lock.

Threads share their memory, so that pictures need not be copied from process to process; only a few are held at once.
"""

import collections
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Read = TypeVar("_Read")
_Worked = TypeVar("_Worked")

Pool = concurrent.futures.Executor | None
"""Threads, or None for the thread that asks."""


@contextlib.contextmanager
def threads(workers: int) -> Iterator[Pool]:
    """A pool of so many threads, or None for 0.

    Whatever ends the block, what has begun is finished, and what waits is not begun.
    """
    if workers == 0:
        yield None
        return
    n_threads = torch.get_num_threads()
    # One core each: several threads that all spread over all cores are slower than one.
    pool = concurrent.futures.ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)  # what threads that begin later inherit


def ahead(work: Callable[[_In], _Out], things: Iterable[_In], pool: Pool, n_ahead: int) -> Iterator[_Out]:
    """`work(thing)` of each thing in their order, up to `n_ahead` of them begun before they are asked for."""
    if pool is None:
        yield from map(work, things)
        return
    waiting: collections.deque[concurrent.futures.Future[_Out]] = collections.deque()
    for thing in things:
        waiting.append(pool.submit(work, thing))
        del thing  # it may be large, and is not needed while others wait for their turn
        if len(waiting) > n_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def in_stages(
    things: Iterable[_In],
    read: Callable[[_In], _Read],
    work: Callable[[_Read], _Worked],
    finish: Callable[[_Worked], _Out],
    *,
    pool: Pool,
    n_ahead: int = 1,
    n_behind: int = 1,
) -> Iterator[_Out]:
    """`finish(work(read(thing)))` of each thing, in their order.

    `work` is done here, one thing at a time; the pool reads the next `n_ahead` things and finishes the last `n_behind`
    meanwhile, so that no more than `n_ahead` + `n_behind` + 2 are in memory.
    """
    return ahead(finish, map(work, ahead(read, things, pool, n_ahead)), pool, n_behind)
