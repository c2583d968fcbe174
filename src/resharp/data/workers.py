"""Work spread over processes, its results in order: the number of processes changes the time and nothing else."""

import collections
import concurrent.futures
import concurrent.futures.process
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import cv2
import torch

from resharp.errors import ArgumentError, ResourceError

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_AHEAD = 4  # pieces of work that wait for each process
_work: Callable[[Any], Any] | None = None  # a worker process's only work


def in_order(work: Callable[[_In], _Out], things: Iterable[_In], n_workers: int) -> Iterator[_Out]:
    """`work(thing)` for each thing, in their order, by this process (0 workers) or by others.

    `work`, the things and the results must be picklable.  What it raises comes up at its place in the order; closing
    the iterator stops the processes, and so does the end of this one, however it comes.  Raises ResourceError where a
    process dies.
    """
    if checked_workers(n_workers) == 0:
        yield from map(work, things)
        return
    pool = concurrent.futures.ProcessPoolExecutor(n_workers, start_context(), initializer=_begin, initargs=(work,))
    waiting: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
    try:
        for thing in things:
            with ctrl_c_waits():
                waiting.append(pool.submit(_do, thing))
            if len(waiting) > _AHEAD * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise ResourceError("a worker process died (out of memory?); take fewer workers and run it again") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def checked_workers(n_workers: int) -> int:
    """`n_workers` if it is a number of processes.  Raises ArgumentError."""
    if not 0 <= n_workers <= 256:
        raise ArgumentError(f"{n_workers} workers; take 0 (this process alone) to 256")
    return n_workers


def start_context() -> multiprocessing.context.BaseContext:
    """How processes are started: forked from one that has loaded what they need and used none of it.

    Children of a process that has used torch's threads may hang, and fresh ones cost two seconds and 160 MB each.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resharp.data.loading"])
    return context


def begin_beside(*_: object) -> None:
    """For a process that works beside others: one thread, Ctrl-C left to the one that started it, and its end too."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    begin_beside()


def _end_with_parent() -> None:
    """A process that was killed cannot stop those that it started: they watch it themselves."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """A block that may start processes, which are born with what it holds back: Ctrl-C, until it is over.

    They would report it, in the middle of their imports, on their own.
    """
    if sys.platform == "win32":
        yield
        return
    import multiprocessing.resource_tracker  # starts a process of its own, and lets Ctrl-C through again after that

    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _do(thing: Any) -> Any:
    assert _work is not None
    return _work(thing)
