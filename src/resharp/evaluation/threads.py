"""Work done ahead of its turn on threads, in order: codecs and torch work outside of Python's lock."""

import collections
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@contextlib.contextmanager
def threads(workers: int) -> Iterator[concurrent.futures.Executor | None]:
    """A pool of so many threads, or None for 0."""
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


def ahead(
    work: Callable[[_In], _Out], things: Iterable[_In], pool: concurrent.futures.Executor | None, n_ahead: int
) -> Iterator[_Out]:
    """`work(thing)` of each thing in their order, up to `n_ahead` of them begun before they are asked for."""
    if pool is None:
        yield from map(work, things)
        return
    waiting: collections.deque[concurrent.futures.Future[_Out]] = collections.deque()
    for thing in things:
        waiting.append(pool.submit(work, thing))
        if len(waiting) > n_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
